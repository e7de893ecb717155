//! From flags and `[[listener]]` tables to listeners.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{
    Admission, HeaderOut, ListenerSettings, OnFault, OnLimit, Proxy, Refuse, Splice, Target, Times, Tls, TlsListen,
    TlsUpstream, Transparent,
};
use crate::cli;
use crate::cli::Patience;
use crate::config::settings::{For, Gate, List, Settings};
use crate::config::{Defaults, either, parsed, records, running, word};
use crate::error::Error;
use crate::event::Protocol;
use crate::output::{Detail, InputKind, RecordKind, RecordSet};

/// Where mail servers listen: the ports of `--upstream HOST` alone.
const PORTS: [u16; 3] = [25, 110, 143];

/// Mark of our own connections where connections are intercepted: `mt`.
const MARK: u32 = 0x6d74;

/// How long open sessions may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(120);

/// Ports with a name of their own.
const NAMES: [(u16, &str); 9] = [
    (24, "lmtp"),
    (25, "smtp"),
    (110, "pop3"),
    (143, "imap"),
    (465, "submissions"),
    (587, "submission"),
    (993, "imaps"),
    (995, "pop3s"),
    (4190, "managesieve"),
];

/// Makes `flags` ready; `cores`: the default for the threads.
pub fn proxy(flags: cli::Proxy, cores: usize) -> Result<Proxy, Error> {
    let settings = Settings::of(flags.running.config.as_deref(), For::Proxy)?;
    ready(flags, settings, cores)
}

fn ready(mut flags: cli::Proxy, mut settings: Settings, cores: usize) -> Result<Proxy, Error> {
    let read = |path: &std::path::Path| std::fs::read(path);
    let kinds = RecordSet::ALL.without(RecordKind::Command);
    let defaults = Defaults { input: InputKind::Proxy, records: kinds, detail: Detail::Envelope };
    let (log, mut policy, mut limits) = records(std::mem::take(&mut flags.records), &mut settings, &defaults, &read)?;
    limits.fault_at = flags.inject_fault;
    let listeners = listeners(&mut flags, &mut settings)?;
    policy.sources = listeners.iter().map(|listener| listener.name.clone()).collect();
    let on_fault =
        either(flags.on_fault, settings.on_fault.take(), |w| word("on-fault", &w, OnFault::ALL, OnFault::as_str))?;
    let splice = either(flags.splice, settings.splice.take(), |w| word("splice", &w, Splice::ALL, Splice::as_str))?;
    let drain = either(flags.drain_timeout, settings.drain_timeout.take(), |t| parsed("drain-timeout", &t))?;
    Ok(Proxy {
        drain: drain.map_or(Some(DRAIN), |Patience(time)| time),
        listeners,
        on_fault: on_fault.unwrap_or(OnFault::Bypass),
        splice: splice.unwrap_or(Splice::Auto),
        handover: flags.handover.or_else(|| settings.handover.take()),
        threads: flags.threads.or(settings.threads).map_or(cores, usize::from).max(1),
        policy,
        limits,
        running: running::running(flags.running, log, &mut settings, &read)?,
    })
}

fn listeners(flags: &mut cli::Proxy, settings: &mut Settings) -> Result<Vec<ListenerSettings>, Error> {
    let common = settings.gate();
    let gates = if flags.listen.is_empty() && flags.upstream.is_empty() && !settings.listener.is_empty() {
        std::mem::take(&mut settings.listener).into_iter().map(|gate| gate.or(&common)).collect()
    } else {
        pairs(flags, &common)?
    };
    let mut listeners: Vec<ListenerSettings> = Vec::with_capacity(gates.len());
    for gate in gates {
        let mut listener = listener(flags, gate)?;
        let taken = |name: &str| listeners.iter().any(|other| other.name == name);
        if taken(&listener.name) {
            let base = listener.name.clone();
            let free = (2..).map(|n| format!("{base}-{n}")).find(|name| !taken(name));
            listener.name = free.unwrap_or(base);
        }
        if let Some(twice) = listener.listen.iter().find(|a| listeners.iter().any(|l| l.listen.contains(a))) {
            return Err(Error::Usage(format!("two listeners want {twice}; give each an address of its own")));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

/// A gate for each `--listen` and its `--upstream`.
fn pairs(flags: &cli::Proxy, common: &Gate) -> Result<Vec<Gate>, Error> {
    let words = |flag: &[String], setting: Option<&List>| match setting {
        Some(list) if flag.is_empty() => list.clone().all(|w| Ok(w.to_owned())),
        _ => Ok(flag.to_vec()),
    };
    let listen = words(&flags.listen, common.listen.as_ref())?;
    let upstream = words(&flags.upstream, common.upstream.as_ref())?;
    let transparent = flags.transparent.is_some() || common.transparent.is_some();
    let gate = |listen: String, upstream: Option<&String>| {
        let only = |word: String| List::Words(vec![word]);
        Gate { listen: Some(only(listen)), upstream: upstream.cloned().map(only), ..Gate::default() }.or(common)
    };
    match (&*listen, &*upstream) {
        ([], []) => Err(Error::Usage(
            "nothing to forward: give --upstream HOST, pairs of --listen and --upstream, --transparent with --listen, or --config with [[listener]] tables".into(),
        )),
        ([], [host]) => Ok(PORTS.iter().map(|port| gate(format!(":{port}"), Some(host))).collect()),
        (listen, []) if transparent => Ok(listen.iter().map(|l| gate(l.clone(), None)).collect()),
        (listen, [host]) => Ok(listen.iter().map(|l| gate(l.clone(), Some(host))).collect()),
        (listen, hosts) if listen.len() == hosts.len() => {
            Ok(listen.iter().zip(hosts).map(|(l, host)| gate(l.clone(), Some(host))).collect())
        }
        (listen, hosts) => Err(Error::Usage(format!(
            "{} --listen and {} --upstream: give as many of one as of the other, or one --upstream for all",
            listen.len(),
            hosts.len()
        ))),
    }
}

fn listener(flags: &cli::Proxy, gate: Gate) -> Result<ListenerSettings, Error> {
    let listen = match &gate.listen {
        Some(list) => list.clone().all(address)?,
        None => Vec::new(),
    };
    let name = match gate.name {
        Some(name) if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) => {
            return Err(Error::Usage("the name of a listener has 1 to 64 octets, none of them a control".into()));
        }
        Some(name) => name,
        None => listen.first().map_or_else(|| "inherited".to_owned(), |a| name_of(a.port())),
    };
    let transparent = either(flags.transparent, gate.transparent, |w| {
        word("transparent", &w, Transparent::ALL, Transparent::as_str)
    })?;
    let hosts = gate.upstream.map_or_else(|| Ok(Vec::new()), |list| list.all(|w| Ok(w.to_owned())))?;
    let target = match (transparent, &*hosts) {
        (Some(how), []) => Target::Original(how),
        (None, [host]) => host_and_port(host)?,
        (Some(_), _) => return Err(Error::Usage(format!("listener {name}: either transparent or upstream"))),
        (None, []) => return Err(Error::Usage(format!("listener {name}: where to? give it an upstream"))),
        (None, _) => return Err(Error::Usage(format!("listener {name}: one upstream, not {}", hosts.len()))),
    };
    let mark = flags.mark.or(gate.mark).or_else(|| transparent.map(|_| MARK));
    let protocol = either(flags.protocol, gate.protocol, |w| word("protocol", &w, Protocol::ALL, Protocol::as_str))?;
    let header_from = either(flags.proxy_from.clone(), gate.proxy_from, |list| list.all(network))?;
    let header_to = either(flags.proxy_to, gate.proxy_to, |w| word("proxy-to", &w, HeaderOut::ALL, HeaderOut::as_str))?;
    let number = |flag: Option<u32>, setting: Option<u32>| flag.or(setting).unwrap_or(0);
    let on_limit = either(flags.on_limit, gate.on_limit, |w| word("on-limit", &w, OnLimit::ALL, OnLimit::as_str))?;
    let refuse = either(flags.refuse, gate.refuse, |w| word("refuse", &w, Refuse::ALL, Refuse::as_str))?;
    let time = |key, flag: Option<Patience>, setting: Option<String>| either(flag, setting, |w| parsed(key, &w));
    let standard = Times::default();
    let connect = time("connect-timeout", flags.connect_timeout, gate.connect_timeout)?;
    let greeting = time("greeting-timeout", flags.greeting_timeout, gate.greeting_timeout)?;
    let idle = time("idle-timeout", flags.idle_timeout, gate.idle_timeout)?;
    let half_close = time("half-close-timeout", flags.half_close_timeout, gate.half_close_timeout)?;
    let tls = tls(
        flags,
        Stated {
            name: &name,
            listen: gate.tls,
            certificates: gate.tls_cert,
            keys: gate.tls_key,
            upstream: gate.upstream_tls,
            authorities: gate.upstream_ca,
            server: gate.upstream_name,
        },
    )?;
    Ok(ListenerSettings {
        listen,
        target,
        spoof_source: flags.spoof_source || gate.spoof_source.unwrap_or(false),
        mark,
        protocol,
        header_from: header_from.unwrap_or_default(),
        header_to,
        tls,
        admission: Admission {
            connections: number(flags.max_connections, gate.max_connections),
            per_source: number(flags.max_per_source, gate.max_per_source),
            per_prefix: number(flags.max_per_prefix, gate.max_per_prefix),
            rate: number(flags.max_rate, gate.max_rate),
            on_limit: on_limit.unwrap_or_default(),
            refuse: refuse.unwrap_or_default(),
        },
        times: Times {
            connect: connect.map_or(standard.connect, |Patience(time)| time),
            greeting: greeting.map_or(standard.greeting, |Patience(time)| time),
            idle: idle.and_then(|Patience(time)| time),
            idle_given: idle.is_some(),
            half_close: half_close.map_or(standard.half_close, |Patience(time)| time),
        },
        name,
    })
}

/// What a gate says of TLS.
struct Stated<'a> {
    name: &'a str,
    listen: Option<String>,
    certificates: Option<List>,
    keys: Option<List>,
    upstream: Option<String>,
    authorities: Option<PathBuf>,
    server: Option<String>,
}

fn tls(flags: &cli::Proxy, stated: Stated<'_>) -> Result<Option<Tls>, Error> {
    let Stated { name, listen, certificates, keys, upstream, authorities, server } = stated;
    let listen = either(flags.tls, listen, |w| word("tls", &w, TlsListen::ALL, TlsListen::as_str))?;
    let upstream =
        either(flags.upstream_tls, upstream, |w| word("upstream-tls", &w, TlsUpstream::ALL, TlsUpstream::as_str))?;
    let files = |flag: &[PathBuf], setting: Option<List>| match setting {
        Some(list) if flag.is_empty() => list.all(|w| Ok(PathBuf::from(w))),
        _ => Ok(flag.to_vec()),
    };
    let (certificates, keys) = (files(&flags.tls_cert, certificates)?, files(&flags.tls_key, keys)?);
    let Some(listen) = listen.filter(|listen| *listen != TlsListen::Passthrough) else {
        if !certificates.is_empty() || !keys.is_empty() || upstream.is_some() {
            return Err(Error::Usage(format!(
                "listener {name}: certificates and upstream-tls are of use only where TLS is answered: give it tls implicit or starttls"
            )));
        }
        return Ok(None);
    };
    if certificates.is_empty() || certificates.len() != keys.len() {
        return Err(Error::Usage(format!(
            "listener {name}: tls {} needs certificates and as many keys; it has {} and {}",
            listen.as_str(),
            certificates.len(),
            keys.len()
        )));
    }
    Ok(Some(Tls {
        listen,
        certificates: certificates.into_iter().zip(keys).collect(),
        upstream: upstream.unwrap_or(TlsUpstream::None),
        authorities: flags.upstream_ca.clone().or(authorities),
        name: flags.upstream_name.clone().or(server),
    }))
}

/// `ADDR:PORT`, `[ADDR]:PORT`, `:PORT` or `PORT`.
fn address(text: &str) -> Result<SocketAddr, Error> {
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>().ok().filter(|port| *port > 0);
    let any = port.map(|port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
    any.or_else(|| text.parse().ok()).ok_or_else(|| {
        Error::Usage(format!(
            "listen `{}`: expected ADDR:PORT, [ADDR]:PORT for IPv6, or :PORT for all addresses",
            text.escape_default()
        ))
    })
}

fn network(text: &str) -> Result<IpNet, Error> {
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| {
        Error::Usage(format!("proxy-from `{}`: expected a network such as 192.0.2.0/24", text.escape_default()))
    })
}

/// `HOST`, `HOST:PORT`, `ADDR`, `[ADDR]:PORT`.
fn host_and_port(text: &str) -> Result<Target, Error> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Target::Host { host: address.ip().to_string(), port: address.port() });
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(Target::Host { host: ip.to_string(), port: 0 });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port > 0)),
        None => (text, Some(0)),
    };
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    match port.filter(|_| is_name) {
        Some(port) => Ok(Target::Host { host: host.to_owned(), port }),
        None => Err(Error::Usage(format!(
            "upstream `{}`: expected HOST, HOST:PORT, ADDR:PORT or [ADDR]:PORT",
            text.escape_default()
        ))),
    }
}

fn name_of(port: u16) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == port);
    known.map_or_else(|| format!("port-{port}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn made(args: &str, file: &str) -> Result<Proxy, Error> {
        let args = ["mailtap", "proxy"].into_iter().chain(args.split_whitespace());
        let cli::Mode::Proxy(flags) = cli::Cli::try_parse_from(args).unwrap().mode else { panic!("another mode") };
        let settings = Settings::parse(file, For::Proxy).map_err(|(_, reason)| Error::Usage(reason))?;
        ready(*flags, settings, 2)
    }

    fn fault(args: &str, file: &str) -> String {
        let error = made(args, file).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    }

    #[test]
    fn a_host_alone_stands_for_the_mail_ports() {
        let ready = made("--upstream mx.example.org", "").unwrap();
        let names: Vec<_> = ready.listeners.iter().map(|l| (&*l.name, l.listen[0].port())).collect();
        assert_eq!(names, [("smtp", 25), ("pop3", 110), ("imap", 143)]);
        assert_eq!(ready.listeners[0].target, Target::Host { host: "mx.example.org".into(), port: 0 });
        assert_eq!(ready.policy.sources, ["smtp", "pop3", "imap"]);
        assert_eq!(ready.policy.detail, Detail::Envelope);
        assert!(!ready.policy.records.has(RecordKind::Command));
    }

    #[test]
    fn pairs_keep_their_order() {
        let ready =
            made("--listen 127.0.0.1:2525 --upstream 192.0.2.25:25 --listen :143 --upstream [2001:db8::1]:1143", "")
                .unwrap();
        let [first, second] = &*ready.listeners else { panic!() };
        assert_eq!((&*first.name, first.listen[0]), ("port-2525", "127.0.0.1:2525".parse().unwrap()));
        assert_eq!(second.target, Target::Host { host: "2001:db8::1".into(), port: 1143 });
        assert!(
            fault("--listen :1 --listen :2 --listen :3 --upstream a --upstream b", "").starts_with("3 --listen and 2")
        );
        assert!(fault("--listen :1 --listen :1 --upstream a", "").starts_with("two listeners want [::]:1"));
        assert!(fault("", "").starts_with("nothing to forward"));
    }

    #[test]
    fn tables_have_settings_of_their_own() {
        let file = "max-connections = 100\nidle-timeout = 'off'\n\
                    [[listener]]\nname = 'in'\nlisten = ':2525'\nupstream = 'mx:25'\nmax-connections = 5\nproxy-from = ['10.0.0.0/8', '192.0.2.1']\n\
                    [[listener]]\nlisten = ['127.0.0.1:1143', '[::1]:1143']\ntransparent = 'tproxy'\nspoof-source = true\n";
        let ready = made("", file).unwrap();
        let [first, second] = &*ready.listeners else { panic!() };
        assert_eq!((&*first.name, first.admission.connections, first.header_from.len()), ("in", 5, 2));
        assert_eq!((&*second.name, second.admission.connections, second.listen.len()), ("port-1143", 100, 2));
        assert_eq!((second.mark, second.spoof_source), (Some(MARK), true));
        assert_eq!(second.target, Target::Original(Transparent::Tproxy));
        assert_eq!(second.times.idle(Protocol::Imap, false), None);
        let times = made("--upstream a", "").unwrap().listeners[0].times;
        assert_eq!(times.idle(Protocol::Imap, false), Some(Duration::from_secs(35 * 60)));
        assert!(times.idle(Protocol::Smtp, false) >= Some(Duration::from_secs(600)));
        assert!(fault("", "[[listener]]\nlisten = ':1'\n").contains("where to?"));
        assert!(fault("", "[[listener]]\nport = 3\n").contains("unknown field `port`"));
    }

    #[test]
    fn answered_tls_needs_certificates() {
        assert!(fault("--listen :1 --upstream a --tls implicit", "").contains("needs certificates"));
        assert!(fault("--listen :1 --upstream a --tls-cert c --tls-key k", "").contains("are of use only where"));
        let ready =
            made("--listen :1 --upstream a --tls starttls --tls-cert c --tls-key k --upstream-tls implicit", "")
                .unwrap();
        let tls = ready.listeners[0].tls.as_ref().unwrap();
        assert_eq!((tls.listen, tls.upstream), (TlsListen::StartTls, TlsUpstream::Implicit));
    }
}

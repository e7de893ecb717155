//! `mailtap proxy`, made ready: flags and `[[listener]]` tables become listeners.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::layers::{FileTable, Layers, LoadedFile};
use super::{Defaults, ReadKeys, Running, outputs, running, terminate};
use crate::cli::{self, ListenAddress, Network, Number, TimeOrOff, Typed, UpstreamAddress};
use crate::engine::Limits;
use crate::error::Error;
use crate::output::{Detail, InputKind, Policy, RecordKind, RecordSet};
use crate::proxy::settings::{
    AdmissionSettings, Forwarding, ListenerSettings, OnFault, ProxySettings, Splice, Target, Times,
};

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

/// A run of `mailtap proxy`, ready.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// What is forwarded, and how.
    pub proxy: ProxySettings,
    /// What the log shows.
    pub policy: Policy,
    /// Caps of a session.
    pub limits: Limits,
    /// What every running mode has.
    pub running: Running,
}

/// What only a `[[listener]]` table can say.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Own {
    name: Option<String>,
}

/// Makes what was typed ready; `cores`: the default for the threads.
pub fn proxy(typed: &Typed<cli::ProxyFlags>, cores: usize) -> Result<Proxy, Error> {
    let file = LoadedFile::read(typed.flags().file.config.as_deref())?;
    let ready = ready(typed, &file, cores, &|path| std::fs::read(path))?;
    let log = ready.running.log.file().map(|path| ("--log", path));
    let top = ready.running.monitor.top_file.as_deref().map(|path| ("--top-file", path));
    let handover = ready.proxy.handover.as_deref().map(|path| ("--handover", path));
    let config = ready.running.config.as_deref().map(|path| ("--config", path));
    outputs::distinct(
        &log.into_iter().chain(top).chain(handover).collect::<Vec<_>>(),
        &config.into_iter().collect::<Vec<_>>(),
    )?;
    Ok(ready)
}

pub(super) fn ready(
    typed: &Typed<cli::ProxyFlags>,
    file: &LoadedFile,
    cores: usize,
    read: ReadKeys<'_>,
) -> Result<Proxy, Error> {
    let mut layers = Layers::new("proxy", typed, file)?;
    let (common, tables) = layers.tables("listener")?;
    let forwarding = layers.group()?;
    let records = layers.group()?;
    let running = layers.group()?;
    let verbosity: cli::Verbosity = layers.group()?;
    layers.finish()?;
    let kinds = RecordSet::ALL.without(RecordKind::Command);
    let defaults = Defaults { input: InputKind::Proxy, records: kinds, detail: Detail::Envelope };
    let log_mode = super::log_mode(&records);
    let (log, mut policy, mut limits) = super::records(records, &defaults, read)?;
    limits.fault_at = typed.flags().inject_fault;
    let listeners = listeners(&typed.flags().listener, common, tables, file)?;
    policy.health_checks = verbosity.verbose > 0;
    policy.sources = listeners.iter().map(|listener| listener.name.clone()).collect();
    Ok(Proxy {
        proxy: settings(forwarding, listeners, cores),
        limits,
        running: running::running(
            running,
            typed.flags().file.config.clone(),
            (log, log_mode),
            policy.identity,
            verbosity,
            read,
        )?,
        policy,
    })
}

fn settings(flags: cli::ForwardingFlags, listeners: Vec<ListenerSettings>, cores: usize) -> ProxySettings {
    let cli::ForwardingFlags { drain_timeout, on_fault, splice, handover, threads } = flags;
    ProxySettings {
        listeners,
        forwarding: Forwarding {
            on_fault: on_fault.unwrap_or(OnFault::Bypass),
            splice: splice.unwrap_or(Splice::Auto),
        },
        handover,
        drain: drain_timeout.map_or(Some(DRAIN), |TimeOrOff(time)| time),
        threads: threads.map_or(cores, |threads| threads.get() as usize).max(1),
    }
}

/// The listeners of the tables, unless the command line names some.
fn listeners(
    typed: &cli::ListenerFlags,
    common: cli::ListenerFlags,
    tables: Vec<FileTable<Own, cli::ListenerFlags>>,
    file: &LoadedFile,
) -> Result<Vec<ListenerSettings>, Error> {
    let mut listeners = Vec::new();
    if typed.listen.is_none() && typed.upstream.is_none() && !tables.is_empty() {
        for FileTable { line, own, group } in tables {
            let made = listener(own.name, group).and_then(|listener| add(&mut listeners, listener));
            made.map_err(|error| match error {
                Error::Usage(reason) => file.at(line, reason),
                other => other,
            })?;
        }
    } else {
        for flags in pairs(common)? {
            add(&mut listeners, listener(None, flags)?)?;
        }
    }
    Ok(listeners)
}

/// Adds `listener` to the others, under a name that none of them has.
fn add(listeners: &mut Vec<ListenerSettings>, mut listener: ListenerSettings) -> Result<(), Error> {
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
    Ok(())
}

/// The flags of one listener for each `--listen` and its `--upstream`.
fn pairs(flags: cli::ListenerFlags) -> Result<Vec<cli::ListenerFlags>, Error> {
    let listen = flags.listen.clone().unwrap_or_default();
    let upstream = flags.upstream.clone().unwrap_or_default();
    let one = |listen: &ListenAddress, upstream: Option<&UpstreamAddress>| cli::ListenerFlags {
        listen: Some(vec![*listen]),
        upstream: upstream.map(|upstream| vec![upstream.clone()]),
        ..flags.clone()
    };
    match (&*listen, &*upstream) {
        ([], []) => Err(Error::Usage(
            "nothing to forward: give --upstream HOST, pairs of --listen and --upstream, --transparent with --listen, or --config with [[listener]] tables".into(),
        )),
        ([], hosts @ [_]) => {
            let any = |port| ListenAddress(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
            Ok(PORTS.into_iter().map(|port| one(&any(port), hosts.first())).collect())
        }
        (listen, []) if flags.transparent.is_some() => Ok(listen.iter().map(|listen| one(listen, None)).collect()),
        (listen, hosts @ [_]) => Ok(listen.iter().map(|listen| one(listen, hosts.first())).collect()),
        (listen, hosts) if listen.len() == hosts.len() => {
            Ok(listen.iter().zip(hosts).map(|(listen, host)| one(listen, Some(host))).collect())
        }
        (listen, hosts) => Err(Error::Usage(format!(
            "{} --listen and {} --upstream: give as many of one as of the other, or one --upstream for all",
            listen.len(),
            hosts.len()
        ))),
    }
}

fn listener(name: Option<String>, flags: cli::ListenerFlags) -> Result<ListenerSettings, Error> {
    let listen: Vec<_> = flags.listen.iter().flatten().map(|ListenAddress(address)| *address).collect();
    let name = match name {
        Some(name) if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) => {
            return Err(Error::Usage(
                "the name of a listener has 1 to 64 bytes and no control characters; choose another".into(),
            ));
        }
        Some(name) => name,
        None => listen.first().map_or_else(|| "inherited".to_owned(), |address| name_of(address.port())),
    };
    let target = match (flags.transparent, flags.upstream.as_deref().unwrap_or_default()) {
        (Some(how), []) => Target::Original(how),
        (None, [UpstreamAddress { host, port }]) => Target::Host { host: host.clone(), port: *port },
        (Some(_), _) => return Err(Error::Usage(format!("listener {name}: either transparent or upstream, not both"))),
        (None, []) => return Err(Error::Usage(format!("listener {name}: where to? give it an upstream"))),
        (None, hosts) => {
            return Err(Error::Usage(format!(
                "listener {name}: one upstream, not {}; make it several listeners",
                hosts.len()
            )));
        }
    };
    Ok(ListenerSettings {
        listen,
        target,
        spoof_source: flags.spoof_source,
        mark: flags.mark.map(|mark| mark.0).or_else(|| flags.transparent.map(|_| MARK)),
        protocol: flags.protocol,
        header_from: flags.proxy_from.iter().flatten().map(|Network(network)| *network).collect(),
        health_from: flags.health_from.iter().flatten().map(|Network(network)| *network).collect(),
        header_to: flags.proxy_to,
        tls: terminate::tls(&name, &flags)?,
        admission: admission(&flags),
        times: times(&flags),
        name,
    })
}

fn admission(flags: &cli::ListenerFlags) -> AdmissionSettings {
    let number = |flag: Option<Number>| flag.map_or(0, Number::get);
    AdmissionSettings {
        connections: number(flags.max_connections),
        per_source: number(flags.max_per_source),
        per_prefix: number(flags.max_per_prefix),
        rate: number(flags.max_rate),
        on_limit: flags.on_limit.unwrap_or_default(),
        refuse: flags.refuse.unwrap_or_default(),
    }
}

fn times(flags: &cli::ListenerFlags) -> Times {
    let standard = Times::default();
    let time = |flag: Option<TimeOrOff>, standard| flag.map_or(standard, |TimeOrOff(time)| time);
    Times {
        connect: time(flags.connect_timeout, standard.connect),
        greeting: time(flags.greeting_timeout, standard.greeting),
        idle: time(flags.idle_timeout, standard.idle),
        idle_given: flags.idle_timeout.is_some(),
        half_close: time(flags.half_close_timeout, standard.half_close),
    }
}

fn name_of(port: u16) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == port);
    known.map_or_else(|| format!("port-{port}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;
    use crate::proxy::settings::{Refuse, TlsListen, TlsUpstream, Transparent};

    fn made(args: &str, file: &str) -> Result<Proxy, Error> {
        let args = ["mailtap", "proxy"].into_iter().chain(args.split_whitespace());
        let Ok(cli::Request::Proxy(typed)) = cli::Request::parse(args) else { panic!("another mode") };
        ready(&typed, &LoadedFile::of(file), 2, &|path| std::fs::read(path))
    }

    fn fault(args: &str, file: &str) -> String {
        let error = made(args, file).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    }

    #[test]
    fn a_host_alone_stands_for_the_mail_ports() {
        let ready = made("--upstream mx.example.org", "").unwrap();
        let names: Vec<_> = ready.proxy.listeners.iter().map(|l| (&*l.name, l.listen[0].port())).collect();
        assert_eq!(names, [("smtp", 25), ("pop3", 110), ("imap", 143)]);
        assert_eq!(ready.proxy.listeners[0].target, Target::Host { host: "mx.example.org".into(), port: 0 });
        assert_eq!(ready.policy.sources, ["smtp", "pop3", "imap"]);
        assert_eq!(ready.policy.detail, Detail::Envelope);
        assert!(!ready.policy.records.has(RecordKind::Command));
    }

    #[test]
    fn pairs_keep_their_order() {
        let ready =
            made("--listen 127.0.0.1:2525 --upstream 192.0.2.25:25 --listen :143 --upstream [2001:db8::1]:1143", "")
                .unwrap();
        let [first, second] = &*ready.proxy.listeners else { panic!() };
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
        let [first, second] = &*ready.proxy.listeners else { panic!() };
        assert_eq!((&*first.name, first.admission.connections, first.header_from.len()), ("in", 5, 2));
        assert_eq!((&*second.name, second.admission.connections, second.listen.len()), ("port-1143", 100, 2));
        assert_eq!((second.mark, second.spoof_source), (Some(MARK), true));
        assert_eq!(second.target, Target::Original(Transparent::Tproxy));
        assert_eq!(second.times.idle(Protocol::Imap, false), None);
        let times = made("--upstream a", "").unwrap().proxy.listeners[0].times;
        assert_eq!(times.idle(Protocol::Imap, false), Some(Duration::from_secs(35 * 60)));
        assert!(times.idle(Protocol::Smtp, false) >= Some(Duration::from_secs(600)));
        assert!(fault("", "[[listener]]\nlisten = ':1'\n").contains("where to?"));
        assert!(fault("", "[[listener]]\nport = 3\n").contains("unknown key `port`"));
    }

    #[test]
    fn a_flag_wins_over_a_table_and_a_table_over_what_is_above() {
        let file = "spoof-source = true\nrefuse = 'tell'\nmax-rate = 3\nverbose = 2\ndrain-timeout = 'off'\n\
                    [[listener]]\nlisten = ':1'\nupstream = 'a'\nspoof-source = false\nmax-rate = 0\n\
                    [[listener]]\nlisten = ':2'\nupstream = 'a'\nrefuse = 'close'\n";
        let of = |args| {
            let Proxy { proxy, running, .. } = made(args, file).unwrap();
            let each = proxy.listeners.iter();
            let each = each.map(|l| (l.spoof_source, l.admission.refuse, l.admission.rate)).collect::<Vec<_>>();
            (each, running.verbose, proxy.drain)
        };
        assert_eq!(of(""), (vec![(false, Refuse::Tell, 0), (true, Refuse::Close, 3)], 2, None));
        let flags = "--refuse tell --spoof-source --max-rate 9 -v --drain-timeout 1s";
        let expected = vec![(true, Refuse::Tell, 9), (true, Refuse::Tell, 9)];
        assert_eq!(of(flags), (expected, 1, Some(Duration::from_secs(1))));
        let named = made("--listen :3 --upstream b", file).unwrap().proxy.listeners;
        assert_eq!((named.len(), named[0].listen[0].port(), named[0].spoof_source), (1, 3, true));
        assert!(
            made("--listen :3 --upstream b", "[[listener]]\nlisten = 'x'").is_err(),
            "tables are read all the same"
        );
    }

    #[test]
    fn answered_tls_needs_certificates() {
        assert!(fault("--listen :1 --upstream a --tls implicit", "").contains("needs certificates"));
        assert!(
            fault("--listen :1 --upstream a --tls-cert c --tls-key k", "").contains("tls-cert is of use only where")
        );
        let ready =
            made("--listen :1 --upstream a --tls starttls --tls-cert c --tls-key k --upstream-tls implicit", "")
                .unwrap();
        let tls = ready.proxy.listeners[0].tls.as_ref().unwrap();
        assert_eq!((tls.listen, tls.upstream), (TlsListen::StartTls, TlsUpstream::Implicit));
    }
}

//! Where the proxy listens: several addresses, sockets from a service manager, and what follows a listener through reloads.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::running::{PATIENCE, free_address, patient, rest, scrape};

/// A server that greets with its name and closes.
fn greeter(name: &'static str) -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    thread::spawn(move || {
        for mut client in server.incoming().map_while(Result::ok) {
            let _ = client.write_all(format!("220 {name}\r\n").as_bytes());
        }
    });
    address
}

/// Who greets at `address`.
fn greeted(address: impl std::net::ToSocketAddrs) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    patient(&client);
    let greeting = String::from_utf8(rest(&mut client)).unwrap();
    greeting.trim_start_matches("220 ").trim_end().to_owned()
}

/// A `[[listener]]` table.
fn table(name: &str, listen: &[SocketAddr], upstream: SocketAddr) -> String {
    let mut table = format!("[[listener]]\nname = '{name}'\nupstream = '{upstream}'\nprotocol = 'smtp'\n");
    if !listen.is_empty() {
        let listen: Vec<_> = listen.iter().map(|address| format!("'{address}'")).collect();
        writeln!(table, "listen = [{}]", listen.join(", ")).unwrap();
    }
    table
}

/// A proxy with a configuration file, started by something like a service manager.
struct Configured {
    child: Child,
    stderr: BufReader<ChildStderr>,
    folder: TempDir,
    metrics: String,
}

impl Configured {
    /// Starts one on `sockets`, at most two, passed under `names`; without waiting.
    fn begin(config: &str, sockets: Vec<TcpListener>, names: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("c.toml"), config).unwrap();
        let metrics = free_address().to_string();
        // They come as standard input and output, which are easily passed on.
        let count = sockets.len();
        let mut passed = sockets.into_iter().map(|socket| Stdio::from(std::os::fd::OwnedFd::from(socket)));
        let line = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", line, env!("CARGO_BIN_EXE_mailtap"), "proxy", "--config"])
            .arg(folder.path().join("c.toml"));
        command.arg("--log").arg(folder.path().join("log")).args(["--metrics-listen", &metrics]).args(flags);
        if count > 0 {
            command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
        }
        command.stdin(passed.next().unwrap_or_else(Stdio::null)).stdout(passed.next().unwrap_or_else(Stdio::null));
        let mut child = command.env_remove("MAILTAP_LOG").stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, folder, metrics }
    }

    /// The same, and waits until it listens.
    fn start(config: &str, sockets: Vec<TcpListener>, names: &str) -> Self {
        let mut proxy = Self::begin(config, sockets, names, &[]);
        let mut said = String::new();
        while !said.contains("note: listener") {
            assert_ne!(proxy.stderr.read_line(&mut said).unwrap(), 0, "it did not start: {said}");
        }
        proxy
    }

    /// Has it read `config`; whether it took it.
    fn reload(&self, config: &str) -> bool {
        std::fs::write(self.folder.path().join("c.toml"), config).unwrap();
        let time = || scrape(&self.metrics, "mailtap_config_last_reload_success_timestamp_seconds", &[]);
        let before = time();
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            if time() > before {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Stops it: the session records it wrote, and what it said.
    fn stop(&mut self) -> (Vec<Value>, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        (records.filter(|record| record["record"] == "session").collect(), said)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same port at each of `hosts`.
fn at_one_port<const N: usize>(hosts: [&str; N]) -> [SocketAddr; N] {
    let port = free_address().port();
    hosts.map(|host| SocketAddr::new(host.parse().unwrap(), port))
}

#[test]
fn every_address_of_a_port_is_opened() {
    let mx = greeter("mx");
    let cases: [(&[&str], &[&str]); 6] = [
        (&["127.0.0.1", "127.0.0.2"], &["127.0.0.1", "127.0.0.2"]),
        (&["127.0.0.1", "::1"], &["127.0.0.1", "::1"]),
        (&["::1", "127.0.0.1", "127.0.0.3"], &["127.0.0.1", "::1", "127.0.0.3"]),
        (&["0.0.0.0", "::"], &["127.0.0.1", "::1"]),
        (&["127.0.0.1", "::"], &["127.0.0.1", "127.0.0.2", "::1"]),
        (&["127.0.0.1", "0.0.0.0", "127.0.0.1"], &["127.0.0.1", "127.0.0.2"]),
    ];
    for (listen, reached) in cases {
        let port = free_address().port();
        let listen: Vec<_> = listen.iter().map(|host| SocketAddr::new(host.parse().unwrap(), port)).collect();
        let mut proxy = Configured::start(&table("mx", &listen, mx), Vec::new(), "");
        for host in reached {
            assert_eq!(greeted((*host, port)), "mx", "{listen:?} at {host}");
        }
        // Nothing is opened twice, nor closed.
        assert!(proxy.reload(&table("mx", &listen, mx)), "{listen:?}");
        for host in reached {
            assert_eq!(greeted((*host, port)), "mx", "{listen:?} at {host}, again");
        }
        let (sessions, said) = proxy.stop();
        assert_eq!(sessions.len(), 2 * reached.len(), "{said}");
    }
}

#[test]
fn a_reload_may_add_the_other_family_of_a_port() {
    let mx = greeter("mx");
    for (before, after) in
        [(&["0.0.0.0"][..], &["::"][..]), (&["::"], &["0.0.0.0"]), (&["127.0.0.1"], &["127.0.0.1", "::1"])]
    {
        let port = free_address().port();
        let of = |hosts: &[&str]| {
            let listen: Vec<_> = hosts.iter().map(|host| SocketAddr::new(host.parse().unwrap(), port)).collect();
            table("mx", &listen, mx)
        };
        let proxy = Configured::start(&of(before), Vec::new(), "");
        assert!(proxy.reload(&of(after)), "{before:?} to {after:?}");
        assert_eq!(greeted(("127.0.0.1", port)), "mx", "{before:?} to {after:?}");
        assert_eq!(greeted(("::1", port)), "mx", "{before:?} to {after:?}");
    }
    // It cannot have less of a port while that is open, and says so.
    let port = free_address().port();
    let of = |host: &str| table("mx", &[SocketAddr::new(host.parse().unwrap(), port)], mx);
    let mut proxy = Configured::start(&of("::"), Vec::new(), "");
    assert!(proxy.reload(&of("0.0.0.0")));
    assert!(!proxy.reload(&of("127.0.0.1")));
    assert_eq!(greeted(("127.0.0.1", port)), "mx");
    let (_, said) = proxy.stop();
    assert!(
        said.contains(&format!("warning: listener mx: it goes on listening at [::]:{port} until a restart")),
        "{said}"
    );
    assert!(
        said.contains(&format!("cannot listen at 127.0.0.1:{port}: mailtap itself listens at [::]:{port}; restart it")),
        "{said}"
    );
    // What a socket unit has of a port is enough.
    let passed = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = passed.local_addr().unwrap().port();
    let _proxy =
        Configured::start(&table("mx", &[SocketAddr::new("::".parse().unwrap(), port)], mx), vec![passed], "mail");
    assert_eq!(greeted(("127.0.0.1", port)), "mx");
    assert!(TcpStream::connect(("::1", port)).is_err());
}

#[test]
fn families_of_a_port_may_be_two_listeners() {
    let [ipv4, ipv6] = at_one_port(["0.0.0.0", "::"]);
    let config = table("four", &[ipv4], greeter("four")) + &table("six", &[ipv6], greeter("six"));
    let proxy = Configured::start(&config, Vec::new(), "");
    assert_eq!(greeted(("127.0.0.1", ipv4.port())), "four");
    assert_eq!(greeted(("::1", ipv4.port())), "six");
    // One of them has both from now on.
    assert!(proxy.reload(&table("six", &[ipv6], greeter("six"))));
    assert_eq!((greeted(("127.0.0.1", ipv4.port())), greeted(("::1", ipv4.port()))), ("six".into(), "six".into()));
}

#[test]
fn sockets_are_passed_by_name_and_by_address_and_stay_through_reloads() {
    let (mx, imap) = (greeter("mx"), greeter("imap"));
    let socket = || TcpListener::bind("127.0.0.1:0").unwrap();
    for by_address in [false, true] {
        let (first, second) = (socket(), socket());
        let (at_mx, at_imap) = (first.local_addr().unwrap(), second.local_addr().unwrap());
        // Where addresses tell, names need not: systemd has one name for all sockets of a unit.
        let names = if by_address { "mail:mail" } else { "mx:imap" };
        let listen = |address: SocketAddr| if by_address { vec![address] } else { Vec::new() };
        let one = || table("mx", &listen(at_mx), mx);
        let other = || table("imap", &listen(at_imap), imap);
        // Another process may hold the addresses: nothing can be bound there again.
        let held = [first.try_clone().unwrap(), second.try_clone().unwrap()];
        let mut proxy = Configured::start(&(other() + &one()), vec![first, second], names);
        let added = free_address();
        for config in [
            other() + &one(),
            one() + &other(),
            table("added", &[added], mx) + &one() + &other(),
            one(),
            other() + &one(),
        ] {
            assert!(proxy.reload(&config), "{config}");
            assert_eq!(greeted(at_mx), "mx");
            if config.contains("'imap'") {
                assert_eq!(greeted(at_imap), "imap");
            }
        }
        let (sessions, said) = proxy.stop();
        assert_eq!(said.matches("no listener wants the socket").count(), 1, "while there was no listener: {said}");
        assert!(said.contains(&at_imap.to_string()), "{said}");
        for session in sessions {
            let name = if session["server"]["port"] == at_mx.port() { "mx" } else { "imap" };
            assert_eq!((&session["listener"], &session["source"]), (&name.into(), &name.into()));
        }
        drop(held);
    }
}

#[test]
fn a_socket_passed_at_loopback_has_clients_of_this_host_alone() {
    let mx = greeter("mx");
    for (host, warned) in [("127.0.0.1", false), ("0.0.0.0", true)] {
        let socket = TcpListener::bind((host, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut proxy = Configured::begin(&table("mx", &[], mx), vec![socket], "mx", &[]);
        assert_eq!(greeted(("127.0.0.1", port)), "mx");
        let (_, said) = proxy.stop();
        assert_eq!(said.contains("mynetworks"), warned, "{host}: {said}");
    }
}

#[test]
fn a_socket_that_no_listener_wants_is_named() {
    let (wanted, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = other.local_addr().unwrap();
    let mut proxy = Configured::begin(&table("mx", &[], greeter("mx")), vec![wanted, other], "mx:pop", &[]);
    let mut said = String::new();
    proxy.stderr.read_to_string(&mut said).unwrap();
    assert_eq!(proxy.child.wait().unwrap().code(), Some(2));
    assert!(
        said.contains(&format!(
            "error: the service manager passes sockets that no listener wants: `pop` at {address};"
        )),
        "{said}"
    );

    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::from(std::os::fd::OwnedFd::from(datagrams));
    let wanted = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = Configured::begin(&table("mx", &[], greeter("mx")), vec![wanted, other], "mx:dns", &[]);
    let mut said = String::new();
    proxy.stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("number 2 (`dns`), which is no TCP listener"), "{said}");
}

#[test]
fn names_and_metrics_follow_a_listener_through_reloads() {
    let (a, b, c) = (free_address(), free_address(), free_address());
    let upstream = greeter("mx");
    let of = |names: &[(&str, SocketAddr)]| {
        names.iter().map(|(name, address)| table(name, &[*address], upstream)).collect::<String>()
    };
    let mut proxy = Configured::start(&of(&[("a", a)]), Vec::new(), "");
    let mut expected = Vec::new();
    let steps: [&[(&str, SocketAddr)]; 5] = [
        &[("a", a)],
        // In front, away, and back in another order.
        &[("b", b), ("a", a)],
        &[("b", b), ("c", c)],
        &[("c", c), ("a", a), ("b", b)],
        // One name goes to the address of another.
        &[("a", b), ("b", a)],
    ];
    for step in steps {
        assert!(proxy.reload(&of(step)));
        for (name, address) in step {
            let sessions =
                |name: &str| scrape(&proxy.metrics, "mailtap_sessions_total", &[&format!("listener=\"{name}\"")]);
            let before = sessions(name);
            assert_eq!(greeted(address), "mx");
            let began = Instant::now();
            while sessions(name) == before {
                assert!(began.elapsed() < PATIENCE, "no session of {name}");
                thread::sleep(Duration::from_millis(5));
            }
            expected.push((*name, address.port()));
        }
    }
    let (mut sessions, said) = proxy.stop();
    sessions.sort_by_key(|session| session["ts"].as_str().unwrap().to_owned());
    let seen: Vec<_> = sessions
        .iter()
        .map(|session| {
            assert_eq!(session["listener"], session["source"]);
            (session["listener"].as_str().unwrap(), session["server"]["port"].as_u64().unwrap() as u16)
        })
        .collect();
    assert_eq!(seen, expected, "{said}");
}

#[test]
fn names_of_passed_sockets_go_to_a_successor() {
    let (mx, imap) = (greeter("mx"), greeter("imap"));
    let [first, second] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let (at_mx, at_imap) = (first.local_addr().unwrap(), second.local_addr().unwrap());
    let held = [first.try_clone().unwrap(), second.try_clone().unwrap()];
    let handover = tempfile::tempdir().unwrap();
    let path = handover.path().join("socket").display().to_string();
    let config = |names: [(&str, SocketAddr); 2]| names.map(|(name, to)| table(name, &[], to)).concat();
    let flags = ["--handover", &*path];
    let mut one = Configured::begin(&config([("mx", mx), ("imap", imap)]), vec![first, second], "mx:imap", &flags);
    let began = Instant::now();
    while !std::path::Path::new(&path).exists() {
        assert!(began.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((greeted(at_mx), greeted(at_imap)), ("mx".into(), "imap".into()));
    // It has them in another order, and no socket of its own.
    let mut two = Configured::begin(&config([("imap", imap), ("mx", mx)]), Vec::new(), "", &flags);
    let began = Instant::now();
    while one.child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "the first does not give way");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((greeted(at_mx), greeted(at_imap)), ("mx".into(), "imap".into()));
    assert!(two.reload(&config([("mx", mx), ("imap", imap)])));
    assert_eq!((greeted(at_mx), greeted(at_imap)), ("mx".into(), "imap".into()));
    let (sessions, said) = two.stop();
    assert_eq!(sessions.len(), 4, "{said}");
    // Besides that its servers are on this host.
    let mut warnings = said.lines().filter(|line| line.contains("warning") && !line.contains("is on this host"));
    assert_eq!(warnings.next(), None, "{said}");
    drop(held);
}

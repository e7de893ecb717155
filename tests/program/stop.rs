//! How the proxy ends: by signals, at a deadline, in favour of a successor; whatever its connections are doing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::running::{
    PATIENCE, Proxy, free_address, is_reset, pass, patient, rest, scrape, spawn, spawn_in, talk, wait_for,
};

const HELLO: [&str; 3] = ["S: 220 mx ESMTP", "C: EHLO client", "S: 250 mx"];
const ENVELOPE: [&str; 4] = ["C: MAIL FROM:<a@example.net>", "S: 250 ok", "C: RCPT TO:<b@example.org>", "S: 250 ok"];
const DATA: [&str; 3] = ["C: DATA", "S: 354 go", "C: Subject: x"];

/// A server whose queue is full: it takes no connection, and answers no SYN.
struct FullServer {
    socket: TcpListener,
    _fills: Vec<TcpStream>,
}

impl FullServer {
    fn new() -> Self {
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        full.listen(0).unwrap();
        let socket = TcpListener::from(full);
        let fills = vec![TcpStream::connect(socket.local_addr().unwrap()).unwrap()];
        Self { socket, _fills: fills }
    }

    fn proxy(self, flags: &[&str]) -> Proxy {
        Proxy::before(self.socket, "smtp", flags)
    }
}

/// How long `proxy` takes to end.
fn time_to_end(proxy: &mut Proxy) -> Duration {
    let began = Instant::now();
    let (status, stderr) = proxy.wait();
    assert_eq!(status, 0, "{stderr}");
    began.elapsed()
}

const AT_ONCE: Duration = Duration::from_secs(4);

#[test]
fn who_does_not_forward_yet_is_turned_away_by_the_first_signal() {
    let words = b"421 4.3.2 Service not available, try again later\r\n".as_slice();
    // Dialling, with and without an end.
    for connect in ["60s", "off"] {
        let mut proxy =
            FullServer::new().proxy(&["--connect-timeout", connect, "--drain-timeout", "60s", "--refuse", "tell"]);
        let mut clients = [proxy.client(), proxy.client()];
        thread::sleep(Duration::from_millis(200));
        proxy.signal(Signal::TERM);
        clients.iter_mut().for_each(|client| assert_eq!(rest(client), words));
        assert!(time_to_end(&mut proxy) < AT_ONCE);
        let records = proxy.records();
        let sessions: Vec<_> = records.iter().filter(|record| record["record"] == "session").collect();
        assert!(sessions.len() == 2 && sessions.iter().all(|s| s["close"]["how"] == "drain"), "{sessions:?}");
    }
    // A header that is still to come.
    let metrics = free_address().to_string();
    let flags = ["--proxy-from", "127.0.0.0/8", "--drain-timeout", "60s", "--metrics-listen", &metrics];
    let mut proxy = Proxy::start("smtp", &flags);
    let (mut busy, mut busy_server) = headed(&proxy);
    talk(&mut busy, &mut busy_server, &[&HELLO[..], &ENVELOPE, &DATA].concat());
    let mut silent = proxy.client();
    let mut half = proxy.client();
    half.write_all(b"PROXY TCP4 192.0.2.1").unwrap();
    thread::sleep(Duration::from_millis(100));
    proxy.signal(Signal::QUIT);
    assert!(is_reset(&mut silent) && is_reset(&mut half));
    wait_for(&metrics, "mailtap_sessions_rejected_total", &["reason=\"drain\""], |n| n == 2.0);
    pass(&mut busy, &mut busy_server, b"\r\n.\r\n");
    talk(&mut busy, &mut busy_server, &["S: 250 queued"]);
    assert!(time_to_end(&mut proxy) < AT_ONCE);
}

/// A client and its server, behind a PROXY header.
fn headed(proxy: &Proxy) -> (TcpStream, TcpStream) {
    let mut client = proxy.client();
    client.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").unwrap();
    let (server, _) = proxy.server.accept().unwrap();
    patient(&server);
    (client, server)
}

#[test]
fn nobody_is_dialled_after_the_first_signal() {
    let mut proxy = Proxy::start("smtp", &["--max-connections", "1", "--drain-timeout", "60s", "--threads", "2"]);
    let (mut busy, mut server) = proxy.connect();
    let waiting: Vec<_> = (0..6).map(|_| proxy.client()).collect();
    talk(&mut busy, &mut server, &[&HELLO[..], &ENVELOPE, &DATA].concat());
    proxy.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(300));
    pass(&mut busy, &mut server, b".\r\n");
    talk(&mut busy, &mut server, &["S: 250 queued"]);
    assert_eq!(rest(&mut busy), b"");
    assert!(time_to_end(&mut proxy) < AT_ONCE);
    proxy.server.set_nonblocking(true).unwrap();
    assert_eq!(proxy.server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(waiting);
}

#[test]
fn sessions_at_rest_hold_up_no_end() {
    let mut proxy = Proxy::start("smtp", &["--drain-timeout", "60s"]);
    let states: [&[&[&str]]; 5] = [&[], &[&HELLO[..1]], &[&HELLO], &[&HELLO, &ENVELOPE[..2]], &[&HELLO, &ENVELOPE]];
    let mut open: Vec<_> = states.iter().map(|_| proxy.connect()).collect();
    for (state, (client, server)) in states.iter().zip(&mut open) {
        talk(client, server, &state.concat());
    }
    // QUIT was answered, and the client stays.
    let (mut gone, mut gone_server) = proxy.connect();
    talk(&mut gone, &mut gone_server, &[&HELLO[..], &["C: QUIT", "S: 221 bye"]].concat());
    drop(gone_server);
    proxy.signal(Signal::TERM);
    assert!(time_to_end(&mut proxy) < Duration::from_secs(12), "spread over five seconds, no more");
    for (client, _) in &mut open {
        assert_eq!(rest(client), b"");
    }
}

#[test]
fn who_waits_for_a_reply_is_not_at_rest() {
    let sessions: [(&str, &[&str], &[&str]); 3] = [
        ("smtp", &["S: 220 mx", "C: EHLO a", "S: 250 mx", "C: VRFY ann"], &["S: 252 perhaps"]),
        ("pop3", &["S: +OK ready", "C: USER ann", "S: +OK", "C: PASS x", "S: +OK", "C: STAT"], &["S: +OK 0 0"]),
        ("imap", &["S: * OK ready", "C: a LOGIN ann x", "S: a OK", "C: b EXPUNGE"], &["S: b OK done"]),
    ];
    for (protocol, before, reply) in sessions {
        let mut proxy = Proxy::start(protocol, &["--drain-timeout", "60s"]);
        let (mut client, mut server) = proxy.connect();
        talk(&mut client, &mut server, before);
        proxy.signal(Signal::TERM);
        thread::sleep(Duration::from_millis(1500));
        talk(&mut client, &mut server, reply);
        assert_eq!(rest(&mut client), b"", "{protocol}");
        assert!(time_to_end(&mut proxy) < AT_ONCE);
    }
    // IDLE waits for nothing in particular.
    let mut proxy = Proxy::start("imap", &["--drain-timeout", "60s"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &["S: * OK ready", "C: a LOGIN ann x", "S: a OK", "C: c IDLE", "S: + idling"]);
    proxy.signal(Signal::TERM);
    assert_eq!(rest(&mut client), b"");
    assert!(time_to_end(&mut proxy) < AT_ONCE);
}

/// What a session may be doing that nothing but force ends.
fn busy(proxy: &Proxy) -> Vec<(TcpStream, TcpStream)> {
    let mut open: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    for (client, server) in &mut open {
        talk(client, server, &HELLO);
    }
    let [data, blocked, half, tls] = &mut open[..] else { panic!() };
    talk(&mut data.0, &mut data.1, &[&ENVELOPE[..], &DATA].concat());
    talk(&mut blocked.0, &mut blocked.1, &[&ENVELOPE[..], &DATA].concat());
    blocked.0.set_nonblocking(true).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        // Nobody reads it.
        let _ = blocked.0.write(&[b'x'; 1 << 16]);
    }
    half.0.write_all(b"EXPN all\r\n").unwrap();
    half.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut half.1), b"EXPN all\r\n");
    // TLS that is passed through.
    talk(&mut tls.0, &mut tls.1, &["C: STARTTLS", "S: 220 go"]);
    pass(&mut tls.0, &mut tls.1, b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03");
    open
}

#[test]
fn a_second_signal_ends_everything() {
    let mut proxy = Proxy::start("smtp", &["--drain-timeout", "off", "--connect-timeout", "off"]);
    let open = busy(&proxy);
    proxy.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(1500));
    proxy.signal(Signal::INT);
    assert!(time_to_end(&mut proxy) < AT_ONCE);
    let sessions = proxy.records().into_iter().filter(|r| r["record"] == "session" && r["close"]["how"] == "drain");
    assert_eq!(sessions.count(), open.len());
}

#[test]
fn the_deadline_ends_everything() {
    let mut proxy = Proxy::start("smtp", &["--drain-timeout", "2s"]);
    let open = busy(&proxy);
    proxy.signal(Signal::TERM);
    let took = time_to_end(&mut proxy);
    assert!(took < Duration::from_secs(2) + AT_ONCE, "{took:?}");
    drop(open);
}

#[test]
fn a_handshake_that_is_answered_here_holds_up_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("cert"), made.cert.pem()).unwrap();
    std::fs::write(at("key"), made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (at("cert"), at("key"));
    for tls in ["implicit", "starttls"] {
        let flags = ["--tls", tls, "--tls-cert", &cert, "--tls-key", &key, "--drain-timeout", "2s"];
        let mut proxy = Proxy::start("smtp", &flags);
        let (mut client, mut server) = proxy.connect();
        if tls == "starttls" {
            talk(&mut client, &mut server, &["S: 220 mx"]);
            client.write_all(b"STARTTLS\r\n").unwrap();
            let mut reply = [0; 4];
            client.read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"220 ");
        }
        client.write_all(b"\x16\x03\x01\x02\x00").unwrap();
        proxy.signal(Signal::TERM);
        let took = time_to_end(&mut proxy);
        assert!(took < Duration::from_secs(2) + AT_ONCE, "{tls}: {took:?}");
    }
}

#[test]
fn signals_of_other_proxies_do_no_harm() {
    let mut proxy = Proxy::start("smtp", &["--drain-timeout", "20s"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    proxy.signal(Signal::USR2);
    // As logrotate does: moved away, and opened anew.
    std::fs::rename(proxy.log(), proxy.log().with_extension("old")).unwrap();
    proxy.signal(Signal::USR1);
    let began = Instant::now();
    while !proxy.log().exists() {
        assert!(began.elapsed() < PATIENCE, "the log is not opened again");
        thread::sleep(Duration::from_millis(10));
    }
    talk(&mut client, &mut server, &["C: NOOP", "S: 250 ok"]);
    proxy.signal(Signal::QUIT);
    assert_eq!(rest(&mut client), b"");
    let (status, stderr) = proxy.wait();
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(stderr.matches("warning: SIGUSR2 is ignored").count(), 1, "{stderr}");
    assert!(proxy.records().iter().any(|record| record["record"] == "session"), "written to the new file");
}

/// A proxy that can be taken over from, and what a successor of it is started with.
struct Handover {
    folder: TempDir,
    first: Proxy,
}

impl Handover {
    fn new(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover").display().to_string();
        let flags = [&["--handover", &path, "--drain-timeout", "20s"], flags].concat();
        let first = Proxy::start("smtp", &flags);
        Self { folder, first }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Starts a successor that logs to `log`, and waits until it listens.
    fn succeed(&self, log: &str) -> std::process::Child {
        let (listen, upstream) = (self.first.address.to_string(), self.first.server.local_addr().unwrap().to_string());
        let (path, log) = (self.path("handover"), self.path(log));
        let flags = ["--listen", &listen, "--upstream", &upstream, "--protocol", "smtp"];
        spawn_in(&[&flags[..], &["--handover", &path, "--log", &log]].concat(), &[]).0
    }
}

#[test]
fn a_successor_that_fails_leaves_the_running_one_as_it_was() {
    let mut handover = Handover::new(&[]);
    let (listen, upstream) = (handover.first.address.to_string(), "127.0.0.1:25");
    let failing = std::process::Command::new(env!("CARGO_BIN_EXE_mailtap"))
        .args(["proxy", "--listen", &listen, "--upstream", upstream, "--log", "/nowhere/at/all"])
        .args(["--handover", &handover.path("handover")])
        .output()
        .unwrap();
    assert_eq!(failing.status.code(), Some(1));
    let (mut client, mut server) = handover.first.connect();
    talk(&mut client, &mut server, &HELLO);
    let mut second = handover.succeed("log");
    assert!(time_to_end(&mut handover.first) < Duration::from_secs(10));
    // And the one after that.
    TcpStream::connect(handover.first.address).unwrap();
    let mut third = handover.succeed("log-3");
    let began = Instant::now();
    while second.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "the second does not give way to the third");
        thread::sleep(Duration::from_millis(20));
    }
    third.kill().unwrap();
    third.wait().unwrap();
}

#[test]
fn who_is_silent_at_the_handover_holds_up_nobody() {
    let mut handover = Handover::new(&[]);
    let silent: Vec<_> = (0..3).map(|_| UnixStream::connect(handover.path("handover")).unwrap()).collect();
    let mut second = handover.succeed("log");
    assert!(time_to_end(&mut handover.first) < AT_ONCE);
    drop(silent);
    second.kill().unwrap();
    second.wait().unwrap();

    let mut handover = Handover::new(&[]);
    let _silent = UnixStream::connect(handover.path("handover")).unwrap();
    thread::sleep(Duration::from_millis(100));
    handover.first.signal(Signal::TERM);
    assert!(time_to_end(&mut handover.first) < AT_ONCE);
}

#[test]
fn clients_that_were_accepted_before_a_handover_are_served() {
    let mut handover = Handover::new(&["--proxy-from", "127.0.0.0/8"]);
    let mut early = handover.first.client();
    early.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 ").unwrap();
    thread::sleep(Duration::from_millis(100));
    let mut second = handover.succeed("log");
    thread::sleep(Duration::from_millis(200));
    early.write_all(b"1 2\r\n").unwrap();
    let (mut server, _) = handover.first.server.accept().unwrap();
    patient(&server);
    talk(&mut early, &mut server, &[&HELLO[..], &ENVELOPE, &DATA].concat());
    // The first signal after it cuts no message either.
    handover.first.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(700));
    pass(&mut early, &mut server, b".\r\n");
    talk(&mut early, &mut server, &["S: 250 queued"]);
    assert!(time_to_end(&mut handover.first) < AT_ONCE);
    assert!(handover.first.records().iter().any(|record| record["outcome"] == "accepted"));
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn a_process_without_descriptors_blames_no_server() {
    let metrics = free_address().to_string();
    for (on_limit, flags) in [("wait", &[][..]), ("close", &["--on-limit", "close", "--refuse", "tell"])] {
        let limit = 64;
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log").display().to_string();
        let (listen, upstream) = (free_address(), server.local_addr().unwrap().to_string());
        let line = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let mut child = std::process::Command::new("sh")
            .args(["-c", &line, env!("CARGO_BIN_EXE_mailtap"), "proxy", "--protocol", "smtp", "--threads", "2"])
            .args(["--listen", &listen.to_string(), "--upstream", &upstream, "--metrics-listen", &metrics])
            .args(["--log", &log])
            .args(flags)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut clients = Vec::new();
        let began = Instant::now();
        while clients.len() < 40 {
            assert!(began.elapsed() < PATIENCE);
            clients.extend(TcpStream::connect(listen).inspect(patient).ok());
        }
        thread::sleep(Duration::from_millis(500));
        // The log and the metrics have what they need.
        assert_eq!(scrape(&metrics, "mailtap_connect_errors_total", &[]), 0.0, "{on_limit}");
        let rejected = scrape(&metrics, "mailtap_sessions_rejected_total", &["reason=\"descriptors\""]);
        assert_eq!(rejected > 0.0, on_limit == "close", "{on_limit}: {rejected}");
        std::fs::remove_file(&log).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::USR1).unwrap();
        let began = Instant::now();
        while !std::path::Path::new(&log).exists() {
            assert!(began.elapsed() < PATIENCE, "the log cannot be opened again");
            thread::sleep(Duration::from_millis(10));
        }
        // Those who wait come in as others leave.
        let mut served = 0;
        server.set_nonblocking(true).unwrap();
        let began = Instant::now();
        while served < if on_limit == "wait" { 40 } else { 5 } {
            assert!(began.elapsed() < PATIENCE, "{on_limit}: {served} were served");
            match server.accept() {
                Ok((mut stream, _)) => {
                    served += 1;
                    stream.write_all(b"220 mx\r\n").unwrap();
                }
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
            for client in &clients {
                let _ = client.shutdown(std::net::Shutdown::Write);
            }
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::KILL).unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        child.wait().unwrap();
        assert!(stderr.contains("warning: listener") && stderr.contains("the process may open 64"), "{stderr}");
        assert!(!stderr.contains("cannot be reached"), "{stderr}");
    }
}

#[test]
fn a_limit_that_is_lowered_meanwhile_blames_no_server() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let metrics = free_address().to_string();
    let proxy = Proxy::start("smtp", &["--metrics-listen", &metrics, "--threads", "1", "--refuse", "tell"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    // Room for the client, and none for its server: descriptors have the lowest free number.
    let open: std::collections::HashSet<u64> = std::fs::read_dir(format!("/proc/{}/fd", proxy.id()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    let current = (0..).filter(|number| !open.contains(number)).nth(1);
    let pid = Pid::from_raw(proxy.id().try_into().unwrap());
    let before = prlimit(pid, Resource::Nofile, Rlimit { current, maximum: None });
    // Only the privileged may raise the hard one.
    let Ok(before) = before.or_else(|_| {
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        prlimit(pid, Resource::Nofile, Rlimit { current, maximum })
    }) else {
        return eprintln!("skipped: limits of processes cannot be set here");
    };
    let mut turned_away = proxy.client();
    assert_eq!(rest(&mut turned_away), b"421 4.3.2 Service not available, try again later\r\n");
    let mut waiting = proxy.client();
    prlimit(pid, Resource::Nofile, before).unwrap();
    let (mut its_server, _) = proxy.server.accept().unwrap();
    patient(&its_server);
    talk(&mut waiting, &mut its_server, &HELLO);
    assert_eq!(scrape(&metrics, "mailtap_connect_errors_total", &[]), 0.0);
    assert_eq!(scrape(&metrics, "mailtap_sessions_rejected_total", &["reason=\"descriptors\""]), 1.0);
    talk(&mut client, &mut server, &["C: NOOP", "S: 250 ok"]);
}

#[test]
fn a_stop_during_splicing_ends_it() {
    let mut proxy = Proxy::start("imap", &["--drain-timeout", "off"]);
    let (mut client, mut server) = proxy.connect();
    let record = |kind: u8, length: u16| {
        let mut octets = vec![kind, 3, 3];
        octets.extend(length.to_be_bytes());
        octets.extend(std::iter::repeat_n(b'x', length.into()));
        octets
    };
    pass(&mut client, &mut server, &record(0x16, 200));
    pass(&mut server, &mut client, &record(0x16, 800));
    let bulk = record(0x17, 16_384);
    let sender = thread::spawn(move || while server.write_all(&bulk).is_ok() {});
    let mut taken = vec![0; 1 << 20];
    let reader = thread::spawn(move || while client.read(&mut taken).is_ok_and(|octets| octets > 0) {});
    thread::sleep(Duration::from_millis(300));
    proxy.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(300));
    proxy.signal(Signal::TERM);
    assert!(time_to_end(&mut proxy) < AT_ONCE);
    sender.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_reload_with_open_sessions_and_a_stop_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let (file, server) = (folder.path().join("c.toml"), TcpListener::bind("127.0.0.1:0").unwrap());
    let (listen, upstream) = (free_address(), server.local_addr().unwrap());
    std::fs::write(
        &file,
        format!("drain-timeout = '20s'\n[[listener]]\nlisten = '{listen}'\nupstream = '{upstream}'\n"),
    )
    .unwrap();
    let (mut child, _stderr) = spawn(&["--config", file.to_str().unwrap()]);
    let _client = TcpStream::connect(listen).unwrap();
    let (_server, _) = server.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    for signal in [Signal::HUP, Signal::TERM, Signal::HUP, Signal::USR1] {
        rustix::process::kill_process(pid, signal).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < AT_ONCE, "it does not end");
        thread::sleep(Duration::from_millis(10));
    }
}

//! Where the proxy goes on to: names and addresses of servers, circles, what servers are told of clients, health checks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::running::{PATIENCE, Proxy, free_address, is_reset, pass, patient, rest, scrape, spawn, talk, wait_for};

/// A proxy that does not start: its exit status and what it says.
fn refused(flags: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mailtap"))
        .arg("proxy")
        .args(flags)
        .env_remove("MAILTAP_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn text(address: SocketAddr) -> String {
    address.to_string()
}

#[test]
fn a_record_names_the_server_that_was_dialled() {
    let proxy = Proxy::start("smtp", &[]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &["S: 220 mx", "C: QUIT", "S: 221 bye"]);
    drop((client, server));
    let session = proxy.record("session");
    let to = proxy.server.local_addr().unwrap();
    assert_eq!(session["upstream"]["ip"], to.ip().to_string());
    assert_eq!(session["upstream"]["port"], to.port());
    assert!(session["upstream"]["connect"].as_f64().unwrap() < 10.0, "{session}");
    assert_eq!(session["upstream"].get("error"), None);
    assert_eq!(session["listener"], session["source"]);
}

#[test]
fn a_server_that_is_down_is_in_the_record_and_its_listener_has_a_protocol() {
    for protocol in ["smtp", "lmtp", "pop3", "imap", "managesieve"] {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let metrics = text(free_address());
        let proxy = Proxy::before_address(gone, protocol, &["--metrics-listen", &metrics]);
        let mut client = proxy.client();
        assert!(is_reset(&mut client));
        let session = proxy.record("session");
        assert_eq!(session["protocol"], protocol);
        assert_eq!(session["upstream"]["error"], "refused", "{session}");
        assert_eq!(
            (&session["upstream"]["ip"], &session["upstream"]["port"]),
            (&"127.0.0.1".into(), &gone.port().into())
        );
        let errors = scrape(
            &metrics,
            "mailtap_connect_errors_total",
            &["reason=\"refused\"", &format!("protocol=\"{protocol}\"")],
        );
        assert!((errors - 1.0).abs() < 0.1, "{errors}");
    }
}

#[test]
fn a_name_that_is_not_known_does_not_stop_the_other_listeners() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let [one, other, metrics] = [free_address(), free_address(), free_address()].map(text);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let upstream = text(server.local_addr().unwrap());
    let flags =
        ["--listen", &one, "--upstream", &upstream, "--listen", &other, "--upstream", "mail.example.invalid:143"];
    let more =
        ["--protocol", "imap", "--log", log.to_str().unwrap(), "--metrics-listen", &metrics, "--connect-timeout", "5s"];
    let (mut child, _stderr) = spawn(&[&flags[..], &more].concat());
    let mut client = TcpStream::connect(&*one).unwrap();
    patient(&client);
    let (mut served, _) = server.accept().unwrap();
    pass(&mut served, &mut client, b"* OK\r\n");
    drop(client);
    let mut client = TcpStream::connect(&*other).unwrap();
    patient(&client);
    assert!(is_reset(&mut client));
    drop(served);
    wait_for(&metrics, "mailtap_connect_errors_total", &["reason=\"unresolved\""], |errors| errors > 0.5);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(&log).unwrap();
    let mut records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let session = records.find(|record| record["upstream"].get("ip").is_none()).unwrap();
    assert_eq!(
        (&session["protocol"], &session["upstream"]),
        (&"imap".into(), &serde_json::json!({"error": "unresolved"}))
    );
}

#[test]
fn a_client_of_another_family_than_its_server_is_counted_as_turned_away() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (listen, metrics) = (TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap(), text(free_address()));
    let [own, upstream] = [listen, server.local_addr().unwrap()].map(text);
    let (mut child, _stderr) =
        spawn(&["--listen", &own, "--upstream", &upstream, "--spoof-source", "--metrics-listen", &metrics]);
    let mut client = TcpStream::connect(listen).unwrap();
    patient(&client);
    assert!(is_reset(&mut client));
    wait_for(&metrics, "mailtap_sessions_rejected_total", &["reason=\"spoof_family\""], |count| count > 0.5);
    assert!(scrape(&metrics, "mailtap_connect_errors_total", &[]) < 0.5, "it is no fault of the server's");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn circles_of_listeners_do_not_start() {
    let [a, b, c] = [free_address(), free_address(), free_address()].map(text);
    let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();
    let anywhere = format!(":{}", port(&a));
    for (flags, said) in [
        (vec![(&*a, &*a)], "is the listener itself"),
        (vec![(&*anywhere, &*a)], "is the listener itself"),
        (vec![(&*a, &*b), (&*b, &*a)], "whose connections come back to it"),
        (vec![(&*a, &*b), (&*b, &*c), (&*c, &*a)], "whose connections come back to it"),
    ] {
        let flags: Vec<&str> = flags.into_iter().flat_map(|(l, u)| ["--listen", l, "--upstream", u]).collect();
        let (status, text) = refused(&flags);
        assert!(status == 2 && text.contains(said), "{flags:?}: {status} {text}");
        let (status, text) = refused(&[&flags[..], &["--check"]].concat());
        assert!(status == 1 && text.contains(said), "{flags:?}: {status} {text}");
    }
}

/// Two instances, each the other's server: the second does not start. One that goes on elsewhere does.
#[test]
fn circles_of_two_instances_do_not_start() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let [a, b, c] = [free_address(), free_address(), free_address()].map(text);
    let (mut first, _stderr) = spawn(&["--listen", &a, "--upstream", &b, "--protocol", "smtp"]);
    // It is announced once it serves.
    let began = std::time::Instant::now();
    let name = format!("/{a}/{b}");
    let is_announced = |line: &str| line.contains(&name) && line.contains(" 00010000 ");
    while !std::fs::read_to_string("/proc/self/net/unix").unwrap().lines().any(is_announced) {
        assert!(began.elapsed() < PATIENCE, "it is not announced");
    }
    let (status, said) = refused(&["--listen", &b, "--upstream", &a]);
    assert!(status == 2 && said.contains("another mailtap's listener, whose connections come back to it"), "{said}");
    let (status, said) = refused(&["--listen", &b, "--upstream", &a, "--check"]);
    assert!(status == 1 && said.contains("another mailtap's listener"), "{said}");
    let (status, said) = refused(&["--listen", &b, "--upstream", &c, "--listen", &c, "--upstream", &a]);
    assert!(status == 2 && said.contains("whose connections come back to it"), "{said}");
    let upstream = text(server.local_addr().unwrap());
    let (mut second, _stderr) = spawn(&["--listen", &b, "--upstream", &upstream, "--protocol", "smtp"]);
    let mut client = TcpStream::connect(&*a).unwrap();
    patient(&client);
    let (mut served, _) = server.accept().unwrap();
    pass(&mut served, &mut client, b"220 mx\r\n");
    for child in [&mut first, &mut second] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_chain_of_listeners_is_no_circle() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let [a, b] = [free_address(), free_address()].map(text);
    let upstream = text(server.local_addr().unwrap());
    let (mut child, _stderr) = spawn(&["--listen", &a, "--upstream", &b, "--listen", &b, "--upstream", &upstream]);
    let mut client = TcpStream::connect(&*a).unwrap();
    patient(&client);
    let (mut served, _) = server.accept().unwrap();
    pass(&mut served, &mut client, b"220 mx\r\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_server_that_takes_clients_for_this_host_is_warned_of() {
    let said = |flags: &[&str]| {
        let listen = text(free_address());
        let all = [&["proxy", "--listen", &listen, "--protocol", "smtp"], flags].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtap"));
        let command = command.args(all).env_remove("MAILTAP_LOG").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        while !said.contains("note: listener") {
            let line = lines.next().unwrap_or_else(|| panic!("it did not start: {said}"));
            said += &line.unwrap();
            said.push('\n');
        }
        child.kill().unwrap();
        child.wait().unwrap();
        said
    };
    for upstream in ["127.0.0.1:9", "[::1]:9", "localhost:9"] {
        let text = said(&["--upstream", upstream]);
        assert!(text.contains("mynetworks") && text.contains("--proxy-to"), "{upstream}: {text}");
        assert!(!said(&["--upstream", upstream, "--proxy-to", "v2"]).contains("mynetworks"), "{upstream}");
    }
    assert!(!said(&["--upstream", "192.0.2.25:9"]).contains("mynetworks"));
}

/// The destination that the server is told is the one the client connected to, through any number of balancers.
#[test]
fn a_header_that_goes_out_has_the_destination_of_the_one_that_came_in() {
    for (version, came, goes) in [
        (
            "v1",
            "PROXY TCP4 203.0.113.66 198.51.100.1 40000 993\r\n",
            "PROXY TCP4 203.0.113.66 198.51.100.1 40000 993\r\n",
        ),
        (
            "v1",
            "PROXY TCP6 2001:db8::66 2001:db8::1 40000 993\r\n",
            "PROXY TCP6 2001:db8::66 2001:db8::1 40000 993\r\n",
        ),
    ] {
        let proxy = Proxy::start("imap", &["--proxy-from", "127.0.0.1", "--proxy-to", version]);
        let mut client = proxy.client();
        client.write_all(came.as_bytes()).unwrap();
        let (mut server, _) = proxy.server.accept().unwrap();
        patient(&server);
        let mut header = vec![0; goes.len()];
        server.read_exact(&mut header).unwrap();
        assert_eq!(String::from_utf8(header).unwrap(), goes);
    }
    // One that names nobody: then the connection's own addresses hold.
    let proxy = Proxy::start("imap", &["--proxy-from", "127.0.0.0/8", "--proxy-to", "v1"]);
    let mut client = proxy.client();
    client.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    let (mut server, _) = proxy.server.accept().unwrap();
    patient(&server);
    let (from, to) = (client.local_addr().unwrap(), proxy.address);
    let expected = format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
    let mut header = vec![0; expected.len()];
    server.read_exact(&mut header).unwrap();
    assert_eq!(String::from_utf8(header).unwrap(), expected);
}

#[test]
fn health_checks_are_counted_apart() {
    for (protocol, greeting, goodbye, answer) in [
        ("smtp", "220 mx", "QUIT", "221 bye"),
        ("pop3", "+OK", "quit", "+OK bye"),
        ("imap", "* OK", "a1 LOGOUT", "* BYE"),
    ] {
        for verbose in [false, true] {
            let metrics = text(free_address());
            let mut flags = vec!["--health-from", "127.0.0.0/8,192.0.2.1", "--metrics-listen", &metrics];
            flags.extend(verbose.then_some("-v"));
            let proxy = Proxy::start(protocol, &flags);
            let (greeting, said, answer) = (format!("S: {greeting}"), format!("C: {goodbye}"), format!("S: {answer}"));
            // Nothing, goodbye, goodbye before the greeting.
            let (client, mut server) = proxy.connect();
            drop(client);
            assert_eq!(rest(&mut server), b"");
            drop(server);
            for dialogue in [[&*greeting, &said, &answer], [&said, &greeting, &answer]] {
                let (mut client, mut server) = proxy.connect();
                talk(&mut client, &mut server, &dialogue);
                drop(server);
                assert_eq!(rest(&mut client), b"");
            }
            wait_for(&metrics, "mailtap_health_checks_total", &[protocol], |count| count > 2.5);
            assert!(scrape(&metrics, "mailtap_sessions_total", &[]) < 0.5, "{protocol}");
            assert!(scrape(&metrics, "mailtap_commands_total", &[]) < 0.5, "{protocol}");
            assert!(scrape(&metrics, "mailtap_sessions_active", &[]) < 0.5, "{protocol}");
            // One that says more is a session with all that it said.
            let (mut client, mut server) = proxy.connect();
            talk(&mut client, &mut server, &[&greeting, "C: a1 NOOP", "S: a1 OK done", &said, &answer]);
            drop(server);
            assert_eq!(rest(&mut client), b"");
            drop(client);
            wait_for(&metrics, "mailtap_sessions_ended_total", &[protocol], |count| count > 0.5);
            let records = proxy.stop();
            let sessions: Vec<_> = records.iter().filter(|record| record["record"] == "session").collect();
            assert_eq!(sessions.len(), if verbose { 4 } else { 1 }, "{protocol}: {sessions:?}");
            let whole = sessions.iter().filter(|session| session["counts"]["commands"] == 2);
            let whole: Vec<_> = whole.map(|session| &session["greeting"]["status"]).collect();
            assert_eq!(
                whole,
                [&greeting.trim_start_matches("S: ").trim_start_matches("* ").split(' ').next().unwrap()]
            );
        }
    }
}

#[test]
fn others_that_say_nothing_are_sessions() {
    let proxy = Proxy::start("smtp", &["--health-from", "192.0.2.0/24"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &["S: 220 mx", "C: QUIT", "S: 221 bye"]);
    drop((client, server));
    assert_eq!(proxy.record("session")["outcome"], "ok");
}

#[test]
fn the_server_is_dialled_while_a_health_check_says_nothing() {
    let proxy = Proxy::start("smtp", &["--health-from", "127.0.0.0/8", "--greeting-timeout", "1s"]);
    let (mut client, mut server) = proxy.connect();
    assert_eq!(rest(&mut client), b"", "and its times hold");
    assert_eq!(rest(&mut server), b"");
    assert_eq!(proxy.stop(), Vec::<Value>::new());
    assert!(PATIENCE > Duration::from_secs(1));
}

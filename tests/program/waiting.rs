//! Who waits at a listener: clients that say nothing, clients that find no place, servers that never greet.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use crate::running::{PATIENCE, Proxy, free_address, is_reset, patient, rest, scrape, talk, wait_for};

/// A proxy whose metrics can be had, and where.
fn start(protocol: &str, flags: &[&str]) -> (Proxy, String) {
    let metrics = free_address().to_string();
    let proxy = Proxy::start(protocol, &[&["--metrics-listen", &metrics], flags].concat());
    (proxy, metrics)
}

/// The answer to `/readyz` once it contains `wanted`.
fn readiness(address: &str, wanted: &str) -> String {
    let began = Instant::now();
    loop {
        let mut stream = TcpStream::connect(address).unwrap();
        patient(&stream);
        stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
        let answer = String::from_utf8(rest(&mut stream)).unwrap();
        if answer.contains(wanted) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{wanted:?} is not in {answer}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn silent_clients_that_fill_a_listener_are_seen() {
    const LIMIT: usize = 20;
    let (mut proxy, metrics) = start("imap", &["--max-connections", &LIMIT.to_string()]);
    for gauge in ["open", "waiting", "before_greeting", "before_greeting_oldest_seconds"] {
        assert_eq!(scrape(&metrics, &format!("mailtap_connections_{gauge}"), &[]), 0.0, "{gauge}");
    }
    let mut silent: Vec<_> = (0..LIMIT).map(|_| proxy.connect()).collect();
    wait_for(&metrics, "mailtap_connections_open", &[], |n| n == LIMIT as f64);
    wait_for(&metrics, "mailtap_connections_before_greeting", &[], |n| n == LIMIT as f64);
    // Nobody has spoken: it is no session yet.
    assert_eq!(scrape(&metrics, "mailtap_sessions_active", &[]), 0.0);
    let _further: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    wait_for(&metrics, "mailtap_connections_waiting", &[], |n| n == 3.0);
    wait_for(&metrics, "mailtap_connections_before_greeting_oldest_seconds", &[], |n| n > 0.5);
    let name = format!("listener port-{} is full: 20 of 20 connections are open, 3 more wait", proxy.address.port());
    let answer = readiness(&metrics, &name);
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\r\nready\n"), "{answer}");
    proxy.said("the limit of 20 connections is reached (--max-connections); more wait");
    // The first is greeted, the second goes: three wait for one place.
    let (client, server) = &mut silent[0];
    talk(client, server, &["S: * OK hi"]);
    drop(silent.remove(1));
    wait_for(&metrics, "mailtap_connections_waiting", &[], |n| n == 2.0);
    // Those that wait may be accepted already.
    wait_for(&metrics, "mailtap_connections_before_greeting", &[], |n| (19.0..=21.0).contains(&n));
    drop(silent);
    wait_for(&metrics, "mailtap_connections_waiting", &[], |n| n == 0.0);
    wait_for(&metrics, "mailtap_connections_open", &[], |n| n == 3.0);
    let began = Instant::now();
    while readiness(&metrics, "ready").contains("is full") {
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn a_session_in_which_nobody_spoke_is_of_the_listeners_protocol() {
    let (proxy, metrics) = start("smtp", &["--greeting-timeout", "1s"]);
    let (mut client, _server) = proxy.connect();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let of_smtp = ["protocol=\"smtp\""];
    wait_for(&metrics, "mailtap_sessions_ended_total", &["outcome=\"timeout\"", "phase=\"connect\""], |n| n == 1.0);
    for name in ["mailtap_sessions_total", "mailtap_sessions_ended_total", "mailtap_sessions_terminated_total"] {
        assert_eq!(scrape(&metrics, name, &of_smtp), 1.0, "{name}");
        assert_eq!(scrape(&metrics, name, &["protocol=\"unknown\""]), 0.0, "{name}");
    }
    assert_eq!(proxy.record("session")["protocol"], "smtp");
}

#[test]
fn a_server_that_never_greets_is_counted() {
    let (proxy, metrics) = start("smtp", &["--greeting-timeout", "1s", "--idle-timeout", "1s"]);
    let name = "mailtap_greeting_timeouts_total";
    assert_eq!(scrape(&metrics, name, &[]), 0.0);
    let (mut silent, _silent_server) = proxy.connect();
    // A client that does not wait for the greeting changes nothing.
    let (mut eager, mut eager_server) = proxy.connect();
    talk(&mut eager, &mut eager_server, &["C: EHLO client"]);
    let (mut greeted, mut greeting) = proxy.connect();
    talk(&mut greeted, &mut greeting, &["S: 220 mx ESMTP"]);
    for client in [&mut silent, &mut eager, &mut greeted] {
        assert_eq!(rest(client), b"");
    }
    wait_for(&metrics, "mailtap_sessions_terminated_total", &["reason=\"timeout\""], |n| n == 3.0);
    assert_eq!(scrape(&metrics, name, &[]), 2.0);
    // Nobody was there to greet.
    let (gone, listen, other) = (free_address().to_string(), free_address(), free_address().to_string());
    let flags =
        ["--listen", &listen.to_string(), "--upstream", &gone, "--protocol", "smtp", "--metrics-listen", &other];
    let (mut child, _stderr) = crate::running::spawn(&flags);
    let mut client = TcpStream::connect(listen).unwrap();
    patient(&client);
    assert!(is_reset(&mut client));
    wait_for(&other, "mailtap_connect_errors_total", &["protocol=\"smtp\"", "reason=\"refused\""], |n| n == 1.0);
    assert_eq!(scrape(&other, name, &[]), 0.0);
    child.kill().unwrap();
    child.wait().unwrap();
}

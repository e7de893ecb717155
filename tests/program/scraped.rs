//! What a running proxy counts of itself, looked at while it happens.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::running::{Proxy, free_address, is_reset, pass, patient, rest, scrape, spawn, talk, wait_for};

const HELLO: [&str; 3] = ["S: 220 mx ESMTP", "C: EHLO client", "S: 250 mx"];
const OPEN: [&str; 6] =
    ["C: MAIL FROM:<a@example.net>", "S: 250 ok", "C: RCPT TO:<b@example.org>", "S: 250 ok", "C: DATA", "S: 354 go"];

/// A proxy whose metrics can be had, and where.
fn start(protocol: &str, flags: &[&str]) -> (Proxy, String) {
    let metrics = free_address().to_string();
    let proxy = Proxy::start(protocol, &[&["--metrics-listen", &metrics], flags].concat());
    (proxy, metrics)
}

#[test]
fn servers_that_take_no_connection_are_counted_by_why() {
    // Its queue is full: a SYN is not answered.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    full.listen(0).unwrap();
    let silent = full.local_addr().unwrap().as_socket().unwrap();
    let _fills = [TcpStream::connect(silent).unwrap()];
    let (gone, metrics) = (free_address().to_string(), free_address().to_string());
    let silent = silent.to_string();
    // Class E: no route leads there. An address of a link, and no link: what the kernel says has no word of its own.
    let upstreams =
        [("refused", &*gone), ("timeout", &silent), ("unreachable", "255.255.255.255:25"), ("other", "[fe80::1]:25")];
    let mut flags = vec!["--protocol", "smtp", "--connect-timeout", "200ms", "--metrics-listen", &metrics];
    let listen: Vec<_> = upstreams.iter().map(|_| free_address()).collect();
    let names: Vec<_> = listen.iter().map(ToString::to_string).collect();
    for (name, (_, upstream)) in names.iter().zip(&upstreams) {
        flags.extend(["--listen", name, "--upstream", upstream]);
    }
    let (mut child, _stderr) = spawn(&flags);
    for (address, (reason, _)) in listen.iter().zip(&upstreams) {
        let mut client = TcpStream::connect(address).unwrap();
        patient(&client);
        assert!(is_reset(&mut client), "{reason}");
        let counted = scrape(&metrics, "mailtap_connect_errors_total", &[&format!("reason=\"{reason}\"")]);
        assert_eq!(counted, 1.0, "{reason}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn who_comes_to_the_listener_itself_where_connections_are_redirected_is_a_loop() {
    let (address, metrics) = (free_address(), free_address().to_string());
    let flags = ["--listen", &address.to_string(), "--transparent", "redirect", "--mark", "0"];
    let (mut child, _stderr) = spawn(&[&flags[..], &["--metrics-listen", &metrics]].concat());
    let mut client = TcpStream::connect(address).unwrap();
    patient(&client);
    assert!(is_reset(&mut client));
    assert_eq!(scrape(&metrics, "mailtap_sessions_rejected_total", &["reason=\"loop\""]), 1.0);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn forwarding_is_measured_both_ways() {
    let (proxy, metrics) = start("smtp", &["--max-connections", "7"]);
    assert_eq!(scrape(&metrics, "mailtap_sessions_limit", &[]), 7.0);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    let ways = ["direction=\"client_to_server\"", "direction=\"server_to_client\""];
    for way in ways {
        wait_for(&metrics, "mailtap_proxy_added_latency_seconds_count", &[way], |n| n > 0.0);
        assert!(scrape(&metrics, "mailtap_proxy_added_latency_seconds_sum", &[way]) > 0.0, "{way}");
        assert_eq!(scrape(&metrics, "mailtap_forward_paused_total", &[way]), 0.0, "{way}");
        assert_eq!(scrape(&metrics, "mailtap_forward_buffered_bytes", &[way]), 0.0, "{way}");
    }
    // Nobody reads, until neither side can write more.
    let sent = [fill(&client), fill(&server)];
    for way in ways {
        wait_for(&metrics, "mailtap_forward_buffered_bytes", &[way], |n| n > 0.0);
    }
    for (end, octets) in [(&mut server, sent[0]), (&mut client, sent[1])] {
        end.set_nonblocking(false).unwrap();
        let mut came = vec![0; octets];
        end.read_exact(&mut came).unwrap();
    }
    for way in ways {
        wait_for(&metrics, "mailtap_forward_buffered_bytes", &[way], |n| n == 0.0);
        wait_for(&metrics, "mailtap_forward_paused_total", &[way], |n| n >= 1.0);
        assert!(scrape(&metrics, "mailtap_forward_paused_seconds_total", &[way]) > 0.0, "{way}");
    }
    assert_eq!(scrape(&metrics, "mailtap_half_closed_sessions", &[]), 0.0);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut server), b"");
    wait_for(&metrics, "mailtap_half_closed_sessions", &[], |n| n == 1.0);
    drop((client, server));
    wait_for(&metrics, "mailtap_half_closed_sessions", &[], |n| n == 0.0);
}

/// Writes until nothing has been taken for a while; how much was.
fn fill(stream: &TcpStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let (chunk, mut sent, mut moved) = (vec![b'x'; 1 << 18], 0, Instant::now());
    while moved.elapsed() < Duration::from_millis(300) {
        let mut stream = stream;
        match stream.write(&chunk) {
            Ok(octets) => (sent, moved) = (sent + octets, Instant::now()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    sent
}

#[test]
fn sessions_that_stand_still_end_by_what_they_were_doing() {
    let (proxy, metrics) = start("smtp", &["--idle-timeout", "1s", "--greeting-timeout", "1s"]);
    let auth = ["C: AUTH PLAIN", "S: 334 "];
    let tls = ["C: STARTTLS", "S: 220 go"];
    let phases: [(&str, &[&[&str]]); 8] = [
        ("connect", &[]),
        ("greeting", &[]),
        ("idle", &[&HELLO]),
        ("auth", &[&HELLO, &auth]),
        ("transaction", &[&HELLO, &OPEN[..2]]),
        ("data", &[&HELLO, &OPEN]),
        ("tls", &[&HELLO, &tls]),
        ("quit", &[&HELLO, &["C: QUIT"]]),
    ];
    let mut open: Vec<_> = phases.iter().map(|_| proxy.connect()).collect();
    for ((phase, dialogue), (client, server)) in phases.iter().zip(&mut open) {
        talk(client, server, &dialogue.concat());
        match *phase {
            "greeting" => pass(server, client, b"220 m"),
            "tls" => pass(client, server, b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03"),
            _ => {}
        }
    }
    for ((phase, _), (client, _)) in phases.iter().zip(&mut open) {
        assert_eq!(rest(client), b"", "{phase}");
        let phase = format!("phase=\"{phase}\"");
        let labels = [&*phase, "reason=\"timeout\""];
        wait_for(&metrics, "mailtap_sessions_terminated_total", &labels, |n| n == 1.0);
    }
}

#[test]
fn a_proxy_that_goes_down_says_so() {
    let (mut proxy, metrics) = start("smtp", &["--drain-timeout", "20s"]);
    let (mut busy, mut busy_server) = proxy.connect();
    let (mut idle, mut idle_server) = proxy.connect();
    for (client, server) in [(&mut busy, &mut busy_server), (&mut idle, &mut idle_server)] {
        talk(client, server, &HELLO);
    }
    talk(&mut busy, &mut busy_server, &OPEN);
    assert_eq!(scrape(&metrics, "mailtap_draining", &[]), 0.0);
    proxy.signal(Signal::TERM);
    wait_for(&metrics, "mailtap_draining", &[], |n| n == 1.0);
    assert_eq!(rest(&mut idle), b"");
    wait_for(&metrics, "mailtap_sessions_terminated_total", &["phase=\"idle\"", "reason=\"drain\""], |n| n == 1.0);
    pass(&mut busy, &mut busy_server, b"\r\nbody\r\n.\r\n");
    talk(&mut busy, &mut busy_server, &["S: 250 queued"]);
    assert_eq!(proxy.wait().0, 0);
}

#[test]
fn faults_of_the_observer_are_counted() {
    for (flags, name, label) in [
        (&[][..], "mailtap_sessions_bypassed_total", "reason=\"panic\""),
        (&["--on-fault", "close"], "mailtap_sessions_terminated_total", "reason=\"error\""),
    ] {
        let (proxy, metrics) = start("smtp", &[&["--inject-fault", "10"], flags].concat());
        let (mut client, mut server) = proxy.connect();
        pass(&mut server, &mut client, b"220 a banner that is long enough\r\n");
        let began = Instant::now();
        wait_for(&metrics, name, &[label], |n| n == 1.0);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn records_that_cannot_be_written_are_counted() {
    let (proxy, metrics) = start("smtp", &["--log", "/dev/full"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    drop((client, server));
    wait_for(&metrics, "mailtap_log_dropped_events_total", &["reason=\"sink_error\""], |n| n >= 1.0);
    assert!(scrape(&metrics, "mailtap_log_errors_total", &["sink=\"log\""]) >= 1.0);
}

#[test]
fn whether_a_configuration_was_taken_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (file, server) = (folder.path().join("mailtap.toml"), TcpListener::bind("127.0.0.1:0").unwrap());
    let (listen, upstream, metrics) = (free_address(), server.local_addr().unwrap(), free_address().to_string());
    let good =
        format!("listen = '{listen}'\nupstream = '{upstream}'\nprotocol = 'smtp'\nmetrics-listen = '{metrics}'\n");
    std::fs::write(&file, &good).unwrap();
    let (mut child, _stderr) = spawn(&["--config", file.to_str().unwrap()]);
    let (successful, at) =
        ("mailtap_config_last_reload_successful", "mailtap_config_last_reload_success_timestamp_seconds");
    let reload = |text: &str, taken: f64| {
        std::fs::write(&file, text).unwrap();
        kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
        wait_for(&metrics, successful, &[], |n| n == taken);
    };
    reload("listen = 3", 0.0);
    let before = scrape(&metrics, at, &[]);
    thread::sleep(Duration::from_millis(20));
    reload(&good, 1.0);
    assert!(scrape(&metrics, at, &[]) > before, "{before}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn records_name_the_listener() {
    let flags = ["--records", "session,transaction,command,auth,anomaly"];
    let smtp = [
        &HELLO[..2],
        &["S: 250-mx", "S: 250 AUTH PLAIN", "C: AUTH PLAIN AGFubgBzZWNyZXQ=", "S: 235 in"],
        &OPEN,
        &["C: Subject: x", "C: ", "C: .", "S: 250 ok", "C: QUIT", "S: 221 bye"],
    ]
    .concat();
    let imap = [
        "S: * OK hi",
        "C: a LOGIN ann secret",
        "S: a OK in",
        "C: b APPEND INBOX {3+}",
        "C: abc",
        "S: b OK done",
        "C: c SELECT INBOX",
        "S: c OK selected",
        "C: d FETCH 1 BODY[]",
        "S: * 1 FETCH (BODY[] {3}",
        "S: abc)",
        "S: d OK done",
        "C: e IDLE",
        "S: + idling",
    ];
    let mut records = Vec::new();
    for (protocol, dialogue) in [("smtp", &smtp[..]), ("imap", &imap)] {
        let (proxy, metrics) = start(protocol, &flags);
        let (mut client, mut server) = proxy.connect();
        talk(&mut client, &mut server, dialogue);
        if protocol == "smtp" {
            // A line that ends with LF alone.
            pass(&mut client, &mut server, b"NOOP\n");
        } else {
            wait_for(&metrics, "mailtap_imap_idle_active", &[], |n| n == 1.0);
        }
        drop((client, server));
        proxy.record("session");
        let name = format!("port-{}", proxy.address.port());
        for record in proxy.stop() {
            assert_eq!(record["listener"], *name, "{record}");
            let kind = record["kind"].as_str().or_else(|| record["record"].as_str()).unwrap();
            records.push(format!("{kind}.listener"));
        }
    }
    for place in [
        "anomaly.listener",
        "append.listener",
        "auth.listener",
        "command.listener",
        "delivery.listener",
        "retrieval.listener",
        "session.listener",
    ] {
        assert!(records.iter().any(|record| record == place), "{place}: {records:?}");
    }
}

#[test]
fn an_offer_of_starttls_is_remembered_whatever_later_lists_say() {
    let refused = ["S: 220 mx", "C: EHLO a", "S: 250-mx", "S: 250 STARTTLS", "C: STARTTLS", "S: 454 not now"];
    let anew = ["C: EHLO a", "S: 250-mx", "S: 250 SIZE", "C: QUIT", "S: 221 bye"];
    let imap =
        ["S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hi", "C: a LOGIN ann secret", "S: a OK [CAPABILITY IMAP4rev1] in"];
    let pop3 = ["S: +OK hi", "C: CAPA", "S: +OK", "S: STLS", "S: USER", "S: ."];
    let inside = ["C: USER ann", "S: +OK", "C: PASS secret", "S: +OK in", "C: CAPA", "S: +OK", "S: USER", "S: ."];
    let never = ["S: 220 mx", "C: EHLO a", "S: 250-mx", "S: 250 SIZE", "C: QUIT", "S: 221 bye"];
    let sessions = [
        ("smtp", [&refused[..], &anew].concat(), true, ["refused", "not_offered"], [1.0, 0.0]),
        ("imap", imap.to_vec(), true, ["refused", "not_offered"], [0.0, 0.0]),
        ("pop3", [&pop3[..], &inside].concat(), true, ["refused", "not_offered"], [0.0, 0.0]),
        ("smtp", never.to_vec(), false, ["refused", "not_offered"], [0.0, 1.0]),
    ];
    for (protocol, dialogue, offered, outcomes, counts) in sessions {
        let (proxy, metrics) = start(protocol, &[]);
        let (mut client, mut server) = proxy.connect();
        talk(&mut client, &mut server, &dialogue);
        drop((client, server));
        let session = proxy.record("session");
        assert_eq!(session["tls"]["offered"], offered, "{dialogue:?}");
        for (outcome, count) in outcomes.iter().zip(counts) {
            let counted = scrape(&metrics, "mailtap_starttls_total", &[&format!("outcome=\"{outcome}\"")]);
            assert_eq!(counted.abs(), count, "{outcome}: {dialogue:?}");
        }
    }
}

#[test]
fn a_loop_that_does_not_run_lags() {
    const STALL: Duration = Duration::from_millis(700);
    let (proxy, metrics) = start("smtp", &[]);
    let name = "mailtap_loop_lag_seconds_bucket";
    let late = || scrape(&metrics, name, &["le=\"+Inf\""]) - scrape(&metrics, name, &["le=\"0.5\""]);
    wait_for(&metrics, name, &["le=\"+Inf\""], |n| n > 0.0);
    let before = late();
    proxy.signal(Signal::STOP);
    thread::sleep(STALL);
    proxy.signal(Signal::CONT);
    let began = Instant::now();
    while late() == before {
        assert!(began.elapsed() < Duration::from_secs(10), "nothing is late");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn latency_counts_from_when_a_socket_is_ready_not_from_when_its_turn_comes() {
    const BUSY: usize = 16;
    let (servers, listen) =
        ([(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()), [(); 2].map(|()| free_address()));
    let metrics = free_address().to_string();
    let mut flags = vec!["--protocol", "smtp", "--threads", "1", "--metrics-listen", &metrics];
    let places: Vec<_> = listen
        .iter()
        .zip(&servers)
        .map(|(listen, server)| [listen.to_string(), server.local_addr().unwrap().to_string()])
        .collect();
    for [listen, upstream] in &places {
        flags.extend(["--listen", listen, "--upstream", upstream]);
    }
    let (mut child, _stderr) = spawn(&flags);
    let connect = |at: usize| {
        let client = TcpStream::connect(listen[at]).unwrap();
        let (server, _) = servers[at].accept().unwrap();
        [&client, &server].into_iter().for_each(patient);
        (client, server)
    };
    let (mut client, mut server) = connect(0);
    talk(&mut client, &mut server, &HELLO);
    // The one thread is busy with long messages of others.
    let busy: Vec<_> = (0..BUSY)
        .map(|_| {
            let (mut client, mut server) = connect(1);
            talk(&mut client, &mut server, &[&HELLO[..], &OPEN].concat());
            (client, server)
        })
        .collect();
    let line = [&[b'x'; 62][..], b"\r\n"].concat().repeat(1 << 12);
    let flood: Vec<_> = busy
        .iter()
        .flat_map(|(client, server)| {
            let (mut from, mut to, line) = (client.try_clone().unwrap(), server.try_clone().unwrap(), line.clone());
            let write = thread::spawn(move || while from.write_all(&line).is_ok() {});
            let read = thread::spawn(move || while to.read(&mut [0; 1 << 16]).is_ok_and(|octets| octets > 0) {});
            [write, read]
        })
        .collect();
    let of_it = [&*format!("listener=\"port-{}\"", listen[0].port()), "direction=\"client_to_server\""];
    let name = "mailtap_proxy_added_latency_seconds";
    let shown =
        || (scrape(&metrics, &format!("{name}_sum"), &of_it), scrape(&metrics, &format!("{name}_count"), &of_it));
    let before = shown();
    let began = Instant::now();
    (0..5).for_each(|_| pass(&mut client, &mut server, b"NOOP\r\n"));
    let took = began.elapsed().as_secs_f64();
    wait_for(&metrics, &format!("{name}_count"), &of_it, |n| n >= before.1 + 5.0);
    let seen = shown().0 - before.0;
    println!("5 commands took {took:.3} s beside {BUSY} long messages, of which {seen:.3} s are shown");
    child.kill().unwrap();
    child.wait().unwrap();
    flood.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(seen > took / 4.0 && seen < took * 1.1, "{seen} of {took}");
}

#[test]
fn the_revision_is_shown() {
    let (_proxy, metrics) = start("smtp", &[]);
    let revision = format!("revision=\"{}\"", env!("MAILTAP_REVISION"));
    assert_eq!(scrape(&metrics, "mailtap_build_info", &[&revision]), 1.0);
}

#[test]
fn failed_logins_of_a_network_count_together_whatever_the_address() {
    let (proxy, metrics) = start("imap", &["--proxy-from", "127.0.0.0/8"]);
    let names = ["mailtap_auth_failures_busiest_network", "mailtap_auth_failures_networks"];
    let of_imap = ["protocol=\"imap\""];
    for name in names {
        assert_eq!(scrape(&metrics, name, &of_imap), 0.0, "{name}");
    }
    let login = |client: &str, answer: &str| {
        let mut client_end = proxy.client();
        client_end.write_all(format!("PROXY TCP4 {client} 198.51.100.25 40001 143\r\n").as_bytes()).unwrap();
        let (mut server, _) = proxy.server.accept().unwrap();
        patient(&server);
        talk(&mut client_end, &mut server, &["S: * OK hi", "C: a LOGIN ann wrong", answer]);
    };
    const FAILED: &str = "S: a NO [AUTHENTICATIONFAILED] no";
    (1..=60).for_each(|host| login(&format!("192.0.2.{host}"), FAILED));
    login("198.51.100.7", FAILED);
    // Neither a success nor a database that does not answer is a guess.
    login("203.0.113.1", "S: a OK in");
    login("203.0.113.2", "S: a NO [UNAVAILABLE] later");
    wait_for(&metrics, "mailtap_auth_attempts_total", &of_imap, |n| n == 63.0);
    assert_eq!(names.map(|name| scrape(&metrics, name, &of_imap)), [60.0, 2.0]);
    assert_eq!(scrape(&metrics, names[0], &["protocol=\"smtp\""]), 0.0);
}

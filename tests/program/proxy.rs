//! The proxy between bare sockets: octets, closes, limits, faults, and how it comes and goes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::running::{PATIENCE, Proxy, free_address, is_reset, pass, patient, reset, rest, scrape, spawn, talk};

const HELLO: [&str; 3] = ["S: 220 mx ESMTP", "C: EHLO client", "S: 250 mx"];
const OPEN: [&str; 6] =
    ["C: MAIL FROM:<a@example.net>", "S: 250 ok", "C: RCPT TO:<b@example.org>", "S: 250 ok", "C: DATA", "S: 354 go"];

/// A small generator: the same octets in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// Law 4.
#[test]
fn octets_pass_unchanged_however_they_are_cut() {
    let bodies: [&[u8]; 8] = [
        b"220 mx\r\nEHLO a\r\n",
        b"a\n.\nMAIL FROM:<x>\r\n.\r\r\n.\r\nQUIT\r\n",
        b"\n.\r\n\r.\r\r\n.\n\0\r\n.\r\nRSET\r\n",
        b"BDAT 10 LAST\r\n0123456789BDAT 99999999999999999999\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"STARTTLS\r\nEHLO injected\r\n220 go\r\n\x15\x03\x01\x00\x02\x02\x28",
        b"a1 APPEND INBOX {99999999}\r\n* BYE \xff\xfe {3+}\r\nabc\r\nAUTH PLAIN\r\n\r\n+ \r\n",
        b"\x80\0\xff\xfe",
    ];
    let proxy = Proxy::start("smtp", &[]);
    for seed in 1..40 {
        let mut random = Random(seed * 0x9e37_79b9);
        let (mut client, mut server) = proxy.connect();
        for _ in 0..60 {
            let length = random.below(2000);
            let octets = match random.below(bodies.len() + 1) {
                at if at < bodies.len() => bodies[at].to_vec(),
                _ => random.octets(length),
            };
            let up = random.below(2) == 0;
            let (from, to) = if up { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let mut sent = 0;
            while sent < octets.len() {
                let piece = (1 + random.below(300)).min(octets.len() - sent);
                from.write_all(&octets[sent..sent + piece]).unwrap();
                sent += piece;
            }
            let mut came = vec![0; octets.len()];
            to.read_exact(&mut came).unwrap();
            assert_eq!(came, octets, "seed {seed}");
        }
        drop(client);
        assert_eq!(rest(&mut server), b"", "seed {seed}");
    }
    assert!(proxy.stop().iter().any(|record| record["record"] == "session"));
}

#[test]
fn a_large_message_passes_both_ways_at_once() {
    const SIZE: usize = 64 << 20;
    let proxy = Proxy::start("smtp", &["--hash", "none"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    talk(&mut client, &mut server, &OPEN);
    let line: Arc<Vec<u8>> = Arc::new([&[b'x'; 76][..], b"\r\n"].concat().repeat(SIZE / 78));
    let (sent, wanted) = (Arc::clone(&line), Arc::clone(&line));
    let mut up = client.try_clone().unwrap();
    let sender = thread::spawn(move || up.write_all(&sent).unwrap());
    let mut down = server.try_clone().unwrap();
    let answerer = thread::spawn(move || down.write_all(&wanted).unwrap());
    let mut back = client.try_clone().unwrap();
    let expected = Arc::clone(&line);
    let reader = thread::spawn(move || {
        let mut came = vec![0; expected.len()];
        back.read_exact(&mut came).unwrap();
        assert!(came == *expected);
    });
    let mut came = vec![0; line.len()];
    server.read_exact(&mut came).unwrap();
    assert!(came == *line);
    for thread in [sender, answerer, reader] {
        thread.join().unwrap();
    }
    assert!(proxy.resident() < 64 << 10, "{} KiB", proxy.resident());
}

#[test]
fn a_client_that_closes_its_half_gets_its_answer() {
    let proxy = Proxy::start("smtp", &[]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    client.write_all(b"QUIT\r\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut server), b"QUIT\r\n");
    server.write_all(b"221 bye\r\n").unwrap();
    drop(server);
    assert_eq!(rest(&mut client), b"221 bye\r\n");
    let session = proxy.record("session");
    assert_eq!(session["outcome"], "ok");
    assert_eq!((&session["close"]["by"], &session["close"]["how"]), (&"client".into(), &"fin".into()));
}

#[test]
fn a_server_that_closes_its_half_hears_the_rest() {
    let proxy = Proxy::start("imap", &[]);
    let (mut client, mut server) = proxy.connect();
    server.write_all(b"* BYE later\r\n").unwrap();
    server.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"* BYE later\r\n");
    pass(&mut client, &mut server, b"a LOGOUT\r\n");
}

#[test]
fn a_reset_is_passed_on_as_one() {
    let proxy = Proxy::start("smtp", &["--threads", "1"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    reset(client);
    assert!(is_reset(&mut server));
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    talk(&mut client, &mut server, &OPEN);
    reset(server);
    assert!(is_reset(&mut client));
    let records = proxy.stop();
    let sessions: Vec<_> = records.iter().filter(|record| record["record"] == "session").collect();
    let closes: Vec<_> = sessions.iter().map(|record| (&record["close"]["by"], &record["close"]["how"])).collect();
    assert_eq!(closes, [(&"client".into(), &"reset".into()), (&"server".into(), &"reset".into())]);
    let lost = records.iter().find(|record| record["record"] == "transaction").unwrap();
    assert_eq!((&lost["outcome"], &lost["stage"]), (&"connection_lost".into(), &"data".into()));
}

#[test]
fn a_client_may_go_at_any_time() {
    let body = ["C: Subject: x", "C: ", "C: half"];
    // Up to where, what it was doing, and the stage of its transaction.
    let phases: [(&[&[&str]], &str, Option<&str>); 6] = [
        (&[], "connect", None),
        (&[&HELLO[..1]], "idle", None),
        (&[&HELLO], "idle", None),
        (&[&HELLO, &OPEN[..2]], "transaction", Some("mail")),
        (&[&HELLO, &OPEN, &body], "data", Some("data")),
        (&[&HELLO, &OPEN, &body, &["C: ."]], "data", Some("eod_unanswered")),
    ];
    for (dialogue, phase, stage) in phases {
        for resets in [false, true] {
            let proxy = Proxy::start("smtp", &[]);
            let (mut client, mut server) = proxy.connect();
            talk(&mut client, &mut server, &dialogue.concat());
            if resets {
                reset(client);
                assert!(is_reset(&mut server), "{dialogue:?}");
            } else {
                drop(client);
                assert_eq!(rest(&mut server), b"", "{dialogue:?}");
            }
            drop(server);
            let session = proxy.record("session");
            let outcome = if resets { "reset" } else { "client_gone" };
            let told = (&session["outcome"], &session["close"]["by"], &session["close"]["phase"]);
            assert_eq!(told, (&outcome.into(), &"client".into(), &phase.into()), "{dialogue:?}");
            let records = proxy.stop();
            let lost = records.iter().find(|record| record["record"] == "transaction");
            assert_eq!(lost.map(|lost| lost["stage"].as_str().unwrap()), stage, "{dialogue:?}");
            assert!(lost.is_none_or(|lost| lost["outcome"] == "connection_lost"), "{lost:?}");
        }
    }
}

#[test]
fn a_reader_that_does_not_read_costs_one_buffer() {
    let proxy = Proxy::start("smtp", &[]);
    let (mut client, mut server) = proxy.connect();
    pass(&mut server, &mut client, b"220 mx\r\n");
    let before = proxy.resident();
    client.set_nonblocking(true).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    let began = Instant::now();
    let mut moved = Instant::now();
    // Until nothing has been taken for a while: what the kernel holds is its own affair.
    while moved.elapsed() < Duration::from_millis(700) {
        assert!(began.elapsed() < PATIENCE && sent < 256 << 20, "it reads on: {sent}");
        match (&client).write(&chunk) {
            Ok(octets) => {
                sent += octets;
                moved = Instant::now();
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    assert!(proxy.resident() < before + 2048, "{before} KiB became {}", proxy.resident());
    client.set_nonblocking(false).unwrap();
    drop(client);
    let came = rest(&mut server);
    assert_eq!(came.len(), sent);
}

#[test]
fn a_server_that_is_down_is_a_reset_and_a_record() {
    let gone = free_address();
    let proxy = Proxy::start("smtp", &[]);
    let address = free_address();
    let log = proxy.log().with_extension("down");
    let log = log.to_str().unwrap();
    let (mut child, _stderr) =
        spawn(&["--listen", &address.to_string(), "--upstream", &gone.to_string(), "--protocol", "smtp", "--log", log]);
    let mut client = TcpStream::connect(address).unwrap();
    patient(&client);
    assert!(is_reset(&mut client));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(log).unwrap();
    let session: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&session["outcome"], &session["close"]["phase"]), (&"reset".into(), &"connect".into()));
}

#[test]
fn a_refusal_is_told_if_asked_for() {
    for (protocol, line) in [
        ("smtp", "421 4.3.2 Service not available, try again later\r\n"),
        ("pop3", "-ERR [SYS/TEMP] Service not available, try again later\r\n"),
        ("imap", "* BYE [UNAVAILABLE] Service not available, try again later\r\n"),
    ] {
        let (address, gone) = (free_address(), free_address());
        let (mut child, _stderr) = spawn(&[
            "--listen",
            &address.to_string(),
            "--upstream",
            &gone.to_string(),
            "--protocol",
            protocol,
            "--refuse",
            "tell",
        ]);
        let mut client = TcpStream::connect(address).unwrap();
        patient(&client);
        assert_eq!(String::from_utf8(rest(&mut client)).unwrap(), line);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_server_that_never_speaks_is_given_up() {
    let proxy = Proxy::start("smtp", &["--greeting-timeout", "1s"]);
    let (mut client, mut server) = proxy.connect();
    assert_eq!(rest(&mut client), b"");
    assert_eq!(rest(&mut server), b"");
    let session = proxy.record("session");
    assert_eq!((&session["outcome"], &session["close"]["how"]), (&"timeout".into(), &"timeout".into()));
}

#[test]
fn a_connection_that_stands_still_is_closed_a_slow_one_is_not() {
    let proxy = Proxy::start("smtp", &["--idle-timeout", "2s"]);
    let (mut slow, mut slow_server) = proxy.connect();
    let (mut still, mut still_server) = proxy.connect();
    talk(&mut slow, &mut slow_server, &HELLO);
    talk(&mut still, &mut still_server, &HELLO);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        pass(&mut slow, &mut slow_server, b"N");
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(rest(&mut still), b"");
    pass(&mut slow, &mut slow_server, b"OOP\r\n");
    assert_eq!(proxy.record("session")["close"]["how"], "timeout");
}

#[test]
fn a_half_closed_connection_does_not_stay_for_ever() {
    let proxy = Proxy::start("smtp", &["--half-close-timeout", "1s"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"");
    assert_eq!(proxy.record("session")["close"]["how"], "timeout");
}

#[test]
fn a_fault_of_the_observer_costs_no_octet() {
    let proxy = Proxy::start("smtp", &["--inject-fault", "40"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    talk(&mut client, &mut server, &OPEN);
    pass(&mut client, &mut server, b"Subject: x\r\n\r\nbody\r\n.\r\n");
    talk(&mut client, &mut server, &["S: 250 queued", "C: QUIT", "S: 221 bye"]);
    drop(client);
    assert_eq!(rest(&mut server), b"");
    drop(server);
    let session = proxy.record("session");
    assert_eq!(session["incomplete"], serde_json::json!(["unparseable"]));
    assert_eq!(session["outcome"], "unparseable");
}

#[test]
fn a_fault_ends_the_session_if_asked_for() {
    let proxy = Proxy::start("smtp", &["--inject-fault", "10", "--on-fault", "close"]);
    let (mut client, mut server) = proxy.connect();
    server.write_all(b"220 a banner that is long enough\r\n").unwrap();
    let mut came = [0; 64];
    while client.read(&mut came).is_ok_and(|octets| octets > 0) {}
    assert!(server.read(&mut came).map_or(true, |octets| octets == 0));
}

#[test]
fn lines_without_end_and_commands_without_number_pass() {
    let proxy = Proxy::start("smtp", &["--hash", "none"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    let line = vec![b'A'; 10 << 20];
    let noops = b"NOOP\r\n".repeat(1_000_000);
    for octets in [&line[..], b"\r\n", &noops] {
        let mut up = client.try_clone().unwrap();
        let sent = octets.to_vec();
        let sender = thread::spawn(move || up.write_all(&sent).unwrap());
        let mut came = vec![0; octets.len()];
        server.read_exact(&mut came).unwrap();
        assert!(came == octets);
        sender.join().unwrap();
    }
    assert!(proxy.resident() < 96 << 10, "{} KiB", proxy.resident());
}

#[test]
fn mail_in_transfer_is_finished_before_the_end() {
    let mut proxy = Proxy::start("smtp", &["--drain-timeout", "20s"]);
    let (mut busy, mut busy_server) = proxy.connect();
    let (mut idle, mut idle_server) = proxy.connect();
    for (client, server) in [(&mut busy, &mut busy_server), (&mut idle, &mut idle_server)] {
        talk(client, server, &HELLO);
    }
    talk(&mut busy, &mut busy_server, &OPEN);
    proxy.signal(Signal::TERM);
    assert_eq!(rest(&mut idle), b"", "the idle one is closed");
    let began = Instant::now();
    while TcpStream::connect(proxy.address).is_ok() {
        assert!(began.elapsed() < PATIENCE, "somebody is let in still");
        thread::sleep(Duration::from_millis(10));
    }
    pass(&mut busy, &mut busy_server, b"Subject: x\r\n\r\nbody\r\n.\r\n");
    talk(&mut busy, &mut busy_server, &["S: 250 queued"]);
    assert_eq!(rest(&mut busy), b"", "closed when the message was answered");
    let (status, said) = proxy.wait();
    assert_eq!(status, 0, "{said}");
    let records = proxy.records();
    let delivery = records.iter().find(|record| record["record"] == "transaction").unwrap();
    assert_eq!(delivery["outcome"], "accepted");
    let drained = |record: &&serde_json::Value| record["close"]["how"] == "drain";
    assert_eq!(records.iter().filter(drained).count(), 2);
}

#[test]
fn a_session_that_does_not_finish_in_time_is_cut() {
    let mut proxy = Proxy::start("smtp", &["--drain-timeout", "1s"]);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    talk(&mut client, &mut server, &OPEN);
    proxy.signal(Signal::TERM);
    assert!(is_reset(&mut client) && is_reset(&mut server), "neither takes half a message for a whole one");
    assert_eq!(proxy.wait().0, 0);
}

#[test]
fn a_successor_takes_over_without_a_refused_connection() {
    let folder = tempfile::tempdir().unwrap();
    let handover = folder.path().join("handover");
    let flags = ["--handover", handover.to_str().unwrap(), "--drain-timeout", "10s"];
    let mut first = Proxy::start("smtp", &flags);
    let server = first.server.try_clone().unwrap();
    thread::spawn(move || {
        for stream in server.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                patient(&stream);
                let (mut reader, mut writer) = (stream.try_clone().unwrap(), stream);
                let _ = writer.write_all(b"220 mx\r\n");
                let _ = reader.read(&mut [0; 64]);
                let _ = writer.write_all(b"221 bye\r\n");
            });
        }
    });
    let (stop, served, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let address = first.address;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, failed) = (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&failed));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let whole = TcpStream::connect(address).and_then(|mut client| {
                        patient(&client);
                        client.write_all(b"QUIT\r\n")?;
                        let mut all = Vec::new();
                        client.read_to_end(&mut all)?;
                        Ok(all == b"220 mx\r\n221 bye\r\n")
                    });
                    let of = if whole.is_ok_and(|whole| whole) { &served } else { &failed };
                    of.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let wait = |more: u32| {
        let wanted = served.load(Ordering::Relaxed) + more;
        let began = Instant::now();
        while served.load(Ordering::Relaxed) < wanted && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
    };
    wait(50);
    let (listen, upstream) = (address.to_string(), first.server.local_addr().unwrap().to_string());
    let log = folder.path().join("log");
    let (mut second, _stderr) = spawn(
        &[
            &["--listen", &listen, "--upstream", &upstream, "--protocol", "smtp", "--log", log.to_str().unwrap()],
            &flags[..],
        ]
        .concat(),
    );
    assert_eq!(first.wait().0, 0);
    wait(50);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}", served.load(Ordering::Relaxed));
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn a_reload_adds_and_removes_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = server.local_addr().unwrap();
    let (kept, added, removed) = (free_address(), free_address(), free_address());
    let file = folder.path().join("mailtap.toml");
    let table = |address| format!("[[listener]]\nlisten = '{address}'\nupstream = '{upstream}'\nprotocol = 'smtp'\n");
    std::fs::write(&file, [table(kept), table(removed)].concat()).unwrap();
    let (mut child, _stderr) = spawn(&["--config", file.to_str().unwrap()]);
    let mut open = TcpStream::connect(removed).unwrap();
    let (mut open_server, _) = server.accept().unwrap();
    patient(&open_server);
    patient(&open);
    std::fs::write(&file, [table(kept), table(added)].concat()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::HUP).unwrap();
    let began = Instant::now();
    while TcpStream::connect(added).is_err() || TcpStream::connect(removed).is_ok() {
        assert!(began.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
    TcpStream::connect(kept).unwrap();
    pass(&mut open_server, &mut open, b"220 still here\r\n");
    std::fs::write(&file, "listen = 3").unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::HUP).unwrap();
    pass(&mut open_server, &mut open, b"220 and here\r\n");
    TcpStream::connect(added).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_full_disk_stops_no_mail() {
    let proxy = Proxy::start("smtp", &["--log", "/dev/full"]);
    for _ in 0..3 {
        let (mut client, mut server) = proxy.connect();
        talk(&mut client, &mut server, &HELLO);
        talk(&mut client, &mut server, &["C: QUIT", "S: 221 bye"]);
    }
}

#[test]
fn wrong_usage_is_told() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mailtap")).args(["proxy", "--listen", ":0x"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let here = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let itself = ["proxy", "--listen", &here, "--upstream", &here];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mailtap")).args(itself).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is the listener itself"));
}

#[test]
fn what_nobody_can_read_is_moved_by_the_kernel_and_counted() {
    const RECORDS: usize = 2000;
    let record = |kind: u8, length: u16| {
        let mut octets = vec![kind, 3, 3];
        octets.extend(length.to_be_bytes());
        octets.extend(std::iter::repeat_n(b'x', length.into()));
        octets
    };
    let ways = ["server_to_client", "client_to_server"];
    for (splice, way) in [("auto", ways[0]), ("auto", ways[1]), ("off", ways[0])] {
        let metrics = free_address().to_string();
        let proxy = Proxy::start("imap", &["--splice", splice, "--metrics-listen", &metrics]);
        let (mut client, mut server) = proxy.connect();
        pass(&mut client, &mut server, &record(0x16, 200));
        pass(&mut server, &mut client, &record(0x16, 800));
        pass(&mut client, &mut server, &record(0x17, 100));
        pass(&mut server, &mut client, &record(0x17, 100));
        let bulk = record(0x17, 16_384).repeat(RECORDS);
        let down = way == ways[0];
        let (from, to) = if down { (&mut server, &mut client) } else { (&mut client, &mut server) };
        let (mut end, sent) = (from.try_clone().unwrap(), bulk.clone());
        let sender = thread::spawn(move || {
            end.write_all(&sent).unwrap();
            end.shutdown(std::net::Shutdown::Write).unwrap();
        });
        assert!(rest(to) == bulk, "splice {splice}");
        sender.join().unwrap();
        pass(to, from, &record(0x17, 40));
        let spliced = scrape(&metrics, "mailtap_spliced_bytes_total", &[&format!("direction=\"{way}\"")]);
        assert_eq!(spliced > 0.0, splice == "auto", "{spliced} octets spliced");
        to.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(from), b"");
        let session = proxy.record("session");
        let (sender, receiver) = if down { ("server", "client") } else { ("client", "server") };
        let shaken = |side| if side == "server" { 805 + 105 } else { 205 + 105 };
        assert_eq!(session["bytes"][sender], bulk.len() + shaken(sender));
        assert_eq!(session["bytes"][receiver], 45 + shaken(receiver));
        assert_eq!((&session["outcome"], &session["tls"]["handshake"]), (&"encrypted".into(), &"ok".into()));
    }
}

#[test]
fn thousands_stand_still_and_cost_little() {
    // Both ends of each are in this process.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let descriptors = limit.maximum.unwrap_or(u64::MAX).saturating_sub(100) / 2;
    let wanted = usize::try_from(descriptors).unwrap_or(usize::MAX).min(5000);
    if wanted < 5000 {
        eprintln!("only {wanted} connections: the limit of descriptors is low (ulimit -Hn)");
    }
    let proxy = Proxy::start("imap", &[]);
    // What the first ones cost once: buffers, tables.
    let mut open: Vec<_> = (0..200).map(|_| idle(&proxy)).collect();
    thread::sleep(Duration::from_millis(2500));
    let before = proxy.resident();
    open.extend((open.len()..wanted).map(|_| idle(&proxy)));
    thread::sleep(Duration::from_millis(2500));
    let each = (proxy.resident().saturating_sub(before)) * 1024 / (wanted as u64 - 200).max(1);
    assert!(each < 6 << 10, "{each} octets each");
    for (client, server) in open.iter_mut().rev().take(50) {
        pass(server, client, b"* 1 EXISTS\r\n");
        pass(client, server, b"DONE\r\n");
    }
}

/// A client that waits for mail.
fn idle(proxy: &Proxy) -> (TcpStream, TcpStream) {
    let (mut client, mut server) = proxy.connect();
    talk(
        &mut client,
        &mut server,
        &[
            "S: * OK ready",
            "C: a LOGIN ann x",
            "S: a OK in",
            "C: b SELECT INBOX",
            "S: b OK selected",
            "C: c IDLE",
            "S: + idling",
        ],
    );
    (client, server)
}

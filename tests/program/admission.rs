//! Who comes in at the proxy, as whom, and how many: limits and PROXY headers.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::running::{Proxy, free_address, is_reset, pass, patient, rest, talk};

const HELLO: [&str; 3] = ["S: 220 mx ESMTP", "C: EHLO client", "S: 250 mx"];

#[test]
fn connections_over_the_limit_wait_and_all_are_served() {
    let proxy = Proxy::start("smtp", &["--max-connections", "2", "--threads", "4"]);
    let server = proxy.server.try_clone().unwrap();
    const CLIENTS: usize = 12;
    let counter = thread::spawn(move || {
        // Each is answered only once two are there, and a third must not be.
        let mut most = 0;
        let mut open: Vec<TcpStream> = Vec::new();
        for served in 0..CLIENTS {
            let (mut stream, _) = server.accept().unwrap();
            patient(&stream);
            stream.write_all(b"220 mx\r\n").unwrap();
            open.push(stream);
            most = most.max(open.len());
            if open.len() == 2 {
                server.set_nonblocking(true).unwrap();
                thread::sleep(Duration::from_millis(20));
                assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a third, after {served}");
                server.set_nonblocking(false).unwrap();
                drop(open.remove(0));
            }
        }
        most
    });
    let clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    let readers: Vec<_> = clients.into_iter().map(|mut client| thread::spawn(move || rest(&mut client))).collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), b"220 mx\r\n");
    }
    assert_eq!(counter.join().unwrap(), 2);
    let sessions = proxy.stop().into_iter().filter(|record| record["record"] == "session").count();
    assert_eq!(sessions, CLIENTS);
}

#[test]
fn connections_over_the_limit_are_told_so() {
    let metrics = free_address();
    let proxy = Proxy::start(
        "smtp",
        &[
            "--max-connections",
            "1",
            "--on-limit",
            "close",
            "--refuse",
            "tell",
            "--metrics-listen",
            &metrics.to_string(),
        ],
    );
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &HELLO);
    let told = rest(&mut proxy.client());
    assert!(told.starts_with(b"421 4.3.2 ") && told.ends_with(b"\r\n"), "{}", String::from_utf8_lossy(&told));
    assert_eq!(rejected(metrics, "max_connections"), 1);
    drop((client, server));
    // The place is free once the proxy has seen both ends close.
    proxy.record("session");
    let _again = proxy.connect();
}

#[test]
fn a_source_has_its_part() {
    let metrics = free_address();
    let metrics_listen = metrics.to_string();
    let proxy = Proxy::start("smtp", &["--max-per-source", "2", "--metrics-listen", &metrics_listen]);
    let _open = [proxy.connect(), proxy.connect()];
    assert!(is_reset(&mut proxy.client()));
    assert_eq!(rejected(metrics, "per_source"), 1);

    let metrics = free_address();
    let metrics_listen = metrics.to_string();
    let proxy = Proxy::start("smtp", &["--max-rate", "3", "--metrics-listen", &metrics_listen]);
    let began = Instant::now();
    let refused = (0..6).filter(|_| is_reset_or_open(&mut proxy.client())).count();
    let more = began.elapsed().as_secs_f64() * 3.0;
    assert!(refused <= 3 && refused as f64 + more >= 2.0, "{refused} of 6 within {:?}", began.elapsed());
    assert_eq!(rejected(metrics, "rate"), refused as u64);
}

/// Whether the proxy turned the client away; else it is at the server now.
fn is_reset_or_open(client: &mut TcpStream) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    client.read(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn a_header_tells_the_client_and_what_follows_it_passes() {
    let proxy = Proxy::start("smtp", &["--proxy-from", "127.0.0.0/8"]);
    let text = b"PROXY TCP4 192.0.2.10 198.51.100.25 40001 25\r\n".as_slice();
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x0a\xc6\x33\x64\x19\x9c\x41\0\x19".as_slice();
    for header in [text, binary] {
        for cut in [header.len(), 1, header.len() - 1, header.len() / 2] {
            let mut client = proxy.client();
            client.write_all(&header[..cut]).unwrap();
            if cut < header.len() {
                thread::sleep(Duration::from_millis(5));
            }
            client.write_all(&[&header[cut..], b"EHLO early\r\n"].concat()).unwrap();
            let (mut server, _) = proxy.server.accept().unwrap();
            patient(&server);
            let mut came = [0; 12];
            server.read_exact(&mut came).unwrap();
            assert_eq!(&came, b"EHLO early\r\n", "the header is not the server's");
            talk(&mut client, &mut server, &["S: 220 mx ESMTP", "S: 250 mx", "C: QUIT", "S: 221 bye"]);
        }
    }
    let sessions: Vec<_> = proxy.stop().into_iter().filter(|record| record["record"] == "session").collect();
    assert_eq!(sessions.len(), 8);
    for session in sessions {
        assert_eq!(session["proxied_client"]["ip"], "192.0.2.10", "{session}");
        assert_eq!(session["proxied_client"]["port"], 40001);
    }
}

#[test]
fn who_owes_a_header_and_sends_none_is_turned_away() {
    let metrics = free_address();
    let metrics_listen = metrics.to_string();
    let proxy = Proxy::start("smtp", &["--proxy-from", "127.0.0.0/8", "--metrics-listen", &metrics_listen]);
    let wrong: [&[u8]; 3] = [b"EHLO a\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31"];
    for octets in wrong {
        let mut client = proxy.client();
        client.write_all(octets).unwrap();
        assert!(is_reset(&mut client), "{octets:?}");
    }
    let began = Instant::now();
    assert!(is_reset(&mut proxy.client()), "it waits for no header for ever");
    assert!((2..10).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(rejected(metrics, "proxy_header"), 4);
    proxy.server.set_nonblocking(true).unwrap();
    assert_eq!(proxy.server.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "the server hears of none");

    let proxy = Proxy::start("smtp", &["--proxy-from", "192.0.2.0/24"]);
    let (mut client, mut server) = proxy.connect();
    pass(&mut client, &mut server, b"PROXY TCP4 192.0.2.10 198.51.100.25 40001 25\r\n");
    talk(&mut client, &mut server, &["S: 500 what?"]);
}

#[test]
fn limits_count_clients_not_balancers() {
    let proxy = Proxy::start("smtp", &["--proxy-from", "127.0.0.0/8", "--max-per-source", "1"]);
    let come = |host: u8| {
        let mut client = proxy.client();
        client.write_all(format!("PROXY TCP4 192.0.2.{host} 198.51.100.25 40001 25\r\n").as_bytes()).unwrap();
        client
    };
    let _first = come(1);
    let (_held, _) = proxy.server.accept().unwrap();
    let mut other = come(2);
    let (mut server, _) = proxy.server.accept().unwrap();
    pass(&mut server, &mut other, b"220 mx\r\n");
    assert!(is_reset(&mut come(1)));
}

#[test]
fn the_server_is_told_the_client_and_the_session() {
    for (version, from) in [("v1", None), ("v2", None), ("v1", Some("127.0.0.0/8")), ("v2", Some("127.0.0.0/8"))] {
        let mut flags = vec!["--proxy-to", version];
        flags.extend(from.iter().flat_map(|from| ["--proxy-from", from]));
        let proxy = Proxy::start("smtp", &flags);
        let mut client = proxy.client();
        let mut told = client.local_addr().unwrap();
        if from.is_some() {
            client.write_all(b"PROXY TCP6 2001:db8::10 2001:db8::25 40001 25\r\n").unwrap();
            told = "[2001:db8::10]:40001".parse().unwrap();
        }
        let (mut server, _) = proxy.server.accept().unwrap();
        patient(&server);
        // It comes first, whole, and in one piece.
        let mut octets = [0; 200];
        let length = server.read(&mut octets).unwrap();
        let header = &octets[..length];
        let (parsed, own) = proxy_header::ProxyHeader::parse(header, proxy_header::ParseConfig::default()).unwrap();
        assert_eq!(own, length, "{header:?}");
        let source = parsed.proxied_address().unwrap().source;
        assert_eq!(SocketAddr::new(source.ip().to_canonical(), source.port()), told);
        talk(&mut client, &mut server, &HELLO);
        drop((client, server));
        let session = proxy.record("session");
        if version == "v2" {
            let id = format!("\x05\0\x10{}", session["session"].as_str().unwrap());
            assert!(header.ends_with(id.as_bytes()), "{header:?}");
        }
        assert_eq!(session.get("proxied_client").is_some(), from.is_some(), "what mailtap writes is not what it read");
    }
}

/// How many were turned away for that reason, by the metrics at `address`.
fn rejected(address: SocketAddr, reason: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    patient(&stream);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let page = String::from_utf8(rest(&mut stream)).unwrap();
    let is_it = |line: &&str| {
        line.starts_with("mailtap_sessions_rejected_total{") && line.contains(&format!("reason=\"{reason}\""))
    };
    let line = page.lines().find(is_it).unwrap_or_else(|| panic!("{reason} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

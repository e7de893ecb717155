//! The proxy that answers TLS, between bare sockets: closes, times, faults, and how it goes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::running::{Proxy, is_reset, reset};

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A proxy that answers TLS as `localhost`.
struct EstablishedTls {
    proxy: Proxy,
    config: Arc<ClientConfig>,
    _folder: tempfile::TempDir,
}

impl EstablishedTls {
    fn start(protocol: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(at("cert"), made.cert.pem()).unwrap();
        std::fs::write(at("key"), made.signing_key.serialize_pem()).unwrap();
        let mut all = flags.to_vec();
        let (cert, key) = (at("cert"), at("key"));
        all.extend(["--tls-cert", &cert, "--tls-key", &key]);
        let proxy = Proxy::start(protocol, &all);
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        Self { proxy, config, _folder: folder }
    }

    fn under_tls(&self, stream: TcpStream) -> Client {
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name).unwrap(), stream)
    }

    /// A greeted client under TLS, and its server.
    fn greeted(&self) -> (Client, TcpStream) {
        let (client, mut server) = self.proxy.connect();
        let mut client = self.under_tls(client);
        server.write_all(b"220 mx ESMTP\r\n").unwrap();
        hear(&mut client, "220 mx ESMTP\r\n");
        client.write_all(b"NOOP\r\n").unwrap();
        hear(&mut server, "NOOP\r\n");
        server.write_all(b"250 ok\r\n").unwrap();
        hear(&mut client, "250 ok\r\n");
        (client, server)
    }
}

fn hear(from: &mut impl std::io::Read, text: &str) {
    let mut octets = vec![0; text.len()];
    from.read_exact(&mut octets).unwrap();
    assert_eq!(String::from_utf8_lossy(&octets), text);
}

fn session(records: &[Value]) -> &Value {
    records.iter().find(|record| record["record"] == "session").expect("a session")
}

#[test]
fn a_reset_is_passed_on_as_one() {
    let secured = EstablishedTls::start("smtp", &["--tls", "implicit"]);
    let (client, mut server) = secured.greeted();
    reset(client.sock);
    assert!(is_reset(&mut server));
    let (mut client, server) = secured.greeted();
    reset(server);
    assert!(is_reset(&mut client.sock));
    let records = secured.proxy.stop();
    // The two sessions may end on different threads: the order of their records is not theirs.
    let mut closes: Vec<_> = records
        .iter()
        .filter(|record| record["record"] == "session")
        .map(|record| (record["close"]["by"].as_str().unwrap(), record["close"]["how"].as_str().unwrap()))
        .collect();
    closes.sort_unstable();
    assert_eq!(closes, [("client", "reset"), ("server", "reset")]);
}

#[test]
fn quit_and_close_still_gets_its_answer() {
    let secured = EstablishedTls::start("smtp", &["--tls", "implicit"]);
    let (mut client, mut server) = secured.greeted();
    client.write_all(b"QUIT\r\n").unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    client.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "QUIT\r\n");
    server.write_all(b"221 bye\r\n").unwrap();
    drop(server);
    heard.clear();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "221 bye\r\n", "and a closing alert");
    let records = secured.proxy.stop();
    let session = session(&records);
    assert_eq!(session["outcome"], "ok");
    assert_eq!((&session["tls"]["mode"], &session["tls"]["decrypted"]), (&"implicit".into(), &true.into()));
}

#[test]
fn a_client_that_does_not_read_costs_one_buffer() {
    let secured = EstablishedTls::start("smtp", &["--tls", "implicit"]);
    let (mut client, mut server) = secured.greeted();
    let before = secured.proxy.resident();
    server.set_nonblocking(true).unwrap();
    let (chunk, mut sent) = (vec![b'x'; 1 << 20], 0);
    let mut moved = Instant::now();
    // Until nothing has been taken for a while: what the kernel holds is its own affair.
    while moved.elapsed() < Duration::from_millis(500) {
        match server.write(&chunk) {
            Ok(length) => (sent, moved) = (sent + length, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    }
    let grown = secured.proxy.resident() - before;
    assert!(grown < 1024, "{grown} KiB");
    drop(server);
    let mut came = Vec::new();
    client.read_to_end(&mut came).unwrap();
    assert_eq!(came.len(), sent);
}

#[test]
fn a_connection_that_stands_still_is_closed() {
    let secured = EstablishedTls::start("smtp", &["--tls", "implicit", "--idle-timeout", "1s"]);
    let (mut client, _server) = secured.greeted();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "and a closing alert");
    assert_eq!(secured.proxy.record("session")["close"]["how"], "timeout");
}

#[test]
fn a_handshake_that_does_not_come_is_not_waited_for() {
    let secured = EstablishedTls::start("smtp", &["--tls", "implicit", "--greeting-timeout", "1s"]);
    let (mut client, _server) = secured.proxy.connect();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn at_the_end_the_client_is_told() {
    let secured = EstablishedTls::start("smtp", &["--tls", "implicit", "--refuse", "tell"]);
    let (mut client, _server) = secured.greeted();
    secured.proxy.signal(Signal::TERM);
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "421 4.3.2 Service not available, try again later\r\n");
    assert_eq!(secured.proxy.record("session")["close"]["how"], "drain");
}

#[test]
fn a_fault_of_the_observer_costs_no_octet() {
    let secured = EstablishedTls::start("smtp", &["--tls", "implicit", "--inject-fault", "10"]);
    let (mut client, mut server) = secured.greeted();
    client.write_all(b"QUIT\r\n").unwrap();
    hear(&mut server, "QUIT\r\n");
    drop(server);
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn a_fault_ends_the_session_if_asked_for() {
    let secured = EstablishedTls::start("smtp", &["--tls", "implicit", "--inject-fault", "10", "--on-fault", "close"]);
    let (client, mut server) = secured.proxy.connect();
    let mut client = secured.under_tls(client);
    server.write_all(b"220 mx ESMTP\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(String::from_utf8_lossy(&rest), "220 mx ESMTP\r\n");
    assert!(is_reset(&mut server));
}

/// What was injected in clear is on the record of nobody, and no command of it counts.
#[test]
fn injected_commands_are_seen_for_what_they_are() {
    let secured = EstablishedTls::start("smtp", &["--tls", "starttls", "--records", "session,transaction,command"]);
    let (mut client, mut server) = secured.proxy.connect();
    server.write_all(b"220 mx ESMTP\r\n").unwrap();
    hear(&mut client, "220 mx ESMTP\r\n");
    client.write_all(b"EHLO c\r\n").unwrap();
    hear(&mut server, "EHLO c\r\n");
    server.write_all(b"250-mx\r\n250 PIPELINING\r\n").unwrap();
    hear(&mut client, "250-mx\r\n250-STARTTLS\r\n250 PIPELINING\r\n");
    client.write_all(b"STARTTLS\r\nMAIL FROM:<evil@example.net>\r\n").unwrap();
    hear(&mut client, "220 2.0.0 Ready to start TLS\r\n");
    let mut client = secured.under_tls(client);
    client.write_all(b"EHLO d\r\nQUIT\r\n").unwrap();
    hear(&mut server, "EHLO d\r\nQUIT\r\n");
    server.write_all(b"250-mx\r\n250 PIPELINING\r\n221 bye\r\n").unwrap();
    hear(&mut client, "250-mx\r\n250 PIPELINING\r\n221 bye\r\n");
    drop((client, server));
    let records = secured.proxy.stop();
    let verbs: Vec<_> = records.iter().filter(|r| r["record"] == "command").map(|r| r["name"].clone()).collect();
    assert_eq!(verbs, ["EHLO", "STARTTLS", "EHLO", "QUIT"]);
    assert!(!format!("{records:?}").contains("evil"));
    let session = session(&records);
    assert_eq!((&session["helo"], &session["outcome"]), (&"d".into(), &"ok".into()));
    let tls = &session["tls"];
    assert_eq!((&tls["mode"], &tls["offered"], &tls["handshake"]), (&"starttls".into(), &true.into(), &"ok".into()));
    assert_eq!(tls["sni"], "localhost");
}

#[test]
fn a_handshake_that_fails_is_on_record() {
    for how in ["implicit", "starttls"] {
        let secured = EstablishedTls::start("smtp", &["--tls", how]);
        let (mut client, mut server) = secured.proxy.connect();
        server.write_all(b"220 mx ESMTP\r\n").unwrap();
        if how == "starttls" {
            client.write_all(b"STARTTLS\r\n").unwrap();
            hear(&mut client, "220 mx ESMTP\r\n220 2.0.0 Ready to start TLS\r\n");
        }
        client.write_all(b"EHLO in.clear\r\n").unwrap();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        assert_ne!(rest.first(), Some(&b'2'), "no reply, at most an alert");
        let tls = &secured.proxy.record("session")["tls"];
        assert_eq!((&tls["mode"], &tls["handshake"]), (&how.into(), &"failed".into()));
        assert!(tls.get("decrypted").is_none());
    }
}

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;

use data_encoding::BASE64;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::connection::CONNECTIONS;
use super::*;
use crate::secret::Secret;

/// Long enough for a machine under load; a test that hangs fails by it.
const PATIENCE: Duration = Duration::from_secs(30);

struct Served {
    handle: Handle,
    readiness: Readiness,
}

impl Served {
    fn new(token: Option<&str>, tls: Option<(&Path, &Path)>) -> Self {
        Self::with(token, tls, Box::new(|| b"# TYPE mailtap_x counter\nmailtap_x 1\n".to_vec()))
    }

    fn with(token: Option<&str>, tls: Option<(&Path, &Path)>, metrics: MetricsBody) -> Self {
        let readiness = Readiness::new();
        let content = ServedContent { metrics, page: Arc::default(), readiness: readiness.clone() };
        let handle = BoundServer::bind(&config(token, tls)).unwrap().start(content).unwrap();
        Self { handle, readiness }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.handle.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The answer to one request, the connection closed behind it.
    fn ask(&self, request: &str) -> String {
        exchange(self.connect(), request)
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    fn stop(self) {
        self.handle.stop(PATIENCE);
    }
}

fn config(token: Option<&str>, tls: Option<(&Path, &Path)>) -> ServeSettings {
    ServeSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: token.map(|token| Secret::from(token.to_owned())),
        tls: tls.map(|(chain, key)| (chain.into(), key.into())),
        hosts: vec!["mon.example.org".into()],
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    // A server that refuses early may close before it has read all.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// Reads until `end` has come.
fn read_until(stream: &mut impl Read, end: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut one = [0];
    while !octets.ends_with(end) {
        assert_eq!(stream.read(&mut one).unwrap(), 1, "closed after {}", octets.escape_ascii());
        octets.push(one[0]);
    }
    octets
}

#[test]
fn metrics_are_what_the_closure_gives() {
    let served = Served::new(None, None);
    let answer = served.get("/metrics");
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert_eq!(body(&answer), "# TYPE mailtap_x counter\nmailtap_x 1\n");
    served.stop();
}

#[test]
fn metrics_are_packed_for_whom_takes_them_so() {
    let served = Served::new(None, None);
    for (header, packed) in [
        ("Accept-Encoding: gzip\r\n", true),
        ("Accept-Encoding: br, GZIP;q=0.5\r\n", true),
        ("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n", true),
        ("Accept-Encoding: gzip;q=0\r\n", false),
        ("Accept-Encoding: br\r\n", false),
        ("", false),
    ] {
        let mut stream = served.connect();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let head = String::from_utf8(read_until(&mut stream, b"\r\n\r\n")).unwrap();
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        assert_eq!(head.contains("content-encoding: gzip\r\n"), packed, "{header}: {head}");
        assert!(head.contains("vary: accept-encoding\r\n"), "{head}");
        let mut text = String::new();
        match packed {
            true => _ = flate2::read::GzDecoder::new(&*body).read_to_string(&mut text).unwrap(),
            false => text = String::from_utf8(body).unwrap(),
        }
        assert_eq!(text, "# TYPE mailtap_x counter\nmailtap_x 1\n");
    }
    served.stop();
}

#[test]
fn readiness_follows_the_process() {
    let served = Served::new(Some("t0ken"), None);
    for (state, code, text) in
        [(None, 503, "starting\n"), (Some(Ready::Ready), 200, "ready\n"), (Some(Ready::Draining), 503, "draining\n")]
    {
        if let Some(state) = state {
            served.readiness.set(state);
        }
        let answer = served.get("/readyz");
        assert_eq!((status(&answer), body(&answer)), (code, text));
    }
    assert_eq!(status(&served.get("/healthz")), 200);
    served.stop();
}

#[test]
fn only_reading_and_only_what_is_there() {
    let served = Served::new(None, None);
    assert_eq!(status(&served.get("/metric")), 404);
    assert_eq!(status(&served.get("/metrics?a=b")), 200);
    assert_eq!(status(&served.get("//etc/passwd")), 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/", "/metrics", "/healthz", "/events"] {
            let answer =
                served.ask(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
            assert_eq!(status(&answer), 405, "{method} {path}");
            assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        }
    }
    for path in ["/", "/metrics", "/readyz", "/events"] {
        let answer = served.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert!(!answer.is_empty() && body(&answer).is_empty(), "{path}: {answer}");
    }
    served.stop();
}

#[test]
fn every_answer_keeps_a_browser_honest() {
    let served = Served::new(Some("t0ken"), None);
    for path in ["/", "/healthz", "/nothing"] {
        let answer = served.get(path);
        for field in [
            "content-security-policy: default-src 'none'; ",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff\r\n",
            "referrer-policy: no-referrer\r\n",
            "cache-control: no-store\r\n",
        ] {
            assert!(answer.contains(field), "{path} lacks {field}:\n{answer}");
        }
        assert!(!answer.contains("unsafe-"), "{answer}");
    }
    served.stop();
}

#[test]
fn the_token_opens_all_but_health() {
    let served = Served::new(Some("t0ken"), None);
    let bearing = |path: &str, value: &str| {
        served.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {value}\r\nConnection: close\r\n\r\n"
        ))
    };
    for path in ["/", "/metrics", "/events", "/nothing"] {
        let answer = served.get(path);
        assert_eq!(status(&answer), 401, "{path}");
        assert!(answer.contains("www-authenticate: Basic realm=\"mailtap\""), "{answer}");
        assert_eq!(status(&bearing(path, "Bearer t0ken2")), 401, "{path}");
        assert!(!answer.contains("t0ken"), "{answer}");
    }
    assert_eq!(status(&bearing("/metrics", "Bearer t0ken")), 200);
    assert_eq!(status(&bearing("/", &format!("Basic {}", BASE64.encode(b"me:t0ken")))), 200);
    assert_eq!(status(&served.get("/healthz")), 200);
    let access = served.handle.read_access(&config(Some("other"), None)).unwrap();
    served.handle.take_access(access);
    assert_eq!(status(&bearing("/metrics", "Bearer t0ken")), 401);
    assert_eq!(status(&bearing("/metrics", "Bearer other")), 200);
    served.stop();
}

#[test]
fn another_name_for_loopback_is_refused() {
    let served = Served::new(None, None);
    let ask = |target: &str, host: &str| {
        status(&served.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")))
    };
    assert_eq!(ask("/metrics", "rebound.example:9100"), 421);
    assert_eq!(ask("http://rebound.example/metrics", "localhost"), 421);
    assert_eq!(ask("/metrics", "localhost:9100"), 200);
    assert_eq!(ask("/metrics", "127.0.0.1"), 200);
    assert_eq!(ask("/metrics", "mon.example.org"), 200);
    served.stop();
}

#[test]
fn off_loopback_the_page_alone_is_particular_about_its_name() {
    let config = ServeSettings { listen: "0.0.0.0:0".parse().unwrap(), ..config(None, None) };
    let content =
        ServedContent { metrics: Box::new(|| b"# x\n".to_vec()), page: Arc::default(), readiness: Readiness::new() };
    let handle = BoundServer::bind(&config).unwrap().start(content).unwrap();
    let port = handle.address().port();
    let served = Served { handle, readiness: Readiness::new() };
    let ask = |path: &str, host: &str| {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        status(&exchange(stream, &request))
    };
    for path in ["/", "/page.js", "/metrics", "/healthz"] {
        for host in ["192.0.2.1:9325", "mon.example.org", "localhost"] {
            assert_eq!(ask(path, host), 200, "{path} {host}");
        }
    }
    for path in ["/", "/page.js", "/events"] {
        assert_eq!(ask(path, "rebound.example"), 421, "{path}");
    }
    // Prometheus may know it by any name, and sends no page to anybody.
    assert_eq!(ask("/metrics", "rebound.example"), 200);
    assert_eq!(ask("/readyz", "rebound.example"), 503);
    let again = ServeSettings { hosts: vec!["rebound.example".into()], ..config };
    served.handle.take_access(served.handle.read_access(&again).unwrap());
    assert_eq!(ask("/", "rebound.example"), 200);
    assert_eq!(ask("/", "mon.example.org"), 421);
    served.stop();
}

#[test]
fn a_request_without_end_is_cut() {
    let served = Served::new(None, None);
    let long = "a".repeat(20_000);
    let fields: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    for request in [
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"),
        long.clone(),
        "\u{16}\u{3}\u{1}\0\0".to_owned() + &long,
    ] {
        let code = status(&served.ask(&request));
        assert!(matches!(code, 0 | 400 | 414 | 431), "{code}");
    }
    assert_eq!(status(&served.get("/healthz")), 200);
    served.stop();
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let served = Served::new(None, None);
    let mut stream = served.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let answer = read_until(&mut stream, b"ok\n");
        assert_eq!(status(std::str::from_utf8(&answer).unwrap()), 200);
    }
    served.stop();
}

#[test]
fn clients_that_only_sit_there_keep_nobody_out() {
    let served = Served::new(None, None);
    let mut sitting: Vec<_> = (0..CONNECTIONS + 10).map(|_| served.connect()).collect();
    assert_eq!(status(&served.get("/metrics")), 200);
    // The first had to go, the last is still served.
    assert_eq!(sitting[0].read(&mut [0]).unwrap_or(0), 0);
    let last = sitting.pop().unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(last, request)), 200);
    served.stop();
}

#[test]
fn viewers_that_look_are_counted_and_outlast_a_crowd() {
    let served = Served::new(None, None);
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        let (viewer, seat) = view(&served);
        assert_eq!(status(&served.get(&format!("/seat/{seat}"))), 200);
        viewers.push(viewer);
    }
    assert_eq!(status(&served.get("/seat/99")), 404);
    let answer = served.get("/events");
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("retry-after: 10\r\n"), "{answer}");
    let crowd: Vec<_> = (0..CONNECTIONS).map(|_| served.connect()).collect();
    assert_eq!(status(&served.get("/healthz")), 200);
    for viewer in &mut viewers {
        read_until(viewer, b"data: ");
    }
    drop(crowd);
    served.stop();
}

/// Opens the stream of events; it, and the number of its place.
fn view(served: &Served) -> (TcpStream, u64) {
    let mut viewer = served.connect();
    viewer.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let head = read_until(&mut viewer, b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", head.escape_ascii());
    read_until(&mut viewer, b"event: seat\ndata: ");
    let number = read_until(&mut viewer, b"\n");
    (viewer, std::str::from_utf8(&number).unwrap().trim().parse().unwrap())
}

#[test]
fn silent_viewers_keep_nobody_out() {
    let served = Served::new(None, None);
    // Some of them read, some do not; none does what a page does.
    let mut silent: Vec<_> = (0..2 * VIEWERS).map(|_| view(&served).0).collect();
    let answer = served.ask("HEAD /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&answer), 200);
    let (mut looking, seat) = view(&served);
    assert_eq!(status(&served.get(&format!("/seat/{seat}"))), 200);
    let more: Vec<_> = (0..2 * VIEWERS).map(|_| view(&served)).collect();
    read_until(&mut looking, b"data: ");
    read_until(&mut looking, b"data: ");
    // The oldest is told that it is over: an answer of chunks ends with an empty one.
    read_until(&mut silent[0], b"\r\n0\r\n\r\n");
    drop((silent, more));
    served.stop();
}

#[test]
fn a_session_is_asked_for_by_its_id() {
    let served = Served::new(Some("t0ken"), None);
    assert_eq!(status(&served.get("/session/00000000000000ff")), 401);
    let ask = |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t0ken\r\nConnection: close\r\n\r\n"
        );
        status(&served.ask(&request))
    };
    for path in ["/session/00000000000000ff", "/session/", "/session/ff", "/session/../metrics", "/seat/x", "/seat/"] {
        assert_eq!(ask(path), 404, "{path}");
    }
    served.stop();
}

#[test]
fn who_never_reads_holds_up_nobody() {
    let served = Served::with(None, None, Box::new(|| vec![b'#'; 8 << 20]));
    let deaf: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = served.connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(body(&served.get("/metrics")).len(), 8 << 20);
    drop(deaf);
    served.stop();
}

#[test]
fn tls_is_spoken_and_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    let first = write_certificate(&chain, &key);
    let served = Served::new(None, Some((&chain, &key)));
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(tls(&served, &first), request)), 200);
    assert_eq!(status(&served.ask(request)), 0, "plain HTTP is not answered");

    let second = write_certificate(&chain, &key);
    assert_eq!(exchange(tls(&served, &second), request), "", "the old one is in use until it is read again");
    let access = served.handle.read_access(&config(None, Some((&chain, &key)))).unwrap();
    served.handle.take_access(access);
    assert_eq!(status(&exchange(tls(&served, &second), request)), 200);

    std::fs::write(&key, "no key").unwrap();
    let error = served.handle.read_access(&config(None, Some((&chain, &key)))).unwrap_err();
    assert!(error.to_string().contains("key.pem: holds no private key; check --metrics-cert"), "{error}");
    assert_eq!(status(&exchange(tls(&served, &second), request)), 200);
    served.stop();
}

fn write_certificate(chain: &Path, key: &Path) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(chain, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    made
}

fn tls(served: &Served, trusted: &rcgen::CertifiedKey<rcgen::KeyPair>) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), served.connect())
}

#[test]
fn an_address_in_use_is_told_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = ServeSettings { listen: taken.local_addr().unwrap(), token: None, tls: None, hosts: Vec::new() };
    let text = BoundServer::bind(&config).unwrap_err().to_string();
    assert!(text.contains(&config.listen.to_string()) && text.contains("--metrics-listen"), "{text}");
    let foreign = ServeSettings { listen: "192.0.2.77:9100".parse().unwrap(), ..config };
    let text = BoundServer::bind(&foreign).unwrap_err().to_string();
    assert!(text.contains("192.0.2.77:9100") && text.contains("not of this host"), "{text}");
}

#[test]
fn who_listens_to_all_is_told_what_that_means() {
    let cautions = |token: Option<&str>| {
        let listen = "0.0.0.0:0".parse().unwrap();
        BoundServer::bind(&ServeSettings { listen, ..config(token, None) }).unwrap().cautions()
    };
    assert!(cautions(None)[0].contains("--metrics-token"));
    assert!(cautions(Some("t0ken"))[0].contains("in clear"));
    assert!(BoundServer::bind(&config(None, None)).unwrap().cautions().is_empty());
}

#[test]
fn stopping_ends_what_is_open_and_frees_the_address() {
    let served = Served::new(None, None);
    let address = served.handle.address();
    let mut viewer = served.connect();
    viewer.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    read_until(&mut viewer, b"data: ");
    let mut idle = served.connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    read_until(&mut idle, b"ok\n");
    let (done, wait) = mpsc::channel();
    thread::spawn(move || {
        served.stop();
        done.send(()).unwrap();
    });
    wait.recv_timeout(PATIENCE).unwrap();
    let mut rest = Vec::new();
    let _ = viewer.read_to_end(&mut rest);
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    TcpListener::bind(address).unwrap();
}

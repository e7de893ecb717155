//! The proxy that answers TLS, from outside: certificates both ways, what goes wrong and how it is told, and what the server is
//! told of the client.

mod failures;
mod told;

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::running::{Proxy, free_address, patient, spawn};

/// The name that certificates have.
const NAME: &str = "mx.example.org";

/// A certificate chain and its key, in PEM.
#[derive(Clone)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    fn flags(&self, chain: &'static str, key: &'static str) -> [String; 4] {
        [chain.into(), self.chain.display().to_string(), key.into(), self.key.display().to_string()]
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(&self.chain).unwrap().map(Result::unwrap).collect()
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).unwrap()
    }
}

/// An authority, and what it vouches for.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        // Each has a name of its own.
        params.distinguished_name.push(DnType::CommonName, folder.path().display().to_string());
        std::fs::write(folder.path().join("ca"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn path(&self) -> String {
        self.folder.path().join("ca").display().to_string()
    }

    /// A certificate for `name`, changed by `change`.
    fn certify(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Files {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        self.write(name, params.signed_by(&key, &self.issuer).unwrap().pem(), &key)
    }

    fn write(&self, name: &str, chain: String, key: &KeyPair) -> Files {
        let at = |what: &str| self.folder.path().join(format!("{name}.{what}"));
        std::fs::write(at("chain"), chain).unwrap();
        std::fs::write(at("key"), key.serialize_pem()).unwrap();
        Files { chain: at("chain"), key: at("key") }
    }

    /// A client that trusts it; `versions`: of TLS; `own`: its certificate.
    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion], own: Option<&Files>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match own {
            Some(own) => builder.with_client_auth_cert(own.certificates(), own.private()).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }

    /// A server with that certificate; `clients`: it wants one that this authority vouches for.
    fn server(&self, files: &Files, clients: bool) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.path()).unwrap()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(files.certificates(), files.private()).unwrap())
    }
}

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A proxy with certificate `own`, further flags, and metrics; and where these are.
fn start(protocol: &str, own: &Files, flags: &[&str]) -> (Proxy, String) {
    let metrics = free_address().to_string();
    let own = own.flags("--tls-cert", "--tls-key");
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    let proxy = Proxy::start(protocol, &[&own, &["--metrics-listen", &metrics][..], flags].concat());
    (proxy, metrics)
}

type Client = StreamOwned<ClientConnection, TcpStream>;
type Server = StreamOwned<ServerConnection, TcpStream>;

fn secured(stream: TcpStream, config: &Arc<ClientConfig>) -> Client {
    let name = ServerName::try_from(NAME).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream)
}

fn answered(stream: TcpStream, config: &Arc<ServerConfig>) -> Server {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

fn hear(from: &mut impl std::io::Read, text: &str) {
    let mut bytes = vec![0; text.len()];
    from.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// What comes until the end, however that is.
fn rest(from: &mut impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn certificates_of_both_sides_are_asked_for_and_shown() {
    let authority = Authority::new();
    let (own, server) = (authority.certify("own", |_| {}), authority.certify("server", |_| {}));
    let ca = authority.path();
    let identity = authority.certify("mailtap", |_| {});
    let shown = identity.flags("--upstream-cert", "--upstream-key");
    let shown: Vec<_> = shown.iter().map(String::as_str).collect();
    let flags = ["--tls", "implicit", "--tls-client-ca", &ca, "--tls-min", "1.3", "--upstream-tls", "implicit"];
    let trust = ["--upstream-ca", &ca, "--upstream-name", NAME];
    let (proxy, _) = start("imap", &own, &[&flags[..], &trust, &shown].concat());
    let ann = authority.certify("ann", |_| {});
    let (client, end) = proxy.connect();
    let mut client = secured(client, &authority.client(BOTH, Some(&ann)));
    let mut server = answered(end, &authority.server(&server, true));
    let greeting = std::thread::spawn(move || {
        server.write_all(b"* OK hi\r\n").unwrap();
        server
    });
    hear(&mut client, "* OK hi\r\n");
    let server = greeting.join().unwrap();
    assert_eq!(server.conn.peer_certificates().unwrap(), identity.certificates());
}

/// As `openssl req -x509` makes it: an authority and a server in one.
#[test]
fn a_server_is_trusted_by_its_very_certificate() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    let (certificate, config) = self_signed(&authority, "server");
    let (other, _) = self_signed(&authority, "other");
    for (trusted, is_trusted) in [(&certificate, true), (&other, false)] {
        for name in [NAME, "other.example.org"] {
            let path = trusted.chain.display().to_string();
            let flags = ["--tls", "implicit", "--upstream-tls", "implicit", "--upstream-ca", &path];
            let (proxy, _) = start("imap", &own, &[&flags[..], &["--upstream-name", name]].concat());
            let (client, end) = proxy.connect();
            let mut client = secured(client, &authority.client(BOTH, None));
            let mut server = answered(end, &config);
            let greeting = std::thread::spawn(move || server.write_all(b"* OK hi\r\n").is_ok());
            let is_right = is_trusted && name == NAME;
            assert_eq!(rest_of_one_line(&mut client), if is_right { "* OK hi\r\n" } else { "" }, "{path} {name}");
            drop(client);
            assert_eq!(greeting.join().unwrap(), is_right);
            if !is_right {
                let why = if is_trusted { "name_mismatch" } else { "unknown_ca" };
                assert_eq!(proxy.record("session")["tls"]["upstream_failure"], *why);
            }
        }
    }
}

fn self_signed(authority: &Authority, name: &str) -> (Files, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let files = authority.write(name, params.self_signed(&key).unwrap().pem(), &key);
    let config = authority.server(&files, false);
    (files, config)
}

/// A line, or what there is of it before the end.
fn rest_of_one_line(from: &mut impl std::io::Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && from.read(&mut byte).is_ok_and(|length| length == 1) {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn a_client_of_a_server_that_is_down_shakes_hands_before_it_is_told() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    for (how, line) in [("implicit", "* BYE [UNAVAILABLE]"), ("starttls", "* BYE [UNAVAILABLE]")] {
        let (listen, server) = (free_address().to_string(), free_address().to_string());
        let flags =
            ["--listen", &listen, "--upstream", &server, "--protocol", "imap", "--tls", how, "--refuse", "tell"];
        let own = own.flags("--tls-cert", "--tls-key");
        let own: Vec<_> = own.iter().map(String::as_str).collect();
        let (mut child, _stderr) = spawn(&[&flags[..], &own].concat());
        let mut client = TcpStream::connect(&listen).unwrap();
        patient(&client);
        let told = if how == "implicit" {
            rest(&mut secured(client, &authority.client(BOTH, None)))
        } else {
            rest(&mut client)
        };
        assert!(told.starts_with(line), "{how}: {told:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_client_over_the_limit_shakes_hands_before_it_is_told() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    let limit = ["--max-connections", "1", "--on-limit", "close", "--refuse", "tell"];
    let (proxy, _) = start("smtp", &own, &[&["--tls", "implicit"], &limit[..]].concat());
    let (_first, _server) = proxy.connect();
    let mut second = secured(proxy.client(), &authority.client(BOTH, None));
    assert_eq!(rest(&mut second), "421 4.3.2 Service not available, try again later\r\n");
}

#[test]
fn nothing_is_said_in_clear_where_tls_passes() {
    let limit = ["--max-connections", "1", "--on-limit", "close", "--refuse", "tell"];
    let proxy = Proxy::start("smtp", &limit);
    let (_first, _server) = proxy.connect();
    // It has begun TLS.
    let mut client = proxy.client();
    client.write_all(b"\x16\x03\x01\0\x05\x01").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut clear = proxy.client();
    assert!(rest(&mut clear).starts_with("421 "), "another client is told");
    assert_eq!(rest(&mut client), "", "it would take it for a fault of TLS");
    // The port is one where TLS begins with the first byte: not even a client that says nothing is told.
    let listen = free_address().to_string();
    let flags = ["--listen", &listen, "--upstream", "127.0.0.1:993", "--protocol", "imap", "--refuse", "tell"];
    let (mut child, _stderr) = spawn(&[&flags[..], &["--connect-timeout", "1s"]].concat());
    let mut client = TcpStream::connect(&listen).unwrap();
    patient(&client);
    assert_eq!(rest(&mut client), "");
    child.kill().unwrap();
    child.wait().unwrap();
}

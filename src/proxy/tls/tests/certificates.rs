use std::fs;
use std::sync::Arc;

use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, ServerConnection, SignatureScheme};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::authority::Authority;
use crate::proxy::settings::{TlsBounds, TlsSettings};
use crate::proxy::tls::{Certificates, Upstream};
use crate::time::Timestamp;

/// The names in the certificate that a client gets who asks for `name`.
fn shown(authority: &Authority, certificates: &Arc<Certificates>, name: &'static str) -> Vec<String> {
    let upstream = Upstream::new(&authority.settings(&Default::default()), Some(name)).unwrap();
    let name = upstream.name("192.0.2.1".parse().unwrap());
    names(&handshake(certificates, ClientConnection::new(upstream.config, name).unwrap()))
}

/// Runs the handshake in memory; the certificate is of interest, whether it is trusted or not.
fn handshake(certificates: &Arc<Certificates>, mut client: ClientConnection) -> CertificateDer<'static> {
    let mut server = ServerConnection::new(certificates.config(&TlsBounds::default(), None).unwrap()).unwrap();
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets().unwrap();
    }
    client.peer_certificates().unwrap()[0].clone().into_owned()
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    let alternative = certificate.subject_alternative_name().unwrap().unwrap();
    alternative
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[test]
fn the_name_asked_for_chooses() {
    let authority = Authority::new();
    let files = [
        authority.files(&["first.example", "10.0.0.1"]),
        authority.files(&["*.wild.example", "WILD.example"]),
        authority.files(&["exact.wild.example"]),
    ];
    let certificates = Arc::new(Certificates::read(&files).unwrap());
    let chosen = |name| shown(&authority, &certificates, name)[0].clone();
    assert_eq!(chosen("first.example"), "first.example");
    assert_eq!(chosen("any.wild.example"), "*.wild.example");
    assert_eq!(chosen("ANY.Wild.example"), "*.wild.example");
    assert_eq!(chosen("wild.example"), "*.wild.example");
    assert_eq!(chosen("exact.wild.example"), "exact.wild.example");
    // An address is no server name (RFC 6066 section 3): nothing is asked for.
    assert_eq!(chosen("10.0.0.1"), "first.example");
}

#[test]
fn a_name_that_nobody_has_gets_the_first() {
    let authority = Authority::new();
    let files = [authority.files(&["first.example"]), authority.files(&["*.wild.example"])];
    let certificates = Certificates::read(&files).unwrap();
    let first = |name| Arc::as_ptr(certificates.candidates(name).next().unwrap());
    assert_eq!(first(Some("two.deep.wild.example")), first(None));
    assert_eq!(first(Some("nobody.example")), first(None));
    assert_ne!(first(Some("one.wild.example")), first(None));
}

#[test]
fn of_two_for_a_name_the_client_gets_what_it_can_verify() {
    let authority = Authority::new();
    let curious = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let files = [authority.files_of(&["mx.example"], &curious), authority.files(&["mx.example", "second.example"])];
    let certificates = Arc::new(Certificates::read(&files).unwrap());
    let mut provider = rustls::crypto::ring::default_provider();
    let known = &mut provider.signature_verification_algorithms;
    let p256 = known.mapping.iter().position(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256).unwrap();
    known.mapping = &known.mapping[p256..=p256];
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(super::super::certificates::certificates(&authority.own()).unwrap());
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let name = ServerName::try_from("mx.example").unwrap();
    let client = ClientConnection::new(Arc::new(config.with_no_client_auth()), name).unwrap();
    assert_eq!(names(&handshake(&certificates, client)), ["mx.example", "second.example"]);
    assert_eq!(shown(&authority, &certificates, "mx.example"), ["mx.example"]);
}

#[test]
fn what_is_known_of_a_certificate() {
    let authority = Authority::new();
    let files = [authority.files(&["MX.example", "*.example"])];
    let certificates = Certificates::read(&files).unwrap();
    let known = &certificates.known()[0];
    assert_eq!(known.names, ["mx.example", "*.example"]);
    assert_eq!(known.not_after, Timestamp::from_parts(2_524_521_600, 0), "2049-12-31");
    let key = fs::read_to_string(&files[0].1).unwrap();
    let shown = format!("{certificates:?}");
    assert!(shown.contains("mx.example"));
    assert!(key.lines().filter(|line| line.len() > 20).all(|line| !shown.contains(line)), "{shown}");
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let authority = Authority::new();
    let (chain, key) = authority.files(&["mx.example"]);
    let (_, strange) = authority.files(&["other.example"]);
    let at = |name: &str, text: &str| {
        let path = authority.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let gone = authority.folder.path().join("gone.pem");
    let binary = at("binary.der", "\u{0}\u{1}");
    let cut = at("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let odd = at("odd.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let locked = at("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    for (chain, key, about, reason) in [
        (&gone, &key, "gone.pem", "cannot be read: No such file or directory;"),
        (&chain, &gone, "gone.pem", "cannot be read: No such file or directory;"),
        (&binary, &key, "binary.der", "no PEM"),
        (&cut, &key, "cut.pem", "no PEM"),
        (&key, &key, "mx.examplefalse.key", "holds no certificate"),
        (&odd, &key, "odd.pem", "cannot be understood"),
        (&chain, &chain, "mx.examplefalse.cert", "holds no private key"),
        (&chain, &locked, "locked.pem", "without a passphrase"),
        (&chain, &strange, "other.examplefalse.key", "is not the key of the certificate in"),
    ] {
        let error = Certificates::read(&[(chain.clone(), key.clone())]).unwrap_err().to_string();
        assert!(error.contains(about) && error.contains(reason), "{about} {reason}: {error}");
        assert!(!error.contains('\n') && error.contains("; "), "one line that says what to do: {error}");
    }
    let settings = authority.settings(&(chain, key.clone()));
    let error =
        Upstream::new(&TlsSettings { authorities: Some(key), ..settings.clone() }, None).unwrap_err().to_string();
    assert!(error.contains("holds no certificate"), "{error}");
    let error = Upstream::new(&settings, Some("no name")).unwrap_err().to_string();
    assert!(error.contains("no name") && error.contains("--upstream-name"), "{error}");
}

//! Handshakes that fail: records and metrics say why.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::ClientConfig;

use super::{Authority, BOTH, Client, NAME, answered, provider, rest, secured, start};
use crate::running::{patient, scrape, wait_for};

/// Fails unless the record and the metrics of the only session say that TLS with `side` failed for `reason`.
fn told(proxy: &crate::running::Proxy, metrics: &str, side: &str, reason: &str) {
    let field = if side == "client" { "failure" } else { "upstream_failure" };
    let session = proxy.record("session");
    assert_eq!(session["tls"][field], *reason, "{session:#}");
    assert_eq!(session["outcome"], "tls_failed", "{session:#}");
    let labels = [&*format!("side=\"{side}\""), &*format!("reason=\"{reason}\"")];
    wait_for(metrics, "mailtap_tls_failures_total", &labels, |n| n == 1.0);
    assert_eq!(scrape(metrics, "mailtap_tls_failures_total", &[]), 1.0);
}

/// A client of an authority that has nothing to do with the proxy's certificate.
fn stranger() -> Arc<ClientConfig> {
    Authority::new().client(BOTH, None)
}

fn tries(client: &mut Client) {
    let _ = client.write_all(b"x\r\n").and_then(|()| client.flush());
    rest(client);
}

#[test]
fn why_tls_with_a_client_failed_is_told() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    let ca = authority.path();
    let strangers = Authority::new();
    let older: &[_] = &[&rustls::version::TLS12];
    type Attempt<'a> = Box<dyn Fn(TcpStream) + 'a>;
    let with = |config: Arc<ClientConfig>| -> Attempt<'_> { Box::new(move |tcp| tries(&mut secured(tcp, &config))) };
    let in_clear: Attempt<'_> = Box::new(|mut tcp| {
        tcp.write_all(b"EHLO in.clear\r\n").unwrap();
        rest(&mut tcp);
    });
    let closes: Attempt<'_> = Box::new(|tcp| tcp.shutdown(Shutdown::Both).unwrap());
    let mut other_cipher = provider().as_ref().clone();
    other_cipher.cipher_suites.retain(|suite| format!("{:?}", suite.suite()) == "TLS13_AES_128_GCM_SHA256");
    let other_cipher =
        ClientConfig::builder_with_provider(Arc::new(other_cipher)).with_protocol_versions(&[&rustls::version::TLS13]);
    let other_cipher =
        other_cipher.unwrap().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let ciphers = ["--tls-ciphers", "TLS13_AES_256_GCM_SHA384"];
    let cases: [(&str, &[&str], Attempt<'_>); 7] = [
        ("unknown_ca", &[], with(stranger())),
        ("protocol_version", &["--tls-min", "TLSv1.3"], with(authority.client(older, None))),
        ("no_common_cipher", &ciphers, with(Arc::new(other_cipher))),
        ("certificate_required", &["--tls-client-ca", &ca], with(authority.client(BOTH, None))),
        ("unknown_ca", &["--tls-client-ca", &ca], {
            let own = strangers.certify("stranger", |_| {});
            with(authority.client(BOTH, Some(&own)))
        }),
        ("not_tls", &[], in_clear),
        ("closed", &[], closes),
    ];
    for (reason, flags, attempt) in cases {
        let (proxy, metrics) = start("smtp", &own, &[&["--tls", "implicit"], flags].concat());
        let (client, _server) = proxy.connect();
        attempt(client);
        told(&proxy, &metrics, "client", reason);
    }
}

#[test]
fn why_tls_with_the_server_failed_is_told() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    let change = |year: i32, ends: i32| {
        move |params: &mut CertificateParams| {
            (params.not_before, params.not_after) = (date_time_ymd(year, 1, 1), date_time_ymd(ends, 1, 1));
        }
    };
    let good = authority.certify("good", |_| {});
    let strangers = Authority::new();
    let strange = strangers.certify("strange", |_| {});
    let cases = [
        ("unknown_ca", NAME, strange, false),
        ("expired", NAME, authority.certify("expired", change(2020, 2021)), false),
        ("not_yet_valid", NAME, authority.certify("early", change(2090, 2091)), false),
        ("name_mismatch", "other.example.org", good.clone(), false),
        ("certificate_required", NAME, good, true),
    ];
    let ca = authority.path();
    for (reason, name, files, clients) in cases {
        let flags = ["--tls", "implicit", "--upstream-tls", "implicit", "--upstream-ca", &ca, "--upstream-name", name];
        let (proxy, metrics) = start("imap", &own, &flags);
        let (client, end) = proxy.connect();
        let config = authority.server(&files, clients);
        let server = std::thread::spawn(move || rest(&mut answered(end, &config)));
        let mut client = secured(client, &authority.client(BOTH, None));
        tries(&mut client);
        drop(client);
        server.join().unwrap();
        told(&proxy, &metrics, "server", reason);
    }
    for (reason, upstream, greeting) in
        [("not_tls", "implicit", "* OK in clear\r\n"), ("refused", "starttls", "* PREAUTH hi\r\n")]
    {
        let flags = ["--tls", "implicit", "--upstream-tls", upstream, "--upstream-ca", &ca, "--upstream-name", NAME];
        let (proxy, metrics) = start("imap", &own, &flags);
        let (client, mut end) = proxy.connect();
        patient(&end);
        end.write_all(greeting.as_bytes()).unwrap();
        tries(&mut secured(client, &authority.client(BOTH, None)));
        told(&proxy, &metrics, "server", reason);
    }
}

#[test]
fn an_own_certificate_that_has_expired_is_warned_of_and_counted() {
    let authority = Authority::new();
    let own = authority.certify("own", |params| params.not_after = date_time_ymd(2021, 1, 1));
    let (mut proxy, metrics) = start("imap", &own, &["--tls", "implicit"]);
    wait_for(&metrics, "mailtap_tls_certificates_expired", &[], |n| n == 1.0);
    proxy.signal(rustix::process::Signal::TERM);
    let (status, said) = proxy.wait();
    assert_eq!(status, 0);
    assert!(said.contains("own.chain: the certificate has expired"), "{said}");
}

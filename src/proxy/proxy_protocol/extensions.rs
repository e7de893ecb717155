//! The extensions of a header of version 2 (sections 2.2.1 to 2.2.8): what came with the client's own header, its TLS that is
//! answered here, and an id.

use super::LONGEST_HEADER;
use crate::engine::proxy_header::{self, ParsedHeader, Reading, Tlv, extension};
use crate::proxy::tls::ClientTls;

/// Flags and types inside [`extension::SSL`] (section 2.2.6).
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const SUBTYPE_VERSION: u8 = 0x21;
const SUBTYPE_CN: u8 = 0x22;
const SUBTYPE_CIPHER: u8 = 0x23;

/// Padding (section 2.2.5).
const NOOP: u8 = 0x04;

/// Bytes of a value that is made here: names in certificates have 64 at most, host names 255 (RFC 5280 appendix A.1).
const LONGEST_VALUE: usize = 255;

/// The extensions for the server, in the session `id`: those of the header `received`, and the client's TLS.
///
/// What a balancer in front says of the client's TLS stands: then it was the balancer who answered it. An id that it gave to
/// the connection stands as well.
pub fn extensions(id: u64, tls: Option<&ClientTls>, received: &[u8]) -> Vec<u8> {
    let read = proxy_header::parse(received, Reading::Strict { longest: LONGEST_HEADER });
    let header = match &read {
        ParsedHeader::Complete(header) => Some(header),
        ParsedHeader::NeedMore | ParsedHeader::Invalid => None,
    };
    let told = header.and_then(|header| header.extension(extension::SSL)).and_then(<[u8]>::first);
    let tls = tls.filter(|_| told.is_none_or(|flags| flags & CLIENT_SSL == 0));
    let sni = tls.and_then(|tls| tls.sni.as_deref());
    let stands = |kind| match kind {
        // The sum is one of the whole header, and is not owed.
        extension::CRC32C | NOOP => false,
        extension::SSL => tls.is_none(),
        extension::AUTHORITY => sni.is_none(),
        _ => true,
    };
    let mut all = Vec::new();
    for Tlv { kind, value } in
        header.into_iter().flat_map(proxy_header::ProxyHeader::extensions).filter(|tlv| stands(tlv.kind))
    {
        add(&mut all, kind, value);
    }
    if header.is_none_or(|header| header.extension(extension::UNIQUE_ID).is_none()) {
        add(&mut all, extension::UNIQUE_ID, format!("{id:016x}").as_bytes());
    }
    if let Some(sni) = sni {
        add(&mut all, extension::AUTHORITY, short(sni));
    }
    if let Some(tls) = tls {
        add(&mut all, extension::SSL, &secured(tls));
    }
    all
}

/// How the client's TLS was.
fn secured(tls: &ClientTls) -> Vec<u8> {
    let flags = if tls.certified { CLIENT_SSL | CLIENT_CERT_CONN } else { CLIENT_SSL };
    // 0: there was a certificate, and it was verified.
    let verify = u32::from(!tls.certified);
    let mut value = vec![flags];
    value.extend_from_slice(&verify.to_be_bytes());
    if let Some(version) = tls.version {
        add(&mut value, SUBTYPE_VERSION, version.as_bytes());
    }
    if let Some(name) = &tls.common_name {
        add(&mut value, SUBTYPE_CN, short(name));
    }
    if let Some(cipher) = tls.cipher {
        add(&mut value, SUBTYPE_CIPHER, name_of(cipher).as_bytes());
    }
    value
}

fn add(all: &mut Vec<u8>, kind: u8, value: &[u8]) {
    all.push(kind);
    all.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    all.extend_from_slice(value);
}

/// As much of `text` as is told, in whole characters.
fn short(text: &str) -> &[u8] {
    let end = (0..=LONGEST_VALUE.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.as_bytes().get(..end.unwrap_or(0)).unwrap_or_default()
}

/// The name that OpenSSL has for a cipher suite, as other proxies tell it: before TLS 1.3 it is not IANA's.
fn name_of(cipher: &'static str) -> &'static str {
    match cipher {
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::proxy_protocol::header;
    use crate::proxy::settings::HeaderOut;

    /// What a header says that goes to the server: the extensions, and those inside SSL.
    fn told(tls: Option<&ClientTls>, received: &[u8]) -> (Vec<(u8, Vec<u8>)>, Vec<(u8, Vec<u8>)>) {
        let ends = ["192.0.2.1:1", "192.0.2.2:2"].map(|end| end.parse().unwrap());
        let bytes = header(HeaderOut::V2, ends[0], ends[1], &extensions(7, tls, received));
        let reading = Reading::Strict { longest: LONGEST_HEADER };
        let ParsedHeader::Complete(read) = proxy_header::parse(&bytes, reading) else { panic!("{bytes:02x?}") };
        assert_eq!(read.length, bytes.len());
        let inside = read.extension(extension::SSL).and_then(|value| value.get(5..)).unwrap_or_default();
        let list = |tlv: Tlv<'_>| (tlv.kind, tlv.value.to_vec());
        (read.extensions().map(list).collect(), proxy_header::extensions(inside).map(list).collect())
    }

    /// A header that came in, with `extensions`.
    fn received(extensions: &[u8]) -> Vec<u8> {
        let ends = ["203.0.113.66:40000", "198.51.100.1:993"].map(|end| end.parse().unwrap());
        header(HeaderOut::V2, ends[0], ends[1], extensions)
    }

    fn tls() -> ClientTls {
        ClientTls {
            version: Some("TLSv1.2"),
            cipher: Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            sni: Some("mx.example".into()),
            certified: true,
            common_name: Some("ann".into()),
        }
    }

    #[test]
    fn the_tls_that_is_answered_here_is_told() {
        let (all, inside) = told(Some(&tls()), &[]);
        let kinds: Vec<_> = all.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [extension::UNIQUE_ID, extension::AUTHORITY, extension::SSL]);
        assert_eq!(all[1].1, b"mx.example");
        assert_eq!(all[2].1[..5], [3, 0, 0, 0, 0], "a certificate, and it is verified");
        let inside: Vec<_> = inside.iter().map(|(kind, value)| (*kind, &**value)).collect();
        assert_eq!(inside, [(0x21, &b"TLSv1.2"[..]), (0x22, b"ann"), (0x23, b"ECDHE-RSA-AES128-GCM-SHA256")]);
        let nobody = ClientTls { certified: false, common_name: None, sni: None, ..tls() };
        let (all, _) = told(Some(&nobody), &[]);
        assert_eq!(all[1].1[..5], [1, 0, 0, 0, 1], "none");
    }

    #[test]
    fn what_came_in_goes_on() {
        let mut came = Vec::new();
        for (kind, value) in
            [(2, &b"in.example"[..]), (5, b"unique-1"), (4, b"pad"), (0x20, &[1, 0, 0, 0, 0]), (0xe0, b"x")]
        {
            add(&mut came, kind, value);
        }
        let came = received(&came);
        let kept: Vec<(u8, Vec<u8>)> =
            [(2, &b"in.example"[..]), (5, b"unique-1"), (0x20, &[1, 0, 0, 0, 0]), (0xe0, b"x")]
                .map(|(kind, value)| (kind, value.to_vec()))
                .to_vec();
        assert_eq!(told(None, &came).0, kept);
        assert_eq!(told(Some(&tls()), &came).0, kept, "the balancer has answered the client's TLS");
        assert_eq!(told(None, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").0.len(), 1, "the id");
    }

    #[test]
    fn tls_that_passed_the_balancer_is_that_of_the_client() {
        let mut came = Vec::new();
        add(&mut came, extension::AUTHORITY, b"in.example");
        add(&mut came, extension::SSL, &[0, 0, 0, 0, 1]);
        let (all, _) = told(Some(&tls()), &received(&came));
        let told: Vec<_> = all.iter().filter(|(kind, _)| *kind != 5).map(|(kind, value)| (*kind, value[0])).collect();
        assert_eq!(told, [(extension::AUTHORITY, b'm'), (extension::SSL, 3)]);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(short(&"ä".repeat(200)).len(), 254);
        assert_eq!(short("ann"), b"ann");
    }
}

//! Who may read: the token, and the host that a request to a loopback listener may name.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::http::Uri;
use sha2::{Digest, Sha256};

/// What a request must have.
pub(super) struct Access {
    /// SHA-256 of the token: what is compared has one length, and no prefix of the token is ever compared.
    token: Option<[u8; 32]>,
    /// The address listened on, if it is of loopback.
    loopback: Option<IpAddr>,
}

impl Access {
    pub(super) fn new(token: Option<&str>, address: SocketAddr) -> Self {
        let token = token.map(|token| Sha256::digest(token.as_bytes()).into());
        Self { token, loopback: Some(address.ip()).filter(IpAddr::is_loopback) }
    }

    pub(super) const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether the request bears the token: as bearer (RFC 6750 section 2.1), or as the password of HTTP Basic
    /// (RFC 7617) under any name, which is what a person's browser can send.
    pub(super) fn is_permitted(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let Some(value) = headers.get(AUTHORIZATION) else { return false };
        let Some((scheme, given)) = split_scheme(value.as_bytes()) else { return false };
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return is_same(token, given);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return false;
        }
        let Ok(pair) = BASE64.decode(given) else { return false };
        let password = memchr::memchr(b':', &pair).and_then(|colon| pair.get(colon + 1..));
        password.is_some_and(|password| is_same(token, password))
    }

    /// Whether the host that the request names is this one. Only a listener on loopback asks: what reaches it without
    /// such a name was led here by a page of another site.
    pub(super) fn is_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(address) = self.loopback else { return true };
        let named = match uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => match headers.get(HOST) {
                Some(host) => host.as_bytes(),
                // HTTP/1.0 without a name: no browser.
                None => return true,
            },
        };
        std::str::from_utf8(named).is_ok_and(|named| is_loopback_name(named, address))
    }
}

fn split_scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', value)?;
    let (scheme, rest) = value.split_at_checked(space)?;
    Some((scheme, rest.trim_ascii()))
}

/// Compares in a time that does not hang on where they differ.
fn is_same(token: &[u8; 32], given: &[u8]) -> bool {
    let given: [u8; 32] = Sha256::digest(given).into();
    let differing = token.iter().zip(&given).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
    differing == 0
}

fn is_loopback_name(named: &str, address: IpAddr) -> bool {
    let name = match named.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => named,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return ip.is_loopback() || ip == address;
    }
    let bare = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    // RFC 6761 section 6.3: these names never leave the host.
    bare == "localhost" || bare.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(token: Option<&str>, address: &str) -> Access {
        Access::new(token, address.parse().unwrap())
    }

    fn headers(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_is_taken_as_bearer_or_as_password() {
        let access = access(Some("s3cret:x"), "127.0.0.1:1");
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair.as_bytes()));
        for right in ["Bearer s3cret:x", "bearer   s3cret:x", &basic("ann:s3cret:x"), &basic(":s3cret:x")] {
            assert!(access.is_permitted(&headers(AUTHORIZATION, right)), "{right}");
        }
        for wrong in
            ["Bearer s3cret:", "Bearer", "Bearer ", "Digest s3cret:x", "s3cret:x", &basic("s3cret:x"), "Basic *"]
        {
            assert!(!access.is_permitted(&headers(AUTHORIZATION, wrong)), "{wrong}");
        }
        assert!(!access.is_permitted(&HeaderMap::new()));
    }

    #[test]
    fn loopback_is_named_so() {
        let loopback = access(None, "127.0.0.1:9100");
        let is = |host: &str| loopback.is_host(&Uri::from_static("/"), &headers(HOST, host));
        for right in ["localhost", "LocalHost:9100", "127.0.0.1:9100", "127.9.9.9", "[::1]:80", "[::1]", "a.localhost."]
        {
            assert!(is(right), "{right}");
        }
        for wrong in
            ["evil.example", "127.0.0.1.evil.example:9100", "localhost.evil.example", "[::2]", "", "10.0.0.1:9100"]
        {
            assert!(!is(wrong), "{wrong}");
        }
        assert!(loopback.is_host(&Uri::from_static("/"), &HeaderMap::new()));
        let absolute = Uri::from_static("http://evil.example/");
        assert!(!loopback.is_host(&absolute, &headers(HOST, "localhost")));
        assert!(access(None, "192.0.2.1:9100").is_host(&absolute, &headers(HOST, "mon.example")));
    }
}

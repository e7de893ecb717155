//! Who may read: the token, and the hosts that a request may name.

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
    /// Names of this host, in lower case: its own, and those that the operator gave.
    names: Vec<String>,
}

impl Access {
    /// `hosts`: the names that the operator gave, in lower case.
    pub(super) fn new(token: Option<&str>, address: SocketAddr, hosts: &[String]) -> Self {
        let token = token.map(|token| Sha256::digest(token.as_bytes()).into());
        let loopback = Some(address.ip()).filter(IpAddr::is_loopback);
        // Whoever comes by the host's own name does not come to loopback.
        let own = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        let own = Some(own).filter(|name| loopback.is_none() && !name.is_empty());
        Self { token, loopback, names: own.into_iter().chain(hosts.iter().cloned()).collect() }
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

    /// Whether a listener on loopback may answer: what reaches it under the name of another host was led here by a page of
    /// another site.
    pub(super) fn is_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(address) = self.loopback else { return true };
        self.is_named(uri, headers, |ip| ip.is_loopback() || ip == address)
    }

    /// Whether the page may be shown, wherever the listener is: a browser that came by a name of another site (DNS rebinding)
    /// lets that site read it. An address as name cannot be bent.
    pub(super) fn is_page_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        self.loopback.is_some() || self.is_named(uri, headers, |_| true)
    }

    fn is_named(&self, uri: &Uri, headers: &HeaderMap, is_address: impl Fn(IpAddr) -> bool) -> bool {
        let named = match uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => match headers.get(HOST) {
                Some(host) => host.as_bytes(),
                // HTTP/1.0 without a name: no browser.
                None => return true,
            },
        };
        let Ok(named) = std::str::from_utf8(named) else { return false };
        let name = without_port(named);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match bare.parse::<IpAddr>() {
            Ok(ip) => is_address(ip),
            Err(_) => self.is_name(bare),
        }
    }

    fn is_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        // RFC 6761 section 6.3: these names never leave the host.
        name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
    }
}

fn without_port(named: &str) -> &str {
    match named.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => named,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn access(token: Option<&str>, address: &str) -> Access {
        Access::new(token, address.parse().unwrap(), &["mon.example.org".into()])
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
        assert!(is("mon.example.org:9100"), "a name that the operator gave");
    }

    #[test]
    fn the_page_off_loopback_is_asked_for_by_names_of_this_host() {
        let access = access(None, "192.0.2.1:9100");
        let is = |host: &str| access.is_page_host(&Uri::from_static("/"), &headers(HOST, host));
        let own = rustix::system::uname().nodename().to_str().unwrap().to_owned();
        for right in ["192.0.2.1:9100", "203.0.113.7", "[2001:db8::1]:9100", "localhost:9100", "Mon.Example.org.", &own]
        {
            assert!(is(right), "{right}");
        }
        for wrong in ["evil.example", "192.0.2.1.evil.example", "mon.example.org.evil.example", "x.mon.example.org", ""]
        {
            assert!(!is(wrong), "{wrong}");
        }
        assert!(access.is_page_host(&Uri::from_static("/"), &HeaderMap::new()), "no browser");
        assert!(!access.is_page_host(&Uri::from_static("http://evil.example/"), &headers(HOST, "192.0.2.1")));
    }
}

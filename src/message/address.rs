//! The domain of the first address in an address list (RFC 5322 section 3.4), out of the raw value.
//!
//! Read before any encoded word is decoded: what a display name decodes to can never pose as an address.

use super::decode;

/// Domain of the first mailbox that has one, in lower case; A-labels and address literals stay as they are.
pub(super) fn first_domain(raw: &[u8]) -> Option<String> {
    let mut scan = Scan::default();
    let domain = scan.run(raw);
    // A quote or comment that never closes would hide the address behind it.
    let domain = if domain.is_none() && scan.inside() { Scan::unquoted().run(raw) } else { domain };
    let domain = decode::plain(&domain?).to_lowercase();
    Some(domain.trim_end_matches('.').to_owned()).filter(|domain| !domain.is_empty())
}

#[derive(Default)]
struct Scan {
    /// Quotes and parentheses mean nothing.
    unquoted: bool,
    quoted: bool,
    escaped: bool,
    comments: usize,
    literal: bool,
    angle: bool,
    /// After an `@`.
    collecting: bool,
    domain: Vec<u8>,
}

impl Scan {
    fn unquoted() -> Self {
        Self { unquoted: true, ..Self::default() }
    }

    fn inside(&self) -> bool {
        self.quoted || self.comments > 0
    }

    fn run(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        for &octet in raw {
            if self.octet(octet) && !self.domain.is_empty() {
                break;
            }
        }
        Some(std::mem::take(&mut self.domain)).filter(|domain| !domain.is_empty())
    }

    /// True where a mailbox ends.
    fn octet(&mut self, octet: u8) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match octet {
            b'\\' if self.inside() => self.escaped = true,
            b'"' if self.comments == 0 && !self.unquoted => self.quoted = !self.quoted,
            _ if self.quoted => {}
            b'(' if !self.unquoted => self.comments += 1,
            b')' if self.comments > 0 => self.comments -= 1,
            _ if self.comments > 0 => {}
            octet if self.literal => {
                self.domain.push(octet);
                self.literal = octet != b']';
            }
            b'<' => {
                self.restart();
                self.angle = true;
            }
            b'>' => return self.end(),
            b',' | b';' if !self.angle => return self.end(),
            // Source routes in angles, group names outside.
            b',' | b':' => self.restart(),
            b'@' => {
                self.restart();
                self.collecting = true;
            }
            octet if octet.is_ascii_whitespace() => self.collecting &= self.domain.is_empty(),
            octet if self.collecting => {
                self.literal = octet == b'[' && self.domain.is_empty();
                self.domain.push(octet);
            }
            _ => {}
        }
        false
    }

    fn restart(&mut self) {
        self.domain.clear();
        self.collecting = false;
    }

    fn end(&mut self) -> bool {
        self.angle = false;
        self.collecting = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::first_domain;

    #[test]
    fn samples() {
        for (raw, domain) in [
            ("a@example.org", Some("example.org")),
            ("Ann <a@Example.ORG>, b@example.net", Some("example.org")),
            ("\"a@evil.example\" <b@good.example>", Some("good.example")),
            ("a@evil.example <b@good.example>", Some("good.example")),
            ("a@example.org (Ann (the) x@y)", Some("example.org")),
            ("(c@c.example) a@example.org", Some("example.org")),
            ("Doe, John <j@example.org>", Some("example.org")),
            ("friends: a@example.org, b@example.net;", Some("example.org")),
            ("<@relay.example,@b.example:a@example.org>", Some("example.org")),
            ("a@[192.0.2.1]", Some("[192.0.2.1]")),
            ("<a@[IPv6:2001:db8::1]>", Some("[ipv6:2001:db8::1]")),
            ("\"a@b\"@example.org", Some("example.org")),
            ("\"open <a@example.org>", Some("example.org")),
            ("open ( <a@example.org>", Some("example.org")),
            ("a@ example.org.\r\n", Some("example.org")),
            ("<a@xn--bcher-kva.example>", Some("xn--bcher-kva.example")),
            ("<ä@BÜCHER.example>", Some("bücher.example")),
            ("=?utf-8?q?x=40evil=2eexample?= <a@example.org", Some("example.org")),
            ("root", None),
            ("undisclosed-recipients:;", None),
            ("\"a@b\"", None),
            ("", None),
        ] {
            assert_eq!(first_domain(raw.as_bytes()).as_deref(), domain, "{raw}");
        }
    }

    #[test]
    fn agrees_with_mail_parser() {
        for raw in [
            "a@example.org",
            "Ann <a@example.org>, b@c.example",
            "\"x, y\" <a@example.org>",
            "g: a@example.org;",
            "a@example.org (c)",
        ] {
            let message = format!("From: {raw}\r\n\r\n");
            let parsed = mail_parser::MessageParser::default().parse(message.as_bytes()).unwrap();
            let address =
                parsed.from().and_then(|from| from.first()).and_then(|first| first.address()).unwrap().to_owned();
            assert_eq!(address.rsplit('@').next().map(str::to_owned), first_domain(raw.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn hostile_lists_stay_linear() {
        for unit in ["(", "<", "a,", "@", "\"", "\\", "[", "@["] {
            let raw = unit.repeat((64 << 10) / unit.len());
            let _ = first_domain(raw.as_bytes());
        }
        let many = "a@example.org, ".repeat(100_000);
        assert_eq!(first_domain(many.as_bytes()).as_deref(), Some("example.org"));
    }
}

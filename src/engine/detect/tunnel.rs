//! Tunnels that a client asks for before it speaks to the mail server: HTTP CONNECT (RFC 9110 section 9.3.6), SOCKS 5
//! (RFC 1928, with the passwords of RFC 1929), and SOCKS 4 and 4a.
//!
//! Only the request that a proxy granted is read, and how long it is on both sides: what follows is the conversation
//! with the destination. Nothing of a proxy's passwords or headers is kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::line::{code, starts};
use crate::event::{Other, TunnelKind};

/// Requests on one connection: a client that is asked for a password tries again, once or twice.
const REQUESTS: usize = 4;

/// How far a request for a tunnel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelProgress {
    /// There is none.
    None,
    /// It is not answered yet.
    Asked(Other),
    /// The proxy refused, or it is of a kind that cannot be followed.
    Refused(Other),
    /// The proxy granted it.
    Open(OpenTunnel),
}

/// A tunnel that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenTunnel {
    /// How it was asked for.
    pub(crate) kind: TunnelKind,
    /// Where it leads.
    pub(crate) host: Host,
    /// The port there.
    pub(crate) port: u16,
    /// Bytes of client and server that asked for it and granted it.
    pub(crate) used: [usize; 2],
}

/// The destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name: where in the client's bytes it stands, and its length.
    Name(usize, usize),
}

/// What the first bytes of `client` and `server` say of a tunnel.
pub(super) fn progress(client: &[u8], server: &[u8]) -> TunnelProgress {
    let walk = Walk { client: TunnelSide::new(client), server: TunnelSide::new(server) };
    match client {
        [5, ..] if matches!(server, [] | [5, ..]) => walk.socks5(),
        [4, ..] if matches!(server, [] | [0, ..]) => walk.socks4(),
        _ if client.starts_with(b"CONNECT ") && is_head(server, b"HTTP/1.") => walk.http(),
        _ => TunnelProgress::None,
    }
}

/// Whether `bytes` begin with `head`, or could if there were more of them.
fn is_head(bytes: &[u8], head: &[u8]) -> bool {
    bytes.iter().zip(head).all(|(a, b)| a == b)
}

/// One side's bytes, and how many of them were read.
#[derive(Clone, Copy)]
struct TunnelSide<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> TunnelSide<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The bytes before the next `end`, which is taken too.
    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let length = memchr::memchr(end, self.bytes.get(self.at..)?)?;
        let taken = self.take(length)?;
        self.at += 1;
        Some(taken)
    }

    /// A line without its end.
    fn line(&mut self) -> Option<&'a [u8]> {
        let line = self.until(b'\n')?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Header lines up to the empty one behind them: whether one says that a body follows, and how long it is.
    fn header(&mut self) -> Option<BodyLength> {
        let mut body = BodyLength::Length(0);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(body);
            }
            if starts(line, b"TRANSFER-ENCODING:") {
                body = BodyLength::Unknown;
            } else if starts(line, b"CONTENT-LENGTH:") && body != BodyLength::Unknown {
                let digits = line.get(15..).unwrap_or_default().trim_ascii();
                let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                body = length.map_or(BodyLength::Unknown, BodyLength::Length);
            }
        }
    }
}

/// What follows a header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyLength {
    Length(usize),
    /// Chunks, or until the end.
    Unknown,
}

struct Walk<'a> {
    client: TunnelSide<'a>,
    server: TunnelSide<'a>,
}

impl Walk<'_> {
    fn open(&self, kind: TunnelKind, host: Host, port: u16) -> TunnelProgress {
        TunnelProgress::Open(OpenTunnel { kind, host, port, used: [self.client.at, self.server.at] })
    }

    fn socks5(mut self) -> TunnelProgress {
        self.method().unwrap_or(TunnelProgress::Asked(Other::Socks))
    }

    /// Sections 3 to 6 of RFC 1928; `None` while more must come.
    fn method(&mut self) -> Option<TunnelProgress> {
        let [_, methods] = self.client.array()?;
        self.client.take(methods.into())?;
        match self.server.array()? {
            [5, 0] => {}
            [5, 2] => {
                // RFC 1929: a name and a password, each behind its length.
                let [1, name] = self.client.array()? else { return Some(TunnelProgress::Refused(Other::Socks)) };
                self.client.take(name.into())?;
                let [password] = self.client.array()?;
                self.client.take(password.into())?;
                let [_, 0] = self.server.array()? else { return Some(TunnelProgress::Refused(Other::Socks)) };
            }
            // None is acceptable, or the method wraps what follows (GSSAPI).
            _ => return Some(TunnelProgress::Refused(Other::Socks)),
        }
        // BIND and UDP ASSOCIATE lead to no mail server.
        let [5, 1, _, family] = self.client.array()? else { return Some(TunnelProgress::Refused(Other::Socks)) };
        let Some(host) = address(&mut self.client, family)? else { return Some(TunnelProgress::Refused(Other::Socks)) };
        let port = self.client.array().map(u16::from_be_bytes)?;
        let [5, 0, _, family] = self.server.array()? else { return Some(TunnelProgress::Refused(Other::Socks)) };
        let Some(_bound) = address(&mut self.server, family)? else {
            return Some(TunnelProgress::Refused(Other::Socks));
        };
        self.server.take(2)?;
        Some(self.open(TunnelKind::Socks5, host, port))
    }

    fn socks4(mut self) -> TunnelProgress {
        self.request().unwrap_or(TunnelProgress::Asked(Other::Socks))
    }

    fn request(&mut self) -> Option<TunnelProgress> {
        let [_, command, p0, p1, a, b, c, d] = self.client.array()?;
        self.client.until(0)?;
        let host = match [a, b, c, d] {
            // 4a: the address cannot be, and a name follows.
            [0, 0, 0, last] if last > 0 => {
                let at = self.client.at;
                Host::Name(at, self.client.until(0)?.len())
            }
            ip => Host::Ip(Ipv4Addr::from(ip).into()),
        };
        let [0, answer, ..] = self.server.array::<8>()? else { return Some(TunnelProgress::Refused(Other::Socks)) };
        // 90: granted. Command 1 is CONNECT.
        let is_granted = command == 1 && answer == 90;
        let port = u16::from_be_bytes([p0, p1]);
        Some(if is_granted { self.open(TunnelKind::Socks4, host, port) } else { TunnelProgress::Refused(Other::Socks) })
    }

    fn http(mut self) -> TunnelProgress {
        for _ in 0..REQUESTS {
            match self.connect() {
                Some(Some(progress)) => return progress,
                Some(None) => {}
                None => return TunnelProgress::Asked(Other::Http),
            }
        }
        TunnelProgress::Refused(Other::Http)
    }

    /// One request and its answer: `None` while more must come, `Some(None)` if the client may try again.
    fn connect(&mut self) -> Option<Option<TunnelProgress>> {
        let start = self.client.at;
        let line = self.client.line()?;
        self.client.header()?;
        let Some((host, port)) = authority(line, start) else {
            return Some(Some(TunnelProgress::Refused(Other::Http)));
        };
        loop {
            let status = self.server.line()?;
            let body = self.server.header()?;
            match status.get(9..).and_then(|rest| code(rest.get(..3)?)) {
                // Informational: the answer is still to come.
                Some(100..=199) => {}
                // What a successful answer says of a body is to be ignored.
                Some(200..=299) => return Some(Some(self.open(TunnelKind::HttpConnect, host, port))),
                // A password is asked for: the client tries again on the same connection.
                Some(401 | 407) => {
                    let BodyLength::Length(length) = body else {
                        return Some(Some(TunnelProgress::Refused(Other::Http)));
                    };
                    self.server.take(length)?;
                    return Some(None);
                }
                _ => return Some(Some(TunnelProgress::Refused(Other::Http))),
            }
        }
    }
}

/// An address of SOCKS 5 (section 5): `None` while more must come, `Some(None)` if it is of no kind that exists.
fn address(side: &mut TunnelSide<'_>, family: u8) -> Option<Option<Host>> {
    Some(match family {
        1 => Some(Host::Ip(IpAddr::V4(Ipv4Addr::from(side.array::<4>()?)))),
        3 => {
            let [length] = side.array()?;
            let at = side.at;
            side.take(length.into())?;
            Some(Host::Name(at, length.into()))
        }
        4 => Some(Host::Ip(IpAddr::V6(Ipv6Addr::from(side.array::<16>()?)))),
        _ => None,
    })
}

/// The destination in the request line `CONNECT host:port HTTP/1.1`, which stands at `start` of the client's bytes.
fn authority(line: &[u8], start: usize) -> Option<(Host, u16)> {
    const METHOD: usize = 8;
    let rest = line.strip_prefix(b"CONNECT ")?;
    let (target, version) = rest.split_at(memchr::memchr(b' ', rest)?);
    if !version.starts_with(b" HTTP/1.") {
        return None;
    }
    let (host, port) = target.split_at(memchr::memrchr(b':', target)?);
    let port = std::str::from_utf8(port.get(1..)?).ok()?.parse().ok()?;
    let inner = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    let ip = std::str::from_utf8(inner).ok().and_then(|text| text.parse().ok());
    // A user and a password have no place in it.
    let is_name = !host.is_empty() && host.len() <= 255 && !host.contains(&b'@');
    let name = is_name.then_some(Host::Name(start + METHOD, host.len()));
    Some((ip.map(Host::Ip).or(name)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"CONNECT mail.example.com:25 HTTP/1.1\r\nHost: mail.example.com\r\n\r\n";

    /// What a tunnel is, once all of it was seen; before that it is only asked for, or there is none yet.
    #[track_caller]
    fn opens(kind: TunnelKind, client: &[u8], server: &[u8], host: &str, port: u16) {
        let whole = progress(client, server);
        let TunnelProgress::Open(opened) = whole else { panic!("{whole:?}") };
        assert_eq!((opened.kind, opened.port, opened.used), (kind, port, [client.len(), server.len()]));
        let found = match opened.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(at, length) => String::from_utf8(client[at..at + length].to_vec()).unwrap(),
        };
        assert_eq!(found, host);
        for cut in 0..client.len() {
            assert!(
                !matches!(progress(&client[..cut], server), TunnelProgress::Open(_) | TunnelProgress::Refused(_)),
                "{cut}"
            );
        }
        for cut in 0..server.len() {
            assert!(
                !matches!(progress(client, &server[..cut]), TunnelProgress::Open(_) | TunnelProgress::Refused(_)),
                "{cut}"
            );
        }
        let more = |bytes: &[u8]| [bytes, b"220 mx\r\n"].concat();
        assert_eq!(progress(&more(client), &more(server)), whole);
    }

    #[test]
    fn socks_5_with_and_without_a_password() {
        let granted = [5, 0, 0, 1, 192, 0, 2, 9, 0x30, 0x39];
        let name = [&[5, 1, 0, 3, 16][..], b"mail.example.com", &[0, 25]].concat();
        let open = [&[5, 1, 0][..], &name].concat();
        opens(TunnelKind::Socks5, &open, &[&[5, 0][..], &granted].concat(), "mail.example.com", 25);
        let login = [&[5, 2, 0, 2, 1, 3][..], b"ann", &[6], b"s3cret", &name].concat();
        opens(TunnelKind::Socks5, &login, &[&[5, 2, 1, 0][..], &granted].concat(), "mail.example.com", 25);
        let v4 = [5, 1, 0, 5, 1, 0, 1, 198, 51, 100, 1, 0, 143];
        opens(TunnelKind::Socks5, &v4, &[&[5, 0][..], &granted].concat(), "198.51.100.1", 143);
        let v6 = [&[5, 1, 0, 5, 1, 0, 4, 0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7, 0, 110]].concat();
        let bound = [&[5, 0, 5, 0, 0, 4][..], &[0; 18]].concat();
        opens(TunnelKind::Socks5, &v6, &bound, "2001:db8::7", 110);
    }

    #[test]
    fn socks_4_with_an_address_or_a_name() {
        let granted = [0, 90, 0, 0, 0, 0, 0, 0];
        opens(TunnelKind::Socks4, b"\x04\x01\0\x19\xc0\0\x02\x07ann\0", &granted, "192.0.2.7", 25);
        opens(TunnelKind::Socks4, b"\x04\x01\0\x19\0\0\0\x01\0mx.example\0", &granted, "mx.example", 25);
    }

    #[test]
    fn http_connect_at_once_and_after_a_password() {
        opens(TunnelKind::HttpConnect, REQUEST, b"HTTP/1.1 200 Connection established\r\n\r\n", "mail.example.com", 25);
        opens(
            TunnelKind::HttpConnect,
            b"CONNECT [2001:db8::7]:143 HTTP/1.0\n\n",
            b"HTTP/1.0 200 OK\n\n",
            "2001:db8::7",
            143,
        );
        let twice =
            [REQUEST, b"CONNECT mail.example.com:25 HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\n\r\n"].concat();
        let answers = b"HTTP/1.1 407 no\r\ncontent-length: 3\r\n\r\nno!HTTP/1.1 100 go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        opens(TunnelKind::HttpConnect, &twice, answers, "mail.example.com", 25);
    }

    #[test]
    fn what_is_refused_or_cannot_be_followed() {
        let http = TunnelProgress::Refused(Other::Http);
        assert_eq!(progress(REQUEST, b"HTTP/1.1 403 no\r\n\r\n"), http);
        assert_eq!(progress(REQUEST, b"HTTP/1.1 407 no\r\nTransfer-Encoding: chunked\r\n\r\n"), http);
        let (asked, no) = ([REQUEST; 9].concat(), [&b"HTTP/1.1 407 no\r\n\r\n"[..]; 9].concat());
        assert_eq!(progress(&asked, &no), http);
        assert_eq!(progress(b"CONNECT ann:pw@mx:25 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"), http);
        let socks = TunnelProgress::Refused(Other::Socks);
        for (client, server) in [
            (&b"\x05\x01\0"[..], &b"\x05\xff"[..]),
            (b"\x05\x01\x01", b"\x05\x01"),
            (b"\x05\x01\x02\x01\x01a\x01b", b"\x05\x02\x01\x01"),
            (b"\x05\x01\0\x05\x02\0\x01\0\0\0\0\0\0", b"\x05\0"),
            (b"\x05\x01\0\x05\x01\0\x09", b"\x05\0"),
            (b"\x05\x01\0\x05\x01\0\x01\x01\x02\x03\x04\0\x19", b"\x05\0\x05\x05\0\x01"),
            (b"\x04\x01\0\x19\x01\x02\x03\x04\0", b"\0\x5b\0\0\0\0\0\0"),
            (b"\x04\x02\0\x19\x01\x02\x03\x04\0", b"\0\x5a\0\0\0\0\0\0"),
        ] {
            assert_eq!(progress(client, server), socks, "{client:?}");
        }
    }

    #[test]
    fn a_mail_server_that_greets_is_no_proxy() {
        for client in [REQUEST, b"\x05\x01\0", b"\x04\x01\0\x19\x01\x02\x03\x04\0"] {
            assert_eq!(progress(client, b"220 mx ESMTP\r\n"), TunnelProgress::None);
        }
        assert_eq!(progress(b"CAPA\r\n", b""), TunnelProgress::None);
        assert_eq!(progress(b"", b"HTTP/1.1 200 OK\r\n\r\n"), TunnelProgress::None);
    }
}

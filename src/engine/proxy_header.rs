//! The header of the PROXY protocol that a load balancer puts before a client's bytes, versions 1 and 2 (HAProxy,
//! `proxy-protocol.txt`): the one parser of it, for the proxy, which acts on it, and for the observer, who reports it.
//!
//! It needs the whole header from the first byte each time, which is no burden: headers come in one segment. Nothing is
//! copied. Writing headers is the proxy's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// First bytes of version 2: an SMTP server that does not know them sees a `QUIT` in them.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, CRLF included.
pub const LONGEST_V1: usize = 107;

/// Types of extensions (section 2.2) that somebody here reads or writes.
pub mod extension {
    /// The host name that the client asked for.
    pub const AUTHORITY: u8 = 0x02;
    /// The checksum of the header.
    pub const CRC32C: u8 = 0x03;
    /// An id of the connection.
    pub const UNIQUE_ID: u8 = 0x05;
    /// How the client's TLS was, with extensions of its own inside.
    pub const SSL: u8 = 0x20;
}

/// How strictly a header is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// For whoever acts on it: what is not exactly a header, or is longer than so many bytes, is none.
    Strict {
        /// The longest header of version 2 that is taken.
        longest: usize,
    },
    /// For an observer: as long as its end is known, a header that is wrong inside is one all the same. The server may
    /// have taken it, and what follows is the client's in any case.
    Lenient,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParsedHeader<'a> {
    /// The beginning of a header.
    NeedMore,
    /// No header, and more bytes will not make it one.
    Invalid,
    /// A header; what follows its bytes is the client's.
    Complete(ProxyHeader<'a>),
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader<'a> {
    /// Its bytes.
    pub length: usize,
    /// The balancer speaks for itself (a health check).
    pub local: bool,
    /// Who the client is and where it connected to; `None` where the header does not tell: then the connection's own
    /// addresses hold.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    extensions: &'a [u8],
}

/// One extension (type, length, value) of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type: see [`extension`].
    pub kind: u8,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> ProxyHeader<'a> {
    /// The extensions in their order, as far as they are whole. Behind LOCAL there are none that count.
    pub fn extensions(&self) -> impl Iterator<Item = Tlv<'a>> + use<'a> {
        extensions(self.extensions)
    }

    /// The value of the first extension of type `kind`.
    pub fn extension(&self, kind: u8) -> Option<&'a [u8]> {
        self.extensions().find(|extension| extension.kind == kind).map(|extension| extension.value)
    }
}

/// The extensions in `block`: of a header, or inside [`extension::SSL`] behind its first five bytes.
pub fn extensions(block: &[u8]) -> impl Iterator<Item = Tlv<'_>> + use<'_> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let (&[kind, high, low], behind) = rest.split_first_chunk::<3>()?;
        let (value, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        rest = behind;
        Some(Tlv { kind, value })
    })
}

/// Reads the header at the beginning of `bytes`.
pub fn parse(bytes: &[u8], reading: Reading) -> ParsedHeader<'_> {
    if begins(bytes, SIGNATURE) {
        binary(bytes, reading)
    } else if begins(bytes, b"PROXY ") {
        text(bytes)
    } else {
        ParsedHeader::Invalid
    }
}

/// Whether `bytes` begin with `head`, or could if there were more of them.
fn begins(bytes: &[u8], head: &[u8]) -> bool {
    bytes.iter().zip(head).all(|(a, b)| a == b)
}

fn text(bytes: &[u8]) -> ParsedHeader<'_> {
    let window = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = memchr::memchr2(b'\r', b'\n', window) else {
        return if bytes.len() < LONGEST_V1 { ParsedHeader::NeedMore } else { ParsedHeader::Invalid };
    };
    let (line, rest) = window.split_at(end);
    match rest {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if bytes.len() < LONGEST_V1 => return ParsedHeader::NeedMore,
        _ => return ParsedHeader::Invalid,
    }
    match ends(line) {
        Some(ends) => ParsedHeader::Complete(ProxyHeader { length: end + 2, local: false, ends, extensions: &[] }),
        None => ParsedHeader::Invalid,
    }
}

/// Both ends of a line of version 1: `None` if it is none, `Some(None)` if it does not tell.
fn ends(line: &[u8]) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What follows is to be ignored (section 2.1).
        return Some(None);
    }
    let (from, to): (IpAddr, IpAddr) = match family {
        "TCP4" => (words.next()?.parse::<Ipv4Addr>().ok()?.into(), words.next()?.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => (words.next()?.parse::<Ipv6Addr>().ok()?.into(), words.next()?.parse::<Ipv6Addr>().ok()?.into()),
        _ => return None,
    };
    let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Some((end(from, from_port), end(to, to_port))))
}

/// A port as section 2.1 wants it: digits, no leading zero.
fn port(word: &str) -> Option<u16> {
    let is_canonical = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if is_canonical { word.parse().ok() } else { None }
}

fn end(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

fn binary(bytes: &[u8], reading: Reading) -> ParsedHeader<'_> {
    let strict = matches!(reading, Reading::Strict { .. });
    // 2 is the version; 0 and 1 are LOCAL and PROXY.
    if bytes.get(12).is_some_and(|command| !matches!(command, 0x20 | 0x21)) {
        return ParsedHeader::Invalid;
    }
    // UNSPEC, INET, INET6, UNIX; UNSPEC, STREAM, DGRAM.
    if strict && bytes.get(13).is_some_and(|family| family >> 4 > 3 || family & 15 > 2) {
        return ParsedHeader::Invalid;
    }
    let Some(&[command, family, high, low]) = bytes.get(12..16) else { return ParsedHeader::NeedMore };
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if matches!(reading, Reading::Strict { longest } if length > longest) {
        return ParsedHeader::Invalid;
    }
    let Some(whole) = bytes.get(..length) else { return ParsedHeader::NeedMore };
    let block = whole.get(16..).unwrap_or_default();
    let nothing = ProxyHeader { length, local: command == 0x20, ends: None, extensions: &[] };
    if nothing.local {
        // What a balancer puts behind LOCAL is to be ignored (section 2.2).
        return ParsedHeader::Complete(nothing);
    }
    let addresses = match family {
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => 0,
    };
    let Some((addresses, extensions)) = block.split_at_checked(addresses) else {
        return if strict { ParsedHeader::Invalid } else { ParsedHeader::Complete(nothing) };
    };
    // Behind addresses of no family anything may stand.
    let is_told = (1..=3).contains(&(family >> 4));
    if is_told && strict && !are_sound(extensions, whole) {
        return ParsedHeader::Invalid;
    }
    let extensions = if is_told { extensions } else { &[] };
    ParsedHeader::Complete(ProxyHeader { ends: block_ends(family, addresses), extensions, ..nothing })
}

fn block_ends(family: u8, block: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match family {
        0x11 => {
            let (from, rest) = block.split_first_chunk::<4>()?;
            let (to, ports) = rest.split_first_chunk::<4>()?;
            Some(with_ports(Ipv4Addr::from(*from).into(), Ipv4Addr::from(*to).into(), ports)?)
        }
        0x21 => {
            let (from, rest) = block.split_first_chunk::<16>()?;
            let (to, ports) = rest.split_first_chunk::<16>()?;
            Some(with_ports(Ipv6Addr::from(*from).into(), Ipv6Addr::from(*to).into(), ports)?)
        }
        // Datagrams and local sockets are no mail connections: nothing is told.
        _ => None,
    }
}

fn with_ports(from: IpAddr, to: IpAddr, ports: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let &[a, b, c, d] = ports else { return None };
    Some((end(from, u16::from_be_bytes([a, b])), end(to, u16::from_be_bytes([c, d]))))
}

/// Whether the extensions fill their room exactly, and the checksum among them, if any, is right (section 2.2.3).
fn are_sound(block: &[u8], whole: &[u8]) -> bool {
    let mut used = 0;
    for Tlv { kind, value } in extensions(block) {
        used += 3 + value.len();
        if kind == extension::CRC32C {
            let Ok(sum) = <[u8; 4]>::try_from(value) else { return false };
            let at = whole.len() - block.len() + used - value.len();
            if u32::from_be_bytes(sum) != checksum(whole, at) {
                return false;
            }
        }
    }
    used == block.len()
}

/// CRC-32C (RFC 3720 appendix B.4) of `whole` with zeros for the four bytes at `blank`.
pub(crate) fn checksum(whole: &[u8], blank: usize) -> u32 {
    let bytes = whole.iter().enumerate().map(|(at, byte)| if (blank..blank + 4).contains(&at) { 0 } else { *byte });
    let sum = bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 })
    });
    !sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRICT: Reading = Reading::Strict { longest: 4096 };

    fn block(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = (block.len() as u16).to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, block].concat()
    }

    /// The client that a header tells, in both readings, at every prefix of it and before more bytes.
    fn told(bytes: &[u8], client: Option<&str>, reading: Reading) {
        let more = [bytes, b"EHLO a\r\n"].concat();
        let ParsedHeader::Complete(header) = parse(&more, reading) else { panic!("{:?}", parse(&more, reading)) };
        assert_eq!(header.length, bytes.len());
        assert_eq!(header.ends.map(|(from, _)| from.to_string()).as_deref(), client);
        for cut in 1..bytes.len() {
            assert_eq!(parse(&bytes[..cut], reading), ParsedHeader::NeedMore, "at {cut}");
        }
    }

    const FOUR: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xd4, 0x31, 0, 25];

    #[test]
    fn version_1() {
        for reading in [STRICT, Reading::Lenient] {
            told(b"PROXY TCP4 192.0.2.7 198.51.100.1 54321 25\r\n", Some("192.0.2.7:54321"), reading);
            told(b"PROXY TCP6 2001:db8::7 2001:db8::1 54321 25\r\n", Some("[2001:db8::7]:54321"), reading);
            told(b"PROXY UNKNOWN\r\n", None, reading);
            told(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None, reading);
            for bad in [
                "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
                "PROXY TCP4 192.0.2.7 1.2.3.4 99999 25\r\n",
                "PROXY TCP4 192.0.2.7 1.2.3.4 1 025\r\n",
                "PROXY TCP4 x\r\n",
                "PROXY UNKNOWN\n",
                "EHLO a\r\n",
            ] {
                assert_eq!(parse(bad.as_bytes(), reading), ParsedHeader::Invalid, "{bad}");
            }
            assert_eq!(parse(format!("PROXY {}", "x".repeat(101)).as_bytes(), reading), ParsedHeader::Invalid);
            assert_eq!(parse(format!("PROXY {}", "x".repeat(100)).as_bytes(), reading), ParsedHeader::NeedMore);
        }
    }

    #[test]
    fn version_2() {
        let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0xd4, 0x31, 0, 25]].concat();
        for reading in [STRICT, Reading::Lenient] {
            told(&block(0x21, 0x11, &FOUR), Some("192.0.2.7:54321"), reading);
            told(&block(0x21, 0x21, &six), Some("[2001:db8::7]:54321"), reading);
            told(&block(0x20, 0x11, &FOUR), None, reading);
            told(&block(0x20, 0, &[]), None, reading);
            told(&block(0x21, 0x31, &[0; 216]), None, reading);
            assert_eq!(parse(&block(0x11, 0x11, &FOUR), reading), ParsedHeader::Invalid, "no version 1 has this form");
            assert_eq!(parse(b"\r\n\r\nEHLO", reading), ParsedHeader::Invalid);
        }
    }

    #[test]
    fn an_observer_goes_on_behind_a_header_that_is_wrong_inside() {
        let wrong_sum = [&FOUR[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        let cut_extension = [&FOUR[..], &[5, 0, 9, 1]].concat();
        for (header, client) in [
            (block(0x21, 0x11, &wrong_sum), Some("192.0.2.7:54321")),
            (block(0x21, 0x11, &cut_extension), Some("192.0.2.7:54321")),
            (block(0x21, 0x11, &FOUR[..5]), None),
            (block(0x21, 0x41, &FOUR), None),
            (block(0x21, 0x11, &[&FOUR[..], &[4, 0x13, 0x85], &[0; 4997]].concat()), Some("192.0.2.7:54321")),
        ] {
            assert_eq!(parse(&header, STRICT), ParsedHeader::Invalid);
            told(&header, client, Reading::Lenient);
        }
    }

    #[test]
    fn extensions_are_found_by_type_and_inside_each_other() {
        let tls = [&[1, 0, 0, 0, 0][..], &[0x21, 0, 7], b"TLSv1.3"].concat();
        let all = [&FOUR[..], &[2, 0, 2], b"mx", &[0x20, 0, tls.len() as u8], &tls].concat();
        let bytes = block(0x21, 0x11, &all);
        let ParsedHeader::Complete(header) = parse(&bytes, STRICT) else { panic!() };
        assert_eq!(header.extension(extension::AUTHORITY), Some(&b"mx"[..]));
        assert_eq!(header.extension(extension::UNIQUE_ID), None);
        let inside = header.extension(extension::SSL).and_then(|value| value.get(5..)).unwrap();
        let version = extensions(inside).collect::<Vec<_>>();
        assert_eq!(version, [Tlv { kind: 0x21, value: b"TLSv1.3" }]);
        assert_eq!(header.extensions().count(), 2);
    }

    proptest! {
        #[test]
        fn noise_never_panics(
            head in proptest::sample::select(vec![&b""[..], SIGNATURE, b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
            tail in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [head, &tail].concat();
            for reading in [STRICT, Reading::Lenient] {
                if let ParsedHeader::Complete(header) = parse(&bytes, reading) {
                    prop_assert!(header.length <= bytes.len());
                    prop_assert!(header.extensions().map(|e| 3 + e.value.len()).sum::<usize>() <= header.length);
                }
            }
        }
    }
}

//! The PROXY header before a client's octets, versions 1 and 2 (HAProxy, `proxy-protocol.txt`): read and written.
//!
//! Reading is strict, for whoever may send a header may say who a client is: what is not exactly a header is none. It
//! needs the whole header from the first octet each time, which is no burden: headers come in one segment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::proxy::HeaderOut;

/// First octets of version 2: an SMTP server that does not know them sees a `QUIT` in them.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, CRLF included.
const LONGEST_V1: usize = 107;

/// The longest header that is read. The length field allows 65 551 octets; addresses and all extensions in use, those of
/// TLS client certificates and of cloud providers included, need a few hundred.
pub const LONGEST_HEADER: usize = 4096;

/// Extension types (section 2.2): checksum, unique id.
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;

/// What the first octets of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The beginning of a header.
    NeedMore,
    /// No header, and more octets will not make it one.
    Invalid,
    /// A header; what follows its octets is the client's.
    Complete {
        /// Its octets.
        length: usize,
        /// Who the client is; `None` where the header does not tell: then the connection's own addresses hold.
        client: Option<SocketAddr>,
        /// Where it connected to.
        server: Option<SocketAddr>,
        /// The balancer speaks for itself (a health check).
        local: bool,
    },
}

/// Reads the header at the beginning of `octets`.
pub fn parse(octets: &[u8]) -> Header {
    if begins(octets, SIGNATURE) {
        binary(octets)
    } else if begins(octets, b"PROXY ") {
        text(octets)
    } else {
        Header::Invalid
    }
}

/// The header that tells the server that `client` connected to `server`, in the session `id`.
pub fn header(version: HeaderOut, client: SocketAddr, server: SocketAddr, id: u64) -> Vec<u8> {
    let (from, to) = (client.ip().to_canonical(), server.ip().to_canonical());
    let ports = [client.port(), server.port()];
    let mut octets = Vec::with_capacity(LONGEST_V1);
    let mixed = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    match (version, from, to) {
        (HeaderOut::V1, IpAddr::V4(_), IpAddr::V4(_)) => {
            octets.extend_from_slice(format!("PROXY TCP4 {from} {to} {} {}\r\n", ports[0], ports[1]).as_bytes());
        }
        (HeaderOut::V1, ..) => {
            let (from, to) = (mixed(from), mixed(to));
            octets.extend_from_slice(format!("PROXY TCP6 {from} {to} {} {}\r\n", ports[0], ports[1]).as_bytes());
        }
        (HeaderOut::V2, IpAddr::V4(from), IpAddr::V4(to)) => {
            preamble(&mut octets, 0x21, 0x11, 12 + EXTENSION);
            octets.extend_from_slice(&from.octets());
            octets.extend_from_slice(&to.octets());
            behind(&mut octets, ports, id);
        }
        (HeaderOut::V2, ..) => {
            preamble(&mut octets, 0x21, 0x21, 36 + EXTENSION);
            octets.extend_from_slice(&mixed(from).octets());
            octets.extend_from_slice(&mixed(to).octets());
            behind(&mut octets, ports, id);
        }
    }
    octets
}

/// The header of a connection that is mailtap's own, for no client.
pub fn health_header(version: HeaderOut) -> Vec<u8> {
    let mut octets = Vec::with_capacity(16);
    match version {
        HeaderOut::V1 => octets.extend_from_slice(b"PROXY UNKNOWN\r\n"),
        HeaderOut::V2 => preamble(&mut octets, 0x20, 0, 0),
    }
    octets
}

/// Octets of the unique id with its type and length.
const EXTENSION: u16 = 3 + 16;

fn preamble(octets: &mut Vec<u8>, command: u8, family: u8, length: u16) {
    octets.extend_from_slice(SIGNATURE);
    octets.extend_from_slice(&[command, family]);
    octets.extend_from_slice(&length.to_be_bytes());
}

fn behind(octets: &mut Vec<u8>, ports: [u16; 2], id: u64) {
    for port in ports {
        octets.extend_from_slice(&port.to_be_bytes());
    }
    octets.extend_from_slice(&[UNIQUE_ID, 0, 16]);
    octets.extend_from_slice(format!("{id:016x}").as_bytes());
}

/// Whether `octets` begin with `head`, or could if there were more of them.
fn begins(octets: &[u8], head: &[u8]) -> bool {
    octets.iter().zip(head).all(|(a, b)| a == b)
}

fn text(octets: &[u8]) -> Header {
    let window = octets.get(..LONGEST_V1).unwrap_or(octets);
    let Some(end) = memchr::memchr2(b'\r', b'\n', window) else {
        return if octets.len() < LONGEST_V1 { Header::NeedMore } else { Header::Invalid };
    };
    let (line, rest) = window.split_at(end);
    match rest {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if octets.len() < LONGEST_V1 => return Header::NeedMore,
        _ => return Header::Invalid,
    }
    let length = end + 2;
    match ends(line) {
        Some(Some((client, server))) => {
            Header::Complete { length, client: Some(client), server: Some(server), local: false }
        }
        Some(None) => Header::Complete { length, client: None, server: None, local: false },
        None => Header::Invalid,
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
    let is_canonical = word.bytes().all(|octet| octet.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if is_canonical { word.parse().ok() } else { None }
}

fn end(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

fn binary(octets: &[u8]) -> Header {
    // 2 is the version; 0 and 1 are LOCAL and PROXY.
    if octets.get(12).is_some_and(|command| !matches!(command, 0x20 | 0x21)) {
        return Header::Invalid;
    }
    // UNSPEC, INET, INET6, UNIX; UNSPEC, STREAM, DGRAM.
    if octets.get(13).is_some_and(|family| family >> 4 > 3 || family & 15 > 2) {
        return Header::Invalid;
    }
    let Some(&[command, family, high, low]) = octets.get(12..16) else { return Header::NeedMore };
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_HEADER {
        return Header::Invalid;
    }
    let Some(whole) = octets.get(..length) else { return Header::NeedMore };
    let block = whole.get(16..).unwrap_or_default();
    let local = command == 0x20;
    let addresses = match family {
        _ if local => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => 0,
    };
    let Some((addresses, extensions)) = block.split_at_checked(addresses) else { return Header::Invalid };
    // What a balancer puts behind LOCAL, or behind addresses of no family, is to be ignored (section 2.2).
    let is_told = !local && family >> 4 != 0;
    if is_told && !are_sound(extensions, whole) {
        return Header::Invalid;
    }
    let told = if local { None } else { block_ends(family, addresses) };
    let (client, server) = told.unzip();
    Header::Complete { length, client, server, local }
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
fn are_sound(mut extensions: &[u8], whole: &[u8]) -> bool {
    while let Some((&[kind, high, low], rest)) = extensions.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, behind)) = rest.split_at_checked(length) else { return false };
        if kind == CRC32C {
            let Ok(sum) = <[u8; 4]>::try_from(value) else { return false };
            let at = whole.len() - rest.len();
            if u32::from_be_bytes(sum) != checksum(whole, at) {
                return false;
            }
        }
        extensions = behind;
    }
    extensions.is_empty()
}

/// CRC-32C (RFC 3720 appendix B.4) of `whole` with zeros for the four octets at `blank`.
fn checksum(whole: &[u8], blank: usize) -> u32 {
    let octets = whole.iter().enumerate().map(|(at, octet)| if (blank..blank + 4).contains(&at) { 0 } else { *octet });
    let sum = octets.fold(u32::MAX, |sum, octet| {
        (0..8).fold(sum ^ u32::from(octet), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 })
    });
    !sum
}

#[cfg(test)]
mod tests;

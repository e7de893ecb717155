//! The PROXY protocol preamble that a load balancer puts before the client's octets (HAProxy, `proxy-protocol.txt`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// First octets of version 2: an SMTP server that does not know them sees a `QUIT` in them.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest preamble of version 1, CRLF included.
const LONGEST_V1: usize = 107;

/// A PROXY protocol preamble at the head of `client`: `None` if there is none, `Some(None)` if it is not complete,
/// else its length and the address it tells (none for health checks of the balancer itself, and for what is not TCP/IP).
pub(crate) fn preamble(client: &[u8]) -> Option<Option<(usize, Option<SocketAddr>)>> {
    if client.is_empty() {
        return None;
    }
    if begins(client, SIGNATURE) {
        return binary(client);
    }
    begins(client, b"PROXY ").then(|| text(client)).flatten()
}

/// Whether `octets` begin with `head`, or could if there were more of them.
fn begins(octets: &[u8], head: &[u8]) -> bool {
    octets.iter().zip(head).all(|(a, b)| a == b)
}

fn text(client: &[u8]) -> Option<Option<(usize, Option<SocketAddr>)>> {
    let window = client.get(..LONGEST_V1.min(client.len())).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', window) else {
        return (client.len() < LONGEST_V1).then_some(None);
    };
    let line = window.get(..end)?.strip_suffix(b"\r")?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Some((end + 1, None)));
    }
    let source: IpAddr = words.next()?.parse().ok()?;
    let _destination: IpAddr = words.next()?.parse().ok()?;
    let port: u16 = words.next()?.parse().ok()?;
    let _port: u16 = words.next()?.parse().ok()?;
    let fits = match family {
        "TCP4" => source.is_ipv4(),
        "TCP6" => source.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then_some(Some((end + 1, Some(SocketAddr::new(source, port)))))
}

fn binary(client: &[u8]) -> Option<Option<(usize, Option<SocketAddr>)>> {
    let Some(&[command, family, high, low]) = client.get(12..16) else {
        let known = client.get(12).is_none_or(|command| matches!(command, 0x20 | 0x21));
        return known.then_some(None);
    };
    if !matches!(command, 0x20 | 0x21) {
        return None;
    }
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    let Some(addresses) = client.get(16..length) else { return Some(None) };
    let told = if command == 0x21 { source(family, addresses) } else { None };
    Some(Some((length, told)))
}

/// The source of version 2's address block; what follows the addresses (TLVs) is passed over.
fn source(family: u8, addresses: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| {
        let octets: [u8; 2] = addresses.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(octets))
    };
    match family {
        0x11 => {
            let ip: [u8; 4] = addresses.get(..4)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port(8)?))
        }
        0x21 => {
            let ip: [u8; 16] = addresses.get(..16)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(ip).into(), port(32)?))
        }
        _ => None,
    }
}

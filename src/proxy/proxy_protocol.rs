//! The PROXY header before a client's octets, versions 1 and 2 (HAProxy, `proxy-protocol.txt`): written here, and read
//! strictly, for whoever may send a header may say who a client is: what is not exactly a header is none.

use std::net::{IpAddr, SocketAddr};

pub use extensions::extensions;

use crate::engine::proxy_header::{self, LONGEST_V1, ParsedHeader, Reading, SIGNATURE};
use crate::proxy::settings::HeaderOut;

/// The longest header that is read. The length field allows 65 551 octets; addresses and all extensions in use, those of
/// TLS client certificates and of cloud providers included, need a few hundred.
pub const LONGEST_HEADER: usize = 4096;

/// What the first octets of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderRead {
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
pub fn parse(octets: &[u8]) -> HeaderRead {
    match proxy_header::parse(octets, Reading::Strict { longest: LONGEST_HEADER }) {
        ParsedHeader::NeedMore => HeaderRead::NeedMore,
        ParsedHeader::Invalid => HeaderRead::Invalid,
        ParsedHeader::Complete(header) => {
            let (client, server) = header.ends.unzip();
            HeaderRead::Complete { length: header.length, client, server, local: header.local }
        }
    }
}

/// The header that tells the server that `client` connected to `server`, with extensions, which only version 2 has.
pub fn header(version: HeaderOut, client: SocketAddr, server: SocketAddr, extensions: &[u8]) -> Vec<u8> {
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
            preamble(&mut octets, 0x21, 0x11, 12 + extensions.len());
            octets.extend_from_slice(&from.octets());
            octets.extend_from_slice(&to.octets());
            behind(&mut octets, ports, extensions);
        }
        (HeaderOut::V2, ..) => {
            preamble(&mut octets, 0x21, 0x21, 36 + extensions.len());
            octets.extend_from_slice(&mixed(from).octets());
            octets.extend_from_slice(&mixed(to).octets());
            behind(&mut octets, ports, extensions);
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

fn preamble(octets: &mut Vec<u8>, command: u8, family: u8, length: usize) {
    octets.extend_from_slice(SIGNATURE);
    octets.extend_from_slice(&[command, family]);
    octets.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
}

fn behind(octets: &mut Vec<u8>, ports: [u16; 2], extensions: &[u8]) {
    for port in ports {
        octets.extend_from_slice(&port.to_be_bytes());
    }
    octets.extend_from_slice(extensions);
}

mod extensions;
#[cfg(test)]
mod tests;

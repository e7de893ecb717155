//! What tells connections apart: the two endpoints, in an order that does not depend on who sends.

use std::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};

use super::packet::Segment;
use super::side::Side;
use crate::time::Timestamp;

/// One end: comparing three words is cheaper than comparing a `SocketAddr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    high: u64,
    low: u64,
    /// With the address family above the port's 16 bits.
    port: u32,
}

/// A pair of endpoints, the lesser first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionKey {
    lesser: Endpoint,
    greater: Endpoint,
}

impl ConnectionKey {
    /// The key of a segment, and which end sent it.
    pub(crate) fn of(from: SocketAddr, to: SocketAddr) -> (Self, Side) {
        let (from, to) = (Endpoint::from(from), Endpoint::from(to));
        if from <= to {
            (Self { lesser: from, greater: to }, Side::Lesser)
        } else {
            (Self { lesser: to, greater: from }, Side::Greater)
        }
    }

    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let Self { lesser, greater } = self;
        let ports = u64::from(lesser.port) << 32 | u64::from(greater.port);
        let hash = fold(seed ^ lesser.low, 0x9e37_79b9_7f4a_7c15 ^ greater.low);
        let hash = fold(hash ^ ports, 0xd6e8_feb8_6659_fd93 ^ seed.rotate_left(32));
        if (lesser.high | greater.high) == 0 {
            return hash;
        }
        fold(hash ^ lesser.high, 0xa076_1d64_78bd_642f ^ greater.high)
    }

    /// A number for the connection that depends on the capture alone. `number` is that of its first packet: it tells
    /// connections apart whose packets have no time.
    pub(crate) fn id(&self, began: Timestamp, number: u64) -> u64 {
        let mut sha = Sha256::new();
        sha.update(began.known().map_or(number, Timestamp::as_nanos).to_be_bytes());
        for end in [self.lesser, self.greater] {
            sha.update(end.high.to_be_bytes());
            sha.update(end.low.to_be_bytes());
            sha.update(end.port.to_be_bytes());
        }
        sha.finalize().first_chunk::<8>().map_or(0, |octets| u64::from_be_bytes(*octets))
    }
}

/// The id of the connection between `client` and `server` that began at `began`: the same whoever observes it.
pub fn connection_id(client: SocketAddr, server: SocketAddr, began: Timestamp) -> u64 {
    ConnectionKey::of(client, server).0.id(began, 0)
}

impl Segment<'_> {
    /// A number that is the same for all segments of a connection, both ways, and in every run.
    pub fn flow_hash(&self) -> u64 {
        ConnectionKey::of(self.from, self.to).0.hash(0x2d35_8dcc_aa6c_78a5)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        let port = u32::from(addr.port());
        match addr.ip() {
            IpAddr::V4(ip) => Self { high: 0, low: u64::from(ip.to_bits()), port },
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                Self { high: (bits >> 64) as u64, low: bits as u64, port: port | 1 << 16 }
            }
        }
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

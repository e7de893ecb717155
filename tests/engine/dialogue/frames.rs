//! Builds IP datagrams with TCP inside, in memory.

use std::net::SocketAddr;

/// A TCP segment to build.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) payload: Vec<u8>,
}

impl Tcp {
    /// The datagram (raw IP); checksums are left zero, as offloading leaves them.
    pub(crate) fn datagram(&self) -> Vec<u8> {
        let length = 20 + self.payload.len();
        let mut octets = match (self.from, self.to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let total = u16::try_from(20 + length).expect("it fits one datagram");
                let mut head = vec![0x45, 0];
                head.extend(total.to_be_bytes());
                head.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
                head.extend(from.ip().octets());
                head.extend(to.ip().octets());
                head
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                let mut head = vec![0x60, 0, 0, 0];
                head.extend(u16::try_from(length).expect("it fits one datagram").to_be_bytes());
                head.extend([6, 64]);
                head.extend(from.ip().octets());
                head.extend(to.ip().octets());
                head
            }
            _ => panic!("two families"),
        };
        octets.extend(self.from.port().to_be_bytes());
        octets.extend(self.to.port().to_be_bytes());
        octets.extend(self.seq.to_be_bytes());
        octets.extend(self.ack.unwrap_or(0).to_be_bytes());
        let flags =
            [(self.fin, 1), (self.syn, 2), (self.rst, 4), (!self.payload.is_empty(), 8), (self.ack.is_some(), 16)];
        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum::<u8>();
        octets.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        octets.extend(&self.payload);
        octets
    }
}

//! A captured frame becomes a [`Segment`]: through link layers, tags, labels, tunnels and fragments to TCP.
//!
//! The walk goes from layer to layer over one slice and copies nothing, except that a datagram which came in
//! fragments is put together first. What does not lead to TCP is counted, by reason, and forgotten. Checksums are
//! not looked at: with offloading they are wrong on the sending host. Lengths are: what lies behind an IP datagram in
//! its frame is padding, and what the snap length cut off is known by size.

mod internet;
mod link;
mod tunnel;
mod unread;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::fragment::{FragmentLimits, Fragments};
use crate::time::Timestamp;

pub use link::LinkType;
pub use unread::{Unread, UnreadClass, UnreadCounts};

/// A frame as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it was captured.
    pub at: Timestamp,
    /// Which of the input's sources it came from.
    pub source: u32,
    /// What its first octets are.
    pub link: LinkType,
    /// The octets captured.
    pub data: &'a [u8],
    /// Octets on the wire; more than `data` holds when the snap length cut the frame.
    pub wire_len: u32,
}

/// A TCP segment (RFC 9293 section 3.1) with its addresses.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// When the packet was captured that brought it, or its last fragment.
    pub at: Timestamp,
    /// Which of the input's sources it came from.
    pub source: u32,
    /// The sender.
    pub from: SocketAddr,
    /// The receiver.
    pub to: SocketAddr,
    /// Sequence number of the first octet, or of the SYN.
    pub seq: u32,
    /// Acknowledgment number, if the ACK bit is set.
    pub ack: Option<u32>,
    /// SYN bit.
    pub syn: bool,
    /// FIN bit.
    pub fin: bool,
    /// RST bit.
    pub rst: bool,
    /// The payload as captured.
    pub payload: &'a [u8],
    /// Octets of payload behind `payload` that the snap length cut off.
    pub cut: u32,
}

/// Caps of a [`Decoder`].
#[derive(Clone, Copy, Debug)]
pub struct DecoderLimits {
    /// IP headers inside each other. Overlays of overlays reach four; more is an attack or a loop.
    pub tunnels: usize,
    /// Headers of any kind before TCP.
    pub headers: usize,
    /// The table of fragments.
    pub fragments: FragmentLimits,
}

impl Default for DecoderLimits {
    fn default() -> Self {
        Self { tunnels: 8, headers: 64, fragments: FragmentLimits::default() }
    }
}

/// What became of the packets. Every packet is counted in `packets` and in exactly one other field, except that the
/// fragment that completes a datagram goes on as what the datagram holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounters {
    /// All of them.
    pub packets: u64,
    /// Those that gave a TCP segment.
    pub segments: u64,
    /// Not IP, and known to carry none: ARP, LLDP, control frames.
    pub not_ip: u64,
    /// Not understood, by [`UnreadClass::index`]: of a kind that is not known, or encrypted.
    pub unread: [u64; UnreadClass::ALL.len()],
    /// IP, but neither TCP nor a tunnel.
    pub not_tcp: u64,
    /// A header is cut off by the snap length.
    pub cut_header: u64,
    /// A link header that cannot be.
    pub malformed_link: u64,
    /// An IP header, or an extension header, that cannot be.
    pub malformed_ip: u64,
    /// A TCP or UDP header that cannot be.
    pub malformed_transport: u64,
    /// A tunnel header that cannot be.
    pub malformed_tunnel: u64,
    /// More headers or tunnels inside each other than the caps allow.
    pub too_deep: u64,
    /// Fragments kept to wait for the rest of their datagram.
    pub fragments_kept: u64,
    /// Fragments that cannot be used: cut by the snap length, beyond 64 KiB, contradicting, too many.
    pub fragments_dropped: u64,
    /// Datagrams put together (besides the packet counts).
    pub datagrams_completed: u64,
    /// Datagrams given up by age or for room (besides the packet counts).
    pub datagrams_dropped: u64,
}

impl DecodeCounters {
    /// Packets of no use since the snap length cut their headers.
    pub fn cut(&self) -> u64 {
        self.cut_header
    }

    /// Packets of no use since a header cannot be, or is of no known kind.
    pub fn undecodable(&self) -> u64 {
        let malformed = self.malformed_link + self.malformed_ip + self.malformed_transport + self.malformed_tunnel;
        malformed + self.too_deep + self.fragments_dropped
    }
}

/// Turns packets into segments. One per thread; it holds the table of fragments.
#[derive(Debug)]
pub struct Decoder {
    limits: DecoderLimits,
    counters: DecodeCounters,
    unread: UnreadCounts,
    fragments: Fragments,
    /// Datagrams just put together, one inside the other.
    wholes: [Vec<u8>; 2],
}

impl Decoder {
    /// A decoder with an empty table.
    pub fn new(limits: DecoderLimits) -> Self {
        Self {
            limits,
            counters: DecodeCounters::default(),
            unread: UnreadCounts::default(),
            fragments: Fragments::new(limits.fragments),
            wholes: [Vec::new(), Vec::new()],
        }
    }

    /// The segment that `packet` brings, or completes.
    pub fn decode<'a>(&'a mut self, packet: &Packet<'a>) -> Option<Segment<'a>> {
        let Self { limits, counters, unread, fragments, wholes } = self;
        counters.packets += 1;
        match walk(limits, counters, fragments, wholes, packet) {
            Ok(segment) => {
                counters.segments += 1;
                Some(segment)
            }
            Err(stop) => {
                counters.add(stop);
                if let NoSegment::Unread(kind) = stop {
                    unread.add(kind);
                }
                None
            }
        }
    }

    /// What became of the packets so far.
    pub fn counters(&self) -> &DecodeCounters {
        &self.counters
    }

    /// What was not understood so far.
    pub fn unread(&self) -> &UnreadCounts {
        &self.unread
    }
}

impl DecodeCounters {
    fn add(&mut self, stop: NoSegment) {
        let counter = match stop {
            NoSegment::NotIp => &mut self.not_ip,
            NoSegment::NotTcp => &mut self.not_tcp,
            NoSegment::Unread(kind) => match self.unread.get_mut(kind.class().index()) {
                Some(count) => count,
                None => return,
            },
            NoSegment::Cut => &mut self.cut_header,
            NoSegment::Link => &mut self.malformed_link,
            NoSegment::Ip => &mut self.malformed_ip,
            NoSegment::Transport => &mut self.malformed_transport,
            NoSegment::Tunnel => &mut self.malformed_tunnel,
            NoSegment::TooDeep => &mut self.too_deep,
            NoSegment::FragmentKept => &mut self.fragments_kept,
            NoSegment::FragmentDropped => &mut self.fragments_dropped,
        };
        *counter += 1;
    }
}

/// Why a packet gives no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoSegment {
    NotIp,
    NotTcp,
    Unread(Unread),
    Cut,
    Link,
    Ip,
    Transport,
    Tunnel,
    TooDeep,
    FragmentKept,
    FragmentDropped,
}

/// What the next octets are.
#[derive(Clone, Copy, Debug)]
enum NextHeader {
    Ethernet,
    /// What this EtherType says.
    Type(u16),
    Llc,
    /// The address family as the BSDs write it, in whichever byte order.
    Family,
    Cooked,
    Cooked2,
    Nflog,
    Hdlc,
    Ppp,
    Pppoe,
    Mpls,
    /// IPv4 or IPv6, as the first nibble says.
    Ip,
    /// What this IP protocol number says.
    Protocol(u8),
    Fragment(FragmentPosition),
    Udp,
    Gre,
    Nsh,
    /// L2TP version 3 behind its session header, where only the two ends know what follows.
    Pseudowire,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
struct FragmentPosition {
    id: u32,
    offset: u32,
    more: bool,
    protocol: u8,
}

/// Addresses of the innermost IP header.
#[derive(Clone, Copy, Debug)]
struct Hosts {
    from: IpAddr,
    to: IpAddr,
}

/// What is left of a frame.
#[derive(Clone, Copy, Debug)]
struct Rest<'a> {
    /// As captured.
    data: &'a [u8],
    /// Octets there were on the wire: never fewer than captured.
    wire: usize,
}

impl<'a> Rest<'a> {
    /// A header of `N` octets off the front; `short` if the wire had no room for it.
    fn take<const N: usize>(&mut self, short: NoSegment) -> Result<&'a [u8; N], NoSegment> {
        let Some((head, tail)) = self.data.split_first_chunk::<N>() else {
            return Err(self.missing(N, short));
        };
        self.data = tail;
        self.wire -= N;
        Ok(head)
    }

    /// Passes `n` octets.
    fn skip(&mut self, n: usize, short: NoSegment) -> Result<(), NoSegment> {
        let Some((_, tail)) = self.data.split_at_checked(n) else {
            return Err(self.missing(n, short));
        };
        self.data = tail;
        self.wire -= n;
        Ok(())
    }

    /// Why `n` octets are not there.
    fn missing(&self, n: usize, short: NoSegment) -> NoSegment {
        if n <= self.wire { NoSegment::Cut } else { short }
    }

    /// What a length field says of how much belongs to it.
    fn limit(&mut self, wire: usize) {
        self.data = self.data.get(..wire).unwrap_or(self.data);
        self.wire = wire;
    }

    fn first(&self, short: NoSegment) -> Result<u8, NoSegment> {
        self.data.first().copied().ok_or_else(|| self.missing(1, short))
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        let octets = self.data.get(at..)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*octets))
    }
}

fn walk<'a>(
    limits: &DecoderLimits,
    counters: &mut DecodeCounters,
    fragments: &mut Fragments,
    mut wholes: &'a mut [Vec<u8>],
    packet: &Packet<'a>,
) -> Result<Segment<'a>, NoSegment> {
    let mut rest = Rest { data: packet.data, wire: packet.data.len().max(packet.wire_len as usize) };
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut hosts = Hosts { from: nowhere, to: nowhere };
    let mut tunnels = 0;
    let mut layer = link::first(packet.link, &mut rest)?;
    for _ in 0..limits.headers {
        layer = match layer {
            NextHeader::Ethernet => link::ethernet(&mut rest)?,
            NextHeader::Type(ethertype) => link::ethertype(ethertype, &mut rest)?,
            NextHeader::Ip => {
                tunnels += 1;
                if tunnels > limits.tunnels {
                    return Err(NoSegment::TooDeep);
                }
                internet::ip(&mut rest, &mut hosts)?
            }
            NextHeader::Protocol(internet::TCP) => return internet::tcp(rest, hosts, packet),
            NextHeader::Protocol(protocol) => internet::protocol(protocol, hosts, &mut rest)?,
            NextHeader::Fragment(piece) => {
                let (protocol, whole) = reassemble(counters, fragments, packet.at, hosts, piece, rest)?;
                let (slot, others) = wholes.split_first_mut().ok_or(NoSegment::TooDeep)?;
                wholes = others;
                *slot = whole;
                rest = Rest { data: slot, wire: slot.len() };
                NextHeader::Protocol(protocol)
            }
            NextHeader::Udp => tunnel::udp(&mut rest)?,
            NextHeader::Gre => tunnel::gre(&mut rest)?,
            NextHeader::Nsh => tunnel::nsh(&mut rest)?,
            NextHeader::Pseudowire => tunnel::pseudowire(&mut rest)?,
            NextHeader::Llc => link::llc(&mut rest)?,
            NextHeader::Family => link::family(&mut rest)?,
            NextHeader::Cooked => link::cooked(&mut rest)?,
            NextHeader::Cooked2 => link::cooked2(&mut rest)?,
            NextHeader::Nflog => link::nflog(&mut rest)?,
            NextHeader::Hdlc => link::hdlc(&mut rest)?,
            NextHeader::Ppp => link::ppp(&mut rest)?,
            NextHeader::Pppoe => link::pppoe(&mut rest)?,
            NextHeader::Mpls => link::mpls(&mut rest)?,
        };
    }
    Err(NoSegment::TooDeep)
}

fn reassemble(
    counters: &mut DecodeCounters,
    fragments: &mut Fragments,
    at: Timestamp,
    hosts: Hosts,
    piece: FragmentPosition,
    rest: Rest<'_>,
) -> Result<(u8, Vec<u8>), NoSegment> {
    if rest.data.len() < rest.wire {
        return Err(NoSegment::FragmentDropped);
    }
    let key = super::fragment::DatagramKey::new(hosts.from, hosts.to, piece.id, piece.protocol);
    let before = fragments.dropped();
    let result = fragments.add(at, key, piece.protocol, piece.offset, piece.more, rest.data);
    counters.datagrams_dropped += fragments.dropped() - before;
    match result {
        Ok(Some(whole)) => {
            counters.datagrams_completed += 1;
            Ok(whole)
        }
        Ok(None) => Err(NoSegment::FragmentKept),
        Err(_) => Err(NoSegment::FragmentDropped),
    }
}

#[cfg(test)]
mod tests;

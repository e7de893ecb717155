//! IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200), and the TCP header (RFC 9293).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::err::{self, LenError};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice};

use super::{FragmentPosition, Hosts, NextHeader, NoSegment, Packet, Rest, Segment, Unread};

/// Protocol number of TCP.
pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;
const IP_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const AUTHENTICATION: u8 = 51;
const ENCRYPTED: u8 = 50;
const ETHER_IN_IP: u8 = 97;
const L2TP: u8 = 115;
/// An Ethernet frame in a segment routing header (RFC 8986 section 10.1).
const ETHERNET: u8 = 143;
const NSH: u8 = 145;
const MPLS_IN_IP: u8 = 137;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

pub(super) fn ip(rest: &mut Rest<'_>, hosts: &mut Hosts) -> Result<NextHeader, NoSegment> {
    match rest.first(NoSegment::Ip)? >> 4 {
        4 => v4(rest, hosts),
        6 => v6(rest, hosts),
        _ => Err(NoSegment::Ip),
    }
}

fn v4(rest: &mut Rest<'_>, hosts: &mut Hosts) -> Result<NextHeader, NoSegment> {
    let header = Ipv4HeaderSlice::from_slice(rest.data).map_err(|e| match e {
        err::ipv4::HeaderSliceError::Len(e) => short(rest, &e, NoSegment::Ip),
        err::ipv4::HeaderSliceError::Content(_) => NoSegment::Ip,
    })?;
    let length = header.slice().len();
    let total = usize::from(header.total_len());
    // Segmentation offload leaves 0: the frame tells the length.
    if total != 0 {
        if total < length {
            return Err(NoSegment::Ip);
        }
        rest.limit(total);
    }
    rest.skip(length, NoSegment::Ip)?;
    *hosts = Hosts {
        from: IpAddr::V4(Ipv4Addr::from(header.source())),
        to: IpAddr::V4(Ipv4Addr::from(header.destination())),
    };
    let protocol = header.protocol().0;
    if !header.is_fragmenting_payload() {
        return Ok(NextHeader::Protocol(protocol));
    }
    Ok(NextHeader::Fragment(FragmentPosition {
        id: u32::from(header.identification()),
        offset: u32::from(header.fragments_offset().value()) * 8,
        more: header.more_fragments(),
        protocol,
    }))
}

fn v6(rest: &mut Rest<'_>, hosts: &mut Hosts) -> Result<NextHeader, NoSegment> {
    let header = Ipv6HeaderSlice::from_slice(rest.data).map_err(|e| match e {
        err::ipv6::HeaderSliceError::Len(e) => short(rest, &e, NoSegment::Ip),
        err::ipv6::HeaderSliceError::Content(_) => NoSegment::Ip,
    })?;
    rest.skip(header.slice().len(), NoSegment::Ip)?;
    // 0 stands on jumbograms (RFC 2675) and, by offload, on what will be several packets.
    match usize::from(header.payload_length()) {
        0 => {}
        length => rest.limit(length),
    }
    *hosts = Hosts {
        from: IpAddr::V6(Ipv6Addr::from(header.source())),
        to: IpAddr::V6(Ipv6Addr::from(header.destination())),
    };
    Ok(NextHeader::Protocol(header.next_header().0))
}

/// Everything that IP can carry, except TCP.
pub(super) fn protocol(protocol: u8, hosts: Hosts, rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    match protocol {
        UDP => Ok(NextHeader::Udp),
        GRE => Ok(NextHeader::Gre),
        IP_IN_IP | IPV6_IN_IP => Ok(NextHeader::Ip),
        ETHERNET => Ok(NextHeader::Ethernet),
        NSH => Ok(NextHeader::Nsh),
        // RFC 3931 section 4.1.1: the session; 0 is a control message.
        L2TP => match rest.take::<4>(NoSegment::Tunnel)? {
            [0, 0, 0, 0] => Err(NoSegment::NotTcp),
            _ => Ok(NextHeader::Pseudowire),
        },
        ENCRYPTED => Err(NoSegment::Unread(Unread::Encrypted("IPsec"))),
        MPLS_IN_IP => Ok(NextHeader::Mpls),
        ETHER_IN_IP => {
            // RFC 3378 section 2: version 3, the rest reserved.
            let [0x30, _] = rest.take::<2>(NoSegment::Tunnel)? else {
                return Err(NoSegment::Tunnel);
            };
            Ok(NextHeader::Ethernet)
        }
        AUTHENTICATION => {
            // RFC 4302 section 2.2: in words of 32 bits, minus 2.
            let [next, length] = *rest.take::<2>(NoSegment::Ip)?;
            rest.skip((usize::from(length) + 2) * 4 - 2, NoSegment::Ip)?;
            Ok(NextHeader::Protocol(next))
        }
        _ if hosts.from.is_ipv4() => Err(no_tcp(protocol)),
        HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HIP | SHIM6 => {
            let [next, length] = *rest.take::<2>(NoSegment::Ip)?;
            rest.skip((usize::from(length) + 1) * 8 - 2, NoSegment::Ip)?;
            Ok(NextHeader::Protocol(next))
        }
        FRAGMENT => fragment(rest),
        _ => Err(no_tcp(protocol)),
    }
}

/// Why a protocol of IP leads to no TCP segment: it is known to carry none, or it is not known.
fn no_tcp(protocol: u8) -> NoSegment {
    // ICMP, IGMP, GGP, ST, EGP, IGP, RDP, DCCP, RSVP, ICMPv6, no next header, EIGRP, OSPF, PIM, VRRP, PGM, IS-IS, SCTP,
    // UDP-Lite, and the two for experiments.
    match protocol {
        1..=3 | 5 | 8 | 9 | 27 | 33 | 46 | 58 | 59 | 88 | 89 | 103 | 112 | 113 | 124 | 132 | 136 | 253 | 254 => {
            NoSegment::NotTcp
        }
        other => NoSegment::Unread(Unread::Ip(other)),
    }
}

/// RFC 8200 section 4.5.
fn fragment(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [next, _, high, low, id @ ..] = *rest.take::<8>(NoSegment::Ip)?;
    let field = u16::from_be_bytes([high, low]);
    let piece = FragmentPosition {
        id: u32::from_be_bytes(id),
        offset: u32::from(field & !7),
        more: field & 1 == 1,
        protocol: next,
    };
    // A fragment that is the whole (RFC 6946).
    if piece.offset == 0 && !piece.more { Ok(NextHeader::Protocol(next)) } else { Ok(NextHeader::Fragment(piece)) }
}

pub(super) fn tcp<'a>(rest: Rest<'a>, hosts: Hosts, packet: &Packet<'_>) -> Result<Segment<'a>, NoSegment> {
    let header = TcpHeaderSlice::from_slice(rest.data).map_err(|e| match e {
        err::tcp::HeaderSliceError::Len(e) => short(&rest, &e, NoSegment::Transport),
        err::tcp::HeaderSliceError::Content(_) => NoSegment::Transport,
    })?;
    let mut payload = rest;
    payload.skip(header.slice().len(), NoSegment::Transport)?;
    Ok(Segment {
        at: packet.at,
        source: packet.source,
        from: SocketAddr::new(hosts.from, header.source_port()),
        to: SocketAddr::new(hosts.to, header.destination_port()),
        seq: header.sequence_number(),
        ack: header.ack().then(|| header.acknowledgment_number()),
        syn: header.syn(),
        fin: header.fin(),
        rst: header.rst(),
        payload: payload.data,
        cut: u32::try_from(payload.wire - payload.data.len()).unwrap_or(u32::MAX),
    })
}

fn short(rest: &Rest<'_>, error: &LenError, why: NoSegment) -> NoSegment {
    rest.missing(error.required_len, why)
}

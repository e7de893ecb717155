//! Tunnels over UDP and GRE. Each gives the layer that it carries.

use super::link::{BRIDGED, ERSPAN, ERSPAN_III, IPV4, IPV6, PPP, VLAN, WCCP};
use super::{NextHeader, NoSegment, Rest, Unread};

const GTP_U: u16 = 2152;
const VXLAN: [u16; 2] = [4789, 8472];
const VXLAN_GPE: u16 = 4790;
const GRE_IN_UDP: u16 = 4754;
const GENEVE: u16 = 6081;
const MPLS_IN_UDP: u16 = 6635;
const L2TP: u16 = 1701;
const TEREDO: u16 = 3544;
const LISP: u16 = 4341;
const GUE: u16 = 6080;
const TZSP: u16 = 37008;
/// MikroTik's Ethernet over IP, as the protocol of GRE.
const EOIP: u16 = 0x6400;

/// RFC 768; whoever is not a tunnel's end is of no interest.
pub(super) fn udp(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [s0, s1, d0, d1, l0, l1, _, _] = *rest.take::<8>(NoSegment::Transport)?;
    let (from, to) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let layer = match to {
        VXLAN_GPE => vxlan_gpe,
        GENEVE => geneve,
        GRE_IN_UDP => gre,
        MPLS_IN_UDP => |_: &mut Rest<'_>| Ok(NextHeader::Mpls),
        GUE => gue,
        LISP => lisp,
        TZSP => tzsp,
        port if VXLAN.contains(&port) => vxlan,
        _ if to == GTP_U || from == GTP_U => gtp,
        _ if to == L2TP || from == L2TP => l2tp,
        _ if to == TEREDO || from == TEREDO || is_teredo(rest) => teredo,
        _ => return Err(NoSegment::NotTcp),
    };
    if let Some(length) = length.checked_sub(8)
        && length < rest.wire
    {
        rest.limit(length);
    }
    layer(rest)
}

/// RFC 2661 section 3.1 (version 2), RFC 3931 section 4.1.2 (version 3).
fn l2tp(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let flags = u16::from_be_bytes(*rest.take::<2>(NoSegment::Tunnel)?);
    match flags & 0x000f {
        2 | 3 if flags & CONTROL != 0 => return Err(NoSegment::NotTcp),
        2 => {}
        3 => {
            // Two reserved bytes and the session.
            rest.skip(6, NoSegment::Tunnel)?;
            return Ok(NextHeader::Pseudowire);
        }
        _ => return Err(NoSegment::NotTcp),
    }
    let length = if flags & LENGTH == 0 { 0 } else { 2 };
    let sequence = if flags & SEQUENCE == 0 { 0 } else { 4 };
    // Tunnel and session stand between them.
    rest.skip(length + 4 + sequence, NoSegment::Tunnel)?;
    if flags & OFFSET != 0 {
        let padding = u16::from_be_bytes(*rest.take::<2>(NoSegment::Tunnel)?);
        rest.skip(padding.into(), NoSegment::Tunnel)?;
    }
    Ok(NextHeader::Ppp)
}

/// What follows the session of L2TP version 3: a cookie of 0, 4 or 8 bytes and perhaps a sublayer of 4, as the two ends
/// agreed. The first place where a frame can begin is taken.
pub(super) fn pseudowire(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    for skip in [0, 4, 8, 12] {
        let Some(data) = rest.data.get(skip..) else { break };
        let at = |at: usize| Some(u16::from_be_bytes(*data.get(at..)?.first_chunk::<2>()?));
        let is_ip = |from: usize, ethertype| match data.get(from) {
            Some(first) => matches!((ethertype, first >> 4), (IPV4, 4) | (IPV6, 6)),
            None => false,
        };
        let layer = match (data, at(12)) {
            ([0xff, 0x03, 0x00, 0x21 | 0x57, ..], _) => NextHeader::Ppp,
            (_, Some(ethertype)) if is_ip(14, ethertype) => NextHeader::Ethernet,
            (_, Some(tag)) if VLAN.contains(&tag) && at(16).is_some_and(|inner| is_ip(18, inner)) => {
                NextHeader::Ethernet
            }
            (_, Some(ARP)) if at(14) == Some(1) => return Err(NoSegment::NotIp),
            ([0x45, ..], _) if at(2).map(usize::from) == Some(rest.wire - skip) => NextHeader::Ip,
            ([0x60..=0x6f, ..], _) if at(4).map(|length| usize::from(length) + 40) == Some(rest.wire - skip) => {
                NextHeader::Ip
            }
            _ => continue,
        };
        rest.skip(skip, NoSegment::Tunnel)?;
        return Ok(layer);
    }
    Err(NoSegment::Unread(Unread::Tunnel("L2TP")))
}

const ARP: u16 = 0x0806;

/// Generic UDP encapsulation (draft-ietf-intarea-gue section 3).
fn gue(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    match rest.first(NoSegment::Tunnel)? >> 6 {
        // Version 1 is IP without a header: its own first bits are those of the version.
        1 => return Ok(NextHeader::Ip),
        0 => {}
        _ => return Err(NoSegment::Tunnel),
    }
    let [first, protocol, ..] = *rest.take::<4>(NoSegment::Tunnel)?;
    rest.skip(usize::from(first & 0x1f) * 4, NoSegment::Tunnel)?;
    if first & 0x20 != 0 {
        return Err(NoSegment::NotTcp);
    }
    Ok(NextHeader::Protocol(protocol))
}

/// RFC 4380 section 5.1.1: perhaps authentication, perhaps the origin, then IPv6.
fn teredo(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    if let [0, 1, ..] = rest.data {
        let [.., client, value] = *rest.take::<4>(NoSegment::Tunnel)?;
        // A nonce and a confirmation follow.
        rest.skip(usize::from(client) + usize::from(value) + 9, NoSegment::Tunnel)?;
    }
    if let [0, 0, ..] = rest.data {
        rest.skip(8, NoSegment::Tunnel)?;
    }
    if rest.first(NoSegment::Tunnel)? >> 4 == 6 { Ok(NextHeader::Ip) } else { Err(NoSegment::NotTcp) }
}

/// Whether a datagram at other ports is one of Teredo: the clients and relays of it have any port, but addresses of
/// its own (RFC 4380 section 2.6).
fn is_teredo(rest: &Rest<'_>) -> bool {
    let length = rest.u16_at(4).map(|length| usize::from(length) + 40);
    let prefix = |at: usize| rest.data.get(at..at + 4) == Some(&[0x20, 0x01, 0, 0]);
    matches!(rest.data, [0x60..=0x6f, ..]) && length == Some(rest.wire) && (prefix(8) || prefix(24))
}

/// RFC 9300 section 5.1.
fn lisp(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    rest.skip(8, NoSegment::Tunnel)?;
    Ok(NextHeader::Ip)
}

/// TaZmen Sniffer Protocol: mirrored frames behind tags.
fn tzsp(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    let [version, kind, a, b] = *rest.take::<4>(NoSegment::Tunnel)?;
    if version != 1 || kind > 1 {
        return Err(NoSegment::NotTcp);
    }
    // Eleven tags are known.
    for _ in 0..64 {
        let [tag] = *rest.take::<1>(NoSegment::Tunnel)?;
        match tag {
            PADDING => {}
            END if [a, b] == [0, 1] => return Ok(NextHeader::Ethernet),
            END => return Err(NoSegment::Unread(Unread::Tunnel("TZSP"))),
            _ => {
                let [length] = *rest.take::<1>(NoSegment::Tunnel)?;
                rest.skip(length.into(), NoSegment::Tunnel)?;
            }
        }
    }
    Err(NoSegment::Tunnel)
}

/// RFC 8300 section 2.2.
pub(super) fn nsh(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [_, length, _, next, ..] = *rest.take::<8>(NoSegment::Tunnel)?;
    let context = (usize::from(length & 0x3f) * 4).checked_sub(8).ok_or(NoSegment::Tunnel)?;
    rest.skip(context, NoSegment::Tunnel)?;
    match next {
        1 | 2 => Ok(NextHeader::Ip),
        3 => Ok(NextHeader::Ethernet),
        4 => Ok(NextHeader::Nsh),
        5 => Ok(NextHeader::Mpls),
        _ => Err(NoSegment::Unread(Unread::Tunnel("NSH"))),
    }
}

/// RFC 7348 section 5.
fn vxlan(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [flags, ..] = rest.take::<8>(NoSegment::Tunnel)?;
    if flags & 0x08 == 0 { Err(NoSegment::Tunnel) } else { Ok(NextHeader::Ethernet) }
}

/// draft-ietf-nvo3-vxlan-gpe section 3.
fn vxlan_gpe(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [flags, _, _, next, ..] = rest.take::<8>(NoSegment::Tunnel)?;
    match next {
        1 | 2 if flags & 0x04 != 0 => Ok(NextHeader::Ip),
        3 => Ok(NextHeader::Ethernet),
        4 if flags & 0x04 != 0 => Ok(NextHeader::Nsh),
        _ if flags & 0x04 == 0 => Ok(NextHeader::Ethernet),
        _ => Err(NoSegment::Unread(Unread::Tunnel("VXLAN-GPE"))),
    }
}

/// RFC 8926 section 3.4.
fn geneve(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [first, flags, a, b, ..] = *rest.take::<8>(NoSegment::Tunnel)?;
    if first >> 6 != 0 {
        return Err(NoSegment::Tunnel);
    }
    if flags & 0x80 != 0 {
        return Err(NoSegment::NotIp);
    }
    rest.skip(usize::from(first & 0x3f) * 4, NoSegment::Tunnel)?;
    Ok(NextHeader::Type(u16::from_be_bytes([a, b])))
}

/// 3GPP TS 29.281 section 5.
fn gtp(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    const T_PDU: u8 = 255;
    let [flags, message, l0, l1, ..] = *rest.take::<8>(NoSegment::Tunnel)?;
    if flags & 0xf0 != 0x30 {
        return Err(NoSegment::Tunnel);
    }
    if message != T_PDU {
        return Err(NoSegment::NotIp);
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length < rest.wire {
        rest.limit(length);
    }
    if flags & 0x07 != 0 {
        let [_, _, _, mut next] = *rest.take::<4>(NoSegment::Tunnel)?;
        if flags & 0x04 == 0 {
            next = 0;
        }
        while next != 0 {
            let words = usize::from(rest.first(NoSegment::Tunnel)?);
            let octets = (words * 4).checked_sub(1).ok_or(NoSegment::Tunnel)?;
            rest.skip(octets, NoSegment::Tunnel)?;
            [next] = *rest.take::<1>(NoSegment::Tunnel)?;
        }
    }
    Ok(NextHeader::Ip)
}

/// RFC 2784 and RFC 2890 (version 0), RFC 2637 section 4.1 (version 1).
pub(super) fn gre(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;
    let [f0, f1, a, b] = *rest.take::<4>(NoSegment::Tunnel)?;
    let (flags, protocol) = (u16::from_be_bytes([f0, f1]), u16::from_be_bytes([a, b]));
    let fields = match flags & 7 {
        // Source routes are gone since RFC 2784: whoever sends them is not understood.
        0 if flags & ROUTING != 0 => return Err(NoSegment::Tunnel),
        0 => CHECKSUM | KEY | SEQUENCE,
        1 if matches!(protocol, PPP | EOIP) && flags & KEY != 0 => KEY | SEQUENCE | ACKNOWLEDGMENT,
        _ => return Err(NoSegment::Tunnel),
    };
    rest.skip((flags & fields).count_ones() as usize * 4, NoSegment::Tunnel)?;
    match protocol {
        EOIP if flags & 7 == 1 => Ok(NextHeader::Ethernet),
        // An acknowledgment without payload.
        PPP if flags & 7 == 1 && flags & SEQUENCE == 0 => Err(NoSegment::NotIp),
        ERSPAN => {
            // Version 1 has no header and no sequence number.
            rest.skip(if flags & SEQUENCE == 0 { 0 } else { 8 }, NoSegment::Tunnel)?;
            Ok(NextHeader::Ethernet)
        }
        ERSPAN_III => {
            let [.., last] = rest.take::<12>(NoSegment::Tunnel)?;
            rest.skip(if last & 1 == 1 { 8 } else { 0 }, NoSegment::Tunnel)?;
            Ok(NextHeader::Ethernet)
        }
        WCCP => {
            // Version 2 puts a redirect header before the IP header.
            rest.skip(if rest.first(NoSegment::Tunnel)? >> 4 == 4 { 0 } else { 4 }, NoSegment::Tunnel)?;
            Ok(NextHeader::Ip)
        }
        BRIDGED => Ok(NextHeader::Ethernet),
        other => Ok(NextHeader::Type(other)),
    }
}

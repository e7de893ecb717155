//! Tunnels over UDP and GRE. Each gives the layer that it carries.

use super::link::{BRIDGED, ERSPAN, ERSPAN_III, PPP, WCCP};
use super::{Layer, Rest, Stop};

const GTP_U: u16 = 2152;
const VXLAN: [u16; 2] = [4789, 8472];
const VXLAN_GPE: u16 = 4790;
const GRE_IN_UDP: u16 = 4754;
const GENEVE: u16 = 6081;
const MPLS_IN_UDP: u16 = 6635;

/// RFC 768; whoever is not a tunnel's end is of no interest.
pub(super) fn udp(rest: &mut Rest<'_>) -> Result<Layer, Stop> {
    let [s0, s1, d0, d1, l0, l1, _, _] = *rest.take::<8>(Stop::Transport)?;
    let (from, to) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let layer = match to {
        VXLAN_GPE => vxlan_gpe,
        GENEVE => geneve,
        GRE_IN_UDP => gre,
        MPLS_IN_UDP => |_: &mut Rest<'_>| Ok(Layer::Mpls),
        port if VXLAN.contains(&port) => vxlan,
        _ if to == GTP_U || from == GTP_U => gtp,
        _ => return Err(Stop::NotTcp),
    };
    if let Some(length) = length.checked_sub(8)
        && length < rest.wire
    {
        rest.limit(length);
    }
    layer(rest)
}

/// RFC 7348 section 5.
fn vxlan(rest: &mut Rest<'_>) -> Result<Layer, Stop> {
    let [flags, ..] = rest.take::<8>(Stop::Tunnel)?;
    if flags & 0x08 == 0 { Err(Stop::Tunnel) } else { Ok(Layer::Ethernet) }
}

/// draft-ietf-nvo3-vxlan-gpe section 3.
fn vxlan_gpe(rest: &mut Rest<'_>) -> Result<Layer, Stop> {
    let [flags, _, _, next, ..] = rest.take::<8>(Stop::Tunnel)?;
    match next {
        1 | 2 if flags & 0x04 != 0 => Ok(Layer::Ip),
        3 => Ok(Layer::Ethernet),
        _ if flags & 0x04 == 0 => Ok(Layer::Ethernet),
        _ => Err(Stop::NotIp),
    }
}

/// RFC 8926 section 3.4.
fn geneve(rest: &mut Rest<'_>) -> Result<Layer, Stop> {
    let [first, flags, a, b, ..] = *rest.take::<8>(Stop::Tunnel)?;
    if first >> 6 != 0 {
        return Err(Stop::Tunnel);
    }
    if flags & 0x80 != 0 {
        return Err(Stop::NotIp);
    }
    rest.skip(usize::from(first & 0x3f) * 4, Stop::Tunnel)?;
    Ok(Layer::Type(u16::from_be_bytes([a, b])))
}

/// 3GPP TS 29.281 section 5.
fn gtp(rest: &mut Rest<'_>) -> Result<Layer, Stop> {
    const T_PDU: u8 = 255;
    let [flags, message, l0, l1, ..] = *rest.take::<8>(Stop::Tunnel)?;
    if flags & 0xf0 != 0x30 {
        return Err(Stop::Tunnel);
    }
    if message != T_PDU {
        return Err(Stop::NotIp);
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length < rest.wire {
        rest.limit(length);
    }
    if flags & 0x07 != 0 {
        let [_, _, _, mut next] = *rest.take::<4>(Stop::Tunnel)?;
        if flags & 0x04 == 0 {
            next = 0;
        }
        while next != 0 {
            let words = usize::from(rest.first(Stop::Tunnel)?);
            let octets = (words * 4).checked_sub(1).ok_or(Stop::Tunnel)?;
            rest.skip(octets, Stop::Tunnel)?;
            [next] = *rest.take::<1>(Stop::Tunnel)?;
        }
    }
    Ok(Layer::Ip)
}

/// RFC 2784 and RFC 2890 (version 0), RFC 2637 section 4.1 (version 1).
pub(super) fn gre(rest: &mut Rest<'_>) -> Result<Layer, Stop> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;
    let [f0, f1, a, b] = *rest.take::<4>(Stop::Tunnel)?;
    let (flags, protocol) = (u16::from_be_bytes([f0, f1]), u16::from_be_bytes([a, b]));
    let fields = match flags & 7 {
        // Source routes are gone since RFC 2784: whoever sends them is not understood.
        0 if flags & ROUTING != 0 => return Err(Stop::Tunnel),
        0 => CHECKSUM | KEY | SEQUENCE,
        1 if protocol == PPP && flags & KEY != 0 => KEY | SEQUENCE | ACKNOWLEDGMENT,
        _ => return Err(Stop::Tunnel),
    };
    rest.skip((flags & fields).count_ones() as usize * 4, Stop::Tunnel)?;
    match protocol {
        // An acknowledgment without payload.
        PPP if flags & 7 == 1 && flags & SEQUENCE == 0 => Err(Stop::NotIp),
        ERSPAN => {
            // Version 1 has no header and no sequence number.
            rest.skip(if flags & SEQUENCE == 0 { 0 } else { 8 }, Stop::Tunnel)?;
            Ok(Layer::Ethernet)
        }
        ERSPAN_III => {
            let [.., last] = rest.take::<12>(Stop::Tunnel)?;
            rest.skip(if last & 1 == 1 { 8 } else { 0 }, Stop::Tunnel)?;
            Ok(Layer::Ethernet)
        }
        WCCP => {
            // Version 2 puts a redirect header before the IP header.
            rest.skip(if rest.first(Stop::Tunnel)? >> 4 == 4 { 0 } else { 4 }, Stop::Tunnel)?;
            Ok(Layer::Ip)
        }
        BRIDGED => Ok(Layer::Ethernet),
        other => Ok(Layer::Type(other)),
    }
}

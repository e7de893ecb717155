//! Link layers: from the first octet of a frame to its IP header.

use super::{NextHeader, NoSegment, Rest, Unread};

/// A `LINKTYPE_` number of the pcap format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(
    /// The number.
    pub u16,
);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without HDLC framing.
    pub const PPP: Self = Self(9);
    /// Raw IP, as the DLT of most systems.
    pub const DLT_RAW: Self = Self(12);
    /// Raw IP, as the DLT of OpenBSD.
    pub const DLT_RAW_OPENBSD: Self = Self(14);
    /// PPP in HDLC-like framing (RFC 1662), or Cisco's HDLC.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session packets (RFC 2516) without their Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP.
    pub const RAW: Self = Self(101);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// OpenBSD's IPsec device: packets as they are before or behind encryption.
    pub const ENC: Self = Self(109);
    /// The packet filter's log of the BSDs.
    pub const PFLOG: Self = Self(117);
    /// PPP behind an octet that tells the direction.
    pub const PPP_WITH_DIR: Self = Self(204);
    /// MPLS label stack.
    pub const MPLS: Self = Self(219);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux netfilter log.
    pub const NFLOG: Self = Self(239);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);

    /// Whether frames of this type can be read.
    pub const fn is_known(self) -> bool {
        layer(self).is_some()
    }

    /// What people call some of the types that cannot be read.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            105 => "IEEE 802.11 frames",
            127 => "IEEE 802.11 frames with a radiotap header",
            119 | 163 | 192 => "IEEE 802.11 frames with a radio header",
            147..=162 => "a type for private use",
            187 | 201 | 254 => "Bluetooth",
            189 | 220 | 249 => "USB",
            195 | 215 | 230 | 283 => "IEEE 802.15.4 frames",
            227 => "CAN bus",
            231 => "D-Bus",
            252 => "packets exported by Wireshark from an upper layer",
            253 => "Linux netlink",
            _ => return None,
        })
    }
}

const fn layer(link: LinkType) -> Option<NextHeader> {
    Some(match link {
        LinkType::ETHERNET => NextHeader::Ethernet,
        LinkType::NULL | LinkType::LOOP => NextHeader::Family,
        LinkType::DLT_RAW | LinkType::DLT_RAW_OPENBSD | LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => {
            NextHeader::Ip
        }
        LinkType::PFLOG | LinkType::ENC => NextHeader::Ip,
        LinkType::PPP | LinkType::PPP_HDLC | LinkType::PPP_WITH_DIR => NextHeader::Ppp,
        LinkType::PPP_ETHER => NextHeader::Pppoe,
        LinkType::C_HDLC => NextHeader::Hdlc,
        LinkType::LINUX_SLL => NextHeader::Cooked,
        LinkType::LINUX_SLL2 => NextHeader::Cooked2,
        LinkType::NFLOG => NextHeader::Nflog,
        LinkType::MPLS => NextHeader::Mpls,
        _ => return None,
    })
}

/// What frames of `link` begin with.
pub(super) fn first(link: LinkType, rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    match link {
        LinkType::PPP_WITH_DIR => rest.skip(1, NoSegment::Link)?,
        // The length of the header, without its padding.
        LinkType::PFLOG => rest.skip(usize::from(rest.first(NoSegment::Link)?).next_multiple_of(4), NoSegment::Link)?,
        LinkType::ENC => rest.skip(12, NoSegment::Link)?,
        _ => {}
    }
    layer(link).ok_or(NoSegment::Unread(Unread::LinkType(link.0)))
}

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const BRIDGED: u16 = 0x6558;
pub(super) const PPP: u16 = 0x880b;
pub(super) const ERSPAN: u16 = 0x88be;
pub(super) const ERSPAN_III: u16 = 0x22eb;
pub(super) const WCCP: u16 = 0x883e;
const MPLS_UNICAST: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;
pub(super) const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
const BACKBONE: u16 = 0x88e7;
const ETAG: u16 = 0x893f;
const VN_TAG: u16 = 0x8926;
const METADATA: u16 = 0x8909;
const FABRIC_PATH: u16 = 0x8903;
const TRILL: u16 = 0x22f3;
const REDUNDANCY: u16 = 0x892f;
const MACSEC: u16 = 0x88e5;
const NSH: u16 = 0x894f;
/// Below it the field is a length (IEEE 802.3 section 3.2.6).
const FIRST_ETHERTYPE: u16 = 0x0600;

pub(super) fn ethernet(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [.., a, b] = rest.take::<14>(NoSegment::Link)?;
    Ok(typed(u16::from_be_bytes([*a, *b])))
}

pub(super) fn ethertype(ethertype: u16, rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    match ethertype {
        IPV4 | IPV6 => Ok(NextHeader::Ip),
        MPLS_UNICAST | MPLS_MULTICAST => Ok(NextHeader::Mpls),
        PPPOE_SESSION => Ok(NextHeader::Pppoe),
        BRIDGED => Ok(NextHeader::Ethernet),
        PPP => Ok(NextHeader::Ppp),
        ETAG => {
            let [.., a, b] = rest.take::<8>(NoSegment::Link)?;
            Ok(typed(u16::from_be_bytes([*a, *b])))
        }
        // Cisco's tag of virtual interfaces: 4 bytes; redundancy of rings (IEC 62439-3): 4 bytes.
        VN_TAG | REDUNDANCY => {
            let [.., a, b] = rest.take::<6>(NoSegment::Link)?;
            Ok(typed(u16::from_be_bytes([*a, *b])))
        }
        // Cisco's metadata header, with a security group tag.
        METADATA => {
            let [.., a, b] = rest.take::<8>(NoSegment::Link)?;
            Ok(typed(u16::from_be_bytes([*a, *b])))
        }
        FABRIC_PATH => {
            rest.skip(2, NoSegment::Link)?;
            Ok(NextHeader::Ethernet)
        }
        // RFC 6325 section 3.
        TRILL => {
            let [high, low, ..] = *rest.take::<6>(NoSegment::Link)?;
            let options = usize::from((u16::from_be_bytes([high, low]) >> 6) & 0x1f);
            rest.skip(options * 4, NoSegment::Link)?;
            Ok(NextHeader::Ethernet)
        }
        MACSEC => macsec(rest),
        NSH => Ok(NextHeader::Nsh),
        BACKBONE => {
            // IEEE 802.1ah: the service instance tag, then the customer's frame.
            rest.skip(4, NoSegment::Link)?;
            Ok(NextHeader::Ethernet)
        }
        tag if VLAN.contains(&tag) => {
            let [_, _, a, b] = rest.take::<4>(NoSegment::Link)?;
            Ok(typed(u16::from_be_bytes([*a, *b])))
        }
        // Linux cooked captures use these two for frames without an EtherType.
        0x0001 | 0x0004 => Ok(NextHeader::Llc),
        other if carries_no_ip(other) => Err(NoSegment::NotIp),
        other => Err(NoSegment::Unread(Unread::EtherType(other))),
    }
}

/// EtherTypes of protocols that control a link or are networks of their own.
fn carries_no_ip(ethertype: u16) -> bool {
    // ARP, RARP, Wake-on-LAN, CDP and its kin, DEC, AppleTalk, IPX, loopback tests, Profinet, EtherCAT, flow control,
    // LACP, PPPoE discovery, 802.1X, LLDP, MRP, PTP, PRP, fault management, FCoE and its control, RoCE, MVRP, TDLS,
    // and what Linux cooked captures use for frames that are of no network (loopback, CAN, raw 802.3).
    matches!(
        ethertype,
        0x0806 | 0x8035 | 0x0842 | 0x2000..=0x2004 | 0x010b | 0x0111 | 0x6000..=0x6007 | 0x809b | 0x80f3 | 0x8137 | 0x8138
            | 0x9000 | 0x9003 | 0x8892 | 0x88a4 | 0x8808 | 0x8809 | 0x8863 | 0x888e | 0x88cc | 0x88e3 | 0x88f7 | 0x88fb
            | 0x8902 | 0x8906 | 0x8914 | 0x8915 | 0x88f5 | 0x88f6 | 0x890d | 0x8899 | 0x88b8 | 0x88ba | 0x88d9 | 0x88c7 | 0x0000
            | 0x0002 | 0x0003 | 0x000c | 0x000d
    )
}

/// IEEE 802.1AE: integrity alone leaves the frame readable.
fn macsec(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    const ENCRYPTED: u8 = 0x08;
    const CHANGED: u8 = 0x04;
    const IDENTIFIED: u8 = 0x20;
    let [flags, ..] = *rest.take::<6>(NoSegment::Link)?;
    if flags & (ENCRYPTED | CHANGED) != 0 {
        return Err(NoSegment::Unread(Unread::Encrypted("MACsec")));
    }
    rest.skip(if flags & IDENTIFIED == 0 { 0 } else { 8 }, NoSegment::Link)?;
    let [a, b] = *rest.take::<2>(NoSegment::Link)?;
    Ok(typed(u16::from_be_bytes([a, b])))
}

/// IEEE 802.2, and SNAP (RFC 1042).
pub(super) fn llc(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    match rest.take::<3>(NoSegment::Link)? {
        [0xaa, 0xaa, 0x03] => {
            let [_, _, _, a, b] = rest.take::<5>(NoSegment::Link)?;
            Ok(NextHeader::Type(u16::from_be_bytes([*a, *b])))
        }
        [0x06, 0x06, 0x03] => Ok(NextHeader::Ip),
        // Spanning tree, IS-IS, NetBIOS, IPX, and tests.
        [0x42 | 0xfe | 0xf0 | 0xe0 | 0xff | 0x00 | 0xaa, ..] => Err(NoSegment::NotIp),
        [point, ..] => Err(NoSegment::Unread(Unread::Llc(*point))),
    }
}

/// BSD loopback. IPv6 has a number of its own on every system.
pub(super) fn family(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let octets = *rest.take::<4>(NoSegment::Link)?;
    let (little, big) = (u32::from_le_bytes(octets), u32::from_be_bytes(octets));
    match little.min(big) {
        2 | 10 | 23 | 24 | 28 | 30 => Ok(NextHeader::Ip),
        _ => Err(NoSegment::NotIp),
    }
}

pub(super) fn cooked(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [.., a, b] = rest.take::<16>(NoSegment::Link)?;
    Ok(NextHeader::Type(u16::from_be_bytes([*a, *b])))
}

pub(super) fn cooked2(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [a, b, ..] = rest.take::<20>(NoSegment::Link)?;
    Ok(NextHeader::Type(u16::from_be_bytes([*a, *b])))
}

/// Linux netfilter log: a family, then attributes, one of which is the packet.
pub(super) fn nflog(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    const PAYLOAD: u16 = 9;
    let [family, ..] = rest.take::<4>(NoSegment::Link)?;
    if !matches!(family, 2 | 10) {
        return Err(NoSegment::NotIp);
    }
    // Ten attributes are known.
    for _ in 0..32 {
        let [l0, l1, t0, t1] = *rest.take::<4>(NoSegment::Link)?;
        let length = usize::from(u16::from_le_bytes([l0, l1])).checked_sub(4).ok_or(NoSegment::Link)?;
        if u16::from_le_bytes([t0, t1]) & 0x7fff == PAYLOAD {
            return Ok(NextHeader::Ip);
        }
        rest.skip(length.next_multiple_of(4), NoSegment::Link)?;
    }
    Err(NoSegment::Link)
}

pub(super) fn hdlc(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [_, _, a, b] = rest.take::<4>(NoSegment::Link)?;
    Ok(NextHeader::Type(u16::from_be_bytes([*a, *b])))
}

/// RFC 1661, in HDLC-like framing (RFC 1662) or bare; the protocol field may be one octet (section 6.5).
pub(super) fn ppp(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    match rest.data {
        [0xff, 0x03, ..] => rest.skip(2, NoSegment::Link)?,
        // Cisco's framing on the same link type.
        [0x0f | 0x8f, 0x00, ..] => return Ok(NextHeader::Hdlc),
        _ => {}
    }
    let [high] = *rest.take::<1>(NoSegment::Link)?;
    let protocol = if high & 1 == 1 {
        u16::from(high)
    } else {
        let [low] = *rest.take::<1>(NoSegment::Link)?;
        u16::from_be_bytes([high, low])
    };
    match protocol {
        0x0021 | 0x0057 => Ok(NextHeader::Ip),
        0x0281 | 0x0283 => Ok(NextHeader::Mpls),
        0x0053 | 0x0055 => Err(NoSegment::Unread(Unread::Encrypted("PPP encryption"))),
        // Compressed: what was sent before would have to be known.
        0x00fd | 0x00fb | 0x002d | 0x002f | 0x0061 | 0x2061 | 0x0161 => Err(NoSegment::Unread(Unread::Ppp(protocol))),
        // Padding, and the control protocols (RFC 1661 section 2).
        0x0001 | 0x8000..=0xffff => Err(NoSegment::NotIp),
        other => Err(NoSegment::Unread(Unread::Ppp(other))),
    }
}

/// RFC 2516 section 4: session packets only, discovery has another EtherType.
pub(super) fn pppoe(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let [0x11, code, _, _, a, b] = *rest.take::<6>(NoSegment::Link)? else {
        return Err(NoSegment::Link);
    };
    if code != 0 {
        return Err(NoSegment::NotIp);
    }
    let length = usize::from(u16::from_be_bytes([a, b]));
    if length < rest.wire {
        rest.limit(length);
    }
    Ok(NextHeader::Ppp)
}

/// RFC 3032. Nothing says what a label stack carries: IP is told by its first nibble, an Ethernet pseudowire by its
/// control word (RFC 4448 section 4.6) or by an EtherType where a frame has one.
pub(super) fn mpls(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    // Real stacks have less than ten labels.
    for _ in 0..32 {
        let [_, _, bottom, _] = rest.take::<4>(NoSegment::Link)?;
        if bottom & 1 == 1 {
            return beneath(rest);
        }
    }
    Err(NoSegment::Link)
}

fn beneath(rest: &mut Rest<'_>) -> Result<NextHeader, NoSegment> {
    let plausible = |at: usize| rest.u16_at(at + 12).is_some_and(|t| matches!(t, IPV4 | IPV6) || VLAN.contains(&t));
    match rest.data {
        [0x45..=0x4f, ..] if !plausible(0) => Ok(NextHeader::Ip),
        [first, ..] if first >> 4 == 4 && ip_length_fits(rest) => Ok(NextHeader::Ip),
        [first, ..] if first >> 4 == 6 && !plausible(0) => Ok(NextHeader::Ip),
        [0, 0, _, _, ..] if plausible(4) || !plausible(0) => {
            rest.skip(4, NoSegment::Link)?;
            Ok(NextHeader::Ethernet)
        }
        [] => Err(rest.missing(1, NoSegment::Link)),
        _ if plausible(0) => Ok(NextHeader::Ethernet),
        _ => Err(NoSegment::NotIp),
    }
}

fn ip_length_fits(rest: &Rest<'_>) -> bool {
    rest.u16_at(2).is_some_and(|total| (20..=rest.wire).contains(&usize::from(total)))
}

fn typed(field: u16) -> NextHeader {
    if field < FIRST_ETHERTYPE { NextHeader::Llc } else { NextHeader::Type(field) }
}

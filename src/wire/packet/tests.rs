use std::time::Duration;

use proptest::prelude::*;

use super::*;

const PAYLOAD: &[u8] = b"EHLO example.org\r\n";
const FROM: [u8; 4] = [192, 0, 2, 1];
const TO: [u8; 4] = [192, 0, 2, 2];

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn segment() -> Vec<u8> {
    let header = [0x9c, 0x40, 0, 25, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 1, 0, 0xba, 0xad, 0, 0];
    join(&[&header, PAYLOAD])
}

fn v4_with(protocol: u8, id: u16, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((20 + payload.len() as u16).to_be_bytes());
    header.extend(id.to_be_bytes());
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    join(&[&header, &FROM, &TO, payload])
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_with(protocol, 1, 0x4000, payload)
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((payload.len() as u16).to_be_bytes());
    header.extend([next, 64]);
    let host = |last: u8| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    join(&[&header, &host(1), &host(2), payload])
}

fn ether(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2], &ethertype.to_be_bytes(), payload])
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    v4(17, &join(&[&[0xc0, 0], &port.to_be_bytes(), &length, &[0, 0], payload]))
}

fn packet(link: LinkType, data: &[u8]) -> Packet<'_> {
    Packet { at: Timestamp::from_parts(100, 0), source: 3, link, data, wire_len: data.len() as u32 }
}

/// Whether the frame gives the segment of these tests, whole.
#[track_caller]
fn gives(link: LinkType, data: &[u8]) {
    let mut decoder = Decoder::new(DecoderLimits::default());
    let found = decoder.decode(&packet(link, data)).map(|s| (s.payload.to_vec(), s.seq, s.ack, s.to.port(), s.cut));
    assert_eq!(found, Some((PAYLOAD.to_vec(), 7, Some(9), 25, 0)), "{:?}", decoder.counters());
    // However it is cut or spoiled, nothing breaks.
    for n in 0..data.len() {
        let cut = Packet { data: &data[..n], ..packet(link, data) };
        assert!(decoder.decode(&cut).is_none_or(|s| s.payload.len() + s.cut as usize == PAYLOAD.len()), "{n}");
        let mut spoiled = data.to_vec();
        spoiled[n] ^= 0xff;
        decoder.decode(&packet(link, &spoiled));
    }
}

#[track_caller]
fn counts(link: LinkType, data: &[u8], counter: impl Fn(&DecodeCounters) -> u64) {
    let mut decoder = Decoder::new(DecoderLimits::default());
    assert!(decoder.decode(&packet(link, data)).is_none());
    assert_eq!(counter(decoder.counters()), 1, "{:?}", decoder.counters());
}

fn ip() -> Vec<u8> {
    v4(6, &segment())
}

fn ip6() -> Vec<u8> {
    v6(6, &segment())
}

fn frame() -> Vec<u8> {
    ether(0x0800, &ip())
}

#[test]
fn ethernet_in_its_forms() {
    gives(LinkType::ETHERNET, &frame());
    gives(LinkType::ETHERNET, &ether(0x86dd, &ip6()));
    let snap = join(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &ip()]);
    gives(LinkType::ETHERNET, &ether(snap.len() as u16, &snap));
    gives(LinkType::ETHERNET, &ether(60, &join(&[&[6, 6, 3], &ip()])));
    counts(LinkType::ETHERNET, &ether(0x0806, &[0; 28]), |c| c.not_ip);
    counts(LinkType::ETHERNET, &ether(0x8863, &[0x11, 9, 0, 0, 0, 0]), |c| c.not_ip);
}

#[test]
fn tags_of_every_kind() {
    for tag in [0x8100, 0x88a8, 0x9100, 0x9200] {
        gives(LinkType::ETHERNET, &ether(tag, &join(&[&[0, 5, 8, 0], &ip()])));
    }
    gives(LinkType::ETHERNET, &ether(0x88a8, &join(&[&[0, 5, 0x81, 0, 0, 6, 0x86, 0xdd], &ip6()])));
    gives(LinkType::ETHERNET, &ether(0x893f, &join(&[&[0, 0, 0, 1, 0, 0, 8, 0], &ip()])));
    gives(LinkType::ETHERNET, &ether(0x88e7, &join(&[&[0, 0, 0, 1], &frame()])));
    counts(LinkType::ETHERNET, &ether(0x8100, &[0x00, 0x01, 0x81, 0x00].repeat(80)), |c| c.too_deep);
}

#[test]
fn raw_and_loopback() {
    for number in [12, 14, 101] {
        gives(LinkType(number), &ip());
        gives(LinkType(number), &ip6());
    }
    gives(LinkType::IPV4, &ip());
    gives(LinkType::IPV6, &ip6());
    for link in [LinkType::NULL, LinkType::LOOP] {
        gives(link, &join(&[&[2, 0, 0, 0], &ip()]));
        gives(link, &join(&[&[0, 0, 0, 2], &ip()]));
        for family in [10, 23, 24, 28, 30] {
            gives(link, &join(&[&[family, 0, 0, 0], &ip6()]));
            gives(link, &join(&[&[0, 0, 0, family], &ip6()]));
        }
    }
    counts(LinkType(105), &ip(), |c| c.unread[UnreadClass::Link.index()]);
    assert!(LinkType::RAW.is_known() && !LinkType(105).is_known());
}

#[test]
fn linux_cooked() {
    let v1 = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    gives(LinkType::LINUX_SLL, &join(&[&v1, &[8, 0], &ip()]));
    gives(LinkType::LINUX_SLL, &join(&[&v1, &[0x81, 0, 0, 5, 0x86, 0xdd], &ip6()]));
    gives(LinkType::LINUX_SLL, &join(&[&v1, &[0, 4, 6, 6, 3], &ip()]));
    let v2 = [0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    gives(LinkType::LINUX_SLL2, &join(&[&[8, 0], &v2, &ip()]));
    let nflog = [2, 0, 0, 1, 8, 0, 1, 0, 0, 0, 0, 0, 5, 0, 10, 0, 0, 0, 0, 0, 62, 0, 9, 0];
    gives(LinkType::NFLOG, &join(&[&nflog, &ip()]));
}

#[test]
fn ppp_and_pppoe() {
    for link in [LinkType::PPP, LinkType::PPP_HDLC] {
        gives(link, &join(&[&[0xff, 3, 0, 0x21], &ip()]));
        gives(link, &join(&[&[0, 0x21], &ip()]));
        gives(link, &join(&[&[0x21], &ip()]));
        gives(link, &join(&[&[0xff, 3, 0x57], &ip6()]));
        gives(link, &join(&[&[0x0f, 0, 8, 0], &ip()]));
        counts(link, &[0xff, 3, 0xc0, 0x21, 1, 1, 0, 4], |c| c.not_ip);
    }
    gives(LinkType::PPP_WITH_DIR, &join(&[&[1, 0xff, 3, 0, 0x21], &ip()]));
    gives(LinkType::C_HDLC, &join(&[&[0x0f, 0, 8, 0], &ip()]));
    let session = join(&[&[0x11, 0, 0, 1, 0, 60, 0, 0x21], &ip(), &[0; 9]]);
    gives(LinkType::ETHERNET, &ether(0x8864, &session));
    gives(LinkType::PPP_ETHER, &session);
    counts(LinkType::PPP_ETHER, &[0x22, 0, 0, 1, 0, 2, 0, 0x21], |c| c.malformed_link);
}

#[test]
fn labels_carry_ip_or_ethernet() {
    let stack = [0, 1, 0, 64, 0, 2, 1, 64];
    gives(LinkType::ETHERNET, &ether(0x8847, &join(&[&stack, &ip()])));
    gives(LinkType::ETHERNET, &ether(0x8848, &join(&[&stack, &ip6()])));
    gives(LinkType::MPLS, &join(&[&stack, &[0, 0, 0, 7], &frame()]));
    gives(LinkType::MPLS, &join(&[&stack, &frame()]));
    counts(LinkType::MPLS, &[0, 1, 0, 64].repeat(40), |c| c.malformed_link);
}

#[test]
fn gre_in_its_versions() {
    let gre = |head: &[u8], payload: &[u8]| v4(47, &join(&[head, payload]));
    gives(LinkType::RAW, &gre(&[0, 0, 8, 0], &ip()));
    gives(LinkType::RAW, &gre(&[0xb0, 0, 0x86, 0xdd, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2], &ip6()));
    gives(LinkType::RAW, &gre(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 1], &frame()));
    gives(LinkType::RAW, &gre(&[0x30, 0x81, 0x88, 0x0b, 0, 60, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21], &ip()));
    gives(LinkType::RAW, &gre(&[0, 0, 0x88, 0xbe], &frame()));
    gives(LinkType::RAW, &gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 0, 0, 0, 0, 0], &frame()));
    let three = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    gives(LinkType::RAW, &gre(&three, &frame()));
    gives(LinkType::RAW, &gre(&[0, 0, 0x88, 0x3e, 0, 0, 0, 0], &ip()));
    counts(LinkType::RAW, &gre(&[0x20, 1, 0x88, 0x0b, 0, 0, 0, 1], &[]), |c| c.not_ip);
    counts(LinkType::RAW, &gre(&[0x40, 0, 8, 0, 0, 0, 0, 0], &ip()), |c| c.malformed_tunnel);
    counts(LinkType::RAW, &gre(&[0, 5, 8, 0], &ip()), |c| c.malformed_tunnel);
}

#[test]
fn tunnels_over_udp() {
    for port in [4789, 8472] {
        gives(LinkType::RAW, &udp(port, &join(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame()])));
    }
    gives(LinkType::RAW, &udp(4790, &join(&[&[0x0c, 0, 0, 1, 0, 0, 1, 0], &ip()])));
    gives(LinkType::RAW, &udp(6081, &join(&[&[0, 0, 0x65, 0x58, 0, 0, 1, 0], &frame()])));
    gives(LinkType::RAW, &udp(6081, &join(&[&[2, 0, 8, 0, 0, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8], &ip()])));
    gives(LinkType::RAW, &udp(2152, &join(&[&[0x30, 255, 0, 58, 0, 0, 0, 1], &ip()])));
    let extended = [0x34, 255, 0, 70, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0x10, 1, 0x40, 1, 9, 9, 0];
    gives(LinkType::RAW, &udp(2152, &join(&[&extended, &ip()])));
    gives(LinkType::RAW, &udp(2152, &join(&[&[0x32, 255, 0, 62, 0, 0, 0, 1, 0, 1, 0, 0], &ip()])));
    gives(LinkType::RAW, &udp(4754, &join(&[&[0, 0, 8, 0], &ip()])));
    gives(LinkType::RAW, &udp(6635, &join(&[&[0, 1, 1, 64], &ip()])));
    counts(LinkType::RAW, &udp(2152, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]), |c| c.not_ip);
    counts(LinkType::RAW, &udp(4789, &[0; 40]), |c| c.malformed_tunnel);
    let endless = [0x34, 255, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0x85, 0, 0];
    counts(LinkType::RAW, &udp(2152, &endless), |c| c.malformed_tunnel);
    counts(LinkType::RAW, &udp(53, &[0; 40]), |c| c.not_tcp);
}

#[test]
fn ip_in_ip() {
    gives(LinkType::RAW, &v4(4, &ip()));
    gives(LinkType::RAW, &v4(41, &ip6()));
    gives(LinkType::RAW, &v6(41, &ip6()));
    gives(LinkType::RAW, &v6(4, &ip()));
    gives(LinkType::RAW, &v4(97, &join(&[&[0x30, 0], &frame()])));
    gives(LinkType::RAW, &v4(137, &join(&[&[0, 1, 1, 64], &ip()])));
    let nested = |n: usize| (0..n).fold(ip(), |inner, _| v4(4, &inner));
    gives(LinkType::RAW, &nested(7));
    counts(LinkType::RAW, &nested(8), |c| c.too_deep);
}

#[test]
fn extension_headers_are_passed() {
    let chain = join(&[
        &[43, 0, 1, 4, 0, 0, 0, 0],
        &[60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[135, 0, 1, 4, 0, 0, 0, 0],
        &[51, 0, 0, 0, 0, 0, 0, 0],
        &[44, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[6, 0, 0, 0, 0, 0, 0, 9],
        &segment(),
    ]);
    gives(LinkType::RAW, &v6(0, &chain));
    counts(LinkType::RAW, &v6(59, &[]), |c| c.not_tcp);
    counts(LinkType::RAW, &v6(58, &[0; 8]), |c| c.not_tcp);
    counts(LinkType::RAW, &v6(0, &[6, 9, 0, 0]), |c| c.malformed_ip);
}

#[test]
fn padding_is_no_payload_and_length_0_is_the_frame() {
    gives(LinkType::ETHERNET, &join(&[&frame(), &[0x55; 20]]));
    let mut offloaded = frame();
    offloaded[16..18].fill(0);
    gives(LinkType::ETHERNET, &offloaded);
    let mut offloaded = ether(0x86dd, &ip6());
    offloaded[18..20].fill(0);
    gives(LinkType::ETHERNET, &offloaded);
}

#[test]
fn the_snap_length_cuts_by_size() {
    let data = join(&[&frame(), &[0x55; 20]]);
    let cut = Packet { data: &data[..14 + 20 + 20 + 5], ..packet(LinkType::ETHERNET, &data) };
    let mut decoder = Decoder::new(DecoderLimits::default());
    let segment = decoder.decode(&cut).unwrap();
    assert_eq!((segment.payload, segment.cut), (&PAYLOAD[..5], PAYLOAD.len() as u32 - 5));
    let headers = Packet { data: &data[..14 + 20 + 19], ..cut };
    assert!(decoder.decode(&headers).is_none());
    assert_eq!(decoder.counters().cut_header, 1);
    let mut long = v4(6, &[0; 10]);
    long.truncate(30);
    counts(LinkType::RAW, &long, |c| c.malformed_transport);
    let mut offset = ip();
    offset[32] = 0xf0;
    counts(LinkType::RAW, &offset, |c| c.malformed_transport);
}

fn pieces(payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let piece = |(n, part): (usize, &[u8])| {
        let more = if n + 1 < count { 0x2000 } else { 0 };
        v4_with(6, 77, more | (n * size / 8) as u16, part)
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

fn decoded(decoder: &mut Decoder, at: u64, link: LinkType, data: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet { at: Timestamp::from_parts(at, 0), ..packet(link, data) };
    decoder.decode(&packet).map(|s| s.payload.to_vec())
}

#[test]
fn fragments_in_any_order_and_in_tunnels() {
    let parts = pieces(&segment(), 8);
    for rotate in 0..parts.len() {
        let mut order = parts.clone();
        order.rotate_left(rotate);
        order.insert(1, order[0].clone());
        let mut decoder = Decoder::new(DecoderLimits::default());
        let wrap = |part: &Vec<u8>| v4(4, part);
        let found: Vec<_> = order.iter().filter_map(|p| decoded(&mut decoder, 0, LinkType::RAW, &wrap(p))).collect();
        assert_eq!(found, [PAYLOAD], "{rotate}");
        let counters = decoder.counters();
        assert_eq!((counters.datagrams_completed, counters.fragments_kept), (1, parts.len() as u64));
    }
}

#[test]
fn fragments_of_ipv6() {
    let whole = segment();
    let head = |offset: u16, more: u16| join(&[&[6, 0], &(offset | more).to_be_bytes(), &[0, 0, 0, 5]]);
    let mut decoder = Decoder::new(DecoderLimits::default());
    let last = v6(44, &join(&[&head(24, 0), &whole[24..]]));
    let first = v6(44, &join(&[&head(0, 1), &whole[..24]]));
    assert_eq!(decoded(&mut decoder, 0, LinkType::RAW, &last), None);
    assert_eq!(decoded(&mut decoder, 0, LinkType::RAW, &first).as_deref(), Some(PAYLOAD));
}

#[test]
fn fragments_of_fragments() {
    let mut decoder = Decoder::new(DecoderLimits::default());
    let mut found = vec![];
    for (n, inner) in pieces(&segment(), 24).into_iter().enumerate() {
        let outer = v4(4, &inner);
        for (from, to, flags) in [(20, 36, 0x2000), (36, outer.len(), 2)] {
            let part = v4_with(4, 200 + n as u16, flags, &outer[from..to]);
            found.extend(decoded(&mut decoder, 0, LinkType::RAW, &part));
        }
    }
    assert_eq!(found, [PAYLOAD]);
}

#[test]
fn the_first_octets_of_overlapping_fragments_win() {
    let whole = segment();
    let mut other = whole.clone();
    other[20..].fill(b'!');
    let mut decoder = Decoder::new(DecoderLimits::default());
    let parts = [
        v4_with(6, 1, 0x2000 | 2, &whole[16..32]),
        v4_with(6, 1, 0x2000, &other[..32]),
        v4_with(6, 1, 3, &other[24..]),
    ];
    let found: Vec<_> = parts.iter().filter_map(|p| decoded(&mut decoder, 0, LinkType::RAW, p)).collect();
    assert_eq!(found, [b"EHLO example!!!!!!"[..12].iter().chain(b"!!!!!!").copied().collect::<Vec<_>>()]);
}

#[test]
fn fragments_do_not_wait_for_ever() {
    let parts = pieces(&segment(), 24);
    let mut decoder = Decoder::new(DecoderLimits::default());
    assert_eq!(decoded(&mut decoder, 1, LinkType::RAW, &parts[0]), None);
    assert_eq!(decoded(&mut decoder, 32, LinkType::RAW, &parts[1]), None);
    assert_eq!(decoder.counters().datagrams_dropped, 1);
    assert_eq!(decoded(&mut decoder, 33, LinkType::RAW, &parts[0]).as_deref(), Some(PAYLOAD));
}

#[test]
fn a_flood_of_fragments_is_bounded() {
    let limits = FragmentLimits { datagrams: 16, octets: 20_000, pieces: 8, age: Duration::from_secs(30) };
    let mut decoder = Decoder::new(DecoderLimits { fragments: limits, ..DecoderLimits::default() });
    for n in 0..10_000_u16 {
        let part = v4_with(6, n / 2, 0x2000 | ((n % 2) * 400), &[0; 1400]);
        assert_eq!(decoded(&mut decoder, 0, LinkType::RAW, &part), None);
        assert!(decoder.fragments.octets() <= 20_000);
    }
    assert!(decoder.counters().datagrams_dropped > 4900);
    for n in 0..20 {
        let scattered = v4_with(6, 9, 0x2000 | (n * 2), &[0; 8]);
        assert_eq!(decoded(&mut decoder, 0, LinkType::RAW, &scattered), None);
    }
    assert!(decoder.counters().fragments_dropped > 0);
}

#[test]
fn fragments_that_cannot_be_are_dropped() {
    let mut decoder = Decoder::new(DecoderLimits::default());
    let beyond = v4_with(6, 1, 0x1fff, &[0; 100]);
    let odd = v4_with(6, 1, 0x2000, &[0; 13]);
    let end = v4_with(6, 2, 2, &[0; 8]);
    let after_end = v4_with(6, 2, 0x2000 | 4, &[0; 8]);
    for part in [&beyond, &odd, &end, &after_end] {
        assert_eq!(decoded(&mut decoder, 0, LinkType::RAW, part), None);
    }
    let whole = v4_with(6, 3, 0x2000, &[0; 80]);
    let cut = Packet { data: &whole[..60], ..packet(LinkType::RAW, &whole) };
    assert!(decoder.decode(&cut).is_none());
    assert_eq!((decoder.counters().fragments_dropped, decoder.counters().fragments_kept), (4, 1));
}

#[test]
fn every_packet_is_counted_once() {
    let mut decoder = Decoder::new(DecoderLimits::default());
    for data in [frame(), ether(0x0806, &[0; 28]), udp(53, b"x"), vec![], vec![0; 13], ether(0x0800, &[0x45])] {
        decoder.decode(&packet(LinkType::ETHERNET, &data));
    }
    let c = decoder.counters();
    assert_eq!(c.packets, 6);
    let unread = c.unread.iter().sum::<u64>();
    assert_eq!(c.segments + c.not_ip + c.not_tcp + unread + c.malformed_link + c.malformed_ip + c.cut_header, 6);
}

proptest! {
    #[test]
    fn noise_never_panics(link in prop::sample::select(vec![0_u16, 1, 9, 50, 51, 101, 104, 113, 204, 219, 239, 276]), data in prop::collection::vec(any::<u8>(), 0..200), wire_len: u32) {
        let mut decoder = Decoder::new(DecoderLimits::default());
        let source = packet(LinkType(link), &data);
        if let Some(segment) = decoder.decode(&Packet { wire_len, ..source }) {
            prop_assert!(segment.payload.len() <= data.len());
        }
    }

    #[test]
    fn noise_behind_a_good_start_never_panics(at in 0..60_usize, noise in prop::collection::vec(any::<u8>(), 0..80), protocol: u8) {
        let inner = v4(protocol, &join(&[&noise, &ip()]));
        let mut data = ether(0x0800, &inner);
        data.splice(at.min(data.len()).., noise);
        let mut decoder = Decoder::new(DecoderLimits::default());
        decoder.decode(&packet(LinkType::ETHERNET, &data));
        decoder.decode(&packet(LinkType::ETHERNET, &ether(0x0800, &inner)));
        prop_assert_eq!(decoder.counters().packets, 2);
    }
}

#[test]
fn tags_and_fabrics_of_data_centres() {
    let tagged = |ethertype, tag: &[u8]| ether(ethertype, &join(&[tag, &[8, 0], &ip()]));
    gives(LinkType::ETHERNET, &tagged(0x8926, &[0x80, 1, 0, 2]));
    gives(LinkType::ETHERNET, &ether(0x8926, &join(&[&[0; 4], &[0x81, 0, 0, 5, 0x86, 0xdd], &ip6()])));
    gives(LinkType::ETHERNET, &tagged(0x892f, &[0, 60, 0, 1]));
    gives(LinkType::ETHERNET, &tagged(0x8909, &[1, 1, 0, 1, 0, 7]));
    gives(LinkType::ETHERNET, &ether(0x8903, &join(&[&[0, 0x40], &frame()])));
    gives(LinkType::ETHERNET, &ether(0x22f3, &join(&[&[0, 0x3f, 0, 1, 0, 2], &frame()])));
    gives(LinkType::ETHERNET, &ether(0x22f3, &join(&[&[0, 0x7f, 0, 1, 0, 2, 9, 9, 9, 9], &frame()])));
    gives(LinkType::ETHERNET, &tagged(0x88e5, &[0, 0, 0, 0, 0, 1]));
    gives(LinkType::ETHERNET, &tagged(0x88e5, &[0x20, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]));
    not_understood(LinkType::ETHERNET, &tagged(0x88e5, &[0x2c, 0, 0, 0, 0, 1]), Unread::Encrypted("MACsec"));
    gives(LinkType::ETHERNET, &ether(0x894f, &join(&[&[0, 2, 1, 1, 0, 0, 1, 255], &ip()])));
    gives(LinkType::ETHERNET, &ether(0x894f, &join(&[&[0, 6, 1, 3, 0, 0, 1, 255], &[7; 16], &frame()])));
    counts(LinkType::ETHERNET, &ether(0x894f, &[0, 1, 1, 1, 0, 0, 1, 255]), |c| c.malformed_tunnel);
}

#[test]
fn logs_of_packet_filters() {
    gives(LinkType::PFLOG, &join(&[&[61, 2, 0, 0], &[0; 60], &ip()]));
    gives(LinkType::ENC, &join(&[&[2, 0, 0, 0], &[0; 8], &ip()]));
}

#[test]
fn l2tp_of_both_versions() {
    let ppp = |head: &[u8]| udp(1701, &join(&[head, &[0xff, 3, 0, 0x21], &ip()]));
    gives(LinkType::RAW, &ppp(&[0, 2, 0, 1, 0, 2]));
    let length = (8 + 4 + ip().len() as u16).to_be_bytes();
    gives(LinkType::RAW, &ppp(&[0x40, 2, length[0], length[1], 0, 1, 0, 2]));
    gives(LinkType::RAW, &ppp(&[0x4a, 2, 0, 0, 0, 1, 0, 2, 0, 5, 0, 0, 0, 3, 9, 9, 9]));
    counts(LinkType::RAW, &udp(1701, &[0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]), |c| c.not_tcp);
    for cookie in [&[][..], &[1, 2, 3, 4], &[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4, 5, 6, 7, 8, 0x40, 0, 0, 1]] {
        for payload in [frame(), ip(), join(&[&[0xff, 3, 0, 0x21], &ip()])] {
            gives(LinkType::RAW, &v4(115, &join(&[&[0, 0, 0, 9], cookie, &payload])));
            gives(LinkType::RAW, &udp(1701, &join(&[&[0, 3, 0, 0, 0, 0, 0, 9], cookie, &payload])));
        }
    }
    counts(LinkType::RAW, &v4(115, &[0, 0, 0, 0, 0xc8, 3]), |c| c.not_tcp);
    not_understood(LinkType::RAW, &v4(115, &[0, 0, 0, 9, 7, 7, 7, 7, 7, 7]), Unread::Tunnel("L2TP"));
}

#[test]
fn ipv6_in_teredo() {
    gives(LinkType::RAW, &udp(3544, &ip6()));
    gives(LinkType::RAW, &udp(3544, &join(&[&[0, 0, 0x12, 0x34, 1, 2, 3, 4], &ip6()])));
    gives(LinkType::RAW, &udp(3544, &join(&[&[0, 1, 2, 3], &[9; 5], &[0; 9], &[0, 0, 1, 2, 3, 4, 5, 6], &ip6()])));
    // Between clients: any port, but an address of its own.
    let mut inner = ip6();
    inner[8..12].copy_from_slice(&[0x20, 1, 0, 0]);
    let decoded = |data: &[u8]| {
        let mut decoder = Decoder::new(DecoderLimits::default());
        decoder.decode(&packet(LinkType::RAW, data)).is_some()
    };
    assert!(decoded(&udp(50_000, &inner)));
    assert!(!decoded(&udp(50_000, &ip6())), "IPv6 in UDP is no Teredo by itself");
}

#[test]
fn generic_udp_encapsulation() {
    gives(LinkType::RAW, &udp(6080, &join(&[&[0, 4, 0, 0], &ip()])));
    gives(LinkType::RAW, &udp(6080, &join(&[&[2, 41, 0, 0], &[0; 8], &ip6()])));
    gives(LinkType::RAW, &udp(6080, &join(&[&[0, 6, 0, 0], &segment()])));
    gives(LinkType::RAW, &udp(6080, &ip()));
    gives(LinkType::RAW, &udp(6080, &ip6()));
    counts(LinkType::RAW, &udp(6080, &[0x20, 1, 0, 0]), |c| c.not_tcp);
    counts(LinkType::RAW, &udp(6080, &[0xc0, 1, 0, 0]), |c| c.malformed_tunnel);
}

#[test]
fn other_overlays_and_mirrors() {
    gives(LinkType::RAW, &udp(4341, &join(&[&[0; 8], &ip()])));
    gives(LinkType::RAW, &udp(37008, &join(&[&[1, 0, 0, 1, 10, 1, 200, 0, 1], &frame()])));
    not_understood(LinkType::RAW, &udp(37008, &[1, 0, 0, 18, 1]), Unread::Tunnel("TZSP"));
    let eoip = join(&[&[0x20, 1, 0x64, 0, 0, 60, 7, 0], &frame()]);
    gives(LinkType::RAW, &v4(47, &eoip));
    gives(LinkType::RAW, &v4(143, &frame()));
    gives(LinkType::RAW, &v4(145, &join(&[&[0, 2, 1, 1, 0, 0, 1, 255], &ip()])));
    // Tunnels in tunnels end somewhere.
    let deep = (0..9).fold(ip(), |inner, _| udp(6080, &inner));
    counts(LinkType::RAW, &deep, |c| c.too_deep);
    counts(LinkType::ETHERNET, &ether(0x894f, &[0, 2, 1, 4, 0, 0, 1, 255].repeat(80)), |c| c.too_deep);
}

/// Whether the packet is told as one of a kind that is not known.
#[track_caller]
fn not_understood(link: LinkType, data: &[u8], kind: Unread) {
    let mut decoder = Decoder::new(DecoderLimits::default());
    assert!(decoder.decode(&packet(link, data)).is_none());
    assert_eq!(decoder.unread().kinds(), [(kind, 1)]);
    assert_eq!(decoder.counters().unread[kind.class().index()], 1);
}

#[test]
fn what_is_not_understood_is_counted_by_kind() {
    not_understood(LinkType::ETHERNET, &ether(0x1234, &[0; 28]), Unread::EtherType(0x1234));
    not_understood(LinkType::ETHERNET, &ether(3, &[0x4e, 0x4e, 3]), Unread::Llc(0x4e));
    not_understood(LinkType::RAW, &v4(50, &[0; 28]), Unread::Encrypted("IPsec"));
    not_understood(LinkType::RAW, &v6(50, &[0; 28]), Unread::Encrypted("IPsec"));
    not_understood(LinkType::RAW, &v4(99, &[0; 28]), Unread::Ip(99));
    not_understood(LinkType::PPP, &[0xff, 3, 0, 0xfd, 1, 2], Unread::Ppp(0xfd));
    not_understood(LinkType(105), &ip(), Unread::LinkType(105));
    assert_eq!(Unread::EtherType(0x1234).to_string(), "with EtherType 0x1234");
    // What is known to carry no mail is not among them.
    for (ethertype, protocol) in [(0x0806, 1), (0x88cc, 58), (0x8809, 89), (0x88f7, 132)] {
        counts(LinkType::ETHERNET, &ether(ethertype, &[0; 28]), |c| c.not_ip);
        counts(LinkType::RAW, &v4(protocol, &[0; 28]), |c| c.not_tcp);
    }
}

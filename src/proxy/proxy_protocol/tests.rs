//! Headers by hand, against a model, and against another implementation.

use std::net::{Ipv4Addr, Ipv6Addr};

use ::proxy_header::{ParseConfig, ProxyHeader};
use proptest::prelude::*;

use super::*;
use crate::engine::proxy_header::{checksum, extension};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn told(octets: &[u8]) -> (usize, Option<SocketAddr>, Option<SocketAddr>) {
    match parse(octets) {
        HeaderRead::Complete { length, client, server, .. } => (length, client, server),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_octets_behind_a_header_stay() {
    let (length, client, server) = told(b"PROXY TCP4 192.0.2.10 192.0.2.25 40000 25\r\nEHLO a\r\n");
    assert_eq!(length, 43);
    assert_eq!(client, Some(address("192.0.2.10:40000")));
    assert_eq!(server, Some(address("192.0.2.25:25")));
    let mut octets = header(
        HeaderOut::V2,
        address("[2001:db8::10]:40000"),
        address("[2001:db8::25]:25"),
        &extensions(0xab, None, &[]),
    );
    let own = octets.len();
    octets.extend_from_slice(b"EHLO a\r\n");
    assert_eq!(told(&octets), (own, Some(address("[2001:db8::10]:40000")), Some(address("[2001:db8::25]:25"))));
    assert!(octets.windows(19).any(|w| w == b"\x05\0\x1000000000000000ab"), "the session's id");
}

#[test]
fn lengths_are_those_of_the_specification() {
    let (v4, v6) = ([address("192.0.2.1:1"), address("192.0.2.2:2")], [address("[::1]:1"), address("[::2]:2")]);
    assert_eq!(header(HeaderOut::V2, v4[0], v4[1], &extensions(0, None, &[])).len(), 16 + 12 + 19);
    assert_eq!(header(HeaderOut::V2, v6[0], v6[1], &extensions(0, None, &[])).len(), 16 + 36 + 19);
    let long = address("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    assert!(header(HeaderOut::V1, long, long, &extensions(0, None, &[])).len() <= LONGEST_V1);
    assert_eq!(
        header(HeaderOut::V1, v4[0], v4[1], &extensions(0, None, &[])),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    );
}

#[test]
fn two_families_become_one() {
    for version in [HeaderOut::V1, HeaderOut::V2] {
        let octets = header(version, address("192.0.2.1:1"), address("[2001:db8::2]:2"), &extensions(7, None, &[]));
        assert_eq!(told(&octets), (octets.len(), Some(address("192.0.2.1:1")), Some(address("[2001:db8::2]:2"))));
        let octets =
            header(version, address("[::ffff:192.0.2.1]:1"), address("192.0.2.2:2"), &extensions(7, None, &[]));
        assert_eq!(told(&octets).1, Some(address("192.0.2.1:1")), "mapped addresses are IPv4 addresses");
    }
}

#[test]
fn a_health_check_tells_no_client() {
    assert_eq!(
        parse(&health_header(HeaderOut::V2)),
        HeaderRead::Complete { length: 16, client: None, server: None, local: true }
    );
    assert_eq!(told(&health_header(HeaderOut::V1)), (15, None, None));
    let mut local = Vec::new();
    preamble(&mut local, 0x20, 0x11, 5);
    local.extend_from_slice(b"\xff\xff\xff\xff\xffEHLO");
    assert_eq!(told(&local), (21, None, None), "what is behind LOCAL is passed over");
}

#[test]
fn version_1_is_read_as_written_down() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_V1 - 16));
    assert_eq!(told(longest.as_bytes()), (LONGEST_V1, None, None));
    assert_eq!(parse(&longest.as_bytes()[..LONGEST_V1 - 1]), HeaderRead::NeedMore);
    for bad in [
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\rX",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY\r\n",
        "proxy UNKNOWN\r\n",
        "EHLO client.example.net\r\n",
        &format!("PROXY UNKNOWN {}", "f".repeat(LONGEST_V1)),
        &format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_V1 - 15)),
    ] {
        assert_eq!(parse(bad.as_bytes()), HeaderRead::Invalid, "{bad:?}");
    }
}

#[test]
fn version_2_is_read_as_written_down() {
    let of = |command, family, block: &[u8]| {
        let mut octets = Vec::new();
        preamble(&mut octets, command, family, block.len());
        octets.extend_from_slice(block);
        parse(&octets)
    };
    let nothing = |block: usize| HeaderRead::Complete { length: 16 + block, client: None, server: None, local: false };
    assert_eq!(of(0x21, 0x31, &[b'/'; 216]), nothing(216), "a local socket");
    assert_eq!(of(0x21, 0x12, &[1; 12]), nothing(12), "datagrams");
    assert_eq!(of(0x21, 0, &[9; 7]), nothing(7), "no family");
    assert_eq!(of(0x21, 0x11, &[1; 11]), HeaderRead::Invalid, "too short for its addresses");
    assert_eq!(of(0x21, 0x21, &[1; 35]), HeaderRead::Invalid);
    assert_eq!(of(0x31, 0x11, &[1; 12]), HeaderRead::Invalid, "version 3");
    assert_eq!(of(0x22, 0x11, &[1; 12]), HeaderRead::Invalid, "a command not assigned");
    assert_eq!(of(0x21, 0x41, &[1; 12]), HeaderRead::Invalid, "a family not assigned");
    assert_eq!(of(0x21, 0x13, &[1; 12]), HeaderRead::Invalid, "a transport not assigned");
    let with = |extensions: &[u8]| of(0x21, 0x11, &[&[1; 12], extensions].concat());
    assert!(matches!(with(b"\x04\0\x03abc\x01\0\0"), HeaderRead::Complete { client: Some(_), .. }));
    assert_eq!(with(b"\x04\0\x04abc"), HeaderRead::Invalid, "an extension longer than the header");
    assert_eq!(with(b"\x04\0"), HeaderRead::Invalid, "half an extension");
    let mut long = Vec::new();
    preamble(&mut long, 0x21, 0x11, 4081);
    assert_eq!(parse(&long), HeaderRead::Invalid, "longer than anything real: not waited for");
}

#[test]
fn a_checksum_is_checked() {
    assert_eq!(checksum(b"123456789", 9), 0xe306_9283, "the check value of CRC-32C");
    let mut octets = Vec::new();
    preamble(&mut octets, 0x21, 0x11, 12 + 7);
    octets.extend_from_slice(&[1; 12]);
    octets.extend_from_slice(&[extension::CRC32C, 0, 4, 0, 0, 0, 0]);
    let sum = checksum(&octets, 31);
    octets[31..].copy_from_slice(&sum.to_be_bytes());
    assert!(matches!(parse(&octets), HeaderRead::Complete { client: Some(_), .. }));
    octets[20] ^= 1;
    assert_eq!(parse(&octets), HeaderRead::Invalid);
}

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = (any::<(Ipv4Addr, u16)>(), any::<(Ipv4Addr, u16)>());
    let v6 = (any::<(Ipv6Addr, u16)>(), any::<(Ipv6Addr, u16)>());
    prop_oneof![v4.prop_map(|(from, to)| (from.into(), to.into())), v6.prop_map(|(from, to)| (from.into(), to.into()))]
}

fn version() -> impl Strategy<Value = HeaderOut> {
    prop_oneof![Just(HeaderOut::V1), Just(HeaderOut::V2)]
}

proptest! {
    #[test]
    fn what_is_written_is_read((client, server) in addresses(), version in version(), id: u64, behind: Vec<u8>) {
        let own = header(version, client, server, &extensions(id, None, &[]));
        let octets = [own.as_slice(), &behind].concat();
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        prop_assert_eq!(told(&octets), (own.len(), Some(canonical(client)), Some(canonical(server))));
        for cut in 0..own.len() {
            prop_assert_eq!(parse(&own[..cut]), HeaderRead::NeedMore, "cut at {}", cut);
        }
    }

    #[test]
    fn another_implementation_reads_the_same((client, server) in addresses(), version in version(), id: u64) {
        let octets = header(version, client, server, &extensions(id, None, &[]));
        let (other, length) = ProxyHeader::parse(&octets, ParseConfig::default()).unwrap();
        prop_assert_eq!(length, octets.len());
        let theirs = other.proxied_address().unwrap();
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        prop_assert_eq!((canonical(theirs.source), canonical(theirs.destination)), (canonical(client), canonical(server)));
    }

    #[test]
    fn whatever_comes_is_decided_once(octets in proptest::collection::vec(any::<u8>(), 0..300), version in 0..3) {
        let start: &[u8] = match version { 0 => b"", 1 => b"PROXY TCP4 1.2.3.4 5.6.7.8 ", _ => b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0" };
        let octets = [start, &octets].concat();
        let whole = parse(&octets);
        for cut in 0..octets.len() {
            let part = parse(&octets[..cut]);
            prop_assert!(part == HeaderRead::NeedMore || part == whole, "{part:?} at {cut}, then {whole:?}");
        }
        if let HeaderRead::Complete { length, .. } = whole {
            prop_assert!(length <= octets.len() && length <= LONGEST_HEADER);
        }
    }
}

//! Captures made by hand: every variant of the formats, every way to damage them.

use std::io::Write as _;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

/// Number fields in one byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}
use self::Order::{Big, Little};

impl Order {
    fn u16(self, v: u16) -> [u8; 2] {
        if self == Big { v.to_be_bytes() } else { v.to_le_bytes() }
    }

    fn u32(self, v: u32) -> [u8; 4] {
        if self == Big { v.to_be_bytes() } else { v.to_le_bytes() }
    }
}

pub(crate) const MICRO: u32 = 0xa1b2_c3d4;
pub(crate) const NANO: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

pub(crate) fn header(order: Order, magic: u32, snaplen: u32, link: u32) -> Vec<u8> {
    let mut out = order.u32(magic).to_vec();
    out.extend(order.u16(2));
    out.extend(order.u16(4));
    for field in [0, 0, snaplen, link] {
        out.extend(order.u32(field));
    }
    out
}

pub(crate) fn record(order: Order, secs: u32, fraction: u32, data: &[u8], wire: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [secs, fraction, data.len() as u32, wire] {
        out.extend(order.u32(field));
    }
    out.extend(data);
    out
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = order.u32(padded as u32 + 12);
    let mut out = [order.u32(kind), length].concat();
    out.extend(body);
    out.resize(8 + padded, 0);
    out.extend(length);
    out
}

fn section(order: Order) -> Vec<u8> {
    let body = [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8]].concat();
    block(order, 0x0a0d_0d0a, &body)
}

fn interface(order: Order, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [&order.u16(link)[..], &[0; 2], &order.u32(snaplen)].concat();
    for (code, value) in options {
        body.extend(order.u16(*code));
        body.extend(order.u16(value.len() as u16));
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    block(order, 1, &body)
}

fn enhanced(order: Order, interface: u32, units: u64, data: &[u8], wire: u32) -> Vec<u8> {
    let mut body = Vec::new();
    for field in [interface, (units >> 32) as u32, units as u32, data.len() as u32, wire] {
        body.extend(order.u32(field));
    }
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend([0, 2, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0]);
    block(order, 6, &body)
}

type Seen = (u32, u64, u16, Vec<u8>, u32);

/// What a capture in `files` gives: (source, nanoseconds, link, octets, length on the wire), and its troubles.
fn read(files: &[&[u8]]) -> (Vec<Seen>, Vec<CaptureError>) {
    let dir = tempfile::tempdir().unwrap();
    let paths = (0..files.len()).map(|i| dir.path().join(format!("f{i}"))).collect::<Vec<_>>();
    for (path, octets) in paths.iter().zip(files) {
        std::fs::write(path, octets).unwrap();
    }
    let (mut seen, mut troubles) = (Vec::new(), Vec::new());
    let capture = Capture::new(paths, FileOrder::Time);
    let totals = capture.for_each(&mut |t| troubles.push(t), |p| {
        seen.push((p.source, p.at.as_nanos(), p.link.0, p.data.to_vec(), p.wire_len));
        ControlFlow::Continue(())
    });
    assert_eq!(totals.packets, seen.len() as u64);
    (seen, troubles)
}

/// The text of the only trouble with `octets`, without the name, and whether it is a warning; and packets before it.
fn trouble(octets: &[u8]) -> (usize, String, bool) {
    let (seen, troubles) = read(&[octets]);
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    let text = troubles[0].to_string();
    assert!(!text.contains('\n') && text.contains("; "), "{text}");
    let name = troubles[0].path.display().to_string();
    (seen.len(), text.strip_prefix(&name).unwrap().trim_start_matches(": ").to_owned(), troubles[0].what.is_warning())
}

fn clean(octets: &[u8]) -> Vec<Seen> {
    let (seen, troubles) = read(&[octets]);
    assert!(troubles.is_empty(), "{troubles:?}");
    seen
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(octets).unwrap();
    out.finish().unwrap()
}

fn zstd(octets: &[u8]) -> Vec<u8> {
    zstd::encode_all(octets, 1).unwrap()
}

/// A capture of three packets, 24 + (16 + 5) + (16 + 4) + (16 + 3) octets.
fn three() -> Vec<u8> {
    [
        header(Little, MICRO, 262_144, 1),
        record(Little, 10, 1, b"first", 5),
        record(Little, 11, 2, b"next", 9),
        record(Little, 12, 3, b"end", 3),
    ]
    .concat()
}

#[test]
fn classic_captures_of_every_kind() {
    for order in [Little, Big] {
        for (magic, nanos) in [(MICRO, 7_000), (NANO, 7)] {
            let file =
                [header(order, magic, 0, 101), record(order, 5, 7, b"abc", 1500), record(order, 6, 0, b"", 0)].concat();
            let expected =
                vec![(0, 5_000_000_000 + nanos, 101, b"abc".to_vec(), 1500), (0, 6_000_000_000, 101, vec![], 0)];
            assert_eq!(clean(&file), expected, "{order:?} {magic:x}");
        }
    }
}

#[test]
fn patched_captures_of_both_orders_have_longer_records() {
    for order in [Little, Big] {
        let mut file = header(order, MODIFIED, 0, 1);
        for bytes in [b"one", b"two"] {
            for field in [1, 2, 3, 4] {
                file.extend(order.u32(field));
            }
            file.extend([9; 8]);
            file.extend(bytes);
        }
        let seen = clean(&file);
        assert_eq!(seen.iter().map(|s| s.3.as_slice()).collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(seen[0], (0, 1_000_002_000, 1, b"one".to_vec(), 4), "{order:?}");
    }
    // No program writes the halves of the number in this order.
    let (_, text, _) = trouble(&[&[0xcd, 0x34, 0xa1, 0xb2][..], &[0; 20]].concat());
    assert!(text.starts_with("is not a pcap or pcapng capture (first octets cd 34 a1 b2"), "{text}");
}

#[test]
fn zeros_behind_a_capture_are_no_packets() {
    let ng = [section(Big), interface(Big, 1, 0, &[]), enhanced(Big, 0, 1, b"x", 1)].concat();
    for (plain, packets) in [(three(), 3), (ng, 1)] {
        for zeros in [1, 3, 11, 12, 15, 16, 17, 512, 70_000] {
            let file = [plain.clone(), vec![0; zeros]].concat();
            let (seen, text, warning) = trouble(&file);
            assert_eq!((seen, warning), (packets, true), "{zeros}");
            assert!(text.starts_with(&format!("has nothing but zeros at octet {} to its end", plain.len())), "{text}");
        }
    }
    // Not to the end: a record of nothing in between loses nothing, and a block cannot be found again.
    let (seen, troubles) = read(&[&[three(), vec![0; 32], record(Little, 13, 0, b"more", 4)].concat()]);
    assert_eq!((seen.len(), troubles.len()), (4, 0));
    let broken = [section(Big), interface(Big, 1, 0, &[]), vec![0; 32], enhanced(Big, 0, 1, b"x", 1)].concat();
    let (packets, text, warning) = trouble(&broken);
    assert_eq!((packets, warning), (0, false));
    assert!(text.contains("zeros where a block is due"), "{text}");
}

#[test]
fn what_stands_behind_compressed_data() {
    let (plain, expected) = (three(), clean(&three()));
    let (a, b) = plain.split_at(40);
    let skippable = [0x5f, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 1];
    for zeros in [1, 7, 512, 300_000] {
        let zeros = vec![0; zeros];
        for file in [
            [gzip(&plain), zeros.clone()].concat(),
            [gzip(a), zeros.clone(), gzip(b), zeros.clone()].concat(),
            [gzip(&[gzip(&plain), zeros.clone()].concat()), zeros.clone()].concat(),
            [zstd(&plain), zeros.clone()].concat(),
            [zstd(a), skippable.to_vec(), zeros.clone(), zstd(b), skippable.to_vec(), zeros].concat(),
        ] {
            assert_eq!(clean(&file), expected);
        }
    }
    assert_eq!(clean(&[skippable.to_vec(), zstd(&plain)].concat()), expected);
    assert_eq!(clean(&[gzip(b""), gzip(&plain), gzip(b"")].concat()), expected);
    for compressed in [gzip(&plain), zstd(&plain)] {
        let (packets, text, warning) = trouble(&[&compressed[..], b"\0\0signature"].concat());
        assert_eq!((packets, warning), (3, true));
        assert!(text.starts_with("something else stands behind the compressed data"), "{text}");
    }
    let (packets, _, warning) = trouble(&[&gzip(&plain)[..], &gzip(&plain)[..5]].concat());
    assert_eq!((packets, warning), (3, true), "the second member is cut");
}

#[test]
fn sections_of_both_orders_have_their_own_interfaces() {
    let mut file = Vec::new();
    for (order, link) in [(Little, 1), (Big, 101)] {
        file.extend(section(order));
        file.extend(interface(order, link, 100, &[]));
        file.extend(interface(order, 113, 0, &[(9, &[9])]));
        file.extend(block(order, 0x0bad, b"a custom block"));
        file.extend(block(order, 10, b"secrets for decryption"));
        file.extend(enhanced(order, 0, 1_000_001, b"micro", 5));
        file.extend(enhanced(order, 1, (1 << 32) + 1, b"nano", 400));
        file.extend(block(order, 3, &[&order.u32(6)[..], b"simple"].concat()));
        file.extend(block(order, 3, &[&order.u32(4000)[..], &[7; 104]].concat()));
        let obsolete =
            [&order.u16(1)[..], &order.u16(0xffff), &order.u32(0), &order.u32(5), &order.u32(3), &order.u32(3), b"old"]
                .concat();
        file.extend(block(order, 2, &obsolete));
    }
    let of = |link| {
        vec![
            (0, 1_000_001_000, link, b"micro".to_vec(), 5),
            (0, (1 << 32) + 1, 113, b"nano".to_vec(), 400),
            // A simple packet has no time, and none is lent to it.
            (0, 0, link, b"simple".to_vec(), 6),
            (0, 0, link, vec![7; 100], 4000),
            (0, 5, 113, b"old".to_vec(), 3),
        ]
    };
    assert_eq!(clean(&file), [of(1), of(101)].concat());
}

#[test]
fn time_of_an_interface() {
    for (order, resolution, offset, units, nanos) in [
        (Little, 6, 0_i64, 1_500_000, 1_500_000_000),
        (Little, 0, 0, 3, 3_000_000_000),
        (Little, 3, 0, 3, 3_000_000),
        (Little, 12, 0, 5_999_999, 5_999),
        (Little, 0x80 | 10, 0, 1536, 1_500_000_000),
        (Big, 0x80 | 32, 0, 3 << 31, 1_500_000_000),
        (Little, 0xff, 0, u64::MAX, 0),
        (Little, 0x7f, 0, u64::MAX, 0),
        (Big, 6, 100, 1, 100_000_001_000),
        (Little, 6, -1, 1_000_001, 1_000),
        (Little, 6, -5, 1, 0),
        (Little, 0, 0, u64::MAX, u64::MAX),
        (Little, 9, i64::MAX, 0, u64::MAX),
    ] {
        let offset_octets = if order == Big { offset.to_be_bytes() } else { offset.to_le_bytes() };
        let options: [(u16, &[u8]); 2] = [(9, &[resolution]), (14, &offset_octets)];
        let file = [section(order), interface(order, 1, 0, &options), enhanced(order, 0, units, b"x", 1)].concat();
        // Zero would be no time at all.
        assert_eq!(clean(&file)[0].1, nanos.max(1), "{order:?} {resolution:#x} {offset} {units}");
    }
}

#[test]
fn compression_is_told_by_content_in_members_frames_and_layers() {
    let (plain, expected) = (three(), clean(&three()));
    let (a, b) = plain.split_at(40);
    for file in [
        gzip(&plain),
        [gzip(a), gzip(b)].concat(),
        zstd(&plain),
        [zstd(a), vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 1], zstd(b)].concat(),
        gzip(&zstd(&plain)),
        zstd(&gzip(&gzip(&plain))),
    ] {
        assert_eq!(clean(&file), expected);
    }
    let bomb = (0..5).fold(plain, |inner, _| gzip(&inner));
    assert_eq!(trouble(&bomb).1, "is compressed more than 4 times over; decompress it by hand");
}

#[test]
fn several_files_are_one_capture() {
    let (seen, troubles) = read(&[&three(), b"", &gzip(&three())]);
    assert_eq!(seen.iter().map(|s| s.0).collect::<Vec<_>>(), [0, 0, 0, 2, 2, 2]);
    // The third begins where the first did.
    let what = troubles.iter().map(|trouble| &trouble.what).collect::<Vec<_>>();
    assert!(matches!(what.as_slice(), [ErrorKind::Empty, ErrorKind::Backwards { .. }]), "{what:?}");
}

#[test]
fn files_joined_without_a_tool_are_read_on() {
    let ng = [section(Big), interface(Big, 1, 0, &[]), enhanced(Big, 0, 1, b"x", 1)].concat();
    let (packets, text, warning) = trouble(&[three(), three()].concat());
    assert_eq!((packets, warning), (6, true));
    assert!(text.starts_with("another capture begins at octet 84; it is read on"), "{text}");
    let (seen, troubles) = read(&[&[three(), ng, three()].concat()]);
    assert_eq!((seen.len(), troubles.len()), (7, 2));
}

#[test]
fn a_capture_cut_anywhere_gives_what_was_whole() {
    let plain = three();
    for cut in 4..plain.len() {
        let whole = [45, 65, 84].iter().filter(|end| **end <= cut).count();
        let (seen, troubles) = read(&[&plain[..cut]]);
        assert_eq!(seen.len(), whole, "cut at {cut}");
        match &troubles[..] {
            [] => assert!([24, 45, 65].contains(&cut), "cut at {cut}"),
            [one] => {
                assert_eq!(one.offset, Some(cut as u64));
                assert_eq!(one.what.is_warning(), cut > 24, "cut at {cut}: {one}");
            }
            more => panic!("{more:?}"),
        }
    }
}

#[test]
fn a_cut_says_where_and_how_much() {
    let plain = three();
    assert_eq!(
        trouble(&plain[..82]).1,
        "ends at octet 82, inside a record (17 of 19 octets); everything before is reported: run again on the whole file if it was cut by a copy"
    );
    assert!(trouble(&plain[..70]).1.starts_with("ends at octet 70, inside a record header (5 octets of it);"));
    assert!(
        trouble(&plain[..20])
            .1
            .starts_with("ends at octet 20, inside the file header (20 of 24 octets); no packet can be read")
    );
    assert!(
        trouble(&gzip(&plain[..82]))
            .1
            .starts_with("ends at octet 82 of the uncompressed capture, inside a record (17 of 19 octets)")
    );
    let ng = [section(Little), interface(Little, 1, 0, &[]), enhanced(Little, 0, 1, b"x", 1)].concat();
    let (packets, text, warning) = trouble(&ng[..ng.len() - 1]);
    assert_eq!((packets, warning), (0, true));
    assert!(text.starts_with(&format!("ends at octet {}, inside a record (47 of 48 octets)", ng.len() - 1)), "{text}");
    assert!(!trouble(&ng[..20]).2);
}

#[test]
fn a_compressed_capture_cut_gives_what_was_whole() {
    let noise = (0..2_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>();
    let records = noise.chunks(1000).flat_map(|c| record(Little, 1, 1, c, 1000)).collect::<Vec<_>>();
    let plain = [header(Little, MICRO, 0, 1), records].concat();
    for file in [gzip(&plain), zstd(&plain)] {
        let (packets, text, warning) = trouble(&file[..file.len() / 2]);
        assert!(packets > 200 && packets < 2000 && warning, "{packets} {text}");
        assert!(text.starts_with("the compressed file ends too early at octet "), "{text}");
        assert!(text.contains(" of the uncompressed capture; everything before is reported"), "{text}");
    }
    let mut damaged = gzip(&plain);
    let end = damaged.len();
    damaged[end - 6] ^= 1;
    let (packets, text, warning) = trouble(&damaged);
    assert_eq!((packets, warning), (2000, false));
    assert!(text.starts_with("the compressed file is damaged at octet "), "{text}");
}

#[test]
fn damage_stops_the_file_with_place_and_reason() {
    let mut absurd = three();
    absurd[45 + 8..45 + 12].copy_from_slice(&[0xff; 4]);
    assert_eq!(
        trouble(&absurd),
        (
            1,
            "is damaged at octet 45: a packet record claims 4294967295 octets where 262144 are possible; everything before is reported, the rest of the file is not: get an undamaged copy".into(),
            false
        )
    );
    let packet = |order| [section(order), interface(order, 1, 0, &[]), enhanced(order, 0, 1, b"x", 1)].concat();
    for order in [Little, Big] {
        let whole = packet(order);
        let last = whole.len() as u64;
        for (bad, reason) in [
            (block(order, 6, &[0; 8]), "a packet block that is too short"),
            (enhanced(order, 1, 1, b"x", 1), "a packet of interface 1, which the section does not describe"),
            (
                [order.u32(6), order.u32(8), order.u32(8)].concat(),
                "a block of type 0x6 claims an impossible length of 8 octets",
            ),
            (
                [order.u32(6), order.u32(34), order.u32(0)].concat(),
                "a block of type 0x6 claims an impossible length of 34 octets",
            ),
            (
                [order.u32(6), order.u32(u32::MAX - 3), order.u32(0)].concat(),
                "a block of type 0x6 claims an impossible length of 4294967292 octets",
            ),
            (
                [order.u32(9), order.u32(12), order.u32(16)].concat(),
                "the length at the end of a block differs from the one at its beginning",
            ),
            ([0x0a0d_0d0a, 28, 7].map(|v| order.u32(v)).concat(), "a section header without its byte-order magic"),
            (
                block(order, 6, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0]),
                "a packet block of 32 octets claims 151587081 captured octets",
            ),
        ] {
            let (packets, text, warning) = trouble(&[whole.clone(), bad, whole.clone()].concat());
            assert_eq!((packets, warning), (1, false), "{text}");
            assert!(
                text.starts_with(&format!("is damaged at octet {last}: {reason}; everything before is reported")),
                "{text}"
            );
        }
    }
}

#[test]
fn what_is_no_capture_says_what_it_is() {
    for (octets, start) in [
        (&b""[..], "is empty; "),
        (
            b"hello world, this is text\n",
            "is not a pcap or pcapng capture (first octets 68 65 6c 6c 6f 20 77 6f); it looks like text",
        ),
        (&[0, 159, 146, 150], "is not a pcap or pcapng capture (first octets 00 9f 92 96); record one with"),
        (
            b"BZh91AY",
            "is not a pcap or pcapng capture (first octets 42 5a 68 39 31 41 59); it is compressed with bzip2: use `bzip2 -dc",
        ),
        (&[0xd4], "is not a pcap or pcapng capture (first octets d4); record one"),
        (&header(Little, MICRO, 0, 147), "has link type 147, which cannot be read; "),
        (&gzip(b""), "holds nothing once decompressed (gzip); "),
        (&zstd(b""), "holds nothing once decompressed (zstd); "),
        (&[0x1f, 0x8b], "the compressed file ends too early; "),
    ] {
        let (packets, text, _) = trouble(octets);
        assert!(text.starts_with(start), "{text}");
        assert_eq!(packets, 0);
    }
    let mut old = header(Little, MICRO, 0, 1);
    old[4] = 9;
    assert!(trouble(&old).1.starts_with("has the version 9.4 at octet 0, which does not exist or cannot be read"));
}

#[test]
fn what_is_no_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut texts = Vec::new();
    let capture = Capture::new(vec![dir.path().to_owned(), dir.path().join("none.pcap")], FileOrder::Time);
    let totals =
        capture.for_each(&mut |t| texts.push((t.to_string(), t.what.is_warning())), |_| ControlFlow::Continue(()));
    assert_eq!(totals, Totals::default());
    let name = dir.path().display();
    assert_eq!(texts[0], (format!("{name}: is a directory; name the capture files in it"), false));
    assert_eq!(
        texts[1],
        (
            format!("{name}/none.pcap: cannot be opened: No such file or directory; check its name and permissions"),
            false
        )
    );
}

#[test]
fn packets_beyond_the_snap_length_are_used_and_told_once() {
    let long = [7; 120];
    let classic =
        [header(Little, MICRO, 100, 1), record(Little, 1, 1, &long, 1500), record(Little, 1, 1, &long, 1500)].concat();
    let (packets, text, warning) = trouble(&classic);
    assert_eq!((packets, warning), (2, true));
    assert_eq!(
        text,
        "has packets larger than its snap length of 100 says (120 octets at octet 24); they are used all the same"
    );
    let ng =
        [section(Big), interface(Big, 1, 100, &[]), enhanced(Big, 0, 1, &long, 120), enhanced(Big, 0, 1, &long, 120)]
            .concat();
    let (packets, text, warning) = trouble(&ng);
    assert_eq!((packets, warning), (2, true));
    assert!(text.starts_with("has packets larger than its snap length of 100 says (120 octets at octet 48)"), "{text}");
}

#[test]
fn interfaces_that_cannot_be_read_are_passed_over() {
    let head = [
        section(Little),
        interface(Little, 147, 0, &[]),
        interface(Little, 1, 0, &[]),
        enhanced(Little, 0, 1, b"x", 1),
    ]
    .concat();
    let (packets, text, warning) = trouble(&[head.clone(), enhanced(Little, 1, 1, b"y", 1)].concat());
    assert_eq!((packets, warning), (1, true));
    assert!(
        text.starts_with("1 packets with link type 147 (a type for private use) were passed over; only IP"),
        "{text}"
    );
    let (packets, text, warning) = trouble(&head);
    assert_eq!((packets, warning), (0, false));
    assert!(text.contains("were passed over, all there are; "), "{text}");
}

#[test]
fn a_large_legal_packet_makes_room() {
    let large = vec![1; 3 << 20];
    let file =
        [header(Little, MICRO, 4 << 20, 1), record(Little, 1, 1, &large, 3 << 20), record(Little, 1, 1, b"x", 1)]
            .concat();
    let seen = clean(&file);
    assert_eq!(seen.iter().map(|s| s.3.len()).collect::<Vec<_>>(), [3 << 20, 1]);
}

#[test]
fn the_caller_may_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, three()).unwrap();
    let capture = Capture::new(vec![path.clone(), path], FileOrder::Time);
    let totals = capture.for_each(&mut |t| panic!("{t}"), |_| ControlFlow::Break(()));
    assert_eq!(totals.packets, 1);
    assert_eq!(capture.size(), Some(168));
}

proptest! {
    #[test]
    fn hostile_octets_never_panic(kind in 0..5_u8, order in prop_oneof![Just(Little), Just(Big)], tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let start = match kind {
            0 => header(order, MICRO, 65535, 1),
            1 => section(order),
            2 => [section(order), interface(order, 1, 0, &[])].concat(),
            3 => section(order)[..12].to_vec(),
            _ => Vec::new(),
        };
        let (_, troubles) = read(&[&[start, tail].concat()]);
        prop_assert!(troubles.iter().all(|t| !t.to_string().contains('\n')));
    }

    #[test]
    fn one_wrong_octet_never_panics(at in 0..200_usize, value: u8) {
        let mut file = [section(Little), interface(Little, 1, 100, &[(9, &[6]), (14, &[0; 8])]), enhanced(Little, 0, 1, b"packet", 6), enhanced(Little, 0, 1, b"packet", 6)].concat();
        let at = at % file.len();
        file[at] = value;
        let (seen, troubles) = read(&[&file]);
        prop_assert!(seen.len() + troubles.len() > 0);
    }
}

//! Damage in compressed data: what was there before it is handed out.

use std::io::{Cursor, Read, Write};

use super::Compression;

/// Text that neither packs to nothing nor stays as it is.
fn text() -> Vec<u8> {
    (0..30_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 12).to_string().into_bytes()).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let named = flate2::GzBuilder::new().filename("day.pcap").comment("a comment").extra(vec![7; 300]);
    let mut out = named.write(Vec::new(), flate2::Compression::default());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
    out.include_checksum(true).unwrap();
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

/// What `packed` gives in reads of `room` bytes, and why it ends if it ends badly.
fn unpacked(how: Compression, packed: &[u8], room: usize) -> (Vec<u8>, Option<std::io::Error>) {
    let mut decoder = how.decoder(Cursor::new(packed.to_vec()));
    let (mut out, mut buffer) = (Vec::new(), vec![0; room]);
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return (out, None),
            Ok(bytes) => out.extend(&buffer[..bytes]),
            Err(error) => return (out, Some(error)),
        }
    }
}

#[test]
fn damage_takes_nothing_of_what_was_before_it() {
    let text = text();
    let both = [(Compression::Gzip, gzip(&text)), (Compression::Zstd, zstd(&text))];
    for (how, packed) in both {
        for room in [1000, 1 << 20] {
            assert!(matches!(unpacked(how, &packed, room), (all, None) if all == text), "{how:?}");
        }
        for at in (0..packed.len()).step_by(packed.len() / 17) {
            let (before, cut) = unpacked(how, &packed[..at], 1 << 20);
            assert!(cut.is_none() == (at == 0) && text.starts_with(&before), "{how:?} cut at {at}: {cut:?}");
            let mut damaged = packed.clone();
            damaged[at] ^= 0xff;
            let (found, error) = unpacked(how, &damaged, 1 << 20);
            assert!(found.starts_with(&before), "{how:?} damaged at {at}: {} of {}", found.len(), before.len());
            assert!(error.is_some() || found == text, "{how:?}: damage at {at} is not noticed");
        }
    }
}

#[test]
fn headers_of_gzip() {
    let member = |head: &[u8]| [head, &gzip(b"text")[gzip(b"text").len() - 14..]].concat();
    let body: fn(&[u8]) -> (Vec<u8>, Option<std::io::Error>) = |packed| unpacked(Compression::Gzip, packed, 100);
    let good = |head: &[u8]| matches!(body(&member(head)), (all, None) if all == b"text");
    assert!(good(b"\x1f\x8b\x08\0\0\0\0\0\0\0"), "none of the fields");
    assert!(good(b"\x1f\x8b\x08\x02\0\0\0\0\0\0\xab\xcd"), "its own checksum");
    assert!(good(b"\x1f\x8b\x08\x1e\0\0\0\0\0\0\x02\0xyname\0\0\xab\xcd"), "all of them, the comment empty");
    assert!(!good(b"\x1f\x8b\x08\x20\0\0\0\0\0\0"), "a flag that means nothing");
    assert!(!good(b"\x1f\x8b\x07\0\0\0\0\0\0\0"), "another method");
    assert!(matches!(body(b"\x1f\x8b\x08\x08\0\0\0\0\0\0name"), (all, Some(_)) if all.is_empty()), "cut in its name");
}

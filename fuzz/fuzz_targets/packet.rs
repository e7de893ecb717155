//! Frames of every link type through the decoder, fragments and tunnels included: no panic, and no segment that holds
//! octets the frame did not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailtap::time::Timestamp;
use mailtap::wire::{Decoder, DecoderLimits, LinkType, Packet};

/// `LINKTYPE_` numbers: those that are known, and one that is not.
const LINKS: [u16; 16] = [0, 1, 9, 12, 50, 51, 101, 104, 108, 109, 113, 117, 219, 239, 276, 999];

fuzz_target!(|input: &[u8]| {
    let Some((&link, rest)) = input.split_first() else { return };
    let mut decoder = Decoder::new(DecoderLimits::default());
    let mut at = 0;
    let mut seen = 0;
    // Several frames, so that fragments meet: each begins with its length and how much the snap length cut off.
    let mut rest = rest;
    while let Some((&[high, low, cut], behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        let (data, behind) = behind.split_at(length);
        rest = behind;
        seen += length;
        at += 1_000_000;
        let packet = Packet {
            at: Timestamp::from_nanos(at),
            source: 0,
            link: LinkType(LINKS[usize::from(link) % LINKS.len()]),
            data,
            wire_len: (length + usize::from(cut)) as u32,
        };
        if let Some(segment) = decoder.decode(&packet) {
            assert!(segment.payload.len() <= seen, "octets out of nothing");
        }
    }
});

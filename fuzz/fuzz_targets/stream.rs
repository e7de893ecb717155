//! TCP segments of one direction in any order, twice, overlapping, cut: no panic, and no octet that was not sent, sent
//! twice, or delivered before its turn.
//!
//! The octet at offset `n` is always the low eight bits of a hash of `n`, so what is delivered can be checked.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use mailtap::event::Input;
use mailtap::time::Timestamp;
use mailtap::wire::stream::{Delivery, Ledger, Stream};
use mailtap::wire::Segment;

fuzz_target!(|input: &[u8]| {
    let Some((&[high, low, known], rest)) = input.split_first_chunk() else { return };
    let base = u32::from_be_bytes([high, low, high, low]);
    let (mut stream, mut ledger) = (Stream::new(), Ledger::default());
    // Where the next delivery begins: after a SYN at 0, else at the first segment with octets.
    let mut next = (known & 1 == 1).then_some(0);
    if next.is_some() {
        let syn = Segment { syn: true, ..segment(Timestamp::default(), base, &[]) };
        stream.segment(&syn, None, &mut ledger, &mut |_| ());
    }
    let mut at = 0;
    for &[high, low, length, flags] in rest.as_chunks().0 {
        let offset = u32::from(u16::from_be_bytes([high, low]));
        at += u64::from(flags >> 4) * 1_000_000_000;
        let time = Timestamp::from_nanos(at);
        if next.is_none() && (length == 0 || flags & 3 == 3) {
            continue;
        }
        let mut position = next.unwrap_or(u64::from(offset));
        let mut check = |delivery: Delivery<'_>| position += delivered(position, &delivery.input);
        if flags & 3 == 3 {
            stream.acknowledged(time, base.wrapping_add(1 + offset), flags & 4 != 0, &mut ledger, &mut check);
        } else {
            let payload: Vec<u8> = (offset..offset + u32::from(length)).map(octet).collect();
            let segment = Segment {
                fin: flags & 3 == 2,
                cut: u32::from(flags >> 2 & 3),
                ..segment(time, base.wrapping_add(1 + offset), &payload)
            };
            stream.segment(&segment, None, &mut ledger, &mut check);
        }
        next = Some(position);
        assert!(stream.buffered() <= ledger.limits.buffered + 4096, "more kept than the cap");
    }
});

fn segment(at: Timestamp, seq: u32, payload: &[u8]) -> Segment<'_> {
    Segment {
        at,
        source: 0,
        from: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50000),
        to: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 25),
        seq,
        ack: None,
        syn: false,
        fin: false,
        rst: false,
        payload,
        cut: 0,
    }
}

fn octet(offset: u32) -> u8 {
    (offset.wrapping_mul(2_654_435_761) >> 13) as u8
}

/// Checks what is delivered at `from`; gives how far it reaches.
fn delivered(from: u64, input: &Input<'_>) -> u64 {
    match *input {
        Input::Data(octets) => {
            for (offset, &found) in (from..).zip(octets) {
                assert_eq!(found, octet(offset as u32), "the octet at {offset} is another's");
            }
            octets.len() as u64
        }
        Input::Gap(octets) => octets,
        _ => 0,
    }
}

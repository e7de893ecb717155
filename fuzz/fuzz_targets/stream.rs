//! TCP segments of both directions in any order, late, twice, overlapping, cut, lost, with acknowledgments that lie: no panic, and
//! no byte that was not sent, sent twice, or delivered before its turn.
//!
//! The byte at offset `n` of a direction is always that of [`oracle::byte`].

#![no_main]

mod oracle;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use mailtap::time::Timestamp;
use mailtap::wire::stream::{BufferBudget, Duplex};
use mailtap::wire::{Segment, Side};
use oracle::{Order, byte};

fuzz_target!(|input: &[u8]| {
    let Some((&[high, low, known], rest)) = input.split_first_chunk() else { return };
    let base = u32::from_be_bytes([high, low, high, low]);
    let (mut duplex, mut budget) = (Duplex::new(), BufferBudget::default());
    let mut order = Order::default();
    if known & 1 == 1 {
        for side in Side::BOTH {
            let syn = Segment { syn: true, ..segment(Timestamp::default(), base, &[]) };
            duplex.segment(side, &syn, Timestamp::default(), &mut budget, &mut |side, delivery| order.take(side, &delivery));
            order.begin(side, 0);
        }
    }
    let mut at = 0;
    for &[high, low, ack_high, ack_low, length, flags] in rest.as_chunks().0 {
        let side = if flags & 1 == 0 { Side::Lesser } else { Side::Greater };
        let number = |high, low| u32::from(u16::from_be_bytes([high, low]));
        let (offset, ack) = (number(high, low), number(ack_high, ack_low));
        at += u64::from(flags >> 5) * 100_000_000;
        let time = Timestamp::from_nanos(at);
        let payload: Vec<u8> = (offset..offset + u32::from(length)).map(byte).collect();
        let acks = flags & 2 == 2;
        let segment = Segment {
            ack: acks.then(|| base.wrapping_add(1 + ack)),
            fin: flags & 12 == 8,
            rst: flags & 28 == 28,
            cut: u32::from(flags & 28 == 4),
            ..segment(time, base.wrapping_add(1 + offset), &payload)
        };
        // A direction begins at its first segment with bytes, or where the other side says that it stands.
        if !segment.rst && (length > 0 || segment.fin || segment.cut > 0) {
            order.begin(side, u64::from(offset));
        }
        if acks && !segment.rst {
            order.begin(side.other(), u64::from(ack));
        }
        duplex.segment(side, &segment, time, &mut budget, &mut |side, delivery| order.take(side, &delivery));
        duplex.tick(time, &mut budget, &mut |side, delivery| order.take(side, &delivery));
        assert!(duplex.buffered() <= 2 * budget.limits.buffered + 4096, "more kept than the cap");
    }
    duplex.finish(Timestamp::from_nanos(at), &mut budget, &mut |side, delivery| order.take(side, &delivery));
    assert_eq!(duplex.buffered(), 0, "kept behind the end");
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

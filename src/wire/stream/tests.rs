use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Data(Vec<u8>),
    Gap(u64),
    Fin,
    Reset,
}

use Got::{Data, Gap};

struct Rig {
    stream: Stream,
    budget: BufferBudget,
    now: u64,
    got: Vec<Got>,
    times: Vec<u64>,
    received: Vec<Option<u64>>,
}

fn blank<'a>() -> Segment<'a> {
    let addr: SocketAddr = "192.0.2.1:25".parse().unwrap();
    let at = Timestamp::from_nanos(0);
    Segment {
        at,
        source: 0,
        from: addr,
        to: addr,
        seq: 0,
        ack: None,
        syn: false,
        fin: false,
        rst: false,
        payload: &[],
        cut: 0,
    }
}

impl Rig {
    fn new() -> Self {
        Self {
            stream: Stream::new(),
            budget: BufferBudget::default(),
            now: 0,
            got: vec![],
            times: vec![],
            received: vec![],
        }
    }

    /// After a SYN with sequence number 999: offset 0 is 1000.
    fn open() -> Self {
        let mut rig = Self::new();
        rig.take(Segment { seq: 999, syn: true, ..blank() });
        rig
    }

    fn run(&mut self, action: impl FnOnce(&mut Stream, &mut BufferBudget, &mut dyn FnMut(Delivery<'_>))) {
        let (got, times, received) = (&mut self.got, &mut self.times, &mut self.received);
        action(&mut self.stream, &mut self.budget, &mut |delivery| {
            times.push(delivery.at.as_nanos());
            received.push(delivery.received);
            match (delivery.input, got.last_mut()) {
                (Input::Data(more), Some(Data(data))) => data.extend_from_slice(more),
                (Input::Data(data), _) => got.push(Data(data.to_vec())),
                (Input::Gap(n), _) => got.push(Gap(n)),
                (Input::Fin, _) => got.push(Got::Fin),
                (Input::Reset, _) => got.push(Got::Reset),
            }
        });
    }

    fn take(&mut self, segment: Segment<'_>) {
        self.now += 1;
        let segment = Segment { at: Timestamp::from_nanos(self.now), ..segment };
        let now = self.now;
        self.run(|stream, budget, out| {
            stream.segment(&segment, Some(now), budget, &mut |d| out(d));
        });
    }

    fn data(&mut self, seq: u32, payload: &[u8]) {
        self.take(Segment { seq, payload, ..blank() });
    }

    fn fin(&mut self, seq: u32, payload: &[u8]) {
        self.take(Segment { seq, payload, fin: true, ..blank() });
    }

    fn rst(&mut self, seq: u32) {
        self.take(Segment { seq, rst: true, ..blank() });
    }

    fn ack(&mut self, ack: u32) {
        self.acknowledge(ack, false);
    }

    fn acknowledge(&mut self, ack: u32, bare: bool) {
        self.now += 1;
        let at = Timestamp::from_nanos(self.now);
        self.run(|stream, budget, out| stream.acknowledged(at, ack, bare, budget, &mut |d| out(d)));
    }

    fn finish(&mut self) {
        let at = Timestamp::from_nanos(self.now);
        self.run(|stream, budget, out| stream.finish(at, budget, &mut |d| out(d)));
    }
}

fn text(data: &str) -> Got {
    Data(data.as_bytes().to_vec())
}

#[test]
fn order_passes_through() {
    let mut rig = Rig::open();
    rig.data(1000, b"EHLO ");
    rig.data(1005, b"x\r\n");
    assert_eq!(rig.got, [text("EHLO x\r\n")]);
    assert_eq!(rig.stream.next(), 8);
    assert_eq!(rig.stream.buffered(), 0);
}

#[test]
fn early_octets_keep_their_time_and_evidence() {
    let mut rig = Rig::open();
    rig.data(1004, b"def");
    rig.data(1000, b"0abc");
    assert_eq!(rig.got, [text("0abcdef")]);
    assert_eq!(rig.times, [3, 2]);
    assert_eq!(rig.received, [Some(3), Some(2)]);
    assert_eq!(rig.budget.counters.early, 1);
    assert_eq!(rig.stream.buffered(), 0);
}

#[test]
fn the_first_octets_win_and_a_difference_is_flagged() {
    let mut rig = Rig::open();
    rig.data(1002, b"CD");
    rig.data(1000, b"abxdE");
    assert_eq!(rig.got, [text("abCDE")]);
    assert_eq!(rig.stream.conflicts(), (1, Some(2)));
}

#[test]
fn bulk_sent_again_with_other_octets_is_flagged_after_delivery() {
    let mut rig = Rig::open();
    let mut bulk = octets(5000);
    rig.data(1000, &bulk);
    rig.data(1000, &bulk[..1448]);
    rig.data(2000, &bulk[1000..2448]);
    assert_eq!(rig.stream.conflicts(), (0, None));
    bulk[1500] ^= 1;
    rig.data(2000, &bulk[1000..2448]);
    assert_eq!(rig.stream.conflicts(), (1, Some(1472)));
    rig.data(5990, b"other at the end");
    assert_eq!(rig.stream.conflicts(), (2, Some(1472)), "the block under way, as far as it was delivered");
    rig.stream.quiet();
    rig.data(2000, &bulk[1000..2448]);
    assert_eq!(rig.stream.conflicts(), (2, Some(1472)));
}

#[test]
fn a_short_segment_sent_again_with_other_octets_is_flagged_after_delivery() {
    let mut rig = Rig::open();
    rig.data(1000, b"NOOP\r\n");
    rig.data(1006, b"QUIT\r\n");
    rig.data(1006, b"QUIT\r\n");
    assert_eq!(rig.stream.conflicts(), (0, None));
    rig.data(1000, b"NOOP\r\nRSET\r\nmore");
    assert_eq!(rig.stream.conflicts(), (1, Some(6)));
    assert_eq!(rig.got, [text("NOOP\r\nQUIT\r\nmore")]);
}

#[test]
fn equal_overlap_is_no_conflict() {
    let mut rig = Rig::open();
    rig.data(1000, b"abcdef");
    rig.data(1003, b"defghi");
    rig.data(1000, b"abcdefghi");
    assert_eq!(rig.got, [text("abcdefghi")]);
    assert_eq!(rig.budget.counters.conflicts, 0);
    assert_eq!(rig.budget.counters.duplicate_octets, 12);
}

#[test]
fn a_hole_is_lost_at_once_when_acknowledged() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.data(1005, b"fg");
    assert_eq!(rig.got, [text("ab")]);
    rig.ack(1007);
    assert_eq!(rig.got, [text("ab"), Gap(3), text("fg")]);
    rig.data(1002, b"cde");
    assert_eq!(rig.got.len(), 3);
    assert_eq!(rig.budget.counters.gap_octets, 3);
}

#[test]
fn an_acknowledgment_alone_shows_a_hole() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.ack(1010);
    assert_eq!(rig.got, [text("ab"), Gap(8)]);
    rig.data(1010, b"k");
    assert_eq!(rig.got, [text("ab"), Gap(8), text("k")]);
}

#[test]
fn an_acknowledgment_captured_before_its_octets_is_no_hole() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.acknowledge(1004, true);
    rig.acknowledge(1006, true);
    rig.data(1004, b"ef");
    rig.data(1002, b"cd");
    rig.ack(1006);
    assert_eq!(rig.got, [text("abcdef")]);
    rig.acknowledge(1010, true);
    rig.now += 11_000_000;
    rig.acknowledge(1010, true);
    assert_eq!(rig.got, [text("abcdef"), Gap(4)]);
    rig.acknowledge(1020, true);
    rig.ack(1020);
    rig.acknowledge(1025, true);
    rig.finish();
    assert_eq!(rig.got[1..], [Gap(4), Gap(10), Gap(5)]);
}

#[test]
fn the_acknowledgment_of_a_fin_is_no_hole() {
    let mut rig = Rig::open();
    rig.fin(1000, b"ab");
    rig.ack(1003);
    assert_eq!(rig.got, [text("ab"), Got::Fin]);
    assert!(rig.stream.is_fin_acknowledged());
    let mut unseen = Rig::open();
    unseen.data(1000, b"ab");
    unseen.ack(1003);
    unseen.finish();
    assert_eq!(unseen.got, [text("ab")]);
}

#[test]
fn one_octet_lost_is_a_hole_once_more_comes() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.ack(1003);
    rig.data(1003, b"d");
    assert_eq!(rig.got, [text("ab"), Gap(1), text("d")]);
}

#[test]
fn a_wild_acknowledgment_is_not_believed() {
    for wild in [1000 + (17 << 20), 1000 + (1 << 30), 1000_u32.wrapping_add(3 << 30)] {
        let mut rig = Rig::open();
        rig.data(1000, b"ab");
        rig.ack(wild);
        rig.data(1002, b"cd");
        rig.finish();
        assert_eq!(rig.got, [text("abcd")], "{wild}");
        assert_eq!(rig.budget.counters.implausible, 1);
    }
}

#[test]
fn a_long_loss_is_believed_when_two_agree() {
    let far = 1002 + (100 << 20);
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.data(far, b"xy");
    assert_eq!(rig.got.len(), 1);
    rig.data(far + 2, b"z");
    rig.ack(far + 3);
    assert_eq!(rig.got, [text("ab"), Gap(100 << 20), text("xyz")]);
    let mut acks = Rig::open();
    acks.data(1000, b"ab");
    acks.ack(far);
    acks.ack(far + 5);
    assert_eq!(acks.got, [text("ab"), Gap((100 << 20) + 5)]);
}

#[test]
fn far_segments_that_agree_with_nothing_do_not_add_up() {
    let mut rig = Rig::open();
    for n in 1..50 {
        rig.data(1000 + n * (64 << 20), &[0; 1000]);
    }
    assert!(rig.stream.buffered() < 3000);
    assert_eq!(rig.got, []);
}

#[test]
fn fin_waits_for_what_is_before_it() {
    let mut rig = Rig::open();
    rig.fin(1003, b"d");
    rig.data(1000, b"abc");
    rig.fin(1003, b"d");
    assert_eq!(rig.got, [text("abcd"), Got::Fin]);
    rig.data(1004, b"late");
    assert_eq!(rig.budget.counters.late, 1);
    let mut lost = Rig::open();
    lost.fin(1003, b"");
    lost.ack(1004);
    assert_eq!(lost.got, [Gap(3), Got::Fin]);
}

#[test]
fn a_fin_that_octets_contradict_was_none() {
    let mut rig = Rig::open();
    rig.fin(1003, b"");
    rig.data(1000, b"abcdef");
    assert_eq!(rig.got, [text("abcdef")]);
}

#[test]
fn a_reset_counts_only_in_the_window() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.rst(1002 + (5 << 20));
    rig.rst(7);
    assert_eq!(rig.budget.counters.blind_resets, 1, "7 lies within reach before any acknowledgment");
    let mut acked = Rig::open();
    acked.data(1000, b"ab");
    acked.ack(1002);
    acked.rst(7);
    assert_eq!(acked.budget.counters.blind_resets, 1);
    acked.data(1003, b"d");
    acked.rst(1002);
    assert_eq!(acked.got, [text("ab"), Gap(1), text("d"), Got::Reset]);
    acked.rst(1002);
    assert_eq!(acked.got.len(), 4);
}

#[test]
fn keep_alives_are_nothing() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.data(1001, b"\0");
    rig.data(1001, b"");
    rig.data(1002, b"cd");
    assert_eq!(rig.got, [text("abcd")]);
    assert_eq!(rig.budget.counters, StreamCounters::default());
    let mut first = Rig::new();
    first.data(1001, b"");
    first.data(1002, b"cd");
    assert_eq!(first.got, [text("cd")]);
}

#[test]
fn a_zero_window_probe_counts_once() {
    let mut rig = Rig::open();
    rig.data(1000, b"a");
    rig.data(1000, b"a");
    rig.data(1000, b"abc");
    assert_eq!(rig.got, [text("abc")]);
}

#[test]
fn a_syn_may_carry_octets_and_come_again() {
    let mut rig = Rig::new();
    rig.take(Segment { seq: 999, syn: true, payload: b"hi", ..blank() });
    rig.take(Segment { seq: 999, syn: true, payload: b"hi", ..blank() });
    rig.data(1002, b"!");
    assert_eq!(rig.got, [text("hi!")]);
}

#[test]
fn numbers_wrap() {
    let mut rig = Rig::new();
    rig.take(Segment { seq: u32::MAX - 2, syn: true, ..blank() });
    rig.data(1, b"de");
    rig.data(u32::MAX - 1, b"abc");
    rig.ack(3);
    rig.ack(10);
    assert_eq!(rig.got, [text("abcde"), Gap(7)]);
}

#[test]
fn octets_cut_off_are_a_gap_once_nothing_can_fill_it() {
    let mut rig = Rig::open();
    rig.take(Segment { seq: 1000, payload: b"ab", cut: 98, ..blank() });
    rig.take(Segment { seq: 1100, payload: b"cd", cut: 8, ..blank() });
    assert_eq!(rig.got, [text("ab")]);
    rig.ack(1100);
    assert_eq!(rig.got, [text("ab"), Gap(98), text("cd")]);
    rig.data(1102, b"whole it");
    rig.take(Segment { seq: 1110, payload: b"e", cut: 4, ..blank() });
    rig.finish();
    assert_eq!(rig.got, [text("ab"), Gap(98), text("cdwhole ite"), Gap(4)]);
}

#[test]
fn picked_up_in_the_middle_the_first_octet_is_the_start() {
    let mut rig = Rig::new();
    rig.data(77, b"ab");
    rig.data(70, b"1234567ab");
    rig.data(79, b"cd");
    assert_eq!(rig.got, [text("abcd")]);
}

#[test]
fn an_unseen_direction_is_known_from_acknowledgments() {
    let mut rig = Rig::new();
    rig.ack(5000);
    rig.ack(5000);
    rig.ack(5100);
    rig.ack(5101);
    rig.finish();
    assert_eq!(rig.got, [Gap(100)]);
    assert!(!rig.stream.is_seen());
}

#[test]
fn too_many_octets_behind_a_hole_make_it_lost() {
    let mut rig = Rig::open();
    rig.budget.limits.buffered = 10_000;
    for n in 0..12 {
        rig.data(1010 + n * 1000, &[b'x'; 1000]);
        assert!(rig.stream.buffered() <= 10_000);
    }
    assert_eq!(rig.got.first(), Some(&Gap(10)));
    assert_eq!(rig.budget.counters.forced_gaps, 1);
    assert_eq!(rig.stream.next(), 12_010);
}

#[test]
fn tiny_pieces_are_bounded_by_what_they_cost() {
    let mut rig = Rig::open();
    for n in 0..200_000 {
        rig.data(1001 + 2 * n, b"x");
    }
    assert!(rig.stream.buffered() <= 4 << 20);
    assert!(rig.budget.counters.forced_gaps > 0);
}

#[test]
fn octets_do_not_wait_for_ever() {
    let mut rig = Rig::open();
    rig.data(1002, b"c");
    rig.now += 31_000_000_000;
    rig.data(1003, b"d");
    assert_eq!(rig.got, [Gap(2), text("cd")]);
}

#[test]
fn a_quiet_stream_delivers_its_end_only() {
    let mut rig = Rig::open();
    rig.data(1005, b"kept");
    rig.stream.quiet();
    assert_eq!(rig.stream.buffered(), 0);
    rig.data(1009, b"passed over");
    rig.data(1040, b"x");
    assert_eq!(rig.stream.buffered(), 0);
    rig.fin(1041, b"");
    rig.ack(1042);
    assert_eq!(rig.got, [Got::Fin]);
    assert!(rig.stream.is_fin_acknowledged());
}

/// Cuts of a stream: every octet covered, some twice, in an order that chance decides.
fn arrivals(len: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    let extra = prop::collection::vec((0..len, 1..60_usize), 0..20);
    (prop::collection::vec(1..40_usize, len), extra).prop_flat_map(move |(cuts, extra)| {
        let mut all: Vec<_> = extra.into_iter().map(|(from, n)| (from, (from + n).min(len))).collect();
        let mut from = 0;
        for cut in cuts {
            if from == len {
                break;
            }
            all.push((from, (from + cut).min(len)));
            from = (from + cut).min(len);
        }
        Just(all).prop_shuffle()
    })
}

fn octets(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

proptest! {
    #[test]
    fn whatever_the_order_the_octets_are_the_same(isn in prop_oneof![any::<u32>(), u32::MAX - 500..=u32::MAX], order in arrivals(600)) {
        let whole = octets(600);
        let mut rig = Rig::new();
        rig.take(Segment { seq: isn, syn: true, ..blank() });
        let first = isn.wrapping_add(1);
        for (from, to) in order {
            rig.data(first.wrapping_add(from as u32), &whole[from..to]);
        }
        rig.fin(first.wrapping_add(600), b"");
        prop_assert_eq!(&rig.got, &[Data(whole), Got::Fin]);
        prop_assert_eq!(rig.budget.counters.conflicts, 0);
        prop_assert_eq!(rig.stream.buffered(), 0);
    }

    #[test]
    fn bulk_sent_again_conflicts_only_where_octets_changed(
        isn: u32,
        before in 0..100_usize,
        pieces in prop::collection::vec(1..3000_usize, 1..12),
        again in prop::collection::vec((0..12_000_usize, 2..3000_usize), 0..12),
        changed in any::<prop::sample::Index>(),
        cut in 1..200_usize,
    ) {
        let pieces = [vec![before + 1, 600], pieces].concat();
        let whole = octets(pieces.iter().sum());
        let place = |offset: usize| isn.wrapping_add(1).wrapping_add(offset as u32);
        let mut rig = Rig::new();
        rig.take(Segment { seq: isn, syn: true, ..blank() });
        let mut sent = 0;
        for piece in pieces {
            rig.data(place(sent), &whole[sent..sent + piece]);
            sent += piece;
            for (from, len) in &again {
                let from = from % sent;
                rig.data(place(from), &whole[from..(from + len).min(sent)]);
            }
        }
        prop_assert_eq!(rig.stream.conflicts(), (0, None));
        // The first block whose octets are all known, and any octet in the window behind it.
        let first = (before + 1).next_multiple_of(64).max(sent.saturating_sub(16 << 10).next_multiple_of(64));
        let changed = first + changed.index(sent - first);
        let mut other = whole.clone();
        other[changed] ^= 1;
        for (n, piece) in other[first..].chunks(cut + 1).enumerate() {
            rig.data(place(first + n * (cut + 1)), piece);
        }
        let (conflicts, offset) = rig.stream.conflicts();
        prop_assert!(conflicts > 0 || (sent - first) % (cut + 1) == 1 && changed >= sent / 64 * 64);
        prop_assert!(offset.is_none_or(|offset| offset <= changed as u64), "{:?} {}", offset, changed);
        prop_assert_eq!(&rig.got, &[Data(whole)]);
    }

    #[test]
    fn each_hole_is_one_gap(isn: u32, present in prop::collection::vec(any::<bool>(), 1..60), acked: bool, seed: u64) {
        const SIZE: usize = 10;
        let whole = octets(present.len() * SIZE);
        let first = isn.wrapping_add(1);
        let mut rig = Rig::new();
        rig.take(Segment { seq: isn, syn: true, ..blank() });
        let mut order: Vec<usize> = (0..present.len()).filter(|n| present[*n]).collect();
        order.sort_by_key(|n| (*n as u64).wrapping_mul(seed | 1));
        for n in order {
            rig.data(first.wrapping_add((n * SIZE) as u32), &whole[n * SIZE..(n + 1) * SIZE]);
        }
        let mut expected = vec![];
        for (n, here) in present.iter().enumerate() {
            let octets = &whole[n * SIZE..(n + 1) * SIZE];
            match (here, expected.last_mut()) {
                (true, Some(Data(data))) => data.extend_from_slice(octets),
                (true, _) => expected.push(Data(octets.to_vec())),
                (false, Some(Gap(n))) => *n += SIZE as u64,
                (false, _) => expected.push(Gap(SIZE as u64)),
            }
        }
        if acked {
            rig.ack(first.wrapping_add(whole.len() as u32));
        } else {
            rig.finish();
            if let Some(Gap(_)) = expected.last() {
                // Nobody knows of octets that neither came nor were acknowledged.
                expected.pop();
            }
        }
        prop_assert_eq!(&rig.got, &expected);
    }

    #[test]
    fn nonsense_neither_panics_nor_grows(steps in prop::collection::vec((any::<u32>(), 0..5_u8, 0..2000_usize, any::<u16>()), 0..200), near: bool) {
        let zeros = [0; 2000];
        let mut rig = Rig::new();
        rig.budget.limits.buffered = 20_000;
        for (seq, what, len, cut) in steps {
            let seq = if near { seq % 100_000 } else { seq };
            match what {
                0 => rig.ack(seq),
                1 => rig.fin(seq, &zeros[..len]),
                2 => rig.rst(seq),
                3 => rig.take(Segment { seq, payload: &zeros[..len], cut: u32::from(cut), ..blank() }),
                _ => rig.data(seq, &zeros[..len]),
            }
            prop_assert!(rig.stream.buffered() <= 24_400);
        }
        rig.finish();
        prop_assert!(rig.got.iter().filter(|got| matches!(got, Got::Fin)).count() <= 1);
    }
}

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::wire::Side;
use crate::wire::packet::Segment;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Data(Vec<u8>),
    Gap(u64),
    Fin,
    Reset,
}

use Got::{Data, Gap};

struct Rig {
    duplex: Duplex,
    budget: BufferBudget,
    now: u64,
    got: Vec<Got>,
    times: Vec<u64>,
    received: Vec<Option<u64>>,
    /// What both sides gave, in order.
    order: Vec<(Side, Got)>,
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

const C: Side = Side::Lesser;
const S: Side = Side::Greater;

impl Rig {
    fn new() -> Self {
        let (duplex, budget) = (Duplex::new(), BufferBudget::default());
        Self { duplex, budget, now: 0, got: vec![], times: vec![], received: vec![], order: vec![] }
    }

    /// After a SYN with sequence number 999: offset 0 is 1000.
    fn open() -> Self {
        let mut rig = Self::new();
        rig.take(Segment { seq: 999, syn: true, ..blank() });
        rig
    }

    /// After a handshake: the client's offset 0 is 1000, the server's 5000.
    fn both() -> Self {
        let mut rig = Self::open();
        rig.send(S, Segment { seq: 4999, syn: true, ack: Some(1000), ..blank() });
        rig.send(C, Segment { seq: 1000, ack: Some(5000), ..blank() });
        rig
    }

    fn run(
        &mut self,
        action: impl FnOnce(&mut Duplex, &mut BufferBudget, Timestamp, &mut dyn FnMut(Side, StreamDelivery<'_>)),
    ) {
        let (got, times, received, order) = (&mut self.got, &mut self.times, &mut self.received, &mut self.order);
        let now = Timestamp::from_nanos(self.now);
        action(&mut self.duplex, &mut self.budget, now, &mut |side, delivery| {
            let input = match delivery.input {
                Input::Data(data) => Data(data.to_vec()),
                Input::Gap(n) => Gap(n),
                Input::Fin => Got::Fin,
                Input::Reset => Got::Reset,
            };
            order.push((side, input.clone()));
            if side == S {
                return;
            }
            times.push(delivery.at.as_nanos());
            received.push(delivery.received);
            match (input, got.last_mut()) {
                (Data(more), Some(Data(data))) => data.extend_from_slice(&more),
                (input, _) => got.push(input),
            }
        });
    }

    fn send(&mut self, side: Side, segment: Segment<'_>) {
        self.now += 1;
        let segment = Segment { at: Timestamp::from_nanos(self.now), ..segment };
        self.run(|duplex, budget, now, out| duplex.segment(side, &segment, now, budget, &mut |s, d| out(s, d)));
    }

    fn take(&mut self, segment: Segment<'_>) {
        self.send(C, segment);
    }

    fn data(&mut self, seq: u32, payload: &[u8]) {
        self.take(Segment { seq, payload, ..blank() });
    }

    /// The client's bytes from 1000 on, those of the server up to `ack` received.
    fn client(&mut self, seq: u32, ack: u32, payload: &[u8]) {
        self.send(C, Segment { seq, ack: Some(ack), payload, ..blank() });
    }

    fn server(&mut self, seq: u32, ack: u32, payload: &[u8]) {
        self.send(S, Segment { seq, ack: Some(ack), payload, ..blank() });
    }

    fn fin(&mut self, seq: u32, payload: &[u8]) {
        self.take(Segment { seq, payload, fin: true, ..blank() });
    }

    fn rst(&mut self, seq: u32) {
        self.take(Segment { seq, rst: true, ..blank() });
    }

    /// The other side acknowledges, without bytes of its own.
    fn ack(&mut self, ack: u32) {
        self.send(S, Segment { seq: 1, ack: Some(ack), ..blank() });
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds * 1_000_000;
        self.run(|duplex, budget, now, out| duplex.tick(now, budget, &mut |s, d| out(s, d)));
    }

    /// The window is over.
    fn wait(&mut self) {
        self.pass(501);
    }

    fn finish(&mut self) {
        self.run(|duplex, budget, now, out| duplex.finish(now, budget, &mut |s, d| out(s, d)));
    }

    fn stream(&self) -> &Stream {
        self.duplex.of(C)
    }

    /// The order of both sides' bytes, as text: `C` and `S`, then what it was.
    fn story(&self) -> String {
        let word = |(side, got): &(Side, Got)| {
            let side = if *side == C { 'C' } else { 'S' };
            match got {
                Data(data) => format!("{side}:{}", String::from_utf8_lossy(data)),
                Gap(n) => format!("{side}-{n}"),
                Got::Fin => format!("{side}."),
                Got::Reset => format!("{side}!"),
            }
        };
        self.order.iter().map(word).collect::<Vec<_>>().join(" ")
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
    assert_eq!(rig.stream().next(), 8);
    assert_eq!(rig.stream().buffered(), 0);
}

#[test]
fn early_bytes_keep_their_time_and_evidence() {
    let mut rig = Rig::both();
    rig.server(5000, 1000, b"12345");
    rig.client(1004, 5005, b"def");
    rig.client(1000, 5003, b"0abc");
    assert_eq!(rig.got, [text("0abcdef")]);
    assert_eq!(rig.times, [6, 5]);
    assert_eq!(rig.received, [Some(3), Some(5)]);
    assert_eq!(rig.budget.counters.early, 1);
    assert_eq!(rig.stream().buffered(), 0);
}

#[test]
fn the_first_octets_win_and_a_difference_is_flagged() {
    let mut rig = Rig::open();
    rig.data(1002, b"CD");
    rig.data(1000, b"abxdE");
    assert_eq!(rig.got, [text("abCDE")]);
    assert_eq!(rig.stream().conflicts(), (1, Some(2)));
}

#[test]
fn bulk_sent_again_with_other_octets_is_flagged_after_delivery() {
    let mut rig = Rig::open();
    let mut bulk = octets(5000);
    rig.data(1000, &bulk);
    rig.data(1000, &bulk[..1448]);
    rig.data(2000, &bulk[1000..2448]);
    assert_eq!(rig.stream().conflicts(), (0, None));
    bulk[1500] ^= 1;
    rig.data(2000, &bulk[1000..2448]);
    assert_eq!(rig.stream().conflicts(), (1, Some(1472)));
    rig.data(5990, b"other at the end");
    assert_eq!(rig.stream().conflicts(), (2, Some(1472)), "the block under way, as far as it was delivered");
    rig.duplex.quiet();
    rig.data(2000, &bulk[1000..2448]);
    assert_eq!(rig.stream().conflicts(), (2, Some(1472)));
}

#[test]
fn a_short_segment_sent_again_with_other_octets_is_flagged_after_delivery() {
    let mut rig = Rig::open();
    rig.data(1000, b"NOOP\r\n");
    rig.data(1006, b"QUIT\r\n");
    rig.data(1006, b"QUIT\r\n");
    assert_eq!(rig.stream().conflicts(), (0, None));
    rig.data(1000, b"NOOP\r\nRSET\r\nmore");
    assert_eq!(rig.stream().conflicts(), (1, Some(6)));
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
fn a_hole_that_was_acknowledged_is_lost_when_the_window_is_over() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.data(1005, b"fg");
    rig.ack(1007);
    rig.pass(499);
    assert_eq!(rig.got, [text("ab")]);
    rig.pass(2);
    assert_eq!(rig.got, [text("ab"), Gap(3), text("fg")]);
    assert_eq!(rig.times, [2, 3, 3], "a gap has the time of its first sign");
    rig.data(1002, b"cde");
    assert_eq!(rig.got.len(), 3);
    assert_eq!(rig.budget.counters.gap_octets, 3);
}

#[test]
fn the_window_is_measured_in_segments_too() {
    let mut rig = Rig::open();
    rig.data(1005, b"fg");
    for _ in 0..8192 {
        rig.ack(1007);
    }
    assert_eq!(rig.got, []);
    rig.ack(1007);
    rig.ack(1007);
    assert_eq!(rig.got, [Gap(5), text("fg")]);
}

#[test]
fn what_an_acknowledgment_alone_shows_is_lost_when_something_waits_for_it() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.ack(1010);
    rig.wait();
    assert_eq!(rig.got, [text("ab")], "nothing needs it yet");
    rig.data(1010, b"k");
    rig.wait();
    assert_eq!(rig.got, [text("ab"), Gap(8), text("k")]);
    rig.ack(1020);
    rig.finish();
    assert_eq!(rig.got[2..], [text("k"), Gap(9)]);
}

#[test]
fn an_acknowledgment_captured_before_its_bytes_is_no_hole() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.ack(1004);
    rig.ack(1006);
    rig.data(1004, b"ef");
    rig.pass(400);
    rig.data(1002, b"cd");
    rig.ack(1006);
    assert_eq!(rig.got, [text("abcdef")]);
}

#[test]
fn a_reply_captured_behind_the_next_command_comes_before_it() {
    let mut rig = Rig::both();
    rig.client(1000, 5000, b"one");
    rig.client(1003, 5003, b"two");
    rig.pass(100);
    rig.server(5000, 1003, b"1st");
    rig.server(5003, 1006, b"2nd");
    assert_eq!(rig.story(), "C:one S:1st C:two S:2nd");
    assert_eq!((rig.budget.counters.waited, rig.budget.counters.gaps), (1, 0));
    assert_eq!((rig.duplex.buffered(), rig.duplex.waits()), (0, false));
}

#[test]
fn what_waits_for_the_other_side_is_counted_and_bounded() {
    let mut rig = Rig::both();
    rig.budget.limits.buffered = 8000;
    let mut most = 0;
    for n in 0..20 {
        rig.client(1000 + n * 1000, 5003, &[b'x'; 1000]);
        most = most.max(rig.duplex.buffered());
        assert!(n > 5 || rig.duplex.buffered() >= 1000 * (n as usize + 1), "all of it waits at first");
    }
    assert!((6000..=8000).contains(&most), "{most}");
    rig.finish();
    assert_eq!(rig.got, [Data(vec![b'x'; 20_000])]);
    assert_eq!(rig.duplex.buffered(), 0);
}

#[test]
fn a_side_that_is_captured_late_makes_no_difference() {
    for late in [C, S] {
        let mut rig = Rig::both();
        let turns = [
            (S, 5000, 1000, "hi"),
            (C, 1000, 5002, "one"),
            (S, 5002, 1003, "1st"),
            (C, 1003, 5005, "two"),
            (S, 5005, 1006, "2nd"),
            (C, 1006, 5008, "end"),
        ];
        for turn in [false, true] {
            for (side, seq, ack, text) in turns.iter().filter(|(side, ..)| (*side == late) == turn) {
                rig.send(*side, Segment { seq: *seq, ack: Some(*ack), payload: text.as_bytes(), ..blank() });
            }
        }
        assert_eq!(rig.story(), "S:hi C:one S:1st C:two S:2nd C:end");
    }
}

#[test]
fn a_reply_that_does_not_come_is_lost_before_what_was_sent_after_it() {
    let mut rig = Rig::both();
    rig.client(1000, 5000, b"one");
    rig.client(1003, 5003, b"two");
    rig.server(5003, 1006, b"2nd");
    assert_eq!(rig.story(), "C:one");
    rig.wait();
    assert_eq!(rig.story(), "C:one S-3 C:two S:2nd");
    rig.server(5000, 1003, b"1st");
    assert_eq!(rig.order.len(), 4);
}

#[test]
fn what_one_segment_alone_acknowledges_may_never_have_been_sent() {
    let mut rig = Rig::both();
    rig.client(1000, 9000, b"one");
    rig.wait();
    assert_eq!(rig.story(), "");
    rig.pass(5000);
    rig.server(5000, 1003, b"1st");
    assert_eq!(rig.story(), "C:one S:1st", "it waited, and nothing was lost");
    rig.client(1003, 9000, b"two");
    rig.client(1006, 5003, b"three");
    assert_eq!(rig.story(), "C:one S:1st C:two C:three", "a later segment takes it back");
    assert_eq!(rig.budget.counters.gaps, 0);
}

#[test]
fn each_of_two_that_acknowledge_each_other_goes_on() {
    let mut rig = Rig::both();
    rig.client(1000, 5003, b"one");
    rig.server(5000, 1003, b"1st");
    rig.wait();
    assert_eq!(rig.story(), "C:one S:1st");
}

#[test]
fn a_direction_that_is_not_captured_delays_once() {
    let mut rig = Rig::new();
    for n in 0..20 {
        rig.client(1000 + n, 5000 + 10 * n, b"x");
        rig.pass(if n < 3 { 400 } else { 1 });
    }
    assert!(rig.story().ends_with("S-10 C:x S-10 C:x S-10 C:x"), "{}", rig.story());
    assert_eq!(rig.order.len(), 39, "nothing waits any more");
}

#[test]
fn a_capture_that_loses_much_is_waited_for_less() {
    let mut rig = Rig::both();
    for n in 0..8 {
        rig.data(1001 + 2 * n, b"x");
        rig.ack(1002 + 2 * n);
        rig.wait();
    }
    assert_eq!(rig.budget.counters.gaps, 8);
    rig.data(1017, b"x");
    rig.ack(1018);
    rig.pass(11);
    assert_eq!(rig.budget.counters.gaps, 9);
    rig.data(1019, b"z");
    rig.ack(1020);
    rig.data(1018, b"y");
    rig.data(1021, b"x");
    rig.ack(1022);
    rig.pass(400);
    assert_eq!(rig.budget.counters.gaps, 9, "one came late after all");
}

#[test]
fn a_reset_waits_for_what_the_other_side_had_sent() {
    let mut rig = Rig::both();
    rig.client(1000, 5000, b"one");
    rig.send(C, Segment { seq: 1003, ack: Some(5003), rst: true, ..blank() });
    rig.server(5000, 1003, b"1st");
    assert_eq!(rig.story(), "C:one S:1st");
    assert!(rig.duplex.has_ended() && !rig.duplex.is_over());
    rig.wait();
    assert_eq!(rig.story(), "C:one S:1st C!");
    assert!(rig.duplex.is_over());
}

#[test]
fn the_acknowledgment_of_a_reset_shows_what_the_other_side_had_sent() {
    let mut rig = Rig::both();
    rig.client(1000, 5000, b"one");
    rig.send(S, Segment { seq: 5000, ack: Some(1008), rst: true, ..blank() });
    rig.wait();
    assert_eq!(rig.story(), "C:one C-5 S!");
    let mut late = Rig::both();
    late.client(1000, 5000, b"one");
    late.send(S, Segment { seq: 5000, ack: Some(1006), rst: true, ..blank() });
    late.client(1003, 5000, b"two");
    late.wait();
    assert_eq!(late.story(), "C:one C:two S!", "captured behind the reset");
}

#[test]
fn the_acknowledgment_of_a_reset_is_no_beginning() {
    let mut rig = Rig::new();
    rig.send(S, Segment { seq: 5000, ack: Some(1008), rst: true, ..blank() });
    rig.data(9000, b"ab");
    rig.finish();
    assert!(!rig.got.iter().any(|got| matches!(got, Gap(_))), "{:?}", rig.got);
}

#[test]
fn a_segment_without_bytes_shows_what_its_sender_had_sent() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.data(1012, b"");
    rig.finish();
    assert_eq!(rig.got, [text("ab"), Gap(10)]);
    let mut wild = Rig::open();
    wild.data(1000, b"ab");
    wild.data(1012, b"");
    wild.data(1002, b"");
    wild.data(1002 + (2 << 20), b"");
    wild.finish();
    assert_eq!(wild.got, [text("ab")], "a later one takes it back");
    let mut closed = Rig::open();
    closed.data(1000, b"ab");
    closed.data(1003, b"");
    closed.finish();
    assert_eq!(closed.got, [text("ab")], "behind a FIN that was not captured");
}

#[test]
fn the_acknowledgment_of_a_fin_is_no_hole() {
    let mut rig = Rig::open();
    rig.fin(1000, b"ab");
    rig.ack(1003);
    assert_eq!(rig.got, [text("ab"), Got::Fin]);
    assert!(rig.stream().is_fin_acknowledged());
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
    rig.wait();
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
fn a_long_loss_is_believed_when_three_agree() {
    let far = 1002 + (100 << 20);
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.data(far, b"xy");
    rig.data(far + 2, b"z");
    rig.data(far + 2, b"z");
    assert_eq!(rig.budget.counters.implausible, 3);
    rig.data(far + 3, b"!");
    rig.ack(far + 4);
    rig.wait();
    assert_eq!(rig.got, [text("ab"), Gap((100 << 20) + 3), text("!")]);
    let mut acks = Rig::open();
    acks.data(1000, b"ab");
    acks.ack(far);
    acks.ack(far + 3);
    acks.ack(far + 5);
    acks.finish();
    assert_eq!(acks.got, [text("ab"), Gap((100 << 20) + 5)]);
}

#[test]
fn a_connection_seen_on_both_sides_of_a_host_that_renumbers_has_no_gaps() {
    for other in [700_000_000, 4_000_000_000_u32] {
        let mut rig = Rig::open();
        for n in 0..40 {
            rig.data(1000 + 2 * n, b"ab");
            rig.data(other + 2 * n, b"ab");
            rig.ack(other + 2 * n + 2);
            rig.ack(1000 + 2 * n + 2);
        }
        rig.finish();
        assert_eq!((rig.got.len(), rig.budget.counters.gaps), (1, 0));
        assert_eq!(rig.stream().next(), 80);
    }
}

#[test]
fn far_segments_that_agree_with_nothing_do_not_add_up() {
    let mut rig = Rig::open();
    for n in 1..50 {
        rig.data(1000 + n * (64 << 20), &[0; 1000]);
    }
    assert_eq!(rig.stream().buffered(), 0);
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
    lost.wait();
    assert_eq!(lost.got, [Gap(3), Got::Fin]);
}

#[test]
fn a_byte_far_ahead_belongs_to_nothing() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.data(101_000, b"Z");
    rig.data(1002, b"cd");
    rig.ack(1004);
    rig.pass(40_000);
    rig.data(1004, b"ef");
    rig.fin(1006, b"");
    rig.ack(1007);
    assert_eq!(rig.got, [text("abcdef"), Got::Fin]);
    assert_eq!(rig.stream().buffered(), 0);
    let mut open = Rig::open();
    open.data(1000, b"ab");
    open.data(101_000, b"Z");
    open.finish();
    assert_eq!(open.got, [text("ab")]);
}

#[test]
fn a_fin_that_octets_contradict_was_none() {
    let mut rig = Rig::open();
    rig.fin(1003, b"");
    rig.data(1000, b"abcdef");
    assert_eq!(rig.got, [text("abcdef")]);
}

#[test]
fn a_reset_that_is_not_exact_counts_if_nothing_more_is_sent() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.ack(1002);
    for wild in [1002 + (5 << 20), 7] {
        rig.rst(wild);
    }
    rig.rst(1500);
    assert_eq!(rig.budget.counters.blind_resets, 3);
    rig.wait();
    rig.data(1002, b"cd");
    rig.finish();
    assert_eq!(rig.got, [text("abcd")]);
    let mut last = Rig::open();
    last.data(1000, b"ab");
    last.rst(1005);
    assert!(last.duplex.has_ended());
    last.finish();
    assert_eq!(last.got, [text("ab"), Gap(3), Got::Reset], "the bytes before it were not captured");
}

#[test]
fn a_reset_at_the_next_byte_counts() {
    let mut rig = Rig::open();
    rig.data(1000, b"ab");
    rig.ack(1002);
    rig.data(1003, b"d");
    rig.rst(1002);
    rig.wait();
    assert_eq!(rig.got, [text("ab"), Gap(1), text("d"), Got::Reset]);
    rig.rst(1002);
    assert_eq!(rig.got.len(), 4);
    let mut lossy = Rig::open();
    lossy.data(1000, b"ab");
    lossy.ack(1007);
    lossy.rst(1007);
    lossy.wait();
    assert_eq!(lossy.got, [text("ab"), Gap(5), Got::Reset]);
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
    rig.finish();
    assert_eq!(rig.got, [text("abcde"), Gap(7)]);
}

#[test]
fn bytes_cut_off_are_a_gap_at_their_turn() {
    let mut rig = Rig::open();
    rig.take(Segment { seq: 1000, payload: b"ab", cut: 98, ..blank() });
    assert_eq!(rig.got, [text("ab"), Gap(98)]);
    rig.take(Segment { seq: 1110, payload: b"e", cut: 4, ..blank() });
    rig.take(Segment { seq: 1100, payload: b"cd", cut: 8, ..blank() });
    assert_eq!(rig.got[2..], [text("cd"), Gap(8), text("e"), Gap(4)]);
    rig.take(Segment { seq: 1115, payload: b"", cut: 5, ..blank() });
    rig.take(Segment { seq: 1115, payload: b"", cut: 5, ..blank() });
    rig.data(1120, b"f");
    assert_eq!(rig.got[6..], [Gap(5), text("f")]);
    assert_eq!(rig.budget.counters.gap_octets, 98 + 8 + 4 + 5);
}

#[test]
fn bytes_cut_off_wait_for_what_they_acknowledge() {
    let mut rig = Rig::both();
    rig.send(C, Segment { seq: 1000, ack: Some(5003), payload: b"", cut: 5, ..blank() });
    rig.client(1005, 5003, b"two");
    assert_eq!(rig.story(), "");
    rig.server(5000, 1000, b"1st");
    assert_eq!(rig.story(), "S:1st C-5 C:two");
}

#[test]
fn bytes_cut_off_are_filled_by_what_holds_them() {
    let mut rig = Rig::open();
    rig.take(Segment { seq: 1004, payload: b"ef", cut: 3, ..blank() });
    rig.data(1006, b"ghi");
    rig.data(1000, b"abcd");
    assert_eq!(rig.got, [text("abcdefghi")]);
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
    rig.finish();
    assert_eq!(rig.got, [Gap(100)]);
    assert!(!rig.stream().is_seen());
}

#[test]
fn too_many_octets_behind_a_hole_make_it_lost() {
    let mut rig = Rig::open();
    rig.budget.limits.buffered = 10_000;
    for n in 0..12 {
        rig.data(1010 + n * 1000, &[b'x'; 1000]);
        assert!(rig.stream().buffered() <= 11_100);
    }
    assert_eq!(rig.got.first(), Some(&Gap(10)));
    assert_eq!(rig.budget.counters.forced_gaps, 1);
    assert_eq!(rig.stream().next(), 12_010);
}

#[test]
fn tiny_pieces_are_bounded_by_what_they_cost() {
    let mut rig = Rig::open();
    for n in 0..200_000 {
        rig.data(1001 + 2 * n, b"x");
    }
    assert!(rig.stream().buffered() <= (4 << 20) + 97);
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
    rig.duplex.quiet();
    assert_eq!(rig.stream().buffered(), 0);
    rig.data(1009, b"passed over");
    rig.data(1040, b"x");
    assert_eq!(rig.stream().buffered(), 0);
    rig.fin(1041, b"");
    rig.ack(1042);
    assert_eq!(rig.got, [Got::Fin]);
    assert!(rig.stream().is_fin_acknowledged());
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
        prop_assert_eq!(rig.stream().buffered(), 0);
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
        prop_assert_eq!(rig.stream().conflicts(), (0, None));
        // The first block whose octets are all known, and any octet in the window behind it.
        let first = (before + 1).next_multiple_of(64).max(sent.saturating_sub(16 << 10).next_multiple_of(64));
        let changed = first + changed.index(sent - first);
        let mut other = whole.clone();
        other[changed] ^= 1;
        for (n, piece) in other[first..].chunks(cut + 1).enumerate() {
            rig.data(place(first + n * (cut + 1)), piece);
        }
        let (conflicts, offset) = rig.stream().conflicts();
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
        }
        rig.finish();
        if !acked && let Some(Gap(_)) = expected.last() {
            // Nobody knows of bytes that neither came nor were acknowledged.
            expected.pop();
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
            prop_assert!(rig.stream().buffered() <= 22_100);
        }
        rig.finish();
        prop_assert!(rig.got.iter().filter(|got| matches!(got, Got::Fin)).count() <= 1);
    }
}

#[test]
fn a_close_whose_other_half_is_captured_late_is_a_close() {
    let mut rig = Rig::both();
    rig.client(1000, 5000, b"quit");
    rig.send(C, Segment { seq: 1004, ack: Some(5004), fin: true, ..blank() });
    rig.server(5000, 1004, b"bye");
    rig.send(S, Segment { seq: 5003, ack: Some(1004), fin: true, ..blank() });
    rig.server(5004, 1005, b"");
    assert_eq!(rig.story(), "C:quit S:bye S. C.");
    assert!(rig.duplex.is_over());
}

#[test]
fn closes_that_cross_have_one_order() {
    for first in [C, S] {
        let mut rig = Rig::both();
        for side in [first, first.other()] {
            let (seq, ack) = if side == C { (1000, 5000) } else { (5000, 1000) };
            rig.send(side, Segment { seq, ack: Some(ack), fin: true, ..blank() });
        }
        rig.client(1001, 5001, b"");
        rig.server(5001, 1001, b"");
        assert_eq!((rig.story().as_str(), rig.duplex.is_over()), ("C. S.", true));
    }
}

#[test]
fn a_fin_that_nobody_acknowledges_is_delivered_all_the_same() {
    let mut rig = Rig::both();
    rig.send(C, Segment { seq: 1000, ack: Some(5000), fin: true, ..blank() });
    assert_eq!(rig.story(), "");
    rig.wait();
    assert_eq!(rig.story(), "C.");
}

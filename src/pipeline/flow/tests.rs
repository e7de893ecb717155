use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::event::{Context, Event};

struct Nothing;

impl Sink for Nothing {
    fn event(&mut self, _: &Context, _: Timestamp, _: &Event<'_>) {}
}

struct Rig {
    table: FlowTable,
    now: Timestamp,
    number: u64,
}

const CLIENT: &str = "192.0.2.1:40000";
const SERVER: &str = "[2001:db8::1]:25";

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Rig {
    fn new(config: FlowLimits) -> Self {
        let table = FlowTable::new(config, Arc::new(engine::Limits::default()));
        Self { table, now: Timestamp::from_parts(1_000_000, 0), number: 0 }
    }

    fn plain() -> Self {
        Self::new(FlowLimits::default())
    }

    fn after(&mut self, by: Duration) {
        self.now = self.now.after(by);
    }

    /// `flags` of "SFRA"; a letter A takes `ack`.
    fn send(&mut self, from: &str, to: &str, flags: &str, seq: u32, ack: u32, payload: &[u8]) {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let has = |flag| flags.contains(flag);
        let (syn, fin, rst) = (has('S'), has('F'), has('R'));
        let ack = has('A').then_some(ack);
        self.number += 1;
        let segment = Segment { at: self.now, source: 0, from, to, seq, ack, syn, fin, rst, payload, cut: 0 };
        self.table.segment(self.number, &segment, &mut Nothing);
    }

    fn client(&mut self, flags: &str, seq: u32, ack: u32, payload: &[u8]) {
        self.send(CLIENT, SERVER, flags, seq, ack, payload);
    }

    fn server(&mut self, flags: &str, seq: u32, ack: u32, payload: &[u8]) {
        self.send(SERVER, CLIENT, flags, seq, ack, payload);
    }

    fn open(&mut self) {
        self.client("S", 100, 0, b"");
        self.server("SA", 500, 101, b"");
        self.client("A", 101, 501, b"");
    }

    fn close(&mut self) {
        self.client("FA", 101, 501, b"");
        self.server("FA", 501, 102, b"");
        self.client("A", 102, 502, b"");
    }

    fn counters(&self) -> FlowCounters {
        self.table.counters()
    }
}

#[test]
fn a_whole_connection_closes_and_its_tail_opens_nothing() {
    let mut rig = Rig::plain();
    rig.open();
    assert_eq!(rig.table.len(), 1);
    rig.server("A", 501, 101, b"220 hi\r\n");
    rig.client("FA", 101, 509, b"");
    rig.server("FA", 509, 102, b"");
    rig.client("A", 102, 510, b"");
    assert_eq!((rig.table.len(), rig.counters().closed), (0, 1));
    rig.server("FA", 509, 102, b"");
    rig.client("A", 102, 510, b"");
    rig.client("S", 100, 0, b"");
    assert_eq!((rig.table.len(), rig.counters().opened, rig.counters().stray), (0, 1, 3));
}

#[test]
fn a_new_syn_after_the_close_is_a_new_connection() {
    let mut rig = Rig::plain();
    rig.open();
    rig.close();
    rig.client("S", 90_000, 0, b"");
    assert_eq!((rig.table.len(), rig.counters().opened, rig.counters().reused), (1, 2, 0));
}

#[test]
fn ports_used_again_end_the_old_connection() {
    let mut rig = Rig::plain();
    rig.open();
    rig.server("A", 501, 101, b"220 hi\r\n");
    rig.after(secs(2));
    rig.client("S", 90_000, 0, b"");
    assert_eq!(rig.counters().opened, 1, "a SYN alone proves nothing");
    rig.server("SA", 70_000, 90_001, b"");
    rig.client("A", 90_001, 70_001, b"");
    assert_eq!((rig.counters().opened, rig.counters().reused, rig.counters().closed), (2, 1, 1));
    assert_eq!(rig.table.len(), 1);
}

#[test]
fn a_blind_syn_ends_nothing() {
    let mut rig = Rig::plain();
    rig.open();
    rig.client("A", 101, 501, b"EHLO x\r\n");
    rig.client("S", 90_000, 0, b"");
    rig.client("A", 109, 501, b"QUIT\r\n");
    assert_eq!((rig.table.len(), rig.counters().opened, rig.counters().stray), (1, 1, 1));
    assert_eq!(rig.counters().streams.gaps, 0);
}

#[test]
fn a_reset_ends_and_a_blind_one_does_not() {
    let mut rig = Rig::plain();
    rig.open();
    rig.server("A", 501, 101, b"220 hi\r\n");
    rig.client("A", 101, 509, b"");
    rig.server("R", 3_000_000, 0, b"");
    assert_eq!((rig.table.len(), rig.counters().streams.blind_resets), (1, 1));
    rig.server("R", 509, 0, b"");
    assert_eq!(rig.table.len(), 1, "what the client had sent may be captured late");
    rig.after(secs(1));
    rig.table.tick(rig.now, &mut Nothing);
    assert_eq!((rig.table.len(), rig.counters().closed), (0, 1));
}

#[test]
fn a_refused_connection_is_reported_on_a_mail_port_only() {
    let mut rig = Rig::plain();
    rig.client("S", 100, 0, b"");
    rig.server("RA", 0, 999_999_999, b"");
    assert_eq!(rig.table.len(), 1, "the reset answers another SYN");
    rig.server("RA", 0, 101, b"");
    rig.send("192.0.2.1:5000", "192.0.2.2:8080", "S", 1, 0, b"");
    rig.send("192.0.2.2:8080", "192.0.2.1:5000", "RA", 0, 2, b"");
    assert_eq!((rig.counters().closed, rig.counters().empty), (2, 1));
}

#[test]
fn a_reset_out_of_nowhere_opens_nothing() {
    let mut rig = Rig::plain();
    rig.server("R", 1, 0, b"");
    assert_eq!((rig.table.len(), rig.counters().stray), (0, 1));
}

#[test]
fn idle_connections_time_out_half_open_ones_sooner() {
    let mut rig = Rig::plain();
    rig.open();
    rig.send("192.0.2.9:1", SERVER, "S", 1, 0, b"");
    rig.after(secs(121));
    rig.table.tick(rig.now, &mut Nothing);
    assert_eq!((rig.table.len(), rig.counters().timed_out), (1, 1));
    rig.after(secs(7200));
    rig.table.tick(rig.now, &mut Nothing);
    assert_eq!((rig.table.len(), rig.counters().timed_out), (0, 2));
}

#[test]
fn a_late_packet_finds_the_timeout_without_a_tick() {
    let mut rig = Rig::plain();
    rig.open();
    rig.after(secs(7201));
    rig.client("A", 101, 501, b"NOOP\r\n");
    assert_eq!((rig.table.len(), rig.counters().timed_out, rig.counters().opened), (1, 1, 2));
}

#[test]
fn what_closed_but_for_an_acknowledgment_is_closed() {
    let mut rig = Rig::plain();
    rig.open();
    rig.client("FA", 101, 501, b"");
    rig.server("FA", 501, 102, b"");
    rig.after(secs(121));
    rig.table.tick(rig.now, &mut Nothing);
    assert_eq!((rig.counters().closed, rig.counters().timed_out), (1, 0));
}

#[test]
fn the_least_recently_used_makes_room() {
    let mut rig = Rig::new(FlowLimits { flows: 4, ..FlowLimits::default() });
    rig.open();
    for n in 0..100 {
        rig.send(&format!("192.0.2.7:{}", 1000 + n), SERVER, "S", 1, 0, b"");
        assert!(rig.table.len() <= 4);
    }
    assert_eq!(rig.counters().evicted, 97);
    rig.client("A", 101, 501, b"EHLO x\r\n");
    assert_eq!(rig.counters().opened, 101, "a flood of SYNs does not drive out what is established");
}

#[test]
fn octets_kept_are_bounded_over_all() {
    let mut rig = Rig::new(FlowLimits { buffered: 100_000, ..FlowLimits::default() });
    for n in 0..200 {
        let from = format!("192.0.2.7:{}", 1000 + n);
        rig.send(&from, SERVER, "S", 1, 0, b"");
        rig.send(&from, SERVER, "A", 10, 1, &[b'x'; 1000]);
        assert!(rig.table.buffered() <= 100_000);
    }
    assert!(rig.counters().forced > 0);
    assert_eq!(rig.counters().evicted, 0);
    rig.table.finish(rig.now, &mut Nothing);
    assert_eq!((rig.table.len(), rig.table.buffered(), rig.counters().capture_end), (0, 0, 200));
}

#[test]
fn one_direction_tells_of_the_other() {
    let mut rig = Rig::plain();
    rig.client("A", 101, 501, b"EHLO x\r\n");
    rig.client("A", 109, 601, b"MAIL FROM:<>\r\n");
    rig.client("FA", 123, 651, b"");
    rig.table.finish(rig.now, &mut Nothing);
    assert_eq!((rig.counters().streams.gap_octets, rig.counters().closed), (150, 1));
}

#[test]
fn both_directions_have_one_hash_and_every_run_the_same() {
    let (from, to) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    let there = Segment {
        at: Timestamp::from_nanos(0),
        source: 0,
        from,
        to,
        seq: 0,
        ack: None,
        syn: true,
        fin: false,
        rst: false,
        payload: &[],
        cut: 0,
    };
    let back = Segment { from: to, to: from, ..there };
    assert_eq!(there.flow_hash(), back.flow_hash());
    let other = Segment { from: "192.0.2.1:40001".parse().unwrap(), ..there };
    assert_ne!(there.flow_hash(), other.flow_hash());
    assert_eq!(ConnectionKey::of(from, to).0.id(there.at, 0), 7_426_180_844_257_353_975);
}

#[test]
fn slots_are_used_again_and_lists_stay_whole() {
    let mut rig = Rig::new(FlowLimits { lingering: 3, ..FlowLimits::default() });
    for round in 0..50_u32 {
        let from = format!("192.0.2.3:{}", 2000 + round);
        rig.send(&from, SERVER, "S", 1, 0, b"");
        if round % 3 == 0 {
            rig.send(SERVER, &from, "RA", 0, 2, b"");
        }
    }
    assert_eq!(rig.table.len(), 33);
    assert_eq!(rig.counters().closed, 17);
    rig.after(secs(200));
    rig.table.tick(rig.now, &mut Nothing);
    assert_eq!((rig.table.len(), rig.counters().timed_out), (0, 33));
}

#[test]
fn a_port_used_again_is_seen_although_the_client_is_captured_late() {
    let mut rig = Rig::plain();
    rig.open();
    rig.server("A", 501, 101, b"220 hi\r\n");
    rig.client("A", 101, 509, b"EHLO x\r\n");
    rig.after(secs(2));
    rig.server("SA", 70_000, 90_001, b"");
    rig.server("A", 70_001, 90_001, b"220 hi\r\n");
    rig.client("S", 90_000, 0, b"");
    rig.client("A", 90_001, 70_001, b"");
    assert_eq!((rig.counters().opened, rig.counters().reused, rig.table.len()), (2, 1, 1));
    assert_eq!(rig.counters().streams.gaps, 0);
}

#[test]
fn a_port_used_again_is_seen_although_the_syn_is_lost() {
    let mut rig = Rig::plain();
    rig.open();
    rig.server("A", 501, 101, b"220 hi\r\n");
    rig.client("A", 101, 509, b"EHLO x\r\n");
    rig.after(secs(2));
    rig.server("SA", 70_000, 90_001, b"");
    rig.client("A", 90_001, 70_001, b"");
    rig.server("A", 70_001, 90_001, b"220 hi\r\n");
    rig.client("A", 90_001, 70_009, b"EHLO x\r\n");
    assert_eq!((rig.counters().opened, rig.counters().reused, rig.table.len()), (2, 1, 1));
    rig.table.finish(rig.now, &mut Nothing);
    assert_eq!(rig.counters().streams.gaps, 0);
}

#[test]
fn both_sides_of_a_host_that_renumbers_are_one_connection() {
    // Client and server on one side, then the same packets on the other.
    let packets = [
        (true, "S", 1000, 0, 700_000, 0),
        (false, "SA", 5000, 1001, 900_000_000, 700_001),
        (true, "A", 1001, 5001, 700_001, 900_000_001),
        (false, "A", 5001, 1001, 900_000_001, 700_001),
        (true, "A", 1001, 5009, 700_001, 900_000_009),
        (false, "A", 5009, 1009, 900_000_009, 700_009),
    ];
    // As sent, then with one side's packets behind all of the other's.
    for late in [None, Some(true), Some(false)] {
        let mut rig = Rig::plain();
        let (now, then): (Vec<_>, Vec<_>) = packets.into_iter().partition(|packet| Some(packet.0) != late);
        for (client, flags, seq, ack, other_seq, other_ack) in now.into_iter().chain(then) {
            let payload: &[u8] = match (flags, seq) {
                ("A", 5001) => b"220 hi\r\n",
                ("A", 1001) if ack == 5009 => b"EHLO x\r\n",
                _ => b"",
            };
            let (from, to) = if client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
            rig.send(from, to, flags, seq, ack, payload);
            rig.send(from, to, flags, other_seq, other_ack, payload);
        }
        rig.table.finish(rig.now, &mut Nothing);
        assert_eq!((rig.counters().opened, rig.counters().streams.gaps), (1, 0), "late: {late:?}");
    }
}

#[test]
fn a_segment_repeated_minutes_after_the_close_opens_nothing() {
    let mut rig = Rig::plain();
    rig.open();
    rig.server("A", 501, 101, b"220 hi\r\n");
    rig.client("FA", 101, 509, b"");
    rig.server("FA", 509, 102, b"");
    rig.client("A", 102, 510, b"");
    rig.after(secs(300));
    rig.server("A", 501, 102, b"220 hi\r\n");
    assert_eq!((rig.counters().opened, rig.table.len()), (1, 0));
    rig.server("A", 700, 102, b"another\r\n");
    assert_eq!(rig.counters().opened, 2, "these bytes were never part of it");
}

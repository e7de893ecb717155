//! Threads do not matter, and nothing hangs.

use std::fmt::Write as _;
use std::io;

use super::*;
use crate::capture::tests::{MICRO, Order, header, record};
use crate::event::{Context, Event};
use crate::time::Timestamp;

/// Writes a line for every event.
#[derive(Default)]
struct Lines {
    text: String,
    events: u64,
    panics_at: u64,
}

impl Sink for Lines {
    fn event(&mut self, context: &Context, _: Timestamp, _: &Event<'_>) {
        self.events += 1;
        assert!(self.events != self.panics_at, "as the test asked for");
        writeln!(self.text, "{} {}", context.peers.ordinal, context.peers.client).unwrap();
    }
}

impl RecordSink for Lines {
    fn lines(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn clear(&mut self) {
        self.text.clear();
    }
}

/// A TCP segment over IPv4 over Ethernet.
pub(super) fn frame(from: u16, to: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let total = 40 + payload.len() as u16;
    let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    out.extend(total.to_be_bytes());
    out.extend([0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    out.extend(from.to_be_bytes());
    out.extend(to.to_be_bytes());
    out.extend(seq.to_be_bytes());
    out.extend([0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(payload);
    out
}

/// `flows` connections to port 25, of which some close, some fall silent and some are open at the end.
fn capture(flows: u16, turns: u32) -> (tempfile::TempDir, Capture) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("many.pcap");
    let mut file = header(Order::Little, MICRO, 0, 1);
    for turn in 0..turns {
        for flow in 0..flows {
            let port = 20_000 + flow * 7;
            let (flags, payload) = match turn {
                0 => (2, &b""[..]),
                t if t == turns - 1 && flow.is_multiple_of(3) => (0x11, &b""[..]),
                _ => (0x18, &b"220 mx.example.org ESMTP\r\n"[..]),
            };
            let (from, to) = if turn.is_multiple_of(2) { (port, 25) } else { (25, port) };
            let data = frame(from, to, 1 + turn * 26, flags, payload);
            file.extend(record(
                Order::Little,
                100 + turn * u32::from(flow % 5),
                u32::from(flow),
                &data,
                data.len() as u32,
            ));
        }
    }
    std::fs::write(&path, file).unwrap();
    (dir, Capture::new(vec![path], crate::capture::FileOrder::Time))
}

fn setup(threads: usize) -> Setup {
    Setup { threads, limits: Arc::default(), flows: FlowLimits::default(), decoder: DecoderLimits::default() }
}

fn lines(capture: &Capture, threads: usize) -> (Vec<u8>, RunOutcome<Lines, io::Error>) {
    let mut out = Vec::new();
    let outcome = run(capture, &setup(threads), &mut |t| panic!("{t}"), &Lines::default, &mut |lines| {
        out.extend_from_slice(lines);
        Ok(())
    });
    (out, outcome)
}

#[test]
fn the_log_is_the_same_for_any_number_of_threads() {
    let (_dir, capture) = capture(500, 40);
    let (expected, outcome) = lines(&capture, 1);
    assert_eq!(outcome.totals.packets, 20_000);
    assert!(outcome.stopped.is_none());
    for threads in [2, 3, 5, 16, 99] {
        let (out, outcome) = lines(&capture, threads);
        assert!(out == expected, "{threads} threads");
        assert!(outcome.stopped.is_none());
        assert_eq!(outcome.sinks.len(), threads.min(SHARDS));
        assert_eq!(outcome.flows.len(), SHARDS);
        assert_eq!(outcome.totals.packets, 20_000);
    }
}

#[test]
fn a_panic_of_a_worker_ends_the_run() {
    let (_dir, capture) = capture(500, 40);
    if lines(&capture, 1).0.is_empty() {
        return;
    }
    for threads in [2, 4] {
        let sink = || Lines { panics_at: 3, ..Lines::default() };
        let outcome = run(&capture, &setup(threads), &mut |t| panic!("{t}"), &sink, &mut |_| io::Result::Ok(()));
        assert!(matches!(outcome.stopped, Some(Stopped::Fault)), "{threads} threads: {:?}", outcome.stopped);
    }
}

#[test]
fn an_output_that_fails_ends_the_run() {
    let (_dir, capture) = capture(500, 40);
    if lines(&capture, 1).0.is_empty() {
        return;
    }
    for threads in [1, 2, 4] {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let outcome = run(&capture, &setup(threads), &mut |t| panic!("{t}"), &Lines::default, &mut |_| Err(full()));
        assert!(
            matches!(outcome.stopped, Some(Stopped::Write(e)) if e.kind() == io::ErrorKind::StorageFull),
            "{threads} threads"
        );
    }
}

fn chunk(entries: &[(u64, u64, &str)]) -> RecordChunk {
    let (mut text, mut marks) = (String::new(), Vec::new());
    for (cause, ordinal, line) in entries {
        let start = text.len();
        text.push_str(line);
        marks.push(merge::ChunkEntry { cause: *cause, ordinal: *ordinal, start, end: text.len() });
    }
    let mut chunk = RecordChunk::default();
    chunk.fill(text.as_bytes(), &mut marks);
    assert!(marks.is_empty());
    chunk
}

#[test]
fn records_are_merged_by_cause_and_connection_and_stay_in_the_order_of_one() {
    let chunks = [
        chunk(&[(2, 9, "c"), (2, 5, "a"), (2, 5, "b"), (4, 1, "e")]),
        chunk(&[]),
        chunk(&[(3, 7, "d"), (5, 2, "f"), (5, 3, "g")]),
    ];
    let mut out = Vec::new();
    let mut merger = Merger::default();
    merger
        .write(&chunks, &mut |lines| {
            out.extend_from_slice(lines);
            io::Result::Ok(())
        })
        .unwrap();
    assert_eq!(out, b"abcdefg");
    out.clear();
    merger
        .write(&chunks[..1], &mut |lines| {
            out.extend_from_slice(lines);
            io::Result::Ok(())
        })
        .unwrap();
    assert_eq!(out, b"abce");
}

#[test]
fn a_clock_ticks_once_a_second_and_never_backwards() {
    let mut clock = PacketClock::default();
    let at = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
    let ticks = [1000, 1999, 2000, 1500, 2500, 9000, 3000, 9999, 10_000].map(|m| clock.passes(at(m)).is_some());
    assert_eq!(ticks, [true, false, true, false, false, true, false, false, true]);
    assert_eq!(clock.latest(), at(10_000));
}

//! What little input may cause: work, and records.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::{Limits, Session};
use crate::event::{Context, Dir, End, Event, Input, Missing, Peers, Sink};
use crate::time::Timestamp;

/// Counts what goes into the log.
#[derive(Default)]
struct LogCounter {
    commands: u64,
    written: u64,
    omitted: u32,
    work_limit: bool,
}

impl Sink for LogCounter {
    fn event(&mut self, context: &Context, _: Timestamp, event: &Event<'_>) {
        match event {
            Event::Command(_) => {
                self.commands += 1;
                self.written += u64::from(!context.omitted);
            }
            Event::End(summary) => {
                self.omitted = summary.counts.omitted;
                self.work_limit = summary.incomplete.has(Missing::WorkLimit);
            }
            _ => {}
        }
    }
}

fn session() -> Session {
    let host = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (client, server) = (host("192.0.2.1:50000"), host("192.0.2.2:143"));
    let at = Timestamp::default();
    let peers = Peers { client, server, established: Some(at), roles_certain: true, source: 0, ordinal: 0 };
    Session::new(at, 1, peers, Arc::new(Limits::default()))
}

/// A session that gets `count` times `line`, packed, in one input: its bytes and what came of it.
fn packed(line: &[u8], count: usize) -> (u64, LogCounter) {
    let mut stream = flate2::Compress::new(flate2::Compression::best(), false);
    let mut bytes = Vec::with_capacity(count);
    stream.compress_vec(&line.repeat(count), &mut bytes, flate2::FlushCompress::Sync).unwrap();
    let (mut session, mut log) = (session(), LogCounter::default());
    let turns: [(Dir, &[u8]); 4] = [
        (Dir::ToClient, b"* OK hi\r\n"),
        (Dir::ToServer, b"b COMPRESS DEFLATE\r\n"),
        (Dir::ToClient, b"b OK go\r\n"),
        (Dir::ToServer, &bytes),
    ];
    for (dir, input) in turns {
        session.handle(Timestamp::default(), dir, Input::Data(input), &mut log);
    }
    session.finish(Timestamp::default(), End::CaptureEnd, &mut log);
    (turns.iter().map(|(_, input)| input.len() as u64).sum(), log)
}

#[test]
fn records_are_bounded_by_the_bytes_that_came() {
    for count in [10_000, 40_000] {
        let (bytes, log) = packed(b"c NOOP\r\n", count);
        assert_eq!(log.commands, count as u64 + 1, "each is counted");
        assert!(log.written <= 1024 + bytes / 8 && u64::from(log.omitted) == log.commands - log.written);
    }
    let (_, log) = packed(b"c NOOP\r\n", 500);
    assert_eq!((log.written, log.omitted), (501, 0));
}

#[test]
fn long_arguments_count_as_more_records() {
    let line = [b"c SELECT ".as_slice(), &[b'x'; 6000], b"\r\n"].concat();
    let (bytes, log) = packed(&line, 2000);
    assert!(log.written <= 2 + (1024 + bytes / 8) / 23, "{} of {}", log.written, log.commands);
}

#[test]
fn input_that_takes_too_much_work_is_read_no_further() {
    let (_, log) = packed(b"c NOOP\r\n", 50_000);
    assert!(!log.work_limit);
    let (_, log) = packed(b"c NOOP\r\n", 1_000_000);
    assert!(log.work_limit && log.commands < 200_000, "{}", log.commands);
}

#[test]
fn a_large_message_that_packs_well_is_no_excess() {
    let message = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg==\r\n".repeat(200_000);
    let append = [format!("c APPEND x {{{}+}}\r\n", message.len()).as_bytes(), &message, b"\r\n"].concat();
    let (_, log) = packed(&append, 1);
    assert!(!log.work_limit);
}

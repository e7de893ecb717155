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
    session_at(143)
}

fn session_at(port: u16) -> Session {
    let host = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (client, server) = (host("192.0.2.1:50000"), host(&format!("192.0.2.2:{port}")));
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

/// Work that a session does for `turns`, and the bytes in them.
fn work_of(port: u16, turns: &[(Dir, Vec<u8>)]) -> (u64, u64) {
    let (mut session, mut log) = (session_at(port), LogCounter::default());
    for (dir, input) in turns {
        session.handle(Timestamp::default(), *dir, Input::Data(input), &mut log);
    }
    session.finish(Timestamp::default(), End::CaptureEnd, &mut log);
    (session.work(), turns.iter().map(|(_, input)| input.len() as u64).sum())
}

/// Four times the attack costs four times the work, and no byte of it more than `most`.
fn is_linear(port: u16, most: u64, attack: impl Fn(usize) -> Vec<(Dir, Vec<u8>)>) {
    let [none, some, more] = [0, 1, 4].map(|times| work_of(port, &attack(times)));
    let (small, large) = (some.0 - none.0, more.0 - none.0);
    assert!(large <= small * 4 + small / 2, "{small} for one, {large} for four");
    let bytes = some.1 - none.1;
    assert!(small <= most * bytes, "{small} for {bytes} bytes, {} a byte", small / bytes);
}

const C: Dir = Dir::ToServer;
const S: Dir = Dir::ToClient;

#[test]
fn responses_cost_the_same_however_many_long_sets_wait() {
    let set = "2,".repeat(4000);
    is_linear(143, 1000, |times| {
        let mut turns = vec![(S, b"* OK hi\r\n".to_vec())];
        turns.extend((0..250).map(|tag| (C, format!("t{tag} FETCH {set}2 (FLAGS)\r\n").into_bytes())));
        turns.extend((0..times * 100).map(|_| (S, b"* 99 FETCH (FLAGS ())\r\n".to_vec())));
        turns
    });
}

#[test]
fn commands_typed_inside_idle_cost_no_more_than_others() {
    is_linear(143, 1000, |times| {
        let mut turns = vec![(S, b"* OK hi\r\n".to_vec()), (C, b"i IDLE\r\n".to_vec()), (S, b"+ idling\r\n".to_vec())];
        turns.extend((0..times * 300).map(|tag| (C, format!("t{tag} STORE 1:9 FLAGS ()\r\n").into_bytes())));
        turns.extend((0..times * 300).map(|n| (S, format!("* {n} FETCH (FLAGS ())\r\n").into_bytes())));
        turns
    });
}

#[test]
fn commands_that_nobody_answers_are_let_go() {
    for (port, greeting, command) in
        [(25, "220 mx\r\n", "NOOP\r\n"), (110, "+OK\r\n", "NOOP\r\n"), (143, "* OK\r\n", "a NOOP\r\n")]
    {
        is_linear(port, 1000, |times| {
            let mut turns = vec![(S, greeting.into())];
            turns.extend((0..times * 3000).map(|_| (C, command.into())));
            turns
        });
    }
}

#[test]
fn answered_envelopes_are_let_go() {
    is_linear(25, 1000, |times| {
        let mut turns = vec![(S, b"220 mx\r\n".to_vec())];
        for _ in 0..times {
            turns.push((C, b"MAIL FROM:<a@example.org>\r\n".repeat(1500)));
            turns.push((S, [b"250 ok\r\n".to_vec(), b"503 nested\r\n".repeat(1499)].concat()));
        }
        turns
    });
}

#[test]
fn replies_that_several_commands_may_have_caused_cost_no_more_with_their_number() {
    is_linear(25, 2000, |times| {
        let mut turns = vec![(S, b"220 mx\r\n".to_vec()), (C, b"NOOP\r\n".repeat(500)), (S, b"250 ok\r\n".to_vec())];
        for _ in 0..times * 20 {
            turns.push((C, b"RSET\r\nNOOP\r\n".repeat(20)));
            turns.push((S, b"250 ok\r\n".repeat(39)));
        }
        turns
    });
}

#[test]
fn words_that_were_not_understood_cost_no_more_with_their_number() {
    is_linear(25, 1000, |times| {
        let mut turns = vec![(S, b"220 mx\r\n".to_vec())];
        // As many as are remembered, and more.
        for n in 0..600 + times * 200 {
            turns.push((C, format!("FROB a{n} b{n} c{n} d{n}\r\n").into_bytes()));
            turns.push((S, b"500 what\r\n".to_vec()));
        }
        turns
    });
}

#[test]
fn lines_behind_an_open_string_are_read_once() {
    is_linear(143, 1000, |times| {
        let mut turns = vec![(S, b"* OK hi\r\n".to_vec()), (C, b"a NOOP\r\nb NOOP\r\n".to_vec())];
        for _ in 0..times * 50 {
            turns.push((S, b"* LIST (\"\r\n".to_vec()));
            turns.extend((0..50).map(|n| (S, format!("* {n} EXISTS\r\n").into_bytes())));
            turns.push((S, b"no response\r\n\")\r\n".to_vec()));
        }
        turns
    });
}

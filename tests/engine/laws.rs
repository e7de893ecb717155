//! Laws that hold for whatever mail brings: a steady session allocates nothing, nothing makes the engine or the wire panic, and
//! the number of threads does not matter.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mailtap::engine::{Limits, Session};
use mailtap::event::{Context, Dir, End, Event, Input, Peers, Sink};
use mailtap::output::InputKind;
use mailtap::output::metrics::{Metrics, MetricsRecorder, MetricsSetup};
use mailtap::pipeline::flow::{FlowLimits, FlowTable};
use mailtap::time::Timestamp;
use mailtap::wire::{Decoder, DecoderLimits, LinkType, Packet, Segment};
use proptest::prelude::*;

use crate::{allocations, captures};

/// Counts, as metrics do, and forgets everything else.
struct Ignore {
    transactions: u64,
    ends: u64,
    metrics: MetricsRecorder,
}

impl Default for Ignore {
    fn default() -> Self {
        static METRICS: LazyLock<Metrics> =
            LazyLock::new(|| Metrics::new(MetricsSetup::new(InputKind::Live, ["lo"])).expect("names that are good"));
        Self { transactions: 0, ends: 0, metrics: METRICS.recorder() }
    }
}

impl Sink for Ignore {
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>) {
        self.metrics.event(context, at, event);
        match event {
            Event::Transaction(_) => self.transactions += 1,
            Event::End(_) => self.ends += 1,
            _ => {}
        }
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn session(port: u16, certain: bool) -> Session {
    let begin = Timestamp::from_parts(1_780_000_000, 0);
    let (client, mut server) = (address("203.0.113.10:50000"), address("198.51.100.25:25"));
    server.set_port(port);
    let peers =
        Peers { client, server, established: certain.then_some(begin), roles_certain: certain, source: 0, ordinal: 0 };
    Session::new(begin, 1, peers, Arc::new(Limits::default()))
}

/// A session that is fed turn by turn; lines of the client begin with `C`, those of the server with `S`.
struct Talk {
    session: Session,
    at: Timestamp,
    sent: [u64; 2],
    sink: Ignore,
}

impl Talk {
    fn new(port: u16, opening: &[(Dir, &[u8])]) -> Self {
        let at = Timestamp::from_parts(1_780_000_000, 0);
        let mut talk = Self { session: session(port, true), at, sent: [0; 2], sink: Ignore::default() };
        talk.turns(opening);
        talk
    }

    fn turns(&mut self, turns: &[(Dir, &[u8])]) {
        for (dir, octets) in turns {
            self.at = self.at.after(Duration::from_millis(1));
            self.session.packet(*dir);
            self.session.acked(dir.reverse(), self.sent[dir.reverse().index()]);
            self.session.handle(self.at, *dir, Input::Data(octets), &mut self.sink);
            self.sent[dir.index()] += octets.len() as u64;
        }
    }

    /// Allocations of `again` rounds of `turns`, once they are nothing new any more.
    fn steady(&mut self, turns: &[(Dir, &[u8])], again: u64) -> u64 {
        for _ in 0..200 {
            self.turns(turns);
        }
        let (before, done) = (allocations::so_far(), self.sink.transactions);
        for _ in 0..again {
            self.turns(turns);
        }
        let after = allocations::so_far();
        assert_eq!(self.sink.transactions - done, again, "one transaction a round, so that something is measured");
        after - before
    }
}

const C: Dir = Dir::ToServer;
const S: Dir = Dir::ToClient;

fn body(lines: usize) -> String {
    let text = "A line of text of a common length, again and again, with a few words in it.\r\n".repeat(lines);
    format!(
        "From: a@example.org\r\nTo: b@example.org\r\nSubject: a message\r\nMessage-ID: <1@example.org>\r\n\r\n{text}"
    )
}

#[test]
fn a_steady_smtp_session_allocates_nothing() {
    let opening: [(Dir, &[u8]); 3] = [
        (S, b"220 mx ESMTP\r\n"),
        (C, b"EHLO client.example.org\r\n"),
        (S, b"250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n"),
    ];
    let message = format!("{}.\r\n", body(100));
    let chunk = format!("BDAT {} LAST\r\n{}", body(100).len(), body(100));
    let mut talk = Talk::new(25, &opening);
    let data: [(Dir, &[u8]); 10] = [
        (C, b"MAIL FROM:<a@example.org> SIZE=1000\r\n"),
        (S, b"250 2.1.0 Ok\r\n"),
        (C, b"RCPT TO:<b@example.org>\r\n"),
        (S, b"250 2.1.5 Ok\r\n"),
        (C, b"DATA\r\n"),
        (S, b"354 go ahead\r\n"),
        (C, &message.as_bytes()[..3000]),
        (C, &message.as_bytes()[3000..]),
        (S, b"250 2.0.0 Ok: queued as "),
        (S, b"4F1A2\r\n"),
    ];
    assert_eq!(talk.steady(&data, 100), 0, "DATA");
    let pipelined: [(Dir, &[u8]); 4] = [
        (C, b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n"),
        (S, b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n550 5.1.1 no\r\n354 go ahead\r\n"),
        (C, message.as_bytes()),
        (S, b"250 2.0.0 Ok: queued as 4F1A2\r\n"),
    ];
    assert_eq!(talk.steady(&pipelined, 100), 0, "pipelined");
    let chunks: [(Dir, &[u8]); 3] = [
        (C, b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n"),
        (C, chunk.as_bytes()),
        (S, b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok: queued as 4F1A2\r\n"),
    ];
    assert_eq!(talk.steady(&chunks, 100), 0, "BDAT");
}

#[test]
fn a_steady_pop3_session_allocates_nothing() {
    let opening: [(Dir, &[u8]); 5] =
        [(S, b"+OK ready\r\n"), (C, b"USER ann\r\n"), (S, b"+OK\r\n"), (C, b"PASS x-y-z\r\n"), (S, b"+OK\r\n")];
    let message = format!("+OK 7000 octets\r\n{}.\r\n", body(100));
    let round: [(Dir, &[u8]); 5] = [
        (C, b"RETR 1\r\n"),
        (S, &message.as_bytes()[..3000]),
        (S, &message.as_bytes()[3000..]),
        (C, b"NOOP\r\n"),
        (S, b"+OK\r\n"),
    ];
    assert_eq!(Talk::new(110, &opening).steady(&round, 100), 0);
}

#[test]
fn a_steady_imap_session_allocates_nothing() {
    let opening: [(Dir, &[u8]); 5] = [
        (S, b"* OK [CAPABILITY IMAP4rev1] ready\r\n"),
        (C, b"a LOGIN ann x-y-z\r\n"),
        (S, b"a OK in\r\n"),
        (C, b"b SELECT INBOX\r\n"),
        (S, b"* 3 EXISTS\r\nb OK [READ-WRITE] ok\r\n"),
    ];
    let message = format!("* 1 FETCH (UID 7 BODY[] {{{}}}\r\n{})\r\nc OK done\r\n", body(100).len(), body(100));
    let round: [(Dir, &[u8]); 5] = [
        (C, b"c UID FETCH 7 (UID BODY.PEEK[])\r\n"),
        (S, &message.as_bytes()[..3000]),
        (S, &message.as_bytes()[3000..]),
        (C, b"d NOOP\r\n"),
        (S, b"* 4 EXISTS\r\nd OK\r\n"),
    ];
    assert_eq!(Talk::new(143, &opening).steady(&round, 100), 0);
}

/// Words that steer the machines, so that chance comes far.
const WORDS: [&[u8]; 64] = [
    b"220 mx ESMTP\r\n",
    b"EHLO a\r\n",
    b"LHLO a\r\n",
    b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
    b"250 ok\r\n",
    b"354 go\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"DATA\r\n",
    b".\r\n",
    b"\r\n",
    b"\n",
    b"BDAT 5 LAST\r\n",
    b"BDAT 9999999999 LAST\r\n",
    b"BDAT -1\r\n",
    b"QUIT\r\n",
    b"221 bye\r\n",
    b"421 gone\r\n",
    b"550 no\r\n",
    b"AUTH PLAIN\r\n",
    b"334 \r\n",
    b"AGEAYg==\r\n",
    b"235 ok\r\n",
    b"AUTH NTLM TlRMTVNTUAADAAAA/////////////w==\r\n",
    b"STARTTLS\r\n",
    b"220 go\r\n",
    b"\x16\x03\x01\x00\x2e\x01",
    b"XEXCH50 5 2\r\n",
    b"TURN\r\n",
    b"+OK <1@h>\r\n",
    b"-ERR no\r\n",
    b"+ \r\n",
    b"USER a\r\n",
    b"PASS b\r\n",
    b"RETR 1\r\n",
    b"LIST\r\n",
    b"TOP 1 0\r\n",
    b"STLS\r\n",
    b"XTND XMIT\r\n",
    b"CAPA\r\n",
    b"* OK [CAPABILITY IMAP4rev1 STARTTLS COMPRESS=DEFLATE] hi\r\n",
    b"* PREAUTH hi\r\n",
    b"a LOGIN b c\r\n",
    b"a OK done\r\n",
    b"a NO [X \"]\"] no\r\n",
    b"a BAD\r\n",
    b"a FETCH 1 BODY[]\r\n",
    b"* 1 FETCH (BODY[] {5}\r\n",
    b"* 1 FETCH (BODY[]<0> {18446744073709551615}\r\n",
    b"a APPEND b {3}\r\n",
    b"a APPEND b {3+}\r\nabc\r\n",
    b"a APPEND b (\\Seen) \"x\" CATENATE (TEXT {2+}\r\nab)\r\n",
    b"a COMPRESS DEFLATE\r\n",
    b"a UNAUTHENTICATE\r\n",
    b"a IDLE\r\n",
    b"DONE\r\n",
    b"a SELECT \"&U,BTFw-\"\r\n",
    b"a SELECT \"&\"\r\n",
    b"* BYE\r\n",
    b"\x00\x00\xff\xff",
    b"\xff\xfe",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c",
    b"GET / HTTP/1.1\r\n",
];

#[derive(Clone, Debug)]
enum Op {
    Word(bool, usize),
    Octets(bool, Vec<u8>),
    Gap(bool, u64),
    Ack(bool, u64),
    Fin(bool),
    Reset(bool),
    Rest,
    Finish(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![4 => 1_u64..100, 1 => Just(u64::MAX / 4), 1 => 1_u64..100_000];
    prop_oneof![
        30 => (any::<bool>(), 0..WORDS.len()).prop_map(|(side, word)| Op::Word(side, word)),
        6 => (any::<bool>(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(side, octets)| Op::Octets(side, octets)),
        2 => (any::<bool>(), size.clone()).prop_map(|(side, lost)| Op::Gap(side, lost)),
        2 => (any::<bool>(), size).prop_map(|(side, to)| Op::Ack(side, to)),
        1 => any::<bool>().prop_map(Op::Fin),
        1 => any::<bool>().prop_map(Op::Reset),
        1 => Just(Op::Rest),
        1 => (0_u8..5).prop_map(Op::Finish),
    ]
}

fn dir(client: bool) -> Dir {
    if client { C } else { S }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_a_session_panic(
        port in prop::sample::select(vec![24_u16, 25, 110, 143, 587, 993, 4190, 9999]),
        certain in any::<bool>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let (mut session, mut sink) = (session(port, certain), Ignore::default());
        let mut at = Timestamp::from_parts(1_780_000_000, 0);
        for op in ops {
            at = at.after(Duration::from_millis(1));
            match op {
                Op::Word(side, word) => session.handle(at, dir(side), Input::Data(WORDS[word]), &mut sink),
                Op::Octets(side, octets) => session.handle(at, dir(side), Input::Data(&octets), &mut sink),
                Op::Gap(side, lost) => session.handle(at, dir(side), Input::Gap(lost), &mut sink),
                Op::Ack(side, to) => session.acked(dir(side), to),
                Op::Fin(side) => session.handle(at, dir(side), Input::Fin, &mut sink),
                Op::Reset(side) => session.handle(at, dir(side), Input::Reset, &mut sink),
                Op::Rest => session.shrink(),
                Op::Finish(why) => {
                    let why = [End::Closed, End::Timeout, End::Drain, End::Evicted, End::CaptureEnd][why as usize];
                    session.finish(at, why, &mut sink);
                }
            }
        }
        session.finish(at, End::Closed, &mut sink);
        prop_assert!(sink.ends <= 1, "a session ends once");
        // Whose port it is may be a guess that the bytes refute.
        prop_assert!(port == 9999 || !certain || sink.ends == 1, "and at a mail port it does end");
    }

    #[test]
    fn nothing_makes_the_wire_panic(
        segments in prop::collection::vec((any::<bool>(), 0..WORDS.len(), any::<u32>(), any::<u32>(), 0_u8..32, any::<bool>()), 1..60),
    ) {
        let mut table = FlowTable::new(FlowLimits::default(), Arc::new(Limits::default()));
        let mut sink = Ignore::default();
        let (mut next, mut at) = ([1_u32, u32::MAX - 50], Timestamp::from_parts(1_780_000_000, 0));
        let (client, server) = (address("203.0.113.10:50000"), address("198.51.100.25:25"));
        for (number, (from_client, word, seq, ack, flags, wild)) in segments.into_iter().enumerate() {
            at = at.after(Duration::from_millis(1));
            let (mine, theirs) = (usize::from(!from_client), usize::from(from_client));
            let (from, to) = if from_client { (client, server) } else { (server, client) };
            let seq = if wild { next[mine].wrapping_add(seq % 200).wrapping_sub(100) } else { next[mine] };
            let ack = if wild { next[theirs].wrapping_add(ack % 200).wrapping_sub(100) } else { next[theirs] };
            let payload = WORDS[word];
            let (syn, fin, rst) = (flags == 1, flags == 2, flags == 3);
            let segment = Segment { at, source: 0, from, to, seq, ack: (flags != 4).then_some(ack), syn, fin, rst, payload, cut: u32::from(flags == 5) * 9 };
            table.segment(number as u64, &segment, &mut sink);
            next[mine] = seq.wrapping_add(payload.len() as u32 + u32::from(syn) + u32::from(fin));
        }
        table.tick(at.after(Duration::from_secs(10_000)), &mut sink);
        table.finish(at, &mut sink);
        let counters = table.counters();
        let ended = counters.closed + counters.timed_out + counters.evicted + counters.capture_end;
        prop_assert_eq!(counters.opened, ended, "{:?}", counters);
    }

    #[test]
    fn nothing_makes_the_decoder_panic(link in any::<u16>(), frame in prop::collection::vec(any::<u8>(), 0..200), tail in 0_u32..100) {
        let mut decoder = Decoder::new(DecoderLimits::default());
        for link in [link % 300, 1, 101, 113, 276] {
            let packet = Packet { at: Timestamp::default(), source: 0, link: LinkType(link), data: &frame, wire_len: frame.len() as u32 + tail };
            let _ = decoder.decode(&packet);
        }
        prop_assert_eq!(decoder.counters().packets, 5);
    }
}

#[test]
fn a_session_that_failed_is_counted_to_its_end() {
    let at = Timestamp::from_parts(1_780_000_000, 0);
    let (client, server) = (address("203.0.113.10:50000"), address("198.51.100.25:25"));
    let peers = Peers { client, server, established: Some(at), roles_certain: true, source: 0, ordinal: 0 };
    let mut session = Session::new(at, 1, peers, Arc::new(Limits { fault_at: Some(40), ..Limits::default() }));
    let mut sink = Ignore::default();
    session.handle(at, S, Input::Data(b"220 mx ESMTP\r\n"), &mut sink);
    session.handle(at, C, Input::Data(b"EHLO a\r\n"), &mut sink);
    let fed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        session.handle(at, S, Input::Data(b"250-mx\r\n250 CHUNKING\r\n"), &mut sink);
    }));
    assert!(fed.is_err(), "the fault comes when it is asked for");
    session.give_up();
    session.handle(at, C, Input::Data(b"QUIT\r\n"), &mut sink);
    session.finish(at, End::Closed, &mut sink);
    assert_eq!((sink.ends, sink.transactions), (1, 0));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let log = |threads: &str| {
        let run = assert_cmd::Command::cargo_bin("mailtap")
            .expect("the program")
            .args(["analyze", "--quiet", "--log", "-", "--threads", threads])
            .args(captures::of_samples())
            .output()
            .expect("it runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        run.stdout
    };
    let one = log("1");
    assert!(one.iter().filter(|octet| **octet == b'\n').count() > 100, "the samples have records");
    for threads in ["2", "3", "7"] {
        assert!(log(threads) == one, "the log of {threads} threads is not that of one");
    }
}

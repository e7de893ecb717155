//! A session must not care how the sender cut its octets, in whatever order, loss and closing they come, and no octets
//! may make it panic. Conversations are made up here from pieces that look like mail.

use std::sync::Arc;

use mailtap::engine::{Limits, Session};
use mailtap::event::{Context, Dir, End, Event, Input, Peers, Sink, Text};
use mailtap::event::{EstablishedTls, Handshake, TlsMode};
use mailtap::message::Message;
use mailtap::time::Timestamp;
use proptest::prelude::*;

/// One thing that happens on a connection.
#[derive(Clone, Debug)]
enum Step {
    Data(Dir, Vec<u8>),
    Gap(Dir, u64),
    Fin(Dir),
    Reset(Dir),
    /// The other side had taken all but so many octets of this direction.
    Acked(Dir, u64),
    Rest,
    /// TLS that whoever feeds it has answered, or failed to.
    EstablishedTls(EstablishedTls),
}

fn shown(steps: &[Step]) -> String {
    let one = |step: &Step| match step {
        Step::Data(dir, octets) => format!("{dir:?} {}", octets.escape_ascii()),
        other => format!("{other:?}"),
    };
    steps.iter().map(one).collect::<Vec<_>>().join(" | ")
}

/// What a run says. Octets of bodies are joined: their cut is the sender's.
#[derive(Debug, Default, PartialEq)]
struct Said {
    events: Vec<String>,
    body: Vec<u8>,
    starts: u64,
    octets: [u64; 2],
    lost: [u64; 2],
}

impl Said {
    fn flush(&mut self) {
        if !self.body.is_empty() {
            let body = std::mem::take(&mut self.body);
            self.events.push(format!("body {}", body.escape_ascii()));
        }
    }
}

impl Sink for Said {
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>) {
        assert!(matches!(event, Event::Start) || self.starts == 1, "a session starts once, before all else");
        match event {
            Event::Start => self.starts += 1,
            // How many there are is a fact of the cut, their sum is not.
            Event::Octets { dir, count, .. } => self.octets[dir.index()] += count,
            Event::Lost { dir, count } => self.lost[dir.index()] += count,
            Event::Body { octets, .. } => self.body.extend_from_slice(octets),
            Event::Command(command) => {
                // Whether replies came in one piece is a fact of the cut.
                let command = format!("{command:?}").replace("coalesced: true", "coalesced: false");
                self.flush();
                self.events.push(format!("{:?} {at:?} {command}", context.protocol));
            }
            Event::Transaction(transaction) => {
                let shown = format!("{transaction:?}");
                let (front, rest) = shown.split_once("message: Message {").unwrap();
                let (_, back) = rest.split_once("}, wire_size: ").unwrap();
                let message = transaction.has_message.then(|| facts(&transaction.message));
                self.flush();
                self.events
                    .push(format!("{:?} {at:?} {front}message: {message:?}, wire_size: {back}", context.protocol));
            }
            _ => {
                if let Event::End(summary) = event {
                    assert_eq!(self.octets, summary.bytes, "every octet is told");
                    assert_eq!(self.lost, summary.gaps, "and every loss");
                }
                self.flush();
                self.events.push(format!("{:?} {at:?} {event:?}", context.protocol));
            }
        }
    }
}

/// What a message tells; how it is known, and what its buffers held before, is its own affair.
fn facts(message: &Message) -> String {
    let header = (message.message_id(), message.date(), message.from(), message.to(), message.subject());
    let body = (message.line_endings(), message.attachments(), message.attachments_total(), message.parts());
    let caps = (message.header_truncated(), message.parts_truncated());
    let seen = (message.size(), message.size_known(), message.complete(), message.sha256());
    format!("{seen:?} {header:?} {body:?} {caps:?}")
}

/// Where data is cut: the lengths are used in turn. `resting`: the session rests after every piece.
fn run(port: u16, certain: bool, steps: &[Step], cuts: &[usize], resting: bool) -> Vec<String> {
    let mut said = Said::default();
    let at = Timestamp::from_nanos(1_700_000_000_000_000_000);
    let peers = Peers {
        client: "192.0.2.1:50000".parse().unwrap(),
        server: format!("192.0.2.2:{port}").parse().unwrap(),
        established: certain.then_some(at),
        roles_certain: certain,
        source: 0,
        ordinal: 0,
    };
    let mut session = Session::new(at, 1, peers, Arc::new(Limits::default()));
    let mut sent = [0_u64; 2];
    let mut cuts = cuts.iter().copied().cycle();
    for step in steps {
        match step {
            Step::Data(dir, octets) => {
                sent[dir.index()] += octets.len() as u64;
                let mut rest = octets.as_slice();
                while !rest.is_empty() {
                    let (piece, later) = rest.split_at(cuts.next().unwrap().clamp(1, rest.len()));
                    session.handle(at, *dir, Input::Data(piece), &mut said);
                    rest = later;
                    if resting {
                        session.shrink();
                    }
                }
            }
            Step::Gap(dir, lost) => {
                sent[dir.index()] += lost;
                session.handle(at, *dir, Input::Gap(*lost), &mut said);
            }
            Step::Fin(dir) => session.handle(at, *dir, Input::Fin, &mut said),
            Step::Reset(dir) => session.handle(at, *dir, Input::Reset, &mut said),
            Step::Acked(dir, short) => session.acked(*dir, sent[dir.index()].saturating_sub(*short)),
            Step::Rest => session.shrink(),
            Step::EstablishedTls(how) => session.tls_established(at, how, &mut said),
        }
    }
    session.finish(at, End::CaptureEnd, &mut said);
    said.flush();
    let ends = said.events.iter().filter(|event| event.contains("End(")).count();
    assert_eq!(ends as u64, said.starts, "a session that starts ends once");
    said.events
}

const CLIENT: &[&str] = &[
    "EHLO a\r\n",
    "LHLO a\r\n",
    "MAIL FROM:<a@x.org>\r\n",
    "RCPT TO:<b@y.org>\r\n",
    "DATA\r\n",
    "Subject: hi\r\n\r\nhi\r\n..\r\n",
    ".\r\n",
    "BDAT 5 LAST\r\nabc\r\n",
    "BDAT 2\r\n",
    "RSET\r\n",
    "QUIT\r\n",
    "AUTH PLAIN\r\n",
    "AGFubgBzM2NyZXQ=\r\n",
    "*\r\n",
    "STARTTLS\r\n",
    "STLS\r\n",
    "a STARTTLS\r\n",
    "\u{16}\u{3}\u{1}\0\u{2}\u{1}\0",
    "USER ann\r\n",
    "PASS hunter2\r\n",
    "RETR 1\r\n",
    "LIST\r\n",
    "a LOGIN {3}\r\nann {7+}\r\nhunter2\r\n",
    "b SELECT INBOX\r\n",
    "c UID FETCH 1 BODY[]\r\n",
    "d IDLE\r\n",
    "DONE\r\n",
    "e APPEND x {2}\r\n",
    "f COMPRESS DEFLATE\r\n",
    "GET / HTTP/1.1\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.2 1 2\r\n",
    "\r\n",
    "\n",
    "\r",
];

const SERVER: &[&str] = &[
    "220 mx ESMTP\r\n",
    "220-mx\r\n220 x\r\n",
    "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n",
    "250 2.1.0 ok\r\n",
    "354 go\r\n",
    "334 \r\n",
    "235 ok\r\n",
    "221 bye\r\n",
    "550 5.1.1 no\r\n",
    "421 busy\r\n",
    "+OK hi <1@x>\r\n",
    "+OK\r\n",
    "-ERR no\r\n",
    "+OK 4 octets\r\nhi\r\n\r\n.\r\n",
    "* OK [CAPABILITY IMAP4rev1] hi\r\n",
    "+ go\r\n",
    "a OK in\r\n",
    "* 3 EXISTS\r\nb OK [READ-WRITE] ok\r\n",
    "* 1 FETCH (BODY[] {4}\r\nhi\r\n)\r\nc OK\r\n",
    "d OK\r\n",
    "e NO\r\n",
    "f OK\r\n",
    "\u{16}\u{3}\u{3}\0\u{1}\u{2}",
    "HTTP/1.1 400 x\r\n",
    "\r\n",
];

fn data(dir: Dir, known: &'static [&'static str]) -> impl Strategy<Value = Step> {
    let known = proptest::sample::select(known).prop_map(|text| text.as_bytes().to_vec());
    let piece = prop_oneof![12 => known, 1 => proptest::collection::vec(any::<u8>(), 1..20)];
    proptest::collection::vec(piece, 1..4).prop_map(move |pieces| Step::Data(dir, pieces.concat()))
}

fn secured(starttls: bool, ok: bool) -> EstablishedTls {
    let mode = if starttls { TlsMode::StartTls } else { TlsMode::Implicit };
    let handshake = if ok { Handshake::Ok } else { Handshake::Failed };
    EstablishedTls { mode, handshake, version: Some("TLSv1.3"), cipher: None, sni: Text::default(), failure: None }
}

fn step() -> impl Strategy<Value = Step> {
    let dir = || prop_oneof![Just(Dir::ToServer), Just(Dir::ToClient)];
    prop_oneof![
        10 => data(Dir::ToServer, CLIENT),
        10 => data(Dir::ToClient, SERVER),
        1 => (dir(), 1_u64..50).prop_map(|(dir, lost)| Step::Gap(dir, lost)),
        2 => (dir(), 0_u64..30).prop_map(|(dir, short)| Step::Acked(dir, short)),
        1 => dir().prop_map(Step::Fin),
        1 => dir().prop_map(Step::Reset),
        1 => Just(Step::Rest),
        1 => any::<(bool, bool)>().prop_map(|(starttls, ok)| Step::EstablishedTls(secured(starttls, ok))),
    ]
}

/// Lines of POP3 that either side may send.
const POP3: &[&str] = &[
    "+OK",
    "+OK 3 octets",
    "-ERR [AUTH] x",
    "+ ",
    "+",
    ".",
    "..",
    "text",
    "1 2",
    "RETR 1",
    "TOP 1 1",
    "LIST",
    "LIST ",
    "AUTH PLAIN",
    "AUTH NTLM",
    "TlRMTVNTUAAB",
    "*",
    "STLS",
    "XTND XMIT",
    "CAPA",
    "QUIT",
    "USER a",
    "PASS hunter2",
    "\u{16}\u{3}\u{1}",
];

/// What an IMAP client sends, whole and broken.
const IMAP_CLIENT: &[&str] = &[
    "a LOGIN {3}\r\n",
    "ann {6+}\r\ns3cret\r\n",
    "a AUTHENTICATE PLAIN\r\n",
    "AGFubgBzM2NyZXQ=\r\n",
    "*\r\n",
    "b SELECT INBOX\r\n",
    "c APPEND Sent (\\Seen) {5}\r\n",
    "hello\r\n",
    "hello {3+}\r\nabc\r\n",
    "c APPEND x CATENATE (TEXT {5+}\r\n",
    "hello URL {1+}\r\nx)\r\n",
    "d IDLE\r\n",
    "DONE\r\n",
    "e UID FETCH 1:* (BODY[])\r\n",
    "e FETCH 1 (RFC822 \0\u{ff}\r\n",
    "f NOOP\r\n",
    "f LOGOUT\r\n",
    "g COMPRESS DEFLATE\r\n",
    "h UNAUTHENTICATE\r\n",
    "i STARTTLS\r\n",
    "\"\"(((\r\n",
    "\r\n",
];

/// What an IMAP server sends, whole and broken.
const IMAP_SERVER: &[&str] = &[
    "* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n",
    "+\r\n",
    "+ go {5}\r\n",
    "a OK in\r\n",
    "a NO [AUTHENTICATIONFAILED] no\r\n",
    "b OK\r\n",
    "b BAD\r\n",
    "c OK [APPENDUID 1 5:9]\r\n",
    "c NO\r\n",
    "d OK\r\n",
    "e OK\r\n",
    "f OK\r\n",
    "g NO\r\n",
    "h OK\r\n",
    "i NO\r\n",
    "* 1 FETCH (BODY[] {5}\r\n",
    "* 2 FETCH (UID 3 BODY[TEXT] \"a\\\"b\" BODY[] {2}\r\n",
    "hello)\r\n",
    "* 5 EXISTS\r\n",
    "* BYE idle\r\n",
];

fn either() -> impl Strategy<Value = Dir> {
    prop_oneof![Just(Dir::ToServer), Just(Dir::ToClient)]
}

fn pop3_line() -> impl Strategy<Value = Step> {
    let end = prop_oneof![6 => Just("\r\n"), 1 => Just("\n")];
    (either(), proptest::sample::select(POP3), end)
        .prop_map(|(dir, line, end)| Step::Data(dir, format!("{line}{end}").into_bytes()))
}

fn imap_piece() -> impl Strategy<Value = Step> {
    let of = |dir, pieces| {
        proptest::sample::select(pieces).prop_map(move |piece: &str| Step::Data(dir, piece.as_bytes().to_vec()))
    };
    prop_oneof![
        22 => of(Dir::ToServer, IMAP_CLIENT),
        20 => of(Dir::ToClient, IMAP_SERVER),
        2 => either().prop_map(|dir| Step::Gap(dir, 3)),
    ]
}

fn noise() -> impl Strategy<Value = Step> {
    let text = "[ -~\r\n\"{}()\\[\\]*+\u{e9}\u{0}]{0,40}";
    (either(), text).prop_map(|(dir, text)| Step::Data(dir, text.into_bytes()))
}

/// The same events however `steps` are cut; what was said without the octets of bodies.
fn cut_alike(port: u16, certain: bool, steps: &[Step], cuts: &[usize]) -> Result<String, TestCaseError> {
    let whole = run(port, certain, steps, &[usize::MAX], false);
    for (cuts, resting) in [(&[1][..], false), (cuts, false), (cuts, true)] {
        let cut = run(port, certain, steps, cuts, resting);
        let differ = (0..whole.len().max(cut.len())).find(|i| whole.get(*i) != cut.get(*i));
        let of = |events: &[String]| differ.and_then(|i| events.get(i).cloned());
        prop_assert_eq!(
            of(&whole),
            of(&cut),
            "cut in {:?}, resting {}, event {:?} of {}",
            cuts,
            resting,
            differ,
            shown(steps)
        );
    }
    Ok(whole.into_iter().filter(|event| !event.starts_with("body ")).collect())
}

proptest! {
    #[test]
    fn neither_the_cut_of_the_octets_nor_a_rest_means_anything(
        port in proptest::sample::select(vec![25_u16, 24, 110, 143, 465, 4190, 9999]),
        certain in proptest::bool::weighted(0.8),
        steps in proptest::collection::vec(step(), 0..16),
        cuts in proptest::collection::vec(1_usize..9, 1..8),
    ) {
        cut_alike(port, certain, &steps, &cuts)?;
    }

    #[test]
    fn pop3_lines_in_any_order_are_taken_however_they_are_cut(
        certain: bool,
        steps in proptest::collection::vec(pop3_line(), 0..40),
        cut in 1_usize..9,
    ) {
        let said = cut_alike(110, certain, &steps, &[cut])?;
        prop_assert!(!said.contains("hunter2"), "{}", said);
    }

    #[test]
    fn pieces_of_imap_in_any_order_are_taken_however_they_are_cut(
        certain in proptest::bool::weighted(0.8),
        steps in proptest::collection::vec(imap_piece(), 0..40),
        cut in 1_usize..9,
    ) {
        let said = cut_alike(143, certain, &steps, &[cut])?;
        prop_assert!(!said.contains("s3cret") && !said.contains("AGFubgBzM2"), "{}", said);
    }

    #[test]
    fn noise_is_survived(
        port in proptest::sample::select(vec![25_u16, 110, 143]),
        steps in proptest::collection::vec(noise(), 0..40),
    ) {
        cut_alike(port, true, &steps, &[1])?;
    }
}

#[test]
fn holes_in_a_row_are_one_hole() {
    let to_server = |text: &str| Step::Data(Dir::ToServer, text.into());
    let to_client = |text: &str| Step::Data(Dir::ToClient, text.into());
    let around = |holes: &[u64]| {
        let before = [
            to_client("220 mx LMTP\r\n"),
            to_server("LHLO c\r\n"),
            to_client("250 ok\r\n"),
            to_server("MAIL FROM:<>\r\n"),
            to_server("RCPT TO:<a@example.com>\r\n"),
        ];
        let lost = holes.iter().map(|lost| Step::Gap(Dir::ToServer, *lost));
        let behind = [
            to_server("RCPT TO:<b@example.com>\r\n"),
            to_server("neither a command"),
            to_client("250 ok\r\n\r\n"),
            to_client("354 go\r\n"),
            to_server("x\r\n.\r\n"),
        ];
        before.into_iter().chain(lost).chain(behind).collect::<Vec<_>>()
    };
    let one = run(25, true, &around(&[480]), &[usize::MAX], false);
    for holes in [&[240, 240][..], &[1, 2, 3, 474], &[20; 24]] {
        for cut in [usize::MAX, 7, 1] {
            assert_eq!(run(25, true, &around(holes), &[cut], false), one, "{holes:?}, cut {cut}");
        }
    }
}

#[test]
fn a_layer_begins_behind_its_command_when_its_reply_was_put_off() {
    // The answer to COMPRESS shows that STARTTLS was not waited for: what was held behind it is read first.
    let steps = [
        Step::Data(Dir::ToServer, b"a STARTTLS\r\n".into()),
        Step::Data(Dir::ToServer, b"b COMPRESS DEFLATE\r\n\xdfno DEFLATE, and no command\r\n".into()),
        Step::Data(Dir::ToClient, b"b OK go\r\n".into()),
    ];
    let whole = run(143, true, &steps, &[usize::MAX], false);
    assert_eq!(whole.iter().filter(|event| event.contains("Command {")).count(), 2, "{whole:#?}");
    for cut in [1, 7] {
        assert_eq!(run(143, true, &steps, &[cut], false), whole, "cut {cut}");
    }
}

#[test]
fn what_is_held_is_read_once_though_each_side_decides_the_other() {
    // The middle of a POP3 session: the lone dot ends a text, or does not, as the client's next command shows.
    let steps = [
        Step::Data(Dir::ToServer, b"XTND XMIT\r\n".into()),
        Step::Data(Dir::ToServer, b"AUTH PLAIN\r\n".into()),
        Step::Data(Dir::ToClient, b"text\r\n".into()),
        Step::Data(Dir::ToClient, b".\n".into()),
        Step::Data(Dir::ToClient, b"-ERR [AUTH] x\r\n".into()),
    ];
    let whole = run(110, false, &steps, &[usize::MAX], false);
    assert!(whole.last().is_some_and(|event| event.contains("End(")), "{whole:#?}");
    assert_eq!(run(110, false, &steps, &[1], false), whole);
}

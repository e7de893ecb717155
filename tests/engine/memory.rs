//! What a session at rest costs: thousands of idle connections are the daily bread of IMAP. And what the page and the top lists
//! cost at most, whatever strangers send.

use std::sync::Arc;
use std::time::Duration;

use mailtap::engine::{Limits, Session};
use mailtap::event::{Context, Dir, End, Event, Input, Peers, Sink};
use mailtap::output::page::{Cursor, PageState, Show};
use mailtap::output::{EventFanout, InputKind, Policy, TopCollector, TopState};
use mailtap::time::Timestamp;

use crate::allocations;

struct Ignore;

impl Sink for Ignore {
    fn event(&mut self, _: &Context, _: Timestamp, _: &Event<'_>) {}
}

const C: Dir = Dir::ToServer;
const S: Dir = Dir::ToClient;

/// Octets that a session holds once it has taken `turns` and rests, itself included. The first one makes the tables that
/// all share, so the second is measured.
fn at_rest(port: u16, turns: &[(Dir, &[u8])]) -> usize {
    held_by_one(port, turns);
    held_by_one(port, turns)
}

fn held_by_one(port: u16, turns: &[(Dir, &[u8])]) -> usize {
    let limits = Arc::new(Limits::default());
    let mut at = Timestamp::from_parts(1_780_000_000, 0);
    let peers = Peers {
        client: "203.0.113.10:50000".parse().unwrap(),
        server: format!("198.51.100.25:{port}").parse().unwrap(),
        established: Some(at),
        roles_certain: true,
        source: 0,
        ordinal: 0,
    };
    let before = allocations::held();
    let mut session = Session::new(at, 1, peers, limits);
    for (dir, octets) in turns {
        at = at.after(Duration::from_millis(1));
        session.handle(at, *dir, Input::Data(octets), &mut Ignore);
    }
    session.shrink();
    size_of::<Session>() + allocations::held().wrapping_sub(before)
}

#[test]
fn a_session_at_rest_is_small() {
    let greeting: &[u8] = b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS AUTH=PLAIN AUTH=LOGIN] Dovecot (Debian) ready.\r\n";
    let greeted = at_rest(143, &[(S, greeting)]);
    let idling = at_rest(
        143,
        &[
            (S, greeting),
            (C, b"a1 LOGIN \"ann@example.org\" \"a password\"\r\n"),
            (S, b"* CAPABILITY IMAP4rev1 IDLE\r\na1 OK [CAPABILITY IMAP4rev1 IDLE UIDPLUS CONDSTORE] Logged in\r\n"),
            (C, b"a2 SELECT INBOX\r\n"),
            (S, b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* OK [PERMANENTFLAGS (\\Answered \\Flagged \\*)] Flags permitted.\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1700000000] UIDs valid\r\na2 OK [READ-WRITE] Select completed (0.001 + 0.000 secs).\r\n"),
            (C, b"a3 UID FETCH 3 (BODY.PEEK[])\r\n"),
            (S, b"* 3 FETCH (UID 3 BODY[] {33}\r\nFrom: a@example.org\r\n\r\na message\r\n)\r\na3 OK Fetch completed.\r\n"),
            (C, b"a4 IDLE\r\n"),
            (S, b"+ idling\r\n"),
            (S, b"* 4 EXISTS\r\n"),
        ],
    );
    let delivered = at_rest(
        25,
        &[
            (S, b"220 mx.example.org ESMTP Postfix\r\n"),
            (C, b"EHLO client.example.org\r\n"),
            (S, b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ETRN\r\n250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"),
            (C, b"MAIL FROM:<a@example.org> SIZE=1000\r\n"),
            (S, b"250 2.1.0 Ok\r\n"),
            (C, b"RCPT TO:<b@example.org>\r\n"),
            (S, b"250 2.1.5 Ok\r\n"),
            (C, b"DATA\r\n"),
            (S, b"354 go ahead\r\n"),
            (C, b"From: a@example.org\r\nSubject: a message\r\n\r\na message\r\n.\r\n"),
            (S, b"250 2.0.0 Ok: queued as 4F1A2\r\n"),
        ],
    );
    let retrieved = at_rest(
        110,
        &[
            (S, b"+OK ready\r\n"),
            (C, b"USER ann\r\n"),
            (S, b"+OK\r\n"),
            (C, b"PASS x-y-z\r\n"),
            (S, b"+OK\r\n"),
            (C, b"RETR 1\r\n"),
            (S, b"+OK 40 octets\r\nFrom: a@example.org\r\n\r\na message\r\n.\r\n"),
        ],
    );
    let silent = at_rest(25, &[]);
    for (what, octets, cap) in [
        ("silent", silent, 1408),
        ("greeted", greeted, 1920),
        ("idling", idling, 2944),
        ("delivered", delivered, 2432),
        // Knows a name and a password.
        ("retrieved", retrieved, 2752),
    ] {
        assert!(octets <= cap, "{what}: {octets} octets");
    }
}

/// What a client sends ahead of all answers is bounded, however much of it there is.
#[test]
fn envelopes_and_commands_that_wait_are_bounded() {
    let address = "x".repeat(200);
    let envelopes = |times: usize| {
        let mut lines = b"EHLO a\r\n".to_vec();
        for n in 0..times {
            lines.extend(format!("MAIL FROM:<{address}{n}@example.org> ENVID={address} SIZE=1\r\n").into_bytes());
            (0..20).for_each(|n| {
                lines.extend(
                    format!("RCPT TO:<{address}{n}@example.org> ORCPT=rfc822;{address} NOTIFY=NEVER\r\n").into_bytes(),
                );
            });
        }
        lines
    };
    let sets = |times: usize| format!("a FETCH {}1 (FLAGS)\r\n", "1,9,".repeat(500)).repeat(times).into_bytes();
    for (what, port, greeting, small, large) in [
        ("envelopes", 25, &b"220 mx\r\n"[..], envelopes(40), envelopes(160)),
        ("sets", 143, b"* OK hi\r\n", sets(300), sets(900)),
    ] {
        let held = [&small, &large].map(|lines| at_rest(port, &[(S, greeting), (C, lines)]));
        assert!(held[1] < 2 << 20, "{what}: {held:?} for {} and {} bytes", small.len(), large.len());
    }
}

/// A character of four bytes that cannot be seen, and is shown as nine.
const UNSEEN: &str = "\u{e0001}";

/// Session `number` of another client, with another server, of another user, whose messages have long addresses and subjects of
/// characters that cannot be seen.
fn spiteful(number: u64, messages: u32, out: &mut dyn Sink, ends: bool) {
    let at = Timestamp::from_parts(1_780_000_000, 0);
    let [.., a, b] = number.to_be_bytes();
    let peers = Peers {
        client: format!("[2001:db8:0:{number:x}::1]:4000").parse().unwrap(),
        server: format!("198.51.{a}.{b}:25").parse().unwrap(),
        established: Some(at),
        roles_certain: true,
        source: 0,
        ordinal: number,
    };
    let mut session = Session::new(at, number, peers, Arc::new(Limits::default()));
    let mut say = |dir, text: &str| session.handle(at, dir, Input::Data(text.as_bytes()), out);
    let mut exchange = |command: &str, reply: &str| {
        say(C, &format!("{command}\r\n"));
        say(S, &format!("{reply}\r\n"));
    };
    exchange("NOOP", "220 mx ESMTP\r\n250 ok");
    exchange("EHLO client", "250 mx");
    let login = format!("\0{}{number}\0secret", "\u{e9}".repeat(110));
    exchange(&format!("AUTH PLAIN {}", data_encoding::BASE64.encode(login.as_bytes())), "235 2.7.0 ok");
    for message in 0..messages {
        exchange(&format!("MAIL FROM:<{}@a.example>", UNSEEN.repeat(120)), "250 ok");
        let domain = format!("d{number}-{message}.{}", "\u{e9}".repeat(110));
        exchange(&format!("RCPT TO:<{}@{domain}>", UNSEEN.repeat(60)), "550 no");
        exchange(&format!("RCPT TO:<{}@{domain}>", UNSEEN.repeat(60)), "250 ok");
        exchange("DATA", "354 go");
        exchange(&format!("Subject: {}\r\n\r\n.", UNSEEN.repeat(150)), "250 ok");
    }
    if ends {
        session.finish(at, End::Closed, out);
    }
}

#[test]
fn the_page_and_the_top_lists_have_room_for_no_more() {
    let policy = Arc::new(Policy::default());
    let before = allocations::held();
    let top = Arc::new(TopState::new(InputKind::Proxy, true));
    let mut counted = EventFanout::new(Arc::clone(&policy), None);
    counted = counted.with_top(TopCollector::new(Arc::clone(&top), &policy));
    for number in 0..950 {
        spiteful(number, 2, &mut counted, true);
    }
    counted.flush();
    let gathers = allocations::held().wrapping_sub(before);
    drop(counted);
    let lists = allocations::held().wrapping_sub(before);
    println!("top lists: {lists} bytes of five minutes, {} of a thread", gathers - lists);
    // Ten minutes are kept.
    assert!((100 << 10..3 << 19).contains(&lists), "{lists}");
    assert!(gathers - lists < 1 << 20, "{gathers}");

    let before = allocations::held();
    let show = Show { addresses: true, subjects: true };
    let page = Arc::new(PageState::new(InputKind::Proxy, vec!["mx".into()], show, Arc::clone(&top)));
    let mut shown = EventFanout::new(policy, None).with_page(page.recorder());
    for number in 0..770 {
        spiteful(number, 8, &mut shown, number < 250);
    }
    let unpublished = allocations::held().wrapping_sub(before);
    shown.flush();
    page.tell(&mut Cursor::default(), &mut Vec::new());
    let held = allocations::held().wrapping_sub(before);
    println!("page: {held} bytes with that of its thread; a thread that cannot publish: {unpublished}");
    assert!((4 << 20..29 << 20).contains(&held), "{held}");
    assert!(unpublished < 24 << 20, "{unpublished}");
}

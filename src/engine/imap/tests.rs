//! Conversations, each cut in three ways, with what must be said of them.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::engine::{Limits, Session};
use crate::event::{Context, Dir, End, Input, Peers, Sink};
use crate::event::{Event, Summary};
use crate::time::Timestamp;

/// Writes down what a session says.
#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    everything: String,
}

fn text(text: &crate::event::Text) -> String {
    text.as_bytes().escape_ascii().to_string()
}

impl Sink for Notes {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        if !matches!(event, Event::Body { .. }) {
            write!(self.everything, "{event:?}").unwrap();
        }
        let mut line = String::new();
        match event {
            Event::Command(c) => {
                write!(line, "{} {}", text(&c.tag), c.verb.as_str()).unwrap();
                if let Some(args) = c.args.get() {
                    write!(line, " ({})", args.escape_ascii()).unwrap();
                }
                if let Some(mailbox) = c.mailbox.get() {
                    write!(line, " in {}", String::from_utf8_lossy(mailbox)).unwrap();
                }
                match c.reply.status {
                    Some(status) => write!(line, " -> {status:?}").unwrap(),
                    None => line.push_str(" -> nothing"),
                }
                if let Some(code) = c.reply.response_code.get() {
                    write!(line, " [{}]", code.escape_ascii()).unwrap();
                }
                if !c.reply.text.as_bytes().is_empty() {
                    write!(line, " {}", text(&c.reply.text)).unwrap();
                }
                for (kind, n) in &c.untagged {
                    write!(line, " {}:{n}", kind.as_str()).unwrap();
                }
                if c.literals > 0 {
                    write!(line, " literals:{}", c.literals).unwrap();
                }
                if c.pipelined {
                    line.push_str(" pipelined");
                }
                missing(&mut line, c.incomplete);
            }
            Event::Auth(a) => {
                let mechanism = a.mechanism.map_or("", |m| m.as_str());
                write!(line, "auth {} {} {}", a.method.as_str(), mechanism, a.outcome.as_str()).unwrap();
                if a.method == crate::event::AuthMethod::Login {
                    write!(line, " {}", text(&a.identity)).unwrap();
                }
            }
            Event::Transaction(t) => {
                write!(line, "{} {}", t.kind.as_str(), t.outcome.as_str()).unwrap();
                if let Some(verb) = t.verb {
                    write!(line, " {}", verb.as_str()).unwrap();
                }
                if t.mailbox.is_present() {
                    write!(line, " in {}", text(&t.mailbox)).unwrap();
                }
                if t.has_message {
                    write!(line, " size:{}", t.message.size()).unwrap();
                    if t.message.complete() {
                        line.push_str(" whole");
                    }
                }
                if !t.section.as_bytes().is_empty() {
                    write!(line, " section:{}", text(&t.section)).unwrap();
                }
                for (name, value) in
                    [("uid", t.uid), ("validity", t.uid_validity), ("number", t.message_number), ("origin", t.origin)]
                {
                    if let Some(value) = value {
                        write!(line, " {name}:{value}").unwrap();
                    }
                }
                for flag in t.flags.iter() {
                    write!(line, " {}", flag.escape_ascii()).unwrap();
                }
                if let Some(date) = t.internal_date.get() {
                    write!(line, " date:{}", date.escape_ascii()).unwrap();
                }
                if let Some(subject) = t.message.subject().filter(|_| t.has_message) {
                    write!(line, " subject:{subject}").unwrap();
                }
                missing(&mut line, t.incomplete);
            }
            Event::End(summary) => line = end(summary),
            _ => return,
        }
        self.lines.push(line.trim_start().to_owned());
    }
}

fn missing(line: &mut String, incomplete: crate::event::Incomplete) {
    for missing in incomplete.iter() {
        write!(line, " !{}", missing.as_str()).unwrap();
    }
}

fn end(summary: &Summary) -> String {
    let mut line = format!("end {}", summary.outcome.as_str());
    if summary.mailbox.is_present() {
        write!(line, " in {}", text(&summary.mailbox)).unwrap();
    }
    if let Some(idle) = summary.idle {
        write!(line, " idle:{}x{}s/{}", idle.count, idle.duration.as_secs(), idle.events).unwrap();
    }
    for (kind, n) in &summary.untagged {
        write!(line, " {}:{n}", kind.as_str()).unwrap();
    }
    line
}

/// Something that happens.
enum Step {
    Octets(Dir, Vec<u8>),
    Gap(Dir, u64),
    Wait(u64),
    Close(Dir),
}

/// `C `/`S ` a line, `c `/`s ` octets with escapes, `X c`/`X s` hexadecimal, `G c 5` a gap, `T 60` time, `E s` a close.
fn steps(script: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in script.lines().map(str::trim_start).filter(|l| !l.is_empty()) {
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        let dir = |name: &str| if name.eq_ignore_ascii_case("c") { Dir::ToServer } else { Dir::ToClient };
        match head {
            "C" | "S" => {
                let mut octets = unescape(rest);
                octets.extend_from_slice(b"\r\n");
                steps.push(Step::Octets(dir(head), octets));
            }
            "c" | "s" => steps.push(Step::Octets(dir(head), unescape(rest))),
            "X" => {
                let (side, hex) = rest.split_once(' ').unwrap();
                let octet = |i| u8::from_str_radix(hex.get(i..i + 2).unwrap(), 16).unwrap();
                steps.push(Step::Octets(dir(side), (0..hex.len()).step_by(2).map(octet).collect()));
            }
            "G" => {
                let (side, lost) = rest.split_once(' ').unwrap();
                steps.push(Step::Gap(dir(side), lost.parse().unwrap()));
            }
            "T" => steps.push(Step::Wait(rest.parse().unwrap())),
            "E" => steps.push(Step::Close(dir(rest))),
            _ => panic!("{line}"),
        }
    }
    steps
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'\\' {
            out.push(octet);
            continue;
        }
        match octets.next().unwrap() {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b'0' => out.push(0),
            b'x' => {
                let hex = [octets.next().unwrap(), octets.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            other => out.push(other),
        }
    }
    out
}

/// Plays `steps`: merged where one side sends on, as they are, or octet by octet.
fn play(steps: &[Step], size: Option<usize>, certain: bool) -> Notes {
    let at = Timestamp::from_nanos(1_000_000_000);
    let peers = Peers {
        client: "192.0.2.1:50000".parse().unwrap(),
        server: "192.0.2.2:143".parse().unwrap(),
        established: certain.then_some(at),
        roles_certain: certain,
        source: 0,
        ordinal: 0,
    };
    let mut notes = Notes::default();
    let mut session = Session::new(at, 1, peers, Arc::new(Limits::default()));
    let mut now = at;
    let mut merged: Option<(Dir, Vec<u8>)> = None;
    let mut closed = false;
    let send = |session: &mut Session, notes: &mut Notes, now, dir, octets: &[u8]| {
        for piece in octets.chunks(size.unwrap_or(usize::MAX)) {
            session.handle(now, dir, Input::Data(piece), notes);
        }
    };
    for step in steps {
        if let Step::Octets(dir, octets) = step {
            match &mut merged {
                Some((d, buffer)) if d == dir && size == Some(usize::MAX) => {
                    buffer.extend_from_slice(octets);
                    continue;
                }
                _ => {}
            }
            if let Some((dir, octets)) = merged.replace((*dir, octets.clone())) {
                send(&mut session, &mut notes, now, dir, &octets);
            }
            continue;
        }
        if let Some((dir, octets)) = merged.take() {
            send(&mut session, &mut notes, now, dir, &octets);
        }
        match step {
            Step::Gap(dir, lost) => session.handle(now, *dir, Input::Gap(*lost), &mut notes),
            Step::Wait(seconds) => now = now.after(std::time::Duration::from_secs(*seconds)),
            Step::Close(dir) => {
                closed = true;
                session.handle(now, *dir, Input::Fin, &mut notes);
            }
            Step::Octets(..) => {}
        }
    }
    if let Some((dir, octets)) = merged.take() {
        send(&mut session, &mut notes, now, dir, &octets);
    }
    if !closed {
        session.handle(now, Dir::ToServer, Input::Fin, &mut notes);
    }
    session.finish(now, End::Closed, &mut notes);
    notes
}

const SECRETS: [&str; 4] = ["s3cret", "hunter2", "bixhPWFubkB4Lm9yZy", "AHMzY3JldA"];

fn check_as(certain: bool, script: &str, expected: &str) {
    let steps = steps(script);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    for size in [None, Some(usize::MAX), Some(1)] {
        let notes = play(&steps, size, certain);
        assert_eq!(notes.lines, expected, "pieces of {size:?}\n{}", notes.lines.join("\n"));
        for secret in SECRETS {
            assert!(!notes.everything.contains(secret), "{secret} is told");
        }
    }
}

fn check(script: &str, expected: &str) {
    check_as(true, script, expected);
}

/// As `check`, after greeting, LOGIN and SELECT, which are as they should be; `LOGOUT` ends it.
fn check_selected(script: &str, expected: &str) {
    let script = format!(
        "S * OK hi
        C a LOGIN ann hunter2
        S a OK in
        C b SELECT INBOX
        S * 3 EXISTS
        S b OK [READ-WRITE] ok
        {script}
        C z LOGOUT
        S * BYE
        S z OK"
    );
    let (head, tail) = expected.trim().rsplit_once("end").unwrap();
    let expected = format!(
        "auth login  success ann
        a LOGIN -> Ok in
        b SELECT (INBOX) in INBOX -> Ok [READ-WRITE] ok EXISTS:1
        {head}
        z LOGOUT -> Ok BYE:1
        end{tail}"
    );
    check(&script, &expected);
}

#[test]
fn a_fake_completion_in_a_literal_is_text() {
    check_selected(
        r"C c UID FETCH 7 (UID BODY.PEEK[])
        S * 1 FETCH (UID 7 BODY[] {25}
        s hello\r\nc OK done\r\n* BYE\r\n)\r\nc OK real\r\n",
        "retrieval complete UID FETCH in INBOX size:25 whole uid:7 number:1
        c UID FETCH (7 (UID BODY.PEEK[])) -> Ok real FETCH:1
        end ok in INBOX",
    );
}

#[test]
fn login_with_literals() {
    check(
        r"S * OK hi
        C a LOGIN {3}
        S + go
        c ann {6}\r\n
        S + go
        c s3cret\r\n
        S a NO [AUTHENTICATIONFAILED] no
        C b LOGOUT
        S * BYE
        S b OK",
        "auth login  failed ann
        a LOGIN -> No [AUTHENTICATIONFAILED] no literals:2
        b LOGOUT -> Ok BYE:1
        end ok",
    );
    check(
        r"S * OK hi
        c a LOGIN {3+}\r\nann {6+}\r\ns3cret\r\n
        S a OK in",
        "auth login  success ann
        a LOGIN -> Ok in literals:2
        end client_gone",
    );
}

#[test]
fn completions_in_any_order() {
    check_selected(
        r#"C c UID SEARCH TEXT x
        C d NOOP
        C e STATUS "Sent" (MESSAGES)
        S d OK
        S * STATUS Sent (MESSAGES 4)
        S e OK
        S * SEARCH 1 3
        S c OK"#,
        r#"d NOOP -> Ok pipelined
        e STATUS (\"Sent\" (MESSAGES)) in Sent -> Ok STATUS:1 pipelined
        c UID SEARCH -> Ok SEARCH:1
        end ok in INBOX"#,
    );
}

#[test]
fn an_append_refused_before_its_literal() {
    check_selected(
        r"C c APPEND Sent (\\Seen) {9000000000}
        S c NO [TOOBIG] no
        C d NOOP
        S d OK",
        r"append error APPEND in Sent \\Seen
        c APPEND (Sent) in Sent -> No [TOOBIG] no literals:1
        d NOOP -> Ok
        end ok in INBOX",
    );
}

#[test]
fn many_messages_in_one_append() {
    check_selected(
        r#"C c APPEND Sent {3}
        S + go
        c abc (\\Seen) "01-Jan-2026 00:00:00 +0000" {2}\r\n
        S + go
        c xy\r\n
        S c OK [APPENDUID 1 10:11] ok"#,
        r"append accepted APPEND in Sent size:3 whole uid:10 validity:1
        append accepted APPEND in Sent size:2 whole uid:11 validity:1 \\Seen date:01-Jan-2026 00:00:00 +0000
        c APPEND (Sent) in Sent -> Ok [APPENDUID 1 10:11] ok literals:2
        end ok in INBOX",
    );
}

#[test]
fn an_append_made_of_pieces() {
    check_selected(
        r#"C c APPEND Drafts CATENATE (TEXT {14+}
        c Subject: a\r\n\r\n URL "/INBOX/;UID=1;URLAUTH=s3cret" TEXT {2+}\r\n
        c ok)\r\n
        S c OK [APPENDUID 5 7] ok
        C d APPEND {4+}
        c Sent UTF8 (~{3+}\r\n
        c abc)\r\n
        S d OK"#,
        r"append accepted APPEND in Drafts size:16 uid:7 validity:5 subject:a
        c APPEND (Drafts) in Drafts -> Ok [APPENDUID 5 7] ok literals:2
        append accepted APPEND in Sent size:3 whole
        d APPEND (Sent) in Sent -> Ok literals:2
        end ok in INBOX",
    );
}

#[test]
fn a_replacement() {
    check_selected(
        r"C c UID REPLACE 4 {6}
        S + mailbox
        c Drafts (\\Draft) {3}\r\n
        S + message
        c abc\r\n
        S * OK [APPENDUID 5 8] replaced
        S c OK done",
        r"append accepted UID REPLACE in Drafts size:3 whole uid:8 validity:5 \\Draft
        c UID REPLACE (Drafts) in Drafts -> Ok done OK:1 literals:2
        end ok in INBOX",
    );
}

#[test]
fn text_that_looks_like_a_literal() {
    check_selected(
        r"C c NOOP
        S * OK see section {5}
        S c OK done {7}
        C d NOOP
        S + no {3}
        S d OK",
        "c NOOP -> Ok done {7}
        d NOOP -> Ok
        end ok in INBOX OK:1",
    );
}

#[test]
fn idling() {
    check_selected(
        r"C c IDLE
        S + idling
        T 60
        S * 4 EXISTS
        C done
        S c OK",
        "c IDLE -> Ok
        end ok in INBOX idle:1x60s/1 EXISTS:1",
    );
}

#[test]
fn sasl() {
    check(
        r"S * OK hi
        C a AUTHENTICATE OAUTHBEARER bixhPWFubkB4Lm9yZywBaG9zdD1tLngub3JnAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHlhMjkudG9rAQE=
        S + eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=
        C AQ==
        S a NO [AUTHENTICATIONFAILED] no
        C b AUTHENTICATE NTLM
        s +\r\n
        c * \r\n
        S b BAD cancelled
        C c NOOP
        S c OK",
        &format!(
            "auth sasl {} failed
            a AUTHENTICATE -> No [AUTHENTICATIONFAILED] no
            auth sasl {} cancelled
            b AUTHENTICATE -> Bad cancelled
            c NOOP -> Ok
            end client_gone",
            mechanism(b"OAUTHBEARER"),
            mechanism(b"NTLM"),
        ),
    );
}

/// What the log calls a mechanism.
fn mechanism(name: &[u8]) -> &'static str {
    let mut secrets = crate::engine::secret::Secrets::default();
    let at = Timestamp::default();
    let exchange = crate::engine::sasl::Exchange::sasl(name, None, at, at, &mut secrets);
    let outcome = crate::event::AuthOutcome::Incomplete;
    let auth = exchange.finish(outcome, Default::default(), None, crate::event::TlsMode::None);
    auth.mechanism.unwrap().as_str()
}

#[test]
fn compression() {
    check(
        r"S * OK hi
        C b COMPRESS DEFLATE
        S b OK go
        X c 4a56f0f3f70fe0e502000000ffff
        X s 4a56f0f75648c9cf4be5e502000000ffff
        X c 4a51f0f177f70f0de1e502000000ffff
        X s d252708a74e5e54a01892455020500000000ffff",
        "b COMPRESS (DEFLATE) -> Ok go
        c NOOP -> Ok done
        d LOGOUT -> Ok bye BYE:1
        end ok",
    );
}

#[test]
fn starttls_and_what_is_injected_behind_it() {
    check(
        r"S * OK [CAPABILITY IMAP4rev1 STARTTLS] hi
        C a STARTTLS
        S a OK go
        S * CAPABILITY IMAP4rev1 AUTH=PLAIN
        X c 160301002e0100002a0303",
        "a STARTTLS -> Ok go
        end encrypted",
    );
    check(
        r"S * OK hi
        C a STARTTLS
        S a NO not here
        C b NOOP
        S b OK",
        "a STARTTLS -> No not here
        b NOOP -> Ok
        end client_gone",
    );
}

#[test]
fn bye_in_the_middle() {
    check(
        r"S * PREAUTH hi
        C b EXAMINE INBOX
        S b OK
        C c FETCH 1:* FLAGS
        S * 1 FETCH (FLAGS ())
        S * BYE Shutting down
        E s",
        "b EXAMINE (INBOX) in INBOX -> Ok
        c FETCH (1:* FLAGS) -> Bye FETCH:1
        end server_shutdown in INBOX BYE:1",
    );
    check("S * BYE go away\n", "end refused_at_connect");
}

#[test]
fn binary_with_nul_and_origin() {
    check_selected(
        r"C c FETCH 1 BINARY.PEEK[1]<0.4>
        S * 1 FETCH (BINARY[1]<0> ~{4}
        X s 00000d0a290d0a
        S c OK",
        "retrieval complete FETCH in INBOX size:4 section:1 number:1 origin:0
        c FETCH (1 BINARY.PEEK[1]<0.4>) -> Ok FETCH:1
        end ok in INBOX",
    );
}

#[test]
fn mailbox_names() {
    check_selected(
        r#"C c SELECT "&U,BTFw-"
        S c NO [NONEXISTENT] no
        C d SELECT "A&ZZ"
        S d BAD"#,
        "c SELECT (\\\"&U,BTFw-\\\") in \u{53F0}\u{5317} -> No [NONEXISTENT] no
        d SELECT (\\\"A&ZZ\\\") in A&ZZ -> Bad
        end ok in INBOX",
    );
}

#[test]
fn login_although_disabled() {
    check(
        r"S * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi
        C a LOGIN ann s3cret
        S a NO [PRIVACYREQUIRED] tls first",
        "auth login  needs_tls ann
        a LOGIN -> No [PRIVACYREQUIRED] tls first
        end client_gone",
    );
}

#[test]
fn data_of_a_resynchronisation() {
    check_selected(
        r"C c SELECT Sent (QRESYNC (1 2 1:5))
        S * OK [CLOSED]
        S * VANISHED (EARLIER) 3
        S * 1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (9))
        S * OK [HIGHESTMODSEQ 9]
        S c OK [READ-WRITE]",
        "c SELECT (Sent (QRESYNC (1 2 1:5))) in Sent -> Ok [READ-WRITE] OK:2 VANISHED:1 FETCH:1
        end ok in Sent",
    );
}

#[test]
fn picked_up_in_the_middle() {
    check_as(
        false,
        r"S * 5 EXISTS
        S A12 OK done
        C A13 NOOP
        S A13 OK",
        "A13 NOOP -> Ok
        end client_gone EXISTS:1",
    );
}

#[test]
fn an_untagged_bad_completes_nothing() {
    check_selected(
        r"C ???
        S * BAD no tag
        C c FROB s3cret
        S c BAD what
        C d NOOP
        S d OK",
        r"OTHER -> nothing
        c OTHER -> Bad what
        d NOOP -> Ok
        end ok in INBOX BAD:1",
    );
}

#[test]
fn a_gap_in_a_literal_is_counted_exactly() {
    check_selected(
        r"C c FETCH 1 BODY[]
        S * 1 FETCH (BODY[] {1000}
        G s 1000
        s )\r\nc OK\r\n",
        "retrieval complete FETCH in INBOX size:1000 number:1 !server_gap
        c FETCH (1 BODY[]) -> Ok FETCH:1
        end ok in INBOX",
    );
}

#[test]
fn deep_nesting() {
    check_selected(
        r"C c THREAD REFERENCES UTF-8 (((((((((((((((((((((((((((((((((((((((((((ALL
        S c BAD",
        "c THREAD -> Bad
        end ok in INBOX",
    );
    let deep = "(".repeat(100_000);
    check_selected(
        &format!("C c FETCH 1 BODY\nS * 1 FETCH (BODY {}{})\nS c OK", deep, ")".repeat(100_000)),
        "c FETCH (1 BODY) -> Ok FETCH:1
        end ok in INBOX",
    );
}

#[test]
fn bodies_of_every_kind() {
    check_selected(
        r#"C c FETCH 1:3 (RFC822 BODY[TEXT] BODY[HEADER] BODY[1.MIME])
        S * 1 FETCH (BODY[HEADER] {3}
        s abc BODY[TEXT] "a\\"b" BODY[1.MIME] {2}\r\n
        s xy RFC822 {15}\r\nSubject: a\r\n\r\nb UID 9 ENVELOPE ("{3}" ({1}\r\n) x) FLAGS (\\Seen))\r\n
        S * 2 FETCH (RFC822 NIL BODY[HEADER.FIELDS ("From" {2}
        s To)] {1}\r\nx RFC822.TEXT "")\r\n
        S c OK
        C d FETCH 9 BODY[]
        S d NO [EXPUNGEISSUED] gone"#,
        r"retrieval complete FETCH in INBOX size:3 section:TEXT uid:9 number:1
        retrieval complete FETCH in INBOX size:15 whole uid:9 number:1 subject:a
        retrieval complete FETCH in INBOX size:0 section:TEXT number:2
        c FETCH (1:3 (RFC822 BODY[TEXT] BODY[HEADER] BODY[1.MIME])) -> Ok FETCH:2
        retrieval error FETCH in INBOX
        d FETCH (9 BODY[]) -> No [EXPUNGEISSUED] gone
        end ok in INBOX",
    );
}

#[test]
fn a_command_completed_before_its_end() {
    check_selected(
        r"C c SEARCH TEXT {7}
        S c BAD no literals
        C d NOOP
        S d OK
        c e FROB {9+}\r\nx s3
        S e BAD what
        c cret y\r\nf NOOP\r\n
        S f OK",
        "c SEARCH -> Bad no literals literals:1
        d NOOP -> Ok
        e OTHER -> Bad what literals:1
        f NOOP -> Ok
        end ok in INBOX",
    );
}

#[test]
fn a_gap_in_the_clients_commands() {
    check_selected(
        r"c c SEARCH TEXT s3
        G c 5
        c cret x\r\n
        c FROB s3cret\r\n
        C d NOOP
        S c OK
        S d OK",
        "d NOOP -> Ok
        end ok in INBOX",
    );
    check(
        r"S * OK hi
        C c APPEND Sent {10}
        S + go
        c abc
        G c 7
        c \r\n
        S c OK",
        "append accepted APPEND in Sent size:10 !client_gap
        c APPEND (Sent) in Sent -> Ok literals:1 !client_gap
        end client_gone",
    );
}

#[test]
fn credentials_behind_a_refusal() {
    check(
        r"S * OK hi
        C a AUTHENTICATE PLAIN
        S a NO [CANNOT] no such mechanism
        C AHMzY3JldABzM2NyZXQ=
        S * BAD AHMzY3JldABzM2NyZXQ=
        C b LOGIN ann hunter2 s3cret
        S b BAD too many: hunter2 s3cret
        C c NOOP
        S c OK",
        &format!(
            "auth sasl {} rejected_mechanism
            a AUTHENTICATE -> No [CANNOT] no such mechanism
            OTHER -> nothing
            auth login  failed ann
            b LOGIN -> Bad too many: [redacted]
            c NOOP -> Ok
            end client_gone BAD:1",
            mechanism(b"PLAIN")
        ),
    );
}

#[test]
fn a_connection_that_breaks() {
    check(
        r"S * OK hi
        C c APPEND Sent {10}
        S + go
        c abc
        E c",
        "append connection_lost APPEND in Sent size:3
        c APPEND (Sent) in Sent -> nothing literals:1
        end client_gone",
    );
    check(
        r"S * OK hi
        C c FETCH 1 BODY[]
        S * 1 FETCH (BODY[] {1000}
        s abc
        E s",
        "retrieval connection_lost FETCH size:3 number:1
        c FETCH (1 BODY[]) -> nothing
        end server_gone",
    );
}

/// Pieces of conversation, whole and broken.
const PIECES: [&str; 44] = [
    "C a LOGIN {3}",
    "c ann {6+}\\r\\ns3cret\\r\\n",
    "C a AUTHENTICATE PLAIN",
    "C AGFubgBzM2NyZXQ=",
    "C *",
    "C b SELECT INBOX",
    "C c APPEND Sent (\\\\Seen) {5}",
    "c hello\\r\\n",
    "c hello {3+}\\r\\nabc\\r\\n",
    "C c APPEND x CATENATE (TEXT {5+}",
    "c hello URL {1+}\\r\\nx)\\r\\n",
    "C d IDLE",
    "C DONE",
    "C e UID FETCH 1:* (BODY[])",
    "C e FETCH 1 (RFC822 \\x00\\xff",
    "C f NOOP",
    "C f LOGOUT",
    "C g COMPRESS DEFLATE",
    "C h UNAUTHENTICATE",
    "C i STARTTLS",
    "C \\\"\\\"(((",
    "C",
    "S * OK [CAPABILITY IMAP4rev1 STARTTLS] hi",
    "S +",
    "S + go {5}",
    "S a OK in",
    "S a NO [AUTHENTICATIONFAILED] no",
    "S b OK",
    "S b BAD",
    "S c OK [APPENDUID 1 5:9]",
    "S c NO",
    "S d OK",
    "S e OK",
    "S f OK",
    "S g NO",
    "S h OK",
    "S i NO",
    "S * 1 FETCH (BODY[] {5}",
    "S * 2 FETCH (UID 3 BODY[TEXT] \"a\\\\\"b\" BODY[] {2}",
    "s hello)\\r\\n",
    "S * 5 EXISTS",
    "S * BYE idle",
    "G s 3",
    "G c 4",
];

proptest::proptest! {
    #[test]
    fn any_order_of_anything_is_cut_alike(picks in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let script: Vec<_> = picks.iter().map(|i| PIECES[*i]).collect();
        let steps = steps(&script.join("\n"));
        let [whole, single] = [None, Some(1)].map(|size| play(&steps, size, true));
        proptest::prop_assert_eq!(whole.lines, single.lines);
        for secret in ["s3cret", "AGFubgBzM2"] {
            proptest::prop_assert!(!single.everything.contains(secret));
        }
    }

    #[test]
    fn any_octets_are_survived(pieces in proptest::collection::vec((proptest::bool::ANY, "[ -~\r\n\"{}()\\[\\]*+\u{e9}\u{0}]{0,40}"), 0..40)) {
        let steps: Vec<_> = pieces
            .iter()
            .map(|(client, text)| {
                Step::Octets(if *client { Dir::ToServer } else { Dir::ToClient }, text.clone().into_bytes())
            })
            .collect();
        let [whole, single] = [None, Some(1)].map(|size| play(&steps, size, true));
        proptest::prop_assert_eq!(whole.lines, single.lines);
    }
}

//! Dialogues and what must be said of them, however they are cut.

use std::fmt::Write as _;
use std::sync::Arc;

use super::*;
use crate::engine::{Limits, Session};
use crate::event::{Context, End, Event, Input, Sink};
use crate::event::{Peers, Status};

/// One step of a dialogue.
#[derive(Clone, Copy)]
enum Step {
    C(&'static str),
    S(&'static str),
    LostC(u64),
    LostS(u64),
    Fin(Dir),
    Reset(Dir),
}
use Step::{C, Fin, LostC, LostS, Reset, S};

/// Facts as lines; everything else only for the search for secrets.
#[derive(Default)]
struct Log {
    facts: Vec<String>,
    everything: String,
    body: String,
}

fn reply(reply: &Reply) -> String {
    let status = match reply.status {
        Some(Status::PopOk) => "+OK",
        Some(Status::PopErr) => "-ERR",
        None => "unanswered",
        Some(_) => "?",
    };
    let code = reply.response_code.get().map_or(String::new(), |c| format!(" [{}]", c.escape_ascii()));
    let space = if reply.text.as_bytes().is_empty() { "" } else { " " };
    format!("{status}{code}{space}{}", reply.text.as_bytes().escape_ascii())
}

fn missing(incomplete: Incomplete) -> String {
    incomplete.iter().map(|m| format!(" !{}", m.as_str())).collect()
}

impl Sink for Log {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        if !matches!(event, Event::Body { .. }) {
            write!(self.everything, "{event:?}").unwrap();
        }
        let fact = match event {
            Event::Greeting(greeting) => format!("greeting {}", reply(&greeting.reply)),
            Event::Command(c) => {
                let space = if c.args.is_present() { " " } else { "" };
                let args = c.args.as_bytes().escape_ascii();
                format!("{}{space}{args}: {}{}", c.verb.as_str(), reply(&c.reply), missing(c.incomplete))
            }
            Event::Auth(a) => format!(
                "auth {}{} {:?} {}",
                a.method.as_str(),
                a.mechanism.map_or(String::new(), |m| format!(" {}", m.as_str())),
                a.identity,
                a.outcome.as_str(),
            ),
            Event::Body { octets, .. } => {
                write!(self.body, "{}", octets.escape_ascii()).unwrap();
                return;
            }
            Event::Transaction(t) => {
                let number = t.message_number.map_or(String::new(), |n| format!(" {n}"));
                let wire = t.wire_size.map_or(String::new(), |n| format!(" wire {n}"));
                let declared = t.declared_size.map_or(String::new(), |n| format!(" declared {n}"));
                let body = std::mem::take(&mut self.body);
                let message = if t.has_message { format!(" '{body}'") } else { String::new() };
                let verb = t.verb.map_or("?", Verb::as_str);
                let outcome = t.outcome.as_str();
                format!("{verb}{number} {outcome}{wire}{declared}{message}{}", missing(t.incomplete))
            }
            Event::Anomaly(_)
            | Event::Start
            | Event::Octets { .. }
            | Event::Lost { .. }
            | Event::Idle
            | Event::IdleOver { .. } => return,
            Event::End(s) => {
                let drop = s.maildrop.map_or(String::new(), |m| {
                    let size = m.size.map_or(String::new(), |(n, o)| format!(" size {n}/{o}"));
                    let committed = m.committed.map_or("", |c| if c { " committed" } else { " uncommitted" });
                    format!("{size} retrieved {}/{} deleted {}{committed}", m.retrieved.0, m.retrieved.1, m.deleted)
                });
                format!("end {}{drop}", s.outcome.as_str())
            }
        };
        self.facts.push(fact);
    }
}

/// How a dialogue is cut.
#[derive(Clone, Copy, Debug)]
enum Cutting {
    AsIs,
    Lines,
    Octets,
}

fn run(certain: bool, steps: &[Step], cutting: Cutting) -> Log {
    let at = |n: u64| Timestamp::from_parts(1000, n * 1_000_000);
    let peers = Peers {
        client: "192.0.2.1:40000".parse().unwrap(),
        server: "192.0.2.2:110".parse().unwrap(),
        established: certain.then(|| at(0)),
        roles_certain: certain,
        source: 0,
        ordinal: 0,
    };
    let mut log = Log::default();
    let mut session = Session::new(at(0), 1, peers, Arc::new(Limits::default()));
    let mut now = 0;
    for step in steps {
        now += 1;
        let (dir, text) = match *step {
            C(text) => (Dir::ToServer, text),
            S(text) => (Dir::ToClient, text),
            LostC(n) => {
                session.handle(at(now), Dir::ToServer, Input::Gap(n), &mut log);
                continue;
            }
            LostS(n) => {
                session.handle(at(now), Dir::ToClient, Input::Gap(n), &mut log);
                continue;
            }
            Fin(dir) => {
                session.handle(at(now), dir, Input::Fin, &mut log);
                continue;
            }
            Reset(dir) => {
                session.handle(at(now), dir, Input::Reset, &mut log);
                continue;
            }
        };
        let pieces: Vec<&[u8]> = match cutting {
            Cutting::AsIs => vec![text.as_bytes()],
            Cutting::Lines => text.as_bytes().split_inclusive(|o| *o == b'\n').collect(),
            Cutting::Octets => text.as_bytes().chunks(1).collect(),
        };
        for piece in pieces {
            session.handle(at(now), dir, Input::Data(piece), &mut log);
        }
    }
    session.finish(at(now + 1), End::Closed, &mut log);
    log
}

/// Secrets of all dialogues, plain and as base64; none may be told.
const SECRETS: &[&str] = &[
    "s3cret",
    "hunter2",
    "czNjcmV0",
    "aHVudGVy",
    "c4c9334b",
    "BzM2NyZX",
    "1896.697",
    "TlRMTVNT",
    "Y2hhbGxlbmdl",
    "dG9rM24",
    "tok3n",
];

#[track_caller]
fn check(certain: bool, steps: &[Step], expected: &[&str]) {
    for cutting in [Cutting::AsIs, Cutting::Lines, Cutting::Octets] {
        let log = run(certain, steps, cutting);
        assert_eq!(log.facts, expected, "{cutting:?}");
        for secret in SECRETS {
            assert!(!log.everything.contains(secret), "{secret} in {}", log.everything);
        }
    }
}

/// As [`check`], after a login.
#[track_caller]
fn check_in(steps: &[Step], expected: &[&str]) {
    let mut all = vec![S("+OK pop\r\n"), C("USER ann\r\n"), S("+OK\r\n"), C("PASS hunter2\r\n"), S("+OK\r\n")];
    all.extend_from_slice(steps);
    let mut facts = vec!["greeting +OK pop", "USER: +OK", "auth user_pass \"ann\" success", "PASS: +OK"];
    facts.extend_from_slice(expected);
    check(true, &all, &facts);
}

const QUIT: [Step; 2] = [C("QUIT\r\n"), S("+OK\r\n")];

#[test]
fn a_full_session() {
    check(
        true,
        &[
            S("+OK ready <1896.697@h>\r\n"),
            C("USER ann\r\n"),
            S("+OK\r\n"),
            C("PASS my s3cret  with  spaces\r\n"),
            S("+OK in: my s3cret  with  spaces\r\n"),
            C("STAT\r\n"),
            S("+OK 2 320\r\n"),
            C("LIST\r\n"),
            S("+OK 2 messages\r\n1 120\r\n2 200\r\n.\r\n"),
            C("RETR 1\r\n"),
            S("+OK 120 octets\r\n"),
            S("Subject: x\r\n\r\n+OK not a reply\r\n-ERR neither\r\n..dot\r\n.\r\n"),
            C("DELE 1\r\n"),
            S("+OK\r\n"),
            C("QUIT\r\n"),
            S("+OK bye\r\n"),
        ],
        &[
            "greeting +OK ready [redacted]",
            "USER: +OK",
            "auth user_pass \"ann\" success",
            "PASS: +OK in: [redacted]",
            "STAT: +OK 2 320",
            "LIST: +OK 2 messages",
            "RETR 1: +OK 120 octets",
            "RETR 1 complete wire 55 declared 120 \
             'Subject: x\\r\\n\\r\\n+OK not a reply\\r\\n-ERR neither\\r\\n.dot\\r\\n'",
            "DELE 1: +OK",
            "QUIT: +OK bye",
            "end ok size 2/320 retrieved 1/51 deleted 1 committed",
        ],
    );
}

#[test]
fn the_argument_decides_how_many_lines() {
    check_in(
        &[
            C("LIST 1\r\n"),
            S("+OK 1 120\r\n"),
            C("UIDL 9\r\n"),
            S("-ERR no such\r\n"),
            C("UIDL\r\n"),
            S("+OK\r\n1 abc\r\n.\r\n"),
            C("AUTH\r\n"),
            S("-ERR state\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &["LIST 1: +OK 1 120", "UIDL 9: -ERR no such", "UIDL: +OK", "AUTH: -ERR state", "QUIT: +OK", "end ok"],
    );
}

#[test]
fn a_space_is_no_argument_and_the_next_line_tells() {
    check_in(
        &[
            C("LIST \r\n"),
            S("+OK\r\n1 120\r\n.\r\n"),
            C("UIDL  \r\n"),
            S("+OK 1 abc\r\n"),
            C("LIST \r\n"),
            S("+OK\r\n.\r\n"),
            C("NOOP\r\n"),
            S("+OK\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &[
            "LIST: +OK",
            "UIDL: +OK 1 abc",
            "LIST: +OK",
            "NOOP: +OK",
            "QUIT: +OK",
            "end ok size 1/120 retrieved 0/0 deleted 0",
        ],
    );
}

#[test]
fn lists_of_mechanisms_and_capabilities() {
    check(
        true,
        &[
            S("+OK\r\n"),
            C("AUTH\r\n"),
            S("+OK methods\r\nPLAIN\r\nLOGIN\r\n.\r\n"),
            C("CAPA\r\n"),
            S("+OK\r\nSASL PLAIN\r\nstls\r\n.\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &["greeting +OK", "AUTH: +OK methods", "CAPA: +OK", "QUIT: +OK", "end ok"],
    );
    let log = run(true, &[S("+OK\r\n"), C("CAPA\r\n"), S("+OK\r\nSASL PLAIN\r\nstls\r\n.\r\n")], Cutting::Octets);
    assert!(log.everything.contains("offered: Some(true)"), "{}", log.everything);
}

#[test]
fn a_list_whose_terminator_was_left_out() {
    check_in(
        &[
            C("LIST\r\n"),
            S("GARBAGE\r\n+OK 2 messages\r\n1 120\r\n2 200\r\n"),
            C("RETR 1\r\n"),
            S("+OK\r\nhi\r\n.\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &[
            "LIST: +OK 2 messages",
            "RETR 1: +OK",
            "RETR 1 complete wire 7 'hi\\r\\n'",
            "QUIT: +OK",
            "end ok size 2/320 retrieved 1/4 deleted 0",
        ],
    );
}

#[test]
fn a_server_that_does_not_greet() {
    check(
        true,
        &[
            C("CAPA\r\n"),
            S("+OK Capability list follows\r\nUSER\r\n.\r\n"),
            C("AUTH XOAUTH2\r\n"),
            S("+ \r\n"),
            C("dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rM24BAQ==\r\n"),
            S("+OK Welcome.\r\n"),
        ],
        &[
            "CAPA: +OK Capability list follows",
            "auth sasl XOAUTH2 \"ann\" success",
            "AUTH: +OK Welcome.",
            "end server_gone",
        ],
    );
}

#[test]
fn apop() {
    check(
        true,
        &[
            S("+OK pop <1896.697170952@h>\r\n"),
            C("APOP ann c4c9334bac560ecc979e58001b3e22fb\r\n"),
            S("-ERR [AUTH] bad c4c9334bac560ecc979e58001b3e22fb\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &[
            "greeting +OK pop [redacted]",
            "auth apop \"ann\" failed",
            "APOP: -ERR [AUTH] bad [redacted]",
            "QUIT: +OK",
            "end ok",
        ],
    );
}

#[test]
fn sasl_with_initial_response_with_challenge_and_cancelled() {
    check(
        true,
        &[
            S("+OK\r\n"),
            C("AUTH PLAIN AGFubgBzM2NyZXQ=\r\n"),
            S("-ERR [SYS/TEMP] later\r\n"),
            C("AUTH PLAIN\r\n"),
            S("+ \r\n"),
            C("*\r\n"),
            S("-ERR cancelled\r\n"),
            C("AUTH PLAIN\r\n"),
            S("+\r\n"),
            C("AGFubgBzM2NyZXQ=\r\n"),
            S("+OK in\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &[
            "greeting +OK",
            "auth sasl PLAIN \"ann\" temporary",
            "AUTH: -ERR [SYS/TEMP] later",
            "auth sasl PLAIN absent cancelled",
            "AUTH: -ERR cancelled",
            "auth sasl PLAIN \"ann\" success",
            "AUTH: +OK in",
            "QUIT: +OK",
            "end ok",
        ],
    );
}

#[test]
fn an_answer_that_equals_a_verb_is_an_answer() {
    check(
        true,
        &[
            S("+OK\r\n"),
            C("AUTH LOGIN\r\n"),
            S("+ VXNlcm5hbWU6\r\n"),
            C("YW5u\r\n"),
            S("+ UGFzc3dvcmQ6\r\n"),
            C("QUIT\r\n"),
            S("-ERR [AUTH] no\r\n"),
            // The client is out of step: still a secret.
            C("aHVudGVyMg==\r\n"),
            S("-ERR unknown command aHVudGVyMg==\r\n"),
        ],
        &[
            "greeting +OK",
            "auth sasl LOGIN \"ann\" failed",
            "AUTH: -ERR [AUTH] no",
            "OTHER: -ERR unknown command [redacted]",
            "end server_gone",
        ],
    );
}

#[test]
fn ok_may_be_a_challenge_for_ntlm() {
    check(
        true,
        &[
            S("+OK\r\n"),
            C("AUTH NTLM\r\n"),
            S("+OK\r\n"),
            C("TlRMTVNTUAABAAAAB4IAAA==\r\n"),
            S("+ TlRMTVNTUAACAAAA\r\n"),
            C("TlRMTVNTUAADAAAA\r\n"),
            S("+OK in\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &["greeting +OK", "auth sasl NTLM absent success", "AUTH: +OK in", "QUIT: +OK", "end ok"],
    );
    check(
        true,
        &[S("+OK\r\n"), C("AUTH NTLM\r\n"), S("+OK\r\n"), C("STAT\r\n"), S("+OK 1 2\r\n")],
        &[
            "greeting +OK",
            "auth sasl NTLM absent success",
            "AUTH: +OK",
            "STAT: +OK 1 2",
            "end server_gone size 1/2 retrieved 0/0 deleted 0",
        ],
    );
}

#[test]
fn refusals_of_user_and_of_a_mechanism() {
    check(
        true,
        &[
            S("+OK\r\n"),
            C("USER ann\r\nPASS hunter2\r\n"),
            S("-ERR Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n-ERR no user\r\n"),
            C("AUTH X-NEW\r\n"),
            S("-ERR Unsupported mechanism\r\n"),
            C("USER ann\r\n"),
            S("+OK\r\n"),
            C("PASS hunter2\r\n"),
            S("-ERR [IN-USE] locked\r\n"),
        ],
        &[
            "greeting +OK",
            "auth user_pass \"ann\" needs_tls",
            "USER: -ERR Plaintext authentication disallowed on non-secure (SSL/TLS) connections.",
            "PASS: -ERR no user",
            "auth sasl OTHER absent rejected_mechanism",
            "AUTH: -ERR Unsupported mechanism",
            "USER: +OK",
            "auth user_pass \"ann\" temporary",
            "PASS: -ERR [IN-USE] locked",
            "end server_gone",
        ],
    );
}

#[test]
fn pipelined_with_an_error_in_the_middle() {
    check_in(
        &[
            C("RETR 1\r\nTOP 7 0\r\nRETR 2\r\nQUIT\r\n"),
            S("+OK\r\na\r\n.\r\n-ERR no msg 7\r\n+OK\r\n+OK\r\n.\r\n+OK bye\r\n"),
        ],
        &[
            "RETR 1: +OK",
            "RETR 1 complete wire 6 'a\\r\\n'",
            "TOP 7 error",
            "TOP 7 0: -ERR no msg 7",
            "RETR 2: +OK",
            "RETR 2 complete wire 8 '+OK\\r\\n'",
            "QUIT: +OK bye",
            "end ok retrieved 2/8 deleted 0",
        ],
    );
}

#[test]
fn tls_hides_the_rest() {
    check(
        true,
        &[S("+OK\r\n"), C("STLS\r\nNOOP\r\n"), S("+OK go\r\n+OK injected\r\n"), C("\x16\x03\x01\0\x2e\x01")],
        &["greeting +OK", "STLS: +OK go", "end encrypted"],
    );
    check(
        true,
        &[S("+OK\r\n"), C("STLS\r\nNOOP\r\n"), S("-ERR no\r\n+OK\r\n")],
        &["greeting +OK", "STLS: -ERR no", "NOOP: +OK", "end server_gone"],
    );
}

#[test]
fn a_deletion_that_was_never_committed() {
    check_in(
        &[C("DELE 1\r\n"), S("+OK\r\n"), Reset(Dir::ToServer)],
        &["DELE 1: +OK", "end reset retrieved 0/0 deleted 1 uncommitted"],
    );
    check_in(
        &[C("DELE 1\r\n"), S("+OK\r\n"), C("RSET\r\n"), S("+OK\r\n"), QUIT[0], QUIT[1]],
        &["DELE 1: +OK", "RSET: +OK", "QUIT: +OK", "end ok retrieved 0/0 deleted 0"],
    );
}

#[test]
fn picked_up_inside_a_message() {
    check(
        false,
        &[S("text\r\n+OK x\r\n.\r\n"), C("DELE 1\r\n"), S("+OK\r\n"), QUIT[0], QUIT[1]],
        &[
            "? complete 'text\\r\\n+OK x\\r\\n' !start_missing",
            "DELE 1: +OK",
            "QUIT: +OK",
            "end ok retrieved 0/0 deleted 1 committed",
        ],
    );
}

#[test]
fn xtnd_xmit_sends_a_message() {
    check_in(
        &[
            C("XTND XMIT\r\n"),
            S("+OK go\r\n"),
            C("From: a@x.org\r\n\r\nQUIT\r\n.\r\n"),
            S("+OK sent\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &["XTND: +OK go", "XTND accepted wire 26 'From: a@x.org\\r\\n\\r\\nQUIT\\r\\n'", "QUIT: +OK", "end ok"],
    );
}

#[test]
fn an_unknown_verb_may_have_many_lines() {
    check_in(
        &[
            C("XFOO bar\r\n"),
            S("+OK list\r\none\r\ntwo\r\n.\r\n"),
            C("XBAR\r\n"),
            S("+OK\r\n"),
            C("QUIT\r\n"),
            S("+OK bye\r\n"),
        ],
        &["OTHER: +OK list", "OTHER: +OK", "QUIT: +OK bye", "end ok"],
    );
}

#[test]
fn lower_case_and_lf_alone() {
    check(
        true,
        &[
            S("+ok\n"),
            C("retr 1\n"),
            S("+ok 5 octets\na\n..b\n.\n"),
            C("list\n"),
            S("+ok\n1 5\n.\n"),
            C("quit\n"),
            S("+ok\n"),
        ],
        &[
            "greeting +OK",
            "RETR 1: +OK 5 octets",
            "RETR 1 complete wire 8 declared 5 'a\\n.b\\n'",
            "LIST: +OK",
            "QUIT: +OK",
            "end ok size 1/5 retrieved 1/5 deleted 0",
        ],
    );
}

#[test]
fn an_end_inside_a_message() {
    check_in(
        &[C("RETR 1\r\n"), S("+OK\r\nhalf"), Fin(Dir::ToClient)],
        &["RETR 1: +OK", "RETR 1 connection_lost 'half'", "end server_gone"],
    );
}

#[test]
fn an_end_before_the_answer() {
    check(
        true,
        &[S("+OK\r\n"), C("USER ann\r\n"), S("+OK\r\n"), C("PASS hunter2\r\nRETR 1\r\n"), Fin(Dir::ToServer)],
        &[
            "greeting +OK",
            "USER: +OK",
            "auth user_pass \"ann\" incomplete",
            "PASS: unanswered",
            "RETR 1 connection_lost",
            "RETR 1: unanswered",
            "end client_gone",
        ],
    );
    check(
        true,
        &[S("+OK\r\n"), C("AUTH PLAIN\r\n"), S("+ \r\n"), C("AGFubgBzM2NyZXQ=\r\n"), Fin(Dir::ToClient)],
        &["greeting +OK", "auth sasl PLAIN \"ann\" incomplete", "AUTH: unanswered", "end server_gone"],
    );
}

#[test]
fn a_gap_inside_a_message_that_ends() {
    check_in(
        &[C("RETR 1\r\n"), S("+OK\r\nhead\r\n"), LostS(10), S("tail\r\n.\r\n"), C("DELE 1\r\n"), S("+OK\r\n")],
        &[
            "RETR 1: +OK",
            "RETR 1 complete wire 25 'head\\r\\ntail\\r\\n' !server_gap",
            "DELE 1: +OK",
            "end server_gone retrieved 1/22 deleted 1 uncommitted",
        ],
    );
}

#[test]
fn a_gap_that_swallows_the_end_of_a_message() {
    check_in(
        &[C("RETR 1\r\n"), S("+OK\r\nhead\r\n"), LostS(10), C("DELE 1\r\n"), S("+OK gone\r\n"), QUIT[0], QUIT[1]],
        &[
            "RETR 1: +OK !server_gap",
            "RETR 1 unknown 'head\\r\\n' !server_gap",
            "DELE 1: +OK gone",
            "QUIT: +OK",
            "end ok retrieved 0/0 deleted 1 committed",
        ],
    );
}

#[test]
fn a_gap_that_swallows_replies() {
    check_in(
        &[
            C("STAT\r\n"),
            LostS(20),
            C("DELE 1\r\n"),
            S("+OK gone\r\n"),
            C("RETR 2\r\n"),
            LostS(5),
            S("ext\r\nmore\r\n.\r\n"),
            C("RETR 3\r\n"),
            LostS(50),
            S("ext\r\n.\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &[
            "STAT: unanswered !server_gap",
            "DELE 1: +OK gone",
            "RETR 2: unanswered !server_gap",
            "RETR 2 complete 'more\\r\\n' !server_gap",
            "RETR 3: unanswered !server_gap",
            "RETR 3 complete '' !server_gap",
            "QUIT: +OK",
            "end ok retrieved 2/6 deleted 1 committed",
        ],
    );
}

#[test]
fn a_gap_that_swallows_commands() {
    check_in(
        &[LostC(8), S("+OK\r\n"), C("DELE 1\r\n"), S("+OK gone\r\n"), QUIT[0], QUIT[1]],
        &["DELE 1: +OK gone", "QUIT: +OK", "end ok retrieved 0/0 deleted 1 committed"],
    );
}

#[test]
fn a_gap_inside_an_exchange() {
    // The challenge is lost.
    check(
        true,
        &[S("+OK\r\n"), C("AUTH PLAIN\r\n"), LostS(4), C("AGFubgBzM2NyZXQ=\r\n"), S("+OK in\r\n"), QUIT[0], QUIT[1]],
        &["greeting +OK", "auth sasl PLAIN \"ann\" success", "AUTH: +OK in", "QUIT: +OK", "end ok"],
    );
    // The final reply is lost.
    check(
        true,
        &[
            S("+OK\r\n"),
            C("AUTH PLAIN\r\n"),
            S("+ \r\n"),
            C("*\r\n"),
            LostS(20),
            C("AUTH PLAIN\r\n"),
            S("+ \r\n"),
            C("AGFubgBzM2NyZXQ=\r\n"),
            S("+OK in\r\n"),
            QUIT[0],
            QUIT[1],
        ],
        &[
            "greeting +OK",
            "auth sasl PLAIN absent incomplete",
            "AUTH: unanswered !server_gap",
            "auth sasl PLAIN \"ann\" success",
            "AUTH: +OK in",
            "QUIT: +OK",
            "end ok",
        ],
    );
}

#[test]
fn only_the_client_was_captured() {
    let log = run(
        false,
        &[
            LostS(1),
            C("AUTH PLAIN\r\n"),
            C("AGFubgBzM2NyZXQ=\r\n"),
            C("RETR 1\r\n"),
            C("STLS\r\n"),
            C("\x16\x03\x01\0\x2e"),
        ],
        Cutting::AsIs,
    );
    let verbs: Vec<&str> = log.facts.iter().map(String::as_str).collect();
    assert_eq!(
        verbs,
        [
            "auth sasl PLAIN \"ann\" incomplete",
            "AUTH: unanswered !server_gap !server_unseen",
            "RETR 1 unknown !server_gap !server_unseen",
            "RETR 1: unanswered !server_gap !server_unseen",
            "STLS: unanswered !server_gap !server_unseen",
            "end encrypted",
        ]
    );
}

#[test]
fn only_the_server_was_captured() {
    check(
        false,
        &[
            S("+OK POP3 ready <1896.697@h>\r\n"),
            S("+OK\r\n"),
            S("+OK in\r\n"),
            S("+OK 12 octets\r\nSubject: a\r\n\r\n.\r\n"),
            S("+OK\r\nSubject: b\r\n.\r\n"),
            S("+OK\r\n1 12\r\n.\r\n"),
            S("-ERR autologout; idle for too long\r\n"),
            Fin(Dir::ToClient),
        ],
        &[
            "greeting +OK POP3 ready [redacted]",
            "? complete wire 17 declared 12 'Subject: a\\r\\n\\r\\n' !start_missing",
            "? complete wire 15 'Subject: b\\r\\n' !start_missing",
            "end timeout",
        ],
    );
}

#[test]
fn latencies_and_pipelining() {
    #[derive(Default)]
    struct Times(Vec<(Verb, u128, u128, bool, bool)>);
    impl Sink for Times {
        fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
            if let Event::Command(c) = event {
                let ms = |d: Option<std::time::Duration>| d.map_or(0, |d| d.as_millis());
                self.0.push((c.verb, ms(c.latency), ms(c.service_latency), c.pipelined, c.coalesced));
            }
        }
    }
    let at = |ms: u64| Timestamp::from_parts(0, ms * 1_000_000);
    let peers = Peers {
        client: "192.0.2.1:1".parse().unwrap(),
        server: "192.0.2.2:110".parse().unwrap(),
        established: Some(at(0)),
        roles_certain: true,
        source: 0,
        ordinal: 0,
    };
    let mut times = Times::default();
    let mut session = Session::new(at(0), 1, peers, Arc::new(Limits::default()));
    let mut say = |ms, dir, text: &str| session.handle(at(ms), dir, Input::Data(text.as_bytes()), &mut times);
    say(1, Dir::ToClient, "+OK\r\n");
    say(2, Dir::ToServer, "STAT\r\nNOOP\r\nNOOP\r\n");
    say(5, Dir::ToClient, "+OK 1 1\r\n");
    say(9, Dir::ToClient, "+OK\r\n+OK\r\n");
    say(20, Dir::ToServer, "NOOP\r\n");
    say(22, Dir::ToClient, "+OK\r\n");
    assert_eq!(
        times.0,
        [
            (Verb::Stat, 3, 3, false, false),
            (Verb::Noop, 7, 4, true, false),
            (Verb::Noop, 7, 0, true, true),
            (Verb::Noop, 2, 2, false, false),
        ]
    );
}

proptest::proptest! {
    #[test]
    fn anything_is_taken_however_it_is_cut(
        steps in proptest::collection::vec((proptest::bool::ANY, 0usize..24), 0..40),
        size in 1usize..9,
        certain in proptest::bool::ANY,
    ) {
        const WORDS: [&str; 24] = [
            "+OK", "+OK 3 octets", "-ERR [AUTH] x", "+ ", "+", ".", "..", "text", "1 2", "RETR 1", "TOP 1 1", "LIST",
            "LIST ", "AUTH PLAIN", "AUTH NTLM", "TlRMTVNTUAAB", "*", "STLS", "XTND XMIT", "CAPA", "QUIT", "USER a",
            "PASS hunter2", "\x16\x03\x01",
        ];
        let whole: Vec<(Dir, String)> = steps
            .iter()
            .map(|(client, n)| {
                let end = if n % 7 == 0 { "\n" } else { "\r\n" };
                let dir = if *client { Dir::ToServer } else { Dir::ToClient };
                (dir, format!("{}{end}", WORDS[*n]))
            })
            .collect();
        let run = |size: usize| {
            let peers = Peers {
                client: "192.0.2.1:1".parse().unwrap(),
                server: "192.0.2.2:110".parse().unwrap(),
                established: None,
                roles_certain: certain,
                source: 0,
                ordinal: 0,
            };
            let mut log = Log::default();
            let mut session = Session::new(Timestamp::default(), 1, peers, Arc::new(Limits::default()));
            for (dir, text) in &whole {
                for piece in text.as_bytes().chunks(size) {
                    session.handle(Timestamp::default(), *dir, Input::Data(piece), &mut log);
                }
            }
            session.finish(Timestamp::default(), End::Closed, &mut log);
            assert!(!log.everything.contains("hunter2"));
            log.facts
        };
        proptest::prop_assert_eq!(run(1000), run(size));
    }
}

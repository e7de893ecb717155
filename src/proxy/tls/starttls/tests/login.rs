//! STARTTLS behind commands that an attacker may have put before it.

use super::Turn::{Client, EstablishedTls, Refused, Server};
use super::*;

#[test]
fn a_login_in_the_same_segment_is_awaited_before_starttls_is_judged() {
    for (login, no, yes) in [
        ("a LOGIN ann pw\r\n", "a NO no\r\n", "a OK in\r\n"),
        ("a AUTHENTICATE PLAIN AGF4AHB3\r\n", "a NO no\r\n", "a OK in\r\n"),
    ] {
        let behind: &'static str = format!("{login}b STARTTLS\r\nc NOOP\r\n").leak();
        let dialogue = [Server("* OK hi\r\n", SAME), Client(behind, login), Server(no, SAME), EstablishedTls];
        shown(Protocol::Imap, &dialogue);
        let dialogue = [
            Server("* OK hi\r\n", SAME),
            Client(behind, login),
            Server(yes, SAME),
            Refused(StartTlsAnswer::OutOfPlace),
            Client("d NOOP\r\n", "c NOOP\r\nd NOOP\r\n"),
        ];
        shown(Protocol::Imap, &dialogue);
    }
}

#[test]
fn one_login_of_several_is_enough() {
    let said = "a LOGIN ann pw\r\nb LOGIN ann no\r\nc STARTTLS\r\n";
    let went = "a LOGIN ann pw\r\nb LOGIN ann no\r\n";
    let start = || [Server("* OK hi\r\n", SAME), Client(said, went)].into_iter();
    let ends = [Server("b NO no\r\na OK in\r\n", SAME), Refused(StartTlsAnswer::OutOfPlace)];
    shown(Protocol::Imap, &start().chain(ends).collect::<Vec<_>>());
    let many: String = (0..40).map(|n| format!("t{n} LOGIN ann pw\r\n")).collect();
    let replies: String = (0..40).map(|n| format!("t{n} {} x\r\n", if n == 30 { "OK" } else { "NO" })).collect();
    let (many, asks): (&'static str, _) = (many.leak(), Client("z STARTTLS\r\n", ""));
    let turns = [
        Server("* OK hi\r\n", SAME),
        Client(many, SAME),
        asks,
        Server(replies.leak(), SAME),
        Refused(StartTlsAnswer::OutOfPlace),
    ];
    shown(Protocol::Imap, &turns);
}

#[test]
fn stls_is_refused_behind_a_login() {
    for (login, replies) in [
        ("USER ann\r\nPASS pw\r\n", "+OK\r\n+OK in\r\n"),
        ("APOP ann 00112233445566778899aabbccddeeff\r\n", "+OK in\r\n"),
        ("AUTH PLAIN AGF4AHB3\r\n", "+OK in\r\n"),
    ] {
        let said: &'static str = format!("{login}STLS\r\n").leak();
        let greeting = Server("+OK hi\r\n", SAME);
        shown(
            Protocol::Pop3,
            &[greeting, Client(said, login), Server(replies, SAME), Refused(StartTlsAnswer::OutOfPlace)],
        );
    }
}

/// Whether the server's session may have been changed by what a client says before STARTTLS.
fn changed(greeting: &'static str, said: &'static str) -> bool {
    let turns = [Server(greeting, SAME), Client(said, SAME)];
    let judged: Vec<_> = [1, 7, 1000]
        .map(|size| play(Offer::Show, Protocol::Unknown, &turns, size).has_changed_server())
        .into_iter()
        .collect();
    assert!(judged.iter().all(|other| *other == judged[0]), "{said:?}");
    judged[0]
}

#[test]
fn greetings_and_questions_leave_the_servers_session_as_it_was() {
    for said in ["EHLO c\r\nnoop\r\n", "HELO c\r\n", "LHLO c\r\nNOOP x\r\n", "EHLO c\n"] {
        assert!(!changed("220 mx\r\n", said), "{said:?}");
    }
    assert!(!changed("+OK hi\r\n", "CAPA\r\nNOOP\r\n"));
    let said = "a capability\r\nb NOOP\r\nc ID (\"name\" \"x\")\r\n";
    assert!(!changed("* OK hi\r\n", said));
}

#[test]
fn all_else_may_have_changed_it() {
    for said in [
        "AUTH PLAIN AGF4AHB3\r\n",
        "MAIL FROM:<a@example.org>\r\n",
        "XCLIENT ADDR=192.0.2.1\r\n",
        "RSET\r\n",
        "EHLO c\rMAIL FROM:<a@example.org>\r\n",
        "\r\n",
    ] {
        assert!(changed("220 mx\r\n", said), "{said:?}");
    }
    assert!(changed("+OK hi\r\n", "USER ann\r\n"));
    for said in ["a LOGIN ann pw\r\n", "a ID {6+}\r\nb NOOP\r\n", "a ENABLE X\r\n", "a\r\n"] {
        assert!(changed("* OK hi\r\n", said), "{said:?}");
    }
    let long: &'static str = format!("NOOP {}\r\n", "x".repeat(9000)).leak();
    assert!(changed("220 mx\r\n", long));
}

//! Dialogues in pieces of every size.

mod login;

use super::*;

/// Who says what, in turn. `C` and `S` are what is said, `s` and `c` what the other side gets, where that differs.
enum Turn {
    Client(&'static str, &'static str),
    Server(&'static str, &'static str),
    /// The client's STARTTLS stands, and TLS begins.
    EstablishedTls,
    /// It stands, and is refused with this answer.
    Refused(StartTlsAnswer),
}
use Turn::{Client, EstablishedTls, Refused, Server};

const SAME: &str = "\0";

fn expected(said: &'static str, got: &'static str) -> &'static str {
    if got == SAME { said } else { got }
}

/// Plays `turns`, each turn's octets cut into pieces of `size`.
fn play(offer: Offer, prior: Protocol, turns: &[Turn], size: usize) -> Dialogue {
    let mut dialogue = Dialogue::new(offer, prior);
    let mut held: Vec<u8> = Vec::new();
    let mut to_server = Vec::new();
    for (at, turn) in turns.iter().enumerate() {
        match turn {
            Client(said, got) => {
                for piece in said.as_bytes().chunks(size) {
                    held.extend_from_slice(piece);
                    let used = dialogue.client(&held, &mut to_server);
                    held.drain(..used);
                }
                let got = expected(said, got);
                assert_eq!(String::from_utf8_lossy(&to_server), got, "turn {at}, pieces of {size}");
                to_server.clear();
            }
            Server(said, got) => {
                let mut to_client = Vec::new();
                for piece in said.as_bytes().chunks(size) {
                    dialogue.server(piece, &mut to_client);
                }
                let got = expected(said, got);
                assert_eq!(String::from_utf8_lossy(&to_client), got, "turn {at}, pieces of {size}");
                let used = dialogue.client(&held, &mut to_server);
                held.drain(..used);
            }
            EstablishedTls => {
                let ask = dialogue.asked().unwrap_or_else(|| panic!("turn {at}: nothing stands"));
                assert_eq!(ask.refusal(), None);
                held.clear();
                dialogue.answered(true);
            }
            Refused(answer) => {
                let ask = dialogue.asked().unwrap_or_else(|| panic!("turn {at}: nothing stands"));
                assert_eq!(ask.refusal(), Some(*answer));
                dialogue.answered(false);
                let used = dialogue.client(&held, &mut to_server);
                held.drain(..used);
            }
        }
    }
    dialogue
}

fn check(offer: Offer, prior: Protocol, turns: &[Turn]) {
    for size in (1..=40).chain([64, 100, 1000]) {
        for prior in [prior, Protocol::Unknown] {
            play(offer, prior, turns, size);
        }
    }
}

fn shown(prior: Protocol, turns: &[Turn]) {
    check(Offer::Show, prior, turns);
}

fn hidden(prior: Protocol, turns: &[Turn]) {
    check(Offer::Hide, prior, turns);
}

const GREETING: Turn = Server("220 mx ESMTP\r\n", SAME);

#[test]
fn ehlo_replies_show_starttls_once() {
    for (said, got) in [
        ("250-mx\r\n250-PIPELINING\r\n250 HELP\r\n", "250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 HELP\r\n"),
        ("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n", SAME),
        ("250-mx\r\n250 STARTTLS\r\n", SAME),
        ("250-mx\r\n250-starttls\r\n250-HELP\r\n250 STARTTLS\r\n", "250-mx\r\n250-starttls\r\n250 HELP\r\n"),
        ("250 mx\r\n", "250-mx\r\n250 STARTTLS\r\n"),
        ("250\r\n", "250-\r\n250 STARTTLS\r\n"),
        ("250-mx\n250 HELP\n", "250-mx\n250-STARTTLS\r\n250 HELP\n"),
        ("250-mx\r\n250 STARTTLSX\r\n", "250-mx\r\n250-STARTTLS\r\n250 STARTTLSX\r\n"),
        ("502 5.5.2 Error: command not recognized\r\n", SAME),
        ("421-mx\r\n421 busy\r\n", SAME),
    ] {
        shown(Protocol::Smtp, &[GREETING, Client("EHLO c\r\n", SAME), Server(said, got)]);
    }
}

#[test]
fn ehlo_replies_hide_starttls() {
    for (said, got) in [
        ("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n", "250-mx\r\n250 HELP\r\n"),
        ("250-mx\r\n250-HELP\r\n250 STARTTLS\r\n", "250-mx\r\n250 HELP\r\n"),
        ("250-mx\r\n250 STARTTLS\r\n", "250 mx\r\n"),
        ("250-mx\r\n250-STARTTLS\r\n250 STARTTLS\r\n", "250 mx\r\n"),
        ("250-mx\r\n250 HELP\r\n", SAME),
        ("250 mx\r\n", SAME),
        ("250-STARTTLS\r\n250 HELP\r\n", SAME),
    ] {
        hidden(Protocol::Smtp, &[GREETING, Client("EHLO c\r\n", SAME), Server(said, got)]);
        hidden(Protocol::Lmtp, &[GREETING, Client("lhlo c\r\n", SAME), Server(said, got)]);
    }
}

#[test]
fn other_replies_stay_as_they_are() {
    shown(
        Protocol::Smtp,
        &[
            GREETING,
            Client("HELO c\r\nNOOP\r\nEHLO c\r\n", SAME),
            Server(
                "250 mx\r\n250-a\r\n250 STARTTLS\r\n250 mx\r\n",
                "250 mx\r\n250-a\r\n250 STARTTLS\r\n250-mx\r\n250 STARTTLS\r\n",
            ),
            Client("HELP\r\n", SAME),
            Server("214-STARTTLS\r\n214 end\r\n", SAME),
        ],
    );
}

#[test]
fn starttls_stays_here_and_what_follows_is_dropped() {
    for line in ["STARTTLS\r\n", "starttls\r\n", "StartTLS \t\r\n", "  STARTTLS\n"] {
        let with_injection: &'static str = Box::leak(format!("{line}RSET\r\nMAIL FROM:<x@y>\r\n").into_boxed_str());
        shown(
            Protocol::Smtp,
            &[
                GREETING,
                Client(with_injection, ""),
                EstablishedTls,
                Client("EHLO c\r\n", SAME),
                Server("250-mx\r\n250 STARTTLS\r\n", "250 mx\r\n"),
                Client("STARTTLS\r\n", ""),
                Refused(StartTlsAnswer::OutOfPlace),
                Client("NOOP\r\n", SAME),
            ],
        );
    }
}

#[test]
fn starttls_waits_for_what_was_said_before() {
    let mut dialogue = Dialogue::new(Offer::Show, Protocol::Smtp);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let used = dialogue.client(b"EHLO c\r\nSTARTTLS\r\nEVIL\r\n", &mut up);
    assert_eq!((up.as_slice(), used), (&b"EHLO c\r\n"[..], 18));
    assert!(dialogue.asked().is_none(), "the server has not greeted");
    dialogue.server(b"220 mx\r\n250-mx\r\n", &mut down);
    assert!(dialogue.asked().is_none(), "EHLO is not answered");
    dialogue.server(b"250 HELP\r\n", &mut down);
    let ask = dialogue.asked().unwrap();
    assert_eq!(dialogue.answer(&ask, StartTlsAnswer::Begin), b"220 2.0.0 Ready to start TLS\r\n");
    assert_eq!(dialogue.request(&ask), b"STARTTLS\r\n");
}

#[test]
fn starttls_with_arguments_is_refused() {
    shown(
        Protocol::Smtp,
        &[
            GREETING,
            Client("STARTTLS now\r\nNOOP\r\n", ""),
            Refused(StartTlsAnswer::NoArguments),
            Client("RSET\r\n", "NOOP\r\nRSET\r\n"),
        ],
    );
}

#[test]
fn message_data_is_no_command() {
    let data = "STARTTLS\r\n..\r\n.\nSTARTTLS\n.\r\r\n\r\nEHLO x\r\n";
    let whole: &'static str = Box::leak(format!("{data}.\r\nEHLO c\r\n").into_boxed_str());
    hidden(
        Protocol::Smtp,
        &[
            GREETING,
            Client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", SAME),
            Server("250 ok\r\n250 ok\r\n354 go\r\n", SAME),
            Client(whole, SAME),
            Server("250 queued\r\n250-mx\r\n250 STARTTLS\r\n", "250 queued\r\n250 mx\r\n"),
        ],
    );
}

#[test]
fn data_refused_is_a_command_answered() {
    hidden(
        Protocol::Smtp,
        &[
            GREETING,
            Client("DATA\r\nEHLO c\r\n", "DATA\r\n"),
            Server("503 no\r\n", SAME),
            Client("", "EHLO c\r\n"),
            Server("250-mx\r\n250 STARTTLS\r\n", "250 mx\r\n"),
        ],
    );
}

#[test]
fn chunks_and_sasl_are_no_commands() {
    hidden(
        Protocol::Smtp,
        &[
            GREETING,
            Client("BDAT 10\r\nSTARTTLS\r\nBDAT 0 LAST\r\nEHLO c\r\n", SAME),
            Server("250 ok\r\n250 ok\r\n250-mx\r\n250 STARTTLS\r\n", "250 ok\r\n250 ok\r\n250 mx\r\n"),
            Client("AUTH LOGIN\r\n", SAME),
            Server("334 VXNlcg==\r\n", SAME),
            Client("STARTTLS\r\nSTARTTLS\r\n", "STARTTLS\r\n"),
            Server("334 UGFzcw==\r\n", SAME),
            Client("", "STARTTLS\r\n"),
            Server("235 ok\r\n", SAME),
            Client("STARTTLS\r\n", ""),
            Refused(StartTlsAnswer::OutOfPlace),
        ],
    );
}

#[test]
fn lmtp_answers_for_each_recipient() {
    hidden(
        Protocol::Lmtp,
        &[
            GREETING,
            Client("LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n", SAME),
            Server("250 mx\r\n250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n", SAME),
            Client("x\r\n.\r\nLHLO c\r\n", SAME),
            Server("250 ok\r\n452 no\r\n250-mx\r\n250 STARTTLS\r\n", "250 ok\r\n452 no\r\n250 mx\r\n"),
        ],
    );
}

#[test]
fn what_is_not_understood_is_left_alone() {
    // An extension of whom nobody knows takes data.
    hidden(
        Protocol::Smtp,
        &[
            GREETING,
            Client("XBLOB\r\n", SAME),
            Server("354 go\r\n", SAME),
            Client("STARTTLS\r\n", SAME),
            Server("250-mx\r\n250 STARTTLS\r\n", SAME),
        ],
    );
    shown(Protocol::Unknown, &[Server("SSH-2.0-x\r\n", SAME), Client("STARTTLS\r\n", SAME)]);
}

#[test]
fn a_line_without_end_goes_on() {
    let mut dialogue = Dialogue::new(Offer::Show, Protocol::Smtp);
    let mut out = Vec::new();
    dialogue.server(b"220 mx\r\n", &mut out);
    out.clear();
    let line = [b" ".repeat(100_000), b"STARTTLS\r\n".to_vec()].concat();
    for piece in line.chunks(1000) {
        assert_eq!(dialogue.client(piece, &mut out), piece.len());
    }
    assert_eq!(out, line);
    out.clear();
    dialogue.client(b"EHLO c\r\n", &mut out);
    out.clear();
    let reply = [&b"500 long\r\n250-mx\r\n250-"[..], &b"x".repeat(100_000), b"\r\n250 STARTTLS\r\n"].concat();
    for piece in reply.chunks(1000) {
        dialogue.server(piece, &mut out);
    }
    assert_eq!(out, reply);
}

const POP: Turn = Server("+OK ready <1.2@mx>\r\n", SAME);

#[test]
fn capa_shows_and_hides_stls() {
    for (said, shows, hides) in [
        ("+OK\r\nTOP\r\nUIDL\r\n.\r\n", "+OK\r\nTOP\r\nUIDL\r\nSTLS\r\n.\r\n", SAME),
        ("+OK\r\nSTLS\r\nUIDL\r\n.\r\n", SAME, "+OK\r\nUIDL\r\n.\r\n"),
        ("+OK\r\nstls\r\nSTLS\r\n.\r\n", "+OK\r\nstls\r\n.\r\n", "+OK\r\n.\r\n"),
        ("+OK\r\n.\r\n", "+OK\r\nSTLS\r\n.\r\n", SAME),
        ("-ERR what\r\n", SAME, SAME),
    ] {
        shown(Protocol::Pop3, &[POP, Client("CAPA\r\n", SAME), Server(said, shows)]);
        hidden(Protocol::Pop3, &[POP, Client("capa\r\n", SAME), Server(said, hides)]);
    }
}

#[test]
fn stls_stays_here() {
    shown(
        Protocol::Pop3,
        &[
            POP,
            Client("CAPA\r\nSTLS\r\nUSER evil\r\n", "CAPA\r\n"),
            Server("+OK\r\nUIDL\r\n.\r\n", "+OK\r\nUIDL\r\nSTLS\r\n.\r\n"),
            EstablishedTls,
            Client("STLS\r\n", ""),
            Refused(StartTlsAnswer::OutOfPlace),
        ],
    );
}

#[test]
fn messages_and_sasl_of_pop3_are_no_commands() {
    hidden(
        Protocol::Pop3,
        &[
            POP,
            Client("RETR 1\r\nCAPA\r\n", SAME),
            Server(
                "+OK 9\r\nSTLS\r\n+OK\r\n..\r\n.\r\n+OK\r\nSTLS\r\n.\r\n",
                "+OK 9\r\nSTLS\r\n+OK\r\n..\r\n.\r\n+OK\r\n.\r\n",
            ),
            Client("AUTH PLAIN\r\n", SAME),
            Server("+ \r\n", SAME),
            Client("STLS\r\n", SAME),
            Server("-ERR no\r\n", SAME),
            Client("LIST\r\nLIST 1\r\nSTLS\r\n", "LIST\r\nLIST 1\r\n"),
            Server("+OK\r\n1 5\r\n.\r\n+OK 1 5\r\n", SAME),
            Refused(StartTlsAnswer::OutOfPlace),
        ],
    );
}

const IMAP: Turn = Server("* OK hello\r\n", SAME);

#[test]
fn imap_lists_show_and_hide_starttls() {
    for (said, shows, hides) in [
        ("* CAPABILITY IMAP4rev1 IDLE\r\n", "* CAPABILITY IMAP4rev1 IDLE STARTTLS\r\n", SAME),
        ("* CAPABILITY STARTTLS IDLE\r\n", SAME, "* CAPABILITY IDLE\r\n"),
        (
            "* CAPABILITY IMAP4rev1 starttls IDLE STARTTLS\r\n",
            "* CAPABILITY IMAP4rev1 starttls IDLE\r\n",
            "* CAPABILITY IMAP4rev1 IDLE\r\n",
        ),
        ("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", SAME, "* OK [CAPABILITY IMAP4rev1] hi\r\n"),
        ("* OK [CAPABILITY IMAP4rev1] hi\r\n", "* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", SAME),
        ("a OK [CAPABILITY IMAP4rev1 STARTTLS X] done\r\n", SAME, "a OK [CAPABILITY IMAP4rev1 X] done\r\n"),
        ("* OK STARTTLS\r\n", SAME, SAME),
        ("* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n", SAME, SAME),
        ("* 1 FETCH (FLAGS ())\r\n", SAME, SAME),
        ("* CAPABILITY IMAP4rev1 STARTTLS", SAME, SAME),
    ] {
        let mut cut = said.len();
        if !said.ends_with('\n') {
            cut = 0;
        }
        let turns = |got| [IMAP, Client("a CAPABILITY\r\n", SAME), Server(said, if cut == 0 { "" } else { got })];
        shown(Protocol::Imap, &turns(shows));
        hidden(Protocol::Imap, &turns(hides));
    }
    shown(
        Protocol::Imap,
        &[Server("* OK [CAPABILITY IMAP4rev1] hi\r\n", "* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n")],
    );
}

#[test]
fn a_list_after_login_is_not_added_to() {
    shown(
        Protocol::Imap,
        &[
            IMAP,
            Client("a LOGIN {3}\r\nann {3}\r\nxyz\r\n", "a LOGIN {3}\r\n"),
            Server("+ go\r\n", SAME),
            Client("", "ann {3}\r\n"),
            Server("+ go\r\n", SAME),
            Client("", "xyz\r\n"),
            Server("* CAPABILITY IMAP4rev1\r\na OK [CAPABILITY IMAP4rev1 IDLE] in\r\n", SAME),
            Client("b STARTTLS\r\n", ""),
            Refused(StartTlsAnswer::OutOfPlace),
        ],
    );
}

#[test]
fn imap_starttls_stays_here() {
    shown(
        Protocol::Imap,
        &[
            Client("x STARTTLS\r\ny LOGIN evil evil\r\n", ""),
            Server("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", SAME),
            EstablishedTls,
            Client("y CAPABILITY\r\n", SAME),
            Server("* CAPABILITY IMAP4rev1 STARTTLS\r\ny OK done\r\n", "* CAPABILITY IMAP4rev1\r\ny OK done\r\n"),
            Client("z STARTTLS\r\n", ""),
            Refused(StartTlsAnswer::OutOfPlace),
        ],
    );
    let mut dialogue = play(Offer::Show, Protocol::Imap, &[IMAP], 100);
    let mut out = Vec::new();
    dialogue.client(b"a1 starttls\r\n", &mut out);
    let ask = dialogue.asked().unwrap();
    assert!(out.is_empty());
    assert_eq!(dialogue.answer(&ask, StartTlsAnswer::Begin), b"a1 OK Begin TLS\r\n");
    assert_eq!(dialogue.request(&ask), b"a1 STARTTLS\r\n");
}

#[test]
fn literals_are_no_commands_and_no_responses() {
    hidden(
        Protocol::Imap,
        &[
            IMAP,
            Client("a APPEND x {14+}\r\nb STARTTLS\r\n\r\n\r\nc NOOP\r\n", SAME),
            Server("a OK\r\nc OK\r\n", SAME),
            Client("d APPEND x {12}\r\n", SAME),
            Server("d NO too big {3}\r\n", SAME),
            Client("e FETCH 1 BODY[]\r\n", SAME),
            Server(
                "* 1 FETCH (BODY[] {24}\r\n* CAPABILITY STARTTLS X\r\n)\r\n* CAPABILITY STARTTLS X\r\ne OK\r\n",
                "* 1 FETCH (BODY[] {24}\r\n* CAPABILITY STARTTLS X\r\n)\r\n* CAPABILITY X\r\ne OK\r\n",
            ),
        ],
    );
}

#[test]
fn exchanges_of_imap_are_no_commands() {
    hidden(
        Protocol::Imap,
        &[
            IMAP,
            Client("a AUTHENTICATE PLAIN\r\n", SAME),
            Server("+ \r\n", SAME),
            Client("b STARTTLS\r\n", SAME),
            Server("a NO\r\n", SAME),
            Client("c IDLE\r\n", SAME),
            Server("+ idling\r\n", SAME),
            Server("* 3 EXISTS\r\n", SAME),
            Client("DONE\r\nd NOOP\r\n", SAME),
            Server("c OK\r\nd OK\r\n", SAME),
            Client("e COMPRESS DEFLATE\r\n", SAME),
            Server("e OK\r\n", SAME),
            Client("f STARTTLS\r\n", SAME),
            Server("* CAPABILITY STARTTLS\r\n", SAME),
        ],
    );
}

#[test]
fn a_greeting_loses_its_list() {
    for (line, got) in [
        ("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.\r\n", "* OK Dovecot ready.\r\n"),
        ("* OK hello\r\n", "* OK hello\r\n"),
        ("* OK [ALERT] hello\r\n", "* OK [ALERT] hello\r\n"),
    ] {
        assert_eq!(String::from_utf8_lossy(&without_list(line.as_bytes())), got);
    }
}

#[test]
fn a_partial_line_goes_on_when_its_sender_closes() {
    let mut dialogue = play(Offer::Show, Protocol::Smtp, &[GREETING, Client("EHLO c\r\n", SAME)], 100);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    dialogue.client(b"START", &mut up);
    dialogue.server(b"250-mx\r\n250-HE", &mut down);
    assert!(up.is_empty() && down.is_empty());
    dialogue.client_closed(&mut up);
    dialogue.server_closed(&mut down);
    assert_eq!((up.as_slice(), down.as_slice()), (&b"START"[..], &b"250-mx\r\n250-HE"[..]));
}

#[test]
fn nothing_waits_for_a_server_that_is_gone() {
    let mut dialogue = play(Offer::Show, Protocol::Smtp, &[GREETING, Client("DATA\r\n", SAME)], 100);
    let mut out = Vec::new();
    assert_eq!(dialogue.client(b"x\r\n", &mut out), 0);
    dialogue.server_closed(&mut Vec::new());
    assert_eq!(dialogue.client(b"x\r\nSTARTTLS\r\n", &mut out), 13);
    assert_eq!(out, b"x\r\nSTARTTLS\r\n");
    assert!(dialogue.asked().is_none());
}

proptest::proptest! {
    /// Hostile octets, in any pieces: nothing fails, and without the word nothing is changed.
    #[test]
    fn without_the_word_nothing_changes(
        client in proptest::collection::vec("(EHLO c|DATA|\\.|a LOGIN \\{3\\}|RETR 1|CAPA|AUTH X|IDLE|[ -~]{0,9})(\r\n|\n|\r|)", 0..20),
        server in proptest::collection::vec("(250|354|334|\\+OK|\\+ |-ERR|a OK|\\* CAPABILITY X|\\* 1 FETCH \\{5\\}|\\.)[ -][ -~]{0,9}(\r\n|\n|)", 0..20),
        size in 1usize..30,
    ) {
        for prior in [Protocol::Smtp, Protocol::Pop3, Protocol::Imap, Protocol::Unknown] {
            let mut dialogue = Dialogue::new(Offer::Hide, prior);
            let (client, server) = (client.concat().into_bytes(), server.concat().into_bytes());
            let (mut up, mut down, mut held) = (Vec::new(), Vec::new(), Vec::new());
            let (mut said, mut answered) = (client.chunks(size), server.chunks(size));
            loop {
                let (piece, reply) = (said.next(), answered.next());
                if piece.is_none() && reply.is_none() {
                    break;
                }
                held.extend_from_slice(piece.unwrap_or_default());
                let used = dialogue.client(&held, &mut up);
                held.drain(..used);
                dialogue.server(reply.unwrap_or_default(), &mut down);
            }
            let asked = dialogue.asked.is_some();
            dialogue.client_closed(&mut up);
            dialogue.server_closed(&mut down);
            if !asked {
                proptest::prop_assert_eq!([up, held].concat(), client);
                proptest::prop_assert_eq!(down, server);
            }
        }
    }
}

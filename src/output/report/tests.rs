use super::*;
use crate::event::Masked;
use crate::event::Verb;
use crate::event::*;
use crate::output::testing::*;

const WIDTH: usize = 80;

fn printed(report: &Report, style: Style) -> String {
    let mut out = Vec::new();
    report.print(&mut out, style).unwrap();
    String::from_utf8(out).unwrap()
}

fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "too long: {line}");
        assert_eq!(line, line.trim_end(), "space at the end");
    }
}

/// What a busy server says, to each of `sinks` in turn: one after another each event goes to the next.
fn busy(sinks: &mut [&mut dyn Sink]) {
    let mut turn = 0;
    let mut say = |protocol, event: &Event<'_>| {
        let count = sinks.len();
        sinks[turn % count].event(&context(protocol), at(0), event);
        turn += 1;
    };
    for n in 0..1500u32 {
        for (verb, code, latency) in [
            (Verb::Ehlo, 250, 1),
            (Verb::Mail, 250, 2),
            (Verb::Rcpt, 250, 40),
            (Verb::Data, 354, 3),
            (Verb::Quit, 221, 1),
        ] {
            say(
                Protocol::Smtp,
                &Event::Command(Masked::by_hand(&command(n, verb, Status::Code(code), latency + u64::from(n) / 100))),
            );
        }
        let mut t = delivery();
        t.outcome = *TransactionOutcome::ALL
            .iter()
            .cycle()
            .nth(n as usize % 40)
            .filter(|_| n % 40 < 12)
            .unwrap_or(&TransactionOutcome::Accepted);
        t.recipient(b"x@y", 400 + n as u16 % 7, enhanced(4, n as u16 % 11, 1));
        t.recipients_total += u32::from(n % 100 == 0);
        say(Protocol::Smtp, &Event::Transaction(Masked::by_hand(&t)));
        let mut s = full_summary();
        s.outcome = *SessionOutcome::ALL
            .iter()
            .cycle()
            .nth(n as usize % 50)
            .filter(|_| n % 50 < 10)
            .unwrap_or(&SessionOutcome::Ok);
        s.tls.mode = TlsMode::ALL.get(n as usize % 3).copied();
        if n % 8 > 0 {
            (s.incomplete, s.gaps) = (Incomplete::NONE, [0, 0]);
        }
        say(Protocol::Smtp, &Event::End(Masked::by_hand(&s)));
    }
    for verb in Verb::ALL.iter().take(12) {
        say(Protocol::Smtp, &Event::Command(Masked::by_hand(&command(1, *verb, Status::Code(502), 1))));
    }
    for outcome in AuthOutcome::ALL {
        say(Protocol::Smtp, &Event::Auth(Masked::by_hand(&auth(*outcome))));
        let method = AuthMethod::Login;
        say(Protocol::Imap, &Event::Auth(Masked::by_hand(&Auth { method, mechanism: None, ..auth(*outcome) })));
    }
    let mut fetch = transaction(TransactionKind::Retrieval, TransactionOutcome::Complete);
    fetch.carries(MAIL);
    say(Protocol::Imap, &Event::Transaction(Masked::by_hand(&fetch)));
    say(
        Protocol::Imap,
        &Event::Transaction(Masked::by_hand(&transaction(TransactionKind::Append, TransactionOutcome::Error))),
    );
    say(Protocol::Imap, &Event::Command(Masked::by_hand(&imap_command())));
    say(Protocol::Imap, &Event::Command(Masked::by_hand(&command(2, Verb::Idle, Status::Ok, 900_000))));
    say(Protocol::Imap, &Event::Command(Masked::by_hand(&command(3, Verb::Select, Status::No, 90_000))));
    say(Protocol::Imap, &Event::End(Masked::by_hand(&summary(SessionOutcome::Ok))));
    let mut ftp = summary(SessionOutcome::ClientGone);
    ftp.other = Some(Other::Ftp);
    say(Protocol::Unknown, &Event::End(Masked::by_hand(&ftp)));
    for severity in Severity::ALL {
        say(Protocol::Smtp, &Event::Anomaly(Masked::by_hand(&Anomaly { severity: *severity, ..anomaly() })));
    }
    say(
        Protocol::Smtp,
        &Event::Anomaly(Masked::by_hand(&Anomaly {
            id: Id::TcpOverlap,
            severity: Severity::Low,
            count: 1_000_000,
            ..anomaly()
        })),
    );
}

fn capture() -> CaptureFacts {
    CaptureFacts {
        files: 3,
        packets: 1_204_332,
        octets: 1_234_567_890,
        first: Some(at(0)),
        last: Some(at(2_530_000)),
        elapsed: Some(Duration::from_millis(2300)),
        not_understood: vec![(1, "encrypted by IPsec".to_owned())],
        warnings: vec!["mail-2026-01-31-of-the-third-server.pcap: cut inside a packet at offset 1234567890: 40 of 1514 octets are there".to_owned()],
    }
}

#[test]
fn a_busy_capture_at_80_columns() {
    let mut report = Report::new();
    busy(&mut [&mut report]);
    report.set_capture(capture());
    let text = printed(&report, Style::default());
    fits(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn colour_changes_nothing_but_colour() {
    let mut report = Report::new();
    busy(&mut [&mut report]);
    report.set_capture(capture());
    let coloured = printed(&report, Style { colour: true, width: WIDTH });
    let mut plain = coloured.clone();
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m"] {
        assert!(coloured.contains(code), "{code:?}");
        plain = plain.replace(code, "");
    }
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, printed(&report, Style::default()).lines().collect::<Vec<_>>());
}

#[test]
fn merged_in_any_order_it_is_one_report() {
    let mut whole = Report::new();
    busy(&mut [&mut whole]);
    let parts = || {
        let (mut a, mut b, mut c) = (Report::new(), Report::new(), Report::new());
        busy(&mut [&mut a, &mut b, &mut c]);
        (a, b, c)
    };
    let (mut a, b, c) = parts();
    a.merge(b);
    a.merge(c);
    assert_eq!(a, whole);
    let (a, b, mut c) = parts();
    c.merge(a);
    c.merge(b);
    assert_eq!(c, whole);
    assert_eq!(printed(&c, Style::default()), printed(&whole, Style::default()));
}

#[test]
fn nothing_is_said_in_one_line() {
    assert_eq!(printed(&Report::new(), Style::default()), "No mail session.\n");
}

#[test]
fn one_quiet_session_has_no_empty_sections() {
    let mut report = Report::new();
    let mut s = summary(SessionOutcome::Ok);
    s.greeting.delay = millis(2);
    report.event(
        &context(Protocol::Pop3),
        at(0),
        &Event::Command(Masked::by_hand(&command(1, Verb::Quit, Status::PopOk, 1))),
    );
    report.event(&context(Protocol::Pop3), at(0), &Event::End(Masked::by_hand(&s)));
    report.set_capture(CaptureFacts { files: 1, packets: 1, ..CaptureFacts::default() });
    let text = printed(&report, Style::default());
    fits(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn coalesced_replies_and_idle_say_nothing_about_the_server() {
    let mut report = Report::new();
    let coalesced = Command { coalesced: true, ..command(1, Verb::Rcpt, Status::Code(250), 5) };
    report.event(&context(Protocol::Smtp), at(0), &Event::Command(Masked::by_hand(&coalesced)));
    report.event(
        &context(Protocol::Imap),
        at(0),
        &Event::Command(Masked::by_hand(&command(1, Verb::Idle, Status::Ok, 5))),
    );
    assert!(!printed(&report, Style::default()).contains("slowest"));
}

#[test]
fn the_last_word_on_a_recipient_counts() {
    let mut t = delivery();
    t.recipients[0].last =
        Some(RecipientReply { code: 452, enhanced: enhanced(4, 2, 2), text: Default::default(), latency: None });
    let mut report = Report::new();
    report.event(&context(Protocol::Lmtp), at(0), &Event::Transaction(Masked::by_hand(&t)));
    let text = printed(&report, Style::default());
    assert!(text.contains("  recipients   2 refused\n  refused with 1 × 452 4.2.2   1 × 550 5.1.1\n"), "{text}");
}

#[test]
fn an_output_that_fails_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(Report::new().print(&mut Full, Style::default()).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

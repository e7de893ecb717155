use super::*;
use proptest::prelude::*;

fn said(secrets: &mut Secrets, text: &[u8]) -> String {
    let masked = secrets.prepare().said(text);
    String::from_utf8_lossy(masked.as_deref().unwrap_or(text)).into_owned()
}

fn sent(secrets: &mut Secrets, text: &[u8]) -> String {
    let masked = secrets.prepare().sent(text);
    String::from_utf8_lossy(masked.as_deref().unwrap_or(text)).into_owned()
}

#[test]
fn an_echo_is_masked_as_sent_and_as_decoded() {
    let mut secrets = Secrets::default();
    assert_eq!(said(&mut secrets, b"bad hunter2"), "bad hunter2");
    secrets.learn(b"aHVudGVyMg== ");
    assert_eq!(said(&mut secrets, b"unknown \"aHVudGVyMg==\", hunter2"), "unknown \"[redacted]\", [redacted]");
    secrets.learn_password(b"open sesame");
    assert_eq!(said(&mut secrets, b"xopen sesamex b3BlbiBzZXNhbWU="), "x[redacted]x [redacted]");
    assert_eq!(said(&mut secrets, b"nothing of it"), "nothing of it");
}

#[test]
fn an_echo_in_another_case_or_inside_other_base64_is_masked() {
    let mut secrets = Secrets::default();
    secrets.learn_password(b"Hunter2");
    assert_eq!(said(&mut secrets, b"HUNTER2 hunter2 AHVUDGVYMG=="), "[redacted] [redacted] AHVUDGVYMG==");
    assert_eq!(said(&mut secrets, b"what is AGFubgBIdW50ZXIy?"), "what is [redacted]?");
    assert_eq!(said(&mut secrets, b"SHVudGVyMg== SHVudGVyMg shvudgvymg=="), "[redacted] [redacted] [redacted]");
}

#[test]
fn an_echo_cut_short_is_masked() {
    let mut secrets = Secrets::default();
    secrets.learn_password(b"averylongpassword");
    assert_eq!(said(&mut secrets, b"what is 'averylongp...'?"), "what is '[redacted]...'?");
    assert_eq!(said(&mut secrets, b"a very long day"), "a very long day");
    assert_eq!(said(&mut secrets, b"what is AVER, 'averyl...'?"), "what is [redacted], '[redacted]...'?");
    assert_eq!(said(&mut secrets, b"an average aver1, ave."), "an average aver1, ave.");
    assert_eq!(sent(&mut secrets, b"aver"), "aver", "the client's own words are whole");
    secrets.suspect(b"Authorization plain-text");
    assert_eq!(said(&mut secrets, b"AUTH PLAIN, author"), "AUTH PLAIN, [redacted]", "keywords are no echo");
}

#[test]
fn a_server_that_cuts_its_lines_repeats_a_part_of_a_password() {
    let mut secrets = Secrets::default();
    secrets.learn_password(b"my s3cret  with spaces");
    assert_eq!(said(&mut secrets, b"unexpected argument s3cret"), "unexpected argument [redacted]");
    assert_eq!(sent(&mut secrets, b"spaces"), "spaces");
}

#[test]
fn a_longer_word_of_the_client_is_another_word() {
    let mut secrets = Secrets::default();
    secrets.learn_password(b"1234567");
    assert_eq!(sent(&mut secrets, b"FROM:<1234567899@example.com>"), "FROM:<1234567899@example.com>");
    assert_eq!(
        sent(&mut secrets, b"FROM:<1234567@example.com> X=1234567"),
        "FROM:<[redacted]@example.com> X=[redacted]"
    );
    assert_eq!(sent(&mut secrets, b"x MTIzNDU2Nw=="), "x [redacted]");
    assert_eq!(said(&mut secrets, b"bad 1234567899"), "bad [redacted]899");
    secrets.learn_password(b"Zq7kWm4Xt9");
    assert_eq!(
        sent(&mut secrets, b"1 BODY[Zq7kWm4Xt9FETCH]"),
        "1 BODY[[redacted]FETCH]",
        "too long to be there by chance"
    );
}

#[test]
fn a_name_is_shown_with_the_password_that_is_a_part_of_it() {
    let mut secrets = Secrets::default();
    secrets.name(b"ann.lee@example.com");
    secrets.learn_password(b"ann.lee");
    assert_eq!(said(&mut secrets, b"mailbox of \"ann.lee@example.com\""), "mailbox of \"ann.lee@example.com\"");
    assert_eq!(sent(&mut secrets, b"To: <ann.lee@example.com>"), "To: <ann.lee@example.com>");
    assert_eq!(said(&mut secrets, b"no ann.lee, ann.lee@example.com"), "no [redacted], ann.lee@example.com");
    assert_eq!(said(&mut secrets, b"no ann.lee@example.org"), "no [redacted]@example.org");
    secrets.name(b"hunter2");
    secrets.learn_password(b"hunter2");
    assert_eq!(said(&mut secrets, b"who is hunter2?"), "who is [redacted]?", "which of the two is meant is not known");
}

#[test]
fn a_short_secret_is_masked_as_a_word_only() {
    let mut secrets = Secrets::default();
    secrets.remember(b"a");
    assert_eq!(said(&mut secrets, b"unknown command a, and a."), "unknown command [redacted], and [redacted].");
    assert_eq!(said(&mut secrets, b"a"), "[redacted]");
    assert_eq!(said(&mut secrets, b"bad command"), "bad command");
}

#[test]
fn echoes_that_overlap_become_one() {
    let mut secrets = Secrets::default();
    secrets.remember(b"abcdef");
    secrets.remember(b"defghi");
    assert_eq!(said(&mut secrets, b"<abcdefghi>"), "<[redacted]>");
    secrets.remember(b"xyzxyzxyzw!");
    assert_eq!(said(&mut secrets, b"xyzxyzxyzxyzw!"), "[redacted]");
}

#[test]
fn words_that_were_not_understood_are_masked_where_the_server_says_them() {
    let mut secrets = Secrets::default();
    secrets.suspect(b"ann s3cret!");
    assert_eq!(said(&mut secrets, b"unknown: ANN S3CRET!"), "unknown: [redacted] [redacted]");
    assert_eq!(said(&mut secrets, b"announce"), "announce");
    assert_eq!(sent(&mut secrets, b"FROM:<ann@x.org>"), "FROM:<ann@x.org>");
    assert_eq!(said(&mut secrets, b"bad czNjcmV0IQ=="), "bad [redacted]");
}

#[test]
fn a_url_keeps_its_user_and_its_authorization() {
    let mut secrets = Secrets::default();
    for (text, masked) in [
        ("REFERRAL imap://ann;AUTH=*:pw@h/x", "REFERRAL imap://[redacted]@h/x"),
        ("see http://h:80/a@b and imap://h", "see http://h:80/a@b and imap://h"),
        ("imap://ann:pw", "imap://[redacted]"),
        ("at imap://h:143", "at imap://h:143"),
        ("BADURL imap://h/x;urlauth=a:b] no", "BADURL imap://h/x;urlauth=[redacted]] no"),
        ("x;URLAUTH=[redacted] y", "x;URLAUTH=[redacted] y"),
        ("imap://[redacted]@h", "imap://[redacted]@h"),
    ] {
        assert_eq!(said(&mut secrets, text.as_bytes()), masked);
        assert_eq!(sent(&mut secrets, text.as_bytes()), masked);
    }
}

#[test]
fn what_cannot_be_remembered_hides_everything_the_server_says() {
    let mut secrets = Secrets::default();
    for n in 0..2000 {
        secrets.suspect(format!("word{n}").as_bytes());
    }
    assert_eq!(said(&mut secrets, b"unknown word0"), "[redacted]");
    assert_eq!(sent(&mut secrets, b"INBOX"), "INBOX");
    let mut secrets = Secrets::default();
    for n in 0..2000 {
        secrets.suspect(format!("word{n}").as_bytes());
        assert_eq!(said(&mut secrets, format!("unknown word{n}").as_bytes()), "unknown [redacted]");
        secrets.used();
    }
}

/// `count` secrets that are alike.
fn alike(count: usize) -> Secrets {
    let mut secrets = Secrets::default();
    (1..=count).for_each(|length| secrets.remember(&vec![b'A'; 8 + length]));
    _ = secrets.prepare();
    secrets
}

#[test]
fn masking_costs_by_the_text_and_not_by_the_secrets() {
    let work = |secrets: &Secrets, length: usize| {
        let text = b"AAAAAAAAAAAAAAAAAAAB".repeat(length / 20);
        automaton::steps::of(|| assert!(secrets.said(&text).is_some()))
    };
    let (few, many) = (alike(15), alike(60));
    let small = work(&many, 1000);
    assert!(small <= 5 * 1000, "{small} steps for 1000 bytes");
    assert!(work(&many, 4000) <= small * 4 + small / 10, "four times the text");
    assert!(small <= work(&few, 1000) * 2, "four times the secrets");
}

#[test]
fn learning_costs_by_what_is_new() {
    let work = |lines: usize| {
        automaton::steps::of(|| {
            let mut secrets = Secrets::default();
            for n in 0..lines {
                secrets.suspect(format!("word{n:06} other{n:06}").as_bytes());
                _ = secrets.prepare().said(b"ok");
                secrets.used();
            }
        })
    };
    let (small, large) = (work(1000), work(4000));
    assert!(large <= small * 5, "{small} steps for 1000 lines, {large} for 4000");
    assert!(small / 1000 < 3000, "{small} steps for 1000 lines");
}

#[test]
fn debug_shows_nothing() {
    let mut secrets = Secrets::default();
    secrets.learn_password(b"hunter2");
    secrets.suspect(b"hunter2");
    assert_eq!(format!("{secrets:?}"), "2 secrets, 1 suspects");
}

#[test]
fn base64_is_read_with_and_without_padding() {
    assert_eq!(base64(b"aGk=").as_deref(), Some(&b"hi"[..]));
    assert_eq!(base64(b" aGk ").as_deref(), Some(&b"hi"[..]));
    assert_eq!(base64(b"aGl=").as_deref(), Some(&b"hi"[..]), "trailing bits");
    for bad in [&b"a"[..], b"a b", b"=", b"", b"aGk====", b"\xFF\xFF"] {
        assert_eq!(base64(bad), None);
    }
}

proptest! {
    #[test]
    fn no_secret_survives(
        secrets in proptest::collection::vec("[a-c=]{4,12}", 1..5),
        parts in proptest::collection::vec("[a-c=xy ]{0,6}", 6),
    ) {
        let mut known = Secrets::default();
        let mut text = String::new();
        for (i, part) in parts.iter().enumerate() {
            text.push_str(part);
            text.push_str(secrets.get(i).map_or("", String::as_str));
        }
        for secret in &secrets {
            known.remember(secret.as_bytes());
        }
        let text = said(&mut known, text.as_bytes()).replace("[redacted]", "#");
        for secret in &secrets {
            prop_assert!(!text.contains(secret.as_str()), "{text}");
        }
    }
}

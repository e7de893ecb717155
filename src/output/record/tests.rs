use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::event::*;
use crate::event::{Text, Verb};
use crate::output::schema::assert_valid;
use crate::output::testing::*;

/// The one record that `event` makes under `policy`; it keeps the promise of the schema.
fn record(policy: Policy, protocol: Protocol, event: &Event<'_>) -> Value {
    let mut writer = RecordWriter::new(Arc::new(policy));
    writer.event(&context(protocol), at(0), event);
    assert_valid(writer.bytes());
    assert_eq!(writer.bytes().iter().filter(|b| **b == b'\n').count(), 1);
    serde_json::from_slice(writer.bytes()).unwrap()
}

fn plain(protocol: Protocol, event: &Event<'_>) -> Value {
    record(Policy::default(), protocol, event)
}

fn named() -> Policy {
    Policy { sources: vec!["mail.pcap".to_owned()], ..Policy::default() }
}

fn keyed(identity: IdentityPolicy) -> Policy {
    Policy { identity, key: Some(b"key".to_vec()), ..Policy::default() }
}

#[test]
fn a_session_with_everything() {
    insta::assert_json_snapshot!(record(named(), Protocol::Smtp, &Event::End(Masked::by_hand(&full_summary()))));
}

#[test]
fn a_session_of_nothing_but_a_connection() {
    let mut s = summary(SessionOutcome::ClientGone);
    s.close.by = None;
    let r = record(Policy { input: InputKind::Proxy, ..named() }, Protocol::Unknown, &Event::End(Masked::by_hand(&s)));
    for absent in [
        "greeting",
        "helo",
        "capabilities",
        "tls",
        "auth",
        "other",
        "incomplete",
        "maildrop",
        "idle",
        "gaps",
        "ehlo_refused",
        "reply_desync",
    ] {
        assert_eq!(r.get(absent), None, "{absent}");
    }
    assert_eq!((&r["close"]["by"], &r["protocol"], &r["input"]), (&json!("none"), &json!("unknown"), &json!("proxy")));
}

#[test]
fn every_record_of_the_proxy_names_its_listener() {
    let (session, delivery, command) = (summary(SessionOutcome::Ok), delivery(), imap_command());
    let (auth, anomaly) = (auth(AuthOutcome::Success), anomaly());
    let events = [
        Event::End(Masked::by_hand(&session)),
        Event::Transaction(Masked::by_hand(&delivery)),
        Event::Command(Masked::by_hand(&command)),
        Event::Auth(Masked::by_hand(&auth)),
        Event::Anomaly(Masked::by_hand(&anomaly)),
    ];
    for event in &events {
        let of = |input| {
            record(Policy { input, sources: vec!["mx".to_owned()], ..Policy::default() }, Protocol::Imap, event)
        };
        assert_eq!(of(InputKind::Proxy)["listener"], "mx", "{event:?}");
        for input in [InputKind::Live, InputKind::File] {
            assert_eq!(of(input).get("listener"), None, "{event:?}");
        }
    }
}

#[test]
fn what_is_no_mail_says_what_it_is() {
    let mut s = summary(SessionOutcome::ClientGone);
    s.other = Some(Other::Ftp);
    assert_eq!(plain(Protocol::Unknown, &Event::End(Masked::by_hand(&s)))["other"], "ftp");
    assert_eq!(plain(Protocol::Smtp, &Event::End(Masked::by_hand(&s))).get("other"), None);
}

#[test]
fn a_session_in_clear_says_so() {
    let r = plain(Protocol::Pop3, &Event::End(Masked::by_hand(&summary(SessionOutcome::Ok))));
    assert_eq!(r["tls"], json!({"mode": "none"}));
}

#[test]
fn a_duration_that_runs_backwards_is_absent() {
    let mut s = summary(SessionOutcome::Ok);
    s.ended = Timestamp::from_parts(START - 1, 0);
    assert_eq!(plain(Protocol::Smtp, &Event::End(Masked::by_hand(&s))).get("duration"), None);
}

#[test]
fn a_record_shows_the_clock_as_it_was_when_the_thing_began() {
    let mut writer = RecordWriter::new(Arc::new(Policy::default()));
    let hour = Duration::from_secs(3600);
    writer.clock_set(at(500), at(500).after(hour));
    let summary = summary(SessionOutcome::Ok);
    writer.event(&context(Protocol::Smtp), at(1500), &Event::End(Masked::by_hand(&summary)));
    let later = Context { began: at(700), ..context(Protocol::Smtp) };
    writer.event(&later, at(1500), &Event::End(Masked::by_hand(&summary)));
    assert_valid(writer.bytes());
    let lines = writer.bytes().split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let times = lines.map(|line| {
        let record: Value = serde_json::from_slice(line).unwrap();
        (record["ts"].clone(), record["end"].clone(), record["duration"].clone())
    });
    let [before, after] = times.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(before, (json!("2026-01-31T09:00:00.000000Z"), json!("2026-01-31T09:00:01.500000Z"), json!(1.5)));
    assert_eq!(after, (json!("2026-01-31T10:00:00.700000Z"), json!("2026-01-31T10:00:01.500000Z"), json!(0.8)));
}

#[test]
fn a_delivery_with_everything() {
    insta::assert_json_snapshot!(plain(Protocol::Lmtp, &Event::Transaction(Masked::by_hand(&delivery()))));
}

#[test]
fn a_delivery_that_came_to_nothing() {
    let mut t = transaction(TransactionKind::Delivery, TransactionOutcome::RejectedPermanent);
    t.stage = Some(Stage::Mail);
    t.reverse_path = Some(t.store(b""));
    t.last = reply(Status::Code(550), None, "no");
    let r = plain(Protocol::Smtp, &Event::Transaction(Masked::by_hand(&t)));
    assert_eq!((&r["reverse_path"], &r["recipients_total"], &r["stage"]), (&json!(""), &json!(0), &json!("mail")));
    assert_eq!(r["final"], json!({"code": 550, "text": "no"}));
    for absent in [
        "reply_undelivered",
        "message",
        "timing",
        "recipients",
        "esmtp",
        "chunks",
        "pipelined",
        "identity",
        "source_route",
    ] {
        assert_eq!(r.get(absent), None, "{absent}");
    }
}

#[test]
fn a_retrieval_and_an_append() {
    let mut fetch = transaction(TransactionKind::Retrieval, TransactionOutcome::Complete);
    fetch.verb = Some(Verb::UidFetch);
    fetch.mailbox = text("INBOX");
    fetch.uid = Some(7);
    fetch.message_number = Some(3);
    fetch.section = text("");
    fetch.origin = Some(0);
    fetch.timing.first_byte = millis(9);
    fetch.carries(MAIL);
    let r = plain(Protocol::Imap, &Event::Transaction(Masked::by_hand(&fetch)));
    assert_eq!(
        (&r["command"], &r["section"], &r["origin"], &r["uid"]),
        (&json!("UID FETCH"), &json!(""), &json!(0), &json!(7))
    );
    assert_eq!(r["timing"], json!({"first_byte": 0.009}));

    let mut append = transaction(TransactionKind::Append, TransactionOutcome::Error);
    append.verb = Some(Verb::Append);
    append.mailbox = text("Sent");
    append.flags = list(&[b"\\Seen", b"$Forwarded"]);
    append.internal_date = text("31-Jan-2026 09:00:00 +0000");
    append.uid = Some(8);
    append.uid_validity = Some(1);
    let r = plain(Protocol::Imap, &Event::Transaction(Masked::by_hand(&append)));
    assert_eq!((&r["flags"], &r["uid_validity"]), (&json!(["\\Seen", "$Forwarded"]), &json!(1)));
    assert_eq!(r.get("recipients_total"), None);
}

#[test]
fn a_message_with_a_gap_has_no_digest() {
    let mut t = delivery();
    t.message.begin(true, 100);
    t.message.octets(MAIL);
    t.message.gap(10);
    t.message.finish(false);
    let r = plain(Protocol::Smtp, &Event::Transaction(Masked::by_hand(&t)));
    assert_eq!((r["message"].get("sha256"), &r["message"]["complete"]), (None, &json!(false)));
}

#[test]
fn what_a_cap_or_a_gap_hides_of_a_message_is_marked() {
    let mut t = delivery();
    t.message.begin(true, 10);
    t.message.octets(MAIL);
    t.message.gap_unknown();
    t.message.finish(true);
    let r = plain(Protocol::Smtp, &Event::Transaction(Masked::by_hand(&t)));
    assert_eq!((&r["incomplete"], r["message"].get("size")), (&json!(["truncated"]), None));
    t.has_message = false;
    assert_eq!(plain(Protocol::Smtp, &Event::Transaction(Masked::by_hand(&t))).get("incomplete"), None);
}

#[test]
fn attachments_are_listed_without_their_names_if_so_wished() {
    let mut t = delivery();
    t.carries(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename=a.png\r\n\r\nAAAA\r\n--b--\r\n",
    );
    let event = Event::Transaction(Masked::by_hand(&t));
    let attachments = |policy| record(policy, Protocol::Smtp, &event)["message"]["attachments"].clone();
    assert_eq!(attachments(Policy::default()), json!([{"filename": "a.png", "content_type": "image/png", "size": 3}]));
    let envelope = Policy { detail: Detail::Envelope, ..Policy::default() };
    assert_eq!(attachments(envelope), json!([{"content_type": "image/png", "size": 3}]));
}

#[test]
fn commands_of_all_protocols() {
    insta::assert_json_snapshot!(
        "imap_command",
        plain(Protocol::Imap, &Event::Command(Masked::by_hand(&imap_command())))
    );
    let r = plain(Protocol::Pop3, &Event::Command(Masked::by_hand(&command(1, Verb::Stat, Status::PopOk, 1))));
    assert_eq!((&r["status"], r.get("untagged"), r.get("literals")), (&json!("+OK"), None, None));
    let mut unanswered = command(2, Verb::Other, Status::Ok, 0);
    unanswered.reply.clear();
    (unanswered.latency, unanswered.service_latency) = (None, None);
    let r = plain(Protocol::Smtp, &Event::Command(Masked::by_hand(&unanswered)));
    assert_eq!((&r["name"], r.get("status"), r.get("text"), r.get("latency")), (&json!("OTHER"), None, None, None));
}

#[test]
fn statuses_are_words() {
    use Status::*;
    for (status, word) in [
        (Code(354), "354"),
        (PopOk, "+OK"),
        (PopErr, "-ERR"),
        (Ok, "OK"),
        (No, "NO"),
        (Bad, "BAD"),
        (Bye, "BYE"),
        (Preauth, "PREAUTH"),
    ] {
        assert_eq!(
            plain(Protocol::Imap, &Event::Command(Masked::by_hand(&command(1, Verb::Noop, status, 0))))["status"],
            word
        );
    }
}

#[test]
fn an_attempt_and_an_anomaly() {
    insta::assert_json_snapshot!(
        "attempt",
        plain(Protocol::Smtp, &Event::Auth(Masked::by_hand(&auth(AuthOutcome::Success))))
    );
    insta::assert_json_snapshot!("anomaly", plain(Protocol::Smtp, &Event::Anomaly(Masked::by_hand(&anomaly()))));
    let mut bare = anomaly();
    (bare.state, bare.variant, bare.transaction, bare.evidence, bare.tag) =
        (None, "", None, Text::default(), Text::default());
    let r = plain(Protocol::Smtp, &Event::Anomaly(Masked::by_hand(&bare)));
    for absent in ["state", "variant", "transaction", "evidence", "tag"] {
        assert_eq!(r.get(absent), None, "{absent}");
    }
}

#[test]
fn a_failed_identity_is_a_digest_or_nothing() {
    let failed = auth(AuthOutcome::Failed);
    let identity = |policy, auth: &Auth| {
        record(policy, Protocol::Smtp, &Event::Auth(Masked::by_hand(auth))).get("identity").cloned()
    };
    // python3: hmac.new(b"key", b"ann@example.org", "sha256").hexdigest()
    let digest = Some(json!("hmac:5a4f36ffabc9a58129802d45c8d9fbf4e051c142c935ab6416dfd63e19778361"));
    assert_eq!(identity(Policy::default(), &failed), None, "no key");
    assert_eq!(identity(keyed(IdentityPolicy::Full), &failed), digest);
    assert_eq!(identity(keyed(IdentityPolicy::Hmac), &auth(AuthOutcome::Success)), digest);
    assert_eq!(identity(keyed(IdentityPolicy::None), &auth(AuthOutcome::Success)), None);
    let clear = Some(json!("ann@example.org"));
    assert_eq!(identity(Policy::default(), &Auth { identity_proven: true, ..auth(AuthOutcome::Failed) }), clear);
    assert_eq!(identity(Policy { identity_failed: FailedIdentity::Full, ..Policy::default() }, &failed), clear);
    for outcome in AuthOutcome::ALL.iter().filter(|o| **o != AuthOutcome::Success) {
        assert_eq!(identity(Policy::default(), &auth(*outcome)), None, "{outcome:?} proves nothing");
    }
}

#[test]
fn the_policy_holds_for_every_identity() {
    let mut s = full_summary();
    let session = |policy, s: &Summary| {
        record(policy, Protocol::Smtp, &Event::End(Masked::by_hand(s)))["auth"].get("identity").cloned()
    };
    assert_eq!(session(keyed(IdentityPolicy::None), &s), None);
    assert_eq!(session(Policy::default(), &s), Some(json!("ann@example.org")));
    s.auth.outcome = Some(AuthOutcome::Failed);
    assert_eq!(session(Policy::default(), &s), None);
    let of = |policy| {
        record(policy, Protocol::Smtp, &Event::Transaction(Masked::by_hand(&delivery()))).get("identity").cloned()
    };
    assert_eq!(of(keyed(IdentityPolicy::None)), None);
    assert!(of(keyed(IdentityPolicy::Hmac)).unwrap().as_str().unwrap().starts_with("hmac:"));
    assert_eq!(of(Policy::default()), Some(json!("ann@example.org")));
}

#[test]
fn the_key_is_never_shown() {
    let policy = Policy { key: Some(b"s3cret".to_vec()), ..Policy::default() };
    let shown = format!("{policy:?} {:?}", RecordWriter::new(Arc::new(policy.clone())));
    assert!(!shown.contains("s3cret") && !shown.contains("115, 51"), "{shown}");
}

#[test]
fn the_envelope_is_not_the_header() {
    let event = delivery();
    let r = record(
        Policy { detail: Detail::Envelope, ..Policy::default() },
        Protocol::Smtp,
        &Event::Transaction(Masked::by_hand(&event)),
    );
    for absent in ["subject", "from", "to", "cc", "reply_to"] {
        assert_eq!(r["message"].get(absent), None, "{absent}");
    }
    assert_eq!(r["message"]["from_domain"], "example.org");
    let r = plain(Protocol::Smtp, &Event::Transaction(Masked::by_hand(&event)));
    assert_eq!((&r["message"]["subject"], &r["message"]["to"]), (&json!("hello"), &json!("bob@example.net")));
}

#[test]
fn octets_that_are_no_utf8_are_latin1_with_the_exact_beside() {
    let mut s = full_summary();
    s.helo = text(b"caf\xe9\n\"");
    s.capabilities = list(&[b"OK", b"\xff"]);
    s.auth.identity = text(b"\xc3\x28");
    let r = plain(Protocol::Smtp, &Event::End(Masked::by_hand(&s)));
    assert_eq!((&r["helo"], &r["helo_b64"]), (&json!("café\n\""), &json!("Y2Fm6Qoi")));
    assert_eq!((&r["capabilities"], &r["capabilities_b64"]), (&json!(["OK", "ÿ"]), &json!(["T0s=", "/w=="])));
    assert_eq!((&r["auth"]["identity"], &r["auth"]["identity_b64"]), (&json!("Ã("), &json!("wyg=")));

    let mut t = transaction(TransactionKind::Delivery, TransactionOutcome::Accepted);
    t.mail_param(b"AUTH", Some(b"\xfe"));
    t.mail_param(b"BODY", Some("ü".as_bytes()));
    t.mail_param(b"AUTH", Some(b"second"));
    t.recipient(b"\xe9@x", 250, None);
    let r = plain(Protocol::Smtp, &Event::Transaction(Masked::by_hand(&t)));
    assert_eq!(r["esmtp"], json!({"AUTH": "þ", "AUTH_b64": "/g==", "BODY": "ü"}));
    assert_eq!(
        (&r["recipients"][0]["forward_path"], &r["recipients"][0]["forward_path_b64"]),
        (&json!("é@x"), &json!("6UB4"))
    );
}

#[test]
fn no_member_stands_twice() {
    let mut writer = RecordWriter::new(Arc::new(keyed(IdentityPolicy::Full)));
    writer.event(&context(Protocol::Smtp), at(0), &Event::End(Masked::by_hand(&full_summary())));
    writer.event(&context(Protocol::Smtp), at(0), &Event::Transaction(Masked::by_hand(&delivery())));
    writer.event(&context(Protocol::Imap), at(0), &Event::Command(Masked::by_hand(&imap_command())));
    for line in writer.bytes().split_inclusive(|b| *b == b'\n') {
        let again = serde_json::to_vec(&serde_json::from_slice::<Value>(line).unwrap()).unwrap();
        let quotes = |octets: &[u8]| octets.iter().filter(|b| **b == b'"').count();
        assert_eq!(quotes(&again), quotes(line), "a member was lost in reading");
    }
}

#[test]
fn only_what_is_asked_for_is_written_and_counted() {
    let records = RecordSet::ALL.without(RecordKind::Command).without(RecordKind::Anomaly);
    let mut writer = RecordWriter::new(Arc::new(Policy { records, ..Policy::default() }));
    let context = context(Protocol::Smtp);
    writer.event(&context, at(0), &Event::Greeting(Masked::by_hand(&Greeting::default())));
    writer.event(&context, at(0), &Event::Command(Masked::by_hand(&command(1, Verb::Noop, Status::Code(250), 1))));
    writer.event(&context, at(0), &Event::Auth(Masked::by_hand(&auth(AuthOutcome::Success))));
    writer.event(&context, at(0), &Event::Body { number: 1, octets: b"secret body" });
    writer.event(&context, at(0), &Event::Transaction(Masked::by_hand(&delivery())));
    writer.event(&context, at(0), &Event::Anomaly(Masked::by_hand(&anomaly())));
    writer.event(&context, at(0), &Event::End(Masked::by_hand(&full_summary())));
    assert_valid(writer.bytes());
    assert_eq!(writer.counts(), [1, 1, 0, 1, 0]);
    let kinds: Vec<Value> = writer
        .bytes()
        .split(|b| *b == b'\n')
        .filter_map(|l| serde_json::from_slice::<Value>(l).ok())
        .map(|r| r["record"].clone())
        .collect();
    assert_eq!(kinds, ["auth", "transaction", "session"]);
    writer.clear();
    assert!(writer.bytes().is_empty());
    assert_eq!(writer.counts(), [1, 1, 0, 1, 0]);
    assert!(RecordSet::NONE.with(RecordKind::Auth).has(RecordKind::Auth) && !RecordSet::NONE.has(RecordKind::Auth));
}

#[test]
fn a_thousand_parameters_cost_no_more_than_their_number() {
    let mut t = transaction(TransactionKind::Delivery, TransactionOutcome::Accepted);
    for n in 0..4000u32 {
        t.mail_param(format!("K{}", n % 2000).as_bytes(), None);
    }
    let r = plain(Protocol::Smtp, &Event::Transaction(Masked::by_hand(&t)));
    assert_eq!(r["esmtp"].as_object().unwrap().len(), 2000);
}

/// `cargo test --release --lib records_per_second -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn records_per_second() {
    let mut writer = RecordWriter::new(Arc::new(Policy::default()));
    let (context, command) = (context(Protocol::Smtp), command(7, Verb::Noop, Status::Code(250), 3));
    let (began, rounds, mut octets) = (std::time::Instant::now(), 2_000_000u32, 0);
    for _ in 0..rounds {
        writer.event(&context, at(0), &Event::Command(Masked::by_hand(&command)));
        octets += writer.bytes().len();
        writer.clear();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{:.2} M records/s, {:.0} MB/s", f64::from(rounds) / seconds / 1e6, octets as f64 / seconds / 1e6);
    assert_eq!(writer.counts()[RecordKind::Command.index()], u64::from(rounds));
}

//! Dialogues give the records that they must give, however their octets are cut, and no secret leaves.
//!
//! Each dialogue is played to a [`Session`] and, as TCP segments, to a [`FlowTable`]: as listed, octet by octet, merged, with
//! every segment twice, and out of order. `DIALOGUE=part-of-a-title` plays some only and shows their records.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may be blunt; clippy knows only those inside #[test]"
)]
#![allow(missing_docs, unreachable_pub, reason = "parts of a test")]

#[path = "common/dialogue.rs"]
mod dialogue;
#[path = "common/expect.rs"]
mod expect;
#[path = "common/frames.rs"]
mod frames;
#[path = "common/leaks.rs"]
mod leaks;
#[path = "common/play.rs"]
mod play;
#[path = "common/schema.rs"]
mod schema;

use dialogue::Dialogue;
use mailtap::output::InputKind;
use mailtap::output::metrics::{FAMILIES, Inputs, Metrics, MetricsRecorder, Setup};
use play::{Cut, Family};
use serde_json::Value;

/// What may differ between two captures of one conversation: times, and what follows from where segments end.
const UNSTABLE: [&str; 12] = [
    "ts",
    "end",
    "duration",
    "latency",
    "service_latency",
    "coalesced",
    "delay",
    "timing",
    "packets",
    "session",
    "source",
    "input",
];

#[test]
fn smtp() {
    check(include_str!("dialogues/smtp.txt"), "smtp");
}

#[test]
fn smtp_lenient() {
    check(include_str!("dialogues/smtp-lenient.txt"), "smtp");
}

#[test]
fn smtp_loss() {
    check(include_str!("dialogues/smtp-loss.txt"), "smtp");
}

#[test]
fn lmtp() {
    check(include_str!("dialogues/lmtp.txt"), "lmtp");
}

#[test]
fn pop3() {
    check(include_str!("dialogues/pop3.txt"), "pop3");
}

#[test]
fn imap() {
    check(include_str!("dialogues/imap.txt"), "imap");
}

#[test]
fn identification() {
    check(include_str!("dialogues/identification.txt"), "other");
}

/// Law 3 for metrics: what is no time, and no fact of packets, is counted the same however a conversation comes.
fn counted(dialogues: &[Dialogue]) {
    let ways: [(&str, &dyn Fn(&Dialogue, &mut MetricsRecorder)); 4] = [
        ("session", &|d, out| play::session_to(d, Cut::Listed, out)),
        ("session, octet by octet", &|d, out| play::session_to(d, Cut::Octets, out)),
        ("capture", &|d, out| play::capture_to(d, Cut::Listed, Family::V4, out)),
        ("capture, merged", &|d, out| play::capture_to(d, Cut::Merged, Family::V6, out)),
    ];
    let texts = ways.map(|(way, play)| {
        let metrics = Metrics::new(Setup::new(InputKind::File, ["dialogue"])).unwrap();
        let mut recorder = metrics.recorder();
        dialogues.iter().for_each(|dialogue| play(dialogue, &mut recorder));
        let text = String::from_utf8(metrics.render()).unwrap();
        let of_all = |line: &&str| {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let all = FAMILIES.iter().filter(|f| f.inputs == Inputs::All);
            let timed = name.contains("_seconds") || name.contains("_unobserved") || name.contains("_connect_errors");
            !timed && all.into_iter().any(|f| name.starts_with(f.name))
        };
        (way, text.lines().filter(of_all).map(str::to_owned).collect::<Vec<_>>())
    });
    let [(_, first), others @ ..] = texts;
    assert!(first.iter().filter(|line| !line.ends_with(" 0")).count() > 20, "something is counted");
    for (way, other) in others {
        let differ = first.iter().filter(|l| !other.contains(l)).chain(other.iter().filter(|l| !first.contains(l)));
        assert!(first == other, "{way}: {:#?}", differ.collect::<Vec<_>>());
    }
}

fn check(text: &str, server: &str) {
    let only = std::env::var("DIALOGUE").ok();
    let dialogues = dialogue::parse(text, server);
    if only.is_none() {
        counted(&dialogues);
    }
    let (mut failed, mut report, mut all) = (0, String::new(), Vec::new());
    for dialogue in &dialogues {
        if only.as_ref().is_some_and(|part| !dialogue.title.contains(part.as_str())) {
            continue;
        }
        let (wrong, log) = judge(dialogue);
        if only.is_some() {
            report.push_str(&String::from_utf8_lossy(&log));
        }
        all.extend(log);
        if !wrong.is_empty() {
            failed += 1;
            report.push_str(&format!("\n* {}\n    {}\n", dialogue.title, wrong.join("\n    ")));
        }
    }
    let invalid = schema::violations(mailtap::output::schema(), &all);
    assert!(
        failed == 0 && invalid.is_empty(),
        "{failed} of {} dialogues fail\n{report}\n{}",
        dialogues.len(),
        invalid.join("\n")
    );
    assert!(only.is_none(), "asked for: {report}");
}

/// What is wrong with what comes of `dialogue`, and the log of one way to play it.
fn judge(dialogue: &Dialogue) -> (Vec<String>, Vec<u8>) {
    let first = play::session(dialogue, Cut::Listed);
    let stable = records(dialogue, &first, true);
    let mut wrong = expect::differences(&dialogue.expected, &records(dialogue, &first, false));
    let mut ways = vec![
        ("session, octet by octet", play::session(dialogue, Cut::Octets)),
        ("session, merged", play::session(dialogue, Cut::Merged)),
        ("capture", play::capture(dialogue, Cut::Listed, Family::V4)),
        ("capture, octet by octet", play::capture(dialogue, Cut::Octets, Family::V4)),
        ("capture, merged", play::capture(dialogue, Cut::Merged, Family::V4)),
    ];
    if dialogue.is_complete() {
        ways.push(("capture, every segment twice", play::capture(dialogue, Cut::Twice, Family::V4)));
        ways.push(("capture, out of order", play::capture(dialogue, Cut::Disorder, Family::V4)));
    }
    for (name, log) in &ways {
        let others = records(dialogue, log, true);
        if others != stable {
            wrong.push(format!("{name}: {}", first_difference(&stable, &others)));
        }
    }
    let six = play::capture(dialogue, Cut::Listed, Family::V6);
    let differences = expect::differences(&dialogue.expected, &records(dialogue, &six, false));
    if wrong.is_empty() {
        wrong.extend(differences.iter().map(|d| format!("IPv6: {d}")));
    }
    ways.push(("session", first.clone()));
    for secret in &dialogue.secrets {
        for (name, log) in &ways {
            let leaks = leaks::leaks(secret.as_bytes(), log);
            wrong.extend(leaks.iter().map(|form| format!("LEAK of {secret} ({form}) in {name}")));
        }
    }
    (wrong, first)
}

/// The records of the dialogue's own connection; without what is unstable if asked for.
fn records(dialogue: &Dialogue, log: &[u8], stable: bool) -> Vec<Value> {
    let parse = |line: &[u8]| serde_json::from_slice::<Value>(line).expect("a record is JSON");
    let lines = log.split(|o| *o == b'\n').filter(|line| !line.is_empty());
    let own = |record: &Value| {
        let ends = [&record["client"]["port"], &record["server"]["port"]];
        ends.iter().any(|port| **port == play::CLIENT_PORT) && ends.iter().any(|port| **port == dialogue.port)
    };
    let mut records = lines.map(parse).filter(own).collect::<Vec<_>>();
    if stable {
        records.iter_mut().for_each(stabilise);
    }
    records
}

fn stabilise(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !UNSTABLE.contains(&name.as_str()));
            members.values_mut().for_each(stabilise);
        }
        Value::Array(elements) => elements.iter_mut().for_each(stabilise),
        _ => {}
    }
}

fn first_difference(ours: &[Value], theirs: &[Value]) -> String {
    let pair = ours.iter().zip(theirs).find(|(a, b)| a != b);
    pair.map_or_else(
        || format!("{} records, not {}", theirs.len(), ours.len()),
        |(ours, theirs)| format!("{theirs}\n      not {ours}"),
    )
}

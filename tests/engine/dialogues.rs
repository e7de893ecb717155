//! Dialogues give the records that they must give, however their octets are cut, and no secret leaves.
//!
//! Each dialogue is played to a [`Session`] and, as TCP segments, to a [`FlowTable`]: as listed, octet by octet, merged, with
//! every segment twice, and out of order. `DIALOGUE=part-of-a-title` plays some only and shows their records.

use std::path::Path;

use mailtap::event::{Context, Event, Sink};
use mailtap::output::InputKind;
use mailtap::output::metrics::{FAMILIES, FamilyInputs, Metrics, MetricsRecorder, MetricsSetup};
use mailtap::time::Timestamp;
use serde_json::Value;

use crate::dialogue::damage::{self, Case, Mode};
use crate::dialogue::play::{self, Cut, Family};
use crate::dialogue::{self, Dialogue, expect};
use crate::{credentials, leaks, schema};

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

/// A test for each file of dialogues, with the server it is of, and one that none is left out.
macro_rules! files {
    ($($name:ident of $server:literal,)+) => {
        $(#[test]
        fn $name() {
            check(include_str!(concat!("../dialogues/", stringify!($name), ".txt")), $server);
        })+

        /// The text of each file, and the server it is of.
        const FILES: &[(&str, &str)] =
            &[$((include_str!(concat!("../dialogues/", stringify!($name), ".txt")), $server)),+];

        #[test]
        fn every_file_is_played() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
            let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let played = [$(concat!(stringify!($name), ".txt")),+];
            let left_out = files.filter(|file| !played.iter().any(|name| file == *name)).collect::<Vec<_>>();
            assert!(left_out.is_empty(), "no test plays {left_out:?}");
        }
    };
}

files! {
    conversations of "smtp",
    identification of "other",
    identification_lenient of "other",
    imap of "imap",
    imap_lenient of "imap",
    imap_loss of "imap",
    lmtp of "lmtp",
    notices of "imap",
    pop3 of "pop3",
    pop3_lenient of "pop3",
    secrets of "smtp",
    smtp of "smtp",
    smtp_lenient of "smtp",
    smtp_loss of "smtp",
}

/// All dialogues that hold every byte of both sides, with the records that come of them.
fn whole_dialogues() -> Vec<(Dialogue, Vec<Value>)> {
    let only = std::env::var("DIALOGUE").ok();
    let all = FILES.iter().flat_map(|(text, server)| dialogue::parse(text, server));
    let all = all.filter(|d| d.is_complete() && only.as_ref().is_none_or(|part| d.title.contains(part.as_str())));
    let with_records = all.map(|dialogue| {
        let log = play::capture(&dialogue, Cut::Listed, Family::V4);
        let records = records(&dialogue, &log, false);
        (dialogue, records)
    });
    // What is incomplete already is no measure.
    with_records.filter(|(_, records)| records.iter().all(|record| record.get("incomplete").is_none())).collect()
}

/// Every `of`th damaged capture, or all of them with `DAMAGE=all`; what `judge` says of each.
fn damaged(modes: &[Mode], of: usize, judge: impl Fn(&Dialogue, &Case, &[Value], &[Value]) -> Vec<String>) {
    let all = std::env::var("DAMAGE").is_ok_and(|what| what == "all");
    let step = if all || std::env::var("DIALOGUE").is_ok() { 1 } else { of };
    let (mut cases, mut failed, mut report) = (0, 0, String::new());
    for (dialogue, whole) in whole_dialogues() {
        // From the title, so that a new dialogue does not change which cases of the others are run.
        let mut count = dialogue.title.bytes().map(usize::from).sum::<usize>();
        for mode in modes {
            for case in damage::cases(&dialogue, *mode) {
                count += 1;
                if count % step != 0 {
                    continue;
                }
                cases += 1;
                let found = records(&dialogue, &play::replay(&case.frames), false);
                if let Some(fault) = judge(&dialogue, &case, &found, &whole).first() {
                    failed += 1;
                    report.push_str(&format!("{} {:?} {}: {fault}\n", dialogue.title, case.mode, case.place));
                }
            }
        }
    }
    assert!(cases > 0 && failed == 0, "{failed} of {cases} damaged captures:\n{report}");
}

/// Law 2: packets of the two directions in another order give the same records.
#[test]
fn another_order_of_packets_changes_no_record() {
    damaged(&[Mode::Swap, Mode::Skew], 5, |_, _, found, whole| {
        let steady = |records: &[Value]| {
            let mut records = records.to_vec();
            records.iter_mut().for_each(stabilise);
            // Whether commands were pipelined is a matter of times.
            records.iter_mut().filter_map(Value::as_object_mut).for_each(|record| _ = record.remove("pipelined"));
            records
        };
        let (found, whole) = (steady(found), steady(whole));
        if found == whole { Vec::new() } else { vec![first_difference(&whole, &found)] }
    });
}

/// Dialogues of which the rest, once a packet is lost, has no one right reading: it is taken for what it usually is.
const MISREAD_UNDER_LOSS: &[&str] = &[
    // Behind an exchange of roles that was not seen, nothing tells who connected.
    "ATRN swaps the roles",
    // Words of four letters are Base64 and commands: without the challenge before them they are taken for commands.
    "Base64 words that look like commands are still answers",
    "an answer to a challenge that looks like a command, and a client out of step",
    // A client that sends its password once more behind a success answers a challenge that was lost, as far as can be seen;
    // and to one that answers a challenge nobody asked for, only that challenge says so.
    "SMTP: data behind the success, and a challenge that nobody asked for",
    // The bytes that XEXCH50 brings are lines of any form: without their count they are taken for commands.
    "XEXCH50 takes octets",
    // Smuggling: what the server took for the end of the message shows in its replies alone.
    "a dot between LF and CRLF ends nothing",
    "a server that took a dot between LF and CRLF for the end",
    // A nested MAIL whose reply is lost: servers refuse it (Postfix) or begin anew (qmail), and all that follows fits both.
    "a second MAIL that is taken begins anew",
    // That the server hung up on a web request, and read no line behind it, is in the reply that is lost.
    "a web request at the mail port",
    // Where the capture begins at it, a line that is no reply and a list that does not end look like a message.
    "a list without its terminator, after a line that is no reply",
    // Other protocols at a port of mail: of the middle, and of the greeting alone, only the port tells anything.
    "FTP at the port of mail",
    "memcached at the POP3 port",
    "the same at the IMAP port",
];

/// Law 9: loss never lies. Attacks have no one right reading once something is lost.
#[test]
fn loss_invents_nothing() {
    damaged(&[Mode::Drop, Mode::Cut, Mode::Start, Mode::End], 23, |dialogue, case, found, whole| {
        let attack = ["smuggl", "inject"].iter().any(|word| dialogue.title.to_ascii_lowercase().contains(word));
        let attack = attack || whole.iter().any(|record| record["record"] == "anomaly");
        let misread = MISREAD_UNDER_LOSS.contains(&dialogue.title.as_str());
        if attack || misread { Vec::new() } else { damage::inventions(case.mode, case.shows, found, whole) }
    });
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
        let metrics = Metrics::new(MetricsSetup::new(InputKind::File, ["dialogue"])).unwrap();
        let mut recorder = metrics.recorder();
        let cut = dialogues.iter().filter(|dialogue| !dialogue.is_cut_as_listed());
        cut.for_each(|dialogue| play(dialogue, &mut recorder));
        let text = String::from_utf8(metrics.render()).unwrap();
        let of_all = |line: &&str| {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let all = FAMILIES.iter().filter(|f| f.inputs == FamilyInputs::All);
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
    let mut ways = vec![("capture", play::capture(dialogue, Cut::Listed, Family::V4))];
    if !dialogue.is_cut_as_listed() {
        ways.push(("session, octet by octet", play::session(dialogue, Cut::Octets)));
        ways.push(("session, merged", play::session(dialogue, Cut::Merged)));
        ways.push(("capture, octet by octet", play::capture(dialogue, Cut::Octets, Family::V4)));
        ways.push(("capture, merged", play::capture(dialogue, Cut::Merged, Family::V4)));
    }
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
    let mut shown = Shown::default();
    play::session_to(dialogue, Cut::Listed, &mut shown);
    ways.push(("what events show of themselves", shown.0));
    for secret in secrets_of(dialogue) {
        for (name, log) in &ways {
            let leaks = leaks::leaks(&secret, log);
            let secret = String::from_utf8_lossy(&secret);
            wrong.extend(leaks.iter().map(|form| format!("LEAK of {secret} ({form}) in {name}")));
        }
    }
    (wrong, first)
}

/// What the dialogue says is secret, and the credentials that its client sends.
fn secrets_of(dialogue: &Dialogue) -> Vec<Vec<u8>> {
    let sent = dialogue.steps.iter().filter_map(|step| match step {
        dialogue::Step::Data(dialogue::Side::Client, octets) => Some(octets.as_slice()),
        _ => None,
    });
    let sent = sent.collect::<Vec<_>>().concat();
    let lines = sent.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
    let mut secrets = credentials::credentials(&lines.collect::<Vec<_>>());
    secrets.extend(dialogue.secrets.iter().map(|secret| secret.as_bytes().to_vec()));
    secrets.sort();
    secrets.dedup();
    secrets
}

/// The `Debug` of every event but the octets of messages.
#[derive(Default)]
struct Shown(Vec<u8>);

impl Sink for Shown {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        if !matches!(event, Event::Body { .. }) {
            self.0.extend(format!("{event:?}\n").bytes());
        }
    }
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

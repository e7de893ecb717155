//! The log of a generated capture adds up to what the generator says it wrote.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::capture::{Options, generate};
use crate::support::totals::Counts;
use crate::support::{Profile, Totals};

const SIZE: u64 = 4 << 20;

/// Generates, analyzes, and compares; `disorder` as in [`Options`].
fn check(profile: Profile, disorder: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (capture, log) = (dir.path().join("capture.pcap"), dir.path().join("log.jsonl"));
    let options = Options { flows: 16, disorder, ..Options::new(profile, SIZE) };
    let mut file = std::fs::File::create(&capture).expect("a file");
    let said = generate(&options, &mut file).expect("a capture");
    assert!(said.file >= SIZE && said.payload > SIZE / 2, "a capture of the size asked for: {said:?}");
    drop(file);
    assert_cmd::Command::cargo_bin("mailtap")
        .expect("the program")
        .args(["analyze", "--quiet", "--log"])
        .arg(&log)
        .arg(&capture)
        .assert()
        .success();
    assert_eq!(counts(&log), said.protocols, "{} with disorder {disorder}", profile.as_str());
}

/// Counts of a log, in the way of [`Totals`].
fn counts(log: &Path) -> BTreeMap<&'static str, Counts> {
    let text = std::fs::read_to_string(log).expect("a log");
    let mut totals = Totals::default();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("a JSON object a line");
        assert!(record.get("incomplete").is_none(), "nothing was lost: {line}");
        let known = ["smtp", "lmtp", "pop3", "imap"];
        let protocol = known.into_iter().find(|p| record["protocol"] == *p);
        let protocol = protocol.unwrap_or_else(|| panic!("a protocol that was spoken: {line}"));
        let counts = totals.of(protocol);
        match record["record"].as_str() {
            Some("session") => {
                counts.sessions += 1;
                counts.encrypted += u64::from(record["outcome"] == "encrypted");
            }
            Some("command") => counts.commands += 1,
            Some("auth") => counts.authenticated += u64::from(record["outcome"] == "success"),
            Some("transaction") => transaction(&record, counts),
            _ => panic!("nothing here is odd: {line}"),
        }
    }
    totals.protocols
}

fn transaction(record: &Value, counts: &mut Counts) {
    let size = record["message"]["size"].as_u64().unwrap_or(0);
    counts.recipients += record["recipients_total"].as_u64().unwrap_or(0);
    let whole = record.get("section").is_none_or(|s| s == "") && record.get("origin").is_none();
    let known = ["accepted", "partial", "rejected_temporary", "rejected_permanent", "aborted", "complete"];
    let outcome = known.into_iter().find(|o| record["outcome"] == *o);
    let outcome = outcome.unwrap_or_else(|| panic!("an outcome that was said: {record}"));
    if whole {
        counts.transaction(outcome, size as usize);
    } else if record.get("origin").is_some() {
        counts.partial_octets += size;
    }
}

#[test]
fn smtp_adds_up() {
    check(Profile::Smtp, 0);
}

#[test]
fn imap_adds_up() {
    check(Profile::Imap, 0);
}

#[test]
fn pop3_adds_up() {
    check(Profile::Pop3, 0);
}

#[test]
fn all_protocols_at_once_add_up() {
    check(Profile::Mixed, 0);
}

#[test]
fn retransmissions_and_reordering_change_nothing() {
    for profile in Profile::ALL {
        check(profile, 20_000);
    }
}

#[test]
fn a_seed_means_the_same_capture() {
    let options = Options::new(Profile::Mixed, 1 << 20);
    let (mut one, mut two, mut other) = (Vec::new(), Vec::new(), Vec::new());
    let said = generate(&options, &mut one).expect("memory");
    assert_eq!(generate(&options, &mut two).expect("memory"), said);
    assert!(one == two, "the same octets");
    generate(&Options { seed: 2, ..options }, &mut other).expect("memory");
    assert!(one != other, "other octets");
}

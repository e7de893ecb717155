//! No secret of the sample captures is in any output: not in the log, the summary, or what is said at the highest verbosity, not
//! on the page and in the top lists; not in clear, and not in an encoding.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use mailtap::capture::{Capture, FileOrder};
use mailtap::event::{Context, Event, Sink};
use mailtap::output::page::{Cursor, PageState, Show, session_id};
use mailtap::output::{EventFanout, FailedIdentity, InputKind, Policy, TopCollector, TopFile, TopState};
use mailtap::pipeline::flow::FlowLimits;
use mailtap::pipeline::{RecordSink, Setup, run};
use mailtap::time::Timestamp;
use mailtap::wire::DecoderLimits;
use serde_json::Value;

use crate::{captures, leaks};

/// What must not be seen: the lines of `samples/SECRETS`, and what those in Base64 stand for.
fn secrets() -> BTreeSet<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/SECRETS");
    let text = std::fs::read_to_string(path).expect("samples/SECRETS");
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.as_bytes().to_vec())
        .collect::<BTreeSet<_>>();
    // Prompts such as `Password:` are words of the language.
    let decoded = lines.iter().filter_map(|line| BASE64.decode(line).ok()).filter(|octets| octets.len() > 12);
    lines.clone().into_iter().chain(decoded).collect()
}

/// Everything the program says about all samples when run with `args`.
fn outputs(args: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = dir.path().join("log.jsonl");
    let output = assert_cmd::Command::cargo_bin("mailtap")
        .expect("the program")
        .env("MAILTAP_LOG", "trace")
        .arg("analyze")
        .args(args)
        .arg("--log")
        .arg(&log)
        .arg("--metrics-file")
        .arg(dir.path().join("metrics"))
        .args(captures::of_samples())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = std::fs::read(&log).expect("a log");
    assert!(
        records.windows(9).any(|w| w == b"\"identity"),
        "the log tells of authentications, so there was something to hide"
    );
    let metrics = std::fs::read(dir.path().join("metrics")).expect("metrics");
    [records, metrics, output.stdout, output.stderr].concat()
}

fn check(args: &[&str]) {
    let (secrets, said) = (secrets(), outputs(args));
    assert!(secrets.len() > 50, "{} secrets are too few to be all", secrets.len());
    let found = secrets.iter().flat_map(|secret| {
        let text = String::from_utf8_lossy(secret).into_owned();
        leaks::leaks(secret, &said).into_iter().map(move |form| format!("{text} ({form})"))
    });
    assert_eq!(found.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn nothing_leaks_at_the_highest_verbosity() {
    check(&["-vvvv"]);
}

#[test]
fn nothing_leaks_with_every_identity_shown() {
    check(&["-v", "--identity", "full", "--identity-failed", "full", "--detail", "headers"]);
}

/// What events become on the page and in the top lists.
struct Shown(EventFanout);

impl Sink for Shown {
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>) {
        self.0.event(context, at, event);
    }
}

impl RecordSink for Shown {
    fn lines(&self) -> &[u8] {
        &[]
    }

    fn clear(&mut self) {
        self.0.flush();
    }
}

#[test]
fn nothing_leaks_on_the_page_or_in_the_top_lists() {
    let secrets = secrets();
    // Identities as the wire has them, those of failed attempts too, which may be mistyped passwords, are asked for.
    let policy = Policy { identity_failed: FailedIdentity::Full, ..Policy::default() };
    let top = Arc::new(TopState::new(InputKind::File, true));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (mut said, mut sessions) = (Vec::new(), 0);
    for path in captures::of_samples() {
        let show = Show { addresses: true, subjects: true };
        let page = Arc::new(PageState::new(InputKind::File, vec!["lo".into()], show, Arc::clone(&top)));
        let fanout = EventFanout::new(Arc::new(policy.clone()), None).with_page(page.recorder());
        let fanout = fanout.with_top(TopCollector::new(Arc::clone(&top), &policy));
        let sink = RefCell::new(Some(Shown(fanout)));
        let setup = Setup {
            threads: 1,
            limits: Arc::default(),
            flows: FlowLimits::default(),
            decoder: DecoderLimits::default(),
        };
        let capture = Capture::new(vec![path], FileOrder::default());
        let sink = || sink.take().expect("one thread");
        let outcome = run::<_, ()>(&capture, &setup, &mut |_| {}, &sink, &mut |_| Ok(()));
        drop(outcome);
        let mut told = Vec::new();
        page.tell(&mut Cursor::default(), &mut told);
        let all: Value = serde_json::from_slice(&told).expect("JSON");
        for session in all["sessions"].as_array().into_iter().flatten() {
            let id = session["id"].as_str().and_then(session_id).expect("an id");
            said.extend(page.session(id).expect("what it did"));
            sessions += 1;
        }
        said.extend(told);
    }
    let file = folder.path().join("top.json");
    TopFile::write(&file, &top).expect("a file");
    said.extend(std::fs::read(&file).expect("the lists"));
    let text = String::from_utf8_lossy(&said);
    assert!(
        sessions > 50 && text.contains("\"by\":\"logins\"") && text.contains("\"step\":\"AUTH\""),
        "much was shown"
    );
    let found = secrets.iter().filter(|secret| !leaks::leaks(secret, &said).is_empty());
    let found = found.map(|secret| String::from_utf8_lossy(secret).into_owned()).collect::<Vec<_>>();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_search_finds_every_form() {
    let secret = b"secret-of-ann";
    let forms: [&[u8]; 7] = [
        b"x secret-of-ann y",
        b"SECRET-of-ann",
        b"nna-fo-terces",
        b"7365637265742d6f662d616e6e",
        b"%73%65%63%72%65%74%2D%6F%66%2D%61%6E%6E",
        b"AGFubgBzZWNyZXQtb2YtYW5u",
        b"c2VjcmV0LW9mLWFubg==",
    ];
    for form in forms {
        assert!(!leaks::leaks(secret, form).is_empty(), "{}", String::from_utf8_lossy(form));
    }
    for before in 0..6 {
        let text = BASE64.encode(&[&vec![b'x'; before], secret.as_slice(), b"yy"].concat());
        assert_eq!(leaks::leaks(secret, text.as_bytes()), ["base64"], "{before} octets before it");
    }
    assert!(leaks::leaks(secret, b"secret of ann, c2VjcmV0").is_empty());
}

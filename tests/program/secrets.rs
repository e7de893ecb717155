//! No secret of the sample captures is in any output: not in the log, the summary, or what is said at the highest verbosity;
//! not in clear, and not in an encoding.

use std::collections::BTreeSet;
use std::path::Path;

use data_encoding::BASE64;

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

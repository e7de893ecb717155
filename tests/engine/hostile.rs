//! What peers write reaches the outputs as text and as nothing else: no label of a metric holds it, and no record is more or
//! less than a line of JSON.

use std::net::SocketAddr;
use std::sync::Arc;

use mailtap::engine::{Limits, Session};
use mailtap::event::{Dir, End, Input, Peers, Sink};
use mailtap::output::metrics::{Metrics, MetricsSetup};
use mailtap::output::{InputKind, Policy, RecordWriter};
use mailtap::time::Timestamp;

const C: Dir = Dir::ToServer;
const S: Dir = Dir::ToClient;

/// What breaks out of quotes, lines, terminals and reading order.
const EVIL: [&str; 6] = [
    "EVIL\"} 1",
    "EVIL\\\"\\",
    "EVIL\u{1b}[31m\u{7f}\0",
    "EVIL\u{202e}\u{2028}\u{85}",
    "EVIL\u{feff}{le=\"1\"}",
    "EVIL<script>&amp;",
];

/// A session of each protocol with `word` wherever a peer may write one.
fn sessions(word: &str) -> Vec<(u16, Vec<(Dir, String)>)> {
    let c = |line: String| (C, format!("{line}\r\n"));
    let s = |line: String| (S, format!("{line}\r\n"));
    let smtp = vec![
        s(format!("220 {word}")),
        c(format!("EHLO {word}")),
        s(format!("250-{word}\r\n250-AUTH {word} PLAIN\r\n250 X{word}=1")),
        c(format!("AUTH {word}")),
        s(format!("504 5.5.4 {word}")),
        c(format!("X{word} y")),
        s(format!("599 {word}")),
        c(format!("MAIL FROM:<{word}@x.org> {word}={word} X=1")),
        s(format!("250 2.9.9 {word}")),
        c(format!("RCPT TO:<{word}> {word}")),
        s(format!("250 {word}")),
        c("DATA".into()),
        s("354 go".into()),
        c(format!("Subject: {word}\r\nFrom: {word}\r\nContent-Type: {word}/{word}; name={word}\r\n\r\n{word}\r\n.")),
        s(format!("250 queued as {word}")),
        s(format!("421 {word}")),
    ];
    let pop3 = vec![
        s(format!("+OK {word}")),
        c(format!("{word} {word}")),
        s(format!("-ERR [{word}] {word}")),
        c("CAPA".into()),
        s(format!("+OK {word}\r\n{word}\r\n.")),
        c(format!("USER {word}")),
        s(format!("+OK {word}")),
        c("PASS hunter2".into()),
        s(format!("+OK {word}")),
        c(format!("XTND {word}")),
        s(format!("-ERR {word}")),
    ];
    let imap = vec![
        s(format!("* OK [CAPABILITY IMAP4rev1 {word} AUTH={word}] {word}")),
        c(format!("a ID (\"name\" \"{word}\" \"{word}\" \"x\")")),
        s(format!("* ID (\"name\" \"{word}\")\r\n* {word} {word}\r\n* 7 {word}\r\na OK [{word}] {word}")),
        c(format!("b AUTHENTICATE {word}")),
        s(format!("b NO [{word}] {word}")),
        c("c LOGIN ann hunter2".into()),
        s("c OK in".into()),
        c(format!("d SELECT {{{}+}}\r\n{word}", word.len())),
        s(format!("* OK [{word}] {word}\r\nd OK [{word}] {word}")),
        c(format!("e {word} x")),
        s(format!("e BAD {word}")),
        s(format!("* NO [ALERT] {word}\r\n* BYE [{word}] {word}")),
    ];
    vec![(25, smtp), (110, pop3), (143, imap)]
}

fn play(word: &str, number: u64, out: &mut dyn Sink) {
    let at = Timestamp::from_parts(1_780_000_000, 0);
    for (port, turns) in sessions(word) {
        let peers = Peers {
            client: SocketAddr::from(([203, 0, 113, 10], 50_000)),
            server: SocketAddr::from(([198, 51, 100, 25], port)),
            established: Some(at),
            roles_certain: true,
            source: 0,
            ordinal: 0,
        };
        let mut session = Session::new(at, number, peers, Arc::new(Limits::default()));
        for (dir, text) in turns {
            session.handle(at, dir, Input::Data(text.as_bytes()), out);
        }
        session.finish(at, End::CaptureEnd, out);
    }
}

/// The metrics after sessions with each of `words`, of a listener whose name is odd too.
fn metrics(words: &[String]) -> String {
    let metrics = Metrics::new(MetricsSetup::new(InputKind::Live, ["odd\"\\\nname"])).unwrap();
    let mut recorder = metrics.recorder();
    for (number, word) in words.iter().enumerate() {
        play(word, number as u64, &mut recorder);
    }
    drop(recorder);
    String::from_utf8(metrics.render()).unwrap()
}

/// Takes a line of the text format apart: the name, then the values of its labels.
fn values(line: &str) -> Vec<String> {
    let Some((name, rest)) = line.split_once('{') else {
        assert_eq!(line.split(' ').count(), 2, "{line}");
        return Vec::new();
    };
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
    let (mut values, mut rest) = (Vec::new(), rest);
    while let Some((label, behind)) = rest.split_once("=\"") {
        assert!(label.trim_start_matches(',').chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        let end = (0..behind.len()).find(|at| {
            let escapes = behind[..*at].bytes().rev().take_while(|byte| *byte == b'\\').count();
            behind.as_bytes()[*at] == b'"' && escapes % 2 == 0
        });
        values.push(behind[..end.expect("a value ends")].to_owned());
        rest = &behind[end.unwrap() + 1..];
    }
    assert!(rest.starts_with("} ") && rest[2..].parse::<f64>().is_ok(), "{line}");
    values
}

#[test]
fn no_word_of_a_peer_becomes_a_label() {
    let words = EVIL.map(str::to_owned);
    let text = metrics(&words);
    assert!(!text.contains("EVIL") && !text.contains("evil"), "a peer's word is in the metrics");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        for value in values(line) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.+*/".contains(c);
            assert!(value == "odd\\\"\\\\\\nname" || value.chars().all(plain), "{value:?} in {line}");
        }
    }
}

#[test]
fn metrics_do_not_grow_with_what_peers_make_up() {
    let many: Vec<String> = (0..200).map(|n| format!("X{n}")).collect();
    let series = |words: &[String]| metrics(words).lines().filter(|line| !line.starts_with('#')).count();
    let (few, many) = (series(&many[..2]), series(&many));
    assert_eq!(few, many);
}

#[test]
fn a_record_is_one_line_of_json_whatever_a_peer_writes() {
    let mut writer = RecordWriter::new(Arc::new(Policy { sources: vec!["odd\"\nname".into()], ..Policy::default() }));
    for (number, word) in EVIL.iter().enumerate() {
        play(word, number as u64, &mut writer);
    }
    let text = String::from_utf8(writer.bytes().to_vec()).expect("UTF-8");
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(record["record"].is_string());
        assert!(!line.contains(odd), "{line:?}");
    }
    assert!(text.matches("\"record\":\"session\"").count() == 3 * EVIL.len());
}

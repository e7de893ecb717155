use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::engine::{Limits, Session};
use crate::event::{Dir, End, Event, Input, Peers, Protocol, Sink};
use crate::output::{EventFanout, FailedIdentity, IdentityPolicy, InputKind, Policy, testing};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_parts(1_780_000_000, 0);

const MAIL: &str = "S: 220 mx ESMTP
    C: EHLO client
    S: 250 mx
    C: AUTH PLAIN AGFubgBzM2NyZXQ=
    S: 235 2.7.0 ok
    C: MAIL FROM:<ann@example.org>
    S: 250 ok
    C: RCPT TO:<no@Example.net>
    S: 550 5.1.1 unknown
    C: RCPT TO:<bob@example.net.>
    S: 250 ok
    C: RCPT TO:<carol@example.com>
    S: 250 ok
    C: DATA
    S: 354 go
    C: Subject: Lunch
    C:
    C: .
    S: 250 2.0.0 ok
    C: QUIT
    S: 221 bye";

const FAILED: &str = "S: 220 mx ESMTP
    C: EHLO client
    S: 250 mx
    C: AUTH PLAIN AGJvYgBzM2NyZXQ=
    S: 535 5.7.8 no
    C: QUIT
    S: 221 bye";

fn talk(out: &mut dyn Sink, client: &str, script: &str) {
    let peers = Peers {
        client: client.parse().unwrap(),
        server: SocketAddr::from(([192, 0, 2, 25], 25)),
        established: Some(NOW),
        roles_certain: true,
        source: 0,
        ordinal: 1,
    };
    let mut session = Session::new(NOW, 1, peers, Arc::new(Limits::default()));
    for line in script.lines().map(str::trim) {
        let dir = if line.starts_with("C:") { Dir::ToServer } else { Dir::ToClient };
        let text = format!("{}\r\n", line.split_at(2).1.trim_start());
        session.handle(NOW, dir, Input::Data(text.as_bytes()), out);
    }
    session.handle(NOW, Dir::ToServer, Input::Fin, out);
    session.finish(NOW, End::Closed, out);
}

fn counted(policy: &Policy, users: bool) -> Arc<TopState> {
    let state = Arc::new(TopState::new(InputKind::Proxy, users));
    let mut collector = TopCollector::new(Arc::clone(&state), policy);
    talk(&mut collector, "203.0.113.5:4000", MAIL);
    talk(&mut collector, "203.0.113.99:4001", FAILED);
    talk(&mut collector, "[2001:db8::7:1]:4000", MAIL);
    collector.publish();
    state
}

fn list(state: &TopState, of: &str, by: &str) -> Value {
    let lists = serde_json::to_value(state.view(10, true)).unwrap();
    let found = lists.as_array().unwrap().iter().find(|list| list["of"] == of && list["by"] == by);
    found.cloned().unwrap_or_default()
}

#[test]
fn a_session_counts_in_every_list() {
    let state = counted(&Policy::default(), true);
    let counts = |of, by| {
        let list = list(&state, of, by);
        let entries = list["entries"].as_array().unwrap();
        let entry = |entry: &Value| {
            assert_eq!(entry["at_least"], entry["at_most"], "there is room for all: it is exact");
            (entry["name"].as_str().unwrap().to_owned(), entry["at_least"].as_u64().unwrap())
        };
        (entries.iter().map(entry).collect::<Vec<_>>(), list["total"].as_u64().unwrap())
    };
    let named = |all: &[(&str, u64)]| all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    let (four, six, mx) = ("203.0.113.0/24", "2001:db8::/64", "192.0.2.25:25");
    assert_eq!(counts("client_network", "sessions"), (named(&[(four, 2), (six, 1)]), 3));
    assert_eq!(counts("client_network", "refused_replies"), (named(&[(four, 2), (six, 1)]), 3));
    assert_eq!(counts("client_network", "failed_logins"), (named(&[(four, 1)]), 1));
    assert_eq!(counts("server", "sessions"), (named(&[(mx, 3)]), 3));
    assert_eq!(counts("server", "refused_replies"), (named(&[(mx, 3)]), 3));
    assert_eq!(counts("recipient_domain", "recipients"), (named(&[("example.net", 4), ("example.com", 2)]), 6));
    assert_eq!(counts("recipient_domain", "refused_recipients"), (named(&[("example.net", 2)]), 2));
    assert_eq!(counts("user", "logins"), (named(&[("ann", 2)]), 2));
    // That of a failed attempt may be a password in the wrong field.
    assert_eq!(counts("user", "failed_logins"), (Vec::new(), 0));
    let octets =
        |script: &str| script.lines().map(|line| line.trim().split_at(2).1.trim_start().len() as u64 + 2).sum::<u64>();
    let (bytes, total) = counts("server", "bytes");
    assert_eq!((bytes[0].1, total), (2 * octets(MAIL) + octets(FAILED), total), "every byte once");
}

#[test]
fn who_authenticated_is_counted_on_request_alone() {
    let policies = [
        (Policy::default(), false, None, None),
        (Policy::default(), true, Some("ann"), None),
        (Policy { identity_failed: FailedIdentity::Full, ..Policy::default() }, true, Some("ann"), Some("bob")),
        (Policy { identity: IdentityPolicy::None, ..Policy::default() }, true, None, None),
        (Policy { identity: IdentityPolicy::Hmac, key: Some(b"Jefe".to_vec()), ..Policy::default() }, true, None, None),
    ];
    for (policy, users, logins, failed) in policies {
        let state = counted(&policy, users);
        let name = |by| list(&state, "user", by)["entries"][0]["name"].as_str().map(str::to_owned);
        assert_eq!((name("logins").as_deref(), name("failed_logins").as_deref()), (logins, failed), "{policy:?}");
        let text = String::from_utf8(state.file(SystemTime::now())).unwrap();
        for secret in ["s3cret", "AGFubgBzM2NyZXQ", "AGJvYgBzM2NyZXQ"] {
            assert!(!text.contains(secret), "{text}");
        }
        let page = serde_json::to_string(&state.view(10, false)).unwrap();
        for address in ["ann", "bob", "example.net"] {
            assert!(!page.contains(address), "without a token the page shows {page}");
        }
    }
}

#[test]
fn who_reads_holds_up_nobody() {
    let state = Arc::new(TopState::new(InputKind::Proxy, false));
    let mut collector = TopCollector::new(Arc::clone(&state), &Policy::default());
    let held = state.lock();
    talk(&mut collector, "203.0.113.5:4000", MAIL);
    // Would never return if it waited.
    collector.publish();
    drop(held);
    assert_eq!(list(&state, "server", "sessions")["total"], 0);
    collector.publish();
    assert_eq!(list(&state, "server", "sessions")["total"], 1);
    talk(&mut collector, "203.0.113.5:4000", MAIL);
    drop(collector);
    assert_eq!(list(&state, "server", "sessions")["total"], 2, "what a thread has counted is there when it ends");
}

#[test]
fn health_checks_count_in_no_list() {
    let state = Arc::new(TopState::new(InputKind::Proxy, false));
    let policy = Arc::new(Policy::default());
    let mut fanout =
        EventFanout::new(Arc::clone(&policy), None).with_top(TopCollector::new(Arc::clone(&state), &policy));
    let mut context = testing::context(Protocol::Smtp);
    for (health_check, total) in [(true, 0), (false, 1)] {
        context.health_check = health_check;
        fanout.event(&context, NOW, &Event::Start);
        fanout.flush();
        assert_eq!(list(&state, "client_network", "sessions")["total"], total);
    }
}

/// Every key of `value`, with those inside it.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            keys(value, into);
        }),
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        _ => {}
    }
}

#[test]
fn the_file_is_what_its_documentation_says() {
    let state = counted(&Policy::default(), true);
    let text = state.file(SystemTime::now());
    assert!(text.starts_with(state::BEGINNING) && text.ends_with(b"}\n"));
    let file: Value = serde_json::from_slice(&text).unwrap();
    let documented = include_str!("../../../docs/top-lists.md");
    let cells = |heading: &str| {
        let part = documented.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
        let row = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        part.lines().filter_map(row).collect::<BTreeSet<_>>()
    };
    let mut found = BTreeSet::new();
    keys(&file, &mut found);
    assert_eq!(found, cells("## The file\n"));
    let lists = file["lists"].as_array().unwrap();
    let of = |list: &Value| format!("{} by {}", list["of"].as_str().unwrap(), list["by"].as_str().unwrap());
    assert_eq!(lists.iter().map(of).collect::<BTreeSet<_>>(), cells("## The lists\n"));
}

#[test]
fn the_file_is_written_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("top.json");
    let state = counted(&Policy::default(), false);
    TopFile::write(&path, &state).unwrap();
    let file = TopFile::every(Duration::from_millis(5), path.clone(), Arc::clone(&state)).unwrap();
    let read = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
    let first = read();
    assert_eq!(first["lists"][0]["entries"][0], json!({"name": "203.0.113.0/24", "at_least": 2, "at_most": 2}));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0, "not for everybody");
    let began = Instant::now();
    while read()["written"] == first["written"] {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    file.stop(false);
    let names = || fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names(), 1);
    // A successor writes it now: it is left as it is.
    fs::remove_file(&path).unwrap();
    TopFile::start(path.clone(), Arc::clone(&state)).unwrap().stop(true);
    assert_eq!(names(), 0);
    let file = TopFile::start(path.clone(), state).unwrap();
    file.stop(false);
    assert!(read()["lists"].is_array(), "and else it is written once more at the end");
}

#[test]
fn what_is_something_else_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.jsonl");
    fs::write(&path, "{\"record\":\"session\"}\n").unwrap();
    let state = Arc::new(TopState::new(InputKind::Proxy, false));
    let started = TopFile::write(&path, &state).unwrap_err().to_string();
    let checked = TopFile::check(&path).unwrap_err().to_string();
    for error in [started, checked] {
        assert!(
            error.contains("mail.jsonl: the top lists cannot be written: it holds something else than top lists")
                && error.ends_with("choose another --top-file"),
            "{error}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), b"{\"record\":\"session\"}\n");
    fs::write(&path, "").unwrap();
    assert!(TopFile::check(&path).is_ok() && TopFile::check(&folder.path().join("new")).is_ok());
    TopFile::write(&path, &state).unwrap();
    assert!(TopFile::check(&path).is_ok(), "its own file is replaced");
}

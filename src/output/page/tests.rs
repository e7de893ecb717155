use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::engine::{Limits, Session};
use crate::event::{Dir, Input};
use crate::event::{End, Peers, Sink};
use crate::output::{InputKind, TopState};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_parts(1_780_000_000, 0);

fn state(show: Show) -> Arc<PageState> {
    let top = Arc::new(TopState::new(InputKind::Proxy, false));
    Arc::new(PageState::new(InputKind::Proxy, vec!["mx".into()], show, top))
}

fn told(state: &PageState, cursor: &mut Cursor) -> Value {
    let mut json = Vec::new();
    state.tell(cursor, &mut json);
    assert!(!json.contains(&b'\n'), "one line");
    serde_json::from_slice(&json).unwrap()
}

fn peers(number: u64) -> Peers {
    let [.., a, b] = number.to_be_bytes();
    Peers {
        client: SocketAddr::from(([203, 0, a, b], 4000)),
        server: SocketAddr::from(([192, 0, 2, 25], 25)),
        established: Some(NOW),
        roles_certain: true,
        source: 0,
        ordinal: number,
    }
}

/// What client (`C: `) and server (`S: `) say, a line each; all that follows a `.` closes.
fn talk(out: &mut dyn Sink, number: u64, script: &str) {
    let mut session = Session::new(NOW, number, peers(number), Arc::new(Limits::default()));
    let mut at = NOW;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        at = at.after(std::time::Duration::from_millis(2));
        let text = line.split_at(2).1.trim_start();
        let dir = if line.starts_with("C:") { Dir::ToServer } else { Dir::ToClient };
        session.handle(at, dir, Input::Data(format!("{text}\r\n").as_bytes()), out);
    }
    if script.contains("QUIT") {
        session.handle(at, Dir::ToServer, Input::Fin, out);
        session.finish(at, End::Closed, out);
    }
}

const OPEN: &str = "S: 220 mx ESMTP\nC: EHLO client\nS: 250 mx";
const WHOLE: &str = "S: 220 mx ESMTP
    C: EHLO client
    S: 250 mx
    C: AUTH PLAIN AGFubgBzM2NyZXQ=
    S: 235 2.7.0 ok
    C: MAIL FROM:<ann@example.org>
    S: 250 ok
    C: RCPT TO:<no@example.net>
    S: 550 5.1.1 unknown
    C: RCPT TO:<bob@example.net>
    S: 250 ok
    C: DATA
    S: 354 go
    C: Subject: Lunch
    C:
    C: .
    S: 250 2.0.0 ok
    C: QUIT
    S: 221 bye";

#[test]
fn the_page_shows_the_clock_that_the_host_has_now() {
    let state = state(Show::default());
    let mut recorder = state.recorder();
    let hour = std::time::Duration::from_secs(3600);
    recorder.clock_set(NOW, NOW.after(hour));
    talk(&mut recorder, 1, OPEN);
    recorder.publish();
    let session = &told(&state, &mut Cursor::default())["sessions"][0];
    let millis = |at: Timestamp| at.as_nanos() / 1_000_000;
    assert_eq!(session["began"], millis(NOW.after(hour)));
    assert_eq!(session["heard"], millis(NOW.after(hour)) + 6);
}

#[test]
fn a_session_is_told_from_its_start_to_its_end() {
    let state = state(Show { addresses: true, subjects: true });
    let mut recorder = state.recorder();
    let mut cursor = Cursor::default();
    let first = told(&state, &mut cursor);
    assert_eq!(first["hello"]["input"], "proxy");
    assert!(first.get("sessions").is_none());

    talk(&mut recorder, 1, OPEN);
    recorder.publish();
    let news = told(&state, &mut cursor);
    assert!(news.get("hello").is_none());
    let session = &news["sessions"][0];
    assert_eq!((&session["client"], &session["source"]), (&"203.0.0.1:4000".into(), &"mx".into()));
    assert_eq!((&session["step"], &session["status"]), (&"EHLO".into(), &"250".into()));
    assert_eq!(session["octets"], serde_json::json!([13, 22]));
    assert!(session["outcome"].is_null());
    assert!(told(&state, &mut cursor).get("sessions").is_none(), "nothing is told twice");

    talk(&mut recorder, 2, WHOLE);
    recorder.publish();
    let news = told(&state, &mut cursor);
    let (session, message) = (&news["sessions"][0], &news["messages"][0]);
    assert_eq!((&session["outcome"], &session["messages"], &session["refused"]), (&"ok".into(), &1.into(), &1.into()));
    assert_eq!(message["subject"], "Lunch");
    assert_eq!((&message["from"], &message["to"]), (&"ann@example.org".into(), &"no@example.net".into()));

    let mut late = Cursor::default();
    let all = told(&state, &mut late);
    assert_eq!(all["sessions"].as_array().unwrap().len(), 2);
}

/// What session `id` did.
fn details(state: &PageState, id: u64) -> Value {
    serde_json::from_slice(&state.session(id).unwrap()).unwrap()
}

#[test]
fn what_a_session_did_is_kept_open_or_over() {
    let state = state(Show { addresses: true, subjects: true });
    let mut recorder = state.recorder();
    talk(&mut recorder, 1, OPEN);
    talk(&mut recorder, 2, WHOLE);
    recorder.publish();
    let steps = |id| {
        let details = details(&state, id);
        let step = |step: &Value| format!("{} {}", step["step"].as_str().unwrap(), step["status"].as_str().unwrap());
        details["steps"].as_array().unwrap().iter().map(step).collect::<Vec<_>>()
    };
    assert_eq!(steps(1), ["greeting 220", "EHLO 250"]);
    let whole = steps(2);
    assert_eq!(whole.len(), 9, "{whole:?}");
    assert_eq!((&*whole[2], &*whole[4], &*whole[7]), ("AUTH 235", "RCPT 550", "end of data 250"));
    let over = details(&state, 2);
    let refused = &over["steps"][4];
    assert_eq!((&refused["enhanced"], &refused["taken"]), (&"5.1.1".into(), &2.0.into()));
    assert_eq!(refused["after"], 16.0, "milliseconds from the beginning");
    let transaction = &over["transactions"][0];
    assert_eq!((&transaction["outcome"], &transaction["subject"]), (&"accepted".into(), &"Lunch".into()));
    assert_eq!((&over["commands_omitted"], &over["transactions_omitted"]), (&0.into(), &0.into()));
    assert!(state.session(3).is_none());
    assert_eq!(session_id("00000000000000ff"), Some(255));
    for wrong in ["ff", "00000000000000fg", "+0000000000000ff", "00000000000000ff0"] {
        assert_eq!(session_id(wrong), None);
    }
}

#[test]
fn the_latest_of_a_session_is_kept_and_the_rest_is_counted() {
    let state = state(Show::default());
    let mut recorder = state.recorder();
    let mut session = Session::new(NOW, 1, peers(1), Arc::new(Limits::default()));
    let mut say = |dir, text: &str| session.handle(NOW, dir, Input::Data(text.as_bytes()), &mut recorder);
    say(Dir::ToClient, "220 mx ESMTP\r\n");
    for _ in 0..100 {
        for line in ["MAIL FROM:<a@b.c>\r\n", "RCPT TO:<d@e.f>\r\n", "RSET\r\n"] {
            say(Dir::ToServer, line);
            say(Dir::ToClient, "250 ok\r\n");
        }
    }
    recorder.publish();
    let kept = details(&state, 1);
    assert_eq!(kept["steps"].as_array().unwrap().len(), history::STEPS);
    assert_eq!(kept["commands_omitted"], 300 - history::STEPS);
    assert_eq!(kept["transactions"].as_array().unwrap().len(), history::MESSAGES);
    assert_eq!(kept["transactions_omitted"], 100 - history::MESSAGES);
}

#[test]
fn a_server_that_is_silent_is_known_since_when() {
    let state = state(Show::default());
    let mut recorder = state.recorder();
    let mut session = Session::new(NOW, 1, peers(1), Arc::new(Limits::default()));
    let mut waits = |dir, text: &str, after: u64| {
        let at = NOW.after(std::time::Duration::from_secs(after));
        session.handle(at, dir, Input::Data(text.as_bytes()), &mut recorder);
        recorder.publish();
        told(&state, &mut Cursor::default())["sessions"][0]["waits"].as_u64()
    };
    assert_eq!(waits(Dir::ToClient, "220 mx ESMTP\r\n", 1), None);
    let began = NOW.as_nanos() / 1_000_000;
    assert_eq!(waits(Dir::ToServer, "EHLO a\r\n", 2), Some(began + 2000));
    assert_eq!(waits(Dir::ToClient, "250 mx\r\n", 9), None);
    assert_eq!(waits(Dir::ToServer, "NOOP\r\n", 10), Some(began + 10_000));
    assert_eq!(waits(Dir::ToClient, "250 ok\r\n", 11), None);
}

#[test]
fn replies_are_told_by_what_they_answer() {
    let state = state(Show::default());
    let mut recorder = state.recorder();
    talk(&mut recorder, 1, OPEN);
    talk(&mut recorder, 2, WHOLE);
    recorder.publish();
    let all = told(&state, &mut Cursor::default());
    let refusal = &all["digest"]["refusals"][0];
    assert_eq!(
        (&refusal["step"], &refusal["status"], &refusal["enhanced"]),
        (&"RCPT".into(), &"550".into(), &"5.1.1".into())
    );
    assert_eq!(all["digest"]["open"], serde_json::json!([["smtp", 1]]));
    let steps: Vec<&str> =
        all["digest"]["latencies"].as_array().unwrap().iter().map(|one| one["step"].as_str().unwrap()).collect();
    assert!(steps.contains(&"end of data") && steps.contains(&"greeting") && !steps.contains(&"AUTH"), "{steps:?}");
}

#[test]
fn nothing_is_shown_that_may_not_be() {
    for (show, addresses, subjects) in [
        (Show::default(), false, false),
        (Show { addresses: true, subjects: false }, true, false),
        (Show { addresses: true, subjects: true }, true, true),
    ] {
        let state = state(show);
        let mut recorder = state.recorder();
        talk(&mut recorder, 1, WHOLE);
        recorder.publish();
        let all = format!("{}{}", told(&state, &mut Cursor::default()), details(&state, 1));
        assert_eq!(all.contains("ann@example.org"), addresses, "{all}");
        assert_eq!(all.contains("Lunch"), subjects, "{all}");
        for secret in ["s3cret", "AGFubgBzM2NyZXQ", "\"ann\""] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

#[test]
fn without_a_token_no_address_is_shown() {
    use crate::output::{Detail, IdentityPolicy, Policy};
    let policy = |detail| Policy { detail, ..Policy::default() };
    let (all, envelope) = (policy(Detail::Headers), policy(Detail::Envelope));
    assert_eq!(Show::of(&all, false), Show::default());
    assert_eq!(Show::of(&all, true), Show { addresses: true, subjects: true });
    assert_eq!(Show::of(&envelope, true), Show { addresses: true, subjects: false });
    let withheld = Policy { identity: IdentityPolicy::None, ..Policy::default() };
    assert_eq!(Show::of(&withheld, true), Show::default());
}

#[test]
fn lists_have_a_fixed_number_of_places() {
    let state = state(Show::default());
    let mut recorder = state.recorder();
    for number in 0..2 * LISTED as u64 {
        talk(&mut recorder, number, OPEN);
    }
    recorder.publish();
    let all = told(&state, &mut Cursor::default());
    assert_eq!(all["sessions"].as_array().unwrap().len(), LISTED);
    assert_eq!(all["unlisted"], LISTED);
    assert_eq!(all["digest"]["open"], serde_json::json!([["smtp", 2 * LISTED]]), "the count is exact");

    let whole = 2 * LISTED as u64..2 * LISTED as u64 + 3 * RECENT as u64;
    for number in whole {
        talk(&mut recorder, number, WHOLE);
    }
    recorder.publish();
    let all = told(&state, &mut Cursor::default());
    let over = all["sessions"].as_array().unwrap().iter().filter(|session| session["outcome"] == "ok").count();
    assert_eq!(over, RECENT);
    assert_eq!(all["messages"].as_array().unwrap().len(), RECENT);
    assert_eq!(all["unlisted"], LISTED);
}

#[test]
fn a_session_that_found_no_room_finds_it_later() {
    let state = state(Show::default());
    let mut recorder = state.recorder();
    let mut sessions: Vec<Session> = (0..=LISTED as u64)
        .map(|number| {
            let mut session = Session::new(NOW, number, peers(number), Arc::new(Limits::default()));
            session.handle(NOW, Dir::ToClient, Input::Data(b"220 mx ESMTP\r\n"), &mut recorder);
            session
        })
        .collect();
    recorder.publish();
    sessions[0].finish(NOW, End::Closed, &mut recorder);
    sessions[LISTED].handle(NOW, Dir::ToServer, Input::Data(b"NOOP\r\n"), &mut recorder);
    recorder.publish();
    let all = told(&state, &mut Cursor::default());
    assert_eq!(all["unlisted"], 0);
    let late = peers(LISTED as u64).client.to_string();
    assert!(all["sessions"].as_array().unwrap().iter().any(|session| session["client"] == late.as_str()));
}

#[test]
fn who_looks_does_not_hold_up_who_records() {
    let state = state(Show::default());
    let mut recorder = state.recorder();
    let held = state.lock();
    for number in 0..2 * LISTED as u64 {
        talk(&mut recorder, number, WHOLE);
        // Would never return if it waited.
        recorder.publish();
    }
    drop(held);
    recorder.publish();
    let all = told(&state, &mut Cursor::default());
    assert_eq!(all["sessions"].as_array().unwrap().len(), RECENT);
    let latencies = all["digest"]["latencies"].as_array().unwrap();
    let mail = latencies.iter().find(|one| one["step"] == "MAIL").unwrap();
    assert_eq!(mail["count"], 2 * LISTED, "what waits is counted all the same");
    assert_eq!(all["skipped"], 2 * (2 * LISTED - RECENT), "and what could not wait is told");
}

#[test]
fn what_nobody_follows_any_more_is_not_open() {
    let state = state(Show::default());
    let mut recorder = state.recorder();
    talk(&mut recorder, 1, OPEN);
    recorder.publish();
    drop(recorder);
    let all = told(&state, &mut Cursor::default());
    assert_eq!(all["sessions"][0]["outcome"], "capture_end");
    assert_eq!(all["digest"]["open"], serde_json::json!([]));
}

#[test]
fn the_files_of_the_page_name_nothing_outside() {
    for asset in &ASSETS {
        let text = std::str::from_utf8(asset.octets).unwrap();
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for outside in [
            "http://",
            "https://",
            "//cdn",
            "@import",
            "url(",
            "innerHTML",
            "insertAdjacent",
            "style=",
            "onclick",
            "eval(",
        ] {
            assert!(!text.contains(outside), "{}: {outside}", asset.path);
        }
        assert!(asset.octets.len() < 40_000);
    }
}

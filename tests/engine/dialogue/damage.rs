//! Damages the capture of a dialogue in every way that captures are damaged, and judges what the log then says.
//!
//! Where nothing is lost, but packets come in another order (two neighbours of opposite directions changed places, one
//! direction captured late), the records must be those of the whole capture, times aside. Where something is lost (a packet
//! left out, or cut by the snap length; a capture that begins or ends inside the connection), each fact must be a fact of the
//! whole capture, or be absent, `unknown` or marked incomplete.

use std::time::Duration;

use serde_json::Value;

use super::Dialogue;
use super::play::{self, CLIENT_PORT, Frame};

/// What happens to a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One packet with data is left out.
    Drop,
    /// One packet with data is cut to half of it.
    Cut,
    /// The capture begins at a packet.
    Start,
    /// The capture ends before a packet.
    End,
    /// Two neighbours of opposite directions change places; the times stay.
    Swap,
    /// The packets of one direction come late, in time and in order.
    Skew,
}

/// One damaged capture.
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) place: String,
    pub(crate) frames: Vec<Frame>,
    /// Whether what is left shows that data is missing.
    pub(crate) shows: bool,
}

const SKEWS: [u64; 3] = [1, 11, 100];

/// The capture of a dialogue, damaged in one way at every place.
pub(crate) fn cases(dialogue: &Dialogue, mode: Mode) -> Vec<Case> {
    let whole = play::frames(dialogue, play::Cut::Listed, play::Family::V4);
    let numbers = 0..whole.len();
    let case = |place: String, frames: Vec<Frame>| {
        let shows = matches!(mode, Mode::Drop | Mode::Cut | Mode::Start) && shows_loss(&whole, &frames, mode);
        Case { mode, place, frames, shows }
    };
    let of_own = |n: &usize| whole[*n].has_port(CLIENT_PORT);
    match mode {
        Mode::Drop => numbers
            .filter(|n| of_own(n) && !whole[*n].tcp.payload.is_empty())
            .map(|n| case(n.to_string(), [&whole[..n], &whole[n + 1..]].concat()))
            .collect(),
        Mode::Cut => numbers
            .filter(|n| of_own(n) && !whole[*n].tcp.payload.is_empty())
            .map(|n| {
                let mut frames = whole.clone();
                frames[n].cut = whole[n].tcp.payload.len().div_ceil(2);
                case(n.to_string(), frames)
            })
            .collect(),
        Mode::Start => numbers.skip(1).map(|n| case(n.to_string(), whole[n..].to_vec())).collect(),
        Mode::End => numbers.skip(1).map(|n| case(n.to_string(), whole[..n].to_vec())).collect(),
        Mode::Swap => numbers
            .filter(|n| whole.get(n + 1).is_some_and(|next| next.tcp.from == whole[*n].tcp.to))
            .map(|n| {
                let mut frames = whole.clone();
                frames.swap(n, n + 1);
                (frames[n].at, frames[n + 1].at) = (whole[n].at, whole[n + 1].at);
                case(n.to_string(), frames)
            })
            .collect(),
        Mode::Skew => SKEWS
            .into_iter()
            .flat_map(|late| [(late, true), (late, false)])
            .map(|(late, client)| {
                let mut frames = whole.clone();
                for frame in &mut frames {
                    if (frame.tcp.to.port() == dialogue.port) == client {
                        frame.at = frame.at.after(Duration::from_millis(late));
                    }
                }
                frames.sort_by_key(|frame| frame.at);
                case(format!("{} {late} ms late", if client { "client" } else { "server" }), frames)
            })
            .collect(),
    }
}

/// Whether packets that are left lie behind data that is not, or acknowledge it.
fn shows_loss(whole: &[Frame], left: &[Frame], mode: Mode) -> bool {
    if mode == Mode::Cut {
        return true;
    }
    let start = left.first().map(|frame| frame.at).unwrap_or_default();
    let gone = |frame: &&Frame| !frame.tcp.payload.is_empty() && !left.iter().any(|other| other.at == frame.at);
    whole.iter().filter(gone).any(|lost| {
        let end = lost.tcp.seq.wrapping_add(lost.tcp.payload.len() as u32);
        left.iter().filter(|other| other.connects(lost) && other.at >= start).any(|other| {
            let proof = if other.tcp.from == lost.tcp.from { Some(other.tcp.seq) } else { other.tcp.ack };
            let later = proof.is_some_and(|proof| proof.wrapping_sub(end).cast_signed() >= 0);
            // At the start, a stream begins where its first data is.
            later && (mode == Mode::Drop || (!other.tcp.payload.is_empty() && other.tcp.from != lost.tcp.from))
        })
    })
}

/// What a log says that the log of the whole capture does not say. `shows`: the loss can be seen, so it must be marked.
pub(crate) fn inventions(mode: Mode, shows: bool, found: &[Value], whole: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let of = |records: &[Value], kind: &str| -> Vec<Value> {
        let mut records: Vec<_> = records.iter().filter(|record| record["record"] == kind).cloned().collect();
        // In the order in which they began: what is never answered is told at the end.
        records.sort_by_key(|record| (record["ts"].as_str().map(str::to_owned), record["number"].as_u64()));
        records
    };
    transactions(mode, &of(found, "transaction"), &of(whole, "transaction"), &mut faults);
    auths(&of(found, "auth"), &of(whole, "auth"), &mut faults);
    commands(&of(found, "command"), &of(whole, "command"), &mut faults);
    let (sessions, others) = (of(found, "session"), of(whole, "session"));
    if sessions.len() > others.len() {
        faults.push(format!("{} sessions, not {}", sessions.len(), others.len()));
    }
    for (one, other) in sessions.iter().zip(&others) {
        if one["protocol"] != "unknown" && one["protocol"] != other["protocol"] {
            faults.push(format!("the session is {}, not {}", one["protocol"], other["protocol"]));
        }
        if one["client"] != other["client"] {
            faults.push("client and server are exchanged".into());
        }
    }
    if shows && !sessions.is_empty() && sessions.iter().all(|session| session.get("incomplete").is_none()) {
        faults.push("the session does not say that it is incomplete".into());
    }
    faults
}

fn transactions(mode: Mode, found: &[Value], whole: &[Value], faults: &mut Vec<String>) {
    let cost = |one: &Value, other: &Value| {
        let same = ["kind", "reverse_path", "mailbox", "section", "uid", "message_number"];
        let hashes = [&one["message"]["sha256"], &other["message"]["sha256"]];
        let pair = same.iter().all(|name| !contradicts(&one[*name], &other[*name]))
            && (hashes.iter().any(|hash| hash.is_null()) || hashes[0] == hashes[1]);
        pair.then(|| transaction(mode, one, other).len() as u32)
    };
    for (one, other) in align(found, whole, cost) {
        match other {
            Some(other) => faults.extend(transaction(mode, one, other)),
            None => faults.push(format!("invented: transaction {} {}", one["outcome"], one["reverse_path"])),
        }
    }
}

/// What a transaction says that the same one of the whole capture does not.
fn transaction(mode: Mode, one: &Value, other: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let outcome = &one["outcome"];
    let codes: Vec<_> = one["recipients"].as_array().into_iter().flatten().map(|r| r["code"].as_u64()).collect();
    let refused = !codes.is_empty() && codes.iter().all(|code| code.is_some_and(|code| code >= 400));
    // What comes behind the end of a capture may have changed it.
    let cut_short = ["connection_lost", "aborted", "timed_out"].iter().any(|word| outcome == word)
        || (refused && ["rejected_permanent", "rejected_temporary"].iter().any(|word| outcome == word));
    let fair = outcome.is_null() || outcome == "unknown" || *outcome == other["outcome"];
    if !(fair || mode == Mode::End && cut_short) {
        faults.push(format!("outcome {outcome}, not {}", other["outcome"]));
    }
    for path in ["/final/code", "/final/enhanced", "/queue_id", "/reverse_path"] {
        differ(path, one, other, &mut faults);
    }
    let empty = Vec::new();
    let recipients = |value: &Value| value["recipients"].as_array().unwrap_or(&empty).clone();
    let (ours, theirs) = (recipients(one), recipients(other));
    let cost = |a: &Value, b: &Value| {
        let pair = !contradicts(&a["forward_path"], &b["forward_path"]);
        pair.then(|| u32::from(contradicts(&a["code"], &b["code"])))
    };
    for (a, b) in align(&ours, &theirs, cost) {
        match b {
            None => faults.push(format!("invented: recipient {}", a["forward_path"])),
            Some(b) => ["/code", "/final/code"].iter().for_each(|path| differ(path, a, b, &mut faults)),
        }
    }
    let (message, whole) = (&one["message"], &other["message"]);
    // A message that was answered before its end is not followed to it; where that answer is lost, it is.
    let overtaken = whole["complete"] == false;
    if !overtaken && contradicts(&message["sha256"], &whole["sha256"]) {
        faults.push("a whole message that was never sent".into());
    }
    let marked = message["complete"] == false || (message["complete"].is_null() && one.get("incomplete").is_some());
    if !marked && !overtaken && contradicts(&message["size"], &whole["size"]) {
        faults.push(format!("size {}, not {}, and not marked", message["size"], whole["size"]));
    }
    faults
}

fn auths(found: &[Value], whole: &[Value], faults: &mut Vec<String>) {
    let judge = |one: &Value, other: &Value| {
        let mut faults = Vec::new();
        let outcome = &one["outcome"];
        if !outcome.is_null() && outcome != "incomplete" && *outcome != other["outcome"] {
            faults.push(format!("authentication {outcome}, not {}", other["outcome"]));
        }
        differ("/status", one, other, &mut faults);
        if !other["identity"].is_null() {
            differ("/identity", one, other, &mut faults);
        }
        faults
    };
    let cost = |one: &Value, other: &Value| {
        let another = ["method", "mechanism"].iter().any(|name| contradicts(&one[*name], &other[*name]));
        Some(u32::from(another) + 2 * judge(one, other).len() as u32)
    };
    for (one, other) in align(found, whole, cost) {
        match other {
            Some(other) => faults.extend(judge(one, other)),
            None if one["outcome"] == "incomplete" => {}
            None => faults.push(format!("invented: authentication {}", one["outcome"])),
        }
    }
}

fn commands(found: &[Value], whole: &[Value], faults: &mut Vec<String>) {
    let cost = |one: &Value, other: &Value| {
        let pair = ["name", "tag", "args"].iter().all(|name| !contradicts(&one[*name], &other[*name]));
        pair.then(|| u32::from(contradicts(&one["status"], &other["status"])))
    };
    for (one, other) in align(found, whole, cost) {
        let (name, status) = (&one["name"], &one["status"]);
        match other {
            Some(other) if contradicts(status, &other["status"]) => {
                faults.push(format!("{name} answered {status}, not {}", other["status"]));
            }
            Some(_) => {}
            // Unread text, taken for a command that nobody answered.
            None if name == "OTHER" && status.is_null() => {}
            None => faults.push(format!("invented: command {name} {status}")),
        }
    }
}

fn differ(path: &str, one: &Value, other: &Value, faults: &mut Vec<String>) {
    let (ours, theirs) = (one.pointer(path).unwrap_or(&Value::Null), other.pointer(path).unwrap_or(&Value::Null));
    if contradicts(ours, theirs) {
        faults.push(format!("{path} {ours}, not {theirs}"));
    }
}

/// What is masked says nothing.
fn contradicts(found: &Value, whole: &Value) -> bool {
    let masked = |value: &Value| value.as_str().is_some_and(|text| text.contains("[redacted"));
    !found.is_null() && found != whole && !masked(found) && !masked(whole)
}

/// Pairs each record found with one of the whole log, both in order, at the least cost; `cost` is `None` for no pair.
fn align<'a>(
    found: &'a [Value],
    whole: &'a [Value],
    cost: impl Fn(&Value, &Value) -> Option<u32>,
) -> Vec<(&'a Value, Option<&'a Value>)> {
    const ALONE: u32 = 1000;
    let (rows, columns) = (found.len(), whole.len());
    let mut best = vec![vec![(0, 'd'); columns + 1]; rows + 1];
    for a in (0..rows).rev() {
        best[a][columns] = (best[a + 1][columns].0 + ALONE, 'a');
        for b in (0..columns).rev() {
            let skip = [(best[a][b + 1].0, 'b'), (best[a + 1][b].0 + ALONE, 'a')];
            let pair = cost(&found[a], &whole[b]).map(|cost| (best[a + 1][b + 1].0 + cost, 'p'));
            best[a][b] = pair.into_iter().chain(skip).min_by_key(|(cost, _)| *cost).expect("three ways");
        }
    }
    let (mut pairs, mut a, mut b) = (Vec::new(), 0, 0);
    while a < rows {
        let step = best[a][b].1;
        match step {
            'p' => pairs.push((&found[a], Some(&whole[b]))),
            'a' => pairs.push((&found[a], None)),
            _ => {}
        }
        (a, b) = (a + usize::from(step != 'b'), b + usize::from(step != 'a'));
    }
    pairs
}

/// The judge knows lies when it sees them, and lets silence pass.
#[test]
fn the_judge_tells_an_invention_from_a_silence() {
    let whole = [
        serde_json::json!({"record": "transaction", "kind": "delivery", "outcome": "accepted", "queue_id": "A",
            "reverse_path": "a", "recipients": [{"forward_path": "b", "code": 250}]}),
        serde_json::json!({"record": "command", "name": "QUIT", "status": "221"}),
        serde_json::json!({"record": "session", "protocol": "smtp", "client": 1}),
    ];
    assert!(inventions(Mode::Drop, false, &whole, &whole).is_empty());
    let mut silent = whole.clone();
    silent[0]["outcome"] = "unknown".into();
    silent[0].as_object_mut().expect("a record").remove("queue_id");
    silent[1].as_object_mut().expect("a record").remove("status");
    assert!(inventions(Mode::Drop, false, &silent, &whole).is_empty());
    assert_eq!(inventions(Mode::Drop, true, &silent, &whole).len(), 1, "and nothing says so");
    for (record, field, lie) in [(0, "outcome", "rejected_permanent"), (0, "queue_id", "B"), (1, "status", "250")] {
        let mut lying = whole.clone();
        lying[record][field] = lie.into();
        assert_eq!(inventions(Mode::Drop, false, &lying, &whole).len(), 1, "{field}");
    }
    let twice = [&whole[..1], &whole[..]].concat();
    assert_eq!(inventions(Mode::Drop, false, &twice, &whole).len(), 1);
}

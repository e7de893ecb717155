//! A conversation as a list of operations, in any order, with loss and time that runs backwards: no panic, and the same
//! records however the octets are cut. With data lost, no reply is stated of which the bytes did not come.
//!
//! An operation is one octet and what it asks for: the low three bits say what, the fourth the direction, the upper
//! four how much time passes. See [`Operations`].

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mailtap::event::{Context, Dir, End, Event, Input, Peers, Sink, Status};
use mailtap::engine::{Limits, Session};
use mailtap::time::Timestamp;

fuzz_target!(|input: &[u8]| {
    let [whole, again, single] = [usize::MAX, 7, 1].map(|cut| run(input, cut));
    assert_eq!(whole, again, "cut into sevens, other events");
    assert_eq!(whole, single, "octet by octet, other events");
    for lost in 0..4 {
        lossy(input, lost);
    }
});

/// Every fourth piece of data is lost, from the one with number `lost` on: what is said must have been seen.
fn lossy(input: &[u8], lost: usize) {
    let (&port, operations) = input.split_first().unwrap_or((&25, input));
    let mut said = Said::default();
    let mut session = Session::new(at(0), 1, peers(port), Arc::new(Limits::default()));
    // A hole in a direction is a NUL in what was seen of it.
    let (mut now, mut seen, mut number) = (1_000_000_000u64, [Vec::new(), Vec::new()], 0);
    for operation in (Operations { rest: operations }) {
        now = now.saturating_add_signed(operation.step);
        let dir = operation.dir;
        match operation.what {
            Action::Data(octets) => {
                number += 1;
                if number % 4 == lost {
                    seen[dir.index()].push(0);
                    session.handle(at(now), dir, Input::Gap(octets.len() as u64), &mut said);
                } else {
                    seen[dir.index()].extend_from_slice(octets);
                    session.handle(at(now), dir, Input::Data(octets), &mut said);
                }
            }
            Action::Gap(octets) => {
                seen[dir.index()].push(0);
                session.handle(at(now), dir, Input::Gap(octets), &mut said);
            }
            Action::Fin => session.handle(at(now), dir, Input::Fin, &mut said),
            Action::Reset => session.handle(at(now), dir, Input::Reset, &mut said),
            Action::Acked(_) | Action::Rest => {}
        }
    }
    session.finish(at(now), End::CaptureEnd, &mut said);
    // What DEFLATE carries is not seen as it is.
    let has = |word: &[u8]| seen.iter().any(|s| s.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word)));
    if !has(b"DEFLATE") {
        for code in said.codes {
            assert!(has(code.to_string().as_bytes()), "nobody sent {code}");
        }
    }
}

/// What a run says, without the octets: their cut is the sender's.
#[derive(Debug, Default, PartialEq)]
struct Said {
    commands: Vec<String>,
    /// Codes of replies.
    codes: Vec<u16>,
    auths: Vec<String>,
    transactions: Vec<String>,
    anomalies: Vec<String>,
    body_octets: u64,
    ends: usize,
}

impl Sink for Said {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        match event {
            // Whether replies came in one piece is a fact of the cut.
            Event::Command(command) => {
                self.codes.extend(command.reply.status.and_then(Status::code));
                self.commands.push(format!("{command:?}").replace("coalesced: true", "coalesced: false"));
            }
            Event::Auth(auth) => self.auths.push(format!("{auth:?}")),
            Event::Transaction(transaction) => self.transactions.push(format!("{transaction:?}")),
            Event::Anomaly(anomaly) => self.anomalies.push(format!("{anomaly:?}")),
            Event::Body { octets, .. } => self.body_octets += octets.len() as u64,
            Event::End(_) => self.ends += 1,
            _ => {}
        }
    }
}

/// Runs the operations of `input`, data in pieces of at most `cut` octets.
fn run(input: &[u8], cut: usize) -> Said {
    let mut said = Said::default();
    let (&port, input) = input.split_first().unwrap_or((&25, input));
    let mut session = Session::new(at(0), 1, peers(port), Arc::new(Limits::default()));
    let (mut now, mut sent) = (1_000_000_000u64, [0u64; 2]);
    for operation in (Operations { rest: input }) {
        now = now.saturating_add_signed(operation.step);
        let dir = operation.dir;
        match operation.what {
            Action::Data(octets) => {
                for piece in octets.chunks(cut) {
                    session.handle(at(now), dir, Input::Data(piece), &mut said);
                }
                sent[dir.index()] += octets.len() as u64;
            }
            Action::Gap(octets) => {
                session.handle(at(now), dir, Input::Gap(octets), &mut said);
                sent[dir.index()] = sent[dir.index()].saturating_add(octets);
            }
            Action::Fin => session.handle(at(now), dir, Input::Fin, &mut said),
            Action::Reset => session.handle(at(now), dir, Input::Reset, &mut said),
            Action::Acked(back) => session.acked(dir, sent[dir.index()].saturating_sub(back)),
            Action::Rest => session.shrink(),
        }
    }
    session.finish(at(now), End::CaptureEnd, &mut said);
    assert!(said.ends <= 1, "a session ends once");
    said
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn peers(port: u8) -> Peers {
    let host = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    Peers {
        client: SocketAddr::new(host(1), 50000),
        server: SocketAddr::new(host(2), u16::from(port)),
        established: (port % 2 == 0).then(|| at(1)),
        roles_certain: port % 3 != 0,
        source: 0,
        ordinal: 0,
    }
}

struct Operation<'a> {
    dir: Dir,
    /// Nanoseconds.
    step: i64,
    what: Action<'a>,
}

enum Action<'a> {
    Data(&'a [u8]),
    Gap(u64),
    Fin,
    Reset,
    Acked(u64),
    Rest,
}

/// Cuts the fuzzer's input into operations. Data runs up to the next 0xff, so that dictionary words stay whole.
struct Operations<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Operations<'a> {
    type Item = Operation<'a>;

    fn next(&mut self) -> Option<Operation<'a>> {
        let (&code, rest) = self.rest.split_first()?;
        let dir = if code & 8 == 0 { Dir::ToServer } else { Dir::ToClient };
        let step = (i64::from(code >> 4) - 2) * Duration::from_millis(1).as_nanos() as i64;
        let (what, rest) = match code & 7 {
            0..=3 => {
                let length = rest.iter().position(|&octet| octet == 0xff).unwrap_or(rest.len());
                let (data, behind) = rest.split_at(length);
                (Action::Data(data), behind.get(1..).unwrap_or_default())
            }
            4 => number(rest, Action::Gap),
            5 => number(rest, Action::Acked),
            6 => (Action::Rest, rest),
            _ if code & 0x10 == 0 => (Action::Fin, rest),
            _ => (Action::Reset, rest),
        };
        self.rest = rest;
        Some(Operation { dir, step, what })
    }
}

/// One octet as a number of octets: small ones exactly, the rest by powers of two.
fn number<'a>(rest: &'a [u8], what: fn(u64) -> Action<'a>) -> (Action<'a>, &'a [u8]) {
    let (&octet, rest) = rest.split_first().unwrap_or((&1, rest));
    let value = if octet < 200 { u64::from(octet) } else { 1 << (octet - 200) };
    (what(value.max(1)), rest)
}

//! Plays a dialogue, in one of several ways that must make no difference, and gives the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mailtap::engine::{Limits, Session};
use mailtap::event::{Dir, End, Input, Peers, Sink};
use mailtap::output::{FailedIdentity, Policy, RecordWriter};
use mailtap::pipeline::flow::{FlowLimits, FlowTable};
use mailtap::time::Timestamp;
use mailtap::wire::{Decoder, DecoderLimits, LinkType, Packet};

use super::frames::Tcp;
use super::{Dialogue, Side, Step};

/// Port of the client in every dialogue.
pub(crate) const CLIENT_PORT: u16 = 50_000;

const BEGIN: Timestamp = Timestamp::from_parts(1_780_000_000, 0);
/// Between two items.
const PACE: Duration = Duration::from_millis(10);
/// The most that goes into one datagram.
const SEGMENT: usize = 16 << 10;

/// How the octets are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As listed.
    Listed,
    /// One octet a segment.
    Octets,
    /// As few segments as the conversation allows.
    Merged,
    /// Every segment comes twice.
    Twice,
    /// In pieces of some octets, every two the wrong way round.
    Disorder,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A step with its time.
struct Timed {
    at: Timestamp,
    step: Step,
}

fn writer() -> RecordWriter {
    let policy =
        Policy { identity_failed: FailedIdentity::Full, sources: vec!["dialogue".into()], ..Policy::default() };
    RecordWriter::new(Arc::new(policy))
}

fn ends(family: Family, client: u16, server: u16) -> (SocketAddr, SocketAddr) {
    let (from, to) = match family {
        Family::V4 => ("203.0.113.10", "198.51.100.25"),
        Family::V6 => ("2001:db8:1::10", "2001:db8:2::25"),
    };
    (SocketAddr::new(from.parse().unwrap(), client), SocketAddr::new(to.parse().unwrap(), server))
}

/// The steps with what closes the connection, cut, and with their times.
fn timed(dialogue: &Dialogue, cut: Cut) -> Vec<Timed> {
    let mut steps = Vec::<Step>::new();
    for step in &dialogue.steps {
        match (step, steps.last_mut()) {
            (Step::Data(side, more), Some(Step::Data(before, octets))) if cut == Cut::Merged && side == before => {
                octets.extend(more);
            }
            _ => steps.push(step.clone()),
        }
    }
    let closed = steps.iter().find_map(|s| match s {
        Step::Fin(side) => Some((*side, true)),
        Step::Reset(side) => Some((*side, false)),
        _ => None,
    });
    match closed {
        _ if !dialogue.closes => {}
        None => steps.extend([Step::Fin(Side::Client), Step::Fin(Side::Server)]),
        Some((side, true)) => steps.push(Step::Fin(side.other())),
        Some((_, false)) => {}
    }
    let (mut at, mut timed) = (BEGIN.after(PACE), Vec::new());
    for step in steps {
        at = at.after(PACE);
        match step {
            Step::Pause(seconds) => at = at.after(Duration::from_secs(seconds)),
            Step::Data(side, octets) => {
                let size = match cut {
                    Cut::Octets => 1,
                    Cut::Disorder => octets.len().div_ceil(5).clamp(1, SEGMENT),
                    _ => SEGMENT,
                };
                for piece in octets.chunks(size) {
                    timed.push(Timed { at, step: Step::Data(side, piece.to_vec()) });
                    at = at.after(Duration::from_micros(1));
                }
            }
            step => timed.push(Timed { at, step }),
        }
    }
    timed
}

fn dir(side: Side) -> Dir {
    match side {
        Side::Client => Dir::ToServer,
        Side::Server => Dir::ToClient,
    }
}

/// Plays it to a session.
pub(crate) fn session(dialogue: &Dialogue, cut: Cut) -> Vec<u8> {
    let mut out = writer();
    session_to(dialogue, cut, &mut out);
    out.bytes().to_vec()
}

/// The same, its events going to `out`.
pub(crate) fn session_to(dialogue: &Dialogue, cut: Cut, out: &mut dyn Sink) {
    for earlier in earlier(dialogue) {
        play(&earlier.0, cut, earlier.1, out);
    }
    play(dialogue, cut, CLIENT_PORT, out);
}

fn play(dialogue: &Dialogue, cut: Cut, port: u16, out: &mut dyn Sink) {
    let (client, server) = ends(Family::V4, port, dialogue.port);
    let established = (!dialogue.midstream).then_some(BEGIN.after(PACE));
    let peers = Peers { client, server, established, roles_certain: !dialogue.midstream, source: 0, ordinal: 0 };
    let mut session = Session::new(BEGIN, 1, peers, Arc::new(Limits::default()));
    for side in [Side::Client, Side::Server] {
        if dialogue.unseen != Some(side) {
            session.packet(dir(side));
        }
    }
    let mut conflicts = [(0, 0); 2];
    let (mut sent, mut before, mut last, mut why) =
        ([0; 2], [0; 2], BEGIN, if dialogue.closes { End::Closed } else { End::CaptureEnd });
    for Timed { at, step } in timed(dialogue, cut) {
        last = at;
        let (side, input) = match &step {
            Step::Data(side, octets) => (*side, Input::Data(octets)),
            Step::Lost(side, lost) => (*side, Input::Gap(*lost)),
            Step::Fin(side) => (*side, Input::Fin),
            Step::Reset(side) => (*side, Input::Reset),
            Step::Again(side, _) => {
                let (count, first) = &mut conflicts[*side as usize];
                *first = if *count == 0 { before[*side as usize] } else { *first };
                *count += 1;
                continue;
            }
            Step::Pause(_) => continue,
        };
        let octets = match input {
            Input::Data(octets) => octets.len() as u64,
            Input::Gap(lost) => lost,
            _ => 0,
        };
        if dialogue.unseen == Some(side) {
            continue;
        }
        session.acked(dir(side.other()), sent[side.other() as usize]);
        session.handle(at, dir(side), input, out);
        before[side as usize] = sent[side as usize];
        sent[side as usize] += octets;
    }
    for side in [Side::Client, Side::Server] {
        let (count, first) = conflicts[side as usize];
        session.overlap(last, dir(side), first, count, out);
    }
    if dialogue.unseen.is_some() && dialogue.closes {
        why = End::Closed;
    }
    session.finish(last, why, out);
    // Law 5: a byte costs no more than all that may wait at a time.
    const MOST_WORK: u64 = 500;
    let (work, bytes) = (session.work(), sent.iter().sum::<u64>());
    assert!(work <= MOST_WORK * bytes + 20_000, "{}: {work} steps of work for {bytes} bytes", dialogue.title);
}

/// Plays it as TCP segments to a table of connections.
pub(crate) fn capture(dialogue: &Dialogue, cut: Cut, family: Family) -> Vec<u8> {
    let mut out = writer();
    capture_to(dialogue, cut, family, &mut out);
    out.bytes().to_vec()
}

/// The same, its events going to `out`.
pub(crate) fn capture_to(dialogue: &Dialogue, cut: Cut, family: Family, out: &mut dyn Sink) {
    replay_to(&frames(dialogue, cut, family), out);
}

/// A packet of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) at: Timestamp,
    pub(crate) tcp: Tcp,
    /// Bytes of its payload that the snap length cut off.
    pub(crate) cut: usize,
}

impl Frame {
    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.tcp.from.port() == port || self.tcp.to.port() == port
    }

    /// Whether both are of one connection.
    pub(crate) fn connects(&self, other: &Self) -> bool {
        let (a, b) = ((self.tcp.from, self.tcp.to), (other.tcp.from, other.tcp.to));
        a == b || (a.1, a.0) == b
    }
}

/// The capture of a dialogue, with the sessions before it.
pub(crate) fn frames(dialogue: &Dialogue, cut: Cut, family: Family) -> Vec<Frame> {
    let mut all = Vec::new();
    for (earlier, port) in earlier(dialogue) {
        all.extend(segments(&earlier, cut, family, port));
    }
    all.extend(segments(dialogue, cut, family, CLIENT_PORT));
    all.into_iter().map(|(at, tcp)| Frame { at, tcp, cut: 0 }).collect()
}

/// What comes of a capture.
pub(crate) fn replay(frames: &[Frame]) -> Vec<u8> {
    let mut out = writer();
    replay_to(frames, &mut out);
    out.bytes().to_vec()
}

fn replay_to(frames: &[Frame], out: &mut dyn Sink) {
    let mut decoder = Decoder::new(DecoderLimits::default());
    let mut table = FlowTable::new(FlowLimits::default(), Arc::new(Limits::default()));
    let last = frames.iter().map(|frame| frame.at).max().unwrap_or(BEGIN);
    for (number, frame) in frames.iter().enumerate() {
        let mut data = frame.tcp.datagram();
        let wire_len = data.len() as u32;
        data.truncate(data.len() - frame.cut);
        let packet = Packet { at: frame.at, source: 0, link: LinkType::RAW, data: &data, wire_len };
        let segment = decoder.decode(&packet).expect("a segment");
        table.segment(number as u64, &segment, out);
    }
    table.finish(last, out);
}

/// The segments of a dialogue. Each acknowledges everything of the other side that stands above it, lost octets included.
fn segments(dialogue: &Dialogue, cut: Cut, family: Family, port: u16) -> Vec<(Timestamp, Tcp)> {
    let (client, server) = ends(family, port, dialogue.port);
    let mut next = [1_000_000_u32, 4_294_967_000];
    let mut before = next;
    let mut frames = Vec::new();
    let blank = |side: Side, next: [u32; 2]| {
        let (from, to) = if side == Side::Client { (client, server) } else { (server, client) };
        let (seq, ack) = (next[side as usize], Some(next[side.other() as usize]));
        Tcp { from, to, seq, ack, syn: false, fin: false, rst: false, payload: Vec::new() }
    };
    let mut push = |at: Timestamp, side: Side, tcp: Tcp| {
        if dialogue.unseen != Some(side) {
            frames.push((at, tcp));
        }
    };
    if !dialogue.midstream {
        push(BEGIN, Side::Client, Tcp { syn: true, ack: None, ..blank(Side::Client, next) });
        next[0] = next[0].wrapping_add(1);
        push(BEGIN.after(PACE / 2), Side::Server, Tcp { syn: true, ..blank(Side::Server, next) });
        next[1] = next[1].wrapping_add(1);
        push(BEGIN.after(PACE), Side::Client, blank(Side::Client, next));
    }
    for Timed { at, step } in timed(dialogue, cut) {
        match step {
            Step::Data(side, payload) => {
                let length = payload.len() as u32;
                let tcp = Tcp { payload, ..blank(side, next) };
                if cut == Cut::Twice {
                    push(at, side, tcp.clone());
                }
                push(at, side, tcp);
                before[side as usize] = next[side as usize];
                next[side as usize] = next[side as usize].wrapping_add(length);
            }
            Step::Again(side, payload) => {
                let mut next = next;
                next[side as usize] = before[side as usize];
                push(at, side, Tcp { payload, ..blank(side, next) });
            }
            Step::Lost(side, lost) => next[side as usize] = next[side as usize].wrapping_add(lost as u32),
            Step::Fin(side) => {
                push(at, side, Tcp { fin: true, ..blank(side, next) });
                next[side as usize] = next[side as usize].wrapping_add(1);
                push(at, side.other(), blank(side.other(), next));
            }
            Step::Reset(side) => push(at, side, Tcp { rst: true, ..blank(side, next) }),
            Step::Pause(_) => {}
        }
    }
    if cut == Cut::Disorder {
        disorder(&mut frames);
    }
    frames
}

/// Swaps neighbours that carry octets of the same side. No path holds a packet back for as long as a pause lasts.
fn disorder(frames: &mut [(Timestamp, Tcp)]) {
    const HELD_BACK: Duration = Duration::from_secs(1);
    let mut at = 0;
    while at + 1 < frames.len() {
        let (one, two) = (&frames[at].1, &frames[at + 1].1);
        let (first, second) = (frames[at].0, frames[at + 1].0);
        let near = second.since(first).is_some_and(|pause| pause < HELD_BACK);
        if near && one.from == two.from && !one.payload.is_empty() && !two.payload.is_empty() {
            frames.swap(at, at + 1);
            (frames[at].0, frames[at + 1].0) = (first, second);
            at += 1;
        }
        at += 1;
    }
}

/// The sessions before it, with the client's port of each.
fn earlier(dialogue: &Dialogue) -> Vec<(Dialogue, u16)> {
    let text = "dialogue before\nS: * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\nC: z LOGOUT\nS: * BYE\n+S: z OK\n";
    let before = super::parse(text, "imap").remove(0);
    (0..dialogue.earlier).map(|n| (before.clone(), CLIENT_PORT - 1 - n)).collect()
}

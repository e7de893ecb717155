//! What `session` and `stream` hold the code to, apart from the fuzzer, so that a test can show that each of it fails where
//! it should: see `tests/engine/oracles.rs`.

#![allow(dead_code, reason = "each target needs a part of it")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mailtap::engine::Limits;
use mailtap::event::{Context, Event, Input, Sink, Status};
use mailtap::pipeline::flow::{FlowLimits, FlowTable};
use mailtap::time::Timestamp;
use mailtap::wire::stream::StreamDelivery;
use mailtap::wire::{Segment, Side};

/// The byte at `offset` of every direction of a stream: the low eight bits of a hash, so what is delivered can be checked.
pub(crate) fn byte(offset: u32) -> u8 {
    (offset.wrapping_mul(2_654_435_761) >> 13) as u8
}

/// Where the next delivery of each direction begins.
#[derive(Default)]
pub(crate) struct Order {
    next: [Option<u64>; 2],
    ended: [bool; 2],
}

impl Order {
    /// A direction begins at `offset`, if it has not begun.
    pub(crate) fn begin(&mut self, side: Side, offset: u64) {
        side.split(&mut self.next).0.get_or_insert(offset);
    }

    /// Holds a delivery to its place: no byte that was not sent, sent twice, or delivered before its turn.
    pub(crate) fn take(&mut self, side: Side, delivery: &StreamDelivery<'_>) {
        let next = side.split(&mut self.next).0.get_or_insert(0);
        let ended = side.split(&mut self.ended).0;
        match delivery.input {
            Input::Data(bytes) => {
                assert!(!*ended, "bytes behind the end");
                for (offset, &found) in (*next..).zip(bytes) {
                    assert_eq!(found, byte(offset as u32), "the byte at {offset} is another's");
                }
                *next += bytes.len() as u64;
            }
            Input::Gap(lost) => *next += lost,
            _ => *ended = true,
        }
    }
}

/// What a run says, but for times and what follows from them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// In the order in which they are told.
    pub(crate) told: Vec<String>,
    /// Codes of replies.
    pub(crate) codes: Vec<u16>,
    /// Names that peers gave: addresses, queue ids.
    pub(crate) names: Vec<Vec<u8>>,
    /// Bytes of messages.
    pub(crate) body: u64,
}

impl Sink for Facts {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        match event {
            Event::Command(c) => {
                self.codes.extend(c.reply.status.and_then(Status::code));
                self.told.push(format!("{:?} {:?} {:?} {:?} {:?}", c.verb, c.tag, c.args, c.reply, c.incomplete));
            }
            Event::Auth(a) => self.told.push(format!("{:?} {:?} {:?} {:?}", a.method, a.mechanism, a.outcome, a.reply)),
            Event::Transaction(t) => {
                let recipients = t.recipients.iter();
                let recipients =
                    recipients.map(|r| (t.text(r.forward_path), r.code, r.last.as_ref().map(|last| last.code)));
                self.names.extend(recipients.clone().map(|(path, ..)| path.to_vec()));
                self.names.extend(t.reverse_path.map(|path| t.text(path).to_vec()));
                self.names.extend(t.queue_id.get().map(<[u8]>::to_vec));
                self.codes.extend(recipients.clone().filter_map(|(_, code, _)| code));
                self.codes.extend(t.last.status.and_then(Status::code));
                self.told.push(format!(
                    "{:?} {:?} {:?} {:?} {:?} {:?}",
                    t.kind,
                    t.outcome,
                    recipients.collect::<Vec<_>>(),
                    t.last,
                    t.message.sha256(),
                    t.incomplete
                ));
            }
            Event::Body { octets, .. } => self.body += octets.len() as u64,
            Event::End(s) => {
                self.told.push(format!("{:?} {:?} {:?} {:?}", s.outcome, s.gaps, s.greeting.reply, s.incomplete));
            }
            _ => {}
        }
    }
}

impl Facts {
    /// Holds codes and names to the bytes that were `seen`, a NUL for each hole: nothing is stated that nobody sent.
    pub(crate) fn are_of(&self, seen: &[Vec<u8>; 2]) {
        let has = |word: &[u8]| {
            let within = |bytes: &Vec<u8>| bytes.windows(word.len().max(1)).any(|part| part.eq_ignore_ascii_case(word));
            word.is_empty() || seen.iter().any(within)
        };
        for code in &self.codes {
            assert!(has(code.to_string().as_bytes()), "nobody sent {code}");
        }
        let masked = |name: &[u8]| name.windows(9).any(|part| part == b"[redacted");
        for name in self.names.iter().filter(|name| !masked(name)) {
            assert!(has(name), "nobody sent {}", name.escape_ascii());
        }
    }
}

/// A segment of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) at: Duration,
    pub(crate) client: bool,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) syn: bool,
    pub(crate) payload: Vec<u8>,
}

/// The capture of a conversation: a handshake, then a segment for each of `turns`, which acknowledges all that was sent before
/// it by the other side.
pub(crate) fn capture<'a>(turns: impl Iterator<Item = (bool, &'a [u8])>) -> Vec<Piece> {
    let mut next = [1000_u32, u32::MAX - 20];
    let mut pieces = Vec::new();
    let handshake = [(true, true, &[][..]), (false, true, &[][..]), (true, false, &[][..])];
    let turns = turns.map(|(client, payload)| (client, false, payload));
    for (number, (client, syn, payload)) in handshake.into_iter().chain(turns).enumerate() {
        let (mine, theirs) = (usize::from(!client), usize::from(client));
        let at = Duration::from_millis(2 * number as u64);
        pieces.push(Piece { at, client, seq: next[mine], ack: next[theirs], syn, payload: payload.to_vec() });
        next[mine] = next[mine].wrapping_add(payload.len() as u32 + u32::from(syn));
    }
    pieces
}

/// The same with the pieces `at` and behind it in each other's place, if they are of different sides; the times stay.
pub(crate) fn swapped(pieces: &[Piece], at: usize) -> Vec<Piece> {
    let mut pieces = pieces.to_vec();
    if let Some([one, other]) = pieces.get_mut(at..).and_then(<[Piece]>::first_chunk_mut)
        && one.client != other.client
    {
        std::mem::swap(one, other);
        std::mem::swap(&mut one.at, &mut other.at);
    }
    pieces
}

/// The same with one side captured `late`.
pub(crate) fn skewed(pieces: &[Piece], client: bool, late: Duration) -> Vec<Piece> {
    let mut pieces = pieces.to_vec();
    pieces.iter_mut().filter(|piece| piece.client == client).for_each(|piece| piece.at += late);
    pieces.sort_by_key(|piece| piece.at);
    pieces
}

/// What is told of a capture; `port` is the server's.
pub(crate) fn facts(pieces: &[Piece], port: u16, limits: FlowLimits) -> Facts {
    const BEGIN: Timestamp = Timestamp::from_parts(1_780_000_000, 0);
    let host = |last, port| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port);
    let (client, server) = (host(1, 50_000), host(2, port));
    let mut table = FlowTable::new(limits, Arc::new(Limits::default()));
    let (mut facts, mut last) = (Facts::default(), BEGIN);
    for (number, piece) in pieces.iter().enumerate() {
        let (from, to) = if piece.client { (client, server) } else { (server, client) };
        last = BEGIN.after(piece.at);
        let first = piece.syn && piece.client;
        let segment = Segment {
            at: last,
            source: 0,
            from,
            to,
            seq: piece.seq,
            ack: (!first).then_some(piece.ack),
            syn: piece.syn,
            fin: false,
            rst: false,
            payload: &piece.payload,
            cut: 0,
        };
        table.segment(number as u64, &segment, &mut facts);
    }
    table.finish(last, &mut facts);
    facts
}

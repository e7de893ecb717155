//! One connection: two streams, who is who, and the session that they feed.

use std::net::SocketAddr;
use std::sync::Arc;

use super::slots::List;
use crate::engine::{Limits, Session};
use crate::event::MAIL_PORTS;
use crate::event::{Dir, End, Input, Peers, Sink};
use crate::time::Timestamp;
use crate::wire::key::{Key, Side};
use crate::wire::packet::Segment;
use crate::wire::stream::{BufferBudget, Delivery, End as StreamEnd, Stream};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: Key,
    pub(super) last: Timestamp,
    /// A SYN that may be the port's next connection.
    pub(super) reuse: Option<Reuse>,
    /// Whether it stands in the queue of those that keep octets.
    pub(super) queued: bool,
    pub(super) closed: bool,
    streams: [Stream; 2],
    head: Head,
}

/// A SYN inside an open connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reuse {
    side: Side,
    seq: u32,
    at: Timestamp,
    number: u64,
}

/// Everything but the streams.
#[derive(Debug)]
struct Head {
    id: u64,
    ordinal: u64,
    source: u32,
    began: Timestamp,
    ends: [SocketAddr; 2],
    client: Side,
    certain: bool,
    mail: bool,
    syn: Option<Timestamp>,
    syn_ack: Option<Timestamp>,
    established: Option<Timestamp>,
    /// Counted before there was a session.
    packets: [u32; 2],
    /// Ends that came before there was a session.
    skipped: [Option<(Timestamp, StreamEnd)>; 2],
    session: Option<Box<Session>>,
}

/// What a segment does to the connection that has its addresses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It belongs to it.
    Belongs,
    /// It is passed over.
    Stray,
    /// The connection is over, and this begins another.
    Next,
    /// The same, but an earlier SYN began it.
    NextSince(Reuse),
}

impl Connection {
    pub(super) fn new(key: Key, side: Side, number: u64, segment: &Segment<'_>) -> Self {
        let mut ends = [segment.from; 2];
        *side.split(&mut ends).1 = segment.to;
        let (client, certain) = roles(side, segment);
        let mail = [segment.from, segment.to].iter().any(|end| MAIL_PORTS.contains(&end.port()));
        let head = Head {
            id: key.id(segment.at),
            ordinal: number,
            source: segment.source,
            began: segment.at,
            ends,
            client,
            certain,
            mail,
            syn: None,
            syn_ack: None,
            established: None,
            packets: [0; 2],
            skipped: [None; 2],
            session: None,
        };
        Self {
            key,
            last: segment.at,
            reuse: None,
            queued: false,
            closed: false,
            streams: [Stream::new(), Stream::new()],
            head,
        }
    }

    /// Position of its first packet in the input.
    pub(super) fn ordinal(&self) -> u64 {
        self.head.ordinal
    }

    /// Octets kept for both directions.
    pub(super) fn buffered(&self) -> usize {
        self.streams.iter().map(Stream::buffered).sum()
    }

    /// Which timeout counts.
    pub(super) fn list(&self) -> List {
        let waits = self.head.session.is_none() && self.head.established.is_none();
        match self.closed {
            true => List::Lingering,
            false if waits || self.has_ended() => List::Short,
            false => List::Open,
        }
    }

    /// Whether every direction that was seen has ended.
    pub(super) fn has_ended(&self) -> bool {
        let ended = |stream: &Stream| stream.end().is_some() || !stream.is_seen();
        self.streams.iter().all(ended) && self.streams.iter().any(|stream| stream.end().is_some())
    }

    /// Whether nothing is to be waited for: reset, or both FINs acknowledged.
    pub(super) fn is_over(&self) -> bool {
        self.streams.iter().any(|stream| stream.end() == Some(StreamEnd::Reset))
            || self.streams.iter().all(Stream::is_fin_acknowledged)
    }

    /// What `segment` does to it.
    pub(super) fn fate(&self, side: Side, segment: &Segment<'_>) -> Fate {
        let mine = side.pick(&self.streams);
        if let Some(reuse) = self.reuse
            && reuse.is_confirmed(side, segment, mine)
        {
            return Fate::NextSince(reuse);
        }
        let first = segment.seq.wrapping_add(1);
        if segment.syn && mine.base().is_some_and(|base| base != first) {
            if self.closed || self.has_ended() {
                return Fate::Next;
            }
            return match segment.ack {
                None if self.head.established.is_none() && self.head.session.is_none() => Fate::Next,
                None => Fate::Stray,
                Some(_) if mine.next() == 0 && mine.buffered() == 0 => Fate::Belongs,
                Some(_) => Fate::Stray,
            };
        }
        let elsewhere = !segment.payload.is_empty() && !mine.is_plausible(segment.seq);
        match self.closed {
            false if self.is_blind(side, segment) => Fate::Stray,
            false => Fate::Belongs,
            true if elsewhere && !segment.rst => Fate::Next,
            true => Fate::Stray,
        }
    }

    /// Remembers a SYN that may begin the port's next connection.
    pub(super) fn suspect(&mut self, side: Side, number: u64, segment: &Segment<'_>) {
        if segment.syn && segment.ack.is_none() {
            self.reuse = Some(Reuse { side, seq: segment.seq, at: segment.at, number });
        }
    }

    /// Takes a segment that belongs to it.
    pub(super) fn segment(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        limits: &Arc<Limits>,
        budget: &mut BufferBudget,
        out: &mut dyn Sink,
    ) {
        self.last = self.last.max(segment.at);
        self.head.packet(side);
        let head = &mut self.head;
        let (mine, theirs) = side.split(&mut self.streams);
        if segment.syn && segment.ack.is_some() && mine.base().is_some_and(|b| b != segment.seq.wrapping_add(1)) {
            // Another SYN+ACK before any octet: the last one counts.
            *mine = Stream::new();
        }
        head.handshake(side, segment);
        let received = match segment.ack {
            Some(ack) if !segment.rst && mine.is_plausible(segment.seq) => {
                let mut deliver = |delivery: Delivery<'_>| head.deliver(side.other(), delivery, limits, out);
                let bare = segment.payload.is_empty() && segment.cut == 0 && !segment.fin;
                theirs.acknowledged(segment.at, ack, bare, budget, &mut deliver);
                theirs.received(ack)
            }
            _ => None,
        };
        mine.segment(segment, received, budget, &mut |delivery| {
            head.deliver(side, delivery, limits, out);
        });
        if head.session.as_ref().is_some_and(|session| session.is_ignored()) {
            mine.quiet();
            theirs.quiet();
        }
    }

    /// Declares all its holes lost, to free what is kept behind them.
    pub(super) fn force(&mut self, limits: &Arc<Limits>, budget: &mut BufferBudget, out: &mut dyn Sink) {
        self.each(limits, out, |stream, at, deliver| {
            stream.force(at, budget, &mut |delivery| deliver(delivery));
        });
    }

    /// Ends it. Gives whether a session had to do with it.
    pub(super) fn finish(
        &mut self,
        at: Timestamp,
        why: End,
        limits: &Arc<Limits>,
        budget: &mut BufferBudget,
        out: &mut dyn Sink,
    ) -> bool {
        self.each(limits, out, |stream, _, deliver| {
            stream.finish(at, budget, &mut |delivery| deliver(delivery));
        });
        if self.head.session.is_none() && self.head.mail {
            self.head.open(false, limits, out);
        }
        self.closed = true;
        let Some(mut session) = self.head.session.take() else {
            return false;
        };
        for (side, dir) in [(self.head.client, Dir::ToServer), (self.head.client.other(), Dir::ToClient)] {
            let (count, first) = side.pick(&self.streams).conflicts();
            session.disorder(dir, side.pick(&self.streams).disorder());
            session.overlap(at, dir, first.unwrap_or_default(), count, out);
        }
        session.finish(at, why, out);
        true
    }

    fn each(
        &mut self,
        limits: &Arc<Limits>,
        out: &mut dyn Sink,
        mut action: impl FnMut(&mut Stream, Timestamp, &mut dyn FnMut(Delivery<'_>)),
    ) {
        let (head, at) = (&mut self.head, self.last);
        for side in [head.client, head.client.other()] {
            let stream = side.split(&mut self.streams).0;
            action(stream, at, &mut |delivery| {
                head.deliver(side, delivery, limits, out);
            });
        }
    }

    /// A reset that answers nothing that was sent (RFC 9293 section 3.10.7.3).
    fn is_blind(&self, side: Side, segment: &Segment<'_>) -> bool {
        let theirs = side.other().pick(&self.streams);
        let answers = segment.ack.is_none_or(|ack| theirs.is_plausible(ack));
        segment.rst && side.pick(&self.streams).base().is_none() && !answers
    }
}

impl Reuse {
    /// Whether `segment` shows that the SYN was taken up.
    fn is_confirmed(&self, side: Side, segment: &Segment<'_>, mine: &Stream) -> bool {
        let first = self.seq.wrapping_add(1);
        if side == self.side {
            let due = mine.base().map(|base| base.wrapping_add(mine.next() as u32));
            !segment.syn && !segment.rst && segment.seq == first && due != Some(first)
        } else {
            segment.syn && segment.ack == Some(first)
        }
    }

    /// The SYN again, as the first segment of the next connection.
    pub(super) fn replay(&self, side: Side, segment: &Segment<'_>) -> (Side, u64, Segment<'static>) {
        let (from, to) = if side == self.side { (segment.from, segment.to) } else { (segment.to, segment.from) };
        let source = segment.source;
        let (at, seq) = (self.at, self.seq);
        let syn =
            Segment { at, source, from, to, seq, ack: None, syn: true, fin: false, rst: false, payload: &[], cut: 0 };
        (self.side, self.number, syn)
    }

    pub(super) fn at(&self) -> Timestamp {
        self.at
    }
}

impl Head {
    fn dir(&self, side: Side) -> Dir {
        if side == self.client { Dir::ToServer } else { Dir::ToClient }
    }

    fn packet(&mut self, side: Side) {
        let dir = self.dir(side);
        match &mut self.session {
            Some(session) => session.packet(dir),
            None => {
                let count = side.split(&mut self.packets).0;
                *count = count.saturating_add(1);
            }
        }
    }

    fn handshake(&mut self, side: Side, segment: &Segment<'_>) {
        if segment.rst {
            return;
        }
        if segment.syn {
            let client = if segment.ack.is_some() { side.other() } else { side };
            // A simultaneous open (RFC 9293 section 3.5) has no client: the first to speak is taken for it.
            if self.session.is_none() && !(self.certain && (self.syn.is_some() || self.syn_ack.is_some())) {
                (self.client, self.certain) = (client, true);
            }
            let which = if segment.ack.is_some() { &mut self.syn_ack } else { &mut self.syn };
            which.get_or_insert(segment.at);
        } else if self.established.is_none()
            && side == self.client
            && segment.ack.is_some()
            && (self.syn.is_some() || self.syn_ack.is_some())
        {
            self.established = Some(segment.at);
        }
    }

    fn deliver(&mut self, side: Side, delivery: Delivery<'_>, limits: &Arc<Limits>, out: &mut dyn Sink) {
        if self.session.is_none() {
            let end = match delivery.input {
                Input::Data(_) | Input::Gap(_) => None,
                Input::Fin => Some(StreamEnd::Fin),
                Input::Reset => Some(StreamEnd::Reset),
            };
            if let Some(end) = end
                && !self.mail
            {
                *side.split(&mut self.skipped).0 = Some((delivery.at, end));
                return;
            }
            self.open(end.is_none(), limits, out);
        }
        let dir = self.dir(side);
        let Some(session) = &mut self.session else {
            return;
        };
        if let (Some(received), Input::Data(_)) = (delivery.received, delivery.input) {
            session.acked(dir.reverse(), received);
        }
        session.handle(delivery.at, dir, delivery.input, out);
    }

    /// Makes the session, and tells it what came before.
    fn open(&mut self, octets: bool, limits: &Arc<Limits>, out: &mut dyn Sink) {
        // Without the client's packets, or with octets in its SYN (RFC 7413), no last acknowledgment comes before.
        let established = self.established.or_else(|| self.syn_ack.or(self.syn).filter(|_| octets));
        let peers = Peers {
            client: *self.client.pick(&self.ends),
            server: *self.client.other().pick(&self.ends),
            established,
            roles_certain: self.certain,
            source: self.source,
            ordinal: self.ordinal,
        };
        let mut session = Box::new(Session::new(self.began, self.id, peers, Arc::clone(limits)));
        if let Some(after) = self.syn.zip(self.syn_ack).and_then(|(syn, answer)| answer.since(syn)) {
            session.connected(after);
        }
        for side in [Side::Lesser, Side::Greater] {
            let dir = self.dir(side);
            for _ in 0..*side.pick(&self.packets) {
                session.packet(dir);
            }
            if let Some((at, end)) = *side.pick(&self.skipped) {
                let input = if end == StreamEnd::Fin { Input::Fin } else { Input::Reset };
                session.handle(at, dir, input, out);
            }
        }
        self.session = Some(session);
    }
}

/// Who is the client, and whether that is certain.
fn roles(side: Side, segment: &Segment<'_>) -> (Side, bool) {
    if segment.syn {
        return (if segment.ack.is_some() { side.other() } else { side }, true);
    }
    let (from, to) = (segment.from.port(), segment.to.port());
    let sender_serves = match (MAIL_PORTS.contains(&from), MAIL_PORTS.contains(&to)) {
        (true, false) => true,
        (false, true) => false,
        _ => from < to,
    };
    (if sender_serves { side.other() } else { side }, false)
}

//! One connection: two streams, who is who, and the session that they feed.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::slots::TimeoutList;
use crate::engine::{Limits, Session};
use crate::event::MAIL_PORTS;
use crate::event::{Dir, End, Input, Peers, Sink};
use crate::time::Timestamp;
use crate::wire::Side;
use crate::wire::key::ConnectionKey;
use crate::wire::packet::Segment;
use crate::wire::stream::{BufferBudget, Duplex, Stream, StreamDelivery, StreamEnd};

/// How long segments may be under way when their connection ends: twice the time that systems take (RFC 9293 section
/// 3.4.2 says two minutes).
const UNDER_WAY: Duration = Duration::from_secs(120);

/// Within how many nanoseconds a SYN on the other side of a host that renumbers is captured, skewed taps included.
const TWICE: u64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: ConnectionKey,
    pub(super) last: Timestamp,
    /// A SYN that may be the port's next connection.
    pub(super) reuse: Option<Reuse>,
    /// Whether it stands in the queue of those that keep octets.
    pub(super) queued: bool,
    /// Whether it stands in the queue of those that time releases.
    pub(super) timed: bool,
    pub(super) closed: bool,
    /// When the reset was sent that ends it.
    reset_at: Option<Timestamp>,
    streams: Duplex,
    head: ConnectionSession,
}

/// A SYN inside an open connection, or the answer to one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reuse {
    side: Side,
    seq: u32,
    ack: Option<u32>,
    at: Timestamp,
    number: u64,
    /// Whether the connection itself had only just begun.
    young: bool,
}

/// Everything but the streams.
#[derive(Debug)]
struct ConnectionSession {
    id: u64,
    ordinal: u64,
    source: u32,
    began: Timestamp,
    ends: [SocketAddr; 2],
    client: Side,
    certain: bool,
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
    pub(super) fn new(key: ConnectionKey, side: Side, number: u64, segment: &Segment<'_>) -> Self {
        let mut ends = [segment.from; 2];
        *side.split(&mut ends).1 = segment.to;
        let (client, certain) = roles(side, segment);
        let head = ConnectionSession {
            id: key.id(segment.at, number),
            ordinal: number,
            source: segment.source,
            began: segment.at,
            ends,
            client,
            certain,
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
            timed: false,
            closed: false,
            reset_at: None,
            streams: Duplex::new(),
            head,
        }
    }

    /// Position of its first packet in the input.
    pub(super) fn ordinal(&self) -> u64 {
        self.head.ordinal
    }

    /// Bytes kept for both directions.
    pub(super) fn buffered(&self) -> usize {
        self.streams.buffered()
    }

    /// Whether something waits that time alone will release.
    pub(super) fn waits(&self) -> bool {
        self.streams.waits()
    }

    /// When it was over, if the last segment or time ended it.
    pub(super) fn over(&self) -> Option<Timestamp> {
        self.streams.is_over().then(|| self.reset_at.unwrap_or(self.last))
    }

    /// Which timeout counts.
    pub(super) fn list(&self) -> TimeoutList {
        let waits = self.head.session.is_none() && self.head.established.is_none();
        match self.closed {
            true => TimeoutList::Lingering,
            false if waits || self.has_ended() => TimeoutList::Short,
            false => TimeoutList::Open,
        }
    }

    /// Whether every direction that was seen has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.streams.has_ended()
    }

    /// Whether nothing shows that anybody took its SYN up.
    pub(super) fn is_unanswered(&self) -> bool {
        let taken_up = self.head.syn_ack.is_some() || self.head.established.is_some();
        !taken_up && self.head.session.is_none() && self.is_fresh()
    }

    /// What `segment` does to it.
    pub(super) fn fate(&self, side: Side, segment: &Segment<'_>) -> Fate {
        let mine = self.streams.of(side);
        if let Some(reuse) = self.reuse
            && self.is_confirmed(&reuse, side, segment, mine)
        {
            return Fate::NextSince(reuse);
        }
        if segment.syn && mine.base().is_some_and(|base| base != segment.seq.wrapping_add(1)) {
            return self.fate_of_syn(side, segment);
        }
        match self.closed {
            false if self.is_blind(side, segment) => Fate::Stray,
            false => Fate::Belongs,
            true if !segment.payload.is_empty() && !segment.rst && self.is_unheard_of(mine, segment) => Fate::Next,
            true => Fate::Stray,
        }
    }

    /// A SYN with another number than the first.
    fn fate_of_syn(&self, side: Side, segment: &Segment<'_>) -> Fate {
        if self.closed || self.has_ended() {
            return Fate::Next;
        }
        let mine = self.streams.of(side);
        let answers = |ack: u32| self.streams.of(side.other()).base().is_none_or(|base| base == ack);
        match segment.ack {
            Some(ack) if mine.is_fresh() && answers(ack) => Fate::Belongs,
            _ => Fate::Stray,
        }
    }

    /// Bytes that do not trail behind a connection that is over: neither repeated, nor on their way when it ended, nor
    /// those of the other side of a host that renumbers.
    fn is_unheard_of(&self, mine: &Stream, segment: &Segment<'_>) -> bool {
        let under_way = || segment.at.since(self.last).is_none_or(|passed| passed <= UNDER_WAY);
        let known = match mine.is_plausible(segment.seq) {
            true => mine.is_repeated(segment.seq, segment.payload.len()) || under_way(),
            false => mine.is_other_numbering(segment.seq),
        };
        !known
    }

    /// Whether no byte of it was seen.
    fn is_fresh(&self) -> bool {
        Side::BOTH.iter().all(|side| self.streams.of(*side).is_fresh())
    }

    /// Remembers a SYN, or the answer to one, that may begin the port's next connection.
    pub(super) fn suspect(&mut self, side: Side, number: u64, segment: &Segment<'_>) {
        if !segment.syn {
            return;
        }
        let own = if segment.ack.is_some() { self.head.syn_ack } else { self.head.syn };
        let soon = own.is_some_and(|own| segment.at.as_nanos().abs_diff(own.as_nanos()) < TWICE);
        let young = soon && (segment.ack.is_some() || self.streams.of(self.head.client).is_fresh());
        let Segment { seq, ack, at, .. } = *segment;
        // The answer comes behind its SYN, unless the client's side is captured late.
        if ack.is_none() || self.reuse.is_none_or(|reuse| at.as_nanos().abs_diff(reuse.at.as_nanos()) > TWICE) {
            self.reuse = Some(Reuse { side, seq, ack, at, number, young });
        }
    }

    /// Whether `segment` shows that a SYN inside it was taken up. While the connection begins it may be its own, captured
    /// on the other side of a host that renumbers: then both SYNs are answered.
    fn is_confirmed(&self, reuse: &Reuse, side: Side, segment: &Segment<'_>, mine: &Stream) -> bool {
        let taken_up = self.head.syn_ack.is_some() || self.head.established.is_some();
        let twice = reuse.young && taken_up;
        !twice && reuse.is_confirmed(side, segment, mine)
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
        let again = |base: u32| segment.syn && segment.ack.is_some() && base != segment.seq.wrapping_add(1);
        if self.streams.of(side).base().is_some_and(again) {
            // Another SYN+ACK before any byte: the last one counts.
            self.streams.begin_again(side);
        }
        let Self { streams, head, .. } = self;
        head.handshake(side, segment);
        streams.segment(side, segment, self.last, budget, &mut |side, delivery| {
            head.deliver(side, delivery, limits, out);
        });
        self.reset_at = streams.reset_at().or_else(|| self.reset_at.filter(|_| streams.is_over()));
        if head.session.as_ref().is_some_and(|session| session.is_ignored()) {
            streams.quiet();
        }
    }

    /// Time has come to `now`: what waited long enough goes on.
    pub(super) fn tick(&mut self, now: Timestamp, limits: &Arc<Limits>, budget: &mut BufferBudget, out: &mut dyn Sink) {
        let Self { streams, head, .. } = self;
        streams.tick(now, budget, &mut |side, delivery| head.deliver(side, delivery, limits, out));
    }

    /// Declares all its holes lost, to free what is kept behind them.
    pub(super) fn force(&mut self, limits: &Arc<Limits>, budget: &mut BufferBudget, out: &mut dyn Sink) {
        let Self { streams, head, .. } = self;
        streams.force(self.last, budget, &mut |side, delivery| head.deliver(side, delivery, limits, out));
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
        let Self { streams, head, .. } = self;
        let at = streams.reset_at().filter(|_| why == End::Closed).unwrap_or(at);
        streams.finish(at, budget, &mut |side, delivery| head.deliver(side, delivery, limits, out));
        if self.head.session.is_none() && self.head.is_mail() {
            self.head.open(false, limits, out);
        }
        self.closed = true;
        let Some(mut session) = self.head.session.take() else {
            return false;
        };
        for (side, dir) in [(self.head.client, Dir::ToServer), (self.head.client.other(), Dir::ToClient)] {
            let (count, first) = self.streams.of(side).conflicts();
            session.disorder(dir, self.streams.of(side).disorder());
            session.overlap(at, dir, first.unwrap_or_default(), count, out);
        }
        session.finish(at, why, out);
        self.streams.retire();
        true
    }

    /// A reset that answers nothing that was sent (RFC 9293 section 3.10.7.3).
    fn is_blind(&self, side: Side, segment: &Segment<'_>) -> bool {
        let theirs = self.streams.of(side.other());
        let answers = segment.ack.is_none_or(|ack| theirs.is_plausible(ack));
        segment.rst && self.streams.of(side).base().is_none() && !answers
    }
}

impl Reuse {
    /// Whether `segment` shows that the SYN was taken up.
    fn is_confirmed(&self, side: Side, segment: &Segment<'_>, mine: &Stream) -> bool {
        let first = self.seq.wrapping_add(1);
        let due = mine.base().map(|base| base.wrapping_add(mine.next() as u32));
        let goes_on = |from| !segment.syn && !segment.rst && segment.seq == from && due != Some(from);
        if side == self.side {
            return goes_on(first);
        }
        match self.ack {
            None => (segment.syn || segment.rst) && segment.ack == Some(first),
            Some(ack) if segment.syn => segment.ack.is_none() && segment.seq.wrapping_add(1) == ack,
            // The SYN itself was not captured: the end of the handshake shows it.
            Some(ack) => segment.ack == Some(first) && goes_on(ack),
        }
    }

    /// The SYN again, as the first segment of the next connection.
    pub(super) fn replay(&self, side: Side, segment: &Segment<'_>) -> (Side, u64, Segment<'static>) {
        let (from, to) = if side == self.side { (segment.from, segment.to) } else { (segment.to, segment.from) };
        let source = segment.source;
        let Self { at, seq, ack, .. } = *self;
        let syn = Segment { at, source, from, to, seq, ack, syn: true, fin: false, rst: false, payload: &[], cut: 0 };
        (self.side, self.number, syn)
    }

    pub(super) fn at(&self) -> Timestamp {
        self.at
    }
}

impl ConnectionSession {
    /// Whether the server's port is one of mail.
    fn is_mail(&self) -> bool {
        MAIL_PORTS.contains(&self.client.other().pick(&self.ends).port())
    }

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

    fn deliver(&mut self, side: Side, delivery: StreamDelivery<'_>, limits: &Arc<Limits>, out: &mut dyn Sink) {
        if self.session.is_none() {
            let end = match delivery.input {
                Input::Data(_) | Input::Gap(_) => None,
                Input::Fin => Some(StreamEnd::Fin),
                Input::Reset => Some(StreamEnd::Reset),
            };
            if let Some(end) = end
                && !self.is_mail()
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
    let sender_serves = match service(from).cmp(&service(to)) {
        Ordering::Equal => from < to,
        order => order.is_gt(),
    };
    (if sender_serves { side.other() } else { side }, false)
}

/// How likely a port is that of a server. Mail ports above 1023 are below the system ports, as some systems give them
/// to clients too (Windows XP from 1025 on, the BSDs from 1024 on).
fn service(port: u16) -> u8 {
    match (MAIL_PORTS.contains(&port), port < 1024) {
        (true, true) => 3,
        (false, true) => 2,
        (true, false) => 1,
        (false, false) => 0,
    }
}

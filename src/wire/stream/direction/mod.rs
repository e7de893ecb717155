//! One direction: what of its segments waits, what is due, and what is lost.

mod numbers;

use std::time::Duration;

use self::numbers::Far;
pub(in crate::wire::stream) use self::numbers::ResetFit;
use super::kept::Kept;
use super::recent::Recent;
use super::{BufferBudget, StreamDelivery, StreamEnd, StreamLimits};
use crate::event::Disorder;
use crate::event::Input;
use crate::time::Timestamp;
use crate::wire::packet::Segment;

/// One direction.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of offset 0.
    base: Option<u32>,
    /// The next byte to deliver.
    next: u64,
    /// The first byte that is not here: `next`, and what waits from there on without a hole.
    edge: u64,
    /// Behind the last byte known to have been sent.
    top: u64,
    /// Where its last segment stood, if that had no bytes: all before was sent, a FIN perhaps included.
    stands: u64,
    /// What the other side acknowledged, a FIN's byte included.
    acked: Option<u64>,
    /// What two of its segments acknowledged.
    confirmed: u64,
    /// What the last of them did.
    acked_last: u64,
    fin: Option<Fin>,
    end: Option<StreamEnd>,
    seen: bool,
    quiet: bool,
    kept: Kept,
    stall: Option<Stall>,
    /// How often bytes that were acknowledged did not come, with none that came late since.
    expired: u8,
    far: Option<Far>,
    recent: Recent,
    conflicts: u32,
    disorder: Disorder,
    first_conflict: Option<u64>,
}

/// Where the other direction stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its next byte to deliver.
    next: u64,
    /// What may be acknowledged of it without anything to wait for.
    reached: u64,
}

/// What the first that waits does wait for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Awaited {
    /// Nothing waits.
    None,
    /// Bytes of its own direction, up to `start`.
    Hole { start: u64, at: Timestamp },
    /// Bytes of the other direction, up to `received`.
    Due { received: u64, at: Timestamp },
}

#[derive(Clone, Copy, Debug)]
struct Fin {
    offset: u64,
    at: Timestamp,
    received: Option<u64>,
}

/// Since when the first that waits is the first.
#[derive(Clone, Copy, Debug)]
struct Stall {
    since: Timestamp,
    segments: u32,
}

/// A hole that one segment alone shows is believed up to here: the largest window without scaling (RFC 9293 section 3.1).
const UNSCALED: u64 = 64 << 10;
/// After so many holes that nothing filled, bytes are taken for lost soon: the capture loses packets.
const HOPELESS: u8 = 8;
/// How soon.
const SOON: Duration = Duration::from_millis(10);

impl Stream {
    /// Takes a segment of this direction that is no reset; `received` is what it acknowledges of the other.
    pub(super) fn segment(
        &mut self,
        segment: &Segment<'_>,
        received: Option<u64>,
        peer: Peer,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(StreamDelivery<'_>),
    ) {
        self.seen = true;
        let seq = segment.seq.wrapping_add(u32::from(segment.syn));
        let empty = segment.payload.is_empty() && segment.cut == 0 && !segment.fin;
        if empty && !segment.syn {
            // A keep-alive without bytes stands one before its place: it cannot tell where a stream begins.
            self.stands = self.standing(seq);
            return;
        }
        self.stands = 0;
        self.base.get_or_insert(seq);
        if empty {
            return;
        }
        let Some(offset) = self.place(seq, budget) else {
            return;
        };
        if self.quiet || self.end.is_some() {
            return self.skim(offset, segment, budget, out);
        }
        let in_order = offset == self.next as i64 && self.kept.is_empty() && self.fin.is_none();
        if in_order && segment.cut == 0 && !segment.fin && peer.has(received) {
            self.pass(segment.at, received, segment.payload, peer, out);
            self.edge = self.next;
            self.top = self.top.max(self.next);
            return;
        }
        let before = (budget.counters.duplicate_octets, budget.counters.early);
        self.irregular(offset, segment, received, peer, budget, out);
        let Disorder { retransmitted, early } = &mut self.disorder;
        *retransmitted = retransmitted.saturating_add((budget.counters.duplicate_octets > before.0).into());
        *early = early.saturating_add((budget.counters.early > before.1).into());
    }

    /// When the first came that waits, if it is due.
    pub(super) fn due(&self, peer: Peer) -> Option<Timestamp> {
        match self.head() {
            Awaited::Due { received, at } if received <= peer.reached => Some(at),
            _ => None,
        }
    }

    /// Delivers the first that waits, whatever it acknowledged.
    pub(super) fn insist(&mut self, peer: Peer, budget: &mut BufferBudget, out: &mut impl FnMut(StreamDelivery<'_>)) {
        match self.fin {
            _ if !self.kept.is_empty() => self.pass_kept(peer, budget, out),
            Some(fin) => self.pass_fin(fin, peer, budget, out),
            None => {}
        }
    }

    /// Declares lost what is missing before `to`.
    pub(super) fn lose(
        &mut self,
        at: Timestamp,
        to: u64,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(StreamDelivery<'_>),
    ) {
        let Some(lost) = to.checked_sub(self.next).filter(|lost| *lost > 0) else {
            return;
        };
        budget.counters.gaps += 1;
        budget.counters.gap_octets += lost;
        self.next = to;
        self.top = self.top.max(to);
        self.edge = self.kept.reach(self.edge.max(to));
        self.stall = None;
        out(StreamDelivery { at, received: None, input: Input::Gap(lost) });
    }

    /// What was acknowledged within the window did not come.
    pub(super) fn expire(&mut self) {
        self.expired = self.expired.saturating_add(1);
    }

    /// Nothing more will come, and nothing waits: what was sent at the end and not seen is lost.
    pub(super) fn trail(&mut self, at: Timestamp, budget: &mut BufferBudget, out: &mut impl FnMut(StreamDelivery<'_>)) {
        if self.quiet || self.end.is_some() {
            return;
        }
        // An acknowledgment that a later one takes back was none.
        let acked = self.confirmed.max(self.acked_last).min(self.acked.unwrap_or(0));
        let shown = acked.max(self.stands);
        let shown = if self.may_be_fin(shown) { self.next } else { shown };
        self.lose(at, self.top.max(shown), budget, out);
    }

    /// The reset is delivered.
    pub(super) fn reset(&mut self, at: Timestamp, out: &mut impl FnMut(StreamDelivery<'_>)) {
        if self.end != Some(StreamEnd::Reset) {
            self.end = Some(StreamEnd::Reset);
            out(StreamDelivery { at, received: None, input: Input::Reset });
        }
    }

    /// No bytes are wanted any more; the end still is.
    pub(super) fn quiet(&mut self) {
        self.quiet = true;
        self.next = self.next.max(self.top);
        self.edge = self.next;
        self.kept = Kept::default();
        self.recent = Recent::default();
        self.stall = None;
    }

    /// It is over: only what tells late segments apart is needed.
    pub(super) fn retire(&mut self) {
        self.kept = Kept::default();
        self.recent = Recent::default();
    }

    /// Where it stands, for the other direction.
    pub(super) fn peer(&self) -> Peer {
        // Nothing comes behind the end.
        let reached = if self.end.is_some() || self.quiet { u64::MAX } else { self.next };
        Peer { next: self.next, reached }
    }

    /// What the first that waits does wait for.
    pub(super) fn head(&self) -> Awaited {
        let first = self.kept.first().map(|(start, piece)| (start, piece.at, piece.received));
        let fin = self.fin.filter(|_| self.end.is_none()).map(|fin| (fin.offset, fin.at, fin.received));
        match first.or(fin) {
            None => Awaited::None,
            Some((start, at, _)) if start > self.next => Awaited::Hole { start, at },
            Some((_, at, received)) => Awaited::Due { received: received.unwrap_or(0), at },
        }
    }

    /// Whether `received` lies one behind all that was seen: rather a FIN that was not captured than a byte.
    pub(super) fn may_be_fin(&self, received: u64) -> bool {
        self.fin.is_none() && self.kept.is_empty() && received == self.next + 1 && self.top <= self.next
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.kept.is_empty() && (self.fin.is_none() || self.end.is_some())
    }

    /// Notes since when it stands still.
    pub(super) fn stand(&mut self, now: Timestamp) {
        match (self.head(), &mut self.stall) {
            (Awaited::None, stall) => *stall = None,
            (_, Some(_)) => {}
            (_, stall @ None) => *stall = Some(Stall { since: now, segments: 0 }),
        }
    }

    /// Another segment of the connection came while it stands still.
    pub(super) fn count(&mut self) {
        if let Some(stall) = &mut self.stall {
            stall.segments = stall.segments.saturating_add(1);
        }
    }

    /// A later segment acknowledged less than the first that waits: its acknowledgment cannot be true.
    pub(super) fn relent(&mut self, received: u64) {
        if let Awaited::Due { received: claimed, .. } = self.head()
            && received < claimed
        {
            self.kept.relent(received);
        }
    }

    /// How long the first has waited as the first, and while how many segments came.
    pub(super) fn waited(&self, now: Timestamp) -> (Duration, u32) {
        self.stall.map_or((Duration::ZERO, 0), |stall| (now.since(stall.since).unwrap_or_default(), stall.segments))
    }

    /// How long what was acknowledged of it may be on its way.
    pub(super) fn patience(&self, limits: &StreamLimits) -> Duration {
        match self.expired {
            1.. if !self.seen => Duration::ZERO,
            HOPELESS.. => SOON,
            _ => limits.window,
        }
    }

    /// What the other side acknowledged of its bytes, a FIN that is known apart.
    pub(super) fn acked(&self) -> u64 {
        self.acked.unwrap_or(0).min(self.fin.map_or(u64::MAX, |fin| fin.offset))
    }

    /// Up to where it is certain that bytes were sent, of those that the other side acknowledged.
    pub(super) fn sure(&self) -> u64 {
        if !self.seen && self.expired > 0 { self.acked.unwrap_or(0) } else { self.confirmed }
    }

    /// Whether all that waits is one segment far behind a hole that nobody acknowledged: it belongs to nothing.
    pub(super) fn is_lost_in_space(&self, start: u64) -> bool {
        self.kept.is_single()
            && self.fin.is_none()
            && self.acked.unwrap_or(0) <= self.next
            && start - self.next > UNSCALED
    }

    /// Forgets everything that waits.
    pub(super) fn forget(&mut self, budget: &mut BufferBudget) {
        budget.counters.implausible += self.kept.truncate(0) as u64;
        self.top = self.next;
    }

    /// Bytes kept, with what keeping them costs.
    pub fn buffered(&self) -> usize {
        self.kept.cost()
    }

    /// Whether something waits.
    pub fn is_stalled(&self) -> bool {
        self.stall.is_some()
    }

    /// Sequence number of offset 0, once known.
    pub fn base(&self) -> Option<u32> {
        self.base
    }

    /// Offset of the next byte to deliver.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether no byte of it was seen.
    pub fn is_fresh(&self) -> bool {
        self.top == 0 && self.kept.is_empty()
    }

    /// Whether a segment of this direction was ever seen.
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// How it ended, once that is delivered.
    pub fn end(&self) -> Option<StreamEnd> {
        self.end
    }

    /// Whether nothing but its FIN is left to deliver.
    pub(super) fn is_at_fin(&self) -> bool {
        self.kept.is_empty() && self.end.is_none() && self.fin.is_some_and(|fin| fin.offset <= self.next)
    }

    /// Whether the other side acknowledged its FIN, be it delivered or not.
    pub(super) fn is_fin_received(&self) -> bool {
        self.fin.is_some_and(|fin| self.acked > Some(fin.offset))
    }

    /// Whether it has ended, or will once everything before its FIN is here or lost.
    pub(super) fn is_closing(&self) -> bool {
        self.end.is_some() || self.fin.is_some()
    }

    /// Whether the other side acknowledged the FIN.
    pub fn is_fin_acknowledged(&self) -> bool {
        self.end == Some(StreamEnd::Fin) && self.fin.is_some_and(|fin| self.acked > Some(fin.offset))
    }

    /// How its segments came.
    pub fn disorder(&self) -> Disorder {
        self.disorder
    }

    /// Segments with other bytes than seen before, and the offset of the first.
    pub fn conflicts(&self) -> (u32, Option<u64>) {
        (self.conflicts, self.first_conflict)
    }

    /// Whatever is not the next bytes alone.
    fn irregular(
        &mut self,
        offset: i64,
        segment: &Segment<'_>,
        received: Option<u64>,
        peer: Peer,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(StreamDelivery<'_>),
    ) {
        let end = offset + segment.payload.len() as i64;
        let plain = !segment.fin && segment.cut == 0;
        if plain && segment.payload.len() <= 1 && end == self.edge as i64 && offset < end {
            // A keep-alive (RFC 9293 section 3.8.4): its byte means nothing.
            return;
        }
        let Ok(sent) = u64::try_from(end + i64::from(segment.cut)) else {
            return;
        };
        let Some(payload) = self.within_fin(offset, segment.payload, budget) else {
            return;
        };
        let top = self.top;
        let (offset, payload) = self.unseen(offset, payload, budget);
        if !payload.is_empty() {
            self.weave(offset, segment.at, payload, received, peer, budget, out);
        }
        if segment.cut > 0 && sent > self.next {
            self.cut(u64::try_from(end).unwrap_or(0), segment, received, peer, budget, out);
        }
        self.top = self.top.max(sent);
        if segment.fin {
            let whole = sent >= top || sent == self.edge;
            self.note_fin(Fin { offset: sent, at: segment.at, received }, whole, budget);
        }
    }

    /// What of `payload` lies before a FIN that is known. A FIN that data and nothing else contradicts was none.
    fn within_fin<'a>(&mut self, offset: i64, payload: &'a [u8], budget: &mut BufferBudget) -> Option<&'a [u8]> {
        let Some(fin) = self.fin else {
            return Some(payload);
        };
        let room = usize::try_from(fin.offset as i64 - offset).unwrap_or(0);
        if payload.len() <= room {
            return Some(payload);
        }
        if self.acked > Some(fin.offset) {
            budget.counters.late += 1;
            return payload.get(..room).filter(|payload| !payload.is_empty());
        }
        budget.counters.implausible += 1;
        self.fin = None;
        Some(payload)
    }

    /// A FIN ends the stream if nothing was sent behind it, or if everything before it is here: then what lies behind it is
    /// not of this connection (RFC 9293 section 3.10.7.4).
    fn note_fin(&mut self, fin: Fin, whole: bool, budget: &mut BufferBudget) {
        match self.fin {
            None if whole => self.fin = Some(fin),
            Some(known) if known.offset == fin.offset => {}
            _ => {
                budget.counters.implausible += 1;
                return;
            }
        }
        if whole {
            budget.counters.late += self.kept.truncate(fin.offset) as u64;
            self.top = fin.offset;
        }
    }

    /// Cuts off what was delivered before.
    fn unseen<'a>(&mut self, offset: i64, payload: &'a [u8], budget: &mut BufferBudget) -> (u64, &'a [u8]) {
        let behind = usize::try_from(self.next as i64 - offset).unwrap_or(0);
        if behind == 0 {
            return (offset as u64, payload);
        }
        let (old, new) = payload.split_at_checked(behind).unwrap_or((payload, &[]));
        budget.counters.duplicate_octets += old.len() as u64;
        if let Some(place) = self.recent.differs(offset, old) {
            self.conflict(place, budget);
        }
        (self.next, new)
    }

    /// Delivers or keeps what of `payload` is not here yet.
    #[expect(clippy::too_many_arguments, reason = "a segment, taken apart")]
    fn weave(
        &mut self,
        offset: u64,
        at: Timestamp,
        payload: &[u8],
        received: Option<u64>,
        peer: Peer,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(StreamDelivery<'_>),
    ) {
        let (edge, due) = (self.edge, peer.has(received));
        if offset <= edge && offset + payload.len() as u64 > edge && self.acked > Some(edge) {
            // Acknowledged before it came: the capture holds the directions out of order.
            self.expired = 0;
        }
        let room = match self.kept.first() {
            _ if offset > self.next || !due => 0,
            None => payload.len(),
            Some((start, _)) => usize::try_from(start.saturating_sub(offset)).unwrap_or(usize::MAX),
        };
        let (first, rest) = payload.split_at_checked(room).unwrap_or((payload, &[]));
        if !first.is_empty() {
            self.pass(at, received, first, peer, out);
        }
        if !rest.is_empty() {
            let added = self.kept.add(offset + first.len() as u64, at, received, rest, peer.reached);
            budget.counters.duplicate_octets += added.duplicate;
            budget.counters.early += u64::from(added.new && offset > edge);
            budget.counters.waited += u64::from(added.new && offset <= edge && !due);
            if let Some(place) = added.conflict {
                self.conflict(place, budget);
            }
        }
        self.edge = self.kept.reach(self.edge.max(self.next));
    }

    /// Bytes that the snap length cut off behind `end` are lost as soon as it is their turn.
    fn cut(
        &mut self,
        end: u64,
        segment: &Segment<'_>,
        received: Option<u64>,
        peer: Peer,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(StreamDelivery<'_>),
    ) {
        let sent = end + u64::from(segment.cut);
        if end <= self.next && peer.has(received) {
            let to = self.kept.first().map_or(sent, |(start, _)| start.min(sent));
            self.lose(segment.at, to, budget, out);
        } else {
            let from = end.max(self.next);
            self.kept.cut(from, segment.at, received, sent - from);
        }
    }

    fn pass(
        &mut self,
        at: Timestamp,
        received: Option<u64>,
        data: &[u8],
        peer: Peer,
        out: &mut impl FnMut(StreamDelivery<'_>),
    ) {
        self.recent.note(self.next, data);
        self.next += data.len() as u64;
        self.stall = None;
        out(StreamDelivery { at, received: received.map(|acked| acked.min(peer.next)), input: Input::Data(data) });
    }

    fn pass_kept(&mut self, peer: Peer, budget: &mut BufferBudget, out: &mut impl FnMut(StreamDelivery<'_>)) {
        let Some((start, piece)) = self.kept.pop() else { return };
        let known = usize::try_from(self.next.saturating_sub(start)).unwrap_or(usize::MAX);
        if let Some(data) = piece.data.get(known..).filter(|data| !data.is_empty()) {
            self.pass(piece.at, piece.received, data, peer, out);
        }
        if piece.cut > 0 {
            let sent = start + piece.data.len() as u64 + piece.cut;
            let to = self.kept.first().map_or(sent, |(start, _)| start.min(sent));
            self.lose(piece.at, to, budget, out);
        }
        self.edge = self.kept.reach(self.edge.max(self.next));
    }

    fn pass_fin(&mut self, fin: Fin, peer: Peer, budget: &mut BufferBudget, out: &mut impl FnMut(StreamDelivery<'_>)) {
        budget.counters.late += self.kept.truncate(fin.offset) as u64;
        self.end = Some(StreamEnd::Fin);
        self.stall = None;
        let received = fin.received.map(|acked| acked.min(peer.next));
        out(StreamDelivery { at: fin.at, received, input: Input::Fin });
    }

    /// Follows a stream of which no bytes are wanted, or that has ended.
    fn skim(
        &mut self,
        offset: i64,
        segment: &Segment<'_>,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(StreamDelivery<'_>),
    ) {
        let sent = u64::try_from(offset).unwrap_or(0) + segment.payload.len() as u64 + u64::from(segment.cut);
        if self.end.is_some() {
            budget.counters.late += u64::from(sent > self.next);
            return;
        }
        self.next = self.next.max(sent);
        (self.top, self.edge) = (self.next, self.next);
        if segment.fin {
            let fin = Fin { offset: self.next, at: segment.at, received: None };
            self.fin = Some(fin);
            self.pass_fin(fin, Peer { next: 0, reached: u64::MAX }, budget, out);
        }
    }

    fn conflict(&mut self, place: u64, budget: &mut BufferBudget) {
        budget.counters.conflicts += 1;
        self.conflicts = self.conflicts.saturating_add(1);
        self.first_conflict.get_or_insert(place);
    }
}

impl Peer {
    /// Whether everything that was acknowledged is here.
    fn has(self, received: Option<u64>) -> bool {
        received.is_none_or(|received| received <= self.reached)
    }
}

//! One direction of a TCP connection: segments in any order become octets in order, gaps, and an end.
//!
//! What comes in order passes through without a copy. What comes early is kept with the time and the ACK evidence of
//! its own segment, bounded, until the hole before it is filled or declared lost. A hole is lost at once when the
//! other side acknowledged past it; otherwise when the octets kept behind it become too many or too old, or at the
//! end. The first octets of an overlap win. Different octets in the same place are counted as long as the earlier
//! ones are still kept; of those delivered, digests are compared: of the last few short segments, and once there was
//! bulk, of blocks of 64 octets, the last 16 KiB, as far as whole ones come again.

mod blocks;
mod recent;

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use super::packet::Segment;
use crate::event::Disorder;
use crate::event::Input;
use crate::time::Timestamp;
use recent::Recent;

/// Caps of one direction.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Octets kept behind a hole, the cost of each piece included: the largest receive window of usual systems.
    pub buffered: usize,
    /// How long octets wait behind a hole: a few retransmission timeouts (RFC 6298).
    pub age: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { buffered: 4 << 20, age: Duration::from_secs(30) }
    }
}

/// What reassembly met, over all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Segments kept because they came before their turn.
    pub early: u64,
    /// Octets that had been seen before.
    pub duplicate_octets: u64,
    /// Segments that carried other octets than seen before in the same place.
    pub conflicts: u64,
    /// Holes, or parts of one, declared lost.
    pub gaps: u64,
    /// Octets in them.
    pub gap_octets: u64,
    /// Holes declared lost by a cap, not by an acknowledgment or an end.
    pub forced_gaps: u64,
    /// Segments and acknowledgments too far off to be believed without another that agrees.
    pub implausible: u64,
    /// Resets outside of the window (RFC 9293 section 3.10.7.4).
    pub blind_resets: u64,
    /// Segments with octets after the end of their stream.
    pub late: u64,
}

impl AddAssign for StreamCounters {
    fn add_assign(&mut self, more: Self) {
        let Self { early, duplicate_octets, conflicts, gaps, gap_octets, forced_gaps, implausible, blind_resets, late } =
            more;
        self.early += early;
        self.duplicate_octets += duplicate_octets;
        self.conflicts += conflicts;
        self.gaps += gaps;
        self.gap_octets += gap_octets;
        self.forced_gaps += forced_gaps;
        self.implausible += implausible;
        self.blind_resets += blind_resets;
        self.late += late;
    }
}

/// Caps and counters that all streams share.
#[derive(Clone, Copy, Debug, Default)]
pub struct BufferBudget {
    /// The caps.
    pub limits: StreamLimits,
    /// The counters.
    pub counters: StreamCounters,
}

/// What a stream gives.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// When these octets were first sent; for a gap, when it became certain.
    pub at: Timestamp,
    /// Octets of the other direction that the sender had received when it sent this, if known.
    pub received: Option<u64>,
    /// Octets, loss, or the end.
    pub input: Input<'a>,
}

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN was delivered.
    Fin,
    /// A reset was delivered.
    Reset,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of offset 0.
    base: Option<u32>,
    /// The next octet to deliver.
    next: u64,
    /// Behind the last octet known to have been sent.
    top: u64,
    /// What the other side acknowledged, a FIN's octet included.
    acked: Option<u64>,
    /// Since when a bare acknowledgment is the only sign of a hole.
    grace: Option<Timestamp>,
    fin: Option<Fin>,
    end: Option<End>,
    seen: bool,
    quiet: bool,
    /// By offset; they never overlap, and all lie beyond `next`.
    kept: BTreeMap<u64, Kept>,
    cost: usize,
    far: Option<Box<Far>>,
    far_ack: Option<u32>,
    recent: Recent,
    conflicts: u32,
    disorder: Disorder,
    first_conflict: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Fin {
    offset: u64,
    at: Timestamp,
    received: Option<u64>,
}

#[derive(Debug)]
struct Kept {
    at: Timestamp,
    received: Option<u64>,
    data: Box<[u8]>,
}

/// A segment too far off: believed when another one or an acknowledgment agrees.
#[derive(Debug)]
struct Far {
    seq: u32,
    kept: Kept,
}

/// What a piece costs beside its octets.
const OVERHEAD: usize = 96;
/// How far from what was seen a number is believed at once: no usual system has a larger window.
const REACH: i64 = 16 << 20;
/// RFC 7323 section 2.3: no window is larger.
const LARGEST_WINDOW: i64 = 1 << 30;
/// How long a bare acknowledgment may come before what it acknowledges: captures swap neighbours, no more.
const GRACE: Duration = Duration::from_millis(10);
/// How close two numbers lie that are far off and agree.
const AGREE: i32 = 1 << 20;

impl Stream {
    /// A direction nothing is known of.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a segment of this direction. `received` is handed on with what it brings.
    pub fn segment(
        &mut self,
        segment: &Segment<'_>,
        received: Option<u64>,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Delivery<'_>),
    ) {
        self.seen = true;
        let seq = segment.seq.wrapping_add(u32::from(segment.syn));
        if segment.rst {
            return self.reset(segment.at, seq, budget, out);
        }
        let empty = segment.payload.is_empty() && segment.cut == 0 && !segment.fin;
        if empty && !segment.syn {
            // A keep-alive without octets stands one before its place: it cannot tell where a stream begins.
            return;
        }
        self.base.get_or_insert(seq);
        if empty {
            return;
        }
        let Some(offset) = self.place(seq, segment, received, budget) else {
            return;
        };
        if self.quiet || self.end.is_some() {
            return self.skim(offset, segment, budget, out);
        }
        let in_order = offset == self.next as i64 && self.kept.is_empty() && self.fin.is_none();
        if in_order && segment.cut == 0 && !segment.fin {
            self.pass(segment.at, received, segment.payload, out);
            self.top = self.top.max(self.next);
            return;
        }
        let before = (budget.counters.duplicate_octets, budget.counters.early);
        self.irregular(offset, segment, received, budget, out);
        let Disorder { retransmitted, early } = &mut self.disorder;
        *retransmitted = retransmitted.saturating_add((budget.counters.duplicate_octets > before.0).into());
        *early = early.saturating_add((budget.counters.early > before.1).into());
        self.settle(segment.at, budget, out);
    }

    /// The other side acknowledged everything before `ack`. If the segment was `bare`, without octets or FIN of its own,
    /// and nothing else shows a hole, what is missing may still come in the next moment; nothing is delivered meanwhile
    /// that could depend on it.
    pub fn acknowledged(
        &mut self,
        at: Timestamp,
        ack: u32,
        bare: bool,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Delivery<'_>),
    ) {
        let Some(base) = self.base else {
            self.base = Some(ack);
            self.acked = Some(0);
            return;
        };
        let distance = ack.wrapping_sub(base.wrapping_add(self.next as u32));
        let near = i64::from(distance.cast_signed());
        if (-REACH..=0).contains(&near) {
            if let Some(offset) = self.next.checked_add_signed(near) {
                self.acked = self.acked.max(Some(offset));
            }
            return;
        }
        let reach = self.top.saturating_sub(self.next) as i64 + REACH;
        let offset = if near > 0 && near <= reach {
            self.next + u64::from(distance)
        } else if self.ack_agrees(ack) {
            self.adopt_far();
            self.next + u64::from(distance)
        } else {
            budget.counters.implausible += 1;
            self.far_ack = Some(ack);
            return;
        };
        self.far_ack = None;
        if !bare || !self.kept.is_empty() {
            self.grace = None;
        } else if self.acked <= Some(self.next) {
            self.grace = Some(at);
        }
        self.acked = self.acked.max(Some(offset));
        if self.quiet {
            self.next = self.next.max(offset);
        } else {
            self.settle(at, budget, out);
        }
    }

    /// Octets of this direction that whoever sends `ack` had received, as far as they were delivered.
    pub fn received(&self, ack: u32) -> Option<u64> {
        let behind = self.base?.wrapping_add(self.next as u32).wrapping_sub(ack).cast_signed();
        if behind <= 0 { Some(self.next) } else { self.next.checked_sub(u64::from(behind.cast_unsigned())) }
    }

    /// Whether a segment with this sequence number may belong to the connection.
    pub fn is_plausible(&self, seq: u32) -> bool {
        let Some(base) = self.base else { return true };
        let near = i64::from(seq.wrapping_sub(base.wrapping_add(self.next as u32)).cast_signed());
        (-REACH..=self.top.saturating_sub(self.next) as i64 + REACH).contains(&near)
    }

    /// Nothing more will come: everything kept is delivered, every hole is lost.
    pub fn finish(&mut self, at: Timestamp, budget: &mut BufferBudget, out: &mut impl FnMut(Delivery<'_>)) {
        if self.quiet || self.end.is_some() {
            return;
        }
        self.grace = None;
        self.settle(at, budget, out);
        while let Some(start) = self.kept.first_key_value().map(|(start, _)| *start) {
            self.lose(at, start, budget, out);
            self.pass_kept(out);
        }
        let top = self.fin.map_or(self.top, |fin| fin.offset);
        self.lose(at, top, budget, out);
        self.pass_fin(out);
    }

    /// Declares every hole lost that octets wait behind.
    pub fn force(&mut self, at: Timestamp, budget: &mut BufferBudget, out: &mut impl FnMut(Delivery<'_>)) {
        while let Some(start) = self.kept.first_key_value().map(|(start, _)| *start) {
            budget.counters.forced_gaps += 1;
            self.lose(at, start, budget, out);
            self.pass_kept(out);
        }
        self.pass_fin(out);
    }

    /// No octets are wanted any more; the end still is.
    pub fn quiet(&mut self) {
        self.quiet = true;
        self.next = self.next.max(self.top);
        self.kept = BTreeMap::new();
        self.far = None;
        self.recent = Recent::default();
        self.cost = 0;
    }

    /// Octets kept, with what keeping them costs.
    pub fn buffered(&self) -> usize {
        self.cost
    }

    /// Sequence number of offset 0, once known.
    pub fn base(&self) -> Option<u32> {
        self.base
    }

    /// Offset of the next octet to deliver.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether a segment of this direction was ever seen.
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// How it ended, once that is delivered.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether the other side acknowledged the FIN.
    pub fn is_fin_acknowledged(&self) -> bool {
        self.end == Some(End::Fin) && self.fin.is_some_and(|fin| self.acked > Some(fin.offset))
    }

    /// How its segments came.
    pub fn disorder(&self) -> Disorder {
        self.disorder
    }

    /// Segments with other octets than seen before, and the offset of the first.
    pub fn conflicts(&self) -> (u32, Option<u64>) {
        (self.conflicts, self.first_conflict)
    }

    /// Offset of a segment's first octet; negative if it lies before the first octet seen.
    fn place(
        &mut self,
        seq: u32,
        segment: &Segment<'_>,
        received: Option<u64>,
        budget: &mut BufferBudget,
    ) -> Option<i64> {
        let base = self.base?;
        let distance = seq.wrapping_sub(base.wrapping_add(self.next as u32));
        let near = i64::from(distance.cast_signed());
        let reach = (self.top.saturating_sub(self.next) as i64 + REACH).min(LARGEST_WINDOW);
        if (-REACH..=reach).contains(&near) {
            return Some(self.next as i64 + near);
        }
        let agrees = |other: u32| seq != other && seq.wrapping_sub(other).cast_signed().abs() <= AGREE;
        if self.far.as_ref().is_some_and(|far| agrees(far.seq))
            || self.far_ack.is_some_and(|ack| !self.quiet && agrees(ack))
        {
            self.adopt_far();
            return Some(self.next as i64 + i64::from(distance));
        }
        budget.counters.implausible += 1;
        let data = if self.quiet { Box::default() } else { segment.payload.into() };
        self.free_far();
        self.cost += OVERHEAD + segment.payload.len();
        self.far = Some(Box::new(Far { seq, kept: Kept { at: segment.at, received, data } }));
        None
    }

    /// Whether an acknowledgment far off agrees with another, or with a segment.
    fn ack_agrees(&self, ack: u32) -> bool {
        let agrees = |other: u32| (1..=AGREE).contains(&ack.wrapping_sub(other).cast_signed());
        self.far_ack.is_some_and(agrees) || self.far.as_ref().is_some_and(|far| agrees(far.seq))
    }

    fn free_far(&mut self) -> Option<Box<Far>> {
        let far = self.far.take()?;
        self.cost = self.cost.saturating_sub(OVERHEAD + far.kept.data.len());
        Some(far)
    }

    /// The segment far off belongs to the stream after all.
    fn adopt_far(&mut self) {
        let (Some(far), Some(base)) = (self.free_far(), self.base) else {
            return;
        };
        let distance = far.seq.wrapping_sub(base.wrapping_add(self.next as u32));
        let offset = self.next + u64::from(distance);
        if self.quiet || far.kept.data.is_empty() {
            return;
        }
        self.top = self.top.max(offset + far.kept.data.len() as u64);
        // Far off, and nothing near it was accepted: it overlaps nothing.
        self.cost += OVERHEAD + far.kept.data.len();
        self.kept.insert(offset, far.kept);
    }

    /// Whatever is not the next octets alone.
    fn irregular(
        &mut self,
        offset: i64,
        segment: &Segment<'_>,
        received: Option<u64>,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Delivery<'_>),
    ) {
        let end = offset + segment.payload.len() as i64;
        let sent = end + i64::from(segment.cut);
        let keep_alive = segment.payload.len() <= 1 && end == self.next as i64 && !segment.fin && segment.cut == 0;
        if keep_alive && offset < self.next as i64 {
            return;
        }
        let Ok(sent) = u64::try_from(sent) else {
            return;
        };
        let Some(payload) = self.within_fin(offset, segment.payload, budget) else {
            return;
        };
        if segment.fin {
            self.note_fin(sent, segment.at, received, budget);
        }
        self.top = self.top.max(sent);
        let (offset, payload) = self.unseen(offset, payload, budget);
        if !payload.is_empty() {
            self.weave(offset, segment.at, payload, received, budget, out);
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

    fn note_fin(&mut self, offset: u64, at: Timestamp, received: Option<u64>, budget: &mut BufferBudget) {
        match self.fin {
            None if offset >= self.top => {
                self.fin = Some(Fin { offset, at, received });
            }
            Some(fin) if fin.offset == offset => {}
            _ => budget.counters.implausible += 1,
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

    /// Delivers or keeps what of `payload` is in no piece kept.
    fn weave(
        &mut self,
        offset: u64,
        at: Timestamp,
        payload: &[u8],
        received: Option<u64>,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Delivery<'_>),
    ) {
        let end = offset + payload.len() as u64;
        let slice =
            |from: u64, to: u64| payload.get((from - offset) as usize..(to - offset) as usize).unwrap_or_default();
        let mut from = offset;
        let mut early = false;
        let mut conflict = None;
        let mut covered =
            self.kept.range(..offset).next_back().map(|(start, kept)| (*start, start + kept.data.len() as u64));
        loop {
            if let Some((start, stop)) = covered
                && stop > from
            {
                let (lower, upper) = (start.max(from), stop.min(end));
                let mine = slice(lower, upper);
                let theirs = self
                    .kept
                    .get(&start)
                    .and_then(|kept| kept.data.get((lower - start) as usize..(upper - start) as usize));
                if theirs.is_some_and(|theirs| theirs != mine) {
                    conflict = conflict.or(Some(lower));
                }
                budget.counters.duplicate_octets += mine.len() as u64;
                from = stop;
            }
            if from >= end {
                break;
            }
            covered = self.kept.range(from..end).next().map(|(start, kept)| (*start, start + kept.data.len() as u64));
            let to = covered.map_or(end, |(start, _)| start);
            let part = slice(from, to);
            if part.is_empty() {
                continue;
            }
            if from == self.next {
                self.pass(at, received, part, out);
            } else {
                early = true;
                self.cost += OVERHEAD + part.len();
                self.kept.insert(from, Kept { at, received, data: part.into() });
            }
            from = to;
        }
        budget.counters.early += u64::from(early);
        if let Some(place) = conflict {
            self.conflict(place, budget);
        }
    }

    /// Delivers what has become due, and declares lost what is.
    fn settle(&mut self, at: Timestamp, budget: &mut BufferBudget, out: &mut impl FnMut(Delivery<'_>)) {
        loop {
            self.pass_kept(out);
            let first = self.kept.first_key_value().map(|(start, kept)| (*start, kept.at));
            let acked = self.acked.unwrap_or(0).min(self.fin.map_or(u64::MAX, |fin| fin.offset));
            if acked > self.next {
                // One more than anything seen: rather the acknowledgment of a FIN that was not captured.
                let may_be_fin =
                    first.is_none() && self.fin.is_none() && acked == self.next + 1 && self.top <= self.next;
                if may_be_fin {
                    break;
                }
                if self.grace.is_some_and(|since| at.since(since).is_none_or(|past| past <= GRACE)) {
                    break;
                }
                self.lose(at, first.map_or(acked, |(start, _)| start.min(acked)), budget, out);
                continue;
            }
            let Some((start, since)) = first else { break };
            let too_old = at.since(since).is_some_and(|age| age > budget.limits.age);
            if !too_old && self.cost <= budget.limits.buffered {
                break;
            }
            budget.counters.forced_gaps += 1;
            self.lose(at, start, budget, out);
        }
        self.pass_fin(out);
    }

    fn lose(&mut self, at: Timestamp, to: u64, budget: &mut BufferBudget, out: &mut impl FnMut(Delivery<'_>)) {
        let Some(lost) = to.checked_sub(self.next).filter(|lost| *lost > 0) else {
            return;
        };
        budget.counters.gaps += 1;
        budget.counters.gap_octets += lost;
        self.next = to;
        self.top = self.top.max(to);
        out(Delivery { at, received: None, input: Input::Gap(lost) });
    }

    fn pass(&mut self, at: Timestamp, received: Option<u64>, data: &[u8], out: &mut impl FnMut(Delivery<'_>)) {
        self.recent.note(self.next, data);
        self.next += data.len() as u64;
        out(Delivery { at, received, input: Input::Data(data) });
    }

    fn pass_kept(&mut self, out: &mut impl FnMut(Delivery<'_>)) {
        while let Some(first) = self.kept.first_entry() {
            if *first.key() > self.next {
                return;
            }
            let kept = first.remove();
            self.cost = self.cost.saturating_sub(OVERHEAD + kept.data.len());
            self.pass(kept.at, kept.received, &kept.data, out);
        }
    }

    fn pass_fin(&mut self, out: &mut impl FnMut(Delivery<'_>)) {
        let Some(fin) = self.fin.filter(|fin| fin.offset == self.next && self.end.is_none()) else {
            return;
        };
        self.end = Some(End::Fin);
        out(Delivery { at: fin.at, received: fin.received, input: Input::Fin });
    }

    /// RFC 9293 section 3.10.7.4: a reset counts only where the receiver expects octets.
    fn reset(&mut self, at: Timestamp, seq: u32, budget: &mut BufferBudget, out: &mut impl FnMut(Delivery<'_>)) {
        if let Some(base) = self.base {
            let near = i64::from(seq.wrapping_sub(base.wrapping_add(self.next as u32)).cast_signed());
            let lower = self.acked.map_or(-REACH, |acked| (acked as i64 - self.next as i64).min(0));
            let upper = self.top.max(self.acked.unwrap_or(0)).saturating_sub(self.next) as i64 + i64::from(AGREE);
            if !(lower..=upper).contains(&near) {
                budget.counters.blind_resets += 1;
                return;
            }
        }
        if self.end == Some(End::Reset) {
            return;
        }
        self.finish(at, budget, out);
        self.end = Some(End::Reset);
        out(Delivery { at, received: None, input: Input::Reset });
    }

    /// Follows a stream of which no octets are wanted, or that has ended.
    fn skim(
        &mut self,
        offset: i64,
        segment: &Segment<'_>,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Delivery<'_>),
    ) {
        let sent = u64::try_from(offset).unwrap_or(0) + segment.payload.len() as u64 + u64::from(segment.cut);
        if self.end.is_some() {
            budget.counters.late += u64::from(sent > self.next);
            return;
        }
        self.next = self.next.max(sent);
        self.top = self.next;
        if segment.fin {
            self.fin = Some(Fin { offset: self.next, at: segment.at, received: None });
            self.pass_fin(out);
        }
    }

    fn conflict(&mut self, place: u64, budget: &mut BufferBudget) {
        budget.counters.conflicts += 1;
        self.conflicts = self.conflicts.saturating_add(1);
        self.first_conflict.get_or_insert(place);
    }
}

#[cfg(test)]
mod tests;

//! Both directions of a connection, in causal order.
//!
//! Bytes are delivered once everything is delivered that their segment acknowledged of the other direction: whoever sent
//! them had received that. Where the capture holds it later (the packets of two queues or taps come in another order than
//! they were sent), they wait. What does not come within a window of capture time, segments and bytes is lost; until then
//! nothing is. A segment that alone shows bytes which nothing else shows is not believed: it waits longer, and then goes on
//! without a loss. A reset waits for the same window, for what the other side had sent before it.
//!
//! In order, every step is O(1) and nothing is copied or allocated. Nothing here trusts a number: one segment with a wild
//! sequence or acknowledgment number costs itself at most.

use std::time::Duration;

use super::direction::{Awaited, ResetFit, Stream};
use super::{BufferBudget, StreamDelivery, StreamEnd};
use crate::time::Timestamp;
use crate::wire::Side;
use crate::wire::packet::Segment;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub struct Duplex {
    streams: [Stream; 2],
    reset: Option<Reset>,
    /// A reset that may be forged: it counts if nothing more is sent.
    doubtful: Option<Reset>,
}

/// A reset that is not delivered yet.
#[derive(Clone, Copy, Debug)]
struct Reset {
    side: Side,
    at: Timestamp,
    /// Where in the stream it lies, if beyond what was seen.
    offset: u64,
}

/// What gets things going again.
#[derive(Clone, Copy, Debug)]
enum Resume {
    /// What is missing before `to` is lost.
    Lose { side: Side, to: u64, at: Timestamp, why: Why },
    /// What waits first goes on.
    Insist(Side),
    /// What waits belongs to nothing.
    Forget(Side),
}

/// Why bytes are declared lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// They were acknowledged.
    Acknowledged,
    /// A cap of bytes or time says so.
    Cap,
    /// Nothing more will come.
    End,
}

/// How long the first that waits has waited: all the same once nothing more will come.
#[derive(Clone, Copy, Debug)]
struct Waited {
    time: Duration,
    /// Too many segments came since.
    many: bool,
    /// Too many bytes wait.
    full: bool,
    /// Nothing more will come, or everything must go.
    over: bool,
}

impl Duplex {
    /// Nothing is known of either direction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a segment that `side` sent; `now` is the time of the connection, which never runs backwards.
    #[inline]
    pub fn segment(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        now: Timestamp,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Side, StreamDelivery<'_>),
    ) {
        if segment.rst {
            return self.take_reset(side, segment, now, budget, out);
        }
        let (mine, theirs) = side.split(&mut self.streams);
        let received = match segment.ack {
            Some(ack) if mine.is_plausible(segment.seq) => theirs.acknowledged(ack, budget),
            _ => None,
        };
        if let Some(received) = received
            && mine.is_stalled()
        {
            mine.relent(received);
        }
        mine.segment(segment, received, theirs.peer(), budget, &mut |delivery| out(side, delivery));
        if !segment.payload.is_empty() || segment.fin {
            self.doubtful = None;
        }
        if self.reset.is_some() || !self.streams.iter().all(Stream::is_idle) {
            self.streams.iter_mut().for_each(Stream::count);
            self.settle(now, budget, out);
        }
    }

    /// Time has come to `now`: what waited long enough goes on.
    pub fn tick(&mut self, now: Timestamp, budget: &mut BufferBudget, out: &mut impl FnMut(Side, StreamDelivery<'_>)) {
        if self.waits() {
            self.settle(now, budget, out);
        }
    }

    /// Everything that waits goes on: the room is needed.
    pub fn force(&mut self, now: Timestamp, budget: &mut BufferBudget, out: &mut impl FnMut(Side, StreamDelivery<'_>)) {
        self.flush(now, Why::Cap, budget, out);
    }

    /// Nothing more will come: everything kept is delivered, every hole is lost.
    pub fn finish(
        &mut self,
        now: Timestamp,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Side, StreamDelivery<'_>),
    ) {
        self.flush(now, Why::End, budget, out);
        let reset = self.reset.take().or_else(|| self.doubtful.take());
        for side in Side::BOTH {
            let stream = side.split(&mut self.streams).0;
            if stream.end().is_none() {
                stream.trail(now, budget, &mut |delivery| out(side, delivery));
                if let Some(reset) = reset.filter(|reset| reset.side == side) {
                    stream.lose(reset.at, reset.offset, budget, &mut |delivery| out(side, delivery));
                }
            }
        }
        if let Some(Reset { side, at, .. }) = reset {
            side.split(&mut self.streams).0.reset(at, &mut |delivery| out(side, delivery));
        }
    }

    /// No bytes are wanted any more; the ends still are.
    pub fn quiet(&mut self) {
        self.streams.iter_mut().for_each(Stream::quiet);
    }

    /// It is over: only what tells late segments apart is needed.
    pub fn retire(&mut self) {
        self.streams.iter_mut().for_each(Stream::retire);
    }

    /// `side` began anew: its last SYN+ACK counts, as long as nothing was sent.
    pub fn begin_again(&mut self, side: Side) {
        *side.split(&mut self.streams).0 = Stream::default();
    }

    /// The direction of `side`.
    pub fn of(&self, side: Side) -> &Stream {
        side.pick(&self.streams)
    }

    /// Bytes kept for both directions, with what keeping them costs.
    pub fn buffered(&self) -> usize {
        self.streams.iter().map(Stream::buffered).sum()
    }

    /// Whether something waits that time alone will release.
    pub fn waits(&self) -> bool {
        self.reset.is_some() || self.streams.iter().any(Stream::is_stalled)
    }

    /// Whether every direction that was seen has ended, as far as is known.
    pub fn has_ended(&self) -> bool {
        let ended = |stream: &Stream| stream.is_closing() || !stream.is_seen();
        let both = self.streams.iter().all(ended) && self.streams.iter().any(Stream::is_closing);
        both || self.reset.is_some() || self.doubtful.is_some()
    }

    /// Whether nothing is to be waited for: reset, or both FINs acknowledged.
    pub fn is_over(&self) -> bool {
        self.streams.iter().any(|stream| stream.end() == Some(StreamEnd::Reset))
            || self.streams.iter().all(Stream::is_fin_acknowledged)
    }

    /// When the reset was sent that will end it.
    pub fn reset_at(&self) -> Option<Timestamp> {
        self.reset.or(self.doubtful).map(|reset| reset.at)
    }

    /// RFC 5961 section 3.2: only the next byte's number resets. Others are in doubt.
    fn take_reset(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        now: Timestamp,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Side, StreamDelivery<'_>),
    ) {
        let (mine, theirs) = side.split(&mut self.streams);
        if mine.end() == Some(StreamEnd::Reset) || self.reset.is_some() {
            return;
        }
        let seq = segment.seq.wrapping_add(u32::from(segment.syn));
        let at = segment.at;
        match mine.fit(seq) {
            ResetFit::Exact => {
                // It may be all that shows the other side's last bytes; a beginning is not shown by an end.
                if let Some(ack) = segment.ack.filter(|_| theirs.base().is_some()) {
                    theirs.acknowledged(ack, budget);
                }
                // The other side has nothing more to send, or never sent anything.
                let fresh = |stream: &Stream| stream.is_fresh() && stream.acked() == 0;
                let ended = theirs.end().is_some() || theirs.is_at_fin();
                let alone = ended || (fresh(theirs) && fresh(mine));
                self.reset = Some(Reset { side, at, offset: 0 });
                if alone {
                    self.finish(now, budget, out);
                } else {
                    self.settle(now, budget, out);
                }
            }
            ResetFit::Near(offset) => {
                budget.counters.blind_resets += 1;
                self.doubtful = Some(Reset { side, at, offset });
            }
            ResetFit::Blind => budget.counters.blind_resets += 1,
        }
    }

    /// Delivers what is due, and gives up waiting for what will not come.
    fn settle(&mut self, now: Timestamp, budget: &mut BufferBudget, out: &mut impl FnMut(Side, StreamDelivery<'_>)) {
        if let Some(reset) = self.reset
            && now.since(reset.at).is_some_and(|waited| waited > budget.limits.window)
        {
            return self.finish(now, budget, out);
        }
        loop {
            self.progress(budget, out);
            self.streams.iter_mut().for_each(|stream| stream.stand(now));
            let step = Side::BOTH.into_iter().find_map(|side| {
                let (time, segments) = self.of(side).waited(now);
                let many = segments > budget.limits.segments;
                let full = self.of(side).buffered() > budget.limits.buffered;
                self.step(side, Waited { time, many, full, over: false }, budget)
            });
            let Some(step) = step else { return };
            self.take_step(step, budget, out);
        }
    }

    /// Everything that waits goes on, what came first at first.
    fn flush(
        &mut self,
        now: Timestamp,
        why: Why,
        budget: &mut BufferBudget,
        out: &mut impl FnMut(Side, StreamDelivery<'_>),
    ) {
        let waited = Waited { time: Duration::MAX, many: true, full: true, over: true };
        loop {
            self.progress(budget, out);
            let Some(step) = self.earliest().and_then(|side| self.step(side, waited, budget)) else { break };
            let step = match step {
                Resume::Lose { side, to, at, .. } => Resume::Lose { side, to, at, why },
                other => other,
            };
            self.take_step(step, budget, out);
        }
        self.streams.iter_mut().for_each(|stream| stream.stand(now));
    }

    /// The side whose first that waits came first.
    fn earliest(&self) -> Option<Side> {
        let came = |side: &Side| match self.of(*side).head() {
            Awaited::None => None,
            Awaited::Hole { at, .. } | Awaited::Due { at, .. } => Some(at),
        };
        Side::BOTH.into_iter().filter(|side| came(side).is_some()).min_by_key(came)
    }

    /// Delivers what is due, of both directions what came first at first.
    fn progress(&mut self, budget: &mut BufferBudget, out: &mut impl FnMut(Side, StreamDelivery<'_>)) {
        loop {
            let Some(side) = self.due() else { return };
            let (mine, theirs) = side.split(&mut self.streams);
            mine.insist(theirs.peer(), budget, &mut |delivery| out(side, delivery));
        }
    }

    /// The side whose first that waits is due. A FIN is, once it is known whether the other side had sent one before it
    /// knew: two that crossed have an order of their own, whichever was captured first.
    fn due(&self) -> Option<Side> {
        let due = |side: Side| {
            let (mine, theirs) = (self.of(side), self.of(side.other()));
            let at = mine.due(theirs.peer())?;
            let known = mine.is_fin_received() || theirs.is_closing() || !theirs.is_seen();
            (known || !mine.is_at_fin()).then_some((mine.is_at_fin(), at))
        };
        match Side::BOTH.map(due) {
            [None, None] => None,
            [Some(_), None] => Some(Side::Lesser),
            [None, Some(_)] => Some(Side::Greater),
            [Some((true, _)), Some((true, _))] => Some(Side::Lesser),
            [Some(lesser), Some(greater)] => Some(if greater < lesser { Side::Greater } else { Side::Lesser }),
        }
    }

    /// What to do if the first that waits in the direction of `side` has waited long enough.
    fn step(&self, side: Side, waited: Waited, budget: &BufferBudget) -> Option<Resume> {
        let (mine, theirs) = (self.of(side), self.of(side.other()));
        match mine.head() {
            Awaited::None => None,
            Awaited::Hole { start, at } => {
                let acked = mine.acked().min(start);
                let shown = acked > mine.next();
                if shown && waited.beyond(mine.patience(&budget.limits)) {
                    return Some(Resume::Lose { side, to: acked, at, why: Why::Acknowledged });
                }
                let given_up = waited.over || waited.full || waited.time > budget.limits.age;
                let step = match mine.is_lost_in_space(start) {
                    true => Resume::Forget(side),
                    false => Resume::Lose { side, to: start, at, why: Why::Cap },
                };
                given_up.then_some(step)
            }
            Awaited::Due { received, .. } if received <= theirs.next() || theirs.end().is_some() => {
                // A FIN of which the other side does not say that it came.
                waited.beyond(budget.limits.window).then_some(Resume::Insist(side))
            }
            Awaited::Due { received, at } => {
                let (limit, other_at) = match theirs.head() {
                    Awaited::None => (u64::MAX, None),
                    Awaited::Hole { start, .. } => (start, None),
                    Awaited::Due { at, .. } => (0, Some(at)),
                };
                if let Some(other_at) = other_at {
                    // Each acknowledges the other: one of them was repeated. The first goes first.
                    let first = if other_at < at { side.other() } else { side };
                    return waited.beyond(budget.limits.window).then_some(Resume::Insist(first));
                }
                let sure = if limit < u64::MAX || waited.over { received } else { received.min(theirs.sure()) };
                let to = sure.min(limit);
                let may_be_fin = theirs.may_be_fin(received);
                if to > theirs.next() && !may_be_fin && waited.beyond(theirs.patience(&budget.limits)) {
                    return Some(Resume::Lose { side: side.other(), to, at, why: Why::Acknowledged });
                }
                let longest = if may_be_fin { budget.limits.window } else { budget.limits.unconfirmed };
                waited.beyond(longest).then_some(Resume::Insist(side))
            }
        }
    }

    fn take_step(&mut self, step: Resume, budget: &mut BufferBudget, out: &mut impl FnMut(Side, StreamDelivery<'_>)) {
        match step {
            Resume::Lose { side, to, at, why } => {
                let stream = side.split(&mut self.streams).0;
                if why == Why::Acknowledged {
                    stream.expire();
                }
                budget.counters.forced_gaps += u64::from(why == Why::Cap);
                stream.lose(at, to, budget, &mut |delivery| out(side, delivery));
            }
            Resume::Insist(side) => {
                let (mine, theirs) = side.split(&mut self.streams);
                mine.insist(theirs.peer(), budget, &mut |delivery| out(side, delivery));
            }
            Resume::Forget(side) => side.split(&mut self.streams).0.forget(budget),
        }
    }
}

impl Waited {
    fn beyond(self, time: Duration) -> bool {
        self.over || self.many || self.full || self.time > time
    }
}

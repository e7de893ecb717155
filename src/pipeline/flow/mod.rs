//! The table of connections: each address pair has two streams and, once octets come, a session.
//!
//! Nothing visible depends on the order of a hash table: what ends together ends in order of first packets. The table
//! is bounded in connections and in octets kept; room is made by ending the least recently used, and counted.

mod connection;
mod slots;

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use crate::engine;
use crate::event::{End, Sink};
use crate::time::Timestamp;
use crate::wire::Side;
use crate::wire::key::ConnectionKey;
use crate::wire::packet::Segment;
use crate::wire::stream::{BufferBudget, StreamCounters, StreamLimits};
use connection::{Connection, Fate, Reuse};
use slots::{Slots, TimeoutList};

/// Caps of a [`FlowTable`].
#[derive(Clone, Copy, Debug)]
pub struct FlowLimits {
    /// Connections that are open.
    pub flows: usize,
    /// Octets that wait, behind holes or for what they acknowledge, over all connections.
    pub buffered: usize,
    /// Closed connections that are remembered, so that what trails behind them opens nothing.
    pub lingering: usize,
    /// Capture time without a packet after which an open connection is over: beyond the longest idle time of mail
    /// protocols (RFC 9051 section 5.4).
    pub idle: Duration,
    /// The same while neither a handshake nor an octet was seen, and once both sides closed.
    pub idle_short: Duration,
    /// How long a closed connection is remembered: systems repeat unanswered segments for so long (RFC 1122 section
    /// 4.2.3.5 has at least 100 s; Linux takes 15 minutes).
    pub linger: Duration,
    /// Caps of each direction.
    pub stream: StreamLimits,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            flows: 65_536,
            buffered: 64 << 20,
            lingering: 4096,
            idle: Duration::from_secs(2 * 3600),
            idle_short: Duration::from_secs(120),
            linger: Duration::from_secs(15 * 60),
            stream: StreamLimits::default(),
        }
    }
}

/// What became of the connections. `opened` is the sum of `closed`, `timed_out`, `evicted`, `capture_end` and of those
/// still open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Segments taken.
    pub segments: u64,
    /// Connections begun.
    pub opened: u64,
    /// Closed by both sides, or reset.
    pub closed: u64,
    /// Over because no packet came.
    pub timed_out: u64,
    /// Ended to make room.
    pub evicted: u64,
    /// Open when the capture ended.
    pub capture_end: u64,
    /// Of all these, those without payload on no mail port: no session was made.
    pub empty: u64,
    /// Connections ended because their ports were used again.
    pub reused: u64,
    /// Segments that belong to no connection: trailing ones, resets out of nowhere, unlikely SYNs.
    pub stray: u64,
    /// Connections whose holes were declared lost because all together kept too many octets.
    pub forced: u64,
    /// Sum over all streams.
    pub streams: StreamCounters,
}

impl AddAssign for FlowCounters {
    fn add_assign(&mut self, more: Self) {
        let Self { segments, opened, closed, timed_out, evicted, capture_end, empty, reused, stray, forced, streams } =
            more;
        self.segments += segments;
        self.opened += opened;
        self.closed += closed;
        self.timed_out += timed_out;
        self.evicted += evicted;
        self.capture_end += capture_end;
        self.empty += empty;
        self.reused += reused;
        self.stray += stray;
        self.forced += forced;
        self.streams += streams;
    }
}

/// All connections of a capture, or of a shard of it.
#[derive(Debug)]
pub struct FlowTable {
    config: FlowLimits,
    limits: Arc<engine::Limits>,
    slots: Slots,
    counters: FlowCounters,
    budget: BufferBudget,
    buffered: usize,
    /// Those that keep octets, by when they began to; ordinals tell whether a slot is still theirs.
    buffering: VecDeque<(u32, u64)>,
    /// Those of which something waits that time releases; the same.
    timed: VecDeque<(u32, u64)>,
}

impl FlowTable {
    /// An empty table whose sessions get `session` as their limits.
    pub fn new(config: FlowLimits, session: Arc<engine::Limits>) -> Self {
        Self {
            config,
            limits: session,
            slots: Slots::new(),
            counters: FlowCounters::default(),
            budget: BufferBudget { limits: config.stream, counters: StreamCounters::default() },
            buffered: 0,
            buffering: VecDeque::new(),
            timed: VecDeque::new(),
        }
    }

    /// Takes the segment of packet `number` of the input.
    pub fn segment(&mut self, number: u64, segment: &Segment<'_>, out: &mut dyn Sink) {
        self.counters.segments += 1;
        let (key, side) = ConnectionKey::of(segment.from, segment.to);
        let found = self.slots.find(&key).and_then(|slot| self.unless_idle(slot, segment.at, out));
        let fate = found.and_then(|slot| Some((slot, self.slots.connection(slot)?.fate(side, segment))));
        let slot = match fate {
            Some((slot, Fate::Belongs)) => slot,
            Some((slot, Fate::Stray)) => {
                self.counters.stray += 1;
                if let Some(connection) = self.slots.connection_mut(slot).filter(|c| !c.closed) {
                    connection.suspect(side, number, segment);
                }
                return;
            }
            Some((slot, Fate::Next)) => {
                self.replace(slot, segment.at, out);
                self.open(key, side, number, segment, out)
            }
            Some((slot, Fate::NextSince(reuse))) => {
                self.replace(slot, reuse.at(), out);
                self.reopen(key, side, reuse, segment, out)
            }
            None if segment.rst && segment.payload.is_empty() => {
                self.counters.stray += 1;
                return;
            }
            None => self.open(key, side, number, segment, out),
        };
        self.take(slot, side, segment, out);
        self.relieve(out);
    }

    /// Time has come to `now`: what waited long enough goes on, and connections that were idle for too long end, in order
    /// of their first packets.
    pub fn tick(&mut self, now: Timestamp, out: &mut dyn Sink) {
        self.release(now, out);
        while let Some(slot) = self.slots.oldest(TimeoutList::Lingering) {
            if self.idle_since(slot, now).is_none() {
                break;
            }
            self.slots.remove(slot);
        }
        let mut idle = Vec::new();
        for list in [TimeoutList::Short, TimeoutList::Open] {
            idle.extend(self.slots.by_age(list).map_while(|slot| {
                let over = self.idle_since(slot, now)?;
                Some((self.slots.connection(slot)?.ordinal(), slot, over))
            }));
        }
        idle.sort_unstable();
        for (_, slot, over) in idle {
            self.end(slot, over, self.idle_end(slot), out);
        }
    }

    /// No more will come: what is open ends, in order of first packets.
    pub fn finish(&mut self, at: Timestamp, out: &mut dyn Sink) {
        let mut open: Vec<_> = self.slots.open().map(|(slot, connection)| (connection.ordinal(), slot)).collect();
        open.sort_unstable();
        for (_, slot) in open {
            let ended = self.slots.connection(slot).is_some_and(Connection::has_ended);
            self.end(slot, at, if ended { End::Closed } else { End::CaptureEnd }, out);
        }
    }

    /// What became of the connections so far.
    pub fn counters(&self) -> FlowCounters {
        FlowCounters { streams: self.budget.counters, ..self.counters }
    }

    /// Connections that are open.
    pub fn len(&self) -> usize {
        self.slots.len(TimeoutList::Short) + self.slots.len(TimeoutList::Open)
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets kept behind holes, with what keeping them costs.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// `slot`, unless it was idle for too long at `at`: then it is over.
    fn unless_idle(&mut self, slot: u32, at: Timestamp, out: &mut dyn Sink) -> Option<u32> {
        let Some(over) = self.idle_since(slot, at) else {
            return Some(slot);
        };
        if self.slots.list(slot) == Some(TimeoutList::Lingering) {
            self.slots.remove(slot);
        } else {
            self.end(slot, over, self.idle_end(slot), out);
            // A close leaves it lingering, for what trails behind.
            if self.slots.list(slot) == Some(TimeoutList::Lingering) {
                return self.unless_idle(slot, at, out);
            }
        }
        None
    }

    /// When it was over, if it was idle for too long at `now`.
    fn idle_since(&self, slot: u32, now: Timestamp) -> Option<Timestamp> {
        let timeout = match self.slots.list(slot)? {
            TimeoutList::Short => self.config.idle_short,
            TimeoutList::Open => self.config.idle,
            TimeoutList::Lingering => self.config.linger,
        };
        // Packets without a time are never too old.
        let over = self.slots.connection(slot)?.last.known()?.after(timeout);
        (over < now).then_some(over)
    }

    fn idle_end(&self, slot: u32) -> End {
        let ended = self.slots.connection(slot).is_some_and(Connection::has_ended);
        if ended { End::Closed } else { End::Timeout }
    }

    fn open(&mut self, key: ConnectionKey, side: Side, number: u64, segment: &Segment<'_>, out: &mut dyn Sink) -> u32 {
        while self.len() >= self.config.flows.max(1) {
            let Some(slot) = self.least_used() else { break };
            self.end(slot, segment.at, End::Evicted, out);
        }
        self.counters.opened += 1;
        self.slots.insert(Connection::new(key, side, number, segment), TimeoutList::Short)
    }

    /// Opens the connection that an earlier SYN began.
    fn reopen(
        &mut self,
        key: ConnectionKey,
        side: Side,
        reuse: Reuse,
        segment: &Segment<'_>,
        out: &mut dyn Sink,
    ) -> u32 {
        let (sender, number, syn) = reuse.replay(side, segment);
        let slot = self.open(key, sender, number, &syn, out);
        self.take(slot, sender, &syn, out);
        slot
    }

    /// Half-open connections go first when they are the most: a flood of SYNs drives out nothing else.
    fn least_used(&self) -> Option<u32> {
        let (short, open) = (self.slots.oldest(TimeoutList::Short), self.slots.oldest(TimeoutList::Open));
        if self.slots.len(TimeoutList::Short) > self.config.flows / 2 {
            return short;
        }
        let last = |slot: &u32| self.slots.connection(*slot).map(|c| c.last);
        [short, open].into_iter().flatten().min_by_key(last)
    }

    fn take(&mut self, slot: u32, side: Side, segment: &Segment<'_>, out: &mut dyn Sink) {
        let Some(connection) = self.slots.connection_mut(slot) else {
            return;
        };
        let before = connection.buffered();
        connection.segment(side, segment, &self.limits, &mut self.budget, out);
        let list = connection.list();
        self.slots.touch(slot, list);
        self.settled(slot, before, out);
    }

    /// Something was done to the connection in `slot`, which had kept `before` bytes.
    fn settled(&mut self, slot: u32, before: usize, out: &mut dyn Sink) {
        let Some(connection) = self.slots.connection_mut(slot) else {
            return;
        };
        let after = connection.buffered();
        self.buffered = self.buffered.saturating_sub(before) + after;
        if let Some(at) = connection.over() {
            return self.end(slot, at, End::Closed, out);
        }
        let (keeps, waits) = (after > 0 && !connection.queued, connection.waits() && !connection.timed);
        connection.queued |= keeps;
        connection.timed |= waits;
        let (list, ordinal) = (connection.list(), connection.ordinal());
        if self.slots.list(slot) != Some(list) {
            self.slots.touch(slot, list);
        }
        if keeps {
            self.buffering.push_back((slot, ordinal));
        }
        if waits {
            self.timed.push_back((slot, ordinal));
        }
        if keeps || waits {
            self.forget_queued();
        }
    }

    /// What waited for longer than it may goes on.
    fn release(&mut self, now: Timestamp, out: &mut dyn Sink) {
        for _ in 0..self.timed.len() {
            let Some((slot, ordinal)) = self.timed.pop_front() else {
                return;
            };
            let Some(connection) = self.slots.connection_mut(slot).filter(|c| c.ordinal() == ordinal) else {
                continue;
            };
            connection.timed = false;
            let before = connection.buffered();
            if connection.waits() {
                connection.tick(now, &self.limits, &mut self.budget, out);
                self.settled(slot, before, out);
            }
        }
    }

    /// Frees octets while all connections together keep too many.
    fn relieve(&mut self, out: &mut dyn Sink) {
        while self.buffered > self.config.buffered {
            let Some((slot, ordinal)) = self.buffering.pop_front() else {
                return;
            };
            let Some(connection) = self.slots.connection_mut(slot).filter(|c| c.ordinal() == ordinal) else {
                continue;
            };
            connection.queued = false;
            let before = connection.buffered();
            if before == 0 {
                continue;
            }
            connection.force(&self.limits, &mut self.budget, out);
            self.buffered = self.buffered.saturating_sub(before) + connection.buffered();
            self.counters.forced += 1;
        }
    }

    /// Keeps the queues as short as the table.
    fn forget_queued(&mut self) {
        let (slots, most) = (&self.slots, 2 * self.len() + 64);
        for queue in [&mut self.buffering, &mut self.timed] {
            if queue.len() > most {
                queue.retain(|(slot, ordinal)| slots.connection(*slot).is_some_and(|c| c.ordinal() == *ordinal));
            }
        }
    }

    /// The port is used again: nothing lingers.
    fn replace(&mut self, slot: u32, at: Timestamp, out: &mut dyn Sink) {
        if self.slots.connection(slot).is_some_and(|c| !c.closed && c.is_unanswered()) {
            // Its client tries again: one attempt, one record.
            (self.counters.closed, self.counters.empty) = (self.counters.closed + 1, self.counters.empty + 1);
            self.slots.remove(slot);
            return;
        }
        if self.slots.list(slot) != Some(TimeoutList::Lingering) {
            self.counters.reused += 1;
            self.end(slot, at, End::Closed, out);
        }
        if self.slots.connection(slot).is_some_and(|c| c.closed) {
            self.slots.remove(slot);
        }
    }

    fn end(&mut self, slot: u32, at: Timestamp, why: End, out: &mut dyn Sink) {
        let Some(connection) = self.slots.connection_mut(slot) else {
            return;
        };
        let before = connection.buffered();
        let reported = connection.finish(at, why, &self.limits, &mut self.budget, out);
        self.buffered = self.buffered.saturating_sub(before) + connection.buffered();
        self.counters.empty += u64::from(!reported);
        let counter = match why {
            End::Closed => &mut self.counters.closed,
            End::Timeout => &mut self.counters.timed_out,
            End::Evicted => &mut self.counters.evicted,
            End::CaptureEnd | End::Drain => &mut self.counters.capture_end,
        };
        *counter += 1;
        if why != End::Closed || self.config.lingering == 0 {
            self.slots.remove(slot);
            return;
        }
        self.slots.touch(slot, TimeoutList::Lingering);
        while self.slots.len(TimeoutList::Lingering) > self.config.lingering {
            let Some(oldest) = self.slots.oldest(TimeoutList::Lingering) else {
                return;
            };
            self.slots.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests;

//! Commands that wait for their replies, and the clock work of a reply.

use std::cell::Cell;
use std::collections::VecDeque;

use super::session::state::Stamp;
use crate::event::Command;
use crate::time::Timestamp;

/// A command that waits; `K` is what its protocol must remember with it.
#[derive(Debug)]
pub(crate) struct Waiting<K> {
    pub(crate) command: Box<Command>,
    pub(crate) kind: K,
}

/// When a reply came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplyArrival {
    /// Time of its first octet.
    pub(crate) first: Timestamp,
    /// Time, piece and evidence of its last.
    pub(crate) last: Stamp,
    /// Octets, line ends included.
    pub(crate) octets: u64,
    /// Stream offset just after it.
    pub(crate) end: u64,
}

/// Commands in the order they were sent.
#[derive(Debug)]
pub(crate) struct Pending<K> {
    queue: VecDeque<Waiting<K>>,
    last: Option<ReplyArrival>,
    /// Commands that were looked at: a reply may cost as many as wait.
    looked_at: Cell<u64>,
}

impl<K> Default for Pending<K> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), last: None, looked_at: Cell::default() }
    }
}

impl<K> Pending<K> {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts one in front of the oldest.
    pub(crate) fn push_front(&mut self, command: Box<Command>, kind: K) {
        self.queue.push_front(Waiting { command, kind });
    }

    pub(crate) fn push(&mut self, command: Box<Command>, kind: K) {
        if self.queue.capacity() == 0 {
            // Most clients wait for each reply.
            self.queue.reserve_exact(1);
        }
        self.queue.push_back(Waiting { command, kind });
    }

    /// Gives back what it does not need.
    pub(crate) fn shrink(&mut self) {
        self.queue.shrink_to_fit();
        self.queue.iter_mut().for_each(|waiting| waiting.command.shrink());
    }

    pub(crate) fn front(&self) -> Option<&Waiting<K>> {
        self.queue.front()
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut Waiting<K>> {
        self.queue.front_mut()
    }

    pub(crate) fn back(&self) -> Option<&Waiting<K>> {
        self.queue.back()
    }

    pub(crate) fn back_mut(&mut self) -> Option<&mut Waiting<K>> {
        self.queue.back_mut()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Waiting<K>> {
        self.queue.iter().inspect(|_| count(&self.looked_at, 1))
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Waiting<K>> {
        let Self { queue, looked_at, .. } = self;
        queue.iter_mut().inspect(|_| count(looked_at, 1))
    }

    /// So many things that belong to these commands were looked at.
    pub(crate) fn look_at(&self, things: usize) {
        count(&self.looked_at, things as u64);
    }

    /// How many commands were looked at since this was asked.
    pub(crate) fn take_looked_at(&self) -> u64 {
        self.looked_at.take()
    }

    /// When the last reply came.
    pub(crate) fn last(&self) -> Option<ReplyArrival> {
        self.last
    }

    /// Takes the oldest out.
    pub(crate) fn pop(&mut self) -> Option<Waiting<K>> {
        self.queue.pop_front()
    }

    /// Takes the one at `index` out (IMAP completes in any order).
    pub(crate) fn remove(&mut self, index: usize) -> Option<Waiting<K>> {
        self.queue.remove(index)
    }

    /// Whether a command whose last octet came with `stamp` was sent before the client could have the replies it was owed.
    pub(crate) fn is_pipelined(&self, stamp: Stamp) -> bool {
        !self.queue.is_empty() || self.last.is_some_and(|last| stamp.peer < last.end)
    }

    /// Notes on `command` when its reply came, and remembers it for the next.
    pub(crate) fn answer(&mut self, command: &mut Command, arrival: ReplyArrival) {
        command.latency = arrival.last.at.since(command.sent);
        let previous = self.last.filter(|last| last.last.at > command.sent);
        command.service_latency = previous.map_or(command.latency, |last| arrival.last.at.since(last.last.at));
        command.coalesced = command.pipelined && self.last.is_some_and(|last| last.last.piece == arrival.last.piece);
        let [_, server] = &mut command.octets;
        *server += arrival.octets;
        self.last = Some(arrival);
    }

    /// A reply that belongs to no command of the queue came: the greeting, the end of data.
    pub(crate) fn note(&mut self, arrival: ReplyArrival) {
        self.last = Some(arrival);
    }
}

fn count(looked_at: &Cell<u64>, more: u64) {
    looked_at.set(looked_at.get().wrapping_add(more));
}

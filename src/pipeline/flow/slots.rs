//! Flows in a slab with a hash index, each in one of three lists in order of use: every step is O(1).

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::connection::Connection;
use crate::wire::key::ConnectionKey;

/// Which timeout counts for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeoutList {
    /// No handshake and no octet yet, or ended but for an acknowledgment.
    Short,
    /// Open.
    Open,
    /// Closed; remembered so that what trails behind opens nothing.
    Lingering,
}

#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
    lists: [ListEnds; 3],
    seed: u64,
}

#[derive(Debug)]
struct Slot {
    connection: Option<Connection>,
    hash: u64,
    list: TimeoutList,
    before: u32,
    after: u32,
}

#[derive(Clone, Copy, Debug)]
struct ListEnds {
    oldest: u32,
    newest: u32,
    len: usize,
}

const NONE: u32 = u32::MAX;

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            lists: [ListEnds { oldest: NONE, newest: NONE, len: 0 }; 3],
            // Whoever chooses addresses must not know where they fall. Nothing visible depends on it.
            seed: std::hash::RandomState::new().hash_one(0_u64),
        }
    }

    pub(super) fn find(&self, key: &ConnectionKey) -> Option<u32> {
        let same = |slot: &u32| self.connection(*slot).is_some_and(|c| c.key == *key);
        self.index.find(key.hash(self.seed), same).copied()
    }

    pub(super) fn connection(&self, slot: u32) -> Option<&Connection> {
        self.slots.get(slot as usize)?.connection.as_ref()
    }

    pub(super) fn connection_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.connection.as_mut()
    }

    pub(super) fn list(&self, slot: u32) -> Option<TimeoutList> {
        self.slots.get(slot as usize).filter(|s| s.connection.is_some()).map(|s| s.list)
    }

    /// Flows in `list`.
    pub(super) fn len(&self, list: TimeoutList) -> usize {
        let [short, open, lingering] = &self.lists;
        match list {
            TimeoutList::Short => short.len,
            TimeoutList::Open => open.len,
            TimeoutList::Lingering => lingering.len,
        }
    }

    /// The least recently used of `list`.
    pub(super) fn oldest(&self, list: TimeoutList) -> Option<u32> {
        let [short, open, lingering] = &self.lists;
        let oldest = match list {
            TimeoutList::Short => short.oldest,
            TimeoutList::Open => open.oldest,
            TimeoutList::Lingering => lingering.oldest,
        };
        (oldest != NONE).then_some(oldest)
    }

    /// The flows of `list`, the least recently used first.
    pub(super) fn by_age(&self, list: TimeoutList) -> impl Iterator<Item = u32> {
        let after = |slot: &u32| self.slots.get(*slot as usize).map(|s| s.after).filter(|after| *after != NONE);
        std::iter::successors(self.oldest(list), after)
    }

    pub(super) fn insert(&mut self, connection: Connection, list: TimeoutList) -> u32 {
        let hash = connection.key.hash(self.seed);
        let fresh = Slot { connection: Some(connection), hash, list, before: NONE, after: NONE };
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = fresh;
                }
                slot
            }
            None => {
                self.slots.push(fresh);
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        let rehash = |slot: &u32| slots.get(*slot as usize).map_or(0, |s| s.hash);
        self.index.insert_unique(hash, slot, rehash);
        self.link(slot, list);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Connection> {
        self.unlink(slot);
        let place = self.slots.get_mut(slot as usize)?;
        let connection = place.connection.take()?;
        if let Ok(entry) = self.index.find_entry(place.hash, |other| *other == slot) {
            entry.remove();
        }
        self.free.push(slot);
        Some(connection)
    }

    /// Makes `slot` the most recently used of `list`.
    pub(super) fn touch(&mut self, slot: u32, list: TimeoutList) {
        if self.list(slot) == Some(list) && self.ends(list).newest == slot {
            return;
        }
        self.unlink(slot);
        self.link(slot, list);
    }

    /// Every flow that is not closed.
    pub(super) fn open(&self) -> impl Iterator<Item = (u32, &Connection)> {
        let place = |(i, slot): (usize, &Slot)| (i as u32, slot.list, slot.connection.is_some());
        self.slots.iter().enumerate().map(place).filter_map(|(slot, list, used)| {
            let open = used && list != TimeoutList::Lingering;
            open.then(|| self.connection(slot)).flatten().map(|connection| (slot, connection))
        })
    }

    fn ends(&mut self, list: TimeoutList) -> &mut ListEnds {
        let [short, open, lingering] = &mut self.lists;
        match list {
            TimeoutList::Short => short,
            TimeoutList::Open => open,
            TimeoutList::Lingering => lingering,
        }
    }

    fn link(&mut self, slot: u32, list: TimeoutList) {
        let ends = self.ends(list);
        let before = std::mem::replace(&mut ends.newest, slot);
        ends.len += 1;
        match self.slots.get_mut(before as usize) {
            Some(place) => place.after = slot,
            None => self.ends(list).oldest = slot,
        }
        if let Some(place) = self.slots.get_mut(slot as usize) {
            (place.list, place.before, place.after) = (list, before, NONE);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(place) = self.slots.get(slot as usize).filter(|s| s.connection.is_some()) else {
            return;
        };
        let (list, before, after) = (place.list, place.before, place.after);
        match self.slots.get_mut(before as usize) {
            Some(place) => place.after = after,
            None => self.ends(list).oldest = after,
        }
        match self.slots.get_mut(after as usize) {
            Some(place) => place.before = before,
            None => self.ends(list).newest = before,
        }
        self.ends(list).len -= 1;
    }
}

//! Who has most, in room that does not grow with how many there are: the Space-Saving sketch (Metwally, Agrawal and
//! El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005).
//!
//! Twice as many keys as [`PLACES`] are kept. When there is no room for another, the lower half is given up, and the
//! highest count among those is the floor: nobody who is not kept has more. A key that comes in later may have had as much
//! before. So what is kept of a key is what was surely seen of it, and what may have been missed.
//!
//! The floor is at most the total divided by the places. Proof: let the excess of a key be what it may have beyond the
//! floor. Adding `w` makes the sum of all excesses greater by `w`. Raising the floor by `d` takes `d` from each of more than
//! [`PLACES`] keys.

use std::hash::Hash;

use hashbrown::HashMap;

/// Whoever has more than the total divided by this is kept.
pub(super) const PLACES: usize = 448;

/// Keys kept at most: what fits into a hash table of 1024 buckets.
pub(super) const ROOM: usize = 2 * PLACES;

/// What is known of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Surely.
    pub(super) seen: u64,
    /// At most so much more.
    pub(super) missed: u64,
}

impl Known {
    pub(super) const fn at_most(self) -> u64 {
        self.seen.saturating_add(self.missed)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self { seen: self.seen.saturating_add(other.seen), missed: self.missed.saturating_add(other.missed) }
    }
}

#[derive(Debug)]
pub(super) struct Sketch<K> {
    kept: HashMap<K, Known>,
    floor: u64,
    total: u64,
    /// Counts whose key nobody knows any more: anybody may have them.
    unnamed: u64,
}

impl<K> Default for Sketch<K> {
    fn default() -> Self {
        Self { kept: HashMap::default(), floor: 0, total: 0, unnamed: 0 }
    }
}

impl<K: Eq + Hash> Sketch<K> {
    pub(super) fn add(&mut self, key: K, weight: u64) {
        self.total = self.total.saturating_add(weight);
        if let Some(known) = self.kept.get_mut(&key) {
            known.seen = known.seen.saturating_add(weight);
            return;
        }
        if self.kept.len() >= ROOM {
            self.make_room();
        }
        self.kept.insert(key, Known { seen: weight, missed: self.floor });
    }

    pub(super) fn add_unnamed(&mut self, weight: u64) {
        self.total = self.total.saturating_add(weight);
        self.unnamed = self.unnamed.saturating_add(weight);
    }

    pub(super) fn of(&self, key: &K) -> Known {
        let known = self.kept.get(key).copied().unwrap_or(Known { seen: 0, missed: self.floor });
        known.and(Known { seen: 0, missed: self.unnamed })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.kept.keys()
    }

    pub(super) fn keeps(&self, key: &K) -> bool {
        self.kept.contains_key(key)
    }

    /// What a key that is not kept may have at most.
    pub(super) const fn floor(&self) -> u64 {
        self.floor.saturating_add(self.unnamed)
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    fn make_room(&mut self) {
        let mut counts: Vec<u64> = self.kept.values().map(|known| known.at_most()).collect();
        if PLACES < counts.len() {
            let (_, floor, _) = counts.select_nth_unstable_by(PLACES, |one, other| other.cmp(one));
            self.floor = *floor;
        }
        // Those that have just as much go too: there is nothing to choose between them.
        let floor = self.floor;
        self.kept.retain(|_, known| known.at_most() > floor);
    }
}

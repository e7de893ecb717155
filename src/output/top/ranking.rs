//! Who had most in the last five to ten minutes.

use std::cmp::Reverse;
use std::hash::Hash;

use super::sketch::{Known, Sketch};

/// Seconds of an epoch: what is ranked is of this one and the one before.
pub(super) const EPOCH: u64 = 300;

/// A key with its rank, which is its place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranked<K> {
    pub(super) key: K,
    pub(super) known: Known,
}

/// The first of a ranking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct First<K> {
    /// Only those that surely have more than anybody who is not kept: below that, who is kept is chance, and so is the
    /// order.
    pub(super) list: Vec<Ranked<K>>,
    /// What anybody who is not in the list may have at most.
    pub(super) others: u64,
    /// What all have together.
    pub(super) total: u64,
}

impl<K> First<K> {
    /// The same with names for keys.
    pub(super) fn map<T>(self, name: impl Fn(&K) -> T) -> First<T> {
        let Self { list, others, total } = self;
        let list = list.into_iter().map(|Ranked { key, known }| Ranked { key: name(&key), known }).collect();
        First { list, others, total }
    }
}

#[derive(Debug)]
pub(super) struct Ranking<K> {
    now: Sketch<K>,
    before: Sketch<K>,
    epoch: u64,
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self { now: Sketch::default(), before: Sketch::default(), epoch: 0 }
    }
}

impl<K: Clone + Eq + Hash + Ord> Ranking<K> {
    /// Counts `weight` for `key` at `second` of a clock that only goes forward.
    pub(super) fn add(&mut self, second: u64, key: K, weight: u64) {
        self.turn(second);
        if weight > 0 {
            self.now.add(key, weight);
        }
    }

    /// Counts `weight` for nobody knows whom.
    pub(super) fn add_unnamed(&mut self, second: u64, weight: u64) {
        self.turn(second);
        self.now.add_unnamed(weight);
    }

    /// The first `most`.
    pub(super) fn first(&mut self, second: u64, most: usize) -> First<K> {
        self.turn(second);
        let Self { now, before, .. } = self;
        let floor = now.floor().saturating_add(before.floor());
        let keys = now.keys().chain(before.keys().filter(|key| !now.keeps(key)));
        let mut all: Vec<(&K, Known)> = keys.map(|key| (key, now.of(key).and(before.of(key)))).collect();
        all.sort_unstable_by(|(key, known), (other_key, other)| {
            let order = |key, known: &Known| (Reverse(known.seen), known.missed, key);
            order(*key, known).cmp(&order(*other_key, other))
        });
        let sure = all.iter().take(most).take_while(|(_, known)| known.seen > floor).count();
        let rest = all.iter().skip(sure).map(|(_, known)| known.at_most()).max().unwrap_or(0);
        let list = all.into_iter().take(sure).map(|(key, known)| Ranked { key: key.clone(), known }).collect();
        First { list, others: rest.max(floor), total: now.total().saturating_add(before.total()) }
    }

    fn turn(&mut self, second: u64) {
        let epoch = second / EPOCH;
        if epoch > self.epoch {
            let now = std::mem::take(&mut self.now);
            self.before = if epoch == self.epoch + 1 { now } else { Sketch::default() };
            self.epoch = epoch;
        }
    }
}

/// Seconds up to `second` of which a ranking knows.
pub(super) const fn known_for(second: u64) -> u64 {
    second - (second / EPOCH).saturating_sub(1) * EPOCH
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{PLACES, ROOM};
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn counts_hold_what_is_promised(
            stream in proptest::collection::vec((0u32..1500, 1u64..50), 0..6000),
            unnamed in proptest::collection::vec(0u64..9, 0..3),
            turn in 0usize..4500,
        ) {
            let mut ranking = Ranking::default();
            let mut exact = HashMap::<u32, u64>::new();
            for (at, (key, weight)) in stream.iter().enumerate() {
                // Few have much: the square of a number.
                let key = key * key / 1500;
                ranking.add(if at < turn { 10 } else { 310 }, key, *weight);
                *exact.entry(key).or_default() += weight;
            }
            for (key, weight) in unnamed.iter().enumerate() {
                ranking.add_unnamed(310, *weight);
                *exact.entry(key as u32).or_default() += weight;
            }
            let total: u64 = exact.values().sum();
            let First { list, others, total: counted } = ranking.first(310, usize::MAX);
            prop_assert_eq!(counted, total);
            prop_assert!(list.len() <= 2 * ROOM);
            for Ranked { key, known } in &list {
                let truth = exact.get(key).copied().unwrap_or(0);
                prop_assert!(known.seen <= truth && truth <= known.at_most(), "{key} {known:?} {truth}");
            }
            for (key, count) in &exact {
                let listed = list.iter().any(|ranked| ranked.key == *key);
                prop_assert!(listed || *count <= others, "{key} {count} {others}");
            }
            let floor = total / PLACES as u64 + unnamed.iter().sum::<u64>();
            prop_assert!(others <= 3 * (floor + 1), "{others} of {total}");
        }
    }

    #[test]
    fn equals_are_not_ranked_by_chance() {
        let mut ranking = Ranking::default();
        for key in 0..250 {
            ranking.add(0, key, 1);
        }
        let First { list, others, .. } = ranking.first(0, 20);
        assert!(list.iter().all(|one| one.known == Known { seen: 1, missed: 0 }), "there is room for all: {list:?}");
        assert_eq!((list.len(), others), (20, 1));
        // More than there is room for, again and again: none of them stands out, and one who does is found.
        for key in (0..5000).cycle().take(20_000) {
            ranking.add(0, key, 1);
            if key % 10 == 0 {
                ranking.add(0, 9999, 1);
            }
        }
        let First { list, others, total } = ranking.first(0, 20);
        assert_eq!(list.iter().map(|one| one.key).collect::<Vec<_>>(), [9999]);
        assert!(list[0].known.seen > 1900 && others < 2 * total / PLACES as u64, "{list:?} {others}");
    }

    #[test]
    fn the_past_is_forgotten() {
        let mut ranking = Ranking::default();
        ranking.add(0, 1, 5);
        assert_eq!(ranking.first(599, 10).list.len(), 1);
        assert_eq!(ranking.first(600, 10).list.len(), 0);
        ranking.add(600, 2, 1);
        assert_eq!(ranking.first(10_000, 10), First { list: Vec::new(), others: 0, total: 0 });
        assert_eq!([0, 299, 300, 599, 600, 899].map(known_for), [0, 299, 300, 599, 300, 599]);
    }
}

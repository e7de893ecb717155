//! Who does most, in room that does not grow with the number of clients: the Space-Saving sketch (Metwally, Agrawal and
//! El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005).
//!
//! Whoever is not among the kept takes the place of the least, and its count as a possible error. So a count is never
//! too low, too high by no more than the error beside it, and that is at most the total divided by the places: whoever
//! has more than that share is in the list.

use std::net::IpAddr;

/// Clients kept.
pub(super) const PLACES: usize = 64;

/// Seconds of an epoch: what is shown is of this one and the one before.
const EPOCH: u64 = 300;

/// A client in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Talker {
    pub(super) client: IpAddr,
    /// Never too low.
    pub(super) count: u64,
    /// By how much it may be too high.
    pub(super) error: u64,
}

#[derive(Debug, Default)]
struct Sketch {
    kept: Vec<Talker>,
}

impl Sketch {
    fn add(&mut self, client: IpAddr, weight: u64) {
        if let Some(talker) = self.kept.iter_mut().find(|talker| talker.client == client) {
            talker.count += weight;
        } else if self.kept.len() < PLACES {
            self.kept.push(Talker { client, count: weight, error: 0 });
        } else if let Some(least) = self.kept.iter_mut().min_by_key(|talker| talker.count) {
            *least = Talker { client, count: least.count + weight, error: least.count };
        }
    }

    /// What a client that is not kept may have at most.
    fn floor(&self) -> u64 {
        if self.kept.len() < PLACES { 0 } else { self.kept.iter().map(|talker| talker.count).min().unwrap_or(0) }
    }
}

/// The last five to ten minutes.
#[derive(Debug, Default)]
pub(super) struct TopClients {
    now: Sketch,
    before: Sketch,
    epoch: u64,
}

impl TopClients {
    pub(super) fn add(&mut self, second: u64, client: IpAddr, weight: u64) {
        self.turn(second);
        if weight > 0 {
            self.now.add(client, weight);
        }
    }

    /// The first `most`, and how much anybody who is not in the list may have.
    pub(super) fn top(&mut self, second: u64, most: usize) -> (Vec<Talker>, u64) {
        self.turn(second);
        let mut all: Vec<Talker> = Vec::with_capacity(2 * PLACES);
        for (sketch, other) in [(&self.now, &self.before), (&self.before, &self.now)] {
            for talker in &sketch.kept {
                if all.iter().any(|known| known.client == talker.client) {
                    continue;
                }
                // Kept in one only: in the other it may have had as much as the least there.
                let floor = other.floor();
                let beside = other
                    .kept
                    .iter()
                    .find(|beside| beside.client == talker.client)
                    .copied()
                    .unwrap_or(Talker { client: talker.client, count: floor, error: floor });
                all.push(Talker { count: talker.count + beside.count, error: talker.error + beside.error, ..*talker });
            }
        }
        all.sort_by_key(|talker| (std::cmp::Reverse(talker.count), talker.error, talker.client));
        let next = all.get(most).map_or(0, |talker| talker.count);
        all.truncate(most);
        (all, next.max(self.now.floor() + self.before.floor()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn client(number: u16) -> IpAddr {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn counts_hold_what_is_promised(stream in proptest::collection::vec((0u16..300, 1u64..50), 0..2000), turn in 0u64..1500) {
            let mut talkers = TopClients::default();
            let mut exact = HashMap::<IpAddr, u64>::new();
            for (at, (number, weight)) in stream.iter().enumerate() {
                let second = if (at as u64) < turn { 10 } else { 310 };
                talkers.add(second, client(*number), *weight);
                *exact.entry(client(*number)).or_default() += weight;
            }
            let (top, others) = talkers.top(310, usize::MAX);
            prop_assert!(top.len() <= 2 * PLACES);
            for talker in &top {
                let truth = exact.get(&talker.client).copied().unwrap_or(0);
                prop_assert!(talker.count >= truth && talker.count - talker.error <= truth, "{talker:?} {truth}");
            }
            for (client, count) in &exact {
                let listed = top.iter().any(|talker| talker.client == *client);
                prop_assert!(listed || *count <= others, "{client} {count} {others}");
            }
            let total: u64 = exact.values().sum();
            prop_assert!(others <= 2 * total / PLACES as u64);
        }
    }

    #[test]
    fn the_past_is_forgotten() {
        let mut talkers = TopClients::default();
        talkers.add(0, client(1), 5);
        assert_eq!(talkers.top(599, 10).0.len(), 1);
        assert_eq!(talkers.top(600, 10).0.len(), 0);
        talkers.add(600, client(2), 1);
        assert_eq!(talkers.top(10_000, 10), (Vec::new(), 0));
    }
}

//! How long replies took, over the last five minutes: histograms in slots of half a minute, of which the oldest is given
//! up. Of each kind it is known how long its replies usually take, and since when they take much longer.

use std::time::Duration;

use hashbrown::HashMap;

use super::step::ServerStep;
use crate::event::Protocol;
use crate::output::histogram::Histogram;

const SLOTS: usize = 10;
/// Seconds of a slot.
const SLOT: u64 = 30;
/// Kinds of reply that a slot tells apart: more than any mix of clients asks for. Beyond, they are `OTHER`.
const KINDS: usize = 64;

/// Replies in a slot below which nothing is made of it.
const ENOUGH: u64 = 5;

/// A p95 is slow if it is more than so many times the usual one, and longer by more than [`NOTABLE`].
const TIMES: u32 = 3;
const NOTABLE: Duration = Duration::from_millis(50);

/// The part of a new slot in what is usual: one in so many.
const INERTIA: u32 = 8;

/// Since when replies of a kind are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slow {
    /// The second in which the slot began.
    pub(super) since: u64,
    /// The p95 before.
    pub(super) usual: Duration,
}

/// What is usual, and since when it is slow.
#[derive(Clone, Copy, Debug)]
struct Pace {
    usual: Duration,
    slow_since: Option<u64>,
}

impl Pace {
    /// Takes in the p95 of a slot that began at `second`.
    fn judge(&mut self, second: u64, p95: Duration) {
        if p95 > self.usual * TIMES && p95 > self.usual + NOTABLE {
            self.slow_since.get_or_insert(second);
        } else {
            self.slow_since = None;
            self.usual = (self.usual * (INERTIA - 1) + p95) / INERTIA;
        }
    }
}

/// What is told apart.
pub(super) type LatencyKey = (Protocol, ServerStep);

/// What one thread has gathered since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    kinds: HashMap<LatencyKey, Histogram>,
}

impl Latencies {
    pub(super) fn add(&mut self, key: LatencyKey, taken: Duration) {
        let key = known(&self.kinds, key);
        self.kinds.entry(key).or_default().add(taken);
    }
}

fn known(kinds: &HashMap<LatencyKey, Histogram>, key: LatencyKey) -> LatencyKey {
    if kinds.len() < KINDS || kinds.contains_key(&key) { key } else { (key.0, ServerStep::Command(Default::default())) }
}

/// The last five minutes.
#[derive(Debug, Default)]
pub(super) struct LatencyWindow {
    slots: [HashMap<LatencyKey, Histogram>; SLOTS],
    /// Number of the slot that is filled now.
    current: u64,
    paces: HashMap<LatencyKey, Pace>,
}

impl LatencyWindow {
    /// Moves what is gathered here, at `second` of the clock.
    pub(super) fn take(&mut self, second: u64, gathered: &mut Latencies) {
        self.turn(second);
        let Some(slot) = self.slots.get_mut(self.current as usize % SLOTS) else { return };
        for (key, histogram) in gathered.kinds.iter_mut().filter(|(_, histogram)| histogram.count() > 0) {
            let key = known(slot, *key);
            slot.entry(key).or_default().merge(histogram);
            histogram.clear();
        }
    }

    /// All kinds, with how it was over the whole window, and whether it is slow; those with most replies first.
    pub(super) fn all(&mut self, second: u64) -> Vec<(LatencyKey, Histogram, Option<Slow>)> {
        self.turn(second);
        let mut whole = HashMap::<LatencyKey, Histogram>::new();
        for (key, histogram) in self.slots.iter().flatten() {
            whole.entry(*key).or_default().merge(histogram);
        }
        let slow = |key: &LatencyKey| {
            let pace = self.paces.get(key)?;
            Some(Slow { since: pace.slow_since?, usual: pace.usual })
        };
        let mut all: Vec<_> = whole.into_iter().map(|(key, histogram)| (key, histogram, slow(&key))).collect();
        all.sort_by_key(|((protocol, step), histogram, _)| {
            (std::cmp::Reverse(histogram.count()), protocol.index(), step.as_str())
        });
        all
    }

    fn turn(&mut self, second: u64) {
        let now = second / SLOT;
        if now > self.current {
            self.judge();
        }
        let passed = now.saturating_sub(self.current).min(SLOTS as u64);
        for number in 0..passed {
            if let Some(slot) = self.slots.get_mut((now - number) as usize % SLOTS) {
                slot.clear();
            }
        }
        self.current = self.current.max(now);
    }

    /// Judges the slot that is over.
    fn judge(&mut self) {
        let Some(slot) = self.slots.get(self.current as usize % SLOTS) else { return };
        for (key, histogram) in slot.iter().filter(|(_, histogram)| histogram.count() >= ENOUGH) {
            let p95 = histogram.percentile(95);
            if let Some(pace) = self.paces.get_mut(key) {
                pace.judge(self.current * SLOT, p95);
            } else if self.paces.len() < 2 * KINDS {
                self.paces.insert(*key, Pace { usual: p95, slow_since: None });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Verb;

    const MAIL: LatencyKey = (Protocol::Smtp, ServerStep::Command(Verb::Mail));

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut window = LatencyWindow::default();
        let mut gathered = Latencies::default();
        for second in [0, 29, 30, 200] {
            gathered.add(MAIL, Duration::from_millis(5));
            window.take(second, &mut gathered);
        }
        let count =
            |window: &mut LatencyWindow, second| window.all(second).iter().map(|(_, h, _)| h.count()).sum::<u64>();
        assert_eq!(count(&mut window, 200), 4);
        assert_eq!(count(&mut window, 300), 2);
        assert_eq!(count(&mut window, 10_000), 0);
        assert_eq!(count(&mut window, 0), 0, "a clock that runs backwards brings nothing back");
    }

    #[test]
    fn it_is_known_since_when_replies_are_slow() {
        let mut window = LatencyWindow::default();
        let mut gathered = Latencies::default();
        let mut slow = |slot: u64, millis: u64, count: u64| {
            (0..count).for_each(|_| gathered.add(MAIL, Duration::from_millis(millis)));
            window.take(slot * SLOT, &mut gathered);
            window.all((slot + 1) * SLOT).first().and_then(|(_, _, slow)| *slow)
        };
        assert_eq!(slow(0, 10, 20), None);
        assert_eq!(slow(1, 12, 20), None);
        assert_eq!(slow(2, 40, 20), None, "four times as long, and nobody would notice");
        let since = slow(3, 900, 20).unwrap();
        assert_eq!(since.since, 3 * SLOT);
        assert!(since.usual < Duration::from_millis(20), "{since:?}");
        assert_eq!(slow(4, 2000, 20).unwrap(), since);
        assert_eq!(slow(5, 10, 2).unwrap(), since, "two replies say nothing");
        assert_eq!(slow(6, 12, 20), None);
    }

    #[test]
    fn kinds_are_capped() {
        let mut gathered = Latencies::default();
        let mut window = LatencyWindow::default();
        for verb in Verb::ALL {
            gathered.add((Protocol::Imap, ServerStep::Command(*verb)), Duration::from_millis(1));
        }
        window.take(0, &mut gathered);
        let all = window.all(0);
        assert!(all.len() <= KINDS + 1);
        assert_eq!(all.iter().map(|(_, h, _)| h.count()).sum::<u64>(), Verb::ALL.len() as u64);
        assert_eq!(all[0].0.1, ServerStep::Command(Verb::Other));
    }
}

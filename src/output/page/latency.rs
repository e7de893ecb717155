//! How long replies took, over the last five minutes: histograms in slots of half a minute, of which the oldest is given
//! up.

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

    /// All kinds, with how it was over the whole window; those with most replies first.
    pub(super) fn all(&mut self, second: u64) -> Vec<(LatencyKey, Histogram)> {
        self.turn(second);
        let mut whole = HashMap::<LatencyKey, Histogram>::new();
        for (key, histogram) in self.slots.iter().flatten() {
            whole.entry(*key).or_default().merge(histogram);
        }
        let mut all: Vec<_> = whole.into_iter().collect();
        all.sort_by_key(|((protocol, step), histogram)| {
            (std::cmp::Reverse(histogram.count()), protocol.index(), step.as_str())
        });
        all
    }

    fn turn(&mut self, second: u64) {
        let now = second / SLOT;
        let passed = now.saturating_sub(self.current).min(SLOTS as u64);
        for number in 0..passed {
            if let Some(slot) = self.slots.get_mut((now - number) as usize % SLOTS) {
                slot.clear();
            }
        }
        self.current = self.current.max(now);
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
        let count = |window: &mut LatencyWindow, second| window.all(second).iter().map(|(_, h)| h.count()).sum::<u64>();
        assert_eq!(count(&mut window, 200), 4);
        assert_eq!(count(&mut window, 300), 2);
        assert_eq!(count(&mut window, 10_000), 0);
        assert_eq!(count(&mut window, 0), 0, "a clock that runs backwards brings nothing back");
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
        assert_eq!(all.iter().map(|(_, h)| h.count()).sum::<u64>(), Verb::ALL.len() as u64);
        assert_eq!(all[0].0.1, ServerStep::Command(Verb::Other));
    }
}

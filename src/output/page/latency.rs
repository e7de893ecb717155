//! How long replies took, over the last five minutes: histograms whose buckets are an eighth of an octave wide, so a
//! quantile is wrong by 6 % at most, in slots of half a minute of which the oldest is given up.

use std::time::Duration;

use hashbrown::HashMap;

use super::step::ServerStep;
use crate::event::Protocol;

/// From a microsecond to 2²⁹ of them, nine minutes; what is longer is in the last.
const BUCKETS: usize = 224;
const SLOTS: usize = 10;
/// Seconds of a slot.
const SLOT: u64 = 30;
/// Kinds of reply that a slot tells apart: more than any mix of clients asks for. Beyond, they are `OTHER`.
const KINDS: usize = 64;

/// What is told apart.
pub(super) type LatencyKey = (Protocol, ServerStep);

/// Counts of durations.
#[derive(Clone, Debug)]
pub(super) struct LatencyHistogram {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
    longest: Duration,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, longest: Duration::ZERO }
    }
}

impl LatencyHistogram {
    pub(super) fn add(&mut self, taken: Duration) {
        if let Some(count) = self.counts.get_mut(bucket(taken)) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        self.longest = self.longest.max(taken);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count = count.saturating_add(*more);
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.longest = Duration::ZERO;
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// The duration that `share` of all do not exceed.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return middle(at).min(self.longest);
            }
        }
        self.longest
    }
}

fn bucket(taken: Duration) -> usize {
    let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
    let octave = micros.max(8).ilog2();
    // Below 8 µs every microsecond is a bucket; above, the three bits behind the first.
    let within = if micros < 8 { micros } else { micros >> (octave - 3) & 7 };
    let below = if micros < 8 { 0 } else { (octave as usize - 2) * 8 };
    (below + within as usize).min(BUCKETS - 1)
}

fn middle(bucket: usize) -> Duration {
    if bucket < 8 {
        return Duration::from_micros(bucket as u64);
    }
    let octave = bucket / 8 + 2;
    let width = 1u64 << (octave - 3);
    Duration::from_micros((1 << octave) + (bucket as u64 % 8) * width + width / 2)
}

/// What one thread has gathered since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    kinds: HashMap<LatencyKey, LatencyHistogram>,
}

impl Latencies {
    pub(super) fn add(&mut self, key: LatencyKey, taken: Duration) {
        let key = known(&self.kinds, key);
        self.kinds.entry(key).or_default().add(taken);
    }
}

fn known(kinds: &HashMap<LatencyKey, LatencyHistogram>, key: LatencyKey) -> LatencyKey {
    if kinds.len() < KINDS || kinds.contains_key(&key) { key } else { (key.0, ServerStep::Command(Default::default())) }
}

/// The last five minutes.
#[derive(Debug, Default)]
pub(super) struct LatencyWindow {
    slots: [HashMap<LatencyKey, LatencyHistogram>; SLOTS],
    /// Number of the slot that is filled now.
    current: u64,
}

impl LatencyWindow {
    /// Moves what is gathered here, at `second` of the clock.
    pub(super) fn take(&mut self, second: u64, gathered: &mut Latencies) {
        self.turn(second);
        let Some(slot) = self.slots.get_mut(self.current as usize % SLOTS) else { return };
        for (key, histogram) in gathered.kinds.iter_mut().filter(|(_, histogram)| histogram.total > 0) {
            let key = known(slot, *key);
            slot.entry(key).or_default().merge(histogram);
            histogram.clear();
        }
    }

    /// All kinds, with how it was over the whole window; those with most replies first.
    pub(super) fn all(&mut self, second: u64) -> Vec<(LatencyKey, LatencyHistogram)> {
        self.turn(second);
        let mut whole = HashMap::<LatencyKey, LatencyHistogram>::new();
        for (key, histogram) in self.slots.iter().flatten() {
            whole.entry(*key).or_default().merge(histogram);
        }
        let mut all: Vec<_> = whole.into_iter().collect();
        all.sort_by_key(|((protocol, step), histogram)| {
            (std::cmp::Reverse(histogram.total), protocol.index(), step.as_str())
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
    use proptest::prelude::*;

    const MAIL: LatencyKey = (Protocol::Smtp, ServerStep::Command(Verb::Mail));

    proptest! {
        #[test]
        fn a_bucket_is_narrow(micros in 0u64..1 << 29) {
            let taken = Duration::from_micros(micros);
            let shown = middle(bucket(taken)).as_micros() as f64;
            prop_assert!((shown - micros as f64).abs() <= micros as f64 / 16.0 + 0.5, "{micros} {shown}");
            prop_assert!(bucket(taken) <= bucket(Duration::from_micros(micros + 1)));
        }

        #[test]
        fn quantiles_are_those_of_the_sorted(mut all in proptest::collection::vec(1u64..1 << 28, 1..200), share in 0.01..1.0f64) {
            let mut histogram = LatencyHistogram::default();
            all.iter().for_each(|micros| histogram.add(Duration::from_micros(*micros)));
            all.sort_unstable();
            let rank = (all.len() as f64 * share).ceil() as usize;
            let exact = all[rank.max(1) - 1] as f64;
            let told = histogram.quantile(share).as_micros() as f64;
            prop_assert!((told - exact).abs() <= exact / 15.0 + 1.0, "{told} {exact}");
        }
    }

    #[test]
    fn extremes_have_a_place() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        histogram.add(Duration::MAX);
        assert!(histogram.quantile(0.99) > Duration::from_secs(500));
        assert_eq!(bucket(Duration::ZERO), 0);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut window = LatencyWindow::default();
        let mut gathered = Latencies::default();
        for second in [0, 29, 30, 200] {
            gathered.add(MAIL, Duration::from_millis(5));
            window.take(second, &mut gathered);
        }
        let count = |window: &mut LatencyWindow, second| window.all(second).iter().map(|(_, h)| h.total()).sum::<u64>();
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
        assert_eq!(all.iter().map(|(_, h)| h.total()).sum::<u64>(), Verb::ALL.len() as u64);
        assert_eq!(all[0].0.1, ServerStep::Command(Verb::Other));
    }
}

//! Latencies in fixed buckets: bounded, and the same whoever counts first, so that merging is exact.
//!
//! A crate would round the longest too, and its making can fail; this is as much code as hiding that.

use std::time::Duration;

/// Each power of two has 16 buckets: a value is known to one part in sixteen.
const BITS: u32 = 4;
#[cfg(test)]
const BUCKETS: usize = ((64 - BITS as usize) << BITS) + (1 << BITS);

/// Counts of durations. As large as the longest needs: 2 KiB up to ten seconds, 4 KiB whatever comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    buckets: Vec<u32>,
    count: u64,
    /// The longest, in nanoseconds.
    max: u64,
}

impl Histogram {
    /// Counts one.
    pub(super) fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket(nanos);
        self.reach(bucket + 1);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// Counts all of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.reach(other.buckets.len());
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count = count.saturating_add(*more);
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// Forgets all, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.buckets.clear();
        (self.count, self.max) = (0, 0);
    }

    fn reach(&mut self, buckets: usize) {
        if self.buckets.len() < buckets {
            self.buckets.resize(buckets, 0);
        }
    }

    /// How many.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly.
    pub(super) const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The duration that `percent` of all do not exceed, rounded up by at most one part in sixteen.
    pub(super) fn percentile(&self, percent: u64) -> Duration {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100);
        let mut below = 0;
        let reached = self.buckets.iter().position(|n| {
            below += u128::from(*n);
            below >= rank
        });
        Duration::from_nanos(reached.map_or(self.max, last_of).min(self.max))
    }
}

/// Which bucket holds `nanos`.
const fn bucket(nanos: u64) -> usize {
    let exponent = 63 - (nanos | 1).leading_zeros();
    if exponent < BITS {
        return nanos as usize;
    }
    let shift = exponent - BITS;
    (((shift + 1) as usize) << BITS) + ((nanos >> shift) as usize & ((1 << BITS) - 1))
}

/// The longest duration in a bucket, in nanoseconds.
const fn last_of(bucket: usize) -> u64 {
    let (row, column) = (bucket >> BITS, (bucket & ((1 << BITS) - 1)) as u64);
    if row == 0 {
        return column;
    }
    let shift = row - 1;
    (((1 << BITS) + column) << shift) | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_fit() {
        assert_eq!((bucket(0), bucket(15), bucket(16), bucket(u64::MAX)), (0, 15, 16, BUCKETS - 1));
        assert_eq!(last_of(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn what_was_cleared_counts_anew() {
        let mut histogram = Histogram::default();
        histogram.add(Duration::MAX);
        assert_eq!((histogram.count(), histogram.percentile(99)), (1, Duration::from_nanos(u64::MAX)));
        histogram.clear();
        assert_eq!(histogram, Histogram::default());
        histogram.add(Duration::from_nanos(5));
        assert_eq!((histogram.count(), histogram.percentile(99)), (1, Duration::from_nanos(5)));
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Histogram::default().percentile(50), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_bucket_ends_where_the_next_begins(nanos: u64) {
            let last = last_of(bucket(nanos));
            prop_assert!(last >= nanos && last - nanos <= nanos / 16);
            prop_assert_eq!(bucket(last), bucket(nanos));
            prop_assert!(last == u64::MAX || bucket(last + 1) == bucket(nanos) + 1);
        }

        #[test]
        fn percentiles_are_near_the_sorted_truth(mut nanos in prop::collection::vec(0u64..1 << 40, 1..200), percent in 1u64..=100) {
            let mut histogram = Histogram::default();
            nanos.iter().for_each(|n| histogram.add(Duration::from_nanos(*n)));
            nanos.sort_unstable();
            let truth = nanos[(nanos.len() as u64 * percent).div_ceil(100) as usize - 1];
            let said = u64::try_from(histogram.percentile(percent).as_nanos()).unwrap();
            prop_assert!(said >= truth && said - truth <= truth / 16, "{said} {truth}");
            prop_assert_eq!(histogram.max(), Duration::from_nanos(*nanos.last().unwrap()));
        }

        #[test]
        fn merging_is_counting_all(a in prop::collection::vec(any::<u64>(), 0..50), b in prop::collection::vec(any::<u64>(), 0..50)) {
            let of = |nanos: &[u64]| {
                let mut histogram = Histogram::default();
                nanos.iter().for_each(|n| histogram.add(Duration::from_nanos(*n)));
                histogram
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a, b].concat()));
        }
    }
}

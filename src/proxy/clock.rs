//! The proxy's time: a timeline that begins at the host's clock and passes with the monotonic one.
//!
//! Whatever waits or lasts is measured on the timeline, so that nothing happens to a connection when the host's clock is
//! set: by NTP's first step, by hand, or as a virtual machine wakes up. Only records show the host's clock.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// A difference to the host's clock that is no drift any more: the clock was set.
const SET: Duration = Duration::from_millis(100);

/// A timeline. Copies are the same one, so that all threads agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    origin: Timestamp,
    began: Instant,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { origin: wall(), began: Instant::now() }
    }

    /// The point of it that is now. It never runs backwards.
    pub(super) fn now(&self) -> Timestamp {
        self.origin.after(self.began.elapsed())
    }
}

/// Reads cost one look at the monotonic clock.
#[derive(Debug)]
pub(super) struct Clock {
    timeline: Timeline,
    /// Where the host's clock was compared last, and what it showed.
    compared: Cell<(Timestamp, Timestamp)>,
}

impl Clock {
    pub(super) fn new(timeline: Timeline) -> Self {
        Self { timeline, compared: Cell::new((timeline.origin, timeline.origin)) }
    }

    /// The point of the timeline that is now. It never runs backwards.
    pub(super) fn now(&self) -> Timestamp {
        self.timeline.now()
    }

    pub(super) fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Compares with the host's clock: where on the timeline it was found to be set, and what it shows.
    pub(super) fn compare(&self) -> Option<(Timestamp, Timestamp)> {
        self.compare_with(self.now(), wall())
    }

    fn compare_with(&self, now: Timestamp, shown: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (since, then) = self.compared.get();
        let expected = then.after(now.since(since).unwrap_or_default());
        let apart = expected.as_nanos().abs_diff(shown.as_nanos());
        let was_set = Duration::from_nanos(apart) > SET;
        was_set.then(|| {
            self.compared.set((now, shown));
            (now, shown)
        })
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().after(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_once_and_moves_nothing() {
        let clock = Clock::new(Timeline::new());
        let start = clock.timeline.origin;
        let after = |seconds: u64| start.after(Duration::from_secs(seconds));
        assert_eq!(clock.compare_with(after(5), after(5)), None);
        // Drift and slewing are none of it.
        assert_eq!(clock.compare_with(after(6), after(6).after(Duration::from_millis(90))), None);
        assert_eq!(clock.compare_with(after(7), after(3607)), Some((after(7), after(3607))));
        assert_eq!(clock.compare_with(after(8), after(3608)), None);
        let back = Timestamp::from_parts(86_400, 0);
        assert_eq!(clock.compare_with(after(9), back), Some((after(9), back)));
        assert_eq!(clock.compare_with(after(10), back.after(Duration::from_secs(1))), None);
        let (first, second) = (clock.now(), clock.now());
        assert!(second >= first && first.since(start).unwrap() < Duration::from_secs(60));
    }
}

//! Time as the program knows it: a point that is only ever passed in.
//!
//! The engine has no clock. A capture's packets carry their time, the proxy reads the clock once a
//! read; both hand a [`Timestamp`] down. Captures run backwards now and then (several interfaces,
//! a clock set), and some packets have no time at all, so a difference may not exist:
//! [`Timestamp::since`] then says `None`.

use std::collections::VecDeque;
use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00 UTC, or [`Timestamp::UNKNOWN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time of a packet that was captured without one, as pcapng's simple packet blocks are. It is earlier than
    /// every known time, and no known distance from any.
    pub const UNKNOWN: Self = Self(0);

    /// The point `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point `secs` seconds and `nanos` nanoseconds after the epoch; saturates in the year 2554.
    pub const fn from_parts(secs: u64, nanos: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time, if it is one.
    pub fn known(self) -> Option<Self> {
        (self != Self::UNKNOWN).then_some(self)
    }

    /// How long after `earlier` this point is; `None` if it lies before it (a clock that ran backwards), or if one of
    /// the two is not known.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let (later, earlier) = (self.known()?, earlier.known()?);
        later.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// The point `by` later; saturates.
    pub fn after(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// What a host's clock showed at the points of a timeline that passes evenly, whenever the clock was set.
///
/// A program that measures time with a monotonic clock has such a timeline; only what people read is wall time.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    /// From when on, and how far the clock is ahead of the timeline, in nanoseconds. In order of time.
    steps: VecDeque<(Timestamp, i64)>,
}

impl WallClock {
    /// Steps that are remembered: a clock is set rarely, and no connection of mail sees more. What lies before the
    /// oldest is shown by the oldest.
    const STEPS: usize = 64;

    /// At the point `at` the clock was found to show `wall`.
    pub fn set(&mut self, at: Timestamp, wall: Timestamp) {
        if self.steps.len() >= Self::STEPS {
            self.steps.pop_front();
        }
        let ahead = i128::from(wall.0) - i128::from(at.0);
        self.steps.push_back((at, i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })));
    }

    /// What the clock showed at `at`.
    pub fn shown(&self, at: Timestamp) -> Timestamp {
        self.shown_from(at, at)
    }

    /// What the clock would have shown at `at`, had nobody set it since `from`: the difference to [`Self::shown`] of `from` is
    /// the time that passed.
    pub fn shown_from(&self, from: Timestamp, at: Timestamp) -> Timestamp {
        let before = self.steps.iter().rev().find(|(since, _)| *since <= from);
        match before {
            Some((_, ahead)) if at != Timestamp::UNKNOWN => Timestamp(at.0.saturating_add_signed(*ahead)),
            _ => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_changes_what_is_shown_and_no_difference() {
        let second = |n: u64| Timestamp::from_parts(1000 + n, 0);
        let mut clock = WallClock::default();
        assert_eq!(clock.shown(second(1)), second(1));
        clock.set(second(10), second(3610));
        clock.set(second(20), second(15));
        for (at, shown) in [(9, 9), (10, 3610), (19, 3619), (20, 15), (30, 25)] {
            assert_eq!(clock.shown(second(at)), second(shown), "{at}");
        }
        assert_eq!(clock.shown_from(second(5), second(30)), second(30));
        assert_eq!(clock.shown_from(second(12), second(30)), second(3630));
        assert_eq!(clock.shown(Timestamp::UNKNOWN), Timestamp::UNKNOWN);
        for n in 0..200 {
            clock.set(second(100 + n), second(100 + n));
        }
        assert_eq!((clock.steps.len(), clock.shown(second(500))), (WallClock::STEPS, second(500)));
    }

    #[test]
    fn a_difference_backwards_does_not_exist() {
        let (a, b) = (Timestamp::from_parts(1, 0), Timestamp::from_parts(0, 999_999_999));
        assert_eq!(a.since(b), Some(Duration::from_nanos(1)));
        assert_eq!(b.since(a), None);
    }

    #[test]
    fn an_unknown_time_is_no_distance_from_any() {
        let known = Timestamp::from_parts(1, 0);
        assert_eq!(known.since(Timestamp::UNKNOWN), None);
        assert_eq!(Timestamp::UNKNOWN.since(known), None);
        assert_eq!(Timestamp::UNKNOWN.since(Timestamp::UNKNOWN), None);
        assert_eq!(known.max(Timestamp::UNKNOWN), known);
    }

    #[test]
    fn arithmetic_saturates() {
        let last = Timestamp::from_parts(u64::MAX, u64::MAX);
        assert_eq!(last.as_nanos(), u64::MAX);
        assert_eq!(last.after(Duration::MAX), last);
    }
}

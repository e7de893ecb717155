//! Time as the program knows it: a point that is only ever passed in.
//!
//! The engine has no clock. A capture's packets carry their time, the proxy reads the clock once a
//! read; both hand a [`Timestamp`] down. Captures run backwards now and then (several interfaces,
//! a clock set), and some packets have no time at all, so a difference may not exist:
//! [`Timestamp::since`] then says `None`.

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

#[cfg(test)]
mod tests {
    use super::*;

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

//! Time as the program knows it: a point that is only ever passed in.
//!
//! The engine has no clock. A capture's packets carry their time, the proxy reads the clock once a
//! read; both hand a [`Timestamp`] down. Captures run backwards now and then (several interfaces,
//! a clock set), so a difference may not exist: [`Timestamp::since`] then says `None`.

use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
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

    /// How long after `earlier` this point is; `None` if it lies before it (a clock that ran backwards).
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
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
    fn arithmetic_saturates() {
        let last = Timestamp::from_parts(u64::MAX, u64::MAX);
        assert_eq!(last.as_nanos(), u64::MAX);
        assert_eq!(last.after(Duration::MAX), last);
    }
}

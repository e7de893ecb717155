//! The connections of a listener to which the server has said nothing yet, and how old the oldest of them is.
//!
//! Sessions are told apart and counted once somebody speaks. Clients that connect and say nothing where the client speaks
//! first, and servers that accept and never greet, fill a listener before that: only this shows them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Connections before their greeting, in the order in which they were accepted. A lock is taken twice for a connection.
#[derive(Debug, Default)]
pub(super) struct Ungreeted(Mutex<Accepted>);

#[derive(Debug, Default)]
struct Accepted {
    next: u64,
    at: BTreeMap<u64, Instant>,
}

impl Ungreeted {
    /// A connection was accepted at `now`; the number to [leave](Self::leave) with.
    pub(super) fn enter(&self, now: Instant) -> u64 {
        let mut accepted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = accepted.next;
        accepted.next += 1;
        accepted.at.insert(number, now);
        number
    }

    /// The server has spoken, or the connection is over.
    pub(super) fn leave(&self, number: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at.remove(&number);
    }

    /// For how long the oldest has been open at `now`; zero if there is none.
    pub(super) fn oldest(&self, now: Instant) -> Duration {
        let accepted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.at.values().next().map(|began| now.saturating_duration_since(*began)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_first_that_is_still_there() {
        let (ungreeted, start) = (Ungreeted::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(ungreeted.oldest(at(9)), Duration::ZERO);
        let numbers = [0, 2, 5].map(|seconds| ungreeted.enter(at(seconds)));
        assert_eq!(ungreeted.oldest(at(9)), Duration::from_secs(9));
        ungreeted.leave(numbers[1]);
        ungreeted.leave(numbers[0]);
        assert_eq!(ungreeted.oldest(at(9)), Duration::from_secs(4));
        ungreeted.leave(numbers[2]);
        assert_eq!(ungreeted.oldest(at(9)), Duration::ZERO);
    }
}

//! The proxy's clock: wall time that never runs backwards within a session, unless the host's clock was set.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// A difference to the host's clock that is no drift any more: the clock was set.
const SET: Duration = Duration::from_millis(100);

/// Reads cost one look at the monotonic clock.
#[derive(Debug)]
pub(super) struct Clock {
    wall: Cell<Timestamp>,
    began: Cell<Instant>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { wall: Cell::new(wall()), began: Cell::new(Instant::now()) }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.wall.get().after(self.began.get().elapsed())
    }

    /// Follows the host's clock where that has been set.
    pub(super) fn follow(&self) {
        let (here, there) = (self.now(), wall());
        let apart = here.since(there).or_else(|| there.since(here)).unwrap_or_default();
        if apart > SET {
            self.wall.set(there);
            self.began.set(Instant::now());
        }
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().after(since)
}

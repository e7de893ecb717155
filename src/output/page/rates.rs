//! What happened in each of the last 300 seconds.

/// Seconds kept.
pub(super) const SECONDS: u64 = 300;

/// What happened in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) sessions: u64,
    pub(super) commands: u64,
    pub(super) messages: u64,
    pub(super) refused: u64,
    /// Of clients, of servers.
    pub(super) octets: [u64; 2],
    /// Sessions that were open at its end.
    pub(super) open: u64,
}

impl Tick {
    pub(super) fn merge(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.commands += other.commands;
        self.messages += other.messages;
        self.refused += other.refused;
        self.octets[0] += other.octets[0];
        self.octets[1] += other.octets[1];
        self.open = self.open.max(other.open);
    }

    pub(super) const fn row(&self) -> [u64; 7] {
        let [up, down] = self.octets;
        [self.sessions, self.commands, self.messages, self.refused, up, down, self.open]
    }
}

/// The last five minutes, second by second.
#[derive(Debug)]
pub(super) struct Rates {
    ring: Vec<Tick>,
    now: u64,
}

impl Default for Rates {
    fn default() -> Self {
        Self { ring: vec![Tick::default(); SECONDS as usize], now: 0 }
    }
}

impl Rates {
    /// The second that `second` of the clock is counted in; sessions that stay open are carried over.
    pub(super) fn at(&mut self, second: u64) -> &mut Tick {
        let open = self.tick(self.now).open;
        for passed in (self.now + 1..=second).rev().take(SECONDS as usize) {
            *self.tick(passed) = Tick { open, ..Tick::default() };
        }
        self.now = self.now.max(second);
        self.tick(self.now)
    }

    /// The seconds from `first` on that are over, oldest first.
    pub(super) fn since(&self, first: u64) -> impl Iterator<Item = &Tick> {
        let oldest = (self.now + 1).saturating_sub(SECONDS);
        (first.max(oldest)..self.now).filter_map(|second| self.ring.get((second % SECONDS) as usize))
    }

    #[allow(clippy::indexing_slicing, reason = "the ring has SECONDS places")]
    fn tick(&mut self, second: u64) -> &mut Tick {
        &mut self.ring[(second % SECONDS) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_pass_and_are_forgotten() {
        let mut rates = Rates::default();
        for second in 0..400 {
            let tick = rates.at(second);
            tick.sessions += second;
            tick.open = second;
        }
        let told: Vec<u64> = rates.since(0).map(|tick| tick.sessions).collect();
        assert_eq!(told, (100..399).collect::<Vec<_>>());
        rates.at(403);
        let told: Vec<_> = rates.since(399).map(|tick| (tick.sessions, tick.open)).collect();
        assert_eq!(told, [(399, 399), (0, 399), (0, 399), (0, 399)]);
        rates.at(10_000);
        assert!(rates.since(0).all(|tick| tick.sessions == 0 && tick.open == 399));
        rates.at(5).sessions += 1;
        assert_eq!(rates.at(10_000).sessions, 1, "a clock that runs backwards counts now");
    }
}

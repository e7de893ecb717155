//! What servers refused, and with which code, over the last five to ten minutes.

use hashbrown::HashMap;

use super::row::RefusalKind;
use super::step::ServerStep;
use crate::event::Status;
use crate::event::Verb;

/// Kinds told apart in an epoch: codes are a server's to choose, so somebody may choose many. Beyond, they are one.
const KINDS: usize = 256;

/// Seconds of an epoch.
const EPOCH: u64 = 300;

/// Counts by kind.
pub(super) type RefusalCounts = HashMap<RefusalKind, u32>;

/// Counts one, within the cap.
pub(super) fn count(counts: &mut RefusalCounts, kind: RefusalKind, times: u32) {
    let fits = counts.len() < KINDS || counts.contains_key(&kind);
    let kind = if fits { kind } else { (kind.0, ServerStep::Command(Verb::Other), None, None) };
    let count = counts.entry(kind).or_default();
    *count = count.saturating_add(times);
}

/// This epoch and the one before.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    now: RefusalCounts,
    before: RefusalCounts,
    epoch: u64,
}

impl Refusals {
    /// Moves what is gathered here, at `second` of the clock.
    pub(super) fn take(&mut self, second: u64, gathered: &mut RefusalCounts) {
        self.turn(second);
        for (kind, times) in gathered.drain() {
            count(&mut self.now, kind, times);
        }
    }

    /// The `most` that were frequent.
    pub(super) fn top(&mut self, second: u64, most: usize) -> Vec<(RefusalKind, u32)> {
        self.turn(second);
        let mut both = self.now.clone();
        for (kind, times) in &self.before {
            let count = both.entry(*kind).or_default();
            *count = count.saturating_add(*times);
        }
        let mut all: Vec<_> = both.into_iter().collect();
        let code = |kind: &RefusalKind| kind.2.and_then(Status::code);
        all.sort_by_key(|(kind, times)| (std::cmp::Reverse(*times), kind.0.index(), kind.1.as_str(), code(kind)));
        all.truncate(most);
        all
    }

    fn turn(&mut self, second: u64) {
        let epoch = second / EPOCH;
        if epoch > self.epoch {
            let now = std::mem::take(&mut self.now);
            self.before = if epoch == self.epoch + 1 { now } else { RefusalCounts::default() };
            self.epoch = epoch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;

    #[test]
    fn kinds_are_capped_and_forgotten() {
        let mut refusals = Refusals::default();
        let mut gathered = RefusalCounts::default();
        for code in 0..600 {
            count(&mut gathered, (Protocol::Smtp, ServerStep::Greeting, Some(Status::Code(code)), None), 1);
        }
        refusals.take(0, &mut gathered);
        assert!(gathered.is_empty());
        let top = refusals.top(0, 1000);
        assert!(top.len() <= KINDS + 1);
        let (others, times) = top[0];
        assert_eq!(others, (Protocol::Smtp, ServerStep::Command(Verb::Other), None, None));
        assert!(times >= 600 - KINDS as u32 && top.iter().map(|(_, times)| times).sum::<u32>() == 600);
        assert_eq!(refusals.top(599, 3).len(), 3);
        assert!(refusals.top(600, 3).is_empty());
    }
}

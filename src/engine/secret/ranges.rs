//! Ranges of a text that are to be replaced, and their replacement.

use smallvec::SmallVec;

/// What stands in place of a secret.
pub(super) const REDACTED: &[u8] = b"[redacted]";

/// Ranges, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Ranges(SmallVec<[(usize, usize); 8]>);

impl Ranges {
    /// Adds one. Ranges that end in ascending order are kept without overlap, so that their number is that of the places.
    pub(super) fn add(&mut self, mut from: usize, mut to: usize) {
        while let Some((before, end)) = self.0.last().copied().filter(|(before, end)| *end >= from && *before <= to) {
            (from, to) = (from.min(before), to.max(end));
            self.0.pop();
        }
        self.0.push((from, to));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps those that `keep` says yes to.
    pub(super) fn retain(&mut self, keep: impl Fn((usize, usize)) -> bool) {
        self.0.retain(|range| keep(*range));
    }

    /// Drops those that are a part of `name` where `text` has it.
    pub(super) fn spare(&mut self, text: &[u8], name: &[u8]) {
        for from in memchr::memmem::find_iter(text, name) {
            let to = from + name.len();
            self.0.retain(|range| range.0 < from || range.1 > to || *range == (from, to));
        }
    }

    /// In order; those that overlap or touch as one.
    pub(super) fn merged(mut self) -> impl Iterator<Item = (usize, usize)> {
        self.0.sort_unstable();
        let mut merged = Self::default();
        self.0.iter().for_each(|(from, to)| merged.add(*from, *to));
        merged.0.into_iter()
    }

    /// `text` with the ranges replaced.
    pub(super) fn replace(self, text: &[u8]) -> Vec<u8> {
        let mut masked = Vec::with_capacity(text.len() + REDACTED.len());
        let mut done = 0;
        for (from, to) in self.merged() {
            masked.extend_from_slice(text.get(done..from).unwrap_or_default());
            masked.extend_from_slice(REDACTED);
            done = to;
        }
        masked.extend_from_slice(text.get(done..).unwrap_or_default());
        masked
    }
}

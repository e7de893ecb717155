//! Sets of message numbers, read once: which command a FETCH response belongs to must not cost what the sets hold.

use memchr::memchr;
use smallvec::SmallVec;

use super::lex;

/// Ranges of one set that are kept. Clients send a few; with all of [`crate::engine::Limits::in_flight`] commands
/// outstanding, a response costs some thousand comparisons at most.
const KEPT: usize = 16;

/// The numbers that a command names (RFC 9051 section 9, `sequence-set`), or somewhat more: a set in many pieces is kept
/// as its first ranges and one that covers the rest.
#[derive(Debug, Default)]
pub(super) struct Set {
    /// The usual ones need no room on the heap.
    ranges: SmallVec<[(u64, u64); 2]>,
    /// It may hold anything: not read, or `$`, or no set at all.
    anything: bool,
}

impl Set {
    /// A set of which nothing is known.
    pub(super) fn anything() -> Self {
        Self { ranges: SmallVec::new(), anything: true }
    }

    /// The set at the head of `args`.
    pub(super) fn read(args: &[u8]) -> Self {
        let (mut text, _) = lex::word(args);
        let mut set = Self::default();
        while !text.is_empty() {
            let end = memchr(b',', text).unwrap_or(text.len());
            let Some(range) = text.get(..end).and_then(range) else { return Self::anything() };
            set.add(range);
            text = text.get(end + 1..).unwrap_or_default();
        }
        set.anything = set.ranges.is_empty();
        set
    }

    fn add(&mut self, (first, last): (u64, u64)) {
        let full = self.ranges.len() == KEPT;
        match self.ranges.last_mut() {
            Some(covering) if full => {
                *covering = (covering.0.min(first), covering.1.max(last));
            }
            Some(before) if before.1.checked_add(1) == Some(first) => before.1 = last,
            _ => self.ranges.push((first, last)),
        }
    }

    /// Whether it may hold `number`. `*` is the greatest number there is, which nobody here knows.
    pub(super) fn may_hold(&self, number: u64) -> bool {
        let star = (u64::MAX, u64::MAX);
        self.anything || self.ranges.iter().any(|range| *range == star || (range.0..=range.1).contains(&number))
    }

    /// The one number that it holds, if it is one.
    pub(super) fn single(&self) -> Option<u64> {
        match self.ranges.as_slice() {
            [(first, last)] if first == last && *last < u64::MAX && !self.anything => Some(*first),
            _ => None,
        }
    }

    /// Gives back what it does not need.
    pub(super) fn shrink(&mut self) {
        self.ranges.shrink_to_fit();
    }
}

fn range(text: &[u8]) -> Option<(u64, u64)> {
    let mut ends = text.splitn(2, |o| *o == b':');
    let first = end_of_range(ends.next().unwrap_or_default())?;
    let last = ends.next().map_or(Some(first), end_of_range)?;
    Some((first.min(last), first.max(last)))
}

fn end_of_range(text: &[u8]) -> Option<u64> {
    if text == b"*" { Some(u64::MAX) } else { lex::number(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_set_may_hold() {
        for (set, number, holds) in [
            (&b"1 X"[..], 1, true),
            (b"1 X", 2, false),
            (b" 1,5:7", 6, true),
            (b"7:5", 6, true),
            (b"1,5:7", 8, false),
            (b"5:*", 4, false),
            (b"*:5", 9, true),
            (b"*", 3, true),
            (b"1,*", 3, true),
            (b"$", 3, true),
            (b"1,x", 3, true),
            (b"", 3, true),
        ] {
            assert_eq!(Set::read(set).may_hold(number), holds, "{}", set.escape_ascii());
        }
    }

    #[test]
    fn a_set_of_many_pieces_is_kept_short() {
        let pieces: Vec<String> = (1..5000u64).map(|n| (n * 2).to_string()).collect();
        let set = Set::read(pieces.join(",").as_bytes());
        assert!(set.ranges.len() <= KEPT && set.may_hold(2) && set.may_hold(9998));
        assert!(!set.may_hold(3) && !set.may_hold(10_000));
        let row: Vec<String> = (1..5000u64).map(|n| n.to_string()).collect();
        assert_eq!(Set::read(row.join(",").as_bytes()).ranges.as_slice(), [(1, 4999)]);
    }
}

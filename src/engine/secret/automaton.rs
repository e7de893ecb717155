//! Finds any of many words in a text in one pass, whatever their case (Aho and Corasick, 1975).
//!
//! Each byte of the text costs a bounded number of steps, however many words there are and however alike. The crate
//! `aho-corasick` is not used because its tables spell out the words and cannot be overwritten: here one vector holds
//! all of them, and it is wiped when it is dropped.

use super::ranges::Ranges;
use super::words;

/// From this length on a word is found inside other words; a shorter one only as a word of its own.
pub(super) const INSIDE_WORDS: usize = 4;

/// This much of the head of a longer word is an echo that was cut short.
const CUT_SHORT: usize = 8;

/// A string with which some word begins.
#[derive(Clone, Copy, Default)]
struct AutomatonState {
    /// Its last byte, folded.
    label: u8,
    /// Lengths below [`INSIDE_WORDS`] of the words that it ends with, a bit each.
    short: u8,
    /// Its length.
    depth: u16,
    /// Length of the longest other word that it ends with.
    whole: u16,
    /// The state of its longest proper suffix that some word begins with.
    fail: u16,
    /// Where its children begin; they end where those of the next state begin, for states are in order of depth.
    first: u16,
}

/// A set of words, ready to be found.
pub(super) struct Automaton {
    states: Vec<AutomatonState>,
    /// The bytes that words begin with, in either case: most bytes of most texts are none of them.
    heads: [u64; 4],
}

impl Automaton {
    /// Takes `words`, which are folded, in any order. Together they have fewer than 2^16 bytes.
    pub(super) fn new(words: &mut [&[u8]]) -> Self {
        words.sort_unstable();
        let most = words.iter().map(|word| word.len()).sum::<usize>() + 2;
        let mut automaton = Self { states: Vec::with_capacity(most), heads: [0; 4] };
        // The words that begin with the string of each state.
        let mut ranges = Vec::with_capacity(most);
        automaton.states.push(AutomatonState::default());
        ranges.push((0, words.len()));
        let mut parent = 0;
        while let Some((from, to)) = ranges.get(parent).copied() {
            automaton.add_children(parent, words.get(from..to).unwrap_or_default(), from, &mut ranges);
            parent += 1;
        }
        let first = automaton.next_index();
        automaton.states.push(AutomatonState { first, ..AutomatonState::default() });
        automaton
    }

    /// Adds the children of `parent`, whose string all of `words` begin with; they are numbered from `number` on.
    fn add_children(&mut self, parent: usize, words: &[&[u8]], number: usize, ranges: &mut Vec<(usize, usize)>) {
        let first = self.next_index();
        let Some(state) = self.states.get_mut(parent) else { return };
        state.first = first;
        let (depth, fail) = (usize::from(state.depth), state.fail);
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let Some(label) = word.get(depth).copied() else {
                at += 1;
                continue;
            };
            let same = words.get(at..).unwrap_or_default().iter().take_while(|w| w.get(depth) == Some(&label)).count();
            // The words are sorted: the shortest with this head comes first.
            let ends = word.len() == depth + 1;
            let fail = if parent == 0 { 0 } else { self.next(fail, label) };
            self.add(label, depth + 1, ends, fail);
            ranges.push((number + at, number + at + same));
            at += same;
        }
    }

    fn add(&mut self, label: u8, depth: usize, ends: bool, fail: u16) {
        let suffix = self.state(fail);
        let (mut short, mut whole) = (suffix.short, suffix.whole);
        if ends && depth < INSIDE_WORDS {
            short |= 1 << depth;
        } else if ends {
            whole = depth as u16;
        }
        if depth == 1 {
            for label in [label, label.to_ascii_uppercase()] {
                if let Some(heads) = self.heads.get_mut(usize::from(label >> 6)) {
                    *heads |= 1 << (label & 63);
                }
            }
        }
        self.states.push(AutomatonState { label, short, depth: depth as u16, whole, fail, first: 0 });
    }

    fn next_index(&self) -> u16 {
        u16::try_from(self.states.len()).unwrap_or(u16::MAX)
    }

    /// Whether a word begins with `byte`.
    fn begins(&self, byte: u8) -> bool {
        self.heads.get(usize::from(byte >> 6)).is_some_and(|heads| heads >> (byte & 63) & 1 == 1)
    }

    fn state(&self, index: u16) -> AutomatonState {
        self.states.get(usize::from(index)).copied().unwrap_or_default()
    }

    /// The state after `label`, which is folded.
    fn next(&self, mut state: u16, label: u8) -> u16 {
        loop {
            if state == 0 && !self.begins(label) {
                return 0;
            }
            if let Some(child) = self.child(state, label) {
                return child;
            }
            if state == 0 {
                return 0;
            }
            state = self.state(state).fail;
        }
    }

    /// Adds the ranges of `text` that show a word, or the head of one.
    pub(super) fn find(&self, text: &[u8], found: &mut Ranges) {
        let mut state = 0;
        for (at, byte) in text.iter().enumerate() {
            state = self.next(state, byte.to_ascii_lowercase());
            if state == 0 {
                continue;
            }
            let AutomatonState { depth, whole, short, .. } = self.state(state);
            let length = if usize::from(depth) >= CUT_SHORT { depth } else { whole };
            let end = at + 1;
            if length > 0 {
                found.add(end.saturating_sub(usize::from(length)), end);
            }
            for length in (1..INSIDE_WORDS).filter(|length| short >> length & 1 == 1) {
                if words::is_whole(text, end.saturating_sub(length), end) {
                    found.add(end.saturating_sub(length), end);
                }
            }
        }
    }
}

impl Automaton {
    /// Adds the ranges of `text` that are the head of a word, cut short by the server, and stand alone: an echo of four
    /// letters is one too. Longer heads are found wherever they stand.
    pub(super) fn find_heads(&self, text: &[u8], found: &mut Ranges) {
        let may_begin = |start: &usize| text.get(*start).is_some_and(|byte| self.begins(*byte));
        for start in (0..text.len()).filter(|start| may_begin(start) && words::begins(text, *start)) {
            let (mut state, mut length) = (0, 0);
            for (depth, byte) in text.get(start..).unwrap_or_default().iter().enumerate().take(CUT_SHORT - 1) {
                let Some(next) = self.child(state, byte.to_ascii_lowercase()) else { break };
                state = next;
                if depth + 1 >= INSIDE_WORDS && words::is_whole(text, start, start + depth + 1) {
                    length = depth + 1;
                }
            }
            // `AUTH` is no echo of `Authorization`.
            let is_keyword = || text.get(start..start + length).is_some_and(words::is_keyword);
            if length > 0 && !is_keyword() {
                found.add(start, start + length);
            }
        }
    }

    /// The state whose string is that of `state` with `label` behind it.
    fn child(&self, state: u16, label: u8) -> Option<u16> {
        #[cfg(test)]
        steps::one();
        let (first, end) = (self.state(state).first, self.state(state.saturating_add(1)).first);
        let children = self.states.get(usize::from(first)..usize::from(end)).unwrap_or_default();
        let child = children.binary_search_by_key(&label, |child| child.label).ok()?;
        Some(first + child as u16)
    }
}

impl Drop for Automaton {
    fn drop(&mut self) {
        self.states.fill(AutomatonState::default());
        std::hint::black_box(&mut self.states);
    }
}

/// Counts the work, for tests that hold it to a bound.
#[cfg(test)]
pub(super) mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn one() {
        STEPS.set(STEPS.get() + 1);
    }

    /// Steps of `work`.
    pub(crate) fn of(work: impl FnOnce()) -> u64 {
        let before = STEPS.get();
        work();
        STEPS.get() - before
    }
}

#[cfg(test)]
mod tests {
    use super::words::is_whole;
    use super::*;
    use proptest::prelude::*;

    /// What is found, by trying every word at every place.
    fn naive(words: &[Vec<u8>], text: &[u8]) -> Vec<bool> {
        let mut shown = vec![false; text.len()];
        for word in words {
            for start in 0..text.len() {
                let same = text[start..].iter().zip(word).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
                let whole = same == word.len();
                let alone = whole && is_whole(text, start, start + same);
                if same >= CUT_SHORT || (whole && (same >= INSIDE_WORDS || alone)) {
                    shown[start..start + same].fill(true);
                }
            }
        }
        shown
    }

    fn found(words: &[Vec<u8>], text: &[u8]) -> Vec<bool> {
        let mut sorted: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut ranges = Ranges::default();
        Automaton::new(&mut sorted).find(text, &mut ranges);
        let mut shown = vec![false; text.len()];
        for (from, to) in ranges.merged() {
            shown[from..to].fill(true);
        }
        shown
    }

    proptest! {
        #[test]
        fn it_finds_what_trying_everything_finds(
            words in proptest::collection::vec("[ab=]{1,12}", 0..9),
            text in "[abAB= x]{0,60}",
        ) {
            let mut words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
            words.sort();
            words.dedup();
            prop_assert_eq!(found(&words, text.as_bytes()), naive(&words, text.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn it_finds_every_head_that_stands_alone(
            words in proptest::collection::vec("[ab=]{1,12}", 0..9),
            text in "[abAB= x]{0,60}",
        ) {
            let mut shown = vec![false; text.len()];
            for word in &words {
                for (start, length) in (0..text.len()).flat_map(|start| (INSIDE_WORDS..CUT_SHORT).map(move |n| (start, n))) {
                    let head = text.as_bytes().get(start..start + length);
                    let same = head.zip(word.as_bytes().get(..length)).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b));
                    if same && is_whole(text.as_bytes(), start, start + length) {
                        shown[start..start + length].fill(true);
                    }
                }
            }
            let mut sorted: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            let mut ranges = Ranges::default();
            Automaton::new(&mut sorted).find_heads(text.as_bytes(), &mut ranges);
            let mut found = vec![false; text.len()];
            ranges.merged().for_each(|(from, to)| found[from..to].fill(true));
            prop_assert_eq!(found, shown);
        }
    }

    #[test]
    fn words_of_any_bytes_are_found() {
        let words = [vec![0, 255, 254, 1], vec![255; 5], b"\xC3\xA4nn".to_vec()];
        let shown = |text: &[u8]| found(&words, text).iter().filter(|b| **b).count();
        assert_eq!(shown(b"x\x00\xFF\xFE\x01y"), 4);
        assert_eq!(shown(&[255; 9]), 9);
        assert_eq!(shown(b"\xC3\xA4NN \xC3\xA4n"), 4);
        assert_eq!(found(&[], b"nothing").iter().filter(|b| **b).count(), 0);
    }
}

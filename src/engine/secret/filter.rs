//! Says quickly that a text has none of many words, which is so for almost every text.
//!
//! Two bits for each hash of the bytes with which a word begins (Bloom, 1970). Where as many bytes of the text do not find
//! both, no word begins; where they do, one may.

use super::automaton::INSIDE_WORDS;
use super::words;

/// Bytes of a word that are hashed. Shorter words are found as words of their own only.
const HEAD: usize = INSIDE_WORDS;

/// Numbers of 64 bits, as a power of two: few enough for each session, and with a dozen words hardly a text is suspected.
const WORDS: u32 = 3;

/// How the words of a set begin.
#[derive(Default)]
pub(super) struct HeadFilter {
    bits: [u64; 1 << WORDS],
    /// One is shorter than what is hashed.
    has_short: bool,
}

impl HeadFilter {
    pub(super) fn add(&mut self, word: &[u8]) {
        self.has_short |= word.len() < HEAD;
        let (index, two) = place(head(word));
        if let Some(bits) = self.bits.get_mut(index) {
            *bits |= two;
        }
    }

    /// Whether `text` may have one of the words, or the head of one from [`INSIDE_WORDS`] bytes on.
    pub(super) fn may_have(&self, text: &[u8]) -> bool {
        text.array_windows().any(|head| self.begins(*head)) || (self.has_short && self.may_have_short(text))
    }

    fn may_have_short(&self, text: &[u8]) -> bool {
        (0..text.len()).filter(|start| words::begins(text, *start)).any(|start| {
            let word = |length| text.get(start..start + length);
            (1..HEAD).filter_map(word).any(|word| self.begins(head(word)))
        })
    }

    fn begins(&self, head: [u8; HEAD]) -> bool {
        let (index, two) = place(head);
        self.bits.get(index).is_some_and(|bits| bits & two == two)
    }
}

/// What is hashed of `word`.
fn head(word: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
    head
}

/// Where the bits of `head` are. Upper and lower case have the same; so do some others, which does no harm.
fn place(head: [u8; HEAD]) -> (usize, u64) {
    let hash = (u32::from_le_bytes(head) | 0x2020_2020).wrapping_mul(0x9E37_79B1);
    // The upper bits of a product hang on all bits of its factors.
    let (index, one, other) = (hash >> (32 - WORDS), hash >> 22, hash >> 16);
    (index as usize, 1 << (one & 63) | 1 << (other & 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_word_is_overlooked(
            words in proptest::collection::vec("[ -~é]{1,9}", 1..40),
            before in "([ -~]{0,8} )?",
            which: prop::sample::Index,
            upper: bool,
        ) {
            let mut filter = HeadFilter::default();
            words.iter().for_each(|word| filter.add(word.as_bytes()));
            let word = which.get(&words);
            let word = if upper { word.to_ascii_uppercase() } else { word.to_ascii_lowercase() };
            prop_assert!(filter.may_have((before + &word).as_bytes()));
        }
    }

    #[test]
    fn most_texts_have_none_of_a_few_words() {
        let mut filter = HeadFilter::default();
        ["hunter2", "aHVudGVyMg==", "secret-of-ann", "AGFubgBzZWNyZXQ="]
            .iter()
            .for_each(|word| filter.add(word.as_bytes()));
        let texts = (0..1000).map(|n| format!("2.1.5 Ok {n}: queued as {:X}", n * 7919));
        let suspected = texts.filter(|text| filter.may_have(text.as_bytes())).count();
        assert!(suspected < 20, "{suspected}");
    }
}

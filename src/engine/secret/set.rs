//! A bounded set of words that are to be found, whatever their case.

use std::cell::OnceCell;

use super::automaton::Automaton;
use super::filter::HeadFilter;
use super::ranges::Ranges;
use super::wipe;

/// Bytes remembered in all: a dozen exchanges, or a long line.
pub(super) const ROOM: usize = 8 << 10;

/// Bytes remembered of one word: as much as the text of a reply can hold of it.
const HEAD: usize = 1 << 10;

/// Counted for each word besides its bytes, so that many short ones are bounded too.
const OVERHEAD: usize = 16;

/// Bytes of a length.
const LENGTH: usize = 2;

/// So many bytes may be new since the larger automaton was built. More make one of everything: building costs by what is
/// new, not by what is known.
const FRESH: usize = 512;

/// The words.
#[derive(Default)]
pub(super) struct WordSet {
    /// Folded, one behind the other, the oldest first, each behind its length: sessions are many, and most know one or two.
    known: Vec<u8>,
    /// What is counted against [`ROOM`].
    cost: usize,
    /// How they begin, and how some begin that were forgotten.
    heads: HeadFilter,
    /// Bytes of `known` that `large` is made of, and one of the two.
    in_large: usize,
    ready: usize,
    /// Made when a text may have a word: most sessions end before.
    large: OnceCell<Box<Automaton>>,
    small: OnceCell<Box<Automaton>>,
    /// From here on no text was looked at since: these must not be forgotten.
    unused: usize,
    /// Bytes of words that were looked at, to remember others and to be ready to find them.
    looked_at: u64,
}

impl WordSet {
    /// Remembers `word`; false if there was no room for it.
    pub(super) fn add(&mut self, word: &[u8]) -> bool {
        let word = word.get(..HEAD).unwrap_or(word);
        self.looked_at += self.known.len() as u64;
        if word.is_empty() || each(&self.known).any(|known| known.eq_ignore_ascii_case(word)) {
            return true;
        }
        if self.cost + word.len() + OVERHEAD > ROOM && !self.make_room_for(word.len() + OVERHEAD) {
            return false;
        }
        self.cost += word.len() + OVERHEAD;
        self.heads.add(word);
        self.reserve(LENGTH + word.len());
        self.known.extend_from_slice(&(word.len() as u16).to_le_bytes());
        self.known.extend(word.iter().map(u8::to_ascii_lowercase));
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        each(&self.known).count()
    }

    /// Forgets the oldest until half of the room is free, so that this is not done for each word. What no text was looked
    /// at for stays: then false.
    fn make_room_for(&mut self, more: usize) -> bool {
        let (mut gone, mut freed) = (0, 0);
        for word in each(&self.known) {
            if self.cost - freed + more <= ROOM / 2 || gone >= self.unused {
                break;
            }
            gone += LENGTH + word.len();
            freed += word.len() + OVERHEAD;
        }
        if gone > 0 {
            let kept = self.known.len().saturating_sub(gone);
            self.known.copy_within(gone.., 0);
            wipe(self.known.get_mut(kept..).unwrap_or_default());
            self.known.truncate(kept);
            self.cost -= freed;
            self.unused = self.unused.saturating_sub(gone);
            self.unmake();
        }
        self.cost + more <= ROOM
    }

    /// Makes room for `more` bytes. A vector that grows by itself leaves its bytes behind.
    fn reserve(&mut self, more: usize) {
        let wanted = self.known.len() + more;
        if wanted > self.known.capacity() {
            self.move_to(wanted.max(self.known.capacity() * 2));
        }
    }

    fn move_to(&mut self, capacity: usize) {
        let mut moved = Vec::with_capacity(capacity);
        moved.extend_from_slice(&self.known);
        wipe(&mut self.known);
        self.known = moved;
    }

    /// Gives back what it does not need.
    pub(super) fn shrink(&mut self) {
        self.unmake();
        if self.known.capacity() > self.known.len() {
            self.move_to(self.known.len());
        }
    }

    /// Forgets the automata.
    fn unmake(&mut self) {
        (self.in_large, self.ready) = (0, 0);
        (self.large, self.small) = (OnceCell::new(), OnceCell::new());
    }

    /// To be called before [`Self::find`], after words were added.
    pub(super) fn prepare(&mut self) {
        if self.ready == self.known.len() {
            return;
        }
        let fresh = self.known.len() - self.in_large;
        self.looked_at += 8 * if fresh > FRESH { self.known.len() } else { fresh } as u64;
        self.small = OnceCell::new();
        if fresh > FRESH || self.known.len() <= FRESH {
            self.large = OnceCell::new();
            self.in_large = self.known.len();
        }
        self.ready = self.known.len();
    }

    /// How many bytes of words were looked at since this was asked.
    pub(super) fn take_looked_at(&mut self) -> u64 {
        std::mem::take(&mut self.looked_at)
    }

    /// What finds the words that are ready.
    fn automata(&self) -> impl Iterator<Item = &Automaton> {
        let make = |from, to| {
            let known = self.known.get(..to).unwrap_or_default();
            Box::new(Automaton::new(&mut each(known.get(from..).unwrap_or_default()).collect::<Vec<_>>()))
        };
        let large = (self.in_large > 0).then(|| &**self.large.get_or_init(|| make(0, self.in_large)));
        let has_small = self.ready > self.in_large;
        let small = has_small.then(|| &**self.small.get_or_init(|| make(self.in_large, self.ready)));
        large.into_iter().chain(small)
    }

    /// Adds the ranges of `text` that show a word.
    pub(super) fn find(&self, text: &[u8], found: &mut Ranges) {
        if self.may_have(text) {
            self.automata().for_each(|automaton| automaton.find(text, found));
        }
    }

    /// Adds the ranges of `text` that show a word, or the head of one and nothing else.
    pub(super) fn find_cut(&self, text: &[u8], found: &mut Ranges) {
        if self.may_have(text) {
            self.automata().for_each(|automaton| automaton.find(text, found));
            self.automata().for_each(|automaton| automaton.find_heads(text, found));
        }
    }

    fn may_have(&self, text: &[u8]) -> bool {
        !self.is_empty() && self.heads.may_have(text)
    }

    /// A text was looked at: what is known may be forgotten when there is no more room.
    pub(super) fn used(&mut self) {
        self.unused = self.known.len();
    }
}

/// The words in `known`, the oldest first.
fn each(known: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = known;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<LENGTH>()?;
        let (word, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = behind;
        Some(word)
    })
}

impl Drop for WordSet {
    fn drop(&mut self) {
        wipe(&mut self.known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(set: &mut WordSet, text: &[u8]) -> bool {
        set.prepare();
        let mut found = Ranges::default();
        set.find(text, &mut found);
        !found.is_empty()
    }

    #[test]
    fn much_is_never_kept_and_the_oldest_goes_first() {
        let mut set = WordSet::default();
        set.add(b"the first one");
        for n in 0..10_000_u32 {
            set.used();
            assert!(set.add(format!("secret number {n:08}").as_bytes()));
        }
        assert!(set.add(&[b'x'; 100_000]));
        assert!(set.cost <= ROOM && set.known.capacity() <= 2 * ROOM);
        assert!(!finds(&mut set, b"the first one"));
        assert!(finds(&mut set, b"is secret number 00009999"));
    }

    #[test]
    fn what_no_text_was_looked_at_for_is_not_forgotten() {
        let mut set = WordSet::default();
        set.add(b"old one");
        set.used();
        let added = (0..10_000_u32).take_while(|n| set.add(format!("word {n:08}").as_bytes())).count();
        assert!(added > 100 && added < 1000, "{added}");
        assert!(finds(&mut set, b"word 00000000") && !finds(&mut set, b"old one"));
        set.used();
        assert!(set.add(b"another"));
    }

    #[test]
    fn every_word_is_found_however_many_came_between_two_looks() {
        let mut set = WordSet::default();
        for n in 0..150_u32 {
            set.add(format!("w{n:03}").as_bytes());
            assert!((0..=n).step_by(7).all(|n| finds(&mut set, format!("xW{n:03}").as_bytes())), "{n}");
            if n % 40 == 0 {
                set.shrink();
            }
        }
    }
}

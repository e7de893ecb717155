//! Secrets of a session: remembered only to find their echo, never to be told.
//!
//! Servers repeat what they do not understand, and a client out of step sends its password where a command belongs.
//! So every text of the server passes [`Secrets::mask`] before anyone sees it. What is remembered is bounded and
//! overwritten when the session is over; its `Debug` says how much there is, never what.

use std::sync::LazyLock;

use data_encoding::{BASE64, BASE64_NOPAD, Encoding};
use memchr::memmem;

use crate::event::Text;

/// What stands in place of a secret.
const REDACTED: &[u8] = b"[redacted]";

/// Octets remembered in all: a dozen exchanges.
const ROOM: usize = 4 << 10;

/// Octets remembered of one secret: as much as the text of a reply can hold of it.
const HEAD: usize = 1 << 10;

/// Counted for each secret besides its octets, so that many short ones are bounded too.
const OVERHEAD: usize = 16;

/// Octets of a length.
const LENGTH: usize = 2;

/// From here on a secret is found inside other words; a shorter one as a word of its own only.
const INSIDE_WORDS: usize = 4;

/// So many octets of a longer secret's head are an echo that was cut short.
const CUT_SHORT: usize = 8;

/// Base64 without padding, trailing bits not looked at.
static PERMISSIVE: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = BASE64_NOPAD.specification();
    specification.check_trailing_bits = false;
    specification.encoding().unwrap_or(BASE64_NOPAD)
});

/// The secrets a session has shown so far.
#[derive(Default)]
pub(crate) struct Secrets {
    /// One behind the other, the oldest first, each behind its length: sessions are many, and most know one or two.
    known: Vec<u8>,
}

impl Secrets {
    /// Remembers `secret` as sent and, if it is base64, what it stands for.
    pub(crate) fn learn(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        self.remember(secret);
        if let Some(mut decoded) = base64(secret) {
            self.remember(&decoded);
            wipe(&mut decoded);
        }
    }

    /// Remembers a password as it is and as base64: what a server makes of it.
    pub(crate) fn learn_password(&mut self, password: &[u8]) {
        self.remember(password);
        let mut encoded = BASE64.encode(password.get(..HEAD).unwrap_or(password)).into_bytes();
        self.remember(&encoded);
        wipe(&mut encoded);
    }

    /// Remembers `secret`, and nothing else.
    pub(crate) fn remember(&mut self, secret: &[u8]) {
        let secret = secret.get(..HEAD).unwrap_or(secret);
        if secret.is_empty() || self.each().any(|known| known == secret) {
            return;
        }
        while self.cost() + secret.len() + OVERHEAD > ROOM {
            self.forget_oldest();
        }
        self.make_room(LENGTH + secret.len());
        self.known.extend_from_slice(&(secret.len() as u16).to_le_bytes());
        self.known.extend_from_slice(secret);
    }

    /// Gives back what it does not need.
    pub(crate) fn shrink(&mut self) {
        if self.known.capacity() > self.known.len() {
            self.move_to(self.known.len());
        }
    }

    /// The secrets, the oldest first.
    fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.known.as_slice();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<LENGTH>()?;
            let (secret, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            rest = behind;
            Some(secret)
        })
    }

    /// What is counted against [`ROOM`].
    fn cost(&self) -> usize {
        self.each().map(|known| known.len() + OVERHEAD).sum()
    }

    fn forget_oldest(&mut self) {
        let Some(gone) = self.each().next().map(|oldest| LENGTH + oldest.len()) else { return };
        let kept = self.known.len() - gone;
        self.known.copy_within(gone.., 0);
        wipe(self.known.get_mut(kept..).unwrap_or_default());
        self.known.truncate(kept);
    }

    /// Makes room for `more` octets. A vector that grows by itself leaves its octets behind.
    fn make_room(&mut self, more: usize) {
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

    /// Replaces every echo of a secret in `text` by `[redacted]`.
    pub(crate) fn mask(&self, text: &mut Text) {
        if self.known.is_empty() || text.as_bytes().is_empty() {
            return;
        }
        let mut found = Vec::new();
        for secret in self.each() {
            echoes(secret, text.as_bytes(), &mut found);
        }
        if !found.is_empty() {
            found.sort_unstable();
            replace(text, &found);
        }
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        wipe(&mut self.known);
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.each().count())
    }
}

/// Decodes base64; padding and spaces around may be there or not. `None` if it is none, or empty.
pub(crate) fn base64(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let padding = line.iter().rev().take_while(|octet| **octet == b'=').count();
    let text = line.get(..line.len() - padding)?;
    if padding > 2 || text.is_empty() {
        return None;
    }
    PERMISSIVE.decode(text).ok()
}

/// Best effort without unsafe code: the octets are overwritten and the compiler is asked not to know better.
fn wipe(octets: &mut [u8]) {
    octets.fill(0);
    std::hint::black_box(octets);
}

/// Adds the ranges of `text` that show `secret`, or the head of it.
fn echoes(secret: &[u8], text: &[u8], found: &mut Vec<(usize, usize)>) {
    let needle = secret.get(..CUT_SHORT).unwrap_or(secret);
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| memmem::find(rest, needle)) {
        let start = from + at;
        let shown = text.get(start..).unwrap_or_default();
        let end = start + shown.iter().zip(secret).take_while(|(a, b)| a == b).count();
        if secret.len() >= INSIDE_WORDS || is_word(text, start, end) {
            found.push((start, end));
        }
        // A head of the secret may overlap the whole of it, so the next octet is looked at, not the next word.
        from = start + 1;
    }
}

/// Whether the range is not part of a longer word.
fn is_word(text: &[u8], start: usize, end: usize) -> bool {
    let inside = |octet: Option<&u8>| octet.is_some_and(|o| o.is_ascii_alphanumeric() || !o.is_ascii());
    !inside(start.checked_sub(1).and_then(|i| text.get(i))) && !inside(text.get(end))
}

/// Replaces the sorted ranges `found`; those that overlap or touch as one.
fn replace(text: &mut Text, found: &[(usize, usize)]) {
    let octets = text.as_bytes();
    let mut masked = Vec::with_capacity(octets.len() + REDACTED.len());
    let mut done = None;
    for (start, end) in found {
        if done.is_none_or(|done| *start > done) {
            masked.extend_from_slice(octets.get(done.unwrap_or(0)..*start).unwrap_or_default());
            masked.extend_from_slice(REDACTED);
        }
        done = done.max(Some(*end));
    }
    masked.extend_from_slice(octets.get(done.unwrap_or(0)..).unwrap_or_default());
    wipe(text.octets_mut());
    text.set(&masked);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(secrets: &Secrets, text: &[u8]) -> String {
        let mut kept = Text::default();
        kept.set(text);
        secrets.mask(&mut kept);
        String::from_utf8_lossy(kept.as_bytes()).into_owned()
    }

    #[test]
    fn an_echo_is_masked_as_sent_and_as_decoded() {
        let mut secrets = Secrets::default();
        assert_eq!(masked(&secrets, b"bad hunter2"), "bad hunter2");
        secrets.learn(b"aHVudGVyMg== ");
        assert_eq!(masked(&secrets, b"unknown \"aHVudGVyMg==\", hunter2"), "unknown \"[redacted]\", [redacted]");
        secrets.learn_password(b"open sesame");
        assert_eq!(masked(&secrets, b"xopen sesamex b3BlbiBzZXNhbWU="), "x[redacted]x [redacted]");
        assert_eq!(masked(&secrets, b"nothing of it"), "nothing of it");
    }

    #[test]
    fn an_echo_cut_short_is_masked() {
        let mut secrets = Secrets::default();
        secrets.learn_password(b"a very long password");
        assert_eq!(masked(&secrets, b"what is 'a very long p...'?"), "what is '[redacted]...'?");
        assert_eq!(masked(&secrets, b"a very good day"), "a very good day");
    }

    #[test]
    fn a_short_secret_is_masked_as_a_word_only() {
        let mut secrets = Secrets::default();
        secrets.remember(b"a");
        assert_eq!(masked(&secrets, b"unknown command a, and a."), "unknown command [redacted], and [redacted].");
        assert_eq!(masked(&secrets, b"a"), "[redacted]");
        assert_eq!(masked(&secrets, b"bad command"), "bad command");
    }

    #[test]
    fn echoes_that_overlap_become_one() {
        let mut secrets = Secrets::default();
        secrets.remember(b"abcdef");
        secrets.remember(b"defghi");
        assert_eq!(masked(&secrets, b"<abcdefghi>"), "<[redacted]>");
        secrets.remember(b"xyzxyzxyzw!");
        assert_eq!(masked(&secrets, b"xyzxyzxyzxyzw!"), "[redacted]");
    }

    #[test]
    fn the_oldest_is_dropped_and_much_is_never_kept() {
        let mut secrets = Secrets::default();
        secrets.remember(b"the first one");
        for n in 0..10_000u32 {
            secrets.remember(format!("secret number {n:08}").as_bytes());
        }
        secrets.remember(&[b'x'; 100_000]);
        assert!(secrets.cost() <= ROOM && secrets.known.capacity() <= 2 * ROOM);
        assert_eq!(masked(&secrets, b"the first one"), "the first one");
        assert_eq!(masked(&secrets, b"is secret number 00009999"), "is [redacted]");
    }

    #[test]
    fn debug_tells_nothing() {
        let mut secrets = Secrets::default();
        secrets.learn_password(b"hunter2");
        assert_eq!(format!("{secrets:?}"), "2 secrets");
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        assert_eq!(base64(b"aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64(b" aGk ").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64(b"aGl=").as_deref(), Some(&b"hi"[..]), "trailing bits");
        for bad in [&b"a"[..], b"a b", b"=", b"", b"aGk====", b"\xFF\xFF"] {
            assert_eq!(base64(bad), None);
        }
    }

    proptest! {
        #[test]
        fn no_secret_survives(
            secrets in proptest::collection::vec("[a-c=]{4,12}", 1..5),
            parts in proptest::collection::vec("[a-c=xy ]{0,6}", 6),
        ) {
            let mut known = Secrets::default();
            let mut text = String::new();
            for (i, part) in parts.iter().enumerate() {
                text.push_str(part);
                text.push_str(secrets.get(i).map_or("", String::as_str));
            }
            for secret in &secrets {
                known.remember(secret.as_bytes());
            }
            let text = masked(&known, text.as_bytes()).replace("[redacted]", "#");
            for secret in &secrets {
                prop_assert!(!text.contains(secret.as_str()), "{text}");
            }
        }
    }
}

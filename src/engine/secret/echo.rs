//! Secrets that a text shows in another form: encoded, or by the place where they stand.

use memchr::{memchr, memchr2_iter, memrchr};
use smallvec::SmallVec;

use super::automaton::INSIDE_WORDS;
use super::ranges::{REDACTED, Ranges};

/// Adds the base64 words of `text` that stand for one that `find` finds.
pub(super) fn encoded(text: &[u8], find: impl Fn(&[u8], &mut Ranges), found: &mut Ranges) {
    // Base64 of as many bytes as are found inside other words.
    const SHORTEST: usize = 6;
    let is_base64 = |byte: &u8| VALUES.get(usize::from(*byte)).is_some_and(|value| *value != NONE);
    let mut decoded = SmallVec::<[u8; 256]>::new();
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.iter().position(is_base64)).map(|at| from + at) {
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_base64(byte)).count();
        from = start + length;
        if length < SHORTEST {
            continue;
        }
        decode(rest.get(..length).unwrap_or_default(), &mut decoded);
        let mut inside = Ranges::default();
        find(&decoded, &mut inside);
        let is_secret = |(a, b)| b - a >= INSIDE_WORDS || (b - a) * 2 >= decoded.len();
        if !inside.is_empty() && inside.merged().any(is_secret) {
            let padding = text.get(from..).unwrap_or_default().iter().take(2).take_while(|byte| **byte == b'=').count();
            found.add(start, from + padding);
        }
    }
}

/// Makes `decoded` what a run of base64 characters stands for; bits that make no byte are left off.
fn decode(run: &[u8], decoded: &mut SmallVec<[u8; 256]>) {
    let value = |byte: &u8| u32::from(VALUES.get(usize::from(*byte)).copied().unwrap_or_default());
    let bytes = |group: &[u8; 4]| group.iter().fold(0, |bits, byte| bits << 6 | value(byte)).to_be_bytes();
    decoded.resize(run.len() * 6 / 8, 0);
    let (groups, rest) = run.as_chunks();
    let (to_groups, to_rest) = decoded.as_chunks_mut();
    for (to, group) in to_groups.iter_mut().zip(groups) {
        let [_, a, b, c] = bytes(group);
        *to = [a, b, c];
    }
    let mut group = [b'A'; 4];
    group.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(bytes(&group).iter().skip(1)).for_each(|(to, from)| *to = *from);
}

/// What each character of base64 stands for, in the alphabet for URLs too (RFC 4648 sections 4 and 5); others are [`NONE`].
#[expect(clippy::indexing_slicing, reason = "in a constant, an index out of bounds does not compile")]
static VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        let character = match value {
            0..26 => b'A' + value,
            26..52 => b'a' + value - 26,
            52..62 => b'0' + value - 52,
            62 => b'+',
            _ => b'/',
        };
        values[character as usize] = value;
        value += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
};

const NONE: u8 = u8::MAX;

/// Whether a URL with a secret may be in `text`. Most texts are short: to look at all bytes at once is faster than to search.
pub(super) fn may_have_url(text: &[u8]) -> bool {
    text.iter().fold(false, |found, byte| found | matches!(byte, b'/' | b';'))
}

/// Adds what is secret in the URLs of `text`: user and password (RFC 3986 section 3.2.1), and the authorization of
/// an IMAP URL (RFC 4467).
pub(super) fn urls(text: &[u8], found: &mut Ranges) {
    // There are fewer slashes than colons.
    for at in memchr2_iter(b'/', b';', text) {
        let (before, rest) = text.split_at_checked(at).unwrap_or_default();
        if let (Some(inside), true) = (rest.strip_prefix(b"//"), before.ends_with(b":")) {
            authority(inside, at + 2, found);
        } else if let Some((mark, token)) = rest.split_at_checked(AUTHORIZATION.len())
            && mark.eq_ignore_ascii_case(AUTHORIZATION)
            && !token.starts_with(REDACTED)
        {
            let end = token.iter().position(|byte| b" \"]>\n".contains(byte)).unwrap_or(token.len());
            found.add(at + AUTHORIZATION.len(), at + AUTHORIZATION.len() + end);
        }
    }
}

const AUTHORIZATION: &[u8] = b";URLAUTH=";

/// Adds user and password of the authority at the head of `inside`, which is at `start` of the text.
fn authority(inside: &[u8], start: usize, found: &mut Ranges) {
    let end = inside.iter().position(|byte| ends_authority(*byte)).unwrap_or(inside.len());
    let authority = inside.get(..end).unwrap_or_default();
    if let Some(at) = memrchr(b'@', authority) {
        found.add(start, start + at);
    } else if end == inside.len() && has_password(authority) {
        // The text was cut before the host.
        found.add(start, start + end);
    }
}

fn ends_authority(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"/?#\"<>]".contains(&byte)
}

/// Whether something other than a port follows a colon.
fn has_password(authority: &[u8]) -> bool {
    let behind = memchr(b':', authority).and_then(|colon| authority.get(colon + 1..));
    behind.is_some_and(|behind| !behind.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn base64_of_both_alphabets_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for alphabet in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
                let mut decoded = SmallVec::new();
                decode(alphabet.encode(&bytes).as_bytes(), &mut decoded);
                prop_assert_eq!(decoded.as_slice(), bytes.as_slice());
            }
        }
    }
}

//! Secrets that a text shows in another form: encoded, or by the place where they stand.

use memchr::{memchr, memchr_iter, memrchr};
use smallvec::SmallVec;

use super::automaton::INSIDE_WORDS;
use super::ranges::{REDACTED, Ranges};

/// Adds the base64 words of `text` that stand for one that `find` finds.
pub(super) fn encoded(text: &[u8], find: impl Fn(&[u8], &mut Ranges), found: &mut Ranges) {
    // Base64 of as many bytes as are found inside other words.
    const SHORTEST: usize = 6;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.iter().position(is_base64)).map(|at| from + at) {
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_base64(byte)).count();
        from = start + length;
        if length < SHORTEST {
            continue;
        }
        let decoded = decode(rest.get(..length).unwrap_or_default());
        let mut inside = Ranges::default();
        find(&decoded, &mut inside);
        if inside.merged().any(|(a, b)| b - a >= INSIDE_WORDS || (b - a) * 2 >= decoded.len()) {
            let padding = text.get(from..).unwrap_or_default().iter().take(2).take_while(|byte| **byte == b'=').count();
            found.add(start, from + padding);
        }
    }
}

/// What a run of base64 characters stands for; bits that make no byte are left off.
fn decode(run: &[u8]) -> SmallVec<[u8; 256]> {
    let (mut decoded, mut bits, mut have) = (SmallVec::new(), 0_u32, 0);
    for byte in run {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            decoded.push((bits >> have) as u8);
        }
    }
    decoded
}

/// Adds what is secret in the URLs of `text`: user and password (RFC 3986 section 3.2.1), and the authorization of
/// an IMAP URL (RFC 4467).
pub(super) fn urls(text: &[u8], found: &mut Ranges) {
    for colon in memchr_iter(b':', text) {
        let rest = text.get(colon..).unwrap_or_default();
        let Some(inside) = rest.strip_prefix(b"://") else { continue };
        let end = inside.iter().position(|byte| ends_authority(*byte)).unwrap_or(inside.len());
        let authority = inside.get(..end).unwrap_or_default();
        let start = colon + 3;
        if let Some(at) = memrchr(b'@', authority) {
            found.add(start, start + at);
        } else if end == inside.len() && has_password(authority) {
            // The text was cut before the host.
            found.add(start, text.len());
        }
    }
    const AUTHORIZATION: &[u8] = b";URLAUTH=";
    for at in memchr_iter(b';', text) {
        let rest = text.get(at..).unwrap_or_default();
        let Some((mark, token)) = rest.split_at_checked(AUTHORIZATION.len()) else { return };
        if mark.eq_ignore_ascii_case(AUTHORIZATION) && !token.starts_with(REDACTED) {
            let end = token.iter().position(|byte| b" \"]>\n".contains(byte)).unwrap_or(token.len());
            found.add(at + AUTHORIZATION.len(), at + AUTHORIZATION.len() + end);
        }
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

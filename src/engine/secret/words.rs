//! Which parts of a line are words that a server may repeat.
//!
//! Passwords end up in any place of a line that somebody typed, or a program sent out of step. So a line is cut at
//! everything that grammars put between words; what stands behind a base64 word is cut too.

use super::base64;
use crate::event::Mechanism;
use crate::event::Verb;

/// U+FFFD, which stands where a program could not convert a byte: in credentials, for the NUL that parts them.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// Hands on every word of `line`, and the words that its base64 words stand for.
pub(super) fn each(line: &[u8], mut word: impl FnMut(&[u8])) {
    split(line, is_separator, |part, before, behind| {
        if behind.starts_with(b"://") {
            return;
        }
        word(part);
        // `scheme://user:password@host`.
        if let (Some(b':'), Some(at)) = (before, memchr::memrchr(b'@', part)) {
            word(part.get(..at).unwrap_or_default());
        }
        text_in_base64(part, |text| split(text, is_separator, |part, _, _| word(part)));
    });
}

/// Whether the range is not part of a longer word.
pub(super) fn is_whole(text: &[u8], start: usize, end: usize) -> bool {
    let inside = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || !b.is_ascii());
    !inside(start.checked_sub(1).and_then(|i| text.get(i))) && !inside(text.get(end))
}

/// What stands before a verb at the head of `line`, the first word or, behind a tag, the second, and what stands behind it.
/// Without a verb, or with nothing behind it, everything stands behind.
pub(super) fn keywords(line: &[u8]) -> (&[u8], &[u8]) {
    let (first, rest) = cut(line);
    let (second, behind) = cut(rest);
    let (head, verb, rest) = match () {
        () if is_verb(first) => (&[][..], first, rest),
        () if is_verb(second) => (first, second, behind),
        () => return (&[], line),
    };
    if rest.is_empty() {
        return (&[], line);
    }
    let (mechanism, behind) = cut(rest);
    let begins_exchange = [&b"AUTH"[..], b"AUTHENTICATE", b"X-EXPS"].iter().any(|v| verb.eq_ignore_ascii_case(v));
    let is_known = Mechanism::ALL.iter().any(|m| mechanism.eq_ignore_ascii_case(m.as_str().as_bytes()));
    (head, if begins_exchange && is_known && !behind.is_empty() { behind } else { rest })
}

/// The word at the head of `line`, and what follows it.
fn cut(line: &[u8]) -> (&[u8], &[u8]) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'=' | b':');
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
    (word, rest.get(blanks..).unwrap_or_default())
}

fn is_verb(word: &[u8]) -> bool {
    Verb::ALL.iter().any(|verb| *verb != Verb::Other && word.eq_ignore_ascii_case(verb.as_str().as_bytes()))
}

/// Hands on the parts of a credential that the bytes between them part in no other text.
pub(super) fn parts(credential: &[u8], mut part: impl FnMut(&[u8])) {
    split(credential, |byte| byte.is_ascii_control(), |text, _, _| part(text.trim_ascii()));
}

/// Hands on what `word` stands for, if it is base64 and that is text.
pub(super) fn text_in_base64(word: &[u8], mut text: impl FnMut(&[u8])) {
    // Shorter ones are words of the language more often than not.
    const SHORTEST: usize = 6;
    if word.len() < SHORTEST {
        return;
    }
    let Some(mut decoded) = base64(word) else { return };
    if std::str::from_utf8(&decoded).is_ok_and(|text| !text.contains(is_odd)) {
        text(&decoded);
    }
    super::wipe(&mut decoded);
}

/// A control character that no credential has: NUL and U+0001 part the fields of some.
fn is_odd(character: char) -> bool {
    character.is_control() && !matches!(character, '\0' | '\u{1}' | '\t' | '\r' | '\n')
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii_control() || b" \"'(),:;<=>?[\\]{|}&".contains(&byte)
}

/// Cuts `text`; hands on each part that is not empty, the byte before it, and what is behind it.
fn split(text: &[u8], at: impl Fn(u8) -> bool, mut part: impl FnMut(&[u8], Option<u8>, &[u8])) {
    let mut from = 0;
    while from < text.len() {
        let rest = text.get(from..).unwrap_or_default();
        let length = (0..rest.len())
            .find(|i| {
                rest.get(*i).is_some_and(|b| at(*b)) || rest.get(*i..).is_some_and(|r| r.starts_with(REPLACEMENT))
            })
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        let before = from.checked_sub(1).and_then(|i| text.get(i)).copied();
        let word = word.trim_ascii();
        let word = if before == Some(b':') { trim_slashes(word) } else { word };
        if !word.is_empty() {
            part(word, before, behind);
        }
        from += length + if behind.starts_with(REPLACEMENT) { REPLACEMENT.len() } else { 1 };
    }
}

/// `//user` behind `scheme:`.
fn trim_slashes(word: &[u8]) -> &[u8] {
    let slashes = word.iter().take_while(|byte| **byte == b'/').count();
    word.get(slashes..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let mut found = Vec::new();
        each(line.as_bytes(), |word| found.push(String::from_utf8_lossy(word).into_owned()));
        found
    }

    #[test]
    fn a_line_is_cut_wherever_a_grammar_cuts() {
        assert_eq!(words("PASS:hunter2"), ["PASS", "hunter2"]);
        assert_eq!(words("a LOGN \"ann\" {7+}"), ["a", "LOGN", "ann", "7+"]);
        assert_eq!(words("pass\thunter2 \u{FFFD}x\u{FFFD}"), ["pass", "hunter2", "x"]);
        assert_eq!(words("  "), Vec::<String>::new());
        assert_eq!(words("ann@x.org s3-cr.et!"), ["ann@x.org", "s3-cr.et!"]);
    }

    #[test]
    fn verbs_and_mechanisms_in_their_place_are_no_secret() {
        let known = |line: &'static str| {
            let (head, rest) = keywords(line.as_bytes());
            (std::str::from_utf8(head).unwrap(), std::str::from_utf8(rest).unwrap())
        };
        assert_eq!(known("PASS hunter2"), ("", "hunter2"));
        assert_eq!(known("AUTH=PLAIN x"), ("", "x"));
        assert_eq!(known("AUTH=PLAIN"), ("", "PLAIN"));
        assert_eq!(known("A1 LOGIN ann pw"), ("A1", "ann pw"));
        assert_eq!(known("LOGIN"), ("", "LOGIN"));
        assert_eq!(known("my LOGIN"), ("", "my LOGIN"));
        assert_eq!(known("hunter2"), ("", "hunter2"));
    }

    #[test]
    fn what_base64_stands_for_is_cut_too() {
        assert_eq!(words("AUTH=PLAIN AGFubgBzM2NyZXQ="), ["AUTH", "PLAIN", "AGFubgBzM2NyZXQ", "ann", "s3cret"]);
        assert_eq!(words("Basic YW5uOnMzY3JldA=="), ["Basic", "YW5uOnMzY3JldA", "ann", "s3cret"]);
        assert_eq!(words("password"), ["password"], "base64 of no text");
    }

    #[test]
    fn the_user_and_password_of_a_url_are_words() {
        assert_eq!(words("imap://ann:pw@mail/INBOX"), ["ann", "pw@mail/INBOX", "pw"]);
        assert_eq!(words("<ann:x@y>"), ["ann", "x@y", "x"]);
    }

    #[test]
    fn a_credential_is_cut_at_control_characters_alone() {
        let mut found = Vec::new();
        parts(b"\0ann\0my own, pass \xEF\xBF\xBD", |part| found.push(part.to_vec()));
        assert_eq!(found, [&b"ann"[..], b"my own, pass"]);
    }
}

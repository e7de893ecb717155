//! Lines of the first octets, and their words.

/// The complete lines of `octets`, without their ends; with `last`, what follows the last end is a line too.
pub(super) fn lines(octets: &[u8], last: bool) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let (line, after) = match memchr::memchr(b'\n', rest) {
            Some(end) => (rest.get(..end)?, rest.get(end + 1..)?),
            None if last && !rest.is_empty() => (rest, &[] as &[u8]),
            None => return None,
        };
        rest = after;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// The words of `line`: blanks and tabs part them.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    line.split(|o| matches!(o, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// The first word of `line` in upper case, for comparing; cut to the length of the longest word compared with.
pub(super) fn verb(line: &[u8]) -> ShortWord {
    let word = words(line).next().unwrap_or_default();
    let mut upper = [0; ShortWord::LONGEST];
    if word.len() > upper.len() {
        return ShortWord { upper, length: 0 };
    }
    for (to, from) in upper.iter_mut().zip(word) {
        *to = from.to_ascii_uppercase();
    }
    ShortWord { upper, length: word.len() }
}

/// A short word in upper case.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortWord {
    upper: [u8; Self::LONGEST],
    length: usize,
}

impl ShortWord {
    const LONGEST: usize = 16;

    /// Empty if the word is longer than any that is known.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.upper.get(..self.length).unwrap_or_default()
    }
}

/// Whether `line` holds `word` (upper case) anywhere, in any case.
pub(super) fn holds(line: &[u8], word: &[u8]) -> bool {
    let Some((first, rest)) = word.split_first() else { return true };
    memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), line)
        .any(|at| line.get(at + 1..).is_some_and(|behind| starts(behind, rest)))
}

/// Whether `line` begins with `head` (upper case), in any case.
pub(super) fn starts(line: &[u8], head: &[u8]) -> bool {
    line.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head))
}

/// The three digits of a reply line, if a blank, a hyphen or nothing follows.
pub(super) fn code(line: &[u8]) -> Option<u16> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !matches!(rest.first(), None | Some(b' ' | b'-')) {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0')))
}

/// Whether no line of text begins with `octet`.
pub(super) fn is_binary(octet: u8) -> bool {
    (octet < 0x20 && !matches!(octet, b'\t' | b'\r' | b'\n')) || octet >= 0x7f
}

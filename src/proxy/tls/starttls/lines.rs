//! Lines on their way, and the end of texts: what the three protocols share.

/// Octets of a line that can be kept from going on; a longer one goes on untouched.
const LONGEST: usize = 8 << 10;

/// Octets of a line's end that are remembered: a literal's length is there.
const TAIL: usize = 32;

/// A line as far as it has come: its head for whoever reads it, held back while it may be one that is to be changed.
#[derive(Debug, Default)]
pub(super) struct PartialLine {
    head: Vec<u8>,
    tail: Vec<u8>,
    /// It goes on as it comes.
    flows: bool,
    over: bool,
}

impl PartialLine {
    /// The next octets, up to the line's end; `may_change` judges its head. How many were taken, and whether it is
    /// complete. A line that is complete and [held](Self::is_held) is for the caller to pass on.
    pub(super) fn take(
        &mut self,
        octets: &[u8],
        may_change: impl FnOnce(&[u8]) -> bool,
        out: &mut Vec<u8>,
    ) -> (usize, bool) {
        let end = memchr::memchr(b'\n', octets);
        let piece = end.map_or(octets, |at| octets.get(..=at).unwrap_or_default());
        let room = LONGEST - self.head.len().min(LONGEST);
        let (kept, beyond) = piece.split_at_checked(room).unwrap_or((piece, &[]));
        self.head.extend_from_slice(kept);
        self.over |= !beyond.is_empty();
        self.remember(piece);
        if self.flows {
            out.extend_from_slice(piece);
        } else if self.over || !may_change(&self.head) {
            self.flows = true;
            out.extend_from_slice(&self.head);
            out.extend_from_slice(beyond);
        }
        (piece.len(), end.is_some())
    }

    fn remember(&mut self, piece: &[u8]) {
        let end = piece.get(piece.len().saturating_sub(TAIL)..).unwrap_or_default();
        let keep = TAIL - end.len();
        let drop = self.tail.len().saturating_sub(keep);
        self.tail.drain(..drop);
        self.tail.extend_from_slice(end);
    }

    /// What there is of it, its end included; a long one is cut.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether it is one of the commands `harmless` and nothing else, whatever the server takes for the end of a line.
    pub(super) fn is_plainly(&self, verb: &[u8], harmless: &[&[u8]]) -> bool {
        let line = self.head.strip_suffix(b"\n").unwrap_or(&self.head);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        !self.over
            && harmless.iter().any(|known| verb.eq_ignore_ascii_case(known))
            // A server may take a lone CR for the end of a line, and a NUL for that of its text.
            && memchr::memchr2(b'\r', b'\0', line).is_none()
            // A server that knows no such literal takes its bytes for commands.
            && literal(line).is_none()
    }

    /// Its last octets.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Nothing of it went on yet.
    pub(super) fn is_held(&self) -> bool {
        !self.flows
    }

    /// Lets go what was held.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        if !self.flows {
            out.extend_from_slice(&self.head);
        }
        self.flows = true;
    }

    /// The next line begins.
    pub(super) fn clear(&mut self) {
        const KEPT: usize = 256;
        self.head.clear();
        self.head.shrink_to(KEPT);
        self.tail.clear();
        (self.flows, self.over) = (false, false);
    }
}

/// Whether `head` is `word`, or may still become it, case apart; behind the word comes a blank or the line's end.
pub(super) fn may_be_word(head: &[u8], word: &[u8]) -> bool {
    let common = head.len().min(word.len());
    match (head.get(..common), word.get(..common)) {
        (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {
            head.get(word.len()).is_none_or(|next| matches!(next, b' ' | b'\t' | b'\r' | b'\n'))
        }
        _ => false,
    }
}

/// Whether `head` begins with `start`, or may still, case apart.
pub(super) fn may_begin(head: &[u8], start: &[u8]) -> bool {
    let common = head.len().min(start.len());
    matches!((head.get(..common), start.get(..common)), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
}

/// What stands behind `word` in `line`, if that is its first word.
pub(super) fn behind<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (first, rest) = line.split_at_checked(word.len())?;
    let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
    (first.eq_ignore_ascii_case(word) && ends).then_some(rest)
}

/// The first word of `line`.
pub(in crate::proxy::tls) fn word(line: &[u8]) -> &[u8] {
    line.split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

/// The octets of a literal that `tail` announces at a line's end, and whether the client goes on without being told to
/// (RFC 9051 section 4.3, RFC 7888).
pub(super) fn literal(tail: &[u8]) -> Option<(u64, bool)> {
    let text = tail.trim_ascii_end().strip_suffix(b"}")?;
    let (text, at_once) = match text.strip_suffix(b"+").or_else(|| text.strip_suffix(b"-")) {
        Some(text) => (text, true),
        None => (text, false),
    };
    let digits = text.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    let (before, number) = text.split_at_checked(text.len() - digits)?;
    before.strip_suffix(b"{")?;
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, at_once))
}

/// Where in `CRLF . CRLF` a text is (RFC 5321 section 4.1.1.4, RFC 1939 section 3). It begins at the start of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct DotTerminator(usize);

impl Default for DotTerminator {
    fn default() -> Self {
        Self(2)
    }
}

impl DotTerminator {
    /// How many of `octets` belong to the text, and whether it has ended with them.
    pub(super) fn take(&mut self, octets: &[u8]) -> (usize, bool) {
        const END: &[u8; 5] = b"\r\n.\r\n";
        let mut at = 0;
        while let Some(octet) = octets.get(at) {
            if self.0 == 0 {
                let rest = octets.get(at..).unwrap_or_default();
                let Some(found) = memchr::memchr(b'\r', rest) else { return (octets.len(), false) };
                at += found + 1;
                self.0 = 1;
                continue;
            }
            at += 1;
            self.0 = match END.get(self.0) {
                Some(next) if next == octet => self.0 + 1,
                _ => usize::from(*octet == b'\r'),
            };
            if self.0 == END.len() {
                return (at, true);
            }
        }
        (at, false)
    }
}

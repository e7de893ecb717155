//! How many octets an encoded body decodes to (RFC 2045 section 6), without decoding it.
//!
//! Nothing is kept but counters, so a part of any size costs the same. Bad input is never refused: it is
//! counted the way tolerant readers decode it.

/// The size of one body as it passes.
#[derive(Clone, Debug, Default)]
pub(super) enum Transfer {
    /// 7bit, 8bit, binary, and whatever is unknown: the octets are the content. Their number is the
    /// difference of two offsets, so nothing is counted here.
    #[default]
    Identity,
    /// base64.
    Base64(Base64),
    /// quoted-printable.
    Quoted(Quoted),
}

impl Transfer {
    /// The counter for a Content-Transfer-Encoding as written in a header.
    pub(super) fn named(name: &[u8]) -> Self {
        let name = super::parameter::token(name);
        if name.eq_ignore_ascii_case(b"base64") {
            Self::Base64(Base64::default())
        } else if name.eq_ignore_ascii_case(b"quoted-printable") {
            Self::Quoted(Quoted::default())
        } else {
            Self::Identity
        }
    }

    /// Whether the octets are the content.
    pub(super) fn is_identity(&self) -> bool {
        matches!(self, Self::Identity)
    }

    /// Takes the next octets.
    pub(super) fn octets(&mut self, octets: &[u8]) {
        match self {
            Self::Identity => {}
            Self::Base64(counter) => counter.octets(octets),
            Self::Quoted(counter) => counter.octets(octets),
        }
    }

    /// Decoded octets. `encoded`: octets of the body, without the line end of the delimiter.
    /// `delimited`: a delimiter ended the body and owns the last line end (RFC 2046 section 5.1.1).
    pub(super) fn size(&self, encoded: u64, delimited: bool) -> u64 {
        match self {
            Self::Identity => encoded,
            Self::Base64(counter) => counter.size(),
            Self::Quoted(counter) => counter.size(delimited),
        }
    }
}

/// base64 (RFC 2045 section 6.8): octets out of the alphabet are ignored, padding ends a run, a further run is decoded too.
#[derive(Clone, Debug, Default)]
pub(super) struct Base64 {
    /// Octets of the alphabet since the last padding.
    run: u64,
    size: u64,
}

const LANES: usize = 32;
const ROUNDS: usize = 255;

impl Base64 {
    fn octets(&mut self, octets: &[u8]) {
        for chunk in octets.chunks(LANES * ROUNDS) {
            if memchr::memchr(b'=', chunk).is_none() {
                self.run += count(chunk);
                continue;
            }
            for piece in chunk.split_inclusive(|&octet| octet == b'=') {
                self.run += count(piece);
                if piece.ends_with(b"=") {
                    self.size += decoded(self.run);
                    self.run = 0;
                }
            }
        }
    }

    fn size(&self) -> u64 {
        self.size + decoded(self.run)
    }
}

/// Octets that `sextets` characters stand for.
fn decoded(sextets: u64) -> u64 {
    sextets / 4 * 3 + (sextets % 4 * 6) / 8
}

/// Whether base64 uses this octet. A range is moved to the top of the signed octets, where one comparison tells it:
/// vector registers compare signed octets only. `/` stands before `0`.
#[inline(always)]
fn in_alphabet(octet: u8) -> bool {
    const fn top(octet: u8, last: u8) -> i8 {
        octet.wrapping_add(127 - last) as i8
    }
    let letter = top(octet | 0x20, b'z') >= top(b'a', b'z');
    let digit = top(octet, b'9') >= top(b'/', b'9');
    letter | digit | (octet == b'+')
}

/// Octets of the base64 alphabet in at most `LANES * ROUNDS` octets.
fn count(chunk: &[u8]) -> u64 {
    pulp::Arch::new().dispatch(Alphabet(chunk))
}

/// [`alphabet_octets`], as something to be compiled for wider registers too.
struct Alphabet<'a>(&'a [u8]);

impl pulp::NullaryFnOnce for Alphabet<'_> {
    type Output = u64;

    #[inline(always)]
    fn call(self) -> u64 {
        alphabet_octets(self.0)
    }
}

/// Counts octets of the base64 alphabet in at most `LANES * ROUNDS` octets.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "every index is below LANES, the length of both arrays")]
fn alphabet_octets(chunk: &[u8]) -> u64 {
    let (blocks, rest) = chunk.as_chunks::<LANES>();
    let mut lanes = [0u8; LANES];
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane].wrapping_add(u8::from(in_alphabet(block[lane])));
        }
    }
    let odd = rest.iter().filter(|&&octet| in_alphabet(octet)).count() as u64;
    lanes.iter().map(|&lane| u64::from(lane)).sum::<u64>() + odd
}

/// quoted-printable (RFC 2045 section 6.7): soft line breaks and blanks at the end of a line vanish;
/// `=` that begins neither an octet nor a soft line break stands for itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Quoted {
    size: u64,
    /// Blanks that vanish if the line ends now.
    blanks: u64,
    /// A CR that may be half of a line end.
    cr: bool,
    /// Octets of the line end just passed: the delimiter's own, if one follows.
    line_end: u64,
    escape: Escape,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Equals,
    Digit,
    /// `=` and this many blanks, perhaps before a line end.
    Blanks(u64),
    /// The same, and a CR.
    Cr(u64),
}

impl Quoted {
    fn octets(&mut self, mut octets: &[u8]) {
        while let Some((&octet, rest)) = octets.split_first() {
            if self.escape != Escape::None {
                if self.escaped(octet) {
                    octets = rest;
                }
                continue;
            }
            let run = memchr::memchr2(b'=', b'\n', octets).unwrap_or(octets.len());
            let (text, after) = octets.split_at(run);
            self.text(text);
            let Some((&special, after)) = after.split_first() else {
                return;
            };
            if special == b'\n' {
                self.line_end();
            } else {
                self.content(0);
                self.escape = Escape::Equals;
            }
            octets = after;
        }
    }

    /// Content follows that counts `octets`: what was pending is content as well.
    fn content(&mut self, octets: u64) {
        self.size += self.line_end + self.blanks + u64::from(self.cr) + octets;
        (self.line_end, self.blanks, self.cr) = (0, 0, false);
    }

    fn text(&mut self, mut text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if self.cr {
            self.content(0);
        }
        let cr = text.ends_with(b"\r");
        if cr {
            text = text.split_last().map_or(text, |(_, front)| front);
        }
        let kept = text.iter().rposition(|octet| !matches!(octet, b' ' | b'\t')).map_or(0, |at| at + 1);
        if kept > 0 {
            self.content(kept as u64);
        } else {
            self.size += self.line_end;
            self.line_end = 0;
        }
        self.blanks += (text.len() - kept) as u64;
        self.cr = cr;
    }

    fn line_end(&mut self) {
        self.size += self.line_end;
        self.line_end = if self.cr { 2 } else { 1 };
        (self.blanks, self.cr) = (0, false);
    }

    /// Goes on within `=`; false: the octet is to be read again, as text.
    fn escaped(&mut self, octet: u8) -> bool {
        let (next, literal) = match (self.escape, octet) {
            (Escape::Equals, octet) if octet.is_ascii_hexdigit() => (Escape::Digit, None),
            (Escape::Digit, octet) if octet.is_ascii_hexdigit() => {
                self.size += 1;
                (Escape::None, None)
            }
            (Escape::Equals, b' ' | b'\t') => (Escape::Blanks(1), None),
            (Escape::Blanks(blanks), b' ' | b'\t') => (Escape::Blanks(blanks + 1), None),
            (Escape::Equals, b'\r') => (Escape::Cr(0), None),
            (Escape::Blanks(blanks), b'\r') => (Escape::Cr(blanks), None),
            (Escape::Equals | Escape::Blanks(_) | Escape::Cr(_), b'\n') => (Escape::None, None),
            (escape, _) => (Escape::None, Some(escape)),
        };
        self.escape = next;
        if let Some(escape) = literal {
            self.size += Self::literal(escape);
        }
        literal.is_none()
    }

    /// Octets of an escape that was none.
    fn literal(escape: Escape) -> u64 {
        match escape {
            Escape::None => 0,
            Escape::Equals => 1,
            Escape::Digit => 2,
            Escape::Blanks(blanks) => 1 + blanks,
            Escape::Cr(blanks) => 2 + blanks,
        }
    }

    fn size(&self, delimited: bool) -> u64 {
        let line_end = if delimited { 0 } else { self.line_end };
        let escape = match self.escape {
            // The end of the body ends the line as well: a soft line break.
            Escape::Equals | Escape::Blanks(_) => 0,
            escape => Self::literal(escape),
        };
        let cr = u64::from(self.cr) * (1 + self.blanks);
        self.size + line_end + escape + cr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(name: &[u8], pieces: &[&[u8]]) -> u64 {
        let mut transfer = Transfer::named(name);
        for piece in pieces {
            transfer.octets(piece);
        }
        transfer.size(0, false)
    }

    /// RFC 2045 section 6.7, line by line.
    fn quoted_model(octets: &[u8]) -> u64 {
        let mut size = 0;
        for line in octets.split_inclusive(|&octet| octet == b'\n') {
            let (mut line, mut line_end) = match line.strip_suffix(b"\n") {
                Some(line) => line.strip_suffix(b"\r").map_or((line, 1), |line| (line, 2)),
                None => (line, 0),
            };
            while let Some(front) = line.strip_suffix(b" ").or_else(|| line.strip_suffix(b"\t")) {
                line = front;
            }
            if let Some(front) = line.strip_suffix(b"=") {
                (line, line_end) = (front, 0);
            }
            size += line_end;
            while let Some((&octet, rest)) = line.split_first() {
                let escape = octet == b'=' && rest.len() > 1 && rest[..2].iter().all(u8::is_ascii_hexdigit);
                line = if escape { &rest[2..] } else { rest };
                size += 1;
            }
        }
        size
    }

    proptest! {
        #[test]
        fn quoted_printable_agrees_with_the_model(octets in prop::collection::vec(prop::sample::select(b"= \t\r\n3Dz".to_vec()), 0..40), cut in 0usize..40) {
            let (front, back) = octets.split_at(cut.min(octets.len()));
            prop_assert_eq!(size(b"quoted-printable", &[front, back]), quoted_model(&octets));
        }

        #[test]
        fn base64_agrees_with_the_codec(content in prop::collection::vec(any::<u8>(), 0..20_000), width in 1usize..100, cut in 0usize..20_000) {
            let encoded = data_encoding::BASE64.encode(&content);
            let lines = encoded.as_bytes().chunks(width).collect::<Vec<_>>().join(b"\r\n".as_slice());
            let (front, back) = lines.split_at(cut.min(lines.len()));
            prop_assert_eq!(size(b" BASE64 ", &[front, back]), content.len() as u64);
        }
    }

    #[test]
    fn base64_runs_and_junk() {
        assert_eq!(size(b"base64", &[b"QQ==QQ=="]), 2);
        assert_eq!(size(b"base64", &[b"Q*U-J\0D"]), 3);
        assert_eq!(size(b"base64", &[b"QUJ"]), 2);
        assert_eq!(size(b"base64", &[b"===="]), 0);
    }

    #[test]
    fn the_alphabet_is_exact() {
        let known = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for octet in 0..=255u8 {
            assert_eq!(in_alphabet(octet), known.contains(&octet), "{octet:#x}");
        }
    }
}

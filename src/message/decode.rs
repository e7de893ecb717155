//! Header octets become text: unfolding, encoded words (RFC 2047), character sets, and raw 8-bit octets.
//!
//! Everything is one pass over a value of bounded size. Encoded words are read wherever they stand, also inside
//! words and quotes where RFC 2047 section 5 forbids them: senders put them there and readers show them decoded.

use encoding_rs::{Encoding, WINDOWS_1252};
use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::memmem;

/// Text of a raw header value: unfolded (RFC 5322 section 2.2.3), decoded, without blanks around it.
pub(super) fn text(raw: &[u8]) -> String {
    let unfolded = unfold(raw);
    let mut decoder = DecodedText::default();
    let mut rest = unfolded.trim_ascii();
    while let Some(at) = memmem::find(rest, b"=?") {
        let (before, word) = rest.split_at(at);
        match encoded_word(word) {
            EncodedWord::Encoded { charset, octets, after } => {
                decoder.plain(before, true);
                decoder.word(charset, &octets);
                rest = after;
            }
            EncodedWord::None => {
                let (front, after) = rest.split_at(at + 2);
                decoder.plain(front, false);
                rest = after;
            }
            EncodedWord::Never => break,
        }
    }
    decoder.plain(rest, false);
    decoder.finish()
}

/// Octets without a declared character set: UTF-8 if they are, else Windows-1252.
pub(super) fn plain(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
    }
}

/// Octets in a named character set; an unknown one is read as [`plain`].
pub(super) fn charset(label: &[u8], octets: &[u8]) -> String {
    let label = label.trim_ascii();
    if label.eq_ignore_ascii_case(b"us-ascii") || label.eq_ignore_ascii_case(b"ascii") || label.is_empty() {
        return plain(octets);
    }
    if let Some(encoding) = Encoding::for_label_no_replacement(alias(label)) {
        return encoding.decode(octets).0.into_owned();
    }
    if label.eq_ignore_ascii_case(b"iso-2022-kr") {
        return encoding_rs::EUC_KR.decode_without_bom_handling(&shifted_to_euc(octets)).0.into_owned();
    }
    if label.eq_ignore_ascii_case(b"hz-gb-2312") {
        return encoding_rs::GBK.decode_without_bom_handling(&hz_to_gbk(octets)).0.into_owned();
    }
    match charset_decoder(label) {
        Some(decode) => decode(octets),
        None => plain(octets),
    }
}

/// The octet that two hexadecimal digits stand for.
pub(super) fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    match *digits {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

/// Names that mail uses and the web does not.
fn alias(label: &[u8]) -> &[u8] {
    const ALIASES: [(&[u8], &[u8]); 8] = [
        (b"cp932", b"shift_jis"),
        (b"cp936", b"gbk"),
        (b"cp949", b"euc-kr"),
        (b"cp950", b"big5"),
        (b"ms949", b"euc-kr"),
        (b"latin-1", b"iso-8859-1"),
        (b"utf8mb4", b"utf-8"),
        (b"iso-2022-jp-1", b"iso-2022-jp"),
    ];
    ALIASES.iter().find(|(name, _)| name.eq_ignore_ascii_case(label)).map_or(label, |&(_, name)| name)
}

/// Line ends go, the blanks after them stay.
fn unfold(raw: &[u8]) -> Vec<u8> {
    let mut unfolded = Vec::with_capacity(raw.len());
    for line in raw.split_inclusive(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        unfolded.extend_from_slice(line);
    }
    unfolded
}

/// Text under construction. Octets of adjacent words of one character set are joined before they are decoded:
/// senders split characters between words, though RFC 2047 section 5 forbids it.
#[derive(Default)]
struct DecodedText<'a> {
    text: String,
    pending: Vec<u8>,
    charset: &'a [u8],
    after_word: bool,
}

impl<'a> DecodedText<'a> {
    /// Text between words; blanks between two words are not displayed (RFC 2047 section 6.2).
    fn plain(&mut self, octets: &[u8], word_follows: bool) {
        let separator = self.after_word && word_follows && octets.trim_ascii().is_empty();
        if octets.is_empty() || separator {
            return;
        }
        self.flush();
        self.text.push_str(&plain(octets));
        self.after_word = false;
    }

    fn word(&mut self, charset: &'a [u8], octets: &[u8]) {
        if !self.charset.eq_ignore_ascii_case(charset) {
            self.flush();
        }
        self.charset = charset;
        self.pending.extend_from_slice(octets);
        self.after_word = true;
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.text.push_str(&charset(self.charset, &self.pending));
            self.pending.clear();
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        self.text
    }
}

enum EncodedWord<'a> {
    Encoded {
        charset: &'a [u8],
        octets: Vec<u8>,
        after: &'a [u8],
    },
    /// Not here.
    None,
    /// Not here, and nowhere after: nothing closes it.
    Never,
}

/// Reads `=?charset?encoding?text?=` at the start of `value`.
fn encoded_word(value: &[u8]) -> EncodedWord<'_> {
    let inner = value.get(2..).unwrap_or_default();
    let Some(end) = inner.iter().take(CHARSET).position(|octet| *octet == b'?' || octet.is_ascii_whitespace()) else {
        return EncodedWord::None;
    };
    let (charset, rest) = inner.split_at(end);
    let [b'?', encoding, b'?', encoded @ ..] = rest else {
        return EncodedWord::None;
    };
    if charset.is_empty() || !matches!(encoding, b'b' | b'B' | b'q' | b'Q') {
        return EncodedWord::None;
    }
    let Some(end) = memmem::find(encoded, b"?=") else {
        return EncodedWord::Never;
    };
    let (encoded, after) = encoded.split_at(end);
    let octets = if matches!(encoding, b'b' | b'B') { base64(encoded) } else { quoted(encoded) };
    // RFC 2231 section 5: a language may follow the character set.
    let charset = charset.split(|&octet| octet == b'*').next().unwrap_or(charset);
    EncodedWord::Encoded { charset, octets, after: after.get(2..).unwrap_or_default() }
}

/// Octets of a character set name and its language looked at.
const CHARSET: usize = 80;

/// The Q encoding (RFC 2047 section 4.2).
fn quoted(mut encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    while let Some((&octet, rest)) = encoded.split_first() {
        encoded = rest;
        match octet {
            b'_' => out.push(b' '),
            b'=' => match rest.split_at_checked(2).and_then(|(digits, rest)| Some((hex(digits)?, rest))) {
                Some((octet, rest)) => {
                    out.push(octet);
                    encoded = rest;
                }
                None => out.push(b'='),
            },
            octet => out.push(octet),
        }
    }
    out
}

/// The B encoding (RFC 2047 section 4.1); what is out of the alphabet is ignored.
fn base64(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for &octet in encoded {
        let sextet = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                held = 0;
                continue;
            }
            _ => continue,
        };
        bits = (bits << 6) | u32::from(sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

/// ISO-2022-KR (RFC 1557) as EUC-KR: SO and SI turn the eighth bit on and off.
fn shifted_to_euc(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let (mut rest, mut shifted) = (octets, false);
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match octet {
            0x0e => shifted = true,
            0x0f => shifted = false,
            0x1b if after.starts_with(b"$)C") => rest = after.get(3..).unwrap_or_default(),
            0x21..=0x7e if shifted => out.push(octet | 0x80),
            octet => out.push(octet),
        }
    }
    out
}

/// HZ-GB-2312 (RFC 1843) as GBK: `~{` and `~}` turn the eighth bit on and off.
fn hz_to_gbk(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let (mut rest, mut shifted) = (octets, false);
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match (octet, after.first()) {
            (b'~', Some(b'{')) => (shifted, rest) = (true, after.get(1..).unwrap_or_default()),
            (b'~', Some(b'}')) => (shifted, rest) = (false, after.get(1..).unwrap_or_default()),
            (b'~', Some(b'~')) if !shifted => {
                out.push(b'~');
                rest = after.get(1..).unwrap_or_default();
            }
            (0x21..=0x7e, _) if shifted => out.push(octet | 0x80),
            _ => out.push(octet),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: &str) {
        assert_eq!(text(raw.as_bytes()), expected, "{raw}");
    }

    /// The samples of RFC 2047 section 8.
    #[test]
    fn rfc_2047_samples() {
        check("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>");
        check("=?ISO-8859-1?Q?Andr=E9?= Pirard <PIRARD@vm1.ulg.ac.be>", "André Pirard <PIRARD@vm1.ulg.ac.be>");
        check(
            "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
            "If you can read this you understand the example.",
        );
        check("(=?ISO-8859-1?Q?a?=)", "(a)");
        check("(=?ISO-8859-1?Q?a?= b)", "(a b)");
        check("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)");
        check("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)");
        check("(=?ISO-8859-1?Q?a?=\r\n       =?ISO-8859-1?Q?b?=)", "(ab)");
        check("(=?ISO-8859-1?Q?a_b?=)", "(a b)");
        check("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)");
    }

    #[test]
    fn a_character_split_between_words_is_whole() {
        check("=?utf-8?Q?=E2=82?= =?UTF-8?Q?=AC?=", "€");
        check("=?utf-8?B?4oI=?=\r\n =?utf-8?B?rA==?= 5", "€ 5");
        check("=?iso-2022-jp?B?GyRCJUYlOSVIGyhC?=", "テスト");
    }

    #[test]
    fn words_without_blanks_between_and_within_words() {
        check("=?utf-8?Q?a?==?utf-8?Q?b?=", "ab");
        check("x=?utf-8?Q?=C3=A4?=y", "xäy");
        check("\"=?utf-8?Q?Doe=2C_J=C3=A4n?=\" <j@example.org>", "\"Doe, Jän\" <j@example.org>");
        check("=?utf-8*de?Q?=C3=A4?=", "ä");
    }

    #[test]
    fn raw_octets() {
        assert_eq!(text("Grüße".as_bytes()), "Grüße");
        assert_eq!(text(b"Gr\xfc\xdfe \x80"), "Grüße €");
        assert_eq!(text(b"=?utf-8?q?=C3=A4?= \xe4"), "ä ä");
        assert_eq!(text(b"  a\0b\x1b \r\n\tc  "), "a\0b\x1b \tc");
    }

    #[test]
    fn character_sets() {
        check("=?windows-1252?Q?it=92s?=", "it\u{2019}s");
        check("=?utf-7?Q?+ZYeB9FH6ckh5Pg-?=", "文致出版社");
        check("=?cp850?Q?=9B?=", "ø");
        check("=?gb2312?B?xOO6ww==?=", "你好");
        check("=?cp949?B?vsiz5w==?=", "안녕");
        check("=?hz-gb-2312?Q?=7E{VPND=7E}!?=", "中文!");
        check("=?iso-2022-kr?B?GyQpQw4+SDNnDw==?=", "안녕");
        check("=?us-ascii?Q?=C3=A4?=", "ä");
        check("=?x-unknown?Q?=E4?=", "ä");
    }

    #[test]
    fn what_is_no_word_stays() {
        check("=?utf-8?Q?open", "=?utf-8?Q?open");
        check("=?utf-8?X?a?=", "=?utf-8?X?a?=");
        check("=??Q?a?=", "=??Q?a?=");
        check("=?=?utf-8?Q?a?=", "=?a");
        check("1+1=?", "1+1=?");
        check("=?utf-8?Q?50=_=zz?=", "50= =zz");
    }

    #[test]
    fn hostile_words_stay_linear() {
        for unit in ["=?a?q?", "=?", "=?a?q?b?=", "=?a?q?b?= ", "=?utf-7?q?+?=", "=?a?q?=?a?b?"] {
            let raw = unit.repeat((64 << 10) / unit.len());
            assert!(text(raw.as_bytes()).len() <= 4 * raw.len());
        }
    }
}

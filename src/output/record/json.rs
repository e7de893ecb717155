//! How facts become JSON: the rules of the log that hold for every field, in one place.
//!
//! What is unknown is left out; a flag is written when true; text that is not UTF-8 is written as Latin-1 with its exact octets
//! beside it in `NAME_b64`; times are RFC 3339 in UTC with six decimals; durations are seconds in plain decimals.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use data_encoding::Encoding;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::super::identity::{Redactor, ShownIdentity};
use crate::console::is_unsafe;
use crate::time::Timestamp;

static BASE64: Encoding = data_encoding::BASE64;
static HEXLOWER: Encoding = data_encoding::HEXLOWER;

/// Something that is written as a JSON object.
pub(super) trait Fields {
    /// Writes its members.
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error>;
}

/// A thing with [`Fields`], ready for serde, and what its texts must not show.
pub(super) struct Object<'a, T>(pub(super) T, pub(super) &'a Redactor<'a>);

impl<T: Fields> Serialize for Object<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = JsonMembers(serializer.serialize_map(None)?, self.1);
        self.0.fields(&mut members)?;
        members.0.end()
    }
}

impl<T: Fields> Fields for &T {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        (*self).fields(object)
    }
}

/// A JSON object that is being written.
pub(super) struct JsonMembers<'a, M>(M, &'a Redactor<'a>);

impl<'r, M: SerializeMap> JsonMembers<'r, M> {
    /// What texts must not show.
    pub(super) fn redactor(&self) -> &'r Redactor<'r> {
        self.1
    }

    /// A member that is always there.
    pub(super) fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), M::Error> {
        self.0.serialize_entry(name, value)
    }

    /// A member that is there if it is known.
    pub(super) fn known<T: Serialize>(&mut self, name: &str, value: Option<T>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |v| self.set(name, &v))
    }

    /// A member that is there if it is more than nothing.
    pub(super) fn count(&mut self, name: &str, value: u32) -> Result<(), M::Error> {
        self.known(name, (value > 0).then_some(value))
    }

    /// A member that is there if it is true.
    pub(super) fn flag(&mut self, name: &str, value: bool) -> Result<(), M::Error> {
        self.known(name, value.then_some(true))
    }

    /// An object.
    pub(super) fn object<T: Fields>(&mut self, name: &str, value: T) -> Result<(), M::Error> {
        let redactor = self.1;
        self.set(name, &Object(value, redactor))
    }

    /// A point in time.
    pub(super) fn time(&mut self, name: &str, at: Timestamp) -> Result<(), M::Error> {
        self.known(name, at.known().map(Time))
    }

    /// A duration, in seconds.
    pub(super) fn seconds(&mut self, name: &str, duration: Option<Duration>) -> Result<(), M::Error> {
        self.known(name, duration.map(|d| d.as_secs_f64()))
    }

    /// Something that prints itself.
    pub(super) fn display<T: Display>(&mut self, name: &str, value: Option<T>) -> Result<(), M::Error> {
        self.known(name, value.map(Shows))
    }

    /// Octets in hexadecimal.
    pub(super) fn hex(&mut self, name: &str, octets: Option<&[u8]>) -> Result<(), M::Error> {
        self.display(name, octets.map(|o| HEXLOWER.encode_display(o)))
    }

    /// Text that somebody wrote, which may name who authenticated.
    pub(super) fn text(&mut self, name: &str, octets: Option<&[u8]>) -> Result<(), M::Error> {
        match octets.and_then(|octets| self.1.redact(octets)) {
            Some(redacted) => self.name(name, Some(&redacted)),
            None => self.name(name, octets),
        }
    }

    /// A name from the wire, such as a path: a fact of its own, whoever authenticated.
    pub(super) fn name(&mut self, name: &str, octets: Option<&[u8]>) -> Result<(), M::Error> {
        let Some(octets) = octets else { return Ok(()) };
        match std::str::from_utf8(octets) {
            Ok(text) => self.set(name, text),
            Err(_) => {
                self.set(name, &Shows(Latin1(octets)))?;
                self.0.serialize_entry(&Shows(Exact(name)), &Shows(BASE64.encode_display(octets)))
            }
        }
    }

    /// Texts from the wire; if one of them is not UTF-8, `NAME_b64` has the exact octets of all, in the same order.
    pub(super) fn texts<'a>(
        &mut self,
        name: &str,
        texts: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<(), M::Error> {
        if texts.clone().next().is_none() {
            return Ok(());
        }
        self.set(name, &Items(texts.clone().map(Wire)))?;
        if texts.clone().all(|t| std::str::from_utf8(t).is_ok()) {
            return Ok(());
        }
        self.0.serialize_entry(&Shows(Exact(name)), &Items(texts.map(|t| Shows(BASE64.encode_display(t)))))
    }

    /// A member whose name comes from the wire: Latin-1, so that different octets never make the same name.
    pub(super) fn wire_member(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), M::Error> {
        let (name, shown) = (Latin1(name), Latin1(value.unwrap_or_default()));
        let Some(octets) = value else {
            return self.0.serialize_entry(&Shows(name), &true);
        };
        match std::str::from_utf8(octets) {
            Ok(text) => self.0.serialize_entry(&Shows(name), text),
            Err(_) => {
                self.0.serialize_entry(&Shows(name), &Shows(shown))?;
                self.0.serialize_entry(&Shows(Exact(name)), &Shows(BASE64.encode_display(octets)))
            }
        }
    }

    /// The same for an identity as the policy lets it be seen.
    pub(super) fn wire_identity(&mut self, name: &[u8], shown: &ShownIdentity<'_>) -> Result<(), M::Error> {
        match shown {
            ShownIdentity::Plain(identity) => self.wire_member(name, Some(identity)),
            ShownIdentity::Hmac(_) | ShownIdentity::Withheld => match shown.in_text() {
                Some(text) => self.wire_member(name, Some(&text)),
                None => Ok(()),
            },
        }
    }

    /// An identity as the policy lets it be seen.
    pub(super) fn identity(&mut self, name: &str, shown: &ShownIdentity<'_>) -> Result<(), M::Error> {
        match shown {
            ShownIdentity::Plain(identity) => self.name(name, Some(identity)),
            ShownIdentity::Hmac(_) | ShownIdentity::Withheld => self.name(name, shown.in_text().as_deref()),
        }
    }
}

/// A JSON array of what an iterator yields.
pub(super) struct Items<I>(pub(super) I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Items<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// A JSON object of names and counts.
pub(super) struct JsonCounts<I>(pub(super) I);

impl<I: Iterator<Item = (&'static str, u32)> + Clone> Serialize for JsonCounts<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone())
    }
}

/// `{"client": a, "server": b}`.
pub(super) struct JsonSides<T>(pub(super) [T; 2]);

impl<T: Serialize> Fields for JsonSides<T> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let [client, server] = &self.0;
        object.set("client", client)?;
        object.set("server", server)
    }
}

/// An address; IPv4 in IPv6 form becomes IPv4 again.
pub(super) struct JsonAddress(pub(super) SocketAddr);

impl Fields for JsonAddress {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("ip", &self.0.ip().to_canonical())?;
        object.set("port", &self.0.port())
    }
}

/// Anything that prints itself, as a JSON string.
pub(super) struct Shows<T>(pub(super) T);

impl<T: Display> Serialize for Shows<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Text from the wire as an element of an array.
struct Wire<'a>(&'a [u8]);

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_str(&Latin1(self.0)),
        }
    }
}

/// Each octet as the character of the same number.
#[derive(Clone, Copy)]
struct Latin1<'a>(&'a [u8]);

impl Display for Latin1<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|&octet| std::fmt::Write::write_char(f, char::from(octet)))
    }
}

/// Name of the member with the exact octets of another.
struct Exact<T>(T);

impl<T: Display> Display for Exact<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_b64", self.0)
    }
}

/// RFC 3339 in UTC with six decimals; nanoseconds are cut off.
pub(in crate::output) struct Time(pub(in crate::output) Timestamp);

impl Time {
    /// The text: `2026-01-31T09:00:00.123456Z`. The year has four digits, as [`Timestamp`] ends in 2554.
    pub(in crate::output) fn text(&self) -> [u8; 27] {
        let micros = self.0.as_nanos() / 1000;
        let (days, rest) = (micros / 86_400_000_000, micros % 86_400_000_000);
        let (year, month, day) = civil(days);
        let seconds = rest / 1_000_000;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (value, from, to) in [
            (year, 0, 4),
            (month, 5, 7),
            (day, 8, 10),
            (seconds / 3600, 11, 13),
            (seconds / 60 % 60, 14, 16),
            (seconds % 60, 17, 19),
            (rest % 1_000_000, 20, 26),
        ] {
            digits(text.get_mut(from..to).unwrap_or_default(), value);
        }
        text
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// `value` in decimal digits, which `place`, five zeros, has room for.
pub(super) fn decimal(value: u16, place: &mut [u8; 5]) -> &str {
    digits(place, value.into());
    let zeros = place.iter().take(4).take_while(|digit| **digit == b'0').count();
    place.get(zeros..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
}

/// Fills `place`, which holds zeros, with the decimal digits of `value`, from the right.
fn digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        if value == 0 {
            break;
        }
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of the `days`th day after 1970-01-01 (the era arithmetic of Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// serde_json without spaces, with seconds in plain decimals: `0.000012`, not `1.2e-5`.
struct Plain;

impl serde_json::ser::Formatter for Plain {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let nanos = (value * 1e9).round() as u64;
        let mut text = *b"00000000000.000000000";
        let (seconds, decimals) = text.split_at_mut(11);
        digits(seconds, nanos / 1_000_000_000);
        digits(decimals.get_mut(1..).unwrap_or_default(), nanos % 1_000_000_000);
        let from = text.iter().take(10).take_while(|d| **d == b'0').count();
        let to = if nanos.is_multiple_of(1_000_000_000) {
            11
        } else {
            21 - text.iter().rev().take_while(|d| **d == b'0').count()
        };
        writer.write_all(text.get(from..to).unwrap_or_default())
    }
}

/// Adds `value` to `out` on one line, with what a terminal would obey escaped: a log is read with `cat` too, and most of its
/// texts come from strangers. On error `out` is as it was.
pub(super) fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    let before = out.len();
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Plain));
    if written.is_err() {
        out.truncate(before);
    } else if out.get(before..).is_some_and(|line| !is_printable(line) && line.iter().any(begins_unsafe)) {
        // Only strings have characters beyond ASCII: escaping them in the whole changes no value.
        match String::from_utf8(out.split_off(before)) {
            Ok(line) => escape(&line, out),
            Err(line) => out.append(&mut line.into_bytes()),
        }
    }
    written
}

/// Whether `byte` is the first one in UTF-8 of a character that is not safe to print and not escaped by serde_json: U+007F,
/// U+0080 to U+009F, U+061C, U+200E to U+2069. Most texts have none.
fn begins_unsafe(byte: &u8) -> bool {
    matches!(byte, 0x7f | 0xc2 | 0xd8 | 0xe2)
}

/// Whether all of `text` is below U+007F, eight bytes at a time: this is asked for every record. serde_json has escaped what is
/// below U+0020.
fn is_printable(text: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    // One more makes of 0x7f a byte with its top bit set; what a byte above carries into the next one does no harm then.
    let (words, rest) = text.as_chunks();
    let tops =
        words.iter().map(|word| u64::from_le_bytes(*word)).fold(0, |tops, word| tops | word | word.wrapping_add(ONES));
    tops & TOPS == 0 && rest.iter().all(|byte| *byte < 0x7f)
}

/// Adds `json` to `out` with each character that is not safe to print escaped. All of them are below U+10000: one escape is enough.
fn escape(json: &str, out: &mut Vec<u8>) {
    let mut rest = json;
    while let Some((before, c, after)) = split_at_unsafe(rest) {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The text before the first character that is not safe to print, that character, and the text behind it.
fn split_at_unsafe(text: &str) -> Option<(&str, char, &str)> {
    let start = text.as_bytes().iter().position(begins_unsafe)?;
    let (at, c) = text.get(start..)?.char_indices().find(|(_, c)| is_unsafe(*c))?;
    let at = start + at;
    Some((text.get(..at)?, c, text.get(at + c.len_utf8()..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(nanos: u64) -> String {
        String::from_utf8(Time(Timestamp::from_nanos(nanos)).text().to_vec()).unwrap()
    }

    fn seconds(duration: Duration) -> String {
        let mut out = Vec::new();
        write(&mut out, &duration.as_secs_f64()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_have_six_decimals_and_are_cut_not_rounded() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time(1_769_850_000_123_456_999), "2026-01-31T09:00:00.123456Z");
        assert_eq!(time(951_782_400_000_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(time(u64::MAX), "2554-07-21T23:34:33.709551Z");
    }

    #[test]
    fn seconds_are_plain_decimals() {
        for (nanos, expected) in [
            (0, "0"),
            (1, "0.000000001"),
            (12_000, "0.000012"),
            (1_500_000_000, "1.5"),
            (10_000_000_000, "10"),
            (86_400_000_000_001, "86400.000000001"),
        ] {
            assert_eq!(seconds(Duration::from_nanos(nanos)), expected);
        }
        assert!(seconds(Duration::from_nanos(u64::MAX)).starts_with("18446744073.7"));
    }

    fn string(text: &str) -> String {
        let mut out = b"before".to_vec();
        write(&mut out, text).unwrap();
        assert_eq!(out.drain(..6).collect::<Vec<_>>(), b"before");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_nothing_else() {
        let unsafe_ones = "\0\u{1b}\u{7f}\u{80}\u{85}\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
        let written = string(unsafe_ones);
        assert!(written.is_ascii() && !written.contains(|c: char| c.is_control()), "{written}");
        assert!(
            written.ends_with(r#"\u200f\u2028\u2029\u202a\u202e\u2066\u2069""#)
                && written.contains(r"\u007f\u0080\u0085")
        );
        for text in ["é\u{a0} ü £", "\u{200d}\u{2027}\u{202f}\u{2065}\u{206a}", "ت ش", "a\"b", "💌"] {
            assert_eq!(string(text), serde_json::to_string(text).unwrap());
        }
    }

    proptest! {
        #[test]
        fn escaped_text_is_the_same_text(text in "[a\u{7f}-\u{a1}\u{618}-\u{620}\u{200a}-\u{2030}\u{2060}-\u{2070}\"\u{0}-\u{20}💌]{0,40}") {
            let written = string(&text);
            prop_assert!(!written.chars().any(is_unsafe), "{}", written.escape_debug());
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }

        #[test]
        fn times_agree_with_jiff(nanos: u64) {
            let model = jiff::Timestamp::from_microsecond(i64::try_from(nanos / 1000).unwrap()).unwrap();
            prop_assert_eq!(time(nanos), format!("{model:.6}"));
        }

        #[test]
        fn seconds_are_exact_for_a_fortnight(nanos in 0u64..1_209_600_000_000_000) {
            let text = seconds(Duration::from_nanos(nanos));
            let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
            prop_assert_eq!(format!("{whole}{decimals:0<9}").parse::<u64>().unwrap(), nanos);
        }
    }
}

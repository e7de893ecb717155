//! The Date field (RFC 5322 sections 3.3 and 4.3) as RFC 3339, its own offset kept.
//!
//! A date that is none is not guessed: no output says a time that the sender did not write.

/// RFC 3339 of a raw Date value; `-00:00` where the zone is missing or says nothing.
pub(super) fn rfc3339(raw: &[u8]) -> Option<String> {
    let text = without_comments(raw);
    let mut tokens = text
        .split(|&octet| octet == b',' || octet.is_ascii_whitespace())
        .filter(|token| !token.is_empty())
        .map(|token| std::str::from_utf8(token).unwrap_or_default())
        .peekable();
    tokens.next_if(|token| token.bytes().all(|octet| octet.is_ascii_alphabetic()));
    let day = number(tokens.next()?, 1..=2)?;
    let month = month(tokens.next()?)?;
    let year = year(tokens.next()?)?;
    let (hour, minute, second) = time(tokens.next()?)?;
    let zone = tokens.next().map_or(Some(UNKNOWN), zone)?;
    let valid = (1..=days(year, month)).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    valid.then(|| {
        let (sign, hours, minutes) = zone;
        let mut text = String::with_capacity("2026-01-31T09:00:00+00:00".len());
        for (before, value) in [("", year / 100), ("", year % 100), ("-", month), ("-", day)] {
            two(&mut text, before, value);
        }
        for (before, value) in [("T", hour), (":", minute), (":", second), (sign, hours), (":", minutes)] {
            two(&mut text, before, value);
        }
        text
    })
}

/// Adds `before` and two digits; a format string would cost more than all the rest.
fn two(text: &mut String, before: &str, value: u32) {
    text.push_str(before);
    for digit in [value / 10, value % 10] {
        text.extend(char::from_digit(digit, 10));
    }
}

type Zone = (&'static str, u32, u32);
/// The sender's offset is not known (RFC 3339 section 4.3).
const UNKNOWN: Zone = ("-", 0, 0);

fn without_comments(raw: &[u8]) -> Vec<u8> {
    let mut depth = 0usize;
    let mut escaped = false;
    let mut text = Vec::with_capacity(raw.len().min(128));
    for &octet in raw {
        match octet {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if depth > 0 => escaped = true,
            b'(' => depth += 1,
            b')' if depth > 0 => {
                depth -= 1;
                text.push(b' ');
            }
            _ if depth > 0 => {}
            octet => text.push(octet),
        }
    }
    text
}

fn number(digits: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let fits = lengths.contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

fn month(name: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let name = name.to_ascii_lowercase();
    let at = MONTHS.iter().position(|month| name.len() >= 3 && month.starts_with(&name))?;
    u32::try_from(at + 1).ok()
}

/// Two and three digits are obsolete years (RFC 5322 section 4.3).
fn year(digits: &str) -> Option<u32> {
    let year = number(digits, 2..=4)?;
    Some(match (digits.len(), year) {
        (2, 0..=49) => year + 2000,
        (2 | 3, _) => year + 1900,
        _ => year,
    })
}

fn time(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(':').map(|part| number(part, 1..=2));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    parts.next().is_none().then_some((hour, minute, second))
}

fn zone(text: &str) -> Option<Zone> {
    let sign = match text.bytes().next()? {
        b'+' => "+",
        b'-' => "-",
        _ => return Some(named_zone(text)),
    };
    let digits = number(text.get(1..)?, 4..=4)?;
    let (hours, minutes) = (digits / 100, digits % 100);
    (hours < 24 && minutes < 60).then_some((sign, hours, minutes))
}

fn named_zone(name: &str) -> Zone {
    match name.to_ascii_uppercase().as_str() {
        "UT" | "GMT" | "UTC" | "Z" => ("+", 0, 0),
        "EDT" => ("-", 4, 0),
        "EST" | "CDT" => ("-", 5, 0),
        "CST" | "MDT" => ("-", 6, 0),
        "MST" | "PDT" => ("-", 7, 0),
        "PST" => ("-", 8, 0),
        _ => UNKNOWN,
    }
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn samples() {
        for (raw, date) in [
            ("Fri, 21 Nov 1997 09:55:06 -0600", Some("1997-11-21T09:55:06-06:00")),
            ("Thu, 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)", Some("1969-02-13T23:32:00-03:30")),
            ("21 Nov 97 09:55:06 GMT", Some("1997-11-21T09:55:06+00:00")),
            ("1 Jan 2026 0:00:60 -0000", Some("2026-01-01T00:00:60-00:00")),
            ("Tue,3 March 2026 1:02:03 PDT", Some("2026-03-03T01:02:03-07:00")),
            ("Tue, 29 Feb 2000 10:00:00 CET", Some("2000-02-29T10:00:00-00:00")),
            ("29 Feb 2000 10:00", Some("2000-02-29T10:00:00-00:00")),
            ("29 Feb 2001 10:00 +0000", None),
            ("1 Jan 2026 24:00:00 +0000", None),
            ("1 Jan 2026 10:00:00 +9999", None),
            ("2026-01-01T00:00:00Z", None),
            ("(((", None),
            ("", None),
        ] {
            assert_eq!(rfc3339(raw.as_bytes()).as_deref(), date, "{raw}");
        }
    }

    #[test]
    fn agrees_with_mail_parser() {
        for raw in
            ["Fri, 21 Nov 1997 09:55:06 -0600", "Mon, 1 Jan 2024 00:00:00 +0530", "31 Dec 1999 23:59:59 +0100 (CET)"]
        {
            let parsed = mail_parser::DateTime::parse_rfc822(raw).unwrap().to_rfc3339();
            assert_eq!(rfc3339(raw.as_bytes()), Some(parsed), "{raw}");
        }
    }
}

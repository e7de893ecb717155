//! Mailbox names: modified UTF-7 (RFC 3501 section 5.1.3) made UTF-8.

use memchr::memchr;

use crate::event::Text;

/// Makes `out` the name that `raw` stands for; one that is no modified UTF-7 stays as it is.
pub(super) fn decode(raw: &[u8], out: &mut Text) {
    out.set(b"");
    if memchr(b'&', raw).is_none() || !decoded(raw, out) {
        out.set(raw);
    }
}

fn decoded(mut raw: &[u8], out: &mut Text) -> bool {
    while let Some(at) = memchr(b'&', raw) {
        out.push(raw.get(..at).unwrap_or_default());
        let inner = raw.get(at + 1..).unwrap_or_default();
        let Some(end) = memchr(b'-', inner) else { return false };
        let shifted = inner.get(..end).unwrap_or_default();
        if shifted.is_empty() {
            out.push(b"&");
        } else if !shift(shifted, out) {
            return false;
        }
        raw = inner.get(end + 1..).unwrap_or_default();
    }
    out.push(raw);
    true
}

/// One run of base64 over UTF-16: whole units, no padding bits set, nothing in it that could stand for itself.
fn shift(run: &[u8], out: &mut Text) -> bool {
    let (mut bits, mut have, mut high) = (0_u32, 0_u32, None);
    for octet in run {
        let Some(value) = base64(*octet) else { return false };
        bits = bits << 6 | value;
        have += 6;
        if have < 16 {
            continue;
        }
        have -= 16;
        let unit = u16::try_from(bits >> have & 0xFFFF).unwrap_or_default();
        bits &= (1 << have) - 1;
        match (high.take(), unit) {
            (None, 0xD800..=0xDBFF) => high = Some(unit),
            (high, unit) => {
                let pair = high.into_iter().chain([unit]);
                let mut chars = char::decode_utf16(pair);
                let (Some(Ok(c)), None) = (chars.next(), chars.next()) else { return false };
                if matches!(c, ' '..='~') {
                    return false;
                }
                out.push(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    high.is_none() && have < 6 && bits == 0
}

fn base64(octet: u8) -> Option<u32> {
    let value = match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        b',' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_or_stay_raw() {
        for (raw, want) in [
            (&b"INBOX"[..], "INBOX"),
            (b"&U,BTFw-", "\u{53F0}\u{5317}"),
            (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/\u{53F0}\u{5317}/\u{65E5}\u{672C}\u{8A9E}"),
            (b"A&-B", "A&B"),
            (b"&2D3eAA-", "\u{1F600}"),
            // Not closed; a unit too short; half a pair; ASCII in base64; padding bits set; no base64.
            (b"A&ZZ", "A&ZZ"),
            (b"A&ZZ-", "A&ZZ-"),
            (b"&2D0-", "&2D0-"),
            (b"&AGE-", "&AGE-"),
            (b"&U,BTFx-", "&U,BTFx-"),
            (b"&=-", "&=-"),
            (b"Entw\xC3\xBCrfe", "Entw\u{FC}rfe"),
        ] {
            let mut out = Text::default();
            decode(raw, &mut out);
            assert_eq!(String::from_utf8_lossy(out.as_bytes()), want);
        }
    }
}

//! Text from the wire on its way to a person: short, and with nothing in it that hides or reorders what is read.

/// Characters of a text that are shown.
const LONGEST: usize = 120;

/// `octets` as text; what is no character, or cannot be seen, is written as an escape.
pub(super) fn shown(octets: &[u8]) -> Box<str> {
    // Four octets a character at most; more need not be looked at.
    let (head, rest) = octets.split_at_checked(LONGEST * 4).unwrap_or((octets, &[]));
    let mut text = String::new();
    let mut length = 0;
    for chunk in head.utf8_chunks() {
        for character in chunk.valid().chars() {
            if length == LONGEST {
                text.push('…');
                return text.into();
            }
            length += 1;
            if is_unseen(character) {
                text.extend(character.escape_unicode());
            } else {
                text.push(character);
            }
        }
        if !chunk.invalid().is_empty() && length < LONGEST {
            length += 1;
            text.push('\u{fffd}');
        }
    }
    if !rest.is_empty() {
        text.push('…');
    }
    text.into()
}

/// Controls, marks of direction, characters of no width, tags: they make a text look like another (Unicode TR 36).
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(&*shown(b"Gr\xc3\xbc\xc3\x9fe <b>&amp;"), "Grüße <b>&amp;");
        assert_eq!(&*shown("a\u{202e}b\0c\r\n".as_bytes()), "a\\u{202e}b\\u{0}c\\u{d}\\u{a}");
        assert_eq!(&*shown(b"\xff\xfe!"), "\u{fffd}\u{fffd}!");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(shown(&[b'x'; 120]).chars().count(), 120);
        assert_eq!(shown(&[b'x'; 121]).chars().count(), 121);
        assert!(shown(&[b'x'; 121]).ends_with("x…"));
        assert!(shown(&[b'x'; 1 << 20]).len() < 200);
        assert!(shown("\u{1f600}".repeat(1000).as_bytes()).ends_with('…'));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_long_or_hidden(octets: Vec<u8>) {
            let text = shown(&octets);
            prop_assert!(text.chars().count() <= LONGEST * 10 + 1);
            prop_assert!(!text.chars().any(is_unseen));
        }
    }
}

//! What of a client's line was not understood, or is nobody's business, so that a server that repeats it may repeat a
//! secret.

use super::lex::{Token, Tokens};
use crate::engine::secret::Secrets;
use crate::event::Verb;

/// The atoms of SEARCH, SORT and THREAD (RFC 9051, 5256, 5032, 7162, 6203, 4731, 5267, 5182, 9394).
const KEYS: &[&str] = &[
    "ALL",
    "ANSWERED",
    "ARRIVAL",
    "BCC",
    "BEFORE",
    "BODY",
    "CC",
    "CHARSET",
    "COUNT",
    "DATE",
    "DELETED",
    "DISPLAYFROM",
    "DISPLAYTO",
    "DRAFT",
    "EMAILID",
    "FLAGGED",
    "FROM",
    "FUZZY",
    "HEADER",
    "IN",
    "KEYWORD",
    "LARGER",
    "MAX",
    "MIN",
    "MODSEQ",
    "NEW",
    "NOT",
    "OLD",
    "OLDER",
    "ON",
    "OR",
    "ORDEREDSUBJECT",
    "PARTIAL",
    "RECENT",
    "REFERENCES",
    "REFS",
    "RELEVANCY",
    "RETURN",
    "REVERSE",
    "SAVE",
    "SEEN",
    "SENTBEFORE",
    "SENTON",
    "SENTSINCE",
    "SINCE",
    "SIZE",
    "SMALLER",
    "SUBJECT",
    "TEXT",
    "THREADID",
    "TO",
    "UID",
    "UNANSWERED",
    "UNDELETED",
    "UNDRAFT",
    "UNFLAGGED",
    "UNKEYWORD",
    "UNSEEN",
    "US-ASCII",
    "UTF-8",
    "YOUNGER",
];

/// Fields of ID whose values are no secret (RFC 2971 section 3.3).
const SOFTWARE: &[&str] = &["name", "version", "vendor", "os", "os-version"];

/// Gives the words of a line that is no command to `secrets`.
pub(in crate::engine) fn suspect(line: &[u8], secrets: &mut Secrets) {
    secrets.suspect_unknown(line);
}

/// The same for the arguments `line`, literals in it as `lex` has them, of a command that shows `shown` of them.
pub(super) fn arguments(verb: Verb, line: &[u8], shown: usize, secrets: &mut Secrets) {
    match verb {
        // Keywords and names of mailboxes.
        Verb::Notify | Verb::Language | Verb::Comparator | Verb::GetQuota => {}
        Verb::Id => id(line, secrets),
        Verb::Search
        | Verb::UidSearch
        | Verb::Esearch
        | Verb::Sort
        | Verb::UidSort
        | Verb::Thread
        | Verb::UidThread => {
            for token in Tokens::new(line) {
                match token {
                    Token::Atom(atom) if is_key(atom) => {}
                    Token::Atom(word) | Token::Quoted(word) | Token::Literal(word) => secrets.suspect(word),
                    Token::Dropped | Token::Open | Token::Close => {}
                }
            }
        }
        _ => secrets.suspect(line.get(shown..).unwrap_or_default()),
    }
}

/// Whether a server that says `atom` repeats nothing: a key, a number or a set of numbers, a system flag.
fn is_key(atom: &[u8]) -> bool {
    atom.starts_with(b"\\")
        || atom.iter().all(|byte| byte.is_ascii_digit() || b":,*$".contains(byte))
        || KEYS.iter().any(|key| atom.eq_ignore_ascii_case(key.as_bytes()))
}

fn id(line: &[u8], secrets: &mut Secrets) {
    let mut strings = Tokens::new(line).filter_map(|token| match token {
        Token::Quoted(text) | Token::Literal(text) | Token::Atom(text) => Some(text),
        Token::Dropped | Token::Open | Token::Close => None,
    });
    while let (Some(field), Some(value)) = (strings.next(), strings.next()) {
        if !SOFTWARE.iter().any(|known| field.eq_ignore_ascii_case(known.as_bytes())) {
            secrets.suspect(value);
        }
    }
}

/// Whether `tag` looks like one: a few letters, then a number. A word of another form in its place may be anything.
pub(super) fn is_plain_tag(tag: &[u8]) -> bool {
    let letters = tag.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    letters <= 4 && tag.len() <= 10 && tag.iter().skip(letters).all(u8::is_ascii_digit)
}

//! A server's lines: put together to replies (RFC 5321 section 4.2), and what their texts tell.

use memchr::{memchr, memmem};

use crate::engine::frame::Line;
use crate::engine::pending::ReplyArrival;
use crate::engine::session::state::Stamp;
use crate::event::{Enhanced, Reply, Status};
use crate::time::Timestamp;

/// Puts lines together.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The reply so far; complete after [`Self::line`] said so.
    pub(super) reply: Reply,
    first: Option<Timestamp>,
    octets: u64,
    lines: u32,
    /// Which of the first 64 lines kept have no code, from the lowest bit.
    uncoded: u64,
    /// Bytes were lost since the last line.
    behind_gap: bool,
    /// The first line of the reply came behind lost bytes: there may have been others before it.
    is_rest: bool,
}

impl Assembler {
    /// Takes a line; `cap` bounds the text kept. When the reply was complete with it: when it came.
    pub(super) fn line(&mut self, line: &Line<'_>, stamp: Stamp, end: u64, cap: usize) -> Option<ReplyArrival> {
        if self.first.is_none() {
            self.reply.clear();
            self.lines = 0;
            self.uncoded = 0;
            self.octets = 0;
            self.is_rest = false;
        }
        let octets = line.octets.trim_ascii_end();
        let split = self.split(octets);
        if std::mem::take(&mut self.behind_gap) && self.first.is_none() {
            if matches!(split, Split::Garbage) {
                // What is left of a line.
                return None;
            }
            self.is_rest = true;
        }
        let first = *self.first.get_or_insert(line.began);
        self.octets += line.wire;
        let (code, more, text) = match split {
            Split::Reply { code, more, text } => (Some(code), more, text),
            // Sendmail's chatter in verbose mode completes nothing.
            Split::Chatter if self.lines == 0 => {
                self.first = None;
                return None;
            }
            Split::Chatter => return None,
            // A line that is none goes with the reply that follows it, as Postfix has it.
            // A blank one says nothing.
            Split::Garbage if octets.is_empty() => return None,
            Split::Garbage => (None, true, octets),
        };
        if code.is_none() {
            self.uncoded |= 1_u64.checked_shl(self.lines).unwrap_or(0);
        }
        let mut text = text;
        if let Some(code) = code {
            self.reply.status = Some(Status::Code(code));
            let (enhanced, rest) = enhanced(code, text);
            self.reply.enhanced = enhanced.or_else(|| self.reply.enhanced.filter(|e| u16::from(e.class) == code / 100));
            text = rest;
        }
        self.keep(text, cap);
        self.lines = self.lines.saturating_add(1);
        if more {
            return None;
        }
        self.first = None;
        Some(ReplyArrival { first, last: stamp, octets: self.octets, end })
    }

    /// Forgets a reply that was told.
    pub(super) fn shrink(&mut self) {
        if self.first.is_none() {
            self.reply = Reply::default();
        }
    }

    /// Bytes were lost: forgets what has begun.
    pub(super) fn reset(&mut self) {
        self.first = None;
        self.behind_gap = true;
    }

    /// Whether there may have been lines before those of the reply just completed.
    pub(super) fn is_rest(&self) -> bool {
        self.is_rest
    }

    /// Whether line `at` of the reply has a code.
    pub(super) fn is_coded(&self, at: usize) -> bool {
        at >= 64 || self.uncoded & (1 << at) == 0
    }

    /// Takes a line apart. Blanks before the code are passed over, save inside a reply, where they may begin a text.
    fn split<'a>(&self, line: &'a [u8]) -> Split<'a> {
        let code = self.reply.status.and_then(Status::code).filter(|_| self.first.is_some());
        match split(line.trim_ascii_start()) {
            Split::Reply { code: other, .. }
                if line.first().is_some_and(u8::is_ascii_whitespace) && code.is_some_and(|code| code != other) =>
            {
                Split::Garbage
            }
            split => split,
        }
    }

    fn keep(&mut self, text: &[u8], cap: usize) {
        let kept = self.reply.text.as_bytes().len();
        if self.lines > 0 && kept < cap {
            self.reply.text.push(b"\n");
        }
        let room = cap.saturating_sub(self.reply.text.as_bytes().len()).min(text.len());
        self.reply.text.push(text.get(..room).unwrap_or_default());
    }
}

enum Split<'a> {
    Reply { code: u16, more: bool, text: &'a [u8] },
    Chatter,
    Garbage,
}

fn split(line: &[u8]) -> Split<'_> {
    let [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else { return Split::Garbage };
    let digit = |o: &u8| u16::from(o - b'0');
    let code = digit(a) * 100 + digit(b) * 10 + digit(c);
    match (code, rest) {
        (0..=99, _) => Split::Chatter,
        (200..=599, [b'-', text @ ..]) => Split::Reply { code, more: true, text: text.trim_ascii_start() },
        // A longer number is none of them.
        (200..=599, [b'0'..=b'9', ..]) => Split::Garbage,
        // Some servers glue the text to the code, or put a tab between them.
        (200..=599, text) => Split::Reply { code, more: false, text: text.trim_ascii_start() },
        _ => Split::Garbage,
    }
}

/// The enhanced status code at the head of `text`, and what follows it. Its class must be that of `code` (RFC 2034).
fn enhanced(code: u16, text: &[u8]) -> (Option<Enhanced>, &[u8]) {
    let parse = || {
        let (&class, rest) = text.split_first()?;
        if u16::from(class.wrapping_sub(b'0')) != code / 100 {
            return None;
        }
        let (subject, rest) = digits(rest.strip_prefix(b".")?)?;
        let (detail, rest) = digits(rest.strip_prefix(b".")?)?;
        if rest.first().is_some_and(|o| !o.is_ascii_whitespace()) {
            return None;
        }
        Some((Enhanced { class: class - b'0', subject, detail }, rest.trim_ascii_start()))
    };
    match parse() {
        Some((enhanced, rest)) => (Some(enhanced), rest),
        None => (None, text),
    }
}

fn digits(text: &[u8]) -> Option<(u16, &[u8])> {
    let len = text.iter().take(3).take_while(|o| o.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(len)?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    (!rest.first().is_some_and(u8::is_ascii_digit)).then_some((number, rest))
}

/// Whether a 421 says that the server's patience was over.
pub(super) fn is_timeout(reply: &Reply) -> bool {
    let by_code = matches!(reply.enhanced, Some(Enhanced { class: 4, subject: 4, detail: 2 }));
    by_code
        || find_word(reply.text.as_bytes(), b"timeout").is_some()
        || find_word(reply.text.as_bytes(), b"timed out").is_some()
}

/// Whether a 501 says that the client's response was no base64 (RFC 4954 section 4): a credential was looked at.
pub(super) fn cannot_decode(reply: &Reply) -> bool {
    const WORDS: [&[u8]; 4] = [b"decode", b"decoding", b"base64", b"base 64"];
    WORDS.iter().any(|word| find_word(reply.text.as_bytes(), word).is_some())
}

/// Position of `word`, given in lower case, in `text` in any case.
fn find_word(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|w| w.eq_ignore_ascii_case(word))
}

/// Queue id in the text of a final reply, as the field's servers write it.
pub(super) fn queue_id(text: &[u8]) -> Option<&[u8]> {
    const BEHIND: [&[u8]; 6] =
        [b"queued as ", b"queued with id ", b"queue id ", b"queued id ", b"internalid=", b"sessionid=<"];
    BEHIND
        .iter()
        .find_map(|mark| after(text, mark))
        .or_else(|| word_start(text, b"id="))
        .or_else(|| saved(text))
        .or_else(|| before(text, b" message accepted"))
        .or_else(|| message_accepted(text))
        .or_else(|| queued_in_brackets(text))
        .or_else(|| before(text, b" - gsmtp"))
        .or_else(|| qmail(text))
}

/// Whether a line of a reply to EHLO begins with a keyword that nearly every server has.
pub(super) fn is_capability(line: &[u8]) -> bool {
    const KEYWORDS: [&[u8]; 10] = [
        b"PIPELINING",
        b"SIZE",
        b"8BITMIME",
        b"AUTH",
        b"STARTTLS",
        b"ENHANCEDSTATUSCODES",
        b"CHUNKING",
        b"DSN",
        b"SMTPUTF8",
        b"VRFY",
    ];
    let word = line.split(|o| matches!(o, b' ' | b'=' | b'\t')).next().unwrap_or_default();
    KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

fn token(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|o| !(o.is_ascii_alphanumeric() || b"-_.:/@=+".contains(o))).unwrap_or(text.len());
    let token = text.get(..end)?;
    let token = token.strip_suffix(b".").unwrap_or(token);
    (!token.is_empty()).then_some(token)
}

/// The token at the head of `text`, if it may be an id: no number with points or colons, which is a time or a version.
fn named(text: &[u8]) -> Option<&[u8]> {
    let token = token(text)?;
    let of_number = |o: &u8| o.is_ascii_digit() || matches!(o, b'.' | b':');
    let time = token.iter().any(|o| matches!(o, b'.' | b':')) && token.iter().all(of_number);
    let word = [&b"OK"[..], b"Message", b"Mail"].iter().any(|word| token.eq_ignore_ascii_case(word));
    (!time && !word).then_some(token)
}

/// The same where the text does not say that it is one: then it has a digit, which words do not.
fn id(text: &[u8]) -> Option<&[u8]> {
    named(text).filter(|token| token.iter().any(u8::is_ascii_digit))
}

fn after<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let at = find_word(text, mark)?;
    let text = text.get(at + mark.len()..)?.trim_ascii_start();
    named(text.strip_prefix(b"<").or_else(|| text.strip_prefix(b"\"")).unwrap_or(text))
}

/// `id=X` at the start of a word.
fn word_start<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::find(text, mark)?;
    let alone = at == 0 || text.get(at - 1).is_some_and(|o| !o.is_ascii_alphanumeric());
    alone.then(|| named(text.get(at + mark.len()..)?)).flatten()
}

/// `<user> X Saved` (Dovecot).
fn saved(text: &[u8]) -> Option<&[u8]> {
    if let Some(id) = before(text, b" saved") {
        return text.first().filter(|o| **o == b'<').map(|_| id);
    }
    // Its ids are base64, some of which has no digit; no word is so long, or has a capital inside.
    let rest = text.strip_prefix(b"<").and_then(|rest| rest.get(find_word(rest, b"> ")? + 2..))?;
    let id = named(rest)?;
    let inner = id.get(1..).unwrap_or_default();
    let word = id.len() < 16 && !(inner.iter().any(u8::is_ascii_uppercase) && inner.iter().any(u8::is_ascii_lowercase));
    let behind = rest.get(id.len()..).unwrap_or_default();
    (!word && behind.get(..6).is_some_and(|mark| mark.eq_ignore_ascii_case(b" saved"))).then_some(id)
}

/// The word before `mark`, which is in lower case here and in any in the text.
fn before<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let head = text.get(..find_word(text, mark)?)?;
    let start = head.iter().rposition(|o| *o == b' ').map_or(0, |at| at + 1);
    id(head.get(start..)?)
}

/// `Message X accepted` (IronPort).
fn message_accepted(text: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"message ";
    let rest = text.get(find_word(text, MARK)? + MARK.len()..)?;
    let id = id(rest)?;
    let behind = rest.get(id.len()..).unwrap_or_default();
    behind.get(..9).is_some_and(|mark| mark.eq_ignore_ascii_case(b" accepted")).then_some(id)
}

/// `Message Queued (X)`.
fn queued_in_brackets(text: &[u8]) -> Option<&[u8]> {
    let at = find_word(text, b"queued (")?;
    let (inside, _) =
        text.get(at + b"queued (".len()..)?.split_at_checked(memchr(b')', text.get(at + b"queued (".len()..)?)?)?;
    // `(0.250 seconds)` is no id.
    id(inside).filter(|id| id.len() == inside.len())
}

/// `ok 1700000000 qp 4711`.
fn qmail(text: &[u8]) -> Option<&[u8]> {
    let at = memmem::find(text, b" qp ")?;
    let id = token(text.get(at + 4..)?)?;
    id.iter().all(u8::is_ascii_digit).then_some(id)
}

/// The lines of a reply's text.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match memchr(b'\n', text) {
            Some(at) => {
                rest = text.get(at + 1..);
                text.get(..at)
            }
            None => rest.take(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_ids_of_the_field() {
        for (text, id) in [
            ("Ok: queued as 4F1A2", "4F1A2"),
            ("OK id=1abc-0001-XY", "1abc-0001-XY"),
            ("A1 Message accepted for delivery", "A1"),
            ("<a@b.c> [InternalId=12884, Hostname=x] Queued mail", "12884"),
            ("ok 1700000000 qp 4711", "4711"),
            ("<b@y.org> Q1x Saved", "Q1x"),
            ("<b@y.org> kQxwpTzVbLmNqRsT Saved", "kQxwpTzVbLmNqRsT"),
            ("ok:  Message 4711 accepted", "4711"),
            ("Ok SESSIONID=<AbC@x>", "AbC@x"),
            ("OK  1700000000 a1-2b - gsmtp", "a1-2b"),
            ("Message Queued (ab12)", "ab12"),
            ("Ok: queued as <4F1A2>", "4F1A2"),
            ("Ok: queued as \"4F1A2\"", "4F1A2"),
        ] {
            assert_eq!(queue_id(text.as_bytes()), Some(id.as_bytes()), "{text}");
        }
        assert_eq!(queue_id(b"Ok"), None);
        assert_eq!(queue_id(b"<b@y.org> successfully saved"), None);
        assert_eq!(queue_id(b"message was accepted"), None);
        assert_eq!(queue_id(b"valid=1"), None);
        assert_eq!(queue_id(b"2026-01-01 12:00:00 message accepted"), None);
        assert_eq!(queue_id(b"queued as 12:00:01.5"), None);
    }

    #[test]
    fn enhanced_codes_must_fit() {
        assert_eq!(enhanced(550, b"5.1.1 no").0, Some(Enhanced { class: 5, subject: 1, detail: 1 }));
        assert_eq!(enhanced(250, b"5.1.1 no"), (None, &b"5.1.1 no"[..]));
        assert_eq!(enhanced(250, b"2.0.0"), (Some(Enhanced { class: 2, subject: 0, detail: 0 }), &b""[..]));
        assert_eq!(enhanced(250, b"2.0.1234 x").0, None);
        assert_eq!(enhanced(250, b"2.1.5x").0, None);
    }
}

//! A FETCH response as it passes: its items one by one, message bodies as transactions (RFC 9051 section 7.5.2).
//!
//! The response may be of any length and depth; of it, one item's name and the transactions found are kept.

use memchr::memchr3;

use super::lex;
use crate::engine::session::state::EventContext;
use crate::event::Verb;
use crate::event::{Kind, Missing, Outcome, Transaction};
use crate::time::Timestamp;

/// Octets of an item's name and of a section that are kept.
const NAME: usize = 64;
const SECTION: usize = 1024;
/// Bodies of one response that wait for its end (the UID may follow them).
const WAITING: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the list.
    #[default]
    Before,
    /// In an item's name, or before it.
    Name,
    Section,
    /// Behind the section: an origin may follow.
    Origin,
    Value,
    /// In a list that is a value.
    Nested,
    After,
}

/// The command a response belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) verb: Verb,
    pub(super) began: Timestamp,
    pub(super) sent: Timestamp,
    /// Octets asked for of the head of the message, if not all.
    pub(super) head: Option<u64>,
}

/// One response.
#[derive(Debug, Default)]
pub(super) struct Fetch {
    pub(super) number: u64,
    pub(super) uid: Option<u64>,
    /// Bodies it had.
    pub(super) bodies: u32,
    began: Timestamp,
    place: Place,
    depth: u32,
    name: Vec<u8>,
    section: Vec<u8>,
    has_section: bool,
    origin: Option<u64>,
    /// The body that a literal is bringing.
    body: Option<Box<Transaction>>,
    first: Option<Timestamp>,
    got: u64,
    head: Option<u64>,
    #[expect(clippy::vec_box, reason = "the pool of the session hands out boxes")]
    waiting: Vec<Box<Transaction>>,
}

impl Fetch {
    /// A response for message `number` (or UID) that began at `began`. Buffers are used again.
    pub(super) fn begin(&mut self, number: u64, uid: Option<u64>, began: Timestamp) {
        self.number = number;
        self.uid = uid;
        self.bodies = 0;
        self.began = began;
        self.place = Place::Before;
        self.depth = 0;
        self.clear_name();
    }

    fn clear_name(&mut self) {
        self.name.clear();
        self.section.clear();
        self.has_section = false;
        self.origin = None;
    }

    /// The next text, up to a literal of `literal` octets or the end of the line.
    pub(super) fn text(
        &mut self,
        text: &[u8],
        literal: Option<u64>,
        request: Option<Request>,
        mailbox: &[u8],
        cx: &mut EventContext<'_>,
    ) {
        let mut rest = text;
        while let Some(octet) = rest.first() {
            let used = match self.place {
                Place::Before => {
                    if *octet == b'(' {
                        self.place = Place::Name;
                    }
                    1
                }
                Place::Name => self.name(*octet),
                Place::Section => self.section(rest),
                Place::Origin => self.origin(rest),
                Place::Value => self.value(rest, request, mailbox, cx),
                Place::Nested => self.nested(rest),
                Place::After => break,
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        if literal.is_some() && self.place == Place::Value {
            self.place = Place::Name;
            if self.is_body() {
                self.open(request, mailbox, cx);
            }
            self.clear_name();
        }
    }

    fn name(&mut self, octet: u8) -> usize {
        match octet {
            b' ' if !self.name.is_empty() => self.place = Place::Value,
            b' ' => {}
            b'[' => {
                self.place = Place::Section;
                self.has_section = true;
            }
            b')' => self.place = Place::After,
            _ if self.name.len() < NAME => self.name.push(octet.to_ascii_uppercase()),
            _ => {}
        }
        1
    }

    fn section(&mut self, rest: &[u8]) -> usize {
        let end = memchr3(b']', b'"', b'"', rest).unwrap_or(rest.len());
        let used = if rest.get(end) == Some(&b'"') {
            let inner = rest.get(end + 1..).unwrap_or_default();
            lex::quoted_end(inner).map_or(rest.len(), |quote| end + quote + 2)
        } else {
            end
        };
        let room = SECTION.saturating_sub(self.section.len());
        self.section.extend_from_slice(rest.get(..used.min(room)).unwrap_or_default());
        if used == end && end < rest.len() {
            self.place = Place::Origin;
            return used + 1;
        }
        used.max(1)
    }

    fn origin(&mut self, rest: &[u8]) -> usize {
        if rest.first() == Some(&b' ') {
            self.place = Place::Value;
            return 1;
        }
        let end = rest.iter().position(|o| *o == b' ').unwrap_or(rest.len());
        let inner = rest.get(..end).and_then(|t| t.strip_prefix(b"<")?.strip_suffix(b">"));
        self.origin = inner.and_then(|n| n.split(|o| *o == b'.').next()).and_then(lex::number);
        end
    }

    fn value(&mut self, rest: &[u8], request: Option<Request>, mailbox: &[u8], cx: &mut EventContext<'_>) -> usize {
        match rest.first() {
            Some(b' ') => return 1,
            Some(b'(') => {
                self.depth = 1;
                self.place = Place::Nested;
                return 1;
            }
            Some(b')') => {
                self.place = Place::After;
                return 1;
            }
            _ => {}
        }
        self.place = Place::Name;
        let used = if let Some(inner) = rest.strip_prefix(b"\"") {
            let end = lex::quoted_end(inner).unwrap_or(inner.len());
            if self.is_body() {
                self.open(request, mailbox, cx);
                let raw = inner.get(..end).unwrap_or_default();
                lex::unquote(raw, |piece| self.octets(piece, false, cx));
                self.octets(b"", true, cx);
            }
            (end + 2).min(rest.len())
        } else {
            let end = rest.iter().position(|o| matches!(o, b' ' | b')')).unwrap_or(rest.len());
            if self.name == b"UID" {
                self.uid = rest.get(..end).and_then(lex::number).or(self.uid);
            }
            end
        };
        self.clear_name();
        used
    }

    fn nested(&mut self, rest: &[u8]) -> usize {
        let Some(at) = memchr3(b'(', b')', b'"', rest) else { return rest.len() };
        match rest.get(at) {
            Some(b'(') => self.depth = self.depth.saturating_add(1),
            Some(b')') => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.place = Place::Name;
                    self.clear_name();
                }
            }
            _ => {
                let inner = rest.get(at + 1..).unwrap_or_default();
                return lex::quoted_end(inner).map_or(rest.len(), |end| at + end + 2);
            }
        }
        at + 1
    }

    /// Whether the item is message text: whole, or a part; headers alone are none.
    fn is_body(&self) -> bool {
        match &*self.name {
            b"BODY" | b"BODY.PEEK" | b"BINARY" | b"BINARY.PEEK" => self.has_section && !is_header(&self.section),
            b"RFC822" | b"RFC822.TEXT" => !self.has_section,
            _ => false,
        }
    }

    fn open(&mut self, request: Option<Request>, mailbox: &[u8], cx: &mut EventContext<'_>) {
        let began = request.map_or(self.began, |r| r.began);
        let mut transaction = cx.session.transaction(Kind::Retrieval, began);
        transaction.verb = Some(request.map_or(Verb::Fetch, |r| r.verb));
        if !mailbox.is_empty() {
            transaction.mailbox.set(mailbox);
        }
        transaction.section.set(match &*self.name {
            b"RFC822.TEXT" => b"TEXT",
            _ => &self.section,
        });
        transaction.origin = self.origin;
        transaction.timing.first_byte = request.and_then(|r| self.began.since(r.sent));
        transaction.has_message = true;
        transaction.message.begin(cx.limits.hash, cx.limits.header);
        if !transaction.section.as_bytes().is_empty() || self.origin.is_some_and(|o| o > 0) {
            // A part, or the middle of a message: its head is no header. Its size is known nevertheless.
            transaction.message.gap(0);
        }
        self.head = request.and_then(|r| r.head);
        self.first = None;
        self.got = 0;
        self.body = Some(transaction);
    }

    /// Octets of the literal that the last text ended with.
    pub(super) fn octets(&mut self, octets: &[u8], last: bool, cx: &mut EventContext<'_>) {
        let Some(transaction) = &mut self.body else { return };
        self.first.get_or_insert(cx.stamp.at);
        self.got += octets.len() as u64;
        if !octets.is_empty() {
            cx.body(transaction, octets);
        }
        if last {
            self.close(true, cx);
        }
    }

    /// Octets of that literal that were not seen.
    pub(super) fn lost(&mut self, octets: u64, last: bool, cx: &mut EventContext<'_>) {
        let Some(transaction) = &mut self.body else { return };
        self.first.get_or_insert(cx.stamp.at);
        self.got += octets;
        transaction.message.gap(octets);
        transaction.incomplete.add(Missing::ServerGap);
        if last {
            self.close(true, cx);
        }
    }

    fn close(&mut self, complete: bool, cx: &mut EventContext<'_>) {
        let Some(mut transaction) = self.body.take() else { return };
        // A partial fetch from the start that got less than it asked for got it all.
        let whole = transaction.origin.is_none_or(|o| o == 0 && self.head.is_some_and(|head| self.got < head));
        transaction.message.finish(complete && whole);
        transaction.timing.transfer = self.first.and_then(|first| cx.stamp.at.since(first));
        if complete {
            transaction.outcome = Outcome::Complete;
        }
        self.bodies = self.bodies.saturating_add(1);
        self.waiting.push(transaction);
        if self.waiting.len() > WAITING {
            self.emit(Outcome::Unknown, cx);
        }
    }

    /// The response is over; `cut`: how, if it did not come to its end.
    pub(super) fn end(&mut self, cut: Option<Outcome>, cx: &mut EventContext<'_>) {
        self.close(false, cx);
        self.emit(cut.unwrap_or(Outcome::Unknown), cx);
        self.place = Place::After;
    }

    fn emit(&mut self, cut: Outcome, cx: &mut EventContext<'_>) {
        for mut transaction in self.waiting.drain(..) {
            transaction.uid = self.uid;
            transaction.message_number = (self.number > 0).then_some(self.number);
            if transaction.outcome != Outcome::Complete {
                transaction.outcome = cut;
            }
            cx.transaction(transaction);
        }
    }
}

/// Whether `section` is header fields alone: `HEADER…`, `1.2.HEADER…`, `1.MIME`.
pub(super) fn is_header(section: &[u8]) -> bool {
    let part = section.iter().take_while(|o| o.is_ascii_digit() || **o == b'.').count();
    let text = section.get(part..).unwrap_or_default();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word));
    begins(b"HEADER") || begins(b"MIME")
}

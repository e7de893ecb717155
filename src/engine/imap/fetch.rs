//! A FETCH response as it passes: its items one by one, message bodies as transactions (RFC 9051 section 7.5.2).
//!
//! The response may be of any length and depth; of it, one item's name and the transactions found are kept.

use memchr::memchr3;

use super::lex::{self, Shape};
use crate::engine::session::state::EventContext;
use crate::event::Verb;
use crate::event::{Missing, Transaction, TransactionKind, TransactionOutcome};
use crate::time::Timestamp;

/// Octets of an item's name and of a section that are kept.
const NAME: usize = 64;
const SECTION: usize = 1024;
/// Bodies of one response that wait for its end (the UID may follow them).
const WAITING: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FetchPosition {
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
    /// In a string that is a value.
    Quoted,
    /// Behind the list: some servers have another one.
    After,
}

/// The command a response belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchCommand {
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
    place: FetchPosition,
    /// Lists of items that are open: one, but for servers that put lists around items.
    lists: u32,
    /// Inside a list that is a value.
    nested: Shape,
    /// `RFC822.SIZE`: what the server says of the whole message.
    size: Option<u64>,
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
        self.place = FetchPosition::Before;
        self.lists = 0;
        self.nested = Shape::default();
        self.size = None;
        self.clear_name();
    }

    /// Whether a list or a string is open, so that what comes in the next line may belong to it.
    pub(super) fn is_open(&self) -> bool {
        match self.place {
            FetchPosition::Before | FetchPosition::After => false,
            FetchPosition::Nested | FetchPosition::Quoted => true,
            FetchPosition::Name | FetchPosition::Section | FetchPosition::Origin | FetchPosition::Value => {
                self.lists > 0
            }
        }
    }

    /// Whether a message is coming in.
    pub(super) fn is_moving(&self) -> bool {
        self.body.is_some()
    }

    /// Whether a string is open.
    pub(super) fn is_quoted(&self) -> bool {
        self.place == FetchPosition::Quoted || (self.place == FetchPosition::Nested && self.nested.quoted)
    }

    fn clear_name(&mut self) {
        self.name.clear();
        self.section.clear();
        self.has_section = false;
        self.origin = None;
    }

    /// The next text, up to a literal or (`literal` is false) the end of the line.
    pub(super) fn text(
        &mut self,
        text: &[u8],
        literal: bool,
        request: Option<FetchCommand>,
        mailbox: &[u8],
        cx: &mut EventContext<'_>,
    ) {
        self.items(text, request, mailbox, cx);
        if !literal {
            if self.place == FetchPosition::Quoted {
                // The line end is part of the string: the server should not have sent it.
                self.octets(b"\r\n", false, cx);
            }
            return;
        }
        if matches!(self.place, FetchPosition::Nested | FetchPosition::Quoted)
            && let Some(item) = last_item(text)
        {
            // Quotes that do not balance have led astray: no list that is a value holds such an item.
            self.octets(b"", true, cx);
            self.place = FetchPosition::Name;
            self.clear_name();
            self.items(text.get(item..).unwrap_or_default(), request, mailbox, cx);
        }
        self.nested.quoted = false;
        if self.place == FetchPosition::Quoted {
            // No string holds a literal: the quote was one too many.
            self.octets(b"", true, cx);
            self.place = FetchPosition::Name;
            self.clear_name();
        }
        match self.place {
            FetchPosition::Value | FetchPosition::Origin => {}
            FetchPosition::Name if !self.name.is_empty() => {}
            // `BODY[] ({5}`: nothing but a body can be meant.
            FetchPosition::Nested if self.is_body() => {
                if self.body.is_none() {
                    self.open(request, mailbox, cx);
                }
                return;
            }
            _ => return,
        }
        self.place = FetchPosition::Name;
        if self.is_body() {
            self.open(request, mailbox, cx);
        }
        self.clear_name();
    }

    fn items(&mut self, text: &[u8], request: Option<FetchCommand>, mailbox: &[u8], cx: &mut EventContext<'_>) {
        let mut rest = text;
        while let Some(octet) = rest.first() {
            let used = match self.place {
                FetchPosition::Before | FetchPosition::After => self.between(*octet),
                FetchPosition::Name => self.name(*octet),
                FetchPosition::Section => self.section(rest),
                FetchPosition::Origin => self.origin(rest),
                FetchPosition::Value => self.value(rest, request, mailbox, cx),
                FetchPosition::Nested => self.nested(rest),
                FetchPosition::Quoted => self.quoted(rest, cx),
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Outside any list.
    fn between(&mut self, octet: u8) -> usize {
        match octet {
            b' ' | b'\t' | b')' => return 1,
            b'(' => {
                self.lists = 1;
                self.place = FetchPosition::Name;
                return 1;
            }
            _ => self.place = FetchPosition::Name,
        }
        self.clear_name();
        0
    }

    fn name(&mut self, octet: u8) -> usize {
        match octet {
            b' ' | b'\t' if !self.name.is_empty() => self.place = FetchPosition::Value,
            b' ' | b'\t' => {}
            b'[' => {
                self.place = FetchPosition::Section;
                self.has_section = true;
            }
            b'(' if self.name.is_empty() => self.lists = self.lists.saturating_add(1),
            b'(' | b'"' => {
                self.place = FetchPosition::Value;
                return 0;
            }
            b')' => self.close_list(),
            _ if self.name.len() < NAME => self.name.push(octet.to_ascii_uppercase()),
            _ => {}
        }
        1
    }

    fn close_list(&mut self) {
        self.clear_name();
        self.lists = self.lists.saturating_sub(1);
        self.place = if self.lists == 0 { FetchPosition::After } else { FetchPosition::Name };
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
            self.place = FetchPosition::Origin;
            return used + 1;
        }
        used.max(1)
    }

    fn origin(&mut self, rest: &[u8]) -> usize {
        if rest.first().is_some_and(|o| lex::is_blank(*o)) {
            self.place = FetchPosition::Value;
            return 1;
        }
        let end = rest.iter().position(|o| matches!(o, b' ' | b'\t' | b'"' | b'(' | b')')).unwrap_or(rest.len());
        if end == 0 {
            self.place = FetchPosition::Value;
            return 0;
        }
        let inner = rest.get(..end).and_then(|t| t.strip_prefix(b"<")?.strip_suffix(b">"));
        self.origin = inner.and_then(|n| n.split(|o| *o == b'.').next()).and_then(lex::number);
        end
    }

    fn value(
        &mut self,
        rest: &[u8],
        request: Option<FetchCommand>,
        mailbox: &[u8],
        cx: &mut EventContext<'_>,
    ) -> usize {
        match rest.first() {
            Some(b' ' | b'\t') => return 1,
            Some(b'(') => {
                self.nested = Shape { depth: 1, quoted: false };
                self.place = FetchPosition::Nested;
                return 1;
            }
            Some(b')') => {
                self.close_list();
                return 1;
            }
            Some(b'"') => {
                self.place = FetchPosition::Quoted;
                if self.is_body() {
                    self.open(request, mailbox, cx);
                }
                return 1;
            }
            _ => {}
        }
        self.place = FetchPosition::Name;
        let end = rest.iter().position(|o| matches!(o, b' ' | b'\t' | b')')).unwrap_or(rest.len());
        let number = rest.get(..end).and_then(lex::number);
        match &*self.name {
            b"UID" => self.uid = number.or(self.uid),
            b"RFC822.SIZE" => self.size = number.or(self.size),
            _ => {}
        }
        self.clear_name();
        end
    }

    /// A string, or what there is of it in this line.
    fn quoted(&mut self, rest: &[u8], cx: &mut EventContext<'_>) -> usize {
        let end = lex::quoted_end(rest);
        let raw = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        lex::unquote(raw, |piece| self.octets(piece, false, cx));
        let Some(end) = end else { return rest.len() };
        self.octets(b"", true, cx);
        self.place = FetchPosition::Name;
        self.clear_name();
        end + 1
    }

    fn nested(&mut self, rest: &[u8]) -> usize {
        if self.nested.quoted {
            let Some(end) = lex::quoted_end(rest) else { return rest.len() };
            self.nested.quoted = false;
            return end + 1;
        }
        let Some(at) = memchr3(b'(', b')', b'"', rest) else { return rest.len() };
        match rest.get(at) {
            Some(b'(') => self.nested.depth = self.nested.depth.saturating_add(1),
            Some(b'"') => self.nested.quoted = true,
            _ => {
                self.nested.depth = self.nested.depth.saturating_sub(1);
                if self.nested.depth == 0 {
                    self.place = FetchPosition::Name;
                    self.clear_name();
                }
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

    fn open(&mut self, request: Option<FetchCommand>, mailbox: &[u8], cx: &mut EventContext<'_>) {
        let began = request.map_or(self.began, |r| r.began);
        let mut transaction = cx.session.transaction(TransactionKind::Retrieval, began);
        transaction.verb = request.map(|r| r.verb);
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
            transaction.outcome = TransactionOutcome::Complete;
        }
        self.bodies = self.bodies.saturating_add(1);
        self.waiting.push(transaction);
        if self.waiting.len() > WAITING {
            self.emit(TransactionOutcome::Unknown, cx);
        }
    }

    /// The response is over; `cut`: how, if it did not come to its end.
    pub(super) fn end(&mut self, cut: Option<TransactionOutcome>, cx: &mut EventContext<'_>) {
        self.close(false, cx);
        self.emit(cut.unwrap_or(TransactionOutcome::Unknown), cx);
        self.place = FetchPosition::After;
        self.lists = 0;
    }

    fn emit(&mut self, cut: TransactionOutcome, cx: &mut EventContext<'_>) {
        for mut transaction in self.waiting.drain(..) {
            transaction.uid = self.uid;
            transaction.message_number = (self.number > 0).then_some(self.number);
            if transaction.section.as_bytes().is_empty() && transaction.origin.is_none() {
                transaction.declared_size = self.size;
            }
            if transaction.outcome != TransactionOutcome::Complete {
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

/// Where the item begins that `text` ends with, if that is one that brings octets of a message: `BODY[1]<0>`, `RFC822`.
fn last_item(text: &[u8]) -> Option<usize> {
    let text = lex::trim_end(text);
    let mut end = text.len();
    if text.ends_with(b">") {
        end = text.iter().rposition(|o| *o == b'<')?;
    }
    let sectioned = text.get(..end)?.ends_with(b"]");
    if sectioned {
        end = text.get(..end)?.iter().rposition(|o| *o == b'[')?;
    }
    let head = text.get(..end)?;
    let name = head.iter().rev().take_while(|o| o.is_ascii_alphanumeric() || **o == b'.').count();
    let (before, name) = head.split_at_checked(end - name)?;
    let is = |known: &[&[u8]]| known.iter().any(|k| k.eq_ignore_ascii_case(name));
    let known = if sectioned {
        is(&[b"BODY", b"BODY.PEEK", b"BINARY", b"BINARY.PEEK"])
    } else {
        is(&[b"RFC822", b"RFC822.TEXT", b"RFC822.HEADER"])
    };
    (known && before.last().is_none_or(|o| lex::is_blank(*o) || *o == b'(')).then_some(before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_at_the_end_of_a_text() {
        for (text, want) in [
            (&b"(ENVELOPE (\"a\"\") BODY[] "[..], Some(17)),
            (b"x (BODY[HEADER.FIELDS (TO)]<0>", Some(3)),
            (b"RFC822", Some(0)),
            (b"x\trfc822.text", Some(2)),
            (b"XBODY[] ", None),
            (b"BODY ", None),
            (b"RFC822.SIZE", None),
            (b"x BODY] ", None),
            (b"", None),
        ] {
            assert_eq!(last_item(text), want, "{}", text.escape_ascii());
        }
    }
}

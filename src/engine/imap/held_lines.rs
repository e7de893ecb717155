//! Lines behind one that left a string or a list open.
//!
//! Two things look the same at first: a server that leaves a quote open at the end of a response, and one that sends a line
//! break inside a quoted string as it found it in a message. Behind the first come responses; in the second the lines are
//! text, and the message's sender wrote them. So they are held until it shows what they are.
//!
//! They are text if the string and the lists around it end in a later line, up to a line of no form, and up to a completion
//! whose tag completes again. They are responses if the client acts on a completion or a go-ahead among them, having
//! received it, or if the connection closes behind them.

use memchr::memchr;

use super::Imap;
use super::lex::{self, Shape};
use super::response::{self, Response};
use crate::engine::frame::FramingMode;
use crate::engine::session::state::EventContext;
use crate::event::{Dir, Missing};

/// Bytes held: less than [`Limits::hold`](crate::engine::Limits::hold), which counts what is held before this is looked at.
/// Text that goes on for longer without a line of no form is no header field.
const HELD: usize = 32 << 10;

/// Completions and go-aheads kept of them: more than clients pipeline behind one response, few enough for each to be
/// compared with the next.
const KEPT: usize = 32;

/// What is known of the held lines so far. They are read once, as they come.
#[derive(Debug)]
pub(super) struct HeldLines {
    /// Stream offset of the first.
    from: u64,
    /// Bytes read, up to the start of a line, and those without a line end behind it.
    read: usize,
    searched: usize,
    /// Bytes of a literal still to come.
    literal: u64,
    /// The line that begins goes on from the literal before it.
    goes_on: bool,
    /// How the string and the lists go on, if the lines are text; `None` if they cannot be.
    shape: Option<Shape>,
    answers: Vec<Answer>,
    overflow: bool,
}

/// A completion of a command in flight, or (no tag) a go-ahead that one waits for.
#[derive(Debug)]
struct Answer {
    tag: Option<Vec<u8>>,
    /// Stream offset behind it.
    end: u64,
}

impl HeldLines {
    fn new(from: u64, shape: Shape) -> Self {
        let (read, searched, literal, goes_on) = (0, 0, 0, false);
        Self { from, read, searched, literal, goes_on, shape: Some(shape), answers: Vec::new(), overflow: false }
    }

    fn offset(&self) -> u64 {
        self.from + self.read as u64
    }

    /// Reads on in `held`. The stream offset up to which the lines are text, once some are.
    fn text_until(&mut self, held: &[u8], imap: &Imap) -> Option<u64> {
        loop {
            let left = held.len().saturating_sub(self.read);
            let passed = usize::try_from(self.literal).unwrap_or(usize::MAX).min(left);
            self.read += passed;
            self.searched = self.searched.max(self.read);
            self.literal -= passed as u64;
            let Some(at) = held.get(self.searched..).and_then(|rest| memchr(b'\n', rest)) else {
                self.searched = held.len();
                return None;
            };
            let end = self.searched + at;
            let line = held.get(self.read..end).unwrap_or_default();
            (self.read, self.searched) = (end + 1, end + 1);
            if let Some(until) = self.line(line.trim_ascii_end(), imap) {
                return Some(until);
            }
        }
    }

    fn line(&mut self, line: &[u8], imap: &Imap) -> Option<u64> {
        let header = lex::literal(line);
        self.follow(line.get(..header.map_or(line.len(), |h| h.start)).unwrap_or_default());
        let begins = !std::mem::replace(&mut self.goes_on, header.is_some());
        if let Some(header) = header {
            self.literal = header.octets;
        }
        if begins && let Some(until) = self.form(line, imap) {
            return Some(until);
        }
        let over = header.is_none() && self.shape.is_some_and(|shape| !shape.is_open());
        over.then(|| self.offset())
    }

    /// What the form of a line shows: a response has one of its own.
    fn form(&mut self, line: &[u8], imap: &Imap) -> Option<u64> {
        if line.first().is_none_or(|byte| lex::is_blank(*byte)) {
            return Some(self.offset());
        }
        let tag = match response::parse(line) {
            Response::Other => return Some(self.offset()),
            Response::Tagged(tag, ..) if imap.is_in_flight(tag) => Some(tag.to_vec()),
            Response::Continuation(_) if imap.is_waited_for() => None,
            Response::Tagged(..) | Response::Continuation(_) | Response::Untagged(..) => return None,
        };
        // A tag completes once: the first was text.
        let before = self.answers.iter().find(|older| tag.is_some() && older.tag == tag);
        if let Some(before) = before {
            return Some(before.end);
        }
        if self.answers.len() < KEPT {
            self.answers.push(Answer { tag, end: self.offset() });
        } else {
            self.overflow = true;
        }
        None
    }

    /// Reads `text` as more of the string and the lists that are open, strictly: no server puts anything but a blank or a
    /// parenthesis beside a string.
    fn follow(&mut self, text: &[u8]) {
        let Some(shape) = &mut self.shape else { return };
        let (mut rest, mut before) = (text, b' ');
        while !rest.is_empty() {
            if shape.quoted {
                let Some(end) = lex::quoted_end(rest) else { return };
                shape.quoted = false;
                rest = rest.get(end + 1..).unwrap_or_default();
                if !rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b')')) {
                    return self.shape = None;
                }
                continue;
            }
            let Some(at) = memchr::memchr3(b'"', b'(', b')', rest) else { return };
            before = at.checked_sub(1).and_then(|at| rest.get(at)).copied().unwrap_or(before);
            match rest.get(at) {
                Some(b'(') => shape.depth = shape.depth.saturating_add(1),
                Some(b')') => shape.depth = shape.depth.saturating_sub(1),
                _ if matches!(before, b' ' | b'\t' | b'(') => shape.quoted = true,
                _ => return self.shape = None,
            }
            before = rest.get(at).copied().unwrap_or(before);
            rest = rest.get(at + 1..).unwrap_or_default();
        }
    }

    /// Stream offset behind the last answer that a client had which received the stream up to `received`.
    fn answered(&self, received: u64) -> Option<u64> {
        self.answers.iter().map(|answer| answer.end).rfind(|end| *end <= received)
    }
}

impl Imap {
    /// The line that ends at `server.line_end` leaves something open: the next ones are held.
    pub(super) fn hold_lines(&mut self, shape: Shape, cx: &mut EventContext<'_>) {
        self.server.held = Some(Box::new(HeldLines::new(self.server.line_end, shape)));
        cx.switch(Dir::ToClient, FramingMode::Await);
    }

    /// The client acts, having received the server's stream up to `received`.
    pub(crate) fn client_acts(&mut self, received: u64) {
        self.server.received = self.server.received.max(received);
    }

    /// The server's bytes `held` follow a line that left something open. `last`: no more will come to help, since the
    /// connection was closed (`closed`) or bytes are missing, or the capture ends.
    pub(crate) fn look_at_lines(&mut self, held: &[u8], last: bool, closed: bool, cx: &mut EventContext<'_>) {
        let Some(mut lines) = self.server.held.take() else { return };
        let end = lines.from + held.len() as u64;
        let text = lines.text_until(held, self);
        if lines.overflow {
            cx.missing(Missing::Truncated);
        }
        if let Some(until) = text {
            self.server.text_until = until;
        } else if let Some(until) = lines.answered(self.server.received) {
            self.server.responses_until = until;
        } else if last && closed {
            self.server.responses_until = end;
        } else if last {
            // The rest of the string may be what is missing.
            self.server.text_until = end;
        } else if held.len() > HELD {
            cx.missing(Missing::HoldOverflow);
            self.server.responses_until = lines.offset().max(lines.from + 1);
        } else {
            return self.server.held = Some(lines);
        }
        cx.switch(Dir::ToClient, FramingMode::Line);
    }
}

//! Completions inside a response whose quotes or lists are still open.
//!
//! Two things look the same at first: a server that leaves a quote open at the end of a response, and a server that sends
//! a line break inside a quoted string as it found it in a message. Behind the first a tagged line completes its command;
//! in the second it is text, and the message's sender wrote it. So such a completion waits. It was text if the string and
//! the lists around it end later, if a line of no form follows, or if the same tag completes again; it was one if the
//! client sends on after it had received it, or if nothing follows.

use super::Imap;
use super::complete::Completion;
use super::response::Response;
use crate::engine::frame::Line;
use crate::engine::session::state::EventContext;
use crate::event::Missing;

/// Completions kept: more than clients pipeline behind one response, few enough for each to be compared with the next.
const KEPT: usize = 32;

/// Completions that are not believed yet.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    kept: Vec<Completion>,
    /// So many of them came before the response that is open.
    before: usize,
    /// A response was ended by the next although a list or a string of it was open.
    unbalanced: bool,
}

impl Suspects {
    /// Whether a completion cannot be believed at once.
    pub(super) fn doubts(&self) -> bool {
        self.unbalanced || !self.kept.is_empty()
    }

    /// A response begins; `unbalanced`: it ended one that was still open.
    pub(super) fn begin(&mut self, unbalanced: bool) {
        self.before = self.kept.len();
        self.unbalanced |= unbalanced;
    }

    /// The response that is open ended as it should: what looked like completions in it was text.
    pub(super) fn balanced(&mut self) {
        self.kept.truncate(self.before);
    }

    /// What looked like responses was text, or the bytes that would tell are lost.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.before = 0;
        self.unbalanced = false;
    }

    pub(super) fn shrink(&mut self) {
        self.kept.shrink_to_fit();
    }

    fn keep(&mut self, completion: Completion, cx: &mut EventContext<'_>) {
        if let Some(at) = self.kept.iter().position(|older| older.is_of(&completion)) {
            // A tag completes once: the first was text.
            self.kept.remove(at);
            self.before -= usize::from(at < self.before);
        }
        if self.kept.len() >= KEPT {
            return cx.missing(Missing::Unparseable);
        }
        self.kept.push(completion);
    }
}

impl Imap {
    /// Keeps `line` for later if it would complete a command; whether it would.
    pub(super) fn suspected(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) -> bool {
        let Response::Tagged(tag, status, text) = super::response::parse(line.octets) else { return false };
        // The answer that the client's bytes wait for is not put off: they could not be read.
        if !self.is_in_flight(tag) || self.client.awaiting {
            return false;
        }
        let text = text.get(..cx.limits.reply_text.min(text.len())).unwrap_or_default();
        let completion = Completion::new(tag, status, text, super::complete::arrival(line, cx));
        self.server.suspects.keep(completion, cx);
        true
    }

    /// The client sends on, with `received` bytes of the server: the completions among these were some.
    pub(super) fn trust(&mut self, received: u64, cx: &mut EventContext<'_>) {
        let suspects = &mut self.server.suspects;
        let known = suspects.kept.iter().take_while(|completion| completion.end() <= received).count();
        if known == 0 {
            suspects.unbalanced &= !suspects.kept.is_empty();
            return;
        }
        let inside: u64 = suspects.kept.iter().skip(suspects.before).map(Completion::octets).sum();
        let rest = suspects.kept.split_off(known);
        let believed = std::mem::replace(&mut suspects.kept, rest);
        suspects.before = 0;
        suspects.unbalanced = !suspects.kept.is_empty();
        let stamp = cx.stamp;
        if self.server.is_unfinished() {
            self.server.octets = self.server.octets.saturating_sub(inside);
            self.end_response(cx);
        }
        for completion in &believed {
            self.completed_late(completion, cx);
        }
        cx.stamp = stamp;
    }
}

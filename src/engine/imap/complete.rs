//! Completions: the command with the tag, and what its end means for the session.

use super::{CommandTask, Flight, Imap, append, has_tag, idle_over, lex, response};
use crate::engine::frame::{FramingMode, Line};
use crate::engine::pending::{ReplyArrival, Waiting};
use crate::engine::session::state::{EventContext, Layer};
use crate::event::Dir;
use crate::event::Text;
use crate::event::Verb;
use crate::event::{AuthOutcome, Missing, Status, TlsMode, TransactionKind, TransactionOutcome};

/// A tagged reply.
#[derive(Debug, Default)]
pub(super) struct Completion {
    tag: Text,
    status: Option<Status>,
    text: Text,
    arrival: ReplyArrival,
}

impl Completion {
    pub(super) fn new(tag: &[u8], status: Status, text: &[u8], arrival: ReplyArrival) -> Self {
        let mut completion = Self { status: Some(status), arrival, ..Self::default() };
        completion.tag.set(tag);
        completion.text.set(text);
        completion
    }
}

impl Imap {
    /// Whether a command with this tag waits.
    pub(super) fn is_in_flight(&self, tag: &[u8]) -> bool {
        self.pending.iter().any(|w| w.kind.tag == tag.len() && tag.starts_with(w.command.tag.as_bytes()))
    }

    pub(super) fn tagged(
        &mut self,
        tag: &[u8],
        status: Status,
        text: &[u8],
        line: &Line<'_>,
        cx: &mut EventContext<'_>,
    ) {
        let arrival = arrival(line, cx);
        if let Some(octets) = self.took_literal(tag, status, cx.limits.tag) {
            // First what it answers.
            self.late = Some(Box::new(Completion::new(tag, status, text, arrival)));
            return self.literal_wanted(octets, cx);
        }
        if self.completed(tag, status, text, arrival, cx) {
            return self.rest_of_status(text, cx);
        }
        if self.is_held_back(tag, cx) {
            self.late = Some(Box::new(Completion::new(tag, status, text, arrival)));
            return self.wait_no_more(cx);
        }
        if matches!(lex::response_code(text).0, Some(code) if is_selection(code)) {
            self.selected.clear();
        }
        self.completed_unseen(tag, status, text, cx);
    }

    /// A reply that was put off.
    pub(super) fn completed_late(&mut self, completion: &Completion, cx: &mut EventContext<'_>) {
        let Completion { tag, status, text, arrival } = completion;
        cx.stamp = arrival.last;
        if let Some(status) = status {
            self.completed(tag.as_bytes(), *status, text.as_bytes(), *arrival, cx);
        }
    }

    /// Completes the command that `tag` belongs to; false if there is none.
    fn completed(
        &mut self,
        tag: &[u8],
        status: Status,
        text: &[u8],
        arrival: ReplyArrival,
        cx: &mut EventContext<'_>,
    ) -> bool {
        let Some(at) = self.flight_of(tag, cx.limits.tag) else { return false };
        let last = at + 1 == self.pending.len();
        let Some(mut waiting) = self.pending.remove(at) else { return false };
        let command = &mut waiting.command;
        let cap = cx.limits.reply_text;
        command.reply.status = Some(status);
        response::texts(text, cap, &mut command.reply.response_code, &mut command.reply.text);
        if !self.authenticated || status == Status::Ok {
            self.capabilities_of(text, cx);
        }
        if last && self.client.reading {
            self.suspect_read(command, cx);
            if command.verb == Verb::Login {
                waiting.kind.task = CommandTask::Auth(self.login_cut(command, cx), false);
            } else {
                self.arguments_cut(&mut waiting, cx);
            }
            self.reading_refused(cx);
        }
        self.pending.answer(&mut waiting.command, arrival);
        // A greeting that says NO and goes on is no refusal.
        cx.session.refused &= status != Status::Ok;
        if std::mem::take(&mut waiting.kind.unsure) {
            self.client.found_again();
        }
        if !waiting.command.incomplete.has(Missing::ServerGap) {
            self.give_up(at, cx);
        }
        self.complete(waiting, status, cx);
        true
    }

    /// Which command a completion with `tag` belongs to: the oldest, unless the client used the tag again after it had
    /// what is lost of the server.
    fn flight_of(&self, tag: &[u8], kept: usize) -> Option<usize> {
        let mut found = None;
        for (at, waiting) in self.pending.iter().enumerate() {
            if !has_tag(&waiting.command, &waiting.kind, tag, kept) {
                continue;
            }
            let knew = self.server.gap.is_some_and(|gap| waiting.kind.peer >= gap);
            if found.is_none() || knew {
                found = Some(at);
            }
            if knew || self.server.gap.is_none() {
                break;
            }
        }
        found
    }

    /// A command is complete: what follows of it for the session.
    fn complete(&mut self, waiting: Waiting<Flight>, status: Status, cx: &mut EventContext<'_>) {
        let Waiting { mut command, kind: Flight { task, .. } } = waiting;
        let ok = status == Status::Ok;
        match task {
            CommandTask::Auth(exchange, cancelled) => {
                let reply = &command.reply;
                let (code, text) = (reply.response_code.as_bytes(), reply.text.as_bytes());
                let (disabled, before) = (self.login_disabled, self.authenticated);
                let outcome_if = |before| response::auth_outcome(status, code, text, cancelled, disabled, before);
                // The login before it may be among what was lost.
                let unsure = !before && !cx.session.incomplete.is_empty() && outcome_if(false) != outcome_if(true);
                let outcome = if unsure { AuthOutcome::Incomplete } else { outcome_if(before) };
                let outcome = if exchange.is_torn() { unsure_of(outcome, status) } else { outcome };
                self.authenticated |= ok;
                self.client.armed = !ok;
                let tls = cx.session.tls_mode();
                cx.auth(exchange.finish(outcome, reply.clone(), Some(cx.stamp.at), tls));
                self.exchange_over(cx);
            }
            CommandTask::Idle(since, until) => {
                idle_over(since, until, cx);
                command.latency = None;
                command.service_latency = None;
            }
            CommandTask::Append(append) => {
                append::name_of_append(&append, &mut command);
                append.finish(append::outcome(status), &command.reply, true, cx);
            }
            CommandTask::Fetch(asked, bodies) => {
                if !ok && asked.body && bodies == 0 {
                    let mut transaction = cx.session.transaction(TransactionKind::Retrieval, command.began);
                    transaction.verb = Some(command.verb);
                    transaction.mailbox.copy_from(&self.selected);
                    transaction.outcome = TransactionOutcome::Error;
                    cx.transaction(transaction);
                }
            }
            CommandTask::Plain => {}
        }
        match command.verb {
            Verb::Select | Verb::Examine if ok => {
                self.selected.copy_from(&command.mailbox);
                cx.session.mailbox.copy_from(&command.mailbox);
            }
            Verb::Select | Verb::Examine if status == Status::No => self.selected.clear(),
            Verb::Close | Verb::Unselect if ok => self.selected.clear(),
            Verb::StartTls => self.start_tls(ok, cx),
            Verb::Compress => {
                if ok {
                    for dir in [Dir::ToServer, Dir::ToClient] {
                        cx.layers[dir] = Some(Layer::Deflate);
                    }
                }
                self.resume(FramingMode::Line, cx);
            }
            Verb::Unauthenticate => {
                if ok {
                    self.selected.clear();
                    self.authenticated = false;
                    for dir in [Dir::ToServer, Dir::ToClient] {
                        cx.layers[dir] = Some(Layer::Plain);
                    }
                }
                self.resume(FramingMode::Line, cx);
            }
            Verb::Logout if ok => cx.session.quit_answered = true,
            _ => {}
        }
        cx.command(command);
    }

    fn start_tls(&mut self, ok: bool, cx: &mut EventContext<'_>) {
        cx.session.tls_answered(ok);
        if !ok {
            return self.resume(FramingMode::Line, cx);
        }
        self.client.awaiting = false;
        cx.session.tls.mode = Some(TlsMode::StartTls);
        cx.session.opaque = true;
        cx.switch(Dir::ToServer, FramingMode::Opaque);
        cx.switch(Dir::ToClient, FramingMode::Opaque);
    }

    /// After a gap, commands that were overtaken by a later one have lost their completions.
    fn give_up(&mut self, before: usize, cx: &mut EventContext<'_>) {
        let lost = |w: &Waiting<Flight>| w.command.incomplete.has(Missing::ServerGap);
        let mut at = self.pending.iter().take(before).position(lost);
        let mut end = before;
        while let Some(index) = at {
            let Some(waiting) = self.pending.remove(index) else { return };
            self.abandon(waiting, TransactionOutcome::Unknown, cx);
            end -= 1;
            let next = self.pending.iter().take(end).skip(index).position(lost);
            at = next.map(|more| index + more);
        }
    }
}

/// What can be said of an attempt some of which was lost: BAD may as well answer a `*`, which cancels.
fn unsure_of(outcome: AuthOutcome, status: Status) -> AuthOutcome {
    if status == Status::Bad { AuthOutcome::Incomplete } else { outcome }
}

/// Whether a response code comes with the selection of a mailbox.
pub(super) fn is_selection(code: &[u8]) -> bool {
    let is = |name: &[u8]| lex::word(code).0.eq_ignore_ascii_case(name);
    is(b"READ-WRITE") || is(b"READ-ONLY") || is(b"UIDVALIDITY")
}

pub(super) fn arrival(line: &Line<'_>, cx: &EventContext<'_>) -> ReplyArrival {
    ReplyArrival { first: line.began, last: cx.stamp, octets: line.wire, end: cx.offset }
}

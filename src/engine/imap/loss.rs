//! After a loss, or an answer that never comes: what is still known, what is believed, and where reading goes on.
//!
//! Tags need no order, so a command keeps its completion whatever was lost before it. What may be text of a message whose
//! start was lost is believed only where lines around it have the form of responses too, or the client acts on it.

use super::append::LiteralTarget;
use super::client::ExpectedLine;
use super::complete::{Completion, arrival};
use super::response::Response;
use super::server::{DOUBT, Headless};
use super::{CommandTask, CommandWait, Imap, lex};
use crate::engine::frame::{FramingMode, Line};
use crate::engine::session::state::{EventContext, Layer};
use crate::event::Dir;
use crate::event::{Missing, TlsMode, TransactionOutcome};
use crate::event::{Untagged, Verb};

impl Imap {
    /// `lost` octets of `dir` are missing, beyond those that counted octets absorbed.
    pub(crate) fn gap(&mut self, dir: Dir, cx: &mut EventContext<'_>) {
        match dir {
            Dir::ToServer => self.client_gap(cx),
            Dir::ToClient => self.server_gap(cx),
        }
    }

    /// The server's place in a line is lost.
    fn server_gap(&mut self, cx: &mut EventContext<'_>) {
        self.server.opened = true;
        let inside = self.server.fetch.as_ref().is_some_and(|fetch| fetch.is_moving());
        self.server.headless = if inside { Headless::No } else { Headless::Gap };
        self.server_end(TransactionOutcome::Unknown, cx);
        self.server.broken = true;
        self.server.gap = Some(cx.offset);
        self.server.candidate = None;
        self.server.suspects.clear();
        for waiting in self.pending.iter_mut() {
            waiting.command.incomplete.add(Missing::ServerGap);
            let selects = matches!(waiting.command.verb, Verb::Select | Verb::Examine | Verb::Unselect | Verb::Close);
            if selects {
                self.selected.clear();
            }
            if brings_messages(waiting.command.verb) {
                self.server.doubt = DOUBT;
            }
        }
        if self.client.lost {
            self.server.doubt = DOUBT;
        }
    }

    /// While it is in doubt whether lines are text of a message: whether this one is to be read as a response now.
    pub(super) fn is_believed(&mut self, response: &Response<'_>, line: &Line<'_>, cx: &mut EventContext<'_>) -> bool {
        let formed = match response {
            Response::Untagged(_, kind, _) => *kind != Untagged::Other,
            Response::Tagged(tag, ..) => self.is_in_flight(tag),
            Response::Continuation(_) => self.client.awaiting,
            Response::Other => false,
        };
        let candidate = self.server.candidate.take();
        if !formed {
            // So was the line before it text, whatever it looked like.
            self.server.doubt = DOUBT;
            return true;
        }
        if let Some(candidate) = candidate {
            self.completed_late(&candidate, cx);
        }
        self.server.doubt -= 1;
        match response {
            Response::Untagged(_, Untagged::Bye, _) => self.pending.iter().any(|w| w.command.verb == Verb::Logout),
            Response::Tagged(tag, status, text) if !self.client.awaiting => {
                let completion = Completion::new(tag, *status, text, arrival(line, cx));
                self.server.candidate = Some(Box::new(completion));
                false
            }
            _ => true,
        }
    }

    /// The client acts, or nothing follows: the completion in doubt was one.
    pub(super) fn believe(&mut self, cx: &mut EventContext<'_>) {
        if let Some(candidate) = self.server.candidate.take() {
            let stamp = cx.stamp;
            self.completed_late(&candidate, cx);
            cx.stamp = stamp;
            self.server.doubt = 0;
        }
    }

    /// The client's place is lost up to the next command that the server confirms.
    fn client_gap(&mut self, cx: &mut EventContext<'_>) {
        self.believe(cx);
        self.client.lost = true;
        self.client.broken = true;
        let sasl = matches!(self.client.expect, ExpectedLine::Sasl | ExpectedLine::SaslMaybe);
        if let Some(waiting) = self.pending.iter_mut().find(|w| matches!(w.kind.task, CommandTask::Auth(..)))
            && let CommandTask::Auth(exchange, _) = &mut waiting.kind.task
            && sasl
        {
            exchange.tear();
            waiting.command.incomplete.add(Missing::ClientGap);
            // It was in what is lost, or will come: the server tells.
            waiting.kind.wait = CommandWait::Challenge;
        }
        if std::mem::take(&mut self.client.reading)
            && let Some(waiting) = self.pending.back_mut()
        {
            waiting.command.incomplete.add(Missing::ClientGap);
            waiting.command.sent = cx.stamp.at;
            waiting.kind.wait = CommandWait::Nothing;
            if let CommandTask::Append(append) = &mut waiting.kind.task {
                append.cut(Some(Missing::ClientGap), cx);
            }
        }
        self.client.expect = if sasl { ExpectedLine::SaslMaybe } else { ExpectedLine::Command };
        self.client.target = LiteralTarget::Nothing;
    }

    /// Octets of a literal of the client were lost.
    pub(super) fn client_lost(&mut self, octets: u64, last: bool, cx: &mut EventContext<'_>) {
        self.client.untouched = false;
        self.count_client(octets, cx);
        if self.client.reading
            && let Some(waiting) = self.pending.back_mut()
        {
            waiting.command.incomplete.add(Missing::ClientGap);
        }
        match self.client.target {
            // What is left of a name is no name.
            LiteralTarget::Argument => self.client.drop_argument(),
            LiteralTarget::Message => {
                if let Some(append) = self.append() {
                    append.lost(octets, last, cx);
                }
            }
            LiteralTarget::Nothing => {}
        }
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        if !self.client.awaiting || (held.is_empty() && !surely) {
            return;
        }
        let head = held.get(..LONGEST_HEAD).unwrap_or(held);
        let line = head.iter().position(|o| *o == b'\n');
        let first = head.get(..line.unwrap_or(head.len())).unwrap_or_default();
        let Some(waiting) = self.pending.back_mut() else { return self.resume(FramingMode::Line, cx) };
        match (waiting.kind.wait, waiting.command.verb) {
            (CommandWait::Literal(octets), _) if self.client.reading => {
                if line.is_none() && !surely && head.len() < LONGEST_HEAD {
                    return;
                }
                waiting.kind.wait = CommandWait::Nothing;
                if line.is_some() && self.is_next_command(first) {
                    // The literal was refused, and the client went on.
                    // Or it is text of one behind an open quote: then no command in it is answered.
                    self.client.lost |= self.client.doubtful;
                    self.cut_reading(cx);
                    return self.resume(FramingMode::Line, cx);
                }
                self.client.untouched = true;
                self.resume(FramingMode::Octets(octets), cx);
            }
            (CommandWait::Challenge, _) => {
                self.client.expect = ExpectedLine::SaslMaybe;
                self.resume(FramingMode::Line, cx);
            }
            (_, Verb::StartTls) if held.first() == Some(&0x16) => {
                self.client.awaiting = false;
                cx.session.tls.mode = Some(TlsMode::StartTls);
                cx.session.opaque = true;
                cx.switch(Dir::ToServer, FramingMode::Opaque);
                cx.switch(Dir::ToClient, FramingMode::Opaque);
            }
            (_, Verb::Compress) => {
                // Commands are text up to their line end; DEFLATE is not for long.
                let binary = head.iter().find(|o| **o == b'\n' || !(o.is_ascii_graphic() || o.is_ascii_whitespace()));
                if binary.is_none() && !surely && head.len() < LONGEST_HEAD {
                    return;
                }
                if binary.is_some_and(|o| *o != b'\n') {
                    for dir in [Dir::ToServer, Dir::ToClient] {
                        cx.layers[dir] = Some(Layer::Deflate);
                    }
                }
                self.resume(FramingMode::Line, cx);
            }
            _ => self.resume(FramingMode::Line, cx),
        }
    }

    /// Whether `line` is a command whose tag has the form of the ones before.
    fn is_next_command(&self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (tag, rest) = lex::word(line);
        let (verb, _) = super::command::verb(rest);
        verb != Verb::Other && lex::is_tag(tag) && self.client.form == Some(lex::form(tag))
    }

    /// Whether `tag` has the form of the ones before, if there were any.
    pub(super) fn has_usual_form(&self, tag: &[u8]) -> bool {
        self.client.form.is_none_or(|usual| usual == lex::form(tag))
    }

    /// The command that is being read will have no more of it read.
    fn cut_reading(&mut self, cx: &mut EventContext<'_>) {
        self.client.reading = false;
        self.client.target = LiteralTarget::Nothing;
        self.client.expect = ExpectedLine::Command;
        if let Some(waiting) = self.pending.back_mut() {
            waiting.kind.wait = CommandWait::Nothing;
            if let CommandTask::Append(append) = &mut waiting.kind.task {
                append.cut(None, cx);
            }
        }
    }

    /// Whether a command with `tag` is among what the client sent although it waits for an answer: it waits no more.
    pub(super) fn is_held_back(&self, tag: &[u8], cx: &EventContext<'_>) -> bool {
        /// Lines looked at: who sends more waits for nothing.
        const LOOKED_AT: usize = 16;
        let lines = cx.held.split(|o| *o == b'\n').take(LOOKED_AT);
        self.client.awaiting && !tag.is_empty() && lines.into_iter().any(|line| lex::word(line).0 == tag)
    }

    /// The answer that the client waited for will not come: what it sent meanwhile is commands.
    pub(super) fn wait_no_more(&mut self, cx: &mut EventContext<'_>) {
        self.cut_reading(cx);
        self.resume(FramingMode::Line, cx);
    }

    /// What was held has been read: now the reply to it that was put off.
    pub(crate) fn resumed(&mut self, cx: &mut EventContext<'_>) {
        if let Some(late) = self.late.take() {
            self.completed_late(&late, cx);
        }
    }
}

/// Octets without a line end that tell a literal from a command.
const LONGEST_HEAD: usize = 512;

/// Whether the answer to this command may hold a message.
fn brings_messages(verb: Verb) -> bool {
    matches!(verb, Verb::Fetch | Verb::UidFetch | Verb::UrlFetch | Verb::Convert | Verb::UidConvert | Verb::Other)
}

//! After a loss, or an answer that never comes: which command a reply belongs to, and where a body ends.
//!
//! Replies carry no tag. What tells is what the client had received when it sent a command, what a reply can answer, and
//! time. Where that does not tell, the commands stay without their replies: a reply is never given to another command.

use crate::event::{AuthOutcome, Missing, Reply, TlsMode, TransactionKind, TransactionOutcome};
use std::time::Duration;

use super::body::{BodyContent, Cut, Loose};
use super::client::is_response;
use super::grammar::{self, Indicator};
use super::unseen;
use super::{Ask, Expects, Pop3, QueuedCommand, Xmit};
use crate::engine::frame::{FramingMode, Line};
use crate::engine::pending::Waiting;
use crate::engine::session::state::EventContext;
use crate::event::{Dir, Verb};

/// A client that sends its next command so much later has given up waiting for the reply to the one before: programs
/// wait for longer than this, and those that pipeline do not wait.
const GIVEN_UP: Duration = Duration::from_secs(10);

impl Pop3 {
    /// `lost` octets of `dir` are missing, up to `scope.offset`.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, cx: &mut EventContext<'_>) {
        self.broken[dir] = true;
        match dir {
            Dir::ToServer => {
                (self.client_gap, self.armed, self.lost) = (true, true, true);
                self.give_up_before(cx);
                self.gap_peer = cx.stamp.peer;
                // The name may have been given anew in what is lost.
                self.user.clear();
                if let Some(exchange) = &mut self.exchange {
                    exchange.tear();
                }
                if let Some(xmit) = self.xmit.as_mut().filter(|x| x.sent.is_none()) {
                    xmit.transaction.message.gap(lost);
                    xmit.transaction.incomplete.add(Missing::ClientGap);
                }
            }
            Dir::ToClient => self.server_lost(lost, cx),
        }
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        if self.watches_held() {
            return self.look_behind_dot(held, surely, cx);
        }
        let end = held.iter().position(|o| *o == b'\n');
        if end.is_none() && !surely && held.first() != Some(&0x16) {
            return;
        }
        let line = held.get(..end.unwrap_or(held.len())).unwrap_or_default().trim_ascii();
        let command = grammar::words(line).verb != Verb::Other;
        let mut mode = FramingMode::Line;
        match self.pending.back().map(|w| &w.kind.ask) {
            Some(Ask::Stls) if held.first() == Some(&0x16) => {
                cx.session.tls.mode = Some(TlsMode::StartTls);
                cx.session.opaque = true;
                cx.switch(Dir::ToClient, FramingMode::Opaque);
                mode = FramingMode::Opaque;
            }
            Some(Ask::Auth) if !command && end.is_some() && is_response(line) => self.expects = Expects::Response,
            Some(Ask::Auth) => self.give_up(cx),
            Some(Ask::Xmit) if !command && !line.is_empty() => {
                if let Some(Waiting { command, .. }) = self.pending.back() {
                    self.xmit = Some(Xmit::begin(command, cx));
                    mode = self.xmit_mode();
                }
            }
            _ => {}
        }
        cx.switch(Dir::ToServer, mode);
    }

    /// Octets of the server are lost, up to `scope.offset`.
    pub(super) fn server_lost(&mut self, lost: u64, cx: &mut EventContext<'_>) {
        self.settle(cx);
        if !self.greeted {
            // The greeting was in it, or will be told by its looks.
            (self.greeted, self.begun) = (true, false);
        }
        let Some(body) = &mut self.body else {
            self.lose_replies(cx.offset);
            let behind =
                |w: &Waiting<QueuedCommand>| !w.kind.after_gap && w.kind.peer.saturating_add(lost) <= cx.offset;
            let one = self.pending.len() == 1 && self.pending.front().is_some_and(behind);
            // All before was answered when the client sent it.
            self.status_lost = one && self.certain && !self.client_gap && self.doubt.is_none();
            if self.exchange.is_some() {
                self.expects = Expects::Either;
                cx.switch(Dir::ToServer, FramingMode::Line);
            }
            return;
        };
        if let BodyContent::Message(transaction) = &mut body.content {
            transaction.message.gap(lost);
            transaction.incomplete.add(Missing::ServerGap);
        } else {
            // Half a list says nothing.
            body.content = BodyContent::Other;
        }
        body.cut = Cut::Torn(cx.offset);
        cx.switch(Dir::ToClient, FramingMode::Line);
    }

    /// Replies up to the stream offset `end` may be among what is lost.
    pub(super) fn lose_replies(&mut self, end: u64) {
        (self.server_gap, self.passed, self.status_lost) = (Some(end), 0, false);
    }

    /// A command whose reply was not seen, or never came.
    pub(super) fn unmatched(
        &mut self,
        waiting: Waiting<QueuedCommand>,
        outcome: TransactionOutcome,
        cx: &mut EventContext<'_>,
    ) {
        let Waiting { mut command, kind } = waiting;
        let missing = unseen(cx);
        command.incomplete.merge(missing);
        match kind.ask {
            Ask::Login(exchange) => {
                let tls = cx.session.tls_mode();
                let mut auth = exchange.finish(AuthOutcome::Incomplete, Reply::default(), None, tls);
                auth.incomplete = missing;
                cx.auth(auth);
            }
            Ask::Auth => self.give_up(cx),
            Ask::Message if !kind.told => {
                let mut transaction = cx.session.transaction(TransactionKind::Retrieval, command.began);
                transaction.verb = Some(command.verb);
                transaction.message_number = kind.number;
                transaction.pipelined = command.pipelined;
                transaction.outcome = outcome;
                transaction.incomplete = missing;
                cx.transaction(transaction);
            }
            _ => {}
        }
        cx.command(command);
    }

    /// Whether a status line answers the oldest command that waits: those before it whose replies are lost, or will never
    /// come, are taken out of the queue first.
    pub(super) fn is_placed(&mut self, head: Indicator<'_>, line: &Line<'_>, cx: &mut EventContext<'_>) -> bool {
        if !self.resynchronise(head, line, cx) {
            // Later commands tell: who sends one when it has this reply has those before it too.
            self.server_gap = Some(line.end());
            return false;
        }
        while self.is_given_up() {
            self.drop_answered(1, cx);
        }
        if let Some(at) = self.better_place(head) {
            self.drop_answered(at, cx);
        }
        let early = |w: &Waiting<QueuedCommand>| w.kind.after_gap && line.start < w.kind.peer;
        self.pending.front().is_some_and(|w| !early(w))
    }

    /// After a loss: takes out the commands whose replies were in it. False if it cannot be told which command is answered.
    fn resynchronise(&mut self, head: Indicator<'_>, line: &Line<'_>, cx: &mut EventContext<'_>) -> bool {
        let outstanding = self.pending.len();
        if let Some(gap) = self.server_gap.filter(|gap| line.start >= *gap) {
            let before = self.pending.iter().take_while(|w| w.kind.peer < gap).count();
            if before < outstanding {
                // The client sent a command after it had what is lost here.
                self.drop_answered(before, cx);
            } else if outstanding > 1 {
                let sized = matches!(head, Indicator::Ok(text) if grammar::octets(text).is_some());
                let Some(at) = self.only_message().filter(|_| sized) else {
                    self.passed += 1;
                    return false;
                };
                self.passed = 0;
                self.drop_answered(at, cx);
                if self.pending.len() > 1 {
                    return true;
                }
            } else if matches!(head, Indicator::Err(text) if grammar::is_goodbye(text)) {
                // The reply may be lost as well, and this the server's last word.
                return false;
            }
            self.server_gap = None;
        }
        self.pending.front().is_none_or(|w| !w.kind.shadowed)
    }

    /// A message behind a gap was asked for by one of the commands that wait, most likely the last whose reply may come now.
    pub(super) fn tell_message(&mut self) {
        let Some(gap) = self.server_gap else { return };
        let asks =
            |w: &&mut Waiting<QueuedCommand>| matches!(w.kind.ask, Ask::Message) && !w.kind.told && w.kind.peer < gap;
        if let Some(waiting) = self.pending.iter_mut().rfind(asks) {
            waiting.kind.told = true;
        }
    }

    /// Where the one command stands that asks for a message, of those that replies behind a gap have not passed.
    fn only_message(&self) -> Option<usize> {
        let messages = self.pending.iter().enumerate().skip(self.passed);
        let mut messages = messages.filter(|(_, w)| matches!(w.kind.ask, Ask::Message));
        let (at, _) = messages.next()?;
        messages.next().is_none().then_some(at)
    }

    /// The client went on so late that it has given up the replies it was still owed.
    fn give_up_before(&mut self, cx: &mut EventContext<'_>) {
        let now = cx.stamp.at;
        let given_up = |w: &Waiting<QueuedCommand>| now.since(w.command.sent).is_some_and(|pause| pause >= GIVEN_UP);
        while self.pending.front().is_some_and(given_up) {
            self.drop_answered(1, cx);
        }
    }

    /// Whether the client went on without the reply to the oldest command.
    fn is_given_up(&self) -> bool {
        let mut waiting = self.pending.iter();
        let (Some(oldest), Some(next)) = (waiting.next(), waiting.next()) else { return false };
        let pause = next.command.began.since(oldest.command.sent);
        oldest.kind.peer == next.kind.peer && pause.is_some_and(|pause| pause >= GIVEN_UP)
    }

    /// Where a command stands that fits a reply which the oldest one does not: size and number of messages answer few.
    fn better_place(&self, head: Indicator<'_>) -> Option<usize> {
        let Indicator::Ok(text) = head else { return None };
        let (sized, counted) = (grammar::octets(text).is_some(), grammar::is_two_numbers(text));
        let fits = |w: &Waiting<QueuedCommand>| match w.kind.ask {
            Ask::Message => sized,
            Ask::Stat => counted,
            Ask::Single => counted && w.command.verb == Verb::List,
            _ => false,
        };
        let silent =
            |w: &Waiting<QueuedCommand>| matches!(w.command.verb, Verb::Noop | Verb::Dele | Verb::Rset | Verb::User);
        self.pending.front().filter(|w| silent(w))?;
        self.pending.iter().position(fits)
    }

    /// A lone dot with loose line ends: servers that write such line ends end a text so; it may be text as well.
    pub(super) fn loose_end(&mut self, wire: u64, end: u64, cx: &mut EventContext<'_>) {
        let Some(body) = &mut self.body else { return };
        body.loose = Some(Loose { wire: body.wire + wire, end, stamp: cx.stamp });
        if body.ends.loose_server {
            self.looked_at(b"", true, cx);
        }
    }

    /// The server's octets `held` follow a lone dot that may be the end of a text: decides what it was, if they tell.
    /// `last`: no more will come to help.
    pub(crate) fn looked_at(&mut self, held: &[u8], last: bool, cx: &mut EventContext<'_>) {
        let Some(body) = &mut self.body else { return };
        let Some(loose) = body.loose else { return };
        let waiting = self.pending.front();
        // The client has gone on when it had just that.
        let taken = waiting.is_some_and(|w| w.kind.peer >= loose.end);
        let shown = body.ends.show_an_end();
        let is_end = match grammar::is_status(held) {
            None if !last => return,
            Some(status) => status && (taken || shown),
            None => taken || shown,
        };
        body.loose = None;
        if !is_end {
            // What was sent meanwhile was sent ahead.
            self.pending.iter_mut().for_each(|w| w.command.pipelined = true);
            if let BodyContent::Message(transaction) = &mut body.content {
                transaction.message.drop_lf_reading();
            }
            return cx.switch(Dir::ToClient, FramingMode::DotResume);
        }
        if let BodyContent::Message(transaction) = &mut body.content {
            transaction.message.take_lf_reading();
        }
        cx.switch(Dir::ToClient, FramingMode::Line);
        let now = std::mem::replace(&mut cx.stamp, loose.stamp);
        self.end(Some(loose.wire), TransactionOutcome::Complete, cx);
        cx.stamp = now;
    }

    /// The answers to the `count` oldest commands are lost.
    pub(super) fn drop_answered(&mut self, count: usize, cx: &mut EventContext<'_>) {
        for _ in 0..count {
            if let Some(waiting) = self.pending.pop() {
                self.unmatched(waiting, TransactionOutcome::Unknown, cx);
            }
        }
    }

    /// Whether replies may lack their commands.
    pub(super) fn is_unsure(&self) -> bool {
        !self.certain || !self.client_seen || self.server_gap.is_some() || self.armed_by_gap()
    }

    fn armed_by_gap(&self) -> bool {
        self.client_gap || self.pending.front().is_some_and(|w| w.kind.after_gap)
    }
}

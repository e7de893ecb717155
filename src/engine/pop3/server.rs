//! POP3's server side: status lines find their command (RFC 1939 section 3).

use super::body::{BodyContent, MultilineReply};
use super::client::without_cr;
use super::grammar::{self, Indicator};
use super::text::{content, unknown_message};
use super::{Ask, Doubt, Expects, Pop3, QueuedCommand, may_be_ntlm};
use crate::engine::frame::{FramingMode, Line, LineEnding};
use crate::engine::pending::{ReplyArrival, Waiting};
use crate::engine::session::state::EventContext;
use crate::event::{Dir, Verb};
use crate::event::{Incomplete, Missing, Reply};

impl Pop3 {
    /// A line of the server.
    pub(super) fn server(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let broken = std::mem::take(&mut self.broken.to_client);
        self.in_text = false;
        if self.body.is_some() && !self.body_line(line, broken, cx) {
            return;
        }
        let bare = without_cr(line.octets);
        let head = grammar::head(bare).or_else(|| self.loose_head(bare));
        if !self.greeted && self.is_answer_without_greeting(head, cx) {
            self.greeted = true;
        }
        if !self.greeted || (!self.begun && head.is_some_and(looks_like_greeting)) {
            return self.greet(head, line, cx);
        }
        let inside = (!broken || head.is_some()) && self.is_inside_answer(line);
        if bare.is_empty() && self.greeted && self.doubt.is_none() && !inside {
            // Some servers send a line end too many; no reply is empty, nor does it show that a message goes on.
            return;
        }
        if head.is_none() && self.doubt.is_some() {
            return self.list_after_all(line, cx);
        }
        self.settle(cx);
        match head {
            _ if inside => self.headless(line, cx),
            Some(Indicator::Challenge(text)) => self.challenge(text, line, cx),
            Some(head) => self.status(head, line, cx),
            None if broken => self.status_lost |= self.is_inside_next(line),
            None => self.stray(line, cx),
        }
    }

    /// Whether `line`, whose head is lost, shows that the status line before it is lost as well: a server writes nothing
    /// but the answer to the one command that waits.
    fn is_inside_next(&self, line: &Line<'_>) -> bool {
        let behind = |w: &Waiting<QueuedCommand>| !w.kind.after_gap && w.kind.peer <= line.start;
        let one = self.pending.len() == 1 && self.pending.front().is_some_and(behind);
        one && self.server_gap.is_some() && !self.client_gap && line.octets != b"."
    }

    /// Whether `line`, which may look like a status line, is of a text whose status line was lost.
    fn is_inside_answer(&self, line: &Line<'_>) -> bool {
        let gap = self.server_gap.filter(|gap| line.start >= *gap);
        self.status_lost && gap.is_some() && self.pending.len() == 1 && self.only_multiline().is_some()
    }

    /// A status line as some servers write them, where nothing but one can come.
    fn loose_head<'a>(&self, line: &'a [u8]) -> Option<Indicator<'a>> {
        let asked = self.pending.front().is_some() && self.doubt.is_none() && !self.is_unsure();
        let challenge = self.pending.front().is_some_and(|w| matches!(w.kind.ask, Ask::Auth));
        // Whatever is not sure: to a client in such an exchange no text is sent.
        (asked || challenge || !self.greeted).then(|| grammar::loose_head(line, challenge)).flatten()
    }

    /// A `+OK` in doubt was the whole answer.
    pub(super) fn settle(&mut self, cx: &mut EventContext<'_>) {
        if let Some(Doubt { entry: Some(Waiting { command, .. }), .. }) = self.doubt.take() {
            cx.command(command);
        }
    }

    fn greet(&mut self, head: Option<Indicator<'_>>, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(head @ (Indicator::Ok(_) | Indicator::Err(_))) = head else { return };
        self.greeted = true;
        let greeting = &mut cx.session.greeting;
        grammar::fill(&mut greeting.reply, head, false, cx.limits.reply_text);
        let text = grammar::without_timestamp(greeting.reply.text.as_bytes());
        greeting.reply.text.set(&text);
        let established = cx.context.peers.established;
        greeting.delay = established.and_then(|at| line.began.since(at));
        cx.session.refused = matches!(head, Indicator::Err(_));
        self.pending.note(arrival(line, cx));
        cx.greeting();
    }

    /// A server that says nothing until it is spoken to: only its list of capabilities is told from a greeting.
    fn is_answer_without_greeting(&self, head: Option<Indicator<'_>>, cx: &EventContext<'_>) -> bool {
        let asked = self.pending.front().map_or(self.lost, |w| w.command.verb == Verb::Capa);
        let named = |text: &[u8]| text.get(..5).is_some_and(|t| t.eq_ignore_ascii_case(b"capab"));
        asked && cx.stamp.peer > 0 && matches!(head, Some(Indicator::Ok(text)) if named(text))
    }

    fn challenge(&mut self, text: &[u8], line: &Line<'_>, cx: &mut EventContext<'_>) {
        let exchange = self.pending.iter().position(|w| matches!(w.kind.ask, Ask::Auth));
        if let Some(before) = exchange {
            // Answers to what came before it are lost: only an exchange has challenges.
            self.drop_answered(before, cx);
        }
        let secrets = &mut cx.session.secrets;
        let front = self.pending.front_mut().filter(|w| matches!(w.kind.ask, Ask::Auth));
        let (Some(waiting), Some(exchange)) = (front, &mut self.exchange) else {
            if self.pending.is_empty() && self.is_unsure() {
                secrets.learn(text);
                self.expects = Expects::Stray;
            }
            return;
        };
        exchange.challenge(text, secrets);
        exchange.asked(cx.stamp.at);
        let [_, octets] = &mut waiting.command.octets;
        *octets += line.wire;
        self.expects = Expects::Response;
        cx.switch(Dir::ToServer, FramingMode::Line);
    }

    fn status(&mut self, head: Indicator<'_>, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let status = arrival(line, cx);
        if self.xmit.is_some() {
            return self.xmit_status(head, status, cx);
        }
        let ok = matches!(head, Indicator::Ok(_));
        if !self.is_placed(head, line, cx) {
            return self.unasked(head, line, cx);
        }
        let Some(waiting) = self.pending.front_mut() else { return };
        grammar::fill(&mut waiting.command.reply, head, self.response_codes, cx.limits.reply_text);
        let auth = matches!(waiting.kind.ask, Ask::Auth);
        if ok && auth && self.exchange.as_ref().is_some_and(may_be_ntlm) {
            self.expects = Expects::Ntlm(status);
            return cx.switch(Dir::ToServer, FramingMode::Line);
        }
        let Some(mut waiting) = self.pending.pop() else { return };
        match waiting.kind.ask {
            Ask::Message | Ask::List if ok => {
                let content = content(Some(&waiting), head, &self.listed, cx);
                self.begin(Some(waiting), content, status, line.ending, cx);
            }
            Ask::Maybe if ok => {
                self.pending.answer(&mut waiting.command, status);
                self.doubt = Some(Doubt { entry: Some(waiting), status, loose: line.ending != LineEnding::Crlf });
            }
            _ => self.answered(waiting, status, cx),
        }
    }

    /// A reply to a command that was not seen.
    fn unasked(&mut self, head: Indicator<'_>, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let status = arrival(line, cx);
        if matches!(head, Indicator::Err(_)) {
            let mut reply = Reply::default();
            grammar::fill(&mut reply, head, self.response_codes, cx.limits.reply_text);
            cx.notice(&reply);
            cx.close_reason(&reply.text);
        }
        if matches!(head, Indicator::Err(text) if grammar::is_timeout(text)) {
            (cx.session.shutdown, cx.session.shutdown_timeout) = (true, true);
        }
        self.pending.note(status);
        if !self.is_unsure() {
            return;
        }
        match head {
            Indicator::Ok(text) if grammar::octets(text).is_some() => {
                let content = unknown_message(line, false, cx);
                self.begin(None, content, status, line.ending, cx);
                if let Some(MultilineReply { content: BodyContent::Message(transaction), .. }) = &mut self.body {
                    transaction.declared_size = grammar::octets(text);
                }
            }
            Indicator::Ok(_) => {
                self.doubt = Some(Doubt { entry: None, status, loose: line.ending != LineEnding::Crlf });
            }
            Indicator::Err(_) | Indicator::Challenge(_) => {}
        }
    }

    /// A line that is no reply where one should be: the middle of a list or message whose start was lost.
    fn stray(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        if grammar::loose_head(line.octets, false).is_some() {
            // A status line as some servers write them, or text that looks like one: nothing is made of it.
            return;
        }
        let multiline = self.server_gap.and_then(|_| self.only_multiline());
        if self.is_unsure() && (line.octets != b"." || multiline.is_some()) {
            self.headless(line, cx);
        }
    }

    /// The list or message that `line` is of has lost its start.
    fn headless(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let multiline = self.server_gap.and_then(|_| self.only_multiline());
        if let Some(before) = multiline {
            // The replies to those before it were in what is lost too.
            self.drop_answered(before, cx);
        }
        let front = multiline.and_then(|_| self.pending.front()).map(|w| &w.kind.ask);
        let listed = grammar::is_listing(line.octets);
        let status = ReplyArrival { octets: 0, end: line.start, ..arrival(line, cx) };
        let (entry, content) = match front {
            Some(Ask::Message) => (self.pending.pop(), unknown_message(line, true, cx)),
            Some(Ask::List) => (self.pending.pop(), BodyContent::Other),
            _ if listed => (None, BodyContent::Other),
            _ => (None, unknown_message(line, true, cx)),
        };
        let mut content = content;
        if let (Some(waiting), BodyContent::Message(transaction)) = (&entry, &mut content) {
            transaction.began = waiting.command.began;
            transaction.verb = Some(waiting.command.verb);
            transaction.message_number = waiting.kind.number;
            transaction.incomplete = Incomplete::NONE;
            transaction.incomplete.add(Missing::ServerGap);
        }
        // Which of several it answers is not known, nor then what the next reply does.
        self.server_gap = self.server_gap.filter(|_| entry.is_none() && self.pending.len() > 1);
        self.begin(entry, content, status, line.ending, cx);
        self.first_line(line, cx);
    }

    /// How many commands wait before the only one whose answer has several lines.
    fn only_multiline(&self) -> Option<usize> {
        let several = |w: &Waiting<QueuedCommand>| matches!(w.kind.ask, Ask::Message | Ask::List | Ask::Maybe);
        let at = self.pending.iter().position(several)?;
        let sure = self.pending.iter().nth(at).is_some_and(|w| !matches!(w.kind.ask, Ask::Maybe));
        (sure && !self.pending.iter().skip(at + 1).any(several)).then_some(at)
    }
}

pub(super) fn arrival(line: &Line<'_>, cx: &EventContext<'_>) -> ReplyArrival {
    ReplyArrival { first: line.began, last: cx.stamp, octets: line.wire, end: line.end() }
}

/// A greeting where none is due: the capture has its first octets, but not the handshake.
fn looks_like_greeting(head: Indicator<'_>) -> bool {
    let Indicator::Ok(text) = head else { return false };
    let lower = text.to_ascii_lowercase();
    let says = |word: &[u8]| memchr::memmem::find(&lower, word).is_some();
    says(b"pop") || says(b"ready") || (says(b"<") && says(b"@") && text.ends_with(b">"))
}

//! POP3's server side: status lines find their command, lists and messages their end (RFC 1939 section 3).

use super::body::{Body, Content, Cut, Lines};
use super::grammar;
use super::grammar::Head;
use super::{Ask, Doubt, Entry, Expects, Pop3, Xmit, may_be_ntlm};
use crate::engine::frame::{Ending, Line, Mode};
use crate::engine::pending::{Arrival, Waiting};
use crate::engine::sasl::Exchange;
use crate::engine::session::state::EventContext;
use crate::event::{AuthMethod, AuthOutcome, Incomplete, Kind, Maildrop, Missing, Outcome, Reply, Status};
use crate::event::{Dir, Verb};
use crate::event::{TlsMode, Transaction};

impl Pop3 {
    /// A line of the server.
    pub(super) fn server(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let broken = std::mem::take(&mut self.broken.to_client);
        if self.body.is_some() && !self.body_line(line, broken, cx) {
            return;
        }
        let head = grammar::head(line.octets);
        if !self.greeted && self.is_answer_without_greeting(head, cx) {
            self.greeted = true;
        }
        if !self.greeted || (!self.begun && head.is_some_and(looks_like_greeting)) {
            return self.greet(head, line, cx);
        }
        if head.is_none() && self.doubt.is_some() {
            return self.list_after_all(line, cx);
        }
        self.settle(cx);
        match head {
            Some(Head::Challenge(text)) => self.challenge(text, line, cx),
            Some(head) => self.status(head, line, cx),
            None if broken => {}
            None => self.stray(line, cx),
        }
    }

    /// Octets of a message or list, stuffing removed.
    pub(super) fn text(&mut self, octets: &[u8], cx: &mut EventContext<'_>) {
        let Some(body) = &mut self.body else { return };
        body.began.get_or_insert(cx.stamp.at);
        match &mut body.content {
            Content::Message(transaction) => cx.body(transaction, octets),
            Content::Capabilities(lines) => lines.octets(octets, cx.limits.capabilities),
            Content::Sizes(lines) => lines.octets(octets, 0),
            Content::Other => {}
        }
    }

    /// The terminator, as the framer saw it.
    pub(super) fn body_end(&mut self, wire: u64, cx: &mut EventContext<'_>) {
        let Some(body) = &self.body else { return };
        let wire = body.wire + wire;
        self.end(Some(wire), Outcome::Complete, cx);
    }

    /// Octets of the server are lost, up to `scope.offset`.
    pub(super) fn server_lost(&mut self, lost: u64, cx: &mut EventContext<'_>) {
        self.settle(cx);
        if !self.greeted {
            // The greeting was in it, or will be told by its looks.
            (self.greeted, self.certain, self.begun) = (true, false, false);
        }
        let Some(body) = &mut self.body else {
            self.server_gap = Some(cx.offset);
            if self.exchange.is_some() {
                self.expects = Expects::Either;
                cx.switch(Dir::ToServer, Mode::Line);
            }
            return;
        };
        if let Content::Message(transaction) = &mut body.content {
            transaction.message.gap(lost);
            transaction.incomplete.add(Missing::ServerGap);
        } else {
            // Half a list says nothing.
            body.content = Content::Other;
        }
        body.cut = Cut::Torn(cx.offset);
        cx.switch(Dir::ToClient, Mode::Line);
    }

    /// A `+OK` in doubt was the whole answer.
    pub(super) fn settle(&mut self, cx: &mut EventContext<'_>) {
        if let Some(Doubt { entry: Some(Waiting { command, .. }), .. }) = self.doubt.take() {
            cx.command(command);
        }
    }

    fn greet(&mut self, head: Option<Head<'_>>, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(head @ (Head::Ok(_) | Head::Err(_))) = head else { return };
        self.greeted = true;
        let greeting = &mut cx.session.greeting;
        grammar::fill(&mut greeting.reply, head, false, cx.limits.reply_text);
        let text = grammar::without_timestamp(greeting.reply.text.as_bytes());
        greeting.reply.text.set(&text);
        let established = cx.context.peers.established;
        greeting.delay = established.and_then(|at| line.began.since(at));
        cx.session.refused = matches!(head, Head::Err(_));
        self.pending.note(arrival(line, cx));
        cx.greeting();
    }

    /// A server that says nothing until it is spoken to: only its list of capabilities is told from a greeting.
    fn is_answer_without_greeting(&self, head: Option<Head<'_>>, cx: &EventContext<'_>) -> bool {
        let asked = self.pending.front().is_some_and(|w| w.command.verb == Verb::Capa);
        let named = |text: &[u8]| text.get(..5).is_some_and(|t| t.eq_ignore_ascii_case(b"capab"));
        asked && cx.stamp.peer > 0 && matches!(head, Some(Head::Ok(text)) if named(text))
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
        cx.switch(Dir::ToServer, Mode::Line);
    }

    fn status(&mut self, head: Head<'_>, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let status = arrival(line, cx);
        if let Some(xmit) = self.xmit.take() {
            return self.xmit_answered(xmit, head, status, cx);
        }
        self.resynchronise(head, line.start, cx);
        let ok = matches!(head, Head::Ok(_));
        let early = |w: &Waiting<Entry>| w.kind.after_gap && line.start < w.kind.peer;
        let Some(waiting) = self.pending.front_mut().filter(|w| !early(w)) else {
            return self.unasked(head, line, cx);
        };
        grammar::fill(&mut waiting.command.reply, head, self.response_codes, cx.limits.reply_text);
        let auth = matches!(waiting.kind.ask, Ask::Auth);
        if ok && auth && self.exchange.as_ref().is_some_and(may_be_ntlm) {
            self.expects = Expects::Ntlm(status);
            return cx.switch(Dir::ToServer, Mode::Line);
        }
        let Some(mut waiting) = self.pending.pop() else { return };
        match waiting.kind.ask {
            Ask::Message | Ask::List if ok => {
                let content = content(Some(&waiting), head, cx);
                self.begin(Some(waiting), content, status, line.ending, cx);
            }
            Ask::Maybe if ok => {
                self.pending.answer(&mut waiting.command, status);
                self.doubt = Some(Doubt { entry: Some(waiting), status, loose: line.ending == Ending::Lf });
            }
            _ => self.answered(waiting, status, cx),
        }
    }

    /// A reply of one line is complete.
    fn answered(&mut self, waiting: Waiting<Entry>, status: Arrival, cx: &mut EventContext<'_>) {
        let Waiting { mut command, kind } = waiting;
        self.pending.answer(&mut command, status);
        let ok = command.reply.status == Some(Status::PopOk);
        match kind.ask {
            Ask::User if !ok => self.user_refused(&command, cx),
            Ask::Login(exchange) => self.attempted(*exchange, &command.reply, cx),
            Ask::Auth => {
                cx.switch(Dir::ToServer, Mode::Line);
                self.expects = Expects::Command;
                if let Some(exchange) = self.exchange.take() {
                    self.attempted(exchange, &command.reply, cx);
                }
            }
            Ask::Stls => stls_answered(ok, cx),
            Ask::Stat if ok => {
                let size = grammar::two_numbers(command.reply.text.as_bytes());
                let maildrop = maildrop(cx);
                maildrop.size = size.or(maildrop.size);
            }
            Ask::Dele if ok => {
                let maildrop = maildrop(cx);
                maildrop.deleted = maildrop.deleted.saturating_add(1);
                maildrop.committed = Some(false);
            }
            Ask::Rset if ok => {
                if let Some(maildrop) = &mut cx.session.maildrop {
                    (maildrop.deleted, maildrop.committed) = (0, None);
                }
            }
            Ask::Quit if ok => {
                cx.session.quit_answered = true;
                if let Some(maildrop) = &mut cx.session.maildrop {
                    maildrop.committed = maildrop.committed.map(|_| true);
                }
            }
            Ask::Message => {
                let mut transaction = cx.session.transaction(Kind::Retrieval, command.began);
                transaction.verb = Some(command.verb);
                transaction.message_number = kind.number;
                transaction.pipelined = command.pipelined;
                transaction.outcome = Outcome::Error;
                transaction.timing.first_byte = status.first.since(command.sent);
                transaction.last.copy_from(&command.reply);
                cx.transaction(transaction);
            }
            Ask::Xmit if ok => {
                self.xmit = Some(Xmit::begin(&command, cx));
                cx.switch(Dir::ToServer, Mode::Dot);
            }
            Ask::Xmit => {
                let mut xmit = Xmit::begin(&command, cx);
                xmit.transaction.has_message = false;
                xmit.transaction.outcome = Outcome::Error;
                xmit.transaction.last.copy_from(&command.reply);
                cx.transaction(xmit.transaction);
                cx.switch(Dir::ToServer, Mode::Line);
            }
            _ => {}
        }
        cx.command(command);
    }

    /// USER was refused: that is the attempt, even if PASS was sent along.
    fn user_refused(&mut self, command: &super::Command, cx: &mut EventContext<'_>) {
        let secrets = &mut cx.session.secrets;
        let user = self.user.as_bytes();
        let exchange = Exchange::plain(AuthMethod::UserPass, user, b"", command.began, command.sent, secrets);
        if let Some(next) = self.pending.front_mut().filter(|w| w.command.verb == Verb::Pass) {
            next.kind.ask = Ask::Single;
        }
        self.attempted(exchange, &command.reply, cx);
    }

    /// An attempt is at its final reply.
    fn attempted(&mut self, exchange: Exchange, reply: &Reply, cx: &mut EventContext<'_>) {
        let ok = reply.status == Some(Status::PopOk);
        let fresh = exchange.mechanism().is_some() && !exchange.is_challenged();
        let refusal = grammar::refusal(reply, exchange.is_cancelled(), fresh);
        let outcome = if ok { AuthOutcome::Success } else { refusal };
        self.armed = !ok;
        let tls = cx.session.tls_mode();
        cx.auth(exchange.finish(outcome, reply.clone(), Some(cx.stamp.at), tls));
    }

    /// The `+OK` to AUTH NTLM was no challenge: the client goes on with a command.
    pub(super) fn authenticated(&mut self, status: Arrival, cx: &mut EventContext<'_>) {
        if let Some(waiting) = self.pending.pop() {
            self.answered(waiting, status, cx);
        }
    }

    fn xmit_answered(&mut self, xmit: Xmit, head: Head<'_>, status: Arrival, cx: &mut EventContext<'_>) {
        let Xmit { mut transaction, sent, .. } = xmit;
        if sent.is_none() {
            transaction.message.finish(false);
        }
        let taken = matches!(head, Head::Ok(_));
        transaction.outcome = if taken { Outcome::Accepted } else { Outcome::Error };
        transaction.timing.reply = sent.and_then(|sent| status.last.at.since(sent));
        grammar::fill(&mut transaction.last, head, self.response_codes, cx.limits.reply_text);
        self.pending.note(status);
        cx.count_reply(transaction.last.status);
        cx.transaction(transaction);
    }

    /// The list or message of `entry` begins.
    fn begin(
        &mut self,
        entry: Option<Waiting<Entry>>,
        mut content: Content,
        status: Arrival,
        ending: Ending,
        cx: &mut EventContext<'_>,
    ) {
        if let (Content::Message(transaction), Some(waiting)) = (&mut content, &entry) {
            transaction.timing.first_byte = status.first.since(waiting.command.sent);
        }
        // Who ends its status lines with LF alone will not end its text with CRLF `.` CRLF.
        let cut = match content {
            _ if ending == Ending::Lf => Cut::Loose,
            Content::Message(_) => Cut::Dot,
            Content::Capabilities(_) | Content::Sizes(_) | Content::Other => Cut::Listed,
        };
        if cut == Cut::Dot {
            cx.switch(Dir::ToClient, Mode::Dot);
        }
        self.body = Some(Body {
            entry,
            content,
            first: status.first,
            status: status.octets,
            start: status.end,
            wire: 0,
            began: None,
            cut,
            ended_by_crlf: true,
        });
    }

    /// A line of a body that is cut as lines. Returns true if it is a reply after all, and the body is over.
    fn body_line(&mut self, line: &Line<'_>, broken: bool, cx: &mut EventContext<'_>) -> bool {
        let Some(body) = &mut self.body else { return true };
        let status = matches!(grammar::head(line.octets), Some(Head::Ok(_) | Head::Err(_)));
        let (start, cut) = (body.start, body.cut);
        let waits = |after| self.pending.front().is_some_and(|w| w.kind.peer >= after);
        if status && matches!(cut, Cut::Torn(_)) && waits(start) {
            // The end was among what is lost, and a command waits for exactly this.
            self.end(None, Outcome::Unknown, cx);
            return true;
        }
        if status && cut == Cut::Listed && waits(0) {
            self.end(Some(line.start.saturating_sub(start)), Outcome::Complete, cx);
            return true;
        }
        let listed = matches!(cut, Cut::Loose | Cut::Listed);
        if line.octets == b"." && !broken && (listed || body.ended_by_crlf) {
            self.end(Some(line.end().saturating_sub(start)), Outcome::Complete, cx);
            return false;
        }
        body.ended_by_crlf = line.ending != Ending::Lf;
        self.text_line(line, !broken, cx);
        false
    }

    /// Hands on a line of text; `whole`: its head is there, so that stuffing can be removed.
    fn text_line(&mut self, line: &Line<'_>, whole: bool, cx: &mut EventContext<'_>) {
        let text = if whole { line.octets.strip_prefix(b".").unwrap_or(line.octets) } else { line.octets };
        self.text(text, cx);
        let end: &[u8] = match line.ending {
            Ending::Crlf | Ending::MultiCr => b"\r\n",
            Ending::Lf => b"\n",
            Ending::None => b"",
        };
        let kept = line.octets.len() as u64 + end.len() as u64;
        if line.truncated
            && let Some(Body { content: Content::Message(transaction), .. }) = &mut self.body
        {
            transaction.message.gap(line.wire.saturating_sub(kept));
            transaction.incomplete.add(Missing::Truncated);
        }
        self.text(end, cx);
    }

    /// The body is over: `wire` octets of it with the terminator, `None` if that was not seen.
    pub(super) fn end(&mut self, wire: Option<u64>, outcome: Outcome, cx: &mut EventContext<'_>) {
        let Some(body) = self.body.take() else { return };
        let Body { entry, content, first, status, start, began, .. } = body;
        let octets = wire.unwrap_or(0);
        let arrival = Arrival { first, last: cx.stamp, octets: status + octets, end: start + octets };
        let retr = entry.as_ref().is_some_and(|w| w.command.verb == Verb::Retr);
        match entry {
            Some(Waiting { mut command, .. }) => {
                if wire.is_some() {
                    self.pending.answer(&mut command, arrival);
                }
                if wire.is_none() || command.reply.status.is_none() {
                    command.incomplete.merge(super::unseen(cx));
                }
                cx.command(command);
            }
            None => self.pending.note(arrival),
        }
        match content {
            Content::Message(mut transaction) => {
                transaction.message.finish(wire.is_some());
                transaction.wire_size = wire.filter(|_| transaction.message.size_known());
                transaction.timing.transfer = cx.stamp.at.since(began.unwrap_or(cx.stamp.at));
                transaction.outcome = outcome;
                if retr && wire.is_some() {
                    let (messages, octets) = &mut maildrop(cx).retrieved;
                    *messages = messages.saturating_add(1);
                    *octets = octets.saturating_add(transaction.message.size());
                }
                cx.transaction(transaction);
            }
            Content::Capabilities(lines) if wire.is_some() => self.capabilities(lines, cx),
            Content::Sizes(lines) if wire.is_some() && lines.odd == 0 => {
                maildrop(cx).size.get_or_insert(lines.sizes);
            }
            Content::Capabilities(_) | Content::Sizes(_) | Content::Other => {}
        }
    }

    fn capabilities(&mut self, lines: Lines, cx: &mut EventContext<'_>) {
        if lines.truncated {
            cx.missing(Missing::Truncated);
        }
        let has = |word: &[u8]| lines.kept.iter().any(|line| line == word);
        self.response_codes = has(b"RESP-CODES");
        if cx.session.tls_mode() == TlsMode::StartTls {
            return;
        }
        if cx.session.tls.mode.is_none() {
            cx.session.tls.offered = Some(has(b"STLS"));
        }
        cx.session.capabilities = lines.kept;
    }

    /// After `+OK` in doubt came `line`, which is no reply: a list.
    fn list_after_all(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(Doubt { mut entry, status, loose }) = self.doubt.take() else { return };
        if let Some(Waiting { command, .. }) = &mut entry {
            // What the status line added comes again with the whole.
            let [_, octets] = &mut command.octets;
            *octets = octets.saturating_sub(status.octets);
        }
        let message = entry.is_none() && is_header(line.octets);
        let content = match &entry {
            Some(_) => content(entry.as_ref(), Head::Ok(b""), cx),
            None if message => unknown_message(line, false, cx),
            None => Content::Other,
        };
        let ending = if loose { Ending::Lf } else { line.ending };
        self.begin(entry, content, status, ending, cx);
        self.first_line(line, cx);
    }

    /// The first line of a body, which came before it was known for one.
    fn first_line(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(body) = &mut self.body else { return };
        body.wire = line.wire;
        if line.octets == b"." {
            cx.switch(Dir::ToClient, Mode::Line);
            return self.end(Some(line.wire), Outcome::Complete, cx);
        }
        self.text_line(line, true, cx);
    }

    /// A reply to a command that was not seen.
    fn unasked(&mut self, head: Head<'_>, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let status = arrival(line, cx);
        if let Head::Err(text) = head {
            let text = text.to_ascii_lowercase();
            let says = |word: &[u8]| memchr::memmem::find(&text, word).is_some();
            if says(b"idle") || says(b"timeout") || says(b"timed out") || says(b"inactiv") || says(b"autologout") {
                (cx.session.shutdown, cx.session.shutdown_timeout) = (true, true);
            }
        }
        self.pending.note(status);
        if !self.is_unsure() {
            return;
        }
        match head {
            Head::Ok(text) if grammar::octets(text).is_some() => {
                let content = unknown_message(line, false, cx);
                self.begin(None, content, status, line.ending, cx);
                if let Some(Body { content: Content::Message(transaction), .. }) = &mut self.body {
                    transaction.declared_size = grammar::octets(text);
                }
            }
            Head::Ok(_) => self.doubt = Some(Doubt { entry: None, status, loose: line.ending == Ending::Lf }),
            Head::Err(_) | Head::Challenge(_) => {}
        }
    }

    /// A line that is no reply where one should be: the middle of a list or message whose start was lost.
    fn stray(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let front = self.pending.front().map(|w| &w.kind.ask);
        let body_lost = self.server_gap.is_some() && matches!(front, Some(Ask::Message | Ask::List));
        if !self.is_unsure() || (line.octets == b"." && !body_lost) {
            return;
        }
        let listed = grammar::is_listing(line.octets);
        let status = Arrival { octets: 0, end: line.start, ..arrival(line, cx) };
        let (entry, content) = match front {
            Some(Ask::Message) if body_lost => (self.pending.pop(), unknown_message(line, true, cx)),
            Some(Ask::List) if body_lost => (self.pending.pop(), Content::Other),
            _ if listed => (None, Content::Other),
            _ => (None, unknown_message(line, true, cx)),
        };
        let mut content = content;
        if let (Some(waiting), Content::Message(transaction)) = (&entry, &mut content) {
            transaction.began = waiting.command.began;
            transaction.verb = Some(waiting.command.verb);
            transaction.message_number = waiting.kind.number;
            transaction.incomplete = Incomplete::NONE;
            transaction.incomplete.add(Missing::ServerGap);
        }
        self.server_gap = None;
        self.begin(entry, content, status, line.ending, cx);
        self.first_line(line, cx);
    }

    /// Whether replies may lack their commands.
    fn is_unsure(&self) -> bool {
        !self.certain || !self.client_seen || self.server_gap.is_some() || self.armed_by_gap()
    }

    fn armed_by_gap(&self) -> bool {
        self.client_gap || self.pending.front().is_some_and(|w| w.kind.after_gap)
    }

    /// After a gap of the server: commands whose replies were in it are taken out of the queue.
    fn resynchronise(&mut self, head: Head<'_>, start: u64, cx: &mut EventContext<'_>) {
        let Some(gap) = self.server_gap.filter(|gap| start >= *gap) else { return };
        let outstanding = self.pending.len();
        let before = self.pending.iter().take_while(|w| w.kind.peer < gap).count();
        let sized = matches!(head, Head::Ok(text) if grammar::octets(text).is_some());
        let retrieval = self.pending.iter().position(|w| matches!(w.kind.ask, Ask::Message));
        let answered = match retrieval {
            // The client sent a command after it had what is lost here.
            _ if before < outstanding => before,
            Some(at) if sized => at,
            _ => 0,
        };
        self.drop_answered(answered, cx);
        if before < outstanding || self.pending.len() <= 1 {
            self.server_gap = None;
        }
    }

    /// The answers to the `count` oldest commands are lost.
    fn drop_answered(&mut self, count: usize, cx: &mut EventContext<'_>) {
        for _ in 0..count {
            if let Some(waiting) = self.pending.pop() {
                self.unmatched(waiting, Outcome::Unknown, cx);
            }
        }
    }
}

fn arrival(line: &Line<'_>, cx: &EventContext<'_>) -> Arrival {
    Arrival { first: line.began, last: cx.stamp, octets: line.wire, end: line.end() }
}

/// A greeting where none is due: the capture has its first octets, but not the handshake.
fn looks_like_greeting(head: Head<'_>) -> bool {
    let Head::Ok(text) = head else { return false };
    let lower = text.to_ascii_lowercase();
    let says = |word: &[u8]| memchr::memmem::find(&lower, word).is_some();
    says(b"pop") || says(b"ready") || (says(b"<") && says(b"@") && text.ends_with(b">"))
}

/// Whether `line` can be the first of a message: a field name and a colon.
fn is_header(line: &[u8]) -> bool {
    let name = line.iter().take_while(|o| o.is_ascii_graphic() && **o != b':').count();
    name > 0 && line.get(name) == Some(&b':')
}

/// What follows the `+OK` to this command.
fn content(waiting: Option<&Waiting<Entry>>, head: Head<'_>, cx: &mut EventContext<'_>) -> Content {
    let Some(Waiting { command, kind }) = waiting else { return Content::Other };
    match command.verb {
        Verb::Capa => Content::Capabilities(Lines::default()),
        Verb::List => Content::Sizes(Lines::default()),
        Verb::Retr | Verb::Top => {
            let mut transaction = cx.session.transaction(Kind::Retrieval, command.began);
            transaction.verb = Some(command.verb);
            transaction.message_number = kind.number;
            transaction.pipelined = command.pipelined;
            transaction.has_message = true;
            transaction.message.begin(cx.limits.hash, cx.limits.header);
            if let (Verb::Retr, Head::Ok(text)) = (command.verb, head) {
                transaction.declared_size = grammar::octets(text);
            }
            transaction.last.copy_from(&command.reply);
            Content::Message(transaction)
        }
        _ => Content::Other,
    }
}

/// A message whose command was not seen; `headless`: nor was its start.
fn unknown_message(line: &Line<'_>, headless: bool, cx: &mut EventContext<'_>) -> Content {
    let mut transaction: Box<Transaction> = cx.session.transaction(Kind::Retrieval, line.began);
    transaction.has_message = true;
    transaction.message.begin(cx.limits.hash, cx.limits.header);
    if headless {
        transaction.message.headless();
    }
    transaction.incomplete.add(Missing::StartMissing);
    Content::Message(transaction)
}

fn stls_answered(ok: bool, cx: &mut EventContext<'_>) {
    cx.session.tls_answered(ok);
    let mode = if ok { Mode::Opaque } else { Mode::Line };
    if ok {
        cx.session.tls.mode = Some(TlsMode::StartTls);
        cx.session.opaque = true;
        cx.switch(Dir::ToClient, mode);
    }
    cx.switch(Dir::ToServer, mode);
}

fn maildrop<'a>(cx: &'a mut EventContext<'_>) -> &'a mut Maildrop {
    cx.session.maildrop.get_or_insert_default()
}

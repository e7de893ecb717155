//! The server's side: completions by tag, continuations, untagged data with literals.

use super::fetch::{Fetch, Request};
use super::response;
use super::response::Response;
use super::{Flight, Imap, Task, Wait, append, command, count, has_tag, idle_over, lex};
use crate::engine::frame::{Line, Mode};
use crate::engine::pending::{Arrival, Waiting};
use crate::engine::session::state::{EventContext, Layer};
use crate::event::Dir;
use crate::event::Text;
use crate::event::{Idle, Kind, Missing, Outcome, Status, TlsMode};
use crate::event::{Untagged, Verb};
use crate::time::Timestamp;

/// What a logical line goes on with after a literal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    /// None is open.
    #[default]
    Nothing,
    /// A FETCH response.
    Fetch,
    /// Other untagged data.
    Data(Untagged),
    /// The rest of a status response.
    Status,
}

/// The server's side.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// Its first line came.
    pub(super) opened: bool,
    open: Open,
    /// The current or last FETCH response.
    fetch: Option<Box<Fetch>>,
    /// Octets of the logical line so far.
    octets: u64,
    /// Octets of a literal are coming.
    moving: bool,
    /// The tag that the response names.
    correlator: Text,
}

impl Server {
    pub(super) fn shrink(&mut self) {
        if self.open != Open::Fetch {
            self.fetch = None;
        }
        self.correlator.shrink();
    }

    fn fetch(&mut self) -> &mut Fetch {
        self.fetch.get_or_insert_default()
    }

    /// Whether a literal is moving.
    pub(super) fn is_moving(&self) -> bool {
        self.moving
    }
}

impl Imap {
    pub(super) fn server_line(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let first = !std::mem::replace(&mut self.server.opened, true);
        match self.server.open {
            Open::Nothing => {}
            open => {
                self.server.octets = self.server.octets.saturating_add(line.wire);
                return self.piece(open, line.octets, cx);
            }
        }
        self.server.octets = line.wire;
        match response::parse(line.octets) {
            Response::Continuation(text) => self.continuation(text, cx),
            Response::Tagged(tag, status, text) => self.tagged(tag, status, text, line, cx),
            Response::Untagged(number, kind, text) => {
                if first && self.certain && number.is_none() {
                    self.greeting(kind, text, line, cx);
                } else {
                    self.untagged(number, kind, text, line, cx);
                }
            }
            Response::Other => {}
        }
    }

    pub(super) fn server_octets(&mut self, octets: &[u8], last: bool, cx: &mut EventContext<'_>) {
        self.server.octets = self.server.octets.saturating_add(octets.len() as u64);
        self.server.moving = !last;
        if self.server.open == Open::Fetch {
            self.server.fetch().octets(octets, last, cx);
        }
    }

    pub(super) fn server_lost(&mut self, octets: u64, last: bool, cx: &mut EventContext<'_>) {
        self.server.octets = self.server.octets.saturating_add(octets);
        self.server.moving = !last;
        if self.server.open == Open::Fetch {
            self.server.fetch().lost(octets, last, cx);
        }
    }

    /// The server's place in a line is lost.
    pub(super) fn server_gap(&mut self, cx: &mut EventContext<'_>) {
        self.server.opened = true;
        self.server_end(Outcome::Unknown, cx);
    }

    /// What is open of the server's line ends here.
    pub(super) fn server_end(&mut self, cut: Outcome, cx: &mut EventContext<'_>) {
        self.server.moving = false;
        if std::mem::take(&mut self.server.open) == Open::Fetch {
            self.server.fetch().end(Some(cut), cx);
        }
    }

    /// A piece of a logical line: up to a literal, or to its end.
    fn piece(&mut self, open: Open, text: &[u8], cx: &mut EventContext<'_>) {
        let header = lex::literal(text);
        if open == Open::Fetch {
            let request = self.request();
            let text = text.get(..header.map_or(text.len(), |h| h.start)).unwrap_or_default();
            let mailbox = self.selected.as_bytes();
            self.server.fetch().text(text, header.map(|h| h.octets), request, mailbox, cx);
        }
        if let Some(header) = header {
            self.server.open = open;
            self.server.moving = header.octets > 0;
            cx.switch(Dir::ToClient, Mode::Octets(header.octets));
            return;
        }
        self.server.open = Open::Nothing;
        match open {
            Open::Fetch => {
                self.server.fetch().end(None, cx);
                self.attribute(Untagged::Fetch, cx);
            }
            Open::Data(kind) => self.attribute(kind, cx),
            Open::Status | Open::Nothing => {}
        }
    }

    /// The command that the current FETCH response answers, as far as it is known.
    fn request(&self) -> Option<Request> {
        let fetch = self.server.fetch.as_deref()?;
        let holds = |waiting: &&Waiting<Flight>| match waiting.command.verb {
            Verb::Fetch => command::set_holds(waiting.command.args.as_bytes(), fetch.number),
            Verb::UidFetch => fetch.uid.is_none_or(|uid| command::set_holds(waiting.command.args.as_bytes(), uid)),
            _ => false,
        };
        let waiting = self.pending.iter().find(holds)?;
        let head = match &waiting.kind.task {
            Task::Fetch(asked, _) => asked.head,
            _ => None,
        };
        let command = &waiting.command;
        Some(Request { verb: command.verb, began: command.began, sent: command.sent, head })
    }

    fn greeting(&mut self, kind: Untagged, text: &[u8], line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(status) = response::status_of(kind).filter(|s| !matches!(s, Status::No | Status::Bad)) else {
            return self.untagged(None, kind, text, line, cx);
        };
        self.capabilities_of(text, cx);
        let session = &mut *cx.session;
        let cap = cx.limits.reply_text;
        let reply = &mut session.greeting.reply;
        reply.status = Some(status);
        response::texts(text, cap, &mut reply.response_code, &mut reply.text);
        session.greeting.delay = cx.context.peers.established.and_then(|at| line.began.since(at));
        session.refused |= status == Status::Bye;
        self.authenticated = status == Status::Preauth;
        self.pending.note(arrival(line, cx));
        cx.greeting();
        self.rest_of_status(text, cx);
    }

    /// A status response goes on after a literal only inside its response code.
    fn rest_of_status(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        if text.starts_with(b"[") && lex::response_code(text).0.is_none() && lex::literal(text).is_some() {
            self.piece(Open::Status, text, cx);
        }
    }

    fn capabilities_of(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        if let (Some(code), _) = lex::response_code(text) {
            let (name, list) = lex::word(code);
            if name.eq_ignore_ascii_case(b"CAPABILITY") {
                self.capabilities(list, cx);
            }
        }
    }

    fn capabilities(&mut self, list: &[u8], cx: &mut EventContext<'_>) {
        let session = &mut *cx.session;
        let under_tls = session.tls.mode.is_some();
        if session.tls_mode() == TlsMode::StartTls {
            self.login_disabled = list.split(|o| *o == b' ').any(|entry| entry.eq_ignore_ascii_case(b"LOGINDISABLED"));
            return;
        }
        session.capabilities.clear();
        let mut upper = Vec::new();
        let (mut tls, mut disabled) = (false, false);
        for entry in list.split(|o| *o == b' ').filter(|e| !e.is_empty()) {
            if session.capabilities.octets() + entry.len() > cx.limits.capabilities {
                session.incomplete.add(Missing::Truncated);
                break;
            }
            upper.clear();
            upper.extend_from_slice(entry);
            let keyword = entry.iter().position(|o| *o == b'=').unwrap_or(entry.len());
            if let Some(keyword) = upper.get_mut(..keyword) {
                keyword.make_ascii_uppercase();
            }
            tls |= upper == b"STARTTLS";
            disabled |= upper == b"LOGINDISABLED";
            session.capabilities.push(&upper);
        }
        self.login_disabled = disabled;
        if !under_tls && (!self.authenticated || session.tls.offered.is_none()) {
            // After a login no server offers it any more: that takes nothing back.
            session.tls.offered = Some(tls);
        }
    }

    fn continuation(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.iter_mut().find(|w| w.kind.wait != Wait::Nothing) else { return };
        match std::mem::replace(&mut waiting.kind.wait, Wait::Nothing) {
            Wait::Literal(octets) => self.literal_wanted(octets, cx),
            Wait::Challenge => {
                if let Task::Auth(exchange, _) = &mut waiting.kind.task {
                    exchange.challenge(text, &mut cx.session.secrets);
                    exchange.asked(cx.stamp.at);
                }
                self.response_wanted(cx);
            }
            Wait::Idle => {
                if let Task::Idle(since, _) = &mut waiting.kind.task {
                    *since = Some(cx.stamp.at);
                    cx.idle();
                }
            }
            Wait::Nothing => {}
        }
    }

    fn untagged(
        &mut self,
        number: Option<u64>,
        kind: Untagged,
        text: &[u8],
        line: &Line<'_>,
        cx: &mut EventContext<'_>,
    ) {
        self.server.correlator.clear();
        match kind {
            Untagged::Fetch | Untagged::UidFetch => {
                let (sequence, uid) = if kind == Untagged::UidFetch { (None, number) } else { (number, None) };
                self.server.fetch().begin(sequence.unwrap_or(0), uid, line.began);
                if number.is_some() {
                    return self.piece(Open::Fetch, text, cx);
                }
            }
            Untagged::Capability => self.capabilities(text, cx),
            Untagged::Ok | Untagged::No | Untagged::Bad | Untagged::Preauth => {
                self.capabilities_of(text, cx);
                self.told(text, cx);
                self.attribute(kind, cx);
                return self.rest_of_status(text, cx);
            }
            Untagged::Bye => {
                self.said_bye(text, cx);
                self.attribute(kind, cx);
                return self.rest_of_status(text, cx);
            }
            Untagged::Esearch => {
                if let Some(tag) = response::correlator(text) {
                    self.server.correlator.set(tag.get(..cx.limits.tag.min(tag.len())).unwrap_or_default());
                }
            }
            _ => {}
        }
        self.piece(Open::Data(kind), text, cx);
    }

    fn told(&mut self, text: &[u8], cx: &EventContext<'_>) {
        let (Some(code), _) = lex::response_code(text) else { return };
        for waiting in self.pending.iter_mut() {
            if let Task::Append(append) = &mut waiting.kind.task {
                return append.told(code, cx.limits.reply_text);
            }
        }
    }

    fn said_bye(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        self.bye = true;
        if self.pending.iter().any(|w| w.command.verb == Verb::Logout) {
            cx.session.quit_answered = true;
        } else if !cx.session.quit_answered {
            cx.session.shutdown = true;
            cx.session.shutdown_timeout |= response::is_timeout(text);
        }
    }

    /// Counts the response that just ended for the command that asked for it, or for none.
    fn attribute(&mut self, kind: Untagged, cx: &mut EventContext<'_>) {
        let Self { pending, server, .. } = self;
        let is_fetch = matches!(kind, Untagged::Fetch | Untagged::UidFetch);
        let (fetch, correlator) = (server.fetch.as_deref().filter(|_| is_fetch), server.correlator.get());
        if pending.iter().any(|w| matches!(w.kind.task, Task::Idle(Some(_), None))) {
            let idle = cx.session.idle.get_or_insert_with(Idle::default);
            idle.events = idle.events.saturating_add(1);
        }
        let number = fetch.map(|fetch| fetch.number).filter(|number| *number > 0);
        let uid = fetch.and_then(|fetch| fetch.uid);
        let mine = |w: &&mut Waiting<Flight>| {
            let args = w.command.args.as_bytes();
            let holds = |n: Option<u64>| n.is_none_or(|n| command::set_holds(args, n));
            match (correlator, w.command.verb) {
                (Some(tag), _) => tag == w.command.tag.as_bytes(),
                (None, verb) if !response::asks(verb, kind) => false,
                (None, Verb::UidFetch | Verb::UidStore) if is_fetch => holds(uid),
                (None, Verb::Fetch | Verb::Store) if is_fetch => holds(number),
                _ => true,
            }
        };
        let octets = server.octets;
        let Some(waiting) = pending.iter_mut().find(mine) else { return count(&mut cx.session.untagged, kind) };
        count(&mut waiting.command.untagged, kind);
        let [_, server_octets] = &mut waiting.command.octets;
        *server_octets = server_octets.saturating_add(octets);
        if let (Task::Fetch(_, bodies), Some(fetch)) = (&mut waiting.kind.task, fetch) {
            *bodies = bodies.saturating_add(fetch.bodies);
        }
    }

    fn tagged(&mut self, tag: &[u8], status: Status, text: &[u8], line: &Line<'_>, cx: &mut EventContext<'_>) {
        let kept = cx.limits.tag;
        let mut found = None;
        for (at, waiting) in self.pending.iter().enumerate() {
            if has_tag(&waiting.command, &waiting.kind, tag, kept) {
                found = Some(at);
                break;
            }
        }
        let Some(at) = found else { return };
        let last = at + 1 == self.pending.len();
        let Some(mut waiting) = self.pending.remove(at) else { return };
        let command = &mut waiting.command;
        let cap = cx.limits.reply_text;
        command.reply.status = Some(status);
        response::texts(text, cap, &mut command.reply.response_code, &mut command.reply.text);
        if !self.authenticated || status == Status::Ok {
            self.capabilities_of(text, cx);
        }
        let cut = last && self.client.reading;
        if cut {
            if command.verb == Verb::Login {
                waiting.kind.task = Task::Auth(self.login_cut(command.began, cx), false);
            } else {
                self.arguments_cut(&mut waiting, cx);
            }
            self.reading_refused(cx);
        }
        self.pending.answer(&mut waiting.command, arrival(line, cx));
        let after = !waiting.command.incomplete.has(Missing::ServerGap);
        self.complete(waiting, status, cx);
        if after {
            self.give_up(at, cx);
        }
        self.rest_of_status(text, cx);
    }

    /// A command is complete: what follows of it for the session.
    fn complete(&mut self, waiting: Waiting<Flight>, status: Status, cx: &mut EventContext<'_>) {
        let Waiting { mut command, kind: Flight { task, .. } } = waiting;
        let ok = status == Status::Ok;
        match task {
            Task::Auth(exchange, cancelled) => {
                let reply = &command.reply;
                let (code, text) = (reply.response_code.as_bytes(), reply.text.as_bytes());
                let outcome = response::auth_outcome(status, code, text, cancelled, self.login_disabled);
                self.authenticated |= ok;
                self.client.armed = !ok;
                let tls = cx.session.tls_mode();
                cx.auth(exchange.finish(outcome, reply.clone(), Some(cx.stamp.at), tls));
                self.exchange_over(cx);
            }
            Task::Idle(since, until) => {
                idle_over(since, until, cx);
                command.latency = None;
                command.service_latency = None;
            }
            Task::Append(append) => {
                super::client::name_of_append(&append, &mut command);
                append.finish(append::outcome(status), &command.reply, true, cx);
            }
            Task::Fetch(asked, bodies) => {
                if !ok && asked.body && bodies == 0 {
                    let mut transaction = cx.session.transaction(Kind::Retrieval, command.began);
                    transaction.verb = Some(command.verb);
                    transaction.mailbox.copy_from(&self.selected);
                    transaction.outcome = Outcome::Error;
                    cx.transaction(transaction);
                }
            }
            Task::Plain => {}
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
                self.resume(Mode::Line, cx);
            }
            Verb::Unauthenticate => {
                if ok {
                    self.selected.clear();
                    self.authenticated = false;
                    for dir in [Dir::ToServer, Dir::ToClient] {
                        cx.layers[dir] = Some(Layer::Plain);
                    }
                }
                self.resume(Mode::Line, cx);
            }
            Verb::Logout if ok => cx.session.quit_answered = true,
            _ => {}
        }
        cx.command(command);
    }

    fn start_tls(&mut self, ok: bool, cx: &mut EventContext<'_>) {
        cx.session.tls_answered(ok);
        if !ok {
            return self.resume(Mode::Line, cx);
        }
        self.client.awaiting = false;
        cx.session.tls.mode = Some(TlsMode::StartTls);
        cx.session.opaque = true;
        cx.switch(Dir::ToServer, Mode::Opaque);
        cx.switch(Dir::ToClient, Mode::Opaque);
    }

    /// After a gap, commands that were overtaken by a later one have lost their completions.
    fn give_up(&mut self, before: usize, cx: &mut EventContext<'_>) {
        let lost = |w: &Waiting<Flight>| w.command.incomplete.has(Missing::ServerGap);
        if before == 0 || self.pending.iter().take(before).all(|w| !lost(w)) {
            return;
        }
        let mut left = before;
        let mut at = 0;
        while left > 0 {
            left -= 1;
            if self.pending.iter().nth(at).is_some_and(lost) {
                if let Some(waiting) = self.pending.remove(at) {
                    self.abandon(waiting, Outcome::Unknown, cx);
                }
            } else {
                at += 1;
            }
        }
    }
}

fn arrival(line: &Line<'_>, cx: &EventContext<'_>) -> Arrival {
    let first: Timestamp = line.began;
    Arrival { first, last: cx.stamp, octets: line.wire, end: cx.offset }
}

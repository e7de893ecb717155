//! The greeting and untagged responses: what they tell of the session, and which command they belong to.

use super::complete::{arrival, is_selection};
use super::{CommandTask, Flight, Imap, command, count, lex, response};
use crate::engine::frame::Line;
use crate::engine::pending::Waiting;
use crate::engine::session::state::EventContext;
use crate::event::{Idle, Missing, Reply, Status, Text, TlsMode};
use crate::event::{Untagged, Verb};

impl Imap {
    pub(super) fn greeting(&mut self, kind: Untagged, text: &[u8], line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(status) = response::status_of(kind) else {
            return self.untagged(None, kind, text, line, cx);
        };
        self.capabilities_of(text, cx);
        let session = &mut *cx.session;
        let cap = cx.limits.reply_text;
        let reply = &mut session.greeting.reply;
        reply.status = Some(status);
        response::texts(text, cap, &mut reply.response_code, &mut reply.text);
        session.greeting.delay = cx.context.peers.established.and_then(|at| line.began.since(at));
        // RFC 9051 knows BYE only; some servers say NO, and close.
        session.refused |= matches!(status, Status::Bye | Status::No | Status::Bad);
        self.authenticated = status == Status::Preauth;
        if self.authenticated {
            let (_, said) = lex::response_code(text);
            response::names_in(said).into_iter().for_each(|name| session.secrets.proved(name));
        }
        self.pending.note(arrival(line, cx));
        cx.greeting();
        self.rest_of_status(text, cx);
    }

    pub(super) fn capabilities_of(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
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
            self.login_disabled =
                list.split(|o| lex::is_blank(*o)).any(|entry| entry.eq_ignore_ascii_case(b"LOGINDISABLED"));
            return;
        }
        session.capabilities.clear();
        let mut upper = Vec::new();
        let (mut tls, mut disabled) = (false, false);
        for entry in list.split(|o| lex::is_blank(*o)).filter(|e| !e.is_empty()) {
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
        if !under_tls {
            session.starttls_listed(tls);
        }
    }

    pub(super) fn untagged(
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
                    return self.begin_fetch(text, cx);
                }
            }
            Untagged::Capability => self.capabilities(text, cx),
            Untagged::Id => {
                if let Some(name) = command::software(text) {
                    cx.session.software.get_or_insert_default().server.set(&name);
                }
            }
            Untagged::Ok | Untagged::No | Untagged::Bad | Untagged::Preauth => {
                self.capabilities_of(text, cx);
                self.told(text, cx);
                self.selects(text);
                let is_alert = |code| lex::word(code).0.eq_ignore_ascii_case(b"ALERT");
                if kind != Untagged::Preauth
                    && (kind != Untagged::Ok || lex::response_code(text).0.is_some_and(is_alert))
                {
                    notice(kind, text, cx);
                }
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
        self.begin_data(kind, text, cx);
    }

    /// A mailbox was selected by a command that was not seen: which, is not known.
    fn selects(&mut self, text: &[u8]) {
        let (code, _) = lex::response_code(text);
        self.server.coded = code.is_some();
        let asked = |w: &Waiting<Flight>| matches!(w.command.verb, Verb::Select | Verb::Examine);
        if code.is_some_and(is_selection) && !self.pending.iter().any(asked) {
            self.selected.clear();
        }
    }

    fn told(&mut self, text: &[u8], cx: &EventContext<'_>) {
        let (Some(code), _) = lex::response_code(text) else { return };
        for waiting in self.pending.iter_mut() {
            if let CommandTask::Append(append) = &mut waiting.kind.task {
                return append.told(code, cx.limits.reply_text);
            }
        }
    }

    pub(super) fn said_bye(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        self.bye = true;
        if self.pending.iter().any(|w| w.command.verb == Verb::Logout) {
            cx.session.quit_answered = true;
        } else if !cx.session.quit_answered {
            let reason = notice(Untagged::Bye, text, cx);
            cx.close_reason(&reason);
            cx.session.shutdown = true;
            cx.session.shutdown_timeout |= response::is_timeout(text);
        }
    }

    /// Counts the response that just ended for the command that asked for it, or for none.
    pub(super) fn attribute(&mut self, kind: Untagged, cx: &mut EventContext<'_>) {
        let Self { pending, server, idles, .. } = self;
        let is_fetch = matches!(kind, Untagged::Fetch | Untagged::UidFetch);
        let (fetch, correlator) = (server.fetch.as_deref().filter(|_| is_fetch), server.correlator.get());
        if *idles && pending.iter().any(|w| matches!(w.kind.task, CommandTask::Idle(Some(_), None))) {
            let idle = cx.session.idle.get_or_insert_with(Idle::default);
            // Dovecot says `* OK Still here` every two minutes; a response code has something to say.
            let kept_alive = kind == Untagged::Ok && !server.coded;
            let counted = if kept_alive { &mut idle.keepalives } else { &mut idle.events };
            *counted = counted.saturating_add(1);
        }
        let number = fetch.map(|fetch| fetch.number).filter(|number| *number > 0);
        let uid = fetch.and_then(|fetch| fetch.uid);
        let mine = |w: &&mut Waiting<Flight>| {
            let holds = |n: Option<u64>| n.is_none_or(|n| w.kind.set.may_hold(n));
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
        if let (CommandTask::Fetch(_, bodies), Some(fetch)) = (&mut waiting.kind.task, fetch) {
            *bodies = bodies.saturating_add(fetch.bodies);
        }
    }
}

/// Keeps a status response that answers no command; its text.
fn notice(kind: Untagged, text: &[u8], cx: &mut EventContext<'_>) -> Text {
    let mut reply = Reply { status: response::status_of(kind), ..Reply::default() };
    response::texts(text, cx.limits.reply_text, &mut reply.response_code, &mut reply.text);
    cx.notice(&reply);
    reply.text
}

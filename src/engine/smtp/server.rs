//! The server's side: each reply answers the oldest that waits, and makes the envelope.

use memchr::memmem;

use super::command::begins_with_command;
use super::delivery;
use super::delivery::Delivery;
use super::reply;
use super::{Kind, Lost, Smtp, Want};
use crate::engine::frame::{Line, Mode};
use crate::engine::pending::Arrival;
use crate::engine::session::state::EventContext;
use crate::event::{AuthOutcome, Command, Outcome, Reply, Stage, Status, TlsMode};
use crate::event::{Dir, Verb};

impl Smtp {
    pub(super) fn server(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let helo = self.pending.front().is_some_and(|w| matches!(w.command.verb, Verb::Ehlo | Verb::Lhlo));
        let cap = if helo { cx.limits.capabilities } else { cx.limits.reply_text };
        let Some(arrival) = self.replies.line(line, cx.stamp, cx.offset, cap) else { return };
        let Some(lost) = self.lost else { return self.reply(arrival, cx) };
        self.lost = None;
        self.deferred = Some((arrival, lost));
        let held = cx.held;
        let ends = held.starts_with(b".\r\n") || memmem::find(held, b"\r\n.\r\n").is_some();
        let body = match lost {
            Lost::Body => ends,
            Lost::Command => ends && !begins_with_command(held),
        };
        if body && self.moving.is_none() {
            self.headless(cx);
        }
        cx.switch(Dir::ToServer, if body { Mode::Dot } else { Mode::Line });
    }

    pub(super) fn code(&self) -> u16 {
        self.replies.reply.status.and_then(Status::code).unwrap_or(0)
    }

    pub(super) fn reply(&mut self, arrival: Arrival, cx: &mut EventContext<'_>) {
        let code = self.code();
        if self.unmatched {
            self.rematch(code, arrival, cx);
        }
        if code == 421 {
            cx.session.shutdown = !cx.session.quit_answered;
            cx.session.shutdown_timeout |= reply::is_timeout(&self.replies.reply);
        }
        if self.is_early(code) {
            let number = self.moving;
            self.answered_early = true;
            self.finals(number, arrival, cx);
            return;
        }
        let Some(waiting) = self.pending.front() else {
            self.pending.note(arrival);
            return self.shut(code, cx);
        };
        match waiting.kind.want {
            Want::Greeting => self.greeting(code, arrival, cx),
            Want::Eod { .. } => self.final_reply(code, arrival, cx),
            Want::Xexch50(octets) if code == 354 => {
                if let Some(waiting) = self.pending.front_mut() {
                    waiting.kind.want = Want::Command;
                }
                self.pending.note(arrival);
                cx.switch(Dir::ToServer, Mode::Octets(octets));
            }
            Want::Command
                if self.exchange.is_some()
                    && matches!(waiting.command.verb, Verb::Auth | Verb::XExps)
                    && code == 334 =>
            {
                if let Some(exchange) = &mut self.exchange {
                    exchange.challenge(self.replies.reply.text.as_bytes(), &mut cx.session.secrets);
                    exchange.asked(arrival.last.at);
                }
                self.pending.note(arrival);
                self.sasl_turn = true;
                cx.switch(Dir::ToServer, Mode::Line);
            }
            Want::Chunk { last: true } if self.is_per_recipient(waiting.kind.tx) && code != 421 => {
                self.final_reply(code, arrival, cx);
            }
            want => self.answer(want, code, arrival, cx),
        }
    }

    /// A reply while the message is still moving, to nothing but the message.
    pub(super) fn is_early(&self, code: u16) -> bool {
        let moving = self.moving.and_then(|number| self.deliveries.iter().find(|d| d.tx.number == number));
        let in_data = moving.is_some_and(|d| d.go.is_some() && d.eod.is_none());
        in_data && self.pending.is_empty() && !self.answered_early && code >= 200
    }

    pub(super) fn is_per_recipient(&self, number: Option<u32>) -> bool {
        let delivery = number.and_then(|number| self.deliveries.iter().find(|d| d.tx.number == number));
        self.is_lmtp && delivery.is_some_and(|d| d.accepted > 0)
    }

    pub(super) fn greeting(&mut self, code: u16, arrival: Arrival, cx: &mut EventContext<'_>) {
        if let Some(waiting) = self.pending.pop() {
            cx.session.recycle_command(waiting.command);
        }
        self.pending.note(arrival);
        if cx.session.greeted {
            return;
        }
        cx.count_reply(self.replies.reply.status);
        std::mem::swap(&mut cx.session.greeting.reply, &mut self.replies.reply);
        cx.session.greeting.delay = cx.context.peers.established.and_then(|at| arrival.first.since(at));
        cx.session.refused = code >= 400;
        cx.greeting();
    }

    /// The reply of the oldest command.
    pub(super) fn answer(&mut self, want: Want, code: u16, arrival: Arrival, cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.pop() else { return };
        let (mut command, kind) = (waiting.command, waiting.kind);
        self.pending.answer(&mut command, arrival);
        std::mem::swap(&mut command.reply, &mut self.replies.reply);
        let yes = code < 400;
        match (want, command.verb) {
            (Want::Rcpt(index), _) => {
                let delivery = kind.tx.and_then(|number| self.delivery(number));
                if let Some(delivery) = delivery {
                    delivery.recipient_reply(index, code, &command.reply, command.latency);
                }
            }
            (Want::Chunk { last }, _) => self.chunk_reply(last, code, &command.reply, kind, arrival, cx),
            (_, Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml) => self.mail_reply(code, &command.reply, kind),
            (_, Verb::Data) => self.data_reply(code, &command, kind, arrival, cx),
            (_, Verb::Ehlo | Verb::Helo | Verb::Lhlo) => self.helo_reply(yes, &command, cx),
            (_, Verb::Rset) if yes => self.abort(),
            (_, Verb::Quit) => {
                cx.session.quit_answered = code != 421;
                self.abort();
            }
            (_, Verb::Auth | Verb::XExps) => self.auth_reply(code, &command.reply, arrival, cx),
            (_, Verb::StartTls | Verb::XAnonymousTls) => {
                cx.session.tls_answered(code == 220);
                if code == 220 {
                    self.abort();
                    self.encrypt(cx);
                } else {
                    cx.switch(Dir::ToServer, Mode::Line);
                }
            }
            (_, Verb::Xclient) => {
                if code == 220 {
                    self.abort();
                }
                cx.switch(Dir::ToServer, Mode::Line);
            }
            (_, Verb::Turn | Verb::Atrn) => {
                cx.switch(Dir::ToServer, Mode::Line);
                if code == 250 {
                    self.abort();
                    let unasked = cx.session.unasked(cx.stamp.at);
                    self.pending.push(unasked, Kind { want: Want::Greeting, tx: None, end: 0 });
                    cx.turn = true;
                }
            }
            (Want::Doubtful(size), _) => {
                // What was sent behind it are commands if they look so, or if the client waited for the refusal.
                let counts = yes || !(cx.held.is_empty() || begins_with_command(cx.held));
                cx.switch(Dir::ToServer, if counts { Mode::Octets(size) } else { Mode::Line });
            }
            (_, Verb::Xexch50) => cx.switch(Dir::ToServer, Mode::Line),
            _ => {}
        }
        cx.command(command);
        if !matches!(want, Want::Chunk { last: true }) {
            self.shut(code, cx);
        }
    }

    pub(super) fn mail_reply(&mut self, code: u16, reply: &Reply, kind: Kind) {
        let Some(number) = kind.tx else { return };
        // `kind.tx` is the delivery that this MAIL opened.
        let Some(delivery) = self.delivery(number) else { return };
        delivery.mail = Some(code);
        if code < 400 {
            if let Some(older) = self.current.replace(number).filter(|older| *older != number) {
                self.end(older, Outcome::Aborted);
            }
            return;
        }
        delivery.tx.outcome = delivery::refused(code < 500);
        delivery.tx.stage = Some(Stage::Mail);
        delivery.tx.last.copy_from(reply);
        if self.sending == Some(number) {
            self.sending = self.current;
        }
        self.emit(number);
    }

    pub(super) fn data_reply(
        &mut self,
        code: u16,
        command: &Command,
        kind: Kind,
        arrival: Arrival,
        cx: &mut EventContext<'_>,
    ) {
        let number = kind.tx.filter(|n| self.deliveries.iter().any(|d| d.tx.number == *n)).or(self.current);
        if code == 354 {
            self.moving = number;
            if let Some(delivery) = number.and_then(|number| self.delivery(number)) {
                delivery.data_refused = None;
                delivery.tx.timing.data_go = command.latency;
                delivery.go = Some(arrival.last.at);
            }
            return self.go(cx);
        }
        cx.switch(Dir::ToServer, Mode::Line);
        let Some(delivery) = number.and_then(|number| self.delivery(number)) else { return };
        delivery.data_refused = Some(code);
        if delivery.accepted > 0 {
            delivery.tx.last.copy_from(&command.reply);
        }
    }

    /// The message follows as dot-stuffed text.
    pub(super) fn go(&mut self, cx: &mut EventContext<'_>) {
        self.moving = self.moving.or(self.sending);
        let limits = cx.limits;
        let at = cx.stamp.at;
        if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
            delivery.data(Verb::Data, limits);
            delivery.go.get_or_insert(at);
        }
        cx.switch(Dir::ToServer, Mode::Dot);
    }

    pub(super) fn chunk_reply(
        &mut self,
        last: bool,
        code: u16,
        reply: &Reply,
        kind: Kind,
        arrival: Arrival,
        cx: &mut EventContext<'_>,
    ) {
        let Some(delivery) = kind.tx.and_then(|number| self.delivery(number)) else { return };
        if code >= 400 {
            delivery.chunk_refused.get_or_insert(code);
            delivery.tx.last.copy_from(reply);
        }
        if last {
            delivery.tx.last.copy_from(reply);
            let number = delivery.tx.number;
            self.complete(number, code, arrival, cx);
        }
    }

    pub(super) fn helo_reply(&mut self, yes: bool, command: &Command, cx: &mut EventContext<'_>) {
        if !yes {
            // Refused: the envelope stays as it was.
            self.sending = self.sending.or(self.current);
            return;
        }
        self.abort();
        if command.args.is_present() {
            cx.session.helo.copy_from(&command.args);
        }
        if cx.session.tls_mode() == TlsMode::StartTls {
            return;
        }
        let capabilities = &mut cx.session.capabilities;
        capabilities.clear();
        let mut starttls = false;
        for line in reply::lines(command.reply.text.as_bytes()).skip(1) {
            if command.verb == Verb::Helo
                || line.is_empty()
                || capabilities.octets() + line.len() > cx.limits.capabilities
            {
                break;
            }
            starttls |= line.eq_ignore_ascii_case(b"STARTTLS");
            let keyword = line.iter().position(|o| matches!(o, b' ' | b'=')).unwrap_or(line.len());
            capabilities.push_entry(line, keyword);
        }
        if command.verb != Verb::Helo && cx.session.tls.mode.is_none() {
            cx.session.tls.offered = Some(starttls);
        }
    }

    pub(super) fn auth_reply(&mut self, code: u16, reply: &Reply, arrival: Arrival, cx: &mut EventContext<'_>) {
        cx.switch(Dir::ToServer, Mode::Line);
        let Some(exchange) = self.exchange.take() else { return };
        let outcome = match code {
            ..=399 => AuthOutcome::Success,
            _ if self.cancelled => AuthOutcome::Cancelled,
            400..=499 => AuthOutcome::Temporary,
            500 | 502 | 504 => AuthOutcome::RejectedMechanism,
            530 | 538 => AuthOutcome::NeedsTls,
            _ => AuthOutcome::Failed,
        };
        self.armed = (outcome != AuthOutcome::Success).then_some(arrival.end);
        let auth = exchange.finish(outcome, reply.clone(), Some(arrival.last.at), cx.session.tls_mode());
        cx.auth(auth);
    }

    /// The reply to a message that was sent to its end, or one of several such replies.
    pub(super) fn final_reply(&mut self, code: u16, arrival: Arrival, cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.front_mut() else { return };
        let number = waiting.kind.tx;
        let at = arrival.last.at;
        let per_recipient = match &mut waiting.kind.want {
            Want::Eod { prdr } if code == 353 && !*prdr => {
                *prdr = true;
                return self.pending.note(arrival);
            }
            Want::Eod { prdr } => *prdr,
            _ => false,
        };
        let lmtp = self.is_lmtp;
        let delivery = number.and_then(|number| self.deliveries.iter_mut().find(|d| d.tx.number == number));
        if let Some(delivery) = delivery
            && delivery.accepted > 0
            && (lmtp || per_recipient)
            && code != 421
        {
            let before: u32 = delivery.finals.iter().sum();
            if before < delivery.accepted {
                let last = delivery.recipient_final(code, &self.replies.reply, at);
                if !last || !lmtp {
                    return self.pending.note(arrival);
                }
            }
        }
        if self.pending.front().is_some_and(|w| matches!(w.kind.want, Want::Chunk { .. })) {
            return self.answer(Want::Chunk { last: true }, code, arrival, cx);
        }
        if let Some(waiting) = self.pending.pop() {
            cx.session.recycle_command(waiting.command);
        }
        self.finals(number, arrival, cx);
    }

    /// The reply that ends delivery `number`.
    pub(super) fn finals(&mut self, number: Option<u32>, arrival: Arrival, cx: &mut EventContext<'_>) {
        let code = self.code();
        self.pending.note(arrival);
        cx.count_reply(self.replies.reply.status);
        let Some(number) = number else { return self.shut(code, cx) };
        let early = self.answered_early;
        let reply = std::mem::take(&mut self.replies.reply);
        if let Some(delivery) = self.delivery(number) {
            delivery.tx.last.copy_from(&reply);
        }
        self.replies.reply = reply;
        if early && let Some(delivery) = self.delivery(number) {
            delivery.tx.message.finish(false);
        }
        self.complete(number, code, arrival, cx);
    }

    pub(super) fn complete(&mut self, number: u32, code: u16, arrival: Arrival, cx: &mut EventContext<'_>) {
        let early = self.answered_early;
        if let Some(delivery) = self.delivery(number) {
            delivery.answered(code);
            if early {
                delivery.tx.stage = Some(Stage::DataEarly);
            }
            delivery.tx.timing.reply = delivery.eod.and_then(|eod| arrival.last.at.since(eod));
            if code < 400 {
                let tx = &mut *delivery.tx;
                if let Some(id) = reply::queue_id(tx.last.text.as_bytes()) {
                    tx.queue_id.set(id);
                }
            }
        }
        if self.current == Some(number) {
            self.current = None;
        }
        if self.sending == Some(number) {
            self.sending = None;
        }
        self.emit(number);
        self.shut(code, cx);
    }

    /// 421: what is open is over (RFC 5321 section 3.8).
    pub(super) fn shut(&mut self, code: u16, cx: &mut EventContext<'_>) {
        if code != 421 {
            return;
        }
        let outcome = if cx.session.shutdown_timeout { Outcome::TimedOut } else { Outcome::ServerClosed };
        let open: Vec<u32> = self.deliveries.iter().filter(|d| d.mail.is_some()).map(|d| d.tx.number).collect();
        for number in open {
            let Some(delivery) = self.delivery(number) else { continue };
            delivery.ended(outcome);
            delivery.tx.outcome = outcome;
            if delivery.eod.is_none() && delivery.tx.has_message {
                delivery.tx.message.finish(false);
            }
            self.emit(number);
        }
        self.current = None;
        self.sending = None;
    }

    /// RSET, EHLO, STARTTLS, XCLIENT or QUIT was answered: the delivery in progress is over.
    pub(super) fn abort(&mut self) {
        if let Some(number) = self.current.take() {
            self.end(number, Outcome::Aborted);
        }
    }

    pub(super) fn end(&mut self, number: u32, outcome: Outcome) {
        if let Some(delivery) = self.delivery(number) {
            delivery.ended(outcome);
            delivery.tx.probe = delivery.is_probe();
            if delivery.eod.is_none() && delivery.tx.has_message {
                delivery.tx.message.finish(false);
            }
        }
        if self.sending == Some(number) {
            self.sending = None;
        }
        self.emit(number);
    }

    pub(super) fn emit(&mut self, number: u32) {
        let at = self.deliveries.iter().position(|d| d.tx.number == number);
        if let Some(delivery) = at.and_then(|at| self.deliveries.remove(at)) {
            self.over.push(delivery);
        }
    }

    pub(super) fn encrypt(&mut self, cx: &mut EventContext<'_>) {
        cx.session.tls.requested = Some(true);
        cx.session.tls.accepted = Some(true);
        cx.session.tls.mode = Some(TlsMode::StartTls);
        cx.session.opaque = true;
        cx.switch(Dir::ToServer, Mode::Opaque);
        cx.switch(Dir::ToClient, Mode::Opaque);
    }

    pub(super) fn delivery(&mut self, number: u32) -> Option<&mut Delivery> {
        self.deliveries.iter_mut().find(|d| d.tx.number == number)
    }
}

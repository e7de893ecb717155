//! The server's side: each reply answers the oldest that waits, and makes the envelope.

use super::command::begins_with_command;
use super::delivery::{self, Delivery};
use super::evidence::Answers;
use super::reply;
use super::{CommandFacts, Smtp, Want};
use crate::engine::Limits;
use crate::engine::frame::{FramingMode, Line};
use crate::engine::pending::{ReplyArrival, Waiting};
use crate::engine::session::state::EventContext;
use crate::event::{AuthOutcome, Command, Missing, Reply, Stage, Status, TlsMode, TransactionOutcome};
use crate::event::{Dir, Verb};

impl Smtp {
    pub(super) fn server(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let helo = self.pending.front().is_some_and(|w| matches!(w.command.verb, Verb::Ehlo | Verb::Lhlo));
        let cap = if helo { cx.limits.capabilities } else { cx.limits.reply_text };
        let Some(arrival) = self.replies.line(line, cx.stamp, cx.offset, cap) else { return };
        self.heard = true;
        if !self.end_hold(arrival, cx) {
            self.reply(arrival, cx);
        }
    }

    pub(super) fn code(&self) -> u16 {
        self.replies.reply.status.and_then(Status::code).unwrap_or(0)
    }

    /// A reply is complete: finds out what it answers, and takes it so.
    pub(super) fn reply(&mut self, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        let code = self.code();
        if code == 421 {
            cx.session.shutdown = !cx.session.quit_answered;
            cx.session.shutdown_timeout |= reply::is_timeout(&self.replies.reply);
            cx.close_reason(&self.replies.reply.text);
        }
        if code == 334 && self.exchange.is_none() {
            // AUTH LOGIN asks for the name first, which is no secret (draft-murchison-sasl-login).
            self.name_asked = self.replies.reply.text.as_bytes().eq_ignore_ascii_case(b"VXNlcm5hbWU6");
            if !self.name_asked {
                cx.session.secrets.learn(self.replies.reply.text.as_bytes());
            }
            self.stray_challenge = true;
        }
        match self.answers(code, arrival) {
            Answers::Command(id) => {
                if self.evidence.in_doubt() || self.pending.front().is_some_and(|front| front.kind.id != id) {
                    self.settle(Some(id), cx);
                }
                self.take(arrival, cx);
                if self.evidence.in_doubt() {
                    self.weigh();
                }
            }
            Answers::Undecided if code != 421 => self.wait_and_see(arrival, cx),
            Answers::Nothing if self.is_early(code) => {
                let number = self.moving;
                self.answered_early = true;
                self.finals(number, arrival, cx);
            }
            Answers::Nothing | Answers::Undecided => {
                self.pending.note(arrival);
                if code == 421 {
                    cx.notice(&self.replies.reply);
                }
                self.shut(code, cx);
            }
        }
    }

    /// The reply just assembled answers the oldest of what waits.
    pub(super) fn take(&mut self, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.front() else { return };
        let code = self.code();
        match waiting.kind.want {
            Want::Greeting => self.greeting(code, arrival, cx),
            Want::Unseen => self.unseen_reply(code, arrival, cx),
            Want::Dropped(count) => self.dropped_reply(count, arrival, cx),
            Want::Eod { .. } => self.final_reply(code, arrival, cx),
            Want::Xexch50(octets) if code == 354 => {
                if let Some(waiting) = self.pending.front_mut() {
                    waiting.kind.want = Want::Command;
                }
                self.pending.note(arrival);
                cx.switch(Dir::ToServer, FramingMode::Octets(octets));
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
                cx.switch(Dir::ToServer, FramingMode::Line);
            }
            Want::Chunk { last: true } if self.is_per_recipient(waiting.kind.tx) && code != 421 => {
                self.final_reply(code, arrival, cx);
            }
            want => self.answer(want, code, arrival, cx),
        }
    }

    /// A reply to one of `count` commands that were not kept.
    fn dropped_reply(&mut self, count: u32, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        self.pending.note(arrival);
        cx.count_reply(self.replies.reply.status);
        match self.pending.front_mut().filter(|_| count > 1) {
            Some(front) => front.kind.want = Want::Dropped(count - 1),
            None => {
                if let Some(waiting) = self.pending.pop() {
                    cx.session.recycle_command(waiting.command);
                }
            }
        }
    }

    /// A reply while the message is still moving, to nothing but the message.
    pub(super) fn is_early(&self, code: u16) -> bool {
        let moving = self.moving.and_then(|number| self.find(number));
        let in_data = moving.is_some_and(|d| d.go.is_some() && d.eod.is_none());
        in_data && !self.answered_early && code >= 200
    }

    pub(super) fn is_per_recipient(&self, number: Option<u32>) -> bool {
        let delivery = number.and_then(|number| self.find(number));
        (self.is_lmtp || self.may_be_lmtp()) && delivery.is_some_and(|d| d.accepted > 0 || d.recipients_unsure)
    }

    /// Whether it was not seen which of the two protocols is spoken: SMTP has one reply to a message, LMTP one for each
    /// recipient.
    fn may_be_lmtp(&self) -> bool {
        self.lossy && !self.greeted && !self.is_lmtp
    }

    /// Whether `waiting` is a message of which some recipients have their final reply.
    pub(super) fn has_finals(&self, waiting: &Waiting<CommandFacts>) -> bool {
        let delivery = waiting.kind.tx.and_then(|number| self.find(number));
        matches!(waiting.kind.want, Want::Eod { .. } | Want::Chunk { last: true })
            && delivery.is_some_and(|d| d.finals.iter().sum::<u32>() > 0)
    }

    pub(super) fn greeting(&mut self, code: u16, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
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
    pub(super) fn answer(&mut self, want: Want, code: u16, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.pop() else { return };
        let (mut command, kind) = (waiting.command, waiting.kind);
        self.pending.answer(&mut command, arrival);
        std::mem::swap(&mut command.reply, &mut self.replies.reply);
        let yes = code < 400;
        match (want, command.verb) {
            (Want::Rcpt(index), _) => {
                let delivery = kind.tx.and_then(|number| self.delivery(number));
                if let Some(delivery) = delivery {
                    delivery.recipient_reply(index, code, &command.reply, command.latency, cx.limits);
                    if code < 300 && self.current.is_none() {
                        // The reply to its MAIL was not seen, but must have been yes.
                        self.current = kind.tx;
                    }
                }
            }
            (Want::Chunk { last }, _) => self.chunk_reply(last, code, &command.reply, kind, arrival, cx),
            (_, Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml) => {
                self.mail_reply(code, &command.reply, kind, cx);
            }
            (_, Verb::Data) => self.data_reply(code, &command, kind, arrival, cx),
            (_, Verb::Ehlo | Verb::Helo | Verb::Lhlo) => self.helo_reply(yes, &command, &kind, cx),
            (_, Verb::Rset) if yes => self.abort_at(&kind),
            (_, Verb::Quit) => {
                cx.session.quit_answered = code != 421;
                self.abort_at(&kind);
            }
            (_, Verb::Auth | Verb::XExps) => self.auth_reply(code, &command.reply, arrival, cx),
            (_, Verb::StartTls | Verb::XAnonymousTls) => {
                cx.session.tls_answered(code == 220);
                if code == 220 {
                    self.abort();
                    self.encrypt(cx);
                } else {
                    cx.switch(Dir::ToServer, FramingMode::Line);
                }
            }
            (_, Verb::Xclient) => {
                if code == 220 {
                    self.abort();
                }
                cx.switch(Dir::ToServer, FramingMode::Line);
            }
            (_, Verb::Turn | Verb::Atrn) => {
                cx.switch(Dir::ToServer, FramingMode::Line);
                if code == 250 {
                    self.abort();
                    let unasked = cx.session.unasked(cx.stamp.at);
                    let id = self.evidence.next_id();
                    let kind = CommandFacts { want: Want::Greeting, tx: None, end: 0, from: 0, id, over: None };
                    self.pending.push(unasked, kind);
                    cx.turn = true;
                }
            }
            (Want::Doubtful(size), _) => {
                // What was sent behind it are commands if they look so, or if the client waited for the refusal.
                let counts = yes || !(cx.held.is_empty() || begins_with_command(cx.held));
                cx.switch(Dir::ToServer, if counts { FramingMode::Octets(size) } else { FramingMode::Line });
            }
            (_, Verb::Xexch50) => cx.switch(Dir::ToServer, FramingMode::Line),
            _ => {}
        }
        cx.command(command);
        if !matches!(want, Want::Chunk { last: true }) {
            self.shut(code, cx);
        }
    }

    pub(super) fn mail_reply(&mut self, code: u16, reply: &Reply, kind: CommandFacts, cx: &mut EventContext<'_>) {
        let Some(number) = kind.tx else { return };
        // `kind.tx` is the delivery that this MAIL opened.
        let Some(delivery) = self.delivery(number) else { return };
        delivery.mail = Some(code);
        if code < 400 {
            if let Some(older) = self.current.replace(number).filter(|older| *older != number) {
                self.end(older, TransactionOutcome::Aborted);
            }
            return;
        }
        delivery.tx.outcome = delivery::refused(code < 500);
        delivery.tx.stage = Some(Stage::Mail);
        delivery.tx.last.copy_from(reply);
        match self.current.or_else(|| self.envelope_before(number, code)) {
            Some(open) => self.hand_over(number, open, cx.limits),
            // It was sent into a transaction of which nothing was seen.
            None if code == 503 && self.lossy => self.unseen_before(number, cx),
            None => self.emit(number),
        }
    }

    /// The delivery that the refused MAIL of `number` was sent into, if its own MAIL, or the reply to that, passed unseen.
    fn envelope_before(&mut self, number: u32, code: u16) -> Option<u32> {
        if code != 503 {
            return None;
        }
        let before = self.deliveries.iter().rev().find(|d| d.tx.number < number)?;
        let open = before.mail.is_none() && before.is_lossy() && before.eod.is_none() && !before.end_unseen;
        self.current = open.then_some(before.tx.number);
        self.current
    }

    /// MAIL of delivery `number` was refused while delivery `open` was open at the server: what the client sent behind
    /// it belongs to that one (RFC 5321 section 4.1.4).
    pub(super) fn hand_over(&mut self, number: u32, open: u32, limits: &Limits) {
        let at = self.deliveries.binary_search_by_key(&number, |d| d.tx.number).ok();
        let Some(mut refused) = at.and_then(|at| self.deliveries.remove(at)) else { return };
        let (mut first, mut kept) = (0, open);
        if let Some(delivery) = self.delivery(open) {
            first = delivery.tx.recipients.len();
            delivery.append(&mut refused, limits);
            kept = delivery.tx.number;
        }
        for waiting in self.pending.iter_mut() {
            let kind = &mut waiting.kind;
            if let (Want::Rcpt(Some(index)), true) = (&mut kind.want, kind.tx == Some(number)) {
                *index += first;
            }
            if kind.tx == Some(number) || kind.tx == Some(open) {
                kind.tx = Some(kept);
            }
        }
        for number in [&mut self.sending, &mut self.current, &mut self.moving] {
            if number.is_some_and(|n| n == refused.tx.number || n == kept) {
                *number = Some(kept);
            }
        }
        self.over.push(refused);
    }

    pub(super) fn data_reply(
        &mut self,
        code: u16,
        command: &Command,
        kind: CommandFacts,
        arrival: ReplyArrival,
        cx: &mut EventContext<'_>,
    ) {
        let number = kind.tx.filter(|number| self.find(*number).is_some()).or(self.current);
        if code == 354 {
            self.moving = number;
            self.current = self.current.or(number);
            if let Some(delivery) = number.and_then(|number| self.delivery(number)) {
                delivery.data_refused = None;
                // What was said of an earlier DATA is over.
                delivery.tx.last.clear();
                (delivery.guessed, delivery.presumed) = (false, false);
                delivery.tx.timing.data_go = command.latency;
                delivery.go = Some(arrival.last.at);
            }
            return self.go(cx);
        }
        cx.switch(Dir::ToServer, FramingMode::Line);
        let Some(delivery) = number.and_then(|number| self.delivery(number)) else { return };
        // Anything else is no refusal, though no 354 either.
        delivery.data_refused = (code >= 400).then_some(code);
        if delivery.accepted > 0 && code >= 400 {
            delivery.tx.last.copy_from(&command.reply);
        }
    }

    /// The message follows as dot-stuffed text.
    pub(super) fn go(&mut self, cx: &mut EventContext<'_>) {
        self.moving = self.moving.or(self.sending);
        let limits = cx.limits;
        let at = cx.stamp.at;
        let mut mode = FramingMode::DotLoose;
        if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
            delivery.data(Verb::Data, limits);
            delivery.go.get_or_insert(at);
            if delivery.ends_lf {
                // A server that took DATA LF for a command takes LF for a line end in the message too.
                mode = FramingMode::DotLf;
            }
        }
        cx.switch(Dir::ToServer, mode);
    }

    pub(super) fn chunk_reply(
        &mut self,
        last: bool,
        code: u16,
        reply: &Reply,
        kind: CommandFacts,
        arrival: ReplyArrival,
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

    pub(super) fn helo_reply(&mut self, yes: bool, command: &Command, kind: &CommandFacts, cx: &mut EventContext<'_>) {
        if !yes {
            self.asked_smtp = false;
            // Refused: the envelope stays as it was.
            self.ehlo_refused |= command.verb == Verb::Ehlo;
            self.sending = self.sending.or(self.current);
            return;
        }
        if command.verb != Verb::Lhlo {
            self.is_smtp(cx);
        }
        self.greeted = true;
        cx.session.ehlo_refused |= self.ehlo_refused && command.verb == Verb::Helo;
        self.abort_at(kind);
        if command.args.is_present() {
            cx.session.helo.copy_from(&command.args);
        }
        if cx.session.tls_mode() == TlsMode::StartTls {
            return;
        }
        // What is left of a reply whose beginning was lost.
        let partial = self.replies.is_rest();
        let capabilities = &mut cx.session.capabilities;
        capabilities.clear();
        if partial {
            return;
        }
        let mut starttls = false;
        let lines = reply::lines(command.reply.text.as_bytes()).enumerate();
        let coded = lines.filter(|(at, _)| self.replies.is_coded(*at)).map(|(_, line)| line);
        // The first is the server's name.
        for line in coded.skip(1) {
            let line = line.trim_ascii();
            if command.verb == Verb::Helo || capabilities.octets() + line.len() > cx.limits.capabilities {
                break;
            }
            if line.is_empty() {
                continue;
            }
            starttls |= line.eq_ignore_ascii_case(b"STARTTLS");
            let keyword = line.iter().position(|o| matches!(o, b' ' | b'=')).unwrap_or(line.len());
            capabilities.push_entry(line, keyword);
        }
        if command.verb != Verb::Helo && cx.session.tls.mode.is_none() {
            cx.session.starttls_listed(starttls);
        }
    }

    pub(super) fn auth_reply(&mut self, code: u16, reply: &Reply, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        cx.switch(Dir::ToServer, FramingMode::Line);
        let Some(exchange) = self.exchange.take() else { return };
        let outcome = match code {
            235 => AuthOutcome::Success,
            // No answer that RFC 4954 knows: nothing is known of it.
            ..=399 => AuthOutcome::Incomplete,
            _ if self.cancelled => AuthOutcome::Cancelled,
            400..=499 => AuthOutcome::Temporary,
            530 | 538 => AuthOutcome::NeedsTls,
            // The mechanism is too weak for this user, who may be unknown still (RFC 4954 section 6).
            534 => AuthOutcome::RejectedMechanism,
            501 if exchange.data() > 0 && !exchange.has_missed() && reply::cannot_decode(reply) => AuthOutcome::Failed,
            500..=504 if exchange.has_missed() => AuthOutcome::Incomplete,
            // For its mechanism, its syntax or the session's state: no credential was looked at (RFC 4954 section 4).
            500..=504 => AuthOutcome::RejectedMechanism,
            _ if exchange.data() == 0 => AuthOutcome::RejectedMechanism,
            _ => AuthOutcome::Failed,
        };
        self.armed = (outcome != AuthOutcome::Success).then_some(arrival.end);
        let auth = exchange.finish(outcome, reply.clone(), Some(arrival.last.at), cx.session.tls_mode());
        cx.auth(auth);
    }

    /// The reply to a message that was sent to its end, or one of several such replies.
    pub(super) fn final_reply(&mut self, code: u16, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
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
        let maybe = self.may_be_lmtp() && !per_recipient;
        let delivery = number.and_then(|number| self.deliveries.iter_mut().find(|d| d.tx.number == number));
        if let Some(delivery) = delivery
            && (lmtp || per_recipient || maybe)
            && code != 421
        {
            if maybe || delivery.recipients_unsure || delivery.finals_unsure {
                // Whose reply it is, and whether more will come, shows when the client sends on.
                if maybe {
                    delivery.tx.last.copy_from(&self.replies.reply);
                }
                if maybe && matches!(code, 500..=503) && delivery.tx.incomplete.has(Missing::StartMissing) {
                    // Commands that were read as a message.
                    delivery.finals_unsure = true;
                    delivery.tx.last.clear();
                }
                delivery.count_final(code);
                cx.count_reply(self.replies.reply.status);
                self.pending.note(arrival);
                return self.doubt_all(arrival.end);
            }
            let before: u32 = delivery.finals.iter().sum();
            if before < delivery.accepted {
                let last = delivery.recipient_final(code, &self.replies.reply, at, cx.limits);
                if !last || !lmtp {
                    if let Some(front) = self.pending.front_mut() {
                        // Some servers have one reply for all.
                        front.command.reply.copy_from(&self.replies.reply);
                    }
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
    pub(super) fn finals(&mut self, number: Option<u32>, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
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

    pub(super) fn complete(&mut self, number: u32, code: u16, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        let early = self.answered_early;
        let left = cx.session.client_left.is_some_and(|piece| piece < arrival.last.piece);
        if let Some(delivery) = self.delivery(number) {
            delivery.answered(code);
            delivery.tx.reply_undelivered =
                left && matches!(delivery.tx.outcome, TransactionOutcome::Accepted | TransactionOutcome::Partial);
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
        let outcome =
            if cx.session.shutdown_timeout { TransactionOutcome::TimedOut } else { TransactionOutcome::ServerClosed };
        let open: Vec<u32> = self
            .deliveries
            .iter()
            .filter(|d| d.mail.is_some() || d.is_lossy() && !d.came_to_nothing())
            .map(|d| d.tx.number)
            .collect();
        for number in open {
            let Some(delivery) = self.delivery(number) else { continue };
            delivery.ended(outcome);
            // It may have been refused, or its message answered, and that not seen.
            let unsure = delivery.mail.is_none() || delivery.is_lossy() && delivery.tx.has_message;
            delivery.tx.outcome = if unsure { TransactionOutcome::Unknown } else { outcome };
            if delivery.eod.is_none() && delivery.tx.has_message {
                delivery.tx.message.finish(false);
            }
            self.emit(number);
        }
        self.current = None;
        self.sending = None;
    }

    /// A command that ends deliveries was answered: the one in progress is over, and so is that which the client had in
    /// mind (the reply to its MAIL may have been lost).
    pub(super) fn abort_at(&mut self, kind: &CommandFacts) {
        self.abort();
        let waits = |d: &Delivery| d.eod.is_some() || d.end_unseen;
        if let Some(number) = kind.tx
            && self.delivery(number).is_some_and(|d| d.is_lossy() && !waits(d))
        {
            self.end(number, TransactionOutcome::Aborted);
        }
    }

    /// RSET, EHLO, STARTTLS, XCLIENT or QUIT was answered: the delivery in progress is over.
    pub(super) fn abort(&mut self) {
        if let Some(number) = self.current.take() {
            self.end(number, TransactionOutcome::Aborted);
        }
    }

    pub(super) fn end(&mut self, number: u32, outcome: TransactionOutcome) {
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
        let at = self.deliveries.binary_search_by_key(&number, |d| d.tx.number).ok();
        if let Some(delivery) = at.and_then(|at| self.deliveries.remove(at)) {
            self.over.push(delivery);
        }
    }

    pub(super) fn encrypt(&mut self, cx: &mut EventContext<'_>) {
        cx.session.tls.requested = Some(true);
        cx.session.tls.accepted = Some(true);
        cx.session.tls.mode = Some(TlsMode::StartTls);
        cx.session.opaque = true;
        cx.switch(Dir::ToServer, FramingMode::Opaque);
        cx.switch(Dir::ToClient, FramingMode::Opaque);
    }

    fn find(&self, number: u32) -> Option<&Delivery> {
        let at = self.deliveries.binary_search_by_key(&number, |d| d.tx.number).ok()?;
        self.deliveries.get(at)
    }

    /// The open delivery with that number; they are kept in its order.
    pub(super) fn delivery(&mut self, number: u32) -> Option<&mut Delivery> {
        let at = self.deliveries.binary_search_by_key(&number, |d| d.tx.number).ok()?;
        self.deliveries.get_mut(at)
    }
}

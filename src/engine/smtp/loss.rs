//! What was not seen: gaps, captures that begin in the middle, and commands that will never be answered.

use super::delivery::Delivery;
use super::hold::Hold;
use super::{CommandFacts, Smtp, Want};
use crate::engine::frame::{FramingMode, Line};
use crate::engine::pending::ReplyArrival;
use crate::engine::session::state::EventContext;
use crate::event::{AuthOutcome, Command, Missing, Reply, TransactionKind as Moved, TransactionOutcome};
use crate::event::{Dir, Verb};

impl Smtp {
    /// `lost` octets of `dir` are missing, beyond those that counted octets absorbed.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, cx: &mut EventContext<'_>) {
        if dir == Dir::ToClient {
            return self.server_gap(cx);
        }
        for delivery in &mut self.deliveries {
            delivery.tx.incomplete.add(Missing::ClientGap);
        }
        (self.held_from, self.held_stamp) = (cx.offset, cx.stamp);
        let moving = self.moving.and_then(|number| self.delivery(number));
        if let Some(delivery) = moving {
            delivery.tx.message.gap(lost);
            delivery.tx.message.gap_unknown();
            self.hold = Some(Hold::Message);
        } else {
            self.hold = Some(Hold::Commands);
            if self.sasl_turn
                && let Some(exchange) = &mut self.exchange
            {
                self.sasl_turn = false;
                exchange.missed();
                if let Some(waiting) = self.pending.back_mut() {
                    waiting.kind.end = cx.offset;
                }
            } else {
                self.sends_on(None, cx);
                if self.pending.front().is_some_and(|front| self.has_finals(front)) {
                    // It may have gone on without the replies that are left.
                    self.doubt_all(u64::MAX);
                }
                self.unseen(cx.offset, cx);
            }
        }
        cx.switch(Dir::ToServer, FramingMode::Await);
    }

    /// Replies may be lost: each command that waits may be one that was answered by them.
    fn server_gap(&mut self, cx: &mut EventContext<'_>) {
        self.replies.reset();
        self.server_gap = cx.offset;
        self.doubt_all(cx.offset);
        for delivery in &mut self.deliveries {
            delivery.tx.incomplete.add(Missing::ServerGap);
            delivery.finals_unsure |= delivery.eod.is_some() || delivery.end_unseen;
        }
    }

    /// Commands may have passed unseen, up to the client's stream offset `end`.
    pub(super) fn unseen(&mut self, end: u64, cx: &mut EventContext<'_>) {
        self.lossy = true;
        match self.sending.and_then(|number| self.delivery(number)) {
            Some(delivery) => {
                delivery.commands_unsure = true;
                delivery.recipients_unsure |= !delivery.data_sent;
            }
            None => self.unseen_envelope = true,
        }
        if let Some(back) = self.pending.back_mut().filter(|back| back.kind.want == Want::Unseen) {
            back.kind.end = end;
            back.kind.over = Some(u64::MAX);
        } else {
            let waiting = cx.session.unasked(cx.stamp.at);
            self.wait(waiting, Want::Unseen, self.sending, end, cx);
            if let Some(back) = self.pending.back_mut() {
                back.kind.over = Some(u64::MAX);
            }
        }
        self.weigh();
    }

    /// A reply to a command that was not seen.
    pub(super) fn unseen_reply(&mut self, code: u16, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        if let Some(front) = self.pending.front_mut() {
            front.kind.over = Some(arrival.end);
        }
        self.pending.note(arrival);
        cx.count_reply(self.replies.reply.status);
        match code {
            354 => self.unseen_data(arrival, cx),
            // The next line is a response of an attempt that began unseen.
            334 => self.sasl_turn = true,
            221 => (cx.session.quit_sent, cx.session.quit_answered) = (true, true),
            250 if self.is_mail_reply() => {
                if let Some(number) = self.current.take() {
                    self.end(number, TransactionOutcome::Unknown);
                }
                self.unseen_envelope = true;
            }
            _ => self.shut(code, cx),
        }
    }

    /// 354 to a DATA that was not seen: what follows is a message all the same.
    fn unseen_data(&mut self, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        let number = self.current.or(self.sending).or_else(|| self.envelope(cx));
        let (limits, at) = (cx.limits, arrival.last.at);
        self.moving = number;
        self.sending = number;
        if let Some(delivery) = number.and_then(|number| self.delivery(number)) {
            delivery.data_sent = true;
            delivery.data(Verb::Data, limits);
            delivery.go = Some(at);
        }
        self.current = number;
        self.drop_oldest(cx);
        cx.switch(Dir::ToServer, FramingMode::DotLoose);
    }

    /// The delivery that the client's commands belong to; one whose MAIL was not seen, if one may have passed.
    pub(super) fn envelope(&mut self, cx: &mut EventContext<'_>) -> Option<u32> {
        if self.sending.is_none() && std::mem::take(&mut self.unseen_envelope) {
            let mut tx = cx.session.transaction(Moved::Delivery, cx.stamp.at);
            tx.incomplete.add(Missing::StartMissing);
            let mut delivery = Delivery::new(tx);
            (delivery.recipients_unsure, delivery.commands_unsure) = (true, true);
            self.sending = Some(delivery.tx.number);
            self.deliveries.push_back(delivery);
        }
        self.sending
    }

    /// MAIL of delivery `number` was refused for being inside a transaction that was not seen: what the client sent behind
    /// it belongs to that one.
    pub(super) fn unseen_before(&mut self, number: u32, cx: &mut EventContext<'_>) {
        let Ok(at) = self.deliveries.binary_search_by_key(&number, |d| d.tx.number) else { return };
        let mut tx = cx.session.transaction(Moved::Delivery, cx.stamp.at);
        tx.incomplete.add(Missing::StartMissing);
        let mut unseen = Delivery::new(tx);
        (unseen.recipients_unsure, unseen.commands_unsure) = (true, true);
        let Some(mut refused) = self.deliveries.remove(at) else { return };
        unseen.tx.began = refused.tx.began;
        unseen.append(&mut refused, cx.limits);
        if unseen.tx.number != number {
            // The one that began earlier has the lower number, by which the commands know it. A message brought it along.
            std::mem::swap(&mut unseen.tx.number, &mut refused.tx.number);
        }
        self.current = Some(number);
        self.deliveries.insert(at, unseen);
        self.over.push(refused);
    }

    /// The client's next bytes are the middle of a message whose beginning was not seen.
    pub(super) fn headless(&mut self, cx: &mut EventContext<'_>) {
        if self.moving.is_some() {
            return;
        }
        self.unseen_envelope |= self.sending.is_none();
        let number = self.envelope(cx);
        self.moving = number;
        let limits = cx.limits;
        if let Some(delivery) = number.and_then(|number| self.delivery(number)) {
            delivery.data_sent = true;
            delivery.data(Verb::Data, limits);
            delivery.tx.message.headless();
        }
    }

    /// The rest of a line, or of a chunk, whose beginning was lost. It may be a response of an authentication.
    pub(super) fn skip(&self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        if super::command::is_base64(line.octets) {
            cx.session.secrets.learn(line.octets);
        }
    }

    /// The oldest of those that wait will not be answered.
    pub(super) fn drop_oldest(&mut self, cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.pop() else { return };
        let CommandFacts { want, tx, .. } = waiting.kind;
        if matches!(want, Want::Eod { .. } | Want::Chunk { last: true }) {
            self.lapse(tx);
        }
        if let Some(delivery) = tx.and_then(|number| self.delivery(number)) {
            delivery.commands_unsure = true;
            delivery.recipients_unsure |= matches!(want, Want::Rcpt(_));
        }
        let verb = waiting.command.verb;
        match (tx, self.current) {
            // A MAIL inside a transaction is refused (RFC 5321 section 4.1.4): so it was, most likely.
            (Some(number), Some(open)) if is_mail(verb) && number != open => {
                if let Some(delivery) = self.delivery(number) {
                    delivery.tx.stage = None;
                }
                self.hand_over(number, open, cx.limits);
            }
            (_, _) if matches!(verb, Verb::Auth | Verb::XExps) => self.auth_unanswered(cx),
            // Nothing refuses these to a client that goes on.
            (Some(_), _) if matches!(verb, Verb::Rset | Verb::Ehlo | Verb::Helo | Verb::Lhlo) => {
                self.abort_at(&waiting.kind);
            }
            _ => {}
        }
        Self::let_go(waiting.command, want, cx);
    }

    /// The outcome of the authentication was not seen. If it failed, credentials may follow as if they were commands.
    fn auth_unanswered(&mut self, cx: &mut EventContext<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        self.armed = Some(self.server_gap);
        let auth = exchange.finish(AuthOutcome::Incomplete, Reply::default(), None, cx.session.tls_mode());
        cx.auth(auth);
    }

    /// The same at the session's end: what was never answered may be told as such.
    pub(super) fn drop_at_end(&mut self, cx: &mut EventContext<'_>) {
        let finals = self.pending.front().is_some_and(|front| self.has_finals(front));
        let Some(waiting) = self.pending.pop() else { return };
        let CommandFacts { want, tx, .. } = waiting.kind;
        let verb = waiting.command.verb;
        let mut command = waiting.command;
        // More replies may have been about to come.
        command.reply.clear();
        Self::let_go(command, want, cx);
        if let (Want::Rcpt(_), Some(delivery)) = (want, tx.and_then(|number| self.delivery(number))) {
            // Not all were refused, as far as is known.
            delivery.recipients_unsure |= delivery.refused > 0;
        }
        if finals {
            if let Some(delivery) = tx.and_then(|number| self.delivery(number)) {
                delivery.finals_unsure = true;
            }
            return self.lapse(tx);
        }
        if matches!(want, Want::Eod { .. } | Want::Chunk { last: true }) && self.current == tx {
            // What was sent behind it is another transaction, whatever the answer.
            self.current = None;
        }
        match (tx, self.current) {
            // Whose the recipients are that it pipelined behind a MAIL inside a transaction, see above.
            (Some(number), Some(open)) if is_mail(verb) && number != open => {
                self.hand_over(number, open, cx.limits);
                if let Some(unanswered) = self.over.pop() {
                    cx.session.forget(unanswered.tx);
                }
            }
            _ if matches!(verb, Verb::Rset | Verb::Ehlo | Verb::Helo | Verb::Lhlo) => self.current = None,
            _ => {}
        }
    }

    fn let_go(mut command: Box<Command>, want: Want, cx: &mut EventContext<'_>) {
        if matches!(want, Want::Greeting | Want::Eod { .. } | Want::Unseen | Want::Dropped(_)) {
            return cx.session.recycle_command(command);
        }
        let blind = cx.session.incomplete.has(Missing::ServerUnseen);
        command.pipelined &= !blind;
        let missing = [Missing::ServerGap, Missing::ServerUnseen];
        for what in missing.into_iter().filter(|m| cx.session.incomplete.has(*m)) {
            command.incomplete.add(what);
            command.reply.clear();
        }
        cx.command(command);
    }

    /// The queue is full: the oldest command makes room, its reply will be passed over.
    pub(super) fn make_room(&mut self, cx: &mut EventContext<'_>) {
        let skipped = match self.pending.front().map(|front| front.kind.want) {
            Some(Want::Dropped(count)) => {
                if let Some(waiting) = self.pending.pop() {
                    cx.session.recycle_command(waiting.command);
                }
                count
            }
            _ => 0,
        };
        let Some(waiting) = self.pending.pop() else { return };
        let CommandFacts { want, tx, end, from, id, over } = waiting.kind;
        let opens = is_mail(waiting.command.verb);
        if opens || matches!(want, Want::Eod { .. } | Want::Chunk { last: true }) {
            self.lapse(tx);
        }
        Self::let_go(waiting.command, want, cx);
        let in_place = cx.session.unasked(cx.stamp.at);
        let kind = CommandFacts { want: Want::Dropped(skipped.saturating_add(1)), tx: None, end, from, id, over };
        self.pending.push_front(in_place, kind);
    }

    /// Nothing more will be known of delivery `number`.
    fn lapse(&mut self, number: Option<u32>) {
        let Some(delivery) = number.and_then(|number| self.delivery(number)) else { return };
        delivery.lapsed();
        let number = delivery.tx.number;
        if self.current == Some(number) {
            self.current = None;
        }
        if self.sending == Some(number) {
            self.sending = None;
        }
        if self.moving == Some(number) {
            self.moving = None;
        }
        self.emit(number);
    }
}

pub(super) fn is_mail(verb: Verb) -> bool {
    matches!(verb, Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml)
}

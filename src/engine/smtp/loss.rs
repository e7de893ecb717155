//! After a loss: what the client's next octets are, and which reply belongs to what.

use super::command;
use super::command::begins_with_command;
use super::delivery::Delivery;
use super::{Kind, Lost, Smtp, Want};
use crate::engine::frame::Mode;
use crate::engine::pending::{Arrival, Waiting};
use crate::engine::session::state::Scope;
use crate::event::{Dir, Verb};
use crate::event::{Kind as Moved, Missing};

impl Smtp {
    /// `lost` octets of `dir` are missing, beyond those that counted octets absorbed.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, scope: &mut Scope<'_>) {
        if dir == Dir::ToClient {
            self.replies.reset();
            self.unmatched = true;
            for delivery in &mut self.deliveries {
                delivery.tx.incomplete.add(Missing::ServerGap);
            }
            return;
        }
        for delivery in &mut self.deliveries {
            delivery.tx.incomplete.add(Missing::ClientGap);
        }
        let moving = self.moving.and_then(|number| self.delivery(number));
        if let Some(delivery) = moving {
            delivery.tx.message.gap(lost);
            delivery.tx.message.gap_unknown();
            self.lost = Some(Lost::Body);
        } else {
            self.lost = Some(Lost::Command);
        }
        scope.switch(Dir::ToServer, Mode::Await);
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, scope: &mut Scope<'_>) {
        if let Some(lost) = self.lost {
            if surely {
                self.lost = None;
                let body = lost == Lost::Body || !begins_with_command(held);
                if body && self.moving.is_none() {
                    self.headless(scope);
                }
                scope.switch(Dir::ToServer, if body { Mode::Dot } else { Mode::Line });
            }
            return;
        }
        if held.is_empty() && !surely {
            return;
        }
        let verb = self.pending.back().map(|w| w.command.verb);
        let whole = surely || memchr::memchr(b'\n', held).is_some();
        match verb {
            // What a line is, is told when it is whole.
            Some(Verb::Data | Verb::Auth | Verb::XExps | Verb::Bdat) if !whole => {}
            Some(Verb::Data) if begins_with_command(held) => scope.switch(Dir::ToServer, Mode::Line),
            Some(Verb::Data) => self.go(scope),
            Some(Verb::Auth | Verb::XExps) if self.exchange.is_some() => {
                let line = held.split(|o| *o == b'\n').next().unwrap_or_default();
                self.sasl_turn = command::is_base64(line);
                scope.switch(Dir::ToServer, Mode::Line);
            }
            Some(Verb::Bdat) if !begins_with_command(held) => {
                let waiting = self.pending.back().map(|w| w.kind.want);
                let size = if let Some(Want::Doubtful(size)) = waiting { size } else { 0 };
                scope.switch(Dir::ToServer, Mode::Octets(size));
            }
            Some(Verb::StartTls | Verb::XAnonymousTls) if held.first() == Some(&0x16) => self.encrypt(scope),
            _ => scope.switch(Dir::ToServer, Mode::Line),
        }
    }

    /// What was held before a reply that came after a loss has been read: now the reply.
    pub(crate) fn resume(&mut self, scope: &mut Scope<'_>) {
        let Some((arrival, lost)) = self.deferred.take() else { return };
        scope.stamp = arrival.last;
        let code = self.code();
        if lost == Lost::Body && self.pending.is_empty() {
            // The server speaks: the end of the message went with the gap.
            if let Some(number) = self.moving.take() {
                self.finals(Some(number), arrival, scope);
                return self.flush(scope);
            }
        }
        if code == 354 {
            let data = self.pending.back().is_some_and(|w| w.command.verb == Verb::Data);
            while self.pending.len() > usize::from(data) {
                self.drop_oldest(scope);
            }
            if !data {
                self.headless(scope);
                self.pending.note(arrival);
                return scope.switch(Dir::ToServer, Mode::Dot);
            }
        }
        let eod = self.pending.front().is_some_and(|w| matches!(w.kind.want, Want::Eod { .. }));
        let doubtful = self.pending.iter().any(|w| w.command.verb == Verb::Other);
        while !eod && doubtful && self.pending.len() > 1 {
            self.drop_oldest(scope);
        }
        self.reply(arrival, scope);
        self.flush(scope);
    }

    /// A delivery whose beginning was not seen.
    pub(super) fn headless(&mut self, scope: &mut Scope<'_>) {
        let mut tx = scope.ledger.transaction(Moved::Delivery, scope.stamp.at);
        tx.incomplete.add(Missing::StartMissing);
        let mut delivery = Delivery::new(tx);
        delivery.data_sent = true;
        delivery.data(Verb::Data, scope.limits);
        delivery.tx.message.headless();
        self.moving = Some(delivery.tx.number);
        self.deliveries.push_back(delivery);
    }

    /// The first reply after lost ones: the commands before the one it fits will never be answered.
    pub(super) fn rematch(&mut self, code: u16, arrival: Arrival, scope: &mut Scope<'_>) {
        self.unmatched = false;
        let fits = |w: &Waiting<Kind>| match code {
            354 => w.command.verb == Verb::Data,
            334 | 235 => matches!(w.command.verb, Verb::Auth | Verb::XExps),
            221 => w.command.verb == Verb::Quit,
            _ => w.kind.end <= arrival.last.peer,
        };
        let keep = self.pending.iter().enumerate().filter(|(_, w)| fits(w)).last().map(|(at, _)| at);
        for _ in 0..keep.unwrap_or(0) {
            self.drop_oldest(scope);
        }
    }

    /// The oldest of those that wait will not be answered.
    pub(super) fn drop_oldest(&mut self, scope: &mut Scope<'_>) {
        let Some(waiting) = self.pending.pop() else { return };
        match waiting.kind.want {
            Want::Greeting | Want::Eod { .. } => {}
            _ => {
                let mut command = waiting.command;
                let blind = scope.ledger.incomplete.has(Missing::ServerUnseen);
                command.pipelined &= !blind;
                let missing = [Missing::ServerGap, Missing::ServerUnseen];
                for what in missing.into_iter().filter(|m| scope.ledger.incomplete.has(*m)) {
                    command.incomplete.add(what);
                }
                scope.command(command);
            }
        }
    }
}

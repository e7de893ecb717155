//! After a loss: what the client's next octets are, and which reply belongs to what.

use super::command;
use super::command::begins_with_command;
use super::delivery::Delivery;
use super::{Kind, Lost, Smtp, Want};
use crate::engine::frame::Mode;
use crate::engine::pending::{Arrival, Waiting};
use crate::engine::session::state::EventContext;
use crate::event::{Dir, Verb};
use crate::event::{Kind as Moved, Missing};

impl Smtp {
    /// `lost` octets of `dir` are missing, beyond those that counted octets absorbed.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, cx: &mut EventContext<'_>) {
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
        cx.switch(Dir::ToServer, Mode::Await);
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        if let Some(lost) = self.lost {
            if surely {
                self.lost = None;
                let body = lost == Lost::Body || !begins_with_command(held);
                if body && self.moving.is_none() {
                    self.headless(cx);
                }
                cx.switch(Dir::ToServer, if body { Mode::Dot } else { Mode::Line });
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
            Some(Verb::Data) if begins_with_command(held) => cx.switch(Dir::ToServer, Mode::Line),
            Some(Verb::Data) => self.go(cx),
            Some(Verb::Auth | Verb::XExps) if self.exchange.is_some() => {
                let line = held.split(|o| *o == b'\n').next().unwrap_or_default();
                self.sasl_turn = command::is_base64(line);
                cx.switch(Dir::ToServer, Mode::Line);
            }
            Some(Verb::Bdat) if !begins_with_command(held) => {
                let waiting = self.pending.back().map(|w| w.kind.want);
                let size = if let Some(Want::Doubtful(size)) = waiting { size } else { 0 };
                cx.switch(Dir::ToServer, Mode::Octets(size));
            }
            Some(Verb::StartTls | Verb::XAnonymousTls) if held.first() == Some(&0x16) => self.encrypt(cx),
            _ => cx.switch(Dir::ToServer, Mode::Line),
        }
    }

    /// What was held before a reply that came after a loss has been read: now the reply.
    pub(crate) fn resume(&mut self, cx: &mut EventContext<'_>) {
        let Some((arrival, lost)) = self.deferred.take() else { return };
        cx.stamp = arrival.last;
        let code = self.code();
        if lost == Lost::Body && self.pending.is_empty() {
            // The server speaks: the end of the message went with the gap.
            if let Some(number) = self.moving.take() {
                self.finals(Some(number), arrival, cx);
                return self.flush(cx);
            }
        }
        if code == 354 {
            let data = self.pending.back().is_some_and(|w| w.command.verb == Verb::Data);
            while self.pending.len() > usize::from(data) {
                self.drop_oldest(cx);
            }
            if !data {
                self.headless(cx);
                self.pending.note(arrival);
                return cx.switch(Dir::ToServer, Mode::Dot);
            }
        }
        let eod = self.pending.front().is_some_and(|w| matches!(w.kind.want, Want::Eod { .. }));
        let doubtful = self.pending.iter().any(|w| w.command.verb == Verb::Other);
        while !eod && doubtful && self.pending.len() > 1 {
            self.drop_oldest(cx);
        }
        self.reply(arrival, cx);
        self.flush(cx);
    }

    /// A delivery whose beginning was not seen.
    pub(super) fn headless(&mut self, cx: &mut EventContext<'_>) {
        let mut tx = cx.session.transaction(Moved::Delivery, cx.stamp.at);
        tx.incomplete.add(Missing::StartMissing);
        let mut delivery = Delivery::new(tx);
        delivery.data_sent = true;
        delivery.data(Verb::Data, cx.limits);
        delivery.tx.message.headless();
        self.moving = Some(delivery.tx.number);
        self.deliveries.push_back(delivery);
    }

    /// The first reply after lost ones: the commands before the one it fits will never be answered.
    pub(super) fn rematch(&mut self, code: u16, arrival: Arrival, cx: &mut EventContext<'_>) {
        self.unmatched = false;
        let fits = |w: &Waiting<Kind>| match code {
            354 => w.command.verb == Verb::Data,
            334 | 235 => matches!(w.command.verb, Verb::Auth | Verb::XExps),
            221 => w.command.verb == Verb::Quit,
            _ => w.kind.end <= arrival.last.peer,
        };
        let keep = self.pending.iter().enumerate().filter(|(_, w)| fits(w)).last().map(|(at, _)| at);
        for _ in 0..keep.unwrap_or(0) {
            self.drop_oldest(cx);
        }
    }

    /// The oldest of those that wait will not be answered.
    pub(super) fn drop_oldest(&mut self, cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.pop() else { return };
        match waiting.kind.want {
            Want::Greeting | Want::Eod { .. } => {}
            _ => {
                let mut command = waiting.command;
                let blind = cx.session.incomplete.has(Missing::ServerUnseen);
                command.pipelined &= !blind;
                let missing = [Missing::ServerGap, Missing::ServerUnseen];
                for what in missing.into_iter().filter(|m| cx.session.incomplete.has(*m)) {
                    command.incomplete.add(what);
                }
                cx.command(command);
            }
        }
    }
}

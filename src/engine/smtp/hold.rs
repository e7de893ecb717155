//! Bytes of the client that can be read in several ways, held until the server shows how it took them.
//!
//! A server speaks between commands, not inside a message: a reply that was sent after bytes had reached the server
//! (`held_from`, by ACK evidence) tells that they were complete commands, or a complete message. Until then what is held
//! is only looked at: text that cannot be commands is the message going on. One reading is taken in the end, and the
//! reply is then weighed like any other ([`super::evidence`]).

use memchr::{memchr, memmem};

use super::command;
use super::{Smtp, Want};
use crate::engine::frame::FramingMode;
use crate::engine::pending::ReplyArrival;
use crate::engine::sasl::Exchange;
use crate::engine::session::state::EventContext;
use crate::event::{Dir, Verb};

/// Why bytes of the client are held, besides those that wait for the answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Bytes were lost between commands, or the capture begins here.
    Commands,
    /// Bytes of the message were lost: its end may be among them.
    Message,
    /// A lone dot whose line ends are not CRLF: servers differ on whether that ends the message.
    LooseEnd {
        /// Bytes of the message on the wire up to there.
        wire: u64,
    },
    /// The message was answered, but its end was not seen.
    Answered,
    /// The client went on behind DATA with a reply that need not be the one to it.
    Data,
}

/// What held bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    /// Too little to say.
    Nothing,
    /// Nothing but commands.
    Commands,
    /// Something else.
    Text,
}

/// So many bytes, or lines, of commands are commands; held bytes are looked at again whenever some are added.
const ENOUGH: usize = 2 << 10;

fn looks(held: &[u8]) -> Looks {
    let mut rest = held.get(..held.len().min(ENOUGH)).unwrap_or(held);
    let mut looks = Looks::Nothing;
    while let Some(end) = memchr(b'\n', rest) {
        let line = rest.get(..end).unwrap_or_default();
        if !command::is_command(line) {
            return Looks::Text;
        }
        looks = Looks::Commands;
        rest = rest.get(end + 1..).unwrap_or_default();
        match command::verb(line).0 {
            // A client waits for the answer to DATA: one that goes on sends the text of a message.
            Verb::Data if !rest.is_empty() => return Looks::Text,
            // What follows it is no command.
            Verb::Data | Verb::Bdat => return looks,
            _ => {}
        }
    }
    if held.len() > ENOUGH || command::may_begin_command(rest) { looks } else { Looks::Text }
}

impl Smtp {
    /// The client's bytes `held` wait: decides their mode, if they tell enough. `surely`: no more bytes will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        match self.hold {
            Some(Hold::Data) | None => self.look_at_answer(held, surely, cx),
            Some(hold) => self.look(hold, held, surely, cx),
        }
    }

    fn look(&mut self, hold: Hold, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        if hold == Hold::Commands {
            if surely {
                let body = is_message(held);
                if body {
                    self.headless(cx);
                }
                self.sasl_turn |= !body && self.exchange.is_some() && !held.is_empty();
                self.read_on(if body { FramingMode::DotLoose } else { FramingMode::Line }, cx);
            }
            return;
        }
        // Nobody answers: then what looks like commands is taken for commands.
        let alone = surely && !self.heard;
        match (looks(held), hold) {
            (Looks::Nothing, _) if !surely => {}
            (Looks::Commands, Hold::Answered) => self.read_on(FramingMode::Line, cx),
            (Looks::Commands, _) if !surely => {}
            (Looks::Commands, Hold::LooseEnd { wire }) if alone => self.end_loosely(wire, cx),
            (Looks::Commands, Hold::Message) if alone => {
                self.end_unseen(cx);
                self.read_on(FramingMode::Line, cx);
            }
            (_, Hold::Answered) => {
                // Too early an answer: the client goes on to the end of the data, which has no answer of its own.
                self.answered_early = true;
                self.read_on(FramingMode::DotResume, cx);
            }
            _ => self.read_on(FramingMode::DotResume, cx),
        }
    }

    fn read_on(&mut self, mode: FramingMode, cx: &mut EventContext<'_>) {
        let hold = self.hold.take();
        if (mode, matches!(hold, Some(Hold::LooseEnd { .. }))) == (FramingMode::DotResume, true)
            && let Some(delivery) = self.moving.and_then(|number| self.delivery(number))
        {
            delivery.tx.message.drop_lf_reading();
        }
        cx.switch(Dir::ToServer, mode);
    }

    /// A reply came while the client's bytes `scope.held` were held; whether it is put off until these are read.
    pub(super) fn end_hold(&mut self, arrival: ReplyArrival, cx: &mut EventContext<'_>) -> bool {
        let Some(hold) = self.hold else { return false };
        if arrival.last.peer < self.held_from {
            // Sent before the server had what was lost, or the dot: it shows nothing.
            return false;
        }
        let held = cx.held;
        match hold {
            Hold::Commands => self.end_hold_of_commands(held, cx),
            Hold::Message => {
                self.end_unseen(cx);
                if looks(held) != Looks::Commands {
                    self.hold = Some(Hold::Answered);
                    return false;
                }
                self.read_on(FramingMode::Line, cx);
            }
            Hold::LooseEnd { wire } => {
                let strict = memmem::find(held, b"\r\n.\r\n").map(|at| self.held_from + at as u64 + 5);
                if strict.is_some_and(|end| end <= arrival.last.peer) {
                    // The server had a strict end of data too: the strict reading comes first.
                    self.read_on(FramingMode::DotResume, cx);
                } else {
                    self.end_loosely(wire, cx);
                    if self.code() >= 400 && looks(held) == Looks::Nothing {
                        // Refused at the dot, or before the end of a message that happens to pause at a dot.
                        self.hold = Some(Hold::Answered);
                        cx.switch(Dir::ToServer, FramingMode::Await);
                        return false;
                    }
                }
            }
            Hold::Data if self.code() == 354 => {
                self.hold = None;
                return false;
            }
            Hold::Data => {
                // Whether DATA was answered before, oddly, or is only now refused: nobody knows.
                self.settle(self.pending.back().map(|back| back.kind.id), cx);
                self.drop_oldest(cx);
                self.read_on(FramingMode::Line, cx);
            }
            Hold::Answered => return false,
        }
        self.deferred = Some(arrival);
        true
    }

    /// After a loss between commands, or where the capture begins.
    fn end_hold_of_commands(&mut self, held: &[u8], cx: &mut EventContext<'_>) {
        if self.exchange.is_some() {
            // A response was lost, or what is held is one.
            self.sasl_turn = !held.is_empty();
            return self.read_on(FramingMode::Line, cx);
        }
        let ends = held.starts_with(b".\r\n") || memmem::find(held, b"\r\n.\r\n").is_some();
        if ends && self.code() != 354 && !command::begins_with_command(held) {
            self.headless(cx);
            return self.read_on(FramingMode::DotLoose, cx);
        }
        self.skip_until = self.held_from + left_over(held) as u64;
        self.read_on(FramingMode::Line, cx);
    }

    /// What was held before a reply has been read: now the reply.
    pub(crate) fn resume(&mut self, cx: &mut EventContext<'_>) {
        let Some(arrival) = self.deferred.take() else { return };
        cx.stamp = arrival.last;
        self.reply(arrival, cx);
        self.flush(cx);
    }

    /// The message ended at the lone dot just read.
    fn end_loosely(&mut self, wire: u64, cx: &mut EventContext<'_>) {
        let stamp = std::mem::replace(&mut cx.stamp, self.held_stamp);
        if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
            // So it takes LF for a line end, and removes the stuffing behind it.
            delivery.tx.message.take_lf_reading();
        }
        self.end_of_data(wire, self.held_from, cx);
        cx.stamp = stamp;
        self.read_on(FramingMode::Line, cx);
    }

    /// The message ended in the gap, for the server has answered it.
    fn end_unseen(&mut self, cx: &mut EventContext<'_>) {
        let number = self.moving.take();
        self.sending = None;
        self.unseen_envelope = true;
        if let Some(delivery) = number.and_then(|number| self.delivery(number)) {
            delivery.tx.message.finish(false);
            delivery.end_unseen = true;
        }
        if std::mem::take(&mut self.answered_early) {
            return;
        }
        let stamp = std::mem::replace(&mut cx.stamp, self.held_stamp);
        let waiting = cx.session.unasked(cx.stamp.at);
        self.wait(waiting, Want::Eod { prdr: false }, number, self.held_from, cx);
        self.unseen(self.held_from, cx);
        cx.stamp = stamp;
    }

    /// The last command's answer decides how `held` is read, but it was lost, or the client has given up waiting for it.
    fn look_at_answer(&mut self, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        if held.is_empty() && !surely {
            return;
        }
        let Some(back) = self.pending.back() else { return };
        let (last, end) = (back.kind.id, back.kind.end);
        let doubtful = back.command.verb == Verb::Data && self.has_undecided_behind(end, cx.stamp.peer);
        self.sends_on(Some(last), cx);
        if doubtful && self.pending.back().is_some_and(|back| back.kind.id == last) {
            (self.hold, self.held_from, self.held_stamp) = (Some(Hold::Data), end, cx.stamp);
        }
        if cx.modes[Dir::ToServer].is_some() {
            return;
        }
        let Some(back) = self.pending.back() else { return cx.switch(Dir::ToServer, FramingMode::Line) };
        let (verb, want, over) = (back.command.verb, back.kind.want, back.kind.over);
        let gave_up = over.is_some();
        // By what it sends, the client shows the answer that it had.
        let had = over.is_some_and(|over| over <= cx.stamp.peer) || !self.heard;
        let lost = had || surely;
        // What a line is, is told when it is whole.
        let whole = surely || memchr(b'\n', held).is_some();
        let command = command::begins_with_command(held);
        match verb {
            Verb::Data | Verb::Auth | Verb::XExps | Verb::Bdat if !whole => {}
            Verb::Data | Verb::Bdat if command && (lost || gave_up) => cx.switch(Dir::ToServer, FramingMode::Line),
            Verb::Auth | Verb::XExps if gave_up && !lost => {
                if command {
                    cx.switch(Dir::ToServer, FramingMode::Line);
                }
            }
            _ if !lost => {}
            Verb::Data => {
                self.go(cx);
                if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
                    delivery.guessed = !had;
                    delivery.presumed = true;
                }
                if gave_up && had {
                    // Its 354 is among what is lost: no later reply answers it.
                    self.settle(Some(last), cx);
                    self.drop_oldest(cx);
                }
            }
            Verb::Auth | Verb::XExps if self.exchange.is_some() => {
                // `QUIT` is base64 too: a response where one is still to come.
                let line = held.split(|o| *o == b'\n').next().unwrap_or_default();
                let spent = self.exchange.as_ref().is_some_and(Exchange::is_spent);
                let padded = line.trim_ascii().len().is_multiple_of(4) || line.trim_ascii() == b"*";
                self.sasl_turn = command::is_base64(line) && padded && !(spent && command);
                cx.switch(Dir::ToServer, FramingMode::Line);
            }
            Verb::Bdat => {
                let size = if let Want::Doubtful(size) = want { size } else { 0 };
                cx.switch(Dir::ToServer, FramingMode::Octets(size));
            }
            Verb::Xexch50
                if let Want::Xexch50(size) = want
                    && is_counted(held, size) =>
            {
                cx.switch(Dir::ToServer, FramingMode::Octets(size));
            }
            Verb::StartTls | Verb::XAnonymousTls if held.first() == Some(&0x16) => self.encrypt(cx),
            _ => cx.switch(Dir::ToServer, FramingMode::Line),
        }
    }

    /// Whether bytes are held because some were lost just before them.
    pub(crate) fn is_behind_gap(&self) -> bool {
        matches!(self.hold, Some(Hold::Commands | Hold::Message))
    }

    /// Whether held bytes are to be looked at whenever some are added.
    pub(crate) fn watches_held(&self) -> bool {
        self.hold != Some(Hold::Commands)
    }
}

/// Whether `held` begins with `size` bytes that are no commands: those end where a line does.
fn is_counted(held: &[u8], size: u64) -> bool {
    let counted = usize::try_from(size).ok().and_then(|size| held.get(..size));
    counted.is_some_and(|bytes| !bytes.ends_with(b"\n"))
}

/// Whether `held`, which nobody answered, shows that a message was moving: one line may as well be the rest of a command, or
/// a response of an authentication.
fn is_message(held: &[u8]) -> bool {
    if command::begins_with_command(held) {
        return false;
    }
    let mut lines = held.split_inclusive(|o| *o == b'\n');
    let first = lines.next().unwrap_or_default();
    lines.next().is_some() || !command::is_base64(first.trim_ascii())
}

/// How many bytes of `held` come before the commands at its end: the rest of a command, or of a chunk.
fn left_over(held: &[u8]) -> usize {
    let (mut from, mut left) = (0, 0);
    while let Some(end) = held.get(from..).and_then(|rest| memchr(b'\n', rest)) {
        let line = held.get(from..from + end).unwrap_or_default();
        from += end + 1;
        if !command::is_command(line) {
            left = from;
        } else if let (Verb::Bdat, args) = command::verb(line) {
            let size = command::bdat(args).map_or(0, |chunk| usize::try_from(chunk.size).unwrap_or(usize::MAX));
            from = from.saturating_add(size);
            if from >= held.len() {
                return left;
            }
        }
    }
    if command::may_begin_command(held.get(from..).unwrap_or_default()) { left } else { held.len() }
}

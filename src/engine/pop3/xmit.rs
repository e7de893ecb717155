//! XTND XMIT: the client sends a message, which the server answers (the POP3 of Berkeley's popper).
//!
//! Where a lone dot has line ends other than CRLF, servers differ on whether the message ends there: the client's bytes
//! behind it are held until the server's answer shows how it took them.

use memchr::memmem;

use super::body::Loose;
use super::grammar::{self, Indicator};
use super::{Pop3, Xmit};
use crate::engine::frame::FramingMode;
use crate::engine::pending::ReplyArrival;
use crate::engine::session::state::EventContext;
use crate::event::{Command, Dir, TransactionKind, TransactionOutcome, Verb};

/// No command is longer (RFC 2449 section 4).
const LONGEST: usize = 255;

impl Xmit {
    /// The message that follows `command`.
    pub(super) fn begin(command: &Command, cx: &mut EventContext<'_>) -> Box<Self> {
        let mut transaction = cx.session.transaction(TransactionKind::Append, command.began);
        transaction.verb = Some(command.verb);
        transaction.has_message = true;
        transaction.message.begin(cx.limits.hash, cx.limits.header);
        Box::new(Self { transaction, began: None, sent: None, loose: None, answered: None })
    }
}

impl Pop3 {
    /// How the message that the server asked for is cut.
    pub(super) fn xmit_mode(&self) -> FramingMode {
        // A server that took a command that ended in LF takes LF for a line end in the message too.
        if self.loose_client { FramingMode::DotLf } else { FramingMode::DotLoose }
    }

    pub(super) fn xmit_text(&mut self, octets: &[u8], cx: &mut EventContext<'_>) {
        if let Some(xmit) = &mut self.xmit {
            xmit.began.get_or_insert(cx.stamp.at);
            cx.body(&mut xmit.transaction, octets);
        }
    }

    /// A dot behind LF alone.
    pub(super) fn xmit_dot(&mut self, cx: &mut EventContext<'_>) {
        if let Some(xmit) = &mut self.xmit {
            xmit.began.get_or_insert(cx.stamp.at);
            cx.loose_dot(&mut xmit.transaction);
        }
    }

    /// The message was sent to its end.
    pub(super) fn xmit_sent(&mut self, wire: u64, cx: &mut EventContext<'_>) {
        let Some(mut xmit) = self.xmit.take() else { return };
        xmit.transaction.message.finish(true);
        xmit.transaction.wire_size = Some(wire);
        xmit.transaction.timing.transfer = cx.stamp.at.since(xmit.began.unwrap_or(cx.stamp.at));
        xmit.sent = Some(cx.stamp.at);
        match xmit.answered.take() {
            Some((ok, arrival)) => {
                let stamp = std::mem::replace(&mut cx.stamp, arrival.last);
                self.xmit_over(*xmit, ok, arrival, cx);
                cx.stamp = stamp;
            }
            None => self.xmit = Some(xmit),
        }
    }

    /// A lone dot whose line ends are not CRLF.
    pub(super) fn xmit_loose_end(&mut self, wire: u64, end: u64, cx: &mut EventContext<'_>) {
        match &mut self.xmit {
            // The line ends of its commands, which the server took.
            _ if self.loose_client => {
                self.xmit_sent(wire, cx);
                cx.switch(Dir::ToServer, FramingMode::Line);
            }
            Some(xmit) => xmit.loose = Some(Loose { wire, end, stamp: cx.stamp }),
            // It was answered before its end.
            None => cx.switch(Dir::ToServer, FramingMode::DotResume),
        }
    }

    /// Whether bytes of the client are held behind such a dot.
    pub(crate) fn watches_held(&self) -> bool {
        self.xmit.as_ref().is_some_and(|xmit| xmit.loose.is_some())
    }

    /// The client's bytes `held` follow such a dot; `surely`: no more will come to help. Text is the message going on; of
    /// commands the answer tells, unless the server is not seen.
    pub(super) fn look_behind_dot(&mut self, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        let head = held.get(..LONGEST).unwrap_or(held);
        let end = memchr::memchr(b'\n', head);
        let line = head.get(..end.unwrap_or(head.len())).unwrap_or_default().trim_ascii();
        let command = grammar::words(line).verb != Verb::Other;
        match (end.is_some() && command, surely) {
            (false, false) if end.is_none() && head.len() < LONGEST => {}
            (true, false) => {}
            (true, true) if !self.greeted => self.xmit_ends_loosely(cx),
            (_, _) => self.xmit_goes_on(cx),
        }
    }

    /// The dot was text.
    fn xmit_goes_on(&mut self, cx: &mut EventContext<'_>) {
        if let Some(xmit) = &mut self.xmit {
            xmit.loose = None;
            xmit.transaction.message.drop_lf_reading();
        }
        cx.switch(Dir::ToServer, FramingMode::DotResume);
    }

    /// The dot was the end.
    fn xmit_ends_loosely(&mut self, cx: &mut EventContext<'_>) {
        let Some(loose) = self.xmit.as_mut().and_then(|xmit| xmit.loose.take()) else { return };
        if let Some(xmit) = &mut self.xmit {
            xmit.transaction.message.take_lf_reading();
        }
        let stamp = std::mem::replace(&mut cx.stamp, loose.stamp);
        self.xmit_sent(loose.wire, cx);
        cx.stamp = stamp;
        cx.switch(Dir::ToServer, FramingMode::Line);
    }

    /// The server's answer to the message.
    pub(super) fn xmit_status(&mut self, head: Indicator<'_>, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        let Some(xmit) = &mut self.xmit else { return };
        let ok = matches!(head, Indicator::Ok(_));
        grammar::fill(&mut xmit.transaction.last, head, self.response_codes, cx.limits.reply_text);
        if let Some(loose) = xmit.loose {
            let strict = memmem::find(cx.held, b"\r\n.\r\n").map(|at| loose.end + at as u64 + 5);
            if strict.is_some_and(|end| end <= arrival.last.peer) {
                // The server had a strict end too: that is read first.
                xmit.answered = Some((ok, arrival));
                return self.xmit_goes_on(cx);
            }
            if arrival.last.peer >= loose.end {
                self.xmit_ends_loosely(cx);
            } else {
                // Answered before its end, which has no answer of its own then.
                cx.switch(Dir::ToServer, FramingMode::DotResume);
            }
        }
        if let Some(xmit) = self.xmit.take() {
            self.xmit_over(*xmit, ok, arrival, cx);
        }
    }

    fn xmit_over(&mut self, xmit: Xmit, ok: bool, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        let Xmit { mut transaction, sent, .. } = xmit;
        if sent.is_none() {
            transaction.message.finish(false);
        }
        transaction.outcome = if ok { TransactionOutcome::Accepted } else { TransactionOutcome::Error };
        transaction.timing.reply = sent.and_then(|sent| arrival.last.at.since(sent));
        self.pending.note(arrival);
        cx.count_reply(transaction.last.status);
        cx.transaction(transaction);
    }
}

//! One delivery from MAIL to its end: the envelope as the replies make it, and how it ended.

use crate::engine::Limits;
use crate::engine::session::state::EventContext;
use crate::event::Span;
use crate::event::Verb;
use crate::event::{
    DataMode, Missing, Param, Recipient, RecipientReply, Reply, Stage, Status, Transaction, TransactionOutcome,
};
use crate::time::Timestamp;

use super::command;
use super::command::Path;
use super::reply;

/// A transaction with what its end depends on.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) tx: Box<Transaction>,
    /// Code of the reply to MAIL.
    pub(super) mail: Option<u16>,
    /// Recipients that got 2yz.
    pub(super) accepted: u32,
    /// Recipients that got 4yz or 5yz, and whether one of them got 4yz.
    pub(super) refused: u32,
    pub(super) refused_for_now: bool,
    /// Code of a refusing reply to DATA.
    pub(super) data_refused: Option<u16>,
    /// Code of the first refusing reply to BDAT.
    pub(super) chunk_refused: Option<u16>,
    /// DATA, BDAT or BURL was sent.
    pub(super) data_sent: bool,
    /// The message was sent to its end, at that time.
    pub(super) eod: Option<Timestamp>,
    /// First octet of the message.
    pub(super) body: Option<Timestamp>,
    /// 354.
    pub(super) go: Option<Timestamp>,
    /// `PRDR` was asked for.
    pub(super) prdr: bool,
    /// Recipients whose own final reply was yes, no for now, no for good.
    pub(super) finals: [u32; 3],
    /// RCPT commands, or replies to them, may have passed unseen.
    pub(super) recipients_unsure: bool,
    /// Final replies may have passed unseen.
    pub(super) finals_unsure: bool,
    /// Commands behind MAIL, or replies to them, may have passed unseen.
    pub(super) commands_unsure: bool,
    /// Nothing shows that the server agreed to the message.
    pub(super) guessed: bool,
    /// The 354 was not seen.
    pub(super) presumed: bool,
    /// The end of the data was not seen, but the server has answered it.
    pub(super) end_unseen: bool,
    /// MAIL was sent behind QUIT.
    pub(super) after_quit: bool,
    /// Its DATA ended in LF alone.
    pub(super) ends_lf: bool,
}

impl Delivery {
    pub(super) fn new(tx: Box<Transaction>) -> Self {
        Self {
            tx,
            mail: None,
            accepted: 0,
            refused: 0,
            refused_for_now: false,
            data_refused: None,
            chunk_refused: None,
            data_sent: false,
            eod: None,
            body: None,
            go: None,
            prdr: false,
            finals: [0; 3],
            recipients_unsure: false,
            finals_unsure: false,
            commands_unsure: false,
            guessed: false,
            presumed: false,
            end_unseen: false,
            after_quit: false,
            ends_lf: false,
        }
    }

    /// Return path, route and parameters of MAIL.
    pub(super) fn sender(&mut self, path: &Path<'_>, room: usize) {
        let tx = &mut *self.tx;
        tx.reverse_path = path.mailbox.map(|mailbox| Span::store(&mut tx.arena, mailbox));
        let hops = path.route.split(|o| *o == b',').filter_map(|hop| hop.trim_ascii().strip_prefix(b"@"));
        for hop in hops {
            let span = Span::store(&mut tx.arena, hop);
            tx.source_route.push(span);
        }
        for (keyword, value) in command::params(path.params) {
            self.prdr |= keyword.eq_ignore_ascii_case(b"PRDR");
            if keyword.eq_ignore_ascii_case(b"SIZE") {
                self.tx.declared_size = value.and_then(command::number);
            }
        }
        self.params(path.params, room);
        self.tx.mail_params = u32::try_from(self.tx.params.len()).unwrap_or(u32::MAX);
    }

    /// A recipient; its index among those kept. `room`: bytes that open envelopes may still take.
    pub(super) fn recipient(&mut self, path: &Path<'_>, limits: &Limits, room: usize) -> Option<usize> {
        self.tx.recipients_total = self.tx.recipients_total.saturating_add(1);
        let mailbox = path.mailbox?;
        let need = mailbox.len() + path.params.len() + size_of::<Recipient>();
        if self.tx.recipients.len() >= limits.recipients || need > room {
            self.tx.incomplete.add(Missing::Truncated);
            return None;
        }
        let forward_path = Span::store(&mut self.tx.arena, mailbox);
        let start = self.tx.params.len();
        self.params(path.params, room - need);
        let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let esmtp = (bound(start), bound(self.tx.params.len()));
        self.tx.recipients.push(Recipient { forward_path, esmtp, ..Recipient::default() });
        Some(self.tx.recipients.len() - 1)
    }

    /// Bytes that the envelope takes.
    pub(super) fn weight(&self) -> usize {
        let tx = &*self.tx;
        let kept = [tx.params.len() * size_of::<Param>(), tx.recipients.len() * size_of::<Recipient>()];
        tx.arena.len() + kept.iter().sum::<usize>() + tx.source_route.len() * size_of::<Span>()
    }

    fn params(&mut self, params: &[u8], mut room: usize) {
        let tx = &mut *self.tx;
        for (keyword, value) in command::params(params) {
            let need = keyword.len() + value.map_or(0, <[u8]>::len) + size_of::<Param>();
            let Some(left) = room.checked_sub(need) else {
                tx.incomplete.add(Missing::Truncated);
                return;
            };
            room = left;
            let start = tx.arena.len();
            let name = Span::store(&mut tx.arena, keyword);
            if let Some(name) = tx.arena.get_mut(start..) {
                name.make_ascii_uppercase();
            }
            let value = value.map(|value| {
                if command::is_xtext(keyword) {
                    let start = tx.arena.len();
                    command::decode_xtext(value, &mut tx.arena);
                    Span::since(start, &tx.arena)
                } else {
                    Span::store(&mut tx.arena, value)
                }
            });
            tx.params.push(Param { keyword: name, value });
        }
    }

    /// Takes over what the client sent behind the MAIL of `refused`: recipients and message.
    pub(super) fn append(&mut self, refused: &mut Self, limits: &Limits) {
        let theirs = &*refused.tx;
        for recipient in &theirs.recipients {
            if self.tx.recipients.len() >= limits.recipients {
                self.tx.incomplete.add(Missing::Truncated);
                break;
            }
            let tx = &mut *self.tx;
            let forward_path = Span::store(&mut tx.arena, theirs.text(recipient.forward_path));
            let start = tx.params.len();
            for param in theirs.rcpt_params(recipient) {
                let keyword = Span::store(&mut tx.arena, theirs.text(param.keyword));
                let value = param.value.map(|value| Span::store(&mut tx.arena, theirs.text(value)));
                tx.params.push(Param { keyword, value });
            }
            let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            let esmtp = (bound(start), bound(tx.params.len()));
            tx.recipients.push(Recipient { forward_path, esmtp, ..Recipient::default() });
        }
        self.tx.recipients_total = self.tx.recipients_total.saturating_add(theirs.recipients_total);
        self.tx.incomplete.merge(theirs.incomplete);
        refused.tx.recipients.clear();
        refused.tx.recipients_total = 0;
        self.data_sent |= std::mem::take(&mut refused.data_sent);
        self.tx.chunks = self.tx.chunks.saturating_add(std::mem::take(&mut refused.tx.chunks));
        if refused.tx.has_message && !self.tx.has_message {
            self.take_message(refused);
        }
    }

    /// The message of `refused` is that of this one. Its pieces were told with a number, which goes with it.
    fn take_message(&mut self, refused: &mut Self) {
        let (ours, theirs) = (&mut *self.tx, &mut *refused.tx);
        std::mem::swap(&mut ours.number, &mut theirs.number);
        std::mem::swap(&mut ours.message, &mut theirs.message);
        (ours.has_message, theirs.has_message) = (true, false);
        (ours.data_mode, theirs.data_mode) = (theirs.data_mode, None);
        (ours.wire_size, theirs.wire_size) = (theirs.wire_size, None);
        ours.timing = std::mem::take(&mut theirs.timing);
        (self.body, self.go, self.eod) = (refused.body.take(), refused.go.take(), refused.eod.take());
    }

    /// The reply to RCPT number `index`.
    pub(super) fn recipient_reply(
        &mut self,
        index: Option<usize>,
        code: u16,
        reply: &Reply,
        latency: Option<std::time::Duration>,
        limits: &Limits,
    ) {
        match code {
            200..=299 => self.accepted = self.accepted.saturating_add(1),
            400.. => {
                self.refused = self.refused.saturating_add(1);
                self.refused_for_now |= code < 500;
            }
            _ => {}
        }
        let tx = &mut *self.tx;
        let Some(recipient) = index.and_then(|index| tx.recipients.get_mut(index)) else { return };
        recipient.code = Some(code);
        recipient.enhanced = reply.enhanced;
        let room = limits.envelopes.saturating_sub(tx.arena.len());
        recipient.text = Some(Span::store(&mut tx.arena, head(reply, room)));
        recipient.latency = latency;
    }

    /// The reply after the data for the next recipient that was accepted (RFC 2033 section 4.2); whether it was the last.
    pub(super) fn recipient_final(&mut self, code: u16, reply: &Reply, at: Timestamp, limits: &Limits) -> bool {
        self.count_final(code);
        let latency = self.eod.and_then(|eod| at.since(eod));
        let tx = &mut *self.tx;
        let open = |r: &&mut Recipient| r.last.is_none() && r.code.is_some_and(|code| code < 300);
        if let Some(recipient) = tx.recipients.iter_mut().find(open) {
            let room = limits.envelopes.saturating_sub(tx.arena.len());
            let text = Span::store(&mut tx.arena, head(reply, room));
            recipient.last = Some(RecipientReply { code, enhanced: reply.enhanced, text, latency });
        }
        self.finals.iter().sum::<u32>() >= self.accepted
    }

    /// A final reply for a recipient; of whom, need not be known.
    pub(super) fn count_final(&mut self, code: u16) {
        let class = match code {
            ..=399 => 0,
            400..=499 => 1,
            _ => 2,
        };
        if let Some(count) = self.finals.get_mut(class) {
            *count = count.saturating_add(1);
        }
    }

    /// The message begins, or goes on after a chunk of another kind.
    pub(super) fn data(&mut self, verb: Verb, limits: &Limits) {
        let mode = match verb {
            Verb::Bdat => DataMode::Bdat,
            Verb::Burl => DataMode::Burl,
            _ => DataMode::Data,
        };
        self.tx.data_mode = Some(match self.tx.data_mode {
            Some(before) if before != mode => DataMode::Mixed,
            _ => mode,
        });
        if !self.tx.has_message {
            self.tx.has_message = true;
            self.tx.message.begin(limits.hash, limits.header);
        }
    }

    /// Octets of the message.
    pub(super) fn octets(&mut self, octets: &[u8], cx: &mut EventContext<'_>) {
        self.body.get_or_insert(cx.stamp.at);
        // It may have come to light with the reply to what was held.
        self.tx.began = self.tx.began.min(cx.stamp.at);
        cx.body(&mut self.tx, octets);
    }

    /// All of the message was sent.
    pub(super) fn end_of_data(&mut self, at: Timestamp) {
        self.eod = Some(at);
        self.tx.began = self.tx.began.min(at);
        let timing = &mut self.tx.timing;
        timing.data_idle = self.go.zip(self.body).and_then(|(go, body)| body.since(go));
        timing.transfer = self.body.and_then(|body| at.since(body));
        let whole = !self.tx.incomplete.has(Missing::ClientGap) && !self.tx.incomplete.has(Missing::StartMissing);
        self.tx.message.finish(whole && !self.guessed);
    }

    /// How it stands when something else than its final reply ends it: `otherwise`, unless it was refused before.
    pub(super) fn ended(&mut self, otherwise: TransactionOutcome) {
        if self.presumed && self.body.is_none() && self.eod.is_none() && !self.is_lossy() {
            // DATA was not answered, and nothing of a message came.
            (self.tx.has_message, self.tx.data_mode) = (false, None);
        }
        if self.chunk_refused.is_some() && self.commands_unsure {
            // The reply to the last chunk may be lost.
            self.tx.last.clear();
        }
        let (outcome, stage) = match self.refusal() {
            Some(refusal) => refusal,
            // A refusal may have passed unseen.
            None if self.commands_unsure || self.recipients_unsure && self.accepted == 0 => {
                (TransactionOutcome::Unknown, self.stage())
            }
            None => (otherwise, self.stage()),
        };
        self.tx.outcome = outcome;
        self.tx.stage = Some(stage);
    }

    /// How it stands when its final reply, or one of several, was not seen and will not come.
    pub(super) fn lapsed(&mut self) {
        let [yes, later, no] = self.finals;
        let all = yes + later + no;
        self.tx.stage = None;
        if all != 1 {
            // What there is answered something else, or was not the only final reply.
            self.tx.last.clear();
        }
        let single = self.tx.last.status.and_then(Status::code).filter(|_| all == 1 && !self.finals_unsure);
        if let Some(code) = single {
            self.answered(code);
            if let Some(id) = reply::queue_id(self.tx.last.text.as_bytes()).filter(|_| code < 400) {
                self.tx.queue_id.set(id);
            }
            return;
        }
        match all {
            _ if yes > 0 && later + no > 0 => self.tx.outcome = TransactionOutcome::Partial,
            // The others were never answered; what was said is all that was to be said.
            1.. if !self.finals_unsure => self.answered(if yes > 0 { 250 } else { 550 }),
            _ => self.tx.outcome = TransactionOutcome::Unknown,
        }
        if self.eod.is_none() && self.tx.has_message {
            self.tx.message.finish(false);
        }
    }

    /// Whether bytes of either side were lost while it was open.
    pub(super) fn is_lossy(&self) -> bool {
        [Missing::StartMissing, Missing::ClientGap, Missing::ServerGap].iter().any(|m| self.tx.incomplete.has(*m))
    }

    /// Whether nothing shows at the session's end that there was a delivery: a MAIL alone, or commands behind a MAIL that
    /// may not have been.
    pub(super) fn came_to_nothing(&self) -> bool {
        if self.tx.incomplete.has(Missing::StartMissing) {
            return self.accepted == 0 && self.go.is_none() && !self.tx.has_message;
        }
        let begun = self.tx.recipients_total > 0 || self.data_sent || self.tx.incomplete.has(Missing::ServerGap);
        self.mail.is_none() && (!begun || self.after_quit)
    }

    /// Whether all that shows of it is a DATA refused for its syntax or its place: there need not have been a MAIL.
    pub(super) fn has_no_envelope(&self) -> bool {
        let refused = self.data_refused.is_some_and(|code| matches!(code, 500..=503));
        refused
            && self.tx.incomplete.has(Missing::StartMissing)
            && self.tx.recipients_total == 0
            && !self.tx.has_message
    }

    /// How it stands at its final reply.
    pub(super) fn answered(&mut self, code: u16) {
        let unseen = self.presumed || self.tx.incomplete.has(Missing::StartMissing);
        if unseen && matches!(code, 500..=503) {
            // No server refuses a message so: it took for commands what was read as the message.
            (self.tx.outcome, self.tx.stage) = (TransactionOutcome::Unknown, None);
            self.tx.has_message = false;
            return self.tx.last.clear();
        }
        let nobody = self.accepted == 0 && self.refused > 0 && !self.recipients_unsure;
        let [yes, later, no] = self.finals;
        let bdat = matches!(self.tx.data_mode, Some(DataMode::Bdat | DataMode::Burl | DataMode::Mixed));
        let stage = if bdat { Stage::Bdat } else { Stage::Eod };
        (self.tx.outcome, self.tx.stage) = match code {
            // Behind a goodbye there is nothing more: those with a final reply have it.
            _ if yes > 0 && (later + no > 0 || code == 421) => (TransactionOutcome::Partial, None),
            _ if yes + later + no > 0 && yes == 0 => (refused(later > 0), Some(stage)),
            200..=399 => (TransactionOutcome::Accepted, None),
            _ if nobody => (refused(self.refused_for_now), Some(Stage::Rcpt)),
            _ => (refused(code < 500), Some(stage)),
        };
    }

    /// The refusal that beats an abort: all recipients, or the data.
    fn refusal(&self) -> Option<(TransactionOutcome, Stage)> {
        if self.accepted == 0 && self.recipients_unsure {
            return None;
        }
        if self.accepted == 0 && self.refused > 0 {
            return Some((refused(self.refused_for_now), Stage::Rcpt));
        }
        let by_data = self.data_refused.map(|code| (refused(code < 500), Stage::Data));
        by_data.or_else(|| self.chunk_refused.map(|code| (refused(code < 500), Stage::Bdat)))
    }

    /// How far it came.
    fn stage(&self) -> Stage {
        let bdat = matches!(self.tx.data_mode, Some(DataMode::Bdat | DataMode::Burl | DataMode::Mixed));
        match self.eod {
            Some(_) => Stage::EodUnanswered,
            None if bdat => Stage::Bdat,
            None if self.data_sent => Stage::Data,
            None if self.tx.recipients_total > 0 => Stage::Rcpt,
            None => Stage::Mail,
        }
    }

    /// Whether it asked after one recipient and sent nothing: a callout.
    pub(super) fn is_probe(&self) -> bool {
        self.tx.recipients_total == 1 && !self.data_sent
    }
}

/// As much of the reply's text as there is room for.
fn head(reply: &Reply, room: usize) -> &[u8] {
    let text = reply.text.as_bytes();
    text.get(..room).unwrap_or(text)
}

pub(super) fn refused(for_now: bool) -> TransactionOutcome {
    if for_now { TransactionOutcome::RejectedTemporary } else { TransactionOutcome::RejectedPermanent }
}

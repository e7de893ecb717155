//! What is counted of commands, replies, authentications and mail.

use std::time::Duration;

use super::{ANSWERS, COVERS, ListenerHandles, OUTCOMES, STATES};
use crate::event::anomaly;
use crate::event::{
    Anomaly, Auth, AuthOutcome, Command, Missing, Protocol, Recipient, Reply, Stage, Status, Transaction,
    TransactionKind, TransactionOutcome,
};
use crate::event::{Untagged, Verb};
use crate::output::metrics::families::FamilyId;
use crate::output::metrics::labels;
use crate::output::metrics::labels::{Answer, CODES, Cover, ENHANCED, LineFault, Unobserved, UntaggedReason};
use crate::output::metrics::series::{END_OF_DATA, GREETING, command, seconds};

impl ListenerHandles {
    pub(super) fn greeting(&mut self, reply: &Reply, delay: Option<Duration>) {
        if let Some(delay) = delay {
            self.greeting_seconds.observe(&self.place, 0, seconds(delay), || []);
        }
        self.reply(GREETING, reply);
    }

    pub(super) fn command(&mut self, c: &Command) {
        let (verb, answer) = (c.verb.index(), Answer::of(&c.reply));
        let protocol = self.place.protocol;
        let label = || command(protocol, verb);
        self.commands.add(&self.place, verb * ANSWERS + answer.index(), 1, || [label(), answer.as_str()]);
        if c.pipelined {
            self.pipelined.add(&self.place, 0, 1, || []);
        }
        match latency(c) {
            Some(Ok(latency)) => self.latency.observe(&self.place, verb, seconds(latency), || [label()]),
            Some(Err(why)) => self.unobserved(why),
            None => {}
        }
        for (kind, count) in &c.untagged {
            self.untagged(*kind, *count);
        }
        if c.verb == Verb::Rcpt {
            self.recipients.add(&self.place, answer.index(), 1, || [answer.as_str()]);
        }
        if !is_last_chunk(c) {
            self.reply(verb, &c.reply);
        }
    }

    fn unobserved(&mut self, why: Unobserved) {
        self.unobserved.add(&self.place, why.index(), 1, || [why.as_str()]);
    }

    pub(super) fn untagged(&mut self, kind: Untagged, count: u32) {
        let reason = match kind {
            Untagged::Exists => UntaggedReason::Exists,
            Untagged::Expunge | Untagged::Vanished => UntaggedReason::Expunge,
            Untagged::Fetch | Untagged::UidFetch => UntaggedReason::Fetch,
            Untagged::Bye => UntaggedReason::Bye,
            _ => UntaggedReason::Other,
        };
        self.untagged.add(&self.place, reason.index(), u64::from(count), || [reason.as_str()]);
    }

    /// A reply of SMTP or LMTP to the command at `index`.
    fn reply(&mut self, index: usize, reply: &Reply) {
        if reply.status.is_none() && !reply.text.is_present() {
            return;
        }
        self.code(index, labels::code(reply.status), reply.enhanced.map(labels::enhanced));
        self.reason(reply.text.as_bytes());
    }

    fn code(&mut self, index: usize, code: usize, enhanced: Option<usize>) {
        let protocol = self.place.protocol;
        let word = |list: &[&'static str], at: usize| list.get(at).copied().unwrap_or(labels::OTHER);
        self.replies.add(&self.place, index * CODES.len() + code, 1, || [command(protocol, index), word(CODES, code)]);
        if let Some(enhanced) = enhanced {
            self.enhanced.add(&self.place, enhanced, 1, || [word(ENHANCED, enhanced)]);
        }
    }

    fn reason(&mut self, text: &[u8]) {
        if !labels::concerns(FamilyId::SmtpReplyReasons, self.place.protocol) {
            return;
        }
        if let Some((index, name)) = self.reasons.as_ref().and_then(|reasons| reasons.of(text)) {
            self.reply_reasons.named(&self.place, index, name);
        }
    }

    pub(super) fn auth(&mut self, auth: &Auth) {
        let (mechanism, word) = labels::mechanism(auth);
        let cover = Cover::of(auth.tls, true);
        let index = (mechanism * OUTCOMES + auth.outcome.index()) * COVERS + cover.index();
        self.attempts.add(&self.place, index, 1, || [word, auth.outcome.as_str(), cover.as_str()]);
        let seen = auth.outcome != AuthOutcome::Incomplete && auth.incomplete.is_empty();
        if let Some(latency) = auth.server_latency.filter(|_| seen) {
            self.auth_seconds.observe(&self.place, mechanism, seconds(latency), || [word]);
        }
    }

    pub(super) fn transaction(&mut self, t: &Transaction) {
        let (kind, cover) = (t.kind, Cover::of(t.tls, true));
        let index = (kind.index() * TransactionOutcome::ALL.len() + t.outcome.index()) * COVERS + cover.index();
        self.transactions.add(&self.place, index, 1, || [kind.as_str(), t.outcome.as_str(), cover.as_str()]);
        let (place, at, label) = (&self.place, kind.index(), || [kind.as_str()]);
        if let Some(took) = t.ended.since(t.began) {
            self.transaction_seconds.observe(place, at, seconds(took), label);
        }
        if let Some(took) = t.timing.transfer {
            self.transfer_seconds.observe(place, at, seconds(took), label);
        }
        // Of a message with octets missing, the size is not known.
        if t.has_message && t.message.size_known() {
            self.message_bytes.observe(place, at, t.message.size() as f64, label);
        }
        if kind == TransactionKind::Delivery {
            self.delivery(t);
        }
    }

    fn delivery(&mut self, t: &Transaction) {
        if t.has_message {
            let accepted = t.recipients.iter().filter(|r| r.code.is_some_and(|code| code < 300)).count();
            self.accepted_recipients.observe(&self.place, 0, accepted as f64, || []);
        }
        if t.recipients.iter().any(|r| r.last.is_some()) {
            self.each_recipient(t);
        }
        // LMTP has no reply but those of the recipients (RFC 2033 section 4.2).
        if !t.recipients.iter().any(|r| r.last.is_some()) || self.place.protocol != Protocol::Lmtp {
            let answered = t.timing.reply.is_some() || t.stage == Some(Stage::DataEarly);
            if answered {
                self.reply(END_OF_DATA, &t.last);
            }
            if let Some(latency) = t.timing.reply {
                self.end_of_data(t, latency);
            }
        }
    }

    /// One reply for each recipient: each is charged for the time after the one before.
    fn each_recipient(&mut self, t: &Transaction) {
        let mut before = None;
        for last in t.recipients.iter().filter_map(|Recipient { last, .. }| last.as_ref()) {
            self.code(END_OF_DATA, labels::code(Some(Status::Code(last.code))), last.enhanced.map(labels::enhanced));
            self.reason(t.text(last.text));
            let Some(latency) = last.latency else {
                self.unobserved(Unobserved::Negative);
                continue;
            };
            match before.replace(latency) {
                // Two replies at one time came in one piece.
                Some(before) if before == latency => self.unobserved(Unobserved::Coalesced),
                before => self.end_of_data(t, latency.saturating_sub(before.unwrap_or_default())),
            }
        }
    }

    fn end_of_data(&mut self, t: &Transaction, latency: Duration) {
        if t.incomplete.has(Missing::ServerGap) || t.incomplete.has(Missing::ClientGap) {
            return self.unobserved(Unobserved::Gap);
        }
        self.latency.observe(&self.place, END_OF_DATA, seconds(latency), || [labels::END_OF_DATA]);
    }

    pub(super) fn anomaly(&mut self, a: &Anomaly) {
        let times = u64::from(a.count.max(1));
        let (state, word) = a.state.map_or((0, "seen"), |s| (s.index() + 1, s.as_str()));
        self.anomalies.add(&self.place, a.id.index() * STATES + state, times, || [a.id.as_str(), word]);
        if a.id == anomaly::Id::TcpOverlap
            && let Some(capture) = &mut self.capture
        {
            capture.overlaps.add(&self.place, a.dir.index(), times, || [labels::direction(a.dir)]);
        }
        let fault = match a.id {
            anomaly::Id::LineBareLf => LineFault::BareLf,
            anomaly::Id::LineNul => LineFault::Nul,
            anomaly::Id::LineOverlong => LineFault::Overlong,
            _ => return,
        };
        let index = a.dir.index() * LineFault::ALL.len() + fault.index();
        self.lines.add(&self.place, index, times, || [labels::direction(a.dir), fault.as_str()]);
    }
}

/// The latency of a command's reply, or why it is not observed; `None` if there was no reply.
fn latency(c: &Command) -> Option<Result<Duration, Unobserved>> {
    let excluded = matches!(c.verb, Verb::Idle | Verb::Notify | Verb::Auth | Verb::XExps | Verb::Authenticate);
    let gap = c.incomplete.has(Missing::ClientGap) || c.incomplete.has(Missing::ServerGap);
    let one_sided = c.incomplete.has(Missing::ServerUnseen) || c.incomplete.has(Missing::ClientUnseen);
    Some(match c.service_latency {
        _ if c.reply.status.is_none() && !gap && !one_sided => return None,
        _ if excluded => Err(Unobserved::Excluded),
        _ if one_sided => Err(Unobserved::OneSided),
        _ if gap => Err(Unobserved::Gap),
        _ if c.coalesced => Err(Unobserved::Coalesced),
        Some(latency) => Ok(latency),
        None if c.sent.known().is_none() => Err(Unobserved::Untimed),
        None => Err(Unobserved::Negative),
    })
}

/// The reply to the last chunk is that to the end of the data.
fn is_last_chunk(c: &Command) -> bool {
    let args = c.args.as_bytes().trim_ascii_end();
    let tail = args.len().checked_sub(4).and_then(|at| args.get(at..));
    matches!(c.verb, Verb::Bdat | Verb::Burl) && tail.is_some_and(|t| t.eq_ignore_ascii_case(b"LAST"))
}

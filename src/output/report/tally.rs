//! What is counted: per protocol, over closed lists only, so that its size does not depend on the traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Verb;
use crate::event::{
    Auth, AuthMethod, AuthOutcome, Command, Enhanced, Mechanism, Missing, Other, Recipient, SessionOutcome, Status,
    Summary, TlsMode, Transaction, TransactionKind, TransactionOutcome,
};
use crate::output::histogram::Histogram;

/// One count per variant of a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VariantCounts<const N: usize>([u64; N]);

impl<const N: usize> Default for VariantCounts<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> VariantCounts<N> {
    pub(super) fn add(&mut self, index: usize, by: u64) {
        if let Some(count) = self.0.get_mut(index) {
            *count += by;
        }
    }

    pub(super) fn of(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// Replies by class.
pub(super) const CLASSES: [&str; 10] = ["2yz", "3yz", "4yz", "5yz", "+OK", "-ERR", "OK", "NO", "BAD", "BYE"];

/// Everything about one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProtocolTally {
    pub(super) sessions: VariantCounts<{ SessionOutcome::ALL.len() }>,
    pub(super) encryption: VariantCounts<{ TlsMode::ALL.len() }>,
    pub(super) other: VariantCounts<{ Other::ALL.len() }>,
    pub(super) missing: VariantCounts<{ Missing::ALL.len() }>,
    pub(super) incomplete: u64,
    pub(super) lost: u64,
    pub(super) transactions: [VariantCounts<{ TransactionOutcome::ALL.len() }>; TransactionKind::ALL.len()],
    pub(super) mail: [MailCounts; TransactionKind::ALL.len()],
    pub(super) recipients: Recipients,
    pub(super) auth: BTreeMap<Way, VariantCounts<{ AuthOutcome::ALL.len() }>>,
    pub(super) replies: VariantCounts<{ CLASSES.len() }>,
    pub(super) unanswered: u64,
    pub(super) latency: BTreeMap<WaitedFor, Histogram>,
}

/// Messages of which data was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MailCounts {
    pub(super) messages: u64,
    pub(super) octets: u64,
    /// Those that were not seen from end to end.
    pub(super) partial: u64,
}

/// Recipients by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recipients {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) unanswered: u64,
    /// Beyond the engine's cap: how they fared is not known.
    pub(super) beyond: u64,
    pub(super) refusals: BTreeMap<RefusalReason, u64>,
}

/// Why a recipient was refused. An enhanced code counts if it lies within the registry's range (RFC 5248), so that there
/// are at most some hundred thousand of these, whatever servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RefusalReason {
    pub(super) code: u16,
    pub(super) enhanced: Option<(u8, u8, u8)>,
}

/// How somebody authenticated: at most as many as there are mechanisms and methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// A SASL mechanism, by its index.
    Sasl(usize),
    /// SASL, the mechanism not seen.
    Unseen,
    /// A method of its own, by its index.
    Method(usize),
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sasl(index) => Mechanism::ALL.get(index).map_or("", |m| m.as_str()),
            Self::Unseen => "SASL",
            Self::Method(index) => match AuthMethod::ALL.get(index) {
                Some(AuthMethod::Login) => "LOGIN command",
                Some(AuthMethod::UserPass) => "USER/PASS",
                Some(AuthMethod::Apop) => "APOP",
                Some(AuthMethod::Sasl) | None => "SASL",
            },
        }
    }
}

/// What a client waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WaitedFor {
    /// The greeting, after the TCP handshake.
    Greeting,
    /// A command, by the index of its verb.
    Command(usize),
    /// The final reply, after the end of the data.
    EndOfData,
}

impl WaitedFor {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Command(index) => Verb::ALL.get(index).map_or("", |v| v.as_str()),
            Self::EndOfData => "end of data",
        }
    }
}

impl ProtocolTally {
    pub(super) fn command(&mut self, command: &Command) {
        match command.reply.status.and_then(class) {
            Some(class) => self.replies.add(class, 1),
            None => self.unanswered += 1,
        }
        // IDLE lasts as long as the client likes (RFC 2177).
        if command.verb != Verb::Idle && !command.coalesced {
            self.waited(WaitedFor::Command(command.verb.index()), command.service_latency);
        }
    }

    pub(super) fn auth(&mut self, auth: &Auth) {
        let way = match (auth.method, auth.mechanism) {
            (AuthMethod::Sasl, Some(mechanism)) => Way::Sasl(mechanism.index()),
            (AuthMethod::Sasl, None) => Way::Unseen,
            (method, _) => Way::Method(method.index()),
        };
        self.auth.entry(way).or_default().add(auth.outcome.index(), 1);
    }

    pub(super) fn transaction(&mut self, t: &Transaction) {
        let kind = t.kind.index();
        if let Some(outcomes) = self.transactions.get_mut(kind) {
            outcomes.add(t.outcome.index(), 1);
        }
        if let Some(mail) = self.mail.get_mut(kind).filter(|_| t.has_message) {
            mail.messages += 1;
            mail.octets += t.message.size();
            mail.partial += u64::from(!t.message.complete());
        }
        t.recipients.iter().for_each(|recipient| self.recipients.add(recipient));
        self.recipients.beyond += u64::from(t.recipients_total).saturating_sub(t.recipients.len() as u64);
        self.waited(WaitedFor::EndOfData, t.timing.reply);
    }

    pub(super) fn session(&mut self, s: &Summary) {
        self.sessions.add(s.outcome.index(), 1);
        self.encryption.add(s.tls.mode.unwrap_or(TlsMode::None).index(), 1);
        if let Some(other) = s.other {
            self.other.add(other.index(), 1);
        }
        s.incomplete.iter().for_each(|missing| self.missing.add(missing.index(), 1));
        self.incomplete += u64::from(!s.incomplete.is_empty());
        self.lost += s.gaps.iter().sum::<u64>();
        self.waited(WaitedFor::Greeting, s.greeting.delay);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.sessions.merge(&other.sessions);
        self.encryption.merge(&other.encryption);
        self.other.merge(&other.other);
        self.missing.merge(&other.missing);
        self.incomplete += other.incomplete;
        self.lost += other.lost;
        self.transactions.iter_mut().zip(&other.transactions).for_each(|(mine, theirs)| mine.merge(theirs));
        for (mine, theirs) in self.mail.iter_mut().zip(other.mail) {
            mine.messages += theirs.messages;
            mine.octets += theirs.octets;
            mine.partial += theirs.partial;
        }
        self.recipients.merge(other.recipients);
        for (way, outcomes) in other.auth {
            self.auth.entry(way).or_default().merge(&outcomes);
        }
        self.replies.merge(&other.replies);
        self.unanswered += other.unanswered;
        for (step, histogram) in other.latency {
            self.latency.entry(step).or_default().merge(&histogram);
        }
    }

    fn waited(&mut self, step: WaitedFor, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.latency.entry(step).or_default().add(duration);
        }
    }
}

impl Recipients {
    /// The last word counts: in LMTP that is the reply after the data.
    fn add(&mut self, recipient: &Recipient) {
        let first = recipient.code.map(|code| (code, recipient.enhanced));
        let last = recipient.last.map(|reply| (reply.code, reply.enhanced));
        let Some((code, enhanced)) = last.or(first) else {
            self.unanswered += 1;
            return;
        };
        if code < 400 {
            self.accepted += 1;
            return;
        }
        self.refused += 1;
        *self.refusals.entry(RefusalReason { code, enhanced: enhanced.and_then(registered) }).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.beyond += other.beyond;
        for (refusal, count) in other.refusals {
            *self.refusals.entry(refusal).or_default() += count;
        }
    }
}

/// An enhanced code in the registry's range.
fn registered(code: Enhanced) -> Option<(u8, u8, u8)> {
    let (subject, detail) = (u8::try_from(code.subject).ok()?, u8::try_from(code.detail).ok()?);
    (subject <= 7 && detail < 64).then_some((code.class, subject, detail))
}

/// Index in [`CLASSES`].
fn class(status: Status) -> Option<usize> {
    match status {
        Status::Code(code) => usize::from(code / 100).checked_sub(2).filter(|class| *class < 4),
        Status::PopOk => Some(4),
        Status::PopErr => Some(5),
        Status::Ok | Status::Preauth => Some(6),
        Status::No => Some(7),
        Status::Bad => Some(8),
        Status::Bye => Some(9),
    }
}

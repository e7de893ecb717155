//! Events become the lines of the log: one JSON object each, a line feed after it.
//!
//! A [`RecordWriter`] fills a buffer that the caller takes to wherever the log goes; it does no I/O. What it writes
//! is a promise to users, published as a [JSON Schema](mod@super::schema); names and rules change only with that.
//! It must never write more than an event holds, nor an identity that the [`Policy`] withholds.

mod command;
mod community;
mod json;
mod session;
#[cfg(test)]
mod tests;
mod transaction;

use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::identity::{FailedIdentity, Identities, IdentityPolicy, Redactor};
use crate::event::Masked;
use crate::event::{Context, Enhanced, Event, Incomplete, Missing, Sink, Status, words};
use crate::time::{Timestamp, WallClock};
use json::{Fields, Items, JsonAddress, JsonMembers, Object};

pub(super) use json::Time;

words! {
    /// A type of record.
    RecordKind {
        /// One per connection, when it ends.
        Session = "session",
        /// One per unit of mail moved.
        Transaction = "transaction",
        /// One per command.
        Command = "command",
        /// One per authentication attempt.
        Auth = "auth",
        /// One per kind of anomaly and session.
        Anomaly = "anomaly",
    }
}

words! {
    /// How much of a message's header is written.
    Detail {
        /// Neither subject, nor addresses of the header, nor names of attachments.
        Envelope = "envelope",
        /// All that is known.
        Headers = "headers",
    }
}

words! {
    /// Where octets came from.
    InputKind {
        /// The inline proxy.
        Proxy = "proxy",
        /// A network interface.
        Live = "live",
        /// A capture file.
        File = "file",
    }
}

/// A set of [`RecordKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSet(u8);

impl RecordSet {
    /// Every type.
    pub const ALL: Self = Self((1 << RecordKind::ALL.len()) - 1);
    /// No type.
    pub const NONE: Self = Self(0);

    /// The set with `kind` in it.
    #[must_use]
    pub const fn with(self, kind: RecordKind) -> Self {
        Self(self.0 | 1 << kind.index())
    }

    /// The set without `kind`.
    #[must_use]
    pub const fn without(self, kind: RecordKind) -> Self {
        Self(self.0 & !(1 << kind.index()))
    }

    /// Whether `kind` is in it.
    pub const fn has(self, kind: RecordKind) -> bool {
        self.0 & (1 << kind.index()) != 0
    }
}

/// What the log shows.
#[derive(Clone)]
pub struct Policy {
    /// Which records are written.
    pub records: RecordSet,
    /// How much of a message's header.
    pub detail: Detail,
    /// How identities are written.
    pub identity: IdentityPolicy,
    /// How those of failed attempts are.
    pub identity_failed: FailedIdentity,
    /// Key of the HMAC; without it, what would be an HMAC is left out.
    pub key: Option<Vec<u8>>,
    /// Where the octets came from.
    pub input: InputKind,
    /// Whether health checks are recorded.
    pub health_checks: bool,
    /// Names of the sources (files, interfaces, listeners), by [`Peers::source`](crate::event::Peers::source).
    pub sources: Vec<String>,
}

impl Default for Policy {
    /// All records with all details, identities in full, of a file.
    fn default() -> Self {
        Self {
            records: RecordSet::ALL,
            detail: Detail::Headers,
            identity: IdentityPolicy::Full,
            identity_failed: FailedIdentity::Hmac,
            key: None,
            input: InputKind::File,
            health_checks: false,
            sources: Vec::new(),
        }
    }
}

impl fmt::Debug for Policy {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, detail, identity, identity_failed, key, input, health_checks, sources } = self;
        f.debug_struct("Policy")
            .field("records", records)
            .field("detail", detail)
            .field("identity", identity)
            .field("identity_failed", identity_failed)
            .field("key", &key.as_ref().map(|_| "[redacted]"))
            .field("input", input)
            .field("health_checks", health_checks)
            .field("sources", sources)
            .finish()
    }
}

/// Writes records into a buffer.
pub struct RecordWriter {
    policy: Arc<Policy>,
    identities: Identities,
    clock: WallClock,
    out: Vec<u8>,
    counts: [u64; RecordKind::ALL.len()],
}

impl RecordWriter {
    /// An empty one.
    pub fn new(policy: Arc<Policy>) -> Self {
        let identities = Identities::new(policy.identity, policy.identity_failed, policy.key.as_deref());
        Self { policy, identities, clock: WallClock::default(), out: Vec::new(), counts: [0; RecordKind::ALL.len()] }
    }

    /// The sources have these names from now on.
    pub fn name_sources(&mut self, names: &[String]) {
        if self.policy.sources != names {
            Arc::make_mut(&mut self.policy).sources = names.to_vec();
        }
    }

    /// At the time `at` of events the host's clock was found to show `shown`: records show what it shows.
    pub fn clock_set(&mut self, at: Timestamp, shown: Timestamp) {
        self.clock.set(at, shown);
    }

    /// The records written since [`Self::clear`]: whole lines.
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Forgets them; the room stays.
    pub fn clear(&mut self) {
        self.out.clear();
    }

    /// The records written, for the caller to take: what is taken out is written.
    pub fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// How many records of each type were ever written, in the order of [`RecordKind::ALL`].
    pub fn counts(&self) -> [u64; RecordKind::ALL.len()] {
        self.counts
    }
}

impl fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, identities: _, clock, out, counts } = self;
        f.debug_struct("RecordWriter")
            .field("policy", policy)
            .field("clock", clock)
            .field("octets", &out.len())
            .field("counts", counts)
            .finish()
    }
}

impl Sink for RecordWriter {
    fn event(&mut self, context: &Context, _: Timestamp, event: &Event<'_>) {
        if context.omitted || context.health_check && !self.policy.health_checks {
            return;
        }
        let Self { policy, identities, clock, out, counts } = self;
        let mut lines = RecordLines { context, policy, identities, clock, out, counts };
        match *event {
            Event::Command(c) => lines.add(RecordKind::Command, c.began, c.incomplete, c),
            Event::Auth(a) => lines.add(RecordKind::Auth, a.began, a.incomplete, a),
            Event::Transaction(t) => lines.add(RecordKind::Transaction, t.began, transaction::incomplete(&t), t),
            Event::Anomaly(a) => lines.add(RecordKind::Anomaly, a.at, Incomplete::NONE, a),
            Event::End(s) => lines.add(RecordKind::Session, context.began, s.incomplete, s),
            Event::Start
            | Event::Octets { .. }
            | Event::Lost { .. }
            | Event::Idle
            | Event::IdleOver { .. }
            | Event::Greeting(_)
            | Event::Body { .. } => {}
        }
    }
}

/// What every record is written under.
#[derive(Clone, Copy)]
struct View<'a> {
    context: &'a Context,
    policy: &'a Policy,
    identities: &'a Identities,
    clock: &'a WallClock,
    /// When the thing began.
    began: Timestamp,
}

impl View<'_> {
    /// What the host's clock showed at `at`, if it was not set since the thing began: `end` is `ts` plus `duration` always.
    fn shown(&self, at: Timestamp) -> Timestamp {
        self.clock.shown_from(self.began, at)
    }
}

/// A fact that has a record of its own.
trait Facts {
    /// Writes the members beyond those that every record has.
    fn facts<M: SerializeMap>(&self, view: View<'_>, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error>;
}

/// Where records go.
struct RecordLines<'a> {
    context: &'a Context,
    policy: &'a Policy,
    identities: &'a Identities,
    clock: &'a WallClock,
    out: &'a mut Vec<u8>,
    counts: &'a mut [u64; RecordKind::ALL.len()],
}

impl RecordLines<'_> {
    /// Adds one record, if its type is wanted. Nothing in it can fail to serialize; should it, no torn line stays behind.
    fn add<T>(&mut self, kind: RecordKind, began: Timestamp, incomplete: Incomplete, facts: Masked<'_, T>)
    where
        for<'m> Masked<'m, T>: Facts,
    {
        let Self { context, policy, identities, clock, .. } = *self;
        if !policy.records.has(kind) {
            return;
        }
        let redactor = Redactor::new(identities, facts.names());
        let view = View { context, policy, identities, clock, began };
        let record = Object(Record { view, kind, incomplete, facts: &facts }, &redactor);
        let written = json::write(self.out, &record);
        debug_assert!(written.is_ok(), "a record that does not serialize: {written:?}");
        if written.is_err() {
            return;
        }
        self.out.push(b'\n');
        if let Some(count) = self.counts.get_mut(kind.index()) {
            *count += 1;
        }
    }
}

/// One record: what all have, then the facts.
struct Record<'a, T> {
    view: View<'a>,
    kind: RecordKind,
    incomplete: Incomplete,
    facts: &'a T,
}

impl<T: Facts> Fields for Record<'_, T> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let context = self.view.context;
        object.set("record", self.kind.as_str())?;
        object.time("ts", self.view.shown(self.view.began))?;
        object.set("session", &SessionId(context.id))?;
        object.set("protocol", context.protocol.as_str())?;
        object.object("client", JsonAddress(context.peers.client))?;
        object.object("server", JsonAddress(context.peers.server))?;
        let policy = self.view.policy;
        if policy.input == InputKind::Proxy {
            object.known("listener", policy.sources.get(context.peers.source as usize))?;
        }
        if !self.incomplete.is_empty() {
            let missing = Missing::ALL.iter().copied().filter(|m| self.incomplete.has(*m));
            object.set("incomplete", &Items(missing.map(Missing::as_str)))?;
        }
        self.facts.facts(self.view, object)
    }
}

/// 16 hexadecimal digits.
struct SessionId(u64);

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 16];
        HEXLOWER.encode_mut(&self.0.to_be_bytes(), &mut text);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// `5.7.1`.
pub(super) fn enhanced(code: Enhanced) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{}.{}.{}", code.class, code.subject, code.detail))
}

/// A status: a reply code, or what POP3 and IMAP say.
struct JsonStatus(Status);

impl Serialize for JsonStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = [b'0'; 5];
        serializer.serialize_str(match self.0 {
            Status::Code(code) => json::decimal(code, &mut digits),
            Status::PopOk => "+OK",
            Status::PopErr => "-ERR",
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
            Status::Bye => "BYE",
            Status::Preauth => "PREAUTH",
        })
    }
}

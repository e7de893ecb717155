//! What a session has learned so far, and how it says it: the one place that emits events.
//!
//! Every protocol writes here. The pools keep the buffers of finished commands and transactions, so that a steady
//! session allocates nothing. Every fact passes the masking of secrets on its way out.

use std::time::Duration;

use crate::engine::Limits;
use crate::engine::frame::FramingMode;
use crate::engine::secret::Secrets;
use crate::engine::software;
use crate::event;
use crate::event::Both;
use crate::event::anomaly::Id;
use crate::event::{
    Anomaly, Auth, AuthOutcome, AuthSummary, Command, Context, Counts, Dir, Event, Extension, Extensions, Greeting,
    Idle, Incomplete, Maildrop, Masked, Mechanism, Missing, Notice, Protocol, Reply, Severity, Sink, Software, Status,
    Summary, Texts, Tls, TlsMode, Transaction, TransactionKind,
};
use crate::event::{List, Text};
use crate::event::{Untagged, Verb};
use crate::time::Timestamp;

/// Where and when a frame came in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    /// Time of the piece that completed the frame.
    pub(crate) at: Timestamp,
    /// Serial number of that piece.
    pub(crate) piece: u64,
    /// Octets of the other direction that its sender had received by then.
    pub(crate) peer: u64,
}

/// What the server said of itself.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    /// Without being asked.
    pub(crate) notices: Vec<Notice>,
    /// About the end of the session.
    pub(crate) close_reason: Text,
}

/// A session's knowledge.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    pub(crate) greeting: Greeting,
    /// Whether `greeting` was emitted.
    pub(crate) greeted: bool,
    pub(crate) helo: Text,
    pub(crate) capabilities: List,
    pub(crate) tls: Tls,
    /// Extensions of SMTP that the client used.
    pub(crate) extensions: Extensions,
    pub(crate) auth: AuthSummary,
    /// Identity of the last successful attempt.
    pub(crate) identity: Text,
    pub(crate) mailbox: Text,
    pub(crate) counts: Counts,
    /// Where the proxy went on to.
    pub(crate) upstream: Option<event::Upstream>,
    /// Where the tunnel leads that the session is in.
    pub(crate) tunnel: Option<Box<event::Tunnel>>,
    /// EHLO was refused and HELO taken.
    pub(crate) ehlo_refused: bool,
    pub(crate) reply_desync: u32,
    /// Serial number of the piece with which the client closed.
    pub(crate) client_left: Option<u64>,
    pub(crate) maildrop: Option<Box<Maildrop>>,
    pub(crate) untagged: Vec<(Untagged, u32)>,
    pub(crate) idle: Option<Idle>,
    pub(crate) incomplete: Incomplete,
    pub(crate) secrets: Secrets,
    /// Most sessions have none.
    pub(crate) remarks: Option<Box<Remarks>>,
    pub(crate) software: Option<Box<Software>>,
    /// QUIT or LOGOUT was answered.
    pub(crate) quit_answered: bool,
    /// QUIT or LOGOUT was sent.
    pub(crate) quit_sent: bool,
    /// 421 or BYE without QUIT.
    pub(crate) shutdown: bool,
    /// The reply said that the server's patience was over.
    pub(crate) shutdown_timeout: bool,
    /// The greeting refused.
    pub(crate) refused: bool,
    /// Octets that cannot be read: since when, by what.
    pub(crate) opaque: bool,
    /// An authentication succeeded that may have brought a security layer: the next octets tell.
    pub(crate) may_wrap: bool,
    /// Roles were swapped by TURN or ATRN.
    pub(crate) reversed: bool,
    anomalies: Vec<Anomaly>,
    commands: Vec<Box<Command>>,
    transactions: Vec<Box<Transaction>>,
    numbers: (u32, u32),
    /// Bytes of the session so far, as they came.
    pub(crate) wire: u64,
    /// What the records so far cost.
    told: u64,
}

impl SessionState {
    /// Encryption now.
    pub(crate) fn tls_mode(&self) -> TlsMode {
        self.tls.mode.unwrap_or(TlsMode::None)
    }

    /// A list of capabilities came in clear, with STARTTLS or without. An offer is not taken back by a later list: after a login, a
    /// refusal or STARTTLS itself, servers leave it out (RFC 3207 section 4.2).
    pub(crate) fn starttls_listed(&mut self, is_offered: bool) {
        self.tls.offered = Some(is_offered || self.tls.offered == Some(true));
    }

    /// The server agreed to STARTTLS, or did not; once there is TLS, a refusal takes nothing back.
    pub(crate) fn tls_answered(&mut self, agreed: bool) {
        if agreed || self.tls.mode.is_none() {
            self.tls.accepted = Some(agreed);
        }
    }

    /// An empty command with the next number, begun and sent as told.
    pub(crate) fn command(&mut self, began: Timestamp, sent: Timestamp) -> Box<Command> {
        self.numbers.0 = self.numbers.0.saturating_add(1);
        self.counts.commands = self.counts.commands.saturating_add(1);
        let mut command = self.commands.pop().unwrap_or_default();
        command.number = self.numbers.0;
        command.began = began;
        command.sent = sent;
        command
    }

    /// In place of a command, for a reply that none asked for: the greeting, the end of data at `sent`.
    pub(crate) fn unasked(&mut self, sent: Timestamp) -> Box<Command> {
        let mut command = self.commands.pop().unwrap_or_default();
        command.sent = sent;
        command
    }

    /// Takes back a command that was none.
    pub(crate) fn forget_command(&mut self, command: Box<Command>) {
        if command.number == self.numbers.0 {
            self.numbers.0 -= 1;
        }
        self.counts.commands = self.counts.commands.saturating_sub(1);
        self.recycle_command(command);
    }

    /// Takes back a command that is over.
    pub(crate) fn recycle_command(&mut self, mut command: Box<Command>) {
        const KEPT: usize = 64;
        if self.commands.len() < KEPT {
            command.clear();
            self.commands.push(command);
        }
    }

    /// An empty transaction with the next number, begun as told.
    pub(crate) fn transaction(&mut self, kind: TransactionKind, began: Timestamp) -> Box<Transaction> {
        self.numbers.1 = self.numbers.1.saturating_add(1);
        let mut transaction = self.transactions.pop().unwrap_or_else(|| Box::new(Transaction::blank()));
        transaction.kind = kind;
        transaction.number = self.numbers.1;
        transaction.began = began;
        transaction.ended = began;
        transaction.tls = self.tls_mode();
        if self.identity.is_present() {
            transaction.identity.copy_from(&self.identity);
        }
        transaction.reversed = self.reversed;
        transaction
    }

    /// Gives back what it does not need while the session stands still: above all its pools.
    pub(crate) fn shrink(&mut self) {
        self.commands = Vec::new();
        self.transactions = Vec::new();
        self.anomalies.shrink_to_fit();
        self.untagged.shrink_to_fit();
        self.capabilities.shrink();
        self.secrets.shrink();
        let Greeting { reply, .. } = &mut self.greeting;
        for text in [
            &mut reply.text,
            &mut reply.response_code,
            &mut self.helo,
            &mut self.auth.identity,
            &mut self.identity,
            &mut self.mailbox,
        ] {
            text.shrink();
        }
    }

    /// Takes back a transaction that came to nothing; its number is free again if it was the last.
    pub(crate) fn forget(&mut self, transaction: Box<Transaction>) {
        if transaction.number == self.numbers.1 {
            self.numbers.1 -= 1;
        }
        self.recycle(transaction);
    }

    fn recycle(&mut self, mut transaction: Box<Transaction>) {
        const KEPT: usize = 4;
        if self.transactions.len() < KEPT {
            transaction.reset();
            self.transactions.push(transaction);
        }
    }

    /// The server's program by its greeting or its capabilities (RFC 2449 section 6.9), unless it told it better (ID).
    pub(crate) fn name_server(&mut self) {
        const LONGEST: usize = 128;
        if self.software.as_ref().is_some_and(|software| software.server.is_present()) {
            return;
        }
        let implementation = self.capabilities.iter().find_map(|entry| entry.strip_prefix(b"IMPLEMENTATION "));
        let name = implementation.or_else(|| software::of_greeting(self.greeting.reply.text.as_bytes()));
        if let Some(name) = name.map(|name| name.get(..LONGEST).unwrap_or(name)) {
            self.software.get_or_insert_default().server.set(name);
        }
    }

    /// How the session stands when it ends.
    pub(crate) fn summary(&mut self, ended: Timestamp, close: event::Close, outcome: event::SessionOutcome) -> Summary {
        let took = std::mem::take(self);
        let remarks = took.remarks.map_or_else(Remarks::default, |remarks| *remarks);
        Summary {
            ended,
            bytes: [0; 2],
            packets: None,
            gaps: [0; 2],
            disorder: None,
            other: None,
            started: Protocol::Unknown,
            greeting: took.greeting,
            helo: took.helo,
            capabilities: took.capabilities,
            extensions: took.extensions,
            tls: took.tls,
            auth: took.auth,
            mailbox: took.mailbox,
            counts: took.counts,
            close,
            close_reason: remarks.close_reason,
            notices: remarks.notices,
            software: took.software,
            upstream: took.upstream,
            proxied_client: None,
            tunnel: took.tunnel,
            ehlo_refused: took.ehlo_refused,
            reply_desync: took.reply_desync,
            outcome,
            maildrop: took.maildrop.map(|maildrop| *maildrop),
            untagged: took.untagged,
            idle: took.idle,
            incomplete: took.incomplete,
        }
    }
}

/// What a protocol may touch while it handles one frame.
pub(crate) struct EventContext<'a> {
    /// The session's knowledge.
    pub(crate) session: &'a mut SessionState,
    /// Its caps.
    pub(crate) limits: &'a Limits,
    /// Its identity.
    pub(crate) context: &'a mut Context,
    /// Where and when the frame came in.
    pub(crate) stamp: Stamp,
    /// Stream offset just after the frame.
    pub(crate) offset: u64,
    /// Mode changes asked for: applied when the frame is handled.
    pub(crate) modes: Both<Option<FramingMode>>,
    /// Layer changes asked for.
    pub(crate) layers: Both<Option<Layer>>,
    /// What the client has sent that is not read yet.
    pub(crate) held: &'a [u8],
    /// Asks for the roles to be swapped (RFC 821 TURN, RFC 2645).
    pub(crate) turn: bool,
    /// Takes the events.
    pub(crate) out: &'a mut dyn Sink,
}

impl<'a> EventContext<'a> {
    /// Of what came in at `stamp`: no place in the stream is known, and nothing is held or asked for yet.
    pub(super) fn new(
        session: &'a mut SessionState,
        limits: &'a Limits,
        context: &'a mut Context,
        stamp: Stamp,
        out: &'a mut dyn Sink,
    ) -> Self {
        let (modes, layers) = (Both::default(), Both::default());
        Self { session, limits, context, stamp, offset: 0, modes, layers, held: &[], turn: false, out }
    }
}

/// What lies between the octets of TCP and those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Nothing.
    Plain,
    /// Raw DEFLATE (RFC 4978).
    Deflate,
}

/// What an event of its own tells.
trait Fact: Texts + Sized {
    fn event(fact: Masked<'_, Self>) -> Event<'_>;
}

impl Fact for Command {
    fn event(fact: Masked<'_, Self>) -> Event<'_> {
        Event::Command(fact)
    }
}

impl Fact for Auth {
    fn event(fact: Masked<'_, Self>) -> Event<'_> {
        Event::Auth(fact)
    }
}

impl Fact for Transaction {
    fn event(fact: Masked<'_, Self>) -> Event<'_> {
        Event::Transaction(fact)
    }
}

impl Fact for Anomaly {
    fn event(fact: Masked<'_, Self>) -> Event<'_> {
        Event::Anomaly(fact)
    }
}

impl EventContext<'_> {
    /// Asks for a mode.
    pub(crate) fn switch(&mut self, dir: Dir, mode: FramingMode) {
        self.modes[dir] = Some(mode);
    }

    /// The direction is missing something, for good.
    pub(crate) fn missing(&mut self, what: Missing) {
        self.session.incomplete.add(what);
    }

    fn emit(&mut self, event: &Event<'_>) {
        self.out.event(self.context, self.stamp.at, event);
    }

    /// Emits `fact` as [`Self::emit_fact`] does; its record has `text` bytes of what peers chose. Small inputs can cause many and long ones
    /// (DEFLATE makes a thousand commands of ten bytes), so they are bounded by the bytes that came: beyond that, they are
    /// counted only.
    fn record<T: Fact>(&mut self, text: usize, fact: &mut T) {
        /// Records that any session may have.
        const FREE: u64 = 1024;
        /// Bytes of the session that are worth one more: no command with its reply is shorter.
        const WORTH: u64 = 8;
        /// Text that costs as much as a record.
        const TEXT: u64 = 256;
        let told = self.session.told.saturating_add(1 + text as u64 / TEXT);
        self.context.omitted = told > FREE + self.session.wire / WORTH;
        if self.context.omitted {
            self.session.counts.omitted = self.session.counts.omitted.saturating_add(1);
        } else {
            self.session.told = told;
        }
        self.emit_fact(fact);
        self.context.omitted = false;
    }

    /// Emits `fact`, masked, as an event.
    fn emit_fact<T: Fact>(&mut self, fact: &mut T) {
        let fact = Masked::new(fact, self.session.secrets.prepare());
        self.out.event(self.context, self.stamp.at, &T::event(fact));
    }

    /// The greeting is complete.
    pub(crate) fn greeting(&mut self) {
        if !self.session.greeted {
            self.session.greeted = true;
            let SessionState { greeting, secrets, .. } = &mut *self.session;
            let greeting = Masked::new(greeting, secrets.prepare());
            self.out.event(self.context, self.stamp.at, &Event::Greeting(greeting));
        }
    }

    /// A command is complete, or never will be.
    pub(crate) fn command(&mut self, mut command: Box<Command>) {
        self.count_reply(command.reply.status);
        if command.verb == Verb::Other {
            self.session.counts.unknown_commands = self.session.counts.unknown_commands.saturating_add(1);
        }
        if let Some(extension) = extension_of(command.verb) {
            self.session.extensions.add(extension);
        }
        if command.pipelined {
            self.session.extensions.add(Extension::Pipelining);
        }
        let text = command.args.as_bytes().len() + command.reply.text.as_bytes().len();
        self.record(text, &mut *command);
        if command.reply.status.is_some() {
            self.session.secrets.used();
            if let Some(remarks) = self.session.remarks.as_mut().filter(|_| !self.session.shutdown) {
                // The session went on.
                remarks.close_reason.clear();
            }
        }
        self.session.recycle_command(command);
    }

    /// The server said something without being asked.
    pub(crate) fn notice(&mut self, reply: &Reply) {
        /// A server that repeats itself has said everything by then.
        const MOST: usize = 8;
        let Remarks { notices, .. } = &mut **self.session.remarks.get_or_insert_default();
        if notices.len() < MOST {
            let Reply { status, enhanced: _, response_code, text } = reply.clone();
            notices.push(Notice { status, response_code, text });
        }
    }

    /// The server said why it closes the session, or would.
    pub(crate) fn close_reason(&mut self, text: &Text) {
        self.session.remarks.get_or_insert_default().close_reason.copy_from(text);
    }

    /// IDLE began.
    pub(crate) fn idle(&mut self) {
        self.emit(&Event::Idle);
    }

    /// IDLE is over after `lasted`.
    pub(crate) fn idle_over(&mut self, lasted: Duration) {
        let idle = self.session.idle.get_or_insert_with(Idle::default);
        idle.count = idle.count.saturating_add(1);
        idle.duration = idle.duration.saturating_add(lasted);
        self.emit(&Event::IdleOver { lasted });
    }

    /// Counts a reply that says no.
    pub(crate) fn count_reply(&mut self, status: Option<Status>) {
        let counts = &mut self.session.counts;
        match status {
            Some(Status::Code(400..=499)) => counts.errors_temporary = counts.errors_temporary.saturating_add(1),
            Some(Status::Code(500..) | Status::PopErr | Status::No | Status::Bad) => {
                counts.errors_permanent = counts.errors_permanent.saturating_add(1);
            }
            _ => {}
        }
    }

    /// An authentication attempt is complete.
    pub(crate) fn auth(&mut self, mut auth: Auth) {
        let session = &mut *self.session;
        auth.identity_proven = auth.identity.is_present()
            && session.identity.is_present()
            && auth.identity.as_bytes() == session.identity.as_bytes();
        let success = auth.outcome == AuthOutcome::Success;
        let summary = &mut session.auth;
        summary.attempts = summary.attempts.saturating_add(1);
        if success || summary.outcome != Some(AuthOutcome::Success) {
            summary.method = Some(auth.method);
            summary.mechanism = auth.mechanism;
            summary.identity.copy_from(&auth.identity);
            summary.outcome = Some(auth.outcome);
        }
        if success {
            session.secrets.proved(auth.identity.as_bytes());
            session.identity.copy_from(&auth.identity);
            session.may_wrap = auth.mechanism.is_some_and(may_wrap);
        }
        let text = auth.identity.as_bytes().len() + auth.reply.text.as_bytes().len();
        self.record(text, &mut auth);
    }

    /// Octets of the message of `transaction`, as the receiver stores them.
    pub(crate) fn body(&mut self, transaction: &mut Transaction, octets: &[u8]) {
        transaction.message.octets(octets);
        self.emit(&Event::Body { number: transaction.number, octets });
    }

    /// A dot of the message of `transaction` behind LF alone ([`Message::loose_dot`](crate::message::Message::loose_dot)).
    pub(crate) fn loose_dot(&mut self, transaction: &mut Transaction) {
        transaction.message.loose_dot();
        self.emit(&Event::Body { number: transaction.number, octets: b"." });
    }

    /// A transaction is complete.
    pub(crate) fn transaction(&mut self, mut transaction: Box<Transaction>) {
        self.session.counts.transactions = self.session.counts.transactions.saturating_add(1);
        transaction.ended = self.stamp.at;
        for param in &transaction.params {
            let value = param.value.map(|value| transaction.text(value));
            if let Some(extension) = extension_by(transaction.text(param.keyword), value) {
                self.session.extensions.add(extension);
            }
        }
        let text = transaction.mailbox.as_bytes().len() + transaction.section.as_bytes().len();
        self.record(text, &mut *transaction);
        self.session.recycle(transaction);
    }

    /// Something that should not happen was seen: the first of its kind is kept, further ones are counted.
    pub(crate) fn anomaly(&mut self, id: Id, severity: Severity, dir: Dir, offset: u64, count: u32) {
        self.session.counts.anomalies = self.session.counts.anomalies.saturating_add(count);
        if let Some(seen) = self.session.anomalies.iter_mut().find(|seen| (seen.id, seen.dir) == (id, dir)) {
            seen.count = seen.count.saturating_add(count);
            return;
        }
        self.session.anomalies.push(Anomaly {
            id,
            severity,
            state: None,
            variant: "",
            dir,
            at: self.stamp.at,
            offset,
            evidence: Text::default(),
            transaction: None,
            tag: Text::default(),
            count,
        });
    }

    /// The session is over: its anomalies are told, each with its count.
    pub(crate) fn anomalies(&mut self) {
        for mut anomaly in std::mem::take(&mut self.session.anomalies) {
            self.emit_fact(&mut anomaly);
        }
    }
}

/// Whether `mechanism` can bring a security layer (RFC 4422 section 3.7).
fn may_wrap(mechanism: Mechanism) -> bool {
    use Mechanism::{DigestMd5, GssSpnego, Gssapi, KerberosV4};
    matches!(mechanism, DigestMd5 | GssSpnego | Gssapi | KerberosV4)
}

/// The extension that a command belongs to.
fn extension_of(verb: Verb) -> Option<Extension> {
    Some(match verb {
        Verb::Auth => Extension::Auth,
        Verb::Bdat => Extension::Chunking,
        Verb::Burl => Extension::Burl,
        Verb::Etrn => Extension::Etrn,
        Verb::Expn => Extension::Expn,
        Verb::Help => Extension::Help,
        Verb::StartTls => Extension::StartTls,
        Verb::Vrfy => Extension::Vrfy,
        Verb::Xclient => Extension::Xclient,
        Verb::Xforward => Extension::Xforward,
        _ => return None,
    })
}

/// The extension that a parameter of MAIL or RCPT belongs to; `keyword` is in upper case.
fn extension_by(keyword: &[u8], value: Option<&[u8]>) -> Option<Extension> {
    Some(match keyword {
        b"SIZE" => Extension::Size,
        b"BODY" if value.is_some_and(|v| v.eq_ignore_ascii_case(b"BINARYMIME")) => Extension::BinaryMime,
        b"BODY" => Extension::EightBitMime,
        b"SMTPUTF8" => Extension::SmtpUtf8,
        b"RET" | b"ENVID" | b"NOTIFY" | b"ORCPT" => Extension::Dsn,
        b"AUTH" => Extension::Auth,
        b"BY" => Extension::DeliverBy,
        b"HOLDFOR" | b"HOLDUNTIL" => Extension::FutureRelease,
        b"MT-PRIORITY" => Extension::MtPriority,
        b"REQUIRETLS" => Extension::RequireTls,
        b"PRDR" => Extension::Prdr,
        _ => return None,
    })
}

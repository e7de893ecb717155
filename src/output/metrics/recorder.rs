//! Counts the events of one thread. Allocates when a listener, a protocol or a label set is met for the first time,
//! and never again; takes a lock then only.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;

use super::Shared;
use super::families::Id;
use super::labels::{
    self, Answer, Bypass, CIPHERS, CODES, Cover, ENHANCED, EXTENSIONS, Eviction, LineFault, ParserError, Refusal,
    StartTlsOutcome, TLS_VERSIONS, Unobserved, UntaggedReason,
};
use super::reasons::ReplyReasons;
use super::series::{COMMANDS, Counters, END_OF_DATA, GREETING, Histograms, Place, command, seconds};
use crate::engine::anomaly;
use crate::engine::event::{
    Anomaly, AnomalyState, Auth, AuthMethod, AuthOutcome, Command, Context, Dir, Disorder, Event, Extension, Handshake,
    How, Kind, Mechanism, Missing, Outcome, Phase, Protocol, Recipient, Reply, SessionOutcome, Stage, Status, Summary,
    TlsMode, Transaction,
};
use crate::engine::{Sink, Untagged, Verb};
use crate::time::Timestamp;

/// Counts the events of one thread.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    /// By listener and protocol.
    tables: Vec<Option<Box<Table>>>,
}

impl Recorder {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let size = shared.listeners.len() * Protocol::ALL.len();
        Self { shared, tables: (0..size).map(|_| None).collect() }
    }

    fn table(&mut self, context: &Context, protocol: Protocol) -> Option<&mut Table> {
        let listener = self.shared.listener(context.peers.source);
        let at = listener * Protocol::ALL.len() + protocol.index();
        let Self { shared, tables } = self;
        Some(tables.get_mut(at)?.get_or_insert_with(|| Box::new(Table::new(shared, listener, protocol))))
    }
}

impl Sink for Recorder {
    fn event(&mut self, context: &Context, _: Timestamp, event: &Event<'_>) {
        // A message's octets come in many pieces, and say nothing here.
        if matches!(event, Event::Body { .. }) {
            return;
        }
        if let Event::End(summary) = event
            && let Some(table) = self.table(context, summary.started)
            && let Some(active) = &table.active
        {
            active.dec();
        }
        let Some(table) = self.table(context, context.protocol) else { return };
        match event {
            Event::Start => table.start(context),
            Event::Octets { dir, count, tls } => table.octets(context, *dir, *count, *tls),
            Event::Lost { dir, count } => table.lost(*dir, *count),
            Event::Idle => table.idle(1),
            Event::IdleOver { lasted } => table.idle_over(*lasted),
            Event::Greeting(greeting) => table.greeting(&greeting.reply, greeting.delay),
            Event::Command(command) => table.command(command),
            Event::Auth(auth) => table.auth(auth),
            Event::Transaction(transaction) => table.transaction(transaction),
            Event::Anomaly(anomaly) => table.anomaly(anomaly),
            Event::End(summary) => table.end(context, summary),
            Event::Body { .. } => {}
        }
    }
}

/// Handles of one listener and protocol.
#[derive(Debug)]
struct Table {
    place: Place,
    reasons: Option<Arc<ReplyReasons>>,
    active: Option<IntGauge>,
    sessions: Counters,
    midstream: Option<Counters>,
    ended: Counters,
    duration: Histograms,
    connect_seconds: Histograms,
    connect_errors: Counters,
    greeting_seconds: Histograms,
    bytes: Counters,
    commands: Counters,
    latency: Histograms,
    unobserved: Counters,
    pipelined: Counters,
    replies: Counters,
    enhanced: Counters,
    reply_reasons: Counters,
    offered: Counters,
    used: Counters,
    transactions: Counters,
    transaction_seconds: Histograms,
    transfer_seconds: Histograms,
    message_bytes: Histograms,
    recipients: Counters,
    accepted_recipients: Histograms,
    idle_active: Option<IntGauge>,
    idle_seconds: Histograms,
    untagged: Counters,
    attempts: Counters,
    auth_seconds: Histograms,
    per_session: Histograms,
    starttls: Counters,
    handshakes: Counters,
    ciphers: Counters,
    anomalies: Counters,
    lines: Counters,
    parser_errors: Counters,
    bypassed: Counters,
    capture: Option<Tracking>,
}

/// What the tracker of connections did, for a session.
#[derive(Debug)]
struct Tracking {
    gap_octets: Counters,
    retransmitted: Counters,
    early: Counters,
    overlaps: Counters,
    evicted: Counters,
}

const COVERS: usize = Cover::ALL.len();
const PHASES: usize = Phase::ALL.len();
const MECHANISMS: usize = Mechanism::ALL.len() + AuthMethod::ALL.len();
const OUTCOMES: usize = AuthOutcome::ALL.len();
const STATES: usize = AnomalyState::ALL.len() + 1;
const ANSWERS: usize = Answer::ALL.len();

impl Table {
    fn new(shared: &Arc<Shared>, listener: usize, protocol: Protocol) -> Self {
        let place = shared.place(listener, protocol);
        place.zero(|id| shared.has(id));
        let smtp = usize::from(labels::concerns(Id::SmtpReplies, protocol));
        Self {
            reasons: shared.reasons.clone(),
            active: shared.has(Id::SessionsActive).then(|| place.gauge(Id::SessionsActive, &[])),
            sessions: Counters::new(Id::Sessions, 1),
            midstream: shared.has(Id::SessionsMidstream).then(|| Counters::new(Id::SessionsMidstream, 1)),
            ended: Counters::new(Id::SessionsEnded, SessionOutcome::ALL.len() * PHASES),
            duration: Histograms::new(Id::SessionDuration, COVERS),
            connect_seconds: Histograms::new(Id::ConnectSeconds, 1),
            connect_errors: Counters::new(Id::ConnectErrors, Refusal::ALL.len()),
            greeting_seconds: Histograms::new(Id::GreetingSeconds, 1),
            bytes: Counters::new(Id::Bytes, 2 * COVERS),
            commands: Counters::new(Id::Commands, COMMANDS * ANSWERS),
            latency: Histograms::new(Id::CommandLatency, COMMANDS),
            unobserved: Counters::new(Id::LatencyUnobserved, Unobserved::ALL.len()),
            pipelined: Counters::new(Id::Pipelined, 1),
            replies: Counters::new(Id::SmtpReplies, smtp * COMMANDS * CODES.len()),
            enhanced: Counters::new(Id::SmtpEnhanced, smtp * ENHANCED.len()),
            reply_reasons: Counters::new(Id::SmtpReplyReasons, smtp * ReplyReasons::MOST),
            offered: Counters::new(Id::ExtensionsOffered, smtp * EXTENSIONS.len()),
            used: Counters::new(Id::ExtensionsUsed, smtp * Extension::ALL.len()),
            transactions: Counters::new(Id::Transactions, Kind::ALL.len() * Outcome::ALL.len() * COVERS),
            transaction_seconds: Histograms::new(Id::TransactionSeconds, Kind::ALL.len()),
            transfer_seconds: Histograms::new(Id::TransferSeconds, Kind::ALL.len()),
            message_bytes: Histograms::new(Id::MessageBytes, Kind::ALL.len()),
            recipients: Counters::new(Id::Recipients, smtp * ANSWERS),
            accepted_recipients: Histograms::new(Id::AcceptedRecipients, 1),
            idle_active: (protocol == Protocol::Imap && shared.has(Id::IdleActive))
                .then(|| place.gauge(Id::IdleActive, &[])),
            idle_seconds: Histograms::new(Id::IdleSeconds, 1),
            untagged: Counters::new(Id::ImapUntagged, UntaggedReason::ALL.len()),
            attempts: Counters::new(Id::AuthAttempts, MECHANISMS * OUTCOMES * COVERS),
            auth_seconds: Histograms::new(Id::AuthSeconds, MECHANISMS),
            per_session: Histograms::new(Id::AuthPerSession, 1),
            starttls: Counters::new(Id::StartTls, StartTlsOutcome::ALL.len()),
            handshakes: Counters::new(
                Id::TlsHandshakes,
                TlsMode::ALL.len() * Handshake::ALL.len() * TLS_VERSIONS.len(),
            ),
            ciphers: Counters::new(Id::TlsCiphers, CIPHERS.len()),
            anomalies: Counters::new(Id::Anomalies, anomaly::Id::ALL.len() * STATES),
            lines: Counters::new(Id::LineAnomalies, 2 * LineFault::ALL.len()),
            parser_errors: Counters::new(Id::ParserErrors, ParserError::ALL.len()),
            bypassed: Counters::new(Id::SessionsBypassed, Bypass::ALL.len()),
            capture: shared.has(Id::GapBytes).then(|| Tracking {
                gap_octets: Counters::new(Id::GapBytes, 2),
                retransmitted: Counters::new(Id::Retransmitted, 2),
                early: Counters::new(Id::OutOfOrder, 2),
                overlaps: Counters::new(Id::Overlaps, 2),
                evicted: Counters::new(Id::FlowsEvicted, Eviction::ALL.len()),
            }),
            place,
        }
    }

    fn start(&mut self, context: &Context) {
        self.sessions.add(&self.place, 0, 1, || []);
        if let Some(active) = &self.active {
            active.inc();
        }
        if let Some(midstream) = &mut self.midstream
            && !context.peers.roles_certain
        {
            midstream.add(&self.place, 0, 1, || []);
        }
        if let Some(took) = context.connect {
            self.connect_seconds.observe(&self.place, 0, seconds(took), || []);
        }
    }

    fn lost(&mut self, dir: Dir, count: u64) {
        if let Some(capture) = &mut self.capture {
            capture.gap_octets.add(&self.place, dir.index(), count, || [labels::direction(dir)]);
        }
    }

    fn idle(&self, by: i64) {
        if let Some(active) = &self.idle_active {
            active.add(by);
        }
    }

    fn idle_over(&mut self, lasted: Duration) {
        self.idle(-1);
        self.idle_seconds.observe(&self.place, 0, seconds(lasted), || []);
    }

    fn octets(&mut self, context: &Context, dir: Dir, count: u64, tls: TlsMode) {
        let cover = Cover::of(tls, context.peers.roles_certain);
        let index = dir.index() * COVERS + cover.index();
        self.bytes.add(&self.place, index, count, || [labels::direction(dir), cover.as_str()]);
    }

    fn greeting(&mut self, reply: &Reply, delay: Option<Duration>) {
        if let Some(delay) = delay {
            self.greeting_seconds.observe(&self.place, 0, seconds(delay), || []);
        }
        self.reply(GREETING, reply);
    }

    fn command(&mut self, c: &Command) {
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

    fn untagged(&mut self, kind: Untagged, count: u32) {
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
        if !labels::concerns(Id::SmtpReplyReasons, self.place.protocol) {
            return;
        }
        if let Some((index, name)) = self.reasons.as_ref().and_then(|reasons| reasons.of(text)) {
            self.reply_reasons.named(&self.place, index, name);
        }
    }

    fn auth(&mut self, auth: &Auth) {
        let (mechanism, word) = labels::mechanism(auth);
        let cover = Cover::of(auth.tls, true);
        let index = (mechanism * OUTCOMES + auth.outcome.index()) * COVERS + cover.index();
        self.attempts.add(&self.place, index, 1, || [word, auth.outcome.as_str(), cover.as_str()]);
        let seen = auth.outcome != AuthOutcome::Incomplete && auth.incomplete.is_empty();
        if let Some(latency) = auth.server_latency.filter(|_| seen) {
            self.auth_seconds.observe(&self.place, mechanism, seconds(latency), || [word]);
        }
    }

    fn transaction(&mut self, t: &Transaction) {
        let (kind, cover) = (t.kind, Cover::of(t.tls, true));
        let index = (kind.index() * Outcome::ALL.len() + t.outcome.index()) * COVERS + cover.index();
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
        if kind == Kind::Delivery {
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

    fn anomaly(&mut self, a: &Anomaly) {
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

    fn end(&mut self, context: &Context, s: &Summary) {
        let (outcome, phase) = (s.outcome, s.close.phase);
        let index = outcome.index() * PHASES + phase.index();
        self.ended.add(&self.place, index, 1, || [outcome.as_str(), phase.as_str()]);
        let cover = Cover::of(s.tls.mode.unwrap_or(TlsMode::None), context.peers.roles_certain);
        if let Some(lasted) = s.ended.since(context.began) {
            self.duration.observe(&self.place, cover.index(), seconds(lasted), || [cover.as_str()]);
        }
        if let Some(refusal) = refusal(context, s) {
            self.connect_errors.add(&self.place, refusal.index(), 1, || [refusal.as_str()]);
        }
        for entry in s.capabilities.iter().filter(|_| labels::concerns(Id::ExtensionsOffered, context.protocol)) {
            let at = labels::extension(entry);
            self.offered.add(&self.place, at, 1, || [EXTENSIONS.get(at).copied().unwrap_or("other")]);
        }
        for extension in s.extensions.iter().filter(|_| labels::concerns(Id::ExtensionsUsed, context.protocol)) {
            self.used.add(&self.place, extension.index(), 1, || [extension.as_str()]);
        }
        if s.auth.attempts > 0 {
            self.per_session.observe(&self.place, 0, f64::from(s.auth.attempts), || []);
        }
        for (kind, count) in &s.untagged {
            self.untagged(*kind, *count);
        }
        self.encryption(s);
        self.trouble(context, s);
        self.tracking(s);
    }

    fn tracking(&mut self, s: &Summary) {
        let Some(capture) = &mut self.capture else { return };
        for (dir, disorder) in Dir::BOTH.into_iter().zip(s.disorder.into_iter().flatten()) {
            let Disorder { retransmitted, early } = disorder;
            if retransmitted > 0 {
                capture.retransmitted.add(&self.place, dir.index(), retransmitted.into(), || [labels::direction(dir)]);
            }
            if early > 0 {
                capture.early.add(&self.place, dir.index(), early.into(), || [labels::direction(dir)]);
            }
        }
        let eviction = match s.close.how {
            How::Evicted => Eviction::TableFull,
            How::Timeout => Eviction::Idle,
            _ => return,
        };
        capture.evicted.add(&self.place, eviction.index(), 1, || [eviction.as_str()]);
    }

    fn encryption(&mut self, s: &Summary) {
        if let Some(outcome) = starttls(s) {
            self.starttls.add(&self.place, outcome.index(), 1, || [outcome.as_str()]);
        }
        let Some(mode) = s.tls.mode.filter(|mode| *mode != TlsMode::None) else { return };
        let went = s.tls.handshake.unwrap_or(Handshake::Unseen);
        let word = |list: &[&'static str], at: usize| list.get(at).copied().unwrap_or("unknown");
        let version = labels::tls_version(s.tls.version);
        let index = (mode.index() * Handshake::ALL.len() + went.index()) * TLS_VERSIONS.len() + version;
        self.handshakes.add(&self.place, index, 1, || [mode.as_str(), word(TLS_VERSIONS, version), went.as_str()]);
        if went == Handshake::Ok {
            let cipher = labels::cipher(s.tls.cipher);
            self.ciphers.add(&self.place, cipher, 1, || [word(CIPHERS, cipher)]);
        }
    }

    fn trouble(&mut self, context: &Context, s: &Summary) {
        let bypass = match s.outcome {
            SessionOutcome::Unparseable => Some(Bypass::ParseError),
            _ if context.protocol == Protocol::Unknown && s.other.is_none() && s.bytes != [0, 0] => {
                Some(Bypass::UnknownProtocol)
            }
            _ => None,
        };
        if let Some(bypass) = bypass {
            self.bypassed.add(&self.place, bypass.index(), 1, || [bypass.as_str()]);
        }
        // Commands that cannot be matched, and octets that wait, are the client's.
        for (missing, error) in
            [(Missing::Unparseable, ParserError::Unparseable), (Missing::HoldOverflow, ParserError::HoldOverflow)]
        {
            if s.incomplete.has(missing) {
                self.parser_errors
                    .add(&self.place, error.index(), 1, || [labels::direction(Dir::ToServer), error.as_str()]);
            }
        }
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
        None => Err(Unobserved::Negative),
    })
}

/// The reply to the last chunk is that to the end of the data.
fn is_last_chunk(c: &Command) -> bool {
    let args = c.args.as_bytes().trim_ascii_end();
    let tail = args.len().checked_sub(4).and_then(|at| args.get(at..));
    matches!(c.verb, Verb::Bdat | Verb::Burl) && tail.is_some_and(|t| t.eq_ignore_ascii_case(b"LAST"))
}

/// Why the server did not take the connection, if so.
fn refusal(context: &Context, s: &Summary) -> Option<Refusal> {
    let tried = s.packets.is_some() && context.peers.established.is_none() && context.peers.roles_certain;
    match s.close.how {
        _ if !tried || s.bytes != [0, 0] => None,
        How::Reset if s.close.by == Some(Dir::ToClient) => Some(Refusal::Refused),
        How::Timeout => Some(Refusal::Timeout),
        _ => None,
    }
}

/// What became of STARTTLS, if there is something to tell.
fn starttls(s: &Summary) -> Option<StartTlsOutcome> {
    let tls = &s.tls;
    Some(match (tls.requested, tls.accepted, tls.handshake) {
        (Some(true), Some(true), Some(Handshake::Ok)) => StartTlsOutcome::Ok,
        (Some(true), Some(true), Some(Handshake::Failed)) => StartTlsOutcome::HandshakeFailed,
        (Some(true), Some(false), _) => StartTlsOutcome::Refused,
        (Some(true), _, _) => StartTlsOutcome::Abandoned,
        _ if tls.offered == Some(false) && tls.mode.is_none() => StartTlsOutcome::NotOffered,
        _ => return None,
    })
}

//! Counts the events of one thread. Allocates when a listener, a protocol or a label set is met for the first time,
//! and never again; takes a lock then only.

mod exchange;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{Histogram, IntGauge};

use super::MetricsShared;
use super::families::FamilyId;
use super::labels;
use super::labels::{
    Answer, CIPHERS, CODES, Cover, ENHANCED, EXTENSIONS, Eviction, LineFault, ParserError, SIDES, StartTlsOutcome,
    TLS_VERSIONS, Unobserved, UntaggedReason,
};
use super::reasons::ReplyReasons;
use super::series::{COMMANDS, Histograms, IndexedCounters, SeriesPlace, seconds};
use crate::event::Sink;
use crate::event::anomaly;
use crate::event::{
    AnomalyState, AuthMethod, AuthOutcome, Context, Event, Extension, Handshake, Mechanism, Phase, Protocol,
    SessionOutcome, TlsFailure, TlsMode, TransactionKind, TransactionOutcome,
};
use crate::event::{Bypass, Refusal};
use crate::time::Timestamp;

/// Counts the events of one thread.
#[derive(Debug)]
pub struct MetricsRecorder {
    shared: Arc<MetricsShared>,
    /// By listener and protocol.
    tables: Vec<Option<Box<ListenerHandles>>>,
    loop_lag: Option<Histogram>,
}

impl MetricsRecorder {
    pub(super) fn new(shared: Arc<MetricsShared>) -> Self {
        let loop_lag = shared.has(FamilyId::LoopLag).then(|| shared.store.histogram(FamilyId::LoopLag, &[]));
        Self { shared, tables: Vec::new(), loop_lag }
    }

    /// The event loop of this thread came to a timer so long after its time.
    pub fn loop_lag(&self, lag: Duration) {
        if let Some(histogram) = &self.loop_lag {
            histogram.observe(seconds(lag));
        }
    }

    fn table(&mut self, context: &Context, protocol: Protocol) -> Option<&mut ListenerHandles> {
        let listener = self.shared.listener(context.peers.source);
        let at = listener * Protocol::ALL.len() + protocol.index();
        let Self { shared, tables, .. } = self;
        if tables.len() <= at {
            tables.resize_with(at + 1, || None);
        }
        Some(tables.get_mut(at)?.get_or_insert_with(|| Box::new(ListenerHandles::new(shared, listener, protocol))))
    }
}

impl Sink for MetricsRecorder {
    fn event(&mut self, context: &Context, _: Timestamp, event: &Event<'_>) {
        // A message's octets come in many pieces, and say nothing here.
        if matches!(event, Event::Body { .. }) {
            return;
        }
        if context.health_check {
            if let (Event::End(_), Some(table)) = (event, self.table(context, context.protocol)) {
                table.health_checks.add(&table.place, 0, 1, || []);
            }
            return;
        }
        if let Event::End(summary) = event
            && let Some(table) = self.table(context, summary.started)
            && let Some(active) = &table.active
        {
            active.dec();
        }
        if let Event::Auth(auth) = event
            && auth.outcome == AuthOutcome::Failed
            && self.shared.has(FamilyId::AuthBusiestNetwork)
        {
            self.shared.failed_logins.add(context.protocol, context.client(), Instant::now());
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
struct ListenerHandles {
    place: SeriesPlace,
    reasons: Option<Arc<ReplyReasons>>,
    active: Option<IntGauge>,
    sessions: IndexedCounters,
    midstream: Option<IndexedCounters>,
    ended: IndexedCounters,
    duration: Histograms,
    connect_seconds: Histograms,
    connect_errors: IndexedCounters,
    greeting_seconds: Histograms,
    bytes: IndexedCounters,
    commands: IndexedCounters,
    latency: Histograms,
    unobserved: IndexedCounters,
    pipelined: IndexedCounters,
    replies: IndexedCounters,
    enhanced: IndexedCounters,
    reply_reasons: IndexedCounters,
    offered: IndexedCounters,
    used: IndexedCounters,
    transactions: IndexedCounters,
    transaction_seconds: Histograms,
    transfer_seconds: Histograms,
    message_bytes: Histograms,
    recipients: IndexedCounters,
    accepted_recipients: Histograms,
    idle_active: Option<IntGauge>,
    idle_seconds: Histograms,
    untagged: IndexedCounters,
    attempts: IndexedCounters,
    auth_seconds: Histograms,
    per_session: Histograms,
    starttls: IndexedCounters,
    handshakes: IndexedCounters,
    ciphers: IndexedCounters,
    tls_failures: Option<IndexedCounters>,
    handshake_seconds: Histograms,
    anomalies: IndexedCounters,
    lines: IndexedCounters,
    parser_errors: IndexedCounters,
    bypassed: IndexedCounters,
    health_checks: IndexedCounters,
    capture: Option<Tracking>,
}

/// What the tracker of connections did, for a session.
#[derive(Debug)]
struct Tracking {
    gap_octets: IndexedCounters,
    retransmitted: IndexedCounters,
    early: IndexedCounters,
    overlaps: IndexedCounters,
    evicted: IndexedCounters,
}

const COVERS: usize = Cover::ALL.len();
const PHASES: usize = Phase::ALL.len();
const MECHANISMS: usize = Mechanism::ALL.len() + AuthMethod::ALL.len();
const OUTCOMES: usize = AuthOutcome::ALL.len();
const STATES: usize = AnomalyState::ALL.len() + 1;
const ANSWERS: usize = Answer::ALL.len();

impl ListenerHandles {
    fn new(shared: &Arc<MetricsShared>, listener: usize, protocol: Protocol) -> Self {
        let place = shared.place(listener, protocol);
        place.zero(|id| shared.has(id));
        let smtp = usize::from(labels::concerns(FamilyId::SmtpReplies, protocol));
        Self {
            reasons: shared.reasons.clone(),
            active: shared.has(FamilyId::SessionsActive).then(|| place.gauge(FamilyId::SessionsActive, &[])),
            sessions: IndexedCounters::new(FamilyId::Sessions, 1),
            midstream: shared
                .has(FamilyId::SessionsMidstream)
                .then(|| IndexedCounters::new(FamilyId::SessionsMidstream, 1)),
            ended: IndexedCounters::new(FamilyId::SessionsEnded, SessionOutcome::ALL.len() * PHASES),
            duration: Histograms::new(FamilyId::SessionDuration, COVERS),
            connect_seconds: Histograms::new(FamilyId::ConnectSeconds, 1),
            connect_errors: IndexedCounters::new(FamilyId::ConnectErrors, Refusal::ALL.len()),
            greeting_seconds: Histograms::new(FamilyId::GreetingSeconds, 1),
            bytes: IndexedCounters::new(FamilyId::Bytes, 2 * COVERS),
            commands: IndexedCounters::new(FamilyId::Commands, COMMANDS * ANSWERS),
            latency: Histograms::new(FamilyId::CommandLatency, COMMANDS),
            unobserved: IndexedCounters::new(FamilyId::LatencyUnobserved, Unobserved::ALL.len()),
            pipelined: IndexedCounters::new(FamilyId::Pipelined, 1),
            replies: IndexedCounters::new(FamilyId::SmtpReplies, smtp * COMMANDS * CODES.len()),
            enhanced: IndexedCounters::new(FamilyId::SmtpEnhanced, smtp * ENHANCED.len()),
            reply_reasons: IndexedCounters::new(FamilyId::SmtpReplyReasons, smtp * ReplyReasons::MOST),
            offered: IndexedCounters::new(FamilyId::ExtensionsOffered, smtp * EXTENSIONS.len()),
            used: IndexedCounters::new(FamilyId::ExtensionsUsed, smtp * Extension::ALL.len()),
            transactions: IndexedCounters::new(
                FamilyId::Transactions,
                TransactionKind::ALL.len() * TransactionOutcome::ALL.len() * COVERS,
            ),
            transaction_seconds: Histograms::new(FamilyId::TransactionSeconds, TransactionKind::ALL.len()),
            transfer_seconds: Histograms::new(FamilyId::TransferSeconds, TransactionKind::ALL.len()),
            message_bytes: Histograms::new(FamilyId::MessageBytes, TransactionKind::ALL.len()),
            recipients: IndexedCounters::new(FamilyId::Recipients, smtp * ANSWERS),
            accepted_recipients: Histograms::new(FamilyId::AcceptedRecipients, 1),
            idle_active: (protocol == Protocol::Imap && shared.has(FamilyId::IdleActive))
                .then(|| place.gauge(FamilyId::IdleActive, &[])),
            idle_seconds: Histograms::new(FamilyId::IdleSeconds, 1),
            untagged: IndexedCounters::new(FamilyId::ImapUntagged, UntaggedReason::ALL.len()),
            attempts: IndexedCounters::new(FamilyId::AuthAttempts, MECHANISMS * OUTCOMES * COVERS),
            auth_seconds: Histograms::new(FamilyId::AuthSeconds, MECHANISMS),
            per_session: Histograms::new(FamilyId::AuthPerSession, 1),
            starttls: IndexedCounters::new(FamilyId::StartTls, StartTlsOutcome::ALL.len()),
            handshakes: IndexedCounters::new(
                FamilyId::TlsHandshakes,
                TlsMode::ALL.len() * Handshake::ALL.len() * TLS_VERSIONS.len(),
            ),
            handshake_seconds: Histograms::new(FamilyId::TlsHandshakeSeconds, 1),
            ciphers: IndexedCounters::new(FamilyId::TlsCiphers, CIPHERS.len()),
            tls_failures: shared
                .has(FamilyId::TlsFailures)
                .then(|| IndexedCounters::new(FamilyId::TlsFailures, SIDES.len() * TlsFailure::ALL.len())),
            anomalies: IndexedCounters::new(FamilyId::Anomalies, anomaly::Id::ALL.len() * STATES),
            lines: IndexedCounters::new(FamilyId::LineAnomalies, 2 * LineFault::ALL.len()),
            parser_errors: IndexedCounters::new(FamilyId::ParserErrors, ParserError::ALL.len()),
            bypassed: IndexedCounters::new(FamilyId::SessionsBypassed, Bypass::ALL.len()),
            health_checks: IndexedCounters::new(FamilyId::HealthChecks, 1),
            capture: shared.has(FamilyId::GapBytes).then(|| Tracking {
                gap_octets: IndexedCounters::new(FamilyId::GapBytes, 2),
                retransmitted: IndexedCounters::new(FamilyId::Retransmitted, 2),
                early: IndexedCounters::new(FamilyId::OutOfOrder, 2),
                overlaps: IndexedCounters::new(FamilyId::Overlaps, 2),
                evicted: IndexedCounters::new(FamilyId::FlowsEvicted, Eviction::ALL.len()),
            }),
            place,
        }
    }
}

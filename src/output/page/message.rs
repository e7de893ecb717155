//! The words in which a viewer is told: what `page.js` reads, and nothing else does.

use std::time::Duration;

use serde::Serialize;

use super::history::History;
use super::latency::LatencyWindow;
use super::refusals::Refusals;
use super::row::{AnomalyRow, MessageRow, SessionRow, StepRow};
use super::state::Show;
use super::step::{enhanced, status};
use super::{LINES, LISTED, RECENT, rates};
use crate::event::{
    AnomalyState, Dir, Phase, Protocol, SessionOutcome, Severity, TlsMode, TransactionKind, TransactionOutcome,
};
use crate::output::InputKind;
use crate::output::top::{TopView, network, network_of};
use crate::time::Timestamp;

/// One event.
#[derive(Serialize)]
pub(super) struct PageUpdate<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hello: Option<Hello>,
    /// Milliseconds since 1970.
    pub(super) now: u64,
    /// Seconds.
    pub(super) uptime: u64,
    /// Open sessions that are not among the listed.
    pub(super) unlisted: u64,
    /// Rows that found no room and were never listed.
    pub(super) skipped: u64,
    /// Seconds that are over: sessions, commands, messages, refusals, octets of clients, of servers, open sessions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rates: Vec<[u64; 7]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sessions: Vec<SessionView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) messages: Vec<MessageView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) anomalies: Vec<AnomalyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<&'a PageDigest>,
}

/// What a viewer must know first.
#[derive(Serialize)]
pub(super) struct Hello {
    version: &'static str,
    input: &'static str,
    /// Names of listeners or interfaces.
    sources: Vec<String>,
    addresses: bool,
    subjects: bool,
    listed: usize,
    recent: usize,
    seconds: u64,
    protocols: Vec<&'static str>,
    outcomes: Vec<&'static str>,
}

impl Hello {
    pub(super) fn new(input: InputKind, sources: Vec<String>, show: Show) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            input: input.as_str(),
            sources,
            addresses: show.addresses,
            subjects: show.subjects,
            listed: LISTED,
            recent: RECENT,
            seconds: rates::SECONDS,
            protocols: Protocol::ALL.iter().map(|protocol| protocol.as_str()).collect(),
            outcomes: SessionOutcome::ALL.iter().map(|outcome| outcome.as_str()).collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct SessionView<'a> {
    id: String,
    protocol: &'static str,
    source: &'a str,
    client: String,
    server: String,
    began: u64,
    heard: u64,
    tls: &'static str,
    step: Option<&'static str>,
    status: Option<String>,
    octets: [u64; 2],
    commands: u32,
    messages: u32,
    refused: u32,
    anomalies: u32,
    /// The client's network.
    network: String,
    /// Since when the server has sent nothing.
    waits: Option<u64>,
    outcome: Option<&'static str>,
    phase: Option<&'static str>,
}

impl SessionRow {
    pub(super) fn view<'a>(&self, sources: &'a [String]) -> SessionView<'a> {
        SessionView {
            id: session(self.id),
            protocol: self.protocol.as_str(),
            source: sources.get(self.source as usize).map_or("", String::as_str),
            client: self.client.to_string(),
            server: self.server.to_string(),
            began: millis(self.began),
            heard: millis(self.heard),
            tls: self.tls.as_str(),
            step: self.last.map(|(step, _)| step.as_str()),
            status: self.last.and_then(|(_, reply)| reply).map(status),
            octets: self.octets,
            commands: self.commands,
            messages: self.messages,
            refused: self.refused,
            anomalies: self.anomalies,
            network: network(&network_of(self.client.ip())),
            waits: self.waits.filter(|_| self.end.is_none()).map(millis),
            outcome: self.end.map(|(outcome, _)| SessionOutcome::as_str(outcome)),
            phase: self.end.map(|(_, phase)| Phase::as_str(phase)),
        }
    }
}

/// What a session did, for who opens its row.
#[derive(Serialize)]
pub(super) struct SessionDetails<'a> {
    steps: Vec<StepView>,
    /// Commands before those.
    commands_omitted: usize,
    transactions: Vec<MessageView<'a>>,
    /// Transactions before those.
    transactions_omitted: usize,
}

impl<'a> SessionDetails<'a> {
    pub(super) fn new(row: &SessionRow, history: &'a History) -> Self {
        Self {
            steps: history.steps.iter().map(StepRow::view).collect(),
            commands_omitted: (row.commands as usize).saturating_sub(history.commands()),
            transactions: history.messages.iter().map(|message| message.view()).collect(),
            transactions_omitted: (row.transactions as usize).saturating_sub(history.messages.len()),
        }
    }
}

#[derive(Serialize)]
struct StepView {
    step: &'static str,
    /// Milliseconds since the session began.
    after: Option<f64>,
    status: Option<String>,
    enhanced: Option<String>,
    /// Milliseconds.
    taken: Option<f64>,
}

impl StepRow {
    fn view(&self) -> StepView {
        StepView {
            step: self.step.as_str(),
            after: self.after.map(fractional_millis),
            status: self.status.map(status),
            enhanced: self.enhanced.map(enhanced),
            taken: self.taken.map(fractional_millis),
        }
    }
}

#[derive(Serialize)]
pub(super) struct MessageView<'a> {
    at: u64,
    session: String,
    protocol: &'static str,
    client: String,
    kind: &'static str,
    outcome: &'static str,
    tls: &'static str,
    size: Option<u64>,
    recipients: u32,
    from: Option<&'a str>,
    to: Option<&'a str>,
    subject: Option<&'a str>,
}

impl MessageRow {
    pub(super) fn view(&self) -> MessageView<'_> {
        MessageView {
            at: millis(self.at),
            session: session(self.session),
            protocol: self.protocol.as_str(),
            client: self.client.to_string(),
            kind: TransactionKind::as_str(self.kind),
            outcome: TransactionOutcome::as_str(self.outcome),
            tls: TlsMode::as_str(self.tls),
            size: self.size,
            recipients: self.recipients,
            from: self.from.as_deref(),
            to: self.to.as_deref(),
            subject: self.subject.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct AnomalyView {
    at: u64,
    session: String,
    protocol: &'static str,
    client: String,
    id: &'static str,
    severity: &'static str,
    state: Option<&'static str>,
    variant: &'static str,
    sender: &'static str,
    count: u32,
}

impl AnomalyRow {
    pub(super) fn view(&self) -> AnomalyView {
        AnomalyView {
            at: millis(self.at),
            session: session(self.session),
            protocol: self.protocol.as_str(),
            client: self.client.to_string(),
            id: self.id.as_str(),
            severity: Severity::as_str(self.severity),
            state: self.state.map(AnomalyState::as_str),
            variant: self.variant,
            sender: Dir::sender(self.dir),
            count: self.count,
        }
    }
}

/// What is told as a whole whenever it has changed.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct PageDigest {
    open: Vec<(&'static str, u64)>,
    latencies: Vec<LatencyView>,
    tops: Vec<TopView>,
    refusals: Vec<RefusalView>,
}

#[derive(Debug, PartialEq, Serialize)]
struct LatencyView {
    protocol: &'static str,
    step: &'static str,
    count: u64,
    /// Milliseconds.
    p50: f64,
    p95: f64,
    p99: f64,
    /// Since when it is slow: a second of the uptime.
    slow_since: Option<u64>,
    /// p95 before, milliseconds.
    usual: Option<f64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct RefusalView {
    protocol: &'static str,
    step: &'static str,
    status: Option<String>,
    enhanced: Option<String>,
    count: u32,
}

impl PageDigest {
    pub(super) fn new(
        second: u64,
        open: [u64; Protocol::ALL.len()],
        latencies: &mut LatencyWindow,
        tops: Vec<TopView>,
        refusals: &mut Refusals,
    ) -> Self {
        let open = Protocol::ALL.iter().zip(open).filter(|(_, count)| *count > 0);
        let latencies =
            latencies.all(second).into_iter().take(LINES).map(|((protocol, step), histogram, slow)| LatencyView {
                protocol: protocol.as_str(),
                step: step.as_str(),
                count: histogram.count(),
                p50: fractional_millis(histogram.percentile(50)),
                p95: fractional_millis(histogram.percentile(95)),
                p99: fractional_millis(histogram.percentile(99)),
                slow_since: slow.map(|slow| slow.since),
                usual: slow.map(|slow| fractional_millis(slow.usual)),
            });
        let refusals =
            refusals.top(second, LINES).into_iter().map(|((protocol, step, reply, code), count)| RefusalView {
                protocol: protocol.as_str(),
                step: step.as_str(),
                status: reply.map(status),
                enhanced: code.map(enhanced),
                count,
            });
        Self {
            open: open.map(|(protocol, count)| (protocol.as_str(), count)).collect(),
            latencies: latencies.collect(),
            tops,
            refusals: refusals.collect(),
        }
    }
}

/// The number of a session from its text, as the log writes it.
pub fn session_id(text: &str) -> Option<u64> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

/// As the log writes it.
fn session(id: u64) -> String {
    format!("{id:016x}")
}

const fn millis(at: Timestamp) -> u64 {
    at.as_nanos() / 1_000_000
}

fn fractional_millis(taken: Duration) -> f64 {
    taken.as_micros() as f64 / 1000.0
}

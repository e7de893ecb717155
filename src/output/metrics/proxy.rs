//! What the proxy itself counts, for one listener. Clones share everything.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge};

use super::MetricsShared;
use super::families::FamilyId;
use super::labels;
use super::labels::Enforcement;
use super::series::seconds;
use crate::event::anomaly;
use crate::event::{Bypass, Refusal, Rejection, Termination};
use crate::event::{Dir, Phase, Protocol};

/// Handles of a listener.
#[derive(Clone, Debug)]
pub struct ProxyMetrics {
    shared: Arc<MetricsShared>,
    listener: usize,
    open: IntGauge,
    waiting: IntGauge,
    before_greeting: IntGauge,
    oldest: Gauge,
    greeting_timeouts: IntCounter,
    rejected: Vec<IntCounter>,
    added: [Histogram; 2],
    paused: [IntCounter; 2],
    paused_seconds: [Counter; 2],
    buffered: [IntGauge; 2],
    half_closed: IntGauge,
    spliced: [IntCounter; 2],
    limit: IntGauge,
    expired: IntGauge,
    draining: IntGauge,
}

impl ProxyMetrics {
    pub(super) fn new(shared: Arc<MetricsShared>, source: u32) -> Self {
        let listener = shared.listener(source);
        let name = shared.name(listener);
        let store = &shared.store;
        let both = [Dir::ToServer, Dir::ToClient].map(labels::direction);
        let counters = |id: FamilyId| both.map(|dir| store.counter(id, &[&name, dir]));
        Self {
            open: store.gauge(FamilyId::ConnectionsOpen, &[&name]),
            waiting: store.gauge(FamilyId::ConnectionsWaiting, &[&name]),
            before_greeting: store.gauge(FamilyId::BeforeGreeting, &[&name]),
            oldest: store.level(FamilyId::BeforeGreetingOldest, &[&name]),
            greeting_timeouts: store.counter(FamilyId::GreetingTimeouts, &[&name]),
            rejected: Rejection::ALL
                .iter()
                .map(|reason| store.counter(FamilyId::SessionsRejected, &[&name, reason.as_str()]))
                .collect(),
            added: both.map(|dir| store.histogram(FamilyId::AddedLatency, &[&name, dir])),
            paused: counters(FamilyId::ForwardPaused),
            paused_seconds: both.map(|dir| store.sum(FamilyId::ForwardPausedSeconds, &[&name, dir])),
            buffered: both.map(|dir| store.gauge(FamilyId::ForwardBuffered, &[&name, dir])),
            half_closed: store.gauge(FamilyId::HalfClosed, &[&name]),
            spliced: counters(FamilyId::Spliced),
            expired: store.gauge(FamilyId::CertificatesExpired, &[&name]),
            limit: store.gauge(FamilyId::SessionsLimit, &[&name]),
            draining: store.gauge(FamilyId::Draining, &[]),
            listener,
            shared,
        }
    }

    /// A connection was accepted (`true`), or one is closed to which the server [has spoken](Self::greeted) or never will.
    pub fn opened(&self, is: bool) {
        if is {
            self.open.inc();
            self.before_greeting.inc();
        } else {
            self.open.dec();
        }
    }

    /// The server has spoken to a connection, or never will.
    pub fn greeted(&self) {
        self.before_greeting.dec();
    }

    /// The server took a connection and never greeted.
    pub fn greeting_timed_out(&self) {
        self.greeting_timeouts.inc();
    }

    /// So many connections wait for a place, and the oldest that waits for its greeting has been open for so long.
    pub fn set_waiting(&self, connections: u32, oldest: Duration) {
        self.waiting.set(i64::from(connections));
        self.oldest.set(seconds(oldest));
    }

    /// A connection was turned away.
    pub fn rejected(&self, reason: Rejection) {
        if let Some(counter) = self.rejected.get(reason.index()) {
            counter.inc();
        }
    }

    /// The server did not take a connection. How long it took to take one is told by the session
    /// ([`Session::connected`](crate::engine::Session::connected)).
    pub fn not_connected(&self, protocol: Protocol, reason: Refusal) {
        self.shared.place(self.listener, protocol).counter(FamilyId::ConnectErrors, &[reason.as_str()]).inc();
    }

    /// The proxy closed a connection.
    pub fn terminated(&self, protocol: Protocol, reason: Termination, phase: Phase) {
        let place = self.shared.place(self.listener, protocol);
        place.counter(FamilyId::SessionsTerminated, &[reason.as_str(), phase.as_str()]).inc();
    }

    /// A session is no longer observed.
    pub fn bypassed(&self, protocol: Protocol, reason: Bypass) {
        self.shared.place(self.listener, protocol).counter(FamilyId::SessionsBypassed, &[reason.as_str()]).inc();
    }

    /// Something was kept from the server.
    pub fn enforced(&self, protocol: Protocol, anomaly: anomaly::Id, what: Enforcement) {
        let place = self.shared.place(self.listener, protocol);
        place.counter(FamilyId::Enforcements, &[anomaly.as_str(), what.as_str()]).inc();
    }

    /// Time from a read to its completed write.
    pub fn added_latency(&self, dir: Dir, took: Duration) {
        of(&self.added, dir).observe(seconds(took));
    }

    /// Reading stopped since the other side took nothing, for so long.
    pub fn paused(&self, dir: Dir, lasted: Duration) {
        of(&self.paused, dir).inc();
        of(&self.paused_seconds, dir).inc_by(seconds(lasted));
    }

    /// Octets read and not yet written changed by `by`.
    pub fn buffered(&self, dir: Dir, by: i64) {
        of(&self.buffered, dir).add(by);
    }

    /// One side closed (`true`), or a connection of which one had is over (`false`).
    pub fn half_closed(&self, is: bool) {
        self.half_closed.add(if is { 1 } else { -1 });
    }

    /// Octets that the kernel moved.
    pub fn spliced(&self, dir: Dir, octets: u64) {
        of(&self.spliced, dir).inc_by(octets);
    }

    /// The configured maximum; 0 is none.
    pub fn set_limit(&self, connections: u32) {
        self.limit.set(i64::from(connections));
    }

    /// So many of its own certificates have expired.
    pub fn set_expired(&self, certificates: usize) {
        self.expired.set(i64::try_from(certificates).unwrap_or(i64::MAX));
    }

    /// Whether the proxy waits for open connections to end.
    pub fn set_draining(&self, is: bool) {
        self.draining.set(i64::from(is));
    }
}

fn of<T>([to_server, to_client]: &[T; 2], dir: Dir) -> &T {
    match dir {
        Dir::ToServer => to_server,
        Dir::ToClient => to_client,
    }
}

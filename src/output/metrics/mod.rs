//! Metrics: families of counters, gauges and histograms over closed label sets, as Prometheus reads them.
//!
//! One [`Metrics`] for a run; each thread counts the events it sees with a [`MetricsRecorder`] of its own, which shares the
//! atomics. What no event tells comes through [`ProxyMetrics`] and [`CaptureMetrics`]. Nothing of the wire is ever a
//! label, and no family exceeds its cap. [`FAMILIES`] is the list.

mod capture;
mod failed_logins;
mod families;
mod file;
pub mod labels;
mod process;
mod proxy;
mod reasons;
mod recorder;
mod registry;
mod series;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use prometheus::{Encoder as _, Registry, TextEncoder};

use super::InputKind;
use super::log_queue::LogCounters;
use crate::event::Protocol;

pub use crate::event::{Bypass, Refusal, Rejection, Termination};
pub use capture::{CaptureCounts, CaptureMetrics};
pub use families::{FAMILIES, Family, FamilyInputs, Type};
pub use file::{MetricsFile, MetricsFileError};
pub use labels::{Enforcement, Eviction, LogLoss, NotUnderstood, PacketLoss};
pub use proxy::ProxyMetrics;
pub use reasons::{ReplyReasons, ReplyReasonsError};
pub use recorder::MetricsRecorder;

use failed_logins::FailedLogins;
use families::FamilyId;
use labels::DIRECTIONS;
use registry::Store;
use series::SeriesPlace;

/// Every value that `label` of the family called `name` can have for `protocol`; `None` if they come from the configuration, or
/// if there is no such family.
pub fn label_values(name: &str, label: &str, protocol: Protocol) -> Option<Vec<&'static str>> {
    let at = FAMILIES.iter().position(|family| family.name == name && family.labels.contains(&label))?;
    let id = *FamilyId::ALL.get(at)?;
    if labels::concerns(id, protocol) { labels::domain(id, label, protocol) } else { Some(Vec::new()) }
}

/// Media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names of sources that are listeners of their own; further ones are `other`.
const LISTENERS: usize = 16;

/// What metrics are made for.
#[derive(Clone, Debug)]
pub struct MetricsSetup {
    /// Where octets come from: decides which families there are.
    pub input: InputKind,
    /// Listeners, interfaces or the file, by [`Peers::source`](crate::event::Peers::source); with one name every
    /// source has it.
    pub sources: Vec<MetricsSource>,
    /// Label sets of a family at the most; the buckets of a histogram are one.
    pub cap: usize,
    /// Names for reply texts.
    pub reasons: Option<ReplyReasons>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSource {
    /// Its name.
    pub name: String,
    /// What is known to be spoken there; `None`: any of SMTP, LMTP, POP3 and IMAP.
    pub protocol: Option<Protocol>,
}

impl MetricsSource {
    /// A source of any protocol.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), protocol: None }
    }
}

impl MetricsSetup {
    /// The default of [`Self::cap`].
    pub const CAP: usize = 2000;

    /// Metrics of `input` with listeners of any protocol.
    pub fn new(input: InputKind, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let sources = names.into_iter().map(|name| MetricsSource { name: name.into(), protocol: None }).collect();
        Self { input, sources, cap: Self::CAP, reasons: None }
    }
}

/// All metrics of a run. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<MetricsShared>,
    logs: Arc<Mutex<Vec<(String, Arc<LogCounters>)>>>,
}

#[derive(Debug)]
struct MetricsShared {
    registry: Registry,
    input: InputKind,
    /// Names of sources in the order of their numbers, [`LISTENERS`] at the most.
    listeners: RwLock<Vec<Arc<str>>>,
    /// Every source has the one name.
    is_single: bool,
    store: Arc<Store>,
    reasons: Option<Arc<ReplyReasons>>,
    failed_logins: FailedLogins,
}

impl MetricsShared {
    /// Position of the listener of `source`.
    fn listener(&self, source: u32) -> usize {
        if self.is_single { 0 } else { (source as usize).min(LISTENERS) }
    }

    fn name(&self, listener: usize) -> Arc<str> {
        let names = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        names.get(listener).map_or_else(|| "other".into(), Arc::clone)
    }

    fn place(&self, listener: usize, protocol: Protocol) -> SeriesPlace {
        SeriesPlace { store: Arc::clone(&self.store), listener: self.name(listener), protocol }
    }

    fn has(&self, id: FamilyId) -> bool {
        id.family().inputs.has(self.input)
    }
}

impl Metrics {
    /// Makes every family that `setup.input` has; label sets of small closed lists are there at zero.
    pub fn new(setup: MetricsSetup) -> Result<Self, prometheus::Error> {
        let MetricsSetup { input, mut sources, cap, reasons } = setup;
        let registry = Registry::new();
        if sources.is_empty() {
            sources.push(MetricsSource { name: "other".into(), protocol: None });
        }
        let listeners: Vec<Arc<str>> = sources.iter().take(LISTENERS).map(|s| s.name.as_str().into()).collect();
        // The listeners of the proxy may become more.
        let is_single = listeners.len() == 1 && input != InputKind::Proxy;
        let places = if is_single { 1 } else { LISTENERS + 1 } * Protocol::ALL.len();
        let store = Arc::new(Store::new(&registry, cap, places, |family| family.inputs.has(input))?);
        let reasons = reasons.map(Arc::new);
        let (listeners, failed_logins) = (RwLock::new(listeners), FailedLogins::default());
        let shared = MetricsShared { registry, input, listeners, is_single, store, reasons, failed_logins };
        let metrics = Self { shared: Arc::new(shared), logs: Arc::default() };
        metrics.zeros(&sources);
        metrics.process()?;
        Ok(metrics)
    }

    /// The sources are these from now on, by number; those known before keep their numbers and names.
    pub fn name_sources(&self, sources: &[MetricsSource]) {
        let mut names = self.shared.listeners.write().unwrap_or_else(PoisonError::into_inner);
        let known = names.len();
        names.extend(sources.iter().take(LISTENERS).skip(known).map(|source| Arc::from(source.name.as_str())));
        drop(names);
        self.zeros(sources);
    }

    /// A recorder for one thread.
    pub fn recorder(&self) -> MetricsRecorder {
        MetricsRecorder::new(Arc::clone(&self.shared))
    }

    /// Handles of the proxy's listener `source`.
    pub fn proxy(&self, source: u32) -> ProxyMetrics {
        ProxyMetrics::new(Arc::clone(&self.shared), source)
    }

    /// Handles of the capture's `source`.
    pub fn capture(&self, source: u32) -> CaptureMetrics {
        CaptureMetrics::new(&self.shared, source)
    }

    /// Follows the counters of a log from now on.
    pub fn log(&self, sink: &str, counters: Arc<LogCounters>) {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push((sink.to_owned(), counters));
        self.follow();
    }

    /// A configuration was read, at `now` seconds since 1970; whether it was taken.
    pub fn reloaded(&self, taken: bool, now: f64) {
        self.shared.store.gauge(FamilyId::ReloadSuccessful, &[]).set(i64::from(taken));
        if taken {
            self.shared.store.level(FamilyId::ReloadTime, &[]).set(now);
        }
    }

    /// Batches that wait to be analyzed.
    pub fn set_queue_depth(&self, batches: usize) {
        self.shared.store.gauge(FamilyId::QueueDepth, &[]).set(i64::try_from(batches).unwrap_or(i64::MAX));
    }

    /// A server's certificate was seen, good until `not_after`, in seconds since 1970.
    pub fn certificate(&self, source: u32, protocol: Protocol, not_after: f64) {
        let listener = self.shared.name(self.shared.listener(source));
        self.shared.store.level(FamilyId::CertificateNotAfter, &[&listener, protocol.as_str()]).set(not_after);
    }

    /// Everything, in the text format 0.0.4, sorted. Stops nobody who counts.
    pub fn render(&self) -> Vec<u8> {
        self.follow();
        let mut text = Vec::with_capacity(256 << 10);
        // Writing to memory does not fail, and no family is empty.
        let _ = TextEncoder::new().encode(&self.shared.registry.gather(), &mut text);
        text
    }

    /// What is at zero, or at its only value, from the start.
    fn zeros(&self, sources: &[MetricsSource]) {
        let shared = &self.shared;
        let store = &shared.store;
        let revision = env!("MAILTAP_REVISION");
        store.gauge(FamilyId::BuildInfo, &[env!("CARGO_PKG_VERSION"), revision, shared.input.as_str()]).set(1);
        for (at, source) in sources.iter().enumerate().take(LISTENERS) {
            let any = [Protocol::Smtp, Protocol::Lmtp, Protocol::Pop3, Protocol::Imap];
            let spoken = source.protocol.as_ref().map_or(&any[..], std::slice::from_ref);
            for protocol in spoken {
                let place = shared.place(at, *protocol);
                place.zero(|id| shared.has(id));
                if labels::concerns(FamilyId::AuthAttempts, *protocol) {
                    shared.failed_logins.expect(*protocol);
                }
                for reason in shared.reasons.iter().flat_map(|reasons| reasons.names()) {
                    if labels::concerns(FamilyId::SmtpReplyReasons, *protocol) {
                        store.zero(FamilyId::SmtpReplyReasons, &[&source.name, protocol.as_str(), reason]);
                    }
                }
            }
            let source = u32::try_from(at).unwrap_or(u32::MAX);
            match shared.input {
                InputKind::Proxy => drop(self.proxy(source)),
                InputKind::Live | InputKind::File => drop(self.capture(source)),
            }
        }
        if shared.input == InputKind::Live {
            store.gauge(FamilyId::QueueDepth, &[]);
        }
        debug_assert_eq!(DIRECTIONS.len(), 2);
    }

    /// Facts of the process, for those that stay running.
    fn process(&self) -> Result<(), prometheus::Error> {
        if self.shared.input != InputKind::File {
            self.shared.registry.register(Box::new(process::ProcessCollector::new()?))?;
        }
        Ok(())
    }

    /// Takes over what the logs have counted, and whose logins fail.
    fn follow(&self) {
        let store = &self.shared.store;
        if self.shared.has(FamilyId::AuthBusiestNetwork) {
            for protocol in Protocol::ALL {
                let peak = self.shared.failed_logins.peak(*protocol, Instant::now());
                let Some((most, networks)) = peak else { continue };
                store.gauge(FamilyId::AuthBusiestNetwork, &[protocol.as_str()]).set(most.into());
                store.gauge(FamilyId::AuthNetworks, &[protocol.as_str()]).set(networks.into());
            }
        }
        for (sink, counters) in &*self.logs.lock().unwrap_or_else(PoisonError::into_inner) {
            let raise = |id, labels: &[&str], to: u64| capture::raise(&store.counter(id, labels), to);
            raise(FamilyId::LogEvents, &[sink], counters.written.load(Ordering::Relaxed));
            raise(FamilyId::LogErrors, &[sink], counters.errors.load(Ordering::Relaxed));
            for (loss, counter) in [(LogLoss::QueueFull, &counters.queue_full), (LogLoss::SinkError, &counters.failed)]
            {
                raise(FamilyId::LogDropped, &[sink, loss.as_str()], counter.load(Ordering::Relaxed));
            }
            store.level(FamilyId::LogLag, &[sink]).set(counters.lag().as_secs_f64());
            let (records, bytes) = counters.waiting();
            for (id, waiting) in [(FamilyId::LogQueueDepth, records), (FamilyId::LogSpool, bytes)] {
                store.gauge(id, &[sink]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
            }
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("input", &self.shared.input).finish_non_exhaustive()
    }
}

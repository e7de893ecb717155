//! What of a run is served: metrics, the page, health.
//!
//! The server has its socket and its key before privileges go, and its thread after. Counters of interfaces and tables
//! are carried over once a second: no packet waits for a scrape.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::{MetricsServer, Sniff};
use crate::error::{self, Error, Level};
use crate::input::capture::live::Counters;
use crate::input::shard::live::State;
use crate::output::feed::FeedCounters;
use crate::output::metrics::{self, CaptureCounts, CaptureMetrics, PacketLoss, ReplyReasons};
use crate::output::page::{self, Show};
use crate::output::serve::{Content, Handle, Readiness, Ready, Server};
use crate::output::{Detail, IdentityPolicy, InputKind, Metrics, Outlet};

/// How long answers under way may take when it ends.
const PATIENCE: Duration = Duration::from_millis(200);

/// What will be served.
pub(super) struct Prepared {
    server: Server,
    metrics: Metrics,
    page: Arc<page::State>,
}

/// What is served.
pub(super) struct Served {
    metrics: Metrics,
    captures: Vec<CaptureMetrics>,
    readiness: Readiness,
    handle: Handle,
}

impl Prepared {
    /// Opens the address; nothing, if no one asked for it.
    pub(super) fn open(ready: &Sniff) -> Result<Option<Self>, Error> {
        let Some(config) = &ready.running.metrics else {
            return Ok(None);
        };
        let reasons = ready.running.reply_reasons.as_deref().map(reasons).transpose()?;
        let setup = metrics::Setup { reasons, ..metrics::Setup::new(InputKind::Live, &ready.interfaces) };
        let metrics = Metrics::new(setup).map_err(|e| Error::Fault(format!("the metrics ({e})")))?;
        let show = Show {
            addresses: ready.policy.identity == IdentityPolicy::Full,
            subjects: ready.policy.detail == Detail::Headers,
        };
        let page = Arc::new(page::State::new(InputKind::Live, ready.interfaces.clone(), show));
        Ok(Some(Self { server: Server::bind(config).map_err(Error::Serve)?, metrics, page }))
    }

    /// `outlet` with what else events become.
    pub(super) fn outlet(&self, outlet: Outlet) -> Outlet {
        outlet.with_metrics(self.metrics.recorder()).with_page(self.page.recorder())
    }

    /// Starts to answer.
    pub(super) fn start(self, ready: &Sniff, log: (&Path, Arc<FeedCounters>)) -> Result<Served, Error> {
        let Self { server, metrics, page } = self;
        for caution in server.cautions() {
            error::tell(Level::Warning, &caution);
        }
        let captures = (0..).zip(&ready.interfaces).map(|(source, _)| metrics.capture(source)).collect();
        metrics.log(if log.0.as_os_str() == "-" { "stdout" } else { "file" }, log.1);
        metrics.reloaded(true, now());
        let readiness = Readiness::new();
        let render = metrics.clone();
        let content = Content { metrics: Box::new(move || render.render()), page, readiness: readiness.clone() };
        let handle = server.start(content).map_err(Error::Serve)?;
        Ok(Served { metrics, captures, readiness, handle })
    }
}

impl Served {
    /// Everything runs.
    pub(super) fn ready(&self, quiet: bool) {
        self.readiness.set(Ready::Ready);
        if !quiet {
            error::tell(Level::Note, &format!("metrics and the page are at {}", self.handle.address()));
        }
    }

    /// Carries counters over.
    pub(super) fn update<'a>(
        &self,
        counters: impl Iterator<Item = &'a Counters>,
        states: impl Iterator<Item = State>,
        queued: usize,
    ) {
        for (metrics, counters) in self.captures.iter().zip(counters) {
            metrics.set(&counts(counters));
        }
        // The tables hold what came from any interface: all of it stands at the first.
        let buffered = states.map(|state| state.buffered).sum::<u64>();
        if let Some(first) = self.captures.first() {
            first.set_buffered(usize::try_from(buffered).unwrap_or(usize::MAX));
        }
        self.metrics.set_queue_depth(queued);
    }

    /// The configuration was read again; `None` if it could not be.
    pub(super) fn reloaded(&self, config: Option<&MetricsServer>) {
        let taken = config.map(|config| self.handle.reload(config));
        if let Some(Err(error)) = &taken {
            error::tell(Level::Error, error);
        }
        self.metrics.reloaded(matches!(taken, Some(Ok(()))), now());
    }

    /// It ends.
    pub(super) fn draining(&self) {
        self.readiness.set(Ready::Draining);
    }

    /// Answers nobody any more.
    pub(super) fn stop(self) {
        self.handle.stop(PATIENCE);
    }
}

fn reasons(path: &Path) -> Result<ReplyReasons, Error> {
    let wrong = |reason: String| Error::Usage(format!("--reply-reasons {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(error::plain(&e)))?;
    ReplyReasons::parse(&text).map_err(wrong)
}

fn counts(of: &Counters) -> CaptureCounts {
    let dropped = PacketLoss::ALL.iter().map(|reason| match reason {
        PacketLoss::Kernel => of.dropped_kernel.value(),
        PacketLoss::Interface => of.dropped_interface.value(),
        PacketLoss::Queue => of.dropped_queue.value(),
        PacketLoss::Snaplen => of.cut.value(),
        PacketLoss::Decode => of.undecoded.value(),
    });
    let mut counts =
        CaptureCounts { packets: of.packets.value(), octets: of.octets.value(), ..CaptureCounts::default() };
    counts.dropped.iter_mut().zip(dropped).for_each(|(to, value)| *to = value);
    counts
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

//! What a running mode shows of itself beside its log: metrics, the page, the server that hands both out, and the top lists.
//!
//! Made in two steps: [`MetricsEndpoint::open`] takes the address while the process may still do all it may,
//! [`MetricsEndpoint::start`] starts the threads that answer and write. Without an address there are no metrics, and without
//! a file or an address no top lists.

use std::fmt;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::metrics::{Metrics, MetricsSetup, MetricsSource, ReplyReasons, ReplyReasonsError};
use super::page;
use super::page::Show;
use super::serve::{self, BoundServer, Handle, Readiness, Ready, ServeError, ServedContent};
use super::{EventFanout, LogQueue, MonitorSettings, Policy, TopCollector, TopFile, TopFileError, TopState};
use crate::console::{self, Level};

/// Metrics and page, if they are wanted.
#[derive(Debug)]
pub struct MetricsEndpoint {
    shown: Option<OpenEndpoint>,
    /// The top lists, if they are wanted.
    top: Option<Arc<TopState>>,
    /// Where they shall be written.
    top_file: Option<PathBuf>,
    top_writer: Option<TopFile>,
}

#[derive(Debug)]
struct OpenEndpoint {
    metrics: Metrics,
    page: Arc<page::PageState>,
    readiness: Readiness,
    opened: Option<BoundServer>,
    server: Option<Handle>,
}

impl MetricsEndpoint {
    /// Opens what `settings` ask for; `sources` are the listeners or interfaces, `policy` says what may be seen.
    /// `socket` listens at the address already, if somebody passed one.
    pub fn open(
        settings: &MonitorSettings,
        sources: Vec<MetricsSource>,
        policy: &Policy,
        socket: Option<TcpListener>,
    ) -> Result<Self, MonitorError> {
        let top_file = settings.top_file.clone();
        let is_wanted = settings.server.is_some() || top_file.is_some();
        let top = is_wanted.then(|| Arc::new(TopState::new(policy.input, settings.top_users)));
        let shown = top.as_ref().map(|top| OpenEndpoint::open(settings, sources, policy, socket, Arc::clone(top)));
        Ok(Self { shown: shown.transpose()?.flatten(), top, top_file, top_writer: None })
    }

    /// What an operator should know about who can read what, one line each.
    pub fn cautions(&self) -> Vec<String> {
        let opened = self.shown.as_ref().and_then(|shown| shown.opened.as_ref());
        opened.map(BoundServer::cautions).unwrap_or_default()
    }

    /// Tells people where it answers.
    pub fn announce(&self) {
        if let Some(server) = self.shown.as_ref().and_then(|shown| shown.server.as_ref()) {
            console::print(Level::Note, &format!("metrics and the page are at {}", server.address()));
        }
    }

    /// Writes the file of the top lists for the first time, by the user who will have to write it again.
    pub fn open_files(&self) -> Result<(), MonitorError> {
        match self.top_file.as_deref().zip(self.top.as_deref()) {
            Some((path, top)) => TopFile::write(path, top).map_err(MonitorError::TopFile),
            None => Ok(()),
        }
    }

    /// Starts to answer, and says that it is not ready; from now on the file of the top lists is written.
    pub fn start(&mut self) -> Result<(), MonitorError> {
        if let Some(shown) = &mut self.shown {
            shown.start().map_err(MonitorError::Serve)?;
        }
        if let Some((path, top)) = self.top_file.take().zip(self.top.as_ref()) {
            self.top_writer = Some(TopFile::start(path, Arc::clone(top)).map_err(MonitorError::TopFile)?);
        }
        Ok(())
    }

    /// A fan-out for one thread.
    pub fn fanout(&self, policy: &Arc<Policy>, queue: &LogQueue) -> EventFanout {
        let fanout = EventFanout::new(Arc::clone(policy), Some(queue.clone()));
        let fanout = match &self.top {
            Some(top) => fanout.with_top(TopCollector::new(Arc::clone(top), policy)),
            None => fanout,
        };
        match &self.shown {
            Some(shown) => fanout.with_metrics(shown.metrics.recorder()).with_page(shown.page.recorder()),
            None => fanout,
        }
    }

    /// The sources are these from now on, by number; those known before keep their numbers and names.
    pub fn name_sources(&self, sources: &[MetricsSource]) {
        if let Some(shown) = &self.shown {
            shown.metrics.name_sources(sources);
            shown.page.name_sources(sources.iter().map(|source| source.name.clone()).collect());
        }
    }

    /// The metrics.
    pub fn metrics(&self) -> Option<&Metrics> {
        self.shown.as_ref().map(|shown| &shown.metrics)
    }

    /// Follows the counters of the log.
    pub fn follow(&self, queue: &LogQueue) {
        if let Some(metrics) = self.metrics() {
            metrics.log("log", Arc::clone(queue.counters()));
        }
    }

    /// From now on it says this of itself.
    pub fn say(&self, state: Ready) {
        if let Some(shown) = &self.shown {
            shown.readiness.set(state);
        }
    }

    /// While it is ready, it says these lines too.
    pub fn note(&self, notes: Vec<String>) {
        if let Some(shown) = &self.shown {
            shown.readiness.note(notes);
        }
    }

    /// Reads token and certificate of `config` again, and changes nothing yet. The address stays what it is.
    pub fn read_access(&self, config: Option<&serve::ServeSettings>) -> Result<Option<serve::NewAccess>, ServeError> {
        match (self.shown.as_ref().and_then(|shown| shown.server.as_ref()), config) {
            (Some(server), Some(config)) => server.read_access(config).map(Some),
            _ => Ok(None),
        }
    }

    /// Takes them.
    pub fn take_access(&self, access: Option<serve::NewAccess>) {
        if let (Some(server), Some(access)) = (self.shown.as_ref().and_then(|shown| shown.server.as_ref()), access) {
            server.take_access(access);
        }
    }

    /// The configuration was read again; whether it was taken.
    pub fn reloaded(&self, taken: bool) {
        if let Some(metrics) = self.metrics() {
            metrics.reloaded(taken, now());
        }
    }

    /// The socket it listens at, once more.
    pub fn socket(&self) -> Option<TcpListener> {
        self.shown.as_ref()?.server.as_ref()?.socket().ok()
    }

    /// Answers what is asked already, and no more. The top lists are written once more, unless a successor writes them.
    pub fn stop(&mut self, has_successor: bool) {
        if let Some(writer) = self.top_writer.take() {
            writer.stop(has_successor);
        }
        if let Some(server) = self.shown.as_mut().and_then(|shown| shown.server.take()) {
            server.stop(Duration::from_secs(1));
        }
    }
}

impl OpenEndpoint {
    fn open(
        settings: &MonitorSettings,
        sources: Vec<MetricsSource>,
        policy: &Policy,
        socket: Option<TcpListener>,
        top: Arc<TopState>,
    ) -> Result<Option<Self>, MonitorError> {
        let Some(config) = &settings.server else { return Ok(None) };
        let reasons = settings
            .reply_reasons
            .as_deref()
            .map(ReplyReasons::read)
            .transpose()
            .map_err(MonitorError::ReplyReasons)?;
        let opened = match socket {
            Some(socket) => BoundServer::adopt(config, socket),
            None => BoundServer::bind(config),
        };
        let opened = opened.map_err(MonitorError::Serve)?;
        let names = sources.iter().map(|source| source.name.clone()).collect();
        let setup = MetricsSetup { input: policy.input, sources, cap: MetricsSetup::CAP, reasons };
        let metrics = Metrics::new(setup).map_err(|error| MonitorError::Metrics(error.to_string()))?;
        // The first one was taken, or there would be no run.
        metrics.reloaded(true, now());
        let show = Show::of(policy, config.token.is_some());
        let page = Arc::new(page::PageState::new(policy.input, names, show, top));
        let readiness = Readiness::new();
        Ok(Some(Self { metrics, page, readiness, opened: Some(opened), server: None }))
    }

    fn start(&mut self) -> Result<(), ServeError> {
        let Some(opened) = self.opened.take() else { return Ok(()) };
        let metrics = self.metrics.clone();
        let content = ServedContent {
            metrics: Box::new(move || metrics.render()),
            page: Arc::clone(&self.page),
            readiness: self.readiness.clone(),
        };
        self.server = Some(opened.start(content)?);
        Ok(())
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Why metrics, page or top lists cannot be had.
#[derive(Debug)]
pub enum MonitorError {
    /// The names for reply texts.
    ReplyReasons(ReplyReasonsError),
    /// The address, or its certificate.
    Serve(ServeError),
    /// The file of the top lists.
    TopFile(TopFileError),
    /// A family of metrics that cannot be: a fault in this program.
    Metrics(String),
}

impl fmt::Display for MonitorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplyReasons(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
            Self::TopFile(error) => error.fmt(f),
            Self::Metrics(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for MonitorError {}

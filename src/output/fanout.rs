//! Everything that the events of a running input go into, one for each thread.
//!
//! An input holds one and hands it its events as a [`Sink`]; when nothing is going on it calls [`EventFanout::flush`].
//! It must never wait for anything.

use std::sync::Arc;
use std::time::Duration;

use super::log_queue::{BATCH, LogQueue};
use super::{Policy, RecordWriter, TopCollector, metrics, page};
use crate::event::{Context, Event, Sink};
use crate::time::Timestamp;

/// Records and what else events become.
#[derive(Debug)]
pub struct EventFanout {
    records: RecordWriter,
    queue: Option<LogQueue>,
    metrics: Option<metrics::MetricsRecorder>,
    page: Option<page::PageCollector>,
    top: Option<TopCollector>,
}

impl EventFanout {
    /// One that writes into `queue`, if there is a log.
    pub fn new(policy: Arc<Policy>, queue: Option<LogQueue>) -> Self {
        Self { records: RecordWriter::new(policy), queue, metrics: None, page: None, top: None }
    }

    /// Events are counted as well.
    #[must_use]
    pub fn with_metrics(mut self, metrics: metrics::MetricsRecorder) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The page is told as well.
    #[must_use]
    pub fn with_page(mut self, page: page::PageCollector) -> Self {
        self.page = Some(page);
        self
    }

    /// The top lists count as well.
    #[must_use]
    pub fn with_top(mut self, top: TopCollector) -> Self {
        self.top = Some(top);
        self
    }

    /// The sources have these names from now on.
    pub fn name_sources(&mut self, names: &[String]) {
        self.records.name_sources(names);
    }

    /// The times of events are points of a timeline from now on; at `at` the host's clock was found to show `shown`.
    pub fn clock_set(&mut self, at: Timestamp, shown: Timestamp) {
        self.records.clock_set(at, shown);
        if let Some(page) = &mut self.page {
            page.clock_set(at, shown);
        }
    }

    /// The event loop of this thread came to a timer so long after its time.
    pub fn loop_lag(&self, lag: Duration) {
        if let Some(metrics) = &self.metrics {
            metrics.loop_lag(lag);
        }
    }

    /// Hands over what has gathered. Never waits.
    pub fn flush(&mut self) {
        if let Some(page) = &mut self.page {
            page.publish();
        }
        if let Some(top) = &mut self.top {
            top.publish();
        }
        match &self.queue {
            Some(queue) => queue.send(self.records.lines()),
            None => self.records.clear(),
        }
    }
}

impl Sink for EventFanout {
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>) {
        if let Some(metrics) = &mut self.metrics {
            metrics.event(context, at, event);
        }
        if let Some(page) = self.page.as_mut().filter(|_| !context.health_check) {
            page.event(context, at, event);
        }
        if let Some(top) = self.top.as_mut().filter(|_| !context.health_check) {
            top.event(context, at, event);
        }
        if self.queue.is_some() {
            self.records.event(context, at, event);
            if self.records.bytes().len() >= BATCH {
                self.flush();
            }
        }
    }
}

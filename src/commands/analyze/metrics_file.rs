//! The metrics of a run, written once when it is over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::capture::Totals;
use crate::error::Error;
use crate::output::InputKind;
use crate::output::log_queue::LogCounters;
use crate::output::metrics::{
    CaptureCounts, Metrics, MetricsFile, MetricsSetup, NotUnderstood, PacketLoss, ReplyReasons,
};
use crate::wire::DecodeCounters;

/// Metrics and the file they go to.
pub(super) struct Counting {
    pub(super) metrics: Metrics,
    file: MetricsFile,
    lines: Option<Arc<LogCounters>>,
}

impl Counting {
    /// Opens the file, so that a run does not learn at its end that it cannot. `log`: there is one.
    pub(super) fn start(
        path: PathBuf,
        files: &[PathBuf],
        reasons: Option<ReplyReasons>,
        log: bool,
    ) -> Result<Self, Error> {
        let file = MetricsFile::open(path)?;
        let setup = MetricsSetup { reasons, ..MetricsSetup::new(InputKind::File, [listener(files)]) };
        let metrics = Metrics::new(setup).map_err(|e| Error::Fault(e.to_string()))?;
        let lines = log.then(Arc::<LogCounters>::default);
        if let Some(lines) = &lines {
            metrics.log("log", Arc::clone(lines));
        }
        Ok(Self { metrics, file, lines })
    }

    /// So many lines went to the log, or did not.
    pub(super) fn lines(&self, lines: &[u8], written: bool) {
        if let Some(counters) = &self.lines {
            let of = if written { &counters.written } else { &counters.failed };
            of.fetch_add(memchr::memchr_iter(b'\n', lines).count() as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn finish(self, totals: &Totals, packets: &DecodeCounters) -> Result<(), Error> {
        let mut counts = CaptureCounts { packets: totals.packets, octets: totals.octets, ..CaptureCounts::default() };
        counts.set_dropped(PacketLoss::Snaplen, packets.cut());
        counts.set_dropped(PacketLoss::Decode, packets.undecodable());
        counts.not_understood = packets.unread;
        if let Some(count) = counts.not_understood.get_mut(NotUnderstood::LinkType.index()) {
            *count += totals.skipped;
        }
        self.metrics.capture(0).set(&counts);
        Ok(self.file.finish(&self.metrics.render())?)
    }
}

/// One file is known by its name; what comes from a pipe, or from several, is `file`.
fn listener(files: &[PathBuf]) -> String {
    let name = match files {
        [one] if one.as_os_str() != "-" => one.file_name(),
        _ => None,
    };
    name.map_or_else(|| "file".into(), |name| Path::new(name).display().to_string())
}

//! `mailtap analyze`: captures in, the log and a summary out.
//!
//! Ties the modules together and decides nothing about mail. The log is opened before a capture is read; what a damaged
//! capture held is reported all the same, and the run then says that it was not whole.

mod metrics_file;
mod progress;
mod unread;

use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::capture::{Capture, CaptureError, FileOrder};
use crate::config::Analyze;
use crate::console::{self, Level};
use crate::error;
use crate::error::Error;
use crate::event::{Context, Event, Sink};
use crate::output::metrics::MetricsRecorder;
use crate::output::{CaptureFacts as Captured, Log, LogError, LogSettings, RecordSet, RecordWriter, Report, Style};
use crate::pipeline as shard;
use crate::pipeline::{RecordSink, RunOutcome, Setup, Stopped};
use crate::time::Timestamp;
use crate::wire::DecoderLimits;

use metrics_file::Counting;
use progress::Progress;

/// How a run went that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Everything was read, or all that is there of a capture that is cut at its end.
    Whole,
    /// Some input could not be read; that has been said.
    Partly,
}

/// Records and summary of the shards of one worker.
struct AnalyzeSink {
    records: RecordWriter,
    report: Report,
    metrics: Option<MetricsRecorder>,
}

impl Sink for AnalyzeSink {
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>) {
        self.records.event(context, at, event);
        self.report.event(context, at, event);
        if let Some(metrics) = &mut self.metrics {
            metrics.event(context, at, event);
        }
    }
}

impl RecordSink for AnalyzeSink {
    fn lines(&self) -> &[u8] {
        self.records.bytes()
    }

    fn clear(&mut self) {
        self.records.clear();
    }
}

/// Analyzes, writes the log and the summary; troubles of the captures go to standard error as they are met.
pub fn run(ready: Analyze) -> Result<Completeness, Error> {
    let Analyze {
        files,
        in_order_given,
        log,
        mut policy,
        limits,
        flows,
        threads,
        metrics_file,
        reply_reasons,
        quiet,
        verbose: _,
    } = ready;
    let on_stdout = log.as_ref().is_some_and(LogSettings::is_on_stdout);
    let mut log = log.as_ref().map(Log::open).transpose().map_err(Error::LogOpen)?;
    if let Some(log) = log.as_mut().filter(|log| log.is_unread()) {
        let path = log.path().display();
        console::print(Level::Warning, &format!("the log {path} has no reader; nothing is read before it has one"));
        log.await_reader().map_err(Error::LogOpen)?;
    }
    if log.is_none() {
        policy.records = RecordSet::NONE;
    }
    let policy = Arc::new(policy);
    let metrics = metrics_file.map(|path| Counting::start(path, &files, reply_reasons, log.is_some())).transpose()?;
    let counted = files.len() as u64;
    let began = Instant::now();
    let mut warnings = Vec::new();
    let capture = Capture::new(files, if in_order_given { FileOrder::Given } else { FileOrder::Time });
    let setup = Setup { threads, limits: Arc::new(limits), flows, decoder: DecoderLimits::default() };
    let progress = Progress::start(&capture, quiet);
    let mut read = Completeness::Whole;
    let mut trouble = |trouble: CaptureError| {
        let level = if trouble.what.is_warning() { Level::Warning } else { Level::Error };
        if level == Level::Error {
            read = Completeness::Partly;
        }
        progress.pause(|| console::print(level, &trouble));
        warnings.push(trouble.to_string());
    };
    let sink = || AnalyzeSink {
        records: RecordWriter::new(Arc::clone(&policy)),
        report: Report::default(),
        metrics: metrics.as_ref().map(|m| m.metrics.recorder()),
    };
    let mut write = |lines: &[u8]| {
        let written = log.as_mut().map_or(Ok(()), |log| log.write(lines));
        if let Some(metrics) = &metrics {
            metrics.lines(lines, written.is_ok());
        }
        written
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| shard::run(&capture, &setup, &mut trouble, &sink, &mut write)));
    progress.stop();
    let flushed = log.as_mut().map_or(Ok(()), Log::flush);
    let Ok(outcome) = outcome else {
        return Err(error::fault());
    };
    match outcome.stopped {
        None => flushed.map_err(Error::LogWrite)?,
        Some(Stopped::Write(error)) => return Err(Error::LogWrite(error)),
        Some(Stopped::Thread(reason)) => return Err(Error::Thread(reason)),
        Some(Stopped::Fault) => return Err(error::fault()),
    }
    if let Some(warning) = unread::warning(&outcome.packets, &outcome.unread) {
        console::print(Level::Warning, &warning);
        warnings.push(warning);
    }
    if let Some(metrics) = metrics {
        metrics.finish(&outcome.totals, &outcome.packets)?;
    }
    // Of inputs that gave nothing, the errors say all there is to say.
    let nothing = outcome.totals.packets == 0 && read == Completeness::Partly;
    if !quiet && !nothing {
        summary(outcome, counted, began, warnings, on_stdout)?;
    }
    Ok(read)
}

/// Prints the schema of the log.
pub fn schema() -> Result<(), Error> {
    print("standard output", &mut io::stdout().lock(), &crate::output::schema())
}

fn summary(
    outcome: RunOutcome<AnalyzeSink, LogError>,
    files: u64,
    began: Instant,
    mut warnings: Vec<String>,
    on_stderr: bool,
) -> Result<(), Error> {
    let RunOutcome { sinks, totals, packets, unread, flows, wild, .. } = outcome;
    if wild > 0 {
        let have = if wild == 1 { "packet has a time" } else { "packets have times" };
        warnings.push(format!("{wild} {have} far from those around; taken as captured with the packet before"));
    }
    tracing::info!(?totals, ?packets, ?flows, "read");
    let mut report = Report::default();
    for sink in sinks {
        report.merge(sink.report);
    }
    let terminal = if on_stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
    report.set_capture(Captured {
        files,
        packets: totals.packets,
        octets: totals.octets,
        first: totals.first,
        last: totals.last,
        // The one thing that no two runs agree on: for eyes only.
        elapsed: terminal.then(|| began.elapsed()),
        not_understood: unread::lines(&packets, &unread),
        warnings,
    });
    let mut text = Vec::new();
    let style = Style { colour: terminal && std::env::var_os("NO_COLOR").is_none(), width: 80 };
    report.print(&mut text, style).map_err(|reason| Error::Write { to: "memory", reason })?;
    let text = String::from_utf8_lossy(&text);
    if on_stderr {
        print("standard error", &mut io::stderr().lock(), &text)
    } else {
        print("standard output", &mut io::stdout().lock(), &text)
    }
}

fn print(to: &'static str, out: &mut dyn io::Write, text: &dyn Display) -> Result<(), Error> {
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|reason| Error::Write { to, reason })
}

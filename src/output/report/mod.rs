//! The summary for people: what a mail operator asks first of a capture.
//!
//! A [`Report`] tallies events as they pass, one per thread if need be; merged in any order, reports say what one alone
//! would have said. It keeps counts over closed lists and never a word from the wire, so its size has a bound and it has
//! nothing to hide.

mod page;
mod print;
mod tally;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::time::Duration;

use crate::event::anomaly::Id;
use crate::event::{Anomaly, Context, Event, Protocol, Severity, Sink};
use crate::time::Timestamp;
use tally::{ProtocolTally, VariantCounts};

pub use page::Style;

/// What was read, as only the caller knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureFacts {
    /// Files.
    pub files: u64,
    /// Packets.
    pub packets: u64,
    /// Octets of the files.
    pub octets: u64,
    /// Time of the earliest packet.
    pub first: Option<Timestamp>,
    /// Time of the latest.
    pub last: Option<Timestamp>,
    /// How long it took to read them; left out of the summary if absent.
    pub elapsed: Option<Duration>,
    /// Packets that were not understood, by kind in words (`with EtherType 0x1234`), the most frequent first.
    pub not_understood: Vec<(u64, String)>,
    /// What the reader should know: damage, by file and offset.
    pub warnings: Vec<String>,
}

/// Counts what sessions say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    capture: Option<CaptureFacts>,
    protocols: [ProtocolTally; Protocol::ALL.len()],
    anomalies: Vec<AnomalyCounts>,
}

/// One kind of anomaly: records and occurrences, by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct AnomalyCounts {
    records: VariantCounts<{ Severity::ALL.len() }>,
    times: VariantCounts<{ Severity::ALL.len() }>,
}

impl Default for Report {
    fn default() -> Self {
        Self { capture: None, protocols: Default::default(), anomalies: vec![AnomalyCounts::default(); Id::ALL.len()] }
    }
}

impl Report {
    /// One that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what was read; it stands at the head of the summary.
    pub fn set_capture(&mut self, capture: CaptureFacts) {
        self.capture = Some(capture);
    }

    /// Counts all that `other` has counted. What was read is as the first of the two knows it.
    pub fn merge(&mut self, other: Self) {
        self.capture = self.capture.take().or(other.capture);
        self.protocols.iter_mut().zip(other.protocols).for_each(|(mine, theirs)| mine.merge(theirs));
        for (mine, theirs) in self.anomalies.iter_mut().zip(&other.anomalies) {
            mine.records.merge(&theirs.records);
            mine.times.merge(&theirs.times);
        }
    }

    /// Writes the summary. Errors are those of `out`.
    pub fn print(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        out.write_all(print::summary(self, style).as_bytes())
    }

    fn anomaly(&mut self, anomaly: &Anomaly) {
        if let Some(seen) = self.anomalies.get_mut(anomaly.id.index()) {
            seen.records.add(anomaly.severity.index(), 1);
            seen.times.add(anomaly.severity.index(), u64::from(anomaly.count.max(1)));
        }
    }
}

impl Sink for Report {
    fn event(&mut self, context: &Context, _: Timestamp, event: &Event<'_>) {
        let Some(tally) = self.protocols.get_mut(context.protocol.index()) else {
            return;
        };
        match event {
            Event::Command(command) => tally.command(command),
            Event::Auth(auth) => tally.auth(auth),
            Event::Transaction(transaction) => tally.transaction(transaction),
            Event::End(summary) => tally.session(summary),
            Event::Anomaly(anomaly) => self.anomaly(anomaly),
            Event::Start
            | Event::Octets { .. }
            | Event::Lost { .. }
            | Event::Idle
            | Event::IdleOver { .. }
            | Event::Greeting(_)
            | Event::Body { .. } => {}
        }
    }
}

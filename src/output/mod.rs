//! Where events go: the only I/O that writes.
//!
//! [`record`] turns events into the lines of the log, [`mod@schema`] is what the log promises, [`mod@log`] puts the
//! lines into a file, [`log_queue`] does so beside a running input, [`report`] tallies events into a summary for people,
//! [`pcapng`] keeps packets as they are. Each takes events in as a
//! [`Sink`](crate::event::Sink) and knows nothing of where they come from; none may show more than
//! an event holds.

mod beside;
mod fanout;
mod histogram;
mod identity;
pub mod log;
pub mod log_queue;
pub mod metrics;
mod monitor;
mod numbered;
pub mod page;
pub mod pcapng;
pub mod record;
pub mod report;
pub mod schema;
pub mod serve;
mod settings;
mod shown_text;
#[cfg(test)]
mod testing;
pub mod top;

pub use fanout::EventFanout;
pub use identity::{FailedIdentity, IdentityPolicy};
pub use log::{Log, LogError};
pub use log_queue::{LogQueue, LogWriter};
pub use metrics::Metrics;
pub use monitor::{MetricsEndpoint, MonitorError};
pub use pcapng::{Files, PcapThread, PcapWriter};
pub use record::{Detail, InputKind, Policy, RecordKind, RecordSet, RecordWriter};
pub use report::{CaptureFacts, Report, Style};
pub use schema::schema;
pub use serve::ServeError;
pub use settings::{LogSettings, MonitorSettings};
pub use top::{TopCollector, TopFile, TopFileError, TopState};

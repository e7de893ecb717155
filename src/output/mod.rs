//! Where events go: the only I/O that writes.
//!
//! [`record`] turns events into the lines of the log, [`mod@schema`] is what the log promises, [`mod@log`] puts the
//! lines into a file, [`feed`] does so beside a running input, [`report`] tallies events into a summary for people,
//! [`packets`] keeps packets as they are. Each takes events in as a
//! [`Sink`](crate::engine::event::Sink) and knows nothing of where they come from; none may show more than
//! an event holds.

pub mod feed;
mod identity;
pub mod log;
pub mod metrics;
mod monitor;
mod outlet;
pub mod packets;
pub mod page;
pub mod record;
pub mod report;
#[cfg(test)]
mod samples;
pub mod schema;
pub mod serve;
mod settings;

pub use feed::{Feed, Keeper};
pub use identity::{FailedIdentity, IdentityPolicy};
pub use log::{Log, LogError};
pub use metrics::Metrics;
pub use monitor::Monitor;
pub use outlet::Outlet;
pub use packets::{Archive, Files, Shelf};
pub use record::{Detail, InputKind, Policy, RecordKind, RecordSet, RecordWriter};
pub use report::{Capture, Report, Style};
pub use schema::schema;
pub use serve::ServeError;
pub use settings::{LogSettings, MonitorSettings};

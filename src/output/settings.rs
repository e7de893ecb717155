//! Settings of the outputs that more than one mode has.

use std::path::PathBuf;

use super::serve;

/// Where the log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Its file; `-` or `None` is standard output.
    pub path: Option<PathBuf>,
    /// Bytes after which the next file begins.
    pub rotate: Option<u64>,
}

/// What is shown beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The server of metrics and page, if there is one.
    pub server: Option<serve::ServeSettings>,
    /// File with the operator's names for reply texts.
    pub reply_reasons: Option<PathBuf>,
}

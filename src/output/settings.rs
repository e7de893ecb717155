//! Settings of the outputs that more than one mode has.

use std::path::PathBuf;

use super::serve;

/// Where the log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Its file; `-` or `None` is standard output.
    pub path: Option<PathBuf>,
    /// Size in bytes that a regular file shall not exceed; a single record that is longer still has a file of its own.
    pub rotate: Option<u64>,
}

impl LogSettings {
    /// Whether the log goes to standard output.
    pub fn is_on_stdout(&self) -> bool {
        self.path.as_ref().is_none_or(|path| path.as_os_str() == "-")
    }
}

/// What is shown beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The server of metrics and page, if there is one.
    pub server: Option<serve::ServeSettings>,
    /// File with the operator's names for reply texts.
    pub reply_reasons: Option<PathBuf>,
}

//! How the log of a running mode goes, in words.

use crate::console::{self, Level, plain};
use crate::output::log_queue::LogNews;

/// Reports that the log cannot be written, or can be again.
pub(super) fn report(news: LogNews<'_>) {
    match news {
        LogNews::Failed(error) => {
            let level = if error.is_unread() { Level::Warning } else { Level::Error };
            let text = format_args!("{}; records are lost until it can be written again", plain(error));
            console::limited(level, "log_failed", &error.path().to_string_lossy(), &text);
        }
        LogNews::Restored { log, lost } => {
            let path = log.path().to_string_lossy();
            let text = format_args!("the log {path} can be written again; {lost} records were lost");
            console::warn("log_restored", &path, &text);
        }
        LogNews::NotOpened(error) => {
            let text = format_args!("{}; records go to the file that was open until this is mended", plain(error));
            console::limited(Level::Error, "log_not_opened", &error.path().to_string_lossy(), &text);
        }
        LogNews::Opened(log) => {
            let path = log.path().to_string_lossy();
            console::warn("log_opened", &path, &format_args!("the log {path} could be opened again"));
        }
    }
}

//! What is reported of a reload: that all of it was taken, or nothing.

use crate::console::{self, Level};
use crate::error::Error;

/// The configuration is in effect, for `what`. `restart`: keys that have changed and wait for a restart.
pub(super) fn taken(what: &str, restart: &[&str], is_quiet: bool) {
    if !restart.is_empty() {
        let keys = restart.join(", ");
        let text = format!("changed in the configuration, and in effect only after a restart: {keys}");
        console::print(Level::Warning, &text);
    }
    if !is_quiet {
        console::print(Level::Note, &format!("the configuration was read again and is in effect: {what}"));
    }
}

/// It is not in effect, because of `error`.
pub(super) fn refused(error: &Error) {
    console::print(Level::Error, error);
    console::print(Level::Warning, &"the configuration stays as it was, all of it; mend it and reload again");
}

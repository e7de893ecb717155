//! Lines for people on standard error.

use std::fmt;
use std::io::{self, Write as _};

/// Says `text` on standard error, in one line: names of files may hold anything. Nobody may be listening.
pub fn print(level: Level, text: &dyn fmt::Display) {
    let level = match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let mut line = format!("mailtap: {level}: ");
    for c in text.to_string().chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes());
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing is wrong.
    Note,
    /// The result is as good as it can be.
    Warning,
    /// Something is missing in it.
    Error,
}

/// An error's text without the number of the system's error behind it.
pub(crate) fn plain(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

//! Lines for people on standard error: notes, warnings and errors about the run itself.
//!
//! A mode that stays running starts a thread that writes them ([`start`]): a terminal, pipe or journal that reads nothing
//! must not stop those who forward mail. Without that thread, a line is written at once. What can happen once for each
//! connection goes through [`warn`], which shows the first of its kind and counts the others.

mod repeats;
mod thread;

use std::fmt;
use std::time::Instant;

pub use thread::{Console, start};

/// Says `text` on standard error, in one line: names of files may hold anything. Nobody may be listening.
pub fn print(level: Level, text: &dyn fmt::Display) {
    thread::put(line(level, &text.to_string()));
}

/// Warns of something that may happen often. The first of a `kind` and `subject` is shown at once; those that follow within
/// a minute are counted, and one line then says how many there were.
///
/// `kind` says what happened (`"upstream"`, `"descriptors"`), `subject` to what: the name of a listener or file. Any thread
/// may call it; it never waits for whoever reads standard error.
pub fn warn(kind: &'static str, subject: &str, text: &dyn fmt::Display) {
    limited(Level::Warning, kind, subject, text);
}

/// The same at another level.
pub fn limited(level: Level, kind: &'static str, subject: &str, text: &dyn fmt::Display) {
    if let Some(text) = thread::repeats(|repeats| repeats.came(Instant::now(), level, kind, subject, text)) {
        thread::put(line(level, &text));
    }
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
    /// Said with `--verbose` only.
    Info,
    /// The same, in more detail.
    Debug,
    /// The same, in every detail.
    Trace,
}

/// Whether a terminal may take `c` for an order, or show the line in another order than it was written: C0, DEL, C1, line
/// separators (U+2028, U+2029), and marks, embeddings, overrides and isolates of direction (UAX #9).
pub(crate) const fn is_unsafe(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// An error's text without the number of the system's error behind it.
pub(crate) fn plain(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn line(level: Level, text: &str) -> String {
    let level = match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let mut line = format!("mailtap: {level}: ");
    for c in text.chars() {
        if is_unsafe(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_orders_a_terminal_nothing() {
        let text = line(Level::Warning, "a\nb\x1b[2J\u{9b}c\u{7f}\u{202e}d\u{2028}\u{2066}e\u{61c}f é");
        let escaped = r"a\nb\u{1b}[2J\u{9b}c\u{7f}\u{202e}d\u{2028}\u{2066}e\u{61c}f é";
        assert_eq!(text, format!("mailtap: warning: {escaped}\n"));
    }
}

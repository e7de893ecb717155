//! The operator's names for reply texts: a TOML file of `name = "regex"` lines.
//!
//! The texts are masked ones, the expressions run in linear time, and a reply counts once: under the first name, in the
//! order of the file, whose expression matches.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use regex::bytes::RegexSet;
use toml::Spanned;

use crate::console::plain;

/// Names and what they match.
#[derive(Clone, Debug)]
pub struct ReplyReasons {
    names: Vec<String>,
    set: RegexSet,
}

impl ReplyReasons {
    /// The most names there may be: each is a label value.
    pub const MOST: usize = 50;

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, ReplyReasonsError> {
        let told = |reason| ReplyReasonsError { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| told(format!("cannot be read: {}", plain(&e))))?;
        Self::parse(&text).map_err(told)
    }

    /// Reads the text of a file. Errors name the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: BTreeMap<Spanned<String>, Spanned<String>> = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line(text, span.start));
            format!("line {line}: {}", e.message().lines().collect::<Vec<_>>().join(", "))
        })?;
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        if let Some((name, _)) = entries.get(Self::MOST) {
            return Err(format!("line {}: more than {} names", line(text, name.span().start), Self::MOST));
        }
        for (name, pattern) in &entries {
            let at = line(text, name.span().start);
            let word = name.as_ref();
            let plain = |o: u8| o.is_ascii_lowercase() || o.is_ascii_digit() || o == b'_';
            if word.is_empty() || word.len() > 64 || !word.bytes().all(plain) {
                return Err(format!("line {at}: {word:?} is no name: use a to z, 0 to 9 and _"));
            }
            regex::bytes::Regex::new(pattern.as_ref()).map_err(|e| {
                let reason = e.to_string();
                let last = reason.lines().last().unwrap_or_default().trim().to_owned();
                format!("line {at}: {word}: {last}")
            })?;
        }
        let set = RegexSet::new(entries.iter().map(|(_, pattern)| pattern.as_ref()))
            .map_err(|e| format!("the expressions together: {e}"))?;
        Ok(Self { names: entries.into_iter().map(|(name, _)| name.into_inner()).collect(), set })
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name that fits `text`, with its position.
    pub(super) fn of(&self, text: &[u8]) -> Option<(usize, &str)> {
        let first = self.set.matches(text).iter().next()?;
        self.names.get(first).map(|name| (first, name.as_str()))
    }
}

/// The names for reply texts cannot be had.
#[derive(Debug)]
pub struct ReplyReasonsError {
    path: PathBuf,
    /// Why, with the line.
    reason: String,
}

impl fmt::Display for ReplyReasonsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; check --reply-reasons", self.path.display(), self.reason)
    }
}

impl std::error::Error for ReplyReasonsError {}

fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|o| **o == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_the_file_counts() {
        let reasons =
            ReplyReasons::parse("spam = '(?i)spam|blocked'\n# a note\ngreylisted = '(?i)grey|try again'\n").unwrap();
        assert_eq!(reasons.names(), ["spam", "greylisted"]);
        assert_eq!(reasons.of(b"4.7.1 Greylisted, try again"), Some((1, "greylisted")));
        assert_eq!(reasons.of(b"blocked as spam, try again \xFF"), Some((0, "spam")));
        assert_eq!(reasons.of(b"ok"), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            ("a = 'x'\nB = 'y'\n", "line 2: \"B\" is no name: use a to z, 0 to 9 and _"),
            ("a = 'x'\n\nb = '('\n", "line 3: b: error: unclosed group"),
            ("a = 'x'\nb = 7\n", "line 2: invalid type: integer `7`, expected a string"),
            ("a = 'x'\na = 'y'\n", "line 2: duplicate key"),
        ] {
            assert_eq!(ReplyReasons::parse(text).unwrap_err(), told);
        }
        let many: String = (0..51).map(|n| format!("n{n} = 'x'\n")).collect();
        assert_eq!(ReplyReasons::parse(&many).unwrap_err(), "line 51: more than 50 names");
        let most: String = (0..50).map(|n| format!("n{n} = 'x'\n")).collect();
        assert_eq!(ReplyReasons::parse(&most).unwrap().names().len(), 50);
    }
}

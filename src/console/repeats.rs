//! Warnings that may repeat: the first is shown, those that follow are counted.

use std::fmt;
use std::time::{Duration, Instant};

use super::Level;

/// How long the others of a kind are counted before a line says how many there were.
const INTERVAL: Duration = Duration::from_secs(60);

/// Kinds and subjects that are told apart. Subjects are names of listeners and files; beyond the cap, which only a very
/// large configuration reaches, those of a kind are counted together.
const KNOWN: usize = 256;

/// What was shown within the last minute.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    level: Level,
    kind: &'static str,
    subject: String,
    /// When its minute began.
    since: Instant,
    /// Those that were not shown.
    more: u64,
    last: String,
}

impl Repeats {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Something happened at `now`; what is to be shown of it, if anything is.
    pub(super) fn came(
        &mut self,
        now: Instant,
        level: Level,
        kind: &'static str,
        subject: &str,
        text: &dyn fmt::Display,
    ) -> Option<String> {
        let subject = self.subject(now, kind, subject);
        let found = self.entries.iter_mut().find(|entry| entry.kind == kind && entry.subject == subject);
        let Some(entry) = found else {
            let entry = Entry { level, kind, subject: subject.to_owned(), since: now, more: 0, last: String::new() };
            self.entries.push(entry);
            return Some(text.to_string());
        };
        entry.more += 1;
        entry.last = text.to_string();
        entry.is_due(now).then(|| entry.take(now))
    }

    /// What is to be shown by now of what was only counted.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Level, String)> {
        self.entries.retain(|entry| entry.more > 0 || !entry.is_due(now));
        let due = self.entries.iter_mut().filter(|entry| entry.is_due(now));
        due.map(|entry| (entry.level, entry.take(now))).collect()
    }

    /// The same at the end: nothing is counted any more.
    pub(super) fn finish(&mut self, now: Instant) -> Vec<(Level, String)> {
        let counted = std::mem::take(&mut self.entries).into_iter().filter(|entry| entry.more > 0);
        counted.map(|mut entry| (entry.level, entry.take(now))).collect()
    }

    /// The subject under which one is counted: none if there are too many.
    fn subject<'a>(&mut self, now: Instant, kind: &str, subject: &'a str) -> &'a str {
        let is_known = self.entries.iter().any(|entry| entry.kind == kind && entry.subject == subject);
        if !is_known && self.entries.len() >= KNOWN {
            self.entries.retain(|entry| entry.more > 0 || !entry.is_due(now));
        }
        if is_known || self.entries.len() < KNOWN { subject } else { "" }
    }
}

impl Entry {
    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= INTERVAL
    }

    /// The last that came, and how many there were. A new minute begins.
    fn take(&mut self, now: Instant) -> String {
        let seconds = now.saturating_duration_since(self.since).as_secs().max(1);
        self.since = now;
        let (text, more) = (std::mem::take(&mut self.last), std::mem::take(&mut self.more));
        match more {
            1 => format!("{text} (once more in the last {seconds} s)"),
            more => format!("{text} ({more} more of this kind in the last {seconds} s)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(repeats: &mut Repeats, now: Instant, subject: &str, text: &str) -> Option<String> {
        repeats.came(now, Level::Warning, "upstream", subject, &text)
    }

    #[test]
    fn the_first_is_shown_and_the_others_are_counted() {
        let (mut repeats, start) = (Repeats::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(came(&mut repeats, at(0), "mx", "down: a").as_deref(), Some("down: a"));
        assert_eq!(came(&mut repeats, at(1), "imap", "down: b").as_deref(), Some("down: b"), "another subject");
        for second in 2..50 {
            assert_eq!(came(&mut repeats, at(second), "mx", "down: c"), None);
        }
        assert!(repeats.due(at(59)).is_empty());
        let told = repeats.due(at(61));
        assert_eq!(told, [(Level::Warning, "down: c (48 more of this kind in the last 61 s)".to_owned())]);
        assert!(repeats.due(at(200)).is_empty());
        assert_eq!(came(&mut repeats, at(201), "mx", "down: d").as_deref(), Some("down: d"), "a new beginning");
    }

    #[test]
    fn without_a_thread_the_next_one_says_how_many_there_were() {
        let (mut repeats, start) = (Repeats::new(), Instant::now());
        for _ in 0..2 {
            came(&mut repeats, start, "mx", "down");
        }
        let told = came(&mut repeats, start + INTERVAL, "mx", "down");
        assert_eq!(told.as_deref(), Some("down (2 more of this kind in the last 60 s)"));
        came(&mut repeats, start + INTERVAL, "mx", "down");
        let told = repeats.finish(start + INTERVAL);
        assert_eq!(told, [(Level::Warning, "down (once more in the last 1 s)".to_owned())]);
    }

    #[test]
    fn many_subjects_are_counted_together() {
        let (mut repeats, start) = (Repeats::new(), Instant::now());
        for n in 0..10 * KNOWN {
            came(&mut repeats, start, &n.to_string(), "x");
        }
        assert_eq!(repeats.entries.len(), KNOWN + 1);
    }
}

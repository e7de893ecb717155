//! The log: records are appended as whole lines, and a full disk or a closed pipe is reported, never swallowed.
//!
//! `-` is standard output; a path may lead to a file, a pipe, a device or a socket. A regular file may be limited in size: when
//! the next record would exceed the limit, the file is renamed to `PATH.N`, N above all that are there (the highest is the
//! newest; nothing is ever overwritten), and a new one begun. [`Log::reopen`] is for the SIGHUP of other people's log rotation.

mod target;

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::LogSettings;
use super::numbered::Numbered;
use crate::console::{self, plain};
use target::{Target, Written};

/// Bytes gathered before they are written: far above the cost of a system call, far below what anyone minds losing in a crash.
const BUFFER: usize = 64 << 10;

/// How often it is looked whether the file is still there, or whether what could not be opened can be by now.
const LOOK: Duration = Duration::from_secs(1);

/// How long a rotation that failed is not tried again: the file grows meanwhile, which loses nothing.
const ROTATION: Duration = Duration::from_secs(30);

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    settings: LogSettings,
    path: PathBuf,
    target: Target,
    /// Waits to be written: whole records.
    buffer: Vec<u8>,
    away: Numbered,
    /// Until then it is not rotated.
    no_rotation: Option<Instant>,
    /// The path is to be opened again.
    reopen: bool,
    looked: Instant,
    /// Ends the wait for a reader; `None` waits as long as it takes.
    stop: Option<Stop>,
    written: u64,
    lines: u64,
}

/// Asks a log to wait for its reader no longer. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A log that could not be written.
#[derive(Debug)]
pub struct LogError {
    path: PathBuf,
    action: Action,
    written: u64,
    source: io::Error,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Open,
    Write,
}

impl Log {
    /// Opens the file of `settings` to append to it, or standard output. A pipe without a reader is no error: see
    /// [`Self::is_unread`].
    pub fn open(settings: &LogSettings) -> Result<Self, LogError> {
        let path = settings.path.clone().unwrap_or_else(|| "-".into());
        let target = Target::open(settings).map_err(|source| LogError {
            path: path.clone(),
            action: Action::Open,
            written: 0,
            source,
        })?;
        Ok(Self {
            settings: settings.clone(),
            away: Numbered::behind(&path, target::is_log),
            path,
            target,
            buffer: Vec::with_capacity(BUFFER),
            no_rotation: None,
            reopen: false,
            looked: Instant::now(),
            stop: None,
            written: 0,
            lines: 0,
        })
    }

    /// What would prevent [`Self::open`], as far as that shows without opening or making anything.
    pub fn check(settings: &LogSettings) -> Result<(), LogError> {
        let Some(path) = settings.file() else { return Ok(()) };
        let failed = |source| LogError { path: path.to_owned(), action: Action::Open, written: 0, source };
        target::check(path).map_err(failed)
    }

    /// Waits for a reader no longer than until `stop` is asked for.
    #[must_use]
    pub fn until(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Whether it leads to a pipe without a reader, or to a socket at which nobody listens.
    pub fn is_unread(&self) -> bool {
        matches!(self.target, Target::Unread)
    }

    /// Waits until somebody reads it.
    pub fn await_reader(&mut self) -> Result<(), LogError> {
        while self.is_unread() {
            std::thread::sleep(Duration::from_millis(20));
            self.open_again()?;
        }
        Ok(())
    }

    /// Adds `records`: whole lines. What is not written yet is gathered in memory until [`Self::flush`].
    pub fn write(&mut self, records: &[u8]) -> Result<(), LogError> {
        let mut rest = records;
        while let Some(limit) = self.limit().filter(|_| !rest.is_empty()) {
            let taken = fitting(rest, limit.saturating_sub(self.full_size()));
            if let Some((now, later)) = rest.split_at_checked(taken).filter(|(now, _)| !now.is_empty()) {
                self.append(now)?;
                rest = later;
            } else if self.full_size() > 0 {
                self.rotate()?;
            } else {
                let (now, later) = first_line(rest);
                self.append(now)?;
                rest = later;
            }
        }
        self.append(rest)
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), LogError> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.put(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    /// Opens the path anew, after someone has renamed the file. If that fails, records go where they went, and
    /// [`Self::look`] tries again. Does nothing for standard output.
    pub fn reopen(&mut self) -> Result<(), LogError> {
        let flushed = self.flush();
        self.open_again().and(flushed)
    }

    /// To be called now and then: opens the path again if that failed before, or if somebody has deleted the file.
    pub fn look(&mut self) -> Result<(), LogError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        if self.reopen || self.target.is_deleted() { self.open_again() } else { Ok(()) }
    }

    /// Bytes of whole lines that this process has handed to the operating system, in all files together.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The lines of these.
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// Where it goes; `-` is standard output.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes where it went from the start, and cannot be opened again.
    pub fn is_fixed(&self) -> bool {
        self.settings.descriptor().is_some()
    }

    /// Whether the path could not be opened again, so that records go where they went.
    pub fn is_elsewhere(&self) -> bool {
        self.reopen
    }

    /// Size beyond which the file is put away.
    fn limit(&self) -> Option<u64> {
        let held_back = self.no_rotation.is_some_and(|until| Instant::now() < until);
        self.settings.rotate.filter(|_| self.target.size().is_some() && !held_back)
    }

    fn append(&mut self, records: &[u8]) -> Result<(), LogError> {
        if self.buffer.len() + records.len() > BUFFER {
            self.flush()?;
        }
        if records.len() >= BUFFER {
            return self.put(records);
        }
        self.buffer.extend_from_slice(records);
        Ok(())
    }

    /// Writes at once. Counts what was taken even if the rest was not.
    fn put(&mut self, lines: &[u8]) -> Result<(), LogError> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.is_unread() {
            self.open_again()?;
        }
        let Written { bytes, failed } = self.target.write(lines, self.stop.as_ref());
        self.written += bytes as u64;
        self.lines += lines.get(..bytes).map_or(0, |done| memchr::memchr_iter(b'\n', done).count() as u64);
        let Some(source) = failed else { return Ok(()) };
        if source.kind() == ErrorKind::BrokenPipe && !self.is_fixed() {
            // With our end closed too, nothing stays in the pipe that a new reader would take for the end of a record.
            self.target = Target::Unread;
        }
        Err(self.error(Action::Write, source))
    }

    /// Size of the file once the buffer is in it.
    fn full_size(&self) -> u64 {
        self.target.size().unwrap_or(0) + self.buffer.len() as u64
    }

    /// Puts the file away under the next number and begins a new one. If it cannot be, the file grows on.
    fn rotate(&mut self) -> Result<(), LogError> {
        self.flush()?;
        // If somebody else has already taken it away, all that is left is to begin anew.
        let away = self.away.put_away(self.settings.files).map_err(|error| plain(&error));
        if let Err(reason) = away.and_then(|_| self.open_again().map_err(|error| plain(&error.source))) {
            self.no_rotation = Some(Instant::now() + ROTATION);
            let path = self.path.display();
            let text = format_args!(
                "the log {path} cannot be rotated and grows on: {reason}; check the directory and its permissions"
            );
            console::warn("log_rotation", &path.to_string(), &text);
        }
        Ok(())
    }

    fn open_again(&mut self) -> Result<(), LogError> {
        if self.is_fixed() {
            return Ok(());
        }
        match Target::open(&self.settings) {
            Ok(target) => {
                self.target = target;
                self.reopen = false;
                Ok(())
            }
            Err(source) => {
                self.reopen = true;
                Err(self.error(Action::Open, source))
            }
        }
    }

    fn error(&self, action: Action, source: io::Error) -> LogError {
        LogError { path: self.path.clone(), action, written: self.written, source }
    }
}

impl Drop for Log {
    /// A last attempt; who wants to know how it went calls [`Log::flush`] before.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl LogError {
    /// The log at `path` is a pipe without a reader.
    pub(super) fn unread(path: &Path) -> Self {
        Self { path: path.to_owned(), action: Action::Write, written: 0, source: target::unread() }
    }

    /// The log at `path` has taken nothing for a long time.
    pub(super) fn stuck(path: &Path, written: u64) -> Self {
        Self { path: path.to_owned(), action: Action::Write, written, source: ErrorKind::TimedOut.into() }
    }

    /// Whether the reader has gone away (`| head -1`): a reason to end, none to complain.
    pub fn is_broken_pipe(&self) -> bool {
        self.source.kind() == ErrorKind::BrokenPipe
    }

    /// Whether nobody reads it now, which may change.
    pub fn is_unread(&self) -> bool {
        self.source.kind() == ErrorKind::NotConnected
    }

    /// Bytes that had been written before.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The log it is about; `-` is standard output.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = fmt::from_fn(|f| match self.path.to_str() {
            Some("-") => f.write_str("standard output"),
            _ => write!(f, "{}", self.path.display()),
        });
        match (self.action, self.source.kind()) {
            (Action::Open, _) => write!(f, "cannot open the log {name}: {}", self.source),
            (Action::Write, ErrorKind::NotConnected) => write!(f, "the log {name} has no reader"),
            (Action::Write, ErrorKind::TimedOut) => {
                write!(f, "the reader of the log {name} takes nothing any more after {} octets", self.written)
            }
            (Action::Write, _) => {
                write!(f, "cannot write the log {name} after {} octets: {}", self.written, self.source)
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Octets of the whole lines of `records` that fit into `room`.
fn fitting(records: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let within = records.get(..room).unwrap_or(records);
    memchr::memrchr(b'\n', within).map_or(0, |at| at + 1)
}

/// The first line and the rest.
fn first_line(records: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', records).map_or(records.len(), |at| at + 1);
    records.split_at_checked(end).unwrap_or((records, &[]))
}

#[cfg(test)]
mod tests;

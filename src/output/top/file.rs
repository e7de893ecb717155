//! The lists as a JSON file, written anew every minute: it is whole whenever somebody reads it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::TopState;
use super::state::BEGINNING;
use crate::console::{self, Level, plain};
use crate::output::LogSettings;
use crate::output::beside::{self, Replacement};

/// From one writing to the next.
const EVERY: Duration = Duration::from_secs(60);

/// The file, and the thread that writes it.
#[derive(Debug)]
pub struct TopFile {
    stop: Sender<LastOne>,
    thread: JoinHandle<()>,
}

/// Whether the file is written once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastOne {
    Written,
    LeftOut,
}

impl TopFile {
    /// Writes `state` to `path` once: what cannot be written is known at the start.
    pub fn write(path: &Path, state: &TopState) -> Result<(), TopFileError> {
        write(path, state).map_err(|reason| TopFileError::new(path, reason))
    }

    /// Writes it from now on.
    pub fn start(path: PathBuf, state: Arc<TopState>) -> Result<Self, TopFileError> {
        Self::every(EVERY, path, state)
    }

    pub(super) fn every(pause: Duration, path: PathBuf, state: Arc<TopState>) -> Result<Self, TopFileError> {
        let failed = |reason| TopFileError::new(&path, reason);
        let (stop, stopped) = channel();
        let to = path.clone();
        let run = move || {
            loop {
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) | Ok(LastOne::Written) => {}
                    Ok(LastOne::LeftOut) | Err(RecvTimeoutError::Disconnected) => return,
                };
                if let Err(error) = Self::write(&to, &state) {
                    console::limited(Level::Error, "top_file", &to.to_string_lossy(), &error);
                }
            }
        };
        let thread = thread::Builder::new().name("top".into()).spawn(run).map_err(failed)?;
        Ok(Self { stop, thread })
    }

    /// Whether `path` could be written, as far as that shows without writing it.
    pub fn check(path: &Path) -> Result<(), TopFileError> {
        beside::may_be_replaced(path, WHAT, is_ours).map_err(|reason| TopFileError::new(path, reason))
    }

    /// Ends it. The file is written once more, unless a successor writes it already.
    pub fn stop(self, has_successor: bool) {
        let Self { stop, thread } = self;
        if !has_successor {
            let _ = stop.send(LastOne::Written);
        }
        let _ = stop.send(LastOne::LeftOut);
        let _ = thread.join();
    }
}

const WHAT: &str = "top lists";

fn is_ours(head: &[u8]) -> bool {
    head.starts_with(BEGINNING)
}

fn write(path: &Path, state: &TopState) -> io::Result<()> {
    // As the log: it shows who writes to whom.
    let file = Replacement::open(path.to_owned(), LogSettings::MODE, WHAT, is_ours)?;
    file.finish(&state.file(SystemTime::now()))
}

/// The file of the top lists cannot be written.
#[derive(Debug)]
pub struct TopFileError {
    path: PathBuf,
    reason: io::Error,
}

impl TopFileError {
    /// The file at `path` cannot be written because of `reason`.
    pub fn new(path: &Path, reason: io::Error) -> Self {
        Self { path: path.to_owned(), reason }
    }
}

impl fmt::Display for TopFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: the top lists cannot be written: {}; check the directory and its permissions, or choose another --top-file",
            self.path.display(),
            plain(&self.reason)
        )
    }
}

impl std::error::Error for TopFileError {}

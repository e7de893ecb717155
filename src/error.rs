//! What may go wrong while setting up, reading and writing: one enum, each text one line that says what to do next.
//!
//! Octets of a conversation never reach these texts, nor does a secret of the configuration: they show names, places
//! and reasons. What goes wrong inside a mail session is no error but an event of the engine.

use std::fmt;
use std::io;
use std::panic;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::capture::{CaptureError, live};
use crate::console::{self, plain};
use crate::output::metrics::{MetricsFileError, ReplyReasonsError};
use crate::output::{LogError, MonitorError, ServeError, TopFileError};
use crate::proxy::OpenError;

/// Why a run cannot go on, or was not all it should have been.
#[derive(Debug)]
pub enum Error {
    /// The command line or a value in the configuration file makes no sense.
    Usage(String),
    /// The configuration file cannot be read.
    ConfigFile {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The configuration file does not say what it may say.
    ConfigText {
        /// Its path.
        path: PathBuf,
        /// 1, 2, …; `None` if the place is unknown.
        line: Option<usize>,
        /// What is wrong, without the text of the line.
        reason: String,
    },
    /// The names for reply texts cannot be had.
    ReplyReasons(ReplyReasonsError),
    /// The file of the metrics cannot be written.
    MetricsFile(MetricsFileError),
    /// A capture could not be read, or not to its end.
    Capture(CaptureError),
    /// An interface cannot be captured from.
    Interface(live::DeviceError),
    /// The capture file cannot be written.
    Packets {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The log cannot be opened.
    LogOpen(LogError),
    /// The log cannot be written to its end.
    LogWrite(LogError),
    /// The log of a running mode could not be written at the end.
    LogLost {
        /// Why.
        error: LogError,
        /// Records that are not in it.
        lost: u64,
    },
    /// A standard stream cannot be written.
    Write {
        /// Which.
        to: &'static str,
        /// Why.
        reason: io::Error,
    },
    /// Metrics and page cannot be served.
    Serve(ServeError),
    /// The top lists cannot be written.
    TopFile(TopFileError),
    /// A listener cannot be opened.
    Open(OpenError),
    /// The socket of the handover cannot be used.
    Handover {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A thread cannot be started.
    Thread(io::Error),
    /// Privileges cannot be given up, or the process not be confined.
    Privileges(String),
    /// A fault in this program.
    Fault(String),
}

impl Error {
    /// The exit status that goes with it: 2 for wrong usage, else 1.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::ConfigFile { .. } | Self::ConfigText { .. } | Self::ReplyReasons(_) => 2,
            Self::Interface(trouble) if trouble.is_usage() => 2,
            Self::Open(error) if error.is_usage() => 2,
            Self::Capture(_)
            | Self::Interface(_)
            | Self::Packets { .. }
            | Self::MetricsFile(_)
            | Self::LogOpen(_)
            | Self::LogWrite(_)
            | Self::LogLost { .. }
            | Self::Write { .. }
            | Self::Serve(_)
            | Self::TopFile(_)
            | Self::Open(_)
            | Self::Handover { .. }
            | Self::Thread(_)
            | Self::Privileges(_)
            | Self::Fault(_) => 1,
        }
    }

    /// Whether the reader of an output closed it, which is no failure (`| head -1`).
    pub fn is_closed_pipe(&self) -> bool {
        match self {
            Self::LogWrite(error) | Self::LogLost { error, .. } => error.is_broken_pipe(),
            Self::Write { reason, .. } => reason.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) | Self::Privileges(what) => f.write_str(what),
            Self::ConfigFile { path, reason } => {
                write!(f, "{}: the configuration cannot be read: {}; check --config", path.display(), plain(reason))
            }
            Self::ConfigText { path, line, reason } => {
                write!(f, "{}", path.display())?;
                if let Some(line) = line {
                    write!(f, ", line {line}")?;
                }
                write!(f, ": {reason}; see --help")
            }
            Self::ReplyReasons(error) => error.fmt(f),
            Self::MetricsFile(error) => error.fmt(f),
            Self::Capture(trouble) => trouble.fmt(f),
            Self::Interface(trouble) => trouble.fmt(f),
            Self::Packets { path, reason } => write!(
                f,
                "{}: the packets cannot be written: {}; check the directory and its permissions, or choose another --write",
                path.display(),
                plain(reason)
            ),
            Self::LogOpen(error) if error.is_refusal() => f.write_str(&plain(error)),
            Self::LogOpen(error) => write!(
                f,
                "{}; nothing was read: check the directory and its permissions, or choose another --log",
                plain(error)
            ),
            Self::LogWrite(error) => write!(
                f,
                "{}; the capture was not read to its end: make room, or choose another --log, and run again",
                plain(error)
            ),
            Self::LogLost { error, lost } => write!(
                f,
                "{}; {lost} records were lost: make room, see that it is read, or choose another --log",
                plain(error)
            ),
            Self::Write { to, reason } => {
                write!(f, "{to} cannot be written: {}; make room, or send it elsewhere", plain(reason))
            }
            Self::Serve(error) => error.fmt(f),
            Self::TopFile(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Handover { path, reason } => write!(
                f,
                "{}: the handover does not work: {}; check the directory, its permissions, and who is at it",
                path.display(),
                plain(reason)
            ),
            Self::Thread(reason) => write!(f, "a thread cannot be started: {}; try fewer --threads", plain(reason)),
            Self::Fault(place) => write!(
                f,
                "internal fault at {place}; what was written before it is whole: please report it with the capture, or the part of it that does it"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl From<ReplyReasonsError> for Error {
    fn from(error: ReplyReasonsError) -> Self {
        Self::ReplyReasons(error)
    }
}

impl From<MetricsFileError> for Error {
    fn from(error: MetricsFileError) -> Self {
        Self::MetricsFile(error)
    }
}

impl From<ServeError> for Error {
    fn from(error: ServeError) -> Self {
        Self::Serve(error)
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<MonitorError> for Error {
    fn from(error: MonitorError) -> Self {
        match error {
            MonitorError::ReplyReasons(error) => Self::ReplyReasons(error),
            MonitorError::Serve(error) => Self::Serve(error),
            MonitorError::TopFile(error) => Self::TopFile(error),
            MonitorError::Metrics(error) => Self::Fault(error),
        }
    }
}

/// The place of the first panic, as `file:line`.
static FAULT: OnceLock<String> = OnceLock::new();

/// Whether a panic is reported at once, since the run goes on.
static REPORTED: AtomicBool = AtomicBool::new(false);

/// From now on a panic is noted instead of printed: its text might show octets of a conversation.
pub fn note_faults() {
    panic::set_hook(Box::new(|info| {
        let place =
            info.location().map_or_else(|| "an unknown place".into(), |at| format!("{}:{}", at.file(), at.line()));
        if REPORTED.load(Ordering::Relaxed) {
            let text = format_args!(
                "internal fault at {place}: a session is no longer observed, see --on-fault; please report it"
            );
            console::warn("fault", &place, &text);
        }
        let _ = FAULT.set(place);
    }));
}

/// From now on the place of a panic is also reported: the fault costs one session, and the run goes on.
pub(crate) fn report_faults() {
    REPORTED.store(true, Ordering::Relaxed);
}

/// The fault that was noted.
pub(crate) fn fault() -> Error {
    Error::Fault(FAULT.get().cloned().unwrap_or_else(|| "an unknown place".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let of = |kind: io::ErrorKind| Error::Write { to: "standard output", reason: kind.into() };
        assert!(of(io::ErrorKind::BrokenPipe).is_closed_pipe());
        assert!(!of(io::ErrorKind::StorageFull).is_closed_pipe());
        assert_eq!(of(io::ErrorKind::StorageFull).exit_status(), 1);
        assert_eq!(Error::Usage(String::new()).exit_status(), 2);
    }

    #[test]
    fn every_text_is_one_line() {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        for error in [
            Error::ConfigFile { path: "a.toml".into(), reason: gone() },
            Error::ConfigText { path: "a.toml".into(), line: Some(3), reason: "unknown key `x`".into() },
            Error::Thread(gone()),
            Error::Fault("src/x.rs:1".into()),
        ] {
            assert!(!error.to_string().contains('\n'), "{error}");
            assert!(error.to_string().contains("; "), "says what to do: {error}");
        }
    }
}

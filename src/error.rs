//! What may go wrong while setting up, reading and writing: one enum, each text one line that says what to do next.
//!
//! Octets of a conversation never reach these texts, nor does a secret of the configuration: they show names, places
//! and reasons. What goes wrong inside a mail session is no error but an event of the engine.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::input::capture::Trouble;

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
    /// The file that holds the key of identities cannot be read.
    KeyFile {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A capture could not be read, or not to its end.
    Capture(Trouble),
    /// The log cannot be opened.
    LogOpen {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// An output could not be written to its end.
    Write {
        /// Its path, or which standard stream it is.
        to: String,
        /// Why.
        reason: io::Error,
        /// Octets written before that.
        octets: u64,
        /// Whole records written before that.
        records: u64,
    },
    /// A thread cannot be started.
    Thread(io::Error),
    /// A fault in this program.
    Fault(String),
}

impl Error {
    /// The exit status that goes with it: 2 for wrong usage, else 1.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::ConfigFile { .. }
            | Self::ConfigText { .. }
            | Self::KeyFile { .. } => 2,
            Self::Capture(_)
            | Self::LogOpen { .. }
            | Self::Write { .. }
            | Self::Thread(_)
            | Self::Fault(_) => 1,
        }
    }

    /// Whether the reader of an output closed it, which is no failure (`| head -1`).
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write { reason, .. } if reason.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => f.write_str(what),
            Self::ConfigFile { path, reason } => {
                write!(
                    f,
                    "{}: the configuration cannot be read: {}; check --config",
                    path.display(),
                    Plain(reason)
                )
            }
            Self::ConfigText { path, line, reason } => {
                write!(f, "{}", path.display())?;
                if let Some(line) = line {
                    write!(f, ", line {line}")?;
                }
                write!(
                    f,
                    ": {reason}; the keys are the long flags of `mailtap analyze --help`"
                )
            }
            Self::KeyFile { path, reason } => {
                write!(
                    f,
                    "{}: the identity key cannot be read: {}; check --identity-key",
                    path.display(),
                    Plain(reason)
                )
            }
            Self::Capture(trouble) => trouble.fmt(f),
            Self::LogOpen { path, reason } => write!(
                f,
                "{}: the log cannot be opened for appending: {}; nothing was read: check the directory and its permissions, or choose another --log",
                path.display(),
                Plain(reason)
            ),
            Self::Write {
                to,
                reason,
                octets,
                records,
            } => write!(
                f,
                "{to}: cannot be written any further: {}; {octets} octets with {records} whole records were written: make room, or choose another --log, and run again",
                Plain(reason)
            ),
            Self::Thread(reason) => write!(
                f,
                "a thread cannot be started: {}; try fewer --threads",
                Plain(reason)
            ),
            Self::Fault(place) => write!(
                f,
                "internal fault at {place}; what was written before it is whole: please report it with the capture, or the part of it that does it"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// An I/O error without the number in brackets.
pub(crate) struct Plain<'a>(pub(crate) &'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.split(" (os error").next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_how_far_it_came() {
        let full = io::Error::from_raw_os_error(28);
        let error = Error::Write {
            to: "mail.log".into(),
            reason: full,
            octets: 4096,
            records: 7,
        };
        let text = error.to_string();
        assert!(text.starts_with("mail.log: cannot be written any further: No space left on device; 4096 octets with 7 whole records"));
        assert_eq!(error.exit_status(), 1);
        assert!(!error.is_closed_pipe());
    }

    #[test]
    fn every_text_is_one_line() {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        for error in [
            Error::ConfigFile {
                path: "a.toml".into(),
                reason: gone(),
            },
            Error::ConfigText {
                path: "a.toml".into(),
                line: Some(3),
                reason: "unknown key `x`".into(),
            },
            Error::KeyFile {
                path: "key".into(),
                reason: gone(),
            },
            Error::LogOpen {
                path: "log".into(),
                reason: gone(),
            },
            Error::Thread(gone()),
            Error::Fault("src/x.rs:1".into()),
        ] {
            assert!(!error.to_string().contains('\n'), "{error}");
            assert!(error.to_string().contains("; "), "says what to do: {error}");
        }
    }
}

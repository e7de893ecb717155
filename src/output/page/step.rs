//! What a reply answers: a command, or one of the two replies that no command asks for.

use crate::event::Verb;
use crate::event::{Enhanced, Status};

/// What the server was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ServerStep {
    /// The first reply.
    Greeting,
    /// A command.
    Command(Verb),
    /// The message as a whole (RFC 5321 section 4.1.1.4).
    EndOfData,
}

impl ServerStep {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Command(verb) => verb.as_str(),
            Self::EndOfData => "end of data",
        }
    }

    /// Whether its latency is the server's alone: not while it waits for news, nor while a client thinks.
    pub(super) const fn is_timed(self) -> bool {
        !matches!(self, Self::Command(Verb::Idle | Verb::Notify | Verb::Auth | Verb::Authenticate))
    }
}

/// A status as the page shows it.
pub(super) fn status(status: Status) -> String {
    match status {
        Status::Code(code) => code.to_string(),
        Status::PopOk => "+OK".into(),
        Status::PopErr => "-ERR".into(),
        Status::Ok => "OK".into(),
        Status::No => "NO".into(),
        Status::Bad => "BAD".into(),
        Status::Bye => "BYE".into(),
        Status::Preauth => "PREAUTH".into(),
    }
}

/// An enhanced status code as it is written (RFC 3463 section 2).
pub(super) fn enhanced(code: Enhanced) -> String {
    format!("{}.{}.{}", code.class, code.subject, code.detail)
}

//! The shared vocabulary: what a [`Session`](crate::engine::Session) says, for every protocol and to every output.
//!
//! Three groups: small closed enums (`Copy`, safe as metric labels, each with the word the log uses), the
//! facts a session reports when a thing is complete ([`Command`], [`Auth`], [`Transaction`], [`Anomaly`],
//! [`Summary`]), and [`Event`] with its [`Sink`]. Facts are borrowed from the engine's own pools: they are good
//! until the sink returns. Every one is [`Masked`]: its texts have passed the masking of secrets.

pub mod anomaly;
mod auth;
mod command;
mod direction;
mod incomplete;
mod masked;
mod outcomes;
mod session;
mod text;
mod tls;
mod transaction;
mod verb;
mod words;

use std::time::Duration;

pub use anomaly::{Anomaly, AnomalyState, Severity};
pub use auth::{Auth, AuthMethod, AuthOutcome, AuthSummary, Mechanism, OauthError};
pub use command::{Command, Enhanced, Reply, Status};
pub use direction::{Both, Dir, Input};
pub use incomplete::{Incomplete, Missing};
pub use masked::{Mask, Masked, Names, Texts};
pub use outcomes::{Bypass, Refusal, Rejection, Termination};
pub use session::{
    Close, Context, Counts, Disorder, End, Extension, Extensions, Greeting, How, Idle, MAIL_PORTS, Maildrop, Notice,
    Other, Peers, Phase, Protocol, SessionOutcome, Software, Summary, Tunnel, TunnelHost, TunnelKind, Upstream,
};
pub use text::{List, Span, Text};
pub use tls::{EstablishedTls, Handshake, Tls, TlsFailure, TlsMode};
pub use transaction::{
    DataMode, Param, Recipient, RecipientReply, Stage, Timing, Transaction, TransactionKind, TransactionOutcome,
};
pub use verb::{Untagged, Verb};
pub(crate) use words::words;
pub use words::{UnknownWord, Words};

use crate::time::Timestamp;

/// What a session says.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The session's protocol is told: the first event of every session, and there is one of each session that
    /// [ends](Self::End). For what is no mail on a mail port the protocol is [`Protocol::Unknown`].
    Start,
    /// Octets of payload were seen: after each input, those that waited for the protocol to be told together. How an
    /// input is cut shows in how many of these there are, not in their sum, which is that of [`Summary::bytes`].
    Octets {
        /// Which way they travelled.
        dir: Dir,
        /// How many.
        count: u64,
        /// Encryption when they came in.
        tls: TlsMode,
    },
    /// Octets of payload were lost, as [`Self::Octets`] were seen: their sum is that of [`Summary::gaps`].
    Lost {
        /// Which way they travelled.
        dir: Dir,
        /// How many.
        count: u64,
    },
    /// IMAP IDLE (RFC 2177) began: the server waits for the client's DONE.
    Idle,
    /// It is over.
    IdleOver {
        /// From the server's `+` to DONE.
        lasted: Duration,
    },
    /// The server's first reply is complete.
    Greeting(Masked<'a, Greeting>),
    /// A command is complete, or will never be.
    Command(Masked<'a, Command>),
    /// An authentication attempt is complete.
    Auth(Masked<'a, Auth>),
    /// A piece of the message of transaction `number`, as the receiver stores it.
    Body {
        /// Number of the transaction.
        number: u32,
        /// The octets.
        octets: &'a [u8],
    },
    /// A transaction is complete.
    Transaction(Masked<'a, Transaction>),
    /// An anomaly is settled.
    Anomaly(Masked<'a, Anomaly>),
    /// The session is over.
    End(Masked<'a, Summary>),
}

/// Takes events in.
pub trait Sink {
    /// `event` happened in session `context` at `at`. Everything in it is borrowed until this returns.
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>);
}

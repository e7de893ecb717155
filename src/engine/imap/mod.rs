//! IMAP as spoken: commands in flight, answered in any order, with literals in both directions (RFC 3501, RFC 9051).
//!
//! The client's side is in `client`, the server's in `server`, `untagged`, `complete` and `forged`, losses in `loss` and
//! `pickup`; `lex`, `command`, `sets`, `response`, `fetch`, `append` and `mailbox` read what stands in a line. Untagged data is
//! attributed to commands, but framing never depends on it.
//! Nothing here keeps a message, a search string or a credential.

mod append;
mod client;
mod command;
mod complete;
mod fetch;
mod forged;
mod lex;
mod loss;
mod mailbox;
mod pickup;
mod response;
mod server;
mod sets;
mod suspect;
mod untagged;

use super::frame::{Frame, Line, LineEnding};
use super::pending::{Pending, Waiting};
use super::sasl::Exchange;
use super::session::state::EventContext;
use crate::event::Text;
use crate::event::{AuthOutcome, Command, How, Missing, Phase, Reply, Status, TransactionOutcome};
use crate::event::{Dir, End};
use crate::event::{Untagged, Verb};
use crate::time::Timestamp;
use append::Append;
use client::ImapClient;
use complete::Completion;
pub(super) use pickup::is_deflated;
use server::ImapServer;
use sets::Set;
pub(super) use suspect::suspect;

/// What a command waits for, before its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommandWait {
    Nothing,
    /// The go-ahead for a literal of so many octets.
    Literal(u64),
    /// A challenge.
    Challenge,
    /// The start of IDLE.
    Idle,
}

/// What is remembered with a command.
#[derive(Debug)]
enum CommandTask {
    Plain,
    /// LOGIN or AUTHENTICATE; the flag: the client cancelled.
    Auth(Box<Exchange>, bool),
    /// Since when the server idles, and until when.
    Idle(Option<Timestamp>, Option<Timestamp>),
    Append(Box<Append>),
    /// What it asked for, and how many bodies came.
    Fetch(command::Asked, u32),
}

/// A command in flight.
#[derive(Debug)]
struct Flight {
    /// Length of the tag as sent.
    tag: usize,
    /// The tag is shown only if the server takes it for one.
    hidden: bool,
    /// It came after a gap of the client: it is told only if the server completes it.
    unsure: bool,
    /// Octets of the server that the client had when it sent it.
    peer: u64,
    wait: CommandWait,
    /// FETCH and STORE: the messages that it names.
    set: Set,
    task: CommandTask,
}

/// An IMAP session.
#[derive(Debug)]
pub(crate) struct Imap {
    certain: bool,
    pending: Pending<Flight>,
    client: ImapClient,
    server: ImapServer,
    selected: Text,
    authenticated: bool,
    login_disabled: bool,
    bye: bool,
    /// A completion of a command that is held back still.
    late: Option<Box<Completion>>,
}

impl Imap {
    /// `certain`: the connection's start was seen.
    pub(crate) fn new(certain: bool) -> Self {
        Self {
            certain,
            pending: Pending::default(),
            client: ImapClient::new(certain),
            server: ImapServer::new(certain),
            selected: Text::default(),
            authenticated: false,
            login_disabled: false,
            bye: false,
            late: None,
        }
    }

    /// Gives back room that is not needed while the session stands still.
    pub(crate) fn shrink(&mut self) {
        self.pending.shrink();
        self.client.shrink();
        self.server.shrink();
        self.selected.shrink();
        self.pending.iter_mut().for_each(|waiting| waiting.kind.set.shrink());
    }

    /// Whether nothing but the greeting, or news in IDLE, is waited for.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.pending.iter().all(|waiting| matches!(waiting.kind.task, CommandTask::Idle(Some(_), None)))
    }

    /// What the session is doing.
    pub(crate) fn phase(&self) -> Phase {
        if self.certain && !self.server.opened {
            return Phase::Greeting;
        }
        if self.client.is_moving() || self.server.is_moving() {
            return Phase::Data;
        }
        let logs_in = |w: &Waiting<Flight>| matches!(w.command.verb, Verb::Login | Verb::Authenticate);
        if self.pending.iter().any(logs_in) { Phase::Auth } else { Phase::Idle }
    }

    /// The next frame of `dir`.
    pub(crate) fn frame(&mut self, dir: Dir, frame: &Frame<'_>, cx: &mut EventContext<'_>) {
        match (dir, frame) {
            (_, Frame::Line(line)) if line.ending == LineEnding::MultiCr => {
                // CR CR LF: one CR is left, and is no part of the line.
                let cut = line.octets.iter().rev().take_while(|o| **o == b'\r').count();
                let octets = line.octets.get(..line.octets.len() - cut).unwrap_or_default();
                self.frame(dir, &Frame::Line(Line { octets, ending: LineEnding::Crlf, ..*line }), cx);
            }
            (Dir::ToServer, Frame::Line(line)) => self.client_line(line, cx),
            (Dir::ToServer, Frame::Octets { octets, last }) => self.client_octets(octets, *last, cx),
            (Dir::ToServer, Frame::Lost { octets, last }) => self.client_lost(*octets, *last, cx),
            (Dir::ToClient, Frame::Line(line)) => self.server_line(line, cx),
            (Dir::ToClient, Frame::Octets { octets, last }) => self.server_octets(octets, *last, cx),
            (Dir::ToClient, Frame::Lost { octets, last }) => self.server_lost(*octets, *last, cx),
            (_, Frame::Body(_) | Frame::BodyEnd { .. } | Frame::LooseEnd { .. } | Frame::Opaque(_)) => {}
        }
    }

    /// The session is over: what is open is emitted. `closed`: how the first side closed, if one did.
    pub(crate) fn finish(&mut self, closed: Option<How>, why: End, cx: &mut EventContext<'_>) {
        let cut = match (closed, why) {
            _ if self.bye => TransactionOutcome::ServerClosed,
            _ if cx.session.opaque => TransactionOutcome::Encrypted,
            // The answers may be in what could not be read: DEFLATE behind a gap.
            _ if cx.session.incomplete.has(Missing::Unparseable) => TransactionOutcome::Unknown,
            (Some(_), _) | (None, End::Closed) => TransactionOutcome::ConnectionLost,
            (None, End::Timeout) => TransactionOutcome::TimedOut,
            (None, End::Drain | End::Evicted | End::CaptureEnd) => TransactionOutcome::Unknown,
        };
        self.believe(cx);
        if closed.is_some() || why == End::Closed {
            // Where the capture just ends, the rest of the string may have been about to come.
            self.trust(u64::MAX, cx);
        }
        self.server_end(cut, cx);
        while let Some(waiting) = self.pending.pop() {
            self.abandon(waiting, cut, cx);
        }
    }

    /// Emits a command that gets no completion.
    fn abandon(&mut self, waiting: Waiting<Flight>, cut: TransactionOutcome, cx: &mut EventContext<'_>) {
        let Waiting { mut command, kind: flight } = waiting;
        let unseen = command.incomplete.has(Missing::ServerGap);
        let cut = if unseen || command.incomplete.has(Missing::ClientGap) { TransactionOutcome::Unknown } else { cut };
        // What LOGOUT brings cuts nothing short.
        // Nor does it if it may have been brought by a LOGOUT that was not seen.
        let missed = [Missing::ClientGap, Missing::StartMissing].iter().any(|m| cx.session.incomplete.has(*m));
        if self.bye && !unseen && !missed && !cx.session.quit_answered {
            command.reply.status = Some(Status::Bye);
        }
        if flight.unsure && self.server.opened {
            // Perhaps it was text of a message.
            if let CommandTask::Append(append) = flight.task {
                append.forget(cx);
            }
            return cx.session.forget_command(command);
        }
        if flight.hidden {
            command.tag.clear();
        }
        match flight.task {
            CommandTask::Auth(exchange, _) => {
                let outcome = AuthOutcome::Incomplete;
                let mut auth = exchange.finish(outcome, Reply::default(), None, cx.session.tls_mode());
                auth.incomplete = command.incomplete;
                cx.auth(auth);
            }
            CommandTask::Append(append) => {
                append::name_of_append(&append, &mut command);
                append.finish(cut, &command.reply, false, cx);
            }
            CommandTask::Idle(since, until) => idle_over(since, until, cx),
            CommandTask::Plain | CommandTask::Fetch(..) => {}
        }
        cx.command(command);
    }
}

/// Adds one IDLE to the session's.
fn idle_over(since: Option<Timestamp>, until: Option<Timestamp>, cx: &mut EventContext<'_>) {
    let Some(since) = since else { return };
    cx.idle_over(until.unwrap_or(cx.stamp.at).since(since).unwrap_or_default());
}

/// One more of `kind`.
fn count(counts: &mut Vec<(Untagged, u32)>, kind: Untagged) {
    match counts.iter_mut().find(|(k, _)| *k == kind) {
        Some((_, n)) => *n = n.saturating_add(1),
        None => counts.push((kind, 1)),
    }
}

/// Whether the command in flight has the tag `tag`, `kept` octets of which are kept at most.
fn has_tag(command: &Command, flight: &Flight, tag: &[u8], kept: usize) -> bool {
    flight.tag == tag.len() && tag.get(..kept.min(tag.len())) == Some(command.tag.as_bytes())
}

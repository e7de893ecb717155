//! Health checks: connections that say nothing, or only goodbye, from networks that the operator has named.
//!
//! Whether a connection is one shows when it ends. Until then what it says is kept, bounded, and a session reads it of
//! which nobody hears; then it is read again, by a session that everybody hears, or as a health check. A balancer that
//! looks every few seconds would else be most of the log and of every count.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Limits, Session};
use crate::event::{Dir, EstablishedTls, Input, Peers, Protocol, Sink, Upstream};
use crate::time::Timestamp;

/// Bytes that are kept: greetings are shorter, and a check reads no more.
const KEPT_BYTES: usize = 4 << 10;

/// Inputs that are kept, for a peer that sends byte by byte.
const KEPT_INPUTS: usize = 64;

/// The longest goodbye: a tag of IMAP and ` LOGOUT`.
const GOODBYE: usize = 64;

/// A connection that may be a health check's.
#[derive(Debug)]
pub(super) struct Probation {
    began: Timestamp,
    id: u64,
    peers: Peers,
    limits: Arc<Limits>,
    expected: Protocol,
    inputs: Vec<KeptInput>,
    bytes: usize,
    /// What the client has said.
    said: Vec<u8>,
    upstream: Option<Upstream>,
    /// When the server took the connection, and after how long.
    connect: Option<(Timestamp, Duration)>,
}

#[derive(Debug)]
enum KeptInput {
    Data(Timestamp, Dir, Box<[u8]>),
    Fin(Timestamp, Dir),
    Reset(Timestamp, Dir),
    Tls(Timestamp, Box<EstablishedTls>),
    Presumed(Timestamp, Protocol),
}

impl Probation {
    /// For the connection of [`Session::new`], where `expected` is spoken.
    pub(super) fn new(began: Timestamp, id: u64, peers: Peers, limits: Arc<Limits>, expected: Protocol) -> Self {
        let (inputs, said) = (Vec::new(), Vec::new());
        Self { began, id, peers, limits, expected, inputs, bytes: 0, said, upstream: None, connect: None }
    }

    /// What is expected to be spoken.
    pub(super) fn expected(&self) -> Protocol {
        self.expected
    }

    /// Keeps a PROXY header, which the balancer says, not the client.
    pub(super) fn header(&mut self, at: Timestamp, header: &[u8]) {
        self.bytes += header.len();
        self.inputs.push(KeptInput::Data(at, Dir::ToServer, header.into()));
    }

    /// Keeps `input`. Whether the connection may still be a health check's.
    pub(super) fn keep(&mut self, at: Timestamp, dir: Dir, input: &Input<'_>) -> bool {
        self.inputs.push(match *input {
            Input::Data(data) => {
                self.bytes += data.len();
                if dir == Dir::ToServer {
                    let room = GOODBYE.saturating_sub(self.said.len()).saturating_add(1);
                    self.said.extend(data.iter().take(room));
                }
                KeptInput::Data(at, dir, data.into())
            }
            Input::Fin => KeptInput::Fin(at, dir),
            Input::Reset => KeptInput::Reset(at, dir),
            // The proxy loses nothing.
            Input::Gap(_) => return false,
        });
        self.bytes <= KEPT_BYTES && self.inputs.len() <= KEPT_INPUTS && may_be_goodbye(&self.said, self.expected)
    }

    /// Keeps that TLS has begun.
    pub(super) fn keep_tls(&mut self, at: Timestamp, how: &EstablishedTls) {
        self.inputs.push(KeptInput::Tls(at, Box::new(how.clone())));
    }

    /// Keeps where the proxy went on to.
    pub(super) fn keep_upstream(&mut self, upstream: Upstream) {
        self.upstream = Some(upstream);
    }

    /// Keeps when the server took the connection, and after how long.
    pub(super) fn keep_connected(&mut self, at: Timestamp, after: Duration) {
        self.connect = Some((at, after));
    }

    /// Keeps that there is no server, and what it would have spoken.
    pub(super) fn keep_presumed(&mut self, at: Timestamp, protocol: Protocol) {
        self.inputs.push(KeptInput::Presumed(at, protocol));
    }

    /// What it would be as a session, read again; `is_check`: it was a health check.
    pub(super) fn replay(&self, is_check: bool, out: &mut dyn Sink) -> Session {
        let mut session = Session::new(self.began, self.id, self.peers, Arc::clone(&self.limits));
        if is_check {
            session.set_health_check();
        }
        self.upstream.into_iter().for_each(|upstream| session.dialled(upstream));
        if let Some((at, after)) = self.connect {
            session.established(at);
            session.connected(after);
        }
        for input in &self.inputs {
            match input {
                KeptInput::Data(at, dir, data) => session.handle(*at, *dir, Input::Data(data), out),
                KeptInput::Fin(at, dir) => session.handle(*at, *dir, Input::Fin, out),
                KeptInput::Reset(at, dir) => session.handle(*at, *dir, Input::Reset, out),
                KeptInput::Tls(at, how) => session.tls_established(*at, how, out),
                KeptInput::Presumed(at, protocol) => session.presume(*at, *protocol, out),
            }
        }
        session
    }
}

/// Whether `said`, all that a client has said, is nothing, or (the beginning of) a goodbye alone: QUIT, or LOGOUT behind a
/// tag.
fn may_be_goodbye(said: &[u8], expected: Protocol) -> bool {
    let is_imap = matches!(expected, Protocol::Imap | Protocol::Unknown);
    said.is_empty() || begins(said, b"QUIT") || is_imap && may_be_logout(said)
}

fn may_be_logout(said: &[u8]) -> bool {
    let is_tag = |tag: &[u8]| tag.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    match said.iter().position(|byte| *byte == b' ') {
        Some(space) => {
            let (tag, rest) = said.split_at(space);
            is_tag(tag) && begins(rest.get(1..).unwrap_or_default(), b"LOGOUT")
        }
        None => said.len() < GOODBYE && is_tag(said),
    }
}

/// Whether `said` is a beginning of `verb` and the end of its line.
fn begins(said: &[u8], verb: &[u8]) -> bool {
    let (word, end) = said.split_at(said.len().min(verb.len()));
    verb.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word)) && b"\r\n".starts_with(end)
        || word.eq_ignore_ascii_case(verb) && end == b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_goodbye_are_health_checks() {
        let may_be = |said: &str, expected| may_be_goodbye(said.as_bytes(), expected);
        for said in ["", "Q", "quit", "QUIT\r", "QUIT\r\n", "Quit\n"] {
            for expected in [Protocol::Smtp, Protocol::Pop3, Protocol::Unknown] {
                assert!(may_be(said, expected), "{said:?}");
            }
        }
        for said in ["a1", "a1 ", "a1 LOGOUT\r\n", ". logout\n"] {
            assert!(may_be(said, Protocol::Imap) && !may_be(said, Protocol::Smtp), "{said:?}");
        }
        let long = "a".repeat(GOODBYE);
        for said in ["EHLO x", "QUIT\r\nQ", "QUIT x\r\n", "\r\n", "a1 NOOP\r\n", "a LOGOUT x", "a LOGOUT\r\nb", &long] {
            assert!(!may_be(said, Protocol::Smtp) && !may_be(said, Protocol::Imap), "{said:?}");
        }
    }
}

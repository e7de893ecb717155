//! POP3 as far as STLS needs it (RFC 2595 section 4): which reply is CAPA's, and which replies have lines.

use std::collections::VecDeque;

use super::lines::{DotTerminator, PartialLine, behind, may_be_word, word};
use super::{Offer, StartTlsAnswer, StartTlsRequest};

const STLS: &[u8] = b"STLS";

/// Commands after which the server knows nothing new (RFC 2595 section 4).
const HARMLESS: &[&[u8]] = &[b"CAPA", b"NOOP"];

/// Commands that may wait for their replies; the client waits beyond.
const PIPELINED: usize = 4096;

/// A reply that has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pop3Expected {
    /// A capability list, if it is `+OK`.
    Capabilities,
    /// Lines, if it is `+OK`.
    Lines,
    Auth,
    /// A login, if it is `+OK`.
    Login,
    Other,
}

/// What the client's next octets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pop3ClientNext {
    Command,
    /// A SASL response (RFC 5034 section 4).
    Response,
    /// The next reply tells.
    Wait,
}

/// What the server's next octets are.
#[derive(Clone, Copy, Debug)]
enum Pop3ServerNext {
    Status,
    Capabilities { offered: bool },
    Text(DotTerminator),
}

/// One dialogue.
#[derive(Debug)]
pub(super) struct Pop3Dialogue {
    expected: VecDeque<Pop3Expected>,
    client: Pop3ClientNext,
    server: Pop3ServerNext,
    line: PartialLine,
    changed_server: bool,
    logged_in: bool,
    lost: bool,
}

impl Default for Pop3Dialogue {
    fn default() -> Self {
        Self {
            expected: VecDeque::from([Pop3Expected::Other]),
            client: Pop3ClientNext::Command,
            server: Pop3ServerNext::Status,
            line: PartialLine::default(),
            changed_server: false,
            logged_in: false,
            lost: false,
        }
    }
}

impl Pop3Dialogue {
    /// One whose greeting was read.
    pub(super) fn greeted() -> Self {
        Self { expected: VecDeque::new(), ..Self::default() }
    }

    /// Whether a command may have left something in the server's session.
    pub(super) fn has_changed_server(&self) -> bool {
        self.changed_server
    }

    /// Whether STLS is out of place: it is a command of the AUTHORIZATION state (RFC 2595 section 4).
    pub(super) fn is_logged_in(&self) -> bool {
        self.logged_in
    }

    pub(super) fn is_drained(&self) -> bool {
        self.expected.is_empty() && matches!(self.server, Pop3ServerNext::Status)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn client(
        &mut self,
        octets: &[u8],
        offer: Offer,
        line: &mut PartialLine,
        asked: &mut Option<StartTlsRequest>,
        out: &mut Vec<u8>,
    ) -> usize {
        match self.client {
            Pop3ClientNext::Wait => 0,
            Pop3ClientNext::Command if self.expected.len() >= PIPELINED => 0,
            Pop3ClientNext::Command => {
                let may_ask = |head: &[u8]| may_be_word(head.trim_ascii_start(), STLS);
                let (taken, complete) = line.take(octets, may_ask, out);
                if complete {
                    self.command(offer, line, asked, out);
                    line.clear();
                }
                taken
            }
            Pop3ClientNext::Response => {
                let end = memchr::memchr(b'\n', octets);
                let taken = end.map_or(octets.len(), |at| at + 1);
                out.extend_from_slice(octets.get(..taken).unwrap_or_default());
                if end.is_some() {
                    self.wait();
                }
                taken
            }
        }
    }

    fn command(
        &mut self,
        offer: Offer,
        line: &mut PartialLine,
        asked: &mut Option<StartTlsRequest>,
        out: &mut Vec<u8>,
    ) {
        let text = line.head().trim_ascii();
        if line.is_held()
            && let Some(rest) = behind(text, STLS)
        {
            *asked = Some(StartTlsRequest::new(b"", rest, offer));
            return;
        }
        let verb = word(text).to_ascii_uppercase();
        let alone = text.len() == verb.len();
        self.changed_server |= !line.is_plainly(&verb, HARMLESS);
        match verb.as_slice() {
            b"PASS" | b"APOP" => self.expected.push_back(Pop3Expected::Login),
            b"CAPA" => self.expected.push_back(Pop3Expected::Capabilities),
            b"AUTH" if !alone => self.wait(),
            b"RETR" | b"TOP" => self.expected.push_back(Pop3Expected::Lines),
            b"LIST" | b"UIDL" | b"LANG" | b"AUTH" if alone => self.expected.push_back(Pop3Expected::Lines),
            // Whatever comes with it is not known here.
            b"XTND" => self.lost = true,
            _ => self.expected.push_back(Pop3Expected::Other),
        }
        line.release(out);
    }

    fn wait(&mut self) {
        self.expected.push_back(Pop3Expected::Auth);
        self.client = Pop3ClientNext::Wait;
    }

    pub(super) fn server(&mut self, octets: &[u8], offer: Offer, out: &mut Vec<u8>) -> usize {
        match &mut self.server {
            Pop3ServerNext::Status => {
                let (taken, complete) = self.line.take(octets, |_| false, out);
                if complete {
                    self.status();
                    self.line.clear();
                }
                taken
            }
            Pop3ServerNext::Capabilities { offered } => {
                let may_change = |head: &[u8]| may_be_word(head, STLS) || may_be_word(head, b".");
                let (taken, complete) = self.line.take(octets, may_change, out);
                if complete {
                    let line = self.line.head();
                    let (is_tls, ends) = (behind(line, STLS).is_some(), line.trim_ascii_end() == b".");
                    if ends && offer == Offer::Show && !*offered && self.line.is_held() {
                        out.extend_from_slice(b"STLS\r\n");
                    }
                    if self.line.is_held() && !(is_tls && (offer == Offer::Hide || *offered)) {
                        self.line.release(out);
                    }
                    *offered |= is_tls;
                    self.line.clear();
                    if ends {
                        self.server = Pop3ServerNext::Status;
                    }
                }
                taken
            }
            Pop3ServerNext::Text(text) => {
                let (taken, ended) = text.take(octets);
                out.extend_from_slice(octets.get(..taken).unwrap_or_default());
                if ended {
                    self.server = Pop3ServerNext::Status;
                }
                taken
            }
        }
    }

    /// Lets go what was held.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        self.line.release(out);
    }

    /// A status line is complete.
    fn status(&mut self) {
        let (ok, no) = (behind(self.line.head(), b"+OK").is_some(), behind(self.line.head(), b"-ERR").is_some());
        let goes_on = behind(self.line.head(), b"+").is_some();
        if !(ok || no || goes_on && self.expected.front() == Some(&Pop3Expected::Auth)) {
            return;
        }
        let Some(expect) = self.expected.pop_front() else { return };
        match expect {
            Pop3Expected::Login => self.logged_in |= ok,
            Pop3Expected::Auth => {
                self.logged_in |= ok;
                self.client = if goes_on { Pop3ClientNext::Response } else { Pop3ClientNext::Command }
            }
            Pop3Expected::Capabilities if ok => self.server = Pop3ServerNext::Capabilities { offered: false },
            Pop3Expected::Lines if ok => self.server = Pop3ServerNext::Text(DotTerminator::default()),
            _ => {}
        }
    }
}

/// The reply to STLS (RFC 2595 section 4, RFC 3206).
pub(super) fn answer(answer: StartTlsAnswer) -> &'static [u8] {
    match answer {
        StartTlsAnswer::Begin => b"+OK Begin TLS\r\n",
        StartTlsAnswer::NotNow => b"-ERR [SYS/TEMP] TLS is not available for now\r\n",
        StartTlsAnswer::NoArguments => b"-ERR STLS takes no arguments\r\n",
        StartTlsAnswer::OutOfPlace => b"-ERR STLS is out of place now\r\n",
    }
}

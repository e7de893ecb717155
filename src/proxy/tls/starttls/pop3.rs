//! POP3 as far as STLS needs it (RFC 2595 section 4): which reply is CAPA's, and which replies have lines.

use std::collections::VecDeque;

use super::lines::{Line, Text, behind, may_be_word, word};
use super::{Answer, Offer, StartTlsRequest};

const STLS: &[u8] = b"STLS";

/// Commands that may wait for their replies; the client waits beyond.
const PIPELINED: usize = 4096;

/// A reply that has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A capability list, if it is `+OK`.
    Capabilities,
    /// Lines, if it is `+OK`.
    Lines,
    Auth,
    Other,
}

/// What the client's next octets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Command,
    /// A SASL response (RFC 5034 section 4).
    Response,
    /// The next reply tells.
    Wait,
}

/// What the server's next octets are.
#[derive(Clone, Copy, Debug)]
enum Server {
    Status,
    Capabilities { offered: bool },
    Text(Text),
}

/// One dialogue.
#[derive(Debug)]
pub(super) struct Pop3 {
    expected: VecDeque<Expect>,
    client: Client,
    server: Server,
    line: Line,
    lost: bool,
}

impl Default for Pop3 {
    fn default() -> Self {
        Self {
            expected: VecDeque::from([Expect::Other]),
            client: Client::Command,
            server: Server::Status,
            line: Line::default(),
            lost: false,
        }
    }
}

impl Pop3 {
    pub(super) fn is_drained(&self) -> bool {
        self.expected.is_empty() && matches!(self.server, Server::Status)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn client(
        &mut self,
        octets: &[u8],
        offer: Offer,
        line: &mut Line,
        asked: &mut Option<StartTlsRequest>,
        out: &mut Vec<u8>,
    ) -> usize {
        match self.client {
            Client::Wait => 0,
            Client::Command if self.expected.len() >= PIPELINED => 0,
            Client::Command => {
                let may_ask = |head: &[u8]| may_be_word(head.trim_ascii_start(), STLS);
                let (taken, complete) = line.take(octets, may_ask, out);
                if complete {
                    self.command(offer, line, asked, out);
                    line.clear();
                }
                taken
            }
            Client::Response => {
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

    fn command(&mut self, offer: Offer, line: &mut Line, asked: &mut Option<StartTlsRequest>, out: &mut Vec<u8>) {
        let text = line.head().trim_ascii();
        if line.is_held()
            && let Some(rest) = behind(text, STLS)
        {
            *asked = Some(StartTlsRequest::new(b"", rest, offer));
            return;
        }
        let verb = word(text).to_ascii_uppercase();
        let alone = text.len() == verb.len();
        match verb.as_slice() {
            b"CAPA" => self.expected.push_back(Expect::Capabilities),
            b"AUTH" if !alone => self.wait(),
            b"RETR" | b"TOP" => self.expected.push_back(Expect::Lines),
            b"LIST" | b"UIDL" | b"LANG" | b"AUTH" if alone => self.expected.push_back(Expect::Lines),
            // Whatever comes with it is not known here.
            b"XTND" => self.lost = true,
            _ => self.expected.push_back(Expect::Other),
        }
        line.release(out);
    }

    fn wait(&mut self) {
        self.expected.push_back(Expect::Auth);
        self.client = Client::Wait;
    }

    pub(super) fn server(&mut self, octets: &[u8], offer: Offer, out: &mut Vec<u8>) -> usize {
        match &mut self.server {
            Server::Status => {
                let (taken, complete) = self.line.take(octets, |_| false, out);
                if complete {
                    self.status();
                    self.line.clear();
                }
                taken
            }
            Server::Capabilities { offered } => {
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
                        self.server = Server::Status;
                    }
                }
                taken
            }
            Server::Text(text) => {
                let (taken, ended) = text.take(octets);
                out.extend_from_slice(octets.get(..taken).unwrap_or_default());
                if ended {
                    self.server = Server::Status;
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
        if !(ok || no || goes_on && self.expected.front() == Some(&Expect::Auth)) {
            return;
        }
        let Some(expect) = self.expected.pop_front() else { return };
        match expect {
            Expect::Auth => self.client = if goes_on { Client::Response } else { Client::Command },
            Expect::Capabilities if ok => self.server = Server::Capabilities { offered: false },
            Expect::Lines if ok => self.server = Server::Text(Text::default()),
            _ => {}
        }
    }
}

/// The reply to STLS (RFC 2595 section 4, RFC 3206).
pub(super) fn answer(answer: Answer) -> &'static [u8] {
    match answer {
        Answer::Begin => b"+OK Begin TLS\r\n",
        Answer::NotNow => b"-ERR [SYS/TEMP] TLS is not available for now\r\n",
        Answer::NoArguments => b"-ERR STLS takes no arguments\r\n",
        Answer::OutOfPlace => b"-ERR TLS is active already\r\n",
    }
}

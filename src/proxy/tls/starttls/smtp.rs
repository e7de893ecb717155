//! SMTP and LMTP as far as STARTTLS needs it (RFC 3207): commands apart from message data, and which reply is EHLO's.

use std::collections::VecDeque;

use super::lines::{DotTerminator, PartialLine, behind, may_be_word, may_begin, word};
use super::{Offer, StartTlsAnswer, StartTlsRequest};

const STARTTLS: &[u8] = b"STARTTLS";

/// Commands after which the server knows nothing that counts under TLS: the client says EHLO again (RFC 3207 section 4.2).
const HARMLESS: &[&[u8]] = &[b"EHLO", b"HELO", b"LHLO", b"NOOP"];

/// Commands that may wait for their replies; the client waits beyond.
const PIPELINED: usize = 4096;

/// A reply that has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SmtpExpected {
    Ehlo,
    Data,
    Auth,
    Mail,
    Rcpt,
    /// To a message.
    Message,
    Other,
}

/// What the client's next octets are.
#[derive(Clone, Copy, Debug)]
enum SmtpClientNext {
    Command,
    /// A SASL response (RFC 4954 section 4).
    Response,
    /// A message.
    Text(DotTerminator),
    /// A chunk (RFC 3030).
    Octets(u64),
    /// The next reply tells.
    Wait,
}

/// One dialogue.
#[derive(Debug)]
pub(super) struct SmtpDialogue {
    expected: VecDeque<SmtpExpected>,
    client: SmtpClientNext,
    is_lmtp: bool,
    /// Recipients taken in this transaction.
    recipients: usize,
    /// The server's line so far.
    line: PartialLine,
    /// The line before it in an EHLO reply, which may turn out to be the last.
    before: Vec<u8>,
    /// STARTTLS was in this reply.
    offered: bool,
    /// This reply goes on as it is.
    as_it_is: bool,
    changed_server: bool,
    lost: bool,
}

impl Default for SmtpDialogue {
    fn default() -> Self {
        Self {
            expected: VecDeque::from([SmtpExpected::Other]),
            client: SmtpClientNext::Command,
            is_lmtp: false,
            recipients: 0,
            line: PartialLine::default(),
            before: Vec::new(),
            offered: false,
            as_it_is: false,
            changed_server: false,
            lost: false,
        }
    }
}

impl SmtpDialogue {
    /// One whose greeting was read.
    pub(super) fn greeted() -> Self {
        Self { expected: VecDeque::new(), ..Self::default() }
    }

    /// Whether a command may have left something in the server's session.
    pub(super) fn has_changed_server(&self) -> bool {
        self.changed_server
    }

    pub(super) fn is_drained(&self) -> bool {
        self.expected.is_empty()
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
        let (taken, ended) = match &mut self.client {
            SmtpClientNext::Wait => return 0,
            SmtpClientNext::Command if self.expected.len() >= PIPELINED => return 0,
            SmtpClientNext::Command => {
                let (taken, complete) = line.take(octets, may_ask, out);
                if complete {
                    self.command(offer, line, asked, out);
                    line.clear();
                }
                return taken;
            }
            SmtpClientNext::Response => {
                let end = memchr::memchr(b'\n', octets);
                (end.map_or(octets.len(), |at| at + 1), end.is_some())
            }
            SmtpClientNext::Text(text) => text.take(octets),
            SmtpClientNext::Octets(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
                *left -= taken as u64;
                (taken, *left == 0)
            }
        };
        out.extend_from_slice(octets.get(..taken).unwrap_or_default());
        if ended {
            match self.client {
                SmtpClientNext::Response => self.wait(SmtpExpected::Auth),
                SmtpClientNext::Text(_) => {
                    self.client = SmtpClientNext::Command;
                    self.message();
                }
                _ => self.client = SmtpClientNext::Command,
            }
        }
        taken
    }

    /// A command line is complete.
    fn command(
        &mut self,
        offer: Offer,
        line: &mut PartialLine,
        asked: &mut Option<StartTlsRequest>,
        out: &mut Vec<u8>,
    ) {
        let text = line.head().trim_ascii_start();
        if line.is_held()
            && let Some(rest) = behind(text, STARTTLS)
        {
            *asked = Some(StartTlsRequest::new(b"", rest, offer));
            return;
        }
        let verb = word(text).to_ascii_uppercase();
        self.changed_server |= !line.is_plainly(&verb, HARMLESS);
        match verb.as_slice() {
            b"EHLO" | b"LHLO" => {
                self.is_lmtp = verb == b"LHLO";
                self.expected.push_back(SmtpExpected::Ehlo);
            }
            b"MAIL" => self.expected.push_back(SmtpExpected::Mail),
            b"RCPT" => self.expected.push_back(SmtpExpected::Rcpt),
            b"DATA" => self.wait(SmtpExpected::Data),
            b"AUTH" | b"X-EXPS" => self.wait(SmtpExpected::Auth),
            b"BDAT" => {
                let mut words = text.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).skip(1);
                let size = words.next().and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
                let last = words.next().is_some_and(|last| last.eq_ignore_ascii_case(b"LAST"));
                match size {
                    Some(0) | None => {}
                    Some(size) => self.client = SmtpClientNext::Octets(size),
                }
                if last {
                    self.message();
                } else {
                    self.expected.push_back(SmtpExpected::Other);
                }
            }
            // The roles may be swapped by these (RFC 821 section 3.8, RFC 2645).
            b"TURN" | b"ATRN" => self.lost = true,
            _ => self.expected.push_back(SmtpExpected::Other),
        }
        line.release(out);
    }

    /// A message is complete: LMTP answers once for each recipient (RFC 2033 section 4.2).
    fn message(&mut self) {
        let replies = if self.is_lmtp { self.recipients.max(1) } else { 1 };
        self.expected.extend(std::iter::repeat_n(SmtpExpected::Message, replies));
    }

    fn wait(&mut self, expect: SmtpExpected) {
        self.expected.push_back(expect);
        self.client = SmtpClientNext::Wait;
    }

    pub(super) fn server(&mut self, octets: &[u8], offer: Offer, out: &mut Vec<u8>) -> usize {
        let lists = self.expected.front() == Some(&SmtpExpected::Ehlo) && !self.as_it_is;
        let mut gone = Vec::new();
        let (taken, complete) = self.line.take(octets, |head| lists && may_begin(head, b"250"), &mut gone);
        if !gone.is_empty() {
            // What comes first goes first.
            out.append(&mut self.before);
            out.append(&mut gone);
            self.as_it_is |= lists;
        }
        if complete {
            self.reply_line(offer, out);
            self.line.clear();
        }
        taken
    }

    /// Lets go what was held.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.before);
        self.line.release(out);
    }

    /// A line of a reply is complete.
    fn reply_line(&mut self, offer: Offer, out: &mut Vec<u8>) {
        let head = self.line.head();
        let code = head.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok());
        let last = head.get(3) != Some(&b'-');
        if self.line.is_held() {
            let line = head.to_vec();
            self.capability(line, last, offer, out);
        }
        if let Some(code) = code.filter(|_| last) {
            (self.offered, self.as_it_is) = (false, false);
            self.replied(code);
        }
    }

    /// A line of an EHLO reply (RFC 5321 section 4.1.1.1): the first is the server's name, each other one extension.
    fn capability(&mut self, mut line: Vec<u8>, last: bool, offer: Offer, out: &mut Vec<u8>) {
        let first = self.before.is_empty();
        let is_tls = !first && line.get(4..).is_some_and(|text| word(text).eq_ignore_ascii_case(STARTTLS));
        let dropped = is_tls && (offer == Offer::Hide || self.offered);
        self.offered |= is_tls && !dropped;
        if dropped {
            if last {
                separate(&mut self.before, b' ');
                out.append(&mut self.before);
            }
            return;
        }
        out.append(&mut self.before);
        if !last {
            self.before = line;
            return;
        }
        let missing = offer == Offer::Show && !self.offered;
        match (missing, first) {
            (true, true) => {
                separate(&mut line, b'-');
                out.extend_from_slice(&line);
                out.extend_from_slice(b"250 STARTTLS\r\n");
            }
            (true, false) => {
                out.extend_from_slice(b"250-STARTTLS\r\n");
                out.extend_from_slice(&line);
            }
            (false, _) => out.extend_from_slice(&line),
        }
    }

    /// A reply is complete.
    fn replied(&mut self, code: u16) {
        let Some(expect) = self.expected.pop_front() else {
            // Nobody asked: the server took a text for ended, or says goodbye.
            self.lost = code == 354;
            if let SmtpClientNext::Text(_) = self.client {
                self.client = SmtpClientNext::Command;
            }
            return;
        };
        let yes = (200..300).contains(&code);
        match expect {
            SmtpExpected::Data if code == 354 => self.client = SmtpClientNext::Text(DotTerminator::default()),
            SmtpExpected::Auth if code == 334 => self.client = SmtpClientNext::Response,
            SmtpExpected::Data | SmtpExpected::Auth => self.client = SmtpClientNext::Command,
            // A word on each recipient will follow, then the last (draft-hall-prdr).
            SmtpExpected::Message if code == 353 => {
                for _ in 0..=self.recipients {
                    self.expected.push_front(SmtpExpected::Message);
                }
            }
            SmtpExpected::Ehlo | SmtpExpected::Mail if yes => self.recipients = 0,
            SmtpExpected::Rcpt if yes => self.recipients += 1,
            _ => {}
        }
        // Not the reply that was expected: the count is lost.
        self.lost |= code == 354 && expect != SmtpExpected::Data || code == 334 && expect != SmtpExpected::Auth;
    }
}

/// Whether a client's line may be STARTTLS. Blanks before it are nothing to some servers.
fn may_ask(head: &[u8]) -> bool {
    may_be_word(head.trim_ascii_start(), STARTTLS)
}

/// Puts `mark` between code and text.
fn separate(line: &mut Vec<u8>, mark: u8) {
    match line.get_mut(3) {
        Some(separator) if matches!(separator, b' ' | b'-') => *separator = mark,
        Some(_) => line.insert(3, mark),
        None => {}
    }
}

/// The reply to a STARTTLS (RFC 3207 section 4).
pub(super) fn answer(answer: StartTlsAnswer) -> &'static [u8] {
    match answer {
        StartTlsAnswer::Begin => b"220 2.0.0 Ready to start TLS\r\n",
        StartTlsAnswer::NotNow => b"454 4.7.0 TLS not available due to temporary reason\r\n",
        StartTlsAnswer::NoArguments => b"501 5.5.4 Syntax: STARTTLS\r\n",
        StartTlsAnswer::OutOfPlace => b"503 5.5.1 TLS already active\r\n",
    }
}

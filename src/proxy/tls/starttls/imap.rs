//! IMAP as far as STARTTLS needs it (RFC 9051 section 6.2.1): commands and responses apart from literals, and where
//! capabilities are listed.

use super::lines::{PartialLine, behind, literal, may_be_word, may_begin, word};
use super::{Offer, StartTlsAnswer, StartTlsRequest};

const STARTTLS: &[u8] = b"STARTTLS";

/// What a response that lists capabilities begins with, behind `* ` or a tag (RFC 9051 sections 7.1 and 7.2.2).
const UNTAGGED: &[&[u8]] = &[b"CAPABILITY ", b"OK [CAPABILITY ", b"PREAUTH [CAPABILITY "];
const TAGGED: &[&[u8]] = &[b"OK [CAPABILITY "];

/// Octets of a tag that are remembered.
const TAG: usize = 256;

/// Commands after which the server knows nothing that counts under TLS (RFC 9051 section 6.2.1, RFC 2971).
const HARMLESS: &[&[u8]] = &[b"CAPABILITY", b"NOOP", b"ID"];

/// Logins that may wait for their completions at once: more than one makes sense for nobody.
const LOGINS: usize = 16;

/// What the client's next octets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ImapClientNext {
    /// A command.
    Command,
    /// The rest of a command, behind a literal.
    Rest,
    Literal(u64),
    /// One line of an exchange, then the server's turn: AUTHENTICATE.
    Response,
    /// The line that ends IDLE (RFC 2177).
    Done,
    /// The next continuation request or completion tells.
    Wait(ImapLineEnd),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ImapLineEnd {
    Literal(u64),
    Authenticate,
    Idle,
    Compress,
}

/// What the server's next octets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ImapServerNext {
    Response,
    Rest,
    Literal(u64),
}

/// One dialogue.
#[derive(Debug)]
pub(super) struct ImapDialogue {
    client: ImapClientNext,
    server: ImapServerNext,
    line: PartialLine,
    /// Tag of the client's last command.
    tag: Vec<u8>,
    /// Tags of commands that log in and are not complete.
    logins: Vec<Vec<u8>>,
    /// Commands without a completion.
    outstanding: u32,
    greeted: bool,
    authenticated: bool,
    changed_server: bool,
    lost: bool,
}

impl Default for ImapDialogue {
    fn default() -> Self {
        Self {
            client: ImapClientNext::Command,
            server: ImapServerNext::Response,
            line: PartialLine::default(),
            tag: Vec::new(),
            logins: Vec::new(),
            outstanding: 0,
            greeted: false,
            authenticated: false,
            changed_server: false,
            lost: false,
        }
    }
}

impl ImapDialogue {
    /// One whose greeting was read.
    pub(super) fn greeted() -> Self {
        Self { greeted: true, ..Self::default() }
    }

    /// Whether a command may have left something in the server's session.
    pub(super) fn has_changed_server(&self) -> bool {
        self.changed_server
    }

    /// Whether STARTTLS is out of place: it is a command of the not authenticated state (RFC 9051 section 6.2).
    pub(super) fn is_logged_in(&self) -> bool {
        self.authenticated
    }

    pub(super) fn is_drained(&self) -> bool {
        self.greeted && self.outstanding == 0 && self.server == ImapServerNext::Response && self.line.head().is_empty()
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
        match &mut self.client {
            ImapClientNext::Wait(_) => 0,
            ImapClientNext::Command | ImapClientNext::Rest => {
                let begins = self.client == ImapClientNext::Command;
                let (taken, complete) = line.take(octets, |head| begins && may_ask(head), out);
                if complete {
                    if begins {
                        self.command(offer, line, asked);
                    } else {
                        self.client = ImapClientNext::Command;
                    }
                    if asked.is_none() {
                        line.release(out);
                        self.follow(line.tail());
                    }
                    line.clear();
                }
                taken
            }
            ImapClientNext::Literal(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
                out.extend_from_slice(octets.get(..taken).unwrap_or_default());
                *left -= taken as u64;
                if *left == 0 {
                    self.client = ImapClientNext::Rest;
                }
                taken
            }
            ImapClientNext::Response | ImapClientNext::Done => {
                let end = memchr::memchr(b'\n', octets);
                let taken = end.map_or(octets.len(), |at| at + 1);
                out.extend_from_slice(octets.get(..taken).unwrap_or_default());
                if end.is_some() {
                    let is_done = self.client == ImapClientNext::Done;
                    self.client =
                        if is_done { ImapClientNext::Command } else { ImapClientNext::Wait(ImapLineEnd::Authenticate) };
                }
                taken
            }
        }
    }

    /// The first line of a command is complete.
    fn command(&mut self, offer: Offer, line: &PartialLine, asked: &mut Option<StartTlsRequest>) {
        let text = line.head();
        let tag = word(text);
        let text = text.get(tag.len()..).unwrap_or_default().trim_ascii_start();
        if line.is_held()
            && let Some(rest) = behind(text, STARTTLS)
        {
            *asked = Some(StartTlsRequest::new(tag, rest, offer));
            return;
        }
        let verb = word(text).to_ascii_uppercase();
        self.changed_server |= !line.is_plainly(&verb, HARMLESS);
        if tag.is_empty() || verb.is_empty() {
            // Answered with an untagged BAD, if at all.
            return;
        }
        self.tag.clear();
        self.tag.extend_from_slice(tag.get(..TAG).unwrap_or(tag));
        self.outstanding = self.outstanding.saturating_add(1);
        match verb.as_slice() {
            b"AUTHENTICATE" => {
                self.logs_in();
                self.client = ImapClientNext::Wait(ImapLineEnd::Authenticate);
            }
            b"LOGIN" => self.logs_in(),
            b"IDLE" => self.client = ImapClientNext::Wait(ImapLineEnd::Idle),
            b"COMPRESS" => self.client = ImapClientNext::Wait(ImapLineEnd::Compress),
            _ => {}
        }
    }

    /// The last command logs in, if the server agrees.
    fn logs_in(&mut self) {
        if self.logins.len() < LOGINS {
            self.logins.push(self.tag.clone());
        } else {
            // One that is not remembered may have gone well.
            self.authenticated = true;
        }
    }

    /// A literal may follow the line that ends with `tail`.
    fn follow(&mut self, tail: &[u8]) {
        if self.client != ImapClientNext::Command {
            return;
        }
        match literal(tail) {
            Some((0, true)) => self.client = ImapClientNext::Rest,
            Some((octets, true)) => self.client = ImapClientNext::Literal(octets),
            Some((octets, false)) => self.client = ImapClientNext::Wait(ImapLineEnd::Literal(octets)),
            None => {}
        }
    }

    pub(super) fn server(&mut self, octets: &[u8], offer: Offer, out: &mut Vec<u8>) -> usize {
        if let ImapServerNext::Literal(left) = &mut self.server {
            let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
            out.extend_from_slice(octets.get(..taken).unwrap_or_default());
            *left -= taken as u64;
            if *left == 0 {
                self.server = ImapServerNext::Rest;
            }
            return taken;
        }
        let begins = self.server == ImapServerNext::Response;
        let (taken, complete) = self.line.take(octets, |head| begins && may_list(head), out);
        if complete {
            let mut line = std::mem::take(&mut self.line);
            let is_status = begins && self.response(line.head());
            if line.is_held() {
                match list(line.head()).and_then(|(from, to)| self.relisted(line.head(), from, to, offer)) {
                    Some(changed) => out.extend_from_slice(&changed),
                    None => line.release(out),
                }
            }
            self.server = match literal(line.tail()) {
                Some((0, _)) if !is_status => ImapServerNext::Rest,
                Some((octets, _)) if !is_status => ImapServerNext::Literal(octets),
                _ => ImapServerNext::Response,
            };
            line.clear();
            self.line = line;
        }
        taken
    }

    /// Lets go what was held.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        self.line.release(out);
    }

    /// The first line of a response is complete; whether it is one that ends in text, not in a literal.
    fn response(&mut self, line: &[u8]) -> bool {
        self.greeted = true;
        let tag = word(line);
        let text = line.get(tag.len()..).unwrap_or_default().trim_ascii_start();
        let ok = behind(text, b"OK").is_some();
        let is_status = ok || [&b"NO"[..], b"BAD", b"BYE", b"PREAUTH"].iter().any(|w| behind(text, w).is_some());
        match tag {
            b"+" => {
                self.client = match self.client {
                    ImapClientNext::Wait(ImapLineEnd::Literal(0)) => ImapClientNext::Rest,
                    ImapClientNext::Wait(ImapLineEnd::Literal(octets)) => ImapClientNext::Literal(octets),
                    ImapClientNext::Wait(ImapLineEnd::Authenticate) => ImapClientNext::Response,
                    ImapClientNext::Wait(ImapLineEnd::Idle) => ImapClientNext::Done,
                    other => other,
                };
                return true;
            }
            b"*" => self.authenticated |= behind(text, b"PREAUTH").is_some(),
            _ if is_status => self.completed(tag, ok),
            _ => {}
        }
        is_status
    }

    /// The command of `tag` is complete.
    fn completed(&mut self, tag: &[u8], ok: bool) {
        let tag = tag.get(..TAG).unwrap_or(tag);
        self.outstanding = self.outstanding.saturating_sub(1);
        if let Some(at) = self.logins.iter().position(|login| login == tag) {
            self.logins.swap_remove(at);
            self.authenticated |= ok;
        }
        if self.tag == tag {
            // Compressed octets are for nobody in between (RFC 4978).
            self.lost |= ok && self.client == ImapClientNext::Wait(ImapLineEnd::Compress);
            if matches!(self.client, ImapClientNext::Wait(_) | ImapClientNext::Response | ImapClientNext::Done) {
                self.client = ImapClientNext::Command;
            }
        }
    }

    /// `line` with the list at `from..to` as the client is to see it, if that differs.
    fn relisted(&self, line: &[u8], from: usize, to: usize, offer: Offer) -> Option<Vec<u8>> {
        let (before, list, after) = (line.get(..from)?, line.get(from..to)?, line.get(to..)?);
        let is_tls = |entry: &&[u8]| entry.eq_ignore_ascii_case(STARTTLS);
        let offers = list.split(|octet| *octet == b' ').filter(is_tls).count();
        // Once it logs in, a client has no use for it any more (RFC 9051 section 6.2).
        let wanted = match offer {
            Offer::Hide => 0,
            Offer::Show if self.authenticated || !self.logins.is_empty() => offers.min(1),
            Offer::Show => 1,
        };
        if offers == wanted {
            return None;
        }
        let mut kept = 0;
        let entries = list.split(|octet| *octet == b' ').filter(|entry| {
            kept += usize::from(is_tls(entry));
            !is_tls(entry) || kept <= wanted
        });
        let mut changed = [before, &entries.collect::<Vec<_>>().join(&b' ')].concat();
        if offers < wanted {
            changed.push(b' ');
            changed.extend_from_slice(STARTTLS);
        }
        changed.extend_from_slice(after);
        Some(changed)
    }
}

/// Whether a client's line may be STARTTLS.
fn may_ask(head: &[u8]) -> bool {
    let tag = word(head);
    let rest = head.get(tag.len()..).unwrap_or_default();
    tag.len() <= TAG && may_be_word(rest.trim_ascii_start(), STARTTLS)
}

/// Whether a server's line may list capabilities.
fn may_list(head: &[u8]) -> bool {
    let tag = word(head);
    let rest = head.get(tag.len()..).unwrap_or_default();
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let starts = if tag == b"*" { UNTAGGED } else { TAGGED };
    tag != b"+" && tag.len() <= TAG && starts.iter().any(|start| may_begin(rest, start))
}

/// Where in `line` the list of capabilities is.
fn list(line: &[u8]) -> Option<(usize, usize)> {
    let tag = word(line);
    let rest = line.get(tag.len() + 1..)?;
    let starts = if tag == b"*" { UNTAGGED } else { TAGGED };
    let start = starts.iter().find(|start| rest.len() >= start.len() && may_begin(rest, start))?;
    let from = tag.len() + 1 + start.len();
    let list = line.get(from..)?;
    let is_code = start.contains(&b'[');
    let length = if is_code { memchr::memchr(b']', list)? } else { list.trim_ascii_end().len() };
    Some((from, from + length))
}

/// `line` without the code that lists capabilities.
pub(in crate::proxy::tls) fn without_list(line: &[u8]) -> Vec<u8> {
    let code = list(line).filter(|(from, _)| line.get(..*from).is_some_and(|before| before.contains(&b'[')));
    let Some((from, to)) = code else { return line.to_vec() };
    let before = line.get(..from).unwrap_or_default();
    let before = before.get(..memchr::memchr(b'[', before).unwrap_or(from)).unwrap_or_default();
    let after = line.get(to + 1..).unwrap_or_default();
    [before, after.strip_prefix(b" ").unwrap_or(after)].concat()
}

/// The completion of STARTTLS, behind its tag and a blank (RFC 9051 section 6.2.1, RFC 5530 section 3).
pub(super) fn answer(answer: StartTlsAnswer) -> &'static [u8] {
    match answer {
        StartTlsAnswer::Begin => b"OK Begin TLS\r\n",
        StartTlsAnswer::NotNow => b"NO [UNAVAILABLE] TLS is not available for now\r\n",
        StartTlsAnswer::NoArguments => b"BAD STARTTLS takes no arguments\r\n",
        StartTlsAnswer::OutOfPlace => b"BAD STARTTLS is out of place now\r\n",
    }
}

//! What passes between client and server where STARTTLS is answered in between.
//!
//! Octets go on as they come. Three things differ: a capability list offers STARTTLS once to a client without TLS and
//! never to one with it; a client's STARTTLS is kept for whoever runs this, together with all that came behind it; and
//! octets whose meaning hangs on an answer wait for that answer. Where the dialogue is not understood, it is left
//! alone from there on. No I/O: octets in, octets out.

mod imap;
mod lines;
mod pop3;
mod smtp;
#[cfg(test)]
mod tests;

pub(super) use imap::without_list;
pub(super) use lines::word as first_word;

use imap::ImapDialogue;
use lines::PartialLine;
use pop3::Pop3Dialogue;
use smtp::SmtpDialogue;

use crate::event::Protocol;

/// Whether the client is to see STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It has no TLS yet.
    Show,
    /// It has.
    Hide,
}

/// What is answered to a client's STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartTlsAnswer {
    /// TLS begins.
    Begin,
    /// TLS cannot be had for now.
    NotNow,
    /// There was something behind the word.
    NoArguments,
    /// There is TLS already, or it is too late for it.
    OutOfPlace,
}

/// A client's STARTTLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartTlsRequest {
    /// IMAP: its tag.
    tag: Vec<u8>,
    /// What to answer, unless TLS can begin.
    refusal: Option<StartTlsAnswer>,
}

/// One session's dialogue.
#[derive(Debug)]
pub(super) struct Dialogue {
    offer: Offer,
    dialogue: DialogueState,
    heard: bool,
    /// The client's line so far.
    line: PartialLine,
    asked: Option<StartTlsRequest>,
}

#[derive(Debug)]
enum DialogueState {
    /// The server has not spoken.
    Unknown,
    Smtp(SmtpDialogue),
    Pop3(Pop3Dialogue),
    Imap(ImapDialogue),
    /// Nothing that is known, or not any more.
    Opaque,
}

impl Dialogue {
    /// Begins before the greeting; `prior`: what is most likely spoken.
    pub(super) fn new(offer: Offer, prior: Protocol) -> Self {
        let dialogue = match prior {
            Protocol::Smtp | Protocol::Lmtp => DialogueState::Smtp(SmtpDialogue::default()),
            Protocol::Pop3 => DialogueState::Pop3(Pop3Dialogue::default()),
            Protocol::Imap => DialogueState::Imap(ImapDialogue::default()),
            Protocol::ManageSieve => DialogueState::Opaque,
            Protocol::Unknown => DialogueState::Unknown,
        };
        Self { offer, dialogue, heard: false, line: PartialLine::default(), asked: None }
    }

    /// What is spoken.
    pub(super) fn protocol(&self) -> Protocol {
        match &self.dialogue {
            DialogueState::Smtp(_) => Protocol::Smtp,
            DialogueState::Pop3(_) => Protocol::Pop3,
            DialogueState::Imap(_) => Protocol::Imap,
            DialogueState::Unknown | DialogueState::Opaque => Protocol::Unknown,
        }
    }

    /// Octets of the client: how many were taken. What goes on is added to `out`; what was not taken waits for the
    /// server's next octets, or for TLS.
    pub(super) fn client(&mut self, octets: &[u8], out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        while used < octets.len() && self.asked.is_none() {
            let rest = octets.get(used..).unwrap_or_default();
            let taken = match &mut self.dialogue {
                DialogueState::Unknown => 0,
                DialogueState::Smtp(smtp) => smtp.client(rest, self.offer, &mut self.line, &mut self.asked, out),
                DialogueState::Pop3(pop3) => pop3.client(rest, self.offer, &mut self.line, &mut self.asked, out),
                DialogueState::Imap(imap) => imap.client(rest, self.offer, &mut self.line, &mut self.asked, out),
                DialogueState::Opaque => {
                    self.line.release(out);
                    out.extend_from_slice(rest);
                    rest.len()
                }
            };
            self.settle();
            if taken == 0 && !matches!(self.dialogue, DialogueState::Opaque) {
                break;
            }
            used += taken;
        }
        used
    }

    /// The client has closed: what was kept of its last line goes on.
    pub(super) fn client_closed(&mut self, out: &mut Vec<u8>) {
        self.line.release(out);
    }

    /// Octets of the server, all of them taken; what goes on is added to `out`.
    pub(super) fn server(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let Some(first) = octets.first() else { return };
        if !std::mem::replace(&mut self.heard, true) {
            self.listen(*first);
        }
        let mut used = 0;
        while used < octets.len() {
            let rest = octets.get(used..).unwrap_or_default();
            used += match &mut self.dialogue {
                DialogueState::Smtp(smtp) => smtp.server(rest, self.offer, out),
                DialogueState::Pop3(pop3) => pop3.server(rest, self.offer, out),
                DialogueState::Imap(imap) => imap.server(rest, self.offer, out),
                DialogueState::Unknown | DialogueState::Opaque => {
                    out.extend_from_slice(rest);
                    rest.len()
                }
            };
            self.settle();
        }
    }

    /// The server has closed: what was kept of its last line goes on, and no answer is waited for any more.
    pub(super) fn server_closed(&mut self, out: &mut Vec<u8>) {
        match &mut self.dialogue {
            DialogueState::Smtp(smtp) => smtp.release(out),
            DialogueState::Pop3(pop3) => pop3.release(out),
            DialogueState::Imap(imap) => imap.release(out),
            DialogueState::Unknown | DialogueState::Opaque => {}
        }
        (self.dialogue, self.asked) = (DialogueState::Opaque, None);
    }

    /// The client's STARTTLS, once everything before it is answered: only then is known whether it comes too late, for
    /// a login may have come in the same segment.
    pub(super) fn asked(&self) -> Option<StartTlsRequest> {
        let (drained, logged_in) = match &self.dialogue {
            DialogueState::Smtp(smtp) => (smtp.is_drained(), false),
            DialogueState::Pop3(pop3) => (pop3.is_drained(), pop3.is_logged_in()),
            DialogueState::Imap(imap) => (imap.is_drained(), imap.is_logged_in()),
            DialogueState::Unknown | DialogueState::Opaque => (true, false),
        };
        let mut ask = self.asked.clone().filter(|_| drained)?;
        if logged_in {
            ask.refusal = Some(StartTlsAnswer::OutOfPlace);
        }
        Some(ask)
    }

    /// Whether the client has sent anything that may have changed the server's session: all of it must be forgotten when
    /// TLS begins, for it may be an attacker's (RFC 3207 section 4.2).
    pub(super) fn has_changed_server(&self) -> bool {
        match &self.dialogue {
            DialogueState::Smtp(smtp) => smtp.has_changed_server(),
            DialogueState::Pop3(pop3) => pop3.has_changed_server(),
            DialogueState::Imap(imap) => imap.has_changed_server(),
            DialogueState::Unknown | DialogueState::Opaque => true,
        }
    }

    /// The client talks to another connection of the server from here on: its greeting was read, and nothing is asked.
    pub(super) fn begin_anew(&mut self) {
        self.dialogue = match &self.dialogue {
            DialogueState::Smtp(_) => DialogueState::Smtp(SmtpDialogue::greeted()),
            DialogueState::Pop3(_) => DialogueState::Pop3(Pop3Dialogue::greeted()),
            DialogueState::Imap(_) => DialogueState::Imap(ImapDialogue::greeted()),
            DialogueState::Unknown | DialogueState::Opaque => DialogueState::Opaque,
        };
    }

    /// Whether a STARTTLS stands, so that no more octets of the client are wanted.
    pub(super) fn waits(&self) -> bool {
        self.asked.is_some()
    }

    /// The line that answers a STARTTLS.
    pub(super) fn answer(&self, ask: &StartTlsRequest, answer: StartTlsAnswer) -> Vec<u8> {
        match &self.dialogue {
            DialogueState::Smtp(_) => smtp::answer(answer).to_vec(),
            DialogueState::Pop3(_) => pop3::answer(answer).to_vec(),
            DialogueState::Imap(_) => [&ask.tag, &b" "[..], imap::answer(answer)].concat(),
            DialogueState::Unknown | DialogueState::Opaque => Vec::new(),
        }
    }

    /// The line that asks the server for TLS.
    pub(super) fn request(&self, ask: &StartTlsRequest) -> Vec<u8> {
        match &self.dialogue {
            DialogueState::Smtp(_) => b"STARTTLS\r\n".to_vec(),
            DialogueState::Pop3(_) => b"STLS\r\n".to_vec(),
            DialogueState::Imap(_) => [&ask.tag, &b" STARTTLS\r\n"[..]].concat(),
            DialogueState::Unknown | DialogueState::Opaque => Vec::new(),
        }
    }

    /// The client's STARTTLS was answered. `secured`: TLS begins, and nothing that came before it counts.
    pub(super) fn answered(&mut self, secured: bool) {
        self.asked = None;
        self.line.clear();
        if secured {
            self.offer = Offer::Hide;
        }
    }

    fn listen(&mut self, first: u8) {
        match (first, &self.dialogue) {
            (_, DialogueState::Opaque) => {}
            (b'2' | b'4' | b'5', DialogueState::Smtp(_))
            | (b'+' | b'-', DialogueState::Pop3(_))
            | (b'*', DialogueState::Imap(_)) => {}
            (b'2' | b'4' | b'5', _) => self.dialogue = DialogueState::Smtp(SmtpDialogue::default()),
            (b'+' | b'-', _) => self.dialogue = DialogueState::Pop3(Pop3Dialogue::default()),
            (b'*', _) => self.dialogue = DialogueState::Imap(ImapDialogue::default()),
            _ => self.dialogue = DialogueState::Opaque,
        }
    }

    /// A dialogue that does not understand any more falls silent.
    fn settle(&mut self) {
        let lost = match &self.dialogue {
            DialogueState::Smtp(smtp) => smtp.is_lost(),
            DialogueState::Pop3(pop3) => pop3.is_lost(),
            DialogueState::Imap(imap) => imap.is_lost(),
            DialogueState::Unknown | DialogueState::Opaque => false,
        };
        if lost {
            self.dialogue = DialogueState::Opaque;
        }
    }
}

impl StartTlsRequest {
    /// Read from a line that asks for TLS; `rest`: what stands behind the word.
    fn new(tag: &[u8], rest: &[u8], offer: Offer) -> Self {
        let refusal = match offer {
            Offer::Hide => Some(StartTlsAnswer::OutOfPlace),
            Offer::Show if !rest.trim_ascii().is_empty() => Some(StartTlsAnswer::NoArguments),
            Offer::Show => None,
        };
        Self { tag: tag.to_vec(), refusal }
    }

    /// What to answer, unless TLS can begin.
    pub(super) fn refusal(&self) -> Option<StartTlsAnswer> {
        self.refusal
    }
}

//! The server's side: lines, the literals in them, and where a response ends that quotes or breaks its lines badly.

use super::complete::Completion;
use super::fetch::{Fetch, FetchCommand};
use super::forged::Suspects;
use super::lex::{self, Shape};
use super::response::{self, Response};
use super::{CommandTask, CommandWait, Flight, Imap};
use crate::engine::frame::{FramingMode, Line};
use crate::engine::pending::Waiting;
use crate::engine::session::state::EventContext;
use crate::event::Dir;
use crate::event::Text;
use crate::event::TransactionOutcome;
use crate::event::{Untagged, Verb};

/// What the next line may belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    /// None is open.
    #[default]
    Nothing,
    /// A FETCH response.
    Fetch,
    /// Other untagged data.
    Data(Untagged),
    /// The rest of a status response.
    Status,
    /// A line of no known form, which had a literal.
    Loose,
}

/// Lines in a row that must have the form of responses, after a gap in which a message may have begun.
pub(super) const DOUBT: u8 = 2;

/// What came behind a gap in which a message may have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Headless {
    /// No gap, or a response came since.
    #[default]
    No,
    /// Nothing yet.
    Gap,
    /// A line that is no response, perhaps the rest of one.
    Line,
    /// Lines of a message.
    Message,
}

/// The server's side.
#[derive(Debug, Default)]
pub(super) struct ImapServer {
    /// Its first line came.
    pub(super) opened: bool,
    open: Open,
    /// The line before ended although a list or a string was open: the next one may go on with it.
    unfinished: bool,
    /// What is open of [`Open::Data`].
    shape: Shape,
    /// The current or last FETCH response.
    pub(super) fetch: Option<Box<Fetch>>,
    /// Octets of the logical line so far.
    pub(super) octets: u64,
    /// Octets of a literal are coming.
    moving: bool,
    /// The status response has a response code.
    pub(super) coded: bool,
    /// The tag that the response names.
    pub(super) correlator: Text,
    /// The next line may lack its head.
    pub(super) broken: bool,
    /// Stream offset behind the last gap.
    pub(super) gap: Option<u64>,
    /// After a gap: so many lines in a row must have the form of responses before one is believed to be no text of a
    /// message.
    pub(super) doubt: u8,
    /// What came behind the last gap.
    pub(super) headless: Headless,
    /// A completion that is not believed yet.
    pub(super) candidate: Option<Box<Completion>>,
    /// Completions that may be text of a string.
    pub(super) suspects: Suspects,
}

impl ImapServer {
    /// `certain`: the connection's start was seen.
    pub(super) fn new(certain: bool) -> Self {
        Self { doubt: if certain { 0 } else { DOUBT }, ..Self::default() }
    }

    pub(super) fn shrink(&mut self) {
        if self.open != Open::Fetch {
            self.fetch = None;
        }
        self.correlator.shrink();
        self.suspects.shrink();
    }

    pub(super) fn fetch(&mut self) -> &mut Fetch {
        self.fetch.get_or_insert_default()
    }

    /// Whether the last line left a list or a string of a response open.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished && self.open != Open::Nothing
    }

    /// Whether a literal is moving.
    pub(super) fn is_moving(&self) -> bool {
        self.moving
    }

    fn is_quoted(&self) -> bool {
        match self.open {
            Open::Fetch => self.fetch.as_ref().is_some_and(|fetch| fetch.is_quoted()),
            _ => self.shape.quoted,
        }
    }
}

impl Imap {
    pub(super) fn server_line(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let first = !std::mem::replace(&mut self.server.opened, true);
        let broken = std::mem::take(&mut self.server.broken);
        if self.server.open != Open::Nothing {
            if !self.server.unfinished || self.goes_on(line.octets) {
                self.server.octets = self.server.octets.saturating_add(line.wire);
                if self.server.unfinished && !line.octets.first().is_some_and(|o| lex::is_blank(*o)) {
                    self.suspected(line, cx);
                }
                return self.piece(self.server.open, line.octets, cx);
            }
            self.end_response(cx);
            self.server.suspects.begin(true);
        } else {
            self.server.suspects.begin(false);
        }
        self.server.octets = line.wire;
        let response = response::parse(line.octets);
        match response {
            Response::Other => self.rest_of_message(),
            _ => self.end_headless(cx),
        }
        if self.server.doubt > 0 && !self.is_believed(&response, line, cx) {
            return;
        }
        match response {
            Response::Tagged(..) if self.server.suspects.doubts() && self.suspected(line, cx) => {}
            Response::Continuation(text) if !broken || self.is_waited_for() => self.continuation(text, cx),
            Response::Continuation(_) => {}
            Response::Tagged(tag, status, text) => self.tagged(tag, status, text, line, cx),
            Response::Untagged(number, kind, text) => {
                if first && self.certain && number.is_none() {
                    self.greeting(kind, text, line, cx);
                } else {
                    self.untagged(number, kind, text, line, cx);
                }
            }
            // A line that ends in `{n}` is followed by n octets, whatever it is.
            Response::Other if lex::literal(line.octets).is_some() => {
                self.server.shape = Shape::default();
                self.piece(Open::Loose, line.octets, cx);
            }
            // The rest of a string that seemed to be over.
            Response::Other if !line.octets.is_empty() => self.server.suspects.clear(),
            Response::Other => {}
        }
    }

    /// Whether a line that follows one with a list or a string open belongs to it. Quotes that do not balance leave one
    /// open that is over, so what is certainly a response is one; a folded header field that was sent as it is begins with
    /// a blank, and its writer must not be able to complete a command.
    fn goes_on(&self, line: &[u8]) -> bool {
        if line.first().is_none_or(|o| lex::is_blank(*o)) {
            return true;
        }
        match response::parse(line) {
            Response::Untagged(_, Untagged::Other, _) => self.server.is_quoted(),
            Response::Untagged(..) => false,
            // If it completes a command, that is told once it shows.
            Response::Tagged(tag, ..) => !self.is_in_flight(tag) || !self.client.awaiting,
            Response::Continuation(_) => !self.is_waited_for(),
            Response::Other => true,
        }
    }

    pub(super) fn server_octets(&mut self, octets: &[u8], last: bool, cx: &mut EventContext<'_>) {
        self.server.octets = self.server.octets.saturating_add(octets.len() as u64);
        self.server.moving = !last;
        if self.server.open == Open::Fetch {
            self.server.fetch().octets(octets, last, cx);
        }
    }

    pub(super) fn server_lost(&mut self, octets: u64, last: bool, cx: &mut EventContext<'_>) {
        self.server.octets = self.server.octets.saturating_add(octets);
        self.server.moving = !last;
        if self.server.open == Open::Fetch {
            self.server.fetch().lost(octets, last, cx);
        }
    }

    /// What is open of the server's line ends here.
    pub(super) fn server_end(&mut self, cut: TransactionOutcome, cx: &mut EventContext<'_>) {
        self.server.moving = false;
        if self.server.unfinished {
            return self.end_response(cx);
        }
        if std::mem::take(&mut self.server.open) == Open::Fetch {
            self.server.fetch().end(Some(cut), cx);
        }
    }

    /// A piece of a logical line: up to a literal, or to its end.
    fn piece(&mut self, open: Open, text: &[u8], cx: &mut EventContext<'_>) {
        let header = match open {
            Open::Status => lex::literal(text).filter(|h| !lex::ends_quoted(text.get(..h.start).unwrap_or_default())),
            _ => lex::literal(text),
        };
        let head = text.get(..header.map_or(text.len(), |h| h.start)).unwrap_or_default();
        let is_open = match open {
            Open::Fetch => {
                let request = self.request();
                let mailbox = self.selected.as_bytes();
                let fetch = self.server.fetch();
                fetch.text(head, header.is_some(), request, mailbox, cx);
                fetch.is_open()
            }
            Open::Data(_) => {
                self.server.shape.read(head);
                self.server.shape.is_open()
            }
            Open::Status | Open::Loose | Open::Nothing => false,
        };
        self.server.open = open;
        self.server.unfinished = header.is_none() && is_open;
        if let Some(header) = header {
            self.server.shape.quoted = false;
            self.server.moving = header.octets > 0;
            cx.switch(Dir::ToClient, FramingMode::Octets(header.octets));
        } else if !is_open {
            self.server.suspects.balanced();
            self.end_response(cx);
        }
    }

    /// The response that is open is over.
    pub(super) fn end_response(&mut self, cx: &mut EventContext<'_>) {
        self.server.unfinished = false;
        match std::mem::take(&mut self.server.open) {
            Open::Fetch => {
                self.server.fetch().end(None, cx);
                self.attribute(Untagged::Fetch, cx);
            }
            Open::Data(kind) => self.attribute(kind, cx),
            Open::Status | Open::Loose | Open::Nothing => {}
        }
    }

    /// A FETCH response begins with `text`.
    pub(super) fn begin_fetch(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        self.piece(Open::Fetch, text, cx);
    }

    /// Untagged data of `kind` begins with `text`.
    pub(super) fn begin_data(&mut self, kind: Untagged, text: &[u8], cx: &mut EventContext<'_>) {
        self.server.shape = Shape::default();
        self.piece(Open::Data(kind), text, cx);
    }

    /// A status response goes on after a literal only inside its response code.
    pub(super) fn rest_of_status(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        if text.starts_with(b"[") && lex::response_code(text).0.is_none() && lex::literal(text).is_some() {
            self.piece(Open::Status, text, cx);
        }
    }

    /// The command that the current FETCH response answers, as far as it is known.
    fn request(&self) -> Option<FetchCommand> {
        let fetch = self.server.fetch.as_deref()?;
        let holds = |waiting: &&Waiting<Flight>| match waiting.command.verb {
            Verb::Fetch => waiting.kind.set.may_hold(fetch.number),
            Verb::UidFetch => fetch.uid.is_none_or(|uid| waiting.kind.set.may_hold(uid)),
            _ => false,
        };
        let waiting = self.pending.iter().find(holds)?;
        let head = match &waiting.kind.task {
            CommandTask::Fetch(asked, _) => asked.head,
            _ => None,
        };
        let command = &waiting.command;
        Some(FetchCommand { verb: command.verb, began: command.began, sent: command.sent, head })
    }

    fn continuation(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.iter_mut().find(|w| w.kind.wait != CommandWait::Nothing) else { return };
        match std::mem::replace(&mut waiting.kind.wait, CommandWait::Nothing) {
            CommandWait::Literal(octets) => self.literal_wanted(octets, cx),
            CommandWait::Challenge => {
                if let CommandTask::Auth(exchange, _) = &mut waiting.kind.task {
                    exchange.challenge(text, &mut cx.session.secrets);
                    exchange.asked(cx.stamp.at);
                }
                self.response_wanted(cx);
            }
            CommandWait::Idle => {
                if let CommandTask::Idle(since, _) = &mut waiting.kind.task {
                    *since = Some(cx.stamp.at);
                    cx.idle();
                }
            }
            CommandWait::Nothing => {}
        }
    }

    /// Whether a command waits for `+`.
    fn is_waited_for(&self) -> bool {
        self.pending.iter().any(|w| w.kind.wait != CommandWait::Nothing)
    }
}

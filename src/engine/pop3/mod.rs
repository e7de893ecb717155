//! POP3 (RFC 1939, 2449, 2595, 5034): what the client asks, what the server answers, which mail went where.
//!
//! Replies carry no tag, so the queue of commands is everything: the command at its head decides whether `+OK` is
//! one line or the first of many. Where the commands do not tell, the line that follows does. The session's life is
//! here; commands are in `client`, status lines in `server` and `answer`, lists and messages in `text`, losses in `loss`.
//! Must never take a line of a message for a reply.

mod answer;
mod body;
mod client;
mod grammar;
mod loss;
mod server;
mod suspect;
mod text;
mod xmit;

use super::frame::{Frame, LineEnding};
use super::pending::{Pending, ReplyArrival, Waiting};
use super::sasl::Exchange;
use super::session::state::EventContext;
use crate::event::Both;
use crate::event::{Dir, End, Text};
use crate::event::{How, Incomplete, Mechanism, Missing, Phase, Transaction, TransactionOutcome};
use crate::time::Timestamp;
use body::{BodyContent, Cut, Loose, MultilineReply};
pub(super) use suspect::suspect;

/// What is remembered with a command that waits.
#[derive(Debug)]
struct QueuedCommand {
    ask: Ask,
    /// Message number.
    number: Option<u64>,
    /// Octets of the server that the client had received when it sent the command.
    peer: u64,
    /// Commands before it were lost.
    after_gap: bool,
    /// A message behind a gap may be the one that it asks for: none is told of as missing.
    told: bool,
    /// Lost commands before it had no reply when it was sent: the next replies are theirs.
    shadowed: bool,
}

/// What the answer to a command will mean.
#[derive(Debug)]
enum Ask {
    /// One line, without further meaning.
    Single,
    User,
    /// PASS or APOP.
    Login(Box<Exchange>),
    /// AUTH with a mechanism; the exchange is [`Pop3::exchange`].
    Auth,
    Stls,
    Stat,
    Dele,
    Rset,
    Quit,
    /// RETR or TOP.
    Message,
    /// A list.
    List,
    /// One line or a list: the next line will tell.
    Maybe,
    /// XTND XMIT.
    Xmit,
}

/// What the client's next line is.
#[derive(Debug)]
enum Expects {
    Command,
    /// A SASL response.
    Response,
    /// NTLM was answered `+OK`: a response if that was a challenge (MS-OXPOP3 section 3.2.5.1), else a command.
    Ntlm(ReplyArrival),
    /// What the server said in the exchange was lost: a response if it looks like one, else a command.
    Either,
    /// A SASL response of an exchange whose start was not seen.
    Stray,
}

/// A `+OK` that may or may not be the first line of a list.
#[derive(Debug)]
struct Doubt {
    entry: Option<Waiting<QueuedCommand>>,
    status: ReplyArrival,
    loose: bool,
}

/// A message on its way by XTND XMIT.
#[derive(Debug)]
struct Xmit {
    transaction: Box<Transaction>,
    /// Time of its first octet.
    began: Option<Timestamp>,
    /// Time of its end.
    sent: Option<Timestamp>,
    /// A lone dot whose line ends are not CRLF: the end, or text.
    loose: Option<Loose>,
    /// The server's answer, whether it was positive; its end is held back still.
    answered: Option<(bool, ReplyArrival)>,
}

/// State of a session.
#[derive(Debug)]
pub(crate) struct Pop3 {
    certain: bool,
    greeted: bool,
    /// Lines of the client, and of either side, were seen.
    client_seen: bool,
    /// The client's last command did not end in CRLF.
    loose_client: bool,
    begun: bool,
    pending: Pending<QueuedCommand>,
    body: Option<MultilineReply>,
    doubt: Option<Doubt>,
    exchange: Option<Exchange>,
    expects: Expects,
    user: Text,
    /// Bytes of the line that gave it.
    user_octets: u64,
    xmit: Option<Box<Xmit>>,
    /// An attempt failed: what is no command now may be a secret that came too late.
    armed: bool,
    /// The server announced RESP-CODES.
    response_codes: bool,
    /// Stream offset after the server's last gap, while it is not known which replies were in it.
    server_gap: Option<u64>,
    /// Commands that replies behind that gap passed, at the least: such a reply answers a later one.
    passed: usize,
    /// One command alone waits, and its status line was among what is lost there.
    status_lost: bool,
    /// The next command is the first after a gap.
    client_gap: bool,
    /// What the client had of the server's octets when some of its own were lost.
    gap_peer: u64,
    /// The next line may lack its head.
    broken: Both<bool>,
    /// Octets of the client were lost: what is no command may be text of a message, until the server answers one.
    lost: bool,
    /// The client's last line was such text, so that the next ones may be too.
    in_text: bool,
    /// Sizes that LIST told, by message number from 1; 0 is unknown.
    listed: Vec<u32>,
}

impl Pop3 {
    /// `certain`: the connection's start was seen.
    pub(crate) fn new(certain: bool) -> Self {
        Self {
            certain,
            greeted: !certain,
            client_seen: false,
            loose_client: false,
            begun: false,
            pending: Pending::default(),
            body: None,
            doubt: None,
            exchange: None,
            expects: Expects::Command,
            user: Text::default(),
            user_octets: 0,
            xmit: None,
            armed: false,
            response_codes: false,
            server_gap: None,
            passed: 0,
            status_lost: false,
            client_gap: false,
            gap_peer: 0,
            broken: Both { to_server: !certain, to_client: false },
            lost: !certain,
            in_text: false,
            listed: Vec::new(),
        }
    }

    /// Gives back room that is not needed while the session stands still.
    pub(crate) fn shrink(&mut self) {
        self.pending.shrink();
        self.user.shrink();
        self.listed.shrink_to_fit();
    }

    /// Commands that were looked at since this was asked.
    pub(crate) fn take_looked_at(&self) -> u64 {
        self.pending.take_looked_at()
    }

    /// Whether nothing but the greeting is waited for.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.pending.is_empty() && self.body.is_none()
    }

    /// What the session is doing.
    pub(crate) fn phase(&self) -> Phase {
        let message = self.body.as_ref().is_some_and(|b| matches!(b.content, BodyContent::Message(_)));
        let login = |w: &Waiting<QueuedCommand>| matches!(w.kind.ask, Ask::User | Ask::Login(_) | Ask::Auth);
        if !self.greeted {
            Phase::Greeting
        } else if message || self.xmit.is_some() {
            Phase::Data
        } else if self.exchange.is_some() || self.pending.front().is_some_and(login) {
            Phase::Auth
        } else {
            Phase::Idle
        }
    }

    /// The next frame of `dir`.
    pub(crate) fn frame(&mut self, dir: Dir, frame: &Frame<'_>, cx: &mut EventContext<'_>) {
        match (dir, frame) {
            (Dir::ToServer, Frame::Line(line)) => {
                self.loose_client = line.ending != LineEnding::Crlf;
                self.client(line, cx);
            }
            (Dir::ToClient, Frame::Line(line)) => self.server(line, cx),
            (Dir::ToClient, Frame::Body(octets)) => self.text(octets, cx),
            (Dir::ToClient, Frame::BodyEnd { wire, .. }) => self.body_end(*wire, cx),
            (Dir::ToClient, Frame::LooseDot) => self.loose_dot(cx),
            (Dir::ToServer, Frame::Body(octets)) => self.xmit_text(octets, cx),
            (Dir::ToServer, Frame::LooseDot) => self.xmit_dot(cx),
            (Dir::ToServer, Frame::BodyEnd { wire, .. }) => self.xmit_sent(*wire, cx),
            (Dir::ToClient, Frame::LooseEnd { wire, end }) => self.loose_end(*wire, *end, cx),
            (Dir::ToServer, Frame::LooseEnd { wire, end }) => self.xmit_loose_end(*wire, *end, cx),
            (_, Frame::Octets { .. } | Frame::Lost { .. } | Frame::Opaque(_)) => {}
        }
        self.begun = true;
    }

    /// The session is over: what is open is emitted. `closed`: how the first side closed, if one did.
    pub(crate) fn finish(&mut self, closed: Option<How>, why: End, cx: &mut EventContext<'_>) {
        self.settle(cx);
        self.looked_at(b"", true, cx);
        let outcome = match (closed, why) {
            _ if self.server_gap.is_some() || self.is_torn() => TransactionOutcome::Unknown,
            _ if UNSURE.iter().any(|missing| cx.session.incomplete.has(*missing)) => TransactionOutcome::Unknown,
            (Some(_), _) => TransactionOutcome::ConnectionLost,
            (None, End::Timeout) => TransactionOutcome::TimedOut,
            _ => TransactionOutcome::Unknown,
        };
        if self.body.is_some() {
            self.end(None, outcome, cx);
        }
        if let Some(Xmit { mut transaction, .. }) = self.xmit.take().map(|xmit| *xmit) {
            transaction.message.finish(transaction.wire_size.is_some());
            transaction.outcome = outcome;
            cx.transaction(transaction);
        }
        while let Some(waiting) = self.pending.pop() {
            self.unmatched(waiting, outcome, cx);
        }
        self.give_up(cx);
    }

    /// Whether octets of the body that is going on were lost.
    fn is_torn(&self) -> bool {
        self.body.as_ref().is_some_and(|b| matches!(b.cut, Cut::Torn(_)))
    }
}

/// Losses behind which nobody knows what became of a message.
const UNSURE: [Missing; 4] = [Missing::StartMissing, Missing::ServerUnseen, Missing::ClientGap, Missing::ServerGap];

/// Whether `+OK` in answer to this exchange may be a challenge.
fn may_be_ntlm(exchange: &Exchange) -> bool {
    exchange.mechanism() == Some(Mechanism::Ntlm) && exchange.data() == 0
}

/// What may have hidden a reply.
fn unseen(cx: &EventContext<'_>) -> Incomplete {
    let mut missing = Incomplete::NONE;
    for what in [Missing::ServerGap, Missing::ServerUnseen] {
        if cx.session.incomplete.has(what) {
            missing.add(what);
        }
    }
    missing
}

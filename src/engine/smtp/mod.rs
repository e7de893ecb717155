//! SMTP, LMTP and submission (RFC 5321, RFC 2033, RFC 6409): what the lines of both sides mean.
//!
//! Replies come in the order of commands, so the envelope is made at reply time from a queue of what is waited for.
//! Only the client's framing is decided earlier: BDAT counts at once, DATA waits for its 354. After a loss nothing of
//! the client is interpreted until the server speaks, for a server that speaks has its client at a command.

mod client;
mod command;
mod delivery;
mod loss;
mod reply;
mod server;

use std::collections::VecDeque;

use super::event::{AuthOutcome, How, Missing, Outcome, Phase, Reply};
use super::frame::{Frame, Mode};
use super::ledger::Scope;
use super::pending::{Arrival, Pending};
use super::sasl::Exchange;
use super::{Dir, End};

use delivery::Delivery;
use reply::Assembler;

/// What a reply is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Greeting,
    /// An ordinary command.
    Command,
    /// RCPT, with the recipient's index if it is kept.
    Rcpt(Option<usize>),
    /// BDAT or BURL.
    Chunk {
        last: bool,
    },
    /// BDAT that servers read in different ways: the reply, and what was sent, tell whether its octets count.
    Doubtful(u64),
    /// XEXCH50, with the octets that follow a 354.
    Xexch50(u64),
    /// The end of data; `prdr` once a 353 came.
    Eod {
        prdr: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    want: Want,
    /// Number of the delivery that it belongs to.
    tx: Option<u32>,
    /// Client stream offset just after the command.
    end: u64,
}

/// State of a session.
#[derive(Debug)]
pub(crate) struct Smtp {
    pending: Pending<Kind>,
    replies: Assembler,
    /// Those that are open, oldest first: more than one only with pipelining.
    deliveries: VecDeque<Delivery>,
    /// Those that are over: emitted when the frame that ended them is handled, after its command.
    over: Vec<Delivery>,
    /// As the client sees it: the delivery that its next commands belong to.
    sending: Option<u32>,
    /// As the server sees it: the one whose MAIL it accepted.
    current: Option<u32>,
    /// The one whose message is moving.
    moving: Option<u32>,
    /// The message that is moving was answered before its end: the end has no reply of its own.
    answered_early: bool,
    exchange: Option<Exchange>,
    cancelled: bool,
    /// The next client line is a SASL response.
    sasl_turn: bool,
    /// AUTH was refused by the reply that ends at this server offset: credentials may follow as if they were commands.
    armed: Option<u64>,
    /// Client octets were lost, or the start: nothing is read until the server speaks.
    lost: Option<Lost>,
    /// The reply that ended that, to be taken once the client's octets before it are read.
    deferred: Option<(Arrival, Lost)>,
    /// Server octets were lost: replies are to be matched anew.
    unmatched: bool,
    /// LHLO was accepted, or asked: replies after the data are per recipient.
    is_lmtp: bool,
}

/// Where the client was when its octets were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Command,
    Body,
}

impl Smtp {
    /// `certain`: the connection's start was seen.
    pub(crate) fn new(certain: bool) -> Self {
        let mut pending = Pending::default();
        if certain {
            pending.push(Box::default(), Kind { want: Want::Greeting, tx: None, end: 0 });
        }
        Self {
            pending,
            replies: Assembler::default(),
            deliveries: VecDeque::new(),
            over: Vec::new(),
            sending: None,
            current: None,
            moving: None,
            answered_early: false,
            exchange: None,
            cancelled: false,
            sasl_turn: false,
            armed: None,
            lost: (!certain).then_some(Lost::Command),
            deferred: None,
            unmatched: false,
            is_lmtp: false,
        }
    }

    /// How the client's octets are to be read at first.
    pub(crate) fn first_mode(&self) -> Mode {
        if self.lost.is_some() { Mode::Await } else { Mode::Line }
    }

    /// Gives back room that is not needed while the session stands still.
    pub(crate) fn rest(&mut self) {
        self.pending.rest();
        self.deliveries.shrink_to_fit();
        self.over.shrink_to_fit();
        if self.deferred.is_none() {
            self.replies.rest();
        }
    }

    /// What the session is doing.
    pub(crate) fn phase(&self) -> Phase {
        let greeting = self.pending.front().is_some_and(|w| w.kind.want == Want::Greeting);
        match () {
            () if greeting => Phase::Greeting,
            () if self.exchange.is_some() => Phase::Auth,
            () if self.moving.is_some() || self.deliveries.iter().any(|d| d.eod.is_some()) => Phase::Data,
            () if !self.deliveries.is_empty() => Phase::Transaction,
            () => Phase::Idle,
        }
    }

    /// The next frame of `dir`.
    pub(crate) fn frame(&mut self, dir: Dir, frame: &Frame<'_>, scope: &mut Scope<'_>) {
        match (dir, frame) {
            (Dir::ToServer, Frame::Line(line)) => self.client(line, scope),
            (Dir::ToClient, Frame::Line(line)) => self.server(line, scope),
            (Dir::ToServer, Frame::Body(octets)) => self.body(octets, scope),
            (Dir::ToServer, Frame::BodyEnd { wire }) => self.end_of_data(*wire, scope),
            (Dir::ToServer, Frame::Octets { octets, last }) => {
                self.body(octets, scope);
                self.chunk(octets.len() as u64, *last, scope);
            }
            (Dir::ToServer, Frame::Lost { octets, last }) => {
                if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
                    delivery.tx.incomplete.add(Missing::ClientGap);
                    delivery.tx.message.gap(*octets);
                }
                self.chunk(*octets, *last, scope);
            }
            (Dir::ToClient, _) | (Dir::ToServer, Frame::LooseEnd { .. } | Frame::Opaque(_)) => {}
        }
        self.flush(scope);
    }

    fn flush(&mut self, scope: &mut Scope<'_>) {
        for delivery in self.over.drain(..) {
            scope.transaction(delivery.tx);
        }
    }

    /// The session is over: what is open is emitted. `closed`: how the first side closed, if one did.
    pub(crate) fn finish(&mut self, closed: Option<How>, why: End, scope: &mut Scope<'_>) {
        let blind = scope.ledger.incomplete.has(Missing::ServerUnseen);
        if let Some(exchange) = self.exchange.take() {
            let auth = exchange.finish(AuthOutcome::Incomplete, Reply::default(), None, scope.ledger.tls_mode());
            scope.auth(auth);
        }
        while !self.pending.is_empty() {
            self.drop_oldest(scope);
        }
        while let Some(mut delivery) = self.deliveries.pop_front() {
            if delivery.mail.is_none()
                && !blind
                && !delivery.tx.incomplete.has(Missing::ServerGap)
                && !delivery.tx.incomplete.has(Missing::StartMissing)
            {
                scope.ledger.forget(delivery.tx);
                continue;
            }
            let hidden = blind || delivery.tx.incomplete.has(Missing::ServerGap);
            let outcome = match (closed, why) {
                _ if blind => Outcome::Unknown,
                _ if hidden && delivery.eod.is_some() => Outcome::Unknown,
                _ if scope.ledger.quit_sent && delivery.eod.is_none() => Outcome::Aborted,
                (Some(_), _) => Outcome::ConnectionLost,
                (None, End::Timeout) => Outcome::TimedOut,
                (None, End::Closed) => Outcome::ConnectionLost,
                (None, End::Drain | End::Evicted | End::CaptureEnd) => Outcome::Unknown,
            };
            delivery.ended(outcome);
            delivery.tx.probe = outcome == Outcome::Aborted && delivery.is_probe();
            if delivery.tx.outcome == Outcome::Unknown && delivery.eod.is_some() {
                delivery.tx.stage = None;
            }
            if blind {
                delivery.tx.incomplete.add(Missing::ServerUnseen);
                delivery.tx.pipelined = false;
            }
            if delivery.eod.is_none() && delivery.tx.has_message {
                delivery.tx.message.finish(false);
            }
            scope.transaction(delivery.tx);
        }
    }
}

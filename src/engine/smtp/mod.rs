//! SMTP, LMTP and submission (RFC 5321, RFC 2033, RFC 6409): what the lines of both sides mean.
//!
//! Replies come in the order of commands, so the envelope is made at reply time from a queue of what is waited for; which
//! command a reply answers is decided in [`evidence`]. Only the client's framing is decided earlier: BDAT counts at once,
//! DATA waits for its 354. Where the client's bytes can be read in several ways (after a loss, behind a dot line that
//! may be the end of data) they are held until the server speaks, for what a server answers shows what it took: see
//! [`hold`].

mod client;
mod command;
mod delivery;
mod evidence;
mod hold;
mod loss;
mod reply;
mod server;
mod suspect;

use std::collections::VecDeque;

use super::frame::{Frame, FramingMode};
use super::pending::{Pending, ReplyArrival};
use super::sasl::Exchange;
use super::session::state::{EventContext, Stamp};
use crate::event::{AuthOutcome, Command, How, Missing, Phase, Protocol, Reply, TransactionOutcome};
use crate::event::{Dir, End};

use delivery::Delivery;
use evidence::PairingEvidence;
use hold::Hold;
use reply::Assembler;
pub(super) use suspect::suspect;

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
    /// Commands that were not seen, before the capture or in a loss: any number.
    Unseen,
    /// So many commands that there was no room for.
    Dropped(u32),
}

#[derive(Clone, Copy, Debug)]
struct CommandFacts {
    want: Want,
    /// Number of the delivery that it belongs to.
    tx: Option<u32>,
    /// Client stream offset just after the command.
    end: u64,
    /// Bytes of the server that the client had received when it sent it.
    from: u64,
    /// Not the same for two in the queue.
    id: u32,
    /// Unsure: its reply may have come unseen, or will never come. It is over once the client sends on and has received
    /// so many bytes of the server. `None`: its reply is still to come.
    over: Option<u64>,
}

/// State of a session.
#[derive(Debug)]
pub(crate) struct Smtp {
    pending: Pending<CommandFacts>,
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
    /// A 334 came that no AUTH asked for: the client's next line may be the response to it.
    stray_challenge: bool,
    /// It asks for the user's name.
    name_asked: bool,
    evidence: PairingEvidence,
    /// Why the client's bytes are held, if not for the answer to the last command.
    hold: Option<Hold>,
    /// Client stream offset from which on they are.
    held_from: u64,
    /// Where and when that was.
    held_stamp: Stamp,
    /// The reply that ended that, to be taken once the client's bytes before it are read.
    deferred: Option<ReplyArrival>,
    /// Client lines that begin before this offset are what is left of something that was lost.
    skip_until: u64,
    /// End of the last gap among the server's bytes.
    server_gap: u64,
    /// A reply of the server was seen.
    heard: bool,
    /// A hello was accepted.
    greeted: bool,
    /// EHLO was refused.
    ehlo_refused: bool,
    /// Commands may have passed unseen.
    lossy: bool,
    /// A MAIL may have passed unseen: RCPT and DATA without one belong to it.
    unseen_envelope: bool,
    /// LHLO was accepted, or asked, or the port is that of LMTP: replies after the data are per recipient.
    is_lmtp: bool,
    /// EHLO was sent where LMTP is expected, and not answered yet: servers of LMTP refuse it (RFC 2033 section 4.1).
    asked_smtp: bool,
}

impl Smtp {
    /// `certain`: the connection's start was seen.
    pub(crate) fn new(certain: bool, protocol: Protocol) -> Self {
        let mut smtp = Self {
            pending: Pending::default(),
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
            stray_challenge: false,
            name_asked: false,
            evidence: PairingEvidence::default(),
            hold: (!certain).then_some(Hold::Commands),
            held_from: 0,
            held_stamp: Stamp::default(),
            deferred: None,
            skip_until: 0,
            server_gap: 0,
            heard: false,
            greeted: false,
            ehlo_refused: false,
            lossy: !certain,
            unseen_envelope: !certain,
            is_lmtp: protocol == Protocol::Lmtp,
            asked_smtp: false,
        };
        let want = if certain { Want::Greeting } else { Want::Unseen };
        let over = (!certain).then_some(u64::MAX);
        smtp.pending.push(Box::default(), CommandFacts { want, tx: None, end: 0, from: 0, id: 0, over });
        smtp.weigh();
        smtp
    }

    /// How the client's octets are to be read at first.
    pub(crate) fn first_mode(&self) -> FramingMode {
        if self.hold.is_some() { FramingMode::Await } else { FramingMode::Line }
    }

    /// Puts a command in the queue; `end` is the client's stream offset just after it.
    fn wait(&mut self, command: Box<Command>, want: Want, tx: Option<u32>, end: u64, cx: &mut EventContext<'_>) {
        if self.pending.len() >= cx.limits.pending {
            cx.missing(Missing::Unparseable);
            self.make_room(cx);
        }
        let from = cx.stamp.peer;
        let over = (from < self.server_gap).then_some(self.server_gap);
        let id = self.evidence.next_id();
        self.pending.push(command, CommandFacts { want, tx, end, from, id, over });
        if over.is_some() {
            self.weigh();
        }
    }

    /// Gives back room that is not needed while the session stands still.
    pub(crate) fn shrink(&mut self) {
        self.pending.shrink();
        self.deliveries.shrink_to_fit();
        self.over.shrink_to_fit();
        self.evidence.shrink();
        if self.deferred.is_none() {
            self.replies.shrink();
        }
    }

    /// Commands that were looked at since this was asked.
    pub(crate) fn take_looked_at(&self) -> u64 {
        self.pending.take_looked_at()
    }

    /// Whether nothing but the greeting is waited for.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.pending.iter().all(|waiting| waiting.kind.want == Want::Greeting)
    }

    /// What the session is doing.
    pub(crate) fn phase(&self) -> Phase {
        let greeting = self.pending.front().is_some_and(|w| w.kind.want == Want::Greeting);
        match () {
            () if greeting => Phase::Greeting,
            () if self.exchange.is_some() => Phase::Auth,
            // The oldest is the one whose message comes first.
            () if self.moving.is_some() || self.deliveries.front().is_some_and(|d| d.eod.is_some()) => Phase::Data,
            () if !self.deliveries.is_empty() => Phase::Transaction,
            () => Phase::Idle,
        }
    }

    /// The next frame of `dir`.
    pub(crate) fn frame(&mut self, dir: Dir, frame: &Frame<'_>, cx: &mut EventContext<'_>) {
        match (dir, frame) {
            (Dir::ToServer, Frame::Line(line)) => self.client(line, cx),
            (Dir::ToClient, Frame::Line(line)) => self.server(line, cx),
            (Dir::ToServer, Frame::Body(octets)) => self.body(octets, cx),
            (Dir::ToServer, Frame::LooseDot) => {
                if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
                    delivery.body.get_or_insert(cx.stamp.at);
                    cx.loose_dot(&mut delivery.tx);
                }
            }
            (Dir::ToServer, Frame::BodyEnd { wire, end }) => self.end_of_data(*wire, *end, cx),
            (Dir::ToServer, Frame::LooseEnd { wire, end }) => {
                self.hold = Some(Hold::LooseEnd { wire: *wire });
                (self.held_from, self.held_stamp) = (*end, cx.stamp);
            }
            (Dir::ToServer, Frame::Octets { octets, last }) => {
                self.body(octets, cx);
                self.chunk(octets.len() as u64, *last, cx);
            }
            (Dir::ToServer, Frame::Lost { octets, last }) => {
                if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
                    delivery.tx.incomplete.add(Missing::ClientGap);
                    delivery.tx.message.gap(*octets);
                }
                self.chunk(*octets, *last, cx);
            }
            (Dir::ToClient, _) | (Dir::ToServer, Frame::Opaque(_)) => {}
        }
        self.flush(cx);
    }

    fn flush(&mut self, cx: &mut EventContext<'_>) {
        for delivery in self.over.drain(..) {
            if delivery.has_no_envelope() {
                cx.session.forget(delivery.tx);
            } else {
                cx.transaction(delivery.tx);
            }
        }
    }

    /// The session is over: what is open is emitted. `closed`: how the first side closed, if one did.
    pub(crate) fn finish(&mut self, closed: Option<How>, why: End, cx: &mut EventContext<'_>) {
        if closed.is_some() {
            self.settle(None, cx);
        }
        if let Some(exchange) = self.exchange.take() {
            let auth = exchange.finish(AuthOutcome::Incomplete, Reply::default(), None, cx.session.tls_mode());
            cx.auth(auth);
        }
        while !self.pending.is_empty() {
            self.drop_at_end(cx);
        }
        self.flush(cx);
        while let Some(delivery) = self.deliveries.pop_front() {
            self.finish_delivery(delivery, closed, why, cx);
        }
    }

    /// The session is over while this is open.
    fn finish_delivery(&self, mut delivery: Delivery, closed: Option<How>, why: End, cx: &mut EventContext<'_>) {
        let blind = cx.session.incomplete.has(Missing::ServerUnseen);
        if delivery.came_to_nothing() && !blind {
            return cx.session.forget(delivery.tx);
        }
        let outcome = match (closed, why) {
            _ if blind || delivery.is_lossy() => TransactionOutcome::Unknown,
            _ if cx.session.quit_sent && delivery.eod.is_none() && delivery.mail.is_some() => {
                TransactionOutcome::Aborted
            }
            (Some(_), _) | (None, End::Closed) => TransactionOutcome::ConnectionLost,
            (None, End::Timeout) => TransactionOutcome::TimedOut,
            (None, End::Drain | End::Evicted | End::CaptureEnd) => TransactionOutcome::Unknown,
        };
        if closed.is_none() && why == End::CaptureEnd && delivery.data_refused.take().is_some() {
            // The client may have asked again (RFC 5321 section 4.1.1.4): the envelope stays.
            delivery.tx.last.clear();
        }
        delivery.ended(outcome);
        if delivery.tx.incomplete.has(Missing::ServerGap) {
            // A goodbye may have passed unseen.
            delivery.tx.outcome = TransactionOutcome::Unknown;
        }
        delivery.tx.probe = delivery.tx.outcome == TransactionOutcome::Aborted && delivery.is_probe();
        if delivery.tx.outcome == TransactionOutcome::Unknown && delivery.eod.is_some() {
            delivery.tx.stage = None;
        }
        if blind {
            delivery.tx.incomplete.add(Missing::ServerUnseen);
            delivery.tx.pipelined = false;
        }
        if delivery.eod.is_none() && delivery.tx.has_message {
            delivery.tx.message.finish(false);
        }
        cx.transaction(delivery.tx);
    }
}

//! SMTP, LMTP and submission (RFC 5321, RFC 2033, RFC 6409): what the lines of both sides mean.
//!
//! Replies come in the order of commands, so the envelope is made at reply time from a queue of what is waited for.
//! Only the client's framing is decided earlier: BDAT counts at once, DATA waits for its 354. After a loss nothing of
//! the client is interpreted until the server speaks, for a server that speaks has its client at a command.

mod command;
mod delivery;
mod reply;

use std::collections::VecDeque;

use memchr::memmem;

use super::event::{
    AuthOutcome, Command, How, Kind as Moved, Mechanism, Missing, Outcome, Phase, Protocol, Reply, Status, TlsMode,
};
use super::frame::{Frame, Line, Mode};
use super::ledger::Scope;
use super::pending::{Arrival, Pending};
use super::sasl::Exchange;
use super::{Dir, End, Verb};

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
            pending.push(Command::default(), Kind { want: Want::Greeting, tx: None, end: 0 });
        }
        Self {
            pending,
            replies: Assembler::default(),
            deliveries: VecDeque::new(),
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
            (Dir::ToClient, _) | (Dir::ToServer, Frame::Opaque(_)) => {}
        }
    }

    /// `lost` octets of `dir` are missing, beyond those that counted octets absorbed.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, scope: &mut Scope<'_>) {
        if dir == Dir::ToClient {
            self.replies.reset();
            self.unmatched = true;
            for delivery in &mut self.deliveries {
                delivery.tx.incomplete.add(Missing::ServerGap);
            }
            return;
        }
        for delivery in &mut self.deliveries {
            delivery.tx.incomplete.add(Missing::ClientGap);
        }
        let moving = self.moving.and_then(|number| self.delivery(number));
        if let Some(delivery) = moving {
            delivery.tx.message.gap(lost);
            delivery.tx.message.gap_unknown();
            self.lost = Some(Lost::Body);
        } else {
            self.lost = Some(Lost::Command);
        }
        scope.switch(Dir::ToServer, Mode::Await);
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, scope: &mut Scope<'_>) {
        if let Some(lost) = self.lost {
            if surely {
                self.lost = None;
                let body = lost == Lost::Body || !begins_with_command(held);
                if body && self.moving.is_none() {
                    self.headless(scope);
                }
                scope.switch(Dir::ToServer, if body { Mode::Dot } else { Mode::Line });
            }
            return;
        }
        if held.is_empty() && !surely {
            return;
        }
        let verb = self.pending.back().map(|w| w.command.verb);
        match verb {
            Some(Verb::Data) => {
                let known = memchr::memchr(b'\n', held).is_some();
                if known || surely {
                    if begins_with_command(held) {
                        scope.switch(Dir::ToServer, Mode::Line);
                    } else {
                        self.go(scope);
                    }
                }
            }
            Some(Verb::Auth | Verb::XExps) if self.exchange.is_some() => {
                let line = held.split(|o| *o == b'\n').next().unwrap_or_default();
                self.sasl_turn = command::is_base64(line);
                scope.switch(Dir::ToServer, Mode::Line);
            }
            Some(Verb::StartTls | Verb::XAnonymousTls) if held.first() == Some(&0x16) => self.encrypt(scope),
            _ => scope.switch(Dir::ToServer, Mode::Line),
        }
    }

    /// What was held before a reply that came after a loss has been read: now the reply.
    pub(crate) fn resume(&mut self, scope: &mut Scope<'_>) {
        let Some((arrival, lost)) = self.deferred.take() else { return };
        scope.stamp = arrival.last;
        let code = self.code();
        if lost == Lost::Body && self.pending.is_empty() {
            // The server speaks: the end of the message went with the gap.
            if let Some(number) = self.moving.take() {
                return self.finals(Some(number), arrival, scope);
            }
        }
        if code == 354 {
            let data = self.pending.back().is_some_and(|w| w.command.verb == Verb::Data);
            while self.pending.len() > usize::from(data) {
                self.drop_oldest(scope);
            }
            if !data {
                self.headless(scope);
                self.pending.note(arrival);
                return scope.switch(Dir::ToServer, Mode::Dot);
            }
        }
        let eod = self.pending.front().is_some_and(|w| matches!(w.kind.want, Want::Eod { .. }));
        let doubtful = self.pending.iter().any(|w| w.command.verb == Verb::Other);
        while !eod && doubtful && self.pending.len() > 1 {
            self.drop_oldest(scope);
        }
        self.reply(arrival, scope);
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
            }
            if delivery.eod.is_none() && delivery.tx.has_message {
                delivery.tx.message.finish(false);
            }
            scope.transaction(delivery.tx);
        }
    }
}

/// The client.
impl Smtp {
    fn client(&mut self, line: &Line<'_>, scope: &mut Scope<'_>) {
        if self.sasl_turn {
            self.sasl_turn = false;
            if let Some(exchange) = &mut self.exchange {
                self.cancelled = !exchange.response(line.octets, &mut scope.ledger.secrets);
                if let Some(waiting) = self.pending.back_mut() {
                    let [client, _] = &mut waiting.command.octets;
                    *client += line.wire;
                }
                return scope.switch(Dir::ToServer, Mode::Await);
            }
        }
        let (mut verb, mut args) = command::verb(line.octets);
        if let Some(until) = self.armed {
            let word = line.octets.trim_ascii();
            let closes = [&b"QUIT"[..], b"RSET", b"*"].iter().any(|w| word.eq_ignore_ascii_case(w));
            let in_answer = scope.stamp.peer < until && command::is_base64(word);
            if closes || (verb != Verb::Other && !in_answer) {
                self.armed = None;
            } else {
                scope.ledger.secrets.learn(line.octets);
                (verb, args) = (Verb::Other, &[]);
            }
        }
        let mut command = scope.ledger.command(line.began, scope.stamp.at);
        command.verb = verb;
        command.pipelined = self.pending.is_pipelined(scope.stamp);
        command.octets = [line.wire, 0];
        if line.truncated {
            command.incomplete.add(Missing::Truncated);
        }
        if let Some(delivery) = self.sending.and_then(|number| self.delivery(number)) {
            delivery.tx.pipelined |= command.pipelined;
        }
        let want = self.command(&mut command, args, line, scope);
        let kind = Kind { want, tx: self.sending, end: line.end() };
        if matches!(verb, Verb::Rset | Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Quit) {
            self.sending = None;
        }
        if self.pending.len() >= scope.limits.pending {
            scope.missing(Missing::Unparseable);
            self.drop_oldest(scope);
        }
        self.pending.push(command, kind);
    }

    /// What `command` waits for, and what the client's next octets are.
    fn command(&mut self, command: &mut Command, args: &[u8], line: &Line<'_>, scope: &mut Scope<'_>) -> Want {
        match command.verb {
            Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml => {
                command.args.set(args);
                self.mail(args, command, scope);
            }
            Verb::Rcpt => {
                command.args.set(args);
                let limits = scope.limits;
                let path = command::path(args, b"TO");
                let delivery = self.sending.and_then(|number| self.delivery(number));
                let index = delivery.zip(path).and_then(|(delivery, path)| delivery.recipient(&path, limits));
                return Want::Rcpt(index);
            }
            Verb::Data => {
                if let Some(delivery) = self.sending.and_then(|number| self.delivery(number)) {
                    delivery.data_sent = true;
                }
                scope.switch(Dir::ToServer, Mode::Await);
            }
            Verb::Bdat => {
                command.args.set(args);
                return self.bdat(args, scope);
            }
            Verb::Burl => {
                let last = args.trim_ascii_end().to_ascii_uppercase().ends_with(b" LAST");
                let limits = scope.limits;
                if let Some(delivery) = self.sending.and_then(|number| self.delivery(number)) {
                    delivery.data_sent = true;
                    delivery.tx.chunks = delivery.tx.chunks.saturating_add(1);
                    delivery.data(Verb::Burl, limits);
                    delivery.tx.message.gap_unknown();
                    if last {
                        delivery.end_of_data(scope.stamp.at);
                    }
                }
                return Want::Chunk { last };
            }
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => {
                command.args.set(args);
                self.is_lmtp = command.verb == Verb::Lhlo;
                scope.context.protocol = if self.is_lmtp { Protocol::Lmtp } else { Protocol::Smtp };
                if !scope.ledger.helo.is_present() && !args.is_empty() {
                    scope.ledger.helo.set(args);
                }
            }
            Verb::Quit => scope.ledger.quit_sent = true,
            Verb::Auth | Verb::XExps => self.auth(command, args, line, scope),
            Verb::StartTls | Verb::XAnonymousTls => {
                scope.ledger.tls.requested = Some(true);
                scope.switch(Dir::ToServer, Mode::Await);
            }
            Verb::Turn | Verb::Atrn | Verb::Xclient => {
                if command.verb == Verb::Xclient {
                    self.xclient(args, scope);
                }
                scope.switch(Dir::ToServer, Mode::Await);
            }
            Verb::Xexch50 => {
                let octets = args.split(|o| *o == b' ').find_map(command::number).unwrap_or(0);
                scope.switch(Dir::ToServer, Mode::Await);
                return Want::Xexch50(octets);
            }
            Verb::Vrfy | Verb::Expn | Verb::Etrn => command.args.set(args),
            _ => {}
        }
        Want::Command
    }

    fn mail(&mut self, args: &[u8], command: &Command, scope: &mut Scope<'_>) {
        let mut tx = scope.ledger.transaction(Moved::Delivery, command.began);
        tx.pipelined = command.pipelined;
        let mut delivery = Delivery::new(tx);
        if let Some(path) = command::path(args, b"FROM") {
            delivery.sender(&path, scope.limits);
        }
        if scope.ledger.incomplete.has(Missing::ServerUnseen) {
            delivery.tx.incomplete.add(Missing::ServerUnseen);
        }
        self.sending = Some(delivery.tx.number);
        self.deliveries.push_back(delivery);
    }

    fn bdat(&mut self, args: &[u8], scope: &mut Scope<'_>) -> Want {
        let Some((size, last)) = command::bdat(args) else { return Want::Command };
        let limits = scope.limits;
        if let Some(delivery) = self.sending.and_then(|number| self.delivery(number)) {
            delivery.data_sent = true;
            delivery.tx.chunks = delivery.tx.chunks.saturating_add(1);
            delivery.data(Verb::Bdat, limits);
        }
        self.moving = self.sending;
        scope.switch(Dir::ToServer, Mode::Octets(size));
        Want::Chunk { last }
    }

    /// Some octets of a chunk passed; `last`: its end.
    fn chunk(&mut self, octets: u64, last: bool, scope: &mut Scope<'_>) {
        if let Some(waiting) = self.pending.back_mut()
            && let Want::Chunk { .. } = waiting.kind.want
        {
            let [client, _] = &mut waiting.command.octets;
            *client += octets;
            waiting.command.sent = scope.stamp.at;
        }
        if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
            *delivery.tx.wire_size.get_or_insert(0) += octets;
        }
        if !last {
            return;
        }
        let ends = self.pending.back().is_none_or(|w| w.kind.want == Want::Chunk { last: true });
        let at = scope.stamp.at;
        if let Some(delivery) = self.moving.take().and_then(|number| self.delivery(number))
            && ends
        {
            delivery.end_of_data(at);
        }
        if ends {
            self.sending = None;
        }
    }

    fn body(&mut self, octets: &[u8], scope: &mut Scope<'_>) {
        if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
            delivery.octets(octets, scope);
        }
    }

    fn end_of_data(&mut self, wire: u64, scope: &mut Scope<'_>) {
        let number = self.moving.take();
        self.sending = None;
        if std::mem::take(&mut self.answered_early) {
            return;
        }
        if let Some(delivery) = number.and_then(|number| self.delivery(number)) {
            delivery.end_of_data(scope.stamp.at);
            let whole =
                !delivery.tx.incomplete.has(Missing::ClientGap) && !delivery.tx.incomplete.has(Missing::StartMissing);
            delivery.tx.wire_size = whole.then_some(wire);
        }
        let waiting = Command { sent: scope.stamp.at, ..Command::default() };
        self.pending.push(waiting, Kind { want: Want::Eod { prdr: false }, tx: number, end: 0 });
    }

    fn auth(&mut self, command: &mut Command, args: &[u8], line: &Line<'_>, scope: &mut Scope<'_>) {
        let mut words = args.split(|o| *o == b' ').filter(|word| !word.is_empty());
        let Some(mechanism) = words.next() else { return };
        let initial = words.next();
        if let Some(known) = Mechanism::ALL.iter().find(|m| mechanism.eq_ignore_ascii_case(m.as_str().as_bytes())) {
            command.args.set(known.as_str().as_bytes());
        }
        self.cancelled = false;
        self.exchange = Some(Exchange::sasl(mechanism, initial, line.began, scope.stamp.at, &mut scope.ledger.secrets));
        scope.switch(Dir::ToServer, Mode::Await);
    }

    /// `ADDR=` and `PORT=` of XCLIENT: who the client really is.
    fn xclient(&mut self, args: &[u8], scope: &mut Scope<'_>) {
        let value = |wanted: &[u8]| {
            command::params(args)
                .find(|(k, _)| k.eq_ignore_ascii_case(wanted))
                .and_then(|(_, v)| v)
                .and_then(|v| std::str::from_utf8(v).ok())
        };
        let address = value(b"ADDR").map(|a| a.strip_prefix("IPV6:").or(a.strip_prefix("IPv6:")).unwrap_or(a));
        if let Some(ip) = address.and_then(|a| a.parse().ok()) {
            let port = value(b"PORT").and_then(|p| p.parse().ok()).unwrap_or(0);
            scope.ledger.proxied_client = Some(std::net::SocketAddr::new(ip, port));
        }
    }
}

/// The server.
impl Smtp {
    fn server(&mut self, line: &Line<'_>, scope: &mut Scope<'_>) {
        let helo = self.pending.front().is_some_and(|w| matches!(w.command.verb, Verb::Ehlo | Verb::Lhlo));
        let cap = if helo { scope.limits.capabilities } else { scope.limits.reply_text };
        let Some(arrival) = self.replies.line(line, scope.stamp, scope.offset, cap) else { return };
        let Some(lost) = self.lost else { return self.reply(arrival, scope) };
        self.lost = None;
        self.deferred = Some((arrival, lost));
        let held = scope.held;
        let ends = held.starts_with(b".\r\n") || memmem::find(held, b"\r\n.\r\n").is_some();
        let body = match lost {
            Lost::Body => ends,
            Lost::Command => ends && !begins_with_command(held),
        };
        if body && self.moving.is_none() {
            self.headless(scope);
        }
        scope.switch(Dir::ToServer, if body { Mode::Dot } else { Mode::Line });
    }

    fn code(&self) -> u16 {
        self.replies.reply.status.and_then(Status::code).unwrap_or(0)
    }

    fn reply(&mut self, arrival: Arrival, scope: &mut Scope<'_>) {
        let code = self.code();
        if self.unmatched {
            self.rematch(code, arrival, scope);
        }
        if code == 421 {
            scope.ledger.shutdown = !scope.ledger.quit_answered;
            scope.ledger.shutdown_timeout |= reply::is_timeout(&self.replies.reply);
        }
        if self.is_early(code) {
            let number = self.moving;
            self.answered_early = true;
            self.finals(number, arrival, scope);
            return;
        }
        let Some(waiting) = self.pending.front() else {
            self.pending.note(arrival);
            return self.shut(code, scope);
        };
        match waiting.kind.want {
            Want::Greeting => self.greeting(code, arrival, scope),
            Want::Eod { .. } => self.final_reply(code, arrival, scope),
            Want::Xexch50(octets) if code == 354 => {
                if let Some(waiting) = self.pending.front_mut() {
                    waiting.kind.want = Want::Command;
                }
                self.pending.note(arrival);
                scope.switch(Dir::ToServer, Mode::Octets(octets));
            }
            Want::Command
                if self.exchange.is_some()
                    && matches!(waiting.command.verb, Verb::Auth | Verb::XExps)
                    && code == 334 =>
            {
                if let Some(exchange) = &mut self.exchange {
                    exchange.challenge(self.replies.reply.text.as_bytes(), &mut scope.ledger.secrets);
                }
                self.pending.note(arrival);
                self.sasl_turn = true;
                scope.switch(Dir::ToServer, Mode::Line);
            }
            Want::Chunk { last: true } if self.is_per_recipient(waiting.kind.tx) && code != 421 => {
                self.final_reply(code, arrival, scope)
            }
            want => self.answer(want, code, arrival, scope),
        }
    }

    /// A reply while the message is still moving, to nothing but the message.
    fn is_early(&self, code: u16) -> bool {
        let moving = self.moving.and_then(|number| self.deliveries.iter().find(|d| d.tx.number == number));
        let in_data = moving.is_some_and(|d| d.go.is_some() && d.eod.is_none());
        in_data && self.pending.is_empty() && !self.answered_early && code >= 200
    }

    fn is_per_recipient(&self, number: Option<u32>) -> bool {
        let delivery = number.and_then(|number| self.deliveries.iter().find(|d| d.tx.number == number));
        self.is_lmtp && delivery.is_some_and(|d| d.accepted > 0)
    }

    fn greeting(&mut self, code: u16, arrival: Arrival, scope: &mut Scope<'_>) {
        self.pending.pop();
        self.pending.note(arrival);
        if scope.ledger.greeted {
            return;
        }
        scope.count_reply(self.replies.reply.status);
        std::mem::swap(&mut scope.ledger.greeting.reply, &mut self.replies.reply);
        scope.ledger.greeting.delay = scope.context.peers.established.and_then(|at| arrival.first.since(at));
        scope.ledger.refused = code >= 400;
        scope.greeting();
    }

    /// The reply of the oldest command.
    fn answer(&mut self, want: Want, code: u16, arrival: Arrival, scope: &mut Scope<'_>) {
        let Some(waiting) = self.pending.pop() else { return };
        let (mut command, kind) = (waiting.command, waiting.kind);
        self.pending.answer(&mut command, arrival);
        std::mem::swap(&mut command.reply, &mut self.replies.reply);
        let yes = code < 400;
        match (want, command.verb) {
            (Want::Rcpt(index), _) => {
                let delivery = kind.tx.and_then(|number| self.delivery(number));
                if let Some(delivery) = delivery {
                    delivery.recipient_reply(index, code, &command.reply, command.latency);
                }
            }
            (Want::Chunk { last }, _) => self.chunk_reply(last, code, &command.reply, kind, arrival, scope),
            (_, Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml) => {
                self.mail_reply(code, &command.reply, kind, scope)
            }
            (_, Verb::Data) => self.data_reply(code, &command, kind, arrival, scope),
            (_, Verb::Ehlo | Verb::Helo | Verb::Lhlo) => self.helo_reply(yes, &command, scope),
            (_, Verb::Rset) if yes => self.abort(scope),
            (_, Verb::Quit) => {
                scope.ledger.quit_answered = code != 421;
                self.abort(scope);
            }
            (_, Verb::Auth | Verb::XExps) => self.auth_reply(code, &command.reply, arrival, scope),
            (_, Verb::StartTls | Verb::XAnonymousTls) => {
                scope.ledger.tls.accepted = Some(code == 220);
                if code == 220 {
                    self.abort(scope);
                    self.encrypt(scope);
                } else {
                    scope.switch(Dir::ToServer, Mode::Line);
                }
            }
            (_, Verb::Xclient) => {
                if code == 220 {
                    self.abort(scope);
                }
                scope.switch(Dir::ToServer, Mode::Line);
            }
            (_, Verb::Turn | Verb::Atrn) => {
                scope.switch(Dir::ToServer, Mode::Line);
                if code == 250 {
                    self.abort(scope);
                    self.pending.push(Command::default(), Kind { want: Want::Greeting, tx: None, end: 0 });
                    scope.turn = true;
                }
            }
            (_, Verb::Xexch50) => scope.switch(Dir::ToServer, Mode::Line),
            _ => {}
        }
        scope.command(command);
        if !matches!(want, Want::Chunk { last: true }) {
            self.shut(code, scope);
        }
    }

    fn mail_reply(&mut self, code: u16, reply: &Reply, kind: Kind, scope: &mut Scope<'_>) {
        let Some(number) = kind.tx else { return };
        // `kind.tx` is the delivery that this MAIL opened.
        let Some(delivery) = self.delivery(number) else { return };
        delivery.mail = Some(code);
        if code < 400 {
            if let Some(older) = self.current.replace(number).filter(|older| *older != number) {
                self.end(older, Outcome::Aborted, scope);
            }
            return;
        }
        delivery.tx.outcome = delivery::refused(code < 500);
        delivery.tx.stage = Some(super::event::Stage::Mail);
        copy(reply, &mut delivery.tx.last);
        if self.sending == Some(number) {
            self.sending = self.current;
        }
        self.emit(number, scope);
    }

    fn data_reply(&mut self, code: u16, command: &Command, kind: Kind, arrival: Arrival, scope: &mut Scope<'_>) {
        let number = kind.tx.filter(|n| self.deliveries.iter().any(|d| d.tx.number == *n)).or(self.current);
        if code == 354 {
            self.moving = number;
            if let Some(delivery) = number.and_then(|number| self.delivery(number)) {
                delivery.data_refused = None;
                delivery.tx.timing.data_go = command.latency;
                delivery.go = Some(arrival.last.at);
            }
            return self.go(scope);
        }
        scope.switch(Dir::ToServer, Mode::Line);
        let Some(delivery) = number.and_then(|number| self.delivery(number)) else { return };
        delivery.data_refused = Some(code);
        if delivery.accepted > 0 {
            copy(&command.reply, &mut delivery.tx.last);
        }
    }

    /// The message follows as dot-stuffed text.
    fn go(&mut self, scope: &mut Scope<'_>) {
        self.moving = self.moving.or(self.sending);
        let limits = scope.limits;
        let at = scope.stamp.at;
        if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
            delivery.data(Verb::Data, limits);
            delivery.go.get_or_insert(at);
        }
        scope.switch(Dir::ToServer, Mode::Dot);
    }

    fn chunk_reply(
        &mut self,
        last: bool,
        code: u16,
        reply: &Reply,
        kind: Kind,
        arrival: Arrival,
        scope: &mut Scope<'_>,
    ) {
        let Some(delivery) = kind.tx.and_then(|number| self.delivery(number)) else { return };
        if code >= 400 {
            delivery.chunk_refused.get_or_insert(code);
            copy(reply, &mut delivery.tx.last);
        }
        if last {
            copy(reply, &mut delivery.tx.last);
            let number = delivery.tx.number;
            self.complete(number, code, arrival, scope);
        }
    }

    fn helo_reply(&mut self, yes: bool, command: &Command, scope: &mut Scope<'_>) {
        if !yes {
            // Refused: the envelope stays as it was.
            self.sending = self.sending.or(self.current);
            return;
        }
        self.abort(scope);
        if command.args.is_present() {
            scope.ledger.helo.copy_from(&command.args);
        }
        if scope.ledger.tls_mode() != TlsMode::None {
            return;
        }
        let capabilities = &mut scope.ledger.capabilities;
        capabilities.clear();
        let mut starttls = false;
        for line in reply::lines(command.reply.text.as_bytes()).skip(1) {
            if command.verb == Verb::Helo
                || line.is_empty()
                || capabilities.octets() + line.len() > scope.limits.capabilities
            {
                break;
            }
            starttls |= line.eq_ignore_ascii_case(b"STARTTLS");
            let keyword = line.iter().position(|o| matches!(o, b' ' | b'=')).unwrap_or(line.len());
            capabilities.push_entry(line, keyword);
        }
        if command.verb != Verb::Helo {
            scope.ledger.tls.offered = Some(starttls);
        }
    }

    fn auth_reply(&mut self, code: u16, reply: &Reply, arrival: Arrival, scope: &mut Scope<'_>) {
        scope.switch(Dir::ToServer, Mode::Line);
        let Some(exchange) = self.exchange.take() else { return };
        let outcome = match code {
            ..=399 => AuthOutcome::Success,
            _ if self.cancelled => AuthOutcome::Cancelled,
            400..=499 => AuthOutcome::Temporary,
            500 | 502 | 504 => AuthOutcome::RejectedMechanism,
            530 | 538 => AuthOutcome::NeedsTls,
            _ => AuthOutcome::Failed,
        };
        self.armed = (outcome != AuthOutcome::Success).then_some(arrival.end);
        let mut told = Reply::default();
        copy(reply, &mut told);
        let auth = exchange.finish(outcome, told, Some(arrival.last.at), scope.ledger.tls_mode());
        scope.auth(auth);
    }

    /// The reply to a message that was sent to its end, or one of several such replies.
    fn final_reply(&mut self, code: u16, arrival: Arrival, scope: &mut Scope<'_>) {
        let Some(waiting) = self.pending.front_mut() else { return };
        let number = waiting.kind.tx;
        let at = arrival.last.at;
        let per_recipient = match &mut waiting.kind.want {
            Want::Eod { prdr } if code == 353 && !*prdr => {
                *prdr = true;
                return self.pending.note(arrival);
            }
            Want::Eod { prdr } => *prdr,
            _ => false,
        };
        let lmtp = self.is_lmtp;
        let delivery = number.and_then(|number| self.deliveries.iter_mut().find(|d| d.tx.number == number));
        if let Some(delivery) = delivery
            && delivery.accepted > 0
            && (lmtp || per_recipient)
            && code != 421
        {
            let before: u32 = delivery.finals.iter().sum();
            if before < delivery.accepted {
                let last = delivery.recipient_final(code, &self.replies.reply, at);
                if !last || !lmtp {
                    return self.pending.note(arrival);
                }
            }
        }
        if self.pending.front().is_some_and(|w| matches!(w.kind.want, Want::Chunk { .. })) {
            return self.answer(Want::Chunk { last: true }, code, arrival, scope);
        }
        self.pending.pop();
        self.finals(number, arrival, scope);
    }

    /// The reply that ends delivery `number`.
    fn finals(&mut self, number: Option<u32>, arrival: Arrival, scope: &mut Scope<'_>) {
        let code = self.code();
        self.pending.note(arrival);
        scope.count_reply(self.replies.reply.status);
        let Some(number) = number else { return self.shut(code, scope) };
        let early = self.answered_early;
        let reply = std::mem::take(&mut self.replies.reply);
        if let Some(delivery) = self.delivery(number) {
            copy(&reply, &mut delivery.tx.last);
        }
        self.replies.reply = reply;
        if early && let Some(delivery) = self.delivery(number) {
            delivery.tx.message.finish(false);
        }
        self.complete(number, code, arrival, scope);
    }

    fn complete(&mut self, number: u32, code: u16, arrival: Arrival, scope: &mut Scope<'_>) {
        let early = self.answered_early;
        if let Some(delivery) = self.delivery(number) {
            delivery.answered(code);
            if early {
                delivery.tx.stage = Some(super::event::Stage::DataEarly);
            }
            delivery.tx.timing.reply = delivery.eod.and_then(|eod| arrival.last.at.since(eod));
            if code < 400 {
                let tx = &mut *delivery.tx;
                if let Some(id) = reply::queue_id(tx.last.text.as_bytes()) {
                    tx.queue_id.set(id);
                }
            }
        }
        if self.current == Some(number) {
            self.current = None;
        }
        if self.sending == Some(number) {
            self.sending = None;
        }
        self.emit(number, scope);
        self.shut(code, scope);
    }

    /// 421: what is open is over (RFC 5321 section 3.8).
    fn shut(&mut self, code: u16, scope: &mut Scope<'_>) {
        if code != 421 {
            return;
        }
        let outcome = if scope.ledger.shutdown_timeout { Outcome::TimedOut } else { Outcome::ServerClosed };
        let open: Vec<u32> = self.deliveries.iter().filter(|d| d.mail.is_some()).map(|d| d.tx.number).collect();
        for number in open {
            let Some(delivery) = self.delivery(number) else { continue };
            delivery.ended(outcome);
            delivery.tx.outcome = outcome;
            if delivery.eod.is_none() && delivery.tx.has_message {
                delivery.tx.message.finish(false);
            }
            self.emit(number, scope);
        }
        self.current = None;
        self.sending = None;
    }

    /// RSET, EHLO, STARTTLS, XCLIENT or QUIT was answered: the delivery in progress is over.
    fn abort(&mut self, scope: &mut Scope<'_>) {
        if let Some(number) = self.current.take() {
            self.end(number, Outcome::Aborted, scope);
        }
    }

    fn end(&mut self, number: u32, outcome: Outcome, scope: &mut Scope<'_>) {
        if let Some(delivery) = self.delivery(number) {
            delivery.ended(outcome);
            delivery.tx.probe = delivery.is_probe();
            if delivery.eod.is_none() && delivery.tx.has_message {
                delivery.tx.message.finish(false);
            }
        }
        if self.sending == Some(number) {
            self.sending = None;
        }
        self.emit(number, scope);
    }

    fn emit(&mut self, number: u32, scope: &mut Scope<'_>) {
        let at = self.deliveries.iter().position(|d| d.tx.number == number);
        if let Some(delivery) = at.and_then(|at| self.deliveries.remove(at)) {
            scope.transaction(delivery.tx);
        }
    }

    fn encrypt(&mut self, scope: &mut Scope<'_>) {
        scope.ledger.tls.requested = Some(true);
        scope.ledger.tls.accepted = Some(true);
        scope.ledger.tls.mode = Some(TlsMode::StartTls);
        scope.ledger.opaque = true;
        scope.switch(Dir::ToServer, Mode::Opaque);
        scope.switch(Dir::ToClient, Mode::Opaque);
    }

    fn delivery(&mut self, number: u32) -> Option<&mut Delivery> {
        self.deliveries.iter_mut().find(|d| d.tx.number == number)
    }
}

/// After a loss.
impl Smtp {
    /// A delivery whose beginning was not seen.
    fn headless(&mut self, scope: &mut Scope<'_>) {
        let mut tx = scope.ledger.transaction(Moved::Delivery, scope.stamp.at);
        tx.incomplete.add(Missing::StartMissing);
        let mut delivery = Delivery::new(tx);
        delivery.data_sent = true;
        delivery.data(Verb::Data, scope.limits);
        delivery.tx.message.headless();
        self.moving = Some(delivery.tx.number);
        self.deliveries.push_back(delivery);
    }

    /// The first reply after lost ones: the commands before the one it fits will never be answered.
    fn rematch(&mut self, code: u16, arrival: Arrival, scope: &mut Scope<'_>) {
        self.unmatched = false;
        let fits = |w: &super::pending::Waiting<Kind>| match code {
            354 => w.command.verb == Verb::Data,
            334 | 235 => matches!(w.command.verb, Verb::Auth | Verb::XExps),
            221 => w.command.verb == Verb::Quit,
            _ => w.kind.end <= arrival.last.peer,
        };
        let keep = self.pending.iter().enumerate().filter(|(_, w)| fits(w)).last().map(|(at, _)| at);
        for _ in 0..keep.unwrap_or(0) {
            self.drop_oldest(scope);
        }
    }

    /// The oldest of those that wait will not be answered.
    fn drop_oldest(&mut self, scope: &mut Scope<'_>) {
        let Some(waiting) = self.pending.pop() else { return };
        match waiting.kind.want {
            Want::Greeting | Want::Eod { .. } => {}
            _ => {
                let mut command = waiting.command;
                let missing = [Missing::ServerGap, Missing::ServerUnseen];
                for what in missing.into_iter().filter(|m| scope.ledger.incomplete.has(*m)) {
                    command.incomplete.add(what);
                }
                scope.command(command);
            }
        }
    }
}

fn copy(from: &Reply, to: &mut Reply) {
    to.status = from.status;
    to.enhanced = from.enhanced;
    to.response_code.copy_from(&from.response_code);
    to.text.copy_from(&from.text);
}

/// Whether the first line of `octets` is a command that is on the list.
fn begins_with_command(octets: &[u8]) -> bool {
    let line = octets.split(|o| *o == b'\n').next().unwrap_or_default();
    command::verb(line).0 != Verb::Other
}

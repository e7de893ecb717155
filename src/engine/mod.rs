//! Mail protocols as state machines: octets in, events out. No I/O, no clock, no thread, no logging.
//!
//! A [`Session`] is one connection. Octets of a direction pass through a layer (DEFLATE, if agreed on), are cut into
//! frames, and the frames mean something to the machine of the protocol that was found spoken. Where the meaning of the
//! client's next octets depends on the server's answer, they are held back, bounded, until the answer is in.
//! The engine has no errors: hostile octets cost at most one command, lost octets are a gap.

mod account;
pub mod anomaly;
mod detect;
pub mod event;
pub mod frame;
mod held;
mod imap;
mod layer;
mod ledger;
mod limits;
mod machine;
mod pending;
mod pop3;
mod sasl;
mod secret;
mod smtp;
mod text;
mod tls;
mod verb;

use std::sync::Arc;

pub use event::{Context, Dir, End, Event, Peers, Sink};
pub use limits::Limits;
pub use text::{List, Span, Text};
pub use verb::{Untagged, Verb};

use crate::time::Timestamp;
use anomaly::Id;
use detect::{Evidence, Verdict};
use event::{Close, Disorder, Handshake, How, Missing, Other, Phase, Protocol, SessionOutcome, Severity, TlsMode};
use frame::{Both, Ending, Frame, Framer, Line, Mode};
use held::{Held, Piece};
use layer::Inflate;
use ledger::{Layer, Ledger, Scope, Stamp};
use machine::Machine;

/// What happened in one direction of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The next octets.
    Data(&'a [u8]),
    /// So many octets were lost.
    Gap(u64),
    /// The sender closed.
    Fin,
    /// The sender reset.
    Reset,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    framer: Framer,
    layer: Option<Box<Inflate>>,
    /// The layer ends with its next flush.
    closing: bool,
    held: Held,
    /// Inside a line that came before TLS, or behind the agreement to it.
    injected: bool,
    /// Octets seen.
    seen: u64,
    /// Octets lost.
    lost: u64,
    /// Packets.
    packets: u64,
    /// Octets that the other side had received when it last spoke, where that is known.
    acked: Option<u64>,
    /// What is read, or held, has come through the layer.
    inflated: bool,
}

impl Lane {
    fn position(&self) -> u64 {
        self.seen + self.lost
    }
}

/// One mail connection.
#[derive(Debug)]
pub struct Session {
    context: Context,
    limits: Arc<Limits>,
    lanes: Both<Lane>,
    machine: Machine,
    ledger: Ledger,
    tls: tls::Watch,
    /// Client octets that the server had taken when it agreed to TLS (server stream offset of the agreement).
    agreed: u64,
    pieces: u64,
    /// The one who seemed the client is the server.
    flipped: bool,
    server_first: Option<bool>,
    closed: Option<(Dir, How)>,
    /// The protocol as told at the start.
    started: Option<Protocol>,
    disorder: Option<[Disorder; 2]>,
    ended: bool,
}

impl Session {
    /// A connection that began at `at`.
    pub fn new(at: Timestamp, id: u64, peers: Peers, limits: Arc<Limits>) -> Self {
        let mut ledger = Ledger::default();
        if !peers.roles_certain {
            ledger.incomplete.add(Missing::StartMissing);
        }
        Self {
            context: Context { id, began: at, peers, protocol: Protocol::Unknown, connect: None },
            limits,
            lanes: Both::default(),
            machine: Machine::Undecided(Held::default()),
            ledger,
            tls: tls::Watch::default(),
            agreed: 0,
            pieces: 0,
            flipped: false,
            server_first: None,
            closed: None,
            started: None,
            disorder: None,
            ended: false,
        }
    }

    /// What is known of it now.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// No octets are wanted any more: it is no mail, and no record will come of it.
    pub fn is_ignored(&self) -> bool {
        matches!(self.machine, Machine::Ignored(_)) && self.prior().is_none()
    }

    /// Segments of `dir` overlapped `count` times with different octets, first at stream offset `offset`; the octets that
    /// came first were taken.
    pub fn overlap(&mut self, at: Timestamp, dir: Dir, offset: u64, count: u32, out: &mut dyn Sink) {
        let dir = self.oriented(dir);
        if count == 0 || matches!(self.machine, Machine::Ignored(_)) {
            return;
        }
        let stamp = Stamp { at, piece: self.pieces, peer: 0 };
        self.with_machine(stamp, out, |_, scope| scope.anomaly(Id::TcpOverlap, Severity::Medium, dir, offset, count));
    }

    /// Whoever sends next in the other direction had received the octets of `dir` up to `offset`: what lies beyond
    /// cannot be the cause of what it sends. ACK numbers in captures, octets written on in the proxy.
    pub fn acked(&mut self, dir: Dir, offset: u64) {
        let dir = self.oriented(dir);
        self.lanes[dir].acked = Some(offset);
    }

    /// `input` came in `dir` at `at`. Octets keep the time of their first transmission, so `at` may run backwards.
    pub fn handle(&mut self, at: Timestamp, dir: Dir, input: Input<'_>, out: &mut dyn Sink) {
        if self.ended {
            return;
        }
        let dir = self.oriented(dir);
        self.pieces += 1;
        let other = &self.lanes[dir.reverse()];
        let stamp = Stamp { at, piece: self.pieces, peer: other.acked.unwrap_or_else(|| other.position()) };
        match input {
            Input::Data([]) => return,
            Input::Data(octets) => {
                self.lanes[dir].seen += octets.len() as u64;
                self.fail_if_asked();
                if matches!(self.machine, Machine::Undecided(_)) {
                    return self.listen(dir, stamp, octets, out);
                }
            }
            Input::Gap(lost) => {
                self.lanes[dir].lost += lost;
                self.ledger.incomplete.add(gap_of(dir));
                if !matches!(self.machine, Machine::Undecided(_)) {
                    self.missed(at, dir, lost, out);
                }
            }
            Input::Fin => _ = self.closed.get_or_insert((dir, How::Fin)),
            Input::Reset => {
                // A reset after a close is an impatient goodbye.
                _ = self.closed.get_or_insert((dir, How::Reset));
            }
        }
        if let Machine::Undecided(held) = &mut self.machine {
            held.push(dir, stamp, &input);
            self.decide(at, false, out);
        } else {
            self.take(dir, stamp, input, out);
            if let Input::Data(octets) = input {
                self.heard(at, dir, octets.len() as u64, out);
            }
        }
    }

    /// What the session is doing.
    pub fn phase(&self) -> Phase {
        let sent = self.lanes.to_server.seen + self.lanes.to_client.seen;
        let ledger = &self.ledger;
        match () {
            () if sent == 0 => Phase::Connect,
            () if ledger.opaque => Phase::Tls,
            () if ledger.quit_sent => Phase::Quit,
            () => self.machine.phase(),
        }
    }

    /// Whether nothing can be read any more: octets are counted only.
    pub fn is_opaque(&self) -> bool {
        self.ledger.opaque || matches!(self.machine, Machine::Ignored(_))
    }

    /// Whether nothing that may still come would tell more: then [`Self::passed_by`] will do for it.
    pub fn is_settled(&self) -> bool {
        match self.machine {
            Machine::Undecided(_) => false,
            Machine::Ignored(_) => true,
            _ if self.ledger.opaque => self.ledger.tls.mode.is_none() || self.tls.handshake().is_some(),
            Machine::Counted => true,
            _ => false,
        }
    }

    /// Reads no more of it: something went wrong in here, and what is known is in doubt. Octets are counted still.
    pub fn give_up(&mut self) {
        self.machine = Machine::Counted;
        self.ledger.incomplete.add(Missing::Unparseable);
        for dir in Dir::BOTH {
            self.lanes[dir].held = Held::default();
            self.lanes[dir].layer = None;
            self.lanes[dir].framer.set_mode(Mode::Opaque);
        }
    }

    /// From here on the octets are what TLS carries, both ways; what came in clear and was not read yet counts for
    /// nothing (RFC 3207 section 4.2).
    pub fn secured(&mut self, at: Timestamp, how: &event::Secured, out: &mut dyn Sink) {
        let tls = &mut self.ledger.tls;
        tls.mode = Some(how.mode);
        tls.handshake = Some(how.handshake);
        (tls.version, tls.cipher) = (how.version, how.cipher);
        tls.sni.copy_from(&how.sni);
        if how.handshake != Handshake::Ok {
            if let (Machine::Undecided(_), Some(protocol)) = (&self.machine, self.prior()) {
                self.machine = Machine::Counted;
                self.adopt(Verdict::Tls(protocol));
                self.start(at, out);
                self.told(at, out);
            }
            return;
        }
        tls.decrypted = true;
        self.ledger.opaque = false;
        if matches!(self.machine, Machine::Smtp(_) | Machine::Pop3(_) | Machine::Imap(_)) {
            for dir in Dir::BOTH {
                let lane = &mut self.lanes[dir];
                lane.held = Held::default();
                lane.injected = false;
                lane.framer = Framer::new();
                lane.framer.advance_by(lane.position());
            }
        }
    }

    /// Gives back room that a session which stands still does not need: about 2 KiB stay. Changes nothing else.
    pub fn rest(&mut self) {
        for dir in Dir::BOTH {
            let lane = &mut self.lanes[dir];
            lane.held.rest();
            lane.framer.rest();
            if let Some(layer) = &mut lane.layer {
                layer.rest();
            }
        }
        self.machine.rest();
        self.ledger.rest();
    }

    /// No more will come. Emits what is still open, then [`Event::End`].
    pub fn finish(&mut self, at: Timestamp, why: End, out: &mut dyn Sink) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.decide(at, true, out);
        for dir in [Dir::ToServer, Dir::ToClient] {
            self.release(dir, out);
        }
        let stamp = Stamp { at, piece: self.pieces + 1, peer: 0 };
        let phase = self.phase();
        if let Some(missing) = self.unseen() {
            self.ledger.incomplete.add(missing);
        }
        let closed = self.closed.map(|(_, how)| how);
        self.with_machine(stamp, out, |machine, scope| {
            machine.finish(closed, why, scope);
            scope.anomalies();
        });
        self.end(at, why, phase, out);
    }

    fn end(&mut self, at: Timestamp, why: End, phase: Phase, out: &mut dyn Sink) {
        let other = match self.machine {
            Machine::Ignored(_) | Machine::Undecided(_) if self.prior().is_none() => return,
            Machine::Ignored(other) => other,
            _ => None,
        };
        let how = match (self.closed, why) {
            (Some((_, how)), End::Closed) => how,
            (_, End::Timeout) => How::Timeout,
            (_, End::Drain) => How::Drain,
            (_, End::Evicted) => How::Evicted,
            (_, End::CaptureEnd) => How::CaptureEnd,
            (None, End::Closed) => How::Fin,
        };
        if self.ledger.tls.mode.is_some_and(|m| m != TlsMode::None) {
            let failed = if self.tls.begun() { Handshake::Failed } else { Handshake::Unseen };
            self.ledger.tls.handshake.get_or_insert_with(|| self.tls.handshake().unwrap_or(failed));
        }
        let close = Close { by: self.closed.map(|(dir, _)| dir), how, phase };
        let outcome = self.outcome(close);
        self.ledger.tls.took = self.tls.took();
        let mut summary = self.ledger.summary(at, close, outcome);
        let (client, server) = (&self.lanes.to_server, &self.lanes.to_client);
        summary.bytes = [client.seen, server.seen];
        summary.gaps = [client.lost, server.lost];
        if client.packets + server.packets > 0 {
            summary.packets = Some([client.packets, server.packets]);
        }
        summary.other = other;
        summary.started = self.started.take().unwrap_or(Protocol::Unknown);
        summary.disorder = self.disorder;
        out.event(&self.context, at, &Event::End(&summary));
    }

    fn outcome(&self, close: Close) -> SessionOutcome {
        let ledger = &self.ledger;
        let by_client = close.by == Some(Dir::ToServer);
        match close.how {
            _ if ledger.opaque => SessionOutcome::Encrypted,
            _ if ledger.refused => SessionOutcome::RefusedAtConnect,
            _ if ledger.quit_answered => SessionOutcome::Ok,
            _ if ledger.shutdown_timeout => SessionOutcome::Timeout,
            _ if ledger.shutdown => SessionOutcome::ServerShutdown,
            _ if ledger.incomplete.has(Missing::Unparseable) => SessionOutcome::Unparseable,
            How::Reset | How::Fin if ledger.quit_sent && by_client && ledger.incomplete.has(Missing::ServerUnseen) => {
                SessionOutcome::ClientGone
            }
            How::Reset if ledger.quit_sent && by_client => SessionOutcome::Ok,
            How::Reset => SessionOutcome::Reset,
            How::Timeout => SessionOutcome::Timeout,
            How::Drain | How::Evicted | How::CaptureEnd => SessionOutcome::CaptureEnd,
            How::Fin if by_client => SessionOutcome::ClientGone,
            How::Fin => SessionOutcome::ServerGone,
        }
    }

    fn unseen(&self) -> Option<Missing> {
        match (self.lanes.to_server.seen, self.lanes.to_client.seen) {
            (1.., 0) => Some(Missing::ServerUnseen),
            (0, 1..) if self.lanes.to_server.packets == 0 || self.lanes.to_server.lost > 0 => {
                Some(Missing::ClientUnseen)
            }
            _ => None,
        }
    }

    /// The fault that tests ask for.
    fn fail_if_asked(&self) {
        let Some(limit) = self.limits.fault_at else { return };
        let given_up = matches!(self.machine, Machine::Counted);
        assert!(
            given_up || self.lanes.to_server.seen + self.lanes.to_client.seen < limit,
            "the fault that a test asked for"
        );
    }

    fn oriented(&self, dir: Dir) -> Dir {
        if self.flipped { dir.reverse() } else { dir }
    }

    fn prior(&self) -> Option<Protocol> {
        self.limits.prior(self.context.peers.server.port())
    }

    /// Octets while the protocol is not told, in steps: the verdict must not hang on how the sender cut them.
    fn listen(&mut self, dir: Dir, stamp: Stamp, mut octets: &[u8], out: &mut dyn Sink) {
        let flipped = self.flipped;
        while let Machine::Undecided(held) = &mut self.machine {
            let heard = held.octets(dir).len();
            let room = self.limits.detect.saturating_sub(heard).max(1);
            let Some((now, later)) = octets.split_at_checked(detect::step(heard, octets).min(room)) else { return };
            if now.is_empty() {
                return;
            }
            self.server_first.get_or_insert(dir == Dir::ToClient);
            held.push(dir, stamp, &Input::Data(now));
            octets = later;
            self.decide(stamp.at, false, out);
        }
        if !octets.is_empty() {
            let dir = if self.flipped == flipped { dir } else { dir.reverse() };
            self.take(dir, stamp, Input::Data(octets), out);
        }
    }

    /// Tries to tell the protocol; when it is told, the inputs so far are taken again. `last`: no more will come.
    fn decide(&mut self, at: Timestamp, last: bool, out: &mut dyn Sink) {
        let Machine::Undecided(held) = &mut self.machine else { return };
        if self.context.peers.roles_certain && self.ledger.proxied_client.is_none() {
            match detect::preamble(held.octets(Dir::ToServer)) {
                Some(None) if !last => return,
                Some(Some((length, client))) => {
                    held.consume(Dir::ToServer, length);
                    self.lanes[Dir::ToServer].framer.advance_by(length as u64);
                    self.ledger.proxied_client = client;
                    // The balancer spoke first; who speaks first behind it is what counts.
                    let spoken = [Dir::ToServer, Dir::ToClient].map(|d| !held.octets(d).is_empty());
                    self.server_first = spoken.contains(&true).then_some(!spoken[0]);
                }
                _ => {}
            }
        }
        let overflow = [Dir::ToServer, Dir::ToClient].iter().any(|d| held.octets(*d).len() >= self.limits.detect);
        let evidence = Evidence {
            client: held.octets(Dir::ToServer),
            server: held.octets(Dir::ToClient),
            prior: self.limits.prior(self.context.peers.server.port()),
            midstream: !self.context.peers.roles_certain || held.has_gap(),
            reversible: !self.context.peers.roles_certain,
            server_first: self.server_first.unwrap_or(false),
            last: last || overflow,
        };
        let verdict = detect::decide(&evidence);
        if verdict == Verdict::Wait && !evidence.last {
            return;
        }
        let Machine::Undecided(held) = std::mem::replace(&mut self.machine, Machine::Counted) else { return };
        self.adopt(verdict);
        self.start(at, out);
        let flipped = self.flipped;
        held.replay(|dir, stamp, input| {
            let dir = if flipped { dir.reverse() } else { dir };
            self.take(dir, stamp, input, out);
        });
        self.told(at, out);
    }

    fn adopt(&mut self, verdict: Verdict) {
        let mail = match verdict {
            Verdict::Mail { protocol, reversed } => {
                if reversed {
                    self.flip();
                }
                protocol
            }
            Verdict::Tls(protocol) if protocol != Protocol::Unknown => {
                self.context.protocol = protocol;
                self.ledger.tls.mode = Some(TlsMode::Implicit);
                self.ledger.opaque = true;
                for dir in [Dir::ToServer, Dir::ToClient] {
                    self.lanes[dir].framer.set_mode(Mode::Opaque);
                }
                return;
            }
            Verdict::Tls(_) => return self.machine = Machine::Ignored(Some(Other::Tls)),
            Verdict::Other(other) => return self.machine = Machine::Ignored(Some(other)),
            Verdict::Wait | Verdict::Unknown => return self.machine = Machine::Ignored(None),
        };
        self.context.protocol = mail;
        self.machine = match mail {
            Protocol::Smtp | Protocol::Lmtp => {
                let smtp = smtp::Smtp::new(self.context.peers.roles_certain);
                self.lanes.to_server.framer.set_mode(smtp.first_mode());
                Machine::Smtp(Box::new(smtp))
            }
            Protocol::Pop3 => Machine::Pop3(Box::new(pop3::Pop3::new(self.context.peers.roles_certain))),
            Protocol::Imap => Machine::Imap(Box::new(imap::Imap::new(self.context.peers.roles_certain))),
            Protocol::ManageSieve => Machine::Counted,
            Protocol::Unknown => Machine::Ignored(None),
        };
    }

    /// The roles were guessed the wrong way round.
    fn flip(&mut self) {
        self.flipped = !self.flipped;
        let peers = &mut self.context.peers;
        std::mem::swap(&mut peers.client, &mut peers.server);
        std::mem::swap(&mut self.lanes.to_server, &mut self.lanes.to_client);
        self.closed = self.closed.map(|(dir, how)| (dir.reverse(), how));
        self.ledger.incomplete.swap_directions();
    }

    /// One input for a machine that is decided on.
    fn take(&mut self, dir: Dir, stamp: Stamp, input: Input<'_>, out: &mut dyn Sink) {
        if matches!(self.machine, Machine::Ignored(_)) {
            return;
        }
        let waits = self.lanes[dir].held.waits() || self.lanes[dir].framer.mode() == Mode::Await;
        match input {
            Input::Data(octets) => self.feed(dir, stamp, octets, out),
            Input::Gap(_) | Input::Fin | Input::Reset if waits => self.lanes[dir].held.push(dir, stamp, &input),
            Input::Gap(lost) => self.gap(dir, stamp, lost, out),
            Input::Fin | Input::Reset => self.close(dir, stamp, matches!(input, Input::Reset), out),
        }
        if dir == Dir::ToClient && !matches!(input, Input::Data(_)) {
            // The answer that the client's octets wait for is lost, or will never come.
            self.unanswered(false, out);
        }
    }

    fn feed(&mut self, dir: Dir, stamp: Stamp, octets: &[u8], out: &mut dyn Sink) {
        if self.lanes[dir].layer.is_some() {
            self.inflate(dir, stamp, octets, out);
        } else {
            self.lanes[dir].inflated = false;
            self.plain(dir, stamp, octets, out);
        }
    }

    /// Octets of the protocol itself: framed as far as is decided, the rest is held.
    fn plain(&mut self, dir: Dir, stamp: Stamp, octets: &[u8], out: &mut dyn Sink) {
        let used = if self.lanes[dir].held.waits() { 0 } else { self.pump(dir, stamp, octets, out) };
        let rest = octets.get(used..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        if self.lanes[dir].layer.is_some() && used > 0 && self.lanes[dir].framer.mode() != Mode::Await {
            return self.inflate(dir, stamp, rest, out);
        }
        self.lanes[dir].held.push(dir, stamp, &Input::Data(rest));
        if self.lanes[dir].held.len() > self.limits.hold {
            self.ledger.incomplete.add(Missing::HoldOverflow);
            self.unanswered(true, out);
        } else if self.is_blind() {
            // What follows one decision may wait for the next.
            let mut before = usize::MAX;
            while self.lanes[dir].held.waits() && self.lanes[dir].held.len() < before {
                before = self.lanes[dir].held.len();
                self.unanswered(false, out);
            }
        }
    }

    fn inflate(&mut self, dir: Dir, stamp: Stamp, mut octets: &[u8], out: &mut dyn Sink) {
        while !octets.is_empty() {
            let Some(mut layer) = self.lanes[dir].layer.take() else {
                return self.plain(dir, stamp, octets, out);
            };
            let step = layer.step(octets, self.limits.inflate_line);
            octets = octets.get(step.used..).unwrap_or_default();
            self.lanes[dir].inflated = true;
            // What came out before the damage is good.
            self.plain(dir, stamp, step.octets, out);
            if step.broken {
                self.ledger.incomplete.add(Missing::Unparseable);
                self.lanes[dir].framer.set_mode(Mode::Opaque);
                return;
            }
            let lane = &mut self.lanes[dir];
            if lane.closing && layer.is_flushed() {
                lane.closing = false;
            } else {
                lane.layer = Some(layer);
            }
        }
    }

    /// Cuts frames off `input` and hands them to the machine; how many octets were used.
    fn pump(&mut self, dir: Dir, stamp: Stamp, input: &[u8], out: &mut dyn Sink) -> usize {
        let mut used = 0;
        let layered = self.lanes[dir].inflated;
        let reached = self.lanes[dir].position();
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let lane = &mut self.lanes[dir];
            let mode = lane.framer.mode();
            if mode == Mode::Await || (rest.is_empty() && !lane.framer.is_ready()) {
                return used;
            }
            if mode == Mode::Line && !lane.framer.inside_line() && std::mem::take(&mut self.ledger.may_wrap) {
                // A SASL buffer begins with its length in four octets, below 16 MiB (RFC 4422 section 3.7); no text does.
                if rest.first().is_some_and(|octet| *octet <= 1) {
                    self.wrap();
                    continue;
                }
            }
            if mode == Mode::Line && !lane.framer.inside_line() && !layered && is_tls_in_clear(dir, rest) {
                if lane_is_fresh(&self.lanes[dir]) {
                    // It took the port for one where TLS is spoken from the start.
                    self.ledger.tls.mode = Some(TlsMode::Implicit);
                }
                self.lanes[dir].framer.set_mode(Mode::Opaque);
                continue;
            }
            if mode == Mode::Opaque {
                let taken = self.opaque(dir, stamp, rest);
                used += taken;
                if taken == 0 && self.lanes[dir].framer.mode() == Mode::Opaque {
                    return input.len();
                }
                continue;
            }
            let cap = self.limits.line_of(self.context.protocol);
            let Both { to_server, to_client } = &mut self.lanes;
            let (lane, other) = match dir {
                Dir::ToServer => (to_server, &*to_client),
                Dir::ToClient => (to_client, &*to_server),
            };
            let (taken, frame) = lane.framer.next(stamp.at, rest, cap);
            used += taken;
            let Some(frame) = frame else { continue };
            let offset = match &frame {
                // Inside a layer, octets are not those that TCP acknowledges: those of the piece are.
                Frame::Line(_) if layered => reached,
                Frame::Line(line) => line.end(),
                _ => 0,
            };
            let mut scope = Scope {
                ledger: &mut self.ledger,
                limits: &self.limits,
                context: &mut self.context,
                stamp,
                offset,
                modes: Both::default(),
                layers: Both::default(),
                held: other.held.octets(dir.reverse()),
                turn: false,
                out: &mut *out,
            };
            let role = if scope.ledger.reversed { dir.reverse() } else { dir };
            if role == Dir::ToServer
                && let Frame::Line(line) = &frame
            {
                suspect(line, dir, &mut scope);
            }
            self.machine.frame(role, &frame, &mut scope);
            let (modes, layers, turn) = (scope.modes, scope.layers, scope.turn);
            let relayered = layers[role].is_some();
            if self.apply(modes, layers) {
                self.drain(dir.reverse(), out);
                self.resume(dir.reverse(), stamp, out);
            }
            self.ledger.reversed ^= turn;
            if relayered {
                return used;
            }
        }
    }

    /// Applies what a machine asked for; whether the other lane may have become readable.
    fn apply(&mut self, modes: Both<Option<Mode>>, layers: Both<Option<Layer>>) -> bool {
        let mut changed = false;
        for role in [Dir::ToServer, Dir::ToClient] {
            let dir = if self.ledger.reversed { role.reverse() } else { role };
            if let Some(mode) = modes[role] {
                if mode == Mode::Opaque && self.ledger.tls.accepted == Some(true) {
                    self.agreed = self.lanes[Dir::ToClient].framer.offset();
                }
                self.lanes[dir].framer.set_mode(mode);
                changed = true;
            }
            match layers[role] {
                Some(Layer::Deflate) => {
                    self.lanes[dir].layer = Some(Box::new(Inflate::new()));
                    self.lanes[dir].closing = false;
                    changed = true;
                }
                Some(Layer::Plain) => {
                    let lane = &mut self.lanes[dir];
                    lane.closing = true;
                    if lane.layer.as_ref().is_some_and(|layer| layer.is_flushed()) {
                        (lane.layer, lane.closing) = (None, false);
                    }
                }
                None => {}
            }
        }
        changed
    }

    /// Takes up what was held, as far as it is decided now.
    fn drain(&mut self, dir: Dir, out: &mut dyn Sink) {
        while self.lanes[dir].framer.mode() != Mode::Await {
            let Some((stamp, piece, buffer)) = self.lanes[dir].held.first() else { return };
            match piece {
                Piece::Octets { from, to } => {
                    let octets = buffer.get(from..to).unwrap_or_default();
                    if self.lanes[dir].layer.is_some() && !self.lanes[dir].inflated {
                        // A layer began where the wait began: what waited goes through it.
                        self.lanes[dir].held.used(0, buffer);
                        let held = std::mem::take(&mut self.lanes[dir].held);
                        return held.replay(|dir, stamp, input| self.take(dir, stamp, input, out));
                    }
                    let used = self.pump(dir, stamp, octets, out);
                    self.lanes[dir].held.used(used, buffer);
                }
                Piece::Gap(lost) => {
                    self.lanes[dir].held.used(0, buffer);
                    self.gap(dir, stamp, lost, out);
                }
                Piece::Fin | Piece::Reset => {
                    self.lanes[dir].held.used(0, buffer);
                    self.close(dir, stamp, matches!(piece, Piece::Reset), out);
                }
            }
        }
    }

    /// After a loss, a reply was put off until what was held before it is read: now it is.
    fn resume(&mut self, dir: Dir, stamp: Stamp, out: &mut dyn Sink) {
        let Machine::Smtp(_) = self.machine else { return };
        let (modes, layers) = self.with_machine(stamp, out, |machine, scope| {
            if let Machine::Smtp(smtp) = machine {
                smtp.resume(scope);
            }
        });
        if self.apply(modes, layers) {
            self.drain(dir, out);
        }
    }

    /// The end: what is held is read as it would most likely have been.
    fn release(&mut self, dir: Dir, out: &mut dyn Sink) {
        while self.lanes[dir].held.waits() {
            let before = self.lanes[dir].held.len();
            if dir == Dir::ToServer {
                self.unanswered(true, out);
            } else {
                self.lanes[dir].framer.set_mode(Mode::Line);
                self.drain(dir, out);
            }
            if self.lanes[dir].held.waits() && self.lanes[dir].held.len() == before {
                return;
            }
        }
    }

    /// Whether answers cannot come: the server's direction is not captured.
    fn is_blind(&self) -> bool {
        self.lanes.to_client.seen == 0 && self.lanes.to_client.lost > 0
    }

    /// No answer to what the client's octets wait for: the machine says how to read on. `surely`: it must.
    fn unanswered(&mut self, surely: bool, out: &mut dyn Sink) {
        let dir = if self.ledger.reversed { Dir::ToClient } else { Dir::ToServer };
        if self.lanes[dir].framer.mode() != Mode::Await {
            return;
        }
        let held = std::mem::take(&mut self.lanes[dir].held);
        let stamp = held.stamp();
        let (modes, layers) = self.with_machine(stamp, out, |machine, scope| {
            machine.unanswered(held.octets(dir), surely, scope);
        });
        self.lanes[dir].held = held;
        self.apply(modes, layers);
        if surely && self.lanes[dir].framer.mode() == Mode::Await {
            self.lanes[dir].framer.set_mode(Mode::Line);
        }
        self.drain(dir, out);
    }

    fn gap(&mut self, dir: Dir, stamp: Stamp, lost: u64, out: &mut dyn Sink) {
        if self.lanes[dir].layer.take().is_some() {
            self.ledger.incomplete.add(Missing::Unparseable);
            self.lanes[dir].framer.set_mode(Mode::Opaque);
            return;
        }
        if self.lanes[dir].framer.mode() == Mode::Opaque {
            self.tls.gap(dir);
            _ = self.lanes[dir].framer.gap(lost);
            return;
        }
        let (frame, beyond) = self.lanes[dir].framer.gap(lost);
        if matches!(self.machine, Machine::Pop3(_)) {
            // Its lines tell by their heads whether they are whole.
            self.lanes[dir].framer.set_skip_line(false);
        }
        let end = self.lanes[dir].framer.offset();
        let reversed = self.ledger.reversed;
        let role = if reversed { dir.reverse() } else { dir };
        let (modes, layers) = self.with_machine(stamp, out, |machine, scope| {
            if let Some(frame) = frame {
                machine.frame(role, &frame, scope);
            }
            if beyond > 0 {
                scope.offset = end;
                machine.gap(role, beyond, scope);
            }
        });
        if self.apply(modes, layers) {
            self.drain(dir.reverse(), out);
        }
    }

    /// The sender of `dir` closed. A server's last line may lack its end; a client's was never carried out.
    fn close(&mut self, dir: Dir, stamp: Stamp, reset: bool, out: &mut dyn Sink) {
        let server = if self.ledger.reversed { Dir::ToServer } else { Dir::ToClient };
        if dir != server || reset {
            return;
        }
        let Some(line) = self.lanes[dir].framer.last_line() else { return };
        let mut scope = Scope {
            ledger: &mut self.ledger,
            limits: &self.limits,
            context: &mut self.context,
            stamp,
            offset: line.end(),
            modes: Both::default(),
            layers: Both::default(),
            held: &[],
            turn: false,
            out,
        };
        self.machine.frame(Dir::ToClient, &Frame::Line(line), &mut scope);
        let (modes, layers) = (scope.modes, scope.layers);
        self.apply(modes, layers);
    }

    fn with_machine(
        &mut self,
        stamp: Stamp,
        out: &mut dyn Sink,
        act: impl FnOnce(&mut Machine, &mut Scope<'_>),
    ) -> (Both<Option<Mode>>, Both<Option<Layer>>) {
        let mut scope = Scope {
            ledger: &mut self.ledger,
            limits: &self.limits,
            context: &mut self.context,
            stamp,
            offset: 0,
            modes: Both::default(),
            layers: Both::default(),
            held: &[],
            turn: false,
            out,
        };
        act(&mut self.machine, &mut scope);
        (scope.modes, scope.layers)
    }

    /// A SASL security layer: nothing can be read any more.
    fn wrap(&mut self) {
        self.ledger.opaque = true;
        for dir in [Dir::ToServer, Dir::ToClient] {
            self.lanes[dir].framer.set_mode(Mode::Opaque);
        }
    }

    /// Octets of a direction that is opaque: how many were used. 0 with the mode changed: they are text after all.
    fn opaque(&mut self, dir: Dir, stamp: Stamp, octets: &[u8]) -> usize {
        let agreed = self.ledger.tls.accepted == Some(true) && self.ledger.tls.mode == Some(TlsMode::StartTls);
        let inside = self.lanes[dir].injected;
        if agreed && !self.tls.begun() && (inside || !octets.first().is_some_and(|o| tls::begins(*o))) {
            if !inside && dir == Dir::ToServer && stamp.peer >= self.agreed {
                // The client goes on in clear although the server agreed to TLS.
                self.plain_again();
                return 0;
            }
            // Injected before the agreement, or behind it: not a word of it counts.
            let end = memchr::memchr(b'\n', octets);
            self.lanes[dir].injected = end.is_none();
            let line = end.map_or(octets.len(), |i| i + 1);
            self.lanes[dir].framer.advance_by(line as u64);
            return line;
        }
        self.tls.octets(stamp.at, dir, octets);
        self.lanes[dir].framer.advance_by(octets.len() as u64);
        octets.len()
    }

    fn plain_again(&mut self) {
        for dir in [Dir::ToServer, Dir::ToClient] {
            self.lanes[dir].framer.set_mode(Mode::Line);
        }
        self.ledger.opaque = false;
        self.ledger.tls.mode = None;
        self.ledger.tls.handshake = Some(Handshake::Failed);
    }
}

fn lane_is_fresh(lane: &Lane) -> bool {
    lane.framer.offset() == 0 && lane.lost == 0
}

/// Whether a TLS record begins where a line should: no text begins with such an octet.
fn is_tls_in_clear(dir: Dir, octets: &[u8]) -> bool {
    matches!(octets, [0x16, ..]) && dir == Dir::ToServer
}

/// What a client's line shows against the rules of lines (RFC 5321 section 2.3.8).
fn suspect(line: &Line<'_>, dir: Dir, scope: &mut Scope<'_>) {
    // The longest line that an extension explains: a SASL response (RFC 4954 section 4).
    const LONGEST: u64 = 12_288;
    if line.ending == Ending::Lf {
        scope.anomaly(Id::LineBareLf, Severity::Low, dir, line.start, 1);
    }
    if line.wire > LONGEST || line.truncated {
        scope.anomaly(Id::LineOverlong, Severity::Low, dir, line.start, 1);
    }
    if memchr::memchr(0, line.octets).is_some() {
        scope.anomaly(Id::LineNul, Severity::Info, dir, line.start, 1);
    }
}

fn gap_of(dir: Dir) -> Missing {
    match dir {
        Dir::ToServer => Missing::ClientGap,
        Dir::ToClient => Missing::ServerGap,
    }
}

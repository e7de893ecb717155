//! One mail connection.
//!
//! Bytes of a direction pass through a layer (DEFLATE, if agreed on), are cut into frames, and the frames mean
//! something to the protocol that was found spoken. Where the meaning of the client's next bytes depends on the server's
//! answer, they are held back, bounded, until the answer is in.

#[cfg(test)]
mod bounds;
mod identify;
mod packed;
mod progress;
mod read;
pub(super) mod replay;
pub(super) mod state;

use std::sync::Arc;

use super::Limits;
use super::detect::Verdict;
use super::frame::{Framer, FramingMode};
use super::protocol::ProtocolState;
use crate::event::Masked;
use crate::event::anomaly::Id;
use crate::event::{
    Both, Close, Context, Dir, Disorder, End, EstablishedTls, Event, Handshake, How, Input, Missing, Peers, Phase,
    Protocol, SessionOutcome, Severity, Sink, TlsFailure, TlsMode,
};
use crate::time::Timestamp;
use crate::tls::handshake as tls;
use read::DirectionState;
use replay::ReplayBuffer;
use state::{SessionState, Stamp};

/// One mail connection.
#[derive(Debug)]
pub struct Session {
    context: Context,
    limits: Arc<Limits>,
    directions: Both<DirectionState>,
    protocol_state: ProtocolState,
    state: SessionState,
    tls: tls::HandshakeObserver,
    /// Client octets that the server had taken when it agreed to TLS (server stream offset of the agreement).
    agreed: u64,
    pieces: u64,
    /// Work done so far, and how much may be done by the end of the current input.
    work: u64,
    work_limit: u64,
    /// The one who seemed the client is the server.
    flipped: bool,
    server_first: Option<bool>,
    /// Tunnels that were entered.
    tunnels: u8,
    closed: Option<(Dir, How)>,
    /// The protocol as told at the start.
    started: Option<Protocol>,
    disorder: Option<[Disorder; 2]>,
    ended: bool,
}

impl Session {
    /// A connection that began at `at`.
    pub fn new(at: Timestamp, id: u64, peers: Peers, limits: Arc<Limits>) -> Self {
        let mut state = SessionState::default();
        if !peers.roles_certain {
            state.incomplete.add(Missing::StartMissing);
        }
        Self {
            context: Context {
                id,
                began: at,
                peers,
                proxied_client: None,
                protocol: Protocol::Unknown,
                connect: None,
                health_check: false,
                omitted: false,
            },
            limits,
            directions: Both::default(),
            protocol_state: ProtocolState::Undecided(ReplayBuffer::default()),
            state,
            tls: tls::HandshakeObserver::default(),
            agreed: 0,
            pieces: 0,
            work: 0,
            work_limit: 0,
            flipped: false,
            server_first: None,
            tunnels: 0,
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
        matches!(self.protocol_state, ProtocolState::Ignored(_)) && self.prior().is_none()
    }

    /// Segments of `dir` overlapped `count` times with different octets, first at stream offset `offset`; the octets that
    /// came first were taken.
    pub fn overlap(&mut self, at: Timestamp, dir: Dir, offset: u64, count: u32, out: &mut dyn Sink) {
        let dir = self.oriented(dir);
        if count == 0 || matches!(self.protocol_state, ProtocolState::Ignored(_)) {
            return;
        }
        let stamp = Stamp { at, piece: self.pieces, peer: 0 };
        self.with_protocol(stamp, out, |_, cx| cx.anomaly(Id::TcpOverlap, Severity::Medium, dir, offset, count));
    }

    /// Whoever sends next in the other direction had received the octets of `dir` up to `offset`: what lies beyond
    /// cannot be the cause of what it sends. ACK numbers in captures, octets written on in the proxy.
    pub fn acked(&mut self, dir: Dir, offset: u64) {
        let dir = self.oriented(dir);
        self.directions[dir].acked = Some(offset);
    }

    /// `input` came in `dir` at `at`. Octets keep the time of their first transmission, so `at` may run backwards.
    pub fn handle(&mut self, at: Timestamp, dir: Dir, input: Input<'_>, out: &mut dyn Sink) {
        if self.ended {
            return;
        }
        let dir = self.oriented(dir);
        self.pieces += 1;
        let other = &self.directions[dir.reverse()];
        let stamp = Stamp { at, piece: self.pieces, peer: other.acked.unwrap_or_else(|| other.position()) };
        match input {
            Input::Data([]) => return,
            Input::Data(octets) => {
                self.directions[dir].seen += octets.len() as u64;
                self.state.wire += octets.len() as u64;
                self.work_limit = self.work + self.limits.work_of(octets.len());
                self.fail_if_asked();
                if matches!(self.protocol_state, ProtocolState::Undecided(_)) {
                    return self.listen(dir, stamp, octets, out);
                }
            }
            Input::Gap(lost) => {
                self.directions[dir].lost += lost;
                self.state.incomplete.add(gap_of(dir));
                if !matches!(self.protocol_state, ProtocolState::Undecided(_)) {
                    self.missed(at, dir, lost, out);
                }
            }
            Input::Fin => _ = self.closed.get_or_insert((dir, How::Fin)),
            Input::Reset => {
                // A reset after a close is an impatient goodbye.
                _ = self.closed.get_or_insert((dir, How::Reset));
            }
        }
        if dir == Dir::ToServer && matches!(input, Input::Fin | Input::Reset) {
            self.state.client_left.get_or_insert(self.pieces);
        }
        if matches!((dir, &input), (Dir::ToServer, Input::Gap(_))) {
            self.tear_header();
        }
        if let ProtocolState::Undecided(held) = &mut self.protocol_state {
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
        let sent = self.directions.to_server.seen + self.directions.to_client.seen;
        let session = &self.state;
        match () {
            () if sent == 0 => Phase::Connect,
            () if session.opaque => Phase::Tls,
            () if session.quit_sent => Phase::Quit,
            () => self.protocol_state.phase(),
        }
    }

    /// Whether closing now would cut nothing short: no message moves, no authentication goes on, and no command waits for
    /// its reply, IMAP's IDLE aside. So it is before the first command, and in an envelope without data. Where nothing
    /// can be read, nobody knows.
    pub fn is_at_rest(&self) -> bool {
        // QUIT may come behind a message that still waits for its reply.
        let phase = Some(self.phase()).filter(|phase| *phase != Phase::Quit);
        match phase.unwrap_or_else(|| self.protocol_state.phase()) {
            Phase::Connect => true,
            Phase::Greeting | Phase::Idle | Phase::Transaction => self.protocol_state.is_at_rest(),
            Phase::Auth | Phase::Data | Phase::Tls | Phase::Quit => false,
        }
    }

    /// Whether nothing can be read any more: octets are counted only.
    pub fn is_opaque(&self) -> bool {
        self.state.opaque || matches!(self.protocol_state, ProtocolState::Ignored(_))
    }

    /// Whether nothing that may still come would tell more: then [`Self::skip_bytes`] will do for it.
    pub fn is_settled(&self) -> bool {
        match self.protocol_state {
            ProtocolState::Undecided(_) => false,
            ProtocolState::Ignored(_) => true,
            _ if self.state.opaque => self.state.tls.mode.is_none() || self.tls.handshake().is_some(),
            ProtocolState::Counted => true,
            _ => false,
        }
    }

    /// Reads no more of it: something went wrong in here, and what is known is in doubt. Octets are counted still.
    pub fn give_up(&mut self) {
        self.protocol_state = ProtocolState::Counted;
        self.state.incomplete.add(Missing::Unparseable);
        for dir in Dir::BOTH {
            self.directions[dir].held = ReplayBuffer::default();
            self.directions[dir].layer = None;
            self.directions[dir].framer.set_mode(FramingMode::Opaque);
        }
    }

    /// Counts the work for a frame of `bytes`; once it is more than the input is worth, nothing more is read.
    pub(super) fn is_overworked(&mut self, bytes: usize) -> bool {
        /// A frame costs about as much as so many bytes of a message that are only passed on.
        const FRAME: u64 = 64;
        // So does a command that waits, compared with a reply, as a few bytes.
        let looked_at = self.protocol_state.take_looked_at() + self.state.secrets.take_looked_at() / 16;
        self.work += FRAME + (bytes / 16) as u64 + looked_at;
        if self.work > self.work_limit && !matches!(self.protocol_state, ProtocolState::Counted) {
            self.give_up();
            self.state.incomplete.add(Missing::WorkLimit);
        }
        self.work > self.work_limit
    }

    /// Work done so far, in the units of the budget that an input has: for tests that hold it to a bound.
    #[doc(hidden)]
    pub fn work(&self) -> u64 {
        self.work
    }

    /// From here on the octets are what TLS carries, both ways; what came in clear and was not read yet counts for
    /// nothing (RFC 3207 section 4.2).
    pub fn tls_established(&mut self, at: Timestamp, how: &EstablishedTls, out: &mut dyn Sink) {
        let tls = &mut self.state.tls;
        tls.mode = Some(how.mode);
        tls.handshake = Some(how.handshake);
        tls.failure = how.failure;
        (tls.version, tls.cipher) = (how.version, how.cipher);
        tls.sni.copy_from(&how.sni);
        if how.handshake != Handshake::Ok {
            if let (ProtocolState::Undecided(_), Some(protocol)) = (&self.protocol_state, self.prior()) {
                self.protocol_state = ProtocolState::Counted;
                self.adopt(Verdict::Tls(protocol));
                self.start(at, out);
                self.told(at, out);
            }
            return;
        }
        tls.decrypted = true;
        (self.state.opaque, self.state.may_wrap) = (false, false);
        if matches!(self.protocol_state, ProtocolState::Smtp(_) | ProtocolState::Pop3(_) | ProtocolState::Imap(_)) {
            for dir in Dir::BOTH {
                let direction = &mut self.directions[dir];
                direction.held = ReplayBuffer::default();
                (direction.layer, direction.closing, direction.injected) = (None, false, false);
                direction.framer = Framer::new();
                direction.framer.advance_by(direction.position());
            }
        }
    }

    /// The connection to the server is there since `at`: from then on its greeting is waited for.
    pub fn established(&mut self, at: Timestamp) {
        self.context.peers.established = Some(at);
    }

    /// Whoever feeds it has no TLS with the server, and that is why the session ends.
    pub fn upstream_tls_failed(&mut self, why: TlsFailure) {
        self.state.tls.upstream_failure = Some(why);
    }

    /// Gives back room that a session which stands still does not need: about 2 KiB stay. Changes nothing else.
    pub fn shrink(&mut self) {
        for dir in Dir::BOTH {
            let direction = &mut self.directions[dir];
            direction.held.shrink();
            direction.framer.shrink();
            if let Some(layer) = &mut direction.layer {
                layer.shrink();
            }
        }
        self.protocol_state.shrink();
        self.state.shrink();
    }

    /// No more will come. Emits what is still open, then [`Event::End`].
    pub fn finish(&mut self, at: Timestamp, why: End, out: &mut dyn Sink) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if matches!(self.protocol_state, ProtocolState::Undecided(_)) && self.is_silent_rest() {
            // Acknowledgments in the middle of a connection: it may be the rest of one that has its record.
            return;
        }
        if let Some(prior) = self.prior().filter(|_| self.is_unspoken()) {
            self.presume(at, prior, out);
        }
        self.decide(at, true, out);
        for dir in [Dir::ToServer, Dir::ToClient] {
            self.release(dir, out);
        }
        let stamp = Stamp { at, piece: self.pieces + 1, peer: 0 };
        let phase = self.phase();
        if let Some(missing) = self.unseen() {
            self.state.incomplete.add(missing);
        }
        let closed = self.closed.map(|(_, how)| how);
        self.with_protocol(stamp, out, |protocol_state, cx| {
            protocol_state.finish(closed, why, cx);
            cx.anomalies();
        });
        self.end(at, why, phase, out);
    }

    fn end(&mut self, at: Timestamp, why: End, phase: Phase, out: &mut dyn Sink) {
        let other = match self.protocol_state {
            ProtocolState::Ignored(_) | ProtocolState::Undecided(_) if self.prior().is_none() => return,
            ProtocolState::Ignored(other) => other,
            _ => None,
        };
        let how = match (self.closed, why) {
            (Some((_, how)), End::Closed) => how,
            (_, End::Timeout) => How::Timeout,
            (_, End::Drain) => How::Drain,
            (_, End::Evicted) => How::Evicted,
            (_, End::CaptureEnd) => How::CaptureEnd,
            // Its ports were used again: nobody saw it close.
            (None, End::Closed) => How::CaptureEnd,
        };
        if self.state.tls.mode.is_some_and(|m| m != TlsMode::None) {
            let failed = if self.tls.begun() { Handshake::Failed } else { Handshake::Unseen };
            self.state.tls.handshake.get_or_insert_with(|| self.tls.handshake().unwrap_or(failed));
        }
        let close = Close { by: self.closed.map(|(dir, _)| dir), how, phase };
        let outcome = self.outcome(close, why);
        self.state.tls.took = self.tls.took();
        self.state.name_server();
        let mut secrets = std::mem::take(&mut self.state.secrets);
        let mut summary = self.state.summary(at, close, outcome);
        let (client, server) = (&self.directions.to_server, &self.directions.to_client);
        summary.bytes = [client.seen, server.seen];
        summary.gaps = [client.lost, server.lost];
        if client.packets + server.packets > 0 {
            summary.packets = Some([client.packets, server.packets]);
        }
        summary.other = other;
        summary.proxied_client = self.context.proxied_client;
        summary.started = self.started.take().unwrap_or(Protocol::Unknown);
        summary.disorder = self.disorder;
        out.event(&self.context, at, &Event::End(Masked::new(&mut summary, secrets.prepare())));
    }

    /// Whether neither the start nor a byte of it was seen, nor missed.
    fn is_silent_rest(&self) -> bool {
        let silent = |direction: &DirectionState| direction.position() == 0;
        !self.context.peers.roles_certain && Dir::BOTH.into_iter().all(|dir| silent(&self.directions[dir]))
    }

    /// Whether nobody said anything, as far as is known: no byte was missed.
    fn is_unspoken(&self) -> bool {
        let unspoken = |direction: &DirectionState| direction.seen + direction.lost == 0;
        Dir::BOTH.into_iter().all(|dir| unspoken(&self.directions[dir]))
    }

    fn outcome(&self, close: Close, why: End) -> SessionOutcome {
        let session = &self.state;
        let by_client = close.by == Some(Dir::ToServer);
        match close.how {
            _ if session.tls.failure.or(session.tls.upstream_failure).is_some() => SessionOutcome::TlsFailed,
            _ if session.opaque => SessionOutcome::Encrypted,
            _ if session.refused => SessionOutcome::RefusedAtConnect,
            _ if session.quit_answered => SessionOutcome::Ok,
            _ if session.shutdown_timeout => SessionOutcome::Timeout,
            _ if session.shutdown => SessionOutcome::ServerShutdown,
            _ if session.incomplete.has(Missing::Unparseable) => SessionOutcome::Unparseable,
            How::Reset | How::Fin
                if session.quit_sent && by_client && session.incomplete.has(Missing::ServerUnseen) =>
            {
                SessionOutcome::ClientGone
            }
            How::Reset if session.quit_sent && by_client => SessionOutcome::Ok,
            How::Reset => SessionOutcome::Reset,
            How::Timeout => SessionOutcome::Timeout,
            How::CaptureEnd if why == End::Closed => SessionOutcome::ClientGone,
            How::Drain | How::Evicted | How::CaptureEnd => SessionOutcome::CaptureEnd,
            How::Fin if by_client => SessionOutcome::ClientGone,
            How::Fin => SessionOutcome::ServerGone,
        }
    }

    fn unseen(&self) -> Option<Missing> {
        match (self.directions.to_server.seen, self.directions.to_client.seen) {
            // Packets of a server that never said anything were seen.
            (1.., 0) if !self.has_packets(Dir::ToClient) => Some(Missing::ServerUnseen),
            (0, 1..) if self.directions.to_server.packets == 0 || self.directions.to_server.lost > 0 => {
                Some(Missing::ClientUnseen)
            }
            _ => None,
        }
    }

    /// Whether packets of `dir` were captured, and no bytes of it are missing. Where there are no packets, nobody knows.
    fn has_packets(&self, dir: Dir) -> bool {
        self.directions[dir].packets > 0 && self.directions[dir].lost == 0
    }

    /// The fault that tests ask for.
    fn fail_if_asked(&self) {
        let Some(limit) = self.limits.fault_at else { return };
        let given_up = matches!(self.protocol_state, ProtocolState::Counted);
        assert!(
            given_up || self.directions.to_server.seen + self.directions.to_client.seen < limit,
            "the fault that a test asked for"
        );
    }

    fn oriented(&self, dir: Dir) -> Dir {
        if self.flipped { dir.reverse() } else { dir }
    }

    /// The mail protocol whose port the server has: what is no mail there is worth a record all the same.
    fn prior(&self) -> Option<Protocol> {
        const SYSTEM: u16 = 1024;
        let peers = &self.context.peers;
        // Where a guess says who is the server, a port that clients are given too, or that of another service at the
        // other end, is no sign of mail.
        let doubtful = peers.server.port() >= SYSTEM || peers.client.port() < SYSTEM;
        self.limits.prior(peers.server.port()).filter(|_| peers.roles_certain || !doubtful)
    }
}

fn gap_of(dir: Dir) -> Missing {
    match dir {
        Dir::ToServer => Missing::ClientGap,
        Dir::ToClient => Missing::ServerGap,
    }
}

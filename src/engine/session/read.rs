//! One direction of a session: through its layer, held where its meaning waits for the other side, cut into frames.
//!
//! Here frames go to the machine of the protocol, and what the machine asks for is applied: a mode, a layer, an exchange
//! of roles. Octets are read in the order in which they mean something, which need not be the one in which they came.

use std::time::Duration;

use super::packed::Trial;
use super::replay::{HeldInput, ReplayBuffer};
use super::state::{EventContext, Layer, Stamp};
use crate::engine::Session;
use crate::engine::frame::{Frame, Framer, FramingMode, Line, LineEnding};
use crate::engine::inflate::Inflate;
use crate::engine::protocol::ProtocolState;
use crate::event::Both;
use crate::event::anomaly::Id;
use crate::event::{Dir, Input, Sink};
use crate::event::{Handshake, Missing, Severity, TlsMode};
use crate::time::Timestamp;
use crate::tls::handshake as tls;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct DirectionState {
    pub(super) framer: Framer,
    pub(super) layer: Option<Box<Inflate>>,
    /// The layer ends with its next flush.
    pub(super) closing: bool,
    pub(super) held: ReplayBuffer,
    /// What is held is being read.
    pub(super) draining: bool,
    /// Inside a line that came before TLS, or behind the agreement to it.
    pub(super) injected: bool,
    /// Octets seen.
    pub(super) seen: u64,
    /// Octets lost.
    pub(super) lost: u64,
    /// Packets.
    pub(super) packets: u64,
    /// Octets that the other side had received when it last spoke, where that is known.
    pub(super) acked: Option<u64>,
    /// What is read, or held, has come through the layer.
    pub(super) inflated: bool,
    /// The answer that its octets wait for is lost: what they say themselves will tell how to read on.
    pub(super) deferred: bool,
    /// When its last line came.
    pub(super) since: Timestamp,
    /// Whether its bytes are packed is being found out.
    pub(super) trial: Option<Box<Trial>>,
    /// Where the last line begins that was found not to be.
    pub(super) unpacked: Option<u64>,
}

/// A client that sends more so much later than the line whose answer it should wait for has given that up.
const GIVEN_UP: Duration = Duration::from_secs(10);

impl DirectionState {
    pub(super) fn position(&self) -> u64 {
        self.seen + self.lost
    }
}

impl Session {
    /// One input for a machine that is decided on.
    pub(super) fn take(&mut self, dir: Dir, stamp: Stamp, input: Input<'_>, out: &mut dyn Sink) {
        if matches!(self.protocol_state, ProtocolState::Ignored(_)) {
            return;
        }
        if let (Input::Gap(_), Some(layer)) = (&input, &mut self.directions[dir].layer) {
            layer.resume();
        }
        if dir == Dir::ToServer && matches!(input, Input::Data(_)) {
            self.client_acts(stamp, out);
        }
        match input {
            Input::Data(octets) => self.feed(dir, stamp, octets, out),
            input => self.interrupt(dir, stamp, &input, out),
        }
    }

    /// A hole, or the end of a direction: in its turn, if octets before it wait.
    fn interrupt(&mut self, dir: Dir, stamp: Stamp, input: &Input<'_>, out: &mut dyn Sink) {
        let held = self.directions[dir].held.waits();
        let waits = held || self.directions[dir].framer.mode() == FramingMode::Await;
        // A hole behind a hole is one hole: nothing lies between them that could wait.
        let waits = waits && (held || !matches!(input, Input::Gap(_)) || !self.protocol_state.is_behind_gap());
        match input {
            _ if waits => {
                // What is lost came so late that the client had given up its answer.
                let given_up = matches!(input, Input::Gap(_)) && self.is_given_up(dir, stamp);
                self.directions[dir].held.push(dir, stamp, input);
                self.end_trial(dir, out);
                self.look(dir, true, out);
                if given_up {
                    self.unanswered(true, out);
                }
            }
            Input::Gap(lost) => self.gap(dir, stamp, *lost, out),
            _ => self.close(dir, stamp, matches!(input, Input::Reset), out),
        }
        if dir == Dir::ToClient {
            // The answer that the client's octets wait for is lost, or will never come.
            self.unanswered(false, out);
        }
    }

    fn feed(&mut self, dir: Dir, stamp: Stamp, octets: &[u8], out: &mut dyn Sink) {
        if self.directions[dir].layer.is_some() {
            self.inflate(dir, stamp, octets, out);
        } else {
            self.directions[dir].inflated = false;
            self.plain(dir, stamp, octets, out);
        }
    }

    /// Octets of the protocol itself: framed as far as is decided, the rest is held.
    fn plain(&mut self, dir: Dir, stamp: Stamp, octets: &[u8], out: &mut dyn Sink) {
        let used = if self.directions[dir].held.waits() { 0 } else { self.pump(dir, stamp, octets, out) };
        let rest = octets.get(used..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        let direction = &self.directions[dir];
        if direction.layer.is_some() && !direction.inflated && direction.framer.mode() != FramingMode::Await {
            return self.inflate(dir, stamp, rest, out);
        }
        if self.is_given_up(dir, stamp) {
            self.directions[dir].deferred = true;
        }
        self.directions[dir].held.push(dir, stamp, &Input::Data(rest));
        if self.directions[dir].trial.is_some() {
            return self.drain(dir, out);
        }
        self.look(dir, false, out);
        if !self.directions[dir].held.waits() {
            return;
        }
        if self.directions[dir].held.len() > self.limits.hold {
            self.state.incomplete.add(Missing::HoldOverflow);
            self.unanswered(true, out);
        } else {
            self.look_at_held(dir, out);
        }
    }

    /// Reads on in what is held as far as it tells how: what follows one decision may wait for the next.
    fn look_at_held(&mut self, dir: Dir, out: &mut dyn Sink) {
        let mut before = usize::MAX;
        while (self.is_blind() || self.protocol_state.watches_held() || self.directions[dir].deferred)
            && self.directions[dir].held.waits()
            && self.directions[dir].held.len() < before
        {
            before = self.directions[dir].held.len();
            self.unanswered(false, out);
        }
    }

    pub(super) fn inflate(&mut self, dir: Dir, stamp: Stamp, mut octets: &[u8], out: &mut dyn Sink) {
        while !octets.is_empty() {
            let Some(mut layer) = self.directions[dir].layer.take() else {
                return self.plain(dir, stamp, octets, out);
            };
            let step = layer.step(octets, self.limits.inflate_line);
            octets = octets.get(step.used..).unwrap_or_default();
            self.directions[dir].inflated = true;
            // What came out before the damage is good.
            let broken = step.broken;
            self.plain(dir, stamp, step.octets, out);
            if broken && layer.seek() {
                self.state.incomplete.add(Missing::Unparseable);
                self.directions[dir].layer = Some(layer);
                self.interrupt(dir, stamp, &Input::Gap(1), out);
                continue;
            }
            if broken {
                return self.lose_layer(dir, stamp, out);
            }
            if matches!(self.protocol_state, ProtocolState::Counted) {
                return;
            }
            let direction = &mut self.directions[dir];
            if direction.closing && layer.is_flushed() {
                direction.closing = false;
            } else {
                direction.layer = Some(layer);
            }
        }
    }

    /// Cuts frames off `input` and hands them to the machine; how many octets were used.
    pub(super) fn pump(&mut self, dir: Dir, stamp: Stamp, input: &[u8], out: &mut dyn Sink) -> usize {
        let mut used = 0;
        let layered = self.directions[dir].inflated;
        let reached = self.directions[dir].position();
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let direction = &mut self.directions[dir];
            let mode = direction.framer.mode();
            if mode == FramingMode::Await || (rest.is_empty() && !direction.framer.is_ready()) {
                return used;
            }
            if mode == FramingMode::Line && !direction.framer.inside_line() && std::mem::take(&mut self.state.may_wrap)
            {
                // A SASL buffer begins with its length in four octets, below 16 MiB (RFC 4422 section 3.7); no text does.
                if rest.first().is_some_and(|octet| *octet <= 1) {
                    self.wrap();
                    continue;
                }
            }
            if mode == FramingMode::Line && !direction.framer.inside_line() && !layered && is_tls_in_clear(dir, rest) {
                if is_fresh(&self.directions[dir]) {
                    // It took the port for one where TLS is spoken from the start.
                    self.state.tls.mode = Some(TlsMode::Implicit);
                }
                self.directions[dir].framer.set_mode(FramingMode::Opaque);
                continue;
            }
            if mode == FramingMode::Line && !layered && self.may_be_packed(dir, rest) {
                self.begin_trial(dir);
                return used;
            }
            if mode == FramingMode::Opaque {
                let taken = self.opaque(dir, stamp, rest);
                used += taken;
                if taken == 0 && self.directions[dir].framer.mode() == FramingMode::Opaque {
                    return input.len();
                }
                continue;
            }
            let cap = self.limits.line_of(self.context.protocol);
            let Both { to_server, to_client } = &mut self.directions;
            let (direction, other) = match dir {
                Dir::ToServer => (to_server, &*to_client),
                Dir::ToClient => (to_client, &*to_server),
            };
            let (taken, frame) = direction.framer.next(stamp.at, rest, cap);
            used += taken;
            let Some(frame) = frame else { continue };
            if matches!(frame, Frame::Line(_)) {
                direction.since = stamp.at;
            }
            let offset = match &frame {
                // Inside a layer, octets are not those that TCP acknowledges: those of the piece are.
                Frame::Line(_) if layered => reached,
                Frame::Line(line) => line.end(),
                _ => 0,
            };
            let mut cx = EventContext::new(&mut self.state, &self.limits, &mut self.context, stamp, &mut *out);
            (cx.offset, cx.held) = (offset, other.held.octets(dir.reverse()));
            let role = if cx.session.reversed { dir.reverse() } else { dir };
            if role == Dir::ToServer
                && let Frame::Line(line) = &frame
            {
                suspect(line, dir, &mut cx);
                cx.session.secrets.begin_line();
            }
            self.protocol_state.frame(role, &frame, &mut cx);
            if role == Dir::ToServer
                && let Frame::Line(line) = &frame
                && !cx.session.secrets.is_line_settled()
            {
                let secrets = &mut cx.session.secrets;
                self.protocol_state.suspect(line.octets, secrets);
                if line.truncated {
                    secrets.overrun();
                }
            }
            let (modes, layers, turn) = (cx.modes, cx.layers, cx.turn);
            if self.is_overworked(taken) {
                return input.len();
            }
            let had_layer = self.directions[dir].layer.is_some();
            let relayered = layers[role].is_some();
            if self.apply(modes, layers) {
                self.drain(dir.reverse(), out);
                self.resume(dir.reverse(), stamp, out);
                if dir == Dir::ToClient || self.state.reversed {
                    self.look_at_held(dir.reverse(), out);
                }
            }
            self.state.reversed ^= turn;
            // A reply that was put off until now may have begun the layer too.
            if relayered || self.directions[dir].layer.is_some() != had_layer {
                return used;
            }
        }
    }

    /// Applies what a machine asked for; whether the other lane may have become readable.
    fn apply(&mut self, modes: Both<Option<FramingMode>>, layers: Both<Option<Layer>>) -> bool {
        let mut changed = false;
        for role in [Dir::ToServer, Dir::ToClient] {
            let dir = if self.state.reversed { role.reverse() } else { role };
            if let Some(mode) = modes[role] {
                if mode == FramingMode::Opaque && self.state.tls.accepted == Some(true) {
                    self.agreed = self.directions[Dir::ToClient].framer.offset();
                }
                self.directions[dir].framer.set_mode(mode);
                self.directions[dir].deferred = false;
                changed = true;
            }
            match layers[role] {
                Some(Layer::Deflate) => {
                    self.directions[dir].layer = Some(Box::new(Inflate::new()));
                    self.directions[dir].closing = false;
                    changed = true;
                }
                Some(Layer::Plain) => {
                    let direction = &mut self.directions[dir];
                    direction.closing = true;
                    if direction.layer.as_ref().is_some_and(|layer| layer.is_flushed()) {
                        (direction.layer, direction.closing) = (None, false);
                    }
                }
                None => {}
            }
        }
        changed
    }

    /// Takes up what was held, as far as it is decided now.
    pub(super) fn drain(&mut self, dir: Dir, out: &mut dyn Sink) {
        // Reading on may decide the other direction, and that this one again: then the outer loop goes on.
        if !std::mem::replace(&mut self.directions[dir].draining, true) {
            self.read_held(dir, out);
            self.directions[dir].draining = false;
        }
    }

    fn read_held(&mut self, dir: Dir, out: &mut dyn Sink) {
        while self.decide_trial(dir, out) && self.directions[dir].framer.mode() != FramingMode::Await {
            let Some((stamp, piece, buffer)) = self.directions[dir].held.first() else { return };
            match piece {
                HeldInput::Octets { from, to } => {
                    let octets = buffer.get(from..to).unwrap_or_default();
                    if self.directions[dir].layer.is_some() && !self.directions[dir].inflated {
                        // A layer began where the wait began: what waited goes through it.
                        self.directions[dir].held.used(0, buffer);
                        let held = std::mem::take(&mut self.directions[dir].held);
                        self.directions[dir].draining = false;
                        return held.replay(|dir, stamp, input| self.take(dir, stamp, input, out));
                    }
                    let used = self.pump(dir, stamp, octets, out);
                    self.directions[dir].held.used(used, buffer);
                }
                HeldInput::Gap(lost) => {
                    self.directions[dir].held.used(0, buffer);
                    self.gap(dir, stamp, lost, out);
                }
                HeldInput::Fin | HeldInput::Reset => {
                    self.directions[dir].held.used(0, buffer);
                    self.close(dir, stamp, matches!(piece, HeldInput::Reset), out);
                }
            }
        }
    }

    /// After a loss, a reply was put off until what was held before it is read: now it is.
    fn resume(&mut self, dir: Dir, stamp: Stamp, out: &mut dyn Sink) {
        let (modes, layers) = self.with_protocol(stamp, out, |protocol_state, cx| match protocol_state {
            ProtocolState::Smtp(smtp) => smtp.resume(cx),
            ProtocolState::Imap(imap) => imap.resumed(cx),
            _ => {}
        });
        if self.apply(modes, layers) {
            self.drain(dir, out);
        }
    }

    /// The end: what is held is read as it would most likely have been.
    pub(super) fn release(&mut self, dir: Dir, out: &mut dyn Sink) {
        while self.directions[dir].held.waits() {
            let before = self.directions[dir].held.len();
            self.end_trial(dir, out);
            if dir == Dir::ToServer {
                self.unanswered(true, out);
            } else {
                self.look(dir, true, out);
                self.directions[dir].framer.set_mode(FramingMode::Line);
                self.drain(dir, out);
            }
            if self.directions[dir].held.waits() && self.directions[dir].held.len() == before {
                return;
            }
        }
    }

    /// Whether what comes at `stamp` shows that the client does not wait for its answer any more.
    fn is_given_up(&self, dir: Dir, stamp: Stamp) -> bool {
        let direction = &self.directions[dir];
        dir == Dir::ToServer
            && matches!(self.protocol_state, ProtocolState::Pop3(_) | ProtocolState::Imap(_))
            && direction.framer.mode() == FramingMode::Await
            && stamp.at.since(direction.since).is_some_and(|pause| pause >= GIVEN_UP)
    }

    /// The server's bytes stopped where a text may end, or a response: what follows tells whether it does. `last`: no more
    /// will come to help.
    fn look(&mut self, dir: Dir, last: bool, out: &mut dyn Sink) {
        let closed = self.closed.is_some() && !self.directions[dir].held.has_gap();
        let mut before = None;
        while dir == Dir::ToClient
            && self.directions[dir].framer.mode() == FramingMode::Await
            && before.replace(self.directions[dir].held.len()) != Some(self.directions[dir].held.len())
        {
            let held = std::mem::take(&mut self.directions[dir].held);
            let (modes, layers) = self.with_protocol(held.stamp(), out, |protocol_state, cx| match protocol_state {
                ProtocolState::Pop3(pop3) => pop3.looked_at(held.octets(dir), last, cx),
                ProtocolState::Imap(imap) => imap.look_at_lines(held.octets(dir), last, closed, cx),
                _ => {}
            });
            self.directions[dir].held = held;
            if self.apply(modes, layers) {
                self.drain(dir, out);
            }
        }
    }

    /// The client acts at `stamp`: that tells what it took the server's bytes for that wait.
    fn client_acts(&mut self, stamp: Stamp, out: &mut dyn Sink) {
        let server = &self.directions[Dir::ToClient];
        if server.framer.mode() != FramingMode::Await || !server.held.waits() {
            return;
        }
        let ProtocolState::Imap(imap) = &mut self.protocol_state else { return };
        // Inside a layer, the bytes that wait are not those that TCP acknowledges.
        let all = if stamp.peer >= server.position() { u64::MAX } else { 0 };
        imap.client_acts(if server.inflated { all } else { stamp.peer });
        self.look(Dir::ToClient, false, out);
    }

    /// Whether answers cannot come: the server's direction is not captured, or cannot be read any more.
    fn is_blind(&self) -> bool {
        let server = &self.directions.to_client;
        let seeking = server.layer.as_ref().is_some_and(|layer| layer.is_seeking());
        let opaque = server.framer.mode() == FramingMode::Opaque && !self.state.opaque;
        (server.seen == 0 && server.lost > 0) || opaque || seeking
    }

    /// No answer to what the client's octets wait for: the machine says how to read on. `surely`: it must.
    fn unanswered(&mut self, surely: bool, out: &mut dyn Sink) {
        let dir = if self.state.reversed { Dir::ToClient } else { Dir::ToServer };
        if self.directions[dir].framer.mode() != FramingMode::Await {
            return;
        }
        let held = std::mem::take(&mut self.directions[dir].held);
        let stamp = held.stamp();
        let (modes, layers) = self.with_protocol(stamp, out, |protocol_state, cx| {
            protocol_state.unanswered(held.octets(dir), surely, cx);
        });
        self.directions[dir].held = held;
        self.apply(modes, layers);
        if self.directions[dir].framer.mode() == FramingMode::Await {
            self.directions[dir].deferred = !surely;
            if surely {
                self.directions[dir].framer.set_mode(FramingMode::Line);
            }
        }
        self.drain(dir, out);
    }

    fn gap(&mut self, dir: Dir, stamp: Stamp, lost: u64, out: &mut dyn Sink) {
        if self.directions[dir].framer.mode() == FramingMode::Opaque {
            self.tls.gap(dir);
            _ = self.directions[dir].framer.gap(lost);
            return;
        }
        let role = if self.state.reversed { dir.reverse() } else { dir };
        if role == Dir::ToServer {
            self.cut_line(dir, stamp, out);
        }
        let direction = &mut self.directions[dir];
        let layered = direction.layer.is_some();
        if layered && matches!(direction.framer.mode(), FramingMode::Octets(_)) {
            // Nobody knows how much of what is packed was lost.
            direction.framer.set_mode(FramingMode::Line);
        }
        let (frame, beyond) = direction.framer.gap(lost);
        if matches!(self.protocol_state, ProtocolState::Smtp(_) | ProtocolState::Pop3(_) | ProtocolState::Imap(_)) {
            // Their lines tell by their heads whether they are whole.
            self.directions[dir].framer.set_skip_line(false);
        }
        let direction = &self.directions[dir];
        let end = if layered { direction.position() } else { direction.framer.offset() };
        let (modes, layers) = self.with_protocol(stamp, out, |protocol_state, cx| {
            if let Some(frame) = frame {
                protocol_state.frame(role, &frame, cx);
            }
            if beyond > 0 {
                cx.offset = end;
                protocol_state.gap(role, beyond, cx);
            }
        });
        if self.apply(modes, layers) {
            self.drain(dir.reverse(), out);
        }
    }

    /// A line of the client has begun, and its end is lost.
    fn cut_line(&mut self, dir: Dir, stamp: Stamp, out: &mut dyn Sink) {
        let Some(line) = self.directions[dir].framer.last_line() else { return };
        let mut cx = EventContext::new(&mut self.state, &self.limits, &mut self.context, stamp, out);
        cx.offset = line.end();
        if let ProtocolState::Imap(imap) = &mut self.protocol_state {
            imap.cut_line(&line, &mut cx);
        }
    }

    /// The layer of `dir` cannot be read any more (RFC 4978: each octet depends on those before): nor can what it carries.
    fn lose_layer(&mut self, dir: Dir, stamp: Stamp, out: &mut dyn Sink) {
        self.state.incomplete.add(Missing::Unparseable);
        let role = if self.state.reversed { dir.reverse() } else { dir };
        let (modes, layers) = self.with_protocol(stamp, out, |protocol_state, cx| protocol_state.gap(role, 1, cx));
        self.apply(modes, layers);
        self.directions[dir].framer.set_mode(FramingMode::Opaque);
        self.unanswered(false, out);
    }

    /// The sender of `dir` closed. A server's last line may lack its end; a client's was never carried out.
    fn close(&mut self, dir: Dir, stamp: Stamp, reset: bool, out: &mut dyn Sink) {
        let server = if self.state.reversed { Dir::ToServer } else { Dir::ToClient };
        if dir != server || reset {
            return;
        }
        let Some(line) = self.directions[dir].framer.last_line() else { return };
        let mut cx = EventContext::new(&mut self.state, &self.limits, &mut self.context, stamp, out);
        cx.offset = line.end();
        self.protocol_state.frame(Dir::ToClient, &Frame::Line(line), &mut cx);
        let (modes, layers) = (cx.modes, cx.layers);
        self.apply(modes, layers);
    }

    pub(super) fn with_protocol(
        &mut self,
        stamp: Stamp,
        out: &mut dyn Sink,
        act: impl FnOnce(&mut ProtocolState, &mut EventContext<'_>),
    ) -> (Both<Option<FramingMode>>, Both<Option<Layer>>) {
        let mut cx = EventContext::new(&mut self.state, &self.limits, &mut self.context, stamp, out);
        act(&mut self.protocol_state, &mut cx);
        (cx.modes, cx.layers)
    }

    /// A SASL security layer: nothing can be read any more.
    fn wrap(&mut self) {
        self.state.opaque = true;
        for dir in [Dir::ToServer, Dir::ToClient] {
            self.directions[dir].framer.set_mode(FramingMode::Opaque);
        }
    }

    /// Octets of a direction that is opaque: how many were used. 0 with the mode changed: they are text after all.
    fn opaque(&mut self, dir: Dir, stamp: Stamp, octets: &[u8]) -> usize {
        let agreed = self.state.tls.accepted == Some(true) && self.state.tls.mode == Some(TlsMode::StartTls);
        let inside = self.directions[dir].injected;
        if agreed && !self.tls.begun() && (inside || !octets.first().is_some_and(|o| tls::begins(*o))) {
            if !inside && dir == Dir::ToServer && stamp.peer >= self.agreed {
                // The client goes on in clear although the server agreed to TLS.
                self.plain_again();
                return 0;
            }
            // Injected before the agreement, or behind it: not a word of it counts.
            let end = memchr::memchr(b'\n', octets);
            self.directions[dir].injected = end.is_none();
            let line = end.map_or(octets.len(), |i| i + 1);
            self.directions[dir].framer.advance_by(line as u64);
            return line;
        }
        self.tls.octets(stamp.at, dir, octets);
        self.directions[dir].framer.advance_by(octets.len() as u64);
        octets.len()
    }

    fn plain_again(&mut self) {
        for dir in [Dir::ToServer, Dir::ToClient] {
            self.directions[dir].framer.set_mode(FramingMode::Line);
        }
        self.state.opaque = false;
        self.state.tls.mode = None;
        // None began: the captures of appliances that decrypt TLS look so.
        self.state.tls.handshake = Some(Handshake::Unseen);
    }
}

fn is_fresh(direction: &DirectionState) -> bool {
    direction.framer.offset() == 0 && direction.lost == 0
}

/// Whether a TLS record begins where a line should: no text begins with such an octet.
fn is_tls_in_clear(dir: Dir, octets: &[u8]) -> bool {
    matches!(octets, [0x16, ..]) && dir == Dir::ToServer
}

/// What a client's line shows against the rules of lines (RFC 5321 section 2.3.8).
fn suspect(line: &Line<'_>, dir: Dir, cx: &mut EventContext<'_>) {
    // The longest line that an extension explains: a SASL response (RFC 4954 section 4).
    const LONGEST: u64 = 12_288;
    if line.ending == LineEnding::Lf {
        cx.anomaly(Id::LineBareLf, Severity::Low, dir, line.start, 1);
    }
    if line.wire > LONGEST || line.truncated {
        cx.anomaly(Id::LineOverlong, Severity::Low, dir, line.start, 1);
    }
    if memchr::memchr(0, line.octets).is_some() {
        cx.anomaly(Id::LineNul, Severity::Info, dir, line.start, 1);
    }
}

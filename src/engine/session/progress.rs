//! What a session tells of itself while it goes on, and what its connection tells of the octets that carried it.

use std::time::Duration;

use crate::engine::Session;
use crate::engine::protocol::ProtocolState;
use crate::event::{Dir, Disorder, Event, Protocol, Sink, TlsMode, Upstream};
use crate::time::Timestamp;

impl Session {
    /// The server took the connection `after` the client asked for it.
    pub fn connected(&mut self, after: Duration) {
        self.context.connect = Some(after);
    }

    /// The proxy went on to `upstream` for it.
    pub fn dialled(&mut self, upstream: Upstream) {
        self.state.upstream = Some(upstream);
    }

    /// It is a health check: every event says so.
    pub fn set_health_check(&mut self) {
        self.context.health_check = true;
    }

    /// Nothing was said, nor will be: `protocol` is what is expected there.
    pub fn presume(&mut self, at: Timestamp, protocol: Protocol, out: &mut dyn Sink) {
        if protocol != Protocol::Unknown && matches!(self.protocol_state, ProtocolState::Undecided(_)) {
            self.protocol_state = ProtocolState::Counted;
            self.context.protocol = protocol;
            self.start(at, out);
            self.told(at, out);
        }
    }

    /// The protocol that the session's start was told with; `None` before it is told, and when the end is.
    pub fn started(&self) -> Option<Protocol> {
        self.started
    }

    /// The segments of `dir` came so (captures only).
    pub fn disorder(&mut self, dir: Dir, disorder: Disorder) {
        let dir = self.oriented(dir);
        let both = self.disorder.get_or_insert_default();
        if let Some(mine) = both.get_mut(dir.index()) {
            *mine = disorder;
        }
    }

    /// `count` octets of `dir` went by that nobody looked at. Only for a session that [is settled](Self::is_settled).
    pub fn skip_bytes(&mut self, at: Timestamp, dir: Dir, count: u64, out: &mut dyn Sink) {
        let dir = self.oriented(dir);
        self.directions[dir].seen += count;
        self.heard(at, dir, count, out);
    }

    /// A packet of `dir` belongs to it (captures only).
    pub fn packet(&mut self, dir: Dir) {
        let dir = self.oriented(dir);
        self.directions[dir].packets += 1;
    }

    /// The protocol is told.
    pub(super) fn start(&mut self, at: Timestamp, out: &mut dyn Sink) {
        if self.is_ignored() {
            return;
        }
        self.started = Some(self.context.protocol);
        out.event(&self.context, at, &Event::Start);
    }

    /// Tells what was heard before that.
    pub(super) fn told(&self, at: Timestamp, out: &mut dyn Sink) {
        for dir in [Dir::ToServer, Dir::ToClient] {
            self.heard(at, dir, self.directions[dir].seen, out);
            self.missed(at, dir, self.directions[dir].lost, out);
        }
    }

    pub(super) fn missed(&self, at: Timestamp, dir: Dir, count: u64, out: &mut dyn Sink) {
        if count > 0 && !self.is_ignored() {
            out.event(&self.context, at, &Event::Lost { dir, count });
        }
    }

    /// The last `count` octets of `dir` are told once they are read, for they may show that they are TLS. The server's
    /// agreement to it is in clear, whatever comes in one piece with it.
    pub(super) fn heard(&self, at: Timestamp, dir: Dir, count: u64, out: &mut dyn Sink) {
        if count == 0 || self.is_ignored() {
            return;
        }
        let mut say = |count, tls| {
            if count > 0 {
                out.event(&self.context, at, &Event::Octets { dir, count, tls });
            }
        };
        let mode = self.state.tls_mode();
        let begin = self.directions[dir].position().saturating_sub(count);
        let clear = match (mode, dir) {
            (TlsMode::StartTls, Dir::ToClient) => self.agreed.saturating_sub(begin).min(count),
            _ => 0,
        };
        say(clear, TlsMode::None);
        say(count - clear, mode);
    }
}

//! The beginning of a session: inputs are held until they tell which protocol is spoken, then read again by its machine.

use super::state::Stamp;
use crate::engine::detect::{Evidence, Verdict};
use crate::engine::frame::Mode;
use crate::engine::protocol::ProtocolState;
use crate::engine::{Session, detect, imap, pop3, smtp};
use crate::event::{Dir, Input, Sink};
use crate::event::{Other, Protocol, TlsMode};
use crate::time::Timestamp;

impl Session {
    /// Octets while the protocol is not told, in steps: the verdict must not hang on how the sender cut them.
    pub(super) fn listen(&mut self, dir: Dir, stamp: Stamp, mut octets: &[u8], out: &mut dyn Sink) {
        let flipped = self.flipped;
        while let ProtocolState::Undecided(held) = &mut self.protocol_state {
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
    pub(super) fn decide(&mut self, at: Timestamp, last: bool, out: &mut dyn Sink) {
        let ProtocolState::Undecided(held) = &mut self.protocol_state else { return };
        if self.context.peers.roles_certain && self.state.proxied_client.is_none() {
            match detect::preamble(held.octets(Dir::ToServer)) {
                Some(None) if !last => return,
                Some(Some((length, client))) => {
                    held.consume(Dir::ToServer, length);
                    self.directions[Dir::ToServer].framer.advance_by(length as u64);
                    self.state.proxied_client = client;
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
        let ProtocolState::Undecided(held) = std::mem::replace(&mut self.protocol_state, ProtocolState::Counted) else {
            return;
        };
        self.adopt(verdict);
        self.start(at, out);
        let flipped = self.flipped;
        held.replay(|dir, stamp, input| {
            let dir = if flipped { dir.reverse() } else { dir };
            self.take(dir, stamp, input, out);
        });
        self.told(at, out);
    }

    pub(super) fn adopt(&mut self, verdict: Verdict) {
        let mail = match verdict {
            Verdict::Mail { protocol, reversed } => {
                if reversed {
                    self.flip();
                }
                protocol
            }
            Verdict::Tls(protocol) if protocol != Protocol::Unknown => {
                self.context.protocol = protocol;
                self.state.tls.mode = Some(TlsMode::Implicit);
                self.state.opaque = true;
                for dir in [Dir::ToServer, Dir::ToClient] {
                    self.directions[dir].framer.set_mode(Mode::Opaque);
                }
                return;
            }
            Verdict::Tls(_) => return self.protocol_state = ProtocolState::Ignored(Some(Other::Tls)),
            Verdict::Other(other) => return self.protocol_state = ProtocolState::Ignored(Some(other)),
            Verdict::Wait | Verdict::Unknown => return self.protocol_state = ProtocolState::Ignored(None),
        };
        self.context.protocol = mail;
        self.protocol_state = match mail {
            Protocol::Smtp | Protocol::Lmtp => {
                let smtp = smtp::Smtp::new(self.context.peers.roles_certain, mail);
                self.directions.to_server.framer.set_mode(smtp.first_mode());
                ProtocolState::Smtp(Box::new(smtp))
            }
            Protocol::Pop3 => ProtocolState::Pop3(Box::new(pop3::Pop3::new(self.context.peers.roles_certain))),
            Protocol::Imap => ProtocolState::Imap(Box::new(imap::Imap::new(self.context.peers.roles_certain))),
            Protocol::ManageSieve => ProtocolState::Counted,
            Protocol::Unknown => ProtocolState::Ignored(None),
        };
    }

    /// The roles were guessed the wrong way round.
    fn flip(&mut self) {
        self.flipped = !self.flipped;
        let peers = &mut self.context.peers;
        std::mem::swap(&mut peers.client, &mut peers.server);
        std::mem::swap(&mut self.directions.to_server, &mut self.directions.to_client);
        self.closed = self.closed.map(|(dir, how)| (dir.reverse(), how));
        self.state.incomplete.swap_directions();
    }
}

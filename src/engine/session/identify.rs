//! The beginning of a session: inputs are held until they tell which protocol is spoken, then read again by its machine.

use super::state::Stamp;
use crate::engine::detect::{DetectionEvidence, Host, OpenTunnel, Verdict};
use crate::engine::frame::FramingMode;
use crate::engine::inflate::Inflate;
use crate::engine::protocol::ProtocolState;
use crate::engine::proxy_header::{self, ParsedHeader, Reading};
use crate::engine::{Session, detect, imap, pop3, smtp};
use crate::event::{Dir, Input, Other, Protocol, Sink, Text, TlsMode, Tunnel, TunnelHost};
use crate::time::Timestamp;

/// Tunnels inside each other that are followed: to a proxy through a proxy is in use, more is a game.
const TUNNELS: u8 = 4;

impl DetectionEvidence<'_> {
    /// Whether it is IMAP, and was agreed to be packed before the capture began.
    fn is_deflated(&self) -> bool {
        let sides = [(Dir::ToServer, self.client), (Dir::ToClient, self.server)];
        let imap = self.midstream && self.prior == Some(Protocol::Imap);
        imap && sides.into_iter().any(|(dir, octets)| imap::is_deflated(dir, octets))
    }
}

impl Session {
    /// Octets while the protocol is not told, in steps: the verdict must not hang on how the sender cut them.
    pub(super) fn listen(&mut self, dir: Dir, stamp: Stamp, mut octets: &[u8], out: &mut dyn Sink) {
        let flipped = self.flipped;
        let roles_certain = self.context.peers.roles_certain;
        while let ProtocolState::Undecided(held) = &mut self.protocol_state {
            let heard = held.octets(dir);
            let room = self.limits.detect.saturating_sub(heard.len()).max(1);
            let step = detect::step(heard, octets, !roles_certain || held.has_gap());
            let Some((now, later)) = octets.split_at_checked(step.min(room)) else { return };
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
        let prior = self.expected();
        let ProtocolState::Undecided(held) = &mut self.protocol_state else { return };
        if self.context.peers.roles_certain && self.context.proxied_client.is_none() {
            let octets = held.octets(Dir::ToServer);
            match proxy_header::parse(octets, Reading::Lenient) {
                ParsedHeader::NeedMore if !last && !octets.is_empty() => return,
                ParsedHeader::Complete(header) => {
                    let (length, ends) = (header.length, header.ends);
                    held.consume(Dir::ToServer, length);
                    self.directions[Dir::ToServer].framer.advance_by(length as u64);
                    self.context.proxied_client = ends.map(|(client, _)| client);
                    // The balancer spoke first; who speaks first behind it is what counts.
                    let spoken = [Dir::ToServer, Dir::ToClient].map(|d| !held.octets(d).is_empty());
                    self.server_first = spoken.contains(&true).then_some(!spoken[0]);
                }
                _ => {}
            }
        }
        let overflow = [Dir::ToServer, Dir::ToClient].iter().any(|d| held.octets(*d).len() >= self.limits.detect);
        let evidence = DetectionEvidence {
            client: held.octets(Dir::ToServer),
            server: held.octets(Dir::ToClient),
            prior,
            midstream: !self.context.peers.roles_certain || held.has_gap(),
            reversible: !self.context.peers.roles_certain,
            server_first: self.server_first.unwrap_or(false),
            is_deep: self.tunnels == TUNNELS,
            last: last || overflow,
        };
        let deflated = evidence.is_deflated();
        let verdict = if deflated { detect::IMAP } else { detect::decide(&evidence) };
        match verdict {
            Verdict::Wait if !evidence.last => return,
            Verdict::Tunnel(opened) => {
                self.enter(opened, at);
                return self.decide(at, last, out);
            }
            _ => {}
        }
        let ProtocolState::Undecided(held) = std::mem::replace(&mut self.protocol_state, ProtocolState::Counted) else {
            return;
        };
        self.adopt(verdict);
        if deflated {
            for dir in Dir::BOTH {
                self.directions[dir].layer = Some(Box::new(Inflate::resumed()));
            }
        }
        self.start(at, out);
        let flipped = self.flipped;
        held.replay(|dir, stamp, input| {
            let dir = if flipped { dir.reverse() } else { dir };
            self.take(dir, stamp, input, out);
        });
        self.told(at, out);
    }

    /// Bytes of the client are lost behind what may be the head of a balancer's header: it is sent in one piece, so that
    /// no command began before.
    pub(super) fn tear_header(&mut self) {
        let ProtocolState::Undecided(held) = &mut self.protocol_state else { return };
        let octets = held.octets(Dir::ToServer);
        let begun = !octets.is_empty() && proxy_header::parse(octets, Reading::Lenient) == ParsedHeader::NeedMore;
        let first = self.context.peers.roles_certain && self.context.proxied_client.is_none() && !held.has_gap();
        if begun && first {
            let length = octets.len();
            held.consume(Dir::ToServer, length);
            self.directions[Dir::ToServer].framer.advance_by(length as u64);
        }
    }

    /// A tunnel is open: what asked for it is passed over, and what it carries is told apart anew.
    fn enter(&mut self, opened: OpenTunnel, at: Timestamp) {
        let ProtocolState::Undecided(held) = &mut self.protocol_state else { return };
        self.tunnels += 1;
        let host = match opened.host {
            Host::Ip(ip) => TunnelHost::Ip(ip),
            Host::Name(from, length) => {
                let mut name = Text::default();
                let octets = held.octets(Dir::ToServer).get(from..).and_then(|rest| rest.get(..length));
                if let Some(octets) = octets.filter(|octets| octets.iter().all(u8::is_ascii_graphic)) {
                    name.set(octets);
                }
                TunnelHost::Name(name)
            }
        };
        self.state.tunnel = Some(Box::new(Tunnel { kind: opened.kind, host, port: opened.port }));
        for (dir, used) in [Dir::ToServer, Dir::ToClient].into_iter().zip(opened.used) {
            held.consume(dir, used);
            self.directions[dir].framer.advance_by(used as u64);
        }
        // Who speaks first inside is what counts, and when: the greeting can come from now on.
        let spoken = [Dir::ToServer, Dir::ToClient].map(|d| !held.octets(d).is_empty());
        self.server_first = spoken.contains(&true).then_some(!spoken[0]);
        self.context.peers.established = self.context.peers.established.map(|_| at);
    }

    /// What the port suggests that the client asked for: that of the destination, if a tunnel leads there.
    fn expected(&self) -> Option<Protocol> {
        let port = self.state.tunnel.as_ref().map_or_else(|| self.context.peers.server.port(), |tunnel| tunnel.port);
        self.limits.prior(port)
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
                    self.directions[dir].framer.set_mode(FramingMode::Opaque);
                }
                return;
            }
            Verdict::Tls(_) => return self.protocol_state = ProtocolState::Ignored(Some(Other::Tls)),
            Verdict::Other(other) => return self.protocol_state = ProtocolState::Ignored(Some(other)),
            Verdict::OtherReversed(other) => {
                self.flip();
                return self.protocol_state = ProtocolState::Ignored(Some(other));
            }
            Verdict::Wait | Verdict::Unknown | Verdict::Tunnel(_) => {
                return self.protocol_state = ProtocolState::Ignored(None);
            }
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

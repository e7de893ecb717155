//! Where a session turns opaque, and where it turns readable again: TLS, and the layers of SASL.

use super::detect::Verdict;
use super::event::{Handshake, Secured, TlsMode};
use super::frame::{Framer, Mode};
use super::held::Held;
use super::ledger::Stamp;
use super::machine::Machine;
use super::{Dir, Session, Sink, tls};
use crate::time::Timestamp;

impl Session {
    /// From here on the octets are what TLS carries, both ways; what came in clear and was not read yet counts for
    /// nothing (RFC 3207 section 4.2).
    pub fn secured(&mut self, at: Timestamp, how: &Secured, out: &mut dyn Sink) {
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
            }
            return;
        }
        tls.decrypted = true;
        (self.ledger.opaque, self.ledger.may_wrap) = (false, false);
        if matches!(self.machine, Machine::Smtp(_) | Machine::Pop3(_) | Machine::Imap(_)) {
            for dir in Dir::BOTH {
                let lane = &mut self.lanes[dir];
                lane.held = Held::default();
                (lane.layer, lane.closing, lane.injected) = (None, false, false);
                lane.framer = Framer::new();
                lane.framer.advance_by(lane.position());
            }
        }
    }

    /// A SASL security layer: nothing can be read any more.
    pub(super) fn wrap(&mut self) {
        self.ledger.opaque = true;
        for dir in [Dir::ToServer, Dir::ToClient] {
            self.lanes[dir].framer.set_mode(Mode::Opaque);
        }
    }

    /// Octets of a direction that is opaque: how many were used. 0 with the mode changed: they are text after all.
    pub(super) fn opaque(&mut self, dir: Dir, stamp: Stamp, octets: &[u8]) -> usize {
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
        self.tls.octets(dir, octets);
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

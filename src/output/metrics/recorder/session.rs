//! What is counted of a session as a whole.

use std::time::Duration;

use super::{COVERS, ListenerHandles, PHASES};
use crate::event::{Bypass, Refusal};
use crate::event::{
    Context, Dir, Disorder, Handshake, How, Missing, Protocol, SessionOutcome, Summary, TlsFailure, TlsMode,
};
use crate::output::metrics::families::FamilyId;
use crate::output::metrics::labels;
use crate::output::metrics::labels::{
    CIPHERS, Cover, EXTENSIONS, Eviction, ParserError, SIDES, StartTlsOutcome, TLS_VERSIONS,
};
use crate::output::metrics::series::seconds;

impl ListenerHandles {
    pub(super) fn start(&mut self, context: &Context) {
        self.sessions.add(&self.place, 0, 1, || []);
        if let Some(active) = &self.active {
            active.inc();
        }
        if let Some(midstream) = &mut self.midstream
            && !context.peers.roles_certain
        {
            midstream.add(&self.place, 0, 1, || []);
        }
        if let Some(took) = context.connect {
            self.connect_seconds.observe(&self.place, 0, seconds(took), || []);
        }
    }

    pub(super) fn lost(&mut self, dir: Dir, count: u64) {
        if let Some(capture) = &mut self.capture {
            capture.gap_octets.add(&self.place, dir.index(), count, || [labels::direction(dir)]);
        }
    }

    pub(super) fn idle(&self, by: i64) {
        if let Some(active) = &self.idle_active {
            active.add(by);
        }
    }

    pub(super) fn idle_over(&mut self, lasted: Duration) {
        self.idle(-1);
        self.idle_seconds.observe(&self.place, 0, seconds(lasted), || []);
    }

    pub(super) fn octets(&mut self, context: &Context, dir: Dir, count: u64, tls: TlsMode) {
        let cover = Cover::of(tls, context.peers.roles_certain);
        let index = dir.index() * COVERS + cover.index();
        self.bytes.add(&self.place, index, count, || [labels::direction(dir), cover.as_str()]);
    }

    pub(super) fn end(&mut self, context: &Context, s: &Summary) {
        let (outcome, phase) = (s.outcome, s.close.phase);
        let index = outcome.index() * PHASES + phase.index();
        self.ended.add(&self.place, index, 1, || [outcome.as_str(), phase.as_str()]);
        let cover = Cover::of(s.tls.mode.unwrap_or(TlsMode::None), context.peers.roles_certain);
        if let Some(lasted) = s.ended.since(context.began) {
            self.duration.observe(&self.place, cover.index(), seconds(lasted), || [cover.as_str()]);
        }
        if let Some(refusal) = refusal(context, s) {
            self.connect_errors.add(&self.place, refusal.index(), 1, || [refusal.as_str()]);
        }
        for entry in s.capabilities.iter().filter(|_| labels::concerns(FamilyId::ExtensionsOffered, context.protocol)) {
            let at = labels::extension(entry);
            self.offered.add(&self.place, at, 1, || [EXTENSIONS.get(at).copied().unwrap_or("other")]);
        }
        for extension in s.extensions.iter().filter(|_| labels::concerns(FamilyId::ExtensionsUsed, context.protocol)) {
            self.used.add(&self.place, extension.index(), 1, || [extension.as_str()]);
        }
        if s.auth.attempts > 0 {
            self.per_session.observe(&self.place, 0, f64::from(s.auth.attempts), || []);
        }
        for (kind, count) in &s.untagged {
            self.untagged(*kind, *count);
        }
        self.encryption(s);
        self.trouble(context, s);
        self.tracking(s);
    }

    fn tracking(&mut self, s: &Summary) {
        let Some(capture) = &mut self.capture else { return };
        for (dir, disorder) in Dir::BOTH.into_iter().zip(s.disorder.into_iter().flatten()) {
            let Disorder { retransmitted, early } = disorder;
            if retransmitted > 0 {
                capture.retransmitted.add(&self.place, dir.index(), retransmitted.into(), || [labels::direction(dir)]);
            }
            if early > 0 {
                capture.early.add(&self.place, dir.index(), early.into(), || [labels::direction(dir)]);
            }
        }
        let eviction = match s.close.how {
            How::Evicted => Eviction::TableFull,
            How::Timeout => Eviction::Idle,
            _ => return,
        };
        capture.evicted.add(&self.place, eviction.index(), 1, || [eviction.as_str()]);
    }

    fn encryption(&mut self, s: &Summary) {
        if let Some(outcome) = starttls(s) {
            self.starttls.add(&self.place, outcome.index(), 1, || [outcome.as_str()]);
        }
        let failures = [s.tls.failure, s.tls.upstream_failure];
        for (side, failure) in failures.into_iter().enumerate().filter_map(|(side, failure)| Some((side, failure?))) {
            if let Some(counters) = &mut self.tls_failures {
                let index = side * TlsFailure::ALL.len() + failure.index();
                let side = SIDES.get(side).copied().unwrap_or_default();
                counters.add(&self.place, index, 1, || [side, failure.as_str()]);
            }
        }
        let Some(mode) = s.tls.mode.filter(|mode| *mode != TlsMode::None) else { return };
        let went = s.tls.handshake.unwrap_or(Handshake::Unseen);
        let word = |list: &[&'static str], at: usize| list.get(at).copied().unwrap_or("unknown");
        let version = labels::tls_version(s.tls.version);
        let index = (mode.index() * Handshake::ALL.len() + went.index()) * TLS_VERSIONS.len() + version;
        self.handshakes.add(&self.place, index, 1, || [mode.as_str(), word(TLS_VERSIONS, version), went.as_str()]);
        if went == Handshake::Ok {
            let cipher = labels::cipher(s.tls.cipher);
            if let Some(took) = s.tls.took {
                self.handshake_seconds.observe(&self.place, 0, seconds(took), || []);
            }
            self.ciphers.add(&self.place, cipher, 1, || [word(CIPHERS, cipher)]);
        }
    }

    fn trouble(&mut self, context: &Context, s: &Summary) {
        let bypass = match s.outcome {
            _ if s.incomplete.has(Missing::WorkLimit) => Some(Bypass::WorkLimit),
            SessionOutcome::Unparseable => Some(Bypass::ParseError),
            _ if context.protocol == Protocol::Unknown && s.other.is_none() && s.bytes != [0, 0] => {
                Some(Bypass::UnknownProtocol)
            }
            _ => None,
        };
        if let Some(bypass) = bypass {
            self.bypassed.add(&self.place, bypass.index(), 1, || [bypass.as_str()]);
        }
        // Commands that cannot be matched, and octets that wait, are the client's.
        for (missing, error) in [
            (Missing::Unparseable, ParserError::Unparseable),
            (Missing::HoldOverflow, ParserError::HoldOverflow),
            (Missing::WorkLimit, ParserError::WorkLimit),
        ] {
            if s.incomplete.has(missing) {
                self.parser_errors
                    .add(&self.place, error.index(), 1, || [labels::direction(Dir::ToServer), error.as_str()]);
            }
        }
    }
}

/// Why the server did not take the connection, if so.
fn refusal(context: &Context, s: &Summary) -> Option<Refusal> {
    let tried = s.packets.is_some() && context.peers.established.is_none() && context.peers.roles_certain;
    match s.close.how {
        _ if !tried || s.bytes != [0, 0] => None,
        How::Reset if s.close.by == Some(Dir::ToClient) => Some(Refusal::Refused),
        How::Timeout => Some(Refusal::Timeout),
        _ => None,
    }
}

/// What became of STARTTLS, if there is something to tell.
fn starttls(s: &Summary) -> Option<StartTlsOutcome> {
    let tls = &s.tls;
    Some(match (tls.requested, tls.accepted, tls.handshake) {
        (Some(true), Some(true), Some(Handshake::Ok)) => StartTlsOutcome::Ok,
        (Some(true), Some(true), Some(Handshake::Failed)) => StartTlsOutcome::HandshakeFailed,
        (Some(true), Some(false), _) => StartTlsOutcome::Refused,
        (Some(true), _, _) => StartTlsOutcome::Abandoned,
        _ if tls.offered == Some(false) && tls.mode.is_none() => StartTlsOutcome::NotOffered,
        _ => return None,
    })
}

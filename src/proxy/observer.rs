//! The observer of one connection. Whatever becomes of it, forwarding goes on.
//!
//! Every call into the engine is fenced: a panic there makes the session opaque and is counted (law 4).

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::health::Probation;
use crate::engine::{Limits, Session};
use crate::event::{Context, Event, Input, Peers, Sink, Upstream};
use crate::event::{Dir, End, EstablishedTls, Phase, Protocol, TlsFailure};
use crate::output::EventFanout;
use crate::time::Timestamp;

/// The engine failed in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault;

/// A session and what it says.
#[derive(Debug)]
pub(super) struct GuardedSession {
    /// Apart from the task, which has room for everything that it ever holds at once.
    session: Box<Session>,
    failed: bool,
    /// While it may be a health check: what it says is heard by nobody yet.
    probation: Option<Box<Probation>>,
}

/// Hears nothing.
struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _: &Context, _: Timestamp, _: &Event<'_>) {}
}

impl GuardedSession {
    pub(super) fn new(at: Timestamp, id: u64, peers: Peers, limits: Arc<Limits>) -> Self {
        Self { session: Box::new(Session::new(at, id, peers, limits)), failed: false, probation: None }
    }

    /// It comes from where health checks come from, and `expected` is spoken. Before its first input.
    pub(super) fn may_be_health_check(&mut self, limits: &Arc<Limits>, expected: Protocol) {
        let Context { began, id, peers, .. } = *self.session.context();
        self.probation = Some(Box::new(Probation::new(began, id, peers, Arc::clone(limits), expected)));
    }

    /// A PROXY header came first.
    pub(super) fn header(&mut self, at: Timestamp, header: &[u8], out: &RefCell<EventFanout>) {
        let input = Input::Data(header);
        let _ = match &mut self.probation {
            Some(probation) => {
                probation.header(at, header);
                self.fenced(|session| session.handle(at, Dir::ToServer, input, &mut Nobody))
            }
            None => self.handle(at, Dir::ToServer, input, out),
        };
    }

    /// `input` has gone on in `dir`. The first failure is told.
    pub(super) fn handle(
        &mut self,
        at: Timestamp,
        dir: Dir,
        input: Input<'_>,
        out: &RefCell<EventFanout>,
    ) -> Result<(), Fault> {
        let may_be_check = self.probation.as_mut().map(|probation| probation.keep(at, dir, &input));
        match may_be_check {
            Some(true) => self.fenced(|session| session.handle(at, dir, input, &mut Nobody)),
            Some(false) => self.release(false, out),
            None => self.fenced(|session| session.handle(at, dir, input, &mut *out.borrow_mut())),
        }
    }

    /// Whether it is a health check is known: all that was kept is read again.
    fn release(&mut self, is_check: bool, out: &RefCell<EventFanout>) -> Result<(), Fault> {
        let Some(probation) = self.probation.take() else { return Ok(()) };
        self.fenced(|session| *session = probation.replay(is_check, &mut *out.borrow_mut()))
    }

    /// The client's handshake is over: from here on clear text that TLS carries.
    pub(super) fn tls_established(
        &mut self,
        at: Timestamp,
        how: &EstablishedTls,
        out: &RefCell<EventFanout>,
    ) -> Result<(), Fault> {
        match &mut self.probation {
            Some(probation) => {
                probation.keep_tls(at, how);
                self.fenced(|session| session.tls_established(at, how, &mut Nobody))
            }
            None => self.fenced(|session| session.tls_established(at, how, &mut *out.borrow_mut())),
        }
    }

    /// `count` octets went by unseen.
    pub(super) fn skip_bytes(&mut self, at: Timestamp, dir: Dir, count: usize, out: &RefCell<EventFanout>) {
        let _ = self.fenced(|session| session.skip_bytes(at, dir, count as u64, &mut *out.borrow_mut()));
    }

    /// Whether it needs no octet more.
    pub(super) fn is_settled(&self) -> bool {
        self.probation.is_none() && self.session.is_settled()
    }

    /// The server took the connection at `at`, `after` it was asked.
    pub(super) fn connected(&mut self, at: Timestamp, after: Duration) {
        self.probation.iter_mut().for_each(|probation| probation.keep_connected(at, after));
        self.session.established(at);
        self.session.connected(after);
    }

    /// TLS with the server came to nothing.
    pub(super) fn upstream_tls_failed(&mut self, why: TlsFailure) {
        self.session.upstream_tls_failed(why);
    }

    /// Where the proxy went on to.
    pub(super) fn dialled(&mut self, upstream: Upstream) {
        self.probation.iter_mut().for_each(|probation| probation.keep_upstream(upstream));
        self.session.dialled(upstream);
    }

    /// No server is there, and `protocol` would be spoken.
    pub(super) fn presume(&mut self, at: Timestamp, protocol: Protocol, out: &RefCell<EventFanout>) {
        let _ = match &mut self.probation {
            Some(probation) => {
                probation.keep_presumed(at, protocol);
                Ok(())
            }
            None => self.fenced(|session| session.presume(at, protocol, &mut *out.borrow_mut())),
        };
    }

    /// No more will come.
    pub(super) fn finish(&mut self, at: Timestamp, why: End, out: &RefCell<EventFanout>) {
        // To the end it has said nothing but goodbye; where nobody spoke, what is expected counts.
        if let Some(expected) = self.probation.as_ref().map(|probation| probation.expected()) {
            let _ = self.release(true, out);
            self.presume(at, expected, out);
        }
        let _ = self.fenced(|session| session.finish(at, why, &mut *out.borrow_mut()));
    }

    /// Gives back what a session that stands still does not need.
    pub(super) fn shrink(&mut self) {
        let _ = self.fenced(Session::shrink);
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.session.context().protocol
    }

    /// What is spoken, or `expected` until that is known.
    pub(super) fn protocol_or(&self, expected: Protocol) -> Protocol {
        match self.protocol() {
            Protocol::Unknown => expected,
            known => known,
        }
    }

    /// Whether the server has taken the connection.
    pub(super) fn is_connected(&self) -> bool {
        self.session.context().peers.established.is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        self.session.phase()
    }

    /// Whether it can be closed without cutting anything short, as far as can be known.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.failed && self.session.is_at_rest()
    }

    /// Whether nothing will be read any more (TLS that is passed through).
    pub(super) fn is_opaque(&self) -> bool {
        self.failed || self.session.is_opaque()
    }

    fn fenced(&mut self, act: impl FnOnce(&mut Session)) -> Result<(), Fault> {
        if catch_unwind(AssertUnwindSafe(|| act(&mut self.session))).is_ok() {
            return Ok(());
        }
        // Opaque from here on: what the engine knew is in doubt, but octets are counted still.
        let _ = catch_unwind(AssertUnwindSafe(|| self.session.give_up()));
        if std::mem::replace(&mut self.failed, true) { Ok(()) } else { Err(Fault) }
    }
}

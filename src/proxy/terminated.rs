//! A connection whose TLS is answered here, seen and looked after like any other.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::idle::{ConnectionRequest, IdleTimer};
use super::listener::Listener;
use super::observer::{Fault, GuardedSession};
use super::pair::{ConnectionGuards, ProxiedPair};
use super::refuse::goodbye;
use super::shared::Shared;
use super::tls::{Observer, SessionStop, Terminator, TlsEnd, TwoSides, terminate};
use crate::console;
use crate::event::{Both, Bypass, Dir, End, EstablishedTls, Input, Phase, Refusal, Termination};
use crate::proxy::settings::OnFault;

/// Serves a connection to its end.
pub(super) async fn serve(
    shared: &Rc<Shared>,
    listener: &Arc<Listener>,
    terminator: &Terminator,
    joined: Box<ProxiedPair>,
) {
    let ProxiedPair { client, server, session, early, held } = *joined;
    let (prior, goodbye) = (listener.protocol(), goodbye(listener).unwrap_or_default());
    let timer = shared.timer(shared.clock.now(), listener.settings.times.greeting);
    let mut observer = TlsObserver {
        session,
        timer,
        goodbye,
        _held: held,
        shared: Rc::clone(shared),
        listener: Arc::clone(listener),
        greeted: false,
        closed: Both::default(),
        failed: false,
        why: None,
    };
    let early = early.map(|(octets, _)| octets).unwrap_or_default();
    let sides = TwoSides { client, early, server, prior, refusal: goodbye };
    let ending = terminate(sides, terminator, &mut observer).await;
    let name = &listener.settings.name;
    match &ending {
        TlsEnd::Client(error) => {
            console::warn("client_tls", name, &format_args!("listener {name}: TLS with a client failed: {error}"));
        }
        TlsEnd::Server(error) => {
            console::warn("server_tls", name, &format_args!("listener {name}: TLS with the server failed: {error}"));
            listener.count(|metrics| metrics.not_connected(prior, Refusal::Other));
        }
        TlsEnd::Closed | TlsEnd::Reset(_) | TlsEnd::Stopped(_) => {}
    }
    observer.end(&ending);
}

/// Sees the clear text, and ends what stands still or has to go.
struct TlsObserver {
    session: GuardedSession,
    timer: Rc<IdleTimer>,
    goodbye: &'static [u8],
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    greeted: bool,
    closed: Both<bool>,
    failed: bool,
    /// Why it was ended.
    why: Option<(End, Termination)>,
    _held: ConnectionGuards,
}

impl TlsObserver {
    fn moved(&mut self) {
        let closed = Dir::BOTH.iter().any(|dir| self.closed[*dir]);
        let times = &self.listener.settings.times;
        let patience = match self.session.protocol() {
            _ if closed => times.half_close,
            _ if !self.greeted => times.greeting,
            protocol => times.idle(protocol, self.session.is_opaque()),
        };
        self.timer.moved(self.shared.clock.now(), patience);
    }

    fn note(&mut self, told: Result<(), Fault>) {
        if told.is_err() {
            self.listener.count(|metrics| metrics.bypassed(self.session.protocol(), Bypass::Panic));
            self.failed |= self.shared.on_fault == OnFault::Close;
        }
    }

    /// Whether it can be closed without cutting anything short, as far as can be known. A handshake is under way, or octets
    /// are, where it does not rest; before anything was said, that is nothing.
    fn is_quiet(&self, rests: bool) -> bool {
        const STILL: std::time::Duration = std::time::Duration::from_millis(500);
        let rests = rests || self.session.phase() == Phase::Connect;
        rests && self.timer.still(self.shared.clock.now()) >= STILL && self.session.is_at_rest()
    }

    fn end(mut self, ending: &TlsEnd) {
        let now = self.shared.clock.now();
        if let TlsEnd::Reset(dir) = ending {
            let _ = self.session.handle(now, *dir, Input::Reset, &self.shared.fanout);
        }
        if let Some((_, reason)) = self.why {
            self.listener.count(|metrics| metrics.terminated(self.session.protocol(), reason, self.session.phase()));
        }
        let why = self.why.map_or(End::Closed, |(why, _)| why);
        self.session.finish(now, why, &self.shared.fanout);
    }
}

impl Observer for TlsObserver {
    fn data(&mut self, dir: Dir, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let now = self.shared.clock.now();
        let told = self.session.handle(now, dir, Input::Data(octets), &self.shared.fanout);
        self.note(told);
        self.greeted |= dir == Dir::ToClient;
        self.moved();
    }

    fn tls_established(&mut self, how: &EstablishedTls) {
        let told = self.session.tls_established(self.shared.clock.now(), how, &self.shared.fanout);
        self.note(told);
        self.moved();
    }

    fn fin(&mut self, dir: Dir) {
        let told = self.session.handle(self.shared.clock.now(), dir, Input::Fin, &self.shared.fanout);
        self.note(told);
        if !self.closed[dir.reverse()] {
            self.listener.count(|metrics| metrics.half_closed(true));
        }
        self.closed[dir] = true;
        self.moved();
    }

    fn poll_stop(&mut self, rests: bool, cx: &mut Context<'_>) -> Poll<SessionStop> {
        self.timer.wait(cx.waker());
        let (why, abort, goodbye) = match self.timer.call() {
            _ if self.failed => ((End::Closed, Termination::Error), true, &b""[..]),
            Some(ConnectionRequest::TimedOut) => ((End::Timeout, Termination::Timeout), false, &b""[..]),
            Some(ConnectionRequest::Stop) => ((End::Drain, Termination::Drain), true, &b""[..]),
            Some(ConnectionRequest::Drain) if self.is_quiet(rests) => {
                // Inside a handshake there is no room for words.
                ((End::Drain, Termination::Drain), false, if rests { self.goodbye } else { b"" })
            }
            Some(ConnectionRequest::Shrink) => {
                self.session.shrink();
                self.timer.answered();
                return Poll::Pending;
            }
            Some(ConnectionRequest::Drain) | None => return Poll::Pending,
        };
        self.why = Some(why);
        Poll::Ready(SessionStop { abort, goodbye })
    }
}

impl Drop for TlsObserver {
    fn drop(&mut self) {
        self.timer.leave();
        if Dir::BOTH.iter().any(|dir| self.closed[*dir]) {
            self.listener.count(|metrics| metrics.half_closed(false));
        }
    }
}

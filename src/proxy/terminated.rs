//! A connection whose TLS is answered here, seen and looked after like any other.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::admission::Ticket;
use super::dial::DialError;
use super::idle::{ConnectionRequest, IdleTimer};
use super::listener::Listener;
use super::loops::GuardedEnd;
use super::observer::{Fault, GuardedSession};
use super::reach::{self, AcceptedClient, Reached, Route, RoutedClient};
use super::refuse::goodbye;
use super::shared::{OpenConnection, Shared};
use super::tls::{ClientTls, Dialler, Dialling, Observer, SessionStop, TerminatedClient, TlsEnd, terminate};
use crate::event::{
    Both, Bypass, Dir, End, EstablishedTls, Input, Phase, Protocol, Refusal, Termination, TlsFailure, Upstream,
};
use crate::output::metrics::ProxyMetrics;
use crate::proxy::settings::{HeaderOut, OnFault};

/// Serves a connection to its end.
pub(super) async fn serve(
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    routed: Box<RoutedClient>,
    open: OpenConnection,
) {
    let Some(terminator) = &listener.terminator else { return };
    let RoutedClient { client, mut arrival, route, id, ticket } = *routed;
    let (prior, goodbye) = (listener.protocol(), goodbye(&listener, None).unwrap_or_default());
    let session = Rc::new(RefCell::new(reach::observer(&shared, &listener, &arrival, &route, id, None)));
    let mut observer = TlsObserver {
        session: Rc::clone(&session),
        timer: shared.timer(shared.clock.now(), listener.settings.times.greeting),
        goodbye,
        _ticket: ticket,
        shared: Rc::clone(&shared),
        listener: Arc::clone(&listener),
        greeted: false,
        open,
        closed: Both::default(),
        failed: false,
        why: None,
    };
    let early = arrival.early.take().map(|(octets, _)| octets).unwrap_or_default();
    let mut dialler = SessionDialler {
        shared,
        listener: Arc::clone(&listener),
        arrival,
        route,
        id,
        session,
        is_connected: false,
        ends: None,
        failed: None,
    };
    let client = TerminatedClient { client, early, dialler: &mut dialler, prior, refusal: goodbye };
    let ending = terminate(client, terminator, &mut observer).await;
    match &ending {
        TlsEnd::Client(error) => listener.warn_of_client_tls(error),
        TlsEnd::Server(error) => {
            listener.warn_of_server_tls(error);
            listener.count(|metrics| metrics.not_connected(prior, Refusal::Other));
        }
        TlsEnd::Unreachable(reason) => {
            let failed = dialler.failed.take().unwrap_or(DialError { address: None, reason: *reason });
            let mut session = observer.session.borrow_mut();
            let client = dialler.arrival.source.ip();
            reach::not_connected(&observer.shared, &listener, &mut session, &failed, client);
        }
        TlsEnd::TurnedAway => observer.why = Some((End::Drain, Termination::Drain)),
        TlsEnd::Closed | TlsEnd::Reset(_) | TlsEnd::Stopped(_) => {}
    }
    observer.end(&ending);
}

/// Dials the server of one session.
struct SessionDialler {
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    arrival: AcceptedClient,
    route: Route,
    id: u64,
    session: Rc<RefCell<GuardedSession>>,
    is_connected: bool,
    /// Of the connection to the server, where it might be a loop.
    ends: Option<GuardedEnd>,
    /// Why the last dial came to nothing.
    failed: Option<DialError>,
}

impl Dialler for SessionDialler {
    fn dial<'a>(&'a mut self, tls: Option<&'a ClientTls>) -> Dialling<'a> {
        Box::pin(async move {
            let dialling = self.shared.clock.now();
            let shared = Rc::clone(&self.shared);
            let reaching = reach::reach(&shared, &self.listener, &self.arrival, &self.route, self.id, tls);
            let reached = shared.unless_turned_away(reaching).await.ok_or(None)?;
            let Reached { server, address, far } = reached.map_err(|failed| {
                self.failed = Some(failed);
                Some(failed.reason)
            })?;
            self.ends = far;
            self.session.borrow_mut().dialled(Upstream { address: Some(address), error: None });
            if !std::mem::replace(&mut self.is_connected, true) {
                let established = self.shared.clock.now();
                let took = established.since(dialling).unwrap_or_default();
                self.session.borrow_mut().connected(established, took);
            }
            Ok(server)
        })
    }

    fn tells_tls(&self) -> bool {
        // Version 1 has no word for it.
        self.listener.settings.header_to == Some(HeaderOut::V2)
    }
}

/// Sees the clear text, and ends what stands still or has to go.
struct TlsObserver {
    session: Rc<RefCell<GuardedSession>>,
    timer: Rc<IdleTimer>,
    goodbye: &'static [u8],
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    greeted: bool,
    open: OpenConnection,
    closed: Both<bool>,
    failed: bool,
    /// Why it was ended.
    why: Option<(End, Termination)>,
    _ticket: Ticket,
}

impl TlsObserver {
    fn moved(&mut self) {
        let closed = Dir::BOTH.iter().any(|dir| self.closed[*dir]);
        let times = &self.listener.settings.times;
        let patience = match self.session.borrow().protocol() {
            _ if closed => times.half_close,
            _ if !self.greeted => times.greeting,
            protocol => times.idle(protocol, self.session.borrow().is_opaque()),
        };
        self.timer.moved(self.shared.clock.now(), patience);
    }

    /// What is spoken, or is expected at the listener until that is known.
    fn protocol(&self) -> Protocol {
        self.session.borrow().protocol_or(self.listener.protocol())
    }

    fn note(&mut self, told: Result<(), Fault>) {
        if told.is_err() {
            self.listener.count(|metrics| metrics.bypassed(self.protocol(), Bypass::Panic));
            self.failed |= self.shared.on_fault == OnFault::Close;
        }
    }

    /// Whether it can be closed without cutting anything short, as far as can be known. A handshake is under way, or octets
    /// are, where it does not rest; before anything was said, that is nothing.
    fn is_quiet(&self, rests: bool) -> bool {
        const STILL: std::time::Duration = std::time::Duration::from_millis(500);
        let session = self.session.borrow();
        let rests = rests || session.phase() == Phase::Connect;
        rests && self.timer.still(self.shared.clock.now()) >= STILL && session.is_at_rest()
    }

    fn end(self, ending: &TlsEnd) {
        let now = self.shared.clock.now();
        if let Some(dir) = ending.broken_off_by() {
            let _ = self.session.borrow_mut().handle(now, dir, Input::Fin, &self.shared.fanout);
        }
        if let TlsEnd::Reset(dir) = ending {
            let _ = self.session.borrow_mut().handle(now, *dir, Input::Reset, &self.shared.fanout);
        }
        if let Some((_, reason)) = self.why {
            let session = self.session.borrow();
            // A client that never came to TLS may be why the server was not dialled.
            if reason == Termination::Timeout && !self.greeted && session.is_connected() {
                self.listener.count(ProxyMetrics::greeting_timed_out);
            }
            self.listener.count(|metrics| metrics.terminated(self.protocol(), reason, session.phase()));
        }
        let why = match ending {
            TlsEnd::Unreachable(Refusal::Timeout) => End::Timeout,
            TlsEnd::Unreachable(_) => {
                // What the client would have met with, had it dialled itself.
                let _ = self.session.borrow_mut().handle(now, Dir::ToClient, Input::Reset, &self.shared.fanout);
                End::Closed
            }
            _ => self.why.map_or(End::Closed, |(why, _)| why),
        };
        self.session.borrow_mut().finish(now, why, &self.shared.fanout);
    }
}

impl Observer for TlsObserver {
    fn data(&mut self, dir: Dir, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let now = self.shared.clock.now();
        let told = self.session.borrow_mut().handle(now, dir, Input::Data(octets), &self.shared.fanout);
        self.note(told);
        if dir == Dir::ToClient && !self.greeted {
            self.greeted = true;
            self.open.greeted();
        }
        self.moved();
    }

    fn tls_established(&mut self, how: &EstablishedTls) {
        let told = self.session.borrow_mut().tls_established(self.shared.clock.now(), how, &self.shared.fanout);
        self.note(told);
        self.moved();
    }

    fn upstream_tls_failed(&mut self, why: TlsFailure) {
        self.session.borrow_mut().upstream_tls_failed(why);
    }

    fn fin(&mut self, dir: Dir) {
        let told = self.session.borrow_mut().handle(self.shared.clock.now(), dir, Input::Fin, &self.shared.fanout);
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
                self.session.borrow_mut().shrink();
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

//! A connection whose TLS is answered here, seen and looked after like any other.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::connection::{Held, Joined, goodbye};
use super::idle::{Call, Seat};
use super::listener::Door;
use super::observer::{Fault, Watch};
use super::tls::{Ending, Observer, Sides, Stop, Terminator, terminate};
use super::worker::Shared;
use crate::config::proxy::OnFault;
use crate::event::Both;
use crate::event::Input;
use crate::event::{Bypass, Refusal, Termination};
use crate::event::{Dir, End, Phase, Secured};

/// Serves a connection to its end.
pub(super) async fn serve(shared: &Rc<Shared>, door: &Arc<Door>, terminator: &Terminator, joined: Box<Joined>) {
    let Joined { client, server, watch, early, held } = *joined;
    let (prior, goodbye) = (door.protocol(), goodbye(door).unwrap_or_default());
    let seat = shared.seat(shared.clock.now(), door.listener.times.greeting);
    let mut warden = Warden {
        watch,
        seat,
        goodbye,
        _held: held,
        shared: Rc::clone(shared),
        door: Arc::clone(door),
        greeted: false,
        closed: Both::default(),
        failed: false,
        why: None,
    };
    let early = early.map(|(octets, _)| octets).unwrap_or_default();
    let sides = Sides { client, early, server, prior, refusal: goodbye };
    let ending = terminate(sides, terminator, &mut warden).await;
    let listener = &door.listener.name;
    match &ending {
        Ending::Client(error) => tracing::info!(listener, %error, "TLS with the client failed"),
        Ending::Server(error) => {
            tracing::warn!(listener, %error, "TLS with the server failed");
            door.count(|metrics| metrics.not_connected(prior, Refusal::Other));
        }
        Ending::Closed | Ending::Reset(_) | Ending::Stopped(_) => {}
    }
    warden.end(&ending);
}

/// Sees the clear text, and ends what stands still or has to go.
struct Warden {
    watch: Watch,
    seat: Rc<Seat>,
    goodbye: &'static [u8],
    shared: Rc<Shared>,
    door: Arc<Door>,
    greeted: bool,
    closed: Both<bool>,
    failed: bool,
    /// Why it was ended.
    why: Option<(End, Termination)>,
    _held: Held,
}

impl Warden {
    fn moved(&mut self) {
        let closed = Dir::BOTH.iter().any(|dir| self.closed[*dir]);
        let times = &self.door.listener.times;
        let patience = match self.watch.protocol() {
            _ if closed => times.half_close,
            _ if !self.greeted => times.greeting,
            protocol => times.idle(protocol, self.watch.is_opaque()),
        };
        self.seat.moved(self.shared.clock.now(), patience);
    }

    fn note(&mut self, told: Result<(), Fault>) {
        if told.is_err() {
            self.door.count(|metrics| metrics.bypassed(self.watch.protocol(), Bypass::Panic));
            self.failed |= self.shared.on_fault == OnFault::Close;
        }
    }

    /// Whether it can be closed without cutting anything short: between commands, and nothing is on its way.
    fn is_quiet(&self, rests: bool) -> bool {
        const STILL: std::time::Duration = std::time::Duration::from_millis(500);
        rests && self.seat.still(self.shared.clock.now()) >= STILL && self.watch.phase() == Phase::Idle
    }

    fn end(mut self, ending: &Ending) {
        let now = self.shared.clock.now();
        if let Ending::Reset(dir) = ending {
            let _ = self.watch.handle(now, *dir, Input::Reset, &self.shared.outlet);
        }
        if let Some((_, reason)) = self.why {
            self.door.count(|metrics| metrics.terminated(self.watch.protocol(), reason, self.watch.phase()));
        }
        let why = self.why.map_or(End::Closed, |(why, _)| why);
        self.watch.finish(now, why, &self.shared.outlet);
    }
}

impl Observer for Warden {
    fn data(&mut self, dir: Dir, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let now = self.shared.clock.now();
        let told = self.watch.handle(now, dir, Input::Data(octets), &self.shared.outlet);
        self.note(told);
        self.greeted |= dir == Dir::ToClient;
        self.moved();
    }

    fn secured(&mut self, how: &Secured) {
        let told = self.watch.secured(self.shared.clock.now(), how, &self.shared.outlet);
        self.note(told);
        self.moved();
    }

    fn fin(&mut self, dir: Dir) {
        let told = self.watch.handle(self.shared.clock.now(), dir, Input::Fin, &self.shared.outlet);
        self.note(told);
        if !self.closed[dir.reverse()] {
            self.door.count(|metrics| metrics.half_closed(true));
        }
        self.closed[dir] = true;
        self.moved();
    }

    fn poll_stop(&mut self, rests: bool, cx: &mut Context<'_>) -> Poll<Stop> {
        self.seat.wait(cx.waker());
        let (why, abort, goodbye) = match self.seat.call() {
            _ if self.failed => ((End::Closed, Termination::Error), true, &b""[..]),
            Some(Call::TimedOut) => ((End::Timeout, Termination::Timeout), false, &b""[..]),
            Some(Call::Stop) => ((End::Drain, Termination::Drain), true, &b""[..]),
            Some(Call::Drain) if self.is_quiet(rests) => ((End::Drain, Termination::Drain), false, self.goodbye),
            Some(Call::Rest) => {
                self.watch.rest();
                self.seat.answered();
                return Poll::Pending;
            }
            Some(Call::Drain) | None => return Poll::Pending,
        };
        self.why = Some(why);
        Poll::Ready(Stop { abort, goodbye })
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        self.seat.leave();
        if Dir::BOTH.iter().any(|dir| self.closed[*dir]) {
            self.door.count(|metrics| metrics.half_closed(false));
        }
    }
}

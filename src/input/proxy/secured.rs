//! A connection whose TLS is answered here, seen and looked after like any other.

use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::seat::{Call, Seat};
use super::watch::{Fault, Watch};
use super::worker::Shared;
use crate::config::proxy::{OnFault, Times};
use crate::engine::Input;
use crate::engine::event::{Dir, End, Phase, Protocol, Secured};
use crate::engine::frame::Both;
use crate::input::tls::{Ending, Observer, Sides, Stop, Terminator, terminate};

/// What a connection is served with.
pub(super) struct Setting<'a> {
    pub(super) terminator: &'a Terminator,
    pub(super) times: Times,
    /// What is most likely spoken.
    pub(super) prior: Protocol,
    /// What a client is told that must go although it did nothing wrong; empty: nothing.
    pub(super) goodbye: &'static [u8],
    /// Its listener's name.
    pub(super) listener: &'a str,
}

/// Serves a connection to its end; `early`: what was read of the client already.
pub(super) async fn serve(
    shared: &Rc<Shared>,
    client: TcpStream,
    early: Vec<u8>,
    server: TcpStream,
    watch: Watch,
    setting: Setting<'_>,
) {
    let now = shared.clock.now();
    let seat = shared.seat(now);
    seat.moved(now, setting.times.greeting);
    if shared.draining.get() {
        seat.ask(Call::Drain);
    }
    let mut warden = Warden {
        watch,
        seat,
        times: setting.times,
        goodbye: setting.goodbye,
        shared: Rc::clone(shared),
        greeted: false,
        closed: Both::default(),
        failed: false,
        why: None,
    };
    let sides = Sides { client, early, server, prior: setting.prior, refusal: setting.goodbye };
    let ending = terminate(sides, setting.terminator, &mut warden).await;
    match &ending {
        Ending::Client(error) => tracing::info!(listener = setting.listener, %error, "TLS with the client failed"),
        Ending::Server(error) => tracing::warn!(listener = setting.listener, %error, "TLS with the server failed"),
        Ending::Closed | Ending::Reset(_) | Ending::Stopped(_) => {}
    }
    warden.end(&ending);
}

/// Sees the clear text, and ends what stands still or has to go.
struct Warden {
    watch: Watch,
    seat: Rc<Seat>,
    times: Times,
    goodbye: &'static [u8],
    shared: Rc<Shared>,
    greeted: bool,
    closed: Both<bool>,
    failed: bool,
    /// Why it was ended.
    why: Option<End>,
}

impl Warden {
    fn moved(&mut self) {
        let closed = Dir::BOTH.iter().any(|dir| self.closed[*dir]);
        let patience = match self.watch.protocol() {
            _ if closed => self.times.half_close,
            _ if !self.greeted => self.times.greeting,
            protocol => self.times.idle(protocol, self.watch.is_opaque()),
        };
        self.seat.moved(self.shared.clock.now(), patience);
    }

    fn note(&mut self, told: Result<(), Fault>) {
        self.failed |= told.is_err() && self.shared.on_fault == OnFault::Close;
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
        self.watch.finish(now, self.why.unwrap_or(End::Closed), &self.shared.outlet);
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
        self.closed[dir] = true;
        self.moved();
    }

    fn poll_stop(&mut self, rests: bool, cx: &mut Context<'_>) -> Poll<Stop> {
        self.seat.wait(cx.waker());
        let (why, abort, goodbye) = match self.seat.call() {
            _ if self.failed => (End::Closed, true, &b""[..]),
            Some(Call::TimedOut) => (End::Timeout, false, &b""[..]),
            Some(Call::Stop) => (End::Drain, true, &b""[..]),
            Some(Call::Drain) if self.is_quiet(rests) => (End::Drain, false, self.goodbye),
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
    }
}

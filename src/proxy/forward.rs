//! Octets on their way: read from one side, written to the other, then observed.
//!
//! Both directions are independent. End of file is passed on as such while the other direction goes on, a reset as a
//! reset. A side that does not drain is not read for: at most one buffer a direction waits. Little that has gone on is
//! observed only when every other connection that was ready has had its turn: then they do not wait for the observer, and
//! whoever they wake is woken once for many. Nothing here may alter, reorder or hold back an octet for the observer's sake.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::buffers::SIZE;
use super::idle::{ConnectionRequest, IdleTimer};
use super::listener::Listener;
use super::observer::{Fault, GuardedSession};
use super::pair::{ConnectionGuards, ProxiedPair};
use super::ready::ReadyTimer;
use super::refuse::{abort, goodbye, passes_tls};
use super::shared::{OpenConnection, Shared};
use super::splice::{Broken, Pipe, Pipes, SpliceStep};
use crate::event::{Both, Bypass, Dir, End, Input, Phase, Protocol, Termination};
use crate::output::metrics::ProxyMetrics;
use crate::proxy::settings::OnFault;
use crate::time::Timestamp;

/// More octets than this are observed at once, while they are in the processor's cache; others may come first otherwise.
const LITTLE: usize = 16 << 10;

/// Reads of one direction before others have their turn.
const TURNS: u32 = 8;

/// How forwarding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForwardEnd {
    /// Both sides closed.
    Closed,
    /// The sender of this direction reset.
    Reset(Dir),
    /// Nothing came for too long.
    TimedOut,
    /// The proxy goes down.
    Drained,
    /// The same, with mail in transfer.
    Stopped,
    /// The observer failed, and that is to end the session.
    Fault,
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    /// On the heap, for most never have one.
    backlog: Option<Box<Backlog>>,
    state: FlowState,
    /// Through which the kernel moves octets meanwhile.
    pipe: Option<Pipe>,
}

impl Flow {
    /// Whether octets were taken that have not gone on.
    fn waits(&self) -> bool {
        self.backlog.is_some() || self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }
}

/// Octets read that could not be written yet.
#[derive(Debug)]
struct Backlog {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    /// When they were read.
    at: Timestamp,
    /// Since when they could have been.
    ready: Timestamp,
    /// Their receiver does not drain.
    paused: bool,
}

/// Octets that have gone on and were not observed yet.
#[derive(Debug)]
struct Unseen {
    dir: Dir,
    buffer: Box<[u8]>,
    length: usize,
    at: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FlowState {
    #[default]
    Open,
    /// The sender closed; its receiver is to be told.
    Ending,
    /// The receiver was told.
    Ended,
    /// The receiver is gone.
    Broken,
}

/// Both directions of a connection.
pub(super) struct Forwarder {
    client: TcpStream,
    server: TcpStream,
    flows: Both<Flow>,
    unseen: Option<Unseen>,
    session: GuardedSession,
    listener: Arc<Listener>,
    greeted: bool,
    half_closed: bool,
    timer: Rc<IdleTimer>,
    ready_timer: ReadyTimer,
    /// Since when each sender may have been ready that was not read yet in this turn.
    ready: Both<Option<Timestamp>>,
    shared: Rc<Shared>,
    open: OpenConnection,
    _held: ConnectionGuards,
}

impl Forwarder {
    #[expect(clippy::boxed_local, reason = "whoever waits for the end must not hold the room of what was moved out")]
    pub(super) fn new(
        joined: Box<ProxiedPair>,
        listener: Arc<Listener>,
        open: OpenConnection,
        shared: &Rc<Shared>,
    ) -> Self {
        let timer = shared.timer(shared.clock.now(), listener.settings.times.greeting);
        let ProxiedPair { client, server, session, early, held } = *joined;
        let mut forwarder = Self {
            client,
            server,
            flows: Both::default(),
            unseen: None,
            session,
            listener,
            greeted: false,
            half_closed: false,
            timer,
            ready_timer: ReadyTimer::new(shared.clock.timeline()),
            ready: Both::default(),
            shared: Rc::clone(shared),
            open,
            _held: held,
        };
        if let Some((octets, at)) = early {
            forwarder.begin_with(&octets, at);
        }
        forwarder
    }

    /// Forwards as far as it goes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ForwardEnd> {
        let (waker, since) = self.ready_timer.run(cx);
        Dir::BOTH.into_iter().for_each(|dir| self.ready[dir] = since);
        let again = cx.waker().clone();
        let cx = &mut Context::from_waker(&waker);
        self.timer.wait(cx.waker());
        if let Err(Fault) = self.see() {
            return Poll::Ready(ForwardEnd::Fault);
        }
        for dir in Dir::BOTH {
            // Pending or done: the other direction does not care.
            if let Poll::Ready(Some(ending)) = self.flow(dir, cx) {
                return Poll::Ready(ending);
            }
        }
        if self.unseen.is_some() {
            // At the end of the queue; no octet waits for that.
            again.wake_by_ref();
        }
        match (self.flows.to_server.state, self.flows.to_client.state) {
            (FlowState::Ended, FlowState::Ended) => return Poll::Ready(ForwardEnd::Closed),
            // The receiver of a broken flow is gone, and has nothing more to say.
            (FlowState::Broken, FlowState::Ended | FlowState::Broken) => {
                return Poll::Ready(ForwardEnd::Reset(Dir::ToClient));
            }
            (FlowState::Ended, FlowState::Broken) => return Poll::Ready(ForwardEnd::Reset(Dir::ToServer)),
            _ => {}
        }
        match self.timer.call() {
            None => Poll::Pending,
            Some(ConnectionRequest::TimedOut) => Poll::Ready(ForwardEnd::TimedOut),
            Some(ConnectionRequest::Stop) => Poll::Ready(ForwardEnd::Stopped),
            Some(ConnectionRequest::Drain) if self.is_quiet() => Poll::Ready(ForwardEnd::Drained),
            Some(ConnectionRequest::Drain) => Poll::Pending,
            Some(ConnectionRequest::Shrink) => {
                self.session.shrink();
                self.timer.answered();
                Poll::Pending
            }
        }
    }

    /// Whether it can be closed without cutting anything short, as far as can be known.
    fn is_quiet(&self) -> bool {
        const STILL: Duration = Duration::from_millis(500);
        if self.timer.still(self.shared.clock.now()) < STILL {
            return false;
        }
        let waits = Dir::BOTH.iter().any(|dir| self.flows[*dir].waits());
        // A server that has closed answers nothing any more.
        let is_over = self.flows.to_client.state == FlowState::Ended;
        !waits && self.unseen.is_none() && (is_over || self.session.is_at_rest())
    }

    /// Moves one direction: `Ready(None)` if it is over, an ending if all is.
    fn flow(&mut self, dir: Dir, cx: &mut Context<'_>) -> Poll<Option<ForwardEnd>> {
        let shared = Rc::clone(&self.shared);
        for _ in 0..TURNS {
            if let Err(ending) = ready!(self.flush(dir, cx)) {
                return Poll::Ready(ending);
            }
            match self.flows[dir].state {
                FlowState::Open => {}
                // The close of both sockets says it as well.
                FlowState::Ending if self.flows[dir.reverse()].state == FlowState::Ended => {
                    self.flows[dir].state = FlowState::Ended;
                    return Poll::Ready(None);
                }
                FlowState::Ending => {
                    let (_, to) = self.ends(dir);
                    let _ = ready!(Pin::new(to).poll_shutdown(cx));
                    self.flows[dir].state = FlowState::Ended;
                    self.listener.count(|metrics| metrics.half_closed(true));
                    self.half_closed = true;
                    let now = shared.clock.now();
                    self.timer.moved(now, self.listener.settings.times.half_close);
                    return Poll::Ready(None);
                }
                FlowState::Ended | FlowState::Broken => return Poll::Ready(None),
            }
            if self.flows[dir].pipe.is_some() {
                match ready!(self.splice(dir, cx)) {
                    Ok(()) => continue,
                    Err(ending) => return Poll::Ready(Some(ending)),
                }
            }
            let ready = self.ready[dir].take();
            let (from, to) = self.ends(dir);
            let mut buffer = shared.pool.take();
            let mut into = ReadBuf::new(&mut buffer);
            let read = Pin::new(from).poll_read(cx, &mut into);
            let octets = into.filled();
            let Poll::Ready(read) = read else {
                shared.pool.give(buffer);
                return Poll::Pending;
            };
            let now = shared.clock.now();
            let ready = ready.unwrap_or(now);
            if read.is_err() || octets.is_empty() {
                shared.pool.give(buffer);
                if let Some(ending) = self.end(dir, now, read.is_err()) {
                    return Poll::Ready(Some(ending));
                }
                continue;
            }
            let length = octets.len();
            let written = match Pin::new(to).poll_write(cx, octets) {
                Poll::Ready(written) => written,
                Poll::Pending => Ok(0),
            };
            let gone = *written.as_ref().unwrap_or(&length);
            if gone == length {
                self.passed(dir, ready);
            }
            if gone == length && length <= LITTLE && shared.pool.may_wait() {
                if let Err(Fault) = self.see() {
                    return Poll::Ready(Some(ForwardEnd::Fault));
                }
                self.unseen = Some(Unseen { dir, buffer, length, at: now });
                if written.is_err() {
                    self.flows[dir].state = FlowState::Broken;
                }
                continue;
            }
            let octets = octets.get(..gone).unwrap_or_default();
            if let Err(Fault) = self.observe(dir, now, octets) {
                return Poll::Ready(Some(ForwardEnd::Fault));
            }
            if gone == SIZE && self.session.is_settled() {
                // More than a buffer at once, and nobody has to see it.
                self.flows[dir].pipe = shared.pipes.as_ref().and_then(Pipes::take);
            }
            if gone < length {
                self.flows[dir].backlog =
                    Some(Box::new(Backlog { buffer, from: gone, to: length, at: now, ready, paused: true }));
                self.buffered(dir, length - gone, true);
            } else {
                shared.pool.give(buffer);
            }
            if written.is_err() {
                self.flows[dir].state = FlowState::Broken;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets the kernel move octets of `dir`. An ending if all is over.
    fn splice(&mut self, dir: Dir, cx: &mut Context<'_>) -> Poll<Result<(), ForwardEnd>> {
        let shared = Rc::clone(&self.shared);
        let Some(mut pipe) = self.flows[dir].pipe.take() else { return Poll::Ready(Ok(())) };
        let (from, to) = self.ends(dir);
        let Poll::Ready(step) = pipe.poll_move(from, to, cx) else {
            self.flows[dir].pipe = Some(pipe);
            return Poll::Pending;
        };
        let now = shared.clock.now();
        match step {
            Ok(SpliceStep::Passed(octets)) => {
                self.flows[dir].pipe = Some(pipe);
                self.session.skip_bytes(now, dir, octets, &shared.fanout);
                self.listener.count(|metrics| metrics.spliced(dir, octets as u64));
                self.moved(now);
                return Poll::Ready(Ok(()));
            }
            // What comes next is read again.
            Ok(SpliceStep::Empty) => {}
            Ok(SpliceStep::Closed) => {
                if let Some(ending) = self.end(dir, now, false) {
                    return Poll::Ready(Err(ending));
                }
            }
            Err(Broken::Sender) => return Poll::Ready(Err(ForwardEnd::Reset(dir))),
            Err(Broken::Receiver) => self.flows[dir].state = FlowState::Broken,
        }
        if let Some(pipes) = &shared.pipes {
            pipes.give(pipe);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what waits.
    fn flush(&mut self, dir: Dir, cx: &mut Context<'_>) -> Poll<Result<(), Option<ForwardEnd>>> {
        let shared = Rc::clone(&self.shared);
        while let Some(mut backlog) = self.flows[dir].backlog.take() {
            let (_, to) = self.ends(dir);
            let octets = backlog.buffer.get(backlog.from..backlog.to).unwrap_or_default();
            let Poll::Ready(written) = Pin::new(to).poll_write(cx, octets) else {
                self.flows[dir].backlog = Some(backlog);
                return Poll::Pending;
            };
            let gone = *written.as_ref().unwrap_or(&octets.len());
            let octets = octets.get(..gone).unwrap_or_default();
            if let Err(Fault) = self.observe(dir, backlog.at, octets) {
                return Poll::Ready(Err(Some(ForwardEnd::Fault)));
            }
            self.buffered(dir, gone, false);
            backlog.from += gone;
            if backlog.from < backlog.to {
                self.flows[dir].backlog = Some(backlog);
            } else {
                shared.pool.give(backlog.buffer);
                self.passed(dir, backlog.ready);
                if backlog.paused {
                    let lasted = shared.clock.now().since(backlog.at).unwrap_or_default();
                    self.listener.count(|metrics| metrics.paused(dir, lasted));
                }
            }
            if written.is_err() {
                self.flows[dir].state = FlowState::Broken;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What could be read at `ready` has gone on.
    fn passed(&self, dir: Dir, ready: Timestamp) {
        self.listener.count(|metrics| {
            metrics.added_latency(dir, self.shared.clock.now().since(ready).unwrap_or_default());
        });
    }

    /// So many octets wait from now on, or do no more.
    fn buffered(&self, dir: Dir, octets: usize, wait: bool) {
        let octets = i64::try_from(octets).unwrap_or(i64::MAX);
        self.listener.count(|metrics| metrics.buffered(dir, if wait { octets } else { -octets }));
    }

    /// The sender of `dir` closed, or reset.
    fn end(&mut self, dir: Dir, now: Timestamp, reset: bool) -> Option<ForwardEnd> {
        if reset {
            return Some(ForwardEnd::Reset(dir));
        }
        let fault = self.see().is_err() | self.session.handle(now, dir, Input::Fin, &self.shared.fanout).is_err();
        self.flows[dir].state = FlowState::Ending;
        (fault && self.shared.on_fault == OnFault::Close).then_some(ForwardEnd::Fault)
    }

    /// Tells the observer what has gone on and waits to be seen.
    fn see(&mut self) -> Result<(), Fault> {
        let Some(Unseen { dir, buffer, length, at }) = self.unseen.take() else { return Ok(()) };
        let seen = self.observe(dir, at, buffer.get(..length).unwrap_or_default());
        self.shared.pool.give_waiting(buffer);
        seen
    }

    /// Tells the observer what has gone on.
    fn observe(&mut self, dir: Dir, at: Timestamp, octets: &[u8]) -> Result<(), Fault> {
        self.see()?;
        if octets.is_empty() {
            return Ok(());
        }
        let told = self.session.handle(at, dir, Input::Data(octets), &self.shared.fanout);
        if told.is_err() {
            self.listener.count(|metrics| metrics.bypassed(self.protocol(), Bypass::Panic));
        }
        if dir == Dir::ToClient && !self.greeted {
            self.greeted = true;
            self.open.greeted();
        }
        self.moved(at);
        match told {
            Err(Fault) if self.shared.on_fault == OnFault::Close => Err(Fault),
            _ => Ok(()),
        }
    }

    /// Octets moved at `at`: from then on the next ones are waited for.
    fn moved(&self, at: Timestamp) {
        let open = Dir::BOTH.iter().all(|dir| self.flows[*dir].state == FlowState::Open);
        let patience = match self.session.protocol() {
            _ if !open => self.listener.settings.times.half_close,
            _ if !self.greeted => self.listener.settings.times.greeting,
            protocol => self.listener.settings.times.idle(protocol, self.session.is_opaque()),
        };
        self.timer.moved(at, patience);
    }

    /// The client has sent `octets` at `at` already.
    fn begin_with(&mut self, octets: &[u8], at: Timestamp) {
        let mut buffer = self.shared.pool.take();
        if let Some(start) = buffer.get_mut(..octets.len()) {
            start.copy_from_slice(octets);
            self.buffered(Dir::ToServer, octets.len(), true);
            let backlog = Backlog { buffer, from: 0, to: octets.len(), at, ready: at, paused: false };
            self.flows[Dir::ToServer].backlog = Some(Box::new(backlog));
        }
    }

    /// Closes both sides as `ending` says.
    pub(super) fn close(mut self, ending: ForwardEnd) {
        let _ = self.see();
        let now = self.shared.clock.now();
        let why = match ending {
            ForwardEnd::Closed | ForwardEnd::Fault => End::Closed,
            ForwardEnd::Reset(dir) => {
                abort(if dir == Dir::ToServer { &self.server } else { &self.client });
                let _ = self.session.handle(now, dir, Input::Reset, &self.shared.fanout);
                End::Closed
            }
            ForwardEnd::TimedOut => End::Timeout,
            ForwardEnd::Drained => {
                if let Some(line) =
                    goodbye(&self.listener, self.server.peer_addr().ok()).filter(|_| !self.session.is_opaque())
                {
                    // What the socket does not take at once is not worth waiting for.
                    let _ = self.client.try_write(line);
                }
                End::Drain
            }
            ForwardEnd::Stopped => End::Drain,
        };
        if matches!(ending, ForwardEnd::Stopped | ForwardEnd::Fault) {
            // Neither side shall take a message that was cut for a whole one.
            abort(&self.client);
            abort(&self.server);
        }
        let reason = match ending {
            ForwardEnd::TimedOut => Some(Termination::Timeout),
            ForwardEnd::Drained | ForwardEnd::Stopped => Some(Termination::Drain),
            ForwardEnd::Fault => Some(Termination::Error),
            ForwardEnd::Closed | ForwardEnd::Reset(_) => None,
        };
        if ending == ForwardEnd::TimedOut && self.lacks_greeting() {
            self.listener.count(ProxyMetrics::greeting_timed_out);
        }
        if let Some(reason) = reason {
            self.listener.count(|metrics| metrics.terminated(self.protocol(), reason, self.session.phase()));
        }
        self.session.finish(now, why, &self.shared.fanout);
    }

    /// Whether the server should have spoken and did not.
    fn lacks_greeting(&self) -> bool {
        let client_first = || passes_tls(&self.listener, self.server.peer_addr().ok());
        !self.greeted && (self.session.phase() != Phase::Connect || !client_first())
    }

    /// What is spoken, or is expected at the listener until that is known.
    fn protocol(&self) -> Protocol {
        self.session.protocol_or(self.listener.protocol())
    }

    /// Where octets of `dir` come from, and where they go.
    fn ends(&mut self, dir: Dir) -> (&mut TcpStream, &mut TcpStream) {
        match dir {
            Dir::ToServer => (&mut self.client, &mut self.server),
            Dir::ToClient => (&mut self.server, &mut self.client),
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.timer.leave();
        if self.half_closed {
            self.listener.count(|metrics| metrics.half_closed(false));
        }
        if let Some(unseen) = self.unseen.take() {
            self.shared.pool.give_waiting(unseen.buffer);
        }
        for dir in Dir::BOTH {
            if let Some(backlog) = self.flows[dir].backlog.take() {
                self.buffered(dir, backlog.to - backlog.from, false);
                self.shared.pool.give(backlog.buffer);
            }
        }
    }
}

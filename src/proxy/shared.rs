//! What the connections of one forwarding thread share: its clock, buffers, pipes, outputs and the list of idle timers.

use std::cell::{Cell, Ref, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::buffers::BufferPool;
use super::clock::{Clock, Timeline};
use super::descriptors::{Descriptors, TakenDescriptors};
use super::idle::{ConnectionRequest, IdleTimer};
use super::listener::Listener;
use super::loops::LoopGuard;
use super::settings::{Forwarding, OnFault, Splice};
use super::splice::Pipes;
use crate::output::EventFanout;
use crate::output::metrics::ProxyMetrics;
use crate::time::Timestamp;

/// How far the end of the proxy has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It is not near.
    #[default]
    Serving,
    /// A successor accepts new clients. Those accepted before are served, and close as they come to rest.
    Replaced,
    /// Nobody's server is dialled any more; connections close as they come to rest.
    Draining,
    /// Everything closes now.
    Stopped,
}

impl Stage {
    /// What is asked of connections that are forwarding.
    const fn request(self) -> Option<ConnectionRequest> {
        match self {
            Self::Serving => None,
            Self::Replaced | Self::Draining => Some(ConnectionRequest::Drain),
            Self::Stopped => Some(ConnectionRequest::Stop),
        }
    }
}

/// What all threads share.
#[derive(Clone, Debug)]
pub(super) struct AllThreads {
    pub(super) timeline: Timeline,
    pub(super) ends: LoopGuard,
    pub(super) descriptors: Arc<Descriptors>,
}

/// What the connections of a thread share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) pool: BufferPool,
    /// Where the kernel may move octets.
    pub(super) pipes: Option<Pipes>,
    pub(super) fanout: RefCell<EventFanout>,
    pub(super) on_fault: OnFault,
    stage: Cell<Stage>,
    /// Wakes those that are turned away as the stage changes.
    turned: Notify,
    pub(super) ends: LoopGuard,
    /// Of all threads.
    pub(super) descriptors: Arc<Descriptors>,
    timers: RefCell<Vec<Rc<IdleTimer>>>,
    open: Cell<usize>,
}

impl Shared {
    pub(super) fn new(forwarding: &Forwarding, fanout: EventFanout, all: &AllThreads) -> Rc<Self> {
        Rc::new(Self {
            clock: Clock::new(all.timeline),
            pool: BufferPool::default(),
            pipes: (forwarding.splice == Splice::Auto).then(|| Pipes::new(Arc::clone(&all.descriptors))),
            fanout: RefCell::new(fanout),
            on_fault: forwarding.on_fault,
            stage: Cell::default(),
            turned: Notify::new(),
            ends: all.ends.clone(),
            descriptors: Arc::clone(&all.descriptors),
            timers: RefCell::default(),
            open: Cell::new(0),
        })
    }

    /// A place in the list of connections, for one that begins `now` and whose first octets must come within `patience`.
    pub(super) fn timer(&self, now: Timestamp, patience: Option<Duration>) -> Rc<IdleTimer> {
        let timer = Rc::new(IdleTimer::new(now));
        timer.moved(now, patience);
        if let Some(request) = self.stage.get().request() {
            timer.ask(request);
        }
        self.timers.borrow_mut().push(Rc::clone(&timer));
        timer
    }

    /// The end has come so far; it never goes back.
    pub(super) fn advance(&self, stage: Stage) {
        if stage <= self.stage.get() {
            return;
        }
        self.stage.set(stage);
        if stage >= Stage::Draining {
            self.turned.notify_waiters();
        }
        if stage == Stage::Stopped {
            self.timers().iter().for_each(|timer| timer.ask(ConnectionRequest::Stop));
        }
    }

    /// Whether everything is to close now.
    pub(super) fn is_stopped(&self) -> bool {
        self.stage.get() == Stage::Stopped
    }

    /// The outcome of `work` for a connection that does not forward yet; `None` if it is turned away before, as the proxy ends.
    pub(super) async fn unless_turned_away<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut turned = pin!(self.turned.notified());
        // From here on no change is missed.
        turned.as_mut().enable();
        if self.stage.get() >= Stage::Draining {
            return None;
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = turned => None,
        }
    }

    /// The idle timers of all connections.
    pub(super) fn timers(&self) -> Ref<'_, Vec<Rc<IdleTimer>>> {
        self.timers.borrow()
    }

    /// Connections that are open.
    pub(super) fn open_connections(&self) -> usize {
        self.open.get()
    }

    /// Has records show the host's clock if that was set.
    pub(super) fn compare_clock(&self) {
        if let Some((at, shown)) = self.clock.compare() {
            self.fanout.borrow_mut().clock_set(at, shown);
        }
    }

    /// Looks at every connection: whose time is up, and who could give memory back.
    pub(super) fn sweep(&self) {
        self.compare_clock();
        let now = self.clock.now();
        self.timers.borrow_mut().retain(|timer| Rc::strong_count(timer) > 1);
        for timer in &*self.timers.borrow() {
            timer.sweep(now);
        }
    }
}

/// A connection from accept to close, counted while it lives, with its descriptors.
pub(super) struct OpenConnection {
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    /// Its number among those that wait for their greeting.
    ungreeted: Option<u64>,
    _descriptors: TakenDescriptors,
}

impl OpenConnection {
    /// One that was accepted at `listener` just now.
    pub(super) fn new(shared: &Rc<Shared>, listener: &Arc<Listener>) -> Self {
        shared.open.set(shared.open.get() + 1);
        listener.count(|metrics| metrics.opened(true));
        Self {
            shared: Rc::clone(shared),
            listener: Arc::clone(listener),
            ungreeted: Some(listener.ungreeted.enter(Instant::now())),
            _descriptors: shared.descriptors.take(),
        }
    }

    /// The server has spoken.
    pub(super) fn greeted(&mut self) {
        if let Some(number) = self.ungreeted.take() {
            self.listener.ungreeted.leave(number);
            self.listener.count(ProxyMetrics::greeted);
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.greeted();
        self.listener.count(|metrics| metrics.opened(false));
        self.shared.open.set(self.shared.open.get() - 1);
    }
}

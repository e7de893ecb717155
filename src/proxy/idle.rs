//! The place of a connection in its thread's list: by it the sweeper sees who stands still, and calls on them.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Duration;

use crate::time::Timestamp;

/// What the sweeper asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionRequest {
    /// It has stood still too long: close.
    TimedOut,
    /// Close as soon as no mail is in transfer.
    Drain,
    /// Close now.
    Stop,
    /// Nothing has come for a while: give back what is not needed.
    Shrink,
}

/// A connection as the sweeper sees it.
#[derive(Debug)]
pub(super) struct IdleTimer {
    moved: Cell<Timestamp>,
    patience: Cell<Option<Duration>>,
    rested: Cell<bool>,
    call: Cell<Option<ConnectionRequest>>,
    waker: RefCell<Option<Waker>>,
}

impl IdleTimer {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            moved: Cell::new(now),
            patience: Cell::new(None),
            rested: Cell::new(false),
            call: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// Octets moved at `now`; the next must come within `patience`.
    pub(super) fn moved(&self, now: Timestamp, patience: Option<Duration>) {
        self.moved.set(now);
        self.patience.set(patience);
        self.rested.set(false);
    }

    /// Where to wake it.
    pub(super) fn wait(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// What it is asked, if anything.
    pub(super) fn call(&self) -> Option<ConnectionRequest> {
        self.call.get()
    }

    /// The call was answered.
    pub(super) fn answered(&self) {
        self.call.set(None);
    }

    /// It is over: nobody is to be woken any more.
    pub(super) fn leave(&self) {
        self.waker.replace(None);
    }

    /// Asks for something; what was asked before counts for less.
    pub(super) fn ask(&self, call: ConnectionRequest) {
        self.call.set(Some(call));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Asks again for what could not be done at once.
    pub(super) fn remind(&self) {
        if let Some(waker) = self.call.get().and(self.waker.borrow().as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// How long nothing has moved.
    pub(super) fn still(&self, now: Timestamp) -> Duration {
        now.since(self.moved.get()).unwrap_or_default()
    }

    /// Looks whether it stands still at `now`.
    pub(super) fn sweep(&self, now: Timestamp) {
        const REST: Duration = Duration::from_secs(1);
        let still = self.still(now);
        if self.patience.get().is_some_and(|patience| still >= patience) {
            self.ask(ConnectionRequest::TimedOut);
        } else if still >= REST && self.call.get().is_none() && !self.rested.replace(true) {
            self.ask(ConnectionRequest::Shrink);
        }
    }
}

//! Buffers that are lent while a socket is readable: an idle connection holds none.

use std::cell::{Cell, RefCell};

/// Octets of a buffer: what a socket of the usual size holds. Smaller ones cost system calls, which are what forwarding costs.
pub(super) const SIZE: usize = 64 << 10;

/// Buffers kept for the next read; more are given back to the system.
const KEPT: usize = 32;

/// Buffers that may wait for the observer at the same time, in all connections of a thread.
const WAITING: usize = 32;

/// The buffers of one thread.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    free: RefCell<Vec<Box<[u8]>>>,
    waiting: Cell<usize>,
}

impl BufferPool {
    pub(super) fn take(&self) -> Box<[u8]> {
        self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
    }

    pub(super) fn give(&self, buffer: Box<[u8]>) {
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT {
            free.push(buffer);
        }
    }

    /// Whether one more buffer may wait for the observer; it is counted then, until it is [given back](Self::give_waiting).
    pub(super) fn may_wait(&self) -> bool {
        let waiting = self.waiting.get();
        self.waiting.set(waiting + usize::from(waiting < WAITING));
        waiting < WAITING
    }

    /// Gives back a buffer that waited.
    pub(super) fn give_waiting(&self, buffer: Box<[u8]>) {
        self.waiting.set(self.waiting.get() - 1);
        self.give(buffer);
    }
}

//! Octets that nobody has to look at, moved by the kernel: from one socket into a pipe, from there into the other
//! (splice(2)). They never come into this process.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::descriptors::{Descriptors, TakenDescriptors};

/// Octets that a pipe may hold: as much as a fast sender brings between two looks.
const SIZE: usize = 256 << 10;

/// Pipes kept for the next transfer of a thread.
const KEPT: usize = 16;

/// The pipes of one thread.
#[derive(Debug)]
pub(super) struct Pipes {
    free: RefCell<Vec<Pipe>>,
    descriptors: Arc<Descriptors>,
}

/// A pipe between two sockets.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Octets in it.
    held: usize,
    _descriptors: TakenDescriptors,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpliceStep {
    /// So many octets went on.
    Passed(usize),
    /// The sender closed.
    Closed,
    /// Nothing more is there for now.
    Empty,
}

/// Why a step failed.
#[derive(Debug)]
pub(super) enum Broken {
    /// The sender reset.
    Sender,
    /// The receiver is gone.
    Receiver,
}

impl Pipes {
    /// Of a thread whose process has these `descriptors`.
    pub(super) fn new(descriptors: Arc<Descriptors>) -> Self {
        Self { free: RefCell::default(), descriptors }
    }

    /// An empty pipe, if the system has one. Connections need the descriptors more.
    pub(super) fn take(&self) -> Option<Pipe> {
        let made = || Pipe::new(&self.descriptors).ok();
        self.free.borrow_mut().pop().or_else(|| self.descriptors.has_room().then(made).flatten())
    }

    /// Takes back a pipe. One that holds octets of somebody is closed.
    pub(super) fn give(&self, pipe: Pipe) {
        let mut free = self.free.borrow_mut();
        if pipe.held == 0 && free.len() < KEPT && self.descriptors.has_room() {
            free.push(pipe);
        }
    }

    /// Closes those that nobody uses.
    pub(super) fn close_free(&self) {
        self.free.borrow_mut().clear();
    }
}

impl Pipe {
    fn new(descriptors: &Arc<Descriptors>) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The system's own size will do where it grants no more (pipe-user-pages-soft, pipe(7)).
        let _ = fcntl_setpipe_size(&writer, SIZE);
        Ok(Self { reader, writer, held: 0, _descriptors: descriptors.take() })
    }

    /// Whether nothing is in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves what `from` has, as far as `to` takes it.
    pub(super) fn poll_move(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SpliceStep, Broken>> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        if self.held == 0 {
            let filled = from.try_io(Interest::READABLE, || Ok(splice(from, None, &self.writer, None, SIZE, flags)?));
            match filled {
                Ok(0) => return Poll::Ready(Ok(SpliceStep::Closed)),
                Ok(octets) => self.held = octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Ready(Ok(SpliceStep::Empty)),
                Err(_) => return Poll::Ready(Err(Broken::Sender)),
            }
        }
        loop {
            if ready!(to.poll_write_ready(cx)).is_err() {
                return Poll::Ready(Err(Broken::Receiver));
            }
            let moved = to.try_io(Interest::WRITABLE, || Ok(splice(&self.reader, None, to, None, self.held, flags)?));
            match moved {
                Ok(octets) => {
                    self.held = self.held.saturating_sub(octets);
                    return Poll::Ready(Ok(SpliceStep::Passed(octets)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(Broken::Receiver)),
            }
        }
    }
}

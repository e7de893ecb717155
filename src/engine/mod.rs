//! Mail protocols as state machines: octets in, events out. No I/O, no clock, no thread, no logging.

pub mod anomaly;
pub mod event;
mod limits;
mod text;
mod verb;

use std::sync::Arc;

pub use event::{Context, Dir, End, Event, Peers, Sink};
pub use limits::Limits;
pub use text::{List, Span, Text};
pub use verb::{Untagged, Verb};

use crate::time::Timestamp;

/// What happened in one direction of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The next octets.
    Data(&'a [u8]),
    /// So many octets were lost.
    Gap(u64),
    /// The sender closed.
    Fin,
    /// The sender reset.
    Reset,
}

/// One mail connection.
#[derive(Debug)]
pub struct Session {
    context: Context,
    limits: Arc<Limits>,
}

impl Session {
    /// A connection that began at `at`.
    pub fn new(at: Timestamp, id: u64, peers: Peers, limits: Arc<Limits>) -> Self {
        let context = Context {
            id,
            began: at,
            peers,
            protocol: event::Protocol::Unknown,
        };
        Self { context, limits }
    }

    /// What is known of it now.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// A packet of `dir` belongs to it (captures only).
    pub fn packet(&mut self, dir: Dir) {
        let _ = (dir, &self.limits);
    }

    /// `input` came in `dir` at `at`. Octets keep the time of their first transmission, so `at` may run backwards.
    pub fn handle(&mut self, at: Timestamp, dir: Dir, input: Input<'_>, out: &mut dyn Sink) {
        let _ = (at, dir, input, out);
    }

    /// Whoever sends next in the other direction had received the octets of `dir` up to `offset`: what lies beyond
    /// cannot be the cause of what it sends. ACK numbers in captures, octets written on in the proxy.
    pub fn acked(&mut self, dir: Dir, offset: u64) {
        let _ = (dir, offset);
    }

    /// When [`Self::handle_timeout`] wants to be called, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, at: Timestamp, out: &mut dyn Sink) {
        let _ = (at, out);
    }

    /// No more will come. Emits what is still open, then [`Event::End`].
    pub fn finish(&mut self, at: Timestamp, why: End, out: &mut dyn Sink) {
        let _ = (at, why, out);
    }
}

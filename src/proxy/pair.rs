//! A connection that was let in and dialled on: both sockets, its observer, and what it holds as long as it lives.

use tokio::net::TcpStream;

use super::admission::Ticket;
use super::loops::GuardedEnd;
use super::observer::GuardedSession;
use crate::time::Timestamp;

/// A connection with both its sides.
pub(super) struct ProxiedPair {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    pub(super) session: GuardedSession,
    /// What came behind a PROXY header, and when.
    pub(super) early: Option<(Vec<u8>, Timestamp)>,
    /// What it holds as long as it lives.
    pub(super) held: ConnectionGuards,
}

/// Its place among those let in, and its two ends where it might be a loop.
pub(super) struct ConnectionGuards {
    pub(super) _ticket: Ticket,
    pub(super) _ends: Vec<GuardedEnd>,
}

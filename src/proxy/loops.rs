//! Both ends of a connection in one process are a loop: what mailtap dialled came back to mailtap.
//!
//! That happens when nftables redirect what this host itself sends and the mark that exempts mailtap is missing. A dialled
//! connection and the accepted one then have the same addresses. Each is noted here, whichever comes first, so that the
//! second meets the first. Not for connections with the client's own address: those may look alike by chance.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

/// A connection's client and server.
type Pair = (SocketAddr, SocketAddr);

/// The connections that are open, of all threads.
#[derive(Clone, Debug, Default)]
pub(super) struct LoopGuard(Arc<Mutex<HashMap<Pair, [u32; 2]>>>);

/// Which end of a connection this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It was meant for another, and came here.
    Accepted,
    /// It was made here.
    Dialled,
}

impl LoopGuard {
    /// Notes a connection from `client` to `server`. `None`: its other end is here already, and it is a loop.
    pub(super) fn note(&self, role: Role, client: SocketAddr, server: SocketAddr) -> Option<GuardedEnd> {
        let pair = (canonical(client), canonical(server));
        let mut open = self.open();
        let [accepted, dialled] = open.entry(pair).or_default();
        let (own, other) = match role {
            Role::Accepted => (accepted, *dialled),
            Role::Dialled => (dialled, *accepted),
        };
        if other > 0 {
            return None;
        }
        // A client may come again before all is over with its last connection.
        *own = own.saturating_add(1);
        Some(GuardedEnd { ends: self.clone(), role, pair })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Pair, [u32; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An end that is noted while this lives.
#[derive(Debug)]
pub(super) struct GuardedEnd {
    ends: LoopGuard,
    role: Role,
    pair: Pair,
}

impl Drop for GuardedEnd {
    fn drop(&mut self) {
        let mut open = self.ends.open();
        if let Some([accepted, dialled]) = open.get_mut(&self.pair) {
            let own = if self.role == Role::Accepted { &mut *accepted } else { &mut *dialled };
            *own = own.saturating_sub(1);
            if (*accepted, *dialled) == (0, 0) {
                open.remove(&self.pair);
            }
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_end_meets_the_first() {
        let ends = LoopGuard::default();
        let note = |role, client: &str| ends.note(role, client.parse().unwrap(), "192.0.2.25:25".parse().unwrap());
        let dialled = note(Role::Dialled, "10.0.0.1:40000").unwrap();
        assert!(note(Role::Accepted, "[::ffff:10.0.0.1]:40000").is_none());
        assert!(note(Role::Accepted, "10.0.0.1:40001").is_some());
        drop(dialled);
        let accepted = note(Role::Accepted, "10.0.0.1:40000").unwrap();
        assert!(note(Role::Dialled, "10.0.0.1:40000").is_none());
        let again = note(Role::Accepted, "10.0.0.1:40000").unwrap();
        drop(accepted);
        assert!(note(Role::Dialled, "10.0.0.1:40000").is_none(), "the second is here still");
        drop(again);
        assert!(ends.open().is_empty());
    }
}

//! Both ends of a connection in one process are a loop: what mailtap dialled came back to mailtap.
//!
//! That happens when nftables redirect what this host itself sends and the mark that exempts mailtap is missing. Then
//! the address a dialled connection leaves from is the address an accepted one comes from. Each is noted here, whichever
//! comes first, so that the second meets the first.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The ends of connections that are open, of all threads.
#[derive(Clone, Debug, Default)]
pub struct Ends(Arc<Mutex<HashSet<SocketAddr>>>);

impl Ends {
    /// Notes an end: the peer of an accepted connection, or the local address of a dialled one. `None`: the other end is
    /// here already, and the connection is a loop.
    pub fn note(&self, address: SocketAddr) -> Option<End> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        is_new.then(|| End { ends: self.clone(), address })
    }
}

/// An end that is noted while this lives.
#[derive(Debug)]
pub struct End {
    ends: Ends,
    address: SocketAddr,
}

impl Drop for End {
    fn drop(&mut self) {
        self.ends.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_end_meets_the_first() {
        let ends = Ends::default();
        let dialled = ends.note("10.0.0.1:40000".parse().unwrap()).unwrap();
        assert!(ends.note("[::ffff:10.0.0.1]:40000".parse().unwrap()).is_none());
        assert!(ends.note("10.0.0.1:40001".parse().unwrap()).is_some());
        drop(dialled);
        assert!(ends.note("10.0.0.1:40000".parse().unwrap()).is_some());
    }
}

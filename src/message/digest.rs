//! The SHA-256 of a message, taken as its octets pass.
//!
//! A digest of a message that was not seen whole would be a lie: loss voids it.

use sha2::{Digest as _, Sha256};

/// A running SHA-256, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Digest {
    running: Option<Sha256>,
    done: Option<[u8; 32]>,
}

impl Digest {
    /// Starts over; `wanted`: hash at all.
    pub(super) fn begin(&mut self, wanted: bool) {
        self.running = wanted.then(Sha256::new);
        self.done = None;
    }

    /// Takes the next octets.
    pub(super) fn octets(&mut self, octets: &[u8]) {
        if let Some(running) = &mut self.running {
            running.update(octets);
        }
    }

    /// Not all octets were seen.
    pub(super) fn void(&mut self) {
        self.running = None;
    }

    /// The end was reached.
    pub(super) fn finish(&mut self) {
        if let Some(running) = self.running.take() {
            self.done = Some(running.finalize().into());
        }
    }

    /// The digest of a message that ended whole.
    pub(super) fn sha256(&self) -> Option<[u8; 32]> {
        self.done
    }
}

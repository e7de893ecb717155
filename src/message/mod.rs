//! Octets of one message become facts: size, digest, header, parts. Streaming and bounded.
//!
//! The engine hands over what the receiver stores, piece by piece; outputs ask for facts when the
//! transaction is complete. Nothing here knows which protocol carried the message.

/// A message as it passes.
#[derive(Debug, Default)]
pub struct Message {
    size: u64,
}

impl Message {
    /// Starts over for a new message; buffers keep their room. `hash`: compute SHA-256. `header`: octets of the header block kept.
    pub fn begin(&mut self, hash: bool, header: usize) {
        let _ = (hash, header);
        self.size = 0;
    }

    /// Takes the next octets, as the receiver stores them.
    pub fn octets(&mut self, octets: &[u8]) {
        self.size += octets.len() as u64;
    }

    /// `lost` octets were not seen.
    pub fn gap(&mut self, lost: u64) {
        let _ = lost;
    }

    /// No more will come; `complete`: the end was reached.
    pub fn finish(&mut self, complete: bool) {
        let _ = complete;
    }

    /// Octets, lost ones included where their number is known.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of all octets, if all were seen and hashing was asked for.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        None
    }

    /// Whether the message was seen from its first octet to its last.
    pub fn complete(&self) -> bool {
        false
    }
}

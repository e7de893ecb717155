//! What became of the packets of an interface: counted by its thread, read by others at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::wire::{DecodeCounters as Decoded, UnreadClass};

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        if more > 0 {
            self.0.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// What became of the packets of one interface.
#[derive(Debug, Default)]
pub struct InterfaceCounters {
    /// Packets that came here. Not what libpcap calls received: on loopback that counts each twice.
    pub packets: Count,
    /// Bytes captured of them.
    pub octets: Count,
    /// Packets cut by the snap length.
    pub cut: Count,
    /// Packets of no use since the snap length cut their headers.
    pub cut_headers: Count,
    /// Packets the kernel had no room for in the ring.
    pub dropped_kernel: Count,
    /// Packets the interface or its driver had no room for.
    pub dropped_interface: Count,
    /// Segments given up since the threads that analyze were behind.
    pub dropped_queue: Count,
    /// Packets that lead to no TCP segment since a header of them cannot be.
    pub undecoded: Count,
    /// Packets that were not understood, by [`UnreadClass::index`].
    pub unread: [Count; UnreadClass::ALL.len()],
    /// Times that the interface went away.
    pub lost: Count,
    /// Times that it was opened again.
    pub reopened: Count,
    away: AtomicBool,
}

impl InterfaceCounters {
    /// Whether the interface is away now.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// Notes what the decoder has counted since `before`.
    pub(crate) fn decoded(&self, before: &Decoded, now: &Decoded) {
        self.cut_headers.add(now.cut().saturating_sub(before.cut()));
        self.undecoded.add(now.undecodable().saturating_sub(before.undecodable()));
        let counts = now.unread.iter().zip(before.unread);
        self.unread.iter().zip(counts).for_each(|(count, (now, before))| count.add(now.saturating_sub(before)));
    }
}

//! The two directions of a TCP connection: segments in any order become bytes in order, gaps, and ends.
//!
//! What comes in order passes through without a copy. What comes early waits, bounded, with the time and the
//! acknowledgment of its own segment: behind a hole of its own direction, or for bytes of the other direction that its
//! segment acknowledged, since captures of several queues or taps hold the two directions in another order than they were
//! sent. [`Duplex`] has the rules of what is lost, and when.
//!
//! The first bytes of an overlap win. Different bytes in the same place are counted as long as the earlier ones are
//! still kept; of those delivered, digests are compared: of the last few short segments, and once there was bulk, of
//! blocks of 64 bytes, the last 16 KiB, as far as whole ones come again.

mod blocks;
mod direction;
mod duplex;
mod kept;
mod recent;

use std::ops::AddAssign;
use std::time::Duration;

use crate::event::Input;
use crate::time::Timestamp;

pub use direction::Stream;
pub use duplex::Duplex;

/// Caps of a connection's two directions.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Bytes of one direction that wait, the cost of each piece included: the largest receive window of usual systems.
    pub buffered: usize,
    /// How long bytes wait behind a hole that nobody acknowledged: a few retransmission timeouts (RFC 6298).
    pub age: Duration,
    /// How long bytes wait for what was acknowledged and not seen, in capture time: taps and queues are skewed by 100 ms
    /// and more; five times that costs nothing where nothing is missing.
    pub window: Duration,
    /// The same where a single segment acknowledged it and nothing else shows it: what it acknowledged may never have
    /// been sent. Longer than servers usually think about a reply, whose segment then decides.
    pub unconfirmed: Duration,
    /// The same in segments of the connection, where the capture has no times or they stand still: 100 ms of a busy
    /// Gbit/s link.
    pub segments: u32,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            buffered: 4 << 20,
            age: Duration::from_secs(30),
            window: Duration::from_millis(500),
            unconfirmed: Duration::from_secs(5),
            segments: 8192,
        }
    }
}

/// What reassembly met, over all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Segments kept because bytes before them were missing.
    pub early: u64,
    /// Segments kept because they acknowledged bytes of the other direction that had not come yet.
    pub waited: u64,
    /// Bytes that had been seen before.
    pub duplicate_octets: u64,
    /// Segments that carried other bytes than seen before in the same place.
    pub conflicts: u64,
    /// Holes, or parts of one, declared lost.
    pub gaps: u64,
    /// Bytes in them.
    pub gap_octets: u64,
    /// Holes declared lost by a cap, not by an acknowledgment or an end.
    pub forced_gaps: u64,
    /// Segments and acknowledgments too far off to be believed without others that agree.
    pub implausible: u64,
    /// Resets that were not at the next byte (RFC 5961 section 3.2).
    pub blind_resets: u64,
    /// Segments with bytes after the end of their stream.
    pub late: u64,
}

impl AddAssign for StreamCounters {
    fn add_assign(&mut self, more: Self) {
        let Self {
            early,
            waited,
            duplicate_octets,
            conflicts,
            gaps,
            gap_octets,
            forced_gaps,
            implausible,
            blind_resets,
            late,
        } = more;
        self.early += early;
        self.waited += waited;
        self.duplicate_octets += duplicate_octets;
        self.conflicts += conflicts;
        self.gaps += gaps;
        self.gap_octets += gap_octets;
        self.forced_gaps += forced_gaps;
        self.implausible += implausible;
        self.blind_resets += blind_resets;
        self.late += late;
    }
}

/// Caps and counters that all streams share.
#[derive(Clone, Copy, Debug, Default)]
pub struct BufferBudget {
    /// The caps.
    pub limits: StreamLimits,
    /// The counters.
    pub counters: StreamCounters,
}

/// What a stream gives.
#[derive(Clone, Copy, Debug)]
pub struct StreamDelivery<'a> {
    /// When these bytes were first sent; for a gap, when its first sign was seen.
    pub at: Timestamp,
    /// Bytes of the other direction that the sender had received when it sent this, if known, as far as they were
    /// delivered.
    pub received: Option<u64>,
    /// Bytes, loss, or the end.
    pub input: Input<'a>,
}

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// FIN was delivered.
    Fin,
    /// A reset was delivered.
    Reset,
}

#[cfg(test)]
mod tests;

//! What is known of a capture itself, for one interface or file. Clones share everything.

use prometheus::{IntCounter, IntGauge};

use super::Shared;
use super::families::Id;
use super::labels::{DIRECTIONS, Eviction, PacketLoss};

/// Counts since the start. They only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Packets taken in.
    pub packets: u64,
    /// Octets captured of them.
    pub octets: u64,
    /// Packets lost or of no use, by [`PacketLoss::index`].
    pub dropped: [u64; PacketLoss::ALL.len()],
    /// Connections given up, by [`Eviction::index`].
    pub evicted: [u64; Eviction::ALL.len()],
    /// Octets never captured, by direction.
    pub gap_octets: [u64; 2],
    /// Segments with octets sent before, by direction.
    pub retransmitted: [u64; 2],
    /// Segments that came before their turn, by direction.
    pub out_of_order: [u64; 2],
    /// Segments with other octets than before in the same place, by direction.
    pub overlaps: [u64; 2],
}

/// Handles of a source.
#[derive(Clone, Debug)]
pub struct CaptureMetrics {
    packets: IntCounter,
    octets: IntCounter,
    dropped: Vec<IntCounter>,
    evicted: Vec<IntCounter>,
    gap_octets: Vec<IntCounter>,
    retransmitted: Vec<IntCounter>,
    out_of_order: Vec<IntCounter>,
    overlaps: Vec<IntCounter>,
    buffered: IntGauge,
}

impl CaptureMetrics {
    pub(super) fn new(shared: &Shared, source: u32) -> Self {
        let name = shared.name(shared.listener(source));
        let store = &shared.store;
        let each = |id, words: &[&str]| words.iter().map(|word| store.counter(id, &[&name, word])).collect();
        let losses: Vec<&str> = PacketLoss::ALL.iter().map(|r| r.as_str()).collect();
        let evictions: Vec<&str> = Eviction::ALL.iter().map(|r| r.as_str()).collect();
        Self {
            packets: store.counter(Id::CapturePackets, &[&name]),
            octets: store.counter(Id::CaptureBytes, &[&name]),
            dropped: each(Id::CaptureDropped, &losses),
            evicted: each(Id::FlowsEvicted, &evictions),
            gap_octets: each(Id::GapBytes, DIRECTIONS),
            retransmitted: each(Id::Retransmitted, DIRECTIONS),
            out_of_order: each(Id::OutOfOrder, DIRECTIONS),
            overlaps: each(Id::Overlaps, DIRECTIONS),
            buffered: store.gauge(Id::TcpBuffered, &[&name]),
        }
    }

    /// Raises everything to `counts`. For one caller at a time.
    pub fn set(&self, counts: &CaptureCounts) {
        raise(&self.packets, counts.packets);
        raise(&self.octets, counts.octets);
        let rows: [(&[IntCounter], &[u64]); 6] = [
            (&self.dropped, &counts.dropped),
            (&self.evicted, &counts.evicted),
            (&self.gap_octets, &counts.gap_octets),
            (&self.retransmitted, &counts.retransmitted),
            (&self.out_of_order, &counts.out_of_order),
            (&self.overlaps, &counts.overlaps),
        ];
        for (counters, values) in rows {
            counters.iter().zip(values).for_each(|(counter, value)| raise(counter, *value));
        }
    }

    /// Octets kept behind holes.
    pub fn set_buffered(&self, octets: usize) {
        self.buffered.set(i64::try_from(octets).unwrap_or(i64::MAX));
    }
}

/// Raises a counter that follows another to `to`.
pub(super) fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

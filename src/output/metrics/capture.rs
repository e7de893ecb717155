//! What is known of a capture itself, for one interface or file. Clones share everything.
//!
//! What its connections lost, and how their segments came, is told by the sessions.

use prometheus::{IntCounter, IntGauge};

use super::MetricsShared;
use super::families::FamilyId;
use super::labels::{DIRECTIONS, Eviction, NotUnderstood, PacketLoss};

/// Counts since the start. They only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Packets taken in.
    pub packets: u64,
    /// Octets captured of them.
    pub octets: u64,
    /// Packets lost or of no use, by [`PacketLoss::index`].
    pub dropped: [u64; PacketLoss::ALL.len()],
    /// Packets that were not understood, by [`NotUnderstood::index`].
    pub not_understood: [u64; NotUnderstood::ALL.len()],
}

impl CaptureCounts {
    /// So many packets were lost for `reason`.
    pub fn set_dropped(&mut self, reason: PacketLoss, packets: u64) {
        if let Some(count) = self.dropped.get_mut(reason.index()) {
            *count = packets;
        }
    }
}

/// Handles of a source.
#[derive(Clone, Debug)]
pub struct CaptureMetrics {
    packets: IntCounter,
    octets: IntCounter,
    dropped: Vec<IntCounter>,
    not_understood: Vec<IntCounter>,
    buffered: IntGauge,
}

impl CaptureMetrics {
    pub(super) fn new(shared: &MetricsShared, source: u32) -> Self {
        let name = shared.name(shared.listener(source));
        let store = &shared.store;
        let dropped =
            PacketLoss::ALL.iter().map(|r| store.counter(FamilyId::CaptureDropped, &[&name, r.as_str()])).collect();
        let unread = NotUnderstood::ALL.iter();
        let not_understood =
            unread.map(|r| store.counter(FamilyId::CaptureNotUnderstood, &[&name, r.as_str()])).collect();
        // What the tracker did comes from the sessions; here it is only there from the start.
        for id in [FamilyId::GapBytes, FamilyId::Retransmitted, FamilyId::OutOfOrder, FamilyId::Overlaps] {
            DIRECTIONS.iter().for_each(|dir| store.zero(id, &[&name, dir]));
        }
        Eviction::ALL.iter().for_each(|r| store.zero(FamilyId::FlowsEvicted, &[&name, r.as_str()]));
        Self {
            packets: store.counter(FamilyId::CapturePackets, &[&name]),
            octets: store.counter(FamilyId::CaptureBytes, &[&name]),
            dropped,
            not_understood,
            buffered: store.gauge(FamilyId::TcpBuffered, &[&name]),
        }
    }

    /// Raises everything to `counts`. For one caller at a time.
    pub fn set(&self, counts: &CaptureCounts) {
        raise(&self.packets, counts.packets);
        raise(&self.octets, counts.octets);
        self.dropped.iter().zip(counts.dropped).for_each(|(counter, value)| raise(counter, value));
        let unread = self.not_understood.iter().zip(counts.not_understood);
        unread.for_each(|(counter, value)| raise(counter, value));
    }

    /// Octets that wait for others, of either side.
    pub fn set_buffered(&self, octets: usize) {
        self.buffered.set(i64::try_from(octets).unwrap_or(i64::MAX));
    }
}

/// Raises a counter that follows another to `to`.
pub(super) fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

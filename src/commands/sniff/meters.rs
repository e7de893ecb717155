//! What a run shows of its interfaces: their counters, carried over to the metrics once a second, so that no packet
//! waits for a scrape.

use crate::capture::live::InterfaceCounters;
use crate::config::Sniff;
use crate::output::MetricsEndpoint;
use crate::output::metrics::{CaptureCounts, CaptureMetrics, PacketLoss};
use crate::pipeline::live::WorkerState;

/// The meters of the interfaces.
pub(super) struct Meters(Vec<CaptureMetrics>);

impl Meters {
    /// One for each interface, if anybody wants to know.
    pub(super) fn new(ready: &Sniff, monitor: &MetricsEndpoint) -> Self {
        let metrics = monitor.metrics();
        let each = (0..).zip(&ready.interfaces).filter_map(|(source, _)| Some(metrics?.capture(source)));
        Self(each.collect())
    }

    /// Carries counters over.
    pub(super) fn update<'a>(
        &self,
        monitor: &MetricsEndpoint,
        counters: impl Iterator<Item = &'a InterfaceCounters>,
        states: impl Iterator<Item = WorkerState>,
        queued: usize,
    ) {
        for (metrics, counters) in self.0.iter().zip(counters) {
            metrics.set(&counts(counters));
        }
        // The tables hold what came from any interface: all of it stands at the first.
        let buffered = states.map(|state| state.buffered).sum::<u64>();
        if let Some(first) = self.0.first() {
            first.set_buffered(usize::try_from(buffered).unwrap_or(usize::MAX));
        }
        if let Some(metrics) = monitor.metrics() {
            metrics.set_queue_depth(queued);
        }
    }
}

fn counts(of: &InterfaceCounters) -> CaptureCounts {
    let dropped = PacketLoss::ALL.iter().map(|reason| match reason {
        PacketLoss::Kernel => of.dropped_kernel.value(),
        PacketLoss::Interface => of.dropped_interface.value(),
        PacketLoss::Queue => of.dropped_queue.value(),
        PacketLoss::Snaplen => of.cut.value(),
        PacketLoss::Decode => of.undecoded.value(),
    });
    let mut counts =
        CaptureCounts { packets: of.packets.value(), octets: of.octets.value(), ..CaptureCounts::default() };
    counts.not_understood.iter_mut().zip(&of.unread).for_each(|(to, count)| *to = count.value());
    counts.dropped.iter_mut().zip(dropped).for_each(|(to, value)| *to = value);
    counts
}

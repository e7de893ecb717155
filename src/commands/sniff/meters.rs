//! What a run shows of its interfaces: their counters, carried over to the metrics once a second, so that no packet
//! waits for a scrape.

use crate::capture::live::InterfaceCounters;
use crate::output::metrics::{CaptureCounts, CaptureMetrics, Metrics, PacketLoss};
use crate::pipeline::live::WorkerState;

/// The meters of the interfaces.
pub(super) struct Meters {
    metrics: Option<Metrics>,
    interfaces: Vec<CaptureMetrics>,
}

impl Meters {
    /// One for each of `interfaces`, if anybody wants to know.
    pub(super) fn new(metrics: Option<&Metrics>, interfaces: usize) -> Self {
        let each = (0..).take(interfaces).filter_map(|source| Some(metrics?.capture(source)));
        Self { metrics: metrics.cloned(), interfaces: each.collect() }
    }

    /// Carries counters over.
    pub(super) fn update<'a>(
        &self,
        counters: impl Iterator<Item = &'a InterfaceCounters>,
        states: impl Iterator<Item = WorkerState>,
        queued: usize,
    ) {
        for (metrics, counters) in self.interfaces.iter().zip(counters) {
            metrics.set(&counts(counters));
        }
        // The tables hold what came from any interface: all of it stands at the first.
        let buffered = states.map(|state| state.buffered).sum::<u64>();
        if let Some(first) = self.interfaces.first() {
            first.set_buffered(usize::try_from(buffered).unwrap_or(usize::MAX));
        }
        if let Some(metrics) = &self.metrics {
            metrics.set_queue_depth(queued);
        }
    }
}

fn counts(of: &InterfaceCounters) -> CaptureCounts {
    let dropped = PacketLoss::ALL.iter().map(|reason| match reason {
        PacketLoss::Kernel => of.dropped_kernel.value(),
        PacketLoss::Interface => of.dropped_interface.value(),
        PacketLoss::Queue => of.dropped_queue.value(),
        PacketLoss::Snaplen => of.cut_headers.value(),
        PacketLoss::Decode => of.undecoded.value(),
    });
    let mut counts =
        CaptureCounts { packets: of.packets.value(), octets: of.octets.value(), ..CaptureCounts::default() };
    counts.not_understood.iter_mut().zip(&of.unread).for_each(|(to, count)| *to = count.value());
    counts.dropped.iter_mut().zip(dropped).for_each(|(to, value)| *to = value);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::InputKind;
    use crate::output::metrics::MetricsSetup;

    #[test]
    fn what_an_interface_lost_and_what_waits_is_shown() {
        let metrics = Metrics::new(MetricsSetup::new(InputKind::Live, ["mx0", "mx1"])).unwrap();
        let meters = Meters::new(Some(&metrics), 2);
        let counters = [InterfaceCounters::default(), InterfaceCounters::default()];
        let [_, second] = &counters;
        for (count, packets) in [
            (&second.packets, 20),
            (&second.octets, 3000),
            (&second.dropped_kernel, 1),
            (&second.dropped_interface, 2),
            (&second.dropped_queue, 3),
            (&second.cut, 40),
            (&second.cut_headers, 4),
            (&second.undecoded, 5),
        ] {
            count.add(packets);
        }
        let states = [
            WorkerState { buffered: 70, ..WorkerState::default() },
            WorkerState { buffered: 7, ..WorkerState::default() },
        ];
        // InterfaceCounters rise, what waits is as it was last.
        meters.update(counters.iter(), states.into_iter(), 9);
        second.dropped_queue.add(1);
        meters.update(counters.iter(), states.into_iter().take(1), 8);
        let text = String::from_utf8(metrics.render()).unwrap();
        for line in [
            r#"mailtap_capture_packets_total{listener="mx1"} 20"#,
            r#"mailtap_capture_bytes_total{listener="mx1"} 3000"#,
            r#"mailtap_capture_dropped_packets_total{listener="mx0",reason="queue"} 0"#,
            r#"mailtap_capture_dropped_packets_total{listener="mx1",reason="kernel"} 1"#,
            r#"mailtap_capture_dropped_packets_total{listener="mx1",reason="interface"} 2"#,
            r#"mailtap_capture_dropped_packets_total{listener="mx1",reason="queue"} 4"#,
            r#"mailtap_capture_dropped_packets_total{listener="mx1",reason="snaplen"} 4"#,
            r#"mailtap_capture_dropped_packets_total{listener="mx1",reason="decode"} 5"#,
            r#"mailtap_tcp_buffered_bytes{listener="mx0"} 70"#,
            "mailtap_analysis_queue_depth 8",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is not there");
        }
    }
}

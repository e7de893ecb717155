//! What people read on their terminal: the interfaces there are, and how a run went.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::capture::live;
use crate::capture::live::InterfaceCounters;
use crate::error::Error;
use crate::pipeline::live::WorkerState;

/// Prints the interfaces that can be watched.
pub fn interfaces() -> Result<(), Error> {
    let found = live::interfaces().map_err(|reason| {
        Error::Interface(live::DeviceError {
            interface: "--list-interfaces".into(),
            what: live::DeviceErrorKind::Other(reason),
        })
    })?;
    let width = found.iter().map(|i| i.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for interface in found {
        let state = if interface.up { "up" } else { "down" };
        let addresses = interface.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let about = interface.about.map(|about| format!("({about})"));
        let rest = [Some(addresses), about].into_iter().flatten().filter(|part| !part.is_empty());
        let rest = rest.collect::<Vec<_>>().join(" ");
        let line = format!("{:width$}  {state:4}  {rest}", interface.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|reason| Error::Write { to: "standard output", reason })
}

/// One line on how a run went.
pub(super) fn statistics<'a>(
    counters: impl Iterator<Item = (&'a str, &'a InterfaceCounters)>,
    states: &[WorkerState],
    records_lost: u64,
) -> String {
    let mut text = String::new();
    for (name, c) in counters {
        let _ = write!(text, "{name}: {} packets ({})", c.packets.value(), size(c.octets.value()));
        let lost = [
            (c.dropped_kernel.value(), "dropped by the kernel"),
            (c.dropped_interface.value(), "dropped by the interface"),
            (c.dropped_queue.value(), "dropped here"),
            (c.cut.value(), "cut by the snap length"),
            (c.undecoded.value(), "not understood"),
            (c.lost.value(), "times gone"),
        ];
        for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(text, ", {count} {what}");
        }
        text.push_str("; ");
    }
    let sum = |of: fn(&WorkerState) -> u64| states.iter().map(of).sum::<u64>();
    let (opened, empty) = (sum(|s| s.flows.opened), sum(|s| s.flows.empty));
    let _ = write!(text, "{} sessions", opened.saturating_sub(empty));
    for (count, what) in [
        (sum(|s| s.flows.streams.gap_octets), "octets missing in them"),
        (sum(|s| s.flows.evicted), "closed for room"),
        (records_lost, "records lost"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

/// Octets in the unit that fits.
fn size(octets: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut tenths = octets.saturating_mul(10);
    let mut unit = units.iter();
    let mut name = unit.next();
    while tenths >= 10_000 {
        let Some(next) = unit.next() else { break };
        name = Some(next);
        tenths /= 1000;
    }
    let name = name.unwrap_or(&"B");
    if octets < 1000 { format!("{octets} {name}") } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::flow::FlowCounters;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (octets, text) in [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_999, "1.9 kB"), (12_345_678, "12.3 MB")]
        {
            assert_eq!(size(octets), text);
        }
    }

    #[test]
    fn only_what_was_lost_is_told() {
        let counters = InterfaceCounters::default();
        counters.packets.add(5);
        counters.octets.add(700);
        let flows = FlowCounters { opened: 3, empty: 1, ..FlowCounters::default() };
        let states = [WorkerState { flows, ..WorkerState::default() }];
        let text = statistics([("eth0", &counters)].into_iter(), &states, 0);
        assert_eq!(text, "eth0: 5 packets (700 B); 2 sessions");
        counters.dropped_kernel.add(2);
        let text = statistics([("eth0", &counters)].into_iter(), &states, 1);
        assert_eq!(text, "eth0: 5 packets (700 B), 2 dropped by the kernel; 2 sessions, 1 records lost");
    }
}

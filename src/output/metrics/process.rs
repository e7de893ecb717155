//! Facts of the process itself, under the names that every Prometheus client uses.
//!
//! The collector of the `prometheus` crate gives whole seconds of CPU, in which a quarter of an hour of a quiet proxy is
//! nothing; this one gives what the kernel counts.

use procfs::process::{LimitValue, Process};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};

/// Reads `/proc/self` at each scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    cpu: Counter,
    gauges: Vec<(Gauge, fn(&ProcessFacts) -> f64)>,
}

/// What was read.
struct ProcessFacts {
    cpu: f64,
    virtual_memory: f64,
    resident_memory: f64,
    threads: f64,
    start: f64,
    open_descriptors: f64,
    most_descriptors: f64,
}

impl ProcessCollector {
    pub(super) fn new() -> prometheus::Result<Self> {
        type Read = fn(&ProcessFacts) -> f64;
        let gauges: [(&str, &str, Read); 6] = [
            ("process_open_fds", "Open file descriptors.", |facts| facts.open_descriptors),
            ("process_max_fds", "File descriptors that may be open.", |facts| facts.most_descriptors),
            ("process_virtual_memory_bytes", "Virtual memory.", |facts| facts.virtual_memory),
            ("process_resident_memory_bytes", "Resident memory.", |facts| facts.resident_memory),
            ("process_start_time_seconds", "When the process started, in seconds since 1970.", |facts| facts.start),
            ("process_threads", "Threads.", |facts| facts.threads),
        ];
        let gauge = |(name, help, read): (&str, &str, Read)| Ok((Gauge::new(name, help)?, read));
        Ok(Self {
            cpu: Counter::with_opts(Opts::new("process_cpu_seconds_total", "User and system CPU time."))?,
            gauges: gauges.into_iter().map(gauge).collect::<prometheus::Result<_>>()?,
        })
    }
}

impl ProcessFacts {
    fn read() -> procfs::ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        let most = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(most) => most as f64,
            LimitValue::Unlimited => f64::INFINITY,
        };
        Ok(Self {
            cpu: (stat.utime + stat.stime) as f64 / ticks,
            virtual_memory: stat.vsize as f64,
            resident_memory: (stat.rss * procfs::page_size()) as f64,
            threads: stat.num_threads as f64,
            start: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
            open_descriptors: process.fd_count()? as f64,
            most_descriptors: most,
        })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.cpu.desc().into_iter().chain(self.gauges.iter().flat_map(|(gauge, _)| gauge.desc())).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Where /proc is not mounted, nothing is known of the process, and nothing is said.
        let Ok(facts) = ProcessFacts::read() else { return Vec::new() };
        self.cpu.reset();
        self.cpu.inc_by(facts.cpu);
        self.gauges.iter().for_each(|(gauge, read)| gauge.set(read(&facts)));
        self.cpu.collect().into_iter().chain(self.gauges.iter().flat_map(|(gauge, _)| gauge.collect())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn cpu_is_given_in_fractions_of_a_second() {
        let collector = ProcessCollector::new().unwrap();
        let cpu = || {
            let values: HashMap<String, f64> =
                collector.collect().iter().map(|family| (family.name().to_owned(), value(family))).collect();
            assert_eq!(values.len(), 7);
            assert!(values["process_open_fds"] >= 3.0 && values["process_max_fds"] > values["process_open_fds"]);
            assert!(values["process_resident_memory_bytes"] > 1e6 && values["process_threads"] >= 1.0);
            assert!(values["process_start_time_seconds"] > 1.7e9);
            values["process_cpu_seconds_total"]
        };
        let before = cpu();
        let mut between = false;
        while cpu() < before + 0.1 {
            between |= cpu().fract() != 0.0;
        }
        assert!(between);
    }

    fn value(family: &MetricFamily) -> f64 {
        let metric = &family.get_metric()[0];
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }
}

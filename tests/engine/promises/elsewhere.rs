//! What takes a running program is set by a test that runs it.

use std::path::Path;

/// A test that sets something that cannot be set here.
pub(super) struct Test {
    /// Below the project.
    file: &'static str,
    name: &'static str,
    pub(super) sets: &'static [&'static str],
}

impl Test {
    /// Fails unless there is that test, and it names what it sets.
    pub(super) fn check(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", self.file));
        let start = text.find(&format!("fn {}(", self.name));
        let start = start.unwrap_or_else(|| panic!("{} has no test {}", self.file, self.name));
        let body = &text[start..];
        let body = body.split_once("\n#[test]").map_or(body, |(body, _)| body);
        for promise in self.sets {
            let (family, value) = promise.trim_end_matches('}').split_once('{').unwrap_or((promise, ""));
            // A helper of the file may name the family.
            assert!(text.contains(family), "{} does not name {family}", self.file);
            let word = value.rsplit('=').next().unwrap_or_default();
            assert!(body.contains(word), "{} of {} does not name {word}, of {promise}", self.name, self.file);
        }
    }
}

/// Fields and words of the schema.
pub(super) const RECORDS: [Test; 0] = [];

/// Families and label values of the metrics.
pub(super) const METRICS: [Test; 6] = [
    Test {
        file: "tests/program/admission.rs",
        name: "connections_over_the_limit_are_told_so",
        sets: &["mailtap_sessions_rejected_total", "mailtap_sessions_rejected_total{reason=max_connections}"],
    },
    Test {
        file: "tests/program/admission.rs",
        name: "a_source_has_its_part",
        sets: &["mailtap_sessions_rejected_total{reason=per_source}", "mailtap_sessions_rejected_total{reason=rate}"],
    },
    Test {
        file: "tests/program/admission.rs",
        name: "who_owes_a_header_and_sends_none_is_turned_away",
        sets: &["mailtap_sessions_rejected_total{reason=proxy_header}"],
    },
    Test {
        file: "tests/program/proxy.rs",
        name: "what_nobody_can_read_is_moved_by_the_kernel_and_counted",
        sets: &["mailtap_spliced_bytes_total", "mailtap_spliced_bytes_total{direction=server_to_client}"],
    },
    Test {
        file: "src/output/metrics/tests.rs",
        name: "open_sessions_are_those_started_and_not_ended",
        sets: &["mailtap_sessions_active"],
    },
    Test {
        file: "src/output/metrics/tests.rs",
        name: "counters_of_logs_and_captures_follow",
        sets: &[
            "mailtap_log_events_total",
            "mailtap_log_dropped_events_total",
            "mailtap_log_dropped_events_total{reason=queue_full}",
            "mailtap_log_lag_seconds",
            "mailtap_capture_packets_total",
            "mailtap_capture_dropped_packets_total",
            "mailtap_capture_dropped_packets_total{reason=kernel}",
        ],
    },
];

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
pub(super) const RECORDS: [Test; 1] = [Test {
    file: "tests/program/scraped.rs",
    name: "records_name_the_listener",
    sets: &[
        "anomaly.listener",
        "append.listener",
        "auth.listener",
        "command.listener",
        "delivery.listener",
        "retrieval.listener",
        "session.listener",
    ],
}];

/// Families and label values of the metrics.
pub(super) const METRICS: &[Test] = &[
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
        file: "tests/program/stop.rs",
        name: "who_does_not_forward_yet_is_turned_away_by_the_first_signal",
        sets: &["mailtap_sessions_rejected_total{reason=drain}"],
    },
    Test {
        file: "tests/program/stop.rs",
        name: "a_process_without_descriptors_blames_no_server",
        sets: &["mailtap_sessions_rejected_total{reason=descriptors}"],
    },
    Test {
        file: "tests/program/proxy.rs",
        name: "what_nobody_can_read_is_moved_by_the_kernel_and_counted",
        sets: &[
            "mailtap_spliced_bytes_total",
            "mailtap_spliced_bytes_total{direction=client_to_server}",
            "mailtap_spliced_bytes_total{direction=server_to_client}",
        ],
    },
    Test {
        file: "src/output/metrics/tests.rs",
        name: "open_sessions_are_those_started_and_not_ended",
        sets: &["mailtap_sessions_active"],
    },
    Test {
        file: "tests/program/waiting.rs",
        name: "silent_clients_that_fill_a_listener_are_seen",
        sets: &[
            "mailtap_connections_open",
            "mailtap_connections_waiting",
            "mailtap_connections_before_greeting",
            "mailtap_connections_before_greeting_oldest_seconds",
        ],
    },
    Test {
        file: "tests/program/waiting.rs",
        name: "a_server_that_never_greets_is_counted",
        sets: &["mailtap_greeting_timeouts_total"],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "a_loop_that_does_not_run_lags",
        sets: &["mailtap_loop_lag_seconds"],
    },
    Test {
        file: "tests/program/log.rs",
        name: "records_that_wait_are_as_old_as_the_oldest",
        sets: &["mailtap_log_queue_depth"],
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
    Test {
        file: "tests/program/terminated/failures.rs",
        name: "an_own_certificate_that_has_expired_is_warned_of_and_counted",
        sets: &["mailtap_tls_certificates_expired"],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "servers_that_take_no_connection_are_counted_by_why",
        sets: &[
            "mailtap_connect_errors_total",
            "mailtap_connect_errors_total{reason=refused}",
            "mailtap_connect_errors_total{reason=timeout}",
            "mailtap_connect_errors_total{reason=unreachable}",
            "mailtap_connect_errors_total{reason=other}",
        ],
    },
    Test {
        file: "tests/program/upstream.rs",
        name: "a_name_that_is_not_known_does_not_stop_the_other_listeners",
        sets: &["mailtap_connect_errors_total{reason=unresolved}"],
    },
    Test {
        file: "tests/program/upstream.rs",
        name: "a_client_of_another_family_than_its_server_is_counted_as_turned_away",
        sets: &["mailtap_sessions_rejected_total{reason=spoof_family}"],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "who_comes_to_the_listener_itself_where_connections_are_redirected_is_a_loop",
        sets: &["mailtap_sessions_rejected_total{reason=loop}"],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "forwarding_is_measured_both_ways",
        sets: &[
            "mailtap_sessions_limit",
            "mailtap_half_closed_sessions",
            "mailtap_proxy_added_latency_seconds",
            "mailtap_proxy_added_latency_seconds{direction=client_to_server}",
            "mailtap_proxy_added_latency_seconds{direction=server_to_client}",
            "mailtap_forward_paused_total",
            "mailtap_forward_paused_total{direction=client_to_server}",
            "mailtap_forward_paused_total{direction=server_to_client}",
            "mailtap_forward_paused_seconds_total",
            "mailtap_forward_paused_seconds_total{direction=client_to_server}",
            "mailtap_forward_paused_seconds_total{direction=server_to_client}",
            "mailtap_forward_buffered_bytes",
            "mailtap_forward_buffered_bytes{direction=client_to_server}",
            "mailtap_forward_buffered_bytes{direction=server_to_client}",
        ],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "sessions_that_stand_still_end_by_what_they_were_doing",
        sets: &[
            "mailtap_sessions_terminated_total",
            "mailtap_sessions_terminated_total{reason=timeout}",
            "mailtap_sessions_terminated_total{phase=connect}",
            "mailtap_sessions_terminated_total{phase=greeting}",
            "mailtap_sessions_terminated_total{phase=idle}",
            "mailtap_sessions_terminated_total{phase=auth}",
            "mailtap_sessions_terminated_total{phase=transaction}",
            "mailtap_sessions_terminated_total{phase=data}",
            "mailtap_sessions_terminated_total{phase=tls}",
            "mailtap_sessions_terminated_total{phase=quit}",
        ],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "a_proxy_that_goes_down_says_so",
        sets: &["mailtap_draining", "mailtap_sessions_terminated_total{reason=drain}"],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "faults_of_the_observer_are_counted",
        sets: &["mailtap_sessions_bypassed_total{reason=panic}", "mailtap_sessions_terminated_total{reason=error}"],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "records_that_cannot_be_written_are_counted",
        sets: &["mailtap_log_errors_total", "mailtap_log_dropped_events_total{reason=sink_error}"],
    },
    Test {
        file: "tests/program/scraped.rs",
        name: "whether_a_configuration_was_taken_is_shown",
        sets: &["mailtap_config_last_reload_successful", "mailtap_config_last_reload_success_timestamp_seconds"],
    },
    Test { file: "tests/program/scraped.rs", name: "records_name_the_listener", sets: &["mailtap_imap_idle_active"] },
    Test {
        file: "tests/program/metrics.rs",
        name: "packets_that_are_of_no_use_are_counted_by_what_is_in_the_way",
        sets: &[
            "mailtap_capture_bytes_total",
            "mailtap_capture_dropped_packets_total{reason=decode}",
            "mailtap_capture_dropped_packets_total{reason=snaplen}",
            "mailtap_capture_not_understood_packets_total",
            "mailtap_capture_not_understood_packets_total{reason=link_type}",
            "mailtap_capture_not_understood_packets_total{reason=network}",
            "mailtap_capture_not_understood_packets_total{reason=transport}",
            "mailtap_capture_not_understood_packets_total{reason=encrypted}",
            "mailtap_capture_not_understood_packets_total{reason=tunnel}",
        ],
    },
    Test {
        file: "src/commands/sniff/meters.rs",
        name: "what_an_interface_lost_and_what_waits_is_shown",
        sets: &[
            "mailtap_analysis_queue_depth",
            "mailtap_tcp_buffered_bytes",
            "mailtap_capture_dropped_packets_total{reason=interface}",
            "mailtap_capture_dropped_packets_total{reason=queue}",
        ],
    },
    Test {
        file: "src/output/metrics/tests.rs",
        name: "no_family_exceeds_its_cap",
        sets: &["mailtap_metrics_series_dropped_total"],
    },
];

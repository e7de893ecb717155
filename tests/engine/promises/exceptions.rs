//! What nothing can set yet, each with the capability that it waits for.

const ANOMALIES: &str = "anomalies with their evidence and how they were settled";
const SMUGGLING: &str = "other readings of ambiguous bytes, settled by the replies";
const TLS: &str = "TLS read from its handshake, without answering it";
const GRAMMAR: &str = "replies outside the grammar, kept for what they are";
/// Not a capability: code sets it, and no test looks yet.
const SCRAPED: &str = "a test that scrapes a running mailtap while it happens";

/// Fields and words of the schema.
pub(super) const RECORDS: &[(&str, &str)] = &[
    ("anomaly.detail", ANOMALIES),
    ("anomaly.evidence", ANOMALIES),
    ("anomaly.incomplete", ANOMALIES),
    ("anomaly.state", ANOMALIES),
    ("anomaly.tag", ANOMALIES),
    ("anomaly.transaction", ANOMALIES),
    ("anomaly.variant", ANOMALIES),
    ("anomaly_state=*", ANOMALIES),
    ("severity=high", ANOMALIES),
    ("delivery.parent", SMUGGLING),
    ("delivery.smuggled", SMUGGLING),
    ("session.reply_desync", SMUGGLING),
    ("message.attachments.md5", "digests of MIME parts"),
    ("message.attachments.sha256", "digests of MIME parts"),
    ("message.authentication", "facts of DKIM, ARC and the results of both"),
    ("message.report", "facts of delivery, disposition and abuse reports"),
    ("other=tls", TLS),
    ("outcome=encrypted", TLS),
    ("untagged=UIDFETCH", "FETCH by UID alone (RFC 9586)"),
    ("session.tls.alpn", TLS),
    ("session.tls.certificate*", TLS),
    ("session.tls.ja3", TLS),
    ("session.tls.ja4", TLS),
];

/// Families and label values of the metrics.
pub(super) const METRICS: &[(&str, &str)] = &[
    ("mailtap_anomalies_total{outcome=accepted}", ANOMALIES),
    ("mailtap_anomalies_total{outcome=attempt}", ANOMALIES),
    ("mailtap_anomalies_total{outcome=candidate}", ANOMALIES),
    ("mailtap_anomalies_total{outcome=neutralised}", ANOMALIES),
    ("mailtap_anomalies_total{outcome=refused}", ANOMALIES),
    ("mailtap_anomalies_total{outcome=unresolved}", ANOMALIES),
    ("mailtap_line_anomalies_total{direction=server_to_client}", ANOMALIES),
    ("mailtap_line_anomalies_total{reason=bare_cr}", ANOMALIES),
    ("mailtap_enforcements_total*", "the proxy that keeps smuggled mail from the server"),
    ("mailtap_sessions_terminated_total{reason=enforcement}", "the proxy that keeps smuggled mail from the server"),
    ("mailtap_log_spool_bytes", "a spool between the records and where they are shipped"),
    ("mailtap_sessions_bypassed_total{reason=work_limit}", "a budget of work for a session"),
    ("mailtap_transactions_total{outcome=encrypted}", TLS),
    ("mailtap_imap_untagged_total{reason=alert}", "notices that answer no command"),
    ("mailtap_commands_total{status=invalid}", GRAMMAR),
    ("mailtap_recipients_total{status=invalid}", GRAMMAR),
    ("mailtap_smtp_replies_total{code=invalid}", GRAMMAR),
    ("mailtap_analysis_queue_depth", SCRAPED),
    ("mailtap_capture_bytes_total", SCRAPED),
    ("mailtap_capture_dropped_packets_total{reason=decode}", SCRAPED),
    ("mailtap_capture_dropped_packets_total{reason=interface}", SCRAPED),
    ("mailtap_capture_dropped_packets_total{reason=queue}", SCRAPED),
    ("mailtap_capture_dropped_packets_total{reason=snaplen}", SCRAPED),
    ("mailtap_config_last_reload_*", SCRAPED),
    ("mailtap_connect_errors_total*", SCRAPED),
    ("mailtap_draining", SCRAPED),
    ("mailtap_forward_*", SCRAPED),
    ("mailtap_half_closed_sessions", SCRAPED),
    ("mailtap_imap_idle_active", SCRAPED),
    ("mailtap_log_dropped_events_total{reason=sink_error}", SCRAPED),
    ("mailtap_log_errors_total", SCRAPED),
    ("mailtap_metrics_series_dropped_total", SCRAPED),
    ("mailtap_proxy_added_latency_seconds*", SCRAPED),
    ("mailtap_sessions_bypassed_total{reason=panic}", SCRAPED),
    ("mailtap_sessions_limit", SCRAPED),
    ("mailtap_sessions_rejected_total{reason=loop}", SCRAPED),
    ("mailtap_sessions_terminated_total", SCRAPED),
    ("mailtap_sessions_terminated_total{phase=*", SCRAPED),
    ("mailtap_sessions_terminated_total{reason=drain}", SCRAPED),
    ("mailtap_sessions_terminated_total{reason=error}", SCRAPED),
    ("mailtap_sessions_terminated_total{reason=timeout}", SCRAPED),
    ("mailtap_spliced_bytes_total{direction=client_to_server}", SCRAPED),
    ("mailtap_tcp_buffered_bytes", SCRAPED),
    ("mailtap_tls_certificate_not_after_timestamp_seconds", TLS),
];

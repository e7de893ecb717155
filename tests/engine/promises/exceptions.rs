//! What nothing can set yet, each with the capability that it waits for.

const ANOMALIES: &str = "anomalies with their evidence and how they were settled";
const SMUGGLING: &str = "other readings of ambiguous bytes, settled by the replies";
const TLS: &str = "TLS read from its handshake, without answering it";
const GRAMMAR: &str = "replies outside the grammar, kept for what they are";

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
    ("mailtap_transactions_total{outcome=encrypted}", TLS),
    ("mailtap_commands_total{status=invalid}", GRAMMAR),
    ("mailtap_recipients_total{status=invalid}", GRAMMAR),
    ("mailtap_smtp_replies_total{code=invalid}", GRAMMAR),
    ("mailtap_recipients_total{status=3xx}", GRAMMAR),
    ("mailtap_smtp_replies_total{code=334}", GRAMMAR),
    ("mailtap_smtp_replies_total{code=353}", GRAMMAR),
    ("mailtap_tls_certificate_not_after_timestamp_seconds", TLS),
];

//! Every family of metrics: its name, its labels in their order, its buckets, and what it means.
//!
//! This list is the contract with dashboards and rules; `docs/metrics.md` is written from it. A family is never
//! renamed and never loses a label without a note in the change log.

use crate::output::InputKind;

/// Seconds that somebody waits: from 50 µs, what a server on the same host needs for a `NOOP`, to the five minutes that
/// clients wait (RFC 5321 section 4.5.3.2).
pub(super) const LATENCY: &[f64] = &[
    0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 300.0,
];

/// Seconds that forwarding adds: from 10 µs to 100 ms in steps of 2.5.
pub(super) const ADDED: &[f64] = &[
    0.000_01,
    0.000_025,
    0.000_062_5,
    0.000_156_25,
    0.000_390_625,
    0.000_976_562_5,
    0.002_441_406_25,
    0.006_103_515_625,
    0.015_258_789_062_5,
    0.038_146_972_656_25,
    0.1,
];

/// Seconds that something lasts: from 10 ms to an hour, in steps of about two. Only IDLE and the sessions around it last
/// longer, and their sum says by how much.
pub(super) const DURATION: &[f64] = &[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0,
];

/// Octets of a message: 1 KiB to 64 MiB in steps of 4.
pub(super) const OCTETS: &[f64] =
    &[1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// Recipients, attempts.
pub(super) const FEW: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// A count.
    Counter,
    /// A sum that is no whole number.
    Sum,
    /// A whole number that rises and falls.
    Gauge,
    /// Any number that rises and falls.
    Level,
    /// A histogram with these upper bounds.
    Histogram(&'static [f64]),
}

/// Which inputs have a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyInputs {
    /// Every one.
    All,
    /// The proxy.
    Proxy,
    /// Captures, live or from a file.
    Capture,
    /// The proxy and live captures.
    Running,
    /// Live captures.
    Live,
}

impl FamilyInputs {
    /// Whether `input` is one of them.
    pub const fn has(self, input: InputKind) -> bool {
        match (self, input) {
            (Self::All, _)
            | (Self::Proxy, InputKind::Proxy)
            | (Self::Capture, InputKind::Live | InputKind::File)
            | (Self::Running, InputKind::Proxy | InputKind::Live)
            | (Self::Live, InputKind::Live) => true,
            (Self::Proxy, _) | (Self::Capture | Self::Live, InputKind::Proxy) => false,
            (Self::Running | Self::Live, InputKind::File) => false,
        }
    }

    /// The word of the documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Proxy => "proxy",
            Self::Capture => "capture",
            Self::Running => "running",
            Self::Live => "sniff",
        }
    }
}

/// A family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Type,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// Who has it.
    pub inputs: FamilyInputs,
    /// What it means, in one sentence.
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident = $name:literal, $kind:expr, $inputs:ident, [$($label:literal)*], $help:literal;)+) => {
        /// Position of a family in [`FAMILIES`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the list says it")]
        pub(super) enum FamilyId { $($id),+ }

        impl FamilyId {
            /// Every family.
            pub(super) const ALL: &'static [Self] = &[$(Self::$id),+];
        }

        /// Every family, in the order of the documentation.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name, kind: $kind, labels: &[$($label),*], inputs: FamilyInputs::$inputs, help: $help,
        }),+];
    };
}

use Type::{Counter, Gauge, Histogram, Level, Sum};

families! {
    BuildInfo = "mailtap_build_info", Gauge, All, ["version" "revision" "input"], "Always 1; what runs.";
    Sessions = "mailtap_sessions_total", Counter, All, ["listener" "protocol"], "Mail connections accepted or seen.";
    SessionsActive = "mailtap_sessions_active", Gauge, Running, ["listener" "protocol"], "Mail connections that are open.";
    SessionsEnded = "mailtap_sessions_ended_total", Counter, All, ["listener" "protocol" "outcome" "phase"], "Mail connections that are over, by how they went and what they were doing.";
    ConnectionsOpen = "mailtap_connections_open", Gauge, Proxy, ["listener"], "Connections from accept to close, whether or not anybody has spoken.";
    ConnectionsWaiting = "mailtap_connections_waiting", Gauge, Proxy, ["listener"], "Connections that wait for a place at a full listener, or to be accepted.";
    BeforeGreeting = "mailtap_connections_before_greeting", Gauge, Proxy, ["listener"], "Open connections to which the server has said nothing yet.";
    BeforeGreetingOldest = "mailtap_connections_before_greeting_oldest_seconds", Level, Proxy, ["listener"], "How long the oldest of them has been open.";
    GreetingTimeouts = "mailtap_greeting_timeouts_total", Counter, Proxy, ["listener"], "Connections that the server took and closed by the proxy because it never said a word.";
    SessionsRejected = "mailtap_sessions_rejected_total", Counter, Proxy, ["listener" "reason"], "Connections turned away by the proxy.";
    HealthChecks = "mailtap_health_checks_total", Counter, Proxy, ["listener" "protocol"], "Connections of health checks (--health-from), which no other family counts.";
    SessionsMidstream = "mailtap_sessions_midstream_total", Counter, Capture, ["listener" "protocol"], "Connections whose start was not captured.";
    SessionDuration = "mailtap_session_duration_seconds", Histogram(DURATION), All, ["listener" "protocol" "tls"], "From the first packet or the accept to the end.";
    ConnectSeconds = "mailtap_connect_seconds", Histogram(LATENCY), All, ["listener" "protocol"], "The proxy's connect to the server; in captures SYN to SYN/ACK.";
    ConnectErrors = "mailtap_connect_errors_total", Counter, All, ["listener" "protocol" "reason"], "Connections that the server did not take.";
    GreetingSeconds = "mailtap_greeting_seconds", Histogram(LATENCY), All, ["listener" "protocol"], "From the end of the handshake to the greeting's first octet.";
    Bytes = "mailtap_bytes_total", Counter, All, ["listener" "protocol" "direction" "tls"], "Payload octets on the wire.";
    SessionsTerminated = "mailtap_sessions_terminated_total", Counter, Proxy, ["listener" "protocol" "reason" "phase"], "Connections that the proxy closed.";

    Commands = "mailtap_commands_total", Counter, All, ["listener" "protocol" "command" "status"], "Commands by the status of their final reply; BDAT counts every chunk.";
    CommandLatency = "mailtap_command_latency_seconds", Histogram(LATENCY), All, ["listener" "protocol" "command"], "From a command's last octet, or the reply before if that came later, to the last octet of its reply.";
    LatencyUnobserved = "mailtap_command_latency_unobserved_total", Counter, All, ["listener" "protocol" "reason"], "Replies whose latency says nothing about the server.";
    Pipelined = "mailtap_pipelined_commands_total", Counter, All, ["listener" "protocol"], "Commands that began before the reply before them ended.";
    SmtpReplies = "mailtap_smtp_replies_total", Counter, All, ["listener" "protocol" "command" "code"], "SMTP and LMTP replies by what they answer and their code.";
    SmtpEnhanced = "mailtap_smtp_enhanced_status_total", Counter, All, ["listener" "protocol" "enhanced"], "SMTP and LMTP replies by class and subject of their enhanced status code.";
    SmtpReplyReasons = "mailtap_smtp_reply_reasons_total", Counter, All, ["listener" "protocol" "reason"], "SMTP and LMTP replies by the operator's names for their texts.";
    ExtensionsOffered = "mailtap_smtp_extensions_offered_total", Counter, All, ["listener" "protocol" "extension"], "Sessions in which a server offered an extension in clear.";
    ExtensionsUsed = "mailtap_smtp_extensions_used_total", Counter, All, ["listener" "protocol" "extension"], "Sessions in which a client used an extension.";

    Transactions = "mailtap_transactions_total", Counter, All, ["listener" "protocol" "kind" "outcome" "tls"], "Mail moved, or tried to move, by how it ended.";
    TransactionSeconds = "mailtap_transaction_seconds", Histogram(DURATION), All, ["listener" "protocol" "kind"], "From the first command to the final reply.";
    TransferSeconds = "mailtap_transfer_seconds", Histogram(DURATION), All, ["listener" "protocol" "kind"], "From the first octet of a message to its last.";
    MessageBytes = "mailtap_message_bytes", Histogram(OCTETS), All, ["listener" "protocol" "kind"], "Octets of messages without transfer stuffing; the sum is the volume moved.";
    Recipients = "mailtap_recipients_total", Counter, All, ["listener" "protocol" "status"], "Replies to RCPT.";
    AcceptedRecipients = "mailtap_accepted_recipients", Histogram(FEW), All, ["listener" "protocol"], "Recipients accepted, per delivery that came to its data.";
    IdleActive = "mailtap_imap_idle_active", Gauge, Running, ["listener"], "IMAP sessions inside IDLE.";
    IdleSeconds = "mailtap_imap_idle_seconds", Histogram(DURATION), All, ["listener"], "How long an IDLE lasted.";
    ImapUntagged = "mailtap_imap_untagged_total", Counter, All, ["listener" "reason"], "IMAP untagged responses.";

    AuthAttempts = "mailtap_auth_attempts_total", Counter, All, ["listener" "protocol" "mechanism" "outcome" "tls"], "Authentication attempts.";
    AuthBusiestNetwork = "mailtap_auth_failures_busiest_network", Gauge, Running, ["protocol"], "Failed logins in the last five minutes from the client network (/24, /64) that has most of them.";
    AuthNetworks = "mailtap_auth_failures_networks", Gauge, Running, ["protocol"], "Client networks with failed logins in the last five minutes, 1024 a minute at most.";
    AuthSeconds = "mailtap_auth_seconds", Histogram(LATENCY), All, ["listener" "protocol" "mechanism"], "What a server took for an authentication, the client's own time left out.";
    AuthPerSession = "mailtap_auth_attempts_per_session", Histogram(FEW), All, ["listener" "protocol"], "Attempts, per session that had any.";
    StartTls = "mailtap_starttls_total", Counter, All, ["listener" "protocol" "outcome"], "What became of STARTTLS and STLS.";
    TlsHandshakes = "mailtap_tls_handshakes_total", Counter, All, ["listener" "protocol" "tls" "version" "outcome"], "TLS handshakes.";
    TlsCiphers = "mailtap_tls_ciphers_total", Counter, All, ["listener" "protocol" "cipher"], "Cipher suites of handshakes that went well.";
    TlsHandshakeSeconds = "mailtap_tls_handshake_seconds", Histogram(LATENCY), All, ["listener" "protocol"], "From the ClientHello to the first application data.";
    TlsFailures = "mailtap_tls_failures_total", Counter, Proxy, ["listener" "protocol" "side" "reason"], "TLS answered or begun by the proxy that came to nothing, by the side that it was with.";
    CertificateNotAfter = "mailtap_tls_certificate_not_after_timestamp_seconds", Level, Running, ["listener" "protocol"], "When the server certificate seen last ends to be valid.";
    CertificatesExpired = "mailtap_tls_certificates_expired", Gauge, Proxy, ["listener"], "Certificates that the proxy answers TLS with and whose time is over.";
    Anomalies = "mailtap_anomalies_total", Counter, All, ["listener" "protocol" "anomaly" "outcome"], "Things that should not happen, repetitions included.";
    LineAnomalies = "mailtap_line_anomalies_total", Counter, All, ["listener" "protocol" "direction" "reason"], "Lines that break the rules of lines.";
    Enforcements = "mailtap_enforcements_total", Counter, Proxy, ["listener" "protocol" "anomaly" "reason"], "What the proxy kept from the server.";

    AddedLatency = "mailtap_proxy_added_latency_seconds", Histogram(ADDED), Proxy, ["listener" "direction"], "From when the event loop found that octets can be read to the completed write: the proxy's own cost.";
    LoopLag = "mailtap_loop_lag_seconds", Histogram(LATENCY), Proxy, [], "How late the event loops of the forwarding threads come to a timer, ten times a second each.";
    ForwardPaused = "mailtap_forward_paused_total", Counter, Proxy, ["listener" "direction"], "How often reading stopped because the other side took nothing.";
    ForwardPausedSeconds = "mailtap_forward_paused_seconds_total", Sum, Proxy, ["listener" "direction"], "How long reading was stopped.";
    ForwardBuffered = "mailtap_forward_buffered_bytes", Gauge, Proxy, ["listener" "direction"], "Octets read and not yet written.";
    HalfClosed = "mailtap_half_closed_sessions", Gauge, Proxy, ["listener"], "Connections of which one side has closed.";
    Spliced = "mailtap_spliced_bytes_total", Counter, Proxy, ["listener" "direction"], "Octets that the kernel moved.";
    SessionsLimit = "mailtap_sessions_limit", Gauge, Proxy, ["listener"], "Connections let in at the same time; 0 is no limit.";
    Draining = "mailtap_draining", Gauge, Proxy, [], "1 while the proxy waits for open connections to end.";

    CapturePackets = "mailtap_capture_packets_total", Counter, Capture, ["listener"], "Packets taken in.";
    CaptureBytes = "mailtap_capture_bytes_total", Counter, Capture, ["listener"], "Octets captured of them.";
    CaptureDropped = "mailtap_capture_dropped_packets_total", Counter, Capture, ["listener" "reason"], "Packets lost on the way, or of no use.";
    CaptureNotUnderstood = "mailtap_capture_not_understood_packets_total", Counter, Capture, ["listener" "reason"], "Packets that were not understood: they may hold mail.";
    GapBytes = "mailtap_tcp_gap_bytes_total", Counter, Capture, ["listener" "direction"], "Octets that were never captured.";
    Retransmitted = "mailtap_tcp_retransmitted_segments_total", Counter, Capture, ["listener" "direction"], "Segments that carried octets sent before.";
    OutOfOrder = "mailtap_tcp_out_of_order_segments_total", Counter, Capture, ["listener" "direction"], "Segments that came before their turn.";
    Overlaps = "mailtap_tcp_overlaps_total", Counter, Capture, ["listener" "direction"], "Segments that carried other octets than before in the same place.";
    FlowsEvicted = "mailtap_tcp_flows_evicted_total", Counter, Capture, ["listener" "reason"], "Connections given up by the tracker.";
    TcpBuffered = "mailtap_tcp_buffered_bytes", Gauge, Live, ["listener"], "Octets that wait for others: those of a hole before them, or of the other side that they acknowledge.";

    ParserErrors = "mailtap_parser_errors_total", Counter, All, ["protocol" "direction" "reason"], "Sessions in which a parser left the grammar.";
    SessionsBypassed = "mailtap_sessions_bypassed_total", Counter, All, ["listener" "protocol" "reason"], "Connections not, or no longer, understood. Encryption is no bypass.";
    QueueDepth = "mailtap_analysis_queue_depth", Gauge, Live, [], "Batches that wait to be analyzed.";
    LogEvents = "mailtap_log_events_total", Counter, All, ["sink"], "Records written.";
    LogErrors = "mailtap_log_errors_total", Counter, All, ["sink"], "Attempts to write records that failed.";
    LogDropped = "mailtap_log_dropped_events_total", Counter, All, ["sink" "reason"], "Records lost.";
    LogLag = "mailtap_log_lag_seconds", Level, Running, ["sink"], "Age of the oldest record that is not written yet; 0 if all are.";
    LogQueueDepth = "mailtap_log_queue_depth", Gauge, Running, ["sink"], "Records that wait to be written.";
    LogSpool = "mailtap_log_spool_bytes", Gauge, Running, ["sink"], "Octets of records that wait to be written.";
    SeriesDropped = "mailtap_metrics_series_dropped_total", Counter, All, ["family"], "Label sets beyond the cap of a family; they count under other.";
    ReloadSuccessful = "mailtap_config_last_reload_successful", Gauge, Running, [], "Whether the configuration read last was taken.";
    ReloadTime = "mailtap_config_last_reload_success_timestamp_seconds", Level, Running, [], "When a configuration was taken last.";
}

/// Counters that are there at 0 from the start, for every listener and protocol: those whose first event an alert must not
/// miss, since a series that is born with it has no rate yet. All others appear when they are first used, so that a
/// listener without traffic costs a scrape next to nothing.
pub(super) const FROM_ZERO: [FamilyId; 5] = [
    FamilyId::Sessions,
    FamilyId::ConnectErrors,
    FamilyId::Recipients,
    FamilyId::SessionsBypassed,
    FamilyId::SmtpReplyReasons,
];

impl FamilyId {
    /// The family.
    pub(super) fn family(self) -> &'static Family {
        const NONE: Family = Family { name: "", kind: Gauge, labels: &[], inputs: FamilyInputs::All, help: "" };
        FAMILIES.get(self as usize).unwrap_or(&NONE)
    }
}

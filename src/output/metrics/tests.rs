//! The families as they are promised, and what events make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::event::Masked;
use crate::event::Verb;
use crate::event::{
    Anomaly, Auth, AuthOutcome, Dir, Event, Mechanism, Missing, Sink as _, Status, TlsMode, TransactionKind,
    TransactionOutcome,
};
use crate::output::testing::*;

/// What dashboards and rules rely on: name, type, labels, inputs.
const PROMISED: &str = "
mailtap_build_info gauge version,revision,input all
mailtap_sessions_total counter listener,protocol all
mailtap_sessions_active gauge listener,protocol running
mailtap_sessions_ended_total counter listener,protocol,outcome,phase all
mailtap_connections_open gauge listener proxy
mailtap_connections_waiting gauge listener proxy
mailtap_connections_before_greeting gauge listener proxy
mailtap_connections_before_greeting_oldest_seconds gauge listener proxy
mailtap_greeting_timeouts_total counter listener proxy
mailtap_sessions_rejected_total counter listener,reason proxy
mailtap_health_checks_total counter listener,protocol proxy
mailtap_sessions_midstream_total counter listener,protocol capture
mailtap_session_duration_seconds histogram listener,protocol,tls all
mailtap_connect_seconds histogram listener,protocol all
mailtap_connect_errors_total counter listener,protocol,reason all
mailtap_greeting_seconds histogram listener,protocol all
mailtap_bytes_total counter listener,protocol,direction,tls all
mailtap_sessions_terminated_total counter listener,protocol,reason,phase proxy
mailtap_commands_total counter listener,protocol,command,status all
mailtap_command_latency_seconds histogram listener,protocol,command all
mailtap_command_latency_unobserved_total counter listener,protocol,reason all
mailtap_pipelined_commands_total counter listener,protocol all
mailtap_smtp_replies_total counter listener,protocol,command,code all
mailtap_smtp_enhanced_status_total counter listener,protocol,enhanced all
mailtap_smtp_reply_reasons_total counter listener,protocol,reason all
mailtap_smtp_extensions_offered_total counter listener,protocol,extension all
mailtap_smtp_extensions_used_total counter listener,protocol,extension all
mailtap_transactions_total counter listener,protocol,kind,outcome,tls all
mailtap_transaction_seconds histogram listener,protocol,kind all
mailtap_transfer_seconds histogram listener,protocol,kind all
mailtap_message_bytes histogram listener,protocol,kind all
mailtap_recipients_total counter listener,protocol,status all
mailtap_accepted_recipients histogram listener,protocol all
mailtap_imap_idle_active gauge listener running
mailtap_imap_idle_seconds histogram listener all
mailtap_imap_untagged_total counter listener,reason all
mailtap_auth_attempts_total counter listener,protocol,mechanism,outcome,tls all
mailtap_auth_failures_busiest_network gauge protocol running
mailtap_auth_failures_networks gauge protocol running
mailtap_auth_seconds histogram listener,protocol,mechanism all
mailtap_auth_attempts_per_session histogram listener,protocol all
mailtap_starttls_total counter listener,protocol,outcome all
mailtap_tls_handshakes_total counter listener,protocol,tls,version,outcome all
mailtap_tls_ciphers_total counter listener,protocol,cipher all
mailtap_tls_handshake_seconds histogram listener,protocol all
mailtap_tls_failures_total counter listener,protocol,side,reason proxy
mailtap_tls_certificate_not_after_timestamp_seconds gauge listener,protocol running
mailtap_tls_certificates_expired gauge listener proxy
mailtap_anomalies_total counter listener,protocol,anomaly,outcome all
mailtap_line_anomalies_total counter listener,protocol,direction,reason all
mailtap_enforcements_total counter listener,protocol,anomaly,reason proxy
mailtap_proxy_added_latency_seconds histogram listener,direction proxy
mailtap_loop_lag_seconds histogram - proxy
mailtap_forward_paused_total counter listener,direction proxy
mailtap_forward_paused_seconds_total counter listener,direction proxy
mailtap_forward_buffered_bytes gauge listener,direction proxy
mailtap_half_closed_sessions gauge listener proxy
mailtap_spliced_bytes_total counter listener,direction proxy
mailtap_sessions_limit gauge listener proxy
mailtap_draining gauge - proxy
mailtap_capture_packets_total counter listener capture
mailtap_capture_bytes_total counter listener capture
mailtap_capture_dropped_packets_total counter listener,reason capture
mailtap_capture_not_understood_packets_total counter listener,reason capture
mailtap_tcp_gap_bytes_total counter listener,direction capture
mailtap_tcp_retransmitted_segments_total counter listener,direction capture
mailtap_tcp_out_of_order_segments_total counter listener,direction capture
mailtap_tcp_overlaps_total counter listener,direction capture
mailtap_tcp_flows_evicted_total counter listener,reason capture
mailtap_tcp_buffered_bytes gauge listener sniff
mailtap_parser_errors_total counter protocol,direction,reason all
mailtap_sessions_bypassed_total counter listener,protocol,reason all
mailtap_analysis_queue_depth gauge - sniff
mailtap_log_events_total counter sink all
mailtap_log_errors_total counter sink all
mailtap_log_dropped_events_total counter sink,reason all
mailtap_log_lag_seconds gauge sink running
mailtap_log_queue_depth gauge sink running
mailtap_log_spool_bytes gauge sink running
mailtap_metrics_series_dropped_total counter family all
mailtap_config_last_reload_successful gauge - running
mailtap_config_last_reload_success_timestamp_seconds gauge - running
";

impl Type {
    fn word(self) -> &'static str {
        match self {
            Self::Counter | Self::Sum => "counter",
            Self::Gauge | Self::Level => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

fn labels_of(family: &Family) -> String {
    if family.labels.is_empty() { "-".into() } else { family.labels.join(",") }
}

#[test]
fn the_families_are_those_that_are_promised() {
    let line = |f: &Family| format!("{} {} {} {}\n", f.name, f.kind.word(), labels_of(f), f.inputs.as_str());
    let made: String = FAMILIES.iter().map(line).collect();
    assert_eq!(made, PROMISED.trim_start());
}

#[test]
fn the_buckets_are_those_that_are_promised() {
    use families::{ADDED, DURATION, FEW, LATENCY, OCTETS};
    let shown = |buckets: &[f64]| buckets.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(
        shown(LATENCY),
        "0.00005 0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 300"
    );
    assert_eq!(shown(DURATION), "0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10 20 30 60 120 300 600 1200 1800 3600");
    assert_eq!(shown(OCTETS), "1024 4096 16384 65536 262144 1048576 4194304 16777216 67108864");
    assert_eq!(shown(FEW), "1 2 5 10 20 50 100");
    assert_eq!((ADDED.first(), ADDED.last()), (Some(&0.000_01), Some(&0.1)));
    let steps = ADDED.windows(2).map(|pair| pair[1] / pair[0]);
    assert!(steps.take(ADDED.len() - 2).all(|step| (step - 2.5).abs() < 1e-9));
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render()).unwrap()
}

fn made(input: InputKind) -> Metrics {
    Metrics::new(MetricsSetup::new(input, ["edge"])).unwrap()
}

/// Series with their values; of a histogram each bucket, the sum and the count.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').map(|(name, value)| (name, value.parse().unwrap())).unwrap()).collect()
}

/// The values of a family's series by their label values, zeros left out. `le` and the common labels are not shown.
fn counts(text: &str, family: &str) -> String {
    let mut shown = String::new();
    for (name, value) in series(text).into_iter().filter(|(_, value)| *value != 0.0) {
        let (base, labels) = name.split_once('{').unwrap_or((name, ""));
        if base != family {
            continue;
        }
        let labels = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
        let values: Vec<&str> =
            labels.filter(|(l, _)| !matches!(*l, "listener" | "protocol")).map(|(_, v)| v.trim_matches('"')).collect();
        write!(shown, "{} {value}; ", values.join(" ")).unwrap();
    }
    shown.trim_end_matches([' ', ';']).to_owned()
}

/// Everything that a server of `protocol` can say, once.
fn everything(recorder: &mut MetricsRecorder, protocol: Protocol) {
    let context = context(protocol);
    let mut say = |event: Event<'_>| recorder.event(&context, at(0), &event);
    let (statuses, moved) = match protocol {
        Protocol::Smtp | Protocol::Lmtp => ([Status::Code(250), Status::Code(599)], delivery()),
        Protocol::Pop3 => {
            ([Status::PopOk, Status::PopErr], transaction(TransactionKind::Retrieval, TransactionOutcome::Complete))
        }
        _ => ([Status::Ok, Status::Bye], transaction(TransactionKind::Append, TransactionOutcome::Accepted)),
    };
    say(Event::Start);
    for dir in Dir::BOTH {
        say(Event::Octets { dir, count: 100, tls: TlsMode::None });
        say(Event::Lost { dir, count: 7 });
    }
    say(Event::Greeting(Masked::by_hand(&full_summary().greeting)));
    for verb in Verb::ALL {
        for status in statuses {
            say(Event::Command(Masked::by_hand(&command(1, *verb, status, 3))));
        }
    }
    if protocol == Protocol::Imap {
        say(Event::Command(Masked::by_hand(&imap_command())));
    }
    for outcome in AuthOutcome::ALL {
        say(Event::Auth(Masked::by_hand(&auth(*outcome))));
        for mechanism in Mechanism::ALL {
            say(Event::Auth(Masked::by_hand(&Auth { mechanism: Some(*mechanism), ..auth(*outcome) })));
        }
    }
    say(Event::Transaction(Masked::by_hand(&moved)));
    for id in crate::event::anomaly::Id::ALL {
        say(Event::Anomaly(Masked::by_hand(&Anomaly { id: *id, ..anomaly() })));
    }
    say(Event::Idle);
    say(Event::IdleOver { lasted: Duration::from_secs(3) });
    say(Event::End(Masked::by_hand(&full_summary())));
}

#[test]
fn every_series_has_the_labels_of_its_family_and_their_values() {
    for input in [InputKind::Proxy, InputKind::Live, InputKind::File] {
        let metrics = made(input);
        let mut recorder = metrics.recorder();
        Protocol::ALL.iter().for_each(|protocol| everything(&mut recorder, *protocol));
        if input == InputKind::Proxy {
            let check = crate::event::Context { health_check: true, ..context(Protocol::Smtp) };
            recorder.event(&check, at(0), &Event::End(Masked::by_hand(&full_summary())));
        }
        metrics.log("log", Arc::default());
        metrics.reloaded(true, 1.5e9);
        let text = text(&metrics);
        let mut seen = BTreeSet::new();
        for name in series(&text).keys() {
            let (base, labels) = name.split_once('{').unwrap_or((name, ""));
            if base.starts_with("process_") {
                assert_ne!(input, InputKind::File, "{name}");
                continue;
            }
            let family = FAMILIES
                .iter()
                .find(|f| {
                    base == f.name
                        || (matches!(f.kind, Type::Histogram(_))
                            && base
                                .strip_prefix(f.name)
                                .is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end)))
                })
                .unwrap_or_else(|| panic!("{name} is of no family"));
            assert!(family.inputs.has(input), "{name} of {input:?}");
            seen.insert(family.name);
            let pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
            let pairs: BTreeMap<&str, &str> =
                pairs.map(|(l, v)| (l, v.trim_matches('"'))).filter(|(l, _)| *l != "le").collect();
            assert_eq!(
                pairs.keys().copied().collect::<BTreeSet<_>>(),
                family.labels.iter().copied().collect(),
                "{name}"
            );
            let id = FamilyId::ALL[FAMILIES.iter().position(|f| f.name == family.name).unwrap()];
            let protocol = pairs
                .get("protocol")
                .map_or(Protocol::Imap, |p| *Protocol::ALL.iter().find(|q| q.as_str() == *p).unwrap());
            for (label, value) in &pairs {
                let Some(domain) = labels::domain(id, label, protocol) else { continue };
                assert!(domain.contains(value), "{name}: {label}");
            }
        }
        // What needs facts that no event tells yet, or a caller that this test is not.
        let missing: Vec<_> =
            FAMILIES.iter().filter(|f| f.inputs.has(input) && !seen.contains(f.name)).map(|f| f.name).collect();
        let never = [
            "mailtap_smtp_reply_reasons_total",
            "mailtap_sessions_midstream_total",
            "mailtap_smtp_extensions_used_total",
            "mailtap_tls_ciphers_total",
            "mailtap_parser_errors_total",
            "mailtap_tls_handshake_seconds",
            "mailtap_tls_certificate_not_after_timestamp_seconds",
            "mailtap_metrics_series_dropped_total",
            "mailtap_sessions_terminated_total",
            "mailtap_enforcements_total",
        ];
        assert!(missing.iter().all(|name| never.contains(name)), "{missing:?}");
    }
}

#[test]
fn what_alerts_watch_is_there_at_zero_and_nothing_else() {
    let text = text(&made(InputKind::Live));
    let series = series(&text);
    for name in [
        "mailtap_sessions_total{listener=\"edge\",protocol=\"smtp\"}",
        "mailtap_sessions_active{listener=\"edge\",protocol=\"imap\"}",
        "mailtap_imap_idle_active{listener=\"edge\"}",
        "mailtap_recipients_total{listener=\"edge\",protocol=\"lmtp\",status=\"4xx\"}",
        "mailtap_connect_errors_total{listener=\"edge\",protocol=\"pop3\",reason=\"refused\"}",
        "mailtap_capture_dropped_packets_total{listener=\"edge\",reason=\"kernel\"}",
        "mailtap_sessions_bypassed_total{listener=\"edge\",protocol=\"imap\",reason=\"panic\"}",
    ] {
        assert_eq!(series.get(name), Some(&0.0), "{name}");
    }
    let absent = |part: &str| !series.keys().any(|name| name.contains(part));
    assert!(absent("mailtap_commands_total") && absent("mailtap_anomalies_total"));
    assert!(absent("mailtap_recipients_total{listener=\"edge\",protocol=\"imap\""));
    assert!(absent("mailtap_draining") && absent("mailtap_session_duration_seconds"));
}

#[test]
fn listeners_at_rest_cost_a_scrape_little() {
    let names: Vec<String> = (0..14).map(|n| format!("listener-{n}")).collect();
    let metrics = Metrics::new(MetricsSetup::new(InputKind::Proxy, names)).unwrap();
    let size = metrics.render().len();
    assert!(size < 150_000, "{size} bytes for 14 listeners of any protocol without traffic");
}

#[test]
fn a_listener_of_one_protocol_has_its_zeros_only() {
    let mut setup = MetricsSetup::new(InputKind::Proxy, ["mx"]);
    setup.sources[0].protocol = Some(Protocol::Smtp);
    setup.reasons = Some(ReplyReasons::parse("greylisted = 'grey'").unwrap());
    let metrics = Metrics::new(setup).unwrap();
    let text = text(&metrics);
    assert!(!text.contains("protocol=\"imap\"") && text.contains("protocol=\"smtp\""));
    for name in [
        "mailtap_smtp_reply_reasons_total{listener=\"mx\",protocol=\"smtp\",reason=\"greylisted\"}",
        "mailtap_sessions_rejected_total{listener=\"mx\",reason=\"loop\"}",
        "mailtap_forward_paused_seconds_total{direction=\"client_to_server\",listener=\"mx\"}",
        "mailtap_draining",
    ] {
        assert_eq!(series(&text).get(name), Some(&0.0), "{name}");
    }
}

#[test]
fn open_sessions_are_those_started_and_not_ended() {
    let metrics = made(InputKind::Live);
    let mut recorders = [metrics.recorder(), metrics.recorder()];
    let context = context(Protocol::Smtp);
    let active = |protocol: &str| {
        let name = format!("mailtap_sessions_active{{listener=\"edge\",protocol=\"{protocol}\"}}");
        series(&text(&metrics))[name.as_str()]
    };
    recorders[0].event(&context, at(0), &Event::Start);
    recorders[1].event(&context, at(0), &Event::Start);
    assert_eq!(active("smtp"), 2.0);
    // LHLO has turned one of them into LMTP since.
    let lmtp = crate::event::Context { protocol: Protocol::Lmtp, ..context };
    recorders[0].event(&lmtp, at(0), &Event::End(Masked::by_hand(&full_summary())));
    assert_eq!((active("smtp"), active("lmtp")), (1.0, 0.0));
    assert_eq!(counts(&text(&metrics), "mailtap_sessions_total"), "edge smtp 2".replace("edge smtp ", " "));
}

#[test]
fn what_a_latency_says_nothing_about_is_counted_with_its_reason() {
    let metrics = made(InputKind::Live);
    let mut recorder = metrics.recorder();
    let context = context(Protocol::Smtp);
    let mut say = |command: &Command| recorder.event(&context, at(0), &Event::Command(Masked::by_hand(command)));
    use crate::event::{Command, Incomplete};
    let plain = || command(1, Verb::Rcpt, Status::Code(250), 40);
    say(&plain());
    say(&Command { coalesced: true, pipelined: true, ..plain() });
    say(&Command { service_latency: None, ..plain() });
    say(&command(1, Verb::Auth, Status::Code(235), 40));
    for missing in [Missing::ServerGap, Missing::ServerUnseen] {
        let mut incomplete = Incomplete::NONE;
        incomplete.add(missing);
        say(&Command { incomplete, ..plain() });
    }
    // The connection was lost before there was a reply: nothing to observe.
    let unanswered = Command { reply: Default::default(), service_latency: None, ..plain() };
    say(&unanswered);
    let text = text(&metrics);
    assert_eq!(
        counts(&text, "mailtap_command_latency_unobserved_total"),
        "coalesced 1; excluded 1; gap 1; negative 1; one_sided 1"
    );
    assert_eq!(counts(&text, "mailtap_command_latency_seconds_count"), "RCPT 1");
    assert_eq!(counts(&text, "mailtap_pipelined_commands_total"), " 1");
    assert_eq!(counts(&text, "mailtap_commands_total"), "AUTH 2xx 1; RCPT 2xx 5; RCPT none 1");
    assert_eq!(counts(&text, "mailtap_recipients_total"), "2xx 5; none 1");
}

#[test]
fn no_family_exceeds_its_cap() {
    let cap = 24;
    let names: Vec<String> = (0..40).map(|n| format!("l{n}")).collect();
    let metrics = Metrics::new(MetricsSetup { cap, ..MetricsSetup::new(InputKind::Proxy, names) }).unwrap();
    let mut recorder = metrics.recorder();
    for source in 0..40 {
        for protocol in Protocol::ALL {
            let mut context = context(*protocol);
            context.peers.source = source;
            for verb in Verb::ALL {
                recorder.event(
                    &context,
                    at(0),
                    &Event::Command(Masked::by_hand(&command(1, *verb, Status::Code(250), 3))),
                );
            }
        }
    }
    let text = text(&metrics);
    let all = series(&text);
    let of = |start: &str| all.keys().filter(|name| name.starts_with(start)).count();
    for family in FAMILIES.iter().filter(|f| f.kind == Type::Counter) {
        assert!(of(&format!("{}{{", family.name)) <= cap, "{}", family.name);
    }
    assert!(of("mailtap_command_latency_seconds_count{") <= cap);
    let commands: f64 = all.iter().filter(|(n, _)| n.starts_with("mailtap_commands_total{")).map(|(_, v)| v).sum();
    assert_eq!(commands as usize, 40 * Protocol::ALL.len() * Verb::ALL.len(), "what overflows is counted all the same");
    assert!(text.contains("command=\"OTHER\",listener=\"other\",protocol=\"other\",status=\"other\""));
    assert!(all["mailtap_metrics_series_dropped_total{family=\"mailtap_commands_total\"}"] > 0.0);
}

#[test]
fn more_listeners_than_are_named_are_other() {
    let metrics = Metrics::new(MetricsSetup::new(InputKind::Live, (0..20).map(|n| format!("eth{n}")))).unwrap();
    let mut recorder = metrics.recorder();
    for source in [0, 15, 16, 19, 4_000_000] {
        let mut context = context(Protocol::Pop3);
        context.peers.source = source;
        recorder.event(&context, at(0), &Event::Start);
    }
    let text = text(&metrics);
    let of =
        |name: &str| series(&text)[format!("mailtap_sessions_total{{listener=\"{name}\",protocol=\"pop3\"}}").as_str()];
    assert_eq!((of("eth0"), of("eth15"), of("other")), (1.0, 1.0, 3.0));
    assert!(!text.contains("\"eth16\""));
}

#[test]
fn sums_do_not_depend_on_the_order() {
    let all: Vec<Duration> = (1..2000_u64).map(|n| Duration::from_nanos(n * n * 7919 % 3_000_000_000)).collect();
    let sum = |order: &mut dyn Iterator<Item = &Duration>| order.map(|d| series::seconds(*d)).sum::<f64>();
    assert_eq!(sum(&mut all.iter()).to_bits(), sum(&mut all.iter().rev()).to_bits());
    for bound in families::LATENCY {
        assert!(series::seconds(Duration::from_secs_f64(*bound)) <= *bound, "{bound} is in its bucket");
    }
}

#[test]
fn counters_of_logs_and_captures_follow() {
    let metrics = made(InputKind::Live);
    let counters = Arc::new(LogCounters::default());
    metrics.log("log", Arc::clone(&counters));
    counters.written.store(5, Ordering::Relaxed);
    counters.queue_full.store(2, Ordering::Relaxed);
    counters.hand_over(|| Ok::<_, ()>(())).unwrap();
    let mut counts = CaptureCounts { packets: 10, octets: 999, ..CaptureCounts::default() };
    counts.set_dropped(PacketLoss::Kernel, 3);
    counts.not_understood = [1, 2, 3, 4, 5];
    metrics.capture(0).set(&counts);
    counts.packets = 12;
    metrics.capture(0).set(&counts);
    for _ in 0..2 {
        let text = text(&metrics);
        let series = series(&text);
        assert_eq!(series["mailtap_log_events_total{sink=\"log\"}"], 5.0);
        assert_eq!(series["mailtap_log_dropped_events_total{reason=\"queue_full\",sink=\"log\"}"], 2.0);
        assert!(series["mailtap_log_lag_seconds{sink=\"log\"}"] > 0.0);
        assert_eq!(series["mailtap_capture_packets_total{listener=\"edge\"}"], 12.0);
        assert_eq!(series["mailtap_capture_dropped_packets_total{listener=\"edge\",reason=\"kernel\"}"], 3.0);
        for (value, reason) in
            [(1.0, "link_type"), (2.0, "network"), (3.0, "transport"), (4.0, "encrypted"), (5.0, "tunnel")]
        {
            let name = format!("mailtap_capture_not_understood_packets_total{{listener=\"edge\",reason=\"{reason}\"}}");
            assert_eq!(series[name.as_str()], value);
        }
    }
}

#[test]
fn the_text_is_the_same_for_the_same_events() {
    let of = |protocols: &[Protocol]| {
        let metrics = made(InputKind::File);
        let mut recorder = metrics.recorder();
        protocols.iter().for_each(|protocol| everything(&mut recorder, *protocol));
        text(&metrics)
    };
    let mut backwards = Protocol::ALL.to_vec();
    backwards.reverse();
    let once = of(Protocol::ALL);
    assert_eq!(once, of(&backwards));
    for hostile in ["hello", "ann", "example.org", "Entw"] {
        assert!(!once.contains(hostile), "{hostile} is of the wire");
    }
}

#[test]
fn a_scrape_stops_nobody_who_counts() {
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::time::Instant;
    let metrics =
        Metrics::new(MetricsSetup::new(InputKind::Proxy, ["mx", "submission", "lmtp", "pop3", "imap", "imaps"]))
            .unwrap();
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut took = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut recorder = metrics.recorder();
                while !stop.load(Ordering::Relaxed) {
                    Protocol::ALL.iter().for_each(|protocol| everything(&mut recorder, *protocol));
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..20 {
            let (begun, before) = (Instant::now(), rounds.load(Ordering::Relaxed));
            let octets = metrics.render().len();
            took.push((begun.elapsed(), octets));
            // A scrape that held a lock would not let this end.
            while rounds.load(Ordering::Relaxed) < before + 2 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    took.sort_unstable();
    let (median, octets) = took[took.len() / 2];
    println!("a scrape of {octets} octets under load: {median:?} (half of {} took less)", took.len());
    // How long one takes is a fact of the build and of what else runs; an optimized one is the program's.
    assert!(cfg!(debug_assertions) || median < Duration::from_millis(50), "{median:?}");
}

/// The table of `docs/metrics.md`.
fn documentation() -> String {
    let mut table = String::from("| Name | Type | Labels | Inputs | Meaning |\n|---|---|---|---|---|\n");
    for family in FAMILIES {
        let (name, kind, inputs, help) = (family.name, family.kind.word(), family.inputs.as_str(), family.help);
        writeln!(table, "| `{name}` | {kind} | {} | {inputs} | {help} |", labels_of(family).replace(',', ", "))
            .unwrap();
    }
    table
}

#[test]
fn the_documentation_lists_every_family() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let (begin, end) = ("<!-- families -->\n", "<!-- end of families -->\n");
    let text = std::fs::read_to_string(path).unwrap();
    let (head, rest) = text.split_once(begin).unwrap();
    let (table, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("MAILTAP_WRITE_DOCS").is_some() {
        std::fs::write(path, [head, begin, &documentation(), end, tail].concat()).unwrap();
    } else {
        assert_eq!(table, documentation(), "run this test with MAILTAP_WRITE_DOCS=1, and look at the difference");
    }
}

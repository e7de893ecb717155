//! The metrics of `mailtap analyze --metrics-file`: values of the sample captures, the same for any number of threads, in
//! agreement with the log, and to the liking of Prometheus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::captures;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

struct Run {
    metrics: String,
    log: Vec<Value>,
}

fn analyze(args: &[&str], files: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mailtap")).arg("analyze").arg("--quiet").args(args).args(files).output().unwrap()
}

fn run(args: &[&str], files: &[PathBuf]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.prom");
    let args = [args, &["--log", "-", "--metrics-file", path.to_str().unwrap()]].concat();
    let out = analyze(&args, files);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let log = out.stdout.split(|o| *o == b'\n').filter(|line| !line.is_empty());
    Run {
        metrics: std::fs::read_to_string(&path).unwrap(),
        log: log.map(|line| serde_json::from_slice(line).unwrap()).collect(),
    }
}

/// Counts by the values of some labels, in order; zeros are left out.
type Counts = BTreeMap<Vec<String>, f64>;

impl Run {
    fn counts(&self, family: &str, labels: &[&str]) -> Counts {
        let mut counts = Counts::new();
        for line in self.metrics.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Some((_, set)) = name.split_once('{').filter(|(base, _)| *base == family) else { continue };
            let set: BTreeMap<&str, &str> =
                set.trim_end_matches('}').split("\",").filter_map(|p| p.split_once("=\"")).collect();
            let key = labels.iter().map(|l| set[l].trim_end_matches('"').to_owned()).collect();
            *counts.entry(key).or_default() += value.parse::<f64>().unwrap();
        }
        counts.retain(|_, value| *value != 0.0);
        counts
    }

    /// The same of the log: `key` gives the labels' values of a record, and how often it counts.
    fn logged(&self, record: &str, key: impl Fn(&Value) -> Option<(Vec<String>, f64)>) -> Counts {
        let mut counts = Counts::new();
        for (key, times) in self.log.iter().filter(|r| r["record"] == record).filter_map(key) {
            *counts.entry(key).or_default() += times;
        }
        counts.retain(|_, value| *value != 0.0);
        counts
    }

    /// Whether the lines are there, comments aside.
    fn holds(&self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let family = line.split('{').next().unwrap();
            let there =
                || self.metrics.lines().filter(|l| l.starts_with(family) && !l.ends_with(" 0")).collect::<Vec<_>>();
            assert!(self.metrics.lines().any(|l| l == line), "{line} is not there, but {:#?}", there());
        }
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").to_owned()
}

#[test]
fn a_delivery_and_its_failures() {
    run(&[], &[sample("smtp-rejects.pcap")]).holds(
        r#"
        mailtap_sessions_total{listener="smtp-rejects.pcap",protocol="smtp"} 2
        mailtap_sessions_ended_total{listener="smtp-rejects.pcap",outcome="server_shutdown",phase="idle",protocol="smtp"} 1
        mailtap_recipients_total{listener="smtp-rejects.pcap",protocol="smtp",status="2xx"} 1
        mailtap_recipients_total{listener="smtp-rejects.pcap",protocol="smtp",status="4xx"} 1
        mailtap_recipients_total{listener="smtp-rejects.pcap",protocol="smtp",status="5xx"} 5
        mailtap_commands_total{command="OTHER",listener="smtp-rejects.pcap",protocol="smtp",status="none"} 1
        mailtap_smtp_replies_total{code="555",command="MAIL",listener="smtp-rejects.pcap",protocol="smtp"} 2
        mailtap_smtp_enhanced_status_total{enhanced="4.7",listener="smtp-rejects.pcap",protocol="smtp"} 1
        mailtap_auth_attempts_total{listener="smtp-rejects.pcap",mechanism="PLAIN",outcome="rejected_mechanism",protocol="smtp",tls="none"} 1
        mailtap_command_latency_unobserved_total{listener="smtp-rejects.pcap",protocol="smtp",reason="excluded"} 1
        mailtap_smtp_extensions_used_total{extension="VRFY",listener="smtp-rejects.pcap",protocol="smtp"} 1
        mailtap_log_events_total{sink="log"} 55
        "#,
    );
}

#[test]
fn chunks_and_pipelining() {
    run(&[], &[sample("smtp-bdat.pcap")]).holds(
        r#"
        mailtap_commands_total{command="BDAT",listener="smtp-bdat.pcap",protocol="smtp",status="2xx"} 6
        mailtap_smtp_replies_total{code="250",command="BDAT",listener="smtp-bdat.pcap",protocol="smtp"} 4
        mailtap_smtp_replies_total{code="250",command="end_of_data",listener="smtp-bdat.pcap",protocol="smtp"} 2
        mailtap_smtp_replies_total{code="554",command="end_of_data",listener="smtp-bdat.pcap",protocol="smtp"} 1
        mailtap_pipelined_commands_total{listener="smtp-bdat.pcap",protocol="smtp"} 6
        mailtap_command_latency_unobserved_total{listener="smtp-bdat.pcap",protocol="smtp",reason="coalesced"} 6
        mailtap_command_latency_seconds_count{command="end_of_data",listener="smtp-bdat.pcap",protocol="smtp"} 3
        mailtap_smtp_extensions_used_total{extension="CHUNKING",listener="smtp-bdat.pcap",protocol="smtp"} 1
        "#,
    );
}

#[test]
fn a_mailbox_and_its_idle() {
    run(&[], &[sample("imap-idle.pcap")]).holds(
        r#"
        mailtap_imap_idle_seconds_count{listener="imap-idle.pcap"} 2
        mailtap_imap_untagged_total{listener="imap-idle.pcap",reason="exists"} 3
        mailtap_imap_untagged_total{listener="imap-idle.pcap",reason="bye"} 2
        mailtap_auth_attempts_total{listener="imap-idle.pcap",mechanism="login",outcome="success",protocol="imap",tls="none"} 2
        mailtap_transactions_total{kind="append",listener="imap-idle.pcap",outcome="accepted",protocol="imap",tls="none"} 1
        mailtap_bytes_total{direction="server_to_client",listener="imap-idle.pcap",protocol="imap",tls="none"} 2810
        "#,
    );
}

#[test]
fn loss_and_disorder_count_by_direction() {
    run(&[], &[sample("smtp-lossy.pcap")]).holds(
        r#"
        mailtap_tcp_gap_bytes_total{direction="client_to_server",listener="smtp-lossy.pcap"} 2702
        mailtap_tcp_gap_bytes_total{direction="server_to_client",listener="smtp-lossy.pcap"} 0
        mailtap_tcp_out_of_order_segments_total{direction="client_to_server",listener="smtp-lossy.pcap"} 32
        mailtap_capture_packets_total{listener="smtp-lossy.pcap"} 76
        "#,
    );
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let files = captures::of_samples();
    let one = run(&["--threads", "1"], &files);
    let many = run(&["--threads", "4"], &files);
    assert_eq!(one.metrics, many.metrics);
    assert!(one.metrics.contains("listener=\"file\"") && !one.metrics.contains(".pcap"));
    assert!(!one.metrics.contains("mailtap_metrics_series_dropped_total"), "no family of ours comes near its cap");
}

#[test]
fn metrics_agree_with_the_log() {
    for file in captures::of_samples() {
        let name = file.display().to_string();
        let run = run(&[], &[file]);
        let protocol = |r: &Value| word(&r["protocol"]);
        let sessions =
            run.logged("session", |r| Some((vec![protocol(r), word(&r["outcome"]), word(&r["close"]["phase"])], 1.0)));
        assert_eq!(run.counts("mailtap_sessions_ended_total", &["protocol", "outcome", "phase"]), sessions, "{name}");
        let transactions =
            run.logged("transaction", |r| Some((vec![protocol(r), word(&r["kind"]), word(&r["outcome"])], 1.0)));
        assert_eq!(run.counts("mailtap_transactions_total", &["protocol", "kind", "outcome"]), transactions, "{name}");
        let commands = run.logged("command", |r| {
            let status = match &r["status"] {
                Value::String(word) => match word.as_str() {
                    code if code.bytes().all(|o| o.is_ascii_digit()) => format!("{}xx", &code[..1]),
                    "+OK" | "OK" => "ok".into(),
                    "-ERR" => "err".into(),
                    other => other.to_lowercase(),
                },
                _ => "none".into(),
            };
            Some((vec![protocol(r), status], 1.0))
        });
        assert_eq!(run.counts("mailtap_commands_total", &["protocol", "status"]), commands, "{name}");
        let auths = run.logged("auth", |r| Some((vec![protocol(r), word(&r["outcome"])], 1.0)));
        assert_eq!(run.counts("mailtap_auth_attempts_total", &["protocol", "outcome"]), auths, "{name}");
        for (direction, side) in [("client_to_server", "client"), ("server_to_client", "server")] {
            let of = |field: &'static str| {
                run.logged("session", |r| Some((vec![direction.into()], r[field][side].as_f64().unwrap_or(0.0))))
            };
            let seen = |family| {
                let mut counts = run.counts(family, &["direction"]);
                counts.retain(|key, _| key[0] == direction);
                counts
            };
            assert_eq!(seen("mailtap_bytes_total"), of("bytes"), "{name}");
            assert_eq!(seen("mailtap_tcp_gap_bytes_total"), of("gaps"), "{name}");
        }
        let octets: f64 = run.log.iter().filter_map(|r| r["message"]["size"].as_f64()).sum();
        let moved: f64 = run.counts("mailtap_message_bytes_sum", &[]).values().sum();
        assert_eq!(moved, octets, "{name}");
        let lines: f64 = run.counts("mailtap_log_events_total", &["sink"]).values().sum();
        assert_eq!(lines as usize, run.log.len(), "{name}");
    }
}

#[test]
fn replies_get_the_operators_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reasons.toml");
    std::fs::write(&path, "unknown_user = '(?i)user unknown'\nrelay = 'Relay'\nnobody_says_so = 'xyzzy'\n").unwrap();
    let run_with = run(&["--reply-reasons", path.to_str().unwrap()], &[sample("smtp-rejects.pcap")]);
    let counts = run_with.counts("mailtap_smtp_reply_reasons_total", &["reason"]);
    let named = |words: &str| {
        run_with.logged("command", |r| {
            let text = r["text"].as_str()?;
            text.contains(words).then(|| (vec![String::new()], 1.0))
        })
    };
    let unknown: f64 = named("User unknown").values().sum();
    assert!(unknown > 0.0);
    assert_eq!(counts.get(&vec!["unknown_user".to_owned()]), Some(&unknown));
    run_with.holds(
        r#"mailtap_smtp_reply_reasons_total{listener="smtp-rejects.pcap",protocol="smtp",reason="nobody_says_so"} 0"#,
    );
    std::fs::write(&path, "fine = 'x'\nNot-fine = 'y'\n").unwrap();
    let out = analyze(&["--reply-reasons", path.to_str().unwrap()], &[sample("smtp-plain.pcap")]);
    assert_eq!(out.status.code(), Some(2));
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(told.contains("reasons.toml: line 2: \"Not-fine\" is no name"), "{told}");
}

#[test]
fn metrics_take_the_place_of_nothing_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("mail.pcap");
    std::fs::copy(sample("smtp-plain.pcap"), &capture).unwrap();
    let before = std::fs::read(&capture).unwrap();
    let out = analyze(&["--metrics-file", capture.to_str().unwrap()], std::slice::from_ref(&capture));
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(std::fs::read(&capture).unwrap(), before);
    let out = analyze(&["--metrics-file", "/nowhere/metrics.prom"], &[capture]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("/nowhere/metrics.prom: the metrics cannot be written: "));
}

#[test]
fn prometheus_has_nothing_against_them() {
    let Ok(help) = Command::new("promtool").arg("--version").output() else {
        assert!(std::env::var_os("MAILTAP_REQUIRE_SERVERS").is_none(), "promtool is missing: samples/servers install");
        println!("skipped: there is no promtool, which samples/servers install would bring");
        return;
    };
    assert!(help.status.success());
    let run = run(&[], &captures::of_samples());
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(check.stdin.as_mut().unwrap(), run.metrics.as_bytes()).unwrap();
    let out = check.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && told.trim().is_empty(), "{told}");
}

/// A block of pcapng (little-endian).
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (12 + body.len() as u32).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

/// A packet of `interface` that was so long on the wire.
fn packet(interface: u32, data: &[u8], length: usize) -> Vec<u8> {
    let mut body: Vec<u8> =
        [interface, 0, 0, data.len() as u32, length as u32].iter().flat_map(|n| n.to_le_bytes()).collect();
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
    block(6, &body)
}

fn ether(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
}

fn ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let header = [0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    ether(0x0800, &[&header, payload].concat())
}

#[test]
fn packets_that_are_of_no_use_are_counted_by_what_is_in_the_way() {
    let vxlan_gpe = [0xc0, 0, 0x12, 0xb6, 0, 16, 0, 0, 0x0c, 0, 0, 0x63, 0, 0, 1, 0];
    let tcp = [0xc0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0];
    let [whole, broken] = [ip(6, &tcp), ether(0x0800, &[0x41; 40])];
    // In the way, by times: network, transport, encrypted, tunnel, then headers that are cut, and that cannot be.
    let packets: [(&[u8], usize); 6] = [
        (&ether(0x1234, &[0; 40]), 1),
        (&ip(99, &[0; 40]), 2),
        (&ip(50, &[0; 40]), 3),
        (&ip(17, &vxlan_gpe), 4),
        (&whole[..40], 5),
        (&broken, 6),
    ];
    let mut capture = block(0x0a0d_0d0a, b"\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    // Ethernet, and ARCNET, which is not known.
    for link in [1, 7] {
        capture.extend(block(1, &[link, 0, 0, 0, 0, 0, 4, 0]));
    }
    let mut octets = 0;
    for (data, times) in packets {
        (0..times).for_each(|_| capture.extend(packet(0, data, data.len().max(54))));
        octets += data.len() * times;
    }
    (0..7).for_each(|_| capture.extend(packet(1, &whole, whole.len())));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.pcapng");
    std::fs::write(&path, &capture).unwrap();
    let run = run(&[], &[path]);
    let counts = |family| -> Vec<(String, f64)> {
        run.counts(family, &["reason"]).into_iter().map(|(mut key, count)| (key.remove(0), count)).collect()
    };
    let of = |counts: &[(&str, f64)]| counts.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(
        counts("mailtap_capture_not_understood_packets_total"),
        of(&[("encrypted", 3.0), ("link_type", 7.0), ("network", 1.0), ("transport", 2.0), ("tunnel", 4.0)])
    );
    assert_eq!(counts("mailtap_capture_dropped_packets_total"), of(&[("decode", 6.0), ("snaplen", 5.0)]));
    run.holds(&format!(r#"mailtap_capture_bytes_total{{listener="mail.pcapng"}} {octets}"#));
    run.holds(r#"mailtap_capture_packets_total{listener="mail.pcapng"} 21"#);
}

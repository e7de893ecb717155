//! Law 3: a conversation through the proxy and a capture of it give the same records, times aside.
//!
//! The clients of `samples/record` talk to real servers, nftables leads them through the proxy, tcpdump watches the
//! client's side. Needs root and the packages of `samples/servers install`; without them the test says so and passes,
//! unless `MAILTAP_REQUIRE_SERVERS` is set.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::scripts;

/// Each leads to a test of its own, so that they run beside each other.
macro_rules! samples {
    ($($test:ident = $name:literal;)*) => {
        $(#[test] fn $test() { same($name); })*

        #[test]
        fn every_sample_that_can_be_is_compared() {
            let compared = [$($name),*];
            let output = Command::new(scripts::samples().join("record")).arg("list").output().unwrap();
            let all = String::from_utf8(output.stdout).unwrap();
            for name in all.lines().filter_map(|line| line.split('\t').next()) {
                assert!(compared.contains(&name) != ASIDE.contains(&name), "{name}");
            }
        }
    };
}

/// Samples that show something of packets, not of a conversation with the servers.
const ASIDE: [&str; 12] = [
    "smtp-lossy",
    "smtp-vlan",
    "smtp-qinq",
    "smtp-mpls",
    "smtp-pppoe",
    "smtp-gre",
    "smtp-snaplen",
    "smtp-then-lmtp",
    "pop3-raw-ip",
    "two-interfaces",
    "smtp-ip-in-ip",
    "imap-vxlan",
];

samples! {
    smtp_plain = "smtp-plain";
    smtp_pipelined = "smtp-pipelined-refused";
    smtp_bdat = "smtp-bdat";
    smtp_utf8 = "smtp-smtputf8";
    smtp_auth = "smtp-auth";
    smtp_starttls = "smtp-starttls";
    smtps = "smtps";
    smtp_dsn = "smtp-dsn";
    smtp_rejects = "smtp-rejects";
    smtp_breaks = "smtp-breaks";
    smtp_attachment = "smtp-attachment";
    smtp_ipv6 = "smtp-ipv6";
    lmtp = "lmtp";
    pop3 = "pop3";
    pop3_apop = "pop3-apop";
    pop3_tls = "pop3-tls";
    imap_session = "imap-session";
    imap_idle = "imap-idle";
    imap_compress = "imap-compress";
    imap_auth = "imap-auth";
    imap_starttls = "imap-starttls";
    imaps = "imaps";
    imap_ipv6 = "imap-ipv6";
    mbsync = "mbsync";
    fetchmail = "fetchmail";
}

/// Members that tell when, from where, or in which packets.
const ASIDE_MEMBERS: [&str; 16] = [
    "ts",
    "end",
    "duration",
    "latency",
    "service_latency",
    "coalesced",
    "timing",
    "delay",
    "session",
    "input",
    "source",
    "listener",
    "upstream",
    "packets",
    "gaps",
    "idle",
];

fn same(name: &str) {
    if !scripts::available(name) {
        return;
    }
    let folder = scripts::folder("same", name);
    let output = scripts::run(&folder, 240, &format!("\"$SAMPLES/record\" through_proxy {name} \"$OUT\""));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let capture = folder.join(format!("{name}.pcap"));
    let analyzed = folder.join(format!("{name}.analyzed"));
    let output = Command::new(env!("CARGO_BIN_EXE_mailtap"))
        .args(["analyze", "--quiet", "--log", "-", "--metrics-file"])
        .args([&analyzed, &capture])
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let captured = sessions(&String::from_utf8(output.stdout).unwrap());
    let proxied = sessions(&fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap());
    assert!(!proxied.is_empty(), "{name}: the proxy saw nothing");
    assert_eq!(proxied.len(), captured.len(), "{name}: sessions");
    for (proxied, captured) in proxied.iter().zip(&captured) {
        assert_eq!(proxied.len(), captured.len(), "{name}: records of a session\n{proxied:#?}\n{captured:#?}");
        for (proxied, captured) in proxied.iter().zip(captured) {
            assert_eq!(proxied, captured, "{name}: through the proxy, and from the capture");
        }
    }
    let counted =
        [folder.join(format!("{name}.metrics")), analyzed].map(|file| counts(&fs::read_to_string(file).unwrap()));
    assert!(counted[0].keys().any(|series| series.starts_with("mailtap_sessions_ended_total{")), "{name}: {counted:?}");
    assert_eq!(counted[0], counted[1], "{name}: counted by the proxy, and from the capture");
}

/// Families that count what hangs on where one stands: segments and reads, records written, time.
const ASIDE_FAMILIES: [&str; 6] = [
    "mailtap_build_info",
    "mailtap_command_latency_seconds",
    "mailtap_command_latency_unobserved_total",
    "mailtap_log_",
    "mailtap_metrics_",
    "mailtap_connect_seconds",
];

/// What was counted in the families that all inputs have, by series; of histograms, how much went in.
fn counts(exposition: &str) -> BTreeMap<String, f64> {
    let of_all: Vec<&str> = include_str!("../../docs/metrics.md")
        .lines()
        .filter(|row| row.contains("| all |"))
        .filter_map(|row| row.split('`').nth(1))
        .filter(|family| !ASIDE_FAMILIES.iter().any(|aside| family.starts_with(aside)))
        .collect();
    let mut counted = BTreeMap::new();
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = name.strip_suffix("_count").unwrap_or(name);
        let value: f64 = value.parse().unwrap();
        if !of_all.contains(&family) || value == 0.0 {
            continue;
        }
        let labels = labels.split(',').filter(|label| !label.starts_with("listener=")).collect::<Vec<_>>().join(",");
        *counted.entry(format!("{name}{{{labels}")).or_default() += value;
    }
    counted
}

/// The records of each session, sessions in order of the client's ports.
fn sessions(log: &str) -> Vec<Vec<Value>> {
    let mut sessions: Vec<(String, Vec<Value>)> = Vec::new();
    for line in log.lines() {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let key = format!("{}{}", record["client"], record["server"]);
        strip(&mut record);
        match sessions.iter_mut().find(|(known, _)| *known == key) {
            Some((_, records)) => records.push(record),
            None => sessions.push((key, vec![record])),
        }
    }
    sessions.sort_by(|a, b| a.0.cmp(&b.0));
    sessions.into_iter().map(|(_, records)| records).collect()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // After QUIT, perhaps inside TLS, both sides close at once, and who is late resets: where one stands decides
            // what is seen first.
            if members.get("phase").is_some_and(|phase| phase == "quit" || phase == "tls") {
                members.remove("by");
                members.remove("how");
            }
            members.retain(|name, _| !ASIDE_MEMBERS.contains(&name.as_str()));
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

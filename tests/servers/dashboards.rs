//! Dashboards and rules: what they name exists, what they ask parses, what they promise is tested, and beside real mail
//! servers and a real Prometheus every query has data.
//!
//! Needs python3, promtool and Prometheus (Debian's `prometheus`); the last test root too. Without them a test says so
//! and passes, unless `MAILTAP_REQUIRE_SERVERS` is set: then that is a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mailtap::output::metrics::{FAMILIES, Type};
use serde_json::Value;

use crate::scripts;

#[test]
fn the_json_is_what_its_source_makes() {
    let Some(output) = run("python3", &[&path("dashboards/make"), Path::new("--check")]) else { return };
    assert!(output.status.success(), "run dashboards/make: {}", text(&output));
}

#[test]
fn every_panel_has_what_a_reader_needs() {
    let mut uids = BTreeSet::new();
    for (name, board) in boards() {
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()), "{name}: its uid is taken");
        let declared: BTreeSet<_> =
            list(&board["templating"]["list"]).map(|v| v["name"].as_str().unwrap().to_owned()).collect();
        if name != "sessions" {
            for wanted in ["datasource", "instance", "listener", "protocol"] {
                assert!(declared.contains(wanted), "{name}: no variable {wanted}");
            }
        }
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&board["panels"]) {
            let title = panel["title"].as_str().unwrap();
            let at = format!("{name}: {title}");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{at}: its id is taken");
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            for x in place("x")..place("x") + place("w") {
                assert!(x < 24, "{at}: beyond the right edge");
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{at}: over another panel");
                }
            }
            if panel["type"] == "row" {
                continue;
            }
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            assert!(unit.is_string(), "{at}: no unit");
            assert!(panel["fieldConfig"]["defaults"]["thresholds"]["steps"].is_array(), "{at}: no thresholds");
            let about = panel["description"].as_str().unwrap_or_default();
            assert!(about.len() > 60, "{at}: what is it, and what to do when it looks bad? Only: {about}");
            assert!(list(&panel["targets"]).count() > 0, "{at}: asks nothing");
            for target in list(&panel["targets"]) {
                let source = target["datasource"]["uid"].as_str().unwrap();
                assert!(["${datasource}", "${logs}"].contains(&source), "{at}: bound to the source {source}");
                let is_series = panel["type"] == "timeseries";
                assert!(!is_series || target["legendFormat"] != "__auto", "{at}: no legend");
                for variable in variables(expression(target)) {
                    assert!(declared.contains(variable) || variable.starts_with("__"), "{at}: no variable {variable}");
                }
            }
        }
    }
    assert_eq!(uids.len(), 7);
}

#[test]
fn every_query_parses() {
    let mut rules = String::from("groups:\n- name: panels\n  rules:\n");
    for (number, (_, query)) in prometheus_queries().iter().enumerate() {
        write!(rules, "  - record: panel:{number}\n    expr: {}\n", serde_json::to_string(query).unwrap()).unwrap();
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panels.yml");
    fs::write(&file, rules).unwrap();
    let Some(output) = run("promtool", &[Path::new("check"), Path::new("rules"), &file]) else { return };
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn every_name_and_label_in_a_query_exists() {
    let mut asked = prometheus_queries();
    asked.extend(rule_expressions().into_iter().map(|(name, query)| (format!("rules: {name}"), query)));
    let recorded: BTreeSet<_> = rules().into_iter().filter(|rule| !rule.is_alert).map(|rule| rule.name).collect();
    for (at, query) in asked {
        let mut labels = BTreeSet::from(["instance", "job"]);
        for selector in selectors(&query) {
            let known =
                labels_of(selector.name, &recorded).unwrap_or_else(|| panic!("{at}: no family {}", selector.name));
            for label in &selector.matched {
                let is_known = known.contains(label) || matches!(*label, "instance" | "job");
                assert!(is_known, "{at}: {} has no label {label}", selector.name);
            }
            labels.extend(known);
        }
        for label in grouped(&query) {
            assert!(labels.contains(label), "{at}: groups by {label}, which nothing in it has: {query}");
        }
    }
}

#[test]
fn every_family_is_on_a_dashboard() {
    let asked: Vec<_> = prometheus_queries().into_iter().map(|(_, query)| query).collect();
    let missing: Vec<_> =
        FAMILIES.iter().map(|f| f.name).filter(|name| !asked.iter().any(|query| query.contains(name))).collect();
    assert!(missing.is_empty(), "on no dashboard: {missing:?}");
}

#[test]
fn rules_are_sound_and_their_cases_hold() {
    let folder = path("dashboards/prometheus");
    let file = |name: &str| folder.join(name);
    for arguments in [["check", "rules", "rules.yml"], ["check", "config", "prometheus.yml"]] {
        let [verb, what, name] = arguments;
        let Some(output) = run("promtool", &[Path::new(verb), Path::new(what), &file(name)]) else { return };
        assert!(output.status.success(), "{}", text(&output));
    }
    let tests = [file("tests.yml"), file("tests-long.yml")];
    let Some(output) = run("promtool", &[Path::new("test"), Path::new("rules"), &tests[0], &tests[1]]) else { return };
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn every_alert_has_a_case_that_fires_one_that_is_silent_and_a_page_of_the_runbook() {
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    let cases = read("dashboards/prometheus/tests.yml") + &read("dashboards/prometheus/tests-long.yml");
    let runbook = read("docs/runbook.md");
    let alerts: Vec<_> = rules().into_iter().filter(|rule| rule.is_alert).collect();
    assert_eq!(alerts.len(), 35);
    for Rule { name, body, .. } in alerts {
        assert!(cases.contains(&format!("alertname: {name}\n")), "{name}: no case in which it fires");
        assert!(cases.contains(&format!("alertname: {name}, exp_alerts: []")), "{name}: no case in which it is silent");
        assert!(runbook.contains(&format!("\n## {name}\n")), "{name}: not in the runbook");
        assert!(
            body.contains(&format!(
                "runbook_url: '{{{{ $externalLabels.mailtap_runbook }}}}#{}'\n",
                name.to_lowercase()
            )),
            "{name}: no link to the runbook"
        );
        for wanted in ["summary: ", "description: ", "severity: "] {
            assert!(body.contains(wanted), "{name}: no {wanted}");
        }
    }
    for heading in runbook.lines().filter_map(|line| line.strip_prefix("## ")) {
        assert!(rules().iter().any(|rule| rule.name == heading), "the runbook has {heading}, the rules have not");
    }
}

#[test]
fn the_drill_down_reads_fields_that_the_log_has() {
    let schema: Value = serde_json::from_str(mailtap::output::schema()).unwrap();
    let board = &boards()["sessions"];
    let mut read = 0;
    for panel in list(&board["panels"]) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = expression(target);
            let Some((_, taken)) = query.split_once("| json ") else { continue };
            let record = between(query, "record=\"", "\"");
            for pair in taken.split(" |").next().unwrap().split(", ") {
                let field = between(pair, "=\"", "\"");
                assert!(has_field(&schema, record, field), "{}: a {record} record has no {field}", panel["title"]);
                read += 1;
            }
        }
    }
    assert!(read > 50, "only {read} fields were found");
}

#[test]
fn grafanas_own_models_take_the_dashboards() {
    let Some(output) = run("python3", &[&path("dashboards/check")]) else { return };
    // 77: the tools are not installed, as automake has it.
    if output.status.code() == Some(77) {
        eprintln!("SKIPPED: {}", text(&output));
        return;
    }
    assert!(output.status.success(), "{}", text(&output));
}

/// Queries that have data only where something is wrong that cannot be provoked here, by panel.
const QUIET: &[&str] = &[
    // A family beyond its cap.
    "capture-health\tSeries dropped",
    "proxy-health\tSeries dropped",
    // Series that are born with their first event, of which there is none.
    "capture-health\tSessions picked up under way",
    "capture-health\tGrammar left",
    "proxy-health\tTerminated sessions",
    "tls-security\tEnforcement",
    // No client fails at TLS there, and nobody looks whether listeners are alive.
    "proxy-health\tTLS failures",
    "proxy-health\tHealth checks",
    // Kinds of anomaly that the engine does not report yet have no series.
    "tls-security\tSmuggling attempts",
    "tls-security\tSmuggling accepted",
    "tls-security\tSTARTTLS stripped or masked",
    "tls-security\tSTARTTLS injection",
    "tls-security\tPasswords in clear",
    // No engine reads the records of TLS yet.
    "tls-security\tHandshake time",
];

#[test]
fn every_query_has_data_beside_real_servers() {
    if !scripts::available("every_query_has_data_beside_real_servers") {
        return;
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboards");
    let _ = fs::remove_dir_all(&out);
    let output = Command::new(path("samples/servers"))
        .arg("with")
        .arg(path("dashboards/live"))
        .args([Path::new(env!("CARGO_BIN_EXE_mailtap")), &out, Path::new("60")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let empty = fs::read_to_string(out.join("empty.txt")).unwrap();
    let unexpected: Vec<_> = empty.lines().filter(|line| !QUIET.iter().any(|quiet| line.starts_with(quiet))).collect();
    assert!(unexpected.is_empty(), "without data:\n{}\n{}", unexpected.join("\n"), text(&output));
    for kind in ["proxy", "sniff"] {
        let scraped = fs::read(out.join(format!("{kind}.metrics"))).unwrap();
        let said = String::from_utf8(scraped).unwrap();
        assert!(!said.contains("secret-of"), "a secret in the metrics of {kind}");
    }
}

// --- dashboards ---

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn boards() -> BTreeMap<String, Value> {
    let files = fs::read_dir(path("dashboards/grafana")).unwrap().map(|entry| entry.unwrap().path());
    let read = |file: PathBuf| {
        let board = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        (file.file_stem().unwrap().to_str().unwrap().to_owned(), board)
    };
    files.map(read).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn expression(target: &Value) -> &str {
    target["expr"].as_str().unwrap()
}

/// Where it is asked, and what Prometheus gets, by panel.
fn prometheus_queries() -> Vec<(String, String)> {
    let mut asked = Vec::new();
    for (name, board) in boards() {
        for panel in list(&board["panels"]) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                if target["datasource"]["type"] == "prometheus" {
                    let query = expression(target).replace("$__rate_interval", "1m").replace("$__range", "1h");
                    asked.push((format!("{name}: {}", panel["title"]), query.replace('$', "")));
                }
            }
        }
    }
    assert!(asked.len() > 100);
    asked
}

fn variables(query: &str) -> impl Iterator<Item = &str> {
    query.split('$').skip(1).map(|rest| rest.split(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap().0
}

// --- rules ---

struct Rule {
    name: String,
    is_alert: bool,
    body: String,
}

/// The rules, by the layout of rules.yml.
fn rules() -> Vec<Rule> {
    let file = fs::read_to_string(path("dashboards/prometheus/rules.yml")).unwrap();
    let mut found: Vec<Rule> = Vec::new();
    for line in file.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let start =
            |key: &str| line.strip_prefix("      - ").and_then(|rest| rest.strip_prefix(key)).map(str::to_owned);
        if let Some(name) = start("alert: ") {
            found.push(Rule { name, is_alert: true, body: String::new() });
        } else if let Some(name) = start("record: ") {
            found.push(Rule { name, is_alert: false, body: String::new() });
        } else if let Some(rule) = found.last_mut() {
            rule.body.push_str(line);
            rule.body.push('\n');
        }
    }
    assert!(found.len() > 20);
    found
}

fn rule_expressions() -> Vec<(String, String)> {
    let expression = |rule: Rule| {
        let (_, rest) = rule.body.split_once("        expr: ").unwrap();
        let lines = rest.lines().enumerate().take_while(|(n, line)| *n == 0 || line.starts_with("          "));
        let query = lines.map(|(_, line)| line.trim()).collect::<Vec<_>>().join(" ");
        (rule.name, query.trim_start_matches(">- ").to_owned())
    };
    rules().into_iter().map(expression).collect()
}

// --- PromQL, as far as names go; that it is well formed is for promtool to say ---

struct Selector<'a> {
    name: &'a str,
    matched: Vec<&'a str>,
}

/// Names of series with the labels that choose among them.
fn selectors(query: &str) -> Vec<Selector<'_>> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(begin) = rest.find(is_name) {
        let (before, from) = rest.split_at(begin);
        let (name, after) = from.split_at(from.find(|c| !is_name(c)).unwrap_or(from.len()));
        rest = after;
        if before.ends_with('"') {
            // Inside a string: go on behind it.
            rest = after.split_once('"').map_or("", |(_, rest)| rest);
            continue;
        }
        let is_series = name.starts_with("mailtap")
            || name.contains(':')
            || name.starts_with("process_")
            || matches!(name, "up" | "ALERTS");
        if !is_series || name.chars().all(|c| c.is_ascii_digit() || c == ':') {
            continue;
        }
        let mut matched = Vec::new();
        if let Some(inside) = after.strip_prefix('{') {
            let mut left = inside;
            while let Some((label, value)) = left.split_once(['=', '!']) {
                matched.push(label.trim_matches([',', ' ', '\n']));
                let (_, value) = value.split_once('"').unwrap();
                left = value.split_once('"').unwrap().1;
                if left.starts_with('}') {
                    break;
                }
            }
            rest = left;
        }
        found.push(Selector { name, matched });
    }
    found
}

/// Labels of a series; `None` if there is no such family.
fn labels_of(name: &str, recorded: &BTreeSet<String>) -> Option<Vec<&'static str>> {
    if let Some((level, _)) = name.split_once(':') {
        let known = ["instance", "listener", "protocol", "status", "tls", "outcome", "command"];
        assert!(recorded.contains(name), "no rule records {name}");
        // A recorded series is named for what it is grouped by.
        return Some(
            known
                .into_iter()
                .filter(|label| *label == "instance" || level.split('_').any(|word| word == *label))
                .collect(),
        );
    }
    match name {
        "up" => return Some(vec![]),
        "ALERTS" => return Some(vec!["alertname", "alertstate", "severity", "component", "protocol", "listener"]),
        name if name.starts_with("process_") => {
            let standard = [
                "process_cpu_seconds_total",
                "process_open_fds",
                "process_max_fds",
                "process_resident_memory_bytes",
                "process_start_time_seconds",
            ];
            return standard.contains(&name).then(Vec::new);
        }
        _ => {}
    }
    FAMILIES.iter().find_map(|family| {
        let suffixes: &[&str] =
            if matches!(family.kind, Type::Histogram(_)) { &["_bucket", "_sum", "_count"] } else { &[""] };
        let suffix = suffixes.iter().find(|suffix| name.strip_suffix(**suffix) == Some(family.name))?;
        let mut labels = family.labels.to_vec();
        if *suffix == "_bucket" {
            labels.push("le");
        }
        Some(labels)
    })
}

/// Labels that results are grouped by.
fn grouped(query: &str) -> Vec<&str> {
    let clauses = query.split(" by (").skip(1).map(|rest| rest.split(')').next().unwrap());
    clauses.flat_map(|clause| clause.split(',').map(str::trim)).filter(|label| !label.is_empty()).collect()
}

// --- the log's schema ---

/// Whether records of this type have `field`, a path such as `recipients[0].final.code`.
fn has_field(schema: &Value, record: &str, field: &str) -> bool {
    let steps: Vec<_> = field.split('.').map(|step| step.split('[').next().unwrap()).collect();
    let mut found = Vec::new();
    definitions(schema, record, &mut found);
    found.iter().any(|start| reaches(schema, start, &steps))
}

/// Every object of the schema that says it is this record.
fn definitions<'a>(at: &'a Value, record: &str, found: &mut Vec<&'a Value>) {
    if at["properties"]["record"]["const"] == record {
        found.push(at);
    }
    let inside: Vec<&Value> = match at {
        Value::Object(map) => map.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    for value in inside {
        definitions(value, record, found);
    }
}

fn reaches<'a>(schema: &'a Value, at: &'a Value, steps: &[&str]) -> bool {
    if let Some(name) = at["$ref"].as_str() {
        let target = schema.pointer(name.trim_start_matches('#')).unwrap();
        if reaches(schema, target, steps) {
            return true;
        }
    }
    let Some((first, rest)) = steps.split_first() else { return true };
    if at["properties"].get(*first).is_some_and(|value| reaches(schema, value, rest)) {
        return true;
    }
    let more = ["items", "allOf", "anyOf", "oneOf", "then"].iter().filter_map(|key| at.get(*key));
    more.flat_map(|value| value.as_array().map_or_else(|| vec![value], |items| items.iter().collect()))
        .any(|value| reaches(schema, value, steps))
}

// --- tools ---

/// What a tool says; `None` where it is not installed and need not be.
fn run(tool: &str, arguments: &[&Path]) -> Option<Output> {
    match Command::new(tool).args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            skip(tool);
            None
        }
    }
}

fn skip(lacks: &str) {
    assert!(std::env::var_os("MAILTAP_REQUIRE_SERVERS").is_none(), "needs {lacks}");
    eprintln!("SKIPPED: needs {lacks}");
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

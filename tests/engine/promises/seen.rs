//! What the log and the metrics have of everything that is played here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use mailtap::output::metrics::{Metrics, MetricsSetup};
use mailtap::output::{InputKind, Policy, RecordWriter};
use serde_json::Value;

use crate::dialogue::play::{self, Cut, Family};
use crate::dialogue::{self, Dialogue};

use super::words;

/// Dialogues of all files, and one for each word of the lists.
fn dialogues() -> Vec<Dialogue> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let server = stem.split(['-', '_']).find(|word| ["smtp", "lmtp", "pop3", "imap"].contains(word));
        all.extend(dialogue::parse(&std::fs::read_to_string(&path).unwrap(), server.unwrap_or("other")));
    }
    assert!(all.len() > 300, "{} dialogues are too few to be all", all.len());
    all.extend(words::dialogues());
    all
}

/// The logs of the samples.
fn samples() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// Places of the schema that records have filled.
pub(super) struct Written {
    pub(super) places: BTreeSet<String>,
}

impl Written {
    pub(super) fn by_everything(schema: &Value) -> Self {
        let mut written = Self { places: BTreeSet::new() };
        for dialogue in dialogues() {
            written.log(schema, &play::session(&dialogue, Cut::Listed));
            written.log(schema, &play::capture(&dialogue, Cut::Listed, Family::V4));
        }
        for input in [InputKind::File, InputKind::Live, InputKind::Proxy] {
            let mut out = RecordWriter::new(Arc::new(Policy { input, ..Policy::default() }));
            words::sessions(&mut out);
            written.log(schema, out.bytes());
        }
        for log in samples() {
            written.log(schema, log.as_bytes());
        }
        written
    }

    fn log(&mut self, schema: &Value, log: &[u8]) {
        for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: Value = serde_json::from_slice(line).unwrap();
            let kind = record["kind"].as_str().or_else(|| record["record"].as_str()).unwrap();
            self.visit(schema, &schema["$defs"][kind], kind, &record);
        }
    }

    /// Notes what `value` fills of `rule`, which stands at `place`.
    fn visit(&mut self, schema: &Value, rule: &Value, place: &str, value: &Value) {
        if let Some(name) = rule["$ref"].as_str().and_then(|at| at.strip_prefix("#/$defs/")) {
            self.visit(schema, &schema["$defs"][name], name, value);
        }
        if rule["enum"].is_array() {
            self.places.insert(format!("{place}={}", value.as_str().unwrap_or_default()));
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if rule["propertyNames"].is_object() {
                        self.visit(schema, &rule["propertyNames"], place, &Value::from(name.clone()));
                    }
                    let Some(rule) = rule["properties"].get(name) else { continue };
                    let place = format!("{place}.{name}");
                    self.places.insert(place.clone());
                    self.visit(schema, rule, &place, member);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(schema, &rule["items"], place, item)),
            _ => {}
        }
    }
}

/// Every field and every word of a list in the schema, by the definition that it is of.
pub(super) fn promised(schema: &Value) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for (name, rule) in schema["$defs"].as_object().unwrap() {
        promised_by(rule, name, &mut places);
    }
    places
}

fn promised_by(rule: &Value, place: &str, places: &mut BTreeSet<String>) {
    for word in rule["enum"].as_array().into_iter().flatten() {
        places.insert(format!("{place}={}", word.as_str().unwrap()));
    }
    for (name, rule) in rule["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        promised_by(rule, &place, places);
        places.insert(place);
    }
    if rule["items"].is_object() {
        promised_by(&rule["items"], place, places);
    }
}

/// Families and label values that have counted something.
pub(super) struct Counted {
    pub(super) series: BTreeSet<String>,
}

impl Counted {
    pub(super) fn by_everything() -> Self {
        let mut counted = Self { series: BTreeSet::new() };
        for input in [InputKind::File, InputKind::Live, InputKind::Proxy] {
            let mut setup = MetricsSetup::new(input, ["lo"]);
            setup.reasons = Some(mailtap::output::metrics::ReplyReasons::parse("any = '.'").unwrap());
            let metrics = Metrics::new(setup).unwrap();
            let mut recorder = metrics.recorder();
            for dialogue in dialogues() {
                play::session_to(&dialogue, Cut::Listed, &mut recorder);
                play::capture_to(&dialogue, Cut::Listed, Family::V4, &mut recorder);
            }
            words::sessions(&mut recorder);
            drop(recorder);
            counted.exposition(&String::from_utf8(metrics.render()).unwrap());
        }
        counted
    }

    fn exposition(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
            if value == "0" || name.ends_with("_bucket") {
                continue;
            }
            let family = name.strip_suffix("_count").or_else(|| name.strip_suffix("_sum")).unwrap_or(name);
            self.series.insert(family.to_owned());
            for (label, value) in labels.split(',').filter_map(|pair| pair.split_once('=')) {
                self.series.insert(format!("{family}{{{label}={}}}", value.trim_matches('"')));
            }
        }
    }
}

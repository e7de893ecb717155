//! Nothing is promised that no code does: every field and word of the schema and every family and label value of the metrics
//! is set by a test.
//!
//! What the dialogues, the samples and a conversation for each word of the open lists bring is looked at here. What takes a
//! running proxy, an interface or a log is set by another test, which [`elsewhere`] names. What nothing can set yet is an
//! exception with the capability that it waits for; whoever builds that deletes the exception, and one that is set is a fault.

mod elsewhere;
mod exceptions;
mod seen;
mod words;

use std::collections::BTreeSet;

use mailtap::event::Protocol;
use mailtap::output::metrics::{FAMILIES, label_values};
use serde_json::Value;

use seen::{Counted, Written};

#[test]
fn every_field_and_word_of_the_schema_is_set_by_a_test() {
    let schema: Value = serde_json::from_str(mailtap::output::schema()).unwrap();
    let set = Written::by_everything(&schema);
    let promised = seen::promised(&schema);
    assert!(promised.len() > 400, "{} promises are too few to be all", promised.len());
    judge("schema", &promised, &set.places, &elsewhere::RECORDS, exceptions::RECORDS);
}

#[test]
fn every_family_and_label_value_of_the_metrics_is_set_by_a_test() {
    let set = Counted::by_everything();
    let mut promised = BTreeSet::new();
    for family in FAMILIES {
        promised.insert(family.name.to_owned());
        for label in family.labels.iter().filter(|label| **label != "protocol") {
            let values = Protocol::ALL.iter().filter_map(|protocol| label_values(family.name, label, *protocol));
            promised.extend(values.flatten().map(|value| format!("{}{{{label}={value}}}", family.name)));
        }
    }
    assert!(promised.len() > 500, "{} promises are too few to be all", promised.len());
    judge("metrics", &promised, &set.series, elsewhere::METRICS, exceptions::METRICS);
}

#[test]
fn the_tests_that_are_named_here_exist() {
    for test in elsewhere::RECORDS.iter().chain(elsewhere::METRICS) {
        test.check();
    }
}

/// Fails unless each of `promised` is `set`, set elsewhere, or an exception; and none of it twice.
fn judge(
    of: &str,
    promised: &BTreeSet<String>,
    set: &BTreeSet<String>,
    elsewhere: &[elsewhere::Test],
    exceptions: &[(&str, &str)],
) {
    let matches =
        |pattern: &str, name: &str| pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start));
    let excepted = |name: &str| exceptions.iter().any(|(pattern, _)| matches(pattern, name));
    let told = |name: &str| elsewhere.iter().any(|test| test.sets.contains(&name));
    let unset = promised.iter().filter(|name| !set.contains(*name) && !excepted(name) && !told(name));
    let unset = unset.map(String::as_str).collect::<Vec<_>>();
    assert!(unset.is_empty(), "{of}: no test sets these:\n{}", unset.join("\n"));
    for (pattern, capability) in exceptions {
        let mut names = promised.iter().filter(|name| matches(pattern, name)).peekable();
        assert!(names.peek().is_some(), "{of}: `{pattern}`, which waits for {capability}, is no promise");
        let already = names.filter(|name| set.contains(*name) || told(name)).collect::<Vec<_>>();
        assert!(already.is_empty(), "{of}: delete the exception that waits for {capability}: {already:?} are set");
    }
    for name in elsewhere.iter().flat_map(|test| test.sets) {
        assert!(promised.contains(*name), "{of}: `{name}` is no promise");
        assert!(!set.contains(*name), "{of}: `{name}` is set here, and need not be by another test");
    }
}

//! What records must say.
//!
//! | line | meaning |
//! | --- | --- |
//! | `= session {…}` | the one session record (there is always exactly one) |
//! | `= transaction {…}`, `= auth {…}` | the next such record; there are as many as lines |
//! | `= anomaly {…}` | likewise, in the order in which each was first seen: a dialogue without such a line has no anomaly |
//! | `= command {…}` | some command record after the one of the `= command` line before |
//! | `= commands EHLO 250, NOOP -` | all command records in order, name and status; `-` is without status |
//! | `= commands_any_order …` | the same, in whatever order |
//! | `= nothing` | no record at all |
//!
//! A pattern is JSON: members that it names must be there and match, others may be there too; `absent` as a value means that the member
//! must not be there. Arrays match element by element and have the same length.

use serde_json::Value;

const ABSENT: &str = "\u{1}absent";

/// What is wrong with `records`; empty if nothing is.
pub(crate) fn differences(expected: &[(String, String)], records: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let of = |kind: &str| records.iter().filter(|r| r["record"] == kind).collect::<Vec<_>>();
    if expected.iter().any(|(kind, _)| kind == "nothing") {
        return records.iter().map(|r| format!("unexpected: {r}")).collect();
    }
    for kind in ["session", "transaction", "auth", "anomaly"] {
        let (wanted, found) = (patterns(expected, kind), of(kind));
        let count = if kind == "session" { 1 } else { wanted.len() };
        if found.len() != count {
            wrong.push(format!("{} {kind} records, not {count}", found.len()));
            wrong.extend(found.iter().skip(count).map(|record| format!("unexpected: {record}")));
        }
        for (index, pattern) in wanted.iter().enumerate() {
            if let Some(record) = found.get(index) {
                compare(pattern, record, kind, &mut wrong);
            }
        }
    }
    let commands = of("command");
    in_order(&patterns(expected, "command"), &commands, &mut wrong);
    let said = commands.iter().map(|c| {
        let status = c["status"].as_str().unwrap_or("-");
        format!("{} {status}", c["name"].as_str().unwrap_or("?"))
    });
    let mut said = said.collect::<Vec<_>>();
    for (kind, list) in expected {
        let mut wanted = list.split(", ").filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        match kind.as_str() {
            "commands" => {}
            "commands_any_order" => {
                wanted.sort();
                said.sort();
            }
            "session" | "transaction" | "auth" | "anomaly" | "command" => continue,
            _ => panic!("no expectation: {kind}"),
        }
        if said != wanted {
            wrong.push(format!("commands: {}\n       not: {}", said.join(", "), wanted.join(", ")));
        }
    }
    wrong
}

fn patterns(expected: &[(String, String)], kind: &str) -> Vec<Value> {
    let parse = |text: &String| {
        let text = text.replace(":absent", &format!(":{}", Value::from(ABSENT)));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    };
    expected.iter().filter(|(k, _)| k == kind).map(|(_, text)| parse(text)).collect()
}

fn in_order(patterns: &[Value], records: &[&Value], wrong: &mut Vec<String>) {
    let mut rest = records.iter();
    for pattern in patterns {
        let found = rest.any(|record| {
            let mut differences = Vec::new();
            compare(pattern, record, "", &mut differences);
            differences.is_empty()
        });
        if !found {
            wrong.push(format!("no such command where it should be: {pattern}"));
            return;
        }
    }
}

fn compare(pattern: &Value, found: &Value, path: &str, wrong: &mut Vec<String>) {
    match (pattern, found) {
        (Value::Object(members), Value::Object(object)) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                match (member, object.get(name)) {
                    (member, None) if member == ABSENT => {}
                    (member, Some(value)) if member == ABSENT => wrong.push(format!("{path} is there: {value}")),
                    (member, None) => wrong.push(format!("{path} is not there, should be {member}")),
                    (member, Some(value)) => compare(member, value, &path, wrong),
                }
            }
        }
        (Value::Array(elements), Value::Array(values)) if elements.len() == values.len() => {
            for (index, (element, value)) in elements.iter().zip(values).enumerate() {
                compare(element, value, &format!("{path}[{index}]"), wrong);
            }
        }
        _ if pattern == found => {}
        _ => wrong.push(format!("{path} is {found}, should be {pattern}")),
    }
}

//! What the log promises, as JSON Schema (draft 2020-12).
//!
//! One document for all record types, kept as a file and strict: a member it does not name is an error. Every closed
//! list in it is a list of the code; a test holds the two together.

/// The schema of one line of the log.
pub fn schema() -> &'static str {
    include_str!("schema.json")
}

#[cfg(test)]
#[path = "../../tests/common/schema.rs"]
mod check;

/// Fails unless every record (lines of the log) keeps the promise.
#[cfg(test)]
pub(crate) fn assert_valid(records: &[u8]) {
    let violations = check::violations(schema(), records);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::*;
    use crate::event::{Untagged, Verb, anomaly};
    use crate::output::{InputKind, RecordKind};

    /// Every closed list of the schema, as the code has it.
    fn lists() -> Vec<(&'static str, Vec<&'static str>)> {
        fn of<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
            all.iter().map(|v| word(*v)).collect()
        }
        vec![
            ("protocol", of(Protocol::ALL, Protocol::as_str)),
            ("missing", of(Missing::ALL, Missing::as_str)),
            ("input", of(InputKind::ALL, InputKind::as_str)),
            ("other", of(Other::ALL, Other::as_str)),
            ("tls_mode", of(TlsMode::ALL, TlsMode::as_str)),
            ("handshake", of(Handshake::ALL, Handshake::as_str)),
            ("tls_failure", of(TlsFailure::ALL, TlsFailure::as_str)),
            ("how", of(How::ALL, How::as_str)),
            ("tunnel_kind", of(TunnelKind::ALL, TunnelKind::as_str)),
            ("phase", of(Phase::ALL, Phase::as_str)),
            ("session_outcome", of(SessionOutcome::ALL, SessionOutcome::as_str)),
            ("outcome", of(TransactionOutcome::ALL, TransactionOutcome::as_str)),
            ("stage", of(Stage::ALL, Stage::as_str)),
            ("data_mode", of(DataMode::ALL, DataMode::as_str)),
            ("auth_method", of(AuthMethod::ALL, AuthMethod::as_str)),
            ("auth_outcome", of(AuthOutcome::ALL, AuthOutcome::as_str)),
            ("mechanism", of(Mechanism::ALL, Mechanism::as_str)),
            ("command_name", of(Verb::ALL, Verb::as_str)),
            ("untagged", of(Untagged::ALL, Untagged::as_str)),
            ("severity", of(Severity::ALL, Severity::as_str)),
            ("anomaly_state", of(AnomalyState::ALL, AnomalyState::as_str)),
            ("anomaly_id", of(anomaly::Id::ALL, anomaly::Id::as_str)),
            ("closer", vec![Dir::ToServer.sender(), Dir::ToClient.sender(), "none"]),
            ("sender", vec![Dir::ToServer.sender(), Dir::ToClient.sender()]),
            ("retrieval_command", of(&[Verb::Retr, Verb::Top, Verb::Fetch, Verb::UidFetch], Verb::as_str)),
            ("append_command", of(&[Verb::Append, Verb::Replace, Verb::UidReplace, Verb::Xtnd], Verb::as_str)),
            ("upstream_error", of(Refusal::ALL, Refusal::as_str)),
            ("first_line", vec!["crlf", "lf"]),
            ("reversed", vec!["reversed"]),
        ]
    }

    /// The schema with every closed list as the code has it.
    fn with_the_lists_of_the_code() -> Value {
        let mut document: Value = serde_json::from_str(schema()).unwrap();
        for (name, words) in lists() {
            document["$defs"][name]["enum"] = words.into();
        }
        document
    }

    /// Calls `visit` with every object in the document and its name, if it has one.
    fn walk(name: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
        match value {
            Value::Object(members) => {
                visit(name, value);
                members.iter().for_each(|(name, member)| walk(name, member, visit));
            }
            Value::Array(items) => items.iter().for_each(|item| walk("", item, visit)),
            _ => {}
        }
    }

    #[test]
    fn every_closed_list_is_that_of_the_code() {
        let document: Value = serde_json::from_str(schema()).unwrap();
        let lists = lists();
        for (name, words) in &lists {
            assert_eq!(
                document["$defs"][name]["enum"],
                Value::from(words.clone()),
                "{name}: run the test `write_the_lists` (ignored)"
            );
        }
        walk("", &document, &mut |name, value| {
            assert!(
                value.get("enum").is_none_or(|e| !e.is_array()) || lists.iter().any(|(n, _)| *n == name),
                "a list of its own: {name}"
            );
        });
    }

    /// Brings the file up to date with the code: `cargo test --lib write_the_lists -- --ignored`.
    #[test]
    #[ignore = "writes src/output/schema.json"]
    fn write_the_lists() {
        let text = serde_json::to_string_pretty(&with_the_lists_of_the_code()).unwrap() + "\n";
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/output/schema.json"), &text).unwrap();
        assert!(text.len() > 1000);
    }

    #[test]
    fn objects_are_closed_and_members_described() {
        let document: Value = serde_json::from_str(schema()).unwrap();
        // Their members depend on facts that are not written yet.
        let open = ["detail", "authentication", "report"];
        walk("", &document, &mut |name, value| {
            if value.get("type") == Some(&"object".into()) && !open.contains(&name) {
                assert!(value.get("additionalProperties").is_some(), "{name} is open");
            }
            for (name, member) in value.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let defined = |r: &Value| {
                    document.pointer(r.as_str().unwrap().trim_start_matches('#')).unwrap().get("description").is_some()
                };
                assert!(member.get("description").is_some() || defined(&member["$ref"]), "{name} is not described");
            }
        });
        for record in RecordKind::ALL {
            assert!(schema().contains(&format!("\"const\": \"{}\"", record.as_str())), "{record:?}");
        }
    }

    #[test]
    fn what_is_no_record_is_told() {
        let broken = check::violations(schema(), b"{}\n{\"record\":\"session\",\"password\":\"x\"}\n");
        assert_eq!(broken.len(), 2);
    }
}

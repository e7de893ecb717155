//! Checks lines of the log against the published schema.

/// Where `records` (lines of the log) break `schema` (a JSON Schema); empty if nowhere. Panics on what is no NDJSON.
pub(crate) fn violations(schema: &str, records: &[u8]) -> Vec<String> {
    let schema = serde_json::from_str(schema).expect("the schema is JSON");
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is a schema");
    assert!(records.is_empty() || records.ends_with(b"\n"), "the last line has no end");
    let lines = records.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| {
            let record = serde_json::from_slice(line).expect("a record is JSON");
            let broken = validator.iter_errors(&record).map(|e| format!("{e:?}")).collect::<Vec<_>>();
            (!broken.is_empty()).then(|| format!("{}\n  {}", String::from_utf8_lossy(line), broken.join("\n  ")))
        })
        .collect()
}

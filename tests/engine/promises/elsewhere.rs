//! What takes a running program is set by a test that runs it.

use std::path::Path;

/// A test that sets something that cannot be set here.
pub(super) struct Test {
    /// Below the project.
    file: &'static str,
    name: &'static str,
    pub(super) sets: &'static [&'static str],
}

impl Test {
    /// Fails unless there is that test, and it names what it sets.
    pub(super) fn check(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", self.file));
        let start = text.find(&format!("fn {}(", self.name));
        let start = start.unwrap_or_else(|| panic!("{} has no test {}", self.file, self.name));
        let body = &text[start..];
        let body = body.split_once("\n#[test]").map_or(body, |(body, _)| body);
        for promise in self.sets {
            let (family, value) = promise.trim_end_matches('}').split_once('{').unwrap_or((promise, ""));
            let word = value.rsplit('=').next().filter(|word| !word.is_empty());
            let word = word.or(family.rsplit(['.', '=']).next()).unwrap();
            assert!(body.contains(word), "{} of {} does not name {word}, of {promise}", self.name, self.file);
        }
    }
}

pub(super) const RECORDS: [Test; 0] = [];
pub(super) const METRICS: [Test; 0] = [];

//! Each sample says what it said when it was looked at last: `samples/NAME.jsonl`, written by `samples/record expect`.

use std::path::Path;
use std::process::Command;

use crate::{captures, schema};

#[test]
fn every_sample_gives_the_log_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut differ = Vec::new();
    for capture in captures::of_samples() {
        let name = capture.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let stem = name.split('.').next().expect("a name");
        let expected = std::fs::read(folder.join(format!("{stem}.jsonl"))).expect("an expected log");
        let run = Command::new(env!("CARGO_BIN_EXE_mailtap"))
            .current_dir(&folder)
            .args(["analyze", "--quiet", "--log", "-", name])
            .output()
            .expect("mailtap runs");
        if run.stdout != expected {
            differ.push(name.to_owned());
        }
        let wrong = schema::violations(mailtap::output::schema(), &run.stdout);
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
    assert!(differ.is_empty(), "look at these, then run `samples/record expect`: {differ:?}");
}

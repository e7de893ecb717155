//! Captures from elsewhere: read to the end, every record as the schema has it, the same log for any number of threads.
//!
//! Runs over all captures below the folder that `MAILTAP_CORPUS` names; says so if there is none.

use std::path::Path;
use std::process::Output;

use crate::{captures, schema};

fn analyze(capture: &Path, threads: &str) -> Output {
    assert_cmd::Command::cargo_bin("mailtap")
        .expect("the program")
        .args(["analyze", "--quiet", "--log", "-", "--threads", threads])
        .arg(capture)
        .output()
        .expect("it runs")
}

/// What is wrong with the log of `capture`.
fn faults(capture: &Path) -> Vec<String> {
    let (one, three) = (analyze(capture, "1"), analyze(capture, "3"));
    let mut wrong = Vec::new();
    if one.status.code() != Some(0) {
        wrong.push(format!("{}: {}", one.status, String::from_utf8_lossy(&one.stderr)));
    }
    if one.stdout != three.stdout {
        wrong.push("another log with three threads".to_owned());
    }
    wrong.extend(schema::violations(mailtap::output::schema(), &one.stdout));
    wrong
}

#[test]
fn captures_from_elsewhere_are_read_to_the_end() {
    let Some(folder) = std::env::var_os("MAILTAP_CORPUS") else {
        eprintln!("skipped: MAILTAP_CORPUS names no folder of captures");
        return;
    };
    let captures = captures::below(Path::new(&folder));
    assert!(!captures.is_empty(), "no captures in {}", Path::new(&folder).display());
    let wrong = captures
        .iter()
        .flat_map(|capture| faults(capture).into_iter().map(move |fault| format!("{}: {fault}", capture.display())));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

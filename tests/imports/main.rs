//! The architecture as a test: which part of `src` may name which, and what the parts without I/O may never name.
//!
//! It reads the sources as text: see [`text`].

#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test may be blunt; clippy knows only those inside #[test]"
)]

mod cycles;
mod sources;
mod text;

use std::fs;

use sources::{root, sources};
use text::tokens;

/// Who may name whom. `lib` is the map and declares all; a module may always name itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("main", &["cli", "commands", "console", "error"]),
    (
        "commands",
        &[
            "capture", "cli", "config", "console", "engine", "error", "event", "output", "pipeline", "process",
            "proxy", "time", "wire",
        ],
    ),
    // Only the commands know where settings come from.
    (
        "config",
        &["capture", "cli", "console", "engine", "error", "event", "output", "pipeline", "process", "proxy", "secret"],
    ),
    ("cli", &["event", "output", "proxy", "secret"]),
    ("process", &["console", "error"]),
    ("error", &["capture", "console", "output", "proxy"]),
    ("pipeline", &["capture", "engine", "event", "output", "time", "wire"]),
    ("proxy", &["console", "engine", "event", "output", "time", "wire"]),
    ("capture", &["console", "event", "time", "wire"]),
    ("output", &["console", "event", "message", "secret", "time"]),
    ("engine", &["event", "message", "time", "tls"]),
    ("event", &["message", "time"]),
    ("tls", &["event", "time"]),
    ("wire", &["event", "time"]),
    ("message", &["time"]),
    ("console", &[]),
    ("secret", &[]),
    ("time", &[]),
];

/// Modules that know no environment: no I/O, no clock, no thread, no logging.
const SANS_IO: &[&str] = &["engine", "event", "message", "time", "tls", "wire"];

/// What they never name: the beginning of a path.
const FORBIDDEN: &[&str] = &[
    "clap",
    "crossbeam_channel",
    "indicatif",
    "pcap",
    "prometheus",
    "serde",
    "serde_json",
    "std::env",
    "std::fs",
    "std::io",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tracing",
    "Instant::now",
    "SystemTime::now",
    "thread::spawn",
];

/// The same for words that are no paths.
const FORBIDDEN_WORDS: &[&str] = &["async", "await", "dbg", "eprint", "eprintln", "print", "println"];

/// Lines of code in a file, comments, blank lines and tests not counted.
const LONGEST: usize = 600;

#[test]
fn every_module_names_only_those_below_it() {
    let mut faults = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = MAY_NAME.iter().find(|(module, _)| *module == source.module) else {
            assert_eq!(source.module, "lib", "{}: a module this test does not know", source.path.display());
            continue;
        };
        for path in &source.paths {
            let Some(module) = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next()) else {
                continue;
            };
            let is_module = MAY_NAME.iter().any(|(name, _)| *name == module);
            if is_module && module != source.module && !allowed.contains(&module) {
                faults.push(format!("{} names {path}", source.path.display()));
            }
            if source.module == "output" && path.starts_with("crate::engine::Session") {
                faults.push(format!("{} runs a session: {path}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_core_knows_no_environment() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| SANS_IO.contains(&source.module.as_str())) {
        for path in &source.paths {
            let banned = FORBIDDEN.iter().any(|start| is_below(path, start));
            if banned || is_below(path, "etherparse") && source.module != "wire" {
                faults.push(format!("{} names {path}", source.path.display()));
            }
        }
        let tokens = tokens(&source.code);
        for word in FORBIDDEN_WORDS {
            if tokens.iter().any(|token| token == word) {
                faults.push(format!("{} says {word}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn unsafe_code_is_forbidden() {
    // The manifest denies it, so that a test's counting allocator may allow it; the program's roots forbid it.
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.lines().any(|line| line.replace(' ', "") == r#"unsafe_code="deny""#));
    for name in ["src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(root().join(name)).unwrap();
        assert!(text.lines().any(|line| line == "#![forbid(unsafe_code)]"), "{name}");
    }
    for source in sources() {
        let found = tokens(&source.code).iter().any(|token| token == "unsafe");
        assert!(!found, "{} is unsafe", source.path.display());
    }
}

#[test]
fn no_file_is_too_long() {
    let sources = sources();
    let long = sources.iter().filter(|source| source.lines() > LONGEST);
    let long = long.map(|source| format!("{}: {}", source.path.display(), source.lines())).collect::<Vec<_>>();
    assert!(long.is_empty(), "more than {LONGEST} lines of code; make a folder of it: {long:?}");
    let told = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    assert!(told.contains(&format!("{LONGEST} lines of code")), "CONTRIBUTING.md tells another limit than {LONGEST}");
}

fn is_below(path: &str, start: &str) -> bool {
    path.strip_prefix(start).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with("::") || start.ends_with("Tcp") || start.ends_with("Udp")
    })
}

//! The architecture as a test: which part of `src` may name which, and what the parts without I/O may never name.
//!
//! It reads the sources as text. Comments, string contents and what only tests compile are blanked first; then every
//! path behind `crate::`, `mailtap::`, `super::` and `std::` is spelled out, use-groups included, and judged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may name whom. `lib` is the map and declares all; a room may always name itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("main", &["cli", "commands", "config", "console", "error"]),
    (
        "commands",
        &[
            "capture", "config", "console", "engine", "error", "event", "output", "pipeline", "process", "proxy",
            "time", "wire",
        ],
    ),
    ("config", &["cli", "console", "engine", "error", "event", "output", "pipeline", "proxy", "secret", "wire"]),
    ("cli", &["config", "engine", "error", "event", "output", "secret"]),
    ("process", &["config", "console", "error"]),
    ("error", &["capture", "console", "output", "proxy"]),
    ("pipeline", &["capture", "engine", "event", "output", "time", "wire"]),
    ("proxy", &["config", "console", "engine", "event", "output", "time", "wire"]),
    ("capture", &["config", "console", "error", "event", "time", "wire"]),
    ("output", &["config", "console", "error", "event", "message", "secret", "time"]),
    ("engine", &["event", "message", "time", "tls"]),
    ("event", &["message", "time"]),
    ("tls", &["event", "time"]),
    ("wire", &["event", "time"]),
    ("message", &["time"]),
    ("console", &[]),
    ("secret", &[]),
    ("time", &[]),
];

/// Rooms that know no environment: no I/O, no clock, no thread, no logging.
const SANS_IO: &[&str] = &["engine", "event", "message", "time", "tls", "wire"];

/// What they never name: the beginning of a path.
const FORBIDDEN: &[&str] = &[
    "clap",
    "crossbeam_channel",
    "indicatif",
    "pcap",
    "pcap_parser",
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
const LONGEST: usize = 800;

#[test]
fn every_room_names_only_those_below_it() {
    let mut faults = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = MAY_NAME.iter().find(|(room, _)| *room == source.room) else {
            assert_eq!(source.room, "lib", "{}: a room this test does not know", source.path.display());
            continue;
        };
        for path in &source.paths {
            let Some(room) = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next()) else {
                continue;
            };
            let is_room = MAY_NAME.iter().any(|(name, _)| *name == room);
            if is_room && room != source.room && !allowed.contains(&room) {
                faults.push(format!("{} names {path}", source.path.display()));
            }
            if source.room == "output" && path.starts_with("crate::engine::Session") {
                faults.push(format!("{} runs a session: {path}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_core_knows_no_environment() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| SANS_IO.contains(&source.room.as_str())) {
        for path in &source.paths {
            let banned = FORBIDDEN.iter().any(|start| is_below(path, start));
            if banned || is_below(path, "etherparse") && source.room != "wire" {
                faults.push(format!("{} names {path}", source.path.display()));
            }
        }
        for word in FORBIDDEN_WORDS {
            if tokens(&source.code).iter().any(|token| token == word) {
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
fn no_file_outgrows_its_room() {
    for source in sources() {
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= LONGEST, "{}: {lines} lines of code; make it a folder", source.path.display());
    }
}

#[test]
fn paths_are_spelled_out() {
    let code =
        blank("use crate::{a::{B, c::*}, d}; // crate::no\nlet x = \"crate::no\"; std::fs::read(super::super::e());");
    let found = paths(&code, &["wire", "packet"].map(str::to_owned));
    let expected = ["crate::a::B", "crate::a::c::*", "crate::d", "std::fs::read", "crate::e"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn tests_are_blanked() {
    let code = blank("fn a() { '\"'; }\n#[cfg(test)]\nmod tests {\n    fn b() { println!(\"}\") }\n}\nfn c<'a>() {}\n");
    assert!(!code.contains("println") && code.contains("fn c<'a>()"), "{code}");
}

struct Source {
    path: PathBuf,
    room: String,
    code: String,
    paths: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let texts: Vec<(PathBuf, String)> =
        files.into_iter().map(|file| (file.clone(), fs::read_to_string(&file).unwrap())).collect();
    let for_tests: BTreeSet<PathBuf> = texts.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    assert!(texts.len() > 5, "the sources are somewhere else");
    let is_test = |file: &Path| file.ancestors().any(|above| for_tests.contains(&above.with_extension("")));
    texts
        .into_iter()
        .filter(|(file, _)| !is_test(file))
        .map(|(file, text)| {
            let path = file.strip_prefix(&src).unwrap().to_owned();
            let module = module(&path);
            let code = blank(&text);
            let paths = paths(&code, &module);
            let room = path.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
            Source { path, room, code, paths }
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

/// The module path of a file below `src`.
fn module(path: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// Files, without extension, that `#[cfg(test)] mod NAME;` brings in.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let stem = file.with_extension("");
    let is_root = ["mod", "lib", "main"].iter().any(|name| stem.ends_with(name));
    let folder = if is_root { stem.parent().unwrap().to_owned() } else { stem };
    let words = tokens(text).join(" ");
    words
        .split("# [ cfg ( test ) ] mod ")
        .skip(1)
        .filter_map(|rest| rest.split_once(' '))
        .filter(|(_, rest)| rest.starts_with(';'))
        .map(|(name, _)| folder.join(name))
        .collect()
}

fn is_below(path: &str, start: &str) -> bool {
    path.strip_prefix(start).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with("::") || start.ends_with("Tcp") || start.ends_with("Udp")
    })
}

/// Every path of two names or more, from `crate` where it leads to this crate.
fn paths(code: &str, module: &[String]) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_name = tokens[at].starts_with(|first: char| first.is_alphabetic() || first == '_');
        let starts_path = is_name && tokens.get(at + 1).is_some_and(|next| next == "::");
        if !starts_path {
            at += 1;
            continue;
        }
        let before = found.len();
        at = tree(&tokens, at, String::new(), &mut found);
        for path in &mut found[before..] {
            *path = from_root(path, module);
        }
    }
    found
}

/// Reads the path, or use-tree, at `at`; gives the place behind it.
fn tree(tokens: &[String], mut at: usize, mut prefix: String, found: &mut Vec<String>) -> usize {
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = if tokens[at] == "," { at + 1 } else { tree(tokens, at, prefix.clone(), found) };
                }
                return at + 1;
            }
            Some("as") if prefix.ends_with("::") => return at + 2,
            Some(name) if name == "*" || name.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                prefix.push_str(name);
                at += 1;
            }
            // `<` of a turbofish, and whatever else ends a path.
            _ => {
                found.push(prefix.trim_end_matches("::").to_owned());
                return at + 1;
            }
        }
        if tokens.get(at).is_some_and(|token| token == "::") {
            prefix.push_str("::");
            at += 1;
        } else {
            found.push(prefix);
            let renamed = tokens.get(at).is_some_and(|token| token == "as");
            return if renamed { at + 2 } else { at };
        }
    }
}

fn from_root(path: &str, module: &[String]) -> String {
    if let Some(rest) = path.strip_prefix("mailtap::") {
        return format!("crate::{rest}");
    }
    let mut depth = module.len();
    let mut rest = path;
    if let Some(inner) = rest.strip_prefix("self::") {
        rest = inner;
    } else if !rest.starts_with("super::") {
        return path.to_owned();
    }
    while let Some(outer) = rest.strip_prefix("super::") {
        depth = depth.saturating_sub(1);
        rest = outer;
    }
    let above: Vec<&str> = module[..depth].iter().map(String::as_str).collect();
    ["crate"].into_iter().chain(above).chain([rest]).collect::<Vec<_>>().join("::")
}

/// Names, numbers, `::`, and every other character by itself.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, behind) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(token.to_owned());
        }
        rest = behind;
    }
    tokens
}

/// The code without comments, without what strings contain, and without what `#[cfg(test)]` stands before.
fn blank(text: &str) -> String {
    let code = without_comments(text);
    let mut kept = String::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at(start);
        kept.push_str(before);
        rest = item.split_at(end_of_item(item)).1;
    }
    kept.push_str(rest);
    kept
}

fn end_of_item(item: &str) -> usize {
    let mut depth = 0;
    for (at, character) in item.char_indices() {
        match character {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}

fn without_comments(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, stand_in) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), "")
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), " ")
        } else if let Some(length) = raw_string(rest, &kept) {
            (length, "\"\"")
        } else if first == '"' {
            (quoted(rest), "\"\"")
        } else if let Some(length) = character(rest) {
            (length, "' '")
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        kept.push_str(stand_in);
        rest = &rest[length..];
    }
    kept
}

fn raw_string(rest: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' && c != 'c' || c == '_') {
        return None;
    }
    let behind = rest.strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let body = behind[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len()))
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// A character literal, as opposed to a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map(|end| end + 4);
    }
    let first = inner.chars().next()?;
    inner[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8() + 2)
}

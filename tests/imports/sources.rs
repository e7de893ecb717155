//! The source files, as the tests judge them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::text::{blank, paths, tokens};

/// A file below `src`, without what only tests compile.
pub(crate) struct Source {
    /// Below `src`.
    pub(crate) path: PathBuf,
    /// The first part of the path.
    pub(crate) module: String,
    /// Without comments, what strings contain, and tests.
    pub(crate) code: String,
    /// Every path in it.
    pub(crate) paths: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: PathBuf, text: &str) -> Self {
        let code = blank(text);
        let paths = paths(&code, &module(&path));
        let module = path.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        Self { path, module, code, paths }
    }

    /// Its module, from the root of the crate.
    pub(crate) fn module(&self) -> Vec<String> {
        module(&self.path)
    }

    /// Lines of code: neither blank nor of a test.
    pub(crate) fn lines(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All of them, those of tests left out.
pub(crate) fn sources() -> Vec<Source> {
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
        .map(|(file, text)| Source::new(file.strip_prefix(&src).unwrap().to_owned(), &text))
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

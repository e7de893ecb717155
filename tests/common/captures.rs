//! The sample captures of the project.

use std::path::{Path, PathBuf};

/// All of them, in order of their names.
pub(crate) fn of_samples() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let found = below(&dir);
    assert!(!found.is_empty(), "no captures in {}", dir.display());
    found
}

/// All captures below `dir`, in order of their names.
pub(crate) fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            found.extend(below(&path));
        } else if name.to_str().is_some_and(is_capture) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn is_capture(name: &str) -> bool {
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    [".pcap", ".pcapng", ".cap"].iter().any(|end| name.ends_with(end))
}

//! Finds out which revision is built, for `mailtap_build_info`: `MAILTAP_REVISION` if a packager gives it, else the commit that is
//! checked out, else `unknown`. The same sources give the same program, and nothing is built again unless one of them changes.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=MAILTAP_REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var("MAILTAP_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(commit).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=MAILTAP_REVISION={revision}");
}

/// The commit of this checkout.
fn commit() -> Option<String> {
    // The sources of a package may lie inside somebody else's repository.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = here();
    if Path::new(&top).canonicalize().ok()? != here.canonicalize().ok()? {
        return None;
    }
    // What changes when another commit is checked out; a file that is not there would be taken for changed each time.
    let head = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for file in ["HEAD", "packed-refs"].into_iter().chain(head.as_deref()) {
        let path = git(&["rev-parse", "--git-path", file])?;
        if here.join(&path).is_file() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// Where the sources are.
fn here() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), PathBuf::from)
}

/// What git says; `None` without git, or where it has nothing to say.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(here()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

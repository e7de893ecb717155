//! Which revision a build says it is of: what `build.rs` finds out, compiled and run by itself.

use std::path::Path;
use std::process::Command;

fn run(program: &Path, folder: &Path, given: Option<&str>) -> String {
    let mut command = Command::new(program);
    command.env("CARGO_MANIFEST_DIR", folder).env_remove("MAILTAP_REVISION").env_remove("GIT_DIR");
    if let Some(given) = given {
        command.env("MAILTAP_REVISION", given);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn revision(said: &str) -> &str {
    said.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=MAILTAP_REVISION=")).unwrap()
}

/// Runs git in `folder`; what it says, or `None` without git.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"];
    let output = Command::new("git").args(who).args(arguments).current_dir(folder).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn the_revision_is_the_packagers_or_the_commit_or_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let (sources, program) = (folder.path().join("mailtap"), folder.path().join("build"));
    std::fs::create_dir(&sources).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&program).arg(script).status().unwrap();
    assert!(compiled.success());
    assert_eq!(revision(&run(&program, &sources, None)), "unknown", "no repository");
    assert_eq!(revision(&run(&program, &sources, Some("1.2-3"))), "1.2-3");
    // Sources inside the repository of a package.
    if git(folder.path(), &["init", "--quiet"]).is_none() {
        println!("skipped: there is no git");
        return;
    }
    git(folder.path(), &["commit", "--quiet", "--allow-empty", "-m", "a package"]);
    assert_eq!(revision(&run(&program, &sources, None)), "unknown", "somebody else's repository");
    git(&sources, &["init", "--quiet"]);
    git(&sources, &["commit", "--quiet", "--allow-empty", "-m", "first"]);
    let first = run(&program, &sources, None);
    assert_eq!(Some(revision(&first).to_owned()), git(&sources, &["rev-parse", "--short=12", "HEAD"]));
    assert_eq!(run(&program, &sources, None), first, "the same sources, the same build");
    assert_eq!(revision(&run(&program, &sources, Some("1.2-3"))), "1.2-3");
    // What is watched is there: cargo takes a file that is missing for one that changed.
    let watched = first.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed="));
    let watched: Vec<_> = watched.filter(|file| *file != "build.rs").collect();
    assert!(watched.len() >= 2 && watched.iter().all(|file| sources.join(file).is_file()), "{watched:?}");
    git(&sources, &["commit", "--quiet", "--allow-empty", "-m", "second"]);
    assert_ne!(revision(&run(&program, &sources, None)), revision(&first));
}

//! The real servers of `samples/servers`, and scripts beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the servers' script.
pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")
}

/// Whether they can be had for the test `name`. If not, that is said, and fails the test where they are required.
pub(crate) fn available(name: &str) -> bool {
    let Err(reason) = can_run() else { return true };
    assert!(std::env::var_os("MAILTAP_REQUIRE_SERVERS").is_none(), "{reason}");
    eprintln!("SKIPPED {name}: {reason}");
    false
}

/// An empty folder for what the test `name` of `group` leaves.
pub(crate) fn folder(group: &str, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(group).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a Bash `script` beside them, for so many `seconds` at most. It finds `folder` as `$OUT`, [`samples`] as `$SAMPLES` and
/// mailtap as `$MAILTAP`.
pub(crate) fn run(folder: &Path, seconds: u32, script: &str) -> Output {
    Command::new(samples().join("servers"))
        .args(["with", "timeout", &seconds.to_string(), "bash", "-euc", script])
        .env("OUT", folder)
        .env("SAMPLES", samples())
        .env("MAILTAP", env!("CARGO_BIN_EXE_mailtap"))
        .output()
        .unwrap()
}

fn can_run() -> Result<(), String> {
    let user = Command::new("id").arg("-u").output().map_err(|error| format!("id: {error}"))?;
    if user.stdout != b"0\n" {
        return Err("namespaces and mail ports need root".to_owned());
    }
    let servers = samples().join("servers");
    let missing =
        Command::new(&servers).arg("missing").output().map_err(|error| format!("{}: {error}", servers.display()))?;
    if !missing.status.success() {
        let packages = String::from_utf8_lossy(&missing.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(format!("run `samples/servers install`; packages missing: {packages}"));
    }
    Ok(())
}

//! The files of `deploy/` are what the tools that will read them take.
//!
//! Where `nft` or `unshare` is missing its tests say so and pass, unless `MAILTAP_REQUIRE_SERVERS` is set: then that is
//! a failure.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// The files in `folder` whose names end so.
fn files(folder: &str, ends: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(deploy().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| ends.iter().any(|end| e == *end))).collect();
    found.sort();
    assert!(!found.is_empty(), "{folder}");
    found
}

/// What `program` says if it runs at all.
fn run(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
        }
        Err(error) => {
            assert!(std::env::var_os("MAILTAP_REQUIRE_SERVERS").is_none(), "{program}: {error}");
            eprintln!("SKIPPED: {program}: {error}");
            None
        }
    }
}

/// Runs a script as root of a network of its own, which needs no privileges.
fn in_a_network(script: &str) -> Option<(bool, String)> {
    let (made, _) = run("unshare", &["--map-root-user", "--net", "true"])?;
    if !made {
        assert!(std::env::var_os("MAILTAP_REQUIRE_SERVERS").is_none(), "no network namespaces here");
        eprintln!("SKIPPED: no network namespaces here");
        return None;
    }
    run("nft", &["--version"])?;
    run("unshare", &["--map-root-user", "--net", "sh", "-euc", script])
}

#[test]
fn rules_load_twice_and_leave_nothing() {
    for file in files("nftables", &["nft"]) {
        let intercept = deploy().join("nftables/intercept");
        let script = format!(
            "intercept={intercept} file={file}
             ip link set lo up
             $intercept pause; $intercept stop
             $intercept start $file; $intercept start $file
             nft list table inet mailtap; ip rule; ip -6 rule
             $intercept pause; $intercept pause
             $intercept stop; $intercept stop
             echo LEFT; nft list ruleset; ip rule; ip route show table all",
            intercept = intercept.display(),
            file = file.display(),
        );
        let Some((done, said)) = in_a_network(&script) else { return };
        assert!(done, "{}: {said}", file.display());
        let (before, left) = said.split_once("LEFT").unwrap();
        assert!(before.contains("dport { 25, 110, 143 }") && before.contains("0x00006d74"), "{said}");
        let routed = if file.ends_with("tproxy.nft") { 2 } else { 0 };
        assert_eq!(before.matches("fwmark 0x6d75 lookup 28021").count(), routed, "once for each family: {said}");
        assert!(!left.contains("mailtap") && !left.contains("28021") && !left.contains("fwmark"), "{said}");
    }
}

#[test]
fn rules_for_this_hosts_own_mail_load_too() {
    let text = fs::read_to_string(deploy().join("nftables/redirect.nft")).unwrap();
    let wanted = text.replace("\t\t# tcp flags", "\t\ttcp flags");
    assert_ne!(text, wanted);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redirect.nft");
    fs::write(&path, wanted).unwrap();
    let Some((done, said)) = in_a_network(&format!("nft -f {}; nft list chain inet mailtap output", path.display()))
    else {
        return;
    };
    assert!(done && said.contains("jump intercept"), "{said}");
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: this host has no systemd to ask");
    }
    let folder = tempfile::tempdir().unwrap();
    let units = files("systemd", &["service", "socket"]);
    let copies: Vec<String> = units
        .iter()
        .map(|unit| {
            // The programs they start must be there; and what is commented out must be right too.
            let text = fs::read_to_string(unit).unwrap();
            let text = text.replace("/usr/local/bin/mailtap", env!("CARGO_BIN_EXE_mailtap"));
            let text = text.replace("/etc/mailtap/intercept", deploy().join("nftables/intercept").to_str().unwrap());
            let copy = folder.path().join(unit.file_name().unwrap());
            let lines = text.lines().map(|line| match line.strip_prefix('#') {
                Some(setting) if setting.starts_with(char::is_uppercase) => setting,
                _ => line,
            });
            fs::write(&copy, lines.collect::<Vec<_>>().join("\n")).unwrap();
            copy.to_str().unwrap().to_owned()
        })
        .collect();
    let mut arguments = vec!["verify", "--man=no"];
    arguments.extend(copies.iter().map(String::as_str));
    let Some((taken, said)) = run("systemd-analyze", &arguments) else { return };
    assert!(taken && said.trim().is_empty(), "{said}");
    for unit in copies.iter().filter(|copy| copy.ends_with(".service")) {
        // 0 is nothing exposed, 100 everything.
        let (safe, said) = run("systemd-analyze", &["security", "--offline=yes", "--threshold=25", unit]).unwrap();
        assert!(safe, "{said}");
    }
}

#[test]
fn the_units_say_what_the_program_understands() {
    for unit in files("systemd", &["service"]) {
        let text = fs::read_to_string(&unit).unwrap();
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let words: Vec<_> = start.split(' ').collect();
        assert_eq!(words.first(), Some(&"/usr/local/bin/mailtap"));
        let (_, said) = run(env!("CARGO_BIN_EXE_mailtap"), words.get(1..).unwrap()).unwrap();
        assert!(said.contains("the configuration cannot be read"), "nothing but the file is missing: {said}");
    }
}

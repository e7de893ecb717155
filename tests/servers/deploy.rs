//! The files of `deploy/` are what the tools that will read them take.
//!
//! Where `nft` or `unshare` is missing its tests say so and pass, unless `MAILTAP_REQUIRE_SERVERS` is set: then that is
//! a failure.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);

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
             ip link add eth0 type veth peer name eth1
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

/// nft takes the name of any interface; nothing would be caught, and nobody would know.
#[test]
fn an_interface_that_does_not_exist_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.nft");
    for file in files("nftables", &["nft"]) {
        let text = fs::read_to_string(&file).unwrap();
        for (clients, missing) in [
            (r#"{ "eth0" }"#, None),
            (r#"{ "eth0", "eth1" }"#, None),
            (r#"{ "eth*" }"#, None),
            (r#"{ "eth9" }"#, Some("eth9")),
            ("eth9", Some("eth9")),
            (r#""eth9""#, Some("eth9")),
            (r#"{ "eth0", "eth9" } # both"#, Some("eth9")),
            (r#"{ "wg*" }"#, Some("wg*")),
        ] {
            let changed: String = text
                .lines()
                .map(|line| {
                    if line.starts_with("define clients") {
                        format!("define clients = {clients}\n")
                    } else {
                        format!("{line}\n")
                    }
                })
                .collect();
            fs::write(&rules, changed).unwrap();
            let script = format!(
                "ip link set lo up
                 ip link add eth0 type veth peer name eth1
                 if {intercept} start {rules}; then echo STARTED; fi; nft list ruleset; ip rule",
                intercept = deploy().join("nftables/intercept").display(),
                rules = rules.display(),
            );
            let Some((done, said)) = in_a_network(&script) else { return };
            assert!(done, "{said}");
            match missing {
                None => assert!(said.contains("STARTED") && said.contains("mailtap"), "{clients}: {said}"),
                Some(missing) => {
                    assert!(said.contains(&format!("there is no interface {missing};")), "{clients}: {said}");
                    assert!(!said.contains("STARTED") && !said.contains("fwmark"), "nothing is left: {said}");
                    assert!(!said.contains("table inet mailtap"), "nothing is left: {said}");
                }
            }
        }
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

/// As `mailtap-proxy.socket` does it: the port is open before mailtap is, and what a reload does is told.
#[test]
fn a_service_manager_passes_sockets_and_hears_how_it_goes() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: this host has no systemd to ask");
    }
    let folder = tempfile::tempdir().unwrap();
    let told = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    // A listener takes the socket of its name; one that has addresses takes those at its ports, whatever their name.
    let ports = [free_port(), free_port()];
    let config = folder.path().join("proxy.toml");
    let upstream = server.local_addr().unwrap();
    let listeners = format!(
        "[[listener]]\nname = \"by-name\"\nupstream = \"{upstream}\"\nprotocol = \"smtp\"\n\
         [[listener]]\nname = \"by-port\"\nlisten = \"127.0.0.1:{}\"\nupstream = \"{upstream}\"\nprotocol = \"smtp\"\n",
        ports[1]
    );
    fs::write(&config, listeners).unwrap();
    let child = Command::new("systemd-socket-activate")
        .args(["--fdname=by-name:mailtap", "-E"])
        .arg(format!("NOTIFY_SOCKET={}", folder.path().join("notify").display()))
        .args(ports.iter().map(|port| format!("--listen=127.0.0.1:{port}")))
        .args(["--", env!("CARGO_BIN_EXE_mailtap"), "proxy", "--quiet", "--config"])
        .arg(&config)
        .arg("--log")
        .arg(folder.path().join("log"))
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let connect = |port: u16| {
        let began = Instant::now();
        let mut client = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(client) => break client,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
        };
        let (mut served, _) = server.accept().unwrap();
        served.write_all(b"220 mx\r\n").unwrap();
        let mut greeting = [0; 8];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 mx\r\n");
    };
    // The first connection starts mailtap, and is served by it.
    ports.into_iter().for_each(connect);
    await_state(&told, "READY=1");
    let signal = |signal| kill_process(Pid::from_child(&child.0), signal).unwrap();
    signal(Signal::HUP);
    await_state(&told, "RELOADING=1");
    await_state(&told, "READY=1");
    ports.into_iter().for_each(connect);
    signal(Signal::TERM);
    await_state(&told, "STOPPING=1");
    assert!(child.0.wait().unwrap().success());
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    for name in ["by-name", "by-port"] {
        assert_eq!(log.matches(&format!("\"source\":\"{name}\"")).count(), 2, "{log}");
    }
}

/// It does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the service manager hears of `state`.
fn await_state(told: &UnixDatagram, state: &str) {
    let mut text = [0; 4096];
    loop {
        let length = told.recv(&mut text).unwrap_or_else(|error| panic!("{state} is not told: {error}"));
        let text = String::from_utf8_lossy(text.get(..length).unwrap());
        if text.lines().any(|line| line == state) {
            return;
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

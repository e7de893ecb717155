//! What an operator is told while the proxy runs: warnings, and what became of a reload.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::running::{PATIENCE, Proxy, free_address, is_reset, patient, scrape, talk, wait_for};

/// A file of the configuration, beside a proxy that has it.
struct Configured {
    proxy: Proxy,
    file: PathBuf,
    metrics: String,
    _folder: TempDir,
}

impl Configured {
    /// Starts a proxy whose flags beside the listener come from the file.
    fn start(text: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, metrics) = (folder.path().join("mailtap.toml"), free_address().to_string());
        fs::write(&file, text).unwrap();
        let mut all = vec!["--config", file.to_str().unwrap(), "--metrics-listen", &metrics];
        all.extend(flags);
        let proxy = Proxy::start("smtp", &all);
        Self { proxy, file, metrics, _folder: folder }
    }

    /// Reads the configuration again, which says `text` now; what is reported up to the line with `end`.
    fn reload(&mut self, text: &str, end: &str) -> String {
        fs::write(&self.file, text).unwrap();
        self.proxy.signal(Signal::HUP);
        self.proxy.said(end)
    }
}

#[test]
fn what_happens_to_many_connections_is_one_warning_and_a_count() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = server.local_addr().unwrap();
    // With --quiet no note is said, which the tests wait for; warnings are.
    let mut run = Configured::start("", &[]);
    run.proxy = Proxy::before(server, "smtp", &[]);
    let clients = |proxy: &Proxy, count| {
        for _ in 0..count {
            assert!(is_reset(&mut proxy.client()));
        }
    };
    let gone = std::mem::replace(&mut run.proxy.server, TcpListener::bind("127.0.0.1:0").unwrap());
    drop(gone);
    clients(&run.proxy, 5);
    let said = run.proxy.said("cannot be reached");
    assert!(said.contains(&format!(": {upstream} cannot be reached: the connection was refused; ")), "{said}");
    run.proxy.signal(Signal::TERM);
    let (status, said) = run.proxy.wait();
    assert_eq!((status, said.lines().count()), (0, 1), "{said}");
    assert!(said.contains("(4 more of this kind in the last "), "{said}");
}

#[test]
fn quiet_leaves_warnings() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let (listen, nobody) = (free_address(), free_address());
    let mut child = Command::new(env!("CARGO_BIN_EXE_mailtap"))
        .args(["proxy", "--quiet", "--log", "/dev/null", "--protocol", "smtp"])
        .args(["--listen", &listen.to_string(), "--upstream", &nobody.to_string()])
        .env_remove("MAILTAP_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(listen).is_err() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    // Beside the warning that its server is on this host.
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.take(2).find(|line| line.contains("cannot be reached")).unwrap();
    assert!(line.starts_with("mailtap: warning: listener "), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn limits_and_missing_headers_are_warned_of() {
    for (flags, told) in [
        (&["--max-per-source", "1"][..], "127.0.0.1 was turned away: 1 connections from its address"),
        (
            &["--max-connections", "1", "--on-limit", "close"],
            "the limit of 1 connections is reached (--max-connections); more are turned away",
        ),
        (&["--max-connections", "1"], "the limit of 1 connections is reached (--max-connections); more wait"),
    ] {
        let mut proxy = Proxy::start("smtp", flags);
        let (_client, _server) = proxy.connect();
        let _over = proxy.client();
        let said = proxy.said("connections");
        assert!(said.starts_with("mailtap: warning: listener ") && said.contains(told), "{said}");
    }
    let mut proxy = Proxy::start("smtp", &["--proxy-from", "127.0.0.1"]);
    let mut client = proxy.client();
    client.write_all(b"EHLO a\r\n").unwrap();
    assert!(is_reset(&mut client));
    assert!(proxy.said("PROXY header").contains("; let it send one, or take it out of --proxy-from"));
}

#[test]
fn a_reload_that_is_taken_is_one_line() {
    let mut run = Configured::start("max-rate = 3\n", &[]);
    assert_eq!(scrape(&run.metrics, "mailtap_config_last_reload_successful", &[]), 1.0, "from the start on");
    assert!(scrape(&run.metrics, "mailtap_config_last_reload_success_timestamp_seconds", &[]) > 1.7e9);
    let said = run.reload("max-rate = 4\n", "is in effect");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("mailtap: note: the configuration was read again and is in effect: listeners "), "{said}");
}

#[test]
fn a_key_that_takes_a_restart_is_named() {
    let mut run = Configured::start("", &["--records", "session"]);
    let said = run.reload("identity = 'none'\nthreads = 9\nrecords = 'auth'\nmax-rate = 9\n", "is in effect: ");
    let told = said.lines().next().unwrap();
    assert_eq!(
        told, "mailtap: warning: changed in the configuration, and in effect only after a restart: threads, identity",
        "what was typed wins over the file as ever"
    );
    // As long as it is not restarted.
    let said = run.reload("identity = 'none'\n", "is in effect: ");
    assert!(said.lines().next().unwrap().ends_with(": identity"), "{said}");
    assert_eq!(run.reload("", "is in effect: ").lines().count(), 1);
}

#[test]
fn a_reload_that_is_refused_changes_nothing() {
    let text = "drain-timeout = '60s'\nmax-connections = 7\n";
    let mut run = Configured::start(text, &[]);
    let (mut client, mut server) = run.proxy.connect();
    talk(&mut client, &mut server, &["S: 220 mx ESMTP", "C: EHLO client", "S: 250 mx", "C: MAIL FROM:<a@example.net>"]);
    talk(&mut client, &mut server, &["S: 250 ok", "C: RCPT TO:<b@example.org>", "S: 250 ok", "C: DATA", "S: 354 go"]);
    let wrong = "drain-timeout = '1ms'\nmax-connections = 3\nmetrics-token = 'new'\n\
                 tls = 'implicit'\ntls-cert = '/no/such/chain'\ntls-key = '/no/such/key'\n";
    let said = run.reload(wrong, "stays as it was");
    assert!(said.starts_with("mailtap: error: /no/such/chain: cannot be read: "), "{said}");
    // The token would be asked for.
    assert_eq!(scrape(&run.metrics, "mailtap_config_last_reload_successful", &[]), 0.0);
    assert_eq!(scrape(&run.metrics, "mailtap_sessions_limit", &[]), 7.0);
    run.proxy.signal(Signal::TERM);
    wait_for(&run.metrics, "mailtap_draining", &[], |draining| draining == 1.0);
    std::thread::sleep(Duration::from_millis(300));
    talk(&mut client, &mut server, &["C: .", "S: 250 queued"]);
}

/// The file of the top lists, once `is_it` says so.
fn top_lists(path: &std::path::Path, is_it: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let read = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(lists) = read.filter(&is_it) {
            return lists;
        }
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn top_lists_are_a_file_from_the_start_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("top.json");
    let mut run = Configured::start(&format!("top-file = '{}'\ntop-users = true\n", path.display()), &[]);
    let first = top_lists(&path, |_| true);
    assert_eq!((&first["mailtap_top"], &first["input"]), (&1.into(), &"proxy".into()));
    let (mut client, mut server) = run.proxy.connect();
    let auth = ["S: 220 mx ESMTP", "C: EHLO a", "S: 250 mx", "C: AUTH PLAIN AGFubgBzM2NyZXQ=", "S: 235 2.7.0 ok"];
    talk(&mut client, &mut server, &auth);
    talk(&mut client, &mut server, &["C: MAIL FROM:<a@example.net>", "S: 250 ok", "C: RCPT TO:<b@example.org>"]);
    talk(&mut client, &mut server, &["S: 550 5.1.1 unknown", "C: QUIT", "S: 221 bye"]);
    drop((client, server));
    run.proxy.record("session");
    // Those are in effect after a restart; names of the page's host at once.
    let said = run.reload("top-file = '/nowhere/top.json'\nmetrics-host = 'mon.example.org'\n", "is in effect: ");
    assert!(said.lines().next().unwrap().ends_with("after a restart: top-file, top-users"), "{said}");
    let page = |host: &str| {
        let mut stream = TcpStream::connect(&run.metrics).unwrap();
        patient(&stream);
        stream.write_all(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        String::from_utf8(crate::running::rest(&mut stream)).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((page("mon.example.org"), page("other.example.org")), ("200".into(), "421".into()));
    run.proxy.signal(Signal::TERM);
    assert_eq!(run.proxy.wait().0, 0);
    let last = top_lists(&path, |lists| lists["written"] != first["written"]);
    let entry = |of: &str, by: &str| {
        let lists = last["lists"].as_array().unwrap();
        lists.iter().find(|list| list["of"] == of && list["by"] == by).unwrap()["entries"][0]["name"].clone()
    };
    assert_eq!(entry("client_network", "sessions"), "127.0.0.0/24");
    assert_eq!(entry("recipient_domain", "refused_recipients"), "example.org");
    assert_eq!(entry("user", "logins"), "ann");
    assert!(!last.to_string().contains("s3cret"));
}

#[test]
fn a_successor_writes_the_top_lists_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (path, socket) = (folder.path().join("top.json"), folder.path().join("handover"));
    let flags = ["--top-file", path.to_str().unwrap(), "--handover", socket.to_str().unwrap()];
    let mut first = Proxy::start("smtp", &flags);
    let (listen, server) = (first.address.to_string(), first.server.local_addr().unwrap().to_string());
    let before = top_lists(&path, |_| true);
    let all = [&["--log", "/dev/null", "--listen", &listen, "--upstream", &server][..], &flags].concat();
    let (mut second, _stderr) = crate::running::spawn(&all);
    assert_eq!(first.wait().0, 0);
    let after = top_lists(&path, |lists| lists["written"] != before["written"]);
    assert_eq!(after["lists"][0]["total"], 0);
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn a_top_file_that_cannot_be_is_an_error_of_the_start_and_of_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("capture.pcap");
    fs::write(&other, b"\xd4\xc3\xb2\xa1").unwrap();
    for (path, told) in [
        (other.to_str().unwrap(), "it holds something else than top lists, and is not replaced"),
        ("/nowhere/top.json", "; check the directory and its permissions, or choose another --top-file"),
    ] {
        for check in [&["--check"][..], &[]] {
            let out = std::process::Command::new(env!("CARGO_BIN_EXE_mailtap"))
                .args([
                    "proxy",
                    "--log",
                    "/dev/null",
                    "--listen",
                    &free_address().to_string(),
                    "--upstream",
                    "192.0.2.1:25",
                ])
                .args(["--top-file", path])
                .args(check)
                .output()
                .unwrap();
            let said = String::from_utf8(out.stderr).unwrap();
            assert_eq!(out.status.code(), Some(1), "{said}");
            assert!(said.contains("the top lists cannot be written") && said.contains(told), "{said}");
        }
    }
    assert_eq!(fs::read(&other).unwrap(), b"\xd4\xc3\xb2\xa1");
}

#[test]
fn the_metrics_token_changes_with_a_reload_alone() {
    let mut run = Configured::start("", &[]);
    run.reload("metrics-token = 'new'\n", "is in effect");
    let mut stream = TcpStream::connect(&run.metrics).unwrap();
    patient(&stream);
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", run.metrics).as_bytes()).unwrap();
    let answer = crate::running::rest(&mut stream);
    assert!(answer.starts_with(b"HTTP/1.0 401 ") || answer.starts_with(b"HTTP/1.1 401 "));
}

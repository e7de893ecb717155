//! Where the log may go, what is in it when something is in the way, and that it is no capture.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::running::{PATIENCE, Proxy, free_address, rest, scrape, talk};

/// One session through `proxy`.
fn session(proxy: &Proxy) {
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &["S: 220 mx ESMTP", "C: QUIT", "S: 221 bye"]);
    drop(server);
    assert!(rest(&mut client).is_empty());
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn holds_session(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| serde_json::from_str::<Value>(line).unwrap()["record"] == "session")
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
}

/// A proxy whose standard output is `stdout`, that listens already; and what it says.
fn spawn(log: &str, upstream: &TcpListener, stdout: Stdio) -> (Child, BufReader<ChildStderr>, SocketAddr) {
    let listen = free_address();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mailtap"))
        .args(["proxy", "--protocol", "smtp", "--log", log, "--listen", &listen.to_string()])
        .args(["--upstream", &upstream.local_addr().unwrap().to_string()])
        .env_remove("MAILTAP_LOG")
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("note: listener") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it did not start: {said}");
    }
    (child, stderr, listen)
}

fn terminate(child: &mut Child) -> i32 {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().expect("ended by itself");
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn pass_one(listen: SocketAddr, server: &TcpListener) {
    let mut client = TcpStream::connect(listen).unwrap();
    let (mut server, _) = server.accept().unwrap();
    talk(&mut client, &mut server, &["S: 220 mx ESMTP", "C: QUIT", "S: 221 bye"]);
    drop(server);
    rest(&mut client);
}

#[test]
fn a_pipe_and_a_socket_as_standard_output_are_logs() {
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (mut child, _stderr, listen) = spawn(name, &server, writer.into());
        pass_one(listen, &server);
        assert_eq!(terminate(&mut child), 0, "{name}");
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.contains("\"record\":\"session\""), "{name}: {text}");

        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let (mut child, _stderr, listen) = spawn(name, &server, std::os::fd::OwnedFd::from(writer).into());
        pass_one(listen, &server);
        assert_eq!(terminate(&mut child), 0, "{name}");
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.contains("\"record\":\"session\""), "{name}: {text}");
    }
}

#[test]
fn a_reader_that_reads_nothing_does_not_keep_the_program() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    // As good as full.
    writer.write_all(&vec![b'\n'; 60 << 10]).unwrap();
    let (mut child, mut stderr, listen) = spawn("-", &server, writer.into());
    for _ in 0..20 {
        pass_one(listen, &server);
    }
    assert_eq!(terminate(&mut child), 1);
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("takes nothing any more after") && said.contains("records were lost: "), "{said}");
    drop(reader);
}

#[test]
fn a_named_pipe_without_a_reader_is_warned_of_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fifo(&path);
    let metrics = free_address().to_string();
    let mut proxy = Proxy::start("smtp", &["--log", path.to_str().unwrap(), "--metrics-listen", &metrics]);
    session(&proxy);
    crate::running::wait_for(&metrics, "mailtap_log_dropped_events_total", &["sink_error"], |lost| lost > 0.0);
    let mut reader = fs::File::open(&path).unwrap();
    session(&proxy);
    let mut text = vec![0; 9];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(text, b"{\"record\"");
    let said = proxy.said("records were lost");
    assert!(said.contains("can be written again; "), "{said}");
    assert!(scrape(&metrics, "mailtap_log_events_total", &[]) > 0.0);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().0, 0);
}

#[test]
fn records_that_wait_are_as_old_as_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fifo(&path);
    // A reader who opens it and reads nothing for now; the kernel holds a page for him.
    let open = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    rustix::pipe::fcntl_setpipe_size(&open, 4096).unwrap();
    let metrics = free_address().to_string();
    let proxy = Proxy::start("smtp", &["--log", path.to_str().unwrap(), "--metrics-listen", &metrics]);
    let waits = |name: &str, is_so: fn(f64) -> bool| crate::running::wait_for(&metrics, name, &["sink=\"log\""], is_so);
    (0..20).for_each(|_| session(&proxy));
    waits("mailtap_log_queue_depth", |records| records >= 1.0);
    waits("mailtap_log_lag_seconds", |seconds| seconds > 1.5);
    // New records do not make the old ones younger.
    session(&proxy);
    assert!(scrape(&metrics, "mailtap_log_lag_seconds", &[]) > 1.5);
    let mut reader = open;
    let reading = std::thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok() {});
    waits("mailtap_log_queue_depth", |records| records == 0.0);
    waits("mailtap_log_lag_seconds", |seconds| seconds == 0.0);
    drop((proxy, reading));
}

#[test]
fn a_folder_made_anew_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, old) = (dir.path().join("of").join("logs"), dir.path().join("old"));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("log");
    let proxy = Proxy::start("smtp", &["--log", path.to_str().unwrap()]);
    session(&proxy);
    wait("a first record", || holds_session(&path));
    fs::rename(&folder, &old).unwrap();
    fs::create_dir(&folder).unwrap();
    proxy.signal(Signal::HUP);
    wait("a new file", || path.exists());
    session(&proxy);
    wait("a record in it", || holds_session(&path));
}

#[test]
fn a_log_that_was_deleted_is_begun_anew() {
    let proxy = Proxy::start("smtp", &[]);
    session(&proxy);
    wait("a first record", || holds_session(&proxy.log()));
    fs::remove_file(proxy.log()).unwrap();
    wait("a new file", || proxy.log().exists());
    session(&proxy);
    wait("a record in it", || holds_session(&proxy.log()));
    assert_eq!(fs::metadata(proxy.log()).unwrap().permissions().mode() & 0o137, 0, "for owner and group");
}

#[test]
fn only_so_many_files_of_the_log_are_kept() {
    let mut proxy = Proxy::start("smtp", &["--log-rotate", "1kB", "--log-files", "3", "--log-mode", "0604"]);
    fs::write(proxy.log().with_file_name("log.1"), "a note").unwrap();
    for _ in 0..12 {
        session(&proxy);
    }
    let log = proxy.log();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().0, 0);
    let mut names: Vec<_> = fs::read_dir(log.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert!(names.len() == 4 && names[..2] == ["log", "log.1"], "three, and the note: {names:?}");
    assert_eq!(fs::read(log.with_file_name("log.1")).unwrap(), b"a note");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o604);
}

#[test]
fn a_capture_is_never_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let sample = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")).unwrap();
    let sample = sample.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "pcap"));
    let (a, b) = (dir.path().join("a.pcap"), dir.path().join("b.pcap"));
    for copy in [&a, &b] {
        fs::copy(sample.as_ref().unwrap(), copy).unwrap();
    }
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&b, &link).unwrap();
    let before = fs::read(&b).unwrap();
    // The one to read, and another: the shell has expanded `*.pcap` behind --log.
    for (log, read) in [(&b, &a), (&b, &b), (&link, &a), (&link, &b)] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_mailtap")).arg("analyze").arg("--log").arg(log).arg(read).output();
        let output = output.unwrap();
        assert_ne!(output.status.code(), Some(0), "{log:?} {read:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
        assert_eq!(fs::read(&b).unwrap(), before);
    }
}

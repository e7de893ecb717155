//! A running `mailtap proxy`, and the bare ends of a connection through it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a loaded machine, short enough for a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy with one listener, in front of a socket of the test.
pub(crate) struct Proxy {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) address: SocketAddr,
    pub(crate) server: TcpListener,
    folder: TempDir,
}

impl Proxy {
    /// Starts one that expects `protocol`, with further flags.
    pub(crate) fn start(protocol: &str, flags: &[&str]) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::before(server, protocol, flags)
    }

    /// The same in front of `server`.
    pub(crate) fn before(server: TcpListener, protocol: &str, flags: &[&str]) -> Self {
        Self::inside(server, protocol, flags, &[])
    }

    /// The same in front of an address where nobody listens.
    pub(crate) fn before_address(upstream: SocketAddr, protocol: &str, flags: &[&str]) -> Self {
        Self::spawned(TcpListener::bind("127.0.0.1:0").unwrap(), upstream, protocol, flags, &[])
    }

    /// The same with variables in its environment.
    pub(crate) fn inside(server: TcpListener, protocol: &str, flags: &[&str], env: &[(&str, &str)]) -> Self {
        let upstream = server.local_addr().unwrap();
        Self::spawned(server, upstream, protocol, flags, env)
    }

    fn spawned(
        server: TcpListener,
        upstream: SocketAddr,
        protocol: &str,
        flags: &[&str],
        env: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let log = folder.path().join("log").display().to_string();
        let (listen, upstream) = (address.to_string(), upstream.to_string());
        let mut all = vec!["--listen", &listen, "--upstream", &upstream, "--protocol", protocol];
        if !flags.contains(&"--log") {
            all.extend(["--log", &log]);
        }
        all.extend(flags);
        let (child, stderr) = spawn_in(&all, env);
        Self { child, stderr, address, server, folder }
    }

    /// A connection through it: the client's end and the server's.
    pub(crate) fn connect(&self) -> (TcpStream, TcpStream) {
        let client = self.client();
        let (server, _) = self.server.accept().unwrap();
        patient(&server);
        (client, server)
    }

    pub(crate) fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        patient(&client);
        client
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kibibytes in memory.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it says up to the line with `text`, for which it waits.
    pub(crate) fn said(&mut self, text: &str) -> String {
        let mut said = String::new();
        while !said.contains(text) {
            assert_ne!(self.stderr.read_line(&mut said).unwrap(), 0, "it ended: {said}");
        }
        said
    }

    /// Waits until it has ended by itself; its exit status, and what it said.
    pub(crate) fn wait(&mut self) -> (i32, String) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut said = String::new();
                self.stderr.read_to_string(&mut said).unwrap();
                return (status.code().expect("ended by itself"), said);
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it; the records it wrote.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.signal(Signal::TERM);
        let (status, said) = self.wait();
        assert_eq!(status, 0, "{said}");
        self.records()
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.log()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for a record of that type.
    pub(crate) fn record(&self, kind: &str) -> Value {
        let began = Instant::now();
        loop {
            if let Some(record) = self.records().into_iter().find(|record| record["record"] == kind) {
                return record;
            }
            assert!(began.elapsed() < PATIENCE, "no {kind} record");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `mailtap proxy` and waits until it says that it listens.
pub(crate) fn spawn(flags: &[&str]) -> (Child, BufReader<ChildStderr>) {
    spawn_in(flags, &[])
}

/// The same with variables in its environment.
pub(crate) fn spawn_in(flags: &[&str], env: &[(&str, &str)]) -> (Child, BufReader<ChildStderr>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mailtap"))
        .arg("proxy")
        .args(flags)
        .env_remove("MAILTAP_LOG")
        .envs(env.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("note: listener") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it did not start: {said}");
    }
    (child, stderr)
}

/// An address nobody listens at.
pub(crate) fn free_address() -> SocketAddr {
    // An address of this process alone: another test must not come to listen there meanwhile.
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let host = std::net::Ipv4Addr::new(127, high, low, 1);
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

pub(crate) fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
}

/// Sends `octets` and sees them arrive.
pub(crate) fn pass(from: &mut TcpStream, to: &mut TcpStream, octets: &[u8]) {
    from.write_all(octets).unwrap();
    let mut came = vec![0; octets.len()];
    to.read_exact(&mut came).unwrap();
    assert_eq!(came, octets);
}

/// A dialogue: `C: line` and `S: line`, each sent and seen to arrive.
pub(crate) fn talk(client: &mut TcpStream, server: &mut TcpStream, dialogue: &[&str]) {
    for line in dialogue {
        let octets = format!("{}\r\n", &line[3..]);
        match &line[..3] {
            "C: " => pass(client, server, octets.as_bytes()),
            _ => pass(server, client, octets.as_bytes()),
        }
    }
}

/// Everything until the other side closes.
pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    octets
}

/// Lets the close of `stream` be a reset.
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Whether the other side has reset.
pub(crate) fn is_reset(stream: &mut TcpStream) -> bool {
    let read = stream.read_exact(&mut [0; 1]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// The sum of the samples of `name` that have these labels.
pub(crate) fn scrape(address: &str, name: &str, labels: &[&str]) -> f64 {
    let mut stream = TcpStream::connect(address).unwrap();
    patient(&stream);
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let text = String::from_utf8(rest(&mut stream)).unwrap();
    assert!(text.contains("\nmailtap_build_info{"), "{text}");
    let is_it = |line: &&str| {
        let of_it = line.strip_prefix(name).is_some_and(|end| end.starts_with(['{', ' ']));
        of_it && labels.iter().all(|label| line.contains(label))
    };
    text.lines().filter(is_it).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Waits until that sum is `wanted`.
pub(crate) fn wait_for(address: &str, name: &str, labels: &[&str], wanted: impl Fn(f64) -> bool) {
    let began = Instant::now();
    while !wanted(scrape(address, name, labels)) {
        assert!(began.elapsed() < PATIENCE, "{name} with {labels:?} is {}", scrape(address, name, labels));
        std::thread::sleep(Duration::from_millis(10));
    }
}

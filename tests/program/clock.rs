//! The host's clock is set while connections are open. They must not notice.
//!
//! A library in front of the C library's shifts the wall clock of the program alone; it needs a C compiler.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::running::{Proxy, pass, rest, talk};

/// Adds the seconds in the file `CLOCK_OFFSET` to the wall clock.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME) {
    FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
    long offset = 0;
    if (file) { if (fscanf(file, "%ld", &offset) != 1) offset = 0; fclose(file); }
    now->tv_sec += offset;
  }
  return result;
}
"#;

/// The wall clock of a program.
struct WallClock {
    folder: TempDir,
}

impl WallClock {
    /// One that is right; `None`, with a word why, where there is no C compiler.
    fn new() -> Option<Self> {
        let clock = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(clock.path("clock.c"), SOURCE).unwrap();
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([clock.path("clock.so"), clock.path("clock.c")])
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: there is no C compiler to shift the clock with");
            return None;
        }
        clock.set(0);
        Some(clock)
    }

    /// Sets it so many seconds off.
    fn set(&self, seconds: i64) {
        // In one step: the program may read it at any moment.
        fs::write(self.path("next"), seconds.to_string()).unwrap();
        fs::rename(self.path("next"), self.path("offset")).unwrap();
    }

    fn proxy(&self, protocol: &str, flags: &[&str]) -> Proxy {
        let (library, offset) = (self.path("clock.so"), self.path("offset"));
        let env = [("LD_PRELOAD", library.to_str().unwrap()), ("CLOCK_OFFSET", offset.to_str().unwrap())];
        Proxy::inside(TcpListener::bind("127.0.0.1:0").unwrap(), protocol, flags, &env)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Until the program has compared its clocks, which it does once a second.
fn notice() {
    thread::sleep(Duration::from_millis(1500));
}

const HOUR: i64 = 3600;

/// By protocol: what is said, and how the session goes on when the clock was set.
const SESSIONS: [(&str, &[&str], &[&str]); 6] = [
    ("smtp", &[], &["S: 220 mx", "C: NOOP", "S: 250 ok"]),
    ("smtp", &["S: 220 mx", "C: EHLO a", "S: 250 mx"], &["C: NOOP", "S: 250 ok"]),
    (
        "smtp",
        &[
            "S: 220 mx",
            "C: EHLO a",
            "S: 250 mx",
            "C: MAIL FROM:<a@b.example>",
            "S: 250 ok",
            "C: RCPT TO:<c@d.example>",
            "S: 250 ok",
            "C: DATA",
            "S: 354 go",
            "C: Subject: x",
            "C: ",
            "C: half",
        ],
        &["C: .", "S: 250 ok"],
    ),
    ("pop3", &["S: +OK ready", "C: USER ann", "S: +OK", "C: PASS x", "S: +OK"], &["C: STAT", "S: +OK 0 0"]),
    (
        "imap",
        &["S: * OK ready", "C: a LOGIN ann x", "S: a OK", "C: b SELECT INBOX", "S: b OK", "C: c IDLE", "S: + idling"],
        &["S: * 1 EXISTS", "C: DONE", "S: c OK"],
    ),
    ("lmtp", &["S: 220 mx LMTP", "C: LHLO a", "S: 250 mx"], &["C: NOOP", "S: 250 ok"]),
];

#[test]
fn a_clock_that_is_set_ends_no_session_and_lengthens_none() {
    let Some(clock) = WallClock::new() else { return };
    let mut open: Vec<_> = SESSIONS
        .iter()
        .map(|(protocol, before, _)| {
            let proxy = clock.proxy(protocol, &["--idle-timeout", "60s"]);
            let (mut client, mut server) = proxy.connect();
            talk(&mut client, &mut server, before);
            (proxy, client, server)
        })
        .collect();
    for offset in [HOUR, -24 * HOUR, 0] {
        clock.set(offset);
        notice();
    }
    for ((protocol, _, after), (proxy, mut client, mut server)) in SESSIONS.iter().zip(open.drain(..)) {
        talk(&mut client, &mut server, after);
        drop(client);
        assert_eq!(rest(&mut server), b"");
        drop(server);
        let session = proxy.record("session");
        let duration = session["duration"].as_f64().unwrap();
        assert!((4.0..30.0).contains(&duration), "{protocol}: {session}");
        assert_ne!(session["outcome"], "timeout", "{session}");
        let times = |record: &serde_json::Value| ["ts", "end"].map(|name| moment(record[name].as_str().unwrap()));
        for record in proxy.records().iter().filter(|record| record.get("end").is_some()) {
            let [ts, end] = times(record);
            assert!((end - ts - record["duration"].as_f64().unwrap()).abs() < 0.000_01, "{record}");
        }
    }
}

#[test]
fn a_clock_that_is_set_back_stops_no_limit_and_no_drain() {
    let Some(clock) = WallClock::new() else { return };
    let mut proxy =
        clock.proxy("smtp", &["--idle-timeout", "4s", "--half-close-timeout", "3s", "--drain-timeout", "4s"]);
    let (mut still, mut still_server) = proxy.connect();
    let (mut half, mut half_server) = proxy.connect();
    for (client, server) in [(&mut still, &mut still_server), (&mut half, &mut half_server)] {
        talk(client, server, &["S: 220 mx", "C: EHLO a", "S: 250 mx"]);
    }
    half.shutdown(std::net::Shutdown::Write).unwrap();
    clock.set(-HOUR);
    assert_eq!(rest(&mut still), b"");
    assert_eq!(rest(&mut half), b"");
    let (mut idle, mut idle_server) = proxy.connect();
    talk(&mut idle, &mut idle_server, &["S: 220 mx", "C: EHLO a", "S: 250 mx"]);
    let (mut busy, mut busy_server) = proxy.connect();
    talk(
        &mut busy,
        &mut busy_server,
        &["S: 220 mx", "C: EHLO a", "S: 250 mx", "C: MAIL FROM:<a@b.example>", "S: 250 ok"],
    );
    talk(&mut busy, &mut busy_server, &["C: RCPT TO:<c@d.example>", "S: 250 ok", "C: DATA", "S: 354 go"]);
    pass(&mut busy, &mut busy_server, b"x\r\n");
    proxy.signal(Signal::TERM);
    clock.set(-2 * HOUR);
    assert_eq!(rest(&mut idle), b"", "at rest");
    let _ = busy.write_all(b"more");
    assert_eq!(proxy.wait().0, 0, "the drain ends in time");
    let hows: Vec<_> =
        proxy.records().iter().filter(|r| r["record"] == "session").map(|r| r["close"]["how"].clone()).collect();
    assert_eq!(hows.iter().filter(|how| *how == "timeout").count(), 2, "{hows:?}");
    assert_eq!(hows.iter().filter(|how| *how == "drain").count(), 2, "{hows:?}");
}

#[test]
fn records_show_the_clock_that_was_set() {
    let Some(clock) = WallClock::new() else { return };
    let proxy = clock.proxy("smtp", &[]);
    clock.set(HOUR);
    let (mut client, mut server) = proxy.connect();
    talk(&mut client, &mut server, &["S: 220 mx", "C: QUIT", "S: 221 bye"]);
    drop((client, server));
    let ts = moment(proxy.record("session")["ts"].as_str().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((ts - now - HOUR as f64).abs() < 30.0, "{ts} {now}");
}

/// Seconds since 1970 of a record's time.
fn moment(text: &str) -> f64 {
    let time: jiff::Timestamp = text.parse().unwrap();
    time.as_microsecond() as f64 / 1e6
}

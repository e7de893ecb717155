//! Load for a proxy, and the mail server behind it, in one thread that costs far less than what it measures:
//!
//! ```text
//! cargo bench --bench proxy_load -- --scenario smtp-1k --connect 127.0.0.1:2525 --smtp 127.0.0.1:2526
//! ```
//!
//! It serves SMTP and IMAP at the given addresses, speaks as many clients to `--connect`, checks every reply, and prints
//! one line of JSON: transactions, octets, times, errors, and the processor time and memory of the processes `--watch`
//! names. Both sides share a thread, so that the straight way costs no switch of context. See benches/proxy.
#![allow(clippy::print_stdout, reason = "a program of its own")]
#![allow(clippy::indexing_slicing, clippy::expect_used, reason = "its input is its own")]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod mailbox;
mod reactor;
mod server;
mod watched;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use reactor::Reactor;

const USAGE: &str = "\
Speaks to a mail proxy, serves behind it, and says how long it took.

usage: cargo bench --bench proxy_load -- --scenario NAME --connect ADDR [options]

  --scenario NAME    smtp-1k, smtp-10k, smtp-1m: messages over connections that are kept
                     smtp-connect: a connection for each message of 1 kB
                     imap-10k, imap-1m: messages fetched over connections that are kept
                     idle: connections that log in, select, IDLE and stand still; greeting: those that only wait
  --connect ADDR     where the clients connect; may be a server of --smtp or --imap itself
  --smtp ADDR        serve SMTP there
  --imap ADDR        serve IMAP there
  --connections N    connections at the same time (default 16; idle, greeting: 7500)
  --seconds N        time measured (default 2)
  --warm-up N        time before it, in seconds (default 0.3)
  --count N          transactions at most (default 10000000)
  --watch PID,...    processes whose processor time and memory to read
";

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) scenario: Scenario,
    pub(crate) connect: SocketAddr,
    pub(crate) smtp: Option<SocketAddr>,
    pub(crate) imap: Option<SocketAddr>,
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) count: u64,
    pub(crate) watch: Vec<u32>,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Messages over a connection.
    Smtp,
    /// A connection for each message.
    SmtpConnect,
    /// Messages fetched over a connection.
    Imap,
    /// Connections that stand still, in IDLE.
    Idle,
    /// Connections that stand still once greeted.
    Greeting,
}

/// The scenarios by name, with the octets of a message.
const SCENARIOS: [(&str, Scenario, usize); 8] = [
    ("smtp-1k", Scenario::Smtp, 1 << 10),
    ("smtp-10k", Scenario::Smtp, 10 << 10),
    ("smtp-1m", Scenario::Smtp, 1 << 20),
    ("smtp-connect", Scenario::SmtpConnect, 1 << 10),
    ("imap-10k", Scenario::Imap, 10 << 10),
    ("imap-1m", Scenario::Imap, 1 << 20),
    ("idle", Scenario::Idle, 2 << 10),
    ("greeting", Scenario::Greeting, 2 << 10),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    // Nothing to measure by itself: a run of all benches passes by.
    if arguments.is_empty() || arguments.iter().any(|a| a == "--list" || a == "--help") {
        if !arguments.iter().any(|a| a == "--list") {
            print!("{USAGE}");
        }
        return ExitCode::SUCCESS;
    }
    let run = |(options, size): (Options, usize)| {
        Reactor::new(options, size).and_then(Reactor::run).map_err(|error| error.to_string())
    };
    match parse(&arguments).and_then(run) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("proxy_load: {why}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<(Options, usize), String> {
    let (mut scenario, mut connect, mut smtp, mut imap) = (None, None, None, None);
    let (mut connections, mut count, mut watch) = (None, 10_000_000, Vec::new());
    let (mut warm_up, mut measured) = (Duration::from_millis(300), Duration::from_secs(2));
    let mut words = arguments.iter();
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} needs a value; --help lists the options"))?;
        match name.as_str() {
            "--scenario" => {
                let found = SCENARIOS.into_iter().find(|(name, ..)| name == value);
                scenario = Some(found.ok_or_else(|| format!("--scenario {value}: no such scenario"))?);
            }
            "--connect" => connect = Some(read(name, value)?),
            "--smtp" => smtp = Some(read(name, value)?),
            "--imap" => imap = Some(read(name, value)?),
            "--connections" => connections = Some(read(name, value)?),
            "--seconds" => measured = Duration::from_secs_f64(read(name, value)?),
            "--warm-up" => warm_up = Duration::from_secs_f64(read(name, value)?),
            "--count" => count = read(name, value)?,
            "--watch" => watch = value.split(',').map(|pid| read(name, pid)).collect::<Result<_, _>>()?,
            _ => return Err(format!("{name}: no such option; --help lists them")),
        }
    }
    let (_, scenario, size) = scenario.ok_or("--scenario NAME is needed")?;
    let still = matches!(scenario, Scenario::Idle | Scenario::Greeting);
    let options = Options {
        scenario,
        connect: connect.ok_or("--connect ADDR is needed")?,
        smtp,
        imap,
        connections: connections.unwrap_or(if still { 7500 } else { 16 }),
        warm_up,
        measured,
        count,
        watch,
    };
    Ok((options, size))
}

fn read<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} {value}: cannot be read"))
}

//! `mailtap`: parse the arguments, run a mode, say how it went.

#![forbid(unsafe_code)]

use std::io;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use mailtap::cli::{Analyze, Cli, Mode, Proxy, Sniff};
use mailtap::commands::analyze;
use mailtap::commands::analyze::Read;
use mailtap::commands::{proxy, sniff};
use mailtap::config;
use mailtap::console::{self, Level};
use mailtap::error;
use mailtap::error::Error;

fn main() -> ExitCode {
    error::note_faults();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) => {
            // Help goes to standard output and may meet a closed pipe, as everything may.
            let _ = help.print();
            return ExitCode::from(u8::try_from(help.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.mode {
        Mode::Analyze(flags) => run(*flags),
        Mode::Sniff(flags) => run_sniff(*flags),
        Mode::Proxy(flags) => run_proxy(*flags),
        Mode::Schema => analyze::schema().map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(status) => status,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            console::print(Level::Error, &error);
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(flags: Analyze) -> Result<ExitCode, Error> {
    let ready = config::analyze(flags, cores())?;
    trace(ready.verbose);
    Ok(match analyze::run(ready)? {
        Read::Whole => ExitCode::SUCCESS,
        Read::Partly => ExitCode::FAILURE,
    })
}

fn run_sniff(flags: Sniff) -> Result<ExitCode, Error> {
    if flags.list_interfaces {
        return sniff::interfaces().map(|()| ExitCode::SUCCESS);
    }
    let ready = config::sniff(flags, cores())?;
    trace(ready.running.verbose);
    let again = || match Cli::try_parse() {
        Ok(Cli { mode: Mode::Sniff(flags) }) => config::sniff(*flags, cores()),
        _ => Err(Error::Usage("the command line is another one now".into())),
    };
    sniff::run(ready, &again).map(|()| ExitCode::SUCCESS)
}

fn run_proxy(flags: Proxy) -> Result<ExitCode, Error> {
    let ready = config::proxy(flags, cores())?;
    trace(ready.running.verbose);
    let again = || match Cli::try_parse() {
        Ok(Cli { mode: Mode::Proxy(flags) }) => config::proxy(*flags, cores()),
        _ => Err(Error::Usage("the command line is another one now".into())),
    };
    proxy::run(ready, &again).map(|()| ExitCode::SUCCESS)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Lets the program speak of itself on standard error, as far as asked for.
fn trace(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "mailtap=debug",
        _ => "mailtap=trace",
    };
    let filter = EnvFilter::try_from_env("MAILTAP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

//! `mailtap`: parse the arguments, run a mode, say how it went.

#![forbid(unsafe_code)]

use std::io;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread;

use tracing_subscriber::EnvFilter;

use mailtap::analyze::{self, Read};
use mailtap::cli::{Analyze, Proxy, Request, Sniff, Typed};
use mailtap::config;
use mailtap::error::{self, Error, Level};
use mailtap::{proxy, sniff};

fn main() -> ExitCode {
    error::note_faults();
    let request = match Request::parse(std::env::args_os()) {
        Ok(request) => request,
        Err(help) => {
            // Help goes to standard output and may meet a closed pipe, as everything may.
            let _ = help.print();
            return ExitCode::from(u8::try_from(help.exit_code()).unwrap_or(2));
        }
    };
    let done = match &request {
        Request::Analyze(typed) => run(typed),
        Request::Sniff(typed) => run_sniff(typed),
        Request::Proxy(typed) => run_proxy(typed),
        Request::Schema => analyze::schema().map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(status) => status,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            error::tell(Level::Error, &error);
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(typed: &Typed<Analyze>) -> Result<ExitCode, Error> {
    let ready = config::analyze(typed, cores())?;
    trace(ready.verbose)?;
    Ok(match analyze::run(ready)? {
        Read::Whole => ExitCode::SUCCESS,
        Read::Partly => ExitCode::FAILURE,
    })
}

fn run_sniff(typed: &Typed<Sniff>) -> Result<ExitCode, Error> {
    if typed.flags().list_interfaces {
        return sniff::interfaces().map(|()| ExitCode::SUCCESS);
    }
    let again = || config::sniff(typed, cores());
    if typed.flags().file.check {
        return Ok(if sniff::check(again()) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let ready = again()?;
    trace(ready.running.verbose)?;
    sniff::run(ready, &again).map(|()| ExitCode::SUCCESS)
}

fn run_proxy(typed: &Typed<Proxy>) -> Result<ExitCode, Error> {
    let again = || config::proxy(typed, cores());
    if typed.flags().file.check {
        return Ok(if proxy::check(again()) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let ready = again()?;
    trace(ready.running.verbose)?;
    proxy::run(ready, &again).map(|()| ExitCode::SUCCESS)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Lets the program speak of itself on standard error, as far as asked for.
fn trace(verbose: u8) -> Result<(), Error> {
    let filter = config::diagnostics(std::env::var_os(config::VARIABLE).as_deref(), verbose)?;
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(io::stderr).init();
    Ok(())
}

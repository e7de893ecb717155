//! What the user may run: each command puts its parts together and runs them.

pub mod analyze;
mod check;
mod log_news;
pub mod proxy;
pub mod sniff;
mod trace;

use std::num::NonZero;
use std::process::ExitCode;
use std::thread;

use crate::cli::{self, Request, Typed};
use crate::config;
use crate::error::Error;
use analyze::Completeness;
use trace::trace;

/// Runs what is asked for; with its exit status if it came to an end of its own.
pub fn run(request: &Request) -> Result<ExitCode, Error> {
    match request {
        Request::Analyze(typed) => run_analyze(typed),
        Request::Sniff(typed) => run_sniff(typed),
        Request::Proxy(typed) => run_proxy(typed),
        Request::Schema => analyze::schema().map(|()| ExitCode::SUCCESS),
    }
}

fn run_analyze(typed: &Typed<cli::AnalyzeFlags>) -> Result<ExitCode, Error> {
    let ready = config::analyze(typed, cores())?;
    trace(ready.verbose)?;
    Ok(match analyze::run(ready)? {
        Completeness::Whole => ExitCode::SUCCESS,
        Completeness::Partly => ExitCode::FAILURE,
    })
}

fn run_sniff(typed: &Typed<cli::SniffFlags>) -> Result<ExitCode, Error> {
    if typed.flags().list_interfaces {
        return sniff::interfaces().map(|()| ExitCode::SUCCESS);
    }
    // A reload lays the same command line over what the file says by then.
    let read = || config::sniff(typed, cores());
    if typed.flags().file.check {
        return Ok(checked(sniff::check(read())));
    }
    let ready = read()?;
    trace(ready.running.verbose)?;
    sniff::run(ready, &read).map(|()| ExitCode::SUCCESS)
}

fn run_proxy(typed: &Typed<cli::ProxyFlags>) -> Result<ExitCode, Error> {
    let read = || config::proxy(typed, cores());
    if typed.flags().file.check {
        return Ok(checked(proxy::check(read())));
    }
    let ready = read()?;
    trace(ready.running.verbose)?;
    proxy::run(ready, &read).map(|()| ExitCode::SUCCESS)
}

fn checked(is_right: bool) -> ExitCode {
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

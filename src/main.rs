//! `mailtap`: parse the arguments, run a command, say how it went.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use mailtap::cli::Request;
use mailtap::console::{self, Level};
use mailtap::{commands, error};

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
    match commands::run(&request) {
        Ok(status) => status,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            console::print(Level::Error, &error);
            ExitCode::from(error.exit_status())
        }
    }
}

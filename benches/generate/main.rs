//! Writes large captures of mail traffic, the same for the same options:
//!
//! ```text
//! cargo bench --bench generate -- --profile smtp --size 1GiB --out smtp.pcap --expect smtp.json
//! ```
//!
//! `--expect` writes what is in the capture as JSON: sessions, commands, transactions by outcome, octets of messages.
#![allow(clippy::print_stdout, reason = "a program of its own")]

#[path = "../support/mod.rs"]
mod support;

use std::fs::File;
use std::process::ExitCode;

use support::Profile;
use support::capture::{Options, generate};

const USAGE: &str = "\
Writes a capture of made-up mail traffic, the same for the same options.

usage: cargo bench --bench generate -- --out FILE [options]

  --out FILE         the capture: pcap, Ethernet, microseconds
  --expect FILE      what is in it, as JSON
  --profile NAME     smtp (default), imap, pop3 or mixed
  --size N           its size, such as 100MiB or 1GiB (default 64MiB); the last conversations are brought to their end
  --seed N           what chance follows from (default 1)
  --flows N          connections at the same time (default 64)
  --disorder N       of a million segments, how many are sent twice or out of order (default 1000)
";

struct Arguments {
    options: Options,
    out: String,
    expect: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    // Nothing to measure here: a run of all benches passes by.
    if arguments.is_empty() || arguments.iter().any(|a| a == "--list" || a == "--help") {
        if !arguments.iter().any(|a| a == "--list") {
            print!("{USAGE}");
        }
        return ExitCode::SUCCESS;
    }
    match parse(&arguments).and_then(|a| run(&a)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("generate: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let Arguments { options, out, expect } = arguments;
    let mut file = File::create(out).map_err(|e| format!("{out}: {e}"))?;
    let totals = generate(options, &mut file).map_err(|e| format!("{out}: {e}"))?;
    let json = totals.to_json(options.profile.as_str(), options.seed);
    match expect {
        Some(path) => std::fs::write(path, json).map_err(|e| format!("{path}: {e}")),
        None => Ok(()),
    }
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let mut options = Options::new(Profile::Smtp, 64 << 20);
    let (mut out, mut expect) = (None, None);
    let mut words = arguments.iter();
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} needs a value; --help lists the options"))?;
        match name.as_str() {
            "--out" => out = Some(value.clone()),
            "--expect" => expect = Some(value.clone()),
            "--profile" => {
                let profile = Profile::ALL.into_iter().find(|p| p.as_str() == value);
                options.profile = profile.ok_or_else(|| format!("--profile {value}: smtp, imap, pop3 or mixed"))?;
            }
            "--size" => options.size = size(value)?,
            "--seed" => options.seed = number(name, value)?,
            "--flows" => options.flows = number(name, value)?.clamp(1, 1 << 20) as usize,
            "--disorder" => options.disorder = number(name, value)?,
            _ => return Err(format!("{name}: no such option; --help lists them")),
        }
    }
    Ok(Arguments { options, out: out.ok_or("--out FILE is needed")?, expect })
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} {value}: not a number"))
}

/// Octets, or a number with KiB, MiB or GiB.
fn size(value: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, shift) =
        units.iter().find_map(|(unit, shift)| Some((value.strip_suffix(unit)?, *shift))).unwrap_or((value, 0));
    let octets = number("--size", digits)?;
    octets.checked_mul(1 << shift).ok_or_else(|| format!("--size {value}: too large"))
}

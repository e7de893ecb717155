//! What the user may type: the flags of each mode, which are also the keys of its configuration file.
//!
//! Each group of flags is one struct that derives both. A flag that only the command line takes is a field of its
//! mode, outside of the groups. Nothing is decided here: [`config`](crate::config) lays flags over the file over the
//! defaults.

mod analyze;
mod file;
mod proxy;
mod records;
mod running;
mod sniff;
mod values;

use std::ffi::OsString;
use std::fmt;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::event::Words;

pub use analyze::{Analysis, AnalyzeFlags, MetricsFileFlags, OrderFlags, Verbosity};
pub use proxy::{ForwardingFlags, ListenerFlags, ProxyFlags};
pub use records::LogFlags;
pub use running::{ConfigFile, RunningFlags};
pub use sniff::{CaptureFlags, SniffFlags};
pub use values::{
    FileMode, Hash, HostName, ListenAddress, LocalAddress, Network, Number, PacketMark, PortMapping, Size, TimeOrOff,
    TlsMinimum, UpstreamAddress,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const HELP: &str = "\
Start with:
  mailtap analyze capture.pcap

Environment:
  MAILTAP_LOG  what to say about the run itself on standard error, in place of --verbose: off, error, warn, info,
               debug or trace; for one part PART=LEVEL, as in mailtap::proxy=debug; several with commas
  NO_COLOR     no colours";

/// Watches SMTP, LMTP, POP3 and IMAP, and tells what happened: a record for every session, message, command,
/// authentication and anomaly.
#[derive(Debug, Parser)]
#[command(name = "mailtap", version, styles = STYLES, max_term_width = 100, propagate_version = true)]
#[command(after_help = HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub mode: Mode,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Analyze captures: a summary for people, a log for programs
    Analyze(Box<AnalyzeFlags>),
    /// Watch network interfaces: live capture through libpcap
    Sniff(Box<SniffFlags>),
    /// Stand in front of a mail server and watch: an inline, transparent proxy
    Proxy(Box<ProxyFlags>),
    /// Print the log's JSON Schema
    Schema,
}

/// What is asked for.
#[derive(Debug)]
pub enum Request {
    /// `mailtap analyze`
    Analyze(Box<Typed<AnalyzeFlags>>),
    /// `mailtap sniff`
    Sniff(Box<Typed<SniffFlags>>),
    /// `mailtap proxy`
    Proxy(Box<Typed<ProxyFlags>>),
    /// `mailtap schema`
    Schema,
}

impl Request {
    /// Parses a command line, the program's name first.
    ///
    /// # Errors
    /// Wrong usage; also help and the version, which are no error but nothing to run either.
    pub fn parse(args: impl IntoIterator<Item: Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut matches = Cli::command().try_get_matches_from(args)?;
        let mode = Cli::from_arg_matches(&matches)?.mode;
        let matches = matches.remove_subcommand().map(|(_, matches)| matches).unwrap_or_default();
        Ok(match mode {
            Mode::Analyze(flags) => Self::Analyze(Box::new(Typed::new(*flags, matches))),
            Mode::Sniff(flags) => Self::Sniff(Box::new(Typed::new(*flags, matches))),
            Mode::Proxy(flags) => Self::Proxy(Box::new(Typed::new(*flags, matches))),
            Mode::Schema => Self::Schema,
        })
    }
}

/// The flags of a mode, and which of them were typed.
#[derive(Clone)]
pub struct Typed<T> {
    flags: T,
    /// Of the typed ones.
    matches: ArgMatches,
}

impl<T> Typed<T> {
    fn new(flags: T, mut matches: ArgMatches) -> Self {
        let is_default = |id: &&str| matches.value_source(id) != Some(ValueSource::CommandLine);
        let defaults: Vec<String> = matches.ids().map(clap::Id::as_str).filter(is_default).map(str::to_owned).collect();
        for id in defaults {
            let _ = matches.try_clear_id(&id);
        }
        Self { flags, matches }
    }

    /// All flags; those that were not typed have their defaults.
    pub const fn flags(&self) -> &T {
        &self.flags
    }

    /// `file` with what was typed in place of what it says.
    pub fn over<G: Args>(&self, mut file: G) -> Result<G, clap::Error> {
        file.update_from_arg_matches(&self.matches)?;
        Ok(file)
    }
}

impl<T: fmt::Debug> fmt::Debug for Typed<T> {
    /// Only the flags: they know which values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flags.fmt(f)
    }
}

/// The mode that has the flag `--key`, if it is not `but`: who wrote it into a file for `but` meant another mode.
pub fn mode_with(key: &str, but: &str) -> Option<String> {
    let cli = Cli::command();
    let mut modes = cli.get_subcommands().filter(|mode| mode.get_name() != but);
    let found = modes.find(|mode| mode.get_arguments().any(|flag| flag.get_long() == Some(key)));
    found.map(|mode| mode.get_name().to_owned())
}

/// Parses the word of a closed list, and names the list in the help.
fn word<T: Words>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::WORDS).try_map(|word| word.parse::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_typed_wins_and_what_is_not_typed_leaves_the_file() {
        let Ok(Request::Sniff(typed)) = Request::parse(["mailtap", "sniff", "--no-promiscuous", "--snaplen", "100"])
        else {
            panic!("another mode")
        };
        let file = CaptureFlags { snaplen: "200".parse().ok(), buffer: "2MiB".parse().ok(), ..CaptureFlags::default() };
        let merged = typed.over(file).unwrap();
        assert_eq!((merged.snaplen.map(Number::get), merged.buffer), (Some(100), Some(Size(2 << 20))));
        assert!(merged.no_promiscuous);
        let verbosity = typed.over(Verbosity { quiet: true, verbose: 2 }).unwrap();
        assert!(verbosity.quiet && verbosity.verbose == 2);
    }

    #[test]
    fn a_key_is_never_shown() {
        let request = Request::parse(["mailtap", "analyze", "--identity-key", "hunter2", "f"]).unwrap();
        let text = format!("{request:?}");
        assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
    }
}

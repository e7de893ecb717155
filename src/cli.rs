//! What the user may type. Nothing is decided here: [`config`](crate::config) makes it ready.

use std::fmt;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};

use crate::engine::event::Protocol;
use crate::output::{Detail, FailedIdentity, IdentityPolicy, RecordKind};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Watches SMTP, LMTP, POP3 and IMAP, and tells what happened: a record for every session, message, command,
/// authentication and anomaly.
#[derive(Debug, Parser)]
#[command(name = "mailtap", version, styles = STYLES, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Start with:\n  mailtap analyze capture.pcap")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub mode: Mode,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Analyze captures: a summary for people, a log for programs
    Analyze(Box<Analyze>),
    /// Print the log's JSON Schema
    Schema,
}

const ANALYZE_HELP: &str = "\
Examples:
  mailtap analyze mail.pcap                         a summary on the terminal
  mailtap analyze mail.pcapng.gz --log mail.jsonl   the summary, and every record in a file
  mailtap analyze day.pcap.0 day.pcap.1 day.pcap.2  rotated files as one capture
  zcat mail.pcap.gz | mailtap analyze - --log - --quiet | jq 'select(.record == \"transaction\")'
  mailtap analyze mail.pcap --records transaction,auth --detail envelope --log -

Exit status:
  0  done; a capture that is cut at its end is read up to the cut, with a warning
  1  an input could not be read, or an output not written; a line on standard error says which, where and why
  2  wrong usage";

/// Flags and files of `mailtap analyze`.
#[derive(Debug, Default, Args)]
#[command(after_help = ANALYZE_HELP)]
pub struct Analyze {
    /// Captures: pcap or pcapng, also inside gzip or zstd; `-` is standard input
    ///
    /// Several files are one capture in the order given: connections go on from one file to the next.
    /// Formats are told by content, names do not matter.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// Append the records to PATH, one JSON object a line; `-` is standard output
    ///
    /// The summary then goes to standard output, or to standard error with `--log -`.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,

    /// Read flags from a TOML file; a flag on the command line wins
    ///
    /// The keys are the long flags without dashes in front: `log = "mail.jsonl"`, `threads = 4`.
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Record types to write: session, transaction, command, auth, anomaly [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = word(RecordKind::ALL, RecordKind::as_str), help_heading = "Records", hide_possible_values = true)]
    pub records: Option<Vec<RecordKind>>,

    /// How much of a message's header to write [default: headers]
    ///
    /// `envelope` leaves out subject, from, to, cc, reply_to and names of attachments.
    #[arg(long, value_name = "WHAT", value_parser = word(Detail::ALL, Detail::as_str), help_heading = "Records")]
    pub detail: Option<Detail>,

    /// How to write who authenticated [default: full]
    ///
    /// `hmac` is HMAC-SHA-256 under --identity-key: equal identities stay equal, and nobody can read them.
    #[arg(long, value_name = "HOW", value_parser = word(IdentityPolicy::ALL, IdentityPolicy::as_str), help_heading = "Records")]
    pub identity: Option<IdentityPolicy>,

    /// How to write the identity of a failed attempt, which may be a mistyped password [default: hmac]
    ///
    /// With `hmac` it is left out unless there is an --identity-key.
    #[arg(long, value_name = "HOW", value_parser = word(FailedIdentity::ALL, FailedIdentity::as_str), help_heading = "Records")]
    pub identity_failed: Option<FailedIdentity>,

    /// Key of `hmac`, or @FILE to read it from a file
    ///
    /// Others on this machine can see a key on the command line: prefer a file.
    #[arg(long, value_name = "KEY|@FILE", help_heading = "Records")]
    pub identity_key: Option<Secret>,

    /// Hash each message with SHA-256, or do not [default: message]
    #[arg(long, value_name = "WHAT", value_parser = word(Hash::ALL, Hash::as_str), help_heading = "Records")]
    pub hash: Option<Hash>,

    /// What to expect on server ports, such as `2525=smtp,10143=imap`
    ///
    /// Only a first guess: what is spoken on a connection decides.
    #[arg(long, value_name = "PORT=PROTOCOL,...", value_delimiter = ',', help_heading = "Analysis")]
    pub port_map: Option<Vec<PortMapping>>,

    /// Threads that analyze; more than 16 are of no use [default: one per core]
    ///
    /// The log is the same, octet for octet, for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Analysis")]
    pub threads: Option<u16>,

    /// Connections followed at the same time; beyond it the least recently active are closed [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..), help_heading = "Analysis")]
    pub max_flows: Option<u32>,

    /// Octets of packets out of order that are held, all connections together [default: 64MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Analysis")]
    pub max_buffer: Option<Size>,

    /// No summary and no progress bar; warnings and errors still go to standard error
    #[arg(short, long)]
    pub quiet: bool,

    /// Say more about the run itself on standard error; twice for still more. MAILTAP_LOG filters it
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// Whether messages are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// They are not.
    None,
    /// With SHA-256.
    Message,
}

impl Hash {
    /// Both.
    pub const ALL: &'static [Self] = &[Self::None, Self::Message];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Message => "message",
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What to expect on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The server's port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

impl std::str::FromStr for PortMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (port, name) = text.split_once('=').ok_or("expected PORT=PROTOCOL, such as 2525=smtp")?;
        let port = port.parse().ok().filter(|p| *p > 0).ok_or("the port is a number from 1 to 65535")?;
        let mut known = Protocol::ALL.iter().filter(|p| **p != Protocol::Unknown);
        let protocol = known.find(|p| p.as_str() == name);
        let protocol = protocol.copied().ok_or("the protocol is one of smtp, lmtp, pop3, imap, managesieve")?;
        Ok(Self { port, protocol })
    }
}

/// A number of octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str = "expected a number with an optional unit: B, kB, MB, GB, KiB, MiB, GiB";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits).ok_or(WRONG)?;
        let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => return Err(WRONG.into()),
        };
        let octets = number.parse::<u64>().map_err(|_| WRONG)?.checked_mul(unit);
        octets.filter(|o| *o > 0).map(Self).ok_or_else(|| "expected more than nothing, and less than 16 EiB".into())
    }
}

/// Parses the word of a closed list.
fn word<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let words = PossibleValuesParser::new(all.iter().map(move |v| name(*v)));
    words.try_map(move |w| all.iter().copied().find(|v| name(*v) == w).ok_or("is no such word"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        for (text, octets) in [("1", 1), ("10kB", 10_000), ("64MiB", 64 << 20), ("2 GiB", 2 << 30), ("3m", 3 << 20)] {
            assert_eq!(text.parse(), Ok(Size(octets)), "{text}");
        }
        for text in ["", "0", "MiB", "-1", "1.5GB", "9parsecs", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn port_mappings_name_a_protocol() {
        assert_eq!("2525=smtp".parse(), Ok(PortMapping { port: 2525, protocol: Protocol::Smtp }));
        for text in ["2525", "0=smtp", "70000=smtp", "25=unknown", "25=SMTP"] {
            assert!(text.parse::<PortMapping>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let cli = Cli::try_parse_from(["mailtap", "analyze", "--identity-key", "hunter2", "f"]).unwrap();
        let text = format!("{cli:?}");
        assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
    }
}

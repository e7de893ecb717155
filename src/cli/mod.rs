//! What the user may type. Nothing is decided here: [`config`](crate::config) makes it ready.

mod analyze;
mod proxy;
mod records;
mod running;
mod sniff;

use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};

use crate::event::Protocol;

pub use analyze::Analyze;
pub use proxy::Proxy;
pub use records::Records;
pub use running::{Place, Running};
pub use sniff::Sniff;

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
    /// Watch network interfaces: live capture through libpcap
    Sniff(Box<Sniff>),
    /// Stand in front of a mail server and watch: an inline, transparent proxy
    Proxy(Box<Proxy>),
    /// Print the log's JSON Schema
    Schema,
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

/// A time that may be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(pub Option<Duration>);

impl std::str::FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str = "expected a number with a unit: ms, s, m, h, d; or `off`";
        if text == "off" {
            return Ok(Self(None));
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits).ok_or(WRONG)?;
        let unit: u64 = match unit.trim_start() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(WRONG.into()),
        };
        let millis = number.parse::<u64>().map_err(|_| WRONG)?.checked_mul(unit);
        let millis = millis.filter(|m| (1..=365 * 86_400_000).contains(m));
        millis.map(|m| Self(Some(Duration::from_millis(m)))).ok_or_else(|| "expected from 1ms to 365d, or `off`".into())
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

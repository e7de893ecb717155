//! What a mode that stays running may be told beside its input: flags of `sniff` and `proxy`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

use super::Size;
use crate::secret::Secret;

/// Flags of a running mode.
#[derive(Debug, Default, Args)]
pub struct Running {
    /// Read flags from a TOML file; a flag on the command line wins
    ///
    /// The keys are the long flags without dashes in front. SIGHUP reads it again.
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Begin a new log file when the next record would exceed SIZE; the old one becomes PATH.N
    #[arg(long, value_name = "SIZE", help_heading = "Records")]
    pub log_rotate: Option<Size>,

    /// Serve /metrics, /healthz, /readyz and a live page; a port alone means 127.0.0.1
    #[arg(long, value_name = "ADDR", help_heading = "Metrics")]
    pub metrics_listen: Option<Place>,

    /// Ask for `Authorization: Bearer TOKEN`, or @FILE to read it from a file
    #[arg(long, value_name = "TOKEN|@FILE", help_heading = "Metrics")]
    pub metrics_token: Option<Secret>,

    /// Serve them over TLS: PEM file with the certificate chain
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "metrics_key", help_heading = "Metrics")]
    pub metrics_cert: Option<PathBuf>,

    /// PEM file with its private key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "metrics_cert", help_heading = "Metrics")]
    pub metrics_key: Option<PathBuf>,

    /// Name reply texts by regular expression: a TOML file with `name = "regex"` lines, at most 50
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath, help_heading = "Metrics")]
    pub reply_reasons: Option<PathBuf>,

    /// Run as USER once everything is open; needs root to begin with
    #[arg(long, value_name = "USER", help_heading = "Privileges")]
    pub user: Option<String>,

    /// Do not confine the process with Landlock, which by default is used where the kernel has it
    #[arg(long, help_heading = "Privileges")]
    pub no_sandbox: bool,

    /// No messages but warnings and errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Say more about the run itself on standard error; twice for still more. MAILTAP_LOG filters it
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// An address to listen on: `ADDR:PORT`, or a port alone for loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub SocketAddr);

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>().ok();
        let place = port.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).or_else(|| text.parse().ok());
        place.map(Self).ok_or_else(|| "expected ADDR:PORT, [ADDR]:PORT for IPv6, or a port".into())
    }
}

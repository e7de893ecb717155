//! What a mode that stays running may be told beside its input: flags of `sniff` and `proxy`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Deserialize;

use super::file::{list, parsed, secret};
use super::{HostName, LocalAddress, Number, Size};
use crate::secret::Secret;

/// Where the flags of a running mode come from, beside the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigFile {
    /// Read flags from a TOML file; a flag on the command line wins
    ///
    /// The keys are the long flags without dashes in front. SIGHUP reads it again.
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Check the flags, --config and the files that they name, and end: 0 if all is well, 1 if not
    ///
    /// Nothing is opened, bound or written: it may be run beside a running mailtap, before a reload.
    #[arg(long)]
    pub check: bool,
}

/// Flags of a running mode.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RunningFlags {
    /// Begin a new log file when the next record would exceed SIZE; the old one becomes PATH.N, and the highest N is the newest
    #[arg(long, value_name = "SIZE", help_heading = "Records")]
    #[serde(deserialize_with = "parsed")]
    pub log_rotate: Option<Size>,

    /// Log files to keep under --log-rotate, the one being written included; those with the lowest numbers go [default: all]
    #[arg(long, value_name = "N", help_heading = "Records")]
    #[serde(deserialize_with = "parsed")]
    pub log_files: Option<Number<1>>,

    /// Serve /metrics, /healthz, /readyz and a live page; a port alone means 127.0.0.1
    #[arg(long, value_name = "ADDR", help_heading = "Metrics")]
    #[serde(deserialize_with = "parsed")]
    pub metrics_listen: Option<LocalAddress>,

    /// Ask for `Authorization: Bearer TOKEN`, or @FILE to read it from a file
    #[arg(long, value_name = "TOKEN|@FILE", help_heading = "Metrics")]
    #[serde(deserialize_with = "secret")]
    pub metrics_token: Option<Secret>,

    /// Serve them over TLS: PEM file with the certificate chain
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Metrics")]
    pub metrics_cert: Option<PathBuf>,

    /// PEM file with its private key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Metrics")]
    pub metrics_key: Option<PathBuf>,

    /// Serve the page under these host names too, such as that of a reverse proxy; comma-separated
    ///
    /// Without it the page takes requests for IP addresses, localhost and the name of this host: a web site that gives its own
    /// name to this address (DNS rebinding) reads nothing. A listener at a loopback address takes no request for another
    /// host, be it for metrics.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Metrics")]
    #[serde(deserialize_with = "list")]
    pub metrics_host: Option<Vec<HostName>>,

    /// Write top lists to PATH once a minute: client networks, servers, recipient domains
    ///
    /// JSON, as docs/top-lists.md says. The page has them too.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Metrics")]
    pub top_file: Option<PathBuf>,

    /// Have top lists of who authenticated as well; with `--identity full` only
    ///
    /// The page shows them only with a --metrics-token.
    #[arg(long, help_heading = "Metrics")]
    pub top_users: bool,

    /// Name reply texts by regular expression: a TOML file with `name = "regex"` lines, at most 50
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath, help_heading = "Metrics")]
    pub reply_reasons: Option<PathBuf>,

    /// Run as USER once everything is open; needs root to begin with
    #[arg(long, value_name = "USER", help_heading = "Privileges")]
    pub user: Option<String>,

    /// Do not confine the process with Landlock, which by default is used where the kernel has it
    #[arg(long, help_heading = "Privileges")]
    pub no_sandbox: bool,
}

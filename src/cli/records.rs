//! What the log holds: flags of every mode that writes one.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Deserialize;

use super::file::{list, parsed, secret};
use super::{FileMode, Hash, PortMapping, word};
use crate::output::{Detail, FailedIdentity, IdentityPolicy, RecordKind};
use crate::secret::Secret;

/// Flags of the log.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LogFlags {
    /// Append the records to PATH, one JSON object a line; `-` is standard output
    ///
    /// PATH may be a pipe or a socket too; a file that holds something else than records is never appended to.
    /// `analyze` then prints its summary to standard output, or to standard error with `--log -`.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,

    /// Permissions of log files that are made, as for chmod [default: 0640, less the umask]
    #[arg(long, value_name = "MODE", help_heading = "Records")]
    #[serde(deserialize_with = "parsed")]
    pub log_mode: Option<FileMode>,

    /// Record types to write: session, transaction, command, auth, anomaly [default: all for analyze, all but command for sniff and proxy]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = word::<RecordKind>(), help_heading = "Records", hide_possible_values = true)]
    #[serde(deserialize_with = "list")]
    pub records: Option<Vec<RecordKind>>,

    /// How much of a message's header to write [default: headers for analyze, envelope for sniff and proxy]
    ///
    /// `envelope` leaves out subject, from, to, cc, reply_to and names of attachments.
    #[arg(long, value_name = "WHAT", value_parser = word::<Detail>(), help_heading = "Records")]
    #[serde(deserialize_with = "parsed")]
    pub detail: Option<Detail>,

    /// How to write who authenticated [default: full]
    ///
    /// `hmac` is HMAC-SHA-256 under --identity-key: equal identities stay equal, and nobody can read them.
    #[arg(long, value_name = "HOW", value_parser = word::<IdentityPolicy>(), help_heading = "Records")]
    #[serde(deserialize_with = "parsed")]
    pub identity: Option<IdentityPolicy>,

    /// How to write the identity of a failed attempt, which may be a mistyped password [default: hmac]
    ///
    /// With `hmac` it is left out unless there is an --identity-key.
    #[arg(long, value_name = "HOW", value_parser = word::<FailedIdentity>(), help_heading = "Records")]
    #[serde(deserialize_with = "parsed")]
    pub identity_failed: Option<FailedIdentity>,

    /// Key of `hmac`, or @FILE to read it from a file
    ///
    /// Others on this machine can see a key on the command line: prefer a file.
    #[arg(long, value_name = "KEY|@FILE", help_heading = "Records")]
    #[serde(deserialize_with = "secret")]
    pub identity_key: Option<Secret>,

    /// Hash each message with SHA-256, or do not [default: message]
    #[arg(long, value_name = "WHAT", value_parser = word::<Hash>(), help_heading = "Records")]
    #[serde(deserialize_with = "parsed")]
    pub hash: Option<Hash>,

    /// What to expect on server ports, such as `2525=smtp,10143=imap`
    ///
    /// Only a first guess: what is spoken on a connection decides.
    #[arg(long, value_name = "PORT=PROTOCOL,...", value_delimiter = ',', help_heading = "Records")]
    #[serde(deserialize_with = "list")]
    pub port_map: Option<Vec<PortMapping>>,
}

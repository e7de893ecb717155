//! What the user typed, made ready: flags over the configuration file over the defaults.
//!
//! Each mode has a file; what they share is here. Settings are types of the part that they configure. Nothing is read
//! but the files that flags name. A value of a secret is in no error.

mod analyze;
mod diagnostics;
mod layers;
mod outputs;
mod proxy;
mod restart;
mod running;
mod sniff;
mod terminate;

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::{self, Hash, PortMapping, Size};
use crate::console::plain;
use crate::engine::Limits;
use crate::error::Error;
use crate::output::{Detail, FailedIdentity, IdentityPolicy, InputKind, Policy, RecordSet};
use crate::pipeline::SHARDS;
use crate::pipeline::flow::FlowLimits;
use crate::secret::Secret;

pub use analyze::{Analyze, analyze};
pub use diagnostics::{VARIABLE, diagnostics};
pub use proxy::{Proxy, proxy};
pub use running::Running;
pub use sniff::{Sniff, sniff};

/// Connections followed at the same time.
const FLOWS: u32 = 1 << 16;

/// Bytes of packets out of order, all connections together.
const BUFFER: Size = Size(64 << 20);

/// How files of keys are read.
type ReadKeys<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// What a mode takes if it is not told otherwise.
struct Defaults {
    input: InputKind,
    records: RecordSet,
    detail: Detail,
}

/// Permissions of the log's files, if they were given.
fn log_mode(flags: &cli::LogFlags) -> Option<u32> {
    flags.log_mode.map(|mode| mode.0)
}

/// Where the log goes, what it shows, and the caps of a session. The sources are the caller's to name.
fn records(
    flags: cli::LogFlags,
    defaults: &Defaults,
    read: ReadKeys<'_>,
) -> Result<(Option<PathBuf>, Policy, Limits), Error> {
    let cli::LogFlags { log, log_mode: _, records, detail, identity, identity_failed, identity_key, hash, port_map } =
        flags;
    let identity = identity.unwrap_or(IdentityPolicy::Full);
    let key = identity_key.map(|given| key(&given, "identity key", "--identity-key", read)).transpose()?;
    if key.is_none() {
        needs_key(identity, identity_failed)?;
    }
    let policy = Policy {
        records: records.map_or(defaults.records, |kinds| kinds.into_iter().fold(RecordSet::NONE, RecordSet::with)),
        detail: detail.unwrap_or(defaults.detail),
        identity,
        identity_failed: identity_failed.unwrap_or(FailedIdentity::Hmac),
        key,
        input: defaults.input,
        health_checks: false,
        sources: Vec::new(),
    };
    let ports = port_map.unwrap_or_default().into_iter();
    let limits = Limits {
        hash: hash.unwrap_or(Hash::Message) == Hash::Message,
        ports: ports.map(|PortMapping { port, protocol }| (port, protocol)).collect(),
        ..Limits::default()
    };
    Ok((log, policy, limits))
}

/// Threads, and the caps of one shard: its part of the budget.
fn analysis(flags: &cli::Analysis, cores: usize) -> (usize, FlowLimits) {
    let part = |all: u64| usize::try_from(all / SHARDS as u64).unwrap_or(usize::MAX).max(1);
    let flows = part(flags.max_flows.map_or(FLOWS, cli::Number::get).into());
    let buffered = part(flags.max_buffer.unwrap_or(BUFFER).0);
    let threads = flags.threads.map_or(cores, |threads| threads.get() as usize).max(1);
    (threads, FlowLimits { flows, buffered, ..FlowLimits::default() })
}

fn needs_key(identity: IdentityPolicy, failed: Option<FailedIdentity>) -> Result<(), Error> {
    let flag = match (identity, failed) {
        (IdentityPolicy::Hmac, _) => "--identity hmac",
        (IdentityPolicy::Full, Some(FailedIdentity::Hmac)) => "--identity-failed hmac",
        _ => return Ok(()),
    };
    Err(Error::Usage(format!(
        "{flag} needs a key; make one with `head -c 32 /dev/urandom >mailtap.key`, give --identity-key @mailtap.key, and keep it: records are comparable under one key only"
    )))
}

fn key(given: &Secret, what: &str, flag: &str, read: ReadKeys<'_>) -> Result<Vec<u8>, Error> {
    let key = match given.reveal().strip_prefix('@') {
        Some(name) => {
            let path = PathBuf::from(name);
            let mut bytes = read(&path).map_err(|reason| {
                let (path, reason) = (path.display(), plain(&reason));
                Error::Usage(format!("{path}: the {what} cannot be read: {reason}; check {flag}"))
            })?;
            // What an editor leaves at the end is no part of the key.
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
            }
            bytes
        }
        None => given.reveal().as_bytes().to_vec(),
    };
    if key.is_empty() {
        return Err(Error::Usage(format!(
            "the {what} is empty; make one with `head -c 32 /dev/urandom >FILE` and give {flag} @FILE"
        )));
    }
    Ok(key)
}

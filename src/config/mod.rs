//! What the user typed, made ready: flags over the configuration file over the defaults.
//!
//! Each mode has a room; what they share is here. Nothing is read but the files that flags name. A value of a secret
//! stands in no error.

mod analyze;
pub mod proxy;
mod running;
mod settings;
pub mod sniff;

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cli;
use crate::cli::{Hash, PortMapping, Size};
use crate::engine::Limits;
use crate::error::Error;
use crate::event::words;
use crate::output::{Detail, FailedIdentity, IdentityPolicy, InputKind, Policy, RecordKind, RecordSet};
use crate::pipeline::SHARDS;
use crate::pipeline::flow::FlowLimits;
use settings::Settings;

pub use crate::secret::Secret;
pub use analyze::{Analyze, analyze};
pub use proxy::{Proxy, proxy};
pub use running::{MetricsServer, Running};
pub use sniff::{Sniff, sniff};

/// Connections followed at the same time.
const FLOWS: u32 = 1 << 16;

/// Octets of packets out of order, all connections together.
const BUFFER: Size = Size(64 << 20);

/// What a mode takes if it is not told otherwise.
struct Defaults {
    input: InputKind,
    records: RecordSet,
    detail: Detail,
}

/// Where the log goes, what it shows, and the caps of a session. The sources are the caller's to name.
fn records(
    flags: cli::Records,
    settings: &mut Settings,
    defaults: &Defaults,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<(Option<PathBuf>, Policy, Limits), Error> {
    let cli::Records { log, records, detail, identity, identity_failed, identity_key, hash, port_map } = flags;
    let records = either(records, settings.records.take(), |list| {
        list.all(|w| word("records", w, RecordKind::ALL, RecordKind::as_str))
    })?;
    let detail = either(detail, settings.detail.take(), |w| word("detail", &w, Detail::ALL, Detail::as_str))?;
    let identity = either(identity, settings.identity.take(), |w| {
        word("identity", &w, IdentityPolicy::ALL, IdentityPolicy::as_str)
    })?;
    let identity = identity.unwrap_or(IdentityPolicy::Full);
    let failed = either(identity_failed, settings.identity_failed.take(), |w| {
        word("identity-failed", &w, FailedIdentity::ALL, FailedIdentity::as_str)
    })?;
    let key =
        identity_key.or_else(|| settings.identity_key.take()).map(|k| key(&k, "identity key", read)).transpose()?;
    if key.is_none() {
        needs_key(identity, failed)?;
    }
    let hash = either(hash, settings.hash.take(), |w| word("hash", &w, Hash::ALL, Hash::as_str))?;
    let ports = either(port_map, settings.port_map.take(), |list| list.all(|w| parsed("port-map", w)))?;
    let policy = Policy {
        records: records.map_or(defaults.records, |kinds| kinds.into_iter().fold(RecordSet::NONE, RecordSet::with)),
        detail: detail.unwrap_or(defaults.detail),
        identity,
        identity_failed: failed.unwrap_or(FailedIdentity::Hmac),
        key,
        input: defaults.input,
        sources: Vec::new(),
    };
    let limits = Limits {
        hash: hash.unwrap_or(Hash::Message) == Hash::Message,
        ports: ports.unwrap_or_default().into_iter().map(|PortMapping { port, protocol }| (port, protocol)).collect(),
        ..Limits::default()
    };
    Ok((log.or_else(|| settings.log.take()), policy, limits))
}

/// The caps of one shard: its part of the budget.
fn flows(flows: Option<u32>, buffer: Option<Size>, settings: &mut Settings) -> Result<FlowLimits, Error> {
    let buffer = either(buffer, settings.max_buffer.take(), |n| n.size("max-buffer"))?.unwrap_or(BUFFER);
    let part = |all: u64| usize::try_from(all / SHARDS as u64).unwrap_or(usize::MAX).max(1);
    let flows = flows.or(settings.max_flows).unwrap_or(FLOWS);
    Ok(FlowLimits { flows: part(flows.into()), buffered: part(buffer.0), ..FlowLimits::default() })
}

/// The flag if there is one, else the setting, parsed.
fn either<T, S>(
    flag: Option<T>,
    setting: Option<S>,
    parse: impl FnOnce(S) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    match flag {
        Some(flag) => Ok(Some(flag)),
        None => setting.map(parse).transpose(),
    }
}

fn word<T: Copy>(key: &str, word: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, Error> {
    let found = all.iter().copied().find(|v| name(*v) == word);
    found.ok_or_else(|| {
        let known = all.iter().map(|v| name(*v)).collect::<Vec<_>>().join(", ");
        Error::Usage(format!(
            "{key} in the configuration file: `{}` is no such word; it is one of {known}",
            word.escape_default()
        ))
    })
}

fn parsed<T: FromStr<Err = String>>(key: &str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|why| Error::Usage(format!("{key} in the configuration file: `{}`: {why}", text.escape_default())))
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

fn key(given: &Secret, what: &str, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Vec<u8>, Error> {
    let key = match given.reveal().strip_prefix('@') {
        Some(name) => {
            let path = PathBuf::from(name);
            let mut octets = read(&path).map_err(|reason| Error::KeyFile { path, reason })?;
            // What an editor leaves at the end is no part of the key.
            if octets.last() == Some(&b'\n') {
                octets.pop();
                if octets.last() == Some(&b'\r') {
                    octets.pop();
                }
            }
            octets
        }
        None => given.reveal().as_bytes().to_vec(),
    };
    if key.is_empty() {
        return Err(Error::Usage(format!("the {what} is empty; make one with `head -c 32 /dev/urandom >FILE`")));
    }
    Ok(key)
}

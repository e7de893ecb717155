//! The configuration file as it is written: TOML whose keys are the long flags.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::parsed;
use crate::cli::Size;
use crate::error::Error;
use crate::secret::Secret;

/// Declares the file and, with the fields behind the semicolon, what each of its `[[listener]]` tables may say.
macro_rules! settings {
    ($($(#[$attribute:meta])* $field:ident: $type:ty,)*; $($gate:ident: $gate_type:ty,)*) => {
        /// The configuration file. A missing key leaves the decision to the flag or the default.
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub(super) struct Settings {
            $($(#[$attribute])* pub(super) $field: $type,)*
            $(pub(super) $gate: Option<$gate_type>,)*
            /// Listeners with settings of their own.
            pub(super) listener: Vec<Gate>,
        }

        /// A `[[listener]]` table. What it does not say, the keys above the tables say for all.
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub(super) struct Gate {
            pub(super) name: Option<String>,
            $(pub(super) $gate: Option<$gate_type>,)*
        }

        impl Settings {
            /// The keys that stand for all listeners.
            pub(super) fn gate(&mut self) -> Gate {
                Gate { name: None, $($gate: self.$gate.take(),)* }
            }
        }

        impl Gate {
            /// What it says, and for the rest what `other` says.
            pub(super) fn or(self, other: &Self) -> Self {
                Self { name: self.name, $($gate: self.$gate.or_else(|| other.$gate.clone()),)* }
            }
        }
    };
}

settings! {
    log: Option<PathBuf>,
    records: Option<List>,
    detail: Option<String>,
    identity: Option<String>,
    identity_failed: Option<String>,
    #[serde(deserialize_with = "secret")]
    identity_key: Option<Secret>,
    hash: Option<String>,
    port_map: Option<List>,
    threads: Option<u16>,
    max_flows: Option<u32>,
    max_buffer: Option<Number>,
    interface: Option<List>,
    filter: Option<String>,
    snaplen: Option<u32>,
    buffer: Option<Number>,
    gather: Option<String>,
    no_promiscuous: bool,
    write: Option<PathBuf>,
    write_size: Option<Number>,
    write_time: Option<String>,
    write_files: Option<u32>,
    log_rotate: Option<Number>,
    metrics_listen: Option<String>,
    #[serde(deserialize_with = "secret")]
    metrics_token: Option<Secret>,
    metrics_cert: Option<PathBuf>,
    metrics_key: Option<PathBuf>,
    metrics_file: Option<PathBuf>,
    reply_reasons: Option<PathBuf>,
    user: Option<String>,
    no_sandbox: bool,
    drain_timeout: Option<String>,
    on_fault: Option<String>,
    splice: Option<String>,
    handover: Option<PathBuf>,
    quiet: bool,
    verbose: u8,
    ;
    listen: List,
    upstream: List,
    transparent: String,
    spoof_source: bool,
    mark: u32,
    protocol: String,
    proxy_from: List,
    proxy_to: String,
    tls: String,
    tls_cert: List,
    tls_key: List,
    upstream_tls: String,
    upstream_ca: PathBuf,
    upstream_name: String,
    max_connections: u32,
    max_per_source: u32,
    max_per_prefix: u32,
    max_rate: u32,
    on_limit: String,
    refuse: String,
    connect_timeout: String,
    greeting_timeout: String,
    idle_timeout: String,
    half_close_timeout: String,
}

/// Which mode a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Analyze,
    Sniff,
    Proxy,
}

/// Keys of every mode.
const SHARED: &[&str] = &[
    "log",
    "records",
    "detail",
    "identity",
    "identity-failed",
    "identity-key",
    "hash",
    "port-map",
    "threads",
    "quiet",
    "verbose",
];

/// Keys of the modes that stay running.
const RUNNING: &[&str] = &[
    "log-rotate",
    "metrics-listen",
    "metrics-token",
    "metrics-cert",
    "metrics-key",
    "reply-reasons",
    "user",
    "no-sandbox",
];

/// Keys of the modes that see packets.
const PACKETS: &[&str] = &["max-flows", "max-buffer"];

/// Keys of `mailtap sniff`.
const SNIFF: &[&str] = &[
    "interface",
    "filter",
    "snaplen",
    "buffer",
    "gather",
    "no-promiscuous",
    "write",
    "write-size",
    "write-time",
    "write-files",
];

impl For {
    /// Whether a key that exists means something to this mode.
    fn takes(self, key: &str) -> bool {
        let among = |lists: &[&[&str]]| lists.iter().any(|list| list.contains(&key));
        match self {
            Self::Analyze => among(&[SHARED, PACKETS]),
            Self::Sniff => among(&[SHARED, RUNNING, PACKETS, SNIFF]),
            Self::Proxy => !among(&[PACKETS, SNIFF]),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Analyze => "analyze",
            Self::Sniff => "sniff",
            Self::Proxy => "proxy",
        }
    }

    /// The first key that means nothing to this mode, and its line.
    fn foreign(self, text: &str) -> Option<(Option<usize>, String)> {
        let table: toml::Table = toml::from_str(text).ok()?;
        let key = table.keys().find(|key| !self.takes(key))?;
        let line = text.lines().position(|line| {
            let rest =
                line.trim_start().trim_start_matches('[').trim_start_matches(['"', '\'']).strip_prefix(key.as_str());
            rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(['=', ']']))
        });
        let reason = format!("`{}` means nothing to mailtap {}", key.escape_default(), self.as_str());
        Some((line.map(|line| line + 1), reason))
    }
}

/// A list, or text with commas.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a list of words in quotes, or one text with commas")]
pub(super) enum List {
    Words(Vec<String>),
    Text(String),
}

/// A number, or text with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number of octets, or a text such as \"64MiB\"")]
pub(super) enum Number {
    Octets(u64),
    Text(String),
}

/// The key as a text; whatever else stands there is not shown.
fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    match toml::Value::deserialize(from) {
        Ok(toml::Value::String(text)) => Ok(Some(text.into())),
        _ => Err(serde::de::Error::custom("expected the key, or \"@FILE\", as a text in quotes")),
    }
}

impl Settings {
    /// The file at `path`, or nothing.
    pub(super) fn of(path: Option<&Path>, mode: For) -> Result<Self, Error> {
        path.map_or_else(|| Ok(Self::default()), |path| Self::read(path, mode))
    }

    fn read(path: &Path, mode: For) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|reason| Error::ConfigFile { path: path.to_owned(), reason })?;
        Self::parse(&text, mode).map_err(|(line, reason)| Error::ConfigText { path: path.to_owned(), line, reason })
    }

    pub(super) fn parse(text: &str, mode: For) -> Result<Self, (Option<usize>, String)> {
        let settings = toml::from_str(text).map_err(|e| {
            let before = e.span().and_then(|s| text.as_bytes().get(..s.start));
            let line = before.map(|b| 1 + b.iter().filter(|o| **o == b'\n').count());
            (line, e.message().lines().collect::<Vec<_>>().join(", "))
        })?;
        mode.foreign(text).map_or(Ok(settings), Err)
    }
}

impl List {
    /// Every word, parsed.
    pub(super) fn all<T>(self, parse: impl Fn(&str) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        match self {
            Self::Words(words) => words.iter().map(|w| parse(w.trim())).collect(),
            Self::Text(text) => text.split(',').map(|w| parse(w.trim())).collect(),
        }
    }
}

impl Number {
    pub(super) fn size(self, key: &str) -> Result<Size, Error> {
        match self {
            Self::Octets(octets) => parsed(key, &octets.to_string()),
            Self::Text(text) => parsed(key, &text),
        }
    }
}

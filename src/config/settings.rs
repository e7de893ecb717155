//! The configuration file as it is written: TOML whose keys are the long flags.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::parsed;
use crate::cli::{Secret, Size};
use crate::error::Error;

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
    log_rotate: Option<Number>,
    metrics_listen: Option<String>,
    #[serde(deserialize_with = "secret")]
    metrics_token: Option<Secret>,
    metrics_cert: Option<PathBuf>,
    metrics_key: Option<PathBuf>,
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
    pub(super) fn of(path: Option<&Path>) -> Result<Self, Error> {
        path.map_or_else(|| Ok(Self::default()), Self::read)
    }

    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|reason| Error::ConfigFile { path: path.to_owned(), reason })?;
        Self::parse(&text).map_err(|(line, reason)| Error::ConfigText { path: path.to_owned(), line, reason })
    }

    pub(super) fn parse(text: &str) -> Result<Self, (Option<usize>, String)> {
        toml::from_str(text).map_err(|e| {
            let before = e.span().and_then(|s| text.as_bytes().get(..s.start));
            let line = before.map(|b| 1 + b.iter().filter(|o| **o == b'\n').count());
            (line, e.message().lines().collect::<Vec<_>>().join(", "))
        })
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

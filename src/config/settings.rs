//! The configuration file as it is written: TOML whose keys are the long flags.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::parsed;
use crate::cli::{Secret, Size};
use crate::error::Error;

/// The configuration file. A missing key leaves the decision to the flag or the default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Settings {
    pub(super) log: Option<PathBuf>,
    pub(super) records: Option<List>,
    pub(super) detail: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) identity_failed: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) identity_key: Option<Secret>,
    pub(super) hash: Option<String>,
    pub(super) port_map: Option<List>,
    pub(super) threads: Option<u16>,
    pub(super) max_flows: Option<u32>,
    pub(super) max_buffer: Option<Number>,
    pub(super) log_rotate: Option<Number>,
    pub(super) metrics_listen: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) metrics_token: Option<Secret>,
    pub(super) metrics_cert: Option<PathBuf>,
    pub(super) metrics_key: Option<PathBuf>,
    pub(super) reply_reasons: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) no_sandbox: bool,
    pub(super) drain_timeout: Option<String>,
    pub(super) quiet: bool,
    pub(super) verbose: u8,
}

/// A list, or text with commas.
#[derive(Debug, Deserialize)]
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

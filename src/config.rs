//! What the user typed, made ready: flags over the configuration file over the defaults.
//!
//! [`analyze`] decides and reads nothing but the files that flags name. A value of a secret stands in no error.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::cli::{self, Hash, PortMapping, Secret, Size};
use crate::engine::Limits;
use crate::error::Error;
use crate::input::shard::SHARDS;
use crate::output::{Detail, FailedIdentity, IdentityPolicy, InputKind, Policy, RecordKind, RecordSet};
use crate::wire::FlowLimits;

/// Connections followed at the same time.
const FLOWS: u32 = 1 << 16;

/// Octets of packets out of order, all connections together.
const BUFFER: Size = Size(64 << 20);

/// A run of `mailtap analyze`, ready.
#[derive(Clone, Debug)]
pub struct Analyze {
    /// The captures, in order.
    pub files: Vec<PathBuf>,
    /// Where the log goes; `-` is standard output.
    pub log: Option<PathBuf>,
    /// What the log shows.
    pub policy: Policy,
    /// Caps of a session.
    pub limits: Limits,
    /// Caps of flow tracking, of one shard.
    pub flows: FlowLimits,
    /// Threads that analyze.
    pub threads: usize,
    /// No summary, no progress bar.
    pub quiet: bool,
    /// 0, 1, 2: how much to say about the run itself.
    pub verbose: u8,
}

/// The configuration file. A missing key leaves the decision to the flag or the default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Settings {
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
    quiet: bool,
    verbose: u8,
}

/// A list, or text with commas.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a list of words in quotes, or one text with commas")]
enum List {
    Words(Vec<String>),
    Text(String),
}

/// A number, or text with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number of octets, or a text such as \"64MiB\"")]
enum Number {
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

/// Makes `flags` ready; `cores`: the default for the threads.
pub fn analyze(flags: cli::Analyze, cores: usize) -> Result<Analyze, Error> {
    let settings = match &flags.config {
        Some(path) => Settings::read(path)?,
        None => Settings::default(),
    };
    let ready = ready(flags, settings, cores, &|path| std::fs::read(path))?;
    unequal(&ready)?;
    Ok(ready)
}

fn ready(
    flags: cli::Analyze,
    settings: Settings,
    cores: usize,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Analyze, Error> {
    let cli::Analyze {
        files,
        log,
        records,
        detail,
        identity,
        identity_failed,
        identity_key,
        hash,
        port_map,
        threads,
        max_flows,
        max_buffer,
        quiet,
        verbose,
        config: _,
    } = flags;
    if files.iter().filter(|f| f.as_os_str() == "-").count() > 1 {
        return Err(Error::Usage("standard input can be read once only; name `-` one time".into()));
    }
    let records = either(records, settings.records, |list| {
        list.all(|w| word("records", w, RecordKind::ALL, RecordKind::as_str))
    })?;
    let detail = either(detail, settings.detail, |w| word("detail", &w, Detail::ALL, Detail::as_str))?;
    let identity =
        either(identity, settings.identity, |w| word("identity", &w, IdentityPolicy::ALL, IdentityPolicy::as_str))?;
    let identity = identity.unwrap_or(IdentityPolicy::Full);
    let failed = either(identity_failed, settings.identity_failed, |w| {
        word("identity-failed", &w, FailedIdentity::ALL, FailedIdentity::as_str)
    })?;
    let key = identity_key.or(settings.identity_key).map(|k| key(&k, read)).transpose()?;
    if key.is_none() {
        needs_key(identity, failed)?;
    }
    let hash = either(hash, settings.hash, |w| word("hash", &w, Hash::ALL, Hash::as_str))?.unwrap_or(Hash::Message);
    let ports = either(port_map, settings.port_map, |list| list.all(|w| parsed("port-map", w)))?.unwrap_or_default();
    let buffer = either(max_buffer, settings.max_buffer, |n| n.size("max-buffer"))?.unwrap_or(BUFFER);
    let policy = Policy {
        records: records.map_or(RecordSet::ALL, |kinds| kinds.into_iter().fold(RecordSet::NONE, RecordSet::with)),
        detail: detail.unwrap_or(Detail::Headers),
        identity,
        identity_failed: failed.unwrap_or(FailedIdentity::Hmac),
        key,
        input: InputKind::File,
        sources: files.iter().map(|f| f.display().to_string()).collect(),
    };
    let limits = Limits {
        hash: hash == Hash::Message,
        ports: ports.into_iter().map(|PortMapping { port, protocol }| (port, protocol)).collect(),
        ..Limits::default()
    };
    Ok(Analyze {
        log: log.or(settings.log),
        policy,
        limits,
        flows: share(max_flows.or(settings.max_flows).unwrap_or(FLOWS), buffer),
        threads: threads.or(settings.threads).map_or(cores, usize::from).max(1),
        quiet: quiet || settings.quiet,
        verbose: verbose.max(settings.verbose),
        files,
    })
}

/// The part of the budget that one shard has.
fn share(flows: u32, Size(buffer): Size) -> FlowLimits {
    let part = |all: u64| usize::try_from(all / SHARDS as u64).unwrap_or(usize::MAX).max(1);
    FlowLimits { flows: part(flows.into()), buffered: part(buffer), ..FlowLimits::default() }
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

fn key(given: &Secret, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Vec<u8>, Error> {
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
        return Err(Error::Usage(
            "the identity key is empty; make one with `head -c 32 /dev/urandom >mailtap.key`".into(),
        ));
    }
    Ok(key)
}

/// Refuses a log that would be appended to one of the captures.
fn unequal(ready: &Analyze) -> Result<(), Error> {
    let same = |log: &Path, file: &Path| matches!((log.canonicalize(), file.canonicalize()), (Ok(a), Ok(b)) if a == b && a.is_file());
    match &ready.log {
        Some(log) if log.as_os_str() != "-" && ready.files.iter().any(|f| same(log, f)) => Err(Error::Usage(format!(
            "{}: is a capture to read and the log to write; choose another --log",
            log.display()
        ))),
        _ => Ok(()),
    }
}

impl Settings {
    fn read(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|reason| Error::ConfigFile { path: path.to_owned(), reason })?;
        Self::parse(&text).map_err(|(line, reason)| Error::ConfigText { path: path.to_owned(), line, reason })
    }

    fn parse(text: &str) -> Result<Self, (Option<usize>, String)> {
        toml::from_str(text).map_err(|e| {
            let before = e.span().and_then(|s| text.as_bytes().get(..s.start));
            let line = before.map(|b| 1 + b.iter().filter(|o| **o == b'\n').count());
            (line, e.message().lines().collect::<Vec<_>>().join(", "))
        })
    }
}

impl List {
    fn all<T>(self, parse: impl Fn(&str) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        match self {
            Self::Words(words) => words.iter().map(|w| parse(w.trim())).collect(),
            Self::Text(text) => text.split(',').map(|w| parse(w.trim())).collect(),
        }
    }
}

impl Number {
    fn size(self, key: &str) -> Result<Size, Error> {
        match self {
            Self::Octets(octets) => parsed(key, &octets.to_string()),
            Self::Text(text) => parsed(key, &text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Protocol;
    use clap::Parser as _;

    fn made(args: &[&str], file: &str) -> Result<Analyze, Error> {
        let args = ["mailtap", "analyze", "a.pcap"].iter().chain(args);
        let cli::Mode::Analyze(flags) = cli::Cli::try_parse_from(args).unwrap().mode else { panic!("another mode") };
        let settings = Settings::parse(file).map_err(|(line, reason)| Error::ConfigText {
            path: "c.toml".into(),
            line,
            reason,
        })?;
        ready(*flags, settings, 3, &|path| match path.to_str() {
            Some("key") => Ok(b"from a file\r\n".to_vec()),
            Some("empty") => Ok(b"\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn text(args: &[&str], file: &str) -> String {
        let error = made(args, file).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    }

    #[test]
    fn the_defaults() {
        let ready = made(&[], "").unwrap();
        assert_eq!((ready.threads, ready.quiet, ready.log, ready.limits.hash), (3, false, None, true));
        assert_eq!((ready.policy.records, ready.policy.detail), (RecordSet::ALL, Detail::Headers));
        assert_eq!((ready.policy.identity, ready.policy.identity_failed), (IdentityPolicy::Full, FailedIdentity::Hmac));
        assert_eq!((ready.policy.key, ready.policy.sources), (None, vec!["a.pcap".to_owned()]));
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let file = "log = 'file.jsonl'\nthreads = 7\nrecords = ['auth', 'session']\ndetail = 'envelope'\nhash = 'none'\nquiet = true\n\
                    identity = 'none'\nport-map = '2525=smtp, 1143=imap'\nmax-buffer = '1MiB'\nmax-flows = 1600\nverbose = 1\n";
        let ready = made(&[], file).unwrap();
        assert_eq!(
            (ready.threads, ready.quiet, ready.log, ready.limits.hash),
            (7, true, Some("file.jsonl".into()), false)
        );
        assert_eq!(ready.policy.records, RecordSet::NONE.with(RecordKind::Auth).with(RecordKind::Session));
        assert_eq!((ready.policy.detail, ready.policy.identity), (Detail::Envelope, IdentityPolicy::None));
        assert_eq!(ready.limits.ports, [(2525, Protocol::Smtp), (1143, Protocol::Imap)]);
        let args =
            "--log=- --threads=2 --records=command --detail=headers --hash=message --identity=full --port-map=1=pop3";
        let ready = made(&args.split(' ').collect::<Vec<_>>(), file).unwrap();
        assert_eq!((ready.threads, ready.log, ready.limits.hash), (2, Some("-".into()), true));
        assert_eq!(ready.policy.records, RecordSet::NONE.with(RecordKind::Command));
        assert_eq!((ready.policy.detail, ready.policy.identity), (Detail::Headers, IdentityPolicy::Full));
        assert_eq!(ready.limits.ports, [(1, Protocol::Pop3)]);
    }

    #[test]
    fn a_wrong_file_names_the_line() {
        let unknown = text(&[], "threads = 2\nthread = 3\n");
        assert!(
            unknown.starts_with("c.toml, line 2: unknown field `thread`, expected one of `log`, `records`"),
            "{unknown}"
        );
        assert!(text(&[], "\n\nthreads = 'two'").starts_with("c.toml, line 3: invalid type: string"));
        assert!(text(&[], "records = 3").starts_with("c.toml, line 1: expected a list of words"));
        assert!(text(&[], "detail = 'all'").contains("`all` is no such word; it is one of envelope, headers"));
        assert!(text(&[], "port-map = '25'").contains("expected PORT=PROTOCOL"));
        assert!(!text(&[], "max-buffer = 0").contains('\n'));
    }

    #[test]
    fn an_hmac_needs_a_key() {
        assert!(text(&["--identity=hmac"], "").starts_with("--identity hmac needs a key; make one with"));
        assert!(text(&["--identity-failed=hmac"], "").starts_with("--identity-failed hmac needs a key; "));
        assert!(made(&["--identity-failed=full"], "").is_ok());
        for (given, key) in [("literal", "literal"), ("@key", "from a file")] {
            let ready = made(&["--identity=hmac", "--identity-key", given], "").unwrap();
            assert_eq!(ready.policy.key.as_deref(), Some(key.as_bytes()));
        }
        assert!(text(&["--identity-key=@none"], "").starts_with("none: the identity key cannot be read: "));
        assert!(text(&["--identity-key=@empty"], "").starts_with("the identity key is empty; "));
    }

    #[test]
    fn no_error_shows_a_key() {
        for file in [
            "identity-key = hunter2",
            "identity-key = ['hunter2']",
            "identity-key = 'hunter2",
            "identity-key = 'hunter2' x",
            "identity-key = {hunter2 = 1}",
            "identity-key = 'hunter2'\nidentity-key = 'hunter2'",
        ] {
            let text = text(&[], file);
            assert!(!text.contains("hunter2"), "{text}");
        }
        let ready = made(&["--identity-key=hunter2"], "").unwrap();
        assert!(!format!("{ready:?}").contains("hunter2"));
    }

    #[test]
    fn standard_input_is_read_once() {
        assert!(text(&["-", "-"], "").starts_with("standard input can be read once only"));
    }
}

//! `mailtap analyze`, made ready.

use std::path::{Path, PathBuf};

use super::layers::{Layers, LoadedFile};
use super::{Defaults, ReadKeys, analysis, outputs};
use crate::cli::{self, Typed};
use crate::engine::Limits;
use crate::error::Error;
use crate::output::metrics::ReplyReasons;
use crate::output::{Detail, InputKind, LogSettings, Policy, RecordSet};
use crate::pipeline::flow::FlowLimits;

/// A run of `mailtap analyze`, ready.
#[derive(Clone, Debug)]
pub struct Analyze {
    /// The captures.
    pub files: Vec<PathBuf>,
    /// They are read in this order, whatever their packets show.
    pub in_order_given: bool,
    /// Where the log goes; `-` is standard output.
    pub log: Option<LogSettings>,
    /// What the log shows.
    pub policy: Policy,
    /// Caps of a session.
    pub limits: Limits,
    /// Caps of flow tracking, of one shard.
    pub flows: FlowLimits,
    /// Threads that analyze.
    pub threads: usize,
    /// Where the metrics go at the end.
    pub metrics_file: Option<PathBuf>,
    /// Names for reply texts.
    pub reply_reasons: Option<ReplyReasons>,
    /// No summary, no progress bar.
    pub quiet: bool,
    /// 0, 1, 2: how much to say about the run itself.
    pub verbose: u8,
}

/// Makes what was typed ready; `cores`: the default for the threads.
pub fn analyze(typed: &Typed<cli::AnalyzeFlags>, cores: usize) -> Result<Analyze, Error> {
    let file = LoadedFile::read(typed.flags().config.as_deref())?;
    let ready = ready(typed, &file, cores, &|path| std::fs::read(path))?;
    unequal(&ready, typed.flags().config.as_deref())?;
    Ok(ready)
}

fn ready(
    typed: &Typed<cli::AnalyzeFlags>,
    file: &LoadedFile,
    cores: usize,
    read: ReadKeys<'_>,
) -> Result<Analyze, Error> {
    let mut layers = Layers::new("analyze", typed, file)?;
    let records = layers.group()?;
    let cli::OrderFlags { in_order_given } = layers.group()?;
    let (threads, flows) = analysis(&layers.group()?, cores);
    let cli::MetricsFileFlags { metrics_file, reply_reasons } = layers.group()?;
    let cli::Verbosity { quiet, verbose } = layers.group()?;
    layers.finish()?;
    let files = typed.flags().files.clone();
    if files.iter().filter(|f| f.as_os_str() == "-").count() > 1 {
        return Err(Error::Usage("standard input can be read once only; name `-` one time".into()));
    }
    let defaults = Defaults { input: InputKind::File, records: RecordSet::ALL, detail: Detail::Headers };
    let log_mode = super::log_mode(&records);
    let (log, mut policy, limits) = super::records(records, &defaults, read)?;
    policy.sources = files.iter().map(|f| f.display().to_string()).collect();
    Ok(Analyze {
        log: log.map(|path| LogSettings { path: Some(path), mode: log_mode, ..LogSettings::default() }),
        policy,
        limits,
        flows,
        metrics_file,
        reply_reasons: reply_reasons.map(|path| ReplyReasons::read(&path)).transpose()?,
        threads,
        quiet,
        verbose,
        files,
        in_order_given,
    })
}

/// Refuses a log that would be appended to one of the captures, and metrics that would take the place of one, or of the log.
fn unequal(ready: &Analyze, config: Option<&Path>) -> Result<(), Error> {
    let log = ready.log.as_ref().and_then(LogSettings::file).map(|path| ("--log", path));
    let metrics = ready.metrics_file.as_deref().map(|path| ("--metrics-file", path));
    let captures = ready.files.iter().map(|file| ("the capture", file.as_path()));
    let read: Vec<_> = captures.chain(config.map(|path| ("--config", path))).collect();
    outputs::distinct(&log.into_iter().chain(metrics).collect::<Vec<_>>(), &read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;
    use crate::output::{FailedIdentity, IdentityPolicy, RecordKind};

    fn made(args: &[&str], file: &str) -> Result<Analyze, Error> {
        let args = ["mailtap", "analyze", "a.pcap"].iter().chain(args);
        let Ok(cli::Request::Analyze(typed)) = cli::Request::parse(args) else { panic!("another mode") };
        ready(&typed, &LoadedFile::of(file), 3, &|path| match path.to_str() {
            Some("key") => Ok(b"from a file\r\n".to_vec()),
            Some("empty") => Ok(b"\n".to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    fn log_of(ready: &Analyze) -> Option<&Path> {
        ready.log.as_ref().and_then(|log| log.path.as_deref())
    }

    fn text(args: &[&str], file: &str) -> String {
        let error = made(args, file).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    }

    #[test]
    fn the_defaults() {
        let ready = made(&[], "").unwrap();
        assert_eq!((ready.threads, ready.quiet, log_of(&ready), ready.limits.hash), (3, false, None, true));
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
            (ready.threads, ready.quiet, log_of(&ready), ready.limits.hash),
            (7, true, Some(Path::new("file.jsonl")), false)
        );
        assert_eq!(ready.policy.records, RecordSet::NONE.with(RecordKind::Auth).with(RecordKind::Session));
        assert_eq!((ready.policy.detail, ready.policy.identity), (Detail::Envelope, IdentityPolicy::None));
        assert_eq!(ready.limits.ports, [(2525, Protocol::Smtp), (1143, Protocol::Imap)]);
        let args =
            "--log=- --threads=2 --records=command --detail=headers --hash=message --identity=full --port-map=1=pop3";
        let ready = made(&args.split(' ').collect::<Vec<_>>(), file).unwrap();
        assert_eq!((ready.threads, log_of(&ready), ready.limits.hash), (2, Some(Path::new("-")), true));
        assert_eq!(ready.policy.records, RecordSet::NONE.with(RecordKind::Command));
        assert_eq!((ready.policy.detail, ready.policy.identity), (Detail::Headers, IdentityPolicy::Full));
        assert_eq!(ready.limits.ports, [(1, Protocol::Pop3)]);
    }

    #[test]
    fn the_order_of_files_by_flag_and_key() {
        for (args, file, given) in [
            (&[][..], "", false),
            (&["--in-order-given"], "", true),
            (&[], "in-order-given = true", true),
            (&[], "in-order-given = false", false),
            (&["--in-order-given"], "in-order-given = false", true),
        ] {
            assert_eq!(made(args, file).unwrap().in_order_given, given, "{args:?} {file}");
        }
        assert!(text(&[], "in-order-given = 'yes'").starts_with("c.toml, line 1: in-order-given: "));
    }

    #[test]
    fn a_wrong_file_names_the_line() {
        let unknown = text(&[], "threads = 2\nthread = 3\n");
        assert!(
            unknown.starts_with("c.toml, line 2: unknown key `thread`; mailtap analyze has log, log-mode, "),
            "{unknown}"
        );
        assert!(
            text(&[], "\n\nthreads = 'two'")
                .starts_with("c.toml, line 3: threads: `two`: expected a number from 1 to 65535")
        );
        assert!(text(&[], "records = 3").contains("expected a list of words"));
        assert!(
            text(&[], "detail = 'all'").starts_with("c.toml, line 1: detail: `all`: expected one of envelope, headers")
        );
        assert!(text(&[], "port-map = '25'").contains("line 1: port-map: `25`: expected PORT=PROTOCOL"));
        assert!(text(&[], "quiet = 'yes'").starts_with("c.toml, line 1: quiet: "));
        assert!(text(&[], "user = 'a'").contains("`user` is a key of mailtap sniff"));
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
            "identity-key = 'hunter2'\nthreads = 0",
            "identity-key = true # hunter2",
        ] {
            let text = text(&[], file);
            assert!(!text.contains("hunter2"), "{text}");
        }
        let ready = made(&["--identity-key=hunter2"], "").unwrap();
        assert!(!format!("{ready:?}").contains("hunter2"));
        // An error of another flag shows the command line's other values to nobody.
        let error =
            cli::Request::parse(["mailtap", "analyze", "f", "--identity-key=hunter2", "--threads=x"]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn standard_input_is_read_once() {
        assert!(text(&["-", "-"], "").starts_with("standard input can be read once only"));
    }
}

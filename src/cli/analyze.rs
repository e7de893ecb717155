//! `mailtap analyze`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};
use serde::Deserialize;

use super::file::parsed;
use super::{LogFlags, Number, Size};

const HELP: &str = "\
Examples:
  mailtap analyze mail.pcap                         a summary on the terminal
  mailtap analyze mail.pcapng.gz --log mail.jsonl   the summary, and every record in a file
  mailtap analyze day.pcap.0 day.pcap.1 day.pcap.2  rotated files as one capture
  zcat mail.pcap.gz | mailtap analyze - --log - --quiet | jq 'select(.record == \"transaction\")'
  mailtap analyze mail.pcap --records transaction,auth --detail envelope --log -

Exit status:
  0  done; a capture that is cut at its end is read up to the cut, with a warning
  1  an input could not be read, or an output not written; a line on standard error says which, where and why
  2  wrong usage";

/// Flags and files of `mailtap analyze`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = HELP)]
pub struct AnalyzeFlags {
    /// Captures: pcap or pcapng, also inside gzip or zstd; `-` is standard input
    ///
    /// Several files are one capture: connections go on from one file to the next. They are read in the order of their
    /// first packets; if a pipe is among them, in the order given. Formats are told by content, names do not matter.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// In which order they are read.
    #[command(flatten)]
    pub order: OrderFlags,

    /// Read flags from a TOML file; a flag on the command line wins
    ///
    /// The keys are the long flags without dashes in front: `log = "mail.jsonl"`, `threads = 4`.
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// The log.
    #[command(flatten)]
    pub records: LogFlags,

    /// How packets are analyzed.
    #[command(flatten)]
    pub analysis: Analysis,

    /// The metrics.
    #[command(flatten)]
    pub metrics: MetricsFileFlags,

    /// How much it says.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// In which order several captures are read.
#[derive(Clone, Copy, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OrderFlags {
    /// Read the files in the order given, even where their first packets show another
    #[arg(long, help_heading = "Analysis")]
    pub in_order_given: bool,
}

/// Flags of the modes that see packets.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Analysis {
    /// Threads that analyze; more than 16 are of no use [default: one per core]
    ///
    /// The log is the same, byte for byte, for any number.
    #[arg(long, value_name = "N", help_heading = "Analysis")]
    #[serde(deserialize_with = "parsed")]
    pub threads: Option<Number<1, 65_535>>,

    /// Connections followed at the same time; beyond it the least recently active are closed [default: 65536]
    #[arg(long, value_name = "N", help_heading = "Analysis")]
    #[serde(deserialize_with = "parsed")]
    pub max_flows: Option<Number<16>>,

    /// Bytes of packets out of order that are held, all connections together [default: 64MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Analysis")]
    #[serde(deserialize_with = "parsed")]
    pub max_buffer: Option<Size>,
}

/// Flags of metrics that are written once.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct MetricsFileFlags {
    /// Write the metrics to PATH once, at the end, in the text format of Prometheus
    ///
    /// The file appears whole or not at all: PATH may lie where a textfile collector looks.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Metrics")]
    pub metrics_file: Option<PathBuf>,

    /// Name reply texts by regular expression: a TOML file with `name = "regex"` lines, at most 50
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath, help_heading = "Metrics")]
    pub reply_reasons: Option<PathBuf>,
}

/// How much a mode says of itself.
#[derive(Clone, Copy, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Verbosity {
    /// No messages but warnings and errors; for analyze no summary and no progress bar
    #[arg(short, long)]
    pub quiet: bool,

    /// Say more about the run itself on standard error; twice for still more. MAILTAP_LOG takes its place: see mailtap --help
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

//! `mailtap sniff`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Deserialize;

use super::file::{list, parsed};
use super::{Analysis, ConfigFile, LogFlags, Number, RunningFlags, Size, TimeOrOff, Verbosity};

const HELP: &str = "\
Examples:
  mailtap sniff -i eth0                                      mail ports of one interface, records on standard output
  mailtap sniff -i eth0 -i eth1 --log /var/log/mailtap.jsonl --metrics-listen 9325
  mailtap sniff -i any 'tcp port 2525'                       another filter
  mailtap sniff --list-interfaces

Signals:
  SIGTERM, SIGINT  finish what is open, end
  SIGHUP           reopen the log, begin a new --write file, read the filter from --config again

Exit status:
  0  stopped by SIGTERM or SIGINT
  1  an interface cannot be opened, or an output not written; a line on standard error says which and why;
     with --check, something is wrong: a line for each fault
  2  wrong usage";

/// Flags of `mailtap sniff`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = HELP)]
pub struct SniffFlags {
    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureFlags,

    /// List the interfaces that can be watched, and end
    #[arg(long)]
    pub list_interfaces: bool,

    /// The log.
    #[command(flatten)]
    pub records: LogFlags,

    /// How packets are analyzed.
    #[command(flatten)]
    pub analysis: Analysis,

    /// What every running mode has.
    #[command(flatten)]
    pub running: RunningFlags,

    /// The configuration file.
    #[command(flatten)]
    pub file: ConfigFile,

    /// How much it says.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Flags of the capture.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CaptureFlags {
    /// Capture filter (pcap-filter(7)) [default: the mail ports, also inside VLANs]
    #[arg(value_name = "FILTER")]
    pub filter: Option<String>,

    /// Interface to watch, or `any`; may be given several times
    #[arg(short, long, value_name = "NAME")]
    #[serde(deserialize_with = "list")]
    pub interface: Option<Vec<String>>,

    /// Bytes of each packet to take [default: 262144]
    ///
    /// Offloading network cards hand over frames of up to 64 KiB: less cuts them.
    #[arg(long, value_name = "BYTES", help_heading = "Capture")]
    #[serde(deserialize_with = "parsed")]
    pub snaplen: Option<Number<64, 262_144>>,

    /// Kernel buffer of each interface [default: 32MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Capture")]
    #[serde(deserialize_with = "parsed")]
    pub buffer: Option<Size>,

    /// How long the kernel may gather packets before it hands them over [default: 50ms]
    #[arg(long, value_name = "TIME", help_heading = "Capture")]
    #[serde(deserialize_with = "parsed")]
    pub gather: Option<TimeOrOff>,

    /// Do not switch the interface to promiscuous mode
    #[arg(long, help_heading = "Capture")]
    pub no_promiscuous: bool,

    /// Keep the packets as pcapng too. Secrets cannot be masked in packets: passwords are in the file
    ///
    /// A file that is there, or full, becomes FILE.N.pcapng (mail.3.pcapng of mail.pcapng), and the highest N is the newest.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Capture")]
    pub write: Option<PathBuf>,

    /// Begin a new capture file at this size [default: 1GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Capture")]
    #[serde(deserialize_with = "parsed")]
    pub write_size: Option<Size>,

    /// Begin a new capture file after this time [default: 1h]
    #[arg(long, value_name = "TIME", help_heading = "Capture")]
    #[serde(deserialize_with = "parsed")]
    pub write_time: Option<TimeOrOff>,

    /// Capture files to keep, the one being written included; those of mailtap with the lowest numbers go [default: all]
    #[arg(long, value_name = "N", help_heading = "Capture")]
    #[serde(deserialize_with = "parsed")]
    pub write_files: Option<Number<1>>,
}

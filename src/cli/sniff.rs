//! `mailtap sniff`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Patience, Records, Running, Size};

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
  1  an interface cannot be opened, or an output not written; a line on standard error says which and why
  2  wrong usage";

/// Flags of `mailtap sniff`.
#[derive(Debug, Default, Args)]
#[command(after_help = HELP)]
pub struct Sniff {
    /// Capture filter (pcap-filter(7)) [default: the mail ports, also inside VLANs]
    #[arg(value_name = "FILTER")]
    pub filter: Option<String>,

    /// Interface to watch, or `any`; may be given several times
    #[arg(short, long, value_name = "NAME")]
    pub interface: Vec<String>,

    /// List the interfaces that can be watched, and end
    #[arg(long)]
    pub list_interfaces: bool,

    /// Octets of each packet to take [default: 262144]
    ///
    /// Offloading network cards hand over frames of up to 64 KiB: less cuts them.
    #[arg(long, value_name = "OCTETS", help_heading = "Capture")]
    pub snaplen: Option<u32>,

    /// Kernel buffer of each interface [default: 32MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Capture")]
    pub buffer: Option<Size>,

    /// How long the kernel may gather packets before it hands them over [default: 50ms]
    #[arg(long, value_name = "TIME", help_heading = "Capture")]
    pub gather: Option<Patience>,

    /// Do not switch the interface to promiscuous mode
    #[arg(long, help_heading = "Capture")]
    pub no_promiscuous: bool,

    /// Keep the packets as pcapng too. Secrets cannot be masked in packets: passwords are in the file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Capture")]
    pub write: Option<PathBuf>,

    /// Begin a new capture file at this size [default: 1GiB]
    #[arg(long, value_name = "SIZE", requires = "write", help_heading = "Capture")]
    pub write_size: Option<Size>,

    /// Begin a new capture file after this time [default: 1h]
    #[arg(long, value_name = "TIME", requires = "write", help_heading = "Capture")]
    pub write_time: Option<Patience>,

    /// Capture files to keep; the oldest go [default: all]
    #[arg(long, value_name = "N", requires = "write", help_heading = "Capture")]
    pub write_files: Option<u32>,

    /// The log.
    #[command(flatten)]
    pub records: Records,

    /// Threads that analyze; more than 16 are of no use [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Analysis")]
    pub threads: Option<u16>,

    /// Connections followed at the same time; beyond it the least recently active are closed [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..), help_heading = "Analysis")]
    pub max_flows: Option<u32>,

    /// Octets of packets out of order that are held, all connections together [default: 64MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Analysis")]
    pub max_buffer: Option<Size>,

    /// What every running mode has.
    #[command(flatten)]
    pub running: Running,
}

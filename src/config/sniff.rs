//! `mailtap sniff`, made ready.

use std::path::PathBuf;
use std::time::Duration;

use super::settings::Settings;
use super::{Defaults, Running, flows, running};
use crate::cli::{self, Patience, Size};
use crate::engine::Limits;
use crate::error::Error;
use crate::output::{Detail, InputKind, Policy, RecordKind, RecordSet};
use crate::wire::FlowLimits;

/// A run of `mailtap sniff`, ready.
#[derive(Clone, Debug)]
pub struct Sniff {
    /// Interfaces; the policy's sources name them in this order.
    pub interfaces: Vec<String>,
    /// Capture filter.
    pub filter: String,
    /// Octets of each packet.
    pub snaplen: u32,
    /// Octets of the kernel's buffer, for each interface.
    pub buffer: u64,
    /// How long the kernel may gather packets.
    pub gather: Duration,
    /// Promiscuous mode.
    pub promiscuous: bool,
    /// Where the packets are kept.
    pub write: Option<Write>,
    /// What the log shows.
    pub policy: Policy,
    /// Caps of a session.
    pub limits: Limits,
    /// Caps of flow tracking, of one shard.
    pub flows: FlowLimits,
    /// Threads that analyze.
    pub threads: usize,
    /// What every running mode has.
    pub running: Running,
}

/// Capture files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The file that is written now.
    pub path: PathBuf,
    /// Octets until the next begins.
    pub size: u64,
    /// Time until the next begins; `None` is for ever.
    pub time: Option<Duration>,
    /// How many are kept; `None` keeps all.
    pub files: Option<u32>,
}

/// Makes `flags` ready; `cores`: the default for the threads.
pub fn sniff(flags: cli::Sniff, cores: usize) -> Result<Sniff, Error> {
    let mut settings = Settings::of(flags.running.config.as_deref())?;
    let read = |path: &std::path::Path| std::fs::read(path);
    let records = RecordSet::ALL.without(RecordKind::Command);
    let defaults = Defaults { input: InputKind::Live, records, detail: Detail::Envelope };
    let (log, mut policy, limits) = super::records(flags.records, &mut settings, &defaults, &read)?;
    policy.sources.clone_from(&flags.interface);
    Ok(Sniff {
        interfaces: flags.interface,
        filter: flags.filter.unwrap_or_default(),
        snaplen: flags.snaplen.unwrap_or(262_144),
        buffer: flags.buffer.unwrap_or(Size(32 << 20)).0,
        gather: flags.gather.and_then(|Patience(time)| time).unwrap_or(Duration::from_millis(50)),
        promiscuous: !flags.no_promiscuous,
        write: None,
        policy,
        limits,
        flows: flows(flags.max_flows, flags.max_buffer, &mut settings)?,
        threads: flags.threads.or(settings.threads).map_or(cores, usize::from).max(1),
        running: running::running(flags.running, log, &mut settings, &read)?,
    })
}

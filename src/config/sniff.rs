//! `mailtap sniff`, made ready.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::settings::{For, List, Settings};
use super::{Defaults, Running, either, flows, parsed, running};
use crate::cli;
use crate::cli::{Patience, Size};
use crate::engine::Limits;
use crate::error::Error;
use crate::output::{Detail, InputKind, Policy, RecordKind, RecordSet};
use crate::pipeline::flow::FlowLimits;

/// A run of `mailtap sniff`, ready.
#[derive(Clone, Debug)]
pub struct Sniff {
    /// Interfaces; the policy's sources name them in this order.
    pub interfaces: Vec<String>,
    /// Capture filter; `None`: the mail ports and those of the limits.
    pub filter: Option<String>,
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

impl Sniff {
    /// Whether `other` asks for more than another filter.
    pub fn differs(&self, other: &Self) -> bool {
        let of = |s: &Self| {
            let policy = (s.policy.records, s.policy.detail, s.policy.identity, s.policy.identity_failed);
            let (write, limits) = (s.write.clone(), (s.limits.hash, s.limits.ports.clone()));
            let running =
                (s.running.log.clone(), s.running.log_rotate, s.running.user.clone(), s.running.metrics.clone());
            let opening = (s.interfaces.clone(), s.snaplen, s.buffer, s.gather, s.promiscuous);
            (opening, write, policy, limits, s.threads, running)
        };
        of(self) != of(other)
    }
}

/// Octets of a capture file.
const WRITE_SIZE: Size = Size(1 << 30);

/// Age of a capture file.
const WRITE_TIME: Duration = Duration::from_secs(3600);

/// Time for which the kernel gathers packets.
const GATHER: Duration = Duration::from_millis(50);

/// Octets of the kernel's buffer: a few times what a second of a busy mail host takes.
const KERNEL_BUFFER: Size = Size(32 << 20);

/// libpcap's limits of both: what is beyond it would silently be something else.
const SNAPLENS: std::ops::RangeInclusive<u32> = 64..=262_144;
const KERNEL_BUFFERS: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

/// Makes `flags` ready; `cores`: the default for the threads.
pub fn sniff(flags: cli::Sniff, cores: usize) -> Result<Sniff, Error> {
    let settings = Settings::of(flags.running.config.as_deref(), For::Sniff)?;
    ready(flags, settings, cores, &|path| std::fs::read(path))
}

fn ready(
    flags: cli::Sniff,
    mut settings: Settings,
    cores: usize,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Sniff, Error> {
    let write = write(&flags, &mut settings)?;
    let interfaces = interfaces(flags.interface, settings.interface.take())?;
    let records = RecordSet::ALL.without(RecordKind::Command);
    let defaults = Defaults { input: InputKind::Live, records, detail: Detail::Envelope };
    let (log, mut policy, limits) = super::records(flags.records, &mut settings, &defaults, read)?;
    policy.sources.clone_from(&interfaces);
    let snaplen = flags.snaplen.or(settings.snaplen).unwrap_or(*SNAPLENS.end());
    if !SNAPLENS.contains(&snaplen) {
        return Err(Error::Usage(format!("--snaplen {snaplen}: expected from 64 to 262144 octets")));
    }
    let buffer = either(flags.buffer, settings.buffer.take(), |n| n.size("buffer"))?.unwrap_or(KERNEL_BUFFER).0;
    if !KERNEL_BUFFERS.contains(&buffer) {
        return Err(Error::Usage(format!("--buffer {buffer}: expected from 1MiB to 1GiB")));
    }
    let gather = either(flags.gather, settings.gather.take(), |t| parsed("gather", &t))?;
    let gather = gather.map_or(Some(GATHER), |Patience(time)| time).filter(|time| *time <= Duration::from_secs(1));
    Ok(Sniff {
        filter: flags.filter.or_else(|| settings.filter.take()).filter(|text| !text.trim().is_empty()),
        snaplen,
        buffer,
        gather: gather.ok_or_else(|| Error::Usage("--gather: expected from 1ms to 1s".into()))?,
        promiscuous: !(flags.no_promiscuous || settings.no_promiscuous),
        write,
        policy,
        limits,
        flows: flows(flags.max_flows, flags.max_buffer, &mut settings)?,
        threads: flags.threads.or(settings.threads).map_or(cores, usize::from).max(1),
        running: running::running(flags.running, log, &mut settings, read)?,
        interfaces,
    })
}

fn interfaces(flags: Vec<String>, settings: Option<List>) -> Result<Vec<String>, Error> {
    let flags = Some(flags).filter(|names| !names.is_empty());
    let names = either(flags, settings, |list| list.all(|name| Ok(name.to_owned())))?.unwrap_or_default();
    if names.is_empty() {
        return Err(Error::Usage("which interface? Give --interface NAME, or `any`; see --list-interfaces".into()));
    }
    let twice = names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|other| other == *name));
    match twice {
        Some((_, name)) => Err(Error::Usage(format!("--interface {}: is there twice", name.escape_default()))),
        None => Ok(names),
    }
}

fn write(flags: &cli::Sniff, settings: &mut Settings) -> Result<Option<Write>, Error> {
    let size = either(flags.write_size, settings.write_size.take(), |n| n.size("write-size"))?;
    let time = either(flags.write_time, settings.write_time.take(), |t| parsed("write-time", &t))?;
    let files = flags.write_files.or(settings.write_files);
    let Some(path) = flags.write.clone().or_else(|| settings.write.take()) else {
        return match (size, time, files) {
            (None, None, None) => Ok(None),
            _ => Err(Error::Usage("--write-size, --write-time and --write-files need a --write FILE".into())),
        };
    };
    if path.as_os_str() == "-" {
        return Err(Error::Usage("--write needs a file: packets cannot go to standard output".into()));
    }
    if files == Some(0) {
        return Err(Error::Usage("--write-files 0: at least 1, the file that is written".into()));
    }
    let time = time.map_or(Some(WRITE_TIME), |Patience(time)| time);
    Ok(Some(Write { path, size: size.unwrap_or(WRITE_SIZE).0, time, files }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;
    use clap::Parser as _;

    fn made(args: &str, file: &str) -> Result<Sniff, Error> {
        let args = ["mailtap", "sniff"].into_iter().chain(args.split(' ').filter(|a| !a.is_empty()));
        let cli::Mode::Sniff(flags) = cli::Cli::try_parse_from(args).unwrap().mode else { panic!("another mode") };
        let settings = Settings::parse(file, For::Sniff).map_err(|(line, reason)| Error::ConfigText {
            path: "c.toml".into(),
            line,
            reason,
        })?;
        ready(*flags, settings, 3, &|_| Err(io::ErrorKind::NotFound.into()))
    }

    fn text(args: &str, file: &str) -> String {
        let error = made(args, file).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    }

    #[test]
    fn the_defaults() {
        let ready = made("-i eth0", "").unwrap();
        assert_eq!((ready.filter, ready.snaplen, ready.buffer), (None, 262_144, 32 << 20));
        assert_eq!((ready.gather, ready.promiscuous, ready.write), (GATHER, true, None));
        assert_eq!((ready.policy.detail, ready.policy.input), (Detail::Envelope, InputKind::Live));
        assert!(!ready.policy.records.has(RecordKind::Command));
        assert_eq!((ready.policy.sources, ready.threads), (vec!["eth0".to_owned()], 3));
        assert!(ready.running.sandbox);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let file = "interface = ['eth1', 'eth2']\nfilter = 'tcp'\nsnaplen = 1000\nbuffer = '2MiB'\ngather = '10ms'\n\
                    no-promiscuous = true\nwrite = 'a.pcapng'\nwrite-size = '1MB'\nwrite-time = 'off'\nwrite-files = 3\n\
                    user = 'nobody'\nport-map = '10025=smtp'\n";
        let ready = made("", file).unwrap();
        assert_eq!(ready.interfaces, ["eth1", "eth2"]);
        assert_eq!((ready.filter.as_deref(), ready.snaplen, ready.buffer), (Some("tcp"), 1000, 2 << 20));
        assert_eq!((ready.gather, ready.promiscuous), (Duration::from_millis(10), false));
        let write = Write { path: "a.pcapng".into(), size: 1_000_000, time: None, files: Some(3) };
        assert_eq!(ready.write, Some(write));
        assert_eq!(
            (ready.running.user.as_deref(), ready.limits.ports),
            (Some("nobody"), vec![(10_025, Protocol::Smtp)])
        );
        let ready = made("-i any --snaplen 500 --buffer 4MiB --write b --write-time 2s port_25", file).unwrap();
        assert_eq!((ready.interfaces, ready.snaplen, ready.buffer), (vec!["any".to_owned()], 500, 4 << 20));
        assert_eq!(ready.filter.as_deref(), Some("port_25"));
        assert_eq!(ready.write.map(|w| (w.path, w.time)), Some(("b".into(), Some(Duration::from_secs(2)))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(text("", "").starts_with("which interface? Give --interface NAME"));
        assert!(text("-i a -i b -i a", "").starts_with("--interface a: is there twice"));
        assert!(text("-i a --snaplen 10", "").contains("64 to 262144"));
        assert!(text("-i a --buffer 2GiB", "").contains("1MiB to 1GiB"));
        assert!(text("-i a --gather off", "").contains("1ms to 1s"));
        assert!(text("-i a", "write-files = 3").contains("need a --write FILE"));
        assert!(text("-i a --write -", "").contains("needs a file"));
        assert!(text("-i a --write f --write-files 0", "").contains("at least 1"));
    }

    #[test]
    fn a_key_of_another_mode_is_refused() {
        let told = text("-i a", "snaplen = 1000\n\nupstream = 'mx.example.org'\n");
        assert!(told.starts_with("c.toml, line 3: `upstream` means nothing to mailtap sniff"), "{told}");
        let told = text("-i a", "quiet = true\n[[listener]]\nname = 'a'\n");
        assert!(told.starts_with("c.toml, line 2: `listener` means nothing to mailtap sniff"), "{told}");
        assert!(text("-i a", "drain-timeout = '1s'").contains("line 1: `drain-timeout` means nothing"));
        assert!(text("-i a", "no-such = 1").contains("line 1: unknown field `no-such`"));
        for (mode, key) in
            [(For::Proxy, "snaplen = 1000"), (For::Proxy, "max-flows = 20"), (For::Analyze, "user = 'a'")]
        {
            assert!(Settings::parse(key, mode).is_err(), "{key}");
        }
        assert!(Settings::parse("upstream = 'a'\nuser = 'b'\ndrain-timeout = '1s'", For::Proxy).is_ok());
    }
}

//! `mailtap sniff`, made ready.

use std::time::Duration;

use super::layers::{Layers, LoadedFile};
use super::{Defaults, ReadKeys, Running, analysis, outputs, running};
use crate::capture::live::Options;
use crate::cli::{self, Size, TimeOrOff, Typed};
use crate::engine::Limits;
use crate::error::Error;
use crate::output::{Detail, InputKind, Policy, RecordKind, RecordSet, pcapng};
use crate::pipeline::flow::FlowLimits;

/// A run of `mailtap sniff`, ready.
#[derive(Clone, Debug)]
pub struct Sniff {
    /// Interfaces; the policy's sources name them in this order.
    pub interfaces: Vec<String>,
    /// How they are opened.
    pub options: Options,
    /// Where the packets are kept.
    pub write: Option<pcapng::PacketFileSettings>,
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

/// Octets of a capture file.
const WRITE_SIZE: Size = Size(1 << 30);

/// Age of a capture file.
const WRITE_TIME: Duration = Duration::from_secs(3600);

/// Time for which the kernel gathers packets.
const GATHER: Duration = Duration::from_millis(50);

/// Octets of the kernel's buffer: a few times what a second of a busy mail host takes.
const KERNEL_BUFFER: Size = Size(32 << 20);

/// libpcap's limits: what is beyond them would silently be something else.
const KERNEL_BUFFERS: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;
const SNAPLEN: u32 = 262_144;

/// Makes what was typed ready; `cores`: the default for the threads.
pub fn sniff(typed: &Typed<cli::SniffFlags>, cores: usize) -> Result<Sniff, Error> {
    let file = LoadedFile::read(typed.flags().file.config.as_deref())?;
    let ready = ready(typed, &file, cores, &|path| std::fs::read(path))?;
    let log = ready.running.log.file().map(|path| ("--log", path));
    let top = ready.running.monitor.top_file.as_deref().map(|path| ("--top-file", path));
    let write = ready.write.as_ref().map(|write| ("--write", &*write.path));
    let config = ready.running.config.as_deref().map(|path| ("--config", path));
    outputs::distinct(
        &log.into_iter().chain(top).chain(write).collect::<Vec<_>>(),
        &config.into_iter().collect::<Vec<_>>(),
    )?;
    Ok(ready)
}

pub(super) fn ready(
    typed: &Typed<cli::SniffFlags>,
    file: &LoadedFile,
    cores: usize,
    read: ReadKeys<'_>,
) -> Result<Sniff, Error> {
    let mut layers = Layers::new("sniff", typed, file)?;
    let mut capture: cli::CaptureFlags = layers.group()?;
    let records = layers.group()?;
    let (threads, flows) = analysis(&layers.group()?, cores);
    let running = layers.group()?;
    let verbosity = layers.group()?;
    layers.finish()?;
    let interfaces = interfaces(capture.interface.take())?;
    let kinds = RecordSet::ALL.without(RecordKind::Command);
    let defaults = Defaults { input: InputKind::Live, records: kinds, detail: Detail::Envelope };
    let log_mode = super::log_mode(&records);
    let (log, mut policy, limits) = super::records(records, &defaults, read)?;
    policy.sources.clone_from(&interfaces);
    Ok(Sniff {
        interfaces,
        write: write(&capture)?,
        options: options(capture, &limits)?,
        limits,
        flows,
        threads,
        running: running::running(
            running,
            typed.flags().file.config.clone(),
            (log, log_mode),
            policy.identity,
            verbosity,
            read,
        )?,
        policy,
    })
}

fn interfaces(names: Option<Vec<String>>) -> Result<Vec<String>, Error> {
    let names = names.unwrap_or_default();
    if names.is_empty() {
        return Err(Error::Usage("which interface? Give --interface NAME, or `any`; see --list-interfaces".into()));
    }
    let twice = names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|other| other == *name));
    match twice {
        Some((_, name)) => Err(Error::Usage(format!("--interface {}: is there twice", name.escape_default()))),
        None => Ok(names),
    }
}

fn options(flags: cli::CaptureFlags, limits: &Limits) -> Result<Options, Error> {
    let Size(buffer) = flags.buffer.unwrap_or(KERNEL_BUFFER);
    if !KERNEL_BUFFERS.contains(&buffer) {
        return Err(Error::Usage(format!("--buffer {buffer}: expected from 1MiB to 1GiB")));
    }
    let gather = flags.gather.map_or(Some(GATHER), |TimeOrOff(time)| time);
    let gather = gather.filter(|time| *time <= Duration::from_secs(1));
    Ok(Options {
        filter: flags.filter.filter(|text| !text.trim().is_empty()),
        ports: limits.ports.iter().map(|(port, _)| *port).collect(),
        snaplen: flags.snaplen.map_or(SNAPLEN, cli::Number::get),
        buffer,
        gather: gather.ok_or_else(|| Error::Usage("--gather: expected from 1ms to 1s".into()))?,
        promiscuous: !flags.no_promiscuous,
    })
}

fn write(flags: &cli::CaptureFlags) -> Result<Option<pcapng::PacketFileSettings>, Error> {
    let Some(path) = flags.write.clone() else {
        return match (flags.write_size, flags.write_time, flags.write_files) {
            (None, None, None) => Ok(None),
            _ => Err(Error::Usage("--write-size, --write-time and --write-files need a --write FILE".into())),
        };
    };
    if path.as_os_str() == "-" {
        return Err(Error::Usage("--write needs a file: packets cannot go to standard output".into()));
    }
    Ok(Some(pcapng::PacketFileSettings {
        path,
        size: flags.write_size.unwrap_or(WRITE_SIZE).0,
        age: flags.write_time.map_or(Some(WRITE_TIME), |TimeOrOff(time)| time),
        files: flags.write_files.map(cli::Number::get),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;

    fn typed(args: &str) -> Result<Typed<cli::SniffFlags>, String> {
        let args = ["mailtap", "sniff"].into_iter().chain(args.split(' ').filter(|a| !a.is_empty()));
        match cli::Request::parse(args) {
            Ok(cli::Request::Sniff(typed)) => Ok(*typed),
            Ok(_) => panic!("another mode"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn made(args: &str, file: &str) -> Result<Sniff, Error> {
        ready(&typed(args).unwrap(), &LoadedFile::of(file), 3, &|_| Err(std::io::ErrorKind::NotFound.into()))
    }

    fn text(args: &str, file: &str) -> String {
        let error = made(args, file).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    }

    #[test]
    fn the_defaults() {
        let ready = made("-i eth0", "").unwrap();
        assert_eq!((ready.options.filter, ready.options.snaplen, ready.options.buffer), (None, 262_144, 32 << 20));
        assert_eq!((ready.options.gather, ready.options.promiscuous, ready.write), (GATHER, true, None));
        assert_eq!((ready.policy.detail, ready.policy.input), (Detail::Envelope, InputKind::Live));
        assert!(!ready.policy.records.has(RecordKind::Command));
        assert_eq!((ready.policy.sources, ready.threads), (vec!["eth0".to_owned()], 3));
        assert!(ready.running.process.sandbox);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let file = "interface = ['eth1', 'eth2']\nfilter = 'tcp'\nsnaplen = 1000\nbuffer = '2MiB'\ngather = '10ms'\n\
                    no-promiscuous = true\nwrite = 'a.pcapng'\nwrite-size = '1MB'\nwrite-time = 'off'\nwrite-files = 3\n\
                    user = 'nobody'\nport-map = '10025=smtp'\n";
        let ready = made("", file).unwrap();
        assert_eq!(ready.interfaces, ["eth1", "eth2"]);
        let Options { filter, snaplen, buffer, gather, promiscuous, ports } = ready.options;
        assert_eq!((filter.as_deref(), snaplen, buffer, ports), (Some("tcp"), 1000, 2 << 20, vec![10_025]));
        assert_eq!((gather, promiscuous), (Duration::from_millis(10), false));
        let write = pcapng::PacketFileSettings { path: "a.pcapng".into(), size: 1_000_000, age: None, files: Some(3) };
        assert_eq!(ready.write, Some(write));
        assert_eq!(
            (ready.running.process.user.as_deref(), ready.limits.ports),
            (Some("nobody"), vec![(10_025, Protocol::Smtp)])
        );
        let ready = made("-i any --snaplen 500 --buffer 4MiB --write b --write-time 2s port_25", file).unwrap();
        assert_eq!(
            (ready.interfaces, ready.options.snaplen, ready.options.buffer),
            (vec!["any".to_owned()], 500, 4 << 20)
        );
        assert_eq!(ready.options.filter.as_deref(), Some("port_25"));
        assert_eq!(ready.write.map(|w| (w.path, w.age)), Some(("b".into(), Some(Duration::from_secs(2)))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(text("", "").starts_with("which interface? Give --interface NAME"));
        assert!(text("-i a -i b -i a", "").starts_with("--interface a: is there twice"));
        assert!(typed("-i a --snaplen 10").unwrap_err().contains("64 to 262144"));
        assert!(text("-i a", "snaplen = 10").contains("snaplen: `10`: expected a number from 64 to 262144"));
        assert!(text("-i a --buffer 2GiB", "").contains("1MiB to 1GiB"));
        assert!(text("-i a --gather off", "").contains("1ms to 1s"));
        assert!(text("-i a", "write-files = 3").contains("need a --write FILE"));
        assert!(text("-i a --write -", "").contains("needs a file"));
        let users = "top-file = 't'\ntop-users = true\n";
        assert!(made("-i a", users).unwrap().running.monitor.top_users);
        assert!(text("-i a --identity none", users).starts_with("top-users needs --identity full"));
        assert!(text("-i a --top-users", "").contains("needs a top-file or metrics-listen"));
        assert!(text("-i a", "metrics-host = 'mon:9325'").contains("expected the name of a host"));
        assert!(typed("-i a --write f --write-files 0").unwrap_err().contains("from 1 to"));
    }

    #[test]
    fn a_key_of_another_mode_is_refused() {
        let told = text("-i a", "snaplen = 1000\n\nupstream = 'mx.example.org'\n");
        assert!(
            told.starts_with("c.toml, line 3: `upstream` is a key of mailtap proxy, not of mailtap sniff"),
            "{told}"
        );
        let told = text("-i a", "quiet = true\n[[listener]]\nname = 'a'\n");
        assert!(told.starts_with("c.toml, line 2: unknown key `listener`; mailtap sniff has "), "{told}");
        assert!(text("-i a", "drain-timeout = '1s'").contains("line 1: `drain-timeout` is a key of mailtap proxy"));
        assert!(
            text("-i a", "no-such = 1").contains("line 1: unknown key `no-such`; mailtap sniff has filter, interface")
        );
        for key in ["config = 'a'", "check = true", "list-interfaces = true"] {
            assert!(text("-i a", key).contains("line 1: "), "{key} is for the command line only");
        }
    }
}

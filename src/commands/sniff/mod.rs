//! `mailtap sniff`: packets of live interfaces in, the log and metrics out.
//!
//! Ties the modules together: opens the interfaces, gives up what that took, confines itself, starts the threads and waits
//! for signals. The log and the capture file are opened by the user who will have to open them again. Nothing here
//! looks into a packet.

mod check;
mod meters;
mod print;
mod watch;

use std::sync::Arc;

use crate::capture::live::Device;
use crate::commands::log_news;
use crate::config::{Running, Sniff};
use crate::console::{self, Level};
use crate::error::Error;
use crate::output::log_queue::LogNews;
use crate::output::pcapng::{self, PacketNews, PacketSource};
use crate::output::{Files, Log, LogQueue, MetricsEndpoint, PcapThread, metrics};
use crate::pipeline::Setup;
use crate::pipeline::live::WorkerPool;
use crate::process::{Account, Capability, Sandbox, Waiter, privileges, readiness};
use crate::wire::DecoderLimits;

use meters::Meters;
use watch::{Outputs, Watch};

pub use check::check;
pub use print::interfaces;

/// Watches until a signal ends it; `again` reads the configuration anew.
pub fn run(ready: Sniff, again: &dyn Fn() -> Result<Sniff, Error>) -> Result<(), Error> {
    // From the first moment on: who starts it may stop it.
    let waiter = Waiter::listen().map_err(Error::Thread)?;
    let user = ready.running.process.user.as_deref().map(Account::find).transpose()?;
    let opened = (0..).zip(&ready.interfaces).map(|(source, name)| Device::open(name, source, &ready.options));
    let devices = opened.collect::<Result<Vec<_>, _>>().map_err(Error::Interface)?;
    let sources = ready.interfaces.iter().map(|name| metrics::MetricsSource::named(name)).collect();
    let mut monitor = MetricsEndpoint::open(&ready.running.monitor, sources, &ready.policy, None)?;
    privileges::drop_to(user.as_ref(), kept(&devices))?;
    let log = Log::open(&ready.running.log).map_err(Error::LogOpen)?;
    monitor.open_files()?;
    let files = ready.write.as_ref().map(|write| keep(write, &devices, ready.options.snaplen)).transpose()?;
    if ready.running.process.sandbox {
        sandbox(&ready).enforce()?;
    }
    let _console = console::start().map_err(Error::Thread)?;
    let pcap_thread = files.map(|files| PcapThread::start(files, report_packets)).transpose().map_err(Error::Thread)?;
    let (log_queue, log_writer) = LogQueue::start(log, report).map_err(Error::Thread)?;
    let policy = Arc::new(ready.policy.clone());
    let setup = Setup {
        threads: ready.threads,
        limits: Arc::new(ready.limits.clone()),
        flows: ready.flows,
        decoder: DecoderLimits::default(),
    };
    let fanout = || monitor.fanout(&policy, &log_queue);
    let pool = WorkerPool::start(&setup, fanout).map_err(Error::Thread)?;
    let cautions = monitor.cautions();
    monitor.follow(&log_queue);
    monitor.start()?;
    let meters = Meters::new(monitor.metrics(), ready.interfaces.len());
    announce(&ready, &monitor, &cautions);
    let outputs =
        Outputs { log_queue, log_writer, pcap_thread, monitor, meters, on_stdout: ready.running.log.is_on_stdout() };
    let watch = Watch::start(devices, &setup, pool, outputs)?;
    readiness::ready();
    watch.until_stopped(waiter, &ready, again)
}

/// An interface that goes away is opened again when it is back, which takes the privilege again.
fn kept(devices: &[Device]) -> &'static [Capability] {
    if devices.iter().any(Device::may_go) { &[Capability::CAP_NET_RAW] } else { &[] }
}

fn sandbox(ready: &Sniff) -> Sandbox {
    let Running { log, monitor, .. } = &ready.running;
    let written = log.file().into_iter().chain(monitor.top_file.as_deref());
    let written = written.chain(ready.write.as_ref().map(|write| &*write.path));
    written.fold(Sandbox::new().isolated(), Sandbox::file)
}

fn keep(write: &pcapng::PacketFileSettings, devices: &[Device], snaplen: u32) -> Result<Files, Error> {
    let source = |device: &Device| PacketSource { name: device.name().to_owned(), link: device.link().0, snaplen };
    let sources: Vec<_> = devices.iter().map(source).collect();
    Files::open(write.clone(), &sources).map_err(|reason| Error::Packets { path: write.path.clone(), reason })
}

fn announce(ready: &Sniff, monitor: &MetricsEndpoint, cautions: &[String]) {
    cautions.iter().for_each(|caution| console::print(Level::Warning, caution));
    if let Some(write) = &ready.write {
        console::print(
            Level::Warning,
            &format!("{}: packets are kept as they are: passwords and mail are in it", write.path.display()),
        );
    }
    if !ready.running.quiet {
        let filter = ready.options.filter.as_deref().unwrap_or("mail ports");
        console::print(Level::Note, &format!("watching {}: {filter}", ready.interfaces.join(", ")));
        monitor.announce();
    }
}

fn report(news: LogNews<'_>) {
    match news {
        // Whoever read it has seen enough, and the run ends: no failure.
        LogNews::Failed(error) if error.is_broken_pipe() && error.path().as_os_str() == "-" => {}
        news => log_news::report(news),
    }
}

fn report_packets(news: PacketNews<'_>) {
    match news {
        PacketNews::Failed(path, reason) => {
            let (path, reason) = (path.to_string_lossy(), console::plain(reason));
            let text = format_args!("{path}: {reason}; packets are missing in it until it can be written again");
            console::limited(Level::Error, "capture_failed", &path, &text);
        }
        PacketNews::Restored(path, lost) => {
            let path = path.to_string_lossy();
            let text = format_args!("{path} can be written again; {lost} packets are missing in it");
            console::warn("capture_restored", &path, &text);
        }
    }
}

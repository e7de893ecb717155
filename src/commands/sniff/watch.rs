//! The threads of a run, and the one that waits for signals meanwhile.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::meters::Meters;
use super::print;

use crate::capture::live::{self, Device, InterfaceCounters, Moment, Switch};
use crate::commands::reload;
use crate::config::Sniff;
use crate::console::{self, Level};
use crate::error;
use crate::error::Error;
use crate::output::serve::Ready;
use crate::output::{LogQueue, LogWriter, MetricsEndpoint, PcapThread, PcapWriter};
use crate::pipeline::Setup;
use crate::pipeline::live::{Dispatcher, WorkerPool, WorkerState};
use crate::process::{Signal, Waiter, readiness};
use crate::wire::LinkType;

/// How often it is looked whether all threads are well.
const LOOK: Duration = Duration::from_secs(1);

/// How often the service manager is told how it goes.
const STATUS: Duration = Duration::from_secs(10);

/// Everything that runs.
pub(super) struct Watch {
    switch: Arc<Switch>,
    captures: Vec<CaptureThreads>,
    pool: WorkerPool,
    outputs: Outputs,
}

/// Where everything goes.
pub(super) struct Outputs {
    pub(super) log_queue: LogQueue,
    pub(super) log_writer: LogWriter,
    pub(super) pcap_thread: Option<PcapThread>,
    pub(super) monitor: MetricsEndpoint,
    pub(super) meters: Meters,
    /// Whether the log is standard output.
    pub(super) on_stdout: bool,
}

struct CaptureThreads {
    name: String,
    link: LinkType,
    counters: Arc<InterfaceCounters>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Starts a thread for each of `devices`, whose packets `pool` analyzes.
    pub(super) fn start(
        devices: Vec<Device>,
        setup: &Setup,
        pool: WorkerPool,
        outputs: Outputs,
    ) -> Result<Self, Error> {
        let switch = Arc::new(Switch::new().map_err(Error::Thread)?);
        let all = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        let mut captures = Vec::with_capacity(devices.len());
        for (index, device) in (0..).zip(devices) {
            let (link, counters) = (device.link(), Arc::clone(device.counters()));
            let dispatcher = pool.dispatcher(setup, index, all, Arc::clone(&counters));
            let (name, switch, pcap_writer) =
                (device.name().to_owned(), Arc::clone(&switch), outputs.pcap_thread.as_ref().map(PcapThread::writer));
            let thread = thread::Builder::new().name(format!("capture {name}"));
            let thread =
                thread.spawn(move || capture(device, &switch, dispatcher, pcap_writer)).map_err(Error::Thread)?;
            captures.push(CaptureThreads { name, link, counters, thread });
        }
        Ok(Self { switch, captures, pool, outputs })
    }

    /// Waits for a signal, or a thread that fails, and ends everything.
    pub(super) fn until_stopped(
        self,
        mut waiter: Waiter,
        ready: &Sniff,
        again: &dyn Fn() -> Result<Sniff, Error>,
    ) -> Result<(), Error> {
        let beat = readiness::watchdog().map_or(LOOK, |beat| beat.min(LOOK));
        let mut told = Instant::now();
        self.outputs.monitor.say(Ready::Ready);
        loop {
            match waiter.wait(beat) {
                Some(Signal::Terminate | Signal::Again) => break,
                Some(Signal::Reload) => self.reload(ready, again),
                Some(Signal::Reopen) => self.outputs.log_queue.reopen(),
                None if self.has_ended() => break,
                None => readiness::alive(),
            }
            self.update();
            if told.elapsed() >= STATUS {
                told = Instant::now();
                readiness::status(&self.statistics(&self.pool.states().collect::<Vec<_>>()));
            }
        }
        readiness::stopping();
        self.end(ready.running.quiet)
    }

    /// Whether going on makes no sense: a fault, or nobody reads the records.
    fn has_ended(&self) -> bool {
        self.pool.has_fault()
            || self.outputs.log_writer.is_finished()
            || self.reader_left()
            || self.captures.iter().any(|c| c.thread.is_finished())
    }

    /// Whether the records go to a pipe that nobody reads any more, which nothing tells while there are no records.
    fn reader_left(&self) -> bool {
        let out = io::stdout();
        let mut out = [PollFd::new(&out, PollFlags::empty())];
        let polled = self.outputs.on_stdout && rustix::event::poll(&mut out, Some(&Timespec::default())).is_ok();
        polled && out.iter().any(|out| out.revents().contains(PollFlags::ERR))
    }

    /// Carries counters over to the metrics.
    fn update(&self) {
        let counters = self.captures.iter().map(|c| &*c.counters);
        let Outputs { meters, .. } = &self.outputs;
        meters.update(counters, self.pool.states(), self.pool.queued());
    }

    /// Opens the files anew, and takes what can be taken of the configuration: all of it, or nothing.
    fn reload(&self, ready: &Sniff, again: &dyn Fn() -> Result<Sniff, Error>) {
        readiness::reloading();
        self.outputs.log_queue.reopen();
        if let Some(pcap_thread) = &self.outputs.pcap_thread {
            pcap_thread.renew();
        }
        let now = again().and_then(|now| {
            for CaptureThreads { name, link, .. } in &self.captures {
                live::check_filter(name, *link, &now.options).map_err(Error::Interface)?;
            }
            let access = self.outputs.monitor.read_access(now.running.monitor.server.as_ref())?;
            Ok((now, access))
        });
        self.outputs.monitor.reloaded(now.is_ok());
        match now {
            Ok((now, access)) => {
                self.outputs.monitor.take_access(access);
                let filter = now.options.filter.as_deref().unwrap_or("mail ports");
                let taken = format!("{}: {filter}", ready.interfaces.join(", "));
                reload::taken(&taken, &ready.restart_keys(&now), ready.running.quiet);
                self.switch.set_filter(now.options.filter);
            }
            Err(error) => reload::refused(&error),
        }
        readiness::ready();
    }

    /// Stops capturing, finishes what is open, and writes everything.
    fn end(self, quiet: bool) -> Result<(), Error> {
        let Self { switch, captures, pool, outputs } = self;
        let Outputs { log_queue, log_writer, pcap_thread, mut monitor, .. } = outputs;
        monitor.say(Ready::Draining);
        switch.stop();
        let mut whole = true;
        let mut counters = Vec::with_capacity(captures.len());
        for CaptureThreads { name, counters: counted, thread, .. } in captures {
            whole &= thread.join().is_ok();
            counters.push((name, counted));
        }
        let states = pool.finish();
        let lost = Arc::clone(log_queue.counters());
        drop(log_queue);
        let written = log_writer.finish();
        monitor.stop(false);
        let kept = pcap_thread.map(|pcap_thread| (pcap_thread.path().to_owned(), pcap_thread.finish()));
        if !quiet && let Some(states) = &states {
            let counters = counters.iter().map(|(name, counters)| (name.as_str(), &**counters));
            console::print(Level::Note, &print::statistics(counters, states, lost.lost()));
        }
        if states.is_none() || !whole {
            return Err(error::fault());
        }
        written.map_err(|error| Error::LogLost { error, lost: lost.lost() })?;
        match kept {
            Some((path, Err(reason))) => Err(Error::Packets { path, reason }),
            _ => Ok(()),
        }
    }

    fn statistics(&self, states: &[WorkerState]) -> String {
        let counters = self.captures.iter().map(|c| (c.name.as_str(), &*c.counters));
        print::statistics(counters, states, self.outputs.log_queue.counters().lost())
    }
}

/// One capture thread.
fn capture(device: Device, switch: &Switch, mut dispatcher: Dispatcher, mut pcap_writer: Option<PcapWriter>) {
    device.watch(switch, &mut |moment| match moment {
        Moment::Packet(packet) => {
            if let Some(pcap_writer) = &mut pcap_writer {
                pcap_writer.packet(packet.at, packet.source, packet.data, packet.wire_len);
            }
            dispatcher.packet(packet);
        }
        Moment::Pause => {
            dispatcher.flush();
            if let Some(pcap_writer) = &mut pcap_writer {
                pcap_writer.flush();
            }
        }
    });
}

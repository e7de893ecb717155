//! `mailtap proxy`: connections in, the same connections out, the log and metrics beside.
//!
//! Ties the modules together: opens everything, drops what it may no longer do, starts the threads that forward, and
//! waits for signals. Nothing here touches an octet of a conversation.

mod certificates;
mod check;
mod handover;
mod listeners;

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::time;

use crate::commands::{log_news, reload};
use crate::config::{Proxy, Running};
use crate::console::{self, Level};
use crate::error::{self, Error};
use crate::output::metrics::MetricsSource;
use crate::output::serve::Ready;
use crate::output::{Log, LogQueue, MetricsEndpoint};
use crate::process::{Account, Capability, Sandbox, Signal, Signals, descriptors, privileges, readiness};
use crate::proxy::settings::{ListenerSettings, Target, Transparent};
use crate::proxy::{BoundListener, Neighbours, Order, Workers, look_up_servers};
use certificates::ExpiryWatch;
use handover::{Predecessor, Step, Successors};
use listeners::{OpenListeners, Sockets};

pub use check::check;

/// How often it is looked who waits at the listeners.
const STOCK: Duration = Duration::from_secs(1);

/// Forwards until a signal ends it; `again` reads the configuration anew.
pub fn run(ready: Proxy, again: &dyn Fn() -> Result<Proxy, Error>) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let entered = runtime.enter();
    let signals = Signals::listen().map_err(Error::Thread)?;
    drop(entered);
    tracing::debug!(limit = descriptors::raise(), "file descriptors that may be open");
    let mut sockets = Sockets::of_service_manager()?;
    let Inherited { path, predecessor, metrics } = inherit(&ready, &mut sockets)?;
    let taken = ready.running.monitor.server.as_ref().and_then(|config| {
        metrics
            .filter(|socket| socket.local_addr().is_ok_and(|own| own == config.listen))
            .or_else(|| sockets.at(config.listen))
    });
    let sources =
        ready.proxy.listeners.iter().map(|l| MetricsSource { name: l.name.clone(), protocol: l.protocol }).collect();
    let mut monitor = MetricsEndpoint::open(&ready.running.monitor, sources, &ready.policy, taken)?;
    let mut open = OpenListeners::first(&ready, sockets, predecessor.is_some())?;
    open.measure(&monitor);
    let path = match (path, &ready.proxy.handover) {
        (None, Some(path)) => Some(handover::listen(path).map_err(|reason| at(path, reason))?),
        (inherited, _) => inherited,
    };
    let neighbours = Neighbours::find();
    give_up_privileges(&ready)?;
    // By the user who will have to open it again.
    let log = Log::open(&ready.running.log).map_err(Error::LogOpen)?;
    monitor.open_files()?;
    confine(&ready)?;
    let _console = console::start().map_err(Error::Thread)?;
    error::report_faults();
    let (log_queue, log_writer) = LogQueue::start(log, log_news::report).map_err(Error::Thread)?;
    let policy = Arc::new(ready.policy.clone());
    let cautions = monitor.cautions();
    monitor.follow(&log_queue);
    monitor.start()?;
    let fanouts = (0..ready.proxy.threads).map(|_| monitor.fanout(&policy, &log_queue)).collect();
    look_up_servers(&open.listeners, &neighbours)?;
    let workers = Workers::start(ready.proxy.forwarding, fanouts, open.serving()).map_err(Error::Thread)?;
    if let Some(predecessor) = predecessor {
        // If it is gone already, all the better.
        let _ = predecessor.release();
    }
    cautions.iter().for_each(|caution| console::print(Level::Warning, caution));
    open.warn(None);
    if !ready.running.quiet {
        announce(&open.listeners, &monitor);
    }
    readiness::ready();
    monitor.say(Ready::Ready);
    let counters = Arc::clone(log_queue.counters());
    let drain = ready.proxy.drain;
    let control = Control { workers, log_queue, open, monitor, expiry: ExpiryWatch::default(), drain, first: ready };
    runtime.block_on(control.watch(signals, path, again))?;
    runtime.shutdown_background();
    let written = log_writer.finish();
    let lost = counters.lost();
    match written {
        Err(error) if !error.is_broken_pipe() => Err(Error::LogLost { error, lost }),
        _ => {
            if lost > 0 {
                console::print(Level::Warning, &format!("{lost} records were lost in all"));
            }
            Ok(())
        }
    }
}

/// What a predecessor left besides its listeners.
#[derive(Default)]
struct Inherited {
    /// Where successors ask.
    path: Option<UnixListener>,
    predecessor: Option<Predecessor>,
    /// Where metrics are asked for.
    metrics: Option<TcpListener>,
}

/// Asks a running mailtap for its sockets, if there is one at the path of the handover; adds its listeners to `sockets`.
fn inherit(ready: &Proxy, sockets: &mut Sockets) -> Result<Inherited, Error> {
    let Some(path) = &ready.proxy.handover else { return Ok(Inherited::default()) };
    let Some((passed, predecessor)) = handover::ask(path).map_err(|reason| at(path, reason))? else {
        return Ok(Inherited::default());
    };
    sockets.extend(passed.listeners);
    Ok(Inherited { path: Some(passed.path), predecessor: Some(predecessor), metrics: passed.metrics })
}

/// Gives up what is not needed any more, once everything is open and before the first thread.
fn give_up_privileges(ready: &Proxy) -> Result<(), Error> {
    let Running { config, process, .. } = &ready.running;
    let listeners = &ready.proxy.listeners;
    let mut keep = Vec::new();
    // A reload may bring listeners at ports that only the privileged may have.
    if config.is_some() {
        keep.push(Capability::CAP_NET_BIND_SERVICE);
    }
    let is_marked = |l: &ListenerSettings| l.mark.is_some_and(|mark| mark != 0);
    let takes_others = |l: &ListenerSettings| l.target == Target::Original(Transparent::Tproxy);
    if listeners.iter().any(|l| l.spoof_source || is_marked(l) || takes_others(l)) {
        keep.push(Capability::CAP_NET_RAW);
    }
    let user = process.user.as_deref().map(Account::find).transpose()?;
    privileges::drop_to(user.as_ref(), &keep)
}

/// Confines the process to the files that it writes.
fn confine(ready: &Proxy) -> Result<(), Error> {
    if ready.running.process.sandbox {
        let Running { log, monitor, .. } = &ready.running;
        let written = log.file().into_iter().chain(monitor.top_file.as_deref()).chain(ready.proxy.handover.as_deref());
        written.fold(Sandbox::new(), Sandbox::file).enforce()?;
    }
    Ok(())
}

/// What signals act on.
struct Control {
    workers: Workers,
    log_queue: LogQueue,
    open: OpenListeners,
    monitor: MetricsEndpoint,
    expiry: ExpiryWatch,
    drain: Option<Duration>,
    /// What it was started with, which a reload cannot change in every respect.
    first: Proxy,
}

impl Control {
    /// Waits for signals and successors, who come to `path`, until all threads have ended.
    async fn watch(
        mut self,
        mut signals: Signals,
        path: Option<UnixListener>,
        again: &dyn Fn() -> Result<Proxy, Error>,
    ) -> Result<(), Error> {
        let mut successors = Successors::new(path).map_err(Error::Thread)?;
        let mut certificates = time::interval(certificates::EVERY);
        let mut stock = time::interval(STOCK);
        stock.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let is_replaced = loop {
            tokio::select! {
                _ = certificates.tick() => self.expiry.look(&self.open.listeners),
                _ = stock.tick() => self.open.take_stock(&self.monitor),
                signal = signals.next() => match signal {
                    Signal::Reload => self.reload(again),
                    Signal::Reopen => self.log_queue.reopen(),
                    Signal::Terminate | Signal::Again => break false,
                },
                step = successors.next() => if self.hand_over(&mut successors, step) { break true },
            }
        };
        drop(successors);
        self.end(signals, is_replaced).await
    }

    /// Reads everything again, and takes all of it or nothing: what can fail comes before anything is changed.
    fn reload(&mut self, again: &dyn Fn() -> Result<Proxy, Error>) {
        readiness::reloading();
        self.log_queue.reopen();
        let open = again().and_then(|ready| {
            let access = self.monitor.read_access(ready.running.monitor.server.as_ref())?;
            let open = self.open.follow(&ready)?;
            look_up_servers(&open.listeners, &Neighbours::find())?;
            Ok((ready, access, open))
        });
        self.monitor.reloaded(open.is_ok());
        match open {
            Ok((ready, access, mut open)) => {
                self.monitor.take_access(access);
                self.drain = ready.proxy.drain;
                open.measure(&self.monitor);
                self.workers.order(Order::Serve(Arc::new(open.serving())));
                open.warn(Some(&self.open));
                self.open.listeners.iter().for_each(|bound| bound.listener.leave());
                self.open = open;
                self.expiry.look_again(&self.open.listeners);
                let names: Vec<_> = ready.proxy.listeners.iter().map(|listener| listener.name.as_str()).collect();
                let restart = self.first.restart_keys(&ready);
                reload::taken(&format!("listeners {}", names.join(", ")), &restart, self.first.running.quiet);
            }
            Err(error) => reload::refused(&error),
        }
        readiness::ready();
    }

    /// Gives the sockets to a successor that asks; whether one accepts at them now.
    fn hand_over(&mut self, successors: &mut Successors, step: io::Result<Step>) -> bool {
        let failed = match step {
            Ok(Step::Stranger) => None,
            Ok(Step::Asks(stream)) => successors.give(stream, self.open.sockets(), self.monitor.socket()).err(),
            Ok(Step::Accepts) => {
                // The successor answers at the same address, and writes the same files.
                self.monitor.stop(true);
                return true;
            }
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            let reason = console::plain(&error);
            console::print(
                Level::Warning,
                &format!("a successor asked for the listeners and did not start: {reason}; this process goes on"),
            );
        }
        false
    }

    /// Lets sessions finish; a second signal ends them at once. `is_replaced`: a successor took over, and no signal came yet.
    async fn end(mut self, mut signals: Signals, is_replaced: bool) -> Result<(), Error> {
        readiness::stopping();
        self.monitor.say(Ready::Draining);
        for bound in &self.open.listeners {
            if let Some(metrics) = &bound.listener.metrics {
                metrics.set_draining(true);
            }
            bound.listener.leave();
        }
        self.open = OpenListeners::default();
        self.drain(is_replaced);
        let began = Instant::now();
        while !self.workers.are_done() {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload | Signal::Reopen => self.log_queue.reopen(),
                    Signal::Terminate => self.drain(false),
                    Signal::Again => self.workers.order(Order::Stop),
                },
                () = time::sleep(Duration::from_millis(20)) => {}
            }
        }
        tracing::info!(took = ?began.elapsed(), "all connections have ended");
        let joined = self.workers.join().map_err(Error::Thread);
        // Now everything is counted.
        self.monitor.stop(is_replaced);
        joined
    }

    fn drain(&self, replaced: bool) {
        const SPREAD: Duration = Duration::from_secs(5);
        let spread = self.drain.map_or(SPREAD, |within| SPREAD.min(within / 4));
        self.workers.order(Order::Drain { within: self.drain, spread, replaced });
    }
}

fn announce(listeners: &[BoundListener], monitor: &MetricsEndpoint) {
    monitor.announce();
    for BoundListener { listener, .. } in listeners {
        let places = listener.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        console::print(Level::Note, &format!("listener {}: {places} to {}", listener.settings.name, listener.way()));
    }
}

fn at(path: &Path, reason: io::Error) -> Error {
    Error::Handover { path: path.to_owned(), reason }
}

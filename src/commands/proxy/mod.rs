//! `mailtap proxy`: connections in, the same connections out, the log and metrics beside.
//!
//! Ties the modules together: opens everything, drops what it may no longer do, starts the threads that forward, and
//! waits for signals. Nothing here touches an octet of a conversation.

mod check;
mod handover;
mod listeners;

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time;

use crate::config::{Proxy, Running};
use crate::console::{self, Level};
use crate::error::Error;
use crate::output::metrics::MetricsSource;
use crate::output::serve::Ready;
use crate::output::{Log, LogError, LogQueue, MetricsEndpoint};
use crate::process::{Account, Capability, Sandbox, Signal, Signals, descriptors, privileges, readiness};
use crate::proxy::settings::{ListenerSettings, Target, Transparent};
use crate::proxy::{BoundListener, Neighbours, Order, Workers, look_up_servers};
use listeners::Sockets;

pub use check::check;

/// Forwards until a signal ends it; `again` reads the configuration anew.
pub fn run(ready: Proxy, again: &dyn Fn() -> Result<Proxy, Error>) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let entered = runtime.enter();
    let signals = Signals::listen().map_err(Error::Thread)?;
    drop(entered);
    tracing::debug!(limit = descriptors::raise(), "file descriptors that may be open");
    let mut sockets = Sockets::of_service_manager();
    let predecessor = match &ready.proxy.handover {
        Some(path) => handover::ask(path).map_err(|reason| at(path, reason))?,
        None => None,
    };
    let predecessor = predecessor.map(|(passed, predecessor)| {
        sockets.extend(passed);
        predecessor
    });
    let taken = ready.running.monitor.server.as_ref().and_then(|config| sockets.at(config.listen));
    let sources =
        ready.proxy.listeners.iter().map(|l| MetricsSource { name: l.name.clone(), protocol: l.protocol }).collect();
    let mut monitor = MetricsEndpoint::open(&ready.running.monitor, sources, &ready.policy, taken)?;
    let listeners = listeners::open(&ready, sockets, &[], monitor.metrics())?;
    let successors =
        ready.proxy.handover.as_deref().map(|path| handover::listen(path).map_err(|reason| at(path, reason)));
    let successors = successors.transpose()?;
    let neighbours = Neighbours::find();
    give_up_privileges(&ready)?;
    // By the user who will have to open it again.
    let log = Log::open(&ready.running.log).map_err(Error::LogOpen)?;
    confine(&ready)?;
    let _console = console::start().map_err(Error::Thread)?;
    let (log_queue, log_writer) = LogQueue::start(log, complain).map_err(Error::Thread)?;
    let policy = Arc::new(ready.policy.clone());
    let cautions = monitor.cautions();
    monitor.follow(&log_queue);
    monitor.start()?;
    let fanouts = (0..ready.proxy.threads).map(|_| monitor.fanout(&policy, &log_queue)).collect();
    look_up_servers(&listeners, &neighbours)?;
    let workers = Workers::start(ready.proxy.forwarding, fanouts, listeners.clone()).map_err(Error::Thread)?;
    if let Some(predecessor) = predecessor {
        // If it is gone already, all the better.
        let _ = predecessor.release();
    }
    let of_listeners = listeners.iter().filter_map(|bound| bound.listener.caution());
    cautions.into_iter().chain(of_listeners).for_each(|caution| console::print(Level::Warning, &caution));
    if !ready.running.quiet {
        announce(&listeners, &monitor);
    }
    readiness::ready();
    monitor.say(Ready::Ready);
    let control = Control { workers, log_queue, listeners, monitor, drain: ready.proxy.drain };
    runtime.block_on(control.watch(signals, successors, again))?;
    runtime.shutdown_background();
    if let Err(error) = log_writer.finish() {
        return if error.is_broken_pipe() { Ok(()) } else { Err(Error::LogWrite(error)) };
    }
    Ok(())
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
        let written = ready.running.log.path.iter().chain(&ready.proxy.handover);
        written.fold(Sandbox::new(), |sandbox, path| sandbox.file(path)).enforce()?;
    }
    Ok(())
}

/// What signals act on.
struct Control {
    workers: Workers,
    log_queue: LogQueue,
    listeners: Vec<BoundListener>,
    monitor: MetricsEndpoint,
    drain: Option<Duration>,
}

impl Control {
    /// Waits for signals and successors until all threads have ended.
    async fn watch(
        mut self,
        mut signals: Signals,
        successors: Option<std::os::unix::net::UnixListener>,
        again: &dyn Fn() -> Result<Proxy, Error>,
    ) -> Result<(), Error> {
        let successors = successors.map(UnixListener::from_std).transpose().map_err(Error::Thread)?;
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => self.reload(again),
                    Signal::Terminate | Signal::Again => break,
                },
                came = successor(successors.as_ref()) => if self.hand_over(came).await { break },
            }
        }
        drop(successors);
        self.end(signals).await
    }

    /// Reads everything again; what cannot be had leaves things as they are.
    fn reload(&mut self, again: &dyn Fn() -> Result<Proxy, Error>) {
        readiness::reloading();
        self.log_queue.reopen();
        let open = again().and_then(|ready| {
            let mut sockets = Sockets::default();
            sockets.extend(self.sockets().map_err(Error::Thread)?);
            self.drain = ready.proxy.drain;
            self.monitor.reload(ready.running.monitor.server.as_ref())?;
            let listeners = listeners::open(&ready, sockets, &self.listeners, self.monitor.metrics())?;
            look_up_servers(&listeners, &Neighbours::find())?;
            Ok(listeners)
        });
        self.monitor.reloaded(open.is_ok());
        match open {
            Ok(listeners) => {
                for caution in listeners.iter().filter_map(|bound| bound.listener.caution()) {
                    console::print(Level::Warning, &caution);
                }
                self.workers.order(Order::Serve(Arc::new(listeners.clone())));
                self.listeners = listeners;
                tracing::info!("reloaded");
            }
            Err(error) => {
                console::print(Level::Error, &error);
                console::print(Level::Warning, &"the configuration stays as it was");
            }
        }
        readiness::ready();
    }

    /// The listening sockets, once more.
    fn sockets(&self) -> io::Result<Vec<TcpListener>> {
        self.listeners.iter().flat_map(|bound| &bound.sockets).map(|socket| socket.try_clone()).collect()
    }

    /// Gives the sockets away; whether the successor accepts at them now.
    async fn hand_over(&mut self, came: io::Result<std::os::unix::net::UnixStream>) -> bool {
        let sockets = self.sockets().map(|mut all| {
            all.extend(self.monitor.socket());
            all
        });
        let given = match (came, sockets) {
            (Ok(stream), Ok(sockets)) => spawn_blocking(move || handover::give(stream, &sockets)).await,
            (Err(error), _) | (_, Err(error)) => Ok(Err(error)),
        };
        match given.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                // The successor answers at the same address.
                self.monitor.stop();
                true
            }
            Err(error) => {
                console::print(Level::Warning, &format!("the listeners were not handed over: {error}"));
                false
            }
        }
    }

    /// Lets sessions finish; a second signal ends them at once.
    async fn end(mut self, mut signals: Signals) -> Result<(), Error> {
        const SPREAD: Duration = Duration::from_secs(5);
        readiness::stopping();
        self.monitor.say(Ready::Draining);
        for bound in &self.listeners {
            if let Some(metrics) = &bound.listener.metrics {
                metrics.set_draining(true);
            }
        }
        self.listeners.clear();
        let spread = self.drain.map_or(SPREAD, |within| SPREAD.min(within / 4));
        self.workers.order(Order::Drain { within: self.drain, spread });
        let began = Instant::now();
        while !self.workers.are_done() {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => self.log_queue.reopen(),
                    Signal::Terminate | Signal::Again => self.workers.order(Order::Stop),
                },
                () = time::sleep(Duration::from_millis(20)) => {}
            }
        }
        tracing::info!(took = ?began.elapsed(), "all connections have ended");
        self.monitor.stop();
        self.workers.join().map_err(Error::Thread)
    }
}

async fn successor(listener: Option<&UnixListener>) -> io::Result<std::os::unix::net::UnixStream> {
    match listener {
        Some(listener) => listener.accept().await?.0.into_std(),
        None => std::future::pending().await,
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

fn complain(error: &LogError) {
    console::print(Level::Error, &format!("{}; records are lost until it can be written again", console::plain(error)));
}

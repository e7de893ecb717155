//! One thread that forwards: it accepts at every listener, runs its connections, and ends those that are idle for too long.

use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time;

use super::Order;
use super::dial::is_out_of_descriptors;
use super::idle::ConnectionRequest;
use super::listener::{BoundListener, Listener, ListeningSocket};
use super::refuse::refuse_at_once;
use super::serve::serve;
use super::settings::{Forwarding, OnLimit};
use super::shared::{AllThreads, OpenConnection, Shared, Stage};
use super::splice::Pipes;
use crate::console;
use crate::event::Rejection;
use crate::output::EventFanout;

/// How often connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Tasks that run before the loop looks again whose socket is ready. Each moves up to half a megabyte: after the usual 61 of
/// them, those that became ready meanwhile would have waited long, and unseen.
const EVENTS: u32 = 8;

/// How often records go to the log's queue.
const FLUSH: Duration = Duration::from_millis(100);

/// Rest after an accept that failed for want of descriptors or memory: trying at once again would only burn the processor.
const BREATH: Duration = Duration::from_millis(100);

/// Runs until an order to stop, then until its connections are closed.
pub(super) fn run(
    forwarding: &Forwarding,
    fanout: EventFanout,
    all: &AllThreads,
    mut orders: watch::Receiver<Order>,
    accepts: mpsc::Sender<()>,
) -> io::Result<()> {
    let mut accepts = Some(accepts);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().event_interval(EVENTS).build_local(LocalOptions::default())?;
    let shared = Shared::new(forwarding, fanout, all);
    runtime.block_on(async {
        let chores = spawn_local(chores(Rc::clone(&shared)));
        let mut accepting = Vec::new();
        loop {
            let order = orders.borrow_and_update().clone();
            accepting.drain(..).for_each(|task: JoinHandle<()>| task.abort());
            let Order::Serve(serving) = &order else { break };
            shared.fanout.borrow_mut().name_sources(&serving.sources);
            shared.descriptors.listen(serving.listeners.iter().map(|bound| bound.sockets.len()).sum());
            for BoundListener { listener, sockets } in &serving.listeners {
                for ListeningSocket { socket, .. } in sockets {
                    accepting.push(spawn_local(accept(Rc::clone(&shared), Arc::clone(listener), Arc::clone(socket))));
                }
            }
            // Those that accept have their turn first.
            tokio::task::yield_now().await;
            drop(accepts.take());
            if orders.changed().await.is_err() {
                break;
            }
        }
        // The listening sockets are to be closed now, not when this thread ends.
        for task in accepting {
            task.abort();
            let _ = task.await;
        }
        drain(&shared, orders).await;
        chores.abort();
        shared.fanout.borrow_mut().flush();
    });
    Ok(())
}

/// What has to be done now and then.
async fn chores(shared: Rc<Shared>) {
    let (mut sweep, mut flush) = (time::interval(SWEEP), time::interval(FLUSH));
    sweep.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    flush.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = sweep.tick() => shared.sweep(),
            due = flush.tick() => {
                let mut fanout = shared.fanout.borrow_mut();
                fanout.loop_lag(time::Instant::now().saturating_duration_since(due));
                fanout.flush();
            }
        }
    }
}

async fn accept(shared: Rc<Shared>, listener: Arc<Listener>, socket: Arc<StdListener>) {
    let acceptor = acceptor(&listener, &socket).await;
    // Where clients over the limit are turned away, they are accepted for that.
    let waits = listener.settings.admission.on_limit == OnLimit::Wait;
    loop {
        if listener.admission.would_exceed_total() {
            listener.warn_of_full();
        }
        listener.admission.room().await;
        if waits {
            descriptors(&shared, &listener).await;
        }
        match acceptor.accept().await {
            Ok((client, peer)) => {
                if waits {
                    descriptors(&shared, &listener).await;
                } else if !shared.descriptors.has_room() {
                    listener.warn_of_descriptors();
                    listener.count(|metrics| metrics.rejected(Rejection::Descriptors));
                    refuse_at_once(&listener, &client);
                    continue;
                }
                let open = OpenConnection::new(&shared, &listener);
                spawn_local(serve(Rc::clone(&shared), Arc::clone(&listener), client, peer, open));
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                if is_out_of_descriptors(&error) {
                    shared.descriptors.ran_out();
                    listener.warn_of_descriptors();
                } else {
                    let (name, error) = (&listener.settings.name, console::plain(&error));
                    let text = format_args!("listener {name}: nothing can be accepted for now: {error}");
                    console::warn("accept", name, &text);
                }
                time::sleep(BREATH).await;
            }
        }
    }
}

/// This thread's own handle of `socket`.
async fn acceptor(listener: &Listener, socket: &StdListener) -> TcpListener {
    loop {
        match socket.try_clone().and_then(TcpListener::from_std) {
            Ok(acceptor) => return acceptor,
            Err(error) => {
                let (name, error) = (&listener.settings.name, console::plain(&error));
                console::warn("accept", name, &format_args!("listener {name}: nothing is accepted for now: {error}"));
                time::sleep(BREATH).await;
            }
        }
    }
}

/// Waits until there are descriptors for one more connection.
async fn descriptors(shared: &Shared, listener: &Listener) {
    if !shared.descriptors.has_room() {
        shared.pipes.iter().for_each(Pipes::close_free);
        if shared.descriptors.has_room() {
            return;
        }
        listener.warn_of_descriptors();
        shared.descriptors.room().await;
    }
}

/// Whether an accept failed for a reason of that connection alone (accept(2)).
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Lets the connections finish: those at rest are asked to close, spread out, the others when they come to rest; all are
/// closed when the time is up, whatever they are doing.
async fn drain(shared: &Rc<Shared>, mut orders: watch::Receiver<Order>) {
    const STEP: Duration = Duration::from_millis(50);
    const AGAIN: Duration = Duration::from_millis(500);
    /// Time for the last words to clients after everything was asked to end.
    const GRACE: Duration = Duration::from_millis(1500);
    let (mut within, mut spread) = (None, Duration::ZERO);
    if let Order::Drain { within: time, spread: over, .. } = &*orders.borrow() {
        (within, spread) = (*time, *over);
    }
    let began = time::Instant::now();
    let asked = shared.timers().clone();
    let batch = asked.len() / spread.div_duration_f64(STEP).max(1.0) as usize + 1;
    let mut waiting = asked.chunks(batch);
    let mut again = time::interval(AGAIN);
    let mut stopped = None;
    shared.advance(stage_of(&orders.borrow_and_update()));
    while shared.open_connections() > 0 {
        if within.is_some_and(|within| began.elapsed() >= within) {
            shared.advance(Stage::Stopped);
        }
        if shared.is_stopped() {
            let since = *stopped.get_or_insert_with(time::Instant::now);
            if since.elapsed() >= GRACE {
                return;
            }
        } else {
            waiting.next().into_iter().flatten().for_each(|timer| timer.ask(ConnectionRequest::Drain));
        }
        tokio::select! {
            () = time::sleep(STEP) => {}
            _ = again.tick() => shared.timers().iter().for_each(|timer| timer.remind()),
            changed = orders.changed() => match changed {
                Ok(()) => shared.advance(stage_of(&orders.borrow_and_update())),
                Err(_) => return,
            },
        }
    }
}

/// How far the end has come by `order`.
const fn stage_of(order: &Order) -> Stage {
    match order {
        Order::Serve(_) => Stage::Serving,
        Order::Drain { replaced: true, .. } => Stage::Replaced,
        Order::Drain { replaced: false, .. } => Stage::Draining,
        Order::Stop => Stage::Stopped,
    }
}

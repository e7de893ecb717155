//! One thread that forwards: it accepts from every door, runs its connections, and looks after those that stand still.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time;

use super::buffers::BufferPool;
use super::clock::Clock;
use super::connection;
use super::idle::{ConnectionRequest, IdleTimer};
use super::listener::{BoundListener, Listener};
use super::loops::LoopGuard;
use super::splice::Pipes;
use super::{Order, Setup};
use crate::config::proxy::{OnFault, Splice};
use crate::output::EventFanout;
use crate::time::Timestamp;

/// How often connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// How often records go to the log's queue.
const FLUSH: Duration = Duration::from_millis(100);

/// Rest after an accept that failed for want of descriptors or memory: trying at once again would only burn the processor.
const BREATH: Duration = Duration::from_millis(100);

/// What the connections of a thread share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) pool: BufferPool,
    /// Where the kernel may move octets.
    pub(super) pipes: Option<Pipes>,
    pub(super) outlet: RefCell<EventFanout>,
    pub(super) on_fault: OnFault,
    pub(super) draining: Cell<bool>,
    pub(super) ends: LoopGuard,
    timers: RefCell<Vec<Rc<IdleTimer>>>,
    open: Cell<usize>,
}

impl Shared {
    /// A place in the list of connections, for one that begins `now` and whose first octets must come within `patience`.
    pub(super) fn timer(&self, now: Timestamp, patience: Option<Duration>) -> Rc<IdleTimer> {
        let timer = Rc::new(IdleTimer::new(now));
        timer.moved(now, patience);
        if self.draining.get() {
            timer.ask(ConnectionRequest::Drain);
        }
        self.timers.borrow_mut().push(Rc::clone(&timer));
        timer
    }

    fn sweep(&self) {
        self.clock.follow();
        let now = self.clock.now();
        self.timers.borrow_mut().retain(|timer| Rc::strong_count(timer) > 1);
        for timer in &*self.timers.borrow() {
            timer.sweep(now);
        }
    }
}

/// Counts an open connection while it lives.
pub(super) struct Open(Rc<Shared>);

impl Open {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        shared.open.set(shared.open.get() + 1);
        Self(Rc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Runs until an order to stop, then until its connections are closed.
pub(super) fn run(
    setup: &Setup,
    outlet: EventFanout,
    ends: LoopGuard,
    mut orders: watch::Receiver<Order>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let shared = Rc::new(Shared {
        clock: Clock::new(),
        pool: BufferPool::default(),
        pipes: (setup.splice == Splice::Auto).then(Pipes::default),
        outlet: RefCell::new(outlet),
        on_fault: setup.on_fault,
        draining: Cell::new(false),
        ends,
        timers: RefCell::default(),
        open: Cell::new(0),
    });
    runtime.block_on(async {
        let chores = spawn_local(chores(Rc::clone(&shared)));
        let mut accepting = Vec::new();
        loop {
            let order = orders.borrow_and_update().clone();
            accepting.drain(..).for_each(|task: JoinHandle<()>| task.abort());
            let Order::Serve(listeners) = &order else { break };
            for BoundListener { listener, sockets } in &**listeners {
                for socket in sockets {
                    accepting.push(spawn_local(accept(Rc::clone(&shared), Arc::clone(listener), Arc::clone(socket))));
                }
            }
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
        shared.outlet.borrow_mut().flush();
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
            _ = flush.tick() => shared.outlet.borrow_mut().flush(),
        }
    }
}

async fn accept(shared: Rc<Shared>, listener: Arc<Listener>, socket: Arc<StdListener>) {
    let acceptor = socket.try_clone().and_then(TcpListener::from_std);
    let acceptor = match acceptor {
        Ok(acceptor) => acceptor,
        Err(error) => return tracing::error!(listener = listener.settings.name, %error, "cannot accept"),
    };
    loop {
        listener.admission.room().await;
        match acceptor.accept().await {
            Ok((client, peer)) => {
                let open = Open::new(&shared);
                spawn_local(connection::serve(Rc::clone(&shared), Arc::clone(&listener), client, peer, open));
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                tracing::warn!(listener = listener.settings.name, %error, "cannot accept for now");
                time::sleep(BREATH).await;
            }
        }
    }
}

/// Whether an accept failed for a reason of that connection alone (accept(2)).
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Lets the connections finish: those without mail in transfer are asked to close, spread out, the others when they are
/// done; all are closed when the time is up.
async fn drain(shared: &Rc<Shared>, mut orders: watch::Receiver<Order>) {
    const STEP: Duration = Duration::from_millis(50);
    const AGAIN: Duration = Duration::from_millis(500);
    shared.draining.set(true);
    let Order::Drain { within, spread } = orders.borrow_and_update().clone() else { return };
    let began = time::Instant::now();
    let asked = shared.timers.borrow().clone();
    let batch = asked.len() / spread.div_duration_f64(STEP).max(1.0) as usize + 1;
    let mut waiting = asked.chunks(batch);
    let mut again = time::interval(AGAIN);
    let mut stopped = false;
    while shared.open.get() > 0 {
        waiting.next().into_iter().flatten().for_each(|timer| timer.ask(ConnectionRequest::Drain));
        let over = within.is_some_and(|within| began.elapsed() >= within) || *orders.borrow() == Order::Stop;
        if over && !std::mem::replace(&mut stopped, true) {
            shared.timers.borrow().iter().for_each(|timer| timer.ask(ConnectionRequest::Stop));
        }
        tokio::select! {
            () = time::sleep(STEP) => {}
            _ = again.tick() => shared.timers.borrow().iter().for_each(|timer| timer.remind()),
            changed = orders.changed() => if changed.is_err() { return },
        }
    }
}

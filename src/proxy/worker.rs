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

use super::buffers::Pool;
use super::clock::Clock;
use super::connection;
use super::idle::{Call, Seat};
use super::listener::{Door, Entrance};
use super::loops::Ends;
use super::splice::Pipes;
use super::{Order, Setup};
use crate::config::proxy::{OnFault, Splice};
use crate::output::Outlet;
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
    pub(super) pool: Pool,
    /// Where the kernel may move octets.
    pub(super) pipes: Option<Pipes>,
    pub(super) outlet: RefCell<Outlet>,
    pub(super) on_fault: OnFault,
    pub(super) draining: Cell<bool>,
    pub(super) ends: Ends,
    seats: RefCell<Vec<Rc<Seat>>>,
    open: Cell<usize>,
}

impl Shared {
    /// A place in the list of connections, for one that begins `now` and whose first octets must come within `patience`.
    pub(super) fn seat(&self, now: Timestamp, patience: Option<Duration>) -> Rc<Seat> {
        let seat = Rc::new(Seat::new(now));
        seat.moved(now, patience);
        if self.draining.get() {
            seat.ask(Call::Drain);
        }
        self.seats.borrow_mut().push(Rc::clone(&seat));
        seat
    }

    fn sweep(&self) {
        self.clock.follow();
        let now = self.clock.now();
        self.seats.borrow_mut().retain(|seat| Rc::strong_count(seat) > 1);
        for seat in &*self.seats.borrow() {
            seat.sweep(now);
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
pub(super) fn run(setup: &Setup, outlet: Outlet, ends: Ends, mut orders: watch::Receiver<Order>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let shared = Rc::new(Shared {
        clock: Clock::new(),
        pool: Pool::default(),
        pipes: (setup.splice == Splice::Auto).then(Pipes::default),
        outlet: RefCell::new(outlet),
        on_fault: setup.on_fault,
        draining: Cell::new(false),
        ends,
        seats: RefCell::default(),
        open: Cell::new(0),
    });
    runtime.block_on(async {
        let chores = spawn_local(chores(Rc::clone(&shared)));
        let mut accepting = Vec::new();
        loop {
            let order = orders.borrow_and_update().clone();
            accepting.drain(..).for_each(|task: JoinHandle<()>| task.abort());
            let Order::Serve(entrances) = &order else { break };
            for Entrance { door, sockets } in &**entrances {
                for socket in sockets {
                    accepting.push(spawn_local(accept(Rc::clone(&shared), Arc::clone(door), Arc::clone(socket))));
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

async fn accept(shared: Rc<Shared>, door: Arc<Door>, socket: Arc<StdListener>) {
    let listener = socket.try_clone().and_then(TcpListener::from_std);
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(listener = door.listener.name, %error, "cannot accept"),
    };
    loop {
        door.admission.room().await;
        match listener.accept().await {
            Ok((client, peer)) => {
                let open = Open::new(&shared);
                spawn_local(connection::serve(Rc::clone(&shared), Arc::clone(&door), client, peer, open));
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                tracing::warn!(listener = door.listener.name, %error, "cannot accept for now");
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
    let asked = shared.seats.borrow().clone();
    let batch = asked.len() / spread.div_duration_f64(STEP).max(1.0) as usize + 1;
    let mut waiting = asked.chunks(batch);
    let mut again = time::interval(AGAIN);
    let mut stopped = false;
    while shared.open.get() > 0 {
        waiting.next().into_iter().flatten().for_each(|seat| seat.ask(Call::Drain));
        let over = within.is_some_and(|within| began.elapsed() >= within) || *orders.borrow() == Order::Stop;
        if over && !std::mem::replace(&mut stopped, true) {
            shared.seats.borrow().iter().for_each(|seat| seat.ask(Call::Stop));
        }
        tokio::select! {
            () = time::sleep(STEP) => {}
            _ = again.tick() => shared.seats.borrow().iter().for_each(|seat| seat.remind()),
            changed = orders.changed() => if changed.is_err() { return },
        }
    }
}

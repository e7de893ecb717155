//! Live packets spread over threads: nobody waits for anybody, and what cannot be taken is counted.
//!
//! Each capture thread decodes its packets and gathers the segments by worker; a batch goes when it is full or the link
//! rests. A worker that is behind finds its queue full: then segments are dropped where they would have been queued, and
//! TCP itself shows the hole. Each worker has its own [`EventFanout`]; records of different connections come in any order.
//! Time passes by the clock, so that what is idle ends on an idle link too.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::batch::{Batch, Work};
use super::flow::FlowCounters;
use super::tables::Tables;
use super::{SHARDS, Setup, shard_of};
use crate::capture::live::InterfaceCounters;
use crate::output::EventFanout;
use crate::time::Timestamp;
use crate::wire;
use crate::wire::{Decoder, Packet, Segment};

/// Octets of payload in a full batch.
const BATCH_OCTETS: usize = 128 << 10;

/// Segments in a full batch.
const BATCH_SEGMENTS: usize = 1024;

/// Batches that may wait for a worker: on a calm link they are small.
const QUEUE: usize = 1024;

/// What the batches that wait for a worker may hold together: some tenths of a second of a busy Gbit/s link, in which
/// others may have the cores.
const QUEUE_OCTETS: usize = 48 << 20;

/// What a segment counts for beside its payload.
const SEGMENT_OCTETS: usize = 128;

/// Spent batches that are kept for use.
const SPENT: usize = 32;

/// How long records may gather.
const FLUSH: Duration = Duration::from_millis(100);

/// How often the clock is looked at for what is over, and the state of affairs is published.
const TICK: Duration = Duration::from_secs(1);

/// How far the tables' time is behind the clock: packets that the kernel still gathers must not be late.
const BEHIND: Duration = Duration::from_secs(1);

/// The threads that analyze.
pub struct WorkerPool {
    threads: Vec<JoinHandle<()>>,
    states: Vec<Arc<Mutex<WorkerState>>>,
    queues: Vec<WorkerQueue>,
}

/// What the tables of one worker hold, as of a second ago at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerState {
    /// What became of its connections.
    pub flows: FlowCounters,
    /// Connections that are open.
    pub open: u64,
    /// Octets kept behind holes.
    pub buffered: u64,
}

/// The way to a worker.
#[derive(Clone)]
struct WorkerQueue {
    batches: Sender<Batch>,
    spent: Receiver<Batch>,
    /// What waits and what is worked on.
    octets: Arc<AtomicUsize>,
}

impl WorkerQueue {
    fn is_full(&self) -> bool {
        self.batches.is_full() || self.octets.load(Ordering::Relaxed) >= QUEUE_OCTETS
    }
}

fn weight(batch: &Batch) -> usize {
    batch.octets() + batch.len() * SEGMENT_OCTETS
}

/// What a capture thread hands its packets to.
pub struct Dispatcher {
    decoder: Decoder,
    decoded: wire::DecodeCounters,
    counters: Arc<InterfaceCounters>,
    pending: Vec<PendingBatch>,
    /// Number of the next packet; those of several capture threads differ.
    number: u64,
    step: u64,
}

/// What gathers for one worker.
struct PendingBatch {
    batch: Batch,
    queue: WorkerQueue,
}

impl WorkerPool {
    /// Starts the workers, [`Setup::threads`] of them but at most [`SHARDS`]; `fanout` makes what their events go into.
    pub fn start(setup: &Setup, mut fanout: impl FnMut() -> EventFanout) -> io::Result<Self> {
        let threads = setup.threads.clamp(1, SHARDS);
        let mut pool = Self { threads: Vec::new(), states: Vec::new(), queues: Vec::new() };
        for number in 0..threads {
            let (batches, received) = bounded(QUEUE);
            let (empty, spent) = bounded(SPENT);
            let octets = Arc::default();
            let state = Arc::default();
            let worker = LiveWorker {
                tables: Tables::new(number, threads, setup),
                fanout: fanout(),
                state: Arc::clone(&state),
                octets: Arc::clone(&octets),
                flushed: Instant::now(),
                ticked: Instant::now(),
            };
            let name = format!("analyze {number}");
            let thread = thread::Builder::new().name(name).spawn(move || worker.work(&received, &empty))?;
            pool.threads.push(thread);
            pool.states.push(state);
            pool.queues.push(WorkerQueue { batches, spent, octets });
        }
        Ok(pool)
    }

    /// What the capture thread `index` of `all` hands its packets to.
    pub fn dispatcher(&self, setup: &Setup, index: u32, all: u32, counters: Arc<InterfaceCounters>) -> Dispatcher {
        let pending =
            self.queues.iter().map(|queue| PendingBatch { batch: Batch::default(), queue: queue.clone() }).collect();
        Dispatcher {
            decoder: Decoder::new(setup.decoder),
            decoded: wire::DecodeCounters::default(),
            counters,
            pending,
            number: u64::from(index) + 1,
            step: u64::from(all).max(1),
        }
    }

    /// What the workers' tables hold.
    pub fn states(&self) -> impl Iterator<Item = WorkerState> {
        self.states.iter().map(|state| *state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Batches that wait, for all workers together.
    pub fn queued(&self) -> usize {
        self.queues.iter().map(|queue| queue.batches.len()).sum()
    }

    /// Whether a worker is gone, which takes a fault in it.
    pub fn has_fault(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Finishes what is queued and every open session; all [`Dispatcher`] must be gone. The last state of affairs; `None`
    /// after a fault.
    pub fn finish(self) -> Option<Vec<WorkerState>> {
        drop(self.queues);
        let mut whole = true;
        for thread in self.threads {
            whole &= thread.join().is_ok();
        }
        let states = self.states.iter().map(|state| *state.lock().unwrap_or_else(PoisonError::into_inner));
        whole.then(|| states.collect())
    }
}

impl Dispatcher {
    /// Takes a packet.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        let Self { decoder, counters, pending, number, step, .. } = self;
        if let Some(segment) = decoder.decode(packet) {
            let shard = shard_of(&segment);
            let worker = shard.checked_rem(pending.len()).unwrap_or_default();
            if let Some(pending) = pending.get_mut(worker) {
                pending.segment(*number, shard, &segment, counters);
            }
        }
        *number = number.saturating_add(*step);
    }

    /// Sends on what has gathered.
    pub fn flush(&mut self) {
        for pending in &mut self.pending {
            pending.send();
        }
        let now = *self.decoder.counters();
        self.counters.decoded(&self.decoded, &now);
        self.decoded = now;
    }
}

impl Drop for Dispatcher {
    /// What the queue has no room for at the end is waited for: nothing is behind it.
    fn drop(&mut self) {
        for PendingBatch { batch, queue } in &mut self.pending {
            if batch.len() > 0 {
                queue.octets.fetch_add(weight(batch), Ordering::Relaxed);
                let _ = queue.batches.send(std::mem::take(batch));
            }
        }
    }
}

impl PendingBatch {
    fn segment(&mut self, number: u64, shard: usize, segment: &Segment<'_>, counters: &InterfaceCounters) {
        if self.is_full() {
            self.send();
            if self.is_full() {
                return counters.dropped_queue.add(1);
            }
        }
        self.batch.segment(number, shard, segment);
    }

    fn is_full(&self) -> bool {
        self.batch.octets() >= BATCH_OCTETS || self.batch.len() >= BATCH_SEGMENTS
    }

    /// Sends the batch, if there is room for it; else it stays.
    fn send(&mut self) {
        if self.batch.len() == 0 || self.queue.is_full() {
            return;
        }
        let next = self.queue.spent.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.batch, next);
        let octets = weight(&full);
        self.queue.octets.fetch_add(octets, Ordering::Relaxed);
        if let Err(refused) = self.queue.batches.try_send(full) {
            self.queue.octets.fetch_sub(octets, Ordering::Relaxed);
            // Another capture thread was faster; the empty one goes.
            self.batch = refused.into_inner();
        }
    }
}

/// One thread's shards.
struct LiveWorker {
    tables: Tables,
    fanout: EventFanout,
    state: Arc<Mutex<WorkerState>>,
    octets: Arc<AtomicUsize>,
    flushed: Instant,
    ticked: Instant,
}

impl LiveWorker {
    fn work(mut self, batches: &Receiver<Batch>, spent: &Sender<Batch>) {
        loop {
            match batches.recv_timeout(FLUSH) {
                Ok(mut batch) => {
                    self.batch(&batch);
                    self.octets.fetch_sub(weight(&batch), Ordering::Relaxed);
                    batch.clear();
                    let _ = spent.try_send(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.pass_time();
        }
        self.tables.finish(clock(), &mut self.fanout);
        self.fanout.flush();
        self.publish();
    }

    fn batch(&mut self, batch: &Batch) {
        for work in batch.work() {
            if let Work::Segment { number, shard, segment } = work {
                self.tables.segment(number, shard, &segment, &mut self.fanout);
            }
        }
    }

    fn pass_time(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.ticked) >= TICK {
            self.ticked = now;
            let behind = u64::try_from(BEHIND.as_nanos()).unwrap_or_default();
            let time = Timestamp::from_nanos(clock().as_nanos().saturating_sub(behind));
            self.tables.tick(time, &mut self.fanout);
            self.publish();
        }
        if now.duration_since(self.flushed) >= FLUSH {
            self.flushed = now;
            self.fanout.flush();
        }
    }

    fn publish(&self) {
        let mut flows = FlowCounters::default();
        self.tables.counters().for_each(|table| flows += table);
        let state = WorkerState { flows, open: self.tables.open() as u64, buffered: self.tables.buffered() as u64 };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// What the kernel stamps packets with, too.
fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().after(since)
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool").field("states", &self.states).finish_non_exhaustive()
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("decoded", &self.decoded).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

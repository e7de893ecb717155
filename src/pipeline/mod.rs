//! Flows spread over threads; the log is the same, octet for octet, for any number of them.
//!
//! There is a fixed number of shards, each with its own flow table and its share of the budget; a thread owns some
//! of them. The reader decodes packets and cuts the segments into epochs: each worker gets its part of every epoch,
//! even an empty one, and gives back one chunk of records for it. So the writer merges epoch by epoch, every queue is
//! bounded, and nobody waits in a circle. Records are in the order of (packet that caused them, first packet of
//! their connection); what time alone causes comes before the packet that showed the time. With one thread nothing
//! is copied and no thread is started. A worker that panics closes its channels, which ends the run with an error.

mod batch;
pub mod flow;
pub mod live;
mod merge;
mod tables;
mod worker;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::capture::{Capture, CaptureError, Totals};
use crate::engine::Limits;
use crate::event::Sink;
use crate::wire::{DecodeCounters, Decoder, DecoderLimits, Packet, PacketClock, Segment, UnreadCounts};
use flow::{FlowCounters, FlowLimits};

use batch::Batch;
use merge::{Merger, RecordChunk};
use worker::Worker;

/// Flow tables. Their number shows in which flow is evicted when the budget is short, so it never changes.
pub const SHARDS: usize = 16;

/// Octets of payload in an epoch: large enough that its channels cost nothing, small enough for the cache.
const EPOCH_OCTETS: usize = 256 << 10;

/// Segments in an epoch.
const EPOCH_SEGMENTS: usize = 4096;

/// Epochs that may wait for a worker: evens out their load.
const QUEUE: usize = 4;

/// Octets of records that one thread gathers before it writes them.
const GATHER: usize = 256 << 10;

/// What the events of a worker's shards go into.
pub trait RecordSink: Sink + Send {
    /// The lines written since [`Self::clear`].
    fn lines(&self) -> &[u8];
    /// Forgets them.
    fn clear(&mut self);
}

/// What a run needs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Threads that analyze, at least 1; beside them one reads and one writes if there is more than one.
    pub threads: usize,
    /// Caps of a session.
    pub limits: Arc<Limits>,
    /// Caps of flow tracking, of one of the [`SHARDS`] shards.
    pub flows: FlowLimits,
    /// Caps of packet decoding.
    pub decoder: DecoderLimits,
}

/// What came of a run.
#[derive(Debug)]
pub struct RunOutcome<T, E> {
    /// The sinks, in the order of their shards.
    pub sinks: Vec<T>,
    /// What the capture held.
    pub totals: Totals,
    /// What became of its packets.
    pub packets: DecodeCounters,
    /// Which of them were not understood.
    pub unread: UnreadCounts,
    /// What became of its flows, by table.
    pub flows: Vec<FlowCounters>,
    /// Packets whose time could not be true.
    pub wild: u64,
    /// Why it ended early, if it did.
    pub stopped: Option<Stopped<E>>,
}

/// Why a run ended before the capture did.
#[derive(Debug)]
pub enum Stopped<E> {
    /// The lines could not be written.
    Write(E),
    /// A thread could not be started.
    Thread(io::Error),
    /// A worker panicked.
    Fault,
}

/// Reads `capture`, analyzes it with a sink made by `sink` for each worker, and hands the lines to `write`.
pub fn run<T: RecordSink, E: Send>(
    capture: &Capture,
    setup: &Setup,
    trouble: &mut dyn FnMut(CaptureError),
    sink: &dyn Fn() -> T,
    write: &mut (dyn FnMut(&[u8]) -> Result<(), E> + Send),
) -> RunOutcome<T, E> {
    let threads = setup.threads.clamp(1, SHARDS);
    let workers = (0..threads).map(|at| Worker::new(at, threads, setup, sink())).collect::<Vec<_>>();
    if threads == 1 {
        alone(capture, setup, trouble, workers, write)
    } else {
        together(capture, setup, trouble, workers, write)
    }
}

/// Which shard a segment belongs to.
fn shard_of(segment: &Segment<'_>) -> usize {
    usize::try_from(segment.flow_hash() % SHARDS as u64).unwrap_or_default()
}

/// Everything in this thread.
fn alone<T: RecordSink, E>(
    capture: &Capture,
    setup: &Setup,
    trouble: &mut dyn FnMut(CaptureError),
    mut workers: Vec<Worker<T>>,
    write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> RunOutcome<T, E> {
    let mut decoder = Decoder::new(setup.decoder);
    let mut totals = Totals::default();
    let mut clock = PacketClock::default();
    let mut stopped = None;
    if let Some(worker) = workers.first_mut() {
        let mut number = 0;
        let mut chunk = RecordChunk::default();
        let mut merger = Merger::default();
        let mut take = |clock: &mut PacketClock, packet: &Packet<'_>| {
            number += 1;
            if let Some(now) = clock.passes(packet.at) {
                worker.tick(number, now);
            }
            if let Some(segment) = decoder.decode(packet) {
                worker.segment(number, shard_of(&segment), &segment);
            }
            if worker.waiting() <= GATHER {
                return None;
            }
            worker.take(&mut chunk);
            merger.write(std::slice::from_ref(&chunk), write).err()
        };
        totals = capture.for_each(trouble, |packet: &Packet<'_>| {
            stopped = clock.take(packet, &mut take);
            if stopped.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        stopped = stopped.or_else(|| clock.finish(&mut take));
        if stopped.is_none() {
            worker.finish(number + 1, clock.latest());
            worker.take(&mut chunk);
            stopped = merger.write(std::slice::from_ref(&chunk), write).err();
        }
    }
    outcome(workers, totals, &decoder, clock.wild(), stopped.map(Stopped::Write))
}

fn outcome<T: RecordSink, E>(
    workers: Vec<Worker<T>>,
    totals: Totals,
    decoder: &Decoder,
    wild: u64,
    stopped: Option<Stopped<E>>,
) -> RunOutcome<T, E> {
    let mut flows = Vec::with_capacity(SHARDS);
    let mut sinks = Vec::with_capacity(workers.len());
    for worker in workers {
        flows.extend(worker.counters());
        sinks.push(worker.into_sink());
    }
    RunOutcome { sinks, totals, packets: *decoder.counters(), unread: decoder.unread().clone(), flows, wild, stopped }
}

/// The channels of one worker. The two for `spent` bring used buffers back.
struct WorkerChannels {
    batches: Sender<Batch>,
    spent_batches: Receiver<Batch>,
    chunks: Receiver<RecordChunk>,
    spent_chunks: Sender<RecordChunk>,
}

/// The worker's ends of them.
struct WorkerEnd {
    batches: Receiver<Batch>,
    spent_batches: Sender<Batch>,
    chunks: Sender<RecordChunk>,
    spent_chunks: Receiver<RecordChunk>,
}

fn channels() -> (WorkerChannels, WorkerEnd) {
    let (batches, batches_in) = bounded(QUEUE);
    let (spent_batches_out, spent_batches) = bounded(QUEUE + 2);
    let (chunks_out, chunks) = bounded(QUEUE);
    let (spent_chunks, spent_chunks_in) = bounded(QUEUE + 2);
    (
        WorkerChannels { batches, spent_batches, chunks, spent_chunks },
        WorkerEnd {
            batches: batches_in,
            spent_batches: spent_batches_out,
            chunks: chunks_out,
            spent_chunks: spent_chunks_in,
        },
    )
}

/// A reader (this thread), workers, and a writer.
fn together<T: RecordSink, E: Send>(
    capture: &Capture,
    setup: &Setup,
    trouble: &mut dyn FnMut(CaptureError),
    workers: Vec<Worker<T>>,
    write: &mut (dyn FnMut(&[u8]) -> Result<(), E> + Send),
) -> RunOutcome<T, E> {
    let mut decoder = Decoder::new(setup.decoder);
    let (channels, ends): (Vec<_>, Vec<_>) = workers.iter().map(|_| channels()).unzip();
    let (mut senders, mut drains) = (Vec::new(), Vec::new());
    for WorkerChannels { batches, spent_batches, chunks, spent_chunks } in channels {
        senders.push(BatchSender { batch: Batch::default(), batches, spent: spent_batches });
        drains.push((chunks, spent_chunks));
    }
    thread::scope(|scope| {
        let mut running = Vec::with_capacity(workers.len());
        let mut failed = None;
        for (worker, end) in workers.into_iter().zip(ends) {
            match thread::Builder::new().name("analyze".into()).spawn_scoped(scope, move || work(worker, &end)) {
                Ok(thread) => running.push(thread),
                Err(e) => failed = Some(Stopped::Thread(e)),
            }
        }
        let writer = thread::Builder::new().name("write".into()).spawn_scoped(scope, move || write_all(drains, write));
        let mut clock = PacketClock::default();
        let totals = match (&writer, &failed) {
            (Ok(_), None) => read(capture, &mut decoder, &mut clock, trouble, senders),
            _ => {
                drop(senders);
                Totals::default()
            }
        };
        let mut workers = Vec::with_capacity(running.len());
        let mut stopped = match writer.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(written)) => written.err().map(Stopped::Write),
            Ok(Err(_)) => Some(Stopped::Fault),
            Err(e) => Some(Stopped::Thread(e)),
        };
        for thread in running {
            match thread.join() {
                Ok(worker) => workers.push(worker),
                Err(_) => stopped = Some(Stopped::Fault),
            }
        }
        outcome(workers, totals, &decoder, clock.wild(), failed.or(stopped))
    })
}

/// The reader's side of a lane.
struct BatchSender {
    batch: Batch,
    batches: Sender<Batch>,
    spent: Receiver<Batch>,
}

impl BatchSender {
    /// Sends what has gathered, and takes a used batch for what comes; false if the worker is gone.
    fn send(&mut self) -> bool {
        let next = self.spent.try_recv().unwrap_or_default();
        self.batches.send(std::mem::replace(&mut self.batch, next)).is_ok()
    }
}

fn read(
    capture: &Capture,
    decoder: &mut Decoder,
    clock: &mut PacketClock,
    trouble: &mut dyn FnMut(CaptureError),
    mut senders: Vec<BatchSender>,
) -> Totals {
    let mut number = 0;
    let (mut octets, mut segments) = (0, 0);
    let mut take = |clock: &mut PacketClock, packet: &Packet<'_>| {
        number += 1;
        if let Some(now) = clock.passes(packet.at) {
            senders.iter_mut().for_each(|s| s.batch.tick(number, now));
            segments += 1;
        }
        if let Some(segment) = decoder.decode(packet) {
            let shard = shard_of(&segment);
            let worker = shard % senders.len();
            if let Some(sender) = senders.get_mut(worker) {
                sender.batch.segment(number, shard, &segment);
            }
            octets += segment.payload.len();
            segments += 1;
        }
        if octets < EPOCH_OCTETS && segments < EPOCH_SEGMENTS {
            return None;
        }
        (octets, segments) = (0, 0);
        // One that is gone has closed its chunks: the writer stops by itself.
        if senders.iter_mut().all(BatchSender::send) { None } else { Some(()) }
    };
    let totals = capture.for_each(trouble, |packet: &Packet<'_>| match clock.take(packet, &mut take) {
        None => ControlFlow::Continue(()),
        Some(()) => ControlFlow::Break(()),
    });
    let _ = clock.finish(&mut take);
    senders.iter_mut().for_each(|s| s.batch.finish(number + 1, clock.latest()));
    let _ = senders.iter_mut().all(BatchSender::send);
    totals
}

fn work<T: RecordSink>(mut worker: Worker<T>, end: &WorkerEnd) -> Worker<T> {
    for mut batch in &end.batches {
        worker.batch(&batch);
        batch.clear();
        let _ = end.spent_batches.try_send(batch);
        let mut chunk = end.spent_chunks.try_recv().unwrap_or_default();
        worker.take(&mut chunk);
        if end.chunks.send(chunk).is_err() {
            break;
        }
    }
    worker
}

/// Merges an epoch at a time until the workers close.
fn write_all<E>(
    drains: Vec<(Receiver<RecordChunk>, Sender<RecordChunk>)>,
    write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut merger = Merger::default();
    let mut epoch = Vec::with_capacity(drains.len());
    loop {
        for (chunks, _) in &drains {
            match chunks.recv() {
                Ok(chunk) => epoch.push(chunk),
                Err(_) => return Ok(()),
            }
        }
        merger.write(&epoch, write)?;
        for (chunk, (_, spent)) in epoch.drain(..).zip(&drains) {
            let _ = spent.try_send(chunk);
        }
    }
}

#[cfg(test)]
mod tests;

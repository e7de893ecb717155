//! Some of the shards, and what their events become.

use super::batch::{Batch, Work};
use super::flow::FlowCounters;
use super::merge::{ChunkEntry, RecordChunk};
use super::tables::Tables;
use super::{RecordSink, Setup};
use crate::event::{Context, Event, Sink};
use crate::time::Timestamp;
use crate::wire::Segment;

/// Some of the shards, with a sink that notes what caused each record.
pub(super) struct Worker<T> {
    tables: Tables,
    tagged: Tagged<T>,
}

impl<T: RecordSink> Worker<T> {
    pub(super) fn new(number: usize, threads: usize, setup: &Setup, sink: T) -> Self {
        let tables = Tables::new(number, threads, setup);
        Self { tables, tagged: Tagged { sink, cause: 0, entries: Vec::new() } }
    }

    /// A segment that packet `number` brought for `shard`, which must be one of these.
    pub(super) fn segment(&mut self, number: u64, shard: usize, segment: &Segment<'_>) {
        self.tagged.cause = number.saturating_mul(2).saturating_add(1);
        self.tables.segment(number, shard, segment, &mut self.tagged);
    }

    /// Time passed before packet `number`.
    pub(super) fn tick(&mut self, number: u64, now: Timestamp) {
        self.tagged.cause = number.saturating_mul(2);
        self.tables.tick(now, &mut self.tagged);
    }

    /// The capture ended; `number` would be the next packet's.
    pub(super) fn finish(&mut self, number: u64, at: Timestamp) {
        self.tagged.cause = number.saturating_mul(2);
        self.tables.finish(at, &mut self.tagged);
    }

    pub(super) fn batch(&mut self, batch: &Batch) {
        for work in batch.work() {
            match work {
                Work::Segment { number, shard, segment } => self.segment(number, shard, &segment),
                Work::Tick { number, now } => self.tick(number, now),
                Work::Finish { number, at } => self.finish(number, at),
            }
        }
    }

    /// Octets of records that wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.tagged.sink.lines().len()
    }

    /// Moves the records into `chunk`, whose old content goes.
    pub(super) fn take(&mut self, chunk: &mut RecordChunk) {
        chunk.fill(self.tagged.sink.lines(), &mut self.tagged.entries);
        self.tagged.sink.clear();
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = FlowCounters> {
        self.tables.counters()
    }

    pub(super) fn into_sink(self) -> T {
        self.tagged.sink
    }
}

/// Notes what caused each record, and whose it is.
struct Tagged<T> {
    sink: T,
    cause: u64,
    entries: Vec<ChunkEntry>,
}

impl<T: RecordSink> Sink for Tagged<T> {
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>) {
        let start = self.sink.lines().len();
        self.sink.event(context, at, event);
        let end = self.sink.lines().len();
        if end > start {
            self.entries.push(ChunkEntry { cause: self.cause, ordinal: context.peers.ordinal, start, end });
        }
    }
}

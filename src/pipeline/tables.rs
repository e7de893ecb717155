//! The flow tables of some of the shards.

use std::sync::Arc;

use super::flow::{FlowCounters, FlowTable};
use super::{SHARDS, Setup};
use crate::event::Sink;
use crate::time::Timestamp;
use crate::wire::Segment;

/// The shards with `shard % threads == number`.
#[derive(Debug)]
pub(super) struct Tables {
    threads: usize,
    tables: Vec<FlowTable>,
}

impl Tables {
    pub(super) fn new(number: usize, threads: usize, setup: &Setup) -> Self {
        let tables = (number..SHARDS).step_by(threads);
        let tables = tables.map(|_| FlowTable::new(setup.flows, Arc::clone(&setup.limits))).collect();
        Self { threads, tables }
    }

    /// A segment that packet `number` brought for `shard`, which must be one of these.
    pub(super) fn segment(&mut self, number: u64, shard: usize, segment: &Segment<'_>, out: &mut dyn Sink) {
        if let Some(table) = self.tables.get_mut(shard / self.threads) {
            table.segment(number, segment, out);
        }
    }

    /// Time has come to `now`.
    pub(super) fn tick(&mut self, now: Timestamp, out: &mut dyn Sink) {
        for table in &mut self.tables {
            table.tick(now, out);
        }
    }

    /// No more will come.
    pub(super) fn finish(&mut self, at: Timestamp, out: &mut dyn Sink) {
        for table in &mut self.tables {
            table.finish(at, out);
        }
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = FlowCounters> {
        self.tables.iter().map(FlowTable::counters)
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> usize {
        self.tables.iter().map(FlowTable::len).sum()
    }

    /// Octets kept behind holes.
    pub(super) fn buffered(&self) -> usize {
        self.tables.iter().map(FlowTable::buffered).sum()
    }
}

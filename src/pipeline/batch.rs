//! What one worker has to do in one epoch: segments with their payload copied, and the passing of time.

use std::net::SocketAddr;

use crate::time::Timestamp;
use crate::wire::Segment;

/// Room that a spent batch keeps; what a burst of one flow took beyond it is given back.
const KEEP: usize = 1 << 20;

/// One worker's part of an epoch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    tasks: Vec<BatchTask>,
    payload: Vec<u8>,
}

#[derive(Debug)]
enum BatchTask {
    Segment(Stored),
    Tick { number: u64, now: Timestamp },
    Finish { number: u64, at: Timestamp },
}

/// A segment without its payload.
#[derive(Debug)]
struct Stored {
    number: u64,
    at: Timestamp,
    source: u32,
    shard: usize,
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: Option<u32>,
    syn: bool,
    fin: bool,
    rst: bool,
    cut: u32,
    start: usize,
    end: usize,
}

/// A task as the worker sees it.
#[derive(Debug)]
pub(super) enum Work<'a> {
    /// A segment of packet `number` for `shard`.
    Segment { number: u64, shard: usize, segment: Segment<'a> },
    /// Time passed before packet `number`.
    Tick { number: u64, now: Timestamp },
    /// The capture ended before packet `number` could come.
    Finish { number: u64, at: Timestamp },
}

impl Batch {
    pub(super) fn segment(&mut self, number: u64, shard: usize, segment: &Segment<'_>) {
        let Segment { at, source, from, to, seq, ack, syn, fin, rst, payload, cut } = *segment;
        let start = self.payload.len();
        self.payload.extend_from_slice(payload);
        let end = self.payload.len();
        self.tasks.push(BatchTask::Segment(Stored {
            number,
            at,
            source,
            shard,
            from,
            to,
            seq,
            ack,
            syn,
            fin,
            rst,
            cut,
            start,
            end,
        }));
    }

    pub(super) fn tick(&mut self, number: u64, now: Timestamp) {
        self.tasks.push(BatchTask::Tick { number, now });
    }

    pub(super) fn finish(&mut self, number: u64, at: Timestamp) {
        self.tasks.push(BatchTask::Finish { number, at });
    }

    /// The tasks in order.
    pub(super) fn work(&self) -> impl Iterator<Item = Work<'_>> {
        self.tasks.iter().map(|task| match *task {
            BatchTask::Tick { number, now } => Work::Tick { number, now },
            BatchTask::Finish { number, at } => Work::Finish { number, at },
            BatchTask::Segment(Stored {
                number,
                at,
                source,
                shard,
                from,
                to,
                seq,
                ack,
                syn,
                fin,
                rst,
                cut,
                start,
                end,
            }) => {
                let payload = self.payload.get(start..end).unwrap_or_default();
                Work::Segment {
                    number,
                    shard,
                    segment: Segment { at, source, from, to, seq, ack, syn, fin, rst, payload, cut },
                }
            }
        })
    }

    /// Segments in it.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Octets of their payload.
    pub(super) fn octets(&self) -> usize {
        self.payload.len()
    }

    /// Empties it; the usual room stays.
    pub(super) fn clear(&mut self) {
        self.tasks.clear();
        self.payload.clear();
        self.payload.shrink_to(KEEP);
    }
}

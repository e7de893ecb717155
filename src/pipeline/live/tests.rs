//! Nothing waits, nothing is lost unseen, and what is open at the end is told.

use std::path::Path;

use super::*;
use crate::output::{InputKind, Log, LogQueue, LogSettings, Policy};
use crate::pipeline::flow::FlowLimits;
use crate::pipeline::tests::frame;
use crate::wire::{DecoderLimits, LinkType};

fn setup(threads: usize) -> Setup {
    Setup { threads, limits: Arc::default(), flows: FlowLimits::default(), decoder: DecoderLimits::default() }
}

fn give(dispatcher: &mut Dispatcher, data: &[u8]) {
    give_cut(dispatcher, data, data.len());
}

/// The first bytes of a frame that was so long.
fn give_cut(dispatcher: &mut Dispatcher, data: &[u8], length: usize) {
    let wire_len = u32::try_from(length).unwrap();
    dispatcher.packet(&Packet { at: clock(), source: 0, link: LinkType::ETHERNET, data, wire_len });
}

fn greet(dispatcher: &mut Dispatcher, port: u16) {
    give(dispatcher, &frame(25, port, 0, 0x12, b""));
    give(dispatcher, &frame(25, port, 1, 0x18, b"220 mx.example.org ESMTP\r\n"));
}

fn pool(threads: usize, log: &Path) -> (WorkerPool, LogQueue, crate::output::LogWriter) {
    let (queue, writer) = LogQueue::start(
        Log::open(&LogSettings { path: Some(log.to_owned()), ..LogSettings::default() }).unwrap(),
        |news| panic!("{news:?}"),
    )
    .unwrap();
    let policy = Arc::new(Policy { input: InputKind::Live, sources: vec!["veth0".into()], ..Policy::default() });
    let pool =
        WorkerPool::start(&setup(threads), || EventFanout::new(Arc::clone(&policy), Some(queue.clone()))).unwrap();
    (pool, queue, writer)
}

#[test]
fn open_sessions_end_with_the_capture() {
    for (threads, captures) in [(1, 1), (3, 2), (99, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let (pool, queue, writer) = pool(threads, &log);
        let counters: Arc<InterfaceCounters> = Arc::default();
        for index in 0..captures {
            let mut dispatcher = pool.dispatcher(&setup(threads), index, captures, Arc::clone(&counters));
            for port in 0..50 {
                greet(&mut dispatcher, 20_000 + 100 * index as u16 + port);
            }
            dispatcher.flush();
        }
        let states = pool.finish().unwrap();
        assert_eq!(states.len(), threads.min(SHARDS));
        assert_eq!(states.iter().map(|s| s.flows.capture_end).sum::<u64>(), 50 * u64::from(captures));
        assert_eq!(states.iter().map(|s| s.open + s.buffered).sum::<u64>(), 0);
        drop(queue);
        writer.finish().unwrap();
        let text = std::fs::read_to_string(&log).unwrap();
        let ended = text.lines().filter(|line| line.contains("\"outcome\":\"capture_end\"")).count();
        assert_eq!(ended, 50 * captures as usize, "{text}");
        assert_eq!(counters.dropped_queue.value(), 0);
    }
}

/// Dispatcher to a worker that does nothing.
fn stuck(counters: &Arc<InterfaceCounters>) -> (Dispatcher, Receiver<Batch>, Sender<Batch>) {
    let (batches, received) = bounded(QUEUE);
    let (empty, spent) = bounded(SPENT);
    let pool = WorkerPool {
        threads: Vec::new(),
        states: Vec::new(),
        queues: vec![WorkerQueue { batches, spent, octets: Arc::default() }],
    };
    (pool.dispatcher(&setup(1), 0, 1, Arc::clone(counters)), received, empty)
}

#[test]
fn a_worker_that_is_behind_costs_segments_and_no_time() {
    let counters: Arc<InterfaceCounters> = Arc::default();
    let (mut dispatcher, received, empty) = stuck(&counters);
    let room = (QUEUE_OCTETS.div_ceil(BATCH_SEGMENTS * SEGMENT_OCTETS) + 1) * BATCH_SEGMENTS;
    for n in 0..room + 500 {
        give(&mut dispatcher, &frame(20_000, 25, n as u32, 0x10, b""));
    }
    assert_eq!(counters.dropped_queue.value(), 500);
    dispatcher.flush();
    // One batch is taken and given back: there is room again for as many.
    let mut taken = received.recv().unwrap();
    assert_eq!(taken.len(), BATCH_SEGMENTS);
    dispatcher.pending[0].queue.octets.fetch_sub(weight(&taken), Ordering::Relaxed);
    taken.clear();
    empty.send(taken).unwrap();
    for n in 0..BATCH_SEGMENTS + 1 {
        give(&mut dispatcher, &frame(20_000, 25, n as u32, 0x10, b""));
    }
    assert_eq!(counters.dropped_queue.value(), 501);
    assert!(empty.is_empty(), "the spent batch is used again");
    drop(received);
}

#[test]
fn what_cannot_be_decoded_is_counted() {
    let counters: Arc<InterfaceCounters> = Arc::default();
    let (mut dispatcher, received, _empty) = stuck(&counters);
    let whole = frame(20_000, 25, 0, 2, b"");
    give(&mut dispatcher, &whole[..20]);
    give_cut(&mut dispatcher, &whole[..20], whole.len());
    give_cut(&mut dispatcher, &whole[..40], whole.len());
    give(&mut dispatcher, &[[0; 12].as_slice(), &[8, 6], &[0; 28]].concat());
    dispatcher.flush();
    dispatcher.flush();
    assert_eq!((counters.undecoded.value(), counters.cut_headers.value()), (1, 2));
    drop(received);
}

#[test]
fn records_come_while_the_link_is_idle() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let (pool, queue, writer) = pool(2, &log);
    let mut dispatcher = pool.dispatcher(&setup(2), 0, 1, Arc::default());
    greet(&mut dispatcher, 20_000);
    give(&mut dispatcher, &frame(25, 20_000, 27, 0x14, b""));
    dispatcher.flush();
    let until = Instant::now() + Duration::from_secs(20);
    while queue.counters().written.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < until, "no record came");
        thread::yield_now();
    }
    assert!(!pool.has_fault());
    drop(dispatcher);
    pool.finish().unwrap();
    drop(queue);
    writer.finish().unwrap();
}

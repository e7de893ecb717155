//! Records of a running input on their way to the log: a bounded queue and a thread that writes.
//!
//! Who forwards mail or takes packets must never wait for a disk: what finds the queue full is dropped and counted.
//! A log that cannot be written is told once, and tried again with whatever comes next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Log, LogError};

/// Batches that may wait: with [`BATCH`] octets each about 16 MiB.
const QUEUE: usize = 256;

/// Octets of records that are handed over together.
pub(super) const BATCH: usize = 64 << 10;

/// What became of the records, in lines.
#[derive(Debug, Default)]
pub struct LogCounters {
    /// Written.
    pub written: AtomicU64,
    /// Dropped since the queue was full.
    pub queue_full: AtomicU64,
    /// Lost since the log could not be written.
    pub failed: AtomicU64,
    /// Attempts to write that failed.
    pub errors: AtomicU64,
    /// How long the batch that was written last had waited, in nanoseconds.
    pub lag: AtomicU64,
    /// Batches that wait.
    pub depth: AtomicU64,
}

enum QueueMessage {
    Lines { lines: Vec<u8>, since: Instant },
    Reopen,
    Flush(Sender<()>),
}

/// Where threads leave lines for the log. Clones share the queue.
#[derive(Clone)]
pub struct LogQueue {
    queue: Sender<QueueMessage>,
    spent: Receiver<Vec<u8>>,
    counters: Arc<LogCounters>,
}

/// The thread that writes; dropped or [finished](Self::finish), it writes what is queued and ends.
#[derive(Debug)]
pub struct LogWriter {
    thread: JoinHandle<Result<(), LogError>>,
}

impl LogQueue {
    /// Starts the thread that writes `log`. `complain` is told of the first failure of a row.
    pub fn start(log: Log, complain: fn(&LogError)) -> io::Result<(Self, LogWriter)> {
        let (queue, messages) = bounded(QUEUE);
        let (spent, spare) = bounded(QUEUE);
        let counters = Arc::new(LogCounters::default());
        let counted = Arc::clone(&counters);
        let thread = thread::Builder::new()
            .name("log".into())
            .spawn(move || write(log, &messages, &spent, &counted, complain))?;
        Ok((Self { queue, spent: spare, counters }, LogWriter { thread }))
    }

    /// Takes the lines out of `lines`, which is empty then. Never waits.
    pub fn send(&self, lines: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let empty = self.spent.try_recv().unwrap_or_default();
        let full = std::mem::replace(lines, empty);
        let message = QueueMessage::Lines { lines: full, since: Instant::now() };
        self.counters.depth.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = self.queue.try_send(message) {
            self.counters.depth.fetch_sub(1, Ordering::Relaxed);
            if let QueueMessage::Lines { lines: mut full, .. } = refused.into_inner() {
                self.counters.queue_full.fetch_add(count(&full), Ordering::Relaxed);
                full.clear();
                *lines = full;
            }
        }
    }

    /// Asks for the file to be opened anew, once what is queued before is written.
    pub fn reopen(&self) {
        // The queue empties as fast as the disk allows; a signal handler's thread may wait for it.
        let _ = self.queue.send(QueueMessage::Reopen);
    }

    /// Waits, at most `patience`, until what was sent before is in the file.
    pub fn flush(&self, patience: Duration) {
        let (done, wait) = bounded(1);
        if self.queue.send_timeout(QueueMessage::Flush(done), patience).is_ok() {
            let _ = wait.recv_timeout(patience);
        }
    }

    /// What became of the records so far.
    pub fn counters(&self) -> &Arc<LogCounters> {
        &self.counters
    }
}

impl fmt::Debug for LogQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogQueue").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl LogWriter {
    /// Whether it has ended before its time: nobody reads standard output any more.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until everything is written; every [`LogQueue`] must be gone. Tells the last failure, if it was not mended.
    pub fn finish(self) -> Result<(), LogError> {
        self.thread.join().unwrap_or(Ok(()))
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

fn write(
    mut log: Log,
    messages: &Receiver<QueueMessage>,
    spent: &Sender<Vec<u8>>,
    counters: &LogCounters,
    complain: fn(&LogError),
) -> Result<(), LogError> {
    let mut last = Ok(());
    for message in messages {
        let done = match message {
            QueueMessage::Lines { mut lines, since } => {
                counters.depth.fetch_sub(1, Ordering::Relaxed);
                let done = log.write(&lines).and_then(|()| log.flush());
                let of = if done.is_ok() { &counters.written } else { &counters.failed };
                of.fetch_add(count(&lines), Ordering::Relaxed);
                let lag = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                counters.lag.store(lag, Ordering::Relaxed);
                lines.clear();
                let _ = spent.try_send(lines);
                done
            }
            QueueMessage::Reopen => log.reopen(),
            QueueMessage::Flush(done) => {
                let _ = done.try_send(());
                continue;
            }
        };
        if let Err(error) = &done {
            counters.errors.fetch_add(1, Ordering::Relaxed);
            if last.is_ok() {
                complain(error);
            }
            // What is a pipe now will be one for ever; a path may be something else when it is opened again.
            if error.is_broken_pipe() && log.path().as_os_str() == "-" {
                return done;
            }
        }
        last = done;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::LogSettings;

    #[test]
    fn lines_reach_the_file_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (queue, writer) =
            LogQueue::start(Log::open(&LogSettings { path: Some(path.clone()), rotate: None }).unwrap(), |_| {})
                .unwrap();
        for line in ["{\"a\":1}\n", "{\"a\":2}\n{\"a\":3}\n"] {
            let mut lines = line.as_bytes().to_vec();
            queue.send(&mut lines);
            assert!(lines.is_empty());
        }
        queue.flush(Duration::from_secs(10));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        assert_eq!(queue.counters().written.load(Ordering::Relaxed), 3);
        drop(queue);
        writer.finish().unwrap();
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let (queue, messages) = bounded(1);
        let (_spent, spare) = bounded(1);
        let queue = LogQueue { queue, spent: spare, counters: Arc::default() };
        queue.send(&mut b"1\n".to_vec());
        queue.send(&mut b"2\n3\n".to_vec());
        assert_eq!(queue.counters().queue_full.load(Ordering::Relaxed), 2);
        assert_eq!(queue.counters().depth.load(Ordering::Relaxed), 1);
        drop(messages);
    }

    #[test]
    fn a_full_disk_is_told_and_counted() {
        let (queue, writer) =
            LogQueue::start(Log::open(&LogSettings { path: Some("/dev/full".into()), rotate: None }).unwrap(), |_| {})
                .unwrap();
        queue.send(&mut b"1\n".to_vec());
        queue.send(&mut b"2\n".to_vec());
        let counters = Arc::clone(queue.counters());
        drop(queue);
        assert!(writer.finish().is_err());
        assert_eq!(counters.failed.load(Ordering::Relaxed), 2);
        assert_eq!(counters.errors.load(Ordering::Relaxed), 2);
    }
}

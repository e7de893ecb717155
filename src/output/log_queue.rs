//! Records of a running input on their way to the log: a bounded queue and a thread that writes.
//!
//! Who forwards mail or takes packets must never wait for a disk or a reader: what finds the queue full is dropped and counted.
//! A log that cannot be written is reported once, and tried again with whatever comes next; that it can be again is reported
//! with the number of records lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::log::Stop;
use super::{Log, LogError};

/// Batches that may wait: with [`BATCH`] octets each about 16 MiB.
const QUEUE: usize = 256;

/// Octets of records that are handed over together.
pub(super) const BATCH: usize = 64 << 10;

/// How often the thread looks at the log's path.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end waits for a disk that takes nothing. A reader that takes nothing is given up sooner, by the log itself.
const STUCK: Duration = Duration::from_secs(5);

/// What became of the records, in lines.
#[derive(Debug)]
pub struct LogCounters {
    /// Written.
    pub written: AtomicU64,
    /// Dropped since the queue was full.
    pub queue_full: AtomicU64,
    /// Lost since the log could not be written.
    pub failed: AtomicU64,
    /// Attempts to write that failed.
    pub errors: AtomicU64,
    /// When the batches were handed over that are not written yet, the oldest first.
    batches: Mutex<VecDeque<Instant>>,
    /// Lines that wait, and their bytes.
    waiting: AtomicU64,
    waiting_bytes: AtomicU64,
}

impl Default for LogCounters {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            written: zero(),
            queue_full: zero(),
            failed: zero(),
            errors: zero(),
            batches: Mutex::default(),
            waiting: zero(),
            waiting_bytes: zero(),
        }
    }
}

impl LogCounters {
    /// Lines that are lost.
    pub fn lost(&self) -> u64 {
        self.queue_full.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }

    /// Age of the oldest record that was handed over and is not written yet; zero if there is none.
    pub fn lag(&self) -> Duration {
        self.batches().front().map(Instant::elapsed).unwrap_or_default()
    }

    /// Records that wait, and their bytes.
    pub fn waiting(&self) -> (u64, u64) {
        (self.waiting.load(Ordering::Relaxed), self.waiting_bytes.load(Ordering::Relaxed))
    }

    fn batches(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch into the queue with `send`, and notes when, in the order of the queue: neither waits.
    pub(super) fn hand_over<E>(&self, send: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mut batches = self.batches();
        batches.push_back(Instant::now());
        send().inspect_err(|_| _ = batches.pop_back())
    }

    fn wait(&self, lines: &[u8]) {
        self.waiting.fetch_add(count(lines), Ordering::Relaxed);
        self.waiting_bytes.fetch_add(lines.len() as u64, Ordering::Relaxed);
    }

    fn wait_no_more(&self, lines: &[u8]) {
        self.waiting.fetch_sub(count(lines), Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(lines.len() as u64, Ordering::Relaxed);
    }
}

/// How writing goes, as far as somebody should know.
#[derive(Debug)]
pub enum LogNews<'a> {
    /// The first failure of a row.
    Failed(&'a LogError),
    /// The end of such a row.
    Restored {
        /// The log.
        log: &'a Log,
        /// Records that were lost meanwhile.
        lost: u64,
    },
    /// The path cannot be opened again: records go where they went.
    NotOpened(&'a LogError),
    /// Now it is.
    Opened(&'a Log),
}

enum QueueMessage {
    Lines(Vec<u8>),
    Reopen,
    Flush(Sender<()>),
}

/// Where threads leave lines for the log. Clones share the queue.
#[derive(Clone)]
pub struct LogQueue {
    queue: Sender<QueueMessage>,
    spent: Receiver<Vec<u8>>,
    reopen: Arc<AtomicBool>,
    counters: Arc<LogCounters>,
}

/// The thread that writes; dropped or [finished](Self::finish), it writes what is queued and ends.
#[derive(Debug)]
pub struct LogWriter {
    thread: JoinHandle<Result<(), LogError>>,
    path: std::path::PathBuf,
    stop: Stop,
    counters: Arc<LogCounters>,
}

impl LogQueue {
    /// Starts the thread that writes `log`. `report` is told when writing begins to fail, and when it works again.
    pub fn start(log: Log, report: fn(LogNews<'_>)) -> io::Result<(Self, LogWriter)> {
        let (queue, messages) = bounded(QUEUE);
        let (spent, spare) = bounded(QUEUE);
        let (stop, reopen, counters) = (Stop::default(), Arc::<AtomicBool>::default(), Arc::<LogCounters>::default());
        let path = log.path().to_owned();
        let writing = Writing {
            log: log.until(stop.clone()),
            counters: Arc::clone(&counters),
            reopen: Arc::clone(&reopen),
            last: Ok(()),
            lost: 0,
            is_elsewhere: false,
            report,
        };
        let run = move || writing.run(&messages, &spent);
        let thread = thread::Builder::new().name("log".into()).spawn(run)?;
        let writer = LogWriter { thread, path, stop, counters: Arc::clone(&counters) };
        Ok((Self { queue, spent: spare, reopen, counters }, writer))
    }

    /// Takes the lines out of `lines`, which is empty then. Never waits.
    pub fn send(&self, lines: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let empty = self.spent.try_recv().unwrap_or_default();
        let full = std::mem::replace(lines, empty);
        self.counters.wait(&full);
        let Err(refused) = self.counters.hand_over(|| self.queue.try_send(QueueMessage::Lines(full))) else { return };
        let lost = match refused {
            TrySendError::Full(_) => &self.counters.queue_full,
            // The thread has ended: nobody reads standard output any more.
            TrySendError::Disconnected(_) => &self.counters.failed,
        };
        if let QueueMessage::Lines(mut full) = refused.into_inner() {
            self.counters.wait_no_more(&full);
            lost.fetch_add(count(&full), Ordering::Relaxed);
            full.clear();
            *lines = full;
        }
    }

    /// Asks for the file to be opened anew, once what is queued before is written. Never waits.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
        // So that it comes in its turn; a full queue comes to it all the same.
        let _ = self.queue.try_send(QueueMessage::Reopen);
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

    /// Waits until everything is written; every [`LogQueue`] must be gone. What a reader or disk does not take is given up
    /// after some seconds, and counted. Tells the last failure, if it was not mended.
    pub fn finish(self) -> Result<(), LogError> {
        self.stop.ask();
        let (mut moved, mut before) = (Instant::now(), self.counters.waiting.load(Ordering::Relaxed));
        while !self.thread.is_finished() {
            thread::sleep(Duration::from_millis(2));
            let waiting = self.counters.waiting.load(Ordering::Relaxed);
            if waiting != before {
                (moved, before) = (Instant::now(), waiting);
            } else if moved.elapsed() >= STUCK {
                self.counters.failed.fetch_add(waiting, Ordering::Relaxed);
                return Err(LogError::stuck(&self.path, 0));
            }
        }
        self.thread.join().unwrap_or(Ok(()))
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// What the thread has.
struct Writing {
    log: Log,
    counters: Arc<LogCounters>,
    reopen: Arc<AtomicBool>,
    last: Result<(), LogError>,
    /// Records lost since writing failed.
    lost: u64,
    /// The path could not be opened again.
    is_elsewhere: bool,
    report: fn(LogNews<'_>),
}

impl Writing {
    fn run(mut self, messages: &Receiver<QueueMessage>, spent: &Sender<Vec<u8>>) -> Result<(), LogError> {
        if self.log.is_unread() {
            (self.report)(LogNews::Failed(&LogError::unread(self.log.path())));
        }
        loop {
            match messages.recv_timeout(LOOK) {
                Ok(QueueMessage::Lines(mut lines)) => {
                    self.write(&lines);
                    lines.clear();
                    let _ = spent.try_send(lines);
                }
                Ok(QueueMessage::Reopen) | Err(RecvTimeoutError::Timeout) => {}
                Ok(QueueMessage::Flush(done)) => {
                    let _ = done.try_send(());
                }
                Err(RecvTimeoutError::Disconnected) => return self.last,
            }
            let opened = if self.reopen.swap(false, Ordering::Relaxed) { self.log.reopen() } else { self.log.look() };
            self.opened(opened);
            // A pipe that was passed stays what it is; a path may be something else when it is opened again.
            if self.log.is_fixed() && self.last.as_ref().is_err_and(LogError::is_broken_pipe) {
                return self.last;
            }
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let before = self.log.lines();
        let done = self.log.write(lines).and_then(|()| self.log.flush());
        let written = self.log.lines() - before;
        let lost = count(lines).saturating_sub(written);
        self.counters.written.fetch_add(written, Ordering::Relaxed);
        self.counters.failed.fetch_add(lost, Ordering::Relaxed);
        self.counters.wait_no_more(lines);
        self.counters.batches().pop_front();
        self.lost += lost;
        match done {
            Ok(()) => {
                if std::mem::replace(&mut self.last, Ok(())).is_err() {
                    let lost = std::mem::take(&mut self.lost);
                    (self.report)(LogNews::Restored { log: &self.log, lost });
                }
            }
            Err(error) => self.failed(error),
        }
    }

    fn opened(&mut self, opened: Result<(), LogError>) {
        match opened {
            Err(error) => {
                self.counters.errors.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_elsewhere, true) {
                    (self.report)(LogNews::NotOpened(&error));
                }
            }
            Ok(()) if self.is_elsewhere && !self.log.is_elsewhere() => {
                self.is_elsewhere = false;
                (self.report)(LogNews::Opened(&self.log));
            }
            Ok(()) => {}
        }
    }

    fn failed(&mut self, error: LogError) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
        if self.last.is_ok() {
            (self.report)(LogNews::Failed(&error));
        }
        self.last = Err(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::LogSettings;

    #[test]
    fn lines_reach_the_file_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (queue, writer) = LogQueue::start(
            Log::open(&LogSettings { path: Some(path.clone()), ..LogSettings::default() }).unwrap(),
            |_| {},
        )
        .unwrap();
        for line in ["{\"a\":1}\n", "{\"a\":2}\n{\"a\":3}\n"] {
            let mut lines = line.as_bytes().to_vec();
            queue.send(&mut lines);
            assert!(lines.is_empty());
        }
        queue.flush(Duration::from_secs(10));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        assert_eq!(queue.counters().written.load(Ordering::Relaxed), 3);
        assert_eq!((queue.counters().waiting(), queue.counters().lag()), ((0, 0), Duration::ZERO));
        drop(queue);
        writer.finish().unwrap();
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let (queue, messages) = bounded(1);
        let (_spent, spare) = bounded(1);
        let queue = LogQueue { queue, spent: spare, reopen: Arc::default(), counters: Arc::default() };
        queue.send(&mut b"1\n".to_vec());
        queue.send(&mut b"2\n3\n".to_vec());
        assert_eq!(queue.counters().queue_full.load(Ordering::Relaxed), 2);
        assert_eq!((queue.counters().waiting(), queue.counters().batches().len()), ((1, 2), 1));
        assert!(queue.counters().lag() > Duration::ZERO);
        drop(messages);
        queue.send(&mut b"4\n".to_vec());
        assert_eq!(queue.counters().failed.load(Ordering::Relaxed), 1, "nobody writes any more");
        assert_eq!(queue.counters().lost(), 3);
    }

    #[test]
    fn a_full_disk_is_told_and_counted() {
        let (queue, writer) = LogQueue::start(
            Log::open(&LogSettings { path: Some("/dev/full".into()), ..LogSettings::default() }).unwrap(),
            |_| {},
        )
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

//! How many descriptors the connections may have: what the process may open, less what the log, the metrics and a reload
//! need. Without that reserve, a process full of connections could not open its log again nor show that it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;
use tokio::time;

/// Both sides of a connection, or both ends of a pipe.
const EACH: usize = 2;

/// What a thread that forwards has open besides: its poller, its waker, the signals.
const THREAD: usize = 4;

/// The reserve: the log and its folder while it is opened again, configuration and certificates, name servers, a handover,
/// and most of the clients of the metrics. A process with a low limit keeps an eighth of it.
const RESERVE: usize = 96;

/// The descriptors that connections have, of all threads.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// Open before the threads began.
    before: usize,
    threads: usize,
    /// At which each thread listens.
    sockets: AtomicUsize,
    /// How many connections may have.
    room: AtomicUsize,
    taken: AtomicUsize,
    given_back: Notify,
}

impl Descriptors {
    /// Of a process that is about to start `threads`.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            before: open_now(),
            threads,
            sockets: AtomicUsize::new(0),
            room: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            given_back: Notify::new(),
        }
    }

    /// The threads listen at so many sockets from now on, each with a descriptor of its own.
    pub(super) fn listen(&self, sockets: usize) {
        self.sockets.store(sockets, Ordering::Relaxed);
        self.limited(limit());
    }

    /// There was none, against all reckoning: the limit was lowered (prlimit(1)), or the host has none left.
    pub(super) fn ran_out(&self) {
        self.limited(limit());
    }

    /// The process may open `limit`; `None` is no limit.
    fn limited(&self, limit: Option<usize>) {
        let room = limit.map_or(usize::MAX, |limit| {
            let fixed = self.before + self.threads * (THREAD + self.sockets.load(Ordering::Relaxed));
            let room = limit.saturating_sub(fixed + RESERVE.min(limit / 8));
            // One connection, whatever the limit: better than none.
            room.max(EACH)
        });
        self.room.store(room, Ordering::Relaxed);
    }

    /// Whether there are enough for one more connection.
    pub(super) fn has_room(&self) -> bool {
        self.taken.load(Ordering::Acquire).saturating_add(EACH) <= self.room.load(Ordering::Relaxed)
    }

    /// Waits until there are enough for one more connection.
    pub(super) async fn room(&self) {
        /// A departure may be missed where threads race for the last one, and the limit may be raised.
        const AGAIN: Duration = Duration::from_millis(100);
        while !self.has_room() {
            if time::timeout(AGAIN, self.given_back.notified()).await.is_err() {
                self.limited(limit());
            }
        }
    }

    /// Takes those of one more connection or pipe. Whoever looked for room before takes them in any case: threads that accept at the same
    /// moment go over it by a few, which the reserve bears.
    pub(super) fn take(self: &Arc<Self>) -> TakenDescriptors {
        self.taken.fetch_add(EACH, Ordering::AcqRel);
        TakenDescriptors(Arc::clone(self))
    }
}

/// The descriptors of a connection or a pipe, while it lives.
#[derive(Debug)]
pub(super) struct TakenDescriptors(Arc<Descriptors>);

impl Drop for TakenDescriptors {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(EACH, Ordering::AcqRel);
        self.0.given_back.notify_one();
    }
}

/// What the process may open now; `None` is no limit.
pub(super) fn limit() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Descriptors that are open; without /proc, as many as a start takes.
fn open_now() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(32, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(limit: usize) -> Arc<Descriptors> {
        let descriptors = Descriptors { before: 20, sockets: AtomicUsize::new(1), ..Descriptors::new(2) };
        descriptors.limited(Some(limit));
        Arc::new(descriptors)
    }

    #[test]
    fn connections_leave_the_reserve_alone() {
        // 1024, less 20, less 2 threads with 5, less 96.
        let descriptors = of(1024);
        let taken: Vec<_> = std::iter::from_fn(|| descriptors.has_room().then(|| descriptors.take())).collect();
        assert_eq!(taken.len(), (1024 - 20 - 10 - 96) / 2);
        drop(taken);
        assert!(descriptors.has_room());
        // A low limit has a small one.
        let descriptors = of(64);
        let taken: Vec<_> = std::iter::from_fn(|| descriptors.has_room().then(|| descriptors.take())).collect();
        assert_eq!(taken.len(), (64 - 20 - 10 - 8) / 2);
        assert!(of(1).has_room(), "one connection in any case");
        let unlimited = Descriptors::new(2);
        unlimited.limited(None);
        assert!(unlimited.has_room());
        // Less than before: those who are in stay.
        let descriptors = of(1024);
        let _taken: Vec<_> = (0..100).map(|_| descriptors.take()).collect();
        descriptors.limited(Some(64));
        assert!(!descriptors.has_room());
    }

    #[test]
    fn who_waits_comes_in_when_another_leaves() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let descriptors = Arc::new(Descriptors { before: usize::MAX / 2, ..Descriptors::new(2) });
            descriptors.ran_out();
            let first = descriptors.take();
            assert!(time::timeout(Duration::from_millis(20), descriptors.room()).await.is_err());
            drop(first);
            descriptors.room().await;
        });
    }
}

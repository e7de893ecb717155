//! How many descriptors the connections may have: what the process may open, less what the log, the metrics and a reload
//! need. Without that reserve, a process full of connections could not open its log again nor show that it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
    /// What the process may open; `None` is no limit.
    limit: Option<usize>,
    /// Open before the threads began.
    before: usize,
    threads: usize,
    /// How many connections may have.
    room: AtomicUsize,
    taken: AtomicUsize,
    given_back: Notify,
}

impl Descriptors {
    /// Of a process that may open `limit` descriptors, and is about to start `threads`.
    pub(super) fn new(limit: Option<u64>, threads: usize) -> Self {
        Self {
            limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            before: open_now(),
            threads,
            room: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            given_back: Notify::new(),
        }
    }

    /// The threads listen at so many sockets from now on, each with a descriptor of its own.
    pub(super) fn listen(&self, sockets: usize) {
        let room = self.limit.map_or(usize::MAX, |limit| {
            let fixed = self.before + self.threads * (THREAD + sockets);
            let room = limit.saturating_sub(fixed + RESERVE.min(limit / 8));
            // One connection, whatever the limit: better than none.
            room.max(EACH)
        });
        self.room.store(room, Ordering::Relaxed);
    }

    /// The limit of the process; 0 is none.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(0)
    }

    /// Whether there are enough for one more connection.
    pub(super) fn has_room(&self) -> bool {
        self.taken.load(Ordering::Acquire).saturating_add(EACH) <= self.room.load(Ordering::Relaxed)
    }

    /// Waits until there are enough for one more connection.
    pub(super) async fn room(&self) {
        /// A departure may be missed where threads race for the last one.
        const AGAIN: Duration = Duration::from_millis(100);
        while !self.has_room() {
            let _ = time::timeout(AGAIN, self.given_back.notified()).await;
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

/// Descriptors that are open; without /proc, as many as a start takes.
fn open_now() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(32, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(limit: u64) -> Arc<Descriptors> {
        let descriptors = Arc::new(Descriptors { before: 20, ..Descriptors::new(Some(limit), 2) });
        descriptors.listen(1);
        descriptors
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
        let unlimited = Arc::new(Descriptors::new(None, 2));
        unlimited.listen(1000);
        assert!(unlimited.has_room());
    }

    #[test]
    fn who_waits_comes_in_when_another_leaves() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let descriptors = of(1);
            let first = descriptors.take();
            assert!(time::timeout(Duration::from_millis(20), descriptors.room()).await.is_err());
            drop(first);
            descriptors.room().await;
        });
    }
}

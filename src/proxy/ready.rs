//! Since when a connection is ready: its socket has something, and the event loop serves others first.
//!
//! Whoever is forwarded through a busy thread waits for that; a latency that began at the read would not show it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use super::clock::Timeline;
use crate::time::Timestamp;

/// The task of a connection, which notes when it is woken.
struct ReadyTask {
    /// When it was woken first since it ran, in nanoseconds of the timeline; 0: it was not.
    since: AtomicU64,
    timeline: Timeline,
    task: Waker,
}

impl Wake for ReadyTask {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(self.timeline.now().as_nanos(), Ordering::Relaxed);
        }
        self.task.wake_by_ref();
    }
}

/// Notes when a connection becomes ready.
pub(super) struct ReadyTimer {
    timeline: Timeline,
    task: Option<(Arc<ReadyTask>, Waker)>,
}

impl ReadyTimer {
    pub(super) fn new(timeline: Timeline) -> Self {
        Self { timeline, task: None }
    }

    /// The connection runs, in the task of `cx`: a waker of that task that notes when it is used, and since when the
    /// connection has been ready, if it was woken by such a waker.
    pub(super) fn run(&mut self, cx: &Context<'_>) -> (Waker, Option<Timestamp>) {
        let known = self.task.take();
        let since = known.as_ref().map_or(0, |(ready, _)| ready.since.swap(0, Ordering::Relaxed));
        let same = known.filter(|(ready, _)| ready.task.will_wake(cx.waker()));
        let (_, waker) = self.task.insert(same.unwrap_or_else(|| {
            let (since, timeline, task) = (AtomicU64::new(0), self.timeline, cx.waker().clone());
            let ready = Arc::new(ReadyTask { since, timeline, task });
            (Arc::clone(&ready), Waker::from(ready))
        }));
        (waker.clone(), (since != 0).then(|| Timestamp::from_nanos(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wake_since_it_ran_counts() {
        let timeline = Timeline::new();
        let mut timer = ReadyTimer::new(timeline);
        let cx = Context::from_waker(Waker::noop());
        let (waker, since) = timer.run(&cx);
        assert_eq!(since, None);
        let before = timeline.now();
        waker.wake_by_ref();
        let after = timeline.now();
        waker.wake_by_ref();
        let (_, since) = timer.run(&cx);
        assert!(since.is_some_and(|since| (before..=after).contains(&since)), "{since:?}");
        assert_eq!(timer.run(&cx).1, None);
    }
}

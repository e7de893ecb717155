//! A bar on the terminal, for captures that take longer than a second.

use std::io::{IsTerminal as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::capture::Capture;

/// What is done before does not need a bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks at how far it is.
const PACE: Duration = Duration::from_millis(100);

/// A bar that may show, or may not.
pub(super) struct Progress {
    running: Option<ProgressThread>,
}

struct ProgressThread {
    bar: ProgressBar,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Watches how far `capture` is read; not when `quiet`, without a terminal, or if its size is unknown.
    pub(super) fn start(capture: &Capture, quiet: bool) -> Self {
        let size = capture.size().filter(|_| !quiet && stderr().is_terminal());
        Self { running: size.and_then(|size| ProgressThread::start(size, capture.progress())) }
    }

    /// Does `what` while the bar is out of the way.
    pub(super) fn pause(&self, what: impl FnOnce()) {
        match &self.running {
            Some(running) => running.bar.suspend(what),
            None => what(),
        }
    }

    /// Takes the bar away.
    pub(super) fn stop(self) {
        if let Some(ProgressThread { bar, stop, thread }) = self.running {
            drop(stop);
            let _ = thread.join();
            bar.finish_and_clear();
        }
    }
}

impl ProgressThread {
    fn start(size: u64, read: Arc<AtomicU64>) -> Option<Self> {
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::hidden());
        let style =
            "{wide_bar} {percent:>3}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style).ok()?);
        let (stop, stopped) = bounded::<()>(0);
        let shown = bar.clone();
        let watch = move || {
            let mut wait = PATIENCE;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                if wait == PATIENCE {
                    shown.set_draw_target(ProgressDrawTarget::stderr());
                    wait = PACE;
                }
                shown.set_position(read.load(Ordering::Relaxed).min(size));
            }
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(watch).ok()?;
        Some(Self { bar, stop, thread })
    }
}

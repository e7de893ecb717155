//! The thread that writes to standard error, and its bounded queue.

use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::repeats::Repeats;
use super::{Level, line};

/// Lines that may wait: more come only with `--verbose`, and are of no use to a reader that is so far behind.
const QUEUE: usize = 4096;

/// How often it is looked for warnings that were counted.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

static OUTPUT: Mutex<Output> = Mutex::new(Output { repeats: Repeats::new(), queue: None, lost: 0, is_stuck: false });

/// Where lines go.
struct Output {
    repeats: Repeats,
    /// Of the thread, while it runs.
    queue: Option<Sender<String>>,
    /// Lines that the queue had no room for.
    lost: u64,
    /// Nobody reads: who writes would wait for ever.
    is_stuck: bool,
}

/// Lines are written by a thread of their own while this lives.
#[derive(Debug)]
pub struct Console {
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread.
pub fn start() -> io::Result<Console> {
    let (queue, lines) = bounded(QUEUE);
    let thread = thread::Builder::new().name("console".into()).spawn(move || write(&lines))?;
    output().queue = Some(queue);
    Ok(Console { thread: Some(thread) })
}

impl Drop for Console {
    /// Shows what was only counted, and waits a little until everything is written.
    fn drop(&mut self) {
        let counted = repeats(|repeats| repeats.finish(Instant::now()));
        for (level, text) in counted {
            put(line(level, &text));
        }
        drop(output().queue.take());
        let Some(thread) = self.thread.take() else { return };
        let began = Instant::now();
        while !thread.is_finished() {
            if began.elapsed() >= PATIENCE {
                output().is_stuck = true;
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = thread.join();
    }
}

/// Writes `text`, a whole line, or leaves it to the thread.
pub(super) fn put(text: String) {
    let mut output = output();
    if let Some(queue) = &output.queue {
        if queue.try_send(text).is_err() {
            output.lost += 1;
        }
    } else if !output.is_stuck {
        drop(output);
        show(&text);
    }
}

/// Asks the repeated warnings.
pub(super) fn repeats<T>(ask: impl FnOnce(&mut Repeats) -> T) -> T {
    ask(&mut output().repeats)
}

fn write(lines: &Receiver<String>) {
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(text) => show(&text),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let (lost, counted) = {
            let mut output = output();
            (std::mem::take(&mut output.lost), output.repeats.due(Instant::now()))
        };
        for (level, text) in counted {
            show(&line(level, &text));
        }
        if lost > 0 {
            show(&line(Level::Warning, &format!("{lost} lines like these are missing: standard error was not read")));
        }
    }
}

fn show(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn output() -> MutexGuard<'static, Output> {
    OUTPUT.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Signals as a stream, for modes that run on tokio and, through [`Waiter`], for those that do not.
//!
//! SIGTERM and SIGINT ask for an end, the first time gently; SIGHUP asks to read the configuration and open the files
//! again. SIGPIPE is an error of a write, nothing more.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// To end: finish what is open.
    Terminate,
    /// To end at once: it is asked for again.
    Again,
    /// To read the configuration and to open the files again.
    Reload,
}

/// The signals of this process as they come.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    reload: Stream,
    ending: bool,
}

impl Signals {
    /// From now on the signals come here. Must be called inside a tokio runtime with its I/O driver.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            ending: false,
        })
    }

    /// Waits for the next. May be dropped and called again without a loss.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => self.end(),
            _ = self.interrupt.recv() => self.end(),
            _ = self.reload.recv() => Signal::Reload,
        }
    }

    fn end(&mut self) -> Signal {
        let again = std::mem::replace(&mut self.ending, true);
        if again { Signal::Again } else { Signal::Terminate }
    }
}

/// Waits for signals in a thread that runs nothing else. It starts no thread.
#[derive(Debug)]
pub struct Waiter {
    // The streams need their runtime to be there when they go.
    signals: Signals,
    runtime: Runtime,
}

impl Waiter {
    /// From now on the signals come here.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let entered = runtime.enter();
        let signals = Signals::listen()?;
        drop(entered);
        Ok(Self { signals, runtime })
    }

    /// Waits for the next, at most `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<Signal> {
        let Self { signals, runtime } = self;
        runtime.block_on(async { tokio::time::timeout(patience, signals.next()).await.ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::privileges::tests::in_child;
    use rustix::process::{Signal as Number, getpid, kill_process};

    #[test]
    fn signals_come_in_order() {
        in_child("process::signals::tests::takes_signals");
    }

    #[test]
    #[ignore = "signals its process; run by signals_come_in_order"]
    fn takes_signals() {
        const LONG: Duration = Duration::from_secs(20);
        let mut waiter = Waiter::listen().unwrap();
        assert_eq!(waiter.wait(Duration::from_millis(1)), None);
        for (number, expected) in [
            (Number::HUP, Signal::Reload),
            (Number::INT, Signal::Terminate),
            (Number::HUP, Signal::Reload),
            (Number::TERM, Signal::Again),
        ] {
            kill_process(getpid(), number).unwrap();
            assert_eq!(waiter.wait(LONG), Some(expected));
        }
    }
}

//! Signals as a stream, for modes that run on tokio and, through [`Waiter`], for those that do not.
//!
//! SIGTERM, SIGINT and SIGQUIT ask for an end, the first time gently; SIGHUP asks to read the configuration and open the
//! files again, SIGUSR1 to open the log again, as rotation scripts written for nginx do. SIGUSR2 starts a new program with
//! nginx and HAProxy; it has no meaning here, and must not end the process. SIGPIPE is an error of a write, nothing more.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::console::{self, Level};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// To end: finish what is open.
    Terminate,
    /// To end at once: it is asked for again.
    Again,
    /// To read the configuration and to open the files again.
    Reload,
    /// To open the log again.
    Reopen,
}

/// The signals of this process as they come.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    quit: Stream,
    reload: Stream,
    reopen: Stream,
    unknown: Stream,
    ending: bool,
}

impl Signals {
    /// From now on the signals come here. Must be called inside a tokio runtime with its I/O driver.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            reload: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            unknown: signal(SignalKind::user_defined2())?,
            ending: false,
        })
    }

    /// Waits for the next. May be dropped and called again without a loss.
    pub async fn next(&mut self) -> Signal {
        loop {
            return tokio::select! {
                _ = self.terminate.recv() => self.end(),
                _ = self.interrupt.recv() => self.end(),
                _ = self.quit.recv() => self.end(),
                _ = self.reload.recv() => Signal::Reload,
                _ = self.reopen.recv() => Signal::Reopen,
                _ = self.unknown.recv() => {
                    console::print(Level::Warning, &"SIGUSR2 is ignored; a new mailtap takes over with --handover");
                    continue;
                }
            };
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
            (Number::USR1, Signal::Reopen),
            (Number::INT, Signal::Terminate),
            (Number::HUP, Signal::Reload),
            (Number::TERM, Signal::Again),
            (Number::QUIT, Signal::Again),
        ] {
            kill_process(getpid(), Number::USR2).unwrap();
            assert_eq!(waiter.wait(Duration::from_millis(50)), None, "ignored");
            kill_process(getpid(), number).unwrap();
            assert_eq!(waiter.wait(LONG), Some(expected));
        }
    }
}

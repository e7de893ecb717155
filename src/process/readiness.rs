//! What the service manager is told (sd_notify(3)): when it is ready, what it does, that it goes.
//!
//! Without one nothing happens, and a manager that cannot be reached is no reason to stop watching mail.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// Everything is open; work begins, or goes on after [`reloading`].
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] must follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(reason) => tracing::debug!(%reason, "the service manager was not told of the reload"),
    }
}

/// It ends; open sessions may go on for a while.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line on how it goes, for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// How often the manager wants [`alive`], half of its patience, if it wants that.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

/// It is not stuck.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    let told: io::Result<()> = sd_notify::notify(state);
    if let Err(reason) = told {
        tracing::debug!(%reason, ?state, "the service manager cannot be told");
    }
}

//! `mailtap proxy --check`: listeners are looked at as a start would, without opening them.

use super::{certificates, handover};
use crate::commands::check::{Check, writable};
use crate::config::Proxy;
use crate::console::{self, Level};
use crate::error::Error;
use crate::proxy::{Listener, check_servers};

/// Checks what `made` has become of flags and configuration file. Whether all is well.
pub fn check(made: Result<Proxy, Error>) -> bool {
    let mut check = Check::default();
    let Some(Proxy { proxy, running, limits, .. }) = check.look(made) else { return false };
    check.running(&running);
    if let Some(path) = &proxy.handover {
        let wrong = |reason| Error::Handover { path: path.clone(), reason };
        let may = handover::may_listen(path).and_then(|()| writable(path, running.process.user.as_deref()));
        check.look(may.map_err(wrong));
    }
    let servers = check_servers(&proxy.listeners, &limits);
    if servers.errors.is_empty() {
        servers.cautions.iter().for_each(|caution| console::print(Level::Warning, caution));
    }
    for error in servers.errors {
        check.look(Err::<(), _>(error));
    }
    for listener in &proxy.listeners {
        if let Some(Some(terminator)) = check.look(Listener::terminator(listener)) {
            certificates::expired(&terminator).for_each(|certificate| certificates::warn(&listener.name, certificate));
        }
    }
    let names: Vec<_> = proxy.listeners.iter().map(|listener| listener.name.as_str()).collect();
    check.finish(running.quiet, &format!("listeners {}", names.join(", ")))
}

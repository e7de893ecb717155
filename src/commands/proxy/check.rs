//! `mailtap proxy --check`: listeners are looked at as a start would, without opening them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::commands::check::{Check, writable};
use crate::config::Proxy;
use crate::console::{self, Level};
use crate::error::Error;
use crate::proxy::settings::ListenerSettings;
use crate::proxy::tls::Terminator;
use crate::proxy::{Listener, check_servers};

/// Checks what `made` has become of flags and configuration file. Whether all is well.
pub fn check(made: Result<Proxy, Error>) -> bool {
    let mut check = Check::default();
    let Some(Proxy { proxy, running, limits, .. }) = check.look(made) else { return false };
    check.running(&running);
    if let Some(path) = &proxy.handover {
        let wrong = |reason| Error::Handover { path: path.clone(), reason };
        check.look(writable(path, running.process.user.as_deref()).map_err(wrong));
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
            warn_of_expired(listener, &terminator);
        }
    }
    let names: Vec<_> = proxy.listeners.iter().map(|listener| listener.name.as_str()).collect();
    check.finish(running.quiet, &format!("listeners {}", names.join(", ")))
}

/// Clients refuse a certificate that has ended; the proxy serves it all the same.
fn warn_of_expired(listener: &ListenerSettings, terminator: &Terminator) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for certificate in terminator.certificates() {
        if Duration::from_nanos(certificate.not_after.as_nanos()) < now {
            let (name, path) = (&listener.name, certificate.path.display());
            console::print(
                Level::Warning,
                &format!(
                    "listener {name}: {path}: the certificate has expired; clients will refuse it until it is renewed"
                ),
            );
        }
    }
}

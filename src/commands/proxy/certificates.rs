//! Own certificates whose time is over: clients refuse them. The proxy serves them all the same, and says so.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::console::{self, Level};
use crate::proxy::BoundListener;
use crate::proxy::tls::{Certificate, Terminator};
use crate::time::Timestamp;

/// How often they are looked at: many expire while the proxy runs.
pub(super) const EVERY: Duration = Duration::from_secs(60);

/// Those that were warned of.
#[derive(Debug, Default)]
pub(super) struct ExpiryWatch {
    warned: Vec<(String, PathBuf)>,
}

impl ExpiryWatch {
    /// Counts the certificates of `listeners` that have expired, and warns of each once.
    pub(super) fn look(&mut self, listeners: &[BoundListener]) {
        let mut over = Vec::new();
        for BoundListener { listener, .. } in listeners {
            let name = &listener.settings.name;
            let before = over.len();
            for certificate in listener.terminator.iter().flat_map(expired) {
                let this = (name.clone(), certificate.path.clone());
                if !self.warned.contains(&this) {
                    warn(name, certificate);
                }
                over.push(this);
            }
            if let Some(metrics) = &listener.metrics {
                metrics.set_expired(over.len() - before);
            }
        }
        self.warned = over;
    }

    /// A reload has read them again: whoever made it wants to know what is wrong still.
    pub(super) fn look_again(&mut self, listeners: &[BoundListener]) {
        self.warned.clear();
        self.look(listeners);
    }
}

/// The certificates that have expired by the host's clock, as clients see it.
pub(super) fn expired(terminator: &Terminator) -> impl Iterator<Item = &Certificate> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::default().after(now);
    terminator.certificates().iter().filter(move |certificate| certificate.is_expired(now))
}

/// Warns of a certificate of the listener `name` that has expired.
pub(super) fn warn(name: &str, certificate: &Certificate) {
    let path = certificate.path.display();
    console::print(
        Level::Warning,
        &format_args!(
            "listener {name}: {path}: the certificate has expired; clients will refuse it until it is renewed and mailtap reloaded"
        ),
    );
}

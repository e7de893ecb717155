//! A listener as the workers see it: its sockets, and all that a connection through it needs.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::admission::Admission;
use super::tls::Terminator;
use crate::config::proxy::{ListenerSettings, Target};
use crate::engine::Limits;
use crate::event::Protocol;
use crate::output::metrics::ProxyMetrics;

/// A door and its sockets, which nobody holds but those who accept: a connection must not keep them open.
#[derive(Clone, Debug)]
pub struct BoundListener {
    /// The door.
    pub listener: Arc<Listener>,
    /// The sockets, non-blocking.
    pub sockets: Vec<Arc<TcpListener>>,
}

/// One listener, ready. A reload makes a new one; connections keep theirs.
#[derive(Debug)]
pub struct Listener {
    /// What the operator said.
    pub settings: ListenerSettings,
    /// Position in the list of listeners: the source of its sessions.
    pub source: u32,
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
    /// Where connections go, in the order to try; empty if each says itself.
    pub targets: Vec<SocketAddr>,
    /// Caps of a session.
    pub limits: Arc<Limits>,
    /// TLS that is answered here.
    pub terminator: Option<Terminator>,
    /// What is counted of it.
    pub metrics: Option<ProxyMetrics>,
    /// Who is let in.
    pub admission: Arc<Admission>,
}

impl Listener {
    /// What is most likely spoken there.
    pub fn protocol(&self) -> Protocol {
        let ports = self.targets.iter().chain(&self.addresses).map(SocketAddr::port);
        let told = self.settings.protocol.or_else(|| ports.filter_map(|port| self.limits.prior(port)).next());
        told.unwrap_or(Protocol::Unknown)
    }

    /// Where its connections go, for people.
    pub fn way(&self) -> String {
        match &self.settings.target {
            Target::Host { host, port: 0 } => format!("the same port of {host}"),
            Target::Host { host, port } => format!("port {port} of {host}"),
            Target::Original(how) => format!("where they were meant to go ({})", how.as_str()),
        }
    }

    /// Counts something, if anything is counted.
    pub(super) fn count(&self, what: impl FnOnce(&ProxyMetrics)) {
        if let Some(metrics) = &self.metrics {
            what(metrics);
        }
    }

    /// Where a connection that came to `local` goes.
    pub(super) fn targets(&self, local: SocketAddr) -> impl Iterator<Item = SocketAddr> {
        let port = match self.settings.target {
            Target::Host { port: 0, .. } => Some(local.port()),
            _ => None,
        };
        self.targets.iter().map(move |target| SocketAddr::new(target.ip(), port.unwrap_or_else(|| target.port())))
    }
}

//! Sockets that are open already find their listeners.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use listenfd::ListenFd;

use crate::config::Proxy;
use crate::error::Error;
use crate::output::Metrics;
use crate::proxy::settings::ListenerSettings;
use crate::proxy::{BoundListener, Listener, ListenerOptions, listens};

/// Sockets that listen already: from the service manager, a predecessor, or this process before a reload.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<(Option<String>, TcpListener)>);

impl Sockets {
    /// Those that the service manager has passed (sd_listen_fds(3)).
    pub(super) fn of_service_manager() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..passed.len() {
            let name = names.next().filter(|name| !name.is_empty() && name != "unknown");
            match passed.take_tcp_listener(at) {
                Ok(Some(socket)) => sockets.push((name, socket)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, at, "a socket of the service manager is no TCP listener"),
            }
        }
        Self(sockets)
    }

    /// Adds sockets without a name.
    pub(super) fn extend(&mut self, sockets: impl IntoIterator<Item = TcpListener>) {
        self.0.extend(sockets.into_iter().map(|socket| (None, socket)));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the socket that listens at `address`.
    pub(super) fn at(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let here = |socket: &TcpListener| {
            socket.local_addr().is_ok_and(|own| {
                own == address
                    || own.port() == address.port() && own.ip().is_unspecified() && address.ip().is_unspecified()
            })
        };
        let found = self.0.iter().position(|(_, socket)| here(socket))?;
        Some(self.0.swap_remove(found).1)
    }

    /// Takes those of a listener: the ones of its name, and those that listen at its addresses.
    fn of(&mut self, settings: &ListenerSettings) -> Vec<TcpListener> {
        let mut taken = self.named(&settings.name);
        for address in &settings.listen {
            if !listens(&taken, address) {
                taken.extend(self.at(*address));
            }
        }
        taken
    }

    /// Takes the sockets of that name.
    fn named(&mut self, wanted: &str) -> Vec<TcpListener> {
        let (named, others) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name.as_deref() == Some(wanted));
        self.0 = others;
        Vec::into_iter(named).map(|(_, socket)| socket).collect()
    }
}

/// Opens the listeners of `ready`, on sockets that are open already where these listen at their addresses. After a reload, a
/// listener keeps the connection counts of the listener with the same name in `before`.
pub(super) fn open(
    ready: &Proxy,
    mut sockets: Sockets,
    before: &[BoundListener],
    metrics: Option<&Metrics>,
) -> Result<Vec<BoundListener>, Error> {
    let mut listeners = Vec::with_capacity(ready.proxy.listeners.len());
    for (source, settings) in (0..).zip(&ready.proxy.listeners) {
        let before = before.iter().map(|old| &*old.listener).find(|old| old.settings.name == settings.name);
        let opening = ListenerOptions {
            source,
            limits: &ready.limits,
            sockets: sockets.of(settings),
            before,
            metrics: metrics.map(|metrics| metrics.proxy(source)),
        };
        let bound = Listener::open(settings, opening)?;
        if let (Some(metrics), Some(end)) = (metrics, bound.listener.certificate_ends()) {
            let since = Duration::from_nanos(end.as_nanos());
            metrics.certificate(source, bound.listener.protocol(), since.as_secs_f64());
        }
        listeners.push(bound);
    }
    if sockets.len() > 0 {
        tracing::warn!(sockets = sockets.len(), "sockets were passed that no listener wants");
    }
    Ok(listeners)
}

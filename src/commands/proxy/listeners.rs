//! Listeners become doors: sockets opened or taken over, names of servers looked up.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;

use crate::config::Proxy;
use crate::config::proxy::{ListenerSettings, Target};
use crate::engine::Limits;
use crate::error::Error;
use crate::output::Metrics;
use crate::output::metrics::ProxyMetrics;
use crate::proxy::admission::Admission;
use crate::proxy::listen;
use crate::proxy::tls::Terminator;
use crate::proxy::{BoundListener, Listener};

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

    /// Takes the sockets of that name.
    fn named(&mut self, wanted: &str) -> Vec<TcpListener> {
        let (named, others) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name.as_deref() == Some(wanted));
        self.0 = others;
        Vec::into_iter(named).map(|(_, socket)| socket).collect()
    }
}

/// Opens what `ready` asks for, with the sockets that are open already where they fit. Who is in at one of the doors
/// `before` counts on at the new one of that name.
pub(super) fn open(
    ready: &Proxy,
    mut sockets: Sockets,
    before: &[BoundListener],
    metrics: Option<&Metrics>,
) -> Result<Vec<BoundListener>, Error> {
    let mut listeners = Vec::with_capacity(ready.listeners.len());
    for (source, listener) in (0..).zip(&ready.listeners) {
        let mut open = sockets.named(&listener.name);
        for address in &listener.listen {
            let known = open.iter().any(|s| s.local_addr().is_ok_and(|own| own.port() == address.port()));
            if known {
                continue;
            }
            let socket = match sockets.at(*address) {
                Some(socket) => socket,
                None => listen::listen(listener, *address).map_err(Error::Listen)?,
            };
            open.push(socket);
        }
        if open.is_empty() {
            return Err(Error::Usage(format!(
                "listener {}: it has no address, and the service manager passes no socket of that name; set FileDescriptorName={} or give it listen",
                listener.name, listener.name
            )));
        }
        let counts = metrics.map(|metrics| metrics.proxy(source));
        let bound = bound(ready, listener, source, open, before, counts)?;
        let ends = bound.listener.terminator.iter().flat_map(Terminator::certificates);
        if let (Some(metrics), Some(end)) = (metrics, ends.map(|certificate| certificate.not_after).min()) {
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

fn bound(
    ready: &Proxy,
    listener: &ListenerSettings,
    source: u32,
    open: Vec<TcpListener>,
    before: &[BoundListener],
    metrics: Option<ProxyMetrics>,
) -> Result<BoundListener, Error> {
    if let Some(metrics) = &metrics {
        metrics.set_limit(listener.admission.connections);
    }
    let mut addresses = Vec::with_capacity(open.len());
    for socket in &open {
        addresses.push(listen::prepare(listener, socket).map_err(Error::Listen)?);
    }
    let targets = targets(listener)?;
    for target in &targets {
        let port = |own: &SocketAddr| if target.port() == 0 { own.port() } else { target.port() };
        let is_own = |own: &SocketAddr| {
            own.port() == port(own) && (own.ip() == target.ip() || own.ip().is_unspecified() && is_here(target.ip()))
        };
        if addresses.iter().any(is_own) {
            return Err(Error::Usage(format!(
                "listener {}: its upstream {target} is the listener itself; give the server's address",
                listener.name
            )));
        }
    }
    let same = before.iter().find(|old| old.listener.settings.name == listener.name);
    let admission = match same {
        Some(old) => old.listener.admission.adapted(listener.admission),
        None => Admission::new(listener.admission),
    };
    let tls = listener.tls.as_ref().map(|tls| Terminator::new(tls, &listener.target));
    let terminator = tls.transpose().map_err(Error::Tls)?.flatten();
    let listener = Listener {
        settings: listener.clone(),
        source,
        limits: Arc::new(limits(&ready.limits, listener, &addresses)),
        terminator,
        admission: Arc::new(admission),
        metrics,
        addresses,
        targets,
    };
    Ok(BoundListener { listener: Arc::new(listener), sockets: open.into_iter().map(Arc::new).collect() })
}

fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

/// Looks the server up.
fn targets(listener: &ListenerSettings) -> Result<Vec<SocketAddr>, Error> {
    let Target::Host { host, port } = &listener.target else { return Ok(Vec::new()) };
    let found = (host.as_str(), *port).to_socket_addrs();
    let found: Vec<_> = found.map_err(|reason| Error::Upstream { host: host.clone(), reason })?.collect();
    if found.is_empty() {
        let reason = std::io::ErrorKind::NotFound.into();
        return Err(Error::Upstream { host: host.clone(), reason });
    }
    Ok(found)
}

/// The caps of its sessions: what is spoken at the server's port, or is said to be, is expected at the door's ports too.
fn limits(limits: &Limits, listener: &ListenerSettings, addresses: &[SocketAddr]) -> Limits {
    let server = match listener.target {
        Target::Host { port, .. } => limits.prior(port),
        Target::Original(_) => None,
    };
    let mut limits = limits.clone();
    if let Some(protocol) = listener.protocol.or(server) {
        let ports = addresses.iter().map(|address| (address.port(), protocol));
        limits.ports.splice(0..0, ports);
    }
    limits
}

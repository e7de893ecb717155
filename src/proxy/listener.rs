//! A listener as the workers see it: its sockets, and all that a connection through it needs.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::accept_queue::AcceptQueues;
use super::admission::Admission;
use super::listen::{self, ListenError};
use super::settings::{ListenerSettings, Target};
use super::tls::{Terminator, TlsError};
use super::trust;
use super::ungreeted::Ungreeted;
use super::upstream::UpstreamHost;
use crate::console::plain;
use crate::engine::Limits;
use crate::event::Protocol;
use crate::output::metrics::ProxyMetrics;
use crate::time::Timestamp;

/// A listener and its sockets, which nobody holds but those who accept: a connection must not keep them open.
#[derive(Clone, Debug)]
pub struct BoundListener {
    /// The listener.
    pub listener: Arc<Listener>,
    /// The sockets, non-blocking.
    pub sockets: Vec<ListeningSocket>,
}

impl BoundListener {
    /// Has `metrics` count what it does; before it serves anybody.
    pub fn measure(&mut self, metrics: ProxyMetrics) {
        if let Some(listener) = Arc::get_mut(&mut self.listener) {
            metrics.set_limit(listener.settings.admission.connections);
            listener.metrics = Some(metrics);
        }
    }

    /// Looks who waits at it, and shows that in its metrics; what is to be said of it if it is full.
    pub fn take_stock(&self, queues: &AcceptQueues) -> Option<String> {
        let Listener { admission, ungreeted, settings, .. } = &*self.listener;
        let queued: u32 = self.sockets.iter().map(|one| queues.of(&one.socket)).sum();
        let waiting = queued.saturating_add(admission.waiting());
        self.listener.count(|metrics| metrics.set_waiting(waiting, ungreeted.oldest(Instant::now())));
        let (open, limit) = (admission.open(), settings.admission.connections);
        admission.would_exceed_total().then(|| {
            format!("listener {} is full: {open} of {limit} connections are open, {waiting} more wait", settings.name)
        })
    }
}

/// A listening socket. Clones are the same one.
#[derive(Clone, Debug)]
pub struct ListeningSocket {
    /// The socket.
    pub socket: Arc<TcpListener>,
    /// The name under which the service manager passed it, which may be empty; `None`: mailtap opened it.
    pub passed_as: Option<Arc<str>>,
}

impl ListeningSocket {
    /// One that mailtap opened.
    pub fn own(socket: TcpListener) -> Self {
        Self { socket: Arc::new(socket), passed_as: None }
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Whether mailtap opened it for all of IPv6 and nothing of IPv4.
    fn lacks_ipv4(&self) -> bool {
        let is_all = self.address().is_some_and(|own| own.is_ipv6() && own.ip().is_unspecified());
        is_all && self.passed_as.is_none() && SockRef::from(&*self.socket).only_v6().is_ok_and(|only| only)
    }

    /// Whether connections to `address` come to it.
    pub fn covers(&self, address: SocketAddr) -> bool {
        let Some(own) = self.address().filter(|own| own.port() == address.port()) else { return false };
        let takes_ipv4 = || own.is_ipv6() && SockRef::from(&*self.socket).only_v6().is_ok_and(|only| !only);
        match (own.ip().is_unspecified(), address.ip().is_unspecified()) {
            (false, _) => own.ip() == address.ip(),
            (true, false) => own.is_ipv4() == address.is_ipv4() || takes_ipv4(),
            // A host without IPv6 has 0.0.0.0 where [::] is asked for, and a socket unit may have it by choice.
            (true, true) if own.is_ipv4() && address.is_ipv6() => self.passed_as.is_some() || !listen::has_ipv6(),
            (true, true) => own.is_ipv4() == address.is_ipv4() || takes_ipv4(),
        }
    }
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
    /// Where connections go; `None` if each says itself.
    pub upstream: Option<UpstreamHost>,
    /// Caps of a session.
    pub limits: Arc<Limits>,
    /// TLS that is answered here.
    pub terminator: Option<Terminator>,
    /// What is counted of it.
    pub metrics: Option<ProxyMetrics>,
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// Who waits for the server's first word.
    pub(super) ungreeted: Arc<Ungreeted>,
}

/// What a listener is opened with, besides what the operator said of it.
#[derive(Debug)]
pub struct ListenerOptions<'a> {
    /// Its position in the list of listeners.
    pub source: u32,
    /// Caps of a session, as they are at a listener that says nothing.
    pub limits: &'a Limits,
    /// Sockets that listen for it already: from the service manager, a predecessor, or before a reload.
    pub sockets: Vec<ListeningSocket>,
    /// Ports at which another listener has all of IPv4, so that `[::]` here is IPv6 alone.
    pub ipv4_ports: &'a [u16],
    /// The listener of its name before a reload: who is let in there is counted here too.
    pub before: Option<&'a Listener>,
}

impl Listener {
    /// Opens the addresses of `settings` at which none of the given sockets listens, prepares all of them and reads its
    /// certificates. The name of its server is not looked up yet.
    pub fn open(settings: &ListenerSettings, opening: ListenerOptions<'_>) -> Result<BoundListener, OpenError> {
        let ListenerOptions { source, limits, mut sockets, ipv4_ports, before } = opening;
        open_missing(settings, &mut sockets, ipv4_ports).map_err(OpenError::Socket)?;
        if sockets.is_empty() {
            return Err(OpenError::NoAddress { listener: settings.name.clone() });
        }
        let prepared = sockets.iter().map(|one| listen::prepare(settings, &one.socket)).collect::<Result<Vec<_>, _>>();
        let addresses = prepared.map_err(OpenError::Socket)?;
        let upstream = match &settings.target {
            Target::Host { host, port } => {
                Some(UpstreamHost::new(host, *port, before.and_then(|before| before.upstream.as_ref())))
            }
            Target::Original(_) => None,
        };
        let admission = match before {
            Some(before) => before.admission.adapted(settings.admission),
            None => Admission::new(settings.admission),
        };
        let ungreeted = before.map(|before| Arc::clone(&before.ungreeted)).unwrap_or_default();
        let terminator = Self::terminator(settings)?;
        let listener = Self {
            settings: settings.clone(),
            source,
            limits: Arc::new(limits_of(limits, settings, &addresses)),
            terminator,
            admission: Arc::new(admission),
            ungreeted,
            metrics: None,
            addresses,
            upstream,
        };
        Ok(BoundListener { listener: Arc::new(listener), sockets })
    }

    /// The TLS that is answered at a listener of `settings`, if it is.
    pub fn terminator(settings: &ListenerSettings) -> Result<Option<Terminator>, OpenError> {
        let terminator = settings.tls.as_ref().map(|tls| Terminator::new(tls, &settings.target));
        Ok(terminator.transpose().map_err(OpenError::Tls)?.flatten())
    }

    /// When the first of its certificates ends.
    pub fn certificate_ends(&self) -> Option<Timestamp> {
        self.terminator.iter().flat_map(Terminator::certificates).map(|certificate| certificate.not_after).min()
    }

    /// What is most likely spoken there.
    pub fn protocol(&self) -> Protocol {
        expected(&self.settings, &self.addresses, &self.limits)
    }

    /// Where its connections go, for people.
    pub fn way(&self) -> String {
        match &self.settings.target {
            Target::Host { host, port: 0 } => format!("the same port of {host}"),
            Target::Host { host, port } => format!("port {port} of {host}"),
            Target::Original(how) => format!("where they were meant to go ({})", how.as_str()),
        }
    }

    /// What the operator should know before the first client comes, if its server cannot tell clients from this host.
    pub fn caution(&self) -> Option<String> {
        let targets = self.upstream.as_ref().map(|upstream| upstream.addresses(0)).unwrap_or_default();
        let targets = targets.iter().map(SocketAddr::ip).collect::<Vec<_>>();
        trust::caution(&self.settings, &self.addresses, &targets, self.protocol())
    }

    /// It is served no more: nobody waits at it.
    pub fn leave(&self) {
        self.count(|metrics| metrics.set_waiting(0, Duration::ZERO));
    }

    /// Counts something, if anything is counted.
    pub(super) fn count(&self, what: impl FnOnce(&ProxyMetrics)) {
        if let Some(metrics) = &self.metrics {
            what(metrics);
        }
    }
}

/// Opens the addresses of `settings` to which none of `sockets` listens, and adds them.
fn open_missing(
    settings: &ListenerSettings,
    sockets: &mut Vec<ListeningSocket>,
    ipv4_ports: &[u16],
) -> Result<(), ListenError> {
    // First those that stand for all addresses, [::] before 0.0.0.0: the others may be among them.
    let mut addresses = settings.listen.clone();
    addresses.sort_by_key(|address| (!address.ip().is_unspecified(), address.is_ipv4()));
    for address in addresses {
        let all_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        // [::] would be in its way.
        let has_ipv4 = sockets.iter().any(|socket| socket.address() == Some(all_ipv4));
        let only_ipv6 = has_ipv4 || ipv4_ports.contains(&address.port());
        let missing = match sockets.iter().find(|socket| socket.covers(address)) {
            None => Some(address),
            // Opened when another listener had all of IPv4.
            Some(socket) if socket.lacks_ipv4() && address.ip().is_unspecified() && !only_ipv6 => Some(all_ipv4),
            Some(_) => None,
        };
        if let Some(address) = missing {
            sockets.push(ListeningSocket::own(listen::listen(settings, address, only_ipv6)?));
        }
    }
    Ok(())
}

/// What is most likely spoken at a listener of `settings`: as it says, or by the server's port, or by its own.
pub(super) fn expected(settings: &ListenerSettings, addresses: &[SocketAddr], limits: &Limits) -> Protocol {
    let server = match settings.target {
        Target::Host { port, .. } => Some(port),
        Target::Original(_) => None,
    };
    let mut ports = server.into_iter().chain(addresses.iter().map(SocketAddr::port));
    settings.protocol.or_else(|| ports.find_map(|port| limits.prior(port))).unwrap_or(Protocol::Unknown)
}

/// The caps of its sessions: what is spoken at the server's port, or is said to be, is expected at the listener's ports too.
fn limits_of(limits: &Limits, settings: &ListenerSettings, addresses: &[SocketAddr]) -> Limits {
    let server = match settings.target {
        Target::Host { port, .. } => limits.prior(port),
        Target::Original(_) => None,
    };
    let mut limits = limits.clone();
    if let Some(protocol) = settings.protocol.or(server) {
        let ports = addresses.iter().map(|address| (address.port(), protocol));
        limits.ports.splice(0..0, ports);
    }
    limits
}

/// Why a listener cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot listen, or may not do what it should.
    Socket(ListenError),
    /// It has no address, and no socket was passed for it.
    NoAddress {
        /// Its name.
        listener: String,
    },
    /// It wants an address that a socket of this process has until a restart.
    Held {
        /// Its name.
        listener: String,
        /// What it wants.
        wanted: SocketAddr,
        /// Where the socket listens.
        own: SocketAddr,
    },
    /// Sockets were passed that are of no use.
    Unwanted(Vec<String>),
    /// The name of its server cannot be looked up.
    Upstream {
        /// The server's name.
        host: String,
        /// Why.
        reason: io::Error,
    },
    /// Its connections would come back to it, over and over.
    Loop {
        /// Its name.
        listener: String,
        /// What it is told to connect to.
        target: SocketAddr,
        /// Who accepts connections there.
        next: NextHop,
    },
    /// Its certificates, keys or names are wrong.
    Tls(TlsError),
}

/// Who accepts the connections that come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// The listener that made them.
    Itself,
    /// The listener of that name.
    Listener(String),
    /// Another mailtap on this host.
    Neighbour,
}

impl OpenError {
    /// Whether what the operator said cannot be, whatever the machine is like.
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::NoAddress { .. } | Self::Loop { .. } | Self::Unwanted(_))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => error.fmt(f),
            Self::NoAddress { listener } => write!(
                f,
                "listener {listener}: it has no address, and the service manager passes no socket of that name; set FileDescriptorName={listener} or give it listen"
            ),
            Self::Held { listener, wanted, own } => {
                write!(f, "listener {listener}: cannot listen at {wanted}: mailtap itself listens at {own}; restart it")
            }
            Self::Unwanted(sockets) => write!(
                f,
                "the service manager passes sockets that no listener wants: {}; give a listener that name or that listen address, or take them out of the socket unit",
                sockets.join(", ")
            ),
            Self::Upstream { host, reason } => {
                write!(f, "{host} cannot be looked up: {}; check the name, or give an address", plain(reason))
            }
            Self::Loop { listener, target, next } => {
                write!(f, "listener {listener}: its upstream {target} is ")?;
                match next {
                    NextHop::Itself => f.write_str("the listener itself")?,
                    NextHop::Listener(next) => write!(f, "the listener {next}, whose connections come back to it")?,
                    NextHop::Neighbour => {
                        f.write_str("another mailtap's listener, whose connections come back to it")?;
                    }
                }
                f.write_str("; give the server's address")
            }
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

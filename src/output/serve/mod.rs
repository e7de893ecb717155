//! `/metrics`, health and the page, over HTTP: what `--metrics-listen` opens.
//!
//! One thread with a runtime of its own answers all of it, so that no scrape, no slow client and no flood of requests
//! takes time from mail. Every client is held to caps: octets of a request, connections, viewers, time without
//! progress. A listener on loopback takes only requests that name a loopback host, and the page is shown only to those who
//! name this host, or a web site in a visitor's browser could read it through a name of its own (DNS rebinding). It must never act on a request: all it does is
//! show.

mod access;
mod answer;
mod certificate;
mod connection;
mod events;
mod patient;
mod seats;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::page;
use crate::secret::Secret;
use access::Access;
use seats::Seats;
pub use settings::ServeSettings;

/// Pages that may be open at the same time: each is told of what changed once a second.
const VIEWERS: usize = 8;

/// Gives the body of `/metrics`: text format 0.0.4.
pub type MetricsBody = Box<dyn Fn() -> Vec<u8> + Send + Sync>;

/// What `/readyz` says. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<ReadinessState>);

#[derive(Debug, Default)]
struct ReadinessState {
    state: AtomicU8,
    notes: Mutex<Vec<String>>,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Not everything is open yet.
    Starting,
    /// Takes what comes.
    Ready,
    /// Goes on with what is open, takes nothing new.
    Draining,
}

impl Readiness {
    /// One that says [`Ready::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on it says `state`.
    pub fn set(&self, state: Ready) {
        let number = match state {
            Ready::Starting => 0,
            Ready::Ready => 1,
            Ready::Draining => 2,
        };
        self.0.state.store(number, Ordering::Relaxed);
    }

    /// What else is to be said while it is ready, one line each: it takes no part in the answer's status, since a balancer must
    /// not take a busy proxy for a broken one.
    pub fn note(&self, notes: Vec<String>) {
        *self.0.notes.lock().unwrap_or_else(PoisonError::into_inner) = notes;
    }

    /// Those lines, each with its end.
    pub fn notes(&self) -> String {
        let notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().map(|note| format!("{note}\n")).collect()
    }

    /// What it says.
    pub fn state(&self) -> Ready {
        match self.0.state.load(Ordering::Relaxed) {
            0 => Ready::Starting,
            1 => Ready::Ready,
            _ => Ready::Draining,
        }
    }
}

/// What is served.
pub struct ServedContent {
    /// The body of `/metrics`.
    pub metrics: MetricsBody,
    /// What the page shows.
    pub page: Arc<page::PageState>,
    /// What `/readyz` says.
    pub readiness: Readiness,
}

impl fmt::Debug for ServedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// A server that has its address, and answers nobody yet: made while the process may still do all it may.
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    access: Access,
    tls: Option<TlsAcceptor>,
}

/// A server that runs; it ends with [`Self::stop`], or on its own some time after this is dropped.
pub struct Handle {
    shared: Arc<ServeShared>,
    address: SocketAddr,
    socket: TcpListener,
    stop: watch::Sender<Option<Duration>>,
    thread: JoinHandle<()>,
}

/// A token and a certificate, read and not yet in effect.
pub struct NewAccess {
    access: Arc<Access>,
    tls: Option<TlsAcceptor>,
}

impl fmt::Debug for NewAccess {
    /// The token is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccess").finish_non_exhaustive()
    }
}

/// What the answers need.
struct ServeShared {
    content: ServedContent,
    access: RwLock<Arc<Access>>,
    tls: RwLock<Option<TlsAcceptor>>,
    viewers: Arc<Seats>,
}

impl BoundServer {
    /// Opens the address and reads certificate and key.
    pub fn bind(config: &ServeSettings) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Bind { address: config.listen, source };
        Self::adopt(config, TcpListener::bind(config.listen).map_err(failed)?)
    }

    /// Takes a socket that listens already (socket activation, a handover) in place of the configured address.
    pub fn adopt(config: &ServeSettings, listener: TcpListener) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Bind { address: config.listen, source };
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tls = config.tls.as_ref().map(|(chain, key)| certificate::acceptor(chain, key)).transpose()?;
        Ok(Self { listener, address, access: access(config, address), tls })
    }

    /// The address; with the port that the system chose, if the configured one is 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What an operator should know about who can read what, one line each.
    pub fn cautions(&self) -> Vec<String> {
        let mut cautions = Vec::new();
        if self.address.ip().is_loopback() {
            return cautions;
        }
        if !self.access.has_token() {
            cautions.push(format!(
                "whoever reaches {} can read metrics and client addresses; set --metrics-token, or listen on loopback",
                self.address
            ));
        } else if self.tls.is_none() {
            cautions.push(format!(
                "the token for {} travels in clear; set --metrics-cert and --metrics-key, or listen on loopback",
                self.address
            ));
        }
        cautions
    }

    /// Starts to answer.
    pub fn start(self, content: ServedContent) -> Result<Handle, ServeError> {
        let Self { listener, address, access, tls } = self;
        let socket = listener.try_clone().map_err(ServeError::Start)?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ServeError::Start)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(ServeError::Start)?
        };
        let shared = Arc::new(ServeShared {
            content,
            access: RwLock::new(Arc::new(access)),
            tls: RwLock::new(tls),
            viewers: Arc::new(Seats::new(VIEWERS)),
        });
        let (stop, stopped) = watch::channel(None);
        let of_thread = Arc::clone(&shared);
        let run = move || serve(&runtime, listener, of_thread, stopped);
        let thread = thread::Builder::new().name("serve".into()).spawn(run).map_err(ServeError::Start)?;
        Ok(Handle { shared, address, socket, stop, thread })
    }
}

impl fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

fn access(config: &ServeSettings, address: SocketAddr) -> Access {
    Access::new(config.token.as_ref().map(Secret::reveal), address, &config.hosts)
}

fn serve(
    runtime: &Runtime,
    listener: tokio::net::TcpListener,
    shared: Arc<ServeShared>,
    stopped: watch::Receiver<Option<Duration>>,
) {
    runtime.block_on(connection::accept(listener, shared, stopped));
}

impl Handle {
    /// The address; with the port that the system chose, if the configured one is 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket that listens, for whom the process hands over to.
    pub fn socket(&self) -> io::Result<TcpListener> {
        self.socket.try_clone()
    }

    /// Reads certificate and key of `config` again, and changes nothing yet.
    pub fn read_access(&self, config: &ServeSettings) -> Result<NewAccess, ServeError> {
        let tls = config.tls.as_ref().map(|(chain, key)| certificate::acceptor(chain, key)).transpose()?;
        Ok(NewAccess { access: Arc::new(access(config, self.address)), tls })
    }

    /// From now on token and certificate are those; connections that are open stay. The address is not changed by this.
    pub fn take_access(&self, NewAccess { access, tls }: NewAccess) {
        *self.shared.access.write().unwrap_or_else(PoisonError::into_inner) = access;
        *self.shared.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// Accepts no more, lets the answers under way end for at most `patience`, and waits for that.
    pub fn stop(self, patience: Duration) {
        let Self { stop, thread, .. } = self;
        let _ = stop.send(Some(patience));
        let _ = thread.join();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ServeShared {
    fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why nothing can be served.
#[derive(Debug)]
pub enum ServeError {
    /// The address cannot be listened on.
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificate or key cannot be read.
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Certificate and key cannot be used.
    Certificate {
        /// Path of the chain, or of the key, whichever is at fault.
        path: PathBuf,
        /// What is wrong; nothing of the file's content.
        reason: String,
    },
    /// Thread or runtime cannot be started.
    Start(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::console::plain;
        match self {
            Self::Bind { address, source } => {
                let remedy = match source.kind() {
                    io::ErrorKind::AddrInUse => "something else has that port: choose another --metrics-listen",
                    io::ErrorKind::AddrNotAvailable => "the address is not of this host: see `ip address`",
                    io::ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE",
                    _ => "choose another --metrics-listen",
                };
                write!(f, "metrics cannot be served on {address}: {}; {remedy}", plain(source))
            }
            Self::Read { path, source } => {
                write!(
                    f,
                    "{}: cannot be read: {}; check --metrics-cert and --metrics-key",
                    path.display(),
                    plain(source)
                )
            }
            Self::Certificate { path, reason } => {
                write!(f, "{}: {reason}; check --metrics-cert and --metrics-key", path.display())
            }
            Self::Start(source) => {
                write!(f, "the metrics server cannot be started: {}; check the limits of the process", plain(source))
            }
        }
    }
}

impl std::error::Error for ServeError {}

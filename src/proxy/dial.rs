//! Connections to servers.
//!
//! A dial costs eight system calls: socket, four options, connect, epoll_ctl, and the outcome; a mark one more, the
//! client's own address two or three more.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::listen::{socket_of, transparent, tune};
use super::upstream::UpstreamHost;
use crate::event::Refusal;

impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Self {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
        if is_out_of_descriptors(error) {
            return Self::Descriptors;
        }
        match error.kind() {
            ConnectionRefused => Self::Refused,
            TimedOut => Self::Timeout,
            HostUnreachable | NetworkUnreachable | NetworkDown => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

/// Whether this process, or this host, has no descriptor left.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// How long an attempt may take before the next address is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How connections to servers are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialOptions {
    /// The address that they leave from, with any port.
    pub(super) source: Option<IpAddr>,
    /// `SO_MARK`.
    pub(super) mark: Option<u32>,
    /// Time for all attempts together.
    pub(super) patience: Option<Duration>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DialError {
    /// The address of the last attempt; `None` if none was made.
    pub(super) address: Option<SocketAddr>,
    /// Why.
    pub(super) reason: Refusal,
}

/// An attempt under way.
struct Attempt {
    target: SocketAddr,
    connecting: Pin<Box<dyn Future<Output = Result<TcpStream, Refusal>>>>,
}

/// Connects to the first of `targets` that takes the connection, in their order: each is tried when the one before it has
/// failed or has taken too long (Happy Eyeballs, RFC 8305 section 5). `upstream`, whose addresses they are, learns which
/// of them failed.
pub(super) async fn dial_first(
    targets: &[SocketAddr],
    options: &DialOptions,
    upstream: Option<&UpstreamHost>,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut attempts = Vec::new();
    let race = race(targets, options, upstream, &mut attempts);
    let done = match options.patience {
        Some(patience) => timeout(patience, race).await,
        None => Ok(race.await),
    };
    let done = done.unwrap_or_else(|_| {
        let address = attempts.first().map(|attempt| attempt.target);
        Err(DialError { address, reason: Refusal::Timeout })
    });
    if let Some(upstream) = upstream {
        // Those that are still waited for were tried before the one that answered, or all of them in vain.
        attempts.iter().for_each(|attempt| upstream.failed(attempt.target));
        done.iter().for_each(|(_, target)| upstream.answered(*target));
    }
    done
}

async fn race(
    targets: &[SocketAddr],
    options: &DialOptions,
    upstream: Option<&UpstreamHost>,
    attempts: &mut Vec<Attempt>,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut waiting = targets.iter();
    let mut failed = DialError { address: None, reason: Refusal::Other };
    loop {
        match waiting.next() {
            Some(target) => attempts.push(attempt(*target, options)),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        tokio::select! {
            (target, ended) = poll_fn(|cx| first_ended(attempts, cx)) => match ended {
                Ok(stream) => return Ok((stream, target)),
                // No fault of the server's, and no better at its next address.
                Err(reason @ Refusal::Descriptors) => return Err(DialError { address: Some(target), reason }),
                Err(reason) => {
                    failed = DialError { address: Some(target), reason };
                    upstream.iter().for_each(|upstream| upstream.failed(target));
                }
            },
            () = sleep(ATTEMPT_DELAY), if !waiting.as_slice().is_empty() => {}
        }
    }
}

fn attempt(target: SocketAddr, options: &DialOptions) -> Attempt {
    // Port 0 is any: from the client's own port, connection tracking would take both connections for one.
    let from = options.source.map(|source| SocketAddr::new(source, 0));
    Attempt { target, connecting: Box::pin(dial(target, from, options.mark, None)) }
}

/// The first of `attempts` that has ended; it is one of them no more.
fn first_ended(attempts: &mut Vec<Attempt>, cx: &mut Context<'_>) -> Poll<(SocketAddr, Result<TcpStream, Refusal>)> {
    for (at, attempt) in attempts.iter_mut().enumerate() {
        if let Poll::Ready(ended) = attempt.connecting.as_mut().poll(cx) {
            return Poll::Ready((attempts.remove(at).target, ended));
        }
    }
    Poll::Pending
}

/// Connects to `target`, within `patience` (`None`: as long as the kernel tries).
///
/// The connection leaves from `from`, which may be another host's address (needs `CAP_NET_RAW`); port 0 there is any
/// port. It bears the mark `mark` (`SO_MARK`; 0 is none). Needs a tokio runtime.
pub async fn dial(
    target: SocketAddr,
    from: Option<SocketAddr>,
    mark: Option<u32>,
    patience: Option<Duration>,
) -> Result<TcpStream, Refusal> {
    let stream = begin(target, from, mark).map_err(|error| {
        // A handful of reasons that only the operator can do something about.
        tracing::debug!(%target, ?from, %error, "cannot dial");
        Refusal::from(&error)
    })?;
    let connected = async {
        stream.writable().await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    };
    let done = match patience {
        Some(patience) => timeout(patience, connected).await.map_err(|_| Refusal::Timeout)?,
        None => connected.await,
    };
    done.map_err(|error| Refusal::from(&error))?;
    Ok(stream)
}

/// A connection under way.
fn begin(target: SocketAddr, from: Option<SocketAddr>, mark: Option<u32>) -> io::Result<TcpStream> {
    let socket = socket_of(&target)?;
    if let Some(mark) = mark.filter(|mark| *mark != 0) {
        socket.set_mark(mark)?;
    }
    if let Some(from) = from {
        transparent(&socket, target.is_ipv6())?;
        if from.port() != 0 {
            // The client's own connection to this host has that port already.
            socket.set_reuse_address(true)?;
        }
        let bound = socket.bind(&from.into());
        if bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) && from.port() == 0 {
            // Each port has served this client within the last minute: one may serve again, for another server.
            socket.set_reuse_address(true)?;
            socket.bind(&from.into())?;
        } else {
            bound?;
        }
    }
    tune(&socket)?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(error),
        _ => {}
    }
    TcpStream::from_std(StdStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::SockRef;
    use tokio::runtime::{Builder, Runtime};

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_connection_is_made_and_tuned() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let server = TcpListener::bind(host).unwrap();
            let target = server.local_addr().unwrap();
            let stream = runtime().block_on(dial(target, None, Some(0), Some(Duration::from_secs(5)))).unwrap();
            let (_, peer) = server.accept().unwrap();
            assert_eq!(peer, stream.local_addr().unwrap());
            let socket = SockRef::from(&stream);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            assert!(socket.tcp_user_timeout().unwrap().is_some());
        }
    }

    #[test]
    fn the_next_address_is_tried_when_one_is_silent_or_refuses() {
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        full.listen(0).unwrap();
        let silent = full.local_addr().unwrap().as_socket().unwrap();
        let runtime = runtime();
        let _waiting: Vec<_> = (0..3)
            .map_while(|_| runtime.block_on(dial(silent, None, None, Some(Duration::from_millis(50)))).ok())
            .collect();
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let good = server.local_addr().unwrap();
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let options = DialOptions { source: None, mark: None, patience: Some(Duration::from_secs(20)) };
        let first =
            |targets: &[SocketAddr], options: &DialOptions| runtime.block_on(dial_first(targets, options, None));
        for targets in [[silent, good], [closed, good]] {
            let began = std::time::Instant::now();
            assert_eq!(first(&targets, &options).unwrap().1, good);
            assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for the first to fail: {targets:?}");
        }
        let failed = first(&[closed], &options).unwrap_err();
        assert_eq!(failed, DialError { address: Some(closed), reason: Refusal::Refused });
        let hasty = DialOptions { patience: Some(Duration::from_millis(400)), ..options };
        let failed = first(&[silent, silent], &hasty).unwrap_err();
        assert_eq!(failed, DialError { address: Some(silent), reason: Refusal::Timeout });
    }

    #[test]
    fn a_failure_has_its_word() {
        let closed = {
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            server.local_addr().unwrap()
        };
        let failed = |target, patience| runtime().block_on(dial(target, None, None, patience)).unwrap_err();
        assert_eq!(failed(closed, None), Refusal::Refused);
        // Class E: no route leads there, whatever the host's own routes are.
        assert_eq!(failed("255.255.255.255:25".parse().unwrap(), None), Refusal::Unreachable);
        // A server that accepts nothing any more: its queue is full, and a SYN is not answered.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        full.listen(0).unwrap();
        let target = full.local_addr().unwrap().as_socket().unwrap();
        let runtime = runtime();
        let waiting: Vec<_> = (0..2)
            .map_while(|_| runtime.block_on(dial(target, None, None, Some(Duration::from_millis(50)))).ok())
            .collect();
        assert!(waiting.len() < 2, "one fits into the queue");
        let late = runtime.block_on(dial(target, None, None, Some(Duration::from_millis(50)))).unwrap_err();
        assert_eq!(late, Refusal::Timeout);
        let words: Vec<_> = Refusal::ALL.iter().map(|failure| failure.as_str()).collect();
        let expected =
            ["refused", "timeout", "unreachable", "descriptors", "unresolved", "loop", "spoof_family", "other"];
        assert_eq!(words, expected);
        assert_eq!(Refusal::from(&Errno::MFILE.into()), Refusal::Descriptors);
    }
}

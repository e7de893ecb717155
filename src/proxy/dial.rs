//! Connections to servers.
//!
//! A dial costs eight system calls: socket, four options, connect, epoll_ctl, and the outcome; a mark one more, the
//! client's own address two or three more.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::listen::{socket_of, transparent, tune};
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
        assert_eq!(words, ["refused", "timeout", "unreachable", "descriptors", "other"]);
        assert_eq!(Refusal::from(&Errno::MFILE.into()), Refusal::Descriptors);
    }
}

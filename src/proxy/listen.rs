//! Listening sockets, and the options that every connection gets.
//!
//! On Linux a connection inherits the options of the socket that accepted it: they are set once, on the listener, and
//! cost nothing later.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::console::plain;
use crate::proxy::settings::{ListenerSettings, Target, Transparent};

/// Connections that may wait to be accepted; the kernel cuts it down to `net.core.somaxconn`.
const BACKLOG: i32 = 1 << 16;

/// Silence after which the kernel asks whether the peer is still there. NAT forgets idle connections after 5 minutes
/// and more (RFC 5382 demands 124 minutes, few obey).
const IDLE: Duration = Duration::from_secs(60);

/// How long a peer may acknowledge nothing, or keep its window closed, before the connection counts as dead. The longest
/// time a mail protocol gives its peers is 10 minutes (RFC 5321 section 4.5.3.2.6, RFC 1939 section 3): a shorter one would
/// end transfers that merely stand still.
const GONE: Duration = Duration::from_secs(600);

/// Opens a listening socket at `address`, non-blocking. IPv4 comes to `[::]` too, unless `only_ipv6`.
pub(super) fn listen(
    listener: &ListenerSettings,
    address: SocketAddr,
    only_ipv6: bool,
) -> Result<TcpListener, ListenError> {
    let failed = |step: SocketStep| {
        let name = listener.name.clone();
        move |reason| ListenError { name, place: Some(address), step, reason }
    };
    let mut address = address;
    let mut made = socket_of(&address);
    if made.as_ref().is_err_and(is_unknown_family) && address.is_ipv6() && address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::UNSPECIFIED.into());
        made = socket_of(&address);
    }
    let socket = made.map_err(failed(SocketStep::Socket))?;
    let prepared = socket.set_reuse_address(true).and_then(|()| match address {
        SocketAddr::V6(v6) => socket.set_only_v6(only_ipv6 || !v6.ip().is_unspecified()),
        SocketAddr::V4(_) => Ok(()),
    });
    prepared.map_err(failed(SocketStep::Socket))?;
    if listener.target == Target::Original(Transparent::Tproxy) {
        transparent(&socket, address.is_ipv6()).map_err(failed(SocketStep::Transparent))?;
    }
    socket.bind(&address.into()).map_err(failed(SocketStep::Bind))?;
    socket.listen(BACKLOG).map_err(failed(SocketStep::Bind))?;
    Ok(socket.into())
}

/// Prepares the socket `listening`, opened here or passed by somebody, for `listener`; finds out whether this process
/// may do what its connections to servers need. Gives the address it listens at.
pub(super) fn prepare(listener: &ListenerSettings, listening: &TcpListener) -> Result<SocketAddr, ListenError> {
    let failed = |place: Option<SocketAddr>, step: SocketStep| {
        let name = listener.name.clone();
        move |reason| ListenError { name, place, step, reason }
    };
    let address = listening.local_addr().map_err(failed(None, SocketStep::Socket))?;
    let tuned = listening.set_nonblocking(true).and_then(|()| tune(listening));
    tuned.map_err(failed(Some(address), SocketStep::Socket))?;
    if listener.target == Target::Original(Transparent::Tproxy) {
        let set = transparent(&SockRef::from(listening), address.is_ipv6());
        set.map_err(failed(Some(address), SocketStep::Transparent))?;
    }
    let failed = |step| failed(None, step);
    let mark = listener.mark.filter(|mark| *mark != 0);
    if !listener.spoof_source && mark.is_none() {
        return Ok(address);
    }
    let probe = socket_of(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(failed(SocketStep::Socket))?;
    if listener.spoof_source {
        transparent(&probe, false).map_err(failed(SocketStep::Spoof))?;
    }
    if let Some(mark) = mark {
        probe.set_mark(mark).map_err(failed(SocketStep::Mark))?;
    }
    Ok(address)
}

/// Sets what connections need on `socket`, or on the listener whose connections inherit it: small writes leave at once,
/// dead peers are noticed.
pub(super) fn tune(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE))?;
    // With it the number of probes plays no part, and their interval of 75 s gives eight (tcp(7)).
    socket.set_tcp_user_timeout(Some(GONE))
}

/// Whether this host has IPv6.
pub(super) fn has_ipv6() -> bool {
    !socket_of(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).is_err_and(|error| is_unknown_family(&error))
}

fn is_unknown_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// A non-blocking TCP socket of the family of `address`.
pub(super) fn socket_of(address: &SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(*address), Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// Lets `socket` have addresses that are not this host's.
pub(super) fn transparent(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 { socket.set_ip_transparent_v6(true) } else { socket.set_ip_transparent_v4(true) }
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SocketStep {
    Socket,
    Transparent,
    Bind,
    Spoof,
    Mark,
}

/// A listener cannot be opened, or may not do what it should.
#[derive(Debug)]
pub struct ListenError {
    name: String,
    place: Option<SocketAddr>,
    step: SocketStep,
    reason: io::Error,
}

impl ListenError {
    /// The address that another socket has already, if that is why.
    pub fn taken(&self) -> Option<SocketAddr> {
        self.place.filter(|_| self.reason.kind() == io::ErrorKind::AddrInUse)
    }

    /// Why.
    pub fn reason(&self) -> &io::Error {
        &self.reason
    }

    fn advice(&self) -> &'static str {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
        match (self.reason.kind(), self.step) {
            (PermissionDenied, SocketStep::Mark) => "that needs CAP_NET_RAW: see deploy/systemd, or say --mark 0",
            (PermissionDenied, SocketStep::Transparent | SocketStep::Spoof) => {
                "that needs CAP_NET_RAW: see deploy/systemd"
            }
            (PermissionDenied, _) => {
                "ports below 1024 need CAP_NET_BIND_SERVICE: see deploy/systemd, or choose another port"
            }
            (AddrInUse, _) => {
                "another program listens there, `ss -ltnp` tells which: stop it, or choose another address"
            }
            (AddrNotAvailable, _) => "no interface has this address: check `ip address`",
            _ => "check the address",
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {}: ", self.name)?;
        match self.step {
            SocketStep::Socket | SocketStep::Bind => f.write_str("cannot listen")?,
            SocketStep::Transparent => f.write_str("cannot listen for connections of TPROXY")?,
            SocketStep::Spoof => f.write_str("cannot take the client's address towards the server")?,
            SocketStep::Mark => f.write_str("cannot mark connections to the server")?,
        }
        if let Some(place) = self.place {
            write!(f, " at {place}")?;
        }
        write!(f, ": {}; {}", plain(&self.reason), self.advice())
    }
}

impl std::error::Error for ListenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn listener() -> ListenerSettings {
        crate::proxy::testing::listener(Target::Original(Transparent::Redirect))
    }

    #[test]
    fn connections_inherit_what_the_listener_has() {
        let socket = listen(&listener(), "127.0.0.1:0".parse().unwrap(), false).unwrap();
        prepare(&listener(), &socket).unwrap();
        socket.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let (accepted, _) = socket.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), IDLE);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(GONE));
    }

    #[test]
    fn both_families_come_to_the_unspecified_address() {
        let socket = listen(&listener(), "[::]:0".parse().unwrap(), false).unwrap();
        socket.set_nonblocking(false).unwrap();
        let port = socket.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_, peer) = socket.accept().unwrap();
        assert_eq!(peer.ip().to_canonical(), client.local_addr().unwrap().ip());
    }

    #[test]
    fn an_error_says_where_why_and_what_to_do() {
        let first = listen(&listener(), "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let place = first.local_addr().unwrap();
        let error = listen(&listener(), place, false).unwrap_err();
        assert_eq!(error.reason().kind(), io::ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("listener mx: cannot listen at {place}: Address already in use; ")),
            "{text}"
        );
        let error = listen(&listener(), "192.0.2.99:0".parse().unwrap(), false).unwrap_err().to_string();
        assert!(error.contains("no interface has this address"), "{error}");
    }
}

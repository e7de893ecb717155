//! Where a connection was meant to go that nftables brought here, and the refusal of one that would come back.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::{SockAddr, SockRef};

use super::local::{accepts, canonical};
use crate::console::plain;
use crate::proxy::settings::Transparent;

/// Why a connection cannot go on.
#[derive(Debug)]
pub enum RouteError {
    /// It was meant for mailtap itself: it would come back for ever.
    Loop(SocketAddr),
    /// The kernel does not know where it was meant to go.
    Unknown(io::Error),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop(address) => write!(
                f,
                "a loop: the connection to {address} ends at mailtap again; clients must name the server, and nftables must exempt connections with mailtap's --mark"
            ),
            Self::Unknown(reason) => write!(
                f,
                "the kernel does not tell where the connection was meant to go: {}; is it redirected by nftables on this host?",
                plain(reason)
            ),
        }
    }
}

impl std::error::Error for RouteError {}

/// Where the connection `accepted` was meant to go; `own`: where this listener listens.
pub fn destination(accepted: &impl AsFd, how: Transparent, own: &[SocketAddr]) -> Result<SocketAddr, RouteError> {
    let socket = SockRef::from(accepted);
    let local = socket.local_addr().and_then(inet).map_err(RouteError::Unknown)?;
    match how {
        Transparent::Redirect => {
            // Connections over IPv4 have an IPv4 record, also those that came to an IPv6 socket.
            let original = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
            let original = original.and_then(inet).map_err(RouteError::Unknown)?;
            // Who was not redirected came to this very address.
            if original == local || own.iter().any(|own| accepts(*own, original)) {
                Err(RouteError::Loop(original))
            } else {
                Ok(original)
            }
        }
        Transparent::Tproxy => {
            if own.iter().any(|own| accepts(*own, local)) {
                Err(RouteError::Loop(local))
            } else {
                Ok(local)
            }
        }
    }
}

fn inet(address: SockAddr) -> io::Result<SocketAddr> {
    let address = address.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok(canonical(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_to_the_listener_itself_is_refused() {
        for (listen, host) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")]
        {
            let server = TcpListener::bind(listen).unwrap();
            let own = server.local_addr().unwrap();
            let _client = TcpStream::connect((host, own.port())).unwrap();
            let (accepted, _) = server.accept().unwrap();
            let expected = SocketAddr::new(host.parse().unwrap(), own.port());
            let RouteError::Loop(met) = destination(&accepted, Transparent::Tproxy, &[own]).unwrap_err() else {
                panic!("{listen} {host}")
            };
            assert_eq!(met, expected);
            // Without connection tracking the kernel has no record at all.
            assert!(destination(&accepted, Transparent::Redirect, &[own]).is_err());
        }
    }

    #[test]
    fn a_socket_that_is_not_redirected_tells_where_it_is() {
        let server = TcpListener::bind("[::]:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = server.accept().unwrap();
        let met = destination(&accepted, Transparent::Tproxy, &["127.0.0.1:1".parse().unwrap()]).unwrap();
        assert_eq!(met, SocketAddr::from(([127, 0, 0, 1], port)));
    }
}

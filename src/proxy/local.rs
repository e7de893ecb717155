//! Whether an address is this host's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Whether connections to `ip` stay on this host.
///
/// The kernel is asked which address it would send from: to an address of the host itself, it is that very address.
/// Binding a socket to it would not tell where `net.ipv4.ip_nonlocal_bind` is set, as it is on hosts with addresses
/// that move between them (VRRP).
pub(crate) fn is_local(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    /// A datagram socket sends nothing when it is connected; any port but 0 will do.
    const PORT: u16 = 9;
    let any = if ip.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let chosen = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, PORT))?;
        socket.local_addr()
    });
    chosen.is_ok_and(|own| own.ip() == ip)
}

/// Whether a socket that listens at `own` accepts a connection to `target`.
pub(crate) fn accepts(own: SocketAddr, target: SocketAddr) -> bool {
    let (ip, to) = (own.ip().to_canonical(), target.ip().to_canonical());
    if own.port() != target.port() {
        return false;
    }
    // A connection to the unspecified address goes to the loopback address.
    let to = match to {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    match ip {
        // `[::]` accepts IPv4 too.
        IpAddr::V6(any) if any.is_unspecified() => is_local(to),
        IpAddr::V4(any) if any.is_unspecified() => to.is_ipv4() && is_local(to),
        ip => ip == to,
    }
}

/// IPv4 addresses that came in as IPv6 are IPv4 addresses.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        // Keeps the scope of link-local addresses.
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_are_local() {
        for ip in ["127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
            assert!(is_local(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "255.255.255.255"] {
            assert!(!is_local(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_socket_accepts_by_port_and_address() {
        let accepts = |own: &str, target: &str| accepts(own.parse().unwrap(), target.parse().unwrap());
        assert!(accepts("127.0.0.1:25", "127.0.0.1:25") && accepts("[::ffff:127.0.0.1]:25", "127.0.0.1:25"));
        assert!(accepts("[::]:25", "127.0.0.9:25") && accepts("[::]:25", "[::1]:25"));
        assert!(accepts("0.0.0.0:25", "127.0.0.1:25") && !accepts("0.0.0.0:25", "[::1]:25"));
        assert!(accepts("127.0.0.1:25", "0.0.0.0:25") && accepts("[::1]:25", "[::]:25"));
        assert!(!accepts("127.0.0.1:25", "127.0.0.1:26") && !accepts("127.0.0.1:25", "127.0.0.2:25"));
        assert!(!accepts("[::]:25", "192.0.2.25:25"), "another host");
    }
}

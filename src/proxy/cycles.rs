//! Listeners whose servers are listeners: a chain of them is fine, in a circle a connection would be forwarded for ever.

use std::net::{IpAddr, SocketAddr};

use super::local::accepts;

/// A listener, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    /// Where it listens.
    pub(super) own: Vec<SocketAddr>,
    /// Where it goes on to, as far as is known.
    pub(super) targets: Vec<IpAddr>,
    /// The port there; 0: the one that the connection came to.
    pub(super) port: u16,
}

/// A server's address that leads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    /// Position of the listener whose server it is.
    pub(super) listener: usize,
    /// The address.
    pub(super) target: SocketAddr,
    /// Position of the listener that accepts connections there: itself, or another one.
    pub(super) next: usize,
}

/// Where a connection has come to: a listener, by its position, and the port there.
type Stop = (usize, u16);

/// Every address of a server from which a connection would come back to the listener that dialled it.
pub(super) fn cycles(hops: &[Hop]) -> Vec<Cycle> {
    let mut found: Vec<Cycle> = Vec::new();
    for (listener, hop) in hops.iter().enumerate() {
        for port in hop.own.iter().map(SocketAddr::port) {
            for target in targets(hop, port) {
                let Some(next) = accepting(hops, target) else { continue };
                let cycle = Cycle { listener, target, next };
                if !found.contains(&cycle) && leads_to(hops, target, (listener, port)) {
                    found.push(cycle);
                }
            }
        }
    }
    found
}

/// Whether a connection to `target` comes to `wanted` in the end.
fn leads_to(hops: &[Hop], target: SocketAddr, wanted: Stop) -> bool {
    let mut seen: Vec<Stop> = Vec::new();
    let mut ahead = vec![target];
    while let Some(target) = ahead.pop() {
        let Some(position) = accepting(hops, target) else { continue };
        let stop = (position, target.port());
        if stop == wanted {
            return true;
        }
        // Each is looked at once: there are as many as listeners have ports.
        if !seen.contains(&stop) {
            seen.push(stop);
            ahead.extend(hops.get(position).into_iter().flat_map(|hop| targets(hop, target.port())));
        }
    }
    false
}

/// The listener that accepts connections to `target`.
fn accepting(hops: &[Hop], target: SocketAddr) -> Option<usize> {
    hops.iter().position(|hop| hop.own.iter().any(|own| accepts(*own, target)))
}

/// Where a connection goes that came to `port` of `hop`.
fn targets(hop: &Hop, port: u16) -> impl Iterator<Item = SocketAddr> {
    let port = if hop.port == 0 { port } else { hop.port };
    hop.targets.iter().map(move |ip| SocketAddr::new(*ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(own: &str, targets: &[&str], port: u16) -> Hop {
        let targets = targets.iter().map(|ip| ip.parse().unwrap()).collect();
        Hop { own: own.split(' ').map(|address| address.parse().unwrap()).collect(), targets, port }
    }

    fn found(hops: &[Hop]) -> Vec<(usize, usize)> {
        cycles(hops).iter().map(|cycle| (cycle.listener, cycle.next)).collect()
    }

    #[test]
    fn circles_are_found_chains_are_not() {
        let local = "127.0.0.1";
        assert_eq!(found(&[hop("127.0.0.1:1", &[local], 1)]), [(0, 0)]);
        assert_eq!(found(&[hop("[::]:1", &["192.0.2.25", "::1"], 1)]), [(0, 0)]);
        assert_eq!(found(&[hop("127.0.0.1:1", &[local], 2), hop("127.0.0.1:2", &[local], 1)]), [(0, 1), (1, 0)]);
        let three = [hop("[::1]:1", &["::1"], 2), hop("[::]:2", &[local], 3), hop("0.0.0.0:3", &["::1"], 1)];
        assert_eq!(found(&three), [(0, 1), (1, 2), (2, 0)]);
        let chain = [hop("127.0.0.1:1", &[local], 2), hop("127.0.0.1:2", &[local], 3)];
        assert_eq!(found(&chain), []);
        // The one before the circle does not see its connection again: only the others do.
        let tail = [hop("127.0.0.1:1", &[local], 2), hop("127.0.0.1:2", &[local], 3), hop("127.0.0.1:3", &[local], 2)];
        assert_eq!(found(&tail), [(1, 2), (2, 1)]);
    }

    #[test]
    fn without_a_port_the_connection_keeps_its_own() {
        assert_eq!(found(&[hop("127.0.0.1:1 127.0.0.1:2", &["127.0.0.2"], 0)]), []);
        assert_eq!(found(&[hop("127.0.0.1:1 127.0.0.2:1", &["127.0.0.2"], 0)]), [(0, 0)]);
        assert_eq!(
            found(&[hop("127.0.0.1:1", &["127.0.0.2"], 0), hop("127.0.0.2:1", &["127.0.0.1"], 0)]),
            [(0, 1), (1, 0)]
        );
    }
}

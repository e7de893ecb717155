//! Connections that the kernel has completed and nobody has accepted yet: those who wait for a place at a full listener are
//! there, since a connection over the limit is not accepted.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd;

use hashbrown::HashMap;

/// The queues of all TCP sockets of this network namespace that listen, by the inode of the socket.
#[derive(Debug, Default)]
pub struct AcceptQueues(HashMap<u64, u32>);

impl AcceptQueues {
    /// As they are now. Empty where `/proc` is not there.
    pub fn read() -> Self {
        let mut queues = HashMap::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let Ok(file) = File::open(table) else { continue };
            // The kernel lists those that listen first: what follows can be a hundred thousand connections.
            let lines = BufReader::new(file).lines().skip(1).map_while(Result::ok);
            queues.extend(lines.map_while(|line| listening(&line)));
        }
        Self(queues)
    }

    /// How many wait at `socket`; 0 if it is not known.
    pub fn of(&self, socket: &impl AsFd) -> u32 {
        let inode = rustix::fs::fstat(socket).map(|about| about.st_ino);
        inode.ok().and_then(|inode| self.0.get(&inode)).copied().unwrap_or_default()
    }
}

/// The inode of a socket that listens and the length of its queue, from a line of `/proc/net/tcp` (proc_pid_net(5)); `None`
/// for all others.
fn listening(line: &str) -> Option<(u64, u32)> {
    /// `TCP_LISTEN`.
    const LISTENS: &str = "0A";
    // sl, local_address, rem_address, st, tx_queue:rx_queue, tr:tm->when, retrnsmt, uid, timeout, inode
    let mut columns = line.split_ascii_whitespace().skip(3);
    let (state, queues, inode) = (columns.next()?, columns.next()?, columns.nth(4)?);
    let (_, waiting) = queues.split_once(':')?;
    let waiting = u32::from_str_radix(waiting, 16).ok()?;
    (state == LISTENS).then_some((inode.parse().ok()?, waiting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn those_that_nobody_has_accepted_are_counted() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = TcpListener::bind(address).unwrap();
            assert_eq!(AcceptQueues::read().of(&socket), 0);
            let place = socket.local_addr().unwrap();
            let _clients = [TcpStream::connect(place).unwrap(), TcpStream::connect(place).unwrap()];
            assert_eq!(AcceptQueues::read().of(&socket), 2);
            drop(socket.accept().unwrap());
            assert_eq!(AcceptQueues::read().of(&socket), 1);
        }
    }

    #[test]
    fn a_line_of_a_connection_is_none() {
        let line = |state| {
            format!(
                "   0: 0100007F:0CEA 00000000:0000 {state} 00000000:0000000B 00:00000000 00000000   100        0 27146 1 0"
            )
        };
        assert_eq!(listening(&line("0A")), Some((27146, 11)));
        assert_eq!(listening(&line("01")), None);
        assert_eq!(listening("sl  local_address"), None);
    }
}

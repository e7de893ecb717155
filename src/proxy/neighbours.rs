//! Other mailtaps on this host, and where their connections go: two of them may be each other's server.
//!
//! Each listener whose server is on this host opens an abstract Unix socket (unix(7)) whose name holds both addresses.
//! Nobody ever says anything there: the name is found in `/proc`, and the kernel tells whose socket it is, so that a
//! user who is not trusted cannot keep mailtap from starting.

use std::fs;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use super::cycles::Hop;
use super::local::is_local;

const PREFIX: &str = "mailtap/";

/// The longest name (`sun_path` without the byte that says it is abstract). Two addresses of IPv6 in full do not fit; such a
/// listener is not announced.
const LONGEST: usize = 107;

/// Neighbours that are looked at, and names that are announced: more listeners with a server on the same host are no mail
/// host.
const MOST: usize = 256;

/// The names of this process, as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Announced(Vec<(String, UnixListener)>);

impl Announced {
    /// Takes in those who have asked whose the names are, lest the queue of one fill.
    pub(super) fn dismiss(&self) {
        for (_, socket) in &self.0 {
            while socket.accept().is_ok() {}
        }
    }

    /// Announces the listeners `hops`, and no others any more.
    pub(super) fn update(&mut self, hops: &[Hop]) {
        let names: Vec<String> = hops.iter().flat_map(names).take(MOST).collect();
        self.0.retain(|(name, _)| names.contains(name));
        for name in names {
            if self.0.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let bound = UnixAddr::from_abstract_name(&name).and_then(|address| UnixListener::bind_addr(&address));
            match bound.and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) {
                Ok(socket) => self.0.push((name, socket)),
                Err(error) => tracing::debug!(name, %error, "a listener is not announced to other mailtaps"),
            }
        }
    }
}

/// The names that announce a listener: one for each way that stays on this host.
fn names(hop: &Hop) -> Vec<String> {
    let mut names = Vec::new();
    for own in &hop.own {
        let port = if hop.port == 0 { own.port() } else { hop.port };
        for ip in hop.targets.iter().filter(|ip| is_local(**ip)) {
            let name = format!("{PREFIX}{}/{own}/{}", std::process::id(), SocketAddr::new(*ip, port));
            names.extend(Some(name).filter(|name| name.len() <= LONGEST));
        }
    }
    names
}

/// The listeners of other mailtaps that are run by root or by the user of this one.
#[derive(Clone, Debug, Default)]
pub struct Neighbours(Vec<Hop>);

impl Neighbours {
    /// Those that run now. To be asked for before the process is confined: see `is_trusted`.
    pub fn find() -> Self {
        Self(neighbours())
    }

    pub(super) fn hops(&self) -> &[Hop] {
        &self.0
    }
}

fn neighbours() -> Vec<Hop> {
    // Unreadable where `/proc` is not there: then nobody is known.
    let sockets = fs::read("/proc/self/net/unix").unwrap_or_default();
    // Anybody may have a socket whose name is no text.
    let sockets = String::from_utf8_lossy(&sockets);
    let others = sockets.lines().filter_map(listening).filter_map(|name| {
        let (pid, hop) = announced(name)?;
        (pid != std::process::id()).then_some((name, hop))
    });
    others.take(MOST).filter(|(name, _)| is_trusted(name)).map(|(_, hop)| hop).collect()
}

/// The abstract name of a socket that listens, from its line in `/proc/net/unix`: who is connected to it has the same name.
fn listening(line: &str) -> Option<&str> {
    /// `__SO_ACCEPTCON`, in the fourth column.
    const LISTENS: &str = "00010000";
    let (columns, name) = line.split_once(" @")?;
    (columns.split_ascii_whitespace().nth(3) == Some(LISTENS)).then_some(name)
}

/// What `name` announces.
fn announced(name: &str) -> Option<(u32, Hop)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('/');
    let (pid, own, target) = (parts.next()?, parts.next()?, parts.next()?);
    let (own, target): (SocketAddr, SocketAddr) = (own.parse().ok()?, target.parse().ok()?);
    let hop = Hop { own: vec![own], targets: vec![target.ip()], port: target.port() };
    parts.next().is_none().then_some((pid.parse().ok()?, hop))
}

/// Whether root or this user listens at the abstract socket `name`. Not known, and then not so, once Landlock keeps other
/// processes' abstract sockets out of reach.
fn is_trusted(name: &str) -> bool {
    let owner = || -> std::io::Result<_> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.connect(&SockAddr::unix(format!("\0{name}"))?)?;
        Ok(socket_peercred(&socket)?.uid)
    };
    owner().is_ok_and(|owner| owner.is_root() || owner == geteuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(own: &str, target: &str) -> Hop {
        let target: SocketAddr = target.parse().unwrap();
        Hop { own: vec![own.parse().unwrap()], targets: vec![target.ip()], port: target.port() }
    }

    #[test]
    fn a_socket_that_listens_is_told_from_those_connected_to_it() {
        let line = |flags| format!("00000000ae2e33d4: 00000002 00000000 {flags} 0001 01 5191850 @mailtap/1/a/b");
        assert_eq!(listening(&line("00010000")), Some("mailtap/1/a/b"));
        assert_eq!(listening(&line("00000000")), None);
        assert_eq!(listening("Num       RefCount Protocol Flags    Type St Inode Path"), None);
    }

    #[test]
    fn however_many_ask_whose_a_name_is_it_is_found() {
        let hop = hop("127.0.0.1:9", "127.0.0.1:10");
        let mut announced = Announced::default();
        announced.update(&[hop]);
        let name = announced.0[0].0.clone();
        for _ in 0..300 {
            assert!(is_trusted(&name));
            announced.dismiss();
        }
    }

    #[test]
    fn what_is_announced_is_understood() {
        for (own, target) in
            [("127.0.0.1:25", "127.0.0.1:26"), ("[::]:25", "[::1]:10025"), ("0.0.0.0:1", "127.0.0.9:2")]
        {
            let names = names(&hop(own, target));
            assert_eq!(names.len(), 1);
            let (pid, found) = announced(&names[0]).unwrap();
            assert_eq!((pid, &found.own), (std::process::id(), &vec![own.parse().unwrap()]));
            assert_eq!((SocketAddr::new(found.targets[0], found.port)), target.parse().unwrap());
        }
        assert!(names(&hop("127.0.0.1:25", "192.0.2.25:25")).is_empty(), "it leaves this host");
        for other in
            ["mailtap/", "mailtap/1/2/3", "mailtap/1/127.0.0.1:1/127.0.0.1:2/3", "mailtap/x/[::]:1/[::1]:2", "X11"]
        {
            assert!(announced(other).is_none(), "{other}");
        }
    }

    #[test]
    fn names_come_and_go_with_their_listeners() {
        let mut own = Announced::default();
        own.update(&[hop("127.0.0.1:9", "127.0.0.1:10"), hop("127.0.0.1:11", "127.0.0.1:12")]);
        assert_eq!(own.0.len(), 2);
        assert!(is_trusted(&own.0[0].0), "it is of this user");
        assert!(!is_trusted("mailtap/nobody"));
        own.update(&[hop("127.0.0.1:9", "127.0.0.1:10"), hop("127.0.0.1:9", "192.0.2.1:10")]);
        assert_eq!(own.0.len(), 1);
        assert!(neighbours().iter().all(|hop| hop.own != ["127.0.0.1:9".parse().unwrap()]), "itself is no neighbour");
    }
}

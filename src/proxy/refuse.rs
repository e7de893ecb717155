//! How a client is turned away: with the line of a server that is not there, or with a reset.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::listener::Listener;
use super::settings::{Refuse, Target};
use super::tls::Terminator;
use crate::event::Protocol;

/// Ports where TLS begins with the first byte (RFC 8314 section 7).
const IMPLICIT_TLS: [u16; 3] = [465, 993, 995];

/// How long a client may take to begin TLS: it speaks first, and a line in clear would be a fault of TLS to it.
const HELLO: Duration = Duration::from_millis(100);

/// Turns the client away as configured; `early`: what was read of it already.
pub(super) async fn refuse(listener: &Listener, client: &mut TcpStream, early: &[u8]) {
    let local = client.local_addr().ok();
    let Some(line) = goodbye(listener, local) else { return abort(client) };
    if listener.terminator.is_none() && early.is_empty() {
        let _ = timeout(HELLO, client.readable()).await;
    }
    if begins_tls(listener, client, early) {
        return abort(client);
    }
    if let Some(terminator) = listener.terminator.as_ref().filter(|terminator| terminator.is_implicit()) {
        return terminator.refuse(client, early.to_vec(), line).await;
    }
    // A client that does not take one line within a second has no use for it.
    let _ = timeout(Duration::from_secs(1), client.write_all(line)).await;
    let _ = client.shutdown().await;
}

/// The same without waiting for anything: what the socket does not take at once is not sent.
pub(super) fn refuse_at_once(listener: &Listener, client: &TcpStream) {
    match goodbye(listener, client.local_addr().ok()).filter(|_| !begins_tls(listener, client, &[])) {
        // A handshake would have to come first, and be waited for.
        Some(_) if listener.terminator.as_ref().is_some_and(Terminator::is_implicit) => abort(client),
        Some(line) => _ = client.try_write(line),
        None => abort(client),
    }
}

/// What a client is told that has to go although it did nothing wrong, if that is configured; `meant`: the address that it
/// connected to, or that its connection goes to.
pub(super) fn goodbye(listener: &Listener, meant: Option<SocketAddr>) -> Option<&'static [u8]> {
    let is_told = listener.settings.admission.refuse == Refuse::Tell && !passes_tls(listener, meant);
    is_told.then(|| line(listener.protocol()))
}

/// Whether TLS passes there from the first byte: nothing that is said in clear would be understood, and the server says
/// nothing before the client does.
pub(super) fn passes_tls(listener: &Listener, meant: Option<SocketAddr>) -> bool {
    let target = match listener.settings.target {
        Target::Host { port, .. } => Some(port),
        Target::Original(_) => None,
    };
    let own = listener.addresses.iter().map(SocketAddr::port);
    let mut ports = own.chain(target).chain(meant.map(|address| address.port()));
    listener.terminator.is_none() && ports.any(|port| IMPLICIT_TLS.contains(&port))
}

/// Whether the client has begun TLS where it passes.
fn begins_tls(listener: &Listener, client: &TcpStream, early: &[u8]) -> bool {
    let mut first = [0];
    let has_first = match early.first() {
        Some(byte) => {
            first = [*byte];
            true
        }
        None => recv(client, &mut first, RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok_and(|(_, length)| length == 1),
    };
    // A handshake record, or the hello of SSL 2 (RFC 5246 appendix E.2).
    listener.terminator.is_none() && has_first && matches!(first, [0x16 | 0x80])
}

/// The words of a server that is not there (RFC 5321 section 3.8, RFC 3206, RFC 5530 section 3).
fn line(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => b"421 4.3.2 Service not available, try again later\r\n",
        Protocol::Pop3 => b"-ERR [SYS/TEMP] Service not available, try again later\r\n",
        Protocol::Imap => b"* BYE [UNAVAILABLE] Service not available, try again later\r\n",
        Protocol::ManageSieve => b"BYE (TRYLATER) \"Service not available\"\r\n",
        Protocol::Unknown => b"",
    }
}

/// Lets the close be a reset.
pub(super) fn abort(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

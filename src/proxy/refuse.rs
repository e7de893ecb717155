//! How a client is turned away: with the line of a server that is not there, or with a reset.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::listener::Listener;
use super::settings::{Refuse, TlsListen};
use crate::event::Protocol;

/// Turns the client away as configured.
pub(super) async fn refuse(listener: &Listener, client: &mut TcpStream) {
    let Some(line) = goodbye(listener) else { return abort(client) };
    // A client that does not take one line within a second has no use for it.
    let _ = timeout(Duration::from_secs(1), client.write_all(line)).await;
    let _ = client.shutdown().await;
}

/// The same without waiting for anything: what the socket does not take at once is not sent.
pub(super) fn refuse_at_once(listener: &Listener, client: &TcpStream) {
    let begins_with_tls = listener.settings.tls.as_ref().is_some_and(|tls| tls.listen == TlsListen::Implicit);
    match goodbye(listener) {
        // It could not be told from an attack.
        _ if begins_with_tls => abort(client),
        Some(line) => _ = client.try_write(line),
        None => abort(client),
    }
}

/// What a client is told that has to go although it did nothing wrong, if that is configured.
pub(super) fn goodbye(listener: &Listener) -> Option<&'static [u8]> {
    (listener.settings.admission.refuse == Refuse::Tell).then(|| line(listener.protocol()))
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

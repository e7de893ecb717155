//! How a session whose TLS is answered here comes to its server, and to a new connection of it.

use std::pin::Pin;

use tokio::net::TcpStream;

use super::client_tls::ClientTls;
use crate::event::Refusal;

/// A dial under way. Without a reason, nobody is dialled any more: the proxy goes down.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = Result<TcpStream, Option<Refusal>>> + 'a>>;

/// Dials the server of one session: once, or once more when TLS begins.
pub trait Dialler {
    /// A new connection to the server, which is told of the client and of its TLS, if it has it, where the operator wants that.
    fn dial<'a>(&'a mut self, tls: Option<&'a ClientTls>) -> Dialling<'a>;

    /// Whether the server is told of the client's TLS: then it can be dialled only when the client's handshake is over.
    fn tells_tls(&self) -> bool;
}

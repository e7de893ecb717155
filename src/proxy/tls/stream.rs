//! One side of a session: a socket, in clear or under TLS.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// Octets in clear that are thrown away before TLS; one who sends more fails at the handshake.
const DISCARDED: usize = 64 << 10;

/// A socket; what was read of it before comes first.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    early: Vec<u8>,
}

/// A side.
#[derive(Debug)]
pub(super) enum SideStream {
    Clear(Socket),
    Tls(Box<TlsStream<Socket>>),
    /// A handshake failed, and with it the socket is gone.
    Gone,
}

impl SideStream {
    pub(super) fn new(tcp: TcpStream, early: Vec<u8>) -> Self {
        Self::Clear(Socket { tcp, early })
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Clear(socket) => Some(&socket.tcp),
            Self::Tls(tls) => Some(&tls.get_ref().0.tcp),
            Self::Gone => None,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The TLS of a side that has it.
    pub(super) fn tls(&self) -> Option<&TlsStream<Socket>> {
        match self {
            Self::Tls(tls) => Some(tls),
            Self::Clear(_) | Self::Gone => None,
        }
    }

    /// Address of the peer.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        Some(self.tcp()?.peer_addr().ok()?.ip().to_canonical())
    }

    /// Own address.
    pub(super) fn local(&self) -> Option<IpAddr> {
        Some(self.tcp()?.local_addr().ok()?.ip().to_canonical())
    }

    /// Lets the close be a reset.
    pub(super) fn abort(&self) {
        if let Some(tcp) = self.tcp() {
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    /// Throws away what came in clear (RFC 3207 section 4.2).
    pub(super) fn discard(&mut self) -> Vec<u8> {
        let Self::Clear(socket) = self else { return Vec::new() };
        let mut discarded = std::mem::take(&mut socket.early);
        let mut buffer = [0; 4096];
        while discarded.len() < DISCARDED {
            match socket.tcp.try_read(&mut buffer) {
                Ok(length @ 1..) => discarded.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                _ => break,
            }
        }
        discarded
    }

    /// Answers the client's handshake.
    pub(super) async fn accept(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let Self::Clear(socket) = std::mem::replace(self, Self::Gone) else { return Err(misplaced()) };
        let tls = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(socket)).await??;
        *self = Self::Tls(Box::new(TlsStream::Server(tls)));
        Ok(())
    }

    /// Begins the handshake with a server that has to prove that it is `name`.
    pub(super) async fn connect(&mut self, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<()> {
        let Self::Clear(socket) = std::mem::replace(self, Self::Gone) else { return Err(misplaced()) };
        let tls = timeout(HANDSHAKE, TlsConnector::from(config).connect(name, socket)).await??;
        *self = Self::Tls(Box::new(TlsStream::Client(tls)));
        Ok(())
    }
}

fn misplaced() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "no socket in clear")
}

fn gone() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for SideStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(socket) => Pin::new(socket).poll_read(cx, into),
            // Many clients close without a closing alert; lines and lengths tell what is whole.
            Self::Tls(tls) => Poll::Ready(match ready!(Pin::new(tls).poll_read(cx, into)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                other => other,
            }),
            Self::Gone => gone().map_ok(|_| ()),
        }
    }
}

impl AsyncWrite for SideStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(socket) => Pin::new(socket).poll_write(cx, octets),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, octets),
            Self::Gone => gone(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Gone => gone().map_ok(|_| ()),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.early.is_empty() {
            return Pin::new(&mut this.tcp).poll_read(cx, into);
        }
        let length = this.early.len().min(into.remaining());
        into.put_slice(this.early.get(..length).unwrap_or_default());
        this.early.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

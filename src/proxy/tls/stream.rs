//! One side of a session: a socket, in clear or under TLS.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig, ServerConnection};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How long a client may take to be told that it is turned away.
const REFUSAL: Duration = Duration::from_secs(5);

/// Octets in clear that are thrown away before TLS; one who sends more fails at the handshake.
const DISCARDED: usize = 64 << 10;

/// Octets of a peer that are read ahead only to see whether it leaves; one who sends more is not watched meanwhile.
const AHEAD: usize = 64 << 10;

/// A socket; what was read of it before comes first.
#[derive(Debug)]
pub(super) struct Socket<T> {
    tcp: T,
    early: Vec<u8>,
}

/// A side.
#[derive(Debug)]
pub(super) struct SideStream {
    state: SideState,
    /// What was read to see whether the peer leaves.
    ahead: Vec<u8>,
}

#[derive(Debug)]
enum SideState {
    Clear(Socket<TcpStream>),
    Tls(Box<TlsStream<Socket<TcpStream>>>),
    /// There is no socket yet, or its handshake failed, and with it the socket is gone.
    Gone,
}

/// How a peer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It closed, and all it sent was read.
    Closed,
    /// It reset, or TLS broke.
    Reset,
}

impl SideStream {
    pub(super) fn new(tcp: TcpStream, early: Vec<u8>) -> Self {
        Self { state: SideState::Clear(Socket { tcp, early }), ahead: Vec::new() }
    }

    /// A side that is not there yet.
    pub(super) fn absent() -> Self {
        Self { state: SideState::Gone, ahead: Vec::new() }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match &self.state {
            SideState::Clear(socket) => Some(&socket.tcp),
            SideState::Tls(tls) => Some(&tls.get_ref().0.tcp),
            SideState::Gone => None,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.state, SideState::Tls(_))
    }

    /// The TLS of a side that answers it.
    pub(super) fn answered_tls(&self) -> Option<&ServerConnection> {
        match &self.state {
            SideState::Tls(tls) => match &**tls {
                TlsStream::Server(tls) => Some(tls.get_ref().1),
                TlsStream::Client(_) => None,
            },
            SideState::Clear(_) | SideState::Gone => None,
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

    /// Gives back what was read of the peer and is for whoever reads next.
    pub(super) fn unread(&mut self, octets: &[u8]) {
        self.ahead.splice(0..0, octets.iter().copied());
    }

    /// Throws away what came in clear (RFC 3207 section 4.2).
    pub(super) fn discard(&mut self) -> Vec<u8> {
        let mut discarded = std::mem::take(&mut self.ahead);
        let SideState::Clear(socket) = &mut self.state else { return discarded };
        discarded.append(&mut socket.early);
        let mut buffer = [0; 4096];
        while discarded.len() < DISCARDED {
            match socket.tcp.try_read(&mut buffer) {
                Ok(length @ 1..) => discarded.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                _ => break,
            }
        }
        discarded
    }

    /// Ready when the peer has left; reads ahead to see it. One that closed with something to say has not left: it may wait
    /// for the answer.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Departure> {
        let mut buffer = [0; 4096];
        while self.ahead.len() < AHEAD {
            let mut into = ReadBuf::new(&mut buffer);
            match ready!(self.state.poll_read(cx, &mut into)) {
                Err(_) => return Poll::Ready(Departure::Reset),
                Ok(()) if !into.filled().is_empty() => self.ahead.extend_from_slice(into.filled()),
                Ok(()) if self.ahead.is_empty() => return Poll::Ready(Departure::Closed),
                Ok(()) => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    /// Answers the client's handshake.
    pub(super) async fn accept(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let socket = self.take()?;
        let tls = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(socket)).await??;
        self.state = SideState::Tls(Box::new(TlsStream::Server(tls)));
        Ok(())
    }

    /// Begins the handshake with a server that has to prove that it is `name`.
    pub(super) async fn connect(&mut self, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<()> {
        let socket = self.take()?;
        let tls = timeout(HANDSHAKE, TlsConnector::from(config).connect(name, socket)).await??;
        self.state = SideState::Tls(Box::new(TlsStream::Client(tls)));
        Ok(())
    }

    /// The socket in clear, for a handshake.
    fn take(&mut self) -> io::Result<Socket<TcpStream>> {
        let SideState::Clear(mut socket) = std::mem::replace(&mut self.state, SideState::Gone) else {
            return Err(misplaced());
        };
        socket.early.append(&mut self.ahead);
        Ok(socket)
    }
}

/// Shakes hands with a client that is turned away, says `line` and closes: in clear it would take the line for a fault of TLS.
pub(super) async fn refuse_under_tls(config: Arc<ServerConfig>, tcp: &mut TcpStream, early: Vec<u8>, line: &[u8]) {
    let told = async {
        let mut tls = TlsAcceptor::from(config).accept(Socket { tcp, early }).await?;
        tls.write_all(line).await?;
        tls.shutdown().await
    };
    // A client that takes longer has no use for the line.
    let _ = timeout(REFUSAL, told).await;
}

fn misplaced() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "no socket in clear")
}

fn gone() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl SideState {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
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

/// Fills `into` from the front of `octets`.
fn give(octets: &mut Vec<u8>, into: &mut ReadBuf<'_>) {
    let length = octets.len().min(into.remaining());
    into.put_slice(octets.get(..length).unwrap_or_default());
    octets.drain(..length);
}

impl AsyncRead for SideStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return this.state.poll_read(cx, into);
        }
        give(&mut this.ahead, into);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SideStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().state {
            SideState::Clear(socket) => Pin::new(socket).poll_write(cx, octets),
            SideState::Tls(tls) => Pin::new(tls).poll_write(cx, octets),
            SideState::Gone => gone(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            SideState::Clear(_) => Poll::Ready(Ok(())),
            SideState::Tls(tls) => Pin::new(tls).poll_flush(cx),
            SideState::Gone => gone().map_ok(|_| ()),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            SideState::Clear(socket) => Pin::new(socket).poll_shutdown(cx),
            SideState::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            SideState::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.early.is_empty() {
            return Pin::new(&mut this.tcp).poll_read(cx, into);
        }
        give(&mut this.early, into);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
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

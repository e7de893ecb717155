//! What a session whose TLS is terminated here reports to its observer, and how it ends.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use super::failure::failure;
use super::stream::{Departure, SideStream};
use crate::event::{Dir, EstablishedTls, Refusal, TlsFailure};

/// Sees what passes, and may end it.
pub trait Observer {
    /// Clear text has gone on, or was kept for want of an answer: as the client sent it, as the client gets it.
    fn data(&mut self, dir: Dir, octets: &[u8]);

    /// From here on the client's octets are under TLS; or the handshake failed, and there are none.
    fn tls_established(&mut self, how: &EstablishedTls);

    /// TLS with the server came to nothing.
    fn upstream_tls_failed(&mut self, why: TlsFailure);

    /// The sender of `dir` closed.
    fn fin(&mut self, dir: Dir);

    /// Ready when the session is to end; `rests`: nothing is on its way. Keeps the waker.
    fn poll_stop(&mut self, rests: bool, cx: &mut Context<'_>) -> Poll<SessionStop>;
}

/// How a session is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStop {
    /// With resets: neither side shall take a message that was cut for a whole one.
    pub abort: bool,
    /// What the client is told, as far as it can be without waiting.
    pub goodbye: &'static [u8],
}

/// How a session ended.
#[derive(Debug)]
pub enum TlsEnd {
    /// Both sides closed.
    Closed,
    /// The sender of this direction reset.
    Reset(Dir),
    /// The observer ended it.
    Stopped(SessionStop),
    /// The handshake with the client failed.
    Client(io::Error),
    /// TLS towards the server could not be had.
    Server(io::Error),
    /// The server did not take a connection.
    Unreachable(Refusal),
    /// The proxy goes down, and the server was not dialled for that.
    TurnedAway,
}

/// `work`, unless the observer ends the session.
pub(super) async fn watched<T>(observer: &mut dyn Observer, work: impl Future<Output = T>) -> Result<T, TlsEnd> {
    let mut work = pin!(work);
    poll_fn(|cx| match Pin::as_mut(&mut work).poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => observer.poll_stop(false, cx).map(|stop| Err(TlsEnd::Stopped(stop))),
    })
    .await
}

impl TlsEnd {
    /// The sender of this direction broke a handshake off: the other side had gone, or said why by an alert.
    pub fn broken_off_by(&self) -> Option<Dir> {
        let by_peer = |error: &io::Error| {
            let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            failure(error) == TlsFailure::Closed || matches!(alert, Some(rustls::Error::AlertReceived(_)))
        };
        match self {
            Self::Client(error) if by_peer(error) => Some(Dir::ToServer),
            // What the proxy decides, the client sees as its server's doing.
            Self::Client(_) | Self::Server(_) => Some(Dir::ToClient),
            _ => None,
        }
    }
}

/// `work`, unless the observer ends the session, or `client` leaves: then nobody waits for it any more.
pub(super) async fn attended<T>(
    observer: &mut dyn Observer,
    client: &mut SideStream,
    work: impl Future<Output = T>,
) -> Result<T, TlsEnd> {
    let mut work = pin!(work);
    let left = poll_fn(|cx| {
        if let Poll::Ready(done) = Pin::as_mut(&mut work).poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if let Poll::Ready(stop) = observer.poll_stop(false, cx) {
            return Poll::Ready(Err(TlsEnd::Stopped(stop)));
        }
        client.poll_left(cx).map(|departure| match departure {
            Departure::Closed => Err(TlsEnd::Closed),
            Departure::Reset => Err(TlsEnd::Reset(Dir::ToServer)),
        })
    });
    let left = left.await;
    if matches!(left, Err(TlsEnd::Closed)) {
        observer.fin(Dir::ToServer);
    }
    left
}

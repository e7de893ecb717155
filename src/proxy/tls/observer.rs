//! What a session whose TLS is terminated here reports to its observer, and how it ends.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::event::{Dir, EstablishedTls};

/// Sees what passes, and may end it.
pub trait Observer {
    /// Clear text has gone on, or was kept for want of an answer: as the client sent it, as the client gets it.
    fn data(&mut self, dir: Dir, octets: &[u8]);

    /// From here on the client's octets are under TLS; or the handshake failed, and there are none.
    fn tls_established(&mut self, how: &EstablishedTls);

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

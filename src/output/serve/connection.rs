//! Accepting, and one connection from its first octet to its last.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::patient::Patient;
use super::{ServeShared, answer};
use crate::console::{self, plain};

/// Connections at the same time: beyond any monitoring that means well. One more, and the oldest that shows no page is
/// closed, so that clients which only sit there never keep a scrape out.
pub(super) const CONNECTIONS: usize = 64;

/// Octets of a request's head: a browser sends below 2 KiB.
const HEAD: usize = 16 << 10;

/// Header fields of a request.
const FIELDS: usize = 64;

/// From the beginning of a connection, or the answer before, to the end of a request's head; and of a TLS handshake.
/// A scraper whose interval is longer connects anew.
const HEAD_TIME: Duration = Duration::from_secs(20);

/// How long a client may take nothing of what it asked for.
const STALL: Duration = Duration::from_secs(20);

/// Pause when the process has no descriptor left for a connection.
const EXHAUSTED: Duration = Duration::from_millis(200);

type StopSignal = watch::Receiver<Option<Duration>>;

/// Serves until `stop` says how long what is under way may still take.
pub(super) async fn accept(listener: TcpListener, shared: Arc<ServeShared>, mut stop: StopSignal) {
    let mut tasks = JoinSet::new();
    let mut open = VecDeque::<OpenConnection>::new();
    loop {
        tokio::select! {
            biased;
            // Said, or nobody is left to say it.
            _ = stop.changed() => break,
            Some(ended) = tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                open.retain(|one| one.task.id() != id);
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if open.len() >= CONNECTIONS {
                        make_room(&mut open);
                    }
                    let streams = Arc::new(AtomicBool::new(false));
                    let run = converse(stream, Arc::clone(&shared), Arc::clone(&streams), stop.clone());
                    open.push_back(OpenConnection { task: tasks.spawn(run), streams });
                }
                Err(error) => {
                    let text = format_args!("metrics server: a connection cannot be accepted: {}", plain(&error));
                    console::warn("metrics_accept", "", &text);
                    sleep(EXHAUSTED).await;
                }
            }
        }
    }
    drop(listener);
    let patience = (*stop.borrow()).unwrap_or_default();
    let _ = timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
    tasks.shutdown().await;
}

/// A connection that is open.
struct OpenConnection {
    task: AbortHandle,
    /// It shows the page, and lasts.
    streams: Arc<AtomicBool>,
}

fn make_room(open: &mut VecDeque<OpenConnection>) {
    let oldest = open.iter().position(|one| !one.streams.load(Ordering::Relaxed));
    if let Some(one) = oldest.and_then(|at| open.remove(at)) {
        one.task.abort();
    }
}

async fn converse(stream: TcpStream, shared: Arc<ServeShared>, streams: Arc<AtomicBool>, stop: StopSignal) {
    let _ = stream.set_nodelay(true);
    match shared.tls() {
        None => http(Patient::new(stream, STALL), shared, streams, stop).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(HEAD_TIME, tls.accept(stream)).await {
                http(Patient::new(stream, STALL), shared, streams, stop).await;
            }
        }
    }
}

async fn http<S>(stream: Patient<S>, shared: Arc<ServeShared>, streams: Arc<AtomicBool>, mut stop: StopSignal)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let response = answer::answer(&shared, &request, &streams);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(FIELDS)
        .max_header_size(HEAD)
        .max_buf_size(2 * HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.changed() => {}
    }
    if !streams.load(Ordering::Relaxed) {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

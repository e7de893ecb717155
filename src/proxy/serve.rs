//! One connection from accept to end: let in and dialled on, then forwarded, or its TLS answered.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::connection::{Joined, join};
use super::forward::Forwarder;
use super::listener::Listener;
use super::shared::{OpenConnection, Shared};
use super::terminated;

/// Serves `client`, which came from `peer`, to its end. What this future holds, every open connection holds.
pub(super) fn serve(
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    client: TcpStream,
    peer: SocketAddr,
    open: OpenConnection,
) -> impl Future<Output = ()> {
    // On the heap, and gone before the long time of forwarding begins.
    let joining = Box::pin(join(Rc::clone(&shared), Arc::clone(&listener), client, peer));
    async move {
        let joined = match joining.await {
            Some(Joined::Pair(joined)) => joined,
            Some(Joined::Routed(routed)) => return Box::pin(terminated::serve(shared, listener, routed, open)).await,
            None => return,
        };
        let mut forwarder = Forwarder::new(joined, listener, open, &shared);
        let ending = poll_fn(|cx| forwarder.poll(cx)).await;
        forwarder.close(ending);
    }
}

//! From a client that was let in to its server: the dial, how the connection begins, and what is said when there is none.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::admission::Ticket;
use super::dial::{DialError, DialOptions, dial_first};
use super::listener::Listener;
use super::loops::{self, Role};
use super::observer::GuardedSession;
use super::proxy_protocol;
use super::shared::Shared;
use super::tls::ClientTls;
use crate::console;
use crate::event::{Dir, End, Input, Peers, Refusal, Upstream};
use crate::time::Timestamp;

/// Who comes, and for whom.
pub(super) struct AcceptedClient {
    pub(super) began: Timestamp,
    pub(super) peer: SocketAddr,
    /// The client itself: the peer, or whom a PROXY header names.
    pub(super) source: SocketAddr,
    /// The address that the client connected to, if a PROXY header names it.
    pub(super) destination: Option<SocketAddr>,
    pub(super) header: Vec<u8>,
    pub(super) early: Option<(Vec<u8>, Timestamp)>,
}

/// Where it goes.
pub(super) struct Route {
    /// The address that the client connected to, as it sees it; dialled where the listener has no server of its own.
    pub(super) server: SocketAddr,
    pub(super) near: Option<loops::GuardedEnd>,
}

/// The connection to the server.
pub(super) struct Reached {
    pub(super) server: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) far: Option<loops::GuardedEnd>,
}

/// A connection that was let in, and whose server is dialled by whoever answers its TLS.
pub(super) struct RoutedClient {
    pub(super) client: TcpStream,
    pub(super) arrival: AcceptedClient,
    pub(super) route: Route,
    pub(super) id: u64,
    pub(super) ticket: Ticket,
}

/// Dials on, and begins the connection as configured; `tls`: the client's TLS that is answered here.
pub(super) async fn reach(
    shared: &Shared,
    listener: &Listener,
    arrival: &AcceptedClient,
    route: &Route,
    id: u64,
    tls: Option<&ClientTls>,
) -> Result<Reached, DialError> {
    let (mut server, address) = dial(listener, route.server, arrival.source).await?;
    let failed = |reason| DialError { address: Some(address), reason };
    let far = if route.near.is_some() { far_end(shared, listener, &server).map_err(failed)? } else { None };
    let greeted = greet(listener, &mut server, arrival, route, id, tls).await;
    greeted.map_err(|error| failed(Refusal::from(&error)))?;
    Ok(Reached { server, address, far })
}

/// The observer of a connection whose dialling came to its end at `established`; `None`: it is still to come.
pub(super) fn observer(
    shared: &Shared,
    listener: &Listener,
    arrival: &AcceptedClient,
    route: &Route,
    id: u64,
    established: Option<Timestamp>,
) -> GuardedSession {
    let peers = Peers {
        client: arrival.peer,
        server: route.server,
        established,
        roles_certain: true,
        source: listener.source,
        ordinal: 0,
    };
    let mut session = GuardedSession::new(arrival.began, id, peers, Arc::clone(&listener.limits));
    if listener.settings.health_from.iter().any(|network| network.contains(&arrival.source.ip())) {
        session.may_be_health_check(&listener.limits, listener.protocol());
    }
    if !arrival.header.is_empty() {
        session.header(arrival.began, &arrival.header, &shared.fanout);
    }
    session
}

/// Counts that there is no server for the client, warns of it, and tells `session`.
pub(super) fn not_connected(
    shared: &Shared,
    listener: &Listener,
    session: &mut GuardedSession,
    failed: &DialError,
    client: IpAddr,
) {
    listener.count(|metrics| match failed.reason.rejection() {
        Some(own) => metrics.rejected(own),
        None => metrics.not_connected(listener.protocol(), failed.reason),
    });
    if failed.reason == Refusal::Descriptors {
        shared.descriptors.ran_out();
        listener.warn_of_descriptors();
    } else {
        listener.warn_of_server(failed, client);
    }
    session.dialled(Upstream { address: failed.address, error: Some(failed.reason) });
    session.presume(shared.clock.now(), listener.protocol(), &shared.fanout);
}

/// Ends the session of a client whose server is not there: the record says what the client would have met with, had it
/// dialled itself.
pub(super) fn end_without_server(shared: &Shared, mut session: GuardedSession, at: Timestamp, reason: Refusal) {
    let why = if reason == Refusal::Timeout { End::Timeout } else { End::Closed };
    if why == End::Closed {
        let _ = session.handle(at, Dir::ToClient, Input::Reset, &shared.fanout);
    }
    session.finish(at, why, &shared.fanout);
}

/// Notes the connection to `server`; an error if that came back to this process.
fn far_end(shared: &Shared, listener: &Listener, server: &TcpStream) -> Result<Option<loops::GuardedEnd>, Refusal> {
    let [local, target] = [server.local_addr(), server.peer_addr()];
    let (Ok(local), Ok(target)) = (local, target) else { return Err(Refusal::Other) };
    let end = shared.ends.note(Role::Dialled, local, target);
    if end.is_none() {
        let text = format_args!(
            "listener {}: the connection to {target} came back to mailtap; exempt connections with its --mark from nftables",
            listener.settings.name
        );
        console::warn("loop", &listener.settings.name, &text);
    }
    end.map(Some).ok_or(Refusal::Loop)
}

/// Dials the listener's server, or `wanted` if it has none, for the client `source`.
async fn dial(
    listener: &Listener,
    wanted: SocketAddr,
    source: SocketAddr,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let not_dialled = |reason| DialError { address: None, reason };
    let upstream = listener.upstream.as_ref();
    let patience = listener.settings.times.connect;
    let mut targets = match upstream {
        Some(upstream) => upstream.candidates(wanted.port(), patience).await.map_err(not_dialled)?,
        None => vec![wanted],
    };
    let spoofed = listener.settings.spoof_source.then_some(source.ip());
    if let Some(client) = spoofed {
        // Never from mailtap's own address instead: a server trusts that more than a client's.
        targets.retain(|target| target.is_ipv4() == client.is_ipv4());
        if targets.is_empty() {
            return Err(not_dialled(Refusal::SpoofFamily));
        }
    }
    let options = DialOptions { source: spoofed, mark: listener.settings.mark, patience };
    dial_first(&targets, &options, upstream).await
}

/// Begins the connection to the server with a PROXY header, if one is wanted: in one write.
async fn greet(
    listener: &Listener,
    server: &mut TcpStream,
    arrival: &AcceptedClient,
    route: &Route,
    id: u64,
    tls: Option<&ClientTls>,
) -> io::Result<()> {
    let Some(version) = listener.settings.header_to else { return Ok(()) };
    // The server learns where the client wanted to go, not where a balancer has passed it on to.
    let to = arrival.destination.unwrap_or(route.server);
    let extensions = proxy_protocol::extensions(id, tls, &arrival.header);
    server.write_all(&proxy_protocol::header(version, arrival.source, to, &extensions)).await
}

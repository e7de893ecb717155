//! One connection from accept to end: let in, dialled on, forwarded, closed the way it was closed on the other side.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::destination::{RouteError, destination};
use super::dial::{DialError, DialOptions, dial_first};
use super::forward::Forwarder;
use super::listener::Listener;
use super::local::canonical;
use super::loops::{self, Role};
use super::observer::GuardedSession;
use super::pair::{ConnectionGuards, ProxiedPair};
use super::proxy_protocol::{self, HeaderRead};
use super::refuse::{abort, refuse};
use super::shared::{OpenCount, Shared};
use super::terminated;
use crate::console;
use crate::event::{Dir, End, Input, Peers, Refusal, Rejection, Termination, Upstream};
use crate::proxy::settings::{Target, Times, Transparent};
use crate::time::Timestamp;
use crate::wire::connection_id;

/// Serves `client`, which came from `peer`, to its end. What this future holds, every open connection holds.
pub(super) fn serve(
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    client: TcpStream,
    peer: SocketAddr,
    open: OpenCount,
) -> impl Future<Output = ()> {
    // On the heap, and gone before the long time of forwarding begins.
    let joining = Box::pin(join(Rc::clone(&shared), Arc::clone(&listener), client, peer));
    async move {
        let _open = open;
        let Some(joined) = joining.await else { return };
        if let Some(terminator) = &listener.terminator {
            return Box::pin(terminated::serve(&shared, &listener, terminator, joined)).await;
        }
        let mut forwarder = Forwarder::new(joined, listener, &shared);
        let ending = poll_fn(|cx| forwarder.poll(cx)).await;
        forwarder.close(ending);
    }
}

/// Who comes, and for whom.
struct AcceptedClient {
    began: Timestamp,
    peer: SocketAddr,
    /// The client itself: the peer, or whom a PROXY header names.
    source: SocketAddr,
    /// The address that the client connected to, if a PROXY header names it.
    destination: Option<SocketAddr>,
    header: Vec<u8>,
    early: Option<(Vec<u8>, Timestamp)>,
}

/// Where it goes.
struct Route {
    /// The address that the client connected to, as it sees it; dialled where the listener has no server of its own.
    server: SocketAddr,
    near: Option<loops::GuardedEnd>,
}

/// The connection to the server.
struct Reached {
    server: TcpStream,
    address: SocketAddr,
    far: Option<loops::GuardedEnd>,
}

/// Lets the connection in and dials its server; `None` if that came to nothing, which is told and counted.
async fn join(
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    mut client: TcpStream,
    peer: SocketAddr,
) -> Option<Box<ProxiedPair>> {
    shared.compare_clock();
    let began = shared.clock.now();
    let arrival = arrive(&shared, &listener, &mut client, canonical(peer), began);
    let arrival = match shared.unless_turned_away(arrival).await {
        Some(Ok(arrival)) => arrival,
        Some(Err(_)) => {
            // It has no right to speak without a header.
            listener.count(|metrics| metrics.rejected(Rejection::ProxyHeader));
            let text = format_args!(
                "listener {}: {peer} began without a valid PROXY header and was closed; let it send one, or take it out of --proxy-from",
                listener.settings.name
            );
            console::warn("proxy_header", &listener.settings.name, &text);
            abort(&client);
            return None;
        }
        None => return turn_away(&listener, &mut client, Rejection::Drain).await,
    };
    let admitted = listener.admission.admit(began, arrival.source.ip());
    let ticket = match shared.unless_turned_away(admitted).await {
        Some(Ok(ticket)) => ticket,
        Some(Err(reason)) => {
            listener.warn_of_limit(reason, arrival.source.ip());
            return turn_away(&listener, &mut client, reason).await;
        }
        None => return turn_away(&listener, &mut client, Rejection::Drain).await,
    };
    let route = match route(&shared, &listener, &client, arrival.peer) {
        Ok(route) => route,
        Err(error) => {
            listener.count(|metrics| metrics.rejected(Rejection::Loop));
            let text = format_args!("listener {}: {peer} was closed: {error}", listener.settings.name);
            console::warn("route", &listener.settings.name, &text);
            abort(&client);
            return None;
        }
    };
    let dialling = shared.clock.now();
    let id = connection_id(arrival.peer, route.server, began);
    let dialled = shared.unless_turned_away(reach(&shared, &listener, &arrival, &route, id)).await;
    let established = shared.clock.now();
    let mut session = observer(&shared, &listener, &arrival, &route, id, established);
    match dialled {
        Some(Ok(Reached { server, address, far })) => {
            session.connected(established.since(dialling).unwrap_or_default());
            session.dialled(Upstream { address: Some(address), error: None });
            let held = ConnectionGuards { _ticket: ticket, _ends: route.near.into_iter().chain(far).collect() };
            return Some(Box::new(ProxiedPair { client, server, session, early: arrival.early, held }));
        }
        Some(Err(failed)) => {
            not_connected(&shared, &listener, session, established, &failed);
            listener.warn_of_server(&failed, arrival.source.ip());
        }
        None => {
            let (protocol, phase) = (listener.protocol(), session.phase());
            listener.count(|metrics| metrics.terminated(protocol, Termination::Drain, phase));
            session.presume(established, protocol, &shared.fanout);
            session.finish(established, End::Drain, &shared.fanout);
        }
    }
    refuse(&listener, &mut client).await;
    None
}

/// Turns the client away before its server was dialled: there is no record of it.
async fn turn_away(listener: &Listener, client: &mut TcpStream, reason: Rejection) -> Option<Box<ProxiedPair>> {
    listener.count(|metrics| metrics.rejected(reason));
    refuse(listener, client).await;
    None
}

/// Reads the PROXY header of a peer that has to send one.
async fn arrive(
    shared: &Shared,
    listener: &Listener,
    client: &mut TcpStream,
    peer: SocketAddr,
    began: Timestamp,
) -> io::Result<AcceptedClient> {
    let mut arrival = AcceptedClient { began, peer, source: peer, destination: None, header: Vec::new(), early: None };
    if listener.settings.header_from.iter().any(|net| net.contains(&peer.ip())) {
        let (mut octets, length, told) = timeout(Times::HEADER, read_header(client)).await??;
        let behind = octets.split_off(length);
        arrival.header = octets;
        arrival.early = (!behind.is_empty()).then(|| (behind, shared.clock.now()));
        if let Some((client, server)) = told {
            (arrival.source, arrival.destination) = (canonical(client), Some(canonical(server)));
        }
    }
    Ok(arrival)
}

/// Where `client` goes from here.
fn route(shared: &Shared, listener: &Listener, client: &TcpStream, peer: SocketAddr) -> Result<Route, RouteError> {
    if let Target::Original(how) = listener.settings.target {
        let (address, near) = meant(shared, listener, client, how, peer)?;
        return Ok(Route { server: address, near });
    }
    let local = client.local_addr().map(canonical).map_err(RouteError::Unknown)?;
    Ok(Route { server: local, near: None })
}

/// Dials on, and begins the connection as configured.
async fn reach(
    shared: &Shared,
    listener: &Listener,
    arrival: &AcceptedClient,
    route: &Route,
    id: u64,
) -> Result<Reached, DialError> {
    let (mut server, address) = dial(listener, route.server, arrival.source).await?;
    let failed = |reason| DialError { address: Some(address), reason };
    let far = if route.near.is_some() { far_end(shared, listener, &server).map_err(failed)? } else { None };
    // The server learns where the client wanted to go, not where a balancer has passed it on to.
    let destination = arrival.destination.unwrap_or(route.server);
    let greeted = greet(listener, &mut server, arrival.source, destination, id).await;
    greeted.map_err(|error| failed(Refusal::from(&error)))?;
    Ok(Reached { server, address, far })
}

/// The observer of a connection whose dialling came to its end at `established`.
fn observer(
    shared: &Shared,
    listener: &Listener,
    arrival: &AcceptedClient,
    route: &Route,
    id: u64,
    established: Timestamp,
) -> GuardedSession {
    let peers = Peers {
        client: arrival.peer,
        server: route.server,
        established: Some(established),
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

/// There is no server for it: the record says what the client would have met with, had it dialled itself.
fn not_connected(shared: &Shared, listener: &Listener, mut session: GuardedSession, at: Timestamp, failed: &DialError) {
    listener.count(|metrics| match failed.reason.rejection() {
        Some(own) => metrics.rejected(own),
        None => metrics.not_connected(listener.protocol(), failed.reason),
    });
    session.dialled(Upstream { address: failed.address, error: Some(failed.reason) });
    session.presume(at, listener.protocol(), &shared.fanout);
    let why = if failed.reason == Refusal::Timeout { End::Timeout } else { End::Closed };
    if why == End::Closed {
        let _ = session.handle(at, Dir::ToClient, Input::Reset, &shared.fanout);
    }
    session.finish(at, why, &shared.fanout);
}

/// Where `client` wanted to go, and that it is on its way there.
fn meant(
    shared: &Shared,
    listener: &Listener,
    client: &TcpStream,
    how: Transparent,
    peer: SocketAddr,
) -> Result<(SocketAddr, Option<loops::GuardedEnd>), RouteError> {
    let address = destination(client, how, &listener.addresses)?;
    if listener.settings.spoof_source {
        return Ok((address, None));
    }
    let end = shared.ends.note(Role::Accepted, peer, address);
    end.map(|end| (address, Some(end))).ok_or(RouteError::Loop(address))
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
    client: SocketAddr,
    to: SocketAddr,
    id: u64,
) -> io::Result<()> {
    match listener.settings.header_to {
        Some(version) => server.write_all(&proxy_protocol::header(version, client, to, id)).await,
        None => Ok(()),
    }
}

/// Reads a PROXY header: all octets read, how many are its own, and the client and the destination that it names.
async fn read_header(client: &mut TcpStream) -> io::Result<(Vec<u8>, usize, Option<(SocketAddr, SocketAddr)>)> {
    let mut octets = Vec::with_capacity(1024);
    loop {
        if client.read_buf(&mut octets).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match proxy_protocol::parse(&octets) {
            HeaderRead::NeedMore => {}
            HeaderRead::Invalid => return Err(io::ErrorKind::InvalidData.into()),
            HeaderRead::Complete { length, client, server, .. } => return Ok((octets, length, client.zip(server))),
        }
    }
}

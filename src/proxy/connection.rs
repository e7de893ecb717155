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
use super::forward::Forwarder;
use super::listener::Listener;
use super::loops::{self, Role};
use super::observer::GuardedSession;
use super::pair::{ConnectionGuards, ProxiedPair};
use super::proxy_protocol::{self, HeaderRead};
use super::refuse::{abort, refuse};
use super::shared::{OpenCount, Shared};
use super::{dial, terminated};
use crate::console;
use crate::event::{Dir, End, Input, Peers, Refusal, Rejection, Termination};
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
    header: Vec<u8>,
    early: Option<(Vec<u8>, Timestamp)>,
}

/// Where it goes.
struct Route {
    /// The address that the client connected to, as it sees it.
    server: SocketAddr,
    targets: Vec<SocketAddr>,
    near: Option<loops::GuardedEnd>,
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
        Some(Ok((server, far))) => {
            session.connected(established.since(dialling).unwrap_or_default());
            let held = ConnectionGuards { _ticket: ticket, _ends: route.near.into_iter().chain(far).collect() };
            return Some(Box::new(ProxiedPair { client, server, session, early: arrival.early, held }));
        }
        Some(Err(failed)) => {
            unreachable(&shared, &listener, session, established, failed);
            listener.warn_of_server(&route.targets, failed);
        }
        None => {
            let (protocol, phase) = (listener.protocol(), session.phase());
            listener.count(|metrics| metrics.terminated(protocol, Termination::Drain, phase));
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
    let mut arrival = AcceptedClient { began, peer, source: peer, header: Vec::new(), early: None };
    if listener.settings.header_from.iter().any(|net| net.contains(&peer.ip())) {
        let (mut octets, length, told) = timeout(Times::HEADER, read_header(client)).await??;
        let behind = octets.split_off(length);
        arrival.header = octets;
        arrival.early = (!behind.is_empty()).then(|| (behind, shared.clock.now()));
        arrival.source = told.unwrap_or(peer);
    }
    Ok(arrival)
}

/// Where `client` goes from here.
fn route(shared: &Shared, listener: &Listener, client: &TcpStream, peer: SocketAddr) -> Result<Route, RouteError> {
    if let Target::Original(how) = listener.settings.target {
        let (address, near) = meant(shared, listener, client, how, peer)?;
        return Ok(Route { server: address, targets: vec![address], near });
    }
    let local = client.local_addr().map(canonical).map_err(RouteError::Unknown)?;
    Ok(Route { server: local, targets: listener.targets(local).collect(), near: None })
}

/// Dials on, and begins the connection as configured.
async fn reach(
    shared: &Shared,
    listener: &Listener,
    arrival: &AcceptedClient,
    route: &Route,
    id: u64,
) -> Result<(TcpStream, Option<loops::GuardedEnd>), Refusal> {
    let mut server = dial(listener, &route.targets, arrival.source).await?;
    let far = if route.near.is_some() { far_end(shared, listener, &server)? } else { None };
    let greeted = greet(listener, &mut server, arrival.source, route.server, id).await;
    greeted.map_err(|error| Refusal::from(&error))?;
    Ok((server, far))
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
    if !arrival.header.is_empty() {
        let _ = session.handle(arrival.began, Dir::ToServer, Input::Data(&arrival.header), &shared.fanout);
    }
    session
}

/// The server is not there: the record says what the client would have met with, had it dialled itself.
fn unreachable(shared: &Shared, listener: &Listener, mut session: GuardedSession, at: Timestamp, failed: Refusal) {
    listener.count(|metrics| metrics.not_connected(listener.protocol(), failed));
    let why = if failed == Refusal::Timeout { End::Timeout } else { End::Closed };
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
    end.map(Some).ok_or(Refusal::Other)
}

/// Dials the first of `targets` that takes the connection.
async fn dial(listener: &Listener, targets: &[SocketAddr], source: SocketAddr) -> Result<TcpStream, Refusal> {
    let listener = &listener.settings;
    let mut failed = Refusal::Other;
    for target in targets {
        let from = listener.spoof_source.then_some(source).filter(|from| from.is_ipv4() == target.is_ipv4());
        // From the client's own port, connection tracking would take both connections for one, and find it invalid.
        let from = from.map(|from| SocketAddr::new(from.ip(), 0));
        match dial::dial(*target, from, listener.mark, listener.times.connect).await {
            Ok(server) => return Ok(server),
            Err(failure) => failed = failure,
        }
    }
    Err(failed)
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

/// Reads a PROXY header: all octets read, how many are its own, and the client it names.
async fn read_header(client: &mut TcpStream) -> io::Result<(Vec<u8>, usize, Option<SocketAddr>)> {
    let mut octets = Vec::with_capacity(1024);
    loop {
        if client.read_buf(&mut octets).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match proxy_protocol::parse(&octets) {
            HeaderRead::NeedMore => {}
            HeaderRead::Invalid => return Err(io::ErrorKind::InvalidData.into()),
            HeaderRead::Complete { length, client, .. } => return Ok((octets, length, client)),
        }
    }
}

/// IPv4 addresses that came in as IPv6 are IPv4 addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

//! One connection from accept to end: let in, dialled on, forwarded, closed the way it was closed on the other side.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admission::Ticket;
use super::destination::{RouteError, destination};
use super::dial;
use super::listener::Listener;
use super::loops::{self, Role};
use super::observer::GuardedSession;
use super::pair::{ConnectionGuards, ProxiedPair};
use super::proxy_protocol::{self, HeaderRead};
use super::refuse::{abort, refuse};
use super::shared::Shared;
use super::tls::ClientTls;
use crate::console;
use crate::event::{Dir, End, Input, Peers, Refusal, Rejection, Termination};
use crate::proxy::settings::{Target, Times, Transparent};
use crate::time::Timestamp;
use crate::wire::connection_id;

/// Who comes, and for whom.
pub(super) struct AcceptedClient {
    began: Timestamp,
    peer: SocketAddr,
    /// The client itself: the peer, or whom a PROXY header names.
    source: SocketAddr,
    header: Vec<u8>,
    pub(super) early: Option<(Vec<u8>, Timestamp)>,
}

/// Where it goes.
pub(super) struct Route {
    /// The address that the client connected to, as it sees it.
    server: SocketAddr,
    pub(super) targets: Vec<SocketAddr>,
    pub(super) near: Option<loops::GuardedEnd>,
}

/// A connection that was let in, and whose server is dialled by whoever answers its TLS.
pub(super) struct RoutedClient {
    pub(super) client: TcpStream,
    pub(super) arrival: AcceptedClient,
    pub(super) route: Route,
    pub(super) id: u64,
    pub(super) ticket: Ticket,
}

/// What comes of a connection that is let in.
pub(super) enum Joined {
    /// Its server was dialled.
    Pair(Box<ProxiedPair>),
    /// Its TLS is answered here.
    Routed(Box<RoutedClient>),
}

/// Lets the connection in and, where TLS is not answered here, dials its server; `None` if that came to nothing, which is told
/// and counted.
pub(super) async fn join(
    shared: Rc<Shared>,
    listener: Arc<Listener>,
    mut client: TcpStream,
    peer: SocketAddr,
) -> Option<Joined> {
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
        None => return turn_away(&listener, &mut client, None, Rejection::Drain).await,
    };
    let admitted = listener.admission.admit(began, arrival.source.ip());
    let ticket = match shared.unless_turned_away(admitted).await {
        Some(Ok(ticket)) => ticket,
        Some(Err(reason)) => {
            listener.warn_of_limit(reason, arrival.source.ip());
            return turn_away(&listener, &mut client, Some(&arrival), reason).await;
        }
        None => return turn_away(&listener, &mut client, Some(&arrival), Rejection::Drain).await,
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
    if listener.terminator.is_some() {
        return Some(Joined::Routed(Box::new(RoutedClient { client, arrival, route, id, ticket })));
    }
    let dialled = shared.unless_turned_away(reach(&shared, &listener, &arrival, &route, id, None)).await;
    let established = shared.clock.now();
    let mut session = observer(&shared, &listener, &arrival, &route, id, Some(established));
    match dialled {
        Some(Ok((server, far))) => {
            session.connected(established, established.since(dialling).unwrap_or_default());
            let held = ConnectionGuards { _ticket: ticket, _ends: route.near.into_iter().chain(far).collect() };
            let pair = ProxiedPair { client, server, session, early: arrival.early, held };
            return Some(Joined::Pair(Box::new(pair)));
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
    refuse(&listener, &mut client, arrival.early_bytes()).await;
    None
}

/// Turns the client away before its server was dialled: there is no record of it.
async fn turn_away(
    listener: &Listener,
    client: &mut TcpStream,
    arrival: Option<&AcceptedClient>,
    reason: Rejection,
) -> Option<Joined> {
    listener.count(|metrics| metrics.rejected(reason));
    refuse(listener, client, arrival.map(AcceptedClient::early_bytes).unwrap_or_default()).await;
    None
}

impl AcceptedClient {
    /// What was read of the client already.
    pub(super) fn early_bytes(&self) -> &[u8] {
        self.early.as_ref().map(|(bytes, _)| bytes.as_slice()).unwrap_or_default()
    }
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

/// Dials on, and begins the connection as configured; `tls`: the client's TLS that is answered here.
pub(super) async fn reach(
    shared: &Shared,
    listener: &Listener,
    arrival: &AcceptedClient,
    route: &Route,
    id: u64,
    tls: Option<&ClientTls>,
) -> Result<(TcpStream, Option<loops::GuardedEnd>), Refusal> {
    let mut server = dial(listener, &route.targets, arrival.source).await?;
    let far = if route.near.is_some() { far_end(shared, listener, &server)? } else { None };
    let greeted = greet(listener, &mut server, arrival, route, id, tls).await;
    greeted.map_err(|error| Refusal::from(&error))?;
    Ok((server, far))
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
    if !arrival.header.is_empty() {
        let _ = session.handle(arrival.began, Dir::ToServer, Input::Data(&arrival.header), &shared.fanout);
    }
    session
}

/// The server is not there: the record says what the client would have met with, had it dialled itself.
pub(super) fn unreachable(
    shared: &Shared,
    listener: &Listener,
    mut session: GuardedSession,
    at: Timestamp,
    failed: Refusal,
) {
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
    arrival: &AcceptedClient,
    route: &Route,
    id: u64,
    tls: Option<&ClientTls>,
) -> io::Result<()> {
    let Some(version) = listener.settings.header_to else { return Ok(()) };
    // Where the client connected to is what the first proxy on the way says.
    let to = proxy_protocol::destination(&arrival.header).unwrap_or(route.server);
    let extensions = proxy_protocol::extensions(id, tls, &arrival.header);
    server.write_all(&proxy_protocol::header(version, arrival.source, to, &extensions)).await
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

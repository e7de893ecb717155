//! One connection from accept to end: let in, dialled on, forwarded, closed the way it was closed on the other side.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::destination::{RouteError, destination};
use super::dial::DialError;
use super::listener::Listener;
use super::local::canonical;
use super::loops::{GuardedEnd, Role};
use super::pair::{ConnectionGuards, ProxiedPair};
use super::proxy_protocol::{self, HeaderRead};
use super::reach::{AcceptedClient, Reached, Route, RoutedClient, end_without_server, not_connected, observer, reach};
use super::refuse::{abort, refuse};
use super::shared::Shared;
use crate::console;
use crate::event::{End, Refusal, Rejection, Termination, Upstream};
use crate::proxy::settings::{Target, Times, Transparent};
use crate::time::Timestamp;
use crate::wire::connection_id;

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
        Some(Ok(Reached { server, address, far })) => {
            session.connected(established, established.since(dialling).unwrap_or_default());
            session.dialled(Upstream { address: Some(address), error: None });
            let held = ConnectionGuards { _ticket: ticket, _ends: route.near.into_iter().chain(far).collect() };
            let pair = ProxiedPair { client, server, session, early: arrival.early, held };
            return Some(Joined::Pair(Box::new(pair)));
        }
        Some(Err(DialError { reason: Refusal::Descriptors, .. })) => {
            shared.descriptors.ran_out();
            listener.warn_of_descriptors();
            return turn_away(&listener, &mut client, Some(&arrival), Rejection::Descriptors).await;
        }
        Some(Err(failed)) => {
            not_connected(&shared, &listener, &mut session, &failed, arrival.source.ip());
            end_without_server(&shared, session, established, failed.reason);
        }
        None => {
            let (protocol, phase) = (listener.protocol(), session.phase());
            listener.count(|metrics| metrics.terminated(protocol, Termination::Drain, phase));
            session.presume(established, protocol, &shared.fanout);
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

/// Where `client` wanted to go, and that it is on its way there.
fn meant(
    shared: &Shared,
    listener: &Listener,
    client: &TcpStream,
    how: Transparent,
    peer: SocketAddr,
) -> Result<(SocketAddr, Option<GuardedEnd>), RouteError> {
    let address = destination(client, how, &listener.addresses)?;
    if listener.settings.spoof_source {
        return Ok((address, None));
    }
    let end = shared.ends.note(Role::Accepted, peer, address);
    end.map(|end| (address, Some(end))).ok_or(RouteError::Loop(address))
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

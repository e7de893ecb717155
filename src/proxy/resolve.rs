//! Names of servers are looked up: at the start, and again and again while mailtap runs.
//!
//! By the system's resolver, which knows `/etc/hosts` and whatever else `nsswitch.conf` names; it does not say how long
//! an answer holds, so it is asked every 30 s. A thread of its own does that: a resolver that does not answer delays
//! no connection, and a name that is not found does not stop the other listeners.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval, sleep};

use super::Order;
use super::cycles::{Cycle, Hop, cycles};
use super::listener::{BoundListener, Listener, NextHop, OpenError, expected};
use super::local::is_local;
use super::neighbours::{Announced, Neighbours};
use super::settings::{ListenerSettings, Target};
use super::trust;
use super::upstream::{Lookup, UpstreamHost};
use crate::console::{self, plain};
use crate::engine::Limits;
use crate::event::Rejection;

/// How long what was found is used.
const REFRESH: Duration = Duration::from_secs(30);

/// How soon a name that was not found is looked up again; then twice as long each time, up to [`REFRESH`].
const RETRY: Duration = Duration::from_secs(1);

/// How long a start or a reload waits for names. What takes longer is found later.
const START: Duration = Duration::from_secs(2);

/// Looks the names of all servers up that are not known yet, as far as that is quickly done, and refuses listeners
/// whose connections would come back to them, by way of each other or of `neighbours`.
pub fn look_up_servers(listeners: &[BoundListener], neighbours: &Neighbours) -> Result<(), OpenError> {
    let listeners: Vec<&Listener> = listeners.iter().map(|bound| &*bound.listener).collect();
    let unknown = |host: &str| upstreams(&listeners, host).any(|upstream| !upstream.is_known());
    let hosts: Vec<String> = hosts(&listeners).into_iter().filter(|host| unknown(host)).collect();
    let (found, answers) = mpsc::channel();
    for host in hosts {
        let found = found.clone();
        let look_up = move || {
            let answer = look_up(&host);
            let _ = found.send((host, answer));
        };
        // Without a thread it is found later.
        let _ = thread::Builder::new().name("resolve".into()).spawn(look_up);
    }
    drop(found);
    let until = Instant::now() + START;
    while let Ok((host, answer)) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
        take(&listeners, &host, &answer);
    }
    match loops(&listeners, neighbours.hops()).into_iter().next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// What a start would report of the servers of `listeners`.
#[derive(Debug, Default)]
pub struct CheckedServers {
    /// What is wrong.
    pub errors: Vec<OpenError>,
    /// What the operator should know.
    pub cautions: Vec<String>,
}

/// Looks the servers of `listeners` up as a start would, but waits for every answer.
pub fn check_servers(listeners: &[ListenerSettings], limits: &Limits) -> CheckedServers {
    let CheckedServers { mut errors, mut cautions } = CheckedServers::default();
    let mut hops = Vec::new();
    for listener in listeners {
        let mut hop = Hop { own: listener.listen.clone(), targets: Vec::new(), port: 0 };
        if let Target::Host { host, port } = &listener.target {
            hop.port = *port;
            match look_up(host) {
                Ok(targets) => hop.targets = targets,
                Err(reason) => errors.push(OpenError::Upstream { host: host.clone(), reason }),
            }
        }
        cautions.extend(trust::caution(listener, &hop.own, &hop.targets, expected(listener, &hop.own, limits)));
        hops.push(hop);
    }
    let names: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
    hops.extend(around(&hops));
    errors.extend(loop_errors(&hops, &names));
    CheckedServers { errors, cautions }
}

/// Keeps looking the names of the listeners up that are served, until they are served no more.
pub(super) fn run(orders: watch::Receiver<Order>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(keep(orders));
    // Not even the end waits for a resolver that does not answer.
    runtime.shutdown_background();
    Ok(())
}

async fn keep(mut orders: watch::Receiver<Order>) {
    let mut announced = Announced::default();
    loop {
        let listeners: Arc<[Arc<Listener>]> = match &*orders.borrow_and_update() {
            // Without their sockets, which nobody must keep open but those who accept.
            Order::Serve(serving) => serving.listeners.iter().map(|bound| Arc::clone(&bound.listener)).collect(),
            Order::Drain { .. } | Order::Stop => return,
        };
        let mut followed = JoinSet::new();
        for host in hosts(&borrowed(&listeners)) {
            followed.spawn(follow(host, Arc::clone(&listeners)));
        }
        announced.update(&hops(&borrowed(&listeners)));
        let mut asked = interval(REFRESH);
        loop {
            tokio::select! {
                changed = orders.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                _ = asked.tick() => announced.dismiss(),
            }
        }
    }
}

/// Looks `host` up for ever.
async fn follow(host: String, listeners: Arc<[Arc<Listener>]>) {
    let is_known = upstreams(&borrowed(&listeners), &host).all(UpstreamHost::is_known);
    let mut failures: u32 = 0;
    if is_known {
        sleep(REFRESH).await;
    }
    loop {
        let wanted = host.clone();
        let answer =
            spawn_blocking(move || look_up(&wanted)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let listeners = borrowed(&listeners);
        let outcome = take(&listeners, &host, &answer);
        if outcome == Lookup::Changed {
            warn(&listeners, &host);
        }
        if outcome == Lookup::Failed {
            if failures == 0 {
                report(&host, &answer, upstreams(&listeners, &host).all(UpstreamHost::is_known));
            }
            sleep(REFRESH.min(RETRY * 2_u32.saturating_pow(failures.min(5)))).await;
            failures = failures.saturating_add(1);
        } else {
            if std::mem::take(&mut failures) > 0 {
                tracing::info!(host, "the server's name is found again");
            }
            sleep(REFRESH).await;
        }
    }
}

/// Hands what was found of `host` to the listeners that go there.
fn take(listeners: &[&Listener], host: &str, answer: &io::Result<Vec<IpAddr>>) -> Lookup {
    let outcomes: Vec<_> = upstreams(listeners, host).map(|upstream| upstream.learn(answer)).collect();
    let changed = outcomes.iter().copied().find(|outcome| *outcome == Lookup::Changed);
    if changed.is_some() {
        tracing::info!(host, addresses = ?answer.as_deref().unwrap_or_default(), "the server's addresses");
        keep_from_loops(listeners);
    }
    changed.or_else(|| outcomes.first().copied()).unwrap_or(Lookup::Same)
}

/// Warns of what has come of an answer that was not known at the start.
fn warn(listeners: &[&Listener], host: &str) {
    let led = |listener: &&&Listener| listener.upstream.as_ref().is_some_and(|upstream| upstream.host() == host);
    for listener in listeners.iter().filter(led) {
        let caution = listener.caution();
        caution.iter().for_each(|caution| console::warn("trust", &listener.settings.name, caution));
    }
    for error in loops(listeners, &around(&hops(listeners))) {
        console::warn(Rejection::Loop.as_str(), host, &error);
    }
}

/// Servers' addresses that have come to lead back are not dialled.
fn keep_from_loops(listeners: &[&Listener]) {
    let mut back = vec![Vec::new(); listeners.len()];
    let own = hops(listeners);
    for cycle in cycles(&[&own[..], &around(&own)].concat()) {
        back.get_mut(cycle.listener).into_iter().for_each(|targets| targets.push(cycle.target));
    }
    for (listener, targets) in listeners.iter().zip(back) {
        if let Some(upstream) = &listener.upstream {
            upstream.set_loops(targets);
        }
    }
}

fn report(host: &str, answer: &io::Result<Vec<IpAddr>>, is_known: bool) {
    let reason = answer.as_ref().err().map(|error| plain(error).to_string()).unwrap_or_default();
    let meanwhile =
        if is_known { "its last known addresses are used" } else { "its clients are refused until it is found" };
    console::warn("name", host, &format_args!("{host} cannot be looked up: {reason}; {meanwhile}"));
}

/// The listeners of other mailtaps on this host, if they matter: a circle through one needs a server on this host.
fn around(hops: &[Hop]) -> Vec<Hop> {
    let stays = hops.iter().flat_map(|hop| &hop.targets).any(|ip| is_local(*ip));
    if stays { Neighbours::find().hops().to_vec() } else { Vec::new() }
}

/// Which of `listeners` lead back to themselves, some by way of `others`.
fn loops(listeners: &[&Listener], others: &[Hop]) -> Vec<OpenError> {
    let names: Vec<_> = listeners.iter().map(|listener| listener.settings.name.as_str()).collect();
    loop_errors(&[&hops(listeners), others].concat(), &names)
}

/// The first of `hops` have these `names`; the others are other mailtaps'.
fn loop_errors(hops: &[Hop], names: &[&str]) -> Vec<OpenError> {
    let error = |cycle: Cycle| {
        let next = match names.get(cycle.next) {
            Some(_) if cycle.next == cycle.listener => NextHop::Itself,
            Some(name) => NextHop::Listener((*name).to_owned()),
            None => NextHop::Neighbour,
        };
        Some(OpenError::Loop { listener: (*names.get(cycle.listener)?).to_owned(), target: cycle.target, next })
    };
    cycles(hops).into_iter().filter_map(error).collect()
}

fn hops(listeners: &[&Listener]) -> Vec<Hop> {
    let hop = |listener: &&Listener| {
        let addresses = listener.upstream.as_ref().map(|upstream| upstream.addresses(0)).unwrap_or_default();
        Hop {
            own: listener.addresses.clone(),
            port: addresses.first().map_or(0, std::net::SocketAddr::port),
            targets: addresses.iter().map(std::net::SocketAddr::ip).collect(),
        }
    };
    listeners.iter().map(hop).collect()
}

/// The names of servers, each once.
fn hosts(listeners: &[&Listener]) -> Vec<String> {
    let mut hosts = Vec::new();
    for upstream in listeners.iter().filter_map(|listener| listener.upstream.as_ref()) {
        if upstream.is_name() && !hosts.iter().any(|host| host == upstream.host()) {
            hosts.push(upstream.host().to_owned());
        }
    }
    hosts
}

fn upstreams<'a>(listeners: &'a [&Listener], host: &str) -> impl Iterator<Item = &'a UpstreamHost> {
    listeners.iter().filter_map(|listener| listener.upstream.as_ref()).filter(move |upstream| upstream.host() == host)
}

fn borrowed(listeners: &[Arc<Listener>]) -> Vec<&Listener> {
    listeners.iter().map(|listener| &**listener).collect()
}

/// Asks the system's resolver; blocks.
fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let found: Vec<IpAddr> = (host, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

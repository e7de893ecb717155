//! The server of a listener: where its name leads, and which of its addresses did not answer of late.
//!
//! A name is looked up by the [resolver](super::resolve), never while a client waits, unless it was never found. What
//! is known of it survives a reload, and lookups that fail: an address that was right is better than none.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::local::canonical;
use crate::event::Refusal;

/// Addresses of one name that are used. More than a handful is a mistake, and each costs a client time when all are down.
pub(super) const MOST_ADDRESSES: usize = 16;

/// How long an address that did not answer comes after those that did.
const SHUNNED: Duration = Duration::from_secs(60);

/// Where connections of a listener go.
#[derive(Debug)]
pub struct UpstreamHost {
    host: String,
    /// 0: the port that the client connected to.
    port: u16,
    is_name: bool,
    state: Mutex<State>,
    /// A first lookup is over.
    looked_up: Notify,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// In the order to try: that of the resolver, families in turns (RFC 8305 section 4).
    addresses: Vec<IpAddr>,
    /// Whether a lookup has ended.
    is_looked_up: bool,
    /// Addresses that did not answer, and when.
    dead: Vec<(SocketAddr, Instant)>,
    /// Addresses that lead back to mailtap.
    loops: Vec<SocketAddr>,
}

/// What a lookup has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The name leads where it led.
    Same,
    /// It leads elsewhere.
    Changed,
    /// It was not found; what was known before holds.
    Failed,
}

impl UpstreamHost {
    /// The server `host`; `before`: what was known of a server before a reload.
    pub fn new(host: &str, port: u16, before: Option<&Self>) -> Self {
        let literal = host.parse::<IpAddr>().ok();
        let mut state = match before.filter(|before| before.host == host) {
            Some(before) => before.state().clone(),
            None => {
                State { addresses: literal.into_iter().collect(), is_looked_up: literal.is_some(), ..State::default() }
            }
        };
        state.loops.clear();
        Self {
            host: host.to_owned(),
            port,
            is_name: literal.is_none(),
            state: Mutex::new(state),
            looked_up: Notify::new(),
        }
    }

    /// The name or address that the operator gave.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it has to be looked up.
    pub fn is_name(&self) -> bool {
        self.is_name
    }

    /// Whether it leads somewhere.
    pub fn is_known(&self) -> bool {
        !self.state().addresses.is_empty()
    }

    /// Where a connection goes that came to `port`, as far as is known: in the order to try, those that led back included.
    pub fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        let port = if self.port == 0 { port } else { self.port };
        self.state().addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
    }

    /// The same in the order to try now, without those that lead back: first those that did not fail of late. Waits for
    /// the first lookup, as long as `patience`.
    pub(super) async fn candidates(&self, port: u16, patience: Option<Duration>) -> Result<Vec<SocketAddr>, Refusal> {
        let first = self.first_lookup();
        match patience {
            Some(patience) => timeout(patience, first).await.map_err(|_| Refusal::Unresolved)?,
            None => first.await,
        }
        let mut all = self.addresses(port);
        if all.is_empty() {
            return Err(Refusal::Unresolved);
        }
        let state = &mut *self.state();
        all.retain(|address| !state.loops.contains(address));
        state.dead.retain(|(_, since)| since.elapsed() < SHUNNED);
        // Stable: the resolver's order among those alive; of the others, the one that failed longest ago first.
        all.sort_by_key(|address| state.dead.iter().find(|(dead, _)| dead == address).map(|(_, since)| *since));
        if all.is_empty() { Err(Refusal::Loop) } else { Ok(all) }
    }

    async fn first_lookup(&self) {
        let looked_up = self.looked_up.notified();
        tokio::pin!(looked_up);
        // From here on the end of the lookup is not missed.
        looked_up.as_mut().enable();
        if !self.state().is_looked_up {
            looked_up.await;
        }
    }

    /// `address` did not answer, or not in good time.
    pub(super) fn failed(&self, address: SocketAddr) {
        let state = &mut *self.state();
        // With one address there is nothing to prefer.
        if state.addresses.len() > 1 {
            state.dead.retain(|(dead, since)| *dead != address && since.elapsed() < SHUNNED);
            if state.dead.len() < MOST_ADDRESSES * 4 {
                state.dead.push((address, Instant::now()));
            }
        }
    }

    /// `address` answered.
    pub(super) fn answered(&self, address: SocketAddr) {
        let state = &mut *self.state();
        if !state.dead.is_empty() {
            state.dead.retain(|(dead, _)| *dead != address);
        }
    }

    /// These of its addresses lead back to mailtap: they are not dialled.
    pub(super) fn set_loops(&self, loops: Vec<SocketAddr>) {
        self.state().loops = loops;
    }

    /// Takes what a lookup has found.
    pub(super) fn learn(&self, found: &io::Result<Vec<IpAddr>>) -> Lookup {
        let state = &mut *self.state();
        state.is_looked_up = true;
        self.looked_up.notify_waiters();
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                let addresses = alternating(addresses);
                if addresses == state.addresses {
                    return Lookup::Same;
                }
                state.addresses = addresses;
                Lookup::Changed
            }
            _ => Lookup::Failed,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `addresses` without repetitions, families in turns: if one family has no way out, the second attempt is of the other
/// (RFC 8305 section 4).
fn alternating(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut distinct: Vec<IpAddr> = Vec::with_capacity(addresses.len());
    for ip in addresses.iter().map(|ip| canonical(SocketAddr::new(*ip, 0)).ip()) {
        if !distinct.contains(&ip) {
            distinct.push(ip);
        }
    }
    let first_is_ipv4 = distinct.first().is_some_and(IpAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = distinct.into_iter().partition(|ip| ip.is_ipv4() == first_is_ipv4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    loop {
        let (one, other) = (first.next(), second.next());
        if one.or(other).is_none() {
            all.truncate(MOST_ADDRESSES);
            return all;
        }
        all.extend(one.into_iter().chain(other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn candidates(upstream: &UpstreamHost) -> Result<Vec<String>, Refusal> {
        let found = Builder::new_current_thread().build().unwrap().block_on(upstream.candidates(25, None));
        found.map(|all| all.iter().map(|address| address.ip().to_string()).collect())
    }

    #[test]
    fn families_take_turns() {
        let found = ips(&["2001:db8::1", "2001:db8::2", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.2"]);
        assert_eq!(alternating(&found), ips(&["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]));
        let many: Vec<IpAddr> = (0..100).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        assert_eq!(alternating(&many).len(), MOST_ADDRESSES);
    }

    #[test]
    fn an_address_that_failed_comes_last_until_it_answers() {
        let upstream = UpstreamHost::new("mx.example.org", 0, None);
        assert_eq!(upstream.learn(&Ok(ips(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]))), Lookup::Changed);
        upstream.failed("192.0.2.2:25".parse().unwrap());
        upstream.failed("192.0.2.1:25".parse().unwrap());
        assert_eq!(candidates(&upstream).unwrap(), ["192.0.2.3", "192.0.2.2", "192.0.2.1"]);
        upstream.answered("192.0.2.2:25".parse().unwrap());
        assert_eq!(candidates(&upstream).unwrap(), ["192.0.2.2", "192.0.2.3", "192.0.2.1"]);
        let later = UpstreamHost::new("mx.example.org", 0, Some(&upstream));
        assert_eq!(candidates(&later).unwrap(), ["192.0.2.2", "192.0.2.3", "192.0.2.1"], "a reload forgets nothing");
    }

    #[test]
    fn a_lookup_that_fails_leaves_what_was_known() {
        let upstream = UpstreamHost::new("mx.example.org", 25, None);
        assert_eq!(upstream.learn(&Err(io::ErrorKind::NotFound.into())), Lookup::Failed);
        assert_eq!(candidates(&upstream), Err(Refusal::Unresolved));
        assert_eq!(upstream.learn(&Ok(ips(&["192.0.2.1"]))), Lookup::Changed);
        assert_eq!(upstream.learn(&Ok(Vec::new())), Lookup::Failed);
        assert_eq!(upstream.learn(&Ok(ips(&["192.0.2.1"]))), Lookup::Same);
        assert_eq!(candidates(&upstream).unwrap(), ["192.0.2.1"]);
        upstream.set_loops(vec!["192.0.2.1:25".parse().unwrap()]);
        assert_eq!(candidates(&upstream), Err(Refusal::Loop));
    }
}

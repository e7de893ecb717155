//! How many connections are let in: in all, from one source, from one network, and how fast.
//!
//! Threads share the counts: once a connection, and not at all where nothing is limited. A source is an IPv4 address or
//! an IPv6 /64, for a host has its whole /64; a network is a /24 or a /48, for that much one customer has.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::event::Rejection;
use crate::proxy::settings::{AdmissionSettings as Limits, OnLimit};
use crate::time::Timestamp;

/// Parts of the table, so that threads seldom wait for each other.
const SHARDS: usize = 16;

/// Sources, and networks, of which a part of the table knows: all parts together 65 536 of each, 6 MiB. More at the same time
/// is an attack from everywhere, against which limits for each source are no help: those over it are let in, and counted.
const KNOWN: usize = (1 << 16) / SHARDS;

/// Who is let in at a listener.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    counts: Arc<SourceCounts>,
}

#[derive(Debug, Default)]
struct SourceCounts {
    open: AtomicU32,
    /// Accepted, and waiting for a place.
    waiting: AtomicU32,
    unknown: AtomicU64,
    left: Notify,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    sources: HashMap<u64, AdmittedSource>,
    networks: HashMap<u64, u32>,
    swept: Timestamp,
}

/// What is known of a source.
#[derive(Clone, Copy, Debug, Default)]
struct AdmittedSource {
    open: u32,
    /// When its connections so far would all have come, had they come at the permitted rate: nanoseconds since the epoch.
    due: u64,
}

impl Admission {
    /// With nobody in.
    pub fn new(limits: Limits) -> Self {
        Self { limits, counts: Arc::default() }
    }

    /// The same with other limits: who is in counts on.
    pub fn adapted(&self, limits: Limits) -> Self {
        Self { limits, counts: Arc::clone(&self.counts) }
    }

    /// Lets a connection from `client` in at `now`, or says why not. Where connections over the limit are to wait, it
    /// waits; otherwise it is ready at once.
    pub async fn admit(&self, now: Timestamp, client: IpAddr) -> Result<Ticket, Rejection> {
        let mut ticket = Ticket { counts: Arc::clone(&self.counts), key: None, is_counted: false };
        let by_source = self.limits.per_source != 0 || self.limits.per_prefix != 0 || self.limits.rate != 0;
        if by_source {
            let key = SourceKey::of(client);
            if self.counts.shard(key).enter(now, key, &self.limits)? {
                ticket.key = Some(key);
            } else {
                self.counts.unknown.fetch_add(1, Ordering::Relaxed);
            }
        }
        while !self.take() {
            if self.limits.on_limit == OnLimit::Close {
                return Err(Rejection::MaxConnections);
            }
            let _waits = Waits::new(&self.counts.waiting);
            self.room().await;
        }
        ticket.is_counted = true;
        Ok(ticket)
    }

    /// Waits until another connection may come, where those over the limit are to wait.
    pub async fn room(&self) {
        if self.limits.on_limit == OnLimit::Close {
            return;
        }
        while self.would_exceed_total() {
            let left = self.counts.left.notified();
            tokio::pin!(left);
            // From here on no departure is missed.
            left.as_mut().enable();
            if self.would_exceed_total() {
                left.await;
            }
        }
    }

    /// Whether one more connection would be too many.
    pub fn would_exceed_total(&self) -> bool {
        self.limits.connections != 0 && self.open() >= self.limits.connections
    }

    /// Connections that are in.
    pub fn open(&self) -> u32 {
        self.counts.open.load(Ordering::Acquire)
    }

    /// Connections that were accepted and wait for a place.
    pub fn waiting(&self) -> u32 {
        self.counts.waiting.load(Ordering::Relaxed)
    }

    /// Connections that were let in uncounted, because too many sources were known already.
    pub fn uncounted(&self) -> u64 {
        self.counts.unknown.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        let one_more = |open: u32| {
            let limit = self.limits.connections;
            if limit == 0 || open < limit { open.checked_add(1) } else { None }
        };
        self.counts.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }
}

/// One that waits, counted until this is dropped.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that was let in; it leaves when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    counts: Arc<SourceCounts>,
    key: Option<SourceKey>,
    is_counted: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.counts.shard(key).leave(key);
        }
        if self.is_counted {
            self.counts.open.fetch_sub(1, Ordering::AcqRel);
            self.counts.left.notify_waiters();
        }
    }
}

/// A source and its network, IPv4 apart from IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SourceKey {
    source: u64,
    network: u64,
}

impl SourceKey {
    fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            // ::/64 has no hosts that connect to others: IPv4 takes its lower half.
            IpAddr::V4(ip) => {
                let bits = u64::from(ip.to_bits());
                Self { source: bits, network: bits & !0xff }
            }
            IpAddr::V6(ip) => {
                let bits = (ip.to_bits() >> 64) as u64;
                Self { source: bits, network: bits & !0xffff }
            }
        }
    }
}

impl SourceCounts {
    /// The part of the table that knows a network and its sources.
    fn shard(&self, key: SourceKey) -> MutexGuard<'_, Shard> {
        // The multiplier of Fibonacci hashing: neighbours go apart. An attacker who fills one part gains nothing.
        let at = (key.network.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize;
        let [first, ..] = &self.shards;
        self.shards.get(at).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Counts a connection; `false` if it is let in uncounted.
    fn enter(&mut self, now: Timestamp, key: SourceKey, limits: &Limits) -> Result<bool, Rejection> {
        let source = self.sources.get(&key.source).copied().unwrap_or_default();
        let network = self.networks.get(&key.network).copied().unwrap_or_default();
        let is_full = |limit: u32, open: u32| limit != 0 && open >= limit;
        if is_full(limits.per_source, source.open) || is_full(limits.per_prefix, network) {
            return Err(Rejection::PerSource);
        }
        let due = due(source.due, now, limits.rate).ok_or(Rejection::Rate)?;
        let is_known = self.sources.contains_key(&key.source) && self.networks.contains_key(&key.network);
        if !is_known && !self.has_room(now) {
            return Ok(false);
        }
        self.sources.insert(key.source, AdmittedSource { open: source.open.saturating_add(1), due });
        self.networks.insert(key.network, network.saturating_add(1));
        Ok(true)
    }

    fn leave(&mut self, key: SourceKey) {
        if let Some(source) = self.sources.get_mut(&key.source) {
            source.open = source.open.saturating_sub(1);
            if source.open == 0 && source.due == 0 {
                self.sources.remove(&key.source);
            }
        }
        if let Some(network) = self.networks.get_mut(&key.network) {
            *network = network.saturating_sub(1);
            if *network == 0 {
                self.networks.remove(&key.network);
            }
        }
    }

    /// Whether one more source may be known. Those are forgotten that are gone and whose rate no longer matters, at most
    /// once a second: a full table must not cost a walk through it for each connection.
    fn has_room(&mut self, now: Timestamp) -> bool {
        let is_full = |shard: &Self| shard.sources.len() >= KNOWN || shard.networks.len() >= KNOWN;
        if is_full(self) && now.since(self.swept).is_none_or(|since| since >= Duration::from_secs(1)) {
            self.swept = now;
            self.sources.retain(|_, source| source.open > 0 || is_owed(source.due, now));
        }
        !is_full(self)
    }
}

/// A second: what a source may have in advance.
const BURST: u64 = 1_000_000_000;

/// Whether a source's past still counts. A time further ahead than ever given was given before the clock was set back.
fn is_owed(due: u64, now: Timestamp) -> bool {
    (now.as_nanos()..=now.as_nanos().saturating_add(BURST)).contains(&due)
}

/// When a source will have used up its rate after one more connection at `now`; `None` if that is too fast. This is a
/// bucket of `rate` tokens that fills within a second, kept as one number (the GCRA of ATM).
fn due(due: u64, now: Timestamp, rate: u32) -> Option<u64> {
    if rate == 0 {
        return Some(0);
    }
    let start = if is_owed(due, now) { due } else { now.as_nanos() };
    let next = start.saturating_add(BURST / u64::from(rate));
    (next <= now.as_nanos().saturating_add(BURST)).then_some(next)
}

#[cfg(test)]
mod tests;

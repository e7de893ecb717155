//! What the page shows: taken over from the [recorders](PageCollector) of all threads, told to each viewer from where that
//! one left off.
//!
//! Everything has a fixed number of places. The lock is held for as long as it takes to move a batch in or to write one
//! viewer's news; recorders do not wait for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;

use super::collector::{PageBatch, PageCollector};
use super::history::History;
use super::latency::LatencyWindow;
use super::message::{Hello, PageDigest, PageUpdate, SessionDetails};
use super::rates::{Rates, Tick};
use super::refusals::Refusals;
use super::row::{AnomalyRow, MessageRow, SessionRow};
use super::{LINES, LISTED, RECENT};
use crate::event::{Phase, Protocol, SessionOutcome};
use crate::output::{Detail, IdentityPolicy, InputKind, Policy, TopState};

/// Seconds between two computations of what is told as a whole: quantiles, top lists, refusals.
const PAUSE: u64 = 2;

/// What of a message the page may show. Sizes, outcomes and the clients' addresses it always shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Show {
    /// Envelope addresses.
    pub addresses: bool,
    /// Subjects.
    pub subjects: bool,
}

impl Show {
    /// What `policy` lets the log show, if identities are not withheld and a token guards the page; else nothing:
    /// whoever has an account on the host can reach a listener on loopback, but not the log.
    pub fn of(policy: &Policy, has_token: bool) -> Self {
        let addresses = has_token && policy.identity == IdentityPolicy::Full;
        Self { addresses, subjects: addresses && policy.detail == Detail::Headers }
    }
}

/// What the page shows.
#[derive(Debug)]
pub struct PageState {
    input: InputKind,
    show: Show,
    began: Instant,
    recorders: AtomicUsize,
    top: Arc<TopState>,
    inner: Mutex<Inner>,
}

/// How far a viewer has been told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    greeted: bool,
    change: u64,
    second: u64,
    digest: u64,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    sources: Vec<String>,
    /// Number of the last change.
    change: u64,
    open: HashMap<u64, Numbered<ListedSession>>,
    ended: VecDeque<Numbered<ListedSession>>,
    messages: VecDeque<Numbered<Arc<MessageRow>>>,
    anomalies: VecDeque<Numbered<AnomalyRow>>,
    rates: Rates,
    latencies: LatencyWindow,
    refusals: Refusals,
    /// Open sessions by recorder and protocol.
    counts: Vec<[u64; Protocol::ALL.len()]>,
    skipped: u64,
    digest: Option<(u64, u64, PageDigest)>,
}

/// A session that is listed.
#[derive(Debug)]
struct ListedSession {
    row: SessionRow,
    history: History,
}

/// A row with the number of the change that made it what it is.
type Numbered<T> = (u64, T);

impl PageState {
    /// Of an input of this kind, whose sources (listeners, interfaces) have these names by
    /// [`Peers::source`](crate::event::Peers::source).
    pub fn new(input: InputKind, sources: Vec<String>, show: Show, top: Arc<TopState>) -> Self {
        let inner = Mutex::new(Inner { sources, ..Inner::default() });
        Self { input, show, began: Instant::now(), recorders: AtomicUsize::new(0), top, inner }
    }

    /// The sources have these names from now on.
    pub fn name_sources(&self, sources: Vec<String>) {
        self.lock().sources = sources;
    }

    /// One for a thread.
    pub fn recorder(self: &Arc<Self>) -> PageCollector {
        PageCollector::new(Arc::clone(self), self.recorders.fetch_add(1, Ordering::Relaxed))
    }

    /// Appends what a viewer does not know yet, as JSON of one line.
    pub fn tell(&self, cursor: &mut Cursor, json: &mut Vec<u8>) {
        let mut inner = self.lock();
        let second = self.second();
        inner.tell(self, second, cursor, json);
    }

    /// What the listed session `id` did, as JSON; `None` if it is not listed.
    pub fn session(&self, id: u64) -> Option<Vec<u8>> {
        let inner = self.lock();
        let is_it = |(_, session): &&Numbered<ListedSession>| session.row.id == id;
        let (_, session) = inner.open.get(&id).or_else(|| inner.ended.iter().rev().find(is_it))?;
        serde_json::to_vec(&SessionDetails::new(&session.row, &session.history)).ok()
    }

    pub(super) fn show(&self) -> Show {
        self.show
    }

    /// Seconds since it was made: a clock that only goes forward.
    pub(super) fn second(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Inner>> {
        use std::sync::TryLockError::{Poisoned, WouldBlock};
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(WouldBlock) => None,
        }
    }
}

impl Default for PageState {
    fn default() -> Self {
        let top = Arc::new(TopState::new(InputKind::Proxy, false));
        Self::new(InputKind::Proxy, Vec::new(), Show::default(), top)
    }
}

impl Inner {
    /// Takes over what the recorder `number` has gathered; it is empty then, but for the sessions that are open.
    pub(super) fn take(&mut self, second: u64, number: usize, batch: &mut PageBatch) {
        if self.counts.len() <= number {
            self.counts.resize(number + 1, Default::default());
        }
        if let Some(counts) = self.counts.get_mut(number) {
            *counts = batch.open;
        }
        let tick = Tick { open: self.counts.iter().flatten().sum(), ..std::mem::take(&mut batch.tick) };
        let now = self.rates.at(second);
        now.open = 0;
        now.merge(&tick);
        self.latencies.take(second, &mut batch.latencies);
        self.refusals.take(second, &mut batch.refusals);
        self.skipped += std::mem::take(&mut batch.skipped);
        self.rows(batch);
    }

    fn rows(&mut self, batch: &mut PageBatch) {
        // First, for they make room.
        for (row, later) in batch.ended.drain(..) {
            let mut history = self.open.remove(&row.id).map(|(_, listed)| listed.history).unwrap_or_default();
            history.append(later);
            push(&mut self.ended, &mut self.change, ListedSession { row, history });
        }
        for (row, later) in batch.changed.drain(..) {
            if self.open.len() < LISTED || self.open.contains_key(&row.id) {
                self.change += 1;
                let mut history = self.open.remove(&row.id).map(|(_, listed)| listed.history).unwrap_or_default();
                history.append(later);
                self.open.insert(row.id, (self.change, ListedSession { row, history }));
            }
        }
        for message in batch.messages.drain(..) {
            push(&mut self.messages, &mut self.change, message);
        }
        for anomaly in batch.anomalies.drain(..) {
            push(&mut self.anomalies, &mut self.change, anomaly);
        }
    }

    /// These sessions have no end that anybody saw: who followed them is gone.
    pub(super) fn forget<'a>(&mut self, ids: impl Iterator<Item = &'a u64>) {
        for id in ids {
            if let Some((_, mut session)) = self.open.remove(id) {
                session.row.end = Some((SessionOutcome::CaptureEnd, Phase::Idle));
                push(&mut self.ended, &mut self.change, session);
            }
        }
    }

    fn tell(&mut self, state: &PageState, second: u64, cursor: &mut Cursor, json: &mut Vec<u8>) {
        self.rates.at(second);
        self.digest(state, second);
        let news = |change: u64| !cursor.greeted || change > cursor.change;
        let mut sessions: Vec<&Numbered<ListedSession>> =
            self.open.values().chain(&self.ended).filter(|(change, _)| news(*change)).collect();
        sessions.sort_by_key(|(change, _)| *change);
        let total: u64 = self.counts.iter().flatten().sum();
        let telling = PageUpdate {
            hello: (!cursor.greeted).then(|| Hello::new(state.input, self.sources.clone(), state.show)),
            now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            uptime: second,
            unlisted: total.saturating_sub(self.open.len() as u64),
            skipped: self.skipped,
            rates: self.rates.since(cursor.second).map(Tick::row).collect(),
            sessions: sessions.iter().map(|(_, session)| session.row.view(&self.sources)).collect(),
            messages: new(&self.messages, &news).map(|message| message.view()).collect(),
            anomalies: new(&self.anomalies, &news).map(AnomalyRow::view).collect(),
            digest: self
                .digest
                .as_ref()
                .filter(|(_, version, _)| *version != cursor.digest)
                .map(|(_, _, digest)| digest),
        };
        let length = json.len();
        if serde_json::to_writer(&mut *json, &telling).is_err() {
            // Nothing in it can fail to be written, and half an object is no object.
            json.truncate(length);
            json.extend_from_slice(b"{}");
        }
        let digest = self.digest.as_ref().map_or(0, |(_, version, _)| *version);
        *cursor = Cursor { greeted: true, change: self.change, second, digest };
    }

    /// Computes what is told as a whole, if that was not done just now.
    fn digest(&mut self, state: &PageState, second: u64) {
        let version = match &self.digest {
            Some((when, _, _)) if second < when + PAUSE => return,
            Some((_, version, _)) => *version,
            None => 0,
        };
        let counts = self.counts.iter().fold([0; Protocol::ALL.len()], |mut sum, counts| {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            sum
        });
        let tops = state.top.view(LINES, state.show.addresses);
        let digest = PageDigest::new(second, counts, &mut self.latencies, tops, &mut self.refusals);
        let changed = self.digest.as_ref().is_none_or(|(_, _, before)| *before != digest);
        self.digest = Some((second, version + u64::from(changed), digest));
    }
}

fn new<'a, T>(rows: &'a VecDeque<Numbered<T>>, news: &dyn Fn(u64) -> bool) -> impl Iterator<Item = &'a T> {
    rows.iter().filter(move |(change, _)| news(*change)).map(|(_, row)| row)
}

fn push<T>(rows: &mut VecDeque<Numbered<T>>, change: &mut u64, row: T) {
    *change += 1;
    if rows.len() >= RECENT {
        rows.pop_front();
    }
    rows.push_back((*change, row));
}

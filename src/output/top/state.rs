//! The lists of all threads together, and how they are written.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::TopKind;
use super::lists::{NamedFirst, TopBatch, TopLists};
use super::ranking::known_for;
use crate::output::InputKind;
use crate::output::record::Time;
use crate::time::Timestamp;

/// Entries of a list in the file.
const LONGEST: usize = 50;

/// The first thing in the file, by which it is known; the number changes when a reader would have to.
pub(super) const BEGINNING: &[u8] = b"{\"mailtap_top\":1,";

/// What all threads have counted.
#[derive(Debug)]
pub struct TopState {
    input: InputKind,
    users: bool,
    began: Instant,
    lists: Mutex<TopLists>,
}

/// A list as readers get it.
#[derive(Debug, PartialEq, Serialize)]
pub(in crate::output) struct TopView {
    /// A [`TopKind`].
    of: &'static str,
    by: &'static str,
    total: u64,
    others_at_most: u64,
    entries: Vec<EntryView>,
}

#[derive(Debug, PartialEq, Serialize)]
struct EntryView {
    name: String,
    at_least: u64,
    at_most: u64,
}

impl TopView {
    fn new(kind: TopKind, by: &'static str, first: NamedFirst) -> Self {
        let entry = |one: super::ranking::Ranked<String>| EntryView {
            name: one.key,
            at_least: one.known.seen,
            at_most: one.known.at_most(),
        };
        Self {
            of: kind.as_str(),
            by,
            total: first.total,
            others_at_most: first.others,
            entries: first.list.into_iter().map(entry).collect(),
        }
    }
}

/// The file.
#[derive(Serialize)]
struct FileView {
    mailtap_top: u32,
    version: &'static str,
    input: &'static str,
    written: Time,
    since: Time,
    lists: Vec<TopView>,
}

impl TopState {
    /// Empty lists of an input of this kind; `users`: who authenticated is counted.
    pub fn new(input: InputKind, users: bool) -> Self {
        Self { input, users, began: Instant::now(), lists: Mutex::default() }
    }

    /// Whether users are counted.
    pub const fn users(&self) -> bool {
        self.users
    }

    /// The kinds that are counted.
    fn kinds(&self) -> impl Iterator<Item = TopKind> {
        let users = self.users;
        TopKind::ALL.iter().copied().filter(move |kind| users || *kind != TopKind::User)
    }

    /// The `most` first of every list; without `addresses` none that tells of envelopes or users.
    pub(in crate::output) fn view(&self, most: usize, addresses: bool) -> Vec<TopView> {
        let mut lists = self.lock();
        let second = self.second();
        let kinds = self.kinds().filter(|kind| addresses || matches!(kind, TopKind::ClientNetwork | TopKind::Server));
        let of =
            |kind| lists.first(second, kind, most).into_iter().map(move |(by, first)| TopView::new(kind, by, first));
        kinds.flat_map(of).collect()
    }

    /// The content of the file, at `now`.
    pub(super) fn file(&self, now: SystemTime) -> Vec<u8> {
        let time = |at: SystemTime| {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            Time(Timestamp::from_parts(since.as_secs(), since.subsec_nanos().into()))
        };
        let known = Duration::from_secs(known_for(self.second()));
        let view = FileView {
            mailtap_top: 1,
            version: env!("CARGO_PKG_VERSION"),
            input: self.input.as_str(),
            written: time(now),
            since: time(now.checked_sub(known).unwrap_or(UNIX_EPOCH)),
            lists: self.view(LONGEST, true),
        };
        // Nothing in it can fail to be written.
        let mut text = serde_json::to_vec(&view).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Moves what a thread has gathered here, if that takes no waiting; whether it was done.
    pub(super) fn take(&self, batch: &mut TopBatch) -> bool {
        let mut lists = match self.lists.try_lock() {
            Ok(lists) => lists,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        lists.take(self.second(), batch);
        true
    }

    /// The same, waiting for those who read.
    pub(super) fn take_all(&self, batch: &mut TopBatch) {
        self.lock().take(self.second(), batch);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TopLists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since it was made.
    fn second(&self) -> u64 {
        self.began.elapsed().as_secs()
    }
}

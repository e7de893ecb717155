//! Handles of one listener and protocol, in arrays that the closed lists index: each is looked up once.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::families::{FROM_ZERO, FamilyId};
use super::labels;
use super::labels::{combinations, concerns};
use super::registry::Store;
use crate::event::Protocol;

/// Which listener and protocol, and where their series are.
#[derive(Clone, Debug)]
pub(super) struct SeriesPlace {
    pub(super) store: Arc<Store>,
    pub(super) listener: Arc<str>,
    pub(super) protocol: Protocol,
}

impl SeriesPlace {
    /// The values of the labels of `id`, `rest` being those after listener and protocol.
    fn with<'a>(&'a self, id: FamilyId, rest: &[&'a str]) -> Vec<&'a str> {
        let common = id.family().labels.iter().filter_map(|label| match *label {
            "listener" => Some(&*self.listener),
            "protocol" => Some(self.protocol.as_str()),
            _ => None,
        });
        common.chain(rest.iter().copied()).collect()
    }

    pub(super) fn counter(&self, id: FamilyId, rest: &[&str]) -> IntCounter {
        self.store.counter(id, &self.with(id, rest))
    }

    pub(super) fn gauge(&self, id: FamilyId, rest: &[&str]) -> IntGauge {
        self.store.gauge(id, &self.with(id, rest))
    }

    pub(super) fn histogram(&self, id: FamilyId, rest: &[&str]) -> Histogram {
        self.store.histogram(id, &self.with(id, rest))
    }

    /// Makes the series that are there before anything happens, at zero.
    pub(super) fn zero(&self, wanted: impl Fn(FamilyId) -> bool) {
        let wanted = |id: &FamilyId| wanted(*id) && concerns(*id, self.protocol);
        for id in FROM_ZERO.into_iter().filter(wanted) {
            for set in combinations(id, id.family(), self.protocol).unwrap_or_default() {
                self.store.zero(id, &self.with(id, &set));
            }
        }
        [FamilyId::SessionsActive, FamilyId::IdleActive]
            .into_iter()
            .filter(wanted)
            .for_each(|id| _ = self.gauge(id, &[]));
    }
}

/// Counters of a family, by an index over its own labels.
#[derive(Debug)]
pub(super) struct IndexedCounters {
    id: FamilyId,
    cells: Box<[Option<IntCounter>]>,
}

impl IndexedCounters {
    pub(super) fn new(id: FamilyId, size: usize) -> Self {
        Self { id, cells: vec![None; size].into() }
    }

    /// Counts `by` in the cell of `index`, whose labels are `set`.
    pub(super) fn add<const N: usize>(
        &mut self,
        place: &SeriesPlace,
        index: usize,
        by: u64,
        set: impl FnOnce() -> [&'static str; N],
    ) {
        let Some(cell) = self.cells.get_mut(index) else { return };
        cell.get_or_insert_with(|| place.counter(self.id, &set())).inc_by(by);
    }

    /// The same, with a value that the configuration named.
    pub(super) fn named(&mut self, place: &SeriesPlace, index: usize, name: &str) {
        let Some(cell) = self.cells.get_mut(index) else { return };
        cell.get_or_insert_with(|| place.counter(self.id, &[name])).inc();
    }
}

/// Histograms of a family, by an index over its own labels.
#[derive(Debug)]
pub(super) struct Histograms {
    id: FamilyId,
    cells: Box<[Option<Histogram>]>,
}

impl Histograms {
    pub(super) fn new(id: FamilyId, size: usize) -> Self {
        Self { id, cells: vec![None; size].into() }
    }

    pub(super) fn observe<const N: usize>(
        &mut self,
        place: &SeriesPlace,
        index: usize,
        value: f64,
        set: impl FnOnce() -> [&'static str; N],
    ) {
        let Some(cell) = self.cells.get_mut(index) else { return };
        cell.get_or_insert_with(|| place.histogram(self.id, &set())).observe(value);
    }
}

/// Seconds as a multiple of 2^-23, rounded down: sums of such numbers are exact up to thirty years, so that they do not
/// depend on the order in which threads add.
pub(super) fn seconds(duration: Duration) -> f64 {
    const STEPS: u128 = 1 << 23;
    let steps = duration.as_nanos().saturating_mul(STEPS) / 1_000_000_000;
    steps as f64 / STEPS as f64
}

/// The number of commands in a grid: every verb and the two that are none.
pub(super) const COMMANDS: usize = crate::event::Verb::ALL.len() + 2;
/// The greeting in such a grid.
pub(super) const GREETING: usize = COMMANDS - 2;
/// The end of the data in such a grid.
pub(super) const END_OF_DATA: usize = COMMANDS - 1;

/// Value of a command in such a grid.
pub(super) fn command(protocol: Protocol, index: usize) -> &'static str {
    match index {
        GREETING => labels::GREETING,
        END_OF_DATA => labels::END_OF_DATA,
        index => crate::event::Verb::ALL.get(index).map_or(labels::OTHER, |verb| labels::command(protocol, *verb)),
    }
}

//! The series of every family, behind the hard cap of label sets.
//!
//! A label set is looked up once and its handle kept; a look-up takes a lock, a count does not. A scrape reads the
//! same atomics and stops nobody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use super::families::{FAMILIES, Family, FamilyId, Type};

/// Label sets that were asked for before.
#[derive(Debug, Default)]
struct KnownLabels {
    /// Whether each has a series of its own.
    sets: HashMap<Vec<String>, bool>,
    /// How many have.
    own: usize,
}

impl KnownLabels {
    fn add(&mut self, values: Vec<String>) {
        self.sets.insert(values, true);
        self.own += 1;
    }
}

#[derive(Debug)]
enum Series {
    Counter(IntCounterVec),
    Sum(CounterVec),
    Gauge(IntGaugeVec),
    Level(GaugeVec),
    Histogram(HistogramVec),
}

#[derive(Debug)]
struct SeriesEntry {
    series: Series,
    known: Mutex<KnownLabels>,
}

/// Series of all families.
#[derive(Debug)]
pub(super) struct Store {
    entries: Vec<SeriesEntry>,
    cap: usize,
    /// Label sets kept free for what overflows, one for each listener and protocol.
    reserve: usize,
}

impl Store {
    /// Registers the families that `wanted` wants. `cap`: label sets of a family; `places`: pairs of listener and protocol.
    pub(super) fn new(
        registry: &Registry,
        cap: usize,
        places: usize,
        wanted: impl Fn(&Family) -> bool,
    ) -> prometheus::Result<Self> {
        let mut entries = Vec::with_capacity(FAMILIES.len());
        for family in FAMILIES {
            let (series, collector) = family.series()?;
            if wanted(family) {
                registry.register(collector)?;
            }
            entries.push(SeriesEntry { series, known: Mutex::default() });
        }
        let cap = cap.max(1);
        Ok(Self { entries, cap, reserve: places.min(cap / 4) })
    }

    /// Makes a series at zero, unless the zeros of its family have used up half of the cap.
    pub(super) fn zero(&self, id: FamilyId, values: &[&str]) {
        if self.len(id) < self.cap / 2 {
            self.counter(id, values);
        }
    }

    /// Label sets that a family has.
    pub(super) fn len(&self, id: FamilyId) -> usize {
        let Some(entry) = self.entries.get(id as usize) else { return 0 };
        entry.known.lock().unwrap_or_else(PoisonError::into_inner).own
    }

    pub(super) fn counter(&self, id: FamilyId, values: &[&str]) -> IntCounter {
        let made = self.resolve(id, values, |series, values| match series {
            Series::Counter(vec) => vec.get_metric_with_label_values(values).ok(),
            _ => None,
        });
        made.unwrap_or_else(loose::counter)
    }

    pub(super) fn sum(&self, id: FamilyId, values: &[&str]) -> Counter {
        let made = self.resolve(id, values, |series, values| match series {
            Series::Sum(vec) => vec.get_metric_with_label_values(values).ok(),
            _ => None,
        });
        made.unwrap_or_else(loose::sum)
    }

    pub(super) fn gauge(&self, id: FamilyId, values: &[&str]) -> IntGauge {
        let made = self.resolve(id, values, |series, values| match series {
            Series::Gauge(vec) => vec.get_metric_with_label_values(values).ok(),
            _ => None,
        });
        made.unwrap_or_else(loose::gauge)
    }

    pub(super) fn level(&self, id: FamilyId, values: &[&str]) -> Gauge {
        let made = self.resolve(id, values, |series, values| match series {
            Series::Level(vec) => vec.get_metric_with_label_values(values).ok(),
            _ => None,
        });
        made.unwrap_or_else(loose::level)
    }

    pub(super) fn histogram(&self, id: FamilyId, values: &[&str]) -> Histogram {
        let made = self.resolve(id, values, |series, values| match series {
            Series::Histogram(vec) => vec.get_metric_with_label_values(values).ok(),
            _ => None,
        });
        made.unwrap_or_else(loose::histogram)
    }

    /// The series of `values`, or the one that it collapses to.
    fn resolve<T>(&self, id: FamilyId, values: &[&str], make: impl Fn(&Series, &[&str]) -> Option<T>) -> Option<T> {
        let entry = self.entries.get(id as usize)?;
        let mut known = entry.known.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        if let Some(own) = known.sets.get(&wanted) {
            if *own {
                return make(&entry.series, values);
            }
        } else if known.own < self.cap - self.reserve {
            known.add(wanted);
            return make(&entry.series, values);
        } else {
            // Closed lists bound the keys: labels are words of ours, never of the wire.
            known.sets.insert(wanted, false);
            self.dropped(id);
        }
        let labels = id.family().labels;
        let mut collapsed: Vec<&str> =
            labels.iter().zip(values).map(|(l, v)| if is_common(l) { v } else { other(l) }).collect();
        let key: Vec<String> = collapsed.iter().map(|v| (*v).to_owned()).collect();
        if known.sets.get(&key) != Some(&true) {
            if known.own + 1 < self.cap {
                known.add(key);
            } else {
                collapsed = labels.iter().map(|l| other(l)).collect();
            }
        }
        make(&entry.series, &collapsed)
    }

    fn dropped(&self, id: FamilyId) {
        if id != FamilyId::SeriesDropped {
            self.counter(FamilyId::SeriesDropped, &[id.family().name]).inc();
        }
    }
}

fn is_common(label: &str) -> bool {
    matches!(label, "listener" | "protocol")
}

/// What a value beyond the cap becomes.
fn other(label: &str) -> &'static str {
    if matches!(label, "command" | "mechanism") { "OTHER" } else { "other" }
}

impl Family {
    fn series(&self) -> prometheus::Result<(Series, Box<dyn Collector>)> {
        let opts = Opts::new(self.name, self.help);
        Ok(match self.kind {
            Type::Counter => {
                let vec = IntCounterVec::new(opts, self.labels)?;
                (Series::Counter(vec.clone()), Box::new(vec))
            }
            Type::Sum => {
                let vec = CounterVec::new(opts, self.labels)?;
                (Series::Sum(vec.clone()), Box::new(vec))
            }
            Type::Gauge => {
                let vec = IntGaugeVec::new(opts, self.labels)?;
                (Series::Gauge(vec.clone()), Box::new(vec))
            }
            Type::Level => {
                let vec = GaugeVec::new(opts, self.labels)?;
                (Series::Level(vec.clone()), Box::new(vec))
            }
            Type::Histogram(buckets) => {
                let vec = HistogramVec::new(HistogramOpts::from(opts).buckets(buckets.to_vec()), self.labels)?;
                (Series::Histogram(vec.clone()), Box::new(vec))
            }
        })
    }
}

/// Numbers that nobody reads: what a look-up gives that a test shows cannot fail.
mod loose {
    use prometheus::{Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge};
    use std::sync::LazyLock;

    #[allow(clippy::expect_used, reason = "constant names")]
    mod made {
        use super::*;
        pub(super) static COUNTER: LazyLock<IntCounter> =
            LazyLock::new(|| IntCounter::new("loose", "loose").expect("a name"));
        pub(super) static SUM: LazyLock<Counter> = LazyLock::new(|| Counter::new("loose", "loose").expect("a name"));
        pub(super) static GAUGE: LazyLock<IntGauge> =
            LazyLock::new(|| IntGauge::new("loose", "loose").expect("a name"));
        pub(super) static LEVEL: LazyLock<Gauge> = LazyLock::new(|| Gauge::new("loose", "loose").expect("a name"));
        pub(super) static HISTOGRAM: LazyLock<Histogram> =
            LazyLock::new(|| Histogram::with_opts(HistogramOpts::new("loose", "loose")).expect("a name"));
    }

    pub(super) fn counter() -> IntCounter {
        made::COUNTER.clone()
    }
    pub(super) fn sum() -> Counter {
        made::SUM.clone()
    }
    pub(super) fn gauge() -> IntGauge {
        made::GAUGE.clone()
    }
    pub(super) fn level() -> Gauge {
        made::LEVEL.clone()
    }
    pub(super) fn histogram() -> Histogram {
        made::HISTOGRAM.clone()
    }
}

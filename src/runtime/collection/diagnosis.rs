//! Who has most of something, and what has too many series.

use crate::model::accounts::Accounts;
use crate::model::label::LabelSet;
use crate::model::name::LabelKey;
use crate::model::name::MetricName;
use crate::model::snapshot::Family;
use crate::model::snapshot::ValueRef;
use crate::recorder::view::Snapshot;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Values of a label that a report shows.
pub(super) const EXAMPLES: usize = 5;

/// A metric that has reached a limit of its series, and the label that most likely has no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CardinalityReport {
    /// The metric.
    pub metric: MetricName,
    /// Series over all recorders.
    pub series: usize,
    /// Recorders that have reached the limit of the metric itself.
    pub recorders: usize,
    /// Observations that these have added to their overflow series.
    pub overflowed: u64,
    /// Whether all recorders together have more series than the runtime exports of one metric.
    pub past_exported: bool,
    /// The label with most values; `None` if the metric has none.
    pub label: Option<LabelKey>,
    /// How many values it has.
    pub values: usize,
    /// Some of them.
    pub examples: Vec<String>,
    /// Some of the label sets that found no room in a recorder, and are told in its overflow series alone.
    pub left_out: Vec<LabelSet>,
}

/// A metric of which series were stated twice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoubledReport {
    /// The metric.
    pub metric: MetricName,
    /// How many series are left out, because they were stated before.
    pub series: u64,
    /// The labels of some of them.
    pub examples: Vec<LabelSet>,
}

impl RuntimeSnapshot {
    /// Every metric of which a series was stated twice, by name: by two sources, or by a source and recorders that are shown as one. Who came first is shown, recorders
    /// before sources and sources in the order in which they were added, so that every format shows each series once. Costs as much as
    /// [`families`](Self::families).
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use mvx_metrics::{Descriptor, Fold, Kind, LabelSet, Source, SourceWriter};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// struct Threads(Arc<Descriptor>, f64);
    ///
    /// impl Source for Threads {
    ///     fn descriptors(&self) -> Vec<Arc<Descriptor>> {
    ///         vec![Arc::clone(&self.0)]
    ///     }
    ///
    ///     fn collect(&mut self, writer: &mut SourceWriter<'_>) {
    ///         if let Some(mut threads) = writer.family(&self.0) {
    ///             threads.gauge(&LabelSet::empty(), self.1);
    ///         }
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let threads = Descriptor::builder("process.threads", Kind::Gauge).build()?;
    /// runtime.add_source("mine", Duration::from_secs(1), Threads(Arc::clone(&threads), 4.0))?;
    /// runtime.add_source("theirs", Duration::from_secs(1), Threads(threads, 5.0))?;
    /// runtime.refresh_sources();
    /// let snapshot = runtime.collect();
    /// let families = snapshot.families(Fold::Group);
    /// let shown: Vec<_> = families[0].parts().iter().flat_map(|part| part.family().series()).map(|s| s.value().gauge()).collect();
    /// assert_eq!(shown, [Some(4.0)]);
    /// let doubled = snapshot.doubled(Fold::Group);
    /// assert_eq!((doubled[0].metric.as_str(), doubled[0].series, families[0].doubled()), ("process.threads", 1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn doubled(&self, fold: Fold) -> Vec<DoubledReport> {
        let families = self.families(fold);
        let doubled = families.iter().filter(|family| family.doubled() > 0);
        let report = |family: &ExportedFamily<'_>| DoubledReport {
            metric: family.descriptor().name().clone(),
            series: family.doubled(),
            examples: family.doubled_examples().to_vec(),
        };
        doubled.map(report).collect()
    }

    /// Every metric that has reached a limit of its series, by name: its recorders' own or the runtime's. Costs a look at every metric of
    /// every recorder, and at every label of the metrics named.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// # struct Seen(u64); impl MetricEvent for Seen { fn event_type(&self) -> &'static str { "seen" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let seen = runtime
    ///     .recorder::<Seen>("door")
    ///     .counter("visits", |c| c.label("user", |e| e.0.into()).cardinality(2))
    ///     .create()?;
    /// (0..5).for_each(|user| seen.register_event(Seen(user)));
    /// seen.flush_blocking(Duration::from_secs(5))?;
    /// let report = runtime.collect().cardinality();
    /// assert_eq!((report[0].metric.as_str(), report[0].overflowed), ("visits", 3));
    /// assert_eq!((report[0].label.as_ref().map(|key| key.as_str()), report[0].values), (Some("user"), 2));
    /// assert_eq!(report[0].examples, ["0", "1"]);
    /// assert_eq!(report[0].left_out[0].get("user"), Some("2"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cardinality(&self) -> Vec<CardinalityReport> {
        let mut counted: BTreeMap<&MetricName, (usize, usize, u64)> = BTreeMap::new();
        for family in self.of_recorders() {
            let (series, recorders, overflowed) = counted.entry(family.name()).or_default();
            *series += family.len();
            *recorders += usize::from(family.overflowed() > 0);
            *overflowed = overflowed.saturating_add(family.overflowed());
        }
        let reached =
            counted.into_iter().filter(|(_, (series, recorders, _))| *recorders > 0 || *series > self.limit);
        reached.map(|(metric, counts)| self.report(metric, counts)).collect()
    }

    fn report(&self, metric: &MetricName, counts: (usize, usize, u64)) -> CardinalityReport {
        let (series, recorders, overflowed) = counts;
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let families = self.of_recorders().filter(|family| family.name() == metric);
        let mut keys: &[LabelKey] = &[];
        let mut left_out: Vec<LabelSet> = Vec::new();
        for family in families {
            keys = family.descriptor().label_keys();
            for example in family.overflow_examples() {
                if left_out.len() < EXAMPLES && !left_out.contains(example) {
                    left_out.push(example.clone());
                }
            }
            for series in family.series().filter(|series| !series.is_overflow()) {
                for (key, value) in series.labels().iter() {
                    values.entry(key).or_default().insert(value);
                }
            }
        }
        let most = values.into_iter().max_by_key(|(_, values)| values.len());
        let (key, values) = most.unwrap_or_default();
        CardinalityReport {
            metric: metric.clone(),
            series,
            recorders,
            overflowed,
            past_exported: series > self.limit,
            label: keys.iter().find(|known| known.as_str() == key).cloned(),
            values: values.len(),
            examples: values.into_iter().take(EXAMPLES).map(str::to_owned).collect(),
            left_out,
        }
    }

    fn of_recorders(&self) -> impl Iterator<Item = &Family> {
        self.recorders.iter().flat_map(|recorder| recorder.cut.metrics.iter().map(|metric| &metric.family))
    }

    /// The `k` recorders with most of a metric, most first; of equals the older first. All series of a recorder count together: counts,
    /// sums and levels are added, of distributions and averages the numbers of observations. Custom fields have no order, so none is named.
    ///
    /// A recorder's own accounts have the names that they have by group: `mvx.events.accepted`, `processed`, `rejected`, `dropped` and `pending`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// for (id, saves) in [("a", 1), ("b", 3), ("c", 2)] {
    ///     let recorder = runtime.recorder::<Saved>(id).counter("document.saves", |c| c).create()?;
    ///     (0..saves).for_each(|_| recorder.register_event(Saved));
    /// }
    /// runtime.flush_blocking(Duration::from_secs(5))?;
    /// let snapshot = runtime.collect();
    /// let top: Vec<_> = snapshot.top("document.saves", 2).iter().map(|(r, most)| (r.id().as_str(), *most)).collect();
    /// assert_eq!(top, [("b", 3.0), ("c", 2.0)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn top(&self, metric: &str, k: usize) -> Vec<(&Snapshot, f64)> {
        let all = self.recorders.iter().filter_map(|recorder| {
            let own = own_weight(metric, recorder.accounts());
            let weight = own.or_else(|| weight(&recorder.metric(metric)?.family().at(self.taken_at)))?;
            Some((recorder, weight))
        });
        let mut all: Vec<_> = all.collect();
        // Stable, so equals stay in the order of creation.
        all.sort_by(|(_, ours), (_, theirs)| theirs.total_cmp(ours));
        all.truncate(k);
        all
    }
}

/// What a recorder has of one of the runtime's own metrics that are exported by group; `None` if it is none of these.
fn own_weight(metric: &str, accounts: Accounts) -> Option<f64> {
    let count = match metric {
        "mvx.events.accepted" => accounts.accepted,
        "mvx.events.processed" => accounts.processed,
        "mvx.events.rejected" => accounts.rejected.total(),
        "mvx.events.dropped" => accounts.dropped.total(),
        "mvx.events.pending" => accounts.pending(),
        _ => return None,
    };
    Some(count as f64)
}

/// All series of a family in one number; `None` if it has none, or they have no order.
fn weight(family: &Family) -> Option<f64> {
    let weights = family.series().filter_map(|series| match series.value() {
        ValueRef::Counter(count) => Some(count as f64),
        ValueRef::FloatCounter(sum) => Some(sum),
        ValueRef::Gauge(value) => Some(value),
        ValueRef::UpDown(level) => Some(level as f64),
        ValueRef::Histogram(histogram) => Some(histogram.count() as f64),
        ValueRef::Exponential(histogram) => Some(histogram.count() as f64),
        ValueRef::Average { count, .. } => Some(count as f64),
        ValueRef::Summary(summary) => Some(summary.count() as f64),
        _ => None,
    });
    weights.reduce(|sum, weight| sum + weight)
}

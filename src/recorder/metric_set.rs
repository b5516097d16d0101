//! Metrics as a value: what a library ships, and what a recorder takes at once.

use crate::metric::Average;
use crate::metric::AverageBuilder;
use crate::metric::Counter;
use crate::metric::CounterBuilder;
use crate::metric::DerivedMetrics;
use crate::metric::ExponentialHistogram;
use crate::metric::ExponentialHistogramBuilder;
use crate::metric::Extreme;
use crate::metric::ExtremeBuilder;
use crate::metric::Gauge;
use crate::metric::GaugeBuilder;
use crate::metric::Heartbeat;
use crate::metric::HeartbeatBuilder;
use crate::metric::Histogram;
use crate::metric::HistogramBuilder;
use crate::metric::Info;
use crate::metric::InfoBuilder;
use crate::metric::Metric;
use crate::metric::RateMeter;
use crate::metric::RateMeterBuilder;
use crate::metric::StateSet;
use crate::metric::StateSetBuilder;
use crate::metric::Summary;
use crate::metric::SummaryBuilder;
use crate::metric::UpDown;
use crate::metric::UpDownBuilder;
use crate::metric::WindowedSummary;
use crate::metric::WindowedSummaryBuilder;
use crate::model::error::Error;
use crate::model::event::MetricEvent;
use crate::model::snapshot::Descriptor;
use crate::recorder::catalogue::conflict_within;
use crate::recorder::dispatch::Slot;
use std::fmt;
use std::sync::Arc;

/// Metrics over one type of event, as one value: what a library gives to whoever measures it.
///
/// A set costs what its metrics cost; it holds no events and belongs to no recorder until one takes it:
/// [`RecorderBuilder::metrics`](crate::RecorderBuilder::metrics) before the first event,
/// [`Recorder::register_metrics`](crate::Recorder::register_metrics) at any time. The first mistake of a definition is kept, and told by
/// whoever takes the set. A name declared again with the same shape is the same metric, and the first definition stays; with another
/// shape it is a mistake.
///
/// # Examples
///
/// ```
/// use mvx_metrics::MetricSet;
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// // In the library:
/// pub enum StorageEvent {
///     Saved { bytes: u64 },
/// }
///
/// impl MetricEvent for StorageEvent {
///     fn event_type(&self) -> &'static str { "storage.saved" }
/// }
///
/// pub fn storage_metrics() -> MetricSet<StorageEvent> {
///     MetricSet::new()
///         .counter("storage.saves", |c| c.help("Documents saved."))
///         .histogram("storage.bytes", |h| {
///             h.unit(Unit::Bytes).value(|StorageEvent::Saved { bytes }| Some(*bytes))
///         })
/// }
///
/// // In the application, which wants other bounds for one of them:
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime
///     .recorder::<StorageEvent>("storage")
///     .metrics(storage_metrics().without("storage.bytes"))
///     .histogram("storage.bytes", |h| {
///         h.unit(Unit::Bytes).bounds(&[1e3, 1e6]).value(|StorageEvent::Saved { bytes }| Some(*bytes))
///     })
///     .create()?;
/// recorder.register_event(StorageEvent::Saved { bytes: 512 });
/// let snapshot = recorder.flush_and_snapshot(Duration::from_secs(5))?;
/// assert_eq!(snapshot.counter("storage.saves", &[]), Some(1));
/// let buckets: Vec<_> = snapshot.histogram("storage.bytes", &[]).unwrap().buckets().collect();
/// assert_eq!(buckets, [1, 0, 0]);
/// # Ok(())
/// # }
/// ```
#[must_use = "a set measures nothing until a recorder takes it"]
pub struct MetricSet<E: MetricEvent> {
    slots: Vec<Slot<E>>,
    /// The first mistake; told by whoever takes the set.
    mistake: Option<Error>,
}

impl<E: MetricEvent> MetricSet<E> {
    /// A set without metrics.
    pub fn new() -> Self {
        Self { slots: Vec::new(), mistake: None }
    }

    /// Adds a counter: a sum that only rises.
    pub fn counter(self, name: &str, define: impl FnOnce(CounterBuilder<E>) -> CounterBuilder<E>) -> Self {
        self.with(define(Counter::builder(name)).build())
    }

    /// Adds a gauge: the last value.
    pub fn gauge(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self {
        self.with(define(Gauge::builder(name)).build())
    }

    /// Adds a gauge that keeps the smallest value ever observed.
    pub fn min(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self {
        self.with(define(Extreme::min(name)).build())
    }

    /// Adds a gauge that keeps the largest value ever observed.
    pub fn max(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self {
        self.with(define(Extreme::max(name)).build())
    }

    /// Adds a gauge that, where recorders are folded, shows the value of the one which published last.
    pub fn last(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self {
        self.with(define(Gauge::last(name)).build())
    }

    /// Adds an up-down counter: a sum that rises and falls.
    pub fn up_down(self, name: &str, define: impl FnOnce(UpDownBuilder<E>) -> UpDownBuilder<E>) -> Self {
        self.with(define(UpDown::builder(name)).build())
    }

    /// Adds a histogram with explicit buckets.
    pub fn histogram(
        self,
        name: &str,
        define: impl FnOnce(HistogramBuilder<E>) -> HistogramBuilder<E>,
    ) -> Self {
        self.with(define(Histogram::builder(name)).build())
    }

    /// Adds a histogram whose buckets grow exponentially and fit themselves to what is observed.
    pub fn exponential_histogram(
        self,
        name: &str,
        define: impl FnOnce(ExponentialHistogramBuilder<E>) -> ExponentialHistogramBuilder<E>,
    ) -> Self {
        self.with(define(ExponentialHistogram::builder(name)).build())
    }

    /// Adds a running average.
    pub fn average(self, name: &str, define: impl FnOnce(AverageBuilder<E>) -> AverageBuilder<E>) -> Self {
        self.with(define(Average::builder(name)).build())
    }

    /// Adds a summary, as [`RecorderBuilder::summary`](crate::RecorderBuilder::summary).
    pub fn summary(self, name: &str, define: impl FnOnce(SummaryBuilder<E>) -> SummaryBuilder<E>) -> Self {
        self.with(define(Summary::builder(name)).build())
    }

    /// Adds a windowed summary, as [`RecorderBuilder::windowed_summary`](crate::RecorderBuilder::windowed_summary).
    pub fn windowed_summary(
        self,
        name: &str,
        define: impl FnOnce(WindowedSummaryBuilder<E>) -> WindowedSummaryBuilder<E>,
    ) -> Self {
        self.with(define(WindowedSummary::builder(name)).build())
    }

    /// Adds a rate, as [`RecorderBuilder::rate`](crate::RecorderBuilder::rate).
    pub fn rate(self, name: &str, define: impl FnOnce(RateMeterBuilder<E>) -> RateMeterBuilder<E>) -> Self {
        self.with(define(RateMeter::builder(name)).build())
    }

    /// Adds a heartbeat, as [`RecorderBuilder::heartbeat`](crate::RecorderBuilder::heartbeat).
    pub fn heartbeat(
        self,
        name: &str,
        define: impl FnOnce(HeartbeatBuilder<E>) -> HeartbeatBuilder<E>,
    ) -> Self {
        self.with(define(Heartbeat::builder(name)).build())
    }

    /// Adds an info, as [`RecorderBuilder::info`](crate::RecorderBuilder::info).
    pub fn info(self, name: &str, define: impl FnOnce(InfoBuilder<E>) -> InfoBuilder<E>) -> Self {
        self.with(define(Info::builder(name)).build())
    }

    /// Adds a state set, as [`RecorderBuilder::state_set`](crate::RecorderBuilder::state_set).
    pub fn state_set(
        self,
        name: &str,
        states: &[&str],
        define: impl FnOnce(StateSetBuilder<E>) -> StateSetBuilder<E>,
    ) -> Self {
        self.with(define(StateSet::builder(name, states)).build())
    }

    /// Adds a metric of one's own.
    pub fn metric(self, metric: impl Metric<E>) -> Self {
        self.with(Ok(metric))
    }

    /// Adds the metrics that the event type brings along; see
    /// [`RecorderBuilder::derived_metrics`](crate::RecorderBuilder::derived_metrics).
    pub fn derived_metrics(self) -> Self
    where
        E: DerivedMetrics,
    {
        E::define(self)
    }

    /// Adds every metric of another set, and its mistake if this one has none.
    pub fn metrics(mut self, other: Self) -> Self {
        self.absorb(other);
        self
    }

    /// Leaves out the metric of this name, if there is one, so that it is not measured or can be defined otherwise.
    pub fn without(mut self, name: &str) -> Self {
        self.slots.retain(|slot| slot.descriptor().name().as_str() != name);
        self
    }

    /// What the set measures, in the order of definition.
    pub fn descriptors(&self) -> impl ExactSizeIterator<Item = &Arc<Descriptor>> {
        self.slots.iter().map(Slot::descriptor)
    }

    fn with<M: Metric<E>>(mut self, metric: Result<M, Error>) -> Self {
        self.add(metric);
        self
    }

    pub(crate) fn add<M: Metric<E>>(&mut self, metric: Result<M, Error>) {
        match metric.and_then(Slot::new) {
            Ok(slot) => self.place(slot),
            Err(error) => self.note(error),
        }
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        other.slots.into_iter().for_each(|slot| self.place(slot));
        if let Some(mistake) = other.mistake {
            self.note(mistake);
        }
    }

    /// A name declared again with the same shape is the same metric: the first definition stays.
    fn place(&mut self, slot: Slot<E>) {
        let name = slot.descriptor().name();
        match self.slots.iter().find(|present| present.descriptor().name() == name) {
            None => self.slots.push(slot),
            Some(present) => {
                if let Some(error) = conflict_within(present.descriptor(), slot.descriptor()) {
                    self.note(error);
                }
            }
        }
    }

    fn note(&mut self, error: Error) {
        self.mistake.get_or_insert(error);
    }

    /// The metrics, or the first mistake.
    pub(crate) fn into_slots(mut self) -> Result<Vec<Slot<E>>, Error> {
        // They stay as long as the recorder does.
        self.slots.shrink_to_fit();
        self.mistake.map_or(Ok(self.slots), Err)
    }
}

impl<E: MetricEvent> Default for MetricSet<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: MetricEvent> fmt::Debug for MetricSet<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.descriptors().map(|descriptor| descriptor.name().as_str());
        f.debug_struct("MetricSet")
            .field("metrics", &names.collect::<Vec<_>>())
            .field("mistake", &self.mistake)
            .finish()
    }
}

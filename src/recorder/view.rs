//! What readers see: the published cut, and the accounts at the moment of the call.

use crate::model::accounts::Accounts;
use crate::model::accounts::Tally;
use crate::model::clock::Timestamp;
use crate::model::label::LabelSet;
use crate::model::label::Labels;
use crate::model::name::RecorderId;
use crate::model::snapshot::ExponentialRef;
use crate::model::snapshot::Family;
use crate::model::snapshot::HistogramRef;
use crate::model::snapshot::Kind;
use crate::model::snapshot::Number;
use crate::model::snapshot::StatesRef;
use crate::model::snapshot::SummaryRef;
use crate::model::snapshot::ValueRef;
use crate::queue::published::Shared;
use crate::recorder::identity::Epoch;
use crate::recorder::identity::Identity;
use crate::recorder::state::RecorderState;
use crate::recorder::view_at::SnapshotAt;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// One consistent state of a recorder, as it was published.
pub(crate) struct Cut {
    pub(crate) identity: Arc<Identity>,
    pub(crate) version: u64,
    pub(crate) sequence: u64,
    pub(crate) taken_at: Timestamp,
    /// Those that see events, in the order of the actor's; then those that were removed and whose series were kept.
    pub(crate) metrics: MetricCuts,
    /// Which metrics these are: a cut is refreshed in place only while the actor's are the same.
    pub(crate) composition: u32,
    pub(crate) quarantined_observers: u32,
}

/// The metrics of a cut.
#[derive(Clone)]
pub(crate) enum MetricCuts {
    /// Before the first event, when recorders of equal metrics show the same.
    Shared(Arc<[MetricCut]>),
    Own(Box<[MetricCut]>),
}

impl MetricCuts {
    /// The same, to be changed: copied if others have them, too.
    pub(crate) fn own(&mut self) -> &mut [MetricCut] {
        if let Self::Shared(shared) = self {
            *self = Self::Own(shared.iter().cloned().collect());
        }
        match self {
            Self::Own(own) => own,
            // Not after the above.
            Self::Shared(_) => &mut [],
        }
    }

    /// What the list takes on the heap, if it is the cut's own.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Own(own) => size_of_val(&**own),
            Self::Shared(_) => 0,
        }
    }
}

impl Deref for MetricCuts {
    type Target = [MetricCut];

    fn deref(&self) -> &[MetricCut] {
        match self {
            Self::Own(own) => own,
            Self::Shared(shared) => shared,
        }
    }
}

impl FromIterator<MetricCut> for MetricCuts {
    fn from_iter<I: IntoIterator<Item = MetricCut>>(metrics: I) -> Self {
        Self::Own(metrics.into_iter().collect())
    }
}

#[derive(Clone)]
pub(crate) struct MetricCut {
    pub(crate) family: Family,
    pub(crate) tally: Tally,
    pub(crate) quarantined: bool,
    /// Whether it stands still, because its metric was removed.
    pub(crate) removed: bool,
    /// How much of that it gives up at rest.
    pub(crate) spared_bytes: u32,
    /// What the metric itself had on the heap when this was written.
    pub(crate) metric_bytes: usize,
}

/// The immutable state of one recorder after a whole number of events, and its accounts at the moment of the call.
///
/// Every metric is shown after the same event: a counter and a histogram that accept the same events have equal counts in
/// every snapshot. Taking one is lock-free, costs a few nanoseconds, never visits the worker and works in every state. `Clone`
/// shares the state.
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
/// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// recorder.register_event(Saved);
/// recorder.flush_blocking(Duration::from_secs(5))?;
///
/// let snapshot = recorder.snapshot();
/// assert_eq!(snapshot.counter("document.saves", &[]), Some(1));
/// assert_eq!(snapshot.sequence(), 1);
/// assert_eq!(snapshot.accounts().processed, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) cut: Shared<Cut>,
    pub(crate) accounts: Accounts,
    pub(crate) state: RecorderState,
}

impl Snapshot {
    /// The recorder's id.
    pub fn id(&self) -> &RecorderId {
        &self.cut.identity.id
    }

    /// The entity the recorder measures; its id, unless the builder named another.
    pub fn entity(&self) -> &str {
        self.cut.identity.entity()
    }

    /// The labels that every series of the recorder has beside its own; see
    /// [`constant_label`](crate::RecorderBuilder::constant_label).
    pub fn constant_labels(&self) -> &LabelSet {
        self.cut.identity.constant_labels()
    }

    /// Which life of this id this is.
    pub fn epoch(&self) -> Epoch {
        self.cut.identity.epoch
    }

    /// How many events had been processed when the state was cut.
    pub fn sequence(&self) -> u64 {
        self.cut.sequence
    }

    /// The number of the publication; never lower in a snapshot taken later.
    pub fn version(&self) -> u64 {
        self.cut.version
    }

    /// When the state was cut; never earlier in a snapshot taken later, whatever the clock does.
    pub fn taken_at(&self) -> Timestamp {
        self.cut.taken_at
    }

    /// The recorder's state when the snapshot was taken.
    pub fn state(&self) -> RecorderState {
        self.state
    }

    /// Where every event offered to the recorder had ended when the snapshot was taken; at least as far as the cut.
    pub fn accounts(&self) -> Accounts {
        self.accounts
    }

    /// How many observers have panicked, and are not told of changes until they are
    /// [reinstated](crate::Recorder::reinstate_observer) or the recorder is started again.
    pub fn quarantined_observers(&self) -> u64 {
        u64::from(self.cut.quarantined_observers)
    }

    /// Every metric, in the order of registration; behind them those that were removed and whose series were kept.
    pub fn metrics(&self) -> impl Iterator<Item = MetricView<'_>> {
        self.cut.metrics.iter().map(|cut| MetricView { cut })
    }

    /// The metric of this name.
    pub fn metric(&self, name: &str) -> Option<MetricView<'_>> {
        self.metrics().find(|metric| metric.family().name() == name)
    }

    /// The value of one series; `None` if there is no such metric, or nothing was observed under these labels yet.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<ValueRef<'_>> {
        self.cut
            .metrics
            .iter()
            .find(|cut| cut.family.name() == name)?
            .family
            .find(labels)
            .map(|series| series.value())
    }

    /// The count of a counter's series. `None` for another kind of metric.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        self.value(name, labels)?.counter()
    }

    /// The sum of a counter over all its label sets, the overflow series included; 0 before its first event. `None` for another
    /// kind of metric, and where there is no such metric.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// # struct Saved(bool); impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime
    ///     .recorder::<Saved>("storage")
    ///     .counter("document.saves", |c| c.label("ok", |Saved(ok)| (*ok).into()))
    ///     .create()?;
    /// for ok in [true, false, true] {
    ///     recorder.register_event(Saved(ok));
    /// }
    /// let snapshot = recorder.flush_and_snapshot(Duration::from_secs(5))?;
    /// assert_eq!(snapshot.counter("document.saves", &[("ok", "true")]), Some(2));
    /// assert_eq!(snapshot.total("document.saves"), Some(3));
    /// assert_eq!(snapshot.total("document.save"), None); // no such metric
    /// # Ok(())
    /// # }
    /// ```
    pub fn total(&self, name: &str) -> Option<u64> {
        let family = self.metric(name)?.family();
        let counts = family.series().filter_map(|series| series.value().counter());
        (family.descriptor().kind() == Kind::Counter).then(|| counts.fold(0, u64::saturating_add))
    }

    /// The sum of the series of a counter of fractions, such as seconds. `None` for another kind of metric.
    pub fn float_counter(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.value(name, labels)?.float_counter()
    }

    /// The level of an up-down counter's series. `None` for another kind of metric.
    pub fn up_down(&self, name: &str, labels: &[(&str, &str)]) -> Option<i64> {
        self.value(name, labels)?.up_down()
    }

    /// The value of a gauge's series. `None` for another kind of metric.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.value(name, labels)?.gauge()
    }

    /// The buckets of a histogram's series. `None` for another kind of metric.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Option<HistogramRef<'_>> {
        self.value(name, labels)?.histogram()
    }

    /// The buckets of an exponential histogram's series. `None` for another kind of metric.
    pub fn exponential(&self, name: &str, labels: &[(&str, &str)]) -> Option<ExponentialRef<'_>> {
        self.value(name, labels)?.exponential()
    }

    /// The summary of a series. `None` for another kind of metric; for a windowed one, ask [at a time](Self::at).
    pub fn summary(&self, name: &str, labels: &[(&str, &str)]) -> Option<SummaryRef<'_>> {
        self.value(name, labels)?.summary()
    }

    /// The states of a state set's series. `None` for another kind of metric.
    pub fn states(&self, name: &str, labels: &[(&str, &str)]) -> Option<StatesRef<'_>> {
        self.value(name, labels)?.states()
    }

    /// The labels of an info. `None` for another kind of metric, and before its first event.
    pub fn info(&self, name: &str) -> Option<Labels<'_>> {
        let family = self.metric(name)?.family();
        family.series().find(|series| series.value() == ValueRef::Info).map(|series| series.labels())
    }

    /// The snapshot with everything that changes by the passing of time as it is at `now`: heartbeats, rates, windowed summaries. Costs a
    /// pass over those.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # use std::time::Duration;
    /// # struct Polled; impl MetricEvent for Polled { fn event_type(&self) -> &'static str { "polled" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime
    ///     .recorder::<Polled>("poller")
    ///     .heartbeat("poller.silence", |h| h)
    ///     .rate("poller.rate", |r| r.window(Duration::from_secs(60)))
    ///     .create()?;
    /// recorder.register_event(Polled);
    /// let snapshot = recorder.flush_and_snapshot(Duration::from_secs(5))?;
    /// assert_eq!(snapshot.gauge("poller.silence", &[]), None); // a snapshot has no time
    ///
    /// let now = snapshot.at(runtime.now());
    /// assert!(now.gauge("poller.silence", &[]).unwrap() < 30.0);
    /// assert_eq!(now.rate("poller.rate", &[]).map(|rate| rate.count), Some(1));
    ///
    /// let later = snapshot.at(runtime.now().saturating_add(Duration::from_secs(90)));
    /// assert!(later.gauge("poller.silence", &[]).unwrap() >= 90.0);
    /// assert_eq!(later.gauge("poller.rate", &[]), None); // no data, which is not 0
    /// # Ok(())
    /// # }
    /// ```
    pub fn at(&self, now: Timestamp) -> SnapshotAt {
        SnapshotAt::new(self.clone(), now)
    }

    /// The mean of an average's series. `None` for another kind of metric, and before the first observation.
    pub fn mean(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.value(name, labels)?.mean()
    }

    /// One field of a custom metric's series. `None` for another kind of metric.
    pub fn field(&self, name: &str, labels: &[(&str, &str)], field: &str) -> Option<Number> {
        self.value(name, labels)?.field(field)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("id", self.id())
            .field("version", &self.version())
            .field("sequence", &self.sequence())
            .field("state", &self.state)
            .field("accounts", &self.accounts)
            .field(
                "metrics",
                &self.metrics().map(|metric| metric.family().name().to_owned()).collect::<Vec<_>>(),
            )
            .finish()
    }
}

/// One metric in a snapshot.
#[derive(Clone, Copy)]
pub struct MetricView<'a> {
    cut: &'a MetricCut,
}

impl<'a> MetricView<'a> {
    /// Its name, shape and series.
    pub fn family(self) -> &'a Family {
        &self.cut.family
    }

    /// What it answered to the events dispatched while it was registered, up to the cut.
    pub fn tally(self) -> Tally {
        self.cut.tally
    }

    /// Whether it has panicked, over an event or over showing itself (then it is shown without series), and sees no events until it is [reinstated](crate::Recorder::reinstate) or the recorder is
    /// started again.
    pub fn is_quarantined(self) -> bool {
        self.cut.quarantined
    }
}

impl MetricView<'_> {
    /// Whether the metric was [removed](crate::Recorder::remove_metric) and its series kept: they and the tally stand still.
    pub fn is_removed(self) -> bool {
        self.cut.removed
    }
}

impl fmt::Debug for MetricView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricView")
            .field("name", &self.family().name())
            .field("tally", &self.cut.tally)
            .field("quarantined", &self.cut.quarantined)
            .finish()
    }
}

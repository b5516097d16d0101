//! Building a runtime.

use crate::model::clock::Clock;
use crate::model::clock::SystemClock;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::incident::Incident;
use crate::model::label::LabelSet;
use crate::model::limits;
use crate::model::name::RecorderId;
use crate::model::pattern::NamePattern;
use crate::model::policy::OverflowPolicy;
use crate::recorder::builder::check_capacity;
use crate::recorder::builder::check_limit;
use crate::recorder::factory::HookFactory;
use crate::recorder::factory::NewRecorder;
use crate::recorder::factory::RecorderHooks;
use crate::recorder::journal::Listeners;
use crate::recorder::shapes::MetricShape;
use crate::runtime::MetricsRuntime;
use crate::runtime::collection::vitals::OWN_KEYS;
use std::sync::Arc;

/// Collects the settings of a runtime; `build` checks them.
///
/// # Examples
///
/// ```
/// use mvx_metrics::ErrorKind;
/// use mvx_metrics::MetricsRuntime;
///
/// let runtime = MetricsRuntime::builder("docs").default_capacity(1_000).build()?;
/// assert_eq!(runtime.namespace(), "docs");
///
/// let error = MetricsRuntime::builder("docs").default_capacity(0).build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidLimit);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct RuntimeBuilder {
    namespace: String,
    pub(crate) capacity: u32,
    pub(crate) policy: OverflowPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hooks: HookFactory,
    pub(crate) listeners: Listeners,
    pub(crate) exported_cardinality: u32,
    pub(crate) recorder_limit: u32,
    given_labels: Vec<(String, String)>,
    given_shapes: Vec<(String, MetricShape)>,
    /// The views of metrics given, once `build` has checked them.
    pub(crate) shapes: Vec<(NamePattern, MetricShape)>,
    /// The labels given, once `build` has checked them.
    pub(crate) constant_labels: LabelSet,
}

impl RuntimeBuilder {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            capacity: limits::DEFAULT_CAPACITY,
            policy: OverflowPolicy::default(),
            clock: Arc::new(SystemClock::new()),
            hooks: HookFactory::default(),
            listeners: Listeners::default(),
            exported_cardinality: limits::DEFAULT_EXPORTED_CARDINALITY,
            recorder_limit: limits::DEFAULT_RECORDERS,
            given_labels: Vec::new(),
            given_shapes: Vec::new(),
            shapes: Vec::new(),
            constant_labels: LabelSet::empty(),
        }
    }

    /// Pending events of a recorder whose own builder names no capacity; from 1 to
    /// [`MAX_CAPACITY`](crate::limits::MAX_CAPACITY).
    pub fn default_capacity(mut self, events: u32) -> Self {
        self.capacity = events;
        self
    }

    /// The policy of a recorder whose own builder names none.
    pub fn default_overflow(mut self, policy: OverflowPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How many series of one metric are exported over all recorders, from 1 to [`MAX_CARDINALITY`](crate::limits::MAX_CARDINALITY);
    /// [`DEFAULT_EXPORTED_CARDINALITY`](crate::limits::DEFAULT_EXPORTED_CARDINALITY) unless said. Further series share one overflow
    /// series, and totals stay right. See [`RuntimeSnapshot::cardinality`](crate::RuntimeSnapshot::cardinality).
    pub fn exported_cardinality(mut self, series: u32) -> Self {
        self.exported_cardinality = series;
        self
    }

    /// How many recorders the runtime has at a time, from 1 to [`MAX_RECORDERS`](crate::limits::MAX_RECORDERS);
    /// [`DEFAULT_RECORDERS`](crate::limits::DEFAULT_RECORDERS) unless said. Those whose removal is under way are among them, so memory has a bound
    /// also where threads make and drop recorders faster than the worker can settle them.
    ///
    /// One more is refused by `create` with [`ErrorKind::LimitReached`], and counted in `mvx.recorders.refused`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::ErrorKind;
    /// use mvx_metrics::prelude::*;
    ///
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").recorder_limit(1).build()?;
    /// let storage = runtime.recorder::<Saved>("storage").create()?;
    /// let error = runtime.recorder::<Saved>("archive").create().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::LimitReached);
    /// # drop(storage);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recorder_limit(mut self, recorders: u32) -> Self {
        self.recorder_limit = recorders;
        self
    }

    /// A label that every exporter shows with every series of the runtime: those of its recorders, groups and sources, and its own
    /// (`mvx.*`). For what is true of the whole process, such as a region or a version; it costs no event and no recorder anything.
    ///
    /// `build` refuses a key that is none, is reserved or is given twice. From then on a recorder with a constant label of this key, and a
    /// metric with a label of this key, are refused with [`ErrorKind::MetricConflict`]. A [view](crate::View) does not replace it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{ErrorKind, Fold, prelude::*};
    ///
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").constant_label("region", "eu").build()?;
    /// runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
    /// let snapshot = runtime.collect();
    /// let families = snapshot.families(Fold::Recorder);
    /// let labels: Vec<_> = families[0].parts()[0].labels().collect();
    /// assert_eq!(labels, [("recorder", "storage"), ("region", "eu")]);
    ///
    /// let own = runtime.recorder::<Saved>("other").counter("reads", |c| c.label("region", |_| "us".into()));
    /// assert_eq!(own.create().unwrap_err().kind(), ErrorKind::MetricConflict);
    /// # Ok(())
    /// # }
    /// ```
    pub fn constant_label(mut self, key: &str, value: &str) -> Self {
        self.given_labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Gives metrics of this name, or of names that begin so (`document.*`), another shape than their definition says: other bounds, another
    /// cardinality limit. For an application whose libraries bring metrics along.
    ///
    /// It is for every metric that a recorder of the runtime has or gets; of several views that are for a metric, the first counts. A metric of
    /// one's own stays as it is unless it has a [`reshape`](crate::Metric::reshape), and so does what a source gives. Names, labels and buckets of one
    /// exporter are a [`View`](crate::View)'s.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{MetricSet, MetricShape, prelude::*};
    ///
    /// struct Saved { bytes: u64 }
    /// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    ///
    /// /// In a library.
    /// fn storage_metrics() -> MetricSet<Saved> {
    ///     MetricSet::<Saved>::new().histogram("storage.bytes", |h| h.unit(Unit::Bytes).value(|e| Some(e.bytes)))
    /// }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs")
    ///     .metric_view("storage.*", MetricShape::new().bounds(&[1e3, 1e6]).cardinality(100))
    ///     .build()?;
    /// let recorder = runtime.recorder::<Saved>("storage").metrics(storage_metrics()).create()?;
    /// let [bytes] = &recorder.describe_metrics()[..] else { unreachable!() };
    /// assert_eq!((bytes.bounds(), bytes.cardinality()), (&[1e3, 1e6][..], 100));
    /// # Ok(())
    /// # }
    /// ```
    pub fn metric_view(mut self, metrics: &str, shape: MetricShape) -> Self {
        self.given_shapes.push((metrics.to_owned(), shape));
        self
    }

    /// Where the runtime's time comes from.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Gives every recorder of the runtime hooks, whatever its events are: `factory` is asked for them at each creation.
    ///
    /// It runs on the thread that creates the recorder, and should be quick. If it panics, the creation fails with
    /// [`ErrorKind::HookFailed`]. A recorder that is given an observer has its events dispatched one by one, which costs the worker more;
    /// [`RecorderHooks::none`] costs nothing. The last factory given counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::RecorderHooks;
    /// use mvx_metrics::prelude::*;
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// struct Saved;
    /// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let (sender, changes) = mpsc::channel();
    /// let runtime = MetricsRuntime::builder("docs")
    ///     .recorder_hooks(move |recorder| {
    ///         if recorder.id().as_str().starts_with("scratch") {
    ///             return RecorderHooks::none();
    ///         }
    ///         let sender = sender.clone();
    ///         RecorderHooks::none().on_metric_changed(move |change| {
    ///             let _ = sender.send(format!("{} {} {}", change.recorder(), change.metric_name(), change.sequence()));
    ///         })
    ///     })
    ///     .build()?;
    /// runtime.start()?;
    /// for id in ["scratch", "storage"] {
    ///     let recorder = runtime.recorder::<Saved>(id).counter("document.saves", |c| c).create()?;
    ///     recorder.register_event(Saved);
    ///     recorder.flush_blocking(Duration::from_secs(5))?;
    /// }
    /// assert_eq!(changes.try_iter().collect::<Vec<_>>(), ["storage document.saves 1"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recorder_hooks(
        mut self,
        factory: impl Fn(&NewRecorder<'_>) -> RecorderHooks + Send + Sync + 'static,
    ) -> Self {
        self.hooks = HookFactory::new(factory);
        self
    }

    /// Tells `handler` of every incident that is a [`Severity::Warn`](crate::Severity::Warn) or worse: failures, quarantines, refused
    /// operations, and the beginning and end of a loss of events. Every handler given is told, with or without the feature `log`.
    ///
    /// It runs where the incident happens, often on the worker: it should be quick, and hand slow work to somebody else. It
    /// never runs on the hand-off path of events. Calls that wait fail in it with [`ErrorKind::WouldDeadlock`], and incidents that
    /// it causes itself are told to nobody. A panic in it is caught, and counted in
    /// [`handler_panics`](MetricsRuntime::handler_panics).
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// # struct Divided { by: u64 } impl MetricEvent for Divided { fn event_type(&self) -> &'static str { "divided" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let (sender, incidents) = mpsc::channel();
    /// let runtime = MetricsRuntime::builder("docs")
    ///     .on_error(move |incident| drop(sender.send(incident.to_string())))
    ///     .build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder("sums").counter("shares", |c| c.value(|e: &Divided| Some(60 / e.by))).create()?;
    /// recorder.register_event(Divided { by: 0 });
    /// recorder.flush_blocking(Duration::from_secs(5))?;
    /// assert_eq!(
    ///     incidents.recv().expect("a panic is told"),
    ///     "recorder sums of docs: metric shares panicked and is quarantined: attempt to divide by zero"
    /// );
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_error(mut self, handler: impl Fn(&Incident) + Send + Sync + 'static) -> Self {
        self.listeners.listen(handler);
        self
    }

    /// The runtime, not started. Starts no thread.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidId`] for a blank namespace (it names the threads), [`ErrorKind::InvalidLimit`] for a default
    /// capacity, an exported cardinality or a number of recorders out of range, and for more constant labels than [`MAX_LABELS`](crate::limits::MAX_LABELS);
    /// [`ErrorKind::InvalidName`] and [`ErrorKind::InvalidLimit`] for a view of metrics that none could match or follow;
    /// [`ErrorKind::InvalidName`] for the key of a constant label, and [`ErrorKind::MetricConflict`] if it is one of the runtime's own metrics.
    pub fn build(mut self) -> Result<MetricsRuntime, Error> {
        let namespace = RecorderId::new(&self.namespace).map_err(|cause| {
            let message = "the runtime's namespace is blank or not writable; name the runtime after your application, as in \"shop\"";
            Error::new(ErrorKind::InvalidId, message).with_source(cause)
        })?;
        check_capacity(self.capacity)?;
        let (recorders, series) = (self.recorder_limit, self.exported_cardinality);
        check_limit(format_args!("a limit of {recorders} recorders"), recorders, limits::MAX_RECORDERS)?;
        check_limit(format_args!("an exported cardinality of {series}"), series, limits::MAX_CARDINALITY)?;
        let given = self.given_labels.iter().map(|(key, value)| (key.as_str(), value));
        self.constant_labels = LabelSet::new(given)?;
        if let Some((key, _)) = self.constant_labels.iter().find(|(key, _)| OWN_KEYS.contains(key)) {
            let message = format!(
                "`{key}` is a label of the runtime's own metrics; give the constant label another key"
            );
            return Err(Error::new(ErrorKind::MetricConflict, message));
        }
        let shapes = self.given_shapes.iter().map(|(pattern, shape)| {
            shape.check()?;
            Ok((NamePattern::new(pattern)?, shape.clone()))
        });
        self.shapes = shapes.collect::<Result<_, Error>>()?;
        Ok(MetricsRuntime::new(namespace, self))
    }
}

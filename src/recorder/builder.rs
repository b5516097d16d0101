//! Building a recorder, in a runtime or without one.

use crate::metric::Average;
use crate::metric::AverageBuilder;
use crate::metric::Counter;
use crate::metric::CounterBuilder;
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
use crate::model::accounts::Accounts;
use crate::model::clock::Clock;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::incident::IncidentKind;
use crate::model::label::LabelSet;
use crate::model::limits;
use crate::model::name::RecorderId;
use crate::model::policy::OverflowPolicy;
use crate::queue::Kind;
use crate::queue::ready::Node;
use crate::recorder::catalogue::Owner;
use crate::recorder::core::Core;
use crate::recorder::core::CoreNode;
use crate::recorder::factory::NewRecorder;
use crate::recorder::factory::RecorderHooks;
use crate::recorder::handle::Recorder;
use crate::recorder::hooks::Hooks;
use crate::recorder::hosted::Hosted;
use crate::recorder::hub::Hub;
use crate::recorder::identity::Epoch;
use crate::recorder::identity::Identity;
use crate::recorder::journal::LoggedFrom;
use crate::recorder::metric_set::MetricSet;
use crate::recorder::observers::Change;
use crate::recorder::observers::ObserverFn;
use crate::recorder::operation::Operation;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Collects what a recorder measures; `create` checks it and enters it in the runtime.
///
/// The event type is fixed before any closure is written, so closures over the event need no type annotations.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// struct Saved { ok: bool, elapsed: Duration }
/// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime
///     .recorder::<Saved>("storage")
///     .counter("document.saves", |c| c.label("ok", |e| e.ok.into()))
///     .histogram("document.save.duration", |h| h.unit(Unit::Seconds).value(|e| Some(e.elapsed)))
///     .create()?;
/// recorder.register_event(Saved { ok: true, elapsed: Duration::from_millis(3) });
/// recorder.flush_blocking(Duration::from_secs(5))?;
/// assert_eq!(recorder.snapshot().counter("document.saves", &[("ok", "true")]), Some(1));
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `create`"]
pub struct RecorderBuilder<E: MetricEvent, H = InRuntime> {
    pub(crate) home: H,
    id: String,
    entity: Option<String>,
    constant_labels: Vec<(String, String)>,
    group: Option<String>,
    capacity: u32,
    policy: OverflowPolicy,
    metrics: MetricSet<E>,
    observers: Vec<ObserverFn<E>>,
    hooks: Hooks,
    /// The runtime's own setting, if there is none here.
    pub(crate) logged_from: Option<LoggedFrom>,
}

/// Where a recorder is made: what it needs to know of its surroundings.
pub(crate) trait Home {
    fn hub(&self) -> &Arc<Hub>;
    fn clock(&self) -> &Arc<dyn Clock>;
    /// What a new recorder gets beside its own hooks. Runs the user's code.
    fn hooks_for(&self, recorder: &NewRecorder<'_>) -> Result<RecorderHooks, Error>;
    /// A new life's number, and when its first could have begun.
    fn next_epoch(&self) -> Epoch;
}

/// The home of a recorder that lives in a runtime.
#[derive(Clone)]
pub struct InRuntime {
    pub(crate) home: Arc<dyn Host>,
}

/// A home that keeps a registry.
pub(crate) trait Host: Home + Send + Sync {
    fn enter(&self, recorder: Arc<dyn Hosted>) -> Result<(), Error>;

    /// Stops and removes this very recorder; blocks until it is settled, or given up after `timeout`.
    fn remove(&self, recorder: &Arc<dyn Hosted>, timeout: Duration) -> Result<Accounts, Error>;

    /// The same without blocking, and without giving up.
    fn begin_removal(self: Arc<Self>, recorder: Arc<dyn Hosted>) -> Operation<Accounts>;
}

impl<E: MetricEvent, H> RecorderBuilder<E, H> {
    pub(crate) fn new(home: H, id: &str, capacity: u32, policy: OverflowPolicy) -> Self {
        Self {
            home,
            id: id.to_owned(),
            entity: None,
            constant_labels: Vec::new(),
            group: None,
            capacity,
            policy,
            metrics: MetricSet::new(),
            observers: Vec::new(),
            hooks: Hooks::none(),
            logged_from: None,
        }
    }

    /// The entity that the recorder measures, if it is to be called otherwise than the recorder's id.
    pub fn entity(mut self, entity: &str) -> Self {
        self.entity = Some(entity.to_owned());
        self
    }

    /// The group with whose recorders this one is exported as one, under the label `group`.
    ///
    /// Recorders that name none are one group: those of one metric are added up whatever their ids are. See
    /// [`Fold::Group`](crate::Fold::Group). The name is any text without control characters; up to
    /// [`MAX_GROUPS`](crate::limits::MAX_GROUPS) can be named in a runtime, so a group is no place for ids of users.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::{Fold, prelude::*};
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.recorder::<Saved>("disk-1").group("disks").counter("document.saves", |c| c).create()?;
    /// runtime.recorder::<Saved>("disk-2").group("disks").counter("document.saves", |c| c).create()?;
    /// let snapshot = runtime.collect();
    /// let families = snapshot.families(Fold::Group);
    /// assert_eq!(families[0].parts().len(), 1);
    /// assert_eq!(families[0].parts()[0].scope().labels().next(), Some(("group", "disks")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn group(mut self, name: &str) -> Self {
        self.group = Some(name.to_owned());
        self
    }

    /// A label that an exporter shows with every series of the recorder, such as a region. It is kept once, and costs no event anything.
    ///
    /// `create` refuses a key that is none, is reserved, is given twice or is that of a metric's own label or of a constant label of the
    /// [runtime](crate::RuntimeBuilder::constant_label). In a group, whose series
    /// may come from several recorders, it does not show.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::{Fold, prelude::*};
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let recorder = runtime
    ///     .recorder::<Saved>("storage")
    ///     .constant_label("region", "eu")
    ///     .counter("document.saves", |c| c)
    ///     .create()?;
    /// assert_eq!(recorder.snapshot().constant_labels().get("region"), Some("eu"));
    /// let snapshot = runtime.collect();
    /// let families = snapshot.families(Fold::Recorder);
    /// let labels: Vec<_> = families[0].parts()[0].scope().labels().collect();
    /// assert_eq!(labels, [("recorder", "storage"), ("region", "eu")]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn constant_label(mut self, key: &str, value: &str) -> Self {
        self.constant_labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// How many events may be pending, from 1 to [`MAX_CAPACITY`](crate::limits::MAX_CAPACITY). Costs no memory until used.
    pub fn capacity(mut self, events: u32) -> Self {
        self.capacity = events;
        self
    }

    /// What a full recorder does with one event more.
    pub fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Adds a counter: a sum that only rises.
    pub fn counter(self, name: &str, define: impl FnOnce(CounterBuilder<E>) -> CounterBuilder<E>) -> Self {
        self.add(define(Counter::builder(name)).build())
    }

    /// Adds a gauge: the last value.
    pub fn gauge(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self {
        self.add(define(Gauge::builder(name)).build())
    }

    /// Adds a gauge that keeps the smallest value ever observed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # use std::time::Duration;
    /// # struct Read(f64); impl MetricEvent for Read { fn event_type(&self) -> &'static str { "read" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime
    ///     .recorder::<Read>("room")
    ///     .min("room.coldest", |m| m.unit(Unit::Celsius).value(|Read(heat)| Some(*heat)))
    ///     .max("room.hottest", |m| m.unit(Unit::Celsius).value(|Read(heat)| Some(*heat)))
    ///     .last("room.now", |m| m.unit(Unit::Celsius).value(|Read(heat)| Some(*heat)))
    ///     .create()?;
    /// assert_eq!(recorder.snapshot().gauge("room.coldest", &[]), None); // nothing was observed: no 0
    /// for heat in [21.5, -3.0, 24.0, 20.0] {
    ///     recorder.register_event(Read(heat));
    /// }
    /// let snapshot = recorder.flush_and_snapshot(Duration::from_secs(5))?;
    /// let shown = ["room.coldest", "room.hottest", "room.now"].map(|name| snapshot.gauge(name, &[]));
    /// assert_eq!(shown, [Some(-3.0), Some(24.0), Some(20.0)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn min(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self {
        self.add(define(Extreme::min(name)).build())
    }

    /// Adds a gauge that keeps the largest value ever observed.
    pub fn max(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self {
        self.add(define(Extreme::max(name)).build())
    }

    /// Adds a gauge that, where recorders are folded, shows the value of the one which published last.
    pub fn last(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self {
        self.add(define(Gauge::last(name)).build())
    }

    /// Adds an up-down counter: a sum that rises and falls.
    pub fn up_down(self, name: &str, define: impl FnOnce(UpDownBuilder<E>) -> UpDownBuilder<E>) -> Self {
        self.add(define(UpDown::builder(name)).build())
    }

    /// Adds a histogram with explicit buckets.
    pub fn histogram(
        self,
        name: &str,
        define: impl FnOnce(HistogramBuilder<E>) -> HistogramBuilder<E>,
    ) -> Self {
        self.add(define(Histogram::builder(name)).build())
    }

    /// Adds a histogram whose buckets grow exponentially and fit themselves to what is observed.
    pub fn exponential_histogram(
        self,
        name: &str,
        define: impl FnOnce(ExponentialHistogramBuilder<E>) -> ExponentialHistogramBuilder<E>,
    ) -> Self {
        self.add(define(ExponentialHistogram::builder(name)).build())
    }

    /// Adds a running average.
    pub fn average(self, name: &str, define: impl FnOnce(AverageBuilder<E>) -> AverageBuilder<E>) -> Self {
        self.add(define(Average::builder(name)).build())
    }

    /// Adds a summary: quantiles of everything that was observed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # use std::time::Duration;
    /// # struct Served(Duration); impl MetricEvent for Served { fn event_type(&self) -> &'static str { "served" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime
    ///     .recorder::<Served>("api")
    ///     .summary("request.duration", |s| s.unit(Unit::Seconds).value(|Served(took)| Some(*took)))
    ///     .windowed_summary("request.duration.recent", |s| {
    ///         s.unit(Unit::Seconds).window(Duration::from_secs(300)).value(|Served(took)| Some(*took))
    ///     })
    ///     .create()?;
    /// for millis in 1..=1_000 {
    ///     recorder.register_event(Served(Duration::from_millis(millis)));
    /// }
    /// let snapshot = recorder.flush_and_snapshot(Duration::from_secs(5))?;
    /// let p99 = snapshot.summary("request.duration", &[]).and_then(|summary| summary.quantile(0.99)).unwrap();
    /// assert!((p99 - 0.990).abs() <= 0.005 * 0.990);
    /// let now = snapshot.at(runtime.now());
    /// assert_eq!(now.summary("request.duration.recent", &[]).map(|recent| recent.count()), Some(1_000));
    /// # Ok(())
    /// # }
    /// ```
    pub fn summary(self, name: &str, define: impl FnOnce(SummaryBuilder<E>) -> SummaryBuilder<E>) -> Self {
        self.add(define(Summary::builder(name)).build())
    }

    /// Adds a summary of what was observed within the last seconds.
    pub fn windowed_summary(
        self,
        name: &str,
        define: impl FnOnce(WindowedSummaryBuilder<E>) -> WindowedSummaryBuilder<E>,
    ) -> Self {
        self.add(define(WindowedSummary::builder(name)).build())
    }

    /// Adds a rate: how much comes in a second, over a window.
    pub fn rate(self, name: &str, define: impl FnOnce(RateMeterBuilder<E>) -> RateMeterBuilder<E>) -> Self {
        self.add(define(RateMeter::builder(name)).build())
    }

    /// Adds a heartbeat: the seconds since the last event.
    pub fn heartbeat(
        self,
        name: &str,
        define: impl FnOnce(HeartbeatBuilder<E>) -> HeartbeatBuilder<E>,
    ) -> Self {
        self.add(define(Heartbeat::builder(name)).build())
    }

    /// Adds an info: texts that describe something.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # use std::time::Duration;
    /// # struct Moved(&'static str); impl MetricEvent for Moved { fn event_type(&self) -> &'static str { "moved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime
    ///     .recorder::<Moved>("valve")
    ///     .info("valve", |i| i.constant("model", "V2"))
    ///     .state_set("valve.position", &["open", "closed"], |s| s.state(|Moved(to)| Some(*to)))
    ///     .create()?;
    /// recorder.register_event(Moved("open"));
    /// let snapshot = recorder.flush_and_snapshot(Duration::from_secs(5))?;
    /// assert_eq!(snapshot.info("valve").and_then(|labels| labels.get("model")), Some("V2"));
    /// assert_eq!(snapshot.states("valve.position", &[]).and_then(|states| states.is_on("open")), Some(true));
    /// # Ok(())
    /// # }
    /// ```
    pub fn info(self, name: &str, define: impl FnOnce(InfoBuilder<E>) -> InfoBuilder<E>) -> Self {
        self.add(define(Info::builder(name)).build())
    }

    /// Adds a state set: in which of these states something is.
    pub fn state_set(
        self,
        name: &str,
        states: &[&str],
        define: impl FnOnce(StateSetBuilder<E>) -> StateSetBuilder<E>,
    ) -> Self {
        self.add(define(StateSet::builder(name, states)).build())
    }

    /// Adds a metric of one's own.
    pub fn metric(self, metric: impl Metric<E>) -> Self {
        self.add(Ok(metric))
    }

    /// Adds every metric of a set, such as a library ships. Others may be added before and after it; see [`MetricSet`].
    pub fn metrics(mut self, set: MetricSet<E>) -> Self {
        self.metrics.absorb(set);
        self
    }

    /// Tells `observer` of every change; see [`Recorder::on_metric_changed`].
    pub fn on_metric_changed(mut self, observer: impl FnMut(&Change<'_, E>) + Send + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Runs `hook` before the first event is dispatched, at each start: events are accepted meanwhile, and wait.
    ///
    /// If it fails, panics or is not over by its deadline, the recorder is `Failed`: what was accepted is counted as
    /// `dropped.start_failed`, later events are refused as `rejected.failed`, the stop hook runs, and `start` may be tried again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// use mvx_metrics::ErrorKind;
    /// use std::time::Duration;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let mut attempts = 0;
    /// let recorder = runtime
    ///     .recorder::<Saved>("storage")
    ///     .counter("document.saves", |c| c)
    ///     .on_starting(move || {
    ///         attempts += 1;
    ///         let first = attempts == 1;
    ///         async move { if first { Err("no connection".into()) } else { Ok(()) } }
    ///     })
    ///     .create()?;
    /// let error = recorder.start().wait(Duration::from_secs(5)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::HookFailed);
    /// recorder.start().wait(Duration::from_secs(5))?;
    /// recorder.register_event(Saved);
    /// assert_eq!(recorder.flush_and_snapshot(Duration::from_secs(5))?.counter("document.saves", &[]), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_starting<F, R>(mut self, mut hook: F) -> Self
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.hooks.on_starting = Some(Box::new(move || Box::pin(hook())));
        self
    }

    /// Runs `hook` after the last event was dispatched, at each stop, and after a failed start.
    ///
    /// If it fails, the recorder is `Failed` and the stop ends in its error; nothing is lost by that.
    pub fn on_stopped<F, R>(mut self, mut hook: F) -> Self
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.hooks.on_stopped = Some(Box::new(move || Box::pin(hook())));
        self
    }

    /// How long each hook may take; [`HOOK_DEADLINE`](crate::limits::HOOK_DEADLINE) if this is not called.
    pub fn hook_deadline(mut self, deadline: Duration) -> Self {
        self.hooks.deadline = Some(deadline);
        self
    }

    fn add<M: Metric<E>>(mut self, metric: Result<M, Error>) -> Self {
        self.metrics.add(metric);
        self
    }

    /// The recorder itself, declared in the catalogue together with what `enter` does with it.
    pub(crate) fn assemble(
        self,
        home: &(impl Home + ?Sized),
        enter: impl FnOnce(&Arc<CoreNode<E>>) -> Result<(), Error>,
    ) -> Result<Arc<CoreNode<E>>, Error> {
        let mut slots = self.metrics.into_slots()?;
        if let Some(shapes) = home.hub().shapes.get() {
            slots.iter_mut().for_each(|slot| slot.reshape(shapes));
        }
        let id = RecorderId::new(&self.id)?;
        check_capacity(self.capacity)?;
        if home.hub().is_forked() {
            return Err(Error::forked());
        }
        let entity = match self.entity {
            Some(entity) if entity != self.id => Some(RecorderId::new(&entity)?.shared()),
            _ => None,
        };
        let group = self.group.map(|name| home.hub().groups.name(&name)).transpose()?;
        let constant = self.constant_labels.iter().map(|(key, value)| (key.as_str(), value));
        let constant_labels = LabelSet::new(constant)?;
        if constant_labels != LabelSet::empty() {
            home.hub().catalogue.check_constant(&constant_labels)?;
        }
        let epoch = home.next_epoch();
        let identity = Arc::new(Identity::new(id, epoch, (entity, group), constant_labels));
        slots.iter().try_for_each(|slot| identity.check_labels(slot.descriptor()))?;
        for slot in &mut slots {
            if let Some(known) = home.hub().catalogue.known(slot.descriptor()) {
                slot.share(known);
            }
        }
        let descriptors: Vec<_> = slots.iter().map(|slot| Arc::clone(slot.descriptor())).collect();
        let kind = match self.policy {
            OverflowPolicy::DropNewest => Kind::Ring,
            OverflowPolicy::DropOldest => Kind::LockedOldest,
        };
        let given = home.hooks_for(&NewRecorder::of::<E>(&identity))?;
        let (observers, hooks) = given.with_own(&identity, self.observers, self.hooks);
        let metrics = (slots, observers, hooks);
        let hub = Arc::clone(home.hub());
        hub.keep_time(home.clock());
        let now = home.clock().now();
        let capacity = u64::from(self.capacity);
        let logged_from = self.logged_from.unwrap_or_else(|| hub.journal.logged_from());
        let core = Core::new(Arc::clone(&identity), hub, kind, capacity, metrics, now, logged_from);
        let node = Arc::new(Node::new(core));
        home.hub().catalogue.declare(&Owner::Recorder(identity.id.clone()), &descriptors, || enter(&node))?;
        Ok(node)
    }
}

impl<E: MetricEvent> RecorderBuilder<E> {
    /// The recorder, entered in its runtime until it is removed there; for one that goes with its owner, see
    /// [`create_owned`](Self::create_owned). Takes no part of the worker's time and waits for nobody.
    ///
    /// # Errors
    ///
    /// The first mistake of the definition; otherwise [`InvalidId`](crate::ErrorKind::InvalidId),
    /// [`InvalidLimit`](crate::ErrorKind::InvalidLimit), [`AlreadyExists`](crate::ErrorKind::AlreadyExists),
    /// [`MetricConflict`](crate::ErrorKind::MetricConflict) with a metric of another recorder, or
    /// [`InvalidState`](crate::ErrorKind::InvalidState) when the runtime is shutting down. Nothing is entered then.
    pub fn create(self) -> Result<Recorder<E>, Error> {
        let host = Arc::clone(&self.home.home);
        let journal = &host.hub().journal;
        let logged_from = self.logged_from.unwrap_or_else(|| journal.logged_from());
        let id = RecorderId::new(&self.id).ok();
        let created = self.assemble(&*host, |node| host.enter(Arc::clone(node) as _));
        let incident = match &created {
            Ok(_) => IncidentKind::RecorderCreated,
            Err(error) => IncidentKind::CreateRefused { error: error.clone() },
        };
        journal.note(id.as_ref(), logged_from, incident);
        created.map(Recorder::new)
    }
}

pub(crate) fn check_capacity(capacity: u32) -> Result<(), Error> {
    check_limit(format_args!("capacity {capacity}"), capacity, limits::MAX_CAPACITY)
}

/// Refuses a limit that somebody sets, unless it is from 1 to `most`.
pub(crate) fn check_limit(what: fmt::Arguments<'_>, given: u32, most: u32) -> Result<(), Error> {
    if (1..=most).contains(&given) {
        return Ok(());
    }
    let message = format!("{what} is out of range; give a number from 1 to {most}");
    Err(Error::new(ErrorKind::InvalidLimit, message))
}

impl fmt::Debug for InRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InRuntime").finish_non_exhaustive()
    }
}

impl<E: MetricEvent, H> fmt::Debug for RecorderBuilder<E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderBuilder")
            .field("id", &self.id)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

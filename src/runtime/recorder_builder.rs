//! Building a recorder.

use crate::metric::Average;
use crate::metric::AverageBuilder;
use crate::metric::Counter;
use crate::metric::CounterBuilder;
use crate::metric::Gauge;
use crate::metric::GaugeBuilder;
use crate::metric::Histogram;
use crate::metric::HistogramBuilder;
use crate::metric::Metric;
use crate::metric::UpDown;
use crate::metric::UpDownBuilder;
use crate::model::error::Error;
use crate::model::event::MetricEvent;
use crate::model::name::RecorderId;
use crate::model::policy::OverflowPolicy;
use crate::queue::Kind;
use crate::queue::ready::Node;
use crate::recorder::core::Core;
use crate::recorder::dispatch::Slot;
use crate::recorder::handle::Recorder;
use crate::recorder::identity::Epoch;
use crate::recorder::identity::Identity;
use crate::runtime::Inner;
use crate::runtime::builder::check_capacity;
use std::fmt;
use std::sync::Arc;

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
pub struct RecorderBuilder<E: MetricEvent> {
    runtime: Arc<Inner>,
    id: String,
    entity: Option<String>,
    capacity: u32,
    policy: OverflowPolicy,
    slots: Vec<Slot<E>>,
    /// The first mistake; reported by `create`, where it can be handled.
    mistake: Option<Error>,
}

impl<E: MetricEvent> RecorderBuilder<E> {
    pub(crate) fn new(runtime: Arc<Inner>, id: &str) -> Self {
        let (capacity, policy) = (runtime.settings.capacity, runtime.settings.policy);
        Self { runtime, id: id.to_owned(), entity: None, capacity, policy, slots: Vec::new(), mistake: None }
    }

    /// The entity that the recorder measures, if it is to be called otherwise than the recorder's id.
    pub fn entity(mut self, entity: &str) -> Self {
        self.entity = Some(entity.to_owned());
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

    /// Adds an up-down counter: a sum that rises and falls.
    pub fn up_down(self, name: &str, define: impl FnOnce(UpDownBuilder<E>) -> UpDownBuilder<E>) -> Self {
        self.add(define(UpDown::builder(name)).build())
    }

    /// Adds a histogram with explicit buckets.
    pub fn histogram(self, name: &str, define: impl FnOnce(HistogramBuilder<E>) -> HistogramBuilder<E>) -> Self {
        self.add(define(Histogram::builder(name)).build())
    }

    /// Adds a running average.
    pub fn average(self, name: &str, define: impl FnOnce(AverageBuilder<E>) -> AverageBuilder<E>) -> Self {
        self.add(define(Average::builder(name)).build())
    }

    /// Adds a metric of one's own.
    pub fn metric(self, metric: impl Metric<E>) -> Self {
        self.add(Ok(metric))
    }

    fn add<M: Metric<E>>(mut self, metric: Result<M, Error>) -> Self {
        match metric.and_then(Slot::new) {
            Ok(slot) => self.place(slot),
            Err(error) => self.note(error),
        }
        self
    }

    /// A name declared again with the same shape is the same metric: the first definition stays.
    fn place(&mut self, slot: Slot<E>) {
        let name = slot.descriptor().name();
        match self.slots.iter().find(|present| present.descriptor().name() == name) {
            None => self.slots.push(slot),
            Some(present) => {
                if let Some(error) = crate::recorder::catalogue::conflict_within(present.descriptor(), slot.descriptor()) {
                    self.note(error);
                }
            }
        }
    }

    fn note(&mut self, error: Error) {
        self.mistake.get_or_insert(error);
    }

    /// The recorder, entered in its runtime. Takes no part of the worker's time and waits for nobody.
    ///
    /// # Errors
    ///
    /// The first mistake of the definition; otherwise [`InvalidId`](crate::ErrorKind::InvalidId),
    /// [`InvalidLimit`](crate::ErrorKind::InvalidLimit), [`AlreadyExists`](crate::ErrorKind::AlreadyExists),
    /// [`MetricConflict`](crate::ErrorKind::MetricConflict) with a metric of another recorder, or
    /// [`InvalidState`](crate::ErrorKind::InvalidState) when the runtime is shutting down. Nothing is entered then.
    pub fn create(self) -> Result<Recorder<E>, Error> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let id = RecorderId::new(&self.id)?;
        check_capacity(self.capacity)?;
        let entity = match self.entity {
            Some(entity) => RecorderId::new(&entity)?.as_str().into(),
            None => id.as_str().into(),
        };
        let runtime = &self.runtime;
        let epoch = Epoch { process_start: runtime.built_at, incarnation: runtime.next_incarnation() };
        let identity = Arc::new(Identity { id, entity, epoch });
        let descriptors: Vec<_> = self.slots.iter().map(|slot| Arc::clone(slot.descriptor())).collect();
        let kind = match self.policy {
            OverflowPolicy::DropNewest => Kind::Ring,
            OverflowPolicy::DropOldest => Kind::LockedOldest,
        };
        let now = runtime.settings.clock.now();
        let hub = Arc::clone(&runtime.control.hub);
        let core = Core::new(Arc::clone(&identity), hub, kind, u64::from(self.capacity), self.slots, now);
        let node = Arc::new(Node::new(core));
        let enter = || runtime.registry.enter(Arc::clone(&node) as _);
        runtime.control.hub.catalogue.declare(&identity.id, &descriptors, enter)?;
        Ok(Recorder::new(node))
    }
}

impl<E: MetricEvent> fmt::Debug for RecorderBuilder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderBuilder")
            .field("id", &self.id)
            .field("metrics", &self.slots.len())
            .field("mistake", &self.mistake)
            .finish_non_exhaustive()
    }
}

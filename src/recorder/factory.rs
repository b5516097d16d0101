//! Hooks that a runtime gives to its recorders, whatever their events are.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use crate::model::snapshot::Family;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::recorder::hooks::BoxError;
use crate::recorder::hooks::HookFn;
use crate::recorder::hooks::HookFuture;
use crate::recorder::hooks::Hooks;
use crate::recorder::identity::Identity;
use crate::recorder::observers::Change;
use crate::recorder::observers::ObserverFn;
use crate::recorder::observers::ObserverId;
use crate::recorder::observers::Observers;
use crate::sync::Exclusive;
use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::future::poll_fn;
use std::future::ready;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A recorder that is being created, as [`RuntimeBuilder::recorder_hooks`](crate::RuntimeBuilder::recorder_hooks) sees it.
#[derive(Clone, Copy)]
pub struct NewRecorder<'a> {
    identity: &'a Identity,
    event: TypeId,
    event_name: &'static str,
}

impl<'a> NewRecorder<'a> {
    pub(crate) fn of<E: MetricEvent>(identity: &'a Identity) -> Self {
        Self { identity, event: TypeId::of::<E>(), event_name: std::any::type_name::<E>() }
    }

    /// Its id.
    pub fn id(&self) -> &'a RecorderId {
        &self.identity.id
    }

    /// The entity it measures.
    pub fn entity(&self) -> &'a str {
        self.identity.entity()
    }

    /// Whether it takes events of type `E`.
    pub fn takes<E: MetricEvent>(&self) -> bool {
        self.event == TypeId::of::<E>()
    }

    /// The type of its events as Rust names it: for people, not to be relied on.
    pub fn event_type_name(&self) -> &'static str {
        self.event_name
    }
}

impl fmt::Debug for NewRecorder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecorder").field("id", self.id()).field("event", &self.event_name).finish()
    }
}

/// One metric of some recorder has accepted one event: a [`Change`] whose event type is not known.
pub struct RecorderChange<'a> {
    identity: &'a Identity,
    change: &'a dyn Erased,
}

impl RecorderChange<'_> {
    /// The id of the recorder.
    pub fn recorder(&self) -> &RecorderId {
        &self.identity.id
    }

    /// The entity that the recorder measures.
    pub fn entity(&self) -> &str {
        self.identity.entity()
    }

    /// The name of the metric that changed.
    pub fn metric_name(&self) -> &MetricName {
        self.change.metric_name()
    }

    /// The type of the event it accepted, as the event says it.
    pub fn event_type(&self) -> &'static str {
        self.change.event_type()
    }

    /// The number of the event among all that the recorder dispatched, from 1.
    pub fn sequence(&self) -> u64 {
        self.change.sequence()
    }

    /// The metric's state after the event, written out by this call: costs what the metric's size costs.
    pub fn family(&self) -> Family {
        self.change.family()
    }
}

impl fmt::Debug for RecorderChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderChange")
            .field("recorder", self.recorder())
            .field("metric", self.metric_name())
            .field("sequence", &self.sequence())
            .finish()
    }
}

/// A change without its event type.
trait Erased {
    fn metric_name(&self) -> &MetricName;
    fn event_type(&self) -> &'static str;
    fn sequence(&self) -> u64;
    fn family(&self) -> Family;
}

impl<E: MetricEvent> Erased for Change<'_, E> {
    fn metric_name(&self) -> &MetricName {
        self.metric_name()
    }

    fn event_type(&self) -> &'static str {
        self.event().event_type()
    }

    fn sequence(&self) -> u64 {
        self.sequence()
    }

    fn family(&self) -> Family {
        self.family()
    }
}

type ErasedObserver = Box<dyn FnMut(&RecorderChange<'_>) + Send>;

/// What one recorder gets from its runtime, beside what its own builder gives it; see
/// [`RuntimeBuilder::recorder_hooks`](crate::RuntimeBuilder::recorder_hooks).
///
/// At a start the runtime's hook runs before the recorder's own, which is left out if the first fails; at a stop it runs after it, even
/// if that has failed or panicked, and the first error is the stop's. The deadline is for both together: if the first uses it up, the
/// second does not run.
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
/// let (sender, lives) = mpsc::channel();
/// let runtime = MetricsRuntime::builder("docs")
///     .recorder_hooks(move |recorder| {
///         if !recorder.takes::<Saved>() {
///             return RecorderHooks::none();
///         }
///         let (id, starts, stops) = (recorder.id().clone(), sender.clone(), sender.clone());
///         let tell = move |to: &mpsc::Sender<String>, what| drop(to.send(format!("{id} {what}")));
///         let tell_stop = tell.clone();
///         RecorderHooks::none()
///             .on_starting(move || { tell(&starts, "starts"); async { Ok(()) } })
///             .on_stopped(move || { tell_stop(&stops, "stopped"); async { Ok(()) } })
///     })
///     .build()?;
/// runtime.start()?;
/// runtime.recorder::<Saved>("storage").create()?.register_event(Saved);
/// runtime.shutdown(Duration::from_secs(5))?;
/// assert_eq!(lives.try_iter().collect::<Vec<_>>(), ["storage starts", "storage stopped"]);
/// # Ok(())
/// # }
/// ```
#[must_use = "hooks do nothing until the factory returns them"]
pub struct RecorderHooks {
    observers: Vec<ErasedObserver>,
    hooks: Hooks,
}

impl RecorderHooks {
    /// No hooks: the recorder is as its own builder makes it, and costs nothing more.
    pub fn none() -> Self {
        Self { observers: Vec::new(), hooks: Hooks::none() }
    }

    /// Tells `observer` of every change; see [`Recorder::on_metric_changed`](crate::Recorder::on_metric_changed).
    ///
    /// It is told before the recorder's own observers. If it panics, it is quarantined in this recorder alone, until a restart.
    pub fn on_metric_changed(mut self, observer: impl FnMut(&RecorderChange<'_>) + Send + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Runs `hook` before the first event is dispatched, at each start; see
    /// [`RecorderBuilder::on_starting`](crate::RecorderBuilder::on_starting). The last one given counts.
    pub fn on_starting<F, R>(mut self, mut hook: F) -> Self
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.hooks.on_starting = Some(Box::new(move || Box::pin(hook())));
        self
    }

    /// Runs `hook` after the last event was dispatched, at each stop, and after a failed start. The last one given counts.
    pub fn on_stopped<F, R>(mut self, mut hook: F) -> Self
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.hooks.on_stopped = Some(Box::new(move || Box::pin(hook())));
        self
    }

    /// How long the hooks of a start or a stop may take, if the recorder's own builder does not say.
    pub fn hook_deadline(mut self, deadline: Duration) -> Self {
        self.hooks.deadline = Some(deadline);
        self
    }

    /// These together with what the recorder's own builder has given it.
    pub(crate) fn with_own<E: MetricEvent>(
        self,
        identity: &Arc<Identity>,
        own: Vec<ObserverFn<E>>,
        own_hooks: Hooks,
    ) -> (Observers<E>, Hooks) {
        let mut observers = Observers::new();
        let given = self.observers.into_iter().map(|observer| typed(Arc::clone(identity), observer));
        for (number, observer) in (0..).zip(given.chain(own)) {
            observers.add(ObserverId(number * 2), observer);
        }
        let hooks = Hooks {
            on_starting: in_turn(self.hooks.on_starting, own_hooks.on_starting, false),
            on_stopped: in_turn(own_hooks.on_stopped, self.hooks.on_stopped, true),
            deadline: own_hooks.deadline.or(self.hooks.deadline),
        };
        (observers, hooks)
    }
}

impl fmt::Debug for RecorderHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderHooks")
            .field("observers", &self.observers.len())
            .field("on_starting", &self.hooks.on_starting.is_some())
            .field("on_stopped", &self.hooks.on_stopped.is_some())
            .finish()
    }
}

type Factory = Arc<dyn Fn(&NewRecorder<'_>) -> RecorderHooks + Send + Sync>;

/// The user's code that gives each new recorder its hooks; there may be none.
#[derive(Clone, Default)]
pub(crate) struct HookFactory(Option<Factory>);

impl HookFactory {
    pub(crate) fn new(factory: impl Fn(&NewRecorder<'_>) -> RecorderHooks + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(factory)))
    }

    pub(crate) fn make(&self, recorder: &NewRecorder<'_>) -> Result<RecorderHooks, Error> {
        let Some(factory) = &self.0 else { return Ok(RecorderHooks::none()) };
        call_user(|| factory(recorder)).map_err(|payload| {
            drop_quietly(payload);
            let message = format!(
                "the runtime's `recorder_hooks` panicked over recorder {}; mend it, and create the recorder again",
                recorder.id()
            );
            Error::new(ErrorKind::HookFailed, message)
        })
    }
}

impl fmt::Debug for HookFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "HookFactory(..)" } else { "HookFactory(none)" })
    }
}

fn typed<E: MetricEvent>(identity: Arc<Identity>, mut observer: ErasedObserver) -> ObserverFn<E> {
    Box::new(move |change| observer(&RecorderChange { identity: &identity, change }))
}

/// One hook that runs both, the second after the end of the first: always, or if the first has succeeded.
fn in_turn(first: Option<HookFn>, second: Option<HookFn>, always: bool) -> Option<HookFn> {
    let (mut first, second) = match (first, second) {
        (Some(first), Some(second)) => (first, Arc::new(Exclusive::new(second))),
        (one, other) => return one.or(other),
    };
    Some(Box::new(move || {
        let (one, second) = (guarded(&mut first), Arc::clone(&second));
        Box::pin(async move {
            let result = one.await;
            if result.is_err() && !always {
                return result;
            }
            // Made only now: what the closure does before its future is part of its turn. The claim is the user's code's alone.
            let made: Option<HookFuture> = second.claim().map(|mut second| guarded(&mut second));
            let other = match made {
                Some(other) => other.await,
                None => Err(BoxError::from("its last run is not over")),
            };
            result.and(other)
        })
    }))
}

/// Runs a hook with its panics made errors, so that the one after it runs all the same.
fn guarded(hook: &mut HookFn) -> HookFuture {
    let panicked = |payload| {
        drop_quietly(payload);
        Err(BoxError::from("it panicked"))
    };
    match call_user(hook) {
        Ok(mut future) => Box::pin(poll_fn(move |context| {
            call_user(|| future.as_mut().poll(context))
                .unwrap_or_else(|payload| Poll::Ready(panicked(payload)))
        })),
        Err(payload) => Box::pin(ready(panicked(payload))),
    }
}

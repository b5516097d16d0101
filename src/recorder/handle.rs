//! The handle: what production code holds.

use crate::model::accounts::Accounts;
use crate::model::clock::Clock;
use crate::model::error::Error;
use crate::model::event::EventSink;
use crate::model::event::MetricEvent;
use crate::model::name::RecorderId;
use crate::queue::Handed;
use crate::queue::drop_quietly;
use crate::queue::ring::Refused;
use crate::recorder::core::Asks;
use crate::recorder::core::CoreNode;
use crate::recorder::detached::Keeper;
use crate::recorder::hosted::Hosted;
use crate::recorder::mailbox::Command;
use crate::recorder::observers::Change;
use crate::recorder::observers::ObserverId;
use crate::recorder::operation::Operation;
use crate::recorder::state::RecorderState;
use crate::recorder::view::Snapshot;
use crate::sync::own_thread;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// The handle of a recorder: takes events from any thread, and shows what they came to.
///
/// `Clone` gives another handle to the same recorder, for one increment. Handles keep a recorder usable; whether it is
/// registered is its runtime's business. A handle may outlive the runtime: events are then refused and counted, reads go on.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// enum StorageEvent {
///     Saved { bytes: u64 },
/// }
///
/// impl MetricEvent for StorageEvent {
///     fn event_type(&self) -> &'static str { "storage.saved" }
/// }
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime
///     .recorder::<StorageEvent>("storage")
///     .counter("storage.bytes", |c| c.unit(Unit::Bytes).value(|StorageEvent::Saved { bytes }| Some(*bytes)))
///     .create()?;
/// recorder.register_event(StorageEvent::Saved { bytes: 512 });
/// recorder.flush_blocking(Duration::from_secs(5))?;
/// assert_eq!(recorder.snapshot().counter("storage.bytes", &[]), Some(512));
/// # Ok(())
/// # }
/// ```
pub struct Recorder<E: MetricEvent> {
    pub(super) node: Arc<CoreNode<E>>,
    /// Of a recorder without a runtime: tells its task of the last handle's end.
    keeper: Option<Arc<Keeper>>,
}

/// An event that was not taken, given back.
///
/// # Examples
///
/// ```
/// # use mvx_metrics::prelude::*;
/// use mvx_metrics::RegisterError;
/// # struct Saved(u32); impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?; // not started: nobody drains
/// let recorder = runtime.recorder::<Saved>("storage").capacity(1).create()?;
/// recorder.register_event(Saved(1));
/// match recorder.try_register_event(Saved(2)) {
///     Err(RegisterError::Full(Saved(number))) => assert_eq!(number, 2),
///     other => unreachable!("{other:?}"),
/// }
/// assert_eq!(recorder.accounts().rejected.full, 1);
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub enum RegisterError<E> {
    /// As many events as the capacity were pending. Retry later, or let it go: it is counted.
    Full(E),
    /// The recorder is stopping or stopped, or its runtime is gone.
    Closed(E),
    /// The recorder has failed.
    Failed(E),
    /// There was no room, and waiting for it on one of the runtime's own threads would be waiting for itself.
    OnWorker(E),
    /// This process was forked off: the worker is its parent's.
    Forked(E),
}

impl<E> RegisterError<E> {
    /// The event.
    pub fn into_event(self) -> E {
        match self {
            Self::Full(event)
            | Self::Closed(event)
            | Self::Failed(event)
            | Self::OnWorker(event)
            | Self::Forked(event) => event,
        }
    }

    const fn phrase(&self) -> &'static str {
        match self {
            Self::Full(_) => "the recorder is full",
            Self::Closed(_) => "the recorder is closed",
            Self::Failed(_) => "the recorder has failed",
            Self::OnWorker(_) => "waiting for room here would be waiting for itself",
            Self::Forked(_) => "this process was forked off, and the recorder's worker is its parent's",
        }
    }
}

impl<E> fmt::Debug for RegisterError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
            Self::Failed(_) => "Failed(..)",
            Self::OnWorker(_) => "OnWorker(..)",
            Self::Forked(_) => "Forked(..)",
        })
    }
}

impl<E> fmt::Display for RegisterError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phrase())
    }
}

impl<E> std::error::Error for RegisterError<E> {}

impl<E: MetricEvent> Recorder<E> {
    pub(crate) fn new(node: Arc<CoreNode<E>>) -> Self {
        Self { node, keeper: None }
    }

    /// What tests look into.
    #[cfg(all(test, not(mvx_loom)))]
    pub(crate) fn node(&self) -> &Arc<CoreNode<E>> {
        &self.node
    }

    pub(crate) fn kept(node: Arc<CoreNode<E>>, keeper: Arc<Keeper>) -> Self {
        Self { node, keeper: Some(keeper) }
    }

    /// Hands an event over: synchronous, from any thread, inside or outside any async runtime, also from a metric.
    ///
    /// It never blocks and never panics, and it allocates nothing within the queue's high-water mark (growing allocates at most one
    /// block). At the limit the recorder's [`OverflowPolicy`](crate::OverflowPolicy) decides, and the loss is counted.
    #[inline(always)]
    pub fn register_event(&self, event: E) {
        match self.node.queue.push(event) {
            Ok(Handed::Done) => {}
            Ok(Handed::Schedule) => self.node.schedule(Handed::Schedule),
            Err((refused, event)) => self.lose(refused, event),
        }
    }

    /// Hands an event over, or gives it back.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] with the event inside; it is counted as rejected.
    #[inline]
    pub fn try_register_event(&self, event: E) -> Result<(), RegisterError<E>> {
        match self.node.queue.push(event) {
            Ok(handed) => {
                self.node.schedule(handed);
                Ok(())
            }
            Err((refused, event)) => Err(self.give_back(refused, event)),
        }
    }

    /// Hands an event over, and waits for room if there is none: back-pressure for async callers, on any executor.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Closed`] or [`RegisterError::Failed`] if the recorder takes no events (any more), and
    /// [`RegisterError::OnWorker`] if there is no room and this is polled on one of the runtime's own threads;
    /// [`RegisterError::Full`] if [`MAX_WAITING`](crate::limits::MAX_WAITING) producers wait already. Counted as rejected.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready drops the event with it: it was not offered, and is in no account.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").capacity(1).create()?;
    /// for _ in 0..100 {
    ///     recorder.register_event_async(Saved).await.expect("open");
    /// }
    /// assert_eq!(recorder.accounts().accepted, 100);
    /// assert_eq!(recorder.accounts().rejected.full, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn register_event_async(&self, event: E) -> Result<(), RegisterError<E>> {
        let mut event = event;
        loop {
            match self.node.queue.push(event) {
                Ok(handed) => {
                    self.node.schedule(handed);
                    return Ok(());
                }
                Err((Refused::Full, back)) if own_thread::is_own() => return Err(self.on_worker(back)),
                Err((Refused::Full, back)) => event = back,
                Err((refused, back)) => return Err(self.give_back(refused, back)),
            }
            if self.node.room().await.is_err() {
                // Nobody makes room any more: the door says why, and is shut by then.
                return self.try_register_event(event);
            }
        }
    }

    /// Hands an event over, and blocks until there is room, at most `timeout`: back-pressure for plain threads.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Full`] when the time is over; otherwise as [`register_event_async`](Self::register_event_async).
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// use mvx_metrics::RegisterError;
    /// use std::time::Duration;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?; // not started: nobody makes room
    /// let recorder = runtime.recorder::<Saved>("storage").capacity(1).create()?;
    /// assert!(recorder.register_event_blocking(Saved, Duration::from_secs(1)).is_ok());
    /// let full = recorder.register_event_blocking(Saved, Duration::from_millis(1));
    /// assert!(matches!(full, Err(RegisterError::Full(Saved))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_event_blocking(&self, event: E, timeout: Duration) -> Result<(), RegisterError<E>> {
        let deadline = Instant::now().checked_add(timeout);
        let mut event = event;
        loop {
            match self.node.queue.push(event) {
                Ok(handed) => {
                    self.node.schedule(handed);
                    return Ok(());
                }
                Err((Refused::Full, back)) if own_thread::is_own() => return Err(self.on_worker(back)),
                Err((Refused::Full, back)) => event = back,
                Err((refused, back)) => return Err(self.give_back(refused, back)),
            }
            let left =
                deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() || self.node.room().wait(left).is_err() {
                return self.try_register_event(event);
            }
        }
    }

    #[cold]
    fn on_worker(&self, event: E) -> RegisterError<E> {
        self.node.count_refusal(Refused::Full, 1);
        RegisterError::OnWorker(event)
    }

    /// Hands over as many events from the front of `events` as there is room for, with one reservation, and says how many.
    ///
    /// What stays in the vector was refused, and is counted as rejected; under `DropOldest` nothing stays while the recorder
    /// is open.
    pub fn register_events(&self, events: &mut Vec<E>) -> usize {
        let (count, handed, refused) = self.node.queue.push_many(events);
        self.node.schedule(handed);
        if let Some(refused) = refused {
            self.node.count_refusal(refused, events.len() as u64);
        }
        count
    }

    #[cold]
    #[inline(never)]
    fn lose(&self, refused: Refused, event: E) {
        self.node.count_refusal(refused, 1);
        drop_quietly(event);
    }

    #[cold]
    #[inline(never)]
    fn give_back(&self, refused: Refused, event: E) -> RegisterError<E> {
        self.node.count_refusal(refused, 1);
        match refused {
            Refused::Full => RegisterError::Full(event),
            Refused::Closed if self.node.queue.is_forked() => RegisterError::Forked(event),
            Refused::Closed if self.state() == RecorderState::Failed => RegisterError::Failed(event),
            Refused::Closed => RegisterError::Closed(event),
        }
    }

    /// The last published state, and the accounts as they are now. Lock-free; works in every state.
    #[inline]
    pub fn snapshot(&self) -> Snapshot {
        self.node.snapshot()
    }

    /// Where every event offered so far has ended. A few atomic reads; right in every state, after stop and shutdown too.
    pub fn accounts(&self) -> Accounts {
        self.node.accounts()
    }

    /// Makes everything accepted before this call visible: the operation ends when it is processed (or counted as dropped) and
    /// the published cut includes it.
    ///
    /// The future has no timer of its own; dropping it loses nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldDeadlock`](crate::ErrorKind::WouldDeadlock) on one of the runtime's own threads;
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) if events are pending and the runtime was never started;
    /// [`ErrorKind::WorkerLost`](crate::ErrorKind::WorkerLost) if the worker ended with events pending (the error says how many);
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if [`MAX_WAITING`](crate::limits::MAX_WAITING) flushes of other
    /// events are waited for already.
    pub fn flush(&self) -> Operation {
        self.node.flush()
    }

    /// [`flush`](Self::flush) for plain threads: blocks until it is done, at most `timeout`.
    ///
    /// # Errors
    ///
    /// As `flush`; and [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), with the number of events pending then.
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), Error> {
        self.flush().wait(timeout)
    }

    /// Flushes, then takes a snapshot: what a test of a running program asks for.
    ///
    /// # Errors
    ///
    /// As [`flush_blocking`](Self::flush_blocking).
    pub fn flush_and_snapshot(&self, timeout: Duration) -> Result<Snapshot, Error> {
        self.flush_blocking(timeout)?;
        Ok(self.snapshot())
    }

    /// Tells `observer` of every change from the next event on: on the worker, after each accepted event, in order.
    ///
    /// An observer that panics is quarantined: it is not called again until it is [reinstated](Self::reinstate_observer) or the
    /// recorder is started again; see [`Snapshot::quarantined_observers`]. While a recorder has observers, its
    /// events are dispatched one by one instead of in batches, which costs the worker more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
    /// let (sender, changes) = mpsc::channel();
    /// let (id, added) = recorder.on_metric_changed(move |change| {
    ///     let count = change.family().find(&[]).and_then(|series| series.value().counter());
    ///     let _ = sender.send((change.metric_name().to_string(), count));
    /// });
    /// added.wait(Duration::from_secs(5))?;
    /// recorder.register_event(Saved);
    /// recorder.register_event(Saved);
    /// recorder.flush_blocking(Duration::from_secs(5))?;
    /// recorder.remove_observer(id).wait(Duration::from_secs(5))?;
    /// recorder.register_event(Saved);
    /// recorder.flush_blocking(Duration::from_secs(5))?;
    /// let name = String::from("document.saves");
    /// assert_eq!(changes.iter().collect::<Vec<_>>(), [(name.clone(), Some(1)), (name, Some(2))]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_metric_changed(
        &self,
        observer: impl FnMut(&Change<'_, E>) + Send + 'static,
    ) -> (ObserverId, Operation) {
        let id = self.node.next_observer_id();
        let (operation, done) = Operation::new(None);
        if let Err(command) = self.node.post(Command::Observe { id, observer: Box::new(observer), done }) {
            self.node.answer_unheard(command);
        }
        (id, operation)
    }

    /// Stops telling an observer; it may be told of events up to the end of the operation, and not after.
    ///
    /// The removal does not wait for events that were accepted before it: flush first, if the observer is to see them.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it was removed before or has panicked; in
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if [`MAX_COMMANDS`](crate::limits::MAX_COMMANDS) changes wait.
    pub fn remove_observer(&self, id: ObserverId) -> Operation {
        let (operation, done) = Operation::new(None);
        if let Err(command) = self.node.post(Command::Unobserve { id, done }) {
            self.node.answer_unheard(command);
        }
        operation
    }

    /// Shuts the door; the operation ends when everything accepted is settled, and the state is `Stopped`.
    ///
    /// Events offered from now on are refused and counted as `rejected.closed`. Stopping a stopped recorder succeeds,
    /// and so does stopping one that has seen no event: that one stays `Created`, and open.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::HookFailed`](crate::ErrorKind::HookFailed) if the stop hook failed. It ends in
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if [`MAX_WAITING`](crate::limits::MAX_WAITING) stops are waited
    /// for already: the recorder stops all the same.
    pub fn stop(&self) -> Operation {
        let (operation, done) = Operation::new(None);
        self.node.stop_if_begun(done);
        operation
    }

    /// Opens the door, again if the recorder was stopped; metrics and accounts are kept.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) if the recorder was removed, its
    /// runtime is gone, or events of it were given up at a deadline. It ends in
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if [`MAX_WAITING`](crate::limits::MAX_WAITING) starts are waited
    /// for already: the recorder starts all the same.
    pub fn start(&self) -> Operation {
        let (operation, done) = Operation::new(None);
        self.node.start_with(done);
        operation
    }

    /// The recorder's state.
    pub fn state(&self) -> RecorderState {
        self.node.state()
    }

    /// Why the recorder last failed to start or stop, if it ever did.
    pub fn last_error(&self) -> Option<Error> {
        self.node.last_error()
    }

    /// The recorder's id.
    pub fn id(&self) -> &RecorderId {
        &self.node.identity().id
    }

    /// Whose time it is where the recorder lives.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.node.hub.clock()
    }

    /// The entity that the recorder measures.
    pub fn entity(&self) -> &str {
        self.node.identity().entity()
    }

    /// How many events may be pending.
    pub fn capacity(&self) -> u64 {
        self.node.queue.capacity()
    }

    /// Bytes that the queue of waiting events has allocated: nothing before the first event, and nothing again soon after the last.
    pub fn queue_bytes(&self) -> usize {
        self.node.queue.heap_bytes()
    }

    /// A sink for events of another type, each turned into this recorder's type and handed over.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// struct CacheHit;
    /// impl MetricEvent for CacheHit { fn event_type(&self) -> &'static str { "cache.hit" } }
    ///
    /// enum AppEvent { Cache(CacheHit) }
    /// impl MetricEvent for AppEvent { fn event_type(&self) -> &'static str { "app.cache" } }
    /// impl From<CacheHit> for AppEvent { fn from(hit: CacheHit) -> Self { Self::Cache(hit) } }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let app = runtime.recorder::<AppEvent>("app").counter("app.events", |c| c).create()?;
    /// let cache = app.adapt::<CacheHit>();
    /// cache.register_event(CacheHit);
    /// app.flush_blocking(Duration::from_secs(5))?;
    /// assert_eq!(app.snapshot().counter("app.events", &[]), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn adapt<O: MetricEvent>(&self) -> Adapter<E, O>
    where
        E: From<O>,
    {
        Adapter { recorder: self.clone(), from: PhantomData }
    }
}

impl<E: MetricEvent> Clone for Recorder<E> {
    fn clone(&self) -> Self {
        Self { node: Arc::clone(&self.node), keeper: self.keeper.clone() }
    }
}

impl<E: MetricEvent> fmt::Debug for Recorder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("id", self.id())
            .field("state", &self.state())
            .field("accounts", &self.accounts())
            .finish()
    }
}

impl<E: MetricEvent> EventSink<E> for Recorder<E> {
    #[inline]
    fn register_event(&self, event: E) {
        Self::register_event(self, event);
    }
}

/// A sink for `O` in front of a recorder of `E`; see [`Recorder::adapt`]. `Clone` gives another handle to the same recorder.
pub struct Adapter<E: MetricEvent, O> {
    recorder: Recorder<E>,
    from: PhantomData<fn(O)>,
}

impl<E: MetricEvent + From<O>, O: MetricEvent> EventSink<O> for Adapter<E, O> {
    #[inline]
    fn register_event(&self, event: O) {
        self.recorder.register_event(E::from(event));
    }
}

impl<E: MetricEvent, O> Clone for Adapter<E, O> {
    fn clone(&self) -> Self {
        Self { recorder: self.recorder.clone(), from: PhantomData }
    }
}

impl<E: MetricEvent, O> fmt::Debug for Adapter<E, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").field("recorder", &self.recorder).finish()
    }
}

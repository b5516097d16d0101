//! The runtime: owns the worker thread, the registry of recorders, start and shutdown.

pub(crate) mod builder;
pub(crate) mod collection;
pub(crate) mod followers;
mod hooks;
mod joint;
pub(crate) mod life;
pub(crate) mod liveness;
#[cfg(feature = "log")]
mod log;
pub(crate) mod memory;
pub(crate) mod reader;
mod registry;
mod removal;
pub(crate) mod report;
mod roster;
pub(crate) mod shutdown;
#[cfg(feature = "signals")]
mod signals;
mod telling;
#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests;
mod thread;
pub(crate) mod worker;

use crate::model::accounts::Accounts;
use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::incident::IncidentKind;
use crate::model::limits;
use crate::model::name::RecorderId;
use crate::recorder::builder::Home;
use crate::recorder::builder::Host;
use crate::recorder::builder::InRuntime;
use crate::recorder::builder::RecorderBuilder;
use crate::recorder::catalogue::CatalogueEntry;
use crate::recorder::core::CoreNode;
use crate::recorder::dynamic::DynamicSetBuilder;
use crate::recorder::factory::NewRecorder;
use crate::recorder::factory::RecorderHooks;
use crate::recorder::handle::Recorder;
use crate::recorder::hosted::Hosted;
use crate::recorder::hub::Hub;
use crate::recorder::identity::Epoch;
use crate::recorder::journal::Journal;
use crate::recorder::journal::Untold;
use crate::recorder::operation::Operation;
use crate::recorder::shapes::Shapes;
use crate::recorder::view::Snapshot;
use crate::runtime::builder::RuntimeBuilder;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::servers::Servers;
use crate::runtime::collection::source::Sources;
use crate::runtime::followers::ExporterStatus;
use crate::runtime::followers::Followers;
use crate::runtime::life::Life;
use crate::runtime::liveness::Liveness;
use crate::runtime::registry::Registry;
use crate::runtime::registry::not_found;
use crate::runtime::report::ShutdownReport;
use crate::runtime::worker::Control;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// A metrics runtime: a dedicated thread that hosts recorders.
///
/// One for an application, or for a large part of it; many recorders in it. `Clone` gives another handle to the same runtime.
/// Dropping the last handle begins a shutdown and returns at once; only [`shutdown`](Self::shutdown) promises that what was
/// accepted is processed.
///
/// A child process that was forked off has no worker: there, recorders refuse events as `rejected.forked`, calls that would wait
/// fail with [`ErrorKind::Forked`], reads go on, and drops do nothing. It may build a runtime of its own.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::RuntimeState;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// assert_eq!(runtime.state(), RuntimeState::Created);
/// runtime.start()?;
/// assert_eq!(runtime.state(), RuntimeState::Running);
/// assert!(runtime.shutdown(Duration::from_secs(5))?.is_complete());
/// assert_eq!(runtime.state(), RuntimeState::Closed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle of a runtime begins its shutdown"]
pub struct MetricsRuntime {
    inner: Arc<Inner>,
    /// Shared by the user's handles alone: the worker and the recorders do not keep a runtime alive.
    _last: Arc<LastHandle>,
}

/// Where a runtime is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RuntimeState {
    /// Built. Recorders can be created; their events wait for the start.
    Created,
    /// The worker is being started.
    Starting,
    /// The worker runs.
    Running,
    /// A shutdown is under way: recorders drain, and no more are created.
    Stopping,
    /// Final: everything is settled.
    Closed,
    /// The worker could not be started, or was lost. A failed start can be tried again.
    Failed,
}

impl RuntimeState {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Closed => "Closed",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for RuntimeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the handles, the worker and the watchdog share.
pub(crate) struct Inner {
    pub(crate) namespace: RecorderId,
    pub(crate) settings: RuntimeBuilder,
    pub(crate) built_at: Timestamp,
    pub(crate) control: Arc<Control>,
    pub(crate) registry: Registry,
    pub(crate) sources: Sources,
    pub(crate) servers: Servers,
    pub(crate) followers: Followers,
    incarnations: AtomicU64,
    pub(crate) life: Mutex<Life>,
}

impl Home for Inner {
    fn hub(&self) -> &Arc<Hub> {
        &self.control.hub
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.settings.clock
    }

    fn hooks_for(&self, recorder: &NewRecorder<'_>) -> Result<RecorderHooks, Error> {
        self.settings.hooks.make(recorder)
    }

    fn next_epoch(&self) -> Epoch {
        let incarnation = self.incarnations.fetch_add(1, Ordering::Relaxed) + 1;
        Epoch { process_start: self.built_at, incarnation }
    }
}

impl Inner {
    pub(crate) fn collect(&self) -> RuntimeSnapshot {
        RuntimeSnapshot::take(self)
    }

    fn state(&self) -> RuntimeState {
        if self.control.hub.is_forked() { RuntimeState::Failed } else { self.life.lock().state }
    }

    fn accounts(&self) -> Accounts {
        let all = self.registry.all();
        all.iter().fold(Accounts::default(), |sum, recorder| sum.plus(recorder.accounts()))
    }
}

impl Host for Inner {
    fn enter(&self, recorder: Arc<dyn Hosted>) -> Result<(), Error> {
        self.registry.enter(recorder)
    }

    fn remove(&self, recorder: &Arc<dyn Hosted>, timeout: Duration) -> Result<Accounts, Error> {
        if self.control.hub.is_forked() {
            return Err(Error::forked());
        }
        self.registry.begin_removal_of(&**recorder)?;
        removal::finish(self, recorder, timeout)
    }

    fn begin_removal(self: Arc<Self>, recorder: Arc<dyn Hosted>) -> Operation<Accounts> {
        removal::begin(&self, recorder)
    }
}

impl Inner {
    /// Tells of an incident of this runtime.
    pub(crate) fn note(&self, kind: IncidentKind) {
        let journal = &self.control.hub.journal;
        journal.note(None, journal.logged_from(), kind);
    }

    pub(crate) fn tell_all(&self, incidents: Vec<Untold>) {
        incidents.into_iter().for_each(|incident| self.control.hub.journal.tell(incident));
    }

    /// The same, about a recorder that is not there to tell of it itself.
    pub(crate) fn note_of(&self, recorder: &RecorderId, kind: IncidentKind) {
        let journal = &self.control.hub.journal;
        journal.note(Some(recorder), journal.logged_from(), kind);
    }
}

/// Dropped with the last handle.
struct LastHandle {
    inner: Arc<Inner>,
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        // The operation goes on by itself; nobody waits for it.
        drop(shutdown::begin(&self.inner, limits::DROP_DEADLINE));
    }
}

impl MetricsRuntime {
    /// A builder for a runtime; `namespace` names its threads.
    pub fn builder(namespace: &str) -> RuntimeBuilder {
        RuntimeBuilder::new(namespace)
    }

    pub(crate) fn new(namespace: RecorderId, settings: RuntimeBuilder) -> Self {
        let journal = Journal::new(Some(namespace.clone()), settings.listeners.clone());
        let control = Arc::new(Control::new(journal));
        control.hub.groups.limit_series(settings.exported_cardinality);
        control.hub.catalogue.take_keys_of(settings.constant_labels.clone());
        if !settings.shapes.is_empty() {
            let _ = control.hub.shapes.set(Shapes::new(settings.shapes.clone()));
        }
        let registry = Registry::new(settings.recorder_limit as usize);
        let inner = Arc::new(Inner {
            namespace,
            built_at: settings.clock.now(),
            settings,
            control,
            registry,
            sources: Sources::default(),
            servers: Servers::default(),
            followers: Followers::default(),
            incarnations: AtomicU64::new(0),
            life: Mutex::new(Life::new()),
        });
        Self { _last: Arc::new(LastHandle { inner: Arc::clone(&inner) }), inner }
    }

    /// What the test kit drives, and exporters follow.
    #[cfg(any(feature = "testing", feature = "export"))]
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Starts the worker, and waits until it has reported. Starting a running runtime succeeds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StartFailed`] with the cause if the thread or its loop cannot be made: it can be tried again.
    /// [`ErrorKind::InvalidState`] once a shutdown has begun.
    pub fn start(&self) -> Result<(), Error> {
        let starting = thread::start(&self.inner).inspect_err(|error| {
            self.inner.note(IncidentKind::RuntimeStartFailed { error: error.clone() })
        })?;
        starting.wait(limits::START_TIMEOUT)
    }

    /// The runtime's state; `Failed` in a process that was forked off, whose parent has the worker.
    pub fn state(&self) -> RuntimeState {
        self.inner.state()
    }

    /// Whether the worker lives, and what user code it is in: what to ask when nothing moves.
    ///
    /// Costs a look at each recorder. It waits for nobody, and works while user code holds the worker.
    pub fn liveness(&self) -> Liveness {
        liveness::look(&self.inner)
    }

    /// A handle for whoever reads this runtime when it is asked to, such as a server of `/metrics`: it does not keep the runtime alive.
    ///
    /// # Examples
    ///
    /// See [`RuntimeReader`](crate::RuntimeReader).
    pub fn reader(&self) -> reader::RuntimeReader {
        reader::RuntimeReader::new(&self.inner)
    }

    /// The namespace, as given to the builder (trimmed).
    pub fn namespace(&self) -> &str {
        self.inner.namespace.as_str()
    }

    /// Now, by the runtime's clock: the time at which to look at what changes by its passing; see [`Snapshot::at`](crate::Snapshot::at).
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let earlier = runtime.now();
    /// assert!(runtime.now() >= earlier);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn now(&self) -> Timestamp {
        self.inner.settings.clock.now()
    }

    /// A builder for a recorder of events of type `E`. Ids are trimmed; a blank one is refused by `create`.
    pub fn recorder<E: MetricEvent>(&self, id: &str) -> RecorderBuilder<E> {
        let settings = &self.inner.settings;
        let home = InRuntime { home: Arc::clone(&self.inner) as Arc<dyn Host> };
        RecorderBuilder::new(home, id, settings.capacity, settings.policy)
    }

    /// A builder for a [`DynamicSet`](crate::DynamicSet): a recorder of metrics whose names are known only at run time.
    pub fn dynamic_set(&self, id: &str) -> DynamicSetBuilder {
        DynamicSetBuilder::new(self.recorder(id))
    }

    /// The recorder of this id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`]; [`ErrorKind::WrongEventType`] if it takes other events; [`ErrorKind::InvalidId`].
    pub fn get<E: MetricEvent>(&self, id: &str) -> Result<Recorder<E>, Error> {
        let id = RecorderId::new(id)?;
        let found = self.find(&id);
        found?.ok_or_else(|| not_found(&id))
    }

    /// The recorder of this id, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongEventType`] if it takes other events; [`ErrorKind::InvalidId`].
    pub fn try_get<E: MetricEvent>(&self, id: &str) -> Result<Option<Recorder<E>>, Error> {
        let id = RecorderId::new(id)?;
        self.find(&id)
    }

    fn find<E: MetricEvent>(&self, id: &RecorderId) -> Result<Option<Recorder<E>>, Error> {
        let entered = self.inner.registry.find(id);
        let typed = entered.clone().map(|recorder| typed(id, recorder)).transpose();
        let incident = IncidentKind::RecorderLookedUp { found: matches!(typed, Ok(Some(_))) };
        match entered {
            Some(recorder) => recorder.note(incident),
            None => self.inner.note_of(id, incident),
        }
        typed
    }

    /// How often an error handler or a subscriber of the feature `log` panicked over an incident. They are called again all the same.
    pub fn handler_panics(&self) -> u64 {
        self.inner.control.hub.journal.panics()
    }

    /// How long the worker waits from one publication pass to the next while something changes.
    ///
    /// [`PUBLISH_INTERVAL`](crate::limits::PUBLISH_INTERVAL) at least, and as long as keeps publication to a tenth of the worker's time:
    /// it stretches with the state that changes. While there are events in hand a pass may be later by [`PUBLISH_LATEST`](crate::limits::PUBLISH_LATEST),
    /// so that a burst is shown as a whole. A flush publishes at once, whatever the interval.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::limits;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// assert_eq!(runtime.publication_interval(), limits::PUBLISH_INTERVAL);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn publication_interval(&self) -> Duration {
        self.inner.control.publication_interval()
    }

    /// The ids of all recorders, in the order of creation.
    pub fn recorder_ids(&self) -> Vec<RecorderId> {
        let recorders = self.inner.registry.all();
        self.inner.note(IncidentKind::RecordersListed { recorders: recorders.len() });
        recorders.iter().map(|recorder| recorder.identity().id.clone()).collect()
    }

    /// A snapshot of every recorder, in the order of creation. Each is consistent in itself; they are taken one after another.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.inner.registry.all().iter().map(|recorder| recorder.snapshot()).collect()
    }

    /// The state of the whole runtime as exporters read it. Lock-free for the recorders, never visits the worker, works in every state; costs
    /// a few nanoseconds for each recorder and the sorting of their list.
    pub fn collect(&self) -> RuntimeSnapshot {
        self.inner.collect()
    }

    /// Every metric that a recorder or a source has ever declared, by name. What a name means does not change while the runtime lives, so
    /// those of removed recorders are among them.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
    /// let catalogue = runtime.catalogue();
    /// assert_eq!(catalogue[0].descriptor.name().as_str(), "document.saves");
    /// assert_eq!(catalogue[0].owner, "recorder storage");
    /// let clash = runtime.recorder::<Saved>("other").gauge("document.saves.total", |g| g.value(|_| Some(1.0))).create();
    /// assert!(clash.unwrap_err().to_string().contains("of recorder other and metric document.saves of recorder storage"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn catalogue(&self) -> Vec<CatalogueEntry> {
        self.inner.control.hub.catalogue.list()
    }

    /// Handles of all recorders that take events of type `E`, in the order of creation.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # struct Sent; impl MetricEvent for Sent { fn event_type(&self) -> &'static str { "sent" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.recorder::<Saved>("storage").create()?;
    /// runtime.recorder::<Sent>("mail").create()?;
    /// runtime.recorder::<Saved>("archive").create()?;
    /// let ids: Vec<_> = runtime.recorders::<Saved>().iter().map(|recorder| recorder.id().to_string()).collect();
    /// assert_eq!(ids, ["storage", "archive"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recorders<E: MetricEvent>(&self) -> Vec<Recorder<E>> {
        let all = self.inner.registry.all().into_iter();
        all.filter_map(|recorder| recorder.into_any().downcast::<CoreNode<E>>().ok())
            .map(Recorder::new)
            .collect()
    }

    /// Makes everything that any recorder accepted before this call visible: the operation ends when all of it is processed (or
    /// counted as dropped) and shown by the published cuts. See [`Recorder::flush`].
    ///
    /// Recorders with nothing to show cost a look, and no visit of the worker.
    ///
    /// # Errors
    ///
    /// Those of the recorders' flushes, the first of them; all are waited for.
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
    /// let storage = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
    /// let archive = runtime.recorder::<Saved>("archive").counter("document.saves", |c| c).create()?;
    /// storage.register_event(Saved);
    /// archive.register_event(Saved);
    /// runtime.flush().await?;
    /// assert!([storage, archive].iter().all(|r| r.snapshot().counter("document.saves", &[]) == Some(1)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush(&self) -> Operation {
        if self.inner.control.hub.is_forked() {
            return Operation::done(Err(Error::forked()));
        }
        if crate::sync::own_thread::is_own() {
            return Operation::done(Err(crate::recorder::operation::would_deadlock()));
        }
        let flushes = self.inner.registry.all().into_iter().filter_map(Hosted::show).collect();
        let weak = Arc::downgrade(&self.inner);
        let pending = move || weak.upgrade().map_or(0, |inner| inner.accounts().pending());
        let (operation, done) = Operation::new(Some(Box::new(pending)));
        joint::all(flushes, done);
        operation
    }

    /// [`flush`](Self::flush) for plain threads: blocks until it is done, at most `timeout`.
    ///
    /// # Errors
    ///
    /// As `flush`; and [`ErrorKind::Timeout`], with the number of events pending in all recorders then.
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), Error> {
        self.flush().wait(timeout)
    }

    /// Flushes, and lets every exporter deliver what is published then, all at the same time, within `deadline`.
    ///
    /// Blocks until all have, at most `deadline`.
    ///
    /// # Errors
    ///
    /// As [`flush_blocking`](Self::flush_blocking), and nothing is delivered then. [`ErrorKind::ExportFailed`] with the first exporter that
    /// could not deliver, [`ErrorKind::Timeout`] if one was not over in time; the others have delivered.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use std::time::Duration;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// runtime.force_flush(Duration::from_secs(5))?; // at the end of a job, say; nobody exports here, so it is a flush
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn force_flush(&self, deadline: Duration) -> Result<(), Error> {
        let until = Instant::now().checked_add(deadline);
        self.flush_blocking(deadline)?;
        followers::flush(&self.inner, until)
    }

    /// How every exporter has done, in the order in which they were added; also after a shutdown.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// assert!(runtime.exporters().is_empty()); // none was added
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn exporters(&self) -> Vec<ExporterStatus> {
        self.inner.followers.statuses()
    }

    /// The sum of the accounts of all registered recorders.
    pub fn accounts(&self) -> Accounts {
        self.inner.accounts()
    }

    /// Stops the recorder of this id, and leaves it registered: [`Recorder::start`] starts it again. See [`Recorder::stop`].
    ///
    /// Blocks until everything accepted is settled, at most `timeout`; nothing is given up, the stop goes on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::InvalidId`]; [`ErrorKind::WouldDeadlock`] on one of the runtime's own threads, and
    /// [`ErrorKind::InvalidState`] if the runtime was never started (nothing has happened then); [`ErrorKind::Timeout`] with the
    /// number of events pending; [`ErrorKind::HookFailed`] when the stop hook failed: everything is settled then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// use mvx_metrics::RecorderState;
    /// use std::time::Duration;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").create()?;
    /// recorder.register_event(Saved);
    /// assert_eq!(runtime.stop("storage", Duration::from_secs(5))?.processed, 1);
    /// assert_eq!(recorder.state(), RecorderState::Stopped);
    /// recorder.start().wait(Duration::from_secs(5))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop(&self, id: &str, timeout: Duration) -> Result<Accounts, Error> {
        let id = RecorderId::new(id)?;
        let recorder = self.inner.registry.find(&id).ok_or_else(|| not_found(&id))?;
        shutdown::halt(&self.inner, std::slice::from_ref(&recorder), timeout)?;
        Ok(recorder.accounts())
    }

    /// Stops every recorder, and leaves them registered; the runtime goes on. All are stopped at once, and waited for at most
    /// `timeout` together.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop) for the first recorder that fails; all are stopped and waited for.
    pub fn stop_all(&self, timeout: Duration) -> Result<(), Error> {
        shutdown::halt(&self.inner, &self.inner.registry.all(), timeout)
    }

    /// Stops the recorder of this id, and removes it: afterwards the id is free. Of several callers one succeeds, the
    /// others find no such recorder.
    ///
    /// Blocks until everything accepted is settled, at most `timeout`; then what is pending is given up, counted as
    /// `dropped.removed`, and the recorder is removed all the same. Handles stay readable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::InvalidId`], [`ErrorKind::WouldDeadlock`] on one of the runtime's own threads (nothing
    /// has happened then), [`ErrorKind::Timeout`] when events were given up, and [`ErrorKind::HookFailed`] when the stop hook
    /// failed: everything is settled then, and the recorder is removed.
    pub fn stop_and_remove(&self, id: &str, timeout: Duration) -> Result<Accounts, Error> {
        let id = RecorderId::new(id)?;
        let recorder = self.begin_removal(&id).inspect_err(|error| {
            self.inner.note_of(&id, IncidentKind::RemovalRefused { error: error.clone() });
        })?;
        removal::finish(&self.inner, &recorder, timeout)
    }

    fn begin_removal(&self, id: &RecorderId) -> Result<Arc<dyn Hosted>, Error> {
        if crate::sync::own_thread::is_own() {
            return Err(crate::recorder::operation::would_deadlock());
        }
        if self.inner.control.hub.is_forked() {
            return Err(Error::forked());
        }
        self.inner.registry.begin_removal(id)
    }

    /// Shuts the runtime down: closes every recorder, processes what was accepted, publishes, and ends the worker thread.
    ///
    /// Blocks at most about `deadline`. What is not processed by then is given up and counted as `dropped.deadline`, whatever
    /// user code does. Every caller gets the same report; the first caller's deadline holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldDeadlock`] on one of the runtime's own threads; use [`begin_shutdown`](Self::begin_shutdown) there.
    pub fn shutdown(&self, deadline: Duration) -> Result<ShutdownReport, Error> {
        if crate::sync::own_thread::is_own() {
            return Err(crate::recorder::operation::would_deadlock());
        }
        let patience = deadline.saturating_add(limits::EXIT_GRACE).saturating_add(limits::START_TIMEOUT);
        self.begin_shutdown(deadline).wait(patience)
    }

    /// Shuts the runtime down at SIGTERM or Ctrl-C, with this deadline; the operation ends with the report, whoever began the
    /// shutdown: wait for it at the end of `main`.
    ///
    /// The signals are listened to when the call returns, on a thread of its own, so they are noticed while user code holds the
    /// worker. The first signal gives both back to the process: a second one ends it as usual. Handlers of others in the same
    /// process that came by tokio see the first signal, too, and none after it. Elsewhere than on Unix, Ctrl-C alone is listened to,
    /// and a second one waits for the shutdown. Asking again joins the first call.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::StartFailed`] if there is no thread or no file descriptor to be had: it can be tried again.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let ended = runtime.shutdown_on_signals(Duration::from_secs(5));
    /// // ... the program runs until somebody says otherwise ...
    /// # drop(runtime.begin_shutdown(Duration::from_secs(5)));
    /// assert!(ended.wait(Duration::MAX)?.is_complete());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "signals")]
    pub fn shutdown_on_signals(&self, deadline: Duration) -> Operation<ShutdownReport> {
        signals::listen(&self.inner, deadline)
    }

    /// Begins a shutdown and returns at once; the operation ends with the report. See [`shutdown`](Self::shutdown).
    pub fn begin_shutdown(&self, deadline: Duration) -> Operation<ShutdownReport> {
        shutdown::begin(&self.inner, deadline)
    }
}

fn typed<E: MetricEvent>(id: &RecorderId, recorder: Arc<dyn Hosted>) -> Result<Recorder<E>, Error> {
    recorder.into_any().downcast::<CoreNode<E>>().map(Recorder::new).map_err(|_| {
        let wanted = std::any::type_name::<E>();
        let message = format!(
            "recorder {id} does not take events of type {wanted}; ask with the type it was created for"
        );
        Error::new(ErrorKind::WrongEventType, message)
    })
}

impl fmt::Debug for MetricsRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsRuntime")
            .field("namespace", &self.namespace())
            .field("state", &self.state())
            .field("registry", &self.inner.registry)
            .finish()
    }
}

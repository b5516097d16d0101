//! A runtime without a thread: its worker works when the test says so.

use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::event::MetricEvent;
use crate::recorder::builder::RecorderBuilder;
use crate::recorder::hooks::Inline;
use crate::runtime::MetricsRuntime;
use crate::runtime::builder::RuntimeBuilder;
use crate::runtime::report::ShutdownReport;
use crate::runtime::worker::Worker;
use crate::testing::ManualClock;
use std::fmt;
use std::sync::Arc;
use std::task::Context;
use std::task::Waker;

/// The real runtime, worker and recorders, with the worker driven by the test and time standing still until it is advanced.
///
/// Everything is deterministic: events are dispatched in [`settle`](Self::settle), on the calling thread, under the
/// [`ManualClock`]. Calls that wait for a worker (`flush_blocking`, `stop_and_remove`) would wait for the caller itself, and run
/// into their time-out; `settle` takes their place.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::testing::SteppedRuntime;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let mut stepped = SteppedRuntime::new("docs")?;
/// let recorder = stepped.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
///
/// recorder.register_event(Saved);
/// assert_eq!(recorder.accounts().pending(), 1); // nothing happens by itself
///
/// stepped.clock().advance(Duration::from_secs(1));
/// stepped.settle();
/// assert_eq!(recorder.snapshot().counter("document.saves", &[]), Some(1));
/// assert!(stepped.shutdown().is_complete());
/// # Ok(())
/// # }
/// ```
#[must_use = "a stepped runtime does nothing by itself"]
pub struct SteppedRuntime {
    runtime: MetricsRuntime,
    clock: ManualClock,
    worker: Worker,
    hooks: Arc<Inline>,
}

impl SteppedRuntime {
    /// A stepped runtime with the default settings.
    ///
    /// # Errors
    ///
    /// As [`RuntimeBuilder::build`](crate::RuntimeBuilder::build).
    pub fn new(namespace: &str) -> Result<Self, Error> {
        Self::with_clock(MetricsRuntime::builder(namespace), ManualClock::default())
    }

    /// A stepped runtime whose clock shows `start`: for replaying events that were recorded from then on.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::Clock;
    /// use mvx_metrics::Timestamp;
    /// use mvx_metrics::testing::SteppedRuntime;
    ///
    /// let start = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
    /// let stepped = SteppedRuntime::starting_at("docs", start)?;
    /// assert_eq!(stepped.clock().now(), start);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn starting_at(namespace: &str, start: Timestamp) -> Result<Self, Error> {
        Self::with_clock(MetricsRuntime::builder(namespace), ManualClock::at(start))
    }

    /// A stepped runtime with the settings of `builder`, its clock apart: time stands still here.
    ///
    /// # Errors
    ///
    /// As [`RuntimeBuilder::build`](crate::RuntimeBuilder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::prelude::*;
    /// use mvx_metrics::testing::SteppedRuntime;
    /// use std::sync::mpsc;
    ///
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let (sender, codes) = mpsc::channel();
    /// let builder = MetricsRuntime::builder("docs").on_error(move |incident| {
    ///     let _ = sender.send(incident.code());
    /// });
    /// let mut stepped = SteppedRuntime::from_builder(builder)?;
    /// let recorder = stepped.recorder::<Saved>("storage").capacity(1).create()?;
    /// recorder.register_event(Saved);
    /// recorder.register_event(Saved); // no room
    /// stepped.settle();
    /// assert_eq!(codes.try_iter().collect::<Vec<_>>(), ["loss_began"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_builder(builder: RuntimeBuilder) -> Result<Self, Error> {
        Self::with_clock(builder, ManualClock::default())
    }

    fn with_clock(builder: RuntimeBuilder, clock: ManualClock) -> Result<Self, Error> {
        let runtime = builder.clock(clock.clone()).build()?;
        let control = Arc::clone(&runtime.inner().control);
        let mut worker = Worker::new(control, Arc::new(clock.clone()) as Arc<dyn Clock>, clock.now(), || {});
        worker.attend(Waker::noop());
        let hooks = Arc::new(Inline::default());
        runtime.inner().control.hub.employ(Arc::clone(&hooks) as _);
        Ok(Self { runtime, clock, worker, hooks })
    }

    /// The runtime, for code that wants one. It must not be started: this is its worker.
    pub fn runtime(&self) -> &MetricsRuntime {
        &self.runtime
    }

    /// The clock of worker and metrics.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// A builder for a recorder of this runtime.
    pub fn recorder<E: MetricEvent>(&self, id: &str) -> RecorderBuilder<E> {
        self.runtime.recorder(id)
    }

    /// Dispatches everything accepted so far, obeys every command, and publishes. Hooks are polled, and not waited for.
    pub fn settle(&mut self) {
        settle(&mut self.worker, &self.hooks, &self.clock);
    }

    /// Closes and settles every recorder, and ends the runtime.
    pub fn shutdown(mut self) -> ShutdownReport {
        let (worker, hooks, clock) = (&mut self.worker, &self.hooks, &self.clock);
        crate::runtime::shutdown::by_hand(self.runtime.inner(), || settle(worker, hooks, clock))
    }
}

/// A hook under way holds its recorder, which leads here: left alone, they would keep each other for ever.
impl Drop for SteppedRuntime {
    fn drop(&mut self) {
        self.hooks.clear();
    }
}

fn settle(worker: &mut Worker, hooks: &Inline, clock: &ManualClock) {
    let mut context = Context::from_waker(Waker::noop());
    worker.work_off();
    while hooks.poll(&mut context, clock.now()) {
        worker.work_off();
    }
}

impl fmt::Debug for SteppedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteppedRuntime").field("runtime", &self.runtime).field("clock", &self.clock).finish()
    }
}

//! What a shutdown came to.

use crate::model::accounts::Accounts;
use crate::model::error::Error;
use crate::model::name::RecorderId;
use crate::runtime::followers::ExporterReport;
use crate::runtime::liveness::CallUnderWay;

/// What became of every recorder, and of the worker, when a runtime shut down. Every caller of `shutdown` gets the same.
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
/// let recorder = runtime.recorder::<Saved>("storage").create()?;
/// recorder.register_event(Saved);
/// let report = runtime.shutdown(Duration::from_secs(5))?;
/// assert!(report.is_complete());
/// assert_eq!(report.recorders()[0].accounts.processed, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ShutdownReport {
    pub(crate) recorders: std::sync::Arc<[RecorderReport]>,
    pub(crate) exporters: std::sync::Arc<[ExporterReport]>,
    pub(crate) worker_ended: bool,
    pub(crate) worker_lost: bool,
    pub(crate) held_by: Option<CallUnderWay>,
}

impl ShutdownReport {
    /// One entry for every recorder that was registered, in the order of creation.
    pub fn recorders(&self) -> &[RecorderReport] {
        &self.recorders
    }

    /// One entry for every exporter that was there, in the order in which they were added.
    pub fn exporters(&self) -> &[ExporterReport] {
        &self.exporters
    }

    /// The recorders that ended with an error, or lost an event at any time of their life: refused it, or gave it up.
    ///
    /// Stricter than [`is_complete`](Self::is_complete), which asks only for what the shutdown itself gave up.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?; // not started: nobody drains
    /// let small = runtime.recorder::<Saved>("small").capacity(1).create()?;
    /// runtime.recorder::<Saved>("unused").create()?;
    /// small.register_event(Saved);
    /// small.register_event(Saved); // refused
    /// let report = runtime.shutdown(Duration::from_secs(5))?;
    /// let told: Vec<_> = report.incomplete().map(|one| format!("{}: {} lost", one.id, one.accounts.lost())).collect();
    /// assert_eq!(told, ["small: 2 lost"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn incomplete(&self) -> impl Iterator<Item = &RecorderReport> {
        self.recorders.iter().filter(|recorder| recorder.error.is_some() || recorder.accounts.lost() > 0)
    }

    /// The sum of all recorders' accounts.
    pub fn accounts(&self) -> Accounts {
        self.recorders.iter().fold(Accounts::default(), |sum, recorder| sum.plus(recorder.accounts))
    }

    /// Whether the worker thread ended in time. If not, some user code holds it, and it ends when that code returns.
    pub fn worker_ended(&self) -> bool {
        self.worker_ended
    }

    /// Whether the worker was lost before, by a panic outside of metrics and hooks (a clock's, say).
    pub fn worker_lost(&self) -> bool {
        self.worker_lost
    }

    /// The user code that the worker was in when the deadline was over and something was still to be done.
    pub fn held_by(&self) -> Option<&CallUnderWay> {
        self.held_by.as_ref()
    }

    /// Whether everything accepted was processed, every hook was over, every exporter has delivered the last state, and the worker ended:
    /// nothing was given up.
    pub fn is_complete(&self) -> bool {
        self.worker_ended
            && !self.worker_lost
            && self.recorders.iter().all(|recorder| recorder.error.is_none())
            && self.exporters.iter().all(|exporter| exporter.error.is_none())
    }
}

/// How one recorder ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderReport {
    /// Its id.
    pub id: RecorderId,
    /// Its accounts at the end: every accepted event is processed or dropped.
    pub accounts: Accounts,
    /// Why it did not settle everything by itself, if it did not.
    pub error: Option<Error>,
}

//! Every kind of incident, with its code and severity.

use crate::model::accounts::Accounts;
use crate::model::error::Error;
use crate::model::incident::Loss;
use crate::model::incident::Severity;
use crate::model::name::MetricName;
use std::fmt;
use std::time::Duration;

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IncidentKind {
    /// The runtime's worker runs.
    RuntimeStarted,
    /// The runtime could not be started.
    RuntimeStartFailed {
        /// Why.
        error: Error,
    },
    /// A shutdown closes all recorders.
    ShutdownBegan {
        /// How many there are.
        recorders: usize,
    },
    /// A shutdown is over, and everything accepted was processed.
    ShutdownCompleted {
        /// The sum of all recorders' accounts.
        accounts: Accounts,
    },
    /// A shutdown is over, and something was given up or failed.
    ShutdownIncomplete {
        /// The sum of all recorders' accounts.
        accounts: Accounts,
        /// Whether the worker thread has ended. If not, user code holds it.
        worker_ended: bool,
    },
    /// The worker thread ended by a mistake of this crate: every recorder has failed.
    WorkerLost,
    /// A server of `/metrics` was allowed to start without its address, and has none.
    NotServing {
        /// Why.
        error: Error,
    },
    /// A recorder was created and entered.
    RecorderCreated,
    /// A recorder was not created.
    CreateRefused {
        /// Why.
        error: Error,
    },
    /// A recorder was stopped and removed.
    RecorderRemoved {
        /// Its accounts at the end.
        accounts: Accounts,
    },
    /// A recorder was removed, and something was given up or failed.
    RemovalIncomplete {
        /// Its accounts at the end.
        accounts: Accounts,
        /// What went wrong.
        error: Error,
    },
    /// A recorder was not removed.
    RemovalRefused {
        /// Why.
        error: Error,
    },
    /// A recorder was looked up by its id.
    RecorderLookedUp {
        /// Whether there is one of the id and the event type asked for.
        found: bool,
    },
    /// The ids of all recorders were listed.
    RecordersListed {
        /// How many there are.
        recorders: usize,
    },
    /// A recorder runs.
    RecorderStarted,
    /// A recorder's start failed.
    RecorderStartFailed {
        /// Why.
        error: Error,
    },
    /// A recorder was asked to start in a state that does not allow it.
    StartRefused {
        /// Why.
        error: Error,
    },
    /// A recorder has stopped: everything accepted is settled.
    RecorderStopped {
        /// Its accounts then.
        accounts: Accounts,
    },
    /// A recorder has settled everything, and its stop failed all the same.
    RecorderStopFailed {
        /// Why.
        error: Error,
    },
    /// A running recorder got another metric.
    MetricRegistered {
        /// The metric's name.
        metric: MetricName,
    },
    /// A running recorder did not take another metric.
    MetricRefused {
        /// The metric's name.
        metric: MetricName,
        /// Why.
        error: Error,
    },
    /// A running recorder got another metric in the place of the one of its name.
    MetricReplaced {
        /// The metric's name.
        metric: MetricName,
    },
    /// A metric was taken out of a running recorder.
    MetricRemoved {
        /// The metric's name.
        metric: MetricName,
    },
    /// A metric panicked, one of its closures included. It sees no more events.
    MetricPanicked {
        /// The metric's name.
        metric: MetricName,
        /// What the panic said, cut after [`MAX_PANIC_BYTES`](crate::limits::MAX_PANIC_BYTES).
        message: Box<str>,
    },
    /// An observer panicked. It is not called again.
    ObserverPanicked {
        /// What the panic said, cut after [`MAX_PANIC_BYTES`](crate::limits::MAX_PANIC_BYTES).
        message: Box<str>,
    },
    /// A recorder has begun to lose events.
    LossBegan {
        /// What was lost until this was noticed.
        loss: Loss,
    },
    /// A recorder has lost no more events for [`LOSS_QUIET`](crate::limits::LOSS_QUIET), or has come to its end.
    LossEnded {
        /// What was lost in all since the loss began.
        loss: Loss,
        /// The time from the first to the last look that found more of it.
        lasted: Duration,
    },
    /// An exporter has begun to fail: it could not deliver, after every attempt of that time. Told once, until it delivers again.
    ExportFailing {
        /// The exporter's name.
        exporter: Box<str>,
        /// Why.
        error: Error,
    },
    /// An exporter that was failing has delivered again.
    ExportRecovered {
        /// The exporter's name.
        exporter: Box<str>,
        /// How many times it had not delivered.
        failures: u64,
    },
    /// An exporter panicked. It is not called again until it is reinstated.
    ExporterPanicked {
        /// The exporter's name.
        exporter: Box<str>,
        /// What the panic said, cut after [`MAX_PANIC_BYTES`](crate::limits::MAX_PANIC_BYTES).
        message: Box<str>,
    },
    /// A recorder made a new state visible.
    SnapshotPublished {
        /// The number of the publication.
        version: u64,
        /// Events processed up to it.
        sequence: u64,
    },
}

/// Which part of the crate reports a kind of incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reporter {
    Runtime,
    Recorder,
}

/// What is always the same for a kind of incident.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) reporter: Reporter,
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
}

impl IncidentKind {
    /// The table of all kinds; the guide's chapter on logging has the same one.
    pub(crate) fn facts(&self) -> Facts {
        use Reporter::Recorder;
        use Reporter::Runtime;
        use Severity::Debug;
        use Severity::Error;
        use Severity::Info;
        use Severity::Warn;
        let (reporter, severity, code) = match self {
            Self::RuntimeStarted => (Runtime, Info, "runtime_started"),
            Self::RuntimeStartFailed { .. } => (Runtime, Error, "runtime_start_failed"),
            Self::ShutdownBegan { .. } => (Runtime, Info, "shutdown_began"),
            Self::ShutdownCompleted { .. } => (Runtime, Info, "shutdown_completed"),
            Self::ShutdownIncomplete { .. } => (Runtime, Error, "shutdown_incomplete"),
            Self::WorkerLost => (Runtime, Error, "worker_lost"),
            Self::NotServing { .. } => (Runtime, Error, "not_serving"),
            Self::RecorderCreated => (Runtime, Info, "recorder_created"),
            Self::CreateRefused { .. } => (Runtime, Warn, "create_refused"),
            Self::RecorderRemoved { .. } => (Runtime, Info, "recorder_removed"),
            Self::RemovalIncomplete { .. } => (Runtime, Error, "removal_incomplete"),
            Self::RemovalRefused { .. } => (Runtime, Warn, "removal_refused"),
            Self::RecorderLookedUp { .. } => (Runtime, Debug, "recorder_looked_up"),
            Self::RecordersListed { .. } => (Runtime, Debug, "recorders_listed"),
            Self::RecorderStarted => (Recorder, Info, "recorder_started"),
            Self::RecorderStartFailed { .. } => (Recorder, Error, "recorder_start_failed"),
            Self::StartRefused { .. } => (Recorder, Warn, "start_refused"),
            Self::RecorderStopped { .. } => (Recorder, Info, "recorder_stopped"),
            Self::RecorderStopFailed { .. } => (Recorder, Error, "recorder_stop_failed"),
            Self::MetricRegistered { .. } => (Recorder, Info, "metric_registered"),
            Self::MetricRefused { .. } => (Recorder, Warn, "metric_refused"),
            Self::MetricReplaced { .. } => (Recorder, Info, "metric_replaced"),
            Self::MetricRemoved { .. } => (Recorder, Info, "metric_removed"),
            Self::MetricPanicked { .. } => (Recorder, Error, "metric_panicked"),
            Self::ObserverPanicked { .. } => (Recorder, Error, "observer_panicked"),
            Self::LossBegan { .. } => (Recorder, Warn, "loss_began"),
            Self::LossEnded { .. } => (Recorder, Warn, "loss_ended"),
            Self::ExportFailing { .. } => (Runtime, Warn, "export_failing"),
            Self::ExportRecovered { .. } => (Runtime, Info, "export_recovered"),
            Self::ExporterPanicked { .. } => (Runtime, Error, "exporter_panicked"),
            Self::SnapshotPublished { .. } => (Recorder, Debug, "snapshot_published"),
        };
        Facts { reporter, severity, code }
    }

    pub(super) fn metric(&self) -> Option<&MetricName> {
        match self {
            Self::MetricRegistered { metric }
            | Self::MetricRefused { metric, .. }
            | Self::MetricReplaced { metric }
            | Self::MetricRemoved { metric }
            | Self::MetricPanicked { metric, .. } => Some(metric),
            _ => None,
        }
    }

    pub(super) fn error(&self) -> Option<&Error> {
        match self {
            Self::RuntimeStartFailed { error }
            | Self::NotServing { error }
            | Self::CreateRefused { error }
            | Self::RemovalIncomplete { error, .. }
            | Self::RemovalRefused { error }
            | Self::RecorderStartFailed { error }
            | Self::StartRefused { error }
            | Self::RecorderStopFailed { error }
            | Self::ExportFailing { error, .. }
            | Self::MetricRefused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The exporter that it is about, if it is about one.
    #[cfg(feature = "log")]
    pub(crate) fn exporter(&self) -> Option<&str> {
        match self {
            Self::ExportFailing { exporter, .. }
            | Self::ExportRecovered { exporter, .. }
            | Self::ExporterPanicked { exporter, .. } => Some(exporter),
            _ => None,
        }
    }

    /// The accounts that come with it, if any do.
    #[cfg(feature = "log")]
    pub(crate) fn accounts(&self) -> Option<&Accounts> {
        match self {
            Self::ShutdownCompleted { accounts }
            | Self::ShutdownIncomplete { accounts, .. }
            | Self::RecorderRemoved { accounts }
            | Self::RemovalIncomplete { accounts, .. }
            | Self::RecorderStopped { accounts } => Some(accounts),
            _ => None,
        }
    }
}

impl fmt::Display for IncidentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuntimeStarted | Self::RecorderStarted => f.write_str("started"),
            Self::RuntimeStartFailed { error } | Self::RecorderStartFailed { error } => {
                write!(f, "start failed: {error}")
            }
            Self::ShutdownBegan { recorders } => write!(f, "shutdown began, with {recorders} recorders"),
            Self::ShutdownCompleted { accounts } => write!(f, "shut down: {}", Told(accounts)),
            Self::ShutdownIncomplete { accounts, worker_ended } => {
                let held = if *worker_ended { "" } else { ", and user code holds the worker" };
                write!(f, "shut down incompletely: {}{held}", Told(accounts))
            }
            Self::WorkerLost => {
                f.write_str("the worker is lost: every recorder has failed; report this as a bug")
            }
            Self::NotServing { error } => write!(f, "metrics are not served: {error}"),
            Self::RecorderCreated => f.write_str("created"),
            Self::CreateRefused { error } => write!(f, "not created: {error}"),
            Self::RecorderRemoved { accounts } => write!(f, "removed: {}", Told(accounts)),
            Self::RemovalIncomplete { accounts, error } => {
                write!(f, "removed incompletely: {}: {error}", Told(accounts))
            }
            Self::RemovalRefused { error } => write!(f, "not removed: {error}"),
            Self::RecorderLookedUp { found: true } => f.write_str("looked up"),
            Self::RecorderLookedUp { found: false } => f.write_str("looked up, and there is none"),
            Self::RecordersListed { recorders } => write!(f, "{recorders} recorders listed"),
            Self::StartRefused { error } => write!(f, "not started: {error}"),
            Self::RecorderStopped { accounts } => write!(f, "stopped: {}", Told(accounts)),
            Self::RecorderStopFailed { error } => write!(f, "stop failed: {error}"),
            Self::MetricRegistered { metric } => write!(f, "metric {metric} registered"),
            Self::MetricRefused { metric, error } => write!(f, "metric {metric} not registered: {error}"),
            Self::MetricReplaced { metric } => write!(f, "metric {metric} replaced"),
            Self::MetricRemoved { metric } => write!(f, "metric {metric} removed"),
            Self::MetricPanicked { metric, message } => {
                write!(f, "metric {metric} panicked and is quarantined: {message}")
            }
            Self::ObserverPanicked { message } => {
                write!(f, "an observer panicked and is quarantined: {message}")
            }
            Self::LossBegan { loss } => write!(f, "events are being lost, until now {loss}"),
            Self::LossEnded { loss, lasted } => write!(f, "no more events are lost; in {lasted:?}: {loss}"),
            Self::ExportFailing { exporter, error } => write!(f, "exporter {exporter} is failing: {error}"),
            Self::ExportRecovered { exporter, failures } => {
                write!(f, "exporter {exporter} delivers again, after {failures} failures")
            }
            Self::ExporterPanicked { exporter, message } => {
                write!(f, "exporter {exporter} panicked and is quarantined: {message}")
            }
            Self::SnapshotPublished { version, sequence } => {
                write!(f, "publication {version} shows {sequence} events")
            }
        }
    }
}

/// Accounts in a sentence.
struct Told<'a>(&'a Accounts);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Accounts { accepted, rejected, processed, dropped } = self.0;
        let (rejected, dropped) = (rejected.total(), dropped.total());
        write!(f, "{accepted} accepted, {processed} processed, {dropped} dropped, {rejected} rejected")
    }
}

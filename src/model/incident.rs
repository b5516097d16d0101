//! What a runtime and its recorders report besides values: operations, failures, quarantines, losses. Plain data.

mod kind;

pub use kind::IncidentKind;
pub(crate) use kind::Reporter;

use crate::model::accounts::Dropped;
use crate::model::accounts::Rejected;
use crate::model::error::Error;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use std::fmt;

/// Something that happened in a runtime or a recorder, once: told to the error handler, and logged by the feature `log`.
///
/// Never one for each event: an operation, a failure, a part taken out of service, the two edges of a loss. `Clone` copies a few
/// reference counts, so an incident can be sent to another thread.
///
/// # Examples
///
/// ```
/// use mvx_metrics::IncidentKind;
/// use mvx_metrics::prelude::*;
/// use std::sync::mpsc;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let (sender, incidents) = mpsc::channel();
/// let runtime = MetricsRuntime::builder("docs")
///     .on_error(move |incident| drop(sender.send(incident.clone())))
///     .build()?;
/// let first = runtime.recorder::<Saved>("storage").create()?;
/// assert!(runtime.recorder::<Saved>("storage").create().is_err());
///
/// let incident = incidents.try_recv().expect("the second one was refused");
/// assert_eq!((incident.code(), incident.recorder()), ("create_refused", Some(first.id())));
/// assert!(matches!(incident.kind(), IncidentKind::CreateRefused { error } if error.to_string().contains("exists")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Incident {
    runtime: Option<RecorderId>,
    recorder: Option<RecorderId>,
    kind: IncidentKind,
}

impl Incident {
    pub(crate) fn new(runtime: Option<RecorderId>, recorder: Option<RecorderId>, kind: IncidentKind) -> Self {
        Self { runtime, recorder, kind }
    }

    /// What happened, with what belongs to it.
    pub fn kind(&self) -> &IncidentKind {
        &self.kind
    }

    /// The stable name of what happened, such as `metric_panicked`. New ones may come; none changes its meaning.
    pub fn code(&self) -> &'static str {
        self.kind.facts().code
    }

    /// The stable name of the part of the crate that reports it: `mvx_metrics::runtime` or `mvx_metrics::recorder`; the log's target.
    pub fn target(&self) -> &'static str {
        match self.reporter() {
            Reporter::Runtime => "mvx_metrics::runtime",
            Reporter::Recorder => "mvx_metrics::recorder",
        }
    }

    pub(crate) fn reporter(&self) -> Reporter {
        self.kind.facts().reporter
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.kind.facts().severity
    }

    /// The namespace of the runtime it happened in; none for a recorder without a runtime.
    pub fn runtime(&self) -> Option<&str> {
        self.runtime.as_ref().map(RecorderId::as_str)
    }

    /// The recorder that it is about, if it is about one.
    pub fn recorder(&self) -> Option<&RecorderId> {
        self.recorder.as_ref()
    }

    /// The metric that it is about, if it is about one.
    pub fn metric(&self) -> Option<&MetricName> {
        self.kind.metric()
    }

    /// Why an operation failed or was refused, if one was.
    pub fn error(&self) -> Option<&Error> {
        self.kind.error()
    }
}

/// `recorder storage of docs: metric document.saves panicked and is quarantined: attempt to divide by zero`.
impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.recorder, &self.runtime) {
            (Some(recorder), Some(runtime)) => write!(f, "recorder {recorder} of {runtime}: ")?,
            (Some(recorder), None) => write!(f, "recorder {recorder}: ")?,
            (None, Some(runtime)) => write!(f, "runtime {runtime}: ")?,
            (None, None) => {}
        }
        fmt::Display::fmt(&self.kind, f)
    }
}

/// How bad an incident is. The error handler is told of `Warn` and `Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// A look at what is there; logged by inspection only.
    Debug,
    /// An operation that did what was asked.
    Info,
    /// A refused operation, or events lost as the recorder's policy says.
    Warn,
    /// A failure: of user code, of an operation, or of ours.
    Error,
}

/// Events of one recorder that were refused or given up over some time, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Refused at the door.
    pub rejected: Rejected,
    /// Accepted and given up.
    pub dropped: Dropped,
}

impl Loss {
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self { rejected: self.rejected.since(earlier.rejected), dropped: self.dropped.since(earlier.dropped) }
    }

    /// All events lost.
    pub const fn total(&self) -> u64 {
        self.rejected.total().saturating_add(self.dropped.total())
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rejected = self.rejected.by_reason().map(|(reason, count)| ("rejected", reason, count));
        let dropped = self.dropped.by_reason().map(|(reason, count)| ("dropped", reason, count));
        let mut between = "";
        for (how, reason, count) in rejected.into_iter().chain(dropped).filter(|(_, _, count)| *count > 0) {
            write!(f, "{between}{count} {how} ({reason})")?;
            between = ", ";
        }
        Ok(())
    }
}

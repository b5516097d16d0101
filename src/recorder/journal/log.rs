//! The log: incidents as events of `tracing`.

use crate::model::event::MetricEvent;
use crate::model::incident::Incident;
use crate::model::incident::IncidentKind;
use crate::model::incident::Reporter;
use crate::model::incident::Severity;
use crate::recorder::builder::RecorderBuilder;
use crate::recorder::journal::LoggedFrom;
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// How much of its own doings a runtime or a recorder logs through `tracing`.
///
/// The codes of each mode are listed in the guide, [`_guide::logging`](crate::_guide::logging). No mode logs single events,
/// and none changes what the error handler is told.
///
/// # Examples
///
/// ```
/// use mvx_metrics::LogMode;
/// use mvx_metrics::prelude::*;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").log_mode(LogMode::Silent).build()?;
/// let watched = runtime.recorder::<Saved>("watched").log_mode(LogMode::Inspection).create()?;
/// assert_eq!(watched.id().as_str(), "watched"); // its incidents are logged, the runtime's own are not
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogMode {
    /// Nothing at all, failures included.
    Silent,
    /// Operations at INFO, refused operations and losses at WARN, failures and quarantines at ERROR.
    #[default]
    Normal,
    /// Besides, at DEBUG: look-ups in the registry, and of each recorder at most one publication within
    /// [`INSPECTION_INTERVAL`](crate::limits::INSPECTION_INTERVAL).
    Inspection,
}

impl LogMode {
    pub(crate) fn logged_from(self) -> LoggedFrom {
        match self {
            Self::Silent => None,
            Self::Normal => Some(Severity::Info),
            Self::Inspection => Some(Severity::Debug),
        }
    }
}

impl<E: MetricEvent, H> RecorderBuilder<E, H> {
    /// How much the recorder logs, whatever its runtime does: every incident that names this recorder follows it.
    ///
    /// Without it the runtime's mode holds, and [`LogMode::Normal`] for a recorder without a runtime.
    pub fn log_mode(mut self, mode: LogMode) -> Self {
        self.logged_from = Some(mode.logged_from());
        self
    }
}

/// One event of `tracing`, with all the fields an incident may have; those it has not are left out.
macro_rules! event {
    ($target:literal, $level:expr, $incident:expr) => {{
        let (incident, details) = ($incident, Details::of($incident.kind()));
        tracing::event!(
            target: $target,
            $level,
            code = incident.code(),
            runtime = incident.runtime(),
            recorder = incident.recorder().map(|id| id.as_str()),
            metric = incident.metric().map(|name| name.as_str()),
            exporter = incident.kind().exporter(),
            error = incident.error().map(tracing::field::display),
            error_kind = incident.error().map(|error| tracing::field::debug(error.kind())),
            panic = details.panic,
            accepted = details.accepted,
            processed = details.processed,
            rejected = details.rejected,
            dropped = details.dropped,
            lasted_ms = details.lasted_ms,
            worker_ended = details.worker_ended,
            found = details.found,
            recorders = details.recorders,
            failures = details.failures,
            version = details.version,
            sequence = details.sequence,
            "{incident}"
        );
    }};
}

/// Whether the program has a subscriber that takes anything at all.
pub(crate) fn is_read() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

/// Writes an incident down. Level and target are part of what `tracing` knows before anything happens, hence the table.
pub(crate) fn write(incident: &Incident) {
    match (incident.reporter(), incident.severity()) {
        (Reporter::Runtime, Severity::Debug) => event!("mvx_metrics::runtime", Level::DEBUG, incident),
        (Reporter::Runtime, Severity::Info) => event!("mvx_metrics::runtime", Level::INFO, incident),
        (Reporter::Runtime, Severity::Warn) => event!("mvx_metrics::runtime", Level::WARN, incident),
        (Reporter::Runtime, Severity::Error) => event!("mvx_metrics::runtime", Level::ERROR, incident),
        (Reporter::Recorder, Severity::Debug) => event!("mvx_metrics::recorder", Level::DEBUG, incident),
        (Reporter::Recorder, Severity::Info) => event!("mvx_metrics::recorder", Level::INFO, incident),
        (Reporter::Recorder, Severity::Warn) => event!("mvx_metrics::recorder", Level::WARN, incident),
        (Reporter::Recorder, Severity::Error) => event!("mvx_metrics::recorder", Level::ERROR, incident),
    }
}

/// The numbers that some incidents come with.
#[derive(Default)]
struct Details<'a> {
    panic: Option<&'a str>,
    accepted: Option<u64>,
    processed: Option<u64>,
    rejected: Option<u64>,
    dropped: Option<u64>,
    lasted_ms: Option<u64>,
    worker_ended: Option<bool>,
    found: Option<bool>,
    recorders: Option<u64>,
    failures: Option<u64>,
    version: Option<u64>,
    sequence: Option<u64>,
}

impl<'a> Details<'a> {
    fn of(kind: &'a IncidentKind) -> Self {
        let accounts = kind.accounts();
        let mut details = Self {
            accepted: accounts.map(|accounts| accounts.accepted),
            processed: accounts.map(|accounts| accounts.processed),
            rejected: accounts.map(|accounts| accounts.rejected.total()),
            dropped: accounts.map(|accounts| accounts.dropped.total()),
            ..Self::default()
        };
        match kind {
            IncidentKind::MetricPanicked { message, .. }
            | IncidentKind::ObserverPanicked { message }
            | IncidentKind::ExporterPanicked { message, .. } => {
                details.panic = Some(message);
            }
            IncidentKind::ExportRecovered { failures, .. } => details.failures = Some(*failures),
            IncidentKind::LossBegan { loss } | IncidentKind::LossEnded { loss, .. } => {
                (details.rejected, details.dropped) =
                    (Some(loss.rejected.total()), Some(loss.dropped.total()));
                if let IncidentKind::LossEnded { lasted, .. } = kind {
                    details.lasted_ms = Some(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
                }
            }
            IncidentKind::ShutdownIncomplete { worker_ended, .. } => {
                details.worker_ended = Some(*worker_ended)
            }
            IncidentKind::RecorderLookedUp { found } => details.found = Some(*found),
            IncidentKind::ShutdownBegan { recorders } | IncidentKind::RecordersListed { recorders } => {
                details.recorders = Some(*recorders as u64);
            }
            IncidentKind::SnapshotPublished { version, sequence } => {
                (details.version, details.sequence) = (Some(*version), Some(*sequence));
            }
            _ => {}
        }
        details
    }
}

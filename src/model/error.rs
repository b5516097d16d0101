//! The one error of the cold path: opaque, with a kind to match on, a message with cause and remedy, and the source kept.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong, for code that wants to react.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A metric, label, unit or field name that no export format can write.
    InvalidName,
    /// A recorder or runtime id that is blank.
    InvalidId,
    /// A limit outside its range: capacity 0, no bounds, unsorted bounds, cardinality 0.
    InvalidLimit,
    /// Two metrics of one name whose kind, unit, labels or bounds differ.
    MetricConflict,
    /// An event type that the event does not have.
    UnknownEventType,
    /// A recorder of this id exists already.
    AlreadyExists,
    /// No recorder, metric or observer of this name.
    NotFound,
    /// The recorder of this id takes another event type.
    WrongEventType,
    /// The operation is not possible in this state.
    InvalidState,
    /// A blocking call on one of the runtime's own threads, which would wait for itself.
    WouldDeadlock,
    /// The time given was over first.
    Timeout,
    /// As many operations wait already as a limit allows.
    LimitReached,
    /// A lifecycle hook failed, panicked or was not over by its deadline.
    HookFailed,
    /// The worker thread could not be started.
    StartFailed,
    /// The worker thread is gone.
    WorkerLost,
    /// An address that nothing can be sent to.
    InvalidAddress,
    /// A setting from the environment that cannot be obeyed.
    InvalidSetting,
    /// An exporter could not deliver.
    ExportFailed,
    /// A file or stream could not be read or written.
    Io,
    /// Another socket listens on the address already.
    AddressInUse,
    /// A token, password, certificate or key that nobody could be served with.
    InvalidCredential,
    /// A line of an event log that is no JSON, or an event that JSON cannot give back as it is.
    InvalidRecord,
    /// A line of an event log that is no event of the type asked for.
    UnknownEvent,
    /// A line of an event log that is longer than allowed.
    OversizedRecord,
    /// The last line of an event log, which ends in its middle.
    CutOffRecord,
    /// The process was forked, and the worker thread is the parent's.
    Forked,
}

/// An operation that failed: what was wrong, where, and what to do instead. `Clone` shares it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{ErrorKind, MetricsRuntime};
///
/// let error = MetricsRuntime::builder("  ").build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidId);
/// assert!(error.to_string().contains("blank"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    states: Option<(&'static str, &'static str)>,
    pending: Option<u64>,
    line: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            states: None,
            pending: None,
            line: None,
            source: None,
        }))
    }

    pub(crate) fn with_states(self, actual: &'static str, expected: &'static str) -> Self {
        self.with(|inner| inner.states = Some((actual, expected)))
    }

    pub(crate) fn with_pending(self, pending: u64) -> Self {
        self.with(|inner| inner.pending = Some(pending))
    }

    #[cfg(all(feature = "testing", feature = "serde"))]
    pub(crate) fn with_line(self, line: u64) -> Self {
        self.with(|inner| inner.line = Some(line))
    }

    pub(crate) fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Box::new(source)))
    }

    pub(crate) fn with_boxed_source(self, source: Box<dyn StdError + Send + Sync>) -> Self {
        self.with(|inner| inner.source = Some(source))
    }

    /// Changes an error that is still being made, and so has one owner.
    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    pub(crate) fn forked() -> Self {
        let message = "this process was forked off, and the worker thread is its parent's; build a runtime of its own in the child";
        Self::new(ErrorKind::Forked, message)
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The state found, where the failure is about a state.
    pub fn actual_state(&self) -> Option<&'static str> {
        self.0.states.map(|(actual, _)| actual)
    }

    /// The state or states in which the operation is possible, where the failure is about a state.
    pub fn expected_state(&self) -> Option<&'static str> {
        self.0.states.map(|(_, expected)| expected)
    }

    /// How many accepted events were still pending, where a flush or a stop ran out of time.
    pub fn pending(&self) -> Option<u64> {
        self.0.pending
    }

    /// The line of an event log, from 1, where the failure is about one.
    pub fn line(&self) -> Option<u64> {
        self.0.line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some((actual, expected)) = self.0.states {
            write!(f, " (state is {actual}, expected {expected})")?;
        }
        if let Some(pending) = self.0.pending {
            write!(f, " ({pending} events pending)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some((actual, expected)) = self.0.states {
            out.field("actual", &actual).field("expected", &expected);
        }
        if let Some(pending) = self.0.pending {
            out.field("pending", &pending);
        }
        if let Some(line) = self.0.line {
            out.field("line", &line);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

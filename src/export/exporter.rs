//! The contract of exporters.

use crate::model::error::Error;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::view::View;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Brings the state of a runtime to somewhere else: a server, a file, a terminal.
///
/// It is added by [`MetricsRuntime::add_exporter`](crate::MetricsRuntime::add_exporter), and lives on a thread of its own with a tokio loop
/// of its own (time, and sockets if the program's tokio has them), so it may block or hang without harm to anybody else. It is never
/// called while an earlier call of it is under way. Each call has a time-out; when that is over, the future is dropped. A call that does not
/// come back to its `await` cannot be cut; it is visible in [`ExporterStatus::running_since`](crate::ExporterStatus::running_since).
/// If it panics it is quarantined: it is not called again until
/// [`MetricsRuntime::reinstate_exporter`](crate::MetricsRuntime::reinstate_exporter).
///
/// What is exported is cumulative, so one state that was not delivered is made up for by the next.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::{ExportError, Exporter, Schedule};
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::RuntimeSnapshot;
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// /// Sends the number of accepted events to whoever listens.
/// struct Totals(mpsc::Sender<u64>);
///
/// impl Exporter for Totals {
///     async fn export(&mut self, snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
///         let accepted = snapshot.recorders().map(|recorder| recorder.accounts().accepted).sum();
///         self.0.send(accepted).map_err(|gone| ExportError::fatal("nobody listens any more").with_source(gone))
///     }
/// }
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let (sender, totals) = mpsc::channel();
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// runtime.add_exporter("totals", Schedule::on_demand(), Totals(sender))?;
/// runtime.recorder::<Saved>("storage").create()?.register_event(Saved);
/// runtime.force_flush(Duration::from_secs(5))?;
/// assert_eq!(totals.try_recv(), Ok(1));
/// # Ok(())
/// # }
/// ```
pub trait Exporter: Send + 'static {
    /// Delivers this state. `within` is what is left of the time that this call has.
    ///
    /// # Errors
    ///
    /// What the call returns decides what comes next: after a [retryable](ExportError::retryable) error it is called again, with a state
    /// taken then, as the schedule says; after a [fatal](ExportError::fatal) one the next time of the schedule is waited for.
    fn export(
        &mut self,
        snapshot: &RuntimeSnapshot,
        within: Duration,
    ) -> impl Future<Output = Result<(), ExportError>>;

    /// Delivers what the exporter itself still holds back: called after an export that somebody asked for by
    /// [`force_flush`](crate::MetricsRuntime::force_flush), and before the end. Nothing, unless it is written.
    ///
    /// # Errors
    ///
    /// Whatever kept it back; it is not called again for that.
    fn flush(&mut self, within: Duration) -> impl Future<Output = Result<(), ExportError>> {
        let _ = within;
        std::future::ready(Ok(()))
    }

    /// This exporter, shown what the [`View`] shows.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::{Exporter, MemoryExporter, Schedule};
    /// use mvx_metrics::{Fold, MetricsRuntime, View};
    /// use std::time::Duration;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let (exporter, kept) = MemoryExporter::new(1);
    /// let totals = View::builder().fold(Fold::Group).exclude("mvx.*").build()?;
    /// runtime.add_exporter("totals", Schedule::on_demand(), exporter.with_view(totals))?;
    /// runtime.force_flush(Duration::from_secs(5))?;
    /// assert!(kept.latest().is_some_and(|snapshot| snapshot.vitals().is_empty()));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    fn with_view(self, view: View) -> Viewed<Self>
    where
        Self: Sized,
    {
        Viewed { exporter: self, view }
    }

    /// Ends: closes connections, after the last export. Called once, at the end of the runtime or when the exporter is removed. Nothing,
    /// unless it is written.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; it is in the report of the shutdown.
    fn shutdown(&mut self, within: Duration) -> impl Future<Output = Result<(), ExportError>> {
        let _ = within;
        std::future::ready(Ok(()))
    }
}

/// An exporter that sees a [`View`] of the runtime. By [`Exporter::with_view`].
#[derive(Clone, Debug)]
pub struct Viewed<X> {
    exporter: X,
    view: View,
}

impl<X: Exporter> Exporter for Viewed<X> {
    async fn export(&mut self, snapshot: &RuntimeSnapshot, within: Duration) -> Result<(), ExportError> {
        self.exporter.export(&snapshot.with_view(&self.view), within).await
    }

    async fn flush(&mut self, within: Duration) -> Result<(), ExportError> {
        self.exporter.flush(within).await
    }

    async fn shutdown(&mut self, within: Duration) -> Result<(), ExportError> {
        self.exporter.shutdown(within).await
    }
}

/// Why an exporter could not deliver, and whether it is worth to try again.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::ExportError;
/// use std::time::Duration;
///
/// let busy = ExportError::retryable("the server answered 503").after(Duration::from_secs(2));
/// assert!(busy.is_retryable());
/// assert_eq!(busy.retry_after(), Some(Duration::from_secs(2)));
/// assert_eq!(busy.to_string(), "the server answered 503");
/// assert!(!ExportError::fatal("the server answered 400").is_retryable());
/// ```
pub struct ExportError {
    message: String,
    is_retryable: bool,
    after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ExportError {
    /// A failure that may pass by itself: the other side cannot be reached, or is busy. The message says what failed; no secrets in it, since it
    /// is logged.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_retryable: true, after: None, source: None }
    }

    /// A failure that the same attempt would meet again: refused credentials, a state that the other side does not understand.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_retryable: false, after: None, source: None }
    }

    /// With the pause that the other side asked for, as by HTTP's `Retry-After`.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.after = Some(pause);
        self
    }

    /// With the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        self.is_retryable
    }

    /// The pause that the other side asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        self.after
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportError")
            .field("message", &self.message)
            .field("is_retryable", &self.is_retryable)
            .field("after", &self.after)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for ExportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// An encoder that cannot write may be able to next time: a full disk, a pipe that nobody reads.
impl From<Error> for ExportError {
    fn from(error: Error) -> Self {
        Self::retryable(error.to_string()).with_source(error)
    }
}

/// What an exporter is called for.
#[derive(Clone, Copy)]
pub(super) enum Call<'a> {
    Export(&'a RuntimeSnapshot),
    Flush,
    Shutdown,
}

/// A call of an exporter under way.
pub(super) type Calling<'a> = Pin<Box<dyn Future<Output = Result<(), ExportError>> + 'a>>;

/// Any exporter, without its type.
pub(super) trait AnyExporter: Send {
    fn call<'a>(&'a mut self, call: Call<'a>, within: Duration) -> Calling<'a>;
}

impl<X: Exporter> AnyExporter for X {
    fn call<'a>(&'a mut self, call: Call<'a>, within: Duration) -> Calling<'a> {
        match call {
            Call::Export(snapshot) => Box::pin(self.export(snapshot, within)),
            Call::Flush => Box::pin(self.flush(within)),
            Call::Shutdown => Box::pin(self.shutdown(within)),
        }
    }
}

//! Followers: whoever brings published state elsewhere on a thread of its own, and is waited for by a flush and a shutdown.
//!
//! The runtime knows no exporter; it knows that something of a name can be asked to deliver, to end, and how it has done.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
#[cfg(feature = "export")]
use crate::model::name::RecorderId;
use crate::recorder::operation::Operation;
use crate::runtime::Inner;
use crate::sync::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// What the runtime asks of a follower. Each call returns at once, and runs no user code.
pub(crate) trait Follower: Send + Sync {
    /// The name it was added by.
    #[cfg(feature = "export")]
    fn name(&self) -> &RecorderId;

    /// Delivers what is published now; nothing more is tried after `until`.
    fn flush(&self, until: Option<Instant>) -> Operation;

    /// Delivers what is published now, and ends. Asking again joins the first call.
    fn finish(&self, until: Option<Instant>) -> Operation;

    /// Lets it go on after a panic; false if there was none.
    #[cfg(feature = "export")]
    fn reinstate(&self) -> bool;

    /// How it has done.
    fn status(&self) -> ExporterStatus;
}

/// How an exporter has done. Its figures rise from its start, and are never set back.
///
/// # Examples
///
/// See [`MetricsRuntime::exporters`](crate::MetricsRuntime::exporters).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExporterStatus {
    /// The name it was added by.
    pub name: String,
    /// How many times the runtime's state was delivered.
    pub delivered: u64,
    /// How many times it could not be, after every attempt of that time.
    pub failed: u64,
    /// How many times the exporter was called for it.
    pub attempts: u64,
    /// Times of the schedule that passed while the exporter was still at an earlier one, or was quarantined.
    pub missed: u64,
    /// Failures since the last delivery.
    pub consecutive_failures: u64,
    /// When the state was last delivered, by the runtime's clock.
    pub last_delivery: Option<Timestamp>,
    /// What went wrong last, also if it went well since.
    pub last_error: Option<Error>,
    /// Since when the exporter is being called, if it is. What is called for longer than its time-out does not give the thread back: it
    /// holds up nobody but itself.
    pub running_since: Option<Timestamp>,
    /// Whether it panicked, and is called no more until it is reinstated.
    pub is_quarantined: bool,
}

/// How one exporter ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExporterReport {
    /// The name it was added by.
    pub name: String,
    /// How many times the runtime's state was delivered.
    pub delivered: u64,
    /// Why the last state was not delivered, or the exporter did not end well; none if both are done.
    pub error: Option<Error>,
}

/// The followers of a runtime, in the order in which they came.
#[derive(Default)]
pub(crate) struct Followers(Mutex<State>);

#[derive(Default)]
struct State {
    closed: bool,
    list: Vec<Arc<dyn Follower>>,
}

impl Followers {
    /// Enters a follower, unless its name is taken, there are too many, or the runtime takes no more.
    #[cfg(feature = "export")]
    pub(crate) fn enter(&self, follower: Arc<dyn Follower>) -> Result<(), Error> {
        let name = follower.name().clone();
        let mut state = self.0.lock();
        if state.closed {
            let message =
                format!("exporter {name} cannot be added: its runtime is shutting down; add it to another");
            return Err(
                Error::new(ErrorKind::InvalidState, message).with_states("Closed", "Created or Running")
            );
        }
        if state.list.iter().any(|known| *known.name() == name) {
            let message = format!("exporter {name} exists already; remove it first, or choose another name");
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        if state.list.len() >= limits::MAX_EXPORTERS {
            let most = limits::MAX_EXPORTERS;
            let message = format!("exporter {name} is one too many; a runtime has at most {most}");
            return Err(Error::new(ErrorKind::LimitReached, message));
        }
        state.list.push(follower);
        Ok(())
    }

    /// Takes out the follower of this name, for the one caller who gets it.
    #[cfg(feature = "export")]
    pub(crate) fn leave(&self, name: &RecorderId) -> Option<Arc<dyn Follower>> {
        let mut state = self.0.lock();
        let found = state.list.iter().position(|known| known.name() == name)?;
        Some(state.list.remove(found))
    }

    pub(crate) fn all(&self) -> Vec<Arc<dyn Follower>> {
        self.0.lock().list.clone()
    }

    /// Takes no more followers; those there are.
    fn close(&self) -> Vec<Arc<dyn Follower>> {
        let mut state = self.0.lock();
        state.closed = true;
        state.list.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().list.is_empty()
    }

    pub(crate) fn statuses(&self) -> Vec<ExporterStatus> {
        self.all().iter().map(|follower| follower.status()).collect()
    }
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.statuses()).finish()
    }
}

/// Lets every follower deliver what is published now, all at once; the first error, when none is left to wait for.
pub(crate) fn flush(inner: &Inner, until: Option<Instant>) -> Result<(), Error> {
    let flushes: Vec<_> = inner.followers.all().iter().map(|follower| follower.flush(until)).collect();
    flushes.iter().map(|flush| flush.wait(left(until))).fold(Ok(()), Result::and)
}

/// Followers that are delivering for the last time.
pub(crate) struct Finishing {
    followers: Vec<(Arc<dyn Follower>, Operation)>,
    until: Option<Instant>,
}

/// Lets every follower deliver what is published now, and end.
///
/// Also when the time of the shutdown is over already: what can be delivered in a moment is delivered all the same.
pub(crate) fn finish(inner: &Inner, until: Option<Instant>) -> Finishing {
    let moment = Instant::now() + limits::EXIT_GRACE / 2;
    let until = until.map(|until| until.max(moment));
    let followers = inner.followers.close();
    let begin = |follower: Arc<dyn Follower>| {
        let finish = follower.finish(until);
        (follower, finish)
    };
    Finishing { followers: followers.into_iter().map(begin).collect(), until }
}

impl Finishing {
    /// Waits for all of them within their time; how each has ended.
    pub(crate) fn wait(self) -> Vec<ExporterReport> {
        // One that is cut at its deadline still says so.
        let until = self.until.map(|until| until + limits::EXIT_GRACE / 2);
        let report = |(follower, finish): (Arc<dyn Follower>, Operation)| {
            let error = finish.wait(left(until)).err();
            let status = follower.status();
            let error = error.map(|error| match error.kind() {
                ErrorKind::Timeout => held(&status),
                _ => error,
            });
            ExporterReport { name: status.name, delivered: status.delivered, error }
        };
        self.followers.into_iter().map(report).collect()
    }
}

/// An exporter whose thread did not come back in time.
fn held(status: &ExporterStatus) -> Error {
    let message = format!(
        "exporter {} had not ended in time, and its last state may be lost; give it more time, or find what holds it",
        status.name
    );
    Error::new(ErrorKind::Timeout, message)
}

pub(crate) fn left(until: Option<Instant>) -> Duration {
    until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
}

//! A recorder that goes with its owner: a connection's, a session's, a tenant's.

use crate::model::accounts::Accounts;
use crate::model::error::Error;
use crate::model::event::EventSink;
use crate::model::event::MetricEvent;
use crate::recorder::builder::Host;
use crate::recorder::builder::RecorderBuilder;
use crate::recorder::handle::Recorder;
use crate::recorder::hosted::Hosted;
use crate::recorder::operation::Operation;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

/// A recorder whose owner's end is its own: dropping the guard closes it, lets its runtime process what was accepted, and removes it.
///
/// It lends its [`Recorder`]; clones of that stay readable for ever, and what they offer after the guard's end is
/// `rejected.closed`. Dropping returns at once in any context, on the runtime's own threads and after its shutdown, too. The id is
/// free again when the removal is over; [`close`](Self::close) and [`begin_close`](Self::begin_close) wait for that.
///
/// If the runtime was not started yet, events accepted before the drop keep the recorder registered until it is started or shut down.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Sent; impl MetricEvent for Sent { fn event_type(&self) -> &'static str { "sent" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let connection = runtime.recorder::<Sent>("connection-1").counter("connection.sent", |c| c).create_owned()?;
/// let handle = connection.clone(); // a `Recorder`, not another guard
/// connection.register_event(Sent);
/// drop(connection);
///
/// handle.register_event(Sent);
/// let accounts = handle.accounts();
/// assert_eq!((accounts.accepted, accounts.rejected.closed), (1, 1));
/// runtime.shutdown(Duration::from_secs(5))?;
/// assert_eq!(handle.snapshot().counter("connection.sent", &[]), Some(1));
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping the guard removes the recorder"]
pub struct OwnedRecorder<E: MetricEvent> {
    recorder: Recorder<E>,
    /// Weak: a guard that outlives its runtime keeps nothing of it. `None` once the removal was begun.
    host: Option<Weak<dyn Host>>,
}

impl<E: MetricEvent> OwnedRecorder<E> {
    /// Closes the recorder, waits until everything accepted is settled, and removes it; the accounts are final then.
    ///
    /// Blocks at most `timeout`; then what is pending is given up, counted as `dropped.removed`, and the recorder is removed all the
    /// same.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when events were given up, and
    /// [`ErrorKind::HookFailed`](crate::ErrorKind::HookFailed) when the stop hook failed: the recorder is removed then.
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if somebody else has removed it.
    /// [`ErrorKind::WouldDeadlock`](crate::ErrorKind::WouldDeadlock) on one of the runtime's own threads: it is closed, and removed
    /// without anybody waiting for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    /// # struct Sent; impl MetricEvent for Sent { fn event_type(&self) -> &'static str { "sent" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let connection = runtime.recorder::<Sent>("connection-1").create_owned()?;
    /// connection.register_event(Sent);
    /// assert_eq!(connection.close(Duration::from_secs(5))?.processed, 1);
    /// assert!(runtime.recorder_ids().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(mut self, timeout: Duration) -> Result<Accounts, Error> {
        let Some(host) = self.host() else { return Ok(self.recorder.accounts()) };
        if crate::sync::own_thread::is_own() {
            // The drop removes it.
            return Err(crate::recorder::operation::would_deadlock());
        }
        self.host = None;
        host.remove(&self.hosted(), timeout)
    }

    /// Closes the recorder at once, and removes it when everything accepted is settled: the operation ends with its final accounts.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::HookFailed`](crate::ErrorKind::HookFailed) when the stop hook failed (the recorder is removed
    /// then), and in [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if somebody else has removed it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the operation cancels nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # struct Sent; impl MetricEvent for Sent { fn event_type(&self) -> &'static str { "sent" } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let connection = runtime.recorder::<Sent>("connection-1").create_owned()?;
    /// connection.register_event(Sent);
    /// assert_eq!(connection.begin_close().await?.processed, 1);
    /// assert!(runtime.recorder::<Sent>("connection-1").create_owned().is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn begin_close(mut self) -> Operation<Accounts> {
        self.begin_removal().unwrap_or_else(|| Operation::done(Ok(self.recorder.accounts())))
    }

    /// `None` if there is no runtime any more: then there is nothing to remove it from.
    fn begin_removal(&mut self) -> Option<Operation<Accounts>> {
        let host = self.host()?;
        self.host = None;
        Some(host.begin_removal(self.hosted()))
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.host.as_ref()?.upgrade()
    }

    fn hosted(&self) -> Arc<dyn Hosted> {
        Arc::clone(&self.recorder.node) as Arc<dyn Hosted>
    }
}

impl<E: MetricEvent> Drop for OwnedRecorder<E> {
    fn drop(&mut self) {
        // The operation goes on by itself; nobody waits for it.
        drop(self.begin_removal());
    }
}

impl<E: MetricEvent> Deref for OwnedRecorder<E> {
    type Target = Recorder<E>;

    #[inline(always)]
    fn deref(&self) -> &Recorder<E> {
        &self.recorder
    }
}

impl<E: MetricEvent> EventSink<E> for OwnedRecorder<E> {
    #[inline]
    fn register_event(&self, event: E) {
        self.recorder.register_event(event);
    }
}

impl<E: MetricEvent> fmt::Debug for OwnedRecorder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRecorder").field("recorder", &self.recorder).finish()
    }
}

impl<E: MetricEvent> RecorderBuilder<E> {
    /// [`create`](Self::create), for a recorder that is to be removed when its owner is dropped; see [`OwnedRecorder`].
    ///
    /// # Errors
    ///
    /// As `create`.
    pub fn create_owned(self) -> Result<OwnedRecorder<E>, Error> {
        let host = Arc::downgrade(&self.home.home);
        Ok(OwnedRecorder { recorder: self.create()?, host: Some(host) })
    }
}

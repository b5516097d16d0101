//! Exporters come and go.

use crate::export::driver::Driver;
use crate::export::driver::Post;
use crate::export::exporter::Exporter;
use crate::export::schedule::Schedule;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::model::name::RecorderId;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::recorder::operation::would_deadlock;
use crate::runtime::MetricsRuntime;
use crate::runtime::followers::Follower;
use crate::sync::own_thread;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;
use std::time::Instant;

impl MetricsRuntime {
    /// Adds an exporter, which delivers the runtime's state as the schedule says, from now on to the shutdown, which it is a part of: the last
    /// state is delivered within the shutdown's deadline, or its loss is in the [report](crate::ShutdownReport::exporters).
    ///
    /// It gets a thread of its own, `<namespace>.push.<name>`. Costs that thread's start, which is waited for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidId`] for a blank name, [`ErrorKind::AlreadyExists`], [`ErrorKind::LimitReached`] beyond
    /// [`MAX_EXPORTERS`](crate::limits::MAX_EXPORTERS), [`ErrorKind::InvalidLimit`] for a schedule that could never deliver,
    /// [`ErrorKind::InvalidState`] once a shutdown has begun, [`ErrorKind::StartFailed`] if there is no thread to be had (it can be tried
    /// again), [`ErrorKind::Forked`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::{NoopExporter, Schedule};
    /// use std::time::Duration;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// runtime.add_exporter("nothing", Schedule::every(Duration::from_secs(15)), NoopExporter)?;
    /// assert_eq!(runtime.exporters()[0].name, "nothing");
    /// let report = runtime.shutdown(Duration::from_secs(5))?; // delivers once more
    /// assert!(report.is_complete() && report.exporters()[0].delivered >= 1);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn add_exporter(&self, name: &str, schedule: Schedule, exporter: impl Exporter) -> Result<(), Error> {
        let added = add(self, name, schedule, exporter);
        // The exporter may have been given back to be dropped here, so a refusal is told after that.
        added.inspect_err(|_| ())
    }

    /// Removes an exporter: it delivers once more and ends, within `within`; afterwards its name is free. Of several callers one succeeds.
    ///
    /// Blocks until it has ended, at most `within`. One that does not come back is removed all the same; its thread ends when it does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`]; [`ErrorKind::ExportFailed`] if the last state could not be delivered, [`ErrorKind::Timeout`] if it had not ended
    /// in time; [`ErrorKind::WouldDeadlock`] on one of the runtime's own threads (nothing has happened then); [`ErrorKind::Forked`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::{NoopExporter, Schedule};
    /// use mvx_metrics::{ErrorKind, MetricsRuntime};
    /// use std::time::Duration;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.add_exporter("nothing", Schedule::on_demand(), NoopExporter)?;
    /// runtime.remove_exporter("nothing", Duration::from_secs(5))?;
    /// let again = runtime.remove_exporter("nothing", Duration::from_secs(5));
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn remove_exporter(&self, name: &str, within: Duration) -> Result<(), Error> {
        if self.inner().control.hub.is_forked() {
            return Err(Error::forked());
        }
        if own_thread::is_own() {
            return Err(would_deadlock());
        }
        let name = RecorderId::new(name)?;
        let follower = self.inner().followers.leave(&name).ok_or_else(|| not_found(&name))?;
        follower.finish(Instant::now().checked_add(within)).wait(within.saturating_add(limits::EXIT_GRACE))
    }

    /// Calls an exporter again that panicked and was quarantined, from the next time of its schedule on; false if it was not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::{NoopExporter, Schedule};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.add_exporter("nothing", Schedule::on_demand(), NoopExporter)?;
    /// assert!(!runtime.reinstate_exporter("nothing")?); // it does not panic
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn reinstate_exporter(&self, name: &str) -> Result<bool, Error> {
        let name = RecorderId::new(name)?;
        let all = self.inner().followers.all();
        let found = all.iter().find(|follower| *follower.name() == name);
        found.map(|follower| follower.reinstate()).ok_or_else(|| not_found(&name))
    }
}

fn add(
    runtime: &MetricsRuntime,
    name: &str,
    schedule: Schedule,
    exporter: impl Exporter,
) -> Result<(), Error> {
    let inner = runtime.inner();
    let exporter = Box::new(exporter);
    let allowed = RecorderId::new(name).and_then(|name| {
        schedule.check()?;
        if inner.control.hub.is_forked() {
            return Err(Error::forked());
        }
        let post = Arc::new(Post::new(name));
        inner.followers.enter(Arc::clone(&post) as Arc<dyn Follower>)?;
        Ok(post)
    });
    let post = match allowed {
        Ok(post) => post,
        Err(error) => {
            drop_quietly(exporter);
            return Err(error);
        }
    };
    let name = post.name().clone();
    let (told, ready) = mpsc::channel();
    let driver = Driver::new(Arc::clone(inner), Arc::clone(&post), schedule, exporter);
    let thread = Builder::new().name(format!("{}.push.{name}", inner.namespace));
    // Should there be no thread, the exporter is dropped here with the closure: the user's code, hence the guard.
    let spawned = call_user(|| thread.spawn(move || driver.run(&told)));
    let failed = match spawned {
        Ok(Ok(_)) => ready.recv_timeout(limits::START_TIMEOUT).unwrap_or(Ok(())).err(),
        Ok(Err(cause)) => Some(cause),
        Err(payload) => {
            drop_quietly(payload);
            Some(std::io::Error::other("no thread"))
        }
    };
    let Some(cause) = failed else { return Ok(()) };
    let message =
        format!("exporter {name} cannot be started; free some threads or file descriptors, and add it again");
    let error = Error::new(ErrorKind::StartFailed, message).with_source(cause);
    drop(inner.followers.leave(&name));
    post.never_began(error.clone());
    Err(error)
}

fn not_found(name: &RecorderId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no exporter {name}; add it first, or check the name"))
}

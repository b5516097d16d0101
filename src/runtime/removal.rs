//! Removing one recorder, with somebody who waits for it or without.

use crate::model::accounts::Accounts;
use crate::model::error::Error;
use crate::model::incident::IncidentKind;
use crate::recorder::hosted::Abandonment;
use crate::recorder::hosted::Hosted;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::runtime::Inner;
use crate::runtime::shutdown;
use crate::sync::Mutex;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Weak;
use std::task::Context;
use std::task::Wake;
use std::task::Waker;
use std::time::Duration;

/// Removes a recorder whose removal the caller has begun in the registry. Blocks until it is settled, or given up after `timeout`.
pub(crate) fn finish(
    inner: &Inner,
    recorder: &Arc<dyn Hosted>,
    timeout: Duration,
) -> Result<Accounts, Error> {
    if inner.control.hub.is_attended() {
        if let Some(accounts) = here(inner, recorder) {
            return Ok(accounts);
        }
    }
    let result = shutdown::settle(inner, recorder, timeout, Abandonment::Removed);
    end(inner, recorder, result)
}

/// The whole removal on this thread, if the worker has nothing to do for it. A connection that was never used, or whose last events are shown, is
/// gone at once, and takes nothing of the worker.
fn here(inner: &Inner, recorder: &Arc<dyn Hosted>) -> Option<Accounts> {
    if !Arc::clone(recorder).stop_idle() {
        return None;
    }
    end(inner, recorder, Ok(())).ok()
}

/// Begins the removal of this very recorder: its door is shut at the return, and it goes when everything accepted is settled.
pub(crate) fn begin(inner: &Arc<Inner>, recorder: Arc<dyn Hosted>) -> Operation<Accounts> {
    if inner.control.hub.is_forked() {
        return Operation::done(Err(Error::forked()));
    }
    if let Err(error) = inner.registry.begin_removal_of(&*recorder) {
        return Operation::done(Err(error));
    }
    if !inner.control.hub.is_attended() && recorder.accounts().is_settled() {
        // Nobody comes yet, and nothing is to be processed.
        return Operation::done(finish(inner, &recorder, Duration::ZERO));
    }
    if let Some(accounts) = here(inner, &recorder) {
        return Operation::done(Ok(accounts));
    }
    let (operation, done) = Operation::new(None);
    let (stop, stopped) = Operation::new(None);
    let removal = Removal {
        inner: Arc::downgrade(inner),
        recorder: Arc::clone(&recorder),
        stop: stop.clone(),
        done: Mutex::new(Some(done)),
    };
    let waker = Waker::from(Arc::new(removal));
    // Pending, for nobody has been asked yet: the end of the stop wakes the removal.
    let _ = pin!(stop).poll(&mut Context::from_waker(&waker));
    recorder.stop(stopped);
    operation
}

/// The id is free, and whoever listens is told how it went.
fn end(inner: &Inner, recorder: &Arc<dyn Hosted>, result: Result<(), Error>) -> Result<Accounts, Error> {
    recorder.retire();
    inner.tell_all(recorder.last_look());
    // Everything accepted is settled and published, or given up: nothing comes after this.
    let last = recorder.snapshot();
    let gone = inner.control.hub.groups.retire(&last, || inner.registry.end_removal(recorder));
    // After the lock: it may hold a user's metrics.
    drop(gone);
    inner.control.note_removal();
    recorder.let_go();
    let accounts = recorder.accounts();
    recorder.note(match &result {
        Ok(()) => IncidentKind::RecorderRemoved { accounts },
        Err(error) => IncidentKind::RemovalIncomplete { accounts, error: error.clone() },
    });
    result.map(|()| accounts)
}

/// A removal under way that nobody's thread waits for: whoever ends the stop, mostly the worker, wakes it, and that is its run.
///
/// It keeps the recorder, and the recorder's mailbox keeps it, until the stop is answered: the worker does that, or the shutdown that
/// every runtime comes to.
struct Removal {
    inner: Weak<Inner>,
    recorder: Arc<dyn Hosted>,
    stop: Operation,
    done: Mutex<Option<Completer<Accounts>>>,
}

impl Wake for Removal {
    fn wake(self: Arc<Self>) {
        let Some(done) = self.done.lock().take() else { return };
        let stopped = self.stop.result().unwrap_or(Ok(()));
        done.complete(match self.inner.upgrade() {
            Some(inner) => end(&inner, &self.recorder, stopped),
            None => stopped.map(|()| self.recorder.accounts()),
        });
    }
}

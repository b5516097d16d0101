//! Shutdown: a watchdog thread of its own keeps the deadline, whatever the worker is held by.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::incident::IncidentKind;
use crate::model::limits;
use crate::recorder::hosted::Abandonment;
use crate::recorder::hosted::Hosted;
use crate::recorder::journal::Untold;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::recorder::operation::would_deadlock;
use crate::runtime::Inner;
use crate::runtime::RuntimeState;
use crate::runtime::followers;
use crate::runtime::followers::ExporterReport;
use crate::runtime::followers::left;
use crate::runtime::life;
use crate::runtime::life::Shutdown;
use crate::runtime::liveness;
use crate::runtime::liveness::CallUnderWay;
use crate::runtime::report::RecorderReport;
use crate::runtime::report::ShutdownReport;
use crate::runtime::telling::Telling;
use crate::sync::own_thread;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;
use std::time::Instant;

/// Begins a shutdown, or joins the one that was begun before. Returns at once, in any context.
pub(crate) fn begin(inner: &Arc<Inner>, deadline: Duration) -> Operation<ShutdownReport> {
    if inner.control.hub.is_forked() {
        return Operation::done(Err(Error::forked()));
    }
    let (operation, done) = match life::begin_shutdown(&inner.life) {
        Shutdown::Begun(operation, done) => (operation, done),
        Shutdown::Joined(operation) => return operation,
    };
    end_listening(inner);
    let until = Instant::now().checked_add(deadline);
    let (watched, mut done) = (Arc::clone(inner), Some(done));
    if inner.life.lock().worker.is_none() && inner.followers.is_empty() {
        // Never started, and nobody exports: nobody can be held by anything, so there is nothing to watch.
        if let Some(done) = done.take() {
            conclude(&watched, until, done);
        }
        return operation;
    }
    let spawned = spawn_watchdog(&watched, until, &mut done);
    if let (false, Some(done)) = (spawned, done) {
        // No thread to be had: the caller keeps the deadline itself rather than nobody.
        conclude(inner, until, done);
    }
    operation
}

/// Tells whoever waits for the beginning of a shutdown, and whoever listens to signals, that there is nothing more to wait for.
fn end_listening(inner: &Inner) {
    let mut waiting = inner.life.lock().take_watchers();
    #[cfg(feature = "signals")]
    waiting.extend(inner.life.lock().on_shutdown.take());
    // Unlocked: it wakes their threads.
    for watcher in waiting.drain(..) {
        watcher.complete(Ok(()));
    }
}

/// Hands `done` to a new thread; leaves it in its place if there is none to be had.
fn spawn_watchdog(
    inner: &Arc<Inner>,
    until: Option<Instant>,
    done: &mut Option<Completer<ShutdownReport>>,
) -> bool {
    let slot = Arc::new(crate::sync::Mutex::new(done.take()));
    let (watched, handed) = (Arc::clone(inner), Arc::clone(&slot));
    let spawned = Builder::new().name(format!("{}.watchdog", inner.namespace)).spawn(move || {
        let done = handed.lock().take();
        if let Some(done) = done {
            conclude(&watched, until, done);
        }
    });
    if spawned.is_err() {
        *done = slot.lock().take();
    }
    spawned.is_ok()
}

/// The shutdown itself.
fn conclude(inner: &Arc<Inner>, until: Option<Instant>, done: Completer<ShutdownReport>) {
    let recorders = inner.registry.close();
    let telling = Telling::beside(&inner.control.hub.journal, inner.namespace.as_str());
    telling.tell(of_runtime(inner, IncidentKind::ShutdownBegan { recorders: recorders.len() }));
    let (errors, held_by) = settle_all(inner, &recorders, until);
    // Beside the worker's end, so that a follower that does not come back and a worker that does not are waited for once.
    let finishing = followers::finish(inner, until);
    inner.control.end();
    let worker = inner.life.lock().worker.clone();
    let ran = worker.is_some() || !inner.followers.is_empty();
    let worker_ended =
        worker.is_none_or(|worker| worker.wait(left(until).saturating_add(limits::EXIT_GRACE)).is_ok());
    // With nothing pending a call may still hold the worker: the destructor of something removed, or a hook that blocks.
    let held_by = held_by.or_else(|| if worker_ended { None } else { liveness::call(inner) });
    let exporters = finishing.wait();
    let report = report(inner, &recorders, errors, exporters, (worker_ended, held_by));
    tell_ended(inner, &recorders, &report, &telling);
    if ran {
        // Of a runtime that never ran this may be the thread that drops it, which waits for nobody.
        telling.end();
    }
    done.complete(Ok(report));
    // After the answer, which nobody's destructor may delay.
    recorders.iter().for_each(|recorder| recorder.let_go());
}

fn of_runtime(inner: &Inner, kind: IncidentKind) -> Untold {
    Untold { recorder: None, logged_from: inner.control.hub.journal.logged_from(), kind }
}

fn tell_ended(inner: &Inner, recorders: &[Arc<dyn Hosted>], report: &ShutdownReport, telling: &Telling) {
    let losses = recorders.iter().flat_map(|recorder| recorder.last_look());
    losses.for_each(|incident| telling.tell(incident));
    let (accounts, worker_ended) = (report.accounts(), report.worker_ended);
    telling.tell(of_runtime(
        inner,
        match report.is_complete() {
            true => IncidentKind::ShutdownCompleted { accounts },
            false => IncidentKind::ShutdownIncomplete { accounts, worker_ended },
        },
    ));
}

/// The end: answers what is still owed, and writes down what became of everything.
fn report(
    inner: &Inner,
    recorders: &[Arc<dyn Hosted>],
    errors: Vec<Option<Error>>,
    exporters: Vec<ExporterReport>,
    (worker_ended, held_by): (bool, Option<CallUnderWay>),
) -> ShutdownReport {
    for recorder in recorders {
        recorder.retire();
    }
    inner.control.hub.end();
    let reports = recorders.iter().zip(errors).map(|(recorder, error)| RecorderReport {
        id: recorder.identity().id.clone(),
        accounts: recorder.accounts(),
        error,
    });
    let recorders = reports.collect();
    let mut life = inner.life.lock();
    life.state = RuntimeState::Closed;
    ShutdownReport { recorders, exporters: exporters.into(), worker_ended, worker_lost: life.lost, held_by }
}

/// A shutdown whose worker is stepped by the caller.
#[cfg(feature = "testing")]
pub(crate) fn by_hand(inner: &Inner, work_off: impl FnOnce()) -> ShutdownReport {
    let recorders = inner.registry.close();
    let telling = Telling::here(&inner.control.hub.journal);
    telling.tell(of_runtime(inner, IncidentKind::ShutdownBegan { recorders: recorders.len() }));
    let stops = stop_all(&recorders);
    work_off();
    let errors = stops.iter().map(|stop| stop.result().and_then(Result::err)).collect();
    let exporters = followers::finish(inner, Instant::now().checked_add(limits::START_TIMEOUT)).wait();
    let report = report(inner, &recorders, errors, exporters, (true, None));
    tell_ended(inner, &recorders, &report, &telling);
    inner.life.lock().shutdown = Some(Operation::done(Ok(report.clone())));
    end_listening(inner);
    recorders.iter().for_each(|recorder| recorder.let_go());
    report
}

/// Closes all, then waits for each; what is not settled at the deadline is given up. With the call that held the worker then.
fn settle_all(
    inner: &Inner,
    recorders: &[Arc<dyn Hosted>],
    until: Option<Instant>,
) -> (Vec<Option<Error>>, Option<CallUnderWay>) {
    if inner.life.lock().worker.is_none() {
        let given_up = recorders.iter().map(|recorder| give_up(recorder, Abandonment::Removed));
        return (given_up.collect(), None);
    }
    let mut held_by = None;
    let waited =
        recorders.iter().zip(stop_all(recorders)).map(|(recorder, stop)| match stop.wait(left(until)) {
            Ok(()) => recorder.lost(),
            // Everything was settled before its stop hook failed: there is nothing to give up.
            Err(error) if error.kind() == ErrorKind::HookFailed => Some(error),
            Err(_) => {
                // Before the first one is given up: a call may end right after it.
                held_by = held_by.take().or_else(|| liveness::call(inner));
                give_up_late(recorder, Abandonment::Deadline, held_by.as_ref())
            }
        });
    (waited.collect(), held_by)
}

fn stop_all(recorders: &[Arc<dyn Hosted>]) -> Vec<Operation> {
    let begin = |recorder: &Arc<dyn Hosted>| {
        let (stop, done) = Operation::new(None);
        Arc::clone(recorder).stop(done);
        stop
    };
    recorders.iter().map(begin).collect()
}

/// Stops recorders that stay registered, and waits for them; the first error, once none is left to wait for.
pub(crate) fn halt(inner: &Inner, recorders: &[Arc<dyn Hosted>], timeout: Duration) -> Result<(), Error> {
    if inner.control.hub.is_forked() {
        return Err(Error::forked());
    }
    if own_thread::is_own() {
        return Err(would_deadlock());
    }
    if !inner.control.hub.is_attended() && recorders.iter().any(|recorder| !recorder.accounts().is_settled())
    {
        let message = "no worker drains these recorders; start their runtime first";
        return Err(Error::new(ErrorKind::InvalidState, message)
            .with_states(inner.control.hub.unattended_state(), "Running"));
    }
    let until = Instant::now().checked_add(timeout);
    let begin = |recorder: &Arc<dyn Hosted>| {
        let (stop, done) = pending_stop(recorder);
        Arc::clone(recorder).halt(done);
        stop
    };
    let stops: Vec<_> = recorders.iter().map(begin).collect();
    stops.iter().map(|stop| stop.wait(left(until))).fold(Ok(()), Result::and)
}

/// An operation whose time-out says what is pending.
fn pending_stop(recorder: &Arc<dyn Hosted>) -> (Operation, Completer) {
    let weak = Arc::downgrade(recorder);
    Operation::new(Some(Box::new(move || weak.upgrade().map_or(0, |recorder| recorder.accounts().pending()))))
}

/// Stops one recorder and waits for it; what is not settled in time is given up.
pub(crate) fn settle(
    inner: &Inner,
    recorder: &Arc<dyn Hosted>,
    timeout: Duration,
    reason: Abandonment,
) -> Result<(), Error> {
    let until = Instant::now().checked_add(timeout);
    let mut late = false;
    if inner.control.hub.is_attended() {
        let (stop, done) = Operation::new(None);
        Arc::clone(recorder).stop(done);
        match stop.wait(left(until)) {
            Err(error) if error.kind() != ErrorKind::HookFailed => late = true,
            // Over, well or not: everything was settled before the stop hook ran.
            ended => return ended,
        }
    }
    let error = if late {
        give_up_late(recorder, reason, liveness::call(inner).as_ref())
    } else {
        give_up(recorder, reason)
    };
    error.map_or(Ok(()), Err)
}

/// Gives up what a recorder has pending when its time is over; the error also names what held it, and a hook that was not over.
fn give_up_late(
    recorder: &Arc<dyn Hosted>,
    reason: Abandonment,
    held_by: Option<&CallUnderWay>,
) -> Option<Error> {
    let hook = recorder.owed_hook();
    let count = recorder.abandon(reason);
    let id = &recorder.identity().id;
    let what = match (count, hook) {
        (0, None) => return None,
        (0, Some(hook)) => format!("the hook {} of recorder {id} was not over in time", hook.name()),
        (_, None) => format!("{count} events of recorder {id} were given up"),
        (_, Some(hook)) => {
            format!(
                "{count} events of recorder {id} were given up, and its hook {} was not over",
                hook.name()
            )
        }
    };
    let held = held_by.map(|call| format!(" while the worker was in {call}")).unwrap_or_default();
    let message = format!("{what}{held}; give it more time, or mend what takes it");
    Some(Error::new(ErrorKind::Timeout, message).with_pending(count))
}

/// Gives up what a recorder has pending; the error says how much it was, if it was anything.
fn give_up(recorder: &Arc<dyn Hosted>, reason: Abandonment) -> Option<Error> {
    let count = recorder.abandon(reason);
    (count > 0).then(|| {
        let message = format!(
            "{count} events of recorder {} were given up; give it more time, or find what holds its metrics",
            recorder.identity().id
        );
        Error::new(ErrorKind::Timeout, message).with_pending(count)
    })
}

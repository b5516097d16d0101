//! The worker thread: makes its own tokio loop, reports, runs, and drops the loop where it made it.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::incident::IncidentKind;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::recorder::hosted::Abandonment;
use crate::recorder::hub::Unattended;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::runtime::Inner;
use crate::runtime::RuntimeState;
use crate::runtime::hooks::OnLoop;
use crate::runtime::worker::Worker;
use crate::sync::own_thread;
use std::sync::Arc;
use std::thread::Builder;

/// Begins a start, or joins the one under way.
pub(crate) fn start(inner: &Arc<Inner>) -> Result<Operation, Error> {
    if inner.control.hub.is_forked() {
        return Err(Error::forked());
    }
    let mut life = inner.life.lock();
    match (life.state, &life.starting) {
        (RuntimeState::Starting | RuntimeState::Running, Some(starting)) => return Ok(starting.clone()),
        (RuntimeState::Created | RuntimeState::Failed, _) if life.worker.is_none() => {}
        (state, _) => {
            let message = "the runtime cannot be started any more; build another one";
            return Err(Error::new(ErrorKind::InvalidState, message).with_states(state.name(), "Created"));
        }
    }
    let (starting, started) = Operation::new(None);
    let (worker, ended) = Operation::new(None);
    let thread_inner = Arc::clone(inner);
    let spawned = Builder::new()
        .name(format!("{}.metrics", inner.namespace))
        .spawn(move || run(&thread_inner, started, ended));
    if let Err(cause) = spawned {
        life.state = RuntimeState::Failed;
        inner.control.hub.not_yet(Unattended::Failed);
        let message = "the worker thread cannot be started; free some threads or memory and start again";
        return Err(Error::new(ErrorKind::StartFailed, message).with_source(cause));
    }
    life.state = RuntimeState::Starting;
    inner.control.hub.not_yet(Unattended::Starting);
    life.starting = Some(starting.clone());
    life.worker = Some(worker);
    Ok(starting)
}

/// The thread's whole life.
fn run(inner: &Arc<Inner>, started: Completer, ended: Completer) {
    own_thread::mark();
    let tokio = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(tokio) => tokio,
        Err(cause) => {
            let message = "the worker's loop cannot be made; free some file descriptors and start again";
            let error = Error::new(ErrorKind::StartFailed, message).with_source(cause);
            return fail(inner, error, started, ended);
        }
    };
    // A clock is user code. Nothing has been begun yet, so one that panics here costs this start, not the runtime.
    let now = match call_user(|| inner.settings.clock.now()) {
        Ok(now) => now,
        Err(payload) => {
            drop_quietly(payload);
            let message = "the runtime's clock panicked at its first look; mend the clock and start again";
            return fail(inner, Error::new(ErrorKind::StartFailed, message), started, ended);
        }
    };
    let under_way = Arc::clone(inner.control.hooks());
    inner.control.hub.employ(Arc::new(OnLoop { handle: tokio.handle().clone(), under_way }));
    let worker = Worker::new(Arc::clone(&inner.control), Arc::clone(&inner.settings.clock), now, move || {
        started.complete(Ok(()));
    });
    {
        let mut life = inner.life.lock();
        if life.state == RuntimeState::Starting {
            life.state = RuntimeState::Running;
        }
    }
    inner.note(IncidentKind::RuntimeStarted);
    // User code is caught where it is called; this is for a mistake of our own, which must not be silent.
    let lost = call_user(|| tokio.block_on(worker.run())).is_err();
    if lost {
        lose(inner);
    }
    drop(tokio);
    ended.complete(Ok(()));
}

/// The start has failed, and can be tried again; unless a shutdown has begun meanwhile, whose state stays.
fn fail(inner: &Arc<Inner>, error: Error, started: Completer, ended: Completer) {
    {
        let mut life = inner.life.lock();
        if life.state == RuntimeState::Starting {
            life.state = RuntimeState::Failed;
        }
        inner.control.hub.not_yet(Unattended::Failed);
        (life.worker, life.starting) = (None, None);
    }
    inner.note(IncidentKind::RuntimeStartFailed { error: error.clone() });
    started.complete(Err(error));
    ended.complete(Ok(()));
}

/// The worker panicked: every recorder fails, and what they held is counted.
fn lose(inner: &Arc<Inner>) {
    {
        let mut life = inner.life.lock();
        (life.state, life.lost) = (RuntimeState::Failed, true);
    }
    inner.note(IncidentKind::WorkerLost);
    for recorder in inner.registry.close() {
        recorder.abandon(Abandonment::WorkerLost);
        recorder.retire();
        inner.tell_all(recorder.last_look());
    }
}

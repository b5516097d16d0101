//! Something under way that somebody may wait for: from any executor, any number of times, with or without a deadline.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::sync::Monitor;
use crate::sync::MonitorGuard;
use crate::sync::own_thread;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

/// An operation under way. `Clone` gives another handle to the same operation.
///
/// It is a future for any executor, and it can be waited for by a plain thread. Dropping it cancels nothing.
///
/// # Cancel safety
///
/// Dropping the future loses nothing: the operation goes on, and another handle, or the same one again, gives its result.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime.recorder::<Saved>("storage").create()?;
/// recorder.register_event(Saved);
/// let flush = recorder.flush();
/// flush.wait(Duration::from_secs(5))?;
/// flush.wait(Duration::ZERO)?; // over and done with: the same answer again
/// assert_eq!(recorder.accounts().processed, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "an operation goes on when it is dropped, but nobody learns how it ended"]
pub struct Operation<T = ()> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Monitor<State<T>>,
}

struct State<T> {
    result: Option<Result<T, Error>>,
    wakers: Vec<Waker>,
    /// Threads that wait: to wake nobody takes a call of the system as well.
    waiting: u32,
    /// How many events were pending when somebody last asked; goes into the time-out's error.
    pending: Option<PendingFn>,
}

type PendingFn = Box<dyn Fn() -> u64 + Send>;

/// The other end: whoever holds it owes the answer, and a dropped one answers that the worker is gone.
pub(crate) struct Completer<T = ()> {
    shared: Arc<Shared<T>>,
}

impl<T: Clone> Operation<T> {
    /// An operation and its completer. `pending` is asked when somebody's time is over.
    pub(crate) fn new(pending: Option<PendingFn>) -> (Self, Completer<T>) {
        let shared = Shared::new(None, pending);
        (Self { shared: Arc::clone(&shared) }, Completer { shared })
    }

    /// An operation that is over.
    pub(crate) fn done(result: Result<T, Error>) -> Self {
        Self { shared: Shared::new(Some(result), None) }
    }

    /// Waits at most `timeout` for the end.
    ///
    /// # Errors
    ///
    /// The operation's own error; [`ErrorKind::Timeout`] when the time is over first (the operation goes on), with the number
    /// of events still pending; [`ErrorKind::WouldDeadlock`] on one of the runtime's own threads, unless it is over already.
    pub fn wait(&self, timeout: Duration) -> Result<T, Error> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.shared.lock();
        if state.result.is_none() && own_thread::is_own() {
            return Err(would_deadlock());
        }
        loop {
            if let Some(result) = &state.result {
                return result.clone();
            }
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3_600),
            };
            if left.is_zero() {
                return Err(timed_out(timeout, &state));
            }
            state.waiting += 1;
            state = self.shared.state.wait(state, left);
            state.waiting -= 1;
        }
    }

    /// The result, if the operation is over.
    pub fn result(&self) -> Option<Result<T, Error>> {
        self.shared.lock().result.clone()
    }
}

pub(crate) fn would_deadlock() -> Error {
    Error::new(
        ErrorKind::WouldDeadlock,
        "this call would wait for the thread it is made on; call it from outside metrics and hooks, or do not wait",
    )
}

fn timed_out<T>(timeout: Duration, state: &State<T>) -> Error {
    let message = format!("not over after {timeout:?}; it goes on, wait again or give it more time");
    let error = Error::new(ErrorKind::Timeout, message);
    match &state.pending {
        Some(pending) => error.with_pending(pending()),
        None => error,
    }
}

impl<T> Shared<T> {
    fn new(result: Option<Result<T, Error>>, pending: Option<PendingFn>) -> Arc<Self> {
        Arc::new(Self { state: Monitor::new(State { result, wakers: Vec::new(), waiting: 0, pending }) })
    }

    fn lock(&self) -> MonitorGuard<'_, State<T>> {
        self.state.lock()
    }
}

impl<T> Completer<T> {
    /// Whether anybody still holds the operation.
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// Another handle to the operation that this ends.
    pub(crate) fn operation(&self) -> Operation<T> {
        Operation { shared: Arc::clone(&self.shared) }
    }

    /// Ends the operation, and wakes whoever waits.
    pub(crate) fn complete(self, result: Result<T, Error>) {
        self.finish(|| result);
    }

    fn finish(&self, result: impl FnOnce() -> Result<T, Error>) {
        let (wakers, waiting, pending) = {
            let mut state = self.shared.lock();
            if state.result.is_some() {
                return;
            }
            state.result = Some(result());
            (std::mem::take(&mut state.wakers), state.waiting > 0, state.pending.take())
        };
        drop(pending);
        if waiting {
            self.shared.state.tell_all();
        }
        // Outside the lock: a waker is the caller's code.
        for waker in wakers {
            wake_quietly(waker);
        }
    }
}

/// Wakes somebody by code that is not ours, and so may panic.
pub(crate) fn wake_quietly(waker: Waker) {
    crate::queue::drop_quietly(WakeOnDrop(Some(waker)));
}

/// The same through a waker that others hold as well.
pub(crate) fn wake_shared_quietly(waker: Arc<Waker>) {
    struct Shared(Arc<Waker>);

    impl Drop for Shared {
        fn drop(&mut self) {
            self.0.wake_by_ref();
        }
    }

    crate::queue::drop_quietly(Shared(waker));
}

/// Wakes inside the guard that catches panics: a foreign executor's waker must not end the worker.
pub(crate) struct WakeOnDrop(pub(crate) Option<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        self.finish(|| {
            let message = "the worker ended before it came to this; what was accepted is in the accounts";
            Err(Error::new(ErrorKind::WorkerLost, message))
        });
    }
}

impl<T: Clone> Future for Operation<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Outside the lock, as its end: how a waker is cloned and dropped is the executor's code.
        let fresh = context.waker().clone();
        let mut state = self.shared.lock();
        if let Some(result) = &state.result {
            let result = result.clone();
            drop(state);
            return Poll::Ready(result);
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(&fresh)) {
            state.wakers.push(fresh);
            return Poll::Pending;
        }
        drop(state);
        Poll::Pending
    }
}

impl<T> Clone for Operation<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("over", &self.shared.lock().result.is_some()).finish()
    }
}

//! Asking sources before a collection: each on a thread of a bounded pool, and for as long as the collection may wait.
//!
//! A source is asked by one call at a time, whoever collects; those who come meanwhile wait for the same call. One that is not over in time is
//! abandoned: it keeps its thread until it returns, and nobody waits for it again before that.

use crate::model::clock::Clock;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::runtime::Inner;
use crate::runtime::collection::source::Entry;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// Something to be done on a thread of a pool.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A bounded pool of threads. The pool is the edge's; a runtime keeps one for its sources.
pub(crate) trait RunsJobs: Send + Sync {
    /// Hands a job over; false, and it is dropped, if there is no room.
    fn run(&self, job: Job) -> bool;
}

/// The call of a source that is under way.
pub(super) struct Call {
    done: Operation,
    abandoned: bool,
}

/// Calls that a collection waits for.
pub(crate) struct Asking {
    calls: Vec<(Arc<Entry>, Operation)>,
    late: usize,
}

/// Begins to ask every source that is due, each on a thread of the runtime's pool, which `pool` makes if there is none yet.
pub(crate) fn begin(inner: &Inner, pool: impl FnOnce() -> Box<dyn RunsJobs>) -> Asking {
    let entries = inner.sources.list();
    let mut asking = Asking { calls: Vec::new(), late: 0 };
    if entries.is_empty() || inner.control.hub.is_forked() {
        return asking;
    }
    let pool = inner.sources.pool.get_or_init(pool);
    for entry in entries {
        match entry.begin(&inner.settings.clock, &**pool) {
            Begun::NotDue => {}
            Begun::Asked(done) => asking.calls.push((entry, done)),
            Begun::Late => asking.late += 1,
        }
    }
    asking
}

/// What became of the wish to ask a source.
enum Begun {
    NotDue,
    Asked(Operation),
    /// It was abandoned and is not back, or no thread is left.
    Late,
}

impl Entry {
    fn begin(self: &Arc<Self>, clock: &Arc<dyn Clock>, pool: &dyn RunsJobs) -> Begun {
        let now = clock.now();
        let (done, completer) = {
            let mut call = self.call.lock();
            match &*call {
                Some(call) if call.abandoned => return Begun::Late,
                Some(call) => return Begun::Asked(call.done.clone()),
                None => {}
            }
            if !self.is_due(now) {
                return Begun::NotDue;
            }
            let (done, completer) = Operation::new(None);
            *call = Some(Call { done: done.clone(), abandoned: false });
            (done, completer)
        };
        let clock = Arc::clone(clock);
        let job = UnderWay { entry: Arc::clone(self), done: Some(completer) };
        let runs = pool.run(Box::new(move || {
            let UnderWay { entry, .. } = &job;
            entry.ask(clock.now());
            drop(job);
        }));
        if runs { Begun::Asked(done) } else { Begun::Late }
    }

    /// Nobody waits for this call any longer.
    fn abandon(&self, done: &Operation) -> bool {
        let mut call = self.call.lock();
        let Some(call) = call.as_mut().filter(|_| done.result().is_none()) else { return false };
        if !std::mem::replace(&mut call.abandoned, true) {
            self.count_abandoned();
        }
        true
    }
}

/// A call on its way to a thread, or on it. However it ends, the source can be asked again.
struct UnderWay {
    entry: Arc<Entry>,
    done: Option<Completer>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Dropped after the lock: it may be the last owner of somebody's waker.
        let _call = self.entry.call.lock().take();
        if let Some(done) = self.done.take() {
            done.complete(Ok(()));
        }
    }
}

impl Asking {
    /// Waits for all of them, at most so long; how many sources were due and have not given anything.
    #[cfg(any(feature = "http", feature = "axum08"))]
    pub(crate) fn wait(mut self, within: std::time::Duration) -> usize {
        let until = std::time::Instant::now().checked_add(within);
        for (_, done) in &self.calls {
            drop(done.wait(crate::runtime::followers::left(until)));
        }
        self.give_up()
    }

    /// The same, until something else is over.
    pub(crate) async fn until(mut self, over: impl Future<Output = ()>) -> usize {
        let mut over = pin!(over);
        poll_fn(|context| {
            for (_, done) in &mut self.calls {
                if Pin::new(done).poll(context).is_pending() {
                    return over.as_mut().poll(context);
                }
            }
            Poll::Ready(())
        })
        .await;
        self.give_up()
    }

    fn give_up(&mut self) -> usize {
        self.late + self.calls.drain(..).filter(|(entry, done)| entry.abandon(done)).count()
    }
}

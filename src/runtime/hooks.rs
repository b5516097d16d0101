//! Runs lifecycle hooks as tasks of the worker's own loop, beside the drain loop.

use crate::recorder::hooks::Executor;
use crate::recorder::hooks::HookDone;
use crate::recorder::hooks::HookFuture;
use crate::recorder::hooks::Phase;
use crate::recorder::hooks::hook_panicked;
use crate::recorder::hooks::hook_result;
use crate::recorder::hooks::hook_timed_out;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// The worker's loop, as a place for hooks. The count tells the worker to share the loop.
pub(crate) struct OnLoop {
    pub(crate) handle: Handle,
    pub(crate) under_way: Arc<AtomicUsize>,
}

impl Executor for OnLoop {
    fn run(&self, hook: HookFuture, phase: Phase, deadline: Duration, done: HookDone) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        let count = UnderWay(Arc::clone(&self.under_way));
        self.handle.spawn(async move {
            // A task of its own, so that a panic in it is an answer.
            let mut task = tokio::spawn(hook);
            let result = match tokio::time::timeout(deadline, &mut task).await {
                Ok(Ok(result)) => hook_result(phase, result),
                Ok(Err(panic)) => {
                    // What it panicked with is the user's, too.
                    crate::queue::drop_quietly(panic);
                    Err(hook_panicked(phase))
                }
                Err(_) => {
                    task.abort();
                    Err(hook_timed_out(phase, deadline))
                }
            };
            drop(count);
            done(result);
        });
    }
}

/// Counts down, also when the loop ends under the hook.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

//! Something for the worker to stand at.

use crate::Failure;
use crate::event::Saved;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

/// A recorder of a runtime's own whose metric waits for a lock.
pub struct Gate {
    lock: Arc<Mutex<()>>,
    recorder: Recorder<Saved>,
}

impl Gate {
    pub fn of(runtime: &MetricsRuntime) -> Result<Self, Failure> {
        let lock = Arc::new(Mutex::new(()));
        let waits = Arc::clone(&lock);
        let recorder = runtime
            .recorder::<Saved>("gate")
            .counter("gate.held", move |c| {
                c.value(move |_| {
                    drop(waits.lock().unwrap_or_else(PoisonError::into_inner));
                    Some(1_u64)
                })
            })
            .create()?;
        Ok(Self { lock, recorder })
    }

    /// Runs `work` while the worker stands in a call.
    pub fn shut<R>(&self, runtime: &MetricsRuntime, work: impl FnOnce() -> R) -> R {
        let shut = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.recorder.register_event(Saved::numbered(1));
        while runtime.liveness().call().is_none() {
            thread::yield_now();
        }
        let done = work();
        drop(shut);
        done
    }
}

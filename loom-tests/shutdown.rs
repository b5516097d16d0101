//! Two shutdowns at once, and the last handle dropped meanwhile: one of them begins the shutdown and owes its report, and all get the same.
//!
//! seeded bug: shutdown_looked_up_apart caught by loom_tests::shutdown::two_shutdowns_and_the_last_handle

use super::explore;
use crate::recorder::operation::Operation;
use crate::runtime::RuntimeState;
use crate::runtime::life::Life;
use crate::runtime::life::Shutdown;
use crate::runtime::life::begin_shutdown;
use crate::runtime::report::ShutdownReport;
use crate::sync::Mutex;
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

struct Runtime {
    life: Mutex<Life>,
    /// std's, outside the model.
    begun: AtomicU64,
}

impl Runtime {
    /// As the real one does it, without a worker: whoever begins concludes.
    fn shut_down(&self) -> Operation<ShutdownReport> {
        match begin_shutdown(&self.life) {
            Shutdown::Joined(operation) => operation,
            Shutdown::Begun(operation, done) => {
                self.begun.fetch_add(1, Ordering::Relaxed);
                self.life.lock().state = RuntimeState::Closed;
                let recorders = Vec::new().into();
                let report = ShutdownReport {
                    recorders,
                    exporters: [].into(),
                    worker_ended: true,
                    worker_lost: false,
                    held_by: None,
                };
                done.complete(Ok(report));
                operation
            }
        }
    }
}

/// Dropped with the last of the handles.
struct LastHandle(Arc<Runtime>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        drop(self.0.shut_down());
    }
}

#[test]
fn two_shutdowns_and_the_last_handle() {
    explore("two_shutdowns_and_the_last_handle", 3, || {
        let runtime = Arc::new(Runtime { life: Mutex::new(Life::new()), begun: AtomicU64::new(0) });
        let last = Arc::new(LastHandle(Arc::clone(&runtime)));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let handle = Arc::clone(&last);
                thread::spawn(move || handle.0.shut_down())
            })
            .collect();
        drop(last);
        let operations: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        assert_eq!(runtime.begun.load(Ordering::Relaxed), 1, "shutdowns begun");
        let reports: Vec<_> =
            operations.iter().map(|operation| operation.result().unwrap().unwrap()).collect();
        let one = reports[0].recorders().as_ptr();
        assert!(reports.iter().all(|report| report.recorders().as_ptr() == one), "one report for all");
        assert_eq!(runtime.life.lock().state, RuntimeState::Closed);
    });
}

//! DESIGN 3.1, 3.3: a forked child has no worker; it is told so at once, and nothing hangs there.
#![cfg(all(feature = "runtime", unix, not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "support/forked.rs"]
mod forked;
mod support;

use crate::forked::in_child;
use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::scaled;
use crate::support::until;
use mvx_metrics::Counter;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::RuntimeState;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// Far longer than any check takes, and far shorter than what a call that waits would wait.
const AT_ONCE: Duration = Duration::from_secs(5);

fn counting(runtime: &MetricsRuntime, policy: OverflowPolicy) -> Recorder<Number> {
    let id = format!("{policy:?}");
    runtime.recorder(&id).overflow(policy).capacity(8).counter("events", |c| c).create().unwrap()
}

#[test]
fn in_a_child_events_come_back_reads_work_and_whatever_would_wait_fails_at_once() {
    for policy in [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest] {
        let runtime = running("parent");
        let recorder = counting(&runtime, policy);
        (0..5).for_each(|n| recorder.register_event(Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
        // Used by no other thread at the fork, as in a program that forks with care.
        until("the worker is idle", || runtime.liveness().call().is_none());
        in_child(|check| {
            let began = Instant::now();
            recorder.register_event(Number(1));
            let back = recorder.try_register_event(Number(2));
            check.that(matches!(back, Err(RegisterError::Forked(Number(2)))));
            let back = recorder.register_event_blocking(Number(3), PATIENCE);
            check.that(matches!(back, Err(RegisterError::Forked(Number(3)))));
            let mut batch = vec![Number(4), Number(5)];
            check.that(recorder.register_events(&mut batch) == 0 && batch.len() == 2);
            let accounts = recorder.accounts();
            check.that(accounts.rejected.forked == 5 && accounts.rejected.total() == 5);
            check.that(accounts.accepted == 5 && accounts.processed == 5);
            check.that(recorder.snapshot().counter("events", &[]) == Some(5));
            check.that(recorder.state() == RecorderState::Running);
            check.forked(recorder.flush_blocking(PATIENCE));
            check.forked_at_once(recorder.flush());
            check.forked_at_once(recorder.stop());
            check.forked_at_once(recorder.start());
            check.forked_at_once(recorder.on_metric_changed(|_| {}).1);
            check.forked_at_once(recorder.register_metric(Counter::builder("more").build().unwrap()));
            check.forked(runtime.recorder::<Number>("new").create());
            check.forked(runtime.stop_and_remove(recorder.id().as_str(), PATIENCE));
            check.forked(runtime.start());
            check.that(runtime.state() == RuntimeState::Failed && !runtime.liveness().is_alive());
            check.that(
                runtime.get::<Number>(recorder.id().as_str()).is_ok_and(|r| r.snapshot().sequence() == 5),
            );
            check.forked(runtime.shutdown(PATIENCE));
            drop((recorder.clone(), runtime.clone()));
            check.that(began.elapsed() < AT_ONCE);
        });
        // The parent has not noticed.
        recorder.register_event(Number(6));
        recorder.flush_blocking(PATIENCE).unwrap();
        assert_eq!((recorder.accounts().processed, recorder.accounts().rejected.total()), (6, 0));
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    }
}

#[test]
fn a_child_may_build_a_runtime_of_its_own_and_so_may_its_child() {
    let parent = running("parent");
    let of_parent = counting(&parent, OverflowPolicy::DropNewest);
    in_child(|check| {
        let own = running("child");
        let of_child = counting(&own, OverflowPolicy::DropNewest);
        of_child.register_event(Number(1));
        check.that(of_child.flush_blocking(PATIENCE).is_ok());
        check.that(of_parent.try_register_event(Number(1)).is_err());
        in_child(|check| {
            check.that(matches!(of_child.try_register_event(Number(1)), Err(RegisterError::Forked(_))));
            check.that(matches!(of_parent.try_register_event(Number(1)), Err(RegisterError::Forked(_))));
            let own = running("grandchild");
            let recorder = counting(&own, OverflowPolicy::DropOldest);
            recorder.register_event(Number(1));
            check.that(own.shutdown(PATIENCE).is_ok_and(|report| report.is_complete()));
        });
        check.that(own.shutdown(PATIENCE).is_ok_and(|report| report.accounts().processed == 1));
        // The last handles of the parent's runtime, as this process knows them.
        drop((of_parent, parent));
        check.that(true);
    });
}

#[test]
fn a_detached_recorders_copies_do_nothing_in_a_child() {
    let (recorder, task) = Recorder::<Number>::detached("task").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    in_child(|check| {
        let accounts = recorder.accounts();
        drop(task);
        check.that(recorder.accounts() == accounts && recorder.state() == RecorderState::Created);
        check.that(matches!(recorder.try_register_event(Number(2)), Err(RegisterError::Forked(_))));
        drop(recorder);
    });
}

#[test]
fn a_child_forked_off_in_the_middle_of_everything_neither_hangs_nor_counts_for_its_parent() {
    let runtime = running("middle");
    let recorders = [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest].map(|p| counting(&runtime, p));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for recorder in &recorders {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Acquire) {
                        recorder.register_event(Number(1));
                        drop((recorder.flush(), runtime.recorder_ids(), runtime.snapshots()));
                    }
                });
            }
        }
        for _ in 0..scaled(100) {
            in_child(|check| {
                for recorder in &recorders {
                    recorder.register_event(Number(2));
                    check.forked(recorder.flush_blocking(PATIENCE));
                    check.forked_at_once(recorder.stop());
                    let _read = (recorder.accounts(), recorder.snapshot().sequence(), recorder.state());
                }
                let _read = (runtime.recorder_ids(), runtime.snapshots(), runtime.accounts());
                check.forked(runtime.shutdown(PATIENCE));
            });
        }
    });
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert!(report.is_complete());
    assert_eq!(report.accounts().rejected.forked, 0);
}

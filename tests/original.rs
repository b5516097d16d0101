//! The original's defects, each shown to be absent here; ARCHITECTURE.md lists them with these tests and those of other files.
#![cfg(all(feature = "log", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[cfg(target_os = "linux")]
#[path = "support/forked.rs"]
mod forked;
mod support;

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Clock;
use mvx_metrics::ErrorKind;
use mvx_metrics::LogMode;
use mvx_metrics::Metric;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RuntimeState;
use mvx_metrics::SystemClock;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(20);

/// Accepts every event, and panics over this one.
fn allergic(name: &str, by: u64) -> impl Metric<Number> + use<> {
    Probe::new(name, move |event: &Number| {
        assert_ne!(event.0, by, "on purpose");
        Verdict::Accepted
    })
}

fn counting(runtime: &MetricsRuntime, id: &str) -> Recorder<Number> {
    runtime.recorder(id).counter("events", |c| c).create().unwrap()
}

/// F1: there it killed the recorder, left its events in the queue and made the shutdown fail.
#[cfg(panic = "unwind")]
#[test]
fn a_failing_metric_costs_its_recorder_nothing_else_and_no_shutdown_fails_for_it() {
    let runtime = running("f1");
    let recorder = runtime
        .recorder("f1")
        .counter("before", |c| c)
        .metric(allergic("sick", 3))
        .counter("after", |c| c)
        .create()
        .unwrap();
    (1..=10).for_each(|n| recorder.try_register_event(Number(n)).unwrap());
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.counter("before", &[]), snapshot.counter("after", &[])), (Some(10), Some(10)));
    let sick = snapshot.metric("sick").unwrap();
    assert_eq!((sick.tally().accepted, sick.tally().panicked, sick.tally().quarantined), (2, 1, 7));
    assert_eq!((recorder.state(), recorder.accounts().pending()), (RecorderState::Running, 0));
    recorder.stop().wait(PATIENCE).unwrap();
    recorder.start().wait(PATIENCE).unwrap();
    assert_eq!(runtime.stop_and_remove("f1", PATIENCE).unwrap().processed, 10);
    let other = runtime.recorder("other").metric(allergic("sick", 1)).create().unwrap();
    other.register_event(Number(1));
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert!(report.is_complete() && runtime.shutdown(PATIENCE).unwrap().is_complete(), "{report:?}");
    assert_eq!(runtime.state(), RuntimeState::Closed);
}

/// F2: there a log turned the handles into coroutines, without `wait`, to be awaited once.
#[test]
fn start_and_stop_can_be_waited_for_and_awaited_twice_in_every_mode_of_the_log() {
    for mode in [LogMode::Silent, LogMode::Normal, LogMode::Inspection] {
        let runtime = MetricsRuntime::builder("f2").log_mode(mode).build().unwrap();
        runtime.start().unwrap();
        let recorder = counting(&runtime, "f2");
        for operation in [recorder.start(), recorder.stop(), recorder.start()] {
            operation.wait(PATIENCE).unwrap();
            by_hand(operation.clone()).unwrap();
            by_hand(operation).unwrap();
        }
        assert_eq!(recorder.state(), RecorderState::Running, "{mode:?}");
    }
}

/// F6: there the stop told of success, and left what was behind the failure in the queue.
#[cfg(panic = "unwind")]
#[test]
fn a_metric_that_fails_while_a_stop_settles_leaves_nothing_in_the_queue() {
    let (runtime, gate) = (running("f6"), Gate::default());
    let recorder = runtime
        .recorder("f6")
        .metric(stopper("events", 1, &gate))
        .metric(allergic("sick", 4))
        .create()
        .unwrap();
    (1..=10).for_each(|n| recorder.try_register_event(Number(n)).unwrap());
    gate.until_reached();
    let stop = recorder.stop();
    gate.open();
    stop.wait(PATIENCE).unwrap();
    let (accounts, snapshot) = (recorder.accounts(), recorder.snapshot());
    assert_eq!((accounts.processed, accounts.pending(), accounts.dropped.total()), (10, 0, 0));
    assert_eq!((recorder.state(), snapshot.counter("events", &[])), (RecorderState::Stopped, Some(10)));
    // And nothing of it comes again.
    recorder.start().wait(PATIENCE).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(10));
}

/// F8: there the list of metrics changed under the loop that went through it.
#[test]
fn metrics_may_be_registered_while_an_observer_is_under_way_also_by_itself() {
    let (runtime, gate) = (running("f8"), Gate::default());
    let (held, own) = (gate.clone(), Arc::new(std::sync::Mutex::new(None::<Recorder<Number>>)));
    let itself = Arc::clone(&own);
    let recorder = runtime
        .recorder::<Number>("f8")
        .counter("one", |c| c)
        .counter("two", |c| c)
        .on_metric_changed(move |change| {
            if let Some(recorder) = itself.lock().unwrap().take() {
                drop(recorder.register_metric(allergic("inside", 0)));
            }
            if change.event().0 == 1 {
                held.pass();
            }
        })
        .create()
        .unwrap();
    *own.lock().unwrap() = Some(recorder.clone());
    recorder.register_event(Number(1));
    gate.until_reached();
    let added = recorder.register_metric(allergic("outside", 0));
    gate.open();
    added.wait(PATIENCE).unwrap();
    recorder.register_event(Number(2));
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    let counts = ["one", "two", "inside", "outside"].map(|name| snapshot.counter(name, &[]));
    assert_eq!(counts, [Some(2), Some(2), Some(1), Some(1)]);
    assert_eq!((recorder.state(), snapshot.quarantined_observers()), (RecorderState::Running, 0));
}

/// F9: there readers hung for ever, or got errors of the loop, and recorders were handed out that nobody stopped.
#[test]
fn reads_and_creations_against_a_shutdown_return_and_every_recorder_is_settled() {
    for round in 0..scaled(100) {
        let (runtime, over) = (running("f9"), AtomicBool::new(false));
        let first = counting(&runtime, "first");
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0_u64;
                while !over.load(Ordering::Acquire) || reads == 0 {
                    let _ = (runtime.snapshots(), runtime.recorder_ids(), first.describe_metrics());
                    assert_eq!(first.snapshot().id().as_str(), "first");
                    reads += 1;
                }
            });
            let creator = scope.spawn(|| {
                let mut created = Vec::new();
                loop {
                    let id = format!("r{}", created.len());
                    match runtime.recorder::<Number>(&id).counter("events", |c| c).create() {
                        Ok(recorder) => {
                            created.push((recorder.try_register_event(Number(1)).is_ok(), recorder))
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
                            return created;
                        }
                    }
                }
            });
            (0..round % 7).for_each(|_| thread::yield_now());
            let report = runtime.shutdown(PATIENCE).unwrap();
            over.store(true, Ordering::Release);
            let created = creator.join().unwrap();
            reader.join().unwrap();
            assert_eq!(report.recorders().len(), created.len() + 1, "{report:?}");
            for (accepted, recorder) in created {
                let accounts = recorder.accounts();
                assert_eq!((accounts.accepted, accounts.pending()), (u64::from(accepted), 0));
                assert_eq!(
                    (accounts.processed, recorder.state()),
                    (u64::from(accepted), RecorderState::Stopped)
                );
            }
        });
    }
}

/// F11: there a snapshot showed one metric after an event and the next one before it.
#[test]
fn a_snapshot_between_two_metrics_shows_neither_after_the_event() {
    let (runtime, gate) = (running("f11"), Gate::default());
    let held = gate.clone();
    let recorder = runtime
        .recorder::<Number>("f11")
        .counter("one", |c| c)
        .counter("two", |c| c)
        .on_metric_changed(move |change| {
            if change.event().0 == 2 && change.metric_name().as_str() == "one" {
                held.pass();
            }
        })
        .create()
        .unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder.register_event(Number(2));
    gate.until_reached();
    let torn = recorder.snapshot();
    assert_eq!((torn.counter("one", &[]), torn.counter("two", &[]), torn.sequence()), (Some(1), Some(1), 1));
    gate.open();
    let whole = recorder.flush_and_snapshot(PATIENCE).unwrap();
    assert_eq!(
        (whole.counter("one", &[]), whole.counter("two", &[]), whole.sequence()),
        (Some(2), Some(2), 2)
    );
}

/// F13: there nothing but a shutdown had a limit of time, and every read waited for the worker.
#[test]
fn a_held_worker_holds_up_no_read_and_whatever_waits_for_it_ends_in_its_time() {
    let (runtime, gate) = (running("f13"), Gate::default());
    let stuck = runtime.recorder("stuck").metric(stopper("events", 0, &gate)).create().unwrap();
    stuck.register_event(Number(0));
    gate.until_reached();
    // These end although the worker does not move.
    let other = counting(&runtime, "other");
    assert_eq!((runtime.recorder_ids().len(), runtime.snapshots().len()), (2, 2));
    assert_eq!(runtime.get::<Number>("stuck").unwrap().accounts().pending(), 1);
    assert_eq!(stuck.snapshot().sequence(), 0);
    let waits = [
        other.start().wait(SOON),
        other.register_metric(allergic("more", 0)).wait(SOON),
        stuck.flush_blocking(SOON),
        runtime.flush_blocking(SOON),
        stuck.stop().wait(SOON),
        runtime.stop("stuck", SOON).map(drop),
    ];
    let kinds = waits.map(|result| result.map_err(|error| error.kind()));
    assert_eq!(kinds, [Err(ErrorKind::Timeout); 6]);
    gate.open();
    stuck.stop().wait(PATIENCE).unwrap();
}

/// F14: there a shutdown of as many took too long for its constant, and gave a quarter of them up.
#[test]
fn thirty_thousand_idle_recorders_are_shut_down_and_every_one_is_reported_as_stopped() {
    let runtime = running("f14");
    let recorders: Vec<_> = (0..30_000).map(|n| counting(&runtime, &format!("r{n}"))).collect();
    recorders.iter().step_by(3).for_each(|recorder| recorder.register_event(Number(1)));
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert!(report.is_complete() && runtime.state() == RuntimeState::Closed);
    assert_eq!((report.recorders().len(), report.accounts().processed), (30_000, 10_000));
    assert!(recorders.iter().all(|recorder| recorder.state() == RecorderState::Stopped));
}

/// F15: there the state stayed `STARTING` for ever.
#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_cannot_be_made_fails_the_start_which_can_be_tried_again() {
    fn limit_memory(to: libc::rlim_t) -> bool {
        let limit = libc::rlimit { rlim_cur: to, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: sets a limit of this process, a child that is about to end.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) == 0 }
    }
    crate::forked::in_child(|check| {
        let sizes = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: u64 = sizes.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or_default();
        // Room for a little, and not for the stack of a thread; the stacks of ended threads are used up first.
        check.that(pages > 0 && limit_memory(pages * 4_096 + (1 << 20)));
        let mut made = Vec::new();
        let mut refused = None;
        while refused.is_none() && made.len() < 64 {
            let Ok(runtime) = MetricsRuntime::builder("f15").build() else { continue };
            refused = runtime.start().err();
            made.push(runtime);
        }
        check.that(limit_memory(libc::RLIM_INFINITY));
        check.that(refused.is_some_and(|error| error.kind() == ErrorKind::StartFailed));
        let Some(runtime) = made.pop() else { return check.that(false) };
        check.that(runtime.state() == RuntimeState::Failed);
        let recorder = counting(&runtime, "early");
        check.that(recorder.try_register_event(Number(1)).is_ok());
        check.that(runtime.start().is_ok() && runtime.state() == RuntimeState::Running);
        check.that(recorder.flush_blocking(PATIENCE).is_ok() && recorder.accounts().processed == 1);
        check.that(runtime.shutdown(PATIENCE).is_ok_and(|report| report.is_complete()));
    });
}

/// Panics on the worker as long as it is broken.
#[derive(Debug)]
struct Fragile(SystemClock, Arc<AtomicBool>);

impl Clock for Fragile {
    fn now(&self) -> Timestamp {
        let on_worker = thread::current().name().is_some_and(|name| name.ends_with(".metrics"));
        assert!(!(on_worker && self.1.load(Ordering::SeqCst)), "on purpose");
        self.0.now()
    }
}

/// F15, once more: a start that fails on the new thread is as recoverable as one without it.
#[cfg(panic = "unwind")]
#[test]
fn a_clock_that_panics_at_the_start_fails_the_start_which_can_be_tried_again() {
    let broken = Arc::new(AtomicBool::new(true));
    let clock = Fragile(SystemClock::new(), Arc::clone(&broken));
    let runtime = MetricsRuntime::builder("f15").clock(clock).build().unwrap();
    let recorder = counting(&runtime, "early");
    recorder.register_event(Number(1));
    for _ in 0..3 {
        assert_eq!(runtime.start().unwrap_err().kind(), ErrorKind::StartFailed);
        assert_eq!((runtime.state(), recorder.accounts().pending()), (RuntimeState::Failed, 1));
    }
    broken.store(false, Ordering::SeqCst);
    runtime.start().unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert_eq!(recorder.accounts().processed, 1);
}

/// DESIGN 4, a runtime's `Failed` that no start leaves: its worker was lost after the start.
#[cfg(panic = "unwind")]
#[test]
fn a_runtime_whose_worker_was_lost_refuses_a_start_says_why_and_can_be_read_and_shut_down() {
    let broken = Arc::new(AtomicBool::new(false));
    let clock = Fragile(SystemClock::new(), Arc::clone(&broken));
    let runtime = MetricsRuntime::builder("lost").clock(clock).build().unwrap();
    runtime.start().unwrap();
    let recorder = counting(&runtime, "one");
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    broken.store(true, Ordering::SeqCst);
    recorder.register_event(Number(2));
    until("the worker is lost", || {
        recorder.state() == RecorderState::Failed && !runtime.liveness().is_alive()
    });
    assert_eq!(runtime.state(), RuntimeState::Failed);
    let error = runtime.start().unwrap_err();
    assert_eq!((error.kind(), error.actual_state()), (ErrorKind::InvalidState, Some("Failed")));
    assert_eq!(recorder.start().wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(recorder.last_error().unwrap().kind(), ErrorKind::WorkerLost);
    assert_eq!((recorder.snapshot().counter("events", &[]), recorder.accounts().pending()), (Some(1), 0));
    assert!(runtime.shutdown(PATIENCE).unwrap().worker_lost());
}

/// Told to the process that forgets its shutdown.
const FORGETS: &str = "MVX_TEST_FORGETS";

/// F15: there a program that had forgotten its shutdown never ended.
#[test]
fn a_process_that_forgot_its_shutdown_ends_also_past_a_stuck_metric() {
    if std::env::var_os(FORGETS).is_some() {
        let (runtime, gate) = (running("forgets"), Gate::default());
        let stuck = runtime.recorder("stuck").metric(stopper("events", 0, &gate)).create().unwrap();
        stuck.register_event(Number(0));
        gate.until_reached();
        std::mem::forget((runtime, stuck, gate));
        return;
    }
    let name = "a_process_that_forgot_its_shutdown_ends_also_past_a_stuck_metric";
    let mut child =
        support::again(name).env(FORGETS, "1").stdout(std::process::Stdio::null()).spawn().unwrap();
    let ended = mvx_metrics::testing::until(PATIENCE, || child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
    }
    assert!(support::passed(child.wait().unwrap()), "ended by itself: {ended}");
}

//! DESIGN 4: a shutdown settles everything, keeps its deadline whatever user code does, and says exactly what became of every event.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod support;

use crate::support::Gate;
use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RuntimeState;
use mvx_metrics::ShutdownReport;
use mvx_metrics::Verdict;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Wake;
use std::task::Waker;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const SOON: Duration = Duration::from_millis(50);

/// What a call may take beyond its deadline on a loaded machine of two cores; far below the patience of a hang.
const SLACK: Duration = Duration::from_secs(5);

const POLICIES: [OverflowPolicy; 2] = [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest];

/// What reports say of accounts, to be compared.
fn told(report: &ShutdownReport) -> Vec<(String, mvx_metrics::Accounts, bool)> {
    let recorders = report.recorders().iter();
    recorders.map(|recorder| (recorder.id.to_string(), recorder.accounts, recorder.error.is_some())).collect()
}

/// Threads of this process whose names begin so. Linux cuts names at 15 bytes.
#[cfg(target_os = "linux")]
fn threads_of(namespace: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with(namespace)).count()
}

#[test]
fn a_shutdown_processes_and_publishes_everything_and_reports_it_exactly() {
    let runtime = running("exact");
    let recorders: Vec<_> = (0..20)
        .map(|n| {
            let builder = runtime.recorder::<Number>(&format!("r{n}")).overflow(POLICIES[n % 2]).capacity(50);
            builder.counter("events", |c| c).create().unwrap()
        })
        .collect();
    let gate = Gate::default();
    let held = runtime.recorder("held").metric(stopper("held", 0, &gate)).create().unwrap();
    held.register_event(Number(0));
    gate.until_reached();
    // So nothing of this is processed before the shutdown begins.
    for (n, recorder) in recorders.iter().enumerate() {
        (0..n as u64 * 10).for_each(|event| recorder.register_event(Number(event)));
    }
    let shutdown = runtime.begin_shutdown(PATIENCE);
    until("every door is shut", || recorders.iter().all(|r| r.state() == RecorderState::Stopping));
    gate.open();
    let report = shutdown.wait(PATIENCE).unwrap();
    assert!(report.is_complete() && report.worker_ended(), "{report:?}");
    assert_eq!((report.recorders().len(), report.recorders()[20].accounts.processed), (21, 1));
    for (n, (recorder, reported)) in recorders.iter().zip(report.recorders()).enumerate() {
        assert_eq!((reported.id.as_str(), reported.accounts), (&*format!("r{n}"), recorder.accounts()));
        assert!(reported.error.is_none());
        assert_eq!((reported.accounts.offered(), reported.accounts.pending()), (n as u64 * 10, 0));
        let snapshot = recorder.snapshot();
        assert_eq!(
            (snapshot.state(), snapshot.sequence()),
            (RecorderState::Stopped, reported.accounts.processed)
        );
        assert_eq!(snapshot.counter("events", &[]).unwrap_or(0), reported.accounts.processed);
    }
    assert_eq!(report.accounts(), runtime.accounts());
    assert_eq!(runtime.state(), RuntimeState::Closed);
}

#[test]
fn the_deadline_holds_against_a_stuck_metric_and_what_remained_is_dropped_the_stuck_event_included() {
    for policy in POLICIES {
        let (runtime, gate) = (running("stuck"), Gate::default());
        let before =
            runtime.recorder::<Number>("before").overflow(policy).counter("before", |c| c).create().unwrap();
        (0..5).for_each(|n| before.register_event(Number(n)));
        before.flush_blocking(PATIENCE).unwrap();
        let stuck =
            runtime.recorder("stuck").overflow(policy).metric(stopper("stuck", 7, &gate)).create().unwrap();
        stuck.register_event(Number(1));
        stuck.flush_blocking(PATIENCE).unwrap();
        stuck.register_event(Number(7));
        gate.until_reached();
        (0..10).for_each(|n| stuck.register_event(Number(10 + n)));
        // Its worker is held by the other one's metric.
        let behind_saw = Arc::new(AtomicU64::new(0));
        let saw = Arc::clone(&behind_saw);
        let metric = Probe::new("behind", move |_: &Number| {
            saw.fetch_add(1, Ordering::AcqRel);
            Verdict::Accepted
        });
        let behind = runtime.recorder("behind").overflow(policy).metric(metric).create().unwrap();
        (0..3).for_each(|n| behind.register_event(Number(n)));

        let started = Instant::now();
        let report = runtime.shutdown(SOON).unwrap();
        let took = started.elapsed();
        assert!(took >= SOON && took < SOON + SLACK, "{took:?}");
        assert!(!report.worker_ended() && !report.is_complete());
        let ends: Vec<_> =
            report.recorders().iter().map(|r| (r.accounts.processed, r.accounts.dropped.deadline)).collect();
        assert_eq!(ends, [(5, 0), (1, 11), (0, 3)], "{policy:?}");
        let error = report.recorders()[1].error.as_ref().unwrap();
        assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(11)));
        assert!(
            error.to_string().contains("recorder stuck") && error.to_string().contains("more time"),
            "{error}"
        );
        assert!(report.recorders()[0].error.is_none());

        // Let go, it changes nothing any more: neither accounts nor snapshots, and no other metric sees an event.
        let frozen = [before.snapshot(), stuck.snapshot(), behind.snapshot()];
        gate.open();
        #[cfg(target_os = "linux")]
        until("the worker ends", || threads_of("stuck.metrics") == 0);
        for (frozen, recorder) in frozen.iter().zip([&before, &stuck, &behind]) {
            let now = recorder.snapshot();
            assert_eq!((now.accounts(), now.version()), (frozen.accounts(), frozen.version()), "{policy:?}");
            assert_eq!(now.sequence(), now.accounts().processed);
            assert!(matches!(recorder.start().wait(PATIENCE), Err(e) if e.kind() == ErrorKind::InvalidState));
        }
        assert_eq!(stuck.snapshot().counter("stuck", &[]), Some(1));
        assert_eq!(behind_saw.load(Ordering::Acquire), 0, "{policy:?}: dispatched after the deadline");
    }
}

#[test]
fn repeated_and_concurrent_shutdowns_give_the_same_report() {
    let (runtime, gate) = (running("same"), Gate::default());
    let recorder = runtime.recorder("same").metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    let reports: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let runtime = &runtime;
                scope.spawn(move || match caller {
                    0 => by_hand(runtime.begin_shutdown(SOON)).unwrap(),
                    1 => runtime.begin_shutdown(SOON).wait(PATIENCE).unwrap(),
                    _ => runtime.shutdown(SOON).unwrap(),
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    gate.open();
    let later = runtime.clone().shutdown(PATIENCE).unwrap();
    let first = told(&reports[0]);
    assert_eq!(first[0].1.dropped.deadline, 1);
    for report in reports.iter().chain([&later]) {
        assert_eq!((told(report), report.worker_ended()), (first.clone(), reports[0].worker_ended()));
    }
}

#[test]
fn the_first_callers_deadline_holds_for_the_others() {
    let (runtime, gate) = (running("first"), Gate::default());
    let recorder = runtime.recorder("first").metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    let first = runtime.begin_shutdown(PATIENCE);
    let second = runtime.begin_shutdown(Duration::ZERO);
    assert!(second.result().is_none() && first.result().is_none());
    gate.open();
    assert!(first.wait(PATIENCE).unwrap().is_complete());
    assert!(second.wait(PATIENCE).unwrap().is_complete());
}

#[test]
fn dropping_the_last_handle_returns_at_once_and_everything_still_settles() {
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for context in 0..5 {
        let (runtime, gate) = (running("dropped"), Gate::default());
        let recorder = runtime.recorder("dropped").metric(stopper("events", 0, &gate)).create().unwrap();
        (0..100).for_each(|n| recorder.register_event(Number(n)));
        gate.until_reached();
        let another = runtime.clone();
        drop(another);
        assert_eq!(runtime.state(), RuntimeState::Running);
        // The metric stands at the gate until afterwards: a drop that waited would wait for ever.
        match context {
            0 => drop(runtime),
            1 => current.block_on(async move { drop(runtime) }),
            2 => multi.block_on(async move { tokio::spawn(async move { drop(runtime) }).await.unwrap() }),
            3 => multi
                .block_on(async move { tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap() }),
            _ => current.block_on(async move {
                let local = tokio::task::LocalSet::new();
                local
                    .run_until(async move {
                        tokio::task::spawn_local(async move { drop(runtime) }).await.unwrap()
                    })
                    .await;
            }),
        }
        gate.open();
        until("everything is settled", || recorder.state() == RecorderState::Stopped);
        let accounts = recorder.accounts();
        assert_eq!((accounts.processed, accounts.pending()), (100, 0), "context {context}");
        until("everything is published", || recorder.snapshot().counter("events", &[]) == Some(100));
    }
}

#[test]
fn a_metric_may_hold_the_last_handle_of_its_own_runtime() {
    let runtime = running("inner");
    let mut held = Some(runtime.clone());
    let metric = Probe::new("events", move |_: &Number| {
        drop(held.take());
        Verdict::Accepted
    });
    let recorder = runtime.recorder("inner").metric(metric).create().unwrap();
    drop(runtime);
    assert_eq!(recorder.state(), RecorderState::Created);
    recorder.register_event(Number(1));
    until("the runtime has settled everything", || recorder.state() == RecorderState::Stopped);
    assert_eq!((recorder.accounts().processed, recorder.accounts().pending()), (1, 0));
}

#[test]
fn a_shutdown_can_be_begun_on_the_worker_itself() {
    let runtime = running("suicide");
    let asked = runtime.clone();
    let metric = Probe::new("events", move |event: &Number| {
        if event.0 == 3 {
            drop(asked.begin_shutdown(PATIENCE));
        }
        Verdict::Accepted
    });
    let recorder = runtime.recorder("suicide").metric(metric).create().unwrap();
    (0..10).for_each(|n| recorder.register_event(Number(n)));
    let report = loop {
        // Joined only once the metric has begun it: a refused event tells.
        if recorder.try_register_event(Number(100)).is_err() {
            break runtime.shutdown(PATIENCE).unwrap();
        }
        thread::yield_now();
    };
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.accounts().processed, recorder.accounts().accepted);
}

#[test]
fn the_events_of_a_runtime_that_never_started_are_dropped_as_removed() {
    let runtime = MetricsRuntime::builder("never").build().unwrap();
    let recorder = runtime.recorder::<Number>("never").counter("events", |c| c).create().unwrap();
    (0..5).for_each(|n| recorder.register_event(Number(n)));
    let empty = runtime.recorder::<Number>("empty").create().unwrap();
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert!(report.worker_ended() && !report.is_complete());
    assert_eq!((report.accounts().dropped.removed, report.accounts().processed), (5, 0));
    assert!(report.recorders()[1].error.is_none());
    assert_eq!((recorder.state(), empty.state()), (RecorderState::Stopped, RecorderState::Stopped));
    let error = runtime.start().unwrap_err();
    assert_eq!((error.kind(), error.actual_state()), (ErrorKind::InvalidState, Some("Closed")));
}

#[test]
fn a_dropped_runtime_that_never_started_frees_its_events() {
    struct Held(#[allow(dead_code, reason = "it is only counted")] Arc<()>);
    impl mvx_metrics::MetricEvent for Held {
        fn event_type(&self) -> &'static str {
            "held"
        }
    }
    for policy in POLICIES {
        let (count, in_metric) = (Arc::new(()), Arc::new(()));
        let runtime = MetricsRuntime::builder("freed").build().unwrap();
        let kept = Arc::clone(&in_metric);
        let metric = Probe::new("events", move |_: &Held| {
            let _kept = &kept;
            Verdict::Accepted
        });
        let recorder = runtime.recorder::<Held>("freed").overflow(policy).metric(metric).create().unwrap();
        (0..100).for_each(|_| recorder.register_event(Held(Arc::clone(&count))));
        drop((recorder, runtime));
        assert_eq!((Arc::strong_count(&count), Arc::strong_count(&in_metric)), (1, 1), "{policy:?}");
    }
}

#[test]
fn a_shut_down_runtime_frees_its_recorders_with_the_last_handle() {
    let in_metric = Arc::new(());
    let runtime = running("freed");
    let kept = Arc::clone(&in_metric);
    let metric = Probe::new("events", move |_: &Number| {
        let _kept = &kept;
        Verdict::Accepted
    });
    let recorder = runtime.recorder("freed").metric(metric).create().unwrap();
    (0..100).for_each(|n| recorder.register_event(Number(n)));
    drop(runtime);
    until("everything is settled", || recorder.state() == RecorderState::Stopped);
    drop(recorder);
    until("the metric is dropped", || Arc::strong_count(&in_metric) == 1);
}

#[cfg(target_os = "linux")]
#[test]
fn no_thread_is_left_after_a_shutdown_or_a_dropped_handle() {
    let runtime = running("left");
    let recorder = runtime.recorder::<Number>("left").create().unwrap();
    recorder.register_event(Number(1));
    // Listing the tasks of a process may skip one while others end.
    until("the worker is listed", || threads_of("left.metrics") == 1);
    assert!(runtime.shutdown(PATIENCE).unwrap().worker_ended());
    until("worker and watchdog are gone", || threads_of("left.") == 0);
    for _ in 0..20 {
        drop(running("left"));
    }
    until("worker and watchdog of the dropped ones are gone", || threads_of("left.") == 0);
}

#[test]
fn a_shutdown_is_not_held_up_by_whoever_keeps_asking() {
    for _ in 0..scaled(10) {
        let runtime = running("asked");
        let recorder = runtime.recorder::<Number>("asked").create().unwrap();
        let over = AtomicBool::new(false);
        let report = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Acquire) {
                        recorder.register_event(Number(0));
                        let asked: Vec<_> = (0..64).map(|_| (recorder.start(), recorder.flush())).collect();
                        for (start, flush) in asked {
                            let _ = (start.wait(PATIENCE), flush.wait(PATIENCE));
                        }
                    }
                });
            }
            let _over = Over(&over);
            runtime.shutdown(PATIENCE).unwrap()
        });
        assert!(report.is_complete(), "{report:?}");
    }
}

/// An executor that runs its task where it is woken, and whose task asks for another start as soon as one is over.
struct AskAgain(Recorder<Number>);

impl Wake for AskAgain {
    fn wake(self: Arc<Self>) {
        let mut start = pin!(self.0.start());
        let waker = Waker::from(Arc::clone(&self));
        let _ = start.as_mut().poll(&mut Context::from_waker(&waker));
    }
}

#[test]
fn a_shutdown_is_not_held_up_by_a_task_on_the_worker_that_always_asks_again() {
    let runtime = running("again");
    let recorder = runtime.recorder::<Number>("again").create().unwrap();
    Arc::new(AskAgain(recorder.clone())).wake();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    let report = runtime.shutdown(SLACK).unwrap();
    assert!(report.is_complete(), "{report:?}");
}

#[test]
fn a_shutdown_wakes_a_worker_that_sleeps() {
    let runtime = running("asleep");
    // Idle for longer than all its naps, so it sleeps for good.
    let waited = Instant::now();
    until("some time has passed", || waited.elapsed() > Duration::from_millis(30));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert!(waited.elapsed() < PATIENCE);
}

#[test]
fn a_report_names_the_recorders_that_lost_an_event_or_failed_and_no_others() {
    let (runtime, gate) = (running("incomplete"), Gate::default());
    let whole = runtime.recorder::<Number>("whole").counter("whole", |c| c).create().unwrap();
    whole.register_event(Number(1));
    let refused =
        runtime.recorder("refused").capacity(1).metric(stopper("refused", 0, &gate)).create().unwrap();
    refused.register_event(Number(0));
    gate.until_reached();
    refused.register_event(Number(1));
    gate.open();
    let hooks = runtime.recorder::<Number>("failed").on_stopped(|| async { Err("no disk".into()) });
    hooks.create().unwrap().register_event(Number(1));
    let report = runtime.shutdown(PATIENCE).unwrap();
    let named: Vec<_> = report.incomplete().map(|one| (one.id.as_str(), one.accounts.lost())).collect();
    assert_eq!(named, [("refused", 1), ("failed", 0)]);
    assert_eq!(report.accounts().lost(), 1);
}

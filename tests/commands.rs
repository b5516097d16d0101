//! What a recorder is asked to do waits in bounded memory, however much is asked and whoever waits for the answers.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[path = "support/heap.rs"]
mod heap;
mod support;

use crate::heap::live;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::stopper;
use mvx_metrics::Counter;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::limits;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::Instant;

/// One test at a time: what is live is that of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

const MILLION: u64 = 1_000_000;
const SOON: Duration = Duration::from_millis(50);

/// What a call may take beyond its deadline on a loaded machine; far below the patience of a hang.
const SLACK: Duration = Duration::from_secs(5);

/// What a million commands may leave: some bytes each would be more.
const FEW_BYTES: i64 = 4 << 20;

/// A runtime whose worker stands at the gate in this recorder's metric.
fn held(policy: OverflowPolicy, capacity: u32) -> (MetricsRuntime, Recorder<Number>, Gate) {
    let (runtime, gate) = (running("held"), Gate::default());
    let builder = runtime.recorder("held").overflow(policy).capacity(capacity);
    let recorder = builder.metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    (runtime, recorder, gate)
}

/// How much more is live after it.
fn kept_by(act: impl FnOnce()) -> i64 {
    let before = live();
    act();
    live() - before
}

#[test]
fn a_million_unawaited_operations_leave_little_and_the_deadline_of_a_shutdown_holds() {
    let _alone = alone();
    type Ask = fn(&Recorder<Number>, u64);
    let asks: [(&str, Ask); 6] = [
        ("flush", |r, _| drop(r.flush())),
        ("flush of more and more events", |r, n| {
            // Under DropOldest every event is accepted, so each flush is another.
            r.register_event(Number(n + 1));
            drop(r.flush());
        }),
        ("remove_observer", |r, n| drop(r.remove_observer(id_of(r, n)))),
        ("register_metric", |r, n| {
            // Making the metric is the most of it.
            if n % 8 == 0 {
                drop(r.register_metric(Counter::<Number>::builder("again").build().unwrap()));
            }
        }),
        ("start", |r, _| drop(r.start())),
        ("stop", |r, _| drop(r.stop())),
    ];
    for (name, ask) in asks {
        let (runtime, recorder, gate) = held(OverflowPolicy::DropOldest, 1_024);
        let kept = kept_by(|| (0..MILLION).for_each(|n| ask(&recorder, n)));
        assert!(kept < FEW_BYTES, "{name}: {kept} bytes are kept");
        let started = Instant::now();
        let report = runtime.shutdown(SOON).unwrap();
        let took = started.elapsed();
        assert!(took >= SOON && took < SOON + SLACK, "{name}: {took:?}");
        assert!(report.accounts().dropped.deadline > 0, "{name}: {report:?}");
        gate.open();
    }
}

/// Some observer's id; its observer is gone.
fn id_of(recorder: &Recorder<Number>, n: u64) -> mvx_metrics::ObserverId {
    thread_local! {
        static ID: std::cell::Cell<Option<mvx_metrics::ObserverId>> = const { std::cell::Cell::new(None) };
    }
    match ID.get() {
        Some(id) if n > 0 => id,
        _ => {
            let (id, _) = recorder.on_metric_changed(|_| {});
            ID.set(Some(id));
            id
        }
    }
}

#[test]
fn producers_that_go_away_while_they_wait_for_room_leave_little() {
    let _alone = alone();
    let (runtime, recorder, gate) = held(OverflowPolicy::DropNewest, 1);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let kept = kept_by(|| {
        for n in 0..MILLION {
            let mut waits = std::pin::pin!(recorder.register_event_async(Number(n)));
            assert!(waits.as_mut().poll(&mut context).is_pending());
        }
    });
    assert!(kept < FEW_BYTES, "{kept} bytes are kept");
    gate.open();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.accounts().accepted, 1);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn changes_beyond_the_limit_fail_at_once_and_those_within_it_come_true() {
    let _alone = alone();
    let (runtime, recorder, gate) = held(OverflowPolicy::DropNewest, 8);
    let (id, added) = recorder.on_metric_changed(|_| {});
    let removals: Vec<_> = (0..limits::MAX_COMMANDS - 1).map(|_| recorder.remove_observer(id)).collect();
    let metric = Counter::<Number>::builder("late").build().unwrap();
    for refused in [recorder.register_metric(metric), recorder.remove_observer(id)] {
        let error = refused.result().expect("at once").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitReached);
        assert!(error.to_string().contains("4096 changes wait"), "{error}");
    }
    // What was refused is not declared either: another recorder may give the name another shape.
    runtime.recorder::<Number>("other").gauge("late", |g| g.value(|e| Some(e.0 as f64))).create().unwrap();
    gate.open();
    added.wait(PATIENCE).unwrap();
    let mut ends: Vec<_> = removals.iter().map(|removal| removal.wait(PATIENCE).is_ok()).collect();
    assert!(ends.remove(0) && !ends.contains(&true));
    recorder.remove_observer(id).wait(PATIENCE).unwrap_err();
    recorder.register_metric(Counter::<Number>::builder("again").build().unwrap()).wait(PATIENCE).unwrap();
}

#[test]
fn flushes_of_the_same_events_share_one_answer_and_so_know_no_limit() {
    let _alone = alone();
    let (_runtime, recorder, gate) = held(OverflowPolicy::DropNewest, 8);
    let flushes: Vec<_> = (0..limits::MAX_WAITING + 10).map(|_| recorder.flush()).collect();
    gate.open();
    assert!(flushes.iter().all(|flush| flush.wait(PATIENCE).is_ok()));
}

#[test]
fn awaited_answers_beyond_the_limit_fail_at_once_and_what_was_asked_for_is_done() {
    let _alone = alone();
    let (runtime, recorder, gate) = held(OverflowPolicy::DropOldest, 8);
    let flush = || {
        recorder.register_event(Number(1));
        recorder.flush()
    };
    let mut flushes: Vec<_> = (0..limits::MAX_WAITING).map(|_| flush()).collect();
    let error = flush().result().expect("at once").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert!(error.to_string().contains("65536 callers wait"), "{error}");
    // Who gives up makes a place, if not for the very next.
    flushes.truncate(limits::MAX_WAITING - 1);
    flushes.extend((0..1_000).map(|_| flush()).find(|flush| flush.result().is_none()));
    assert_eq!(flushes.len(), limits::MAX_WAITING);
    assert!(flushes.iter().all(|flush| flush.result().is_none()));

    let stops: Vec<_> = (0..limits::MAX_WAITING).map(|_| recorder.stop()).collect();
    assert_eq!(recorder.stop().result().unwrap().unwrap_err().kind(), ErrorKind::LimitReached);
    assert_eq!(recorder.state(), RecorderState::Stopping);
    let starts: Vec<_> = (0..limits::MAX_WAITING).map(|_| recorder.start()).collect();
    assert_eq!(recorder.start().result().unwrap().unwrap_err().kind(), ErrorKind::LimitReached);
    gate.open();
    let all = flushes.iter().chain(&stops).chain(&starts);
    assert!(all.map(|asked| asked.wait(PATIENCE)).all(|end| end.is_ok()));
    assert_eq!(recorder.state(), RecorderState::Running);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn a_stop_a_start_and_a_removal_are_not_lost_in_a_full_mailbox() {
    let _alone = alone();
    for awaited in [true, false] {
        let (runtime, recorder, gate) = held(OverflowPolicy::DropOldest, 8);
        let (id, _added) = recorder.on_metric_changed(|_| {});
        (0..limits::MAX_COMMANDS).for_each(|_| drop(recorder.remove_observer(id)));
        let mut asked = Vec::new();
        for _ in 0..limits::MAX_WAITING + 1 {
            let stop = recorder.stop();
            asked.extend(awaited.then_some(stop));
        }
        // One start waits for the stop, and nobody for the start.
        drop(recorder.start());
        gate.open();
        crate::support::until("it is started again", || recorder.state() == RecorderState::Running);
        recorder.register_event(Number(1));
        recorder.flush_blocking(PATIENCE).unwrap();

        let blocked = Gate::default();
        let metric = stopper("blocks", 9, &blocked);
        recorder.register_metric(metric).wait(PATIENCE).unwrap();
        recorder.register_event(Number(9));
        blocked.until_reached();
        let stops: Vec<_> = (0..limits::MAX_WAITING).map(|_| recorder.stop()).collect();
        let removed = std::thread::scope(|scope| {
            let removal = scope.spawn(|| runtime.stop_and_remove("held", PATIENCE));
            // Most likely it has asked by the time the worker goes on; it ends well in either order.
            (0..1_000).for_each(|_| std::thread::yield_now());
            blocked.open();
            removal.join().unwrap()
        });
        let accounts = removed.unwrap();
        assert_eq!((accounts.pending(), accounts.dropped.removed), (0, 0));
        assert!(stops.iter().all(|stop| stop.wait(PATIENCE).is_ok()));
        assert!(matches!(recorder.try_register_event(Number(1)), Err(RegisterError::Closed(_))));
    }
}

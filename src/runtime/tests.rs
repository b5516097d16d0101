//! DESIGN 3.6: a producer suspended half-way (a slot reserved and not written) against every end and every restart.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::model::accounts::Accounts;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::queue::Handed;
use crate::queue::ring::Begun;
use crate::recorder::core::Asks;
use crate::recorder::handle::Recorder;
use crate::recorder::state::RecorderState;
use crate::runtime::MetricsRuntime;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Context;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(50);

/// An event whose life is counted.
struct Held(#[allow(dead_code, reason = "it is only counted")] Arc<()>);

impl MetricEvent for Held {
    fn event_type(&self) -> &'static str {
        "held"
    }
}

fn running() -> MetricsRuntime {
    let runtime = MetricsRuntime::builder("half").build().unwrap();
    runtime.start().unwrap();
    runtime
}

fn create(runtime: &MetricsRuntime) -> Recorder<Held> {
    runtime.recorder("half").counter("events", |c| c).create().unwrap()
}

/// A producer between the two halves of its push.
struct Suspended {
    recorder: Recorder<Held>,
    begun: Begun,
}

impl Suspended {
    /// With `behind` others stand in front of it, so that the worker meets its empty slot.
    fn on(recorder: &Recorder<Held>, count: &Arc<()>, behind: bool) -> Self {
        if behind {
            recorder.register_event(Held(Arc::clone(count)));
            recorder.flush_blocking(PATIENCE).unwrap();
            // The flush is answered before the worker rests: until then it is the worker that looks again, and to schedule it here, too,
            // would put it on the list twice.
            until("the worker rests", || recorder.node().queue.ring().is_idle());
        }
        let begun = recorder.node().queue.ring().begin_push();
        if behind {
            // Its word was idle: as a rival's event would, this has the worker look.
            recorder.node().schedule(Handed::Schedule);
        }
        Self { recorder: recorder.clone(), begun }
    }

    fn goes_on(self, count: &Arc<()>, behind: bool) {
        let schedule = self.recorder.node().queue.ring().end_push(self.begun, Held(Arc::clone(count)));
        if schedule && !behind {
            self.recorder.node().schedule(Handed::Schedule);
        }
    }
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        crate::sync::nap(Duration::from_micros(50));
    }
}

fn ends(accounts: Accounts) -> [u64; 4] {
    [accounts.processed, accounts.dropped.deadline, accounts.dropped.removed, accounts.pending()]
}

#[test]
fn at_a_deadline_it_is_given_up_and_its_generation_is_freed_when_it_leaves() {
    for behind in [false, true] {
        let (runtime, count) = (running(), Arc::new(()));
        let recorder = create(&runtime);
        let producer = Suspended::on(&recorder, &count, behind);
        let report = runtime.shutdown(SOON).unwrap();
        assert!(report.worker_ended() && !report.is_complete());
        let expected = [u64::from(behind), 1, 0, 0];
        assert_eq!(ends(report.recorders()[0].accounts), expected, "behind: {behind}");
        // Nothing starts this generation again.
        assert_eq!(recorder.start().wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
        assert_eq!(recorder.state(), RecorderState::Stopped);
        producer.goes_on(&count, behind);
        assert_eq!(ends(recorder.accounts()), expected, "it changes nothing any more");
        assert!(Arc::strong_count(&count) > 1);
        drop((recorder, runtime));
        until("its event is freed", || Arc::strong_count(&count) == 1);
    }
}

#[test]
fn a_removed_recorders_successor_never_meets_it() {
    for behind in [false, true] {
        let (runtime, count) = (running(), Arc::new(()));
        let recorder = create(&runtime);
        let producer = Suspended::on(&recorder, &count, behind);
        assert_eq!(runtime.stop_and_remove("half", SOON).unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(ends(recorder.accounts()), [u64::from(behind), 0, 1, 0]);
        let successor = create(&runtime);
        successor.register_event(Held(Arc::clone(&count)));
        producer.goes_on(&count, behind);
        successor.register_event(Held(Arc::clone(&count)));
        successor.flush_blocking(PATIENCE).unwrap();
        assert_eq!(successor.snapshot().counter("events", &[]), Some(2));
        assert_eq!(ends(successor.accounts()), [2, 0, 0, 0]);
        assert_eq!(ends(recorder.accounts()), [u64::from(behind), 0, 1, 0]);
        drop(recorder);
        // Its worker goes on, and lets go of the removed one.
        until("its event is freed", || Arc::strong_count(&count) == 1);
    }
}

#[test]
fn a_stop_waits_for_it_and_a_restart_comes_after_it() {
    for behind in [false, true] {
        let (runtime, count) = (running(), Arc::new(()));
        let recorder = create(&runtime);
        let producer = Suspended::on(&recorder, &count, behind);
        let stop = recorder.stop();
        let restart = recorder.start();
        assert_eq!(stop.wait(SOON).unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(recorder.state(), RecorderState::Stopping);
        assert!(recorder.try_register_event(Held(Arc::clone(&count))).is_err());
        producer.goes_on(&count, behind);
        stop.wait(PATIENCE).unwrap();
        restart.wait(PATIENCE).unwrap();
        recorder.register_event(Held(Arc::clone(&count)));
        recorder.flush_blocking(PATIENCE).unwrap();
        assert_eq!(ends(recorder.accounts()), [2 + u64::from(behind), 0, 0, 0]);
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    }
}

#[test]
fn of_a_failed_start_it_is_dropped_when_it_comes_and_the_next_start_is_not_mixed_with_it() {
    let (runtime, count) = (running(), Arc::new(()));
    let (fail, failing) = mpsc::channel();
    let failing = Arc::new(std::sync::Mutex::new(failing));
    let recorder = runtime
        .recorder::<Held>("half")
        .counter("events", |c| c)
        .hook_deadline(PATIENCE)
        .on_starting(move || {
            // Blocks its worker on purpose: the producer comes in between.
            let fails = failing.lock().unwrap().recv().unwrap();
            std::future::ready(if fails { Err("no".into()) } else { Ok(()) })
        })
        .create()
        .unwrap();
    let first = recorder.start();
    let producer = Suspended::on(&recorder, &count, false);
    fail.send(true).unwrap();
    assert_eq!(first.wait(PATIENCE).unwrap_err().kind(), ErrorKind::HookFailed);
    let second = recorder.start();
    fail.send(false).unwrap();
    recorder.register_event(Held(Arc::clone(&count)));
    second.wait(PATIENCE).unwrap();
    assert_eq!(recorder.flush_blocking(SOON).unwrap_err().kind(), ErrorKind::Timeout);
    producer.goes_on(&count, false);
    recorder.flush_blocking(PATIENCE).unwrap();
    let accounts = recorder.accounts();
    assert_eq!((accounts.processed, accounts.dropped.start_failed, accounts.pending()), (1, 1, 0));
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(1));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn whoever_stops_or_asks_after_the_end_leaves_nothing_behind() {
    let (runtime, count) = (running(), Arc::new(()));
    let recorder = create(&runtime);
    recorder.register_event(Held(Arc::clone(&count)));
    let kept = Arc::downgrade(recorder.node());
    let _ = runtime.shutdown(PATIENCE).unwrap();
    (0..3).for_each(|_| drop((recorder.stop(), recorder.flush(), recorder.start())));
    drop((recorder, runtime));
    until("the recorder is freed", || kept.strong_count() == 0);

    for over in [true, false] {
        let (recorder, mut task) = Recorder::<Held>::detached("alone").create().unwrap();
        let kept = Arc::downgrade(recorder.node());
        if over {
            recorder.register_event(Held(Arc::clone(&count)));
            drop(recorder.stop());
            assert!(Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        drop(task);
        (0..3).for_each(|_| drop((recorder.stop(), recorder.flush(), recorder.start())));
        drop(recorder);
        assert_eq!(kept.strong_count(), 0, "over: {over}");
    }
}

#[test]
fn only_a_caller_who_finds_the_worker_asleep_wakes_it_and_is_counted() {
    let runtime = MetricsRuntime::builder("asleep").build().unwrap();
    let (one, other) = (create(&runtime), runtime.recorder("other").create().unwrap());
    let hub = &runtime.inner().control.hub;
    hub.attach(Waker::noop());
    let state = |recorder: &Recorder<Held>| recorder.register_event(Held(Arc::default()));
    state(&one);
    assert_eq!(hub.wakes(), 0, "awake");
    hub.take(&mut Vec::new());
    assert!(hub.try_sleep());
    state(&other);
    assert_eq!(hub.wakes(), 1, "asleep");
    hub.hurry();
    assert_eq!(hub.wakes(), 1, "woken already");
    let snapshot = runtime.collect();
    let vitals = snapshot.vitals();
    let told =
        vitals.iter().find(|family| family.descriptor().name().as_str() == "mvx.worker.wakes").unwrap();
    assert_eq!(told.parts()[0].family().series().next().unwrap().value().counter(), Some(1));
}

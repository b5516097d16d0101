//! DESIGN 4: what is not whole at the end is said: hooks that were not over, a worker that was lost, destructors that panic.
#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::by_hand;
use crate::support::running;
use crate::support::until;
use mvx_metrics::Clock;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::RuntimeState;
use mvx_metrics::SystemClock;
use mvx_metrics::Timestamp;
use std::future::Future;
use std::future::pending;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

fn recorder(runtime: &MetricsRuntime, id: &str) -> RecorderBuilder<Number> {
    runtime.recorder(id).hook_deadline(PATIENCE)
}

#[test]
fn a_hook_that_was_not_over_at_the_deadline_is_named_in_the_report() {
    let runtime = running("hooks");
    let stopping = recorder(&runtime, "stopping").on_stopped(pending).create().unwrap();
    let starting = recorder(&runtime, "starting").on_starting(pending).create().unwrap();
    let both = recorder(&runtime, "both").on_starting(pending).create().unwrap();
    let _plain = recorder(&runtime, "plain").counter("plain", |c| c).create().unwrap();
    let _unused = recorder(&runtime, "unused").on_stopped(pending).create().unwrap();
    stopping.register_event(Number(1));
    stopping.flush_blocking(PATIENCE).unwrap();
    drop(starting.start());
    both.register_event(Number(1));
    until("the hooks run", || {
        [&starting, &both].iter().all(|recorder| recorder.state() == RecorderState::Starting)
    });
    let report = runtime.shutdown(SOON).unwrap();
    assert!(report.worker_ended() && !report.is_complete());
    let says =
        ["on_stopped of recorder stopping", "on_starting of recorder starting", "its hook on_starting"];
    for (recorder, (says, pending)) in report.recorders().iter().zip(says.into_iter().zip([0, 0, 1])) {
        let error = recorder.error.as_ref().expect(says);
        assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(pending)), "{error}");
        assert!(error.to_string().contains(says) && error.to_string().contains("not"), "{error}");
    }
    assert!(report.recorders()[3..].iter().all(|recorder| recorder.error.is_none()), "{report:?}");
}

#[test]
fn a_removal_says_that_the_stop_hook_was_not_over() {
    let runtime = running("removal");
    let removed = recorder(&runtime, "removed").on_stopped(pending).create().unwrap();
    removed.register_event(Number(1));
    let error = runtime.stop_and_remove("removed", SOON).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(0)));
    assert!(error.to_string().contains("the hook on_stopped of recorder removed was not over"), "{error}");
    assert_eq!((removed.accounts().processed, removed.accounts().dropped.total()), (1, 0));
    assert_eq!(runtime.recorder_ids().len(), 0);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

/// A clock that panics once it is broken, on the worker.
#[derive(Debug)]
struct Fragile(SystemClock, Arc<AtomicBool>);

impl Clock for Fragile {
    fn now(&self) -> Timestamp {
        let on_worker = std::thread::current().name().is_some_and(|name| name.ends_with(".metrics"));
        assert!(!(on_worker && self.1.load(Ordering::SeqCst)), "on purpose");
        self.0.now()
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_shutdown_after_the_worker_was_lost_is_not_complete_and_says_so_for_each_recorder() {
    let broken = Arc::new(AtomicBool::new(false));
    let clock = Fragile(SystemClock::new(), Arc::clone(&broken));
    let runtime = MetricsRuntime::builder("lost").clock(clock).build().unwrap();
    runtime.start().unwrap();
    let recorders: Vec<Recorder<Number>> = (0..3)
        .map(|n| runtime.recorder(&format!("r{n}")).counter("events", |c| c).create().unwrap())
        .collect();
    for recorder in &recorders {
        recorder.register_event(Number(1));
        recorder.flush_blocking(PATIENCE).unwrap();
    }
    broken.store(true, Ordering::SeqCst);
    recorders[2].register_event(Number(2));
    until("the worker is lost", || runtime.state() == RuntimeState::Failed);
    until("the thread has ended", || !runtime.liveness().is_alive());
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert!(report.worker_ended() && report.worker_lost() && !report.is_complete(), "{report:?}");
    assert_eq!((report.recorders().len(), report.accounts().dropped.removed), (3, 1));
    for (reported, recorder) in report.recorders().iter().zip(&recorders) {
        let error = reported.error.as_ref().expect("its worker was lost");
        assert_eq!((error.kind(), reported.accounts.pending()), (ErrorKind::WorkerLost, 0));
        assert_eq!(recorder.state(), RecorderState::Failed);
        assert_eq!(recorder.last_error().unwrap().kind(), ErrorKind::WorkerLost);
        assert!(matches!(recorder.try_register_event(Number(2)), Err(RegisterError::Failed(_))));
    }
}

/// A hook that waits for ever, and panics when it is dropped.
struct Vengeful(Arc<AtomicU64>);

impl Future for Vengeful {
    type Output = Result<(), Box<dyn std::error::Error + Send + Sync>>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

impl Drop for Vengeful {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("on purpose");
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_hook_whose_destructor_panics_ends_neither_who_drops_its_task_nor_the_worker() {
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&dropped);
    let builder = Recorder::<Number>::detached("task").hook_deadline(PATIENCE);
    let (recorder, mut task) = builder.on_starting(move || Vengeful(Arc::clone(&counted))).create().unwrap();
    recorder.register_event(Number(1));
    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(task);
    assert_eq!((dropped.load(Ordering::SeqCst), recorder.accounts().dropped.removed), (1, 1));

    let (runtime, counted) = (running("vengeful"), Arc::clone(&dropped));
    let hooked = recorder_with(&runtime, counted);
    hooked.register_event(Number(1));
    until("the hook runs", || hooked.state() == RecorderState::Starting);
    let report = runtime.shutdown(SOON).unwrap();
    until("the hook is dropped", || dropped.load(Ordering::SeqCst) == 2);
    assert_eq!(report.accounts().dropped.deadline, 1);
    assert!(report.worker_ended() && !report.worker_lost());
}

fn recorder_with(runtime: &MetricsRuntime, counted: Arc<AtomicU64>) -> Recorder<Number> {
    recorder(runtime, "hooked").on_starting(move || Vengeful(Arc::clone(&counted))).create().unwrap()
}

#[test]
fn who_waits_for_room_learns_of_a_stop_while_the_start_hook_still_runs() {
    let runtime = running("room");
    let full = recorder(&runtime, "full").capacity(1).on_starting(pending).create().unwrap();
    full.register_event(Number(0));
    until("the hook runs", || full.state() == RecorderState::Starting);
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| full.register_event_blocking(Number(1), PATIENCE));
        let mut awaited = pin!(full.register_event_async(Number(2)));
        assert!(awaited.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let stop = full.stop();
        assert!(matches!(by_hand(awaited), Err(RegisterError::Closed(Number(2)))));
        assert!(matches!(blocked.join().unwrap(), Err(RegisterError::Closed(Number(1)))));
        assert!(stop.result().is_none(), "the hook is not over");
    });
    let report = runtime.shutdown(SOON).unwrap();
    assert_eq!(report.accounts().dropped.deadline, 1);
}

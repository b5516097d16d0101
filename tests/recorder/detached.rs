//! DESIGN 4: a recorder without a runtime. What a worker would do, the caller's executor polls.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use crate::inquisitive::Asked;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RecorderTask;
use mvx_metrics::RegisterError;
use mvx_metrics::Verdict;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::thread;
use tokio::task::LocalSet;

fn counting(id: &str) -> (Recorder<Number>, RecorderTask) {
    Recorder::detached(id).counter("events", |c| c).create().unwrap()
}

fn feed(recorder: &Recorder<Number>, count: u64) {
    (0..count).for_each(|n| recorder.try_register_event(Number(n)).unwrap());
}

/// Polls once, without anybody to wake.
fn poll(task: &mut RecorderTask) -> Poll<()> {
    Pin::new(task).poll(&mut Context::from_waker(Waker::noop()))
}

fn single() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn events_are_taken_before_the_first_poll_and_nothing_happens_by_itself() {
    let (recorder, mut task) = counting("before");
    feed(&recorder, 5);
    let flush = recorder.flush();
    assert_eq!((recorder.accounts().pending(), recorder.state()), (5, RecorderState::Created));
    assert!(flush.result().is_none());
    assert!(poll(&mut task).is_pending());
    assert!(matches!(flush.result(), Some(Ok(()))));
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(5));
    assert_eq!((recorder.snapshot().sequence(), recorder.state()), (5, RecorderState::Running));
}

#[test]
fn it_is_drained_wherever_its_task_is_spawned_and_a_stop_ends_the_task() {
    async fn used(recorder: Recorder<Number>) {
        for round in 1..=50 {
            feed(&recorder, 10);
            recorder.flush().await.unwrap();
            assert_eq!(recorder.snapshot().counter("events", &[]), Some(10 * round));
            tokio::task::yield_now().await;
        }
        recorder.stop().await.unwrap();
        assert_eq!((recorder.state(), recorder.accounts().processed), (RecorderState::Stopped, 500));
    }
    let (recorder, task) = counting("current");
    single().block_on(async {
        let running = tokio::spawn(task);
        used(recorder).await;
        running.await.unwrap();
    });
    let (recorder, task) = counting("multi");
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(async {
        let running = tokio::spawn(task);
        tokio::spawn(used(recorder)).await.unwrap();
        running.await.unwrap();
    });
    let (recorder, task) = counting("local");
    let local = LocalSet::new();
    local.spawn_local(task);
    local.spawn_local(used(recorder));
    single().block_on(local);
    let (recorder, task) = counting("by hand");
    let drained = thread::spawn(move || by_hand(task));
    by_hand(used(recorder));
    drained.join().unwrap();
}

#[test]
fn plain_threads_hand_events_over_and_sleep_until_they_are_drained_elsewhere() {
    let (recorder, task) =
        Recorder::<Number>::detached("threads").capacity(3).counter("events", |c| c).create().unwrap();
    let drained = thread::spawn(move || by_hand(task));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..200 {
                    recorder.register_event_blocking(Number(n), PATIENCE).unwrap();
                }
                recorder.flush_blocking(PATIENCE).unwrap();
            });
        }
    });
    recorder.stop().wait(PATIENCE).unwrap();
    drained.join().unwrap();
    let accounts = recorder.accounts();
    assert_eq!((accounts.accepted, accounts.processed, accounts.rejected.total()), (800, 800, 0));
}

/// The task, polled until somebody says that it is to leave this executor.
struct Visit<'a> {
    task: &'a mut RecorderTask,
    leave: &'a AtomicBool,
}

impl Future for Visit<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = Pin::new(&mut *self.task).poll(context);
        if self.leave.load(Ordering::SeqCst) { Poll::Ready(()) } else { polled }
    }
}

#[test]
fn a_task_may_move_from_executor_to_executor_and_is_woken_where_it_is() {
    let (recorder, mut task) = counting("moved");
    for round in 1..=6 {
        let leave = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // The flush comes true only if the executor of this round is woken.
                feed(&recorder, 3);
                recorder.flush_blocking(PATIENCE).unwrap();
                leave.store(true, Ordering::SeqCst);
                recorder.register_event(Number(9));
            });
            let visit = Visit { task: &mut task, leave: &leave };
            match round % 3 {
                0 => by_hand(visit),
                1 => single().block_on(visit),
                _ => tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .build()
                    .unwrap()
                    .block_on(visit),
            }
        });
        // Pending or not, the last event is the next executor's.
        assert!(recorder.accounts().processed >= 4 * round - 1);
    }
    assert!(poll(&mut task).is_pending());
    assert_eq!((recorder.accounts().processed, recorder.accounts().pending()), (24, 0));
}

#[test]
fn dropping_the_task_closes_the_recorder_answers_everybody_and_counts_what_is_left() {
    let (recorder, mut task) = counting("dropped");
    feed(&recorder, 5);
    assert!(poll(&mut task).is_pending());
    feed(&recorder, 7);
    let (flush, stop, joined) = (recorder.flush(), recorder.stop(), recorder.stop());
    let (_, observed) = recorder.on_metric_changed(|_| {});
    drop(task);
    for operation in [flush, stop, joined] {
        // Counted as dropped is settled, and what was processed was published.
        assert!(matches!(operation.result(), Some(Ok(()))), "{operation:?}");
    }
    assert_eq!(observed.result().unwrap().unwrap_err().kind(), ErrorKind::InvalidState);
    let accounts = recorder.accounts();
    assert_eq!((accounts.accepted, accounts.processed, accounts.dropped.removed), (12, 5, 7));
    assert_eq!((accounts.pending(), recorder.state()), (0, RecorderState::Stopped));
    assert!(matches!(recorder.try_register_event(Number(9)), Err(RegisterError::Closed(Number(9)))));
    assert_eq!(recorder.start().wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(5));
    recorder.stop().wait(PATIENCE).unwrap();
}

#[test]
fn dropping_a_task_that_was_never_polled_counts_everything_exactly_with_producers_racing() {
    for _ in 0..crate::support::scaled(100) {
        let (recorder, task) = counting("race");
        let taken: u64 = thread::scope(|scope| {
            let push = || {
                let mut taken = 0;
                loop {
                    match recorder.try_register_event(Number(0)) {
                        Ok(()) => taken += 1,
                        Err(RegisterError::Full(_)) => thread::yield_now(),
                        Err(_) => return taken,
                    }
                }
            };
            let threads = [scope.spawn(push), scope.spawn(push)];
            until("some are taken", || recorder.accounts().accepted > 10);
            drop(task);
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let accounts = recorder.accounts();
        assert_eq!((accounts.accepted, accounts.dropped.removed), (taken, taken));
        assert_eq!((accounts.rejected.closed, accounts.pending()), (2, 0));
    }
}

#[test]
fn waiting_producers_are_told_when_the_task_is_dropped() {
    let (recorder, task) = Recorder::<Number>::detached("waiting").capacity(1).create().unwrap();
    recorder.register_event(Number(0));
    thread::scope(|scope| {
        let blocked = scope.spawn(|| recorder.register_event_blocking(Number(1), PATIENCE));
        let mut awaited = Box::pin(recorder.register_event_async(Number(2)));
        assert!(awaited.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(task);
        assert!(matches!(blocked.join().unwrap(), Err(RegisterError::Closed(Number(1)))));
        assert!(matches!(by_hand(awaited), Err(RegisterError::Closed(Number(2)))));
    });
    let accounts = recorder.accounts();
    assert_eq!((accounts.rejected.closed, accounts.rejected.full, accounts.dropped.removed), (2, 0, 1));
}

#[test]
fn a_stop_settles_what_was_accepted_and_then_the_task_is_over() {
    let (recorder, mut task) = counting("stop");
    feed(&recorder, 5);
    let stop = recorder.stop();
    assert!(matches!(recorder.try_register_event(Number(9)), Err(RegisterError::Closed(Number(9)))));
    assert!(poll(&mut task).is_ready());
    assert!(matches!(stop.result(), Some(Ok(()))));
    assert_eq!((recorder.accounts().processed, recorder.snapshot().sequence()), (5, 5));
    drop(task);
    assert_eq!(recorder.accounts().dropped.total(), 0);
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[cfg(panic = "unwind")]
#[test]
fn a_metric_that_panics_is_quarantined_and_its_siblings_and_its_task_go_on() {
    let (recorder, mut task) = Recorder::<Number>::detached("panics")
        .metric(Probe::new("bad", |event: &Number| {
            assert_ne!(event.0, 1, "on purpose");
            Verdict::Accepted
        }))
        .counter("good", |c| c)
        .create()
        .unwrap();
    feed(&recorder, 4);
    assert!(poll(&mut task).is_pending());
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.counter("good", &[]), recorder.accounts().processed), (Some(4), 4));
    let bad = snapshot.metric("bad").unwrap();
    assert!(bad.is_quarantined());
    assert_eq!((bad.tally().accepted, bad.tally().panicked, bad.tally().quarantined), (1, 1, 2));
}

#[test]
fn waiting_inside_its_own_task_is_refused_and_outside_of_it_is_not() {
    let own: Arc<Mutex<Option<Recorder<Number>>>> = Arc::default();
    let kinds: Arc<Mutex<Vec<ErrorKind>>> = Arc::default();
    let (found, noted) = (Arc::clone(&own), Arc::clone(&kinds));
    let (recorder, mut task) = Recorder::<Number>::detached("own")
        .metric(Probe::new("events", move |_: &Number| {
            let recorder = found.lock().unwrap().clone().unwrap();
            let flushed = by_hand(recorder.flush()).unwrap_err().kind();
            let waited = recorder.flush_blocking(PATIENCE).unwrap_err().kind();
            noted.lock().unwrap().extend([flushed, waited]);
            Verdict::Accepted
        }))
        .create()
        .unwrap();
    *own.lock().unwrap() = Some(recorder.clone());
    recorder.register_event(Number(0));
    assert!(poll(&mut task).is_pending());
    assert_eq!(*kinds.lock().unwrap(), [ErrorKind::WouldDeadlock; 2]);
    // The same thread, between two polls: it is the caller's own again.
    let flush = recorder.flush();
    assert!(poll(&mut task).is_pending());
    flush.wait(PATIENCE).unwrap();
    *own.lock().unwrap() = None;
}

#[test]
fn a_flooded_recorder_lets_the_other_tasks_of_its_executor_run() {
    let own: Arc<Mutex<Option<Recorder<Number>>>> = Arc::default();
    let found = Arc::clone(&own);
    // Each event makes the next one: it is never idle.
    let (recorder, task) = Recorder::<Number>::detached("flood")
        .metric(Probe::new("events", move |event: &Number| {
            if let Some(recorder) = &*found.lock().unwrap() {
                recorder.register_event(*event);
            }
            Verdict::Accepted
        }))
        .create()
        .unwrap();
    *own.lock().unwrap() = Some(recorder.clone());
    feed(&recorder, 100);
    single().block_on(async {
        let running = tokio::spawn(task);
        for _ in 0..3 {
            let before = recorder.accounts().processed;
            tokio::task::yield_now().await;
            assert!(recorder.accounts().processed > before);
            assert_eq!(recorder.accounts().pending(), 100);
        }
        assert!(!running.is_finished());
        *own.lock().unwrap() = None;
        recorder.stop().await.unwrap();
        running.await.unwrap();
    });
    assert_eq!(recorder.accounts().pending(), 0);
}

#[test]
fn mistakes_of_the_definition_are_reported_by_create() {
    let kind = |result: Result<(Recorder<Number>, RecorderTask), mvx_metrics::Error>| {
        result.err().map(|error| error.kind())
    };
    assert_eq!(kind(Recorder::detached("  ").create()), Some(ErrorKind::InvalidId));
    assert_eq!(kind(Recorder::detached("none").capacity(0).create()), Some(ErrorKind::InvalidLimit));
    let conflict = Recorder::detached("conflict")
        .counter("same", |c| c)
        .gauge("same", |g| g.value(|event: &Number| Some(event.0 as f64)));
    assert_eq!(kind(conflict.create()), Some(ErrorKind::MetricConflict));
}

/// Its first start fails; the stop hook says that it ran.
fn failing(id: &str) -> (Recorder<Number>, RecorderTask, Arc<AtomicBool>) {
    let (closed, mut attempts) = (Arc::new(AtomicBool::new(false)), 0);
    let told = Arc::clone(&closed);
    let (recorder, task) = Recorder::<Number>::detached(id)
        .counter("events", |c| c)
        .on_starting(move || {
            attempts += 1;
            std::future::ready(if attempts == 1 { Err("not yet".into()) } else { Ok(()) })
        })
        .on_stopped(move || {
            told.store(true, Ordering::SeqCst);
            std::future::ready(Ok(()))
        })
        .create()
        .unwrap();
    (recorder, task, closed)
}

#[test]
fn a_failed_start_leaves_the_task_to_a_second_one() {
    let (recorder, mut task, _) = failing("again");
    feed(&recorder, 3);
    assert!(poll(&mut task).is_pending());
    assert_eq!((recorder.state(), recorder.accounts().dropped.start_failed), (RecorderState::Failed, 3));
    let start = recorder.start();
    assert!(poll(&mut task).is_pending());
    assert!(matches!(start.result(), Some(Ok(()))));
    feed(&recorder, 2);
    let stop = recorder.stop();
    assert!(poll(&mut task).is_ready());
    assert!(matches!(stop.result(), Some(Ok(()))));
    assert_eq!((recorder.accounts().processed, recorder.state()), (2, RecorderState::Stopped));
}

#[test]
fn a_failed_recorder_that_is_stopped_or_let_go_ends_its_task() {
    let (recorder, mut task, closed) = failing("stopped");
    feed(&recorder, 3);
    assert!(poll(&mut task).is_pending());
    let stop = recorder.stop();
    assert!(poll(&mut task).is_ready());
    assert!(matches!(stop.result(), Some(Ok(()))) && closed.load(Ordering::SeqCst));
    assert_eq!((recorder.state(), recorder.accounts().pending()), (RecorderState::Failed, 0));
    // Nobody is there to run it: it says so, and takes nothing.
    assert_eq!(recorder.start().result().unwrap().unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(matches!(recorder.try_register_event(Number(9)), Err(RegisterError::Failed(Number(9)))));

    let (recorder, mut task, closed) = failing("let go");
    feed(&recorder, 3);
    assert!(poll(&mut task).is_pending());
    drop(recorder);
    assert!(poll(&mut task).is_ready() && closed.load(Ordering::SeqCst));
}

#[test]
fn the_last_handle_wakes_the_task_which_processes_what_was_accepted_and_ends() {
    for _ in 0..crate::support::scaled(200) {
        let saw = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let seen = Arc::clone(&saw);
        let (recorder, task) = Recorder::<Number>::detached("last")
            .metric(Probe::new("events", move |_: &Number| {
                seen.fetch_add(1, Ordering::SeqCst);
                Verdict::Accepted
            }))
            .create()
            .unwrap();
        let drained = thread::spawn(move || by_hand(task));
        let another = recorder.clone();
        let other = thread::spawn(move || another.register_event(Number(1)));
        recorder.register_event(Number(0));
        drop(recorder);
        other.join().unwrap();
        drained.join().unwrap();
        assert_eq!(saw.load(Ordering::SeqCst), 2);
    }
    // Also one that nobody ever used.
    let (recorder, mut task) = counting("unused");
    assert!(poll(&mut task).is_pending());
    drop(recorder);
    assert!(poll(&mut task).is_ready());
}

#[test]
fn a_start_against_the_end_of_the_task_comes_true_or_says_that_it_will_not() {
    for _ in 0..crate::support::scaled(300) {
        let (recorder, task) = counting("against");
        feed(&recorder, 1);
        let drained = thread::spawn(move || by_hand(task));
        let stop = recorder.stop();
        let start = loop {
            let start = recorder.start();
            if start.wait(PATIENCE).is_ok() || stop.result().is_some() {
                break start;
            }
        };
        if start.wait(PATIENCE).is_ok() {
            recorder.stop().wait(PATIENCE).unwrap();
        }
        drained.join().unwrap();
        assert!(matches!(recorder.try_register_event(Number(2)), Err(RegisterError::Closed(_))));
        assert_eq!((recorder.state(), recorder.accounts().pending()), (RecorderState::Stopped, 0));
    }
}

#[test]
fn its_clock_is_the_one_it_was_given() {
    #[derive(Debug)]
    struct Still;
    impl mvx_metrics::Clock for Still {
        fn now(&self) -> mvx_metrics::Timestamp {
            mvx_metrics::Timestamp::from_unix_nanos(7_000)
        }
    }
    let (recorder, mut task) =
        Recorder::<Number>::detached("clock").clock(Still).counter("events", |c| c).create().unwrap();
    feed(&recorder, 1);
    assert!(poll(&mut task).is_pending());
    assert_eq!(recorder.snapshot().taken_at().unix_nanos(), 7_000);
    assert_eq!(recorder.snapshot().epoch().process_start.unix_nanos(), 7_000);
}

#[test]
fn a_task_may_be_polled_with_a_waker_that_registers_events_while_it_is_cloned() {
    let (recorder, task) = counting("inquisitive");
    let asks = || {
        let recorder = recorder.clone();
        Asked::new(move || recorder.register_event(Number(0)))
    };
    let (first, second) = (asks(), asks());
    let polls = thread::spawn({
        let (mut task, first, second) = (task, Arc::clone(&first), Arc::clone(&second));
        move || {
            // Kept until the end: the end of a waker registers an event as well, and the task must be asleep here.
            let (first, second) = (first.waker(), second.waker());
            let polls = [&first, &first, &second, &first]
                .map(|waker| Pin::new(&mut task).poll(&mut Context::from_waker(waker)).is_pending());
            (task, polls)
        }
    });
    until("the polls return", || polls.is_finished());
    let (mut task, pending) = polls.join().unwrap();
    assert_eq!(pending, [true; 4]);
    // The first of these ends the last waker, whose event the second takes.
    assert!(poll(&mut task).is_pending() && poll(&mut task).is_pending());
    assert!(first.times() >= 2 && second.times() >= 2, "{} {}", first.times(), second.times());
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(first.times() + second.times()));
}

//! DESIGN 3.5: after a flush, everything accepted before it is processed and published; or the error says what was pending.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Clock;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Operation;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const POLICIES: [OverflowPolicy; 2] = [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest];
const SOON: Duration = Duration::from_millis(20);

fn counting(runtime: &MetricsRuntime, id: &str) -> Recorder<Number> {
    runtime.recorder(id).counter("events", |c| c).create().unwrap()
}

/// A recorder whose only metric is held at the gate by the event `Number(0)`, which it has.
fn stuck(runtime: &MetricsRuntime, gate: &Gate) -> Recorder<Number> {
    let recorder = runtime.recorder("stuck").metric(stopper("events", 0, gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    recorder
}

/// A clock by which everything takes two milliseconds, so that every event is a turn of its own.
#[derive(Debug, Default)]
struct Slow(AtomicU64);

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0.fetch_add(2_000_000, Ordering::AcqRel))
    }
}

/// What is visible covers at least what was accepted.
#[track_caller]
fn assert_shown(recorder: &Recorder<Number>, accepted: u64) {
    let snapshot = recorder.snapshot();
    assert!(snapshot.sequence() >= accepted, "{snapshot:?}");
    assert_eq!(snapshot.counter("events", &[]).unwrap_or(0), snapshot.sequence());
}

fn poll_once(operation: &mut Operation) -> Poll<Result<(), Error>> {
    pin!(operation).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn after_a_flush_the_snapshot_shows_everything_accepted_before_it_while_others_push() {
    for policy in POLICIES {
        let runtime = running("flush");
        let recorder = runtime
            .recorder("busy")
            .overflow(policy)
            .capacity(1 << 12)
            .counter("events", |c| c)
            .create()
            .unwrap();
        let over = AtomicBool::new(false);
        let result = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Acquire) {
                        recorder.register_event(Number(1));
                        thread::yield_now();
                    }
                });
            }
            let _over = Over(&over);
            (0..scaled(1_000)).try_for_each(|_| {
                insist(&recorder, Number(2));
                let before = recorder.accounts();
                recorder.flush_blocking(PATIENCE).map_err(|error| error.to_string())?;
                let snapshot = recorder.snapshot();
                let settled = snapshot.sequence() + snapshot.accounts().dropped.evicted;
                if settled < before.accepted {
                    return Err(format!("{snapshot:?} after a flush at {before:?}"));
                }
                Ok(())
            })
        });
        assert_eq!(result, Ok(()), "{policy:?}");
        recorder.flush_blocking(PATIENCE).unwrap();
        let accounts = recorder.accounts();
        assert_shown(&recorder, accounts.accepted - accounts.dropped.evicted);
    }
}

#[test]
fn an_event_and_its_flush_on_the_same_thread_are_seen_at_once_ten_thousand_times() {
    let runtime = running("flush");
    let recorder = counting(&runtime, "alternating");
    for count in 1..=scaled(10_000) {
        recorder.register_event(Number(count));
        let started = Instant::now();
        recorder.flush_blocking(PATIENCE).unwrap();
        // Woken, and not come to look when the time was over.
        assert!(started.elapsed() < PATIENCE);
        assert_eq!(recorder.snapshot().counter("events", &[]), Some(count));
        assert_eq!(recorder.snapshot().sequence(), count);
    }
}

#[test]
fn a_flush_waits_for_its_last_event_over_as_many_turns_as_it_takes() {
    for policy in POLICIES {
        let runtime = MetricsRuntime::builder("turns").clock(Slow::default()).build().unwrap();
        runtime.start().unwrap();
        let (first, last) = (Gate::default(), Gate::default());
        let (at_first, at_last) = (first.clone(), last.clone());
        let metric = Probe::new("events", move |event: &Number| {
            match event.0 {
                0 => at_first.pass(),
                9 => at_last.pass(),
                _ => {}
            }
            Verdict::Accepted
        });
        let recorder = runtime.recorder("turns").overflow(policy).metric(metric).create().unwrap();
        recorder.register_event(Number(0));
        first.until_reached();
        (1..9).for_each(|n| recorder.register_event(Number(n)));
        let early = recorder.flush();
        recorder.register_event(Number(9));
        let flush = recorder.flush();
        recorder.register_event(Number(10));
        first.open();
        last.until_reached();
        // All but the last event are behind the worker, each in a turn that ended with a look at what is owed.
        assert!(matches!(early.result(), Some(Ok(()))), "{policy:?}");
        assert!(flush.result().is_none(), "{policy:?}");
        assert_eq!(recorder.snapshot().sequence(), 9);
        last.open();
        flush.wait(PATIENCE).unwrap();
        assert_shown(&recorder, 10);
    }
}

#[test]
fn a_flush_can_be_awaited_in_every_flavour_of_tokio_and_by_hand() {
    let runtime = running("flavours");
    let recorder = counting(&runtime, "flavours");
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let flushed = |recorder: Recorder<Number>| async move {
        recorder.register_event(Number(1));
        let accepted = recorder.accounts().accepted;
        recorder.flush().await.unwrap();
        assert_shown(&recorder, accepted);
    };
    current.block_on(flushed(recorder.clone()));
    multi.block_on(flushed(recorder.clone()));
    multi.block_on(async { tokio::spawn(flushed(recorder.clone())).await.unwrap() });
    current.block_on(async {
        let local = tokio::task::LocalSet::new();
        local.run_until(async { tokio::task::spawn_local(flushed(recorder.clone())).await.unwrap() }).await;
    });
    let blocking = recorder.clone();
    multi.block_on(async {
        tokio::task::spawn_blocking(move || blocking.flush_blocking(PATIENCE)).await.unwrap().unwrap();
    });
    by_hand(flushed(recorder.clone()));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_shown(&recorder, 5);
}

#[test]
fn a_flush_works_on_a_thread_that_blocks_inside_a_tokio_runtime() {
    let runtime = running("inside");
    let recorder = counting(&runtime, "inside");
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    current.block_on(async {
        recorder.register_event(Number(1));
        // It blocks this loop, as it says, and nothing worse.
        recorder.flush_blocking(PATIENCE).unwrap();
        assert_shown(&recorder, 1);
    });
}

#[test]
fn a_flush_dropped_half_way_loses_nothing_and_leaves_the_next_one_whole() {
    let (runtime, gate) = (running("cancelled"), Gate::default());
    let recorder = stuck(&runtime, &gate);
    for _ in 0..100 {
        let mut flush = recorder.flush();
        assert!(poll_once(&mut flush).is_pending());
        drop(flush);
    }
    let mut kept = recorder.flush();
    thread::scope(|scope| {
        let (polled, first_poll) = mpsc::channel();
        let mut own = kept.clone();
        let waiting = scope.spawn(move || {
            by_hand(poll_fn(|context| {
                let poll = pin!(&mut own).poll(context);
                let _ = polled.send(());
                poll
            }))
        });
        first_poll.recv().unwrap();
        // Handles of the same operation, polled and dropped while somebody waits.
        for _ in 0..100 {
            assert!(poll_once(&mut kept.clone()).is_pending());
            thread::yield_now();
        }
        gate.open();
        waiting.join().unwrap().unwrap();
    });
    assert_shown(&recorder, 1);
    // Over and done with: it can be asked again and again.
    assert!(matches!(poll_once(&mut kept), Poll::Ready(Ok(()))));
    kept.clone().wait(Duration::ZERO).unwrap();
}

#[test]
fn flushes_at_once_from_many_threads_all_end() {
    let runtime = running("crowd");
    let recorder = counting(&runtime, "crowd");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..scaled(200) {
                    recorder.register_event(Number(1));
                    let (first, second) = (recorder.flush(), recorder.flush());
                    let accepted = second.clone();
                    first.wait(PATIENCE).unwrap();
                    accepted.wait(PATIENCE).unwrap();
                    by_hand(second).unwrap();
                }
            });
        }
    });
    assert_shown(&recorder, 8 * scaled(200));
}

#[test]
fn flushing_an_idle_recorder_ends_at_once_however_often() {
    let runtime = running("idle");
    let recorder = counting(&runtime, "idle");
    (0..1_000).for_each(|_| recorder.flush_blocking(PATIENCE).unwrap());
    assert_eq!(recorder.snapshot().sequence(), 0);
    recorder.stop().wait(PATIENCE).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[test]
fn a_flush_before_the_start_says_what_is_pending_and_that_the_runtime_must_start() {
    let runtime = MetricsRuntime::builder("created").build().unwrap();
    let recorder = counting(&runtime, "created");
    // Nothing is pending, and nothing is what the published cut shows.
    recorder.flush_blocking(Duration::ZERO).unwrap();
    (0..3).for_each(|n| recorder.register_event(Number(n)));
    let error = recorder.flush_blocking(PATIENCE).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::InvalidState, Some(3)));
    assert!(error.to_string().contains("start its runtime"), "{error}");
    assert_eq!((error.actual_state(), error.expected_state()), (Some("Created"), Some("Running")));
    runtime.start().unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_shown(&recorder, 3);
}

#[test]
fn on_the_worker_every_call_that_would_wait_for_it_says_so_instead() {
    let runtime = running("worker");
    let other = counting(&runtime, "other");
    let (kinds, own) = (Arc::new(Mutex::new(Vec::new())), Arc::new(OnceLock::<Recorder<Number>>::new()));
    let (noted, itself, asked) = (Arc::clone(&kinds), Arc::clone(&own), runtime.clone());
    let metric = Probe::new("asking", move |_: &Number| {
        let own = itself.get().unwrap();
        let mut flush = own.flush();
        let Poll::Ready(polled) = poll_once(&mut flush) else { return Verdict::Ignored };
        let results = [
            own.flush_blocking(PATIENCE),
            other.flush_blocking(PATIENCE),
            polled,
            own.stop().wait(PATIENCE),
            own.register_metric(Probe::new("later", |_: &Number| Verdict::Accepted)).wait(PATIENCE),
            asked.shutdown(PATIENCE).map(drop),
            asked.stop_and_remove("other", PATIENCE).map(drop),
        ];
        noted.lock().unwrap().extend(results.map(|result| result.unwrap_err().kind()));
        Verdict::Accepted
    });
    let recorder = runtime.recorder("asking").metric(metric).create().unwrap();
    own.set(recorder.clone()).unwrap();
    recorder.register_event(Number(1));
    until("the metric has asked", || recorder.accounts().processed == 1);
    assert_eq!(*kinds.lock().unwrap(), [ErrorKind::WouldDeadlock; 7]);
    // The stop it asked for without waiting goes on; what refused to block did nothing.
    recorder.stop().wait(PATIENCE).unwrap();
    assert_eq!(runtime.recorder_ids().len(), 2);
    let error = mvx_metrics::Error::to_string(&runtime.get::<Number>("none").unwrap_err());
    assert!(error.contains("create it first"), "{error}");
}

#[test]
fn a_flush_that_runs_out_of_time_says_how_much_is_pending_and_goes_on() {
    let (runtime, gate) = (running("slow"), Gate::default());
    let recorder = stuck(&runtime, &gate);
    (1..=4).for_each(|n| recorder.register_event(Number(n)));
    let flush = recorder.flush();
    let error = flush.wait(SOON).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(5)));
    assert!(error.to_string().contains("wait again"), "{error}");
    assert_eq!(recorder.flush_blocking(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(flush.result().is_none());
    gate.open();
    flush.wait(PATIENCE).unwrap();
    assert_shown(&recorder, 5);
}

#[test]
fn a_flush_after_the_shutdown_succeeds_if_everything_is_settled_and_shown() {
    let runtime = running("after");
    let recorder = counting(&runtime, "after");
    (0..5).for_each(|n| recorder.register_event(Number(n)));
    let _ = runtime.shutdown(PATIENCE).unwrap();
    recorder.flush_blocking(Duration::ZERO).unwrap();
    drop(runtime);
    recorder.flush_blocking(Duration::ZERO).unwrap();
    assert_shown(&recorder, 5);
}

#[test]
fn a_flush_against_a_shutdown_always_ends_and_never_lies() {
    for round in 0..scaled(100) {
        let runtime = running("race");
        let recorder = counting(&runtime, "race");
        thread::scope(|scope| {
            let flushing = scope.spawn(|| {
                loop {
                    recorder.register_event(Number(0));
                    let accepted = recorder.accounts().accepted;
                    let result = recorder.flush_blocking(PATIENCE);
                    match result {
                        Ok(()) => assert_shown(&recorder, accepted),
                        Err(error) => assert_ne!(error.kind(), ErrorKind::Timeout, "{error}"),
                    }
                    if recorder.accounts().rejected.closed > 0 {
                        break;
                    }
                }
            });
            (0..round % 50).for_each(|_| thread::yield_now());
            let _ = runtime.shutdown(PATIENCE).unwrap();
            flushing.join().unwrap();
        });
    }
}

#[test]
fn a_flush_behind_a_stuck_event_ends_with_the_shutdown_that_gives_it_up() {
    let runtime = MetricsRuntime::builder("stuck").clock(Slow::default()).build().unwrap();
    runtime.start().unwrap();
    let (first, second) = (Gate::default(), Gate::default());
    let (at_first, at_second) = (first.clone(), second.clone());
    let metric = Probe::new("events", move |event: &Number| {
        match event.0 {
            0 => at_first.pass(),
            1 => at_second.pass(),
            _ => {}
        }
        Verdict::Accepted
    });
    let recorder = runtime.recorder("stuck").metric(metric).create().unwrap();
    recorder.register_event(Number(0));
    first.until_reached();
    recorder.register_event(Number(1));
    // Known to the worker before it gets stuck at the second gate: nobody but it holds this one.
    let known = recorder.flush();
    first.open();
    second.until_reached();
    // Still in the mailbox when the deadline comes.
    let unknown = recorder.flush();
    let report = runtime.shutdown(SOON).unwrap();
    assert_eq!(report.accounts().dropped.deadline, 1);
    // Both are over, while the worker still stands at the gate: what was given up is settled, so all depends on the cut.
    let snapshot = recorder.snapshot();
    let shown = snapshot.sequence() == snapshot.accounts().processed;
    for flush in [known, unknown] {
        let result = flush.result().expect("the flush ended with the shutdown");
        assert_eq!(result.is_ok(), shown, "{result:?}: {snapshot:?}");
    }
    second.open();
}

#[test]
fn a_flush_does_not_succeed_when_what_was_processed_was_never_shown() {
    for _ in 0..scaled(10) {
        let (runtime, gate) = (running("unseen"), Gate::default());
        let at_gate = gate.clone();
        let metric = Probe::new("events", move |event: &Number| {
            if event.0 == 1 {
                at_gate.pass();
            }
            Verdict::Accepted
        });
        let recorder = runtime.recorder("unseen").metric(metric).create().unwrap();
        // The first two events are batches of their own, taken in one turn; between them nothing is published, mostly.
        recorder.register_events(&mut vec![Number(0), Number(1)]);
        gate.until_reached();
        let flush = recorder.flush();
        let _ = runtime.shutdown(Duration::ZERO).unwrap();
        gate.open();
        let (flushed, again) = (flush.wait(PATIENCE), recorder.flush_blocking(PATIENCE));
        let snapshot = recorder.snapshot();
        let shown = snapshot.sequence() == snapshot.accounts().processed;
        assert_eq!((flushed.is_ok(), again.is_ok()), (shown, shown), "{snapshot:?}: {flushed:?}, {again:?}");
    }
}

#[test]
fn operations_can_be_awaited_by_several_executors_at_once() {
    let (runtime, gate) = (running("several"), Gate::default());
    let recorder = stuck(&runtime, &gate);
    let flush = recorder.flush();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    thread::scope(|scope| {
        let current = scope.spawn(|| {
            let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
            current.block_on(flush.clone())
        });
        let plain = scope.spawn(|| flush.wait(PATIENCE));
        let hand = scope.spawn(|| by_hand(flush.clone()));
        let spawned: Vec<_> = (0..3).map(|_| multi.spawn(flush.clone())).collect();
        gate.open();
        for result in [current.join().unwrap(), plain.join().unwrap(), hand.join().unwrap()] {
            result.unwrap();
        }
        for task in spawned {
            multi.block_on(task).unwrap().unwrap();
        }
    });
    assert_shown(&recorder, 1);
}

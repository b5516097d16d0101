//! DESIGN 4: states of recorders and runtimes, operations that can be awaited, and a registry with exactly one winner.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::inquisitive::Asked;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::EventSink;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::RuntimeState;
use mvx_metrics::Verdict;
use std::future::Future;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(20);

/// Another type than `Number`.
struct Other;

impl MetricEvent for Other {
    fn event_type(&self) -> &'static str {
        "other"
    }
}

fn counting(runtime: &MetricsRuntime, id: &str) -> Recorder<Number> {
    runtime.recorder(id).counter("events", |c| c).create().unwrap()
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn ids(runtime: &MetricsRuntime) -> Vec<String> {
    runtime.recorder_ids().iter().map(ToString::to_string).collect()
}

#[test]
fn a_created_recorder_takes_events_and_the_first_one_starts_it() {
    let runtime = running("created");
    let recorder = counting(&runtime, "created");
    assert_eq!(recorder.state(), RecorderState::Created);
    recorder.try_register_event(Number(1)).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.state(), RecorderState::Running);
    let asked = counting(&runtime, "asked");
    asked.start().wait(PATIENCE).unwrap();
    assert_eq!(asked.state(), RecorderState::Running);
}

#[test]
fn a_stopped_recorder_refuses_until_it_is_started_and_keeps_metrics_and_accounts() {
    let runtime = running("restart");
    let recorder = counting(&runtime, "restart");
    for round in 1..=5 {
        recorder.start().wait(PATIENCE).unwrap();
        recorder.start().wait(PATIENCE).unwrap();
        assert_eq!(recorder.state(), RecorderState::Running);
        recorder.try_register_event(Number(round)).unwrap();
        recorder.stop().wait(PATIENCE).unwrap();
        recorder.stop().wait(PATIENCE).unwrap();
        assert_eq!(recorder.state(), RecorderState::Stopped);
        // No lazy restart.
        assert!(matches!(recorder.try_register_event(Number(0)), Err(RegisterError::Closed(_))));
        recorder.register_event(Number(0));
        assert_eq!(recorder.register_events(&mut vec![Number(0)]), 0);
        assert_eq!(recorder.state(), RecorderState::Stopped);
        let accounts = recorder.accounts();
        assert_eq!((accounts.processed, accounts.rejected.closed), (round, 3 * round));
        assert_eq!(recorder.snapshot().counter("events", &[]), Some(round));
    }
}

#[test]
fn a_stopping_recorder_refuses_and_settles_what_it_has() {
    let (runtime, gate) = (running("stopping"), Gate::default());
    let recorder = runtime.recorder("stopping").metric(stopper("events", 0, &gate)).create().unwrap();
    (0..5).for_each(|n| recorder.register_event(Number(n)));
    gate.until_reached();
    let (stop, joined) = (recorder.stop(), recorder.stop());
    assert_eq!(recorder.state(), RecorderState::Stopping);
    assert!(matches!(recorder.try_register_event(Number(9)), Err(RegisterError::Closed(Number(9)))));
    assert_eq!(kind(stop.wait(SOON)), Some(ErrorKind::Timeout));
    assert_eq!((recorder.accounts().pending(), recorder.snapshot().sequence()), (5, 0));
    gate.open();
    stop.wait(PATIENCE).unwrap();
    joined.wait(PATIENCE).unwrap();
    assert_eq!((recorder.state(), recorder.accounts().processed), (RecorderState::Stopped, 5));
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(5));
}

#[test]
fn a_start_behind_a_stop_opens_the_door_again_and_loses_nothing() {
    let (runtime, gate) = (running("behind"), Gate::default());
    let recorder = runtime.recorder("behind").metric(stopper("events", 0, &gate)).create().unwrap();
    (0..5).for_each(|n| recorder.register_event(Number(n)));
    gate.until_reached();
    let (stop, start) = (recorder.stop(), recorder.start());
    gate.open();
    start.wait(PATIENCE).unwrap();
    stop.wait(PATIENCE).unwrap();
    assert_eq!(recorder.state(), RecorderState::Running);
    recorder.try_register_event(Number(5)).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!((recorder.accounts().processed, recorder.accounts().dropped.total()), (6, 0));
}

#[test]
fn a_runtime_goes_from_created_over_running_to_closed_and_says_so() {
    let runtime = MetricsRuntime::builder(" states ").build().unwrap();
    assert_eq!((runtime.state(), runtime.namespace()), (RuntimeState::Created, "states"));
    let recorder = counting(&runtime, "early");
    recorder.register_event(Number(1));
    runtime.start().unwrap();
    runtime.start().unwrap();
    assert_eq!(runtime.state(), RuntimeState::Running);
    recorder.flush_blocking(PATIENCE).unwrap();
    let (gate, held) = (Gate::default(), runtime.clone());
    let stuck = runtime.recorder("stuck").metric(stopper("stuck", 0, &gate)).create().unwrap();
    stuck.register_event(Number(0));
    gate.until_reached();
    let shutdown = held.begin_shutdown(PATIENCE);
    assert_eq!(runtime.state(), RuntimeState::Stopping);
    let error = runtime.start().unwrap_err();
    assert_eq!((error.kind(), error.actual_state()), (ErrorKind::InvalidState, Some("Stopping")));
    until("no recorder is taken any more", || match runtime.recorder::<Number>("late").create() {
        Ok(_) => runtime.stop_and_remove("late", Duration::ZERO).is_err(),
        Err(error) => error.kind() == ErrorKind::InvalidState,
    });
    gate.open();
    assert!(shutdown.wait(PATIENCE).is_ok());
    assert_eq!(runtime.state(), RuntimeState::Closed);
    let error = runtime.start().unwrap_err();
    assert_eq!((error.kind(), error.actual_state()), (ErrorKind::InvalidState, Some("Closed")));
    assert!(error.to_string().contains("build another"), "{error}");
}

#[test]
fn concurrent_starts_all_succeed_and_make_one_worker() {
    for _ in 0..scaled(20) {
        let runtime = MetricsRuntime::builder("starts").build().unwrap();
        let together = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    together.wait();
                    runtime.start().unwrap();
                    // Whoever returns finds a worker that drains.
                    assert_eq!(runtime.state(), RuntimeState::Running);
                });
            }
        });
        let recorder = counting(&runtime, "one");
        recorder.register_event(Number(1));
        recorder.flush_blocking(PATIENCE).unwrap();
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    }
}

#[test]
fn operations_are_awaited_any_number_of_times_on_any_executor_and_dropping_one_cancels_nothing() {
    let runtime = running("await");
    let recorder = counting(&runtime, "await");
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let stop = recorder.stop();
    let clones: Vec<_> = (0..5).map(|_| stop.clone()).collect();
    multi.block_on(async {
        stop.clone().await.unwrap();
        stop.clone().await.unwrap();
        for clone in clones {
            tokio::spawn(clone).await.unwrap().unwrap();
        }
    });
    by_hand(stop.clone()).unwrap();
    stop.wait(Duration::ZERO).unwrap();
    assert!(matches!(stop.result(), Some(Ok(()))));
    drop(recorder.start());
    until("the start that nobody waits for", || recorder.state() == RecorderState::Running);
    let shutdown = runtime.begin_shutdown(PATIENCE);
    let report = multi.block_on(async { tokio::spawn(shutdown.clone()).await.unwrap().unwrap() });
    assert_eq!(by_hand(shutdown).unwrap().accounts(), report.accounts());
}

#[test]
fn an_id_created_by_many_at_once_has_exactly_one_winner() {
    let runtime = running("winner");
    for round in 0..scaled(200) {
        let (id, together) = (format!("id{round}"), Barrier::new(4));
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        runtime.recorder::<Number>(&id).counter("events", |c| c).create()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1);
        assert!(results.iter().all(|result| match result {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::AlreadyExists,
        }));
        // What is registered is the winner's.
        winners[0].register_event(Number(1));
        assert_eq!(runtime.get::<Number>(&id).unwrap().accounts().accepted, 1);
    }
}

#[test]
fn an_id_removed_by_many_at_once_has_exactly_one_winner_and_can_be_created_again() {
    let runtime = running("removal");
    for round in 0..scaled(200) {
        let recorder = counting(&runtime, "same");
        (0..round % 5).for_each(|n| recorder.register_event(Number(n)));
        let together = Barrier::new(4);
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        runtime.stop_and_remove("same", PATIENCE)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!((won[0].processed, won[0].pending()), (round % 5, 0));
        assert!(
            results
                .iter()
                .filter_map(|result| result.as_ref().err())
                .all(|e| e.kind() == ErrorKind::NotFound)
        );
        assert_eq!(ids(&runtime), [""; 0]);
    }
}

#[test]
fn creations_against_removals_leave_the_registry_as_the_last_of_them_says() {
    let runtime = running("churn");
    let balance = Mutex::new(0_i64);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (runtime, balance) = (&runtime, &balance);
            scope.spawn(move || {
                for _ in 0..scaled(300) {
                    let won = if thread % 2 == 0 {
                        i64::from(runtime.recorder::<Number>("churn").create().is_ok())
                    } else {
                        -i64::from(runtime.stop_and_remove("churn", PATIENCE).is_ok())
                    };
                    *balance.lock().unwrap() += won;
                }
            });
        }
    });
    let registered = ids(&runtime).len() as i64;
    assert_eq!(*balance.lock().unwrap(), registered);
    assert_eq!(runtime.try_get::<Number>("churn").unwrap().is_some(), registered == 1);
}

#[test]
fn ids_are_trimmed_and_the_entity_is_the_id_unless_named() {
    let runtime = running("ids");
    let recorder = runtime.recorder::<Number>("  storage \t").create().unwrap();
    assert_eq!((recorder.id().as_str(), recorder.entity()), ("storage", "storage"));
    assert_eq!(kind(runtime.recorder::<Number>("storage").create()), Some(ErrorKind::AlreadyExists));
    assert_eq!(runtime.get::<Number>("\nstorage ").unwrap().id(), recorder.id());
    let named = runtime.recorder::<Number>("cache").entity(" L2 ").create().unwrap();
    assert_eq!((named.id().as_str(), named.entity(), named.snapshot().entity()), ("cache", "L2", "L2"));
    runtime.stop_and_remove(" cache ", PATIENCE).unwrap();
    assert_eq!(ids(&runtime), ["storage"]);
}

/// What a metric of the runtime itself stands at.
fn refused(runtime: &MetricsRuntime) -> Option<u64> {
    let snapshot = runtime.collect();
    let vitals = snapshot.vitals();
    let family =
        vitals.iter().find(|family| family.descriptor().name().as_str() == "mvx.recorders.refused")?;
    family.parts()[0].family().series().next()?.value().counter()
}

#[test]
fn one_recorder_more_than_the_limit_is_refused_and_counted_until_there_is_room() {
    for limit in [0, mvx_metrics::limits::MAX_RECORDERS + 1] {
        let built = MetricsRuntime::builder("none").recorder_limit(limit).build();
        assert_eq!(kind(built), Some(ErrorKind::InvalidLimit), "{limit}");
    }
    let runtime = MetricsRuntime::builder("few").recorder_limit(2).build().unwrap();
    runtime.start().unwrap();
    let (one, _two) = (counting(&runtime, "one"), counting(&runtime, "two"));
    let error = runtime.recorder::<Number>("three").create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let text = error.to_string();
    assert!(["three", "2 are there", "recorder_limit"].iter().all(|part| text.contains(part)), "{text}");
    // What is there already is told as before, and is no refusal for want of room.
    assert_eq!(kind(runtime.recorder::<Number>("two").create()), Some(ErrorKind::AlreadyExists));
    assert_eq!(refused(&runtime), Some(1));
    one.register_event(Number(1));
    runtime.stop_and_remove("one", PATIENCE).unwrap();
    assert!(runtime.recorder::<Number>("three").create().is_ok());
    assert_eq!((ids(&runtime), refused(&runtime)), (vec!["two".to_owned(), "three".to_owned()], Some(1)));
}

#[test]
fn a_recorder_whose_removal_waits_for_the_worker_takes_room_until_it_is_settled() {
    let runtime = MetricsRuntime::builder("few").recorder_limit(1).build().unwrap();
    runtime.start().unwrap();
    let gate = Gate::default();
    let owned = runtime.recorder::<Number>("one").metric(stopper("events", 1, &gate)).create_owned().unwrap();
    owned.register_event(Number(1));
    gate.until_reached();
    // Nobody waits for it: it is removed when the worker comes to it.
    drop(owned);
    assert_eq!(kind(runtime.recorder::<Number>("two").create()), Some(ErrorKind::LimitReached));
    gate.open();
    until("there is room", || runtime.recorder::<Number>("two").create().is_ok());
}

#[test]
fn recorders_are_listed_in_the_order_of_creation() {
    let runtime = running("list");
    for id in ["z", "a", "m", "b"] {
        counting(&runtime, id);
    }
    assert_eq!(ids(&runtime), ["z", "a", "m", "b"]);
    runtime.stop_and_remove("a", PATIENCE).unwrap();
    counting(&runtime, "a");
    assert_eq!(ids(&runtime), ["z", "m", "b", "a"]);
    let snapshots: Vec<_> = runtime.snapshots().iter().map(|snapshot| snapshot.id().to_string()).collect();
    assert_eq!(snapshots, ["z", "m", "b", "a"]);
}

#[test]
fn an_id_created_again_begins_a_new_epoch_with_nothing_of_the_old() {
    let runtime = running("epoch");
    let first = counting(&runtime, "epoch");
    first.register_event(Number(1));
    let accounts = runtime.stop_and_remove("epoch", PATIENCE).unwrap();
    assert_eq!(accounts.processed, 1);
    let second = counting(&runtime, "epoch");
    let (old, new) = (first.snapshot().epoch(), second.snapshot().epoch());
    assert!(old < new && old.process_start == new.process_start);
    assert_eq!((second.accounts().offered(), second.snapshot().version()), (0, 0));
    // The old handle stays readable and closed, and reaches nothing of the new one.
    first.register_event(Number(2));
    assert_eq!((first.accounts().rejected.closed, second.accounts().offered()), (1, 0));
    assert_eq!(first.snapshot().counter("events", &[]), Some(1));
    let error = first.start().wait(PATIENCE).unwrap_err();
    assert_eq!((error.kind(), error.actual_state()), (ErrorKind::InvalidState, Some("Stopped")));
    assert!(error.to_string().contains("create it again"), "{error}");
    first.stop().wait(PATIENCE).unwrap();
}

#[test]
fn a_removal_that_runs_out_of_time_drops_what_is_pending_and_frees_the_id() {
    let (runtime, gate) = (running("impatient"), Gate::default());
    let stuck = runtime.recorder("stuck").metric(stopper("events", 0, &gate)).create().unwrap();
    (0..4).for_each(|n| stuck.register_event(Number(n)));
    gate.until_reached();
    let error = runtime.stop_and_remove("stuck", SOON).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(4)));
    let accounts = stuck.accounts();
    assert_eq!((accounts.dropped.removed, accounts.pending(), accounts.processed), (4, 0, 0));
    assert_eq!(kind(runtime.stop_and_remove("stuck", SOON)), Some(ErrorKind::NotFound));
    let again = counting(&runtime, "stuck");
    again.register_event(Number(1));
    gate.open();
    again.flush_blocking(PATIENCE).unwrap();
    assert_eq!((again.accounts().processed, stuck.accounts()), (1, accounts));
    assert_eq!(stuck.snapshot().sequence(), 0);
}

#[test]
fn events_that_a_removal_gave_up_are_shown_to_no_metric() {
    let (runtime, gate) = (running("given"), Gate::default());
    let stuck = runtime.recorder("stuck").metric(stopper("stuck", 0, &gate)).create().unwrap();
    stuck.register_event(Number(0));
    gate.until_reached();
    let saw = Arc::new(AtomicU64::new(0));
    let sees = Arc::clone(&saw);
    let metric = Probe::new("behind", move |_: &Number| {
        sees.fetch_add(1, Ordering::AcqRel);
        Verdict::Accepted
    });
    let behind = runtime.recorder("behind").metric(metric).create().unwrap();
    (0..3).for_each(|n| behind.register_event(Number(n)));
    assert_eq!(runtime.stop_and_remove("behind", SOON).unwrap_err().pending(), Some(3));
    gate.open();
    // Its turn comes after the stuck one's, and before that of what is created now.
    let last = counting(&runtime, "last");
    last.register_event(Number(1));
    last.flush_blocking(PATIENCE).unwrap();
    stuck.flush_blocking(PATIENCE).unwrap();
    assert_eq!((saw.load(Ordering::Acquire), behind.accounts().dropped.removed), (0, 3));
}

#[test]
fn removing_from_a_runtime_that_never_started_drops_what_is_pending() {
    let runtime = MetricsRuntime::builder("never").build().unwrap();
    let recorder = counting(&runtime, "never");
    (0..3).for_each(|n| recorder.register_event(Number(n)));
    let error = runtime.stop_and_remove("never", PATIENCE).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(3)));
    assert_eq!((recorder.accounts().dropped.removed, recorder.state()), (3, RecorderState::Stopped));
    let empty = counting(&runtime, "never");
    assert_eq!(runtime.stop_and_remove("never", PATIENCE).unwrap(), empty.accounts());
}

#[test]
fn metrics_can_be_added_at_any_time_and_the_same_one_twice_is_one() {
    let runtime = running("added");
    let recorder = counting(&runtime, "added");
    let probe = |name: &str| Probe::new(name, |_: &Number| Verdict::Accepted);
    recorder.register_metric(probe("more")).wait(PATIENCE).unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter("more", &[]), Some(1));
    by_hand(recorder.register_metric(probe("more"))).unwrap();
    assert_eq!(recorder.snapshot().metrics().filter(|metric| metric.family().name() == "more").count(), 1);
    recorder.stop().wait(PATIENCE).unwrap();
    recorder.register_metric(probe("stopped")).wait(PATIENCE).unwrap();
    until("a metric added while stopped is shown", || recorder.snapshot().metric("stopped").is_some());
    let _ = runtime.shutdown(PATIENCE).unwrap();
    let gone = recorder.register_metric(probe("gone")).wait(PATIENCE).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::InvalidState);
    assert!(recorder.snapshot().metric("gone").is_none());
}

#[test]
fn handles_answer_after_everything_is_gone() {
    let runtime = running("gone");
    let recorder = counting(&runtime, "gone");
    recorder.register_event(Number(1));
    drop(runtime);
    until("the runtime has ended", || recorder.state() == RecorderState::Stopped);
    until("the worker has ended", || kind(recorder.start().wait(PATIENCE)) == Some(ErrorKind::InvalidState));
    recorder.register_event(Number(2));
    assert!(matches!(recorder.try_register_event(Number(3)), Err(RegisterError::Closed(Number(3)))));
    let mut batch = vec![Number(4), Number(5)];
    assert_eq!((recorder.register_events(&mut batch), batch.len()), (0, 2));
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder.stop().wait(PATIENCE).unwrap();
    let accounts = recorder.accounts();
    assert_eq!((accounts.accepted, accounts.processed, accounts.rejected.closed), (1, 1, 4));
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(1));
    assert!(format!("{recorder:?}").contains("gone"));
    let adapter = recorder.adapt::<Number>();
    adapter.register_event(Number(6));
    assert_eq!(recorder.accounts().rejected.closed, 5);
}

#[test]
fn asking_for_another_type_or_an_unknown_id_says_so() {
    let runtime = running("types");
    counting(&runtime, "numbers");
    assert_eq!(kind(runtime.get::<Other>("numbers")), Some(ErrorKind::WrongEventType));
    assert_eq!(kind(runtime.try_get::<Other>("numbers")), Some(ErrorKind::WrongEventType));
    assert_eq!(kind(runtime.get::<Number>("none")), Some(ErrorKind::NotFound));
    assert!(runtime.try_get::<Number>("none").unwrap().is_none());
    assert!(runtime.try_get::<Number>("numbers").unwrap().is_some());
}

#[test]
fn an_operation_may_be_asked_for_by_the_very_waker_that_waits_for_it() {
    let (runtime, gate) = (running("asked"), Gate::default());
    let recorder = runtime.recorder("asked").metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    let flush = recorder.flush();
    let asked = Asked::new({
        let flush = flush.clone();
        move || {
            let _ = flush.result();
        }
    });
    let polls = thread::spawn({
        let (asked, flush) = (Arc::clone(&asked), flush.clone());
        move || {
            let waker = asked.waker();
            let mut context = std::task::Context::from_waker(&waker);
            let mut flush = std::pin::pin!(flush);
            (0..3).all(|_| flush.as_mut().poll(&mut context).is_pending())
        }
    });
    until("the polls return", || polls.is_finished());
    assert!(polls.join().unwrap());
    gate.open();
    flush.wait(PATIENCE).unwrap();
    until("its wakers are gone", || Arc::strong_count(&asked) == 1);
    assert!(asked.times() >= 3);
}

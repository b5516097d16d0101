//! DESIGN 3.5 and 4: what a runtime does with all of its recorders, or with one by its id.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use mvx_metrics::DynEvent;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::Verdict;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

fn counting(runtime: &MetricsRuntime, id: &str) -> Recorder<Number> {
    runtime.recorder(id).counter("events", |c| c).create().unwrap()
}

fn shown(recorder: &Recorder<Number>) -> u64 {
    recorder.snapshot().counter("events", &[]).unwrap_or(0)
}

#[test]
fn a_flush_of_the_runtime_shows_what_every_recorder_accepted_before_it_while_others_push() {
    let runtime = running("all");
    let recorders: Vec<_> = (0..10)
        .map(|n| {
            let policy = [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest][n % 2];
            let builder = runtime.recorder(&format!("r{n}")).overflow(policy).capacity(100_000);
            builder.counter("events", |c| c).create().unwrap()
        })
        .collect();
    let _idle = counting(&runtime, "idle");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0..scaled(100) {
                    recorders.iter().for_each(|recorder| insist(recorder, Number(round)));
                    let accepted: Vec<_> = recorders.iter().map(|r| r.accounts().accepted).collect();
                    match round % 3 {
                        0 => by_hand(runtime.flush()).unwrap(),
                        1 => runtime.force_flush(PATIENCE).unwrap(),
                        _ => runtime.flush_blocking(PATIENCE).unwrap(),
                    }
                    for (recorder, accepted) in recorders.iter().zip(accepted) {
                        let evicted = recorder.accounts().dropped.evicted;
                        assert!(shown(recorder) + evicted >= accepted, "{recorder:?}");
                    }
                }
            });
        }
    });
    assert!(recorders.iter().all(|recorder| shown(recorder) == 3 * scaled(100)));
}

#[test]
fn a_flush_of_the_runtime_is_over_at_once_when_there_is_nothing_to_show_in_every_state() {
    let created = MetricsRuntime::builder("created").build().unwrap();
    let recorder = counting(&created, "one");
    assert!(matches!(created.flush().result(), Some(Ok(()))));
    recorder.register_event(Number(1));
    let error = created.flush().result().expect("at once").unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::InvalidState, Some(1)));
    created.start().unwrap();
    created.flush_blocking(PATIENCE).unwrap();
    assert_eq!(shown(&recorder), 1);
    // Idle recorders are not visited: the answer is there when the call returns.
    assert!(matches!(created.flush().result(), Some(Ok(()))));
    assert!(created.shutdown(PATIENCE).unwrap().is_complete());
    assert!(matches!(created.flush().result(), Some(Ok(()))));
}

#[test]
fn a_flush_of_the_runtime_waits_for_the_slowest_and_says_what_is_pending_everywhere() {
    let (runtime, gate) = (running("slow"), Gate::default());
    let (quick, other) = (counting(&runtime, "quick"), counting(&runtime, "other"));
    let held = runtime.recorder("held").metric(stopper("held", 0, &gate)).create().unwrap();
    held.register_event(Number(0));
    gate.until_reached();
    (0..4).for_each(|n| [&quick, &other].iter().for_each(|recorder| recorder.register_event(Number(n))));
    let flush = runtime.flush();
    let error = flush.wait(SOON).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(9)));
    gate.open();
    by_hand(flush).unwrap();
    assert_eq!((shown(&quick), shown(&other), held.accounts().pending()), (4, 4, 0));
}

#[test]
fn on_the_worker_whatever_would_wait_for_all_says_so_instead() {
    let runtime = running("own");
    let (kinds, inner) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(Some(runtime.clone())));
    let noted = Arc::clone(&kinds);
    let probe = Probe::new("events", move |_: &Number| {
        if let Some(runtime) = inner.lock().unwrap().take() {
            let kinds = [
                runtime.flush().result().unwrap().unwrap_err().kind(),
                runtime.force_flush(PATIENCE).unwrap_err().kind(),
                runtime.stop("own", PATIENCE).unwrap_err().kind(),
                runtime.stop_all(PATIENCE).unwrap_err().kind(),
            ];
            noted.lock().unwrap().extend(kinds);
        }
        Verdict::Accepted
    });
    let recorder = runtime.recorder("own").metric(probe).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(*kinds.lock().unwrap(), [ErrorKind::WouldDeadlock; 4]);
    assert_eq!(recorder.state(), RecorderState::Running);
}

#[test]
fn a_recorder_stopped_by_its_id_stays_registered_and_can_be_started_again() {
    let runtime = running("stop");
    let recorder = counting(&runtime, "one");
    let other = counting(&runtime, "two");
    (0..7).for_each(|n| recorder.register_event(Number(n)));
    let accounts = runtime.stop(" one ", PATIENCE).unwrap();
    assert_eq!((accounts.processed, accounts.pending(), shown(&recorder)), (7, 0, 7));
    assert!(matches!(recorder.try_register_event(Number(8)), Err(RegisterError::Closed(_))));
    assert!(other.try_register_event(Number(1)).is_ok());
    assert_eq!(runtime.recorder_ids().len(), 2);
    // Again is a no-op, and so is one that has seen nothing.
    assert_eq!(runtime.stop("one", PATIENCE).unwrap().processed, 7);
    let unused = counting(&runtime, "unused");
    assert_eq!(runtime.stop("unused", PATIENCE).unwrap().accepted, 0);
    assert_eq!(unused.state(), RecorderState::Created);
    recorder.start().wait(PATIENCE).unwrap();
    recorder.register_event(Number(9));
    runtime.flush_blocking(PATIENCE).unwrap();
    assert_eq!(shown(&recorder), 8);
    assert_eq!(runtime.stop("none", PATIENCE).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(runtime.stop("  ", PATIENCE).unwrap_err().kind(), ErrorKind::InvalidId);
}

#[test]
fn a_stop_that_runs_out_of_time_gives_nothing_up_and_goes_on() {
    let (runtime, gate) = (running("late"), Gate::default());
    let _through_at_once = counting(&runtime, "unused");
    let held = runtime.recorder("held").metric(stopper("events", 0, &gate)).create().unwrap();
    let behind = counting(&runtime, "behind");
    (0..3).for_each(|n| held.register_event(Number(n)));
    gate.until_reached();
    (0..5).for_each(|n| behind.register_event(Number(n)));
    let error = runtime.stop("held", SOON).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(3)));
    let error = runtime.stop_all(SOON).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(3)));
    assert_eq!((held.state(), behind.state()), (RecorderState::Stopping, RecorderState::Stopping));
    gate.open();
    runtime.stop_all(PATIENCE).unwrap();
    assert_eq!((held.accounts().processed, behind.accounts().processed), (3, 5));
    assert_eq!((held.state(), behind.state()), (RecorderState::Stopped, RecorderState::Stopped));
    held.start().wait(PATIENCE).unwrap();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn stopping_before_the_start_of_the_runtime_changes_nothing_if_events_wait() {
    let runtime = MetricsRuntime::builder("early").build().unwrap();
    let recorder = counting(&runtime, "one");
    runtime.stop_all(PATIENCE).unwrap();
    recorder.register_event(Number(1));
    assert_eq!(runtime.stop("one", PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(runtime.stop_all(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(recorder.try_register_event(Number(2)).is_ok());
}

#[test]
fn recorders_are_listed_by_the_events_they_take() {
    let runtime = MetricsRuntime::builder("typed").build().unwrap();
    let numbers = [counting(&runtime, "b"), counting(&runtime, "a")];
    runtime.recorder::<DynEvent>("boxed").create().unwrap();
    let listed: Vec<_> = runtime.recorders::<Number>().iter().map(|r| r.id().to_string()).collect();
    assert_eq!(listed, ["b", "a"]);
    assert_eq!(runtime.recorders::<DynEvent>().len(), 1);
    runtime.recorders::<Number>().iter().for_each(|recorder| recorder.register_event(Number(1)));
    assert!(numbers.iter().all(|recorder| recorder.accounts().accepted == 1));
}

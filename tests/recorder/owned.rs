//! DESIGN 3.9 and 4: a recorder that goes with its guard: closed, drained and removed, without anybody waiting for it.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::EventSink;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OwnedRecorder;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::Verdict;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn owned(runtime: &MetricsRuntime, id: &str) -> OwnedRecorder<Number> {
    runtime.recorder::<Number>(id).counter("events", |c| c).create_owned().unwrap()
}

fn gone(runtime: &MetricsRuntime, id: &str) -> bool {
    runtime.try_get::<Number>(id).unwrap().is_none()
}

#[test]
fn dropping_the_guard_closes_at_once_drains_and_then_frees_the_id() {
    let (runtime, gate) = (running("drop"), Gate::default());
    let guard = runtime.recorder("drop").metric(stopper("all", 0, &gate)).create_owned().unwrap();
    let handle: Recorder<Number> = guard.clone();
    (0..10).for_each(|n| guard.register_event(Number(n)));
    gate.until_reached();
    // The worker is held, so a drop that waited for it would never return.
    drop(guard);
    handle.register_event(Number(10));
    assert_eq!((handle.accounts().accepted, handle.accounts().rejected.closed), (10, 1));
    assert_eq!(runtime.recorder::<Number>("drop").create().unwrap_err().kind(), ErrorKind::AlreadyExists);
    gate.open();
    until("it is removed", || gone(&runtime, "drop"));
    let accounts = handle.accounts();
    assert_eq!((accounts.processed, accounts.dropped.total(), accounts.pending()), (10, 0, 0));
    assert_eq!((handle.snapshot().counter("all", &[]), handle.state()), (Some(10), RecorderState::Stopped));
    assert_eq!(handle.start().wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    drop(owned(&runtime, "drop"));
}

/// A runtime whose worker stands in a metric until the gate opens.
fn held(namespace: &str) -> (MetricsRuntime, Gate, Recorder<Number>) {
    let (runtime, gate) = (running(namespace), Gate::default());
    let holder = runtime.recorder("holder").metric(stopper("held", 0, &gate)).create().unwrap();
    (runtime, gate, holder)
}

#[test]
fn what_has_nothing_left_for_the_worker_is_gone_when_its_guard_is_although_the_worker_is_held() {
    let (runtime, gate, holder) = held("here");
    let (unused, used) = (owned(&runtime, "unused"), owned(&runtime, "used"));
    let handles = [unused.clone(), used.clone()];
    (0..5).for_each(|n| used.register_event(Number(n)));
    used.flush_blocking(PATIENCE).unwrap();
    holder.register_event(Number(0));
    gate.until_reached();

    drop(unused);
    assert!(gone(&runtime, "unused"));
    assert_eq!(used.close(PATIENCE).unwrap().processed, 5);
    assert!(gone(&runtime, "used"));
    for handle in &handles {
        handle.register_event(Number(9));
        assert_eq!((handle.state(), handle.accounts().rejected.closed), (RecorderState::Stopped, 1));
        handle.flush().wait(PATIENCE).unwrap();
        assert_eq!(handle.start().wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    }
    assert_eq!(total(&runtime), Some(5), "what it has counted lives on in its group");
    gate.open();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

/// The counter `events` of all recorders, those that are gone included.
fn total(runtime: &MetricsRuntime) -> Option<u64> {
    let snapshot = runtime.collect();
    let families = snapshot.families(Fold::Group);
    let events = families.iter().find(|family| family.descriptor().name().as_str() == "events")?;
    events.parts().first()?.family().series().next()?.value().counter()
}

#[test]
fn what_was_processed_and_not_shown_yet_is_among_the_totals_when_its_recorder_is_gone() {
    let mut unshown = 0;
    for round in 0..20 {
        let (runtime, gate, holder) = held(&format!("unshown-{round}"));
        let second = Gate::default();
        let last = runtime.recorder("last").metric(stopper("held", 0, &second)).create().unwrap();
        let guard = owned(&runtime, "guard");
        let handle = guard.clone();
        holder.register_event(Number(0));
        gate.until_reached();
        // One after the other as soon as the worker goes on, and the second holds it again.
        guard.register_event(Number(1));
        last.register_event(Number(0));
        gate.open();
        second.until_reached();
        unshown += u64::from(handle.accounts().processed == 1 && handle.snapshot().sequence() == 0);
        drop(guard);
        second.open();
        until("it is removed", || gone(&runtime, "guard"));
        assert_eq!(total(&runtime), Some(1));
    }
    assert!(unshown > 0, "the worker has shown everything at once");
}

#[test]
fn what_the_worker_has_still_to_do_for_a_recorder_is_done_before_it_goes() {
    let (runtime, gate, holder) = held("there");
    let (unsettled, hooked, wide) = (
        owned(&runtime, "unsettled"),
        runtime.recorder::<Number>("hooked").on_stopped(|| async { Ok(()) }).create_owned().unwrap(),
        // More series than a thread that is not the worker adds up.
        runtime
            .recorder::<Number>("wide")
            .counter("wide", |c| c.label("n", |event| event.0.into()))
            .create_owned()
            .unwrap(),
    );
    insist(&hooked, Number(1));
    let watched = owned(&runtime, "watched");
    let changes = watched.subscribe(8);
    (0..100).for_each(|n| wide.register_event(Number(n)));
    runtime.flush_blocking(PATIENCE).unwrap();
    holder.register_event(Number(0));
    gate.until_reached();
    unsettled.register_event(Number(1));
    let handle = unsettled.clone();
    let closings = [unsettled, hooked, wide, watched].map(OwnedRecorder::begin_close);
    assert!(closings.iter().all(|closing| closing.result().is_none()), "{closings:?}");
    assert_eq!(runtime.recorder_ids().len(), 5);
    gate.open();
    let processed = closings.map(|closing| closing.wait(PATIENCE).unwrap().processed);
    assert_eq!(processed, [1, 1, 100, 0]);
    drop(changes);
    assert_eq!(handle.snapshot().counter("events", &[]), Some(1));
    assert_eq!(runtime.recorder_ids().len(), 1);
}

/// Recorders each of which is held by a metric of the next; the last one.
fn chain(runtime: &MetricsRuntime) -> OwnedRecorder<Number> {
    let length = if cfg!(miri) { 5 } else { 2_000 };
    let mut next: Option<OwnedRecorder<Number>> = None;
    for n in 0..length {
        let held = next.take();
        let keeps = move |_: &Number| held.is_none();
        let recorder = runtime.recorder::<Number>(&format!("link-{n}")).counter("links", |c| c.keep(keeps));
        next = Some(recorder.create_owned().unwrap());
    }
    next.unwrap()
}

/// Runs it on a thread whose stack is too small for a long chain of calls.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(128 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_long_chain_of_recorders_takes_no_deep_stack_when_its_head_goes() {
    for start in [true, false] {
        let runtime = MetricsRuntime::builder("chain").build().unwrap();
        if start {
            runtime.start().unwrap();
        }
        let last = chain(&runtime);
        on_a_small_stack(move || drop(last));
        assert!(runtime.recorder_ids().is_empty());
    }
}

#[test]
fn a_long_chain_of_recorders_takes_no_deep_stack_when_its_runtime_goes() {
    for start in [true, false] {
        let runtime = MetricsRuntime::builder("chain").build().unwrap();
        if start {
            runtime.start().unwrap();
        }
        let last = chain(&runtime);
        on_a_small_stack(move || assert!(runtime.shutdown(PATIENCE).unwrap().is_complete()));
        on_a_small_stack(move || drop(last));
    }
}

#[test]
fn ten_thousand_made_and_dropped_from_several_threads_leave_nothing_and_lose_nothing() {
    let runtime = running("many");
    let each = scaled(if cfg!(miri) { 5 } else { 2_500 });
    let name = |thread: u64, n: u64| format!("t{thread}-{n}");
    let handles: Vec<Recorder<Number>> = thread::scope(|scope| {
        let threads = [0, 1, 2, 3].map(|thread| {
            let runtime = &runtime;
            scope.spawn(move || {
                let make = |n| {
                    let guard = owned(runtime, &name(thread, n));
                    (0..3).for_each(|n| guard.register_event(Number(n)));
                    guard.clone()
                };
                (0..each).map(make).collect::<Vec<_>>()
            })
        });
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    until("all are removed", || runtime.recorder_ids().is_empty());
    assert_eq!(handles.len() as u64, 4 * each);
    for handle in &handles {
        let accounts = handle.accounts();
        assert_eq!((accounts.processed, accounts.offered()), (3, 3), "{handle:?}");
        assert_eq!(handle.snapshot().counter("events", &[]), Some(3));
    }
    // Every id is free.
    let again: Vec<_> = (0..each).map(|n| owned(&runtime, &name(n % 4, n))).collect();
    assert_eq!(runtime.recorder_ids().len() as u64, each);
    drop(again);
    until("these are removed, too", || runtime.recorder_ids().is_empty());
    assert_eq!(runtime.shutdown(PATIENCE).unwrap().recorders().len(), 0);
}

#[test]
fn events_against_the_end_of_a_guard_are_processed_or_rejected_as_closed() {
    let runtime = running("race");
    for round in 0..scaled(200) {
        let guard = owned(&runtime, "race");
        let handle = guard.clone();
        thread::scope(|scope| {
            let offering = scope.spawn(|| {
                let mut offered = 0;
                while handle.accounts().rejected.closed == 0 {
                    handle.register_event(Number(offered));
                    offered += 1;
                }
                offered
            });
            if round % 2 == 0 {
                until("events come", || handle.accounts().processed > 0);
            }
            drop(guard);
            let offered = offering.join().unwrap();
            until("it is removed", || gone(&runtime, "race"));
            let accounts = handle.accounts();
            assert_eq!(accounts.accepted + accounts.rejected.full + accounts.rejected.closed, offered);
            assert_eq!((accounts.processed, accounts.pending()), (accounts.accepted, 0));
            assert_eq!(handle.snapshot().counter("events", &[]).unwrap_or(0), accounts.processed);
        });
    }
}

#[test]
fn closing_gives_the_final_accounts_and_gives_up_what_is_stuck() {
    let (runtime, gate) = (running("close"), Gate::default());
    let guard = owned(&runtime, "quick");
    (0..5).for_each(|n| EventSink::register_event(&guard, Number(n)));
    let accounts = guard.close(PATIENCE).unwrap();
    assert_eq!((accounts.processed, accounts.pending()), (5, 0));
    assert!(gone(&runtime, "quick"));

    let stuck = runtime.recorder("stuck").metric(stopper("all", 0, &gate)).create_owned().unwrap();
    let handle = stuck.clone();
    (0..3).for_each(|n| stuck.register_event(Number(n)));
    gate.until_reached();
    let error = stuck.close(Duration::from_millis(10)).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(3)));
    assert!(gone(&runtime, "stuck"));
    assert_eq!((handle.accounts().dropped.removed, handle.accounts().pending()), (3, 0));
    gate.open();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn beginning_to_close_is_awaited_and_a_failed_stop_hook_is_its_error() {
    let runtime = running("begin");
    let guard = owned(&runtime, "begin");
    insist(&guard, Number(1));
    let closing = guard.begin_close();
    assert_eq!(by_hand(closing.clone()).unwrap().processed, 1);
    assert!(gone(&runtime, "begin"));
    assert_eq!(closing.wait(Duration::ZERO).unwrap().processed, 1);

    let failing = runtime.recorder::<Number>("failing").on_stopped(|| async { Err("still open".into()) });
    let guard = failing.create_owned().unwrap();
    guard.register_event(Number(1));
    let handle = guard.clone();
    assert_eq!(by_hand(guard.begin_close()).unwrap_err().kind(), ErrorKind::HookFailed);
    assert!(gone(&runtime, "failing"));
    assert_eq!(handle.accounts().processed, 1);
}

#[test]
fn a_guard_may_end_on_the_worker_inside_its_own_metric() {
    let runtime = running("worker");
    type Kept = Arc<Mutex<Option<OwnedRecorder<Number>>>>;
    for close in [false, true] {
        let (kept, (sender, told)) = (Kept::default(), mpsc::channel());
        let own = Arc::clone(&kept);
        let metric = Probe::new("all", move |event: &Number| {
            let guard = own.lock().unwrap().take_if(|_| event.0 == 1);
            match guard {
                Some(guard) if close => sender.send(guard.close(PATIENCE).unwrap_err().kind()).unwrap(),
                guard => drop(guard),
            }
            Verdict::Accepted
        });
        let guard = runtime.recorder("worker").metric(metric).create_owned().unwrap();
        let handle = guard.clone();
        *kept.lock().unwrap() = Some(guard);
        (0..2).for_each(|n| handle.try_register_event(Number(n)).unwrap());
        until("it is removed", || gone(&runtime, "worker"));
        assert_eq!((handle.accounts().processed, handle.accounts().pending()), (2, 0));
        let expected = if close { vec![ErrorKind::WouldDeadlock] } else { Vec::new() };
        drop(handle);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), expected);
    }
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[cfg(panic = "unwind")]
#[test]
fn a_guard_may_outlive_its_runtime_and_end_in_a_panic() {
    let runtime = running("outlive");
    let [first, second, third, fourth] = ["1", "2", "3", "4"].map(|id| owned(&runtime, id));
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        fourth.register_event(Number(0));
        let _held = &fourth;
        resume_unwind(Box::new("the owner's own"));
    }));
    assert!(panicked.is_err());
    until("it is removed", || gone(&runtime, "4"));
    first.register_event(Number(1));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    let handle = first.clone();
    drop(first);
    assert!(gone(&runtime, "1"));
    assert_eq!(handle.accounts().processed, 1);
    assert_eq!(by_hand(second.begin_close()).unwrap().processed, 0);
    drop(runtime);
    third.register_event(Number(1));
    let accounts = third.close(PATIENCE).unwrap();
    assert_eq!((accounts.accepted, accounts.rejected.closed), (0, 1));
}

#[test]
fn the_guard_of_a_removed_recorder_leaves_its_successor_alone() {
    let runtime = running("successor");
    let [dropped, closed, begun] = ["a", "b", "c"].map(|id| owned(&runtime, id));
    let successors = ["a", "b", "c"].map(|id| {
        runtime.stop_and_remove(id, PATIENCE).unwrap();
        runtime.recorder::<Number>(id).create().unwrap()
    });
    drop(dropped);
    // While somebody else's removal is under way, it is theirs.
    let gate = Gate::default();
    let leaving = runtime.recorder("leaving").metric(stopper("all", 0, &gate)).create_owned().unwrap();
    leaving.register_event(Number(0));
    gate.until_reached();
    thread::scope(|scope| {
        let removing = scope.spawn(|| runtime.stop_and_remove("leaving", PATIENCE));
        until("it is leaving", || leaving.state() == RecorderState::Stopping);
        assert_eq!(leaving.begin_close().wait(PATIENCE).unwrap_err().kind(), ErrorKind::NotFound);
        gate.open();
        assert_eq!(removing.join().unwrap().unwrap().processed, 1);
    });
    assert_eq!(closed.close(PATIENCE).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(by_hand(begun.begin_close()).unwrap_err().kind(), ErrorKind::NotFound);
    for successor in successors {
        successor.try_register_event(Number(1)).unwrap();
        successor.flush_blocking(PATIENCE).unwrap();
        assert!(!gone(&runtime, successor.id().as_str()));
    }
}

#[test]
fn before_the_start_only_what_has_events_waits_for_it() {
    let runtime = MetricsRuntime::builder("before").build().unwrap();
    drop(owned(&runtime, "empty"));
    assert!(gone(&runtime, "empty"));
    let full = owned(&runtime, "full");
    full.register_event(Number(1));
    let handle = full.clone();
    drop(full);
    assert!(!gone(&runtime, "full"));
    assert!(handle.try_register_event(Number(2)).is_err());
    runtime.start().unwrap();
    until("it is removed", || gone(&runtime, "full"));
    assert_eq!(handle.accounts().processed, 1);

    let never = MetricsRuntime::builder("never").build().unwrap();
    let guard = owned(&never, "never");
    guard.register_event(Number(1));
    let handle = guard.clone();
    let closing = guard.begin_close();
    assert!(closing.result().is_none());
    let report = never.shutdown(PATIENCE).unwrap();
    assert_eq!(report.recorders()[0].accounts.dropped.removed, 1);
    assert_eq!(closing.result().unwrap().unwrap().dropped.removed, 1);
    assert_eq!(handle.accounts().pending(), 0);
}

#[cfg(feature = "testing")]
#[test]
fn on_a_stepped_runtime_the_removal_is_a_step() {
    let mut stepped = mvx_metrics::testing::SteppedRuntime::new("stepped").unwrap();
    let guard = stepped.recorder::<Number>("stepped").counter("events", |c| c).create_owned().unwrap();
    guard.register_event(Number(1));
    let handle = guard.clone();
    drop(guard);
    assert_eq!((handle.state(), stepped.runtime().recorder_ids().len()), (RecorderState::Stopping, 1));
    stepped.settle();
    assert_eq!((handle.state(), stepped.runtime().recorder_ids().len()), (RecorderState::Stopped, 0));
    assert_eq!(handle.snapshot().counter("events", &[]), Some(1));
}

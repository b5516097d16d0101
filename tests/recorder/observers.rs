//! DESIGN 3.8: observers are told of every change, in order, on the worker; what they do harms nobody.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::running;
use crate::support::stopper;
use mvx_metrics::Change;
use mvx_metrics::ErrorKind;
use mvx_metrics::Recorder;
use mvx_metrics::Refusal;
use mvx_metrics::Verdict;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

type Seen = (String, u64, u64, Option<u64>);
type Kept = Arc<Mutex<Vec<Seen>>>;

/// An observer that keeps what it sees: metric, number of the event, sequence, and the metric's count right then.
fn keeper() -> (Kept, impl FnMut(&Change<'_, Number>) + Send + 'static) {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let observer = move |change: &Change<'_, Number>| {
        let count = change.family().find(&[]).and_then(|series| series.value().counter());
        kept.lock().unwrap().push((
            change.metric_name().to_string(),
            change.event().0,
            change.sequence(),
            count,
        ));
    };
    (seen, observer)
}

fn odd(name: &str) -> impl mvx_metrics::Metric<Number> + use<> {
    Probe::new(name, |event: &Number| match event.0 {
        n if n % 2 == 1 => Verdict::Accepted,
        4 => Verdict::Refused(Refusal::OutOfRange),
        _ => Verdict::Ignored,
    })
}

fn feed(recorder: &Recorder<Number>, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| recorder.try_register_event(Number(n)).unwrap());
    recorder.flush_blocking(PATIENCE).unwrap();
}

fn seen(kept: &Mutex<Vec<Seen>>) -> Vec<Seen> {
    kept.lock().unwrap().clone()
}

#[test]
fn changes_come_event_by_event_and_metric_by_metric_with_the_state_right_after_each() {
    let (runtime, gate) = (running("order"), Gate::default());
    let (kept, observer) = keeper();
    let recorder = runtime
        .recorder("order")
        .metric(stopper("all", 0, &gate))
        .metric(odd("odd"))
        .on_metric_changed(observer)
        .create()
        .unwrap();
    // Behind the gate they make one batch.
    (0..6).for_each(|n| recorder.register_event(Number(n)));
    gate.until_reached();
    gate.open();
    recorder.flush_blocking(PATIENCE).unwrap();
    let change = |name: &str, n: u64, count: u64| (name.to_owned(), n, n + 1, Some(count));
    let expected = [
        change("all", 0, 1),
        change("all", 1, 2),
        change("odd", 1, 1),
        change("all", 2, 3),
        change("all", 3, 4),
        change("odd", 3, 2),
        change("all", 4, 5),
        change("all", 5, 6),
        change("odd", 5, 3),
    ];
    assert_eq!(seen(&kept), expected);
    // What was ignored or refused was no change, and is in the tally.
    let tally = recorder.snapshot().metric("odd").unwrap().tally();
    assert_eq!((tally.accepted, tally.ignored, tally.refused), (3, 2, 1));
}

#[test]
fn a_counter_shows_the_change_of_this_event_and_not_of_later_ones() {
    let runtime = running("labelled");
    let (sender, changes) = mpsc::channel();
    let recorder = runtime
        .recorder::<Number>("labelled")
        .counter("sums", |c| c.value(|event: &Number| Some(event.0)))
        .on_metric_changed(move |change| {
            let sum = change.family().find(&[]).and_then(|series| series.value().counter());
            let _ = sender.send((change.event().0, sum.unwrap()));
        })
        .create()
        .unwrap();
    feed(&recorder, 1..101);
    let told: Vec<_> = changes.try_iter().collect();
    let expected: Vec<_> = (1..101).map(|n| (n, n * (n + 1) / 2)).collect();
    assert_eq!(told, expected);
}

#[test]
fn observers_are_told_in_the_order_of_their_addition_and_not_after_their_removal() {
    let runtime = running("added");
    let log: Arc<Mutex<Vec<&str>>> = Arc::default();
    let observer = |name: &'static str| {
        let log = Arc::clone(&log);
        move |_: &Change<'_, Number>| log.lock().unwrap().push(name)
    };
    let take = || std::mem::take(&mut *log.lock().unwrap());
    let recorder = runtime
        .recorder::<Number>("added")
        .counter("events", |c| c)
        .on_metric_changed(observer("a"))
        .on_metric_changed(observer("b"))
        .create()
        .unwrap();
    feed(&recorder, 0..1);
    assert_eq!(take(), ["a", "b"]);
    let (c, added) = recorder.on_metric_changed(observer("c"));
    added.wait(PATIENCE).unwrap();
    let (d, added) = recorder.on_metric_changed(observer("d"));
    added.wait(PATIENCE).unwrap();
    assert_ne!(c, d);
    feed(&recorder, 0..2);
    assert_eq!(take(), ["a", "b", "c", "d", "a", "b", "c", "d"]);
    recorder.remove_observer(c).wait(PATIENCE).unwrap();
    feed(&recorder, 0..1);
    assert_eq!(take(), ["a", "b", "d"]);
    let error = recorder.remove_observer(c).wait(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    recorder.remove_observer(d).wait(PATIENCE).unwrap();
    feed(&recorder, 0..1);
    assert_eq!(take(), ["a", "b"]);
    let _ = runtime.shutdown(PATIENCE).unwrap();
    let (_, late) = recorder.on_metric_changed(observer("late"));
    assert_eq!(late.wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(recorder.remove_observer(d).wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
}

#[cfg(panic = "unwind")]
#[test]
fn an_observer_that_panics_is_quarantined_and_counted_and_everybody_else_goes_on() {
    let runtime = running("panics");
    let (before, first) = keeper();
    let (after, last) = keeper();
    let mut calls = 0;
    let recorder = runtime
        .recorder("panics")
        .counter("events", |c| c)
        .metric(odd("odd"))
        .on_metric_changed(first)
        .on_metric_changed(move |change: &Change<'_, Number>| {
            calls += 1;
            assert!(change.event().0 != 3 && calls < 5, "on purpose");
        })
        .on_metric_changed(last)
        .create()
        .unwrap();
    let (bad, added) = recorder.on_metric_changed(|_| panic!("on purpose"));
    added.wait(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().quarantined_observers(), 0);
    feed(&recorder, 0..8);
    assert_eq!(recorder.snapshot().quarantined_observers(), 2);
    assert_eq!(seen(&before).len(), 12);
    assert_eq!(seen(&before), seen(&after));
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.counter("events", &[]), snapshot.counter("odd", &[])), (Some(8), Some(4)));
    assert!(snapshot.metrics().all(|metric| !metric.is_quarantined() && metric.tally().panicked == 0));
    // It is out of the way, and there until somebody removes it.
    recorder.remove_observer(bad).wait(PATIENCE).unwrap();
    assert_eq!(recorder.remove_observer(bad).wait(PATIENCE).unwrap_err().kind(), ErrorKind::NotFound);
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().quarantined_observers(), 1);
}

#[cfg(panic = "unwind")]
#[test]
fn an_observer_whose_remains_panic_when_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let runtime = running("bombs");
    let recorder = runtime.recorder::<Number>("bombs").counter("events", |c| c).create().unwrap();
    let bomb = Bomb;
    let (panics, added) = recorder.on_metric_changed(move |_| {
        let _ = &bomb;
        panic!("on purpose");
    });
    added.wait(PATIENCE).unwrap();
    let bomb = Bomb;
    let (removed, added) = recorder.on_metric_changed(move |_| {
        let _ = &bomb;
    });
    added.wait(PATIENCE).unwrap();
    let (kept, observer) = keeper();
    let (_, added) = recorder.on_metric_changed(observer);
    added.wait(PATIENCE).unwrap();
    feed(&recorder, 0..3);
    assert_eq!((seen(&kept).len(), recorder.snapshot().quarantined_observers()), (3, 1));
    recorder.remove_observer(removed).wait(PATIENCE).unwrap();
    recorder.remove_observer(panics).wait(PATIENCE).unwrap();
    feed(&recorder, 3..6);
    assert_eq!((recorder.accounts().processed, recorder.accounts().pending()), (6, 0));
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(6));
}

#[test]
fn an_observer_may_register_events_and_hold_handles_and_never_waits_for_itself() {
    let runtime = running("handles");
    let alarms = runtime.recorder::<Number>("alarms").counter("alarms", |c| c).create().unwrap();
    let recorder = runtime.recorder::<Number>("source").counter("events", |c| c).create().unwrap();
    let (own, other) = (recorder.clone(), alarms.clone());
    let (sender, kinds) = mpsc::channel();
    let (id, added) = recorder.on_metric_changed(move |change| {
        let Number(left) = *change.event();
        other.register_event(Number(left));
        if left > 0 {
            own.register_event(Number(left - 1));
        }
        let _ = own.snapshot().counter("events", &[]);
        let _ = sender.send(own.flush_blocking(PATIENCE).unwrap_err().kind());
    });
    added.wait(PATIENCE).unwrap();
    recorder.register_event(Number(99));
    crate::support::until("the chain is over", || recorder.accounts().processed == 100);
    recorder.flush_blocking(PATIENCE).unwrap();
    alarms.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(100));
    assert_eq!(alarms.snapshot().counter("alarms", &[]), Some(100));
    recorder.remove_observer(id).wait(PATIENCE).unwrap();
    assert!(kinds.iter().all(|kind| kind == ErrorKind::WouldDeadlock));
}

#[test]
fn an_observer_may_add_and_remove_observers_itself_included() {
    let runtime = running("itself");
    let recorder = runtime.recorder::<Number>("itself").counter("events", |c| c).create().unwrap();
    let own = recorder.clone();
    let (sender, told) = mpsc::channel();
    let (id_sender, id) = mpsc::channel();
    let (observer, added) = recorder.on_metric_changed(move |_| {
        let sender = sender.clone();
        if let Ok(id) = id.try_recv() {
            drop(own.remove_observer(id));
            drop(own.on_metric_changed(move |change| {
                let _ = sender.send(change.event().0);
            }));
        }
    });
    added.wait(PATIENCE).unwrap();
    id_sender.send(observer).unwrap();
    feed(&recorder, 0..1);
    feed(&recorder, 1..3);
    assert_eq!(recorder.remove_observer(observer).wait(PATIENCE).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn observers_come_and_go_under_load_and_each_sees_an_unbroken_stretch() {
    let runtime = running("load");
    let recorder = runtime
        .recorder::<Number>("load")
        .capacity(1 << 16)
        .counter("events", |c| c)
        .metric(odd("odd"))
        .create()
        .unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = crate::support::Over(&over);
        scope.spawn(|| {
            let mut n = 0;
            while !over.load(std::sync::atomic::Ordering::Acquire) {
                crate::support::insist(&recorder, Number(n));
                n += 1;
            }
        });
        for _ in 0..crate::support::scaled(20) {
            let (kept, mut observer) = keeper();
            let (id, added) = recorder.on_metric_changed(move |change| {
                if change.metric_name() == "events" {
                    observer(change);
                }
            });
            added.wait(PATIENCE).unwrap();
            crate::support::until("it is told", || seen(&kept).len() >= 10);
            recorder.remove_observer(id).wait(PATIENCE).unwrap();
            let told = seen(&kept);
            assert!(told.windows(2).all(|two| two[1].1 == two[0].1 + 1));
            assert!(told.iter().all(|(_, n, sequence, count)| *sequence == n + 1 && *count == Some(n + 1)));
            // Batches again, and nothing is told any more.
            recorder.flush_blocking(PATIENCE).unwrap();
            assert_eq!(seen(&kept).len(), told.len());
        }
    });
    recorder.flush_blocking(PATIENCE).unwrap();
    let (snapshot, accounts) = (recorder.snapshot(), recorder.accounts());
    assert_eq!(snapshot.counter("events", &[]), Some(accounts.processed));
    assert_eq!(accounts.pending(), 0);
}

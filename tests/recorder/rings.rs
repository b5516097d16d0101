//! A metric, an observer or a hook may hold a handle of its own recorder (DESIGN 3.1 lets a metric hand events over). When the recorder has
//! ended, that ring is broken: nothing is kept for ever.
#![cfg(all(feature = "runtime", not(miri)))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::running;
use crate::support::until;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::Verdict;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;

/// Where the closures of a recorder find it. Lives as long as one of them does.
type Own = Mutex<Option<Recorder<Number>>>;

/// A recorder whose metric, observer, closures and hooks hold it, and what tells whether they are still there.
fn ring<H>(
    builder: RecorderBuilder<Number, H>,
    create: impl FnOnce(RecorderBuilder<Number, H>) -> Recorder<Number>,
) -> (Recorder<Number>, Weak<Own>) {
    let own = Arc::new(Own::default());
    let [metric, label, observer, starting, stopped] = [(); 5].map(|()| Arc::clone(&own));
    let builder = builder
        .metric(Probe::new("metric", move |_: &Number| {
            assert!(metric.lock().unwrap().is_some());
            Verdict::Accepted
        }))
        .counter("labelled", move |c| {
            c.label("even", move |n| (n.0 % 2 == 0 && Arc::strong_count(&label) > 0).into())
        })
        .on_metric_changed(move |_| assert!(Arc::strong_count(&observer) > 0))
        .on_starting(move || {
            let held = Arc::strong_count(&starting);
            async move { if held > 0 { Ok(()) } else { Err("nobody".into()) } }
        })
        .on_stopped(move || {
            let held = Arc::strong_count(&stopped);
            async move { if held > 0 { Ok(()) } else { Err("nobody".into()) } }
        });
    let recorder = create(builder);
    *own.lock().unwrap() = Some(recorder.clone());
    (recorder, Arc::downgrade(&own))
}

fn hosted(runtime: &MetricsRuntime, id: &str) -> (Recorder<Number>, Weak<Own>) {
    ring(runtime.recorder(id), |builder| builder.create().unwrap())
}

fn use_it(recorder: &Recorder<Number>) {
    (0..100).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[track_caller]
fn assert_gone(own: &Weak<Own>) {
    until("what its closures hold is given back", || own.upgrade().is_none());
}

/// The last state is there as it was.
#[track_caller]
fn assert_readable(recorder: &Recorder<Number>, events: u64) {
    let snapshot = recorder.snapshot();
    assert_eq!(snapshot.counter("metric", &[]), Some(events));
    assert_eq!(snapshot.counter("labelled", &[("even", "true")]).unwrap_or(0), events / 2);
    assert_eq!((recorder.describe_metrics().len(), recorder.accounts().processed), (2, events));
}

#[test]
fn a_removal_breaks_the_ring_and_leaves_the_last_state() {
    let runtime = running("removal");
    for used in [true, false] {
        let (recorder, own) = hosted(&runtime, "ring");
        if used {
            use_it(&recorder);
        }
        runtime.stop_and_remove("ring", PATIENCE).unwrap();
        assert_gone(&own);
        if used {
            assert_readable(&recorder, 100);
        }
    }
    // By an operation that the worker itself brings to its end.
    let own = {
        let guard = runtime.recorder::<Number>("owned");
        let kept = Arc::new(Mutex::new(None));
        let (recorder, own) = ring(guard, |builder| {
            let owned = builder.create_owned().unwrap();
            let recorder = Recorder::clone(&owned);
            *kept.lock().unwrap() = Some(owned);
            recorder
        });
        use_it(&recorder);
        own
    };
    assert_gone(&own);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn a_removal_breaks_it_where_nobody_drains() {
    let runtime = MetricsRuntime::builder("unstarted").build().unwrap();
    let (_recorder, own) = hosted(&runtime, "ring");
    runtime.stop_and_remove("ring", PATIENCE).unwrap();
    assert!(own.upgrade().is_none());
}

#[test]
fn a_shutdown_breaks_the_ring_and_leaves_the_last_state() {
    let runtime = running("shutdown");
    let (recorder, own) = hosted(&runtime, "ring");
    let (_unused, of_unused) = hosted(&runtime, "unused");
    use_it(&recorder);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert_gone(&own);
    assert_gone(&of_unused);
    assert_readable(&recorder, 100);
}

#[test]
fn the_last_handle_of_a_runtime_breaks_it_too_started_or_not() {
    for starts in [true, false] {
        let runtime = MetricsRuntime::builder("dropped").build().unwrap();
        let (_recorder, own) = hosted(&runtime, "ring");
        if starts {
            runtime.start().unwrap();
        }
        drop(runtime);
        assert_gone(&own);
    }
}

#[test]
fn a_stop_breaks_nothing_because_a_start_may_follow() {
    let runtime = running("stop");
    let (recorder, own) = hosted(&runtime, "ring");
    use_it(&recorder);
    runtime.stop("ring", PATIENCE).unwrap();
    recorder.start().wait(PATIENCE).unwrap();
    assert!(own.upgrade().is_some());
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter("metric", &[]), Some(101));
    runtime.stop_and_remove("ring", PATIENCE).unwrap();
    assert_gone(&own);
}

#[test]
fn the_end_of_a_task_breaks_the_ring_of_a_recorder_without_a_runtime() {
    for polled in [true, false] {
        let mut task = None;
        let (recorder, own) = ring(Recorder::detached("ring"), |builder| {
            let (recorder, its) = builder.create().unwrap();
            task = Some(its);
            recorder
        });
        let task = task.unwrap();
        if polled {
            recorder.register_event(Number(2));
            let stop = recorder.stop();
            by_hand(task);
            stop.wait(PATIENCE).unwrap();
        } else {
            drop(task);
        }
        assert_gone(&own);
    }
}

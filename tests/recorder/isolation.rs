//! DESIGN 3.7, as far as it exists: a metric that panics, or takes its time, harms nobody but itself.
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
use crate::support::until;
use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Kind;
use mvx_metrics::Label;
use mvx_metrics::LabelSet;
use mvx_metrics::Metric;
use mvx_metrics::Recorder;
use mvx_metrics::Verdict;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::task::Waker;
use std::thread;

/// Panics without the hook, which would print each of them.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("a mistake of the user"))
}

/// The siblings have seen every event, and the sick one is out of the way.
#[track_caller]
fn assert_contained(recorder: &Recorder<Number>, sick: &str, events: u64) {
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = recorder.snapshot();
    assert!(snapshot.metric(sick).unwrap().is_quarantined(), "{snapshot:?}");
    for metric in snapshot.metrics() {
        assert_eq!(metric.tally().total(), events, "{metric:?}");
        assert_eq!(metric.is_quarantined(), metric.family().name() == sick, "{metric:?}");
    }
    for sibling in ["before", "after"] {
        assert_eq!(snapshot.counter(sibling, &[]), Some(events), "{sibling}");
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_metric_that_panics_is_quarantined_and_its_siblings_see_every_event() {
    let runtime = running("panics");
    for at in [0, 1, 63, 64, 65, 500, 999] {
        let sick = Probe::new(
            "sick",
            move |event: &Number| if event.0 == at { panic_quietly() } else { Verdict::Accepted },
        );
        let id = format!("r{at}");
        let recorder = runtime
            .recorder(&id)
            .counter("before", |c| c)
            .metric(sick)
            .counter("after", |c| c)
            .create()
            .unwrap();
        (0..1_000).for_each(|n| insist(&recorder, Number(n)));
        assert_contained(&recorder, "sick", 1_000);
        let snapshot = recorder.snapshot();
        let tally = snapshot.metric("sick").unwrap().tally();
        assert_eq!((tally.accepted, tally.panicked, tally.quarantined), (at, 1, 999 - at));
        assert_eq!(snapshot.counter("sick", &[]).unwrap_or(0), at);
    }
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[cfg(panic = "unwind")]
#[test]
fn label_value_and_filter_closures_that_panic_are_contained() {
    let runtime = running("closures");
    let on_seven = |event: &Number| if event.0 == 7 { panic_quietly() } else { event.0 };
    let make = |id: &str| runtime.recorder::<Number>(id).counter("before", |c| c);
    let recorders = [
        make("label").counter("sick", |c| c.label("n", move |e| Label::from(on_seven(e) % 3))),
        make("value").histogram("sick_value", |h| h.bounds(&[1.0]).value(move |e| Some(on_seven(e)))),
        make("filter").counter("sick_filter", |c| c.keep(move |e| on_seven(e) < 100)),
    ];
    for (recorder, sick) in recorders.into_iter().zip(["sick", "sick_value", "sick_filter"]) {
        let recorder = recorder.counter("after", |c| c).create().unwrap();
        (0..50).for_each(|n| recorder.register_event(Number(n)));
        assert_contained(&recorder, sick, 50);
    }
}

/// A metric that cannot show itself once it has seen the event of this number.
struct Shy {
    descriptor: Arc<Descriptor>,
    hidden: bool,
}

impl Metric<Number> for Shy {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn handle_event(&mut self, event: &Number, _context: &Context) -> Verdict {
        self.hidden |= event.0 == 7;
        Verdict::Accepted
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        if self.hidden {
            panic_quietly();
        }
        writer.counter(&LabelSet::empty(), 1);
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_metric_that_panics_when_shown_is_quarantined_and_its_siblings_are_shown() {
    let runtime = running("shown");
    let descriptor = Descriptor::builder("shy", Kind::Counter).build().unwrap();
    let recorder = runtime
        .recorder("shown")
        .counter("before", |c| c)
        .metric(Shy { descriptor, hidden: false })
        .counter("after", |c| c)
        .create()
        .unwrap();
    (0..50).for_each(|n| recorder.register_event(Number(n)));
    assert_contained(&recorder, "shy", 50);
    (50..60).for_each(|n| recorder.register_event(Number(n)));
    assert_contained(&recorder, "shy", 60);
}

#[cfg(panic = "unwind")]
#[test]
fn other_recorders_go_on_while_thousands_of_metrics_panic() {
    let runtime = running("thousands");
    let well = runtime.recorder::<Number>("well").counter("well", |c| c).create().unwrap();
    for round in 0..scaled(300) {
        let mut builder = runtime.recorder("sick").counter("before", |c| c);
        for n in 0..10 {
            builder = builder.metric(Probe::new(&format!("sick_{n}"), |_: &Number| panic_quietly()));
        }
        let sick = builder.counter("after", |c| c).create().unwrap();
        sick.register_event(Number(round));
        well.register_event(Number(round));
        sick.flush_blocking(PATIENCE).unwrap();
        assert_eq!((sick.accounts().processed, sick.snapshot().counter("after", &[])), (1, Some(1)));
        runtime.stop_and_remove("sick", PATIENCE).unwrap();
    }
    well.flush_blocking(PATIENCE).unwrap();
    assert_eq!(well.snapshot().counter("well", &[]), Some(scaled(300)));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[cfg(panic = "unwind")]
#[test]
fn a_panic_payload_that_panics_when_dropped_is_contained() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic_quietly();
        }
    }
    let runtime = running("payload");
    let sick = Probe::new("sick", |_: &Number| resume_unwind(Box::new(Payload)));
    let recorder = runtime
        .recorder("payload")
        .counter("before", |c| c)
        .metric(sick)
        .counter("after", |c| c)
        .create()
        .unwrap();
    (0..10).for_each(|n| recorder.register_event(Number(n)));
    assert_contained(&recorder, "sick", 10);
}

#[cfg(panic = "unwind")]
#[test]
fn a_waker_that_panics_ends_neither_the_worker_nor_the_other_waiters() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic_quietly();
        }
    }
    let (runtime, gate) = (running("wakers"), Gate::default());
    let recorder =
        runtime.recorder("wakers").metric(crate::support::stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    let flush = recorder.flush();
    let mut bad = pin!(flush.clone());
    assert!(bad.as_mut().poll(&mut std::task::Context::from_waker(&Waker::from(Arc::new(Bad)))).is_pending());
    thread::scope(|scope| {
        let good = scope.spawn(|| by_hand(flush.clone()));
        gate.open();
        good.join().unwrap().unwrap();
    });
    recorder.try_register_event(Number(1)).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(2));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn a_recorder_under_constant_load_does_not_starve_the_others() {
    let runtime = running("fair");
    let own = Arc::new(std::sync::OnceLock::<Recorder<Number>>::new());
    let itself = Arc::clone(&own);
    // Every event brings the next one: this recorder always has something to do.
    let metric = Probe::new("greedy", move |event: &Number| {
        if event.0 > 0 {
            itself.get().unwrap().register_event(*event);
        }
        Verdict::Accepted
    });
    let greedy = runtime.recorder("greedy").metric(metric).create().unwrap();
    own.set(greedy.clone()).unwrap();
    (0..100).for_each(|_| greedy.register_event(Number(1)));
    let others: Vec<_> = (0..10)
        .map(|n| runtime.recorder::<Number>(&format!("r{n}")).counter("events", |c| c).create().unwrap())
        .collect();
    for count in 1..=scaled(20) {
        for other in &others {
            other.register_event(Number(count));
            other.flush_blocking(PATIENCE).unwrap();
            assert_eq!(other.snapshot().counter("events", &[]), Some(count));
        }
    }
    let before = greedy.snapshot().sequence();
    until("the greedy one is shown as well", || greedy.snapshot().sequence() > before);
    // Its door shuts, so it comes to an end.
    greedy.stop().wait(PATIENCE).unwrap();
    assert_eq!(greedy.accounts().pending(), 0);
}

#[test]
fn one_runtimes_stuck_metric_is_nothing_to_another_runtime() {
    let (one, other, gate) = (running("one"), running("other"), Gate::default());
    let stuck = one.recorder("stuck").metric(crate::support::stopper("events", 0, &gate)).create().unwrap();
    stuck.register_event(Number(0));
    gate.until_reached();
    let count = AtomicU64::new(0);
    let free = other.recorder::<Number>("free").counter("events", |c| c).create().unwrap();
    while count.fetch_add(1, Ordering::AcqRel) < 100 {
        free.register_event(Number(1));
        free.flush_blocking(PATIENCE).unwrap();
    }
    assert_eq!(free.snapshot().counter("events", &[]), Some(100));
    assert!(other.shutdown(PATIENCE).unwrap().is_complete());
    gate.open();
    assert!(one.shutdown(PATIENCE).unwrap().is_complete());
}

//! DESIGN 3.7: a quarantine lasts until it is lifted, by `reinstate` or by a restart, and the tallies stay exact through it.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use mvx_metrics::Change;
use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::Metric;
use mvx_metrics::Recorder;
use mvx_metrics::Tally;
use mvx_metrics::Verdict;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

/// Panics without the hook, which would print each of them.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("a mistake of the user"))
}

/// A metric that shows the last number, cannot while it is ill, and says how often it was asked to.
struct Shy {
    descriptor: Arc<Descriptor>,
    last: u64,
    asked: Arc<AtomicU64>,
    ill: Arc<AtomicBool>,
}

impl Metric<Number> for Shy {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn handle_event(&mut self, event: &Number, _context: &Context) -> Verdict {
        self.last = event.0;
        Verdict::Accepted
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        self.asked.fetch_add(1, Ordering::AcqRel);
        writer.counter(&LabelSet::new([("n", "first")]).unwrap(), self.last);
        if self.ill.load(Ordering::Acquire) {
            panic_quietly();
        }
        writer.counter(&LabelSet::new([("n", "second")]).unwrap(), self.last);
    }
}

/// A metric that panics on every event divisible by `by`, and counts the others.
fn allergic(name: &str, by: u64) -> impl Metric<Number> + use<> {
    Probe::new(
        name,
        move |event: &Number| if event.0 % by == 0 { panic_quietly() } else { Verdict::Accepted },
    )
}

fn feed(recorder: &Recorder<Number>, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| recorder.try_register_event(Number(n)).unwrap());
    recorder.flush_blocking(PATIENCE).unwrap();
}

fn tally(recorder: &Recorder<Number>, metric: &str) -> (Tally, bool) {
    let snapshot = recorder.snapshot();
    let metric = snapshot.metric(metric).unwrap();
    (metric.tally(), metric.is_quarantined())
}

fn counts(tally: Tally) -> (u64, u64, u64) {
    (tally.accepted, tally.panicked, tally.quarantined)
}

#[cfg(panic = "unwind")]
#[test]
fn a_reinstated_metric_goes_on_with_its_state_and_its_tally_keeps_what_it_missed() {
    let runtime = running("reinstate");
    let recorder = runtime
        .recorder("reinstate")
        .counter("before", |c| c)
        .metric(allergic("sick", 10))
        .counter("after", |c| c)
        .create()
        .unwrap();
    feed(&recorder, 1..16);
    assert_eq!((counts(tally(&recorder, "sick").0), tally(&recorder, "sick").1), ((9, 1, 5), true));
    recorder.reinstate("sick").wait(PATIENCE).unwrap();
    // Seen without an event in between.
    recorder.flush_blocking(PATIENCE).unwrap();
    assert!(!tally(&recorder, "sick").1);
    feed(&recorder, 16..25);
    assert_eq!((counts(tally(&recorder, "sick").0), tally(&recorder, "sick").1), ((13, 2, 9), true));
    assert_eq!(recorder.snapshot().counter("sick", &[]), Some(13));
    for name in ["before", "sick", "after"] {
        assert_eq!(tally(&recorder, name).0.total(), 24, "{name}");
    }
    assert_eq!(recorder.snapshot().counter("after", &[]), Some(24));
}

#[cfg(panic = "unwind")]
#[test]
fn a_label_closure_that_panicked_is_reinstated_with_its_metric() {
    let runtime = running("closure");
    let recorder = runtime
        .recorder::<Number>("closure")
        .counter("sick", |c| c.label("n", |e| if e.0 == 0 { panic_quietly() } else { e.0.into() }))
        .create()
        .unwrap();
    feed(&recorder, 0..2);
    assert_eq!(recorder.snapshot().counter("sick", &[("n", "1")]), None);
    recorder.reinstate("sick").wait(PATIENCE).unwrap();
    feed(&recorder, 1..3);
    let snapshot = recorder.snapshot();
    let shown = ["1", "2"].map(|n| snapshot.counter("sick", &[("n", n)]));
    assert_eq!(shown, [Some(1), Some(1)]);
    assert_eq!(counts(snapshot.metric("sick").unwrap().tally()), (2, 1, 1));
}

#[test]
fn the_unknown_is_not_found_the_well_stays_well_and_the_removed_says_so() {
    let runtime = running("unknown");
    let recorder = runtime.recorder::<Number>("unknown").counter("well", |c| c).create().unwrap();
    let (observer, added) = recorder.on_metric_changed(|_| {});
    added.wait(PATIENCE).unwrap();
    let error = recorder.reinstate("wel").wait(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("\"wel\""), "{error}");
    recorder.reinstate("well").wait(PATIENCE).unwrap();
    recorder.reinstate_observer(observer).wait(PATIENCE).unwrap();
    recorder.remove_observer(observer).wait(PATIENCE).unwrap();
    let error = recorder.reinstate_observer(observer).wait(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    feed(&recorder, 0..3);
    assert_eq!(counts(tally(&recorder, "well").0), (3, 0, 0));
    runtime.stop_and_remove("unknown", PATIENCE).unwrap();
    assert_eq!(recorder.reinstate("well").wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    let error = recorder.reinstate_observer(observer).wait(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
}

#[cfg(panic = "unwind")]
#[test]
fn a_restart_lifts_every_quarantine() {
    let runtime = running("restart");
    let told: Arc<Mutex<Vec<u64>>> = Arc::default();
    let log = Arc::clone(&told);
    let recorder = runtime
        .recorder("restart")
        .counter("events", |c| c)
        .metric(allergic("sick", 10))
        .on_metric_changed(move |change: &Change<'_, Number>| {
            if change.event().0 == 10 {
                panic_quietly();
            }
            log.lock().unwrap().push(change.event().0);
        })
        .create()
        .unwrap();
    feed(&recorder, 10..12);
    assert!(tally(&recorder, "sick").1 && recorder.snapshot().quarantined_observers() == 1);
    recorder.stop().wait(PATIENCE).unwrap();
    // Still, after the stop: it is the start that lifts it.
    assert!(tally(&recorder, "sick").1 && recorder.snapshot().quarantined_observers() == 1);
    recorder.start().wait(PATIENCE).unwrap();
    feed(&recorder, 12..14);
    assert!(!tally(&recorder, "sick").1 && recorder.snapshot().quarantined_observers() == 0);
    assert_eq!(counts(tally(&recorder, "sick").0), (2, 1, 1));
    assert_eq!(*told.lock().unwrap(), [12, 12, 13, 13]);
}

#[cfg(panic = "unwind")]
#[test]
fn a_reinstated_observer_is_told_again_as_often_as_it_is_reinstated() {
    let runtime = running("observer");
    let told: Arc<Mutex<Vec<u64>>> = Arc::default();
    let log = Arc::clone(&told);
    let recorder = runtime.recorder::<Number>("observer").counter("events", |c| c).create().unwrap();
    let (id, added) = recorder.on_metric_changed(move |change: &Change<'_, Number>| {
        if change.event().0 % 10 == 0 {
            panic_quietly();
        }
        log.lock().unwrap().push(change.event().0);
    });
    added.wait(PATIENCE).unwrap();
    feed(&recorder, 9..12);
    assert_eq!(recorder.snapshot().quarantined_observers(), 1);
    recorder.reinstate_observer(id).wait(PATIENCE).unwrap();
    feed(&recorder, 18..22);
    assert_eq!(recorder.snapshot().quarantined_observers(), 1);
    assert_eq!(*told.lock().unwrap(), [9, 18, 19]);
    recorder.reinstate_observer(id).wait(PATIENCE).unwrap();
    recorder.reinstate_observer(id).wait(PATIENCE).unwrap();
    feed(&recorder, 22..23);
    assert_eq!(recorder.snapshot().quarantined_observers(), 0);
    assert_eq!(*told.lock().unwrap(), [9, 18, 19, 22]);
}

#[cfg(panic = "unwind")]
#[test]
fn the_tallies_add_up_while_metrics_panic_and_are_reinstated_under_load() {
    let runtime = running("load");
    let recorder = runtime
        .recorder("load")
        .counter("events", |c| c)
        .metric(allergic("sick", 97))
        .metric(allergic("sicker", 7))
        .create()
        .unwrap();
    let events = scaled(20_000);
    thread::scope(|scope| {
        let feeding = scope.spawn(|| (1..=events).for_each(|n| insist(&recorder, Number(n))));
        while !feeding.is_finished() {
            for name in ["sick", "sicker"] {
                recorder.reinstate(name).wait(PATIENCE).unwrap();
            }
            let snapshot = recorder.snapshot();
            let totals: Vec<_> = snapshot.metrics().map(|metric| metric.tally().total()).collect();
            assert!(totals.iter().all(|total| *total == snapshot.sequence()), "{totals:?} {snapshot:?}");
        }
    });
    recorder.flush_blocking(PATIENCE).unwrap();
    for name in ["sick", "sicker"] {
        let (tally, _) = tally(&recorder, name);
        assert_eq!(tally.total(), events, "{name}: {tally:?}");
        assert_eq!(recorder.snapshot().counter(name, &[]), Some(tally.accepted));
        assert!(tally.panicked >= 1 && tally.accepted >= 1, "{name}: {tally:?}");
    }
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[cfg(panic = "unwind")]
#[test]
fn a_metric_that_panicked_over_showing_itself_is_shown_empty_and_not_asked_until_it_is_reinstated() {
    let runtime = running("shy");
    let (asked, ill) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let descriptor = Descriptor::builder("shy", Kind::Counter).label("n").build().unwrap();
    let shy = Shy { descriptor, last: 0, asked: Arc::clone(&asked), ill: Arc::clone(&ill) };
    let recorder = runtime.recorder("shy").counter("events", |c| c).metric(shy).create().unwrap();
    let shown = || {
        let snapshot = recorder.snapshot();
        ["first", "second"].map(|n| snapshot.counter("shy", &[("n", n)]))
    };
    feed(&recorder, 8..10);
    assert_eq!(shown(), [Some(9), Some(9)]);
    ill.store(true, Ordering::Release);
    feed(&recorder, 10..11);
    let before = asked.load(Ordering::Acquire);
    for n in 11..20 {
        feed(&recorder, n..n + 1);
        assert_eq!((shown(), tally(&recorder, "shy").1), ([None, None], true), "{n}");
    }
    assert_eq!(asked.load(Ordering::Acquire), before);
    // Still ill, so it fails again, once.
    recorder.reinstate("shy").wait(PATIENCE).unwrap();
    feed(&recorder, 20..22);
    assert_eq!((shown(), tally(&recorder, "shy").1), ([None, None], true));
    assert_eq!(asked.load(Ordering::Acquire), before + 1);
    // Both cuts that take turns show it empty by then.
    (22..26).for_each(|n| feed(&recorder, n..n + 1));
    // Well again, it is shown as it stands, in every cut from then on.
    ill.store(false, Ordering::Release);
    recorder.reinstate("shy").wait(PATIENCE).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert!(shown()[0].is_some() && shown()[0] == shown()[1], "{:?}", shown());
    for n in 30..39 {
        feed(&recorder, n..n + 1);
        assert_eq!((shown(), tally(&recorder, "shy").1), ([Some(n), Some(n)], false), "{n}");
    }
    assert_eq!(tally(&recorder, "shy").0.total(), recorder.accounts().processed);
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(recorder.accounts().processed));
}

/// A metric that cannot be shaped as its runtime wants it.
struct Stubborn(Arc<Descriptor>);

impl Metric<Number> for Stubborn {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.0
    }

    fn handle_event(&mut self, _event: &Number, _context: &Context) -> Verdict {
        Verdict::Accepted
    }

    fn reshape(&mut self, _descriptor: &Arc<Descriptor>) -> bool {
        panic_quietly()
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        writer.counter(&LabelSet::empty(), 1);
    }
}

#[test]
fn a_metric_that_panics_over_its_shape_is_quarantined_and_its_recorder_is_made() {
    let runtime = running("shapes");
    let create = |id: &str| {
        let descriptor = Descriptor::builder("stubborn", Kind::Counter).build().unwrap();
        let recorder = runtime.recorder::<Number>(id).metric(Stubborn(descriptor));
        recorder.counter("sibling", |c| c).create().unwrap()
    };
    // The second has a metric that is equal to one that the runtime knows, and is asked to share its description.
    for (recorder, quarantined) in [(create("first"), false), (create("second"), true)] {
        let is_quarantined = || recorder.snapshot().metric("stubborn").unwrap().is_quarantined();
        assert_eq!(is_quarantined(), quarantined, "{}", recorder.id());
        // A start lifts it, as always.
        insist(&recorder, Number(1));
        recorder.flush_blocking(PATIENCE).unwrap();
        assert_eq!((is_quarantined(), recorder.snapshot().counter("sibling", &[])), (false, Some(1)));
        assert_eq!(recorder.snapshot().counter("stubborn", &[]), Some(1));
    }
}

//! Metrics as one value, and metrics that come and go while a recorder runs.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use mvx_metrics::Counter;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::Gauge;
use mvx_metrics::Metric;
use mvx_metrics::MetricSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Operation;
use mvx_metrics::Recorder;
use mvx_metrics::RemovedSeries;
use mvx_metrics::Snapshot;
use mvx_metrics::Verdict;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

fn counter(name: &str) -> Counter<Number> {
    Counter::builder(name).build().unwrap()
}

fn set(names: &[&str]) -> MetricSet<Number> {
    names.iter().fold(MetricSet::new(), |set, name| set.counter(name, |c| c))
}

fn names(snapshot: &Snapshot) -> Vec<(&str, bool)> {
    snapshot.metrics().map(|metric| (metric.family().name().as_str(), metric.is_removed())).collect()
}

fn refusal(operation: Operation) -> ErrorKind {
    operation.wait(PATIENCE).unwrap_err().kind()
}

/// A metric's total over a runtime, as exporters see it.
fn exported(runtime: &MetricsRuntime, name: &str, fold: Fold) -> Option<u64> {
    let snapshot = runtime.collect();
    let families = snapshot.families(fold);
    let family = families.iter().find(|family| family.descriptor().name().as_str() == name)?;
    let series = family.parts().iter().flat_map(|part| part.family().series());
    Some(series.map(|series| series.value().counter().unwrap()).sum())
}

#[test]
fn the_first_mistake_of_a_set_is_told_by_whoever_takes_it_and_nothing_of_it_is_taken() {
    let wrong = || set(&["good"]).counter("bad name", |c| c).gauge("none", |g| g).counter("late", |c| c);
    assert!(format!("{:?}", wrong()).contains("InvalidName"));
    let runtime = running("mistakes");
    let error = runtime.recorder("one").metrics(wrong()).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    let error = runtime.recorder("one").metrics(set(&["a"]).metrics(wrong())).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    let recorder = runtime.recorder("one").counter("there", |c| c).create().unwrap();
    assert_eq!(refusal(recorder.register_metrics(wrong())), ErrorKind::InvalidName);
    let other_shape = || set(&["fresh"]).gauge("there", |g| g.value(|e| Some(e.0)));
    assert_eq!(refusal(recorder.register_metrics(other_shape())), ErrorKind::MetricConflict);
    assert_eq!(names(&recorder.flush_and_snapshot(PATIENCE).unwrap()), [("there", false)]);
    // What was refused is not declared either.
    runtime.recorder("two").gauge("fresh", |g| g.value(|e: &Number| Some(e.0))).create().unwrap();
    // In a set, too, one name is one shape, and the same shape is the same metric.
    let twice = set(&["a", "a"]).gauge("a", |g| g.value(|e| Some(e.0)));
    assert_eq!(refusal(recorder.register_metrics(twice)), ErrorKind::MetricConflict);
    assert_eq!(set(&["a", "b", "a"]).without("b").without("none").descriptors().len(), 1);
}

#[test]
fn the_metrics_of_a_set_come_at_once_and_see_the_same_events_under_load() {
    let runtime = running("at_once");
    let recorder = runtime.recorder::<Number>("one").metrics(set(&["first"])).create().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                insist(&recorder, Number(1));
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let snapshot = recorder.snapshot();
                for round in 0..50 {
                    let [left, right] = ["l", "r"].map(|side| snapshot.total(&format!("{side}{round}")));
                    assert_eq!(left, right, "{round}: {snapshot:?}");
                }
                let tally = snapshot.metric("first").unwrap().tally();
                assert_eq!(tally.total(), snapshot.sequence());
            }
        });
        for round in 0..50 {
            let pair = [format!("l{round}"), format!("r{round}")];
            recorder.register_metrics(set(&[&pair[0], &pair[1]])).wait(PATIENCE).unwrap();
        }
    });
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    assert_eq!(snapshot.metrics().count(), 101);
    for metric in snapshot.metrics() {
        let counted = snapshot.total(metric.family().name().as_str());
        assert_eq!(counted, Some(metric.tally().accepted), "{metric:?}");
    }
}

#[test]
fn kept_series_stand_still_in_every_export_until_they_are_dropped_and_their_counts_stay_in_the_group() {
    let runtime = running("kept");
    let recorder = runtime.recorder("one").metrics(set(&["a", "b", "c"])).create().unwrap();
    recorder.register_event(Number(0));
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder.remove_metric("b", RemovedSeries::Kept).wait(PATIENCE).unwrap();
    let list = || recorder.describe_metrics().iter().map(|d| d.name().to_string()).collect::<Vec<_>>();
    // Without a flush: the operation's end is enough.
    assert_eq!(names(&recorder.snapshot()), [("a", false), ("c", false), ("b", true)]);
    assert_eq!(list(), ["a", "c"]);
    (0..4).for_each(|n| recorder.register_event(Number(n)));
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    assert_eq!(["a", "b", "c"].map(|name| snapshot.total(name)), [Some(5), Some(1), Some(5)]);
    assert_eq!(snapshot.metric("b").unwrap().tally().total(), 1);
    for fold in [Fold::Recorder, Fold::Group] {
        assert_eq!(exported(&runtime, "b", fold), Some(1));
    }
    assert_eq!(refusal(recorder.remove_metric("b", RemovedSeries::Kept)), ErrorKind::NotFound);
    assert_eq!(refusal(recorder.reinstate("b")), ErrorKind::NotFound);
    recorder.remove_metric("b", RemovedSeries::Dropped).wait(PATIENCE).unwrap();
    assert_eq!(names(&recorder.snapshot()), [("a", false), ("c", false)]);
    assert_eq!(exported(&runtime, "b", Fold::Recorder), None);
    assert_eq!(exported(&runtime, "b", Fold::Group), Some(1));
    assert_eq!(refusal(recorder.remove_metric("b", RemovedSeries::Dropped)), ErrorKind::NotFound);
    // The name keeps its meaning, whoever measures it.
    let gauge = Gauge::builder("b").value(|event: &Number| Some(event.0)).build().unwrap();
    assert_eq!(refusal(recorder.register_metric(gauge)), ErrorKind::MetricConflict);
    // And comes back from nothing, with the totals behind it.
    recorder.register_metric(counter("b")).wait(PATIENCE).unwrap();
    recorder.register_event(Number(9));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(exported(&runtime, "b", Fold::Recorder), Some(1));
    assert_eq!(exported(&runtime, "b", Fold::Group), Some(2));
}

#[test]
fn a_metric_added_over_kept_series_ends_them_and_the_total_goes_on() {
    let runtime = running("over");
    let recorder = runtime.recorder("one").metrics(set(&["a"])).create().unwrap();
    recorder.register_event(Number(0));
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder.remove_metric("a", RemovedSeries::Kept).wait(PATIENCE).unwrap();
    recorder.register_metrics(set(&["a", "z"])).wait(PATIENCE).unwrap();
    assert_eq!(exported(&runtime, "a", Fold::Group), Some(1));
    recorder.register_event(Number(0));
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    assert_eq!(names(&snapshot), [("a", false), ("z", false)]);
    assert_eq!(snapshot.total("a"), Some(1));
    assert_eq!(exported(&runtime, "a", Fold::Group), Some(2));
    // With the recorder, all of it stays in the total.
    runtime.stop_and_remove("one", PATIENCE).unwrap();
    assert_eq!(exported(&runtime, "a", Fold::Group), Some(2));
}

#[test]
fn no_event_is_missed_or_counted_twice_while_a_metric_is_replaced_under_load() {
    let runtime = running("replaced");
    let recorder = runtime.recorder("one").metrics(set(&["saves", "others"])).create().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    insist(&recorder, Number(1));
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !over.load(Ordering::Acquire) {
                    let total = exported(&runtime, "saves", Fold::Group).unwrap_or(0);
                    assert!(total >= last, "{total} after {last}");
                    last = total;
                }
            });
        }
        for _ in 0..scaled(200) {
            let many: Vec<_> = (0..50).map(|_| recorder.replace_metric(counter("saves"))).collect();
            many.iter().for_each(|replaced| replaced.wait(PATIENCE).unwrap());
        }
    });
    recorder.flush_blocking(PATIENCE).unwrap();
    let processed = recorder.accounts().processed;
    assert_eq!(exported(&runtime, "saves", Fold::Group), Some(processed));
    assert_eq!(recorder.snapshot().total("others"), Some(processed));
    let own = recorder.snapshot().metric("saves").map(|metric| metric.tally().total());
    assert_eq!(own, recorder.snapshot().total("saves"));
}

#[test]
fn whatever_cannot_be_changed_is_refused_with_a_reason() {
    let runtime = running("refused");
    let recorder = runtime.recorder("one").metrics(set(&["a"])).create().unwrap();
    assert_eq!(refusal(recorder.replace_metric(counter("none"))), ErrorKind::NotFound);
    let gauge = Gauge::builder("a").value(|event: &Number| Some(event.0)).build().unwrap();
    assert_eq!(refusal(recorder.replace_metric(gauge)), ErrorKind::MetricConflict);
    for name in ["", "b", &"a".repeat(10_000)] {
        assert_eq!(refusal(recorder.remove_metric(name, RemovedSeries::Dropped)), ErrorKind::NotFound);
    }
    recorder.stop().wait(PATIENCE).unwrap();
    // A stopped recorder obeys: it may be started again.
    recorder.remove_metric("a", RemovedSeries::Kept).wait(PATIENCE).unwrap();
    runtime.shutdown(PATIENCE).unwrap();
    for late in [
        recorder.remove_metric("a", RemovedSeries::Dropped),
        recorder.replace_metric(counter("a")),
        recorder.register_metrics(set(&["z"])),
    ] {
        assert_eq!(refusal(late), ErrorKind::InvalidState);
    }
    assert_eq!(names(&recorder.snapshot()), [("a", true)]);
}

/// A metric whose destructor is as bad as can be.
struct Spiteful(Probe<Number, fn(&Number) -> Verdict>, Recorder<Number>);

impl Drop for Spiteful {
    fn drop(&mut self) {
        self.1.register_event(Number(1));
        std::panic::resume_unwind(Box::new("from a destructor"));
    }
}

impl Metric<Number> for Spiteful {
    fn descriptor(&self) -> &std::sync::Arc<mvx_metrics::Descriptor> {
        self.0.descriptor()
    }

    fn handle_event(&mut self, event: &Number, context: &mvx_metrics::Context) -> Verdict {
        self.0.handle_event(event, context)
    }

    fn snapshot(&self, writer: &mut mvx_metrics::FamilyWriter<'_>) {
        self.0.snapshot(writer);
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_removed_metric_whose_destructor_panics_hurts_nobody() {
    let runtime = running("spiteful");
    let recorder = runtime.recorder("one").metrics(set(&["a"])).create().unwrap();
    for series in [RemovedSeries::Kept, RemovedSeries::Dropped] {
        let metric = Spiteful(Probe::new("spite", |_| Verdict::Accepted), recorder.clone());
        recorder.register_metric(metric).wait(PATIENCE).unwrap();
        recorder.remove_metric("spite", series).wait(PATIENCE).unwrap();
    }
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    assert_eq!(snapshot.total("a"), Some(2));
    assert_eq!(snapshot.accounts().processed, 2);
}

#[test]
fn a_stuck_metric_is_named_rightly_after_others_have_gone() {
    let (runtime, gate) = (running("named"), Gate::default());
    let recorder = runtime.recorder("one").metrics(set(&["a", "b"])).create().unwrap();
    recorder.remove_metric("a", RemovedSeries::Kept).wait(PATIENCE).unwrap();
    recorder.register_metric(stopper("stuck", 7, &gate)).wait(PATIENCE).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder.register_event(Number(7));
    gate.until_reached();
    let told = format!("{:?}", runtime.liveness());
    gate.open();
    // So new that no cut shows it, or by its name; never by that of the one that is gone.
    assert!(told.contains("stuck") || told.contains("Metric(None)"), "{told}");
    assert!(!told.contains("Some(MetricName(\"a\"))"), "{told}");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Event,
    Publish,
    Add(usize),
    Replace(usize),
    Remove(usize, RemovedSeries),
}

fn step() -> impl Strategy<Value = Step> {
    let series = prop_oneof![Just(RemovedSeries::Kept), Just(RemovedSeries::Dropped)];
    prop_oneof![
        4 => Just(Step::Event),
        1 => Just(Step::Publish),
        2 => (0..NAMES.len()).prop_map(Step::Add),
        1 => (0..NAMES.len()).prop_map(Step::Replace),
        2 => (0..NAMES.len(), series).prop_map(|(at, series)| Step::Remove(at, series)),
    ]
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What a metric of one name must show.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    live: Option<u64>,
    kept: Option<u64>,
    /// What the group has of it beside that.
    gone: u64,
}

impl Expected {
    /// What the step must end in.
    fn follow(&mut self, step: Step) -> Result<(), ErrorKind> {
        match (step, self.live, self.kept) {
            (Step::Event, Some(live), _) => self.live = Some(live + 1),
            (Step::Add(_), None, kept) => {
                self.gone += kept.unwrap_or(0);
                (self.live, self.kept) = (Some(0), None);
            }
            (Step::Replace(_), Some(live), _) => {
                self.gone += live;
                self.live = Some(0);
            }
            (Step::Remove(_, RemovedSeries::Dropped), live @ Some(_), _) => {
                self.gone += live.unwrap_or(0);
                self.live = None;
            }
            (Step::Remove(_, _), live @ Some(_), _) => (self.live, self.kept) = (None, live),
            (Step::Remove(_, RemovedSeries::Dropped), None, Some(kept)) => {
                self.gone += kept;
                self.kept = None;
            }
            (Step::Replace(_) | Step::Remove(..), None, _) => return Err(ErrorKind::NotFound),
            _ => {}
        }
        Ok(())
    }
}

proptest! {
    /// Against a sequential model: what each metric shows, what its tally adds up to, and what the group's totals are.
    #[test]
    fn any_history_of_changes_shows_what_a_model_of_it_says(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut runtime = SteppedRuntime::new("history").unwrap();
        let recorder = runtime.recorder::<Number>("one").create().unwrap();
        let mut model = [Expected::default(); NAMES.len()];
        // A reader that keeps cuts makes the actor write new ones.
        let mut readers = Vec::new();
        for step in steps {
            let at = match step {
                Step::Add(at) | Step::Replace(at) | Step::Remove(at, _) => Some(at),
                _ => None,
            };
            let operation = match step {
                Step::Event => {
                    recorder.register_event(Number(1));
                    model.iter_mut().for_each(|expected| expected.follow(step).unwrap());
                    // What is dispatched when a command is obeyed is not promised: here everything before it is.
                    runtime.settle();
                    continue;
                }
                Step::Publish => {
                    readers.push(recorder.snapshot());
                    continue;
                }
                Step::Add(at) => recorder.register_metric(counter(NAMES[at])),
                Step::Replace(at) => recorder.replace_metric(counter(NAMES[at])),
                Step::Remove(at, series) => recorder.remove_metric(NAMES[at], series),
            };
            runtime.settle();
            let expected = model[at.unwrap()].follow(step);
            prop_assert_eq!(operation.result().unwrap().map_err(|error| error.kind()), expected);
        }
        runtime.settle();
        let snapshot = recorder.snapshot();
        for (name, expected) in NAMES.iter().zip(model) {
            let shown = expected.live.or(expected.kept);
            prop_assert_eq!(snapshot.total(name), shown, "{}", name);
            let tally = snapshot.metric(name).map(|metric| metric.tally());
            prop_assert_eq!(tally.map(|tally| tally.total()), shown);
            prop_assert_eq!(exported(runtime.runtime(), name, Fold::Recorder), shown);
            let whole = shown.unwrap_or(0) + expected.gone;
            prop_assert_eq!(exported(runtime.runtime(), name, Fold::Group).unwrap_or(0), whole);
        }
        // Whoever holds an old cut sees it as it was.
        let versions: Vec<u64> = readers.iter().map(Snapshot::version).collect();
        prop_assert!(versions.is_sorted(), "{:?}", versions);
    }
}

//! Metrics of libraries, changed from outside: at registration by the runtime, and for one exporter by its view.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use mvx_metrics::Average;
use mvx_metrics::Counter;
use mvx_metrics::DynamicMetric;
use mvx_metrics::ErrorKind;
use mvx_metrics::ExportedFamily;
use mvx_metrics::Fold;
use mvx_metrics::Histogram;
use mvx_metrics::MetricSet;
use mvx_metrics::MetricShape;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Unit;
use mvx_metrics::ValueRef;
use mvx_metrics::Verdict;
use mvx_metrics::View;
use mvx_metrics::ViewBuilder;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn library() -> MetricSet<Number> {
    MetricSet::<Number>::new()
        .counter("lib.calls", |c| c.label("n", |e| e.0.into()))
        .counter("lib.time", |c| c.unit(Unit::Seconds).label("n", |e| e.0.into()).value(|e| Some(e.0 as f64)))
        .gauge("lib.level", |g| g.label("n", |e| e.0.into()).value(|e| Some(e.0)))
        .up_down("lib.rise", |u| u.label("n", |e| e.0.into()).value(|_| Some(1)))
        .average("lib.mean", |a| a.label("n", |e| e.0.into()).value(|e| Some(e.0)))
        .histogram("lib.size", |h| h.bounds(&[1.0, 2.0]).label("n", |e| e.0.into()).value(|e| Some(e.0)))
        .exponential_histogram("lib.spread", |h| h.label("n", |e| e.0.into()).value(|e| Some(e.0)))
}

fn filled(recorder: &Recorder<Number>, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| recorder.register_event(Number(number)));
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[test]
fn every_metric_of_a_recorder_has_the_shape_that_the_first_view_for_it_says_however_it_came() {
    let runtime = MetricsRuntime::builder("shapes")
        .metric_view("lib.size", MetricShape::new().bounds(&[4.0, 8.0, 16.0]).cardinality(3))
        .metric_view("lib.*", MetricShape::new().cardinality(2).bounds(&[7.0]))
        .build()
        .unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder("one").metrics(library()).create().unwrap();
    filled(&recorder, 0..10);
    let snapshot = recorder.snapshot();
    for metric in snapshot.metrics() {
        let family = metric.family();
        let of_its_own = family.name().as_str() == "lib.size";
        assert_eq!(family.descriptor().cardinality(), if of_its_own { 3 } else { 2 }, "{family:?}");
        assert_eq!(family.len(), if of_its_own { 4 } else { 3 }, "{family:?}");
        assert_eq!(metric.tally().accepted, 10);
    }
    let buckets = |name: &str| {
        let family = snapshot.metric(name).unwrap().family();
        let rows =
            family.series().map(|series| series.value().histogram().unwrap().buckets().collect::<Vec<_>>());
        rows.fold(vec![0; family.descriptor().bounds().len() + 1], |sum: Vec<u64>, row| {
            sum.iter().zip(&row).map(|(sum, count)| sum + count).collect()
        })
    };
    assert_eq!(buckets("lib.size"), [5, 4, 1, 0]);
    let later =
        || Histogram::builder("lib.later").bounds(&[1.0]).value(|e: &Number| Some(e.0)).build().unwrap();
    recorder.register_metric(later()).wait(PATIENCE).unwrap();
    recorder.replace_metric(later()).wait(PATIENCE).unwrap();
    let set = runtime.dynamic_set("dynamic").create().unwrap();
    set.declare(DynamicMetric::histogram("lib.dynamic").bounds(&[1.0, 2.0, 3.0])).unwrap();
    set.recorder().flush_blocking(PATIENCE).unwrap();
    let bounds = |recorder: Vec<Arc<mvx_metrics::Descriptor>>, name: &str| {
        recorder.iter().find(|descriptor| descriptor.name().as_str() == name).unwrap().bounds().to_vec()
    };
    assert_eq!(bounds(recorder.describe_metrics(), "lib.later"), [7.0]);
    assert_eq!(bounds(set.recorder().describe_metrics(), "lib.dynamic"), [7.0]);
    // All recorders bring the same metric, and share what it is.
    let other = runtime.recorder("two").metrics(library()).create().unwrap();
    for (ours, theirs) in recorder.describe_metrics().iter().zip(other.describe_metrics()) {
        assert!(Arc::ptr_eq(ours, &theirs), "{ours}");
    }
}

#[test]
fn what_no_metric_could_follow_is_refused_and_what_cannot_change_stays() {
    let refused = |pattern: &str, shape: MetricShape| {
        MetricsRuntime::builder("refused").metric_view(pattern, shape).build().unwrap_err().kind()
    };
    let fine = || MetricShape::new().cardinality(1);
    assert_eq!(refused("a b", fine()), ErrorKind::InvalidName);
    assert_eq!(refused("1*", fine()), ErrorKind::InvalidName);
    assert_eq!(refused("a", MetricShape::new()), ErrorKind::InvalidLimit);
    for bounds in [&[][..], &[2.0, 1.0], &[1.0, 1.0], &[f64::NAN], &[f64::INFINITY]] {
        assert_eq!(refused("a", MetricShape::new().bounds(bounds)), ErrorKind::InvalidLimit, "{bounds:?}");
    }
    for limit in [0, u32::MAX] {
        assert_eq!(refused("a", MetricShape::new().cardinality(limit)), ErrorKind::InvalidLimit);
    }
    let runtime = MetricsRuntime::builder("stays").metric_view("*", fine()).build().unwrap();
    runtime.start().unwrap();
    // One that has been fed by hand already, and one of the program's own.
    let mut fed = Counter::<Number>::builder("fed").build().unwrap();
    let context = mvx_metrics::Context::new(mvx_metrics::Timestamp::default(), 1);
    let _ = mvx_metrics::Metric::handle_event(&mut fed, &Number(1), &context);
    let probe = Probe::new("own", |_: &Number| Verdict::Accepted);
    let recorder = runtime.recorder("one").metric(fed).metric(probe).create().unwrap();
    filled(&recorder, 0..2);
    let limits: Vec<_> =
        recorder.describe_metrics().iter().map(|descriptor| descriptor.cardinality()).collect();
    assert_eq!(limits, [2_000, 2_000]);
    assert_eq!(recorder.snapshot().total("fed"), Some(3));
}

fn viewed(snapshot: &RuntimeSnapshot, rules: impl FnOnce(ViewBuilder) -> ViewBuilder) -> RuntimeSnapshot {
    snapshot.with_view(&rules(View::builder()).build().unwrap())
}

/// Every series of a metric with all of its labels, and what it shows.
fn series(snapshot: &RuntimeSnapshot, name: &str, fold: Fold) -> Vec<(Vec<(String, String)>, String)> {
    let families = snapshot.families(fold);
    let family = families.iter().find(|family| family.descriptor().name().as_str() == name).unwrap();
    rows(family)
}

fn rows(family: &ExportedFamily<'_>) -> Vec<(Vec<(String, String)>, String)> {
    let mut all = Vec::new();
    for part in family.parts() {
        assert!(family.descriptor().same_shape(part.family().descriptor()), "{part:?}");
        for series in part.family().series() {
            let labels = part.labels().chain(series.labels().iter()).filter(|(_, value)| !value.is_empty());
            let mut labels: Vec<_> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            labels.sort();
            assert!(labels.windows(2).all(|pair| pair[0].0 != pair[1].0), "{labels:?}");
            all.push((labels, format!("{:?}", series.value())));
        }
    }
    all
}

fn text(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn two_labels(builder: RecorderBuilder<Number>) -> RecorderBuilder<Number> {
    builder.counter("calls", |c| {
        c.label("zone", |e| (e.0 % 2).into()).label("kind", |e| (e.0 % 3).into()).cardinality(4)
    })
}

#[test]
fn a_label_is_renamed_or_dropped_in_one_view_and_nowhere_else() {
    let runtime = MetricsRuntime::builder("labels").constant_label("stage", "s").build().unwrap();
    runtime.start().unwrap();
    let recorder = two_labels(runtime.recorder("one").constant_label("area", "x")).create().unwrap();
    filled(&recorder, 0..12); // six label sets, of which two share the overflow series
    let snapshot = runtime.collect();
    let before = series(&snapshot, "calls", Fold::Recorder);
    assert_eq!(before.len(), 5);
    let always = [("area", "x"), ("recorder", "one"), ("stage", "s")];
    let row = |labels: &[(&str, &str)], count: u64| {
        let mut labels = text(&[labels, &always].concat());
        labels.sort();
        (labels, format!("Counter({count})"))
    };
    // The new key stands elsewhere among the others, and each value goes with its key.
    let renamed = viewed(&snapshot, |v| v.rename_label("calls", "zone", "azone"));
    let shown = series(&renamed, "calls", Fold::Recorder);
    assert!(shown.contains(&row(&[("azone", "1"), ("kind", "1")], 2)), "{shown:?}");
    assert!(shown.contains(&row(&[("azone", "1"), ("kind", "0")], 2)), "{shown:?}");
    let dropped = viewed(&snapshot, |v| v.drop_label("c*", "kind").rename_label("calls", "zone", "kind"));
    let shown = series(&dropped, "calls", Fold::Recorder);
    let overflow = row(&[("otel.metric.overflow", "true")], 4);
    assert_eq!(shown, [row(&[("kind", "0")], 4), row(&[("kind", "1")], 4), overflow.clone()]);
    let none = viewed(&snapshot, |v| v.drop_label("calls", "kind").drop_label("calls", "zone"));
    assert_eq!(series(&none, "calls", Fold::Recorder), [row(&[], 8), overflow]);
    // What would be there twice, or is not there, changes nothing.
    for taken in ["kind", "area", "stage"] {
        let view = viewed(&snapshot, |v| v.rename_label("calls", "zone", taken).drop_label("other", "kind"));
        assert_eq!(series(&view, "calls", Fold::Recorder), before, "{taken}");
    }
    let view = viewed(&snapshot, |v| v.rename_label("calls", "none", "some").drop_label("calls", "nothing"));
    assert_eq!(series(&view, "calls", Fold::Recorder), before);
    // A label that the view adds does not come in between.
    let view = viewed(&snapshot, |v| v.rename_label("calls", "zone", "mine").label("mine", "view"));
    assert_eq!(series(&view, "calls", Fold::Recorder).len(), 5);
    assert_eq!(series(&snapshot, "calls", Fold::Recorder), before);
}

#[test]
fn rules_that_no_metric_could_follow_are_refused() {
    let refused = |rules: fn(ViewBuilder) -> ViewBuilder| rules(View::builder()).build().unwrap_err().kind();
    assert_eq!(refused(|v| v.drop_label("a b", "key")), ErrorKind::InvalidName);
    assert_eq!(refused(|v| v.drop_label("a", "recorder")), ErrorKind::InvalidName);
    assert_eq!(refused(|v| v.rename_label("a", "k", "le")), ErrorKind::InvalidName);
    assert_eq!(refused(|v| v.rename_label("a", "", "k")), ErrorKind::InvalidName);
    assert_eq!(refused(|v| v.bounds("a", &[])), ErrorKind::InvalidLimit);
    assert_eq!(refused(|v| v.bounds("a", &[1.0, 0.5])), ErrorKind::InvalidLimit);
}

/// Numbers for histograms, awkward ones among them.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![-20.0..20.0_f64, (-20..20_i32).prop_map(f64::from), Just(-0.0)]
}

proptest! {
    /// Whatever is coarsened is what a histogram of those bounds would have counted, sum and extremes included.
    #[test]
    fn a_coarsened_histogram_is_the_one_that_had_these_bounds_from_the_start(
        values in proptest::collection::vec((value(), 0..3_u64), 0..60),
        chosen in proptest::collection::vec(any::<bool>(), 9),
    ) {
        struct Seen(f64, u64);
        impl mvx_metrics::MetricEvent for Seen {
            fn event_type(&self) -> &'static str {
                "seen"
            }
        }
        let fine: Vec<f64> = (-4..5).map(|n| f64::from(n) * 4.0).collect();
        let coarse: Vec<f64> =
            fine.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(bound, _)| *bound).collect();
        prop_assume!(!coarse.is_empty());
        let mut runtime = mvx_metrics::testing::SteppedRuntime::new("coarse").unwrap();
        let recorder = runtime
            .recorder::<Seen>("one")
            .histogram("fine", |h| h.bounds(&fine).label("n", |e| e.1.into()).value(|e| Some(e.0)))
            .histogram("coarse", |h| h.bounds(&coarse).label("n", |e| e.1.into()).value(|e| Some(e.0)))
            .histogram("coarse.all", |h| h.bounds(&coarse).value(|e| Some(e.0)))
            .create()
            .unwrap();
        values.iter().for_each(|(value, n)| recorder.register_event(Seen(*value, *n)));
        runtime.settle();
        let snapshot = runtime.runtime().collect();
        let view = viewed(&snapshot, |v| v.bounds("fine", &coarse));
        let expected = series(&snapshot, "coarse", Fold::Recorder);
        prop_assert_eq!(series(&view, "fine", Fold::Recorder), expected.clone());
        prop_assert_eq!(series(&view, "fine", Fold::Group).len(), expected.len());
        let view = viewed(&snapshot, |v| v.bounds("fine", &coarse).drop_label("fine", "n"));
        prop_assert_eq!(
            series(&view, "fine", Fold::Recorder),
            series(&snapshot, "coarse.all", Fold::Recorder)
        );
        // With a bound that it does not have, it stays as it is.
        let view = viewed(&snapshot, |v| v.bounds("fine", &[coarse[0], 99.0]));
        prop_assert_eq!(series(&view, "fine", Fold::Recorder), series(&snapshot, "fine", Fold::Recorder));
    }

    /// A label that is dropped leaves what a metric without it would have counted.
    #[test]
    fn series_without_a_label_are_those_of_a_metric_that_never_had_it(
        numbers in proptest::collection::vec(0..40_u64, 0..80),
    ) {
        let mut runtime = mvx_metrics::testing::SteppedRuntime::new("dropped").unwrap();
        let without = MetricSet::<Number>::new()
            .counter("plain.calls", |c| c)
            .counter("plain.time", |c| c.unit(Unit::Seconds).value(|e| Some(e.0 as f64)))
            .up_down("plain.rise", |u| u.value(|_| Some(1)))
            .metric(Average::builder("plain.mean").value(|e: &Number| Some(e.0)).build().unwrap())
            .histogram("plain.size", |h| h.bounds(&[1.0, 2.0]).value(|e| Some(e.0)))
            .exponential_histogram("plain.spread", |h| h.value(|e| Some(e.0)));
        let recorder = runtime.recorder("one").metrics(library()).metrics(without).create().unwrap();
        numbers.iter().for_each(|number| recorder.register_event(Number(*number)));
        runtime.settle();
        let snapshot = runtime.runtime().collect();
        let view = viewed(&snapshot, |v| v.drop_label("*", "n"));
        for name in ["calls", "time", "rise", "mean", "size", "spread"] {
            let dropped = series(&view, &format!("lib.{name}"), Fold::Recorder);
            let plain = series(&view, &format!("plain.{name}"), Fold::Recorder);
            prop_assert_eq!(dropped, plain, "{}", name);
        }
        // Levels by the fold of their metric, which is their sum.
        let last: BTreeMap<u64, u64> = numbers.iter().map(|number| (*number, *number)).collect();
        let families = view.families(Fold::Recorder);
        let level = families.iter().find(|family| family.descriptor().name().as_str() == "lib.level").unwrap();
        let level = level.parts().iter().flat_map(|part| part.family().series()).next();
        let expected = (!last.is_empty()).then(|| ValueRef::Gauge(last.values().sum::<u64>() as f64));
        prop_assert_eq!(level.map(|series| series.value()), expected);
    }
}

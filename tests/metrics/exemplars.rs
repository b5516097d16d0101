//! Exemplars: which observations are kept, for how long, and that they go wherever their series go.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use mvx_metrics::Clock;
use mvx_metrics::Counter;
use mvx_metrics::ErrorKind;
use mvx_metrics::Exemplar;
use mvx_metrics::ExemplarLabels;
use mvx_metrics::Family;
use mvx_metrics::Fold;
use mvx_metrics::LabelSet;
use mvx_metrics::Metric;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Number;
use mvx_metrics::Recorder;
use mvx_metrics::Timestamp;
use mvx_metrics::Unit;
use mvx_metrics::View;
use mvx_metrics::limits::EXEMPLAR_HOLD;
use mvx_metrics::limits::EXPONENTIAL_EXEMPLARS;
use mvx_metrics::limits::MAX_EXEMPLAR_CHARS;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// An event of this zone and value, of this trace; 0 for none.
#[derive(Clone, Debug)]
struct Served(u8, f64, u128);

impl MetricEvent for Served {
    fn event_type(&self) -> &'static str {
        "served"
    }
}

const BOUNDS: [f64; 3] = [1.0, 2.0, 8.0];

fn tell(event: &Served, labels: &mut ExemplarLabels) {
    labels.trace(event.2, 0);
}

fn metrics() -> MetricSet<Served> {
    MetricSet::<Served>::new()
        .counter("served", |c| c.label("zone", |e| e.0.into()).exemplar(tell))
        .counter("time", |c| c.unit(Unit::Seconds).value(|e| Some(e.1)).exemplar(tell))
        .histogram("took", |h| {
            h.bounds(&BOUNDS).label("zone", |e| e.0.into()).value(|e| Some(e.1)).exemplar(tell)
        })
        .exponential_histogram("spread", |h| h.value(|e| Some(e.1)).exemplar(tell))
        .counter("bare", |c| c)
}

/// The exemplars of every series of a metric: trace and value, in order, by zone.
fn traces(family: &Family) -> BTreeMap<String, Vec<(u128, f64)>> {
    let one = |exemplar: &Exemplar| {
        let trace = exemplar.labels().get("trace_id").expect("it has a trace");
        assert_eq!(trace.len(), 32);
        (u128::from_str_radix(trace, 16).unwrap(), exemplar.value().as_f64())
    };
    let of = |series: mvx_metrics::SeriesRef<'_>| {
        (series.labels().get("zone").unwrap_or_default().to_owned(), series.exemplars().map(one).collect())
    };
    family.series().map(of).collect()
}

fn family(recorder: &Recorder<Served>, metric: &str) -> Family {
    recorder.snapshot().metric(metric).unwrap().family().clone()
}

fn shown(recorder: &Recorder<Served>, metric: &str) -> BTreeMap<String, Vec<(u128, f64)>> {
    traces(&family(recorder, metric))
}

fn of_all(traces: &[(u128, f64)]) -> BTreeMap<String, Vec<(u128, f64)>> {
    BTreeMap::from([(String::new(), traces.to_vec())])
}

#[test]
fn a_counter_has_one_for_each_series_a_histogram_one_for_each_bucket() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let recorder = runtime.recorder::<Served>("door").metrics(metrics()).create().unwrap();
    for event in
        [(0, 0.5, 1), (1, 0.25, 2), (0, 0.0, 3), (0, 2.0, 4), (0, 100.0, 0), (0, 9.0, 5), (0, 8.0, 6)]
    {
        recorder.register_event(Served(event.0, event.1, event.2));
    }
    runtime.settle();
    let zones = |zero: &[(u128, f64)], one: &[(u128, f64)]| {
        BTreeMap::from([("0".to_owned(), zero.to_vec()), ("1".to_owned(), one.to_vec())])
    };
    // The first within the hold stays.
    assert_eq!(shown(&recorder, "served"), zones(&[(1, 1.0)], &[(2, 1.0)]));
    assert_eq!(shown(&recorder, "time"), of_all(&[(1, 0.5)]));
    let took = [(1, 0.5), (4, 2.0), (6, 8.0), (5, 9.0)];
    assert_eq!(shown(&recorder, "took"), zones(&took, &[(2, 0.25)]));
    assert_eq!(
        shown(&recorder, "spread"),
        of_all(&[(3, 0.0), (2, 0.25), (1, 0.5), (4, 2.0), (5, 9.0)]),
        "one for each power of two"
    );
    assert_eq!(shown(&recorder, "bare"), of_all(&[]));
    let snapshot = recorder.snapshot();
    let time = family(&recorder, "time");
    let series = time.series().next().unwrap();
    assert_eq!(series.exemplars().next().map(Exemplar::at), Some(series.started()));
    assert_eq!(snapshot.counter("served", &[("zone", "0")]), Some(6), "what is no exemplar is counted");
}

#[test]
fn one_is_held_for_a_while_and_then_the_next_event_takes_its_place() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let recorder = runtime.recorder::<Served>("door").metrics(metrics()).create().unwrap();
    let mut step = |trace: u128, wait: Duration| {
        runtime.clock().advance(wait);
        recorder.register_event(Served(0, 0.5, trace));
        runtime.settle();
        shown(&recorder, "took")["0"].clone()
    };
    assert_eq!(step(1, Duration::ZERO), [(1, 0.5)]);
    assert_eq!(step(2, EXEMPLAR_HOLD - Duration::from_nanos(1)), [(1, 0.5)]);
    assert_eq!(step(0, Duration::from_nanos(1)), [(1, 0.5)], "an event that tells nothing takes no place");
    assert_eq!(step(3, Duration::ZERO), [(3, 0.5)]);
}

#[test]
fn a_clock_that_was_set_back_stops_nothing() {
    /// Goes backwards, a microsecond at each look.
    #[derive(Debug)]
    struct Backwards(std::sync::Mutex<u64>);
    impl Clock for Backwards {
        fn now(&self) -> Timestamp {
            let mut now = self.0.lock().unwrap();
            *now -= 1_000;
            Timestamp::from_unix_nanos(*now)
        }
    }
    let clock = Backwards(std::sync::Mutex::new(1_700_000_000_000_000_000));
    let runtime = MetricsRuntime::builder("docs").clock(clock).build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder::<Served>("door").metrics(metrics()).create().unwrap();
    let step = |value: f64, trace: u128| {
        recorder.register_event(Served(0, value, trace));
        recorder.flush_blocking(Duration::from_secs(60)).unwrap();
    };
    step(0.5, 1);
    step(0.5, 2);
    (0..=EXPONENTIAL_EXEMPLARS as i32).for_each(|n| step(2_f64.powi(n), n as u128 + 3));
    assert_eq!(shown(&recorder, "took")["0"], [(3, 1.0), (4, 2.0), (6, 8.0), (11, 256.0)]);
    let spread = shown(&recorder, "spread").remove("").unwrap();
    assert_eq!((spread.len(), spread.last()), (EXPONENTIAL_EXEMPLARS, Some(&(11, 256.0))), "{spread:?}");
}

#[test]
fn beyond_its_number_an_exponential_histogram_gives_up_the_oldest() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let recorder = runtime.recorder::<Served>("door").metrics(metrics()).create().unwrap();
    let signs = [1.0, -1.0];
    for n in 0..2 * EXPONENTIAL_EXEMPLARS as u32 {
        runtime.clock().advance(Duration::from_nanos(1));
        let value = signs[n as usize % 2] * f64::from(n).exp2();
        recorder.register_event(Served(0, value, u128::from(n) + 1));
        runtime.settle();
    }
    let kept = shown(&recorder, "spread").remove("").unwrap();
    assert!(kept.windows(2).all(|pair| pair[0].1 < pair[1].1), "{kept:?}");
    let mut traces: Vec<u128> = kept.iter().map(|(trace, _)| *trace).collect();
    traces.sort_unstable();
    let last = 2 * EXPONENTIAL_EXEMPLARS as u128;
    assert_eq!(traces, (last - EXPONENTIAL_EXEMPLARS as u128 + 1..=last).collect::<Vec<_>>());
}

#[test]
fn labels_that_are_none_are_left_out_and_counted_and_the_event_is_not() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let key = "trace";
    let recorder = runtime
        .recorder::<Served>("door")
        .counter("served", move |c| {
            c.exemplar(move |e, labels| match e.0 {
                0 => labels.label(key, &*"é".repeat(MAX_EXEMPLAR_CHARS - key.len() + 1)),
                1 => labels.label("no key", "x"),
                2 => {
                    labels.label(key, 1_u8);
                    labels.label(key, 2_u8);
                }
                3 => labels.label(key, ""),
                _ => labels.label(key, &*"é".repeat(MAX_EXEMPLAR_CHARS - key.len())),
            })
        })
        .create()
        .unwrap();
    for (zone, left_out) in [(0, 1), (1, 2), (2, 3), (3, 3)] {
        recorder.register_event(Served(zone, 0.0, 0));
        runtime.settle();
        let family = family(&recorder, "served");
        assert_eq!(family.exemplars_left_out(), left_out, "{zone}");
        assert_eq!(family.series().next().unwrap().exemplars().len(), 0, "{zone}");
    }
    recorder.register_event(Served(4, 0.0, 0));
    runtime.settle();
    let family = family(&recorder, "served");
    let series = family.series().next().unwrap();
    assert_eq!((series.value().counter(), series.exemplars().len()), (Some(5), 1));
}

#[test]
fn an_event_whose_value_is_refused_is_no_exemplar() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let recorder = runtime.recorder::<Served>("door").metrics(metrics()).create().unwrap();
    for value in [f64::NAN, f64::INFINITY, -1.0] {
        recorder.register_event(Served(0, value, 9));
    }
    runtime.settle();
    assert_eq!(shown(&recorder, "time"), BTreeMap::new());
    assert_eq!(shown(&recorder, "took")["0"], [(9, -1.0)]);
    let snapshot = recorder.snapshot();
    let refused = |metric: &str| snapshot.metric(metric).unwrap().tally().refused;
    assert_eq!(["served", "time", "took"].map(refused), [0, 3, 2]);
}

#[test]
fn one_that_does_not_fit_into_the_sum_any_more_is_none_either() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let recorder = runtime.recorder::<Served>("door").metrics(metrics()).create().unwrap();
    for trace in 1..=4 {
        recorder.register_event(Served(0, mvx_metrics::ExactSum::MAX, trace));
        runtime.settle();
        runtime.clock().advance(EXEMPLAR_HOLD);
    }
    let snapshot = recorder.snapshot();
    for metric in ["time", "took", "spread"] {
        let accepted = u128::from(snapshot.metric(metric).unwrap().tally().accepted);
        let refused = snapshot.metric(metric).unwrap().tally().refused;
        assert!(refused > 0, "{metric} takes all of it");
        let told = traces(snapshot.metric(metric).unwrap().family());
        assert!(told.values().all(|list| list[..] == [(accepted, mvx_metrics::ExactSum::MAX)]), "{told:?}");
    }
}

/// Panics when it is told.
fn touchy(event: &Served, labels: &mut ExemplarLabels) {
    assert!(event.2 != 13, "an exemplar that cannot be told");
    tell(event, labels);
}

#[test]
fn a_panic_while_it_is_told_ends_the_metric_before_its_event_counts() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let recorder = runtime
        .recorder::<Served>("door")
        .counter("touchy", |c| c.value(|e| Some(e.1)).exemplar(touchy))
        .counter("bare", |c| c)
        .create()
        .unwrap();
    for trace in [0, 13, 2] {
        recorder.register_event(Served(0, 1.0, trace));
    }
    runtime.settle();
    let snapshot = recorder.snapshot();
    assert_eq!(snapshot.float_counter("touchy", &[]), Some(1.0));
    assert_eq!(snapshot.counter("bare", &[]), Some(3));
}

#[test]
fn one_of_a_custom_metric_belongs_to_a_series_that_it_has_stated() {
    use mvx_metrics::Descriptor;
    use mvx_metrics::FamilyWriter;
    use mvx_metrics::Kind;
    let at = Timestamp::from_unix_nanos;
    let labels = |trace: &str| LabelSet::new([("trace_id", trace)]).unwrap();
    let exemplar = |trace: &str, value: f64, nanos| Exemplar::new(labels(trace), value, at(nanos)).unwrap();
    let descriptor = |kind| {
        let builder = Descriptor::builder("took", kind).label("zone");
        if kind == Kind::Histogram { builder.bounds(&BOUNDS).build() } else { builder.build() }
    };
    let mut family = Family::new(descriptor(Kind::Histogram).unwrap());
    let mut writer = FamilyWriter::whole(&mut family);
    let zone = LabelSet::new([("zone", "a")]).unwrap();
    writer.exemplar(&zone, exemplar("early", 1.0, 1));
    writer.histogram(&zone, &[1, 1, 0, 0], &mvx_metrics::ExactSum::default(), None);
    writer.exemplar(&zone, exemplar("new", 0.5, 3));
    writer.exemplar(&zone, exemplar("old", 0.75, 2));
    writer.exemplar(&zone, exemplar("other", 1.5, 1));
    writer.exemplar(&LabelSet::empty(), exemplar("nobody's", 1.5, 1));
    drop(writer);
    let series = family.find(&[("zone", "a")]).unwrap();
    assert_eq!(
        series.exemplars().cloned().collect::<Vec<_>>(),
        [exemplar("new", 0.5, 3), exemplar("other", 1.5, 1)]
    );
    assert_eq!(family.faults(), 2);

    let mut family = Family::new(descriptor(Kind::Gauge).unwrap());
    let mut writer = FamilyWriter::whole(&mut family);
    writer.gauge(&zone, 1.0);
    writer.exemplar(&zone, exemplar("level", 1.0, 1));
    drop(writer);
    assert_eq!((family.faults(), family.series().next().unwrap().exemplars().len()), (1, 0));

    for value in [f64::NAN, f64::INFINITY] {
        assert_eq!(
            Exemplar::new(LabelSet::empty(), value, at(1)).unwrap_err().kind(),
            ErrorKind::InvalidLimit
        );
    }
}

#[test]
fn they_count_as_memory_and_leave_with_their_series() {
    let builder = || Counter::<Served>::builder("served").label("zone", |e| e.0.into());
    let idle = Duration::from_secs(60);
    let mut metric = builder().exemplar(tell).expire_after(idle).build().unwrap();
    let mut bare = builder().expire_after(idle).build().unwrap();
    let context = |seconds| {
        let now = Timestamp::from_unix_nanos(1).saturating_add(Duration::from_secs(seconds));
        mvx_metrics::Context::new(now, seconds + 1)
    };
    let before = (metric.heap_bytes(), bare.heap_bytes());
    for zone in 0..100 {
        let (event, then) = (Served(zone, 0.0, u128::from(zone) + 1), u64::from(zone / 50) * 30);
        let _ = metric.handle_event(&event, &context(then));
        let _ = bare.handle_event(&event, &context(then));
    }
    let rose = (metric.heap_bytes() - before.0, bare.heap_bytes() - before.1);
    // Each has an id of 32 bytes.
    assert!(rose.0 >= rose.1 + 100 * 32, "{rose:?}");

    let gone = traces(&metric.expire(&context(70)).unwrap());
    let mut family = Family::new(metric.descriptor().clone());
    metric.snapshot(&mut mvx_metrics::FamilyWriter::whole(&mut family));
    let left = traces(&family);
    assert_eq!((gone.len(), left.len()), (50, 50));
    for (zone, traces) in gone.iter().chain(&left) {
        assert_eq!(traces, &[(zone.parse::<u128>().unwrap() + 1, 1.0)], "{zone}");
    }
    // One that comes again is another series, and its exemplar another.
    let _ = metric.handle_event(&Served(3, 0.0, 77), &context(71));
    metric.snapshot(&mut mvx_metrics::FamilyWriter::whole(&mut family));
    assert_eq!(traces(&family)["3"], [(77, 1.0)]);
}

#[test]
fn coarser_buckets_have_the_newest_and_fewer_labels_too() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let recorder = runtime.recorder::<Served>("door").metrics(metrics()).create().unwrap();
    for (zone, value, trace) in [(0, 0.5, 1), (0, 1.5, 2), (0, 9.0, 3), (1, 1.75, 4)] {
        recorder.register_event(Served(zone, value, trace));
        runtime.settle();
        runtime.clock().advance(Duration::from_millis(1));
    }
    let families = |view: View| {
        let snapshot = runtime.runtime().collect().with_view(&view);
        let families = snapshot.families(Fold::Recorder);
        let took = families.iter().find(|family| family.descriptor().name().as_str() == "took").unwrap();
        traces(took.parts()[0].family())
    };
    let coarse = families(View::builder().bounds("took", &[2.0]).build().unwrap());
    assert_eq!(coarse["0"], [(2, 1.5), (3, 9.0)]);
    let both = View::builder().bounds("took", &[2.0]).drop_label("took", "zone").build().unwrap();
    assert_eq!(families(both)[""], [(4, 1.75), (3, 9.0)]);
}

/// What is shown if for each bucket the newest of all is kept.
fn newest(all: &[(u64, Served)]) -> Vec<(u128, f64)> {
    let mut by_bucket: BTreeMap<usize, (u64, u128, f64)> = BTreeMap::new();
    for (at, Served(_, value, trace)) in all {
        let bucket = BOUNDS.partition_point(|bound| bound < value);
        let known = by_bucket.entry(bucket).or_insert((*at, *trace, *value));
        if known.0 <= *at {
            *known = (*at, *trace, *value);
        }
    }
    by_bucket.into_values().map(|(_, trace, value)| (trace, value)).collect()
}

proptest! {
    #[test]
    fn a_group_shows_the_newest_of_its_recorders_also_of_those_that_are_gone(
        events in prop::collection::vec((0..3_usize, 0.0..10.0_f64), 1..40),
        removed in 0..3_usize,
        serde in any::<bool>(),
    ) {
        let mut runtime = SteppedRuntime::new("docs").unwrap();
        let ids = ["a", "b", "c"];
        let recorders = ids.map(|id| runtime.recorder::<Served>(id).group("doors").metrics(metrics()).create().unwrap());
        let mut all: Vec<(u64, Served)> = Vec::new();
        for (n, (which, value)) in events.into_iter().enumerate() {
            runtime.clock().advance(EXEMPLAR_HOLD);
            let event = Served(0, value, n as u128 + 1);
            recorders[which].register_event(event.clone());
            runtime.settle();
            all.push((n as u64, event));
        }
        let fold = |runtime: &SteppedRuntime| {
            let mut snapshot = runtime.runtime().collect();
            if serde {
                let written = serde_json::to_string(&snapshot).unwrap();
                snapshot = serde_json::from_str(&written).unwrap();
            }
            let families = snapshot.families(Fold::Group);
            let took = families.iter().find(|family| family.descriptor().name().as_str() == "took").unwrap();
            traces(took.parts()[0].family())
        };
        prop_assert_eq!(&fold(&runtime)["0"], &newest(&all));
        let _stopping = recorders[removed].stop();
        runtime.settle();
        prop_assert!(runtime.runtime().stop_and_remove(ids[removed], Duration::ZERO).is_ok());
        prop_assert_eq!(&fold(&runtime)["0"], &newest(&all));
    }
}

#[cfg(feature = "serde")]
#[test]
fn families_with_exemplars_come_back_equal_and_wrong_ones_are_refused() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let recorder = runtime.recorder::<Served>("door").metrics(metrics()).create().unwrap();
    for (zone, value, trace) in [(0, 0.5, 1), (1, 1.5, 2), (0, 9.0, 3)] {
        recorder.register_event(Served(zone, value, trace));
    }
    runtime.settle();
    for metric in ["served", "time", "took", "spread", "bare"] {
        let family = family(&recorder, metric);
        let written = serde_json::to_value(&family).unwrap();
        let read: Family = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read, family);
        let mut without = written.clone();
        let of_first =
            |of: &mut serde_json::Value| of["series"][0].as_object_mut().unwrap().remove("exemplars");
        let told = of_first(&mut without).unwrap();
        let older: Family = serde_json::from_value(without).unwrap();
        assert_eq!(older == family, metric == "bare", "{metric}: a difference is seen: {told}");
    }
    let whole = serde_json::to_value(family(&recorder, "took")).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = whole.clone();
        change(&mut changed["series"][0]["exemplars"][0]);
        serde_json::from_value::<Family>(changed).unwrap_err().to_string()
    };
    assert!(refused(&|told| told["labels"][0][1] = "x".repeat(200).into()).contains("too long"));
    assert!(refused(&|told| told["labels"][0][0] = "no key".into()).contains("no key"));
    let mut gauge = serde_json::to_value(Family::new(gauge_descriptor())).unwrap();
    gauge["series"] = serde_json::json!([{"labels": [], "overflow": false, "started": 1, "value": {"gauge": 1.0},
        "exemplars": whole["series"][0]["exemplars"]}]);
    let refused = serde_json::from_value::<Family>(gauge).unwrap_err().to_string();
    assert!(refused.contains("an exemplar of a metric that has none"), "{refused}");
}

#[cfg(feature = "serde")]
fn gauge_descriptor() -> std::sync::Arc<mvx_metrics::Descriptor> {
    mvx_metrics::Descriptor::builder("level", mvx_metrics::Kind::Gauge).build().unwrap()
}

#[test]
fn integers_stay_integers() {
    let mut runtime = SteppedRuntime::new("docs").unwrap();
    let large = 9_007_199_254_740_993_u64;
    let recorder = runtime
        .recorder::<Served>("door")
        .counter("served", |c| c.value(move |_| Some(large)).exemplar(tell))
        .create()
        .unwrap();
    recorder.register_event(Served(0, 0.0, 1));
    runtime.settle();
    let family = family(&recorder, "served");
    let value = family.series().next().unwrap().exemplars().next().map(Exemplar::value);
    assert_eq!(value, Some(Number::U64(large)));
}

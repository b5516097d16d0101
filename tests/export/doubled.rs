//! Series that are stated twice: every format shows each once, as who came first stated it, and the others are counted and named.
#![cfg(all(feature = "prometheus", feature = "json", feature = "console", not(miri)))]

use crate::parser::parse;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::ExactSum;
use mvx_metrics::Exemplar;
use mvx_metrics::Fold;
use mvx_metrics::GaugeFold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use mvx_metrics::Timestamp;
use mvx_metrics::Unit;
use mvx_metrics::ValueRef;
use mvx_metrics::View;
use mvx_metrics::export::console;
use mvx_metrics::export::json;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use mvx_metrics::export::prometheus::ProtobufEncoder;
use mvx_metrics::limits;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// A source that states one counter by a label.
struct Stating(Arc<Descriptor>, Vec<(&'static str, u64)>);

impl Source for Stating {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        vec![Arc::clone(&self.0)]
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        let mut family = writer.family(&self.0).unwrap();
        for (label, count) in &self.1 {
            family.counter(&LabelSet::new([("k", *label)]).unwrap(), *count);
        }
    }
}

fn counter(name: &str) -> Arc<Descriptor> {
    Descriptor::builder(name, Kind::Counter).label("k").build().unwrap()
}

fn add(runtime: &MetricsRuntime, source: &str, stated: &[(&'static str, u64)]) {
    runtime.add_source(source, Duration::ZERO, Stating(counter("hits"), stated.to_vec())).unwrap();
}

/// A recorder of the group without a name that has counted `hits` of `k="a"`.
fn counted(runtime: &MetricsRuntime, id: &str) {
    let recorder =
        runtime.recorder::<Number>(id).counter("hits", |c| c.label("k", |_| "a".into())).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[test]
fn every_format_shows_a_series_once_and_who_came_first() {
    let runtime = running("doubled");
    counted(&runtime, "one");
    counted(&runtime, "two");
    add(&runtime, "first", &[("a", 10), ("b", 20), ("", 30)]);
    add(&runtime, "second", &[("c", 300), ("b", 200), ("", 400)]);
    assert_eq!(runtime.refresh_sources(), 2);
    let snapshot = runtime.collect();

    // Folded, the recorders' own series is one without a label of theirs; one by one it is not.
    for (fold, doubled, examples) in
        [(Fold::Group, 3, vec!["{k=\"a\"}", "{k=\"b\"}", "{}"]), (Fold::Recorder, 2, vec!["{k=\"b\"}", "{}"])]
    {
        let report = snapshot.doubled(fold);
        assert_eq!((report.len(), report[0].metric.as_str(), report[0].series), (1, "hits", doubled));
        assert_eq!(report[0].examples.iter().map(ToString::to_string).collect::<Vec<_>>(), examples);
    }
    for format in [Format::Text, Format::OpenMetrics] {
        let mut page = String::new();
        let _ = Encoder::new(format).fold(Fold::Group).vitals(false).encode(&snapshot, &mut page);
        let samples = parse(&page).unwrap().samples;
        let mut found: Vec<_> = samples
            .iter()
            .filter(|sample| sample.name == "hits_total")
            .map(|sample| (sample.label("k").unwrap_or_default().to_owned(), sample.value))
            .collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let expected = [("", 30.0), ("a", 2.0), ("b", 20.0), ("c", 300.0)];
        assert_eq!(found, expected.map(|(label, value)| (label.to_owned(), value)), "{page}");
        assert_eq!(page.matches("# TYPE").count(), 1);
        page.clear();
        let _ = Encoder::new(format).vitals(false).encode(&snapshot, &mut page);
        assert_eq!(
            parse(&page).unwrap().samples.iter().filter(|s| s.name == "hits_total").count(),
            6,
            "{page}"
        );
    }
    let mut text = String::new();
    let _ = json::Encoder::new().fold(Fold::Group).vitals(false).encode(&snapshot, &mut text);
    assert_eq!(text.lines().count(), 4, "{text}");
    text.clear();
    let lines = console::Encoder::new().layout(console::Layout::Lines);
    let _ = lines.fold(Fold::Group).vitals(false).encode(&snapshot, &mut text);
    assert_eq!(text.lines().count(), 4, "{text}");
    // The values of the first stand there, and the others do not.
    let mut bytes = Vec::new();
    let _ = ProtobufEncoder::new().fold(Fold::Group).vitals(false).encode(&snapshot, &mut bytes);
    let has = |value: f64| bytes.windows(8).any(|place| place == value.to_le_bytes());
    assert!([2.0, 20.0, 30.0, 300.0].into_iter().all(has) && ![10.0, 200.0, 400.0].into_iter().any(has));
}

#[test]
fn of_many_doubled_series_all_are_counted_and_some_are_named() {
    let runtime = running("many");
    let stated = ["a", "b", "c", "d", "e", "f", "g"].map(|label| (label, 1));
    add(&runtime, "first", &stated);
    add(&runtime, "second", &stated);
    runtime.refresh_sources();
    let snapshot = runtime.collect();
    let report = snapshot.doubled(Fold::Group);
    let named: Vec<_> = report[0].examples.iter().map(ToString::to_string).collect();
    assert_eq!((report[0].series, snapshot.families(Fold::Group)[0].doubled()), (7, 7));
    assert_eq!(named, ["a", "b", "c", "d", "e"].map(|label| format!("{{k=\"{label}\"}}")));
}

#[test]
fn series_that_a_view_makes_equal_are_added_up() {
    let runtime = running("viewed");
    counted(&runtime, "one");
    add(&runtime, "first", &[("b", 20)]);
    add(&runtime, "second", &[("c", 300)]);
    runtime.refresh_sources();
    let view = View::builder().drop_label("hits", "k").fold(Fold::Group).build().unwrap();
    let snapshot = runtime.collect().with_view(&view);
    let mut page = String::new();
    let _ = Encoder::new(Format::Text).vitals(false).encode(&snapshot, &mut page);
    assert_eq!(page, "# TYPE hits_total counter\nhits_total 321\n");
    assert!(snapshot.doubled(Fold::Group).is_empty());
}

/// A source that states of these metrics what it is told to.
struct Told<F>(Vec<Arc<Descriptor>>, F);

impl<F: Fn(&[Arc<Descriptor>], &mut SourceWriter<'_>) + Send + 'static> Source for Told<F> {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        self.0.clone()
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        (self.1)(&self.0, writer);
    }
}

#[test]
fn what_a_view_makes_equal_is_added_up_to_the_last_bucket_exemplar_and_start() {
    let shapes = || {
        let of = |name, kind| Descriptor::builder(name, kind).label("k");
        [
            of("took", Kind::Histogram).bounds(&[1.0, 2.0]),
            of("oldest", Kind::Gauge).gauge_fold(GaugeFold::Max),
            of("mean", Kind::Average),
            of("level", Kind::UpDown),
            of("hits", Kind::Counter),
        ]
        .map(|builder| builder.build().unwrap())
        .to_vec()
    };
    let exact = |value: f64| {
        let mut sum = ExactSum::default();
        assert!(sum.add(value));
        sum
    };
    let at = |seconds: u64| Timestamp::from_unix_nanos(seconds * 1_000_000_000);
    let marked = move |value: f64, seconds| {
        Exemplar::new(LabelSet::new([("trace_id", "4b")]).unwrap(), value, at(seconds)).unwrap()
    };
    let runtime = running("alike");
    for (source, label, started, buckets, sum, extremes, number, marks) in [
        ("first", "a", 20, [1, 2, 0], 3.5, (0.5, 1.5), 7, vec![(1.5, 100)]),
        ("second", "b", 10, [0, 1, 4], 20.25, (1.25, 9.0), 5, vec![(1.25, 50), (9.0, 60)]),
        ("third", "c", 30, [0, 0, 1], 2.5, (2.5, 2.5), 6, vec![(2.5, 40)]),
    ] {
        let states = move |shapes: &[Arc<Descriptor>], writer: &mut SourceWriter<'_>| {
            let labels = LabelSet::new([("k", label)]).unwrap();
            for shape in shapes {
                let mut family = writer.family(shape).unwrap();
                family.started(at(started));
                match shape.kind() {
                    Kind::Histogram => {
                        family.histogram(&labels, &buckets, &exact(sum), Some(extremes));
                        for (value, seconds) in &marks {
                            family.exemplar(&labels, marked(*value, *seconds));
                        }
                    }
                    Kind::Gauge => family.gauge(&labels, number as f64),
                    Kind::Average => family.average(&labels, &exact(sum), number),
                    Kind::UpDown => family.up_down(&labels, 5 - number as i64),
                    _ => family.counter(&labels, number),
                }
            }
        };
        runtime.add_source(source, Duration::ZERO, Told(shapes(), states)).unwrap();
    }
    assert_eq!(runtime.refresh_sources(), 3);
    for fold in [Fold::Group, Fold::Recorder] {
        let view = View::builder().drop_label("*", "k").fold(fold).build().unwrap();
        let snapshot = runtime.collect().with_view(&view);
        let families = snapshot.families(fold);
        assert_eq!(families.len(), 5);
        for family in &families {
            assert_eq!((family.parts().len(), family.len(), family.doubled()), (1, 1, 0), "{family:?}");
            let series = family.parts()[0].family().series().next().unwrap();
            assert_eq!((series.started(), series.labels().iter().count()), (at(10), 0), "{family:?}");
            match (family.descriptor().name().as_str(), series.value()) {
                ("took", value) => {
                    let took = value.histogram().unwrap();
                    assert_eq!(took.buckets().collect::<Vec<_>>(), [1, 3, 5]);
                    assert_eq!((took.sum(), took.min(), took.max()), (26.25, Some(0.5), Some(9.0)));
                    let exemplars: Vec<_> = series.exemplars().cloned().collect();
                    assert_eq!(exemplars, [marked(1.5, 100), marked(9.0, 60)]);
                }
                ("oldest", value) => assert_eq!(value, ValueRef::Gauge(7.0)),
                ("mean", ValueRef::Average { sum, count, .. }) => assert_eq!((sum, count), (26.25, 18)),
                ("level", value) => assert_eq!(value, ValueRef::UpDown(-3)),
                ("hits", value) => assert_eq!(value, ValueRef::Counter(18)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_overflow_of_all_groups_is_one_series() {
    let runtime = MetricsRuntime::builder("overflow").exported_cardinality(2).build().unwrap();
    runtime.start().unwrap();
    for (id, group) in [("one", None), ("two", Some("g"))] {
        let builder =
            runtime.recorder::<Number>(id).counter("hits", |c| c.label("k", |Number(n)| (*n).into()));
        let builder = if let Some(group) = group { builder.group(group) } else { builder };
        let recorder = builder.create().unwrap();
        (0..5).for_each(|n| recorder.register_event(Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
    }
    let mut page = String::new();
    let _ = Encoder::new(Format::Text).fold(Fold::Group).vitals(false).encode(&runtime.collect(), &mut page);
    let samples = parse(&page).unwrap_or_else(|why| panic!("{why}\n{page}")).samples;
    assert_eq!(samples.iter().map(|sample| sample.value).sum::<f64>(), 10.0, "{page}");
}

#[test]
fn names_that_prometheus_cannot_tell_apart_are_refused_between_sources_and_recorders() {
    let runtime = running("names");
    counted(&runtime, "one");
    for name in ["hits.total", "hits_total"] {
        let gauge = Descriptor::builder(name, Kind::Gauge).label("k").build().unwrap();
        let error = runtime.add_source("other", Duration::ZERO, Stating(gauge, Vec::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MetricConflict);
        assert!(error.to_string().contains("recorder one"), "{error}");
    }
    let mut snapshot = runtime.collect();
    let gauge = Descriptor::builder("hits_total", Kind::Gauge).build().unwrap();
    let mut family = mvx_metrics::Family::new(gauge);
    mvx_metrics::FamilyWriter::whole(&mut family).gauge(&LabelSet::empty(), 1.0);
    snapshot.add(vec![family]).unwrap();
    let mut page = String::new();
    let encoded = Encoder::new(Format::Text).vitals(false).encode(&snapshot, &mut page);
    assert_eq!((encoded.skipped().len(), encoded.skipped()[0].metric()), (1, "hits_total"), "{page}");
    parse(&page).unwrap();
}

/// A source that finds metrics of this shape at each look.
struct Finding(Arc<std::sync::Mutex<Vec<Arc<Descriptor>>>>);

impl Source for Finding {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        Vec::new()
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        for descriptor in self.0.lock().unwrap().iter() {
            if let Ok(mut family) = writer.find(descriptor) {
                family.gauge(&LabelSet::empty(), 1.0);
            }
        }
    }
}

#[test]
fn what_a_source_finds_may_change_until_somebody_shares_it() {
    let gauge = |name: &str, label: Option<&str>| {
        let builder = Descriptor::builder(name, Kind::Gauge);
        label.into_iter().fold(builder, |builder, label| builder.label(label)).build().unwrap()
    };
    let runtime = running("found");
    let found = Arc::new(std::sync::Mutex::new(vec![gauge("depth", None)]));
    runtime.add_source("finds", Duration::ZERO, Finding(Arc::clone(&found))).unwrap();
    runtime.refresh_sources();
    // A label more, and the name that was written for it is still its own.
    *found.lock().unwrap() = vec![gauge("depth", Some("k"))];
    runtime.refresh_sources();
    let shown = |runtime: &MetricsRuntime| {
        let snapshot = runtime.collect();
        let families = snapshot.families(Fold::Group);
        families.iter().map(|family| family.descriptor().to_string()).collect::<Vec<_>>()
    };
    assert_eq!((shown(&runtime), runtime.sources()[0].faults), (vec!["depth: gauge by k".to_owned()], 0));
    let taken = runtime.recorder::<Number>("other").gauge("depth", |g| g.value(|_| Some(1.0))).create();
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::MetricConflict);

    // Now another source has it, too.
    runtime.add_source("also", Duration::ZERO, Stating(gauge("depth", Some("k")), Vec::new())).unwrap();
    *found.lock().unwrap() = vec![gauge("depth", None)];
    runtime.refresh_sources();
    let status = &runtime.sources()[0];
    assert_eq!((status.faults, status.last_fault.clone().unwrap().kind()), (1, ErrorKind::MetricConflict));
    assert!(shown(&runtime).is_empty());
    *found.lock().unwrap() = vec![gauge("depth", Some("k"))];
    runtime.refresh_sources();
    assert_eq!(shown(&runtime), ["depth: gauge by k"]);

    // A life has room for so many names, whatever becomes of them.
    let many = |from: usize| (from..from + 600).map(|n| gauge(&format!("found.{n}"), None)).collect();
    *found.lock().unwrap() = many(0);
    runtime.refresh_sources();
    *found.lock().unwrap() = many(600);
    runtime.refresh_sources();
    assert_eq!(shown(&runtime).len(), limits::MAX_FOUND_METRICS - 601);
    let status = &runtime.sources()[0];
    assert_eq!(status.last_fault.clone().unwrap().kind(), ErrorKind::LimitReached);
    assert_eq!(status.faults, 1 + (1_200 - (limits::MAX_FOUND_METRICS as u64 - 1)));
}

const NAMES: [&str; 12] = [
    "a",
    "a.b",
    "a_b",
    "a.total",
    "a_total",
    "a.b.total",
    "a.count",
    "a.sum",
    "a_bucket",
    "a.info",
    "a.created",
    "a.seconds",
];

const KINDS: [Kind; 6] =
    [Kind::Counter, Kind::Gauge, Kind::UpDown, Kind::Histogram, Kind::Average, Kind::Info];

/// A source that finds or declares one metric, and states a series of it.
struct Any(Arc<Descriptor>, bool);

impl Source for Any {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        if self.1 { Vec::new() } else { vec![Arc::clone(&self.0)] }
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        let family = if self.1 { writer.find(&self.0).ok() } else { writer.family(&self.0) };
        let Some(mut family) = family else { return };
        let labels = match self.0.label_keys().first() {
            Some(key) => LabelSet::new([(key.as_str(), "v")]).unwrap(),
            None => LabelSet::empty(),
        };
        match self.0.kind() {
            Kind::Counter => family.counter(&labels, 1),
            Kind::Gauge => family.gauge(&labels, 1.0),
            Kind::UpDown => family.up_down(&labels, 1),
            Kind::Histogram => family.histogram(&labels, &[1, 0], &ExactSum::default(), None),
            Kind::Average => family.average(&labels, &ExactSum::default(), 1),
            _ => family.info(&labels),
        }
    }
}

fn recorder(runtime: &MetricsRuntime, id: &str, of: &Descriptor) -> Result<(), mvx_metrics::Error> {
    let builder = runtime.recorder::<Number>(id);
    let (name, unit, one) = (of.name().as_str(), of.unit().clone(), |_: &Number| Some(1.0));
    let label = of.label_keys().first().map(|key| key.as_str().to_owned());
    macro_rules! with {
        ($metric:expr) => {{
            let metric = $metric.unit(unit);
            if let Some(label) = label { metric.label(&label, |_| "v".into()) } else { metric }
        }};
    }
    let recorder = match of.kind() {
        Kind::Counter => builder.counter(name, |c| with!(c)),
        Kind::Gauge => builder.gauge(name, |g| with!(g.value(one))),
        Kind::UpDown => builder.up_down(name, |u| with!(u.value(|_| Some(1_i64)))),
        Kind::Histogram => builder.histogram(name, |h| with!(h.bounds(&[1.0]).value(one))),
        _ => builder.average(name, |a| with!(a.value(one))),
    };
    let recorder = recorder.create()?;
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000 * u32::try_from(crate::support::scaled(1)).unwrap()))]
    #[test]
    fn whatever_is_declared_by_whomever_no_page_has_a_name_or_a_series_twice(
        all in prop::collection::vec((0..3_usize, 0..NAMES.len(), 0..KINDS.len(), any::<bool>(), 0..3_usize), 1..8),
    ) {
        let runtime = running("registries");
        for (at, (owner, name, kind, unit, label)) in all.iter().enumerate() {
            let kind = KINDS[*kind];
            let unit = if *unit && kind != Kind::Info { Unit::Seconds } else { Unit::None };
            let mut builder = Descriptor::builder(NAMES[*name], kind).unit(unit);
            if kind == Kind::Histogram {
                builder = builder.bounds(&[1.0]);
            }
            if *label > 0 {
                builder = builder.label(["k", "l"][label - 1]);
            }
            let descriptor = builder.build().unwrap();
            let id = format!("owner-{at}");
            let declared = match owner {
                0 if kind != Kind::Info => recorder(&runtime, &id, &descriptor),
                _ => runtime.add_source(&id, Duration::ZERO, Any(descriptor, *owner == 2)),
            };
            if let Err(error) = declared {
                prop_assert_eq!(error.kind(), ErrorKind::MetricConflict);
                prop_assert_eq!(error.to_string().matches("owner-").count(), 2, "{}", error);
            }
            runtime.refresh_sources();
        }
        let snapshot = runtime.collect();
        for format in [Format::Text, Format::OpenMetrics] {
            for fold in [Fold::Group, Fold::Recorder] {
                let mut page = String::new();
                let encoded = Encoder::new(format).fold(fold).encode(&snapshot, &mut page);
                let parsed = parse(&page);
                prop_assert!(parsed.is_ok(), "{:?}\n{}", parsed.err(), page);
                prop_assert!(encoded.skipped().is_empty(), "{:?}\n{}", encoded.skipped(), page);
            }
        }
    }
}

//! A runtime in the SDK of OpenTelemetry: what its readers collect is what the snapshot shows.
#![cfg(all(feature = "opentelemetry033", not(miri)))]

use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Unit;
use mvx_metrics::bridge::opentelemetry033::RuntimeInstruments;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::InstrumentKind;
use opentelemetry_sdk::metrics::ManualReader;
use opentelemetry_sdk::metrics::Pipeline;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::AggregatedMetrics;
use opentelemetry_sdk::metrics::data::MetricData;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A reader of the SDK that the test asks.
#[derive(Clone, Debug)]
struct Asked(Arc<ManualReader>);

impl MetricReader for Asked {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }
    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }
    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// A provider with a reader of each of these.
fn sdk<const N: usize>(temporalities: [Temporality; N]) -> (SdkMeterProvider, [Asked; N]) {
    let readers = temporalities
        .map(|temporality| Asked(Arc::new(ManualReader::builder().with_temporality(temporality).build())));
    let builder = SdkMeterProvider::builder();
    let provider = readers.iter().cloned().fold(builder, |builder, reader| builder.with_reader(reader));
    (provider.build(), readers)
}

/// What is said of a metric, and its points: attributes in order, and the value as text.
type Points = BTreeMap<String, String>;

fn collected(reader: &Asked) -> BTreeMap<String, (String, Points)> {
    let mut metrics = ResourceMetrics::default();
    reader.collect(&mut metrics).unwrap();
    let all = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    let shown = all.map(|metric| {
        let (what, points) = match metric.data() {
            AggregatedMetrics::U64(data) => points("u64", data),
            AggregatedMetrics::I64(data) => points("i64", data),
            AggregatedMetrics::F64(data) => points("f64", data),
        };
        let what = format!("{what} {} {}", metric.unit(), metric.description());
        (metric.name().to_owned(), (what, points))
    });
    shown.collect()
}

fn points<T: Copy + std::fmt::Debug>(number: &str, data: &MetricData<T>) -> (String, Points) {
    match data {
        MetricData::Sum(sum) => {
            let kind = if sum.is_monotonic() { "counter" } else { "level" };
            let points = sum.data_points().map(|point| (attributes(point.attributes()), point.value()));
            (format!("{number} {kind}"), texts(points))
        }
        MetricData::Gauge(gauge) => {
            let points = gauge.data_points().map(|point| (attributes(point.attributes()), point.value()));
            (format!("{number} gauge"), texts(points))
        }
        _ => panic!("nobody makes such a metric here"),
    }
}

fn texts<T: std::fmt::Debug>(points: impl Iterator<Item = (String, T)>) -> Points {
    let mut all = Points::new();
    for (attributes, value) in points {
        assert_eq!(all.insert(attributes.clone(), format!("{value:?}")), None, "{attributes} twice");
    }
    all
}

fn attributes<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let mut all: Vec<_> = attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    all.sort();
    all.join(",")
}

fn shown(runtime: &MetricsRuntime, provider: &SdkMeterProvider) -> RuntimeInstruments {
    RuntimeInstruments::builder(runtime.reader()).vitals(false).register(provider.meter("mvx"))
}

fn told(pairs: &[(&str, &str)]) -> Points {
    pairs.iter().map(|(attributes, value)| ((*attributes).to_owned(), (*value).to_owned())).collect()
}

/// A recorder of one counter, which has counted.
fn counting(runtime: &MetricsRuntime, id: &str, events: u64) -> mvx_metrics::Recorder<Number> {
    let recorder = runtime.recorder::<Number>(id).counter("events", |c| c).create().unwrap();
    (0..events).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder
}

#[test]
fn every_number_is_collected_exactly_with_its_name_unit_help_and_labels() {
    let runtime = running("sdk");
    let recorder = runtime
        .recorder::<Number>("a \"b\"")
        .entity("disk")
        .counter("document.saves", |c| c.help("Documents.").label("zone", |n| (n.0 % 2).into()))
        .counter("document.written", |c| c.unit(Unit::Bytes).value(|_| Some((1_u64 << 53) + 1)))
        .counter("document.busy", |c| c.unit(Unit::Seconds).value(|_| Some(Duration::from_millis(100))))
        .up_down("document.open", |u| u.value(|n| Some(-(n.0 as i64))))
        .gauge("document.last", |g| g.unit(Unit::Ratio).value(|n| Some(n.0 as f64 / 3.0)))
        .state_set("disk.state", &["low", "full"], |s| s.state(|_| Some("low")))
        .info("build", |i| i.constant("version", "1.4"))
        .create()
        .unwrap();
    let (provider, [reader]) = sdk([Temporality::Cumulative]);
    let shown = shown(&runtime, &provider);
    assert_eq!((shown.len(), shown.is_empty()), (7, false));
    (0..3).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();

    let labels = "entity=disk,recorder=a \"b\"";
    let one = |value: &str| told(&[(labels, value)]);
    let of = |what: &str, points: Points| (what.to_owned(), points);
    let zones = [format!("{labels},zone=0"), format!("{labels},zone=1")];
    let states = [format!("disk_state=full,{labels}"), format!("disk_state=low,{labels}")];
    let expected: BTreeMap<String, (String, Points)> = [
        ("build.info", of("i64 level  ", told(&[(&format!("{labels},version=1.4"), "1")]))),
        ("disk.state", of("i64 level  ", told(&[(&states[0], "0"), (&states[1], "1")]))),
        ("document.busy", of("f64 counter s ", one("0.3"))),
        ("document.last", of("f64 gauge 1 ", one("0.6666666666666666"))),
        ("document.open", of("i64 level  ", one("-3"))),
        ("document.saves", of("u64 counter  Documents.", told(&[(&zones[0], "2"), (&zones[1], "1")]))),
        ("document.written", of("u64 counter By ", one("27021597764222979"))),
    ]
    .map(|(name, of)| (name.to_owned(), of))
    .into();
    assert_eq!(collected(&reader), expected);
    assert_eq!(collected(&reader), expected, "each collection has everything");
    assert_eq!(shown.left_out(), []);
}

#[test]
fn what_comes_later_is_shown_after_a_refresh_and_what_is_gone_at_once_no_more() {
    let runtime = running("sdk");
    let _one = counting(&runtime, "one", 3);
    let (provider, [reader]) = sdk([Temporality::Cumulative]);
    let shown = shown(&runtime, &provider);
    assert_eq!(collected(&reader)["events"].1, told(&[("recorder=one", "3")]));
    // A recorder more of a metric that is known, and a metric that is not.
    let _two = counting(&runtime, "two", 1);
    let more = runtime.recorder::<Number>("three").gauge("level", |g| g.value(|n| Some(n.0 as f64)));
    let more = more.create().unwrap();
    more.register_event(Number(7));
    more.flush_blocking(PATIENCE).unwrap();
    let both = told(&[("recorder=one", "3"), ("recorder=two", "1")]);
    let now = collected(&reader);
    assert_eq!((now.len(), &now["events"].1), (1, &both));
    let [late] = &shown.left_out()[..] else { panic!("{:?}", shown.left_out()) };
    assert!(late.metric() == "level" && late.series() == 1 && late.reason().contains("refresh"), "{late:?}");
    assert_eq!((shown.refresh(), shown.left_out().len(), shown.refresh()), (1, 0, 0));
    assert_eq!(collected(&reader)["level"].1, told(&[("recorder=three", "7.0")]));

    runtime.stop_and_remove("one", PATIENCE).unwrap();
    runtime.stop_and_remove("three", PATIENCE).unwrap();
    drop(more);
    let now = collected(&reader);
    assert_eq!((now.len(), &now["events"].1), (1, &told(&[("recorder=two", "1")])));
    drop(shown);
    assert_eq!(collected(&reader).len(), 0);
}

#[test]
fn an_instrument_that_the_sdk_has_otherwise_is_told() {
    let runtime = running("sdk");
    let (provider, [reader]) = sdk([Temporality::Cumulative]);
    let _zero = counting(&runtime, "zero", 1);
    let shown = RuntimeInstruments::builder(runtime.reader()).register(provider.meter("mvx"));
    let vitals = collected(&reader);
    let (name, _) =
        vitals.iter().find(|(name, (what, _))| name.starts_with("mvx.") && what.starts_with("u64")).unwrap();
    // A metric of the program's goes before one of ours.
    let recorder =
        runtime.recorder::<Number>("one").up_down(name, |u| u.value(|_| Some(1))).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!((shown.refresh(), collected(&reader).get(name)), (0, None));
    let [other] = &shown.left_out()[..] else { panic!("{:?}", shown.left_out()) };
    assert!(other.metric() == name && other.series() == 1 && other.reason().contains("rename"), "{other:?}");
}

#[test]
fn what_the_sdk_takes_from_nobody_is_told() {
    let runtime = running("sdk");
    let recorder = runtime
        .recorder::<Number>("one")
        .histogram("took", |h| h.bounds(&[1.0]).value(|n| Some(n.0 as f64)))
        .exponential_histogram("spread", |h| h.value(|n| Some(n.0 as f64)))
        .summary("wait", |s| s.value(|n| Some(n.0 as f64)))
        .average("mean", |a| a.value(|n| Some(n.0 as f64)))
        .counter("events", |c| c)
        .create()
        .unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    let (provider, [reader]) = sdk([Temporality::Cumulative]);
    let shown = shown(&runtime, &provider);
    assert_eq!(collected(&reader).into_keys().collect::<Vec<_>>(), ["events"]);
    let left_out = shown.left_out();
    let metrics: Vec<_> = left_out.iter().map(|one| (one.metric(), one.series())).collect();
    assert_eq!(metrics, [("mean", 1), ("spread", 1), ("took", 1), ("wait", 1)]);
    assert!(left_out[0].reason().contains("OTLP"), "{left_out:?}");
}

#[test]
fn sums_go_on_from_where_they_were_for_readers_of_totals_and_of_differences() {
    let runtime = running("sdk");
    let _one = counting(&runtime, "one", 5);
    let (provider, [totals, differences]) = sdk([Temporality::Cumulative, Temporality::Delta]);
    let _shown = shown(&runtime, &provider);
    let read = || [&totals, &differences].map(|reader| collected(reader)["events"].1["recorder=one"].clone());
    assert_eq!(read(), ["5", "5"]);
    assert_eq!(read(), ["5", "0"]);
    // Made again between two collections: less than before, then more, then nothing new.
    for (events, expected) in [(2, ["7", "2"]), (9, ["16", "9"])] {
        runtime.stop_and_remove("one", PATIENCE).unwrap();
        let _one = counting(&runtime, "one", events);
        assert_eq!(read(), expected);
        assert_eq!(read(), [expected[0], "0"]);
    }
}

#[test]
fn a_group_shows_every_life_and_one_that_was_away_begins_at_zero() {
    let runtime = running("sdk");
    let (provider, [reader]) = sdk([Temporality::Delta]);
    let _one = counting(&runtime, "one", 5);
    let _shown = shown(&runtime, &provider);
    assert_eq!(collected(&reader)["events"].1, told(&[("recorder=one", "5")]));
    runtime.stop_and_remove("one", PATIENCE).unwrap();
    assert_eq!(collected(&reader).len(), 0);
    let _one = counting(&runtime, "one", 3);
    assert_eq!(collected(&reader)["events"].1, told(&[("recorder=one", "3")]));

    let runtime = running("groups");
    let group = |id: &str, events: u64| {
        let recorder =
            runtime.recorder::<Number>(id).group("all").counter("grouped", |c| c).create().unwrap();
        (0..events).for_each(|n| recorder.register_event(Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
    };
    group("a", 2);
    let (provider, [reader]) = sdk([Temporality::Delta]);
    let builder = RuntimeInstruments::builder(runtime.reader()).vitals(false).fold(Fold::Group);
    let _shown = builder.register(provider.meter("mvx"));
    let read = || collected(&reader)["grouped"].1.values().next().cloned().unwrap();
    assert_eq!(read(), "2");
    group("b", 3);
    assert_eq!(read(), "3");
    runtime.stop_and_remove("a", PATIENCE).unwrap();
    assert_eq!(read(), "0");
    group("a", 4);
    assert_eq!(read(), "4");
}

#[test]
fn one_collection_shows_one_snapshot_and_a_runtime_that_is_gone_nothing() {
    let runtime = running("sdk");
    let recorder =
        runtime.recorder::<Number>("one").counter("first", |c| c).counter("last", |c| c).create().unwrap();
    let (provider, [reader]) = sdk([Temporality::Cumulative]);
    let _shown = shown(&runtime, &provider);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut numbers = 0..;
            while !over.load(Ordering::Acquire) {
                recorder.register_event(Number(numbers.next().unwrap()));
            }
        });
        let _over = Over(&over);
        let mut seen = BTreeSet::new();
        until("many states are collected", || {
            let mut now = collected(&reader);
            let (first, last) = (now.remove("first"), now.remove("last"));
            assert_eq!(first, last);
            seen.extend(first.and_then(|(_, points)| points.into_values().next()));
            seen.len() > 200
        });
    });
    let reader_of_runtime = runtime.reader();
    runtime.shutdown(PATIENCE).unwrap();
    drop((runtime, recorder));
    until("it is gone", || reader_of_runtime.collect().is_none());
    assert_eq!(collected(&reader).len(), 0);
}

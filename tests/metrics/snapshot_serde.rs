//! Snapshots through serde and back, and what is refused on the way in.
#![cfg(all(feature = "testing", feature = "serde"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::FamilyWriter;
use mvx_metrics::FieldName;
use mvx_metrics::Fold;
use mvx_metrics::GaugeFold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::Metric;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricSet;
use mvx_metrics::Number;
use mvx_metrics::RemovedSeries;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Snapshot;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use mvx_metrics::Unit;
use mvx_metrics::Verdict;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
struct Seen {
    label: String,
    float: f64,
    whole: u64,
    time: Duration,
}

impl MetricEvent for Seen {
    fn event_type(&self) -> &'static str {
        "seen"
    }
}

/// A metric of free fields, integers beyond 2^53 among them.
struct Fields(Arc<Descriptor>, u64);

impl Metric<Seen> for Fields {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.0
    }

    fn handle_event(&mut self, event: &Seen, _context: &Context) -> Verdict {
        self.1 = event.whole;
        Verdict::Accepted
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        for (name, number) in [
            ("unsigned", Number::U64(self.1)),
            ("signed", Number::I64(-(self.1 as i64 >> 1))),
            ("float", Number::F64(0.1)),
        ] {
            writer.field(&FieldName::new(name).unwrap(), number);
        }
    }
}

fn everything() -> MetricSet<Seen> {
    MetricSet::<Seen>::new()
        .counter("count", |c| c.label("l", |e| (&e.label).into()).cardinality(3).value(|e| Some(e.whole)))
        .counter("spent", |c| c.unit(Unit::Seconds).label("l", |e| (&e.label).into()).value(|e| Some(e.time)))
        .counter("sum", |c| c.value(|e| Some(e.float.abs())))
        .gauge("level", |g| g.label("l", |e| (&e.label).into()).value(|e| Some(e.float)))
        .min("least", |m| m.value(|e| Some(e.float)))
        .last("last", |m| m.value(|e| Some(e.float)))
        .up_down("rise", |u| u.value(|e| Some(if e.float < 0.0 { i64::MIN / 64 } else { 1 })))
        .histogram("size", |h| {
            h.bounds(&[-1.5, 0.1, 1e9]).label("l", |e| (&e.label).into()).value(|e| Some(e.float))
        })
        .histogram("time", |h| h.unit(Unit::Seconds).value(|e| Some(e.time)))
        .exponential_histogram("spread", |h| h.label("l", |e| (&e.label).into()).value(|e| Some(e.float)))
        .exponential_histogram("spread.fine", |h| h.value(|e| Some(e.float)))
        .average("mean", |a| a.unit(Unit::custom("By/s").unwrap()).value(|e| Some(e.float)))
        .summary("quantiles", |s| s.digits(3).quantiles(&[0.25, 1.0]).value(|e| Some(e.float)))
        .windowed_summary("recent", |s| s.window(Duration::from_secs(10)).slots(5).value(|e| Some(e.float)))
        .rate("rate", |r| r.window(Duration::from_secs(6)).slots(3).label("l", |e| (&e.label).into()))
        .heartbeat("beat", |h| h.help("When \"it\" was\nlast seen."))
        .info("about", |i| i.constant("version", "1").label("l", |e| (&e.label).into()))
        .state_set("mood", &["good", "bad"], |s| {
            s.state(|e| Some(if e.float < 0.0 { "bad" } else { "good" }))
        })
        .metric(Fields(Descriptor::builder("free", Kind::Fields).build().unwrap(), 0))
}

fn seen() -> impl Strategy<Value = Seen> {
    let label = prop_oneof!["[a-c]", Just(String::new()), ".{0,12}", Just("\u{0}\"\\\n\u{7f}ü🦀".to_owned())];
    let float = prop_oneof![
        -1e3..1e3_f64,
        Just(-0.0),
        Just(f64::MIN_POSITIVE / 8.0),
        Just(1e300),
        Just(0.1),
        any::<f64>()
    ];
    let nanos = prop_oneof![0..5_000_000_000_u64, Just(u64::MAX)];
    (label, float, any::<u64>(), nanos).prop_map(|(label, float, whole, nanos)| Seen {
        label,
        float,
        whole,
        time: Duration::from_nanos(nanos),
    })
}

fn through<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn same(one: &Snapshot, other: &Snapshot) {
    assert_eq!((one.id(), one.entity(), one.epoch()), (other.id(), other.entity(), other.epoch()));
    assert_eq!(one.constant_labels(), other.constant_labels());
    assert_eq!(
        (one.version(), one.sequence(), one.taken_at()),
        (other.version(), other.sequence(), other.taken_at())
    );
    assert_eq!((one.state(), one.accounts()), (other.state(), other.accounts()));
    assert_eq!(one.quarantined_observers(), other.quarantined_observers());
    assert_eq!(one.metrics().count(), other.metrics().count());
    for (one, other) in one.metrics().zip(other.metrics()) {
        assert_eq!(one.family().descriptor(), other.family().descriptor());
        assert_eq!(one.family(), other.family());
        let counts =
            |family: &mvx_metrics::Family| (family.overflowed(), family.saturated(), family.faults());
        assert_eq!(counts(one.family()), counts(other.family()));
        assert_eq!((one.tally(), one.is_removed()), (other.tally(), other.is_removed()));
        assert_eq!(one.is_quarantined(), other.is_quarantined());
    }
}

fn shown(snapshot: &RuntimeSnapshot) -> String {
    format!(
        "{:?}",
        [Fold::Recorder, Fold::Group].map(|fold| (
            snapshot.families(fold),
            snapshot.vitals(),
            snapshot.cardinality()
        ))
    )
}

proptest! {
    #[test]
    fn whatever_a_recorder_measures_comes_back_to_the_last_bit(
        events in proptest::collection::vec((seen(), 0..3_000_u64), 0..40),
    ) {
        let mut runtime = SteppedRuntime::new("exact").unwrap();
        let recorder = runtime
            .recorder::<Seen>("one")
            .entity("ent \"ity\"")
            .constant_label("zone", "z\n")
            .group("g ü")
            .metrics(everything())
            .create()
            .unwrap();
        for (event, pause) in events {
            recorder.register_event(event);
            runtime.settle();
            runtime.clock().advance(Duration::from_millis(pause));
        }
        let snapshot = recorder.snapshot();
        same(&through(&snapshot), &snapshot);
        let whole = runtime.runtime().collect();
        prop_assert_eq!(shown(&through(&whole)), shown(&whole));
    }
}

struct Disk(Arc<Descriptor>);

impl Source for Disk {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        vec![Arc::clone(&self.0)]
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        if let Some(mut family) = writer.family(&self.0) {
            family.gauge(&LabelSet::new([("mount", "/")]).unwrap(), 1.5);
        }
    }
}

/// A runtime with everything that it can show: groups, removed recorders and metrics, sources.
fn program() -> RuntimeSnapshot {
    let runtime = mvx_metrics::MetricsRuntime::builder("whole").constant_label("stage", "s").build().unwrap();
    runtime.start().unwrap();
    let event = |whole| Seen { label: "x".into(), float: 0.5, whole, time: Duration::from_nanos(3) };
    for id in ["gone", "stays", "stopped"] {
        let recorder = runtime.recorder::<Seen>(id).group("disks").metrics(everything()).create().unwrap();
        (0..3).for_each(|whole| recorder.register_event(event(whole)));
        recorder.flush_blocking(PATIENCE).unwrap();
        recorder.remove_metric("mean", RemovedSeries::Kept).wait(PATIENCE).unwrap();
        recorder.remove_metric("sum", RemovedSeries::Dropped).wait(PATIENCE).unwrap();
    }
    runtime.stop_and_remove("gone", PATIENCE).unwrap();
    runtime.get::<Seen>("stopped").unwrap().stop().wait(PATIENCE).unwrap();
    let free = Descriptor::builder("disk.free", Kind::Gauge)
        .label("mount")
        .gauge_fold(GaugeFold::Min)
        .build()
        .unwrap();
    runtime.add_source("disk", Duration::from_secs(1), Disk(free)).unwrap();
    runtime.refresh_sources();
    runtime.collect()
}

#[test]
fn a_whole_runtime_comes_back_with_its_groups_totals_and_sources() {
    let snapshot = program();
    let read = through(&snapshot);
    assert_eq!(shown(&read), shown(&snapshot));
    assert_eq!(
        (read.namespace(), read.started(), read.taken_at()),
        ("whole", snapshot.started(), snapshot.taken_at())
    );
    assert_eq!(read.constant_labels(), snapshot.constant_labels());
    for (one, other) in read.recorders().zip(snapshot.recorders()) {
        same(one, other);
    }
    assert!(shown(&read).contains("disk.free") && shown(&read).contains("mvx.sources.runs"));
}

/// The document with one value replaced, by its path.
fn broken(document: &Value, path: &str, value: Value) -> String {
    let mut document = document.clone();
    *document.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
    document.to_string()
}

#[test]
fn what_no_recorder_could_have_shown_is_refused_with_a_reason() {
    let runtime = running("broken");
    let recorder = runtime.recorder::<Seen>("one").metrics(everything()).create().unwrap();
    for (label, float) in [("x", 0.5), ("y", -3.0), ("z", 2.0), ("w", 1.0)] {
        let time = Duration::from_millis(1);
        recorder.register_event(Seen { label: label.into(), float, whole: 1, time });
    }
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    let document = serde_json::to_value(&snapshot).unwrap();
    let place =
        |name: &str| snapshot.metrics().position(|metric| metric.family().name().as_str() == name).unwrap();
    let at = |name: &str, rest: &str| format!("/metrics/{}/family/{rest}", place(name));
    let of = |name: &str, rest: &str| at(name, &format!("series/0/value/{rest}"));
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let cases = [
        ("/format".to_owned(), json("2"), "format 2"),
        ("/id".to_owned(), json("\" \""), "blank"),
        ("/constant_labels".to_owned(), json(r#"[["l","x"]]"#), "constant label"),
        ("/constant_labels".to_owned(), json(r#"[["recorder","x"]]"#), "reserved"),
        ("/state".to_owned(), json("\"asleep\""), "asleep"),
        ("/sequence".to_owned(), json("-1"), "-1"),
        (at("count", "metric/name"), json("\"a b\""), "a b"),
        (at("count", "metric/name"), json("\"spent\""), "twice"),
        (at("count", "metric/kind"), json("\"gauge\""), "another kind"),
        (at("count", "metric/kind"), json("\"odd\""), "odd"),
        (at("count", "metric/unit"), json("\"a b\""), "unit"),
        (at("count", "metric/cardinality"), json("0"), "out of range"),
        (at("count", "metric/labels"), json("[]"), "label values"),
        (at("count", "metric/labels"), json(r#"["le"]"#), "reserved"),
        (at("count", "series/1/labels/0"), json("\"x\""), "two series"),
        (at("count", "series/1/labels"), json("[]"), "label values"),
        (at("count", "series/1/overflow"), json("true"), "overflow"),
        (at("count", "series/3/labels"), json(r#"["v"]"#), "overflow"),
        (at("count", "series/0/labels/0"), Value::from("v".repeat(1_025)), "1024 bytes"),
        (of("count", "counter"), json("-1"), "-1"),
        (of("count", "counter"), json("1.5"), "1.5"),
        (of("sum", "float_counter/parts"), json("[-1.0]"), "below zero"),
        (of("sum", "float_counter/parts"), json("[1e308]"), "out of range"),
        (of("sum", "float_counter/parts"), json("[null]"), "null"),
        (of("size", "histogram/buckets"), json("[1,2,3]"), "do not fit"),
        (of("size", "histogram/moments/extremes"), json("[2.0,1.0]"), "extremes"),
        (at("size", "metric/bounds"), json("[1.0,0.0,2.0]"), "rise"),
        (of("spread", "exponential/scale"), json("21"), "scale"),
        (of("spread", "exponential/positive"), json("[[0,1],[1,0]]"), "nothing in it"),
        (of("spread", "exponential/positive"), json("[[1,1],[1,1]]"), "do not rise"),
        (of("spread", "exponential/positive"), json("[[0,1],[160,1]]"), "more buckets"),
        (of("spread", "exponential/positive"), json("[[-2147483648,1],[2147483647,1]]"), "more buckets"),
        (of("spread", "exponential/moments/extremes"), json("null"), "extremes"),
        (at("spread", "metric/max_buckets"), json("1"), "out of range"),
        (at("quantiles", "metric/digits"), json("9"), "digits"),
        (at("quantiles", "metric/quantiles"), json("[2.0]"), "2"),
        (at("recent", "metric/slots"), json("0"), "slots"),
        (of("recent", "windowed_summary/slots/0/0"), json("0"), "stretch"),
        (
            of("rate", "rate"),
            json(
                r#"[[3,{"count":1,"sum":{"parts":[],"nanos":[0,0]}}],[6,{"count":1,"sum":{"parts":[],"nanos":[0,0]}}]]"#,
            ),
            "twice",
        ),
        (of("mood", "state_set"), json("4"), "state"),
        (at("mood", "metric/states"), json(r#"["good","good"]"#), "good"),
        (of("free", "fields/1/0"), json("\"unsigned\""), "twice"),
        (of("free", "fields/0/0"), json("\"\""), "field"),
    ];
    assert!(serde_json::from_value::<Snapshot>(document.clone()).is_ok());
    for (path, value, reason) in cases {
        let error = serde_json::from_str::<Snapshot>(&broken(&document, &path, value.clone())).unwrap_err();
        assert!(error.to_string().contains(reason), "{path} as {value}: {error}");
    }
}

#[test]
fn what_no_runtime_could_have_shown_is_refused_with_a_reason() {
    let document = serde_json::to_value(program()).unwrap();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let gone = document["gone"].as_array().unwrap();
    let place = gone.iter().position(|kept| kept[1]["metric"]["name"] == "count").unwrap();
    let twice = Value::Array([gone.as_slice(), &gone[place..=place]].concat());
    let mut gauge = gone.clone();
    gauge[place][1] = document["read"][0].clone();
    let cases = [
        ("/format".to_owned(), json("0"), "format 0"),
        ("/namespace".to_owned(), json("\"\""), "blank"),
        ("/gone".to_owned(), twice, "twice"),
        ("/gone".to_owned(), Value::Array(gauge), "what is gone"),
        (format!("/gone/{place}/1/metric/labels"), json(r#"["k"]"#), "two shapes"),
        ("/constant_labels".to_owned(), json(r#"[["mount","x"]]"#), "constant label of the runtime"),
        (
            "/recorders/0/constant_labels".to_owned(),
            json(r#"[["stage","x"]]"#),
            "constant label of the runtime",
        ),
        ("/read/0/metric/name".to_owned(), json("\"count\""), "two shapes"),
        ("/recorders/1/metrics/0/family/metric/unit".to_owned(), json("\"By\""), "two shapes"),
    ];
    for (path, value, reason) in cases {
        let error =
            serde_json::from_str::<RuntimeSnapshot>(&broken(&document, &path, value.clone())).unwrap_err();
        assert!(error.to_string().contains(reason), "{path} as {value}: {error}");
    }
}

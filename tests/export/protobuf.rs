//! Prometheus's protobuf format: read by the messages of its definition, it says what the snapshot shows; and Prometheus itself scrapes it, native
//! histograms included.
#![cfg(all(feature = "prometheus", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::ExponentialRef;
use mvx_metrics::FamilyWriter;
use mvx_metrics::FieldName;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Unit;
use mvx_metrics::Verdict;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Escaping;
use mvx_metrics::export::prometheus::Format;
use mvx_metrics::export::prometheus::ProtobufEncoder;
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The messages of the format, written down from their definition.
#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, optional, tag = "5")]
    unit: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Pair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    quantile: Vec<Quantile>,
    #[prost(message, optional, tag = "4")]
    created: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct Quantile {
    #[prost(double, optional, tag = "1")]
    quantile: Option<f64>,
    #[prost(double, optional, tag = "2")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "9")]
    negative_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "10")]
    negative_delta: Vec<i64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    below: Option<u64>,
    #[prost(double, optional, tag = "2")]
    bound: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

fn encoded(snapshot: &RuntimeSnapshot) -> Vec<MetricFamily> {
    escaped(snapshot, Escaping::default())
}

fn escaped(snapshot: &RuntimeSnapshot, escaping: Escaping) -> Vec<MetricFamily> {
    let mut body = Vec::new();
    let written = ProtobufEncoder::new().escaping(escaping).vitals(false).encode(snapshot, &mut body);
    assert_eq!(written.omitted(), []);
    let (mut left, mut families) = (&body[..], Vec::new());
    while !left.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut left).unwrap());
    }
    assert_eq!(written.series() as usize, families.iter().map(|family| family.metric.len()).sum::<usize>());
    families
}

type Key = (String, BTreeMap<String, String>);

/// Every sample that the text format would have; native histograms by their counts and sums.
fn samples(families: &[MetricFamily]) -> BTreeMap<Key, f64> {
    let mut all = BTreeMap::new();
    for family in families {
        let name = family.name.clone().unwrap();
        for metric in &family.metric {
            let labels: BTreeMap<_, _> = metric
                .label
                .iter()
                .map(|pair| (pair.name.clone().unwrap(), pair.value.clone().unwrap()))
                .collect();
            let mut enter = |suffix: &str, extra: Option<(&str, String)>, value: f64| {
                let mut labels = labels.clone();
                labels.extend(extra.map(|(key, value)| (key.to_owned(), value)));
                assert!(all.insert((format!("{name}{suffix}"), labels), value).is_none());
            };
            match (&metric.gauge, &metric.counter, &metric.summary, &metric.histogram, family.kind) {
                (Some(gauge), None, None, None, Some(1)) => enter("", None, gauge.value.unwrap()),
                (None, Some(counter), None, None, Some(0)) => {
                    assert!(counter.created.is_some());
                    enter("", None, counter.value.unwrap());
                }
                (None, None, Some(summary), None, Some(2)) => {
                    enter("_count", None, summary.count.unwrap() as f64);
                    enter("_sum", None, summary.sum.unwrap());
                    for quantile in &summary.quantile {
                        let of = quantile.quantile.unwrap().to_string();
                        enter("", Some(("quantile", of)), quantile.value.unwrap());
                    }
                }
                (None, None, None, Some(histogram), Some(4)) => {
                    enter("_count", None, histogram.count.unwrap() as f64);
                    enter("_sum", None, histogram.sum.unwrap());
                    for bucket in &histogram.bucket {
                        let bound = bucket.bound.unwrap();
                        let bound =
                            if bound == f64::INFINITY { "+Inf".to_owned() } else { bound.to_string() };
                        enter("_bucket", Some(("le", bound)), bucket.below.unwrap() as f64);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    all
}

/// The same of the text format; of exponential histograms only counts and sums.
fn expected(snapshot: &RuntimeSnapshot) -> BTreeMap<Key, f64> {
    in_text(snapshot, Escaping::default())
}

fn in_text(snapshot: &RuntimeSnapshot, escaping: Escaping) -> BTreeMap<Key, f64> {
    let mut text = String::new();
    let _ = Encoder::new(Format::Text).escaping(escaping).vitals(false).encode(snapshot, &mut text);
    let exposition = crate::parser::parse(&text).unwrap();
    let samples = exposition.samples.iter().filter(|sample| sample.name != "sizes_bytes_bucket");
    samples
        .map(|sample| {
            let mut labels = sample.labels();
            for key in ["le", "quantile"] {
                if let Some(bound) = labels.get_mut(key).filter(|bound| *bound != "+Inf") {
                    *bound = bound.parse::<f64>().unwrap().to_string();
                }
            }
            ((sample.name.clone(), labels), sample.value)
        })
        .collect()
}

fn everything(runtime: &MetricsRuntime) {
    for id in ["left", "right \"\\"] {
        let recorder = runtime
            .recorder::<Number>(id)
            .entity("disk")
            .counter("saves", |c| {
                c.help("Documents\n\"saved\".").label("zone", |n| (n.0 % 3).into()).cardinality(2)
            })
            .counter("written", |c| c.unit(Unit::Bytes).value(|n| Some(n.0 << 40)))
            .counter("busy", |c| c.unit(Unit::Seconds).value(|n| Some(Duration::from_nanos(n.0))))
            .up_down("open", |u| u.value(|n| Some(-(n.0 as i64))))
            .gauge("level", |g| g.value(|n| Some(-0.1 * n.0 as f64)))
            .histogram("took", |h| {
                h.unit(Unit::Seconds)
                    .bounds(&[0.5, 1.0, 2.5])
                    .label("zone", |n| (n.0 % 2).into())
                    .value(|n| Some(n.0 as f64 / 3.0))
            })
            .exponential_histogram("sizes", |h| h.unit(Unit::Bytes).value(|n| Some(n.0 as f64 * 1.5 - 4.5)))
            .average("mean", |a| a.value(|n| Some(n.0 as f64)))
            .summary("wait", |s| {
                s.unit(Unit::Seconds).quantiles(&[0.5, 0.99]).value(|n| Some(n.0 as f64 / 7.0))
            })
            .windowed_summary("wait.lately", |s| {
                s.window(Duration::from_secs(3_600)).slots(4).value(|n| Some(n.0 as f64 - 9.0))
            })
            .info("build", |i| i.constant("version", "1.4").label("last", |n| n.0.into()))
            .state_set("state", &["low", "high"], |s| {
                s.label("zone", |n| (n.0 % 2).into()).state(|n| Some(if n.0 < 10 { "low" } else { "high" }))
            })
            .rate("rate", |r| r.window(Duration::from_secs(3_600)))
            .heartbeat("silence", |h| h)
            .create()
            .unwrap();
        (0..20).for_each(|n| recorder.register_event(Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
    }
}

#[test]
fn every_sample_is_the_one_of_the_text_format() {
    let runtime = running("samples");
    everything(&runtime);
    let snapshot = runtime.collect();
    let families = encoded(&snapshot);
    let all = samples(&families);
    assert_eq!(all, expected(&snapshot));
    let quantiles = all.keys().filter(|(_, labels)| labels.contains_key("quantile")).count();
    assert_eq!(quantiles, 2 * 2 + 3 * 2, "two of one summary, three of the other, for each recorder");
    assert!(all.len() > 40, "{}", all.len());
    let saves = families.iter().find(|family| family.name.as_deref() == Some("saves_total")).unwrap();
    assert_eq!((saves.help.as_deref(), saves.kind), (Some("Documents\n\"saved\"."), Some(0)));
    let took = families.iter().find(|family| family.name.as_deref() == Some("took_seconds")).unwrap();
    assert_eq!(took.unit.as_deref(), Some("seconds"));
    let started = took.metric[0].histogram.as_ref().unwrap().created.clone().unwrap();
    let nanos = started.seconds as u64 * 1_000_000_000 + started.nanos as u64;
    let of_snapshot = snapshot.families(Fold::Recorder);
    let took = of_snapshot.iter().find(|family| family.descriptor().name().as_str() == "took").unwrap();
    assert_eq!(took.parts()[0].family().series().next().unwrap().started().unix_nanos(), nanos);
}

#[test]
fn names_are_those_of_the_text_format_by_every_escaping() {
    let runtime = running("escaped");
    let field = Descriptor::builder("custom.one", Kind::Fields).build().unwrap();
    let recorder = runtime
        .recorder::<Number>("one")
        .metric(Custom(field))
        .counter("document.saves", |c| c.label("user_id", |n| n.0.into()).cardinality(2))
        .gauge("free_space.left", |g| g.unit(Unit::Bytes).value(|n| Some(n.0)))
        .histogram("save.took", |h| h.unit(Unit::Seconds).bounds(&[0.5]).value(|n| Some(n.0 as f64)))
        .average("queue.depth", |a| a.value(|n| Some(n.0 as f64)))
        .create()
        .unwrap();
    (1..5).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = runtime.collect();
    for (escaping, name, key) in [
        (Escaping::Underscores, "document_saves_total", "otel_metric_overflow"),
        (Escaping::AllowUtf8, "document.saves_total", "otel.metric.overflow"),
        (Escaping::Dots, "document_dot_saves__total", "otel_dot_metric_dot_overflow"),
        (Escaping::Values, "U__document_2e_saves__total", "U__otel_2e_metric_2e_overflow"),
    ] {
        let all = samples(&escaped(&snapshot, escaping));
        assert_eq!(all, in_text(&snapshot, escaping), "{escaping:?}");
        assert!(all.keys().any(|(known, labels)| known == name && labels.contains_key(key)), "{all:?}");
    }
}

/// Shows one field.
struct Custom(Arc<Descriptor>);

impl mvx_metrics::Metric<Number> for Custom {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.0
    }
    fn handle_event(&mut self, _: &Number, _: &Context) -> Verdict {
        Verdict::Accepted
    }
    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        writer.labelled_field(&LabelSet::empty(), &FieldName::new("field").unwrap(), 1_u64);
    }
}

/// Prometheus refuses the whole scrape over a unit that the name does not end in.
#[test]
fn a_unit_is_told_only_where_the_name_ends_in_it() {
    let runtime = running("units");
    let custom = Descriptor::builder("custom", Kind::Fields).unit(Unit::Seconds).build().unwrap();
    let recorder = runtime
        .recorder::<Number>("one")
        .metric(Custom(custom))
        .gauge("seconds", |g| g.unit(Unit::Seconds).value(|n| Some(n.0)))
        .counter("busy", |c| c.unit(Unit::Seconds).value(|n| Some(n.0)))
        .create()
        .unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    let families = encoded(&runtime.collect());
    let units: Vec<_> =
        families.iter().map(|family| (family.name.as_deref().unwrap(), family.unit.as_deref())).collect();
    assert_eq!(
        units,
        [("busy_seconds_total", Some("seconds")), ("custom_seconds_field", None), ("seconds", None)]
    );
    let mut text = String::new();
    let _ = Encoder::new(Format::OpenMetrics).vitals(false).encode(&runtime.collect(), &mut text);
    let units: Vec<_> = text.lines().filter(|line| line.starts_with("# UNIT")).collect();
    assert_eq!(units, ["# UNIT busy_seconds seconds"]);
}

/// Prometheus takes a whole family for what its first series is.
#[test]
fn a_family_is_native_as_a_whole_or_not_at_all() {
    let runtime = running("mixed");
    let recorder = runtime
        .recorder::<Value>("one")
        .exponential_histogram("values", |h| {
            h.max_buckets(3).label("wide", |v| (v.0 != 1.0).into()).value(|v| Some(v.0))
        })
        .create()
        .unwrap();
    for value in [1.0, 1e-300, 1e300] {
        recorder.register_event(Value(value));
    }
    recorder.flush_blocking(PATIENCE).unwrap();
    let families = encoded(&runtime.collect());
    let [narrow, wide] = &families[0].metric[..] else { panic!("{families:?}") };
    for histogram in [narrow, wide].map(|metric| metric.histogram.as_ref().unwrap()) {
        assert_eq!((histogram.schema, histogram.positive_span.len()), (None, 0));
        assert_eq!(histogram.bucket.last().unwrap().below, histogram.count);
    }
}

/// The buckets of spans and deltas, by Prometheus's number.
fn spread(spans: &[Span], deltas: &[i64]) -> BTreeMap<i64, i64> {
    let (mut all, mut index, mut count, mut deltas) = (BTreeMap::new(), 0_i64, 0_i64, deltas.iter());
    for span in spans {
        index += i64::from(span.offset.unwrap());
        for _ in 0..span.length.unwrap() {
            count += deltas.next().unwrap();
            assert!(count >= 0);
            if count > 0 {
                all.insert(index, count);
            }
            index += 1;
        }
    }
    assert!(deltas.next().is_none());
    all
}

/// The same of ours: bucket `i` begins above base^i, and Prometheus's of that number ends there.
fn ours(buckets: mvx_metrics::ExponentialBuckets<'_>) -> BTreeMap<i64, i64> {
    buckets
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(index, count)| (i64::from(index) + 1, count as i64))
        .collect()
}

#[derive(Clone, Copy)]
struct Value(f64);

impl MetricEvent for Value {
    fn event_type(&self) -> &'static str {
        "value"
    }
}

struct Named(String);

impl MetricEvent for Named {
    fn event_type(&self) -> &'static str {
        "named"
    }
}

/// Shows what comes of an exponential histogram of these values, beside what it is.
fn native(values: &[f64], threshold: f64, buckets: u32, look: impl FnOnce(&Histogram, ExponentialRef<'_>)) {
    let runtime = running("native");
    let recorder = runtime
        .recorder::<Value>("one")
        .exponential_histogram("values", |h| {
            h.zero_threshold(threshold).max_buckets(buckets).value(|v| Some(v.0))
        })
        .create()
        .unwrap();
    values.iter().for_each(|value| crate::support::insist(&recorder, Value(*value)));
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = runtime.collect();
    let families = encoded(&snapshot);
    let of_snapshot = snapshot.families(Fold::Recorder);
    let series = of_snapshot[0].parts()[0].family().series().next().unwrap();
    look(families[0].metric[0].histogram.as_ref().unwrap(), series.value().exponential().unwrap());
}

#[test]
fn scales_that_prometheus_has_not_are_merged_or_told_with_explicit_buckets() {
    // One value: the finest of our scales.
    native(&[1.5, 1.5], 0.0, 160, |sent, held| {
        assert!(held.scale() > 8);
        let held = held.at_scale(8);
        assert_eq!((sent.schema, sent.count), (Some(8), Some(2)));
        assert_eq!(spread(&sent.positive_span, &sent.positive_delta), ours(held.positive()));
    });
    // The whole range in very few buckets.
    native(&[1e-300, 1.0, 1e300], 0.0, 3, |sent, held| {
        assert!(held.scale() < -4, "{}", held.scale());
        assert_eq!((sent.schema, sent.count, sent.bucket.last().unwrap().below), (None, Some(3), Some(3)));
        assert!(sent.bucket.len() > 1 && sent.positive_span.is_empty());
    });
    // Zeros alone.
    native(&[0.0, 0.0], 0.25, 160, |sent, _| {
        assert_eq!((sent.zero_count, sent.zero_threshold), (Some(2), Some(0.25)));
        assert_eq!(sent.positive_span, [Span { offset: Some(0), length: Some(0) }], "known to be native");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_and_deltas_come_to_the_same_buckets(
        values in prop::collection::vec(prop_oneof![-1e3..1e3_f64, -1.0..1.0_f64, 1e-9..1e9_f64, Just(0.0), Just(7.0)], 1..200),
        threshold in prop_oneof![Just(0.0), Just(0.5)],
        buckets in 20..200_u32,
    ) {
        native(&values, threshold, buckets, |sent, held| {
            let held = held.at_scale(held.scale().min(8));
            assert_eq!((sent.count, sent.schema), (Some(values.len() as u64), Some(held.scale())));
            assert_eq!((sent.sum, sent.zero_count, sent.zero_threshold), (Some(held.sum()), Some(held.zero_count()), Some(held.zero_threshold())));
            assert_eq!(spread(&sent.positive_span, &sent.positive_delta), ours(held.positive()));
            assert_eq!(spread(&sent.negative_span, &sent.negative_delta), ours(held.negative()));
            assert!(sent.bucket.is_empty());
        });
    }

    #[test]
    fn whatever_stands_in_labels_reads_back_equal(text in "\\PC{0,20}|[\\x00-\\x20\"\\\\{},=#]{0,8}") {
        let runtime = running("labels");
        let recorder = runtime.recorder::<Named>("one").counter("events", |c| c.label("text", |n| (&n.0).into())).create().unwrap();
        recorder.register_event(Named(text.clone()));
        recorder.flush_blocking(PATIENCE).unwrap();
        let families = encoded(&runtime.collect());
        let label = families[0].metric[0].label.iter().find(|pair| pair.name.as_deref() == Some("text"));
        prop_assert_eq!(label.and_then(|pair| pair.value.clone()).unwrap_or_default(), text);
    }
}

/// The real one.
#[cfg(all(target_os = "linux", feature = "http"))]
mod prometheus {
    use super::*;
    use crate::support::until;
    use mvx_metrics::http::HttpServer;
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpListener;
    use std::net::TcpStream;
    use std::process::Child;
    use std::process::Command;
    use std::process::Stdio;

    /// A child that is ended with the test.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn query(port: u16, query: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
            write!(stream, "GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            serde_json::from_str::<serde_json::Value>(answer.split_once("\r\n\r\n")?.1).ok()
        };
        let series = ask().unwrap_or_default()["data"]["result"].as_array().cloned().unwrap_or_default();
        let one = |series: serde_json::Value| {
            let labels: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone()).unwrap();
            (labels, series["value"][1].as_str().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN))
        };
        series.into_iter().map(one).collect()
    }

    #[test]
    fn prometheus_itself_scrapes_every_value_and_native_histograms() {
        let there =
            Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if there.is_err() {
            let printed = writeln!(
                std::io::stderr(),
                "NOT CHECKED IN PART: Prometheus scrapes protobuf; to get it: apt-get install prometheus"
            );
            assert!(printed.is_ok());
            return;
        }
        let runtime = running("scraped");
        everything(&runtime);
        let server = HttpServer::builder(runtime.reader()).vitals(false).start().unwrap();
        let target = server.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - {{job_name: pb, static_configs: [{{targets: ['{target}']}}]}}\n"
        );
        std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("prometheus");
        command.current_dir(dir.path()).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--log.level=error",
        ]);
        command
            .args(["--enable-feature=native-histograms"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let _prometheus = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("it has scraped", || query(port, "up{job=\"pb\"}").iter().any(|(_, value)| *value == 1.0));

        // All but the native histogram, which is one series there.
        let held: BTreeMap<Key, f64> = query(port, "{job=\"pb\",recorder!=\"\",__name__!=\"sizes_bytes\"}")
            .into_iter()
            .map(|(mut labels, value)| {
                let name = labels.remove("__name__").unwrap();
                labels.retain(|key, _| key != "job" && key != "instance");
                if let Some(bound) = labels.get_mut("le") {
                    if bound != "+Inf" {
                        *bound = bound.parse::<f64>().unwrap().to_string();
                    }
                }
                ((name, labels), value)
            })
            .collect();
        let snapshot = runtime.collect();
        let shown: BTreeMap<Key, f64> =
            expected(&snapshot).into_iter().filter(|((name, _), _)| !name.starts_with("sizes")).collect();
        // It was another time when it was scraped.
        let steady = |all: BTreeMap<Key, f64>| -> BTreeMap<Key, f64> {
            all.into_iter().filter(|((name, _), _)| name != "silence_seconds").collect()
        };
        assert_eq!(held.len(), shown.len());
        assert_eq!(steady(held), steady(shown));

        let families = snapshot.families(Fold::Recorder);
        let sizes = families.iter().find(|family| family.descriptor().name().as_str() == "sizes").unwrap();
        let sizes = sizes.parts()[0].family().series().next().unwrap().value().exponential().unwrap();
        let of_left = |function: &str| {
            query(port, &format!("{function}(sizes_bytes{{recorder=\"left\"}})"))
                .pop()
                .map(|(_, value)| value)
        };
        assert_eq!(of_left("histogram_count"), Some(sizes.count() as f64));
        assert_eq!(of_left("histogram_sum"), Some(sizes.sum()));
        let quantile =
            query(port, "histogram_quantile(0.9, sizes_bytes{recorder=\"left\"})").pop().unwrap().1;
        let ours = sizes.quantile(0.9).unwrap();
        assert!((quantile / ours - 1.0).abs() < 0.2, "{quantile} against {ours}");
    }
}

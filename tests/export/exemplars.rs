//! Exemplars in every format that has them: those of the snapshot, and sent no more than once where a receiver keeps them.
#![cfg(all(feature = "testing", feature = "otlp", feature = "remote-write", feature = "json", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use crate::server::Received;
use crate::server::Reply;
use crate::server::Server;
use crate::server::answer;
use crate::server::ok;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::ExemplarLabels;
use mvx_metrics::Fold;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::otlp::OtlpExporter;
use mvx_metrics::export::otlp::Temporality;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use mvx_metrics::export::prometheus::ProtobufEncoder;
use mvx_metrics::export::remote_write::RemoteWriteExporter;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::Exemplar as Told;
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as ToldValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// A value, and the trace that it is of; 0 for none.
pub struct Served(f64, u128);

impl MetricEvent for Served {
    fn event_type(&self) -> &'static str {
        "served"
    }
}

fn tell(event: &Served, labels: &mut ExemplarLabels) {
    labels.trace(event.1, event.1 as u64);
    if event.1 != 0 {
        labels.label("note", "\"é\\\n");
    }
}

pub fn recorder(runtime: &MetricsRuntime, id: &str) -> Recorder<Served> {
    runtime
        .recorder::<Served>(id)
        .counter("served", |c| c.exemplar(tell))
        .counter("time", |c| c.value(|e| Some(e.0)).exemplar(tell))
        .histogram("lasted", |h| h.bounds(&[1.0, 2.0]).value(|e| Some(e.0)).exemplar(tell))
        .exponential_histogram("spread", |h| h.value(|e| Some(e.0)).exemplar(tell))
        .gauge("level", |g| g.value(|e| Some(e.0)))
        .create()
        .unwrap()
}

pub fn record(recorder: &Recorder<Served>, events: &[(f64, u128)]) {
    events.iter().for_each(|event| recorder.register_event(Served(event.0, event.1)));
    recorder.flush_blocking(PATIENCE).unwrap();
}

/// An exemplar as it is compared: labels, value, nanoseconds.
pub type Shown = (BTreeMap<String, String>, f64, u64);

/// Every exemplar of a snapshot by its metric.
pub fn shown(snapshot: &RuntimeSnapshot) -> BTreeMap<String, Vec<Shown>> {
    let mut all = BTreeMap::new();
    for family in snapshot.families(Fold::Recorder) {
        let series = family.parts().iter().flat_map(|part| part.family().series());
        let exemplars = series.flat_map(|series| series.exemplars().cloned().collect::<Vec<_>>());
        let one = |exemplar: mvx_metrics::Exemplar| {
            let labels = exemplar.labels().iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
            (labels.collect(), exemplar.value().as_f64(), exemplar.at().unix_nanos())
        };
        let exemplars: Vec<Shown> = exemplars.map(one).collect();
        if !exemplars.is_empty() {
            all.insert(family.descriptor().name().to_string(), exemplars);
        }
    }
    all
}

pub const EVENTS: [(f64, u128); 5] = [(0.5, 1 << 80 | 1), (0.25, 2), (2.0, 3), (100.0, 0), (9.0, 5)];

#[test]
fn open_metrics_has_them_behind_the_samples_that_they_are_of_and_0_0_4_has_none() {
    let runtime = running("text");
    record(&recorder(&runtime, "door"), &EVENTS);
    let snapshot = runtime.collect();
    let encode = |format| {
        let mut text = String::new();
        let encoded = Encoder::new(format).vitals(false).encode(&snapshot, &mut text);
        assert_eq!(encoded.skipped(), []);
        text
    };
    assert!(!encode(Format::Text).contains(" # "));
    let text = encode(Format::OpenMetrics);
    let mut read: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    for sample in crate::parser::parse(&text).unwrap().samples {
        let Some(exemplar) = sample.exemplar.clone() else { continue };
        let (seconds, nanos) = exemplar.at.split_once('.').unwrap();
        let at = seconds.parse::<u64>().unwrap() * 1_000_000_000 + nanos.parse::<u64>().unwrap();
        if let Some(bound) = sample.label("le") {
            assert!(exemplar.value <= bound.replace("+Inf", "inf").parse::<f64>().unwrap());
        }
        let name = sample.name.trim_end_matches("_total").trim_end_matches("_bucket").to_owned();
        read.entry(name).or_default().push((exemplar.labels.into_iter().collect(), exemplar.value, at));
    }
    assert_eq!(read, shown(&snapshot));
    assert_eq!(read["lasted"].len(), 3);
    let of_counter = "served_total{recorder=\"door\"} 5 # {note=\"\\\"é\\\\\\n\",span_id=\"0000000000000001\",\
                      trace_id=\"00000000000100000000000000000001\"} 1 ";
    assert!(text.contains(of_counter), "{text}");
}

/// As much of `io.prometheus.client` as is looked at.
#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(message, optional, tag = "2")]
    exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(double, tag = "2")]
    bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    at: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn labels(pairs: Vec<Pair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

#[test]
fn protobuf_has_them_at_buckets_and_at_native_histograms() {
    let runtime = running("protobuf");
    record(&recorder(&runtime, "door"), &EVENTS);
    let snapshot = runtime.collect();
    let mut body = Vec::new();
    let _ = ProtobufEncoder::new().vitals(false).encode(&snapshot, &mut body);
    let (mut rest, mut read) = (&body[..], BTreeMap::new());
    while !rest.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        let mut exemplars: Vec<Exemplar> = Vec::new();
        for metric in family.metric {
            exemplars.extend(metric.counter.and_then(|counter| counter.exemplar));
            for bucket in metric.histogram.iter().flat_map(|histogram| &histogram.bucket) {
                assert!(bucket.exemplar.as_ref().is_none_or(|exemplar| exemplar.value <= bucket.bound));
                exemplars.extend(bucket.exemplar.clone());
            }
            exemplars.extend(metric.histogram.into_iter().flat_map(|histogram| histogram.exemplars));
        }
        let one = |exemplar: Exemplar| {
            let at = exemplar.at.unwrap();
            let nanos = at.seconds as u64 * 1_000_000_000 + at.nanos as u64;
            (labels(exemplar.labels), exemplar.value, nanos)
        };
        if !exemplars.is_empty() {
            let name = family.name.trim_end_matches("_total").to_owned();
            read.insert(name, exemplars.into_iter().map(one).collect::<Vec<Shown>>());
        }
    }
    assert_eq!(read, shown(&snapshot));
}

#[test]
fn json_has_them_and_series_without_any_have_no_such_field() {
    let runtime = running("json");
    record(&recorder(&runtime, "door"), &EVENTS);
    let snapshot = runtime.collect();
    let mut document = String::new();
    let _ = mvx_metrics::export::json::Encoder::new().vitals(false).document(&snapshot, &mut document);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let mut read = BTreeMap::new();
    for family in document["families"].as_array().unwrap() {
        let series = &family["series"][0];
        let Some(exemplars) = series.get("exemplars") else { continue };
        let one = |told: &serde_json::Value| {
            let labels = serde_json::from_value(told["labels"].clone()).unwrap();
            (labels, told["value"].as_f64().unwrap(), told["at"].as_u64().unwrap())
        };
        let exemplars: Vec<Shown> = exemplars.as_array().unwrap().iter().map(one).collect();
        read.insert(family["name"].as_str().unwrap().to_owned(), exemplars);
    }
    assert_eq!(read, shown(&snapshot));
    assert_eq!(document["families"].as_array().unwrap().len(), read.len() + 1);
}

/// The exemplars of an OTLP request, with their ids as labels.
pub fn told(request: &ExportMetricsServiceRequest) -> BTreeMap<String, Vec<Shown>> {
    let mut all = BTreeMap::new();
    for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
        let exemplars: Vec<Told> = match metric.data.clone().unwrap() {
            Data::Sum(sum) => sum.data_points.into_iter().flat_map(|point| point.exemplars).collect(),
            Data::Histogram(all) => all.data_points.into_iter().flat_map(|point| point.exemplars).collect(),
            Data::ExponentialHistogram(all) => {
                all.data_points.into_iter().flat_map(|point| point.exemplars).collect()
            }
            _ => Vec::new(),
        };
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let one = |told: Told| {
            assert_eq!((told.trace_id.len(), told.span_id.len()), (16, 8));
            let mut labels: BTreeMap<_, _> =
                crate::otlp::pairs(&told.filtered_attributes).into_iter().collect();
            labels.insert("trace_id".into(), hex(&told.trace_id));
            labels.insert("span_id".into(), hex(&told.span_id));
            let value = match told.value.unwrap() {
                ToldValue::AsDouble(value) => value,
                ToldValue::AsInt(value) => {
                    assert_eq!(metric.name, "served");
                    value as f64
                }
            };
            (labels, value, told.time_unix_nano)
        };
        if !exemplars.is_empty() {
            all.insert(metric.name.clone(), exemplars.into_iter().map(one).collect());
        }
    }
    all
}

fn request(received: &Received) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(&received.body[..]).unwrap()
}

fn quick() -> Schedule {
    Schedule::on_demand().timeout(PATIENCE).retry_pause(Duration::from_millis(1))
}

#[test]
fn otlp_has_them_with_their_ids_as_ids_and_differences_tell_each_once() {
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let server = Server::start();
        let runtime = running("otlp");
        let builder = OtlpExporter::builder().endpoint(&server.url("/v1/metrics"));
        let exporter = builder.vitals(false).temporality(temporality).build().unwrap();
        runtime.add_exporter("otlp", quick(), exporter).unwrap();
        let door = recorder(&runtime, "door");
        record(&door, &EVENTS);
        runtime.force_flush(PATIENCE).unwrap();
        let all = shown(&runtime.collect());
        assert_eq!(told(&request(&server.take()[0])), all);
        // What is new is in a bucket that had none, so that it is no exemplar of others.
        record(&door, &[(-3.0, 0), (0.0078125, 7)]);
        runtime.force_flush(PATIENCE).unwrap();
        let (second, now) = (told(&request(&server.take()[0])), shown(&runtime.collect()));
        if temporality == Temporality::Cumulative {
            assert_eq!(second, now);
        } else {
            let new: Vec<_> = now["spread"].iter().filter(|one| one.1 == 0.0078125).cloned().collect();
            assert_eq!((second.len(), &second["spread"]), (1, &new));
        }
    }
}

#[test]
fn in_otlp_what_is_no_id_stays_a_label() {
    let server = Server::start();
    let runtime = running("otlp");
    let exporter =
        OtlpExporter::builder().endpoint(&server.url("/v1/metrics")).vitals(false).build().unwrap();
    runtime.add_exporter("otlp", quick(), exporter).unwrap();
    const IDS: [(&str, &str); 4] = [
        ("0123456789abcdef0123456789ABCDEF", "0123456789abcdef"),
        ("00000000000000000000000000000000", "0000000000000000"),
        ("+123456789abcdef0123456789abcdef", "+123456789abcdef"),
        ("0123456789abcdef", "0123456789abcdef0123456789abcdef"),
    ];
    for (n, (trace, span)) in IDS.into_iter().enumerate() {
        let door = runtime
            .recorder::<Served>(&format!("door-{n}"))
            .counter("served", |c| {
                c.exemplar(move |_, labels| {
                    labels.label("trace_id", trace);
                    labels.label("span_id", span);
                })
            })
            .create()
            .unwrap();
        record(&door, &[(1.0, 1)]);
    }
    runtime.force_flush(PATIENCE).unwrap();
    let request = request(&server.take()[0]);
    let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    let points = metrics.flat_map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.iter(),
        other => panic!("{other:?}"),
    });
    let kept: Vec<_> = points
        .map(|point| {
            let one = &point.exemplars[0];
            (one.trace_id.len(), one.span_id.len(), one.filtered_attributes.len())
        })
        .collect();
    assert_eq!(kept, [(16, 8, 0), (0, 0, 2), (0, 0, 2), (0, 0, 2)]);
}

/// As much of a remote write as is looked at.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Written>,
}

#[derive(Clone, PartialEq, Message)]
struct Written {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    at: i64,
}

/// The exemplars of requests by their metric, in the order of their values; each list of a series in the order of time.
fn written(received: &[Received]) -> BTreeMap<String, Vec<Shown>> {
    let mut all: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    for received in received {
        let body = snap::raw::Decoder::new().decompress_vec(&received.body).unwrap();
        for series in WriteRequest::decode(&body[..]).unwrap().timeseries {
            assert!(series.exemplars.windows(2).all(|pair| pair[0].at <= pair[1].at));
            let name = labels(series.labels).remove("__name__").unwrap();
            let name = name.trim_end_matches("_total").trim_end_matches("_bucket").to_owned();
            let one = |written: Written| (labels(written.labels), written.value, written.at as u64);
            if !series.exemplars.is_empty() {
                all.entry(name).or_default().extend(series.exemplars.into_iter().map(one));
            }
        }
    }
    all.values_mut().for_each(|list| list.sort_by(|one, other| one.1.total_cmp(&other.1)));
    all
}

/// With the milliseconds that the protocol has.
fn in_millis(mut all: BTreeMap<String, Vec<Shown>>) -> BTreeMap<String, Vec<Shown>> {
    all.values_mut().flatten().for_each(|one| one.2 /= 1_000_000);
    all
}

#[test]
fn remote_write_sends_each_once_also_over_failures() {
    for native in [false, true] {
        let server = Server::start();
        let runtime = running("remote");
        let builder = RemoteWriteExporter::builder(&server.url("/api/v1/write")).vitals(false);
        runtime.add_exporter("remote", quick(), builder.native_histograms(native).build().unwrap()).unwrap();
        let door = recorder(&runtime, "door");
        record(&door, &EVENTS);
        server.reply([Reply::Keep(answer("400 Bad Request", "", b"")), ok()]);
        assert!(runtime.force_flush(PATIENCE).is_err());
        runtime.force_flush(PATIENCE).unwrap();
        let all = in_millis(shown(&runtime.collect()));
        let mut known = all.clone();
        if native {
            // Prometheus would drop them before it knows the series.
            assert!(known.remove("spread").is_some());
        }
        let mut received = server.take();
        assert_eq!(written(&received.split_off(1)), known);
        assert_eq!(written(&received), known, "what was refused was sent");
        runtime.force_flush(PATIENCE).unwrap();
        let second = written(&server.take());
        assert_eq!(second.into_iter().chain(known).collect::<BTreeMap<_, _>>(), all);
        runtime.force_flush(PATIENCE).unwrap();
        assert_eq!(written(&server.take()), BTreeMap::new(), "what the receiver has");
    }
}

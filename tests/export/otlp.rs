//! OTLP over HTTP: what is sent is what the snapshot shows, to the last bit, and every answer means what the specification says (R24, R25, R37).
#![cfg(all(feature = "otlp", feature = "testing", not(miri)))]
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
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::ExporterStatus;
use mvx_metrics::FamilyWriter;
use mvx_metrics::FieldName;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::Metric;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Unit;
use mvx_metrics::ValueRef;
use mvx_metrics::Verdict;
use mvx_metrics::View;
use mvx_metrics::export::Exporter;
use mvx_metrics::export::Kept;
use mvx_metrics::export::MemoryExporter;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::conformance::Conformance;
use mvx_metrics::export::otlp::Compression;
use mvx_metrics::export::otlp::OtlpExporter;
use mvx_metrics::export::otlp::OtlpExporterBuilder;
use mvx_metrics::export::otlp::Protocol;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric as Sent;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Point;
use prost::Message;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

const PATH: &str = "/v1/metrics";

fn exporter(server: &Server) -> OtlpExporterBuilder {
    OtlpExporter::builder().endpoint(&server.url(PATH))
}

pub fn quick() -> Schedule {
    Schedule::on_demand().timeout(PATIENCE).retry_pause(Duration::from_millis(1))
}

pub fn status(runtime: &MetricsRuntime) -> ExporterStatus {
    runtime.exporters().remove(0)
}

/// A body as it was before compression.
fn plain(received: &Received) -> Vec<u8> {
    let mut body = Vec::new();
    match received.header("content-encoding") {
        None => return received.body.clone(),
        Some("gzip") => flate2::read::GzDecoder::new(&received.body[..]).read_to_end(&mut body).unwrap(),
        Some("zstd") => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(&received.body[..]);
            decoder.unwrap().read_to_end(&mut body).unwrap()
        }
        Some(other) => panic!("{other}"),
    };
    body
}

/// Each compression of this build, and its name in headers.
pub fn compressions() -> Vec<(Compression, Option<&'static str>)> {
    let mut all = vec![(Compression::None, None), (Compression::Gzip, Some("gzip"))];
    #[cfg(feature = "zstd")]
    all.push((Compression::Zstd, Some("zstd")));
    all
}

fn decoded(received: &Received) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(&plain(received)[..]).unwrap()
}

pub fn pairs(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => (pair.key.clone(), text.clone()),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(text).collect()
}

/// Every data point of the requests, as name, attributes and a picture of the value; each key once.
pub fn points(requests: &[ExportMetricsServiceRequest]) -> BTreeMap<(String, Vec<(String, String)>), String> {
    let mut all = BTreeMap::new();
    let scopes =
        requests.iter().flat_map(|request| &request.resource_metrics).flat_map(|one| &one.scope_metrics);
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        for (attributes, picture) in pictures(metric) {
            let before = all.insert((metric.name.clone(), pairs(attributes)), picture);
            assert!(before.is_none(), "{} is there twice", metric.name);
        }
    }
    all
}

fn pictures(metric: &Sent) -> Vec<(&[KeyValue], String)> {
    let head = format!("{}|{}|", metric.unit, metric.description);
    let number = |point: &Option<Point>| match point {
        Some(Point::AsInt(value)) => format!("int {value}"),
        Some(Point::AsDouble(value)) => format!("double {:x}", value.to_bits()),
        None => "nothing".to_owned(),
    };
    let bits = |value: Option<f64>| format!("{:x?}", value.map(f64::to_bits));
    match metric.data.as_ref().unwrap() {
        Data::Gauge(gauge) => gauge
            .data_points
            .iter()
            .map(|p| {
                (
                    &p.attributes[..],
                    format!(
                        "{head}gauge {} {} {}",
                        p.start_time_unix_nano,
                        p.time_unix_nano,
                        number(&p.value)
                    ),
                )
            })
            .collect(),
        Data::Sum(sum) => sum
            .data_points
            .iter()
            .map(|p| {
                let kind = format!("sum {} {}", sum.aggregation_temporality, sum.is_monotonic);
                (
                    &p.attributes[..],
                    format!(
                        "{head}{kind} {} {} {}",
                        p.start_time_unix_nano,
                        p.time_unix_nano,
                        number(&p.value)
                    ),
                )
            })
            .collect(),
        Data::Histogram(histogram) => histogram
            .data_points
            .iter()
            .map(|p| {
                let picture = format!(
                    "{head}histogram {} {} {} {} {} {:?} {:?} {} {}",
                    histogram.aggregation_temporality,
                    p.start_time_unix_nano,
                    p.time_unix_nano,
                    p.count,
                    bits(p.sum),
                    p.bucket_counts,
                    p.explicit_bounds,
                    bits(p.min),
                    bits(p.max)
                );
                (&p.attributes[..], picture)
            })
            .collect(),
        Data::ExponentialHistogram(histogram) => histogram
            .data_points
            .iter()
            .map(|p| {
                let buckets = |buckets: &Option<_>| {
                    let buckets: &Option<
                        opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets,
                    > = buckets;
                    buckets.as_ref().map(|b| (b.offset, b.bucket_counts.clone()))
                };
                let picture = format!(
                    "{head}exponential {} {} {} {} {} {} {} {} {:?} {:?} {} {}",
                    histogram.aggregation_temporality,
                    p.start_time_unix_nano,
                    p.time_unix_nano,
                    p.count,
                    bits(p.sum),
                    p.scale,
                    p.zero_count,
                    p.zero_threshold,
                    buckets(&p.positive),
                    buckets(&p.negative),
                    bits(p.min),
                    bits(p.max)
                );
                (&p.attributes[..], picture)
            })
            .collect(),
        Data::Summary(summary) => summary
            .data_points
            .iter()
            .map(|p| {
                let quantiles: Vec<_> =
                    p.quantile_values.iter().map(|q| (q.quantile, q.value.to_bits())).collect();
                let picture = format!(
                    "{head}summary {} {} {} {:x} {quantiles:?}",
                    p.start_time_unix_nano,
                    p.time_unix_nano,
                    p.count,
                    p.sum.to_bits(),
                );
                (&p.attributes[..], picture)
            })
            .collect(),
    }
}

/// The same pictures, drawn from the snapshot.
pub fn expected(snapshot: &RuntimeSnapshot) -> BTreeMap<(String, Vec<(String, String)>), String> {
    let mut all = BTreeMap::new();
    let at = snapshot.taken_at().unix_nanos();
    let bits = |value: Option<f64>| format!("{:x?}", value.map(f64::to_bits));
    for family in snapshot.families(Fold::Recorder) {
        let descriptor = family.descriptor();
        let head = format!("{}|{}|", descriptor.unit().ucum(), descriptor.help());
        for part in family.parts() {
            for series in part.family().series() {
                let labels = part.labels().chain(series.labels().iter());
                let labels: Vec<_> = labels
                    .filter(|(_, v)| !v.is_empty())
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .collect();
                let times = format!("{} {at}", series.started().unix_nanos());
                let mut enter = |name: String, picture| drop(all.insert((name, labels.clone()), picture));
                let name = descriptor.name().to_string();
                match series.value() {
                    ValueRef::Counter(count) => {
                        let value = match i64::try_from(count) {
                            Ok(count) => format!("int {count}"),
                            Err(_) => format!("double {:x}", (count as f64).to_bits()),
                        };
                        enter(name, format!("{head}sum 2 true {times} {value}"));
                    }
                    ValueRef::FloatCounter(sum) => {
                        enter(name, format!("{head}sum 2 true {times} double {:x}", sum.to_bits()))
                    }
                    ValueRef::UpDown(level) => enter(name, format!("{head}sum 2 false {times} int {level}")),
                    ValueRef::Gauge(value) => {
                        enter(name, format!("{head}gauge {times} double {:x}", value.to_bits()))
                    }
                    ValueRef::Histogram(h) => {
                        let buckets: Vec<_> = h.buckets().collect();
                        let picture = format!(
                            "{head}histogram 2 {times} {} {} {buckets:?} {:?} {} {}",
                            h.count(),
                            bits(Some(h.sum())),
                            h.bounds(),
                            bits(h.min()),
                            bits(h.max())
                        );
                        enter(name, picture);
                    }
                    ValueRef::Exponential(e) => {
                        let buckets = |b: mvx_metrics::ExponentialBuckets<'_>| {
                            (!b.is_empty()).then(|| (b.offset(), b.counts().collect::<Vec<_>>()))
                        };
                        let picture = format!(
                            "{head}exponential 2 {times} {} {} {} {} {} {:?} {:?} {} {}",
                            e.count(),
                            bits(Some(e.sum())),
                            e.scale(),
                            e.zero_count(),
                            e.zero_threshold(),
                            buckets(e.positive()),
                            buckets(e.negative()),
                            bits(e.min()),
                            bits(e.max())
                        );
                        enter(name, picture);
                    }
                    ValueRef::Average { sum, count, .. } => {
                        enter(name, format!("{head}summary {times} {count} {:x} []", sum.to_bits()))
                    }
                    ValueRef::Summary(shown) => {
                        let quantiles: Vec<_> = shown.quantiles().map(|(q, v)| (q, v.to_bits())).collect();
                        let (count, sum) = (shown.total_count(), shown.total_sum().to_bits());
                        assert!(quantiles.len() >= 2, "{name}");
                        enter(name, format!("{head}summary {times} {count} {sum:x} {quantiles:?}"))
                    }
                    // As sums that may fall, which is what OpenTelemetry makes of them.
                    ValueRef::Info => {
                        enter(format!("{name}.info"), format!("{head}sum 2 false {times} int 1"))
                    }
                    ValueRef::StateSet(states) => {
                        for (state, on) in states.iter() {
                            let mut labels = labels.clone();
                            labels.push((name.clone(), state.to_owned()));
                            let own = labels.iter().position(|(key, _)| key == "zone").unwrap();
                            labels[own..].sort();
                            let picture = format!("{head}sum 2 false {times} int {}", u8::from(on));
                            all.insert((name.clone(), labels), picture);
                        }
                    }
                    ValueRef::Fields(fields) => {
                        for (field, number) in fields {
                            let value = match *number {
                                mvx_metrics::Number::U64(value) => format!("int {value}"),
                                mvx_metrics::Number::I64(value) => format!("int {value}"),
                                other => format!("double {:x}", other.as_f64().to_bits()),
                            };
                            enter(format!("{name}.{field}"), format!("{head}gauge {times} {value}"));
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    all
}

/// Shows two fields.
struct Fields(Arc<Descriptor>, u64);

impl Metric<Number> for Fields {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.0
    }
    fn handle_event(&mut self, _: &Number, _: &Context) -> Verdict {
        self.1 += 1;
        Verdict::Accepted
    }
    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        writer.labelled_field(&LabelSet::empty(), &FieldName::new("count").unwrap(), self.1);
        writer.labelled_field(&LabelSet::empty(), &FieldName::new("half").unwrap(), self.1 as f64 / 2.0);
    }
}

/// Two recorders with a metric of every kind.
pub fn everything(runtime: &MetricsRuntime) {
    for id in ["left", "right \"2\""] {
        let fields = Descriptor::builder("custom", Kind::Fields).build().unwrap();
        let recorder = runtime
            .recorder::<Number>(id)
            .entity("disk")
            .counter("saves", |c| c.help("Documents \"saved\".").label("zone", |n| (n.0 % 3).into()))
            .counter("huge", |c| c.value(|n| Some(n.0.saturating_mul(1 << 60))))
            .counter("exact", |c| c.value(|_| Some((1_u64 << 53) + 1)))
            .counter("busy", |c| c.unit(Unit::Seconds).value(|n| Some(Duration::from_nanos(n.0))))
            .up_down("open", |u| u.value(|n| Some(-(n.0 as i64))))
            .gauge("level", |g| g.value(|n| Some(-0.1 * n.0 as f64)))
            .histogram("took", |h| {
                h.unit(Unit::Seconds)
                    .bounds(&[0.5, 1.0, 2.5])
                    .label("zone", |n| (n.0 % 2).into())
                    .value(|n| Some(n.0 as f64 / 3.0))
            })
            .exponential_histogram("sizes", |h| h.unit(Unit::Bytes).value(|n| Some(n.0 as f64 * 1.5 - 4.0)))
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
            .metric(Fields(fields, 0))
            .create()
            .unwrap();
        (0..20).for_each(|n| recorder.register_event(Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
    }
}

/// A runtime whose state is pushed to the server, and kept as it was at the same moment.
pub fn pushing(namespace: &str, exporter: OtlpExporter, schedule: Schedule) -> (MetricsRuntime, Kept) {
    let runtime = running(namespace);
    let (memory, kept) = MemoryExporter::new(1);
    runtime.add_exporter("otlp", schedule, Both(exporter, memory)).unwrap();
    (runtime, kept)
}

/// Two exporters that see the same snapshots.
pub struct Both<A, B>(A, B);

impl<A: Exporter, B: Exporter> Exporter for Both<A, B> {
    async fn export(
        &mut self,
        snapshot: &RuntimeSnapshot,
        within: Duration,
    ) -> Result<(), mvx_metrics::export::ExportError> {
        self.1.export(snapshot, within).await?;
        self.0.export(snapshot, within).await
    }
}

#[test]
fn every_value_arrives_to_the_last_bit_with_its_names_units_labels_and_times() {
    for (compression, coding) in compressions() {
        let server = Server::start();
        let built = exporter(&server)
            .vitals(false)
            .compression(compression)
            .resource("service.name", "shop")
            .resource("region", "eu")
            .build()
            .unwrap();
        let (runtime, kept) = pushing("values", built, quick());
        everything(&runtime);
        runtime.force_flush(PATIENCE).unwrap();
        let received = server.take();
        let [request] = &received[..] else { panic!("{received:?}") };
        assert!(request.head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{}", request.head);
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("content-encoding"), coding);
        assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
        let request = decoded(request);
        let of_resource = &request.resource_metrics[0];
        let resource = pairs(&of_resource.resource.as_ref().unwrap().attributes);
        assert_eq!(resource, [("service.name".into(), "shop".into()), ("region".into(), "eu".into())]);
        let scope = of_resource.scope_metrics[0].scope.as_ref().unwrap();
        assert_eq!((scope.name.as_str(), scope.version.as_str()), ("mvx-metrics", env!("CARGO_PKG_VERSION")));
        let (sent, shown) = (points(&[request]), expected(&kept.latest().unwrap()));
        assert_eq!(sent, shown);
        assert!(sent.len() > 25, "{}", sent.len());
        assert!(sent.values().any(|picture| picture.contains("int 180143985094819860")), "{sent:#?}");
    }
}

#[test]
fn our_own_metrics_come_with_it_and_the_namespace_is_the_services_name() {
    let server = Server::start();
    let (runtime, _) = pushing("my-service", exporter(&server).build().unwrap(), quick());
    runtime.force_flush(PATIENCE).unwrap();
    let requests: Vec<_> = server.take().iter().map(decoded).collect();
    let resource = pairs(&requests[0].resource_metrics[0].resource.as_ref().unwrap().attributes);
    assert_eq!(resource, [("service.name".to_owned(), "my-service".to_owned())]);
    assert!(points(&requests).keys().any(|(name, _)| name == "mvx.exports.delivered"));
}

#[test]
fn a_state_that_is_too_much_for_one_request_comes_in_several_and_each_point_once() {
    let server = Server::start();
    let most = 16 * 1_024;
    let built = exporter(&server).vitals(false).max_request_bytes(most).build().unwrap();
    let (runtime, kept) = pushing("batches", built, quick());
    everything(&runtime);
    let many = runtime
        .recorder::<Number>("many")
        .counter("many", |c| c.label("n", |n| n.0.into()))
        .create()
        .unwrap();
    (0..1_900).for_each(|n| many.register_event(Number(n)));
    many.flush_blocking(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    let received = server.take();
    assert!(received.len() > 5, "{}", received.len());
    assert!(received.iter().all(|request| request.body.len() <= most && request.connection == 0));
    let requests: Vec<_> = received.iter().map(decoded).collect();
    assert_eq!(points(&requests), expected(&kept.latest().unwrap()));
    let views = View::builder().exclude("*").build().unwrap();
    let none =
        OtlpExporter::builder().endpoint(&server.url(PATH)).vitals(false).build().unwrap().with_view(views);
    runtime.remove_exporter("otlp", PATIENCE).unwrap();
    server.take();
    runtime.add_exporter("none", quick(), none).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    assert!(server.take().is_empty(), "nothing is nothing to send");
}

#[test]
fn the_other_sides_answers_decide_what_comes_next() {
    let busy = |status: &str, headers: &str| Reply::Keep(answer(status, headers, b"no\nroom"));
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: "too old".into(),
        }),
    };
    let partial = answer("200 OK", "Content-Type: application/x-protobuf\r\n", &partial.encode_to_vec());
    let redirect =
        |to: &Server| busy("307 Temporary Redirect", &format!("Location: {}\r\n", to.url("/elsewhere")));
    let elsewhere = Server::start();
    // What it answers, how many requests that makes, and what is told.
    let table: Vec<(Vec<Reply>, usize, Option<&str>)> = vec![
        (vec![ok()], 1, None),
        (vec![Reply::Keep(answer("202 Accepted", "", b"{}"))], 1, None),
        (vec![Reply::Keep(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())], 1, None),
        (vec![busy("429 Too Many Requests", ""), ok()], 2, None),
        (
            vec![
                busy("503 Service Unavailable", "Retry-After: 0\r\n"),
                busy("502 Bad Gateway", ""),
                busy("504 Gateway Timeout", ""),
                ok(),
            ],
            4,
            None,
        ),
        (
            vec![busy("503 Service Unavailable", ""); 4],
            4,
            Some("answered 503 Service Unavailable: no\\nroom"),
        ),
        (vec![busy("400 Bad Request", "Retry-After: 0\r\n")], 1, Some("answered 400 Bad Request: no\\nroom")),
        (vec![busy("401 Unauthorized", "")], 1, Some("answered 401")),
        (vec![busy("404 Not Found", "")], 1, Some("answered 404")),
        (vec![busy("413 Payload Too Large", "")], 1, Some("answered 413")),
        (vec![busy("500 Internal Server Error", "")], 1, Some("answered 500")),
        (vec![redirect(&elsewhere)], 1, Some("answered 307")),
        (vec![Reply::Keep(partial)], 1, Some("rejected 3 of 1 data points: too old")),
        (vec![Reply::Keep(answer("200 OK", "Content-Type: text/html\r\n", b"<html>"))], 1, None),
        (vec![Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf".to_vec()), ok()], 2, None),
        (vec![Reply::Close(b"".to_vec()), ok()], 2, None),
        (vec![Reply::Close(b"nonsense\r\n\r\n".to_vec()), ok()], 2, None),
        (
            vec![
                Reply::Close(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).into_bytes()),
                ok(),
            ],
            2,
            None,
        ),
        (vec![Reply::Endless], 1, Some("more than 4194304 bytes")),
    ];
    for (replies, requests, told) in table {
        let server = Server::start();
        server.reply(replies.clone());
        let built = exporter(&server).vitals(false).build().unwrap();
        let (runtime, _) = pushing("answers", built, quick());
        let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
        recorder.register_event(Number(1));
        let result = runtime.force_flush(PATIENCE).map_err(|error| error.to_string());
        assert_eq!(server.take().len(), requests, "{replies:?}: {result:?}");
        match told {
            None => assert_eq!(result, Ok(()), "{replies:?}"),
            Some(told) => {
                assert!(result.as_ref().is_err_and(|error| error.contains(told)), "{replies:?}: {result:?}")
            }
        }
        // What the machine's own buffers take comes on top.
        assert!(server.endless() < 32 << 20, "{}", server.endless());
        // Whatever it was, the next one is well.
        runtime.force_flush(PATIENCE).unwrap();
    }
    assert!(elsewhere.take().is_empty(), "no redirect is followed");
}

#[test]
fn a_connection_is_kept_and_one_that_the_server_has_closed_is_made_again_without_a_failure() {
    let server = Server::start();
    let (runtime, _) = pushing("kept", exporter(&server).build().unwrap(), quick());
    let closing = answer("200 OK", "Connection: close\r\n", b"");
    server.reply([ok(), ok(), Reply::Close(closing), ok()]);
    let silent = answer("200 OK", "", b"");
    for _ in 0..4 {
        runtime.force_flush(PATIENCE).unwrap();
    }
    // Closed without having said so.
    server.reply([Reply::Close(silent)]);
    runtime.force_flush(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    // Closed when the next request was on its way: it is sent again, over a connection of its own.
    server.reply([Reply::Close(Vec::new())]);
    runtime.force_flush(PATIENCE).unwrap();
    let connections: Vec<_> = server.take().iter().map(|request| request.connection).collect();
    assert_eq!(connections[..4], [0, 0, 0, 1]);
    assert_eq!(connections[5..], [2, 2, 3]);
    let well = status(&runtime);
    assert_eq!((well.delivered, well.attempts, well.failed), (7, 7, 0));
}

#[test]
fn a_kept_connection_that_is_broken_off_with_a_request_unread_is_no_failure_either() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}{PATH}", listener.local_addr().unwrap());
    let built = OtlpExporter::builder().endpoint(&address).build().unwrap();
    let (runtime, _) = pushing("broken", built, quick());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let taken = answer("200 OK", "", b"");
            for round in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut request = Vec::new();
                let whole = |request: &[u8]| {
                    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
                    let (head, _) = text.split_once("\r\n\r\n")?;
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
                    let head = request.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
                    Some(request.len() >= head + length.trim().parse::<usize>().unwrap())
                };
                while whole(&request) != Some(true) {
                    let mut some = [0; 4_096];
                    let read = stream.read(&mut some).unwrap();
                    assert_ne!(read, 0);
                    request.extend_from_slice(&some[..read]);
                }
                std::io::Write::write_all(&mut stream, &taken).unwrap();
                if round == 0 {
                    // The next request is there, and stays unread: whoever closes now resets the connection.
                    stream.peek(&mut [0]).unwrap();
                }
            }
        });
        runtime.force_flush(PATIENCE).unwrap();
        runtime.force_flush(PATIENCE).unwrap();
    });
    let well = status(&runtime);
    assert_eq!((well.delivered, well.attempts, well.failed), (2, 2, 0));
}

#[test]
fn a_receiver_that_hangs_costs_its_time_out_and_one_that_comes_late_gets_the_whole_state() {
    let server = Server::start();
    server.reply([Reply::Hang, Reply::Hang]);
    let schedule = quick().timeout(Duration::from_millis(100)).retries(1);
    let (runtime, kept) = pushing("late", exporter(&server).vitals(false).build().unwrap(), schedule);
    everything(&runtime);
    let began = Instant::now();
    assert_eq!(runtime.force_flush(PATIENCE).unwrap_err().kind(), ErrorKind::ExportFailed);
    assert!(began.elapsed() >= Duration::from_millis(200));
    server.take();
    runtime.force_flush(PATIENCE).unwrap();
    let requests: Vec<_> = server.take().iter().map(decoded).collect();
    assert_eq!(points(&requests), expected(&kept.latest().unwrap()));

    // Nobody listens; then somebody does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let late =
        OtlpExporter::builder().endpoint(&format!("http://{address}{PATH}")).vitals(false).build().unwrap();
    let every = Schedule::every(Duration::from_millis(20)).retries(0);
    let (runtime, kept) = pushing("nobody", late, every);
    everything(&runtime);
    until("it has failed", || status(&runtime).failed > 2);
    let error = status(&runtime).last_error.unwrap().to_string();
    assert!(error.contains(&format!("no connection to {address}")), "{error}");
    let server = Server::on(TcpListener::bind(address).unwrap());
    let first = server.wait_for(1).remove(0);
    until("it counts as delivered", || status(&runtime).delivered > 0);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert_eq!(points(&[decoded(&first)]).len(), expected(&kept.latest().unwrap()).len());
    let last = server.take().pop().unwrap_or(first);
    assert_eq!(points(&[decoded(&last)]), expected(&kept.latest().unwrap()));
}

#[test]
fn secrets_arrive_and_are_shown_nowhere() {
    let server = Server::start();
    let url = format!("http://canary-user:canary%20pass@{}{PATH}?key=canary-query", server.address);
    let builder =
        OtlpExporter::builder().endpoint(&url).header("X-Api-Key", "canary-header").header("Accept", "x/y");
    let shown = [format!("{builder:?}"), format!("{:?}", builder.clone().build().unwrap())];
    let (sender, told) = mpsc::channel();
    let runtime = MetricsRuntime::builder("secrets")
        .on_error(move |incident| drop(sender.send(format!("{incident} {incident:?}"))))
        .build()
        .unwrap();
    runtime.start().unwrap();
    runtime.add_exporter("otlp", quick().retries(0), builder.build().unwrap()).unwrap();
    server.reply([
        Reply::Keep(answer("403 Forbidden", "", b"")),
        Reply::Close(Vec::new()),
        Reply::Close(Vec::new()),
    ]);
    let errors = [runtime.force_flush(PATIENCE), runtime.force_flush(PATIENCE)]
        .map(|result| format!("{:?}", result.unwrap_err()));
    let request = server.take().remove(0);
    assert_eq!(request.header("authorization"), Some("Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5IHBhc3M="));
    assert_eq!(request.header("x-api-key"), Some("canary-header"));
    assert!(request.head.contains("?key=canary-query"));
    let report = format!("{:?} {:?} {:?}", runtime.exporters(), runtime, runtime.shutdown(PATIENCE));
    let vitals = format!("{:?}", runtime.collect().vitals());
    let all: Vec<_> =
        shown.into_iter().chain(errors).chain([report, vitals]).chain(told.try_iter()).collect();
    assert!(all.len() > 5);
    assert!(all.iter().all(|text| !text.contains("canary")), "{all:#?}");
}

#[test]
fn it_conforms() {
    let server = Server::start();
    Conformance::new(|| exporter(&server).build().unwrap()).run().unwrap();
    Conformance::new(|| {
        let small = exporter(&server).compression(Compression::Gzip).fold(Fold::Group);
        small.max_request_bytes(9_000).build().unwrap()
    })
    .run()
    .unwrap();
    let requests = server.take();
    assert!(requests.len() > 200);
    requests.iter().for_each(|request| drop(decoded(request)));
}

#[test]
fn what_cannot_be_sent_to_or_said_is_refused() {
    let kinds = [
        OtlpExporter::builder().endpoint("ftp://collector/").build(),
        OtlpExporter::builder().header("Content-Length", "0").build(),
        OtlpExporter::builder().header("x", "a\nb").build(),
        OtlpExporter::builder().max_request_bytes(100).build(),
    ]
    .map(|result| result.unwrap_err().kind());
    use ErrorKind::InvalidAddress;
    use ErrorKind::InvalidLimit;
    use ErrorKind::InvalidName;
    assert_eq!(kinds, [InvalidAddress, InvalidName, InvalidName, InvalidLimit]);
}

/// What others make of it: `rotel`, an agent in Rust that forwards what it took in, and OpenTelemetry's own messages in Python.
#[cfg(target_os = "linux")]
mod others {
    use super::*;
    use opentelemetry_proto::tonic::metrics::v1::Exemplar;
    use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as ExemplarValue;
    use serde_json::Value as Json;
    use serde_json::json;
    use std::io::Write;
    use std::net::TcpStream;
    use std::path::PathBuf;
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

    fn python() -> Command {
        Command::new(std::env::var("MVX_PYTHON").unwrap_or_else(|_| "python3".to_owned()))
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// Where the agent is; `None` without it, or without the messages, which is told.
    fn rotel() -> Option<PathBuf> {
        let code = "import opentelemetry.proto, os, rotel; print(os.path.dirname(rotel.__file__), end='')";
        let found = python().args(["-c", code]).stderr(Stdio::null()).output().ok();
        let found = found.filter(|output| output.status.success());
        let agent =
            found.map(|output| PathBuf::from(String::from_utf8(output.stdout).unwrap()).join("rotel-agent"));
        if agent.is_none() {
            let told = writeln!(
                std::io::stderr(),
                "NOT CHECKED IN PART: other readers of OTLP; to get it: pip install rotel opentelemetry-proto, and MVX_PYTHON if it is not python3's"
            );
            assert!(told.is_ok());
        }
        agent
    }

    /// Every data point as Python shows it.
    fn shown(request: &ExportMetricsServiceRequest) -> Vec<Json> {
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        let number = |value: &Option<Point>| match value.as_ref().unwrap() {
            Point::AsInt(value) => (json!("as_int"), json!(value)),
            Point::AsDouble(value) => (json!("as_double"), json!(value.to_bits())),
        };
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let exemplar = |told: &Exemplar| {
            let (of, number) = match told.value.as_ref().unwrap() {
                ExemplarValue::AsInt(value) => (json!("as_int"), json!(value)),
                ExemplarValue::AsDouble(value) => (json!("as_double"), json!(value.to_bits())),
            };
            let ids = [hex(&told.span_id), hex(&told.trace_id)];
            json!([pairs(&told.filtered_attributes), told.time_unix_nano, of, number, ids])
        };
        let told = |exemplars: &[Exemplar]| exemplars.iter().map(exemplar).collect::<Vec<_>>();
        let mut all = Vec::new();
        let scopes = request.resource_metrics.iter().flat_map(|one| &one.scope_metrics);
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            let mut enter = |kind: &str, attributes: &[KeyValue], times: [u64; 2], values: Json| {
                let head = (&metric.name, &metric.unit, &metric.description);
                all.push(json!([head.0, head.1, head.2, pairs(attributes), kind, times, values]));
            };
            match metric.data.as_ref().unwrap() {
                Data::Gauge(gauge) => gauge.data_points.iter().for_each(|p| {
                    let (of, number) = number(&p.value);
                    let times = [p.start_time_unix_nano, p.time_unix_nano];
                    enter("gauge", &p.attributes, times, json!([of, number]));
                }),
                Data::Sum(sum) => sum.data_points.iter().for_each(|p| {
                    let (of, number) = number(&p.value);
                    let times = [p.start_time_unix_nano, p.time_unix_nano];
                    let head = (sum.aggregation_temporality, sum.is_monotonic);
                    let values = json!([head.0, head.1, of, number, told(&p.exemplars)]);
                    enter("sum", &p.attributes, times, values);
                }),
                Data::Histogram(histogram) => histogram.data_points.iter().for_each(|p| {
                    let bounds: Vec<_> = p.explicit_bounds.iter().map(|bound| bound.to_bits()).collect();
                    let values = json!([
                        histogram.aggregation_temporality,
                        p.count,
                        bits(p.sum),
                        p.bucket_counts,
                        bounds,
                        bits(p.min),
                        bits(p.max),
                        told(&p.exemplars)
                    ]);
                    enter("histogram", &p.attributes, [p.start_time_unix_nano, p.time_unix_nano], values);
                }),
                Data::ExponentialHistogram(histogram) => histogram.data_points.iter().for_each(|p| {
                    let run = |run: &Option<Buckets>| {
                        run.as_ref().map(|run| json!([run.offset, run.bucket_counts]))
                    };
                    let values = json!([
                        histogram.aggregation_temporality,
                        p.count,
                        bits(p.sum),
                        p.scale,
                        p.zero_count,
                        p.zero_threshold.to_bits(),
                        run(&p.positive),
                        run(&p.negative),
                        bits(p.min),
                        bits(p.max),
                        told(&p.exemplars)
                    ]);
                    let times = [p.start_time_unix_nano, p.time_unix_nano];
                    enter("exponential_histogram", &p.attributes, times, values);
                }),
                Data::Summary(summary) => summary.data_points.iter().for_each(|p| {
                    let quantiles = p.quantile_values.iter();
                    let quantiles: Vec<_> =
                        quantiles.map(|q| [q.quantile.to_bits(), q.value.to_bits()]).collect();
                    let times = [p.start_time_unix_nano, p.time_unix_nano];
                    enter("summary", &p.attributes, times, json!([p.count, p.sum.to_bits(), quantiles]));
                }),
            }
        }
        all
    }

    fn by_python(body: &[u8]) -> Vec<Json> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/push/decode_otlp.py");
        let mut child = python().arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(body).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[test]
    fn an_agent_in_between_and_another_language_read_every_value_to_the_last_bit() {
        let Some(agent) = rotel() else { return };
        let sink = Server::start();
        let (http, grpc) = (free_port(), free_port());
        let agent = Command::new(agent)
            .args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args(["--otlp-exporter-compression", "none", "--otlp-exporter-endpoint"])
            .arg(format!("http://{}", sink.address))
            .args(["--otlp-http-endpoint".to_owned(), format!("127.0.0.1:{http}")])
            .args(["--otlp-grpc-endpoint".to_owned(), format!("127.0.0.1:{grpc}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let _agent = Running(agent.unwrap());
        for port in [http, grpc] {
            until("the agent listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        }
        let mut addresses = vec![(Protocol::HttpProtobuf, format!("http://127.0.0.1:{http}{PATH}"))];
        #[cfg(feature = "otlp-grpc")]
        addresses.push((Protocol::Grpc, format!("http://127.0.0.1:{grpc}")));
        // Not by zstd: over HTTP this agent refuses it with 400.
        for ((protocol, address), compression) in
            addresses.into_iter().flat_map(|to| [(to.clone(), Compression::None), (to, Compression::Gzip)])
        {
            let builder = OtlpExporter::builder().protocol(protocol).endpoint(&address);
            let built = builder.vitals(false).compression(compression).build().unwrap();
            let (runtime, kept) = pushing("others", built, quick());
            everything(&runtime);
            let marked = crate::exemplars::recorder(&runtime, "marked");
            crate::exemplars::record(&marked, &crate::exemplars::EVENTS);
            runtime.force_flush(PATIENCE).unwrap();
            let forwarded = sink.wait_for(1).remove(0);
            let request = decoded(&forwarded);
            let exemplars = crate::exemplars::shown(&kept.latest().unwrap());
            assert_eq!(crate::exemplars::told(&request), exemplars);
            assert_eq!(points(std::slice::from_ref(&request)), expected(&kept.latest().unwrap()));
            let read = by_python(&plain(&forwarded));
            assert!(read.len() > 25, "{}", read.len());
            assert_eq!(read, shown(&request));
            // The last state comes by again.
            runtime.shutdown(PATIENCE).unwrap();
            sink.wait_for(1);
        }
    }
}

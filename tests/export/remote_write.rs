//! Remote write: what is sent is what the text format says, in order, with an end for every series that is gone (R24, R25, R27); and Prometheus itself
//! gives it back.
#![cfg(all(feature = "remote-write", feature = "testing", not(miri)))]
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
use crate::written::Key;
use crate::written::everything;
use crate::written::expected;
use crate::written::pushing;
use crate::written::spread;
use mvx_metrics::Clock;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Timestamp;
use mvx_metrics::export::conformance::Conformance;
use mvx_metrics::export::remote_write::RemoteWriteExporter;
use mvx_metrics::export::remote_write::RemoteWriteExporterBuilder;
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// The messages of the protocol, written down from its specification.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Native>,
}

/// With integer counts.
#[derive(Clone, PartialEq, Message)]
struct Native {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(uint64, tag = "6")]
    zero_count: u64,
    #[prost(message, repeated, tag = "8")]
    negative_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "9")]
    negative_deltas: Vec<i64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// Counts by Prometheus's index, without empty ones.
fn unrolled(spans: &[Span], deltas: &[i64]) -> Vec<(i32, u64)> {
    let (mut index, mut count, mut deltas) = (0, 0, deltas.iter());
    let mut all = Vec::new();
    for span in spans {
        index += span.offset;
        for _ in 0..span.length {
            count += deltas.next().unwrap();
            all.push((index, u64::try_from(count).unwrap()));
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    all.retain(|(_, count)| *count > 0);
    all
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

/// Prometheus's stale marker.
const STALE: u64 = 0x7ff0_0000_0000_0002;

fn exporter(server: &Server) -> RemoteWriteExporterBuilder {
    RemoteWriteExporter::builder(&server.url("/api/v1/write")).vitals(false)
}

fn decoded(received: &Received) -> WriteRequest {
    let body = snap::raw::Decoder::new().decompress_vec(&received.body).unwrap();
    WriteRequest::decode(&body[..]).unwrap()
}

/// Each series of the requests, with the bits and times of its samples; each once.
fn samples(received: &[Received]) -> BTreeMap<Key, Vec<(u64, i64)>> {
    let mut all: BTreeMap<Key, Vec<(u64, i64)>> = BTreeMap::new();
    for series in received.iter().flat_map(|one| decoded(one).timeseries) {
        assert!(series.labels.windows(2).all(|pair| pair[0].name < pair[1].name), "{:?}", series.labels);
        let labels = series.labels.into_iter().map(|pair| (pair.name, pair.value)).collect();
        let samples =
            series.samples.iter().map(|sample| (sample.value.to_bits(), sample.timestamp)).collect();
        assert!(all.insert(labels, samples).is_none());
    }
    all
}

#[test]
fn every_sample_is_the_one_of_the_text_format_with_the_labels_that_a_scrape_would_add() {
    let (server, runtime) = (Server::start(), running("shop"));
    let kept = pushing(&runtime, exporter(&server).label("instance", "host \"1\"").build().unwrap());
    everything(&runtime);
    runtime.force_flush(PATIENCE).unwrap();
    let received = server.take();
    let [request] = &received[..] else { panic!("{}", received.len()) };
    assert!(request.head.starts_with("POST /api/v1/write HTTP/1.1\r\n"));
    for (name, value) in [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
    ] {
        assert_eq!(request.header(name), Some(value));
    }
    let snapshot = kept.latest().unwrap();
    let at = i64::try_from(snapshot.taken_at().unix_nanos() / 1_000_000).unwrap();
    let expected: BTreeMap<_, _> = expected(&snapshot, "shop")
        .into_iter()
        .map(|(mut labels, value)| {
            labels.insert("instance".into(), "host \"1\"".into());
            (labels, vec![(value.to_bits(), at)])
        })
        .collect();
    let sent = samples(&received);
    assert_eq!(sent, expected);
    assert!(
        sent.len() > 50 && sent.keys().any(|labels| labels.contains_key("otel_metric_overflow")),
        "{}",
        sent.len()
    );
    assert!(
        sent.keys().any(|labels| labels["job"] == "mine")
            && sent.keys().any(|labels| labels["job"] == "shop")
    );
    let metadata: Vec<_> =
        decoded(request).metadata.into_iter().map(|m| (m.kind, m.name, m.help, m.unit)).collect();
    let described =
        |kind, name: &str, help: &str, unit: &str| (kind, name.to_owned(), help.to_owned(), unit.to_owned());
    assert!(metadata.contains(&described(1, "saves_total", "Documents \"saved\".", "")), "{metadata:?}");
    assert!(metadata.contains(&described(3, "took_seconds", "", "seconds")), "{metadata:?}");
    assert!(metadata.contains(&described(5, "mean", "", "")), "{metadata:?}");
}

#[test]
fn a_series_that_is_gone_ends_once_also_over_failures_and_one_that_comes_again_is_another() {
    let (server, runtime) = (Server::start(), running("ends"));
    let _kept = pushing(&runtime, exporter(&server).build().unwrap());
    let counted = |events: u64| {
        let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
        (0..events).for_each(|n| recorder.register_event(Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
    };
    let push = || {
        let result = runtime.force_flush(PATIENCE);
        let all = samples(&server.take()).into_iter();
        let of_recorder: Vec<_> =
            all.filter(|(labels, _)| labels.get("recorder").is_some_and(|id| id == "one")).collect();
        assert!(of_recorder.len() <= 1, "{of_recorder:?}");
        (result.is_ok(), of_recorder.into_iter().flat_map(|(_, samples)| samples).collect::<Vec<_>>())
    };
    counted(5);
    let (_, first) = push();
    assert_eq!(first[0].0, 5.0_f64.to_bits());
    // Made again between two pushes: another start, although its value is larger.
    runtime.stop_and_remove("one", PATIENCE).unwrap();
    counted(7);
    let (_, again) = push();
    assert_eq!(again.iter().map(|(bits, _)| *bits).collect::<Vec<_>>(), [STALE, 7.0_f64.to_bits()]);
    assert!(first[0].1 < again[0].1 && again[0].1 < again[1].1);
    runtime.stop_and_remove("one", PATIENCE).unwrap();
    let refused = Reply::Keep(answer("400 Bad Request", "", b""));
    server.reply([refused]);
    let (delivered, ended) = push();
    assert!(!delivered && ended[0].0 == STALE);
    let (delivered, ended) = push();
    assert!(delivered && ended[0].0 == STALE, "the end was not taken, so it comes again");
    let (delivered, nothing) = push();
    assert!(delivered && nothing.is_empty(), "and then no more");
}

#[test]
fn native_histograms_are_what_the_snapshot_shows_and_end_as_others_do() {
    let (server, runtime) = (Server::start(), running("native"));
    let kept = pushing(&runtime, exporter(&server).native_histograms(true).build().unwrap());
    let recorder = spread(&runtime);
    runtime.force_flush(PATIENCE).unwrap();
    let request = decoded(&server.take()[0]);
    let snapshot = kept.latest().unwrap();
    let at = i64::try_from(snapshot.taken_at().unix_nanos() / 1_000_000).unwrap();
    let mut seen = 0;
    for family in snapshot.families(Fold::Recorder) {
        for series in family.parts().iter().flat_map(|part| part.family().series()) {
            let shown = series.value().exponential().unwrap();
            let name = family.descriptor().name().as_str();
            let zone = series.labels().get("zone").map(str::to_owned);
            let is_it = |sent: &&TimeSeries| {
                let label = |key: &str| {
                    sent.labels.iter().find(|pair| pair.name == key).map(|pair| pair.value.clone())
                };
                label("__name__").as_deref() == Some(name)
                    && label("zone") == zone
                    && !sent.histograms.is_empty()
            };
            if name == "far" {
                // Coarser than any of Prometheus's.
                assert!(shown.scale() < -4 && request.timeseries.iter().find(is_it).is_none());
                continue;
            }
            seen += 1;
            let sent = request.timeseries.iter().find(is_it).unwrap();
            assert!(sent.samples.is_empty());
            let [native] = &sent.histograms[..] else { panic!("{sent:?}") };
            let shown = shown.at_scale(shown.scale().min(8));
            assert_eq!((native.count, native.zero_count), (shown.count(), shown.zero_count()));
            assert_eq!(native.sum.to_bits(), shown.sum().to_bits());
            assert_eq!((native.schema, native.zero_threshold), (shown.scale(), shown.zero_threshold()));
            assert_eq!(native.timestamp, at);
            let buckets = |buckets: mvx_metrics::ExponentialBuckets<'_>| -> Vec<_> {
                buckets
                    .iter()
                    .filter(|(_, count)| *count > 0)
                    .map(|(index, count)| (index + 1, count))
                    .collect()
            };
            assert_eq!(
                unrolled(&native.positive_spans, &native.positive_deltas),
                buckets(shown.positive()),
                "{name}"
            );
            assert_eq!(
                unrolled(&native.negative_spans, &native.negative_deltas),
                buckets(shown.negative()),
                "{name}"
            );
        }
    }
    assert_eq!(seen, 5);
    assert!(request.timeseries.iter().any(|sent| sent.labels.iter().any(|pair| pair.value == "far_bucket")));
    // The metric goes: an end for each series, once, of its own kind.
    drop(recorder);
    runtime.stop_and_remove("spread", PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    let ends = decoded(&server.take()[0]);
    let natives = ends.timeseries.iter().filter(|sent| !sent.histograms.is_empty());
    let natives: Vec<_> =
        natives.map(|sent| (sent.samples.len(), sent.histograms[0].sum.to_bits())).collect();
    assert_eq!(natives, [(0, STALE); 5]);
    let numbers = ends.timeseries.iter().flat_map(|sent| &sent.samples);
    assert!(numbers.clone().count() > 3 && numbers.clone().all(|sample| sample.value.to_bits() == STALE));
}

#[test]
fn the_end_of_the_exporter_ends_its_series_if_asked_for() {
    for asked in [true, false] {
        let (server, runtime) = (Server::start(), running("end"));
        let _kept = pushing(&runtime, exporter(&server).end_series(asked).build().unwrap());
        everything(&runtime);
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
        let received = server.take();
        let last = samples(&received[received.len() - 1..]);
        assert!(!last.is_empty() && last.values().all(|samples| (samples[0].0 == STALE) == asked));
        assert_eq!(received.len(), if asked { 2 } else { 1 });
    }
}

/// A clock that stands still, or goes back.
#[derive(Debug)]
struct Standing(std::sync::atomic::AtomicU64);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        let left = self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        Timestamp::from_unix_nanos(1_700_000_000_000_000_000 + left)
    }
}

#[test]
fn times_rise_whatever_the_clock_does() {
    let server = Server::start();
    let clock = Standing(std::sync::atomic::AtomicU64::new(1_000_000_000));
    let runtime = MetricsRuntime::builder("clock").clock(clock).build().unwrap();
    runtime.start().unwrap();
    let _kept = pushing(&runtime, exporter(&server).build().unwrap());
    runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap().register_event(Number(1));
    for _ in 0..20 {
        runtime.force_flush(PATIENCE).unwrap();
    }
    let times: Vec<_> =
        server.take().iter().map(|one| decoded(one).timeseries[0].samples[0].timestamp).collect();
    assert!(times.len() == 20 && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn large_states_come_in_several_requests_and_answers_decide_what_comes_next() {
    let (server, runtime) = (Server::start(), running("chunks"));
    let kept = pushing(&runtime, exporter(&server).max_series(100).build().unwrap());
    let many = runtime
        .recorder::<Number>("many")
        .counter("many", |c| c.label("n", |n| n.0.into()))
        .create()
        .unwrap();
    (0..1_050).for_each(|n| many.register_event(Number(n)));
    many.flush_blocking(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    let received = server.take();
    assert_eq!(received.len(), 11);
    assert_eq!(samples(&received).len(), expected(&kept.latest().unwrap(), "chunks").len());

    let busy = |status: &str, headers: &str| Reply::Keep(answer(status, headers, b"out of order"));
    for (replies, requests, told) in [
        (
            vec![
                busy("500 Internal Server Error", ""),
                busy("429 Too Many Requests", "Retry-After: 0\r\n"),
                ok(),
            ],
            3,
            None,
        ),
        (
            vec![busy("503 Service Unavailable", ""); 4],
            4,
            Some("answered 503 Service Unavailable: out of order"),
        ),
        (vec![busy("400 Bad Request", "")], 1, Some("answered 400 Bad Request: out of order")),
        (vec![busy("302 Found", "Location: http://127.0.0.1:1/\r\n")], 1, Some("answered 302")),
    ] {
        let (server, runtime) = (Server::start(), running("answers"));
        let _kept = pushing(&runtime, exporter(&server).build().unwrap());
        runtime
            .recorder::<Number>("one")
            .counter("events", |c| c)
            .create()
            .unwrap()
            .register_event(Number(1));
        server.reply(replies.clone());
        let result = runtime.force_flush(PATIENCE).map_err(|error| error.to_string());
        assert_eq!(server.take().len(), requests, "{replies:?}");
        match told {
            None => assert_eq!(result, Ok(()), "{replies:?}"),
            Some(told) => assert!(result.as_ref().is_err_and(|error| error.contains(told)), "{result:?}"),
        }
    }
}

#[test]
fn it_conforms_and_refuses_what_cannot_be_sent_to_or_said() {
    let server = Server::start();
    Conformance::new(|| exporter(&server).build().unwrap()).run().unwrap();
    Conformance::new(|| exporter(&server).fold(Fold::Group).max_series(7).end_series(true).build().unwrap())
        .run()
        .unwrap();
    server.take().iter().for_each(|request| drop(decoded(request)));
    let build = |url: &str| RemoteWriteExporter::builder(url);
    let kinds = [
        build("ftp://prometheus/").build(),
        build("http://p/").header("Content-Encoding", "gzip").build(),
        build("http://p/").label("le", "1").build(),
        build("http://p/").max_series(0).build(),
    ]
    .map(|result| result.unwrap_err().kind());
    use ErrorKind::InvalidAddress;
    use ErrorKind::InvalidLimit;
    use ErrorKind::InvalidName;
    assert_eq!(kinds, [InvalidAddress, InvalidName, InvalidName, InvalidLimit]);
    let secret = build("http://u:canary@h/canary").header("Authorization", "canary");
    let shown = format!("{secret:?} {:?}", secret.clone().build().unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

/// The real one.
#[cfg(target_os = "linux")]
mod prometheus {
    use super::*;
    use crate::support::until;
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpListener;
    use std::net::TcpStream;
    use std::path::Path;
    use std::process::Child;
    use std::process::Command;
    use std::process::Stdio;
    use std::time::Instant;

    /// A child that is ended with the test.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Whether it is here; otherwise that is told.
    fn is_there() -> bool {
        let there =
            Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if there.is_err() {
            let printed = writeln!(
                std::io::stderr(),
                "NOT CHECKED IN PART: Prometheus takes remote writes; to get it: apt-get install prometheus"
            );
            assert!(printed.is_ok());
        }
        there.is_ok()
    }

    fn start(dir: &Path, port: u16) -> Running {
        std::fs::write(dir.join("prometheus.yml"), "global: {}\n").unwrap();
        let mut command = Command::new("prometheus");
        command.current_dir(dir).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--log.level=error",
        ]);
        command
            .args([
                "--web.enable-remote-write-receiver",
                "--enable-feature=native-histograms,exemplar-storage",
            ])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("Prometheus is ready", || get(port, "/-/ready").is_some_and(|answer| answer.contains(" 200 ")));
        running
    }

    fn get(port: u16, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// A time that is not before any sample: where states follow each other within a millisecond, the times that are sent run ahead of the clock.
    fn soon() -> u64 {
        mvx_metrics::SystemClock::new().now().unix_nanos() / 1_000_000_000 + 2
    }

    /// What it holds of a job.
    fn held(port: u16, job: &str) -> BTreeMap<Key, f64> {
        let query = format!("/api/v1/query?query=%7Bjob%3D%22{job}%22%7D&time={}", soon());
        let answer = get(port, &query).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let one = |series: serde_json::Value| {
            let labels: Key = serde_json::from_value(series["metric"].clone()).unwrap();
            (labels, series["value"][1].as_str().unwrap().parse().unwrap())
        };
        series.into_iter().map(one).collect()
    }

    #[test]
    fn prometheus_gives_every_value_back_loses_a_removed_series_and_recovers_from_kills() {
        if !is_there() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = start(dir.path(), port);
        let runtime = running("pushed");
        let exporter =
            RemoteWriteExporter::builder(&format!("http://127.0.0.1:{port}/api/v1/write")).vitals(false);
        let kept = pushing(&runtime, exporter.build().unwrap());
        everything(&runtime);
        let going = runtime.recorder::<Number>("going").counter("going", |c| c).create().unwrap();
        let count = runtime.recorder::<Number>("count").counter("count", |c| c).create().unwrap();
        going.register_event(Number(1));
        runtime.force_flush(PATIENCE).unwrap();
        let shown = || {
            expected(&kept.latest().unwrap(), "pushed")
                .into_iter()
                .filter(|(labels, _)| labels["job"] == "pushed")
                .collect()
        };
        let all: BTreeMap<Key, f64> = shown();
        assert!(all.len() > 50);
        assert_eq!(held(port, "pushed"), all);

        runtime.stop_and_remove("going", PATIENCE).unwrap();
        runtime.force_flush(PATIENCE).unwrap();
        let rest: BTreeMap<Key, f64> = shown();
        assert!(rest.len() < all.len());
        assert_eq!(held(port, "pushed"), rest, "what was removed is gone at once, not five minutes later");

        // Killed and started again; meanwhile the program counts on, and what it pushes fails.
        for round in 0..3 {
            drop(server);
            (0..10).for_each(|n| count.register_event(Number(n)));
            assert!(runtime.force_flush(Duration::from_secs(2)).is_err());
            server = start(dir.path(), port);
            let end = Instant::now() + PATIENCE;
            while runtime.force_flush(PATIENCE).is_err() {
                assert!(Instant::now() < end, "it does not recover");
            }
            let now: BTreeMap<Key, f64> = shown();
            assert!(now.values().any(|value| *value == f64::from(10 * (round + 1))));
            assert_eq!(held(port, "pushed"), now);
        }
        let errors = runtime.exporters().remove(0);
        assert_eq!((errors.failed, errors.consecutive_failures), (3, 0), "{errors:?}");
    }

    /// Count, sum, and each bucket that holds something with its bounds.
    type Held = (f64, f64, Vec<(f64, f64, f64)>);

    /// The native histograms that it holds.
    fn natives(port: u16) -> BTreeMap<Key, Held> {
        let query = format!("/api/v1/query?query=%7Bjob%3D%22native%22%7D&time={}", soon());
        let answer = get(port, &query).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let number = |value: &serde_json::Value| value.as_str().unwrap().parse::<f64>().unwrap();
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let natives = series.iter().filter_map(|series| {
            let histogram = series["histogram"].get(1)?;
            let labels: Key = serde_json::from_value(series["metric"].clone()).unwrap();
            let buckets = histogram["buckets"].as_array().cloned().unwrap_or_default();
            let buckets =
                buckets.iter().map(|bucket| (number(&bucket[1]), number(&bucket[2]), number(&bucket[3])));
            Some((labels, (number(&histogram["count"]), number(&histogram["sum"]), buckets.collect())))
        });
        natives.collect()
    }

    /// The same of a snapshot: what a bucket ends at is 2^(index * 2^-scale), which Prometheus looks up in a table.
    fn shown(snapshot: &RuntimeSnapshot) -> BTreeMap<Key, Held> {
        let mut all = BTreeMap::new();
        for family in snapshot.families(Fold::Recorder) {
            for part in family.parts() {
                for series in part.family().series() {
                    let histogram = series.value().exponential().unwrap();
                    let histogram = histogram.at_scale(histogram.scale().min(8));
                    let bound = |index: i32| (f64::from(index) * f64::from(-histogram.scale()).exp2()).exp2();
                    let mut buckets: Vec<_> = histogram
                        .negative()
                        .iter()
                        .map(|(index, count)| (-bound(index + 1), -bound(index), count as f64))
                        .collect();
                    buckets.reverse();
                    let zeros = (histogram.zero_threshold(), histogram.zero_count() as f64);
                    buckets.push((-zeros.0, zeros.0, zeros.1));
                    let above = histogram.positive();
                    buckets.extend(
                        above.iter().map(|(index, count)| (bound(index), bound(index + 1), count as f64)),
                    );
                    buckets.retain(|(.., count)| *count > 0.0);
                    let labels = part.labels().chain(series.labels().iter());
                    let mut labels: Key =
                        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                    labels.insert("__name__".into(), family.descriptor().name().to_string());
                    labels.insert("job".into(), "native".into());
                    if histogram.scale() >= -4 {
                        all.insert(labels, (histogram.count() as f64, histogram.sum(), buckets));
                    }
                }
            }
        }
        all
    }

    fn assert_held(port: u16, snapshot: &RuntimeSnapshot) -> usize {
        let (held, shown) = (natives(port), shown(snapshot));
        assert_eq!(held.keys().collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>());
        for (labels, (count, sum, buckets)) in &shown {
            let (there, total, parts) = &held[labels];
            assert_eq!((there, total.to_bits()), (count, sum.to_bits()), "{labels:?}");
            assert_eq!(parts.len(), buckets.len(), "{labels:?}: {parts:?} against {buckets:?}");
            for (one, other) in parts.iter().zip(buckets) {
                let close = |one: f64, other: f64| (one - other).abs() <= other.abs() * 1e-12;
                assert!(
                    close(one.0, other.0) && close(one.1, other.1),
                    "{labels:?}: {one:?} against {other:?}"
                );
                assert_eq!(one.2, other.2, "{labels:?}");
            }
        }
        held.len()
    }

    /// The exemplars that it holds, each list in the order of time: trace, value, milliseconds.
    fn exemplars(port: u16) -> BTreeMap<Key, Vec<(String, f64, i64)>> {
        let query = "/api/v1/query_exemplars?query=%7Bjob%3D%22marked%22%7D&start=0&end=9999999999";
        let answer = get(port, query).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let series = answer["data"].as_array().cloned().unwrap_or_default();
        let one = |series: serde_json::Value| {
            let exemplars = series["exemplars"].as_array().unwrap().iter().map(|exemplar| {
                let at = (exemplar["timestamp"].as_f64().unwrap() * 1e3).round() as i64;
                let value = exemplar["value"].as_str().unwrap().parse().unwrap();
                (exemplar["labels"]["trace_id"].as_str().unwrap().to_owned(), value, at)
            });
            (serde_json::from_value(series["seriesLabels"].clone()).unwrap(), exemplars.collect())
        };
        series.into_iter().map(one).collect()
    }

    #[test]
    fn prometheus_gives_every_exemplar_back_once() {
        if !is_there() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let _server = start(dir.path(), port);
        let runtime = running("marked");
        let exporter = RemoteWriteExporter::builder(&format!("http://127.0.0.1:{port}/api/v1/write"));
        let kept = pushing(&runtime, exporter.vitals(false).native_histograms(true).build().unwrap());
        let tell = |n: &Number, labels: &mut mvx_metrics::ExemplarLabels| labels.trace(u128::from(n.0), 0);
        let recorder = runtime
            .recorder::<Number>("one")
            .counter("seen", |c| c.exemplar(tell))
            .histogram("took", |h| h.bounds(&[4.0, 9.0]).value(|n| Some(n.0)).exemplar(tell))
            .exponential_histogram("spread", |h| h.value(|n| Some(n.0)).exemplar(tell))
            .create()
            .unwrap();
        // An exemplar of one time after the other: Prometheus keeps one of each millisecond of a series.
        let mut told: BTreeMap<String, Vec<(String, f64, i64)>> = BTreeMap::new();
        for number in [3, 5, 7, 60, 1_000] {
            let before = mvx_metrics::SystemClock::new().now().unix_nanos() / 1_000_000;
            until("another millisecond", || {
                mvx_metrics::SystemClock::new().now().unix_nanos() / 1_000_000 > before
            });
            recorder.register_event(Number(number));
            recorder.flush_blocking(PATIENCE).unwrap();
            runtime.force_flush(PATIENCE).unwrap();
            let snapshot = kept.latest().unwrap();
            for family in snapshot.families(Fold::Recorder) {
                let list = told.entry(family.descriptor().name().to_string()).or_default();
                for exemplar in family.parts()[0].family().series().next().unwrap().exemplars() {
                    let at = (exemplar.at().unix_nanos() / 1_000_000) as i64;
                    let trace = exemplar.labels().get("trace_id").unwrap().to_owned();
                    let one = (trace, exemplar.value().as_f64(), at);
                    if !list.contains(&one) {
                        list.push(one);
                    }
                }
            }
        }
        let mut held: BTreeMap<String, Vec<(String, f64, i64)>> = BTreeMap::new();
        for (labels, exemplars) in exemplars(port) {
            let name = labels["__name__"].trim_end_matches("_total").trim_end_matches("_bucket");
            held.entry(name.to_owned()).or_default().extend(exemplars);
        }
        held.values_mut().for_each(|list| list.sort_by_key(|(_, _, at)| *at));
        assert_eq!(held, told);
        assert_eq!(held.values().map(Vec::len).collect::<Vec<_>>(), [1, 4, 3], "one for each slot");
    }

    #[test]
    fn prometheus_gives_native_histograms_back_whatever_becomes_of_their_scale() {
        if !is_there() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let _server = start(dir.path(), port);
        let runtime = running("native");
        let exporter = RemoteWriteExporter::builder(&format!("http://127.0.0.1:{port}/api/v1/write"));
        let kept = pushing(&runtime, exporter.vitals(false).native_histograms(true).build().unwrap());
        let recorder = spread(&runtime);
        runtime.force_flush(PATIENCE).unwrap();
        assert_eq!(assert_held(port, &kept.latest().unwrap()), 5);
        // More in buckets that there are and that there are not, and far away, so that the scale falls.
        for numbers in [vec![3, 3, 60, 61], vec![1_000, 2_000], vec![1 << 40]] {
            numbers.into_iter().for_each(|n| recorder.register_event(Number(n)));
            recorder.flush_blocking(PATIENCE).unwrap();
            runtime.force_flush(PATIENCE).unwrap();
            assert_eq!(assert_held(port, &kept.latest().unwrap()), 5);
        }
        // Begun anew, and gone.
        runtime.stop_and_remove("spread", PATIENCE).unwrap();
        let _again = spread(&runtime);
        runtime.force_flush(PATIENCE).unwrap();
        assert_eq!(assert_held(port, &kept.latest().unwrap()), 5);
        runtime.stop_and_remove("spread", PATIENCE).unwrap();
        runtime.force_flush(PATIENCE).unwrap();
        assert_eq!(natives(port).len(), 0, "gone at once, not five minutes later");
    }
}

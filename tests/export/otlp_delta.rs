//! Differences by OTLP: those that were taken add up to the totals, whatever fails between (R24, R25).
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
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::conformance::Conformance;
use mvx_metrics::export::otlp::OtlpExporter;
use mvx_metrics::export::otlp::OtlpExporterBuilder;
use mvx_metrics::export::otlp::Temporality;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// A series as a receiver adds it up.
#[derive(Clone, Debug, Default)]
struct Total {
    /// A count, or the number of observations.
    count: u64,
    sum: f64,
    /// What was added to the sum last.
    last: f64,
    bounds: Vec<f64>,
    buckets: Vec<u64>,
    scale: i32,
    /// By sign and index.
    exponential: BTreeMap<(bool, i32), u64>,
    zeros: u64,
    /// From when to when each point was.
    times: Vec<(u64, u64)>,
    extremes: Vec<(Option<f64>, Option<f64>)>,
}

impl Total {
    fn at_scale(&self, scale: i32) -> BTreeMap<(bool, i32), u64> {
        let mut coarser = BTreeMap::new();
        for ((below, index), count) in &self.exponential {
            *coarser.entry((*below, index >> (self.scale - scale))).or_insert(0) += count;
        }
        coarser
    }

    fn add_sum(&mut self, sum: f64) {
        self.sum += sum;
        self.last = sum;
    }

    fn add_buckets(&mut self, scale: i32, below: bool, buckets: Option<&Buckets>) {
        let Some(buckets) = buckets else { return };
        for (index, count) in (buckets.offset..).zip(&buckets.bucket_counts).filter(|(_, count)| **count > 0)
        {
            *self.exponential.entry((below, index >> (scale - self.scale))).or_insert(0) += count;
        }
    }

    /// Whether a receiver of differences has come to what a receiver of totals was told.
    fn assert_is(&self, name: &str, told: &Self) {
        assert_eq!(
            (self.count, &self.buckets, self.zeros),
            (told.count, &told.buckets, told.zeros),
            "{name}"
        );
        let scale = self.scale.min(told.scale);
        assert_eq!(self.at_scale(scale), told.at_scale(scale), "{name}");
        // What a receiver adds up has the rounding of its last difference and of its addition, and of no other; where signs differ, the
        // difference may be much larger than the sum.
        let rounding = (told.sum.abs() + self.last.abs()) * f64::EPSILON;
        assert!((self.sum - told.sum).abs() <= rounding, "{name}: {} against {}", self.sum, told.sum);
        for pair in self.times.windows(2) {
            assert_eq!(pair[0].1, pair[1].0, "{name}: {:?}", self.times);
        }
        assert!(self.times.iter().all(|(start, end)| start <= end), "{name}: {:?}", self.times);
    }
}

type Totals = BTreeMap<String, Total>;

/// Adds what was taken of these requests; levels, which are no differences, are left out.
fn add(totals: &mut Totals, requests: &[Received], temporality: i32) {
    for request in requests.iter().filter(|request| request.taken) {
        let request = ExportMetricsServiceRequest::decode(&request.body[..]).unwrap();
        let scopes = request.resource_metrics.into_iter().flat_map(|one| one.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            add_metric(totals, &metric.name, metric.data.unwrap(), temporality);
        }
    }
}

fn add_metric(totals: &mut Totals, name: &str, data: Data, temporality: i32) {
    let mut total = |attributes: &dyn std::fmt::Debug, times: (u64, u64)| {
        let total = totals.entry(format!("{name} {attributes:?}")).or_default();
        total.times.push(times);
        std::mem::take(total)
    };
    let mut done = Vec::new();
    match data {
        Data::Sum(sum) if !sum.is_monotonic => assert_eq!(sum.aggregation_temporality, 2, "{name}"),
        Data::Sum(sum) => {
            assert_eq!(sum.aggregation_temporality, temporality, "{name}");
            for point in sum.data_points {
                let mut total = total(&point.attributes, (point.start_time_unix_nano, point.time_unix_nano));
                match point.value.unwrap() {
                    Value::AsInt(count) => total.count += u64::try_from(count).unwrap(),
                    Value::AsDouble(sum) => {
                        assert!(sum >= 0.0, "{name}: {sum}");
                        total.add_sum(sum);
                    }
                }
                done.push((format!("{:?}", point.attributes), total));
            }
        }
        Data::Histogram(histogram) => {
            assert_eq!(histogram.aggregation_temporality, temporality, "{name}");
            for point in histogram.data_points {
                let mut total = total(&point.attributes, (point.start_time_unix_nano, point.time_unix_nano));
                assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
                total.count += point.count;
                total.add_sum(point.sum.unwrap());
                total.buckets.resize(point.bucket_counts.len(), 0);
                total.buckets.iter_mut().zip(&point.bucket_counts).for_each(|(sum, count)| *sum += count);
                assert!(total.bounds.is_empty() || total.bounds == point.explicit_bounds);
                total.bounds = point.explicit_bounds;
                total.extremes.push((point.min, point.max));
                done.push((format!("{:?}", point.attributes), total));
            }
        }
        Data::ExponentialHistogram(histogram) => {
            assert_eq!(histogram.aggregation_temporality, temporality, "{name}");
            for point in histogram.data_points {
                let mut total = total(&point.attributes, (point.start_time_unix_nano, point.time_unix_nano));
                let scale = if total.count == 0 { point.scale } else { total.scale.min(point.scale) };
                total.exponential = total.at_scale(if total.count == 0 { total.scale } else { scale });
                total.scale = scale;
                let all = [&point.positive, &point.negative].into_iter().flatten();
                let counts = all.flat_map(|buckets| &buckets.bucket_counts).sum::<u64>();
                assert_eq!(point.count, counts + point.zero_count, "{name}");
                total.add_buckets(point.scale, false, point.positive.as_ref());
                total.add_buckets(point.scale, true, point.negative.as_ref());
                total.count += point.count;
                total.zeros += point.zero_count;
                total.add_sum(point.sum.unwrap());
                done.push((format!("{:?}", point.attributes), total));
            }
        }
        Data::Gauge(_) | Data::Summary(_) => {}
    }
    for (attributes, total) in done {
        totals.insert(format!("{name} {attributes}"), total);
    }
}

fn deltas(server: &Server) -> OtlpExporterBuilder {
    OtlpExporter::builder().endpoint(&server.url("/v1/metrics")).vitals(false).temporality(Temporality::Delta)
}

fn once() -> Schedule {
    Schedule::on_demand().timeout(PATIENCE).retry_pause(Duration::from_millis(1)).retries(0)
}

fn recorder(runtime: &MetricsRuntime, id: &str) -> Recorder<Number> {
    runtime
        .recorder::<Number>(id)
        .counter("saves", |c| c.label("zone", |n| (n.0 % 40).into()))
        .counter("busy", |c| c.value(|n| Some(Duration::from_nanos(n.0))))
        .up_down("open", |u| u.value(|n| Some(-(n.0 as i64))))
        .gauge("level", |g| g.value(|n| Some(n.0 as f64)))
        .histogram("took", |h| {
            h.bounds(&[10.0, 1e3, 1e9])
                .label("zone", |n| (n.0 % 30).into())
                .value(|n| Some(n.0 as f64 / 3.0 - 20.0))
        })
        .exponential_histogram("sizes", |h| h.value(|n| Some((n.0 as f64 - 50.0) * 1.1)))
        .average("mean", |a| a.value(|n| Some(n.0 as f64)))
        .create()
        .unwrap()
}

/// What happens between two exports, and how the receiver answers the next requests.
#[derive(Clone, Debug)]
struct Step {
    events: Vec<u64>,
    /// Whether the recorder ends, and another of its id begins.
    renewed: bool,
    answers: Vec<Reply>,
}

fn step() -> impl Strategy<Value = Step> {
    let status = |status: &str| Reply::Keep(answer(status, "", b""));
    let answers = prop_oneof![
        3 => Just(ok()),
        1 => Just(status("503 Service Unavailable")),
        1 => Just(status("400 Bad Request")),
        1 => Just(Reply::Close(Vec::new())),
        1 => Just(Reply::Close(b"nonsense\r\n\r\n".to_vec())),
    ];
    let number = prop_oneof![0..200_u64, 0..1_u64 << 40];
    (
        proptest::collection::vec(number, 0..60),
        proptest::bool::weighted(0.2),
        proptest::collection::vec(answers, 0..4),
    )
        .prop_map(|(events, renewed, answers)| Step { events, renewed, answers })
}

/// Differences to one receiver, totals to another. With series of their own for each recorder, none is renewed: what it has counted since ends with it.
fn add_up(steps: Vec<Step>, fold: Fold) {
    let (server, whole) = (Server::start(), Server::start());
    let runtime = running("deltas");
    // Several requests for a state, of which some fail.
    let exporter = deltas(&server).fold(fold).max_request_bytes(8 * 1_024).build().unwrap();
    runtime.add_exporter("deltas", once(), exporter).unwrap();
    let of_totals = deltas(&whole).fold(fold).temporality(Temporality::Cumulative).build().unwrap();
    runtime.add_exporter("totals", once(), of_totals).unwrap();
    let mut counting = recorder(&runtime, "one");
    let (mut added, mut told) = (Totals::new(), Totals::new());
    for Step { events, renewed, answers } in steps {
        events.iter().for_each(|n| counting.register_event(Number(*n)));
        counting.flush_blocking(PATIENCE).unwrap();
        if renewed && fold == Fold::Group {
            runtime.stop_and_remove("one", PATIENCE).unwrap();
            counting = recorder(&runtime, "one");
        }
        server.reply(answers);
        let _ = runtime.force_flush(PATIENCE);
        add(&mut added, &server.take(), 1);
        whole.take();
    }
    // As soon as one export is taken as a whole.
    let mut tries = 0;
    while runtime.force_flush(PATIENCE).is_err() {
        add(&mut added, &server.take(), 1);
        whole.take();
        tries += 1;
        assert!(tries < 1_000);
    }
    add(&mut added, &server.take(), 1);
    add(&mut told, &whole.take(), 2);
    assert_eq!(added.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
    for (name, told) in &told {
        added[name].assert_is(name, told);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::support::scaled(24) as u32))]

    /// However exports fail, in whole or in part, what was taken adds up to the totals, each time is told of once, and none is left out.
    #[test]
    fn the_differences_that_were_taken_add_up_to_the_totals(
        steps in proptest::collection::vec(step(), 1..12),
        group in any::<bool>(),
    ) {
        add_up(steps, if group { Fold::Group } else { Fold::Recorder });
    }
}

/// A receiver has -14.33, and 21.33 come: their rounding is that of the larger, and the sum has it.
#[test]
fn a_sum_whose_sign_turns_has_the_rounding_of_its_last_difference() {
    let step = |events: &[u64]| Step { events: events.to_vec(), renewed: false, answers: Vec::new() };
    add_up(vec![step(&[17]), step(&[47, 137])], Fold::Recorder);
}

/// Starts and counts of what was taken of the counter `saves` in zone 0.
fn saves(requests: &[Received]) -> Vec<(u64, u64, u64)> {
    let mut all = Vec::new();
    for request in requests {
        let mut totals = Totals::new();
        add(&mut totals, std::slice::from_ref(request), 1);
        all.extend(totals.iter().filter(|(name, _)| name.starts_with("saves ")).map(|(_, total)| {
            let (start, end) = total.times[0];
            (start, end, total.count)
        }));
    }
    all
}

#[test]
fn nothing_is_told_without_a_change_and_smallest_and_largest_once() {
    let server = Server::start();
    let runtime = running("changes");
    runtime.add_exporter("deltas", once(), deltas(&server).build().unwrap()).unwrap();
    let counting = recorder(&runtime, "one");
    let mut totals = Totals::new();
    for rounds in [2, 0, 1] {
        (0..rounds).for_each(|_| counting.register_event(Number(40)));
        counting.flush_blocking(PATIENCE).unwrap();
        runtime.force_flush(PATIENCE).unwrap();
        let received = server.take();
        add(&mut totals, &received, 1);
        assert_eq!(saves(&received).len(), usize::from(rounds > 0));
    }
    let took = totals.iter().find(|(name, _)| name.starts_with("took")).unwrap().1;
    let extreme = Some(40.0 / 3.0 - 20.0);
    assert_eq!(took.extremes, [(extreme, extreme), (None, None)]);
    assert_eq!(took.times[0].1, took.times[1].0);
}

#[test]
fn another_life_of_a_series_begins_with_its_own_start() {
    let server = Server::start();
    let runtime = running("lives");
    runtime.add_exporter("deltas", once(), deltas(&server).build().unwrap()).unwrap();
    for lives in 0..3 {
        let counting = recorder(&runtime, "one");
        (0..=lives).for_each(|_| counting.register_event(Number(0)));
        counting.flush_blocking(PATIENCE).unwrap();
        runtime.force_flush(PATIENCE).unwrap();
        runtime.stop_and_remove("one", PATIENCE).unwrap();
    }
    let told = saves(&server.take());
    assert_eq!(told.iter().map(|(_, _, count)| *count).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(told.windows(2).all(|pair| pair[0].1 <= pair[1].0), "no life reaches into another: {told:?}");
}

#[test]
fn a_request_whose_fate_is_unknown_is_told_again_with_the_same_start_and_a_rejected_point_is_not() {
    let server = Server::start();
    let runtime = running("fates");
    runtime.add_exporter("deltas", once(), deltas(&server).build().unwrap()).unwrap();
    let counting = recorder(&runtime, "one");
    let round = |replies: Vec<Reply>, well: bool| {
        counting.register_event(Number(0));
        counting.flush_blocking(PATIENCE).unwrap();
        server.reply(replies);
        assert_eq!(runtime.force_flush(PATIENCE).is_ok(), well);
        let mut received = server.take();
        // Here the receiver has taken it, whatever it said.
        received.iter_mut().for_each(|request| request.taken = true);
        saves(&received)
    };
    let first = round(vec![ok()], true);
    let unknown =
        round(vec![Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec())], false);
    let again = round(vec![], true);
    assert_eq!([first[0].2, unknown[0].2, again[0].2], [1, 1, 2]);
    assert_eq!((unknown[0].0, again[0].0), (first[0].1, first[0].1));
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 1,
            error_message: "no".into(),
        }),
    };
    let headers = "Content-Type: application/x-protobuf\r\n";
    let rejected = round(vec![Reply::Keep(answer("200 OK", headers, &partial.encode_to_vec()))], false);
    let next = round(vec![], true);
    assert_eq!((rejected[0].2, next[0].2), (1, 1));
}

#[test]
fn it_conforms() {
    let server = Server::start();
    Conformance::new(|| deltas(&server).build().unwrap()).run().unwrap();
    assert!(server.take().len() > 50);
}

/// What happens before an export: events of some recorders, and one that goes.
#[derive(Clone, Debug)]
struct Move {
    /// Of a recorder: zone, and how large.
    events: Vec<(usize, u64, u64)>,
    gone: Option<usize>,
    answers: Vec<Reply>,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let answers = prop_oneof![
        3 => Just(ok()),
        1 => Just(Reply::Keep(answer("400 Bad Request", "", b""))),
    ];
    let step = (
        proptest::collection::vec((0..4_usize, 0..7_u64, 0..4_u64), 0..12),
        proptest::option::weighted(0.3, 0..4_usize),
        proptest::collection::vec(answers, 0..4),
    );
    let step = step.prop_map(|(events, gone, answers)| Move { events, gone, answers });
    proptest::collection::vec(step, 1..14)
}

/// Series that find room in one export and none in the next, and the other way round.
fn move_about(steps: Vec<Move>, fold: Fold, named: bool) {
    let server = Server::start();
    let runtime = MetricsRuntime::builder("moves").exported_cardinality(5).build().unwrap();
    runtime.start().unwrap();
    let exporter = deltas(&server).fold(fold).max_request_bytes(8 * 1_024).build().unwrap();
    runtime.add_exporter("deltas", once(), exporter).unwrap();
    let make = |at: usize| {
        let builder = runtime.recorder::<Number>(&format!("r{at}"));
        let builder = match at {
            3 => builder.group("other"),
            _ if named => builder.group("group"),
            _ => builder,
        };
        builder
            .counter("saves", |c| c.label("zone", |n| (n.0 % 7).into()))
            .histogram("took", |h| {
                h.bounds(&[2.0, 4.0]).label("zone", |n| (n.0 % 7).into()).value(|n| Some((n.0 % 7) as f64))
            })
            .exponential_histogram("sizes", |h| {
                h.label("zone", |n| (n.0 % 7).into()).value(|n| Some((n.0 % 7) as f64 - 2.0))
            })
            // Whose scale becomes coarser by what comes, in each series at another time.
            .exponential_histogram("spread", |h| {
                let size = |n: &Number| 1000_f64.powi((n.0 / 7) as i32);
                h.max_buckets(4).label("zone", |n| (n.0 % 7).into()).value(move |n| Some(size(n)))
            })
            .create()
            .unwrap()
    };
    let mut recorders: Vec<_> = (0..4).map(make).collect();
    let (mut added, mut stated) = (Totals::new(), [0_u64; 7]);
    let export = |added: &mut Totals| {
        let result = runtime.force_flush(PATIENCE);
        add(added, &server.take(), 1);
        result.is_ok()
    };
    for Move { events, gone, answers } in steps {
        for (at, n, size) in events {
            recorders[at].register_event(Number(n + 7 * size));
            stated[n as usize] += 1;
        }
        recorders.iter().for_each(|recorder| recorder.flush_blocking(PATIENCE).unwrap());
        server.reply(answers);
        let mut taken = export(&mut added);
        if let Some(at) = gone {
            // What a recorder has counted since ends with it, unless its group keeps it.
            while !taken && fold == Fold::Recorder {
                taken = export(&mut added);
            }
            runtime.stop_and_remove(&format!("r{at}"), PATIENCE).unwrap();
            recorders[at] = make(at);
        }
    }
    while !export(&mut added) {}
    let of = |name: &'static str| {
        added.iter().filter(move |(key, _)| key.starts_with(name)).map(|(_, total)| total)
    };
    let all: u64 = stated.iter().sum();
    assert_eq!(of("saves ").map(|total| total.count).sum::<u64>(), all);
    let buckets = |from: usize, to: usize| stated[from..to].iter().sum::<u64>();
    let told = [0, 1, 2].map(|at| of("took ").filter_map(|total| total.buckets.get(at)).sum::<u64>());
    assert_eq!(told, [buckets(0, 3), buckets(3, 5), buckets(5, 7)]);
    assert_eq!(of("sizes ").map(|total| total.zeros).sum::<u64>(), stated[2]);
    assert_eq!(of("sizes ").map(|total| total.count).sum::<u64>(), all);
    assert_eq!(of("spread ").map(|total| total.count).sum::<u64>(), all);
    let sum: f64 = stated.iter().zip(0..).map(|(count, n)| *count as f64 * f64::from(n)).sum();
    assert_eq!(of("took ").map(|total| total.sum).sum::<f64>(), sum);
    for (name, total) in added.iter().filter(|(name, _)| name.contains("overflow")) {
        assert!(total.times.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{name}: {:?}", total.times);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::support::scaled(16) as u32))]

    /// However series move into the exported overflow series and out of it again, what was taken of all of them adds up to what was stated.
    #[test]
    fn series_that_move_into_the_overflow_series_and_back_are_counted_once(steps in moves(), group in any::<bool>(), named in any::<bool>()) {
        move_about(steps, if group { Fold::Group } else { Fold::Recorder }, named);
    }
}

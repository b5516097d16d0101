//! The smallest, the largest and the last value by the public API: on a runtime, folded, and with what cannot be taken.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use proptest::prelude::*;

struct Read {
    room: u8,
    heat: f64,
}

impl MetricEvent for Read {
    fn event_type(&self) -> &'static str {
        "read"
    }
}

const NAMES: [&str; 3] = ["coldest", "hottest", "now"];

fn recorder(runtime: &MetricsRuntime, id: &str) -> Recorder<Read> {
    runtime
        .recorder::<Read>(id)
        .min("coldest", |m| m.cardinality(2).label("room", |e| e.room.into()).value(|e| Some(e.heat)))
        .max("hottest", |m| m.cardinality(2).label("room", |e| e.room.into()).value(|e| Some(e.heat)))
        .last("now", |m| m.cardinality(2).label("room", |e| e.room.into()).value(|e| Some(e.heat)))
        .create()
        .unwrap()
}

fn record(recorder: &Recorder<Read>, room: u8, heats: &[f64]) {
    heats.iter().for_each(|heat| recorder.try_register_event(Read { room, heat: *heat }).unwrap());
    recorder.flush_blocking(PATIENCE).unwrap();
}

fn shown(recorder: &Recorder<Read>, room: &str) -> [Option<f64>; 3] {
    let snapshot = recorder.snapshot();
    NAMES.map(|name| snapshot.gauge(name, &[("room", room)]))
}

fn folded(runtime: &MetricsRuntime) -> [Option<f64>; 3] {
    let snapshot = runtime.collect();
    let families = snapshot.families(Fold::Group);
    NAMES.map(|name| {
        let family = families.iter().find(|family| family.descriptor().name() == name).unwrap();
        let [part] = family.parts() else { panic!("{name} has {} parts", family.parts().len()) };
        part.family().find(&[("room", "1")]).and_then(|series| series.value().gauge())
    })
}

#[test]
fn of_nothing_there_is_no_series_and_what_is_not_finite_is_refused_and_counted() {
    let runtime = running("nothing");
    let room = recorder(&runtime, "nothing");
    record(&room, 1, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    assert_eq!(shown(&room, "1"), [None; 3]);
    for name in NAMES {
        let snapshot = room.snapshot();
        let metric = snapshot.metric(name).unwrap();
        assert_eq!((metric.tally().refused, metric.family().len()), (3, 0), "{name}");
    }
    record(&room, 1, &[f64::MAX]);
    assert_eq!(shown(&room, "1"), [Some(f64::MAX); 3], "the first value counts, whatever it is");
    record(&room, 1, &[f64::MIN, f64::NAN]);
    assert_eq!(shown(&room, "1"), [Some(f64::MIN), Some(f64::MAX), Some(f64::MIN)]);
}

#[test]
fn each_series_begins_with_its_own_first_value_and_so_does_the_overflow_series() {
    let runtime = running("series");
    let rooms = recorder(&runtime, "rooms");
    for (room, heats) in [(1, [5.0, 7.0]), (2, [-5.0, -7.0]), (3, [9.0, 8.0]), (4, [11.0, 10.0])] {
        record(&rooms, room, &heats);
    }
    assert_eq!(shown(&rooms, "1"), [Some(5.0), Some(7.0), Some(7.0)]);
    assert_eq!(shown(&rooms, "2"), [Some(-7.0), Some(-5.0), Some(-7.0)]);
    let snapshot = rooms.snapshot();
    let overflow = NAMES.map(|name| {
        let family = snapshot.metric(name).unwrap().family();
        family.series().find(|series| series.is_overflow()).and_then(|series| series.value().gauge())
    });
    assert_eq!(overflow, [Some(8.0), Some(11.0), Some(10.0)]);
}

#[test]
fn recorders_fold_to_the_smallest_the_largest_and_the_last() {
    let runtime = running("folds");
    let [one, other] = ["one", "other"].map(|id| recorder(&runtime, id));
    assert_eq!(folded(&runtime), [None; 3]);
    record(&one, 1, &[3.0, 4.0]);
    assert_eq!(folded(&runtime), [Some(3.0), Some(4.0), Some(4.0)], "a recorder without a value has no say");
    record(&other, 1, &[10.0, 9.0]);
    assert_eq!(folded(&runtime), [Some(3.0), Some(10.0), Some(9.0)]);
    record(&one, 1, &[-1.0]);
    assert_eq!(folded(&runtime), [Some(-1.0), Some(10.0), Some(-1.0)]);
    runtime.stop_and_remove("one", PATIENCE).unwrap();
    assert_eq!(folded(&runtime), [Some(9.0), Some(10.0), Some(9.0)], "a level goes with its recorder");
}

#[test]
fn they_need_a_value_and_differ_from_a_gauge_of_their_name_in_their_fold() {
    let runtime = running("wrong");
    let without = [
        runtime.recorder::<Read>("none").min("m", |m| m).create().unwrap_err().kind(),
        runtime.recorder::<Read>("none").max("m", |m| m).create().unwrap_err().kind(),
        runtime.recorder::<Read>("none").last("m", |m| m).create().unwrap_err().kind(),
    ];
    assert_eq!(without, [ErrorKind::InvalidState; 3]);
    runtime.recorder::<Read>("low").min("m", |m| m.value(|e| Some(e.heat))).create().unwrap();
    let error =
        runtime.recorder::<Read>("high").max("m", |m| m.value(|e| Some(e.heat))).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MetricConflict);
    assert!(error.to_string().contains("fold"), "{error}");
}

#[cfg(feature = "prometheus")]
#[test]
fn in_the_text_format_they_are_gauges() {
    use mvx_metrics::export::prometheus::Encoder;
    use mvx_metrics::export::prometheus::Format;
    let runtime = running("text");
    record(&recorder(&runtime, "r"), 1, &[2.5, -1.0, 0.5]);
    let mut text = String::new();
    let encoded = Encoder::new(Format::Text).vitals(false).encode(&runtime.collect(), &mut text);
    assert_eq!(encoded.skipped(), []);
    let lines = "\
# TYPE coldest gauge
coldest{recorder=\"r\",room=\"1\"} -1.0
# TYPE hottest gauge
hottest{recorder=\"r\",room=\"1\"} 2.5
# TYPE now gauge
now{recorder=\"r\",room=\"1\"} 0.5
";
    assert_eq!(text, lines);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn they_are_those_of_the_sorted_values(heats in prop::collection::vec(any::<f64>(), 0..50)) {
        let runtime = running("sorted");
        let room = recorder(&runtime, "room");
        record(&room, 1, &heats);
        let mut sorted: Vec<_> = heats.iter().copied().filter(|heat| heat.is_finite()).collect();
        let last = sorted.last().copied();
        sorted.sort_by(f64::total_cmp);
        prop_assert_eq!(shown(&room, "1"), [sorted.first().copied(), sorted.last().copied(), last]);
    }
}

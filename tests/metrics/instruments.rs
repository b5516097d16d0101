//! Instruments that need more than a number: summaries, windows, rates, heartbeats, infos and state sets.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Fold;
use mvx_metrics::Heartbeat;
use mvx_metrics::Info;
use mvx_metrics::Kind;
use mvx_metrics::Metric;
use mvx_metrics::MetricEvent;
use mvx_metrics::RateMeter;
use mvx_metrics::Recorder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::StateSet;
use mvx_metrics::Summary;
use mvx_metrics::Timestamp;
use mvx_metrics::Unit;
use mvx_metrics::ValueRef;
use mvx_metrics::WindowedSummary;
use mvx_metrics::limits;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;
use std::time::Duration;

struct Step {
    by: f64,
    to: String,
    on: bool,
}

impl MetricEvent for Step {
    fn event_type(&self) -> &'static str {
        "step"
    }
}

fn by(by: f64) -> Step {
    Step { by, to: String::new(), on: true }
}

fn to(to: &str, on: bool) -> Step {
    Step { by: 1.0, to: to.to_owned(), on }
}

const SECOND: Duration = Duration::from_secs(1);

/// At second 1,000,000 of the epoch, which begins a slot of every window here.
fn stepped() -> SteppedRuntime {
    SteppedRuntime::starting_at("instruments", Timestamp::from_unix_nanos(1_000_000 * 1_000_000_000)).unwrap()
}

fn send(runtime: &mut SteppedRuntime, recorder: &Recorder<Step>, steps: impl IntoIterator<Item = Step>) {
    steps.into_iter().for_each(|step| recorder.try_register_event(step).unwrap());
    runtime.settle();
}

fn later(runtime: &mut SteppedRuntime, seconds: f64) {
    use mvx_metrics::Clock;
    let before = runtime.clock().now();
    runtime.clock().advance(SECOND.mul_f64(seconds));
    assert!(runtime.clock().now() > before);
    runtime.settle();
}

/// The one family of a collection, by group or by recorder.
fn only(snapshot: &RuntimeSnapshot, fold: Fold) -> Family {
    let families = snapshot.families(fold);
    let [family] = &families[..] else { panic!("{families:?}") };
    let [part] = family.parts() else { panic!("{family:?}") };
    assert_eq!(family.descriptor(), part.family().descriptor(), "the family is told as what its parts are");
    part.family().clone()
}

/// The value of rank `q * count`, rounded up: what a quantile is to be near to.
fn exact(sorted: &[f64], q: f64) -> f64 {
    let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
    sorted[rank - 1]
}

fn summed(digits: u8, values: &[f64]) -> (SteppedRuntime, Recorder<Step>) {
    let mut runtime = stepped();
    let recorder = runtime
        .recorder::<Step>("s")
        .capacity(100_000)
        .summary("wait", |s| s.digits(digits).value(|e| Some(e.by)))
        .create()
        .unwrap();
    send(&mut runtime, &recorder, values.iter().copied().map(by));
    (runtime, recorder)
}

proptest! {
    #[test]
    fn every_quantile_is_within_its_digits_of_the_value_of_its_rank(
        values in proptest::collection::vec(prop_oneof![-1e6..1e6_f64, 1e-9..1e-3_f64, (-20_i32..20).prop_map(f64::from)], 1..300),
        digits in 1..=limits::MAX_SUMMARY_DIGITS,
        shares in proptest::collection::vec(0.0..=1.0_f64, 1..8),
    ) {
        let (_runtime, recorder) = summed(digits, &values);
        let snapshot = recorder.snapshot();
        let shown = snapshot.summary("wait", &[]).unwrap();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let bound = 0.5 * 10_f64.powi(-i32::from(digits));
        prop_assert!(shown.relative_error() <= bound);
        for q in shares.into_iter().chain([0.0, 0.5, 0.99, 1.0]) {
            let (told, truth) = (shown.quantile(q).unwrap(), exact(&sorted, q));
            prop_assert!((told - truth).abs() <= bound * truth.abs() * (1.0 + 1e-12), "{q}: {told} for {truth}");
        }
        prop_assert_eq!((shown.min(), shown.max()), (sorted.first().copied(), sorted.last().copied()));
        prop_assert_eq!((shown.quantile(0.0), shown.quantile(1.0)), (shown.min(), shown.max()));
        let count = values.len() as f64;
        prop_assert_eq!((shown.count(), shown.total_count()), (values.len() as u64, values.len() as u64));
        let mean = shown.mean().unwrap();
        prop_assert!((mean - values.iter().sum::<f64>() / count).abs() <= 1e-6 * mean.abs().max(1.0));
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let largest = sorted.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let off = (shown.std_dev().unwrap() - deviation).abs();
        prop_assert!(off <= bound * largest + 1e-6, "{off} of {deviation}");
    }

    #[test]
    fn recorders_fold_to_what_one_recorder_of_all_would_tell(
        ours in proptest::collection::vec(-1e9..1e9_f64, 0..60),
        theirs in proptest::collection::vec(1e-6..1e-3_f64, 0..60),
    ) {
        let mut runtime = stepped();
        let create = |id: &str, group: &str| {
            let summary = runtime.recorder::<Step>(id).group(group).summary("wait", |s| s.value(|e| Some(e.by)));
            summary.create().unwrap()
        };
        let (left, right, whole) = (create("left", "parts"), create("right", "parts"), create("whole", "whole"));
        send(&mut runtime, &left, ours.iter().copied().map(by));
        send(&mut runtime, &right, theirs.iter().copied().map(by));
        send(&mut runtime, &whole, ours.iter().chain(&theirs).copied().map(by));
        let snapshot = runtime.runtime().collect();
        let families = snapshot.families(Fold::Group);
        let shown: Vec<_> = families[0].parts().iter().map(|part| {
            part.family().find(&[]).and_then(|series| series.value().summary())
        }).collect();
        prop_assert_eq!(shown.len(), 2);
        prop_assert_eq!(shown[0], shown[1]);
    }
}

#[test]
fn a_summary_refuses_what_is_no_number_and_tells_nothing_of_nothing() {
    let (mut runtime, recorder) = summed(2, &[]);
    assert_eq!(recorder.snapshot().summary("wait", &[]), None);
    send(&mut runtime, &recorder, [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX].map(by));
    assert_eq!(recorder.snapshot().metric("wait").unwrap().tally().refused, 4);
    send(&mut runtime, &recorder, [0.0, -0.0].map(by));
    let snapshot = recorder.snapshot();
    let shown = snapshot.summary("wait", &[]).unwrap();
    assert_eq!((shown.count(), shown.quantile(0.5), shown.std_dev()), (2, Some(0.0), Some(0.0)));
    for q in [-0.1, 1.1, f64::NAN] {
        assert_eq!(shown.quantile(q), None, "{q}");
    }
    // Further apart than what is told with all digits: fewer of them, and it says so.
    send(&mut runtime, &recorder, [1e-300, 1e300].map(by));
    let snapshot = recorder.snapshot();
    let shown = snapshot.summary("wait", &[]).unwrap();
    assert!(shown.relative_error() > 0.005, "{}", shown.relative_error());
    assert_eq!((shown.quantile(0.0), shown.quantile(1.0)), (Some(0.0), Some(1e300)));
}

#[test]
fn a_windowed_summary_shows_what_is_within_its_window_and_the_total_of_all() {
    let mut runtime = stepped();
    let recorder = runtime
        .recorder::<Step>("s")
        .windowed_summary("wait", |s| s.window(SECOND * 60).slots(6).value(|e| Some(e.by)))
        .create()
        .unwrap();
    send(&mut runtime, &recorder, [by(9.0)]);
    later(&mut runtime, 30.0);
    send(&mut runtime, &recorder, [by(1.0), by(2.0)]);
    let shown = |runtime: &SteppedRuntime| {
        let family = only(&runtime.runtime().collect(), Fold::Recorder);
        assert_eq!(family.descriptor().kind(), Kind::Summary);
        let shown = family.find(&[]).unwrap().value().summary().unwrap();
        let quantile = shown.quantile(1.0);
        (shown.count(), quantile, shown.sum(), shown.total_count(), shown.total_sum())
    };
    assert_eq!(shown(&runtime), (3, Some(9.0), 12.0, 3, 12.0));
    later(&mut runtime, 29.9);
    assert_eq!(shown(&runtime), (3, Some(9.0), 12.0, 3, 12.0));
    later(&mut runtime, 0.1);
    assert_eq!(
        shown(&runtime),
        (2, Some(2.0), 3.0, 3, 12.0),
        "the slot of the first second has left, without an event"
    );
    later(&mut runtime, 60.0);
    assert_eq!(shown(&runtime), (0, None, 0.0, 3, 12.0), "no data is no quantile");
    assert_eq!(recorder.snapshot().summary("wait", &[]), None, "a snapshot has no time");
    let now = runtime.runtime().now();
    let at = recorder.snapshot().at(now);
    assert_eq!(at.summary("wait", &[]).map(|shown| (shown.count(), shown.total_count())), Some((0, 3)));
    let earlier = recorder.snapshot().at(Timestamp::from_unix_nanos(now.unix_nanos() - 60 * 1_000_000_000));
    assert_eq!(
        earlier.summary("wait", &[]).map(|shown| shown.count()),
        Some(2),
        "the same snapshot at another time"
    );
}

#[test]
fn a_value_that_the_total_cannot_take_is_refused_whole() {
    let mut runtime = stepped();
    let recorder = runtime
        .recorder::<Step>("s")
        .windowed_summary("wait", |s| s.window(SECOND * 60).slots(6).value(|e| Some(e.by)))
        .create()
        .unwrap();
    send(&mut runtime, &recorder, [by(mvx_metrics::ExactSum::MAX)]);
    later(&mut runtime, 20.0);
    // The slot of now could take it, the sum of all cannot.
    send(&mut runtime, &recorder, [by(mvx_metrics::ExactSum::MAX)]);
    assert_eq!(recorder.snapshot().metric("wait").unwrap().tally().refused, 1);
    // The first has left the window.
    later(&mut runtime, 45.0);
    let at = recorder.snapshot().at(runtime.runtime().now());
    let shown = at.summary("wait", &[]).map(|shown| (shown.count(), shown.total_count()));
    assert_eq!(shown, Some((0, 1)));
}

#[test]
fn a_rate_is_of_its_window_and_no_data_is_no_rate() {
    let mut runtime = stepped();
    let recorder = runtime
        .recorder::<Step>("s")
        .rate("flow", |r| {
            r.window(SECOND * 10).slots(10).value(|e| Some(e.by)).label("to", |e| e.to.as_str().into())
        })
        .create()
        .unwrap();
    let shown = |runtime: &SteppedRuntime| {
        let family = only(&runtime.runtime().collect(), Fold::Recorder);
        assert_eq!(family.descriptor().kind(), Kind::Gauge);
        family.find(&[]).map(|series| series.value().gauge().unwrap())
    };
    assert_eq!(shown(&runtime), None);
    send(&mut runtime, &recorder, [by(30.0)]);
    assert_eq!(shown(&runtime), Some(30.0), "in its first second, by one slot");
    later(&mut runtime, 3.0);
    assert_eq!(shown(&runtime), Some(10.0));
    send(&mut runtime, &recorder, [by(15.0)]);
    assert_eq!(shown(&runtime), Some(15.0));
    later(&mut runtime, 6.5);
    assert_eq!(shown(&runtime), Some(45.0 / 9.5), "it falls while nothing comes");
    later(&mut runtime, 0.5);
    assert_eq!(shown(&runtime), Some(15.0 / 9.0), "the first slot has left");
    send(&mut runtime, &recorder, [by(-1.0), by(f64::NAN)]);
    assert_eq!(recorder.snapshot().metric("flow").unwrap().tally().refused, 2);
    later(&mut runtime, 3.0);
    assert_eq!(shown(&runtime), None);
    let (now, snapshot) = (runtime.runtime().now(), recorder.snapshot());
    assert_eq!((snapshot.at(now).rate("flow", &[]), snapshot.at(now).gauge("flow", &[])), (None, None));
    let before =
        snapshot.at(Timestamp::from_unix_nanos(now.unix_nanos() - 1_000_000_000)).rate("flow", &[]).unwrap();
    assert_eq!((before.count, before.sum, before.covered), (1, 15.0, SECOND * 9));
}

#[test]
fn rates_of_several_recorders_fold_and_stay_when_one_is_removed() {
    let mut runtime = stepped();
    let create = |id: &str| {
        let rate = runtime.recorder::<Step>(id).rate("flow", |r| r.window(SECOND * 10).slots(10));
        rate.create().unwrap()
    };
    let (left, right) = (create("left"), create("right"));
    send(&mut runtime, &left, [by(1.0), by(1.0)]);
    later(&mut runtime, 1.0);
    send(&mut runtime, &right, [by(1.0)]);
    later(&mut runtime, 1.0);
    let shown = |runtime: &SteppedRuntime| {
        let family = only(&runtime.runtime().collect(), Fold::Group);
        family.find(&[]).map(|series| series.value().gauge().unwrap())
    };
    assert_eq!(shown(&runtime), Some(1.5), "three in two seconds");
    let removal = runtime.runtime().clone();
    drop(left);
    let removed = std::thread::spawn(move || removal.stop_and_remove("left", crate::support::PATIENCE));
    while !removed.is_finished() {
        runtime.settle();
        std::thread::yield_now();
    }
    removed.join().unwrap().unwrap();
    assert_eq!(shown(&runtime), Some(1.5), "what was counted stays for its window");
    later(&mut runtime, 20.0);
    assert_eq!(shown(&runtime), None);
}

#[test]
fn a_heartbeat_rises_while_nothing_happens() {
    let mut runtime = stepped();
    let create = |id: &str, longest: bool| {
        let recorder =
            runtime.recorder::<Step>(id).heartbeat(if longest { "longest" } else { "shortest" }, |h| {
                if longest { h.longest() } else { h }
            });
        recorder.create().unwrap()
    };
    let recorders = ["a", "b"].map(|id| (create(id, false), create(&format!("{id}+"), true)));
    assert!(
        only_values(&runtime, Fold::Recorder).is_empty(),
        "before the first event there is no time since"
    );
    for (one, other) in &recorders {
        send(&mut runtime, one, [by(1.0)]);
        send(&mut runtime, other, [by(1.0)]);
        later(&mut runtime, 2.5);
    }
    assert_eq!(only_values(&runtime, Fold::Group), [("longest".into(), 5.0), ("shortest".into(), 2.5)]);
    later(&mut runtime, 10.0);
    assert_eq!(only_values(&runtime, Fold::Group), [("longest".into(), 15.0), ("shortest".into(), 12.5)]);
    let snapshot = recorders[0].0.snapshot();
    let since =
        snapshot.value("shortest", &[]).and_then(ValueRef::timed).and_then(|timed| timed.last_event());
    assert_eq!(since.map(Timestamp::unix_nanos), Some(1_000_000 * 1_000_000_000));
}

/// Every gauge of a collection, by name.
fn only_values(runtime: &SteppedRuntime, fold: Fold) -> Vec<(String, f64)> {
    let snapshot = runtime.runtime().collect();
    let mut all = Vec::new();
    for family in snapshot.families(fold) {
        for series in family.parts().iter().flat_map(|part| part.family().series()) {
            all.push((family.descriptor().name().to_string(), series.value().gauge().unwrap()));
        }
    }
    all
}

#[test]
fn an_info_is_what_its_labels_are_now() {
    let mut runtime = stepped();
    let create = |id: &str| {
        let recorder = runtime
            .recorder::<Step>(id)
            .info("cluster", |i| i.constant("region", "eu").label("leader", |e| e.to.as_str().into()))
            .info("build", |i| i.constant("version", "1.4"));
        recorder.create().unwrap()
    };
    let (left, right) = (create("left"), create("right"));
    assert!(left.snapshot().info("cluster").is_none());
    assert_eq!(
        left.snapshot().info("build").and_then(|labels| labels.get("version").map(str::to_owned)),
        Some("1.4".into())
    );
    send(&mut runtime, &left, [to("anna", true), to("ben", true), to("ben", true)]);
    send(&mut runtime, &right, [to("anna", true), to("", true), to("ben", true)]);
    let snapshot = left.snapshot();
    assert_eq!(snapshot.metric("cluster").unwrap().family().len(), 1, "the series of before has ended");
    let labels: Vec<_> = snapshot.info("cluster").unwrap().iter().collect();
    assert_eq!(labels, [("leader", "ben"), ("region", "eu")]);
    let tallies = ["cluster", "build"].map(|name| snapshot.metric(name).unwrap().tally());
    assert_eq!(tallies.map(|tally| (tally.accepted, tally.ignored)), [(3, 0), (0, 3)]);

    // Folded, they are counted, under the name that the sample of an info has.
    let shown = |runtime: &SteppedRuntime| {
        let snapshot = runtime.runtime().collect();
        let mut all = Vec::new();
        for family in snapshot.families(Fold::Group) {
            for series in family.parts().iter().flat_map(|part| part.family().series()) {
                all.push(format!(
                    "{} {} {:?}",
                    family.descriptor().name(),
                    series.labels(),
                    series.value().up_down()
                ));
            }
        }
        all
    };
    let both = shown(&runtime);
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].starts_with("build.info") && both[0].ends_with("Some(2)"), "{both:?}");
    assert!(both[1].starts_with("cluster.info") && both[1].ends_with("Some(2)"), "{both:?}");
    send(&mut runtime, &right, [to("carl", true)]);
    assert_eq!(shown(&runtime).len(), 3, "two leaders now");
}

#[test]
fn a_state_set_takes_its_own_states_alone() {
    let mut runtime = stepped();
    let create = |id: &str| {
        let recorder = runtime
            .recorder::<Step>(id)
            .state_set("door.state", &["open", "closed", "locked"], |s| {
                s.state(|e| (!e.to.is_empty()).then_some(&*e.to))
            })
            .state_set("door.flags", &["open", "closed", "locked"], |s| {
                s.toggle(|e| (!e.to.is_empty()).then_some((&*e.to, e.on)))
            });
        recorder.create().unwrap()
    };
    let (left, right) = (create("left"), create("right"));
    assert!(left.snapshot().states("door.state", &[]).is_none());
    send(
        &mut runtime,
        &left,
        [to("closed", true), to("locked", true), to("ajar", true), to("", true), to("closed", false)],
    );
    let snapshot = left.snapshot();
    let on = |name: &str| {
        let states = snapshot.states(name, &[]).unwrap();
        states.iter().filter(|(_, on)| *on).map(|(state, _)| state.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((on("door.state"), on("door.flags")), (vec!["closed".to_owned()], vec!["locked".to_owned()]));
    for name in ["door.state", "door.flags"] {
        let tally = snapshot.metric(name).unwrap().tally();
        assert_eq!((tally.accepted, tally.refused, tally.ignored), (3, 1, 1), "{name}");
    }
    send(&mut runtime, &right, [to("closed", true)]);
    let families = runtime.runtime().collect();
    let folded = families.families(Fold::Group);
    let state = folded.iter().find(|family| family.descriptor().name().as_str() == "door.state").unwrap();
    assert_eq!(state.descriptor().kind(), Kind::UpDown);
    let family = state.parts()[0].family();
    let counts = ["open", "closed", "locked"]
        .map(|name| family.find(&[("door_state", name)]).and_then(|series| series.value().up_down()));
    assert_eq!(counts, [Some(0), Some(2), Some(0)]);
}

#[test]
fn mistakes_in_a_definition_say_what_to_write() {
    let kind = |error: Error, part: &str| {
        assert!(error.to_string().contains(part), "{error}");
        error.kind()
    };
    let summary = || Summary::<Step>::builder("s").value(|e| Some(e.by));
    assert_eq!(kind(Summary::<Step>::builder("s").build().unwrap_err(), ".value("), ErrorKind::InvalidState);
    for digits in [0, limits::MAX_SUMMARY_DIGITS + 1] {
        assert_eq!(kind(summary().digits(digits).build().unwrap_err(), "1 to 4"), ErrorKind::InvalidLimit);
    }
    for bad in [&[99.0][..], &[f64::NAN], &[-0.1], &[0.9, 0.5], &[0.5, 0.5]] {
        assert_eq!(
            kind(summary().quantiles(bad).build().unwrap_err(), "quantile"),
            ErrorKind::InvalidLimit,
            "{bad:?}"
        );
    }
    assert!(summary().quantiles(&[0.0; limits::MAX_QUANTILES + 1]).build().is_err());
    assert!(summary().quantiles(&[]).build().unwrap().descriptor().quantiles().is_empty());
    let windowed = || WindowedSummary::<Step>::builder("s").value(|e| Some(e.by));
    assert_eq!(
        kind(WindowedSummary::<Step>::builder("s").build().unwrap_err(), ".value("),
        ErrorKind::InvalidState
    );
    for (length, slots) in [
        (SECOND, 1),
        (SECOND, limits::MAX_WINDOW_SLOTS + 1),
        (Duration::ZERO, 2),
        (limits::MAX_WINDOW * 2, 2),
    ] {
        assert_eq!(
            kind(windowed().window(length).slots(slots).build().unwrap_err(), "slots"),
            ErrorKind::InvalidLimit
        );
        let rate = RateMeter::<Step>::builder("r").window(length).slots(slots);
        assert_eq!(rate.build().unwrap_err().kind(), ErrorKind::InvalidLimit);
    }
    assert!(RateMeter::<Step>::builder("r").window(Duration::MAX).build().is_err());
    assert_eq!(Heartbeat::<Step>::builder("h").build().unwrap().descriptor().unit(), &Unit::Seconds);
    assert_eq!(kind(Info::<Step>::builder("i").build().unwrap_err(), ".constant("), ErrorKind::InvalidState);
    let twice = Info::<Step>::builder("i").constant("a", "1").label("a", |e| e.to.as_str().into());
    assert_eq!(twice.build().unwrap_err().kind(), ErrorKind::InvalidName);
    assert_eq!(
        kind(Info::<Step>::builder("i").constant("a", "1").unit(Unit::Bytes).build().unwrap_err(), "unit"),
        ErrorKind::InvalidLimit
    );
    let long = "n".repeat(limits::MAX_NAME_BYTES);
    let info = |name: &str| Info::<Step>::builder(name).constant("a", "1").build();
    assert_eq!(kind(info(&long).unwrap_err(), "shorten"), ErrorKind::InvalidName);
    assert!(info(&long[".info".len()..]).is_ok());
    let states = |states: &[&str]| StateSet::<Step>::builder("s.t", states).state(|e| Some(&*e.to));
    assert_eq!(
        kind(StateSet::<Step>::builder("s", &["a"]).build().unwrap_err(), ".state("),
        ErrorKind::InvalidState
    );
    let many: Vec<String> = (0..=limits::MAX_STATES).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for bad in [&[][..], &["a", "a"], &["a", ""], &["a\nb"], &many[..]] {
        assert_eq!(kind(states(bad).build().unwrap_err(), "state"), ErrorKind::InvalidLimit, "{bad:?}");
    }
    assert!(states(&many[1..]).build().is_ok());
    let own = states(&["a"]).label("s_t", |e| e.to.as_str().into());
    assert_eq!(kind(own.build().unwrap_err(), "s_t"), ErrorKind::InvalidName);
}

#[test]
fn every_place_of_64_states_is_one_of_its_own() {
    let names: Vec<String> = (0..limits::MAX_STATES).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut runtime = stepped();
    let recorder = runtime
        .recorder::<Step>("s")
        .state_set("many", &names, |s| s.toggle(|e| Some((&*e.to, e.on))))
        .create()
        .unwrap();
    send(&mut runtime, &recorder, names.iter().map(|name| to(name, true)));
    assert!(recorder.snapshot().states("many", &[]).unwrap().iter().all(|(_, on)| on));
    send(&mut runtime, &recorder, [to("s0", false), to("s63", false)]);
    let snapshot = recorder.snapshot();
    let off: Vec<_> =
        snapshot.states("many", &[]).unwrap().iter().filter(|(_, on)| !on).map(|(name, _)| name).collect();
    assert_eq!(off, ["s0", "s63"]);
}

#[test]
fn names_that_no_format_could_tell_apart_are_refused() {
    let runtime = stepped();
    runtime.recorder::<Step>("one").info("build", |i| i.constant("version", "1")).create().unwrap();
    let taken = runtime.recorder::<Step>("two").gauge("build.info", |g| g.value(|e| Some(e.by))).create();
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::MetricConflict);
    runtime.recorder::<Step>("three").summary("wait", |s| s.value(|e| Some(e.by))).create().unwrap();
    for (id, digits) in [("four", 3), ("five", 2)] {
        let other =
            runtime.recorder::<Step>(id).summary("wait", |s| s.digits(digits).value(|e| Some(e.by))).create();
        assert_eq!(other.is_ok(), digits == 2, "another shape is an error");
    }
    let sum = runtime.recorder::<Step>("six").counter("wait.sum", |c| c).create();
    assert_eq!(sum.unwrap_err().kind(), ErrorKind::MetricConflict);
}

#[test]
fn a_custom_metric_states_infos_and_state_sets_and_a_state_that_is_none_is_a_fault() {
    let info = mvx_metrics::Descriptor::builder("peer", Kind::Info).label("name").build().unwrap();
    let mut family = Family::new(info);
    let labels = mvx_metrics::LabelSet::new([("name", "anna")]).unwrap();
    FamilyWriter::whole(&mut family).info(&labels);
    assert_eq!(family.series().next().unwrap().value(), ValueRef::Info);
    let states =
        mvx_metrics::Descriptor::builder("mode", Kind::StateSet).states(&["on", "off"]).build().unwrap();
    let mut family = Family::new(states);
    FamilyWriter::whole(&mut family).state_set(&Default::default(), &["off"]);
    assert_eq!(family.series().next().unwrap().value().states().unwrap().is_on("off"), Some(true));
    FamilyWriter::whole(&mut family).state_set(&Default::default(), &["off", "ajar"]);
    assert_eq!((family.len(), family.faults()), (0, 1));
}

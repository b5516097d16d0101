//! Series that end when they were not observed for long.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use mvx_metrics::Counter;
use mvx_metrics::ErrorKind;
use mvx_metrics::Family;
use mvx_metrics::Fold;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricSet;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Timestamp;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(80);

/// How late it may be noticed that a series is idle.
const LATE: Duration = Duration::from_secs(10);

/// Every kind of metric with series of its own, by a label of 20 values.
fn metrics() -> MetricSet<Number> {
    MetricSet::<Number>::new()
        .counter("count", |c| c.label("n", |e| (e.0 % 20).into()).expire_after(IDLE))
        .counter("sum", |c| {
            c.label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0 as f64 / 8.0)).expire_after(IDLE)
        })
        .histogram("size", |h| {
            h.bounds(&[3.0, 9.0]).label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0)).expire_after(IDLE)
        })
        .exponential_histogram("spread", |h| {
            h.label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0)).expire_after(IDLE)
        })
        .average("mean", |a| a.label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0)).expire_after(IDLE))
        .gauge("level", |g| g.label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0)).expire_after(IDLE))
        .counter("few", |c| c.label("n", |e| (e.0 % 20).into()).cardinality(4).expire_after(IDLE))
        .counter("kept", |c| c.label("n", |e| (e.0 % 20).into()))
        .counter("all", |c| c.expire_after(IDLE))
}

/// The values of a metric by the number in its label.
fn values(family: &Family) -> BTreeMap<Option<u64>, String> {
    let number = |labels: LabelSet| labels.get("n").map(|n| n.parse().unwrap());
    family
        .series()
        .map(|series| (number(series.labels().to_set()), format!("{:?}", series.value())))
        .collect()
}

fn folded(snapshot: &RuntimeSnapshot, name: &str) -> BTreeMap<Option<u64>, String> {
    let families = snapshot.families(Fold::Group);
    let family = families.iter().find(|family| family.descriptor().name().as_str() == name);
    family.map_or_else(BTreeMap::new, |family| values(family.parts()[0].family()))
}

fn total(family: &Family) -> u64 {
    family.series().map(|series| series.value().counter().unwrap()).sum()
}

proptest! {
    /// Whatever comes when: a series is there as long as it is not idle, its totals stay in the group as if it had never ended, and it begins
    /// anew from nothing.
    #[test]
    fn series_end_when_they_are_idle_and_their_counts_stay_in_the_totals(
        steps in proptest::collection::vec((0..64_u64, 0..30_u64), 0..120),
    ) {
        let mut runtime = SteppedRuntime::new("expiry").unwrap();
        let recorder = runtime.recorder::<Number>("one").metrics(metrics()).create().unwrap();
        // A runtime whose series stay.
        let mut plain = SteppedRuntime::new("plain").unwrap();
        let names = ["count", "sum", "size", "spread", "mean"];
        let forever = names.iter().fold(MetricSet::<Number>::new(), |set, name| match *name {
            "count" => set.counter(name, |c| c.label("n", |e| (e.0 % 20).into())),
            "sum" => set.counter(name, |c| c.label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0 as f64 / 8.0))),
            "size" => set.histogram(name, |h| {
                h.bounds(&[3.0, 9.0]).label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0))
            }),
            "spread" => set.exponential_histogram(name, |h| {
                h.label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0))
            }),
            _ => set.average(name, |a| a.label("n", |e| (e.0 % 20).into()).value(|e| Some(e.0))),
        });
        let whole = plain.recorder::<Number>("one").metrics(forever).create().unwrap();
        let mut seen: BTreeMap<u64, Duration> = BTreeMap::new();
        let mut counted: BTreeMap<u64, u64> = BTreeMap::new();
        let mut readers = Vec::new();
        let mut now = Duration::ZERO;
        for (number, pause) in steps {
            runtime.clock().advance(Duration::from_secs(pause));
            now += Duration::from_secs(pause);
            recorder.register_event(Number(number));
            whole.register_event(Number(number));
            runtime.settle();
            let series = number % 20;
            seen.insert(series, now);
            *counted.entry(series).or_default() += 1;
            let snapshot = recorder.snapshot();
            let shown = values(snapshot.metric("count").unwrap().family());
            for (series, at) in &seen {
                let idle = now - *at;
                let is_there = shown.contains_key(&Some(*series));
                prop_assert!(is_there || idle >= IDLE, "{} is gone after {:?}", series, idle);
                prop_assert!(!is_there || idle < IDLE + LATE, "{} is there after {:?}", series, idle);
            }
            // What was dropped from our model begins anew.
            counted.retain(|series, count| {
                let there = shown.get(&Some(*series));
                assert!(there.is_none_or(|there| *there == format!("Counter({count})")), "{series}: {shown:?}");
                there.is_some()
            });
            if number % 5 == 0 {
                // Cuts that are held make the actor write others.
                readers.push(snapshot);
            }
        }
        plain.settle();
        let snapshot = recorder.snapshot();
        for metric in snapshot.metrics() {
            let family = metric.family();
            prop_assert_eq!(metric.tally().total(), snapshot.sequence());
            if ["all", "kept"].contains(&family.name().as_str()) {
                prop_assert_eq!(total(family), snapshot.sequence());
            }
            if ["sum", "size", "spread", "mean", "level"].contains(&family.name().as_str()) {
                let same: Vec<_> = values(family).into_keys().collect();
                let count: Vec<_> = values(snapshot.metric("count").unwrap().family()).into_keys().collect();
                prop_assert_eq!(same, count);
            }
        }
        for name in names {
            let (ours, theirs) = (runtime.runtime().collect(), plain.runtime().collect());
            prop_assert_eq!(folded(&ours, name), folded(&theirs, name), "{}", name);
        }
    }
}

#[test]
fn an_ended_series_gives_its_room_to_another_and_comes_back_with_a_start_of_its_own() {
    let mut runtime = SteppedRuntime::new("room").unwrap();
    let recorder = runtime.recorder::<Number>("one").metrics(metrics()).create().unwrap();
    let mut see = |numbers: &[u64], pause: u64| {
        numbers.iter().for_each(|number| recorder.register_event(Number(*number)));
        runtime.settle();
        runtime.clock().advance(Duration::from_secs(pause));
        recorder.snapshot()
    };
    let first = see(&[0, 1, 2, 3, 4], 60);
    let few = |snapshot: &mvx_metrics::Snapshot| values(snapshot.metric("few").unwrap().family());
    let keys = |snapshot: &mvx_metrics::Snapshot| few(snapshot).into_keys().collect::<Vec<_>>();
    assert_eq!(keys(&first), [None, Some(0), Some(1), Some(2), Some(3)]);
    see(&[0], 60);
    let after = see(&[0], 0);
    assert_eq!(keys(&after), [None, Some(0)], "the overflow series stays");
    let later = see(&[4, 5, 6, 7], 0);
    assert_eq!(keys(&later), [None, Some(0), Some(4), Some(5), Some(6)]);
    assert_eq!(few(&later)[&None], "Counter(2)");
    assert_eq!(few(&later)[&Some(0)], "Counter(3)");
    // Who holds an older cut sees it as it was.
    assert_eq!(keys(&first), [None, Some(0), Some(1), Some(2), Some(3)]);
    see(&[], 200);
    let back = see(&[1], 0);
    let family = back.metric("count").unwrap().family();
    let one = family.find(&[("n", "1")]).unwrap();
    assert_eq!((one.value().counter(), family.len()), (Some(1), 1));
    assert!(one.started() > first.taken_at(), "{:?}", Timestamp::default());
    let all = folded(&runtime.runtime().collect(), "count");
    assert_eq!((all[&Some(1)].as_str(), all[&Some(0)].as_str()), ("Counter(2)", "Counter(3)"));
    assert!(folded(&runtime.runtime().collect(), "level").keys().eq([&Some(1)]), "levels are in no total");
}

#[test]
fn an_expiry_of_nothing_is_refused_and_one_without_labels_never_comes() {
    let refused = Counter::<Number>::builder("c").expire_after(Duration::ZERO).build();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidLimit);
    let mut runtime = SteppedRuntime::new("unlabelled").unwrap();
    let recorder = runtime.recorder::<Number>("one").metrics(metrics()).create().unwrap();
    recorder.register_event(Number(1));
    runtime.settle();
    runtime.clock().advance(IDLE * 10);
    recorder.register_event(Number(2));
    runtime.settle();
    assert_eq!(recorder.snapshot().counter("all", &[]), Some(2));
    // The longest there is does no harm.
    let longest = Counter::builder("longest").label("n", |e: &Number| e.0.into()).expire_after(Duration::MAX);
    let registered = recorder.register_metric(longest.build().unwrap());
    recorder.register_event(Number(3));
    runtime.settle();
    assert!(registered.result().unwrap().is_ok());
    assert_eq!(recorder.snapshot().total("longest"), Some(1));
}

#[test]
fn a_series_that_takes_the_place_of_an_ended_one_has_extremes_of_its_own() {
    let mut runtime = SteppedRuntime::new("extremes").unwrap();
    let recorder = runtime.recorder::<Number>("one").histogram("size", |h| {
        h.bounds(&[3.0])
            .label("odd", |e| (e.0 % 2).into())
            .value(|e| Some(e.0))
            .expire_after(Duration::from_secs(2))
    });
    let recorder = recorder.create().unwrap();
    let mut see = |numbers: &[u64]| {
        // So many that a metric is shown several at once.
        (0..8).for_each(|_| numbers.iter().for_each(|number| recorder.register_event(Number(*number))));
        runtime.settle();
        // Less than after what a recorder rests, which leaves it without anything that it has only for batches.
        runtime.clock().advance(Duration::from_millis(300));
        let snapshot = recorder.snapshot();
        let histogram = snapshot.histogram("size", &[("odd", "1")]).unwrap();
        (snapshot.metric("size").unwrap().family().len(), histogram.min(), histogram.max())
    };
    assert_eq!(see(&[0, 1_000, 501]), (2, Some(501.0), Some(501.0)));
    while see(&[501]).0 == 2 {}
    assert_eq!(see(&[301, 701]), (1, Some(301.0), Some(701.0)));
}

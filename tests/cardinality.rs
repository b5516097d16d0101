//! Labels without bound, long labels, and very many recorders: what is shown stays bounded, and totals stay exact.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/heap.rs"]
mod heap;
mod support;

use crate::heap::live;
use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use mvx_metrics::ExportedFamily;
use mvx_metrics::Fold;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::View;
use mvx_metrics::testing::SteppedRuntime;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Tests of this file run one after the other: one of them looks at the heap of the process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const MILLION: u64 = 1_000_000;

/// What a limited metric may keep, however many values there are: its own series, a few examples, and nothing for each value.
const BOUND: i64 = 4 << 20;

#[derive(Clone)]
struct Visit {
    user: u64,
    page: String,
}

impl MetricEvent for Visit {
    fn event_type(&self) -> &'static str {
        "visit"
    }
}

fn user(n: u64) -> LabelSet {
    LabelSet::new([("user", n)]).unwrap()
}

#[test]
fn a_million_values_leave_an_exact_total_bounded_memory_and_a_report_that_names_label_and_examples() {
    let _alone = alone();
    let runtime = running("million");
    let recorder = runtime
        .recorder::<Number>("door")
        .counter("visits", |c| {
            c.label("user", |e| e.0.into()).label("odd", |e| (e.0 % 2 == 1).into()).cardinality(100)
        })
        .histogram("sizes", |h| h.bounds(&[10.0]).label("user", |e| e.0.into()).value(|e| Some(e.0)))
        .create()
        .unwrap();
    (0..5_000).for_each(|n| insist(&recorder, Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
    let before = live();
    (5_000..MILLION).for_each(|n| insist(&recorder, Number(n)));
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    drop(recorder.snapshot());
    assert!(live() - before < BOUND, "{} bytes more", live() - before);
    assert_eq!(snapshot.total("visits"), Some(MILLION));
    let visits = snapshot.metric("visits").unwrap().family();
    let sizes = snapshot.metric("sizes").unwrap().family();
    assert_eq!((visits.len(), visits.overflowed()), (101, MILLION - 100));
    assert_eq!((sizes.len(), sizes.overflowed()), (2_001, MILLION - 2_000));
    let observed = sizes.series().map(|series| series.value().histogram().unwrap().count()).sum::<u64>();
    assert_eq!(observed, MILLION);

    let report = runtime.collect().cardinality();
    assert_eq!(report.iter().map(|one| one.metric.as_str()).collect::<Vec<_>>(), ["sizes", "visits"]);
    assert_eq!(report[0].left_out, (2_000..2_005).map(user).collect::<Vec<_>>());
    let visits = &report[1];
    assert_eq!((visits.label.as_ref().unwrap().as_str(), visits.values, visits.recorders), ("user", 100, 1));
    assert_eq!(visits.examples.len(), 5);
    let expected = |n: u64| {
        LabelSet::new(
            [("user", n.to_string()), ("odd", (n % 2 == 1).to_string())].iter().map(|(k, v)| (*k, v)),
        )
        .unwrap()
    };
    assert_eq!(visits.left_out, (100..105).map(expected).collect::<Vec<_>>());
}

#[test]
fn the_same_late_value_a_million_times_is_one_example_and_later_ones_still_come() {
    let _alone = alone();
    let mut runtime = SteppedRuntime::new("same").unwrap();
    let recorder = runtime
        .recorder::<Number>("door")
        .counter("visits", |c| c.label("user", |e| e.0.into()).cardinality(1))
        .create()
        .unwrap();
    let mut examples = |numbers: &mut dyn Iterator<Item = u64>| {
        for number in numbers {
            recorder.register_event(Number(number));
            if number % 512 == 0 {
                runtime.settle();
            }
        }
        runtime.settle();
        let snapshot = recorder.snapshot();
        snapshot.metric("visits").unwrap().family().overflow_examples().to_vec()
    };
    assert_eq!(examples(&mut [0].into_iter()), []);
    assert_eq!(examples(&mut [512; 100].into_iter()), [user(512)]);
    assert_eq!(examples(&mut [7].into_iter()), [user(512), user(7)]);
    assert_eq!(examples(&mut std::iter::repeat_n(512, 5_000)), [user(512), user(7)]);
    // Enough was looked at: to look costs more than to count.
    assert_eq!(examples(&mut [8].into_iter()), [user(512), user(7)]);
    assert_eq!(recorder.snapshot().total("visits"), Some(5_103));
}

#[test]
fn values_of_ten_kilobytes_are_cut_and_told_apart_by_what_is_left() {
    let _alone = alone();
    let runtime = running("long");
    let recorder = runtime
        .recorder::<Visit>("door")
        .counter("visits", |c| {
            c.label("page", |e| (&e.page).into()).label("user", |e| e.user.into()).cardinality(3)
        })
        .create()
        .unwrap();
    let long = |first: &str| format!("{first}{}", "ä".repeat(5_000));
    for round in 0..3 {
        for first in ["a", "b"] {
            recorder.register_event(Visit { user: 0, page: long(first) });
            // The same up to where it is cut.
            recorder.register_event(Visit { user: 0, page: format!("{}{round}", long(first)) });
        }
    }
    (1..4).for_each(|user| recorder.register_event(Visit { user, page: long("c") }));
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    let family = snapshot.metric("visits").unwrap().family();
    let shown: Vec<_> = family
        .series()
        .map(|series| (series.labels().get("page").map(str::len), series.value().counter().unwrap()))
        .collect();
    // 1,024 bytes, and no half of a character.
    assert_eq!(shown, [(Some(1_023), 6), (Some(1_023), 6), (Some(1_023), 1), (None, 2)]);
    let lengths: Vec<_> =
        family.overflow_examples().iter().map(|set| set.get("page").map(str::len)).collect();
    assert_eq!(lengths, [Some(1_023), Some(1_023)]);
    assert_eq!(runtime.collect().cardinality()[0].left_out.len(), 2);
}

/// The counts of a metric, those of the overflow series included.
fn sum(families: &[ExportedFamily<'_>], name: &str) -> u64 {
    let family = families.iter().find(|family| family.descriptor().name().as_str() == name).unwrap();
    let series = family.parts().iter().flat_map(|part| part.family().series());
    series.map(|series| series.value().counter().unwrap()).sum()
}

fn unfolded_and_folded(snapshot: &RuntimeSnapshot) -> [u64; 3] {
    let view = View::builder().fold(Fold::Group).drop_label("*", "number").build().unwrap();
    [
        sum(&snapshot.families(Fold::Recorder), "events"),
        sum(&snapshot.families(Fold::Group), "events"),
        // Laid over it, and folded whatever is asked for.
        sum(&snapshot.with_view(&view).families(Fold::Recorder), "events"),
    ]
}

#[test]
fn ten_thousand_recorders_are_folded_and_unfolded_under_load_to_the_same_totals() {
    let _alone = alone();
    const RECORDERS: usize = 10_000;
    // Two series for each recorder: most of them share the overflow series.
    let runtime = MetricsRuntime::builder("many").exported_cardinality(5_000).build().unwrap();
    runtime.start().unwrap();
    let make = |n: usize| -> Recorder<Number> {
        runtime
            .recorder::<Number>(&format!("r{n}"))
            .group(&format!("g{}", n % 3))
            .counter("events", |c| c.label("number", |e| (e.0 % 2).into()))
            .create()
            .unwrap()
    };
    let recorders: Vec<Recorder<Number>> = (0..RECORDERS).map(make).collect();
    let (over, stated) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            for at in (0..RECORDERS).cycle().step_by(7) {
                if over.load(Ordering::Acquire) {
                    break;
                }
                insist(&recorders[at % RECORDERS], Number(at as u64));
                stated.fetch_add(1, Ordering::Release);
            }
        });
        let mut last = 0;
        for _ in 0..scaled(10) {
            let snapshot = runtime.collect();
            let [unfolded, folded, viewed] = unfolded_and_folded(&snapshot);
            assert_eq!((unfolded, viewed), (folded, folded));
            assert!(folded >= last, "{folded} after {last}");
            last = folded;
        }
    });
    runtime.flush_blocking(PATIENCE).unwrap();
    let stated = stated.load(Ordering::Acquire);
    let snapshot = runtime.collect();
    assert_eq!(unfolded_and_folded(&snapshot), [stated; 3]);
    let families = snapshot.families(Fold::Recorder);
    assert!(
        families[0].len() <= 5_001 && families[0].left_out() > 0 || stated < 5_000,
        "{}",
        families[0].len()
    );
    // Gone, their counts stay in the group's totals alone.
    for n in (0..RECORDERS).step_by(2) {
        runtime.stop_and_remove(&format!("r{n}"), PATIENCE).unwrap();
    }
    let snapshot = runtime.collect();
    let [unfolded, folded, viewed] = unfolded_and_folded(&snapshot);
    assert_eq!((folded, viewed), (stated, stated));
    assert!(unfolded < folded);
    let top = snapshot.top("mvx.events.accepted", 3);
    let most = recorders.iter().map(|recorder| recorder.accounts().accepted);
    let most = most.enumerate().filter(|(n, _)| n % 2 == 1).map(|(_, accepted)| accepted).max();
    assert_eq!((top.len(), Some(top[0].1 as u64)), (3, most));
}

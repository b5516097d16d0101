//! Recorders exported as groups: exact totals, also of recorders that are gone, within bounds.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::ErrorKind;
use mvx_metrics::ExportedFamily;
use mvx_metrics::Fold;
use mvx_metrics::GaugeFold;
use mvx_metrics::Label;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Scope;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

struct Other;

impl MetricEvent for Other {
    fn event_type(&self) -> &'static str {
        "other"
    }
}

fn measured(builder: RecorderBuilder<Number>) -> Recorder<Number> {
    builder
        .counter("reads", |c| c.label("parity", |e| Label::from(e.0 % 2)))
        .histogram("sizes", |h| h.bounds(&[10.0, 100.0]).value(|e| Some(e.0)))
        .gauge("largest", |g| g.value(|e| Some(e.0)).fold(GaugeFold::Max))
        .up_down("open", |u| u.value(|_| Some(1_i64)))
        .create()
        .unwrap()
}

fn record(recorder: &Recorder<Number>, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| recorder.register_event(Number(number)));
    recorder.flush_blocking(PATIENCE).unwrap();
}

fn family<'a, 's>(families: &'a [ExportedFamily<'s>], name: &str) -> &'a ExportedFamily<'s> {
    families.iter().find(|family| *family.descriptor().name() == *name).unwrap()
}

/// The sum of a counter over all its series, by the value of the label `group`.
fn total(snapshot: &RuntimeSnapshot, name: &str) -> u64 {
    let families = snapshot.families(Fold::Group);
    let Some(family) = families.iter().find(|family| *family.descriptor().name() == *name) else { return 0 };
    let series = family.parts().iter().flat_map(|part| part.family().series());
    series.map(|series| series.value().counter().unwrap()).sum()
}

#[test]
fn recorders_of_no_group_are_one_part_whatever_their_events_and_a_named_group_is_another() {
    let runtime = running("folded");
    let (left, right) = (measured(runtime.recorder("left")), measured(runtime.recorder("right")));
    let named = measured(runtime.recorder::<Number>("named").group(" disks "));
    let other =
        runtime.recorder::<Other>("other").counter("reads", |c| c.label("parity", |_| Label::from(1_u64)));
    let other = other.create().unwrap();
    record(&left, [1, 2, 30]);
    record(&right, [3, 500]);
    record(&named, [7]);
    other.register_event(Other);
    other.flush_blocking(PATIENCE).unwrap();

    let snapshot = runtime.collect();
    let families = snapshot.families(Fold::Group);
    let names: Vec<_> = families.iter().map(|family| family.descriptor().name().as_str()).collect();
    assert_eq!(names, ["largest", "open", "reads", "sizes"]);
    let reads = family(&families, "reads").parts();
    let counts = |at: usize, parity| {
        reads[at].family().find(&[("parity", parity)]).and_then(|series| series.value().counter())
    };
    assert_eq!(
        (counts(0, "0"), counts(0, "1"), counts(1, "0"), counts(1, "1")),
        (Some(3), Some(3), None, Some(1))
    );
    assert_eq!(reads[0].scope(), &Scope::Group { name: None });
    assert_eq!(reads[0].scope().labels().count(), 0);
    assert_eq!(reads[1].scope().labels().collect::<Vec<_>>(), [("group", "disks")]);
    let sizes = family(&families, "sizes").parts()[0].family().find(&[]).unwrap();
    let sizes = sizes.value().histogram().unwrap();
    assert_eq!((sizes.buckets().collect::<Vec<_>>(), sizes.sum()), (vec![3, 1, 1], 536.0));
    let largest = family(&families, "largest").parts()[0].family().find(&[]).unwrap().value().gauge();
    let open = family(&families, "open").parts()[0].family().find(&[]).unwrap().value().up_down();
    assert_eq!((largest, open), (Some(500.0), Some(5)));
    assert_eq!(snapshot.families(Fold::Recorder)[2].parts().len(), 4);
}

#[test]
fn what_a_removed_recorder_counted_stays_with_its_start_and_its_levels_go() {
    let runtime = running("retired");
    let first = measured(runtime.recorder::<Number>("first").group("disks"));
    record(&first, [1, 2, 30]);
    let before = runtime.collect();
    let started = |snapshot: &RuntimeSnapshot| {
        family(&snapshot.families(Fold::Group), "sizes").parts()[0].family().find(&[]).unwrap().started()
    };
    first.register_event(Number(40));
    runtime.stop_and_remove("first", PATIENCE).unwrap();
    let between = runtime.collect();
    assert_eq!((between.recorders().len(), total(&between, "reads")), (0, 4));
    let names: Vec<_> =
        between.families(Fold::Group).iter().map(|f| f.descriptor().name().to_string()).collect();
    assert_eq!(names, ["reads", "sizes"]);
    assert!(between.families(Fold::Recorder).is_empty());

    let again = measured(runtime.recorder::<Number>("first").group("disks"));
    record(&again, [50]);
    let after = runtime.collect();
    assert_eq!(total(&after, "reads"), 5);
    assert_eq!(started(&after), started(&before));
    assert_eq!((total(&before, "reads"), total(&between, "reads")), (3, 4), "a collection does not change");
    let families = after.families(Fold::Group);
    assert_eq!(family(&families, "sizes").parts().len(), 1);
}

#[test]
fn totals_never_go_backwards_and_lose_nothing_while_ten_thousand_recorders_come_and_go_under_collections() {
    const ROUNDS: u64 = 2_500;
    const THREADS: u64 = 4;
    const EVENTS: u64 = 3;
    let runtime = running("churn");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let collectors: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut last, mut looks) = ([0_u64, 0], 0_u64);
                    while !over.load(Ordering::Acquire) {
                        let snapshot = runtime.collect();
                        let now = ["reads", "bytes"].map(|name| total(&snapshot, name));
                        assert!(now[0] >= last[0] && now[1] >= last[1], "{now:?} after {last:?}");
                        assert!(now[0] <= ROUNDS * THREADS * EVENTS, "counted twice: {now:?}");
                        (last, looks) = (now, looks + 1);
                    }
                    looks
                })
            })
            .collect();
        let churners: Vec<_> = (0..THREADS)
            .map(|thread| {
                let runtime = &runtime;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let builder = runtime.recorder::<Number>(&format!("{thread}-{round}"));
                        let builder = if round % 3 == 0 { builder.group("third") } else { builder };
                        let guard = builder
                            .counter("reads", |c| c)
                            .counter("bytes", |c| c.value(|e| Some(e.0)))
                            .create_owned();
                        let guard = guard.unwrap();
                        (0..EVENTS).for_each(|_| guard.register_event(Number(2)));
                        if round % 16 == 0 {
                            guard.close(PATIENCE).unwrap();
                        }
                    }
                })
            })
            .collect();
        let _over = crate::support::Over(&over);
        churners.into_iter().for_each(|churner| churner.join().unwrap());
        crate::support::until("every recorder is removed", || runtime.recorder_ids().is_empty());
        over.store(true, Ordering::Release);
        assert!(collectors.into_iter().all(|collector| collector.join().unwrap() > 0));
    });
    let snapshot = runtime.collect();
    let expected = ROUNDS * THREADS * EVENTS;
    assert_eq!((total(&snapshot, "reads"), total(&snapshot, "bytes")), (expected, 2 * expected));
}

#[test]
fn past_the_exported_cardinality_totals_stay_right_in_one_overflow_series() {
    let runtime = MetricsRuntime::builder("many").exported_cardinality(10).build().unwrap();
    runtime.start().unwrap();
    for (id, group) in [("a", None), ("b", None), ("c", Some("named"))] {
        let builder = runtime.recorder::<Number>(id);
        let builder = group.map_or_else(|| runtime.recorder::<Number>(id), |group| builder.group(group));
        let recorder = builder.counter("reads", |c| c.label("n", |e| Label::from(e.0))).create().unwrap();
        let from = u64::from(id.as_bytes()[0]) * 100;
        record(&recorder, from..from + 7);
    }
    let snapshot = runtime.collect();
    for (fold, series, left_out) in [(Fold::Group, 10 + 1, 4 + 7), (Fold::Recorder, 7 + 1, 14)] {
        let families = snapshot.families(fold);
        let reads = &families[0];
        let all: Vec<_> = reads.parts().iter().flat_map(|part| part.family().series()).collect();
        assert_eq!((all.len(), reads.left_out()), (series, left_out), "{fold:?}");
        assert_eq!(all.iter().map(|series| series.value().counter().unwrap()).sum::<u64>(), 21);
        assert_eq!(all.iter().filter(|series| series.is_overflow()).count(), 1);
    }
}

#[test]
fn bad_groups_and_limits_are_refused_with_what_to_do_instead() {
    let runtime = running("refused");
    for name in ["", "  ", "a\nb"] {
        let error = runtime.recorder::<Number>("x").group(name).create().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidId, "{error}");
    }
    for group in 0..mvx_metrics::limits::MAX_GROUPS {
        runtime.recorder::<Number>(&group.to_string()).group(&group.to_string()).create().unwrap();
    }
    let error = runtime.recorder::<Number>("x").group("one more").create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached, "{error}");
    runtime.recorder::<Number>("x").group("7").create().unwrap();
    for limit in [0, mvx_metrics::limits::MAX_CARDINALITY + 1] {
        let error = MetricsRuntime::builder("x").exported_cardinality(limit).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidLimit);
    }
    let reserved =
        runtime.recorder::<Number>("y").counter("reads", |c| c.label("group", |_| Label::from(1_u64)));
    assert_eq!(reserved.create().unwrap_err().kind(), ErrorKind::InvalidName);
    let max =
        runtime.recorder::<Number>("max").gauge("load", |g| g.value(|e| Some(e.0)).fold(GaugeFold::Max));
    max.create().unwrap();
    let sum = runtime.recorder::<Number>("sum").gauge("load", |g| g.value(|e| Some(e.0)));
    assert_eq!(sum.create().unwrap_err().kind(), ErrorKind::MetricConflict);
}

#[cfg(panic = "unwind")]
#[test]
fn vitals_account_for_every_event_by_group_those_of_removed_recorders_included() {
    let runtime = running("vitals");
    let left = measured(runtime.recorder::<Number>("left").group("disks"));
    let right = measured(runtime.recorder::<Number>("right").group("disks").capacity(4));
    record(&left, 0..5);
    record(&right, 0..3);
    right.stop().wait(PATIENCE).unwrap();
    right.register_event(Number(1));
    let bad = runtime
        .recorder::<Number>("bad")
        .counter("odd", |c| c.value(|e| Some(1 / (e.0 % 2))))
        .create()
        .unwrap();
    record(&bad, [2]);
    let told = |snapshot: &RuntimeSnapshot| {
        let mut told = Vec::new();
        for family in snapshot.vitals() {
            for part in family.parts() {
                let scope: Vec<_> = part.scope().labels().map(|(_, value)| value).collect();
                for series in part.family().series() {
                    let labels: Vec<_> = series.labels().iter().map(|(_, value)| value).collect();
                    let name = family.descriptor().name().as_str().trim_start_matches("mvx.");
                    let value = series.value();
                    let value = value
                        .counter()
                        .map(|count| count as f64)
                        .or(value.up_down().map(|level| level as f64));
                    let value = value.or(value_of(series.value())).unwrap();
                    told.push((format!("{name}{scope:?}{labels:?}").replace('"', ""), value));
                }
            }
        }
        told
    };
    let now = told(&runtime.collect());
    let get = |told: &[(String, f64)], key: &str| {
        told.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    };
    for (key, value) in [
        ("events.accepted[disks][]", 8.0),
        ("events.processed[disks][]", 8.0),
        ("events.rejected[disks][closed]", 1.0),
        ("events.dropped[disks][deadline]", 0.0),
        ("events.pending[disks][]", 0.0),
        ("recorders[disks][]", 2.0),
        ("recorders[][]", 1.0),
        ("quarantined[][]", 1.0),
        ("quarantined[disks][]", 0.0),
        ("recorders.refused[][]", 0.0),
    ] {
        assert_eq!(get(&now, key), Some(value), "{key} in {now:?}");
    }
    assert_eq!(now.len(), 2 * (6 + 8) + 3, "{now:?}");
    assert!(get(&now, "publication.interval[][]").unwrap() > 0.0);
    runtime.stop_and_remove("left", PATIENCE).unwrap();
    let after = told(&runtime.collect());
    assert_eq!(get(&after, "events.accepted[disks][]"), Some(8.0));
    assert_eq!(
        (get(&after, "recorders[disks][]"), get(&after, "recorders.removed[disks][]")),
        (Some(1.0), Some(1.0))
    );
}

fn value_of(value: mvx_metrics::ValueRef<'_>) -> Option<f64> {
    value.gauge()
}

#[test]
fn the_report_of_cardinality_names_the_label_without_bound_and_the_top_names_who_has_most() {
    let runtime = MetricsRuntime::builder("many").exported_cardinality(12).build().unwrap();
    runtime.start().unwrap();
    for (id, from) in [("a", 0), ("b", 100)] {
        let builder =
            runtime.recorder::<Number>(id).counter("fine", |c| c.label("parity", |e| Label::from(e.0 % 2)));
        let builder = builder.counter("own", |c| c.label("n", |e| Label::from(e.0)).cardinality(3));
        let builder = builder
            .counter("all", |c| c.label("n", |e| Label::from(e.0)).label("parity", |e| Label::from(e.0 % 2)));
        record(&builder.create().unwrap(), from..from + 7 + from / 100);
    }
    let snapshot = runtime.collect();
    let report = snapshot.cardinality();
    let [all, own] = &report[..] else { panic!("{report:?}") };
    assert_eq!((all.metric.as_str(), all.series, all.recorders, all.past_exported), ("all", 15, 0, true));
    assert_eq!((all.label.as_ref().unwrap().as_str(), all.values, all.examples.len()), ("n", 15, 5));
    assert_eq!((own.metric.as_str(), own.recorders, own.overflowed, own.past_exported), ("own", 2, 9, false));
    let top: Vec<_> =
        snapshot.top("fine", 5).iter().map(|(recorder, most)| (recorder.id().to_string(), *most)).collect();
    assert_eq!(top, [("b".to_owned(), 8.0), ("a".to_owned(), 7.0)]);
    assert!(snapshot.top("fine", 0).is_empty() && snapshot.top("missing", 3).is_empty());
}

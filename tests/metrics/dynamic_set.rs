//! Metrics whose names are known only at run time.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::PATIENCE;
use crate::support::running;
use crate::support::scaled;
use mvx_metrics::DynamicKind;
use mvx_metrics::DynamicMetric;
use mvx_metrics::DynamicSet;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Snapshot;
use mvx_metrics::Unit;
use mvx_metrics::limits;
use mvx_metrics::testing::SteppedRuntime;
use std::sync::Barrier;
use std::sync::Mutex;
use std::time::Duration;

fn set(runtime: &MetricsRuntime) -> DynamicSet {
    runtime.dynamic_set("plugins").create().unwrap()
}

fn read(set: &DynamicSet) -> Snapshot {
    set.recorder().flush_and_snapshot(PATIENCE).unwrap()
}

fn refused(set: &DynamicSet) -> [u64; 5] {
    let snapshot = read(set);
    ["name", "kind", "tags", "limit", "conflict"]
        .map(|reason| snapshot.counter("mvx.dynamic.refused", &[("reason", reason)]).unwrap_or(0))
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn the_first_event_of_a_name_is_counted_whoever_states_it_and_whatever_the_worker_does() {
    const THREADS: u64 = 4;
    const NAMES: usize = 200;
    for round in 0..scaled(5) {
        let runtime = running("first");
        let set = runtime.dynamic_set("plugins").recorder(|r| r.capacity(1 << 16)).create().unwrap();
        let barrier = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    for name in 0..NAMES {
                        set.counter(&format!("n{name}"), 1, &[]);
                        // So that the worker is busy with events when the next name comes.
                        set.counter("n0", 0, &[]);
                    }
                });
            }
        });
        let snapshot = read(&set);
        for name in 0..NAMES {
            assert_eq!(snapshot.total(&format!("n{name}")), Some(THREADS), "n{name} in round {round}");
        }
        assert_eq!((refused(&set), set.names()), ([0; 5], NAMES));
        assert_eq!(snapshot.accounts().processed, 2 * THREADS * NAMES as u64);
    }
}

#[test]
fn a_name_is_one_kind_of_metric_whoever_comes_first_and_the_others_are_refused_and_counted() {
    for _ in 0..scaled(20) {
        let runtime = running("kinds");
        let set = set(&runtime);
        let barrier = Barrier::new(2);
        let accepted = |result: Result<(), Error>| match result {
            Ok(()) => 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::MetricConflict);
                0
            }
        };
        let [counted, observed] = std::thread::scope(|scope| {
            let counter = scope.spawn(|| {
                barrier.wait();
                (0..50).map(|_| accepted(set.try_counter("x", 1, &[]))).sum::<u64>()
            });
            let histogram = scope.spawn(|| {
                barrier.wait();
                (0..50).map(|_| accepted(set.try_histogram("x", 1.5, &[]))).sum::<u64>()
            });
            [counter, histogram].map(|thread| thread.join().unwrap())
        });
        assert_eq!((counted + observed, counted * observed), (50, 0));
        let snapshot = read(&set);
        let tally = snapshot.metric("x").unwrap().tally();
        assert_eq!((tally.accepted, refused(&set)), (50, [0, 50, 0, 0, 0]));
    }
}

#[test]
fn tags_that_are_left_out_are_absent_and_those_that_are_not_known_are_refused() {
    let runtime = running("tags");
    let set = set(&runtime);
    set.counter("calls", 1, &[("b", "2"), ("a", "1")]);
    set.counter("calls", 10, &[("a", "1")]);
    set.counter("calls", 100, &[]);
    set.counter("calls", 1_000, &[("a", ""), ("b", "2")]);
    set.counter("calls", 10_000, &[("a", "1"), ("b", "2")]);
    assert_eq!(kind(set.try_counter("calls", 1, &[("c", "3")])), ErrorKind::MetricConflict);
    assert_eq!(kind(set.try_counter("calls", 1, &[("a", "1"), ("a", "1")])), ErrorKind::MetricConflict);
    let snapshot = read(&set);
    let value = |labels: &[(&str, &str)]| snapshot.counter("calls", labels);
    assert_eq!(value(&[("a", "1"), ("b", "2")]), Some(10_001));
    assert_eq!(value(&[("a", "1")]), Some(10));
    assert_eq!(value(&[]), Some(100));
    assert_eq!(value(&[("b", "2")]), Some(1_000));
    assert_eq!(snapshot.total("calls"), Some(11_111));
    assert_eq!(refused(&set), [0, 0, 2, 0, 0]);
    // Keys that no metric can have.
    for key in ["", "le", "recorder", "group", "__x", "a-b", "\n", &"k".repeat(10_000)] {
        assert_eq!(kind(set.try_gauge("fresh", 1, &[(key, "v")])), ErrorKind::InvalidName, "{key:?}");
    }
    assert_eq!(kind(set.try_gauge("fresh", 1, &[("a", ""), ("a", "")])), ErrorKind::InvalidName);
    let many: Vec<String> = (0..=limits::MAX_LABELS).map(|n| format!("k{n}")).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), "v")).collect();
    assert_eq!(kind(set.try_gauge("fresh", 1, &many)), ErrorKind::InvalidLimit);
    assert_eq!(refused(&set), [9, 0, 2, 1, 0]);
    // Nothing of that has made a metric.
    assert_eq!((set.names(), read(&set).metrics().count()), (1, 2));
    // Any text is a value; a long one is cut as every label is.
    let long = "ü".repeat(5_000);
    for value in ["\"\\\n\r\t\0", " ", "=", "ü", &long] {
        set.counter("any", 1, &[("v", value)]);
        let snapshot = read(&set);
        let shown = if value.len() > 1_024 { &value[..1_024] } else { value };
        assert_eq!(snapshot.counter("any", &[("v", shown)]), Some(1), "{shown:?}");
    }
}

#[test]
fn names_are_checked_limited_and_compared_with_those_of_every_recorder() {
    let runtime = running("names");
    let builder = || runtime.dynamic_set("plugins");
    for wrong in [0, limits::MAX_DYNAMIC_NAMES + 1] {
        assert_eq!(kind(builder().max_names(wrong).create()), ErrorKind::InvalidLimit);
    }
    let set = builder().max_names(3).create().unwrap();
    for name in ["", " ", "1x", "a b", "mvx.dynamic.refused", "mvx.x", "ü", &"n".repeat(256)] {
        assert_eq!(kind(set.try_counter(name, 1, &[])), ErrorKind::InvalidName, "{name:?}");
        set.timed(name, &[]).cancel();
    }
    assert_eq!((refused(&set), set.names()), ([16, 0, 0, 0, 0], 0));
    struct Saved;
    impl MetricEvent for Saved {
        fn event_type(&self) -> &'static str {
            "saved"
        }
    }
    let other = runtime.recorder::<Saved>("other").gauge("taken", |g| g.value(|_| Some(1))).create().unwrap();
    for _ in 0..3 {
        assert_eq!(kind(set.try_counter("taken", 1, &[])), ErrorKind::MetricConflict);
    }
    assert_eq!(kind(set.declare(DynamicMetric::counter("taken"))), ErrorKind::MetricConflict);
    // The other way round, and with what would be one name in Prometheus.
    set.counter("ours", 1, &[]);
    let error = other
        .register_metric(mvx_metrics::Gauge::builder("ours").value(|_: &Saved| Some(1)).build().unwrap());
    assert_eq!(kind(error.wait(PATIENCE)), ErrorKind::MetricConflict);
    assert_eq!(kind(set.try_counter("ours.total", 1, &[])), ErrorKind::MetricConflict);
    assert_eq!(kind(set.try_counter("more", 1, &[])), ErrorKind::LimitReached);
    set.counter("ours", 1, &[]);
    assert_eq!(read(&set).total("ours"), Some(2));
    assert_eq!(refused(&set), [16, 0, 0, 1, 5]);
    // The same shape is the same metric, and sets fold as recorders do.
    let second = runtime.dynamic_set("second").create().unwrap();
    second.counter("ours", 40, &[]);
    read(&second);
    let snapshot = runtime.collect();
    let families = snapshot.families(Fold::Group);
    let ours = families.iter().find(|family| family.descriptor().name().as_str() == "ours").unwrap();
    let sum: u64 = ours.parts()[0].family().series().map(|series| series.value().counter().unwrap()).sum();
    assert_eq!((ours.parts().len(), sum), (1, 42));
}

#[test]
fn a_declared_metric_has_its_own_tags_unit_bounds_and_limit() {
    let runtime = running("declared");
    let set = set(&runtime);
    let bytes = || {
        DynamicMetric::histogram("bytes").unit(Unit::Bytes).bounds(&[10.0]).tag("z").tag("a").help("Much.")
    };
    set.declare(bytes()).unwrap();
    set.declare(bytes()).unwrap();
    set.declare(DynamicMetric::counter("few").tag("n").cardinality(2)).unwrap();
    set.declare(DynamicMetric::timer("took").bounds(&[0.5, 1.0])).unwrap();
    set.histogram("bytes", 3, &[("a", "1")]);
    set.histogram("bytes", 30, &[("z", "1")]);
    (0..5).for_each(|n| set.counter("few", 1, &[("n", &n.to_string())]));
    set.timed("took", &[]).stop();
    let snapshot = read(&set);
    let [bytes_are, few, took] = ["bytes", "few", "took"].map(|name| snapshot.metric(name).unwrap().family());
    let descriptor = bytes_are.descriptor();
    assert_eq!(
        (descriptor.kind(), descriptor.unit(), descriptor.help()),
        (Kind::Histogram, &Unit::Bytes, "Much.")
    );
    let buckets = |labels| snapshot.histogram("bytes", labels).unwrap().buckets().collect::<Vec<_>>();
    assert_eq!((buckets(&[("a", "1")]), buckets(&[("z", "1")])), (vec![1, 0], vec![0, 1]));
    assert_eq!((few.len(), few.overflowed()), (3, 3));
    assert_eq!((took.descriptor().unit(), took.descriptor().bounds().len()), (&Unit::Seconds, 2));
    for (wrong, expected) in [
        (DynamicMetric::counter("bytes"), ErrorKind::MetricConflict),
        (bytes().bounds(&[11.0]), ErrorKind::MetricConflict),
        (DynamicMetric::timer("new").unit(Unit::Bytes), ErrorKind::MetricConflict),
        (DynamicMetric::counter("new").bounds(&[1.0]), ErrorKind::InvalidLimit),
        (DynamicMetric::histogram("new").bounds(&[2.0, 1.0]), ErrorKind::InvalidLimit),
        (DynamicMetric::gauge("new").cardinality(0), ErrorKind::InvalidLimit),
        (DynamicMetric::gauge("new").tag("t").tag("t"), ErrorKind::InvalidName),
    ] {
        let told = format!("{wrong:?}");
        assert_eq!(kind(set.declare(wrong)), expected, "{told}");
    }
    // A histogram is no timer, though both are distributions.
    assert_eq!(kind(set.try_timed("bytes", &[])), ErrorKind::MetricConflict);
    assert_eq!(set.names(), 3);
}

#[test]
fn values_are_exact_and_what_is_no_number_is_refused_by_the_metric() {
    let runtime = running("values");
    let set = set(&runtime);
    set.counter("count", u64::MAX - 1, &[]);
    set.counter("count", 1, &[]);
    set.counter("count", 5, &[]);
    set.histogram("spans", Duration::from_nanos(1), &[]);
    set.histogram("spans", Duration::from_nanos((1 << 60) + 1), &[]);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        set.gauge("level", value, &[]);
        set.histogram("spread", value, &[]);
    }
    for value in [-1.5, 0.0, f64::MAX, f64::MIN_POSITIVE] {
        set.gauge("level", value, &[]);
    }
    let snapshot = read(&set);
    assert_eq!(snapshot.counter("count", &[]), Some(u64::MAX));
    assert_eq!(snapshot.metric("count").unwrap().family().saturated(), 1);
    assert_eq!(snapshot.exponential("spans", &[]).map(|h| h.count()), Some(2));
    let tally = |name: &str| {
        let tally = snapshot.metric(name).unwrap().tally();
        (tally.accepted, tally.refused)
    };
    assert_eq!((tally("level"), tally("spread")), ((4, 3), (0, 3)));
    assert_eq!(snapshot.gauge("level", &[]), Some(f64::MIN_POSITIVE));
    assert_eq!(refused(&set), [0; 5]);
}

#[test]
fn a_time_is_recorded_once_by_the_runtimes_clock_however_it_ends() {
    let mut stepped = SteppedRuntime::new("timed").unwrap();
    let set = set(stepped.runtime());
    let timed = |name: &str| set.timed(name, &[("end", "x")]);
    let dropped = timed("t");
    stepped.clock().advance(Duration::from_millis(250));
    drop(dropped);
    let stopped = timed("t");
    stepped.clock().advance(Duration::from_millis(500));
    assert_eq!(stopped.stop(), Duration::from_millis(500));
    timed("t").cancel();
    std::mem::forget(timed("t"));
    let elsewhere = timed("t");
    std::thread::spawn(move || drop(elsewhere)).join().unwrap();
    set.counter("c", 1, &[]);
    let refused_one = timed("c");
    assert_eq!(refused_one.stop(), Duration::ZERO);
    assert_eq!(kind(set.try_timed("c", &[])), ErrorKind::MetricConflict);
    stepped.settle();
    let snapshot = set.recorder().snapshot();
    let t = snapshot.exponential("t", &[("end", "x")]).unwrap();
    assert_eq!((t.count(), t.sum(), t.max()), (3, 0.75, Some(0.5)));
    assert_eq!(snapshot.counter("mvx.dynamic.refused", &[("reason", "kind")]), Some(2));
    let late = timed("t");
    stepped.shutdown();
    drop(late);
    assert_eq!(set.recorder().accounts().rejected.closed, 1);
}

#[cfg(panic = "unwind")]
#[test]
fn a_time_is_recorded_while_a_panic_unwinds() {
    let runtime = running("unwound");
    let set = set(&runtime);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _timed = set.timed("t", &[]);
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(caught.is_err());
    assert_eq!(read(&set).exponential("t", &[]).map(|t| t.count()), Some(1));
}

#[test]
fn a_recorder_without_room_or_end_says_so_and_counts_it() {
    let runtime = MetricsRuntime::builder("full").build().unwrap();
    let set = runtime.dynamic_set("plugins").recorder(|r| r.capacity(1)).create().unwrap();
    set.try_counter("a", 1, &[]).unwrap();
    assert_eq!(kind(set.try_counter("a", 1, &[])), ErrorKind::LimitReached);
    assert_eq!(set.recorder().accounts().rejected.full, 1);
    runtime.start().unwrap();
    assert_eq!(read(&set).total("a"), Some(1));
    runtime.shutdown(PATIENCE).unwrap();
    assert_eq!(kind(set.try_counter("a", 1, &[])), ErrorKind::InvalidState);
    assert_eq!(kind(set.try_counter("new", 1, &[])), ErrorKind::InvalidState);
    assert!(format!("{set:?}").contains("plugins"));
}

#[test]
fn names_may_be_made_on_the_worker_itself() {
    let runtime = running("worker");
    let inner: &'static Mutex<Option<DynamicSet>> = Box::leak(Box::default());
    let set = runtime
        .dynamic_set("plugins")
        .recorder(|r| {
            r.on_metric_changed(move |change| {
                if change.event().kind() == Some(DynamicKind::Gauge) {
                    let set = inner.lock().unwrap().clone().unwrap();
                    set.counter("seen.gauges", 1, &[("metric", change.metric_name().as_str())]);
                }
            })
        })
        .create()
        .unwrap();
    *inner.lock().unwrap() = Some(set.clone());
    (0..3).for_each(|value| set.gauge("level", value, &[]));
    set.recorder().flush_blocking(PATIENCE).unwrap();
    let snapshot = read(&set);
    assert_eq!(snapshot.counter("seen.gauges", &[("metric", "level")]), Some(3));
    *inner.lock().unwrap() = None;
}

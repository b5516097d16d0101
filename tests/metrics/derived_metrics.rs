//! The metrics that `#[derive(MetricEvent)]` makes of `#[label]`, `#[value]` and `#[skip]`.
#![cfg(all(feature = "runtime", feature = "derive"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use mvx_metrics::Kind;
use mvx_metrics::LabelValue;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Snapshot;
use mvx_metrics::Unit;
use mvx_metrics::ValueRef;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, LabelValue)]
enum Outcome {
    Success,
    Failure,
}

#[derive(MetricEvent)]
enum StorageEvent {
    /// Documents saved,
    /// or not.
    ///
    /// Not part of the help.
    Saved {
        #[label]
        outcome: Outcome,
        #[label(name = "storage")]
        backend: &'static str,
        /// How large they are.
        #[value(unit = "By")]
        bytes: u64,
        #[value(name = "duration")]
        elapsed: Duration,
        #[value(kind = "gauge")]
        depth: Option<i32>,
        #[value(kind = "counter", unit = "{page}")]
        pages: u32,
        #[expect(dead_code, reason = "has no attribute, and so no metric")]
        unmeasured: String,
    },
    Found(#[value(name = "score", bounds = [0.5, 1.0])] f64, #[label(name = "cached")] bool),
    #[skip]
    Opened,
    #[event(name = "closed.cleanly")]
    Closed,
}

/// Everything that these events leave in the metrics that they bring along.
fn recorded<E: MetricEvent + mvx_metrics::DerivedMetrics>(events: Vec<E>) -> Snapshot {
    let runtime = MetricsRuntime::builder("derived").build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder::<E>("derived").derived_metrics().create().unwrap();
    for event in events {
        recorder.register_event(event);
    }
    recorder.flush_and_snapshot(PATIENCE).unwrap()
}

fn saved(outcome: Outcome, bytes: u64, depth: Option<i32>) -> StorageEvent {
    let elapsed = Duration::from_millis(bytes);
    StorageEvent::Saved { outcome, backend: "s3", bytes, elapsed, depth, pages: 2, unmeasured: String::new() }
}

#[test]
fn each_variant_is_counted_and_each_value_has_its_metric() {
    let snapshot = recorded(vec![
        saved(Outcome::Success, 512, Some(3)),
        saved(Outcome::Success, 100, None),
        saved(Outcome::Failure, 7, Some(-4)),
        StorageEvent::Found(0.75, true),
        StorageEvent::Opened,
        StorageEvent::Closed,
        StorageEvent::Closed,
    ]);
    let success = [("outcome", "success"), ("storage", "s3")];
    let failure = [("outcome", "failure"), ("storage", "s3")];
    assert_eq!(snapshot.counter("storage.saved", &success), Some(2));
    assert_eq!(snapshot.counter("storage.saved", &failure), Some(1));
    assert_eq!(
        snapshot.histogram("storage.saved.bytes", &success).map(|h| (h.count(), h.sum())),
        Some((2, 612.0))
    );
    assert_eq!(snapshot.histogram("storage.saved.duration", &failure).map(|h| h.sum()), Some(0.007));
    assert_eq!(snapshot.gauge("storage.saved.depth", &success), Some(3.0), "`None` changes nothing");
    assert_eq!(snapshot.gauge("storage.saved.depth", &failure), Some(-4.0));
    assert_eq!(snapshot.counter("storage.saved.pages", &success), Some(4));
    let found = snapshot.histogram("storage.found.score", &[("cached", "true")]).unwrap();
    assert_eq!(found.cumulative().take(2).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(snapshot.counter("storage.closed.cleanly", &[]), Some(2));
    let names: Vec<String> = snapshot.metrics().map(|m| m.family().name().to_string()).collect();
    assert_eq!(names.len(), 8, "nothing of `Opened` and of the field without an attribute: {names:?}");
}

#[test]
fn units_kinds_and_help_are_those_of_the_event() {
    let snapshot = recorded::<StorageEvent>(Vec::new());
    let descriptor = |name: &str| snapshot.metric(name).unwrap().family().descriptor().clone();
    assert_eq!(descriptor("storage.saved").help(), "Documents saved, or not.");
    assert_eq!(descriptor("storage.saved.bytes").help(), "How large they are.");
    assert_eq!(descriptor("storage.saved.bytes").unit(), &Unit::Bytes);
    assert_eq!(descriptor("storage.saved.duration").unit(), &Unit::Seconds);
    assert_eq!(descriptor("storage.saved.pages").unit().ucum(), "{page}");
    assert_eq!(descriptor("storage.saved.pages").kind(), Kind::Counter);
    assert_eq!(descriptor("storage.saved.depth").kind(), Kind::Gauge);
    assert_eq!(descriptor("storage.found.score").bounds(), [0.5, 1.0]);
}

#[test]
fn a_struct_a_generic_and_an_enum_without_variants_bring_theirs() {
    #[derive(MetricEvent)]
    struct Request {
        #[label]
        ok: bool,
        #[value]
        took: Duration,
    }
    #[derive(MetricEvent)]
    enum PoolEvent<K, V>
    where
        K: Ord,
    {
        Resized {
            #[label]
            key: K,
            #[value(kind = "up_down")]
            by: V,
        },
        Idle,
    }
    #[derive(MetricEvent)]
    enum NoEvent {}

    let snapshot = recorded(vec![Request { ok: true, took: Duration::from_secs(2) }]);
    assert_eq!(snapshot.counter("request", &[("ok", "true")]), Some(1));
    assert_eq!(snapshot.histogram("request.took", &[("ok", "true")]).map(|h| h.sum()), Some(2.0));

    let resized = |by| PoolEvent::Resized { key: 7_u8, by };
    let snapshot = recorded(vec![resized(5_i64), resized(-2), PoolEvent::Idle]);
    assert_eq!(snapshot.counter("pool.idle", &[]), Some(1));
    let by = snapshot.metric("pool.resized.by").unwrap().family().find(&[("key", "7")]).unwrap();
    assert!(matches!(by.value(), ValueRef::UpDown(3)), "{:?}", by.value());

    assert_eq!(recorded::<NoEvent>(Vec::new()).metrics().count(), 0);
}

#[test]
fn others_may_be_added_beside_them() {
    let runtime = MetricsRuntime::builder("beside").build().unwrap();
    let both = runtime
        .recorder::<StorageEvent>("both")
        .counter("all", |c| c)
        .derived_metrics()
        .gauge("depth", |g| g.value(|_| Some(1_u8)))
        .create()
        .unwrap();
    assert_eq!(both.snapshot().metrics().count(), 10);
    // The same name with another shape is a conflict, as between any two metrics.
    let error = runtime
        .recorder::<StorageEvent>("conflict")
        .gauge("storage.saved", |g| g.value(|_| Some(1_u8)))
        .derived_metrics()
        .create()
        .unwrap_err();
    assert_eq!(error.kind(), mvx_metrics::ErrorKind::MetricConflict);
}

//! The original's scenarios, in their mended form: what its documentation tells users to write, and what it promises them.
//!
//! Its examples of a recorder by hand, of a change hook and of a custom recorder are examples here, too; their tests are in
//! `tests/examples.rs`.
#![cfg(all(feature = "testing", feature = "derive"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::PATIENCE;
use mvx_metrics::EventSink;
use mvx_metrics::Label;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::Unit;
use mvx_metrics::testing::RecorderDouble;
use mvx_metrics::testing::SteppedRuntime;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The metric of all four examples.
const ATTEMPTS: &str = "document_storage.save.attempts";

#[derive(Clone, Debug, PartialEq, Eq, MetricEvent)]
enum StorageEvent {
    SaveAttempt { ok: bool, took: Duration },
    Compacted,
}

fn attempt(ok: bool, millis: u64) -> StorageEvent {
    StorageEvent::SaveAttempt { ok, took: Duration::from_millis(millis) }
}

fn outcome(event: &StorageEvent) -> Label<'_> {
    match event {
        StorageEvent::SaveAttempt { ok: true, .. } => "success".into(),
        StorageEvent::SaveAttempt { ok: false, .. } => "failure".into(),
        StorageEvent::Compacted => Label::Absent,
    }
}

/// The measured component: it knows a sink, and its business neither waits nor fails because of it.
struct DocumentStorage {
    metrics: Option<Arc<dyn EventSink<StorageEvent>>>,
}

impl DocumentStorage {
    fn save(&self, id: &str, content: &str) -> Result<(), &'static str> {
        let ok = !id.is_empty() && !content.is_empty();
        if let Some(metrics) = &self.metrics {
            metrics.register_event(attempt(ok, 1));
        }
        if ok { Ok(()) } else { Err("a document needs an id and a content") }
    }

    /// The example's day: two good saves, and a bad one.
    fn work(&self) {
        self.save("a", "text").unwrap();
        self.save("b", "text").unwrap();
        self.save("", "text").unwrap_err();
    }
}

/// A recorder of save attempts, with the average that the original's second chapter adds for the same event.
fn storage(stepped: &SteppedRuntime) -> Recorder<StorageEvent> {
    stepped
        .recorder::<StorageEvent>("document_storage")
        .counter(ATTEMPTS, |c| c.on(&["storage.save_attempt"]).label("outcome", outcome))
        .average("document_storage.save.average_duration", |a| {
            a.unit(Unit::Seconds).value(|event: &StorageEvent| match event {
                StorageEvent::SaveAttempt { took, .. } => Some(*took),
                StorageEvent::Compacted => None,
            })
        })
        .create()
        .unwrap()
}

/// Total, successes, failures.
fn counts(recorder: &Recorder<StorageEvent>) -> [u64; 3] {
    let snapshot = recorder.snapshot();
    let of = |outcome| snapshot.counter(ATTEMPTS, &[("outcome", outcome)]).unwrap_or_default();
    [snapshot.total(ATTEMPTS).unwrap_or_default(), of("success"), of("failure")]
}

#[test]
fn a_component_states_what_happened_and_its_snapshot_counts_three_saves() {
    let mut stepped = SteppedRuntime::new("example.metrics").unwrap();
    let recorder = storage(&stepped);
    DocumentStorage { metrics: Some(Arc::new(recorder.clone())) }.work();
    stepped.settle();
    assert_eq!(counts(&recorder), [3, 2, 1]);
    assert!(stepped.shutdown().is_complete());
    // There the final values could not be read any more.
    assert_eq!((counts(&recorder), recorder.state()), ([3, 2, 1], RecorderState::Stopped));
}

#[test]
fn a_component_works_the_same_without_a_recorder_with_a_double_and_with_one_that_has_ended() {
    DocumentStorage { metrics: None }.work();
    let double = RecorderDouble::new();
    DocumentStorage { metrics: Some(Arc::new(double.clone())) }.work();
    assert_eq!(double.take(), [attempt(true, 1), attempt(true, 1), attempt(false, 1)]);
    let stepped = SteppedRuntime::new("ended").unwrap();
    let recorder = storage(&stepped);
    let _ = stepped.shutdown();
    DocumentStorage { metrics: Some(Arc::new(recorder.clone())) }.work();
    // There the component swallowed the errors, and nobody knew. Here they are counted.
    assert_eq!((recorder.accounts().rejected.closed, counts(&recorder)), (3, [0; 3]));
}

#[test]
fn a_second_metric_on_the_same_event_needs_no_change_where_events_are_stated() {
    let mut stepped = SteppedRuntime::new("average").unwrap();
    let recorder = storage(&stepped);
    for event in [attempt(true, 10), StorageEvent::Compacted, attempt(true, 20), attempt(false, 60)] {
        recorder.register_event(event);
    }
    stepped.settle();
    assert_eq!((counts(&recorder), recorder.accounts().processed), ([3, 2, 1], 4));
    let mean = recorder.snapshot().mean("document_storage.save.average_duration", &[]);
    assert!(mean.is_some_and(|seconds| (seconds - 0.030).abs() < 1e-12), "{mean:?}");
}

#[test]
fn what_a_thread_has_stated_is_in_the_snapshot_it_asks_for_also_with_a_slow_observer() {
    // There this held by accident, and with a hook that suspended it missed nearly always.
    let runtime = MetricsRuntime::builder("own-writes").build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime
        .recorder::<StorageEvent>("own-writes")
        .counter(ATTEMPTS, |c| c.label("outcome", outcome))
        .on_metric_changed(|_| thread::yield_now())
        .create()
        .unwrap();
    for round in 1..=500 {
        recorder.register_event(attempt(true, 1));
        let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
        assert_eq!(snapshot.total(ATTEMPTS), Some(round));
    }
}

#[test]
fn changes_come_with_progressive_states_and_the_unwanted_event_brings_none() {
    let mut stepped = SteppedRuntime::new("changes").unwrap();
    let (sender, changes) = mpsc::channel();
    let recorder = storage(&stepped);
    let _ = recorder.on_metric_changed(move |change| {
        let family = change.family();
        let of = |outcome| family.find(&[("outcome", outcome)]).and_then(|series| series.value().counter());
        if change.metric_name().as_str() == ATTEMPTS {
            let _ = sender.send([of("success").unwrap_or(0), of("failure").unwrap_or(0)]);
        }
    });
    for event in [attempt(true, 1), StorageEvent::Compacted, attempt(true, 1), attempt(false, 1)] {
        recorder.register_event(event);
    }
    drop(recorder.stop());
    stepped.settle();
    assert_eq!(changes.try_iter().collect::<Vec<_>>(), [[1, 0], [2, 0], [2, 1]]);
    assert_eq!((counts(&recorder), recorder.state()), ([3, 2, 1], RecorderState::Stopped));
}

#[test]
fn a_connection_opens_before_the_first_event_and_closes_after_the_last_in_every_run() {
    let mut stepped = SteppedRuntime::new("publisher").unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let log = Arc::clone(&log);
        move || log.lock().unwrap().push(what)
    };
    let (opens, publishes, closes) = (note("open"), note("publish"), note("close"));
    let recorder = stepped
        .recorder::<StorageEvent>("publisher")
        .counter(ATTEMPTS, |c| c.label("outcome", outcome))
        .on_starting(move || {
            opens();
            std::future::ready(Ok(()))
        })
        .on_metric_changed(move |_| publishes())
        .on_stopped(move || {
            closes();
            std::future::ready(Ok(()))
        })
        .create()
        .unwrap();
    for _ in 0..2 {
        drop(recorder.start());
        recorder.register_event(attempt(true, 1));
        recorder.register_event(attempt(false, 1));
        drop(recorder.stop());
        stepped.settle();
    }
    let run = ["open", "publish", "publish", "close"];
    assert_eq!(*log.lock().unwrap(), [run, run].concat());
    // A restart keeps the metrics.
    assert_eq!(counts(&recorder), [4, 2, 2]);
}

#[test]
fn a_hundred_events_for_ten_places_are_ten_processed_and_ninety_counted_as_lost() {
    for (policy, rejected, evicted) in
        [(OverflowPolicy::DropNewest, 90, 0), (OverflowPolicy::DropOldest, 0, 90)]
    {
        let mut stepped = SteppedRuntime::new("overflow").unwrap();
        let recorder = stepped
            .recorder::<StorageEvent>("overflow")
            .capacity(10)
            .overflow(policy)
            .counter(ATTEMPTS, |c| c)
            .create()
            .unwrap();
        let refused = (0..100)
            .filter(|_| matches!(recorder.try_register_event(attempt(true, 1)), Err(RegisterError::Full(_))));
        assert_eq!(refused.count() as u64, rejected, "{policy:?}");
        stepped.settle();
        let accounts = recorder.accounts();
        assert_eq!(
            (accounts.processed, accounts.rejected.full, accounts.dropped.evicted),
            (10, rejected, evicted)
        );
        assert_eq!(recorder.snapshot().total(ATTEMPTS), Some(10), "{policy:?}");
    }
}

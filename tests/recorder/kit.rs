//! The test kit: the real thing stepped by hand, time that stands still, doubles and deltas.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use mvx_metrics::Clock;
use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::EventSink;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::Metric;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RuntimeState;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;
use mvx_metrics::testing::Delta;
use mvx_metrics::testing::ManualClock;
use mvx_metrics::testing::RecorderDouble;
use mvx_metrics::testing::SteppedRuntime;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A gauge of the time at which its last event was dispatched, in seconds since the epoch.
struct LastSeen {
    descriptor: Arc<Descriptor>,
    at: Timestamp,
}

impl Metric<Number> for LastSeen {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn handle_event(&mut self, _event: &Number, context: &Context) -> Verdict {
        self.at = context.now();
        Verdict::Accepted
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        writer.gauge(&LabelSet::empty(), (self.at.unix_nanos() / 1_000_000_000) as f64);
    }
}

fn last_seen() -> LastSeen {
    LastSeen {
        descriptor: Descriptor::builder("last.seen", Kind::Gauge).build().unwrap(),
        at: Timestamp::default(),
    }
}

fn stepped() -> SteppedRuntime {
    SteppedRuntime::new("kit").unwrap()
}

fn counting(stepped: &SteppedRuntime, id: &str) -> Recorder<Number> {
    stepped
        .recorder(id)
        .counter("events", |c| c)
        .gauge("level", |g| g.value(|event: &Number| Some(event.0 as f64)))
        .create()
        .unwrap()
}

#[test]
fn nothing_happens_between_two_settles_and_everything_in_one() {
    let mut stepped = stepped();
    let recorder = counting(&stepped, "steps");
    assert_eq!(stepped.runtime().state(), RuntimeState::Created);
    for n in 1..=5_000 {
        recorder.register_event(Number(n));
    }
    let flush = recorder.flush();
    let (_, added) = recorder.on_metric_changed(|_| {});
    assert_eq!((recorder.accounts().pending(), recorder.snapshot().version()), (5_000, 0));
    assert!(flush.result().is_none() && added.result().is_none());
    stepped.settle();
    assert!(matches!((flush.result(), added.result()), (Some(Ok(())), Some(Ok(())))));
    assert_eq!((recorder.accounts().processed, recorder.accounts().pending()), (5_000, 0));
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.counter("events", &[]), snapshot.gauge("level", &[])), (Some(5_000), Some(5_000.0)));
    let version = snapshot.version();
    stepped.settle();
    assert_eq!(recorder.snapshot().version(), version);
    let stop = recorder.stop();
    assert_eq!(recorder.state(), RecorderState::Stopping);
    stepped.settle();
    assert!(matches!(stop.result(), Some(Ok(()))));
    assert_eq!(recorder.state(), RecorderState::Stopped);
}

#[test]
fn events_that_metrics_state_are_settled_too_across_recorders() {
    let mut stepped = stepped();
    let last = counting(&stepped, "last");
    let sink = last.clone();
    let first = stepped
        .recorder::<Number>("first")
        .metric(Probe::new("forward", move |event: &Number| {
            sink.register_event(*event);
            Verdict::Accepted
        }))
        .create()
        .unwrap();
    (0..10).for_each(|n| first.register_event(Number(n)));
    stepped.settle();
    assert_eq!(last.snapshot().counter("events", &[]), Some(10));
}

#[test]
fn the_same_steps_give_the_same_run_every_time() {
    let run = || {
        let mut stepped = stepped();
        let log: Arc<Mutex<Vec<(u8, u64)>>> = Arc::default();
        let recorders: Vec<_> = (0..3)
            .map(|id| {
                let log = Arc::clone(&log);
                let probe = Probe::new(&format!("events{id}"), move |event: &Number| {
                    log.lock().unwrap().push((id, event.0));
                    Verdict::Accepted
                });
                stepped
                    .recorder::<Number>(&format!("recorder{id}"))
                    .metric(probe)
                    .metric(last_seen())
                    .create()
                    .unwrap()
            })
            .collect();
        let mut seen = Vec::new();
        for n in 0..400 {
            recorders[n as usize * 7 % 3].register_event(Number(n));
            stepped.clock().advance(Duration::from_millis(n % 3));
            if n % 50 == 49 {
                stepped.settle();
                seen.extend(recorders.iter().map(|recorder| {
                    let snapshot = recorder.snapshot();
                    (
                        snapshot.version(),
                        snapshot.sequence(),
                        snapshot.taken_at(),
                        snapshot.gauge("last.seen", &[]),
                    )
                }));
            }
        }
        assert!(stepped.shutdown().is_complete());
        let log = log.lock().unwrap().clone();
        assert_eq!(log.len(), 400);
        (log, format!("{seen:?}"))
    };
    let first = run();
    assert_eq!(first, run());
    assert_eq!(first, run());
}

#[test]
fn metrics_and_snapshots_see_the_time_of_the_clock_and_no_other() {
    let mut stepped = stepped();
    let start = stepped.clock().now();
    let recorder = stepped.recorder::<Number>("time").metric(last_seen()).create().unwrap();
    assert_eq!((recorder.snapshot().taken_at(), recorder.snapshot().epoch().process_start), (start, start));
    for n in 1..=3 {
        stepped.clock().advance(SECOND);
        recorder.register_event(Number(n));
        // Dispatched at the time of the settle, not of the statement.
        stepped.clock().advance(SECOND);
        stepped.settle();
        let now = start.saturating_add(SECOND * 2 * n as u32);
        assert_eq!(recorder.snapshot().taken_at(), now);
        assert_eq!(
            recorder.snapshot().gauge("last.seen", &[]),
            Some((now.unix_nanos() / 1_000_000_000) as f64)
        );
    }
}

#[test]
fn a_manual_clock_stands_still_is_shared_and_never_wraps() {
    let clock = ManualClock::at(Timestamp::from_unix_nanos(5));
    let shared = clock.clone();
    assert_eq!((clock.now(), clock.now().unix_nanos()), (shared.now(), 5));
    shared.advance(Duration::from_nanos(7));
    assert_eq!(clock.now().unix_nanos(), 12);
    clock.advance(Duration::MAX);
    assert_eq!(clock.now().unix_nanos(), u64::MAX);
    assert_eq!(ManualClock::default().now(), ManualClock::default().now());
}

#[test]
fn calls_that_wait_run_into_their_time_out_and_a_shutdown_by_hand_is_complete() {
    let stepped = stepped();
    let recorder = counting(&stepped, "waits");
    recorder.register_event(Number(1));
    let error = recorder.flush_blocking(Duration::from_millis(1)).unwrap_err();
    assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(1)));
    let runtime = stepped.runtime().clone();
    let report = stepped.shutdown();
    assert!(report.is_complete() && report.worker_ended());
    assert_eq!((report.accounts().processed, runtime.state()), (1, RuntimeState::Closed));
    assert_eq!(runtime.shutdown(PATIENCE).unwrap().accounts(), report.accounts());
    recorder.register_event(Number(2));
    assert_eq!(recorder.accounts().rejected.closed, 1);
    assert_eq!(SteppedRuntime::new(" ").err().map(|error| error.kind()), Some(ErrorKind::InvalidId));
}

#[test]
fn a_double_keeps_the_events_of_all_its_clones_in_their_order() {
    let double = RecorderDouble::<Number>::new();
    let (other, sink): (_, &dyn EventSink<Number>) = (double.clone(), &double);
    sink.register_event(Number(1));
    other.register_event(Number(2));
    assert_eq!((double.len(), double.is_empty(), double.event_types()), (2, false, vec!["number", "number"]));
    assert_eq!(double.take(), [Number(1), Number(2)]);
    assert!(double.is_empty() && other.is_empty() && other.take().is_empty());
    thread::scope(|scope| {
        for thread in 0..4 {
            let double = &double;
            scope.spawn(move || (0..100).for_each(|n| double.register_event(Number(thread * 1_000 + n))));
        }
    });
    let events = double.take();
    assert_eq!(events.len(), 400);
    for thread in 0..4 {
        let own: Vec<_> = events.iter().filter(|event| event.0 / 1_000 == thread).collect();
        assert!(own.windows(2).all(|two| two[0].0 < two[1].0));
    }
}

#[test]
fn a_delta_counts_from_where_the_test_began_and_an_absent_series_as_zero() {
    let mut stepped = stepped();
    let recorder = stepped
        .recorder::<Number>("delta")
        .counter("sums", |c| c.value(|event: &Number| Some(event.0)))
        .gauge("level", |g| g.value(|event: &Number| Some(event.0 as f64)))
        .histogram("sizes", |h| h.bounds(&[10.0, 100.0]).value(|event: &Number| Some(event.0 as f64)))
        .create()
        .unwrap();
    let empty = recorder.snapshot();
    recorder.register_event(Number(40));
    stepped.settle();
    let before = recorder.snapshot();
    recorder.register_event(Number(2));
    recorder.register_event(Number(5));
    stepped.settle();
    let after = recorder.snapshot();
    let delta = Delta::between(&before, &after);
    assert_eq!((delta.counter("sums", &[]), delta.processed(), delta.observations("sizes", &[])), (7, 2, 2));
    assert_eq!(delta.gauge("level", &[]), -35.0);
    assert_eq!(
        (delta.counter("none", &[]), delta.gauge("none", &[]), delta.observations("none", &[])),
        (0, 0.0, 0)
    );
    assert_eq!(Delta::between(&empty, &after).counter("sums", &[]), 47);
    // The wrong way round is nothing, not a panic.
    assert_eq!(
        (Delta::between(&after, &before).counter("sums", &[]), Delta::between(&after, &before).processed()),
        (0, 0)
    );
}

#[test]
fn until_looks_at_least_once_and_ends_as_soon_as_it_is_so() {
    let mut looks = 0;
    assert!(mvx_metrics::testing::until(PATIENCE, || {
        looks += 1;
        looks == 3
    }));
    assert_eq!(looks, 3);
    let mut looks = 0;
    assert!(!mvx_metrics::testing::until(Duration::ZERO, || {
        looks += 1;
        false
    }));
    assert_eq!(looks, 1);
    assert!(mvx_metrics::testing::until(Duration::ZERO, || true));
}

/// A recorder with one metric of each kind, all over the same numbers.
fn every_kind(stepped: &SteppedRuntime) -> Recorder<Number> {
    stepped
        .recorder::<Number>("kinds")
        .capacity(4)
        .counter("sums", |c| c.label("odd", |e| (e.0 % 2 == 1).into()).value(|e| Some(e.0)))
        .counter("halves", |c| c.value(|e| Some(e.0 as f64 / 2.0)))
        .up_down("open", |c| c.value(|e| Some(5 - e.0 as i64)))
        .gauge("level", |g| g.value(|e| Some(e.0 as f64)))
        .histogram("sizes", |h| h.bounds(&[10.0]).value(|e| Some(e.0)))
        .average("mean", |a| a.value(|e| Some(e.0)))
        .counter("others", |c| c.keep(|e| e.0 > 100))
        .create()
        .unwrap()
}

/// Two snapshots, between them the numbers 1, 2 and 7, and three events too many.
fn two_snapshots() -> Delta {
    let mut stepped = stepped();
    let recorder = every_kind(&stepped);
    recorder.register_event(Number(4));
    stepped.settle();
    let before = recorder.snapshot();
    for n in [1, 2, 7] {
        recorder.register_event(Number(n));
    }
    stepped.settle();
    (0..7).for_each(|_| recorder.register_event(Number(0)));
    Delta::between(&before, &recorder.snapshot())
}

const ODD: [(&str, &str); 1] = [("odd", "true")];
const EVEN: [(&str, &str); 1] = [("odd", "false")];

#[test]
fn what_is_expected_of_every_kind_of_metric_and_so_happened_passes() {
    let delta = two_snapshots();
    let expected = delta.expect().counter("sums", &ODD, 8).counter("sums", &EVEN, 2).total("sums", 10);
    let expected = expected.float_counter("halves", &[], 5.0).up_down("open", &[], 5);
    let expected =
        expected.gauge("level", &[], 7.0).observations("sizes", &[], 3).observations("mean", &[], 3);
    expected.unchanged("others").total("others", 0).processed(3).lost(3).verify().unwrap();
    assert_eq!((delta.total("sums"), delta.lost(), delta.up_down("open", &[])), (10, 3, 5));
    assert_eq!((delta.float_counter("halves", &[]), delta.observations("mean", &[])), (5.0, 3));
}

#[test]
fn a_mismatch_says_what_was_expected_what_there_was_and_where_it_went_instead() {
    let delta = two_snapshots();
    let text = |expected: mvx_metrics::testing::Expectations<'_>| {
        let error = expected.verify().unwrap_err();
        assert_eq!(error.to_string(), format!("{error:?}"));
        let text = error.to_string();
        let (wrong, accounts) = text.split_once("\n  accounts before: ").unwrap();
        assert_eq!(
            accounts,
            "accepted 1, rejected 0, processed 1, dropped 0, pending 0\n  \
             accounts after: accepted 8, rejected 3 (full 3), processed 4, dropped 0, pending 4"
        );
        wrong.strip_prefix("recorder kinds has not changed as expected:\n  ").unwrap().to_owned()
    };
    assert_eq!(
        text(delta.expect().counter("sums", &EVEN, 3)),
        "counter sums{odd=\"false\"}: expected a change by 3, was 2 (4 before, 6 after)\n    \
         changed there: {odd=\"true\"} to 8"
    );
    assert_eq!(
        text(delta.expect().counter("sums", &[("odd", "maybe")], 1)),
        "counter sums{odd=\"maybe\"}: expected a change by 1, was 0 (no such series before, no such series after)\n    \
         changed there: {odd=\"false\"} from 4 to 6, {odd=\"true\"} to 8"
    );
    assert_eq!(
        text(delta.expect().total("sums", 9)),
        "counter sums, all series: expected a change by 9, was 10\n    \
         changed there: {odd=\"false\"} from 4 to 6, {odd=\"true\"} to 8"
    );
    assert_eq!(
        text(delta.expect().float_counter("halves", &[], 5.1)),
        "counter of fractions halves: expected a change by 5.1, was 5 (2 before, 7 after)"
    );
    assert_eq!(
        text(delta.expect().up_down("open", &[], -5)),
        "up-down counter open: expected a change by -5, was 5 (1 before, 6 after)"
    );
    assert_eq!(
        text(delta.expect().gauge("level", &[], 3.0)),
        "gauge level: expected to be 3 (4 before, 7 after)"
    );
    assert_eq!(
        text(delta.expect().observations("sizes", &[], 4)),
        "histogram sizes: expected 4 observations more, were 3 \
         (1 observation from 4 to 4, 4 in all before, 4 observations from 1 to 7, 14 in all after)"
    );
    assert_eq!(
        text(delta.expect().unchanged("level")),
        "gauge level, all series: expected no change\n    changed there: {} from 4 to 7"
    );
    assert_eq!(
        text(delta.expect().processed(4).lost(0)),
        "processed events: expected a change by 4, was 3\n  lost events: expected a change by 0, was 3"
    );
}

#[test]
fn a_misspelt_metric_never_passes_not_even_for_zero() {
    let delta = two_snapshots();
    let text = delta.expect().counter("sum", &[], 0).verify().unwrap_err().to_string();
    assert!(text.contains("there is no metric sum; there are: sums, halves, open,"), "{text}");
    assert!(delta.expect().unchanged("sum").verify().is_err());
    assert!(delta.expect().total("sum", 0).verify().is_err());
    let text = delta.expect().counter("level", &[], 0).verify().unwrap_err().to_string();
    assert!(text.contains("level is a gauge, not a counter"), "{text}");
    let text = delta.expect().observations("level", &[], 0).verify().unwrap_err().to_string();
    assert!(text.contains("level is a gauge, not a histogram or exponential histogram or average"), "{text}");
}

#[test]
fn a_mismatch_over_many_series_names_a_few_and_says_how_many_more() {
    let mut stepped = stepped();
    let recorder = stepped
        .recorder::<Number>("many")
        .counter("each", |c| c.label("n", |e| e.0.into()))
        .create()
        .unwrap();
    let before = recorder.snapshot();
    (0..20).for_each(|n| recorder.register_event(Number(n)));
    stepped.settle();
    let delta = Delta::between(&before, &recorder.snapshot());
    let text = delta.expect().unchanged("each").verify().unwrap_err().to_string();
    assert!(text.contains("{n=\"7\"} to 1 and 12 more\n"), "{text}");
    assert!(!text.contains("{n=\"8\"}"), "{text}");
}

#[test]
fn rounding_of_sums_is_no_mismatch_of_a_counter_of_fractions() {
    let mut stepped = stepped();
    let recorder = stepped
        .recorder::<Number>("tenths")
        .counter("tenths", |c| c.value(|e| Some(e.0 as f64 / 10.0)))
        .create()
        .unwrap();
    recorder.register_event(Number(1));
    stepped.settle();
    let before = recorder.snapshot();
    recorder.register_event(Number(2));
    stepped.settle();
    let delta = Delta::between(&before, &recorder.snapshot());
    assert_ne!(delta.float_counter("tenths", &[]), 0.2);
    delta.expect().float_counter("tenths", &[], 0.2).verify().unwrap();
    assert!(delta.expect().float_counter("tenths", &[], 0.200_000_001).verify().is_err());
}

#[test]
fn a_snapshot_that_does_not_come_is_told_with_the_last_one() {
    let mut stepped = stepped();
    let recorder = counting(&stepped, "late");
    recorder.register_event(Number(3));
    stepped.settle();
    let mut looks = 0;
    let late = mvx_metrics::testing::until_snapshot(&recorder, Duration::from_millis(2), |snapshot| {
        looks += 1;
        snapshot.total("events") > Some(1)
    });
    let late = late.unwrap_err();
    assert!(looks >= 1);
    assert_eq!((late.snapshot().total("events"), late.snapshot().id().as_str()), (Some(1), "late"));
    assert_eq!(
        late.to_string(),
        "recorder late did not come to show it within 2ms; last seen, Running, at version 1:\n  \
         events {{}: Counter(1)}\n  level {{}: Gauge(3.0)}\n  \
         accounts: accepted 1, rejected 0, processed 1, dropped 0, pending 0"
    );
    assert_eq!(late.to_string(), format!("{late:?}"));
}

#[test]
fn a_snapshot_that_comes_is_the_one_that_was_looked_at() {
    let runtime = crate::support::running("comes");
    let recorder = runtime.recorder::<Number>("comes").counter("events", |c| c).create().unwrap();
    let server = recorder.clone();
    let stating = thread::spawn(move || (0..1_000).for_each(|n| server.register_event(Number(n))));
    let mut last = None;
    let snapshot = mvx_metrics::testing::until_snapshot(&recorder, PATIENCE, |snapshot| {
        last = snapshot.total("events");
        last == Some(1_000)
    });
    assert_eq!((snapshot.unwrap().total("events"), last), (Some(1_000), Some(1_000)));
    stating.join().unwrap();
}

#[test]
fn the_last_snapshot_of_a_wait_is_the_one_that_was_looked_at_last() {
    let mut stepped = stepped();
    let recorder = counting(&stepped, "last");
    let mut seen = None;
    let late = mvx_metrics::testing::until_snapshot(&recorder, Duration::from_millis(1), |snapshot| {
        seen = Some(snapshot.version());
        recorder.register_event(Number(1));
        stepped.settle();
        false
    });
    assert_eq!(Some(late.unwrap_err().snapshot().version()), seen);
}

#[test]
fn a_recorder_lists_what_it_measures_in_every_state_and_what_is_registered_later_too() {
    let mut stepped = stepped();
    let recorder = every_kind(&stepped);
    let lines = |recorder: &Recorder<Number>| {
        recorder.describe_metrics().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut expected = vec![
        "sums: counter by odd",
        "halves: counter of fractions",
        "open: up-down counter",
        "level: gauge",
        "sizes: histogram",
        "mean: average",
        "others: counter",
    ];
    assert_eq!(lines(&recorder), expected);
    let late = mvx_metrics::Counter::<Number>::builder("late")
        .unit(mvx_metrics::Unit::Bytes)
        .help("What came late.")
        .label("z", |_| true.into())
        .label("a", |_| true.into())
        .build()
        .unwrap();
    let registered = recorder.register_metric(late);
    stepped.settle();
    assert!(matches!(registered.result(), Some(Ok(()))));
    expected.push("late: counter in By by a, z; What came late.");
    assert_eq!(lines(&recorder), expected);
    assert!(stepped.shutdown().is_complete());
    assert_eq!(lines(&recorder), expected);
}

#[test]
fn what_a_test_fails_with_is_an_error_of_its_own() {
    fn error<E: std::error::Error + Send + Sync + 'static>(_: &E) {}
    let delta = two_snapshots();
    let mismatch = delta.expect().lost(0).verify().unwrap_err();
    error(&mismatch);
    let mut stepped = stepped();
    let recorder = counting(&stepped, "error");
    stepped.settle();
    let late = mvx_metrics::testing::until_snapshot(&recorder, Duration::ZERO, |_| false).unwrap_err();
    error(&late);
    let both: [Box<dyn std::error::Error + Send + Sync>; 2] = [mismatch.into(), late.into()];
    assert!(both[0].to_string().starts_with("recorder kinds has not changed as expected"));
    assert!(both[1].to_string().starts_with("recorder error did not come to show it within 0ns"));
}

#[test]
fn a_stepped_runtime_dropped_under_a_pending_hook_leaves_nothing_behind() {
    let held = Arc::new(());
    let (by_metric, by_hook) = (Arc::clone(&held), Arc::clone(&held));
    let mut stepped = SteppedRuntime::new("dropped").unwrap();
    let recorder = stepped
        .recorder::<Number>("one")
        .counter("events", move |c| c.keep(move |_| Arc::strong_count(&by_metric) > 0))
        .on_starting(move || {
            let held = Arc::clone(&by_hook);
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            }
        })
        .create()
        .unwrap();
    recorder.register_event(Number(1));
    stepped.settle();
    assert_eq!((recorder.state(), Arc::strong_count(&held)), (RecorderState::Starting, 4));
    drop((recorder, stepped));
    assert_eq!(Arc::strong_count(&held), 1);
}

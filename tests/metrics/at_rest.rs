//! Recorders that rest give up what is in their published state as well, and go on as if they never had.
#![cfg(all(feature = "testing", feature = "derive"))]

use crate::support::Number;
use mvx_metrics::LabelValue;
use mvx_metrics::Labels;
use mvx_metrics::MetricSet;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderTask;
use mvx_metrics::RemovedSeries;
use mvx_metrics::Snapshot;
use mvx_metrics::limits;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::task::Waker;
use std::time::Duration;

#[derive(Clone, Copy, LabelValue)]
enum Parity {
    Even,
    Odd,
}

#[derive(Labels)]
struct Typed {
    parity: Parity,
    high: bool,
}

#[derive(Labels)]
struct Open<'e> {
    parity: Parity,
    name: &'e str,
}

fn parity(number: Number) -> Parity {
    if number.0 % 2 == 0 { Parity::Even } else { Parity::Odd }
}

/// Names by which many numbers are told apart, and some are not.
const NAMES: [&str; 5] = ["", "a", "b", "ab", "c"];

/// Every instrument, with all kinds of labels and limits.
fn metrics() -> MetricSet<Number> {
    let typed = |e: &Number| Typed { parity: parity(*e), high: e.0 > 60 };
    let bounds: &[f64] = &[3.0, 9.0, 90.0];
    MetricSet::<Number>::new()
        .counter("all", |c| c)
        .counter("one", |c| c.label("n", |e| (e.0 % 20).into()))
        .counter("two", |c| {
            c.label("n", |e| (e.0 % 3).into()).label("name", |e| NAMES[e.0 as usize % NAMES.len()].into())
        })
        .counter("many", |c| c.label("n", |e| e.0.into()))
        .counter("few", |c| c.label("name", |e| NAMES[e.0 as usize % NAMES.len()].into()).cardinality(3))
        .counter("idle", |c| c.label("n", |e| (e.0 % 20).into()).expire_after(Duration::from_secs(4)))
        .counter("typed", move |c| c.labels::<Typed>(typed))
        .counter("typed.few", move |c| {
            c.labels::<Typed>(typed).cardinality(3).value(|e| Some(u64::MAX / 100 * (e.0 % 60)))
        })
        .counter("open", |c| {
            c.labels::<Open<'static>>(|e| Open {
                parity: parity(*e),
                name: NAMES[e.0 as usize % NAMES.len()],
            })
        })
        .counter("fractions", |c| c.label("n", |e| (e.0 % 4).into()).value(|e| Some(e.0 as f64 / 8.0)))
        // What is refused here leaves a series without an observation.
        .counter("large", |c| {
            c.label("n", |e| e.0.into()).value(|e| Some(if e.0 % 3 == 0 { f64::MAX } else { 1.5 }))
        })
        .counter("told", |c| {
            c.label("n", |e| (e.0 % 4).into()).exemplar(|e, labels| labels.trace(u128::from(e.0 % 9), 1))
        })
        .gauge("level", |g| g.label("n", |e| (e.0 % 4).into()).value(|e| Some(e.0)))
        .up_down("depth", |u| u.label("n", |e| (e.0 % 4).into()).value(|e| Some(9 - e.0 as i64)))
        .max("highest", |m| m.label("n", |e| (e.0 % 4).into()).value(|e| Some(e.0)))
        .average("mean", |a| a.label("n", |e| (e.0 % 4).into()).value(|e| Some(e.0 as f64 / 3.0)))
        .histogram("size", move |h| h.bounds(bounds).value(|e| Some(e.0)))
        .histogram("time", move |h| {
            h.bounds(bounds).label("n", |e| (e.0 % 4).into()).value(|e| Some(Duration::from_secs(e.0)))
        })
        .histogram("typed.size", move |h| {
            h.bounds(bounds).labels::<Typed>(typed).value(|e| Some(e.0 as f64 / 3.0))
        })
        .histogram("told.size", move |h| {
            h.bounds(bounds).value(|e| Some(e.0)).exemplar(|e, labels| labels.trace(u128::from(e.0 % 9), 1))
        })
        .exponential_histogram("spread", |h| h.label("n", |e| (e.0 % 4).into()).value(|e| Some(e.0)))
        .summary("summary", |s| s.label("n", |e| (e.0 % 4).into()).value(|e| Some(e.0)))
        .windowed_summary("recent", |s| s.window(Duration::from_secs(60)).slots(6).value(|e| Some(e.0)))
        .rate("rate", |r| r.label("n", |e| (e.0 % 4).into()).value(|e| Some(e.0)))
        .heartbeat("beat", |h| h.label("n", |e| (e.0 % 4).into()))
        .info("info", |i| i.label("n", |e| (e.0 % 4).into()))
        .state_set("states", &["none", "a", "b", "ab", "c"], |s| {
            s.state(|e| Some(NAMES[e.0 as usize % NAMES.len()]))
        })
}

/// A recorder that rests whenever it is left alone, and one of the same clock that never does.
struct Twins {
    runtime: SteppedRuntime,
    rests: Recorder<Number>,
    never: Recorder<Number>,
    task: RecorderTask,
}

impl Twins {
    fn new(metrics: fn() -> MetricSet<Number>) -> Self {
        let runtime = SteppedRuntime::new("rest").unwrap();
        let rests = runtime.recorder::<Number>("one").metrics(metrics()).create().unwrap();
        let never = Recorder::<Number>::detached("one").clock(runtime.clock().clone()).metrics(metrics());
        let (never, task) = never.create().unwrap();
        Self { runtime, rests, never, task }
    }

    fn settle(&mut self) {
        self.runtime.settle();
        assert!(Pin::new(&mut self.task).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    fn state(&mut self, numbers: &[u64]) -> Snapshot {
        for number in numbers {
            self.rests.register_event(Number(*number));
            self.never.register_event(Number(*number));
        }
        self.settle();
        self.rests.snapshot()
    }

    fn rest(&mut self) {
        self.runtime.clock().advance(limits::RELEASE_AFTER + limits::RELEASE_PASS);
        self.settle();
        assert_eq!(self.runtime.runtime().memory().recorders[0].queue, 0);
    }

    /// What the metrics take by the report, without what readers see of them.
    fn bytes_of(&self, name: &str) -> usize {
        let memory = self.runtime.runtime().memory();
        let metric = memory.recorders[0].metrics.iter().find(|metric| metric.name.as_str() == name);
        metric.unwrap().bytes
    }

    #[track_caller]
    fn assert_alike(&self) {
        let (ours, theirs) = (self.rests.snapshot(), self.never.snapshot());
        assert_eq!(ours.sequence(), theirs.sequence());
        for (ours, theirs) in ours.metrics().zip(theirs.metrics()) {
            let name = ours.family().name();
            assert_eq!(ours.family(), theirs.family(), "{name}");
            assert_eq!(
                (ours.tally(), ours.is_quarantined()),
                (theirs.tally(), theirs.is_quarantined()),
                "{name}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_recorder_that_rests_now_and_then_shows_what_one_that_never_does_shows(
        steps in proptest::collection::vec(
            (proptest::collection::vec(0..120_u64, 0..9), any::<bool>(), any::<bool>(), 0..3_u64), 0..30
        ),
    ) {
        let mut twins = Twins::new(metrics);
        let mut held = Vec::new();
        for (numbers, rests, is_held, pause) in steps {
            let before = twins.state(&numbers);
            if is_held {
                // Cuts that are held are not written to by anybody.
                held.push((format!("{:?}", before.metrics().map(|metric| metric.family().clone()).collect::<Vec<_>>()), before));
            }
            twins.assert_alike();
            if rests {
                twins.rest();
            }
            twins.runtime.clock().advance(Duration::from_secs(pause));
        }
        for (then, snapshot) in held {
            let now = format!("{:?}", snapshot.metrics().map(|metric| metric.family().clone()).collect::<Vec<_>>());
            prop_assert_eq!(then, now);
        }
    }
}

#[test]
fn a_resting_recorder_has_given_its_series_up_and_a_metric_of_many_series_keeps_them() {
    let mut twins = Twins::new(metrics);
    let many: Vec<u64> = (0..=limits::SERIES_AT_REST as u64).collect();
    twins.state(&many);
    twins.state(&many);
    let at_work = ["one", "time", "many"].map(|name| twins.bytes_of(name));
    twins.rest();
    let at_rest = ["one", "time", "many"].map(|name| twins.bytes_of(name));
    assert!(at_rest[0] < at_work[0] / 2 && at_rest[1] < at_work[1] / 2, "{at_rest:?} of {at_work:?}");
    assert_eq!(at_rest[2], at_work[2]);
    twins.state(&[7]);
    twins.assert_alike();
    assert!(twins.bytes_of("one") > 2 * at_rest[0], "it has them again");
}

#[test]
fn what_is_asked_of_a_resting_recorder_without_an_event_finds_its_metrics_as_they_were() {
    let mut twins = Twins::new(metrics);
    twins.state(&[1, 2, 3]);
    twins.rest();
    for recorder in [&twins.rests, &twins.never] {
        drop(recorder.remove_metric("one", RemovedSeries::Kept));
        drop(recorder.stop());
    }
    twins.runtime.settle();
    assert!(Pin::new(&mut twins.task).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    twins.assert_alike();
    assert_eq!(twins.rests.snapshot().counter("all", &[]), Some(3));
    assert_eq!(twins.rests.snapshot().counter("one", &[("n", "2")]), Some(1));
}

#[test]
fn a_metric_that_panics_after_a_rest_keeps_what_it_had() {
    fn fails() -> MetricSet<Number> {
        MetricSet::<Number>::new().counter("sum", |c| {
            c.value(|e| {
                assert!(e.0 != 13, "seeded");
                Some(e.0)
            })
        })
    }
    let mut twins = Twins::new(fails);
    twins.state(&[1, 2]);
    twins.rest();
    twins.state(&[3, 13, 4]);
    twins.assert_alike();
    twins.rest();
    drop(twins.rests.reinstate("sum"));
    drop(twins.never.reinstate("sum"));
    twins.state(&[5]);
    twins.assert_alike();
    assert_eq!(twins.rests.snapshot().counter("sum", &[]), Some(11));
}

//! DESIGN 3.7: user code that does not return is named, by the runtime while it lives and by the report of its shutdown.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod support;

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::CallUnderWay;
use mvx_metrics::Context;
use mvx_metrics::Counter;
use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Kind;
use mvx_metrics::Label;
use mvx_metrics::Metric;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::UserCall;
use mvx_metrics::Verdict;
use mvx_metrics::limits::STUCK_AFTER;
use mvx_metrics::testing::ManualClock;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

/// A runtime under a clock that stands still.
fn running() -> (MetricsRuntime, ManualClock) {
    let clock = ManualClock::default();
    let runtime = MetricsRuntime::builder("alive").clock(clock.clone()).build().unwrap();
    runtime.start().unwrap();
    (runtime, clock)
}

/// The call that the worker is in, once it stands at the gate; the gate is opened, and the worker goes on.
#[track_caller]
fn named_at(runtime: &MetricsRuntime, gate: &Gate) -> CallUnderWay {
    gate.until_reached();
    let call = runtime.liveness().call().cloned().expect("the worker is in a call");
    gate.open();
    until("the worker goes on", || runtime.liveness().call().is_none());
    call
}

fn metric(name: &str) -> UserCall {
    UserCall::Metric(Some(mvx_metrics::MetricName::new(name).unwrap()))
}

#[test]
fn a_worker_is_alive_from_its_start_to_its_end_idle_or_not() {
    let runtime = MetricsRuntime::builder("alive").build().unwrap();
    assert!(!runtime.liveness().is_alive());
    runtime.start().unwrap();
    let recorder = runtime.recorder::<Number>("idle").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    until("it is idle", || runtime.liveness().call().is_none());
    assert!(runtime.liveness().is_alive() && runtime.liveness().stuck().is_none());
    let _ = runtime.shutdown(PATIENCE).unwrap();
    assert!(!runtime.liveness().is_alive());
}

#[test]
fn a_call_that_lasts_too_long_is_stuck_and_one_that_returned_is_not() {
    let ((runtime, clock), gate) = (running(), Gate::default());
    let _bystander = runtime.recorder::<Number>("bystander").counter("seen", |c| c).create().unwrap();
    let recorder = runtime
        .recorder("storage")
        .counter("first", |c| c)
        .metric(stopper("second", 7, &gate))
        .create()
        .unwrap();
    clock.advance(SECOND);
    let before = mvx_metrics::Clock::now(&clock);
    recorder.register_event(Number(7));
    gate.until_reached();
    clock.advance(STUCK_AFTER);
    let liveness = runtime.liveness();
    assert!(liveness.is_alive() && liveness.stuck().is_none());
    clock.advance(SECOND);
    let liveness = runtime.liveness();
    let stuck = liveness.stuck().expect("longer than the limit");
    assert_eq!((stuck.recorder.as_str(), &stuck.call), ("storage", &metric("second")));
    assert_eq!((stuck.since, stuck.lasted), (before, STUCK_AFTER + SECOND));
    assert_eq!(stuck.to_string(), "metric second of recorder storage for 6s");
    gate.open();
    recorder.flush_blocking(PATIENCE).unwrap();
    until("it is idle", || runtime.liveness().call().is_none());
}

#[test]
fn closures_observers_destructors_and_snapshots_are_named_as_what_they_are() {
    /// Waits at the gate when it is dropped.
    struct Held(Option<Gate>);
    impl Drop for Held {
        fn drop(&mut self) {
            if let Some(gate) = self.0.take() {
                gate.pass();
            }
        }
    }
    impl MetricEvent for Held {
        fn event_type(&self) -> &'static str {
            "held"
        }
    }
    let (runtime, _clock) = running();

    let gate = Gate::default();
    let passed = gate.clone();
    let labelled = Counter::<Number>::builder("labelled").label("which", move |_| {
        passed.pass();
        Label::fixed("one")
    });
    let recorder =
        runtime.recorder("label").counter("plain", |c| c).metric(labelled.build().unwrap()).create().unwrap();
    recorder.register_event(Number(1));
    assert_eq!(named_at(&runtime, &gate).call, metric("labelled"));

    let gate = Gate::default();
    let passed = gate.clone();
    let observed = runtime.recorder::<Number>("observed").counter("changes", |c| c);
    let observed = observed.on_metric_changed(move |_| passed.pass()).create().unwrap();
    observed.register_event(Number(1));
    assert_eq!(named_at(&runtime, &gate).call, UserCall::Observer);

    let gate = Gate::default();
    let held = Held(Some(gate.clone()));
    let (id, _) = recorder.on_metric_changed(move |_| assert!(held.0.is_some()));
    drop(recorder.remove_observer(id));
    let call = named_at(&runtime, &gate);
    assert_eq!((call.recorder.as_str(), call.call), ("label", UserCall::Commands));

    let gate = Gate::default();
    let dropped = runtime.recorder::<Held>("dropped").counter("drops", |c| c).create().unwrap();
    dropped.register_event(Held(Some(gate.clone())));
    assert_eq!(named_at(&runtime, &gate).call, UserCall::EventDrop);

    let gate = Gate::default();
    let shown = runtime.recorder("shown").metric(Shown::new(&gate)).create().unwrap();
    shown.register_event(Number(1));
    let flush = shown.flush();
    let UserCall::Snapshot(Some(name)) = named_at(&runtime, &gate).call else { unreachable!("a snapshot") };
    assert_eq!(name.as_str(), "shown");
    flush.wait(PATIENCE).unwrap();
    let _ = runtime.shutdown(PATIENCE).unwrap();
}

/// A metric that waits at the gate when it is written down.
struct Shown {
    descriptor: Arc<Descriptor>,
    gate: Gate,
}

impl Shown {
    fn new(gate: &Gate) -> Self {
        Self { descriptor: Descriptor::builder("shown", Kind::Counter).build().unwrap(), gate: gate.clone() }
    }
}

impl Metric<Number> for Shown {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn handle_event(&mut self, _event: &Number, _context: &Context) -> Verdict {
        Verdict::Accepted
    }

    fn snapshot(&self, _writer: &mut FamilyWriter<'_>) {
        self.gate.pass();
    }
}

#[test]
fn hooks_that_block_are_named_where_they_are_made_and_where_they_are_polled() {
    let (runtime, _clock) = running();
    let gates = [Gate::default(), Gate::default(), Gate::default()];
    let [made, polled, stopping] = gates.clone();
    let recorder = runtime
        .recorder::<Number>("hooked")
        .hook_deadline(PATIENCE)
        .on_starting(move || {
            made.pass();
            let polled = polled.clone();
            async move {
                polled.pass();
                Ok(())
            }
        })
        .on_stopped(move || {
            let stopping = stopping.clone();
            async move {
                stopping.pass();
                Ok(())
            }
        })
        .create()
        .unwrap();
    let start = recorder.start();
    gates[0].until_reached();
    assert_eq!(runtime.liveness().call().unwrap().call, UserCall::Hook("on_starting"));
    gates[0].open();
    gates[1].until_reached();
    assert_eq!(runtime.liveness().call().unwrap().call, UserCall::Hook("on_starting"));
    gates[1].open();
    start.wait(PATIENCE).unwrap();
    let stop = recorder.stop();
    assert_eq!(named_at(&runtime, &gates[2]).call, UserCall::Hook("on_stopped"));
    stop.wait(PATIENCE).unwrap();
    let _ = runtime.shutdown(PATIENCE).unwrap();
}

#[test]
fn a_hook_that_waits_without_blocking_holds_nobody() {
    let (runtime, clock) = running();
    let waits = runtime.recorder::<Number>("waits").on_starting(std::future::pending).create().unwrap();
    let start = waits.start();
    let other = runtime.recorder::<Number>("other").counter("events", |c| c).create().unwrap();
    other.register_event(Number(1));
    other.flush_blocking(PATIENCE).unwrap();
    clock.advance(STUCK_AFTER * 2);
    until("nobody is in a call", || runtime.liveness().call().is_none());
    assert!(start.result().is_none());
    let _ = runtime.shutdown(SOON).unwrap();
}

#[test]
fn a_report_names_the_call_that_held_the_worker_at_the_deadline_and_blames_it_for_the_others() {
    let ((runtime, _clock), gate) = (running(), Gate::default());
    let stuck = runtime.recorder("stuck").metric(stopper("stops", 7, &gate)).create().unwrap();
    stuck.register_event(Number(7));
    gate.until_reached();
    let behind = runtime.recorder::<Number>("behind").counter("waits", |c| c).create().unwrap();
    (0..3).for_each(|n| behind.register_event(Number(n)));
    let report = runtime.shutdown(SOON).unwrap();
    let held_by = report.held_by().expect("a metric holds the worker");
    assert_eq!((held_by.recorder.as_str(), &held_by.call), ("stuck", &metric("stops")));
    for (recorder, pending) in report.recorders().iter().zip([1, 3]) {
        let error = recorder.error.as_ref().unwrap();
        assert_eq!((error.kind(), error.pending()), (ErrorKind::Timeout, Some(pending)));
        let says = format!(
            "{pending} events of recorder {} were given up while the worker was in metric stops of recorder stuck",
            recorder.id
        );
        assert!(error.to_string().starts_with(&says), "{error}");
    }
    gate.open();
    until("the worker ends", || !runtime.liveness().is_alive());

    let (runtime, _clock) = running();
    let recorder = runtime.recorder::<Number>("quick").counter("quick", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    assert!(runtime.shutdown(PATIENCE).unwrap().held_by().is_none());
}

#[test]
fn a_recorder_that_was_removed_while_it_held_the_worker_is_still_named() {
    let ((runtime, clock), gate) = (running(), Gate::default());
    let recorder = runtime.recorder("gone").metric(stopper("holds", 7, &gate)).create().unwrap();
    recorder.register_event(Number(7));
    gate.until_reached();
    let error = runtime.stop_and_remove("gone", SOON).unwrap_err();
    assert!(error.to_string().contains("the worker was in metric holds of recorder gone"), "{error}");
    clock.advance(STUCK_AFTER * 2);
    assert_eq!(runtime.liveness().stuck().unwrap().recorder.as_str(), "gone");
    gate.open();
    until("the worker goes on", || runtime.liveness().call().is_none());
}

/// An event that is somebody's, too.
struct Shared(Arc<()>);

impl MetricEvent for Shared {
    fn event_type(&self) -> &'static str {
        "shared"
    }
}

#[test]
fn nothing_is_kept_of_a_removed_recorder_once_its_call_has_returned() {
    let (runtime, gate, owned) = (crate::support::running("kept"), Gate::default(), Arc::new(()));
    let (passed, in_metric) = (gate.clone(), Arc::clone(&owned));
    let probe = Probe::new("holds", move |event: &Shared| {
        let _held = (&in_metric, &event.0);
        passed.pass();
        Verdict::Accepted
    });
    let recorder = runtime.recorder("gone").metric(probe).create().unwrap();
    recorder.register_event(Shared(Arc::clone(&owned)));
    gate.until_reached();
    recorder.register_event(Shared(Arc::clone(&owned)));
    drop(recorder);
    assert_eq!(runtime.stop_and_remove("gone", SOON).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(runtime.liveness().call().unwrap().recorder.as_str(), "gone");
    gate.open();
    until("the worker goes on", || runtime.liveness().call().is_none());
    // No other removal has to come.
    until("its metric and its events are dropped", || Arc::strong_count(&owned) == 1);
}

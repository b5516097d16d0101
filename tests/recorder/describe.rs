//! Issue point 9: `describe_metrics` lists what a recorder measures, in every state.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::stopper;
use mvx_metrics::Counter;
use mvx_metrics::Kind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::Unit;

fn names(recorder: &Recorder<Number>) -> Vec<String> {
    recorder.describe_metrics().iter().map(|metric| metric.name().to_string()).collect()
}

#[test]
fn name_kind_unit_help_and_label_keys_of_each_are_told_before_the_first_event() {
    let runtime = MetricsRuntime::builder("created").build().unwrap();
    let recorder = runtime
        .recorder::<Number>("created")
        .counter("a", |c| c.help("All of them.").label("z", |e| e.0.into()).label("b", |e| e.0.into()))
        .histogram("b.c", |h| h.unit(Unit::Seconds).value(|e| Some(e.0)))
        .gauge("d", |g| g.unit(Unit::Bytes).value(|e| Some(e.0)))
        .create()
        .unwrap();
    let told: Vec<_> = recorder
        .describe_metrics()
        .iter()
        .map(|metric| {
            let keys: Vec<_> = metric.label_keys().iter().map(ToString::to_string).collect();
            (metric.name().to_string(), metric.kind(), metric.unit().clone(), metric.help().to_owned(), keys)
        })
        .collect();
    let line = |name: &str, kind, unit, help: &str, keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        (name.to_owned(), kind, unit, help.to_owned(), keys)
    };
    let expected = [
        line("a", Kind::Counter, Unit::None, "All of them.", &["b", "z"]),
        line("b.c", Kind::Histogram, Unit::Seconds, "", &[]),
        line("d", Kind::Gauge, Unit::Bytes, "", &[]),
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_list_is_there_in_every_state_with_metrics_added_later() {
    let (runtime, gate) = (running("states"), Gate::default());
    let recorder = runtime.recorder("states").metric(stopper("all", 1, &gate)).create().unwrap();
    let detached = Recorder::<Number>::detached("alone").counter("one", |c| c).create().unwrap().0;
    assert_eq!((names(&recorder), names(&detached)), (vec!["all".to_owned()], vec!["one".to_owned()]));
    recorder.register_metric(Counter::builder("late").build().unwrap()).wait(PATIENCE).unwrap();
    recorder.register_event(Number(0));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(names(&recorder), ["all", "late"]);
    recorder.register_event(Number(1));
    gate.until_reached();
    // The worker is held by a metric, and not asked.
    assert_eq!(names(&recorder), ["all", "late"]);
    gate.open();
    recorder.stop().wait(PATIENCE).unwrap();
    assert_eq!(names(&recorder), ["all", "late"]);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    drop(runtime);
    assert_eq!(names(&recorder), ["all", "late"]);
}

//! DESIGN 3.8: a runtime gives hooks to any recorder made by it, whatever its events are.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::NewRecorder;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderHooks;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

/// Another type of events.
struct Opened(bool);

impl MetricEvent for Opened {
    fn event_type(&self) -> &'static str {
        if self.0 { "opened" } else { "failed" }
    }
}

type Log<T> = Arc<Mutex<Vec<T>>>;

fn take<T>(log: &Log<T>) -> Vec<T> {
    std::mem::take(&mut *log.lock().unwrap())
}

fn running_with(
    factory: impl Fn(&NewRecorder<'_>) -> RecorderHooks + Send + Sync + 'static,
) -> MetricsRuntime {
    let runtime = MetricsRuntime::builder("hooked").recorder_hooks(factory).build().unwrap();
    runtime.start().unwrap();
    runtime
}

fn feed<E: MetricEvent>(recorder: &Recorder<E>, events: impl IntoIterator<Item = E>) {
    events.into_iter().for_each(|event| assert!(recorder.try_register_event(event).is_ok()));
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[test]
fn every_recorder_is_given_an_observer_of_its_own_that_is_told_every_change() {
    let log: Log<(String, String, String, &'static str, u64, Option<u64>)> = Arc::default();
    let told = Arc::clone(&log);
    let runtime = running_with(move |_| {
        let told = Arc::clone(&told);
        RecorderHooks::none().on_metric_changed(move |change| {
            let count = change.family().find(&[]).and_then(|series| series.value().counter());
            told.lock().unwrap().push((
                change.recorder().to_string(),
                change.entity().to_owned(),
                change.metric_name().to_string(),
                change.event_type(),
                change.sequence(),
                count,
            ));
        })
    });
    let odd = |e: &Number| e.0 % 2 == 1;
    let numbers =
        runtime.recorder("n").counter("all", |c| c).counter("odd", |c| c.keep(odd)).create().unwrap();
    let doors =
        runtime.recorder::<Opened>("d").entity("door").counter("doors", |c| c).create_owned().unwrap();
    feed(&numbers, [Number(1), Number(2)]);
    feed(&doors, [Opened(true), Opened(false)]);
    let told = take(&log);
    let told: Vec<_> = told.iter().map(|(r, e, m, t, s, c)| (&**r, &**e, &**m, *t, *s, c.unwrap())).collect();
    let expected = [
        ("n", "n", "all", "number", 1, 1),
        ("n", "n", "odd", "number", 1, 1),
        ("n", "n", "all", "number", 2, 2),
        ("d", "door", "doors", "opened", 1, 1),
        ("d", "door", "doors", "failed", 2, 2),
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_factory_sees_what_is_created_and_may_give_nothing() {
    let log: Log<String> = Arc::default();
    let seen = Arc::clone(&log);
    let told: Log<String> = Arc::default();
    let changes = Arc::clone(&told);
    let runtime = running_with(move |recorder| {
        let (number, opened) = (recorder.takes::<Number>(), recorder.takes::<Opened>());
        assert!(recorder.event_type_name().ends_with(if number { "Number" } else { "Opened" }));
        let line = format!("{} {} {number} {opened}", recorder.id(), recorder.entity());
        seen.lock().unwrap().push(line);
        let changes = Arc::clone(&changes);
        let hooks = RecorderHooks::none();
        if number {
            return hooks;
        }
        hooks.on_metric_changed(move |change| changes.lock().unwrap().push(change.recorder().to_string()))
    });
    let numbers = runtime.recorder(" n ").entity("number").counter("all", |c| c).create().unwrap();
    let doors = runtime.recorder("d").counter("doors", |c| c).create().unwrap();
    feed(&numbers, [Number(1)]);
    feed(&doors, [Opened(true)]);
    assert_eq!(
        (take(&log), take(&told)),
        (vec!["n number true false".into(), "d d false true".into()], vec!["d".into()])
    );
}

#[test]
fn the_runtimes_hooks_enclose_the_recorders_own() {
    let log: Log<&'static str> = Arc::default();
    let step = |name: &'static str, fails: bool| {
        let log = Arc::clone(&log);
        move || {
            log.lock().unwrap().push(name);
            async move { if fails { Err(name.into()) } else { Ok(()) } }
        }
    };
    for (fails, started, expected) in [
        ("", None, vec!["start all", "start own", "event all", "event own", "stop own", "stop all"]),
        ("start all", Some("start all"), vec!["start all", "stop own", "stop all"]),
        ("start own", Some("start own"), vec!["start all", "start own", "stop own", "stop all"]),
    ] {
        let given = [step("start all", fails == "start all"), step("stop all", false)];
        let (given, all) = (Mutex::new(Some(given)), Arc::clone(&log));
        let runtime = running_with(move |_| {
            let [starting, stopped] = given.lock().unwrap().take().unwrap();
            let event = Arc::clone(&all);
            RecorderHooks::none()
                .on_starting(starting)
                .on_stopped(stopped)
                .on_metric_changed(move |_| event.lock().unwrap().push("event all"))
        });
        let event = Arc::clone(&log);
        let recorder = runtime
            .recorder::<Number>("enclosed")
            .counter("all", |c| c)
            .on_metric_changed(move |_| event.lock().unwrap().push("event own"))
            .on_starting(step("start own", fails == "start own"))
            .on_stopped(step("stop own", false))
            .create()
            .unwrap();
        let result = recorder.start().wait(PATIENCE);
        assert_eq!(result.as_ref().err().map(|error| error.kind()), started.map(|_| ErrorKind::HookFailed));
        assert!(started.is_none_or(|name| result.unwrap_err().to_string().contains(name)));
        recorder.register_event(Number(1));
        assert!(runtime.shutdown(PATIENCE).is_ok());
        assert_eq!(take(&log), expected);
    }
}

#[test]
fn after_a_failed_stop_hook_the_other_still_runs_and_the_first_error_is_told() {
    for (own_fails, all_fails, expected) in [
        (true, false, Some("own")),
        (true, true, Some("own")),
        (false, true, Some("all")),
        (false, false, None),
    ] {
        let log: Log<&'static str> = Arc::default();
        let step = |name: &'static str, fails: bool| {
            let log = Arc::clone(&log);
            move || {
                log.lock().unwrap().push(name);
                async move { if fails { Err(name.into()) } else { Ok(()) } }
            }
        };
        let given = Mutex::new(Some(step("all", all_fails)));
        let runtime =
            running_with(move |_| RecorderHooks::none().on_stopped(given.lock().unwrap().take().unwrap()));
        let recorder = runtime
            .recorder::<Number>("failing")
            .counter("all", |c| c)
            .on_stopped(step("own", own_fails))
            .create()
            .unwrap();
        feed(&recorder, [Number(1)]);
        let error = recorder.stop().wait(PATIENCE).err().map(|error| error.to_string());
        assert_eq!(error.is_some(), expected.is_some());
        assert!(expected.is_none_or(|name| error.unwrap().contains(&format!("failed: {name}"))));
        assert_eq!(take(&log), ["own", "all"]);
    }
}

#[test]
fn the_runtimes_deadline_holds_unless_the_recorder_names_its_own() {
    let runtime = running_with(|_| {
        RecorderHooks::none().hook_deadline(Duration::from_millis(5)).on_starting(|| async {
            tokio::task::yield_now().await;
            Ok(())
        })
    });
    let forever = || std::future::pending::<Result<(), Box<dyn std::error::Error + Send + Sync>>>();
    let recorder = runtime.recorder::<Number>("short").on_starting(forever).create().unwrap();
    let error = recorder.start().wait(PATIENCE).unwrap_err();
    assert!(error.to_string().contains("5ms"), "{error}");
    let own = runtime.recorder::<Number>("own").on_starting(forever).hook_deadline(Duration::from_millis(7));
    let error = own.create().unwrap().start().wait(PATIENCE).unwrap_err();
    assert!(error.to_string().contains("7ms"), "{error}");
}

#[cfg(panic = "unwind")]
#[test]
fn a_factory_that_panics_fails_the_creation_and_nothing_is_entered() {
    let runtime = running_with(|recorder| {
        if recorder.id().as_str() == "bad" {
            resume_unwind(Box::new("a mistake of the user"));
        }
        RecorderHooks::none()
    });
    let bad = |id: &str| runtime.recorder::<Number>(id).counter("a.b", |c| c).create();
    let error = bad("bad").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HookFailed);
    assert!(runtime.recorder_ids().is_empty());
    // Its metric was not declared: the other writing of the name is free.
    let good = runtime.recorder("good").counter("a_b", |c| c).create().unwrap();
    feed(&good, [Number(1)]);
    assert_eq!(good.snapshot().counter("a_b", &[]), Some(1));
}

#[cfg(panic = "unwind")]
#[test]
fn an_observer_of_the_runtime_that_panics_is_quarantined_in_that_recorder_alone() {
    let log: Log<String> = Arc::default();
    let told = Arc::clone(&log);
    let runtime = running_with(move |_| {
        let told = Arc::clone(&told);
        RecorderHooks::none().on_metric_changed(move |change| {
            if change.recorder().as_str() == "a" {
                resume_unwind(Box::new("a mistake of the user"));
            }
            told.lock().unwrap().push(change.recorder().to_string());
        })
    });
    let recorders = ["a", "b"].map(|id| runtime.recorder(id).counter("all", |c| c).create().unwrap());
    for recorder in &recorders {
        feed(recorder, [Number(1), Number(2)]);
        assert_eq!(recorder.snapshot().counter("all", &[]), Some(2));
    }
    assert_eq!(recorders.map(|recorder| recorder.snapshot().quarantined_observers()), [1, 0]);
    assert_eq!(take(&log), ["b", "b"]);
}

#[cfg(panic = "unwind")]
#[test]
fn a_stop_hook_of_the_recorder_that_panics_does_not_cost_the_runtimes_hook_its_run() {
    for in_the_future in [false, true] {
        let log: Log<&'static str> = Arc::default();
        let ran = Arc::clone(&log);
        let runtime = running_with(move |_| {
            let ran = Arc::clone(&ran);
            RecorderHooks::none().on_stopped(move || {
                ran.lock().unwrap().push("all");
                async { Ok(()) }
            })
        });
        let own = move || {
            if !in_the_future {
                resume_unwind(Box::new("a mistake of the user"));
            }
            async { resume_unwind(Box::new("a mistake of the user")) }
        };
        let recorder =
            runtime.recorder::<Number>("panics").counter("all", |c| c).on_stopped(own).create().unwrap();
        feed(&recorder, [Number(1)]);
        let error = recorder.stop().wait(PATIENCE).unwrap_err();
        assert!(error.to_string().contains("it panicked"), "{error}");
        assert_eq!((error.kind(), take(&log)), (ErrorKind::HookFailed, vec!["all"]));
    }
}

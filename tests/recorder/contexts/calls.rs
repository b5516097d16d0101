//! The calls of the matrix, and how their outcomes are called in its table.

use crate::support::Number;
use crate::support::PATIENCE;
use mvx_metrics::Error;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RegisterError;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use std::time::Instant;

/// The id of the recorder that calls are made on.
pub const ID: &str = "subject";

/// What a call is made on.
pub struct Subject {
    pub runtime: MetricsRuntime,
    pub recorder: Recorder<Number>,
}

/// A call under way; it ends with its outcome.
pub type Made = Pin<Box<dyn Future<Output = String> + Send>>;

pub struct Call {
    /// As in the first column of the table.
    pub name: &'static str,
    /// Whether the subject's handle of the runtime has to be the last one.
    pub drops_runtime: bool,
    /// Whether something has to hold the worker meanwhile, where the place itself does not.
    pub holds_worker: bool,
    pub make: fn(Subject) -> Made,
}

/// How quick "at once" is, on a machine that does other things as well; far from every deadline of ours.
const AT_ONCE: Duration = Duration::from_secs(2);

const fn call(name: &'static str, make: fn(Subject) -> Made) -> Call {
    Call { name, drops_runtime: false, holds_worker: false, make }
}

/// Every call is made when its future is first polled.
pub const CALLS: &[Call] = &[
    call("`runtime.start()`, running", |on| Box::pin(async move { named(on.runtime.start()) })),
    call("`runtime.recorder(id).create()`", |on| {
        Box::pin(async move { named(on.runtime.recorder::<Number>("another").create()) })
    }),
    call("`recorder.register_event(event)`", |on| Box::pin(async move { register(&on.recorder) })),
    call("`recorder.try_register_event(event)`", |on| Box::pin(async move { try_register(&on.recorder) })),
    Call {
        name: "`recorder.register_event_blocking(event, timeout)`, no room",
        drops_runtime: false,
        holds_worker: true,
        make: |on| Box::pin(async move { register_without_room(&on.recorder) }),
    },
    call("`recorder.snapshot()`", |on| {
        Box::pin(async move {
            if on.recorder.snapshot().id() == on.recorder.id() { "Ok" } else { "?" }.to_owned()
        })
    }),
    call("`recorder.flush().await`", |on| {
        Box::pin(async move {
            on.recorder.register_event(Number(1));
            named(on.recorder.flush().await)
        })
    }),
    call("`recorder.flush_blocking(timeout)`", |on| {
        Box::pin(async move {
            on.recorder.register_event(Number(1));
            named(on.recorder.flush_blocking(PATIENCE))
        })
    }),
    call("`recorder.stop().wait(timeout)`", |on| {
        Box::pin(async move {
            on.recorder.register_event(Number(1));
            named(on.recorder.stop().wait(PATIENCE))
        })
    }),
    call("`runtime.stop_and_remove(id, timeout)`", |on| {
        Box::pin(async move { named(on.runtime.stop_and_remove(ID, PATIENCE)) })
    }),
    call("`runtime.shutdown(deadline)`", |on| {
        Box::pin(async move {
            let report = on.runtime.shutdown(PATIENCE);
            named(report.map(|report| assert!(report.is_complete(), "{report:?}")))
        })
    }),
    call("`drop(recorder)`", |on| {
        Box::pin(async move {
            let Subject { recorder, runtime } = on;
            let outcome = timed(|| drop(recorder));
            drop(runtime);
            outcome
        })
    }),
    Call {
        name: "`drop(runtime)`, the last handle",
        drops_runtime: true,
        // A drop that waited for it would take long.
        holds_worker: true,
        make: |on| Box::pin(async move { timed(|| drop(on.runtime)) }),
    },
];

fn named<T>(result: Result<T, Error>) -> String {
    result.map_or_else(|error| format!("{:?}", error.kind()), |_| "Ok".to_owned())
}

fn timed(act: impl FnOnce()) -> String {
    let from = Instant::now();
    act();
    let took = from.elapsed();
    if took < AT_ONCE { "returns".to_owned() } else { format!("takes {took:?}") }
}

fn register(recorder: &Recorder<Number>) -> String {
    let before = recorder.accounts();
    recorder.register_event(Number(1));
    let after = recorder.accounts();
    let gained = (after.accepted - before.accepted, after.rejected.closed - before.rejected.closed);
    match gained {
        (1, 0) => "accepted".to_owned(),
        (0, 1) => "rejected".to_owned(),
        other => format!("{other:?}"),
    }
}

fn try_register(recorder: &Recorder<Number>) -> String {
    answered(recorder.try_register_event(Number(1)))
}

fn register_without_room(recorder: &Recorder<Number>) -> String {
    while recorder.try_register_event(Number(1)).is_ok() {}
    answered(recorder.register_event_blocking(Number(1), Duration::from_millis(1)))
}

fn answered(answer: Result<(), RegisterError<Number>>) -> String {
    let word = match answer {
        Ok(()) => "Ok",
        Err(RegisterError::Full(_)) => "Full",
        Err(RegisterError::Closed(_)) => "Closed",
        Err(RegisterError::Failed(_)) => "Failed",
        Err(_) => "OnWorker",
    };
    word.to_owned()
}

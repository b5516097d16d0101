//! What crosses threads, and what an event and a metric need to be: the auto traits and bounds of the public types.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::running;
use mvx_metrics::Accounts;
use mvx_metrics::Adapter;
use mvx_metrics::Buffered;
use mvx_metrics::CallUnderWay;
use mvx_metrics::ChangeNotice;
use mvx_metrics::Counter;
use mvx_metrics::CounterBuilder;
use mvx_metrics::Descriptor;
use mvx_metrics::Dropped;
use mvx_metrics::DynEvent;
use mvx_metrics::Epoch;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::EventSink;
use mvx_metrics::Family;
use mvx_metrics::FieldName;
use mvx_metrics::Histogram;
use mvx_metrics::HistogramRef;
use mvx_metrics::Incident;
use mvx_metrics::IncidentKind;
use mvx_metrics::LabelKey;
use mvx_metrics::LabelSet;
use mvx_metrics::Liveness;
use mvx_metrics::Loss;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricName;
use mvx_metrics::MetricView;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::NewRecorder;
use mvx_metrics::NoopSink;
use mvx_metrics::Operation;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::OwnedRecorder;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::RecorderHooks;
use mvx_metrics::RecorderId;
use mvx_metrics::RecorderReport;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::Rejected;
use mvx_metrics::RuntimeBuilder;
use mvx_metrics::RuntimeState;
use mvx_metrics::SeriesRef;
use mvx_metrics::Severity;
use mvx_metrics::ShutdownReport;
use mvx_metrics::Snapshot;
use mvx_metrics::Subscription;
use mvx_metrics::Tally;
use mvx_metrics::Timestamp;
use mvx_metrics::Unit;
use mvx_metrics::UserCall;
use mvx_metrics::ValueRef;
use mvx_metrics::Verdict;
use std::cell::Cell;
use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::panic::UnwindSafe;
use std::rc::Rc;
use std::thread;

fn shared<T: Send + Sync + Unpin + Debug + 'static>() {}
fn cloned<T: Send + Sync + Unpin + Debug + Clone + 'static>() {}
fn sent<T: Send + Unpin + Debug + 'static>() {}
fn copied<T: Send + Sync + Unpin + Debug + Copy + PartialEq + 'static>() {}

/// Whether a type is `Sync`, seen without requiring it: an inherent constant hides the one of the trait.
struct IsSync<T>(PhantomData<T>);

trait NotSync {
    const ANSWER: bool = false;
}

impl<T> NotSync for IsSync<T> {}

impl<T: Sync> IsSync<T> {
    const ANSWER: bool = true;
}

/// An event that can be sent and not shared.
struct Unshared {
    bytes: Cell<u64>,
    notes: RefCell<Vec<String>>,
}

impl MetricEvent for Unshared {
    fn event_type(&self) -> &'static str {
        "unshared"
    }
}

#[test]
fn handles_cross_threads_whatever_the_event_is() {
    cloned::<MetricsRuntime>();
    cloned::<RuntimeBuilder>();
    cloned::<Recorder<Number>>();
    cloned::<Recorder<Unshared>>();
    cloned::<Recorder<DynEvent>>();
    cloned::<Adapter<Number, Number>>();
    shared::<OwnedRecorder<Unshared>>();
    shared::<Subscription>();
    sent::<RecorderHooks>();
    sent::<Buffered<Unshared>>();
    const { assert!(!<IsSync<Buffered<Number>>>::ANSWER) };
    shared::<NewRecorder<'static>>();
    cloned::<ChangeNotice>();
    cloned::<Operation>();
    cloned::<Operation<ShutdownReport>>();
    cloned::<ShutdownReport>();
    cloned::<RecorderReport>();
    cloned::<Liveness>();
    cloned::<CallUnderWay>();
    cloned::<UserCall>();
    cloned::<NoopSink>();
    // A builder holds what it was given, and metrics are sent, not shared.
    sent::<RecorderBuilder<Unshared>>();
    sent::<CounterBuilder<Unshared>>();
    sent::<Counter<Unshared>>();
    sent::<mvx_metrics::UpDown<Unshared>>();
    sent::<mvx_metrics::Gauge<Unshared>>();
    sent::<Histogram<Unshared>>();
    sent::<mvx_metrics::ExponentialHistogram<Unshared>>();
    sent::<mvx_metrics::Extreme<Unshared>>();
    sent::<mvx_metrics::Average<Unshared>>();
    sent::<DynEvent>();
    sent::<RegisterError<Unshared>>();
    const { assert!(!<IsSync<Unshared>>::ANSWER && <IsSync<Recorder<Unshared>>>::ANSWER) };
}

#[test]
fn instruments_say_what_they_are_whatever_the_event_is() {
    let counter = Counter::<Unshared>::builder("counted").build().unwrap();
    let gauge =
        mvx_metrics::Gauge::<Unshared>::builder("level").value(|e| Some(e.bytes.get())).build().unwrap();
    let took = Histogram::<Unshared>::builder("took").bounds(&[1.0]).value(|e| Some(e.bytes.get()));
    let up_down = mvx_metrics::UpDown::<Unshared>::builder("open").value(|_| Some(1)).build().unwrap();
    let average =
        mvx_metrics::Average::<Unshared>::builder("mean").value(|e| Some(e.bytes.get())).build().unwrap();
    let spread = mvx_metrics::ExponentialHistogram::<Unshared>::builder("spread")
        .value(|e| Some(e.bytes.get()))
        .build()
        .unwrap();
    let shown = [
        (format!("{spread:?}"), "ExponentialHistogram {", "spread"),
        (format!("{counter:?}"), "Counter { intake: Intake", "counted"),
        (format!("{gauge:?}"), "Gauge {", "level"),
        (format!("{:?}", took.build().unwrap()), "Histogram {", "took"),
        (format!("{up_down:?}"), "UpDown {", "open"),
        (format!("{average:?}"), "Average {", "mean"),
    ];
    for (text, kind, name) in shown {
        assert!(text.starts_with(kind) && text.contains(name), "{text}");
    }
}

#[test]
fn what_is_read_crosses_threads_and_can_be_kept() {
    cloned::<Snapshot>();
    cloned::<mvx_metrics::RuntimeSnapshot>();
    cloned::<mvx_metrics::ExportedFamily<'static>>();
    cloned::<mvx_metrics::Part<'static>>();
    copied::<mvx_metrics::Scope<'static>>();
    copied::<mvx_metrics::Fold>();
    copied::<mvx_metrics::GaugeFold>();
    cloned::<mvx_metrics::SourceStatus>();
    cloned::<mvx_metrics::CardinalityReport>();
    cloned::<mvx_metrics::CatalogueEntry>();
    cloned::<Descriptor>();
    cloned::<Family>();
    cloned::<LabelSet>();
    cloned::<Unit>();
    cloned::<RecorderId>();
    cloned::<MetricName>();
    cloned::<LabelKey>();
    cloned::<FieldName>();
    shared::<MetricView<'static>>();
    shared::<SeriesRef<'static>>();
    shared::<ValueRef<'static>>();
    shared::<HistogramRef<'static>>();
    copied::<Accounts>();
    copied::<Rejected>();
    copied::<Dropped>();
    copied::<Tally>();
    copied::<Epoch>();
    copied::<Timestamp>();
    copied::<RecorderState>();
    copied::<RuntimeState>();
    copied::<ErrorKind>();
    copied::<OverflowPolicy>();
    copied::<Verdict>();
    copied::<Loss>();
    copied::<Severity>();
    cloned::<Incident>();
    cloned::<IncidentKind>();
    #[cfg(feature = "log")]
    copied::<mvx_metrics::LogMode>();
    const { assert!(<IsSync<Snapshot>>::ANSWER) };
}

#[test]
fn errors_can_be_boxed_sent_and_shown() {
    fn is_error<T: StdError + Send + Sync + 'static>() {}
    is_error::<Error>();
    is_error::<RegisterError<Number>>();
    fn shows<T: Display + Debug>() {}
    shows::<RegisterError<Unshared>>();
    fn question_mark() -> Result<(), Box<dyn StdError + Send + Sync>> {
        MetricsRuntime::builder("").build().map(drop)?;
        Ok(())
    }
    let error = question_mark().unwrap_err();
    let error = error.downcast_ref::<Error>().unwrap();
    // The cause behind it is kept, and it is one of ours.
    assert!(error.source().is_some_and(|source| source.downcast_ref::<Error>().is_some()));
    assert_eq!(error.clone().kind(), error.kind());
}

#[test]
fn a_refused_event_is_no_part_of_what_an_error_shows() {
    /// Cannot be shown at all.
    struct Secret;
    impl MetricEvent for Secret {
        fn event_type(&self) -> &'static str {
            "secret"
        }
    }
    let runtime = MetricsRuntime::builder("secret").build().unwrap();
    let recorder = runtime.recorder::<Secret>("secret").capacity(1).create().unwrap();
    recorder.register_event(Secret);
    let error = recorder.try_register_event(Secret).unwrap_err();
    assert_eq!(
        (error.to_string(), format!("{error:?}")),
        ("the recorder is full".to_owned(), "Full(..)".to_owned())
    );
    let _ = runtime.shutdown(PATIENCE).unwrap();
    let error = recorder.try_register_event(Secret).unwrap_err();
    assert_eq!(
        (error.to_string(), format!("{error:?}")),
        ("the recorder is closed".to_owned(), "Closed(..)".to_owned())
    );
}

#[test]
fn operations_are_futures_that_can_be_spawned() {
    fn spawnable<F: Future<Output = Result<T, Error>> + Send + Unpin + 'static, T>() {}
    spawnable::<Operation, ()>();
    spawnable::<Operation<ShutdownReport>, ShutdownReport>();
    let runtime = running("spawned");
    let recorder = runtime.recorder::<Number>("spawned").create().unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    assert!(multi.block_on(async { tokio::spawn(recorder.flush()).await.unwrap() }).is_ok());
}

#[cfg(panic = "unwind")]
#[test]
fn handles_may_be_used_behind_a_caught_panic() {
    fn unwinds<T: UnwindSafe + RefUnwindSafe>(_: &T) {}
    let error = MetricsRuntime::builder("").build().unwrap_err().kind();
    unwinds(&error);
    let runtime = running("unwind");
    let recorder = runtime.recorder::<Number>("unwind").counter("events", |c| c).create().unwrap();
    let moved = std::panic::AssertUnwindSafe(recorder.clone());
    let result = std::panic::catch_unwind(move || {
        moved.register_event(Number(1));
        std::panic::resume_unwind(Box::new("the caller's own"));
    });
    assert!(result.is_err());
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(1));
}

#[test]
fn an_event_that_is_not_sync_goes_from_many_threads_to_the_metrics() {
    let runtime = running("unshared");
    let recorder = runtime
        .recorder::<Unshared>("unshared")
        .counter("bytes", |c| {
            c.value(|e| {
                e.notes.borrow_mut().push("seen".to_owned());
                Some(e.bytes.replace(0))
            })
        })
        .counter("notes", |c| c.value(|e| Some(e.notes.borrow().len())))
        .create()
        .unwrap();
    thread::scope(|scope| {
        for n in 1..=4 {
            let recorder = &recorder;
            scope.spawn(move || {
                recorder.register_event(Unshared { bytes: Cell::new(n), notes: RefCell::default() });
            });
        }
    });
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.counter("bytes", &[]), snapshot.counter("notes", &[])), (Some(10), Some(4)));
}

#[test]
fn a_sink_can_be_held_as_an_object_and_a_metric_needs_only_to_be_sent() {
    fn holds(_: Box<dyn EventSink<Number>>, _: std::sync::Arc<dyn EventSink<Unshared>>) {}
    let runtime = running("objects");
    let unshared = runtime.recorder::<Unshared>("unshared").create().unwrap();
    holds(Box::new(NoopSink), std::sync::Arc::new(unshared));
    // State behind a `Cell` is fine: one thread at a time has the metric.
    let calls = Cell::new(0_u64);
    let metric = Probe::new("calls", move |_: &Number| {
        calls.set(calls.get() + 1);
        if calls.get() % 2 == 0 { Verdict::Accepted } else { Verdict::Ignored }
    });
    const { assert!(!<IsSync<Rc<u8>>>::ANSWER && !<IsSync<Cell<u64>>>::ANSWER) };
    let recorder = runtime.recorder("calls").metric(metric).create().unwrap();
    (0..4).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter("calls", &[]), Some(2));
}

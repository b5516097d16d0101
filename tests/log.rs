//! DESIGN 3.7 and issue point "logging": what is told, to whom, how often, and from which thread.
#![cfg(all(feature = "testing", feature = "log"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod support;

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Clock;
use mvx_metrics::Context;
use mvx_metrics::Counter;
use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Incident;
use mvx_metrics::IncidentKind;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::LogMode;
use mvx_metrics::Metric;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RuntimeBuilder;
use mvx_metrics::Severity;
use mvx_metrics::Timestamp;
use mvx_metrics::UpDown;
use mvx_metrics::Verdict;
use mvx_metrics::limits;
use mvx_metrics::testing::SteppedRuntime;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::thread::ThreadId;
use std::time::Duration;
use tracing::Event;
use tracing::Metadata;
use tracing::Subscriber;
use tracing::field::Field;
use tracing::field::Visit;
use tracing::span;

/// Where the subscriber stands over the shutdown of the runtime called `hangs`.
fn hanging() -> &'static Gate {
    static HANGING: OnceLock<Gate> = OnceLock::new();
    HANGING.get_or_init(Gate::default)
}

/// One captured line of the log.
#[derive(Clone, Debug)]
struct Line {
    target: String,
    level: tracing::Level,
    thread: ThreadId,
    fields: BTreeMap<&'static str, String>,
}

impl Line {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// `level target code recorder`, with what is missing left out.
    fn short(&self) -> String {
        let room = self.target.trim_start_matches("mvx_metrics::");
        let recorder = self.field("recorder").map(|id| format!(" {id}")).unwrap_or_default();
        format!("{} {room} {}{recorder}", self.level, self.field("code").unwrap_or("?"))
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// A subscriber that keeps every line of ours; it panics over those of the runtime called `panics`.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Line>>>);

impl Capture {
    /// The process's only global subscriber: the tests of this file share it, and tell their runtimes apart by name.
    fn global() -> &'static Self {
        static GLOBAL: OnceLock<Capture> = OnceLock::new();
        GLOBAL.get_or_init(|| {
            let capture = Capture::default();
            tracing::subscriber::set_global_default(capture.clone()).unwrap();
            capture
        })
    }

    /// What the runtime of this name has logged so far.
    fn of(&self, runtime: &str) -> Vec<Line> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.field("runtime") == Some(runtime)).cloned().collect()
    }

    fn short(&self, runtime: &str) -> Vec<String> {
        self.of(runtime).iter().map(Line::short).collect()
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mvx_metrics::")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line {
            target: metadata.target().to_owned(),
            level: *metadata.level(),
            thread: thread::current().id(),
            fields: BTreeMap::new(),
        };
        event.record(&mut line);
        let panics = line.field("runtime") == Some("panics");
        let hangs = line.field("runtime") == Some("hangs") && line.field("code") == Some("shutdown_began");
        self.0.lock().unwrap().push(line);
        if hangs {
            hanging().pass();
        }
        if panics {
            resume_unwind(Box::new("a mistake of the subscriber"));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Incidents told to an error handler.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Incident>>>);

impl Told {
    fn handler(&self) -> impl Fn(&Incident) + Send + Sync + 'static {
        let told = self.clone();
        move |incident| told.0.lock().unwrap().push(incident.clone())
    }

    fn codes(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(Incident::code).collect()
    }
}

/// A metric that panics on the event of this number.
fn sick(name: &str, number: u64) -> Probe<Number, impl FnMut(&Number) -> Verdict + Send + use<>> {
    let handle = move |event: &Number| {
        if event.0 == number {
            resume_unwind(Box::new(format!("cannot bear {number}")));
        }
        Verdict::Accepted
    };
    Probe::new(name, handle)
}

/// Everything that can happen to a runtime, in a fixed order, each once or more, under the manual clock.
fn script(builder: RuntimeBuilder, own: Option<LogMode>) {
    let mut stepped = SteppedRuntime::from_builder(builder).unwrap();
    let mut failures = 1;
    let on_starting = move || {
        let failed = failures > 0;
        failures -= 1;
        async move { if failed { Err("not yet".into()) } else { Ok(()) } }
    };
    let mut builder = stepped
        .recorder::<Number>("main")
        .capacity(4)
        .counter("sound", |c| c)
        .metric(sick("sick", 3))
        .on_metric_changed(|change| {
            if change.event().0 == 4 {
                resume_unwind(Box::new("seen enough"));
            }
        })
        .on_starting(on_starting);
    if let Some(mode) = own {
        builder = builder.log_mode(mode);
    }
    let main = builder.create().unwrap();
    assert!(stepped.recorder::<Number>("main").create().is_err());
    assert!(stepped.runtime().get::<Number>("none").is_err());
    assert!(stepped.runtime().get::<Number>("main").is_ok());
    assert_eq!(stepped.runtime().recorder_ids().len(), 1);

    // The first start fails, and with it the event that brought it.
    main.register_event(Number(1));
    stepped.settle();
    drop(main.start());
    stepped.settle();
    drop(main.register_metric(Counter::builder("later").build().unwrap()));
    assert!(
        main.register_metric(
            UpDown::builder("sound").value(|event: &Number| Some(event.0 as i64)).build().unwrap()
        )
        .result()
        .is_some()
    );
    stepped.settle();
    // Panics of a metric and of an observer, on several events each; and three events that find no room.
    for round in 0..3 {
        (0..5).for_each(|n| main.register_event(Number(n)));
        stepped.settle();
        stepped.clock().advance(Duration::from_millis(10 + round));
    }
    (3..5).for_each(|n| main.register_event(Number(n)));
    stepped.settle();
    stepped.clock().advance(limits::LOSS_QUIET + limits::RELEASE_PASS);
    stepped.settle();
    stepped.clock().advance(limits::INSPECTION_INTERVAL);
    main.register_event(Number(1));
    stepped.settle();
    // Removals: of nobody, of an idle recorder, and of one whose event nobody processes.
    assert!(stepped.runtime().stop_and_remove("none", Duration::ZERO).is_err());
    stepped.recorder::<Number>("idle").create().unwrap();
    stepped.runtime().stop_and_remove("idle", Duration::ZERO).unwrap();
    let held = stepped.recorder::<Number>("held").create().unwrap();
    held.register_event(Number(1));
    assert!(stepped.runtime().stop_and_remove("held", Duration::ZERO).is_err());
    assert!(held.start().result().is_some_and(|result| result.is_err()));
    assert!(stepped.shutdown().is_complete());
}

/// What the script comes to: level, target, code and recorder of every line, in order.
const SCRIPT: [&str; 27] = [
    "INFO runtime recorder_created main",
    "WARN runtime create_refused main",
    "DEBUG runtime recorder_looked_up none",
    "DEBUG runtime recorder_looked_up main",
    "DEBUG runtime recorders_listed",
    "DEBUG recorder snapshot_published main",
    "ERROR recorder recorder_start_failed main",
    "WARN recorder loss_began main",
    "INFO recorder recorder_started main",
    "WARN recorder metric_refused main",
    "INFO recorder metric_registered main",
    "ERROR recorder metric_panicked main",
    "ERROR recorder observer_panicked main",
    "WARN recorder loss_ended main",
    "DEBUG recorder snapshot_published main",
    "WARN runtime removal_refused none",
    "INFO runtime recorder_created idle",
    "INFO recorder recorder_stopped idle",
    "INFO runtime recorder_removed idle",
    "INFO runtime recorder_created held",
    "WARN recorder loss_began held",
    "WARN recorder loss_ended held",
    "ERROR runtime removal_incomplete held",
    "WARN recorder start_refused held",
    "INFO runtime shutdown_began",
    "INFO recorder recorder_stopped main",
    "INFO runtime shutdown_completed",
];

/// The lines of the script that a filter lets through.
fn expected(is_logged: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = SCRIPT.iter().filter(|line| is_logged(line));
    lines.map(|line| (*line).to_owned()).collect()
}

#[cfg(panic = "unwind")]
#[test]
fn each_mode_logs_exactly_what_its_documentation_says() {
    let capture = Capture::global();
    let run = |namespace: &str, mode: Option<LogMode>, own: Option<LogMode>| {
        let builder = MetricsRuntime::builder(namespace);
        script(mode.into_iter().fold(builder, RuntimeBuilder::log_mode), own);
        capture.short(namespace)
    };
    let normal = |line: &str| !line.starts_with("DEBUG");
    assert_eq!(run("inspection", Some(LogMode::Inspection), None), expected(|_| true));
    assert_eq!(run("normal", Some(LogMode::Normal), None), expected(normal));
    assert_eq!(run("default", None, None), expected(normal));
    assert_eq!(run("silent", Some(LogMode::Silent), None), expected(|_| false));
    // A recorder's own mode goes for every line that names it, and for no other. The second recorder of that name, which was
    // refused, had none of its own.
    let follows_own = |line: &str| line.ends_with(" main") && !line.contains("create_refused");
    let own = run("own_inspection", Some(LogMode::Silent), Some(LogMode::Inspection));
    assert_eq!(own, expected(follows_own));
    let own = run("own_silence", Some(LogMode::Inspection), Some(LogMode::Silent));
    assert_eq!(own, expected(|line| !follows_own(line)));
}

#[cfg(panic = "unwind")]
#[test]
fn the_error_handler_is_told_of_warnings_and_errors_in_every_mode() {
    let failed = |line: &str| line.starts_with("WARN") || line.starts_with("ERROR");
    for (namespace, mode) in
        [("told_a", LogMode::Silent), ("told_b", LogMode::Normal), ("told_c", LogMode::Inspection)]
    {
        let (one, another) = (Told::default(), Told::default());
        let builder = MetricsRuntime::builder(namespace).log_mode(mode);
        script(builder.on_error(one.handler()).on_error(another.handler()), None);
        let codes: Vec<_> = expected(failed);
        let codes: Vec<_> = codes.iter().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(one.codes(), codes);
        assert_eq!(another.codes(), codes);
        for incident in one.0.lock().unwrap().iter() {
            assert!(incident.severity() >= Severity::Warn, "{incident}");
            assert_eq!(incident.runtime(), Some(namespace));
        }
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_failed_operation_is_logged_with_its_error_and_never_as_a_success() {
    let capture = Capture::global();
    script(MetricsRuntime::builder("outcomes"), None);
    let lines = capture.of("outcomes");
    let line = |code: &str| {
        let mut found = lines.iter().filter(|line| line.field("code") == Some(code));
        let line = found.next().unwrap_or_else(|| panic!("no {code}"));
        assert!(found.next().is_none(), "{code} twice");
        line
    };
    assert_eq!(line("recorder_start_failed").field("error_kind"), Some("HookFailed"));
    assert!(line("recorder_start_failed").field("error").unwrap().contains("not yet"));
    assert_eq!(line("create_refused").field("error_kind"), Some("AlreadyExists"));
    assert_eq!(line("removal_refused").field("error_kind"), Some("NotFound"));
    assert_eq!(line("removal_incomplete").field("error_kind"), Some("Timeout"));
    assert_eq!(line("metric_refused").field("error_kind"), Some("MetricConflict"));
    assert_eq!(line("start_refused").field("error_kind"), Some("InvalidState"));
    assert_eq!(
        (line("metric_panicked").field("metric"), line("metric_panicked").field("panic")),
        (Some("sick"), Some("cannot bear 3"))
    );
    assert_eq!(line("observer_panicked").field("panic"), Some("seen enough"));
    assert_eq!(line("shutdown_completed").field("processed"), Some("15"));
    for line in &lines {
        let failed = line.level <= tracing::Level::WARN;
        let has_cause = line.field("error").or(line.field("panic")).or(line.field("dropped")).is_some();
        assert!(!failed || has_cause, "{line:?}");
        assert!(failed || line.field("error").is_none(), "{line:?}");
    }
}

#[test]
fn a_loss_is_told_once_when_it_begins_and_once_when_it_ends_with_its_counts() {
    let told = Told::default();
    let builder = MetricsRuntime::builder("losses").log_mode(LogMode::Silent).on_error(told.handler());
    let mut stepped = SteppedRuntime::from_builder(builder).unwrap();
    let full = stepped.recorder::<Number>("full").capacity(10).counter("events", |c| c).create().unwrap();
    let evicting = stepped.recorder::<Number>("evicting").capacity(10).overflow(OverflowPolicy::DropOldest);
    let evicting = evicting.counter("events", |c| c).create().unwrap();
    let quiet = limits::LOSS_QUIET + limits::RELEASE_PASS;
    for _ in 0..2 {
        for _ in 0..100 {
            (0..25).for_each(|n| full.register_event(Number(n)));
            (0..13).for_each(|n| evicting.register_event(Number(n)));
            stepped.settle();
            stepped.clock().advance(Duration::from_millis(10));
        }
        // Events that are not lost do not prolong it, and do not hide its end.
        for _ in 0..20 {
            full.register_event(Number(0));
            stepped.settle();
            stepped.clock().advance(quiet / 10);
        }
        stepped.settle();
        stepped.clock().advance(quiet);
        stepped.settle();
    }
    let seen: Vec<_> = told.0.lock().unwrap().drain(..).collect();
    for (id, rejected, dropped) in [("full", 1_500, 0), ("evicting", 0, 300)] {
        let of_it: Vec<_> = seen.iter().filter(|incident| incident.recorder().unwrap() == id).collect();
        assert_eq!(of_it.len(), 4, "{of_it:?}");
        for pair in of_it.chunks(2) {
            assert!(
                matches!(pair[0].kind(), IncidentKind::LossBegan { loss } if loss.total() > 0 && loss.total() <= 15)
            );
            let IncidentKind::LossEnded { loss, lasted } = pair[1].kind() else { panic!("{pair:?}") };
            assert_eq!((loss.rejected.full, loss.dropped.evicted), (rejected, dropped));
            assert_eq!(loss.total(), rejected + dropped);
            assert_eq!(*lasted, Duration::from_millis(990));
        }
    }
    assert_eq!(full.accounts().rejected.full, 3_000);
    assert!(stepped.shutdown().is_complete());
    assert_eq!(told.codes(), [""; 0]);
}

#[test]
fn handing_events_over_logs_nothing_and_the_worker_tells_of_the_loss_when_it_comes_to_it() {
    let (capture, gate) = (Capture::global(), Gate::default());
    let runtime = MetricsRuntime::builder("hand_over").log_mode(LogMode::Inspection).build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder("full").capacity(8).metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    let before = capture.short("hand_over");
    let mut producers = vec![thread::current().id()];
    thread::scope(|scope| {
        let flood = || {
            (1..2_000).for_each(|n| recorder.register_event(Number(n)));
            assert!(recorder.try_register_event(Number(1)).is_err());
            assert_eq!(recorder.register_events(&mut vec![Number(1); 100]), 0);
            thread::current().id()
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(flood)).collect();
        producers.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
    });
    assert_eq!(capture.short("hand_over"), before);
    gate.open();
    until("the loss is told", || {
        capture.short("hand_over").contains(&"WARN recorder loss_began full".to_owned())
    });
    until("and its end", || capture.short("hand_over").contains(&"WARN recorder loss_ended full".to_owned()));
    let ended = capture.of("hand_over").into_iter().find(|line| line.field("code") == Some("loss_ended"));
    let refused = recorder.accounts().rejected.full;
    assert_eq!(ended.unwrap().field("rejected"), Some(refused.to_string().as_str()));
    for line in capture.of("hand_over").iter().filter(|line| line.target == "mvx_metrics::recorder") {
        assert!(!producers.contains(&line.thread), "{line:?}");
    }
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn a_loss_that_the_worker_never_came_to_see_is_told_by_the_shutdown() {
    let (capture, gate, told) = (Capture::global(), Gate::default(), Told::default());
    let runtime = MetricsRuntime::builder("stuck").on_error(told.handler()).build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder("held").capacity(8).metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    (1..20).for_each(|n| recorder.register_event(Number(n)));
    assert_eq!(told.codes(), [""; 0]);
    let report = runtime.shutdown(Duration::ZERO).unwrap();
    assert!(!report.worker_ended());
    until("the end is told", || told.codes().contains(&"shutdown_incomplete"));
    assert_eq!(told.codes(), ["loss_began", "loss_ended", "shutdown_incomplete"]);
    let lines = capture.of("stuck");
    let ended = lines.iter().find(|line| line.field("code") == Some("loss_ended")).unwrap();
    assert_eq!((ended.field("rejected"), ended.field("dropped")), (Some("12"), Some("8")));
    assert_eq!(lines.last().unwrap().field("worker_ended"), Some("false"));
    gate.open();
}

#[test]
fn a_running_runtime_logs_its_life_in_order() {
    let capture = Capture::global();
    let runtime = MetricsRuntime::builder("life").build().unwrap();
    runtime.start().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder::<Number>("r").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    recorder.stop().wait(PATIENCE).unwrap();
    recorder.stop().wait(PATIENCE).unwrap();
    recorder.start().wait(PATIENCE).unwrap();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    // The shutdown does not wait for whoever is told of it.
    until("its end is told", || {
        capture.short("life").contains(&"INFO runtime shutdown_completed".to_owned())
    });
    assert_eq!(runtime.start().unwrap_err().kind(), ErrorKind::InvalidState);
    let (began, lines): (Vec<_>, Vec<_>) =
        capture.short("life").into_iter().partition(|line| line.contains("shutdown_began"));
    assert_eq!(
        lines,
        [
            "INFO runtime runtime_started",
            "INFO runtime recorder_created r",
            "INFO recorder recorder_started r",
            "INFO recorder recorder_stopped r",
            "INFO recorder recorder_started r",
            "INFO recorder recorder_stopped r",
            "INFO runtime shutdown_completed",
            "ERROR runtime runtime_start_failed",
        ]
    );
    // Told beside what the worker tells meanwhile.
    assert_eq!(began, ["INFO runtime shutdown_began"]);
}

#[cfg(panic = "unwind")]
#[test]
fn a_subscriber_and_a_handler_that_panic_hurt_nobody_and_are_counted() {
    let capture = Capture::global();
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let builder = MetricsRuntime::builder("panics").on_error(move |_| {
        counted.fetch_add(1, Ordering::AcqRel);
        resume_unwind(Box::new("a mistake of the handler"));
    });
    let told = Told::default();
    let runtime = builder.on_error(told.handler()).build().unwrap();
    runtime.start().unwrap();
    let builder = runtime.recorder("r").counter("sound", |c| c);
    let recorder = (0..20).fold(builder, |b, n| b.metric(sick(&format!("sick_{n}"), n))).create().unwrap();
    (0..1_000).for_each(|n| recorder.register_event(Number(n)));
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    assert_eq!(snapshot.counter("sound", &[]), Some(1_000));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert_eq!(calls.load(Ordering::Acquire), 20);
    assert_eq!(told.codes(), ["metric_panicked"; 20]);
    // Started, created, recorder started, 20 quarantines, shutdown, recorder stopped, shut down; and the quarantines to the handler.
    until("all is told", || runtime.handler_panics() >= 26 + 20);
    let lines = capture.of("panics").len() as u64;
    assert_eq!((lines, runtime.handler_panics()), (26, 26 + 20));
}

#[cfg(panic = "unwind")]
#[test]
fn a_handler_is_not_told_of_what_it_causes_and_cannot_wait_for_the_worker() {
    let place: Arc<OnceLock<(MetricsRuntime, Recorder<Number>)>> = Arc::default();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::new(AtomicU64::new(0));
    let (inside, given, counted) = (Arc::clone(&place), Arc::clone(&answers), Arc::clone(&calls));
    let runtime = MetricsRuntime::builder("recursion").on_error(move |_| {
        counted.fetch_add(1, Ordering::AcqRel);
        let Some((runtime, recorder)) = inside.get() else { return };
        recorder.register_event(Number(100));
        let mut answers = given.lock().unwrap();
        answers.push(runtime.recorder::<Number>("r").create().unwrap_err().kind());
        answers.push(runtime.stop_and_remove("r", PATIENCE).unwrap_err().kind());
        answers.push(recorder.flush_blocking(PATIENCE).unwrap_err().kind());
        answers.push(runtime.shutdown(PATIENCE).unwrap_err().kind());
    });
    let runtime = runtime.build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder("r").metric(sick("sick", 1)).create().unwrap();
    assert!(place.set((runtime.clone(), recorder.clone())).is_ok());
    // On the worker, then on this thread, which is nobody's own outside the handler.
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert!(runtime.recorder::<Number>("r").create().is_err());
    recorder.flush_blocking(PATIENCE).unwrap();
    let each = [
        ErrorKind::AlreadyExists,
        ErrorKind::WouldDeadlock,
        ErrorKind::WouldDeadlock,
        ErrorKind::WouldDeadlock,
    ];
    assert_eq!(*answers.lock().unwrap(), [each, each].concat());
    assert_eq!((calls.load(Ordering::Acquire), recorder.accounts().processed), (2, 3));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn a_subscriber_that_hangs_holds_up_neither_a_shutdown_nor_a_drop() {
    let capture = Capture::global();
    for drops in [false, true] {
        let runtime = MetricsRuntime::builder("hangs").build().unwrap();
        runtime.start().unwrap();
        let recorder = runtime.recorder::<Number>("r").counter("events", |c| c).create().unwrap();
        (0..100).for_each(|n| recorder.register_event(Number(n)));
        if drops {
            drop(runtime);
        } else {
            assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
        }
        until("everything is settled", || recorder.state() == RecorderState::Stopped);
        assert_eq!(recorder.accounts().processed, 100);
    }
    hanging().until_reached();
    let is_told = || capture.short("hangs").iter().filter(|line| line.contains("shutdown_completed")).count();
    assert_eq!(is_told(), 0);
    hanging().open();
    until("what had to wait is told", || is_told() == 2);
    // A runtime that never ran has no watchdog: its drop is on this thread, and what it tells is not.
    let idle = MetricsRuntime::builder("never_ran").build().unwrap();
    drop(idle);
    until("its end is told", || capture.short("never_ran").len() == 2);
    assert!(capture.of("never_ran").iter().all(|line| line.thread != thread::current().id()));
}

/// A metric that cannot be shown once it has seen an event.
struct Shy(Arc<Descriptor>, bool);

impl Metric<Number> for Shy {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.0
    }

    fn handle_event(&mut self, _: &Number, _: &Context) -> Verdict {
        self.1 = true;
        Verdict::Accepted
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        writer.counter(&LabelSet::empty(), u64::from(self.1));
        if self.1 {
            resume_unwind(Box::new("too shy"));
        }
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_metric_that_panics_when_shown_is_told_once() {
    let told = Told::default();
    let builder = MetricsRuntime::builder("shown").on_error(told.handler());
    let mut stepped = SteppedRuntime::from_builder(builder).unwrap();
    let descriptor = Descriptor::builder("shy", Kind::Counter).build().unwrap();
    let recorder = stepped.recorder("r").metric(Shy(descriptor, false)).create().unwrap();
    for n in 0..5 {
        recorder.register_event(Number(n));
        stepped.settle();
        stepped.clock().advance(Duration::from_secs(1));
        // What it wrote before it panicked is nobody's state.
        let snapshot = recorder.snapshot();
        let shy = snapshot.metric("shy").unwrap();
        assert!(shy.is_quarantined());
        assert_eq!((shy.family().find(&[]).is_none(), snapshot.sequence()), (true, n + 1));
    }
    let told = told.0.lock().unwrap();
    let [incident] = told.as_slice() else { panic!("{told:?}") };
    assert!(
        matches!(incident.kind(), IncidentKind::MetricPanicked { metric, message } if *metric == "shy" && &**message == "too shy")
    );
}

#[test]
fn a_stop_hook_that_fails_is_told_as_a_failed_stop_and_the_shutdown_as_incomplete() {
    let capture = Capture::global();
    let mut stepped = SteppedRuntime::from_builder(MetricsRuntime::builder("stop_hook")).unwrap();
    let builder = stepped.recorder::<Number>("r").on_stopped(|| async { Err("cannot close".into()) });
    let recorder = builder.create().unwrap();
    recorder.register_event(Number(1));
    stepped.settle();
    assert!(!stepped.shutdown().is_complete());
    let lines = capture.of("stop_hook");
    let codes: Vec<_> = lines.iter().filter_map(|line| line.field("code")).collect();
    let expected = [
        "recorder_created",
        "recorder_started",
        "shutdown_began",
        "recorder_stop_failed",
        "shutdown_incomplete",
    ];
    assert_eq!(codes, expected);
    assert!(lines[3].field("error").unwrap().contains("cannot close"));
    assert_eq!((lines[4].field("worker_ended"), lines[4].field("processed")), (Some("true"), Some("1")));
}

/// A clock that panics on the worker once it is told to: a mistake outside of every metric.
#[derive(Debug)]
struct Faulty(Arc<AtomicBool>);

impl Clock for Faulty {
    fn now(&self) -> Timestamp {
        if self.0.load(Ordering::Acquire) && thread::current().name() == Some("lost.metrics") {
            resume_unwind(Box::new("out of time"));
        }
        Timestamp::from_unix_nanos(1_000_000_000)
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_lost_worker_is_told_and_so_is_what_was_lost_with_it() {
    let (told, breaks) = (Told::default(), Arc::new(AtomicBool::new(false)));
    let builder = MetricsRuntime::builder("lost").clock(Faulty(Arc::clone(&breaks))).on_error(told.handler());
    let runtime = builder.build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder::<Number>("r").counter("events", |c| c).create().unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    breaks.store(true, Ordering::Release);
    recorder.register_event(Number(1));
    until("the loss of the worker is told", || told.codes().len() == 3);
    assert_eq!(told.codes(), ["worker_lost", "loss_began", "loss_ended"]);
    assert_eq!(recorder.accounts().dropped.removed, 1);
}

/// Everything that can be read of a runtime and a recorder; each takes the lock that it needs.
fn read_all(runtime: &MetricsRuntime, recorder: &Recorder<Number>) -> usize {
    let texts = [
        format!("{runtime:?}"),
        format!("{:?}", runtime.state()),
        format!("{:?}", runtime.accounts()),
        format!("{:?}", runtime.recorder_ids()),
        format!("{:?}", runtime.snapshots().len()),
        format!("{:?}", runtime.try_get::<Number>("r").map(|found| found.is_some())),
        format!("{:?}", recorder.snapshot()),
        format!("{:?}", recorder.last_error()),
        format!("{:?}", recorder.register_metric(Counter::builder("more").build().unwrap())),
        format!("{:?}", recorder.start()),
    ];
    texts.iter().map(String::len).sum()
}

#[cfg(panic = "unwind")]
#[test]
fn whoever_is_told_may_look_at_everything_because_no_lock_is_held() {
    type Handles = Arc<OnceLock<(MetricsRuntime, Recorder<Number>)>>;
    let (handles, read) = (Handles::default(), Arc::new(Mutex::new(Vec::new())));
    let (inside, codes) = (Arc::clone(&handles), Arc::clone(&read));
    let runtime = MetricsRuntime::builder("reads").on_error(move |incident| {
        if let Some((runtime, recorder)) = inside.get() {
            assert!(read_all(runtime, recorder) > 0);
            codes.lock().unwrap().push(incident.code());
        }
    });
    let runtime = runtime.build().unwrap();
    let mut failures = 1;
    let on_starting = move || {
        failures -= 1;
        let failed = failures == 0;
        async move { if failed { Err("not yet".into()) } else { Ok(()) } }
    };
    let (sender, over) = mpsc::channel();
    let act = move || {
        runtime.start().unwrap();
        let builder = runtime.recorder::<Number>("r").capacity(4).metric(sick("sick", 1));
        let recorder = builder.on_metric_changed(|_| resume_unwind(Box::new("no"))).on_starting(on_starting);
        let recorder = recorder.create().unwrap();
        assert!(handles.set((runtime.clone(), recorder.clone())).is_ok());
        assert!(recorder.start().wait(PATIENCE).is_err());
        recorder.start().wait(PATIENCE).unwrap();
        (0..2).for_each(|n| recorder.register_event(Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
        assert!(runtime.recorder::<Number>("r").create().is_err());
        assert!(
            recorder
                .register_metric(UpDown::builder("sick").value(|_| Some(1)).build().unwrap())
                .result()
                .is_some()
        );
        recorder.stop().wait(PATIENCE).unwrap();
        recorder.register_event(Number(2));
        runtime.stop_and_remove("r", PATIENCE).unwrap();
        assert!(recorder.start().wait(PATIENCE).is_err());
        assert!(runtime.stop_and_remove("r", PATIENCE).is_err());
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
        assert!(runtime.start().is_err());
        assert_eq!(runtime.handler_panics(), 0);
        sender.send(()).unwrap();
    };
    let acting = thread::spawn(act);
    // A handler that waits for a lock that its own thread holds would wait for ever.
    over.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error} after {:?}", read.lock().unwrap()));
    acting.join().unwrap();
    let codes = read.lock().unwrap().clone();
    let expected = [
        "recorder_start_failed",
        "metric_panicked",
        "observer_panicked",
        "create_refused",
        "metric_refused",
        "loss_began",
        "loss_ended",
        "start_refused",
        "removal_refused",
        "runtime_start_failed",
    ];
    assert_eq!(codes, expected);
}

#[cfg(panic = "unwind")]
#[test]
fn runtimes_of_one_process_are_told_apart() {
    let capture = Capture::global();
    let told = [Told::default(), Told::default()];
    let modes = [LogMode::Inspection, LogMode::Silent];
    let make = |n: usize| {
        let builder = MetricsRuntime::builder(["apart_a", "apart_b"][n]).log_mode(modes[n]);
        builder.on_error(told[n].handler()).build().unwrap()
    };
    let runtimes = [make(0), make(1)];
    for (n, runtime) in runtimes.iter().enumerate() {
        runtime.start().unwrap();
        let recorder = runtime.recorder("same_id").metric(sick("sick", n as u64)).create().unwrap();
        recorder.register_event(Number(0));
        recorder.flush_blocking(PATIENCE).unwrap();
    }
    assert_eq!((told[0].codes(), told[1].codes()), (vec!["metric_panicked"], vec![]));
    assert!(runtimes.iter().all(|runtime| runtime.shutdown(PATIENCE).unwrap().is_complete()));
    assert!(!capture.of("apart_a").is_empty());
    assert_eq!(capture.short("apart_b"), [""; 0]);
    assert_eq!((runtimes[0].handler_panics(), runtimes[1].handler_panics()), (0, 0));
}

#[cfg(panic = "unwind")]
#[test]
fn a_recorder_without_a_runtime_logs_under_its_own_name_alone() {
    let capture = Capture::global();
    let (recorder, task) = Recorder::<Number>::detached("alone").metric(sick("sick", 1)).create().unwrap();
    let (silent, silent_task) =
        Recorder::<Number>::detached("alone_silent").log_mode(LogMode::Silent).create().unwrap();
    [&recorder, &silent].iter().for_each(|recorder| recorder.register_event(Number(1)));
    let stops = [recorder.stop(), silent.stop()];
    support::by_hand(task);
    support::by_hand(silent_task);
    assert!(stops.iter().all(|stop| stop.result().is_some_and(|result| result.is_ok())));
    let lines = capture.0.lock().unwrap().clone();
    let lines: Vec<_> =
        lines.iter().filter(|line| line.field("runtime").is_none()).map(Line::short).collect();
    assert_eq!(
        lines,
        [
            "INFO recorder recorder_started alone",
            "ERROR recorder metric_panicked alone",
            "INFO recorder recorder_stopped alone"
        ]
    );
}

/// The guide's chapter with the table of all codes.
const CHAPTER: &str = include_str!("../src/docs/logging.md");

/// The library's own table of them, read as text: it has a row for every kind, or it would not compile.
const KINDS: &str = include_str!("../src/model/incident/kind.rs");

#[test]
fn the_chapter_has_every_code_with_its_target_and_level() {
    let row = |line: &str| {
        let mut words = line.split(" => (").nth(1)?.split(')').next()?.split(", ").map(str::to_owned);
        let (room, level, code) = (words.next()?, words.next()?, words.next()?);
        let code = code.strip_prefix('"')?.strip_suffix('"')?.to_owned();
        Some(format!("| `{code}` | {} | {} |", room.to_lowercase(), level.to_uppercase()))
    };
    let rows: Vec<_> = KINDS.lines().filter_map(row).collect();
    assert!(rows.len() >= 25, "{rows:?}");
    for row in &rows {
        assert!(CHAPTER.contains(row.as_str()), "the chapter lacks {row}");
    }
    let listed = CHAPTER.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `LogMode"));
    assert_eq!(listed.count(), rows.len());
    for line in SCRIPT {
        let mut words = line.split(' ');
        let (level, room, code) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        assert!(rows.contains(&format!("| `{code}` | {room} | {level} |")), "{line}");
    }
}

//! DESIGN 4, its table: each call on a recorder in each state, and on a runtime in each of its states, has the outcome of its cell.
//!
//! The recorders live in a stepped runtime, and their hooks wait for permits, so that every state lasts as long as the test looks at it.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::running;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Clock;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Operation;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RecorderState::Created;
use mvx_metrics::RecorderState::Failed;
use mvx_metrics::RecorderState::Running;
use mvx_metrics::RecorderState::Starting;
use mvx_metrics::RecorderState::Stopped;
use mvx_metrics::RecorderState::Stopping;
use mvx_metrics::RegisterError;
use mvx_metrics::RuntimeState;
use mvx_metrics::SystemClock;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;
use mvx_metrics::testing::SteppedRuntime;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use tokio::sync::Semaphore;

const ALL: [RecorderState; 6] = [Created, Starting, Running, Stopping, Stopped, Failed];

type Ended = Result<(), Box<dyn StdError + Send + Sync>>;

/// One lifecycle hook: waits for a permit, may be told to fail, and counts how often it ran.
#[derive(Clone)]
struct Hook(Arc<(Semaphore, AtomicU64, AtomicBool)>);

impl Hook {
    fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), AtomicU64::new(0), AtomicBool::new(false))))
    }

    fn run(&self) -> impl Future<Output = Ended> + Send + use<> {
        let hook = self.clone();
        hook.0.1.fetch_add(1, Ordering::AcqRel);
        async move {
            hook.0.0.acquire().await?.forget();
            if hook.0.2.load(Ordering::Acquire) { Err("no connection".into()) } else { Ok(()) }
        }
    }

    fn let_go(&self) {
        self.0.0.add_permits(1);
    }

    fn fail(&self, fails: bool) {
        self.0.2.store(fails, Ordering::Release);
    }

    fn runs(&self) -> u64 {
        self.0.1.load(Ordering::Acquire)
    }
}

/// A recorder in one of its states, with what moves it on. From `Running` on, it has processed one event.
struct Subject {
    stepped: SteppedRuntime,
    recorder: Recorder<Number>,
    starts: Hook,
    stops: Hook,
}

impl Subject {
    fn created() -> Self {
        let (stepped, starts, stops) = (SteppedRuntime::new("states").unwrap(), Hook::new(), Hook::new());
        let (starting, stopped) = (starts.clone(), stops.clone());
        let recorder = stepped
            .recorder::<Number>("states")
            .counter("events", |c| c)
            .on_starting(move || starting.run())
            .on_stopped(move || stopped.run())
            .create()
            .unwrap();
        Self { stepped, recorder, starts, stops }
    }

    fn in_state(state: RecorderState) -> Self {
        let mut subject = Self::created();
        match state {
            Created => {}
            Starting => subject.begin(),
            Running => subject.run(),
            Stopping => {
                subject.run();
                drop(subject.recorder.stop());
                subject.stepped.settle();
            }
            Stopped => {
                subject.run();
                subject.stops.let_go();
                drop(subject.recorder.stop());
                subject.stepped.settle();
            }
            _ => {
                subject.starts.fail(true);
                subject.starts.let_go();
                subject.stops.let_go();
                subject.begin();
                subject.starts.fail(false);
            }
        }
        assert_eq!((subject.recorder.state(), subject.shown()), (state, subject.processed()));
        subject
    }

    fn begin(&mut self) {
        drop(self.recorder.start());
        self.stepped.settle();
    }

    fn run(&mut self) {
        self.starts.let_go();
        self.begin();
        self.recorder.try_register_event(Number(1)).unwrap();
        self.stepped.settle();
    }

    fn processed(&self) -> u64 {
        self.recorder.accounts().processed
    }

    /// What the published cut counts.
    fn shown(&self) -> u64 {
        self.recorder.snapshot().counter("events", &[]).unwrap_or_default()
    }

    fn hooks(&self) -> (u64, u64) {
        (self.starts.runs(), self.stops.runs())
    }

    /// The state right after a call, and again when everything that can happen has happened.
    fn states(&mut self) -> (RecorderState, RecorderState) {
        let at_once = self.recorder.state();
        self.stepped.settle();
        (at_once, self.recorder.state())
    }
}

fn is_ok(operation: &Operation) -> bool {
    matches!(operation.result(), Some(Ok(())))
}

fn is_open(operation: &Operation) -> bool {
    operation.result().is_none()
}

#[test]
fn a_start_has_the_outcome_of_its_cell_in_every_state() {
    for state in ALL {
        let mut subject = Subject::in_state(state);
        let (kept, (started, stopped)) = (subject.processed(), subject.hooks());
        let start = subject.recorder.start();
        match state {
            // Begins one, or joins the one under way: its hook has run once when it is over.
            Created | Stopped | Failed | Starting => {
                let begun = started + u64::from(state != Starting);
                assert_eq!(subject.states(), (Starting, Starting), "{state}");
                assert_eq!((is_open(&start), subject.hooks()), (true, (begun, stopped)), "{state}");
            }
            Running => {
                assert_eq!(subject.states(), (Running, Running));
                assert_eq!((is_ok(&start), subject.hooks()), (true, (started, stopped)));
            }
            // Waits for the stop, and then begins one.
            _ => {
                assert_eq!((subject.states(), is_open(&start)), ((Stopping, Stopping), true));
                assert!(matches!(
                    subject.recorder.try_register_event(Number(9)),
                    Err(RegisterError::Closed(Number(9)))
                ));
                subject.stops.let_go();
                subject.stepped.settle();
                assert_eq!((subject.recorder.state(), is_open(&start)), (Starting, true));
                assert_eq!(subject.hooks(), (started + 1, stopped));
            }
        }
        subject.starts.let_go();
        subject.stepped.settle();
        assert_eq!((subject.recorder.state(), is_ok(&start)), (Running, true), "{state}");
        // Metrics and accounts are kept, and it works.
        subject.recorder.try_register_event(Number(2)).unwrap();
        subject.stepped.settle();
        assert_eq!((subject.processed(), subject.shown()), (kept + 1, kept + 1), "{state}");
    }
}

#[test]
fn a_start_that_fails_says_why_to_all_who_joined_it_and_can_be_tried_again_from_failed() {
    for state in [Created, Stopped, Failed, Starting] {
        let mut subject = Subject::in_state(state);
        subject.starts.fail(true);
        let (start, joined) = (subject.recorder.start(), subject.recorder.start());
        subject.starts.let_go();
        subject.stops.let_go();
        subject.stepped.settle();
        let last = subject.recorder.last_error().unwrap();
        for operation in [start, joined] {
            let error = operation.result().unwrap().unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (ErrorKind::HookFailed, last.to_string()),
                "{state}"
            );
            assert_eq!(error.source().unwrap().to_string(), "no connection");
        }
        assert_eq!(subject.recorder.state(), Failed, "{state}");
        subject.starts.fail(false);
        subject.run();
        assert_eq!(subject.recorder.state(), Running, "{state}");
    }
}

#[test]
fn a_stop_has_the_outcome_of_its_cell_in_every_state() {
    for state in ALL {
        let mut subject = Subject::in_state(state);
        let (kept, (started, stopped)) = (subject.processed(), subject.hooks());
        let stop = subject.recorder.stop();
        match state {
            Created | Stopped | Failed => {
                assert_eq!(subject.states(), (state, state));
                assert_eq!((is_ok(&stop), subject.hooks()), (true, (started, stopped)), "{state}");
                let error = subject.recorder.last_error().map(|error| error.kind());
                assert_eq!(error, (state == Failed).then_some(ErrorKind::HookFailed));
                continue;
            }
            // The start that is under way ends first.
            Starting => {
                assert_eq!(subject.states(), (Stopping, Stopping));
                assert_eq!((is_open(&stop), subject.hooks()), (true, (1, 0)));
                subject.starts.let_go();
                subject.stepped.settle();
            }
            // Begins one, or joins the one under way.
            _ => assert_eq!(subject.states(), (Stopping, Stopping), "{state}"),
        }
        assert_eq!((is_open(&stop), subject.hooks()), (true, (started, 1)), "{state}");
        subject.stops.let_go();
        subject.stepped.settle();
        assert_eq!((subject.recorder.state(), is_ok(&stop)), (Stopped, true), "{state}");
        assert_eq!((subject.processed(), subject.shown()), (kept, kept), "{state}");
    }
}

#[test]
fn an_event_has_the_outcome_of_its_cell_in_every_state() {
    for state in ALL {
        let mut subject = Subject::in_state(state);
        let (before, (started, _)) = (subject.recorder.accounts(), subject.hooks());
        let (mut batch, answer) =
            (vec![Number(5), Number(6)], subject.recorder.try_register_event(Number(4)));
        let taken = subject.recorder.register_events(&mut batch);
        subject.recorder.register_event(Number(7));
        let (after, at_once) = (subject.recorder.accounts(), subject.recorder.state());
        subject.stepped.settle();
        let rejected = |after: u64, before: u64| (taken, batch.len(), after - before);
        match state {
            Created | Starting | Running => {
                assert_eq!((answer.is_ok(), taken), (true, 2), "{state}");
                assert_eq!((after.accepted - before.accepted, after.rejected.total()), (4, 0), "{state}");
                // The first event starts a recorder; none starts it twice.
                let then = if state == Running { Running } else { Starting };
                assert_eq!((subject.recorder.state(), subject.starts.runs()), (then, 1), "{state}");
                subject.starts.let_go();
                subject.stepped.settle();
                assert_eq!(subject.shown(), before.processed + 4, "{state}");
                continue;
            }
            Failed => {
                assert!(matches!(answer, Err(RegisterError::Failed(Number(4)))));
                assert_eq!(rejected(after.rejected.failed, before.rejected.failed), (0, 2, 4));
            }
            _ => {
                assert!(matches!(answer, Err(RegisterError::Closed(Number(4)))), "{state}");
                assert_eq!(rejected(after.rejected.closed, before.rejected.closed), (0, 2, 4), "{state}");
            }
        }
        // Nothing is accepted, nothing else is counted, and there is no lazy restart.
        assert_eq!((after.accepted, after.rejected.total()), (before.accepted, 4), "{state}");
        assert_eq!((at_once, subject.recorder.state(), subject.starts.runs()), (state, state, started));
    }
}

#[test]
fn reads_work_in_every_state() {
    for state in ALL {
        let mut subject = Subject::in_state(state);
        let processed = u64::from(matches!(state, Running | Stopping | Stopped));
        let snapshot = subject.recorder.snapshot();
        assert_eq!(
            (snapshot.state(), snapshot.sequence(), snapshot.id().as_str()),
            (state, processed, "states")
        );
        assert_eq!(
            (snapshot.accounts(), subject.shown()),
            (subject.recorder.accounts(), processed),
            "{state}"
        );
        assert_eq!(subject.recorder.describe_metrics().len(), 1, "{state}");
        assert_eq!(subject.recorder.last_error().is_some(), state == Failed, "{state}");
        // Everything accepted is processed and shown, so a flush has nothing to wait for but a hook that is under way.
        let flush = subject.recorder.flush();
        subject.stepped.settle();
        assert_eq!(subject.recorder.state(), state);
        subject.starts.let_go();
        subject.stops.let_go();
        subject.stepped.settle();
        assert!(is_ok(&flush), "{state}: {:?}", flush.result());
    }
}

#[test]
fn a_metric_registered_in_any_state_is_shown_and_sees_the_events_from_then_on() {
    for state in ALL {
        let mut subject = Subject::in_state(state);
        let added = subject.recorder.register_metric(Probe::new("more", |_: &Number| Verdict::Accepted));
        subject.stepped.settle();
        // A start or a stop that is under way comes first.
        assert_eq!(subject.recorder.state(), state);
        subject.starts.let_go();
        subject.stops.let_go();
        subject.stepped.settle();
        assert!(is_ok(&added), "{state}: {:?}", added.result());
        assert!(subject.recorder.snapshot().metric("more").is_some(), "{state}");
        subject.run();
        assert_eq!(subject.recorder.state(), Running, "{state}");
        assert_eq!(subject.recorder.snapshot().counter("more", &[]), Some(1), "{state}");
    }
}

/// A clock that waits at a gate, in the hands of the worker alone: its first look is the last step of a runtime's start.
#[derive(Debug)]
struct Slow(SystemClock, Held);

#[derive(Clone, Default)]
struct Held(Gate);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        if thread::current().name().is_some_and(|name| name.ends_with(".metrics")) {
            self.1.0.pass();
        }
        self.0.now()
    }
}

/// What a start is refused with, where it is.
#[track_caller]
fn assert_no_start(runtime: &MetricsRuntime, state: &str) {
    let error = runtime.start().unwrap_err();
    assert_eq!((error.kind(), error.actual_state()), (ErrorKind::InvalidState, Some(state)));
    assert_eq!(error.expected_state(), Some("Created"));
}

fn create(runtime: &MetricsRuntime, id: &str) -> Result<Recorder<Number>, Error> {
    runtime.recorder::<Number>(id).counter("events", |c| c).create()
}

#[test]
fn a_created_runtime_registers_recorders_takes_events_and_starts_or_shuts_down() {
    let runtime = MetricsRuntime::builder("created").build().unwrap();
    let recorder = create(&runtime, "one").unwrap();
    recorder.try_register_event(Number(1)).unwrap();
    assert_eq!((runtime.state(), runtime.recorder_ids().len()), (RuntimeState::Created, 1));
    assert_eq!(runtime.snapshots()[0].accounts().pending(), 1);
    // Nobody drains, and a stop says so instead of waiting.
    let error = runtime.stop("one", PATIENCE).unwrap_err();
    assert_eq!((error.kind(), error.actual_state()), (ErrorKind::InvalidState, Some("Created")));
    assert_eq!(error.expected_state(), Some("Running"));
    let _ = runtime.shutdown(PATIENCE).unwrap();
    assert_eq!(runtime.state(), RuntimeState::Closed);
    let runtime = MetricsRuntime::builder("created").build().unwrap();
    runtime.start().unwrap();
    assert_eq!(runtime.state(), RuntimeState::Running);
}

#[test]
fn a_start_of_a_starting_runtime_joins_and_everything_else_works_meanwhile() {
    let held = Held::default();
    let clock = Slow(SystemClock::new(), held.clone());
    let runtime = MetricsRuntime::builder("starting").clock(clock).build().unwrap();
    let started = AtomicU64::new(0);
    let start = || {
        runtime.start().unwrap();
        assert_eq!(runtime.state(), RuntimeState::Running);
        started.fetch_add(1, Ordering::AcqRel);
    };
    thread::scope(|scope| {
        scope.spawn(start);
        held.0.until_reached();
        scope.spawn(start);
        assert_eq!(runtime.state(), RuntimeState::Starting);
        let recorder = create(&runtime, "one").unwrap();
        recorder.try_register_event(Number(1)).unwrap();
        assert_eq!((recorder.accounts().pending(), recorder.snapshot().sequence()), (1, 0));
        assert!(runtime.get::<Number>("one").is_ok());
        let flush = recorder.flush_blocking(PATIENCE).unwrap_err();
        assert_eq!(
            (flush.kind(), flush.actual_state()),
            (ErrorKind::InvalidState, Some("Starting")),
            "{flush}"
        );
        // Runs out of its time, in which the second start comes to the first.
        let early = recorder.start().wait(Duration::from_millis(20)).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::Timeout);
        assert_eq!((runtime.state(), started.load(Ordering::Acquire)), (RuntimeState::Starting, 0));
        held.0.open();
    });
    runtime.flush_blocking(PATIENCE).unwrap();
    assert_eq!((started.into_inner(), runtime.accounts().processed), (2, 1));
}

#[test]
fn a_shutdown_of_a_starting_runtime_is_kept_to_its_deadline_and_settles_everything() {
    let held = Held::default();
    let clock = Slow(SystemClock::new(), held.clone());
    let runtime = MetricsRuntime::builder("early").clock(clock).build().unwrap();
    let recorder = create(&runtime, "one").unwrap();
    recorder.try_register_event(Number(1)).unwrap();
    thread::scope(|scope| {
        // Whether it had started is a matter of a moment; that it returns is not.
        scope.spawn(|| runtime.start().map_err(|error| error.kind()));
        held.0.until_reached();
        let shutdown = runtime.begin_shutdown(Duration::from_millis(20));
        let report = shutdown.wait(PATIENCE).unwrap();
        assert_eq!((report.accounts().dropped.deadline, report.accounts().pending()), (1, 0), "{report:?}");
        held.0.open();
    });
    until("the runtime is closed", || runtime.state() == RuntimeState::Closed);
    assert_eq!(recorder.accounts().processed, 0);
    assert_no_start(&runtime, "Closed");
}

#[test]
fn a_stopping_runtime_refuses_starts_and_recorders_and_a_second_shutdown_joins() {
    let (runtime, gate) = (running("stopping"), Gate::default());
    let stuck = runtime.recorder("stuck").metric(stopper("events", 0, &gate)).create().unwrap();
    stuck.register_event(Number(0));
    gate.until_reached();
    let shutdown = runtime.begin_shutdown(PATIENCE);
    assert_eq!(runtime.state(), RuntimeState::Stopping);
    assert_no_start(&runtime, "Stopping");
    until("recorders are closed", || stuck.state() == Stopping);
    assert!(matches!(stuck.try_register_event(Number(1)), Err(RegisterError::Closed(_))));
    assert_eq!(stuck.snapshot().accounts().pending(), 1);
    // It joins, so it is the first one's deadline that counts.
    let joined = runtime.begin_shutdown(Duration::ZERO);
    assert_eq!(joined.wait(Duration::from_millis(20)).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(shutdown.result().is_none());
    gate.open();
    let (first, second) = (shutdown.wait(PATIENCE).unwrap(), joined.wait(PATIENCE).unwrap());
    assert_eq!((first.accounts(), first.accounts().processed), (second.accounts(), 1));
}

#[test]
fn a_closed_runtime_refuses_starts_and_recorders_and_reads_and_shuts_down_as_before() {
    let runtime = running("closed");
    let recorder = create(&runtime, "one").unwrap();
    recorder.try_register_event(Number(1)).unwrap();
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert_eq!((runtime.state(), report.is_complete()), (RuntimeState::Closed, true));
    assert_no_start(&runtime, "Closed");
    let error = create(&runtime, "two").unwrap_err();
    assert_eq!((error.kind(), error.actual_state()), (ErrorKind::InvalidState, Some("Closed")));
    assert_eq!(error.expected_state(), Some("Created or Running"));
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(1));
    assert_eq!(runtime.shutdown(Duration::ZERO).unwrap().accounts(), report.accounts());
    assert_eq!((recorder.state(), runtime.state()), (Stopped, RuntimeState::Closed));
}

//! DESIGN 3.8 and 4: async hooks before the first event and after the last one, whatever they do.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::running;
use crate::support::scaled;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::Metric;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::Verdict;
use mvx_metrics::testing::SteppedRuntime;
use std::error::Error as StdError;
use std::future::Future;
use std::future::pending;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::Semaphore;

const SOON: Duration = Duration::from_millis(20);

type Ended = Result<(), Box<dyn StdError + Send + Sync>>;

/// Where hooks wait: each permit lets one go on.
fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

fn pass(gate: &Arc<Semaphore>) -> impl Future<Output = Ended> + Send + use<> {
    let gate = Arc::clone(gate);
    async move {
        gate.acquire().await?.forget();
        Ok(())
    }
}

/// What happened, in its order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl ToString) {
        self.0.lock().unwrap().push(what.to_string());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, what: &str) -> usize {
        self.read().iter().filter(|entry| *entry == what).count()
    }

    fn metric(&self) -> impl Metric<Number> + use<> {
        let log = self.clone();
        Probe::new("events", move |event: &Number| {
            log.note(event.0);
            Verdict::Accepted
        })
    }

    fn hook(&self, what: &'static str) -> impl FnMut() -> std::future::Ready<Ended> + Send + use<> {
        let log = self.clone();
        move || {
            log.note(what);
            std::future::ready(Ok(()))
        }
    }
}

/// The ways in which a hook may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Fails,
    PanicsWhenPolled,
    PanicsWhenMade,
    Hangs,
}

const WAYS: [Way; 4] = [Way::Fails, Way::PanicsWhenPolled, Way::PanicsWhenMade, Way::Hangs];

impl Way {
    /// A hook that goes wrong in this way as long as `broken` is set.
    fn hook(
        self,
        broken: &Arc<AtomicBool>,
    ) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = Ended> + Send>> + use<> {
        let broken = Arc::clone(broken);
        move || {
            let broken = broken.load(Ordering::SeqCst);
            assert!(!(broken && self == Self::PanicsWhenMade), "on purpose");
            Box::pin(async move {
                match self {
                    _ if !broken => Ok(()),
                    Self::Fails => Err("no connection".into()),
                    Self::PanicsWhenPolled | Self::PanicsWhenMade => panic!("on purpose"),
                    Self::Hangs => pending().await,
                }
            })
        }
    }
}

fn broken() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

fn recorder(runtime: &MetricsRuntime, id: &str) -> RecorderBuilder<Number> {
    runtime.recorder(id).hook_deadline(PATIENCE)
}

fn feed(recorder: &Recorder<Number>, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| recorder.try_register_event(Number(n)).unwrap());
}

fn until_state(recorder: &Recorder<Number>, state: RecorderState) {
    until(state.to_string().as_str(), || recorder.state() == state);
}

#[test]
fn the_start_hook_runs_before_the_first_event_and_events_wait_for_it() {
    let (runtime, log, gate) = (running("before"), Log::default(), gate());
    let (noted, held) = (log.clone(), Arc::clone(&gate));
    let recorder = recorder(&runtime, "before")
        .metric(log.metric())
        .on_starting(move || {
            noted.note("starting");
            pass(&held)
        })
        .create()
        .unwrap();
    feed(&recorder, 0..3);
    until("the hook runs", || log.read() == ["starting"]);
    assert_eq!(recorder.state(), RecorderState::Starting);
    feed(&recorder, 3..6);
    let flush = recorder.flush();
    assert_eq!(flush.wait(SOON).unwrap_err().pending(), Some(6));
    assert_eq!((recorder.accounts().pending(), recorder.snapshot().sequence()), (6, 0));
    gate.add_permits(1);
    flush.wait(PATIENCE).unwrap();
    assert_eq!(log.read(), ["starting", "0", "1", "2", "3", "4", "5"]);
    assert_eq!((recorder.state(), recorder.accounts().processed), (RecorderState::Running, 6));
}

#[test]
fn many_that_start_at_once_with_events_between_them_run_the_hook_once() {
    let runtime = running("once");
    for round in 0..scaled(100) {
        let log = Log::default();
        let recorder =
            recorder(&runtime, &format!("once{round}")).on_starting(log.hook("starting")).create().unwrap();
        let together = Barrier::new(4);
        thread::scope(|scope| {
            for number in 0..4 {
                let (recorder, together, log) = (&recorder, &together, &log);
                scope.spawn(move || {
                    together.wait();
                    if number == 0 {
                        feed(recorder, 0..1);
                    } else {
                        recorder.start().wait(PATIENCE).unwrap();
                        assert_eq!(log.read(), ["starting"]);
                    }
                });
            }
        });
        recorder.start().wait(PATIENCE).unwrap();
        recorder.flush_blocking(PATIENCE).unwrap();
        assert_eq!(log.read(), ["starting"]);
    }
}

#[test]
fn no_event_is_dispatched_before_the_hook_of_its_start_was_over() {
    let (runtime, open) = (running("never"), Arc::new(AtomicBool::new(false)));
    let (opens, shuts, looks) = (Arc::clone(&open), Arc::clone(&open), Arc::clone(&open));
    let early = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&early);
    let recorder = recorder(&runtime, "never")
        .metric(Probe::new("events", move |_: &Number| {
            counted.fetch_add(u64::from(!looks.load(Ordering::SeqCst)), Ordering::SeqCst);
            Verdict::Accepted
        }))
        .on_starting(move || {
            let open = Arc::clone(&opens);
            async move {
                tokio::task::yield_now().await;
                open.store(true, Ordering::SeqCst);
                Ok(())
            }
        })
        .on_stopped(move || {
            shuts.store(false, Ordering::SeqCst);
            std::future::ready(Ok(()))
        })
        .create()
        .unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = crate::support::Over(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    recorder.register_event(Number(0));
                    thread::yield_now();
                }
            });
        }
        for _ in 0..scaled(500) {
            recorder.start().wait(PATIENCE).unwrap();
            recorder.stop().wait(PATIENCE).unwrap();
        }
    });
    assert_eq!(early.load(Ordering::SeqCst), 0);
    assert!(recorder.accounts().processed > 0 && recorder.accounts().is_settled());
}

#[cfg(panic = "unwind")]
#[test]
fn a_start_that_fails_in_any_way_gives_up_what_it_accepted_exactly_with_producers_racing() {
    for way in WAYS {
        let (runtime, log, broken) = (running("failing"), Log::default(), broken());
        let mut hook = way.hook(&broken);
        let recorder = runtime
            .recorder("failing")
            .metric(log.metric())
            .hook_deadline(SOON)
            .on_starting(move || {
                let ended = hook();
                async move {
                    // Time for the producers.
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                    ended.await
                }
            })
            .on_stopped(log.hook("stopped"))
            .create()
            .unwrap();
        let taken: Vec<(u64, u64)> = thread::scope(|scope| {
            let push = || {
                let end = Instant::now() + PATIENCE;
                let (mut accepted, mut full) = (0, 0);
                loop {
                    match recorder.try_register_event(Number(1)) {
                        Ok(()) => accepted += 1,
                        Err(RegisterError::Failed(Number(1))) => return (accepted, full),
                        Err(RegisterError::Full(_)) => full += 1,
                        Err(other) => panic!("{way:?}: {other}"),
                    }
                    assert!(Instant::now() < end, "{way:?}: {recorder:?}");
                }
            };
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(push)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        until("what was accepted is given up", || recorder.accounts().is_settled());
        let accounts = recorder.accounts();
        assert_eq!(accounts.accepted, taken.iter().map(|(accepted, _)| accepted).sum::<u64>(), "{way:?}");
        assert_eq!((accounts.dropped.start_failed, accounts.processed), (accounts.accepted, 0), "{way:?}");
        assert_eq!(accounts.rejected.full, taken.iter().map(|(_, full)| full).sum::<u64>(), "{way:?}");
        assert_eq!((accounts.rejected.failed, accounts.rejected.closed), (3, 0), "{way:?}");
        until("the stop hook runs after a failed start", || log.read() == ["stopped"]);
        recorder.flush_blocking(PATIENCE).unwrap();
        assert_eq!(
            (recorder.state(), log.read()),
            (RecorderState::Failed, vec!["stopped".to_owned()]),
            "{way:?}"
        );
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_failed_recorder_says_why_stops_as_a_no_op_and_works_after_a_start_that_succeeds() {
    for way in WAYS {
        let (runtime, log, broken) = (running("mended"), Log::default(), broken());
        let recorder = runtime
            .recorder("mended")
            .metric(log.metric())
            .hook_deadline(SOON)
            .on_starting(way.hook(&broken))
            .on_stopped(log.hook("stopped"))
            .create()
            .unwrap();
        assert!(recorder.last_error().is_none());
        for attempt in 1..=3 {
            let error = recorder.start().wait(PATIENCE).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::HookFailed, "{way:?}");
            assert!(error.to_string().contains("on_starting"), "{error}");
            assert_eq!(recorder.state(), RecorderState::Failed, "{way:?}");
            let last = recorder.last_error().unwrap();
            assert_eq!((last.kind(), last.to_string()), (ErrorKind::HookFailed, error.to_string()));
            recorder.stop().wait(PATIENCE).unwrap();
            assert_eq!(recorder.state(), RecorderState::Failed);
            until("the stop hook", || log.count("stopped") == attempt);
            assert!(matches!(recorder.try_register_event(Number(9)), Err(RegisterError::Failed(Number(9)))));
            recorder.register_event(Number(9));
            assert_eq!(recorder.register_events(&mut vec![Number(9)]), 0);
            assert_eq!(recorder.accounts().rejected.failed, 3 * attempt as u64);
        }
        broken.store(false, Ordering::SeqCst);
        recorder.start().wait(PATIENCE).unwrap();
        assert_eq!(recorder.state(), RecorderState::Running);
        feed(&recorder, 0..3);
        recorder.stop().wait(PATIENCE).unwrap();
        assert_eq!(log.read(), ["stopped", "stopped", "stopped", "0", "1", "2", "stopped"], "{way:?}");
        assert_eq!((recorder.state(), recorder.accounts().processed), (RecorderState::Stopped, 3));
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    }
}

#[test]
fn a_start_asked_for_while_a_failed_one_is_closed_gets_nothing_of_its_events() {
    let (runtime, log, broken, gate) = (running("closing"), Log::default(), broken(), gate());
    let (noted, held) = (log.clone(), Arc::clone(&gate));
    let recorder = recorder(&runtime, "closing")
        .metric(log.metric())
        .on_starting(Way::Fails.hook(&broken))
        .on_stopped(move || {
            noted.note("stopped");
            pass(&held)
        })
        .create()
        .unwrap();
    feed(&recorder, 0..1);
    until("the stop hook of the failed start", || log.read() == ["stopped"]);
    let failed = recorder.accounts().accepted;
    broken.store(false, Ordering::SeqCst);
    let start = recorder.start();
    feed(&recorder, 5..7);
    gate.add_permits(2);
    start.wait(PATIENCE).unwrap();
    recorder.stop().wait(PATIENCE).unwrap();
    assert_eq!(log.read(), ["stopped", "5", "6", "stopped"]);
    let accounts = recorder.accounts();
    assert_eq!((accounts.dropped.start_failed, accounts.processed, accounts.pending()), (failed, 2, 0));
}

#[test]
fn the_stop_hook_runs_after_the_last_event_however_the_recorder_is_stopped() {
    let (runtime, log) = (running("after"), Log::default());
    let make = |id: &str| {
        recorder(&runtime, id).metric(log.metric()).on_stopped(log.hook("stopped")).create().unwrap()
    };
    let stopped = make("stopped");
    feed(&stopped, 0..3);
    stopped.stop().wait(PATIENCE).unwrap();
    assert_eq!(log.read(), ["0", "1", "2", "stopped"]);
    stopped.stop().wait(PATIENCE).unwrap();
    assert_eq!(log.count("stopped"), 1);
    let removed = make("removed");
    feed(&removed, 10..13);
    assert_eq!(runtime.stop_and_remove("removed", PATIENCE).unwrap().processed, 3);
    assert_eq!(log.read()[4..], ["10", "11", "12", "stopped"]);
    let shut = make("shut");
    feed(&shut, 20..23);
    // One that never began has nothing to close.
    let idle = make("idle");
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert_eq!(log.read()[8..], ["20", "21", "22", "stopped"]);
    assert_eq!((shut.state(), idle.state()), (RecorderState::Stopped, RecorderState::Stopped));
}

#[cfg(panic = "unwind")]
#[test]
fn a_stop_hook_that_goes_wrong_ends_the_stop_in_its_error_and_loses_nothing() {
    for way in WAYS {
        let (runtime, log, broken) = (running("stopping"), Log::default(), broken());
        let recorder = runtime
            .recorder("stopping")
            .metric(log.metric())
            .hook_deadline(SOON)
            .on_stopped(way.hook(&broken))
            .create()
            .unwrap();
        feed(&recorder, 0..3);
        let stop = recorder.stop();
        let error = stop.wait(PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HookFailed, "{way:?}");
        assert!(error.to_string().contains("on_stopped"), "{error}");
        assert_eq!(recorder.state(), RecorderState::Failed);
        assert_eq!(recorder.last_error().unwrap().to_string(), error.to_string());
        let accounts = recorder.accounts();
        assert_eq!((accounts.processed, accounts.dropped.total(), accounts.pending()), (3, 0, 0), "{way:?}");
        assert_eq!(recorder.snapshot().counter("events", &[]), Some(3));
        recorder.stop().wait(PATIENCE).unwrap();
        broken.store(false, Ordering::SeqCst);
        recorder.start().wait(PATIENCE).unwrap();
        feed(&recorder, 3..4);
        recorder.stop().wait(PATIENCE).unwrap();
        assert_eq!(
            (recorder.state(), log.read()),
            (RecorderState::Stopped, ["0", "1", "2", "3"].map(String::from).to_vec())
        );
    }
}

#[test]
fn a_removal_and_a_shutdown_tell_of_a_stop_hook_that_failed() {
    let (runtime, broken) = (running("told"), broken());
    let make = |id: &str| recorder(&runtime, id).on_stopped(Way::Fails.hook(&broken)).create().unwrap();
    let removed = make("removed");
    feed(&removed, 0..3);
    let error = runtime.stop_and_remove("removed", PATIENCE).unwrap_err();
    assert_eq!((error.kind(), removed.state()), (ErrorKind::HookFailed, RecorderState::Failed));
    assert_eq!((removed.accounts().processed, removed.accounts().pending()), (3, 0));
    assert!(runtime.try_get::<Number>("removed").unwrap().is_none());
    let shut = make("shut");
    feed(&shut, 0..3);
    let report = runtime.shutdown(PATIENCE).unwrap();
    let told = report.recorders()[0].error.as_ref().map(mvx_metrics::Error::kind);
    assert_eq!((told, report.is_complete()), (Some(ErrorKind::HookFailed), false));
    assert_eq!((report.accounts().processed, report.accounts().dropped.total()), (3, 0));
}

#[test]
fn a_stop_while_starting_lets_the_start_finish_and_settles_what_was_accepted() {
    let (runtime, log, gate) = (running("early"), Log::default(), gate());
    let held = Arc::clone(&gate);
    let recorder = recorder(&runtime, "early")
        .metric(log.metric())
        .on_starting(move || pass(&held))
        .on_stopped(log.hook("stopped"))
        .create()
        .unwrap();
    let start = recorder.start();
    feed(&recorder, 0..3);
    let stop = recorder.stop();
    assert!(matches!(recorder.try_register_event(Number(9)), Err(RegisterError::Closed(Number(9)))));
    assert_eq!(stop.wait(SOON).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!((recorder.state(), recorder.accounts().pending()), (RecorderState::Stopping, 3));
    gate.add_permits(1);
    stop.wait(PATIENCE).unwrap();
    start.wait(PATIENCE).unwrap();
    assert_eq!(
        (recorder.state(), log.read().join(" ")),
        (RecorderState::Stopped, "0 1 2 stopped".to_owned())
    );
}

#[test]
fn a_stop_while_a_start_fails_ends_well_and_the_recorder_is_failed() {
    let (runtime, log, gate) = (running("both"), Log::default(), gate());
    let held = Arc::clone(&gate);
    let recorder = recorder(&runtime, "both")
        .metric(log.metric())
        .on_starting(move || {
            let passed = pass(&held);
            async move {
                passed.await?;
                Err("no connection".into())
            }
        })
        .on_stopped(log.hook("stopped"))
        .create()
        .unwrap();
    let start = recorder.start();
    feed(&recorder, 0..3);
    let stop = recorder.stop();
    gate.add_permits(1);
    stop.wait(PATIENCE).unwrap();
    assert_eq!(start.wait(PATIENCE).unwrap_err().kind(), ErrorKind::HookFailed);
    assert_eq!((recorder.state(), log.read().join(" ")), (RecorderState::Failed, "stopped".to_owned()));
    assert_eq!((recorder.accounts().dropped.start_failed, recorder.accounts().pending()), (3, 0));
}

#[test]
fn a_start_while_stopping_restarts_when_the_stop_is_over() {
    let (runtime, log, gate) = (running("behind"), Log::default(), gate());
    let held = Arc::clone(&gate);
    let recorder = recorder(&runtime, "behind")
        .metric(log.metric())
        .on_starting(log.hook("starting"))
        .on_stopped(move || pass(&held))
        .create()
        .unwrap();
    feed(&recorder, 0..2);
    let stop = recorder.stop();
    let (start, joined) = (recorder.start(), recorder.start());
    assert_eq!(start.wait(SOON).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!((recorder.state(), log.count("starting")), (RecorderState::Stopping, 1));
    gate.add_permits(1);
    start.wait(PATIENCE).unwrap();
    joined.wait(PATIENCE).unwrap();
    stop.wait(PATIENCE).unwrap();
    feed(&recorder, 2..3);
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(log.read(), ["starting", "0", "1", "starting", "2"]);
    assert_eq!(recorder.state(), RecorderState::Running);
    gate.add_permits(1);
}

#[test]
fn a_start_behind_a_stop_behind_a_start_restarts_too() {
    let (runtime, log, gate) = (running("thrice"), Log::default(), gate());
    let (noted, held) = (log.clone(), Arc::clone(&gate));
    let recorder = recorder(&runtime, "thrice")
        .metric(log.metric())
        .on_starting(move || {
            noted.note("starting");
            pass(&held)
        })
        .on_stopped(log.hook("stopped"))
        .create()
        .unwrap();
    let first = recorder.start();
    feed(&recorder, 0..1);
    until("the first start", || log.count("starting") == 1);
    let (stop, second) = (recorder.stop(), recorder.start());
    gate.add_permits(1);
    first.wait(PATIENCE).unwrap();
    stop.wait(PATIENCE).unwrap();
    until("the second start", || log.count("starting") == 2);
    assert!(second.result().is_none(), "the second start has not been let go on");
    gate.add_permits(1);
    second.wait(PATIENCE).unwrap();
    assert_eq!(
        (recorder.state(), log.read().join(" ")),
        (RecorderState::Running, "starting 0 stopped starting".to_owned())
    );
}

#[test]
fn a_start_behind_a_stop_that_fails_starts_all_the_same() {
    let (runtime, log, broken) = (running("anyway"), Log::default(), broken());
    let (gate, mut fails) = (gate(), Way::Fails.hook(&broken));
    let held = Arc::clone(&gate);
    let recorder = recorder(&runtime, "anyway")
        .metric(log.metric())
        .on_stopped(move || {
            let (passed, ended) = (pass(&held), fails());
            async move {
                passed.await?;
                ended.await
            }
        })
        .create()
        .unwrap();
    feed(&recorder, 0..1);
    let (stop, joined, start) = (recorder.stop(), recorder.stop(), recorder.start());
    gate.add_permits(1);
    assert_eq!(joined.wait(PATIENCE).unwrap_err().kind(), ErrorKind::HookFailed);
    assert_eq!(stop.wait(PATIENCE).unwrap_err().kind(), ErrorKind::HookFailed);
    start.wait(PATIENCE).unwrap();
    feed(&recorder, 1..2);
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!((recorder.state(), log.read().join(" ")), (RecorderState::Running, "0 1".to_owned()));
    gate.add_permits(1);
}

#[test]
fn commands_do_not_start_a_recorder_that_has_seen_no_event() {
    let (runtime, log) = (running("commands"), Log::default());
    let recorder = recorder(&runtime, "commands").on_starting(log.hook("starting")).create().unwrap();
    recorder.register_metric(log.metric()).wait(PATIENCE).unwrap();
    recorder.on_metric_changed(|_| {}).1.wait(PATIENCE).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder.stop().wait(PATIENCE).unwrap();
    assert_eq!((recorder.state(), log.read().len()), (RecorderState::Created, 0));
    feed(&recorder, 0..1);
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!((recorder.state(), log.read().join(" ")), (RecorderState::Running, "starting 0".to_owned()));
}

#[test]
fn hooks_that_hang_hold_neither_other_recorders_nor_a_shutdown_beyond_its_deadline() {
    let runtime = running("hang");
    let starting = recorder(&runtime, "starting").on_starting(pending).create().unwrap();
    let stopping = recorder(&runtime, "stopping").on_stopped(pending).create().unwrap();
    let other = recorder(&runtime, "other").counter("events", |c| c).create().unwrap();
    feed(&starting, 0..3);
    feed(&stopping, 0..3);
    let stop = stopping.stop();
    until("the stop hook", || stopping.accounts().processed == 3);
    until_state(&starting, RecorderState::Starting);
    for n in 1..=100 {
        other.register_event(Number(n));
        other.flush_blocking(PATIENCE).unwrap();
        assert_eq!(other.snapshot().counter("events", &[]), Some(n));
    }
    let began = Instant::now();
    let report = runtime.shutdown(SOON).unwrap();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(report.worker_ended() && !report.is_complete());
    assert_eq!(starting.accounts().dropped.deadline, 3);
    assert_eq!((stopping.accounts().processed, other.accounts().processed), (3, 100));
    assert!(stop.wait(PATIENCE).is_ok(), "its events were settled");
    assert_eq!(report.accounts().pending(), 0);
}

#[test]
fn hooks_on_the_worker_may_use_its_timers_and_tasks_and_do_not_wait_for_themselves() {
    let runtime = running("timers");
    let own: Arc<Mutex<Option<Recorder<Number>>>> = Arc::default();
    let (found, seen) = (Arc::clone(&own), Log::default());
    let noted = seen.clone();
    let recorder = recorder(&runtime, "timers")
        .counter("events", |c| c)
        .on_starting(move || {
            let (own, log) = (found.lock().unwrap().clone().unwrap(), noted.clone());
            async move {
                let timeout = tokio::time::timeout(Duration::from_millis(1), pending::<()>()).await;
                log.note(timeout.is_err());
                log.note(tokio::spawn(async { 7 }).await?);
                log.note(format!("{:?}", own.flush().await.unwrap_err().kind()));
                log.note(format!("{:?}", own.flush_blocking(PATIENCE).unwrap_err().kind()));
                // Events go in, and wait as all others do.
                own.register_event(Number(1));
                Ok(())
            }
        })
        .create()
        .unwrap();
    *own.lock().unwrap() = Some(recorder.clone());
    recorder.start().wait(PATIENCE).unwrap();
    assert_eq!(seen.read(), ["true", "7", "WouldDeadlock", "WouldDeadlock"]);
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(1));
    *own.lock().unwrap() = None;
}

#[test]
fn a_stepped_runtime_polls_hooks_as_it_settles() {
    let (mut stepped, log, gate) = (SteppedRuntime::new("stepped").unwrap(), Log::default(), gate());
    let held = Arc::clone(&gate);
    let recorder = stepped
        .recorder::<Number>("stepped")
        .metric(log.metric())
        .hook_deadline(Duration::from_secs(10))
        .on_starting(move || pass(&held))
        .on_stopped(log.hook("stopped"))
        .create()
        .unwrap();
    feed(&recorder, 0..2);
    stepped.settle();
    assert_eq!((recorder.state(), recorder.accounts().pending()), (RecorderState::Starting, 2));
    stepped.clock().advance(Duration::from_secs(9));
    stepped.settle();
    assert_eq!(recorder.state(), RecorderState::Starting);
    stepped.clock().advance(Duration::from_secs(1));
    stepped.settle();
    assert_eq!((recorder.state(), recorder.accounts().dropped.start_failed), (RecorderState::Failed, 2));
    assert_eq!(log.read(), ["stopped"]);
    gate.add_permits(1);
    let start = recorder.start();
    stepped.settle();
    assert!(matches!(start.result(), Some(Ok(()))));
    feed(&recorder, 2..4);
    assert!(stepped.shutdown().is_complete());
    assert_eq!(log.read(), ["stopped", "2", "3", "stopped"]);
}

#[cfg(panic = "unwind")]
#[test]
fn a_detached_recorder_runs_its_hooks_in_its_task() {
    let (log, broken) = (Log::default(), broken());
    let (recorder, task) = Recorder::<Number>::detached("detached")
        .metric(log.metric())
        .on_starting(Way::PanicsWhenPolled.hook(&broken))
        .on_stopped(log.hook("stopped"))
        .create()
        .unwrap();
    feed(&recorder, 0..2);
    let task = thread::spawn(move || by_hand(task));
    until_state(&recorder, RecorderState::Failed);
    until("given up", || recorder.accounts().dropped.start_failed == 2);
    broken.store(false, Ordering::SeqCst);
    recorder.start().wait(PATIENCE).unwrap();
    feed(&recorder, 2..4);
    recorder.stop().wait(PATIENCE).unwrap();
    task.join().unwrap();
    assert_eq!(
        (recorder.state(), log.read().join(" ")),
        (RecorderState::Stopped, "stopped 2 3 stopped".to_owned())
    );
}

#[cfg(panic = "unwind")]
#[test]
fn a_hook_whose_future_panics_when_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let hook = || {
        let bomb = Bomb;
        std::future::poll_fn(move |_| {
            let _ = &bomb;
            std::task::Poll::Ready(Ok(()))
        })
    };
    let (recorder, task) =
        Recorder::<Number>::detached("bomb").counter("events", |c| c).on_starting(hook).create().unwrap();
    let task = thread::spawn(move || by_hand(task));
    feed(&recorder, 0..2);
    recorder.stop().wait(PATIENCE).unwrap();
    task.join().expect("the task goes on");
    assert_eq!(recorder.accounts().processed, 2);
    let runtime = running("bomb");
    let hosted =
        runtime.recorder::<Number>("bomb").counter("events", |c| c).on_starting(hook).create().unwrap();
    let _ = hosted.start().wait(PATIENCE);
    let other = runtime.recorder::<Number>("other").counter("events", |c| c).create().unwrap();
    feed(&other, 0..2);
    other.flush_blocking(PATIENCE).unwrap();
    assert_eq!(other.accounts().processed, 2);
}

//! Events against the closing door, by the hundred thousand: no event is accepted and forgotten (DESIGN 3.3, 4).
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod support;

use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::scaled;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const PRODUCERS: usize = 2;
const BURST: u64 = 8;

/// What producers know of one recorder.
#[derive(Default)]
struct Known {
    accepted: AtomicU64,
    full: AtomicU64,
    closed: AtomicU64,
}

impl Known {
    fn offer(&self, recorder: &Recorder<Number>, number: u64) {
        let fate = match recorder.try_register_event(Number(number)) {
            Ok(()) => &self.accepted,
            Err(RegisterError::Full(_)) => &self.full,
            Err(_) => &self.closed,
        };
        fate.fetch_add(1, Ordering::AcqRel);
    }

    fn check(&self, recorder: &Recorder<Number>) {
        let accounts = recorder.accounts();
        assert_eq!(accounts.accepted, self.accepted.load(Ordering::Acquire), "{recorder:?}");
        assert_eq!(accounts.rejected.full, self.full.load(Ordering::Acquire), "{recorder:?}");
        assert_eq!(accounts.rejected.closed, self.closed.load(Ordering::Acquire), "{recorder:?}");
        assert_eq!(accounts.accepted, accounts.processed + accounts.dropped.total(), "{recorder:?}");
    }
}

/// For each recorder in turn: producers push a burst while `end` is called, a little earlier or later each time.
fn race(recorders: &[Recorder<Number>], mut end: impl FnMut(usize)) -> Vec<Known> {
    let known: Vec<_> = recorders.iter().map(|_| Known::default()).collect();
    let arrived: Vec<_> = recorders.iter().map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                for (at, recorder) in recorders.iter().enumerate() {
                    arrived[at].fetch_add(1, Ordering::AcqRel);
                    wait_for_all(&arrived[at]);
                    (0..BURST).for_each(|number| known[at].offer(recorder, number));
                }
            });
        }
        let _released = Released(&arrived);
        for (at, all) in arrived.iter().enumerate() {
            all.fetch_add(1, Ordering::AcqRel);
            wait_for_all(all);
            (0..at % 97).for_each(|_| std::hint::spin_loop());
            end(at);
        }
    });
    known
}

/// Lets the producers go to the end when the race is over, be it by a failed assertion.
struct Released<'a>(&'a [AtomicUsize]);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|arrived| arrived.store(PRODUCERS + 1, Ordering::Release));
    }
}

fn wait_for_all(arrived: &AtomicUsize) {
    while arrived.load(Ordering::Acquire) <= PRODUCERS {
        thread::yield_now();
    }
}

fn policy(at: usize) -> OverflowPolicy {
    if at % 4 == 3 { OverflowPolicy::DropOldest } else { OverflowPolicy::DropNewest }
}

fn many(runtime: &MetricsRuntime, rounds: u64) -> Vec<Recorder<Number>> {
    let make = |at: usize| {
        let builder = runtime.recorder(&format!("r{at}")).overflow(policy(at)).capacity(5 + at as u32 % 9);
        let recorder = builder.counter("events", |c| c).create().unwrap();
        // Stopping a recorder that has seen nothing is a no-op: these are to be stopped in earnest.
        drop(recorder.start());
        recorder
    };
    (0..rounds as usize).map(make).collect()
}

#[test]
fn events_against_a_stop_are_settled_when_it_ends() {
    let runtime = running("stop");
    let recorders = many(&runtime, scaled(30_000));
    let known = race(&recorders, |at| {
        recorders[at].stop().wait(PATIENCE).unwrap();
        // The door is shut, so this is final, however many producers still knock.
        let snapshot = recorders[at].snapshot();
        assert_eq!(snapshot.state(), RecorderState::Stopped);
        assert_eq!(snapshot.accounts().pending(), 0, "{snapshot:?}");
        assert_eq!(snapshot.sequence(), snapshot.accounts().processed);
    });
    for (recorder, known) in recorders.iter().zip(&known) {
        known.check(recorder);
        assert_eq!(recorder.snapshot().counter("events", &[]).unwrap_or(0), recorder.accounts().processed);
        assert_eq!(recorder.accounts().offered(), PRODUCERS as u64 * BURST);
    }
}

#[test]
fn events_against_a_removal_are_settled_when_it_ends() {
    let runtime = running("removal");
    let recorders = many(&runtime, scaled(20_000));
    let known = race(&recorders, |at| {
        let accounts = runtime.stop_and_remove(&format!("r{at}"), PATIENCE).unwrap();
        assert_eq!((accounts.pending(), accounts.dropped.removed), (0, 0));
        assert_eq!(accounts.accepted, recorders[at].accounts().accepted);
    });
    recorders.iter().zip(&known).for_each(|(recorder, known)| known.check(recorder));
    assert!(runtime.recorder_ids().is_empty());
}

#[test]
fn events_against_a_removal_without_patience_are_processed_or_dropped() {
    let runtime = running("removal");
    let recorders = many(&runtime, scaled(20_000));
    let known = race(&recorders, |at| {
        // Whether it was too short is a matter of luck; the accounts must be right either way.
        match runtime.stop_and_remove(&format!("r{at}"), Duration::ZERO) {
            Ok(accounts) => assert_eq!((accounts.pending(), accounts.dropped.removed), (0, 0)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Timeout);
                assert_eq!(error.pending(), Some(recorders[at].accounts().dropped.removed));
            }
        }
        assert_eq!(recorders[at].accounts().pending(), 0);
    });
    recorders.iter().zip(&known).for_each(|(recorder, known)| known.check(recorder));
}

#[test]
fn events_against_the_shutdown_of_a_runtime_that_never_started_are_dropped() {
    let runtimes: Vec<_> =
        (0..scaled(20_000)).map(|_| MetricsRuntime::builder("idle").build().unwrap()).collect();
    let recorders: Vec<_> = runtimes.iter().flat_map(|runtime| many(runtime, 1)).collect();
    let known = race(&recorders, |at| {
        let report = runtimes[at].shutdown(PATIENCE).unwrap();
        assert_eq!(report.accounts().pending(), 0);
        assert_eq!(report.accounts().accepted, recorders[at].accounts().accepted);
    });
    for (recorder, known) in recorders.iter().zip(&known) {
        known.check(recorder);
        assert_eq!(recorder.accounts().processed, 0);
    }
}

#[test]
fn events_against_a_shutdown_are_in_its_report() {
    for round in 0..scaled(20) {
        let runtimes: Vec<_> = (0..100).map(|_| running("shutdown")).collect();
        let recorders: Vec<_> = runtimes.iter().flat_map(|runtime| many(runtime, 1)).collect();
        let deadline = if round % 4 == 0 { Duration::ZERO } else { PATIENCE };
        let known = race(&recorders, |at| {
            let report = runtimes[at].shutdown(deadline).unwrap();
            let accounts = report.accounts();
            assert_eq!(accounts.pending(), 0);
            assert_eq!(accounts.accepted, recorders[at].accounts().accepted);
            assert!(deadline.is_zero() || report.is_complete(), "{report:?}");
        });
        recorders.iter().zip(&known).for_each(|(recorder, known)| known.check(recorder));
    }
}

#[test]
fn every_stop_of_thousands_under_load_is_final_until_the_next_start() {
    let runtime = running("cycles");
    let recorder = runtime.recorder("cycles").capacity(64).counter("events", |c| c).create().unwrap();
    // Stopping a recorder that has seen nothing is a no-op.
    recorder.start().wait(PATIENCE).unwrap();
    let (known, over) = (Known::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    (0..BURST).for_each(|number| known.offer(&recorder, number));
                    thread::yield_now();
                }
            });
        }
        let _over = Over(&over);
        for _ in 0..scaled(10_000) {
            recorder.stop().wait(PATIENCE).unwrap();
            let stopped = recorder.snapshot();
            assert_eq!((stopped.state(), stopped.accounts().pending()), (RecorderState::Stopped, 0));
            assert_eq!(stopped.sequence(), stopped.accounts().processed);
            thread::yield_now();
            assert_eq!(recorder.accounts().accepted, stopped.accounts().accepted);
            recorder.start().wait(PATIENCE).unwrap();
        }
    });
    recorder.flush_blocking(PATIENCE).unwrap();
    known.check(&recorder);
    assert_eq!(recorder.snapshot().counter("events", &[]).unwrap_or(0), recorder.accounts().processed);
}

#[test]
fn a_stop_against_a_start_leaves_the_door_as_the_state_says() {
    let runtime = running("toggle");
    let recorder = runtime.recorder("toggle").counter("events", |c| c).create().unwrap();
    let (round, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (rounds, mut wrong) = (scaled(10_000), Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            for now in 1..=rounds {
                while round.load(Ordering::Acquire) < now {
                    thread::yield_now();
                }
                let _ = recorder.start().wait(PATIENCE);
                done.store(now, Ordering::Release);
            }
        });
        for now in 1..=rounds {
            let _ = recorder.stop().wait(PATIENCE);
            round.store(now, Ordering::Release);
            (0..now * 37 % 4_001).for_each(|_| std::hint::spin_loop());
            let _ = recorder.stop().wait(PATIENCE);
            while done.load(Ordering::Acquire) < now {
                thread::yield_now();
            }
            let open = recorder.try_register_event(Number(0)).is_ok();
            let expected = if open { RecorderState::Running } else { RecorderState::Stopped };
            if recorder.state() != expected {
                wrong.push((now, open, recorder.state()));
            }
        }
    });
    assert_eq!(wrong, []);
}

#[test]
fn a_start_against_a_shutdown_opens_no_door_that_nobody_drains() {
    for _ in 0..scaled(500) {
        let runtime = running("reopen");
        let recorder = runtime.recorder("reopen").create().unwrap();
        let over = AtomicBool::new(false);
        let report = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    recorder.register_event(Number(0));
                    // Refused once the shutdown has begun; until then it changes nothing.
                    let _ = recorder.start().wait(PATIENCE);
                }
            });
            let _over = Over(&over);
            runtime.shutdown(PATIENCE).unwrap()
        });
        assert_eq!(report.accounts().pending(), 0, "{report:?}");
        assert!(report.is_complete(), "{report:?}");
        let accounts = recorder.accounts();
        assert_eq!((accounts.pending(), recorder.state()), (0, RecorderState::Stopped), "{accounts:?}");
        assert_eq!(accounts.accepted, report.accounts().accepted);
        assert!(matches!(recorder.try_register_event(Number(1)), Err(RegisterError::Closed(_))));
        assert_eq!(recorder.start().wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    }
}

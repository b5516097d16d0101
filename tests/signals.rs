//! A shutdown at SIGTERM or Ctrl-C, each in a child of its own, because signals are the process's.
#![cfg(all(feature = "signals", unix, not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "support/forked.rs"]
mod forked;
mod support;

use crate::forked::Child;
use crate::forked::in_child;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RegisterError;
use mvx_metrics::RuntimeState;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Far longer than the test waits for anything.
const FOR_EVER: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(50);

/// One byte at a time from the child to its test.
fn line() -> (UnixStream, UnixStream) {
    let (parents, childs) = UnixStream::pair().unwrap();
    parents.set_read_timeout(Some(PATIENCE)).unwrap();
    (parents, childs)
}

#[track_caller]
fn hear(mut line: &UnixStream) {
    let heard = line.read_exact(&mut [0]);
    assert!(heard.is_ok(), "the child says nothing: {heard:?}");
}

#[test]
fn the_first_signal_shuts_the_runtime_down_and_nothing_accepted_is_lost() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (parents, mut childs) = line();
        let child = Child::new(|check| {
            let runtime = running("polite");
            let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
            let ended = runtime.shutdown_on_signals(PATIENCE);
            (0..1_000).for_each(|n| recorder.register_event(Number(n)));
            check.that(ended.result().is_none() && childs.write_all(&[1]).is_ok());
            let report = ended.wait(PATIENCE);
            check.that(
                report.is_ok_and(|report| report.is_complete() && report.accounts().processed == 1_000),
            );
            check.that(recorder.snapshot().counter("events", &[]) == Some(1_000));
            check.that(runtime.state() == RuntimeState::Closed);
        });
        hear(&parents);
        child.signal(signal);
        let status = child.end();
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{signal}: {status:#x}");
    }
}

/// At any moment of a busy program, fifty times in fifty.
#[test]
fn a_signal_amid_the_work_ends_with_every_event_accounted_for() {
    for round in 0..50_u64 {
        let (parents, mut childs) = line();
        let child = Child::new(|check| {
            let runtime = running("busy");
            let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
            let ended = runtime.shutdown_on_signals(PATIENCE);
            // Until the door is shut; the signal comes after some thousand events more or less.
            let offered: u64 = std::thread::scope(|scope| {
                let produce = || {
                    (0..).find(|n| {
                        matches!(recorder.try_register_event(Number(*n)), Err(RegisterError::Closed(_)))
                    })
                };
                let producers = [scope.spawn(produce), scope.spawn(produce)];
                until("some events are processed", || recorder.accounts().processed > round * 50);
                check.that(childs.write_all(&[1]).is_ok());
                producers.into_iter().map(|producer| producer.join().unwrap().unwrap() + 1).sum()
            });
            let report = ended.wait(PATIENCE);
            check.that(report.is_ok_and(|report| report.is_complete()));
            let accounts = recorder.accounts();
            check.that(accounts.offered() == offered && accounts.rejected.closed == 2);
            check.that(accounts.processed == accounts.accepted && accounts.pending() == 0);
            check.that(recorder.snapshot().counter("events", &[]) == Some(accounts.processed));
        });
        hear(&parents);
        child.signal(if round % 2 == 0 { libc::SIGTERM } else { libc::SIGINT });
        let status = child.end();
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{round}: {status:#x}");
    }
}

/// What tells whoever collects from outside that counters began anew, and did not fall.
#[test]
fn a_process_that_was_killed_and_started_again_has_a_later_epoch_and_later_starts() {
    let mut latest = 0;
    for _ in 0..25 {
        let (mut parents, mut childs) = line();
        let child = Child::new(|check| {
            let runtime = running("killed");
            let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
            recorder.register_event(Number(1));
            recorder.flush_blocking(PATIENCE).unwrap();
            let snapshot = recorder.snapshot();
            let series = snapshot.metric("events").and_then(|metric| metric.family().find(&[]));
            check.that(snapshot.epoch().incarnation == 1);
            for time in [Some(snapshot.epoch().process_start), series.map(|series| series.started())] {
                let nanos = time.map_or(0, |time| time.unix_nanos());
                check.that(childs.write_all(&nanos.to_le_bytes()).is_ok());
            }
            std::thread::park();
            check.that(false);
        });
        for _ in 0..2 {
            let mut nanos = [0; 8];
            parents.read_exact(&mut nanos).unwrap();
            let time = u64::from_le_bytes(nanos);
            assert!(time > latest, "{time} after {latest}");
            latest = time;
        }
        child.signal(libc::SIGKILL);
        let status = child.end();
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL, "{status:#x}");
    }
}

/// A runtime whose worker is held by a metric for ever.
fn held() -> (MetricsRuntime, Gate) {
    let (runtime, gate) = (running("held"), Gate::default());
    let recorder = runtime.recorder("stuck").metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    (runtime, gate)
}

#[test]
fn a_held_worker_delays_neither_the_signal_nor_the_deadline() {
    let (parents, mut childs) = line();
    let child = Child::new(|check| {
        let (runtime, _gate) = held();
        let ended = runtime.shutdown_on_signals(SOON);
        check.that(childs.write_all(&[1]).is_ok());
        let report = ended.wait(PATIENCE);
        check.that(
            report.is_ok_and(|report| report.held_by().is_some() && report.accounts().dropped.deadline == 1),
        );
    });
    hear(&parents);
    child.signal(libc::SIGTERM);
    let status = child.end();
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
}

#[test]
fn a_second_signal_ends_the_process_as_usual() {
    for [first, second] in [[libc::SIGTERM, libc::SIGTERM], [libc::SIGTERM, libc::SIGINT], [libc::SIGINT; 2]]
    {
        let (parents, mut childs) = line();
        let child = Child::new(|check| {
            let (runtime, _gate) = held();
            let ended = runtime.shutdown_on_signals(FOR_EVER);
            check.that(childs.write_all(&[1]).is_ok());
            until("the first signal", || runtime.state() == RuntimeState::Stopping);
            check.that(childs.write_all(&[2]).is_ok());
            check.that(ended.wait(FOR_EVER).is_ok());
        });
        hear(&parents);
        child.signal(first);
        hear(&parents);
        child.signal(second);
        let status = child.end();
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == second, "{status:#x}");
    }
}

#[test]
fn a_shutdown_without_a_signal_ends_the_listening_with_its_report() {
    in_child(|check| {
        for dropped in [false, true] {
            let runtime = running("quiet");
            let recorder = runtime.recorder::<Number>("one").create().unwrap();
            recorder.register_event(Number(1));
            let ended = runtime.shutdown_on_signals(PATIENCE);
            let again = runtime.shutdown_on_signals(SOON);
            check.that(ended.result().is_none() && again.result().is_none());
            let after = if dropped {
                drop(runtime);
                None
            } else {
                check.that(runtime.shutdown(PATIENCE).is_ok());
                Some(runtime.shutdown_on_signals(PATIENCE))
            };
            for operation in [Some(ended), Some(again), after].into_iter().flatten() {
                let report = operation.wait(PATIENCE);
                check.that(
                    report.is_ok_and(|report| report.is_complete() && report.accounts().processed == 1),
                );
            }
            #[cfg(target_os = "linux")]
            until("its thread ends", || threads_of("quiet.") == 0);
        }
    });
}

/// Threads of this process whose names begin so.
#[cfg(target_os = "linux")]
fn threads_of(namespace: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with(namespace)).count()
}

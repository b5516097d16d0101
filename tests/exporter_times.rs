//! Exporters keep their times, and a drop and a shutdown keep theirs, whatever other exporters do (R13, R14, R26).
//!
//! Tests here look at the clock and at the process's threads, so they run one after another, apart from the others.
#![cfg(all(feature = "export", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::ExporterStatus;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::export::ExportError;
use mvx_metrics::export::Exporter;
use mvx_metrics::export::Kept;
use mvx_metrics::export::MemoryExporter;
use mvx_metrics::export::Schedule;
use std::future::pending;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

/// The test that runs has the process for itself.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an exporter does, as a closure over the number of its call.
struct Does<F>(u64, F);

impl<F> Exporter for Does<F>
where
    F: FnMut(u64, &RuntimeSnapshot) -> Result<(), ExportError> + Send + 'static,
{
    async fn export(&mut self, snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
        self.0 += 1;
        (self.1)(self.0, snapshot)
    }
}

fn does(
    what: impl FnMut(u64, &RuntimeSnapshot) -> Result<(), ExportError> + Send + 'static,
) -> impl Exporter {
    Does(0, what)
}

/// Never comes to an end, and gives its thread back each time.
struct Hangs;

impl Exporter for Hangs {
    async fn export(&mut self, _snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
        pending().await
    }
}

/// Never comes back from its call, until the gate is open.
fn spins(gate: &Gate) -> impl Exporter + use<> {
    let gate = gate.clone();
    does(move |_, _| {
        gate.pass();
        Ok(())
    })
}

fn status(runtime: &MetricsRuntime, name: &str) -> ExporterStatus {
    runtime.exporters().into_iter().find(|exporter| exporter.name == name).unwrap()
}

fn counting(runtime: &MetricsRuntime) -> Recorder<Number> {
    runtime.recorder("counting").counter("events", |c| c).create().unwrap()
}

fn events(kept: &Kept) -> Option<u64> {
    let latest = kept.latest()?;
    let recorder = latest.recorders().next()?;
    recorder.counter("events", &[])
}

#[test]
fn exporters_that_hang_spin_or_panic_do_not_move_the_times_of_another() {
    let _alone = alone();
    const INTERVAL: Duration = Duration::from_millis(200);
    let (runtime, gate) = (running("apart"), Gate::default());
    let every = Schedule::every(INTERVAL).first_after(Duration::ZERO).timeout(INTERVAL);
    runtime.add_exporter("hangs", every.clone(), Hangs).unwrap();
    runtime.add_exporter("spins", every.clone(), spins(&gate)).unwrap();
    runtime.add_exporter("panics", every.clone(), does(|_, _| panic!("out of order"))).unwrap();
    gate.until_reached();
    until("the panic is seen", || status(&runtime, "panics").is_quarantined);
    let (sender, times) = mpsc::channel();
    let keeps = does(move |_, _| {
        let _ = sender.send(Instant::now());
        Ok(())
    });
    runtime.add_exporter("keeps", every, keeps).unwrap();
    let times: Vec<_> = (0..20).map(|_| times.recv_timeout(PATIENCE).unwrap()).collect();
    // Against the grid that the first one set, so that no error adds up; the machine's own moments are spared, as many as would be by chance.
    let mut late: Vec<_> =
        (0..20_u32).map(|n| (times[n as usize] - times[0]).abs_diff(INTERVAL * n)).collect();
    late.sort_unstable();
    assert!(late[17] <= INTERVAL / 10, "{late:?}");
    assert!(status(&runtime, "spins").running_since.is_some());
    until("the hanging one has missed times", || status(&runtime, "hangs").failed > 0);
    gate.open();
    drop(runtime.shutdown(Duration::from_millis(300)));
}

#[test]
fn a_shutdown_against_exporters_that_hang_or_spin_ends_in_time_and_names_them() {
    let _alone = alone();
    let (before, mut late) = (std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count), Vec::new());
    let deadline = Duration::from_millis(200);
    for _ in 0..20 {
        let (runtime, gate) = (running("held"), Gate::default());
        let every = Schedule::every(Duration::from_millis(1)).first_after(Duration::ZERO);
        runtime.add_exporter("hangs", every.clone(), Hangs).unwrap();
        runtime.add_exporter("spins", every, spins(&gate)).unwrap();
        let (memory, kept) = MemoryExporter::new(1);
        runtime.add_exporter("memory", Schedule::on_demand(), memory).unwrap();
        let recorder = counting(&runtime);
        gate.until_reached();
        until("the hanging one is called", || status(&runtime, "hangs").running_since.is_some());
        recorder.register_event(Number(1));
        let began = Instant::now();
        let report = runtime.shutdown(deadline).unwrap();
        late.push(began.elapsed().saturating_sub(deadline));
        let told: Vec<_> = report
            .exporters()
            .iter()
            .map(|one| (one.name.as_str(), one.error.as_ref().map(|error| error.kind())))
            .collect();
        let (failed, timeout) = (Some(ErrorKind::ExportFailed), Some(ErrorKind::Timeout));
        assert_eq!(told, [("hangs", failed), ("spins", timeout), ("memory", None)]);
        assert!(report.worker_ended() && !report.is_complete());
        assert_eq!(events(&kept), Some(1));
        gate.open();
    }
    late.sort_unstable();
    // Twenty of them; a neighbour of this machine may take one.
    assert!(late[18] <= Duration::from_millis(100), "{late:?}");
    until("their threads end", || {
        std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count) <= before + 2
    });
}

#[test]
fn dropping_the_last_handle_never_waits_for_an_exporter() {
    let _alone = alone();
    let mut times: Vec<_> = (0..100)
        .map(|_| {
            let (runtime, gate) = (running("drop"), Gate::default());
            let every = Schedule::every(Duration::from_millis(1)).first_after(Duration::ZERO);
            runtime.add_exporter("spins", every, spins(&gate)).unwrap();
            gate.until_reached();
            let began = Instant::now();
            drop(runtime);
            let took = began.elapsed();
            gate.open();
            took
        })
        .collect();
    times.sort_unstable();
    assert!(times[98] <= Duration::from_millis(10), "{times:?}");
}

//! DESIGN 7: exporters have threads of their own, try again as they are told, are isolated from everybody else, and deliver the last state at the end.
#![cfg(all(feature = "export", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

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
use mvx_metrics::export::NoopExporter;
use mvx_metrics::export::Schedule;
use std::future::pending;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

const SOON: Duration = Duration::from_millis(20);

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
fn a_forced_flush_delivers_everything_accepted_before_it_to_every_exporter() {
    let runtime = running("forced");
    let (first, at_first) = MemoryExporter::new(1);
    let (second, at_second) = MemoryExporter::new(1);
    runtime.add_exporter("first", Schedule::on_demand(), first).unwrap();
    runtime.add_exporter("second", Schedule::every(Duration::from_secs(3_600)), second).unwrap();
    let recorder = counting(&runtime);
    for round in 1..=100 {
        recorder.register_event(Number(round));
        runtime.force_flush(PATIENCE).unwrap();
        assert_eq!((events(&at_first), events(&at_second)), (Some(round), Some(round)));
    }
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn a_shutdown_delivers_the_last_state_and_calls_flush_and_shutdown_once_each() {
    struct Notes(Arc<Mutex<Vec<String>>>);
    impl Exporter for Notes {
        async fn export(&mut self, snapshot: &RuntimeSnapshot, _: Duration) -> Result<(), ExportError> {
            let seen = snapshot.recorders().next().and_then(|recorder| recorder.counter("events", &[]));
            self.0.lock().unwrap().push(format!("export {seen:?}"));
            Ok(())
        }
        async fn flush(&mut self, _: Duration) -> Result<(), ExportError> {
            self.0.lock().unwrap().push("flush".into());
            Ok(())
        }
        async fn shutdown(&mut self, within: Duration) -> Result<(), ExportError> {
            assert!(within <= PATIENCE);
            self.0.lock().unwrap().push("shutdown".into());
            Ok(())
        }
    }
    impl Drop for Notes {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("dropped".into());
        }
    }
    let (runtime, notes) = (running("last"), Arc::new(Mutex::new(Vec::new())));
    runtime.add_exporter("notes", Schedule::on_demand(), Notes(Arc::clone(&notes))).unwrap();
    let recorder = counting(&runtime);
    (0..3).for_each(|n| recorder.register_event(Number(n)));
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert!(report.is_complete(), "{report:?}");
    let (name, delivered) = (report.exporters()[0].name.as_str(), report.exporters()[0].delivered);
    assert_eq!((name, delivered), ("notes", 1));
    assert_eq!(*notes.lock().unwrap(), ["export Some(3)", "flush", "shutdown", "dropped"]);
    // Every later caller gets the same, and the exporter is not called again.
    assert_eq!(runtime.shutdown(PATIENCE).unwrap().exporters()[0].delivered, 1);
    assert_eq!(notes.lock().unwrap().len(), 4);
}

#[test]
fn a_runtime_that_was_never_started_and_one_whose_last_handle_is_dropped_let_their_exporters_end() {
    let runtime = MetricsRuntime::builder("unstarted").build().unwrap();
    let (exporter, kept) = MemoryExporter::new(1);
    runtime.add_exporter("memory", Schedule::on_demand(), exporter).unwrap();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert!(kept.latest().is_some());

    for starts in [true, false] {
        let runtime = MetricsRuntime::builder("dropped").build().unwrap();
        if starts {
            runtime.start().unwrap();
        }
        let (exporter, kept) = MemoryExporter::new(1);
        runtime.add_exporter("memory", Schedule::on_demand(), exporter).unwrap();
        counting(&runtime);
        drop(runtime);
        until("the last state is delivered", || kept.latest().is_some());
    }
}

#[test]
fn what_is_worth_it_is_tried_again_with_a_newer_state_and_the_rest_is_not() {
    let runtime = running("retries");
    let recorder = counting(&runtime);
    let (sender, seen) = mpsc::channel();
    let stating = recorder.clone();
    let fails_twice = does(move |call, snapshot| {
        let count = snapshot.recorders().next().and_then(|recorder| recorder.counter("events", &[]));
        sender.send(count.unwrap_or_default()).unwrap();
        if call < 3 {
            stating.register_event(Number(call));
            until("the event is visible", || stating.snapshot().counter("events", &[]) == Some(call));
            return Err(ExportError::retryable("busy"));
        }
        Ok(())
    });
    let schedule = Schedule::on_demand().retries(2).retry_pause(Duration::from_millis(1));
    runtime.add_exporter("fails_twice", schedule.clone(), fails_twice).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    let well = status(&runtime, "fails_twice");
    assert_eq!((well.attempts, well.delivered, well.failed), (3, 1, 0));
    runtime.remove_exporter("fails_twice", PATIENCE).unwrap();

    let refused = does(|_, _| Err(ExportError::fatal("refused")));
    runtime.add_exporter("refused", schedule.clone(), refused).unwrap();
    let error = runtime.force_flush(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExportFailed);
    assert_eq!(error.to_string(), "exporter refused could not deliver: refused");
    assert_eq!(status(&runtime, "refused").attempts, 1);

    let busy = does(|_, _| Err(ExportError::retryable("busy")));
    runtime.add_exporter("busy", schedule, busy).unwrap();
    assert!(runtime.force_flush(PATIENCE).is_err());
    let gave_up = status(&runtime, "busy");
    assert_eq!((gave_up.attempts, gave_up.failed, gave_up.consecutive_failures), (3, 1, 1));
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert!(!report.is_complete());
    let kinds: Vec<_> = report.exporters().iter().map(|one| one.error.as_ref().map(|e| e.kind())).collect();
    assert_eq!(kinds, [Some(ErrorKind::ExportFailed); 2]);
}

#[test]
fn a_pause_that_the_other_side_asks_for_is_kept_and_no_attempt_begins_after_the_deadline() {
    let runtime = running("pauses");
    let (sender, calls) = mpsc::channel();
    let asks = does(move |call, _| {
        sender.send(Instant::now()).unwrap();
        match call {
            1 => Err(ExportError::retryable("busy").after(Duration::from_millis(150))),
            2 => Err(ExportError::retryable("busy").after(Duration::from_secs(20))),
            _ => Ok(()),
        }
    });
    runtime.add_exporter("asks", Schedule::on_demand(), asks).unwrap();
    let began = Instant::now();
    let error = runtime.force_flush(Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExportFailed, "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
    let calls: Vec<_> = calls.try_iter().collect();
    assert_eq!(calls.len(), 2);
    assert!(calls[1] - calls[0] >= Duration::from_millis(150));
}

#[test]
fn an_exporter_that_panics_is_quarantined_told_once_and_called_again_when_it_is_reinstated() {
    let (sender, incidents) = mpsc::channel();
    let builder = MetricsRuntime::builder("panics");
    let runtime =
        builder.on_error(move |incident| drop(sender.send(incident.code().to_owned()))).build().unwrap();
    runtime.start().unwrap();
    let panics = does(|call, _| if call == 1 { panic!("out of order") } else { Ok(()) });
    runtime.add_exporter("panics", Schedule::on_demand(), panics).unwrap();
    let (memory, kept) = MemoryExporter::new(1);
    runtime.add_exporter("memory", Schedule::on_demand(), memory).unwrap();
    let error = runtime.force_flush(PATIENCE).unwrap_err();
    assert!(error.to_string().contains("exporter panics panicked and is quarantined"), "{error}");
    assert!(kept.latest().is_some());
    for _ in 0..3 {
        assert_eq!(runtime.force_flush(PATIENCE).unwrap_err().kind(), ErrorKind::ExportFailed);
    }
    let quarantined = status(&runtime, "panics");
    assert_eq!((quarantined.is_quarantined, quarantined.attempts), (true, 1));
    assert_eq!(incidents.try_iter().collect::<Vec<_>>(), ["exporter_panicked"]);
    assert!(runtime.reinstate_exporter("panics").unwrap());
    runtime.force_flush(PATIENCE).unwrap();
    let again = status(&runtime, "panics");
    assert_eq!((again.is_quarantined, again.delivered), (false, 1));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn an_exporter_that_panics_at_every_turn_ends_all_the_same() {
    struct Bad;
    impl Exporter for Bad {
        async fn export(&mut self, _: &RuntimeSnapshot, _: Duration) -> Result<(), ExportError> {
            Ok(())
        }
        async fn flush(&mut self, _: Duration) -> Result<(), ExportError> {
            Ok(())
        }
        async fn shutdown(&mut self, _: Duration) -> Result<(), ExportError> {
            panic!("at the end")
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("when dropped");
        }
    }
    let runtime = running("bad");
    runtime.add_exporter("bad", Schedule::on_demand(), Bad).unwrap();
    assert_eq!(
        runtime.add_exporter("bad", Schedule::on_demand(), Bad).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    let report = runtime.shutdown(PATIENCE).unwrap();
    let error = report.exporters()[0].error.as_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::ExportFailed);
}

#[test]
fn a_failure_is_told_when_it_begins_and_when_it_ends() {
    let (sender, incidents) = mpsc::channel();
    let builder = MetricsRuntime::builder("told");
    let runtime = builder.on_error(move |incident| drop(sender.send(incident.to_string()))).build().unwrap();
    runtime.start().unwrap();
    let fails = does(|call, _| if call <= 3 { Err(ExportError::fatal("no route")) } else { Ok(()) });
    runtime.add_exporter("fails", Schedule::on_demand(), fails).unwrap();
    for failures in 1..=3 {
        assert!(runtime.force_flush(PATIENCE).is_err());
        assert_eq!(status(&runtime, "fails").consecutive_failures, failures);
    }
    runtime.force_flush(PATIENCE).unwrap();
    let well = status(&runtime, "fails");
    assert_eq!((well.failed, well.consecutive_failures, well.delivered), (3, 0, 1));
    assert!(well.last_error.is_some() && well.last_delivery.is_some() && well.running_since.is_none());
    let told: Vec<_> = incidents.try_iter().collect();
    assert_eq!(told, ["runtime told: exporter fails is failing: exporter fails could not deliver: no route"]);
}

#[test]
fn an_attempt_is_cut_at_its_time_out_and_its_future_dropped() {
    struct Guarded(Arc<Mutex<u32>>);
    impl Exporter for Guarded {
        async fn export(&mut self, _: &RuntimeSnapshot, _: Duration) -> Result<(), ExportError> {
            struct Counts(Arc<Mutex<u32>>);
            impl Drop for Counts {
                fn drop(&mut self) {
                    *self.0.lock().unwrap() += 1;
                }
            }
            let _counts = Counts(Arc::clone(&self.0));
            pending().await
        }
    }
    let (runtime, dropped) = (running("cut"), Arc::new(Mutex::new(0)));
    let schedule = Schedule::on_demand().timeout(SOON).retries(1).retry_pause(Duration::ZERO);
    runtime.add_exporter("hangs", schedule, Guarded(Arc::clone(&dropped))).unwrap();
    let error = runtime.force_flush(PATIENCE).unwrap_err();
    assert!(error.to_string().contains("not over after 20ms"), "{error}");
    assert_eq!(*dropped.lock().unwrap(), 2);
}

#[test]
fn exporters_come_and_go_while_the_runtime_works() {
    let runtime = running("come_and_go");
    let recorder = counting(&runtime);
    for round in 1..=50 {
        let (memory, kept) = MemoryExporter::new(3);
        runtime.add_exporter(" memory ", Schedule::every(Duration::from_millis(1)), memory).unwrap();
        recorder.register_event(Number(round));
        recorder.flush_blocking(PATIENCE).unwrap();
        runtime.remove_exporter("memory", PATIENCE).unwrap();
        assert_eq!(events(&kept), Some(round), "what is there at the removal is delivered");
        assert!(kept.all().len() <= 3);
        assert!(runtime.exporters().is_empty());
    }
    let errors = [
        runtime.remove_exporter("memory", PATIENCE).unwrap_err().kind(),
        runtime.reinstate_exporter("memory").unwrap_err().kind(),
        runtime.add_exporter(" ", Schedule::on_demand(), NoopExporter).unwrap_err().kind(),
        runtime.add_exporter("never", Schedule::every(Duration::ZERO), NoopExporter).unwrap_err().kind(),
    ];
    use ErrorKind::InvalidId;
    use ErrorKind::InvalidLimit;
    use ErrorKind::NotFound;
    assert_eq!(errors, [NotFound, NotFound, InvalidId, InvalidLimit]);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    let late = runtime.add_exporter("late", Schedule::on_demand(), NoopExporter).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::InvalidState);
}

#[test]
fn a_removal_and_a_flush_do_not_wait_longer_than_said_for_one_that_spins() {
    let (runtime, gate) = (running("stuck"), Gate::default());
    let every = Schedule::every(Duration::from_millis(1)).first_after(Duration::ZERO);
    runtime.add_exporter("spins", every, spins(&gate)).unwrap();
    gate.until_reached();
    for _ in 0..3 {
        assert_eq!(runtime.force_flush(SOON).unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert_eq!(runtime.remove_exporter("spins", SOON).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(runtime.exporters().is_empty());
    runtime.add_exporter("spins", Schedule::on_demand(), NoopExporter).unwrap();
    gate.open();
    runtime.force_flush(PATIENCE).unwrap();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn times_that_pass_while_an_exporter_is_busy_are_counted_and_the_grid_stays() {
    const INTERVAL: Duration = Duration::from_millis(40);
    let runtime = running("missed");
    let (sender, times) = mpsc::channel();
    let slow_once = does(move |call, _| {
        sender.send(Instant::now()).unwrap();
        if call == 1 {
            let end = Instant::now() + INTERVAL * 7 / 2;
            until("three times have passed", || Instant::now() >= end);
        }
        Ok(())
    });
    runtime.add_exporter("slow", Schedule::every(INTERVAL).first_after(Duration::ZERO), slow_once).unwrap();
    let times: Vec<_> = (0..2).map(|_| times.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(times[1] - times[0] >= INTERVAL * 7 / 2);
    assert!(status(&runtime, "slow").missed >= 3);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn from_an_exporter_every_call_that_would_wait_for_it_is_refused() {
    let runtime = running("within");
    let (sender, kinds) = mpsc::channel();
    let asking = runtime.clone();
    let asks = does(move |_, _| {
        let errors = [
            asking.force_flush(SOON).map(drop),
            asking.flush_blocking(SOON),
            asking.shutdown(SOON).map(drop),
            asking.remove_exporter("asks", SOON),
        ];
        let kinds: Vec<_> = errors.into_iter().map(|error| error.unwrap_err().kind()).collect();
        sender.send(kinds).unwrap();
        Ok(())
    });
    runtime.add_exporter("asks", Schedule::on_demand(), asks).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    assert_eq!(kinds.try_recv().unwrap(), [ErrorKind::WouldDeadlock; 4]);
    // It holds a handle of the runtime that it exports: only a removal or a shutdown breaks that ring.
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn an_exporter_may_use_the_time_and_the_tasks_of_its_own_loop() {
    struct Loops;
    impl Exporter for Loops {
        async fn export(&mut self, _: &RuntimeSnapshot, within: Duration) -> Result<(), ExportError> {
            assert!(within <= Duration::from_secs(10));
            let timed = || tokio::time::timeout(Duration::from_millis(1), pending::<()>());
            let beside = tokio::spawn(async move { timed().await.is_err() }).await;
            match beside {
                Ok(true) => Ok(()),
                other => Err(ExportError::fatal(format!("{other:?}"))),
            }
        }
    }
    let runtime = running("loops");
    runtime.add_exporter("loops", Schedule::on_demand(), Loops).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn what_an_exporter_leaves_on_a_blocking_thread_holds_up_nobody() {
    struct Leaves(Gate);
    impl Exporter for Leaves {
        async fn export(&mut self, _: &RuntimeSnapshot, _: Duration) -> Result<(), ExportError> {
            let gate = self.0.clone();
            drop(tokio::task::spawn_blocking(move || gate.pass()));
            Ok(())
        }
    }
    let (runtime, gate) = (running("leaves"), Gate::default());
    runtime.add_exporter("leaves", Schedule::on_demand(), Leaves(gate.clone())).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    gate.until_reached();
    let began = Instant::now();
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert!(began.elapsed() < PATIENCE / 2);
    gate.open();
}

#[test]
fn a_runtime_takes_so_many_exporters_and_no_more() {
    let runtime = MetricsRuntime::builder("many").build().unwrap();
    let most = mvx_metrics::limits::MAX_EXPORTERS;
    for n in 0..most {
        runtime.add_exporter(&n.to_string(), Schedule::on_demand(), NoopExporter).unwrap();
    }
    let error = runtime.add_exporter("one more", Schedule::on_demand(), NoopExporter).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert!(report.is_complete() && report.exporters().len() == most);
}

#[test]
fn what_became_of_deliveries_is_among_the_runtimes_own_metrics() {
    let runtime = running("vitals");
    let names = |runtime: &MetricsRuntime| {
        let snapshot = runtime.collect();
        let families = snapshot.vitals();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.descriptor().name().as_str() == name)?;
            let series = family.parts()[0].family().series();
            Some(series.filter_map(|one| one.value().counter()).collect::<Vec<_>>())
        };
        let last =
            families.iter().any(|family| family.descriptor().name().as_str() == "mvx.exports.last_delivery");
        (value("mvx.exports.delivered"), value("mvx.exports.failed"), value("mvx.exports.missed"), last)
    };
    assert_eq!(names(&runtime), (None, None, None, false), "nothing is said of exporters that are not there");
    runtime.add_exporter("works", Schedule::on_demand(), NoopExporter).unwrap();
    let fails = does(|_, _| Err(ExportError::fatal("no")));
    runtime.add_exporter("fails", Schedule::on_demand(), fails).unwrap();
    for _ in 0..2 {
        assert!(runtime.force_flush(PATIENCE).is_err());
    }
    assert_eq!(names(&runtime), (Some(vec![2, 0]), Some(vec![0, 2]), Some(vec![0, 0]), true));
}

#[cfg(feature = "json")]
#[test]
fn a_stream_that_fails_within_a_line_is_written_to_again_on_a_line_of_its_own() {
    /// Takes so many bytes, fails once, and goes on.
    struct Full(usize, Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                self.0 = usize::MAX;
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.0);
            self.1.lock().unwrap().extend(&bytes[..taken]);
            self.0 -= taken;
            Ok(taken)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (runtime, written) = (running("stream"), Arc::default());
    let stream = mvx_metrics::export::json::Encoder::new().into_exporter(Full(100, Arc::clone(&written)));
    let schedule = Schedule::on_demand().retries(1).retry_pause(Duration::ZERO);
    runtime.add_exporter("stream", schedule, stream).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    assert_eq!(status(&runtime, "stream").attempts, 2);
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let mut lines = text.lines().map(serde_json::from_str::<serde_json::Value>);
    assert!(lines.next().unwrap().is_err(), "it ends within the first line");
    assert!(lines.all(|line| line.is_ok()), "{text}");
}

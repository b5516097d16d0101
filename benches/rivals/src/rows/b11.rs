//! B11: silence.

use crate::Failure;
use crate::event;
use crate::event::Saved;
use crate::rounds::Paired;
use crate::rows::Reading;
use crate::rows::Row;
use crate::threads::Threads;
use mvx_metrics::MetricsRuntime;
use std::thread;
use std::time::Duration;

/// Recorders that have nothing to do.
const RECORDERS: u64 = 1_000;

/// How long after the last event the count begins, and how long it takes.
const AFTER: Duration = Duration::from_secs(1);
const FOR: Duration = Duration::from_secs(10);

/// One is enough to disprove a zero.
const COUNTS: usize = 2;

pub(super) fn measure(_rounds: usize) -> Result<Row, Failure> {
    let ((runtime, recorders), threads) = Threads::started_by(|| {
        let runtime = MetricsRuntime::builder("silence").build()?;
        runtime.start()?;
        let recorder = |id| {
            runtime
                .recorder::<Saved>(&format!("silent-{id}"))
                .counter(event::COUNTER, event::define_counter)
                .histogram(event::HISTOGRAM, event::define_histogram)
                .create()
        };
        let recorders: Vec<_> = (0..RECORDERS).map(recorder).collect::<Result<_, _>>()?;
        Ok((runtime, recorders))
    })?;
    let (mut figures, mut cpu) = (Paired::default(), Vec::new());
    for _ in 0..COUNTS {
        recorders.iter().for_each(|recorder| recorder.register_event(Saved::numbered(1)));
        thread::sleep(AFTER);
        let (waits, spent) = (threads.waits()?, threads.cpu()?);
        thread::sleep(FOR);
        figures.ours.push((threads.waits()? - waits) as f64);
        cpu.push((threads.cpu()? - spent) / 1_000);
    }
    let report = runtime.shutdown(Duration::from_secs(10))?;
    if !report.is_complete() || report.accounts().processed != RECORDERS * COUNTS as u64 {
        return Err(format!("the accounts do not add up: {:?}", report.accounts()).into());
    }
    Ok(Row {
        id: "B11",
        what: "silence of 1,000 recorders: wakes in 10 s, one second after the last event",
        unit: "wakes",
        figures,
        reading: Reading::OursAlone,
        bar: 0.0,
        threads: 1,
        unchecked: None,
        remarks: vec![format!("the worker's CPU in these 10 s, in µs: {cpu:?}")],
    })
}

//! B15: what a recorder takes of the heap, never used and some time after its last event.

use crate::Failure;
use crate::allocations;
use crate::event;
use crate::event::Saved;
use crate::rounds::Paired;
use crate::rows::Reading;
use crate::rows::Row;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use std::thread;
use std::time::Duration;

/// So many that what they share is nothing.
const RECORDERS: u64 = 10_000;

/// How long after the last event is looked.
const AFTER: Duration = Duration::from_secs(2);

/// It is the same each time.
const COUNTS: usize = 2;

pub(super) fn unused(_rounds: usize) -> Result<Row, Failure> {
    row("B15", "heap of a recorder with a counter and 14 buckets, never used", 1_024.0, false)
}

pub(super) fn used(_rounds: usize) -> Result<Row, Failure> {
    row("B15b", "the same, 2 s after its last event", 2_048.0, true)
}

fn row(id: &'static str, what: &'static str, bar: f64, used: bool) -> Result<Row, Failure> {
    let mut figures = Paired::default();
    for _ in 0..COUNTS {
        figures.ours.push(bytes(used)? as f64 / RECORDERS as f64);
    }
    Ok(Row {
        id,
        what,
        unit: "bytes",
        figures,
        reading: Reading::OursAlone,
        bar,
        threads: 1,
        unchecked: None,
        remarks: Vec::new(),
    })
}

fn bytes(used: bool) -> Result<i64, Failure> {
    let runtime = MetricsRuntime::builder("memory").build()?;
    runtime.start()?;
    // What the rows before have left is given back.
    thread::sleep(AFTER);
    allocations::watch_bytes();
    let created: Result<Vec<Recorder<Saved>>, _> = (0..RECORDERS)
        .map(|id| {
            runtime
                .recorder::<Saved>(&format!("connection-{id}"))
                .counter(event::COUNTER, event::define_counter)
                .histogram(event::HISTOGRAM, event::define_histogram)
                .create()
        })
        .collect();
    let recorders = created?;
    if used {
        recorders.iter().enumerate().for_each(|(id, one)| one.register_event(Saved::numbered(id as u64)));
        runtime.flush_blocking(Duration::from_secs(60))?;
        thread::sleep(AFTER);
    }
    // The handles are the user's.
    let handles = recorders.capacity() * size_of::<Recorder<Saved>>();
    let bytes = allocations::bytes() - handles as i64;
    allocations::watch_no_more();
    runtime.shutdown(Duration::from_secs(60))?;
    Ok(bytes)
}

//! B16: 100,000 recorders created and removed.

use crate::Failure;
use crate::allocations;
use crate::event;
use crate::event::Saved;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OwnedRecorder;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const RECORDERS: u64 = 100_000;

/// Each takes a hundred thousand of them, so fewer do.
const MOST_ROUNDS: usize = 9;

const PATIENCE: Duration = Duration::from_secs(60);

/// How often is looked whether all are gone.
const LOOK: Duration = Duration::from_micros(100);

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let runtime = MetricsRuntime::builder("come-and-go").build()?;
    runtime.start()?;
    let size = bytes(&runtime)?;
    let map = Mutex::new(HashMap::new());
    let (mut created, mut removed) = (Vec::new(), Vec::new());
    let figures = interleave(
        rounds.min(MOST_ROUNDS),
        || {
            let started = Instant::now();
            let mut all: Vec<OwnedRecorder<Saved>> =
                (0..RECORDERS).map(|id| create(&runtime, id)).collect::<Result<_, _>>()?;
            created.push(started.elapsed().as_secs_f64() * 1e3);
            // The worker comes to the last of them when it has had the others: to look at all the names over and over would be its rival.
            let last = all.pop().ok_or("there is no recorder")?;
            drop(all);
            last.close(PATIENCE)?;
            while !runtime.recorder_ids().is_empty() {
                thread::sleep(LOOK);
            }
            let took = started.elapsed().as_secs_f64() * 1e3;
            removed.push(took - created.last().copied().unwrap_or(0.0));
            Ok(Round::Figure(took))
        },
        || {
            let started = Instant::now();
            for id in 0..RECORDERS {
                let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
                map.insert(name(id), vec![1_u8; size].into_boxed_slice());
            }
            for id in 0..RECORDERS {
                let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
                if map.remove(&name(id)).is_none() {
                    return Err("a box was not there".into());
                }
            }
            Ok(Round::Figure(started.elapsed().as_secs_f64() * 1e3))
        },
    )?;
    if !runtime.shutdown(PATIENCE)?.is_complete() {
        return Err("the runtime did not end".into());
    }
    let middle = crate::stats::median;
    Ok(Row {
        id: "B16",
        what: "100,000 recorders created and removed; equal boxes into a mutexed HashMap and out",
        unit: "ms",
        figures,
        reading: Reading::Ratio,
        bar: 5.0,
        threads: 2,
        unchecked: None,
        remarks: vec![format!(
            "of ours, creating takes {:.0} ms and removing {:.0} ms; a box has {size} bytes, as a recorder does",
            middle(&created),
            middle(&removed)
        )],
    })
}

fn name(id: u64) -> String {
    format!("connection-{id}")
}

fn create(runtime: &MetricsRuntime, id: u64) -> Result<OwnedRecorder<Saved>, Failure> {
    let recorder = runtime
        .recorder::<Saved>(&name(id))
        .counter(event::COUNTER, event::define_counter)
        .histogram(event::HISTOGRAM, event::define_histogram);
    Ok(recorder.create_owned()?)
}

/// What one recorder takes of the heap.
fn bytes(runtime: &MetricsRuntime) -> Result<usize, Failure> {
    const SOME: u64 = 1_000;
    allocations::watch_bytes();
    let some: Vec<_> = (0..SOME).map(|id| create(runtime, id)).collect::<Result<_, _>>()?;
    let bytes = allocations::bytes() / SOME as i64;
    allocations::watch_no_more();
    drop(some);
    while !runtime.recorder_ids().is_empty() {
        thread::sleep(LOOK);
    }
    Ok(bytes.max(1) as usize)
}

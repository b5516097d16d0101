//! B24: what a series takes of the heap, with all that is kept of it: the live value, what is published, and what the next cut is made of.

use crate::Failure;
use crate::allocations;
use crate::event;
use crate::event::Saved;
use crate::rounds::Paired;
use crate::rows::Reading;
use crate::rows::Row;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RecorderBuilder;
use std::thread;
use std::time::Duration;

const SERIES: u64 = 2_000;

/// After this, queues hold nothing.
const AFTER: Duration = Duration::from_secs(2);

const COUNTS: usize = 2;

pub(super) fn counter(_rounds: usize) -> Result<Row, Failure> {
    row("B24", "heap of a labelled counter's series, published", 200.0, |recorder| {
        recorder.counter(event::COUNTER, |c| c.label("number", |e| e.bytes.into()))
    })
}

pub(super) fn histogram(_rounds: usize) -> Result<Row, Failure> {
    row("B24b", "heap of a labelled series of 14 buckets, published", 400.0, |recorder| {
        recorder
            .histogram(event::HISTOGRAM, |h| event::define_histogram(h).label("number", |e| e.bytes.into()))
    })
}

fn row(
    id: &'static str,
    what: &'static str,
    bar: f64,
    define: impl Fn(RecorderBuilder<Saved>) -> RecorderBuilder<Saved>,
) -> Result<Row, Failure> {
    let mut figures = Paired::default();
    for _ in 0..COUNTS {
        let runtime = MetricsRuntime::builder("memory").build()?;
        runtime.start()?;
        // What the rows before have left is given back.
        thread::sleep(AFTER);
        allocations::watch_bytes();
        let recorder = define(runtime.recorder::<Saved>("one")).create()?;
        // Twice, in two cuts, so that each copy there is has every series.
        for _ in 0..2 {
            (0..SERIES).for_each(|number| recorder.register_event(Saved::numbered(number)));
            recorder.flush_blocking(Duration::from_secs(60))?;
        }
        thread::sleep(AFTER);
        figures.ours.push(allocations::bytes() as f64 / SERIES as f64);
        allocations::watch_no_more();
        let seen = recorder.snapshot().metrics().map(|metric| metric.family().len() as u64).sum::<u64>();
        if seen != SERIES {
            return Err(format!("{seen} series instead of {SERIES}").into());
        }
        runtime.shutdown(Duration::from_secs(60))?;
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

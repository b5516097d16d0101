//! B18: what the slowest call in a thousand takes at a full queue.

use crate::Failure;
use crate::bursts;
use crate::event::Saved;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::stats;
use crate::subject::Subject;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use std::hint::black_box;
use std::time::Duration;
use std::time::Instant;

/// Timed calls in one round; it takes a while at a worker this slow.
const CALLS: u64 = 50_000;

/// What the metric takes for an event: more than the producer does, so that the queue stays full.
const SLOW: Duration = Duration::from_micros(1);

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let runtime = MetricsRuntime::builder("full").build()?;
    runtime.start()?;
    let full = runtime.recorder::<Saved>("full").counter("slow", |c| c.value(slow)).create()?;
    let subject = Subject::start()?;
    let (mut refused, mut middle) = (Vec::new(), Vec::new());
    let figures = interleave(
        rounds,
        || {
            let before = full.accounts();
            let calls = calls(&full);
            let after = full.accounts();
            refused.push(
                (after.rejected.total() - before.rejected.total()) as f64
                    / after.offered().saturating_sub(before.offered()) as f64,
            );
            middle.push(stats::median(&calls));
            Ok(Round::Figure(stats::quantile(&calls, 0.999)))
        },
        || Ok(bursts::round(&subject.recorder, 1)),
    )?;
    subject.finish()?;
    let report = runtime.shutdown(Duration::from_secs(60))?;
    let accounts = report.accounts();
    if !report.is_complete() || accounts.processed != accounts.accepted {
        return Err(format!("the accounts do not add up: {accounts:?}").into());
    }
    Ok(Row {
        id: "B18",
        what: "p99.9 of register_event at a full queue that is being drained; B1's burst",
        unit: "ns",
        figures,
        reading: Reading::Ratio,
        bar: 20.0,
        threads: 2,
        unchecked: None,
        remarks: vec![format!(
            "the median call at the full queue: {:.0} ns, the clock's own reading included; refused of the offered: {:.2}",
            stats::median(&middle),
            stats::median(&refused)
        )],
    })
}

fn slow(event: &Saved) -> Option<u64> {
    let started = Instant::now();
    while started.elapsed() < SLOW {
        black_box(event);
    }
    Some(1)
}

/// Fills the queue, then times calls one by one.
fn calls(recorder: &Recorder<Saved>) -> Vec<f64> {
    while recorder.try_register_event(Saved::numbered(0)).is_ok() {}
    let mut nanos = Vec::with_capacity(CALLS as usize);
    for number in 0..CALLS {
        let before = Instant::now();
        recorder.register_event(Saved::numbered(number));
        nanos.push(before.elapsed().as_nanos() as f64);
    }
    nanos
}

//! B20 without the rendering: 100,000 recorders collected and folded into one group.
//!
//! `cargo run --release -p rivals --bin fold`. Each recorder has a counter and a histogram of 14 buckets, and has seen one event.

use mvx_metrics::Fold;
use mvx_metrics::prelude::*;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

const RECORDERS: u64 = 100_000;
const ROUNDS: usize = 15;

struct Saved(u64);

impl MetricEvent for Saved {
    fn event_type(&self) -> &'static str {
        "saved"
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = MetricsRuntime::builder("fold").build()?;
    runtime.start()?;
    for id in 0..RECORDERS {
        let recorder = runtime
            .recorder::<Saved>(&id.to_string())
            .counter("document.saves", |c| c)
            .histogram("document.size", |h| h.unit(Unit::Bytes).value(|e| Some(e.0)))
            .create()?;
        recorder.register_event(Saved(id));
    }
    runtime.flush_blocking(Duration::from_secs(60))?;
    let (mut collects, mut folds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let snapshot = runtime.collect();
        collects.push(start.elapsed());
        let start = Instant::now();
        let families = snapshot.families(Fold::Group);
        folds.push(start.elapsed());
        let counted = families
            .first()
            .and_then(|family| family.parts().first())
            .and_then(|part| part.family().series().next().and_then(|series| series.value().counter()));
        assert_eq!(counted, Some(RECORDERS), "a total is wrong");
    }
    collects.sort();
    folds.sort();
    writeln!(
        std::io::stdout(),
        "{RECORDERS} recorders: collected in {:?}, folded in {:?} (medians of {ROUNDS})",
        collects[ROUNDS / 2],
        folds[ROUNDS / 2]
    )?;
    runtime.shutdown(Duration::from_secs(60))?;
    Ok(())
}

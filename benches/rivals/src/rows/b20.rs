//! B20: 100,000 recorders folded into one group and rendered.

use crate::Failure;
use crate::rounds::Paired;
use crate::rows::Reading;
use crate::rows::Row;
use crate::stats;
use mvx_metrics::Fold;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Unit;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use std::time::Duration;
use std::time::Instant;

const RECORDERS: u64 = 100_000;

/// Each looks at a hundred thousand recorders, so fewer do.
const MOST_ROUNDS: usize = 15;

struct Saved(u64);

impl MetricEvent for Saved {
    fn event_type(&self) -> &'static str {
        "saved"
    }
}

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
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
    let encoder = Encoder::new(Format::Text).fold(Fold::Group).vitals(false);
    let total = format!("document_saves_total {RECORDERS}\n");
    let (mut figures, mut collected, mut text) = (Paired::default(), Vec::new(), String::new());
    for _ in 0..rounds.min(MOST_ROUNDS) {
        text.clear();
        let started = Instant::now();
        let snapshot = runtime.collect();
        collected.push(started.elapsed().as_secs_f64() * 1e3);
        let encoded = encoder.encode(&snapshot, &mut text);
        figures.ours.push(started.elapsed().as_secs_f64() * 1e3);
        if !text.contains(&total) || !encoded.skipped().is_empty() {
            return Err(format!("a total is wrong: {text}").into());
        }
    }
    let report = runtime.shutdown(Duration::from_secs(60))?;
    if !report.is_complete() {
        return Err("the runtime did not end".into());
    }
    Ok(Row {
        id: "B20",
        what: "100,000 recorders (counter, 14 buckets) collected, folded into one group, rendered",
        unit: "ms",
        figures,
        reading: Reading::Median,
        bar: 50.0,
        threads: 1,
        unchecked: None,
        remarks: vec![format!("of it, the collection: {:.1} ms", stats::median(&collected))],
    })
}

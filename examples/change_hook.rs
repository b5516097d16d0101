//! An observer: code that is told of every event a metric accepted, one by one, with the metric's state right after it.
//!
//! ```sh
//! cargo run --example change_hook
//! ```

use mvx_metrics::prelude::*;
use std::io;
use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

/// The metric that is observed.
const ATTEMPTS: &str = "document_storage.save.attempts";

/// What happens to documents.
#[derive(MetricEvent)]
enum StorageEvent {
    /// Somebody has tried to save one.
    SaveAttempt { ok: bool },
    /// Nothing that the metric counts.
    Compacted,
}

/// One change, as it is handed on.
#[derive(Debug, PartialEq, Eq)]
struct ChangeRecord {
    metric: String,
    event_type: &'static str,
    succeeded: u64,
    failed: u64,
}

/// What the example can fail with.
type Failure = Box<dyn std::error::Error>;

/// Runs the example.
///
/// # Errors
///
/// None is expected.
pub fn main() -> Result<(), Failure> {
    run(&mut io::stdout().lock())
}

/// The example, telling what it sees.
///
/// # Errors
///
/// Those of the runtime and of `out`; none is expected.
pub fn run(out: &mut impl Write) -> Result<(), Failure> {
    let runtime = MetricsRuntime::builder("change-hook").build()?;
    runtime.start()?;
    // The observer runs on the worker, between two events: it hands on what it sees, and leaves slow work to others.
    let (sender, changes) = mpsc::channel();
    let recorder = runtime
        .recorder::<StorageEvent>("document_storage")
        .counter(ATTEMPTS, |c| {
            c.on(&["storage.save_attempt"]).label("ok", |event| match event {
                StorageEvent::SaveAttempt { ok } => (*ok).into(),
                StorageEvent::Compacted => Label::Absent,
            })
        })
        .on_metric_changed(move |change| {
            // Nobody listens any more once the example is over, and that is no failure.
            let _ = sender.send(record(change));
        })
        .create()?;

    use StorageEvent::Compacted;
    use StorageEvent::SaveAttempt;
    for event in [SaveAttempt { ok: true }, Compacted, SaveAttempt { ok: true }, SaveAttempt { ok: false }] {
        recorder.register_event(event);
    }
    recorder.stop().wait(Duration::from_secs(5))?;

    // Four events, three changes: the metric did not want the second event, and nobody is told of that.
    for change in changes.try_iter() {
        let ChangeRecord { metric, event_type, succeeded, failed } = change;
        writeln!(
            out,
            "{metric} after {event_type}: total {}, success {succeeded}, failure {failed}",
            succeeded + failed
        )?;
    }
    let snapshot = recorder.snapshot();
    let total = snapshot.total(ATTEMPTS).unwrap_or_default();
    writeln!(out, "in the snapshot: total {total} of {} events", snapshot.sequence())?;
    runtime.shutdown(Duration::from_secs(5))?;
    Ok(())
}

/// Writes the metric's state out: it costs what the metric's size costs, so only who asks pays for it.
fn record(change: &Change<'_, StorageEvent>) -> ChangeRecord {
    let family = change.family();
    let count = |ok| family.find(&[("ok", ok)]).and_then(|series| series.value().counter());
    ChangeRecord {
        metric: change.metric_name().to_string(),
        event_type: change.event().event_type(),
        succeeded: count("true").unwrap_or_default(),
        failed: count("false").unwrap_or_default(),
    }
}

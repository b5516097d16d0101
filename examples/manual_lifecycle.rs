//! A recorder without a runtime: made anywhere, drained by a task of the program's own executor, stopped by hand.
//!
//! ```sh
//! cargo run --example manual_lifecycle
//! ```

use mvx_metrics::Counter;
use mvx_metrics::RecorderTask;
use mvx_metrics::prelude::*;
use std::io;
use std::io::Write;
use std::time::Duration;

/// What happens to documents.
#[derive(MetricEvent)]
enum StorageEvent {
    /// Somebody has tried to save one.
    SaveAttempt { ok: bool },
}

use StorageEvent::SaveAttempt;

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
/// Those of the recorder and of `out`; none is expected.
pub fn run(out: &mut impl Write) -> Result<(), Failure> {
    // No executor runs yet, and none is needed to make a recorder and to hand it events.
    let (recorder, task) = Recorder::<StorageEvent>::detached("document_storage").create()?;
    recorder.register_event(SaveAttempt { ok: true });
    writeln!(out, "made outside any executor: {} pending", recorder.accounts().pending())?;

    // What needs somebody to drain says so, instead of waiting for ever.
    if let Err(error) = recorder.flush_blocking(Duration::from_millis(1)) {
        writeln!(out, "nobody drains it: {:?} with {:?} pending", error.kind(), error.pending())?;
    }

    let executor = tokio::runtime::Builder::new_current_thread().build()?;
    executor.block_on(live(&recorder, task, out))?;

    // Handles outlive everything. Reading goes on; an event comes too late, and that is counted.
    recorder.register_event(SaveAttempt { ok: true });
    let late = recorder.accounts();
    writeln!(
        out,
        "one event too late: rejected {}, still processed {}",
        late.rejected.closed, late.processed
    )?;
    Ok(())
}

/// From the first poll of the task to the stop, which happens whether the work goes well or not.
async fn live(
    recorder: &Recorder<StorageEvent>,
    task: RecorderTask,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let drained = tokio::spawn(task);
    let worked = work(recorder, out).await;
    recorder.stop().await?;
    drained.await?;
    worked?;

    writeln!(out, "{}: its task has ended", recorder.state())?;
    let snapshot = recorder.snapshot();
    let attempts = |ok| snapshot.counter("document_storage.save.attempts", &[("ok", ok)]).unwrap_or_default();
    writeln!(
        out,
        "after the stop: total {:?}, success {}, failure {}",
        snapshot.total("document_storage.save.attempts").unwrap_or_default(),
        attempts("true"),
        attempts("false")
    )?;
    Ok(())
}

/// Starts, registers a metric, and states three events.
async fn work(recorder: &Recorder<StorageEvent>, out: &mut impl Write) -> Result<(), Failure> {
    recorder.start().await?;
    recorder.flush().await?;
    writeln!(
        out,
        "{}: {} processed, before there was any metric",
        recorder.state(),
        recorder.accounts().processed
    )?;

    // A metric sees what is dispatched after it was registered.
    let attempts = Counter::builder("document_storage.save.attempts")
        .label("ok", |SaveAttempt { ok }: &StorageEvent| (*ok).into())
        .build()?;
    recorder.register_metric(attempts).await?;
    for ok in [true, true, false] {
        recorder.register_event(SaveAttempt { ok });
    }
    writeln!(out, "three more stated: the stop settles them")?;
    Ok(())
}

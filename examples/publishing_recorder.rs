//! A recorder that publishes: hooks open and close a connection with its life, an observer publishes every change.
//!
//! What other systems do by a class of their own is a function here, which any builder of a recorder can be passed through.
//!
//! ```sh
//! cargo run --example publishing_recorder
//! ```

use mvx_metrics::prelude::*;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// The metric that is published.
const ATTEMPTS: &str = "document_storage.save.attempts";

/// What happens to documents.
#[derive(MetricEvent)]
enum StorageEvent {
    /// Somebody has tried to save one.
    SaveAttempt { ok: bool },
    /// Nothing that the metric counts.
    Compacted,
}

/// A connection to wherever changes are published; here it keeps them. `Clone` shares it.
///
/// Its lock is held for a push and nothing else. What takes time belongs behind a channel: the worker calls `publish`, and while it
/// waits, no recorder of the runtime moves.
#[derive(Clone, Default)]
struct Publisher(Arc<Mutex<Connection>>);

#[derive(Default)]
struct Connection {
    open: bool,
    published: Vec<String>,
    refused: u64,
}

impl Publisher {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails when it is open already: each start of the recorder opens it once.
    async fn open(self) -> Result<(), Failure> {
        let mut connection = self.connection();
        if connection.open {
            return Err("the publisher is open already".into());
        }
        connection.open = true;
        Ok(())
    }

    async fn close(self) -> Result<(), Failure> {
        self.connection().open = false;
        Ok(())
    }

    fn publish(&self, text: String) {
        let mut connection = self.connection();
        if connection.open {
            connection.published.push(text);
        } else {
            connection.refused += 1;
        }
    }
}

/// Gives a recorder to be the habit of publishing its changes under the name of its entity.
fn publishing<E: MetricEvent>(
    builder: RecorderBuilder<E>,
    entity: &'static str,
    publisher: &Publisher,
) -> RecorderBuilder<E> {
    let (opens, closes, publishes) = (publisher.clone(), publisher.clone(), publisher.clone());
    builder
        .entity(entity)
        // Before the first event is dispatched, and after the last one: no change meets a closed connection.
        .on_starting(move || opens.clone().open())
        .on_stopped(move || closes.clone().close())
        .on_metric_changed(move |change| {
            let (event_type, family) = (change.event().event_type(), change.family());
            let series = family.series().map(|series| format!("{} {}", series.labels(), series.value()));
            let series = series.collect::<Vec<_>>().join(", ");
            publishes.publish(format!("{entity} {} {event_type}: {series}", change.metric_name()));
        })
}

/// What the example can fail with.
type Failure = Box<dyn std::error::Error + Send + Sync>;

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
    let publisher = Publisher::default();
    publisher.publish("too early".to_owned());
    let runtime = MetricsRuntime::builder("publishing").build()?;
    runtime.start()?;
    let builder = runtime.recorder::<StorageEvent>("storage-1").counter(ATTEMPTS, |c| {
        c.on(&["storage.save_attempt"]).label("ok", |event| match event {
            StorageEvent::SaveAttempt { ok } => (*ok).into(),
            StorageEvent::Compacted => Label::Absent,
        })
    });
    let recorder = publishing(builder, "document_storage", &publisher).create()?;
    writeln!(out, "created, not started: open {}", publisher.connection().open)?;

    // The first event starts the recorder; it waits while the hook opens the connection.
    use StorageEvent::Compacted;
    use StorageEvent::SaveAttempt;
    for event in [SaveAttempt { ok: true }, Compacted, SaveAttempt { ok: true }, SaveAttempt { ok: false }] {
        recorder.register_event(event);
    }
    recorder.flush_blocking(Duration::from_secs(5))?;
    writeln!(out, "running: open {}", publisher.connection().open)?;
    recorder.stop().wait(Duration::from_secs(5))?;

    let connection = publisher.connection();
    connection.published.iter().try_for_each(|text| writeln!(out, "published {text}"))?;
    writeln!(out, "stopped: open {}, refused {}", connection.open, connection.refused)?;
    drop(connection);
    let total = recorder.snapshot().total(ATTEMPTS).unwrap_or_default();
    writeln!(out, "in the snapshot: total {total}")?;
    runtime.shutdown(Duration::from_secs(5))?;
    Ok(())
}

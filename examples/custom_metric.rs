//! A metric written by hand, for what no instrument keeps: how many uploads in a row have failed, now and at worst.
//!
//! ```sh
//! cargo run --example custom_metric
//! ```

use mvx_metrics::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// What happens to uploads.
#[derive(Debug, MetricEvent)]
pub enum UploadEvent {
    /// An upload has begun.
    Began,
    /// It has arrived.
    Succeeded,
    /// It has not.
    Failed,
}

/// The run of failures that is going on, and the longest so far.
///
/// It is called from one thread only, so its state is plain: no atomics, no lock. It reads no clock either; the time of the
/// event's batch comes with the context.
#[derive(Debug)]
pub struct FailureStreak {
    descriptor: Arc<Descriptor>,
    current: Field,
    longest: Field,
    /// When the first event came, which is when the series starts.
    started: Option<Timestamp>,
}

/// A number under the name that readers know.
#[derive(Debug)]
struct Field {
    name: FieldName,
    value: u64,
}

impl FailureStreak {
    /// Names are checked here, where a mistake can be handled, and never again.
    ///
    /// # Errors
    ///
    /// `name` is not dotted words.
    pub fn new(name: &str) -> Result<Self, Error> {
        let descriptor =
            Descriptor::builder(name, Kind::Fields).help("Uploads that failed in a row.").build()?;
        let field = |name| Ok(Field { name: FieldName::new(name)?, value: 0 });
        Ok(Self { descriptor, current: field("current")?, longest: field("longest")?, started: None })
    }
}

impl Metric<UploadEvent> for FailureStreak {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// The recorder does not even call it for the others.
    fn interests(&self) -> Interests {
        Interests::Only(vec!["upload.succeeded", "upload.failed"])
    }

    fn handle_event(&mut self, event: &UploadEvent, context: &Context) -> Verdict {
        match event {
            UploadEvent::Began => return Verdict::Ignored,
            UploadEvent::Succeeded => self.current.value = 0,
            UploadEvent::Failed => {
                self.current.value += 1;
                self.longest.value = self.longest.value.max(self.current.value);
            }
        }
        self.started.get_or_insert(context.now());
        Verdict::Accepted
    }

    /// States everything there is; before the first event that is nothing, as with every instrument.
    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        if let Some(started) = self.started {
            writer.started(started);
            for field in [&self.current, &self.longest] {
                writer.field(&field.name, field.value);
            }
        }
    }
}

/// Runs the metric in a recorder, beside an instrument that sees the same events.
///
/// # Errors
///
/// Those of the runtime; none is expected.
#[allow(clippy::print_stdout, reason = "an example shows what came of it")]
pub fn main() -> Result<(), Error> {
    let runtime = MetricsRuntime::builder("custom-metric").build()?;
    runtime.start()?;
    let uploads = runtime
        .recorder::<UploadEvent>("uploads")
        .counter("upload.failures", |c| c.on(&["upload.failed"]))
        .metric(FailureStreak::new("upload.failure_streak")?)
        .create()?;

    use UploadEvent::Began;
    use UploadEvent::Failed;
    use UploadEvent::Succeeded;
    for event in [Began, Failed, Began, Failed, Began, Failed, Began, Succeeded, Began, Failed] {
        uploads.register_event(event);
    }
    uploads.flush_blocking(Duration::from_secs(5))?;

    let snapshot = uploads.snapshot();
    let streak = snapshot.value("upload.failure_streak", &[]);
    let field = |name| streak.and_then(|streak| streak.field(name));
    assert_eq!(field("current"), Some(Number::U64(1)));
    assert_eq!(field("longest"), Some(Number::U64(3)));
    assert_eq!(snapshot.counter("upload.failures", &[]), Some(4));

    // Both account for all ten events, those they did not want to see included.
    for metric in snapshot.metrics() {
        assert_eq!(metric.tally().total(), 10);
        assert_eq!(metric.family().faults(), 0);
        println!("{:?} {:?}", metric.family(), metric.tally());
    }
    runtime.shutdown(Duration::from_secs(5))?;
    Ok(())
}

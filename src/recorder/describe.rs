//! What a recorder measures, as a list.

use crate::model::event::MetricEvent;
use crate::model::snapshot::Descriptor;
use crate::recorder::handle::Recorder;
use std::sync::Arc;

impl<E: MetricEvent> Recorder<E> {
    /// What this recorder measures: each metric with its kind, unit, labels and help, in the order of registration.
    ///
    /// A metric registered later is in the list once the operation of its registration has ended and a cut was published, which a
    /// flush brings about. Works in every state, and costs a snapshot and an increment for each metric.
    ///
    /// A descriptor prints as a line for people. Comparing these lines with a list keeps a change of what is measured from going
    /// unseen: others build dashboards on it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// # struct Saved { ok: bool, elapsed: Duration }
    /// # impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let recorder = runtime
    ///     .recorder::<Saved>("storage")
    ///     .counter("document.saves", |c| c.help("Documents handed in.").label("ok", |e| e.ok.into()))
    ///     .histogram("document.save.duration", |h| h.unit(Unit::Seconds).value(|e| Some(e.elapsed)))
    ///     .create()?;
    /// let lines: Vec<_> = recorder.describe_metrics().iter().map(ToString::to_string).collect();
    /// assert_eq!(lines, ["document.saves: counter by ok; Documents handed in.", "document.save.duration: histogram in s"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn describe_metrics(&self) -> Vec<Arc<Descriptor>> {
        self.snapshot().metrics().map(|metric| Arc::clone(metric.family().descriptor())).collect()
    }
}

//! What a recorder measures.

use crate::model::event::MetricEvent;
use crate::model::snapshot::Descriptor;
use crate::recorder::handle::Recorder;
use std::sync::Arc;

impl<E: MetricEvent> Recorder<E> {
    /// What the recorder measures: name, kind, unit, help and label keys of each metric, in the order of registration.
    ///
    /// Works in every state, without visiting the worker; costs one increment for each metric. A metric added to a running recorder is
    /// listed from the next publication on, which a flush makes sure of; one that was removed is not listed. For all recorders of a runtime, go through
    /// [`MetricsRuntime::snapshots`](crate::MetricsRuntime::snapshots): each metric's family has the same descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::Kind;
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// struct Saved { ok: bool, elapsed: Duration }
    /// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let recorder = runtime
    ///     .recorder::<Saved>("storage")
    ///     .counter("document.saves", |c| c.help("Documents saved.").label("ok", |e| e.ok.into()))
    ///     .histogram("document.save.duration", |h| h.unit(Unit::Seconds).value(|e| Some(e.elapsed)))
    ///     .create()?;
    /// let [saves, duration] = &recorder.describe_metrics()[..] else { unreachable!() };
    /// assert_eq!((saves.name().as_str(), saves.kind(), saves.help()), ("document.saves", Kind::Counter, "Documents saved."));
    /// assert_eq!(saves.label_keys()[0].as_str(), "ok");
    /// assert_eq!((duration.kind(), duration.unit()), (Kind::Histogram, &Unit::Seconds));
    /// # Ok(())
    /// # }
    /// ```
    pub fn describe_metrics(&self) -> Vec<Arc<Descriptor>> {
        let snapshot = self.snapshot();
        let live = snapshot.metrics().filter(|metric| !metric.is_removed());
        live.map(|metric| Arc::clone(metric.family().descriptor())).collect()
    }
}

//! Metrics added to a recorder, replaced in it and removed from it while it runs.

use crate::metric::Metric;
use crate::model::error::Error;
use crate::model::event::MetricEvent;
use crate::recorder::core::Asks;
use crate::recorder::dispatch::Slot;
use crate::recorder::handle::Recorder;
use crate::recorder::hosted::Hosted;
use crate::recorder::mailbox::Command;
use crate::recorder::metric_set::MetricSet;
use crate::recorder::operation::Operation;

/// What becomes of the series of a metric that is [removed](Recorder::remove_metric).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovedSeries {
    /// They stand still, and are shown as before: in the recorder's snapshots, behind the metrics that see events, and by exporters.
    Kept,
    /// They end. What they counted stays in the totals of the recorder's [group](crate::RecorderBuilder::group), as it does when a
    /// recorder is removed; levels, such as gauges, are in no total.
    Dropped,
}

impl<E: MetricEvent> Recorder<E> {
    /// Adds a metric to the running recorder; it sees the events dispatched from then on, and its tally adds up to those.
    ///
    /// A metric of this name and shape stays as it is. Series that were [kept](RemovedSeries::Kept) of a removed metric of this name end: what
    /// they counted goes to the totals of the group.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::MetricConflict`](crate::ErrorKind::MetricConflict) if the recorder has a metric of
    /// this name and another shape, or a constant label of the key of one of its labels, or another recorder of the runtime has one of another shape; in
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if [`MAX_COMMANDS`](crate::limits::MAX_COMMANDS) changes wait; in
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) if the recorder was removed or its runtime is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the operation cancels nothing.
    pub fn register_metric(&self, metric: impl Metric<E>) -> Operation {
        self.register_metrics(MetricSet::new().metric(metric))
    }

    /// Adds every metric of a set to the running recorder, or none of them: all see the same events, beginning with the next one
    /// dispatched.
    ///
    /// # Errors
    ///
    /// The first mistake of the set's definition; otherwise as [`register_metric`](Self::register_metric). None is added then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the operation cancels nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricSet;
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// struct Saved { bytes: u64 }
    /// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    ///
    /// fn sizes() -> MetricSet<Saved> {
    ///     MetricSet::<Saved>::new()
    ///         .counter("saved.bytes", |c| c.unit(Unit::Bytes).value(|e| Some(e.bytes)))
    ///         .max("saved.largest", |m| m.unit(Unit::Bytes).value(|e| Some(e.bytes)))
    /// }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let patience = Duration::from_secs(5);
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").counter("saves", |c| c).create()?;
    /// recorder.register_event(Saved { bytes: 4_096 });
    /// recorder.flush_blocking(patience)?;
    /// recorder.register_metrics(sizes()).wait(patience)?;
    /// recorder.register_event(Saved { bytes: 512 });
    /// let snapshot = recorder.flush_and_snapshot(patience)?;
    /// assert_eq!(snapshot.counter("saves", &[]), Some(2));
    /// assert_eq!(snapshot.counter("saved.bytes", &[]), Some(512)); // it was not there before
    /// assert_eq!(snapshot.gauge("saved.largest", &[]), Some(512.0));
    /// assert_eq!(snapshot.metric("saved.bytes").map(|metric| metric.tally().total()), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_metrics(&self, set: MetricSet<E>) -> Operation {
        match set.into_slots().and_then(|slots| self.checked(slots)) {
            Ok(slots) => self.node.take_metrics(slots, |slots, done| Command::Register { slots, done }),
            Err(error) => Operation::done(Err(error)),
        }
    }

    /// Puts a metric into the place of the one of its name and shape: it sees the events dispatched from then on, and the other one no more.
    ///
    /// The new metric's series begin with its first event, its tally at 0. The series of the old one end as if
    /// [dropped](RemovedSeries::Dropped): its counts stay in the totals of the group, so that these never go back. What a name means
    /// does not change: for another kind, unit or label, remove the metric and add one of another name.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the recorder has no metric of this name that sees
    /// events; otherwise as [`register_metric`](Self::register_metric).
    ///
    /// # Cancel safety
    ///
    /// Dropping the operation cancels nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::Counter;
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// struct Saved { bytes: u64 }
    /// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let patience = Duration::from_secs(5);
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").counter("saves", |c| c).create()?;
    /// (0..3).for_each(|bytes| recorder.register_event(Saved { bytes }));
    /// recorder.flush_blocking(patience)?;
    /// recorder.replace_metric(Counter::builder("saves").keep(|e: &Saved| e.bytes > 0).build()?).wait(patience)?;
    /// (0..3).for_each(|bytes| recorder.register_event(Saved { bytes }));
    /// let snapshot = recorder.flush_and_snapshot(patience)?;
    /// assert_eq!(snapshot.counter("saves", &[]), Some(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn replace_metric(&self, metric: impl Metric<E>) -> Operation {
        let slot = Slot::new(metric).and_then(|slot| self.checked(vec![slot]));
        match slot {
            Ok(slots) => self.node.take_metrics(slots, |slots, done| Command::Replace { slots, done }),
            Err(error) => Operation::done(Err(error)),
        }
    }

    /// Takes a metric out of the running recorder: it sees no event after those dispatched by then, and is dropped on the worker.
    ///
    /// Its series are kept as they are, or end: see [`RemovedSeries`]. When the operation is over, snapshots show it so. The name keeps
    /// its meaning in the runtime: a metric of another shape is refused as before. A metric whose series were kept can be removed
    /// once more to drop them. A removed metric is not
    /// brought back by a restart.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the recorder has no metric of this name; in
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if [`MAX_COMMANDS`](crate::limits::MAX_COMMANDS) changes wait; in
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) if the recorder was removed or its runtime is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the operation cancels nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::RemovedSeries;
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// struct Saved;
    /// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let patience = Duration::from_secs(5);
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").counter("kept", |c| c).counter("gone", |c| c).create()?;
    /// recorder.register_event(Saved);
    /// recorder.flush_blocking(patience)?;
    /// recorder.remove_metric("kept", RemovedSeries::Kept).wait(patience)?;
    /// recorder.remove_metric("gone", RemovedSeries::Dropped).wait(patience)?;
    /// recorder.register_event(Saved);
    /// let snapshot = recorder.flush_and_snapshot(patience)?;
    /// assert_eq!(snapshot.counter("kept", &[]), Some(1)); // as it was
    /// assert!(snapshot.metric("kept").is_some_and(|metric| metric.is_removed()));
    /// assert!(snapshot.metric("gone").is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove_metric(&self, metric_name: &str, series: RemovedSeries) -> Operation {
        let (operation, done) = Operation::new(None);
        let command = Command::Remove { name: metric_name.into(), series, done };
        if let Err(command) = self.node.post(command) {
            self.node.answer_unheard(command);
        }
        operation
    }

    fn checked(&self, mut slots: Vec<Slot<E>>) -> Result<Vec<Slot<E>>, Error> {
        if let Some(shapes) = self.node.hub.shapes.get() {
            slots.iter_mut().for_each(|slot| slot.reshape(shapes));
        }
        let identity = self.node.identity();
        slots.iter().try_for_each(|slot| identity.check_labels(slot.descriptor()))?;
        Ok(slots)
    }
}

//! The [`Metric`] trait and the instruments.
//!
//! A metric owns one measured state. It sees one event at a time, on the recorder's thread, so it holds no atomic and no
//! lock, and it reads no clock: the time of the batch is in its [`Context`].

use crate::model::snapshot::Descriptor;
use crate::model::snapshot::FamilyWriter;
use crate::model::verdict::Context;
use crate::model::verdict::Verdict;
use std::sync::Arc;

/// One measured state, fed by events and read through snapshots.
pub trait Metric<E>: Send + 'static {
    /// Name, kind, unit, help and shape; the same for the metric's whole life.
    fn descriptor(&self) -> &Arc<Descriptor>;

    /// The event types this metric wants to see; the others cost it nothing and count as ignored.
    fn interests(&self) -> Interests {
        Interests::All
    }

    /// Accepts or ignores one event, or refuses its value.
    ///
    /// A panic is caught by the recorder: the metric is quarantined, its siblings go on.
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict;

    /// Writes the current state into the family that readers will see.
    fn snapshot(&self, writer: &mut FamilyWriter<'_>);
}

/// Which event types a metric wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interests {
    /// Every event of the recorder.
    #[default]
    All,
    /// Only events of these types, as in [`MetricEvent::EVENT_TYPES`](crate::MetricEvent::EVENT_TYPES).
    Only(Vec<&'static str>),
}

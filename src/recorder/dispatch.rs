//! Running events through one metric, with its panics caught at its boundary.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::model::accounts::Tally;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::verdict::Context;
use crate::model::verdict::Verdict;
use crate::queue::run::Run;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

/// A metric in its recorder: routed, counted, and out of the way once it has panicked.
///
/// Events go to a metric a batch at a time, not one by one: one virtual call and one landing pad for up to 64 events, and the
/// metric's own loop is compiled with its `handle_event` inlined. Metrics cannot tell, because they do not know each other,
/// and readers cannot, because only whole batches are published.
pub(crate) struct Slot<E> {
    /// `None` only while the slot is dropped.
    metric: Option<Box<dyn Batched<E>>>,
    descriptor: Arc<Descriptor>,
    /// One flag per variant; `None` shows every event.
    route: Option<Box<[bool]>>,
    pub(crate) tally: Tally,
    pub(crate) quarantined: bool,
    /// The number of the cut in which the last change is first seen.
    pub(crate) changed_at: u64,
}

impl<E: MetricEvent> Slot<E> {
    /// # Errors
    ///
    /// [`ErrorKind::UnknownEventType`] if the metric asks for an event type that `E` does not have.
    pub(crate) fn new<M: Metric<E>>(metric: M) -> Result<Self, Error> {
        let mut slot = Self {
            descriptor: Arc::clone(metric.descriptor()),
            metric: None,
            route: None,
            tally: Tally::default(),
            quarantined: false,
            changed_at: 0,
        };
        let interests = metric.interests();
        // Owned by the slot before anything can fail: the slot knows how to drop it.
        slot.metric = Some(Box::new(metric));
        slot.route = route_of::<E>(&slot.descriptor, &interests)?;
        Ok(slot)
    }

    pub(crate) fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// Shows a batch to the metric; true if it changed.
    pub(crate) fn handle(&mut self, events: &Run<'_, E>, context: &Context) -> bool {
        let before = self.tally;
        if self.quarantined {
            self.tally.quarantined += events.len() as u64;
            return false;
        }
        let Some(metric) = &mut self.metric else { return false };
        let mut batch = Batch { events, next: 0, route: self.route.as_deref(), tally: &mut self.tally };
        let result = catch_unwind(AssertUnwindSafe(|| metric.handle_batch(&mut batch, context)));
        if let Err(payload) = result {
            // The event in hand is the one it panicked on; the rest of the batch it does not see.
            let after = (events.len() - batch.next) as u64;
            batch.tally.panicked += 1;
            batch.tally.quarantined += after;
            self.quarantined = true;
            self.changed_at = context.cut();
            crate::queue::drop_quietly(payload);
        }
        let changed = self.tally != before;
        if self.tally.accepted != before.accepted {
            self.changed_at = context.cut();
        }
        changed
    }

    /// The metric's state as a family of its own; empty if the metric panics over it.
    pub(crate) fn written_out(&self) -> Family {
        let mut family = Family::new(Arc::clone(self.descriptor()));
        let Some(metric) = &self.metric else { return family };
        let written = catch_unwind(AssertUnwindSafe(|| metric.snapshot(&mut FamilyWriter::new(&mut family, 0))));
        if let Err(payload) = written {
            crate::queue::drop_quietly(payload);
            family = Family::new(Arc::clone(self.descriptor()));
        }
        family
    }

    /// Brings a family that is current up to cut `since` up to date.
    pub(crate) fn refresh(&mut self, family: &mut Family, since: u64, cut: u64) {
        let Some(metric) = &self.metric else { return };
        let result = catch_unwind(AssertUnwindSafe(|| metric.snapshot(&mut FamilyWriter::new(family, since))));
        if let Err(payload) = result {
            self.quarantined = true;
            self.changed_at = cut;
            crate::queue::drop_quietly(payload);
        }
    }
}

/// A metric's destructor is user code, too: its panic must end neither the worker nor whoever lets the last handle go.
impl<E> Drop for Slot<E> {
    fn drop(&mut self) {
        crate::queue::drop_quietly(self.metric.take());
    }
}

fn route_of<E: MetricEvent>(of: &Descriptor, interests: &Interests) -> Result<Option<Box<[bool]>>, Error> {
    let Interests::Only(wanted) = interests else { return Ok(None) };
    let known = E::EVENT_TYPES;
    if known.is_empty() {
        let message = format!(
            "metric {} asks for event types, but the event lists none in EVENT_TYPES; list them, or look at the event in the metric",
            of.name()
        );
        return Err(Error::new(ErrorKind::UnknownEventType, message));
    }
    if let Some(unknown) = wanted.iter().find(|wanted| !known.contains(*wanted)) {
        let message = format!("metric {} asks for event type {unknown:?}; the event has {}", of.name(), known.join(", "));
        return Err(Error::new(ErrorKind::UnknownEventType, message));
    }
    Ok(Some(known.iter().map(|event_type| wanted.contains(event_type)).collect()))
}

/// A batch on its way through one metric.
struct Batch<'b, 'r, E> {
    events: &'b Run<'r, E>,
    /// The index after the event in hand.
    next: usize,
    route: Option<&'b [bool]>,
    tally: &'b mut Tally,
}

/// A metric behind a virtual call a batch.
trait Batched<E>: Send {
    fn handle_batch(&mut self, batch: &mut Batch<'_, '_, E>, context: &Context);
    fn snapshot(&self, writer: &mut FamilyWriter<'_>);
}

impl<E: MetricEvent, M: Metric<E>> Batched<E> for M {
    fn handle_batch(&mut self, batch: &mut Batch<'_, '_, E>, context: &Context) {
        while let Some(event) = batch.events.get(batch.next) {
            batch.next += 1;
            if let Some(route) = batch.route {
                if !route.get(event.variant_index()).copied().unwrap_or(true) {
                    batch.tally.ignored += 1;
                    continue;
                }
            }
            match self.handle_event(event, context) {
                Verdict::Accepted => batch.tally.accepted += 1,
                Verdict::Ignored => batch.tally.ignored += 1,
                Verdict::Refused(_) => batch.tally.refused += 1,
            }
        }
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        Metric::snapshot(self, writer);
    }
}

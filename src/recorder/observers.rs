//! Hooks on change: code that is told of every event a metric accepted, on the worker, in order.

use crate::model::event::MetricEvent;
use crate::model::name::MetricName;
use crate::model::snapshot::Family;
use crate::recorder::dispatch::Slot;
use crate::recorder::report::LastWords;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

/// One metric has accepted one event.
///
/// Observers run on the worker, between events: they should be quick, and hand slow work to somebody else.
pub struct Change<'a, E> {
    slot: &'a Slot<E>,
    event: &'a E,
    sequence: u64,
}

impl<'a, E: MetricEvent> Change<'a, E> {
    pub(crate) fn new(slot: &'a Slot<E>, event: &'a E, sequence: u64) -> Self {
        Self { slot, event, sequence }
    }

    /// The name of the metric that changed.
    pub fn metric_name(&self) -> &'a MetricName {
        self.slot.descriptor().name()
    }

    /// The event it accepted.
    pub fn event(&self) -> &'a E {
        self.event
    }

    /// The number of the event among all that the recorder dispatched, from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The metric's state after the event, written out by this call: costs what the metric's size costs.
    pub fn family(&self) -> Family {
        self.slot.written_out()
    }
}

impl<E: MetricEvent> fmt::Debug for Change<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("metric", self.metric_name())
            .field("event_type", &self.event.event_type())
            .field("sequence", &self.sequence)
            .finish()
    }
}

/// Names an observer, for its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObserverId(pub(crate) u64);

/// What an observer is, before it has a number.
pub(crate) type ObserverFn<E> = Box<dyn FnMut(&Change<'_, E>) + Send>;

/// The observers of one recorder. One that panics is not called again, and counted.
pub(crate) struct Observers<E> {
    present: Vec<(ObserverId, ObserverFn<E>)>,
    quarantined: u64,
    /// Of those that have panicked since somebody last told of them.
    pub(crate) last_words: Vec<LastWords>,
}

impl<E: MetricEvent> Observers<E> {
    pub(crate) const fn new() -> Self {
        Self { present: Vec::new(), quarantined: 0, last_words: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub(crate) fn quarantined(&self) -> u64 {
        self.quarantined
    }

    pub(crate) fn add(&mut self, id: ObserverId, observer: ObserverFn<E>) {
        self.present.push((id, observer));
    }

    /// Takes an observer out; `None` if there is none of this id (any more).
    pub(crate) fn remove(&mut self, id: ObserverId) -> Option<ObserverFn<E>> {
        let at = self.present.iter().position(|(present, _)| *present == id)?;
        Some(self.present.remove(at).1)
    }

    /// Tells everybody, in the order of registration.
    pub(crate) fn tell(&mut self, change: &Change<'_, E>) {
        let mut at = 0;
        while let Some((_, observer)) = self.present.get_mut(at) {
            match catch_unwind(AssertUnwindSafe(|| observer(change))) {
                Ok(()) => at += 1,
                Err(payload) => {
                    let mut words = LastWords::default();
                    words.hear(&*payload);
                    self.last_words.push(words);
                    crate::queue::drop_quietly(payload);
                    // What it has captured is the user's, too.
                    crate::queue::drop_quietly(self.present.remove(at));
                    self.quarantined += 1;
                }
            }
        }
    }
}

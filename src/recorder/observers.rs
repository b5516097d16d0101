//! Hooks on change: code that is told of every event a metric accepted, on the worker, in order.

use crate::model::event::MetricEvent;
use crate::model::heap;
use crate::model::name::MetricName;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::queue::call_user;
use crate::recorder::dispatch::Slot;
use crate::recorder::report::LastWords;
use std::fmt;
use std::sync::Arc;

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

    pub(crate) fn descriptor(&self) -> &'a Arc<Descriptor> {
        self.slot.descriptor()
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

/// The observers of one recorder. One that panics is not called again until it is reinstated.
pub(crate) struct Observers<E> {
    present: Vec<Observer<E>>,
    /// How many of them are quarantined.
    quarantined: usize,
    /// Of those that have panicked since somebody last told of them.
    pub(crate) last_words: Vec<LastWords>,
}

struct Observer<E> {
    id: ObserverId,
    call: ObserverFn<E>,
    quarantined: bool,
}

impl<E: MetricEvent> Observers<E> {
    /// What they take on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let closures = self.present.iter().map(|observer| size_of_val(&*observer.call));
        heap::vec(&self.present) + heap::vec(&self.last_words) + closures.sum::<usize>()
    }

    pub(crate) const fn new() -> Self {
        Self { present: Vec::new(), quarantined: 0, last_words: Vec::new() }
    }

    /// Whether there is nobody to tell: then events may be dispatched in batches.
    pub(crate) fn is_empty(&self) -> bool {
        self.present.len() == self.quarantined
    }

    pub(crate) fn quarantined(&self) -> u32 {
        self.quarantined as u32
    }

    pub(crate) fn add(&mut self, id: ObserverId, observer: ObserverFn<E>) {
        self.present.push(Observer { id, call: observer, quarantined: false });
    }

    /// Takes an observer out; `None` if there is none of this id (any more).
    pub(crate) fn remove(&mut self, id: ObserverId) -> Option<ObserverFn<E>> {
        let at = self.present.iter().position(|observer| observer.id == id)?;
        let observer = self.present.remove(at);
        self.quarantined -= usize::from(observer.quarantined);
        Some(observer.call)
    }

    /// Tells an observer of changes again; false if there is none of this id.
    pub(crate) fn reinstate(&mut self, id: ObserverId) -> bool {
        let Some(observer) = self.present.iter_mut().find(|observer| observer.id == id) else { return false };
        self.quarantined -= usize::from(std::mem::take(&mut observer.quarantined));
        true
    }

    pub(crate) fn reinstate_all(&mut self) {
        self.present.iter_mut().for_each(|observer| observer.quarantined = false);
        self.quarantined = 0;
    }

    /// Tells everybody, in the order of registration.
    pub(crate) fn tell(&mut self, change: &Change<'_, E>) {
        for observer in self.present.iter_mut().filter(|observer| !observer.quarantined) {
            let told = call_user(|| (observer.call)(change));
            if let Err(payload) = told {
                let mut words = LastWords::default();
                words.hear(&*payload);
                self.last_words.push(words);
                crate::queue::drop_quietly(payload);
                observer.quarantined = true;
                self.quarantined += 1;
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::metric::Counter;

    impl MetricEvent for u8 {
        fn event_type(&self) -> &'static str {
            "u8"
        }
    }

    /// Tells everybody of one change; an observer panics on 0.
    fn tell(observers: &mut Observers<u8>, event: u8) {
        let slot = Slot::new(Counter::<u8>::builder("c").build().unwrap()).unwrap();
        observers.tell(&Change::new(&slot, &event, 1));
    }

    fn sick() -> ObserverFn<u8> {
        Box::new(|change| {
            if *change.event() == 0 {
                std::panic::resume_unwind(Box::new("seeded"));
            }
        })
    }

    #[cfg(panic = "unwind")]
    #[test]
    fn quarantined_observers_alone_are_nobody_to_tell() {
        let mut observers = Observers::new();
        observers.add(ObserverId(0), sick());
        observers.add(ObserverId(2), sick());
        tell(&mut observers, 1);
        assert!(!observers.is_empty() && observers.quarantined() == 0);
        tell(&mut observers, 0);
        assert!(observers.is_empty() && observers.quarantined() == 2);
        assert!(observers.reinstate(ObserverId(2)) && observers.reinstate(ObserverId(2)));
        assert!(!observers.is_empty() && observers.quarantined() == 1);
        assert!(observers.remove(ObserverId(0)).is_some() && !observers.reinstate(ObserverId(0)));
        assert!(!observers.is_empty() && observers.quarantined() == 0);
        tell(&mut observers, 0);
        observers.reinstate_all();
        assert!(!observers.is_empty() && observers.quarantined() == 0);
        assert!(observers.remove(ObserverId(2)).is_some() && observers.is_empty());
    }
}

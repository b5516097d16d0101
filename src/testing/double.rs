//! A sink that keeps what it is told.

use crate::model::event::EventSink;
use crate::model::event::MetricEvent;
use crate::sync::Mutex;
use std::fmt;
use std::sync::Arc;

/// Stands where a recorder stands, and keeps the raw events. `Clone` gives another handle to the same double.
///
/// # Examples
///
/// ```
/// use mvx_metrics::EventSink;
/// use mvx_metrics::MetricEvent;
/// use mvx_metrics::testing::RecorderDouble;
///
/// struct Saved { bytes: u64 }
/// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
///
/// fn save(document: &[u8], metrics: &dyn EventSink<Saved>) {
///     metrics.register_event(Saved { bytes: document.len() as u64 });
/// }
///
/// let double = RecorderDouble::new();
/// save(b"hello", &double);
/// let events = double.take();
/// assert_eq!(events.len(), 1);
/// assert_eq!(events[0].bytes, 5);
/// assert!(double.is_empty());
/// ```
pub struct RecorderDouble<E> {
    events: Arc<Mutex<Vec<E>>>,
}

impl<E: MetricEvent> RecorderDouble<E> {
    /// A double without events.
    pub fn new() -> Self {
        Self { events: Arc::new(Mutex::new(Vec::new())) }
    }

    /// Takes every event stated so far, in the order of their statement.
    pub fn take(&self) -> Vec<E> {
        std::mem::take(&mut *self.events.lock())
    }

    /// How many events were stated since the last `take`.
    pub fn len(&self) -> usize {
        self.events.lock().len()
    }

    /// Whether no event was stated since the last `take`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The types of the events stated since the last `take`, in their order.
    pub fn event_types(&self) -> Vec<&'static str> {
        self.events.lock().iter().map(MetricEvent::event_type).collect()
    }
}

impl<E: MetricEvent> EventSink<E> for RecorderDouble<E> {
    fn register_event(&self, event: E) {
        self.events.lock().push(event);
    }
}

impl<E: MetricEvent> Default for RecorderDouble<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Clone for RecorderDouble<E> {
    fn clone(&self) -> Self {
        Self { events: Arc::clone(&self.events) }
    }
}

impl<E: MetricEvent> fmt::Debug for RecorderDouble<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderDouble").field("events", &self.event_types()).finish()
    }
}

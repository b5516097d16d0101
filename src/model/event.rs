//! Events and the narrow contract by which production code hands them over.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A typed fact, stated once, that carries its own measurements.
///
/// An event says what happened ("a document was saved, 512 bytes, in 3 ms") and nothing about how it is counted.
/// It needs to be `Send`, because the recorder's thread reads it, and not `Sync`, because only that thread does.
///
/// Usually written by `#[derive(MetricEvent)]`; by hand it is three short items.
///
/// # Examples
///
/// By hand, with a routing index for each variant:
///
/// ```
/// use mvx_metrics::MetricEvent;
///
/// enum StorageEvent {
///     Saved { bytes: u64 },
///     Removed,
/// }
///
/// impl MetricEvent for StorageEvent {
///     const EVENT_TYPES: &'static [&'static str] = &["storage.saved", "storage.removed"];
///
///     fn event_type(&self) -> &'static str {
///         Self::EVENT_TYPES[self.variant_index()]
///     }
///
///     fn variant_index(&self) -> usize {
///         match self {
///             Self::Saved { .. } => 0,
///             Self::Removed => 1,
///         }
///     }
/// }
///
/// assert_eq!(StorageEvent::Saved { bytes: 512 }.event_type(), "storage.saved");
/// assert_eq!(StorageEvent::Removed.variant_index(), 1);
/// ```
pub trait MetricEvent: Send + 'static {
    /// Every event type this Rust type can have, in the order of [`variant_index`](Self::variant_index).
    ///
    /// Empty means "an open set": such events are shown to every metric, because there is nothing to route by.
    const EVENT_TYPES: &'static [&'static str] = &[];

    /// The stable, neutral name of what happened, for example `"document.saved"`.
    ///
    /// It never changes between two calls on the same event, and should not change between releases.
    fn event_type(&self) -> &'static str;

    /// The place of this event's type in [`EVENT_TYPES`](Self::EVENT_TYPES); metrics are routed by it.
    ///
    /// An index outside the list is treated as "unknown": every metric sees the event.
    fn variant_index(&self) -> usize {
        0
    }
}

/// The contract production code may depend on: somewhere to state events, and nothing else.
///
/// Object-safe, so a component can hold an `Arc<dyn EventSink<E>>` and never learn what stands behind it: a recorder,
/// a test double, or the [`NoopSink`]. A missing sink is a sink too: `Option<S>` is one, and drops events at `None`.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{EventSink, MetricEvent, NoopSink};
/// use std::sync::Arc;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// struct Storage { metrics: Arc<dyn EventSink<Saved>> }
///
/// let storage = Storage { metrics: Arc::new(NoopSink) };
/// storage.metrics.register_event(Saved);
/// assert!(!storage.metrics.is_enabled());
/// ```
pub trait EventSink<E: MetricEvent>: Send + Sync {
    /// States an event. Returns at once, whatever the sink does with it; never panics.
    fn register_event(&self, event: E);

    /// Whether stating an event can have any effect: a caller may skip building an expensive one when it cannot.
    fn is_enabled(&self) -> bool {
        true
    }
}

/// The sink that drops every event, at the cost of dropping it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{EventSink, NoopSink};
/// # struct Saved; impl mvx_metrics::MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// NoopSink.register_event(Saved);
/// assert!(!EventSink::<Saved>::is_enabled(&NoopSink));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoopSink;

impl<E: MetricEvent> EventSink<E> for NoopSink {
    fn register_event(&self, _event: E) {}

    fn is_enabled(&self) -> bool {
        false
    }
}

impl<E: MetricEvent, S: EventSink<E>> EventSink<E> for Option<S> {
    fn register_event(&self, event: E) {
        if let Some(sink) = self {
            sink.register_event(event);
        }
    }

    fn is_enabled(&self) -> bool {
        self.as_ref().is_some_and(S::is_enabled)
    }
}

impl<E: MetricEvent, S: EventSink<E> + ?Sized> EventSink<E> for Arc<S> {
    fn register_event(&self, event: E) {
        (**self).register_event(event);
    }

    fn is_enabled(&self) -> bool {
        (**self).is_enabled()
    }
}

impl<E: MetricEvent, S: EventSink<E> + ?Sized> EventSink<E> for Box<S> {
    fn register_event(&self, event: E) {
        (**self).register_event(event);
    }

    fn is_enabled(&self) -> bool {
        (**self).is_enabled()
    }
}

impl<E: MetricEvent, S: EventSink<E> + ?Sized> EventSink<E> for &S {
    fn register_event(&self, event: E) {
        (**self).register_event(event);
    }

    fn is_enabled(&self) -> bool {
        (**self).is_enabled()
    }
}

/// An event of any type, for recorders that take unrelated events.
///
/// Building one allocates once (the box). Metrics see the original through [`downcast_ref`](Self::downcast_ref); there
/// is no routing by variant, because the set of types is open.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{DynEvent, MetricEvent};
///
/// struct Opened { port: u16 }
/// impl MetricEvent for Opened { fn event_type(&self) -> &'static str { "connection.opened" } }
///
/// let event = DynEvent::new(Opened { port: 443 });
/// assert_eq!(event.event_type(), "connection.opened");
/// assert_eq!(event.downcast_ref::<Opened>().map(|e| e.port), Some(443));
/// assert!(event.downcast_ref::<String>().is_none());
/// ```
pub struct DynEvent(Box<dyn AnyEvent>);

impl DynEvent {
    /// Boxes an event: one allocation of the event's size.
    pub fn new<E: MetricEvent>(event: E) -> Self {
        Self(Box::new(event))
    }

    /// The event inside, if it is a `T`.
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        self.0.as_any().downcast_ref()
    }

    /// The event inside by value, or `self` again if it is not a `T`.
    ///
    /// # Errors
    ///
    /// Gives the event back unchanged when it has another type.
    pub fn downcast<T: 'static>(self) -> Result<Box<T>, Self> {
        if self.0.as_any().is::<T>() {
            self.0.into_any().downcast().map_err(|_| unreachable_type())
        } else {
            Err(self)
        }
    }
}

/// `downcast` has just checked the type, so this event is never seen by anybody.
#[cold]
fn unreachable_type() -> DynEvent {
    struct Mismatch;
    impl MetricEvent for Mismatch {
        fn event_type(&self) -> &'static str {
            "mvx.type_mismatch"
        }
    }
    DynEvent::new(Mismatch)
}

impl MetricEvent for DynEvent {
    fn event_type(&self) -> &'static str {
        self.0.event_type()
    }
}

impl fmt::Debug for DynEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynEvent").field(&self.0.event_type()).finish()
    }
}

trait AnyEvent: Send {
    fn event_type(&self) -> &'static str;
    fn as_any(&self) -> &dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<E: MetricEvent> AnyEvent for E {
    fn event_type(&self) -> &'static str {
        MetricEvent::event_type(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

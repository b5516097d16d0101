//! Events kept back by their producer, and handed over many at a time.

use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::event::MetricEvent;
use crate::queue::drop_quietly;
use crate::recorder::handle::Recorder;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A producer's own buffer in front of a recorder: many events, one reservation; made by [`Recorder::buffered`].
///
/// Events are handed over when as many as its capacity are kept, by the first event after the interval has passed, by
/// [`hand_over`](Self::hand_over), and when the buffer is dropped. Until then they are *not offered*: they are in no account, a flush
/// does not wait for them, and they are lost with a process that ends without dropping the buffer. When they are handed over, each is
/// accepted or counted as rejected, once, as the recorder's policy and state then decide.
///
/// No timer: a buffer that gets no further event keeps what it has.
///
/// # Examples
///
/// ```
/// # use mvx_metrics::prelude::*;
/// use std::time::Duration;
/// # struct Read; impl MetricEvent for Read { fn event_type(&self) -> &'static str { "read" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime.recorder::<Read>("cache").counter("cache.reads", |c| c).create()?;
/// let mut buffer = recorder.buffered(100, Duration::MAX);
/// for _ in 0..250 {
///     buffer.register_event(Read);
/// }
/// assert_eq!((recorder.accounts().accepted, buffer.len()), (200, 50));
/// drop(buffer);
/// assert_eq!(recorder.flush_and_snapshot(Duration::from_secs(5))?.counter("cache.reads", &[]), Some(250));
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a buffer hands over what it keeps"]
pub struct Buffered<E: MetricEvent> {
    recorder: Recorder<E>,
    events: Vec<E>,
    capacity: usize,
    interval: Duration,
    /// `None` if the interval never passes: then no time is read.
    clock: Option<Arc<dyn Clock>>,
    /// When the first of the events came.
    since: Timestamp,
    /// One producer's: there is nothing in it that a second could share.
    alone: PhantomData<Cell<()>>,
}

impl<E: MetricEvent> Buffered<E> {
    /// Keeps an event, and hands everything over if it is time.
    ///
    /// Never blocks and never panics. Costs a write, and a look at the clock unless the interval is [`Duration::MAX`]; allocates only
    /// while the buffer has not been full yet.
    #[inline]
    pub fn register_event(&mut self, event: E) {
        let due = self.clock.as_ref().is_some_and(|clock| {
            let now = clock.now();
            if self.events.is_empty() {
                self.since = now;
            }
            now.saturating_since(self.since) >= self.interval
        });
        self.events.push(event);
        if due || self.events.len() >= self.capacity {
            self.hand_over();
        }
    }

    /// Hands over what is kept, and says how many of it were accepted; the others are counted as rejected, and dropped.
    pub fn hand_over(&mut self) -> usize {
        if self.events.is_empty() {
            return 0;
        }
        let accepted = self.recorder.register_events(&mut self.events);
        self.events.drain(..).for_each(drop_quietly);
        accepted
    }

    /// How many events are kept, and not offered yet.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is kept.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many events are kept at most: so many are handed over at once.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The recorder behind the buffer.
    pub fn recorder(&self) -> &Recorder<E> {
        &self.recorder
    }
}

impl<E: MetricEvent> Drop for Buffered<E> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl<E: MetricEvent> fmt::Debug for Buffered<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffered")
            .field("recorder", self.recorder.id())
            .field("kept", &self.len())
            .field("capacity", &self.capacity)
            .finish()
    }
}

impl<E: MetricEvent> Recorder<E> {
    /// A buffer of this producer's own, which hands over `events` events at a time, and sooner at an event that comes `interval` or more
    /// after the first that is kept, on the recorder's clock.
    ///
    /// At least 1 event, at most the recorder's [`capacity`](Self::capacity), or the recorder could never take a full buffer; a number
    /// outside is taken as the nearest of these. With [`Duration::MAX`] only the number counts, and no time is read. See [`Buffered`] for
    /// when events are offered.
    pub fn buffered(&self, events: usize, interval: Duration) -> Buffered<E> {
        let most = usize::try_from(self.capacity()).unwrap_or(usize::MAX);
        let clock = (interval < Duration::MAX).then(|| self.node.hub().clock());
        Buffered {
            recorder: self.clone(),
            events: Vec::new(),
            capacity: events.clamp(1, most),
            interval,
            clock,
            since: Timestamp::default(),
            alone: PhantomData,
        }
    }
}

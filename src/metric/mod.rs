//! The [`Metric`] trait and the instruments.
//!
//! A metric owns one measured state. It sees one event at a time, on the recorder's thread, so it holds no atomic and no
//! lock, and it reads no clock: the time of the batch is in its [`Context`].
//!
//! | instrument | each series keeps | values |
//! |---|---|---|
//! | [`Counter`] | a count or a sum that only rises | integers, or fractions and durations (summed exactly) |
//! | [`UpDown`] | a level that rises and falls | signed integers |
//! | [`Gauge`] | the last value | anything finite |
//! | [`Extreme`] | the smallest or the largest value | anything finite |
//! | [`Histogram`] | counts by bucket, exact sum, extremes | anything finite |
//! | [`ExponentialHistogram`] | counts by buckets that fit themselves to the values, exact sum, extremes | anything finite |
//! | [`Average`] | count and exact sum | anything finite |
//! | [`Summary`] | counts by buckets as narrow as its digits ask for, exact sum, extremes | anything finite |
//! | [`WindowedSummary`] | the same for each slot of a window | anything finite |
//! | [`RateMeter`] | count and exact sum for each slot of a window | nothing below zero |
//! | [`Heartbeat`] | the time of the last event | - |
//! | [`Info`] | the labels of the last event | texts |
//! | [`StateSet`] | which of its states are on | the names of its states |
//!
//! What none of them keeps is a custom [`Metric`], written by hand.

mod at_rest;
mod average;
mod batch;
mod builder;
mod counter;
mod derived;
mod edges;
mod exemplify;
mod expiring;
mod exponential;
mod extreme;
mod gauge;
mod heartbeat;
mod histogram;
mod index;
mod info;
mod label_fields;
mod measure;
mod scratch;
mod selector;
mod series;
mod state_set;
mod summary;
mod up_down;
mod windowed;

pub use self::average::Average;
pub use self::average::AverageBuilder;
pub use self::batch::Batch;
pub(crate) use self::batch::PIECE;
pub(crate) use self::batch::Payload;
pub use self::builder::InstrumentBuilder;
pub use self::counter::Counter;
pub use self::counter::CounterBuilder;
pub use self::derived::DefineMetrics;
pub use self::derived::DerivedMetrics;
pub use self::exponential::ExponentialHistogram;
pub use self::exponential::ExponentialHistogramBuilder;
pub use self::extreme::Extreme;
pub use self::extreme::ExtremeBuilder;
pub use self::gauge::Gauge;
pub use self::gauge::GaugeBuilder;
pub use self::heartbeat::Heartbeat;
pub use self::heartbeat::HeartbeatBuilder;
pub use self::histogram::BYTES_BOUNDS;
pub use self::histogram::Histogram;
pub use self::histogram::HistogramBuilder;
pub use self::histogram::SECONDS_BOUNDS;
pub use self::info::Info;
pub use self::info::InfoBuilder;
pub use self::label_fields::LabelFields;
pub use self::label_fields::LabelValue;
pub use self::label_fields::label_product;
pub use self::measure::Measure;
pub use self::measure::Measured;
pub(crate) use self::scratch::Scratch;
pub use self::state_set::StateSet;
pub use self::state_set::StateSetBuilder;
pub use self::summary::Summary;
pub use self::summary::SummaryBuilder;
pub use self::up_down::UpDown;
pub use self::up_down::UpDownBuilder;
pub use self::windowed::RateMeter;
pub use self::windowed::RateMeterBuilder;
pub use self::windowed::WindowedSummary;
pub use self::windowed::WindowedSummaryBuilder;

use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::verdict::Context;
use crate::model::verdict::Verdict;
use std::sync::Arc;
use std::time::Duration;

/// One measured state, fed by events and read through snapshots.
///
/// # Examples
///
/// A metric of one's own: how often a value was higher than the one before.
///
/// ```
/// use mvx_metrics::{Context, Descriptor, Family, FamilyWriter, Kind, LabelSet, Metric, Timestamp, Verdict};
/// use std::sync::Arc;
///
/// struct Rises { descriptor: Arc<Descriptor>, last: u32, rises: u64 }
///
/// impl Metric<u32> for Rises {
///     fn descriptor(&self) -> &Arc<Descriptor> {
///         &self.descriptor
///     }
///
///     fn handle_event(&mut self, event: &u32, _context: &Context) -> Verdict {
///         self.rises += u64::from(*event > self.last);
///         self.last = *event;
///         Verdict::Accepted
///     }
///
///     fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
///         writer.counter(&LabelSet::empty(), self.rises);
///     }
/// }
///
/// let mut rises = Rises { descriptor: Descriptor::builder("rises", Kind::Counter).build()?, last: 0, rises: 0 };
/// for value in [3, 2, 5, 5] {
///     let _ = rises.handle_event(&value, &Context::new(Timestamp::default(), 1));
/// }
/// let mut family = Family::new(rises.descriptor().clone());
/// rises.snapshot(&mut FamilyWriter::whole(&mut family));
/// assert_eq!(family.find(&[]).and_then(|series| series.value().counter()), Some(2));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
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

    /// Accepts, ignores or refuses a whole batch; as provided, with [`handle_event`](Self::handle_event) one by one.
    ///
    /// The recorder calls this one. A metric of one's own may write it where work can be shared between events; the answers
    /// must be those of `handle_event`. If it panics, the first event without an answer is the one it has panicked on.
    fn handle_batch(&mut self, batch: &mut Batch<'_, E>, context: &Context) {
        batch::one_by_one(self, batch, context);
    }

    /// Takes another description of the same metric before its first event, with other bounds or another cardinality limit, as
    /// [`RuntimeBuilder::metric_view`](crate::RuntimeBuilder::metric_view) asks for, or with the same, which
    /// equal metrics of a runtime share. `false`, as provided, if it stays as it is.
    fn reshape(&mut self, _descriptor: &Arc<Descriptor>) -> bool {
        false
    }

    /// The bytes that the metric has on the heap, without its own size and its descriptor, for the
    /// [report of memory](crate::MetricsRuntime::memory). Asked on the worker, when the state was
    /// written for readers, of most kinds if the number of series has changed; 0 as provided.
    fn heap_bytes(&self) -> usize {
        0
    }

    /// After how long without an observation series of it [expire](Self::expire); as provided, none does. The same for the metric's whole life.
    fn expiry(&self) -> Option<Duration> {
        None
    }

    /// Takes out the series that are idle at this time, and gives their last state. The recorder asks for it when it publishes, if there is an
    /// [`expiry`](Self::expiry); a panic is answered as one of [`snapshot`](Self::snapshot) is.
    fn expire(&mut self, _context: &Context) -> Option<Family> {
        None
    }

    /// Writes the current state into the family that readers will see.
    fn snapshot(&self, writer: &mut FamilyWriter<'_>);

    /// Asks the processor for the memory that the next event and the state written after it will touch, one step of the pointers to it
    /// at a time. Of our own instruments alone: it has no effect that could be seen.
    #[doc(hidden)]
    fn fetch(&self, _step: usize) {}

    /// What there is to see before the first event, if there is anything. Of our own instruments alone: it is asked for where the recorder is
    /// made, and a user's code is to run on the worker.
    #[doc(hidden)]
    fn at_first(&self) -> Option<Family> {
        None
    }

    /// The series that the metric can do without while nothing happens, because they are in what was published last. Of our own instruments alone.
    #[doc(hidden)]
    fn at_rest(&mut self) -> Option<&mut dyn at_rest::AtRest> {
        None
    }
}

/// Which event types a metric wants to see.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Counter, Interests, Metric};
///
/// let saves = Counter::<u8>::builder("saves").on(&["document.saved"]).build()?;
/// assert_eq!(saves.interests(), Interests::Only(vec!["document.saved"]));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interests {
    /// Every event of the recorder.
    #[default]
    All,
    /// Only events of these types, as in [`MetricEvent::EVENT_TYPES`](crate::MetricEvent::EVENT_TYPES).
    Only(Vec<&'static str>),
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests;

//! What a metric says of an event, and what it is told beside the event.

use crate::model::clock::Timestamp;

/// A metric's answer to one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The event changed the metric.
    Accepted,
    /// The event does not concern the metric.
    Ignored,
    /// The event concerns the metric, but its value cannot be taken; the metric is unchanged.
    Refused(Refusal),
}

/// Why a metric refused a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// NaN or an infinity, which would poison a sum for ever.
    NonFinite,
    /// A negative amount for something that only rises.
    Negative,
    /// A value outside what the metric can hold.
    OutOfRange,
    /// A reason of a custom metric's own.
    Custom(&'static str),
}

/// What a metric may know beside the event: the time of its batch and the cut being built.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    now: Timestamp,
    cut: u64,
}

impl Context {
    /// A context for calling a metric by hand, at `now`.
    ///
    /// `cut` numbers the snapshot that the next publication will be; it starts at 1 and rises.
    pub const fn new(now: Timestamp, cut: u64) -> Self {
        Self { now, cut }
    }

    /// The time of the batch that this event belongs to; a metric never reads a clock of its own.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The number of the next cut: what changed now will first be seen in it.
    pub const fn cut(&self) -> u64 {
        self.cut
    }
}

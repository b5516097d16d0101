//! The one event that both sides of every row hand over: 24 bytes, built in the same way.

use mvx_metrics::Counter;
use mvx_metrics::CounterBuilder;
use mvx_metrics::Error;
use mvx_metrics::Histogram;
use mvx_metrics::HistogramBuilder;
use mvx_metrics::Label;
use mvx_metrics::MetricEvent;
use mvx_metrics::Unit;
use std::time::Duration;

/// A document was stored.
#[derive(Clone, Copy, Debug)]
pub struct Saved {
    pub bytes: u64,
    pub elapsed_nanos: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    Timeout,
    Refused,
}

const _: () = assert!(size_of::<Saved>() == 24, "the budgets speak of a 24-byte event");

impl MetricEvent for Saved {
    fn event_type(&self) -> &'static str {
        "saved"
    }
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
        }
    }
}

impl Saved {
    /// The event of this number: outcomes by turns, durations over several buckets, nothing a branch predictor learns at once.
    #[inline(always)]
    pub fn numbered(number: u64) -> Self {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let outcome = match mixed >> 62 {
            0 => Outcome::Success,
            1 => Outcome::Failure,
            2 => Outcome::Timeout,
            _ => Outcome::Refused,
        };
        Self { bytes: number, elapsed_nanos: mixed >> 34, outcome }
    }
}

/// The labelled counter, as both sides of B7 and B8 have it.
pub fn define_counter(counter: CounterBuilder<Saved>) -> CounterBuilder<Saved> {
    counter.label("outcome", |event| Label::fixed(event.outcome.name()))
}

/// The histogram, as both sides of B7 and B8 have it: the 14 buckets of `Unit::Seconds`.
pub fn define_histogram(histogram: HistogramBuilder<Saved>) -> HistogramBuilder<Saved> {
    histogram.unit(Unit::Seconds).value(|event| Some(Duration::from_nanos(event.elapsed_nanos)))
}

pub const COUNTER: &str = "document.saves";
pub const HISTOGRAM: &str = "document.save.duration";

/// The same instruments, for a rival to drive.
pub fn instruments() -> Result<(Counter<Saved>, Histogram<Saved>), Error> {
    let counter = define_counter(Counter::builder(COUNTER)).build()?;
    let histogram = define_histogram(Histogram::builder(HISTOGRAM)).build()?;
    Ok((counter, histogram))
}

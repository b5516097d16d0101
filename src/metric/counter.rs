//! A count that only rises.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::snapshot::Number;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::sync::Arc;

/// Counts events, or adds up what they carry.
///
/// Integers are added in 64 bits and stay at `u64::MAX`, which [`Family::saturated`](crate::Family::saturated) then
/// counts; fractions and durations are added exactly. Negative amounts, NaN and infinities are refused.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Counter, Metric, Refusal, Timestamp, Verdict};
///
/// let mut moved = Counter::<i64>::builder("bytes.moved").value(|e| Some(*e)).build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// assert_eq!(moved.handle_event(&5, &context), Verdict::Accepted);
/// assert_eq!(moved.handle_event(&-5, &context), Verdict::Refused(Refusal::Negative));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Debug)]
pub struct Counter<E> {
    intake: Intake<E>,
    sums: Sums<E>,
}

/// Collects what a [`Counter`] is.
pub type CounterBuilder<E> = InstrumentBuilder<E, Counter<E>>;

#[derive(Debug)]
enum Sums<E> {
    Whole(Series<E, Vec<u64>>),
    Fractional(Series<E, Vec<ExactSum>>),
}

impl<E: 'static> Counter<E> {
    /// Starts a counter of this name; without a value selector it counts 1 per event.
    pub fn builder(name: &str) -> CounterBuilder<E> {
        InstrumentBuilder::new(name, Kind::Counter)
    }
}

impl<E: 'static> CounterBuilder<E> {
    /// Checks everything and makes the counter.
    ///
    /// # Errors
    ///
    /// The first mistake, as [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(mut self) -> Result<Counter<E>, Error> {
        if self.is_fractional() {
            self.descriptor = self.descriptor.kind(Kind::FloatCounter);
            let (intake, series) = self.into_parts()?.into_series(Vec::new());
            return Ok(Counter { intake, sums: Sums::Fractional(series) });
        }
        let (intake, series) = self.into_parts()?.into_series(Vec::new());
        Ok(Counter { intake, sums: Sums::Whole(series) })
    }
}

impl<E: 'static> Metric<E> for Counter<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests.clone()
    }

    #[inline]
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(amount) = self.intake.take(event, Number::U64(1)) else { return Verdict::Ignored };
        match &mut self.sums {
            Sums::Whole(series) => match whole(amount) {
                Ok(amount) => add_whole(series, event, context, amount),
                Err(refusal) => Verdict::Refused(refusal),
            },
            Sums::Fractional(series) => add_fraction(series, event, context, amount.as_f64()),
        }
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        match &self.sums {
            Sums::Whole(series) => series.snapshot(writer),
            Sums::Fractional(series) => series.snapshot(writer),
        }
    }
}

#[inline]
fn add_whole<E>(series: &mut Series<E, Vec<u64>>, event: &E, context: &Context, amount: u64) -> Verdict {
    let row = series.row(event, context);
    let Some(sum) = series.column_mut().get_mut(row) else { return Verdict::Refused(Refusal::OutOfRange) };
    match sum.checked_add(amount) {
        Some(next) => *sum = next,
        None => {
            *sum = u64::MAX;
            series.count_saturation();
        }
    }
    Verdict::Accepted
}

#[inline]
fn add_fraction<E>(
    series: &mut Series<E, Vec<ExactSum>>,
    event: &E,
    context: &Context,
    amount: f64,
) -> Verdict {
    if !amount.is_finite() {
        return Verdict::Refused(Refusal::NonFinite);
    }
    if amount < 0.0 {
        return Verdict::Refused(Refusal::Negative);
    }
    if amount > ExactSum::MAX {
        return Verdict::Refused(Refusal::OutOfRange);
    }
    let row = series.row(event, context);
    let added = series.column_mut().get_mut(row).is_some_and(|sum| sum.add(amount));
    if added { Verdict::Accepted } else { Verdict::Refused(Refusal::OutOfRange) }
}

#[inline]
fn whole(amount: Number) -> Result<u64, Refusal> {
    match amount {
        Number::U64(amount) => Ok(amount),
        Number::I64(amount) => u64::try_from(amount).map_err(|_| Refusal::Negative),
        // Only a foreign `Measure` that calls itself whole and is not comes here.
        Number::F64(_) => Err(Refusal::OutOfRange),
    }
}

//! A count that only rises.

use crate::metric::Batch;
use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::batch::InPieces;
use crate::metric::batch::Piece;
use crate::metric::batch::one_by_one;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::scratch::Places;
use crate::metric::scratch::Room;
use crate::metric::selector::UNSIGNED;
use crate::metric::selector::Values;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
pub struct Counter<E> {
    intake: Intake<E>,
    sums: Sums<E>,
}

/// Collects what a [`Counter`] is.
pub type CounterBuilder<E> = InstrumentBuilder<E, Counter<E>>;

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
            let (intake, series) = self.into_parts()?.into_series();
            return Ok(Counter { intake, sums: Sums::Fractional(series) });
        }
        let (intake, series) = self.into_parts()?.into_series();
        Ok(Counter { intake, sums: Sums::Whole(series) })
    }
}

impl<E: 'static> Metric<E> for Counter<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    #[inline]
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(amount) = self.intake.take(event, Amount::Unsigned(1)) else { return Verdict::Ignored };
        match &mut self.sums {
            Sums::Whole(series) => match whole(amount) {
                Ok(amount) => {
                    let row = series.row(event, context);
                    if series.has_exemplars() {
                        let told = (Amount::Unsigned(amount), event);
                        return series.take_told(row, told, context, |series| {
                            add_whole(series, row, amount);
                            Verdict::Accepted
                        });
                    }
                    add_whole(series, row, amount);
                    Verdict::Accepted
                }
                Err(refusal) => Verdict::Refused(refusal),
            },
            Sums::Fractional(series) => match fraction(amount) {
                Ok(()) => {
                    let row = series.row(event, context);
                    if series.has_exemplars() {
                        let add = |series: &mut Series<E, Vec<ExactSum>>| add_fraction(series, row, amount);
                        return series.take_told(row, (amount, event), context, add);
                    }
                    add_fraction(series, row, amount)
                }
                Err(refusal) => Verdict::Refused(refusal),
            },
        }
    }

    fn handle_batch(&mut self, batch: &mut Batch<'_, E>, context: &Context) {
        let has_exemplars = match &self.sums {
            Sums::Whole(series) => series.has_exemplars(),
            Sums::Fractional(series) => series.has_exemplars(),
        };
        if has_exemplars {
            return one_by_one(self, batch, context);
        }
        self.handle_in_pieces(batch, context);
    }

    fn reshape(&mut self, descriptor: &Arc<Descriptor>) -> bool {
        match &mut self.sums {
            Sums::Whole(series) => series.reshape(descriptor, &mut self.intake.descriptor),
            Sums::Fractional(series) => series.reshape(descriptor, &mut self.intake.descriptor),
        }
    }

    fn fetch(&self, step: usize) {
        match &self.sums {
            Sums::Whole(series) => series.fetch(step),
            Sums::Fractional(series) => series.fetch(step),
        }
    }

    fn heap_bytes(&self) -> usize {
        let series = match &self.sums {
            Sums::Whole(series) => series.heap_bytes(),
            Sums::Fractional(series) => series.heap_bytes(),
        };
        self.intake.heap_bytes() + series
    }

    fn expiry(&self) -> Option<Duration> {
        match &self.sums {
            Sums::Whole(series) => series.expiry(),
            Sums::Fractional(series) => series.expiry(),
        }
    }

    fn expire(&mut self, context: &Context) -> Option<Family> {
        match &mut self.sums {
            Sums::Whole(series) => series.expire(context),
            Sums::Fractional(series) => series.expire(context),
        }
    }

    fn at_rest(&mut self) -> Option<&mut dyn AtRest> {
        match &mut self.sums {
            Sums::Whole(series) => Some(series),
            Sums::Fractional(series) => Some(series),
        }
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        match &self.sums {
            Sums::Whole(series) => series.snapshot(writer),
            Sums::Fractional(series) => series.snapshot(writer),
        }
    }
}

impl<E: 'static> InPieces<E> for Counter<E> {
    fn handle_piece(&mut self, piece: &mut Piece<'_, E>, room: &mut Room, context: &Context) {
        let Room { values, labels, .. } = room;
        self.intake.keep(piece);
        if let Sums::Whole(series) = &mut self.sums {
            if !self.intake.has_values() {
                return count(series, piece, labels, context);
            }
        }
        self.intake.read(piece, values);
        match &mut self.sums {
            Sums::Whole(series) => add_wholes(series, piece, (values, labels), context),
            Sums::Fractional(series) => add_fractions(series, piece, (values, labels), context),
        }
    }
}

impl<E> fmt::Debug for Counter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("intake", &self.intake).field("sums", &self.sums).finish()
    }
}

impl<E> fmt::Debug for Sums<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(series) => fmt::Debug::fmt(series, f),
            Self::Fractional(series) => fmt::Debug::fmt(series, f),
        }
    }
}

/// Counts 1 for each event of a piece.
fn count<E>(
    series: &mut Series<E, Vec<u64>>,
    piece: &mut Piece<'_, E>,
    labels: &mut Places,
    context: &Context,
) {
    if piece.count() == 0 {
        return;
    }
    if let Some(row) = series.only_row(context) {
        let many = piece.count() as u64;
        match series.column_mut().get_mut(row) {
            Some(sum) if *sum <= u64::MAX - many => *sum += many,
            _ => (0..many).for_each(|_| add_whole(series, row, 1)),
        }
        return;
    }
    let rows = series.rows(piece, labels, context);
    add_to_rows(series, rows, std::iter::repeat(1));
}

fn add_wholes<E>(
    series: &mut Series<E, Vec<u64>>,
    piece: &mut Piece<'_, E>,
    (values, labels): (&mut Values, &mut Places),
    context: &Context,
) {
    if values.only(UNSIGNED).is_none() {
        values.refuse(piece, |amount| whole(amount).is_ok());
    }
    let rows = series.rows(piece, labels, context);
    match values.only(UNSIGNED) {
        Some(amounts) => add_to_rows(series, rows, amounts.iter().copied()),
        None => {
            let amounts = values.iter().map(|amount| whole(amount).unwrap_or_default());
            add_to_rows(series, rows, amounts);
        }
    }
}

/// What does not fit is counted as saturation once the loop is over.
#[inline(always)]
fn add_to_rows<E>(series: &mut Series<E, Vec<u64>>, rows: &[u32], amounts: impl Iterator<Item = u64>) {
    let sums = series.column_mut().as_mut_slice();
    let mut saturated = 0;
    for (row, amount) in rows.iter().zip(amounts) {
        if let Some(sum) = sums.get_mut(*row as usize) {
            match sum.checked_add(amount) {
                Some(next) => *sum = next,
                None => {
                    *sum = u64::MAX;
                    saturated += 1;
                }
            }
        }
    }
    (0..saturated).for_each(|_| series.count_saturation());
}

fn add_fractions<E>(
    series: &mut Series<E, Vec<ExactSum>>,
    piece: &mut Piece<'_, E>,
    (values, labels): (&mut Values, &mut Places),
    context: &Context,
) {
    values.refuse(piece, |amount| fraction(amount).is_ok());
    let rows = series.rows(piece, labels, context);
    let mut refused = 0;
    for ((place, amount), row) in values.iter().enumerate().zip(rows) {
        if add_fraction(series, *row as usize, amount) != Verdict::Accepted {
            piece.refuse(place - refused);
            refused += 1;
        }
    }
}

/// A whole amount is always accepted; one that does not fit is counted as saturation.
#[inline]
fn add_whole<E>(series: &mut Series<E, Vec<u64>>, row: usize, amount: u64) {
    let Some(sum) = series.column_mut().get_mut(row) else { return };
    match sum.checked_add(amount) {
        Some(next) => *sum = next,
        None => {
            *sum = u64::MAX;
            series.count_saturation();
        }
    }
}

#[inline]
fn add_fraction<E>(series: &mut Series<E, Vec<ExactSum>>, row: usize, amount: Amount) -> Verdict {
    let added = series.column_mut().get_mut(row).is_some_and(|sum| amount.add_to(sum));
    if added { Verdict::Accepted } else { Verdict::Refused(Refusal::OutOfRange) }
}

#[inline]
fn fraction(amount: Amount) -> Result<(), Refusal> {
    let value = amount.summand()?;
    if value < 0.0 { Err(Refusal::Negative) } else { Ok(()) }
}

#[inline]
fn whole(amount: Amount) -> Result<u64, Refusal> {
    match amount {
        Amount::Unsigned(amount) => Ok(amount),
        Amount::Signed(amount) => u64::try_from(amount).map_err(|_| Refusal::Negative),
        // Only a foreign `Measure` that calls itself whole and is not comes here.
        Amount::Float(_) | Amount::Nanos(_) => Err(Refusal::OutOfRange),
    }
}

//! A level that rises and falls by what events carry.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::batch::Batch;
use crate::metric::batch::InPieces;
use crate::metric::batch::Piece;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::scratch::Room;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Adds up signed integers, such as connections opened and closed.
///
/// The level stays at the ends of `i64`, which [`Family::saturated`](crate::Family::saturated) then counts.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Metric, Timestamp, UpDown};
///
/// let mut open = UpDown::<i32>::builder("connections.open").value(|e| Some(*e)).build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// for step in [1, 1, -1] {
///     let _ = open.handle_event(&step, &context);
/// }
/// let mut family = Family::new(open.descriptor().clone());
/// open.snapshot(&mut FamilyWriter::whole(&mut family));
/// assert_eq!(family.find(&[]).and_then(|series| series.value().up_down()), Some(1));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct UpDown<E> {
    intake: Intake<E>,
    series: Series<E, Vec<i64>>,
}

/// Collects what an [`UpDown`] is.
pub type UpDownBuilder<E> = InstrumentBuilder<E, UpDown<E>>;

impl<E: 'static> UpDown<E> {
    /// Starts an up-down counter of this name; it needs a value selector of integers.
    pub fn builder(name: &str) -> UpDownBuilder<E> {
        InstrumentBuilder::new(name, Kind::UpDown)
    }
}

impl<E: 'static> UpDownBuilder<E> {
    /// Checks everything and makes the up-down counter.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`] without a value selector or with one of fractions; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<UpDown<E>, Error> {
        self.need_value("an up-down counter")?;
        if self.is_fractional() {
            let message =
                "an up-down counter adds whole numbers: return an integer, or keep the level in a gauge";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        let (intake, series) = self.into_parts()?.into_series();
        Ok(UpDown { intake, series })
    }
}

impl<E: 'static> Metric<E> for UpDown<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    #[inline]
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(step) = self.intake.take(event, Amount::Signed(1)) else { return Verdict::Ignored };
        let Some(step) = whole(step) else { return Verdict::Refused(Refusal::OutOfRange) };
        let row = self.series.row(event, context);
        move_by(&mut self.series, std::iter::once((row, step)));
        Verdict::Accepted
    }

    fn handle_batch(&mut self, batch: &mut Batch<'_, E>, context: &Context) {
        self.handle_in_pieces(batch, context);
    }

    fn reshape(&mut self, descriptor: &Arc<Descriptor>) -> bool {
        self.series.reshape(descriptor, &mut self.intake.descriptor)
    }

    fn fetch(&self, step: usize) {
        self.series.fetch(step);
    }

    fn heap_bytes(&self) -> usize {
        self.intake.heap_bytes() + self.series.heap_bytes()
    }

    fn expiry(&self) -> Option<Duration> {
        self.series.expiry()
    }

    fn expire(&mut self, context: &Context) -> Option<Family> {
        self.series.expire(context)
    }

    fn at_rest(&mut self) -> Option<&mut dyn AtRest> {
        Some(&mut self.series)
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        self.series.snapshot(writer);
    }
}

impl<E: 'static> InPieces<E> for UpDown<E> {
    fn handle_piece(&mut self, piece: &mut Piece<'_, E>, room: &mut Room, context: &Context) {
        let Room { values, labels, .. } = room;
        self.intake.keep(piece);
        self.intake.read(piece, values);
        values.refuse(piece, |amount| whole(amount).is_some());
        if values.len() == 0 {
            return;
        }
        let rows = self.series.rows(piece, labels, context);
        let steps = values.iter().map(|amount| whole(amount).unwrap_or_default());
        move_by(&mut self.series, rows.iter().map(|row| *row as usize).zip(steps));
    }
}

#[inline]
fn whole(amount: Amount) -> Option<i64> {
    match amount {
        Amount::Signed(step) => Some(step),
        Amount::Unsigned(step) => i64::try_from(step).ok(),
        Amount::Float(_) | Amount::Nanos(_) => None,
    }
}

/// What does not fit is counted as saturation once the loop is over.
#[inline(always)]
fn move_by<E>(series: &mut Series<E, Vec<i64>>, steps: impl Iterator<Item = (usize, i64)>) {
    let levels = series.column_mut();
    let mut saturated = 0;
    for (row, step) in steps {
        if let Some(level) = levels.get_mut(row) {
            let (next, overflows) = level.overflowing_add(step);
            *level = if overflows { level.saturating_add(step) } else { next };
            saturated += u64::from(overflows);
        }
    }
    (0..saturated).for_each(|_| series.count_saturation());
}

impl<E> fmt::Debug for UpDown<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpDown").field("intake", &self.intake).field("series", &self.series).finish()
    }
}

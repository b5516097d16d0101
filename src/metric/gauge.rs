//! The last value.

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
use crate::metric::selector::NANOS;
use crate::metric::selector::UNSIGNED;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::GaugeFold;
use crate::model::snapshot::Kind;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the last value, as the nearest `f64`. NaN and infinities are refused.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Gauge, Metric, Refusal, Timestamp, Verdict};
///
/// let mut heat = Gauge::<f64>::builder("room.temperature").value(|e| Some(*e)).build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// assert_eq!(heat.handle_event(&21.5, &context), Verdict::Accepted);
/// assert_eq!(heat.handle_event(&f64::NAN, &context), Verdict::Refused(Refusal::NonFinite));
/// let mut family = Family::new(heat.descriptor().clone());
/// heat.snapshot(&mut FamilyWriter::whole(&mut family));
/// assert_eq!(family.find(&[]).and_then(|series| series.value().gauge()), Some(21.5));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct Gauge<E> {
    intake: Intake<E>,
    series: Series<E, Vec<f64>>,
}

/// Collects what a [`Gauge`] is.
pub type GaugeBuilder<E> = InstrumentBuilder<E, Gauge<E>>;

impl<E: 'static> Gauge<E> {
    /// Starts a gauge of this name; it needs a value selector.
    pub fn builder(name: &str) -> GaugeBuilder<E> {
        InstrumentBuilder::new(name, Kind::Gauge)
    }

    /// The same with [`GaugeFold::Last`]: where recorders are folded, the value is that of the recorder which published its state last.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Gauge, GaugeFold, Metric};
    ///
    /// let backup = Gauge::<u64>::last("backup.size").value(|e| Some(*e)).build()?;
    /// assert_eq!(backup.descriptor().gauge_fold(), GaugeFold::Last);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn last(name: &str) -> GaugeBuilder<E> {
        Self::builder(name).fold(GaugeFold::Last)
    }
}

impl<E: 'static> GaugeBuilder<E> {
    /// How the gauges of several recorders are shown as one, where recorders are folded into groups; their sum unless said.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Gauge, GaugeFold, Metric};
    ///
    /// let age = Gauge::<f64>::builder("queue.age").value(|e| Some(*e)).fold(GaugeFold::Max).build()?;
    /// assert_eq!(age.descriptor().gauge_fold(), GaugeFold::Max);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn fold(mut self, rule: GaugeFold) -> Self {
        self.descriptor = self.descriptor.gauge_fold(rule);
        self
    }

    /// Checks everything and makes the gauge.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) without a value selector; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<Gauge<E>, Error> {
        self.need_value("a gauge")?;
        let (intake, series) = self.into_parts()?.into_series();
        Ok(Gauge { intake, series })
    }
}

impl<E: 'static> Metric<E> for Gauge<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    #[inline]
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(value) = self.intake.take(event, Amount::Unsigned(1)) else { return Verdict::Ignored };
        let value = value.as_f64();
        if !value.is_finite() {
            return Verdict::Refused(Refusal::NonFinite);
        }
        let row = self.series.row(event, context);
        if let Some(last) = self.series.column_mut().get_mut(row) {
            *last = value;
        }
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

impl<E: 'static> InPieces<E> for Gauge<E> {
    fn handle_piece(&mut self, piece: &mut Piece<'_, E>, room: &mut Room, context: &Context) {
        let Room { values, labels, .. } = room;
        self.intake.keep(piece);
        self.intake.read(piece, values);
        if values.only(UNSIGNED).or(values.only(NANOS)).is_none() {
            values.refuse(piece, |amount| amount.as_f64().is_finite());
        }
        if values.len() == 0 {
            return;
        }
        let rows = self.series.rows(piece, labels, context);
        let column = self.series.column_mut();
        match values.only(UNSIGNED) {
            Some(integers) => set(column, rows, integers.iter().map(|integer| *integer as f64)),
            None => set(column, rows, values.iter().map(Amount::as_f64)),
        }
    }
}

#[inline(always)]
fn set(column: &mut [f64], rows: &[u32], values: impl Iterator<Item = f64>) {
    for (row, value) in rows.iter().zip(values) {
        if let Some(last) = column.get_mut(*row as usize) {
            *last = value;
        }
    }
}

impl<E> fmt::Debug for Gauge<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge").field("intake", &self.intake).field("series", &self.series).finish()
    }
}

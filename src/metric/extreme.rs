//! The smallest or the largest value.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
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

/// Keeps the smallest or the largest value ever observed, as the nearest `f64`. It is shown as a gauge.
///
/// Before the first value there is no series: neither a 0 nor an infinity. NaN and infinities are refused. Recorders that are folded show
/// the smallest or the largest of their values. A recorder that is removed takes its value with it, as with every gauge.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Extreme, Family, FamilyWriter, GaugeFold, Metric, Refusal, Timestamp, Verdict};
///
/// let mut coldest = Extreme::<f64>::min("room.coldest").value(|e| Some(*e)).build()?;
/// let mut hottest = Extreme::<f64>::max("room.hottest").value(|e| Some(*e)).build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// for heat in [21.5, -3.0, 24.0] {
///     assert_eq!(coldest.handle_event(&heat, &context), Verdict::Accepted);
///     assert_eq!(hottest.handle_event(&heat, &context), Verdict::Accepted);
/// }
/// assert_eq!(coldest.handle_event(&f64::NEG_INFINITY, &context), Verdict::Refused(Refusal::NonFinite));
///
/// let shown = |metric: &Extreme<f64>| {
///     let mut family = Family::new(metric.descriptor().clone());
///     metric.snapshot(&mut FamilyWriter::whole(&mut family));
///     family.find(&[]).and_then(|series| series.value().gauge())
/// };
/// assert_eq!((shown(&coldest), shown(&hottest)), (Some(-3.0), Some(24.0)));
/// assert_eq!(coldest.descriptor().gauge_fold(), GaugeFold::Min);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct Extreme<E> {
    intake: Intake<E>,
    series: Series<E, Vec<f64>>,
    smallest: bool,
}

/// Collects what an [`Extreme`] is.
pub type ExtremeBuilder<E> = InstrumentBuilder<E, Extreme<E>>;

impl<E: 'static> Extreme<E> {
    /// Starts the smallest value, under this name; it needs a value selector.
    pub fn min(name: &str) -> ExtremeBuilder<E> {
        Self::by(name, GaugeFold::Min)
    }

    /// Starts the largest value, under this name; it needs a value selector.
    pub fn max(name: &str) -> ExtremeBuilder<E> {
        Self::by(name, GaugeFold::Max)
    }

    fn by(name: &str, rule: GaugeFold) -> ExtremeBuilder<E> {
        let mut builder = InstrumentBuilder::new(name, Kind::Gauge);
        builder.descriptor = builder.descriptor.gauge_fold(rule);
        builder
    }
}

impl<E: 'static> ExtremeBuilder<E> {
    /// Checks everything and makes the metric.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) without a value selector; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<Extreme<E>, Error> {
        self.need_value("the smallest or largest of something")?;
        let (intake, series) = self.into_parts()?.into_series();
        let smallest = intake.descriptor.gauge_fold() == GaugeFold::Min;
        Ok(Extreme { intake, series, smallest })
    }
}

impl<E: 'static> Metric<E> for Extreme<E> {
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
        let known = self.series.len();
        let row = self.series.row(event, context);
        if let Some(kept) = self.series.column_mut().get_mut(row) {
            // What a new row begins with is no value that was observed.
            let further = if self.smallest { value < *kept } else { value > *kept };
            if row >= known || further {
                *kept = value;
            }
        }
        Verdict::Accepted
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

impl<E> fmt::Debug for Extreme<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extreme").field("intake", &self.intake).field("series", &self.series).finish()
    }
}

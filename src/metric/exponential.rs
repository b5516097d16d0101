//! Observations by buckets that grow exponentially.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Exponentials;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Counts observations in buckets that grow exponentially, and keeps their exact sum and extremes; no bounds need be chosen.
///
/// The base-2 exponential histogram of OpenTelemetry's data model. It begins at the finest scale, 20, and whenever an observation would
/// need more buckets than [`max_buckets`](ExponentialHistogramBuilder::max_buckets) (160 of each sign unless said), neighbours are
/// taken together until it fits. So whatever order observations come in, and however histograms are merged, the buckets are the same.
/// With 160 buckets, observations that span five orders of magnitude are told within 5 %.
///
/// NaN and infinities are refused, and numbers beyond [`ExactSum::MAX`](crate::ExactSum::MAX), which no sum could hold. Integers and
/// durations are summed before they are rounded; buckets and extremes are those of the value as `f64`, seconds for durations.
///
/// Costs a logarithm for each observation, and memory for the buckets from the first to the last that holds something.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, ExponentialHistogram, Family, FamilyWriter, Metric, Timestamp, Unit};
/// use std::time::Duration;
///
/// let builder = ExponentialHistogram::<Duration>::builder("request.duration").unit(Unit::Seconds);
/// let mut took = builder.value(|e| Some(*e)).build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// for millis in 1..=1_000 {
///     let _ = took.handle_event(&Duration::from_millis(millis), &context);
/// }
/// let mut family = Family::new(took.descriptor().clone());
/// took.snapshot(&mut FamilyWriter::whole(&mut family));
/// let took = family.find(&[]).and_then(|series| series.value().exponential()).unwrap();
/// assert_eq!((took.count(), took.sum(), took.scale()), (1_000, 500.5, 4));
/// assert!((took.quantile(0.95).unwrap() - 0.95).abs() <= took.relative_error() * 0.95);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct ExponentialHistogram<E> {
    intake: Intake<E>,
    series: Series<E, Exponentials>,
}

/// Collects what an [`ExponentialHistogram`] is.
pub type ExponentialHistogramBuilder<E> = InstrumentBuilder<E, ExponentialHistogram<E>>;

impl<E: 'static> ExponentialHistogram<E> {
    /// Starts an exponential histogram of this name; it needs a value selector.
    pub fn builder(name: &str) -> ExponentialHistogramBuilder<E> {
        InstrumentBuilder::new(name, Kind::Exponential)
    }
}

impl<E: 'static> ExponentialHistogramBuilder<E> {
    /// How many buckets of each sign there are at most, from
    /// [`MIN_EXPONENTIAL_BUCKETS`](crate::limits::MIN_EXPONENTIAL_BUCKETS) to
    /// [`MAX_EXPONENTIAL_BUCKETS`](crate::limits::MAX_EXPONENTIAL_BUCKETS);
    /// [`DEFAULT_EXPONENTIAL_BUCKETS`](crate::limits::DEFAULT_EXPONENTIAL_BUCKETS) unless said. Eight bytes each, for every series.
    pub fn max_buckets(mut self, most: u32) -> Self {
        self.descriptor = self.descriptor.max_buckets(most);
        self
    }

    /// Up to which magnitude observations count as zero, in the unit of the metric; 0 unless said. What is noise around zero would
    /// otherwise take buckets from the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{ErrorKind, ExponentialHistogram, Metric};
    ///
    /// let drift = || ExponentialHistogram::<f64>::builder("drift").value(|e| Some(*e));
    /// assert_eq!(drift().zero_threshold(1e-9).build()?.descriptor().zero_threshold(), 1e-9);
    /// assert_eq!(drift().zero_threshold(-1.0).build().unwrap_err().kind(), ErrorKind::InvalidLimit);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn zero_threshold(mut self, threshold: f64) -> Self {
        self.descriptor = self.descriptor.zero_threshold(threshold);
        self
    }

    /// Checks everything and makes the histogram.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) without a value selector; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<ExponentialHistogram<E>, Error> {
        self.need_value("an exponential histogram")?;
        let (intake, series) = self.into_parts()?.into_series();
        Ok(ExponentialHistogram { intake, series })
    }
}

impl<E: 'static> Metric<E> for ExponentialHistogram<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    #[inline]
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(amount) = self.intake.take(event, Amount::Unsigned(1)) else { return Verdict::Ignored };
        let value = match amount.summand() {
            Ok(value) => value,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        let row = self.series.row(event, context);
        let observe = |series: &mut Series<E, Exponentials>| {
            if series.column_mut().observe(row, value, |sum| amount.add_to(sum)) {
                Verdict::Accepted
            } else {
                Verdict::Refused(Refusal::OutOfRange)
            }
        };
        if self.series.has_exemplars() {
            return self.series.take_told(row, (amount, event), context, observe);
        }
        observe(&mut self.series)
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

impl<E> fmt::Debug for ExponentialHistogram<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExponentialHistogram")
            .field("intake", &self.intake)
            .field("series", &self.series)
            .finish()
    }
}

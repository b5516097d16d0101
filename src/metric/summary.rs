//! Quantiles of what was observed.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Counting;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Digest;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Tells quantiles, mean, standard deviation and extremes of everything that was observed, with as many significant digits as are asked for.
///
/// Any finite value is taken, negative ones too; NaN and infinities are refused. Recorders merge exactly: what is told of a group is what
/// one recorder of all its events would tell. A series takes 8 bytes for each bucket between its smallest and its largest value, at
/// two digits 1 KiB for each factor of two. For quantiles of the last minute, see [`WindowedSummary`](crate::WindowedSummary); where a server
/// of metrics computes quantiles, prefer a [histogram](crate::Histogram), whose buckets it can add over processes.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Metric, Summary, Timestamp};
/// use std::time::Duration;
///
/// let mut wait = Summary::<Duration>::builder("wait").digits(3).value(|e| Some(*e)).build()?;
/// for millis in 1..=100 {
///     let _ = wait.handle_event(&Duration::from_millis(millis), &Context::new(Timestamp::default(), 1));
/// }
/// let mut family = Family::new(wait.descriptor().clone());
/// wait.snapshot(&mut FamilyWriter::whole(&mut family));
/// let wait = family.find(&[]).and_then(|series| series.value().summary()).unwrap();
/// assert!((wait.quantile(0.5).unwrap() - 0.050).abs() <= 0.0005 * 0.050);
/// assert_eq!((wait.min(), wait.max(), wait.sum()), (Some(0.001), Some(0.1), 5.05));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct Summary<E> {
    intake: Intake<E>,
    series: Series<E, Vec<Digest>>,
    counting: Counting,
}

/// Collects what a [`Summary`] is.
pub type SummaryBuilder<E> = InstrumentBuilder<E, Summary<E>>;

impl<E: 'static> Summary<E> {
    /// Starts a summary of this name; it needs a value selector.
    pub fn builder(name: &str) -> SummaryBuilder<E> {
        InstrumentBuilder::new(name, Kind::Summary)
    }
}

impl<E: 'static> SummaryBuilder<E> {
    /// How many significant digits every quantile has, from 1 to [`MAX_SUMMARY_DIGITS`](crate::limits::MAX_SUMMARY_DIGITS); 2 unless said. At
    /// `d` digits it is off by at most half of `10^-d` of itself. Each digit more takes about eight times the memory.
    pub fn digits(mut self, digits: u8) -> Self {
        self.descriptor = self.descriptor.digits(digits);
        self
    }

    /// The quantiles that exporters show, each from 0 to 1, rising, at most [`MAX_QUANTILES`](crate::limits::MAX_QUANTILES); 0.5, 0.9 and
    /// 0.99 unless said. A snapshot tells any.
    pub fn quantiles(mut self, quantiles: &[f64]) -> Self {
        self.descriptor = self.descriptor.quantiles(quantiles);
        self
    }

    /// Checks everything and makes the summary.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) without a value selector; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<Summary<E>, Error> {
        self.need_value("a summary")?;
        let (intake, series) = self.into_parts()?.into_series();
        let counting = intake.descriptor.counting();
        Ok(Summary { intake, series, counting })
    }
}

impl<E: 'static> Metric<E> for Summary<E> {
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
        let counting = self.counting;
        let digest = self.series.column_mut().get_mut(row);
        if digest.is_some_and(|digest| digest.observe(counting, value, |sum| amount.add_to(sum))) {
            Verdict::Accepted
        } else {
            Verdict::Refused(Refusal::OutOfRange)
        }
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

impl<E> fmt::Debug for Summary<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Summary").field("intake", &self.intake).field("series", &self.series).finish()
    }
}

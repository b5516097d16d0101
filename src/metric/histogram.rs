//! Observations by explicit buckets.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Histograms;
use crate::model::snapshot::Kind;
use crate::model::snapshot::Number;
use crate::model::unit::Unit;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::sync::Arc;

/// Bounds for durations of requests, in seconds, as OpenTelemetry's conventions advise them.
pub const SECONDS_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Bounds for sizes, in bytes: powers of four from 64 bytes to 4 GiB.
pub const BYTES_BOUNDS: [f64; 14] = [
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

/// Up to this many bounds, comparing with every one beats a binary search, whose branches cannot be foreseen.
const FEW_BOUNDS: usize = 32;

/// Counts observations by bucket and keeps their exact sum and extremes.
///
/// A bound belongs to the bucket below it. NaN and infinities are refused. Without [`bounds`](HistogramBuilder::bounds),
/// [`Unit::Seconds`] takes [`SECONDS_BOUNDS`] and [`Unit::Bytes`]
/// [`BYTES_BOUNDS`].
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Histogram, Metric, Timestamp, Unit};
/// use std::time::Duration;
///
/// let mut took = Histogram::<Duration>::builder("request.duration").unit(Unit::Seconds).value(|e| Some(*e)).build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// for millis in [5, 6, 90_000] {
///     let _ = took.handle_event(&Duration::from_millis(millis), &context);
/// }
/// let mut family = Family::new(took.descriptor().clone());
/// took.snapshot(&mut FamilyWriter::whole(&mut family));
/// let histogram = family.find(&[]).and_then(|series| series.value().histogram()).unwrap();
/// assert_eq!((histogram.count(), histogram.sum(), histogram.max()), (3, 90.011, Some(90.0)));
/// assert_eq!(histogram.cumulative().take(2).collect::<Vec<_>>(), [1, 2]);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Debug)]
pub struct Histogram<E> {
    intake: Intake<E>,
    series: Series<E, Histograms>,
}

/// Collects what a [`Histogram`] is.
pub type HistogramBuilder<E> = InstrumentBuilder<E, Histogram<E>>;

impl<E: 'static> Histogram<E> {
    /// Starts a histogram of this name; it needs a value selector, and bounds or a unit that has a preset.
    pub fn builder(name: &str) -> HistogramBuilder<E> {
        InstrumentBuilder::new(name, Kind::Histogram)
    }
}

impl<E: 'static> HistogramBuilder<E> {
    /// The upper bounds of the buckets, inclusive; the bucket above all of them is added by itself.
    pub fn bounds(mut self, bounds: &[f64]) -> Self {
        self.descriptor = self.descriptor.bounds(bounds);
        self
    }

    /// Checks everything and makes the histogram.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) without a value selector; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(mut self) -> Result<Histogram<E>, Error> {
        self.need_value("a histogram")?;
        if !self.descriptor.has_bounds() {
            self.descriptor = match self.descriptor.known_unit() {
                Unit::Seconds => self.descriptor.bounds(&SECONDS_BOUNDS),
                Unit::Bytes => self.descriptor.bounds(&BYTES_BOUNDS),
                _ => self.descriptor,
            };
        }
        let parts = self.into_parts()?;
        let column = Histograms::new(parts.intake.descriptor.bounds().len());
        let (intake, series) = parts.into_series(column);
        Ok(Histogram { intake, series })
    }
}

impl<E: 'static> Metric<E> for Histogram<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests.clone()
    }

    #[inline]
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(value) = self.intake.take(event, Number::U64(1)) else { return Verdict::Ignored };
        let value = value.as_f64();
        if !value.is_finite() {
            return Verdict::Refused(Refusal::NonFinite);
        }
        if value.abs() > ExactSum::MAX {
            return Verdict::Refused(Refusal::OutOfRange);
        }
        let row = self.series.row(event, context);
        let bucket = bucket_of(self.intake.descriptor.bounds(), value);
        if self.series.column_mut().observe(row, bucket, value) {
            Verdict::Accepted
        } else {
            Verdict::Refused(Refusal::OutOfRange)
        }
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        self.series.snapshot(writer);
    }
}

/// The first bucket whose bound is not below the value.
#[inline]
fn bucket_of(bounds: &[f64], value: f64) -> usize {
    if bounds.len() <= FEW_BOUNDS {
        bounds.iter().map(|bound| usize::from(*bound < value)).sum()
    } else {
        bounds.partition_point(|bound| *bound < value)
    }
}

//! The value of one series, borrowed from its family.

use crate::model::name::FieldName;
use crate::model::snapshot::digest::SummaryRef;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::exponential_ref::ExponentialRef;
use crate::model::snapshot::histograms::Buckets;
use crate::model::snapshot::histograms::Moments;
use crate::model::snapshot::states::StatesRef;
use crate::model::snapshot::timed::TimedRef;
use std::fmt;

/// A number of whatever type it was given in. Integers print exactly.
///
/// # Examples
///
/// ```
/// use mvx_metrics::Number;
///
/// assert_eq!(Number::from(u64::MAX).to_string(), "18446744073709551615");
/// assert_eq!(Number::from(-0.5).to_string(), "-0.5");
/// assert_eq!(Number::from(3_i32).as_f64(), 3.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Number {
    /// An unsigned integer.
    U64(u64),
    /// A signed integer.
    I64(i64),
    /// A floating-point number.
    F64(f64),
}

impl Number {
    /// The nearest floating-point number.
    #[inline]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::U64(value) => value as f64,
            Self::I64(value) => value as f64,
            Self::F64(value) => value,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(value) => fmt::Display::fmt(value, f),
            Self::I64(value) => fmt::Display::fmt(value, f),
            Self::F64(value) => fmt::Display::fmt(value, f),
        }
    }
}

macro_rules! number_from {
    ($($source:ty => $variant:ident as $target:ty),*) => {$(
        impl From<$source> for Number {
            #[inline]
            fn from(value: $source) -> Self {
                Self::$variant(value as $target)
            }
        }
    )*};
}

number_from!(
    u8 => U64 as u64, u16 => U64 as u64, u32 => U64 as u64, u64 => U64 as u64, usize => U64 as u64,
    i8 => I64 as i64, i16 => I64 as i64, i32 => I64 as i64, i64 => I64 as i64, isize => I64 as i64,
    f32 => F64 as f64, f64 => F64 as f64
);

/// The value of one series.
///
/// # Examples
///
/// ```
/// use mvx_metrics::ValueRef;
///
/// let value = ValueRef::Average { sum: 6.0, count: 4, mean: Some(1.5) };
/// assert_eq!((value.mean(), value.counter()), (Some(1.5), None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// A count that only rises; it stays at `u64::MAX`.
    Counter(u64),
    /// A sum of fractions that only rises, such as seconds; exact, rounded here.
    FloatCounter(f64),
    /// The last value.
    Gauge(f64),
    /// An integer that rises and falls.
    UpDown(i64),
    /// Observations by bucket.
    Histogram(HistogramRef<'a>),
    /// Observations by buckets that grow exponentially.
    Exponential(ExponentialRef<'a>),
    /// Observations and their sum.
    Average {
        /// The sum of the observations, exact, rounded here.
        sum: f64,
        /// How many observations.
        count: u64,
        /// `sum / count`, or nothing before the first observation.
        mean: Option<f64>,
    },
    /// Quantiles of observations.
    Summary(SummaryRef<'a>),
    /// What changes by the passing of time; [`Family::at`](crate::Family::at) shows it as it is at a time. Families of a runtime's
    /// collection are evaluated already.
    Timed(TimedRef<'a>),
    /// Nothing: what an info says is in its labels.
    Info,
    /// States that are on or off.
    StateSet(StatesRef<'a>),
    /// Named fields of a custom metric.
    Fields(&'a [(FieldName, Number)]),
}

impl<'a> ValueRef<'a> {
    /// The count, if this is a [`ValueRef::Counter`].
    pub fn counter(self) -> Option<u64> {
        if let Self::Counter(count) = self { Some(count) } else { None }
    }

    /// The sum, if this is a [`ValueRef::FloatCounter`].
    pub fn float_counter(self) -> Option<f64> {
        if let Self::FloatCounter(sum) = self { Some(sum) } else { None }
    }

    /// The last value, if this is a [`ValueRef::Gauge`].
    pub fn gauge(self) -> Option<f64> {
        if let Self::Gauge(value) = self { Some(value) } else { None }
    }

    /// The level, if this is a [`ValueRef::UpDown`].
    pub fn up_down(self) -> Option<i64> {
        if let Self::UpDown(value) = self { Some(value) } else { None }
    }

    /// The histogram, if this is a [`ValueRef::Histogram`].
    pub fn histogram(self) -> Option<HistogramRef<'a>> {
        if let Self::Histogram(histogram) = self { Some(histogram) } else { None }
    }

    /// The exponential histogram, if this is a [`ValueRef::Exponential`].
    pub fn exponential(self) -> Option<ExponentialRef<'a>> {
        if let Self::Exponential(histogram) = self { Some(histogram) } else { None }
    }

    /// The mean, if this is a [`ValueRef::Average`] with an observation.
    pub fn mean(self) -> Option<f64> {
        if let Self::Average { mean, .. } = self { mean } else { None }
    }

    /// The summary, if this is a [`ValueRef::Summary`].
    pub fn summary(self) -> Option<SummaryRef<'a>> {
        if let Self::Summary(summary) = self { Some(summary) } else { None }
    }

    /// What changes by the passing of time, if this is a [`ValueRef::Timed`].
    pub fn timed(self) -> Option<TimedRef<'a>> {
        if let Self::Timed(timed) = self { Some(timed) } else { None }
    }

    /// The states, if this is a [`ValueRef::StateSet`].
    pub fn states(self) -> Option<StatesRef<'a>> {
        if let Self::StateSet(states) = self { Some(states) } else { None }
    }

    /// A field by its name, if these are [`ValueRef::Fields`].
    pub fn field(self, name: &str) -> Option<Number> {
        let Self::Fields(fields) = self else { return None };
        fields.iter().find(|(known, _)| *known == *name).map(|(_, number)| *number)
    }
}

/// An explicit-bucket histogram of one series.
///
/// Bucket `i` counts the observations above bound `i - 1` and up to and including bound `i`; the last one, which has no
/// bound, takes the rest.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Descriptor, ExactSum, Family, FamilyWriter, Kind, LabelSet};
///
/// let mut family = Family::new(Descriptor::builder("size", Kind::Histogram).bounds(&[1.0, 10.0]).build()?);
/// let mut sum = ExactSum::default();
/// assert!([1.0, 5.0, 6.0, 70.0].into_iter().all(|value| sum.add(value)));
/// FamilyWriter::whole(&mut family).histogram(&LabelSet::empty(), &[1, 2, 1], &sum, Some((1.0, 70.0)));
///
/// let size = family.find(&[]).and_then(|series| series.value().histogram()).unwrap();
/// assert_eq!(size.cumulative().collect::<Vec<_>>(), [1, 3, 4]);
/// assert_eq!((size.count(), size.sum(), size.min(), size.max()), (4, 82.0, Some(1.0), Some(70.0)));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct HistogramRef<'a> {
    bounds: &'a [f64],
    buckets: Buckets<'a>,
    moments: &'a Moments,
}

impl<'a> HistogramRef<'a> {
    pub(super) fn new(bounds: &'a [f64], buckets: Buckets<'a>, moments: &'a Moments) -> Self {
        Self { bounds, buckets, moments }
    }

    /// The upper bounds, inclusive and rising; the last bucket has none.
    pub fn bounds(&self) -> &'a [f64] {
        self.bounds
    }

    /// How many observations each bucket holds, the one above every bound last.
    pub fn buckets(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.buckets.iter()
    }

    /// How many observations lie at or below each bound, all of them last (`+Inf`).
    pub fn cumulative(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.buckets.iter().scan(0_u64, |below, count| {
            *below = below.saturating_add(count);
            Some(*below)
        })
    }

    /// How many observations in all. Costs one pass over the buckets, which is what makes it always equal to their sum.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, u64::saturating_add)
    }

    /// The sum of the observations: exact, rounded here.
    pub fn sum(&self) -> f64 {
        self.moments.sum.value()
    }

    /// The sum before rounding, for merging with others.
    pub fn exact_sum(&self) -> &'a ExactSum {
        &self.moments.sum
    }

    /// The smallest observation.
    pub fn min(&self) -> Option<f64> {
        self.moments.extremes().map(|(min, _)| min)
    }

    /// The largest observation.
    pub fn max(&self) -> Option<f64> {
        self.moments.extremes().map(|(_, max)| max)
    }
}

impl PartialEq for HistogramRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bounds == other.bounds && self.buckets().eq(other.buckets()) && self.moments == other.moments
    }
}

impl fmt::Debug for HistogramRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("sum", &self.sum())
            .field("min", &self.min())
            .field("max", &self.max())
            .field("buckets", &self.buckets().collect::<Vec<_>>())
            .finish()
    }
}

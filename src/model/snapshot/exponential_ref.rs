//! An exponential histogram as readers see it.

use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::exponential::Exponential;
use crate::model::snapshot::exponential::Run;
use crate::model::snapshot::exponential_scale::MIN_SCALE;
use crate::model::snapshot::exponential_scale::upper_bound;
use std::fmt;

/// A base-2 exponential histogram of one series, in the terms of OpenTelemetry's data model.
///
/// At [`scale`](Self::scale) `s` the base is `2^(2^-s)`. Bucket `i` of the positive side counts the observations above `base^i` and up to and
/// including `base^(i+1)`, bucket `i` of the negative side those whose magnitude lies there, and
/// [`zero_count`](Self::zero_count) those whose magnitude is at most [`zero_threshold`](Self::zero_threshold).
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, ExponentialHistogram, Family, FamilyWriter, Metric, Timestamp};
///
/// let mut drift = ExponentialHistogram::<f64>::builder("drift").max_buckets(4).value(|e| Some(*e)).build()?;
/// for value in [1.0, 2.0, 2.5, 16.0, 0.0, -3.0] {
///     let _ = drift.handle_event(&value, &Context::new(Timestamp::default(), 1));
/// }
/// let mut family = Family::new(drift.descriptor().clone());
/// drift.snapshot(&mut FamilyWriter::whole(&mut family));
/// let drift = family.find(&[]).and_then(|series| series.value().exponential()).unwrap();
///
/// // From 1 to 16 in four buckets: the base is 4, and 1 = 4^0 is the end of bucket -1.
/// assert_eq!((drift.scale(), drift.count(), drift.zero_count(), drift.sum()), (-1, 6, 1, 18.5));
/// assert_eq!(drift.positive().iter().collect::<Vec<_>>(), [(-1, 1), (0, 2), (1, 1)]);
/// assert_eq!(drift.negative().iter().collect::<Vec<_>>(), [(0, 1)]);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct ExponentialRef<'a> {
    row: &'a Exponential,
    zero_threshold: f64,
    /// By how much the scale is coarser than that of the row.
    shift: i32,
}

/// The buckets of one sign of an [`ExponentialRef`]: neighbours from the first that holds something to the last.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, ExponentialHistogram, Family, FamilyWriter, Metric, Timestamp};
///
/// let mut size = ExponentialHistogram::<u64>::builder("size").value(|e| Some(*e)).build()?;
/// for value in [3, 3, 5] {
///     let _ = size.handle_event(&value, &Context::new(Timestamp::default(), 1));
/// }
/// let mut family = Family::new(size.descriptor().clone());
/// size.snapshot(&mut FamilyWriter::whole(&mut family));
/// let size = family.find(&[]).and_then(|series| series.value().exponential()).unwrap();
///
/// let octaves = size.at_scale(0); // a bucket for each power of two
/// assert_eq!(octaves.positive().offset(), 1);
/// assert_eq!(octaves.positive().counts().collect::<Vec<_>>(), [2, 1]); // above 2 up to 4, above 4 up to 8
/// assert_eq!(octaves.upper_bound(1), 4.0);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct ExponentialBuckets<'a> {
    run: &'a Run,
    shift: i32,
}

impl<'a> ExponentialRef<'a> {
    pub(super) fn new(row: &'a Exponential, zero_threshold: f64) -> Self {
        Self { row, zero_threshold, shift: 0 }
    }

    /// The same observations at a scale that is not finer than `scale`: neighbouring buckets are taken together, which is exact.
    ///
    /// For formats that have fewer scales. Below -10 it is taken for -10, at which all numbers of one sign are in three buckets.
    pub fn at_scale(self, scale: i32) -> Self {
        Self { shift: (self.row.scale - scale.max(MIN_SCALE)).max(self.shift), ..self }
    }

    /// The scale, from 20 down to -10: the finest at which the buckets of neither sign are too many.
    pub fn scale(&self) -> i32 {
        self.row.scale - self.shift
    }

    /// Up to this magnitude, observations count as zero.
    pub fn zero_threshold(&self) -> f64 {
        self.zero_threshold
    }

    /// How many observations count as zero.
    pub fn zero_count(&self) -> u64 {
        self.row.zeros
    }

    /// The buckets of the observations above zero.
    pub fn positive(&self) -> ExponentialBuckets<'a> {
        ExponentialBuckets { run: &self.row.positive, shift: self.shift }
    }

    /// The buckets of the observations below zero, by their magnitude.
    pub fn negative(&self) -> ExponentialBuckets<'a> {
        ExponentialBuckets { run: &self.row.negative, shift: self.shift }
    }

    /// The largest `f64` that is not above `base^(index + 1)`, where bucket `index` ends; infinite where that is beyond every `f64`.
    ///
    /// So an observation is in this bucket or one before it if, and only if, it is not above this number.
    pub fn upper_bound(&self, index: i32) -> f64 {
        upper_bound(index, self.scale())
    }

    /// How many observations in all: the sum of all buckets. Costs one pass over them.
    pub fn count(&self) -> u64 {
        let runs = [&self.row.positive, &self.row.negative];
        runs.iter().flat_map(|run| &run.counts).fold(self.row.zeros, |sum, count| sum.saturating_add(*count))
    }

    /// The sum of the observations: exact, rounded here.
    pub fn sum(&self) -> f64 {
        self.row.moments.sum.value()
    }

    /// The sum before rounding, for merging with others.
    pub fn exact_sum(&self) -> &'a ExactSum {
        &self.row.moments.sum
    }

    /// The smallest observation.
    pub fn min(&self) -> Option<f64> {
        self.row.moments.extremes().map(|(min, _)| min)
    }

    /// The largest observation.
    pub fn max(&self) -> Option<f64> {
        self.row.moments.extremes().map(|(_, max)| max)
    }

    /// How far [`quantile`](Self::quantile) may be from an observation, as a share of its magnitude: `(base - 1) / (base + 1)`.
    pub fn relative_error(&self) -> f64 {
        // Not by the base, which is near 1 at fine scales and beyond every f64 at the coarsest.
        (f64::from(-self.scale()).exp2() * std::f64::consts::LN_2 / 2.0).tanh()
    }

    /// Estimates the value that the share `q` of the observations does not exceed.
    ///
    /// It is the number in the bucket of the observation of rank `q * count`, rounded up, whose relative distance to both ends is
    /// the same, as in Masson, Rim and Lee, "DDSketch" (VLDB 2019), held between the smallest and the largest observation.
    /// `quantile(0.0)` is the smallest, `quantile(1.0)` the largest observation.
    ///
    /// `None` without observations, for a `q` outside 0..=1, and for a NaN.
    ///
    /// **Error**: at most [`relative_error`](Self::relative_error) times the magnitude of that observation (beside the rounding of an
    /// `f64`), and at most [`zero_threshold`](Self::zero_threshold) where it counts as zero.
    ///
    /// **Cost**: two passes over the buckets.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Context, ExponentialHistogram, Family, FamilyWriter, Metric, Timestamp};
    ///
    /// let mut size = ExponentialHistogram::<u64>::builder("size").value(|e| Some(*e)).build()?;
    /// for value in 1..=1_000 {
    ///     let _ = size.handle_event(&value, &Context::new(Timestamp::default(), 1));
    /// }
    /// let mut family = Family::new(size.descriptor().clone());
    /// size.snapshot(&mut FamilyWriter::whole(&mut family));
    /// let size = family.find(&[]).and_then(|series| series.value().exponential()).unwrap();
    ///
    /// assert!(size.relative_error() < 0.044); // scale 3, a base of 1.09: the next finer one needs 161 buckets
    /// assert!((size.quantile(0.99).unwrap() - 990.0).abs() <= 0.044 * 990.0);
    /// assert_eq!((size.quantile(0.0), size.quantile(1.0), size.quantile(1.1)), (Some(1.0), Some(1_000.0), None));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        let (min, max) = self.row.moments.extremes()?;
        if q == 0.0 || q == 1.0 {
            return Some(if q == 0.0 { min } else { max });
        }
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count.max(1));
        let negative = self.negative().iter_back().map(|(index, held)| (-self.middle(index), held));
        let zero = std::iter::once((0.0, self.zero_count()));
        let positive = self.positive().iter().map(|(index, held)| (self.middle(index), held));
        let mut below = 0_u64;
        let mut ascending = negative.chain(zero).chain(positive);
        let found = ascending.find(|(_, held)| {
            below = below.saturating_add(*held);
            below >= rank
        });
        found.map(|(middle, _)| middle.clamp(min, max))
    }

    /// The middle of each bucket that holds something, and how much.
    pub(super) fn each_middle(&self, mut see: impl FnMut(f64, u64)) {
        self.negative().iter().for_each(|(index, held)| see(-self.middle(index), held));
        if self.zero_count() > 0 {
            see(0.0, self.zero_count());
        }
        self.positive().iter().for_each(|(index, held)| see(self.middle(index), held));
    }

    /// The number in a bucket whose relative distance to both ends is the same: `2 * low / (1 + 1 / base)`.
    fn middle(&self, index: i32) -> f64 {
        let inverse_base = (-f64::from(-self.scale()).exp2()).exp2();
        self.upper_bound(index.saturating_sub(1)) * (2.0 / (1.0 + inverse_base))
    }
}

impl<'a> ExponentialBuckets<'a> {
    /// The index of the first bucket; 0 if there is none.
    pub fn offset(&self) -> i32 {
        self.run.offset >> self.shift
    }

    /// How many observations each bucket holds, from the first that holds some to the last; zeros between them included.
    pub fn counts(self) -> impl Iterator<Item = u64> + use<'a> {
        let mut next = self.offset();
        let mut populated = self.iter().peekable();
        std::iter::from_fn(move || {
            let (index, held) = *populated.peek()?;
            let count = if index == next { held } else { 0 };
            if index == next {
                populated.next();
            }
            next += 1;
            Some(count)
        })
    }

    /// Index and count of each bucket that holds something, in rising order.
    pub fn iter(self) -> impl Iterator<Item = (i32, u64)> + use<'a> {
        together((self.run.offset..).zip(self.run.counts.iter().copied()), self.shift)
    }

    /// Whether there is no bucket.
    pub fn is_empty(&self) -> bool {
        self.run.counts.is_empty()
    }

    /// The same in falling order.
    pub(crate) fn iter_back(self) -> impl Iterator<Item = (i32, u64)> + use<'a> {
        let last = self.run.offset.saturating_add(self.run.counts.len() as i32);
        let falling = self.run.counts.iter().rev().copied();
        together(falling.enumerate().map(move |(at, count)| (last - 1 - at as i32, count)), self.shift)
    }
}

/// Buckets that hold something, those that are one at a coarser scale taken together.
fn together(buckets: impl Iterator<Item = (i32, u64)>, shift: i32) -> impl Iterator<Item = (i32, u64)> {
    let held = buckets.filter(|(_, count)| *count > 0);
    let mut shifted = held.map(move |(index, count)| (index >> shift, count)).peekable();
    std::iter::from_fn(move || {
        let (index, mut count) = shifted.next()?;
        while let Some((_, more)) = shifted.next_if(|(next, _)| *next == index) {
            count = count.saturating_add(more);
        }
        Some((index, count))
    })
}

impl PartialEq for ExponentialRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scale() == other.scale()
            && self.zero_threshold == other.zero_threshold
            && self.zero_count() == other.zero_count()
            && self.row.moments == other.row.moments
            && self.positive() == other.positive()
            && self.negative() == other.negative()
    }
}

impl PartialEq for ExponentialBuckets<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for ExponentialRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exponential")
            .field("count", &self.count())
            .field("sum", &self.sum())
            .field("min", &self.min())
            .field("max", &self.max())
            .field("scale", &self.scale())
            .field("zeros", &self.zero_count())
            .field("positive", &self.positive())
            .field("negative", &self.negative())
            .finish()
    }
}

impl fmt::Debug for ExponentialBuckets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

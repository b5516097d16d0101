//! Summaries: observations in buckets so fine that quantiles can be told from them.

use crate::model::clock::Timestamp;
use crate::model::heap;
use crate::model::limits::MAX_SUMMARY_OCTAVES;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::exponential::Exponential;
use crate::model::snapshot::exponential::ExponentialShape;
use crate::model::snapshot::exponential_ref::ExponentialRef;
use crate::model::snapshot::window::Held;
use crate::model::snapshot::window::Window;
use crate::model::snapshot::window::WindowShape;
use std::fmt;
use std::sync::Arc;

/// What the summaries of one metric have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SummaryShape {
    /// Significant digits of every quantile.
    pub(crate) digits: u8,
    /// The quantiles that exporters show.
    pub(crate) quantiles: Box<[f64]>,
}

/// Count and sum of some observations.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Gain {
    pub(crate) count: u64,
    pub(crate) sum: ExactSum,
}

/// The summary of one series. Shared with the cuts that show it: what changes is copied, the rest is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Digest {
    pub(super) observed: Option<Arc<Exponential>>,
    /// Everything since the start, where what is observed is of a window alone.
    pub(super) total: Option<Gain>,
}

/// The windowed summary of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Digests(pub(super) Option<Arc<Recent>>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recent {
    pub(super) total: Gain,
    pub(super) window: Window<Digest>,
}

impl Digest {
    /// What it takes beside itself; what is shared counts only with `all`.
    pub(super) fn heap_bytes(&self, all: bool) -> usize {
        let observed = self.observed.as_ref().filter(|seen| all || Arc::strong_count(seen) == 1);
        let observed = observed.map_or(0, |seen| heap::arc(&**seen) + seen.heap_bytes());
        observed + self.total.as_ref().map_or(0, |total| total.sum.heap_bytes())
    }
}

impl Digests {
    /// What it takes beside itself; what is shared counts only with `all`.
    pub(super) fn heap_bytes(&self, all: bool) -> usize {
        let Some(recent) = self.0.as_ref().filter(|recent| all || Arc::strong_count(recent) == 1) else {
            return 0;
        };
        let window = recent.window.heap_bytes(|digest| digest.heap_bytes(all));
        heap::arc(&**recent) + recent.total.sum.heap_bytes() + window
    }
}

impl SummaryShape {
    /// The coarsest scale whose buckets are narrow enough: half a bucket is less than half a unit of the last digit.
    fn scale(&self) -> i32 {
        match self.digits {
            0 | 1 => 3,
            2 => 7,
            3 => 10,
            _ => 13,
        }
    }

    /// What of it says how observations are counted.
    pub(crate) fn counting(&self) -> Counting {
        let scale = self.scale();
        Counting { scale, max_buckets: MAX_SUMMARY_OCTAVES << scale }
    }
}

/// How the observations of a summary are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counting {
    scale: i32,
    pub(crate) max_buckets: u32,
}

impl Default for SummaryShape {
    fn default() -> Self {
        Self { digits: 2, quantiles: Box::new([0.5, 0.9, 0.99]) }
    }
}

impl Gain {
    /// Adds one observation, or answers `false` and changes nothing when `add` finds the sum out of range.
    pub(crate) fn observe(&mut self, add: impl FnOnce(&mut ExactSum) -> bool) -> bool {
        let fits = add(&mut self.sum);
        self.count = self.count.saturating_add(u64::from(fits));
        fits
    }
}

impl Held for Gain {
    fn merge(&mut self, other: &Self, _max_buckets: u32) -> bool {
        let fits = self.sum.merge(&other.sum);
        if fits {
            self.count = self.count.saturating_add(other.count);
        }
        fits
    }
}

impl Digest {
    /// Counts one observation, or answers `false` and changes nothing when `add` finds the sum out of range.
    pub(crate) fn observe(
        &mut self,
        counting: Counting,
        value: f64,
        add: impl FnOnce(&mut ExactSum) -> bool,
    ) -> bool {
        let observed = self.observed.get_or_insert_with(|| Arc::new(Exponential::at_scale(counting.scale)));
        let shape = ExponentialShape { max_buckets: counting.max_buckets, zero_threshold: 0.0 };
        Arc::make_mut(observed).observe(value, shape, add)
    }

    pub(super) fn of_window(window: Self, total: Gain) -> Self {
        Self { total: Some(total), ..window }
    }

    pub(super) fn get<'a>(&'a self, quantiles: &'a [f64]) -> SummaryRef<'a> {
        SummaryRef { observed: self.observed.as_deref(), total: self.total.as_ref(), quantiles }
    }
}

impl Held for Digest {
    fn merge(&mut self, other: &Self, max_buckets: u32) -> bool {
        let Some(theirs) = &other.observed else { return true };
        match &mut self.observed {
            Some(ours) => Arc::make_mut(ours).merge(theirs, max_buckets),
            None => {
                self.observed = Some(Arc::clone(theirs));
                true
            }
        }
    }
}

impl Digests {
    /// Counts one observation; false if it cannot be added to the sum, or is older than the whole window.
    pub(crate) fn observe(
        &mut self,
        counting: Counting,
        shape: WindowShape,
        at: Timestamp,
        value: f64,
        add: impl Fn(&mut ExactSum) -> bool,
    ) -> bool {
        let recent = self
            .0
            .get_or_insert_with(|| Arc::new(Recent { total: Gain::default(), window: Window::new(shape) }));
        let Recent { total, window } = Arc::make_mut(recent);
        let Some(slot) = window.slot(shape, at) else { return false };
        // Either may find its sum out of range, and then neither has changed.
        let mut next = total.clone();
        let taken = next.observe(&add) && slot.observe(counting, value, &add);
        if taken {
            *total = next;
        }
        taken
    }

    pub(super) fn merge(&mut self, other: &Self, max_buckets: u32) -> bool {
        let Some(theirs) = &other.0 else { return true };
        let Some(ours) = &mut self.0 else {
            self.0 = Some(Arc::clone(theirs));
            return true;
        };
        let ours = Arc::make_mut(ours);
        // Both, whatever does not fit.
        let window = ours.window.merge(&theirs.window, max_buckets);
        ours.total.merge(&theirs.total, 0) && window
    }

    /// What it comes to at a time.
    pub(super) fn at(&self, counting: Counting, shape: WindowShape, now: Timestamp) -> Digest {
        let mut all = Digest::default();
        let Some(recent) = &self.0 else { return all };
        for slot in recent.window.within(shape, now) {
            // A window is a part of the total, whose sum is within its range.
            let _ = all.merge(slot, counting.max_buckets);
        }
        Digest::of_window(all, recent.total.clone())
    }
}

/// The summary of one series: quantiles of what was observed, with an error that is known.
///
/// Observations are counted in buckets whose width is a fixed share of their value, so that every [`quantile`](Self::quantile) is within
/// [`relative_error`](Self::relative_error) of an observation of exactly its rank. This is the layout of a base-2 exponential histogram, and the error
/// bound is that of DDSketch (C. Masson, J. E. Rim, H. K. Lee, "DDSketch", 2019). Count, sum and extremes are exact, and so is merging.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Metric, Summary, Timestamp};
///
/// let mut wait = Summary::<u64>::builder("wait").value(|e| Some(*e)).build()?;
/// for value in 1..=1_000 {
///     let _ = wait.handle_event(&value, &Context::new(Timestamp::default(), 1));
/// }
/// let mut family = Family::new(wait.descriptor().clone());
/// wait.snapshot(&mut FamilyWriter::whole(&mut family));
/// let wait = family.find(&[]).and_then(|series| series.value().summary()).unwrap();
/// assert_eq!((wait.count(), wait.sum(), wait.min(), wait.max()), (1_000, 500_500.0, Some(1.0), Some(1_000.0)));
/// assert!((wait.quantile(0.99).unwrap() - 990.0).abs() <= 0.005 * 990.0); // two digits
/// assert!((wait.std_dev().unwrap() - 288.7).abs() <= 0.005 * 1_000.0);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct SummaryRef<'a> {
    observed: Option<&'a Exponential>,
    total: Option<&'a Gain>,
    quantiles: &'a [f64],
}

impl<'a> SummaryRef<'a> {
    /// How many observations; of a windowed summary, those within its window.
    pub fn count(&self) -> u64 {
        self.buckets().map_or(0, |buckets| buckets.count())
    }

    /// Their sum: exact, rounded here.
    pub fn sum(&self) -> f64 {
        self.buckets().map_or(0.0, |buckets| buckets.sum())
    }

    /// How many observations since the start, also of a windowed summary: what formats show that expect a count which never falls.
    pub fn total_count(&self) -> u64 {
        self.total.map_or_else(|| self.count(), |total| total.count)
    }

    /// The sum of all observations since the start, also of a windowed summary: exact, rounded here.
    pub fn total_sum(&self) -> f64 {
        self.total.map_or_else(|| self.sum(), |total| total.sum.value())
    }

    /// The smallest observation; `None` without one.
    pub fn min(&self) -> Option<f64> {
        self.buckets()?.min()
    }

    /// The largest observation; `None` without one.
    pub fn max(&self) -> Option<f64> {
        self.buckets()?.max()
    }

    /// Sum by count: exact, rounded twice. `None` without observations.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum() / count as f64)
    }

    /// The standard deviation of all that was observed (not an estimate from a sample), from the middles of the buckets: off by at most
    /// [`relative_error`](Self::relative_error) times the largest magnitude. `None` without observations, and where squares are beyond every `f64`. Costs a pass over the buckets.
    pub fn std_dev(&self) -> Option<f64> {
        let buckets = self.buckets()?;
        // Welford's, about the mean of the middles: about the exact mean, the square of the difference between the two would be added.
        let (mut count, mut centre, mut squares) = (0.0, 0.0, 0.0);
        buckets.each_middle(|middle, held| {
            let (held, away) = (held as f64, middle - centre);
            count += held;
            centre += away * (held / count);
            squares += held * away * (middle - centre);
        });
        let deviation = (squares / count).max(0.0).sqrt();
        deviation.is_finite().then_some(deviation)
    }

    /// The value that the share `q` of the observations does not exceed, by the nearest rank: within
    /// [`relative_error`](Self::relative_error) of the observation of rank `q * count`, rounded up. `quantile(0.0)` and `quantile(1.0)` are the extremes,
    /// exactly.
    ///
    /// `None` without observations, for a `q` outside 0..=1, and for a NaN. Costs a pass over the buckets.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.buckets()?.quantile(q)
    }

    /// How far a quantile may be from an observation, as a share of its magnitude: half a unit of the last of the metric's
    /// [significant digits](crate::DescriptorBuilder::digits) or less, as long as the largest and the smallest magnitude are less than a factor of
    /// 2^64 apart; beyond, twice as much for each doubling of that range.
    pub fn relative_error(&self) -> f64 {
        self.buckets().map_or(0.0, |buckets| buckets.relative_error())
    }

    /// The quantiles that the metric's definition names, with what they come to; nothing without observations.
    pub fn quantiles(&self) -> impl Iterator<Item = (f64, f64)> + use<'a> {
        let this = *self;
        this.quantiles.iter().filter_map(move |q| Some((*q, this.quantile(*q)?)))
    }

    /// The observations by bucket.
    pub fn buckets(&self) -> Option<ExponentialRef<'a>> {
        let observed = self.observed.filter(|observed| !observed.is_empty());
        observed.map(|observed| ExponentialRef::new(observed, 0.0))
    }
}

impl PartialEq for SummaryRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.buckets() == other.buckets()
            && self.total_count() == other.total_count()
            && self.total_sum() == other.total_sum()
            && self.quantiles == other.quantiles
    }
}

impl fmt::Debug for SummaryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Summary")
            .field("count", &self.count())
            .field("sum", &self.sum())
            .field("min", &self.min())
            .field("max", &self.max())
            .field("quantiles", &self.quantiles().collect::<Vec<_>>())
            .finish()
    }
}

//! The column of histograms: a row of buckets and the moments per series.

use crate::model::heap;
use crate::model::snapshot::columns::Column;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::columns::copy_rows;
use crate::model::snapshot::columns::make_room;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::value::HistogramRef;
use crate::sync::fetch;
use std::ops::Range;

/// Sum and extremes of the observations of one series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moments {
    pub(crate) sum: ExactSum,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Every histogram of one metric: a row of buckets and the moments per series.
///
/// Buckets are 32 bits wide until one of the metric's counts might outgrow them, then all are 64 bits wide: half the memory
/// for nearly everybody, one rare copy for the rest. The number of observations is the sum of the buckets.
#[derive(Clone, Debug)]
pub(crate) struct Histograms {
    width: usize,
    counts: Counts,
    moments: Vec<Moments>,
    /// How many observations surely fit into any narrow count: so that none has to be looked at by each.
    room: u32,
}

#[derive(Clone, Debug)]
enum Counts {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

/// Integers of several series, with the row and the bucket of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed<'a> {
    pub(crate) rows: &'a [u32],
    pub(crate) buckets: &'a [u16],
    pub(crate) integers: &'a [u64],
}

/// The integers between two that were seen of a series, these included; none as it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    min: u64,
    max: u64,
    /// Of the integers that are not in the moments yet; nothing between two batches.
    sum: u64,
    /// Whether the moments do not know one of the two yet.
    is_news: bool,
}

/// Up to so many series, what a batch brings is added up by series first: it costs each series something, and each event less.
const FEW_SERIES: usize = 32;

/// Integers below this are added up in 64 bits, as many as a batch may have.
const SMALL: u64 = u64::MAX / MOST_INTEGERS as u64;

const MOST_INTEGERS: u32 = 128;

/// The buckets of one series.
#[derive(Clone, Copy, Debug)]
pub(super) enum Buckets<'a> {
    Narrow(&'a [u32]),
    Wide(&'a [u64]),
}

impl Histograms {
    /// No histogram yet; each will have a bucket per bound and one above.
    pub(crate) fn new(bounds: usize) -> Self {
        Self { width: bounds + 1, counts: Counts::Narrow(Vec::new()), moments: Vec::new(), room: 0 }
    }

    /// Counts one observation, or answers `false` and changes nothing when `add` finds the sum out of range.
    ///
    /// `roughly` is the value within a part in 10^15; `value` is asked for if the observation may be an extreme.
    #[inline(always)]
    pub(crate) fn observe(
        &mut self,
        series: usize,
        bucket: usize,
        roughly: f64,
        value: impl FnOnce() -> f64,
        add: impl FnOnce(&mut ExactSum) -> bool,
    ) -> bool {
        if self.room == 0 {
            self.find_room(1);
        }
        let Some(moments) = self.moments.get_mut(series) else { return false };
        if !add(&mut moments.sum) {
            return false;
        }
        if !moments.surely_within(roughly) {
            let value = unsigned_zero(value());
            moments.min = moments.min.min(value);
            moments.max = moments.max.max(value);
        }
        let at = series * self.width + bucket;
        match &mut self.counts {
            Counts::Narrow(counts) => {
                self.room -= 1;
                if let Some(count) = counts.get_mut(at) {
                    *count += 1;
                }
            }
            Counts::Wide(counts) => {
                if let Some(count) = counts.get_mut(at) {
                    *count = count.saturating_add(1);
                }
            }
        }
        true
    }

    /// Counts observations of one series, which `add` adds to the sum, or answers `false` and changes nothing.
    #[inline(always)]
    pub(crate) fn observe_all(
        &mut self,
        series: usize,
        buckets: impl ExactSizeIterator<Item = usize>,
        (min, max): (f64, f64),
        add: impl FnOnce(&mut ExactSum) -> bool,
    ) -> bool {
        let many = buckets.len() as u32;
        if self.room < many {
            self.find_room(many);
        }
        let Some(moments) = self.moments.get_mut(series) else { return false };
        if !add(&mut moments.sum) {
            return false;
        }
        moments.include(min, max);
        let row = series * self.width..(series + 1) * self.width;
        match &mut self.counts {
            Counts::Narrow(counts) => {
                self.room -= many;
                let counts = counts.get_mut(row).unwrap_or_default();
                for bucket in buckets {
                    if let Some(count) = counts.get_mut(bucket) {
                        *count += 1;
                    }
                }
            }
            Counts::Wide(counts) => {
                let counts = counts.get_mut(row).unwrap_or_default();
                for bucket in buckets {
                    if let Some(count) = counts.get_mut(bucket) {
                        *count = count.saturating_add(1);
                    }
                }
            }
        }
        true
    }

    /// Counts integers of several series, which `add` adds to their sums, in two passes of which each has all it needs in registers:
    /// the numbers of those whose sum is then out of range, a bit each; they are not counted.
    ///
    /// `extents` holds what was seen of each series before, or nothing of those at the end; `number`, which never falls, is the value of an integer.
    #[inline(always)]
    pub(crate) fn observe_integers(
        &mut self,
        Observed { rows, buckets, integers }: Observed<'_>,
        extents: &mut Vec<Extent>,
        number: impl Fn(u64) -> f64,
        (takes, add): (impl Fn(&ExactSum) -> bool, impl Fn(&mut ExactSum, u64) -> bool),
    ) -> u64 {
        let many = rows.len().min(integers.len()) as u32;
        if self.room < many {
            self.find_room(many);
        }
        if extents.len() < self.moments.len() {
            let missing = self.moments.len() - extents.len();
            make_room(extents, missing);
            extents.resize(self.moments.len(), Extent::default());
        }
        let few = self.moments.len() <= FEW_SERIES && many <= MOST_INTEGERS;
        let refused = if few
            && integers.iter().fold(0, |all, integer| all | integer) < SMALL
            && self.moments.iter().all(|moments| takes(&moments.sum))
        {
            add_up(extents, rows, integers);
            self.moments.iter_mut().zip(extents).for_each(|(moments, extent)| {
                let _ = add(&mut moments.sum, std::mem::take(&mut extent.sum));
                if std::mem::take(&mut extent.is_news) {
                    moments.include(number(extent.min), number(extent.max));
                }
            });
            0
        } else {
            add_integers(&mut self.moments, extents, (rows, integers), number, add)
        };
        let (rows, buckets) = (rows.get(..many as usize), buckets.get(..many as usize));
        let cells = Cells { rows: rows.unwrap_or_default(), buckets: buckets.unwrap_or_default() };
        match &mut self.counts {
            Counts::Narrow(counts) if refused == 0 => count_all(counts, self.width, cells),
            counts => {
                let counted = cells.numbers(self.width).enumerate();
                let counted = counted.filter(|(place, _)| refused >> place & 1 == 0);
                counted.for_each(|(_, cell)| counts.count(cell));
            }
        }
        if let Counts::Narrow(_) = self.counts {
            // As many for those refused, which leaves less room than there is.
            self.room -= many;
        }
        refused
    }

    /// Looks at the highest count, once in as many observations as fit below the end of its range.
    #[cold]
    fn find_room(&mut self, many: u32) {
        if let Counts::Narrow(counts) = &self.counts {
            self.room = u32::MAX - counts.iter().copied().max().unwrap_or_default();
            if self.room < many {
                self.widen();
            }
        }
    }

    fn widen(&mut self) {
        if let Counts::Narrow(counts) = &self.counts {
            self.counts = Counts::Wide(counts.iter().copied().map(u64::from).collect());
            self.room = u32::MAX;
        }
    }

    /// Replaces the histogram of a series, or appends it as the next one.
    pub(super) fn put(&mut self, series: usize, buckets: &[u64], moments: Moments) {
        if series == self.moments.len() {
            Column::push(self);
        }
        if let Some(row) = self.moments.get_mut(series) {
            *row = moments;
        }
        if buckets.iter().any(|count| *count > u64::from(u32::MAX)) {
            self.widen();
        }
        if let Counts::Narrow(_) = self.counts {
            self.room = 0;
        }
        let row = series * self.width..(series + 1) * self.width;
        match &mut self.counts {
            Counts::Narrow(counts) => put_row(counts, row, buckets.iter().map(|count| *count as u32)),
            Counts::Wide(counts) => put_row(counts, row, buckets.iter().copied()),
        }
    }

    /// Adds a row of another metric's histograms to one of these; false if the sum is out of range, and then nothing is added.
    pub(super) fn add_row(&mut self, row: usize, other: &Self, series: usize) -> bool {
        let Some(moments) = self.moments.get_mut(row) else { return true };
        let Some(theirs) = other.moments.get(series) else { return true };
        if self.width != other.width || !moments.sum.merge(&theirs.sum) {
            return false;
        }
        moments.min = moments.min.min(theirs.min);
        moments.max = moments.max.max(theirs.max);
        let (ours, theirs) =
            (row * self.width..(row + 1) * self.width, series * self.width..(series + 1) * self.width);
        self.room = 0;
        if let (Counts::Narrow(counts), Counts::Narrow(others)) = (&mut self.counts, &other.counts) {
            let (cells, others) = (
                counts.get_mut(ours.clone()).unwrap_or_default(),
                others.get(theirs.clone()).unwrap_or_default(),
            );
            let mut fits = true;
            for (cell, other) in cells.iter().zip(others) {
                fits &= cell.checked_add(*other).is_some();
            }
            if fits {
                cells.iter_mut().zip(others).for_each(|(cell, other)| *cell += *other);
                return true;
            }
        }
        self.widen();
        let others = match &other.counts {
            Counts::Narrow(counts) => Buckets::Narrow(counts.get(theirs).unwrap_or_default()),
            Counts::Wide(counts) => Buckets::Wide(counts.get(theirs).unwrap_or_default()),
        };
        if let Counts::Wide(counts) = &mut self.counts {
            let cells = counts.get_mut(ours).unwrap_or_default();
            cells.iter_mut().zip(others.iter()).for_each(|(cell, other)| *cell = cell.saturating_add(other));
        }
        true
    }

    pub(super) fn get<'a>(&'a self, series: usize, bounds: &'a [f64]) -> Option<HistogramRef<'a>> {
        let row = series * self.width..(series + 1) * self.width;
        let buckets = match &self.counts {
            Counts::Narrow(counts) => Buckets::Narrow(counts.get(row)?),
            Counts::Wide(counts) => Buckets::Wide(counts.get(row)?),
        };
        Some(HistogramRef::new(bounds, buckets, self.moments.get(series)?))
    }

    pub(super) fn moments(&self, series: usize) -> Option<&Moments> {
        self.moments.get(series)
    }

    pub(super) fn clear(&mut self) {
        self.moments.clear();
        match &mut self.counts {
            Counts::Narrow(counts) => counts.clear(),
            Counts::Wide(counts) => counts.clear(),
        }
    }
}

impl Column for Histograms {
    fn fetch(&self) {
        fetch(self.moments.as_ptr());
        match &self.counts {
            Counts::Narrow(counts) => fetch(counts.as_ptr()),
            Counts::Wide(counts) => fetch(counts.as_ptr()),
        }
    }

    fn of(descriptor: &Descriptor) -> Self {
        Self::new(descriptor.bounds().len())
    }

    fn push(&mut self) {
        make_room(&mut self.moments, 1);
        self.moments.push(Moments::default());
        let len = self.moments.len() * self.width;
        match &mut self.counts {
            Counts::Narrow(counts) => {
                make_room(counts, self.width);
                counts.resize(len, 0);
            }
            Counts::Wide(counts) => {
                make_room(counts, self.width);
                counts.resize(len, 0);
            }
        }
    }

    fn len(&self) -> usize {
        self.moments.len()
    }

    fn copy(&mut self, live: &Self, rows: Range<usize>) {
        self.room = live.room;
        copy_rows(&mut self.moments, &live.moments, rows.clone());
        let cells = rows.start * self.width..rows.end * self.width;
        match (&mut self.counts, &live.counts) {
            (Counts::Narrow(counts), Counts::Narrow(live)) => copy_rows(counts, live, cells),
            (Counts::Wide(counts), Counts::Wide(live)) => copy_rows(counts, live, cells),
            (counts @ Counts::Narrow(_), Counts::Wide(live)) => {
                // What did not change since is equal in `live`, so all of it may be taken.
                *counts = Counts::Wide(live.get(..cells.end).unwrap_or_default().to_vec());
            }
            // Counts never shrink back; `self` held another metric's.
            (counts @ Counts::Wide(_), Counts::Narrow(live)) => {
                *counts = Counts::Narrow(live.get(..cells.end).unwrap_or_default().to_vec());
            }
        }
    }

    fn empty(&self) -> Values {
        Values::Histogram(Self::new(self.width - 1))
    }

    fn heap_bytes(&self, _all: bool) -> usize {
        let counts = match &self.counts {
            Counts::Narrow(counts) => heap::vec(counts),
            Counts::Wide(counts) => heap::vec(counts),
        };
        let sums = self.moments.iter().map(|moments| moments.sum.heap_bytes());
        counts + heap::vec(&self.moments) + sums.sum::<usize>()
    }

    fn take_out(&mut self, is_gone: &dyn Fn(usize) -> bool) -> Self {
        let bounds = self.width - 1;
        let all = std::mem::replace(self, Self::new(bounds));
        let mut gone = Self::new(bounds);
        for series in 0..all.len() {
            let (Some(histogram), Some(moments)) = (all.get(series, &[]), all.moments(series)) else {
                continue;
            };
            let buckets: Vec<u64> = histogram.buckets().collect();
            let into = if is_gone(series) { &mut gone } else { &mut *self };
            into.put(into.len(), &buckets, moments.clone());
        }
        gone
    }

    fn within<'v>(&self, values: &'v mut Values) -> Option<&'v mut Self> {
        match values {
            Values::Histogram(column) if column.width == self.width => Some(column),
            _ => None,
        }
    }
}

/// Equal counts, however wide they are stored.
impl PartialEq for Histograms {
    fn eq(&self, other: &Self) -> bool {
        let same_counts = match (&self.counts, &other.counts) {
            (Counts::Narrow(ours), Counts::Narrow(theirs)) => ours == theirs,
            (ours, theirs) => ours.whole().iter().eq(theirs.whole().iter()),
        };
        self.width == other.width && same_counts && self.moments == other.moments
    }
}

/// Apart, as those after it are, so that all that a loop needs stays in registers.
#[inline(never)]
fn add_up(extents: &mut [Extent], rows: &[u32], integers: &[u64]) {
    for (row, integer) in rows.iter().zip(integers) {
        let Some(extent) = extents.get_mut(*row as usize) else { continue };
        extent.sum += *integer;
        // Equal ones as well: the first may be what no extent is made with.
        if *integer >= extent.max {
            (extent.max, extent.is_news) = (*integer, true);
        }
        if *integer <= extent.min {
            (extent.min, extent.is_news) = (*integer, true);
        }
    }
}

#[inline(never)]
fn add_integers(
    moments: &mut [Moments],
    extents: &mut [Extent],
    (rows, integers): (&[u32], &[u64]),
    number: impl Fn(u64) -> f64,
    add: impl Fn(&mut ExactSum, u64) -> bool,
) -> u64 {
    let mut refused = 0;
    // By place, which is all that there is to count.
    let many = rows.len().min(integers.len());
    let (rows, integers) = (rows.get(..many).unwrap_or_default(), integers.get(..many).unwrap_or_default());
    for place in 0..many {
        let (Some(row), Some(integer)) = (rows.get(place), integers.get(place)) else { break };
        let Some(moments) = moments.get_mut(*row as usize) else { continue };
        if !add(&mut moments.sum, *integer) {
            refused |= 1 << place;
            continue;
        }
        let Some(extent) = extents.get_mut(*row as usize) else { continue };
        // Each by itself, because values that only rise are common. Equal ones as well: the first may be what no extent is made with.
        if *integer >= extent.max {
            extent.max = *integer;
            moments.max = moments.max.max(number(*integer));
        }
        if *integer <= extent.min {
            extent.min = *integer;
            moments.min = moments.min.min(number(*integer));
        }
    }
    refused
}

#[inline(never)]
fn count_all(counts: &mut [u32], width: usize, cells: Cells<'_>) {
    for cell in cells.numbers(width) {
        if let Some(count) = counts.get_mut(cell) {
            *count += 1;
        }
    }
}

/// Buckets by row and number.
#[derive(Clone, Copy)]
struct Cells<'a> {
    rows: &'a [u32],
    buckets: &'a [u16],
}

impl<'a> Cells<'a> {
    #[inline(always)]
    fn numbers(self, width: usize) -> impl Iterator<Item = usize> + use<'a> {
        let cells = self.rows.iter().zip(self.buckets);
        cells.map(move |(row, bucket)| *row as usize * width + usize::from(*bucket))
    }
}

impl Counts {
    /// Counts one more in a cell; narrow ones have room for it.
    fn count(&mut self, cell: usize) {
        match self {
            Self::Narrow(counts) => counts.get_mut(cell).into_iter().for_each(|count| *count += 1),
            Self::Wide(counts) => {
                counts.get_mut(cell).into_iter().for_each(|count| *count = count.saturating_add(1));
            }
        }
    }

    fn whole(&self) -> Buckets<'_> {
        match self {
            Self::Narrow(counts) => Buckets::Narrow(counts),
            Self::Wide(counts) => Buckets::Wide(counts),
        }
    }
}

impl<'a> Buckets<'a> {
    pub(super) fn iter(self) -> impl Iterator<Item = u64> + use<'a> {
        let (narrow, wide): (&[u32], &[u64]) = match self {
            Self::Narrow(counts) => (counts, &[]),
            Self::Wide(counts) => (&[], counts),
        };
        narrow.iter().copied().map(u64::from).chain(wide.iter().copied())
    }
}

impl Default for Extent {
    fn default() -> Self {
        Self { min: u64::MAX, max: 0, sum: 0, is_news: false }
    }
}

impl Default for Moments {
    fn default() -> Self {
        Self { sum: ExactSum::default(), min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Moments {
    /// Whether a value is no new extreme, as far as its first twelve digits tell.
    #[inline(always)]
    fn surely_within(&self, roughly: f64) -> bool {
        const SLACK: f64 = 1e-12;
        roughly > self.min + self.min.abs() * SLACK && roughly < self.max - self.max.abs() * SLACK
    }

    #[inline]
    pub(super) fn include(&mut self, min: f64, max: f64) {
        self.min = self.min.min(unsigned_zero(min));
        self.max = self.max.max(unsigned_zero(max));
    }

    /// Adds those of other observations; false if the sum is out of range, and then nothing has changed.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        let fits = self.sum.merge(&other.sum);
        if fits {
            self.include(other.min, other.max);
        }
        fits
    }

    pub(super) fn extremes(&self) -> Option<(f64, f64)> {
        (self.min <= self.max).then_some((self.min, self.max))
    }
}

/// Zero without its sign: of two zeros, which one is the extreme would depend on the order in which they come.
#[inline]
fn unsigned_zero(value: f64) -> f64 {
    value + 0.0
}

fn put_row<T>(column: &mut [T], row: Range<usize>, values: impl Iterator<Item = T>) {
    let cells = column.get_mut(row).unwrap_or_default();
    cells.iter_mut().zip(values).for_each(|(cell, value)| *cell = value);
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    fn buckets(histograms: &Histograms, series: usize) -> Vec<u64> {
        histograms.get(series, &[1.0]).unwrap().buckets().collect()
    }

    #[test]
    fn counts_grow_wider_when_they_must_and_stale_copies_follow() {
        let mut live = Histograms::new(1);
        live.put(0, &[u64::from(u32::MAX) - 1, 7], Moments::default());
        live.put(1, &[1, 2], Moments::default());
        let mut stale = live.clone();
        assert!(live.observe(0, 0, 0.5, || 0.5, |sum| sum.add(0.5)));
        assert!(matches!(live.counts, Counts::Narrow(_)));
        assert!(live.observe(0, 0, 0.5, || 0.5, |sum| sum.add(0.5)));
        assert!(matches!(live.counts, Counts::Wide(_)));
        assert_eq!((buckets(&live, 0), buckets(&live, 1)), (vec![1 << 32, 7], vec![1, 2]));
        assert_ne!(stale, live);
        stale.copy(&live, 0..2);
        assert_eq!(stale, live);
        assert!(live.observe(1, 1, 3.0, || 3.0, |sum| sum.add(3.0)));
        stale.copy(&live, 0..2);
        assert_eq!(stale, live);
    }

    #[test]
    fn a_count_that_was_put_high_grows_wider_too() {
        let mut live = Histograms::new(1);
        live.put(0, &[0, 0], Moments::default());
        assert!(live.observe_all(0, [0, 1, 1].into_iter(), (0.5, 2.0), |sum| sum.add(4.5)));
        live.put(0, &[u64::from(u32::MAX), 2], Moments::default());
        assert!(live.observe(0, 0, 0.5, || 0.5, |sum| sum.add(0.5)));
        assert_eq!(buckets(&live, 0), [1 << 32, 2]);
    }

    #[test]
    fn equality_does_not_look_at_the_width_of_counts() {
        let mut narrow = Histograms::new(1);
        narrow.put(0, &[3, 4], Moments::default());
        let mut wide = narrow.clone();
        wide.widen();
        assert_eq!(narrow, wide);
        wide.put(0, &[3, 5], Moments::default());
        assert_ne!(narrow, wide);
    }

    /// Observes integers of several series, all in the first bucket.
    fn observe(live: &mut Histograms, extents: &mut Vec<Extent>, rows: &[u32], integers: &[u64]) -> u64 {
        let observed = Observed { rows, buckets: &vec![0; rows.len()], integers };
        let sums = (ExactSum::takes_unsigned, ExactSum::add_unsigned);
        live.observe_integers(observed, extents, |integer| integer as f64, sums)
    }

    fn extremes(live: &Histograms, series: usize) -> Option<(f64, f64)> {
        live.moments(series).and_then(Moments::extremes)
    }

    #[test]
    fn the_smallest_and_the_largest_integer_that_there_is_are_extremes_like_any_other() {
        for integer in [0, u64::MAX] {
            let (mut live, mut extents) = (Histograms::new(1), Vec::new());
            live.put(0, &[0, 0], Moments::default());
            for _ in 0..2 {
                observe(&mut live, &mut extents, &[0], &[integer]);
                assert_eq!(extremes(&live, 0), Some((integer as f64, integer as f64)));
            }
        }
    }

    #[test]
    fn integers_that_do_not_add_up_in_64_bits_are_added_one_by_one() {
        let (mut live, mut extents) = (Histograms::new(1), Vec::new());
        live.put(0, &[0, 0], Moments::default());
        let mut sum = ExactSum::default();
        for integers in [[1, 1, 1], [SMALL, SMALL - 1, 7], [u64::MAX, u64::MAX - 1, 9], [3, 2, 1]] {
            assert_eq!(observe(&mut live, &mut extents, &[0, 0, 0], &integers), 0);
            integers.into_iter().for_each(|integer| assert!(sum.add_unsigned(integer)));
            assert_eq!(live.moments(0).unwrap().sum, sum);
        }
        assert_eq!((buckets(&live, 0), extremes(&live, 0)), (vec![12, 0], Some((1.0, u64::MAX as f64))));
    }

    #[test]
    fn what_a_sum_near_its_end_does_not_take_is_refused_by_itself() {
        let mut sum = ExactSum::default();
        assert!(sum.add_nanos(i128::MAX - 5));
        let (mut live, mut extents) = (Histograms::new(1), Vec::new());
        live.put(0, &[1, 0], Moments { sum, min: 1.0, max: 1.0 });
        let observed = Observed { rows: &[0, 0, 0], buckets: &[0, 0, 0], integers: &[3, 4, 2] };
        let sums = (ExactSum::takes_nanos, ExactSum::add_some_nanos);
        assert_eq!(live.observe_integers(observed, &mut extents, |nanos| nanos as f64, sums), 0b10);
        assert_eq!(buckets(&live, 0), [3, 0]);
    }

    #[test]
    fn a_batch_leaves_the_extremes_of_series_that_are_not_in_it() {
        let (mut live, mut extents) = (Histograms::new(1), Vec::new());
        live.put(0, &[0, 0], Moments::default());
        let mut sum = ExactSum::default();
        assert!(sum.add_whole(-8));
        live.put(1, &[2, 0], Moments { sum, min: -5.0, max: -3.0 });
        for (integers, expected) in [([5, 6], (5.0, 6.0)), ([6, 5], (5.0, 6.0)), ([9, 2], (2.0, 9.0))] {
            observe(&mut live, &mut extents, &[0, 0], &integers);
            assert_eq!((extremes(&live, 0), extremes(&live, 1)), (Some(expected), Some((-5.0, -3.0))));
        }
    }

    #[test]
    fn a_series_costs_what_the_budget_of_memory_counts_on() {
        assert!(size_of::<Moments>() <= 40);
    }
}

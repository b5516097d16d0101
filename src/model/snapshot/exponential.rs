//! The column of exponential histograms.

use crate::model::heap;
use crate::model::limits::DEFAULT_EXPONENTIAL_BUCKETS;
use crate::model::snapshot::columns::Column;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::columns::copy_rows;
use crate::model::snapshot::columns::make_room;
use crate::model::snapshot::columns::take_rows;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::exponential_ref::ExponentialRef;
use crate::model::snapshot::exponential_scale::MAX_SCALE;
use crate::model::snapshot::exponential_scale::MIN_SCALE;
use crate::model::snapshot::exponential_scale::index_of;
use crate::model::snapshot::histograms::Moments;
use std::ops::Range;

/// What the exponential histograms of one metric have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ExponentialShape {
    /// Buckets of each sign, at most.
    pub(crate) max_buckets: u32,
    /// Up to this magnitude, numbers count as zero.
    pub(crate) zero_threshold: f64,
}

/// Every exponential histogram of one metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exponentials {
    shape: ExponentialShape,
    pub(super) rows: Vec<Exponential>,
}

/// The exponential histogram of one series: at the finest scale at which its buckets are not too many, so that whatever order
/// observations and merges come in, the result is the same.
#[derive(Debug, PartialEq)]
pub(super) struct Exponential {
    pub(super) scale: i32,
    pub(super) zeros: u64,
    pub(super) positive: Run,
    pub(super) negative: Run,
    pub(super) moments: Moments,
}

/// Neighbouring buckets, of which the first and the last hold something.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

impl Exponentials {
    /// Counts one observation, or answers `false` and changes nothing when `add` finds the sum out of range.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        series: usize,
        value: f64,
        add: impl FnOnce(&mut ExactSum) -> bool,
    ) -> bool {
        self.rows.get_mut(series).is_some_and(|row| row.observe(value, self.shape, add))
    }

    /// Adds a row of another metric's histograms to one of these; false if the sum is out of range, and then nothing is added.
    pub(super) fn add_row(&mut self, row: usize, other: &Self, series: usize) -> bool {
        let (Some(ours), Some(theirs)) = (self.rows.get_mut(row), other.rows.get(series)) else {
            return true;
        };
        ours.merge(theirs, self.shape.max_buckets)
    }

    pub(super) fn get(&self, series: usize) -> Option<ExponentialRef<'_>> {
        Some(ExponentialRef::new(self.rows.get(series)?, self.shape.zero_threshold))
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }
}

impl Exponential {
    /// What its buckets and its sum take beside it.
    pub(super) fn heap_bytes(&self) -> usize {
        heap::vec(&self.positive.counts) + heap::vec(&self.negative.counts) + self.moments.sum.heap_bytes()
    }
}

impl Column for Exponentials {
    fn heap_bytes(&self, _all: bool) -> usize {
        heap::vec(&self.rows) + self.rows.iter().map(Exponential::heap_bytes).sum::<usize>()
    }

    fn of(descriptor: &Descriptor) -> Self {
        Self { shape: descriptor.exponential(), rows: Vec::new() }
    }

    fn push(&mut self) {
        make_room(&mut self.rows, 1);
        self.rows.push(Exponential::default());
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn copy(&mut self, live: &Self, rows: Range<usize>) {
        copy_rows(&mut self.rows, &live.rows, rows);
    }

    fn empty(&self) -> Values {
        Values::Exponential(Self { shape: self.shape, rows: Vec::new() })
    }

    fn take_out(&mut self, is_gone: &dyn Fn(usize) -> bool) -> Self {
        Self { shape: self.shape, rows: take_rows(&mut self.rows, is_gone) }
    }

    fn within<'v>(&self, values: &'v mut Values) -> Option<&'v mut Self> {
        match values {
            Values::Exponential(column) if column.shape == self.shape => Some(column),
            _ => None,
        }
    }
}

impl Exponential {
    /// Nothing observed yet, and no finer than this.
    pub(super) fn at_scale(scale: i32) -> Self {
        Self { scale, ..Self::default() }
    }

    #[inline]
    pub(super) fn observe(
        &mut self,
        value: f64,
        shape: ExponentialShape,
        add: impl FnOnce(&mut ExactSum) -> bool,
    ) -> bool {
        if !add(&mut self.moments.sum) {
            return false;
        }
        self.moments.include(value, value);
        self.count(value, shape);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.moments.extremes().is_none()
    }

    fn count(&mut self, value: f64, shape: ExponentialShape) {
        let size = value.abs();
        if size <= shape.zero_threshold {
            self.zeros = self.zeros.saturating_add(1);
            return;
        }
        let index = index_of(size, self.scale);
        let run = if value > 0.0 { &self.positive } else { &self.negative };
        let shift = run.with(Some((index, index))).map_or(0, |ends| shift_for(ends, shape.max_buckets));
        self.coarsen(shift);
        let run = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        run.add(index >> shift, 1);
    }

    pub(super) fn merge(&mut self, other: &Self, max_buckets: u32) -> bool {
        if !self.moments.merge(&other.moments) {
            return false;
        }
        self.zeros = self.zeros.saturating_add(other.zeros);
        let mut scale = self.scale.min(other.scale);
        for (ours, theirs) in [(&self.positive, &other.positive), (&self.negative, &other.negative)] {
            let (ours, theirs) = (ours.ends_at(self.scale - scale), theirs.ends_at(other.scale - scale));
            scale -= joined(ours, theirs).map_or(0, |ends| shift_for(ends, max_buckets));
        }
        self.coarsen(self.scale - scale);
        let shift = other.scale - scale;
        self.positive.add_all(&other.positive, shift);
        self.negative.add_all(&other.negative, shift);
        true
    }

    fn coarsen(&mut self, shift: i32) {
        if shift > 0 {
            self.scale -= shift;
            self.positive.coarsen(shift);
            self.negative.coarsen(shift);
        }
    }
}

impl Run {
    /// The first and the last index, at a scale that is coarser by `shift`.
    fn ends_at(&self, shift: i32) -> Option<(i32, i32)> {
        let last = self.counts.len().checked_sub(1)?;
        Some((self.offset >> shift, (self.offset + last as i32) >> shift))
    }

    fn with(&self, more: Option<(i32, i32)>) -> Option<(i32, i32)> {
        joined(self.ends_at(0), more)
    }

    fn add(&mut self, index: i32, count: u64) {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = (self.offset - index) as usize;
            self.counts.splice(..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let at = (index - self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        if let Some(cell) = self.counts.get_mut(at) {
            *cell = cell.saturating_add(count);
        }
    }

    fn add_all(&mut self, other: &Self, shift: i32) {
        // The ends first, so that the run grows at most once to each side.
        let (Some((first, last)), Some(first_count), Some(last_count)) =
            (other.ends_at(0), other.counts.first(), other.counts.last())
        else {
            return;
        };
        self.add(first >> shift, *first_count);
        if last > first {
            self.add(last >> shift, *last_count);
        }
        let between = (first + 1..last).zip(other.counts.iter().skip(1));
        between.filter(|(_, count)| **count > 0).for_each(|(index, count)| self.add(index >> shift, *count));
    }

    fn coarsen(&mut self, shift: i32) {
        let Some((first, last)) = self.ends_at(shift) else { return };
        let offset = self.offset;
        for at in 0..self.counts.len() {
            let count = self.counts.get_mut(at).map(std::mem::take).unwrap_or_default();
            let to = (((offset + at as i32) >> shift) - first) as usize;
            if let Some(cell) = self.counts.get_mut(to) {
                *cell = cell.saturating_add(count);
            }
        }
        self.counts.truncate((last - first + 1) as usize);
        self.offset = first;
    }
}

/// By how much the scale must fall so that all between these two indices are not too many buckets.
fn shift_for((first, last): (i32, i32), max_buckets: u32) -> i32 {
    let mut shift = 0;
    while i64::from(last >> shift) - i64::from(first >> shift) >= i64::from(max_buckets)
        && shift < MAX_SCALE - MIN_SCALE
    {
        shift += 1;
    }
    shift
}

fn joined(one: Option<(i32, i32)>, other: Option<(i32, i32)>) -> Option<(i32, i32)> {
    match (one, other) {
        (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
        (one, other) => one.or(other),
    }
}

impl Default for ExponentialShape {
    fn default() -> Self {
        Self { max_buckets: DEFAULT_EXPONENTIAL_BUCKETS, zero_threshold: 0.0 }
    }
}

impl Default for Exponential {
    fn default() -> Self {
        let (positive, negative, moments) = (Run::default(), Run::default(), Moments::default());
        Self { scale: MAX_SCALE, zeros: 0, positive, negative, moments }
    }
}

/// `clone_from` keeps the memory: a cut is refreshed again and again.
impl Clone for Exponential {
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        clone.clone_from(self);
        clone
    }

    fn clone_from(&mut self, from: &Self) {
        (self.scale, self.zeros) = (from.scale, from.zeros);
        for (run, from) in [(&mut self.positive, &from.positive), (&mut self.negative, &from.negative)] {
            run.offset = from.offset;
            run.counts.clone_from(&from.counts);
        }
        self.moments.clone_from(&from.moments);
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests;

//! Values in columns: one shape for the metric's live state and for every cut of it.

use crate::model::clock::Timestamp;
use crate::model::name::FieldName;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::descriptor::Kind;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::keys::CHUNK;
use crate::model::snapshot::keys::SeriesKeys;
use crate::model::snapshot::value::HistogramRef;
use crate::model::snapshot::value::Number;
use crate::model::snapshot::value::ValueRef;
use std::ops::Range;

/// The live state of an instrument: its series, their values, and in which cut each chunk of them changed last.
#[derive(Debug)]
pub(crate) struct Live<C> {
    pub(super) keys: SeriesKeys,
    pub(super) column: C,
    changed: Vec<u64>,
    pub(super) overflowed: u64,
    pub(super) saturated: u64,
}

/// The values of every series of one metric. A match per family, not per value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    Counter(Vec<u64>),
    FloatCounter(Vec<ExactSum>),
    Gauge(Vec<f64>),
    UpDown(Vec<i64>),
    Histogram(Histograms),
    Average(Vec<Mean>),
    Fields(Vec<Vec<(FieldName, Number)>>),
}

/// One column of values, one row per series.
pub(crate) trait Column {
    /// Appends the value of a series without observations.
    fn push(&mut self);

    fn len(&self) -> usize;

    /// Makes these rows equal to those of `live`, in place; `self` has every row before them.
    fn copy(&mut self, live: &Self, rows: Range<usize>);

    /// No rows, of the same shape.
    fn empty(&self) -> Values;

    /// The column of this type in `values`, if that is what they are.
    fn within<'v>(&self, values: &'v mut Values) -> Option<&'v mut Self>;
}

/// A value that a plain vector holds as a column.
pub(crate) trait Row: Clone + Default {
    fn column(values: &mut Values) -> Option<&mut Vec<Self>>;

    fn wrap(column: Vec<Self>) -> Values;
}

/// Sum and number of the observations of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    pub(crate) sum: ExactSum,
    pub(crate) count: u64,
}

/// Sum and extremes of the observations of one series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moments {
    pub(crate) sum: ExactSum,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Every histogram of one metric: a row of buckets and the moments per series.
///
/// Buckets are 32 bits wide until one of the metric's counts outgrows them, then all are 64 bits wide: half the memory
/// for nearly everybody, one rare copy for the rest. The number of observations is the sum of the buckets.
#[derive(Clone, Debug)]
pub(crate) struct Histograms {
    width: usize,
    counts: Counts,
    moments: Vec<Moments>,
}

#[derive(Clone, Debug)]
enum Counts {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

/// The buckets of one series.
#[derive(Clone, Copy, Debug)]
pub(super) enum Buckets<'a> {
    Narrow(&'a [u32]),
    Wide(&'a [u64]),
}

impl<C: Column> Live<C> {
    pub(crate) fn new(descriptor: &Descriptor, column: C) -> Self {
        let keys = SeriesKeys::new(descriptor.label_keys_shared());
        Self { keys, column, changed: Vec::new(), overflowed: 0, saturated: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn keys(&self) -> &SeriesKeys {
        &self.keys
    }

    /// The value column, for a change of a row that [`touch`](Self::touch) has announced.
    #[inline]
    pub(crate) fn column_mut(&mut self) -> &mut C {
        &mut self.column
    }

    /// Notes that a series changes in cut `cut`.
    #[inline]
    pub(crate) fn touch(&mut self, series: usize, cut: u64) {
        if let Some(changed) = self.changed.get_mut(series / CHUNK) {
            *changed = cut;
        }
    }

    /// Appends a series without observations.
    #[cold]
    pub(crate) fn push<'v>(&mut self, values: impl Iterator<Item = &'v str>, started: Timestamp) -> usize {
        let series = self.keys.push(values, started);
        self.make_row(series);
        series
    }

    /// The series past the limit, which takes one observation more.
    #[cold]
    pub(crate) fn overflow(&mut self, started: Timestamp) -> usize {
        self.overflowed = self.overflowed.saturating_add(1);
        let series = self.keys.push_overflow(started);
        self.make_row(series);
        series
    }

    #[cold]
    pub(crate) fn count_saturation(&mut self) {
        self.saturated = self.saturated.saturating_add(1);
    }

    fn make_row(&mut self, series: usize) {
        if series == self.column.len() {
            self.column.push();
        }
        if self.changed.len() <= series / CHUNK {
            self.changed.push(0);
        }
    }

    /// The rows of every chunk that changed after cut `since`.
    pub(super) fn rows_changed_after(&self, since: u64) -> impl Iterator<Item = Range<usize>> {
        let len = self.len();
        let rows = move |chunk: usize| chunk * CHUNK..len.min((chunk + 1) * CHUNK);
        let changed = self.changed.iter().enumerate();
        changed.filter(move |(_, changed)| **changed > since).map(move |(chunk, _)| rows(chunk))
    }
}

impl<T: Row> Column for Vec<T> {
    fn push(&mut self) {
        make_room(self, 1);
        Vec::push(self, T::default());
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn copy(&mut self, live: &Self, rows: Range<usize>) {
        copy_rows(self, live, rows);
    }

    fn empty(&self) -> Values {
        T::wrap(Vec::new())
    }

    fn within<'v>(&self, values: &'v mut Values) -> Option<&'v mut Self> {
        T::column(values)
    }
}

macro_rules! rows {
    ($($row:ty => $variant:ident),*) => {$(
        impl Row for $row {
            fn column(values: &mut Values) -> Option<&mut Vec<Self>> {
                if let Values::$variant(column) = values { Some(column) } else { None }
            }

            fn wrap(column: Vec<Self>) -> Values {
                Values::$variant(column)
            }
        }
    )*};
}

rows!(u64 => Counter, ExactSum => FloatCounter, f64 => Gauge, i64 => UpDown, Mean => Average,
      Vec<(FieldName, Number)> => Fields);

impl Values {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        match descriptor.kind() {
            Kind::Counter => Self::Counter(Vec::new()),
            Kind::FloatCounter => Self::FloatCounter(Vec::new()),
            Kind::Gauge => Self::Gauge(Vec::new()),
            Kind::UpDown => Self::UpDown(Vec::new()),
            Kind::Histogram => Self::Histogram(Histograms::new(descriptor.bounds().len())),
            Kind::Average => Self::Average(Vec::new()),
            Kind::Fields => Self::Fields(Vec::new()),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Counter(column) => column.clear(),
            Self::FloatCounter(column) => column.clear(),
            Self::Gauge(column) => column.clear(),
            Self::UpDown(column) => column.clear(),
            Self::Histogram(column) => column.clear(),
            Self::Average(column) => column.clear(),
            Self::Fields(column) => column.clear(),
        }
    }

    pub(super) fn get<'a>(&'a self, series: usize, bounds: &'a [f64]) -> Option<ValueRef<'a>> {
        Some(match self {
            Self::Counter(column) => ValueRef::Counter(*column.get(series)?),
            Self::FloatCounter(column) => ValueRef::FloatCounter(column.get(series)?.value()),
            Self::Gauge(column) => ValueRef::Gauge(*column.get(series)?),
            Self::UpDown(column) => ValueRef::UpDown(*column.get(series)?),
            Self::Histogram(column) => ValueRef::Histogram(column.get(series, bounds)?),
            Self::Average(column) => {
                let Mean { sum, count } = column.get(series)?;
                let (sum, count) = (sum.value(), *count);
                ValueRef::Average { sum, count, mean: (count > 0).then(|| sum / count as f64) }
            }
            Self::Fields(column) => ValueRef::Fields(column.get(series)?),
        })
    }
}

impl Histograms {
    /// No histogram yet; each will have a bucket per bound and one above.
    pub(crate) fn new(bounds: usize) -> Self {
        Self { width: bounds + 1, counts: Counts::Narrow(Vec::new()), moments: Vec::new() }
    }

    /// Counts one observation, or answers `false` and changes nothing when the sum would be out of range.
    #[inline]
    pub(crate) fn observe(&mut self, series: usize, bucket: usize, value: f64) -> bool {
        let Some(moments) = self.moments.get_mut(series) else { return false };
        if !moments.sum.add(value) {
            return false;
        }
        moments.min = moments.min.min(value);
        moments.max = moments.max.max(value);
        let at = series * self.width + bucket;
        if let Counts::Narrow(counts) = &mut self.counts {
            if let Some(count) = counts.get_mut(at) {
                if *count != u32::MAX {
                    *count += 1;
                    return true;
                }
            }
        }
        self.observe_wide(at);
        true
    }

    #[cold]
    fn observe_wide(&mut self, at: usize) {
        self.widen();
        let Counts::Wide(counts) = &mut self.counts else { return };
        if let Some(count) = counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
    }

    fn widen(&mut self) {
        if let Counts::Narrow(counts) = &self.counts {
            self.counts = Counts::Wide(counts.iter().copied().map(u64::from).collect());
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
        let row = series * self.width..(series + 1) * self.width;
        match &mut self.counts {
            Counts::Narrow(counts) => put_row(counts, row, buckets.iter().map(|count| *count as u32)),
            Counts::Wide(counts) => put_row(counts, row, buckets.iter().copied()),
        }
    }

    fn get<'a>(&'a self, series: usize, bounds: &'a [f64]) -> Option<HistogramRef<'a>> {
        let row = series * self.width..(series + 1) * self.width;
        let buckets = match &self.counts {
            Counts::Narrow(counts) => Buckets::Narrow(counts.get(row)?),
            Counts::Wide(counts) => Buckets::Wide(counts.get(row)?),
        };
        Some(HistogramRef::new(bounds, buckets, self.moments.get(series)?))
    }

    fn clear(&mut self) {
        self.moments.clear();
        match &mut self.counts {
            Counts::Narrow(counts) => counts.clear(),
            Counts::Wide(counts) => counts.clear(),
        }
    }
}

impl Column for Histograms {
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

impl Counts {
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

impl Default for Moments {
    fn default() -> Self {
        Self { sum: ExactSum::default(), min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Moments {
    pub(super) fn extremes(&self) -> Option<(f64, f64)> {
        (self.min <= self.max).then_some((self.min, self.max))
    }
}

/// Makes `rows` of `copy` equal to those of `live`, without allocating when they are there already.
fn copy_rows<T: Clone>(copy: &mut Vec<T>, live: &[T], rows: Range<usize>) {
    let there = rows.end.min(copy.len());
    if let (Some(old), Some(new)) = (copy.get_mut(rows.start..there), live.get(rows.start..there)) {
        old.clone_from_slice(new);
    }
    if there < rows.end {
        copy.reserve_exact(live.len().saturating_sub(copy.len()));
        copy.extend_from_slice(live.get(there..rows.end).unwrap_or_default());
    }
}

fn put_row<T>(column: &mut [T], row: Range<usize>, values: impl Iterator<Item = T>) {
    let cells = column.get_mut(row).unwrap_or_default();
    cells.iter_mut().zip(values).for_each(|(cell, value)| *cell = value);
}

/// Growth by a quarter: doubling would let a family that has just grown cost twice its size for ever.
fn make_room<T>(column: &mut Vec<T>, rows: usize) {
    if column.len() + rows > column.capacity() {
        column.reserve_exact(rows.max(column.len() / 4));
    }
}

#[cfg(test)]
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
        assert!(live.observe(0, 0, 0.5));
        assert!(matches!(live.counts, Counts::Narrow(_)));
        assert!(live.observe(0, 0, 0.5));
        assert!(matches!(live.counts, Counts::Wide(_)));
        assert_eq!((buckets(&live, 0), buckets(&live, 1)), (vec![1 << 32, 7], vec![1, 2]));
        assert_ne!(stale, live);
        stale.copy(&live, 0..2);
        assert_eq!(stale, live);
        assert!(live.observe(1, 1, 3.0));
        stale.copy(&live, 0..2);
        assert_eq!(stale, live);
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

    #[test]
    fn a_series_costs_what_the_budget_of_memory_counts_on() {
        assert_eq!((size_of::<Moments>(), size_of::<Mean>()), (40, 32));
    }
}

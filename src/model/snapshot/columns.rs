//! Values in columns: one shape for the metric's live state and for every cut of it.

use crate::model::clock::Timestamp;
use crate::model::heap;
use crate::model::name::FieldName;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::descriptor::Kind;
use crate::model::snapshot::digest::Digest;
use crate::model::snapshot::digest::Digests;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::exemplars::Exemplars;
use crate::model::snapshot::exponential::Exponentials;
use crate::model::snapshot::family::Family;
use crate::model::snapshot::histograms::Histograms;
use crate::model::snapshot::keys::CHUNK;
use crate::model::snapshot::keys::SeriesKeys;
use crate::model::snapshot::states::Present;
use crate::model::snapshot::states::States;
use crate::model::snapshot::states::StatesRef;
use crate::model::snapshot::timed::Beat;
use crate::model::snapshot::timed::Flow;
use crate::model::snapshot::timed::Timed;
use crate::model::snapshot::timed::TimedRef;
use crate::model::snapshot::value::Number;
use crate::model::snapshot::value::ValueRef;
use crate::sync::fetch;
use std::ops::Range;
use std::sync::Arc;

/// The live state of an instrument: its series, their values, and in which cut each chunk of them changed last.
#[derive(Debug)]
pub(crate) struct Live<C> {
    pub(super) keys: SeriesKeys,
    pub(super) column: C,
    pub(super) exemplars: Exemplars,
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
    Exponential(Exponentials),
    Average(Vec<Mean>),
    Summary(Vec<Digest>),
    Windowed(Vec<Digests>),
    Rate(Vec<Flow>),
    Heartbeat(Vec<Beat>),
    Info(Vec<Present>),
    StateSet(Vec<States>),
    Fields(Vec<Vec<(FieldName, Number)>>),
}

/// One column of values, one row per series.
pub(crate) trait Column: Sized {
    /// No rows, of the shape that a metric wants.
    fn of(descriptor: &Descriptor) -> Self;

    /// Appends the value of a series without observations.
    fn push(&mut self);

    fn len(&self) -> usize;

    /// Makes these rows equal to those of `live`, in place; `self` has every row before them.
    fn copy(&mut self, live: &Self, rows: Range<usize>);

    /// No rows, of the same shape.
    fn empty(&self) -> Values;

    /// What the rows take on the heap. Some share parts with cuts: `all` counts those, otherwise only what nobody else has counts.
    fn heap_bytes(&self, all: bool) -> usize;

    /// Asks for the memory of the first rows.
    fn fetch(&self) {}

    /// Takes out the rows that go, in their order.
    fn take_out(&mut self, is_gone: &dyn Fn(usize) -> bool) -> Self;

    /// The column of this type in `values`, if that is what they are.
    fn within<'v>(&self, values: &'v mut Values) -> Option<&'v mut Self>;
}

/// A value that a plain vector holds as a column.
pub(crate) trait Row: Clone + Default {
    fn column(values: &mut Values) -> Option<&mut Vec<Self>>;

    fn wrap(column: Vec<Self>) -> Values;

    /// What it takes beside itself; see [`Column::heap_bytes`].
    fn heap_bytes(&self, all: bool) -> usize;
}

/// Sum and number of the observations of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    pub(crate) sum: ExactSum,
    pub(crate) count: u64,
}
impl<C: Column> Live<C> {
    pub(crate) fn new(descriptor: &Descriptor, column: C) -> Self {
        let keys = SeriesKeys::new(descriptor.label_keys_shared());
        let exemplars = Exemplars::default();
        Self { keys, column, exemplars, changed: Vec::new(), overflowed: 0, saturated: 0 }
    }

    /// The state that a family shows, which was last written for this cut or one before it.
    pub(crate) fn shown(shown: &Family, descriptor: &Descriptor, cut: u64) -> Self {
        let (mut column, mut values) = (C::of(descriptor), shown.values.clone());
        if let Some(theirs) = column.within(&mut values) {
            std::mem::swap(theirs, &mut column);
        }
        Self {
            keys: shown.keys.clone(),
            column,
            exemplars: shown.exemplars.clone(),
            changed: vec![cut; shown.len().div_ceil(CHUNK)],
            overflowed: shown.overflowed,
            saturated: shown.saturated,
        }
    }

    /// Whether a family shows all of this, if what was shown last is in it: events that were refused may have left something since.
    pub(crate) fn is_shown_by(&self, family: &Family) -> bool {
        let counts = (family.overflowed, family.saturated, family.exemplars.left_out());
        family.keys.are_of(&self.keys)
            && counts == (self.overflowed, self.saturated, self.exemplars.left_out())
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn keys(&self) -> &SeriesKeys {
        &self.keys
    }

    /// What series and values take on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let values = self.column.heap_bytes(true) + self.exemplars.heap_bytes(true);
        self.keys.heap_bytes(true) + values + heap::vec(&self.changed)
    }

    /// Asks for the memory that the next change of a series goes to.
    pub(crate) fn fetch(&self) {
        fetch(self.changed.as_ptr());
        self.column.fetch();
        self.keys.fetch(0);
    }

    /// The value column, for a change of a row that [`touch`](Self::touch) has announced.
    #[inline]
    pub(crate) fn column_mut(&mut self) -> &mut C {
        &mut self.column
    }

    pub(crate) fn exemplars(&self) -> &Exemplars {
        &self.exemplars
    }

    /// The exemplars, for a change of a row that [`touch`](Self::touch) has announced.
    pub(crate) fn exemplars_mut(&mut self) -> &mut Exemplars {
        &mut self.exemplars
    }

    /// Notes that a series changes in cut `cut`.
    #[inline]
    pub(crate) fn touch(&mut self, series: usize, cut: u64) {
        if let Some(changed) = self.changed.get_mut(series / CHUNK) {
            *changed = cut;
        }
    }

    /// Notes that all these series change in cut `cut`.
    pub(crate) fn touch_all(&mut self, mut series: impl Iterator<Item = usize>, cut: u64) {
        if let [only] = &mut *self.changed {
            *only = series.next().map_or(*only, |_| cut);
        } else {
            series.for_each(|series| self.touch(series, cut));
        }
    }

    /// Appends a series without observations.
    #[cold]
    pub(crate) fn push<'v>(&mut self, values: impl Iterator<Item = &'v str>, started: Timestamp) -> usize {
        let series = self.keys.push(values, started);
        self.make_row(series);
        series
    }

    /// The series past the limit, which takes one observation more, of a label set of these values.
    #[cold]
    pub(crate) fn overflow(&mut self, started: Timestamp, values: impl FnOnce() -> Vec<String>) -> usize {
        self.overflowed = self.overflowed.saturating_add(1);
        let series = self.keys.push_overflow(started);
        self.make_row(series);
        if self.keys.wants_examples() {
            self.keys.note_overflow(values().iter().map(String::as_str));
        }
        series
    }

    /// Takes out the series that go, as a family of their own; those that stay have all changed in cut `cut`, as their rows have.
    pub(crate) fn split_off(
        &mut self,
        is_gone: &dyn Fn(usize) -> bool,
        descriptor: &Arc<Descriptor>,
        cut: u64,
    ) -> Family {
        let mut family = Family::new(Arc::clone(descriptor));
        let (stay, leave) = self.keys.split(is_gone);
        let column = self.column.take_out(is_gone);
        family.exemplars = self.exemplars.take_out(is_gone);
        (self.keys, family.keys) = (stay, leave);
        if let Some(place) = column.within(&mut family.values) {
            *place = column;
        }
        self.changed = vec![cut; self.len().div_ceil(CHUNK)];
        family
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
            self.changed.reserve_exact(usize::from(self.changed.is_empty()));
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
    fn of(_descriptor: &Descriptor) -> Self {
        Self::new()
    }

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

    fn heap_bytes(&self, all: bool) -> usize {
        heap::vec(self) + self.iter().map(|row| row.heap_bytes(all)).sum::<usize>()
    }

    fn fetch(&self) {
        fetch(self.as_ptr());
    }

    fn take_out(&mut self, is_gone: &dyn Fn(usize) -> bool) -> Self {
        take_rows(self, is_gone)
    }

    fn within<'v>(&self, values: &'v mut Values) -> Option<&'v mut Self> {
        T::column(values)
    }
}

/// Types that a plain vector holds as a column, each with its variant of [`Values`].
macro_rules! rows {
    ($($row:ty => $variant:ident, $heap:expr);*) => {$(
        impl crate::model::snapshot::columns::Row for $row {
            fn column(values: &mut Values) -> Option<&mut Vec<Self>> {
                if let Values::$variant(column) = values { Some(column) } else { None }
            }

            fn wrap(column: Vec<Self>) -> Values {
                Values::$variant(column)
            }

            fn heap_bytes(&self, all: bool) -> usize {
                let heap: fn(&Self, bool) -> usize = $heap;
                heap(self, all)
            }
        }
    )*};
}
pub(super) use rows;

rows!(u64 => Counter, |_, _| 0; ExactSum => FloatCounter, |sum, _| sum.heap_bytes(); f64 => Gauge, |_, _| 0; i64 => UpDown, |_, _| 0;
      Mean => Average, |mean, _| mean.sum.heap_bytes(); Digest => Summary, Digest::heap_bytes;
      Vec<(FieldName, Number)> => Fields, |fields, _| heap::vec(fields));

impl Values {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        match descriptor.kind() {
            Kind::Counter => Self::Counter(Vec::new()),
            Kind::FloatCounter => Self::FloatCounter(Vec::new()),
            Kind::Gauge => Self::Gauge(Vec::new()),
            Kind::UpDown => Self::UpDown(Vec::new()),
            Kind::Histogram => Self::Histogram(Histograms::new(descriptor.bounds().len())),
            Kind::Exponential => Self::Exponential(Exponentials::of(descriptor)),
            Kind::Average => Self::Average(Vec::new()),
            Kind::Summary => Self::Summary(Vec::new()),
            Kind::WindowedSummary => Self::Windowed(Vec::new()),
            Kind::Rate => Self::Rate(Vec::new()),
            Kind::Heartbeat => Self::Heartbeat(Vec::new()),
            Kind::Info => Self::Info(Vec::new()),
            Kind::StateSet => Self::StateSet(Vec::new()),
            Kind::Fields => Self::Fields(Vec::new()),
        }
    }

    /// What they take on the heap; see [`Column::heap_bytes`].
    pub(super) fn heap_bytes(&self, all: bool) -> usize {
        match self {
            Self::Counter(column) => Column::heap_bytes(column, all),
            Self::FloatCounter(column) => Column::heap_bytes(column, all),
            Self::Gauge(column) => Column::heap_bytes(column, all),
            Self::UpDown(column) => Column::heap_bytes(column, all),
            Self::Histogram(column) => Column::heap_bytes(column, all),
            Self::Exponential(column) => Column::heap_bytes(column, all),
            Self::Average(column) => Column::heap_bytes(column, all),
            Self::Summary(column) => Column::heap_bytes(column, all),
            Self::Windowed(column) => Column::heap_bytes(column, all),
            Self::Rate(column) => Column::heap_bytes(column, all),
            Self::Heartbeat(column) => Column::heap_bytes(column, all),
            Self::Info(column) => Column::heap_bytes(column, all),
            Self::StateSet(column) => Column::heap_bytes(column, all),
            Self::Fields(column) => Column::heap_bytes(column, all),
        }
    }

    /// See [`Family::fetch`](crate::model::snapshot::Family::fetch).
    pub(super) fn fetch(&self) {
        match self {
            Self::Counter(column) => fetch(column.as_ptr()),
            Self::FloatCounter(column) => fetch(column.as_ptr()),
            Self::Gauge(column) => fetch(column.as_ptr()),
            Self::UpDown(column) => fetch(column.as_ptr()),
            Self::Histogram(column) => column.fetch(),
            Self::Average(column) => fetch(column.as_ptr()),
            // Of these a series is more than what a line holds.
            _ => {}
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Counter(column) => column.clear(),
            Self::FloatCounter(column) => column.clear(),
            Self::Gauge(column) => column.clear(),
            Self::UpDown(column) => column.clear(),
            Self::Histogram(column) => column.clear(),
            Self::Exponential(column) => column.clear(),
            Self::Average(column) => column.clear(),
            Self::Summary(column) => column.clear(),
            Self::Windowed(column) => column.clear(),
            Self::Rate(column) => column.clear(),
            Self::Heartbeat(column) => column.clear(),
            Self::Info(column) => column.clear(),
            Self::StateSet(column) => column.clear(),
            Self::Fields(column) => column.clear(),
        }
    }

    /// Takes out the rows that go.
    pub(super) fn take_out(&mut self, is_gone: &dyn Fn(usize) -> bool) {
        match self {
            Self::Counter(column) => drop(Column::take_out(column, is_gone)),
            Self::FloatCounter(column) => drop(Column::take_out(column, is_gone)),
            Self::Gauge(column) => drop(Column::take_out(column, is_gone)),
            Self::UpDown(column) => drop(Column::take_out(column, is_gone)),
            Self::Histogram(column) => drop(Column::take_out(column, is_gone)),
            Self::Exponential(column) => drop(Column::take_out(column, is_gone)),
            Self::Average(column) => drop(Column::take_out(column, is_gone)),
            Self::Summary(column) => drop(Column::take_out(column, is_gone)),
            Self::Windowed(column) => drop(Column::take_out(column, is_gone)),
            Self::Rate(column) => drop(Column::take_out(column, is_gone)),
            Self::Heartbeat(column) => drop(Column::take_out(column, is_gone)),
            Self::Info(column) => drop(Column::take_out(column, is_gone)),
            Self::StateSet(column) => drop(Column::take_out(column, is_gone)),
            Self::Fields(column) => drop(Column::take_out(column, is_gone)),
        }
    }

    /// The value of a series, which was first observed at `started`.
    pub(super) fn get<'a>(
        &'a self,
        series: usize,
        descriptor: &'a Descriptor,
        started: impl FnOnce() -> Timestamp,
    ) -> Option<ValueRef<'a>> {
        let timed = |value| ValueRef::Timed(TimedRef::new(value, started()));
        Some(match self {
            Self::Counter(column) => ValueRef::Counter(*column.get(series)?),
            Self::FloatCounter(column) => ValueRef::FloatCounter(column.get(series)?.value()),
            Self::Gauge(column) => ValueRef::Gauge(*column.get(series)?),
            Self::UpDown(column) => ValueRef::UpDown(*column.get(series)?),
            Self::Histogram(column) => ValueRef::Histogram(column.get(series, descriptor.bounds())?),
            Self::Exponential(column) => ValueRef::Exponential(column.get(series)?),
            Self::Average(column) => {
                let Mean { sum, count } = column.get(series)?;
                let (sum, count) = (sum.value(), *count);
                ValueRef::Average { sum, count, mean: (count > 0).then(|| sum / count as f64) }
            }
            Self::Summary(column) => ValueRef::Summary(column.get(series)?.get(descriptor.quantiles())),
            Self::Windowed(column) => timed(Timed::Recent(column.get(series)?)),
            Self::Rate(column) => timed(Timed::Flow(column.get(series)?, descriptor.window())),
            Self::Heartbeat(column) => timed(Timed::Beat(column.get(series)?.0)),
            Self::Info(column) => {
                let Present = column.get(series)?;
                ValueRef::Info
            }
            Self::StateSet(column) => {
                ValueRef::StateSet(StatesRef::new(descriptor.states(), *column.get(series)?))
            }
            Self::Fields(column) => ValueRef::Fields(column.get(series)?),
        })
    }
}
/// Takes out the rows that go, in their order.
pub(super) fn take_rows<T>(rows: &mut Vec<T>, is_gone: &dyn Fn(usize) -> bool) -> Vec<T> {
    let mut gone = Vec::new();
    for (at, row) in std::mem::take(rows).into_iter().enumerate() {
        if is_gone(at) { gone.push(row) } else { rows.push(row) }
    }
    gone
}

/// Makes `rows` of `copy` equal to those of `live`, without allocating when they are there already.
pub(super) fn copy_rows<T: Clone>(copy: &mut Vec<T>, live: &[T], rows: Range<usize>) {
    let there = rows.end.min(copy.len());
    if let (Some(old), Some(new)) = (copy.get_mut(rows.start..there), live.get(rows.start..there)) {
        old.clone_from_slice(new);
    }
    if there < rows.end {
        copy.reserve_exact(live.len().saturating_sub(copy.len()));
        copy.extend_from_slice(live.get(there..rows.end).unwrap_or_default());
    }
}

/// Growth by a quarter: doubling would let a family that has just grown cost twice its size for ever.
pub(super) fn make_room<T>(column: &mut Vec<T>, rows: usize) {
    if column.len() + rows > column.capacity() {
        column.reserve_exact(rows.max(column.len() / 4));
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_equal_length_is_refreshed_in_place() {
        let mut live: Vec<u64> = (0..200).collect();
        let mut copy = Vec::new();
        copy_rows(&mut copy, &live, 0..64);
        copy_rows(&mut copy, &live, 64..200);
        assert_eq!(copy, live);
        let (place, capacity) = (copy.as_ptr(), copy.capacity());
        live[70] = 1_000;
        live[199] = 2_000;
        copy_rows(&mut copy, &live, 64..128);
        assert_eq!((copy[70], copy[199]), (1_000, 199));
        copy_rows(&mut copy, &live, 128..200);
        assert_eq!((&copy, copy.as_ptr(), copy.capacity()), (&live, place, capacity));
        assert_eq!(capacity, 200);
    }

    #[test]
    fn only_chunks_that_changed_since_are_copied() {
        let descriptor = Descriptor::builder("c", Kind::Counter).label("n").build().unwrap();
        let mut live = Live::new(&descriptor, Vec::<u64>::new());
        for n in 0..150 {
            let row = live.push([n.to_string().as_str()].into_iter(), Timestamp::default());
            live.touch(row, 1);
        }
        live.touch(70, 3);
        let changed = |since| live.rows_changed_after(since).collect::<Vec<_>>();
        assert_eq!(changed(0), [0..64, 64..128, 128..150]);
        assert_eq!((changed(2).first(), changed(2).len()), (Some(&(64..128)), 1));
        assert_eq!((changed(1) == changed(2), changed(3).len()), (true, 0));
    }
}

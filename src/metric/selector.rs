//! The closures of an instrument behind one virtual call a batch.
//!
//! Each closure is boxed as what runs it over many events, so that the loop is compiled around it and nothing is called per
//! event. The loops note which event is in hand, because a closure may panic in any of them.

use crate::metric::batch::Events;
use crate::metric::batch::PIECE;
use crate::metric::batch::Piece;
use crate::metric::index::Identity;
use crate::metric::index::Index;
use crate::metric::index::Recalled;
use crate::metric::index::same_texts;
use crate::metric::label_fields::LabelFields;
use crate::metric::measure::Amount;
use crate::metric::measure::Measured;
use crate::metric::scratch::Source;
use crate::model::label::Label;
use crate::model::limits::MAX_DENSE_LABELS;
use crate::model::limits::MAX_LABELS;
use crate::model::snapshot::SeriesKeys;
use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;

/// How an event names the value of one label.
pub(super) trait Select<E>: Send {
    fn one<'a>(&self, event: &'a E) -> Label<'a>;

    /// The labels of some events.
    fn labels<'a>(&self, events: Events<'a, E>, into: &mut Labelled<'a>);

    /// The series of some events whose only label this is, as far as the index knows them by identity: the label of the first
    /// event of which it does not.
    fn rows<'a>(
        &self,
        events: Events<'a, E>,
        index: Option<&Index>,
        keys: &SeriesKeys,
        into: &mut Rows,
    ) -> Option<Label<'a>>;
}

/// How an event names all labels of its series together.
pub(super) trait SelectFields<E>: Send {
    /// How many label sets there are, if they are found by their index.
    fn dense(&self) -> Option<usize>;

    fn index(&self, event: &E) -> usize;

    /// The type of the closure, if one like it answers the same because it holds nothing.
    fn closure(&self) -> Option<TypeId>;

    /// The indices of some events.
    fn indices(&self, events: Events<'_, E>, into: &mut Indices);

    /// Shows the labels of one event, in the order of the fields.
    fn with_labels(&self, event: &E, show: &mut dyn FnMut(&[Label<'_>]));
}

/// The place of a label set of which no series is known yet.
pub(super) const NO_ROW: u32 = u32::MAX;

/// A closure that makes labels `L` of an event.
pub(super) struct Fields<L, F> {
    pub(super) select: Arc<F>,
    pub(super) fields: PhantomData<fn() -> L>,
}

/// How an event tells its value, if it has one.
pub(super) trait Read<E>: Send {
    fn one(&self, event: &E) -> Option<Amount>;

    fn values(&self, events: Events<'_, E>, into: &mut Values);
}

/// Whether an event matters.
pub(super) trait Keep<E>: Send {
    fn one(&self, event: &E) -> bool;

    fn kept(&self, events: Events<'_, E>, into: &mut Kept);
}

/// The labels of one key for the events of a piece, by their place.
pub(super) struct Labelled<'a> {
    pub(super) labels: [Label<'a>; PIECE],
    pub(super) at: usize,
}

/// The indices of the label sets of the events of a piece, without gaps.
pub(super) struct Indices {
    indices: [u16; PIECE],
    len: usize,
    pub(super) at: usize,
    /// Whose they are, if others may have them as well.
    pub(super) source: Option<Source>,
}

// What has no index of its own is told by one that no table has.
const _: () = assert!(MAX_DENSE_LABELS < u16::MAX as usize);

/// The series of the events of a piece, without gaps.
pub(super) struct Rows {
    rows: [u32; PIECE],
    len: usize,
    pub(super) at: usize,
    /// The indices that they were found by, if others may have them as well, and the table of as many label sets.
    found_by: Option<(Source, usize)>,
    table: [u32; SHARED_SETS],
}

/// Up to this many label sets, a table is compared with that of the metric before: with the same one, the series are the same.
const SHARED_SETS: usize = 64;

/// The values of the events of a piece, without gaps, and which events have one.
pub(super) struct Values {
    bits: [u64; PIECE],
    kinds: [u8; PIECE],
    /// Every kind among them.
    seen: u8,
    len: usize,
    /// The events that have none.
    pub(super) missing: u64,
    pub(super) at: usize,
}

/// Which events of a piece matter.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) kept: u64,
    pub(super) at: usize,
}

impl Amount {
    #[inline(always)]
    fn bits(self) -> (u64, u8) {
        match self {
            Self::Unsigned(value) => (value, UNSIGNED),
            Self::Signed(value) => (value as u64, SIGNED),
            Self::Float(value) => (value.to_bits(), FLOAT),
            Self::Nanos(value) => (value, NANOS),
        }
    }
}

/// Kinds of [`Amount`], a bit each.
pub(super) const UNSIGNED: u8 = 1;
pub(super) const SIGNED: u8 = 2;
pub(super) const FLOAT: u8 = 4;
pub(super) const NANOS: u8 = 8;

impl<E, F> Select<E> for F
where
    F: for<'a> Fn(&'a E) -> Label<'a> + Send,
{
    #[inline]
    fn one<'a>(&self, event: &'a E) -> Label<'a> {
        self(event)
    }

    fn labels<'a>(&self, events: Events<'a, E>, into: &mut Labelled<'a>) {
        let Labelled { labels, at } = into;
        let (mut at, mut places) = (Noted::new(at), labels.iter_mut());
        events.each(|index, event| {
            at.now = index;
            let label = self(event);
            if let Some(place) = places.next() {
                *place = label;
            }
        });
    }

    fn rows<'a>(
        &self,
        events: Events<'a, E>,
        index: Option<&Index>,
        keys: &SeriesKeys,
        into: &mut Rows,
    ) -> Option<Label<'a>> {
        let mut unknown = None;
        let Rows { rows, len, at, .. } = into;
        let (mut at, mut len) = (Noted::new(at), Noted::new(len));
        events.until(|index_in_run, event| {
            at.now = index_in_run;
            let label = self(event);
            let row = match index.and_then(|index| index.recall(&[Identity::of(&label)])) {
                Some(Recalled::Surely(row)) => row,
                Some(Recalled::Perhaps(row)) if same_texts(&[&label], keys, row) => row,
                _ => {
                    unknown = Some(label);
                    return true;
                }
            };
            if let Some(place) = rows.get_mut(len.now) {
                *place = row as u32;
            }
            len.now += 1;
            false
        });
        unknown
    }
}

/// Up to this many labels have a place of their own size: to prepare the largest costs more than to find the series.
pub(super) const FEW_LABELS: usize = 4;

#[inline]
fn show_labels<const N: usize>(fields: &impl LabelFields, count: usize, show: &mut dyn FnMut(&[Label<'_>])) {
    let mut labels = [Label::Absent; N];
    for (position, label) in labels.iter_mut().enumerate().take(count) {
        *label = fields.label(position);
    }
    show(labels.get(..count).unwrap_or_default());
}

impl<E, L, F> SelectFields<E> for Fields<L, F>
where
    L: LabelFields + 'static,
    F: for<'a> Fn(&'a E) -> L::At<'a> + Send + Sync + 'static,
{
    fn dense(&self) -> Option<usize> {
        L::CARDINALITY.filter(|sets| *sets <= MAX_DENSE_LABELS)
    }

    #[inline]
    fn index(&self, event: &E) -> usize {
        (self.select)(event).index()
    }

    fn closure(&self) -> Option<TypeId> {
        (size_of::<F>() == 0).then(TypeId::of::<Self>)
    }

    fn indices(&self, events: Events<'_, E>, into: &mut Indices) {
        let Indices { indices, len, at, .. } = into;
        let (mut at, mut len) = (Noted::new(at), Noted::new(len));
        events.each(|index_in_run, event| {
            at.now = index_in_run;
            let index = (self.select)(event).index();
            if let Some(place) = indices.get_mut(len.now) {
                *place = index.min(usize::from(u16::MAX)) as u16;
            }
            len.now += 1;
        });
    }

    fn with_labels(&self, event: &E, show: &mut dyn FnMut(&[Label<'_>])) {
        let fields = (self.select)(event);
        let count = L::KEYS.len();
        if count <= FEW_LABELS {
            show_labels::<FEW_LABELS>(&fields, count, show);
        } else {
            show_labels::<MAX_LABELS>(&fields, count, show);
        }
    }
}

impl<E, F> Read<E> for F
where
    F: Fn(&E) -> Option<Measured> + Send,
{
    #[inline]
    fn one(&self, event: &E) -> Option<Amount> {
        self(event).map(Amount::from)
    }

    fn values(&self, events: Events<'_, E>, into: &mut Values) {
        let Values { bits, kinds, seen, len, missing, at } = into;
        let (mut seen, mut len) = (Noted::new(seen), Noted::new(len));
        let (mut missing, mut at) = (Noted::new(missing), Noted::new(at));
        events.each(|index, event| {
            at.now = index;
            let Some(value) = self(event) else {
                // Noted for those without a value, because of most closures the compiler sees that there are none.
                missing.now |= 1 << index;
                return;
            };
            let (value, kind) = Amount::from(value).bits();
            if let (Some(bits), Some(its_kind)) = (bits.get_mut(len.now), kinds.get_mut(len.now)) {
                (*bits, *its_kind) = (value, kind);
            }
            seen.now |= kind;
            len.now += 1;
        });
    }
}

impl<E, F> Keep<E> for F
where
    F: Fn(&E) -> bool + Send,
{
    #[inline]
    fn one(&self, event: &E) -> bool {
        self(event)
    }

    fn kept(&self, events: Events<'_, E>, into: &mut Kept) {
        let Kept { kept, at } = into;
        let (mut kept, mut at) = (Noted::new(kept), Noted::new(at));
        events.each(|index, event| {
            at.now = index;
            kept.now |= u64::from(self(event)) << index;
        });
    }
}

/// A number that a loop keeps in a register, and that is written back however the loop ends.
struct Noted<'n, T: Copy> {
    home: &'n mut T,
    now: T,
}

impl<'n, T: Copy> Noted<'n, T> {
    #[inline(always)]
    fn new(home: &'n mut T) -> Self {
        let now = *home;
        Self { home, now }
    }
}

impl<T: Copy> Drop for Noted<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        *self.home = self.now;
    }
}

impl<'a> Labelled<'a> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { labels: [Label::Absent; PIECE], at: 0 }
    }
}

impl Indices {
    pub(super) const fn new() -> Self {
        Self { indices: [0; PIECE], len: 0, at: 0, source: None }
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.at, self.source) = (0, 0, None);
    }

    #[inline(always)]
    pub(super) fn as_slice(&self) -> &[u16] {
        self.indices.get(..self.len).unwrap_or_default()
    }
}

impl Rows {
    pub(super) const fn new() -> Self {
        Self { rows: [0; PIECE], len: 0, at: 0, found_by: None, table: [0; SHARED_SETS] }
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.at, self.found_by) = (0, 0, None);
    }

    /// Finds the series of these indices in the table; `false` if it does not know all of them.
    #[inline]
    pub(super) fn find(&mut self, indices: &Indices, table: &[u32]) -> bool {
        if self.are_those_of(indices, table) {
            return true;
        }
        self.clear();
        let (indices, mut unknown) = (indices.as_slice(), false);
        for (row, index) in self.rows.iter_mut().zip(indices) {
            *row = table.get(usize::from(*index)).copied().unwrap_or(NO_ROW);
            unknown |= *row == NO_ROW;
        }
        self.len = indices.len();
        !unknown
    }

    /// Whether another metric's series, found by the same indices in an equal table, are still here.
    #[inline]
    fn are_those_of(&self, indices: &Indices, table: &[u32]) -> bool {
        let (Some((source, sets)), Some(wanted)) = (self.found_by, indices.source) else { return false };
        source == wanted && self.table.get(..sets).is_some_and(|known| known == table)
    }

    /// Keeps the series that were all found for the next metric.
    #[inline]
    pub(super) fn keep(&mut self, indices: &Indices, table: &[u32]) {
        if self.found_by.is_some() {
            return;
        }
        if let (Some(known), Some(source)) = (self.table.get_mut(..table.len()), indices.source) {
            known.copy_from_slice(table);
            self.found_by = Some((source, table.len()));
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, row: usize) {
        if let Some(place) = self.rows.get_mut(self.len) {
            *place = row as u32;
        }
        self.len += 1;
    }

    #[inline(always)]
    pub(super) fn as_slice(&self) -> &[u32] {
        self.rows.get(..self.len).unwrap_or_default()
    }

    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().take(self.len).map(|row| *row as usize)
    }
}

impl Values {
    pub(super) const fn new() -> Self {
        Self { bits: [0; PIECE], kinds: [0; PIECE], seen: 0, len: 0, missing: 0, at: 0 }
    }

    pub(super) fn clear(&mut self) {
        (self.seen, self.len, self.missing, self.at) = (0, 0, 0, 0);
    }

    /// Every value as 64 bits, if all are of this kind.
    #[inline(always)]
    pub(super) fn only(&self, kind: u8) -> Option<&[u64]> {
        if self.seen == kind { self.bits.get(..self.len) } else { None }
    }

    /// The kinds among them: one bit, unless a measure of somebody's own changes its mind.
    pub(super) fn kind(&self) -> u8 {
        self.seen
    }

    /// Only the first `len` matter.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Refuses every value that is none for `check`, and its event.
    pub(super) fn refuse<E>(&mut self, piece: &mut Piece<'_, E>, check: impl Fn(Amount) -> bool) {
        let mut place = 0;
        while let Some(amount) = self.get(place) {
            if check(amount) {
                place += 1;
            } else {
                piece.refuse(place);
                self.remove(place);
            }
        }
    }

    #[cold]
    fn remove(&mut self, place: usize) {
        if place < self.len {
            self.bits.copy_within(place + 1..self.len, place);
            self.kinds.copy_within(place + 1..self.len, place);
            self.len -= 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(super) fn get(&self, place: usize) -> Option<Amount> {
        let bits = *self.bits.get(..self.len)?.get(place)?;
        Some(match *self.kinds.get(place)? {
            UNSIGNED => Amount::Unsigned(bits),
            SIGNED => Amount::Signed(bits as i64),
            NANOS => Amount::Nanos(bits),
            _ => Amount::Float(f64::from_bits(bits)),
        })
    }

    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = Amount> {
        (0..self.len).filter_map(|place| self.get(place))
    }
}

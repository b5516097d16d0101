//! The series of one instrument: label selectors, the index, the live values.

use crate::metric::batch::Piece;
use crate::metric::exemplify::Candidate;
use crate::metric::exemplify::Exemplify;
use crate::metric::expiring::Idleness;
use crate::metric::index::Identity;
use crate::metric::index::Index;
use crate::metric::index::Recalled;
use crate::metric::index::same_texts;
use crate::metric::measure::Amount;
use crate::metric::scratch::Places;
use crate::metric::scratch::Source;
use crate::metric::selector::FEW_LABELS;
use crate::metric::selector::Labelled;
use crate::metric::selector::NO_ROW;
use crate::metric::selector::Rows;
use crate::metric::selector::Select;
use crate::metric::selector::SelectFields;
use crate::model::clock::Timestamp;
use crate::model::label::Label;
use crate::model::limits::MAX_LABELS;
use crate::model::snapshot::Column;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Live;
use crate::model::verdict::Context;
use crate::model::verdict::Verdict;
use crate::sync::fetch;
use crate::sync::fetch_all;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The series of one instrument, each with a row of the column `C`.
pub(super) struct Series<E, C> {
    selectors: Selectors<E>,
    pub(super) descriptor: Arc<Descriptor>,
    /// What most metrics do without.
    pub(super) extras: Option<Box<Extras<E>>>,
    /// Made by the first event: of many recorders, most never have one.
    pub(super) known: Option<Box<Known<C>>>,
}

/// What is kept for series that end when they are idle, and how an event is told as an exemplar.
pub(super) struct Extras<E> {
    pub(super) idleness: Option<Idleness>,
    exemplify: Option<Box<dyn Exemplify<E>>>,
}

/// A closure for all labels, and the order of its fields.
type InOrder<E> = (Box<dyn SelectFields<E>>, Box<[usize]>);

/// How an event names its series.
pub(super) enum Selectors<E> {
    /// One closure per label, in the order of the descriptor's keys.
    Each(Box<[Box<dyn Select<E>>]>),
    /// One closure for all labels, and the fields in the order of the descriptor's keys.
    Fields(Box<InOrder<E>>),
}

impl<E> Selectors<E> {
    /// What the closures take on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Each(selectors) => {
                size_of_val(&**selectors)
                    + selectors.iter().map(|select| size_of_val(&**select)).sum::<usize>()
            }
            Self::Fields(both) => {
                let (select, order) = &**both;
                size_of_val(&**both) + size_of_val(&**select) + size_of_val(&**order)
            }
        }
    }

    /// The label values of an event, in the order of the descriptor's keys.
    pub(super) fn texts(&self, event: &E) -> Vec<String> {
        match self {
            Self::Each(selectors) => selectors.iter().map(|select| select.one(event).to_string()).collect(),
            Self::Fields(both) => {
                let ((select, order), mut texts) = (&**both, Vec::new());
                select.with_labels(event, &mut |fields| {
                    let fields = order.iter().filter_map(|position| fields.get(*position));
                    texts = fields.map(|label| label.to_string()).collect();
                });
                texts
            }
        }
    }
}

/// The series that there are.
pub(super) struct Known<C> {
    /// The series by the index of their labels, where these have one; made by the first event.
    pub(super) dense: Box<[u32]>,
    /// Made with the first labelled series.
    pub(super) index: Option<Box<Index>>,
    pub(super) live: Live<C>,
    limit: usize,
}

impl<E> Extras<E> {
    fn see(&mut self, rows: impl Iterator<Item = usize>, now: Timestamp) {
        if let Some(idleness) = &mut self.idleness {
            idleness.see(rows, now);
        }
    }
}

impl<E, C: Column> Series<E, C> {
    pub(super) fn new(
        descriptor: Arc<Descriptor>,
        selectors: Selectors<E>,
        expiry: Option<Duration>,
        exemplify: Option<Box<dyn Exemplify<E>>>,
    ) -> Self {
        let idleness = expiry.map(Idleness::new);
        let wanted = idleness.is_some() || exemplify.is_some();
        let extras = wanted.then(|| Box::new(Extras { idleness, exemplify }));
        Self { selectors, descriptor, extras, known: None }
    }

    /// Takes another descriptor of the same labels, and puts it in the place of the instrument's own; not once there are series.
    pub(super) fn reshape(&mut self, descriptor: &Arc<Descriptor>, own: &mut Arc<Descriptor>) -> bool {
        if self.known.is_some() {
            return false;
        }
        self.descriptor = Arc::clone(descriptor);
        *own = Arc::clone(descriptor);
        true
    }

    /// The row of the series that this event belongs to, which counts as changed; made if it is new.
    ///
    /// Selectors run before anything changes, so that one that panics leaves the instrument as it was.
    #[inline]
    pub(super) fn row(&mut self, event: &E, context: &Context) -> usize {
        let known = Known::made(&mut self.known, &self.descriptor);
        let row = match &self.selectors {
            Selectors::Each(selectors) => known.row_by(selectors, event, context),
            Selectors::Fields(both) => known.row_by_fields(&*both.0, &both.1, event, context),
        };
        known.live.touch(row, context.cut());
        if let Some(extras) = &mut self.extras {
            extras.see(std::iter::once(row), context.now());
        }
        row
    }

    pub(super) fn expiry(&self) -> Option<Duration> {
        let idleness = self.extras.as_ref().and_then(|extras| extras.idleness.as_ref());
        idleness.map(|idleness| idleness.expiry)
    }

    /// Whether events are asked to be exemplars, one by one.
    #[inline]
    pub(super) fn has_exemplars(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.exemplify.is_some())
    }

    /// Takes an event of this row, and keeps it as an exemplar if one of its value is wanted. It tells its labels before anything changes.
    #[cold]
    #[inline(never)]
    pub(super) fn take_told(
        &mut self,
        row: usize,
        (value, event): (Amount, &E),
        context: &Context,
        take: impl FnOnce(&mut Self) -> Verdict,
    ) -> Verdict {
        let candidate = self.candidate(row, value.as_f64(), event, context);
        let verdict = take(self);
        if verdict == Verdict::Accepted {
            if let Some((candidate, known)) = candidate.zip(self.known.as_mut()) {
                candidate.keep(known.live.exemplars_mut(), row, value, &self.descriptor, context.now());
            }
        }
        verdict
    }

    fn candidate(&self, row: usize, value: f64, event: &E, context: &Context) -> Option<Candidate> {
        let exemplify = self.extras.as_ref()?.exemplify.as_ref()?;
        let slot = self.descriptor.slot_of(value)?;
        let wanted = self.known.as_ref()?.live.exemplars().is_wanted(row, slot, context.now());
        if wanted { Candidate::ask(&**exemplify, slot, event) } else { None }
    }

    /// The one row of an instrument without labels, which counts as changed; made if it is new.
    #[inline]
    pub(super) fn only_row(&mut self, context: &Context) -> Option<usize> {
        match &self.selectors {
            Selectors::Each(selectors) if selectors.is_empty() => {}
            _ => return None,
        }
        let known = Known::made(&mut self.known, &self.descriptor);
        let row = known.unlabelled(context);
        known.live.touch(row, context.cut());
        Some(row)
    }

    /// The rows of what is left of a piece, as if [`row`](Self::row) was asked for one event after the other.
    pub(super) fn rows<'r>(
        &mut self,
        piece: &mut Piece<'_, E>,
        places: &'r mut Places,
        context: &Context,
    ) -> &'r [u32] {
        let known = Known::made(&mut self.known, &self.descriptor);
        match &self.selectors {
            Selectors::Each(selectors) => {
                places.rows.clear();
                rows_by_each(selectors, known, piece, &mut places.rows, context);
            }
            Selectors::Fields(both) => {
                rows_by_fields((&*both.0, &both.1), known, piece, places, context);
            }
        }
        let rows = &places.rows;
        known.live.touch_all(rows.iter(), context.cut());
        if let Some(extras) = &mut self.extras {
            extras.see(rows.iter(), context.now());
        }
        rows.as_slice()
    }

    /// How many series there are, the overflow series included.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.live.len())
    }

    #[inline]
    pub(super) fn column_mut(&mut self) -> &mut C {
        Known::made(&mut self.known, &self.descriptor).live.column_mut()
    }

    pub(super) fn count_saturation(&mut self) {
        Known::made(&mut self.known, &self.descriptor).live.count_saturation();
    }

    /// What closures, series and index take on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let known = self.known.as_ref().map_or(0, |known| known.heap_bytes());
        let extras = self.extras.as_ref().map_or(0, |extras| {
            size_of_val(&**extras) + extras.exemplify.as_ref().map_or(0, |ask| size_of_val(&**ask))
        });
        self.selectors.heap_bytes() + known + extras
    }

    /// Asks for the memory that the next event is told in, one step of its pointers at a time; see [`Metric::fetch`](crate::metric::Metric::fetch).
    pub(super) fn fetch(&self, step: usize) {
        let Some(known) = &self.known else { return };
        match step {
            0 => {
                fetch_all(&**known);
                if let Selectors::Each(selectors) = &self.selectors {
                    fetch_all(&**selectors);
                }
            }
            1 => {
                known.live.fetch();
                fetch(known.dense.as_ptr());
                if let Some(index) = &known.index {
                    fetch_all(&**index);
                }
            }
            _ => known.index.iter().for_each(|index| index.fetch()),
        }
    }

    pub(super) fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        // A writer to which nothing is stated leaves no series.
        if let Some(known) = &self.known {
            writer.refresh(&known.live);
        }
    }
}

fn rows_by_each<E, C: Column>(
    selectors: &[Box<dyn Select<E>>],
    known: &mut Known<C>,
    piece: &mut Piece<'_, E>,
    rows: &mut Rows,
    context: &Context,
) {
    match selectors {
        [] => (0..piece.count()).for_each(|_| rows.push(known.unlabelled(context))),
        [only] => rows_by_one(&**only, known, piece, rows, context),
        [first, second] => rows_by_two([&**first, &**second], known, piece, rows, context),
        selectors => {
            let events = piece.events(0);
            let one_by_one = |rows: &mut Rows| {
                events.each(|index, event| {
                    rows.at = index;
                    rows.push(known.row_by(selectors, event, context));
                });
            };
            piece.attempt(rows, |rows| rows.at, one_by_one);
        }
    }
}

/// Not inlined: its labels take more room than everything else here.
#[inline(never)]
fn rows_by_two<E, C: Column>(
    select: [&dyn Select<E>; 2],
    known: &mut Known<C>,
    piece: &mut Piece<'_, E>,
    rows: &mut Rows,
    context: &Context,
) {
    // Each is written where it stays: to hand 64 labels over by value costs as much as to find their series.
    let mut a = Labelled::new();
    let mut b = Labelled::new();
    labels(select[0], piece, &mut a);
    labels(select[1], piece, &mut b);
    for (a, b) in a.labels.iter().zip(&b.labels).take(piece.count()) {
        rows.push(known.row_of([Identity::of(a), Identity::of(b)], || [a, b], context));
    }
}

fn labels<'a, E>(select: &dyn Select<E>, piece: &mut Piece<'a, E>, into: &mut Labelled<'a>) {
    let events = piece.events(0);
    piece.attempt(into, |into| into.at, |into| select.labels(events, into));
}

/// The loop over the events stops where the index does not know a label, because only here can a series be made.
fn rows_by_one<E, C: Column>(
    select: &dyn Select<E>,
    known: &mut Known<C>,
    piece: &mut Piece<'_, E>,
    rows: &mut Rows,
    context: &Context,
) {
    let mut start = 0;
    loop {
        let events = piece.events(start);
        let (index, keys) = (known.index.as_deref(), known.live.keys());
        let unknown = piece.attempt(rows, |rows| rows.at, |rows| select.rows(events, index, keys, rows));
        let Some(Some(label)) = unknown else { return };
        rows.push(known.row_by_text(&[&label], &[Identity::of(&label)], context));
        start = rows.at + 1;
    }
}

/// Where labels have an index, it is asked for all events at once, unless a metric of the same labels has asked before.
fn rows_by_fields<E, C: Column>(
    (select, order): (&dyn SelectFields<E>, &[usize]),
    known: &mut Known<C>,
    piece: &mut Piece<'_, E>,
    Places { indices, rows }: &mut Places,
    context: &Context,
) {
    if select.dense().is_none() {
        rows.clear();
        let events = piece.events(0);
        let one_by_one = |rows: &mut Rows| {
            events.each(|index, event| {
                rows.at = index;
                rows.push(known.row_by_fields(select, order, event, context));
            });
        };
        piece.attempt(rows, |rows| rows.at, one_by_one);
        return;
    }
    let source = select.closure().map(|closure| Source { closure, events: piece.events_left() });
    if source.is_none() || indices.source != source {
        indices.clear();
        let events = piece.events(0);
        let told = piece.attempt(indices, |indices| indices.at, |indices| select.indices(events, indices));
        // A closure that panics costs each metric that asks it the same event.
        indices.source = source.filter(|_| told.is_some());
    }
    if rows.find(indices, &known.dense) {
        return rows.keep(indices, &known.dense);
    }
    rows.clear();
    let (events, mut told) = (piece.events(0), indices.as_slice().iter());
    let make = |rows: &mut Rows| {
        events.each(|index, event| {
            let row = told.next().and_then(|place| known.dense.get(usize::from(*place)));
            let row = match row {
                Some(&row) if row != NO_ROW => row as usize,
                _ => {
                    rows.at = index;
                    known.row_by_fields(select, order, event, context)
                }
            };
            rows.push(row);
        });
    };
    piece.attempt(rows, |rows| rows.at, make);
}

impl<C: Column> Known<C> {
    #[inline]
    fn made<'k>(known: &'k mut Option<Box<Self>>, descriptor: &Descriptor) -> &'k mut Self {
        known.get_or_insert_with(|| Box::new(Self::new(descriptor)))
    }

    #[cold]
    fn new(descriptor: &Descriptor) -> Self {
        let limit = descriptor.cardinality() as usize;
        let live = Live::new(descriptor, C::of(descriptor));
        Self { dense: Box::default(), index: None, live, limit }
    }

    /// The series that a family shows which was last written for this cut or one before it.
    #[cold]
    pub(super) fn shown(shown: &Family, descriptor: &Descriptor, cut: u64) -> Self {
        let limit = descriptor.cardinality() as usize;
        let live = Live::shown(shown, descriptor, cut);
        let mut known = Self { dense: Box::default(), index: None, live, limit };
        if known.live.keys().width() > 0 {
            known.find_anew();
        }
        known
    }

    /// What series and index take on the heap, boxed as they are.
    pub(super) fn heap_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, |index| index.heap_bytes());
        size_of_val(self) + size_of_val(&*self.dense) + index + self.live.heap_bytes()
    }

    #[inline]
    fn unlabelled(&mut self, context: &Context) -> usize {
        if self.live.len() == 0 { self.live.push(std::iter::empty(), context.now()) } else { 0 }
    }

    #[inline]
    fn row_by<E>(&mut self, selectors: &[Box<dyn Select<E>>], event: &E, context: &Context) -> usize {
        // Up to three labels is what nearly every metric has; loops over as many are unrolled.
        match selectors {
            [] => self.unlabelled(context),
            [first] => {
                let a = first.one(event);
                self.row_of([Identity::of(&a)], || [&a], context)
            }
            [first, second] => {
                let a = first.one(event);
                let b = second.one(event);
                self.row_of([Identity::of(&a), Identity::of(&b)], || [&a, &b], context)
            }
            [first, second, third] => {
                let a = first.one(event);
                let b = second.one(event);
                let c = third.one(event);
                self.row_of([Identity::of(&a), Identity::of(&b), Identity::of(&c)], || [&a, &b, &c], context)
            }
            selectors => self.row_of_many(selectors, event, context),
        }
    }

    #[inline]
    fn row_by_fields<E>(
        &mut self,
        select: &dyn SelectFields<E>,
        order: &[usize],
        event: &E,
        context: &Context,
    ) -> usize {
        let Some(sets) = select.dense() else { return self.row_by_labels(select, order, event, context) };
        let index = select.index(event);
        match self.dense.get(index) {
            Some(&row) if row != NO_ROW => row as usize,
            _ => self.make_dense(sets, index, (select, order), event, context),
        }
    }

    /// The series of a label set that was not seen by its index yet. The overflow series has no index, as it has no labels of its own.
    #[cold]
    fn make_dense<E>(
        &mut self,
        sets: usize,
        index: usize,
        (select, order): (&dyn SelectFields<E>, &[usize]),
        event: &E,
        context: &Context,
    ) -> usize {
        let row = self.row_by_labels(select, order, event, context);
        if self.dense.is_empty() {
            self.dense = vec![NO_ROW; sets].into();
        }
        if self.live.keys().overflow() != Some(row) {
            if let Some(place) = self.dense.get_mut(index) {
                *place = row as u32;
            }
        }
        row
    }

    /// The series of labels that are not found by an index.
    #[inline(never)]
    fn row_by_labels<E>(
        &mut self,
        select: &dyn SelectFields<E>,
        order: &[usize],
        event: &E,
        context: &Context,
    ) -> usize {
        let mut row = 0;
        select.with_labels(event, &mut |fields| {
            row = if order.len() <= FEW_LABELS {
                self.row_by_few::<FEW_LABELS>(fields, order, context)
            } else {
                self.row_by_few::<MAX_LABELS>(fields, order, context)
            };
        });
        row
    }

    /// The series of at most `N` labels, given in the order of the fields.
    #[inline]
    fn row_by_few<const N: usize>(
        &mut self,
        fields: &[Label<'_>],
        order: &[usize],
        context: &Context,
    ) -> usize {
        let mut labels = [&Label::Absent; N];
        let mut wanted = [Identity::default(); N];
        let fields = order.iter().filter_map(|position| fields.get(*position));
        for ((label, wanted), field) in labels.iter_mut().zip(&mut wanted).zip(fields) {
            *label = field;
            *wanted = Identity::of(field);
        }
        let labels = labels.get(..order.len()).unwrap_or_default();
        let wanted = wanted.get(..order.len()).unwrap_or_default();
        match self.index.as_ref().and_then(|index| index.recall(wanted)) {
            Some(Recalled::Surely(row)) => row,
            Some(Recalled::Perhaps(row)) if same_texts(labels, self.live.keys(), row) => row,
            _ => self.row_by_text(labels, wanted, context),
        }
    }

    #[inline(never)]
    fn row_of_many<E>(&mut self, selectors: &[Box<dyn Select<E>>], event: &E, context: &Context) -> usize {
        let mut labels = [Label::Absent; MAX_LABELS];
        let count = selectors.len();
        for (label, select) in labels.iter_mut().zip(selectors) {
            *label = select.one(event);
        }
        let mut wanted = [Identity::default(); MAX_LABELS];
        wanted.iter_mut().zip(&labels).for_each(|(wanted, label)| *wanted = Identity::of(label));
        let labels = labels.each_ref();
        let labels = labels.get(..count).unwrap_or_default();
        let wanted = wanted.get(..count).unwrap_or_default();
        match self.index.as_ref().and_then(|index| index.recall(wanted)) {
            Some(Recalled::Surely(row)) => row,
            Some(Recalled::Perhaps(row)) if same_texts(labels, self.live.keys(), row) => row,
            _ => self.row_by_text(labels, wanted, context),
        }
    }

    /// The labels stay where the selectors wrote them: to copy them side by side costs more than all the rest, because
    /// the copy's wide loads have to wait for the selectors' narrow stores.
    #[inline(always)]
    fn row_of<'a, 'e: 'a, const N: usize>(
        &mut self,
        wanted: [Identity; N],
        labels: impl Fn() -> [&'a Label<'e>; N],
        context: &Context,
    ) -> usize {
        match self.index.as_ref().and_then(|index| index.recall(&wanted)) {
            Some(Recalled::Surely(row)) => row,
            Some(Recalled::Perhaps(row)) if same_texts(&labels(), self.live.keys(), row) => row,
            _ => self.row_by_text(&labels(), &wanted, context),
        }
    }

    #[inline(never)]
    fn row_by_text(&mut self, labels: &[&Label<'_>], wanted: &[Identity], context: &Context) -> usize {
        let index = self.index.get_or_insert_with(|| Box::new(Index::new(labels.len())));
        match index.find(labels, wanted, self.live.keys()) {
            Ok(row) => row,
            Err(hash) => self.make(hash, labels, wanted, context),
        }
    }

    #[cold]
    fn make(&mut self, hash: u64, labels: &[&Label<'_>], wanted: &[Identity], context: &Context) -> usize {
        let ordinary = self.live.len() - usize::from(self.live.keys().overflow().is_some());
        if ordinary >= self.limit {
            let values = || labels.iter().map(|label| label.to_string()).collect();
            return self.live.overflow(context.now(), values);
        }
        let values: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
        let row = self.live.push(values.iter().map(String::as_str), context.now());
        if let Some(index) = &mut self.index {
            index.insert(hash, wanted, row, self.live.keys());
        }
        row
    }
}

impl<E, C> fmt::Debug for Series<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.known.as_ref().and_then(|known| known.index.as_ref());
        f.debug_struct("Series").field("index", &index).finish_non_exhaustive()
    }
}

//! The series of one instrument: label selectors, the index, the live values.

use crate::metric::index::Identity;
use crate::metric::index::Index;
use crate::metric::index::Recalled;
use crate::metric::index::same_texts;
use crate::model::label::Label;
use crate::model::limits::MAX_LABELS;
use crate::model::snapshot::Column;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Live;
use crate::model::verdict::Context;
use std::fmt;

/// How an event names the value of one label.
pub(super) type Selector<E> = Box<dyn for<'a> Fn(&'a E) -> Label<'a> + Send>;

/// The series of one instrument, each with a row of the column `C`.
pub(super) struct Series<E, C> {
    selectors: Box<[Selector<E>]>,
    /// Made with the first labelled series: most metrics of most recorders never have one.
    index: Option<Box<Index>>,
    live: Live<C>,
    limit: usize,
}

impl<E, C: Column> Series<E, C> {
    pub(super) fn new(descriptor: &Descriptor, selectors: Box<[Selector<E>]>, column: C) -> Self {
        let limit = descriptor.cardinality() as usize;
        Self { selectors, index: None, live: Live::new(descriptor, column), limit }
    }

    /// The row of the series that this event belongs to, which counts as changed; made if it is new.
    ///
    /// Selectors run before anything changes, so that one that panics leaves the instrument as it was.
    #[inline]
    pub(super) fn row(&mut self, event: &E, context: &Context) -> usize {
        // Up to three labels is what nearly every metric has; loops over as many are unrolled.
        let row = match &*self.selectors {
            [] => self.unlabelled(context),
            [first] => {
                let a = first(event);
                self.row_of([Identity::of(&a)], || [&a], context)
            }
            [first, second] => {
                let a = first(event);
                let b = second(event);
                self.row_of([Identity::of(&a), Identity::of(&b)], || [&a, &b], context)
            }
            [first, second, third] => {
                let a = first(event);
                let b = second(event);
                let c = third(event);
                self.row_of([Identity::of(&a), Identity::of(&b), Identity::of(&c)], || [&a, &b, &c], context)
            }
            _ => self.row_of_many(event, context),
        };
        self.live.touch(row, context.cut());
        row
    }

    #[inline]
    pub(super) fn column_mut(&mut self) -> &mut C {
        self.live.column_mut()
    }

    pub(super) fn count_saturation(&mut self) {
        self.live.count_saturation();
    }

    pub(super) fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        writer.refresh(&self.live);
    }

    #[inline]
    fn unlabelled(&mut self, context: &Context) -> usize {
        if self.live.len() == 0 { self.live.push(std::iter::empty(), context.now()) } else { 0 }
    }

    #[inline(never)]
    fn row_of_many(&mut self, event: &E, context: &Context) -> usize {
        let mut labels = [Label::Absent; MAX_LABELS];
        let count = self.selectors.len();
        for (label, select) in labels.iter_mut().zip(&self.selectors) {
            *label = select(event);
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
            return self.live.overflow(context.now());
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
        f.debug_struct("Series")
            .field("index", &self.index)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

//! The series of one instrument: label selectors, the index, the live values.

use crate::metric::index::Index;
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
    index: Index,
    live: Live<C>,
    limit: usize,
}

impl<E, C: Column> Series<E, C> {
    pub(super) fn new(descriptor: &Descriptor, selectors: Box<[Selector<E>]>, column: C) -> Self {
        let (index, limit) = (Index::new(selectors.len()), descriptor.cardinality() as usize);
        Self { selectors, index, live: Live::new(descriptor, column), limit }
    }

    /// The row of the series that this event belongs to, which counts as changed; made if it is new.
    ///
    /// Selectors run before anything changes, so that one that panics leaves the instrument as it was.
    #[inline]
    pub(super) fn row(&mut self, event: &E, context: &Context) -> usize {
        // One and two labels are what nearly every metric has; arrays of their size stay in registers.
        let row = match &*self.selectors {
            [] => self.unlabelled(context),
            [only] => {
                let labels = [only(event)];
                self.row_of(&labels, context)
            }
            [first, second] => {
                let labels = [first(event), second(event)];
                self.row_of(&labels, context)
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

    fn row_of_many(&mut self, event: &E, context: &Context) -> usize {
        let mut labels = [Label::Absent; MAX_LABELS];
        let count = self.selectors.len();
        for (label, select) in labels.iter_mut().zip(&self.selectors) {
            *label = select(event);
        }
        self.row_of(labels.get(..count).unwrap_or_default(), context)
    }

    #[inline]
    fn row_of(&mut self, labels: &[Label<'_>], context: &Context) -> usize {
        match self.index.recall(labels, self.live.keys()) {
            Some(row) => row,
            None => self.row_by_text(labels, context),
        }
    }

    #[inline(never)]
    fn row_by_text(&mut self, labels: &[Label<'_>], context: &Context) -> usize {
        match self.index.find(labels, self.live.keys()) {
            Ok(row) => row,
            Err(hash) => self.make(hash, labels, context),
        }
    }

    #[cold]
    fn make(&mut self, hash: u64, labels: &[Label<'_>], context: &Context) -> usize {
        let ordinary = self.live.len() - usize::from(self.live.keys().overflow().is_some());
        if ordinary >= self.limit {
            return self.live.overflow(context.now());
        }
        let values: Vec<String> = labels.iter().map(Label::to_string).collect();
        let row = self.live.push(values.iter().map(String::as_str), context.now());
        self.index.insert(hash, labels, row, self.live.keys());
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

//! One metric in one snapshot.

use crate::model::clock::Timestamp;
use crate::model::label::LabelSet;
use crate::model::label::Labels;
use crate::model::name::LabelKey;
use crate::model::name::MetricName;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::exemplars::Exemplar;
use crate::model::snapshot::exemplars::Exemplars;
use crate::model::snapshot::keys::SeriesKeys;
use crate::model::snapshot::value::ValueRef;
use std::fmt;
use std::sync::Arc;

/// One metric in one snapshot: what it is, and its series.
///
/// Two families are equal when they show the same, however their memory came about. `Clone` copies the values and shares
/// the labels.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Counter, Family, FamilyWriter, Label, Metric, Timestamp};
///
/// let mut hits = Counter::<u16>::builder("hits").label("code", |code| Label::from(*code)).build()?;
/// for code in [200, 404, 200] {
///     let _ = hits.handle_event(&code, &Context::new(Timestamp::from_unix_nanos(7), 1));
/// }
/// let mut family = Family::new(hits.descriptor().clone());
/// hits.snapshot(&mut FamilyWriter::whole(&mut family));
/// assert_eq!((family.len(), family.name().as_str()), (2, "hits"));
/// assert_eq!(family.find(&[("code", "200")]).and_then(|series| series.value().counter()), Some(2));
/// assert!(family.find(&[]).is_none());
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Family {
    pub(super) descriptor: Arc<Descriptor>,
    pub(super) keys: SeriesKeys,
    pub(super) values: Values,
    pub(super) exemplars: Exemplars,
    pub(super) overflowed: u64,
    pub(super) saturated: u64,
    pub(super) faults: u64,
}

impl Family {
    /// A family without series.
    pub fn new(descriptor: Arc<Descriptor>) -> Self {
        let keys = SeriesKeys::new(descriptor.label_keys_shared());
        let values = Values::of(&descriptor);
        let exemplars = Exemplars::default();
        Self { descriptor, keys, values, exemplars, overflowed: 0, saturated: 0, faults: 0 }
    }

    /// The metric's name.
    pub fn name(&self) -> &MetricName {
        self.descriptor.name()
    }

    /// What the metric is.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// How many series there are, the overflow series included.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no series yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every series, oldest first.
    pub fn series(&self) -> impl ExactSizeIterator<Item = SeriesRef<'_>> {
        (0..self.len()).map(|at| SeriesRef { family: self, at })
    }

    /// The series with exactly these labels, in any order. Looks at every series.
    pub fn find(&self, labels: &[(&str, &str)]) -> Option<SeriesRef<'_>> {
        self.series().find(|series| series.labels().matches(labels))
    }

    /// Observations that went to the overflow series, because the cardinality limit was reached; for a custom metric,
    /// statements left out for the same reason.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Some of the label sets that went to the overflow series, the first ones first; those of a custom metric are not known.
    pub fn overflow_examples(&self) -> &[LabelSet] {
        self.keys.overflow_examples()
    }

    /// Observations that a value could not follow, because it had reached the end of its range.
    pub fn saturated(&self) -> u64 {
        self.saturated
    }

    /// Writes of a custom metric that do not fit its own descriptor, and were left out of this snapshot.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// Exemplars that were left out because their labels were no labels, or too long, or their value was not finite.
    pub fn exemplars_left_out(&self) -> u64 {
        self.exemplars.left_out()
    }

    /// What it takes on the heap, without what others have as well: its descriptor, and series that it shares with the metric.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.keys.heap_bytes(false) + self.values.heap_bytes(false) + self.exemplars.heap_bytes(false)
    }

    /// What the values of each label take.
    pub(crate) fn label_bytes(&self) -> impl Iterator<Item = (&LabelKey, usize)> {
        self.keys.label_bytes()
    }

    /// Asks for the memory of the family, one step of its pointers at a time, ahead of whoever reads it: of very many families each is in cache lines
    /// of its own, and a reader would wait for each of them.
    pub(crate) fn fetch(&self, step: usize) {
        match step {
            0 => {
                self.values.fetch();
                self.keys.fetch(0);
            }
            step => self.keys.fetch(step),
        }
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.exemplars.clear();
        (self.overflowed, self.saturated, self.faults) = (0, 0, 0);
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name())?;
        f.debug_map().entries(self.series().map(|series| (series.labels(), series.value()))).finish()
    }
}

/// One series of a family.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Descriptor, Family, FamilyWriter, Kind, LabelSet, Timestamp, ValueRef};
///
/// let mut family = Family::new(Descriptor::builder("load", Kind::Gauge).label("cpu").build()?);
/// let start = Timestamp::from_unix_nanos(9);
/// FamilyWriter::whole(&mut family).started(start).gauge(&LabelSet::new([("cpu", 0_u8)])?, 0.5);
/// let series = family.series().next().unwrap();
/// assert_eq!((series.labels().get("cpu"), series.started()), (Some("0"), start));
/// assert_eq!(series.value(), ValueRef::Gauge(0.5));
/// assert!(!series.is_overflow());
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct SeriesRef<'a> {
    family: &'a Family,
    at: usize,
}

impl<'a> SeriesRef<'a> {
    /// Its labels.
    pub fn labels(&self) -> Labels<'a> {
        self.family.keys.labels(self.at)
    }

    /// When it was first observed.
    pub fn started(&self) -> Timestamp {
        self.family.keys.started(self.at)
    }

    /// Whether it stands for every label set past the cardinality limit.
    pub fn is_overflow(&self) -> bool {
        self.family.keys.overflow() == Some(self.at)
    }

    /// Its value.
    pub fn value(&self) -> ValueRef<'a> {
        let value = self.family.values.get(self.at, &self.family.descriptor, || self.started());
        // Keys and values always have the same length; the writer sees to it.
        value.unwrap_or(ValueRef::Fields(&[]))
    }

    /// Observations of its own that lead to where they came from, in the order of their values: of a counter at most one, of a histogram one for each bucket,
    /// of an exponential histogram up to [`EXPONENTIAL_EXEMPLARS`](crate::limits::EXPONENTIAL_EXEMPLARS), each in another power of two. None, unless the
    /// metric was told how an event names them.
    ///
    /// # Examples
    ///
    /// See [`CounterBuilder::exemplar`](crate::CounterBuilder::exemplar).
    pub fn exemplars(&self) -> impl ExactSizeIterator<Item = &'a Exemplar> + DoubleEndedIterator + use<'a> {
        self.family.exemplars.of(self.at).iter().map(|(_, exemplar)| exemplar)
    }
}

impl fmt::Debug for SeriesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.labels(), self.value())
    }
}

//! Single observations that lead from a number to where it came from.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::heap;
use crate::model::label::Label;
use crate::model::label::LabelSet;
use crate::model::limits::EXEMPLAR_HOLD;
use crate::model::limits::EXPONENTIAL_EXEMPLARS;
use crate::model::limits::MAX_EXEMPLAR_CHARS;
use crate::model::snapshot::columns::take_rows;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::descriptor::Kind;
use crate::model::snapshot::value::Number;
use std::ops::Range;
use std::sync::Arc;

/// One observation of a series, with labels that lead to where it came from: mostly the trace that the event belongs to.
///
/// Instruments keep them where their builder is told how an event names them, as with [`CounterBuilder::exemplar`](crate::CounterBuilder::exemplar);
/// [`SeriesRef::exemplars`](crate::SeriesRef::exemplars) shows them. `Clone` is a reference count.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{ErrorKind, Exemplar, LabelSet, Timestamp};
///
/// let labels = LabelSet::new([("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")])?;
/// let exemplar = Exemplar::new(labels, 0.25, Timestamp::from_unix_nanos(7))?;
/// assert_eq!((exemplar.labels().get("trace_id"), exemplar.value()), (Some("4bf92f3577b34da6a3ce929d0e0e4736"), 0.25.into()));
///
/// let long = LabelSet::new([("note", "x".repeat(200).as_str())])?;
/// assert_eq!(Exemplar::new(long, 1_u64, Timestamp::default()).unwrap_err().kind(), ErrorKind::InvalidLimit);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    labels: LabelSet,
    value: Number,
    at: Timestamp,
}

impl Exemplar {
    /// An observation of this value at this time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidLimit`] for labels whose keys and values have more than
    /// [`MAX_EXEMPLAR_CHARS`] characters together, and for a value that is not finite.
    pub fn new(labels: LabelSet, value: impl Into<Number>, at: Timestamp) -> Result<Self, Error> {
        let chars: usize =
            labels.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum();
        if chars > MAX_EXEMPLAR_CHARS {
            let message = format!(
                "labels of {chars} characters are too long for an exemplar, which has room for {MAX_EXEMPLAR_CHARS}: give ids, not texts"
            );
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        let value = value.into();
        if !value.as_f64().is_finite() {
            let message = format!("{value} is no value of an exemplar: give a finite one");
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        Ok(Self { labels, value, at })
    }

    /// What leads to where it came from.
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// What was observed, in the unit of the metric.
    pub fn value(&self) -> Number {
        self.value
    }

    /// When; an instrument takes the time of the batch in which the event was handled.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// The labels of an exemplar in the making: what a closure of [`CounterBuilder::exemplar`](crate::CounterBuilder::exemplar) writes to.
///
/// # Examples
///
/// ```
/// use mvx_metrics::ExemplarLabels;
///
/// let mut labels = ExemplarLabels::default();
/// labels.trace(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
/// labels.label("attempt", 2_u8);
/// assert_eq!(
///     labels.to_set()?.to_string(),
///     r#"{attempt="2",span_id="00f067aa0ba902b7",trace_id="4bf92f3577b34da6a3ce929d0e0e4736"}"#
/// );
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ExemplarLabels {
    pairs: Vec<(String, String)>,
}

/// The labels by which traces are found, as the field writes them.
pub(crate) const TRACE_ID: &str = "trace_id";
pub(crate) const SPAN_ID: &str = "span_id";

impl ExemplarLabels {
    /// The trace and the span that the event belongs to, by the numbers that W3C's trace context and OpenTelemetry give them: labels
    /// `trace_id` and `span_id` in hexadecimal. An id of 0 is none, and says nothing; without a trace there is no span.
    pub fn trace(&mut self, trace_id: u128, span_id: u64) {
        if trace_id == 0 {
            return;
        }
        self.label(TRACE_ID, format!("{trace_id:032x}").as_str());
        if span_id != 0 {
            self.label(SPAN_ID, format!("{span_id:016x}").as_str());
        }
    }

    /// Any other label; a blank value says nothing.
    pub fn label<'v>(&mut self, key: &str, value: impl Into<Label<'v>>) {
        let value = value.into().to_string();
        if !value.is_empty() {
            self.pairs.push((key.to_owned(), value));
        }
    }

    /// Whether nothing was said: then the event is no exemplar.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// What was said, as a set.
    ///
    /// # Errors
    ///
    /// As [`LabelSet::new`].
    pub fn to_set(&self) -> Result<LabelSet, Error> {
        LabelSet::new(self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

/// The exemplars of the series of one metric; of most metrics none, and then a word.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exemplars(Option<Box<Kept>>);

#[derive(Clone, Debug, Default)]
struct Kept {
    /// A row for each series, up to the last one that has any.
    rows: Vec<Marks>,
    left_out: u64,
}

/// Exemplars of one series by their slots, which rise with their values. Shared with cuts.
#[derive(Clone, Debug, Default, PartialEq)]
struct Marks(Option<Arc<Vec<(Slot, Exemplar)>>>);

/// What one exemplar is kept for: a bucket, a power of two, or the whole series.
pub(crate) type Slot = i32;

impl Descriptor {
    /// Where an observation belongs among the exemplars of a series; nothing if metrics of this kind have none.
    pub(crate) fn slot_of(&self, value: f64) -> Option<Slot> {
        match self.kind() {
            Kind::Counter | Kind::FloatCounter => Some(0),
            Kind::Histogram => Some(self.bounds().partition_point(|bound| *bound < value) as Slot),
            Kind::Exponential => Some(octave(value)),
            _ => None,
        }
    }

    /// How many exemplars a series has at most.
    fn most_exemplars(&self) -> usize {
        match self.kind() {
            Kind::Exponential => EXPONENTIAL_EXEMPLARS,
            Kind::Histogram => self.bounds().len() + 1,
            _ => 1,
        }
    }
}

/// The power of two that a number is in, by a number that rises with it; 0 for zero.
fn octave(value: f64) -> Slot {
    if value == 0.0 {
        return 0;
    }
    let exponent = (value.abs().to_bits() >> 52) as Slot + 1;
    if value < 0.0 { -exponent } else { exponent }
}

impl Exemplars {
    /// The exemplars of a series, in the order of their values.
    pub(super) fn of(&self, series: usize) -> &[(Slot, Exemplar)] {
        let marks = self.0.as_ref().and_then(|kept| kept.rows.get(series));
        marks.map_or(&[], Marks::list)
    }

    /// Those that could not be kept as they were.
    pub(super) fn left_out(&self) -> u64 {
        self.0.as_ref().map_or(0, |kept| kept.left_out)
    }

    /// Whether there is a place for an exemplar now: the one that is there is held for a while, so that very many events cost no more than their count.
    pub(crate) fn is_wanted(&self, series: usize, slot: Slot, now: Timestamp) -> bool {
        let known = self.of(series).iter().find(|(known, _)| *known == slot);
        known.is_none_or(|(_, known)| now.saturating_since(known.at) >= EXEMPLAR_HOLD || now < known.at)
    }

    pub(crate) fn leave_out(&mut self, many: u64) {
        if many > 0 {
            let kept = self.0.get_or_insert_default();
            kept.left_out = kept.left_out.saturating_add(many);
        }
    }

    /// Keeps the exemplar of an event that is handled now, whatever time the clock has: it may have been set back.
    pub(crate) fn put(&mut self, series: usize, slot: Slot, exemplar: Exemplar, of: &Descriptor) {
        self.put_if(series, (slot, exemplar), of, |_, _| true);
    }

    /// Keeps an exemplar in its slot, if none there is newer.
    pub(crate) fn put_newer(&mut self, series: usize, slot: Slot, exemplar: Exemplar, of: &Descriptor) {
        self.put_if(series, (slot, exemplar), of, |known, other| known.at <= other.at);
    }

    fn put_if(
        &mut self,
        series: usize,
        (slot, exemplar): (Slot, Exemplar),
        of: &Descriptor,
        gives_way: fn(&Exemplar, &Exemplar) -> bool,
    ) {
        let rows = &mut self.0.get_or_insert_default().rows;
        if rows.len() <= series {
            rows.resize(series + 1, Marks::default());
        }
        if let Some(Marks(list)) = rows.get_mut(series) {
            put_if(
                Arc::make_mut(list.get_or_insert_default()),
                (slot, exemplar),
                of.most_exemplars(),
                gives_way,
            );
        }
    }

    /// Adds those of a series of another family of the same shape to those of one of ours.
    pub(super) fn add(&mut self, series: usize, other: &Self, theirs: usize, of: &Descriptor) {
        for (slot, exemplar) in other.of(theirs) {
            self.put_newer(series, *slot, exemplar.clone(), of);
        }
    }

    /// Makes these rows equal to those of `live`, and the count of what was left out.
    pub(super) fn copy(&mut self, live: &Self, rows: Range<usize>) {
        let Some(live) = &live.0 else { return self.clear() };
        let ours = self.0.get_or_insert_default();
        ours.left_out = live.left_out;
        let rows = rows.start..rows.end.min(live.rows.len());
        if ours.rows.len() < rows.end {
            ours.rows.resize(rows.end, Marks::default());
        }
        if let (Some(old), Some(new)) = (ours.rows.get_mut(rows.clone()), live.rows.get(rows)) {
            old.clone_from_slice(new);
        }
        ours.rows.truncate(live.rows.len());
    }

    /// Takes out the rows that go.
    pub(super) fn take_out(&mut self, is_gone: &dyn Fn(usize) -> bool) -> Self {
        let Some(kept) = &mut self.0 else { return Self::default() };
        let rows = take_rows(&mut kept.rows, is_gone);
        Self(Some(Box::new(Kept { rows, left_out: 0 })))
    }

    /// The same for a metric of another shape.
    pub(super) fn reshaped(&self, of: &Descriptor) -> Self {
        let mut reshaped = Self::default();
        reshaped.leave_out(self.left_out());
        for series in 0..self.0.as_ref().map_or(0, |kept| kept.rows.len()) {
            for (_, exemplar) in self.of(series) {
                if let Some(slot) = of.slot_of(exemplar.value.as_f64()) {
                    reshaped.put_newer(series, slot, exemplar.clone(), of);
                }
            }
        }
        reshaped
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// What they take on the heap; of what is shared with cuts, with `all` everything, otherwise only what nobody else has.
    pub(super) fn heap_bytes(&self, all: bool) -> usize {
        let Some(kept) = &self.0 else { return 0 };
        let counts = |list: &&Arc<Vec<(Slot, Exemplar)>>| all || Arc::strong_count(list) == 1;
        let lists = kept.rows.iter().filter_map(|marks| marks.0.as_ref()).filter(counts);
        let of = |list: &Arc<Vec<(Slot, Exemplar)>>| {
            let labels = list.iter().map(|(_, exemplar)| exemplar.labels.heap_bytes());
            heap::arc(&**list) + heap::vec(&**list) + labels.sum::<usize>()
        };
        size_of::<Kept>() + heap::vec(&kept.rows) + lists.map(of).sum::<usize>()
    }
}

/// Equal exemplars of equal series; whether there is a row for a series without any does not matter.
impl PartialEq for Exemplars {
    fn eq(&self, other: &Self) -> bool {
        let rows = |of: &Self| of.0.as_ref().map_or(0, |kept| kept.rows.len());
        let series = 0..rows(self).max(rows(other));
        self.left_out() == other.left_out() && series.into_iter().all(|at| self.of(at) == other.of(at))
    }
}

impl Marks {
    fn list(&self) -> &[(Slot, Exemplar)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// One of each slot; if they become too many, the oldest of the others goes.
fn put_if(
    list: &mut Vec<(Slot, Exemplar)>,
    (slot, exemplar): (Slot, Exemplar),
    most: usize,
    gives_way: fn(&Exemplar, &Exemplar) -> bool,
) {
    match list.binary_search_by_key(&slot, |(known, _)| *known) {
        Ok(at) => {
            if let Some((_, known)) = list.get_mut(at).filter(|(_, known)| gives_way(known, &exemplar)) {
                *known = exemplar;
            }
        }
        Err(_) if list.len() >= most => {
            let oldest = list.iter_mut().min_by_key(|(_, known)| known.at);
            if let Some(oldest) = oldest.filter(|(_, known)| gives_way(known, &exemplar)) {
                *oldest = (slot, exemplar);
                list.sort_unstable_by_key(|(slot, _)| *slot);
            }
        }
        Err(at) => list.insert(at, (slot, exemplar)),
    }
}

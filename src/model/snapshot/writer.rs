//! How a metric writes itself into a snapshot.

use crate::model::clock::Timestamp;
use crate::model::label::LabelSet;
use crate::model::name::FieldName;
use crate::model::snapshot::columns::Column;
use crate::model::snapshot::columns::Live;
use crate::model::snapshot::columns::Mean;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::exemplars::Exemplar;
use crate::model::snapshot::family::Family;
use crate::model::snapshot::histograms::Moments;
use crate::model::snapshot::states::Present;
use crate::model::snapshot::states::States;
use crate::model::snapshot::value::Number;
use std::collections::HashMap;

/// What [`Metric::snapshot`](crate::Metric::snapshot) writes to: one family of the snapshot in the making.
///
/// A custom metric states all its series, each once, with the method of its kind. What is not stated is not in the
/// snapshot; a second statement of a label set replaces the first. A statement that does not fit the metric's own
/// descriptor (another kind, an undeclared label, a number that is not finite) is left out and counted in
/// [`Family::faults`]; label sets past the cardinality limit are left out and counted in [`Family::overflowed`].
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Descriptor, Family, FamilyWriter, FieldName, Kind, LabelSet};
///
/// let disks = Descriptor::builder("disk.free", Kind::Gauge).label("mount").build()?;
/// let mut family = Family::new(disks);
/// let mut writer = FamilyWriter::whole(&mut family);
/// writer.gauge(&LabelSet::new([("mount", "/home")])?, 1.5e9);
/// writer.up_down(&LabelSet::empty(), 3);
/// drop(writer);
/// let home = family.find(&[("mount", "/home")]).and_then(|series| series.value().gauge());
/// assert_eq!((home, family.len(), family.faults()), (Some(1.5e9), 1, 1));
///
/// let mut family = Family::new(Descriptor::builder("pool", Kind::Fields).build()?);
/// FamilyWriter::whole(&mut family).field(&FieldName::new("idle")?, 4_u64);
/// assert_eq!(family.find(&[]).and_then(|series| series.value().field("idle")), Some(4_u64.into()));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Debug)]
pub struct FamilyWriter<'a> {
    family: &'a mut Family,
    since: u64,
    started: Timestamp,
    written: bool,
    /// Which row each label set stated so far has.
    rows: HashMap<LabelSet, usize>,
}

impl<'a> FamilyWriter<'a> {
    /// A writer that takes nothing in `family` for granted: for calling a metric by hand.
    pub fn whole(family: &'a mut Family) -> Self {
        Self::new(family, 0)
    }

    /// A writer for a family that holds this very metric as it was at cut `since`, or anything if `since` is 0.
    pub(crate) fn new(family: &'a mut Family, since: u64) -> Self {
        Self { family, since, started: Timestamp::default(), written: false, rows: HashMap::new() }
    }

    /// The time from which the series stated next have been observed; the Unix epoch unless said.
    pub fn started(&mut self, at: Timestamp) -> &mut Self {
        self.started = at;
        self
    }

    /// States a counter.
    pub fn counter(&mut self, labels: &LabelSet, count: u64) {
        self.state(labels, |values, row| set(column::<u64>(values)?, row, count));
    }

    /// States a counter of fractions.
    pub fn float_counter(&mut self, labels: &LabelSet, sum: &ExactSum) {
        let fits = sum.value() >= 0.0;
        self.state(labels, |values, row| set(column::<ExactSum>(values).filter(|_| fits)?, row, sum.clone()));
    }

    /// States a gauge.
    pub fn gauge(&mut self, labels: &LabelSet, value: f64) {
        self.state(labels, |values, row| {
            set(column::<f64>(values).filter(|_| value.is_finite())?, row, value)
        });
    }

    /// States an up-down counter.
    pub fn up_down(&mut self, labels: &LabelSet, value: i64) {
        self.state(labels, |values, row| set(column::<i64>(values)?, row, value));
    }

    /// States an average.
    pub fn average(&mut self, labels: &LabelSet, sum: &ExactSum, count: u64) {
        let mean = Mean { sum: sum.clone(), count };
        self.state(labels, |values, row| set(column::<Mean>(values)?, row, mean));
    }

    /// States an info: all that it says is in its labels.
    pub fn info(&mut self, labels: &LabelSet) {
        self.state(labels, |values, row| set(column::<Present>(values)?, row, Present));
    }

    /// States a state set: which of its states are on. A name that is no state of its is a fault.
    pub fn state_set(&mut self, labels: &LabelSet, on: &[&str]) {
        let states = self.family.descriptor.states();
        let bit = |name: &&str| states.iter().position(|state| **state == **name).map(|at| 1 << at);
        let bits: Option<u64> = on.iter().map(bit).try_fold(0, |bits, bit| Some(bits | bit?));
        self.state(labels, |values, row| set(column::<States>(values)?, row, States(bits?)));
    }

    /// States a histogram: a count for each bound of the descriptor and one above, the sum, and the smallest and largest
    /// observation.
    pub fn histogram(
        &mut self,
        labels: &LabelSet,
        buckets: &[u64],
        sum: &ExactSum,
        extremes: Option<(f64, f64)>,
    ) {
        let width = self.family.descriptor.bounds().len() + 1;
        let (min, max) = extremes.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        let fits =
            buckets.len() == width && extremes.is_none_or(|(min, max)| min.is_finite() && max.is_finite());
        let moments = Moments { sum: sum.clone(), min, max };
        self.state(labels, |values, row| match values {
            Values::Histogram(column) if fits => {
                column.put(row, buckets, moments);
                Some(())
            }
            _ => None,
        });
    }

    /// States one field of the series without labels.
    pub fn field(&mut self, name: &FieldName, value: impl Into<Number>) {
        self.labelled_field(&LabelSet::empty(), name, value);
    }

    /// States one field of a series.
    pub fn labelled_field(&mut self, labels: &LabelSet, name: &FieldName, value: impl Into<Number>) {
        let value = value.into();
        self.state(labels, |values, row| {
            let fields = column::<Vec<(FieldName, Number)>>(values).filter(|_| value.as_f64().is_finite())?;
            if row == fields.len() {
                fields.push(Vec::new());
            }
            let fields = fields.get_mut(row)?;
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value,
                None => fields.push((name.clone(), value)),
            }
            Some(())
        });
    }

    /// Gives an exemplar to a counter or a histogram that was stated with these labels; for another one it is a fault. Of several for one bucket the newest stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Descriptor, Exemplar, Family, FamilyWriter, Kind, LabelSet, Timestamp};
    ///
    /// let mut family = Family::new(Descriptor::builder("hits", Kind::Counter).build()?);
    /// let exemplar = Exemplar::new(LabelSet::new([("trace_id", "4bf9")])?, 1_u64, Timestamp::from_unix_nanos(7))?;
    /// let mut writer = FamilyWriter::whole(&mut family);
    /// writer.counter(&LabelSet::empty(), 3);
    /// writer.exemplar(&LabelSet::empty(), exemplar.clone());
    /// drop(writer);
    /// assert_eq!(family.find(&[]).and_then(|series| series.exemplars().next()), Some(&exemplar));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn exemplar(&mut self, labels: &LabelSet, exemplar: Exemplar) {
        self.begin();
        let slot = self.family.descriptor.slot_of(exemplar.value().as_f64());
        match self.rows.get(labels).zip(slot) {
            Some((row, slot)) => {
                self.family.exemplars.put_newer(*row, slot, exemplar, &self.family.descriptor)
            }
            None => self.family.faults += 1,
        }
    }

    /// Brings the family to the state of an instrument: what changed after the cut it holds, in place.
    pub(crate) fn refresh<C: Column>(&mut self, live: &Live<C>) {
        self.written = true;
        if self.since == 0 || self.family.keys.len() > live.len() {
            self.family.clear();
            self.since = 0;
        }
        self.family.keys.catch_up(&live.keys);
        if live.column.within(&mut self.family.values).is_none() {
            self.family.values = live.column.empty();
        }
        if let Some(column) = live.column.within(&mut self.family.values) {
            live.rows_changed_after(self.since).for_each(|rows| column.copy(&live.column, rows));
        }
        let exemplars = &mut self.family.exemplars;
        live.rows_changed_after(self.since).for_each(|rows| exemplars.copy(&live.exemplars, rows));
        self.family.overflowed = live.overflowed;
        self.family.saturated = live.saturated;
    }

    fn state(&mut self, labels: &LabelSet, write: impl FnOnce(&mut Values, usize) -> Option<()>) {
        self.begin();
        let declared = |key: &str| self.family.descriptor.label_keys().iter().any(|known| *known == *key);
        if !labels.iter().all(|(key, _)| declared(key)) {
            self.family.faults += 1;
            return;
        }
        let known = self.rows.get(labels).copied();
        let row = known.unwrap_or(self.family.keys.len());
        if row >= self.family.descriptor.cardinality() as usize {
            self.family.overflowed += 1;
            return;
        }
        if write(&mut self.family.values, row).is_none() {
            self.family.faults += 1;
        } else if known.is_none() {
            let keys = self.family.descriptor.label_keys().iter();
            let values = keys.map(|key| labels.get(key.as_str()).unwrap_or_default());
            self.family.keys.push(values, self.started);
            self.rows.insert(labels.clone(), row);
        }
    }

    fn begin(&mut self) {
        if !self.written {
            self.written = true;
            self.family.clear();
        }
    }
}

/// A metric that stated nothing has no series; what an older cut held must not shine through.
impl Drop for FamilyWriter<'_> {
    fn drop(&mut self) {
        self.begin();
    }
}

fn column<T: crate::model::snapshot::columns::Row>(values: &mut Values) -> Option<&mut Vec<T>> {
    T::column(values)
}

fn set<T>(column: &mut Vec<T>, row: usize, value: T) -> Option<()> {
    if row == column.len() {
        column.push(value);
    } else {
        *column.get_mut(row)? = value;
    }
    Some(())
}

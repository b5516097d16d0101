//! Series of several recorders folded into one family.

use crate::model::clock::Timestamp;
use crate::model::snapshot::columns::Column;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::descriptor::GaugeFold;
use crate::model::snapshot::descriptor::Kind;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::family::Family;
use crate::model::snapshot::window::Held;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// A family in the making: what any number of families of one shape come to together.
///
/// Counts, buckets, extremes and integer sums are exact, sums of fractions are kept exactly until they are read. A gauge is folded by
/// the rule of its descriptor. The order of the families makes no difference but for the order of the series.
#[derive(Clone, Debug)]
pub(crate) struct Folded {
    /// What is added.
    shape: Arc<Descriptor>,
    /// What it comes to: of the same shape, but for infos and state sets, which are counted.
    family: Family,
    /// Series beside the overflow series.
    limit: usize,
    /// Which row each label set has; made when the rows of two families first differ, and then complete up to `indexed`.
    rows: HashMap<Box<str>, usize>,
    indexed: usize,
    key: String,
    /// The sum of each row of a gauge that is folded by its sum: the column holds it rounded.
    sums: Vec<ExactSum>,
    /// When each row of a gauge was stated, for the last by time.
    stated: Vec<Timestamp>,
    past_limit: u64,
    /// A series found no room, or a value was out of range: what comes then depends on the order.
    exceeded: bool,
}

impl Folded {
    /// Nothing yet; room for `limit` series beside the overflow series.
    pub(crate) fn new(descriptor: Arc<Descriptor>, limit: usize) -> Self {
        let counted = descriptor.counted().unwrap_or_else(|| Arc::clone(&descriptor));
        Self {
            shape: descriptor,
            family: Family::new(counted),
            limit,
            rows: HashMap::new(),
            indexed: 0,
            key: String::new(),
            sums: Vec::new(),
            stated: Vec::new(),
            past_limit: 0,
            exceeded: false,
        }
    }

    /// Makes room for so many series, if there is less, for what is added from now on.
    pub(crate) fn widen(&mut self, limit: usize) {
        self.limit = self.limit.max(limit);
        self.exceeded = false;
    }

    /// Whether metrics of this kind can be folded at all: free fields mean what their metric says.
    pub(crate) fn takes(kind: Kind) -> bool {
        kind != Kind::Fields
    }

    /// Whether what was counted stays when its recorder goes: a level goes with what it was the level of.
    pub(crate) fn keeps(kind: Kind) -> bool {
        let level = matches!(kind, Kind::Gauge | Kind::UpDown | Kind::Heartbeat);
        !level && Self::is_alike(kind)
    }

    /// Whether what is folded is of the kind that was added, and can be shown beside it.
    pub(crate) fn is_alike(kind: Kind) -> bool {
        !matches!(kind, Kind::Info | Kind::StateSet | Kind::Fields)
    }

    /// What is added.
    pub(crate) fn shape(&self) -> &Arc<Descriptor> {
        &self.shape
    }

    pub(crate) fn family(&self) -> &Family {
        &self.family
    }

    pub(crate) fn into_family(self) -> Family {
        self.family
    }

    /// How many series found no room and were added to the overflow series, once for each time.
    pub(crate) fn past_limit(&self) -> u64 {
        self.past_limit
    }

    /// Adds a family of the same shape, whose state is of the time `at`; false if it has another shape, or cannot be folded.
    pub(crate) fn add(&mut self, other: &Family, at: Timestamp) -> bool {
        let same = Arc::ptr_eq(&self.shape, &other.descriptor) || self.shape.same_shape(&other.descriptor);
        if !same || !Self::takes(other.descriptor.kind()) {
            return false;
        }
        self.add_alike(other, at);
        true
    }

    /// The same for a family that is known to have the same shape: looking costs more than adding where there are very many.
    pub(crate) fn add_alike(&mut self, other: &Family, at: Timestamp) {
        if Self::is_alike(self.shape.kind()) {
            self.add_series(other, at);
        } else {
            self.add_series(&other.counted_as(Arc::clone(&self.family.descriptor)), at);
        }
    }

    /// Adds what others came to that follow in the order, and have the same shape; false if it matters that they were folded apart, as it
    /// does once a limit or a range was exceeded. What this has come to then is of no use.
    pub(crate) fn absorb(&mut self, other: &Self) -> bool {
        self.add_rows(&other.family, |ours, row, series| {
            match (&mut ours.family.values, &other.family.values) {
                (Values::Gauge(column), Values::Gauge(theirs)) => {
                    let (Some(value), Some(added)) = (column.get_mut(row), theirs.get(series)) else {
                        return true;
                    };
                    let (Some(sum), Some(more)) = (ours.sums.get_mut(row), other.sums.get(series)) else {
                        return true;
                    };
                    let (Some(stated), Some(at)) = (ours.stated.get_mut(row), other.stated.get(series))
                    else {
                        return true;
                    };
                    let first = *stated == Timestamp::default();
                    let latest = *at >= *stated;
                    *stated = (*stated).max(*at);
                    match ours.family.descriptor.gauge_fold() {
                        GaugeFold::Sum => {
                            let fits = sum.merge(more);
                            *value = sum.value();
                            return fits;
                        }
                        GaugeFold::Count => *value += *added,
                        rule => return fold_gauge(rule, value, *added, sum, first, latest),
                    }
                    true
                }
                (column, theirs) => column.add_row(row, theirs, series, &ours.family.descriptor),
            }
        });
        !(self.exceeded || other.exceeded)
    }

    fn add_series(&mut self, other: &Family, at: Timestamp) {
        self.add_rows(other, |ours, row, series| ours.add_value(row, &other.values, series, at));
    }

    /// Finds the row of each series, and has `add` add its value to it, which is false if that is out of range.
    #[inline]
    fn add_rows(&mut self, other: &Family, add: impl Fn(&mut Self, usize, usize) -> bool) {
        let overflow = other.keys.overflow();
        for series in 0..other.len() {
            let started = other.keys.started(series);
            let row = if overflow == Some(series) {
                self.overflow_row(started)
            } else {
                self.row_of(other, series, started)
            };
            if !add(self, row, series) {
                self.family.saturated = self.family.saturated.saturating_add(1);
                self.exceeded = true;
            }
            self.family.exemplars.add(row, &other.exemplars, series, &self.shape);
        }
        self.family.exemplars.leave_out(other.exemplars_left_out());
        self.family.overflowed = self.family.overflowed.saturating_add(other.overflowed);
        self.family.saturated = self.family.saturated.saturating_add(other.saturated);
        self.family.faults = self.family.faults.saturating_add(other.faults);
    }

    /// The row of these labels, which may be the overflow series'.
    fn row_of(&mut self, other: &Family, series: usize, started: Timestamp) -> usize {
        let found = if self.is_row_of(series, other, series) {
            Some(series)
        } else if other.keys.width() == 0 {
            self.find_blank()
        } else {
            self.look_up(other, series)
        };
        if let Some(row) = found {
            self.family.keys.begin_earlier(row, started);
            return row;
        }
        let room = self.family.len() - usize::from(self.family.keys.overflow().is_some());
        if room >= self.limit {
            self.past_limit = self.past_limit.saturating_add(1);
            self.exceeded = true;
            return self.overflow_row(started);
        }
        let row = self.family.keys.push(other.keys.texts(series), started);
        self.make_row();
        row
    }

    /// Whether `row` is the row of these labels: it mostly is where `row == series`, as recorders of one kind meet their labels alike.
    fn is_row_of(&self, row: usize, other: &Family, series: usize) -> bool {
        let ours = &self.family.keys;
        row < ours.len()
            && ours.overflow() != Some(row)
            && (0..ours.width())
                .all(|position| ours.value(row, position) == other.keys.value(series, position))
    }

    fn find_blank(&self) -> Option<usize> {
        (0..self.family.len()).find(|row| self.family.keys.overflow() != Some(*row))
    }

    #[cold]
    fn look_up(&mut self, other: &Family, series: usize) -> Option<usize> {
        for row in self.indexed..self.family.len() {
            if self.family.keys.overflow() != Some(row) {
                write_key(&mut self.key, &self.family, row);
                self.rows.insert(self.key.as_str().into(), row);
            }
        }
        self.indexed = self.family.len();
        write_key(&mut self.key, other, series);
        self.rows.get(self.key.as_str()).copied()
    }

    fn overflow_row(&mut self, started: Timestamp) -> usize {
        let row = self.family.keys.push_overflow(started);
        self.family.keys.begin_earlier(row, started);
        self.make_row();
        row
    }

    fn make_row(&mut self) {
        let rows = self.family.len();
        self.family.values.extend_to(rows);
        if self.family.descriptor.kind() == Kind::Gauge {
            self.sums.resize(rows, ExactSum::default());
            self.stated.resize(rows, Timestamp::default());
        }
    }

    /// False if the result is out of range.
    fn add_value(&mut self, row: usize, values: &Values, series: usize, at: Timestamp) -> bool {
        match (&mut self.family.values, values) {
            (Values::Gauge(ours), Values::Gauge(theirs)) => {
                let (Some(ours), Some(value), Some(sum), Some(stated)) =
                    (ours.get_mut(row), theirs.get(series), self.sums.get_mut(row), self.stated.get_mut(row))
                else {
                    return true;
                };
                let first = std::mem::replace(stated, at.max(*stated).max(FIRST)) == Timestamp::default();
                fold_gauge(self.family.descriptor.gauge_fold(), ours, *value, sum, first, at >= *stated)
            }
            (ours, theirs) => ours.add_row(row, theirs, series, &self.family.descriptor),
        }
    }
}

/// The earliest time at which a gauge can be told to be stated.
const FIRST: Timestamp = Timestamp::from_unix_nanos(1);

fn fold_gauge(
    rule: GaugeFold,
    ours: &mut f64,
    value: f64,
    sum: &mut ExactSum,
    first: bool,
    latest: bool,
) -> bool {
    match rule {
        GaugeFold::Sum => {
            let fits = sum.add(value);
            *ours = sum.value();
            return fits;
        }
        GaugeFold::Min => *ours = if first { value } else { ours.min(value) },
        GaugeFold::Max => *ours = if first { value } else { ours.max(value) },
        GaugeFold::Count => *ours += 1.0,
        GaugeFold::Last if first || latest => *ours = value,
        GaugeFold::Last => {}
    }
    true
}

/// Label values one after another, each behind its length: no two label sets have one key.
fn write_key(key: &mut String, family: &Family, series: usize) {
    key.clear();
    for position in 0..family.keys.width() {
        let value = std::str::from_utf8(family.keys.value(series, position)).unwrap_or_default();
        let _ = write!(key, "{}:{value}", value.len());
    }
}

impl Values {
    /// Appends rows without observations until there are `rows`.
    fn extend_to(&mut self, rows: usize) {
        match self {
            Self::Counter(column) => column.resize(rows, 0),
            Self::FloatCounter(column) => column.resize(rows, ExactSum::default()),
            Self::Gauge(column) => column.resize(rows, 0.0),
            Self::UpDown(column) => column.resize(rows, 0),
            Self::Histogram(column) => (column.len()..rows).for_each(|_| column.push()),
            Self::Exponential(column) => (column.len()..rows).for_each(|_| column.push()),
            Self::Average(column) => column.resize_with(rows, Default::default),
            Self::Summary(column) => column.resize_with(rows, Default::default),
            Self::Windowed(column) => column.resize_with(rows, Default::default),
            Self::Rate(column) => column.resize_with(rows, Default::default),
            Self::Heartbeat(column) => column.resize_with(rows, Default::default),
            Self::Info(column) => column.resize_with(rows, Default::default),
            Self::StateSet(column) => column.resize_with(rows, Default::default),
            Self::Fields(column) => column.resize_with(rows, Default::default),
        }
    }

    /// Adds a row of `other` to one of these; false if the result is out of range, which changes as much as fits.
    fn add_row(&mut self, row: usize, other: &Self, series: usize, shape: &Descriptor) -> bool {
        let fitted = match (self, other) {
            (Self::Counter(ours), Self::Counter(theirs)) => {
                ours.get_mut(row).zip(theirs.get(series)).map(|(ours, theirs)| {
                    let sum = ours.checked_add(*theirs);
                    *ours = sum.unwrap_or(u64::MAX);
                    sum.is_some()
                })
            }
            (Self::UpDown(ours), Self::UpDown(theirs)) => {
                ours.get_mut(row).zip(theirs.get(series)).map(|(ours, theirs)| {
                    let sum = ours.checked_add(*theirs);
                    *ours = ours.saturating_add(*theirs);
                    sum.is_some()
                })
            }
            (Self::FloatCounter(ours), Self::FloatCounter(theirs)) => {
                ours.get_mut(row).zip(theirs.get(series)).map(|(ours, theirs)| ours.merge(theirs))
            }
            (Self::Average(ours), Self::Average(theirs)) => {
                ours.get_mut(row).zip(theirs.get(series)).map(|(ours, theirs)| {
                    let fits = ours.sum.merge(&theirs.sum);
                    if fits {
                        ours.count = ours.count.saturating_add(theirs.count);
                    }
                    fits
                })
            }
            (Self::Histogram(ours), Self::Histogram(theirs)) => Some(ours.add_row(row, theirs, series)),
            (Self::Exponential(ours), Self::Exponential(theirs)) => Some(ours.add_row(row, theirs, series)),
            (Self::Summary(ours), Self::Summary(theirs)) => {
                let both = ours.get_mut(row).zip(theirs.get(series));
                both.map(|(ours, theirs)| ours.merge(theirs, shape.counting().max_buckets))
            }
            (Self::Windowed(ours), Self::Windowed(theirs)) => {
                let both = ours.get_mut(row).zip(theirs.get(series));
                both.map(|(ours, theirs)| ours.merge(theirs, shape.counting().max_buckets))
            }
            (Self::Rate(ours), Self::Rate(theirs)) => {
                ours.get_mut(row).zip(theirs.get(series)).map(|(ours, theirs)| ours.merge(theirs))
            }
            (Self::Heartbeat(ours), Self::Heartbeat(theirs)) => {
                ours.get_mut(row).zip(theirs.get(series)).map(|(ours, theirs)| {
                    ours.merge(*theirs, shape.gauge_fold());
                    true
                })
            }
            // Infos and state sets are counted before.
            _ => None,
        };
        fitted.unwrap_or(true)
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests;

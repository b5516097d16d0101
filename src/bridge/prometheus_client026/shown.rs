//! What was read of a registry, as families of a source.

use crate::bridge::prometheus_client026::reading::Example;
use crate::bridge::prometheus_client026::reading::Read;
use crate::bridge::prometheus_client026::reading::Sample;
use crate::bridge::prometheus_client026::reading::Type;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::label::LabelSet;
use crate::model::label::MAX_LABEL_VALUE_BYTES;
use crate::model::prometheus;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::Exemplar;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use crate::runtime::collection::source::SourceWriter;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

/// Integers up to here are floats exactly.
const WHOLE: u64 = 1 << f64::MANTISSA_DIGITS;

/// One look.
pub(super) struct Page {
    started: Timestamp,
    cardinality: u32,
    counted: Counted,
    /// When exemplars without a time were first seen, by sample and exemplar: before, and at this look.
    before: HashMap<String, Timestamp>,
    seen: HashMap<String, Timestamp>,
}

/// What was left out at a look.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) conflicts: u64,
    pub(super) left_out: u64,
    pub(super) unreadable: u64,
}

/// A sample whose labels are labels, without the bound of a bucket.
struct Row<'r, 't> {
    labels: LabelSet,
    bound: Option<&'r str>,
    sample: &'r Sample<'t>,
}

/// The samples of one histogram.
#[derive(Default)]
struct Histogram<'r, 't> {
    sum: Option<f64>,
    count: Option<u64>,
    /// Bounds, and the counts up to them.
    buckets: Vec<(f64, u64)>,
    marked: Vec<&'r Sample<'t>>,
}

impl Page {
    pub(super) fn new(started: Timestamp, cardinality: u32, before: HashMap<String, Timestamp>) -> Self {
        Self { started, cardinality, counted: Counted::default(), before, seen: HashMap::new() }
    }

    pub(super) fn finish(self) -> (Counted, HashMap<String, Timestamp>) {
        (self.counted, self.seen)
    }

    pub(super) fn unreadable(&mut self, lines: u64, writer: &mut SourceWriter<'_>) {
        if lines > 0 {
            self.counted.unreadable += lines;
            let message = format!("{lines} lines of the registry's text say nothing in the format");
            writer.fault(lines, Error::new(ErrorKind::InvalidRecord, message));
        }
    }

    /// A metric that is left out, with so many series.
    pub(super) fn conflict(&mut self, samples: usize, why: Error, writer: &mut SourceWriter<'_>) {
        self.counted.conflicts += 1;
        self.counted.left_out += samples as u64;
        writer.fault(samples as u64, why);
    }

    pub(super) fn family(&mut self, read: &Read<'_>, writer: &mut SourceWriter<'_>) {
        self.unreadable(read.unreadable, writer);
        let mut left_out = LeftOut::default();
        let rows = rows(read, &mut left_out);
        if !rows.is_empty() {
            match read.kind {
                Type::Histogram => self.histograms(read, &rows, &mut left_out, writer),
                _ => self.plain(read, &rows, &mut left_out, writer),
            }
        }
        self.counted.left_out += left_out.count;
        if let Some(why) = left_out.first {
            writer.fault(left_out.count, why);
        }
    }

    fn plain(
        &mut self,
        read: &Read<'_>,
        rows: &[Row<'_, '_>],
        left_out: &mut LeftOut,
        writer: &mut SourceWriter<'_>,
    ) {
        let whole = match read.kind {
            Type::Counter => rows.iter().all(|row| row.sample.value.parse::<u64>().is_ok()),
            _ => rows
                .iter()
                .all(|row| row.sample.value.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())),
        };
        let kind = match (read.kind, whole) {
            (Type::Counter, true) => Kind::Counter,
            (Type::Counter, false) => Kind::FloatCounter,
            (Type::Info, _) => Kind::Info,
            (_, true) => Kind::UpDown,
            (_, false) => Kind::Gauge,
        };
        let found = descriptor(read, kind, rows, &[], self.cardinality);
        let Some((mut family, mut marks)) = self.begin(found, rows.len(), writer) else { return };
        let mut stated = HashSet::new();
        for Row { labels, sample, .. } in rows {
            if !stated.insert(labels) {
                left_out.twice(read.name, labels);
            } else if !number(&mut family, kind, labels, sample.value) {
                left_out.value(read.name, sample.value);
            } else if let Some(example) = &sample.exemplar {
                marks.give(&mut family, labels, sample, example, left_out);
            }
        }
    }

    fn histograms(
        &mut self,
        read: &Read<'_>,
        rows: &[Row<'_, '_>],
        left_out: &mut LeftOut,
        writer: &mut SourceWriter<'_>,
    ) {
        let mut places: HashMap<&LabelSet, usize> = HashMap::new();
        let mut all: Vec<(&LabelSet, Histogram<'_, '_>)> = Vec::new();
        for row in rows {
            let place = *places.entry(&row.labels).or_insert(all.len());
            if place == all.len() {
                all.push((&row.labels, Histogram::default()));
            }
            if let Some((_, histogram)) = all.get_mut(place) {
                if !histogram.take(row) {
                    left_out.value(read.name, row.sample.value);
                }
            }
        }
        // All have those of the first; a registry may hold others, but one metric has one shape.
        let bounds = all.iter().find_map(|(_, histogram)| histogram.bounds()).unwrap_or_default();
        // One that has no bounds is its sum and its count.
        let kind = if bounds.is_empty() { Kind::Average } else { Kind::Histogram };
        let found = descriptor(read, kind, rows, &bounds, self.cardinality);
        let Some((mut family, mut marks)) = self.begin(found, all.len(), writer) else { return };
        for (labels, histogram) in &all {
            let Some((sum, buckets)) = histogram.of_bounds(&bounds) else {
                left_out.add(1, ErrorKind::MetricConflict, || {
                    format!(
                        "a histogram {} is not whole, has other bounds than the first, or no finite sum",
                        read.name
                    )
                });
                continue;
            };
            match kind {
                Kind::Average => family.average(labels, &sum, histogram.count.unwrap_or_default()),
                _ => family.histogram(labels, &buckets, &sum, None),
            }
            for sample in &histogram.marked {
                if let Some(example) = &sample.exemplar {
                    marks.give(&mut family, labels, sample, example, left_out);
                }
            }
        }
    }

    /// The writer of a family, and what gives it exemplars; none, and that is told, if it cannot be declared.
    fn begin<'p, 'w>(
        &'p mut self,
        found: Result<Arc<Descriptor>, Error>,
        samples: usize,
        writer: &'w mut SourceWriter<'_>,
    ) -> Option<(FamilyWriter<'w>, Marks<'p>)> {
        let now = writer.now();
        let descriptor = match found {
            Ok(descriptor) => descriptor,
            Err(error) => {
                self.conflict(samples, error, writer);
                return None;
            }
        };
        let Ok(mut family) = writer.find(&descriptor) else {
            self.counted.conflicts += 1;
            self.counted.left_out += samples as u64;
            return None;
        };
        family.started(self.started);
        let Self { before, seen, .. } = self;
        Some((family, Marks { before, seen, now, kind: descriptor.kind() }))
    }
}

/// Gives exemplars to series.
struct Marks<'p> {
    before: &'p HashMap<String, Timestamp>,
    seen: &'p mut HashMap<String, Timestamp>,
    now: Timestamp,
    kind: Kind,
}

impl Marks<'_> {
    fn give(
        &mut self,
        family: &mut FamilyWriter<'_>,
        to: &LabelSet,
        sample: &Sample<'_>,
        example: &Example<'_>,
        left_out: &mut LeftOut,
    ) {
        if self.kind == Kind::Average {
            return;
        }
        let at = example.at.map_or_else(|| Some(self.first_seen(sample)), seconds);
        let labels = LabelSet::new(example.labels.iter().map(|(key, value)| (*key, value.as_ref())));
        let made = labels.and_then(|labels| {
            let value: f64 = example.value.parse().unwrap_or(f64::NAN);
            Exemplar::new(labels, value, at.unwrap_or(self.now))
        });
        match made {
            Ok(exemplar) => family.exemplar(to, exemplar),
            Err(error) => left_out.add(1, error.kind(), || error.to_string()),
        }
    }

    fn first_seen(&mut self, sample: &Sample<'_>) -> Timestamp {
        let key = format!("{}{}", sample.head, sample.tail);
        let at = self.before.get(&key).copied().unwrap_or(self.now);
        self.seen.insert(key, at);
        at
    }
}

/// Series that are left out of one family.
#[derive(Default)]
struct LeftOut {
    count: u64,
    first: Option<Error>,
}

impl LeftOut {
    fn add(&mut self, count: u64, kind: ErrorKind, why: impl FnOnce() -> String) {
        self.count += count;
        self.first.get_or_insert_with(|| Error::new(kind, why()));
    }

    fn twice(&mut self, name: &str, labels: &LabelSet) {
        self.add(1, ErrorKind::MetricConflict, || {
            format!("the series {name}{labels} is there twice; the first is shown")
        });
    }

    fn value(&mut self, name: &str, value: &str) {
        self.add(1, ErrorKind::InvalidLimit, || {
            format!("{value} of {name} is not finite, or no exact number here")
        });
    }
}

/// Samples with their labels, as far as they are labels.
fn rows<'r, 't>(read: &'r Read<'t>, left_out: &mut LeftOut) -> Vec<Row<'r, 't>> {
    let mut rows = Vec::with_capacity(read.samples.len());
    for sample in &read.samples {
        let suffixes: &[&str] = match read.kind {
            Type::Counter => &["_total"],
            Type::Gauge | Type::Unknown => &[""],
            Type::Histogram => &["_sum", "_count", "_bucket"],
            Type::Info => &["_info"],
        };
        if !suffixes.contains(&sample.suffix) {
            left_out.add(1, ErrorKind::InvalidRecord, || {
                format!("a sample {}{} is none of the type of {0}", read.name, sample.suffix)
            });
            continue;
        }
        let is_bound = |key: &str| sample.suffix == "_bucket" && key == "le";
        let bound = sample.labels.iter().find(|(key, _)| is_bound(key)).map(|(_, bound)| bound.as_ref());
        let own = || sample.labels.iter().filter(|(key, _)| !is_bound(key));
        if let Some((key, _)) = own().find(|(_, value)| value.len() > MAX_LABEL_VALUE_BYTES) {
            left_out.add(1, ErrorKind::InvalidLimit, || {
                format!(
                    "a value of the label {key} of {} has more than {MAX_LABEL_VALUE_BYTES} bytes",
                    read.name
                )
            });
            continue;
        }
        match LabelSet::new(own().map(|(key, value)| (*key, value.as_ref()))) {
            Ok(labels) => rows.push(Row { labels, bound, sample }),
            Err(error) => left_out.add(1, error.kind(), || format!("a series of {}: {error}", read.name)),
        }
    }
    rows
}

/// What the family is here; an error if it cannot be called what it is called there.
fn descriptor(
    read: &Read<'_>,
    kind: Kind,
    rows: &[Row<'_, '_>],
    bounds: &[f64],
    cardinality: u32,
) -> Result<Arc<Descriptor>, Error> {
    let counts = matches!(kind, Kind::Counter | Kind::FloatCounter);
    // The last `_total` of a counter's name is the format's.
    let name: Cow<'_, str> = if counts && read.name.ends_with("_total") {
        format!("{}_total", read.name).into()
    } else {
        read.name.into()
    };
    // An info has no number, and so no unit; its name says it all the same.
    let unit = read.unit.filter(|_| kind != Kind::Info).and_then(Unit::of_word).unwrap_or_default();
    let keys: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.labels.iter()).map(|(key, _): (&str, &str)| key).collect();
    let mut builder = Descriptor::builder(&name, kind).unit(unit).help(read.help).cardinality(cardinality);
    if !bounds.is_empty() {
        builder = builder.bounds(bounds);
    }
    let built = keys.into_iter().fold(builder, |builder, key| builder.label(key)).build()?;
    let written = prometheus::family_name(&built);
    if written == read.name {
        return Ok(built);
    }
    let message = format!("the registry's metric {} would be called {written} here; rename it", read.name);
    Err(Error::new(ErrorKind::InvalidName, message))
}

/// States a number; false if it cannot be said exactly.
fn number(family: &mut FamilyWriter<'_>, kind: Kind, labels: &LabelSet, text: &str) -> bool {
    match kind {
        Kind::Counter => text.parse().map(|count| family.counter(labels, count)).is_ok(),
        Kind::UpDown => text.parse().map(|level| family.up_down(labels, level)).is_ok(),
        Kind::Info => {
            family.info(labels);
            true
        }
        _ => {
            let Some(value) = real(text) else { return false };
            if kind == Kind::Gauge {
                family.gauge(labels, value);
                return true;
            }
            let mut sum = ExactSum::default();
            let fits = value >= 0.0 && sum.add(value);
            if fits {
                family.float_counter(labels, &sum);
            }
            fits
        }
    }
}

/// A finite number; an integer only if it is one exactly.
fn real(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    let whole: Option<i128> = text.parse().ok();
    whole.is_none_or(|whole| whole.unsigned_abs() <= u128::from(WHOLE)).then_some(value)
}

/// A time by its seconds since the Unix epoch, to the nanosecond as far as they are written so.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let exact = || {
        let nanos: u64 = format!("{part:0<9.9}").parse().ok()?;
        whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
    };
    let rounded =
        || text.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0).map(|seconds| (seconds * 1e9) as u64);
    exact().or_else(rounded).map(Timestamp::from_unix_nanos)
}

impl<'r, 't> Histogram<'r, 't> {
    /// Takes a sample of it; false if it says nothing.
    fn take(&mut self, row: &Row<'r, 't>) -> bool {
        let sample = row.sample;
        match sample.suffix {
            "_sum" => self.sum = real(sample.value).or(self.sum),
            "_count" => match sample.value.parse() {
                Ok(count) => self.count = Some(count),
                Err(_) => return false,
            },
            _ => {
                let bound =
                    row.bound.and_then(|bound| bound.parse::<f64>().ok()).filter(|bound| !bound.is_nan());
                let Some((bound, below)) = bound.zip(sample.value.parse::<u64>().ok()) else { return false };
                self.buckets.push((bound, below));
                if sample.exemplar.is_some() {
                    self.marked.push(sample);
                }
            }
        }
        true
    }

    /// Its finite bounds, if it has all that makes a histogram.
    fn bounds(&self) -> Option<Vec<f64>> {
        self.sum.and(self.count)?;
        let bounds: Vec<f64> =
            self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
        Some(bounds)
    }

    /// Its sum, and how many observations are in each bucket of these bounds and above them; `None` if they are not its own.
    fn of_bounds(&self, bounds: &[f64]) -> Option<(ExactSum, Vec<u64>)> {
        if self.bounds()? != bounds {
            return None;
        }
        let count = self.count?;
        let mut below = 0;
        let mut buckets = Vec::with_capacity(bounds.len() + 1);
        let up_to = self.buckets.iter().map(|(_, up_to)| *up_to).take(bounds.len()).chain([count]);
        for up_to in up_to {
            buckets.push(up_to.checked_sub(below)?);
            below = up_to;
        }
        // A bucket of everything says what the count says.
        let fits = self.buckets.iter().skip(bounds.len()).all(|(_, all)| *all == count);
        let mut sum = ExactSum::default();
        (fits && sum.add(self.sum?)).then_some((sum, buckets))
    }
}

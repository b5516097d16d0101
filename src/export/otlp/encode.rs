//! Snapshots as export requests (opentelemetry-proto 1.x, `collector/metrics/v1` and `metrics/v1`).

use crate::export::otlp::delta::Base;
use crate::export::otlp::delta::Change;
use crate::export::otlp::delta::Key;
use crate::export::otlp::delta::Run;
use crate::export::otlp::delta::Taken;
use crate::export::otlp::delta::Value;
use crate::export::rows::Row;
use crate::export::rows::Selection;
use crate::export::rows::Written;
use crate::export::rows::rows;
use crate::export::wire::Wire;
use crate::model::clock::Timestamp;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Exemplar;
use crate::model::snapshot::ExponentialBuckets;
use crate::model::snapshot::ExponentialRef;
use crate::model::snapshot::HistogramRef;
use crate::model::snapshot::Number;
use crate::model::snapshot::SPAN_ID;
use crate::model::snapshot::SeriesRef;
use crate::model::snapshot::TRACE_ID;
use crate::model::snapshot::ValueRef;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::scope::Scope;
use std::collections::HashSet;

/// What goes before the metrics in every request.
#[derive(Clone, Debug, Default)]
pub(super) struct Resource {
    /// Keys and values, each key once.
    pub(super) attributes: Vec<(String, String)>,
}

/// One request, in protobuf.
pub(super) struct Request {
    pub(super) body: Vec<u8>,
    /// How many data points it has.
    pub(super) points: u64,
    /// What has been taken when it has been.
    pub(super) taken: Vec<(Key, Base)>,
}

/// What kind of OTLP metric the points of a list belong to: field number in `Metric`, and what stands beside the points.
#[derive(Clone, Copy, PartialEq)]
enum Data {
    Gauge,
    Sum { monotonic: bool },
    Histogram,
    Exponential,
    Summary,
}

/// `AGGREGATION_TEMPORALITY_DELTA` and `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// Collects metrics into requests of bounded size.
struct Batches<'a> {
    resource: &'a Resource,
    most: usize,
    /// What counts and sums are told as.
    temporality: u64,
    /// Encoded metrics of the request in the making, and their points.
    metrics: Vec<u8>,
    points_in: u64,
    taken: Vec<(Key, Base)>,
    /// Encoded points of the metric in the making.
    points: Vec<u8>,
    count: u64,
    done: Vec<Request>,
}

/// All series of a snapshot, in as many requests as keep each below `most` bytes, as far as a single point is not larger.
pub(super) fn requests(
    snapshot: &RuntimeSnapshot,
    selection: &Selection,
    resource: &Resource,
    most: usize,
    mut deltas: Option<&mut Taken>,
) -> (Vec<Request>, Written) {
    let mut written = Written::default();
    let mut batches = Batches {
        resource,
        most,
        temporality: if deltas.is_some() { DELTA } else { CUMULATIVE },
        metrics: Vec::new(),
        points_in: 0,
        taken: Vec::new(),
        points: Vec::new(),
        count: 0,
        done: Vec::new(),
    };
    let at = snapshot.taken_at();
    let mut all = None;
    for family in selection.families(snapshot, &mut written) {
        let descriptor = family.descriptor();
        written.series += family.len() as u64;
        match deltas.as_deref_mut() {
            Some(taken) if family.left_out() > 0 && Value::is_told_of(descriptor.kind()) => {
                let all = all.get_or_insert_with(|| selection.all_families(snapshot));
                let of_name = |whole: &&ExportedFamily<'_>| whole.descriptor().name() == descriptor.name();
                batches.left_out(taken, &family, all.iter().find(of_name).unwrap_or(&family), at);
            }
            mut taken => {
                for row in rows(&family) {
                    batches.row(taken.as_deref_mut(), descriptor.name().as_str(), row, at);
                }
            }
        }
        if let Some(data) = rows(&family).next().map(|row| data_of(row.series.value())) {
            batches.end_metric(descriptor, descriptor.name().as_str(), data);
        }
        fields(&mut batches, &family, at);
    }
    batches.end_request();
    (batches.done, written)
}

/// Each field of a custom metric is a gauge of its own.
fn fields(batches: &mut Batches<'_>, family: &ExportedFamily<'_>, at: Timestamp) {
    let descriptor = family.descriptor();
    let mut names: Vec<_> = rows(family)
        .filter_map(|row| if let ValueRef::Fields(fields) = row.series.value() { Some(fields) } else { None })
        .flat_map(|fields| fields.iter().map(|(name, _)| name.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    for field in names {
        let name = format!("{}.{field}", descriptor.name());
        for row in rows(family) {
            if let Some(number) = row.series.value().field(field) {
                batches.point(descriptor, &name, Data::Gauge, Vec::new(), |point| {
                    times(point, since(row, at), 2);
                    write_number(point, 4, number);
                    attributes(point, 7, row);
                });
            }
        }
        batches.end_metric(descriptor, &name, Data::Gauge);
    }
}

fn data_of(value: ValueRef<'_>) -> Data {
    match value {
        ValueRef::Counter(_) | ValueRef::FloatCounter(_) => Data::Sum { monotonic: true },
        ValueRef::UpDown(_) => Data::Sum { monotonic: false },
        ValueRef::Gauge(_) | ValueRef::Fields(_) => Data::Gauge,
        ValueRef::Histogram(_) => Data::Histogram,
        ValueRef::Exponential(_) => Data::Exponential,
        ValueRef::Average { .. } | ValueRef::Summary(_) => Data::Summary,
        // Numbers by now.
        ValueRef::Timed(_) | ValueRef::Info | ValueRef::StateSet(_) => Data::Gauge,
    }
}

impl Batches<'_> {
    /// Appends the point of a series, or what of it is new.
    fn row(&mut self, taken: Option<&mut Taken>, name: &str, row: Row<'_>, at: Timestamp) {
        let value = row.series.value();
        if let ValueRef::Fields(_) = value {
            return;
        }
        let data = data_of(value);
        let change = taken.and_then(|taken| taken.change(key_of(name, row), value, row.series.started(), at));
        match change {
            None => self.point(row.descriptor, name, data, Vec::new(), |point| write_point(point, row, at)),
            Some((Change::Whole, key, base)) => {
                let taken = vec![(key, base)];
                self.point(row.descriptor, name, data, taken, |point| write_point(point, row, at));
            }
            Some((Change::Since(start, value), key, base)) => {
                let times = (start, at);
                let write = |point: &mut Wire<'_>| write_difference(point, row, times, &value);
                self.point(row.descriptor, name, data, vec![(key, base)], write);
            }
            Some((Change::Nothing, ..)) => {}
        }
    }

    /// The same for a metric of which not every series is shown by itself. What is new is told of each, wherever it stood before; an overflow series tells the
    /// sum of what is new in those that it is of.
    fn left_out(
        &mut self,
        taken: &mut Taken,
        shown: &ExportedFamily<'_>,
        all: &ExportedFamily<'_>,
        at: Timestamp,
    ) {
        let descriptor = shown.descriptor();
        let name = descriptor.name().as_str();
        let by_itself = |row: &Row<'_>| !row.series.is_overflow();
        let own: HashSet<Key> = rows(shown).filter(by_itself).map(|row| key_of(name, row)).collect();
        let mut rests: Vec<Rest<'_>> =
            rows(shown).filter(|row| row.series.is_overflow()).map(|row| Rest::new(name, row)).collect();
        follow(taken, name, all);
        for row in rows(all) {
            let key = key_of(name, row);
            if own.contains(&key) {
                self.row(Some(&mut *taken), name, row, at);
                continue;
            }
            let Some(rest) = Rest::of(&mut rests, &key, row) else { continue };
            if let Some(change) = taken.change(key, row.series.value(), row.series.started(), at) {
                rest.add(change);
            }
        }
        for Rest { key, row, taken: mut entries, new } in rests {
            let (until, entry) = taken.rest(&key, at);
            let Some((first, value)) = new else { continue };
            entries.push(entry);
            let times = (until.unwrap_or(first), at);
            let write = |point: &mut Wire<'_>| write_difference(point, row, times, &value);
            self.point(descriptor, name, data_of(row.series.value()), entries, write);
        }
    }

    /// Appends a point to the metric in the making; if that would be too much for the request, a new one begins before it.
    fn point(
        &mut self,
        descriptor: &Descriptor,
        name: &str,
        data: Data,
        taken: Vec<(Key, Base)>,
        write: impl FnOnce(&mut Wire<'_>),
    ) {
        let start = self.points.len();
        Wire::new(&mut self.points).nested(1, write);
        self.count += 1;
        if self.metrics.len() + self.points.len() + HEADROOM <= self.most || self.points_in + self.count == 1
        {
            self.taken.extend(taken);
            return;
        }
        let last = self.points.split_off(start);
        self.count -= 1;
        self.end_metric(descriptor, name, data);
        self.end_request();
        self.points = last;
        self.count = 1;
        self.taken.extend(taken);
    }

    /// Closes the metric in the making.
    fn end_metric(&mut self, descriptor: &Descriptor, name: &str, data: Data) {
        if self.count == 0 {
            return;
        }
        Wire::new(&mut self.metrics).nested(2, |metric| {
            metric.string(1, name);
            if !descriptor.help().is_empty() {
                metric.string(2, descriptor.help());
            }
            let unit = descriptor.unit().ucum();
            if !unit.is_empty() {
                metric.string(3, unit);
            }
            let (field, temporal) = match data {
                Data::Gauge => (5, false),
                Data::Sum { .. } => (7, true),
                Data::Histogram => (9, true),
                Data::Exponential => (10, true),
                Data::Summary => (11, false),
            };
            // A level is no difference in either.
            let level = matches!(data, Data::Sum { monotonic: false });
            let temporality = if level { CUMULATIVE } else { self.temporality };
            let points = &self.points;
            metric.nested(field, |list| {
                list.raw(points);
                if temporal {
                    list.uint64(2, temporality);
                }
                if let Data::Sum { monotonic } = data {
                    list.bool(3, monotonic);
                }
            });
        });
        self.points_in += std::mem::take(&mut self.count);
        self.points.clear();
    }

    /// Closes the request in the making.
    fn end_request(&mut self) {
        if self.points_in == 0 {
            return;
        }
        let mut body = Vec::with_capacity(self.metrics.len() + HEADROOM);
        let Self { resource, metrics, .. } = self;
        Wire::new(&mut body).nested(1, |of_resource| {
            of_resource.nested(1, |message| {
                for (key, value) in &resource.attributes {
                    key_value(message, 1, key, value);
                }
            });
            of_resource.nested(2, |of_scope| {
                of_scope.nested(1, |scope| {
                    scope.string(1, env!("CARGO_PKG_NAME"));
                    scope.string(2, env!("CARGO_PKG_VERSION"));
                });
                of_scope.raw(metrics);
            });
        });
        let taken = std::mem::take(&mut self.taken);
        self.done.push(Request { body, points: std::mem::take(&mut self.points_in), taken });
        self.metrics.clear();
    }
}

/// Accounts for what has moved into the overflow series of a part.
fn follow(taken: &mut Taken, name: &str, all: &ExportedFamily<'_>) {
    if !rows(all).any(|row| row.series.is_overflow()) {
        return;
    }
    let values = rows(all).filter_map(|row| {
        let value = Value::of(row.series.value())?;
        Some((key_of(name, row), (row.series.started(), value)))
    });
    let now = values.collect();
    let parts = all.parts().iter().map(|part| {
        let mut begin = name.as_bytes().to_vec();
        for (key, value) in part.labels().filter(|(_, value)| !value.is_empty()) {
            key_value(&mut Wire::new(&mut begin), 7, key, value);
        }
        let overflow = part.family().series().find(SeriesRef::is_overflow);
        let overflow =
            overflow.map(|series| key_of(name, Row { descriptor: all.descriptor(), part, series }));
        (begin.into(), overflow)
    });
    taken.follow(name, &now, &parts.collect::<Vec<_>>());
}

/// An overflow series, and what is new in those that it is of.
struct Rest<'a> {
    key: Key,
    row: Row<'a>,
    /// What is taken with it.
    taken: Vec<(Key, Base)>,
    /// Since when, and how much.
    new: Option<(Timestamp, Value)>,
}

impl<'a> Rest<'a> {
    fn new(name: &str, row: Row<'a>) -> Self {
        Self { key: key_of(name, row), row, taken: Vec::new(), new: None }
    }

    /// The one that a series is in: itself, or its part's, or that of all.
    fn of<'r>(rests: &'r mut [Self], key: &Key, row: Row<'_>) -> Option<&'r mut Self> {
        let itself = rests.iter().position(|rest| rest.key == *key);
        let beside = || rests.iter().position(|rest| rest.row.part.labels().eq(row.part.labels()));
        // A group without a name has the overflow of all in its own.
        let is_of_all = |scope: &Scope<'_>| matches!(scope, Scope::Runtime | Scope::Group { name: None });
        let of_all = || rests.iter().position(|rest| is_of_all(rest.row.part.scope()));
        let found = itself.or_else(beside).or_else(of_all)?;
        rests.get_mut(found)
    }

    fn add(&mut self, (change, key, base): (Change, Key, Base)) {
        let (since, value) = match change {
            Change::Nothing => return,
            Change::Whole => base.whole(),
            Change::Since(since, value) => (since, value),
        };
        self.taken.push((key, base));
        match &mut self.new {
            Some((first, sum)) => {
                *first = since.min(*first);
                sum.add(&value);
            }
            None => self.new = Some((since, value)),
        }
    }
}

/// Bytes for what stands around the metrics: resource, scope, the metric's own head.
const HEADROOM: usize = 4_096;

fn write_point(point: &mut Wire<'_>, row: Row<'_>, at: Timestamp) {
    match row.series.value() {
        ValueRef::Counter(count) => number_point(point, row, at, Number::U64(count)),
        ValueRef::FloatCounter(sum) => number_point(point, row, at, Number::F64(sum)),
        ValueRef::Gauge(value) => number_point(point, row, at, Number::F64(value)),
        ValueRef::UpDown(level) => number_point(point, row, at, Number::I64(level)),
        ValueRef::Histogram(histogram) => explicit(point, row, at, histogram),
        ValueRef::Exponential(histogram) => exponential(point, row, at, histogram),
        ValueRef::Average { sum, count, .. } => {
            times(point, since(row, at), 2);
            point.fixed64(4, count);
            point.double(5, sum);
            attributes(point, 7, row);
        }
        ValueRef::Summary(summary) => {
            times(point, since(row, at), 2);
            point.fixed64(4, summary.total_count());
            point.double(5, summary.total_sum());
            for (quantile, value) in summary.quantiles() {
                point.nested(6, |message| {
                    message.double(1, quantile);
                    message.double(2, value);
                });
            }
            attributes(point, 7, row);
        }
        // Written field by field; and the rest are numbers by now.
        ValueRef::Fields(_) | ValueRef::Timed(_) | ValueRef::Info | ValueRef::StateSet(_) => {}
    }
}

fn number_point(point: &mut Wire<'_>, row: Row<'_>, at: Timestamp, number: Number) {
    times(point, since(row, at), 2);
    write_number(point, 4, number);
    attributes(point, 7, row);
    exemplars(point, 5, row, None);
}

/// From when to when a total is.
fn since(row: Row<'_>, at: Timestamp) -> (Timestamp, Timestamp) {
    (row.series.started(), at)
}

/// `start_time_unix_nano` and `time_unix_nano`, which stand one after the other in every point.
fn times(point: &mut Wire<'_>, (start, at): (Timestamp, Timestamp), first: u32) {
    point.fixed64(first, start.unix_nanos());
    point.fixed64(first + 1, at.unix_nanos());
}

/// Integers as integers, as far as OTLP has them: beyond, the nearest fraction, in this field.
fn write_number(message: &mut Wire<'_>, fraction: u32, number: Number) {
    match number {
        Number::I64(value) => message.sfixed64(6, value),
        Number::U64(value) => match i64::try_from(value) {
            Ok(value) => message.sfixed64(6, value),
            Err(_) => message.double(fraction, value as f64),
        },
        Number::F64(value) => message.double(fraction, value),
    }
}

fn explicit(point: &mut Wire<'_>, row: Row<'_>, at: Timestamp, histogram: HistogramRef<'_>) {
    times(point, since(row, at), 2);
    point.fixed64(4, histogram.count());
    point.double(5, histogram.sum());
    point.packed_fixed64(6, histogram.buckets());
    point.packed_doubles(7, histogram.bounds().iter().copied());
    attributes(point, 9, row);
    extremes(point, (11, histogram.min()), (12, histogram.max()));
    exemplars(point, 8, row, None);
}

fn exponential(point: &mut Wire<'_>, row: Row<'_>, at: Timestamp, histogram: ExponentialRef<'_>) {
    attributes(point, 1, row);
    times(point, since(row, at), 2);
    point.fixed64(4, histogram.count());
    point.double(5, histogram.sum());
    point.sint32(6, histogram.scale());
    point.fixed64(7, histogram.zero_count());
    buckets(point, 8, histogram.positive());
    buckets(point, 9, histogram.negative());
    extremes(point, (12, histogram.min()), (13, histogram.max()));
    threshold(point, histogram);
    exemplars(point, 11, row, None);
}

/// The exemplars of a series, or those after a time. Ids that are a trace's and a span's go where OTLP has them, other labels beside them.
fn exemplars(point: &mut Wire<'_>, field: u32, row: Row<'_>, after: Option<Timestamp>) {
    let new = |exemplar: &&Exemplar| after.is_none_or(|after| exemplar.at() > after);
    for exemplar in row.series.exemplars().filter(new) {
        point.nested(field, |message| write_exemplar(message, exemplar));
    }
}

fn write_exemplar(message: &mut Wire<'_>, exemplar: &Exemplar) {
    message.fixed64(2, exemplar.at().unix_nanos());
    write_number(message, 3, exemplar.value());
    for (key, value) in exemplar.labels().iter() {
        match (key, id_of(value, TRACE_BYTES), id_of(value, SPAN_BYTES)) {
            (TRACE_ID, Some(id), _) => message.bytes(5, &id.to_be_bytes()),
            (SPAN_ID, _, Some(id)) => message.bytes(4, &(id as u64).to_be_bytes()),
            _ => key_value(message, 7, key, value),
        }
    }
}

/// The id that a text is: so many bytes by their digits alone, and not all of them 0.
fn id_of(text: &str, bytes: usize) -> Option<u128> {
    let is_one = text.len() == 2 * bytes && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|id| is_one && *id != 0)
}

/// The lengths of ids.
const TRACE_BYTES: usize = 16;
const SPAN_BYTES: usize = 8;

fn threshold(point: &mut Wire<'_>, histogram: ExponentialRef<'_>) {
    if histogram.zero_threshold() > 0.0 {
        point.double(14, histogram.zero_threshold());
    }
}

/// What came between two times. The smallest and the largest of that are not known, and left out.
fn write_difference(point: &mut Wire<'_>, row: Row<'_>, between: (Timestamp, Timestamp), value: &Value) {
    match value {
        Value::Count(count) => {
            times(point, between, 2);
            write_number(point, 4, Number::U64(*count));
            attributes(point, 7, row);
            exemplars(point, 5, row, Some(between.0));
        }
        Value::Sum(sum) => {
            times(point, between, 2);
            write_number(point, 4, Number::F64(*sum));
            attributes(point, 7, row);
            exemplars(point, 5, row, Some(between.0));
        }
        Value::Histogram { sum, buckets } => {
            times(point, between, 2);
            point.fixed64(4, buckets.iter().copied().fold(0, u64::saturating_add));
            point.double(5, *sum);
            point.packed_fixed64(6, buckets.iter().copied());
            if let ValueRef::Histogram(histogram) = row.series.value() {
                point.packed_doubles(7, histogram.bounds().iter().copied());
            }
            attributes(point, 9, row);
            exemplars(point, 8, row, Some(between.0));
        }
        Value::Exponential { sum, scale, zeros, positive, negative } => {
            attributes(point, 1, row);
            times(point, between, 2);
            let counts = positive.iter().chain(negative).map(|(_, count)| *count);
            point.fixed64(4, counts.fold(*zeros, u64::saturating_add));
            point.double(5, *sum);
            point.sint32(6, *scale);
            point.fixed64(7, *zeros);
            run(point, 8, positive);
            run(point, 9, negative);
            if let ValueRef::Exponential(histogram) = row.series.value() {
                threshold(point, histogram);
            }
            exemplars(point, 11, row, Some(between.0));
        }
    }
}

/// Buckets from the first that holds something to the last.
fn run(point: &mut Wire<'_>, field: u32, run: &Run) {
    let Some((first, _)) = run.first() else { return };
    point.nested(field, |message| {
        message.sint32(1, *first);
        let mut next = *first;
        let counts = run.iter().flat_map(|(index, count)| {
            let empty = (*index - next) as usize;
            next = *index + 1;
            std::iter::repeat_n(0, empty).chain([*count])
        });
        message.packed_uint64(2, counts);
    });
}

/// What a series is known by: its name and its attributes.
fn key_of(name: &str, row: Row<'_>) -> Key {
    let mut key = name.as_bytes().to_vec();
    attributes(&mut Wire::new(&mut key), 7, row);
    key.into()
}

fn buckets(point: &mut Wire<'_>, field: u32, buckets: ExponentialBuckets<'_>) {
    if !buckets.is_empty() {
        point.nested(field, |message| {
            message.sint32(1, buckets.offset());
            message.packed_uint64(2, buckets.counts());
        });
    }
}

fn extremes(point: &mut Wire<'_>, (low, min): (u32, Option<f64>), (high, max): (u32, Option<f64>)) {
    if let Some(min) = min {
        point.double(low, min);
    }
    if let Some(max) = max {
        point.double(high, max);
    }
}

fn attributes(point: &mut Wire<'_>, field: u32, row: Row<'_>) {
    for (key, value) in row.labels() {
        key_value(point, field, key, value);
    }
}

fn key_value(message: &mut Wire<'_>, field: u32, key: &str, value: &str) {
    message.nested(field, |pair| {
        pair.string(1, key);
        pair.nested(2, |any| any.string(1, value));
    });
}

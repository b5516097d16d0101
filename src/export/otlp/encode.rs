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
use crate::model::snapshot::ExponentialBuckets;
use crate::model::snapshot::ExponentialRef;
use crate::model::snapshot::HistogramRef;
use crate::model::snapshot::Number;
use crate::model::snapshot::ValueRef;
use crate::runtime::collection::RuntimeSnapshot;

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
    for family in selection.families(snapshot, &mut written) {
        let descriptor = family.descriptor();
        for row in rows(&family) {
            written.series += 1;
            if let ValueRef::Fields(_) = row.series.value() {
                continue;
            }
            let (name, data) = (descriptor.name().as_str(), data_of(row.series.value()));
            let change = deltas.as_mut().and_then(|taken| {
                taken.change(key_of(name, row), row.series.value(), row.series.started(), at)
            });
            match change {
                None => batches.point(row.descriptor, name, data, None, |point| write_point(point, row, at)),
                Some((Change::Whole, key, base)) => {
                    let taken = Some((key, base));
                    batches.point(row.descriptor, name, data, taken, |point| write_point(point, row, at));
                }
                Some((Change::Since(start, value), key, base)) => {
                    let times = (start, at);
                    let write = |point: &mut Wire<'_>| write_difference(point, row, times, &value);
                    batches.point(row.descriptor, name, data, Some((key, base)), write);
                }
                Some((Change::Nothing, ..)) => {}
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
fn fields(
    batches: &mut Batches<'_>,
    family: &crate::runtime::collection::exported::ExportedFamily<'_>,
    at: Timestamp,
) {
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
                batches.point(descriptor, &name, Data::Gauge, None, |point| {
                    times(point, since(row, at), 2);
                    write_number(point, number);
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
    /// Appends a point to the metric in the making; if that would be too much for the request, a new one begins before it.
    fn point(
        &mut self,
        descriptor: &Descriptor,
        name: &str,
        data: Data,
        taken: Option<(Key, Base)>,
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
    write_number(point, number);
    attributes(point, 7, row);
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

/// Integers as integers, as far as OTLP has them: beyond, the nearest fraction.
fn write_number(point: &mut Wire<'_>, number: Number) {
    match number {
        Number::I64(value) => point.sfixed64(6, value),
        Number::U64(value) => match i64::try_from(value) {
            Ok(value) => point.sfixed64(6, value),
            Err(_) => point.double(4, value as f64),
        },
        Number::F64(value) => point.double(4, value),
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
}

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
            write_number(point, Number::U64(*count));
            attributes(point, 7, row);
        }
        Value::Sum(sum) => {
            times(point, between, 2);
            write_number(point, Number::F64(*sum));
            attributes(point, 7, row);
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

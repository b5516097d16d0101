//! The protobuf format that Prometheus scrapes: `io.prometheus.client.MetricFamily`, each behind its length
//! (<https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>).

use crate::export::prometheus::Escaping;
use crate::export::prometheus::exemplars::by_bound;
use crate::export::prometheus::explicit;
use crate::export::prometheus::names::Names;
use crate::export::rows::Row;
use crate::export::rows::Selection;
use crate::export::rows::Written;
use crate::export::rows::rows;
use crate::export::wire::Wire;
use crate::model::clock::Timestamp;
use crate::model::prometheus;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Exemplar;
use crate::model::snapshot::ExponentialBuckets;
use crate::model::snapshot::ExponentialRef;
use crate::model::snapshot::HistogramRef;
use crate::model::snapshot::Kind;
use crate::model::snapshot::ValueRef;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use std::borrow::Cow;

/// Writes snapshots in Prometheus's protobuf format, which alone has native histograms.
///
/// Names are those of the text format 0.0.4, or as a reader asks for them by [`escaping`](Self::escaping). Every number is a double there: integers beyond 2^53 are rounded. An exponential histogram is a
/// native one, exactly, down to the coarsest scale that Prometheus has (-4); a family with a coarser one has explicit buckets. One finer than Prometheus's finest
/// (8) is merged to that, exactly.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::prometheus::ProtobufEncoder;
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let storage = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// storage.register_event(Saved);
/// storage.flush_blocking(Duration::from_secs(5))?;
/// let mut body = Vec::new(); // to be kept, cleared and used again: then nothing is allocated for it
/// let written = ProtobufEncoder::new().vitals(false).encode(&runtime.collect(), &mut body);
/// assert_eq!((written.series(), usize::from(body[0])), (1, body.len() - 1)); // one family, behind its length
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProtobufEncoder {
    selection: Selection,
    escaping: Escaping,
}

/// `MetricType` of the format.
#[derive(Clone, Copy, PartialEq)]
enum Type {
    Counter = 0,
    Gauge = 1,
    Summary = 2,
    Histogram = 4,
}

const TAKEN: &str = "another metric has one of its names already; rename one of them";

impl ProtobufEncoder {
    /// An encoder that shows each recorder by itself, and what the runtime says of itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of the header `Content-Type`.
    pub const fn content_type() -> &'static str {
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    }

    /// Writes names as this says, by [`Escaping::AllowUtf8`] with their dots; with `_` for dots unless it is called. An info is `.info` then, and the label of a state set
    /// has no dots: both are counted here.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::prometheus::{Escaping, ProtobufEncoder};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let mut body = Vec::new();
    /// let _ = ProtobufEncoder::new().escaping(Escaping::AllowUtf8).encode(&runtime.collect(), &mut body);
    /// assert!(String::from_utf8_lossy(&body).contains("mvx.publication.interval_seconds"));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    #[must_use]
    pub fn escaping(mut self, escaping: Escaping) -> Self {
        self.escaping = escaping;
        self
    }

    /// Shows recorders one by one or folded.
    #[must_use]
    pub fn fold(mut self, fold: Fold) -> Self {
        self.selection.fold = fold;
        self
    }

    /// Shows what the runtime says of itself, as `mvx_*`, or leaves it out. It is shown unless said otherwise.
    #[must_use]
    pub fn vitals(mut self, shown: bool) -> Self {
        self.selection.vitals = shown;
        self
    }

    /// Appends a snapshot to `out`, and says how much it is and what was left out.
    ///
    /// Costs time in proportion to the bytes; it never touches a recorder.
    pub fn encode(&self, snapshot: &RuntimeSnapshot, out: &mut Vec<u8>) -> Written {
        let (mut written, mut names) = (Written::default(), Names::default());
        let numbers = Selection { counted: true, ..self.selection };
        for family in numbers.families(snapshot, &mut written) {
            let name = self.escaping.family(family.descriptor());
            if family.descriptor().kind() == Kind::Fields {
                fields(out, &family, self.escaping, &mut names, &mut written);
            } else if names.take(&name, family.descriptor().kind()) {
                written.series += family.len() as u64;
                whole(out, &family, &name, self.escaping);
            } else {
                written.omit(family.descriptor(), TAKEN, family.len() as u64);
            }
        }
        written
    }
}

/// A family of which every series is a metric.
fn whole(out: &mut Vec<u8>, family: &ExportedFamily<'_>, name: &str, escaping: Escaping) {
    let kind = match family.descriptor().kind() {
        Kind::Counter | Kind::FloatCounter => Type::Counter,
        Kind::Average | Kind::Summary => Type::Summary,
        Kind::Histogram | Kind::Exponential => Type::Histogram,
        // Everything else is a number by now.
        _ => Type::Gauge,
    };
    // A counter's family has the name of its samples.
    let name = if kind == Type::Counter { Cow::Owned(format!("{name}_total")) } else { Cow::Borrowed(name) };
    let native = can_be_native(family);
    delimited(out, |message| {
        head(message, family.descriptor(), &name, kind);
        for row in rows(family) {
            message.nested(4, |metric| {
                labels(metric, row, escaping);
                value(metric, row, native);
            });
        }
    });
}

/// Whether every series of a family has a scale that Prometheus has: a reader takes all for what the first one is.
pub(in crate::export) fn can_be_native(family: &ExportedFamily<'_>) -> bool {
    rows(family).all(|row| row.series.value().exponential().is_none_or(|one| one.scale() >= COARSEST))
}

/// Each field of a custom metric is a family of gauges.
fn fields(
    out: &mut Vec<u8>,
    family: &ExportedFamily<'_>,
    escaping: Escaping,
    names: &mut Names,
    written: &mut Written,
) {
    let mut all: Vec<_> = rows(family)
        .filter_map(|row| if let ValueRef::Fields(fields) = row.series.value() { Some(fields) } else { None })
        .flat_map(|fields| fields.iter().map(|(field, _)| field.as_str()))
        .collect();
    all.sort_unstable();
    all.dedup();
    for field in all {
        let name = escaping.field(family.descriptor(), field);
        let present = || rows(family).filter_map(|row| Some((row, row.series.value().field(field)?)));
        if !names.take(&name, Kind::Gauge) {
            written.omit(family.descriptor(), TAKEN, present().count() as u64);
            continue;
        }
        delimited(out, |message| {
            head(message, family.descriptor(), &name, Type::Gauge);
            for (row, number) in present() {
                written.series += 1;
                message.nested(4, |metric| {
                    labels(metric, row, escaping);
                    metric.nested(2, |gauge| gauge.double(1, number.as_f64()));
                });
            }
        });
    }
}

/// A message behind its length.
fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Wire<'_>)) {
    Wire::new(out).delimited(write);
}

fn head(message: &mut Wire<'_>, descriptor: &Descriptor, name: &str, kind: Type) {
    message.string(1, name);
    if !descriptor.help().is_empty() {
        message.string(2, descriptor.help());
    }
    message.uint64(3, kind as u64);
    let family = name.strip_suffix("_total").filter(|_| kind == Type::Counter).unwrap_or(name);
    if let Some(unit) = prometheus::told_unit(family, descriptor) {
        message.string(5, &unit);
    }
}

fn labels(metric: &mut Wire<'_>, row: Row<'_>, escaping: Escaping) {
    let mut written = String::new();
    for (key, value) in row.labels() {
        written.clear();
        escaping.write(&mut written, key);
        metric.nested(1, |pair| {
            pair.string(1, &written);
            pair.string(2, value);
        });
    }
}

fn value(metric: &mut Wire<'_>, row: Row<'_>, native: bool) {
    let started = row.series.started();
    let mut counter = |value: f64| {
        metric.nested(3, |counter| {
            counter.double(1, value);
            if let Some(one) = row.series.exemplars().next() {
                counter.nested(2, |message| exemplar(message, one));
            }
            time(counter, 3, started);
        });
    };
    match row.series.value() {
        ValueRef::Counter(count) => counter(count as f64),
        ValueRef::FloatCounter(sum) => counter(sum),
        ValueRef::Gauge(value) => metric.nested(2, |gauge| gauge.double(1, value)),
        ValueRef::UpDown(level) => metric.nested(2, |gauge| gauge.double(1, level as f64)),
        ValueRef::Average { sum, count, .. } => metric.nested(4, |summary| {
            summary.uint64(1, count);
            summary.double(2, sum);
            time(summary, 4, started);
        }),
        ValueRef::Summary(observed) => metric.nested(4, |summary| {
            summary.uint64(1, observed.total_count());
            summary.double(2, observed.total_sum());
            for (quantile, value) in observed.quantiles() {
                summary.nested(3, |message| {
                    message.double(1, quantile);
                    message.double(2, value);
                });
            }
            time(summary, 4, started);
        }),
        ValueRef::Histogram(histogram) => metric.nested(7, |message| classic(message, row, histogram)),
        ValueRef::Exponential(histogram) => {
            metric.nested(7, |message| exponential(message, row, histogram, native));
        }
        // A family for each field; and the rest are numbers by now.
        ValueRef::Fields(_) | ValueRef::Timed(_) | ValueRef::Info | ValueRef::StateSet(_) => {}
    }
}

/// `google.protobuf.Timestamp`.
fn time(message: &mut Wire<'_>, field: u32, at: Timestamp) {
    message.nested(field, |time| {
        time.uint64(1, at.unix_nanos() / 1_000_000_000);
        time.uint64(2, at.unix_nanos() % 1_000_000_000);
    });
}

fn classic(message: &mut Wire<'_>, row: Row<'_>, histogram: HistogramRef<'_>) {
    message.uint64(1, histogram.count());
    message.double(2, histogram.sum());
    let mut exemplars = by_bound(row.series);
    let bounds = histogram.bounds().iter().copied().chain([f64::INFINITY]);
    for (bound, below) in bounds.zip(histogram.cumulative()) {
        bucket(message, bound, below, exemplars.up_to(bound));
    }
    time(message, 15, row.series.started());
}

fn bucket(message: &mut Wire<'_>, bound: f64, below: u64, one: Option<&Exemplar>) {
    message.nested(3, |bucket| {
        bucket.uint64(1, below);
        bucket.double(2, bound);
        if let Some(one) = one {
            bucket.nested(3, |message| exemplar(message, one));
        }
    });
}

/// An observation that leads to where it came from.
fn exemplar(message: &mut Wire<'_>, exemplar: &Exemplar) {
    for (key, value) in exemplar.labels().iter() {
        message.nested(1, |pair| {
            pair.string(1, key);
            pair.string(2, value);
        });
    }
    message.double(2, exemplar.value().as_f64());
    time(message, 3, exemplar.at());
}

/// The scales that Prometheus calls schemas.
const COARSEST: i32 = -4;
pub(in crate::export) const FINEST: i32 = 8;

/// As a native histogram, or with explicit buckets.
fn exponential(message: &mut Wire<'_>, row: Row<'_>, histogram: ExponentialRef<'_>, native: bool) {
    let started = row.series.started();
    message.uint64(1, histogram.count());
    message.double(2, histogram.sum());
    if !native {
        let mut exemplars = by_bound(row.series);
        explicit::each_bound(histogram, |bound, below| {
            bucket(message, bound, below, exemplars.up_to(bound));
        });
        return time(message, 15, started);
    }
    let histogram = histogram.at_scale(histogram.scale().min(FINEST));
    message.sint32(5, histogram.scale());
    message.double(6, histogram.zero_threshold());
    message.uint64(7, histogram.zero_count());
    buckets(message, (9, 10), histogram.negative());
    buckets(message, (12, 13), histogram.positive());
    if histogram.negative().is_empty() && histogram.positive().is_empty() {
        // A span of nothing: by it alone a native histogram without observations is known to be one.
        span(message, 12, 0, 0);
    }
    time(message, 15, started);
    for one in row.series.exemplars() {
        message.nested(16, |message| exemplar(message, one));
    }
}

/// So many empty buckets in a row are written as such; more begin another span.
const BRIDGED: i64 = 2;

/// Buckets as spans of neighbours, and each count as the difference to the one before.
pub(in crate::export) fn buckets(
    message: &mut Wire<'_>,
    (spans, deltas): (u32, u32),
    buckets: ExponentialBuckets<'_>,
) {
    let mut differences: Vec<i64> = Vec::new();
    let (mut before, mut next) = (0_i64, 0_i64);
    // The span under way: how far from the end of the last one, and how long.
    let mut open: Option<(i64, u32)> = None;
    for (index, count) in buckets.iter().filter(|(_, count)| *count > 0) {
        // Our bucket begins above base^index, Prometheus's of that number ends there.
        let index = i64::from(index) + 1;
        let gap = index - next;
        match &mut open {
            Some((_, length)) if gap <= BRIDGED => {
                for _ in 0..gap {
                    differences.push(-before);
                    before = 0;
                }
                *length += gap as u32 + 1;
            }
            _ => {
                if let Some((offset, length)) = open.take() {
                    span(message, spans, offset, length);
                }
                open = Some((gap, 1));
            }
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        differences.push(count.saturating_sub(before));
        (before, next) = (count, index + 1);
    }
    if let Some((offset, length)) = open {
        span(message, spans, offset, length);
        message.packed_sint64(deltas, differences);
    }
}

fn span(message: &mut Wire<'_>, field: u32, offset: i64, length: u32) {
    message.nested(field, |span| {
        // Indices are of 32 bits, and so is the way between two of them where buckets are held to a number.
        span.sint32(1, i32::try_from(offset).unwrap_or(i32::MAX));
        span.uint64(2, u64::from(length));
    });
}

//! Snapshots as series with one sample each, and series as requests (`prometheus/prompb`, remote write 1.0).

use crate::export::prometheus::FINEST;
use crate::export::prometheus::Names;
use crate::export::prometheus::buckets;
use crate::export::prometheus::by_bound;
use crate::export::prometheus::can_be_native;
use crate::export::prometheus::each_bound;
use crate::export::prometheus::float;
use crate::export::rows::Row;
use crate::export::rows::Selection;
use crate::export::rows::Written;
use crate::export::rows::rows;
use crate::export::wire::Wire;
use crate::model::clock::Timestamp;
use crate::model::prometheus;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Exemplar;
use crate::model::snapshot::ExponentialRef;
use crate::model::snapshot::Kind;
use crate::model::snapshot::ValueRef;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use std::borrow::Cow;

/// A series by its labels, which are encoded as they are sent, and its value now.
pub(super) struct Point {
    pub(super) labels: Box<[u8]>,
    pub(super) value: Value,
    pub(super) started: Timestamp,
    /// Encoded, with their times in milliseconds, in the order of these.
    pub(super) exemplars: Vec<(i64, Box<[u8]>)>,
}

/// What a series has at a time.
#[derive(Clone)]
pub(super) enum Value {
    Number(f64),
    /// A native histogram, encoded but for its time.
    Native(Box<[u8]>),
}

impl Value {
    pub(super) fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }

    /// The end of a series of numbers, or of native histograms: their sum says it.
    pub(super) fn end(native: bool) -> Self {
        if !native {
            return Self::Number(STALE);
        }
        let mut encoded = Vec::new();
        Wire::new(&mut encoded).double(3, STALE);
        Self::Native(encoded.into())
    }

    /// `prometheus.Histogram`, with counts that are integers.
    fn native(histogram: ExponentialRef<'_>) -> Self {
        let histogram = histogram.at_scale(histogram.scale().min(FINEST));
        let mut encoded = Vec::new();
        let mut message = Wire::new(&mut encoded);
        message.uint64(1, histogram.count());
        message.double(3, histogram.sum());
        message.sint32(4, histogram.scale());
        message.double(5, histogram.zero_threshold());
        message.uint64(6, histogram.zero_count());
        buckets(&mut message, (8, 9), histogram.negative());
        buckets(&mut message, (11, 12), histogram.positive());
        Self::Native(encoded.into())
    }
}

/// What a metric is, for a receiver that wants to know.
pub(super) struct Metadata {
    kind: u64,
    name: String,
    help: String,
    unit: String,
}

/// Every series of a snapshot.
pub(super) struct Series<'a> {
    /// Labels of every series, whose own go before them; sorted by key.
    common: &'a [(String, String)],
    pub(super) points: Vec<Point>,
    pub(super) metadata: Vec<Metadata>,
    names: Names,
    /// Kept from series to series.
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    name: String,
    bound: String,
    encoded: Vec<u8>,
}

/// Series of metrics whose names are taken by others are left out.
const TAKEN: &str = "another metric has one of its names already; rename one of them";

impl<'a> Series<'a> {
    pub(super) fn of(
        snapshot: &RuntimeSnapshot,
        selection: &Selection,
        common: &'a [(String, String)],
        native: bool,
    ) -> (Self, Written) {
        let mut series = Self {
            common,
            points: Vec::new(),
            metadata: Vec::new(),
            names: Names::default(),
            scratch: Scratch::default(),
        };
        let mut written = Written::default();
        for family in selection.families(snapshot, &mut written) {
            series.family(&family, native, &mut written);
        }
        written.series = series.points.len() as u64;
        (series, written)
    }

    fn family(&mut self, family: &ExportedFamily<'_>, native: bool, written: &mut Written) {
        let Some(Row { descriptor, .. }) = rows(family).next() else { return };
        let name = prometheus::family_name(descriptor);
        if descriptor.kind() == Kind::Fields {
            return self.fields(family, &name, written);
        }
        if !self.names.take(&name, descriptor.kind()) {
            return written.omit(descriptor, TAKEN, family.len() as u64);
        }
        self.describe(descriptor, &name);
        let native = native && can_be_native(family);
        for row in rows(family) {
            match row.series.value() {
                ValueRef::Counter(count) => {
                    self.marked(&name, "_total", row, None, count as f64, row.series.exemplars().next());
                }
                ValueRef::FloatCounter(sum) => {
                    self.marked(&name, "_total", row, None, sum, row.series.exemplars().next());
                }
                ValueRef::Gauge(value) => self.point(&name, "", row, None, value),
                ValueRef::UpDown(level) => self.point(&name, "", row, None, level as f64),
                ValueRef::Histogram(histogram) => {
                    let mut exemplars = by_bound(row.series);
                    let bounds = histogram.bounds().iter().copied().chain([f64::INFINITY]);
                    for (bound, below) in bounds.zip(histogram.cumulative()) {
                        let le = Some(("le", bound));
                        self.marked(&name, "_bucket", row, le, below as f64, exemplars.up_to(bound));
                    }
                    self.totals(&name, row, histogram.sum(), histogram.count());
                }
                ValueRef::Exponential(histogram) if native => {
                    self.whole(&name, "", row, None, (Value::native(histogram), row.series.exemplars()));
                }
                ValueRef::Exponential(histogram) => {
                    let mut exemplars = by_bound(row.series);
                    each_bound(histogram, |bound, below| {
                        let le = Some(("le", bound));
                        self.marked(&name, "_bucket", row, le, below as f64, exemplars.up_to(bound));
                    });
                    self.totals(&name, row, histogram.sum(), histogram.count());
                }
                ValueRef::Average { sum, count, .. } => self.totals(&name, row, sum, count),
                ValueRef::Summary(summary) => {
                    for (quantile, value) in summary.quantiles() {
                        self.point(&name, "", row, Some(("quantile", quantile)), value);
                    }
                    self.totals(&name, row, summary.total_sum(), summary.total_count());
                }
                // Written field by field; and the rest are numbers by now.
                ValueRef::Fields(_) | ValueRef::Timed(_) | ValueRef::Info | ValueRef::StateSet(_) => {}
            }
        }
    }

    fn totals(&mut self, name: &str, row: Row<'_>, sum: f64, count: u64) {
        self.point(name, "_sum", row, None, sum);
        self.point(name, "_count", row, None, count as f64);
    }

    /// Each field of a custom metric is a gauge of its own.
    fn fields(&mut self, family: &ExportedFamily<'_>, name: &str, written: &mut Written) {
        let descriptor = family.descriptor();
        let mut fields: Vec<_> = rows(family)
            .filter_map(
                |row| if let ValueRef::Fields(fields) = row.series.value() { Some(fields) } else { None },
            )
            .flat_map(|fields| fields.iter().map(|(field, _)| field.as_str()))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        for field in fields {
            let name = format!("{name}_{field}");
            let present = || rows(family).filter_map(|row| Some((row, row.series.value().field(field)?)));
            if !self.names.take(&name, Kind::Gauge) {
                written.omit(descriptor, TAKEN, present().count() as u64);
                continue;
            }
            self.describe(descriptor, &name);
            present().for_each(|(row, number)| self.point(&name, "", row, None, number.as_f64()));
        }
    }

    fn describe(&mut self, descriptor: &Descriptor, name: &str) {
        let kind = match descriptor.kind() {
            Kind::Counter | Kind::FloatCounter => 1,
            Kind::Histogram | Kind::Exponential => 3,
            Kind::Average | Kind::Summary => 5,
            // Everything else is a number by now.
            _ => 2,
        };
        // Prometheus knows a counter's family by the name of its samples.
        let suffix = if kind == 1 { "_total" } else { "" };
        self.metadata.push(Metadata {
            kind,
            name: format!("{name}{suffix}"),
            help: descriptor.help().to_owned(),
            unit: prometheus::told_unit(name, descriptor).unwrap_or_default(),
        });
    }

    fn point(
        &mut self,
        name: &str,
        suffix: &str,
        row: Row<'_>,
        bound: Option<(&'static str, f64)>,
        value: f64,
    ) {
        self.marked(name, suffix, row, bound, value, None);
    }

    fn marked(
        &mut self,
        name: &str,
        suffix: &str,
        row: Row<'_>,
        bound: Option<(&'static str, f64)>,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) {
        self.whole(name, suffix, row, bound, (Value::Number(value), exemplar.into_iter()));
    }

    fn whole<'e>(
        &mut self,
        name: &str,
        suffix: &str,
        row: Row<'_>,
        bound: Option<(&'static str, f64)>,
        (value, exemplars): (Value, impl Iterator<Item = &'e Exemplar>),
    ) {
        let Scratch { name: whole, bound: le, encoded } = &mut self.scratch;
        whole.clear();
        whole.push_str(name);
        whole.push_str(suffix);
        le.clear();
        let mut labels: Vec<(Cow<'_, str>, &str)> = vec![("__name__".into(), whole)];
        if let Some((key, bound)) = bound {
            float(le, bound);
            labels.push((key.into(), le));
        }
        labels.extend(row.labels().map(|(key, value)| (plain(key), value)));
        let own = labels.len();
        for (key, value) in self.common {
            if !labels[..own].iter().any(|(taken, _)| taken == key) {
                labels.push((key.as_str().into(), value));
            }
        }
        // As the protocol asks for.
        labels.sort_unstable();
        encoded.clear();
        let mut wire = Wire::new(encoded);
        for (key, value) in labels {
            wire.nested(1, |pair| {
                pair.string(1, &key);
                pair.string(2, value);
            });
        }
        let labels = encoded.as_slice().into();
        let mut exemplars: Vec<_> = exemplars.map(exemplar).collect();
        exemplars.sort_by_key(|(at, _)| *at);
        self.points.push(Point { labels, value, started: row.series.started(), exemplars });
    }
}

/// `prometheus.Exemplar`, and its time.
fn exemplar(exemplar: &Exemplar) -> (i64, Box<[u8]>) {
    let at = i64::try_from(exemplar.at().unix_nanos() / 1_000_000).unwrap_or(i64::MAX);
    let mut encoded = Vec::new();
    let mut message = Wire::new(&mut encoded);
    for (key, value) in exemplar.labels().iter() {
        message.nested(1, |pair| {
            pair.string(1, key);
            pair.string(2, value);
        });
    }
    message.double(2, exemplar.value().as_f64());
    message.uint64(3, at as u64);
    (at, encoded.into())
}

/// A label key as Prometheus has it: our own key of the overflow series has dots, and no other has.
fn plain(key: &str) -> Cow<'_, str> {
    if key.contains('.') { key.replace('.', "_").into() } else { key.into() }
}

/// Prometheus's stale marker: this very NaN.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// One series of a request.
pub(super) struct Sent {
    pub(super) labels: Box<[u8]>,
    /// Values with their times in milliseconds, in order.
    pub(super) samples: Vec<(Value, i64)>,
    /// Since when it counts; none for one that ends here.
    pub(super) started: Option<Timestamp>,
    /// Exemplars that the receiver has not seen.
    pub(super) exemplars: Vec<(i64, Box<[u8]>)>,
}

/// A request of these series, not yet compressed.
pub(super) fn request(series: &[Sent], metadata: &[Metadata]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut wire = Wire::new(&mut body);
    for Sent { labels, samples, exemplars, .. } in series {
        wire.nested(1, |message| {
            message.raw(labels);
            for (value, at) in samples {
                match value {
                    Value::Number(value) => message.nested(2, |sample| {
                        sample.double(1, *value);
                        sample.uint64(2, *at as u64);
                    }),
                    Value::Native(encoded) => message.nested(4, |histogram| {
                        histogram.raw(encoded);
                        histogram.uint64(15, *at as u64);
                    }),
                }
            }
            for (_, encoded) in exemplars {
                message.nested(3, |exemplar| exemplar.raw(encoded));
            }
        });
    }
    for Metadata { kind, name, help, unit } in metadata {
        wire.nested(3, |message| {
            message.uint64(1, *kind);
            message.string(2, name);
            message.string(4, help);
            message.string(5, unit);
        });
    }
    body
}

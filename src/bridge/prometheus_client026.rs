//! A runtime among the metrics of a `prometheus-client` 0.26 registry, and the metrics of such a registry among a runtime's.

mod reading;
mod registry;
mod shown;

pub use registry::RegistryCounts;
pub use registry::RegistryReport;
pub use registry::RegistrySource;
pub use registry::SharedRegistry;

use crate::export::prometheus::Names;
use crate::export::prometheus::each_bound;
use crate::export::prometheus::escaped;
use crate::model::prometheus;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Kind;
use crate::model::snapshot::SeriesRef;
use crate::model::snapshot::ValueRef;
use crate::runtime::collection::Fold;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::exported::Part;
use crate::runtime::reader::RuntimeReader;
use crate::sync::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::fmt;

/// Shows a runtime in a registry of prometheus-client, whose owner serves it.
///
/// Each scrape of the registry reads the newest snapshot and nothing else: no source is asked, and no recorder is waited for. Counters, gauges,
/// up-down counters, rates, heartbeats, histograms of both kinds (as explicit buckets) and infos are shown under the names that
/// [`Encoder`](crate::export::prometheus::Encoder) gives them. That crate has no type for averages, summaries, state sets and free fields, and cannot take
/// exemplars and creation times from elsewhere: the former are left out and [counted](Self::left_out), the latter are not shown. A runtime that is gone
/// shows nothing.
///
/// The registry does not look for names that are there twice. Where its own metrics might have one of the runtime's, register the collector in a
/// `sub_registry_with_prefix`.
///
/// # Examples
///
/// ```
/// use mvx_metrics::bridge::prometheus_client026::RuntimeCollector;
/// use mvx_metrics::prelude::*;
/// use prometheus_client::registry::Registry;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c.help("Documents.")).create()?;
/// recorder.register_event(Saved);
/// recorder.flush_blocking(Duration::from_secs(5))?;
///
/// let mut registry = Registry::default(); // the program's own
/// registry.register_collector(Box::new(RuntimeCollector::new(runtime.reader()).vitals(false)));
/// let mut text = String::new();
/// prometheus_client::encoding::text::encode(&mut text, &registry)?;
/// assert_eq!(
///     text,
///     "# HELP document_saves Documents.\n\
///      ## TYPE document_saves counter\n\
///      document_saves_total{recorder=\"storage\"} 1\n\
///      ## EOF\n"
/// );
/// # Ok(())
/// # }
/// ```
#[must_use = "a collector shows nothing before it is registered"]
pub struct RuntimeCollector {
    reader: RuntimeReader,
    fold: Fold,
    vitals: bool,
    left_out: Mutex<u64>,
}

impl RuntimeCollector {
    /// A collector that shows each recorder by itself, and what the runtime says of itself.
    pub fn new(reader: RuntimeReader) -> Self {
        Self { reader, fold: Fold::default(), vitals: true, left_out: Mutex::default() }
    }

    /// Shows recorders one by one, as by default, or folded by group.
    pub fn fold(mut self, fold: Fold) -> Self {
        self.fold = fold;
        self
    }

    /// Shows what the runtime says of itself, as by default, or leaves it out.
    pub fn vitals(mut self, shown: bool) -> Self {
        self.vitals = shown;
        self
    }

    /// How many series the last scrape left out: of kinds that prometheus-client does not have, of metrics whose name another one has
    /// already, and histograms of negative observations, whose sum OpenMetrics does not allow. To read it, keep the collector in an `Arc`, and register a
    /// clone of that.
    pub fn left_out(&self) -> u64 {
        *self.left_out.lock()
    }
}

impl Collector for RuntimeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(snapshot) = self.reader.collect() else { return Ok(()) };
        let vitals = if self.vitals { snapshot.vitals() } else { Vec::new() };
        let mut families: Vec<_> = snapshot.families(self.fold).into_iter().chain(vitals).collect();
        families.sort_by(|one, other| one.descriptor().name().cmp(other.descriptor().name()));
        let mut page = Page { encoder, names: Names::default(), left_out: 0 };
        let written = families.iter().try_for_each(|family| page.family(family));
        *self.left_out.lock() = page.left_out;
        written
    }
}

impl fmt::Debug for RuntimeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeCollector").field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// One scrape.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    names: Names,
    left_out: u64,
}

impl Page<'_> {
    fn family(&mut self, family: &ExportedFamily<'_>) -> fmt::Result {
        let descriptor = family.descriptor();
        let name = prometheus::family_name(descriptor);
        if family.is_empty() {
            return Ok(());
        }
        let kind = kind(descriptor).filter(|_| self.names.take(&name, descriptor.kind()));
        let Some(kind) = kind else {
            self.left_out += family.len() as u64;
            return Ok(());
        };
        let (name, unit) = split(&name, descriptor);
        let mut help = String::new();
        escaped(&mut help, descriptor.help(), true);
        let mut encoder = self.encoder.encode_descriptor(name, &help, unit.as_ref(), kind)?;
        for part in family.parts() {
            for series in part.family().series() {
                self.left_out += u64::from(!sample(&mut encoder, part, series)?);
            }
        }
        Ok(())
    }
}

/// What that crate calls it, if it has it.
fn kind(descriptor: &Descriptor) -> Option<MetricType> {
    match descriptor.kind() {
        Kind::Counter | Kind::FloatCounter => Some(MetricType::Counter),
        Kind::Gauge | Kind::UpDown => Some(MetricType::Gauge),
        Kind::Histogram | Kind::Exponential => Some(MetricType::Histogram),
        Kind::Info => Some(MetricType::Info),
        _ => None,
    }
}

/// The name without its unit, which that crate appends.
fn split<'a>(name: &'a str, descriptor: &Descriptor) -> (&'a str, Option<Unit>) {
    let unit = prometheus::told_unit(name, descriptor);
    let bare = unit.as_deref().and_then(|unit| name.strip_suffix(unit)?.strip_suffix('_'));
    match bare.filter(|bare| !bare.is_empty()) {
        Some(bare) => (bare, unit.map(Unit::Other)),
        None => (name, None),
    }
}

/// Writes one series; false, if it cannot be said.
fn sample(
    encoder: &mut MetricEncoder<'_>,
    part: &Part<'_>,
    series: SeriesRef<'_>,
) -> Result<bool, fmt::Error> {
    let labels = part.labels().chain(series.labels().iter()).filter(|(_, value)| !value.is_empty());
    let labels: Vec<(String, String)> =
        labels.map(|(key, value)| (key.replace('.', "_"), value.to_owned())).collect();
    if matches!(series.value(), ValueRef::Info) {
        encoder.encode_info(&labels)?;
        return Ok(true);
    }
    let mut encoder = encoder.encode_family(&labels)?;
    match series.value() {
        ValueRef::Counter(count) => encoder.encode_counter::<NoLabelSet, _, f64>(&count, None)?,
        ValueRef::FloatCounter(sum) => encoder.encode_counter::<NoLabelSet, _, f64>(&sum, None)?,
        ValueRef::Gauge(value) => encoder.encode_gauge(&value)?,
        ValueRef::UpDown(value) => encoder.encode_gauge(&value)?,
        value => return histogram(&mut encoder, value),
    }
    Ok(true)
}

fn histogram(encoder: &mut MetricEncoder<'_>, value: ValueRef<'_>) -> Result<bool, fmt::Error> {
    let (sum, least, buckets) = if let Some(explicit) = value.histogram() {
        let bounds = explicit.bounds().iter().copied().chain([f64::INFINITY]);
        let least = explicit.bounds().first().copied().unwrap_or_default().min(0.0);
        let least = explicit.min().map_or(least, |min| min.min(least));
        (explicit.sum(), least, bounds.zip(explicit.buckets()).collect::<Vec<_>>())
    } else if let Some(exponential) = value.exponential() {
        let (mut buckets, mut before) = (Vec::new(), 0);
        each_bound(exponential, |bound, below| {
            buckets.push((bound, below - before));
            before = below;
        });
        (exponential.sum(), exponential.min().unwrap_or_default(), buckets)
    } else {
        return Ok(false);
    };
    if least < 0.0 {
        return Ok(false);
    }
    let count = buckets.iter().map(|(_, held)| held).sum();
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    Ok(true)
}

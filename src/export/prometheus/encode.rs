//! Snapshots as text.

use crate::export::prometheus::Escaping;
use crate::export::prometheus::Format;
use crate::export::prometheus::exemplars::by_bound;
use crate::export::prometheus::names::Names;
use crate::export::prometheus::write;
use crate::export::prometheus::write::push;
use crate::model::prometheus;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Exemplar;
use crate::model::snapshot::Kind;
use crate::model::snapshot::Number;
use crate::model::snapshot::SeriesRef;
use crate::model::snapshot::ValueRef;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::exported::Part;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Writes snapshots in a text format of Prometheus.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::prometheus::{Encoder, Format};
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Saved(u64); impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime
///     .recorder::<Saved>("storage")
///     .counter("document.saved", |c| c.unit(Unit::Bytes).help("Bytes of documents.").value(|Saved(bytes)| Some(*bytes)))
///     .create()?;
/// recorder.register_event(Saved(512));
/// recorder.flush_blocking(Duration::from_secs(5))?;
///
/// let mut text = String::new(); // to be kept, cleared and used again: then nothing is allocated for the text
/// let encoded = Encoder::new(Format::Text).vitals(false).encode(&runtime.collect(), &mut text);
/// assert_eq!(
///     text,
///     "# HELP document_saved_bytes_total Bytes of documents.\n\
///      ## TYPE document_saved_bytes_total counter\n\
///      document_saved_bytes_total{recorder=\"storage\"} 512\n"
/// );
/// assert_eq!((encoded.families(), encoded.samples(), encoded.skipped().len()), (1, 1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    format: Format,
    escaping: Escaping,
    fold: Fold,
    vitals: bool,
}

impl Encoder {
    /// An encoder for this format, which shows each recorder by itself, and what the runtime says of itself.
    pub fn new(format: Format) -> Self {
        Self { format, escaping: Escaping::default(), fold: Fold::default(), vitals: true }
    }

    /// Writes names as this says; with `_` for dots unless it is called.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::prometheus::{Encoder, Escaping, Format};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let mut text = String::new();
    /// let _ = Encoder::new(Format::Text).escaping(Escaping::AllowUtf8).encode(&runtime.collect(), &mut text);
    /// assert!(text.contains("# TYPE \"mvx.publication.interval_seconds\" gauge"));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    #[must_use]
    pub fn escaping(mut self, escaping: Escaping) -> Self {
        self.escaping = escaping;
        self
    }

    /// Shows recorders one by one or folded.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::prometheus::{Encoder, Format};
    /// use mvx_metrics::{Fold, MetricsRuntime};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let mut text = String::new();
    /// let _ = Encoder::new(Format::OpenMetrics).fold(Fold::Group).vitals(false).encode(&runtime.collect(), &mut text);
    /// assert_eq!(text, "# EOF\n");
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    #[must_use]
    pub fn fold(mut self, fold: Fold) -> Self {
        self.fold = fold;
        self
    }

    /// Shows what the runtime says of itself, as `mvx_*`, or leaves it out. It is shown unless said otherwise: what was lost should not
    /// go unseen.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::prometheus::{Encoder, Format};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let (mut with, mut without) = (String::new(), String::new());
    /// let _ = Encoder::new(Format::Text).encode(&runtime.collect(), &mut with);
    /// let _ = Encoder::new(Format::Text).vitals(false).encode(&runtime.collect(), &mut without);
    /// assert!(with.contains("# TYPE mvx_publication_interval_seconds gauge") && without.is_empty());
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    #[must_use]
    pub fn vitals(mut self, shown: bool) -> Self {
        self.vitals = shown;
        self
    }

    /// Appends the exposition of a snapshot to `out`, and says how much it is and what was left out.
    ///
    /// Metrics without series are left out. Costs time in proportion to the samples; allocates a name for each metric, and otherwise
    /// only as `out` grows. It never touches a recorder.
    pub fn encode(&self, snapshot: &RuntimeSnapshot, out: &mut String) -> Encoded {
        let mut text = Text {
            format: self.format,
            escaping: self.escaping,
            out,
            names: Names::default(),
            encoded: Encoded::default(),
            labels: String::new(),
            stem: String::new(),
            bounds: Vec::new(),
        };
        let vitals = if self.vitals { snapshot.vitals() } else { Vec::new() };
        let mut families: Vec<_> = snapshot.families(self.fold).into_iter().chain(vitals).collect();
        // A metric of the program's goes before one of ours, and takes the name.
        families.sort_by(|one, other| one.descriptor().name().cmp(other.descriptor().name()));
        families.iter().for_each(|family| text.family(family));
        if self.format == Format::OpenMetrics {
            text.out.push_str("# EOF\n");
        }
        text.encoded
    }
}

/// How much an exposition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoded {
    families: u64,
    samples: u64,
    skipped: Vec<Skipped>,
}

impl Encoded {
    /// How many families were written.
    pub fn families(&self) -> u64 {
        self.families
    }

    /// How many samples, which are lines with a value.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What could not be written, a metric at a time.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// A metric, or some samples of it, that the format cannot say.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::prometheus::{Encoder, Format};
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Step(f64); impl MetricEvent for Step { fn event_type(&self) -> &'static str { "step" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime.recorder::<Step>("walk").average("step", |a| a.value(|Step(by)| Some(*by))).create()?;
/// recorder.register_event(Step(-0.5));
/// recorder.flush_blocking(Duration::from_secs(5))?;
/// let mut text = String::new();
/// let encoded = Encoder::new(Format::OpenMetrics).encode(&runtime.collect(), &mut text);
/// let [skipped] = encoded.skipped() else { unreachable!() };
/// assert_eq!((skipped.metric(), skipped.reason()), ("step", "OpenMetrics has no negative sum of a summary or a histogram"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    metric: String,
    reason: &'static str,
    samples: u64,
}

impl Skipped {
    /// The metric's own name, with dots.
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// Why.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// How many series this is about.
    pub fn samples(&self) -> u64 {
        self.samples
    }
}

const TAKEN: &str = "another metric has one of its names already; rename one of them";
const UNKNOWN: &str = "this format has nothing for this kind of metric";
const NEGATIVE: &str = "OpenMetrics has no negative sum of a summary or a histogram";

struct Text<'a> {
    format: Format,
    escaping: Escaping,
    out: &'a mut String,
    names: Names,
    encoded: Encoded,
    /// The labels of the series in hand: it has many lines, and they are the same on each. Open, and blank if there are none.
    labels: String,
    /// What its lines with a bound begin with, up to the bound; blank until there is one.
    stem: String,
    /// Bounds as they are written, and what ends the labels behind them, by their places in a histogram.
    bounds: Vec<(f64, String)>,
}

/// Where the labels of a part end, and whether there are none yet.
#[derive(Clone, Copy)]
struct Scope {
    end: usize,
    first: bool,
}

/// What the samples of one series share.
#[derive(Clone, Copy)]
struct Row<'a> {
    part: &'a Part<'a>,
    series: SeriesRef<'a>,
}

impl Text<'_> {
    fn family(&mut self, family: &ExportedFamily<'_>) {
        if family.is_empty() {
            return;
        }
        let descriptor = family.descriptor();
        let name = self.escaping.family(descriptor);
        match descriptor.kind() {
            Kind::Counter | Kind::FloatCounter => self.typed(family, &name, "counter", Self::counter),
            Kind::Gauge | Kind::UpDown => self.typed(family, &name, "gauge", Self::gauge),
            Kind::Histogram => self.typed(family, &name, "histogram", Self::histogram),
            Kind::Exponential => self.typed(family, &name, "histogram", Self::exponential),
            Kind::Average => self.typed(family, &name, "summary", Self::average),
            Kind::Summary => self.typed(family, &name, "summary", Self::summary),
            Kind::Info => self.info(family, &name),
            Kind::StateSet => self.state_set(family, &name),
            // A collection has evaluated them.
            Kind::WindowedSummary | Kind::Rate | Kind::Heartbeat => {
                self.skip(descriptor, UNKNOWN, family.len() as u64)
            }
            Kind::Fields => self.fields(family),
        }
    }

    fn typed(
        &mut self,
        family: &ExportedFamily<'_>,
        name: &str,
        kind: &str,
        write: fn(&mut Self, &str, Row<'_>, &Descriptor),
    ) {
        let descriptor = family.descriptor();
        if !self.names.take(name, descriptor.kind()) {
            return self.skip(descriptor, TAKEN, family.len() as u64);
        }
        self.head(descriptor, name, kind);
        for part in family.parts() {
            let scope = self.enter(name, part);
            for series in part.family().series() {
                self.take(scope, series);
                write(self, name, Row { part, series }, descriptor);
            }
        }
    }

    /// The lines before the samples.
    fn head(&mut self, descriptor: &Descriptor, name: &str, kind: &str) {
        self.encoded.families += 1;
        let open = self.format == Format::OpenMetrics;
        // In 0.0.4 a counter's family has the name of its samples.
        let suffix = if kind == "counter" && !open { "_total" } else { "" };
        let quote = if self.escaping.quotes(name) { "\"" } else { "" };
        if !descriptor.help().is_empty() {
            push!(self.out, "# HELP {quote}{name}{suffix}{quote} ");
            write::escaped(self.out, descriptor.help(), open);
            self.out.push('\n');
        }
        push!(self.out, "# TYPE {quote}{name}{suffix}{quote} {kind}\n");
        let unit = if open { prometheus::told_unit(name, descriptor) } else { None };
        if let Some(unit) = unit {
            push!(self.out, "# UNIT {quote}{name}{quote} {unit}\n");
        }
    }

    /// Writes the labels that all series of a part have, whose samples have this name.
    fn enter(&mut self, name: &str, part: &Part<'_>) -> Scope {
        self.labels.clear();
        // A name in quotes stands within the braces, before them.
        let mut first = !self.escaping.quotes(name);
        for (key, value) in part.labels() {
            write::label(&mut self.labels, &mut first, self.escaping, key, value);
        }
        Scope { end: self.labels.len(), first }
    }

    /// Takes a series of that part in hand.
    fn take(&mut self, scope: Scope, series: SeriesRef<'_>) {
        let Scope { end, mut first } = scope;
        self.stem.clear();
        self.labels.truncate(end);
        for (key, value) in series.labels().iter() {
            write::label(&mut self.labels, &mut first, self.escaping, key, value);
        }
    }

    /// Name and labels of a sample; its value comes next.
    fn begin(&mut self, name: &str, suffix: &str) {
        let first = self.named(name, suffix);
        self.out.push_str(if first { " " } else { "} " });
    }

    /// The same with a label that is a number; the one at this place of the series. All such lines of a series have the same suffix and key.
    fn begin_at(&mut self, name: &str, suffix: &str, key: &str, (at, bound): (usize, f64)) {
        if self.stem.is_empty() {
            let first = write_named(&mut self.stem, self.escaping, (name, suffix), &self.labels);
            self.stem.push(if first { '{' } else { ',' });
            self.stem.push_str(key);
            self.stem.push_str("=\"");
        }
        if self.bounds.len() <= at {
            self.bounds.resize(at + 1, (f64::NAN, String::new()));
        }
        self.encoded.samples += 1;
        self.out.push_str(&self.stem);
        if let Some((known, text)) = self.bounds.get_mut(at) {
            if text.is_empty() || known.to_bits() != bound.to_bits() {
                *known = bound;
                text.clear();
                write::float(text, bound);
                text.push_str("\"} ");
            }
            self.out.push_str(text);
        }
    }

    /// A sample's name, where it goes, and the labels of its series; whether none was written within the braces yet.
    fn named(&mut self, name: &str, suffix: &str) -> bool {
        self.encoded.samples += 1;
        write_named(self.out, self.escaping, (name, suffix), &self.labels)
    }

    fn sample(&mut self, name: &str, suffix: &str, value: Number) {
        self.begin(name, suffix);
        write::number(self.out, value);
        self.out.push('\n');
    }

    /// One bucket of a histogram, and the observation that leads to somebody's.
    fn bucket(&mut self, name: &str, bound: (usize, f64), below: u64, exemplar: Option<&Exemplar>) {
        self.begin_at(name, "_bucket", "le", bound);
        write::integer(self.out, below);
        self.end(exemplar);
    }

    /// The end of a line, behind its value. Only OpenMetrics has exemplars.
    fn end(&mut self, exemplar: Option<&Exemplar>) {
        if let Some(exemplar) = exemplar.filter(|_| self.format == Format::OpenMetrics) {
            self.out.push_str(" # ");
            let mut first = true;
            for (key, value) in exemplar.labels().iter() {
                // Keys of an exemplar have no dots.
                write::label(self.out, &mut first, Escaping::Underscores, key, value);
            }
            self.out.push_str(if first { "{} " } else { "} " });
            write::number(self.out, exemplar.value());
            self.out.push(' ');
            write::seconds(self.out, exemplar.at());
        }
        self.out.push('\n');
    }

    fn created(&mut self, name: &str, row: Row<'_>) {
        if self.format == Format::OpenMetrics {
            self.begin(name, "_created");
            write::seconds(self.out, row.series.started());
            self.out.push('\n');
        }
    }

    fn counter(&mut self, name: &str, row: Row<'_>, descriptor: &Descriptor) {
        let value = match row.series.value() {
            ValueRef::Counter(count) => Number::U64(count),
            ValueRef::FloatCounter(sum) => Number::F64(sum),
            _ => return self.skip(descriptor, UNKNOWN, 1),
        };
        self.begin(name, "_total");
        write::number(self.out, value);
        self.end(row.series.exemplars().next());
        self.created(name, row);
    }

    fn gauge(&mut self, name: &str, row: Row<'_>, descriptor: &Descriptor) {
        let value = match row.series.value() {
            ValueRef::Gauge(value) => Number::F64(value),
            ValueRef::UpDown(value) => Number::I64(value),
            _ => return self.skip(descriptor, UNKNOWN, 1),
        };
        self.sample(name, "", value);
    }

    fn histogram(&mut self, name: &str, row: Row<'_>, descriptor: &Descriptor) {
        let Some(histogram) = row.series.value().histogram() else {
            return self.skip(descriptor, UNKNOWN, 1);
        };
        let mut count = 0;
        let mut exemplars = by_bound(row.series);
        let bounds = histogram.bounds().iter().copied().chain([f64::INFINITY]);
        for (at, (bound, below)) in bounds.zip(histogram.cumulative()).enumerate() {
            count = below;
            self.bucket(name, (at, bound), below, exemplars.up_to(bound));
        }
        let rises = histogram.bounds().first().is_none_or(|bound| *bound >= 0.0)
            && histogram.min().is_none_or(|min| min >= 0.0);
        self.totals(name, row, descriptor, (histogram.sum(), count), rises);
    }

    /// With explicit buckets, which is all that the text formats have: each bucket that holds something, with both its ends.
    fn exponential(&mut self, name: &str, row: Row<'_>, descriptor: &Descriptor) {
        let Some(histogram) = row.series.value().exponential() else {
            return self.skip(descriptor, UNKNOWN, 1);
        };
        let mut count = 0;
        let (mut exemplars, mut at) = (by_bound(row.series), 0);
        super::explicit::each_bound(histogram, |bound, below| {
            count = below;
            self.bucket(name, (at, bound), below, exemplars.up_to(bound));
            at += 1;
        });
        let rises = histogram.min().is_none_or(|min| min >= 0.0);
        self.totals(name, row, descriptor, (histogram.sum(), count), rises);
    }

    /// What follows the buckets; in OpenMetrics there is a sum only if it `rises`.
    fn totals(
        &mut self,
        name: &str,
        row: Row<'_>,
        descriptor: &Descriptor,
        (sum, count): (f64, u64),
        rises: bool,
    ) {
        if rises || self.format != Format::OpenMetrics {
            self.sample(name, "_sum", Number::F64(sum));
            self.sample(name, "_count", Number::U64(count));
        } else {
            self.skip(descriptor, NEGATIVE, 1);
        }
        self.created(name, row);
    }

    fn average(&mut self, name: &str, row: Row<'_>, descriptor: &Descriptor) {
        let ValueRef::Average { sum, count, .. } = row.series.value() else {
            return self.skip(descriptor, UNKNOWN, 1);
        };
        if sum >= 0.0 || self.format != Format::OpenMetrics {
            self.sample(name, "_sum", Number::F64(sum));
        } else {
            self.skip(descriptor, NEGATIVE, 1);
        }
        self.sample(name, "_count", Number::U64(count));
        self.created(name, row);
    }

    fn summary(&mut self, name: &str, row: Row<'_>, descriptor: &Descriptor) {
        let Some(summary) = row.series.value().summary() else {
            return self.skip(descriptor, UNKNOWN, 1);
        };
        for (at, (quantile, value)) in summary.quantiles().enumerate() {
            self.begin_at(name, "", "quantile", (at, quantile));
            write::float(self.out, value);
            self.out.push('\n');
        }
        let (sum, count) = (summary.total_sum(), summary.total_count());
        if sum >= 0.0 || self.format != Format::OpenMetrics {
            self.sample(name, "_sum", Number::F64(sum));
        } else {
            self.skip(descriptor, NEGATIVE, 1);
        }
        self.sample(name, "_count", Number::U64(count));
        self.created(name, row);
    }

    /// A gauge of 1 in 0.0.4, under the name that the sample has in OpenMetrics.
    fn info(&mut self, family: &ExportedFamily<'_>, name: &str) {
        let open = self.format == Format::OpenMetrics;
        let named = if open { name.to_owned() } else { format!("{name}_info") };
        self.typed(family, &named, if open { "info" } else { "gauge" }, |text, name, _, _| {
            let suffix = if text.format == Format::OpenMetrics { "_info" } else { "" };
            text.sample(name, suffix, Number::U64(1));
        });
    }

    /// A sample of 0 or 1 for each state.
    fn state_set(&mut self, family: &ExportedFamily<'_>, name: &str) {
        let kind = if self.format == Format::OpenMetrics { "stateset" } else { "gauge" };
        self.typed(family, name, kind, |text, name, row, descriptor| {
            let Some(states) = row.series.value().states() else {
                return text.skip(descriptor, UNKNOWN, 1);
            };
            for (state, on) in states.iter() {
                // OpenMetrics wants the states by the name of the family.
                let mut first = text.named(name, "");
                write::written_label(text.out, &mut first, text.escaping, name, state);
                push!(text.out, "}} {}\n", u8::from(on));
            }
        });
    }

    /// A family for each field, in the order of their names.
    fn fields(&mut self, family: &ExportedFamily<'_>) {
        let descriptor = family.descriptor();
        let mut fields = BTreeSet::new();
        for series in family.parts().iter().flat_map(|part| part.family().series()) {
            if let ValueRef::Fields(present) = series.value() {
                fields.extend(present.iter().map(|(field, _)| field.clone()));
            }
        }
        for field in fields {
            let of_field = |row: &Row<'_>| row.series.value().field(field.as_str());
            let name = self.escaping.field(descriptor, field.as_str());
            let rows = || {
                let parts = family.parts().iter();
                parts.flat_map(|part| part.family().series().map(|series| Row { part, series }))
            };
            if !self.names.take(&name, Kind::Gauge) {
                let rows = rows().filter(|row| of_field(row).is_some()).count();
                self.skip(descriptor, TAKEN, rows as u64);
                continue;
            }
            self.head(descriptor, &name, "gauge");
            for row in rows() {
                if let Some(value) = of_field(&row) {
                    let scope = self.enter(&name, row.part);
                    self.take(scope, row.series);
                    self.sample(&name, "", value);
                }
            }
        }
    }

    fn skip(&mut self, descriptor: &Descriptor, reason: &'static str, samples: u64) {
        let metric = descriptor.name().as_str();
        let skipped = &mut self.encoded.skipped;
        match skipped.iter_mut().find(|known| known.metric == metric && known.reason == reason) {
            Some(known) => known.samples += samples,
            None => skipped.push(Skipped { metric: metric.to_owned(), reason, samples }),
        }
    }
}

/// A name with its suffix, where the escaping has it, and labels; whether none was written within the braces yet.
fn write_named(out: &mut String, escaping: Escaping, (name, suffix): (&str, &str), labels: &str) -> bool {
    let quoted = escaping.quotes(name);
    out.push_str(if quoted { "{\"" } else { "" });
    out.push_str(name);
    out.push_str(suffix);
    out.push_str(if quoted { "\"" } else { "" });
    out.push_str(labels);
    !quoted && labels.is_empty()
}

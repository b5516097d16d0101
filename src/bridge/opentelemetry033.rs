//! Counters and gauges of a runtime as observable instruments of `opentelemetry` 0.33.

use crate::export::Omitted;
use crate::export::Written;
use crate::export::rows::Row;
use crate::export::rows::rows;
use crate::model::clock::Timestamp;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Kind;
use crate::model::snapshot::Number;
use crate::model::snapshot::ValueRef;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::runtime::collection::Fold;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::reader::RuntimeReader;
use crate::sync::Mutex;
use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;
use opentelemetry::metrics::Meter;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Weak;

/// Shows counters and gauges of a runtime to the SDK of OpenTelemetry that a program has, as observable instruments of one of its meters.
///
/// Names, units and labels are those that [`OtlpExporter`](crate::export) sends: dotted names, UCUM codes, and `recorder` or `group` among the attributes. Counters are monotonic
/// sums; up-down counters are sums, and infos and state sets ones of 1 and 0; everything else that is one number is a gauge. Each collection of the SDK shows the newest
/// snapshot; if the provider has one reader, one snapshot to all instruments. No source is asked, and no recorder is waited for. A series that is gone is not in the next collection, and neither is
/// a runtime that is gone.
///
/// **What comes later.** The SDK calls callbacks under a lock that it also takes to register an instrument. So none is registered in a collection: metrics that are declared after
/// [`register`](RuntimeInstrumentsBuilder::register) are shown after the next [`refresh`](Self::refresh). It never gives up an instrument either: a metric that comes again as another kind or in another unit is left out.
///
/// **What is left out** is told by [`left_out`](Self::left_out). The SDK takes histograms and summaries from nobody, so these are; `OtlpExporter` has all of them. The SDK
/// itself folds what is above its own limit of series (2,000 an instrument, unless a view says otherwise), and drops exemplars and start times.
///
/// **Counters that begin anew.** The SDK subtracts by itself for readers of differences, and does not look for a total that falls. So a series that begins anew between two
/// collections goes on from where it was, and its sum is that of all its lives. One that was away for a collection begins at zero, which is right for one reader; where several share a provider, let none of them be of differences.
///
/// Dropping this ends what is shown.
///
/// # Examples
///
/// ```
/// use mvx_metrics::bridge::opentelemetry033::RuntimeInstruments;
/// use mvx_metrics::prelude::*;
/// use opentelemetry::metrics::MeterProvider;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c.help("Documents.")).create()?;
///
/// let provider = SdkMeterProvider::builder().build(); // the program's own, with its readers
/// let shown = RuntimeInstruments::builder(runtime.reader()).vitals(false).register(provider.meter("mvx"));
/// assert_eq!((shown.len(), shown.refresh()), (1, 0));
/// let more = runtime.recorder::<Saved>("cache").gauge("cache.size", |g| g.value(|_| Some(1.0))).create()?;
/// assert_eq!((shown.refresh(), shown.len()), (1, 2)); // declared later
/// # recorder.register_event(Saved);
/// # more.register_event(Saved);
/// # recorder.flush_blocking(Duration::from_secs(5))?;
/// # provider.shutdown()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "what is shown ends when this is dropped"]
pub struct RuntimeInstruments {
    meter: Meter,
    shared: Arc<Shared>,
}

/// How a runtime is shown to an SDK: see [`RuntimeInstruments::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is shown before it is registered"]
pub struct RuntimeInstrumentsBuilder {
    reader: RuntimeReader,
    fold: Fold,
    vitals: bool,
}

impl RuntimeInstrumentsBuilder {
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

    /// Registers an instrument for each metric that is declared by now, whether it has series or not.
    ///
    /// Costs a snapshot, and for each metric what the SDK needs. Not to be called in a callback of the same SDK.
    pub fn register(self, meter: Meter) -> RuntimeInstruments {
        let shared = Arc::new(Shared { told: self, state: Mutex::default() });
        let instruments = RuntimeInstruments { meter, shared };
        instruments.refresh();
        instruments
    }
}

impl RuntimeInstruments {
    /// Begins to show a runtime: each recorder by itself, and what the runtime says of itself.
    pub fn builder(reader: RuntimeReader) -> RuntimeInstrumentsBuilder {
        RuntimeInstrumentsBuilder { reader, fold: Fold::default(), vitals: true }
    }

    /// Registers metrics that were declared since, and says how many.
    ///
    /// To be called when recorders were created, or now and then. Costs a snapshot, and waits for a collection that the SDK is in. Not to be called in a callback of the
    /// same SDK, where it would wait for itself.
    pub fn refresh(&self) -> usize {
        let new = self.shared.enter();
        // Without the lock: the SDK has one of its own, under which it calls back.
        new.iter().for_each(|new| self.instrument(new));
        new.len()
    }

    /// How many instruments there are.
    pub fn len(&self) -> usize {
        self.shared.state.lock().instruments.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the last collection or [`refresh`](Self::refresh) left out, a metric at a time, and why.
    pub fn left_out(&self) -> Vec<Omitted> {
        self.shared.state.lock().written.omitted().to_vec()
    }

    fn instrument(&self, new: &New) {
        let New { place, name, .. } = new;
        let weak = || Arc::downgrade(&self.shared);
        macro_rules! register {
            ($kind:ident, $number:pat => $value:expr) => {{
                let value = |number| if let $number = number { Some($value) } else { None };
                let builder = self.meter.$kind(name.clone()).with_description(new.help.clone());
                builder.with_unit(new.unit.clone()).with_callback(callback(weak(), *place, value)).build();
            }};
        }
        match new.shape {
            Shape::Count => register!(u64_observable_counter, Number::U64(value) => value),
            Shape::Sum => register!(f64_observable_counter, Number::F64(value) => value),
            Shape::Level => register!(i64_observable_up_down_counter, Number::I64(value) => value),
            Shape::Value => register!(f64_observable_gauge, Number::F64(value) => value),
        }
    }
}

impl fmt::Debug for RuntimeInstruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeInstruments")
            .field("told", &self.shared.told)
            .field("instruments", &self.len())
            .finish_non_exhaustive()
    }
}

/// What the SDK calls. A panic of ours would poison its lock, and end every metric of the program.
fn callback<T: 'static>(
    shared: Weak<Shared>,
    place: usize,
    value: impl Fn(Number) -> Option<T> + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
    move |instrument| {
        let points = call_user(|| shared.upgrade().map(|shared| shared.points(place)));
        let points = points.unwrap_or_else(|payload| {
            drop_quietly(payload);
            None
        });
        for point in points.into_iter().flatten() {
            if let Some(value) = value(point.number) {
                instrument.observe(value, &point.attributes);
            }
        }
    }
}

/// What the instruments share.
struct Shared {
    told: RuntimeInstrumentsBuilder,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    instruments: Vec<Instrument>,
    written: Written,
}

struct Instrument {
    name: String,
    unit: String,
    shape: Shape,
    /// What is to be observed in the collection that is under way; nothing once that is done.
    points: Option<Vec<Point>>,
    /// The sums of the last one, by attributes.
    lives: HashMap<Vec<KeyValue>, Life>,
}

/// An instrument that is to be registered.
struct New {
    place: usize,
    name: String,
    help: String,
    unit: String,
    shape: Shape,
}

struct Point {
    attributes: Vec<KeyValue>,
    number: Number,
}

/// What the SDK calls it.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Count,
    Sum,
    Level,
    Value,
}

impl Shape {
    fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Counter => Some(Self::Count),
            Kind::FloatCounter => Some(Self::Sum),
            Kind::UpDown => Some(Self::Level),
            // Infos and state sets are counted by now.
            Kind::Gauge | Kind::Rate | Kind::Heartbeat => Some(Self::Value),
            _ => None,
        }
    }
}

const UNKNOWN: &str = "the SDK takes no such values from outside; export them by OTLP";
const OTHER: &str =
    "the SDK has an instrument of this name with another kind or unit, and gives none up; rename it";
const LATER: &str = "it was declared after the last refresh; call it";

impl Shared {
    /// What is to be observed by an instrument. The first that asks a second time is in another collection, for which all are looked up.
    fn points(&self, place: usize) -> Vec<Point> {
        let asked = self.state.lock().instruments.get_mut(place).and_then(|one| one.points.take());
        asked.unwrap_or_else(|| {
            self.look();
            let mut state = self.state.lock();
            state.instruments.get_mut(place).and_then(|one| one.points.take()).unwrap_or_default()
        })
    }

    /// Gives each instrument what the newest snapshot says of it.
    fn look(&self) {
        let mut found = HashMap::new();
        let written = self.each(|family, shape, is_known, written| {
            let descriptor = family.descriptor();
            if !is_known {
                omit(written, descriptor, LATER, family.len());
                return;
            }
            let points: Vec<_> = rows(family).filter_map(point).collect();
            found.insert(descriptor.name().to_string(), (shape, points));
        });
        let mut state = self.state.lock();
        for instrument in &mut state.instruments {
            let told = found.remove(&instrument.name).filter(|(shape, _)| instrument.shape == *shape);
            let points = told.map(|(_, points)| points).unwrap_or_default();
            instrument.points = Some(instrument.lived(points));
        }
        state.written = written;
    }

    /// Enters metrics that have no instrument.
    fn enter(&self) -> Vec<New> {
        let mut news = Vec::new();
        let written = self.each(|family, shape, is_known, _| {
            if !is_known {
                let descriptor = family.descriptor();
                let (name, help) = (descriptor.name().to_string(), descriptor.help().to_owned());
                let unit = descriptor.unit().ucum().to_owned();
                news.push(New { place: 0, name, help, unit, shape });
            }
        });
        let mut state = self.state.lock();
        news.retain_mut(|new| {
            new.place = state.instruments.len();
            let is_new = state.instruments.iter().all(|one| one.name != new.name);
            if is_new {
                state.instruments.push(Instrument::of(new));
            }
            is_new
        });
        state.written = written;
        news
    }

    /// Calls with each family that can be shown, and whether it has an instrument; what was left out.
    fn each(&self, mut with: impl FnMut(&ExportedFamily<'_>, Shape, bool, &mut Written)) -> Written {
        let mut written = Written::default();
        let Some(snapshot) = self.told.reader.collect() else { return written };
        let vitals = if self.told.vitals { snapshot.vitals() } else { Vec::new() };
        let mut families: Vec<_> = snapshot.families(self.told.fold).into_iter().chain(vitals).collect();
        families.iter_mut().for_each(ExportedFamily::count);
        // A metric of the program's goes before one of ours.
        families.sort_by(|one, other| one.descriptor().name().cmp(other.descriptor().name()));
        families.dedup_by(|later, kept| later.descriptor().name() == kept.descriptor().name());
        for family in &families {
            let descriptor = family.descriptor();
            let Some(shape) = Shape::of(descriptor.kind()) else {
                omit(&mut written, descriptor, UNKNOWN, family.len());
                continue;
            };
            match self.known(descriptor, shape) {
                Some(false) => omit(&mut written, descriptor, OTHER, family.len()),
                known => with(family, shape, known.is_some(), &mut written),
            }
        }
        written
    }

    /// Whether the instrument of this name, if there is one, is for it.
    fn known(&self, descriptor: &Descriptor, shape: Shape) -> Option<bool> {
        let state = self.state.lock();
        let found = state.instruments.iter().find(|one| one.name == descriptor.name().as_str())?;
        Some(found.shape == shape && found.unit == descriptor.unit().ucum())
    }
}

fn omit(written: &mut Written, descriptor: &Descriptor, reason: &'static str, series: usize) {
    if series > 0 {
        written.omit(descriptor, reason, series as u64);
    }
}

impl Instrument {
    fn of(new: &New) -> Self {
        let New { name, unit, shape, .. } = new;
        Self { name: name.clone(), unit: unit.clone(), shape: *shape, points: None, lives: HashMap::new() }
    }

    /// The points, of which no sum has fallen since the last collection.
    fn lived(&mut self, points: Vec<(Point, Option<Timestamp>)>) -> Vec<Point> {
        if !matches!(self.shape, Shape::Count | Shape::Sum) {
            return points.into_iter().map(|(point, _)| point).collect();
        }
        let mut before = std::mem::take(&mut self.lives);
        let all = points.into_iter().map(|(mut point, started)| {
            let life = Life::after(before.remove(&point.attributes), started, point.number);
            point.number = life.total();
            self.lives.insert(point.attributes.clone(), life);
            point
        });
        all.collect()
    }
}

/// A sum as it was last told, and what is added to it, so that it does not fall.
struct Life {
    /// When it began; unknown of an overflow series, whose sum is of now these series and now those.
    started: Option<Timestamp>,
    last: Number,
    base: Number,
}

impl Life {
    fn after(before: Option<Self>, started: Option<Timestamp>, last: Number) -> Self {
        let nothing = if let Number::F64(_) = last { Number::F64(0.0) } else { Number::U64(0) };
        let base = match before {
            None => nothing,
            Some(before) if before.started < started => before.total(),
            // Some of its series are shown by themselves since.
            Some(before) if last.as_f64() < before.last.as_f64() => minus(before.total(), last),
            Some(before) => before.base,
        };
        Self { started, last, base }
    }

    fn total(&self) -> Number {
        match (self.base, self.last) {
            (Number::U64(base), Number::U64(last)) => Number::U64(base.saturating_add(last)),
            (base, last) => Number::F64(base.as_f64() + last.as_f64()),
        }
    }
}

fn minus(one: Number, other: Number) -> Number {
    match (one, other) {
        (Number::U64(one), Number::U64(other)) => Number::U64(one.saturating_sub(other)),
        (one, other) => Number::F64(one.as_f64() - other.as_f64()),
    }
}

/// A series as one number, if it is one, and when it began, if that says anything.
fn point(row: Row<'_>) -> Option<(Point, Option<Timestamp>)> {
    let number = match row.series.value() {
        ValueRef::Counter(count) => Number::U64(count),
        ValueRef::FloatCounter(sum) => Number::F64(sum),
        ValueRef::UpDown(level) => Number::I64(level),
        ValueRef::Gauge(value) => Number::F64(value),
        _ => return None,
    };
    let attributes = row.labels().map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let point = Point { attributes: attributes.collect(), number };
    let started = (!row.series.is_overflow()).then(|| row.series.started());
    Some((point, started))
}

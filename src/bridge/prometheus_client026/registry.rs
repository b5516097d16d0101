//! A registry of prometheus-client 0.26 as a source: its metrics beside the runtime's.

use crate::bridge::prometheus_client026::reading;
use crate::bridge::prometheus_client026::reading::Read;
use crate::bridge::prometheus_client026::shown::Page;
use crate::model::clock::Clock;
use crate::model::clock::SystemClock;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::model::snapshot::Descriptor;
use crate::queue::call_user;
use crate::runtime::collection::source::Source;
use crate::runtime::collection::source::SourceWriter;
use crate::sync::Mutex;
use crate::sync::theirs;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

/// A registry that a program has somewhere, and a [`RegistrySource`] reads.
///
/// It is there for a `Registry` in an `Arc`, with or without std's `Mutex` or `RwLock` around it. For another lock, implement it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::bridge::prometheus_client026::{RegistrySource, SharedRegistry};
/// use prometheus_client::registry::Registry;
///
/// struct InALock(std::sync::Arc<tokio::sync::RwLock<Registry>>);
///
/// impl SharedRegistry for InALock {
///     fn read(&self, read: &mut dyn FnMut(&Registry)) -> bool {
///         read(&self.0.blocking_read()); // it is asked on a thread that may wait
///         true
///     }
/// }
///
/// let _source = RegistrySource::new(InALock(Default::default()));
/// ```
pub trait SharedRegistry: Send + 'static {
    /// Calls `read` with the registry, once; or says, by `false`, that it cannot be read now.
    fn read(&self, read: &mut dyn FnMut(&Registry)) -> bool;
}

impl SharedRegistry for Arc<Registry> {
    fn read(&self, read: &mut dyn FnMut(&Registry)) -> bool {
        read(self);
        true
    }
}

/// A poisoned lock is not read.
impl SharedRegistry for Arc<theirs::Mutex<Registry>> {
    fn read(&self, read: &mut dyn FnMut(&Registry)) -> bool {
        let Ok(registry) = self.lock() else { return false };
        read(&registry);
        true
    }
}

/// A poisoned lock is not read.
impl SharedRegistry for Arc<theirs::RwLock<Registry>> {
    fn read(&self, read: &mut dyn FnMut(&Registry)) -> bool {
        let Ok(registry) = theirs::RwLock::read(self) else { return false };
        read(&registry);
        true
    }
}

/// Shows the metrics of a registry of prometheus-client beside those of a runtime: on every page, and to every exporter.
///
/// At each look the registry writes its text, in its lock, and that is read back: counters, gauges, histograms and infos with their units, labels and
/// exemplars, integers exactly, bounds and floats bit by bit. A metric that is registered later is shown from then on. Names stay as they are; what has no type
/// there is a gauge here. A help of several lines, which would end that crate's own page, is escaped on ours.
///
/// What cannot be shown is left out and [counted](RegistryReport), with a reason in [`SourceStatus::last_fault`](crate::SourceStatus::last_fault): metrics whose name
/// the runtime or another source has (who was first keeps it), or that no [`MetricName`](crate::MetricName) is, such as `a:b`; label keys that are none or are
/// [reserved](crate::LabelKey), such as `recorder`; label values longer than a label's; NaN and infinities; integers of gauges that are no `i64`; series past
/// [`cardinality`](Self::cardinality); and a series that is there twice, of which the first is shown. Samples say when their counting
/// [began](Self::started); an exemplar without a time has that at which it was first seen.
///
/// A collector that panics puts the whole source into quarantine, as any [`Source`], and leaves the lock as it was. A registry that cannot be read shows
/// nothing until it can.
///
/// Costs the text, kept for the next look, and a copy of each series.
///
/// # Examples
///
/// ```
/// use mvx_metrics::bridge::prometheus_client026::RegistrySource;
/// use mvx_metrics::export::prometheus::{Encoder, Format};
/// use mvx_metrics::prelude::*;
/// use prometheus_client::metrics::counter::Counter;
/// use prometheus_client::registry::{Registry, Unit};
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let registry = Arc::new(Mutex::new(Registry::default())); // the program's own
/// let sent = Counter::<u64>::default();
/// registry.lock().unwrap().register_with_unit("sent", "Bytes sent", Unit::Bytes, sent.clone());
/// sent.inc_by(9_007_199_254_740_993);
///
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// recorder.register_event(Saved);
/// recorder.flush_blocking(Duration::from_secs(5))?;
///
/// let source = RegistrySource::new(Arc::clone(&registry));
/// let report = source.report();
/// runtime.add_source("registry", Duration::from_secs(1), source)?;
/// runtime.refresh_sources(); // exporters and servers do it by themselves
/// let mut text = String::new();
/// let _ = Encoder::new(Format::Text).vitals(false).encode(&runtime.collect(), &mut text);
/// assert_eq!(
///     text,
///     "# TYPE document_saves_total counter\n\
///      document_saves_total{recorder=\"storage\"} 1\n\
///      ## HELP sent_bytes_total Bytes sent.\n\
///      ## TYPE sent_bytes_total counter\n\
///      sent_bytes_total 9007199254740993\n"
/// );
/// assert_eq!((report.counts().looks, report.counts().left_out), (1, 0));
/// # Ok(())
/// # }
/// ```
#[must_use = "a source shows nothing before it is added to a runtime"]
pub struct RegistrySource<R> {
    registry: R,
    started: Timestamp,
    cardinality: u32,
    text: String,
    seen: HashMap<String, Timestamp>,
    report: RegistryReport,
}

/// What came of the looks at a registry; read from wherever. `Clone` shares it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::MetricsRuntime;
/// use mvx_metrics::bridge::prometheus_client026::RegistrySource;
/// use prometheus_client::registry::Registry;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// let registry = Arc::new(Mutex::new(Registry::default()));
/// let source = RegistrySource::new(Arc::clone(&registry));
/// let report = source.report();
/// let _ = std::thread::spawn(move || {
///     let _held = registry.lock();
///     panic!("with the registry in its hands");
/// })
/// .join();
///
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.add_source("registry", Duration::ZERO, source)?;
/// runtime.refresh_sources();
/// assert_eq!((report.counts().looks, report.counts().unavailable), (0, 1)); // the lock is poisoned
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RegistryReport(Arc<Mutex<RegistryCounts>>);

/// What came of the looks at a registry, from the first on. A look is counted in one of the first five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryCounts {
    /// Looks that gave what is there.
    pub looks: u64,
    /// Looks at which it could not be read, mostly because its lock is poisoned.
    pub unavailable: u64,
    /// Looks at which a metric or collector of its panicked: one, since the source is then in quarantine.
    pub panicked: u64,
    /// Looks at which a metric or collector of its failed to write itself.
    pub failed: u64,
    /// Looks at which its text was longer than [`MAX_REGISTRY_BYTES`](crate::limits::MAX_REGISTRY_BYTES).
    pub too_large: u64,
    /// Metrics left out because another one has their name, or because they cannot be named here; at each look anew.
    pub conflicts: u64,
    /// Series left out of metrics that are shown, and of those that are not; at each look anew.
    pub left_out: u64,
    /// Lines of its text that say nothing in the format; at each look anew.
    pub unreadable: u64,
}

impl RegistryReport {
    /// The counts until now. Waits for nobody.
    pub fn counts(&self) -> RegistryCounts {
        *self.0.lock()
    }

    fn count(&self, count: impl FnOnce(&mut RegistryCounts)) {
        count(&mut self.0.lock());
    }
}

impl<R: SharedRegistry> RegistrySource<R> {
    /// A source of this registry.
    pub fn new(registry: R) -> Self {
        Self {
            registry,
            started: SystemClock::new().now(),
            cardinality: limits::DEFAULT_EXPORTED_CARDINALITY,
            text: String::new(),
            seen: HashMap::new(),
            report: RegistryReport::default(),
        }
    }

    /// When its metrics began to count; the registry does not say. The time of [`new`](Self::new), unless it is called.
    pub fn started(mut self, at: Timestamp) -> Self {
        self.started = at;
        self
    }

    /// How many series of one metric are shown, [`DEFAULT_EXPORTED_CARDINALITY`](crate::limits::DEFAULT_EXPORTED_CARDINALITY) unless it is called, and at most
    /// [`MAX_CARDINALITY`](crate::limits::MAX_CARDINALITY). Those past it are left out and counted: nothing here knows how to add them up.
    pub fn cardinality(mut self, most: u32) -> Self {
        self.cardinality = most.clamp(1, limits::MAX_CARDINALITY);
        self
    }

    /// What comes of its looks, to be kept when the source is handed over.
    pub fn report(&self) -> RegistryReport {
        self.report.clone()
    }

    /// Has the registry write its text; why there is none.
    fn write(&self, text: &mut String) -> Result<(), Error> {
        let mut bounded = Bounded { text, is_full: false };
        let mut ended = None;
        // Caught within the registry's lock, which a panic would poison for its owner.
        let is_there = self
            .registry
            .read(&mut |registry| ended = Some(call_user(|| text::encode(&mut bounded, registry))));
        match ended.filter(|_| is_there) {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(_))) if bounded.is_full => {
                self.report.count(|counts| counts.too_large += 1);
                let message = format!(
                    "the registry's text has more than {} bytes; register less, or in several registries",
                    limits::MAX_REGISTRY_BYTES
                );
                Err(Error::new(ErrorKind::LimitReached, message))
            }
            Some(Ok(Err(_))) => {
                self.report.count(|counts| counts.failed += 1);
                let message = "a metric of the registry failed to write itself, and with it the whole registry; mend it";
                Err(Error::new(ErrorKind::HookFailed, message))
            }
            Some(Err(payload)) => {
                self.report.count(|counts| counts.panicked += 1);
                std::panic::resume_unwind(payload)
            }
            None => {
                self.report.count(|counts| counts.unavailable += 1);
                let message = "the registry cannot be read; if its lock is poisoned, mend what panicked with it in its hands";
                Err(Error::new(ErrorKind::InvalidState, message))
            }
        }
    }

    fn show(&mut self, text: &str, writer: &mut SourceWriter<'_>) {
        let (families, strays) = reading::families(text);
        let started = self.started.min(writer.now());
        let mut page = Page::new(started, self.cardinality, std::mem::take(&mut self.seen));
        page.unreadable(strays, writer);
        for family in merged(families, &mut page, writer) {
            page.family(&family, writer);
        }
        let (counted, seen) = page.finish();
        self.seen = seen;
        self.report.count(|counts| {
            counts.looks += 1;
            counts.conflicts += counted.conflicts;
            counts.left_out += counted.left_out;
            counts.unreadable += counted.unreadable;
        });
    }
}

/// One family for each name: the registry does not look for names that are there twice.
fn merged<'t>(families: Vec<Read<'t>>, page: &mut Page, writer: &mut SourceWriter<'_>) -> Vec<Read<'t>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut merged: Vec<Read<'t>> = Vec::new();
    for family in families {
        let place = *places.entry(family.name).or_insert(merged.len());
        match merged.get_mut(place) {
            None => merged.push(family),
            Some(first) if (first.kind, first.unit) == (family.kind, family.unit) => {
                first.samples.extend(family.samples);
                first.unreadable += family.unreadable;
            }
            Some(_) => {
                let message =
                    format!("the registry has two metrics {} of different types; rename one", family.name);
                page.conflict(family.samples.len(), Error::new(ErrorKind::MetricConflict, message), writer);
            }
        }
    }
    merged
}

/// A text that ends at a length.
struct Bounded<'t> {
    text: &'t mut String,
    is_full: bool,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.is_full = self.text.len() + more.len() > limits::MAX_REGISTRY_BYTES;
        if self.is_full {
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}

impl<R: SharedRegistry> Source for RegistrySource<R> {
    /// None: what is registered is seen at each look.
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        Vec::new()
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        match self.write(&mut text) {
            Ok(()) => self.show(&text, writer),
            Err(error) => writer.fault(1, error),
        }
        self.text = text;
    }
}

impl<R> fmt::Debug for RegistrySource<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySource").field("counts", &self.report.counts()).finish_non_exhaustive()
    }
}

//! Sources: the one way into a collection besides events, for what is read rather than stated.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::recorder::catalogue::Owner;
use crate::recorder::hub::Hub;
use crate::runtime::Inner;
use crate::runtime::MetricsRuntime;
#[cfg(feature = "export")]
use crate::runtime::collection::asking::Call;
#[cfg(feature = "export")]
use crate::runtime::collection::asking::RunsJobs;
use crate::sync::Exclusive;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use crate::sync::own_thread;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "export")]
use std::sync::OnceLock;
use std::time::Duration;

/// What is read at a collection instead of being stated by events: the memory of the process, the depth of a queue.
///
/// It is asked at [`MetricsRuntime::refresh_sources`], at most once in the interval it was added with, by one thread at a time. It
/// should be quick. If it panics it is quarantined: it shows nothing, and is not asked again until it is removed and added anew.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::{Descriptor, Fold, Kind, LabelSet, Source, SourceWriter};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// struct Threads(Arc<Descriptor>);
///
/// impl Source for Threads {
///     fn descriptors(&self) -> Vec<Arc<Descriptor>> {
///         vec![Arc::clone(&self.0)]
///     }
///
///     fn collect(&mut self, writer: &mut SourceWriter<'_>) {
///         if let Some(mut threads) = writer.family(&self.0) {
///             threads.gauge(&LabelSet::empty(), 4.0);
///         }
///     }
/// }
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let threads = Descriptor::builder("process.threads", Kind::Gauge).build()?;
/// runtime.add_source("process", Duration::from_secs(1), Threads(threads))?;
/// assert_eq!(runtime.refresh_sources(), 1);
/// assert_eq!(runtime.refresh_sources(), 0); // not yet again
/// let snapshot = runtime.collect();
/// let families = snapshot.families(Fold::Group);
/// let series = families[0].parts()[0].family().series().next();
/// assert_eq!(series.and_then(|series| series.value().gauge()), Some(4.0));
/// # Ok(())
/// # }
/// ```
pub trait Source: Send + 'static {
    /// What it gives; asked once, when it is added. At most [`MAX_SOURCE_METRICS`](crate::limits::MAX_SOURCE_METRICS).
    fn descriptors(&self) -> Vec<Arc<Descriptor>>;

    /// Reads, and writes what it has read. A family that is not written is not shown.
    fn collect(&mut self, writer: &mut SourceWriter<'_>);
}

/// What a [`Source`] writes to: a family for each of its descriptors, and for each that it finds.
#[derive(Debug)]
pub struct SourceWriter<'a> {
    families: &'a mut Vec<Family>,
    found: &'a mut HashMap<MetricName, Arc<Descriptor>>,
    entry: &'a Entry,
    faults: &'a mut Faults,
    now: Timestamp,
}

/// What a source could not show at one look.
#[derive(Debug, Default)]
struct Faults {
    count: u64,
    first: Option<Error>,
}

impl Faults {
    fn add(&mut self, count: u64, why: impl FnOnce() -> Error) {
        if count > 0 {
            self.count = self.count.saturating_add(count);
            self.first.get_or_insert_with(why);
        }
    }
}

impl SourceWriter<'_> {
    /// A writer for the metric of this descriptor, or `None` if the source has not declared one of this name. Asking again starts the
    /// family anew. Each metric is bounded by its cardinality.
    pub fn family(&mut self, of: &Descriptor) -> Option<FamilyWriter<'_>> {
        let family = self.families.iter_mut().find(|family| family.name() == of.name())?;
        Some(FamilyWriter::whole(family))
    }

    /// A writer for a metric that is known only now, as those of another library's registry are. It is declared as the others were, under this
    /// source's name. At another look it may have another shape, such as a label more, unless another source or a recorder has a metric of its
    /// name by then; and one that is not written is not shown. Asking again within a look starts the family anew.
    ///
    /// Costs a look-up, and a copy of the name at the first time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MetricConflict`] where an exporter could not tell it from a metric of somebody else's, or one of the runtime's constant labels
    /// has a key of it; [`ErrorKind::LimitReached`] past [`MAX_FOUND_METRICS`](crate::limits::MAX_FOUND_METRICS) names in the life of a source.
    /// Either is counted in [`SourceStatus::faults`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use mvx_metrics::{Descriptor, Fold, Kind, LabelSet, Source, SourceWriter};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// struct Disks;
    ///
    /// impl Source for Disks {
    ///     fn descriptors(&self) -> Vec<Arc<Descriptor>> {
    ///         Vec::new() // which there are is seen when it looks
    ///     }
    ///
    ///     fn collect(&mut self, writer: &mut SourceWriter<'_>) {
    ///         for (name, free) in [("disk.free", 2.5), ("disk.saves", 1.0)] {
    ///             let Ok(gauge) = Descriptor::builder(name, Kind::Gauge).build() else { continue };
    ///             if let Ok(mut family) = writer.find(&gauge) {
    ///                 family.gauge(&LabelSet::empty(), free);
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let _storage = runtime.recorder::<Saved>("storage").counter("disk.saves", |c| c).create()?;
    /// runtime.add_source("disks", Duration::from_secs(1), Disks)?;
    /// runtime.refresh_sources();
    /// let snapshot = runtime.collect();
    /// let names: Vec<_> = snapshot.families(Fold::Group).iter().map(|family| family.descriptor().to_string()).collect();
    /// assert_eq!(names, ["disk.free: gauge", "disk.saves: counter"]); // the name was the recorder's first
    /// assert_eq!(runtime.sources()[0].faults, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn find(&mut self, metric: &Arc<Descriptor>) -> Result<FamilyWriter<'_>, Error> {
        if let Err(error) = self.declare(metric) {
            self.fault(1, error.clone());
            return Err(error);
        }
        let at = self.families.iter().position(|family| family.name() == metric.name());
        let at = at.unwrap_or(self.families.len());
        let fresh = Family::new(Arc::clone(metric));
        match self.families.get_mut(at) {
            Some(family) => *family = fresh,
            None => self.families.push(fresh),
        }
        self.families.get_mut(at).map(FamilyWriter::whole).ok_or_else(|| {
            // It has just been put there.
            Error::new(ErrorKind::NotFound, format!("metric {} is not there", metric.name()))
        })
    }

    fn declare(&mut self, metric: &Arc<Descriptor>) -> Result<(), Error> {
        let known = self.found.get(metric.name());
        if known.is_some_and(|known| **known == **metric) {
            return Ok(());
        }
        if known.is_none() && self.found.len() >= limits::MAX_FOUND_METRICS {
            let message = format!(
                "metric {} is one too many; source {} has found {} in its life",
                metric.name(),
                self.entry.name,
                limits::MAX_FOUND_METRICS
            );
            return Err(Error::new(ErrorKind::LimitReached, message));
        }
        self.entry.hub.catalogue.declare_found(&Owner::Source(self.entry.name.clone()), metric)?;
        self.found.insert(metric.name().clone(), Arc::clone(metric));
        Ok(())
    }

    /// Says that so many series, or whatever the source reads, cannot be shown, and why. It is counted in [`SourceStatus::faults`]; of one look the
    /// first reason is kept. What a family refuses or has no room for is counted there without this.
    pub fn fault(&mut self, count: u64, why: Error) {
        self.faults.add(count, || why);
    }

    /// The time of this collection, by the runtime's clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

/// How a source has done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// How often it has given its families.
    pub runs: u64,
    /// Whether it has panicked, and is asked no more.
    pub is_quarantined: bool,
    /// How often it was not waited for any longer, because it took more time than a collection has. Its call goes on, and keeps one of
    /// [`SOURCE_THREADS`](crate::limits::SOURCE_THREADS) threads; nobody waits for it again before it is over.
    pub abandoned: u64,
    /// Series, and whatever else it reads, that it could not show: what a [family](crate::FamilyWriter) refuses or has no room for, metrics that
    /// [conflict](SourceWriter::find) with others, and what it [says itself](SourceWriter::fault). Counted at each look anew.
    pub faults: u64,
    /// Why, by the last look that had any; its first reason.
    pub last_fault: Option<Error>,
    /// Since when it is being asked, if it is. One that does not come back holds up nobody: others go on with what it gave last.
    pub running_since: Option<Timestamp>,
}

#[derive(Default)]
pub(crate) struct Sources {
    entries: Mutex<Vec<Arc<Entry>>>,
    /// The threads on which they are asked before a collection; none before the first.
    #[cfg(feature = "export")]
    pub(super) pool: OnceLock<Box<dyn RunsJobs>>,
}

pub(super) struct Entry {
    name: RecorderId,
    interval: Duration,
    source: Exclusive<Asked>,
    given: Mutex<Arc<Vec<Family>>>,
    runs: AtomicU64,
    panics: AtomicU64,
    abandoned: AtomicU64,
    faults: AtomicU64,
    last_fault: Mutex<Option<Error>>,
    /// Whose catalogue has the names.
    hub: Arc<Hub>,
    /// The call that collections wait for.
    #[cfg(feature = "export")]
    pub(super) call: Mutex<Option<Call>>,
    /// Nanoseconds since the Unix epoch; 0 if it is not running.
    running_since: AtomicU64,
}

struct Asked {
    source: Option<Box<dyn Source>>,
    descriptors: Vec<Arc<Descriptor>>,
    /// What it found by looking, in the whole of its life.
    found: HashMap<MetricName, Arc<Descriptor>>,
    due: Timestamp,
}

impl Sources {
    /// What every source gave last.
    pub(in crate::runtime) fn given(&self) -> Vec<Arc<Vec<Family>>> {
        let entries = self.list();
        entries
            .iter()
            .map(|entry| Arc::clone(&entry.given.lock()))
            .filter(|given| !given.is_empty())
            .collect()
    }

    pub(super) fn list(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().clone()
    }

    pub(super) fn statuses(&self) -> Vec<SourceStatus> {
        self.list().iter().map(|entry| entry.status()).collect()
    }
}

impl Entry {
    /// Whether it is due, nobody asks it, and it is well.
    #[cfg(feature = "export")]
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let Some(asked) = self.source.claim() else { return false };
        // As in `ask`, for a clock that was set back.
        asked.source.is_some() && now >= asked.due.min(now.saturating_add(self.interval))
    }

    #[cfg(feature = "export")]
    pub(super) fn count_abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks the source if it is due, nobody else asks it, and it is well; true if it has given its families.
    pub(super) fn ask(&self, now: Timestamp) -> bool {
        let Some(mut asked) = self.source.claim() else { return false };
        let Asked { source, descriptors, found, due } = &mut *asked;
        // A clock that was set back puts it off for an interval at most.
        *due = (*due).min(now.saturating_add(self.interval));
        if now < *due {
            return false;
        }
        let Some(well) = source else { return false };
        *due = now.saturating_add(self.interval);
        let mut families: Vec<_> =
            descriptors.iter().map(|descriptor| Family::new(Arc::clone(descriptor))).collect();
        self.running_since.store(now.unix_nanos().max(1), Ordering::Relaxed);
        let mut faults = Faults::default();
        let mut writer =
            SourceWriter { families: &mut families, found, entry: self, faults: &mut faults, now };
        let result = call_user(|| well.collect(&mut writer));
        self.running_since.store(0, Ordering::Relaxed);
        if let Err(payload) = result {
            self.panics.fetch_add(1, Ordering::Relaxed);
            // What it gave before would age without anybody noticing.
            *self.given.lock() = Arc::default();
            drop_quietly((source.take(), payload));
            return false;
        }
        for family in &families {
            let refused = family.faults().saturating_add(family.overflowed());
            faults.add(refused, || {
                let message = format!("{refused} series of {} do not fit it, or find no room", family.name());
                Error::new(ErrorKind::InvalidLimit, message)
            });
        }
        self.note(faults);
        families.retain(|family| !family.is_empty());
        *self.given.lock() = Arc::new(families);
        self.runs.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn note(&self, faults: Faults) {
        self.faults.fetch_add(faults.count, Ordering::Relaxed);
        if faults.first.is_some() {
            *self.last_fault.lock() = faults.first;
        }
    }

    fn status(&self) -> SourceStatus {
        let since = self.running_since.load(Ordering::Relaxed);
        SourceStatus {
            name: self.name.as_str().to_owned(),
            runs: self.runs.load(Ordering::Relaxed),
            abandoned: self.abandoned.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            last_fault: self.last_fault.lock().clone(),
            is_quarantined: self.panics.load(Ordering::Relaxed) > 0,
            running_since: (since > 0).then(|| Timestamp::from_unix_nanos(since)),
        }
    }
}

/// The last owner may be whoever collects.
impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(mut asked) = self.source.claim() {
            drop_quietly(asked.source.take());
        }
    }
}

pub(in crate::runtime) fn add(
    inner: &Inner,
    name: &str,
    interval: Duration,
    source: impl Source,
) -> Result<(), Error> {
    let name = RecorderId::new(name)?;
    let descriptors = call_user(|| source.descriptors()).map_err(|payload| {
        drop_quietly(payload);
        Error::new(
            ErrorKind::HookFailed,
            format!("source {name} panicked over its descriptors; mend it, and add it again"),
        )
    })?;
    if descriptors.len() > limits::MAX_SOURCE_METRICS {
        let message = format!(
            "source {name} has {} metrics; give at most {}, and the others by a second source",
            descriptors.len(),
            limits::MAX_SOURCE_METRICS
        );
        return Err(Error::new(ErrorKind::LimitReached, message));
    }
    let entry = Arc::new(Entry {
        name: name.clone(),
        interval,
        source: Exclusive::new(Asked {
            source: Some(Box::new(source)),
            descriptors: descriptors.clone(),
            found: HashMap::new(),
            due: Timestamp::default(),
        }),
        given: Mutex::default(),
        runs: AtomicU64::new(0),
        panics: AtomicU64::new(0),
        abandoned: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        last_fault: Mutex::default(),
        hub: Arc::clone(&inner.control.hub),
        #[cfg(feature = "export")]
        call: Mutex::new(None),
        running_since: AtomicU64::new(0),
    });
    inner.control.hub.catalogue.declare(&Owner::Source(name.clone()), &descriptors, || {
        let mut entries = inner.sources.entries.lock();
        if entries.iter().any(|known| known.name == name) {
            let message = format!("source {name} exists already; remove it first, or choose another name");
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        if entries.len() >= limits::MAX_SOURCES {
            let message =
                format!("source {name} is one too many; a runtime has at most {}", limits::MAX_SOURCES);
            return Err(Error::new(ErrorKind::LimitReached, message));
        }
        entries.push(Arc::clone(&entry));
        Ok(())
    })
}

/// Asks every source that is due, on this thread.
pub(in crate::runtime) fn refresh(inner: &Inner) -> usize {
    if own_thread::is_own() || inner.control.hub.is_forked() {
        return 0;
    }
    let entries = inner.sources.list();
    entries.iter().filter(|entry| entry.ask(inner.settings.clock.now())).count()
}

impl MetricsRuntime {
    /// Adds a source, which is asked at most once in `interval`. Its metrics are declared as a recorder's are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidId`] for a blank name, [`ErrorKind::AlreadyExists`], [`ErrorKind::LimitReached`] beyond
    /// [`MAX_SOURCES`](crate::limits::MAX_SOURCES) or [`MAX_SOURCE_METRICS`](crate::limits::MAX_SOURCE_METRICS),
    /// [`ErrorKind::MetricConflict`], and [`ErrorKind::HookFailed`] if it panics over its descriptors. Nothing is added then.
    pub fn add_source(&self, name: &str, interval: Duration, source: impl Source) -> Result<(), Error> {
        add(&self.inner, name, interval, source)
    }

    /// Removes a source, with what it gave; false if there is none of this name. If it is being asked at this moment, it is dropped by
    /// whoever asks it.
    pub fn remove_source(&self, name: &str) -> bool {
        let mut entries = self.inner.sources.entries.lock();
        let found = entries.iter().position(|entry| entry.name.as_str() == name.trim());
        let removed = found.map(|at| entries.remove(at));
        drop(entries);
        // After the lock: it is the user's.
        removed.is_some()
    }

    /// Asks every source that is due, on this thread, one after another; how many have given their families. What they gave is in every
    /// [`collect`](Self::collect) from then on. Exporters and servers need no such call: they ask by themselves, on threads for that.
    ///
    /// Runs user code: call it where a slow source does no harm. On the runtime's own threads it does nothing.
    pub fn refresh_sources(&self) -> usize {
        refresh(&self.inner)
    }

    /// How every source has done, in the order in which they were added.
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.inner.sources.statuses()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.statuses()).finish()
    }
}

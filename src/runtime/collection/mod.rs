//! What exporters read: the state of a whole runtime, by metric.

#[cfg(feature = "export")]
pub(crate) mod asking;
mod by_group;
mod by_recorder;
pub(crate) mod diagnosis;
pub(crate) mod exported;
pub(crate) mod merge;
mod parts;
pub(crate) mod scope;
mod served;
pub(crate) mod servers;
pub(crate) mod source;
pub(crate) mod view;
pub(super) mod vitals;
#[cfg(feature = "serde")]
mod wire;

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::label::LabelSet;
use crate::model::snapshot::Family;
use crate::model::snapshot::SeriesRef;
use crate::recorder::catalogue::refuse_twice;
use crate::recorder::groups::Retired;
use crate::recorder::hosted::Hosted;
use crate::recorder::view::Snapshot;
use crate::runtime::Inner;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::parts::Parts;
use crate::runtime::collection::scope::Scope;
use crate::runtime::collection::servers::Served;
use crate::runtime::collection::source::SourceStatus;
use crate::runtime::collection::view::View;
use crate::runtime::followers::ExporterStatus;
use crate::runtime::registry::Registry;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How the recorders of a runtime are shown by an exporter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fold {
    /// Each recorder by itself, told apart by the label `recorder`.
    #[default]
    Recorder,
    /// Each group as one recorder: counts, buckets and sums are added, gauges folded by their
    /// [`GaugeFold`](crate::GaugeFold). Recorders that name no [group](crate::RecorderBuilder::group) are one group, so a metric of
    /// theirs has one part. What removed recorders have counted is among it; their levels (gauges and up-down counters) are not.
    ///
    /// A custom metric of free fields cannot be added: it has a part for each recorder, as in [`Fold::Recorder`].
    Group,
}

/// The state of every recorder of a runtime, taken for an exporter.
///
/// Each recorder's part is consistent in itself; they are taken one after another. Immutable, and independent of the runtime: it can
/// be kept, sent to another thread and read after everything is gone. `Clone` shares the recorders' states.
///
/// # Examples
///
/// ```
/// use mvx_metrics::Fold;
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// for id in ["left", "right"] {
///     let recorder = runtime.recorder::<Saved>(id).counter("document.saves", |c| c).create()?;
///     recorder.register_event(Saved);
///     recorder.flush_blocking(Duration::from_secs(5))?;
/// }
/// let snapshot = runtime.collect();
/// assert_eq!((snapshot.namespace(), snapshot.recorders().len()), ("docs", 2));
/// let families = snapshot.families(Fold::Recorder);
/// assert_eq!((families.len(), families[0].descriptor().name().as_str()), (1, "document.saves"));
/// let ids: Vec<_> = families[0].parts().iter().flat_map(|part| part.scope().labels()).collect();
/// assert_eq!(ids, [("recorder", "left"), ("recorder", "right")]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RuntimeSnapshot {
    namespace: Box<str>,
    started: Timestamp,
    taken_at: Timestamp,
    recorders: Vec<Snapshot>,
    retired: Arc<Retired>,
    limit: usize,
    /// What sources gave, and what was added by hand.
    read: Vec<Arc<Vec<Family>>>,
    publication_interval: Duration,
    /// How often callers woke the worker; `None` where that is not known, or of several.
    wakes: Option<u64>,
    /// Recorders that found no room; `None` of several runtimes.
    refused: Option<u64>,
    exporters: Vec<ExporterStatus>,
    sources: Vec<SourceStatus>,
    servers: Vec<Served>,
    view: Option<View>,
    constant_labels: LabelSet,
}

/// How many recorders ahead memory is asked for: of very many, each is in cache lines of its own.
const AHEAD: usize = 8;

/// The state of each recorder, as they were made, which is mostly how they lie in memory.
fn read(list: &[Arc<dyn Hosted>]) -> Vec<Snapshot> {
    let mut read = Vec::with_capacity(list.len());
    for (at, recorder) in list.iter().enumerate() {
        if let Some(ahead) = list.get(at + AHEAD) {
            ahead.fetch_for_reading();
        }
        read.push(recorder.snapshot());
    }
    read
}

impl RuntimeSnapshot {
    pub(in crate::runtime) fn take(runtime: &Inner) -> Self {
        let (retired, list, recorders) =
            runtime.control.hub.groups.view(|| runtime.registry.all(), |list| read(list));
        Registry::give_back(list);
        Self {
            namespace: runtime.namespace.as_str().into(),
            started: runtime.built_at,
            taken_at: runtime.settings.clock.now(),
            recorders,
            retired,
            limit: runtime.settings.exported_cardinality as usize,
            read: runtime.sources.given(),
            publication_interval: runtime.control.publication_interval(),
            wakes: Some(runtime.control.hub.wakes()),
            refused: Some(runtime.registry.refused()),
            exporters: runtime.followers.statuses(),
            sources: runtime.sources.statuses(),
            servers: runtime.servers.served(),
            view: None,
            constant_labels: runtime.settings.constant_labels.clone(),
        }
    }

    /// The runtime's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// When the runtime was built: the start of everything that it counts.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// When the snapshot was taken, by the runtime's clock.
    pub fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    /// The labels that every series of the runtime has; see [`RuntimeBuilder::constant_label`](crate::RuntimeBuilder::constant_label).
    pub fn constant_labels(&self) -> &LabelSet {
        &self.constant_labels
    }

    /// The state of each recorder, in the order of creation.
    pub fn recorders(&self) -> impl ExactSizeIterator<Item = &Snapshot> {
        self.recorders.iter()
    }

    /// Every metric once, by name, with a part for each recorder or group that has it; in the order of their names, the parts in the
    /// order of creation, groups in that of their names.
    ///
    /// What changes by the passing of time is evaluated at [`taken_at`](Self::taken_at): heartbeats and rates are gauges here, windowed
    /// summaries are summaries. Infos and state sets of a group are counted: how many recorders show the same labels, or have a state on.
    ///
    /// A series that was stated before, by another source or by recorders, is left out and [counted](Self::doubled): no format shows one twice.
    ///
    /// By recorder it costs a look at each metric of each recorder, and copies no values but those. By group it costs an addition for each series
    /// of each recorder.
    pub fn families(&self, fold: Fold) -> Vec<ExportedFamily<'_>> {
        self.families_within(fold, self.limit)
    }

    /// The same with every series by itself, however many there are: for whoever adds them up.
    #[cfg(feature = "otlp")]
    pub(crate) fn all_families(&self, fold: Fold) -> Vec<ExportedFamily<'_>> {
        self.families_within(fold, usize::MAX >> 1)
    }

    fn families_within(&self, fold: Fold, limit: usize) -> Vec<ExportedFamily<'_>> {
        let mut families = match self.view.as_ref().map_or(fold, |view| view.fold(fold)) {
            Fold::Recorder => by_recorder::families(&self.recorders, limit),
            Fold::Group => {
                by_group::families(&self.recorders, &self.retired, limit, Parts::of(self.recorders.len()))
            }
        };
        for family in self.read.iter().flat_map(|given| given.iter()) {
            exported::enter(&mut families, Scope::Runtime, Cow::Borrowed(family));
        }
        if !self.read.is_empty() {
            families.iter_mut().for_each(ExportedFamily::leave_out_doubled);
        }
        families.iter_mut().for_each(|family| family.settle(self.taken_at));
        self.label(&mut families);
        if let Some(view) = &self.view {
            view.apply(&mut families, false, self.taken_at);
        }
        families
    }

    /// What the runtime says of itself, by group: where every event offered to its recorders has ended, those of removed recorders
    /// included, what came of each exporter's deliveries, how each source has done, what each server has done that serves and how often a caller had to wake the worker, as metrics named `mvx.*`, in the order of their names. Costs a look at each
    /// recorder.
    ///
    /// What is offered to a handle after its recorder was removed is in the accounts of the handle alone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let storage = runtime.recorder::<Saved>("storage").create()?;
    /// storage.register_event(Saved);
    /// let snapshot = runtime.collect();
    /// let vitals = snapshot.vitals();
    /// let accepted = vitals.iter().find(|family| family.descriptor().name().as_str() == "mvx.events.accepted");
    /// let series = accepted.and_then(|family| family.parts()[0].family().series().next());
    /// assert_eq!(series.and_then(|series| series.value().counter()), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn vitals(&self) -> Vec<ExportedFamily<'_>> {
        let mut families = vitals::families(self);
        self.label(&mut families);
        if let Some(view) = &self.view {
            view.apply(&mut families, true, self.taken_at);
        }
        families
    }

    fn label<'a>(&'a self, families: &mut [ExportedFamily<'a>]) {
        if self.constant_labels != LabelSet::empty() {
            families.iter_mut().for_each(|family| family.label_all(&self.constant_labels));
        }
    }

    /// Adds families of the runtime or its process, which were read elsewhere: for whoever exports.
    ///
    /// Adding copies nothing. A family of a name that a recorder or a source has is a part of that metric, under
    /// [`Scope::Runtime`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MetricConflict`] if one of them differs in shape from a metric of its name, states a series that another one of its name or a
    /// source has stated, or has a label of the key of one of the runtime's constant labels; nothing is added then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Descriptor, Family, Fold, Kind, MetricsRuntime};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let mut snapshot = runtime.collect();
    /// snapshot.add(vec![Family::new(Descriptor::builder("edge.requests", Kind::Counter).build()?)])?;
    /// assert_eq!(snapshot.families(Fold::Group)[0].descriptor().name().as_str(), "edge.requests");
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn add(&mut self, families: Vec<Family>) -> Result<(), Error> {
        let of_recorders = self.recorders.iter().flat_map(|recorder| recorder.cut.metrics.iter());
        let known = of_recorders.map(|metric| &metric.family);
        for there in known.chain(self.read.iter().flat_map(|given| given.iter())) {
            let same = families.iter().find(|family| family.name() == there.name());
            let differences = same.and_then(|here| there.descriptor().differences(here.descriptor()));
            if let Some(differences) = differences {
                let message = format!(
                    "the family {} that is added differs from the metric of that name: {differences}; give it another name",
                    there.name()
                );
                return Err(Error::new(ErrorKind::MetricConflict, message));
            }
        }
        families.iter().try_for_each(|family| refuse_twice(&self.constant_labels, family.descriptor()))?;
        for (at, here) in families.iter().enumerate() {
            let others = families.iter().take(at).chain(self.read.iter().flat_map(|given| given.iter()));
            others
                .filter(|there| there.name() == here.name())
                .try_for_each(|there| refuse_stated(there, here))?;
        }
        self.read.push(Arc::new(families));
        Ok(())
    }
}

/// Refuses a family of the same name that differs in shape, or has a series of the other one's.
fn refuse_stated(there: &Family, here: &Family) -> Result<(), Error> {
    let stated: HashSet<_> = there.series().map(by_labels).collect();
    let why = match there.descriptor().differences(here.descriptor()) {
        Some(differences) => differences,
        None if here.series().map(by_labels).any(|series| stated.contains(&series)) => {
            "a series of it is stated twice".to_owned()
        }
        None => return Ok(()),
    };
    let message = format!(
        "the family {} cannot be added to another of that name: {why}; give it another name, or other labels",
        here.name()
    );
    Err(Error::new(ErrorKind::MetricConflict, message))
}

/// What tells a series from others of its family.
pub(super) fn by_labels(series: SeriesRef<'_>) -> (bool, Vec<(&str, &str)>) {
    let mut labels: Vec<_> = series.labels().iter().collect();
    labels.sort_unstable();
    (series.is_overflow(), labels)
}

impl fmt::Debug for RuntimeSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeSnapshot")
            .field("namespace", &self.namespace)
            .field("taken_at", &self.taken_at)
            .field("recorders", &self.recorders)
            .finish()
    }
}

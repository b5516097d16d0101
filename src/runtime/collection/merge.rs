//! The runtimes of several processes as one.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::label::LabelSet;
use crate::model::limits;
use crate::model::name::LabelKey;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::queue::published::Shared;
use crate::recorder::builder::check_limit;
use crate::recorder::groups::Retired;
use crate::recorder::view::Cut;
use crate::recorder::view::Snapshot;
use crate::runtime::collection::RuntimeSnapshot;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The label that tells the processes of a [`ProcessMerge`] apart.
const PROCESS: &str = "process";

/// Lives of a process that are remembered after they are over, so that what comes late of them is not taken for another life.
const OVER: usize = 64;

/// Runtimes of several processes as one: for a parent whose workers measure, each for itself, and which alone is scraped.
///
/// Each process gives its [`RuntimeSnapshot`]s, mostly by serde, under a name that is its own; the merge shows the last one of each.
/// A process that was started again counts from 0. It is told by its epoch, the time at which its runtime was built, and not by its
/// numbers: what its lives before have counted stays in the totals of their groups, which so never go backwards, and nothing is taken for a counter that wrapped.
///
/// | shown | by recorder | by group |
/// |---|---|---|
/// | counts, buckets, extremes, integer sums, sums of durations | as they are, under the label `process` | added exactly |
/// | sums of fractions | as they are | added exactly, and rounded once, when they are read |
/// | quantiles of summaries | as they are | of all observations, with the precision of their metric |
/// | gauges and up-down counters | as they are | by their fold, of the lives under way |
/// | what sources gave, infos, state sets, custom fields | as they are | of the lives under way |
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::{Fold, ProcessMerge, ProcessUpdate};
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let process = |saves: u32| -> Result<_, mvx_metrics::Error> {
///     let runtime = MetricsRuntime::builder("worker").build()?;
///     runtime.start()?;
///     let storage = runtime.recorder::<Saved>("storage").counter("saves", |c| c).create()?;
///     (0..saves).for_each(|_| storage.register_event(Saved));
///     storage.flush_blocking(Duration::from_secs(5))?;
///     Ok(runtime.collect())
/// };
/// let mut merge = ProcessMerge::new("service")?;
/// merge.update("1", process(3)?)?;
/// merge.update("2", process(4)?)?;
/// assert_eq!(merge.update("2", process(5)?)?, ProcessUpdate::Restarted);
/// let snapshot = merge.snapshot();
/// let families = snapshot.families(Fold::Group);
/// let saves = families[0].parts()[0].family().series().next().and_then(|series| series.value().counter());
/// assert_eq!(saves, Some(3 + 4 + 5));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ProcessMerge {
    namespace: RecorderId,
    limit: usize,
    processes: BTreeMap<Box<str>, Process>,
    /// What lives that are over have counted.
    gone: Retired,
    /// When the first life began of which anything is shown.
    started: Option<Timestamp>,
    /// What each name means; it does not change.
    shapes: HashMap<MetricName, Arc<Descriptor>>,
}

#[derive(Clone)]
struct Process {
    last: RuntimeSnapshot,
    /// The starts of its lives before, the latest last.
    over: VecDeque<Timestamp>,
}

/// What a snapshot was that was given to a [`ProcessMerge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessUpdate {
    /// The first of its process.
    First,
    /// A later one of the same life.
    Later,
    /// The first of another life; what the one before has counted is kept.
    Restarted,
    /// Not later than the last one, or of a life that is over: nothing has changed.
    Stale,
}

impl ProcessMerge {
    /// No process yet; the namespace is that of what is shown.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidId`] for a blank namespace.
    pub fn new(namespace: &str) -> Result<Self, Error> {
        Ok(Self {
            namespace: RecorderId::new(namespace)?,
            limit: limits::DEFAULT_EXPORTED_CARDINALITY as usize,
            processes: BTreeMap::new(),
            gone: Retired::default(),
            started: None,
            shapes: HashMap::new(),
        })
    }

    /// How many series of one metric are shown over all processes; see
    /// [`RuntimeBuilder::exported_cardinality`](crate::RuntimeBuilder::exported_cardinality).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidLimit`] unless it is from 1 to [`MAX_CARDINALITY`](crate::limits::MAX_CARDINALITY).
    pub fn exported_cardinality(mut self, series: u32) -> Result<Self, Error> {
        check_limit(format_args!("an exported cardinality of {series}"), series, limits::MAX_CARDINALITY)?;
        self.limit = series as usize;
        Ok(self)
    }

    /// Takes the state of a process. Costs a look at each of its metrics, and an addition for each series when another life has begun.
    ///
    /// Those of one process are to be given in the order in which they were taken. A view that is laid over one has no say.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MetricConflict`] if a metric of the name and another shape is or was in any process, or a recorder or metric has a
    /// label `process`; [`ErrorKind::InvalidLimit`] if another label is one too many; [`ErrorKind::InvalidId`] for a process without a name; [`ErrorKind::LimitReached`] for one more than
    /// [`MAX_MERGED_PROCESSES`](crate::limits::MAX_MERGED_PROCESSES). Nothing has changed then.
    pub fn update(&mut self, process: &str, snapshot: RuntimeSnapshot) -> Result<ProcessUpdate, Error> {
        let process = RecorderId::new(process)?;
        let known = self.processes.get(process.as_str());
        if known.is_some_and(|known| known.is_before(&snapshot)) {
            return Ok(ProcessUpdate::Stale);
        }
        if known.is_none() && self.processes.len() >= limits::MAX_MERGED_PROCESSES {
            let message = format!(
                "process {process} is one too many: {} are merged; remove those that are gone for good",
                limits::MAX_MERGED_PROCESSES
            );
            return Err(Error::new(ErrorKind::LimitReached, message));
        }
        let fresh = self.check(&snapshot)?;
        // As it will be shown: whatever is wrong with it is told now.
        Labelled::new(process.as_str(), &snapshot, &LabelSet::empty())?;
        self.shapes.extend(fresh);
        self.started = Some(self.started.map_or(snapshot.started, |first| first.min(snapshot.started)));
        let Some(known) = self.processes.get_mut(process.as_str()) else {
            let entry = Process { last: snapshot, over: VecDeque::new() };
            self.processes.insert(process.as_str().into(), entry);
            return Ok(ProcessUpdate::First);
        };
        let before = std::mem::replace(&mut known.last, snapshot);
        if before.started == known.last.started {
            return Ok(ProcessUpdate::Later);
        }
        known.over.push_back(before.started);
        if known.over.len() > OVER {
            known.over.pop_front();
        }
        keep_life(&mut self.gone, &before, self.limit);
        Ok(ProcessUpdate::Restarted)
    }

    /// Shows a process no more; what it has counted stays in the totals of its groups. `false` if there is none of this name.
    pub fn remove(&mut self, process: &str) -> bool {
        let Some(removed) = self.processes.remove(process.trim()) else { return false };
        keep_life(&mut self.gone, &removed.last, self.limit);
        true
    }

    /// The names of the processes, sorted.
    pub fn processes(&self) -> impl Iterator<Item = &str> {
        self.processes.keys().map(|name| &**name)
    }

    /// All processes as one runtime, for whoever exports. Costs a copy of every value.
    ///
    /// Labels that all of their runtimes have are those of the whole, others are with the recorders of their process. The
    /// states of their exporters, sources and workers are not shown.
    pub fn snapshot(&self) -> RuntimeSnapshot {
        let common = self.common_labels();
        let mut retired = self.gone.clone();
        let (mut recorders, mut read, mut interval) = (Vec::new(), Vec::new(), Duration::ZERO);
        let mut taken_at = Timestamp::default();
        for (name, process) in &self.processes {
            let last = &process.last;
            retired.keep_totals(&last.retired, self.limit);
            interval = interval.max(last.publication_interval);
            taken_at = taken_at.max(last.taken_at);
            // Looked at when it was taken: all of it can be shown.
            if let Ok(labelled) = Labelled::new(name, last, &common) {
                recorders.extend(labelled.recorders);
                read.push(Arc::new(labelled.read));
            }
        }
        RuntimeSnapshot {
            namespace: self.namespace.as_str().into(),
            started: self.started.unwrap_or_default(),
            taken_at,
            recorders,
            retired: Arc::new(retired),
            limit: self.limit,
            read,
            publication_interval: interval,
            wakes: None,
            refused: None,
            exporters: Vec::new(),
            sources: Vec::new(),
            servers: Vec::new(),
            view: None,
            constant_labels: common,
        }
    }

    /// The shapes that are new, if none of them contradicts one that is known.
    fn check(&self, snapshot: &RuntimeSnapshot) -> Result<HashMap<MetricName, Arc<Descriptor>>, Error> {
        let mut fresh: HashMap<MetricName, Arc<Descriptor>> = HashMap::new();
        for descriptor in snapshot.descriptors() {
            let name = descriptor.name();
            let Some(there) = self.shapes.get(name).or_else(|| fresh.get(name)) else {
                fresh.insert(name.clone(), Arc::clone(descriptor));
                continue;
            };
            if Arc::ptr_eq(there, descriptor) {
                continue;
            }
            if let Some(differences) = there.differences(descriptor) {
                let message = format!(
                    "metric {name} differs from that of another process: {differences}; run one version of the program, or give it another name"
                );
                return Err(Error::new(ErrorKind::MetricConflict, message));
            }
        }
        Ok(fresh)
    }

    /// What all runtimes have.
    fn common_labels(&self) -> LabelSet {
        let mut all = self.processes.values().map(|process| &process.last.constant_labels);
        let Some(first) = all.next() else { return LabelSet::empty() };
        let rest: Vec<_> = all.collect();
        let common = first.iter().filter(|(key, value)| rest.iter().all(|set| set.get(key) == Some(*value)));
        LabelSet::new(common).unwrap_or_default()
    }
}

impl Process {
    /// Whether it has shown a later state already.
    fn is_before(&self, snapshot: &RuntimeSnapshot) -> bool {
        let same_life = self.last.started == snapshot.started;
        if same_life {
            snapshot.taken_at <= self.last.taken_at
        } else {
            self.over.contains(&snapshot.started)
        }
    }
}

/// The recorders and sources of a process, with the labels that tell them from those of others.
struct Labelled {
    recorders: Vec<Snapshot>,
    read: Vec<Family>,
}

impl Labelled {
    fn new(process: &str, of: &RuntimeSnapshot, common: &LabelSet) -> Result<Self, Error> {
        let own = of.constant_labels.iter().filter(|(key, _)| common.get(key).is_none());
        let added = LabelSet::new(own.chain([(PROCESS, process)]))?;
        if let Some(descriptor) = of.descriptors().find(|descriptor| has(descriptor, PROCESS)) {
            return Err(taken(&format!("metric {}", descriptor.name())));
        }
        let mut recorders = Vec::with_capacity(of.recorders.len());
        for recorder in &of.recorders {
            if recorder.constant_labels().get(PROCESS).is_some() {
                return Err(taken(&format!("recorder {}", recorder.id())));
            }
            recorders.push(labelled(recorder, &added)?);
        }
        let families = of.read.iter().flat_map(|given| given.iter());
        let name = LabelSet::new([(PROCESS, process)])?;
        let read = families.map(|family| family.with_labels(&name)).collect::<Result<_, _>>()?;
        Ok(Self { recorders, read })
    }
}

/// Keeps what a life of a process has counted.
fn keep_life(gone: &mut Retired, last: &RuntimeSnapshot, limit: usize) {
    gone.keep_totals(&last.retired, limit);
    last.recorders.iter().for_each(|recorder| gone.keep_recorder(recorder, limit));
}

fn has(descriptor: &Descriptor, label: &str) -> bool {
    descriptor.label_keys().iter().any(|key: &LabelKey| key.as_str() == label)
}

fn taken(whose: &str) -> Error {
    let message =
        format!("{whose} has a label `{PROCESS}`, which tells merged processes apart; give it another key");
    Error::new(ErrorKind::MetricConflict, message)
}

fn labelled(recorder: &Snapshot, added: &LabelSet) -> Result<Snapshot, Error> {
    let Cut { identity, version, sequence, taken_at, metrics, composition, quarantined_observers } =
        &*recorder.cut;
    let constant_labels = LabelSet::new(identity.constant_labels().iter().chain(added.iter()))?;
    let cut = Cut {
        identity: Arc::new(identity.with_constant(constant_labels)),
        version: *version,
        sequence: *sequence,
        taken_at: *taken_at,
        metrics: metrics.clone(),
        composition: *composition,
        quarantined_observers: *quarantined_observers,
    };
    Ok(Snapshot { cut: Shared::new(cut), ..recorder.clone() })
}

impl RuntimeSnapshot {
    /// Of everything that it shows, but for its own metrics.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = &Arc<Descriptor>> {
        let of_recorders = self.recorders.iter().flat_map(|recorder| recorder.cut.metrics.iter());
        let live = of_recorders.map(|metric| &metric.family);
        let gone = self.retired.families.values().map(|kept| kept.shape());
        let read = self.read.iter().flat_map(|given| given.iter());
        live.chain(read).map(Family::descriptor).chain(gone)
    }
}

impl fmt::Debug for ProcessMerge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessMerge")
            .field("namespace", &self.namespace)
            .field("processes", &self.processes.keys())
            .field("gone", &self.gone.families.len())
            .finish_non_exhaustive()
    }
}

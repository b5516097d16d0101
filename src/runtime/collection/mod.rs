//! What exporters read: the state of a whole runtime, by metric.

mod by_group;
mod by_recorder;
pub(crate) mod exported;
pub(crate) mod scope;

use crate::model::clock::Timestamp;
use crate::recorder::groups::Retired;
use crate::recorder::hosted::Hosted;
use crate::recorder::view::Snapshot;
use crate::runtime::Inner;
use crate::runtime::collection::exported::ExportedFamily;
use std::fmt;
use std::sync::Arc;

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
}

impl RuntimeSnapshot {
    pub(in crate::runtime) fn take(runtime: &Inner) -> Self {
        let read = |list: &Vec<Arc<dyn Hosted>>| list.iter().map(|recorder| recorder.snapshot()).collect();
        let (retired, _, recorders) = runtime.control.hub.groups.view(|| runtime.registry.list(), read);
        let mut recorders: Vec<Snapshot> = recorders;
        recorders.sort_by_cached_key(|recorder| recorder.epoch().incarnation);
        Self {
            namespace: runtime.namespace.as_str().into(),
            started: runtime.built_at,
            taken_at: runtime.settings.clock.now(),
            recorders,
            retired,
            limit: runtime.settings.exported_cardinality as usize,
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

    /// The state of each recorder, in the order of creation.
    pub fn recorders(&self) -> impl ExactSizeIterator<Item = &Snapshot> {
        self.recorders.iter()
    }

    /// Every metric once, by name, with a part for each recorder or group that has it; in the order of their names, the parts in the
    /// order of creation, groups in that of their names.
    ///
    /// By recorder it costs a look at each metric of each recorder, and copies no values. By group it costs an addition for each series
    /// of each recorder.
    pub fn families(&self, fold: Fold) -> Vec<ExportedFamily<'_>> {
        match fold {
            Fold::Recorder => by_recorder::families(&self.recorders, self.limit),
            Fold::Group => by_group::families(&self.recorders, &self.retired, self.limit),
        }
    }
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

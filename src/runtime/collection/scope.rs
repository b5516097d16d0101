//! Whose series an exporter shows.

use crate::model::label::LabelSet;
use crate::model::label::Labels;
use crate::model::name::RecorderId;
use crate::recorder::identity::Epoch;
use crate::recorder::view::Snapshot;

/// Whose series a [`Part`](crate::Part) of an exported metric shows.
///
/// # Examples
///
/// ```
/// # use mvx_metrics::{Fold, Scope, prelude::*};
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let _storage =
///     runtime.recorder::<Saved>("storage-1").entity("storage").counter("document.saves", |c| c).create()?;
/// let snapshot = runtime.collect();
/// let families = snapshot.families(Fold::Recorder);
/// let scope = families[0].parts()[0].scope();
/// assert!(matches!(scope, Scope::Recorder { id, .. } if id.as_str() == "storage-1"));
/// let labels: Vec<_> = scope.labels().collect();
/// assert_eq!(labels, [("entity", "storage"), ("recorder", "storage-1")]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope<'a> {
    /// One recorder.
    Recorder {
        /// Its id.
        id: &'a RecorderId,
        /// The entity it measures; its id, unless its builder named another.
        entity: &'a str,
        /// Which life of the id.
        epoch: Epoch,
        /// The labels that its builder gave to all of its series.
        constant_labels: &'a LabelSet,
    },
    /// All recorders of a group, those that are gone included.
    Group {
        /// Its name; `None` for all recorders that name no group.
        name: Option<&'a str>,
    },
    /// The runtime itself, or its process.
    Runtime,
}

impl<'a> Scope<'a> {
    pub(in crate::runtime) fn of_recorder(recorder: &'a Snapshot) -> Self {
        Self::Recorder {
            id: recorder.id(),
            entity: recorder.entity(),
            epoch: recorder.epoch(),
            constant_labels: recorder.constant_labels(),
        }
    }

    /// The labels that tell this scope's series from others, sorted by key; no metric has one of them.
    ///
    /// A recorder has its constant labels, `recorder`, and `entity` where that is another word than its id. A group has `group`, if it has a name. The
    /// runtime has none.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let none = Labels::new(&[], "", 0, &[]);
        let (first, second, constant) = match *self {
            Self::Recorder { id, entity, constant_labels, .. } => {
                let entity = (entity != id.as_str()).then_some(("entity", entity));
                (entity, Some(("recorder", id.as_str())), constant_labels.as_labels())
            }
            Self::Group { name } => (name.map(|name| ("group", name)), None, none),
            Self::Runtime => (None, None, none),
        };
        // Merged by key: reserved keys are no constant labels' keys.
        let before = constant.iter().filter(|(key, _)| *key < "entity");
        let between = constant.iter().filter(|(key, _)| (&"entity"..&"recorder").contains(&key));
        let after = constant.iter().filter(|(key, _)| *key > "recorder");
        before.chain(first).chain(between).chain(second).chain(after)
    }
}

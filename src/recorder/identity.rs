//! Who a recorder is, and which of its lives this is.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::heap;
use crate::model::label::LabelSet;
use crate::model::name::RecorderId;
use crate::model::snapshot::Descriptor;
use std::sync::Arc;

/// Tells one life of a recorder from another: the process's start and the count of recorders made in it.
///
/// New when an id is created again, kept over stop and start, so a reader can tell a restart from a counter that wrapped.
///
/// # Examples
///
/// ```
/// # use mvx_metrics::prelude::*;
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let first = runtime.recorder::<Saved>("storage").create()?.snapshot().epoch();
/// runtime.stop_and_remove("storage", std::time::Duration::from_secs(1))?;
/// let second = runtime.recorder::<Saved>("storage").create()?.snapshot().epoch();
/// assert_eq!(first.process_start, second.process_start);
/// assert!(first.incarnation < second.incarnation);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Epoch {
    /// When the runtime that made the recorder was built.
    pub process_start: Timestamp,
    /// The number of the recorder among all that its runtime ever made, from 1.
    pub incarnation: u64,
}

/// A recorder's names and birth.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: RecorderId,
    pub(crate) epoch: Epoch,
    /// What most recorders do without.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    entity: Option<Arc<str>>,
    group: Option<Arc<str>>,
    constant_labels: LabelSet,
}

impl Identity {
    /// Without an entity, that is the id.
    pub(crate) fn new(
        id: RecorderId,
        epoch: Epoch,
        (entity, group): (Option<Arc<str>>, Option<Arc<str>>),
        constant_labels: LabelSet,
    ) -> Self {
        let is_more = entity.is_some() || group.is_some() || constant_labels != LabelSet::empty();
        let more = is_more.then(|| Box::new(More { entity, group, constant_labels }));
        Self { id, epoch, more }
    }

    /// The same with other constant labels.
    pub(crate) fn with_constant(&self, constant_labels: LabelSet) -> Self {
        let entity = self.more.as_ref().and_then(|more| more.entity.clone());
        Self::new(self.id.clone(), self.epoch, (entity, self.group().cloned()), constant_labels)
    }

    pub(crate) fn entity(&self) -> &str {
        self.more.as_ref().and_then(|more| more.entity.as_deref()).unwrap_or(self.id.as_str())
    }

    /// The group that it is exported with, if its builder named one.
    pub(crate) fn group(&self) -> Option<&Arc<str>> {
        self.more.as_ref()?.group.as_ref()
    }

    /// Labels of every series that the recorder has, kept once.
    pub(crate) fn constant_labels(&self) -> &LabelSet {
        static NONE: LabelSet = LabelSet::empty();
        self.more.as_ref().map_or(&NONE, |more| &more.constant_labels)
    }

    /// What it takes on the heap. The group's name is the runtime's.
    pub(crate) fn heap_bytes(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            let entity = more.entity.as_deref().map_or(0, heap::arc);
            size_of_val(&**more) + entity + more.constant_labels.heap_bytes()
        });
        heap::arc(self) + heap::arc(self.id.as_str()) + more
    }

    /// Refuses a metric that has a label of its own by the key of a constant one.
    pub(crate) fn check_labels(&self, descriptor: &Descriptor) -> Result<(), Error> {
        let own = descriptor.label_keys();
        let twice = self.constant_labels().iter().find(|(key, _)| own.iter().any(|own| own.as_str() == *key));
        match twice {
            None => Ok(()),
            Some((key, _)) => {
                let message = format!(
                    "metric {} has a label `{key}`, which is a constant label of the recorder: give one of them another key",
                    descriptor.name()
                );
                Err(Error::new(ErrorKind::MetricConflict, message))
            }
        }
    }
}

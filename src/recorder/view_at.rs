//! A snapshot at a time.

use crate::model::clock::Timestamp;
use crate::model::snapshot::Family;
use crate::model::snapshot::Rate;
use crate::model::snapshot::SummaryRef;
use crate::model::snapshot::ValueRef;
use crate::recorder::view::Snapshot;
use std::borrow::Cow;
use std::fmt;

/// A [`Snapshot`] in which whatever changes by the passing of time is shown as it is at one time; see [`Snapshot::at`].
#[derive(Clone)]
pub struct SnapshotAt {
    snapshot: Snapshot,
    now: Timestamp,
    /// The families that had to be evaluated.
    settled: Vec<Family>,
}

impl SnapshotAt {
    pub(crate) fn new(snapshot: Snapshot, now: Timestamp) -> Self {
        let mut settled = Vec::new();
        for metric in snapshot.metrics() {
            if let Cow::Owned(family) = metric.family().at(now) {
                settled.push(family);
            }
        }
        Self { snapshot, now, settled }
    }

    /// The snapshot itself.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The time that is shown.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Every metric as it is at that time, in the order of the recorder's definition.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.snapshot.metrics().map(|metric| self.settled_or(metric.family()))
    }

    fn settled_or<'a>(&'a self, family: &'a Family) -> &'a Family {
        self.settled.iter().find(|settled| settled.name() == family.name()).unwrap_or(family)
    }

    /// A metric as it is at that time; `None` if there is none of this name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.snapshot.metric(name).map(|metric| self.settled_or(metric.family()))
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<ValueRef<'_>> {
        Some(self.family(name)?.find(labels)?.value())
    }

    /// The value of a gauge, the rate of a second, or the seconds since the last event of a heartbeat. `None` for another kind of metric, and
    /// without data.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.value(name, labels)?.gauge()
    }

    /// A rate, with the number of observations that it comes from. `None` for another kind of metric, and without data.
    pub fn rate(&self, name: &str, labels: &[(&str, &str)]) -> Option<Rate> {
        let family = self.snapshot.metric(name)?.family();
        family.find(labels)?.value().timed()?.rate_at(self.now)
    }

    /// A summary; of a windowed one, what is within its window. `None` for another kind of metric.
    pub fn summary(&self, name: &str, labels: &[(&str, &str)]) -> Option<SummaryRef<'_>> {
        self.value(name, labels)?.summary()
    }
}

impl fmt::Debug for SnapshotAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotAt")
            .field("now", &self.now)
            .field("snapshot", &self.snapshot)
            .field("settled", &self.settled)
            .finish()
    }
}

//! Snapshots of recorders on their way through serde.

use crate::model::accounts::Accounts;
use crate::model::accounts::Dropped;
use crate::model::accounts::Rejected;
use crate::model::accounts::Tally;
use crate::model::clock::Timestamp;
use crate::model::label::LabelSet;
use crate::model::name::RecorderId;
use crate::model::snapshot::Family;
use crate::queue::published::Shared;
use crate::recorder::identity::Epoch;
use crate::recorder::identity::Identity;
use crate::recorder::state::RecorderState;
use crate::recorder::view::Cut;
use crate::recorder::view::MetricCut;
use crate::recorder::view::Snapshot;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error as _;
use std::collections::HashSet;
use std::sync::Arc;

/// The written form; rises when one that is older could not be read as it was meant.
pub(crate) const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    id: String,
    entity: String,
    constant_labels: Vec<(String, String)>,
    group: Option<String>,
    /// Which life of the id: the process's start, and the number among all that its runtime made.
    epoch: (u64, u64),
    version: u64,
    sequence: u64,
    taken_at: u64,
    #[serde(with = "StateName")]
    state: RecorderState,
    accounts: WrittenAccounts,
    quarantined_observers: u64,
    metrics: Vec<WrittenMetric>,
}

#[derive(Serialize, Deserialize)]
struct WrittenMetric {
    tally: WrittenTally,
    quarantined: bool,
    removed: bool,
    family: Family,
}

#[derive(Serialize, Deserialize)]
struct WrittenTally {
    accepted: u64,
    ignored: u64,
    refused: u64,
    panicked: u64,
    quarantined: u64,
}

/// Accounts, as they are written.
#[derive(Serialize, Deserialize)]
pub(crate) struct WrittenAccounts {
    accepted: u64,
    processed: u64,
    rejected: WrittenRejected,
    dropped: WrittenDropped,
}

#[derive(Serialize, Deserialize)]
struct WrittenRejected {
    full: u64,
    closed: u64,
    failed: u64,
    forked: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenDropped {
    evicted: u64,
    deadline: u64,
    removed: u64,
    start_failed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RecorderState", rename_all = "snake_case")]
enum StateName {
    Created,
    Starting,
    Running,
    Stopping,
    Stopped,
    Failed,
}

/// The recorder's state and accounts, exactly, with the epoch that tells a restart from a counter that went back.
///
/// Reading refuses what no recorder could have shown; what it gives is a snapshot as any other, independent of any recorder.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::Snapshot;
/// use std::time::Duration;
///
/// # struct Saved(u64); impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let storage = runtime.recorder::<Saved>("storage").counter("bytes", |c| c.value(|e| Some(e.0))).create()?;
/// storage.register_event(Saved(u64::MAX - 1)); // above 2^53
/// let snapshot = storage.flush_and_snapshot(Duration::from_secs(5))?;
/// let text = serde_json::to_string(&snapshot).unwrap();
/// let read: Snapshot = serde_json::from_str(&text).unwrap();
/// assert_eq!(read.counter("bytes", &[]), Some(u64::MAX - 1));
/// assert_eq!((read.epoch(), read.accounts()), (snapshot.epoch(), snapshot.accounts()));
/// # }
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Cut { identity, version, sequence, taken_at, metrics, quarantined_observers, .. } = &*self.cut;
        let metrics = metrics.iter().map(|metric| WrittenMetric {
            tally: WrittenTally::of(metric.tally),
            quarantined: metric.quarantined,
            removed: metric.removed,
            family: metric.family.clone(),
        });
        let written = Written {
            format: FORMAT,
            id: identity.id.to_string(),
            entity: identity.entity().to_owned(),
            constant_labels: pairs_of(identity.constant_labels()),
            group: identity.group().map(|group| String::from(&**group)),
            epoch: (identity.epoch.process_start.unix_nanos(), identity.epoch.incarnation),
            version: *version,
            sequence: *sequence,
            taken_at: taken_at.unix_nanos(),
            state: self.state,
            accounts: WrittenAccounts::of(self.accounts),
            quarantined_observers: u64::from(*quarantined_observers),
            metrics: metrics.collect(),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        written.build().map_err(D::Error::custom)
    }
}

impl Written {
    fn build(self) -> Result<Snapshot, String> {
        check_format(self.format)?;
        let told = |error: crate::model::error::Error| error.to_string();
        let text = |text: &str| RecorderId::new(text).map_err(told);
        let (process_start, incarnation) = self.epoch;
        let (id, entity) = (text(&self.id)?, text(&self.entity)?);
        let entity = (entity != id).then(|| entity.shared());
        let epoch = Epoch { process_start: Timestamp::from_unix_nanos(process_start), incarnation };
        let group = self.group.as_deref().map(text).transpose()?.map(|group| group.shared());
        let identity = Identity::new(id, epoch, (entity, group), set_of(&self.constant_labels)?);
        let mut names = HashSet::new();
        for metric in &self.metrics {
            identity.check_labels(metric.family.descriptor()).map_err(told)?;
            if !names.insert(metric.family.name().clone()) {
                return Err(format!(
                    "recorder {}: metric {} is there twice",
                    identity.id,
                    metric.family.name()
                ));
            }
        }
        let metrics = self.metrics.into_iter().map(|metric| MetricCut {
            family: metric.family,
            tally: metric.tally.build(),
            quarantined: metric.quarantined,
            removed: metric.removed,
            spared_bytes: 0,
            metric_bytes: 0,
        });
        let cut = Cut {
            identity: Arc::new(identity),
            version: self.version,
            sequence: self.sequence,
            taken_at: Timestamp::from_unix_nanos(self.taken_at),
            metrics: metrics.collect(),
            composition: 0,
            quarantined_observers: u32::try_from(self.quarantined_observers).unwrap_or(u32::MAX),
        };
        Ok(Snapshot { cut: Shared::new(cut), accounts: self.accounts.build(), state: self.state })
    }
}

/// Refuses a written form that is newer than this code.
pub(crate) fn check_format(format: u32) -> Result<(), String> {
    if format == FORMAT {
        return Ok(());
    }
    Err(format!("a snapshot in format {format}, and this version reads format {FORMAT}"))
}

pub(crate) fn pairs_of(labels: &LabelSet) -> Vec<(String, String)> {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub(crate) fn set_of(pairs: &[(String, String)]) -> Result<LabelSet, String> {
    let pairs = pairs.iter().map(|(key, value)| (key.as_str(), value));
    LabelSet::new(pairs).map_err(|error| error.to_string())
}

impl WrittenTally {
    fn of(tally: Tally) -> Self {
        let Tally { accepted, ignored, refused, panicked, quarantined } = tally;
        Self { accepted, ignored, refused, panicked, quarantined }
    }

    fn build(self) -> Tally {
        let Self { accepted, ignored, refused, panicked, quarantined } = self;
        Tally { accepted, ignored, refused, panicked, quarantined }
    }
}

impl WrittenAccounts {
    pub(crate) fn of(accounts: Accounts) -> Self {
        let Accounts { accepted, rejected, processed, dropped } = accounts;
        let Rejected { full, closed, failed, forked } = rejected;
        let Dropped { evicted, deadline, removed, start_failed } = dropped;
        Self {
            accepted,
            processed,
            rejected: WrittenRejected { full, closed, failed, forked },
            dropped: WrittenDropped { evicted, deadline, removed, start_failed },
        }
    }

    pub(crate) fn build(self) -> Accounts {
        let WrittenRejected { full, closed, failed, forked } = self.rejected;
        let WrittenDropped { evicted, deadline, removed, start_failed } = self.dropped;
        let rejected = Rejected { full, closed, failed, forked };
        Accounts::new(
            self.accepted,
            rejected,
            self.processed,
            Dropped { evicted, deadline, removed, start_failed },
        )
    }
}

//! Snapshots of runtimes on their way through serde.

use crate::model::clock::Timestamp;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::Folded;
use crate::recorder::catalogue::refuse_twice;
use crate::recorder::groups::GroupAccounts;
use crate::recorder::groups::Retired;
use crate::recorder::view::Snapshot;
use crate::recorder::wire::FORMAT;
use crate::recorder::wire::WrittenAccounts;
use crate::recorder::wire::check_format;
use crate::recorder::wire::pairs_of;
use crate::recorder::wire::set_of;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::servers::Served;
use crate::runtime::collection::source::SourceStatus;
use crate::runtime::followers::ExporterStatus;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    namespace: String,
    started: u64,
    taken_at: u64,
    constant_labels: Vec<(String, String)>,
    exported_cardinality: u64,
    publication_interval_nanos: u64,
    wakes: Option<u64>,
    refused_recorders: Option<u64>,
    recorders: Vec<Snapshot>,
    /// What removed recorders and metrics have counted, by group.
    gone: Vec<(Option<String>, Family)>,
    gone_accounts: Vec<(Option<String>, u64, WrittenAccounts)>,
    /// What sources gave.
    read: Vec<Family>,
    exporters: Vec<WrittenExporter>,
    sources: Vec<WrittenSource>,
    servers: Vec<Served>,
}

#[derive(Serialize, Deserialize)]
struct WrittenExporter {
    name: String,
    delivered: u64,
    failed: u64,
    attempts: u64,
    missed: u64,
    consecutive_failures: u64,
    last_delivery: Option<u64>,
    running_since: Option<u64>,
    is_quarantined: bool,
}

#[derive(Serialize, Deserialize)]
struct WrittenSource {
    name: String,
    runs: u64,
    abandoned: u64,
    faults: u64,
    running_since: Option<u64>,
    is_quarantined: bool,
}

/// Everything that the snapshot shows, exactly, but for a view that is laid over it, and the last errors of exporters and sources.
///
/// Reading refuses what no runtime could have shown: one name with two shapes among it. See [`ProcessMerge`](crate::ProcessMerge) for what
/// to do with those of several processes.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::{Fold, RuntimeSnapshot};
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let storage = runtime.recorder::<Saved>("storage").counter("saves", |c| c).create()?;
/// storage.register_event(Saved);
/// storage.flush_blocking(Duration::from_secs(5))?;
/// let text = serde_json::to_string(&runtime.collect()).unwrap();
/// let read: RuntimeSnapshot = serde_json::from_str(&text).unwrap();
/// let families = read.families(Fold::Group);
/// assert_eq!(families[0].descriptor().name().as_str(), "saves");
/// # }
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
impl Serialize for RuntimeSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let group = |group: &Option<Arc<str>>| group.as_deref().map(str::to_owned);
        let gone = self.retired.families.iter();
        let accounts = self.retired.accounts.iter();
        let written = Written {
            format: FORMAT,
            namespace: self.namespace.to_string(),
            started: self.started.unix_nanos(),
            taken_at: self.taken_at.unix_nanos(),
            constant_labels: pairs_of(&self.constant_labels),
            exported_cardinality: self.limit as u64,
            publication_interval_nanos: u64::try_from(self.publication_interval.as_nanos())
                .unwrap_or(u64::MAX),
            wakes: self.wakes,
            refused_recorders: self.refused,
            recorders: self.recorders.clone(),
            gone: gone.map(|((_, of), kept)| (group(of), kept.family().clone())).collect(),
            gone_accounts: accounts
                .map(|(of, gone)| (group(of), gone.recorders, WrittenAccounts::of(gone.accounts)))
                .collect(),
            read: self.read.iter().flat_map(|given| given.iter().cloned()).collect(),
            exporters: self.exporters.iter().map(WrittenExporter::of).collect(),
            sources: self.sources.iter().map(WrittenSource::of).collect(),
            servers: self.servers.clone(),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RuntimeSnapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        written.build().map_err(D::Error::custom)
    }
}

impl Written {
    fn build(self) -> Result<RuntimeSnapshot, String> {
        check_format(self.format)?;
        let namespace = RecorderId::new(&self.namespace).map_err(|error| error.to_string())?;
        let limit = usize::try_from(self.exported_cardinality).unwrap_or(usize::MAX);
        let mut retired = Retired::default();
        for (group, family) in self.gone {
            let shape = Arc::clone(family.descriptor());
            let mut kept = Folded::new(shape, limit);
            if !Folded::keeps(family.descriptor().kind()) || !kept.add(&family, Timestamp::default()) {
                return Err(format!("metric {} cannot be of what is gone", family.name()));
            }
            let key = (family.name().clone(), group.map(Arc::from));
            if retired.families.insert(key, Arc::new(kept)).is_some() {
                return Err(format!("metric {} is there twice in one group", family.name()));
            }
        }
        for (group, recorders, accounts) in self.gone_accounts {
            let gone = GroupAccounts { recorders, accounts: accounts.build() };
            retired.accounts.insert(group.map(Arc::from), gone);
        }
        let snapshot = RuntimeSnapshot {
            namespace: namespace.as_str().into(),
            started: Timestamp::from_unix_nanos(self.started),
            taken_at: Timestamp::from_unix_nanos(self.taken_at),
            recorders: self.recorders,
            retired: Arc::new(retired),
            limit,
            read: vec![Arc::new(self.read)],
            publication_interval: Duration::from_nanos(self.publication_interval_nanos),
            wakes: self.wakes,
            refused: self.refused_recorders,
            exporters: self.exporters.into_iter().map(WrittenExporter::build).collect(),
            sources: self.sources.into_iter().map(WrittenSource::build).collect(),
            servers: self.servers,
            view: None,
            constant_labels: set_of(&self.constant_labels)?,
        };
        check_shapes(&snapshot)?;
        Ok(snapshot)
    }
}

/// Each name has one shape, and no label is there twice.
fn check_shapes(snapshot: &RuntimeSnapshot) -> Result<(), String> {
    let mut known: HashMap<&MetricName, &Arc<Descriptor>> = HashMap::new();
    for descriptor in snapshot.descriptors() {
        refuse_twice(&snapshot.constant_labels, descriptor).map_err(|error| error.to_string())?;
        let there = known.entry(descriptor.name()).or_insert(descriptor);
        if let Some(differences) = there.differences(descriptor) {
            return Err(format!("metric {} is there with two shapes: {differences}", descriptor.name()));
        }
    }
    let twice = |recorder: &&Snapshot| {
        recorder.constant_labels().iter().any(|(key, _)| snapshot.constant_labels.get(key).is_some())
    };
    match snapshot.recorders.iter().find(twice) {
        None => Ok(()),
        Some(recorder) => Err(format!("recorder {} has a constant label of the runtime", recorder.id())),
    }
}

impl WrittenExporter {
    fn of(status: &ExporterStatus) -> Self {
        let nanos = |at: Option<Timestamp>| at.map(Timestamp::unix_nanos);
        Self {
            name: status.name.clone(),
            delivered: status.delivered,
            failed: status.failed,
            attempts: status.attempts,
            missed: status.missed,
            consecutive_failures: status.consecutive_failures,
            last_delivery: nanos(status.last_delivery),
            running_since: nanos(status.running_since),
            is_quarantined: status.is_quarantined,
        }
    }

    fn build(self) -> ExporterStatus {
        ExporterStatus {
            name: self.name,
            delivered: self.delivered,
            failed: self.failed,
            attempts: self.attempts,
            missed: self.missed,
            consecutive_failures: self.consecutive_failures,
            last_delivery: self.last_delivery.map(Timestamp::from_unix_nanos),
            last_error: None,
            running_since: self.running_since.map(Timestamp::from_unix_nanos),
            is_quarantined: self.is_quarantined,
        }
    }
}

impl WrittenSource {
    fn of(status: &SourceStatus) -> Self {
        Self {
            name: status.name.clone(),
            runs: status.runs,
            abandoned: status.abandoned,
            faults: status.faults,
            running_since: status.running_since.map(Timestamp::unix_nanos),
            is_quarantined: status.is_quarantined,
        }
    }

    fn build(self) -> SourceStatus {
        SourceStatus {
            name: self.name,
            runs: self.runs,
            is_quarantined: self.is_quarantined,
            abandoned: self.abandoned,
            faults: self.faults,
            last_fault: None,
            running_since: self.running_since.map(Timestamp::from_unix_nanos),
        }
    }
}

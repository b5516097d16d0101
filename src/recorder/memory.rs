//! What a recorder takes in memory, by metric and label. Computed by whoever asks, from the published cut and a few notes of the actor.

use crate::model::name::LabelKey;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use crate::queue::published::Shared;
use crate::recorder::catalogue::Catalogue;
use crate::recorder::view::Cut;
use crate::recorder::view::MetricCut;
use crate::recorder::view::Snapshot;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering;
use std::cmp::Reverse;
use std::sync::Arc;

/// What one recorder takes in memory, in bytes as they are asked of the allocator.
///
/// What it shares with others is not its own: the descriptors that equal metrics of a runtime have in common, and what closures refer to.
/// Events that are pending are counted with the queue's memory by their size, without what they own themselves.
///
/// # Examples
///
/// See [`MetricsRuntime::memory`](crate::MetricsRuntime::memory).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderMemory {
    /// The recorder.
    pub id: RecorderId,
    /// All of it: queue, metrics, the recorder itself and its observers and hooks.
    pub bytes: usize,
    /// What holds pending events; 0 before the first event, and again a while after the last.
    pub queue: usize,
    /// Each metric, the largest first.
    pub metrics: Vec<MetricMemory>,
}

/// What one metric of a recorder takes in memory, in bytes: the metric with its series, and what readers see of it.
///
/// While events come there is a second copy for readers, the one to be written next. It is counted to the recorder, as large as the first: for
/// exponential histograms and summaries, whose buckets grow, that is an estimate until the recorder has rested for a second. At rest a metric of no more than
/// [`SERIES_AT_REST`](crate::limits::SERIES_AT_REST) series has none of its own: they are what readers see.
///
/// # Examples
///
/// See [`MetricsRuntime::memory`](crate::MetricsRuntime::memory).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MetricMemory {
    /// The metric.
    pub name: MetricName,
    /// All of it, labels included.
    pub bytes: usize,
    /// How many series it has, the overflow series included.
    pub series: usize,
    /// What the values of each label take, the largest first: their texts, and four bytes for the end of each.
    pub labels: Vec<(LabelKey, usize)>,
}

/// What an actor says of its memory when it has published or rests: a number, and what is beside it.
#[derive(Debug, Default)]
pub(crate) struct ActorBytes(AtomicUsize);

/// What there is beside the bytes that an actor says, the published cut and the metrics that are in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Beside {
    Nothing,
    /// A second cut that is like the published one.
    Spare,
    /// Metrics have given up what they can.
    Less,
}

impl ActorBytes {
    pub(crate) fn note(&self, bytes: usize, beside: Beside) {
        let beside = match beside {
            Beside::Nothing => 0,
            Beside::Spare => 1,
            Beside::Less => 2,
        };
        self.0.store(bytes << 2 | beside, Ordering::Relaxed);
    }

    fn read(&self) -> (usize, Beside) {
        let noted = self.0.load(Ordering::Relaxed);
        let beside = match noted & 3 {
            0 => Beside::Nothing,
            1 => Beside::Spare,
            _ => Beside::Less,
        };
        (noted >> 2, beside)
    }
}

/// The memory of a recorder whose published state this is; `own` is what it has beside queue, actor and cuts.
pub(crate) fn of(
    snapshot: &Snapshot,
    own: usize,
    queue: usize,
    actor: &ActorBytes,
    catalogue: Option<&Catalogue>,
) -> RecorderMemory {
    let cut = &snapshot.cut;
    let (actor, beside) = actor.read();
    let rests = beside == Beside::Less;
    let metrics = cut.metrics.iter().map(|metric| metric_memory(metric, rests, catalogue));
    let mut metrics: Vec<_> = metrics.collect();
    metrics.sort_by_key(|metric| Reverse(metric.bytes));
    let shown = Shared::<Cut>::bytes() + cut.metrics.heap_bytes();
    // The cut that is to be written next is about as large as the one that took its place.
    let spare = if beside == Beside::Spare { cut_bytes(cut) } else { 0 };
    let all = metrics.iter().map(|metric| metric.bytes).sum::<usize>();
    let bytes = own + queue + actor + shown + spare + all;
    RecorderMemory { id: snapshot.id().clone(), bytes, queue, metrics }
}

/// What a published state takes by itself: without the metrics that it shows.
pub(crate) fn cut_bytes(cut: &Cut) -> usize {
    let families = cut.metrics.iter().map(|metric| metric.family.heap_bytes()).sum::<usize>();
    Shared::<Cut>::bytes() + cut.metrics.heap_bytes() + families
}

fn metric_memory(metric: &MetricCut, rests: bool, catalogue: Option<&Catalogue>) -> MetricMemory {
    let family = &metric.family;
    let descriptor = family.descriptor();
    let own = catalogue.is_some_and(|catalogue| {
        !catalogue.known(descriptor).is_some_and(|known| Arc::ptr_eq(&known, descriptor))
    });
    let described = if own { descriptor.heap_bytes() } else { 0 };
    let spared = if rests && !metric.quarantined { metric.spared_bytes as usize } else { 0 };
    let mut labels: Vec<_> = family.label_bytes().map(|(key, bytes)| (key.clone(), bytes)).collect();
    labels.sort_by_key(|label| Reverse(label.1));
    MetricMemory {
        name: family.name().clone(),
        bytes: metric.metric_bytes.saturating_sub(spared) + family.heap_bytes() + described,
        series: family.len(),
        labels,
    }
}

//! A tokio runtime, as tokio counts.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::label::LabelSet;
use crate::model::name::RecorderId;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use crate::runtime::collection::source::Source;
use crate::runtime::collection::source::SourceWriter;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::runtime::RuntimeMetrics;

/// What a tokio runtime of the program says of itself, from what tokio counts without `tokio_unstable`. Its label `runtime` is the name
/// that it is given here, so several runtimes are told apart.
///
/// | metric | in Prometheus |
/// |---|---|
/// | `tokio.workers` | `tokio_workers` |
/// | `tokio.alive_tasks` | `tokio_alive_tasks`: spawned and not ended |
/// | `tokio.global_queue_depth` | `tokio_global_queue_depth`: tasks that wait for any worker |
/// | `tokio.worker.busy` | `tokio_worker_busy_seconds_total`, by `worker`: its rate is the share of time in which the worker was busy |
/// | `tokio.worker.parks` | `tokio_worker_parks_total`, by `worker`: how often it had nothing to do |
///
/// The last two begin when the source is first asked, and are there where the machine has 64-bit atomics. A worker that is busy without an end,
/// because a task blocks it, counts its time when it next comes to rest. A look costs a few loads for each worker. The source keeps the runtime's
/// counters, not its threads.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Fold, MetricsRuntime};
/// use mvx_metrics::sources::TokioSource;
/// use std::time::Duration;
///
/// let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.add_source("tokio", Duration::from_secs(5), TokioSource::new("main", tokio.handle())?)?;
/// runtime.refresh_sources(); // exporters and servers do it by themselves
///
/// let snapshot = runtime.collect();
/// let families = snapshot.families(Fold::Recorder);
/// let workers = families.iter().find(|family| *family.descriptor().name() == *"tokio.workers").unwrap();
/// let series = workers.parts()[0].family().find(&[("runtime", "main")]).unwrap();
/// assert_eq!(series.value().gauge(), Some(2.0));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct TokioSource {
    metrics: RuntimeMetrics,
    workers: Arc<Descriptor>,
    alive_tasks: Arc<Descriptor>,
    global_queue_depth: Arc<Descriptor>,
    busy: Arc<Descriptor>,
    parks: Arc<Descriptor>,
    labels: LabelSet,
    /// What each worker had counted when the source was first asked, and when that was.
    began: Option<(Timestamp, Vec<Worker>)>,
}

/// One worker's counts.
struct Worker {
    labels: LabelSet,
    busy: Duration,
    parks: u64,
}

impl TokioSource {
    /// A source of the runtime of this handle, by a name that tells it from others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidId`](crate::ErrorKind::InvalidId) for a name that is blank or not writable.
    pub fn new(name: &str, handle: &Handle) -> Result<Self, Error> {
        let name = RecorderId::new(name)?;
        let of = |name, kind, help| Descriptor::builder(name, kind).help(help).label("runtime");
        let busy = of("tokio.worker.busy", Kind::FloatCounter, "Time in which a worker was busy.");
        let parks = of("tokio.worker.parks", Kind::Counter, "Times a worker had nothing to do.");
        Ok(Self {
            metrics: handle.metrics(),
            workers: of("tokio.workers", Kind::Gauge, "Number of worker threads.").build()?,
            alive_tasks: of("tokio.alive_tasks", Kind::Gauge, "Number of tasks that have not ended.")
                .build()?,
            global_queue_depth: of(
                "tokio.global_queue_depth",
                Kind::Gauge,
                "Number of tasks that wait for any worker.",
            )
            .build()?,
            busy: busy.label("worker").unit(Unit::Seconds).build()?,
            parks: parks.label("worker").build()?,
            labels: LabelSet::new([("runtime", name.as_str())])?,
            began: None,
        })
    }

    fn worker(&self, number: usize) -> Option<Worker> {
        let runtime = self.labels.get("runtime").unwrap_or_default();
        let labels = LabelSet::new([("runtime", runtime), ("worker", &number.to_string())]).ok()?;
        let (busy, parks) = self.counted(number);
        Some(Worker { labels, busy, parks })
    }

    #[cfg(target_has_atomic = "64")]
    fn counted(&self, worker: usize) -> (Duration, u64) {
        (self.metrics.worker_total_busy_duration(worker), self.metrics.worker_park_count(worker))
    }

    #[cfg(not(target_has_atomic = "64"))]
    fn counted(&self, _worker: usize) -> (Duration, u64) {
        (Duration::ZERO, 0)
    }
}

impl Source for TokioSource {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        let Self { workers, alive_tasks, global_queue_depth, busy, parks, .. } = self;
        [workers, alive_tasks, global_queue_depth, busy, parks].map(Arc::clone).to_vec()
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        for (gauge, value) in [
            (&self.workers, self.metrics.num_workers()),
            (&self.alive_tasks, self.metrics.num_alive_tasks()),
            (&self.global_queue_depth, self.metrics.global_queue_depth()),
        ] {
            if let Some(mut family) = writer.family(gauge) {
                family.gauge(&self.labels, value as f64);
            }
        }
        if !cfg!(target_has_atomic = "64") {
            return;
        }
        if self.began.is_none() {
            // No more than a family has series.
            let most = self.metrics.num_workers().min(self.busy.cardinality() as usize);
            self.began = Some((writer.now(), (0..most).filter_map(|worker| self.worker(worker)).collect()));
        }
        let Some((began, workers)) = &self.began else { return };
        if let Some(mut family) = writer.family(&self.busy) {
            family.started(*began);
            for (number, before) in workers.iter().enumerate() {
                let mut busy = ExactSum::default();
                busy.add_duration(self.counted(number).0.saturating_sub(before.busy));
                family.float_counter(&before.labels, &busy);
            }
        }
        if let Some(mut family) = writer.family(&self.parks) {
            family.started(*began);
            for (number, before) in workers.iter().enumerate() {
                family.counter(&before.labels, self.counted(number).1.saturating_sub(before.parks));
            }
        }
    }
}

impl fmt::Debug for TokioSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioSource").field("runtime", &self.labels.get("runtime")).finish_non_exhaustive()
    }
}

//! What is measured: one recorder for the storage, one for each worker, one for the walk.
//!
//! The events say what happened; everything that is counted, and how, is decided here and can change without them.

use crate::events::Reason;
use crate::events::StorageEvent;
use crate::events::WalkEvent;
use crate::events::WorkerEvent;
use mvx_metrics::Error;
use mvx_metrics::Label;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::Snapshot;
use mvx_metrics::Unit;
use std::time::Duration;
use std::time::Instant;

/// Events that may be pending in one recorder. A file is three events at most in two recorders, so even if the metrics'
/// thread got no processor while half a million files are stored, no event would be refused. Unused, it costs next to nothing.
pub const CAPACITY: u32 = 1 << 20;

/// Saves of small files take far less than the preset bounds for requests tell apart.
const SAVE_BOUNDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 10.0];

/// The handles of all recorders.
pub struct Recorders {
    pub storage: Recorder<StorageEvent>,
    pub walk: Recorder<WalkEvent>,
    pub workers: Vec<Recorder<WorkerEvent>>,
}

/// A snapshot of each. Every one is consistent in itself; they are taken one after another.
#[derive(Clone, Debug)]
pub struct Snapshots {
    pub storage: Snapshot,
    pub walk: Snapshot,
    pub workers: Vec<Snapshot>,
}

impl Recorders {
    /// Creates them in `runtime`, with a worker's recorder for each id.
    pub fn create(runtime: &MetricsRuntime, workers: &[String]) -> Result<Self, Error> {
        let workers = workers.iter().map(|id| worker(runtime, id)).collect::<Result<_, _>>()?;
        Ok(Self { storage: storage(runtime, "document_storage")?, walk: walk(runtime)?, workers })
    }

    pub fn snapshots(&self) -> Snapshots {
        Snapshots {
            storage: self.storage.snapshot(),
            walk: self.walk.snapshot(),
            workers: self.workers.iter().map(Recorder::snapshot).collect(),
        }
    }

    /// Makes visible what was stated before this call.
    ///
    /// # Errors
    ///
    /// The first recorder's that could not be done by the deadline.
    pub fn flush(&self, deadline: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        let flushes = [self.storage.flush(), self.walk.flush()];
        let flushes = flushes.into_iter().chain(self.workers.iter().map(Recorder::flush));
        // All are asked for at once; only the waiting is one after another.
        let flushes: Vec<_> = flushes.collect();
        flushes.iter().try_for_each(|flush| flush.wait(deadline.saturating_sub(begun.elapsed())))
    }
}

impl Snapshots {
    /// All of them, the storage's first.
    pub fn iter(&self) -> impl Iterator<Item = &Snapshot> {
        [&self.storage, &self.walk].into_iter().chain(&self.workers)
    }
}

/// What is measured of a storage.
pub fn storage(runtime: &MetricsRuntime, id: &str) -> Result<Recorder<StorageEvent>, Error> {
    const ENDED: [&str; 2] = ["document.saved", "document.save_failed"];
    const SAVED: [&str; 1] = ["document.saved"];
    runtime
        .recorder::<StorageEvent>(id)
        .capacity(CAPACITY)
        .counter("document.saves", |c| {
            c.help("Documents handed in, by what became of them.")
                .on(&ENDED)
                .label("outcome", |e| e.outcome().into())
        })
        .counter("document.failures", |c| {
            c.help("Documents that could not be stored, by cause.")
                .on(&["document.save_failed"])
                .label("reason", |e| e.reason().map(reason_label).into())
        })
        .counter("document.duplicates", |c| {
            c.help("Documents stored whose content was there already.")
                .on(&SAVED)
                .keep(StorageEvent::is_duplicate)
        })
        .counter("document.saved.bytes", |c| {
            c.help("Size of the documents stored.")
                .unit(Unit::Bytes)
                .on(&SAVED)
                .value(StorageEvent::saved_bytes)
        })
        .counter("document.written.bytes", |c| {
            c.help("What storing them wrote: each content once.")
                .unit(Unit::Bytes)
                .on(&SAVED)
                .value(StorageEvent::written_bytes)
        })
        .histogram("document.save.duration", |h| {
            h.help("How long a save took.")
                .unit(Unit::Seconds)
                .bounds(&SAVE_BOUNDS)
                .on(&ENDED)
                .label("outcome", |e| e.outcome().into())
                .value(StorageEvent::elapsed)
        })
        .histogram("document.size", |h| {
            h.help("Sizes of the documents stored.")
                .unit(Unit::Bytes)
                .on(&SAVED)
                .value(StorageEvent::saved_bytes)
        })
        .average("document.average_size", |a| {
            a.help("Mean size of the documents stored.")
                .unit(Unit::Bytes)
                .on(&SAVED)
                .value(StorageEvent::saved_bytes)
        })
        .up_down("document.saves_in_flight", |u| {
            u.help("Saves that have started and not ended.").value(|e| Some(e.in_flight()))
        })
        .create()
}

fn worker(runtime: &MetricsRuntime, id: &str) -> Result<Recorder<WorkerEvent>, Error> {
    runtime
        .recorder::<WorkerEvent>(id)
        .capacity(CAPACITY)
        .counter("worker.files", |c| {
            c.help("Files this worker took, by what became of them.")
                .label("outcome", |e| Label::fixed(e.outcome()))
        })
        .counter("worker.bytes", |c| {
            c.help("Size of the files it stored.").unit(Unit::Bytes).value(WorkerEvent::bytes)
        })
        .counter("worker.busy", |c| {
            c.help("Time it spent on files.").unit(Unit::Seconds).value(|e| Some(e.busy()))
        })
        .create()
}

fn walk(runtime: &MetricsRuntime) -> Result<Recorder<WalkEvent>, Error> {
    runtime
        .recorder::<WalkEvent>("walk")
        .capacity(CAPACITY)
        .counter("walk.files", |c| {
            c.help("Files found.").value(|WalkEvent::DirectoryRead { files, .. }| Some(*files))
        })
        .counter("walk.directories", |c| {
            c.help("Directories searched, by whether they could be read.").label("outcome", |event| {
                let WalkEvent::DirectoryRead { failure, .. } = event;
                Label::fixed(failure.map_or("success", Reason::as_str))
            })
        })
        .counter("walk.links", |c| {
            c.help("Links to directories, which are not followed.")
                .value(|WalkEvent::DirectoryRead { links, .. }| Some(*links))
        })
        .create()
}

fn reason_label(reason: Reason) -> Label<'static> {
    Label::fixed(reason.as_str())
}

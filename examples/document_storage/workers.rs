//! Those who do the work: plain threads and tokio tasks, each with a recorder of its own.

use crate::events::WorkerEvent;
use crate::storage::Document;
use crate::storage::DocumentStorage;
use crate::storage::SaveError;
use crate::walk::Handout;
use mvx_metrics::EventSink;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;
use tokio::task::JoinError;

/// Stores one file after another, and states what it did.
pub struct Worker {
    storage: Arc<DocumentStorage>,
    metrics: Arc<dyn EventSink<WorkerEvent>>,
    failures: Arc<Failures>,
}

/// The first files that could not be stored, for a person to look at. How many there were is a metric's business.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Vec<(PathBuf, String)>>);

impl Worker {
    pub fn new(
        storage: &Arc<DocumentStorage>,
        metrics: Arc<dyn EventSink<WorkerEvent>>,
        failures: &Arc<Failures>,
    ) -> Self {
        Self { storage: Arc::clone(storage), metrics, failures: Arc::clone(failures) }
    }

    /// The work of a plain thread.
    pub fn run(&self, handout: &Handout) {
        while let Some(path) = handout.next_blocking() {
            self.store(&path);
        }
    }

    /// The work of a tokio task. The file system blocks, so each file goes through the pool that tokio has for that.
    ///
    /// # Errors
    ///
    /// Storing a file panicked.
    pub async fn run_task(self: Arc<Self>, handout: Arc<Handout>) -> Result<(), JoinError> {
        while let Some(path) = handout.next().await {
            let worker = Arc::clone(&self);
            tokio::task::spawn_blocking(move || worker.store(&path)).await?;
        }
        Ok(())
    }

    fn store(&self, path: &Path) {
        let begun = Instant::now();
        let result = self.storage.store_file(path);
        let busy = begun.elapsed();
        self.metrics.register_event(match &result {
            Ok(Document { bytes, .. }) => WorkerEvent::Stored { bytes: *bytes, busy },
            Err(_) => WorkerEvent::Failed { busy },
        });
        if let Err(error) = result {
            self.failures.note(path, &error);
        }
    }
}

impl Failures {
    /// How many are kept.
    pub const LIMIT: usize = 8;

    /// The paths and causes that were kept, in the order in which they came.
    pub fn first(&self) -> Vec<(PathBuf, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, path: &Path, error: &SaveError) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < Self::LIMIT {
            first.push((path.to_owned(), error.to_string()));
        }
    }
}

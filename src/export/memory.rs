//! Exporters that go nowhere: one that keeps what it gets, and one that does not.

use crate::export::exporter::ExportError;
use crate::export::exporter::Exporter;
use crate::runtime::collection::RuntimeSnapshot;
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the last snapshots, for tests of what a program measures and of what exports it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::{MemoryExporter, Schedule};
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let (exporter, kept) = MemoryExporter::new(10);
/// runtime.add_exporter("memory", Schedule::on_demand(), exporter)?;
/// let storage = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// storage.register_event(Saved);
/// runtime.force_flush(Duration::from_secs(5))?;
/// let latest = kept.latest().expect("it was delivered");
/// assert_eq!(latest.recorders().next().and_then(|storage| storage.counter("document.saves", &[])), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryExporter {
    kept: Kept,
}

/// What a [`MemoryExporter`] has kept. `Clone` gives another handle to the same.
#[derive(Clone)]
pub struct Kept(Arc<Shared>);

struct Shared {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    snapshots: VecDeque<RuntimeSnapshot>,
    forgotten: u64,
}

impl MemoryExporter {
    /// An exporter that keeps the last `most` snapshots (one, if it is 0), and the handle by which they are read.
    #[allow(clippy::new_ret_no_self, reason = "both ends are made at once, as those of a channel")]
    pub fn new(most: usize) -> (Self, Kept) {
        let kept = Kept(Arc::new(Shared { most: most.max(1), state: Mutex::default() }));
        (Self { kept: kept.clone() }, kept)
    }
}

impl Exporter for MemoryExporter {
    async fn export(&mut self, snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
        self.kept.keep(snapshot.clone());
        Ok(())
    }
}

impl Kept {
    /// The newest snapshot, if there is one.
    pub fn latest(&self) -> Option<RuntimeSnapshot> {
        self.0.state.lock().snapshots.back().cloned()
    }

    /// All that are kept, the oldest first.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::{MemoryExporter, Schedule};
    /// use std::time::Duration;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let (exporter, kept) = MemoryExporter::new(2);
    /// runtime.add_exporter("memory", Schedule::on_demand(), exporter)?;
    /// for _ in 0..3 {
    ///     runtime.force_flush(Duration::from_secs(5))?;
    /// }
    /// assert_eq!((kept.all().len(), kept.forgotten()), (2, 1));
    /// kept.clear();
    /// assert!(kept.latest().is_none());
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn all(&self) -> Vec<RuntimeSnapshot> {
        self.0.state.lock().snapshots.iter().cloned().collect()
    }

    /// How many came and were not kept, because newer ones took their place. What was cleared is not among them.
    pub fn forgotten(&self) -> u64 {
        self.0.state.lock().forgotten
    }

    /// Lets go of all.
    pub fn clear(&self) {
        let gone = std::mem::take(&mut self.0.state.lock().snapshots);
        drop(gone);
    }

    fn keep(&self, snapshot: RuntimeSnapshot) {
        let mut state = self.0.state.lock();
        state.snapshots.push_back(snapshot);
        let gone = if state.snapshots.len() > self.0.most { state.snapshots.pop_front() } else { None };
        state.forgotten += u64::from(gone.is_some());
        drop(state);
        // After the lock: it may be the last owner of much.
        drop(gone);
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Kept")
            .field("snapshots", &state.snapshots.len())
            .field("most", &self.0.most)
            .field("forgotten", &state.forgotten)
            .finish()
    }
}

/// Delivers to nobody, and always succeeds: for a program whose configuration names no exporter, and for measuring what export costs by itself.
///
/// # Examples
///
/// See [`MetricsRuntime::add_exporter`](crate::MetricsRuntime::add_exporter).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopExporter;

impl Exporter for NoopExporter {
    async fn export(&mut self, _snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
        Ok(())
    }
}

//! What a runtime takes in memory, by recorder, metric and label.

use crate::recorder::memory::RecorderMemory;
use crate::runtime::Inner;
use crate::runtime::MetricsRuntime;

/// What a runtime takes in memory, in bytes as they are asked of the allocator.
///
/// # Examples
///
/// See [`MetricsRuntime::memory`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryReport {
    /// Each recorder, the largest first.
    pub recorders: Vec<RecorderMemory>,
    /// The table by which recorders are found by their ids.
    pub registry: usize,
    /// What the names of metrics mean, which recorders with equal metrics share.
    pub catalogue: usize,
}

impl MemoryReport {
    /// All of it. What the worker, exporters and a collection under way take is not in it: that does not grow with recorders that rest.
    pub fn total(&self) -> usize {
        let recorders = self.recorders.iter().map(|recorder| recorder.bytes).sum::<usize>();
        self.registry + self.catalogue + recorders
    }
}

impl MetricsRuntime {
    /// What each recorder takes in memory, by metric and label: for the question where the memory has gone.
    ///
    /// Computed by the caller, from what recorders have published: the worker is not visited, and no event waits. Costs a walk over all
    /// series. Of a recorder that is at work it is a figure of its last publication; once it rests, it is what the allocator was asked for.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// # struct Saved(u32); impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// for id in ["small", "large"] {
    ///     runtime.recorder::<Saved>(id).counter("saves", |c| c.label("user", |Saved(user)| (*user).into())).create()?;
    /// }
    /// let large = runtime.get::<Saved>("large")?;
    /// (100..1_100).for_each(|user| large.register_event(Saved(user)));
    /// large.flush_blocking(Duration::from_secs(5))?;
    ///
    /// let memory = runtime.memory();
    /// let most = &memory.recorders[0];
    /// assert_eq!((most.id.as_str(), most.metrics[0].series), ("large", 1_000));
    /// let (key, bytes) = &most.metrics[0].labels[0];
    /// // Three or four digits for each user, and where they end.
    /// assert_eq!((key.as_str(), *bytes), ("user", 900 * (3 + 4) + 100 * (4 + 4)));
    /// assert!(most.bytes > 20 * memory.recorders[1].bytes && memory.total() > most.bytes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn memory(&self) -> MemoryReport {
        report(&self.inner)
    }
}

fn report(runtime: &Inner) -> MemoryReport {
    let mut recorders: Vec<_> = runtime.registry.all().iter().map(|recorder| recorder.memory()).collect();
    recorders.sort_by(|ours, theirs| theirs.bytes.cmp(&ours.bytes).then_with(|| ours.id.cmp(&theirs.id)));
    let catalogue =
        if runtime.control.hub.is_forked() { 0 } else { runtime.control.hub.catalogue.heap_bytes() };
    MemoryReport { recorders, registry: runtime.registry.heap_bytes(), catalogue }
}

//! A span of time that is recorded when it ends.

use crate::model::clock::Timestamp;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::recorder::dynamic::DynamicSet;
use crate::recorder::dynamic::Entry;
use crate::recorder::dynamic::event::Tags;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Measures the time from [`DynamicSet::timed`](crate::DynamicSet::timed) to its drop, and records it once.
///
/// It can be dropped on any thread, and while a panic unwinds: the time is recorded then, too. The clock is the runtime's.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let set = runtime.dynamic_set("plugins").create()?;
/// {
///     let _timed = set.timed("plugin.run", &[("plugin", "a")]);
///     // what takes its time
/// }
/// set.timed("plugin.run", &[("plugin", "a")]).cancel(); // that one did not count
/// let snapshot = set.recorder().flush_and_snapshot(Duration::from_secs(5))?;
/// let run = snapshot.exponential("plugin.run", &[("plugin", "a")]).unwrap();
/// assert_eq!(run.count(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "what is not kept measures nothing"]
pub struct Timed {
    /// `None` when there is nothing to record (any more).
    running: Option<Running>,
}

struct Running {
    set: DynamicSet,
    entry: Arc<Entry>,
    tags: Tags,
    started: Timestamp,
}

impl Timed {
    pub(super) fn begin(set: &DynamicSet, entry: Arc<Entry>, tags: Tags) -> Self {
        let started = set.now();
        Self { running: Some(Running { set: set.clone(), entry, tags, started }) }
    }

    /// One that was refused, and records nothing.
    pub(super) fn refused() -> Self {
        Self { running: None }
    }

    /// Records the time now, and says how long it was; zero if the metric was refused.
    pub fn stop(mut self) -> Duration {
        self.end().unwrap_or_default()
    }

    /// Records nothing.
    pub fn cancel(mut self) {
        self.running = None;
    }

    fn end(&mut self) -> Option<Duration> {
        let Running { set, entry, tags, started } = self.running.take()?;
        let elapsed = set.now().saturating_since(started);
        set.time(&entry, elapsed, tags);
        Some(elapsed)
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        // The clock may be the user's, and a second panic would end the process.
        if let Err(payload) = call_user(|| self.end()) {
            drop_quietly(payload);
        }
    }
}

impl fmt::Debug for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.running.as_ref().map(|running| running.entry.name());
        f.debug_struct("Timed").field("metric", &name).finish()
    }
}

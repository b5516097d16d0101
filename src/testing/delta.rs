//! What has changed between two snapshots.

use crate::recorder::view::Snapshot;

/// The difference of two snapshots of one recorder: tests that share a recorder compare against where they began.
///
/// A series that is not there counts as zero, so a test need not care whether anything was observed before.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::testing::Delta;
/// use mvx_metrics::testing::SteppedRuntime;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let mut stepped = SteppedRuntime::new("docs")?;
/// let recorder = stepped.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// recorder.register_event(Saved);
/// stepped.settle();
///
/// let before = recorder.snapshot();
/// recorder.register_event(Saved);
/// recorder.register_event(Saved);
/// stepped.settle();
/// let delta = Delta::between(&before, &recorder.snapshot());
/// assert_eq!(delta.counter("document.saves", &[]), 2);
/// assert_eq!(delta.processed(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Delta {
    before: Snapshot,
    after: Snapshot,
}

impl Delta {
    /// What happened after `before`, up to `after`.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        Self { before: before.clone(), after: after.clone() }
    }

    /// By how much a counter's series has risen.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let count = |of: &Snapshot| of.counter(name, labels).unwrap_or(0);
        count(&self.after).saturating_sub(count(&self.before))
    }

    /// By how much a gauge's series has changed.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let value = |of: &Snapshot| of.gauge(name, labels).unwrap_or(0.0);
        value(&self.after) - value(&self.before)
    }

    /// How many observations a histogram's series has gained.
    pub fn observations(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let count = |of: &Snapshot| of.histogram(name, labels).map_or(0, |histogram| histogram.count());
        count(&self.after).saturating_sub(count(&self.before))
    }

    /// How many events were processed between the two cuts.
    pub fn processed(&self) -> u64 {
        self.after.sequence().saturating_sub(self.before.sequence())
    }
}

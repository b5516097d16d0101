//! What has changed between two snapshots.

use crate::model::snapshot::ValueRef;
use crate::recorder::view::Snapshot;
use crate::testing::Expectations;

/// The difference of two snapshots of one recorder: tests that share a recorder compare against where they began.
///
/// A series that is not there counts as zero, so a test need not care whether anything was observed before. To assert, list
/// what is [expected](Self::expect): the failure then says what there was instead.
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

    /// By how much a counter has risen over all its label sets.
    pub fn total(&self, name: &str) -> u64 {
        let total = |of: &Snapshot| of.total(name).unwrap_or(0);
        total(&self.after).saturating_sub(total(&self.before))
    }

    /// By how much the series of a counter of fractions has risen; off by the rounding of both sums.
    pub fn float_counter(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let sum = |of: &Snapshot| of.float_counter(name, labels).unwrap_or(0.0);
        sum(&self.after) - sum(&self.before)
    }

    /// By how much an up-down counter's series has risen, or fallen.
    pub fn up_down(&self, name: &str, labels: &[(&str, &str)]) -> i64 {
        let level = |of: &Snapshot| of.up_down(name, labels).unwrap_or(0);
        level(&self.after).saturating_sub(level(&self.before))
    }

    /// By how much a gauge's series has changed.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let value = |of: &Snapshot| of.gauge(name, labels).unwrap_or(0.0);
        value(&self.after) - value(&self.before)
    }

    /// How many observations a histogram's, of either kind, or an average's series has gained.
    pub fn observations(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let count = |of: &Snapshot| of.value(name, labels).map_or(0, observations);
        count(&self.after).saturating_sub(count(&self.before))
    }

    /// How many events were processed between the two cuts.
    pub fn processed(&self) -> u64 {
        self.after.sequence().saturating_sub(self.before.sequence())
    }

    /// How many events were rejected or dropped between the two snapshots.
    pub fn lost(&self) -> u64 {
        self.after.accounts().lost().saturating_sub(self.before.accounts().lost())
    }

    /// Begins a list of what is expected; [`Expectations::verify`] compares.
    pub fn expect(&self) -> Expectations<'_> {
        Expectations::of(self)
    }

    pub(super) fn before(&self) -> &Snapshot {
        &self.before
    }

    pub(super) fn after(&self) -> &Snapshot {
        &self.after
    }
}

pub(super) fn observations(value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Histogram(histogram) => histogram.count(),
        ValueRef::Exponential(histogram) => histogram.count(),
        ValueRef::Average { count, .. } => count,
        ValueRef::Summary(summary) => summary.count(),
        _ => 0,
    }
}

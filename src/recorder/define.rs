//! Metrics that the event type brings along, added to a recorder.

use crate::metric::AverageBuilder;
use crate::metric::CounterBuilder;
use crate::metric::DefineMetrics;
use crate::metric::DerivedMetrics;
use crate::metric::ExponentialHistogramBuilder;
use crate::metric::ExtremeBuilder;
use crate::metric::GaugeBuilder;
use crate::metric::HistogramBuilder;
use crate::metric::UpDownBuilder;
use crate::model::event::MetricEvent;
use crate::recorder::builder::RecorderBuilder;
use crate::recorder::metric_set::MetricSet;

impl<E: DerivedMetrics, H> RecorderBuilder<E, H> {
    /// Adds the metrics that the event type brings along: with `#[derive(MetricEvent)]`, a counter for each variant and what
    /// `#[value]` says of its fields.
    ///
    /// Others may be added before and after it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "derive")]
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// #[derive(MetricEvent)]
    /// enum StorageEvent {
    ///     Saved { #[label] ok: bool, #[value(unit = "By")] bytes: u64, #[value] elapsed: Duration },
    ///     Closed,
    /// }
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<StorageEvent>("storage").derived_metrics().create()?;
    /// recorder.register_event(StorageEvent::Saved { ok: true, bytes: 512, elapsed: Duration::from_millis(3) });
    /// recorder.flush_blocking(Duration::from_secs(5))?;
    /// let snapshot = recorder.snapshot();
    /// assert_eq!(snapshot.counter("storage.saved", &[("ok", "true")]), Some(1));
    /// assert_eq!(snapshot.histogram("storage.saved.bytes", &[("ok", "true")]).map(|h| h.sum()), Some(512.0));
    /// assert_eq!(snapshot.histogram("storage.saved.elapsed", &[("ok", "true")]).map(|h| h.sum()), Some(0.003));
    /// assert!(snapshot.metric("storage.closed").is_some());
    /// # let _ = StorageEvent::Closed;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "derive"))]
    /// # fn main() {}
    /// ```
    pub fn derived_metrics(self) -> Self {
        E::define(self)
    }
}

impl<E: MetricEvent, H> DefineMetrics<E> for RecorderBuilder<E, H> {
    fn counter(self, name: &str, define: impl FnOnce(CounterBuilder<E>) -> CounterBuilder<E>) -> Self {
        self.counter(name, define)
    }

    fn gauge(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self {
        self.gauge(name, define)
    }

    fn min(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self {
        self.min(name, define)
    }

    fn max(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self {
        self.max(name, define)
    }

    fn last(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self {
        self.last(name, define)
    }

    fn up_down(self, name: &str, define: impl FnOnce(UpDownBuilder<E>) -> UpDownBuilder<E>) -> Self {
        self.up_down(name, define)
    }

    fn histogram(self, name: &str, define: impl FnOnce(HistogramBuilder<E>) -> HistogramBuilder<E>) -> Self {
        self.histogram(name, define)
    }

    fn exponential_histogram(
        self,
        name: &str,
        define: impl FnOnce(ExponentialHistogramBuilder<E>) -> ExponentialHistogramBuilder<E>,
    ) -> Self {
        self.exponential_histogram(name, define)
    }

    fn average(self, name: &str, define: impl FnOnce(AverageBuilder<E>) -> AverageBuilder<E>) -> Self {
        self.average(name, define)
    }
}

impl<E: MetricEvent> DefineMetrics<E> for MetricSet<E> {
    fn counter(self, name: &str, define: impl FnOnce(CounterBuilder<E>) -> CounterBuilder<E>) -> Self {
        self.counter(name, define)
    }

    fn gauge(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self {
        self.gauge(name, define)
    }

    fn min(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self {
        self.min(name, define)
    }

    fn max(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self {
        self.max(name, define)
    }

    fn last(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self {
        self.last(name, define)
    }

    fn up_down(self, name: &str, define: impl FnOnce(UpDownBuilder<E>) -> UpDownBuilder<E>) -> Self {
        self.up_down(name, define)
    }

    fn histogram(self, name: &str, define: impl FnOnce(HistogramBuilder<E>) -> HistogramBuilder<E>) -> Self {
        self.histogram(name, define)
    }

    fn exponential_histogram(
        self,
        name: &str,
        define: impl FnOnce(ExponentialHistogramBuilder<E>) -> ExponentialHistogramBuilder<E>,
    ) -> Self {
        self.exponential_histogram(name, define)
    }

    fn average(self, name: &str, define: impl FnOnce(AverageBuilder<E>) -> AverageBuilder<E>) -> Self {
        self.average(name, define)
    }
}

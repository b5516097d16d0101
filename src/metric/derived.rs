//! Metrics that an event type brings along.

use crate::metric::AverageBuilder;
use crate::metric::CounterBuilder;
use crate::metric::ExponentialHistogramBuilder;
use crate::metric::ExtremeBuilder;
use crate::metric::GaugeBuilder;
use crate::metric::HistogramBuilder;
use crate::metric::UpDownBuilder;
use crate::model::event::MetricEvent;

/// An event type that says by itself how it is commonly measured, for
/// [`RecorderBuilder::derived_metrics`](crate::RecorderBuilder::derived_metrics).
///
/// `#[derive(MetricEvent)]` implements it from `#[label]` and `#[value]` on fields: a counter for each variant, named as the event
/// type, and a metric for each value, named `event_type.field`.
///
/// # Examples
///
/// Written by hand:
///
/// ```
/// use mvx_metrics::{DefineMetrics, DerivedMetrics, prelude::*};
///
/// struct Saved { ok: bool }
///
/// impl MetricEvent for Saved {
///     fn event_type(&self) -> &'static str { "saved" }
/// }
///
/// impl DerivedMetrics for Saved {
///     fn define<D: DefineMetrics<Self>>(metrics: D) -> D {
///         metrics.counter("saved", |c| c.label("ok", |e| e.ok.into()))
///     }
/// }
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let recorder = runtime.recorder::<Saved>("storage").derived_metrics().create()?;
/// assert!(recorder.snapshot().metric("saved").is_some());
/// # Ok(())
/// # }
/// ```
pub trait DerivedMetrics: MetricEvent + Sized {
    /// Adds the metrics of this event type to what defines them.
    fn define<D: DefineMetrics<Self>>(metrics: D) -> D;
}

/// What metrics over events `E` can be added to, such as a [`RecorderBuilder`](crate::RecorderBuilder).
///
/// # Examples
///
/// ```
/// use mvx_metrics::{DefineMetrics, prelude::*};
///
/// struct Saved { bytes: u64 }
/// impl MetricEvent for Saved {
///     fn event_type(&self) -> &'static str { "saved" }
/// }
///
/// fn sizes<D: DefineMetrics<Saved>>(metrics: D) -> D {
///     metrics.histogram("saved.bytes", |h| h.unit(Unit::Bytes).value(|e| Some(e.bytes)))
/// }
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let recorder = sizes(runtime.recorder::<Saved>("storage")).create()?;
/// assert!(recorder.snapshot().metric("saved.bytes").is_some());
/// # Ok(())
/// # }
/// ```
pub trait DefineMetrics<E>: Sized {
    /// Adds a counter.
    fn counter(self, name: &str, define: impl FnOnce(CounterBuilder<E>) -> CounterBuilder<E>) -> Self;

    /// Adds a gauge.
    fn gauge(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self;

    /// Adds a gauge that keeps the smallest value.
    fn min(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self;

    /// Adds a gauge that keeps the largest value.
    fn max(self, name: &str, define: impl FnOnce(ExtremeBuilder<E>) -> ExtremeBuilder<E>) -> Self;

    /// Adds a gauge that is folded by the last value.
    fn last(self, name: &str, define: impl FnOnce(GaugeBuilder<E>) -> GaugeBuilder<E>) -> Self;

    /// Adds an up-down counter.
    fn up_down(self, name: &str, define: impl FnOnce(UpDownBuilder<E>) -> UpDownBuilder<E>) -> Self;

    /// Adds a histogram with explicit buckets.
    fn histogram(self, name: &str, define: impl FnOnce(HistogramBuilder<E>) -> HistogramBuilder<E>) -> Self;

    /// Adds a histogram whose buckets grow exponentially.
    fn exponential_histogram(
        self,
        name: &str,
        define: impl FnOnce(ExponentialHistogramBuilder<E>) -> ExponentialHistogramBuilder<E>,
    ) -> Self;

    /// Adds a running average.
    fn average(self, name: &str, define: impl FnOnce(AverageBuilder<E>) -> AverageBuilder<E>) -> Self;
}

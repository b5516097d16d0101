//! Exporters: what brings snapshots to other systems, and the formats they read.
//!
//! They read what [`MetricsRuntime::collect`](crate::MetricsRuntime::collect) gives, and nothing else: no exporter can slow a recorder.

#[cfg(any(feature = "http", feature = "axum08", feature = "otlp"))]
mod compression;
#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "console")]
pub mod console;
mod driver;
mod exporter;
#[cfg(feature = "json")]
pub mod json;
mod mail;
mod memory;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(any(feature = "http", feature = "axum08"))]
pub(crate) mod pages;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(any(feature = "otlp", feature = "remote-write", feature = "pushgateway"))]
mod push;
#[cfg(feature = "pushgateway")]
pub mod pushgateway;
mod registration;
#[cfg(feature = "remote-write")]
pub mod remote_write;
#[cfg(any(
    feature = "json",
    feature = "console",
    feature = "opentelemetry033",
    feature = "otlp",
    feature = "prometheus",
    feature = "statsd"
))]
#[allow(dead_code, reason = "each format uses a part of it")]
pub(crate) mod rows;
mod schedule;
#[cfg(feature = "statsd")]
pub mod statsd;
#[cfg(any(feature = "json", feature = "console"))]
mod stream;
#[cfg(any(feature = "otlp", feature = "prometheus"))]
#[allow(dead_code, reason = "each format uses a part of it")]
mod wire;

pub use exporter::ExportError;
pub use exporter::Exporter;
pub use exporter::Viewed;
pub use memory::Kept;
pub use memory::MemoryExporter;
pub use memory::NoopExporter;
#[cfg(any(
    feature = "json",
    feature = "console",
    feature = "opentelemetry033",
    feature = "otlp",
    feature = "prometheus",
    feature = "statsd"
))]
pub use rows::Omitted;
#[cfg(any(
    feature = "json",
    feature = "console",
    feature = "opentelemetry033",
    feature = "otlp",
    feature = "prometheus",
    feature = "statsd"
))]
pub use rows::Written;
pub use schedule::Schedule;

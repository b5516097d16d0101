//! Exporters: what brings snapshots to other systems, and the formats they read.
//!
//! They read what [`MetricsRuntime::collect`](crate::MetricsRuntime::collect) gives, and nothing else: no exporter can slow a recorder.

#[cfg(feature = "console")]
pub mod console;
#[cfg(feature = "json")]
pub mod json;
#[cfg(any(feature = "http", feature = "axum08"))]
pub(crate) mod pages;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(any(feature = "json", feature = "console"))]
mod rows;

#[cfg(any(feature = "json", feature = "console"))]
pub use rows::Omitted;
#[cfg(any(feature = "json", feature = "console"))]
pub use rows::Written;

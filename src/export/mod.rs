//! Exporters: what brings snapshots to other systems, and the formats they read.
//!
//! They read what [`MetricsRuntime::collect`](crate::MetricsRuntime::collect) gives, and nothing else: no exporter can slow a recorder.

#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(feature = "json")]
mod rows;

#[cfg(feature = "json")]
pub use rows::Omitted;
#[cfg(feature = "json")]
pub use rows::Written;

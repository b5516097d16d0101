//! Exporters: what brings snapshots to other systems, and the formats they read.
//!
//! They read what [`MetricsRuntime::collect`](crate::MetricsRuntime::collect) gives, and nothing else: no exporter can slow a recorder.

#[cfg(feature = "prometheus")]
pub mod prometheus;

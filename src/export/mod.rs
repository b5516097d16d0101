//! Exporters: what brings snapshots to other systems, and the formats they read.

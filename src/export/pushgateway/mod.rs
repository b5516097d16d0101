//! Prometheus's Pushgateway: for jobs that end before anybody scrapes them.
//!
//! A service is scraped, or pushes by [remote write](crate::export), not through a Pushgateway: what was pushed there stays until somebody deletes it,
//! whether or not the program still runs, and `up` tells nothing of it
//! (<https://prometheus.io/docs/practices/pushing/>).
//!
//! What is pushed is the text format 0.0.4, as one group: the job and the labels that were given. A push replaces the whole group, so a
//! series that is gone is gone there, too.

mod exporter;
mod group;

pub use exporter::PushgatewayExporter;
pub use exporter::PushgatewayExporterBuilder;

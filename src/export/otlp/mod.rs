//! OpenTelemetry's protocol, OTLP 1: metrics in protobuf, over HTTP or gRPC, to any collector.
//!
//! | of ours | in OTLP |
//! |---|---|
//! | counter, counter of fractions | monotonic cumulative sum; integers as integers |
//! | up-down counter | cumulative sum that is not monotonic |
//! | gauge | gauge |
//! | histogram | explicit-bucket histogram with sum, smallest and largest value |
//! | exponential histogram | exponential histogram, one to one |
//! | average | summary without quantiles |
//! | custom fields | a gauge for each, `name.field` |
//!
//! Names, units and descriptions are ours as they are: dotted names and units of UCUM are those that OpenTelemetry asks for. The labels of recorder,
//! group and series are attributes. Everything is cumulative unless
//! [`Temporality::Delta`] is asked for, with the start time of each series; so an export that failed is made up for by the next.

mod delta;
mod encode;
mod environment;
mod exporter;
#[cfg(feature = "otlp-grpc")]
mod grpc;
mod link;

pub use exporter::Compression;
pub use exporter::OtlpExporter;
pub use exporter::OtlpExporterBuilder;
pub use exporter::Protocol;
pub use exporter::Temporality;

//! Prometheus's remote write 1.0: pushing samples to Prometheus, or to whatever takes its protocol.
//!
//! Names and labels are those of the text formats; the runtime's namespace is the label `job` unless the builder says otherwise.
//! An [exponential histogram](crate::ExponentialHistogram) has explicit buckets, as in the text formats, or is a
//! [native histogram](RemoteWriteExporterBuilder::native_histograms) if that is asked for.
//!
//! | promised | how |
//! |---|---|
//! | samples of a series are in order | each export has a later time in milliseconds than every one before it, whatever the clock does |
//! | a series that is gone ends | by Prometheus's [stale marker](https://prometheus.io/docs/specs/prw/remote_write_spec/#stale-markers), once, when its recorder or its labels are gone |
//! | an id created again is another series of counts | the marker comes first, when the start of the series is another |
//! | nothing piles up | values are cumulative: an export that failed is made up for by the next, and there is no queue |

mod encode;
mod exporter;

pub use exporter::RemoteWriteExporter;
pub use exporter::RemoteWriteExporterBuilder;

//! The formats that Prometheus scrapes: the texts 0.0.4 and OpenMetrics 1.0, and protobuf, which has native histograms.
//!
//! In the text formats:
//!
//! | kind | Prometheus type | samples |
//! |---|---|---|
//! | counter, counter of fractions | `counter` | `_total`, in OpenMetrics with `_created` |
//! | gauge, up-down counter | `gauge` | the name alone |
//! | histogram | `histogram` | `_bucket` with `le`, `_sum`, `_count`, in OpenMetrics with `_created` |
//! | exponential histogram | `histogram` | the same, with `le` at the ends of the buckets that hold something, at most eight in a power of two |
//! | average | `summary` without quantiles | `_sum`, `_count`, in OpenMetrics with `_created` |
//! | custom fields | a `gauge` for each field | the name, `_` and the field's |
//!
//! Dots become `_`, unless the reader asks for another [`Escaping`], and the unit's word ends the name: `document.save.duration` in seconds is `document_save_duration_seconds`. Integers are
//! printed in full, floats with the fewest digits that read back equal. The overflow series has the label `otel_metric_overflow="true"`.
//! Series stand in the order of the metrics' names, then of the recorders' creation, then of their own, so two encodings of a snapshot are
//! equal byte for byte.

mod encode;
mod escaping;
mod exemplars;
mod explicit;
mod format;
mod names;
mod protobuf;
mod write;

pub use encode::Encoded;
pub use encode::Encoder;
pub use encode::Skipped;
pub use escaping::Escaping;
#[cfg(feature = "remote-write")]
pub(in crate::export) use exemplars::by_bound;
#[cfg(any(feature = "remote-write", feature = "prometheus-client026"))]
pub(crate) use explicit::each_bound;
pub use format::Exposition;
pub use format::Format;
#[cfg(any(feature = "remote-write", feature = "prometheus-client026"))]
pub(crate) use names::Names;
#[cfg(feature = "remote-write")]
pub(in crate::export) use protobuf::FINEST;
pub use protobuf::ProtobufEncoder;
#[cfg(feature = "remote-write")]
pub(in crate::export) use protobuf::buckets;
#[cfg(feature = "remote-write")]
pub(in crate::export) use protobuf::can_be_native;
#[cfg(feature = "prometheus-client026")]
pub(crate) use write::escaped;
#[cfg(feature = "remote-write")]
pub(in crate::export) use write::float;

//! Bridges to other crates of the field, each behind a feature that has that crate's version in its name.

#[cfg(feature = "axum08")]
pub mod axum08;
#[cfg(feature = "opentelemetry033")]
pub mod opentelemetry033;
#[cfg(feature = "prometheus-client026")]
pub mod prometheus_client026;

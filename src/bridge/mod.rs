//! Bridges to other crates of the field, each behind a feature that has that crate's version in its name.

#[cfg(feature = "axum08")]
pub mod axum08;

//! Instruments, labels, sets and snapshots: one program, so that it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod at_rest;
mod constant_labels;
mod derive;
mod derived_metrics;
mod dynamic_set;
mod exemplars;
mod expiry;
mod exponential;
mod extremes;
mod groups;
mod instruments;
mod metric_sets;
mod metric_views;
mod numbers;
mod process_merge;
mod snapshot_serde;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;

mod typed_labels;
mod views;

//! Hand-off, life cycle and runtime: one program, so that it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod auto_traits;
mod back_pressure;
mod bad_input;
mod buffered;
mod collection;
mod conservation;
mod contexts;
mod describe;
mod detached;
mod event_log;
mod flush;
mod handoff;
mod hooks;
#[path = "../support/inquisitive.rs"]
mod inquisitive;
mod isolation;
mod kit;
mod lifecycle;
mod losses;
mod observers;
mod order;
mod owned;
mod quarantine;
mod reader;
mod readers;
mod recorder_hooks;
mod registry;
mod rings;
mod scenarios;
mod sources;
mod states;
mod subscriptions;
#[path = "../support/mod.rs"]
mod support;

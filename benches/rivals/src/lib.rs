//! The harness that the rows and the candidates share: clocks, rounds, statistics, output.
//!
//! What a row measures stands in its own file below `rows`; how it is read stands in the guide's chapter on performance.

#![allow(missing_docs, missing_debug_implementations, reason = "an unpublished program, not an interface")]

pub mod allocations;
pub mod bursts;
pub mod clocks;
pub mod event;
pub mod five;
pub mod gate;
#[cfg(feature = "peers")]
pub mod machine;
#[cfg(feature = "peers")]
pub mod output;
pub mod rounds;
#[cfg(feature = "peers")]
pub mod rows;
pub mod stats;
pub mod steady;
pub mod subject;
pub mod threads;

/// Whatever went wrong; a benchmark that cannot measure says so and ends.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

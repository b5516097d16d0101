//! Plain data and small traits: names, labels, units, values, snapshots, events, verdicts, limits, errors, time.
//!
//! Nothing here knows a thread, an atomic or a queue.

#[cfg(feature = "runtime")]
pub mod accounts;
#[cfg(feature = "runtime")]
pub mod clock;
#[cfg(feature = "runtime")]
pub mod error;
pub mod event;
#[cfg(feature = "runtime")]
pub(crate) mod heap;
#[cfg(feature = "runtime")]
pub mod incident;
#[cfg(feature = "runtime")]
pub mod label;
#[cfg(feature = "runtime")]
pub mod limits;
#[cfg(feature = "runtime")]
pub mod name;
#[cfg(feature = "runtime")]
pub(crate) mod pattern;
#[cfg(feature = "runtime")]
pub mod policy;
#[cfg(feature = "runtime")]
pub(crate) mod prometheus;
#[cfg(feature = "runtime")]
pub mod snapshot;
#[cfg(feature = "runtime")]
pub mod unit;
#[cfg(feature = "runtime")]
pub mod verdict;

//! wip
#[cfg(feature = "runtime")]
pub(crate) mod sync;
pub(crate) mod model;
#[cfg(feature = "runtime")]
pub(crate) mod queue;
#[cfg(all(test, mvx_loom))]
#[path = "../loom-tests/mod.rs"]
mod loom_tests;

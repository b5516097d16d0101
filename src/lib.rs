//! wip
#[cfg(feature = "runtime")]
pub(crate) mod sync;
pub(crate) mod model;
#[cfg(feature = "runtime")]
pub(crate) mod queue;

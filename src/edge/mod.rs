//! What stands beside the worker to talk to the outside world: threads for work that takes its time, and what is read of the process.

#[cfg(feature = "export")]
pub(crate) mod pool;
#[cfg(feature = "sources")]
pub mod ready;
#[cfg(feature = "export")]
pub(crate) mod sources;

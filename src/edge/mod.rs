//! What stands beside the worker to talk to the outside world: threads for work that takes its time.

pub(crate) mod pool;
pub(crate) mod sources;

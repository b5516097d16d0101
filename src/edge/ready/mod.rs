//! Sources that are ready made: what a process and its tokio runtimes say of themselves.
//!
//! | source | reads | where |
//! |---|---|---|
//! | [`ProcessSource`] | CPU time, memory, file descriptors, threads and start of this process | Linux |
//! | [`TokioSource`] | workers, tasks, queue and busy time of a tokio runtime | everywhere |
//!
//! They are added by [`MetricsRuntime::add_source`](crate::MetricsRuntime::add_source), each with the least time between two looks. What the
//! runtime of the metrics says of itself needs no source: see [`RuntimeSnapshot::vitals`](crate::RuntimeSnapshot::vitals).

#[cfg(target_os = "linux")]
mod linux;
mod process;
mod tokio_runtime;

pub use process::ProcessSource;
pub use tokio_runtime::TokioSource;

//! A handle for whoever reads a runtime when it is asked to.

use crate::model::name::RecorderId;
use crate::queue::drop_quietly;
use crate::runtime::Inner;
use crate::runtime::RuntimeState;
use crate::runtime::collection::RuntimeSnapshot;
#[cfg(any(feature = "http", feature = "axum08"))]
use crate::runtime::collection::servers;
use crate::runtime::collection::source;
use crate::runtime::liveness;
use crate::runtime::liveness::Liveness;
use std::fmt;
use std::sync::Arc;
use std::sync::Weak;

/// Reads a runtime without owning it: for exporters that are asked, such as a server of `/metrics`.
///
/// A reader does not keep the runtime alive, and is no handle whose last drop begins the shutdown: the program's handles alone decide.
/// After a shutdown it reads the final state for as long as a [`MetricsRuntime`](crate::MetricsRuntime) handle is left; after that there is
/// nothing to read, and [`collect`](Self::collect) gives `None` rather than a state in which everything is missing. `Clone` gives another
/// reader of the same runtime, and costs a reference count; a reader can be sent to any thread.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let reader = runtime.reader();
/// assert!(!reader.liveness().is_alive()); // not started
/// runtime.start()?;
/// assert!(reader.liveness().is_alive());
///
/// runtime.shutdown(Duration::from_secs(5))?;
/// assert!(reader.collect().is_some_and(|snapshot| snapshot.namespace() == "docs")); // the final state
/// drop(runtime);
/// while reader.collect().is_some() {
///     std::thread::yield_now(); // a thread of the runtime's is just leaving
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RuntimeReader {
    inner: Weak<Inner>,
    namespace: RecorderId,
}

/// The runtime for the length of a call. Meanwhile its last handle may go, and then its end is here: the destructors of what the program
/// gave it, which must not end the caller.
struct Borrowed(Option<Arc<Inner>>);

impl Drop for Borrowed {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}

impl RuntimeReader {
    pub(in crate::runtime) fn new(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::downgrade(inner), namespace: inner.namespace.clone() }
    }

    /// The namespace of the runtime, also when it is gone.
    pub fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    /// The state of the whole runtime, as [`MetricsRuntime::collect`](crate::MetricsRuntime::collect) gives it; `None` when the runtime is
    /// gone. It runs no user code but the clock, asks no source, and never visits the worker.
    pub fn collect(&self) -> Option<RuntimeSnapshot> {
        self.with(RuntimeSnapshot::take)
    }

    /// Asks every source that is due, as [`MetricsRuntime::refresh_sources`](crate::MetricsRuntime::refresh_sources) does; how many have given
    /// their families, none when the runtime is gone. Runs user code, which may take its time.
    pub fn refresh_sources(&self) -> usize {
        self.with(source::refresh).unwrap_or_default()
    }

    /// Whether the runtime's worker lives, and what user code it is in; not alive when the runtime is gone.
    pub fn liveness(&self) -> Liveness {
        self.with(liveness::look).unwrap_or(Liveness { alive: false, call: None })
    }

    /// The runtime's state; [`RuntimeState::Closed`] when it is gone.
    pub fn state(&self) -> RuntimeState {
        self.with(Inner::state).unwrap_or(RuntimeState::Closed)
    }

    pub(crate) fn with<T>(&self, read: impl FnOnce(&Inner) -> T) -> Option<T> {
        let inner = Borrowed(self.inner.upgrade());
        inner.0.as_deref().map(read)
    }

    /// Shows what a server says of itself among what the runtime says, until it ends. By this name, unless another one has it.
    #[cfg(any(feature = "http", feature = "axum08"))]
    pub(crate) fn show(&self, listener: &str, server: &Arc<impl servers::Serves + 'static>) {
        self.with(|inner| servers::enter(inner, listener, server));
    }
}

/// What a server needs besides, which ends with its runtime.
#[cfg(feature = "http")]
mod serving {
    use super::RuntimeReader;
    use crate::model::incident::IncidentKind;
    use crate::recorder::operation::Operation;
    use crate::runtime::report::ShutdownReport;

    impl RuntimeReader {
        /// Over when a shutdown has begun; `None` when the runtime is gone.
        pub(crate) fn shutdown_begun(&self) -> Option<Operation> {
            let (begun, _gone) = self.with(|inner| inner.life.lock().shutdown_begun())?;
            Some(begun)
        }

        /// The shutdown, once it has begun.
        pub(crate) fn shutdown(&self) -> Option<Operation<ShutdownReport>> {
            self.with(|inner| inner.life.lock().shutdown.clone()).flatten()
        }

        pub(crate) fn is_forked(&self) -> bool {
            self.with(|inner| inner.control.hub.is_forked()).unwrap_or(false)
        }

        /// Tells the runtime's error handlers.
        pub(crate) fn note(&self, kind: IncidentKind) {
            self.with(|inner| inner.note(kind));
        }
    }
}

impl fmt::Debug for RuntimeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeReader")
            .field("namespace", &self.namespace())
            .field("state", &self.state())
            .finish()
    }
}

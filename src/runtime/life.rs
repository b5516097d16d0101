//! A runtime's state, with what belongs to it, and who may change it to what.

use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::runtime::RuntimeState;
use crate::runtime::report::ShutdownReport;
use crate::sync::Mutex;
use crate::sync::seeded;

pub(crate) struct Life {
    pub(crate) state: RuntimeState,
    /// Told when the worker thread has ended.
    pub(crate) worker: Option<Operation>,
    pub(crate) starting: Option<Operation>,
    pub(crate) shutdown: Option<Operation<ShutdownReport>>,
    /// Whoever listens to signals, and how it is told that there is nothing more to listen for.
    #[cfg(feature = "signals")]
    pub(crate) signals: Option<Operation<ShutdownReport>>,
    #[cfg(feature = "signals")]
    pub(crate) on_shutdown: Option<Completer>,
    /// Who waits for the beginning of a shutdown: servers, which serve until it is over.
    watchers: Vec<Completer>,
    /// The worker ended by a panic.
    pub(crate) lost: bool,
}

/// A shutdown as one of its callers met it.
pub(crate) enum Shutdown {
    /// Nobody was before: the caller owes the report.
    Begun(Operation<ShutdownReport>, Completer<ShutdownReport>),
    /// Somebody was.
    Joined(Operation<ShutdownReport>),
}

impl Life {
    pub(crate) fn new() -> Self {
        Self {
            state: RuntimeState::Created,
            worker: None,
            starting: None,
            shutdown: None,
            #[cfg(feature = "signals")]
            signals: None,
            #[cfg(feature = "signals")]
            on_shutdown: None,
            watchers: Vec::new(),
            lost: false,
        }
    }

    /// Over when a shutdown has begun; and what is for the caller to drop, unlocked, since it ends what has somebody's waker: those whom nobody
    /// will ask any more.
    #[cfg(feature = "http")]
    pub(crate) fn shutdown_begun(&mut self) -> (Operation, Vec<Completer>) {
        if self.shutdown.is_some() {
            return (Operation::done(Ok(())), Vec::new());
        }
        let (kept, gone) = std::mem::take(&mut self.watchers).into_iter().partition(Completer::is_awaited);
        self.watchers = kept;
        let (operation, begun) = Operation::new(None);
        self.watchers.push(begun);
        (operation, gone)
    }

    /// Those to be told that a shutdown has begun: by the caller, unlocked, since it wakes them.
    pub(crate) fn take_watchers(&mut self) -> Vec<Completer> {
        std::mem::take(&mut self.watchers)
    }
}

/// Begins the one shutdown, or joins it: looked up and written down under one lock, whoever calls (a caller, the last handle).
pub(crate) fn begin_shutdown(life: &Mutex<Life>) -> Shutdown {
    let mut guard = life.lock();
    if let Some(shutdown) = &guard.shutdown {
        return Shutdown::Joined(shutdown.clone());
    }
    if seeded("shutdown_looked_up_apart") {
        // Seeded: another begins in between, and there are two reports.
        drop(guard);
        guard = life.lock();
    }
    let (operation, done) = Operation::new(None);
    guard.shutdown = Some(operation.clone());
    guard.state = RuntimeState::Stopping;
    Shutdown::Begun(operation, done)
}

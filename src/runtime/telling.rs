//! Tells what a shutdown has to tell on a thread of its own.
//!
//! Error handlers and subscribers are user code, and may take for ever. The deadline of a shutdown holds all the same, and so
//! does the promise that no `Drop` blocks; so neither the watchdog nor a dropping thread calls them. The thread is made only if
//! there is somebody to tell; when it is held by one of them, it ends when that one returns.

use crate::model::limits;
use crate::recorder::operation::Operation;
use crate::runtime::Inner;
use std::sync::mpsc;
use std::sync::mpsc::Sender;
use std::thread::Builder;

type Incidents = Box<dyn FnOnce() + Send>;

/// Where a shutdown's incidents go, in their order.
pub(crate) struct Telling(Option<Beside>);

/// The thread that tells.
struct Beside {
    incidents: Sender<Incidents>,
    over: Operation,
}

impl Telling {
    /// Tells at once, on the calling thread: for a runtime that is stepped by hand.
    #[cfg(feature = "testing")]
    pub(crate) const fn here() -> Self {
        Self(None)
    }

    /// Tells beside the calling thread; or on it, if no thread is to be had.
    pub(crate) fn beside(inner: &Inner) -> Self {
        let journal = &inner.control.hub.journal;
        // A recorder may say more than its runtime, so only what nobody at all is told of needs no thread.
        if !journal.is_heard() {
            return Self(None);
        }
        let (incidents, told) = mpsc::channel::<Incidents>();
        let (over, done) = Operation::new(None);
        let spawned = Builder::new().name(format!("{}.telling", inner.namespace)).spawn(move || {
            told.into_iter().for_each(|tell| tell());
            done.complete(Ok(()));
        });
        Self(spawned.is_ok().then_some(Beside { incidents, over }))
    }

    pub(crate) fn tell(&self, incidents: impl FnOnce() + Send + 'static) {
        match &self.0 {
            None => incidents(),
            // Refused only by a thread that is gone, which nothing ends but the end of this.
            Some(beside) => drop(beside.incidents.send(Box::new(incidents))),
        }
    }

    /// Waits until everything is told, and not longer than a moment for somebody who does not come back.
    pub(crate) fn end(self) {
        if let Some(Beside { incidents, over }) = self.0 {
            drop(incidents);
            // Told or not: whoever waits for the shutdown gets its report now.
            let _ = over.wait(limits::EXIT_GRACE);
        }
    }
}

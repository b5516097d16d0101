//! Tells what a shutdown has to tell on a thread of its own.
//!
//! Error handlers and subscribers are user code, and may take for ever. The deadline of a shutdown holds all the same, and so
//! does the promise that no `Drop` blocks; so neither the watchdog nor a dropping thread calls them. The thread is made only if
//! there is somebody to tell; when it is held by one of them, it ends when that one returns. It keeps neither the runtime nor a
//! recorder alive.

use crate::model::limits;
use crate::recorder::journal::Journal;
use crate::recorder::journal::Untold;
use crate::recorder::operation::Operation;
use std::sync::Arc;
use std::sync::mpsc;
use std::sync::mpsc::Sender;
use std::thread::Builder;

/// Where a shutdown's incidents go, in their order.
pub(crate) struct Telling {
    journal: Arc<Journal>,
    beside: Option<Beside>,
}

/// The thread that tells.
struct Beside {
    incidents: Sender<Untold>,
    over: Operation,
}

impl Telling {
    /// Tells at once, on the calling thread: for a runtime that is stepped by hand.
    #[cfg(feature = "testing")]
    pub(crate) fn here(journal: &Arc<Journal>) -> Self {
        Self { journal: Arc::clone(journal), beside: None }
    }

    /// Tells beside the calling thread; or on it, if no thread is to be had.
    pub(crate) fn beside(journal: &Arc<Journal>, namespace: &str) -> Self {
        // A recorder may say more than its runtime, so only what nobody at all is told of needs no thread.
        let beside = if journal.is_heard() { spawn(Arc::clone(journal), namespace) } else { None };
        Self { journal: Arc::clone(journal), beside }
    }

    pub(crate) fn tell(&self, incident: Untold) {
        match &self.beside {
            None => self.journal.tell(incident),
            // Refused only by a thread that is gone, which nothing ends but the end of this.
            Some(beside) => drop(beside.incidents.send(incident)),
        }
    }

    /// Waits until everything is told, and not longer than a moment for somebody who does not come back.
    pub(crate) fn end(self) {
        if let Some(Beside { incidents, over }) = self.beside {
            drop(incidents);
            // Told or not: whoever waits for the shutdown gets its report now.
            let _ = over.wait(limits::EXIT_GRACE);
        }
    }
}

fn spawn(journal: Arc<Journal>, namespace: &str) -> Option<Beside> {
    let (incidents, told) = mpsc::channel();
    let (over, done) = Operation::new(None);
    let run = move || {
        told.into_iter().for_each(|incident| journal.tell(incident));
        done.complete(Ok(()));
    };
    Builder::new().name(format!("{namespace}.telling")).spawn(run).ok()?;
    Some(Beside { incidents, over })
}

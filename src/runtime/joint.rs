//! Several operations as one: over when all are, with the first error there was.

use crate::model::error::Error;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;

/// Waits for the operations one after the other, woken by whoever ends the one it waits for: each is looked at once or twice,
/// and no thread is held.
struct Joint {
    state: Mutex<State>,
}

struct State {
    waiting: VecDeque<Operation>,
    error: Option<Error>,
    done: Option<Completer>,
}

/// Tells `done` when all of them are over.
pub(crate) fn all(operations: VecDeque<Operation>, done: Completer) {
    let state = State { waiting: operations, error: None, done: Some(done) };
    Arc::new(Joint { state: Mutex::new(state) }).wake();
}

impl Wake for Joint {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let ended = self.state.lock().advance(&mut Context::from_waker(&waker));
        if let Some((done, result)) = ended {
            // Unlocked: it wakes foreign tasks.
            done.complete(result);
        }
    }
}

impl State {
    /// Passes those that are over; the end, once.
    fn advance(&mut self, context: &mut Context<'_>) -> Option<(Completer, Result<(), Error>)> {
        while let Some(first) = self.waiting.front_mut() {
            let Poll::Ready(result) = Pin::new(first).poll(context) else { return None };
            self.waiting.pop_front();
            if let Err(error) = result {
                self.error.get_or_insert(error);
            }
        }
        let result = self.error.take().map_or(Ok(()), Err);
        self.done.take().map(|done| (done, result))
    }
}

//! What users have given to recorders that are gone, dropped one after the other however long the chain.

use crate::queue::drop_quietly;
use std::cell::RefCell;

/// Anything that is dropped, and nothing else.
trait Anything {}

impl<T> Anything for T {}

type Waiting = Vec<Box<dyn Anything>>;

thread_local! {
    /// What waits for its turn on this thread; `None` while nothing is being dropped.
    static LATER: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

/// Drops what is left of a recorder; what comes of that on this thread, other recorders that go with it, when it is over, before this returns.
///
/// A metric may own a recorder whose metric owns another: by calls within calls, a long chain of them would take as deep a stack.
pub(super) fn drop_in_turn<T: 'static>(remains: T) {
    let mut remains = Some(remains);
    let first = LATER.try_with(|later| match &mut *later.borrow_mut() {
        Some(waiting) => {
            waiting.extend(remains.take().map(|remains| Box::new(remains) as Box<dyn Anything>));
            false
        }
        none => {
            *none = Some(Vec::new());
            true
        }
    });
    drop_quietly(remains);
    if first != Ok(true) {
        // Somebody above does it; or the thread is being torn down, and it is done.
        return;
    }
    while let Some(next) = next() {
        drop_quietly(next);
    }
}

/// The next in turn; after the last one nothing waits any more.
fn next() -> Option<Box<dyn Anything>> {
    let next = LATER.try_with(|later| {
        let mut later = later.borrow_mut();
        let next = later.as_mut().and_then(Vec::pop);
        if next.is_none() {
            *later = None;
        }
        next
    });
    next.ok().flatten()
}

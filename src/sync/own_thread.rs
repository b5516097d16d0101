//! Which threads are ours: calls that wait for the worker must not be made on it.

use std::cell::Cell;

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// Marks the calling thread as one of the runtime's own, for the rest of its life.
pub(crate) fn mark() {
    OWN.with(|own| own.set(true));
}

/// Whether the calling thread is one of the runtime's own; false while a thread is being torn down.
pub(crate) fn is_own() -> bool {
    OWN.try_with(Cell::get).unwrap_or(false)
}

/// Marks the calling thread until the mark is dropped: for threads that are ours for the length of a call.
pub(crate) fn borrow() -> Borrowed {
    Borrowed { before: OWN.try_with(|own| own.replace(true)).unwrap_or(true) }
}

/// Ends a borrowed mark when dropped.
pub(crate) struct Borrowed {
    before: bool,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // Err only while the thread is torn down: then nobody asks any more.
        let _ = OWN.try_with(|own| own.set(self.before));
    }
}

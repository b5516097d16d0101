//! Gives signals back to the process: whatever a signal does without a handler, it does from then on.

use std::ffi::c_int;

/// Ctrl-C; the numbers of these two are the same on every Unix.
const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;

/// The default action.
const SIG_DFL: usize = 0;

// SAFETY: POSIX; a handler is passed as what it is, the address of a function or a small number.
unsafe extern "C" {
    fn signal(signal: c_int, handler: usize) -> usize;
}

/// From now on Ctrl-C and SIGTERM end the process, as they do in one that asked for nothing else.
pub(crate) fn restore() {
    for number in [SIGINT, SIGTERM] {
        // SAFETY: both are signals that may be handled, and the default action needs no handler that lives.
        unsafe { signal(number, SIG_DFL) };
    }
}

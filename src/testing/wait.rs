//! Waiting for a condition, with a deadline.

use std::time::Duration;
use std::time::Instant;

/// How long `until` rests between two looks.
const PAUSE: Duration = Duration::from_micros(200);

/// Waits until `condition` holds, at most `timeout`; whether it came to hold.
///
/// For what a test cannot flush: another process, a real server, a thread of somebody else's.
///
/// # Examples
///
/// ```
/// use mvx_metrics::testing::until;
/// use std::time::Duration;
///
/// let worker = std::thread::spawn(|| 1 + 1);
/// assert!(until(Duration::from_secs(5), || worker.is_finished()));
/// assert!(!until(Duration::ZERO, || false));
/// ```
pub fn until(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() >= timeout {
            return false;
        }
        crate::sync::nap(PAUSE);
    }
}

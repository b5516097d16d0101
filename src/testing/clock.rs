//! Time that passes when a test says so.

use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A clock that stands still until it is advanced. `Clone` gives another handle to the same clock.
///
/// # Examples
///
/// ```
/// use mvx_metrics::Clock;
/// use mvx_metrics::Timestamp;
/// use mvx_metrics::testing::ManualClock;
/// use std::time::Duration;
///
/// let clock = ManualClock::at(Timestamp::from_unix_nanos(0));
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3));
/// assert_eq!(clock.now().saturating_since(before), Duration::from_secs(3));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<Mutex<Timestamp>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(start)) }
    }

    /// Lets `duration` pass.
    pub fn advance(&self, duration: Duration) {
        let mut now = self.now.lock();
        *now = now.saturating_add(duration);
    }
}

impl Default for ManualClock {
    /// A clock that shows the first second of the year 2000: a round, recognisable time.
    fn default() -> Self {
        Self::at(Timestamp::from_unix_nanos(946_684_800_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock()
    }
}

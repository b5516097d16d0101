//! Time, in one type and one trait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// An instant in nanoseconds since the Unix epoch, read from a clock that never goes back.
///
/// The wall clock is read once, when the clock is made; from then on only monotonic time is added. So differences are
/// durations, and a stepped wall clock changes nothing. Arithmetic saturates.
///
/// # Examples
///
/// ```
/// use mvx_metrics::Timestamp;
/// use std::time::Duration;
///
/// let start = Timestamp::from_unix_nanos(1_000);
/// let later = start.saturating_add(Duration::from_nanos(500));
/// assert_eq!(later.saturating_since(start), Duration::from_nanos(500));
/// assert_eq!(start.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant `nanos` nanoseconds after the Unix epoch.
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn unix_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, or zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `duration` later, at most the last one that can be written.
    pub const fn saturating_add(self, duration: Duration) -> Self {
        let nanos = duration.as_nanos();
        if nanos > u64::MAX as u128 { Self(u64::MAX) } else { Self(self.0.saturating_add(nanos as u64)) }
    }

    /// The same instant as a [`SystemTime`].
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now; never earlier than any answer given before.
    fn now(&self) -> Timestamp;
}

/// The machine's clock: wall time at creation plus monotonic time since.
#[derive(Clone, Debug)]
pub struct SystemClock {
    origin: Instant,
    unix_nanos: u64,
}

impl SystemClock {
    /// A clock that starts at the wall time of this call.
    pub fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), unix_nanos: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.unix_nanos).saturating_add(self.origin.elapsed())
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

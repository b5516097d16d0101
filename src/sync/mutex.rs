//! Locks without poisoning, for the cold path.
//!
//! No user code ever runs under one of ours: it might panic, hang, or come back for the same lock. Builds with debug assertions count the
//! locks that a thread holds, and look at the count wherever user code begins.

#[cfg(all(test, mvx_loom))]
use loom::sync::Mutex as Inner;
#[cfg(all(test, mvx_loom))]
use loom::sync::MutexGuard as InnerGuard;
use std::fmt;
use std::ops::Deref;
use std::ops::DerefMut;
use std::sync::Condvar;
#[cfg(not(all(test, mvx_loom)))]
use std::sync::Mutex as Inner;
#[cfg(not(all(test, mvx_loom)))]
use std::sync::MutexGuard as InnerGuard;
use std::sync::PoisonError;
use std::sync::TryLockError;
use std::time::Duration;

/// std's mutex, with a poisoned lock treated as what it is here: a lock. A panic cannot leave the value half-written.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(Inner<T>);

/// The value of a [`Mutex`], for as long as this is held.
pub(crate) type MutexGuard<'a, T> = Guarded<InnerGuard<'a, T>>;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        Guarded::new(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The value, if nobody holds it now: for a forked child, in which the holder may be a thread that it does not have.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(Guarded::new(guard)),
            Err(TryLockError::Poisoned(poisoned)) => Some(Guarded::new(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A value under a lock, whose changes can be waited for. Always std's: time is not modelled.
#[derive(Debug)]
pub(crate) struct Monitor<T> {
    value: std::sync::Mutex<T>,
    changed: Condvar,
}

/// The value of a [`Monitor`], for as long as this is held.
pub(crate) type MonitorGuard<'a, T> = Guarded<std::sync::MutexGuard<'a, T>>;

impl<T> Monitor<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: std::sync::Mutex::new(value), changed: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MonitorGuard<'_, T> {
        Guarded::new(self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the lock back until somebody tells of a change, at most for `time`; it may also return without either.
    pub(crate) fn wait<'a>(&'a self, guard: MonitorGuard<'a, T>, time: Duration) -> MonitorGuard<'a, T> {
        let waited = self.changed.wait_timeout(guard.guard, time);
        Guarded::new(waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(crate) fn tell_all(&self) {
        self.changed.notify_all();
    }
}

/// A guard that counts while it is held.
pub(crate) struct Guarded<G> {
    guard: G,
    _held: Held,
}

impl<G> Guarded<G> {
    fn new(guard: G) -> Self {
        Self { guard, _held: Held::new() }
    }
}

impl<G: Deref> Deref for Guarded<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Guarded<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

impl<G: fmt::Debug> fmt::Debug for Guarded<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}

/// User code begins here: in builds with debug assertions, fails if this thread holds a lock of ours.
#[inline(always)]
pub(crate) fn assert_unlocked() {
    debug_assert_eq!(held::count(), 0, "user code would run under a lock");
}

use held::Held;

/// Models run their threads on one thread of the system, where counts by thread would be mixed up.
#[cfg(all(debug_assertions, not(all(test, mvx_loom))))]
mod held {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<u32> = const { Cell::new(0) };
    }

    /// One lock held by this thread, which alone can give it back.
    pub(super) struct Held;

    impl Held {
        pub(super) fn new() -> Self {
            let _ = COUNT.try_with(|count| count.set(count.get() + 1));
            Self
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = COUNT.try_with(|count| count.set(count.get() - 1));
        }
    }

    pub(super) fn count() -> u32 {
        COUNT.try_with(Cell::get).unwrap_or(0)
    }
}

#[cfg(not(all(debug_assertions, not(all(test, mvx_loom)))))]
mod held {
    pub(super) struct Held;

    impl Held {
        #[inline(always)]
        pub(super) fn new() -> Self {
            Self
        }
    }

    #[allow(dead_code, reason = "what a debug assertion alone asks for")]
    pub(super) fn count() -> u32 {
        0
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[cfg(all(debug_assertions, panic = "unwind"))]
    #[test]
    fn user_code_under_a_lock_of_either_kind_is_noticed_and_outside_it_is_not() {
        let (mutex, monitor) = (Mutex::new(1), Monitor::new(2));
        let noticed = || std::panic::catch_unwind(assert_unlocked).is_err();
        assert!(!noticed());
        {
            let _held = mutex.lock();
            assert!(noticed());
        }
        {
            let _held = mutex.try_lock();
            assert!(noticed());
        }
        let held = monitor.wait(monitor.lock(), Duration::ZERO);
        assert!(noticed());
        drop(held);
        assert!(!noticed() && *mutex.lock() + *monitor.lock() == 3);
    }

    #[cfg(panic = "unwind")]
    #[test]
    fn a_lock_that_a_panic_went_through_is_a_lock() {
        let (mutex, monitor) = (Mutex::new(1), Monitor::new(1));
        let through = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (mut one, mut other) = (mutex.lock(), monitor.lock());
            (*one, *other) = (2, 2);
            std::panic::resume_unwind(Box::new("through"));
        }));
        assert!(through.is_err());
        let tried = mutex.try_lock().map(|value| *value);
        assert_eq!((tried, *mutex.lock(), *monitor.lock()), (Some(2), 2, 2));
    }
}

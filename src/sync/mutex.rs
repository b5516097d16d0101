//! A lock without poisoning, for the cold path.

#[cfg(all(test, mvx_loom))]
use loom::sync::Mutex as Inner;
#[cfg(all(test, mvx_loom))]
pub(crate) use loom::sync::MutexGuard;
#[cfg(not(all(test, mvx_loom)))]
use std::sync::Mutex as Inner;
#[cfg(not(all(test, mvx_loom)))]
pub(crate) use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::TryLockError;

/// std's mutex, with a poisoned lock treated as what it is here: a lock. No user code ever runs under one of ours, so a
/// panic cannot leave the value half-written.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, if nobody holds it now: for a forked child, in which the holder may be a thread that it does not have.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

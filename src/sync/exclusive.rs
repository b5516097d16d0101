//! A value that one thread at a time may claim, without waiting.

use crate::sync::UnsafeCell;
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering;
use crate::sync::seeded;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ops::DerefMut;

/// A value behind a try-only lock: a claim succeeds at once or not at all.
///
/// The actor half of a recorder lives in one. The hand-off protocol already gives one thread at a time the right to it;
/// the claim makes that right checkable, keeps `unsafe` out of the actor, and answers re-entrant calls with `None` instead
/// of a deadlock. It does not poison, so a claim may be held across user code that panics.
///
/// S1 (safety): the cell is only dereferenced through a `Claim`, and at most one `Claim` exists, because making one needs
/// the change of `claimed` from false to true.
#[derive(Default)]
pub(crate) struct Exclusive<T> {
    claimed: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: S1 gives the value to one thread at a time, and claim (acquire) reads what the previous release wrote; so sharing
// the cell moves the value between threads and never shares it, which is what `T: Send` allows.
unsafe impl<T: Send> Sync for Exclusive<T> {}

// SAFETY: moving the cell moves the value.
unsafe impl<T: Send> Send for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { claimed: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The value, if nobody holds it. One read-modify-write.
    pub(crate) fn claim(&self) -> Option<Claim<'_, T>> {
        if seeded("claim_by_store") {
            // Seeded: two threads may look before either of them stores.
            if self.claimed.load(Ordering::Acquire) {
                return None;
            }
            self.claimed.store(true, Ordering::Release);
            return Some(Claim { cell: self, lends: PhantomData });
        }
        // Not a swap: a refused claim must not write, and the model could not place its write.
        self.claimed
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then(|| Claim { cell: self, lends: PhantomData })
    }
}

impl<T> fmt::Debug for Exclusive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive").finish_non_exhaustive()
    }
}

/// The right to the value until it is dropped.
#[must_use]
pub(crate) struct Claim<'a, T> {
    cell: &'a Exclusive<T>,
    /// A claim is a `&mut T` that knows its end: without this it would be `Sync` for a `T` that is not, because the cell is.
    lends: PhantomData<&'a mut T>,
}

impl<T> Deref for Claim<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: S1: this claim is the only one, and `&self` forbids a `&mut` from `deref_mut` meanwhile.
        self.cell.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for Claim<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: S1: this claim is the only one, and `&mut self` makes this the only reference from it.
        self.cell.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        let order = if seeded("unclaim_relaxed") { Ordering::Relaxed } else { Ordering::Release };
        self.cell.claimed.store(false, order);
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_is_refused_until_the_first_is_dropped() {
        let cell = Exclusive::new(1);
        let mut first = cell.claim().unwrap();
        *first += 1;
        assert!(cell.claim().is_none());
        drop(first);
        assert_eq!(cell.claim().map(|value| *value), Some(2));
    }

    /// Compiles only while a claim on a value that is not `Sync` is not `Sync` either: otherwise `A` cannot be inferred.
    const _: fn() = || {
        trait NotSync<A> {
            fn holds() {}
        }
        impl<T: ?Sized> NotSync<()> for T {}
        impl<T: ?Sized + Sync> NotSync<u8> for T {}
        <Claim<'_, std::cell::Cell<u8>> as NotSync<_>>::holds();
    };

    #[cfg(panic = "unwind")]
    #[test]
    fn a_panic_under_a_claim_does_not_poison() {
        let cell = Exclusive::new(0);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut claim = cell.claim().unwrap();
            *claim = 7;
            panic!("user code");
        }));
        assert!(result.is_err());
        assert_eq!(cell.claim().map(|value| *value), Some(7));
    }
}

//! A value that most of its kind never need: made by whoever needs it first, without a lock.

use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

/// A value that is made when it is needed first, and stays. One word until then.
///
/// Two threads that need it at once both make one, and the one that comes second drops its own: nobody waits for a thread that is suspended, or that a
/// forked child does not have.
///
/// S1 (safety): the pointer is null or that of a box that was leaked here; it changes once, from null, and the box is freed by the destructor alone.
pub(crate) struct OnNeed<T> {
    made: AtomicPtr<T>,
    owns: PhantomData<T>,
}

impl<T: Default + Send + Sync> OnNeed<T> {
    pub(crate) fn new() -> Self {
        Self { made: AtomicPtr::new(ptr::null_mut()), owns: PhantomData }
    }

    /// The value, if somebody has needed it.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the release by which it was put here.
        let made = self.made.load(Ordering::Acquire);
        // SAFETY: S1: not null, it is a box that lives as long as `self`; only shared references to it are made.
        unsafe { made.as_ref() }
    }

    /// The value, made now if nobody has needed it before.
    pub(crate) fn make(&self) -> &T {
        if let Some(made) = self.get() {
            return made;
        }
        let fresh = Box::into_raw(Box::<T>::default());
        match self.made.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: S1: it is this cell's from here on.
            Ok(_) => unsafe { &*fresh },
            Err(winner) => {
                // SAFETY: made above and never shown to anybody.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: S1: another thread has put it here, and it stays.
                unsafe { &*winner }
            }
        }
    }
}

impl<T> Drop for OnNeed<T> {
    fn drop(&mut self) {
        let made = self.made.load(Ordering::Acquire);
        if !made.is_null() {
            // SAFETY: S1, and `&mut self`: nobody has a reference any more.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

impl<T> fmt::Debug for OnNeed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnNeed").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    #[test]
    fn there_is_nothing_before_it_is_needed_and_one_for_all_afterwards() {
        for _ in 0..if cfg!(miri) { 3 } else { 200 } {
            let (cell, barrier) = (OnNeed::<AtomicUsize>::new(), Barrier::new(3));
            assert!(cell.get().is_none());
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        barrier.wait();
                        cell.make().fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
            assert_eq!(cell.get().map(|made| made.load(Ordering::Relaxed)), Some(3));
        }
    }

    #[test]
    fn two_who_need_it_at_once_have_the_same() {
        static BOTH: Barrier = Barrier::new(2);
        struct Met(AtomicUsize);
        impl Default for Met {
            /// Where nobody has put one yet: the other, who has not either, comes here as well.
            fn default() -> Self {
                BOTH.wait();
                Self(AtomicUsize::new(0))
            }
        }
        let cell = OnNeed::<Met>::new();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| cell.make().0.fetch_add(1, Ordering::Relaxed));
            }
        });
        assert_eq!(cell.get().map(|met| met.0.load(Ordering::Relaxed)), Some(2));
    }

    #[test]
    fn it_ends_with_its_cell() {
        struct Holder(Arc<AtomicUsize>);
        impl Drop for Holder {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        #[derive(Default)]
        struct Kept(std::sync::OnceLock<Holder>);
        let ended = Arc::new(AtomicUsize::new(0));
        let cell = OnNeed::<Kept>::new();
        let _ = cell.make().0.set(Holder(Arc::clone(&ended)));
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        drop(cell);
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    }
}

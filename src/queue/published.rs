//! The publication cell: one writer replaces a value, any number of readers take it, nobody waits.
//!
//! # How
//!
//! The cell is one word: the address of a counted node in its low 48 bits, and in its high 16 how many references readers
//! have taken from it. A published node starts with 65,536 references that belong to the cell; a reader takes
//! one by raising the count in the word, one read-modify-write for the address *and* the right to it. The writer swaps the word
//! and learns in the same instruction how many were taken; it gives back the rest. Nothing depends on how many threads
//! have ever read, there are no per-thread records, and nothing is deferred. (Split reference counts as in Anthony Williams,
//! "C++ Concurrency in Action", 2nd ed., 7.2.4, with the counts prepaid so that a reader touches one word.)
//!
//! A reader that finds the count at half of its range moves 32,768 references back before it goes on. It does so
//! while it holds one, so the node cannot go away under it; for the count to overflow, 32,768 threads would have to be in
//! that place at once.
//!
//! - S1 (safety) `node.refs = (65,536 - taken) + references held outside`, at every instant in which no call is in flight.
//! - S2 A node is freed by whoever brings its `refs` to zero, and the cell's share keeps it above while it is published.
//! - L1 (liveness) A read and a replacement are one instruction each; a refill's exchange fails only where another reader or the writer went ahead.
//!
//! The model `published` fails if the refill is done without looking at the address again. Where an address does not fit into
//! 48 bits (32-bit targets, tagged heaps) the cell is a lock around the same node: see `Word` below.

use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering;
use crate::sync::seeded;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

/// References that a node starts with. Small under the model, so that three reads meet the refill, and under Miri, which is slow.
const PREPAID: usize = if cfg!(all(test, mvx_loom)) {
    8
} else if cfg!(miri) {
    256
} else {
    1 << 16
};
const REFILL_AT: usize = if cfg!(all(test, mvx_loom)) { 2 } else { PREPAID / 2 };

/// A counted, immutable value, as it was published. `Clone` is one increment.
pub(crate) struct Shared<T> {
    node: NonNull<Counted<T>>,
    owns: PhantomData<Counted<T>>,
}

struct Counted<T> {
    refs: AtomicUsize,
    value: T,
}

// SAFETY: a `Shared` gives `&T` to any thread that holds one, and drops the value on whichever is last: as for `Arc`.
unsafe impl<T: Send + Sync> Send for Shared<T> {}

// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        let node = Box::new(Counted { refs: AtomicUsize::new(1), value });
        Self { node: NonNull::from(Box::leak(node)), owns: PhantomData }
    }

    /// What one takes on the heap, without what the value owns.
    pub(crate) const fn bytes() -> usize {
        size_of::<Counted<T>>()
    }

    /// The value, to be changed, if this is the only reference.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        // Acquire: what other holders did before they let go happens before the change.
        let order = if seeded("release_unseen") { Ordering::Relaxed } else { Ordering::Acquire };
        if self.counted().refs.load(order) != 1 {
            return None;
        }
        // SAFETY: the only reference is this one, and it is borrowed mutably.
        Some(unsafe { &mut (*self.node.as_ptr()).value })
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: S2: this reference keeps the node alive.
        unsafe { self.node.as_ref() }
    }

    /// # Safety
    ///
    /// The caller owns one reference to the node and gives it up.
    unsafe fn from_owned(node: NonNull<Counted<T>>) -> Self {
        Self { node, owns: PhantomData }
    }

    /// The node, with the reference in the caller's hands.
    fn into_owned(self) -> NonNull<Counted<T>> {
        let node = self.node;
        std::mem::forget(self);
        node
    }
}

impl<T> Clone for Shared<T> {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed: a new reference is made from one that exists, as in `Arc`.
        let before = self.counted().refs.fetch_add(1, Ordering::Relaxed);
        if before > isize::MAX as usize {
            // As `Arc` does: a program that forgets that many clones would otherwise free what it still uses.
            // tidy: allow(words): there is no caller to return an error to that could still be sound
            std::process::abort();
        }
        Self { node: self.node, owns: PhantomData }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this reference is given up here and not used again.
        unsafe { give_back(self.node, 1) };
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Gives `count` references up; frees the node with the last.
///
/// # Safety
///
/// The caller owns that many references and does not use the node afterwards.
#[inline]
unsafe fn give_back<T>(node: NonNull<Counted<T>>, count: usize) {
    // SAFETY: the caller's references keep the node alive up to this instruction.
    let before = unsafe { (*node.as_ptr()).refs.fetch_sub(count, Ordering::Release) };
    if before == count {
        // Pairs with the release of every other holder: their last use happens before the value is dropped. A load of what was
        // just written, not a fence, which ThreadSanitizer does not understand; std's `Arc` does the same for it.
        // SAFETY: nobody else holds a reference, so the node is this thread's.
        unsafe { (*node.as_ptr()).refs.load(Ordering::Acquire) };
        // SAFETY: nobody else holds a reference, and the node came from a box.
        drop(unsafe { Box::from_raw(node.as_ptr()) });
    }
}

/// The cell. Reading is wait-free but for other readers' exchanges; replacing is one swap.
pub(crate) struct Published<T> {
    word: word::Word<Counted<T>>,
    /// Where the node is, in the clear: a leak detector that looks for addresses does not see the one beside a count.
    #[cfg(mvx_leaks)]
    clear: crate::sync::atomic::AtomicPtr<Counted<T>>,
}

// SAFETY: the cell hands out `Shared<T>` to any thread.
unsafe impl<T: Send + Sync> Send for Published<T> {}

// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Published<T> {}

impl<T> Published<T> {
    pub(crate) fn new(value: Shared<T>) -> Self {
        let node = prepay(value);
        Self {
            word: word::Word::new(node),
            #[cfg(mvx_leaks)]
            clear: crate::sync::atomic::AtomicPtr::new(node.as_ptr()),
        }
    }

    /// What is published now.
    #[inline]
    pub(crate) fn load(&self) -> Shared<T> {
        let (node, taken) = self.word.take_one();
        // SAFETY: the exchange made one of the cell's references this reader's.
        let shared = unsafe { Shared::from_owned(node) };
        if taken >= REFILL_AT {
            self.refill(&shared);
        }
        shared
    }

    /// Asks for the count of what is published, to be written soon.
    pub(crate) fn fetch(&self) {
        self.word.fetch();
    }

    /// Publishes `value`, and gives back what was published before.
    pub(crate) fn replace(&self, value: Shared<T>) -> Shared<T> {
        let prepaid = prepay(value);
        #[cfg(mvx_leaks)]
        self.clear.store(prepaid.as_ptr(), Ordering::Relaxed);
        let (node, taken) = self.word.swap(prepaid);
        // One of the references left stays with the caller.
        let left = PREPAID - taken;
        debug_assert!(left >= 1, "the refill keeps the count below its range");
        if left > 1 {
            // SAFETY: they were the cell's, which has just let go of the node; one more is kept below.
            unsafe { give_back(node, left - 1) };
        }
        // SAFETY: the reference kept above.
        unsafe { Shared::from_owned(node) }
    }

    /// Moves taken references back into the cell's share, so that the count never leaves its range.
    #[cold]
    #[inline(never)]
    fn refill(&self, held: &Shared<T>) {
        // `held` keeps the node alive and its address taken, so an equal address below is this node (no ABA).
        held.counted().refs.fetch_add(REFILL_AT, Ordering::Relaxed);
        if !self.word.give_many(held.node, REFILL_AT) {
            // Replaced, or refilled by another reader. `held` is one reference more, so this is never the last.
            held.counted().refs.fetch_sub(REFILL_AT, Ordering::Release);
        }
    }
}

/// A node with the cell's references paid in.
fn prepay<T>(value: Shared<T>) -> NonNull<Counted<T>> {
    // The one reference of `value` becomes one of the cell's.
    value.counted().refs.fetch_add(PREPAID - 1, Ordering::Relaxed);
    value.into_owned()
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        let (node, taken) = self.word.last();
        // SAFETY: the cell's share, given up with the cell.
        unsafe { give_back(node, PREPAID - taken) };
    }
}

impl<T> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").finish_non_exhaustive()
    }
}

/// Address and count in one word: only where user addresses have 48 bits and heaps do not tag them.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(target_os = "android")))]
mod word {
    use crate::sync::atomic::AtomicUsize;
    use crate::sync::atomic::Ordering;
    use crate::sync::fetch_for_write;
    use crate::sync::seeded;
    use std::marker::PhantomData;
    use std::ptr::NonNull;

    const SHIFT: u32 = 48;
    const ADDRESS: usize = (1 << SHIFT) - 1;

    /// An integer, not a pointer: an exchange compares addresses alone, so with a pointer a reader that was late could put one to a node that is gone in the
    /// place of one to a node that has its address since. The provenance of every node that is put in is exposed, and taken up again by whoever reads its address.
    pub(super) struct Word<N>(AtomicUsize, PhantomData<*mut N>);

    impl<N> Word<N> {
        pub(super) fn new(node: NonNull<N>) -> Self {
            Self(AtomicUsize::new(checked(node)), PhantomData)
        }

        /// Takes one reference: the node and how many are taken now.
        #[inline]
        pub(super) fn take_one(&self) -> (NonNull<N>, usize) {
            // Acquire: pairs with the release of `swap`, so the node's content is visible.
            let before = self.0.fetch_add(1 << SHIFT, Ordering::Acquire);
            (node(before), taken(before) + 1)
        }

        /// Puts another node in: the old one and how many of its references were taken.
        pub(super) fn swap(&self, fresh: NonNull<N>) -> (NonNull<N>, usize) {
            // Release: publishes the new node. Acquire: pairs with nothing the writer needs, it made the old node itself.
            let old = self.0.swap(checked(fresh), Ordering::AcqRel);
            (node(old), taken(old))
        }

        /// Asks for the node's count.
        pub(super) fn fetch(&self) {
            // Relaxed: an address is all that is made of it.
            let word = self.0.load(Ordering::Relaxed);
            fetch_for_write(std::ptr::without_provenance::<u8>(word & ADDRESS));
        }

        /// Counts `many` references as not taken, if `held` still stands here and at least as many are taken.
        pub(super) fn give_many(&self, held: NonNull<N>, many: usize) -> bool {
            let mut seen = self.0.load(Ordering::Relaxed);
            loop {
                if (node::<N>(seen) != held || taken(seen) < many) && !seeded("refill_blindly") {
                    return false;
                }
                let next = seen.wrapping_sub(many << SHIFT);
                match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => return true,
                    Err(now) => seen = now,
                }
            }
        }

        /// What stands here at the end of the cell's life.
        pub(super) fn last(&mut self) -> (NonNull<N>, usize) {
            let last = self.0.load(Ordering::Acquire);
            (node(last), taken(last))
        }
    }

    /// The node's word with nothing taken. No allocator of these targets gives an address beyond 48 bits unless a program asks
    /// the kernel for one; taking such an address apart would be unsound, so the process ends instead.
    fn checked<N>(node: NonNull<N>) -> usize {
        let address = node.as_ptr().expose_provenance();
        if address & !ADDRESS != 0 {
            // tidy: allow(words): there is no caller to return an error to that could still be sound
            std::process::abort();
        }
        address
    }

    #[inline]
    fn node<N>(word: usize) -> NonNull<N> {
        let node = std::ptr::with_exposed_provenance_mut(word & ADDRESS);
        // SAFETY: every word was made from a `NonNull` whose address has only those bits.
        unsafe { NonNull::new_unchecked(node) }
    }

    #[inline]
    fn taken(word: usize) -> usize {
        word >> SHIFT
    }
}

/// The same contract under a lock, for the targets where the packed word is not sound.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(target_os = "android"))))]
mod word {
    use crate::sync::Mutex;
    use std::ptr::NonNull;

    pub(super) struct Word<N>(Mutex<(NonNull<N>, usize)>);

    impl<N> Word<N> {
        pub(super) fn new(node: NonNull<N>) -> Self {
            Self(Mutex::new((node, 0)))
        }

        pub(super) fn take_one(&self) -> (NonNull<N>, usize) {
            let mut word = self.0.lock();
            word.1 += 1;
            *word
        }

        pub(super) fn swap(&self, fresh: NonNull<N>) -> (NonNull<N>, usize) {
            std::mem::replace(&mut *self.0.lock(), (fresh, 0))
        }

        /// Whoever would ask for it here would hold up a reader.
        pub(super) fn fetch(&self) {}

        pub(super) fn give_many(&self, held: NonNull<N>, many: usize) -> bool {
            let mut word = self.0.lock();
            let fits = word.0 == held && word.1 >= many;
            word.1 -= if fits { many } else { 0 };
            fits
        }

        pub(super) fn last(&mut self) -> (NonNull<N>, usize) {
            *self.0.lock()
        }
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn a_reader_keeps_what_it_took_after_a_replacement() {
        let cell = Published::new(Shared::new(1));
        let first = cell.load();
        let old = cell.replace(Shared::new(2));
        assert_eq!((*first, *old, *cell.load()), (1, 1, 2));
    }

    #[test]
    fn what_was_replaced_can_be_changed_once_no_reader_holds_it() {
        let cell = Published::new(Shared::new(1));
        let reader = cell.load();
        let mut old = cell.replace(Shared::new(2));
        assert!(old.get_mut().is_none());
        drop(reader);
        *old.get_mut().unwrap() = 3;
        assert_eq!((*old, *cell.load()), (3, 2));
    }

    #[test]
    fn more_reads_than_the_count_can_hold_leak_and_free_nothing() {
        let value = Arc::new(());
        let cell = Published::new(Shared::new(Arc::clone(&value)));
        let held: Vec<_> = (0..5 * PREPAID).map(|_| cell.load()).collect();
        assert_eq!(Arc::strong_count(&value), 2);
        drop(held);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(cell.replace(Shared::new(Arc::new(()))));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_dropped_cell_drops_its_value() {
        let value = Arc::new(());
        let cell = Published::new(Shared::new(Arc::clone(&value)));
        let reader = cell.load();
        drop(cell);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(reader);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn versions_never_go_back_for_any_reader_while_a_writer_replaces() {
        let rounds: u64 = if cfg!(miri) { 100 } else { 200_000 };
        let cell = Published::new(Shared::new([0_u64; 4]));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(std::sync::atomic::Ordering::Acquire) {
                        let seen = cell.load();
                        assert!(seen.iter().all(|part| *part == seen[0]), "torn: {seen:?}");
                        assert!(seen[0] >= last, "{} after {last}", seen[0]);
                        last = seen[0];
                    }
                });
            }
            let mut spare = None::<Shared<[u64; 4]>>;
            for round in 1..=rounds {
                let mut next = spare.take().unwrap_or_else(|| Shared::new([0; 4]));
                match next.get_mut() {
                    Some(value) => *value = [round; 4],
                    None => next = Shared::new([round; 4]),
                }
                spare = Some(cell.replace(next));
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        assert_eq!(cell.load()[0], rounds);
    }
}

//! The list of recorders that have something to do, and the worker's sleep.
//!
//! An intrusive stack on one word. A producer that has made a recorder busy pushes it by an exchange; the worker takes the whole
//! list by a swap. The word also carries SLEEPING: the worker sets it by an exchange that only succeeds on an empty list,
//! so a push either happens before (and the worker stays awake) or meets SLEEPING, replaces it, and wakes the worker.
//! Whoever replaces SLEEPING wakes, nobody else does. ENDED stands in the word when nobody will come any more: a push that meets it
//! drops its node, which would otherwise stay alive by the very list that it keeps alive; the model fails if a late take forgets it. The model `ready_list` fails if SLEEPING is set by a store after a look.

use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::Ordering;
use crate::sync::fetch_all;
use crate::sync::seeded;
use std::fmt;
use std::ops::Deref;
use std::ptr;
use std::ptr::NonNull;
use std::sync::Arc;

/// A value that can stand in a [`ReadyList`] of `D`: the link is in the same allocation, so a push allocates nothing.
///
/// P1 (caller's duty): a node is pushed again only after the worker took it out. The reservation word sees to that: only the
/// thread that clears IDLE pushes, and only the worker, having taken the node out, sets it.
#[repr(C)]
pub(crate) struct Node<T, D: ?Sized> {
    link: Link<D>,
    value: T,
}

struct Link<D: ?Sized> {
    next: AtomicPtr<Link<D>>,
    /// Makes the owner out of the address of its link again; the one place that knows the node's type.
    restore: unsafe fn(NonNull<Link<D>>) -> Arc<D>,
}

/// Nodes of a chain whose memory is asked for before the first of them has its turn.
const ASKED_AHEAD: usize = 8;

/// How a node of `Self` becomes what the list is of.
pub(crate) trait Erase<D: ?Sized>: Sized {
    fn erase(node: Arc<Node<Self, D>>) -> Arc<D>;
}

impl<T: Erase<D>, D: ?Sized> Node<T, D> {
    pub(crate) fn new(value: T) -> Self {
        Self { link: Link { next: AtomicPtr::new(ptr::null_mut()), restore: restore::<T, D> }, value }
    }
}

impl<T, D: ?Sized> Deref for Node<T, D> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// # Safety
///
/// `link` is the link of a `Node<T, D>` whose strong count `push` leaked, and the count is taken back once.
unsafe fn restore<T: Erase<D>, D: ?Sized>(link: NonNull<Link<D>>) -> Arc<D> {
    // The link is the first field of a `repr(C)` node, and the pointer was made from the node's.
    let node = link.cast::<Node<T, D>>().as_ptr();
    // SAFETY: by the caller's promise.
    T::erase(unsafe { Arc::from_raw(node) })
}

/// The list; see the module page.
pub(crate) struct ReadyList<D: ?Sized> {
    head: AtomicPtr<Link<D>>,
}

// SAFETY: the list owns strong counts of nodes and hands them to the worker; that is sending `Arc<D>`, for which `D: Send + Sync`
// is needed. Links are only changed by the pusher before the exchange and read by the worker after the swap.
unsafe impl<D: ?Sized + Send + Sync> Send for ReadyList<D> {}

// SAFETY: as above.
unsafe impl<D: ?Sized + Send + Sync> Sync for ReadyList<D> {}

// SAFETY: a node is its value and a link; the link's pointer is only followed by the list's owner.
unsafe impl<T: Send + Sync, D: ?Sized> Send for Node<T, D> {}

// SAFETY: as above.
unsafe impl<T: Send + Sync, D: ?Sized> Sync for Node<T, D> {}

/// The word of a list whose worker sleeps: an address at which no link can stand.
fn sleeping<D: ?Sized>() -> *mut Link<D> {
    ptr::without_provenance_mut(1)
}

/// The word of a list that nobody takes any more: another such address.
fn ended<D: ?Sized>() -> *mut Link<D> {
    ptr::without_provenance_mut(2)
}

impl<D: ?Sized> ReadyList<D> {
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Puts a node on the list; true if the worker slept and the caller must wake it.
    pub(crate) fn push<T: Erase<D>>(&self, node: Arc<Node<T, D>>) -> bool {
        let link = Arc::into_raw(node).cast_mut().cast::<Link<D>>();
        let mut seen = self.head.load(Ordering::Relaxed);
        loop {
            if seen == ended() {
                // SAFETY: the count was leaked above, and the link is on no list.
                drop(unsafe { Arc::from_raw(link.cast::<Node<T, D>>()) });
                return false;
            }
            let next = if seen == sleeping() { ptr::null_mut() } else { seen };
            // SAFETY: the node lives, because its count was just leaked; by P1 nobody else touches its link now.
            unsafe { (*link).next.store(next, Ordering::Relaxed) };
            let order = if seeded("link_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
            match self.head.compare_exchange_weak(seen, link, order, Ordering::Relaxed) {
                Ok(_) => return seen == sleeping(),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes every node out, the one pushed first at the front of what is appended to `taken`. Also ends a sleep.
    pub(crate) fn take(&self, taken: &mut Vec<Arc<D>>) {
        let link = if self.head.load(Ordering::Relaxed).is_null() {
            return;
        } else {
            self.head.swap(ptr::null_mut(), Ordering::AcqRel)
        };
        if link == ended() {
            // By a worker that was held beyond its runtime's end: it stays ended, and what came in between goes.
            // Seeded: the late take opens the list again, and what is pushed then stays there.
            if !seeded("end_forgotten") {
                drop(self.end());
            }
            return;
        }
        Self::unlink(link, taken);
    }

    /// Nobody will take anything any more: what stands on the list, to be dropped; later pushes drop their nodes.
    pub(crate) fn end(&self) -> Vec<Arc<D>> {
        let mut left = Vec::new();
        let link = self.head.swap(ended(), Ordering::AcqRel);
        if link != ended() {
            Self::unlink(link, &mut left);
        }
        left
    }

    /// Takes a chain apart that a swap has made the caller's.
    fn unlink(mut link: *mut Link<D>, taken: &mut Vec<Arc<D>>) {
        let before = taken.len();
        while let Some(this) = NonNull::new(link).filter(|link| link.as_ptr() != sleeping()) {
            // SAFETY: the swap made this chain the caller's; each node's count is still leaked, so it lives.
            let (next, restore) =
                unsafe { (this.as_ref().next.load(Ordering::Relaxed), this.as_ref().restore) };
            // SAFETY: `this` was pushed once and is taken back once.
            let node = unsafe { restore(this) };
            // The walk waits for one link after the other; what the worker reads of a few nodes comes meanwhile. Of many, the first here are the last to be read.
            if taken.len() - before < ASKED_AHEAD {
                fetch_all(&*node);
            }
            taken.push(node);
            link = next;
        }
        taken[before..].reverse();
    }

    /// The worker is about to sleep: false if there is something on the list. After true the next push wakes.
    pub(crate) fn try_sleep(&self) -> bool {
        if seeded("sleep_by_store") {
            // Seeded: a push between the look and the store is overwritten.
            if !self.head.load(Ordering::Acquire).is_null() {
                return false;
            }
            self.head.store(sleeping(), Ordering::Release);
            return true;
        }
        match self.head.compare_exchange(ptr::null_mut(), sleeping(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(now) => now == sleeping(),
        }
    }

    /// Whether the list is empty (a sleeping worker's list is).
    pub(crate) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::Acquire);
        head.is_null() || head == sleeping() || head == ended()
    }

    /// Whether SLEEPING stands in the word.
    pub(crate) fn is_asleep(&self) -> bool {
        self.head.load(Ordering::Acquire) == sleeping()
    }

    /// Ends a sleep on the caller's behalf; true if the worker slept and the caller must wake it.
    pub(crate) fn rouse(&self) -> bool {
        let mut seen = self.head.load(Ordering::Relaxed);
        loop {
            // Also when nobody sleeps the word is written: a worker that falls asleep after this sees what the caller did before.
            let next = if seen == sleeping() { ptr::null_mut() } else { seen };
            match self.head.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return seen == sleeping(),
                Err(now) => seen = now,
            }
        }
    }
}

impl<D: ?Sized> Drop for ReadyList<D> {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl<D: ?Sized> fmt::Debug for ReadyList<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyList").field("empty", &self.is_empty()).finish()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    trait Number: Send + Sync {
        fn number(&self) -> u32;
    }

    impl Number for Node<u32, dyn Number> {
        fn number(&self) -> u32 {
            **self
        }
    }

    impl Erase<dyn Number> for u32 {
        fn erase(node: Arc<Node<Self, dyn Number>>) -> Arc<dyn Number> {
            node
        }
    }

    #[test]
    fn nodes_come_out_in_the_order_of_their_pushes() {
        let list = ReadyList::<dyn Number>::new();
        for number in 0..5 {
            assert!(!list.push(Arc::new(Node::new(number))));
        }
        let mut taken = Vec::new();
        list.take(&mut taken);
        assert_eq!(taken.iter().map(|node| node.number()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(list.is_empty());
    }

    #[test]
    fn only_the_first_push_after_falling_asleep_wakes() {
        let list = ReadyList::<dyn Number>::new();
        assert!(list.try_sleep());
        assert!(list.is_empty());
        assert!(list.push(Arc::new(Node::new(1))));
        assert!(!list.push(Arc::new(Node::new(2))));
        assert!(!list.try_sleep());
        assert!(!list.rouse());
    }

    #[test]
    fn an_ended_list_gives_its_nodes_back_and_keeps_no_other() {
        let list = ReadyList::<dyn Number>::new();
        let (before, after) = (Arc::new(Node::new(1)), Arc::new(Node::new(2)));
        assert!(!list.push(Arc::clone(&before)));
        assert_eq!(list.end().len(), 1);
        assert!(!list.push(Arc::clone(&after)) && list.is_empty() && !list.try_sleep() && !list.rouse());
        let mut taken = Vec::new();
        list.take(&mut taken);
        assert!(!list.push(Arc::clone(&after)) && taken.is_empty());
        assert_eq!((Arc::strong_count(&before), Arc::strong_count(&after)), (1, 1));
    }

    #[test]
    fn a_dropped_list_drops_its_nodes() {
        let list = ReadyList::<dyn Number>::new();
        let node = Arc::new(Node::new(1));
        list.push(Arc::clone(&node));
        assert_eq!(Arc::strong_count(&node), 2);
        drop(list);
        assert_eq!(Arc::strong_count(&node), 1);
    }
}

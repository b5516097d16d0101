//! Slots and the blocks they come in.

use crate::sync::UnsafeCell;
use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering;
use crate::sync::seeded;
use std::mem::MaybeUninit;
use std::ptr;

/// Slots of the first block of a lane: what a trickle of events costs in memory.
#[cfg(not(all(test, mvx_loom)))]
pub(crate) const SMALL: u64 = 8;
/// Slots of every later block.
#[cfg(not(all(test, mvx_loom)))]
pub(crate) const LARGE: u64 = 64;

// Small enough that a model with a handful of events crosses every boundary.
#[cfg(all(test, mvx_loom))]
pub(crate) const SMALL: u64 = 1;
#[cfg(all(test, mvx_loom))]
pub(crate) const LARGE: u64 = 2;

/// A place for one event.
///
/// `stamp` is the position whose event stands here, plus one; positions are never used twice, so nothing needs to
/// reset it: a stamp of an earlier lap simply does not match. The producer's release store of the stamp pairs with the consumer's
/// acquire load and makes the value visible; the model `hand_off` fails if either is relaxed.
pub(crate) struct Slot<E> {
    stamp: AtomicU64,
    value: UnsafeCell<MaybeUninit<E>>,
}

impl<E> Slot<E> {
    fn empty() -> Self {
        Self { stamp: AtomicU64::new(0), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Writes the event of `position` and makes it visible.
    ///
    /// Takes no reference to the slot: as soon as the stamp stands, the consumer may free the block, and a `&self` would
    /// have to stay good until the return.
    ///
    /// # Safety
    ///
    /// The caller reserved `position`, `slot` points to that position's slot, and the consumer is done with the position that
    /// used the slot before: then nobody else touches the value until the stamp is stored.
    #[inline(always)]
    pub(crate) unsafe fn write(slot: *const Self, position: u64, event: E) {
        // SAFETY: by the caller's promise the slot lives at least until the stamp is stored.
        let (value, stamp) = unsafe { (&(*slot).value, &(*slot).stamp) };
        value.with_mut(|value| {
            // SAFETY: by the caller's promise this thread alone has access to the value.
            unsafe { (*value).write(event) };
        });
        let order = if seeded("stamp_relaxed") { Ordering::Relaxed } else { Ordering::Release };
        stamp.store(position + 1, order);
    }

    /// Takes the stamp away; for the consumer, before it commits the slot's position.
    ///
    /// No reader needs it, as a stamp of an earlier lap matches nothing. It is for the caches: a line that the consumer only
    /// read stays shared between two cores, and the next lap's producer waits for the other copy to be given up, once per
    /// line and in front of its next exchange; a line that the consumer wrote moves over whole.
    #[inline(always)]
    pub(crate) fn wipe(&self) {
        // Left out of the models, whose executions it would multiply: it touches what only the consumer may touch then.
        if !cfg!(all(test, mvx_loom)) {
            self.stamp.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the event of `position` stands here, and is visible to the caller.
    #[inline(always)]
    pub(crate) fn holds(&self, position: u64) -> bool {
        self.stamp.load(Ordering::Acquire) == position + 1
    }

    /// Where the event of the slot at `slot` stands, with an address that may be moved to the slots after it.
    ///
    /// # Safety
    ///
    /// `slot` points to a slot.
    #[cfg(not(all(test, mvx_loom)))]
    #[inline(always)]
    pub(crate) unsafe fn event_of(slot: *const Self) -> *const E {
        // SAFETY: by the caller's promise; no reference is made. The cell is transparent over the event.
        unsafe { (&raw const (*slot).value).cast::<E>() }
    }

    /// Where the event stands. Under the model this counts as a read, so a racing write is caught.
    #[cfg(all(test, mvx_loom))]
    #[inline(always)]
    pub(crate) fn event(&self) -> *const E {
        self.value.with(|value| value.cast::<E>())
    }

    /// Where the event stands, to be moved or dropped. Under the model this counts as a write.
    #[inline(always)]
    pub(crate) fn event_mut(&self) -> *mut E {
        self.value.with_mut(|value| value.cast::<E>())
    }
}

/// An owner of one block at most, installed by whoever needs it first.
pub(crate) struct BlockCell<E>(AtomicPtr<Slot<E>>);

impl<E> BlockCell<E> {
    pub(crate) fn empty() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The block, if there is one.
    #[inline(always)]
    pub(crate) fn get(&self) -> *mut Slot<E> {
        self.0.load(Ordering::Acquire)
    }

    /// The block; allocates it if this caller is the first to need it, and adds its size to `bytes`. Never null.
    #[inline(always)]
    pub(crate) fn get_or_allocate(&self, slots: u64, bytes: &AtomicUsize) -> *mut Slot<E> {
        let block = self.get();
        if block.is_null() { self.allocate(slots, bytes) } else { block }
    }

    #[cold]
    #[inline(never)]
    fn allocate(&self, slots: u64, bytes: &AtomicUsize) -> *mut Slot<E> {
        let fresh = allocate_block(slots);
        match self.install(fresh) {
            Ok(()) => {
                bytes.fetch_add(block_bytes::<E>(slots), Ordering::Relaxed);
                fresh
            }
            Err(winner) => {
                // SAFETY: `fresh` was made above and never published.
                unsafe { free_block(fresh, slots) };
                winner
            }
        }
    }

    /// Puts a block into an empty cell; `Err` is the block that was there first.
    pub(crate) fn install(&self, block: *mut Slot<E>) -> Result<(), *mut Slot<E>> {
        self.0.compare_exchange(ptr::null_mut(), block, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }

    /// Takes the block out; the cell is empty afterwards.
    pub(crate) fn take(&self) -> *mut Slot<E> {
        self.0.swap(ptr::null_mut(), Ordering::AcqRel)
    }
}

/// What a block takes.
pub(crate) fn block_bytes<E>(slots: u64) -> usize {
    slots as usize * size_of::<Slot<E>>()
}

fn allocate_block<E>(slots: u64) -> *mut Slot<E> {
    let block: Box<[Slot<E>]> = (0..slots).map(|_| Slot::empty()).collect();
    Box::into_raw(block).cast::<Slot<E>>()
}

/// Frees a block without dropping any event in it.
///
/// # Safety
///
/// `block` came from `allocate_block(slots)`, nobody else can reach it any more, and its events were moved out or dropped.
pub(crate) unsafe fn free_block<E>(block: *mut Slot<E>, slots: u64) {
    let block = ptr::slice_from_raw_parts_mut(block, slots as usize);
    // SAFETY: by the caller's promise this is the box that `allocate_block` leaked; slots hold `MaybeUninit`, so no event is dropped.
    drop(unsafe { Box::from_raw(block) });
}

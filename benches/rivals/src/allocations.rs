//! A counting global allocator: how often the calling thread, and the whole process, asked for memory.

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// The system's allocator; while [`count`] runs it counts. At other times it costs one relaxed load per call.
pub struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static PROCESS: AtomicU64 = AtomicU64::new(0);
/// Bytes taken less bytes given back while it is on.
static BYTES: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// Allocations (reallocations included) while something ran.
#[derive(Clone, Copy, Debug)]
pub struct Allocations {
    pub caller: u64,
    pub process: u64,
}

/// Runs `work` on this thread and counts.
pub fn count(work: impl FnOnce()) -> Allocations {
    let (caller, process) = (THREAD.get(), PROCESS.load(Ordering::SeqCst));
    ON.store(true, Ordering::SeqCst);
    work();
    ON.store(false, Ordering::SeqCst);
    Allocations { caller: THREAD.get() - caller, process: PROCESS.load(Ordering::SeqCst) - process }
}

/// Begins to keep account of the bytes in use, from 0.
pub fn watch_bytes() {
    BYTES.store(0, Ordering::SeqCst);
    ON.store(true, Ordering::SeqCst);
}

/// How many bytes more are in use than when the account began.
pub fn bytes() -> i64 {
    BYTES.load(Ordering::SeqCst)
}

/// Ends the account.
pub fn watch_no_more() {
    ON.store(false, Ordering::SeqCst);
}

#[inline]
fn note_bytes(change: i64) {
    if ON.load(Ordering::Relaxed) {
        BYTES.fetch_add(change, Ordering::Relaxed);
    }
}

#[inline]
fn note() {
    if ON.load(Ordering::Relaxed) {
        PROCESS.fetch_add(1, Ordering::Relaxed);
        // A thread that is being torn down has no counter any more.
        let _ = THREAD.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: every call is passed to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        note_bytes(layout.size() as i64);
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        note_bytes(layout.size() as i64);
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        note_bytes(size as i64 - layout.size() as i64);
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        note_bytes(-(layout.size() as i64));
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.dealloc(old, layout) }
    }
}

//! The one place that names atomics, `UnsafeCell`, locks and parking: std's, or loom's when models are checked.
//!
//! The switch is `all(test, mvx_loom)`: models see the crate's own queues on loom's primitives, users never see loom.

mod exclusive;
pub(crate) mod fork;
mod mutex;
mod on_need;
pub(crate) mod own_thread;
#[cfg(all(feature = "signals", unix))]
pub(crate) mod signals;

/// Locks that are the program's, in which an adapter finds what it reads: only ever waited for where user code runs, and under no lock of ours.
#[cfg(feature = "prometheus-client026")]
pub(crate) mod theirs {
    pub(crate) use std::sync::Mutex;
    pub(crate) use std::sync::RwLock;
}

/// Rests on the calling thread's own parker, until it is unparked or `time` is over.
#[cfg(not(all(test, mvx_loom)))]
pub(crate) fn nap(time: std::time::Duration) {
    std::thread::park_timeout(time);
}

/// Models do not nap: time is not modelled, and whoever waits in a model waits for a wake.
#[cfg(all(test, mvx_loom))]
pub(crate) fn nap(_time: std::time::Duration) {
    loom::thread::yield_now();
}

/// Tells the core `times` times that the caller spins.
#[cfg(not(all(test, mvx_loom)))]
pub(crate) fn pause(times: u32) {
    for _ in 0..times {
        std::hint::spin_loop();
    }
}

/// Models do not pause: nobody gains by waiting there, and every pause would be a branch to explore.
#[cfg(all(test, mvx_loom))]
pub(crate) fn pause(_times: u32) {}

/// Asks for the cache line at `at`, to be written soon. It touches nothing, so any address will do.
///
/// By the instruction itself: the intrinsic becomes one for reading where the build does not name the feature, and then the line is fetched
/// twice. Processors without it take it for nothing.
#[cfg(all(target_arch = "x86_64", not(miri), not(all(test, mvx_loom))))]
#[inline(always)]
pub(crate) fn fetch_for_write<T>(at: *const T) {
    // SAFETY: a prefetch reads and writes no memory as far as the program can see, and does not fault.
    unsafe {
        std::arch::asm!("prefetchw [{0}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
}

/// Elsewhere the processor is left to itself: there it was not measured.
#[cfg(not(all(target_arch = "x86_64", not(miri), not(all(test, mvx_loom)))))]
#[inline(always)]
pub(crate) fn fetch_for_write<T>(_at: *const T) {}

/// Asks for the cache line at `at`, to be read soon. As above, any address will do.
#[cfg(all(target_arch = "x86_64", not(miri), not(all(test, mvx_loom))))]
#[inline(always)]
pub(crate) fn fetch<T: ?Sized>(at: *const T) {
    // SAFETY: as above; every processor of this kind has the instruction.
    unsafe {
        std::arch::asm!("prefetcht0 [{0}]", in(reg) at.cast::<u8>(), options(nostack, preserves_flags, readonly));
    }
}

/// As above.
#[cfg(not(all(target_arch = "x86_64", not(miri), not(all(test, mvx_loom)))))]
#[inline(always)]
pub(crate) fn fetch<T: ?Sized>(_at: *const T) {}

/// The same for every line of a value.
pub(crate) fn fetch_all<T: ?Sized>(value: &T) {
    const LINE: usize = 64;
    let at = std::ptr::from_ref(value).cast::<u8>();
    for line in 0..size_of_val(value).div_ceil(LINE) {
        fetch(at.wrapping_add(line * LINE));
    }
}

/// Whether the bug of this name is planted; outside models a constant, and the bug no code.
#[cfg(not(all(test, mvx_loom)))]
#[inline(always)]
pub(crate) const fn seeded(_bug: &str) -> bool {
    false
}

/// Whether the bug of this name is planted, as the variable `MVX_BUG` says: a model that passes with it proves nothing.
#[cfg(all(test, mvx_loom))]
pub(crate) fn seeded(bug: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("MVX_BUG").ok()).as_deref() == Some(bug)
}

pub(crate) use exclusive::Exclusive;
pub(crate) use mutex::Monitor;
pub(crate) use mutex::MonitorGuard;
pub(crate) use mutex::Mutex;
pub(crate) use mutex::MutexGuard;
pub(crate) use mutex::assert_unlocked;
pub(crate) use on_need::OnNeed;

#[cfg(not(all(test, mvx_loom)))]
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::AtomicBool;
    pub(crate) use std::sync::atomic::AtomicPtr;
    pub(crate) use std::sync::atomic::AtomicU8;
    pub(crate) use std::sync::atomic::AtomicU64;
    pub(crate) use std::sync::atomic::AtomicUsize;
    pub(crate) use std::sync::atomic::Ordering;
}

#[cfg(all(test, mvx_loom))]
pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::AtomicBool;
    pub(crate) use loom::sync::atomic::AtomicPtr;
    pub(crate) use loom::sync::atomic::AtomicU8;
    pub(crate) use loom::sync::atomic::AtomicU64;
    pub(crate) use loom::sync::atomic::AtomicUsize;
    pub(crate) use loom::sync::atomic::Ordering;
}

#[cfg(not(all(test, mvx_loom)))]
mod cell {
    /// `UnsafeCell` with loom's closure interface, so that models see every access.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(all(test, mvx_loom))]
mod cell {
    pub(crate) use loom::cell::UnsafeCell;
}

pub(crate) use cell::UnsafeCell;

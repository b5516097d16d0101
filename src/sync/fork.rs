//! Whether this process was forked off since: a child has a copy of everything but the threads, so nobody drains there.

/// The process that something was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth(usize);

impl Birth {
    /// This process. Forks of it are noticed from now on.
    pub(crate) fn here() -> Self {
        process::watch();
        Self(process::forks())
    }

    /// The same as [`is_elsewhere`](Self::is_elsewhere), as a bit and without a branch: for where a branch costs more than two loads.
    #[inline(always)]
    pub(crate) fn elsewhere(&self) -> u64 {
        u64::from(process::forks() != self.0)
    }

    /// Whether this is a child (or a child's child) of that process. One relaxed load of one word, which no fork ever wrote
    /// in almost every process; the other word is read in children only.
    #[inline(always)]
    pub(crate) fn is_elsewhere(&self) -> bool {
        let forks = process::forks();
        forks != 0 && forks != self.0
    }
}

/// Counts forks in the child, where one thread alone runs; so a relaxed load by that thread, or by any thread it makes, sees it.
#[cfg(all(unix, not(miri), not(all(test, mvx_loom))))]
mod process {
    use std::ffi::c_int;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    /// How many forks lie between this process and the first.
    static FORKS: AtomicUsize = AtomicUsize::new(0);

    /// Not a `Once`: a child may not wait for a thread that it does not have.
    static WATCHED: AtomicBool = AtomicBool::new(false);

    type Handler = Option<extern "C" fn()>;

    // SAFETY: POSIX; the signature is that of the platform's C library.
    unsafe extern "C" {
        fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn watch() {
        if WATCHED.swap(true, Ordering::Relaxed) {
            return;
        }
        // SAFETY: the handler is async-signal-safe: it touches one atomic and nothing else.
        let failed = unsafe { pthread_atfork(None, None, Some(in_child)) } != 0;
        // No memory for it: the next one who asks tries again.
        if failed {
            WATCHED.store(false, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub(super) fn forks() -> usize {
        FORKS.load(Ordering::Relaxed)
    }
}

/// No forks here, or (Miri, models) none that anybody looks for.
#[cfg(not(all(unix, not(miri), not(all(test, mvx_loom)))))]
mod process {
    pub(super) fn watch() {}

    #[inline(always)]
    pub(super) fn forks() -> usize {
        0
    }
}

//! Where recorders report that they have something to do: the ready list of one worker, and how to wake it.

use crate::model::clock::Clock;
use crate::model::clock::SystemClock;
use crate::queue::ready::Erase;
use crate::queue::ready::Node;
use crate::queue::ready::ReadyList;
use crate::recorder::catalogue::Catalogue;
use crate::recorder::groups::Groups;
use crate::recorder::hooks::Executor;
use crate::recorder::hosted::Hosted;
use crate::recorder::journal::Journal;
use crate::recorder::shapes::Shapes;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::AtomicU8;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use crate::sync::fork::Birth;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::Waker;
use std::thread::Thread;

/// One worker's door bell.
///
/// The worker is in one of three conditions, and each is woken by the cheapest means that works: *working* (it takes the
/// list when it is through; nothing to do), *napping* on its own parker with a bound of a fraction of a millisecond (events
/// wait for it, commands unpark it), or *asleep* in its tokio loop (SLEEPING stands in the list's word; whoever replaces it
/// calls the waker).
pub(crate) struct Hub {
    ready: ReadyList<dyn Hosted>,
    /// The waker of whoever drains: that of the worker's root task, or of the task that drains a detached recorder. Locked by the one
    /// who woke the sleeper, and by the sleeper before it sleeps; never while it works.
    waker: Mutex<Option<Arc<Waker>>>,
    /// How often a caller has woken the sleeper: a figure for reports, so relaxed. Written beside the lock, which costs more.
    wakes: AtomicU64,
    /// The thread that naps, if one does.
    thread: OnceLock<Thread>,
    attended: AtomicBool,
    /// Why nobody has come yet, by its place among the words of [`Unattended`].
    unattended: AtomicU8,
    /// Who runs lifecycle hooks; set before anybody drains.
    executor: OnceLock<Arc<dyn Executor>>,
    /// Whose time it is here, for whoever has no worker's desk at hand; set before the first recorder is there.
    clock: OnceLock<Arc<dyn Clock>>,
    pub(crate) catalogue: Catalogue,
    pub(crate) groups: Groups,
    /// What metrics are to have otherwise; set before the first recorder is there, if anything.
    pub(crate) shapes: OnceLock<Shapes>,
    pub(crate) journal: Arc<Journal>,
    born: Birth,
}

/// Why nobody has come to a hub yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unattended {
    /// Nobody was asked to.
    Created,
    /// The worker is being started.
    Starting,
    /// The last start failed.
    Failed,
}

impl Hub {
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal: Arc::new(journal),
            ready: ReadyList::new(),
            waker: Mutex::new(None),
            wakes: AtomicU64::new(0),
            thread: OnceLock::new(),
            attended: AtomicBool::new(false),
            unattended: AtomicU8::new(Unattended::Created as u8),
            executor: OnceLock::new(),
            clock: OnceLock::new(),
            catalogue: Catalogue::default(),
            groups: Groups::default(),
            shapes: OnceLock::new(),
            born: Birth::here(),
        }
    }

    /// Whether this is a child of the hub's process: nobody comes to it here, and locks may be held for ever.
    pub(crate) fn is_forked(&self) -> bool {
        self.born.is_elsewhere()
    }

    /// Puts a recorder that became busy on the list. A napping worker is left to its nap: this is the events' way in.
    #[cold]
    #[inline(never)]
    pub(crate) fn schedule<T: Erase<dyn Hosted>>(&self, node: Arc<Node<T, dyn Hosted>>) {
        if self.ready.push(node) {
            self.wake_sleeper();
        }
    }

    /// Ends a nap or a sleep now: for commands, whose callers wait.
    pub(crate) fn hurry(&self) {
        if self.ready.rouse() {
            self.wake_sleeper();
        } else if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn wake_sleeper(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        // Shared, so that no code of the waker's, not even its clone, runs under the lock.
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            // A detached recorder's waker is its executor's code, and this is some producer's call.
            crate::recorder::operation::wake_shared_quietly(waker);
        }
    }

    /// How often whoever drains was asleep when a caller had something for it, and had to be woken by that caller.
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }

    /// Called by whoever drains, before it rests: it is woken through `waker` from now on.
    pub(crate) fn attach(&self, waker: &Waker) {
        let present = self.waker.lock().clone();
        if present.is_some_and(|present| present.will_wake(waker)) {
            return;
        }
        let fresh = Arc::new(waker.clone());
        let old = self.waker.lock().replace(fresh);
        drop(old);
        self.attended.store(true, Ordering::Release);
    }

    /// Who runs hooks from now on; the first one stays.
    pub(crate) fn employ(&self, executor: Arc<dyn Executor>) {
        let _ = self.executor.set(executor);
    }

    pub(crate) fn executor(&self) -> Option<&Arc<dyn Executor>> {
        self.executor.get()
    }

    /// The clock of this hub's recorders; the first one stays.
    pub(crate) fn keep_time(&self, clock: &Arc<dyn Clock>) {
        let _ = self.clock.get_or_init(|| Arc::clone(clock));
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(self.clock.get_or_init(|| Arc::new(SystemClock::new())))
    }

    /// Somebody will come: what waits is not waiting in vain.
    pub(crate) fn announce(&self) {
        self.attended.store(true, Ordering::Release);
    }

    /// Called by a worker that naps on its own thread.
    pub(crate) fn attach_thread(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Whether somebody has come to this hub, or will.
    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Acquire)
    }

    /// Notes why nobody has come yet.
    pub(crate) fn not_yet(&self, why: Unattended) {
        self.unattended.store(why as u8, Ordering::Release);
    }

    /// The state, in the words of errors, of the runtime whose worker has not come yet.
    pub(crate) fn unattended_state(&self) -> &'static str {
        const STARTING: u8 = Unattended::Starting as u8;
        const FAILED: u8 = Unattended::Failed as u8;
        match self.unattended.load(Ordering::Acquire) {
            STARTING => "Starting",
            FAILED => "Failed",
            _ => "Created",
        }
    }

    pub(crate) fn take(&self, into: &mut Vec<Arc<dyn Hosted>>) {
        self.ready.take(into);
    }

    /// Nobody comes any more. What is on the list, or would come, would keep itself alive through its own list.
    pub(crate) fn end(&self) {
        drop(self.ready.end());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether the next push wakes a worker that went to sleep.
    pub(crate) fn is_asleep(&self) -> bool {
        self.ready.is_asleep()
    }

    /// True when the worker may sleep: the next push wakes it.
    pub(crate) fn try_sleep(&self) -> bool {
        self.ready.try_sleep()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("ready", &self.ready).finish_non_exhaustive()
    }
}

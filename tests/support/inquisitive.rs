//! A waker whose clone, wake and drop all call back into what they wait for: some executors' do as much.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::RawWaker;
use std::task::RawWakerVTable;
use std::task::Waker;

pub struct Asked {
    ask: Box<dyn Fn() + Send + Sync>,
    times: AtomicU64,
}

impl Asked {
    /// `ask` must not panic.
    pub fn new(ask: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { ask: Box::new(ask), times: AtomicU64::new(0) })
    }

    /// How often a waker asked.
    pub fn times(&self) -> u64 {
        self.times.load(Ordering::Acquire)
    }

    pub fn waker(self: &Arc<Self>) -> Waker {
        let data = Arc::into_raw(Arc::clone(self)).cast::<()>();
        // SAFETY: the table treats the data as what it is, an `Arc<Asked>`, and no function of it panics.
        unsafe { Waker::from_raw(RawWaker::new(data, &TABLE)) }
    }
}

const TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, ask, drop_raw);

fn ask(data: *const ()) {
    // SAFETY: the data of every waker of this table is an `Arc<Asked>` that the waker holds.
    let asked = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Asked>()) });
    (asked.ask)();
    asked.times.fetch_add(1, Ordering::AcqRel);
}

fn clone(data: *const ()) -> RawWaker {
    ask(data);
    // SAFETY: as above; the new waker holds the count added here.
    unsafe { Arc::increment_strong_count(data.cast::<Asked>()) };
    RawWaker::new(data, &TABLE)
}

fn wake(data: *const ()) {
    ask(data);
    drop_raw(data);
}

fn drop_raw(data: *const ()) {
    ask(data);
    // SAFETY: as above; this waker ends here, and gives its count back.
    drop(unsafe { Arc::from_raw(data.cast::<Asked>()) });
}

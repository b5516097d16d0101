//! The rival of B1 and B2: a bare `ArrayQueue`, emptied by a thread of its own between bursts.

use crate::bursts::Target;
use crate::event::Saved;
use crossbeam_queue::ArrayQueue;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;

/// The queue alone is what is pushed to: no count of accepted events, no wake, no closing.
pub struct BareQueue {
    shared: Arc<Shared>,
    consumer: JoinHandle<()>,
}

struct Shared {
    queue: ArrayQueue<Saved>,
    refused: AtomicU64,
    processed: AtomicU64,
    over: AtomicBool,
}

impl BareQueue {
    pub fn start(capacity: usize) -> Self {
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(capacity),
            refused: AtomicU64::new(0),
            processed: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let consumer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.consume()
        });
        Self { shared, consumer }
    }

    pub fn finish(self) {
        self.shared.over.store(true, Ordering::Release);
        self.consumer.thread().unpark();
        let _ = self.consumer.join();
    }
}

impl Shared {
    /// Another core takes the events out, as in real life: the producers' next lap finds the slots in its cache.
    fn consume(&self) {
        while !self.over.load(Ordering::Acquire) {
            thread::park();
            let mut processed = self.processed.load(Ordering::Relaxed);
            while let Some(event) = self.queue.pop() {
                black_box(event);
                processed += 1;
            }
            self.processed.store(processed, Ordering::Release);
        }
    }
}

impl Target for BareQueue {
    #[inline(always)]
    fn push(&self, number: u64) {
        if self.shared.queue.push(Saved::numbered(number)).is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    fn processed(&self) -> u64 {
        self.shared.processed.load(Ordering::Acquire)
    }

    fn burst_is_over(&self) {
        self.consumer.thread().unpark();
    }
}

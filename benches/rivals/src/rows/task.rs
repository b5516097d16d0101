//! The rival of B7 and B8: a tokio task that owns the same instruments, fed by a bounded channel.

use crate::Failure;
use crate::bursts::Target;
use crate::event;
use crate::event::Saved;
use mvx_metrics::Clock;
use mvx_metrics::Context;
use mvx_metrics::Counter;
use mvx_metrics::Histogram;
use mvx_metrics::Metric;
use mvx_metrics::SystemClock;
use mvx_metrics::Verdict;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// How many events the task takes at once.
const BATCH: usize = 256;

/// The task has a current-thread runtime of its own, like our worker, which spares it the work-stealing scheduler. It
/// publishes nothing and keeps no accounts.
pub struct Task {
    sender: mpsc::Sender<Saved>,
    refused: AtomicU64,
    processed: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Task {
    pub fn start(capacity: usize) -> Result<Self, Failure> {
        let (sender, receiver) = mpsc::channel(capacity);
        let processed = Arc::new(AtomicU64::new(0));
        let (counter, histogram) = event::instruments()?;
        let tokio = tokio::runtime::Builder::new_current_thread().build()?;
        let work = consume(receiver, counter, histogram, Arc::clone(&processed));
        let thread = thread::spawn(move || tokio.block_on(async { tokio::spawn(work).await.unwrap_or(0) }));
        Ok(Self { sender, refused: AtomicU64::new(0), processed, thread })
    }

    /// Ends the task, and checks that it measured every event.
    pub fn finish(self) -> Result<(), Failure> {
        drop(self.sender);
        let measured = self.thread.join().map_err(|_| "the rival's task panicked")?;
        let processed = self.processed.load(Ordering::Acquire);
        if measured != 2 * processed {
            return Err(format!("the rival measured {measured} of {processed} events twice").into());
        }
        Ok(())
    }
}

async fn consume(
    mut receiver: mpsc::Receiver<Saved>,
    mut counter: Counter<Saved>,
    mut histogram: Histogram<Saved>,
    processed: Arc<AtomicU64>,
) -> u64 {
    let clock = SystemClock::new();
    let mut batch = Vec::with_capacity(BATCH);
    let mut measured = 0;
    loop {
        let count = receiver.recv_many(&mut batch, BATCH).await;
        if count == 0 {
            return measured;
        }
        let context = Context::new(clock.now(), 1);
        for event in batch.drain(..) {
            measured += u64::from(counter.handle_event(&event, &context) == Verdict::Accepted);
            measured += u64::from(histogram.handle_event(&event, &context) == Verdict::Accepted);
        }
        processed.store(processed.load(Ordering::Relaxed) + count as u64, Ordering::Release);
    }
}

impl Target for Task {
    #[inline(always)]
    fn push(&self, event: Saved) {
        if self.sender.try_send(event).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn processed(&self) -> u64 {
        self.processed.load(Ordering::Acquire)
    }
}
